//! `[quality]`, `[budget]` and `[[mixture]]`: what documents are worth, and what is drawn of them.

use serde::{Deserialize, Serialize};

/// `[quality]`: what q(d) is made of, and who goes before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// How terms become q.
    pub combine: Combine,
    /// The constant of [`Combine::Logistic`].
    pub intercept: f64,
    /// The terms; without any q is 1.
    #[serde(default)]
    pub term: Vec<Term>,
    /// What removes a document.
    #[serde(default)]
    pub veto: Vec<Veto>,
}

/// How terms become q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Π t^(w / Σ w).
    #[default]
    WeightedGeometric,
    /// Σ w·t / Σ w.
    Mean,
    /// The least.
    Min,
    /// The greatest of the terms' twentieths, rounded up: of percentiles the ensemble of
    /// Nemotron-CC (Su et al. 2024).
    Max,
    /// 1 / (1 + e^−(intercept + Σ w·t)).
    Logistic,
}

/// `[[quality.term]]`: a column and how it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// `table.column`, `table.column.field`, or `meta.field`.
    pub column: String,
    /// Its weight, or its coefficient in [`Combine::Logistic`].
    pub weight: f64,
    /// How its value becomes a term.
    pub calibration: Calibrated,
    /// Whether small values are the better ones, for [`Calibrated::Percentile`].
    pub prefer: PreferEnd,
    /// Share of tokens below the middle, for [`Calibrated::TwoSided`].
    pub low: f64,
    /// Share of tokens below the end of the middle, for [`Calibrated::TwoSided`].
    pub high: f64,
    /// The value of one half, for [`Calibrated::Logistic`].
    pub midpoint: f64,
    /// How fast it rises, per unit of the value, for [`Calibrated::Logistic`].
    pub slope: f64,
    /// File with the points, for [`Calibrated::Isotonic`].
    pub file: Option<String>,
}

/// How a value becomes a term in (0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibrated {
    /// It is one.
    #[default]
    Identity,
    /// By a logistic curve.
    Logistic,
    /// The share of tokens of its language and domain with a worse value.
    Percentile,
    /// 1 in the middle of its language and domain, less in either tail.
    TwoSided,
    /// By points from a file.
    Isotonic,
}

/// Which end of a column is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferEnd {
    /// Great values.
    #[default]
    High,
    /// Small values.
    Low,
}

/// `[[quality.veto]]`: values of a column that remove a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Veto {
    /// `table.column`, `table.column.field`, or `meta.field`.
    pub column: String,
    /// Smaller values remove.
    pub below: Option<f64>,
    /// Greater values remove.
    pub above: Option<f64>,
}

/// `[budget]`: the model the data is meant for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Parameters of the model.
    pub params: f64,
    /// Constants of the loss curve: the name of a published fit, or a JSON file, as written,
    /// relative to the manifest.
    pub constants: String,
    /// What that file held when the manifest was read, letter by letter; none for a published fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constants_json: Option<String>,
    /// How many times larger the corpus is than this run's sample of it.
    pub represents: f64,
}

/// `[[mixture]]`: one training mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    /// Name of the mixture, unique in the manifest.
    pub name: String,
    /// Tokens to draw, repeats counted.
    pub tokens: u64,
    /// Most epochs over any bucket.
    pub max_epochs: f64,
    /// How epochs are chosen.
    #[serde(default)]
    pub strategy: Strategy,
    /// τ of [`Strategy::Temperature`].
    pub temperature: f64,
    /// Share of tokens that [`Strategy::QualityCurve`] leaves out.
    pub discard: f64,
    /// Text in one exported file before compression, bytes.
    pub part_size: u64,
}

/// How the epochs of a mixture are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Those that are worth the most effective tokens.
    #[default]
    Effective,
    /// Sources in proportion to their unique tokens.
    Natural,
    /// Sources alike, as far as their epochs go (Chung et al. 2023).
    Unimax,
    /// Sources in proportion to U^(1/τ).
    Temperature,
    /// The shares of `[[mixture_source]]`.
    Fixed,
    /// Better bins more often, within each source (Olmo 3).
    QualityCurve,
}

/// `[[mixture_source]]`: bounds of one source in one mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureSource {
    /// The mixture.
    pub mixture: String,
    /// The source.
    pub source: String,
    /// Least share of the mixture's tokens.
    pub min_share: f64,
    /// Greatest share of the mixture's tokens.
    pub max_share: f64,
    /// Its share with `strategy = "fixed"`.
    pub share: Option<f64>,
    /// Most epochs over its buckets, instead of the mixture's.
    pub max_epochs: Option<f64>,
}

impl Default for Quality {
    fn default() -> Self {
        let term = vec![Term::of("signals.heuristic")];
        Self {
            combine: Combine::default(),
            intercept: 0.0,
            term,
            veto: Vec::new(),
        }
    }
}

impl Term {
    /// A column whose values are terms already.
    pub fn of(column: &str) -> Term {
        Term {
            column: column.to_owned(),
            weight: 1.0,
            calibration: Calibrated::Identity,
            prefer: PreferEnd::High,
            low: 0.25,
            high: 0.75,
            midpoint: 0.0,
            slope: 1.0,
            file: None,
        }
    }
}
