//! The values behind FineWeb's own quality rules (Penedo et al. 2024, arXiv:2406.17557, section
//! 3.6).
//!
//! There are two versions, because datatrove changed its filter's counts on 2024-12-06.
//!
//! The plain names are values of `FineWebQualityFilter` of datatrove 0.10. Lines lie between line
//! feeds, and blank lines do not count. Lines are not stripped, so a space or `\r` after the full
//! stop is the end of the line. The terminal marks are those of any script, but quotes are not
//! among them.
//!
//! The names with `v1` are values of datatrove 0.2, from the time of FineWeb's first release. Blank
//! lines count in the first two ratios, and the marks are `.`, `'`, `"`, `!` and `?`.
//!
//! Version 0.10 drops a document below 0.12 for lines with a mark, and above 0.67, 0.01 and 0.3 for
//! the other ratios. Version 0.2 also drops a document if a value equals one of the first three
//! limits, but not if it equals the last.
//!
//! Departs in one point: where datatrove divides by zero, the value is 0. Duplicates are found by
//! 64-bit hashes. Among m different lines, two collide with a probability of m²/2⁶⁵, which is 3e-9
//! for 300,000 lines. Cost: linear, about two passes over the text.

use memchr::memchr_iter;
use xxhash_rust::xxh3::xxh3_64;

use crate::hash_index::HashIndex;
use crate::python;
use crate::rules::punctuation::TERMINAL_PUNCTUATION;

/// A line of at most this many characters is short.
pub const SHORT_LINE_CHARS: usize = 30;

/// The values of FineWeb's rules. A ratio is 0 if its divisor is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FineWeb {
    /// Lines that are not blank. datatrove drops a document without such a line as `empty`.
    pub n_nonblank_lines: u32,
    /// Share of lines that end in a terminal mark, among lines that are not blank.
    pub line_punct_ratio: f64,
    /// Share of lines with at most [`SHORT_LINE_CHARS`] characters, among lines that are not blank.
    pub short_line_ratio: f64,
    /// Share of characters in lines that repeat an earlier one, among all characters but line
    /// feeds. Blank lines repeat nothing. The value is the same in datatrove 0.2.
    pub char_dup_ratio: f64,
    /// Line feeds per word. Punctuation marks count as words. The value is the same in datatrove
    /// 0.2, except for the difference of its words.
    pub list_ratio: f64,
    /// Share of lines, blank ones included, that end in `.`, `'`, `"`, `!` or `?`.
    pub v1_line_punct_ratio: f64,
    /// Share of lines, blank ones included, with at most [`SHORT_LINE_CHARS`] characters.
    pub v1_short_line_ratio: f64,
}

super::values!(
    FineWeb,
    n_nonblank_lines,
    line_punct_ratio,
    short_line_ratio,
    char_dup_ratio,
    list_ratio,
    v1_line_punct_ratio,
    v1_short_line_ratio,
);

/// Memory that [`fineweb`] keeps from one text to the next.
#[derive(Default)]
pub struct LinesScratch {
    index: HashIndex,
}

/// The values of `text`, which has `n_words` words, punctuation marks included.
pub fn fineweb(text: &str, n_words: u32, scratch: &mut LinesScratch) -> FineWeb {
    let line_feeds = memchr_iter(b'\n', text.as_bytes()).count();
    // The index cannot grow, so it gets room for all lines.
    scratch.index.start(line_feeds + 1);

    let mut counts = Counts::default();
    let mut start = 0;
    for end in memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
        counts.add(&text[start..end], &mut scratch.index);
        start = end + 1;
    }

    // As in `str.split`, a text has one line more than line feeds.
    let (lines, nonblank) = (line_feeds + 1, counts.nonblank);
    FineWeb {
        n_nonblank_lines: nonblank as u32,
        line_punct_ratio: ratio(counts.ended, nonblank),
        short_line_ratio: ratio(counts.short, nonblank),
        char_dup_ratio: ratio(counts.duplicate_chars, text.chars().count() - line_feeds),
        list_ratio: ratio(line_feeds, n_words as usize),
        v1_line_punct_ratio: ratio(counts.ended_v1, lines),
        v1_short_line_ratio: ratio(counts.short + counts.short_blank, lines),
    }
}

/// `part / whole`; 0 if `whole` is 0.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Numbers of lines by kind.
#[derive(Default)]
struct Counts {
    nonblank: usize,
    /// Lines that end in a terminal mark of version 0.10.
    ended: usize,
    /// Lines that end in a mark of version 0.2.
    ended_v1: usize,
    /// Short lines that are not blank.
    short: usize,
    /// Short lines that are blank.
    short_blank: usize,
    /// Characters of lines that repeat an earlier one.
    duplicate_chars: usize,
}

