//! A mixture in the formats of trainers, read back by readers that are not ours.

use std::fs;

use crate::support::{Place, corpus, curate, files, outcome, python, repository, run, tree};

#[test]
fn every_format_is_read_back() {
    let place = Place::new();
    let (manifest, dir, out) = (corpus(&place, 30), place.path("run"), place.path("out"));
    run(&manifest, &dir, &[]).exits(0);
    let export = |out: &std::path::Path, more: &[&str]| {
        let words = ["export", dir.to_str().unwrap(), "general", "-o", out.to_str().unwrap()];
        curate([&words[..], more].concat())
    };
    let all = ["--format", "parquet,jsonl,megatron", "--end", "<|endoftext|>"];
    export(&out, &all).exits(0).prints(&["rows"]);
    let parts = files(&dir, "mixture/general").into_iter().map(|name| dir.join("mixture/general").join(name));
    let mut check = python();
    check.arg(repository().join("tests/it/check_export.py")).arg(&out).args(parts);
    assert_eq!(outcome(&mut check).exits(0).stdout, "OK\n");
    // Again: the same bytes; where one is finished already: nothing.
    let again = place.path("again");
    export(&again, &all).exits(0);
    crate::support::assert_same(&tree(&again), &tree(&out), "an export made twice");
    export(&out, &all).exits(2).says(&["is a finished export", "hint: name another folder"]);
    // One that was cut off is made whole.
    fs::remove_file(again.join("README.md")).unwrap();
    export(&again, &all).exits(2).says(&["no unfinished export"]);
    fs::write(again.join(".unfinished"), b"").unwrap();
    fs::write(again.join("part-00000.bin"), b"half").unwrap();
    export(&again, &all).exits(0);
    crate::support::assert_same(&tree(&again), &tree(&out), "an export made whole");

    export(&place.path("other"), &["--format", "megatron", "--end", "<|nothing|>"]).exits(2).says(&["no such token"]);
    let words = ["export", dir.to_str().unwrap(), "nothing", "-o", "x"];
    curate(words).exits(2).says(&["the run has no mixture \"nothing\""]);
}
