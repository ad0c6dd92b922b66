//! RefinedWeb's line rules, and its rule on the share of words that they remove.

use super::{Signal::Field, family};
use crate::config::{Kind, SHARE};
use crate::tables::{Column, small_count, unit_interval};

family! {
    /// RefinedWeb's line rules (Penedo et al. 2023). Absent: off.
    "filter.lines" => LINES = lines: LineRules,
    paper: "Penedo et al. 2023 (RefinedWeb, arXiv:2306.01116), appendix G.2, as in DCLM (Li et al. 2024, arXiv:2406.11794)",
    departs: "",
    values: values, "RefinedWeb line values (Penedo et al. 2023, appendix G.2), as in DCLM; null \
        without [filter.lines]";
    settings {
        /// Make the kept lines the text that later rules and stages see.
        key rewrite: bool = false; Kind::Bool;
    }
    fixed {}
    rules {
        /// Greatest share of words on removed lines, of words.
        key max_removed_word_ratio: f64 = 0.05; SHARE
        => removed_words: Field("removed_word_ratio"), Above;
    }
}

fn values() -> Vec<Column> {
    vec![
        small_count("n_lines", "lines", "all lines"),
        small_count("n_upper_case", "lines", "lines mainly in upper case"),
        small_count("n_numeric", "lines", "lines of digits only"),
        small_count(
            "n_counter",
            "lines",
            "lines that count something, such as \"3 likes\"",
        ),
        small_count("n_one_word", "lines", "lines of one word"),
        small_count(
            "n_navigation",
            "lines",
            "short lines with words of navigation",
        ),
        unit_interval(
            "removed_word_ratio",
            "words on lines in upper case, of digits, counters, of one word, of navigation / words",
        ),
    ]
}
