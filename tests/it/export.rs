//! A mixture in the formats of trainers, read back by readers that are not ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{
    Outcome, Place, commit, corpus, curate, files, outcome, python, query, report, repository, run,
    tree,
};

/// A run whose mixture `m` has a document of each text once, whatever its language.
pub fn all_of(place: &Place, texts: &[&str]) -> PathBuf {
    let line = |(at, text): (usize, &&str)| format!("{}\n", json!({"id": at, "text": text}));
    let lines: String = texts.iter().enumerate().map(line).collect();
    place.write("in/a.jsonl", lines);
    let manifest = "[run]\nname = \"texts\"\nseed = 5\n[[source]]\nname = \"s\"\npath = \"in\"\n\
                    id = \"id\"\n[language]\nengine = \"none\"\n";
    let path = place.write("manifest.toml", manifest);
    let dir = place.path("run");
    run(&path, &dir, &[]).exits(0);

    // As many tokens as all documents have together.
    let tokens = &query(&dir, "SELECT sum(tokens) FROM tokens")[0];
    let mixture = format!("[[mixture]]\nname = \"m\"\ntokens = {tokens}\nmax_epochs = 1\n");
    place.write("manifest.toml", manifest.to_owned() + &mixture);
    run(&path, &dir, &[]).exits(0);
    dir
}

/// Exports a mixture of a run.
pub fn export(run: &Path, mixture: &str, out: &Path, more: &[&str]) -> Outcome {
    let words = ["export", run.to_str().unwrap(), mixture, "-o"];
    curate([&words[..], &[out.to_str().unwrap()], more].concat())
}

/// The `dataset.json` of an export. Fails the test unless it names every other file of the folder,
/// with the file's size and digest.
#[track_caller]
pub fn dataset(out: &Path) -> Value {
    let mut files = tree(out);
    let text = files.remove("dataset.json").unwrap();
    let dataset: Value = serde_json::from_slice(&text).unwrap();

    let found: BTreeMap<String, Value> = files
        .iter()
        .map(|(name, bytes)| {
            let digest = blake3::hash(bytes).to_hex().to_string();
            let entry = json!({"name": name, "bytes": bytes.len(), "digest": digest});
            (name.clone(), entry)
        })
        .collect();
    let said = dataset["files"].as_array().unwrap().iter();
    let said: BTreeMap<String, Value> = said
        .map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry.clone()))
        .collect();
    assert_eq!(said, found, "the files of dataset.json");
    assert_eq!(dataset["files"].as_array().unwrap().len(), found.len());
    dataset
}

/// The ids of each document of a Megatron pair, and the size of an id in bytes. Fails the test if
/// the pair is not as Megatron lays it out.
#[track_caller]
pub fn pair(out: &Path, stem: &str) -> (Vec<Vec<u32>>, usize) {
    let idx = fs::read(out.join(format!("{stem}.idx"))).unwrap();
    let bin = fs::read(out.join(format!("{stem}.bin"))).unwrap();
    let number = |at: usize, bytes: usize| {
        let mut eight = [0; 8];
        eight[..bytes].copy_from_slice(&idx[at..at + bytes]);
        u64::from_le_bytes(eight) as usize
    };
    assert_eq!(&idx[..9], b"MMIDIDX\0\0");
    assert_eq!(number(9, 8), 1);
    let size = [(8, 2), (4, 4)]
        .into_iter()
        .find(|(code, _)| *code == idx[17])
        .unwrap()
        .1;

    // Documents are sequences, so the last document index is the number of sequences.
    let n = number(18, 8);
    assert_eq!(
        (number(26, 8), idx.len()),
        (n + 1, 34 + 12 * n + 8 * (n + 1))
    );
    let starts: Vec<usize> = (0..=n).map(|at| number(34 + 12 * n + 8 * at, 8)).collect();
    assert_eq!(starts, (0..=n).collect::<Vec<_>>());

    let mut documents = Vec::new();
    let mut begin = 0;
    for at in 0..n {
        let (length, pointer) = (number(34 + 4 * at, 4), number(34 + 4 * n + 8 * at, 8));
        assert!(length > 0 && pointer == begin, "sequence {at}");
        begin += length * size;
        let ids = bin[pointer..begin].chunks(size).map(|id| {
            let mut four = [0; 4];
            four[..size].copy_from_slice(id);
            u32::from_le_bytes(four)
        });
        documents.push(ids.collect());
    }
    assert_eq!(begin, bin.len());
    (documents, size)
}

