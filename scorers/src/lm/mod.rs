//! The model scorer: how surprised a causal language model is by a text.
//!
//! A decoder for the architectures of Qwen2 and Llama (grouped-query attention, rotary positions,
//! RMS norms, SwiGLU) that gives `ln p(t_i | t_<i)` for every position of a window and generates
//! nothing: no cache, no sampling. Weights come from safetensors or GGUF and are checked against
//! the configuration before anything is allocated; they are untrusted.
//!
//! * [`model`]: a model with its tokenizer, from a directory, a GGUF file, or compiled in. Start
//!   here.
//! * [`config`]: the shape of a model, from `config.json` or from GGUF metadata.
//! * [`weights`], [`safetensors`], [`gguf`]: tensors by name; the tokenizer in a GGUF file.
//! * [`decoder`], [`ops`]: hidden states and log-probabilities.
//! * [`window`]: which tokens of a document are read, and which are scored.
//! * [`batch`], [`score`]: many documents at once; one number each.
//! * [`memory`], [`device`]: how much fits, and where it runs.

pub mod batch;
pub mod config;
#[cfg(feature = "cuda")]
mod cuda;
pub mod decoder;
pub mod device;
pub mod gguf;
mod gguf_header;
mod gguf_tokenizer;
mod load;
pub mod memory;
pub mod model;
pub mod ops;
pub mod safetensors;
pub mod score;
pub mod weights;
pub mod window;

#[cfg(test)]
mod tests;

/// What can go wrong with a model, before or while it scores.
#[derive(Debug, thiserror::Error)]
pub enum LmError {
    /// A file of the model cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is damaged, or not of its format.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file, or the part of it that is meant.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A number of the configuration is missing, out of bounds, or does not fit the others.
    #[error("model configuration: {key} is {found}, expected {expected}")]
    Config {
        /// The name of the number, as in the file.
        key: String,
        /// What is there.
        found: String,
        /// What would do.
        expected: String,
    },
    /// The model needs something that this decoder does not do.
    #[error("unsupported model: {what}")]
    Unsupported {
        /// What it needs.
        what: String,
    },
    /// A tensor that the configuration calls for is not there.
    #[error("tensor {name} is missing")]
    MissingTensor {
        /// Its name in the form of Hugging Face.
        name: String,
    },
    /// A tensor is there that the configuration has no place for: the model is of another
    /// architecture.
    #[error("tensor {name} has no place in this architecture")]
    UnexpectedTensor {
        /// Its name in the file.
        name: String,
    },
    /// A tensor has other dimensions than the configuration says.
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The file's dimensions.
        found: Vec<usize>,
        /// The configuration's.
        expected: Vec<usize>,
    },
    /// The tokenizer and the model are not made for each other, or the tokenizer is of an unknown
    /// kind.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// What does not fit.
        reason: String,
    },
    /// A token id is not in the model's vocabulary: a bug of the caller, or another model's
    /// tokenizer.
    #[error("token id {id} is not in a vocabulary of {vocab}")]
    TokenId {
        /// The id.
        id: u32,
        /// The number of entries.
        vocab: usize,
    },
    /// A window is longer than the model's positions: a bug of the caller.
    #[error("a window of {tokens} tokens is longer than the model's {positions} positions")]
    TooLong {
        /// The window's length.
        tokens: usize,
        /// The most there may be.
        positions: usize,
    },
    /// A score is no number: the activations are beyond the range of the dtype.
    #[error("a log-probability is {found} on {device} in {dtype}: the model needs a wider dtype")]
    NotFinite {
        /// The value.
        found: f32,
        /// The device.
        device: String,
        /// The dtype.
        dtype: String,
    },
    /// The device has too little memory even for one document at a time.
    #[error("out of memory on {device} with a batch of {documents} documents and {tokens} tokens")]
    OutOfMemory {
        /// The device.
        device: String,
        /// Documents in the batch.
        documents: usize,
        /// Tokens in it.
        tokens: usize,
    },
    /// Not even one window fits into the memory there is.
    #[error("the model needs {needed_mib} MiB on {device}, {memory_mib} MiB are there", needed_mib = needed.div_ceil(1 << 20), memory_mib = memory >> 20)]
    NoRoom {
        /// Bytes for weights and one window.
        needed: u64,
        /// Bytes that may be used.
        memory: u64,
        /// The device.
        device: String,
    },
    /// The device named does not exist, or this build cannot use it.
    #[error("device {device}: {reason}")]
    Device {
        /// The device.
        device: String,
        /// What is wrong.
        reason: String,
    },
    /// The tensor library failed.
    #[error("tensor library: {0}")]
    Backend(#[from] candle_core::Error),
}

impl LmError {
    pub(crate) fn malformed(file: impl Into<String>, reason: impl ToString) -> LmError {
        LmError::Malformed {
            file: file.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> LmError {
        LmError::Unsupported { what: what.into() }
    }

    pub(crate) fn config(key: &str, found: impl ToString, expected: impl ToString) -> LmError {
        LmError::Config {
            key: key.to_owned(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}
