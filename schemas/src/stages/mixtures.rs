//! `buckets`, `mix` and `mixture`: the pool by quality, the draws from it, and the text of the
//! mixture. The budget says which model the mixtures are for.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use crate::config::{GIB, Kind, MIB, SHARE, config, size, words};
use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Column, Shape, Table, count, doc_id, small_count, unit_interval, utf8};

/// Least parameters of a model for which a loss is predicted. Loss curves were fitted to models of
/// 7e7 to 1.6e10 parameters (Hoffmann et al. 2022). A number far below them is a slip, such as 7
/// for 7e9.
pub const LEAST_PARAMS: f64 = 1e5;
/// Version of bucketing, mixing and exporting, which share their code.
const VERSION: u32 = 8;

/// The fields that the stages over the pool share.
const POOL: StageSpec = StageSpec {
    name: "",
    version: VERSION,
    scope: Scope::Pool,
    follows: "quality",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |_| false,
    sections: &[],
    tables: Vec::new,
};

/// The pool by source, domain and quality bin.
pub const BUCKETS: StageSpec = StageSpec {
    name: "buckets",
    tables: || vec![buckets()],
    ..POOL
};

/// The number of draws of each document. Each mixture has one folder, `mix/<name>`.
pub const MIX: StageSpec = StageSpec {
    name: "mix",
    sections: &[Budget::SECTION, Mixture::SECTION, MixtureSource::SECTION],
    tables: || vec![mix()],
    ..POOL
};

/// The text of a mixture in training order. Each mixture has one folder, `mixture/<name>`.
pub const MIXTURE: StageSpec = StageSpec {
    name: "mixture",
    tables: || vec![mixture()],
    ..POOL
};

config! {
    /// The model that the data is meant for. Absent: no loss is predicted.
    "budget", Switch => Budget {
        /// Parameters of the model.
        required params: f64; Kind::Large { min: LEAST_PARAMS, unit: "parameters" }, "7e9";
        /// Constants of the loss curve L(N, D): a published fit, or a JSON file relative to the
        /// manifest with e, a, b, alpha, beta and, if known, covariance.
        key constants: String = "besiroglu2024".to_owned();
            Kind::WordOrJson(&[
                "besiroglu2024",
                "besiroglu2024_full",
                "hoffmann2022_rounded",
                "hoffmann2022",
                "muennighoff2023",
            ]);
        /// How many times larger the corpus is than this run's sample of it.
        key represents: f64 = 1.0; Kind::Number { min: 1.0, max: f64::INFINITY };
    }
    tables {
        /// Text of the constants' file at the time when the manifest was read; `None` for a
        /// published fit.
        constants_json: Option<String>,
    }
}

config! {
    /// One training mixture to export.
    "mixture", Any => Mixture {
        /// Name of the mixture, unique.
        required name: String; Kind::Name, "\"general\"";
        /// Tokens to draw, repeats counted.
        required tokens: u64; Kind::Count, "300_000";
        /// Most epochs over any bucket.
        key max_epochs: f64 = 4.0; Kind::Positive { max: 1000.0 };
        /// How epochs are chosen. effective: the most effective tokens. The others are baselines:
        /// by unique tokens, sources alike, by U^(1/temperature), by given shares, Olmo 3's curve.
        key strategy: Strategy = Strategy::Effective; Kind::Word(Strategy::WORDS);
        /// For strategy = "temperature": 1 is natural, more makes sources more alike.
        key temperature: f64 = 3.3; Kind::Positive { max: 1e6 };
        /// For strategy = "quality_curve": share of each source's tokens, the worst, that is left
        /// out.
        key discard: f64 = 0.4; SHARE;
        /// The target of the calibration whose q and law the mixture uses. Absent: quality.target.
        optional target: Option<String>; Kind::Name, "\"code\"";
        /// Text in one exported file before compression, bytes.
        key part_size: u64 = 256 * MIB; size(MIB, 4 * GIB);
    }
}

