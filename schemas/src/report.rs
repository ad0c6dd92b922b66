//! `run.json`: what a run did and what its output is worth, for programs. Versioned by [`VERSION`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::commit::Tally;

/// Version of `run.json`: raised when a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// The whole of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// `run.name` of the manifest.
    pub name: String,
    /// Version of the program that wrote it.
    pub curate: String,
    /// Records read, over all sources.
    pub docs_in: u64,
    /// Every finished row-aligned stage, in order.
    pub stages: Vec<StageReport>,
    /// Every source of the manifest, in its order.
    pub sources: Vec<SourceReport>,
    /// How tokens were counted; absent until `tokens` has run.
    pub tokenizer: Option<TokenizerReport>,
    /// What is left after `quality`; absent until then.
    pub pool: Option<Pool>,
    /// The same by domain.
    pub domains: BTreeMap<String, Pool>,
    /// Every finished mixture, in the manifest's order.
    pub mixtures: Vec<MixtureReport>,
    /// Loss budget; absent without `[budget]`.
    pub budget: Option<BudgetReport>,
    /// What a reader should know before trusting a figure.
    pub warnings: Vec<String>,
}

/// Where documents, bytes and tokens went in one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Name of the stage and its folder.
    pub name: String,
    /// Documents; for `documents`, `in` is the records read.
    pub docs: Tally,
    /// Bytes of text.
    pub bytes: Tally,
    /// Tokens of the text; null until `tokens` has run.
    pub tokens: Option<Tally>,
    /// With `tokens.scope = "survivors"` tokens of earlier stages are estimates from a hash sample;
    /// this is half the 95 % interval of `tokens.in`. Null where every document was counted.
    pub tokens_in_half_width: Option<u64>,
}

/// One source from records to pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Name in the manifest.
    pub name: String,
    /// Licence of its texts as the manifest states it.
    pub license: Option<String>,
    /// Records read.
    pub docs_in: u64,
    /// Records that could not be read.
    pub quarantined: u64,
    /// Records whose own id another record of the source has too.
    pub repeated_ids: u64,
    /// What is left after `quality`; absent until then.
    pub pool: Option<Pool>,
    /// Loss that a billion more tokens of its quality, not seen before, would save the pool; absent
    /// without `[budget]`.
    pub next_billion: Option<f64>,
}

/// How tokens were counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenizerReport {
    /// `embedded` or the path in the manifest.
    pub name: String,
    /// blake3 of the tokenizer.json.
    pub digest: String,
    /// Bytes of text per token over everything counted: loss constants were fitted with other
    /// tokenizers.
    pub bytes_per_token: f64,
}

/// A set of documents and what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Documents.
    pub docs: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// |D|: tokens, each document once.
    pub tokens: u64,
    /// q(D) = Σ tokens·q / Σ tokens, in (0, 1]; 0 for an empty set.
    pub q: f64,
    /// D_eff = q·|D|, uncalibrated unless `q_calibrated`.
    pub d_eff: f64,
    /// Whether q was calibrated against losses.
    pub q_calibrated: bool,
}

/// A mixture and what it is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixtureReport {
    /// Name in the manifest.
    pub name: String,
    /// Distinct documents.
    pub docs: u64,
    /// Draws: documents with their repeats.
    pub draws: u64,
    /// Tokens asked for.
    pub tokens_asked: u64,
    /// |D|: tokens with their repeats.
    pub tokens: u64,
    /// Tokens with each document once.
    pub unique_tokens: u64,
    /// Epochs over the documents drawn: tokens / unique_tokens.
    pub epochs: f64,
    /// q(D) = Σ draws·tokens·q / Σ draws·tokens, in (0, 1].
    pub q: f64,
    /// D_eff = Σ_b q_b·D′(U_b, R_b) (Muennighoff et al. 2023), uncalibrated.
    pub d_eff: f64,
    /// D′ with q ≡ 1: what repetition alone leaves.
    pub d_repeat: f64,
    /// Whether q was calibrated against losses.
    pub q_calibrated: bool,
    /// How its epochs were chosen.
    pub strategy: String,
    /// The constraints without which it would be worth more, with `strategy = "effective"`.
    pub held_by: Vec<String>,
    /// What every strategy would make of the same request; those that cannot say why.
    pub compared: Vec<StrategyReport>,
    /// Loss at `budget.params`, absent without `[budget]`.
    pub loss: Option<LossReport>,
}

/// A strategy beside others, before documents are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrategyReport {
    /// Its name.
    pub strategy: String,
    /// Tokens seen at least once.
    pub unique_tokens: f64,
    /// D′ with q ≡ 1.
    pub d_repeat: f64,
    /// D_eff, uncalibrated.
    pub d_eff: f64,
    /// Mean epochs over what is seen.
    pub epochs: f64,
    /// Why it cannot be had; the numbers are 0 then.
    pub infeasible: Option<String>,
}

/// Loss of a token count and of its effective tokens, nats per token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossReport {
    /// Tokens after scaling by `represents`.
    pub tokens: f64,
    /// Effective tokens after scaling.
    pub d_eff: f64,
    /// D_eff / |D|.
    pub d_eff_ratio: f64,
    /// L(N, |D|).
    pub loss: f64,
    /// L(N, U) of the tokens seen at least once.
    pub loss_unique: f64,
    /// L(N, D′) of the tokens with repeats discounted and q ≡ 1.
    pub loss_repeat: f64,
    /// L(N, D_eff).
    pub loss_d_eff: f64,
    /// ΔL = L(N, D_eff) − L(N, |D|), 0 or more.
    pub delta_loss: f64,
    /// Its 95 % interval from the errors of the constants, where they are known: by their
    /// covariance, or, of published ones, taken as independent, so rather wide.
    pub delta_loss_interval: Option<(f64, f64)>,
    /// Whether N, |D| and D_eff all lie within the range the constants were fitted on.
    pub in_fitted_range: bool,
}

/// The loss budget of the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// N, parameters of the model to be trained.
    pub params: f64,
    /// Name of the constants, or their file as the manifest names it.
    pub constants: String,
    /// blake3 of that file; absent for published constants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constants_digest: Option<String>,
    /// Where they come from.
    pub source: String,
    /// How many times larger the corpus is than this run.
    pub represents: f64,
    /// Loss of the pool.
    pub pool: Option<LossReport>,
}
