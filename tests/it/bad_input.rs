//! What strangers and typing errors do: damaged records end in quarantine, mistakes in one message
//! that names the place.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    Array, ArrayRef, AsArray, ListBuilder, NullArray, RecordBatch, StringArray, StringBuilder,
    UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{
    Outcome, Place, check, corpus, curate, files, fixture, query, report, run, start, tree,
};

/// A manifest of one source, `settings` in `[run]` and `fields` in `[[source]]`.
fn manifest(place: &Place, path: &str, settings: &str, fields: &str) -> PathBuf {
    let text = format!(
        "[run]\nname = \"bad\"\n{settings}\n[[source]]\nname = \"s\"\npath = \"{path}\"\n{fields}\n"
    );
    place.write("manifest.toml", text)
}

/// Writes a file and runs a manifest over it that allows any quarantine.
fn read(place: &Place, name: &str, bytes: impl AsRef<[u8]>) -> Outcome {
    place.write(name, bytes);
    run(
        &manifest(
            place,
            name,
            "max_quarantine_ratio = 1",
            "id = \"id\"\nallow_missing = [\"id\"]",
        ),
        &place.path("run"),
        &[],
    )
}

/// (kept, quarantined) documents.
fn counts(place: &Place) -> (u64, u64) {
    let report = report(&place.path("run"));
    let docs = &report["stages"][0]["docs"];
    (
        docs["kept"].as_u64().unwrap(),
        docs["quarantined"].as_u64().unwrap(),
    )
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    reader.map(Result::unwrap).collect()
}

/// A text column of every row of a table.
fn column(place: &Place, folder: &str, name: &str) -> Vec<String> {
    let run = place.path("run");
    let names: Vec<String> = match folder {
        "quarantine" => tree(&run.join(folder)).into_keys().collect(),
        _ => files(&run, folder),
    };
    let batches = names
        .iter()
        .flat_map(|name| batches(&run.join(folder).join(name)));
    let values = batches.flat_map(|batch| {
        let column = batch
            .column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .clone();
        (0..column.len())
            .map(move |row| column.value(row).to_owned())
            .collect::<Vec<_>>()
    });
    values.collect()
}

#[test]
fn a_missing_input_leaves_nothing_behind() {
    let place = Place::new();
    let dir = place.path("run");
    for (path, what) in [
        ("none.jsonl", "none.jsonl does not exist"),
        ("x-*.jsonl", "no file matches"),
    ] {
        let outcome = run(&manifest(&place, path, "", ""), &dir, &[])
            .exits(2)
            .says(&["source \"s\"", what, path]);
        assert!(outcome.stderr.starts_with("curate: "), "{}", outcome.stderr);
        assert!(!dir.exists());
    }
    fs::create_dir(place.path("folder")).unwrap();
    run(&manifest(&place, "folder", "", ""), &dir, &[])
        .exits(2)
        .says(&["there is no file in", "folder"]);
    place.write("odd.xyz", "text");
    run(&manifest(&place, "odd.xyz", "", ""), &dir, &[])
        .exits(2)
        .says(&[
            "odd.xyz is not known from its name",
            "hint: set format, for example \"txt\"",
            ".jsonl, .ndjson, .json, .csv",
        ]);
    // All such files of a source are named at once.
    for name in [
        "a.py", "b.svg", "c.jsonl", "d", "e.pdf.gz", "f.py", "g.py", "h.py",
    ] {
        place.write(&format!("code/{name}"), "text");
    }
    run(&manifest(&place, "code", "", ""), &dir, &[])
        .exits(2)
        .says(&[
            "the formats of 7 files in ",
            "a.py, b.svg, d, e.pdf.gz, f.py and 2 more",
        ]);
    assert!(!dir.exists());
}

