//! `quality`: what a token of each document is worth, and the documents that vetoes and model
//! scores remove before that.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use serde::{Deserialize, Serialize};

use crate::config::{ANY_NUMBER, Kind, SHARE, config, words};
use crate::spec::{Removes, Scope, StageSpec, removal};
use crate::tables::{
    Column, Shape, Table, aligned, count, removed_by, small_count, unit_interval, utf8,
};

/// The declaration of the stage.
pub const QUALITY: StageSpec = StageSpec {
    name: "quality",
    version: 6,
    scope: Scope::Corpus,
    follows: "pii",
    removes: Removes::Documents,
    removals: &[
        removal(
            "veto.<column>",
            "the column has a value that a [[quality.veto]] removes",
        ),
        removal(
            "quality.missing.<column>",
            "a term with missing = \"drop\" has no value",
        ),
        removal(
            "ngram.low",
            "the n-gram model's perplexity is in the lower tail of the language and domain",
        ),
        removal(
            "ngram.high",
            "the n-gram model's perplexity is in the upper tail of the language and domain",
        ),
        removal(
            "perplexity.low",
            "nats per token or bits per byte are in the lower tail of the language and domain",
        ),
        removal(
            "perplexity.high",
            "nats per token or bits per byte are in the upper tail of the language and domain",
        ),
    ],
    rewrites: |_| false,
    sections: &[Quality::SECTION, Term::SECTION, Veto::SECTION],
    tables: || vec![quality(), quality_maps(), quality_worths()],
};

config! {
    /// How q(d) is made of its terms.
    "quality", Default => Quality {
        /// How terms become q. max: of twentieths, as Nemotron-CC's ensemble. logistic:
        /// 1 / (1 + e^-(intercept + Σ weight·term)).
        key combine: Combine = Combine::WeightedGeometric; Kind::Word(Combine::WORDS);
        /// The constant of combine = "logistic".
        key intercept: f64 = 0.0; ANY_NUMBER;
        /// A file of `curate calibrate`, relative to the manifest: q of a document becomes that of
        /// its bucket. Absent: q is uncalibrated.
        optional calibration: Option<String>; Kind::Path, "\"calibration.json\"";
        /// The target of the calibration whose q the run uses. Absent: the only one of the file.
        optional target: Option<String>; Kind::Name, "\"docs\"";
        /// How q of a bucket follows from the calibration. isotonic is refused where the losses
        /// contradict the order of the scores.
        key calibration_curve: CalibrationCurve = CalibrationCurve::Fitted; Kind::Word(CalibrationCurve::WORDS);
        /// What happens if the target's verdict was not passed: the run is refused, or q is
        /// uncalibrated.
        key calibration_unpassed: Unpassed = Unpassed::Refuse; Kind::Word(Unpassed::WORDS);
    }
    tables {
        /// Text of the calibration's file at the time when the manifest was read; `None` without a
        /// calibration.
        calibration_json: Option<String>,
        /// The terms. Without a term q is 1.
        term: Vec<Term>,
        /// The values that remove a document.
        veto: Vec<Veto>,
    }
}

words! {
    /// How terms become q.
    Combine {
        /// The weighted geometric mean Π t^(w / Σ w).
        WeightedGeometric = "weighted_geometric",
        /// The weighted mean Σ w·t / Σ w.
        Mean = "mean",
        /// The least of the terms.
        Min = "min",
        /// The greatest term, rounded up to a twentieth. If terms are percentiles, this is the
        /// ensemble of Nemotron-CC (Su et al. 2024).
        Max = "max",
        /// The logistic regression 1 / (1 + e^−(intercept + Σ w·t)).
        Logistic = "logistic",
    }
}

words! {
    /// How q of a bucket follows from a calibration.
    CalibrationCurve {
        /// The q that was fitted to each bucket.
        Fitted = "fitted",
        /// The q of each bucket, made to ascend with the score within a source and domain.
        Isotonic = "isotonic",
    }
}

words! {
    /// What happens if a calibration's verdict was not passed.
    Unpassed {
        /// The run is refused.
        Refuse = "refuse",
        /// q is uncalibrated.
        Uncalibrated = "uncalibrated",
    }
}

