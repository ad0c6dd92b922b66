//! Reads a sample of the records of a source: the first records of up to [`MOST_FILES`] of its files.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use anyhow::Result;
use curate_ingest::{Entry, Record, sample_file};
use curate_schemas::stages::documents::{Format, Run, Source};
use curate_scorers::language::{Identifier, detect};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use super::fields::{self, Choice, Field};
use super::survey::Group;

/// The most files that are looked into.
const MOST_FILES: usize = 32;
/// The most bytes of records of a source that are held. The last record may exceed them.
const MOST_BYTES: usize = 32 << 20;

/// What a sample of a source looks like.
#[derive(Debug, Default)]
pub struct Seen {
    /// Records that could be read.
    pub records: u64,
    /// Files that were looked into.
    pub files: usize,
    /// Records that could not be read, by reason, and the first detail of each.
    pub damaged: BTreeMap<&'static str, (u64, String)>,
    /// Fields of the records. Empty for texts and pages.
    pub fields: Vec<Field>,
    /// The choice of each field. The text has none if no field holds text.
    pub text: Choice,
    pub id: Choice,
    pub url: Choice,
    pub date: Choice,
    pub licence: Choice,
    /// The characters of each text.
    pub chars: Vec<u64>,
    /// The words of each text, between white space.
    pub words: Vec<u64>,
    /// Texts by language, ISO 639-3; empty for an unknown language.
    pub languages: BTreeMap<&'static str, u64>,
    /// Texts that are equal to an earlier one of the sample.
    pub duplicates: u64,
}

impl Seen {
    /// Records that could not be read.
    pub fn n_damaged(&self) -> u64 {
        self.damaged.values().map(|(n, _)| n).sum()
    }

    /// True if the source holds records with fields, one of which must be named.
    fn has_fields(format: Format) -> bool {
        !matches!(format, Format::Txt | Format::Html | Format::Warc)
    }

    /// True if the source can be a part of a manifest.
    pub fn is_usable(&self, format: Format) -> bool {
        !Seen::has_fields(format) || self.text.path.is_some()
    }
}

/// Looks at up to `most` records of a source.
///
/// # Errors
/// If a file cannot be read from disk. Damage in a file is counted.
pub fn look(group: &Group, most: usize) -> Result<Seen> {
    let (mut seen, records) = read(group, most)?;

    let texts: Vec<String> = if Seen::has_fields(group.format) {
        let parsed = records
            .iter()
            .map(|record| record.meta.as_deref().unwrap_or("{}"));
        let parsed: Vec<Map<String, Value>> = parsed
            .filter_map(|meta| serde_json::from_str(meta).ok())
            .collect();
        choose(&mut seen, &parsed);
        texts(&parsed, seen.text.path.as_deref())
    } else {
        records.into_iter().map(|record| record.text).collect()
    };

    measure(&mut seen, &texts);
    Ok(seen)
}

/// The records of the sample. With fields, `meta` holds all of them.
fn read(group: &Group, most: usize) -> Result<(Seen, Vec<Record>)> {
    let source = Source {
        name: group.name.clone(),
        text: String::new(),
        ..Source::default()
    };
    let (mut seen, mut records) = (Seen::default(), Vec::new());
    let n_files = group.files.len().min(MOST_FILES);
    let mut bytes = 0;

    for number in 0..n_files {
        // Evenly over all files, so that the parts of a folder are all seen.
        let file = &group.files[number * group.files.len() / n_files];
        // Every file that is left gets an equal part of what is left.
        let share = |left: usize| left.div_ceil(n_files - number);
        let own = share(most.saturating_sub(records.len()));
        let own_bytes = share(MOST_BYTES.saturating_sub(bytes));
        let (mut n, mut n_bytes) = (0, 0);
        if own == 0 || own_bytes == 0 {
            break;
        }

        seen.files += 1;
        sample_file(file, &source, &Run::default(), &mut |entry| {
            match entry {
                Entry::Item(Ok(record)) => {
                    n_bytes += record.text.len() + record.meta.as_ref().map_or(0, String::len);
                    seen.records += 1;
                    records.push(record);
                }
                Entry::Item(Err(damage)) => {
                    let damaged = seen.damaged.entry(damage.reason);
                    let (count, _) = damaged.or_insert_with(|| (0, damage.detail));
                    *count += damage.records;
                }
                // What is no document takes no memory, and is still a record of the sample.
                Entry::Skipped { .. } => {}
            }
            n += 1;
            Ok(match n >= own || n_bytes >= own_bytes {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        bytes += n_bytes;
    }
    Ok((seen, records))
}

/// Chooses the fields of the records.
fn choose(seen: &mut Seen, records: &[Map<String, Value>]) {
    let fields = fields::fields(records);
    seen.text = fields::text(&fields, seen.records);
    seen.id = fields::id(&fields, seen.records);
    seen.url = fields::url(&fields, seen.records);
    seen.date = fields::date(&fields, seen.records);
    seen.licence = fields::licence(&fields, seen.records);
    seen.fields = fields;
}

/// The texts of the records.
fn texts(records: &[Map<String, Value>], path: Option<&str>) -> Vec<String> {
    let Some(path) = path else {
        return Vec::new();
    };
    let values = records
        .iter()
        .filter_map(|record| fields::lookup(record, path));
    values
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Lengths, languages and duplicates of the texts.
fn measure(seen: &mut Seen, texts: &[String]) {
    let (mut known, mut scratch) = (BTreeSet::new(), String::new());
    for text in texts {
        seen.chars.push(text.chars().count() as u64);
        seen.words.push(text.split_whitespace().count() as u64);
        seen.duplicates += u64::from(!known.insert(xxh3_128(text.as_bytes())));
        let code = detect(Identifier::Whatlang, text, &mut scratch).code;
        *seen.languages.entry(code.unwrap_or_default()).or_default() += 1;
    }
}
