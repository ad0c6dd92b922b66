//! What a manifest says: its types, and the one table of its keys.
//!
//! The types hold values that are already checked, with every default filled in; [`TABLES`] and [`KEYS`] say what may be
//! written, and the loader, the messages and `curate schema manifest` all read them. A value is serialised as it was
//! meant, not as it was written (`"1MiB"` is `1048576`), so a part of a manifest can stand in a stage key.
//!
//! Thresholds are those of Rae et al. 2021 (Gopher, arXiv:2112.11446), section A1.1 and table A1. Bands, rows and shingle length
//! are FineWeb's (Penedo et al. 2024, arXiv:2406.17557): 14 bands of 8 hashes over word 5-grams.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod keys;

pub use keys::{Absent, KEYS, Key, Kind, NO_MAX, TABLES, Table, Times};

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
    /// Directory of the manifest, which `source.path` and `tokens.tokenizer` are relative to; empty: the working directory.
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
    /// Licence of its texts, for dataset cards: in no key, so a change of it computes nothing again.
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

/// `[signals]`: which values are computed for the rules.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    /// Those of every rule, or none.
    pub values: SignalValues,
}

/// Which values are computed for the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalValues {
    /// Those of every rule and the heuristic score, so that any threshold can be set later.
    #[default]
    All,
    /// None: for runs that only deduplicate.
    None,
}

/// `[filter]`: a family of rules judges if its table is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Whose reading of the rules is applied.
    pub profile: Profile,
    /// What the words of a document are.
    pub words: Words,
    /// Lists of unwanted addresses.
    pub url: Option<UrlLists>,
    /// Gopher's repetition rules.
    pub gopher_repetition: Option<GopherRepetition>,
    /// Gopher's quality rules.
    pub gopher_quality: Option<GopherQuality>,
    /// C4's rules.
    pub c4: Option<C4>,
    /// C4's rule on paragraphs.
    pub c4_paragraphs: Option<C4Paragraphs>,
    /// A list of unwanted words.
    pub c4_bad_words: Option<C4BadWords>,
    /// FineWeb's rules.
    pub fineweb: Option<FineWeb>,
    /// RefinedWeb's line rules.
    pub lines: Option<Lines>,
}

impl Filter {
    /// Whether a rule edits the text, so that every stage behind `signals` sees another than `documents` holds.
    pub fn rewrites(&self) -> bool {
        self.c4.as_ref().is_some_and(|c4| c4.rewrite) || self.lines.as_ref().is_some_and(|lines| lines.rewrite)
    }
}

/// Whose reading of rules that go by one name is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Profile {
    /// datatrove 0.10.
    #[default]
    #[serde(rename = "datatrove-0.10")]
    Datatrove010,
    /// The line rules as FineWeb v1 was made with them, else datatrove 0.10.
    #[serde(rename = "fineweb-v1-lines")]
    FineWebV1Lines,
}

/// What the words of a document are, for every rule that counts words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// spaCy's of English documents and those without a language, else UAX-29 with dictionaries.
    #[default]
    ByLanguage,
    /// spaCy's English words of every document.
    English,
}

/// `[filter.url]`: lists of unwanted addresses, a line each.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlLists {
    /// File of domains, as written; relative to the manifest.
    pub domains: Option<String>,
    /// File of substrings, as written; relative to the manifest.
    pub substrings: Option<String>,
}

/// `[filter.c4]`: settings of the line rules, then of the verdict; Raffel et al. 2020, section 2.2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C4 {
    /// Whether lines without terminal punctuation are dropped.
    pub terminal_punct: bool,
    /// Whether citations such as `[12]` are taken out.
    pub citations: bool,
    /// Fewest words of a line that is kept.
    pub min_line_words: u32,
    /// Longest word of a line that is kept, code points.
    pub max_word_len: u32,
    /// Whether lines that mention javascript are dropped.
    pub javascript: bool,
    /// Whether lines about policies are dropped.
    pub policy: bool,
    /// Whether the kept lines become the text of the document.
    pub rewrite: bool,
    /// Whether documents with "lorem ipsum" fail.
    pub lorem_ipsum: bool,
    /// Whether documents with a curly bracket fail.
    pub curly_bracket: bool,
    /// Fewest sentences on kept lines.
    pub min_sentences: u32,
}

/// `[filter.c4_paragraphs]`: at least three lines must be long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C4Paragraphs {
    /// Least length of the third-longest line, code points.
    pub min_line_len: u32,
}