#[test]
fn a_wrong_text_field_lists_the_fields_there_are() {
    let place = Place::new();
    place.write(
        "in.jsonl",
        "{\"body\": \"x\", \"id\": 1}\n{\"body\": \"y\", \"id\": 2}\n",
    );
    let outcome = run(
        &manifest(&place, "in.jsonl", "", ""),
        &place.path("run"),
        &[],
    )
    .exits(1);
    outcome.says(&[
        "source \"s\": 2 of 2 records could not be read, so no document of the source is left",
        "2 missing_text (in.jsonl, record 0: no field \"text\"; there are: body, id)",
        "hint: set text in [[source]] to a field that the records have",
    ]);
    fs::copy(fixture("stories.parquet"), place.path("in.parquet")).unwrap();
    let outcome = run(
        &manifest(&place, "in.parquet", "", ""),
        &place.path("other"),
        &[],
    )
    .exits(1);
    outcome.says(&[
        "100 of 100 records",
        "in.parquet",
        "no column \"text\"",
        "doc, uid",
    ]);
}

/// By `datasets.save_to_disk`: see `fixtures/arrow/README.md`.
#[test]
fn a_saved_dataset_is_read_as_it_was() {
    let place = Place::new();
    for name in [
        "data-00000-of-00002.arrow",
        "data-00001-of-00002.arrow",
        "compressed.arrow",
    ] {
        fs::copy(fixture("../arrow").join(name), place.path(name)).unwrap();
    }
    let fields = "id = \"id\"\nurl = \"url\"\ndate = \"date\"";
    let manifest = manifest(&place, "*.arrow", "", fields);
    let dir = place.path("run");

    let outcome = run(&manifest, &dir, &["--until", "documents"]).exits(0);
    outcome.says(&["compressed.arrow", "compressed bodies are not read"]);
    let values = "SELECT count(*), count(DISTINCT source_id), count(url), count(date), sum(ordinal) FROM documents";
    assert_eq!(query(&dir, values), ["60|60|51|55|870"]);
    let second = "SELECT source_id, length(text), meta FROM documents WHERE source_id = 'story-1'";
    assert_eq!(query(&dir, second), ["story-1|800|{\"label\":1}"]);
    let tagged = "SELECT meta FROM documents WHERE source_id = 'story-31'";
    assert_eq!(
        query(&dir, tagged),
        ["{\"tags\":[\"Mansfield Park\",\"chapter-26\",\"fiction\"],\"label\":1}"]
    );
    check(&dir, None).exits(0);
}

#[test]
fn half_a_compressed_file_keeps_the_records_before_the_damage() {
    for name in ["web-002.jsonl.zst", "notes.jsonl.gz"] {
        let place = Place::new();
        let bytes = fs::read(fixture(name)).unwrap();
        let dir = place.path("run");
        place.write(name, &bytes[..bytes.len() / 2]);
        run(
            &manifest(&place, name, "max_quarantine_ratio = 0", ""),
            &dir,
            &["--until", "documents"],
        )
        .exits(1)
        .says(&[name, "damaged_file", "max_quarantine_ratio = 0 "]);
        let relaxed = manifest(&place, name, "max_quarantine_ratio = 0.1", "");
        run(&relaxed, &dir, &["--until", "documents"])
            .exits(0)
            .says(&["warning: source \"s\": 1 of ", name, "damaged_file"]);
        let (kept, quarantined) = counts(&place);
        assert!(
            kept > 20 && quarantined == 1,
            "{kept} kept, {quarantined} quarantined"
        );
        assert_eq!(column(&place, "quarantine", "reason"), ["damaged_file"]);
        // What was kept is what the whole file begins with.
        let texts = column(&place, "documents", "text");
        fs::write(place.path(name), &bytes).unwrap();
        run(&relaxed, &dir, &["--until", "documents"]).exits(0);
        assert_eq!(column(&place, "documents", "text")[..texts.len()], texts);
    }
}

