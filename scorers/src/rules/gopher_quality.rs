//! The values behind Gopher's quality rules (Rae et al. 2021, arXiv:2112.11446, appendix A1).
//!
//! They are computed as in datatrove 0.10. Lengths are in code points. Symbols are counted per word
//! of any kind. The mean word length is over words that are not symbols. Bullets and ellipses are
//! counted per `str.splitlines()` line, blank lines included.
//!
//! Departs in two points. The words are those of [`crate::words`], which are spaCy's only in
//! English. Where datatrove divides by zero, the value is 0. Cost: a few passes over the text at
//! the speed of `memchr`, and one pass over the words.

use memchr::{memchr_iter, memmem};

use crate::hash_index::{HIGH_BITS, first_block, keep};
use crate::python;
use crate::python::lines::for_each_line;
use crate::rules::punctuation::PUNCTUATION_SET;

/// Two of these words in a document are a sign of English prose. Case counts: `The` is not a stop
/// word.
pub const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

/// The values of Gopher's quality rules. A ratio or mean is 0 if its divisor is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GopherQuality {
    /// Words of the text, punctuation marks included.
    pub n_words: u32,
    /// Words with at least one character outside the punctuation set.
    pub n_nonsymbol_words: u32,
    /// Mean length of the non-symbol words, in code points.
    pub avg_word_len: f64,
    /// `#` characters per word.
    pub hash_word_ratio: f64,
    /// `...` and `…` per word. Six dots are two ellipses.
    pub ellipsis_word_ratio: f64,
    /// Share of lines that start with `•` or `-`, white space before the mark aside.
    pub bullet_line_ratio: f64,
    /// Share of lines that end with `...` or `…`, white space after the mark aside.
    pub ellipsis_line_ratio: f64,
    /// Share of words with at least one letter.
    pub alpha_word_ratio: f64,
    /// The number of different [`STOP_WORDS`] that occur, 0 to 8.
    pub n_stop_words: u32,
}

super::values!(
    GopherQuality,
    n_words,
    n_nonsymbol_words,
    avg_word_len,
    hash_word_ratio,
    ellipsis_word_ratio,
    bullet_line_ratio,
    ellipsis_line_ratio,
    alpha_word_ratio,
    n_stop_words,
);

/// The values of `text`. `words` are the words of `text`. The function is fastest if they are
/// subslices of `text`.
pub fn gopher_quality(text: &str, words: &[&str]) -> GopherQuality {
    let (hashes, ellipses) = count_symbols(text);
    let of_words = WordCounts::new(text, words);
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
        n_stop_words: of_words.stop_words_seen.iter().sum(),
    }
}

/// `part / whole`; 0 if `whole` is 0.
fn ratio(part: u32, whole: u32) -> f64 {
    if whole == 0 {
        0.0
    } else {
        f64::from(part) / f64::from(whole)
    }
}

/// The number of `#`, and the number of `...` and `…`.
fn count_symbols(text: &str) -> (u32, u32) {
    let bytes = text.as_bytes();
    let ellipses = memmem::find_iter(bytes, "...").count() + memmem::find_iter(bytes, "…").count();
    (memchr_iter(b'#', bytes).count() as u32, ellipses as u32)
}

/// Numbers of words by kind.
#[derive(Default)]
struct WordCounts {
    /// Words with a character outside the punctuation set.
    nonsymbol: u32,
    /// Characters of these words.
    nonsymbol_chars: u32,
    /// Words with a letter.
    alpha: u32,
    /// 1 for each of the [`STOP_WORDS`] that occurs, else 0.
    stop_words_seen: [u32; 8],
}

impl WordCounts {
    /// Counts the words of `text`.
    fn new(text: &str, words: &[&str]) -> WordCounts {
        let mut counts = WordCounts::default();

        for &word in words {
            // One load of eight bytes tells for most words that they are ASCII.
            let block = keep(first_block(text, word.as_bytes()), word.len());
            let is_ascii = block & HIGH_BITS == 0 && (word.len() <= 8 || word.is_ascii());
            let (classes, chars) = if is_ascii {
                (ascii_classes(word), word.len())
            } else {
                (
                    word.chars().fold(0, |classes, c| classes | classes_of(c)),
                    word.chars().count(),
                )
            };

            counts.alpha += u32::from(classes & ALPHA != 0);
            if classes & NONSYMBOL != 0 {
                counts.nonsymbol += 1;
                counts.nonsymbol_chars += chars as u32;
            }

            // Bytes behind the word become FF, as in `STOP_BLOCKS`. No stop word is 0.
            let candidate = if word.len() <= 4 {
                !keep(!block, word.len()) as u32
            } else {
                0
            };
            // All eight are compared, so that the loop has no branch.
            for (seen, stop_word) in counts.stop_words_seen.iter_mut().zip(STOP_BLOCKS) {
                *seen |= u32::from(candidate == stop_word);
            }
        }

        counts
    }
}

/// The bytes of each stop word in little-endian order, filled up with FF, which no UTF-8 has.
const STOP_BLOCKS: [u32; 8] = {
    let mut blocks = [u32::MAX; 8];
    let mut i = 0;
    while i < blocks.len() {
        let word = STOP_WORDS[i].as_bytes();
        let mut k = word.len();
        while k > 0 {
            k -= 1;
            blocks[i] = blocks[i] << 8 | word[k] as u32;
        }
        i += 1;
    }
    blocks
};

