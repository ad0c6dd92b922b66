//! The values behind Gopher's repetition rules (Rae et al. 2021, arXiv:2112.11446, table A1).
//!
//! They are computed as in datatrove 0.10: fractions of the code points of the whole text; a duplicate is the second and
//! every later occurrence; the most frequent n-gram (the first seen of equals) counts even if it occurs once; the scan for
//! duplicate n-grams joins words without a separator and jumps n words on a hit. Departs in two points: the words are those
//! of [`crate::words`], not spaCy's, and the empty text gives 0 where datatrove raises `ZeroDivisionError`.
//!
//! No n-gram is ever built: words have polynomial hashes modulo 2⁶¹ − 1, and the hash of a concatenation, with or without
//! separators, follows from prefix hashes (Karp and Rabin 1987). Two of m different n-grams of at most k bytes collide with
//! a probability below k·m²/2⁶², 1e-8 for a megabyte of prose, if the text does not know the base.
//! Cost: linear; one pass over the words for each of the nine n, which looks up only what may repeat.

use xxhash_rust::xxh3::xxh3_64;

use crate::hash_index::HashIndex;
use crate::python;

/// What Gopher's repetition rules look at. All are fractions in \[0, 1\], but for n-grams that overlap themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GopherRepetition {
    /// Share of paragraphs (split at two or more line feeds) that repeat an earlier one.
    pub dup_para_frac: f64,
    /// Share of characters in such paragraphs.
    pub dup_para_char_frac: f64,
    /// Share of lines (split at one or more line feeds) that repeat an earlier one.
    pub dup_line_frac: f64,
    /// Share of characters in such lines.
    pub dup_line_char_frac: f64,
    /// Share of characters in the most frequent n-gram, n = 2, 3, 4; 0 for fewer than n words.
    pub top_n_gram: [f64; 3],
    /// Share of characters in n-grams that repeat an earlier one, n = 5 to 10.
    pub dup_n_gram: [f64; 6],
}

/// Memory that [`gopher_repetition`] keeps from one text to the next.
#[derive(Default)]
pub struct RepetitionScratch {
    /// All words, joined by nothing.
    stream: Vec<u8>,
    /// One more entry than words.
    prefix: Vec<Prefix>,
    powers: Vec<u64>,
    index: HashIndex,
    /// Of each word, the id of what begins there; of each id, how often there is one and how many characters it has.
    ids: Vec<u32>,
    counts: Vec<(u32, u32)>,
    /// Of each word, whether what begins there may also begin elsewhere.
    repeats: Vec<bool>,
}

/// All words before one: how long they are, and the hashes of their concatenation and of them each followed by a space.
#[derive(Clone, Copy, Default)]
struct Prefix {
    bytes: usize,
    chars: usize,
    joined: u64,
    spaced: u64,
}

/// The values of `text`, of which `words` are the words.
pub fn gopher_repetition(text: &str, words: &[&str], scratch: &mut RepetitionScratch) -> GopherRepetition {
    let text_chars = text.chars().count();
    let share = |chars: usize| {
        if text_chars == 0 { 0.0 } else { chars as f64 / text_chars as f64 }
    };
    let pieces_max = text.bytes().filter(|&b| b == b'\n').count() + 1;
    let paragraphs = duplicates(split_at_line_feeds(python::strip(text), 2), &mut scratch.index, pieces_max);
    let lines = duplicates(split_at_line_feeds(text, 1), &mut scratch.index, pieces_max);
    scratch.prepare(words);
    GopherRepetition {
        dup_para_frac: paragraphs.pieces as f64 / paragraphs.of as f64,
        dup_para_char_frac: share(paragraphs.chars),
        dup_line_frac: lines.pieces as f64 / lines.of as f64,
        dup_line_char_frac: share(lines.chars),
        top_n_gram: scratch.top_n_grams_chars().map(share),
        dup_n_gram: scratch.dup_n_grams_chars().map(share),
    }
}