#[test]
fn damaged_lines_cost_themselves_only() {
    let place = Place::new();
    let lines: [&[u8]; 10] = [
        b"\xef\xbb\xbf{\"text\": \"byte order mark\"}\r",
        b"{\"text\": \"caf\xff\"}",
        b"{\"text\": \"NUL \0\"}",
        b"{\"text\": \"lone \\ud800 surrogate\"}",
        b"not json",
        b"[1]",
        b"{\"text\": 7}",
        b"{\"text\": null}",
        b" \r",
        b"{\"text\": \"the last, CRLF\\r\\n kept, \\u0000 too\"}\r",
    ];
    read(&place, "in.jsonl", lines.join(&b'\n'))
        .exits(0)
        .says(&["6 of 9 records", "1 invalid_utf8 (in.jsonl, record 1: "]);
    assert_eq!(
        column(&place, "documents", "text"),
        [
            "byte order mark",
            "lone \u{fffd} surrogate",
            "the last, CRLF\r\n kept, \0 too"
        ]
    );
    let reasons = [
        "invalid_utf8",
        "invalid_json",
        "invalid_json",
        "invalid_json",
        "text_not_string",
        "missing_text",
    ];
    assert_eq!(column(&place, "quarantine", "reason"), reasons);
    curate(["verify".as_ref(), place.path("run").as_os_str()]).exits(0);
}

#[test]
fn a_text_file_with_nul_bytes_or_of_another_encoding_is_set_aside() {
    let place = Place::new();
    place.write("texts/a.txt", "fine\n");
    place.write("texts/b.txt", b"NUL \0 inside");
    place.write("texts/c.txt", b"latin-1: \xe9");
    place.write("texts/d.txt", "");
    run(
        &manifest(&place, "texts", "max_quarantine_ratio = 1", ""),
        &place.path("run"),
        &[],
    )
    .exits(0);
    assert_eq!(column(&place, "documents", "text"), ["fine\n", ""]);
    assert_eq!(column(&place, "quarantine", "path"), ["b.txt", "c.txt"]);
    assert_eq!(
        column(&place, "quarantine", "reason"),
        ["nul_byte", "invalid_utf8"]
    );
}

#[test]
fn a_line_of_100_megabytes_is_set_aside_whole() {
    let place = Place::new();
    let mut file = File::create(place.path("in.jsonl")).unwrap();
    file.write_all(b"{\"text\": \"before\"}\n{\"text\": \"")
        .unwrap();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        file.write_all(&block).unwrap();
    }
    file.write_all(b"\"}\n{\"text\": \"after\"}\n").unwrap();
    drop(file);
    let manifest = manifest(&place, "in.jsonl", "max_quarantine_ratio = 0.4", "");
    run(&manifest, &place.path("run"), &["--until", "documents"])
        .exits(0)
        .says(&[
            "record_too_large",
            "a line of 104857612 bytes, max_record is 67108864",
        ]);
    assert_eq!(column(&place, "documents", "text"), ["before", "after"]);
}

#[test]
fn deep_nesting_is_no_crash() {
    let place = Place::new();
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let lines = format!(
        "{{\"text\": \"deep\", \"x\": {open}{close}}}\n{{\"x\": {open}}}\n{open}\n{{\"text\": {open}{close}}}\n"
    );
    read(&place, "in.jsonl", lines).exits(0);
    assert_eq!(counts(&place), (1, 3));
}

