//! The records of a commit: `_commit.json` of a stage folder, and the receipt of a shard, which is
//! one [`FileEntry`].
//!
//! The JSON is canonical, so that equal runs write equal bytes. Fields are in the order declared
//! here, maps are sorted by key, and there are no timestamps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the run directory's layout. A directory of another version is refused.
pub const FORMAT: u32 = 2;

/// The units of a quantity that a stage saw, by what became of them. The quantity is documents,
/// bytes or tokens.
///
/// Conservation: `in = kept + Σ removed + duplicates + quarantined + Σ skipped + edited`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Units that arrived: what the stage before kept; for `documents` the records read.
    #[serde(rename = "in")]
    pub arrived: u64,
    /// Units that go on to the next stage.
    pub kept: u64,
    /// Units that a rule removed, by `family.rule`.
    pub removed: BTreeMap<String, u64>,
    /// Units that were merged into a document that is kept.
    pub duplicates: u64,
    /// Units that could not be read or processed.
    pub quarantined: u64,
    /// Units of records that are no documents, by reason; for `documents` only. Most records of a
    /// web archive are requests and the like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// Units that edits took away; negative if they added some. Always 0 for documents.
    pub edited: i64,
}

impl Tally {
    /// True if no unit was lost or counted twice.
    pub fn is_conserved(&self) -> bool {
        let removed: u64 = self.removed.values().sum();
        let skipped: u64 = self.skipped.values().sum();
        let gone = self.kept + removed + self.duplicates + self.quarantined + skipped;

        // `edited` may be negative, and no 64-bit type holds every value of both other sums.
        i128::from(self.arrived) == i128::from(gone) + i128::from(self.edited)
    }

    /// Adds another tally of the same quantity, field by field.
    pub fn add(&mut self, other: &Tally) {
        self.arrived += other.arrived;
        self.kept += other.kept;
        self.duplicates += other.duplicates;
        self.quarantined += other.quarantined;
        self.edited += other.edited;

        for (own, others) in [
            (&mut self.removed, &other.removed),
            (&mut self.skipped, &other.skipped),
        ] {
            for (reason, n) in others {
                *own.entry(reason.clone()).or_default() += n;
            }
        }
    }
}

/// The tallies of a stage, without tokens. Tokens are known only after `tokens` has run, see
/// [`crate::report`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Tally of documents; for the stage `documents` of records too.
    pub docs: Tally,
    /// Tally of bytes of text.
    pub bytes: Tally,
    /// Documents with a repair at ingest, by its kind; for `documents` only. A document may have
    /// repairs of several kinds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repaired: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds the counts of another stage or shard.
    pub fn add(&mut self, other: &Counts) {
        self.docs.add(&other.docs);
        self.bytes.add(&other.bytes);

        for (kind, n) in &other.repaired {
            *self.repaired.entry(kind.clone()).or_default() += n;
        }
    }

    /// Counts a record that is no document, of `bytes` bytes.
    pub fn skip(&mut self, reason: &str, records: u64, bytes: u64) {
        for (tally, n) in [(&mut self.docs, records), (&mut self.bytes, bytes)] {
            tally.arrived += n;
            *tally.skipped.entry(reason.to_owned()).or_default() += n;
        }
    }

    /// True if documents and bytes are conserved.
    pub fn is_conserved(&self) -> bool {
        // An edit changes the length of a document, never the number of documents.
        self.docs.is_conserved() && self.bytes.is_conserved() && self.docs.edited == 0
    }
}

/// A file that is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path relative to the stage's folder: `part-00000-<key8>.parquet`.
    pub path: String,
    /// Key of the file, 64 hex digits: blake3 over stage, version and `parts`.
    pub key: String,
    /// Parts of the key by name: `config`, the tables read, and resources.
    pub parts: BTreeMap<String, String>,
    /// Number of rows in the file.
    pub rows: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// blake3 of the file, in hex.
    pub digest: String,
    /// Digest of the rows that does not depend on how rows are divided into shards: the sum of the
    /// rows' hashes modulo 2^128, 32 hex digits.
    pub content: String,
    /// What became of the file's documents; absent for tables that are not row-aligned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counts: Option<Counts>,
    /// Key of the unit of input files that the shard was read from, for `documents` only.
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
    /// blake3 of the file, in hex.
    pub digest: String,
    /// Key of the unit that the file was read in, 64 hex digits.
    pub unit: String,
    /// Records of the file that are no documents, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, Skipped>,
}

/// Records of an input file that are no documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skipped {
    /// Number of records.
    pub records: u64,
    /// Their bytes, without the headers of the archive.
    pub bytes: u64,
}

/// `_commit.json`: the content of a finished stage. Readers trust this file, never a directory
/// listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Version of the layout, the [`FORMAT`] of the writer.
    pub format: u32,
    /// Name of the stage.
    pub stage: String,
    /// Version of the stage's code.
    pub version: u32,
    /// Key of the stage: blake3 over the keys of its files.
    pub key: String,
    /// What became of the documents, summed over the files.
    pub counts: Counts,
    /// Files of the stage's own table, in the order of the documents.
    pub files: Vec<FileEntry>,
    /// Files of further tables that the stage writes, by folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, Vec<FileEntry>>,
    /// Every input file, sorted, for `documents` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Counts by source, for `documents` only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Counts>,
    /// blake3 of this JSON with an empty `digest`, in hex.
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
        tally.removed.insert("gopher_quality.short_doc".into(), 1);
        tally.skipped.insert("record_type".into(), 1);
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
