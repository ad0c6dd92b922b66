//! `[tokens]` and `[score]`: how tokens are counted, and which models read what is left.

use serde::{Deserialize, Serialize};

/// `[tokens]`: how tokens are counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Which documents are counted.
    pub scope: TokenScope,
    /// [`EMBEDDED_TOKENIZER`], or the path of a `tokenizer.json`, as written; relative to the
    /// manifest.
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
    /// [`EMBEDDED_TOKENIZER`], `words` for what is between white space, or a tokenizer.json,
    /// relative to the manifest.
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
    /// [`EMBEDDED_MODEL`], the path of a directory or a GGUF file, as written, relative to the
    /// manifest, or `hf://…`.
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
    /// Tokens that full windows of the documents scored may hold, on average over samples: a
    /// smaller share is scored to meet it.
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

impl Default for Tokens {
    fn default() -> Self {
        Self {
            scope: TokenScope::All,
            tokenizer: EMBEDDED_TOKENIZER.to_owned(),
        }
    }
}