#[test]
fn a_damaged_parquet_file_is_set_aside() {
    let bytes = fs::read(fixture("stories.parquet")).unwrap();
    let end = bytes.len();
    let mut lying_length = bytes.clone();
    lying_length[end - 8..end - 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    let mut lying_footer = bytes.clone();
    lying_footer[end - 200..end - 100]
        .iter_mut()
        .for_each(|byte| *byte ^= 0xff);
    let mut no_magic = bytes.clone();
    no_magic[end - 4..].copy_from_slice(b"PAR2");
    for (what, bytes) in [
        ("truncated", &bytes[..end / 2]),
        ("lying length", &lying_length),
        ("lying footer", &lying_footer),
        ("no magic", &no_magic),
        ("empty", &[]),
    ] {
        let place = Place::new();
        place.write("in.parquet", bytes);
        // A source of which nothing is left would stop the run.
        fs::copy(fixture("stories.parquet"), place.path("whole.parquet")).unwrap();
        let manifest = manifest(
            &place,
            "*.parquet",
            "max_quarantine_ratio = 1",
            "text = \"doc\"",
        );
        let outcome = run(&manifest, &place.path("run"), &[])
            .exits(0)
            .says(&["in.parquet", "damaged_file"]);
        assert!(
            !outcome.stderr.contains("panicked"),
            "{what}: {}",
            outcome.stderr
        );
        assert_eq!(counts(&place), (100, 1), "{what}");
    }
    // A damaged page costs rows, and says so.
    let place = Place::new();
    let mut damaged_page = bytes;
    let start = end * 4 / 5;
    damaged_page[start..start + 4000]
        .iter_mut()
        .for_each(|byte| *byte ^= 0xff);
    place.write("in.parquet", damaged_page);
    run(
        &manifest(
            &place,
            "in.parquet",
            "max_quarantine_ratio = 1",
            "text = \"doc\"",
        ),
        &place.path("run"),
        &[],
    )
    .exits(0);
    let (kept, quarantined) = counts(&place);
    // The rows of a damaged row group are counted, because the footer has their number.
    assert!(
        kept < 100 && kept + quarantined == 100,
        "{kept} kept, {quarantined} quarantined"
    );
    assert_eq!(column(&place, "quarantine", "reason"), ["damaged_file"]);
}

#[test]
fn files_without_records_are_no_error() {
    for (name, text) in [
        ("in.jsonl", ""),
        ("in.jsonl", "\n \r\n\n"),
        ("in.jsonl", "\u{feff}"),
    ] {
        let place = Place::new();
        read(&place, name, text).exits(0);
        assert_eq!(counts(&place), (0, 0), "{text:?}");
    }
}

#[test]
fn ids_and_texts_from_strangers_stay_data() {
    let place = Place::new();
    let line = r#"{"id": "../../../escape\u001b]0;owned\u0007", "text": "red \u001b[31m bell \u0007 c1 \u009b31m", "\u001b[2J": 1}"#;
    read(
        &place,
        "in.jsonl",
        format!("{line}\n{{\"\\u001b[2J\": 1}}\n"),
    )
    .exits(0);
    let ids = column(&place, "documents", "doc_id");
    assert!(
        ids[0].len() == 32 && ids[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{ids:?}"
    );
    assert_eq!(
        column(&place, "documents", "source_id"),
        ["../../../escape\u{1b}]0;owned\u{7}"]
    );
    let is_control = |c: char| c.is_control() && c != '\n';
    let trace = curate([
        "trace".as_ref(),
        place.path("run").as_os_str(),
        ids[0].as_ref(),
    ])
    .exits(0);
    assert!(
        trace.stdout.contains("escape") && !trace.stdout.contains(is_control),
        "{:?}",
        trace.stdout
    );
    let trace = curate([
        "trace".as_ref(),
        place.path("run").as_os_str(),
        "\u{1b}[31m".as_ref(),
    ])
    .exits(1);
    assert!(!trace.stderr.contains(is_control), "{:?}", trace.stderr);
    let again = run(&place.path("manifest.toml"), &place.path("run"), &[])
        .exits(0)
        .says(&["missing_text"]);
    assert!(
        !again.stderr.contains(is_control) && !again.stdout.contains(is_control),
        "{:?}",
        again.stderr
    );
}

#[test]
fn every_mistake_in_a_manifest_is_named_with_its_place() {
    let place = Place::new();
    let dir = place.path("run");
    place.write("in.jsonl", "{\"text\": \"x\"}\n");
    let text = "[run]\nname = \"a b\"\nsede = 3\n\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\n\n[filter.gopher_quality]\nmin_words = -1\n";
    let manifest = place.write("manifest.toml", text);
    let path = manifest.display();
    let places = [
        format!("{path}:2:8: run.name"),
        format!("{path}:3:1: unknown key \"sede\""),
        format!("{path}:10:13: "),
    ];
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    run(&manifest, &dir, &[])
        .exits(2)
        .says(&places)
        .says(&["did you mean \"seed\"?", "found -1"]);
    assert!(!dir.exists());
    run(&place.path("none.toml"), &dir, &[])
        .exits(2)
        .says(&["none.toml"]);
    run(&place.path("in.jsonl"), &dir, &[])
        .exits(2)
        .says(&["in.jsonl:1:1"]);
    run(&manifest, &dir, &["--set", "run.nmae=\"x\""])
        .exits(2)
        .says(&["--set run.nmae"]);
    assert!(!dir.exists());
}

#[test]
fn a_run_directory_that_is_not_ours_is_left_alone() {
    let place = Place::new();
    place.write("in.jsonl", "{\"text\": \"x\"}\n");
    let manifest = manifest(&place, "in.jsonl", "", "");
    place.write("file", "mine");
    let below_a_file = place.path("file/run");
    run(&manifest, &below_a_file, &[])
        .exits(2)
        .says(&[below_a_file.to_str().unwrap()]);
    place.write("folder/mine.txt", "mine");
    run(&manifest, &place.path("folder"), &[])
        .exits(2)
        .says(&["folder exists and is not a run directory"]);
    assert_eq!(tree(&place.path("folder")).len(), 1);
    assert!(!place.path("folder/.curate").exists());
    // No run wrote the files of the input, and the message says what is wrong.
    let own_input = ["--set", "source.s.path=folder"];
    run(&manifest, &place.path("folder"), &own_input)
        .exits(2)
        .says(&[
            "source \"s\": all files of folder are in the run directory",
            "hint: name a new or an empty directory as the run directory",
        ]);
    assert_eq!(tree(&place.path("folder")).len(), 1);
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    let before = tree(&dir);
    run(&manifest, &dir, &["--set", "run.name=other"])
        .exits(2)
        .says(&["belongs to the run \"bad\", not \"other\""]);
    assert!(tree(&dir) == before);
    for command in ["status", "verify"] {
        curate([command.as_ref(), place.path("folder").as_os_str()])
            .exits(2)
            .says(&["is not a run directory"]);
    }
    // Where no one can write, root included.
    run(&manifest, Path::new("/proc/none/run"), &[])
        .exits(74)
        .says(&["/proc/none/run"]);
}

#[test]
fn a_second_run_at_once_is_refused() {
    let place = Place::new();
    place.write("in.jsonl", "{\"text\": \"x\"}\n");
    let (manifest, dir) = (manifest(&place, "in.jsonl", "", ""), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let lock = File::options()
        .write(true)
        .open(dir.join(".curate/lock"))
        .unwrap();
    lock.lock().unwrap();
    run(&manifest, &dir, &[])
        .exits(11)
        .says(&[".curate/lock", "pid ", "hint: wait"]);
    // Readers take no lock.
    curate(["status".as_ref(), dir.as_os_str()]).exits(0);
    curate(["verify".as_ref(), dir.as_os_str()]).exits(0);
    drop(lock);
    run(&manifest, &dir, &[]).exits(0);
}

#[test]
fn the_holder_of_a_run_directory_is_named_and_its_death_unlocks_it() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 40), place.path("run"));
    let mut child = start(&manifest, &dir, &[]);
    while !dir.join("documents/_commit.json").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        std::thread::sleep(Duration::from_millis(2));
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let holder = format!("pid {} on {} since 20", child.id(), host.trim());
    run(&manifest, &dir, &[])
        .exits(11)
        .says(&[".curate/lock", &holder]);
    child.kill().unwrap();
    child.wait().unwrap();
    run(&manifest, &dir, &[]).exits(0);
}

