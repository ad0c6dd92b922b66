//! Drift: whether scores and verdicts are still what they were, and whether there are enough
//! documents to say so.
//!
//! There are two questions and two methods. For the same frozen input and changed code, use the
//! [`paired`] checks, where one flip is a change. For new input, [`compare()`] its distribution
//! with a [`Summary`] of the baseline, over bins frozen from the baseline, and let [`verdict()`]
//! hold the PSI's interval against gates.
//!
//! | where | what |
//! |---|---|
//! | [`bins`] | edges from the baseline's exact quantiles, counts over them, the summary that a repository keeps |
//! | [`metrics`] | PSI, Jensen–Shannon distance, Wasserstein, Kolmogorov–Smirnov |
//! | [`mod@compare`] | their values with intervals from a bootstrap over hosts, p-values |
//! | [`mod@verdict`] | pass, warn, fail or too few documents, by PSI; Benjamini–Hochberg |
//! | [`gates`] | the same by the other metrics, where they have gates |
//! | [`paired`] | flips, score changes, Kendall's τ |
//! | [`special`] | tails of χ², Kolmogorov's and the binomial distribution |

pub mod bins;
pub mod compare;
pub mod gates;
pub mod metrics;
pub mod paired;
pub mod special;
pub mod verdict;

pub use bins::{Bins, Counts, Summary, Tally, Weight, cluster};
pub use compare::{Comparison, Estimate, Settings, compare};
pub use gates::{Adjusted, Gate, Judged, Metric, judge, overall};
pub use paired::{Flips, ScoreChange, kendall_tau, score_change};
pub use verdict::{Gates, Verdict, benjamini_hochberg, verdict};

/// The reasons why two distributions cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriftError {
    /// Edges, centres and cuts of a summary do not fit each other, because the file was edited or
    /// damaged.
    #[error(
        "bins with {edges} edges are malformed: edges, centers and cuts must ascend and fit each other"
    )]
    Bins {
        /// Number of edges found.
        edges: usize,
    },
    /// The counts were made over other bins.
    #[error("counts over {found} cells do not fit bins with {expected} cells")]
    Cells {
        /// Number of cells of the bins, with the cell of what is not scored.
        expected: usize,
        /// Number of cells that were counted.
        found: usize,
    },
    /// There is nothing to compare: a group is new, is gone, or has no tokens.
    #[error("the {side} has no documents, or no tokens, in this group")]
    Empty {
        /// The side without documents or tokens: `baseline` or `run`.
        side: &'static str,
    },
}
