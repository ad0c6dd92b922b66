//! C4's rule about bad words (Raffel et al. 2020, JMLR 21:140, section 2.2), with a list of the
//! user's.
//!
//! As `C4BadWordsFilter` of datatrove 0.10, whose list is LDNOOBW (<https://github.com/LDNOOBW>):
//! entries are looked for in the lower-cased text and must be flanked by its start, its end or
//! something that is no `\w`; in Japanese, Thai and Chinese they may be anywhere, and a few entries
//! that are parts of common words do not count (in any language, as in the reference). Entries are
//! taken as they are written: one with a capital never matches, which is the reference's behaviour
//! too. Departs in two points: blank lines of the list are no entries (the reference's expression
//! would match nearly all texts), and matches are counted, all of them, where the reference looks
//! for one. At least one here is one there.
//!
//! Cost: one pass over the lower-cased text, and one step per entry that ends at the same place.

use aho_corasick::{AhoCorasick, BuildError};

use crate::python;

/// Entries that are parts of common words in languages without spaces.
pub const ALLOWED: [&str; 4] = ["sm", "グロ", "女の子", "性"];

/// Languages in which words are not separated, as ISO 639-1 codes.
pub const UNSEPARATED: [&str; 3] = ["ja", "th", "zh"];

/// A list of bad words, ready to be searched for.
#[derive(Debug, Clone)]
pub struct BadWords {
    automaton: AhoCorasick,
    is_separated: bool,
}

/// When a list is too large to search for: of the order of 2³¹ bytes.
#[derive(Debug, thiserror::Error)]
#[error("cannot search for {entries} bad words: {source}")]
pub struct TooLarge {
    /// How many entries the list has.
    pub entries: usize,
    source: BuildError,
}

impl BadWords {
    /// The list in `file`, one entry a line, for texts in `language`, a code such as `en`.
    ///
    /// # Errors
    ///
    /// If the list is too large.
    pub fn new(file: &str, language: &str) -> Result<BadWords, TooLarge> {
        let lines = file.split(['\n', '\r']).map(python::strip);
        let mut entries: Vec<&str> = lines
            .filter(|line| !line.is_empty() && !ALLOWED.contains(line))
            .collect();
        entries.sort_unstable();
        entries.dedup();
        match AhoCorasick::new(&entries) {
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

    /// How many places of `text` have an entry; two entries that end at the same place count twice.
    ///
    /// ```
    /// use curate_scorers::rules::bad_words::BadWords;
    /// let list = BadWords::new("darn\nheck of a\n", "en")?;
    /// assert_eq!(list.count("Darn! A heck of a day; darned."), 2);
    /// # Ok::<(), curate_scorers::rules::bad_words::TooLarge>(())
    /// ```
    pub fn count(&self, text: &str) -> u32 {
        let lower = python::lower(text);
        let is_flanked = |start: usize, end: usize| {
            !lower[..start].ends_with(python::is_word_char)
                && !lower[end..].starts_with(python::is_word_char)
        };
        let places = self.automaton.find_overlapping_iter(&lower);
        places
            .filter(|place| !self.is_separated || is_flanked(place.start(), place.end()))
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
    fn an_empty_list_finds_nothing() {
        let list = BadWords::new("\n \n", "en").expect("small");
        assert_eq!(list.count("text"), 0);
    }
}
