//! The heuristic quality score of the study note: lexical variety, length and repeated lines in one
//! number.
//!
//! Words are the `\w+` words of the trimmed, lower-cased text, and lines are its non-blank lines.
//! The score is `0.4·(distinct words / words) + 0.3·min(words / 500, 1) + 0.3·(1 − dup)` with
//! `dup = 1 − distinct lines / lines`, clamped to \[0, 1\]. Characters, words, lines and the order
//! of the sum are Python's, so the score equals Python's to the bit. Departs in one point: words
//! and lines are compared by 64-bit hash.
//!
//! Cost: one lower-cased copy of the text and two passes over the copy. Words are found in blocks
//! of 64 bytes. Stretches beyond ASCII go through [`python`], word by word.

use memchr::memchr_iter;
use xxhash_rust::xxh3::xxh3_64;

use crate::hash_index::{HashSet, SHORT, Word, hash_word, load};
use crate::python::{self, lines};

/// The score of a text that is too short to judge: fewer than 20 characters, or no word.
pub const TOO_SHORT: f64 = 0.1;

/// The score of `text`, in \[0, 1\].
///
/// ```
/// use curate_scorers::study_note::study_note;
///
/// assert_eq!(study_note("too short"), 0.1);
/// assert!((study_note(&"Clear prose. ".repeat(200)) - 0.542).abs() < 1e-12);
/// ```
pub fn study_note(text: &str) -> f64 {
    let trimmed = python::strip(text);
    if trimmed.chars().nth(19).is_none() {
        return TOO_SHORT;
    }

    let mut text = lower(trimmed);
    let (mut seen, mut words, mut lines) = (HashSet::default(), 0, 0);

    seen.start(text.len() / 32);
    for_each_word_hash(&mut text, |hash| {
        words += 1;
        seen.insert(hash);
    });
    if words == 0 {
        return TOO_SHORT;
    }
    let (words, distinct_words) = (f64::from(words), seen.len() as f64);

    seen.start(0);
    lines::for_each_line(&text, |line| {
        // A visible ASCII byte proves that a line is not blank, without a look at Python's tables.
        if line.bytes().any(|b| b.is_ascii_graphic()) || !python::strip(line).is_empty() {
            lines += 1;
            seen.insert(xxh3_64(line.as_bytes()));
        }
    });
    let (lines, distinct_lines) = (f64::from(lines), seen.len() as f64);

    // As in Python, step by step: another form of the sum could differ in the last bit.
    let dup = 1.0 - distinct_lines / lines;
    let score = 0.4 * (distinct_words / words) + 0.3 * (words / 500.0).min(1.0) + 0.3 * (1.0 - dup);
    score.clamp(0.0, 1.0)
}

/// `str.lower()`, line by line. Lines are independent because a line feed is no letter, and a sigma
/// does not look past it.
fn lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }

    // Room for the padding of `for_each_word_hash`, and for a few letters that grow.
    let mut out = String::with_capacity(text.len() + 2 * SHORT);
    let mut start = 0;
    for end in memchr_iter(b'\n', text.as_bytes())
        .map(|at| at + 1)
        .chain([text.len()])
    {
        push_lower(&text[start..end], &mut out);
        start = end;
    }

    out
}

/// Appends `str.lower()` of one line. Most lines are ASCII, even in texts that are not.
fn push_lower(line: &str, out: &mut String) {
    if !line.is_ascii() {
        return out.push_str(&python::lower(line));
    }

    let start = out.len();
    out.push_str(line);
    out[start..].make_ascii_lowercase();
}

/// Calls `action` with the hash of each `\w+` word of `text`, which must be in lower case. `text`
/// is padded for a while and has its old length at the end.
fn for_each_word_hash(text: &mut String, mut action: impl FnMut(u64)) {
    let text_bytes = text.len();
    // The padding ends the last word, and lets a block of `SHORT` bytes be read at its start.
    text.push_str(&" ".repeat(SHORT));

    let (mut from, mut is_open) = (0, false);
    for (block, offset) in text.as_bytes().chunks(64).zip((0..).step_by(64)) {
        let bits = word_bits(block);
        // A set bit is the first byte of a word, or the first byte behind a word. A word that is
        // open at the end of a block goes on in the next block.
        let mut edges = bits ^ (bits << 1 | u64::from(is_open));

        loop {
            if !is_open {
                let Some(at) = pop_lowest(&mut edges) else {
                    break;
                };
                (from, is_open) = (offset + at, true);
            }
            let Some(at) = pop_lowest(&mut edges) else {
                break;
            };
            hash_words(text, from, offset + at, &mut action);
            is_open = false;
        }
    }

    text.truncate(text_bytes);
}

