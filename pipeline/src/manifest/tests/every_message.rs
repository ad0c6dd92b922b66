//! The messages about every key: a value of the wrong type, a value out of range, a misspelt name.
//! They are pinned in `every_message.txt`.
//!
//! `CURATE_PIN=1 cargo test -p curate every_message` writes the file anew.

use std::fmt::Write;
use std::path::Path;

use curate_schemas::config::{Absent, Key, Kind, Section};
use curate_schemas::stages::{keys, sections};

use super::bad;

/// A small manifest in which `line` stands for the key `but` of the table `of`.
fn manifest(of: &Section, but: &Key, line: &str) -> String {
    let mut text = String::new();
    for table in
        sections().filter(|table| ["run", "source"].contains(&table.path) || table.path == of.path)
    {
        writeln!(text, "{}", table.header()).expect("a string");
        for key in table.keys.iter().filter(|key| key.path != but.path) {
            if let Absent::Refused(example) = key.absent {
                writeln!(text, "{} = {example}", key.name).expect("a string");
            }
        }
        if table.path == of.path {
            writeln!(text, "{line}").expect("a string");
        }
    }
    text
}

/// TOML of values that do not lie in the range of a key, most of them of its type.
fn out_of_range(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Bool => Vec::new(),
        Kind::Integer { min, max } => vec![
            (i128::from(min) - 1).to_string(),
            (u128::from(max) + 1).to_string(),
        ],
        Kind::Count => vec!["0".to_owned(), "1.5".to_owned()],
        Kind::Number { .. } => vec!["-1e300".to_owned(), "1e300".to_owned(), "nan".to_owned()],
        Kind::Positive { .. } => vec!["0".to_owned(), "1e300".to_owned()],
        Kind::Large { min, .. } => vec!["7".to_owned(), (min / 2.0).to_string()],
        Kind::Size { min, .. } => vec![
            format!("\"{}B\"", min - 1),
            "\"999999999GiB\"".to_owned(),
            "\"1 zb\"".to_owned(),
        ],
        Kind::Name | Kind::Label | Kind::Path => vec!["\"\"".to_owned()],
        Kind::Field => vec!["\"a..b\"".to_owned()],
        Kind::Paths => vec!["[]".to_owned(), "[\"\"]".to_owned(), "\"[\"".to_owned()],
        Kind::Command => vec![
            "[]".to_owned(),
            "[\"\"]".to_owned(),
            "[\"a\", 1]".to_owned(),
            "\"a\"".to_owned(),
        ],
        Kind::Word(_) | Kind::WordOrJson(_) => vec!["\"zzz\"".to_owned()],
        Kind::WordOrShare(_) => vec!["\"zzz\"".to_owned(), "0".to_owned(), "1.5".to_owned()],
        Kind::Words(_) | Kind::Languages => vec!["[\"zzz\"]".to_owned(), "\"zzz\"".to_owned()],
    }
}

#[test]
fn every_message() {
    let mut found = String::new();
    for key in keys() {
        let table = sections()
            .find(|table| table.keys.iter().any(|own| own.path == key.path))
            .expect("a table");
        let name = key.name;
        let mut lines = vec![format!("{name} = 1979-05-27"), format!("{name}x = 1")];
        lines.extend(
            out_of_range(key.kind)
                .into_iter()
                .map(|value| format!("{name} = {value}")),
        );

        for line in lines {
            // Some keys have no bound, so that one of the values is right.
            if super::load_text(&manifest(table, key, &line), &[]).is_err() {
                writeln!(
                    found,
                    "{} {line}\n{}",
                    table.header(),
                    bad(&manifest(table, key, &line), &[])
                )
                .expect("a string");
            }
        }
    }

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manifest/tests/every_message.txt");
    if std::env::var_os("CURATE_PIN").is_some() {
        std::fs::write(&path, &found).expect("written");
    }

    // Line by line, so that a failure shows one message and its place.
    let pinned = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (found, pinned)) in found.lines().zip(pinned.lines()).enumerate() {
        assert_eq!(found, pinned, "every_message.txt:{}", number + 1);
    }
    assert_eq!(found.lines().count(), pinned.lines().count());
}
