//! Accuracy and speed of the language engines on a labelled corpus:
//! `cargo bench -p curate-scorers --bench language -- FILE.jsonl.zst`, where each line has `text`
//! and `lang`, an ISO 639-1 or 639-3 code. Without a file it does nothing.
//!
//! For each engine: how often it is right on whole documents and on their first 100 characters, how
//! fast, what is taken for what, and how many documents are flagged as mixed: of those given, and
//! of synthetic ones, in which a second language takes a share of the bytes. A label that the
//! engine does not know counts as wrong in `all` and is left out of `known`.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::time::Instant;

use curate_scorers::language::{Identifier, Language, detect, iso639_3};

struct Document {
    /// The label as it is in the file.
    label: String,
    /// Its ISO 639-3 code, if any engine knows it.
    code: Option<&'static str>,
    text: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) else {
        eprintln!("usage: cargo bench -p curate-scorers --bench language -- FILE.jsonl.zst");
        return Ok(());
    };
    let documents = read(&path)?;
    for engine in [Identifier::Whatlang, Identifier::Whichlang] {
        println!("# {engine:?}, {} languages", engine.languages().len());
        let (found, seconds) = timed(
            engine,
            documents.iter().map(|document| document.text.as_str()),
        );
        let bytes: usize = documents.iter().map(|document| document.text.len()).sum();
        let rate = documents.len() as f64 / seconds;
        println!(
            "{rate:.0} documents and {:.1} MB a second",
            bytes as f64 / 1e6 / seconds
        );
        accuracy(engine, "whole", &documents, &found);
        let short = documents
            .iter()
            .map(|document| first_chars(&document.text, 100));
        accuracy(
            engine,
            "100 characters",
            &documents,
            &timed(engine, short).0,
        );
        per_language(engine, &documents, &found);
        confusions(&documents, &found);
        mixes(engine, &documents);
        println!();
    }
    Ok(())
}

fn read(path: &str) -> Result<Vec<Document>, Box<dyn std::error::Error>> {
    let lines = BufReader::new(zstd::Decoder::new(std::fs::File::open(path)?)?).lines();
    lines
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(&line?)?;
            let field = |name: &str| {
                value[name]
                    .as_str()
                    .map(str::to_owned)
                    .ok_or(format!("a line has no {name}"))
            };
            let label = field("lang")?;
            Ok(Document {
                code: iso639_3(&label),
                label,
                text: field("text")?,
            })
        })
        .collect()
}

fn timed<'a>(engine: Identifier, texts: impl Iterator<Item = &'a str>) -> (Vec<Language>, f64) {
    let mut scratch = String::new();
    let start = Instant::now();
    let found = texts
        .map(|text| detect(engine, text, &mut scratch))
        .collect();
    (found, start.elapsed().as_secs_f64())
}

fn first_chars(text: &str, chars: usize) -> &str {
    text.char_indices()
        .nth(chars)
        .map_or(text, |(at, _)| &text[..at])
}

fn accuracy(engine: Identifier, what: &str, documents: &[Document], found: &[Language]) {
    let right = documents
        .iter()
        .zip(found)
        .filter(|(document, found)| is_right(document, found))
        .count();
    let known = documents
        .iter()
        .filter(|document| is_known(engine, document))
        .count();
    let mixed = found.iter().filter(|found| found.mixed).count();
    println!(
        "{what}: right {} of all, {} of known, flagged as mixed {}",
        share(right, documents.len()),
        share(right, known),
        share(mixed, found.len())
    );
}

fn is_right(document: &Document, found: &Language) -> bool {
    document.code.is_some() && document.code == found.code
}

fn is_known(engine: Identifier, document: &Document) -> bool {
    document
        .code
        .is_some_and(|code| engine.languages().contains(&code))
}

fn share(count: usize, of: usize) -> String {
    format!("{:.4}", count as f64 / of.max(1) as f64)
}

fn per_language(engine: Identifier, documents: &[Document], found: &[Language]) {
    println!("language documents right mixed us/document");
    let mut rows = BTreeMap::<&str, Vec<(&Document, &Language)>>::new();
    for (document, found) in documents.iter().zip(found) {
        rows.entry(&document.label)
            .or_default()
            .push((document, found));
    }
    for (label, rows) in rows {
        let right = rows
            .iter()
            .filter(|(document, found)| is_right(document, found))
            .count();
        let mixed = rows.iter().filter(|(_, found)| found.mixed).count();
        let seconds = timed(
            engine,
            rows.iter().map(|(document, _)| document.text.as_str()),
        )
        .1;
        let micros = seconds * 1e6 / rows.len() as f64;
        println!("{label} {} {right} {mixed} {micros:.0}", rows.len());
    }
}

fn confusions(documents: &[Document], found: &[Language]) {
    let mut counts = HashMap::<(&str, &str), usize>::new();
    for (document, found) in documents
        .iter()
        .zip(found)
        .filter(|(document, found)| !is_right(document, found))
    {
        *counts
            .entry((&document.label, found.code.unwrap_or("none")))
            .or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|&(pair, count)| (usize::MAX - count, pair));
    let top: Vec<_> = counts
        .iter()
        .take(20)
        .map(|((label, found), count)| format!("{label}→{found} {count}"))
        .collect();
    println!("most wrong: {}", top.join(", "));
}

/// Mixes of two documents of different known languages; in half of them one is English.
fn mixes(engine: Identifier, documents: &[Document]) {
    const MIXES: usize = 1000;
    println!("flagged of mixes of bytes, by the share of the first language: .5, .7, .3");
    let known: Vec<&Document> = documents
        .iter()
        .filter(|document| is_known(engine, document))
        .collect();
    let mut state = 1u64;
    let mut next = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n.max(1)
    };
    for bytes in [600, 1200, 2400, 6000] {
        let mut shares = Vec::new();
        for first_share in [0.5, 0.7, 0.3] {
            let first_bytes = (bytes as f64 * first_share) as usize;
            let long = |min: usize| {
                known
                    .iter()
                    .copied()
                    .filter(move |document| document.text.len() >= min)
            };
            let seconds: Vec<&Document> = long(bytes - first_bytes).collect();
            let firsts: Vec<&Document> = long(first_bytes).collect();
            let english: Vec<&Document> = firsts
                .iter()
                .copied()
                .filter(|document| document.code == Some("eng"))
                .collect();
            let mut texts = Vec::new();
            for _ in 0..MIXES {
                let from = if texts.len() % 2 == 0 || english.is_empty() {
                    &firsts
                } else {
                    &english
                };
                let (Some(a), Some(b)) =
                    (from.get(next(from.len())), seconds.get(next(seconds.len())))
                else {
                    break;
                };
                if a.code != b.code {
                    let (a, b) = (
                        start(&a.text, first_bytes),
                        start(&b.text, bytes - first_bytes),
                    );
                    texts.push(format!("{a}\n{b}"));
                }
            }
            let found = timed(engine, texts.iter().map(String::as_str)).0;
            shares.push(share(
                found.iter().filter(|found| found.mixed).count(),
                found.len(),
            ));
        }
        println!("{bytes} bytes: {}", shares.join(", "));
    }
}

fn start(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
