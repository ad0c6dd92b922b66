//! Paths with brackets, spaces, links and `**`, and one file that two sources read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::{Outcome, Place, curate, query, run};

/// A folder of two documents in each of several files, with names that are hard to write.
fn files() -> Place {
    let place = Place::new();
    for (path, tag) in [
        ("in/[D_DATA]/part[1].jsonl", "a"),
        // The folder that `[D_DATA]` selects as a class of characters.
        ("in/D/part1.jsonl", "b"),
        ("in/what?/x.jsonl", "c"),
        ("in/whats/x.jsonl", "n"),
        ("in/star*/x.jsonl", "d"),
        ("in/spaces and ünï/file (1).jsonl", "e"),
        ("in/plain/x.jsonl", "f"),
        ("in/.hidden/x.jsonl", "h"),
        ("in/_tmp/x.jsonl", "i"),
    ] {
        place.write(path, records(tag));
    }
    symlink("../plain/x.jsonl", place.path("in/D/link.jsonl")).unwrap();
    symlink("plain", place.path("in/dirlink")).unwrap();
    symlink("..", place.path("in/plain/loop")).unwrap();
    place
}

fn records(tag: &str) -> String {
    let record = |n| format!("{{\"id\":\"{tag}{n}\",\"text\":\"Letter {tag} of page {n}.\"}}\n");
    (0..2).map(record).collect()
}

/// A manifest of sources with these paths, as TOML.
fn manifest(place: &Place, sources: &[(&str, &str)]) -> PathBuf {
    let sources = sources
        .iter()
        .map(|(name, path)| format!("[[source]]\nname = \"{name}\"\npath = {path}\nid = \"id\"\n"));
    let head = "[run]\nname = \"paths\"\n".to_owned();
    place.write("paths.toml", head + &sources.collect::<String>())
}

/// Ingests one source of the path.
fn ingest(place: &Place, path: &str) -> Outcome {
    let manifest = manifest(place, &[("s", path)]);
    let dir = place.path("run");
    let _ = fs::remove_dir_all(&dir);
    run(&manifest, &dir, &["--until", "documents"])
}

/// The first letters of the ids of the documents, by source.
fn letters(place: &Place) -> Vec<String> {
    let sql = "SELECT source, string_agg(left(source_id, 1), '' ORDER BY source_id) FROM documents \
               GROUP BY source ORDER BY source";
    query(&place.path("run"), sql)
}

#[test]
fn a_name_that_exists_is_taken_as_it_is_written() {
    let place = files();
    for (path, expected) in [
        ("\"in/[D_DATA]\"", "s|aa"),
        ("\"in/[D_DATA]/part[1].jsonl\"", "s|aa"),
        ("\"in/[D_DATA]/*.jsonl\"", "s|aa"),
        ("\"in/what?/*.jsonl\"", "s|cc"),
        ("\"in/star*/*.jsonl\"", "s|dd"),
        ("\"in/spaces and ünï/*.jsonl\"", "s|ee"),
        // What is no name is a class of characters, or one character.
        ("\"in/[A-D]/part*.jsonl\"", "s|bb"),
        ("\"in/what[?s]/*.jsonl\"", "s|ccnn"),
    ] {
        ingest(&place, path).exits(0);
        assert_eq!(letters(&place), [expected], "{path}");
    }

    // A pattern that also selects something else is said.
    ingest(&place, "\"in/[D_DATA]/*.jsonl\"").exits(0).says(&[
        "source \"s\": ",
        "[D_DATA] is a name, so it is not read as a glob, and D is not selected",
    ]);
    let clear = ingest(&place, "\"in/plain/*.jsonl\"").exits(0);
    assert!(!clear.stderr.contains("as a glob"), "{}", clear.stderr);
}

