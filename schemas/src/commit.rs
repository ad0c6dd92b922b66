//! What a commit records: `_commit.json` of a stage folder, and a shard's receipt (one
//! [`FileEntry`]).
//!
//! Canonical JSON: fields in the order declared here, maps sorted by key, no timestamps, so that
//! equal runs write equal bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the run directory's layout; a directory of another version is refused.
pub const FORMAT: u32 = 2;

/// Where every unit of a quantity (documents, bytes or tokens) that a stage saw went.
///
/// Conservation: `in = kept + Σ removed + duplicates + quarantined + edited`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What arrived: for `documents` the records read, else what the stage before kept.
    #[serde(rename = "in")]
    pub arrived: u64,
    /// What went on.
    pub kept: u64,
    /// What a rule removed, by `family.rule`.
    pub removed: BTreeMap<String, u64>,
    /// What was merged into a document that is kept.
    pub duplicates: u64,
    /// What could not be read or processed.
    pub quarantined: u64,
    /// What edits took away; negative where they added. Always 0 for documents.
    pub edited: i64,
}

impl Tally {
    /// Whether nothing was lost and nothing doubled.
    pub fn is_conserved(&self) -> bool {
        let removed: u64 = self.removed.values().sum();
        let gone = self.kept + removed + self.duplicates + self.quarantined;
        i128::from(self.arrived) == i128::from(gone) + i128::from(self.edited)
    }

    /// Adds another tally, field by field.
    pub fn add(&mut self, other: &Tally) {
        self.arrived += other.arrived;
        self.kept += other.kept;
        self.duplicates += other.duplicates;
        self.quarantined += other.quarantined;
        self.edited += other.edited;
        for (rule, n) in &other.removed {
            *self.removed.entry(rule.clone()).or_default() += n;
        }
    }
}

/// The tallies of a stage, without tokens: those are known only once `tokens` has run (see
/// [`crate::report`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Documents; for the stage `documents` also records.
    pub docs: Tally,
    /// Bytes of text.
    pub bytes: Tally,
}

impl Counts {
    /// Adds another stage's or shard's counts.
    pub fn add(&mut self, other: &Counts) {
        self.docs.add(&other.docs);
        self.bytes.add(&other.bytes);
    }

    /// Whether documents and bytes are conserved.
    pub fn is_conserved(&self) -> bool {
        self.docs.is_conserved() && self.bytes.is_conserved() && self.docs.edited == 0
    }
}

/// One committed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path relative to the stage's folder: `part-00000-<key8>.parquet`.
    pub path: String,
    /// Key of what produced the file, 64 hex digits: blake3 over stage, version and `parts`.
    pub key: String,
    /// The parts of the key by name: `config`, tables read, resources.
    pub parts: BTreeMap<String, String>,
    /// Rows in the file.
    pub rows: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// blake3 of the file.
    pub digest: String,
    /// Digest of the rows that does not depend on shard layout: the sum of their hashes modulo
    /// 2^128, 32 hex digits.
    pub content: String,
    /// Where its documents went; absent for tables that are not row-aligned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counts: Option<Counts>,
    /// For `documents`: the input files the shard was read from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
}

/// An input file as it was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Input {
    /// Name of the source.
    pub source: String,
    /// Path relative to the source's fixed prefix.
    pub path: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// blake3 of the file.
    pub digest: String,
    /// Key of the unit that it was read in: 64 hex digits.
    pub unit: String,
}

/// `_commit.json`: what a finished stage consists of. Readers trust it, never a directory listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Name of the stage.
    pub stage: String,
    /// Version of the stage's code.
    pub version: u32,
    /// Key of the stage: blake3 over its files' keys.
    pub key: String,
    /// Where the documents went, summed over the files.
    pub counts: Counts,
    /// The files of the stage's own table, in the documents' order.
    pub files: Vec<FileEntry>,
    /// The files of further tables that the stage writes, by folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, Vec<FileEntry>>,
    /// For `documents`: every input file, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// For `documents`: counts by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Counts>,
    /// blake3 of this JSON with `digest` empty.
    pub digest: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conservation_counts_every_way_out() {
        let mut tally = Tally {
            arrived: 10,
            kept: 4,
            duplicates: 2,
            quarantined: 1,
            edited: 1,
            ..Tally::default()
        };
        tally.removed.insert("gopher_quality.short_doc".into(), 2);
        assert!(tally.is_conserved());
        tally.kept += 1;
        assert!(!tally.is_conserved());
        tally.edited -= 1;
        assert!(tally.is_conserved());
        tally.edited = -3;
        tally.kept += 3;
        assert!(tally.is_conserved());
    }

    #[test]
    fn adding_keeps_conservation() {
        let one = Tally {
            arrived: 3,
            kept: 2,
            removed: [("a.b".to_owned(), 1)].into(),
            ..Tally::default()
        };
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!(sum.arrived, 6);
        assert_eq!(sum.removed["a.b"], 2);
        assert!(sum.is_conserved());
    }
}
