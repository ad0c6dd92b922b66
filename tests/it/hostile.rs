//! Input that is made to break a reader: bombs, long lines, odd Unicode, many files, names that
//! speak to a terminal. Each run ends with every record accounted for, in memory that does not
//! follow the input. `CURATE_TORTURE=1` takes the sizes that the README promises.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::support::{
    Outcome, Place, curate, figure, outcome, python, query, report, repository, run, run_command,
};

fn manifest(place: &Place, path: &str, settings: &str) -> PathBuf {
    let head = format!("[run]\nname = \"hostile\"\nmax_quarantine_ratio = 1\n{settings}\n");
    place.write(
        "manifest.toml",
        format!("{head}[[source]]\nname = \"s\"\npath = \"{path}\"\n[language]\n[dedup.exact]\n[dedup.near]\n"),
    )
}

/// Records read and set aside; what came in went on or is explained, at every stage.
fn counts(run: &Path) -> (u64, u64) {
    curate(["verify".as_ref(), run.as_os_str()]).exits(0);
    let report = report(run);
    let docs = &report["stages"][0]["docs"];
    (
        docs["kept"].as_u64().unwrap(),
        docs["quarantined"].as_u64().unwrap(),
    )
}

/// The most memory that a run held, in MB, as it says itself.
fn memory(outcome: &Outcome) -> u64 {
    let line = outcome
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("peak memory: "))
        .unwrap();
    line.strip_suffix(" MB").unwrap().parse().unwrap()
}

fn is_torture() -> bool {
    std::env::var("CURATE_TORTURE").is_ok()
}

#[test]
fn a_bomb_takes_no_memory() {
    let place = Place::new();
    let megabytes = if is_torture() { 10_000 } else { 300 };
    for (name, newline) in [("line", false), ("lines", true)] {
        let path = place.write(&format!("in/{name}.jsonl.gz"), "");
        let mut bomb = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
        let mut block = vec![b'0'; 1 << 20];
        if newline {
            block = b"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\n"
                .repeat(11_915);
        }
        let blocks = if newline { megabytes / 100 } else { megabytes };
        (0..blocks).for_each(|_| bomb.write_all(&block).unwrap());
        bomb.write_all(b"\n{\"text\": \"behind it\"}\n").unwrap();
        bomb.finish().unwrap();
    }
    // A file compressed twice is compressed once for whoever goes by its name.
    let mut twice = GzEncoder::new(Vec::new(), Compression::fast());
    twice
        .write_all(&fs::read(place.path("in/line.jsonl.gz")).unwrap())
        .unwrap();
    place.write("in/twice.jsonl.gz", twice.finish().unwrap());
    let dir = place.path("run");
    let outcome = run(&manifest(&place, "in", ""), &dir, &[])
        .exits(0)
        .says(&["record"]);
    let (kept, set_aside) = counts(&dir);
    assert_eq!(kept, 2);
    assert!(set_aside > 1, "{set_aside}");
    assert!(memory(&outcome) < 500, "{} MB", memory(&outcome));
    figure("decompression bombs: MB in one line", megabytes);
}

