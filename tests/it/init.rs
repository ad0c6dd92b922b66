//! `curate init`, `doctor`, `completions` and `man`: what is written for files of every format runs as
//! it is, whatever the names of files and fields are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;

use crate::support::{Outcome, Place, curate, fixture, outcome, report, repository, tree};

/// A text of its own for each number, long enough for every rule about lengths.
fn text(number: usize) -> String {
    let words = [
        "river", "people", "house", "music", "paper", "garden", "window", "street", "letter",
        "winter",
    ];
    let sentence = |line: usize| {
        let word = |at: usize| words[(number * 7 + line * 3 + at * at) % words.len()];
        format!(
            "The {} of the {} was not far from the {number}th {} that we have seen with {}.",
            word(1),
            word(2),
            word(3),
            word(4)
        )
    };
    (0..8).map(sentence).collect::<Vec<_>>().join("\n")
}

/// Objects with an id and the text in fields of these names.
fn objects(n: usize, id: &str, name: &str) -> Vec<serde_json::Value> {
    let object = |number: usize| {
        serde_json::json!({
            id: format!("r{number}"), name: text(number), "url": format!("https://h.example/{number}"),
            "published": "2024-01-02", "license": "cc0-1.0",
        })
    };
    (0..n).map(object).collect()
}

fn lines(objects: &[serde_json::Value]) -> String {
    objects.iter().map(|object| format!("{object}\n")).collect()
}

/// The columns `uid` and `doc`.
fn batch(n: usize) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("uid", DataType::Utf8, false),
        Field::new("doc", DataType::Utf8, false),
    ]);
    let ids = StringArray::from_iter_values((0..n).map(|number| number.to_string()));
    let texts = StringArray::from_iter_values((0..n).map(text));
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(texts)]).unwrap()
}

