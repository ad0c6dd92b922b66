//! A snapshot of a data set from a hub, with its card and its dot files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::{Outcome, Place, curate, query, run};

const CARD: &str = "---\nlicense: mit\n---\n# A data set\n\nIt has texts that somebody gathered.\n";

fn records(range: std::ops::Range<u32>) -> String {
    let record = |n| format!("{{\"text\":\"A text of the data set, and its number is {n}.\"}}\n");
    range.map(record).collect()
}

/// A folder as a hub's client leaves it, and as `datasets` leaves it in `saved`.
fn snapshot() -> Place {
    let place = Place::new();
    place.write("in/data/train-00000-of-00001.jsonl", records(0..30));
    place.write("in/README.md", CARD);
    place.write("in/README_zh-CN.md", CARD);
    place.write("in/LICENSE", "Permission is granted.\n");
    place.write("in/.gitattributes", "*.parquet filter=lfs\n");
    place.write("in/dataset_infos.json", "{\n  \"default\": {}\n}\n");
    place.write(
        "in/.cache/huggingface/download/train.jsonl",
        records(30..40),
    );

    place.write("saved/train/data-00000-of-00001.jsonl", records(0..30));
    place.write(
        "saved/train/dataset_info.json",
        "{\n  \"features\": {}\n}\n",
    );
    place.write("saved/train/state.json", "{\n  \"_split\": \"train\"\n}\n");
    place.write("saved/dataset_dict.json", "{\"splits\": [\"train\"]}");
    place
}

fn manifest(place: &Place, path: &str, more: &str) -> PathBuf {
    let head = "[run]\nname = \"hub\"\n[[source]]\nname = \"s\"\n";
    place.write("hub.toml", format!("{head}path = {path}\n{more}\n"))
}

fn ingest(place: &Place, path: &str, more: &str) -> Outcome {
    let dir = place.path("run");
    let _ = fs::remove_dir_all(&dir);
    run(
        &manifest(place, path, more),
        &dir,
        &["--until", "documents"],
    )
}

/// The number of documents and of quarantined records.
fn counts(place: &Place) -> String {
    let sql = "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM quarantine)";
    query(&place.path("run"), sql).concat()
}

#[test]
fn the_card_and_the_metadata_are_no_documents() {
    let place = snapshot();
    for (path, more) in [
        ("\"in\"", ""),
        ("\"in\"", "format = \"jsonl\""),
        ("\"in/**\"", ""),
        ("\"in/**/*\"", ""),
        ("\"saved\"", ""),
        ("[\"in\", \"in/data\"]", ""),
    ] {
        ingest(&place, path, more).exits(0);
        assert_eq!(counts(&place), "30|0", "{path} {more}");
    }

    // What is left out is said, by a run and by a plan.
    let said = "source \"s\" leaves out 6 names: .cache (a hidden name), .gitattributes (a hidden \
                name), LICENSE (a licence), README.md (a data set card), README_zh-CN.md (a data \
                set card) and 1 more; to read one, name it in path";
    ingest(&place, "\"in\"", "").exits(0).says(&[said]);
    let (plan, hub, dir) = ("plan".as_ref(), place.path("hub.toml"), place.path("none"));
    curate([plan, hub.as_os_str(), "--run-dir".as_ref(), dir.as_os_str()])
        .exits(0)
        .says(&[said]);
    ingest(&place, "\"saved\"", "").exits(0).says(&[
        "leaves out 3 names: dataset_dict.json (metadata), train/dataset_info.json (metadata), \
         train/state.json (metadata)",
    ]);
}

#[test]
fn a_name_in_the_path_is_read() {
    let place = snapshot();
    for (path, expected) in [
        ("\"in/README.md\"", "1|0"),
        ("\"**/README.md\"", "1|0"),
        ("[\"in\", \"in/README.md\"]", "31|0"),
        ("[\"in\", \"in/.cache\"]", "40|0"),
    ] {
        ingest(&place, path, "").exits(0);
        assert_eq!(counts(&place), expected, "{path}");
    }

    // A folder of texts has a card like any other.
    place.write("notes/one.md", "A note about the weather.\n");
    place.write("notes/README.md", "What the notes are about.\n");
    ingest(&place, "\"notes\"", "format = \"txt\"")
        .exits(0)
        .says(&["source \"s\" leaves out 1 name: README.md (a data set card)"]);
    assert_eq!(counts(&place), "1|0");

    // Nothing but a card is no source.
    fs::remove_file(place.path("notes/one.md")).unwrap();
    ingest(&place, "\"notes\"", "").exits(2).says(&[
        "there is no file in ",
        "other than what is left out, as README.md (a data set card)",
    ]);
}

#[test]
fn a_link_into_a_cache_that_lost_its_data_is_a_warning() {
    let place = snapshot();
    place.write("blobs/1234", records(0..5));
    fs::create_dir(place.path("snap")).unwrap();
    symlink("../blobs/1234", place.path("snap/a.jsonl")).unwrap();
    symlink("../blobs/5678", place.path("snap/b.jsonl")).unwrap();
    ingest(&place, "\"snap\"", "")
        .exits(0)
        .says(&["warning: source \"s\" cannot read 1 name: b.jsonl (a link to nothing)"]);
    assert_eq!(counts(&place), "5|0");
}
