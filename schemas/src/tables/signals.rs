//! Values that rules are made of, and the rules' verdicts.

use arrow::datatypes::{DataType, Fields};

use super::{
    Column, Table, aligned, count, list, ratio, removed_by, small_count, unit_interval, utf8,
};

pub(super) fn signals() -> Table {
    aligned(
        "signals",
        "the value of every rule for each document that `language` kept, no threshold; and the edits of rules that rewrite",
        vec![
            count(
                "bytes",
                "bytes",
                "length of the text after `edits`, UTF-8; every later stage sees that text",
            ),
            edits_column(),
            utf8("words", "which segmentation the words are of")
                .null()
                .range("spacy-en-3.8, uax29-icu_segmenter_data-2.4.0"),
            unit_interval(
                "heuristic",
                "study-note score: lexical variety, length and unrepeated lines",
            )
            .null(),
            gopher_quality(),
            gopher_repetition(),
            c4(),
            small_count(
                "bad_words",
                "matches",
                "matches of [filter.c4_bad_words]; null without that table",
            )
            .null(),
            fineweb(),
            lines(),
        ],
    )
}

/// The type of changes to `documents.text`: spans of bytes, each with what stands there instead.
pub fn edits() -> DataType {
    edits_column().data_type
}

pub(super) fn edits_column() -> Column {
    let children = vec![
        small_count("start", "bytes", "where the span begins in documents.text"),
        small_count("end", "bytes", "where it ends"),
        utf8("replacement", "what stands there instead"),
        utf8("reason", "the rule that asked for it").range("family.rule"),
    ];
    let fields: Fields = children.iter().map(Column::field).collect();
    let doc = "what rewriting rules change, ascending, without overlap; null where nothing";
    Column {
        children,
        ..Column::new("edits", list(DataType::Struct(fields)), doc).null()
    }
}

fn flag(name: &'static str, doc: &'static str) -> Column {
    Column::new(name, DataType::Boolean, doc)
}

fn gopher_quality() -> Column {
    Column::group(
        "gopher_quality",
        vec![
            small_count("n_words", "words", "all words, punctuation included"),
            small_count("n_nonsymbol_words", "words", "words with a character that is no punctuation"),
            ratio("avg_word_len", "mean length of the non-symbol words").unit("code points"),
            ratio("hash_word_ratio", "occurrences of # / words"),
            ratio("ellipsis_word_ratio", "occurrences of ... and … / words"),
            unit_interval("bullet_line_ratio", "lines that start with • or - / lines"),
            unit_interval("ellipsis_line_ratio", "lines that end with ... or … / lines"),
            unit_interval("alpha_word_ratio", "words with a letter / words"),
            small_count("n_stop_words", "words", "distinct words of: the be to of and that have with").range("0 to 8"),
        ],
        "Gopher quality values (Rae et al. 2021, appendix A1), as datatrove 0.10 computes them; of the text before `edits`",
    )
    .null()
}

fn gopher_repetition() -> Column {
    Column::group(
        "gopher_repetition",
        vec![
            unit_interval("dup_para_frac", "repeated paragraphs / paragraphs"),
            unit_interval("dup_para_char_frac", "characters in repeated paragraphs / characters"),
            unit_interval("dup_line_frac", "repeated lines / lines"),
            unit_interval("dup_line_char_frac", "characters in repeated lines / characters"),
            unit_interval("v1_dup_line_frac", "repeated lines / lines, blank lines included"),
            unit_interval("v1_dup_line_char_frac", "characters in repeated lines / characters, lines as before"),
            ratio("top_2_gram", "characters in occurrences of the most frequent 2-gram / characters"),
            ratio("top_3_gram", "the same for 3-grams"),
            ratio("top_4_gram", "the same for 4-grams"),
            unit_interval("dup_5_gram", "characters in repeated 5-grams / characters"),
            unit_interval("dup_6_gram", "the same for 6-grams"),
            unit_interval("dup_7_gram", "the same for 7-grams"),
            unit_interval("dup_8_gram", "the same for 8-grams"),
            unit_interval("dup_9_gram", "the same for 9-grams"),
            unit_interval("dup_10_gram", "the same for 10-grams"),
        ],
        "Gopher repetition values (Rae et al. 2021, table A1), as datatrove 0.10 computes them; of the text before `edits`",
    )
    .null()
}

fn c4() -> Column {
    Column::group(
        "c4",
        vec![
            small_count("n_lines", "lines", "all lines"),
            small_count("n_lines_kept", "lines", "lines that the line rules keep"),
            small_count("n_too_long_word", "lines", "lines dropped for a word that is too long"),
            small_count("n_no_terminal_punct", "lines", "lines dropped for their end"),
            small_count("n_too_few_words", "lines", "lines dropped for too few words, blank ones included"),
            small_count("n_javascript", "lines", "lines dropped for javascript"),
            small_count("n_policy", "lines", "lines dropped for a policy"),
            small_count("n_citations", "citations", "citations taken out"),
            small_count("n_sentences", "sentences", "sentences of the kept lines"),
            flag("lorem_ipsum", "whether a line that came so far holds \"lorem ipsum\""),
            flag("curly_bracket", "whether a line that came so far holds {"),
            small_count(
                "third_longest_line_chars",
                "code points",
                "length of the third-longest line; 0 for fewer lines",
            ),
        ],
        "C4 values (Raffel et al. 2020, section 2.2), as datatrove 0.10 computes them; of the text before `edits`",
    )
    .null()
}

fn fineweb() -> Column {
    Column::group(
        "fineweb",
        vec![
            small_count("n_nonblank_lines", "lines", "lines that are not blank"),
            unit_interval("line_punct_ratio", "lines that end with terminal punctuation / lines that are not blank"),
            unit_interval("short_line_ratio", "lines of 30 code points or fewer / lines that are not blank"),
            unit_interval("char_dup_ratio", "characters in repeated lines / characters without line feeds"),
            ratio("list_ratio", "line feeds / words"),
            unit_interval("v1_line_punct_ratio", "lines that end with one of . ' \" ! ? / all lines"),
            unit_interval("v1_short_line_ratio", "lines of 30 code points or fewer / all lines"),
        ],
        "FineWeb values (Penedo et al. 2024, section 3.6), as datatrove 0.10 computes them; v1: as first published",
    )
    .null()
}

fn lines() -> Column {
    Column::group(
        "lines",
        vec![
            small_count("n_lines", "lines", "all lines"),
            small_count("n_upper_case", "lines", "lines mainly in upper case"),
            small_count("n_numeric", "lines", "lines of digits only"),
            small_count("n_counter", "lines", "lines that count something, such as \"3 likes\""),
            small_count("n_one_word", "lines", "lines of one word"),
            small_count("n_navigation", "lines", "short lines with words of navigation"),
            unit_interval("removed_word_ratio", "words in such lines / words"),
        ],
        "RefinedWeb line values (Penedo et al. 2023, appendix G.2), as in DCLM; null without [filter.lines]",
    )
    .null()
}

pub(super) fn filter() -> Table {
    aligned(
        "filter",
        "the verdict of the rules that the manifest switches on",
        vec![
            removed_by(),
            Column::new(
                "failing",
                list(DataType::Utf8),
                "every rule that the document fails, in rule order",
            )
            .null(),
            utf8(
                "url_domain",
                "entry of filter.url.domains that the document's url matches",
            )
            .null(),
            utf8(
                "url_substring",
                "entry of filter.url.substrings that the document's url holds",
            )
            .null(),
        ],
    )
}