#[test]
fn an_input_that_changes_while_it_is_read_stops_the_run() {
    let place = Place::new();
    let line = format!("{{\"text\": \"{}\"}}\n", "some words of prose ".repeat(50));
    let input = place.write("in.jsonl", line.repeat(60_000));
    let (manifest, dir) = (manifest(&place, "in.jsonl", "", ""), place.path("run"));
    let mut child = start(&manifest, &dir, &["--until", "documents"]);
    while !dir.join(".curate/staging/unit-0").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        std::thread::sleep(Duration::from_micros(200));
    }
    File::options()
        .append(true)
        .open(&input)
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{said}");
    assert!(
        said.contains("in.jsonl changed while it was read") && said.contains("hint: run again"),
        "{said}"
    );
    assert!(!dir.join("documents/_commit.json").exists());
    run(&manifest, &dir, &["--until", "documents"]).exits(0);
    assert_eq!(counts(&place), (60_001, 0));
}

#[test]
fn links_are_followed_for_inputs_once_and_refused_for_outputs() {
    let place = Place::new();
    place.write("real/a.jsonl", "{\"text\": \"x\"}\n");
    fs::create_dir(place.path("in")).unwrap();
    symlink("../real", place.path("in/one")).unwrap();
    symlink("../real", place.path("in/two")).unwrap();
    // Two links to their own folder are 2^40 paths for who follows them blindly.
    symlink(".", place.path("in/here")).unwrap();
    symlink(".", place.path("in/there")).unwrap();
    symlink("nowhere", place.path("in/dangling.jsonl")).unwrap();
    for pattern in ["in", "in/**/*.jsonl"] {
        let _ = fs::remove_dir_all(place.path("run"));
        run(
            &manifest(&place, pattern, "", ""),
            &place.path("run"),
            &["--until", "documents"],
        )
        .exits(0);
        assert_eq!(counts(&place), (1, 0), "{pattern}");
    }
    let dir = place.path("run");
    let manifest = manifest(&place, "real", "", "");
    for link in ["language", ".curate/staging", "mix/m", "run.json"] {
        fs::remove_dir_all(&dir).unwrap();
        let elsewhere = place.path("elsewhere");
        fs::create_dir_all(&elsewhere).unwrap();
        run(&manifest, &dir, &["--until", "documents"]).exits(0);
        let at = dir.join(link);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let _ = fs::remove_dir_all(&at).or_else(|_| fs::remove_file(&at));
        symlink(&elsewhere, &at).unwrap();
        run(&manifest, &dir, &[])
            .exits(2)
            .says(&[&format!("{link} is a symbolic link, it may lead out")]);
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{link}");
    }
}

