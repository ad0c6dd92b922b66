//! `ngram`: the surprise of an n-gram model at each survivor.

use arrow::datatypes::DataType;

use crate::config::{Kind, SHARE, config, words};
use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Column, Table, aligned, count, utf8};

use super::tokens::EMBEDDED_TOKENIZER;

/// The declaration of the stage.
pub const NGRAM: StageSpec = StageSpec {
    name: "ngram",
    version: 1,
    scope: Scope::Shard,
    follows: "pii",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |_| false,
    sections: &[Ngram::SECTION, NgramBand::SECTION],
    tables: || vec![ngram()],
};

config! {
    /// Surprise of an n-gram model at each survivor. Absent: off.
    "score.ngram", Switch => Ngram {
        /// A file of `curate train ngram`, or an ARPA file (*.arpa), relative to the manifest.
        required model: String; Kind::Path, "\"reference.ngram\"";
        /// `embedded`, `words` (the text between white space), or the path of a tokenizer.json,
        /// relative to the manifest.
        key tokenizer: String = EMBEDDED_TOKENIZER.to_owned(); Kind::Path;
        /// Form of a line before the model reads it. ccnet: lower case, no accents, digits as 0,
        /// plain punctuation, as CCNet's models expect.
        key normalize: Normalize = Normalize::None; Kind::Word(Normalize::WORDS);
    }
    tables {
        /// The scores that remove a document.
        drop: Option<NgramBand>,
    }
}

config! {
    /// Tails of a language and domain, by perplexity, that are removed. Absent: nothing is removed.
    "score.ngram.drop", Switch => NgramBand {
        /// Share of a group's documents, the least surprising, that is removed.
        key below: f64 = 0.0; SHARE, at_most above;
        /// Share of a group's documents below the most surprising, which are removed.
        key above: f64 = 1.0; SHARE;
    }
}

words! {
    /// Form of a line before an n-gram model reads it.
    Normalize {
        /// The line as it is.
        None = "none",
        /// The line as CCNet's models were trained: lower case, no accents, digits as 0, plain
        /// punctuation.
        Ccnet = "ccnet",
    }
}

fn ngram() -> Table {
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
        utf8("model_digest", "BLAKE3 that names the model")
            .null()
            .range("64 hex digits"),
        count(
            "n_tokens",
            "tokens",
            "tokens that were scored, without ends of lines; null without a score",
        )
        .null(),
        count(
            "n_unknown",
            "tokens",
            "tokens that the model does not know; null without a score",
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
    ];

    aligned(
        "ngram",
        "surprise of the n-gram model of [score.ngram] at each survivor; model_digest names the \
         model",
        columns,
    )
}