/// Writes row groups, each a text column and others.
fn write_parquet(path: PathBuf, groups: &[Vec<(&str, ArrayRef)>]) {
    let settings = WriterProperties::builder()
        .set_compression(Codec::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(1 << 30)
        .build();
    let groups: Vec<RecordBatch> = groups
        .iter()
        .map(|columns| RecordBatch::try_from_iter(columns.clone()).unwrap())
        .collect();
    let mut writer = ArrowWriter::try_new(
        File::create(path).unwrap(),
        groups[0].schema(),
        Some(settings),
    )
    .unwrap();
    for group in &groups {
        writer.write(group).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
}

/// A value of a megabyte in a thousand rows is a megabyte in the file, and none in memory that a
/// row did not ask for.
#[test]
fn a_value_in_many_rows_is_in_memory_once() {
    let place = Place::new();
    fs::create_dir_all(place.path("in")).unwrap();
    let rows = 1024;
    let long = || -> ArrayRef {
        let value = StringArray::from(vec!["x".repeat(1 << 20)]);
        Arc::new(DictionaryArray::new(
            Int32Array::from(vec![0; rows]),
            Arc::new(value),
        ))
    };
    let short = || -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            (0..rows).map(|row| format!("Prose {row}")),
        ))
    };
    write_parquet(place.path("in/text.parquet"), &[vec![("text", long())]]);
    write_parquet(
        place.path("in/other.parquet"),
        &[vec![("text", short()), ("note", long())]],
    );
    write_parquet(
        place.path("in/id.parquet"),
        &[vec![("text", short()), ("id", long())]],
    );
    // A source of which nothing is left would stop the run.
    place.write("in/short.jsonl", "{\"text\": \"x\", \"id\": 1}\n");
    let dir = place.path("run");
    let manifest = manifest(&place, "in", "max_record = \"512KiB\"");
    let outcome = run(&manifest, &dir, &["--set", "source.s.id=id"])
        .exits(0)
        .says(&["record_too_large"]);
    assert_eq!(counts(&dir), (1, 3 * rows as u64));
    assert!(memory(&outcome) < 400, "{} MB", memory(&outcome));
    fs::remove_file(place.path("in/text.parquet")).unwrap();
    let outcome = run(
        &manifest,
        &dir,
        &["--set", "run.max_record=2MiB", "--until", "documents"],
    )
    .exits(0);
    assert!(memory(&outcome) < 700, "{} MB", memory(&outcome));
    assert_eq!(counts(&dir), (2 * rows as u64 + 1, 0));
}

#[test]
fn a_page_beyond_the_limit_costs_its_row_group() {
    let place = Place::new();
    fs::create_dir_all(place.path("in")).unwrap();
    let group = |text: String| -> Vec<(&str, ArrayRef)> {
        vec![("text", Arc::new(StringArray::from(vec![text])))]
    };
    write_parquet(
        place.path("in/a.parquet"),
        &[
            group("before it".to_owned()),
            group("x".repeat(300 << 20)),
            group("behind it".to_owned()),
        ],
    );
    let dir = place.path("run");
    let narrow = manifest(&place, "in", "max_pages = \"64MiB\"");
    let outcome = run(&narrow, &dir, &[])
        .exits(0)
        .says(&["row group 1", "bytes decompressed, max_pages is 67108864"]);
    assert_eq!(counts(&dir), (2, 1));
    assert!(memory(&outcome) < 300, "{} MB", memory(&outcome));
    let outcome = run(&manifest(&place, "in", ""), &dir, &[])
        .exits(0)
        .says(&["record_too_large"]);
    assert_eq!(counts(&dir), (2, 1));
    figure(
        "Parquet bombs: MB of one text, and of memory",
        format!("300, {}", memory(&outcome)),
    );
}

/// Files of some bytes that ask a reader for gigabytes, each in another way; a reader that believes
/// one ends the run.
#[test]
fn no_parquet_file_gets_what_it_asks_for() {
    let place = Place::new();
    let script = repository().join("tests/it/hostile_parquet.py");
    outcome(python().arg(script).arg(place.path("in"))).exits(0);
    let lies = fs::read_dir(place.path("in")).unwrap().count() as u64 - 1;
    let dir = place.path("run");
    let outcome = run(&manifest(&place, "in", "max_pages = \"64MiB\""), &dir, &[])
        .exits(0)
        .says(&["damaged_file"]);
    assert_eq!(counts(&dir).0, 6);
    // One damage a file, which may stand for all rows of a row group.
    let damages = query(&dir, "SELECT count(*) FROM quarantine");
    assert_eq!(damages, [lies.to_string()]);
    assert!(memory(&outcome) < 300, "{} MB", memory(&outcome));
    figure(
        "Parquet files that ask for gigabytes, each in another way",
        lies,
    );
}

#[test]
fn a_window_beyond_the_limit_is_set_aside() {
    let place = Place::new();
    let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&b"{\"text\": \"prose\"}\n".repeat(100))
        .unwrap();
    place.write("in/wide.jsonl.zst", wide.finish().unwrap());
    // A source of which nothing is left would stop the run.
    place.write("in/plain.jsonl", "{\"text\": \"plain\"}\n");
    let dir = place.path("run");
    let narrow = manifest(&place, "in", "max_window = \"8MiB\"");
    run(&narrow, &dir, &[]).exits(0).says(&["damaged_file"]);
    assert_eq!(counts(&dir), (1, 1));
    run(&manifest(&place, "in", ""), &dir, &[]).exits(0);
    assert_eq!(counts(&dir), (101, 0));
}

