//! Token counts, models' scores and q(d).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::{Column, Shape, Table, aligned, count, removed_by, unit_interval, utf8};

pub(super) fn tokens() -> Table {
    aligned(
        "tokens",
        "token counts under the tokenizer that the manifest names",
        vec![
            count(
                "tokens",
                "tokens",
                "tokens of the text, no special tokens added; null where not counted",
            )
            .null(),
            count(
                "tokens_before",
                "tokens",
                "tokens of the text before `signals.edits`; null where it has none",
            )
            .null(),
            Column::new(
                "text_hash",
                DataType::FixedSizeBinary(16),
                "xxh3-128 of the text that was counted, big-endian",
            )
            .null(),
        ],
    )
}

pub(super) fn ngram() -> Table {
    aligned(
        "ngram",
        "how surprised the n-gram model of [score.ngram] is by each survivor; which model says model_digest",
        vec![
            Column::new(
                "text_hash",
                DataType::FixedSizeBinary(16),
                "xxh3-128 of the text that was scored, big-endian",
            )
            .null(),
            utf8(
                "model",
                "the model, as the manifest names it; null without a score",
            )
            .null(),
            utf8("model_digest", "BLAKE3 that names the model")
                .null()
                .range("64 hex digits"),
            count(
                "n_tokens",
                "tokens",
                "tokens that were scored, ends of lines apart; null if the model did not score",
            )
            .null(),
            count(
                "n_unknown",
                "tokens",
                "tokens that the model does not know; null likewise",
            )
            .null(),
            Column::new(
                "log10_sum",
                DataType::Float64,
                "sum of log10 p over tokens and ends of lines; null without tokens",
            )
            .null()
            .range("0 or less"),
            Column::new(
                "perplexity",
                DataType::Float64,
                "10^(-log10_sum / (n_tokens + lines)), as in CCNet (Wenzek et al. 2020)",
            )
            .null()
            .range("1 or more"),
        ],
    )
}

pub(super) fn score() -> Table {
    let value = |name, doc| Column::new(name, DataType::Float64, doc).null();
    aligned(
        "score",
        "how surprised the language model of [score.perplexity] is by each survivor; which model says model_digest",
        vec![
            Column::new(
                "text_hash",
                DataType::FixedSizeBinary(16),
                "xxh3-128 of the text that was scored, big-endian",
            )
            .null(),
            utf8(
                "model",
                "the model, as the manifest names it; null without a score",
            )
            .null(),
            utf8("model_digest", "BLAKE3 of the model's weights")
                .null()
                .range("64 hex digits"),
            count(
                "n_scored",
                "tokens",
                "tokens with a probability, by the model's own tokenizer; null if it did not score",
            )
            .null(),
            value(
                "sum_nll",
                "-sum of ln p(token | those before it) over the scored tokens",
            )
            .unit("nats")
            .range("0 or more"),
            value("mean_nll", "sum_nll / n_scored")
                .unit("nats per token")
                .range("0 or more"),
            value(
                "bits_per_byte",
                "sum_nll / ln 2 / bytes of the scored tokens",
            )
            .unit("bits per byte")
            .range("0 or more"),
            value("perplexity", "exp(mean_nll)").range("1 or more"),
            utf8("unscored", "why a survivor has no value")
                .null()
                .range("too_short, not_sampled"),
        ],
    )
}

pub(super) fn quality() -> Table {
    aligned(
        "quality",
        "q of each document that is still there, and the terms it is made of",
        vec![
            removed_by(),
            Column::new("q", DataType::Float64, "quality: what a token of this document is worth")
                .null()
                .range("(0, 1]"),
            Column::new(
                "terms",
                DataType::Map(Arc::new(Field::new_struct("entries", term_fields(), false)), false),
                "the terms of q after their calibration, by the column they are made of",
            )
            .null()
            .range("(0, 1]; any number with combine = \"logistic\""),
            utf8(
                "ccnet",
                "third of the document's language by the n-gram model's perplexity, as in CCNet; null without a score",
            )
            .null()
            .range("head: below its 30th percentile, middle: below its 60th, tail"),
        ],
    )
}

/// What an entry of the map `terms` holds.
fn term_fields() -> Vec<Field> {
    vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Float64, false),
    ]
}

pub(super) fn quality_calibration() -> Table {
    Table {
        name: "quality_calibration",
        doc: "what values of a column meant in `quality`, by language and domain: knots of percentiles, and cuts of bands",
        shape: Shape::Own,
        columns: vec![
            utf8("measure", "the column that was looked at, as the manifest names it"),
            utf8("kind", "what the row says of it")
                .range("percentile, drop_below, drop_above; head_below, tail_above: CCNet's, of a language"),
            utf8("language", "language of the group; empty where none could be told"),
            utf8("domain", "domain label of the group; empty for a whole language"),
            count("documents", "documents", "documents of the group that have a value"),
            Column::new("value", DataType::Float64, "a value of the column, to 2^-16 of it"),
            unit_interval(
                "share",
                "of the group's tokens, those of smaller values and half of those that share its bin; of its documents, for a cut",
            ),
        ],
    }
}