/// Clears the lowest set bit and returns its number, 0 to 63. `None` if no bit is set.
#[inline]
fn pop_lowest(bits: &mut u64) -> Option<usize> {
    let lowest = bits.trailing_zeros() as usize;
    // The subtraction wraps for 0, which stays 0.
    *bits &= bits.wrapping_sub(1);
    (lowest < 64).then_some(lowest)
}

/// Calls `action` with the hash of the word at `from..to`. A stretch that is not ASCII may hold
/// several words, or none.
#[inline]
fn hash_words(text: &str, from: usize, to: usize, action: &mut impl FnMut(u64)) {
    let bytes = text.as_bytes();
    if to - from <= SHORT {
        let word = Word::new(&bytes[from..from + SHORT], to - from);
        if word.is_ascii() {
            return action(word.hash());
        }
    } else if bytes[from..to].is_ascii() {
        return action(hash_word(&bytes[from..to]));
    }

    python::word_runs(&text[from..to]).for_each(|word| action(hash_word(word.as_bytes())));
}

/// One bit for each of at most 64 bytes, with the first byte at the lowest bit. A bit is set if the
/// byte may belong to a lower-case word, which is true for all bytes beyond ASCII.
fn word_bits(block: &[u8]) -> u64 {
    let Some(block) = block.first_chunk::<64>() else {
        let mut padded = [b' '; 64];
        padded[..block.len()].copy_from_slice(block);
        return word_bits(&padded);
    };

    let flags = block.map(|b| {
        u8::from(b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || !b.is_ascii())
    });

    // The product gathers the lowest bits of eight flags in its highest byte.
    (0..8).fold(0, |bits, i| {
        let eight = load(&flags, 8 * i).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits | eight << (8 * i)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        name: String,
        text: String,
        score: Box<serde_json::value::RawValue>,
    }

    #[test]
    fn agrees_with_python_to_the_bit() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../fixtures/golden/study_note.jsonl"
        );
        let file = std::fs::read_to_string(path).expect("the golden file is in the repository");

        let rows: Vec<Golden> = file
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is one object"))
            .collect();
        assert!(rows.len() >= 60, "{} rows", rows.len());

        for Golden { name, text, score } in rows {
            // serde_json's own numbers may be off by one unit in the last place.
            let score: f64 = score.get().parse().expect("the score is a number");
            assert_eq!(
                study_note(&text).to_bits(),
                score.to_bits(),
                "{name}: {} is not {score}",
                study_note(&text)
            );
        }
    }

    #[test]
    fn short_or_wordless_text_scores_a_tenth() {
        for text in [
            "",
            "word",
            " \u{3000}\n",
            "nineteen characters",
            "…………………………………………………………………",
            "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀",
        ] {
            assert_eq!(study_note(text), TOO_SHORT, "{text}");
        }

        // 20 characters, not bytes, after trimming.
        assert_eq!(study_note(&format!("  {}  ", "é".repeat(19))), TOO_SHORT);
        assert_eq!(study_note(&"é".repeat(20)), 0.4 + 0.3 * (1.0 / 500.0) + 0.3);
    }

    #[test]
    fn words_and_lines_are_compared_in_lower_case() {
        // Two words of four differ, one line of two.
        let expected = 0.4 * (2.0 / 4.0) + 0.3 * (4.0 / 500.0) + 0.3 * (1.0 - (1.0 - 1.0 / 2.0));

        for text in [
            "ΚΌΣΜΟΣ Καλημέρα\r\nκόσμος καλημέρα",
            "Shalom (שלום)\u{2028}SHALOM (שלום)\n \n",
        ] {
            assert_eq!(study_note(text), expected, "{text}");
        }
    }

    #[test]
    fn words_may_stand_across_blocks() {
        // Words of every length at every place in blocks of 64 bytes, and at the end of the text.
        for len in 1..80 {
            for before in 0..70 {
                let text = format!(
                    "a{}{} é{} {}",
                    ".".repeat(before + 20),
                    "x".repeat(len),
                    "Y".repeat(len),
                    "Z".repeat(len)
                );

                let expected = 0.4 * (4.0 / 4.0) + 0.3 * (4.0 / 500.0) + 0.3;
                assert_eq!(study_note(&text), expected, "{text}");
            }
        }
    }

    #[test]
    fn one_line_of_a_megabyte() {
        assert_eq!(
            study_note(&"ab ".repeat(350_000)),
            0.4 * (1.0 / 350_000.0) + 0.3 + 0.3
        );
    }
}