#[test]
fn every_format_is_read_back() {
    let place = Place::new();
    let (manifest, dir, out) = (corpus(&place, 30), place.path("run"), place.path("out"));
    run(&manifest, &dir, &[]).exits(0);
    let export = |out: &Path, more: &[&str]| export(&dir, "general", out, more);
    let all = [
        "--format",
        "parquet,jsonl,megatron",
        "--end",
        "<|endoftext|>",
    ];
    export(&out, &all).exits(0).prints(&["rows"]);
    let parts = files(&dir, "mixture/general")
        .into_iter()
        .map(|name| dir.join("mixture/general").join(name));
    let mut check = python();
    check
        .arg(repository().join("tests/it/check_export.py"))
        .arg(&out)
        .args(parts);
    assert_eq!(outcome(&mut check).exits(0).stdout, "OK\n");
    // Again: the same bytes; where one is finished already: nothing.
    let again = place.path("again");
    export(&again, &all).exits(0);
    crate::support::assert_same(&tree(&again), &tree(&out), "an export made twice");
    export(&out, &all)
        .exits(2)
        .says(&["is a finished export", "hint: name another folder"]);
    // One that was cut off is made whole.
    fs::remove_file(again.join("dataset.json")).unwrap();
    export(&again, &all)
        .exits(2)
        .says(&["no unfinished export"]);
    fs::write(again.join(".unfinished"), b"").unwrap();
    fs::write(again.join("part-00000.bin"), b"half").unwrap();
    export(&again, &all).exits(0);
    crate::support::assert_same(&tree(&again), &tree(&out), "an export made whole");

    // The description says what the files hold, and of which run.
    let said = dataset(&out);
    let (report, ids) = (report(&dir), &said["token_ids"]);
    assert_eq!(
        said["run_digest"],
        commit(&dir, "mixture/general")["digest"]
    );
    assert_eq!((&said["seed"], &said["run"]), (&json!(3), &json!("corpus")));
    for (field, of) in [
        ("tokens", "tokens"),
        ("rows", "draws"),
        ("documents", "docs"),
    ] {
        assert_eq!(said[field], report["mixtures"][0][of], "{field}");
    }
    assert_eq!(ids["documents"], said["rows"]);
    let ends = said["rows"].as_u64().unwrap();
    assert_eq!(ids["ids"], said["tokens"].as_u64().unwrap() + ends);
    assert_eq!(ids["tokenizer"], said["tokens_counted_with"]);

    let plain = place.path("plain");
    export(&plain, &["--format", "jsonl"]).exits(0);
    assert_eq!(dataset(&plain)["token_ids"], Value::Null);

    let words = ["export", dir.to_str().unwrap(), "nothing", "-o", "x"];
    curate(words)
        .exits(2)
        .says(&["the run has no mixture \"nothing\""]);
}

/// Token ids need an end, and the options of token ids need a format with token ids.
#[test]
fn options_that_do_not_hold_leave_nothing() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let file = place.write("mine/tokenizer.json", "{}");
    let file = file.to_str().unwrap();
    let (megatron, all) = (["--format", "megatron"], ["--format", "parquet,megatron"]);
    let end = ["--end", "<|endoftext|>"];

    for (words, says) in [
        (
            &megatron[..],
            &["need --end TOKEN", "--end '<|endoftext|>'"][..],
        ),
        (&all, &["need --end TOKEN", "--no-end"]),
        (
            &[&all[..], &["--end", "<|nothing|>"]].concat(),
            &["--end <|nothing|>: ", "no such token"],
        ),
        (
            &[&all[..], &["--end", ""]].concat(),
            &["no such token", "hint: "],
        ),
        (
            &[&all[..], &["--end", "a"]].concat(),
            &["--end a: the token is part of ordinary text"],
        ),
        (
            &[&all[..], &end, &["--no-end"]].concat(),
            &["--no-end", "cannot be used with"],
        ),
        (
            &[&megatron[..], &end, &["--tokenizer", file]].concat(),
            &["cannot be read"],
        ),
        (
            &[&megatron[..], &end, &["--tokenizer", "none.json"]].concat(),
            &["--tokenizer none.json: "],
        ),
        (
            &[&megatron[..], &end, &["--tokenizer", "/"]].concat(),
            &["it is not a regular file"],
        ),
        (
            &end,
            &[
                "--end is for token ids",
                "the format parquet has none",
                "add megatron",
            ],
        ),
        (&["--no-end"], &["--no-end is for token ids"]),
        (
            &["--tokenizer", file],
            &[
                "--tokenizer is for token ids",
                "hint: leave --tokenizer out",
            ],
        ),
        (
            &["--format", "jsonl,parquet", "--no-end"],
            &["the format parquet, jsonl has none"],
        ),
    ] {
        export(&dir, "general", &place.path("out"), words)
            .exits(2)
            .says(says);
        assert!(!place.path("out").exists(), "{words:?}");
    }
}

