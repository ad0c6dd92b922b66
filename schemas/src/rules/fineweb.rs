//! FineWeb's own rules on lines.

use super::{Fails, Signal::Field, V1, family};
use crate::config::{NOT_NEGATIVE, SHARE};
use crate::tables::{Column, ratio, small_count, unit_interval};

family! {
    /// FineWeb's rules (Penedo et al. 2024). Absent: off.
    "filter.fineweb" => FINEWEB = fineweb: FineWebRules,
    paper: "Penedo et al. 2024 (FineWeb, arXiv:2406.17557), section 3.6",
    departs: "list_ratio is not in the paper",
    values: values, "FineWeb values (Penedo et al. 2024, section 3.6), as datatrove 0.10 computes \
        them; v1: as first published";
    settings {}
    fixed {
        empty: Field("n_nonblank_lines"), Below 1.0, datatrove "empty";
    }
    rules {
        /// Least share of lines that end with terminal punctuation.
        key min_line_punct_ratio: f64 = 0.12; SHARE
        => line_punct_ratio: Field("line_punct_ratio"), Below,
           v1 V1::Other("v1_line_punct_ratio", Fails::AtMost), datatrove "line_punct_ratio";
        /// Greatest share of lines of 30 characters or fewer.
        key max_short_line_ratio: f64 = 0.67; SHARE
        => short_line_ratio: Field("short_line_ratio"), Above,
           v1 V1::Other("v1_short_line_ratio", Fails::AtLeast), datatrove "short_line_ratio";
        /// Greatest share of characters in duplicate lines, of characters.
        key max_char_dup_ratio: f64 = 0.01; SHARE
        => char_dup_ratio: Field("char_dup_ratio"), Above,
           v1 V1::Other("char_dup_ratio", Fails::AtLeast), datatrove "char_dup_ratio";
        /// Most line feeds per word.
        key max_list_ratio: f64 = 0.3; NOT_NEGATIVE
        => list_ratio: Field("list_ratio"), Above, v1 V1::None, datatrove "list_ratio";
    }
}

fn values() -> Vec<Column> {
    // Blank lines do not count, as in datatrove 0.10.
    let mut columns = vec![
        small_count("n_nonblank_lines", "lines", "lines that are not blank"),
        unit_interval(
            "line_punct_ratio",
            "lines that end with terminal punctuation, nothing behind it / lines that are not \
             blank",
        ),
        unit_interval(
            "short_line_ratio",
            "lines of 30 code points or fewer / lines that are not blank",
        ),
        unit_interval(
            "char_dup_ratio",
            "characters of lines that repeat an earlier one / characters without line feeds",
        ),
        // A text may have more line feeds than words, so this is no share.
        ratio("list_ratio", "line feeds / all words").unit("per word"),
    ];

    // Blank lines count, as in datatrove 0.2, which FineWeb's first release used.
    columns.extend([
        unit_interval(
            "v1_line_punct_ratio",
            "lines that end with one of . ' \" ! ? / all lines",
        ),
        unit_interval(
            "v1_short_line_ratio",
            "lines of 30 code points or fewer / all lines",
        ),
    ]);
    columns
}