/// `[filter.c4_bad_words]`: a list of unwanted words, a line each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C4BadWords {
    /// File of words, as written; relative to the manifest.
    pub file: String,
    /// ISO 639-1 code of the list's language: in `ja`, `th` and `zh` words need no bounds.
    pub language: String,
    /// Most matches.
    pub max_matches: u32,
}

/// `[filter.fineweb]`: thresholds of Penedo et al. 2024, section 3.6.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineWeb {
    /// Lines that end with terminal punctuation, of lines.
    pub min_line_punct_ratio: f64,
    /// Lines of 30 characters or fewer, of lines.
    pub max_short_line_ratio: f64,
    /// Characters in repeated lines, of characters.
    pub max_char_dup_ratio: f64,
    /// Line feeds per word.
    pub max_list_ratio: f64,
}

/// `[filter.lines]`: RefinedWeb's line rules; Penedo et al. 2023, appendix G.2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// Whether the kept lines become the text of the document.
    pub rewrite: bool,
    /// Words on removed lines, of words.
    pub max_removed_word_ratio: f64,
}

/// `[filter.gopher_quality]`: thresholds of Rae et al. 2021, section A1.1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GopherQuality {
    /// Fewest words.
    pub min_words: u32,
    /// Most words.
    pub max_words: u32,
    /// Least mean word length, chars.
    pub min_avg_word_len: f64,
    /// Greatest mean word length, chars.
    pub max_avg_word_len: f64,
    /// Most hash signs per word.
    pub max_hash_word_ratio: f64,
    /// Most ellipses per word.
    pub max_ellipsis_word_ratio: f64,
    /// Greatest share of lines that begin with a bullet.
    pub max_bullet_line_ratio: f64,
    /// Greatest share of lines that end with an ellipsis.
    pub max_ellipsis_line_ratio: f64,
    /// Least share of words with an alphabetic character.
    pub min_alpha_word_ratio: f64,
    /// Fewest of the eight English stop words.
    pub min_stop_words: u32,
}

/// `[filter.gopher_repetition]`: thresholds of Rae et al. 2021, table A1; each is a share, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GopherRepetition {
    /// Duplicate paragraphs, of paragraphs.
    pub max_dup_para_frac: f64,
    /// Characters in duplicate paragraphs, of characters.
    pub max_dup_para_char_frac: f64,
    /// Duplicate lines, of lines.
    pub max_dup_line_frac: f64,
    /// Characters in duplicate lines, of characters.
    pub max_dup_line_char_frac: f64,
    /// Characters in the most frequent 2-gram, of characters.
    pub max_top_2_gram: f64,
    /// Characters in the most frequent 3-gram, of characters.
    pub max_top_3_gram: f64,
    /// Characters in the most frequent 4-gram, of characters.
    pub max_top_4_gram: f64,
    /// Characters in duplicate 5-grams, of characters.
    pub max_dup_5_gram: f64,
    /// Characters in duplicate 6-grams, of characters.
    pub max_dup_6_gram: f64,
    /// Characters in duplicate 7-grams, of characters.
    pub max_dup_7_gram: f64,
    /// Characters in duplicate 8-grams, of characters.
    pub max_dup_8_gram: f64,
    /// Characters in duplicate 9-grams, of characters.
    pub max_dup_9_gram: f64,
    /// Characters in duplicate 10-grams, of characters.
    pub max_dup_10_gram: f64,
}

/// `[dedup]`: a deduplication runs if its table is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// Directories of earlier runs whose documents come before all of this one's, as written; relative to the working
    /// directory.
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

/// `[tokens]`: how tokens are counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Which documents are counted.
    pub scope: TokenScope,
    /// [`EMBEDDED_TOKENIZER`], or the path of a `tokenizer.json`, as written; relative to the manifest.
    pub tokenizer: String,
}

/// The value of `tokens.tokenizer` that names the tokenizer compiled into the binary.
pub const EMBEDDED_TOKENIZER: &str = "embedded";

/// `[score]`: a model scores if its table is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The surprise of a causal language model.
    pub perplexity: Option<Perplexity>,
    /// The surprise of an n-gram model.
    pub ngram: Option<Ngram>,
}

/// `[score.ngram]`: which n-gram model, and what makes tokens for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ngram {
    /// A file of `curate train ngram`, or an ARPA file, relative to the manifest.
    pub model: String,
    /// [`EMBEDDED_TOKENIZER`], `words` for what is between white space, or a tokenizer.json, relative to the manifest.
    #[serde(default = "embedded_tokenizer")]
    pub tokenizer: String,
    /// What is done to a line before.
    #[serde(default)]
    pub normalize: Normalize,
    /// Which scores remove a document.
    #[serde(default)]
    pub drop: Option<Band>,
}

