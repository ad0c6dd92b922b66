//! Gopher's repetition rules on paragraphs, lines and n-grams.

use super::{Fails, Signal::Field, V1, family};
use crate::config::SHARE;
use crate::tables::{Column, ratio, unit_interval};

family! {
    /// Gopher's repetition rules (Rae et al. 2021). Absent: off.
    "filter.gopher_repetition" => GOPHER_REPETITION = gopher_repetition: GopherRepetitionRules,
    paper: "Rae et al. 2021 (Gopher, arXiv:2112.11446), appendix A1, table A1",
    departs: "the most frequent n-gram counts even if it occurs once; repeated n-grams are compared without separators",
    values: values, "Gopher repetition values (Rae et al. 2021, table A1), as datatrove 0.10 \
        computes them; of the text before `edits`";
    settings {}
    fixed {}
    rules {
        /// Greatest share of paragraphs that are duplicates.
        key max_dup_para_frac: f64 = 0.3; SHARE
        => dup_para_frac: Field("dup_para_frac"), Above, datatrove "dup_para_frac";
        /// Greatest share of characters that are in duplicate paragraphs.
        key max_dup_para_char_frac: f64 = 0.2; SHARE
        => dup_para_char_frac: Field("dup_para_char_frac"), Above, datatrove "dup_para_char_frac";
        /// Greatest share of lines that are duplicates.
        key max_dup_line_frac: f64 = 0.3; SHARE
        => dup_line_frac: Field("dup_line_frac"), Above,
           v1 V1::Other("v1_dup_line_frac", Fails::Above), datatrove "dup_line_frac";
        /// Greatest share of characters that are in duplicate lines.
        key max_dup_line_char_frac: f64 = 0.2; SHARE
        => dup_line_char_frac: Field("dup_line_char_frac"), Above,
           v1 V1::Other("v1_dup_line_char_frac", Fails::Above), datatrove "dup_line_char_frac";
        /// Greatest share of characters that are in the most frequent 2-gram.
        key max_top_2_gram: f64 = 0.2; SHARE
        => top_2_gram: Field("top_2_gram"), Above, datatrove "top_2_gram";
        /// Greatest share of characters that are in the most frequent 3-gram.
        key max_top_3_gram: f64 = 0.18; SHARE
        => top_3_gram: Field("top_3_gram"), Above, datatrove "top_3_gram";
        /// Greatest share of characters that are in the most frequent 4-gram.
        key max_top_4_gram: f64 = 0.16; SHARE
        => top_4_gram: Field("top_4_gram"), Above, datatrove "top_4_gram";
        /// Greatest share of characters that are in duplicate 5-grams.
        key max_dup_5_gram: f64 = 0.15; SHARE
        => duplicated_5_n_grams: Field("dup_5_gram"), Above, datatrove "duplicated_5_n_grams";
        /// Greatest share of characters that are in duplicate 6-grams.
        key max_dup_6_gram: f64 = 0.14; SHARE
        => duplicated_6_n_grams: Field("dup_6_gram"), Above, datatrove "duplicated_6_n_grams";
        /// Greatest share of characters that are in duplicate 7-grams.
        key max_dup_7_gram: f64 = 0.13; SHARE
        => duplicated_7_n_grams: Field("dup_7_gram"), Above, datatrove "duplicated_7_n_grams";
        /// Greatest share of characters that are in duplicate 8-grams.
        key max_dup_8_gram: f64 = 0.12; SHARE
        => duplicated_8_n_grams: Field("dup_8_gram"), Above, datatrove "duplicated_8_n_grams";
        /// Greatest share of characters that are in duplicate 9-grams.
        key max_dup_9_gram: f64 = 0.11; SHARE
        => duplicated_9_n_grams: Field("dup_9_gram"), Above, datatrove "duplicated_9_n_grams";
        /// Greatest share of characters that are in duplicate 10-grams.
        key max_dup_10_gram: f64 = 0.1; SHARE
        => duplicated_10_n_grams: Field("dup_10_gram"), Above, datatrove "duplicated_10_n_grams";
    }
}

fn values() -> Vec<Column> {
    let mut columns = vec![
        unit_interval(
            "dup_para_frac",
            "paragraphs (split at 2 or more line feeds, text stripped) that repeat an earlier one \
             / paragraphs",
        ),
        unit_interval(
            "dup_para_char_frac",
            "characters of such paragraphs / characters",
        ),
        unit_interval(
            "dup_line_frac",
            "lines (split at runs of line feeds) that repeat an earlier one / lines",
        ),
        unit_interval(
            "dup_line_char_frac",
            "characters of such lines / characters",
        ),
        // Blank lines count, as in datatrove 0.2, which FineWeb's first release used.
        unit_interval(
            "v1_dup_line_frac",
            "repeated lines / lines, blank lines included",
        ),
        unit_interval(
            "v1_dup_line_char_frac",
            "characters of such lines, blank lines included / characters",
        ),
    ];

    // An n-gram may overlap itself. All its occurrences count here, so the ratios may be above 1.
    columns.extend([
        ratio(
            "top_2_gram",
            "length × count of the most frequent 2-gram (words joined by spaces; the first of \
             equals; also at count 1) / characters",
        ),
        ratio("top_3_gram", "the same for 3-grams"),
        ratio("top_4_gram", "the same for 4-grams"),
    ]);

    // The scan jumps over a repeated n-gram, so these are shares.
    columns.extend([
        unit_interval(
            "dup_5_gram",
            "characters of 5-grams (words joined by nothing) that repeat an earlier one, read \
             without overlap / characters",
        ),
        unit_interval("dup_6_gram", "the same for 6-grams"),
        unit_interval("dup_7_gram", "the same for 7-grams"),
        unit_interval("dup_8_gram", "the same for 8-grams"),
        unit_interval("dup_9_gram", "the same for 9-grams"),
        unit_interval("dup_10_gram", "the same for 10-grams"),
    ]);
    columns
}
