//! `signals`: the value of every rule, and the edits of rules that rewrite.

use crate::config::{Kind, config, words};
use crate::rules::{C4, FINEWEB, GOPHER_QUALITY, GOPHER_REPETITION, LINES};
use crate::spec::{Removes, Scope, StageSpec, removal};
use crate::tables::{
    Column, Table, aligned, count, edits_column, removed_by, small_count, unit_interval, utf8,
};

/// The reason for the removal of a document that `[clean]` or the rules left without text.
pub const NOTHING_LEFT: &str = "signals.nothing_left";

/// The declaration of the stage.
pub const SIGNALS: StageSpec = StageSpec {
    name: "signals",
    version: 4,
    scope: Scope::Shard,
    follows: "language",
    removes: Removes::Documents,
    removals: &[removal(
        NOTHING_LEFT,
        "[clean] or the rules that rewrite left white space and characters without a shape, or \
         nothing",
    )],
    rewrites: |manifest| manifest.filter.rewrites(),
    sections: &[Signals::SECTION],
    tables: || vec![signals()],
};

config! {
    /// Values that are computed for the rules.
    "signals", Default => Signals {
        /// all: the values of every rule, in use or not, and the heuristic score. none: for runs
        /// that only deduplicate.
        key values: SignalValues = SignalValues::All; Kind::Word(SignalValues::WORDS);
    }
}

words! {
    /// Values that are computed for the rules.
    SignalValues {
        /// The values of every rule and the heuristic score, so that any threshold can be set
        /// later.
        All = "all",
        /// No values, for runs that only deduplicate.
        None = "none",
    }
}

/// The values that tell prose from repeats, shuffled words and random tokens, without a model and
/// without a language. They are the default terms of q.
fn texture() -> Column {
    let children = vec![
        unit_interval(
            "novelty",
            "characters whose four predecessors stand together for the first time in their block \
             of 32,768 characters / characters, times n / 1,024 in a text of n < 1,024 characters",
        ),
        unit_interval(
            "order",
            "characters at the start of a word that are the same as after the last occurrence of \
             their four predecessors / those whose predecessors occurred; null with fewer than 8",
        )
        .null(),
        unit_interval(
            "sentences",
            "words that begin a sentence, after a terminal mark / words",
        ),
        unit_interval(
            "odd_words",
            "words with a capital after a small letter, with letters and digits, or with U+FFFD / \
             words",
        ),
    ];
    Column::group(
        "texture",
        children,
        "how new, ordered and well-formed the text after `edits` is",
    )
    .null()
}

fn signals() -> Table {
    // The lists of addresses and C4's rule on paragraphs are families without values of their own.
    let columns = vec![
        removed_by(),
        count("bytes", "bytes", "length of the text after `edits`, UTF-8"),
        edits_column(),
        utf8("words", "word segmentation that the rules use")
            .null()
            .range("spacy-en-3.8, uax29-icu_segmenter_data-2.4.0"),
        unit_interval(
            "heuristic",
            "study-note score: lexical variety, length and unrepeated lines",
        )
        .null(),
        texture(),
        GOPHER_QUALITY.column(),
        GOPHER_REPETITION.column(),
        C4.column(),
        small_count(
            "bad_words",
            "matches",
            "words of the list in the lower-cased text, between characters that are not part \
             of a word; null without [filter.c4_bad_words]",
        )
        .null(),
        FINEWEB.column(),
        LINES.column(),
    ];

    aligned(
        "signals",
        "the value of every rule for each document that `language` kept, without thresholds; and \
         the edits of rules that rewrite",
        columns,
    )
}
