//! What a manifest says: its types, and the one table of its keys.
//!
//! The types hold values that are already checked, with every default filled in; [`TABLES`] and
//! [`KEYS`] say what may be written, and the loader, the messages and `curate schema manifest` all
//! read them. A value is serialised as it was meant, not as it was written (`"1MiB"` is `1048576`),
//! so a part of a manifest can stand in a stage key.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod dedup;
mod filter;
mod keys;
mod mixture;
mod score;

pub use dedup::{
    Cluster, Dedup, ExactDedup, ExactText, Family, NearDedup, ParagraphDedup, Prefer, SeenSet,
    Shingles, TextUnit, Verify,
};
pub use filter::{
    C4, C4BadWords, C4Paragraphs, Filter, FineWeb, GopherQuality, GopherRepetition, Lines, Profile,
    SignalValues, Signals, UrlLists, Words,
};
pub use keys::{Absent, KEYS, Key, Kind, NO_MAX, TABLES, Table, Times};
pub use mixture::{
    Budget, Calibrated, Combine, Mixture, MixtureSource, PreferEnd, Quality, Strategy, Term, Veto,
};
pub use score::{
    Band, EMBEDDED_MODEL, EMBEDDED_TOKENIZER, Ngram, Normalize, Perplexity, Score, TokenScope,
    Tokens,
};

/// A whole manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the run is called, where it is written and what it may use.
    pub run: Run,
    /// The raw corpora, in the order of the manifest; never empty.
    pub source: Vec<Source>,
    /// Rewriting at ingest; `None`: text as it came.
    pub clean: Option<Clean>,
    /// Language identification; `None`: every language is kept.
    pub language: Option<Language>,
    /// Which values are computed for the rules.
    #[serde(default)]
    pub signals: Signals,
    /// Which filters run.
    #[serde(default)]
    pub filter: Filter,
    /// Which deduplications run.
    #[serde(default)]
    pub dedup: Dedup,
    /// How tokens are counted.
    pub tokens: Tokens,
    /// Which models score documents.
    #[serde(default)]
    pub score: Score,
    /// What q(d) is made of.
    pub quality: Quality,
    /// The model the data is meant for; `None`: no loss is predicted.
    pub budget: Option<Budget>,
    /// The mixtures to export, in the order of the manifest.
    #[serde(default)]
    pub mixture: Vec<Mixture>,
    /// What bounds sources in mixtures.
    #[serde(default)]
    pub mixture_source: Vec<MixtureSource>,
    /// Directory of the manifest, which `source.path` and `tokens.tokenizer` are relative to;
    /// empty: the working directory.
    #[serde(skip)]
    pub base: PathBuf,
    /// Path of the manifest as it was given; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
}

/// `[run]`: what the run is called, where it is written and what it may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Name of the run.
    pub name: String,
    /// The run directory, relative to the working directory.
    pub dir: PathBuf,
    /// Seed of every sample that is drawn, below 2^63.
    pub seed: u64,
    /// Memory for pools and kernels, bytes.
    pub memory: u64,
    /// Text in one shard before compression, bytes.
    pub shard_size: u64,
    /// Longest record that is read, bytes; a longer one is quarantined.
    pub max_record: u64,
    /// Largest window of a Zstandard frame that is read, bytes.
    pub max_window: u64,
    /// Most memory for pages of a Parquet file that are held at once, bytes.
    pub max_pages: u64,
    /// Largest tokenizer or list that is read, bytes.
    pub max_file: u64,
    /// Share of records that may be quarantined before the run stops, 0 to 1.
    pub max_quarantine_ratio: f64,
}

/// `[[source]]`: one raw corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of the source, unique in the manifest.
    pub name: String,
    /// Globs, files and directories, as written; relative to the manifest.
    pub path: Vec<String>,
    /// Field that holds the text; dots go into nested fields.
    pub text: String,
    /// Field that holds the record's own id.
    pub id: Option<String>,
    /// Field that holds the record's URL.
    pub url: Option<String>,
    /// Label of the domain that its documents belong to.
    pub domain: String,
    /// Field that holds the record's date.
    pub date: Option<String>,
    /// Rank among duplicates; the smaller number survives.
    pub priority: u32,
    /// How the files are read; `None`: by the file name.
    pub format: Option<Format>,
    /// Licence of its texts, for dataset cards: in no key, so a change of it computes nothing
    /// again.
    pub license: Option<String>,
}

/// How the files of a source are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object per line.
    Jsonl,
    /// One document per row.
    Parquet,
    /// One document per file.
    Txt,
}

/// `[clean]`: rewriting of text at ingest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clean {
    /// Compose to Unicode NFC.
    pub nfc: bool,
    /// Remove control characters other than tab and newline.
    pub control: bool,
    /// Turn CR LF and CR into LF.
    pub newlines: bool,
    /// Remove white space at the ends of lines.
    pub trailing_space: bool,
}

/// `[language]`: which languages are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// ISO 639-3 codes, sorted, each once; empty: all are kept.
    pub keep: Vec<String>,
    /// Least confidence of the identification, 0 to 1.
    pub min_confidence: f64,
    /// Whether documents whose parts are in different languages are kept.
    pub keep_mixed: bool,
    /// What identifies languages.
    pub engine: LanguageEngine,
}

/// What identifies languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanguageEngine {
    /// 70 languages, with a confidence.
    #[default]
    Whatlang,
    /// 16 languages, several times faster, without a confidence.
    Whichlang,
    /// Nothing: no document has a language.
    None,
}

impl Default for Language {
    fn default() -> Self {
        Self {
            keep: Vec::new(),
            min_confidence: 0.0,
            keep_mixed: true,
            engine: LanguageEngine::default(),
        }
    }
}