impl Counts {
    /// Counts one line, without its line feed.
    fn add(&mut self, line: &str, index: &mut HashIndex) {
        let is_short = is_short(line);

        // Of a blank line, only the length counts, and only in version 0.2.
        if line.chars().all(python::is_space) {
            self.short_blank += usize::from(is_short);
            return;
        }

        self.nonblank += 1;
        self.short += usize::from(is_short);
        self.ended += usize::from(line.chars().next_back().is_some_and(is_terminal));
        self.ended_v1 += usize::from(line.ends_with(['.', '\'', '"', '!', '?']));
        if !index.insert(xxh3_64(line.as_bytes())).1 {
            self.duplicate_chars += line.chars().count();
        }
    }
}

/// True if `line` has at most [`SHORT_LINE_CHARS`] characters.
fn is_short(line: &str) -> bool {
    // A character has one to four bytes, so that few lines need a count.
    line.len() <= SHORT_LINE_CHARS
        || line.len() <= 4 * SHORT_LINE_CHARS && line.chars().count() <= SHORT_LINE_CHARS
}

/// True if `c` is a terminal mark of version 0.10.
fn is_terminal(c: char) -> bool {
    if c.is_ascii() {
        matches!(c, '.' | '?' | '!')
    } else {
        TERMINAL_PUNCTUATION.binary_search(&c).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine(text: &str) -> FineWeb {
        fineweb(
            text,
            text.split_whitespace().count() as u32,
            &mut LinesScratch::default(),
        )
    }

    #[test]
    fn nothing_gives_zeros() {
        // Version 0.2 counts the one empty line, which is short.
        let empty = FineWeb {
            v1_short_line_ratio: 1.0,
            ..FineWeb::default()
        };
        assert_eq!(fine(""), empty);
        assert_eq!(fine(" \t\u{3000}\r"), empty);
        assert_eq!(fine("\n \n"), empty);
    }

    #[test]
    fn lines_end_in_a_mark() {
        for (line, is_ended, is_ended_v1) in [
            ("word", false, false),
            ("word.", true, true),
            ("word!", true, true),
            ("word?", true, true),
            ("word'", false, true),
            ("word\"", false, true),
            ("word…", false, false),
            ("word”", false, false),
            ("word。", true, false),
            ("کیا؟", true, false),
            ("שלום׃", false, false),
            ("word. ", false, false),
            ("word.\r", false, false),
            ("word.\u{a0}", false, false),
            ("😀", false, false),
        ] {
            let values = fine(line);
            assert_eq!(
                (values.line_punct_ratio, values.v1_line_punct_ratio),
                (f64::from(is_ended), f64::from(is_ended_v1))
            );
        }
        let values = fine("a.\n\n \nb\n");
        assert_eq!(
            (
                values.n_nonblank_lines,
                values.line_punct_ratio,
                values.v1_line_punct_ratio
            ),
            (2, 0.5, 0.2)
        );
    }

    #[test]
    fn lines_of_thirty_characters_are_short() {
        for (line, is_short) in [
            ("x".repeat(30), 1.0),
            ("x".repeat(31), 0.0),
            ("😀".repeat(30), 1.0),
            ("é".repeat(31), 0.0),
        ] {
            assert_eq!(
                (
                    fine(&line).short_line_ratio,
                    fine(&line).v1_short_line_ratio
                ),
                (is_short, is_short)
            );
        }
        // Not stripped: the line feed ends it, the rest counts.
        assert_eq!(
            fine(&("x".repeat(30) + "\r\n" + &"y".repeat(40))).short_line_ratio,
            0.0
        );
        // A blank line of 31 spaces is neither short in version 0.2 nor a line in 0.10.
        let values = fine(&["x".repeat(31), String::new(), " ".repeat(31), "y".into()].join("\n"));
        assert_eq!(
            (values.short_line_ratio, values.v1_short_line_ratio),
            (0.5, 0.5)
        );
    }

    #[test]
    fn repeated_lines_count_by_characters() {
        let values = fine("é😀\nab\né😀\n\n\n \n \nab \né😀");
        // Without line feeds 2 + 2 + 2 + 1 + 1 + 3 + 2; blank lines repeat nothing, "ab " is no
        // "ab".
        assert_eq!(
            (values.char_dup_ratio, values.n_nonblank_lines),
            (4.0 / 13.0, 5)
        );
        assert_eq!(fine("a\u{2028}a\ra").char_dup_ratio, 0.0);
    }

    #[test]
    fn line_feeds_per_word() {
        assert_eq!(fine("one two\n\nthree four\n").list_ratio, 3.0 / 4.0);
        assert_eq!(fine("one\r\u{2028}two").list_ratio, 0.0);
        assert_eq!(
            fineweb("\n", 0, &mut LinesScratch::default()).list_ratio,
            0.0
        );
    }

    #[test]
    fn one_line_of_a_megabyte() {
        let values = fine(&"x".repeat(1 << 20));
        assert_eq!(
            (
                values.n_nonblank_lines,
                values.short_line_ratio,
                values.char_dup_ratio
            ),
            (1, 0.0, 0.0)
        );
    }
}
