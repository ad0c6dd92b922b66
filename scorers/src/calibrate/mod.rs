//! Calibration of q: the worth of a bucket's tokens, fitted to held-out losses of many small
//! models of mixtures.
//!
//! [`plan`] draws the mixtures, [`ngram_proxy`] measures their losses, as `experts` does with models
//! that adapt to each document, [`fit`] fits [`laws`] to them, [`worth`] makes q of a law, and
//! [`verdict`] judges by runs that no law was fitted to ([`held_out`]).

mod experts;
pub mod fit;
pub mod held_out;
pub mod laws;
mod linalg;
pub mod ngram_proxy;
pub mod plan;
#[cfg(test)]
mod tests;
mod transformer_model;
pub mod transformer_proxy;
pub mod verdict;
pub mod worth;
