//! `[signals]` and `[filter]`: which values are computed of a text, and which of them remove it or
//! rewrite it.
//!
//! Thresholds are those of Rae et al. 2021 (Gopher, arXiv:2112.11446), section A1.1 and table A1.

use serde::{Deserialize, Serialize};

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
    /// Whether a rule edits the text, so that every stage behind `signals` sees another than
    /// `documents` holds.
    pub fn rewrites(&self) -> bool {
        self.c4.as_ref().is_some_and(|c4| c4.rewrite)
            || self.lines.as_ref().is_some_and(|lines| lines.rewrite)
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
        Self {
            min_line_punct_ratio: 0.12,
            max_short_line_ratio: 0.67,
            max_char_dup_ratio: 0.01,
            max_list_ratio: 0.3,
        }
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