fn embedded_tokenizer() -> String {
    EMBEDDED_TOKENIZER.to_owned()
}

/// How a line is written before an n-gram model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// As it is.
    #[default]
    None,
    /// As CCNet's models were trained: lower case, no accents, digits 0, plain punctuation.
    Ccnet,
}

/// `[score.perplexity]`: which model reads what of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Perplexity {
    /// [`EMBEDDED_MODEL`], the path of a directory or a GGUF file, as written, relative to the manifest, or `hf://…`.
    pub model: String,
    /// BLAKE3 of the model's weights, in hex; another digest is refused.
    pub digest: Option<String>,
    /// Which tokens are read: `start`, `start+middle` or `all`.
    pub window: String,
    /// Where the model runs: `auto`, `cpu`, `cuda`, `cuda:0`, … or `metal`.
    pub device: String,
    /// Tokens of a batch, padding included; absent: as the device likes it.
    pub batch_tokens: Option<u32>,
    /// Share of survivors that are scored, chosen by hash.
    pub sample: f64,
    /// Tokens that full windows of the documents scored may hold, on average over samples: a smaller share is scored to meet it.
    pub max_tokens: Option<u64>,
    /// Which scores remove a document.
    pub drop: Option<Band>,
}

/// The tails of a distribution within a language and domain: they go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Share of documents in the lower tail.
    pub below: f64,
    /// Share of documents below the upper tail.
    pub above: f64,
}

/// The value of `score.perplexity.model` that names the model compiled into the binary.
pub const EMBEDDED_MODEL: &str = "embedded";

/// Which documents are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    /// Every document.
    #[default]
    All,
    /// Documents that reached the stage.
    Survivors,
}

/// `[quality]`: what q(d) is made of, and who goes before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// How terms become q.
    pub combine: Combine,
    /// The constant of [`Combine::Logistic`].
    pub intercept: f64,
    /// The terms; without any q is 1.
    #[serde(default)]
    pub term: Vec<Term>,
    /// What removes a document.
    #[serde(default)]
    pub veto: Vec<Veto>,
}

/// How terms become q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Π t^(w / Σ w).
    #[default]
    WeightedGeometric,
    /// Σ w·t / Σ w.
    Mean,
    /// The least.
    Min,
    /// The greatest of the terms' twentieths, rounded up: of percentiles the ensemble of Nemotron-CC (Su et al. 2024).
    Max,
    /// 1 / (1 + e^−(intercept + Σ w·t)).
    Logistic,
}

/// `[[quality.term]]`: a column and how it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// `table.column`, `table.column.field`, or `meta.field`.
    pub column: String,
    /// Its weight, or its coefficient in [`Combine::Logistic`].
    pub weight: f64,
    /// How its value becomes a term.
    pub calibration: Calibrated,
    /// Whether small values are the better ones, for [`Calibrated::Percentile`].
    pub prefer: PreferEnd,
    /// Share of tokens below the middle, for [`Calibrated::TwoSided`].
    pub low: f64,
    /// Share of tokens below the end of the middle, for [`Calibrated::TwoSided`].
    pub high: f64,
    /// The value of one half, for [`Calibrated::Logistic`].
    pub midpoint: f64,
    /// How fast it rises, per unit of the value, for [`Calibrated::Logistic`].
    pub slope: f64,
    /// File with the points, for [`Calibrated::Isotonic`].
    pub file: Option<String>,
}

/// How a value becomes a term in (0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibrated {
    /// It is one.
    #[default]
    Identity,
    /// By a logistic curve.
    Logistic,
    /// The share of tokens of its language and domain with a worse value.
    Percentile,
    /// 1 in the middle of its language and domain, less in either tail.
    TwoSided,
    /// By points from a file.
    Isotonic,
}

/// Which end of a column is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferEnd {
    /// Great values.
    #[default]
    High,
    /// Small values.
    Low,
}

/// `[[quality.veto]]`: values of a column that remove a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Veto {
    /// `table.column`, `table.column.field`, or `meta.field`.
    pub column: String,
    /// Smaller values remove.
    pub below: Option<f64>,
    /// Greater values remove.
    pub above: Option<f64>,
}

/// `[budget]`: the model the data is meant for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Parameters of the model.
    pub params: f64,
    /// Constants of the loss curve: the name of a published fit, or a JSON file, as written, relative to the manifest.
    pub constants: String,
    /// What that file held when the manifest was read, letter by letter; none for a published fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constants_json: Option<String>,
    /// How many times larger the corpus is than this run's sample of it.
    pub represents: f64,
}

