//! Judges the quarantine of each source and of the run: what stops a run, and what it warns of.
//!
//! A small source can be lost as a whole and still be a small part of all records. So every source
//! is judged by its own records, too.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use curate_schemas::commit::{Commit, Counts};
use curate_schemas::stages::documents::DOCUMENTS;
use curate_store::failure::{Exit, Failure};
use curate_store::terminal::{self, printable};
use curate_store::zip::{Part, Zip};

use super::Driver;
use super::sources::REASONS_SHOWN;

/// Greatest number of sources or fields that a message names.
const SOURCES_SHOWN: usize = 10;
/// Greatest number of different details that are counted for a reason. A detail may quote the
/// record, and then each record has another one.
const DETAILS_COUNTED: usize = 1000;
/// Characters of a detail that a message shows. They hold the names of some ten fields.
const DETAIL_CHARS: usize = 300;

/// The damage of one source, by reason.
type Reasons = BTreeMap<String, Damage>;

/// Damage with one reason.
#[derive(Default)]
struct Damage {
    /// Records that the damage hides.
    records: u64,
    /// The details, each with its records and the place of the first one.
    details: BTreeMap<String, (u64, String)>,
}

impl Damage {
    fn add(&mut self, records: u64, detail: &str, place: impl Fn() -> String) {
        self.records += records;
        if let Some((sum, _)) = self.details.get_mut(detail) {
            *sum += records;
        } else if self.details.len() < DETAILS_COUNTED {
            self.details.insert(detail.to_owned(), (records, place()));
        }
    }

    /// The most frequent detail, with the place of its first record.
    fn example(&self) -> String {
        let most = self.details.iter().max_by_key(|(detail, (records, _))| {
            // A tie goes to the detail that sorts first.
            (*records, Reverse(*detail))
        });
        let Some((detail, (_, place))) = most else {
            return String::new();
        };

        let shown = match detail.char_indices().nth(DETAIL_CHARS) {
            Some((end, _)) => format!("{}…", &detail[..end]),
            None => detail.clone(),
        };
        format!(" ({place}: {shown})")
    }
}

impl Driver {
    /// Stops the run if a source lost all its records, or if a source or the run lost more records
    /// than it may. Warns of every other source with damaged records, and of sources without
    /// records. The quarantine is committed by now, so the user can look at it.
    ///
    /// # Errors
    /// Exit 1 with the sources, their counts and the most frequent reasons.
    pub(super) fn judge_quarantine(&self) -> Result<()> {
        let documents = self.committed(DOCUMENTS.name)?;
        let reasons = self.quarantine_reasons(&documents)?;

        let (mut stops, mut stopped_by) = (Vec::new(), BTreeSet::<&str>::new());
        for (name, counts) in &documents.sources {
            let (records, bad) = (counts.docs.arrived, counts.docs.quarantined);
            if records == 0 {
                terminal::say(&format!(
                    "curate: warning: source \"{name}\": the files hold no record"
                ));
            }
            let skipped = &counts.docs.skipped;
            if bad == 0 && counts.docs.kept == 0 && !skipped.is_empty() {
                let reasons: Vec<String> = skipped
                    .iter()
                    .map(|(reason, n)| format!("{n} {reason}"))
                    .collect();
                stops.push(format!(
                    "source \"{name}\": none of {records} records is a document: {}",
                    reasons.join(", ")
                ));
            }
            if bad == 0 {
                continue;
            }

            let found = reasons.get(name);
            let why = found.map_or_else(String::new, most_frequent);
            let Some(verdict) = self.verdict(name, counts) else {
                terminal::say(&format!(
                    "curate: warning: source \"{name}\": {bad} of {records} records are in \
                     quarantine: {why}"
                ));
                continue;
            };
            let words = found.into_iter().flat_map(|found| found.keys());
            stopped_by.extend(words.map(String::as_str));
            stops.push(format!(
                "source \"{name}\": {bad} of {records} records could not be read, {verdict}: {why}"
            ));
        }

        if stops.is_empty() {
            return self.judge_all(&documents);
        }
        let table = self.run.table("quarantine");
        let field = if stopped_by.contains("missing_text") {
            "set text in [[source]] to a field that the records have, "
        } else if stopped_by.contains("text_not_string") {
            "set text in [[source]] to a field that holds text, "
        } else {
            ""
        };
        let hint = format!(
            "{field}mend the files, or leave the source out; {} has the damaged records",
            table.display()
        );
        Err(stopped(&stops, "sources").hint(hint).into())
    }

    /// Why the records that a source lost stop the run; `None` if they do not.
    fn verdict(&self, name: &str, counts: &Counts) -> Option<String> {
        let Counts { docs, .. } = counts;
        if docs.kept == 0 {
            return Some("so no document of the source is left".to_owned());
        }

        let sources = &self.manifest.source;
        let source = sources.iter().find(|source| source.name == name);
        let own = source.and_then(|source| source.max_quarantine_ratio);
        let (key, allowed) = match own {
            Some(allowed) => ("source", allowed),
            None => ("run", self.manifest.run.max_quarantine_ratio),
        };
        exceeds(counts, allowed).then(|| over(key, allowed))
    }

