//! How many epochs each bucket of the pool contributes to a mixture, and which documents make up
//! the fractions of epochs.
//!
//! A bucket holds the documents of one source and domain in one bin of the score. A mixture is worth
//! `Σ q_b · D′(U_b, R_b)` effective tokens, or what a fitted [`Law`] makes of the sums of its sources. For bucket b, `q_b` is the mean quality, `U_b` the
//! tokens with each document counted once, and `R_b` the repeats after the first epoch. `D′` is the
//! repetition discount of Muennighoff et al. 2023 (arXiv:2305.16264).
//!
//! | where | what |
//! |---|---|
//! | [`Document`], [`Bucket`], [`buckets`] | the pool and its buckets |
//! | [`Law`] | how the effective tokens of sources add up |
//! | [`Request`], [`SourceBounds`], [`Infeasible`] | the request, and why it cannot be met |
//! | [`solve()`] | the epochs that are worth most |
//! | [`Method`], [`check`], [`baseline`], [`compare`] | the epochs that other methods choose, side by side |
//! | [`draws()`], [`effective_tokens`] | the documents drawn, and what they are worth |

mod baselines;
mod draws;
mod law;
mod pool;
mod request;
mod solve;

pub use baselines::{Compared, Method, Worth, baseline, check, compare, worth};
pub use draws::{draws, effective_tokens};
pub use law::{Law, Parts};
pub use pool::{BINS, Bucket, Document, buckets, edges, fixed_point, mean_q, ratio, weigh};
pub use request::{Constraint, Infeasible, Request, SourceBounds};
pub use solve::{Active, Solution, SourceShare, epochs, solve};

#[cfg(test)]
mod tests;