/// Documents in English, German, French, and without words, of three sources; a mixture of most of
/// them.
fn in_four_languages(place: &Place) -> std::path::PathBuf {
    let texts = [
        (
            "The committee met on Tuesday to discuss the plan for the coming year, and then everybody went home.",
            40,
        ),
        (
            "Der Ausschuss traf sich am Dienstag, um über den Plan für das nächste Jahr zu sprechen, und ging dann heim.",
            20,
        ),
        (
            "Le comité se réunit mardi pour discuter du projet de l'année prochaine, puis chacun rentra chez lui.",
            10,
        ),
        ("", 8),
    ];
    for source in ["manuals", "web", "notes"] {
        let line = |text: &str, number: usize| {
            format!("{{\"text\":\"{text} {number}{number} {number}\"}}\n")
        };
        let lines = texts
            .iter()
            .flat_map(|(text, count)| (100..100 + count).map(move |number| line(text, number)));
        place.write(&format!("data/{source}.jsonl"), lines.collect::<String>());
    }
    let source =
        |name: &str| format!("[[source]]\nname = \"{name}\"\npath = \"data/{name}.jsonl\"\n");
    let mixture =
        "[language]\n[[mixture]]\nname = \"general\"\ntokens = 5_000\nstrategy = \"natural\"\n";
    let head = "[run]\nname = \"languages\"\n".to_owned();
    place.write(
        "manifest.toml",
        head + &["manuals", "web", "notes"].map(source).concat() + mixture,
    )
}

#[test]
fn a_card_has_the_licences_of_its_sources_and_the_languages_of_its_documents() {
    let place = Place::new();
    let (manifest, dir) = (in_four_languages(&place), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let card = |name: &str| {
        let out = place.path(name);
        curate([
            "export",
            dir.to_str().unwrap(),
            "general",
            "-o",
            out.to_str().unwrap(),
            "--format",
            "parquet",
        ])
        .exits(0);
        fs::read_to_string(out.join("README.md")).unwrap()
    };
    let plain = card("plain");
    assert!(
        !plain.contains("\nlicense") && plain.contains(" | not stated |\n"),
        "{plain}"
    );
    // A licence computes nothing again; the report and a new export have it.
    let one: Vec<String> = ["manuals", "web", "notes"]
        .iter()
        .map(|name| format!("source.{name}.license=CC-BY-4.0"))
        .collect();
    let sets: Vec<&str> = one.iter().flat_map(|set| ["--set", set]).collect();
    run(&manifest, &dir, &sets)
        .exits(0)
        .prints(&["everything was cached in "]);
    crate::support::check(&dir, None).exits(0);
    assert_eq!(report(&dir)["sources"][1]["license"], "CC-BY-4.0");
    assert!(card("one").contains("\nlicense: \"cc-by-4.0\"\nlanguage:\n"));
    let sets = [
        "--set",
        "source.web.license=CC0-1.0",
        "--set",
        "source.manuals.license=Terms of X: 'free'",
    ];
    run(&manifest, &dir, &sets)
        .exits(0)
        .prints(&["everything was cached in "]);
    let several = card("several");
    let header = several
        .lines()
        .find_map(|line| line.strip_prefix("license_name: "))
        .unwrap();
    assert!(
        several.contains("\nlicense: \"other\"\n") && header.contains("cc0-1.0"),
        "{several}"
    );
    assert!(
        several
            .lines()
            .any(|line| line.starts_with("| web | ") && line.ends_with(" | CC0-1.0 |")),
        "{several}"
    );

    let found = query(
        &dir,
        "SELECT coalesce(language, 'not identified'), count(*), sum(tokens * draws), sum(count(*)) OVER (), sum(sum(tokens * draws)) OVER ()
        FROM read_parquet('mix/general/*.parquet') JOIN language USING (doc_id) JOIN tokens USING (doc_id)
        GROUP BY language ORDER BY language IS NULL, 2 DESC, 1",
    );
    assert_eq!(found.len(), 4, "{found:?}");
    let rows: Vec<&str> = several
        .split("## Languages")
        .nth(1)
        .unwrap()
        .lines()
        .filter(|line| line.ends_with(" % |"))
        .collect();
    let expected: Vec<String> = found
        .iter()
        .map(|row| {
            let words: Vec<&str> = row.split('|').collect();
            let [documents, tokens, all, total] =
                [1, 2, 3, 4].map(|at| words[at].parse::<f64>().unwrap());
            let shares =
                [documents / all, tokens / total].map(|share| format!("{:.2} %", 100.0 * share));
            format!(
                "| {} | {documents} | {} | {tokens} | {} |",
                words[0], shares[0], shares[1]
            )
        })
        .collect();
    assert_eq!(
        rows.iter()
            .map(|row| row.replace(',', ""))
            .collect::<Vec<_>>(),
        expected
    );
    assert!(several.contains("\nlanguage:\n- \"en\"\n"), "{several}");
}