/// A library's message may quote all of what it did not like.
#[test]
fn a_message_does_not_grow_with_the_record() {
    let place = Place::new();
    let long = "a".repeat(8 << 20);
    place.write(
        "in/a.jsonl",
        [
            format!("\"{long}\"\n"),
            format!("{{\"{long}\": 1}}\n"),
            "{\"text\": \"x\"}\n".to_owned(),
        ]
        .concat()
        .repeat(6),
    );
    let dir = place.path("run");
    let outcome = run(&manifest(&place, "in", ""), &dir, &[])
        .exits(0)
        .says(&["invalid_json"]);
    assert!(
        outcome.stderr.len() < 10_000,
        "{} bytes on stderr",
        outcome.stderr.len()
    );
    assert_eq!(counts(&dir), (6, 12));
    assert!(memory(&outcome) < 400, "{} MB", memory(&outcome));
}

#[test]
fn odd_unicode_is_text_or_set_aside() {
    let place = Place::new();
    let marks = format!("a{}", "\u{301}".repeat(1_000_000));
    let joined = "👩\u{200d}".repeat(100_000);
    let fine = [
        marks.as_str(),
        joined.as_str(),
        "\u{feff}bom inside",
        "non\u{fffe}character \u{ffff}",
        "\u{202e}gpj.exe",
        "\u{0}nul",
    ];
    let mut lines: Vec<u8> = Vec::new();
    for text in fine {
        lines.extend(format!("{}\n", serde_json::json!({ "text": text })).bytes());
    }
    // Lone surrogates in JSON, which are repaired.
    let repaired: [&[u8]; 2] = [
        b"{\"text\": \"\\ud800\"}",
        b"{\"text\": \"\\udc00\\ud800\"}",
    ];
    // Overlong and surrogate forms in UTF-8, UTF-16.
    let bad: [&[u8]; 4] = [
        b"{\"text\": \"\xc0\xaf\"}",
        b"{\"text\": \"\xed\xa0\x80\"}",
        b"{\"text\": \"\xf8\x88\x80\x80\x80\"}",
        b"\xff\xfe{\0\"\0",
    ];
    for line in repaired.iter().chain(&bad) {
        lines.extend(*line);
        lines.push(b'\n');
    }
    place.write("in/a.jsonl", [b"\xef\xbb\xbf", &lines[..]].concat());
    let dir = place.path("run");
    run(&manifest(&place, "in", ""), &dir, &[]).exits(0);
    let kept = fine.len() + repaired.len();
    assert_eq!(counts(&dir), (kept as u64, bad.len() as u64));
}