/// The pieces of `text` between runs of at least `min_run` line feeds: `re.split(r"\n{min_run,}", text)`.
fn split_at_line_feeds(text: &str, min_run: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(found) = bytes[at..].iter().position(|&b| b == b'\n') {
            let start = at + found;
            let end = bytes[start..].iter().position(|&b| b != b'\n').map_or(bytes.len(), |len| start + len);
            if end - start >= min_run {
                rest = Some(&text[end..]);
                return Some(&text[..start]);
            }
            at = end;
        }
        rest = None;
        Some(text)
    })
}

struct Duplicates {
    pieces: usize,
    chars: usize,
    of: usize,
}

fn duplicates<'a>(pieces: impl Iterator<Item = &'a str>, index: &mut HashIndex, pieces_max: usize) -> Duplicates {
    let mut found = Duplicates { pieces: 0, chars: 0, of: 0 };
    index.start(pieces_max);
    for piece in pieces {
        found.of += 1;
        if !index.insert(xxh3_64(piece.as_bytes())).1 {
            found.pieces += 1;
            found.chars += piece.chars().count();
        }
    }
    found
}

/// N-grams of fewer bytes than this are all looked up; longer ones if the text has their first bytes twice.
const WINDOW: usize = 16;

/// The id of an n-gram that was not looked up.
const UNIQUE: u32 = u32::MAX;

impl RepetitionScratch {
    fn prepare(&mut self, words: &[&str]) {
        self.stream.clear();
        self.prefix.clear();
        self.prefix.reserve(words.len() + 1);
        let mut last = Prefix::default();
        self.prefix.push(last);
        for word in words {
            let hash = polynomial(word.as_bytes());
            let power = power(&mut self.powers, word.len());
            last.joined = add(mul(last.joined, power), hash);
            last.spaced = add(mul(add(mul(last.spaced, power), hash), BASE), digit(b' '));
            last.bytes += word.len();
            last.chars += if word.is_ascii() { word.len() } else { word.chars().count() };
            self.prefix.push(last);
            self.stream.extend_from_slice(word.as_bytes());
        }
    }

    /// Length × count of the most frequent n-gram, its words joined by spaces, for n = 2, 3 and 4.
    fn top_n_grams_chars(&mut self) -> [usize; 3] {
        // An n-gram repeats only if its first n − 1 words do, unless words have spaces in them (UAX-29 joins one to a mark).
        let prunes = !self.stream.contains(&b' ');
        self.repeats.clear();
        self.repeats.resize(self.prefix.len(), true);
        [2, 3, 4].map(|n| {
            let top = self.top_n_gram_chars(n);
            if prunes {
                let repeats = |&id: &u32| id != UNIQUE && self.counts[id as usize].0 > 1;
                self.repeats.clear();
                self.repeats.extend(self.ids.iter().map(repeats));
            }
            top
        })
    }

    /// As above for one n, which looks at the places that `repeats` names.
    fn top_n_gram_chars(&mut self, n: usize) -> usize {
        let n_grams = self.prefix.len().saturating_sub(n);
        if n_grams == 0 {
            return 0;
        }
        self.index.start(n_grams);
        self.ids.clear();
        self.counts.clear();
        for at in 0..n_grams {
            let mut id = UNIQUE;
            if self.repeats[at] {
                let (from, to) = (self.prefix[at], self.prefix[at + n]);
                let power = power(&mut self.powers, to.bytes - from.bytes + n);
                let (found, is_new) = self.index.insert(sub(to.spaced, mul(from.spaced, power)));
                if is_new {
                    self.counts.push((0, (to.chars - from.chars + n - 1) as u32));
                }
                self.counts[found as usize].0 += 1;
                id = found;
            }
            self.ids.push(id);
        }
        // Ids are in order of appearance, and the first of equals is meant: later ones must be more. If none is repeated,
        // that is the text's first.
        let first = (1, (self.prefix[n].chars + n - 1) as u32);
        let (count, chars) = self.counts.iter().fold(first, |top, &next| if next.0 > top.0 { next } else { top });
        count as usize * chars as usize
    }

