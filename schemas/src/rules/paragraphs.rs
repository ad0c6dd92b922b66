//! C4's rule on paragraphs: three lines must be long.

use super::{Signal::Of, family};
use crate::config::WORD_COUNT;

family! {
    /// C4's rule that three lines must be long (Xue et al. 2021). Absent: off.
    "filter.c4_paragraphs" => PARAGRAPHS = c4_paragraphs: ParagraphRules,
    paper: "Xue et al. 2021 (mT5, arXiv:2010.11934), section 3.1",
    departs: "",
    values: Vec::new, "";
    settings {}
    fixed {}
    rules {
        /// Least length of the third-longest line, characters.
        key min_line_len: u32 = 200; WORD_COUNT
        => too_short: Of("c4", "third_longest_line_chars"), Below, datatrove "< 3 paragraphs";
    }
}
