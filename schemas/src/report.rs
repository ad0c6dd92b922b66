//! `run.json`: what a run did and what its output is worth, for programs. [`VERSION`] is the
//! version of its form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::commit::Tally;
use crate::stages::quality::MissingValue;

/// Version of `run.json`. It is raised when a field changes its meaning or is removed.
pub const VERSION: u32 = 1;

/// The whole content of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the form, the [`VERSION`] of the writer.
    pub version: u32,
    /// Name of the run, `run.name` of the manifest.
    pub name: String,
    /// Version of the program that wrote the file.
    pub curate: String,
    /// Number of records read, over all sources.
    pub docs_in: u64,
    /// Every finished row-aligned stage, in the order in which stages run.
    pub stages: Vec<StageReport>,
    /// Every source, in the order of the manifest. Behind them are sources that only the committed
    /// documents have.
    pub sources: Vec<SourceReport>,
    /// How tokens were counted; absent until `tokens` has run.
    pub tokenizer: Option<TokenizerReport>,
    /// The calibration that q comes from; null if q is uncalibrated.
    #[serde(default)]
    pub calibration: Option<CalibrationReport>,
    /// The documents left after `quality`; absent until `quality` has run.
    pub pool: Option<Pool>,
    /// The documents left after `quality`, by domain.
    pub domains: BTreeMap<String, Pool>,
    /// Every term of q, in the order of the manifest, and the documents without its value. Empty
    /// until `quality` has run.
    #[serde(default)]
    pub terms: Vec<TermReport>,
    /// Every finished mixture, in the order of the manifest.
    pub mixtures: Vec<MixtureReport>,
    /// Loss budget of the pool; absent without `[budget]`.
    pub budget: Option<BudgetReport>,
    /// Facts that a reader should know before trusting a figure.
    pub warnings: Vec<String>,
}

/// What became of documents, bytes and tokens in one stage: of all sources, or of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Name of the stage and its folder.
    pub name: String,
    /// Tally of documents. For `documents`, `in` is the number of records read.
    pub docs: Tally,
    /// Tally of bytes of text.
    pub bytes: Tally,
    /// Tally of tokens of the text; null until `tokens` has run. For one source it is null too if
    /// some tokens are estimated, because the sample is of all sources together.
    pub tokens: Option<Tally>,
    /// Half the width of the 95 % interval of `tokens.in`; null if every document was counted, and
    /// for one source. With `tokens.scope = "survivors"`, tokens of earlier stages are estimates
    /// from a hash sample.
    pub tokens_in_half_width: Option<u64>,
}

/// One source, from its records to the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Name of the source in the manifest.
    pub name: String,
    /// Licence of the texts as the manifest states it; null if it states none.
    pub license: Option<String>,
    /// Number of records read.
    pub docs_in: u64,
    /// Number of records that could not be read.
    pub quarantined: u64,
    /// Number of records that are no documents, by reason, such as the requests in a web archive.
    #[serde(default)]
    pub skipped: BTreeMap<String, u64>,
    /// Number of documents with a repair at ingest, by its kind: `byte_order_mark` or
    /// `lone_surrogate`. Kinds without a document are absent.
    #[serde(default)]
    pub repaired: BTreeMap<String, u64>,
    /// What became of the source's records and documents in every finished row-aligned stage, in
    /// the order in which stages run. Summed over the sources, the tallies are those of
    /// [`Report::stages`].
    #[serde(default)]
    pub funnel: Vec<StageReport>,
    /// Coverage of the fields that the manifest reads of the records, by the purpose of the field.
    #[serde(default)]
    pub coverage: BTreeMap<String, CoverageReport>,
    /// Number of records whose own id another record of the source has too.
    pub repeated_ids: u64,
    /// The documents left after `quality`; absent until `quality` has run.
    pub pool: Option<Pool>,
    /// Loss that the pool would save with a billion more tokens of the source's quality that were
    /// not seen before, in nats per token; absent without `[budget]`.
    pub next_billion: Option<f64>,
}

/// How many records of a source have a usable value in a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoverageReport {
    /// Name of the field in the records; null if the source does not name one.
    pub path: Option<String>,
    /// Records that became documents.
    pub records: u64,
    /// Records with a usable value.
    pub usable: u64,
    /// Records with a value of another type.
    pub other_type: u64,
    /// Records with text or a number that is not a date.
    pub unparsable: u64,
}

/// A term of q, and the documents without its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TermReport {
    /// The column of the term, as the manifest names it.
    pub column: String,
    /// What happens to a document without a value, or the term that such a document gets.
    pub missing: MissingValue,
    /// Documents that the terms judge: those that `quality` kept, and those that it removed as
    /// `quality.missing.<column>`.
    pub documents: u64,
    /// Number of these documents without a value, by reason. `absent`, `null` and `not_a_number`
    /// are of fields of the records. A stage's own word, such as `too_short`, says why the stage
    /// computed no value, and `no_value` stands for a stage that does not say.
    pub without_value: BTreeMap<String, u64>,
}

/// How tokens were counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenizerReport {
    /// Name of the tokenizer: `embedded`, or the path in the manifest.
    pub name: String,
    /// blake3 of the tokenizer.json, in hex.
    pub digest: String,
    /// Bytes of text per token, over all counted documents. It helps to judge loss constants, which
    /// were fitted with other tokenizers.
    pub bytes_per_token: f64,
}

