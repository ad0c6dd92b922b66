//! The rule on a list of unwanted words.

use super::{Signal::Column, family};
use crate::config::{Kind, WORD_COUNT};

family! {
    /// A list of unwanted words. Absent: off.
    "filter.c4_bad_words" => BAD_WORDS = c4_bad_words: BadWordsRules,
    paper: "Raffel et al. 2020 (T5, arXiv:1910.10683), section 2.2",
    departs: "the list is the user's; no share of failing documents is kept",
    values: Vec::new, "";
    settings {
        /// File of unwanted words, a line each, relative to the manifest. Unicode form (NFC, NFD)
        /// does not count.
        required file: String; Kind::Path, "\"bad-words.txt\"";
        /// ISO 639-1 or 639-3 code of the list's language. In ja, th and zh words need no bounds.
        key language: String = "en".to_owned(); Kind::Label;
    }
    fixed {}
    rules {
        /// Most matches in a document.
        key max_matches: u32 = 0; WORD_COUNT
        => listed: Column("bad_words"), Above, datatrove "document_removed_with_badwords";
    }
}
