//! C4's rules: line rules that drop lines, and rules that judge the document.

use super::{Signal::Field, family};
use crate::config::{Kind, WORD_COUNT};
use crate::tables::{Column, flag, small_count};

family! {
    /// C4's rules (Raffel et al. 2020). Absent: off.
    "filter.c4" => C4 = c4: C4Rules,
    paper: "Raffel et al. 2020 (T5, arXiv:1910.10683), section 2.2",
    departs: "no deduplication of three-sentence spans, no bad words (a family of its own), no language filter",
    values: values, "C4 values (Raffel et al. 2020, section 2.2), as datatrove 0.10 computes them; \
        of the text before `edits`";
    settings {
        /// Drop lines that do not end with . ? ! or a quotation mark.
        key terminal_punct: bool = true; Kind::Bool;
        /// Cut out citations such as `[12]`, `[edit]` and `[citation needed]`.
        key citations: bool = true; Kind::Bool;
        /// Fewest words of a line that is kept.
        key min_line_words: u32 = 3; WORD_COUNT;
        /// Longest word of a line that is kept, characters.
        key max_word_len: u32 = 1000; WORD_COUNT;
        /// Drop lines with "javascript".
        key javascript: bool = true; Kind::Bool;
        /// Drop lines about terms of use, privacy or cookies.
        key policy: bool = true; Kind::Bool;
        /// Make the kept lines the text that later rules and stages see.
        key rewrite: bool = false; Kind::Bool;
    }
    fixed {}
    rules {
        /// Fail documents with "lorem ipsum" on a line that no earlier line rule dropped.
        key lorem_ipsum: bool = true; Kind::Bool
        => lorem_ipsum: Field("lorem_ipsum"), Set, datatrove "lorem_ipsum";
        /// Fail documents with { on a line that no earlier line rule dropped.
        key curly_bracket: bool = true; Kind::Bool
        => curly_bracket: Field("curly_bracket"), Set, datatrove "curly_bracket";
        /// Fewest sentences on kept lines.
        key min_sentences: u32 = 5; WORD_COUNT
        => too_few_sentences: Field("n_sentences"), Below, datatrove "too_few_sentences";
    }
}

fn values() -> Vec<Column> {
    // The first line rule that a line breaks drops the line, so a line is counted as dropped once.
    let mut columns = vec![
        small_count("n_lines", "lines", "all lines"),
        small_count("n_lines_kept", "lines", "lines that the line rules keep"),
        small_count(
            "n_too_long_word",
            "lines",
            "lines dropped for a word that is too long",
        ),
        small_count(
            "n_no_terminal_punct",
            "lines",
            "lines dropped because they lack terminal punctuation",
        ),
        small_count(
            "n_too_few_words",
            "lines",
            "lines dropped for too few words, blank ones included",
        ),
        small_count("n_javascript", "lines", "lines dropped for javascript"),
        small_count(
            "n_policy",
            "lines",
            "lines dropped because they mention a policy",
        ),
        small_count("n_citations", "citations", "citations cut out"),
    ];

    // The rules that judge the document compare these.
    columns.extend([
        small_count(
            "n_sentences",
            "sentences",
            "sentences (spaCy's sentencizer) of the kept lines",
        ),
        flag(
            "lorem_ipsum",
            "true if a line that no earlier line rule dropped contains \"lorem ipsum\", lower-cased",
        ),
        flag(
            "curly_bracket",
            "true if a line that no earlier line rule dropped contains {",
        ),
        small_count(
            "third_longest_line_chars",
            "code points",
            "length of the third-longest line; 0 for fewer lines",
        ),
    ]);
    columns
}
