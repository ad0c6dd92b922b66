//! Two manifests that write to one run directory.

use std::path::PathBuf;

use serde_json::json;

use crate::support::{Place, assert_same, curate, query, run, tree};

/// Writes the folders `a` and `b` with 12 and 7 texts.
fn place() -> Place {
    let place = Place::new();
    for (folder, texts) in [("a", 12), ("b", 7)] {
        let lines: String = (0..texts)
            .map(|at| {
                let text = format!(
                    "Page {at} of the folder {folder} says what the pages before it left out."
                );
                format!("{}\n", json!({ "text": text }))
            })
            .collect();
        place.write(&format!("{folder}/p.jsonl"), lines);
    }
    place
}

/// A manifest of the run `run` with one source.
fn manifest(place: &Place, run: &str, source: &str, path: &str) -> PathBuf {
    place.write(
        &format!("{run}-{source}-{path}.toml"),
        format!(
            "[run]\nname = \"{run}\"\n[[source]]\nname = \"{source}\"\npath = \"{path}\"\n\
             [[mixture]]\nname = \"m\"\ntokens = 60\n"
        ),
    )
}

#[test]
fn another_run_does_not_write_into_the_directory() {
    let place = place();
    let dir = place.path("shared");
    run(&manifest(&place, "x", "a", "a"), &dir, &[]).exits(0);
    let before = tree(&dir);
    let other = manifest(&place, "y", "b", "b");
    let says = [
        "belongs to the run \"x\", not \"y\"",
        "hint: set run.dir, or give --run-dir",
    ];
    run(&other, &dir, &[]).exits(2).says(&says);
    curate([
        "plan".as_ref(),
        other.as_os_str(),
        "--run-dir".as_ref(),
        dir.as_os_str(),
    ])
    .exits(2)
    .says(&says);
    assert_same(&tree(&dir), &before, "the first run");
}

#[test]
fn what_other_sources_replace_is_said_before() {
    for (source, path, says) in [
        (
            "b",
            "b",
            "the 12 documents of source a leave the run, because this manifest has no such source (sources: a → b)",
        ),
        (
            "a",
            "b",
            "the 12 documents of source a are replaced, because the source reads b, not a",
        ),
    ] {
        let place = place();
        let dir = place.path("shared");
        run(&manifest(&place, "x", "a", "a"), &dir, &[]).exits(0);

        let second = manifest(&place, "x", source, path);
        curate([
            "plan".as_ref(),
            second.as_os_str(),
            "--run-dir".as_ref(),
            dir.as_os_str(),
        ])
        .exits(0)
        .prints(&[&format!("note: {says}")]);
        let found = run(&second, &dir, &[]).exits(0).says(&[says]);
        let (said, done) = (
            found.stderr.find(says),
            found.stderr.find("documents p.jsonl"),
        );
        assert!(said < done, "{}", found.stderr);

        // The results are those of the second manifest alone, and it has nothing more to say.
        let fresh = place.path("fresh");
        run(&second, &fresh, &[]).exits(0);
        assert_eq!(query(&dir, "SELECT count(*) FROM documents"), ["7"]);
        let mixture = "SELECT text FROM mixture_m ORDER BY ALL";
        assert_eq!(query(&dir, mixture), query(&fresh, mixture));
        let again = run(&second, &dir, &[]).exits(0);
        assert!(!again.stderr.contains("warning"), "{}", again.stderr);
    }
}

#[test]
fn a_path_that_leaves_a_source_is_said_before() {
    let place = place();
    let dir = place.path("shared");
    place.write(
        "a/q.jsonl",
        "{\"text\": \"One page more than the others.\"}\n",
    );
    let list = |paths: &str| {
        place.write(
            "list.toml",
            format!("[run]\nname = \"x\"\n[[source]]\nname = \"s\"\npath = {paths}\n"),
        )
    };
    run(&list("[\"a/p.jsonl\", \"a/q.jsonl\"]"), &dir, &[]).exits(0);

    let says = "the documents of 1 file of source s leave the run, because the source no longer reads a/q.jsonl";
    let one = list("[\"a/p.jsonl\"]");
    curate([
        "plan".as_ref(),
        one.as_os_str(),
        "--run-dir".as_ref(),
        dir.as_os_str(),
    ])
    .exits(0)
    .prints(&[&format!("note: {says}")]);
    run(&one, &dir, &[]).exits(0).says(&[says]);
    assert_eq!(query(&dir, "SELECT count(*) FROM documents"), ["12"]);

    // Another fixed prefix gives all files other paths, and all documents other ids.
    let says =
        "the 12 documents of source s are replaced, because the source reads a, b, not a/p.jsonl";
    run(&list("[\"a\", \"b\"]"), &dir, &[])
        .exits(0)
        .says(&[says]);
    let says = "the 20 documents of source s are replaced, because the source reads a, not a, b";
    run(&list("[\"a\"]"), &dir, &[]).exits(0).says(&[says]);

    // A path that names the same files is no change.
    let again = run(&list("[\"a/*.jsonl\"]"), &dir, &[]).exits(0);
    assert!(!again.stderr.contains("leave the run"), "{}", again.stderr);
}

#[test]
fn a_source_that_grows_replaces_nothing() {
    let place = place();
    let dir = place.path("shared");
    run(&manifest(&place, "x", "a", "a"), &dir, &[]).exits(0);

    // A file that is added, a file that is changed, and a further source.
    place.write(
        "a/q.jsonl",
        "{\"text\": \"One page more, which came later than the others.\"}\n",
    );
    place.write(
        "a/p.jsonl",
        "{\"text\": \"The pages before it were drafts, and they are gone.\"}\n",
    );
    let both = std::fs::read_to_string(manifest(&place, "x", "a", "a")).unwrap()
        + "[[source]]\nname = \"b\"\npath = \"b\"\n";
    let found = run(&place.write("both.toml", both), &dir, &[]).exits(0);
    assert!(!found.stderr.contains("warning"), "{}", found.stderr);

    // One of two sources goes.
    let says = "the 2 documents of source a leave the run, because this manifest has no such source (sources: a, b → b)";
    run(&manifest(&place, "x", "b", "b"), &dir, &[])
        .exits(0)
        .says(&[says]);
}