    /// Characters of n-grams that repeat an earlier one, their words joined by nothing, for n = 5 to 10.
    fn dup_n_grams_chars(&mut self) -> [usize; 6] {
        self.find_repeated_windows();
        [5, 6, 7, 8, 9, 10].map(|n| self.dup_n_gram_chars(n))
    }

    /// Sets `repeats` where the `WINDOW` bytes from a word on also follow the start of another word. Equal n-grams may
    /// have their words cut differently, so no count of words can stand in for bytes.
    fn find_repeated_windows(&mut self) {
        let words = self.prefix.len() - 1;
        self.index.start(words);
        self.ids.clear();
        self.counts.clear();
        let windows = self.prefix[..words].iter().map_while(|word| self.stream.get(word.bytes..word.bytes + WINDOW));
        for window in windows {
            let (id, is_new) = self.index.insert(xxh3_64(window));
            if is_new {
                self.counts.push((0, 0));
            }
            self.counts[id as usize].0 += 1;
            self.ids.push(id);
        }
        self.repeats.clear();
        self.repeats.extend(self.ids.iter().map(|&id| self.counts[id as usize].0 > 1));
        self.repeats.resize(words, true);
    }

    fn dup_n_gram_chars(&mut self, n: usize) -> usize {
        let n_grams = self.prefix.len().saturating_sub(n);
        self.index.start(n_grams);
        let (mut at, mut chars) = (0, 0);
        while at < n_grams {
            let (from, to) = (self.prefix[at], self.prefix[at + n]);
            let bytes = to.bytes - from.bytes;
            let is_unique = !self.repeats[at] && bytes >= WINDOW;
            if is_unique || self.index.insert(sub(to.joined, mul(from.joined, power(&mut self.powers, bytes)))).1 {
                at += 1;
            } else {
                chars += to.chars - from.chars;
                at += n;
            }
        }
        chars
    }
}

/// `BASE` to the power of `exponent`, from a table of the powers below 4,096 that grows as needed.
#[inline]
fn power(table: &mut Vec<u64>, exponent: usize) -> u64 {
    match table.get(exponent) {
        Some(&power) => power,
        None => new_power(table, exponent),
    }
}

#[cold]
fn new_power(table: &mut Vec<u64>, exponent: usize) -> u64 {
    if exponent >= 4096 {
        let half = power(table, exponent / 2);
        let square = mul(half, half);
        return if exponent.is_multiple_of(2) { square } else { mul(square, BASE) };
    }
    while table.len() <= exponent {
        table.push(table.last().map_or(1, |&last| mul(last, BASE)));
    }
    table[exponent]
}

/// 2⁶¹ − 1, a prime.
const MODULUS: u64 = (1 << 61) - 1;

/// Any large number below the modulus does; it is fixed, so that results are the same everywhere.
const BASE: u64 = 0x0a76_1d64_78bd_642f;

/// A byte as a digit: never 0, so that leading NULs count.
fn digit(byte: u8) -> u64 {
    u64::from(byte) + 1
}

fn polynomial(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |hash, &byte| add(mul(hash, BASE), digit(byte)))
}

#[inline]
fn mul(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    add(product as u64 & MODULUS, (product >> 61) as u64)
}

#[inline]
fn add(a: u64, b: u64) -> u64 {
    let sum = a + b;
    if sum >= MODULUS { sum - MODULUS } else { sum }
}

