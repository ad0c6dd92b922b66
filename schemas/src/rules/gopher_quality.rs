//! Gopher's quality rules on words, symbols and lines.

use super::{Signal::Field, family};
use crate::config::{NOT_NEGATIVE, SHARE, WORD_COUNT};
use crate::tables::{Column, ratio, small_count, unit_interval};

family! {
    /// Gopher's quality rules (Rae et al. 2021). Absent: off.
    "filter.gopher_quality" => GOPHER_QUALITY = gopher_quality: GopherQualityRules,
    paper: "Rae et al. 2021 (Gopher, arXiv:2112.11446), appendix A1",
    departs: "# and ellipsis are judged apart; punctuation counts as words in ratios; stop words are distinct and case counts",
    values: values, "Gopher quality values (Rae et al. 2021, appendix A1), as datatrove 0.10 \
        computes them; of the text before `edits`";
    settings {}
    fixed {}
    rules {
        /// Fewest words of a document.
        key min_words: u32 = 50; WORD_COUNT, at_most max_words
        => short_doc: Field("n_nonsymbol_words"), Below, datatrove "gopher_short_doc";
        /// Most words of a document.
        key max_words: u32 = 100_000; WORD_COUNT
        => long_doc: Field("n_nonsymbol_words"), Above, datatrove "gopher_long_doc";
        /// Least mean word length, characters.
        key min_avg_word_len: f64 = 3.0; NOT_NEGATIVE, at_most max_avg_word_len
        => below_avg: Field("avg_word_len"), Below, datatrove "gopher_below_avg_threshold";
        /// Greatest mean word length, characters.
        key max_avg_word_len: f64 = 10.0; NOT_NEGATIVE
        => above_avg: Field("avg_word_len"), Above, datatrove "gopher_above_avg_threshold";
        /// Most hash signs per word.
        key max_hash_word_ratio: f64 = 0.1; NOT_NEGATIVE
        => too_many_hashes: Field("hash_word_ratio"), Above, datatrove "gopher_too_many_hashes";
        /// Most ellipses per word.
        key max_ellipsis_word_ratio: f64 = 0.1; NOT_NEGATIVE
        => too_many_ellipsis: Field("ellipsis_word_ratio"), Above,
           datatrove "gopher_too_many_ellipsis";
        /// Greatest share of lines that begin with a bullet.
        key max_bullet_line_ratio: f64 = 0.9; SHARE
        => too_many_bullets: Field("bullet_line_ratio"), Above,
           datatrove "gopher_too_many_bullets";
        /// Greatest share of lines that end with an ellipsis.
        key max_ellipsis_line_ratio: f64 = 0.3; SHARE
        => too_many_end_ellipsis: Field("ellipsis_line_ratio"), Above,
           datatrove "gopher_too_many_end_ellipsis";
        /// Least share of words with an alphabetic character.
        key min_alpha_word_ratio: f64 = 0.8; SHARE
        => below_alpha: Field("alpha_word_ratio"), Below, datatrove "gopher_below_alpha_threshold";
        /// Fewest stop words, of Gopher's eight English ones.
        key min_stop_words: u32 = 2; WORD_COUNT
        => enough_stop_words: Field("n_stop_words"), Below, datatrove "gopher_enough_stop_words";
    }
}

fn values() -> Vec<Column> {
    let mut columns = vec![
        small_count("n_words", "words", "all words, punctuation included"),
        small_count(
            "n_nonsymbol_words",
            "words",
            "words with a character that is not punctuation",
        ),
        ratio("avg_word_len", "mean length of the non-symbol words").unit("code points"),
        // A word may hold several of these symbols, so the ratios may be above 1.
        ratio(
            "hash_word_ratio",
            "occurrences of # / all words, punctuation included",
        )
        .unit("per word"),
        ratio(
            "ellipsis_word_ratio",
            "occurrences of ... and … / all words; ...... is two",
        )
        .unit("per word"),
    ];

    // A line or a word counts once here, so the ratios are shares.
    columns.extend([
        unit_interval(
            "bullet_line_ratio",
            "lines (str.splitlines, blank ones included) that begin with • or - after white space \
             / lines",
        ),
        unit_interval(
            "ellipsis_line_ratio",
            "lines that end with ... or … before white space / lines",
        ),
        unit_interval("alpha_word_ratio", "words with a letter / all words"),
        small_count(
            "n_stop_words",
            "words",
            "distinct words of: the be to of and that have with; The does not count",
        )
        .range("0 to 8"),
    ]);
    columns
}
