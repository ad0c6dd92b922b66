//! `score`: the surprise of a causal language model at each survivor.

use arrow::datatypes::DataType;

use crate::config::{Kind, SHARE, config, integer};
use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Column, Table, aligned, count, utf8};

use super::ngram::Ngram;

/// The declaration of the stage.
pub const SCORE: StageSpec = StageSpec {
    name: "score",
    version: 3,
    scope: Scope::Shard,
    follows: "pii",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |_| false,
    sections: &[Perplexity::SECTION, PerplexityBand::SECTION],
    tables: || vec![score()],
};

/// The value of `score.perplexity.model` that names the model compiled into the binary.
pub const EMBEDDED_MODEL: &str = "embedded";

/// The table `[score]`. A model scores documents if its own table is present.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Score {
    /// The surprise of a causal language model.
    pub perplexity: Option<Perplexity>,
    /// The surprise of an n-gram model.
    pub ngram: Option<Ngram>,
}

config! {
    /// Surprise of a language model at each survivor. Absent: off.
    "score.perplexity", Switch => Perplexity {
        /// `embedded` (3.7 million parameters, compiled in), a directory with config.json,
        /// tokenizer.json and safetensors, a GGUF file, relative to the manifest, or
        /// hf://owner/name@commit.
        key model: String = EMBEDDED_MODEL.to_owned(); Kind::Path;
        /// BLAKE3 of the model's weights, 64 hex digits as the log shows them. Other weights are
        /// refused.
        optional digest: Option<String>; Kind::Name,
            "\"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\"";
        /// Tokens that are read. start: the first min(512, context). start+middle: as many again
        /// from the middle. all: every token.
        key window: String = "start".to_owned(); Kind::Word(&["start", "start+middle", "all"]);
        /// Device of the model. All but cpu need a build with the feature of that name.
        key device: String = "auto".to_owned();
            Kind::Word(&[
                "auto", "cpu", "cuda", "cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4", "cuda:5",
                "cuda:6", "cuda:7", "metal",
            ]);
        /// Tokens of a batch, padding included. Absent: 8,192 on a CPU, 65,536 on a GPU. The size
        /// of a batch changes the last digits of a score.
        optional batch_tokens: Option<u32>; integer(1, 1 << 24), "8192";
        /// Share of survivors that are scored, chosen by a hash of seed and doc_id.
        key sample: f64 = 1.0; SHARE;
        /// Tokens that the windows of scored documents may hold, on average over samples. Fewer
        /// survivors are scored, by the same hash. Absent: no bound.
        optional max_tokens: Option<u64>; Kind::Count, "1_000_000_000";
    }
    tables {
        /// The scores that remove a document.
        drop: Option<PerplexityBand>,
    }
}

config! {
    /// Tails of a language and domain, by nats per token or by bits per byte, that are removed.
    /// Absent: nothing is removed.
    "score.perplexity.drop", Switch => PerplexityBand {
        /// Share of a group's documents, the least surprising, that may be removed.
        key below: f64 = 0.0; SHARE, at_most above;
        /// Share of a group's documents below the most surprising, which are removed.
        key above: f64 = 1.0; SHARE;
    }
}

fn score() -> Table {
    let value = |name, doc| Column::new(name, DataType::Float64, doc).null();

    let columns = vec![
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
            "tokens with a probability, by the model's own tokenizer; null if the model did \
             not score",
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
        // A null score alone would not tell a short text from one outside the sample.
        utf8("unscored", "why a survivor has no value")
            .null()
            .range("too_short, not_sampled"),
    ];

    aligned(
        "score",
        "surprise of the language model of [score.perplexity] at each survivor; model_digest \
         names the model",
        columns,
    )
}