fn parquet(n: usize) -> Vec<u8> {
    let batch = batch(n);
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn arrow(n: usize) -> Vec<u8> {
    let batch = batch(n);
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn csv(n: usize) -> String {
    let row = |number| format!("{number},\"{}\"\n", text(number));
    let rows: String = (0..n).map(row).collect();
    format!("key,article\n{rows}")
}

/// Runs `curate init` in a folder.
fn init(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_curate"));
    outcome(command.arg("init").args(arguments).current_dir(folder))
}

/// Runs a subcommand over `manifest.toml` in a folder.
fn with_manifest(folder: &Path, subcommand: &str) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_curate"));
    outcome(
        command
            .args([subcommand, "manifest.toml"])
            .current_dir(folder),
    )
}

/// The manifest of a folder, and the documents that each of its sources had in a run.
#[track_caller]
fn runs(folder: &Path) -> (String, Vec<(String, u64)>) {
    let manifest = fs::read_to_string(folder.join("manifest.toml")).unwrap();
    println!("{manifest}");
    with_manifest(folder, "plan").exits(0);
    with_manifest(folder, "run").exits(0);

    let name: toml::Table = manifest.parse().unwrap();
    let run = folder
        .join("runs")
        .join(name["run"]["name"].as_str().unwrap());
    let report = report(&run);
    let documents = report["sources"].as_array().unwrap().iter().map(|source| {
        let documents = source["funnel"][0]["docs"]["kept"].as_u64().unwrap();
        (source["name"].as_str().unwrap().to_owned(), documents)
    });
    (manifest, documents.collect())
}

/// A folder with one file of a format.
fn of_format(file: &str, bytes: impl AsRef<[u8]>) -> (String, Vec<(String, u64)>) {
    let place = Place::new();
    place.write(&format!("data/{file}"), bytes);
    init(&place.path(""), &["data"]).exits(0);
    runs(&place.path(""))
}

/// Fails the test unless a manifest has each of the lines, which may have a comment.
#[track_caller]
fn has(manifest: &str, lines: &[&str]) {
    for line in lines {
        let is_there = manifest
            .lines()
            .any(|own| own == *line || own.starts_with(&format!("{line}  #")));
        assert!(is_there, "{line}\n{manifest}");
    }
}

#[test]
fn every_format_gets_a_manifest_that_runs() {
    let json = objects(30, "doc_id", "content");
    let named = [
        "text = \"content\"",
        "id = \"doc_id\"",
        "url = \"url\"",
        "date = \"published\"",
        "license = \"cc0-1.0\"",
    ];
    let gzip = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        std::io::Write::write_all(&mut gzip, lines(&json).as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let zstd = zstd::encode_all(lines(&json).as_bytes(), 1).unwrap();
    let array = serde_json::to_string_pretty(&json).unwrap();
    for (file, bytes) in [
        ("a.jsonl", lines(&json).into_bytes()),
        ("a.jsonl.gz", gzip),
        ("a.jsonl.zst", zstd),
        ("a.json", array.into_bytes()),
    ] {
        let (manifest, documents) = of_format(file, bytes);
        has(&manifest, &named);
        assert_eq!(documents, [("a".to_owned(), 30)], "{file}");
        assert!(manifest.starts_with("#:schema ./.curate.schema.json\n"));
    }

    let (manifest, documents) = of_format("rows.csv", csv(20));
    has(&manifest, &["text = \"article\"", "id = \"key\""]);
    assert_eq!(documents[0].1, 20);

    for (file, bytes) in [("t.parquet", parquet(20)), ("t.arrow", arrow(20))] {
        let (manifest, documents) = of_format(file, bytes);
        has(&manifest, &["text = \"doc\"", "id = \"uid\""]);
        assert_eq!(documents, [("t".to_owned(), 20)], "{file}");
    }

    let archive = fs::read(repository().join("fixtures/web/texts.warc.wet.gz")).unwrap();
    let (manifest, documents) = of_format("texts.warc.wet.gz", archive);
    assert!(!manifest.contains("\ntext = "), "{manifest}");
    assert!(documents[0].1 > 0);
}

#[test]
fn folders_of_texts_and_pages_are_sources() {
    let place = Place::new();
    for number in 0..4 {
        let page = format!(
            "<html><body><main><p>{}</p></main></body></html>",
            text(number)
        );
        place.write(&format!("data/pages/p{number}.html"), page);
        place.write(&format!("data/books/b{number}.txt"), text(number + 50));
        place.write(
            &format!("data/code/f{number}.py"),
            format!("{}\n", text(number + 90)),
        );
    }
    place.write("data/code/picture.png", b"\x89PNG\r\n\x1a\n");
    place.write("data/books/.hidden.txt", "not read");
    init(&place.path(""), &["data"]).exits(0);
    let (manifest, documents) = runs(&place.path(""));
    let names: Vec<_> = documents
        .iter()
        .map(|(name, n)| (name.as_str(), *n))
        .collect();
    assert_eq!(names, [("books", 4), ("code", 4), ("pages", 4)]);
    has(
        &manifest,
        &[
            "path = \"data/books\"",
            "path = \"data/code/*.py\"",
            "format = \"txt\"",
        ],
    );
    assert!(manifest.contains("Not read, because the names tell no format: 1 (.png)"));
}

/// A snapshot of a hub: a card, splits in Parquet, and links into a cache.
#[test]
fn a_snapshot_of_a_hub_is_divided_by_its_splits() {
    let place = Place::new();
    let blob = place.write("blobs/0123", parquet(20));
    place.write("snapshot/README.md", "---\nlicense: mit\n---\n# A card\n");
    place.write("snapshot/dataset_infos.json", "{}");
    place.write(
        "snapshot/data/validation-00000-of-00001.parquet",
        parquet(3),
    );
    for part in 0..2 {
        let name = place.path(&format!("snapshot/data/train-0000{part}-of-00002.parquet"));
        if part == 0 {
            std::os::unix::fs::symlink(&blob, name).unwrap();
        } else {
            fs::write(name, parquet(5)).unwrap();
        }
    }
    init(&place.path(""), &["snapshot"]).exits(0);
    let (manifest, documents) = runs(&place.path(""));
    assert_eq!(
        documents,
        [("train".to_owned(), 25), ("validation".to_owned(), 3)]
    );
    has(&manifest, &["path = \"snapshot/data/train*.parquet\""]);
}

#[test]
fn the_sample_corpus_is_told_apart() {
    let place = Place::new();
    let corpus = fixture("web-000.jsonl.zst").parent().unwrap().to_owned();
    init(&place.path(""), &[corpus.to_str().unwrap()]).exits(0);
    let manifest = fs::read_to_string(place.path("manifest.toml")).unwrap();
    has(
        &manifest,
        &[
            "name = \"manuals\"",
            "text = \"content.text\"",
            "id = \"content.id\"",
            "name = \"stories\"",
            "text = \"doc\"",
            "name = \"books\"",
            "keep = [\"eng\"]",
        ],
    );
    assert!(manifest.contains("records, median "), "{manifest}");
}

/// Names that would end a string, a line or a comment, or stand for other files in a glob.
#[test]
fn hostile_names_of_files_and_fields_break_nothing() {
    let place = Place::new();
    let evil = "x\"]\n[run]\nseed = 1 # \u{202e}\u{1b}[31m '''";
    let object = |number: usize| {
        serde_json::json!({
            "a\"]\n[[source]]\nname = \"b": text(number), "": 1, "k..k": 2, "id": number, evil: [evil],
        })
    };
    let records: Vec<_> = (0..20).map(object).collect();
    for name in [
        format!("data/{evil}/a.jsonl"),
        "data/[ab]*?/a[1].jsonl".to_owned(),
        "data/[ab]*?/a1.jsonl".to_owned(),
        "data/~home/$HOME.jsonl".to_owned(),
        "data/été/漢字.jsonl".to_owned(),
    ] {
        place.write(&name, lines(&records));
    }
    init(&place.path(""), &["data", "-o", "manifest.toml"]).exits(0);
    let (manifest, documents) = runs(&place.path(""));
    assert_eq!(
        documents.iter().map(|(_, n)| n).sum::<u64>(),
        100,
        "{documents:?}"
    );
    let table: toml::Table = manifest.parse().unwrap();
    assert_eq!(table["run"].as_table().unwrap().len(), 1, "{manifest}");
    assert!(!manifest.contains(['\u{1b}', '\u{202e}']), "{manifest}");
    for source in table["source"].as_array().unwrap() {
        assert_eq!(
            source["text"].as_str(),
            Some("a\"]\n[[source]]\nname = \"b")
        );
    }

    // Names that are no Unicode cannot be written in a manifest.
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"data/\xff.jsonl");
    fs::write(place.path("").join(name), lines(&records)).unwrap();
    init(&place.path(""), &["data", "--force"])
        .exits(2)
        .says(&["is not UTF-8"]);
}

#[test]
fn a_file_is_replaced_only_with_force() {
    let place = Place::new();
    place.write("data/a.jsonl", lines(&objects(5, "id", "text")));
    place.write("manifest.toml", "mine");
    let before = tree(&place.path(""));
    init(&place.path(""), &["data"])
        .exits(2)
        .says(&["manifest.toml exists already", "--force"]);
    assert_eq!(tree(&place.path("")), before);

    init(&place.path(""), &["data", "-o", "other.toml"]).exits(0);
    assert_eq!(fs::read(place.path("manifest.toml")).unwrap(), b"mine");
    place.write(".curate.schema.json", "also mine");
    init(&place.path(""), &["data", "-o", "third.toml"])
        .exits(0)
        .says(&[".curate.schema.json is of another version"]);
    assert_eq!(
        fs::read(place.path(".curate.schema.json")).unwrap(),
        b"also mine"
    );

    init(&place.path(""), &["data", "--force"]).exits(0);
    let written = fs::read_to_string(place.path("manifest.toml")).unwrap();
    let printed = init(&place.path(""), &["data", "-o", "-"]).exits(0).stdout;
    assert_eq!(
        written,
        format!("#:schema ./.curate.schema.json\n{printed}")
    );
    let schema = fs::read_to_string(place.path(".curate.schema.json")).unwrap();
    assert_eq!(schema, curate(["schema", "manifest", "--json"]).stdout);
}

/// The current folder holds the manifest, its schema and, after a run, the run directory.
#[test]
fn the_current_folder_is_looked_at_and_results_are_no_input() {
    let place = Place::new();
    place.write(
        "a.json",
        serde_json::to_string(&objects(20, "id", "text")).unwrap(),
    );
    init(&place.path(""), &[]).exits(0);
    let (first, documents) = runs(&place.path(""));
    assert_eq!(documents.len(), 1);
    init(&place.path(""), &["--force"]).exits(0);
    assert_eq!(
        fs::read_to_string(place.path("manifest.toml")).unwrap(),
        first
    );
}

#[test]
fn what_cannot_be_decided_is_said() {
    let place = Place::new();
    let chat: String = (0..5)
        .map(|n| format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{n}\"}}]}}\n"))
        .collect();
    place.write("chat/chat.jsonl", &chat);
    init(&place.path(""), &["chat"])
        .exits(2)
        .says(&["no field of chat/chat.jsonl looks like a text", "messages"]);
    assert!(!place.path("manifest.toml").exists());

    place.write("chat/a.jsonl", lines(&objects(20, "id", "text")));
    init(&place.path(""), &["chat"])
        .exits(0)
        .prints(&["left out"]);
    let (manifest, documents) = runs(&place.path(""));
    assert_eq!(documents, [("a".to_owned(), 20)]);
    assert!(manifest.contains("# text = \"FIELD\""), "{manifest}");

    init(&place.path(""), &["nowhere", "-o", "y.toml"])
        .exits(2)
        .says(&["nowhere does not exist"]);
    place.write("empty/x.png", b"\x89PNG\0");
    init(&place.path(""), &["empty", "-o", "x.toml"])
        .exits(2)
        .says(&["no file of a known format"]);
    init(&place.path(""), &["chat", "-o", "no/such/x.toml"]).exits(2);
}