/// The calibration that q comes from, for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationReport {
    /// The file, as the manifest names it.
    pub file: String,
    /// blake3 of the file, in hex.
    pub digest: String,
    /// Name of the target.
    pub target: String,
    /// The small models whose losses were measured, in words.
    pub proxy: String,
    /// The least and the greatest number of tokens for which the law was checked.
    pub valid_tokens: [u64; 2],
    /// ρ of the law D_eff = (Σ_s (Σ_{b in s} q_b·D′_b)^ρ)^(1/ρ); 1 for a plain sum.
    pub rho: f64,
    /// Number of mixtures that the law was judged on and not fitted to.
    pub held_out: u64,
    /// Mean absolute error of the law on these mixtures, in bits per byte.
    pub error: f64,
    /// The same with every token worth 1.
    pub error_of_equal_worth: f64,
    /// Grade of the verdict: `strong` or `plain`.
    pub grade: String,
}

/// A set of documents and what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Number of documents in the set.
    pub docs: u64,
    /// Length of the texts in bytes.
    pub bytes: u64,
    /// |D|: tokens, each document once.
    pub tokens: u64,
    /// q(D) = Σ tokens·q / Σ tokens, in (0, 1]; 0 for an empty set.
    pub q: f64,
    /// D_eff in effective tokens: q·|D|, or what the law of the calibration makes of the sources.
    pub d_eff: f64,
    /// The 90 % interval of `d_eff` over the refits of the calibration; null without them.
    #[serde(default)]
    pub d_eff_interval: Option<(f64, f64)>,
    /// True if q was calibrated against losses.
    pub q_calibrated: bool,
}

/// A mixture and what it is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixtureReport {
    /// Name of the mixture in the manifest.
    pub name: String,
    /// Number of distinct documents.
    pub docs: u64,
    /// Number of draws: documents with their repeats.
    pub draws: u64,
    /// Tokens that the manifest requests.
    pub tokens_asked: u64,
    /// |D|: tokens with their repeats.
    pub tokens: u64,
    /// Tokens with each document once.
    pub unique_tokens: u64,
    /// Mean epochs over the documents drawn: tokens / unique_tokens.
    pub epochs: f64,
    /// q(D) = Σ draws·tokens·q / Σ draws·tokens, in (0, 1].
    pub q: f64,
    /// D_eff in effective tokens: Σ_b q_b·D′(U_b, R_b) (Muennighoff et al. 2023), or what the law of
    /// the calibration makes of this sum of each source.
    pub d_eff: f64,
    /// The 90 % interval of `d_eff` over the refits of the calibration; null without them.
    #[serde(default)]
    pub d_eff_interval: Option<(f64, f64)>,
    /// D_eff with q ≡ 1: what repetition alone leaves, in tokens.
    pub d_repeat: f64,
    /// True if q was calibrated against losses.
    pub q_calibrated: bool,
    /// The calibration that the mixture's q comes from; null if q is uncalibrated.
    #[serde(default)]
    pub calibration: Option<CalibrationReport>,
    /// Name of the strategy that chose the epochs.
    pub strategy: String,
    /// Constraints without which the mixture would be worth more, with `strategy = "effective"`.
    pub held_by: Vec<String>,
    /// The result of every strategy for the same request. An infeasible strategy says why.
    pub compared: Vec<StrategyReport>,
    /// Loss at `budget.params`; absent without `[budget]`.
    pub loss: Option<LossReport>,
}

/// The result of one strategy, before documents are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrategyReport {
    /// Name of the strategy.
    pub strategy: String,
    /// Tokens that are seen at least once.
    pub unique_tokens: f64,
    /// D_eff with q ≡ 1, in tokens.
    pub d_repeat: f64,
    /// D_eff, in effective tokens.
    pub d_eff: f64,
    /// Mean epochs over the tokens that are seen.
    pub epochs: f64,
    /// Why the strategy is infeasible; null if it is feasible. The numbers of an infeasible
    /// strategy are 0.
    pub infeasible: Option<String>,
}

/// Losses of a number of tokens and of its effective tokens, in nats per token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossReport {
    /// Tokens after scaling by `represents`.
    pub tokens: f64,
    /// Effective tokens after scaling by `represents`.
    pub d_eff: f64,
    /// The ratio D_eff / |D|, 0 to 1.
    pub d_eff_ratio: f64,
    /// L(N, |D|), the loss of the tokens as if none were repeated and q ≡ 1.
    pub loss: f64,
    /// L(N, U), the loss of the tokens that are seen at least once.
    pub loss_unique: f64,
    /// L(N, D′), the loss of the tokens with repeats discounted and q ≡ 1.
    pub loss_repeat: f64,
    /// L(N, D_eff), the loss of the effective tokens.
    pub loss_d_eff: f64,
    /// ΔL = L(N, D_eff) − L(N, |D|), 0 or more.
    pub delta_loss: f64,
    /// The 95 % interval of ΔL from the errors of the constants; null if the errors are not known.
    /// The errors of published constants are taken as independent, so the interval is rather wide.
    /// A file of constants may give their covariance.
    pub delta_loss_interval: Option<(f64, f64)>,
    /// True if N, |D| and D_eff all lie within the range that the constants were fitted on.
    pub in_fitted_range: bool,
}

/// The loss budget of the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// N, parameters of the model to be trained.
    pub params: f64,
    /// Name of the constants, or their file as the manifest names it.
    pub constants: String,
    /// blake3 of the file of constants, in hex; absent for published constants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constants_digest: Option<String>,
    /// Publication or file that the constants come from.
    pub source: String,
    /// How many times larger the corpus is than this run.
    pub represents: f64,
    /// Loss of the pool; null without a pool, or if the pool has no tokens.
    pub pool: Option<LossReport>,
}
