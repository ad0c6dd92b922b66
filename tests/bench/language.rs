//! Accuracy, steadiness and speed of the language engines on labelled corpora:
//! `cargo bench -p curate-scorers --bench language -- FILE.jsonl.zst … [MODEL.ftz …]`, where each
//! line has `text` and `lang`, an ISO 639-1 or 639-3 code, and a model is of fastText. Without a
//! file it does nothing.
//!
//! For each engine it prints:
//!
//! - how often the engine is right on whole documents and on their first 100 characters, how fast,
//!   what is taken for what, and which part of the labels with a given confidence is right;
//! - which part of the labels stays when a second language takes a share of the bytes, at the
//!   start, in the middle or at the end, and when spaces become no-break spaces;
//! - how many documents are flagged as mixed: of those given, and of synthetic ones, where half of
//!   the bytes or less are in a second language.
//!
//! A label that the engine does not know counts as wrong in `all` and is left out of `known`.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::time::Instant;

use curate_scorers::language::names::named;
use curate_scorers::language::{Identifier, Language, LanguageModel, detect};

/// The bytes of a long document that is made of several of one language.
const LONG_BYTES: usize = 14_000;

struct Document {
    /// The label as it is in the file.
    label: String,
    /// Its ISO 639-3 code.
    code: Option<&'static str>,
    text: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut documents, mut models) = (Vec::new(), Vec::new());
    for path in std::env::args().skip(1).filter(|arg| !arg.starts_with('-')) {
        match path.ends_with(".ftz") || path.ends_with(".bin") {
            true => models.push(LanguageModel::open(path.as_ref())?),
            false => documents.extend(read(&path)?),
        }
    }
    if documents.is_empty() {
        eprintln!("usage: cargo bench -p curate-scorers --bench language -- FILE.jsonl.zst …");
        return Ok(());
    }

    let engines = [Identifier::Whatlang, Identifier::Whichlang];
    for engine in engines
        .into_iter()
        .chain(models.iter().map(Identifier::FastText))
    {
        println!("# {engine:?}, {} languages", engine.languages().len());
        let found = speed(engine, &documents);

        accuracy(engine, "whole", &documents, &found);
        let short = documents
            .iter()
            .map(|document| first_chars(&document.text, 100));
        let of_short = timed(engine, short).0;
        accuracy(engine, "100 characters", &documents, &of_short);

        for (what, found) in [("whole", &found), ("100 characters", &of_short)] {
            let all = documents.iter().zip(found);
            let known = all
                .clone()
                .filter(|(document, _)| is_known(engine, document));
            let right = |(document, found)| (found, is_right(document, found));
            reliability(what, all.map(right));
            reliability(&format!("{what}, known languages"), known.map(right));
        }
        per_language(engine, &documents, &found);
        confusions(&documents, &found);

        let long = long_documents(engine, &documents);
        no_break_spaces(engine, "as given", &documents);
        no_break_spaces(engine, "of 14 KB", &long);
        tails(engine, &long);
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
                code: named(&label).map(|(code, _)| code),
                label,
                text: field("text")?,
            })
        })
        .collect()
}

fn timed<'a, 'e>(
    engine: Identifier<'e>,
    texts: impl Iterator<Item = &'a str>,
) -> (Vec<Language<'e>>, f64) {
    let mut scratch = String::new();
    let start = Instant::now();
    let found = texts
        .map(|text| detect(engine, text, &mut scratch))
        .collect();
    (found, start.elapsed().as_secs_f64())
}

/// The languages of the documents; the best of five passes is printed.
fn speed<'e>(engine: Identifier<'e>, documents: &[Document]) -> Vec<Language<'e>> {
    let bytes: usize = documents.iter().map(|document| document.text.len()).sum();
    let pass = || timed(engine, documents.iter().map(|d| d.text.as_str()));

    let (found, mut seconds) = pass();
    for _ in 0..4 {
        seconds = seconds.min(pass().1);
    }
    println!(
        "{:.0} documents and {:.1} MB a second",
        documents.len() as f64 / seconds,
        bytes as f64 / 1e6 / seconds
    );
    found
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
    let mixed = found.iter().filter(|found| found.second.is_some()).count();
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

/// Which part of the labels is right, by their confidence: a line for each tenth, and one for those
/// of .99 and more.
fn reliability<'a, 'e: 'a>(what: &str, found: impl Iterator<Item = (&'a Language<'e>, bool)>) {
    let mut bins = [(0, 0, 0.0); 11];
    for (found, right) in found {
        let Some(confidence) = found.confidence else {
            return;
        };
        let bin = match confidence {
            sure if sure >= 0.99 => 10,
            _ => (confidence * 10.0) as usize,
        };
        let (n, rights, sum) = bins[bin];
        bins[bin] = (n + 1, rights + usize::from(right), sum + confidence);
    }

    println!("{what}: confidence from, its mean, labels, right");
    for (bin, (n, right, sum)) in bins.into_iter().enumerate().filter(|(_, (n, ..))| *n > 0) {
        let from = if bin == 10 { 0.99 } else { bin as f64 / 10.0 };
        let mean = sum / n as f64;
        println!("  {from:.2} {mean:.2} {n} {}", share(right, n));
    }
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
        let mixed = rows
            .iter()
            .filter(|(_, found)| found.second.is_some())
            .count();
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