words! {
    /// How the epochs of a mixture are chosen.
    Strategy {
        /// The epochs that are worth the most effective tokens.
        Effective = "effective",
        /// Sources in proportion to their unique tokens.
        Natural = "natural",
        /// The same tokens from every source, as far as the caps on epochs allow (Chung et al.
        /// 2023).
        Unimax = "unimax",
        /// Sources in proportion to U^(1/τ).
        Temperature = "temperature",
        /// The shares of `[[mixture_source]]`.
        Fixed = "fixed",
        /// Better bins more often within each source (Olmo 3).
        QualityCurve = "quality_curve",
    }
}

/// The keys that some strategies do not read, each with the strategies that read it. Any other key
/// of a mixture or of its sources is read by every strategy.
pub const READ_BY: &[(&str, &[Strategy])] = &[
    ("mixture.temperature", &[Strategy::Temperature]),
    ("mixture.discard", &[Strategy::QualityCurve]),
    ("mixture_source.min_share", BOUNDED),
    ("mixture_source.max_share", BOUNDED),
    ("mixture_source.share", &[Strategy::Fixed]),
];

/// The strategies that choose the shares of sources themselves, within bounds.
const BOUNDED: &[Strategy] = &[
    Strategy::Effective,
    Strategy::Natural,
    Strategy::Unimax,
    Strategy::Temperature,
    Strategy::QualityCurve,
];

config! {
    /// Bounds of one source in one mixture.
    "mixture_source", Any => MixtureSource {
        /// Name of the mixture.
        required mixture: String; Kind::Name, "\"general\"";
        /// Name of the source.
        required source: String; Kind::Name, "\"web\"";
        /// Least share of the mixture's tokens, with any strategy but "fixed".
        key min_share: f64 = 0.0; SHARE, at_most max_share;
        /// Greatest share of the mixture's tokens, with any strategy but "fixed".
        key max_share: f64 = 1.0; SHARE;
        /// Its share with strategy = "fixed".
        optional share: Option<f64>; SHARE, "0.5";
        /// Most epochs over its buckets. Absent: those of the mixture.
        optional max_epochs: Option<f64>; Kind::Positive { max: 1000.0 }, "8.0";
    }
}

fn buckets() -> Table {
    let columns = vec![
        utf8("source", "name of the source"),
        utf8("domain", "domain label"),
        small_count("bin", "", "bin of the score, token-weighted over the pool").range("0 to 19"),
        unit_interval("score_from", "lower end of the bin: the least score in it"),
        count("documents", "documents", "documents in the bucket"),
        count("bytes", "bytes", "length of the documents' texts, UTF-8"),
        count(
            "tokens",
            "tokens",
            "U: tokens of the documents, each document once",
        ),
        Column::new(
            "q",
            DataType::Float64,
            "token-weighted mean q of the documents",
        )
        .range("(0, 1]"),
        Column::new(
            "q_by_target",
            DataType::Map(
                Arc::new(Field::new_struct(
                    "entries",
                    vec![
                        Field::new("keys", DataType::Utf8, false),
                        Field::new("values", DataType::Float64, false),
                    ],
                    false,
                )),
                false,
            ),
            "token-weighted mean q for each target of the calibration; empty without a calibration",
        )
        .range("(0, 1]"),
    ];

    Table {
        name: "buckets",
        doc: "the pool by source, domain and bin of the score",
        shape: Shape::Own,
        columns,
    }
}

fn mix() -> Table {
    Table {
        name: "mix",
        doc: "how often each document is drawn into a mixture; one folder a mixture",
        shape: Shape::Own,
        columns: vec![
            doc_id(),
            small_count("draws", "draws", "how often the document occurs").range("1 or more"),
        ],
    }
}

fn mixture() -> Table {
    Table {
        name: "mixture",
        doc: "the mixture's text in training order; one folder a mixture",
        shape: Shape::Own,
        columns: vec![
            doc_id(),
            small_count("draw", "draws", "number of this draw of the document").range("0 or more"),
            utf8("source", "name of the source"),
            utf8("domain", "domain label"),
            count("tokens", "tokens", "tokens of the text"),
            Column::new("q", DataType::Float64, "quality of the document").range("(0, 1]"),
            utf8("text", "the text"),
        ],
    }
}
