//! The values behind Gopher's quality rules (Rae et al. 2021, arXiv:2112.11446, appendix A1).
//!
//! They are computed as in datatrove 0.10: lengths in code points, symbols counted per word of any kind, mean word length
//! over words that are not symbols, bullets and ellipses per `str.splitlines()` line, blank lines included. Departs in two
//! points: the words are those of [`crate::words`], not spaCy's, and where datatrove divides by zero the value is 0.
//! Cost: two passes over the text and one over the words.

use crate::punctuation::PUNCTUATION_SET;
use crate::python;

/// Two of these in a document are a sign of English prose. They are compared as they are: `The` is not one.
pub const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

/// What Gopher's quality rules look at. All ratios are 0 where there is nothing to divide by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GopherQuality {
    /// Words, punctuation included.
    pub n_words: u32,
    /// Words with at least one character outside the punctuation set.
    pub n_nonsymbol_words: u32,
    /// Mean length of the non-symbol words, in code points.
    pub avg_word_len: f64,
    /// `#` characters per word.
    pub hash_word_ratio: f64,
    /// `...` and `…` per word; six dots are two.
    pub ellipsis_word_ratio: f64,
    /// Share of lines that start with `•` or `-` after white space.
    pub bullet_line_ratio: f64,
    /// Share of lines that end with `...` or `…` before white space.
    pub ellipsis_line_ratio: f64,
    /// Share of words with at least one letter.
    pub alpha_word_ratio: f64,
    /// How many of the [`STOP_WORDS`] occur.
    pub n_stop_words: u32,
}

/// The values of `text`, of which `words` are the words.
pub fn gopher_quality(text: &str, words: &[&str]) -> GopherQuality {
    let (hashes, ellipses) = count_symbols(text);
    let of_words = WordCounts::new(words);
    let of_lines = LineCounts::new(text);
    let n_words = words.len() as u32;
    GopherQuality {
        n_words,
        n_nonsymbol_words: of_words.nonsymbol,
        avg_word_len: ratio(of_words.nonsymbol_chars, of_words.nonsymbol),
        hash_word_ratio: ratio(hashes, n_words),
        ellipsis_word_ratio: ratio(ellipses, n_words),
        bullet_line_ratio: ratio(of_lines.bullets, of_lines.lines),
        ellipsis_line_ratio: ratio(of_lines.ellipses, of_lines.lines),
        alpha_word_ratio: ratio(of_words.alpha, n_words),
        n_stop_words: of_words.stop_words_seen.count_ones(),
    }
}

fn ratio(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}

/// How many `#`, and how many `...` or `…`.
fn count_symbols(text: &str) -> (u32, u32) {
    let bytes = text.as_bytes();
    let (mut hashes, mut ellipses, mut dots) = (0, 0, 0);
    for (i, &byte) in bytes.iter().enumerate() {
        dots = if byte == b'.' { dots + 1 } else { 0 };
        hashes += u32::from(byte == b'#');
        if dots == 3 {
            ellipses += 1;
            dots = 0;
        }
        if byte == 0xe2 && bytes[i + 1] == 0x80 && bytes[i + 2] == 0xa6 {
            ellipses += 1;
        }
    }
    (hashes, ellipses)
}

#[derive(Default)]
struct WordCounts {
    nonsymbol: u32,
    nonsymbol_chars: u32,
    alpha: u32,
    stop_words_seen: u8,
}

impl WordCounts {
    fn new(words: &[&str]) -> WordCounts {
        let mut counts = WordCounts::default();
        for &word in words {
            let is_symbol = word.chars().all(is_punctuation);
            if !is_symbol {
                counts.nonsymbol += 1;
                counts.nonsymbol_chars += chars(word);
            }
            counts.alpha += u32::from(word.chars().any(python::is_alpha));
            if word.len() <= 4 {
                let stop_word = STOP_WORDS.iter().position(|&stop_word| stop_word == word);
                counts.stop_words_seen |= stop_word.map_or(0, |i| 1 << i);
            }
        }
        counts
    }
}