/// `[[mixture]]`: one training mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    /// Name of the mixture, unique in the manifest.
    pub name: String,
    /// Tokens to draw, repeats counted.
    pub tokens: u64,
    /// Most epochs over any bucket.
    pub max_epochs: f64,
    /// How epochs are chosen.
    #[serde(default)]
    pub strategy: Strategy,
    /// τ of [`Strategy::Temperature`].
    pub temperature: f64,
    /// Share of tokens that [`Strategy::QualityCurve`] leaves out.
    pub discard: f64,
    /// Text in one exported file before compression, bytes.
    pub part_size: u64,
}

/// How the epochs of a mixture are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Those that are worth the most effective tokens.
    #[default]
    Effective,
    /// Sources in proportion to their unique tokens.
    Natural,
    /// Sources alike, as far as their epochs go (Chung et al. 2023).
    Unimax,
    /// Sources in proportion to U^(1/τ).
    Temperature,
    /// The shares of `[[mixture_source]]`.
    Fixed,
    /// Better bins more often, within each source (Olmo 3).
    QualityCurve,
}

/// `[[mixture_source]]`: bounds of one source in one mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureSource {
    /// The mixture.
    pub mixture: String,
    /// The source.
    pub source: String,
    /// Least share of the mixture's tokens.
    pub min_share: f64,
    /// Greatest share of the mixture's tokens.
    pub max_share: f64,
    /// Its share with `strategy = "fixed"`.
    pub share: Option<f64>,
    /// Most epochs over its buckets, instead of the mixture's.
    pub max_epochs: Option<f64>,
}

impl Default for GopherQuality {
    fn default() -> Self {
        Self {
            min_words: 50,
            max_words: 100_000,
            min_avg_word_len: 3.0,
            max_avg_word_len: 10.0,
            max_hash_word_ratio: 0.1,
            max_ellipsis_word_ratio: 0.1,
            max_bullet_line_ratio: 0.9,
            max_ellipsis_line_ratio: 0.3,
            min_alpha_word_ratio: 0.8,
            min_stop_words: 2,
        }
    }
}

impl Default for Language {
    fn default() -> Self {
        Self { keep: Vec::new(), min_confidence: 0.0, keep_mixed: true, engine: LanguageEngine::default() }
    }
}

impl Default for C4 {
    fn default() -> Self {
        Self {
            terminal_punct: true,
            citations: true,
            min_line_words: 3,
            max_word_len: 1000,
            javascript: true,
            policy: true,
            rewrite: false,
            lorem_ipsum: true,
            curly_bracket: true,
            min_sentences: 5,
        }
    }
}

impl Default for FineWeb {
    fn default() -> Self {
        Self { min_line_punct_ratio: 0.12, max_short_line_ratio: 0.67, max_char_dup_ratio: 0.01, max_list_ratio: 0.3 }
    }
}

impl Default for GopherRepetition {
    fn default() -> Self {
        Self {
            max_dup_para_frac: 0.3,
            max_dup_para_char_frac: 0.2,
            max_dup_line_frac: 0.3,
            max_dup_line_char_frac: 0.2,
            max_top_2_gram: 0.2,
            max_top_3_gram: 0.18,
            max_top_4_gram: 0.16,
            max_dup_5_gram: 0.15,
            max_dup_6_gram: 0.14,
            max_dup_7_gram: 0.13,
            max_dup_8_gram: 0.12,
            max_dup_9_gram: 0.11,
            max_dup_10_gram: 0.1,
        }
    }
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

impl Default for Perplexity {
    fn default() -> Self {
        Self {
            model: EMBEDDED_MODEL.to_owned(),
            digest: None,
            window: "start".to_owned(),
            device: "auto".to_owned(),
            batch_tokens: None,
            sample: 1.0,
            max_tokens: None,
            drop: None,
        }
    }
}

impl Default for ParagraphDedup {
    fn default() -> Self {
        Self { unit: TextUnit::Paragraph, min_len: 50, set: SeenSet::Exact, false_positive_rate: 1e-6 }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self { scope: TokenScope::All, tokenizer: EMBEDDED_TOKENIZER.to_owned() }
    }
}

impl Default for Quality {
    fn default() -> Self {
        let term = vec![Term::of("signals.heuristic")];
        Self { combine: Combine::default(), intercept: 0.0, term, veto: Vec::new() }
    }
}

impl Term {
    /// A column whose values are terms already.
    pub fn of(column: &str) -> Term {
        Term {
            column: column.to_owned(),
            weight: 1.0,
            calibration: Calibrated::Identity,
            prefer: PreferEnd::High,
            low: 0.25,
            high: 0.75,
            midpoint: 0.0,
            slope: 1.0,
            file: None,
        }
    }
}
