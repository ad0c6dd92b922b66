//! Words by UAX-29 word bounds, with punctuation kept and white space dropped.
//!
//! Among segmentations without a trained tokenizer, this one agrees best with the spaCy words that
//! datatrove uses. On 5,000 technical documents, the verdicts of Gopher quality, Gopher repetition
//! and FineWeb agree for .957, .927 and .988 of the documents.
//!
//! Stretches of ASCII between white space take a byte loop, which gives the same words as the
//! general algorithm (a test compares the two). All other text goes through `unicode-segmentation`
//! (Unicode 17). Cost: one pass. On English technical prose the speed is 245 MB/s, against 57 MB/s
//! for the general algorithm alone.

use unicode_segmentation::UnicodeSegmentation;

use crate::python;

/// The name of this segmentation in stage keys.
pub const WORDS: &str = "uax29";

/// Replaces `out` by the words of `text`, in order. A word is a UAX-29 piece with at least one
/// character that is not white space.
///
/// ```
/// let mut words = Vec::new();
/// curate_scorers::words::uax29::words("Don't panic: 3.14 (π)…", &mut words);
/// assert_eq!(words, ["Don't", "panic", ":", "3.14", "(", "π", ")", "…"]);
/// ```
pub fn words<'a>(text: &'a str, out: &mut Vec<&'a str>) {
    out.clear();
    let bytes = text.as_bytes();

    let mut at = 0;
    while at < bytes.len() {
        let start = at + run(&bytes[at..], is_space);
        let end = start + run(&bytes[start..], |b| b.is_ascii() && !is_space(b));
        if bytes.get(end).is_none_or(u8::is_ascii) {
            ascii_words(&text[start..end], out);
            at = end;
        } else {
            // UAX-29 joins nothing across the ends of this stretch. It starts with ASCII, or with
            // white space that follows ASCII, and it ends after white space that ASCII follows.
            // White space before it is included where a mark may follow, since a mark joins it.
            let from = if start == end { at } else { start };
            let end = safe_end(bytes, end);

            out.extend(
                text[from..end]
                    .split_word_bounds()
                    .filter(|piece| !piece.chars().all(python::is_space)),
            );
            at = end;
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// The number of leading bytes that are `wanted`.
fn run(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|&b| !wanted(b))
        .unwrap_or(bytes.len())
}

/// The first place from `at` on that has ASCII white space before it and another ASCII character
/// after it, or the end of the text.
fn safe_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .windows(2)
        .position(|pair| is_space(pair[0]) && pair[1].is_ascii() && !is_space(pair[1]))
        .map_or(bytes.len(), |i| at + i + 1)
}

/// Appends the words of an ASCII text without white space.
fn ascii_words<'a>(text: &'a str, out: &mut Vec<&'a str>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let len = ascii_word_len(&bytes[at..]);
        // U+001C to U+001F are white space to Python, but not to `is_space` above.
        if !matches!(bytes[at], 0x1c..=0x1f) {
            out.push(&text[at..at + len]);
        }
        at += len;
    }
}

/// The length of the first piece in bytes, by rules WB5 to WB13b of UAX-29 for ASCII.
fn ascii_word_len(bytes: &[u8]) -> usize {
    let is_wordy = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !is_wordy(bytes[0]) {
        return 1;
    }

    let mut len = 1;
    loop {
        len += run(&bytes[len..], is_wordy);
        let (before, Some(&middle), Some(&after)) =
            (bytes[len - 1], bytes.get(len), bytes.get(len + 1))
        else {
            return len;
        };

        // WB6 and WB7 join letters, WB11 and WB12 join digits. No mark joins an underscore.
        let joins = match middle {
            b'.' | b'\'' => {
                before.is_ascii_alphabetic() && after.is_ascii_alphabetic()
                    || before.is_ascii_digit() && after.is_ascii_digit()
            }
            b':' => before.is_ascii_alphabetic() && after.is_ascii_alphabetic(),
            b',' | b';' => before.is_ascii_digit() && after.is_ascii_digit(),
            _ => false,
        };
        if !joins {
            return len;
        }
        // The mark and the character after it.
        len += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        let mut out = vec!["stale"];
        words(text, &mut out);
        out
    }

    fn reference(text: &str) -> Vec<&str> {
        text.split_word_bounds()
            .filter(|piece| !piece.chars().all(python::is_space))
            .collect()
    }

    #[test]
    fn words_keep_punctuation() {
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split(" \t\r\n\u{3000}"), [""; 0]);
        assert_eq!(split("one"), ["one"]);
        assert_eq!(
            split("a.b:c'd 1.2,3;4 e.5 _x_1 ..."),
            "a.b:c'd 1.2,3;4 e . 5 _x_1 . . ."
                .split(' ')
                .collect::<Vec<_>>()
        );
        assert_eq!(
            split("cafe\u{301} don\u{2019}t\r\nשלום, עולם 👩‍👩‍👧"),
            ["cafe\u{301}", "don\u{2019}t", "שלום", ",", "עולם", "👩‍👩‍👧"]
        );
    }

    #[test]
    fn fast_path_gives_what_uax29_gives() {
        // Every class of the algorithm, with the marks and joiners that bind across white space.
        let alphabet: Vec<char> = "aZ09_.:,;'\"-#/ \u{b}\t\n\r\u{1c}\u{7f}éΣжא״日カか한🇩🇪👩🏽\u{200d}\u{301}\u{ad}\u{200b}\u{a0}\u{2028}\u{3000}…’·٣"
            .chars()
            .collect();

        let mut state = 1u64;
        let mut next = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };

        for round in 0..60_000 {
            // Half the rounds are mostly ASCII.
            let ascii = if round % 2 == 0 { 20 } else { alphabet.len() };
            let text: String = (0..next(24))
                .map(|_| {
                    if next(8) == 0 {
                        alphabet[next(alphabet.len())]
                    } else {
                        alphabet[next(ascii)]
                    }
                })
                .collect();
            assert_eq!(split(&text), reference(&text), "{text:?}");
        }
    }

    #[test]
    fn one_line_of_a_megabyte() {
        assert_eq!(split(&"x".repeat(1 << 20)).len(), 1);
        assert_eq!(split(&"x, é ".repeat(1 << 18)).len(), 3 << 18);
    }
}
