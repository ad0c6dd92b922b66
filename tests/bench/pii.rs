//! How well and how fast personal data is found: `make bench-pii DIR=… CORPUS=…`, which calls
//! `pii LABELLED.json CORPUS.jsonl.zst LABELS.tsv`.
//!
//! LABELLED.json holds sentences with spans, as presidio-research publishes them. A value is found
//! if a span of its kind covers it. CORPUS is text in which what is found was labelled by hand:
//! LABELS.tsv has a line `id, kind, start, right or wrong` for each value, or for a sample of a
//! kind. Without LABELS the values are written to the standard output, so that they can be
//! labelled. They are no part of the repository.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};

use curate_scorers::pii::allow::Allowed;
use curate_scorers::pii::{Found, Kind, Profile, Search};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

type Failure = Box<dyn std::error::Error>;

/// The kinds of the labelled sentences, under the names that they have there.
const LABELS: [(&str, Kind); 5] = [
    ("EMAIL_ADDRESS", Kind::Email),
    ("CREDIT_CARD", Kind::Card),
    ("PHONE_NUMBER", Kind::Phone),
    ("IBAN_CODE", Kind::Iban),
    ("US_SSN", Kind::UsSsn),
];

const PROFILES: [(&str, Profile); 3] = [
    ("curate", Profile::Curate),
    ("datatrove-0.10", Profile::Datatrove),
    ("dolma-v2", Profile::Dolma),
];

/// Of a kind with more values than this, about this many are labelled.
const SAMPLE: usize = 300;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let [labelled, corpus, labels @ ..] = &arguments[..] else {
        return Err("usage: pii LABELLED.json CORPUS.jsonl.zst [LABELS.tsv]".into());
    };

    let texts = read(corpus)?;
    let Some(labels) = labels.first() else {
        return show(&texts);
    };
    sentences(labelled)?;
    speed(&texts)?;
    false_positives(&texts, labels)
}

fn search(profile: Profile) -> Search {
    Search {
        profile,
        kinds: Kind::ALL.to_vec(),
        documentation: false,
        allowed: Allowed::default(),
    }
}

/// The ids and texts of a corpus.
fn read(path: &str) -> Result<Vec<(String, String)>, Failure> {
    let lines = BufReader::new(zstd::Decoder::new(File::open(path)?)?).lines();
    let mut texts = Vec::new();
    for line in lines {
        let row: Value = serde_json::from_str(&line?)?;
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        texts.push((word("id"), word("text")));
    }
    Ok(texts)
}

/// Wilson's interval of a share, 95 % (Wilson 1927), as percentages.
fn wilson(right: usize, of: usize) -> String {
    if of == 0 {
        return "–".to_owned();
    }
    let (n, p, z) = (of as f64, right as f64 / of as f64, 1.959_964);
    let middle = p + z * z / (2.0 * n);
    let width = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let [low, high] = [middle - width, middle + width].map(|end| 100.0 * end / (1.0 + z * z / n));
    format!("{:.1} [{low:.1}, {high:.1}]", 100.0 * p)
}

/// Precision and recall on labelled sentences, of each profile.
fn sentences(path: &str) -> Result<(), Failure> {
    let rows: Vec<Value> = serde_json::from_str(&fs::read_to_string(path)?)?;
    println!(
        "{} labelled sentences; precision and recall in %, with 95 % intervals",
        rows.len()
    );
    println!(
        "{:<16}{:<10}{:>7}{:>7}{:>8}  {:<22}{:<22}",
        "profile", "kind", "right", "false", "missed", "precision", "recall"
    );

    for (name, profile) in PROFILES {
        let search = search(profile);
        for (label, kind) in LABELS {
            let (mut right, mut wrong, mut missed) = (0, 0, 0);
            for row in &rows {
                let text = row["full_text"].as_str().unwrap_or_default();
                let gold = spans(row, text, label);
                let mut found = search.find(text);
                found.retain(|found| found.kind == kind);

                let covers = |found: &Found, gold: &(usize, usize)| {
                    found.start <= gold.0 && gold.1 <= found.end
                };
                let hits = gold
                    .iter()
                    .filter(|gold| found.iter().any(|found| covers(found, gold)));
                let hits = hits.count();
                right += hits;
                missed += gold.len() - hits;
                wrong += found
                    .iter()
                    .filter(|found| !gold.iter().any(|gold| covers(found, gold)))
                    .count();
            }
            if right + wrong > 0 {
                let (precision, recall) =
                    (wilson(right, right + wrong), wilson(right, right + missed));
                println!(
                    "{name:<16}{:<10}{right:>7}{wrong:>7}{missed:>8}  {precision:<22}{recall:<22}",
                    kind.name()
                );
            }
        }
    }
    Ok(())
}

