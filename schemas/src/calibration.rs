//! `calibration.json`: what a token of each bucket is worth to each target, with its error.
//!
//! `curate calibrate` writes the file, and the stage `quality` reads it. Fields are in the order
//! declared here and maps are sorted by key, so that equal calibrations are equal bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the file's layout.
pub const SCHEMA: &str = "curate.calibration/2";

/// The JSON Schema of the file, from the declarations below.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Calibration).to_value()
}

/// A calibration of the buckets of one run, for one or more targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// `curate.calibration/2`.
    pub schema: String,
    /// The program and its version.
    pub created_by: String,
    /// The name of the run whose documents were calibrated.
    pub run: String,
    /// The digest of the terms of q and of how they combine, without the calibration itself. A
    /// document's bucket follows from its uncalibrated q, so another score needs another
    /// calibration.
    pub score: String,
    /// The small models whose losses were measured.
    pub proxy: Proxy,
    /// The blake3 of the file of losses.
    pub losses: String,
    /// The buckets of natural text.
    pub buckets: Vec<Bucket>,
    /// The targets, in the order of the command line.
    pub targets: Vec<Target>,
}

/// The small models whose losses were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// `ngram`, `experts`, `transformer`, or `external` for losses that somebody else measured.
    pub kind: String,
    /// The length of the longest n-gram in tokens; null for another kind.
    pub order: Option<usize>,
    /// The digest of the tokenizer; null for another kind.
    pub tokenizer: Option<String>,
}

/// A bucket: documents of some sources and domains whose uncalibrated q lies in a range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// A short name for tables, such as `web/cc 2`.
    pub name: String,
    /// The sources and domains. All buckets of the same ones divide the range of q among them.
    pub members: Vec<Member>,
    /// The number of the bucket's source under CES, from 0. Sources that share a bucket share the
    /// number.
    pub source: usize,
    /// The least uncalibrated q of the bucket: the 64 bits of the number, as 16 hex digits after
    /// `0x`.
    #[schemars(with = "String", regex(pattern = r"^0x[0-9a-f]{16}$"))]
    pub from: Bits,
    /// The uncalibrated q that the bucket stays below, in the same form. The bits of infinity for
    /// the last bucket.
    #[schemars(with = "String", regex(pattern = r"^0x[0-9a-f]{16}$"))]
    pub to: Bits,
    /// Documents of the bucket when it was calibrated.
    pub documents: u64,
    /// Tokens of the bucket when it was calibrated.
    pub tokens: u64,
    /// Token-weighted mean of the uncalibrated q.
    pub score: f64,
    /// The worth of a token, by the name of the target.
    pub worth: BTreeMap<String, Worth>,
}

/// A source with a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The name of the source.
    pub source: String,
    /// The label of the domain.
    pub domain: String,
}

/// The worth of a token of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Worth {
    /// q of the bucket, in \[0.001, 1\].
    pub q: f64,
    /// The lower end of the 90 % interval of q.
    pub low: f64,
    /// The upper end of the 90 % interval of q.
    pub high: f64,
    /// q made to ascend with the score within the same sources and domains; null where the losses
    /// contradict the order of scores.
    pub isotonic: Option<f64>,
}

/// A target, the law that was fitted to it, and how well the law does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The name of the target.
    pub name: String,
    /// The text of the target; null for losses that somebody else measured.
    pub text: Option<TargetText>,
    /// The least and the greatest number of tokens for which the law was checked.
    pub valid_tokens: [u64; 2],
    /// The law.
    pub law: Law,
    /// The law on runs that it was not fitted to.
    pub held_out: HeldOut,
    /// q of the arms, by name: damaged text, and the clean text that it was made of. Empty without
    /// arms.
    pub controls: BTreeMap<String, f64>,
    /// The law refitted to resamples of the runs, for intervals of figures that depend on several
    /// buckets. Empty in a file of which the refits were left out.
    #[serde(default)]
    pub refits: Vec<Refit>,
    /// Whether the calibration may be used.
    pub verdict: Verdict,
}

/// The text of a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetText {
    /// The blake3 of each file, by its path below the target's own path.
    pub files: BTreeMap<String, String>,
    /// Documents that remain.
    pub documents: u64,
    /// UTF-8 bytes that remain.
    pub bytes: u64,
    /// Tokens that remain.
    pub tokens: u64,
    /// Documents that were dropped because they overlap with the pool.
    pub dropped_documents: u64,
    /// UTF-8 bytes of the dropped documents.
    pub dropped_bytes: u64,
}

/// A fitted law: the loss of a mixture in bits per byte is
/// `L = E + (worth_of_best · D_eff / 10⁶)^−β`, where
/// `D_eff = (Σ_s (Σ_{b in s} q_b · D′_b)^ρ)^(1/ρ)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Law {
    /// `ces_sources`, or `linear`, for which ρ is 1.
    pub name: String,
    /// E, in bits per byte.
    pub e: f64,
    /// β.
    pub beta: f64,
    /// ρ between sources, in \[0.05, 1\].
    pub rho: f64,
    /// The 90 % interval of ρ.
    pub rho_interval: [f64; 2],
    /// The worth of a token with q = 1, in units of the law.
    pub worth_of_best: f64,
    /// λ, the weight of the penalty on worths.
    pub lambda: f64,
    /// δ of Huber's loss.
    pub delta: f64,
}

/// A law that was refitted to a resample of the runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refit {
    /// ρ between sources, in \[0.05, 1\].
    pub rho: f64,
    /// q of each bucket, in the order of the file, to five decimals.
    pub q: Vec<f64>,
}

/// A law on runs that it was not fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// The number of held-out runs.
    pub runs: u64,
    /// The mean absolute error of the law, in bits per byte.
    pub error: f64,
    /// The same with every token worth 1, repeats discounted.
    pub error_of_equal_worth: f64,
    /// The same with tokens weighted by the uncalibrated q.
    pub error_of_score: f64,
    /// `error / error_of_equal_worth`.
    pub ratio: f64,
    /// The 95 % interval of the ratio.
    pub ratio_interval: [f64; 2],
    /// Kendall's τ at equal tokens; null if undefined.
    pub tau: Option<f64>,
    /// The share of the variance that is explained once the amount of text is taken out; null if
    /// undefined.
    pub iso_r2: Option<f64>,
    /// The standard deviation of the loss between seeds; null without such runs.
    pub sigma_seed: Option<f64>,
    /// The squared error at equal tokens in units of the variance between seeds; null without such
    /// runs.
    pub lack_of_fit: Option<f64>,
    /// The mean absolute errors of the other laws, by name.
    pub others: BTreeMap<String, f64>,
}

/// Whether a calibration may be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// True if all required criteria are met.
    pub passed: bool,
    /// `strong`, `plain` or `failed`.
    pub grade: String,
    /// The criteria, in their order.
    pub criteria: Vec<Criterion>,
}

/// One criterion of a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    /// The name of the criterion.
    pub name: String,
    /// True if the criterion is met.
    pub met: bool,
    /// True if the verdict requires the criterion.
    pub required: bool,
    /// What was found.
    pub found: String,
}

/// A number that is stored by its 64 bits, so that no digit is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bits(pub f64);

impl Serialize for Bits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#018x}", self.0.to_bits()))
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bits, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 16);
        let bits = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        bits.map(|bits| Bits(f64::from_bits(bits))).ok_or_else(|| {
            serde::de::Error::custom(format!("\"{text}\" is not 0x and 16 hex digits"))
        })
    }
}
