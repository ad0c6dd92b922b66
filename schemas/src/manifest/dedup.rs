//! `[dedup]`: which copies are removed, and which one of them is kept.
//!
//! Bands, rows and shingle length are FineWeb's (Penedo et al. 2024, arXiv:2406.17557): 14 bands of
//! 8 hashes over word 5-grams.

use serde::{Deserialize, Serialize};

/// `[dedup]`: a deduplication runs if its table is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// Directories of earlier runs whose documents come before all of this one's, as written;
    /// relative to the working directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
    /// Documents with equal text.
    pub exact: Option<ExactDedup>,
    /// Documents with similar text, by MinHash.
    pub near: Option<NearDedup>,
    /// Paragraphs or lines that stand in an earlier document.
    pub paragraphs: Option<ParagraphDedup>,
}

/// `[dedup.exact]`: what is compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExactDedup {
    /// What of the text must be equal.
    pub text: ExactText,
    /// Whether of the documents that share a URL one is kept.
    pub url: bool,
}

/// What of two texts must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExactText {
    /// Every byte.
    #[default]
    AsIs,
    /// The words, without case; not what stands between them.
    Normalized,
}

/// `[dedup.near]`: MinHash and banding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearDedup {
    /// Words in a shingle.
    pub ngram: u32,
    /// Bands of the signature; one equal band makes a candidate pair.
    pub bands: u32,
    /// Hashes in a band.
    pub rows: u32,
    /// What the words of shingles are.
    pub shingles: Shingles,
    /// The permutations of MinHash.
    pub family: Family,
    /// Least exact Jaccard similarity of a pair; 0: pairs are not verified.
    pub min_jaccard: f64,
    /// What a pair is compared by.
    pub verify: Verify,
    /// Whether full signatures are stored, 8 bytes a value, and estimates stand in the evidence.
    pub keep_signatures: bool,
    /// Kept members of a bucket that a document is compared with, at the most.
    pub max_comparisons: u32,
    /// Documents of a component above which it is cut.
    pub max_component: u64,
    /// What makes a cluster.
    pub cluster: Cluster,
    /// Greatest share of a source's documents that may go as near-duplicates, 0 to 1.
    pub max_source_loss: f64,
    /// What decides which document of a cluster survives, most important first; ties by `doc_id`.
    pub prefer: Vec<Prefer>,
}

/// `[dedup.paragraphs]`: what is compared, and in what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParagraphDedup {
    /// What is cut out.
    pub unit: TextUnit,
    /// Fewest code points of a unit that is compared.
    pub min_len: u32,
    /// What holds the units so far.
    pub set: SeenSet,
    /// Share of new units that a filter takes for old ones, above 0 and below 1.
    pub false_positive_rate: f64,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextUnit {
    /// Lines between blank ones.
    #[default]
    Paragraph,
    /// Single lines.
    Line,
}

/// What holds the units so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenSet {
    /// All their hashes.
    #[default]
    Exact,
    /// A Bloom filter, several times smaller.
    Bloom,
}

/// What the words of shingles are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Shingles {
    /// Python's `\w+` of the lower-cased text.
    #[default]
    #[serde(rename = "words")]
    Words,
    /// spaCy's of the text as datatrove 0.10 simplifies it.
    #[serde(rename = "datatrove-0.10")]
    Datatrove010,
}

/// The permutations of MinHash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Family {
    /// Multiply-add modulo 2^32.
    #[default]
    #[serde(rename = "fast")]
    Fast,
    /// Multiply-add modulo 2^61 - 1, as datatrove 0.10 draws them.
    #[serde(rename = "datatrove-0.10")]
    Datatrove010,
}

/// What a pair is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// The shingle sets of their texts.
    #[default]
    Exact,
    /// Their full signatures; no text is read.
    Estimate,
}

/// What makes a cluster of near-duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cluster {
    /// A kept document and those that are like it.
    #[default]
    Star,
    /// All that equal bands connect, however far apart its ends are; never verified.
    Component,
}

/// What decides which document of a cluster survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    /// The smaller `source.priority`.
    SourcePriority,
    /// The greater heuristic score.
    Heuristic,
    /// The longer text, bytes.
    Bytes,
    /// The later date; a document with a date before one without.
    Newest,
}

impl Default for NearDedup {
    fn default() -> Self {
        Self {
            ngram: 5,
            bands: 14,
            rows: 8,
            shingles: Shingles::Words,
            family: Family::Fast,
            min_jaccard: 0.8,
            verify: Verify::Exact,
            keep_signatures: false,
            max_comparisons: 64,
            max_component: 1_000_000,
            cluster: Cluster::Star,
            max_source_loss: 1.0,
            prefer: vec![Prefer::SourcePriority, Prefer::Heuristic, Prefer::Bytes],
        }
    }
}

impl Default for ParagraphDedup {
    fn default() -> Self {
        Self {
            unit: TextUnit::Paragraph,
            min_len: 50,
            set: SeenSet::Exact,
            false_positive_rate: 1e-6,
        }
    }
}
