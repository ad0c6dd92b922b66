//! The model scorer: how surprised a causal language model is by a text.
//!
//! The decoder runs the architectures of Qwen2 and Llama: grouped-query attention, rotary
//! positions, RMS norms, SwiGLU. It gives `ln p(t_i | t_<i)` for every position of a window and
//! generates nothing, so there is no cache and no sampling. Weights come from safetensors or GGUF
//! files. They are untrusted, and are checked against the configuration before anything is
//! allocated.
//!
//! * [`model`]: a model with its tokenizer, from a directory, from a GGUF file, or compiled in.
//!   Start here.
//! * [`config`]: the shape of a model, from `config.json` or from GGUF metadata.
//! * [`weights`], [`safetensors`], [`gguf`]: tensors by name, and the tokenizer in a GGUF file.
//! * [`decoder`], [`ops`]: hidden states and log-probabilities.
//! * [`cross_entropy`]: the loss of training, with its gradient.
//! * [`window`]: which tokens of a document are read, and which of them are scored.
//! * [`batch`], [`score`]: many documents at once, one score each.
//! * [`memory`], [`device`]: how much fits into memory, and where the model runs.

pub mod batch;
pub mod config;
pub mod cross_entropy;
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
        /// Path of the file.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is damaged, or is not in the expected format.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file, or the part of the file that is damaged.
        file: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// A setting is missing, out of bounds, or contradicts another setting.
    #[error("model configuration: {key} is {found}, expected {expected}")]
    Config {
        /// Name of the setting, as `config.json`, the GGUF metadata or the manifest spells it.
        key: String,
        /// The value that was found, or `missing`.
        found: String,
        /// The values that would be accepted.
        expected: String,
    },
    /// The model needs a feature that this decoder does not have.
    #[error("unsupported model: {what}")]
    Unsupported {
        /// What is not supported, for example `use_sliding_window is true`.
        what: String,
    },
    /// The configuration calls for a tensor that the files do not contain.
    #[error("tensor {name} is missing")]
    MissingTensor {
        /// Name of the tensor as Hugging Face spells it, or `token_embd.weight` if a GGUF file has
        /// no embedding.
        name: String,
    },
    /// The files contain a tensor that the configuration has no place for: the model is of another
    /// architecture.
    #[error("tensor {name} has no place in this architecture")]
    UnexpectedTensor {
        /// Name of the tensor: as Hugging Face spells it, or as the GGUF file does if Hugging Face
        /// has no name for it.
        name: String,
    },
    /// The dimensions of a tensor differ from what the configuration says.
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Dimensions in the file, outermost first.
        found: Vec<usize>,
        /// Dimensions by the configuration, outermost first.
        expected: Vec<usize>,
    },
    /// The tokenizer does not belong to the model, or is of an unknown kind.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// Why the tokenizer cannot be used.
        reason: String,
    },
    /// A token id is not in the model's vocabulary. Either the caller has a bug or uses another
    /// model's tokenizer, or the model names a beginning-of-sequence token that it does not have.
    #[error("token id {id} is not in a vocabulary of {vocab}")]
    TokenId {
        /// The token id.
        id: u32,
        /// Number of entries in the vocabulary.
        vocab: usize,
    },
    /// A window is longer than the decoder's positions. The caller has a bug.
    #[error("a window of {tokens} tokens is longer than the model's {positions} positions")]
    TooLong {
        /// Length of the window, in tokens.
        tokens: usize,
        /// Length of the longest window that the decoder reads, in tokens.
        positions: usize,
    },
    /// A score is not a finite number: the activations are beyond the range of the dtype.
    #[error("a log-probability is {found} on {device} in {dtype}: the model needs a wider dtype")]
    NotFinite {
        /// The score: infinite or NaN.
        found: f32,
        /// Name of the device.
        device: String,
        /// Name of the dtype.
        dtype: String,
    },
    /// The device ran out of memory on a batch. [`score::Scorer`] retries smaller batches and
    /// returns this error only for a batch of one window.
    #[error("out of memory on {device} with a batch of {documents} documents and {tokens} tokens")]
    OutOfMemory {
        /// Name of the device.
        device: String,
        /// Number of documents in the batch.
        documents: usize,
        /// Number of tokens in the batch.
        tokens: usize,
    },
    /// Not even one window fits into the available memory.
    #[error("the model needs {needed_mib} MiB on {device}, but only {memory_mib} MiB are available", needed_mib = needed.div_ceil(1 << 20), memory_mib = memory >> 20)]
    NoRoom {
        /// Bytes that the weights and one window need.
        needed: u64,
        /// Bytes that may be used.
        memory: u64,
        /// Name of the device.
        device: String,
    },
    /// The named device does not exist, or this build cannot use it.
    #[error("device {device}: {reason}")]
    Device {
        /// Name of the device.
        device: String,
        /// Why the device cannot be used.
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