/// Documents of [`LONG_BYTES`], each of several given ones of one known language. Only those that
/// the engine gets right, so that a change of the label is a fault.
fn long_documents(engine: Identifier, documents: &[Document]) -> Vec<Document> {
    let mut by_code = BTreeMap::<&str, Vec<&Document>>::new();
    for document in documents.iter().filter(|d| is_known(engine, d)) {
        let code = document.code.unwrap_or_default();
        by_code.entry(code).or_default().push(document);
    }

    let mut long = Vec::new();
    for same in by_code.values() {
        let mut text = String::new();
        for document in same {
            text += &document.text;
            text.push('\n');
            if text.len() >= LONG_BYTES {
                let document = Document {
                    label: document.label.clone(),
                    code: document.code,
                    text: start(&text, LONG_BYTES).to_owned(),
                };
                if is_right(
                    &document,
                    &detect(engine, &document.text, &mut String::new()),
                ) {
                    long.push(document);
                }
                text.clear();
            }
        }
    }
    long
}

/// Which part of the labels changes when a share of the spaces become no-break spaces: of all
/// documents, and of those that the engine gets right.
fn no_break_spaces(engine: Identifier, what: &str, documents: &[Document]) {
    let plain = timed(engine, documents.iter().map(|d| d.text.as_str())).0;
    let right = documents
        .iter()
        .zip(&plain)
        .filter(|(document, found)| is_right(document, found));
    println!(
        "labels changed by no-break spaces, of {} documents {what} / of {} right ones",
        documents.len(),
        right.count()
    );

    let mut next = numbers(1);
    for percent in [10, 30, 100] {
        let texts: Vec<String> = documents
            .iter()
            .map(|document| {
                let space = |c| match c == ' ' && next(100) < percent {
                    true => '\u{a0}',
                    false => c,
                };
                document.text.chars().map(space).collect()
            })
            .collect();
        let found = timed(engine, texts.iter().map(String::as_str)).0;

        let changed = documents.iter().zip(plain.iter().zip(&found));
        let changed = changed.filter(|(_, (before, after))| before.code != after.code);
        let of_right = changed
            .clone()
            .filter(|(document, (before, _))| is_right(document, before));
        println!(
            "  {percent} % of the spaces: {} / {}",
            changed.count(),
            of_right.count()
        );
    }
}

/// Which part of the labels of `hosts` stays when a second language takes a share of the bytes, and
/// which part is flagged as mixed.
fn tails(engine: Identifier, hosts: &[Document]) {
    println!("a second language in documents of 14 KB: label stays / flagged as mixed");
    let is_latin: Vec<bool> = hosts.iter().map(|d| is_latin(&d.text)).collect();
    let of = |kind: &str| -> Vec<&Document> {
        let all = hosts.iter().zip(&is_latin);
        let is_of = |document: &Document, latin: bool| match kind {
            "latin" => latin,
            "other" => !latin,
            code => document.code == Some(code),
        };
        all.filter(|(document, latin)| is_of(document, **latin))
            .map(|(document, _)| document)
            .collect()
    };

    let pairs = [
        ("Latin in English", "eng", "latin"),
        ("Latin in Latin", "latin", "latin"),
        ("any in Latin", "latin", "other"),
        ("Latin in any", "other", "latin"),
        ("any in any of another script", "other", "other"),
    ];

    let mut all = Vec::new();
    for (what, host, guest) in pairs {
        let (hosts, guests) = (of(host), of(guest));
        for percent in [3, 7, 16, 30, 40] {
            let cells = ["end", "start", "middle"].map(|place| {
                let (mut n, mut stays, mut mixed) = (0, 0, 0);
                for (i, a) in hosts.iter().enumerate() {
                    let others = (0..4).map(|k| guests[(i * 31 + k * 97) % guests.len()]);
                    for b in others.filter(|b| b.code != a.code) {
                        let text = with_guest(&a.text, &b.text, percent, place);
                        let found = detect(engine, &text, &mut String::new());
                        n += 1;
                        stays += usize::from(found.code == a.code);
                        mixed += usize::from(found.second.is_some());
                        all.push((found, found.code == a.code));
                    }
                }
                format!("{place} {} / {} ({n})", share(stays, n), share(mixed, n))
            });
            println!("  {what}, {percent} %: {}", cells.join(", "));
        }
    }
    reliability("of these", all.iter().map(|(found, stays)| (found, *stays)));
}

/// True if most letters are Latin.
fn is_latin(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic());
    let latin = letters.clone().filter(|c| (*c as u32) < 0x250).count();
    latin * 2 > letters.count()
}

/// `host` in which `percent` of the bytes are the start of `guest`.
fn with_guest(host: &str, guest: &str, percent: usize, place: &str) -> String {
    let guest = start(guest, LONG_BYTES * percent / 100);
    let host = start(host, LONG_BYTES - guest.len());
    let at = host.floor_char_boundary(match place {
        "start" => 0,
        "middle" => host.len() / 2,
        _ => host.len(),
    });
    format!("{}\n\n{guest}\n\n{}", &host[..at], &host[at..])
}

/// The same numbers below an end each time.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |n| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n.max(1)
    }
}

/// Mixes of two documents of different known languages; in half of them one is English.
fn mixes(engine: Identifier, documents: &[Document]) {
    const MIXES: usize = 1000;
    println!("flagged of mixes of bytes, by the share of the first language: .5, .7, .3");
    let known: Vec<&Document> = documents
        .iter()
        .filter(|document| is_known(engine, document))
        .collect();
    let mut next = numbers(1);
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
                found.iter().filter(|found| found.second.is_some()).count(),
                found.len(),
            ));
        }
        println!("{bytes} bytes: {}", shares.join(", "));
    }
}

fn start(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