/// The class of characters outside the punctuation set.
const NONSYMBOL: u8 = 1;
/// The class of letters.
const ALPHA: u8 = 2;

/// The classes of `c`, as a mask.
fn classes_of(c: char) -> u8 {
    let nonsymbol = if is_punctuation(c) { 0 } else { NONSYMBOL };
    nonsymbol | if python::is_alpha(c) { ALPHA } else { 0 }
}

/// The classes of each ASCII character.
static ASCII_CLASSES: [u8; 128] = {
    let mut classes = [0; 128];
    let mut c = 0;
    while c < 128 {
        let nonsymbol = if ASCII_PUNCTUATION >> c & 1 == 1 {
            0
        } else {
            NONSYMBOL
        };
        classes[c] = nonsymbol
            | if (c as u8).is_ascii_alphabetic() {
                ALPHA
            } else {
                0
            };
        c += 1;
    }
    classes
};

/// The classes that occur among the characters of an ASCII word.
#[inline]
fn ascii_classes(word: &str) -> u8 {
    let mut classes = 0;
    for byte in word.bytes() {
        // The first character of most words is a letter, which has both classes.
        classes |= ASCII_CLASSES[usize::from(byte & 0x7f)];
        if classes == NONSYMBOL | ALPHA {
            break;
        }
    }
    classes
}

/// The ASCII part of the punctuation set: bit n stands for character n.
const ASCII_PUNCTUATION: u128 = {
    let mut bits = 0;
    let mut i = 0;
    // The set is sorted and goes beyond ASCII, so the loop ends inside of it.
    while (PUNCTUATION_SET[i] as u32) < 128 {
        bits |= 1 << PUNCTUATION_SET[i] as u32;
        i += 1;
    }
    bits
};

/// True if `c` is in the punctuation set.
fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        ASCII_PUNCTUATION >> c as u32 & 1 == 1
    } else {
        PUNCTUATION_SET.binary_search(&c).is_ok()
    }
}

/// Numbers of lines by kind.
#[derive(Default)]
struct LineCounts {
    lines: u32,
    /// Lines that start with a bullet.
    bullets: u32,
    /// Lines that end with an ellipsis.
    ellipses: u32,
}

impl LineCounts {
    /// Counts the lines of `text`.
    fn new(text: &str) -> LineCounts {
        let mut counts = LineCounts::default();

        for_each_line(text, |line| {
            let start = line.trim_start_matches(python::is_space);
            let end = line.trim_end_matches(python::is_space);

            counts.lines += 1;
            counts.bullets += u32::from(start.starts_with(['•', '-']));
            counts.ellipses += u32::from(end.ends_with("...") || end.ends_with('…'));
        });

        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::uax29::words;

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
        assert_eq!(
            q.avg_word_len,
            f64::from(3 + 3 + 3 + 3 + 4 + 4 + 2 + 1 + 1) / 9.0
        );
        assert_eq!(q.alpha_word_ratio, 6.0 / 13.0);
        // A combining mark is a code point of its word, and no letter.
        assert_eq!(quality("cafe\u{301}").avg_word_len, 5.0);
        assert_eq!(quality("to be, to be, and to have").n_stop_words, 4);
    }

    #[test]
    fn stop_words_are_whole_words() {
        for text in ["the", "be", "to", "of", "and", "that", "have", "with"] {
            assert_eq!(gopher_quality(text, &[text]).n_stop_words, 1, "{text}");
            assert_eq!(
                gopher_quality(&format!("{text}…………"), &[text]).n_stop_words,
                1,
                "{text}"
            );
        }
        for word in [
            "The", "th", "thee", "be\0", "be\0\0", "thatthat", "withe", "\0", "",
        ] {
            assert_eq!(gopher_quality("", &[word]).n_stop_words, 0, "{word:?}");
            assert_eq!(gopher_quality(word, &[word]).n_stop_words, 0, "{word:?}");
        }
    }

    #[test]
    fn symbols_are_counted_in_the_text() {
        // one ...... two # # three
        let words = ["one", "......", "two", "##", "three…"];
        let q = gopher_quality("one ...... two ## three….. ...", &words);
        assert_eq!(
            (q.hash_word_ratio, q.ellipsis_word_ratio),
            (2.0 / 5.0, 4.0 / 5.0)
        );
        assert_eq!(
            gopher_quality(".... ..", &["...."]).ellipsis_word_ratio,
            1.0
        );
    }

    #[test]
    fn lines_are_those_of_splitlines() {
        let q = quality(" \u{a0}• a\r\n- b...\u{2028}* c… \u{b}\nd..");
        // "•", "-", "*", "", "d..": the blank line between \v and \n counts.
        assert_eq!(
            (q.bullet_line_ratio, q.ellipsis_line_ratio),
            (2.0 / 5.0, 2.0 / 5.0)
        );
    }

    #[test]
    fn one_line_of_a_megabyte() {
        let q = quality(&"x".repeat(1 << 20));
        assert_eq!((q.n_words, q.avg_word_len), (1, f64::from(1 << 20)));
    }
}
