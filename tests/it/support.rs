//! A folder for each test, the program in it, and what it leaves behind.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use curate_schemas::stages;
use tempfile::TempDir;

/// The row-aligned stages, in order.
pub static STAGES: LazyLock<Vec<&str>> =
    LazyLock::new(|| stages::aligned().map(|stage| stage.name).collect());

/// What a finished process said.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Fails the test, with all that was said, unless the exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        let Outcome {
            code: found,
            stdout,
            stderr,
        } = &self;
        assert_eq!(
            *found,
            Some(code),
            "exit code\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        self
    }

    /// Fails the test unless stderr holds each of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "stderr lacks {part:?}:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Fails the test unless stdout holds each of these.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stdout.contains(part),
                "stdout lacks {part:?}:\n{}",
                self.stdout
            );
        }
        self
    }
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A file of the sample corpus.
pub fn fixture(name: &str) -> PathBuf {
    repository().join("fixtures/docs").join(name)
}

/// Runs `curate` to its end.
pub fn curate<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    outcome(Command::new(env!("CARGO_BIN_EXE_curate")).args(arguments))
}

/// Runs any command to its end.
pub fn outcome(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Runs a manifest into a directory.
pub fn run(manifest: &Path, run: &Path, more: &[&str]) -> Outcome {
    outcome(&mut run_command(manifest, run, more))
}

/// Starts a run and does not wait for it.
pub fn start(manifest: &Path, run: &Path, more: &[&str]) -> Child {
    let mut command = run_command(manifest, run, more);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The command of a run.
pub fn run_command(manifest: &Path, run: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_curate"));
    command
        .arg("run")
        .arg(manifest)
        .arg("--run-dir")
        .arg(run)
        .args(more);
    command
}

/// A folder that goes away with its test.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Place {
        Place(
            tempfile::Builder::new()
                .prefix("curate-it-")
                .tempdir()
                .unwrap(),
        )
    }

    /// A folder where nothing waits for a disk, if the system has one.
    pub fn in_memory() -> Place {
        let memory = Path::new("/dev/shm");
        let builder = tempfile::Builder::new()
            .prefix("curate-it-")
            .tempdir_in(memory);
        builder.map_or_else(|_| Place::new(), Place)
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file in the folder, and the folders it lies in.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// Some lines of a file of the sample corpus, which is `.jsonl.zst`.
pub fn fixture_lines(name: &str, lines: Range<usize>) -> String {
    let mut text = String::new();
    zstd::Decoder::new(fs::File::open(fixture(name)).unwrap())
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .skip(lines.start)
        .take(lines.len())
        .map(|line| format!("{line}\n"))
        .collect()
}

/// A manifest of three sources over real documents, `records` from each of four files, with copies
/// and edits of some, so that every stage removes something. A run of 20 records takes about a
/// second.
pub fn corpus(place: &Place, records: usize) -> PathBuf {
    for (file, fixture) in [
        ("data/manuals/a.jsonl", "manuals-000.jsonl.zst"),
        ("data/manuals/b.jsonl", "manuals-001.jsonl.zst"),
        ("data/web/a.jsonl", "web-000.jsonl.zst"),
        ("data/web/b.jsonl", "web-002.jsonl.zst"),
    ] {
        place.write(file, fixture_lines(fixture, 0..records));
    }
    place.write(
        "data/web/copies.jsonl",
        copies(&fixture_lines("web-000.jsonl.zst", 0..records.min(16))),
    );
    place.write(
        "data/notes.jsonl.gz",
        fs::read(fixture("notes.jsonl.gz")).unwrap(),
    );
    let model = repository().join("fixtures/lm/tiny_qwen2/tied");
    place.write(
        "manifest.toml",
        CORPUS.replace("MODEL", model.to_str().unwrap()),
    )
}

/// The records of other ids, every second one with a longer text.
fn copies(lines: &str) -> String {
    let copy = |(number, line): (usize, &str)| {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = record["text"].as_str().unwrap();
        let end = if number % 2 == 0 {
            ""
        } else {
            "\nThis sentence was not in the original.\n"
        };
        record["text"] = format!("{text}{end}").into();
        record["id"] = format!("{}~copy", record["id"].as_str().unwrap()).into();
        format!("{record}\n")
    };
    lines.lines().enumerate().map(copy).collect()
}

const CORPUS: &str = r#"
[run]
name = "corpus"
seed = 3
shard_size = "64KiB"

[[source]]
name = "manuals"
path = "data/manuals"
text = "content.text"
id = "content.id"
domain = "code"
date = "modified"

[[source]]
name = "web"
path = ["data/web/[ab].jsonl", "data/web/copies.jsonl"]
id = "id"
url = "url"
priority = 1

[[source]]
name = "notes"
path = "data/notes.jsonl.gz"
priority = 2

[clean]
control = true

[language]
keep = ["eng"]

[filter.gopher_quality]
min_alpha_word_ratio = 0.6

[dedup.exact]

[dedup.near]

[score.perplexity]
model = "MODEL"
drop = { below = 0.05, above = 0.9 }

[[quality.term]]
column = "signals.heuristic"

[[quality.term]]
column = "score.mean_nll"
weight = 0.5
map = "percentile"
prefer = "low"

[[quality.veto]]
column = "signals.gopher_quality.n_words"
above = 20000

[budget]
params = 7e9

[[mixture]]
name = "general"
tokens = 20_000

[[mixture]]
name = "long"
tokens = 40_000
max_epochs = 8
"#;

/// Every file below a folder by its relative path, without what begins with `.curate/` and without
/// `report.html`, which has times.
pub fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    visit(folder, &mut |path| {
        let name = path
            .strip_prefix(folder)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if !name.starts_with(".curate/") && name != "report.html" {
            files.insert(name, fs::read(path).unwrap());
        }
    });
    files
}

/// Calls `each` with every file below a folder; a folder that is not there has none.
pub fn visit(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, each);
        } else {
            each(&path);
        }
    }
}

