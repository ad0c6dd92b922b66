//! The values behind FineWeb's own quality rules (Penedo et al. 2024, arXiv:2406.17557, section
//! 3.6).
//!
//! Two versions, since datatrove changed what its filter counts on 2024-12-06. The plain names are
//! `FineWebQualityFilter` of datatrove 0.10: lines between line feeds that are not blank, as they
//! stand (a space or `\r` after the full stop is the line's end), which end in any script's
//! terminal mark, but no quote. The names with `v1` are those of datatrove 0.2, of the time of
//! FineWeb's first release: blank lines count in the first two ratios, and the marks are `.`, `'`,
//! `"`, `!` and `?`. Version 0.10 drops below 0.12 of lines with a mark and above 0.67, 0.01 and
//! 0.3 of the others; 0.2 drops at the first three limits too, but not at the last.
//!
//! Departs in one point: where datatrove divides by zero the value is 0. Duplicates are found by
//! 64-bit hashes: two of m different lines collide with a probability of m²/2⁶⁵, 3e-9 for 300,000.
//! Cost: linear, about two passes over the text.

use memchr::memchr_iter;
use xxhash_rust::xxh3::xxh3_64;

use crate::hash_index::HashIndex;
use crate::python;
use crate::rules::punctuation::TERMINAL_PUNCTUATION;

/// A line of at most this many characters is short.
pub const SHORT_LINE_CHARS: usize = 30;

/// What FineWeb's rules look at. All are 0 where there is nothing to divide by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FineWeb {
    /// Lines that are not blank; datatrove drops a document without one as `empty`.
    pub n_nonblank_lines: u32,
    /// Share of them that end in a terminal mark.
    pub line_punct_ratio: f64,
    /// Share of them with at most [`SHORT_LINE_CHARS`] characters.
    pub short_line_ratio: f64,
    /// Characters of those that repeat an earlier one, of all characters but line feeds. The same
    /// in datatrove 0.2.
    pub char_dup_ratio: f64,
    /// Line feeds per word, punctuation included. The same in datatrove 0.2, but for its words.
    pub list_ratio: f64,
    /// Share of all lines that end in `.`, `'`, `"`, `!` or `?`.
    pub v1_line_punct_ratio: f64,
    /// Share of all lines with at most [`SHORT_LINE_CHARS`] characters.
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

/// The values of `text`, which has `n_words` words.
pub fn fineweb(text: &str, n_words: u32, scratch: &mut LinesScratch) -> FineWeb {
    let line_feeds = memchr_iter(b'\n', text.as_bytes()).count();
    scratch.index.start(line_feeds + 1);
    let mut counts = Counts::default();
    let mut start = 0;
    for end in memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
        counts.add(&text[start..end], &mut scratch.index);
        start = end + 1;
    }
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

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[derive(Default)]
struct Counts {
    nonblank: usize,
    ended: usize,
    ended_v1: usize,
    short: usize,
    short_blank: usize,
    duplicate_chars: usize,
}

impl Counts {
    fn add(&mut self, line: &str, index: &mut HashIndex) {
        let is_short = is_short(line);
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

fn is_short(line: &str) -> bool {
    line.len() <= SHORT_LINE_CHARS
        || line.len() <= 4 * SHORT_LINE_CHARS && line.chars().count() <= SHORT_LINE_CHARS
}

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
