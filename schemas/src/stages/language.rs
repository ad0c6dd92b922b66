//! `language`: a language label for each document, and the languages that are kept.

use arrow::datatypes::DataType;

use crate::config::{Kind, SHARE, config, words};
use crate::spec::{Removes, Scope, StageSpec, removal};
use crate::tables::{Column, Table, aligned, removed_by, unit_interval, utf8};

/// The declaration of the stage.
pub const LANGUAGE: StageSpec = StageSpec {
    name: "language",
    version: 3,
    scope: Scope::Shard,
    follows: "documents",
    removes: Removes::Documents,
    removals: &[
        removal("language.not_kept", "the language is not in language.keep"),
        removal(
            "language.low_confidence",
            "the confidence of the label is below language.min_confidence",
        ),
        removal(
            "language.mixed",
            "parts are in different languages, and language.keep_mixed is false",
        ),
    ],
    rewrites: |_| false,
    sections: &[Language::SECTION],
    tables: || vec![language()],
};

config! {
    /// Language identification. Absent: every language is kept.
    "language", Switch => Language {
        /// Languages that are kept. Empty: all.
        key keep: Vec<String> = Vec::new(); Kind::Languages;
        /// Least confidence of the label. whatlang and fasttext have a confidence.
        key min_confidence: f64 = 0.0; SHARE;
        /// Keep documents whose parts are in different languages.
        key keep_mixed: bool = true; Kind::Bool;
        /// Engine that labels documents. whatlang: 70 languages. whichlang: 16 languages, several
        /// times faster, no confidence. fasttext: the languages of `model`. none: no label.
        key engine: LanguageEngine = LanguageEngine::Whatlang; Kind::Word(LanguageEngine::WORDS);
        /// The fastText model of engine = "fasttext", a .bin or .ftz file such as lid.176.ftz,
        /// relative to the manifest. Its labels are ISO 639 codes. Other engines have no model.
        optional model: Option<String>; Kind::Path, "\"lid.176.ftz\"";
    }
}

words! {
    /// Engine that labels documents with their language.
    LanguageEngine {
        /// 70 languages, with a confidence.
        Whatlang = "whatlang",
        /// 16 languages, several times faster, without a confidence.
        Whichlang = "whichlang",
        /// The languages of a fastText model, with a confidence.
        FastText = "fasttext",
        /// No label: no document has a language.
        None = "none",
    }
}

fn language() -> Table {
    let columns = vec![
        removed_by(),
        utf8(
            "language",
            "ISO 639-3 code; null if no language can be told",
        )
        .null()
        .range("3 letters"),
        unit_interval(
            "confidence",
            "how sure it is that the largest part is in `language`; null without a confidence",
        )
        .null(),
        unit_interval(
            "share",
            "share of `language` of the letters in the sample, by bytes; null without a language",
        )
        .null(),
        // A document without a label is not mixed, so there are no nulls.
        Column::new(
            "mixed",
            DataType::Boolean,
            "true if a second language has a tenth of the letters in the sample or more",
        ),
        utf8(
            "second_language",
            "ISO 639-3 code of the language with the second largest share; null if not mixed",
        )
        .null()
        .range("3 letters"),
        unit_interval(
            "second_share",
            "share of `second_language` of the letters in the sample, by bytes; null if not mixed",
        )
        .null()
        .range("[0.1, 0.5]"),
    ];

    aligned(
        "language",
        "language of each document, from a bounded sample of the text",
        columns,
    )
}