#[test]
fn every_recipe_runs() {
    for recipe in ["quickstart", "fineweb", "code", "multilingual", "dedup"] {
        let place = Place::new();
        let german = |n: usize| serde_json::json!({"id": n + 100, "text": format!("Das ist der {n}. Text über das Haus und den Garten, den wir im Winter nicht gesehen haben.")});
        let mut records = objects(20, "id", "text");
        records.extend((0..20).map(german));
        place.write("data/a.jsonl", lines(&records));
        init(&place.path(""), &["data", "--recipe", recipe]).exits(0);
        let (manifest, documents) = runs(&place.path(""));
        assert_eq!(documents[0].1, 40);
        let keeps_all = matches!(recipe, "code" | "multilingual" | "dedup");
        assert_eq!(manifest.contains("\nkeep = "), !keeps_all, "{manifest}");
        if !keeps_all {
            has(
                &manifest,
                &["keep = [\"deu\", \"eng\"]", "min_stop_words = 0"],
            );
        }
    }
}

#[test]
fn doctor_names_what_would_stop_a_run() {
    let place = Place::new();
    let doctor = curate([Path::new("doctor"), &place.path("runs")]).exits(0);
    for name in [
        "version",
        "processors",
        "memory",
        "space",
        "files",
        "open files",
        "device",
    ] {
        assert!(
            doctor.stdout.contains(&format!(" {name} ")),
            "{}",
            doctor.stdout
        );
    }
    assert!(tree(&place.path("")).is_empty(), "a trial was left");

    let json = curate([
        Path::new("doctor"),
        &place.path("runs"),
        Path::new("--json"),
    ])
    .exits(0);
    let checks: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(checks.as_array().unwrap().len(), 8);

    // A file in place of the folder stops a run, also where the user may write everywhere.
    let file = place.write("file", "x");
    let below: PathBuf = file.join("runs");
    curate([Path::new("doctor"), &below])
        .exits(1)
        .prints(&["stop     files"]);

    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let may_write = fs::write(closed.join("x"), "").is_ok();
    curate([Path::new("doctor"), &closed]).exits(if may_write { 0 } else { 1 });
}

#[test]
fn completions_and_pages_name_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = curate(["completions", shell]).exits(0).stdout;
        for word in ["curate", "init", "calibrate", "doctor"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let place = Place::new();
    let script = place.write("curate.bash", curate(["completions", "bash"]).stdout);
    outcome(Command::new("bash").arg("-n").arg(script)).exits(0);
    curate(["completions", "sh"]).exits(2);

    curate([Path::new("man"), &place.path("man/man1")]).exits(0);
    let pages = tree(&place.path("man/man1"));
    for page in [
        "curate.1",
        "curate-init.1",
        "curate-run.1",
        "curate-train-ngram.1",
    ] {
        let text = String::from_utf8(pages[page].clone()).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}