fn chars(word: &str) -> u32 {
    (if word.is_ascii() { word.len() } else { word.chars().count() }) as u32
}

const ASCII_PUNCTUATION: u128 = {
    let mut bits = 0;
    let mut i = 0;
    while (PUNCTUATION_SET[i] as u32) < 128 {
        bits |= 1 << PUNCTUATION_SET[i] as u32;
        i += 1;
    }
    bits
};

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { ASCII_PUNCTUATION >> c as u32 & 1 == 1 } else { PUNCTUATION_SET.binary_search(&c).is_ok() }
}

#[derive(Default)]
struct LineCounts {
    lines: u32,
    bullets: u32,
    ellipses: u32,
}

impl LineCounts {
    fn new(text: &str) -> LineCounts {
        let mut counts = LineCounts::default();
        for line in python::splitlines(text) {
            let start = line.trim_start_matches(python::is_space);
            let end = line.trim_end_matches(python::is_space);
            counts.lines += 1;
            counts.bullets += u32::from(start.starts_with(['•', '-']));
            counts.ellipses += u32::from(end.ends_with("...") || end.ends_with('…'));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::words;

    fn quality(text: &str) -> GopherQuality {
        let mut out = Vec::new();
        words(text, &mut out);
        gopher_quality(text, &out)
    }

    #[test]
    fn nothing_gives_zeros() {
        let zero = GopherQuality {
            n_words: 0,
            n_nonsymbol_words: 0,
            avg_word_len: 0.0,
            hash_word_ratio: 0.0,
            ellipsis_word_ratio: 0.0,
            bullet_line_ratio: 0.0,
            ellipsis_line_ratio: 0.0,
            alpha_word_ratio: 0.0,
            n_stop_words: 0,
        };
        for text in ["", " \t\n\u{3000}\r\n"] {
            assert_eq!(quality(text), zero);
        }
    }

    #[test]
    fn words_are_counted_by_kind() {
        let q = quality("The cat, the dog; café שלום 42 … • 😀!");
        // The cat , the dog ; café שלום 42 … • 😀 !
        assert_eq!((q.n_words, q.n_nonsymbol_words, q.n_stop_words), (13, 9, 1));
        assert_eq!(q.avg_word_len, f64::from(3 + 3 + 3 + 3 + 4 + 4 + 2 + 1 + 1) / 9.0);
        assert_eq!(q.alpha_word_ratio, 6.0 / 13.0);
        // A combining mark is a code point of its word, and no letter.
        assert_eq!(quality("cafe\u{301}").avg_word_len, 5.0);
        assert_eq!(quality("to be, to be, and to have").n_stop_words, 4);
    }

    #[test]
    fn symbols_are_counted_in_the_text() {
        // one ...... two # # three
        let words = ["one", "......", "two", "##", "three…"];
        let q = gopher_quality("one ...... two ## three….. ...", &words);
        assert_eq!((q.hash_word_ratio, q.ellipsis_word_ratio), (2.0 / 5.0, 4.0 / 5.0));
        assert_eq!(gopher_quality(".... ..", &["...."]).ellipsis_word_ratio, 1.0);
    }

    #[test]
    fn lines_are_those_of_splitlines() {
        let q = quality(" \u{a0}• a\r\n- b...\u{2028}* c… \u{b}\nd..");
        // "•", "-", "*", "", "d..": the blank line between \v and \n counts.
        assert_eq!((q.bullet_line_ratio, q.ellipsis_line_ratio), (2.0 / 5.0, 2.0 / 5.0));
    }

    #[test]
    fn one_line_of_a_megabyte() {
        let q = quality(&"x".repeat(1 << 20));
        assert_eq!((q.n_words, q.avg_word_len), (1, f64::from(1 << 20)));
    }
}
