//! The crates form a straight line, and weight grows along it: what a row is, text to numbers,
//! tables to tables, then files, then the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::repository;

/// The folders of the crates. Each crate knows only those before it.
const LINE: [&str; 9] = [
    "schemas",
    "scorers",
    "stages",
    "pipeline/store",
    "pipeline/ingest",
    "pipeline/formats",
    "pipeline/drift",
    "pipeline/page",
    "pipeline",
];

/// Names in `[dependencies]` and `[build-dependencies]` of a crate, for any target.
fn dependencies(crate_folder: &str) -> BTreeSet<String> {
    let path = repository().join(crate_folder).join("Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let mut tables = vec![&manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    let kinds = ["dependencies", "build-dependencies"];
    let names = tables.into_iter().flat_map(|table| {
        kinds
            .into_iter()
            .filter_map(|kind| table.get(kind)?.as_table())
    });
    names.flat_map(|table| table.keys().cloned()).collect()
}

/// `curate-store` for `pipeline/store`.
fn crate_name(folder: &str) -> String {
    let name = folder.rsplit('/').next().unwrap();
    format!("curate-{name}")
}

#[test]
fn every_crate_knows_only_those_before_it() {
    let mut before = BTreeSet::new();
    for folder in LINE {
        let own = dependencies(folder);
        let ours: BTreeSet<String> = own
            .into_iter()
            .filter(|name| name.starts_with("curate"))
            .collect();
        assert!(
            ours.is_subset(&before),
            "{folder} knows {ours:?}, only {before:?} come before it"
        );
        before.insert(crate_name(folder));
    }
}

#[test]
fn the_program_knows_every_crate() {
    let own = dependencies("pipeline");
    for folder in &LINE[..8] {
        assert!(own.contains(&crate_name(folder)), "{own:?}");
    }
}

#[test]
fn weight_stays_behind_its_boundary() {
    let has = |folder: &str, prefix: &str| {
        dependencies(folder)
            .iter()
            .any(|name| name.starts_with(prefix))
    };
    let knowing = |prefix: &str| -> Vec<&str> {
        let crates = LINE.into_iter();
        crates.filter(|folder| has(folder, prefix)).collect()
    };

    assert_eq!(knowing("datafusion"), ["stages"]);
    assert_eq!(knowing("candle"), ["scorers"]);
    assert_eq!(knowing("tokenizers"), ["scorers"]);
    assert_eq!(knowing("hf-hub"), ["pipeline"]);
    assert_eq!(knowing("maud"), ["pipeline/page"]);
    assert_eq!(knowing("clap"), ["pipeline/drift", "pipeline"]);
    assert!(knowing("tokio").is_empty(), "an executor");
    // Formats are bytes: where they lie is for others to say.
    assert!(!has("pipeline/formats", "curate-store"));
}

#[test]
fn the_workspace_has_no_other_crate() {
    let manifest: toml::Table = fs::read_to_string(repository().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let members: Vec<&str> = manifest["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    assert_eq!(members, LINE);
}

/// Statics whose value may change, each with its reason. Everything else belongs to a value that
/// somebody owns. A `LazyLock` has one value for good, and is not counted.
const CHANGING: [(&str, &str); 5] = [
    ("pipeline/src/main.rs", "ALLOCATOR"),
    // Set by a signal handler, which gets no argument.
    ("pipeline/store/src/interrupt.rs", "SIGNAL"),
    // Read by the hook of panics, which gets no argument either.
    ("pipeline/store/src/failure.rs", "GUARDED"),
    // Faults for tests.
    ("pipeline/store/src/durable/faults.rs", "STATE"),
    ("pipeline/store/src/durable/faults.rs", "WANTED"),
];

#[test]
fn no_state_is_shared_but_what_is_named() {
    // Types that never change: numbers, characters, arrays and slices of them, and tables.
    let constant = regex::Regex::new(
        r"^(&('static )?)*(\[|u8|u16|u32|u64|usize|i32|i64|f32|f64|bool|char|str|LazyLock<|Bitmap|Filter|Pairs)",
    )
    .unwrap();
    let declared =
        regex::Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?static (?:mut )?(\w+):\s*(\S.*)$")
            .unwrap();

    let mut found = BTreeSet::new();
    for folder in LINE {
        for path in rust_files(&repository().join(folder).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(repository()).unwrap().to_str().unwrap();
            for declaration in declared.captures_iter(&text) {
                if !constant.is_match(&declaration[2]) {
                    found.insert((name.to_owned(), declaration[1].to_owned()));
                }
            }
        }
    }

    let named = CHANGING.map(|(file, name)| (file.to_owned(), name.to_owned()));
    assert_eq!(found, BTreeSet::from(named));
}

/// All `.rs` files in a folder and those below.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(rust_files(&path)),
            false if path.extension().is_some_and(|end| end == "rs") => files.push(path),
            false => {}
        }
    }
    files
}