#[test]
fn a_stage_or_a_mixture_that_cannot_be_is_refused() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 10), place.path("run"));
    run(&manifest, &dir, &["--until", "nonsense"])
        .exits(2)
        .says(&[
            "\"nonsense\"",
            "documents, coverage, language",
            "near_dedup, paragraph_dedup, pii, tokens",
        ]);
    assert!(!dir.exists());
    let outcome = run(
        &manifest,
        &dir,
        &["--set", "mixture.general.tokens=1_000_000_000"],
    )
    .exits(1);
    let outcome = outcome.says(&[
        "mixture \"general\" is not possible: 1000000000 tokens are requested",
        "hint: ask for ",
    ]);
    let hint = outcome.stderr.split("ask for ").nth(1).unwrap();
    let feasible: u64 = hint.split(' ').next().unwrap().parse().unwrap();
    let exactly = format!("mixture.general.tokens={feasible}");
    run(&manifest, &dir, &["--set", &exactly]).exits(0);
    let more = format!("mixture.general.tokens={}", feasible + 1);
    run(&manifest, &dir, &["--set", &more]).exits(1);
}

#[test]
fn an_interrupted_run_says_so_and_is_resumed() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let place = Place::new();
        let (manifest, dir) = (corpus(&place, 40), place.path("run"));
        let mut child = start(&manifest, &dir, &["--threads", "2"]);
        while !dir.join("signals/_commit.json").exists() {
            assert!(child.try_wait().unwrap().is_none(), "the run ended early");
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = child.id().to_string();
        let sent = std::process::Command::new("sh")
            .args(["-c", &format!("kill -{signal} {pid}")])
            .status()
            .unwrap();
        assert!(sent.success());
        let begun = Instant::now();
        let status = child.wait().unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it took {:?}",
            begun.elapsed()
        );
        assert_eq!(status.code(), Some(code));
        let outcome = run(&manifest, &dir, &[])
            .exits(0)
            .prints(&["cached: documents, coverage, language, signals"]);
        assert!(outcome.stderr.contains("signals: cached"));
        curate(["verify".as_ref(), dir.as_os_str()]).exits(0);
    }
}