#[inline]
fn sub(a: u64, b: u64) -> u64 {
    if a >= b { a - b } else { a + MODULUS - b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    fn repetition(text: &str) -> GopherRepetition {
        let words: Vec<&str> = text.split_whitespace().collect();
        gopher_repetition(text, &words, &mut RepetitionScratch::default())
    }

    /// datatrove's functions, on strings.
    fn top_reference(words: &[&str], n: usize) -> usize {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let grams: Vec<String> = words.windows(n).map(|gram| gram.join(" ")).collect();
        grams.iter().for_each(|gram| *counts.entry(gram.clone()).or_default() += 1);
        let top = counts.values().max().copied().unwrap_or(0);
        grams.iter().find(|&gram| counts[gram] == top).map_or(0, |gram| gram.chars().count() * top)
    }

    fn dup_reference(words: &[&str], n: usize) -> usize {
        let (mut seen, mut at, mut chars) = (HashSet::new(), 0, 0);
        while at + n <= words.len() {
            let gram = words[at..at + n].concat();
            let len = gram.chars().count();
            if seen.insert(gram) {
                at += 1;
            } else {
                chars += len;
                at += n;
            }
        }
        chars
    }

    #[test]
    fn n_grams_agree_with_strings() {
        let vocabulary =
            ["a", "b", "ab", "ba", "é", "e\u{301}", "שלום", "😀", "\0", "\0a", "cde", "abcdefghij", " \u{301}", "a b"];
        let mut scratch = RepetitionScratch::default();
        let mut state = 3u64;
        let mut next = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for _ in 0..5_000 {
            let kinds = 1 + next(vocabulary.len());
            let words: Vec<&str> = (0..next(60)).map(|_| vocabulary[next(kinds)]).collect();
            let text = words.join("  ") + "\n";
            let chars = text.chars().count() as f64;
            let got = gopher_repetition(&text, &words, &mut scratch);
            assert_eq!(got.top_n_gram, [2, 3, 4].map(|n| top_reference(&words, n) as f64 / chars), "{words:?}");
            assert_eq!(
                got.dup_n_gram,
                [5, 6, 7, 8, 9, 10].map(|n| dup_reference(&words, n) as f64 / chars),
                "{words:?}"
            );
        }
    }

    #[test]
    fn nothing_gives_zeros() {
        let zero = GopherRepetition {
            dup_para_frac: 0.0,
            dup_para_char_frac: 0.0,
            dup_line_frac: 0.0,
            dup_line_char_frac: 0.0,
            top_n_gram: [0.0; 3],
            dup_n_gram: [0.0; 6],
        };
        assert_eq!(repetition(""), zero);
        assert_eq!(repetition("word"), zero);
        assert_eq!(repetition(" \t \u{3000}"), zero);
    }

    #[test]
    fn the_first_and_last_line_feed_make_empty_lines() {
        let r = repetition("\na\r\nb\n\n\na\r\n");
        // Lines "", "a\r", "b", "a\r", "": two of five repeat one, the empty one with no characters.
        assert_eq!((r.dup_line_frac, r.dup_line_char_frac), (2.0 / 5.0, 2.0 / 11.0));
        // Paragraphs of the stripped text: "a\r\nb" and "a".
        assert_eq!((r.dup_para_frac, r.dup_para_char_frac), (0.0, 0.0));
        let r = repetition("ש\n\n ש\n\n\nש\n\nש");
        assert_eq!((r.dup_para_frac, r.dup_para_char_frac), (2.0 / 4.0, 2.0 / 12.0));
    }

    #[test]
    fn one_n_gram_counts_and_the_first_of_equals_wins() {
        assert_eq!(repetition("one two").top_n_gram, [1.0, 0.0, 0.0]);
        assert_eq!(repetition("a bbb a bbb").top_n_gram[0], 10.0 / 11.0);
        assert_eq!(repetition("a b longer words").top_n_gram[0], 3.0 / 16.0);
    }

    #[test]
    fn one_line_of_a_megabyte() {
        assert_eq!(repetition(&"x".repeat(1 << 20)).dup_line_frac, 0.0);
        let r = repetition(&"ab ".repeat(350_000));
        assert!((r.dup_n_gram[0] - 2.0 / 3.0).abs() < 1e-4 && (r.top_n_gram[0] - 5.0 / 3.0).abs() < 1e-4);
    }
}
