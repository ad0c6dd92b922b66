//! The paragraphs or lines of a text, as spans that can be cut out of it, each with a hash of its
//! content.
//!
//! A line ends with its line feed. A paragraph is a run of lines that are not blank, together with
//! the blank lines behind it. A blank line shows nothing, see [`is_blank`]. White space at the ends
//! of a unit is no part of its content, and neither are the blank lines behind it.

use std::ops::Range;

use memchr::memchr;
use xxhash_rust::xxh3::xxh3_64;

use crate::unseen::is_blank;

/// The kind of units that a text is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Runs of lines between blank lines.
    Paragraph,
    /// Single lines.
    Line,
}

/// A paragraph or line of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The bytes of the unit, with the line feeds and blank lines that separate it from the next
    /// unit.
    pub range: Range<usize>,
    /// xxh3-64 of the unit without the blank lines behind it and without white space at its ends.
    /// Among 10^8 different units, the probability that any two share a hash is 3e-4.
    pub hash: u64,
}

/// The units of `text` that have at least `min_len` code points, in order. White space at the ends
/// of a unit is not counted, and neither are the blank lines behind it. Each unit shows something.
///
/// ```
/// use curate_scorers::paragraphs::{Unit, spans};
///
/// let text = "One line\nand another\n\nOne line\n";
/// let lines: Vec<_> = spans(text, Unit::Line, 1).collect();
/// assert_eq!((lines.len(), lines[0].hash == lines[2].hash), (3, true));
/// assert_eq!(&text[spans(text, Unit::Paragraph, 1).next().unwrap().range], "One line\nand another\n\n");
/// ```
pub fn spans(text: &str, unit: Unit, min_len: usize) -> impl Iterator<Item = Span> {
    let mut at = 0;
    let units = std::iter::from_fn(move || {
        // Blank lines here belong to no unit: all of them if units are lines, and only those at the
        // start of the text if units are paragraphs.
        while at < text.len() && is_blank(&text[at..line_end(text, at)]) {
            at = line_end(text, at);
        }

        let start = at;
        if start == text.len() {
            return None;
        }

        at = line_end(text, at);
        let is_paragraph = unit == Unit::Paragraph;
        while is_paragraph && at < text.len() && !is_blank(&text[at..line_end(text, at)]) {
            at = line_end(text, at);
        }

        // The blank lines may hold characters that `trim` does not know.
        let end = at;
        while is_paragraph && at < text.len() && is_blank(&text[at..line_end(text, at)]) {
            at = line_end(text, at);
        }
        Some((start..at, end))
    });

    units.filter_map(move |(range, end)| {
        let held = text[range.start..end].trim();
        // Counting stops at `min_len`, so the rest of a long unit is not decoded.
        let is_long = held.chars().take(min_len).count() == min_len;
        is_long.then(|| Span {
            range,
            hash: xxh3_64(held.as_bytes()),
        })
    })
}

/// The end of the line that starts at `at`, behind its line feed.
fn line_end(text: &str, at: usize) -> usize {
    memchr(b'\n', &text.as_bytes()[at..]).map_or(text.len(), |line| at + line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, unit: Unit, min_len: usize) -> Vec<&str> {
        spans(text, unit, min_len)
            .map(|span| &text[span.range])
            .collect()
    }

    #[test]
    fn units_hold_what_separates_them() {
        let text = "\n \nA first\r\nparagraph.\n\t\n\nA second.\n\n\n";
        assert_eq!(
            units(text, Unit::Paragraph, 1),
            ["A first\r\nparagraph.\n\t\n\n", "A second.\n\n\n"]
        );
        assert_eq!(
            units(text, Unit::Line, 1),
            ["A first\r\n", "paragraph.\n", "A second.\n"]
        );

        for empty in ["", "\n", " \n\u{3000}\n", "\u{200b}\u{2800}\n"] {
            assert_eq!(units(empty, Unit::Line, 0), [""; 0]);
            assert_eq!(units(empty, Unit::Paragraph, 0), [""; 0]);
        }
    }

    #[test]
    fn short_ones_are_passed_over_and_ends_do_not_count() {
        assert_eq!(units("äöü\n12\nlonger", Unit::Line, 3), ["äöü\n", "longer"]);
        let hashes = |text: &str| {
            spans(text, Unit::Paragraph, 1)
                .map(|span| span.hash)
                .collect::<Vec<_>>()
        };

        assert_eq!(hashes("  same text \r\n\n"), hashes("same text"));
        assert_ne!(hashes("same text"), hashes("same  text"));
    }

    #[test]
    fn a_line_that_shows_nothing_is_blank() {
        let text = "\u{200b}\nA first.\n\u{feff} \n\u{2800}\nA second.\n\u{ad}\n";
        assert_eq!(
            units(text, Unit::Paragraph, 1),
            ["A first.\n\u{feff} \n\u{2800}\n", "A second.\n\u{ad}\n"]
        );
        assert_eq!(units(text, Unit::Line, 1), ["A first.\n", "A second.\n"]);

        // Such lines behind a paragraph are no part of its content.
        let hash = |text: &str| spans(text, Unit::Paragraph, 1).next().map(|span| span.hash);
        assert_eq!(hash("A first.\n\u{200b}\n \n"), hash("A first."));
        assert_eq!(
            units("ab\n\u{200b}\n\u{200b}\n", Unit::Paragraph, 3),
            [""; 0]
        );
    }

    #[test]
    fn all_text_is_in_one_unit_but_leading_blank_lines() {
        for unit in [Unit::Paragraph, Unit::Line] {
            let text = "a\n\nb\nc\n\n\nd";
            let whole: String = units(text, unit, 0).concat();
            let expected = if unit == Unit::Paragraph {
                text.to_owned()
            } else {
                text.replace("\n\n\n", "\n").replace("\n\n", "\n")
            };

            assert_eq!(whole, expected);
        }
    }
}
