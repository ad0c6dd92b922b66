//! The n-gram language model: a quality signal cheap enough for every document.
//!
//! Interpolated modified Kneser–Ney (Chen & Goodman 1998, section 5.3; estimated as Heafield et al.
//! 2013 do in KenLM's `lmplz`), of order 1 to 6, pruned by count. A model is one file, mapped into
//! memory and read in place; models in ARPA form become the same.
//!
//! * [`train`](train()): sentences of token ids in, a model out. Counts spill to disk, the model
//!   itself is held in memory.
//! * [`Model`]: the file, and log₁₀ probabilities of lines.
//! * [`read_arpa`], [`write_arpa`]: the text format that KenLM, SRILM and others exchange.
//! * [`DocumentScore`], [`ccnet_normalize`]: perplexity and text normalisation as in CCNet (Wenzek
//!   et al. 2020).
//!
//! Tokens are numbers below the size of the model's vocabulary; behind them come `<unk>`, `<s>` and
//! `</s>`, which no text can name. A token that the training text lacks counts as `<unk>`.

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

/// The highest order there is: KenLM's default build has the same.
pub const MAX_ORDER: usize = 6;

/// The most tokens that a vocabulary may have.
const VOCABULARY_MAX: usize = 1 << 30;

/// How many entries follow the vocabulary: `<unk>`, `<s>`, `</s>`, in this order.
const SPECIAL: usize = 3;

fn unk(vocabulary: usize) -> u32 {
    vocabulary as u32
}

fn bos(vocabulary: usize) -> u32 {
    vocabulary as u32 + 1
}

fn eos(vocabulary: usize) -> u32 {
    vocabulary as u32 + 2
}

/// An n-gram with its numbers, on its way into a [`Model`].
#[derive(Clone, Copy)]
struct Entry {
    /// The words, last one first, then zeros.
    words: [u32; MAX_ORDER],
    /// Log₁₀; NaN if the model lacks the n-gram.
    prob: f32,
    /// Log₁₀ of what is multiplied in where an n-gram that begins with this one is not found.
    backoff: f32,
}

/// What can go wrong with an n-gram model.
#[derive(Debug, thiserror::Error)]
pub enum NgramError {
    /// A file cannot be read or written.
    #[error("cannot {verb} {path}: {source}")]
    Io {
        /// `read`, `write` or `create`.
        verb: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The model file is damaged, or no model file.
    #[error("n-gram model {file}: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The ARPA file is damaged, or no ARPA file.
    #[error("ARPA file, line {line}: {reason}")]
    Arpa {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A setting of the training is out of range.
    #[error("n-gram training: {key} is {found}, expected {expected}")]
    Config {
        /// The setting.
        key: &'static str,
        /// What it is.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// There is no sentence to learn from.
    #[error("n-gram training: the text has no sentence")]
    Empty,
    /// The discounts cannot be estimated: the text is small, or not natural; or its vocabulary is.
    #[error("n-gram training: no discounts for order {order}: {reason}; a fallback would do")]
    Discount {
        /// The order.
        order: usize,
        /// Which number is the cause.
        reason: String,
    },
    /// A token id is not in the vocabulary: a bug of the caller, or another tokenizer's.
    #[error("token id {id} is not in a vocabulary of {vocabulary}")]
    TokenId {
        /// The id.
        id: u32,
        /// The number of tokens.
        vocabulary: usize,
    },
    /// A token's name cannot be stored: it is there twice, or ARPA has no way to write it.
    #[error("vocabulary: token {id}, {piece:?}, {reason}")]
    Piece {
        /// Its id.
        id: usize,
        /// Its name.
        piece: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The model has more entries than its format can number.
    #[error("n-gram model: {found} {what}, at most {most}")]
    TooLarge {
        /// Of what.
        what: String,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
}

impl NgramError {
    fn io(verb: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> NgramError {
        let path = path.display().to_string();
        move |source| NgramError::Io { verb, path, source }
    }
}
