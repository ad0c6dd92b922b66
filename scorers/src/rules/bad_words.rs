//! C4's rule about bad words (Raffel et al. 2020, JMLR 21:140, section 2.2), with a list from the
//! user.
//!
//! The rule works like `C4BadWordsFilter` of datatrove 0.10, whose list is LDNOOBW
//! (<https://github.com/LDNOOBW>). Entries are searched in the lower-cased text. An entry must be
//! flanked: on each side of it is the start or end of the text, or a character that is not `\w`. In
//! Japanese, Thai and Chinese an entry may be anywhere. A few entries that are parts of common
//! words do not count (in any language, as in the reference). Entries are not lower-cased, so an
//! entry with a capital never matches, as in the reference.
//!
//! Departs in three points. Blank lines of the list are not entries. In the reference a blank line
//! makes the expression match nearly all texts. All matches are counted, but the reference stops at
//! the first match. So the reference finds a match if the count is at least 1. A letter and its
//! accent match in both spellings, as one character and as two: entries are searched in the text as
//! it is written and in NFC, and the greater count is taken.
//!
//! Cost: one pass over the lower-cased text, two if it is not in NFC, and one step for each entry
//! that ends at the same place.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, BuildError};

use crate::normalize::composed;
use crate::python;

/// Entries that are parts of common words in languages without spaces.
pub const ALLOWED: [&str; 4] = ["sm", "グロ", "女の子", "性"];

/// Languages in which words are not separated, as ISO 639-1 and ISO 639-3 codes.
pub const UNSEPARATED: [&str; 7] = ["ja", "th", "zh", "jpn", "tha", "zho", "cmn"];

/// A list of bad words, ready to be searched for.
#[derive(Debug, Clone)]
pub struct BadWords {
    automaton: AhoCorasick,
    /// True if entries must be flanked.
    is_separated: bool,
}

/// The error for a list that is too large to search for, which has some 2³¹ bytes.
#[derive(Debug, thiserror::Error)]
#[error("cannot search for {entries} bad words: {source}")]
pub struct TooLarge {
    /// The number of entries of the list.
    pub entries: usize,
    source: BuildError,
}

impl BadWords {
    /// The list in the text `file`, with one entry a line. `language` is the language of the texts,
    /// a code such as `en`.
    ///
    /// # Errors
    ///
    /// If the list is too large.
    pub fn new(file: &str, language: &str) -> Result<BadWords, TooLarge> {
        let mut entries: Vec<Cow<str>> = file
            .split(['\n', '\r'])
            .map(python::strip)
            .filter(|line| !line.is_empty() && !ALLOWED.contains(&&*composed(line)))
            .flat_map(|line| [Cow::Borrowed(line), composed(line)])
            .collect();

        // A repeated entry would count each of its places twice.
        entries.sort_unstable();
        entries.dedup();

        match AhoCorasick::new(entries.iter().map(|entry| &**entry)) {
            Ok(automaton) => Ok(BadWords {
                automaton,
                is_separated: !UNSEPARATED.contains(&language),
            }),
            Err(source) => Err(TooLarge {
                entries: entries.len(),
                source,
            }),
        }
    }

    /// The number of places of `text` that have an entry. Two entries that end at the same place
    /// count twice.
    ///
    /// ```
    /// use curate_scorers::rules::bad_words::BadWords;
    /// let list = BadWords::new("darn\nheck of a\n", "en")?;
    /// assert_eq!(list.count("Darn! A heck of a day; darned."), 2);
    /// # Ok::<(), curate_scorers::rules::bad_words::TooLarge>(())
    /// ```
    pub fn count(&self, text: &str) -> u32 {
        let lower = python::lower(text);
        let as_written = self.count_lower(&lower);
        match composed(&lower) {
            Cow::Borrowed(_) => as_written,
            Cow::Owned(text) => as_written.max(self.count_lower(&text)),
        }
    }

    /// The number of places of a lower-cased text that have an entry.
    fn count_lower(&self, lower: &str) -> u32 {
        self.automaton
            .find_overlapping_iter(lower)
            .filter(|place| {
                !self.is_separated
                    || !lower[..place.start()].ends_with(python::is_word_char)
                        && !lower[place.end()..].starts_with(python::is_word_char)
            })
            .count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_flanked() {
        let list =
            BadWords::new("ass\n  2g1c  \n\ntwo words\r\né\nCapital\na.b\n", "en").expect("small");
        assert_eq!(list.count(""), 0);
        assert_eq!(list.count("ass"), 1);
        assert_eq!(list.count("ASS\n"), 1);
        assert_eq!(list.count("ass ass"), 2);
        assert_eq!(list.count("pass asset _ass ass2 assé"), 0);
        // A combining mark and an emoji are no word characters.
        assert_eq!(list.count("ass\u{301} 😀ass😀 «ass»"), 3);
        assert_eq!(list.count("two  words"), 0);
        assert_eq!(list.count("two\u{a0}words"), 0);
        assert_eq!(list.count("(Two Words)"), 1);
        assert_eq!(list.count("É"), 1);
        assert_eq!(list.count("Capital capital"), 0);
        assert_eq!(list.count("axb"), 0);
        assert_eq!(list.count("a.b 2g1c"), 2);
        let nested = BadWords::new("words\ntwo words\nwords more\n", "en").expect("small");
        assert_eq!(nested.count("two words more"), 3);
        assert_eq!(list.count(&"x".repeat(1 << 20)), 0);
    }

    #[test]
    fn languages_without_spaces_have_no_flanks() {
        let file = "ばか\nグロ\nsm\n性\nx\n";
        let separated = BadWords::new(file, "en").expect("small");
        let unseparated = BadWords::new(file, "ja").expect("small");
        assert_eq!(unseparated.count("大ばか者、グロ sm 性"), 1);
        assert_eq!(separated.count("大ばか者"), 0);
        assert_eq!(separated.count("「ばか」"), 1);
        assert_eq!(unseparated.count("axxb"), 2);
    }

    #[test]
    fn an_accent_matches_in_both_spellings() {
        for entry in ["m\u{fc}nze", "mu\u{308}nze"] {
            let list = BadWords::new(entry, "de").expect("small");
            assert_eq!(list.count("M\u{fc}nze, mu\u{308}nze"), 2, "{entry}");
            assert_eq!(list.count("Munze, mu\u{308}nzen"), 0, "{entry}");
        }
        // One of the entries that are never searched, in its other spelling.
        let list = BadWords::new("ク\u{3099}ロ", "ja").expect("small");
        assert_eq!(list.count("グロ, ク\u{3099}ロ"), 0);
    }

    #[test]
    fn an_empty_list_finds_nothing() {
        let list = BadWords::new("\n \n", "en").expect("small");
        assert_eq!(list.count("text"), 0);
    }
}