/// Found by these tests: a folder whose name has brackets was taken for a pattern.
#[test]
fn brackets_in_the_folder_of_the_manifest_are_no_pattern() {
    let place = Place::new();
    place.write("data[1]/in-1.jsonl", "{\"text\": \"x\"}\n");
    let text = "[run]\nname = \"bad\"\n[[source]]\nname = \"s\"\npath = \"in-*.jsonl\"\n";
    let manifest = place.write("data[1]/manifest.toml", text);
    run(&manifest, &place.path("run"), &[]).exits(0);
    assert_eq!(counts(&place), (1, 0));
}

/// Found by these tests: a named pipe in a folder held the run until somebody wrote to it.
#[test]
fn what_is_no_file_is_not_read() {
    let place = Place::new();
    place.write("texts/a.txt", "fine");
    let pipe = place.path("texts/b.txt");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut child = start(&manifest(&place, "texts", "", ""), &place.path("run"), &[]);
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the run waits for the pipe");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a Parquet file whose text column is what it is given, beside an id.
fn parquet_of(path: &Path, texts: ArrayRef) {
    let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..texts.len() as u64));
    let batch = RecordBatch::try_from_iter([("id", ids), ("text", texts)]).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn rows_of_a_column_of_another_type_are_all_counted() {
    let place = Place::new();
    let mut list = ListBuilder::new(StringBuilder::new());
    for _ in 0..3000 {
        list.values().append_value("one");
        list.append(true);
    }
    fs::create_dir(place.path("in")).unwrap();
    let texts = StringArray::from_iter_values((0..300).map(|n| format!("Text number {n}.")));
    parquet_of(&place.path("in/good.parquet"), Arc::new(texts));
    parquet_of(&place.path("in/list.parquet"), Arc::new(list.finish()));
    parquet_of(
        &place.path("in/null.parquet"),
        Arc::new(NullArray::new(2000)),
    );
    let numbers = UInt64Array::from_iter_values(0..1000);
    parquet_of(&place.path("in/number.parquet"), Arc::new(numbers));

    let strict = manifest(&place, "in/*", "", "");
    let dir = place.path("run");
    run(&strict, &dir, &["--until", "documents"])
        .exits(1)
        .says(&[
            "6000 of 6300 records could not be read",
            "list.parquet",
            "expected text",
        ]);
    let relaxed = manifest(&place, "in/*", "max_quarantine_ratio = 1", "");
    run(&relaxed, &dir, &[]).exits(0);
    check(&dir, None).exits(0);
    assert_eq!(counts(&place), (300, 6000));
    let by_file = "SELECT path, reason, sum(records)::INT FROM quarantine GROUP BY ALL ORDER BY 1";
    assert_eq!(
        query(&dir, by_file),
        [
            "list.parquet|text_not_string|3000",
            "null.parquet|missing_text|2000",
            "number.parquet|text_not_string|1000"
        ]
    );
}