/// Fails the test unless two run directories hold the same files with the same bytes.
#[track_caller]
pub fn assert_same(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
    what: &str,
) {
    let more: Vec<_> = found
        .keys()
        .filter(|name| !expected.contains_key(*name))
        .collect();
    let fewer: Vec<_> = expected
        .keys()
        .filter(|name| !found.contains_key(*name))
        .collect();
    let other: Vec<_> = found
        .iter()
        .filter(|(name, bytes)| expected.get(*name).is_some_and(|had| had != *bytes))
        .collect();
    let other: Vec<_> = other.into_iter().map(|(name, _)| name).collect();
    let same = more.is_empty() && fewer.is_empty() && other.is_empty();
    assert!(
        same,
        "{what}: too many {more:?}, missing {fewer:?}, other bytes {other:?}"
    );
}

/// Prints a figure of the suite, which `tests/figures.py` gathers for docs/TESTING.md.
pub fn figure(name: &str, value: impl std::fmt::Display) {
    println!("figure: {name}: {value}");
}

/// Files that a finished run has no use for.
pub fn leftovers(run: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["staging", "spill", "ingest", "receipts"] {
        visit(&run.join(".curate").join(folder), &mut |path| {
            found.push(path.to_owned())
        });
    }
    found
}

/// A stage's commit.
pub fn commit(run: &Path, stage: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(run.join(stage).join("_commit.json")).unwrap()).unwrap()
}

/// `run.json`.
pub fn report(run: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// A stage of a report, by its name.
pub fn stage_of<'r>(report: &'r serde_json::Value, name: &str) -> &'r serde_json::Value {
    let mut stages = report["stages"].as_array().unwrap().iter();
    stages.find(|stage| stage["name"] == name).unwrap()
}

/// The names of the files of a stage's commit, or of a further table of it.
pub fn files(run: &Path, stage: &str) -> Vec<String> {
    let commit = commit(run, stage);
    let files = commit["files"].as_array().unwrap();
    files
        .iter()
        .map(|file| file["path"].as_str().unwrap().to_owned())
        .collect()
}

/// xorshift64*: the same numbers each time, so that a failure can be had again.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        println!("seed {seed}");
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

/// The digest of a table's rows, whatever its shards: the sum of its files' modulo 2^128.
pub fn content(run: &Path, table: &str) -> u128 {
    let commit = commit(run, table);
    let digests = commit["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["content"].as_str().unwrap());
    digests.fold(0, |sum: u128, digest| {
        sum.wrapping_add(u128::from_str_radix(digest, 16).unwrap())
    })
}

/// Counts again in DuckDB what `run.json` says; `truth` is the run.json of a run that counted every
/// document's tokens.
pub fn check(run: &Path, truth: Option<&Path>) -> Outcome {
    outcome(
        python()
            .arg(repository().join("tests/it/check_run.py"))
            .arg(run)
            .args(truth),
    )
}

/// The rows of a query over a run's views, a line each, columns between bars.
#[track_caller]
pub fn query(run: &Path, sql: &str) -> Vec<String> {
    let program = "import duckdb, sys; c = duckdb.connect(); c.execute(open('views.sql').read())\n\
                   for row in c.execute(sys.argv[1]).fetchall(): print(*row, sep='|')";
    let Outcome { stdout, .. } =
        outcome(python().arg("-c").arg(program).arg(sql).current_dir(run)).exits(0);
    stdout.lines().map(str::to_owned).collect()
}

/// The Python that has DuckDB.
pub fn python() -> Command {
    let python = repository().join(".venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `make setup`",
        python.display()
    );
    Command::new(python)
}
