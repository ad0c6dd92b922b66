//! C4's rule about bad words (Raffel et al. 2020, JMLR 21:140, section 2.2), with a list of the user's.
//!
//! As `C4BadWordsFilter` of datatrove 0.10, whose list is LDNOOBW (<https://github.com/LDNOOBW>): entries are looked for in
//! the lower-cased text and must be flanked by its start, its end or something that is no `\w`; in Japanese, Thai and
//! Chinese they may be anywhere, and a few entries that are parts of common words do not count (in any language, as in the
//! reference). Entries are taken as they are written: one with a capital never matches, which is the reference's behaviour
//! too. Departs in two points: blank lines of the list are no entries (the reference's expression would match nearly all
//! texts), and matches are counted, all of them, where the reference looks for one. At least one here is one there.
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
    entries: Vec<Box<str>>,
    automaton: AhoCorasick,
    is_separated: bool,
}

/// What was found in a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found<'a> {
    /// How many places have an entry; two entries that end at the same place count twice.
    pub n_bad_words: u32,
    /// The entry that ends first; of those that end there, the longest.
    pub first: Option<&'a str>,
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
        let mut entries: Vec<Box<str>> =
            lines.filter(|line| !line.is_empty() && !ALLOWED.contains(line)).map(Box::from).collect();
        entries.sort_unstable();
        entries.dedup();
        match AhoCorasick::new(entries.iter().map(|entry| &**entry)) {
            Ok(automaton) => Ok(BadWords { entries, automaton, is_separated: !UNSEPARATED.contains(&language) }),
            Err(source) => Err(TooLarge { entries: entries.len(), source }),
        }
    }

    /// What is in `text`.
    ///
    /// ```
    /// use curate_scorers::rules::bad_words::BadWords;
    /// let list = BadWords::new("darn\nheck of a\n", "en")?;
    /// let found = list.find("Darn! A heck of a day; darned.");
    /// assert_eq!((found.n_bad_words, found.first), (2, Some("darn")));
    /// # Ok::<(), curate_scorers::rules::bad_words::TooLarge>(())
    /// ```
    pub fn find(&self, text: &str) -> Found<'_> {
        let lower = python::lower(text);
        let mut found = Found::default();
        let is_flanked = |start: usize, end: usize| {
            !lower[..start].ends_with(python::is_word_char) && !lower[end..].starts_with(python::is_word_char)
        };
        for place in self.automaton.find_overlapping_iter(&lower) {
            if !self.is_separated || is_flanked(place.start(), place.end()) {
                found.n_bad_words += 1;
                found.first = found.first.or(Some(&self.entries[place.pattern().as_usize()]));
            }
        }
        found
    }

    /// How many entries the list has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the list has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(list: &'a BadWords, text: &str) -> (u32, Option<&'a str>) {
        let Found { n_bad_words, first } = list.find(text);
        (n_bad_words, first)
    }

    #[test]
    fn entries_are_flanked() {
        let list = BadWords::new("ass\n  2g1c  \n\ntwo words\r\né\nCapital\na.b\n", "en").expect("small");
        assert_eq!((list.len(), list.is_empty()), (6, false));
        assert_eq!(found(&list, ""), (0, None));
        assert_eq!(found(&list, "ass"), (1, Some("ass")));
        assert_eq!(found(&list, "ASS\n"), (1, Some("ass")));
        assert_eq!(found(&list, "ass ass"), (2, Some("ass")));
        assert_eq!(found(&list, "pass asset _ass ass2 assé"), (0, None));
        // A combining mark and an emoji are no word characters.
        assert_eq!(found(&list, "ass\u{301} 😀ass😀 «ass»"), (3, Some("ass")));
        assert_eq!(found(&list, "two  words"), (0, None));
        assert_eq!(found(&list, "two\u{a0}words"), (0, None));
        assert_eq!(found(&list, "(Two Words)"), (1, Some("two words")));
        assert_eq!(found(&list, "É"), (1, Some("é")));
        assert_eq!(found(&list, "Capital capital"), (0, None));
        assert_eq!(found(&list, "axb"), (0, None));
        assert_eq!(found(&list, "a.b 2g1c"), (2, Some("a.b")));
        let nested = BadWords::new("words\ntwo words\nwords more\n", "en").expect("small");
        assert_eq!(found(&nested, "two words more"), (3, Some("two words")));
        assert_eq!(found(&list, &"x".repeat(1 << 20)), (0, None));
    }

    #[test]
    fn languages_without_spaces_have_no_flanks() {
        let file = "ばか\nグロ\nsm\n性\nx\n";
        let separated = BadWords::new(file, "en").expect("small");
        let unseparated = BadWords::new(file, "ja").expect("small");
        assert_eq!(unseparated.len(), 2);
        assert_eq!(found(&unseparated, "大ばか者、グロ sm 性"), (1, Some("ばか")));
        assert_eq!(found(&separated, "大ばか者"), (0, None));
        assert_eq!(found(&separated, "「ばか」"), (1, Some("ばか")));
        assert_eq!(found(&unseparated, "axxb"), (2, Some("x")));
    }

    #[test]
    fn an_empty_list_finds_nothing() {
        let list = BadWords::new("\n \n", "en").expect("small");
        assert_eq!((list.is_empty(), found(&list, "text")), (true, (0, None)));
    }
}