/// The spans of a sentence with a label, in bytes. The file counts characters.
fn spans(row: &Value, text: &str, label: &str) -> Vec<(usize, usize)> {
    let byte = |place: &Value| {
        let place = place.as_u64().unwrap_or_default() as usize;
        text.char_indices()
            .nth(place)
            .map_or(text.len(), |(byte, _)| byte)
    };
    let spans = row["spans"].as_array().into_iter().flatten();
    spans
        .filter(|span| span["entity_type"] == label)
        .map(|span| (byte(&span["start_position"]), byte(&span["end_position"])))
        .collect()
}

/// MB per CPU second of each profile, and the values of each kind.
fn speed(texts: &[(String, String)]) -> Result<(), Failure> {
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    let megabytes = bytes as f64 / 1e6;
    println!("\n{} texts, {megabytes:.1} MB", texts.len());
    for (name, profile) in PROFILES {
        let search = search(profile);
        let (mut best, mut counts) = (f64::INFINITY, BTreeMap::new());
        for _ in 0..3 {
            counts.clear();
            let start = cpu_seconds()?;
            for (_, text) in texts {
                for found in search.find(text) {
                    *counts.entry(found.kind.name()).or_insert(0_u64) += 1;
                }
            }
            best = f64::min(best, cpu_seconds()? - start);
        }
        println!(
            "{name}: {:.0} MB per CPU second; {counts:?}",
            megabytes / best
        );
    }
    Ok(())
}

/// False positives per MB of each kind, from labels by hand.
fn false_positives(texts: &[(String, String)], labels: &str) -> Result<(), Failure> {
    let labels = fs::read_to_string(labels)?;
    let labels: BTreeMap<(&str, &str, usize), bool> = labels
        .lines()
        .filter_map(|line| {
            let mut parts = line.split('\t');
            let key = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
            Some((key, parts.next()? == "right"))
        })
        .collect();

    // A value without a label is one outside of the sample, or one that is new.
    let mut kinds: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let search = search(Profile::Curate);
    for (id, text) in texts {
        for found in search.find(text) {
            let name = found.kind.name();
            let [all, right, wrong] = kinds.entry(name).or_default();
            *all += 1;
            match labels.get(&(id.as_str(), name, found.start)) {
                Some(true) => *right += 1,
                Some(false) => *wrong += 1,
                None => {}
            }
        }
    }

    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    println!("\nwhat curate found, by labels of hand");
    for (name, [all, right, wrong]) in kinds {
        let share = wrong as f64 / (right + wrong).max(1) as f64;
        println!(
            "{name:<12} {all} found, {} labelled, {wrong} wrong, precision {}, {:.3} false per MB",
            right + wrong,
            wilson(right, right + wrong),
            share * all as f64 / (bytes as f64 / 1e6)
        );
    }
    Ok(())
}

/// Writes what is to be labelled: every value, or of a kind with many a sample by a hash.
fn show(texts: &[(String, String)]) -> Result<(), Failure> {
    let search = search(Profile::Curate);
    let mut kinds: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
    for (id, text) in texts {
        for Found { start, end, kind } in search.find(text) {
            let near = |at: usize| {
                (0..=at)
                    .rev()
                    .find(|at| text.is_char_boundary(*at))
                    .unwrap_or(0)
            };
            let around = &text[near(start.saturating_sub(60))..near((end + 30).min(text.len()))];
            let line = format!(
                "{id}\t{}\t{start}\t{:?}\t{around:?}",
                kind.name(),
                &text[start..end]
            );
            let order = xxh3_64(format!("{id} {start}").as_bytes());
            kinds.entry(kind.name()).or_default().push((order, line));
        }
    }
    for lines in kinds.values_mut() {
        lines.sort();
        lines
            .iter()
            .take(SAMPLE)
            .for_each(|(_, line)| println!("{line}"));
    }
    Ok(())
}

/// CPU time of this thread, seconds.
fn cpu_seconds() -> Result<f64, Failure> {
    let counted = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = counted.split(' ').next().unwrap_or_default();
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}