#[test]
fn many_small_files_need_few_handles() {
    let place = Place::in_memory();
    let (files, handles) = if is_torture() {
        (100_000, 256)
    } else {
        (5_000, 64)
    };
    fs::create_dir_all(place.path("in")).unwrap();
    for number in 0..files {
        fs::write(
            place.path(&format!("in/{number:06}.txt")),
            format!("Text of file {number}."),
        )
        .unwrap();
    }
    let dir = place.path("run");
    let command = run_command(&manifest(&place, "in", ""), &dir, &[]);
    let limited = format!("ulimit -n {handles}; exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &limited])
        .arg(command.get_program())
        .args(command.get_args());
    outcome(&mut shell).exits(0);
    assert_eq!(counts(&dir), (files, 0));
    figure(
        "small files under a limit of handles",
        format!("{files} under ulimit -n {handles}"),
    );
}

#[test]
fn files_that_a_manifest_names_have_bounds() {
    let place = Place::new();
    place.write("in/a.jsonl", "{\"text\": \"x\"}\n");
    let manifest = manifest(&place, "in", "");
    let huge = place.path("huge.json");
    File::create(&huge).unwrap().set_len(2 << 30).unwrap();
    let dir = place.path("run");
    for key in [
        "tokens.tokenizer",
        "filter.url.domains",
        "filter.c4_bad_words.file",
    ] {
        for (path, what) in [
            (huge.as_path(), "run.max_file is 1073741824"),
            (Path::new("/dev/zero"), "it is not a regular file"),
        ] {
            run(
                &manifest,
                &dir,
                &[
                    "--set",
                    "source.s.url=url",
                    "--set",
                    &format!("{key}={}", path.display()),
                ],
            )
            .exits(2)
            .says(&[key, what]);
        }
    }
    // The list that is searched, a line of a million characters and as many lines.
    let lines: String = (0..1_000_000).map(|number| format!("{number}\n")).collect();
    place.write("list.txt", format!("{}\n{lines}", "a".repeat(1_000_000)));
    let list = format!("filter.url.substrings={}", place.path("list.txt").display());
    place.write("in/a.jsonl", "{\"text\": \"x\", \"url\": \"a.example\"}\n");
    let url = "source.s.url=url";
    run(&manifest, &dir, &["--set", &list, "--set", url]).exits(0);
}

/// What would move the cursor, hide or reorder text, or forge a line.
fn speaks_to_the_terminal(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

#[test]
fn names_do_not_speak_to_the_terminal() {
    let place = Place::new();
    let name = "a\u{1b}[31m\u{202e}b\u{7}\nforged: line";
    place.write(
        &format!("in{name}/{name}.jsonl"),
        format!("{{\"{name}\": 1}}\n{{\"text\": \"x\", \"id\": \"{name}\"}}\n")
            .replace(['\n', '\u{1b}', '\u{7}'], " "),
    );
    place.write(
        &format!("in{name}/second{name}.jsonl"),
        "{\"text\": \"y\"}\nnone\n",
    );
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"names\"\nmax_quarantine_ratio = 1\n[[source]]\nname = \"s\"\npath = \"in*/*\"\nid = \"id\"\nallow_missing = [\"id\"]\n[[mixture]]\nname = \"m\"\ntokens = 1\n",
    );
    let dir = place.path(&format!("run{name}"));
    let output = place.path(&format!("out{name}"));
    let mut all = vec![run(&manifest, &dir, &[]).exits(0)];
    let words = |words: &[&std::ffi::OsStr]| {
        words
            .iter()
            .map(|word| word.to_os_string())
            .collect::<Vec<_>>()
    };
    for arguments in [
        words(&["status".as_ref(), dir.as_ref()]),
        words(&["verify".as_ref(), dir.as_ref()]),
        words(&[
            "plan".as_ref(),
            manifest.as_ref(),
            "--run-dir".as_ref(),
            dir.as_ref(),
        ]),
        words(&[
            "export".as_ref(),
            dir.as_ref(),
            "m".as_ref(),
            "-o".as_ref(),
            output.as_ref(),
        ]),
        words(&[
            "baseline".as_ref(),
            dir.as_ref(),
            "-o".as_ref(),
            place.path(&format!("base{name}")).as_ref(),
        ]),
        words(&[
            "train".as_ref(),
            "ngram".as_ref(),
            dir.as_ref(),
            "--order".as_ref(),
            "1".as_ref(),
            "-o".as_ref(),
            place.path(&format!("model{name}")).as_ref(),
        ]),
    ] {
        all.push(curate(arguments).exits(0));
    }
    fs::write(dir.join("filter/_commit.json"), "{").unwrap();
    all.push(curate(["verify".as_ref(), dir.as_os_str()]).exits(1));
    all.push(run(&manifest, &dir, &[]).exits(70));
    all.push(run(&place.path(&format!("none{name}")), &dir, &[]).exits(2));
    all.push(curate(["status".as_ref(), place.path(name).as_os_str()]).exits(2));
    for Outcome { stdout, stderr, .. } in &all {
        for text in [stdout, stderr] {
            assert_eq!(speaks_to_the_terminal(text), None, "{text}");
            assert!(
                !text.lines().any(|line| line.starts_with("forged")),
                "{text}"
            );
        }
    }
    figure(
        "commands whose output was searched for control and bidirectional characters",
        all.len(),
    );
}