#[test]
fn stars_leave_out_what_a_folder_leaves_out_and_read_each_file_once() {
    let place = files();
    fs::hard_link(
        place.path("in/plain/x.jsonl"),
        place.path("in/plain/y.jsonl"),
    )
    .unwrap();
    for path in [
        "\"in\"",
        "\"in/**\"",
        "\"in/**/*.jsonl\"",
        "\"in/*/*.jsonl\"",
        "[\"in\", \"in/**/*\", \"in/plain/x.jsonl\"]",
    ] {
        let said = ingest(&place, path).exits(0);
        assert_eq!(letters(&place), ["s|aabbccddeeffnn"], "{path}");
        said.says(&[
            "source \"s\" leaves out 2 names: .hidden (a hidden name), _tmp (a hidden name)",
        ]);
    }

    // A name that is written out is read, and is not said to be left out.
    for (path, expected) in [
        ("\"in/.hidden/*.jsonl\"", "s|hh"),
        ("\"in/.h*/*.jsonl\"", "s|hh"),
        ("\"in/**/_tmp/*.jsonl\"", "s|ii"),
        ("[\"in/_tmp\", \"in/**/.hidden/**\"]", "s|hhii"),
    ] {
        let said = ingest(&place, path).exits(0);
        assert_eq!(letters(&place), [expected], "{path}");
        let name = if expected == "s|hh" {
            ".hidden ("
        } else {
            "_tmp ("
        };
        assert!(!said.stderr.contains(name), "{path}: {}", said.stderr);
    }
    ingest(&place, "\"in/[._]*/*.jsonl\"").exits(2).says(&[
        "no file matches ",
        "other than what is left out, as .hidden (a hidden name)",
    ]);
}

#[test]
fn a_file_that_two_sources_read_is_said() {
    let place = files();
    let paths = [
        ("one", "\"in/plain/x.jsonl\""),
        (
            "two",
            "[\"in/D/link.jsonl\", \"in/dirlink/x.jsonl\", \"in/plain/x.jsonl\"]",
        ),
    ];
    let shared = manifest(&place, &paths);
    let dir = place.path("run");
    let said = "warning: sources \"one\" and \"two\" both read a file ";
    run(&shared, &dir, &["--until", "documents"])
        .exits(0)
        .says(&[said, "D/link.jsonl, so its records are read twice"]);
    assert_eq!(letters(&place), ["one|ff", "two|ff"]);

    // A plan says it too, without a run.
    let plan = |manifest: &PathBuf| {
        let words = ["plan".as_ref(), manifest.as_os_str(), "--run-dir".as_ref()];
        curate([&words[..], &[place.path("none").as_os_str()]].concat()).exits(0)
    };
    plan(&shared).says(&[said]);

    // A hard link is the same file, and an equal file is another one.
    fs::hard_link(place.path("in/plain/x.jsonl"), place.path("hard.jsonl")).unwrap();
    place.write("equal.jsonl", records("f"));
    let three = [
        ("whole", "\"in\""),
        ("hard", "\"hard.jsonl\""),
        ("equal", "\"equal.jsonl\""),
    ];
    let said = plan(&manifest(&place, &three))
        .says(&["warning: sources \"hard\" and \"whole\" both read a file "]);
    assert!(!said.stderr.contains("\"equal\""), "{}", said.stderr);

    let overlap = [("all", "\"in\""), ("some", "\"in/[a-z]*/*.jsonl\"")];
    plan(&manifest(&place, &overlap))
        .says(&["warning: sources \"all\" and \"some\" both read 5 files, the first is "]);
}

#[test]
fn a_place_that_is_not_read_is_refused_with_the_way_out() {
    let place = files();
    for (path, hint) in [
        (
            "s3://bucket/web/*.jsonl",
            "copy the files to this machine or mount the store",
        ),
        (
            "GS://bucket/web",
            "copy the files to this machine or mount the store",
        ),
        ("https://example.org/a.jsonl.gz", "download the files"),
        ("hf://datasets/someone/web", "hf download"),
        ("file:///data", "without file://"),
    ] {
        ingest(&place, &format!("\"{path}\"")).exits(2).says(&[
            &format!("paths.toml:5:8: source.path: \"{path}\" is not a path on this machine"),
            hint,
        ]);
    }
    for path in ["~/web", "$HOME/web/*.jsonl", "${DATA}/web"] {
        ingest(&place, &format!("\"{path}\"")).exits(2).says(&[
            &format!("source.path: \"{path}\" is taken as it is written"),
            "hint: write the whole path",
        ]);
    }
    ingest(&place, "\"in/{plain,D}/*.jsonl\"")
        .exits(2)
        .says(&["hint: braces have no meaning in a glob: write a list"]);
    ingest(&place, "\"in/**x\"")
        .exits(2)
        .says(&["**x is not a glob"]);

    let manifest = manifest(&place, &[("s", "\"in\"")]);
    run(&manifest, "s3://bucket/run".as_ref(), &[])
        .exits(2)
        .says(&["the run directory s3://bucket/run is not a path on this machine"]);
}