config! {
    /// A column that counts in q(d). Absent: the four values of signals.texture.
    "quality.term", Any => Term {
        /// `table.column`, `table.column.field`, or `meta.field` for a field of the record.
        required column: String; Kind::Field, "\"signals.heuristic\"";
        /// Weight of the term, above 0. With combine = "logistic" its coefficient.
        key weight: f64 = 1.0; ANY_NUMBER;
        /// How a value becomes a term in (0, 1]. Percentiles are of tokens, within language and
        /// domain.
        key map: MapKind = MapKind::Identity; Kind::Word(MapKind::WORDS);
        /// Which values are the better ones, for percentile.
        key prefer: PreferEnd = PreferEnd::High; Kind::Word(PreferEnd::WORDS);
        /// Share below which two_sided falls.
        key low: f64 = 0.25; SHARE, at_most high;
        /// Share above which two_sided falls.
        key high: f64 = 0.75; SHARE;
        /// Value for which map = "logistic" gives 0.5.
        key midpoint: f64 = 0.0; ANY_NUMBER;
        /// How fast logistic rises, per unit of the value.
        key slope: f64 = 1.0; ANY_NUMBER;
        /// For isotonic: a JSON list of [value, term], both ascending, relative to the manifest.
        optional file: Option<String>; Kind::Path, "\"curve.json\"";
        /// What happens to a document without a value. refuse: the run stops. neutral: the term is
        /// left out of the document's q, which is the mean of the others if no term is left. drop:
        /// the document is removed. A number: the term. Absent: refuse for meta.NAME, neutral for other columns.
        optional missing: Option<MissingValue>; Kind::WordOrShare(Missing::WORDS), "\"neutral\"";
    }
}

words! {
    /// What happens to a document without a value for a term.
    Missing {
        /// The run stops.
        Refuse = "refuse",
        /// The term is left out of the document's q.
        Neutral = "neutral",
        /// The document is removed.
        Drop = "drop",
    }
}

/// What happens to a document without a value for a term, or the term that such a document gets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MissingValue {
    /// What happens to the document.
    Policy(Missing),
    /// The term of the document, above 0 and at most 1.
    Term(f64),
}

words! {
    /// How a value becomes a term in (0, 1].
    MapKind {
        /// The value is the term.
        Identity = "identity",
        /// A logistic curve of the value.
        Logistic = "logistic",
        /// The share of tokens of the language and domain with a worse value.
        Percentile = "percentile",
        /// 1 in the middle of the language and domain, less in either tail.
        TwoSided = "two_sided",
        /// A curve through points from a file.
        Isotonic = "isotonic",
    }
}

words! {
    /// Which end of a column is the better one.
    PreferEnd {
        /// Greater values are better.
        High = "high",
        /// Smaller values are better.
        Low = "low",
    }
}

config! {
    /// Values of a column that remove the document, before q.
    "quality.veto", Any => Veto {
        /// `table.column`, `table.column.field`, or `meta.field` for a field of the record.
        required column: String; Kind::Field, "\"meta.toxicity\"";
        /// Smaller values remove the document. Absent: no lower bound.
        one_of below: Option<f64>; ANY_NUMBER, "0.2", at_most above;
        /// Greater values remove the document. Absent: no upper bound.
        one_of above: Option<f64>; ANY_NUMBER, "0.8";
    }
}

impl Term {
    /// The terms of a manifest without `[[quality.term]]`: the values of `signals.texture`. Weights
    /// and maps were chosen on documentation of 179 software packages, see `docs/calibration.md`.
    pub fn defaults() -> Vec<Term> {
        let texture = |value: &str, weight: f64, map: MapKind| Term {
            weight,
            map,
            ..Term::of(&format!("signals.texture.{value}"))
        };
        vec![
            // The curve is flat above the novelty of prose, so that noise, which is all new, gains
            // little by it.
            Term {
                midpoint: 0.15,
                slope: 15.0,
                ..texture("novelty", 3.0, MapKind::Logistic)
            },
            Term {
                midpoint: 0.2,
                slope: 40.0,
                ..texture("order", 2.0, MapKind::Logistic)
            },
            texture("sentences", 1.0, MapKind::Percentile),
            Term {
                prefer: PreferEnd::Low,
                ..texture("odd_words", 2.0, MapKind::Percentile)
            },
        ]
    }

    /// A column whose values are terms already.
    pub fn of(column: &str) -> Term {
        Term {
            column: column.to_owned(),
            ..Term::default()
        }
    }

