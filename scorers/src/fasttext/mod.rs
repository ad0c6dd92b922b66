//! Supervised fastText models (Joulin et al. 2016, arXiv:1607.01759): the labels of a text, with
//! the probabilities that the reference gives.
//!
//! Files of versions 11 and 12 of the format are read, `.bin` and `.ftz` (product quantisation and
//! pruning, Joulin et al. 2016, arXiv:1612.03651), with each of the losses: softmax, hierarchical
//! softmax, one against all, negative sampling. A file is mapped, and floats are read in place. What
//! is held in memory is bounded by the dictionary and the centroids that the file really has.
//! Nothing in a file is trusted.
//!
//! A text is one line to the model, followed by the token for the end of a line, as `predict` of the
//! package takes it. A line feed separates words like a space. Sums are of `f32` in the order of the
//! reference, so that labels are equal and probabilities within 1e-5 of it.
//!
//! Cost: `make bench-fasttext` prints it, beside the package.

mod dictionary;
mod matrix;
mod model;
mod output;
mod reader;
mod slots;

#[cfg(test)]
mod tests;

pub use model::{Bag, Memory, Model, Top};

/// The error of opening a fastText model.
#[derive(Debug, thiserror::Error)]
pub enum FastTextError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Io {
        /// Path of the file.
        file: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is damaged, or it is not a supervised fastText model.
    #[error("fastText model {file}, byte {at}: {reason}")]
    Malformed {
        /// Name of the file.
        file: String,
        /// Offset of the first byte of what is wrong.
        at: usize,
        /// What is wrong with the file.
        reason: String,
    },
    /// None of the labels is a language, although the model is to tell languages.
    #[error(
        "fastText model {file}: none of its labels is a language, expected such as __label__de or \
         __label__deu_Latn, found {found}"
    )]
    Labels {
        /// Name of the file.
        file: String,
        /// The first label.
        found: String,
    },
}
