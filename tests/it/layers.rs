//! The crates form a straight line, `schemas ← scorers ← stages ← pipeline`, and weight grows along
//! it.

use std::collections::BTreeSet;
use std::fs;

use crate::support::repository;

const LINE: [&str; 4] = ["schemas", "scorers", "stages", "pipeline"];

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
        before.insert(format!("curate-{folder}"));
    }
}

#[test]
fn the_program_knows_every_crate() {
    let own = dependencies("pipeline");
    for folder in &LINE[..3] {
        assert!(own.contains(&format!("curate-{folder}")), "{own:?}");
    }
}

#[test]
fn weight_stays_behind_its_boundary() {
    let has = |folder: &str, prefix: &str| {
        dependencies(folder)
            .iter()
            .any(|name| name.starts_with(prefix))
    };
    for folder in ["schemas", "scorers"] {
        assert!(!has(folder, "datafusion"), "{folder} knows DataFusion");
        assert!(!has(folder, "tokio"), "{folder} knows an executor");
    }
    assert!(
        !has("schemas", "tokenizers") && !has("schemas", "candle"),
        "schemas knows models"
    );
    assert!(
        !has("stages", "candle"),
        "stages knows candle; models belong to scorers"
    );
    for folder in &LINE[..3] {
        assert!(!has(folder, "clap"), "{folder} knows the command line");
    }
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