    /// What happens to a document without a value.
    pub fn missing(&self) -> MissingValue {
        // A field of the records that is absent is likely a mistake. A stage leaves a value out for
        // a reason.
        self.missing.unwrap_or(MissingValue::Policy(
            match self.column.starts_with("meta.") {
                true => Missing::Refuse,
                false => Missing::Neutral,
            },
        ))
    }
}

fn quality() -> Table {
    let columns = vec![
        removed_by(),
        Column::new(
            "q",
            DataType::Float64,
            "quality: what a token of this document is worth; calibrated if run.json says so",
        )
        .null()
        .range("(0, 1]"),
        Column::new(
            "score",
            DataType::Float64,
            "what the terms make of the document: the uncalibrated q, which equals q without a \
             calibration",
        )
        .null()
        .range("(0, 1]"),
        // A map, because the terms are columns that the manifest chooses.
        Column::new(
            "terms",
            DataType::Map(
                Arc::new(Field::new_struct("entries", term_fields(), false)),
                false,
            ),
            "the terms of the score after their map, by the column that each is made of; the \
             value is null if the document has none",
        )
        .null()
        .range("(0, 1]; any number with combine = \"logistic\""),
        utf8(
            "ccnet",
            "third of the document's language by the n-gram model's perplexity, as in CCNet; \
             null without a score",
        )
        .null()
        .range("head: below its 30th percentile, middle: below its 60th, tail"),
    ];

    aligned(
        "quality",
        "q of each document that is still there, and the terms of q",
        columns,
    )
}

/// Fields of an entry of the map `terms`.
fn term_fields() -> Vec<Field> {
    vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Float64, true),
    ]
}

fn quality_maps() -> Table {
    let columns = vec![
        utf8("measure", "the column, as the manifest names it"),
        utf8("kind", "what the row says of the column").range(
            "percentile, drop_below, drop_above; head_below, tail_above: CCNet's, of a \
             language",
        ),
        utf8(
            "language",
            "language of the group; empty if none could be told",
        ),
        utf8(
            "domain",
            "domain label of the group; empty for a whole language",
        ),
        count(
            "documents",
            "documents",
            "documents of the group that have a value",
        ),
        Column::new(
            "value",
            DataType::Float64,
            "a value of the column, to 2^-16 of it",
        ),
        unit_interval(
            "share",
            "percentile: share of the group's tokens with a smaller value, plus half of the tokens \
             in the value's own bin; other kinds: share of the group's documents that sets the cut",
        ),
    ];

    Table {
        name: "quality_maps",
        doc: "what values of a column meant in `quality`, by language and domain: knots of \
              percentiles, and cuts of bands",
        shape: Shape::Own,
        columns,
    }
}

fn quality_worths() -> Table {
    let columns = vec![
        utf8("target", "the target of the calibration"),
        utf8("bucket", "name of the bucket in the calibration"),
        utf8("source", "name of a source of the bucket"),
        utf8("domain", "domain label of the source in the bucket"),
        small_count(
            "ces_source",
            "",
            "number of the bucket's source in the law, between which CES holds",
        ),
        Column::new(
            "rho",
            DataType::Float64,
            "ρ of the law D_eff = (Σ_s (Σ_b q·D′)^ρ)^(1/ρ), in which s is a ces_source",
        )
        .range("0.05 to 1; 1: a plain sum"),
        Column::new("score_from", DataType::Float64, "least score of the bucket"),
        Column::new(
            "score_to",
            DataType::Float64,
            "score that the bucket stays below; infinite for the last bucket",
        ),
        Column::new(
            "q",
            DataType::Float64,
            "q of the bucket's documents for the target",
        )
        .range("(0, 1]"),
        Column::new(
            "q_low",
            DataType::Float64,
            "lower end of the 90 % interval of q",
        )
        .range("(0, 1]"),
        Column::new(
            "q_high",
            DataType::Float64,
            "upper end of the 90 % interval of q",
        )
        .range("(0, 1]"),
    ];

    Table {
        name: "quality_worths",
        doc: "the calibration that `quality` used: what a token of each bucket is worth to each \
              target whose verdict was passed, a row for each source and domain; empty without a \
              calibration",
        shape: Shape::Own,
        columns,
    }
}
