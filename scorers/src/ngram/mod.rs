//! The n-gram language model: a quality signal cheap enough for every document.
//!
//! The model is interpolated modified Kneser–Ney (Chen & Goodman 1998, section 5.3), estimated as
//! Heafield et al. 2013 do in KenLM's `lmplz`. Its order is 1 to 6, and n-grams are pruned by
//! count. A model is one file, which is mapped into memory and read in place. A model in ARPA form
//! is converted to the same bytes in memory.
//!
//! * [`train`](train()): sentences of token ids in, a model out. Counts spill to disk, the model
//!   itself is held in memory.
//! * [`Model`]: the file, and log₁₀ probabilities of lines.
//! * [`read_arpa`], [`write_arpa`]: the text format that KenLM, SRILM and others exchange.
//! * [`DocumentScore`], [`ccnet_normalize`]: perplexity and text normalisation as in CCNet (Wenzek
//!   et al. 2020).
//!
//! Tokens are numbers below the size of the model's vocabulary. The next three numbers are `<unk>`,
//! `<s>` and `</s>`, which no text can name. A token that the training text lacks counts as
//! `<unk>`.

mod arpa;
mod build;
mod ccnet;
mod count;
mod format;
mod kneser_ney;
mod model;
mod train;

#[cfg(test)]
mod tests;

pub use arpa::{read_arpa, write_arpa};
pub use ccnet::{DocumentScore, ccnet_normalize};
pub use model::{LineScore, Model, Vocabulary};
pub use train::{OrderSummary, TrainConfig, TrainSummary, train};

/// The highest order of a model, the same as in KenLM's default build.
pub const MAX_ORDER: usize = 6;

/// The most tokens that a vocabulary may have: all numbers, the special ones included, fit `u32`.
const VOCABULARY_MAX: usize = 1 << 30;

/// How many entries follow the vocabulary: `<unk>`, `<s>` and `</s>`, in this order.
const SPECIAL: usize = 3;

/// The number of `<unk>` behind a vocabulary of this size.
fn unk(vocabulary: usize) -> u32 {
    vocabulary as u32
}

/// The number of `<s>`, the beginning of a line.
fn bos(vocabulary: usize) -> u32 {
    vocabulary as u32 + 1
}

/// The number of `</s>`, the end of a line.
fn eos(vocabulary: usize) -> u32 {
    vocabulary as u32 + 2
}

/// An n-gram with its probability and backoff, on its way into a [`Model`].
#[derive(Clone, Copy)]
struct Entry {
    /// The words, last one first, padded with zeros.
    words: [u32; MAX_ORDER],
    /// Log₁₀ probability; NaN if the model lacks the n-gram.
    prob: f32,
    /// Log₁₀ of the factor for a word that was never seen after this n-gram.
    backoff: f32,
}

/// The error of training, reading or writing an n-gram model.
#[derive(Debug, thiserror::Error)]
pub enum NgramError {
    /// A file cannot be read or written.
    #[error("cannot {verb} {path}: {source}")]
    Io {
        /// The failed action: `read`, `write` or `create`.
        verb: &'static str,
        /// Path of the file.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The model file is damaged, or it is not a model file.
    #[error("n-gram model {file}: {reason}")]
    Malformed {
        /// Name of the file, or `in memory`.
        file: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// The ARPA file is damaged, or it is not an ARPA file.
    #[error("ARPA file, line {line}: {reason}")]
    Arpa {
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong with the line.
        reason: String,
    },
    /// A setting of the training is out of range.
    #[error("n-gram training: {key} is {found}, expected {expected}")]
    Config {
        /// Name of the setting, a field of [`TrainConfig`].
        key: &'static str,
        /// Value of the setting.
        found: String,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// The training text has no sentence.
    #[error("n-gram training: the text has no sentence")]
    Empty,
    /// The discounts cannot be estimated: the text is too small, it is not natural language, or its
    /// vocabulary is too small.
    #[error(
        "n-gram training: no discounts for order {order}: {reason}; set discount_fallback to train anyway"
    )]
    Discount {
        /// The order without discounts.
        order: usize,
        /// The count of counts or the discount that is the cause.
        reason: String,
    },
    /// A token id is not in the vocabulary: a bug of the caller, or an id of another tokenizer.
    #[error("token id {id} is not in a vocabulary of {vocabulary} tokens")]
    TokenId {
        /// The token id.
        id: u32,
        /// The number of tokens in the vocabulary.
        vocabulary: usize,
    },
    /// A token's name cannot be stored: another token has the same name, or ARPA has no way to
    /// write the name.
    #[error("vocabulary: token {id} ({piece:?}) {reason}")]
    Piece {
        /// Id of the token.
        id: usize,
        /// Name of the token.
        piece: String,
        /// What is wrong with the name.
        reason: &'static str,
    },
    /// The model has more entries than its format can number.
    #[error("n-gram model: {found} {what}, expected at most {most}")]
    TooLarge {
        /// The entries that are counted, such as `2-grams`.
        what: String,
        /// How many entries the model has.
        found: usize,
        /// How many entries the format allows.
        most: usize,
    },
}

impl NgramError {
    /// Wraps an error of the system; `verb` is `read`, `write` or `create`.
    fn io(verb: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> NgramError {
        let path = path.display().to_string();

        move |source| NgramError::Io { verb, path, source }
    }
}