    /// Stops the run if all sources together lost more records than the run may. Without a source
    /// that has a ratio of its own, this follows from the ratios of the sources.
    fn judge_all(&self, documents: &Commit) -> Result<()> {
        let allowed = self.manifest.run.max_quarantine_ratio;
        let counts = &documents.counts;
        if !exceeds(counts, allowed) {
            return Ok(());
        }

        let mut sources: Vec<(&String, u64)> = documents
            .sources
            .iter()
            .map(|(name, counts)| (name, counts.docs.quarantined))
            .filter(|(_, bad)| *bad > 0)
            .collect();
        sources.sort_by_key(|(_, bad)| Reverse(*bad));
        let most: Vec<String> = sources
            .iter()
            .take(SOURCES_SHOWN)
            .map(|(name, bad)| format!("{bad} of source \"{name}\""))
            .collect();

        let message = format!(
            "all sources: {} of {} records could not be read, {}: {}",
            counts.docs.quarantined,
            counts.docs.arrived,
            over("run", allowed),
            most.join(", ")
        );
        let hint = "source.max_quarantine_ratio holds for the records of its source; raise \
                    run.max_quarantine_ratio, too";
        Err(Failure::new(Exit::No, message).hint(hint).into())
    }

    /// The damage of each source that has some.
    fn quarantine_reasons(&self, documents: &Commit) -> Result<BTreeMap<String, Reasons>> {
        let mut all: BTreeMap<String, Reasons> = BTreeMap::new();
        let columns = ["source", "path", "ordinal", "reason", "detail", "records"];
        for file in documents.tables.get("quarantine").into_iter().flatten() {
            let stored = self.run.stored(documents.version, "quarantine", file);
            for batch in Zip::open(&[Part::of(stored, &columns)])? {
                let batch = batch?;
                let text = |at: usize| batch.column(at).as_string::<i32>();
                let number = |at: usize| batch.column(at).as_primitive::<UInt64Type>();
                let (sources, paths, reasons, details) = (text(0), text(1), text(3), text(4));
                let (ordinals, records) = (number(2), number(5));

                for row in 0..batch.num_rows() {
                    let of_source = all.entry(sources.value(row).to_owned()).or_default();
                    let damage = of_source.entry(reasons.value(row).to_owned()).or_default();
                    damage.add(records.value(row), details.value(row), || {
                        format!("{}, record {}", paths.value(row), ordinals.value(row))
                    });
                }
            }
        }
        Ok(all)
    }
}

/// True if a larger share of the records is in quarantine than is allowed. Skipped records are no
/// documents that could be lost, so they do not count.
fn exceeds(counts: &Counts, allowed: f64) -> bool {
    let skipped: u64 = counts.docs.skipped.values().sum();
    counts.docs.quarantined as f64 > allowed * (counts.docs.arrived - skipped) as f64
}

/// The words about a ratio that is exceeded. `table` is the table of the manifest that sets it.
fn over(table: &str, allowed: f64) -> String {
    format!("more than {table}.max_quarantine_ratio = {allowed} allows")
}

/// The most frequent reasons, each with its records and an example.
fn most_frequent(reasons: &Reasons) -> String {
    let mut sorted: Vec<(&String, &Damage)> = reasons.iter().collect();
    sorted.sort_by_key(|(_, damage)| Reverse(damage.records));

    let mut most: Vec<String> = sorted
        .iter()
        .take(REASONS_SHOWN)
        .map(|(reason, damage)| format!("{} {reason}{}", damage.records, damage.example()))
        .collect();
    let rest: u64 = sorted
        .iter()
        .skip(REASONS_SHOWN)
        .map(|(_, damage)| damage.records)
        .sum();
    if rest > 0 {
        most.push(format!("{rest} of other reasons"));
    }
    most.join(", ")
}

/// The failure of a run that several things stop, a line for each. `things` is their name, such as
/// `sources`.
pub(super) fn stopped(stops: &[String], things: &str) -> Failure {
    let mut lines: Vec<String> = stops
        .iter()
        .take(SOURCES_SHOWN)
        .map(|stop| printable(stop))
        .collect();
    if stops.len() > SOURCES_SHOWN {
        lines.push(format!("and {} more {things}", stops.len() - SOURCES_SHOWN));
    }

    Failure::new(Exit::No, lines.join("\n")).of_lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reasons_and_details_are_named() {
        let mut reasons = Reasons::new();
        let rows = [
            ("missing_text", 1, "null"),
            ("missing_text", 1, "no field \"text\"; there are: id"),
            ("missing_text", 1, "no field \"text\"; there are: id"),
            ("invalid_json", 9, "cut"),
            ("nul_byte", 2, "nul"),
            ("damaged_file", 1, "cut"),
        ];
        for (at, (reason, records, detail)) in rows.into_iter().enumerate() {
            let damage = reasons.entry(reason.to_owned()).or_default();
            damage.add(records, detail, || format!("a.jsonl, record {at}"));
        }
        assert_eq!(
            most_frequent(&reasons),
            "9 invalid_json (a.jsonl, record 3: cut), 3 missing_text (a.jsonl, record 1: no field \
             \"text\"; there are: id), 2 nul_byte (a.jsonl, record 4: nul), 1 of other reasons"
        );
    }

    #[test]
    fn details_are_bounded_in_number_and_length() {
        let mut damage = Damage::default();
        for n in 0..5000 {
            damage.add(2, &format!("{n} {}", "é".repeat(400)), String::new);
        }
        assert_eq!((damage.records, damage.details.len()), (10_000, 1000));
        assert!(damage.example().chars().count() < DETAIL_CHARS + 10);
        assert_eq!(Damage::default().example(), "");
    }
}
