//! HEADER
use memchr::{memchr_iter, memmem};
use xxhash_rust::xxh3::xxh3_64;

use crate::hash_index::{HIGH_BITS, HashIndex, HashSet, ONES, first_block, keep, mix};
use crate::{lines, python};

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
    /// `dup_line_frac` as in datatrove before 2024-04-26: over `str.splitlines()`, blank lines included.
    pub v1_dup_line_frac: f64,
    /// Share of characters in such lines.
    pub v1_dup_line_char_frac: f64,
    /// Share of characters in the most frequent n-gram, n = 2, 3, 4; 0 for fewer than n words.
    pub top_n_gram: [f64; 3],
    /// Share of characters in n-grams that repeat an earlier one, n = 5 to 10.
    pub dup_n_gram: [f64; 6],
}

/// Memory that [`gopher_repetition`] keeps from one text to the next.
#[derive(Default)]
pub struct RepetitionScratch {
    /// What is before each word, and before the end.
    prefixes: Vec<Prefix>,
    /// How many characters are before each word, and before the end.
    chars: Vec<u32>,
    /// Of each n-gram, by its first word, a slot that its hash chooses; then the n-grams that were chosen by their slots.
    slots: Vec<u32>,
    /// How many n-grams share a slot.
    counts: Vec<u32>,
    /// The same, up to two: 0, 1, 3 and so on for none, one and more.
    marks: Vec<u8>,
    /// The n-grams that may be the most frequent, by their first word.
    chosen: Vec<usize>,
    index: HashIndex,
    /// Of each id in `index`, how often there is one and its first word.
    occurrences: Vec<(u32, u32)>,
    seen: HashSet,
}

/// The values of `text`, of which `words` are the words. Fastest if these are slices of it; both are less than 4 GiB.
pub fn gopher_repetition(text: &str, words: &[&str], scratch: &mut RepetitionScratch) -> GopherRepetition {
    let text_chars = text.chars().count();
    let share = |chars: usize| {
        if text_chars == 0 { 0.0 } else { chars as f64 / text_chars as f64 }
    };
    let paragraphs = paragraph_duplicates(text, &mut scratch.seen);
    let (lines, v1_lines) = line_duplicates(text, &mut scratch.seen);
    let has_spaces = scratch.prepare::<false>(text, words);
    if has_spaces {
        scratch.prepare::<true>(text, words);
    }
    let top_n_gram = [2, 3, 4].map(|n| share(scratch.top_n_gram_chars(n, has_spaces)));
    if has_spaces {
        scratch.prepare::<false>(text, words);
    }
    GopherRepetition {
        dup_para_frac: paragraphs.share_of_pieces(),
        dup_para_char_frac: share(paragraphs.chars),
        dup_line_frac: lines.share_of_pieces(),
        dup_line_char_frac: share(lines.chars),
        v1_dup_line_frac: v1_lines.share_of_pieces(),
        v1_dup_line_char_frac: share(v1_lines.chars),
        top_n_gram,
        dup_n_gram: [5, 6, 7, 8, 9, 10].map(|n| share(scratch.dup_n_gram_chars(n))),
    }
}

#[derive(Default)]
struct Duplicates {
    pieces: usize,
    chars: usize,
    of: usize,
}

impl Duplicates {
    fn add(&mut self, piece: &str, seen: &mut HashSet) {
        self.of += 1;
        if !seen.insert(xxh3_64(piece.as_bytes())) {
            self.pieces += 1;
            self.chars += piece.chars().count();
        }
    }

    fn add_empty(&mut self, pieces: usize) {
        self.of += pieces;
        self.pieces += pieces.saturating_sub(1);
    }

    fn share_of_pieces(&self) -> f64 {
        if self.of == 0 { 0.0 } else { self.pieces as f64 / self.of as f64 }
    }
}

/// The duplicates in `re.split(r"\n{2,}", text.strip())`.
fn paragraph_duplicates(text: &str, seen: &mut HashSet) -> Duplicates {
    let text = python::strip(text);
    let mut found = Duplicates::default();
    let mut start = 0;
    seen.start(text.len() / 256);
    for at in memmem::find_iter(text.as_bytes(), b"\n\n") {
        // Of four line feeds, the last two are found, too.
        if at >= start {
            found.add(&text[start..at], seen);
            start = at + text[at..].bytes().take_while(|&b| b == b'\n').count();
        }
    }
    found.add(&text[start..], seen);
    found
}

/// The duplicates in `re.split(r"\n+", text)` and those in `text.splitlines()`.
fn line_duplicates(text: &str, seen: &mut HashSet) -> (Duplicates, Duplicates) {
    let (mut found, mut start, mut line_feeds) = (Duplicates::default(), 0, 0);
    seen.start(text.len() / 64);
    for end in memchr_iter(b'\n', text.as_bytes()) {
        if end > start {
            found.add(&text[start..end], seen);
        }
        start = end + 1;
        line_feeds += 1;
    }
    if start < text.len() {
        found.add(&text[start..], seen);
    }
    let v1_found = if lines::end_in_line_feeds(text) {
        let mut v1_found = Duplicates { ..found };
        v1_found.add_empty(line_feeds + usize::from(start < text.len()) - found.of);
        v1_found
    } else {
        let mut v1_found = Duplicates::default();
        seen.start(text.len() / 64);
        python::splitlines(text).for_each(|line| v1_found.add(line, seen));
        v1_found
    };
    found.add_empty(usize::from(text.starts_with('\n')) + usize::from(text.is_empty() || text.ends_with('\n')));
    (found, v1_found)
}

/// Prime to 2⁶⁴, and above any byte of UTF-8, so that the polynomials of different blocks differ.
const BASE: u64 = 251;

/// `POWERS[k]` is `BASE` to the power of k, and one divided by that.
const POWERS: [(u64, u64); 9] = {
    let mut inverse = BASE;
    let mut i = 0;
    while i < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(BASE.wrapping_mul(inverse)));
        i += 1;
    }
    let mut powers = [(1, 1); 9];
    let mut k = 1;
    while k < 9 {
        powers[k] = (BASE.wrapping_mul(powers[k - 1].0), inverse.wrapping_mul(powers[k - 1].1));
        k += 1;
    }
    powers
};

/// What is before a word: Σ digits\[k\]·BASEᵏ, and one divided by the next power (times a constant, which makes the high
/// bits depend on all). The difference of two sums times the first factor is the hash of what is between them.
#[derive(Clone, Copy, Default)]
struct Prefix {
    sum: u64,
    factor: u64,
}

impl Prefix {
    #[inline]
    fn hash_to(&self, end: &Prefix) -> u64 {
        end.sum.wrapping_sub(self.sum).wrapping_mul(self.factor)
    }
}

/// What stands between words, and behind the last one.
#[derive(Clone, Copy, PartialEq)]
enum Join {
    Nothing,
    Spaces,
}

/// A [`Prefix`] that grows.
struct Stream {
    all: Prefix,
    power: u64,
    chars: u32,
    /// Has a high bit set if there is a space.
    spaces: u64,
}

impl Stream {
    /// Appends the first `len_bytes` bytes of `block`.
    #[inline]
    fn append(&mut self, block: u64, len_bytes: usize) {
        let (power, inverse) = POWERS[len_bytes];
        // A digit is never 0, so that NULs count.
        let digits = polynomial(keep(block + ONES, len_bytes));
        self.all.sum = self.all.sum.wrapping_add(digits.wrapping_mul(self.power));
        self.all.factor = self.all.factor.wrapping_mul(inverse);
        self.power = self.power.wrapping_mul(power);
        let block = keep(block, len_bytes);
        let zero_for_space = block ^ (ONES * u64::from(b' '));
        self.spaces |= zero_for_space.wrapping_sub(ONES) & !zero_for_space;
        self.chars += len_bytes as u32;
        if block & HIGH_BITS != 0 {
            let continuations = block >> 7 & !block >> 6 & ONES;
            self.chars -= (continuations.wrapping_mul(ONES) >> 56) as u32;
        }
    }
}

/// Σ bytes\[k\]·BASEᵏ over the eight bytes of `block`.
#[inline]
fn polynomial(block: u64) -> u64 {
    let twos = (block & 0x00ff_00ff_00ff_00ff) + BASE * (block >> 8 & 0x00ff_00ff_00ff_00ff);
    let fours = (twos & 0x0000_ffff_0000_ffff) + BASE * BASE * (twos >> 16 & 0x0000_ffff_0000_ffff);
    (fours & 0xffff_ffff).wrapping_add((fours >> 32).wrapping_mul(BASE * BASE * BASE * BASE))
}

impl RepetitionScratch {
    /// Sets the prefixes and says whether a word has a space in it.
    fn prepare<const SPACES: bool>(&mut self, text: &str, words: &[&str]) -> bool {
        let mut stream =
            Stream { all: Prefix { sum: 0, factor: 0x9e37_79b9_7f4a_7c15 }, power: 1, chars: 0, spaces: 0 };
        self.prefixes.resize(words.len() + 1, Prefix::default());
        self.chars.resize(words.len() + 1, 0);
        for ((word, prefix), chars) in words.iter().zip(&mut self.prefixes).zip(&mut self.chars) {
            (*prefix, *chars) = (stream.all, stream.chars);
            let mut rest = word.as_bytes();
            while let Some((block, after)) = rest.split_first_chunk() {
                stream.append(u64::from_le_bytes(*block), 8);
                rest = after;
            }
            stream.append(first_block(text, rest), rest.len());
            if SPACES {
                stream.append(b' '.into(), 1);
            }
        }
        self.prefixes[words.len()] = stream.all;
        self.chars[words.len()] = stream.chars;
        stream.spaces & HIGH_BITS != 0
    }

    /// Length × count of the most frequent n-gram, its words joined by spaces.
    fn top_n_gram_chars(&mut self, n: usize, has_spaces: bool) -> usize {
        let n_grams = self.prefixes.len().saturating_sub(n);
        if n_grams == 0 {
            return 0;
        }
        let slots_log2 = (n_grams * 2).next_power_of_two().ilog2().clamp(6, 15);
        self.counts.clear();
        self.counts.resize(1 << slots_log2, 0);
        self.slots.resize(n_grams, 0);
        let mut most = 0;
        for ((slot, end), start) in self.slots.iter_mut().zip(&self.prefixes[n..]).zip(&self.prefixes) {
            *slot = (start.hash_to(end) >> (64 - slots_log2)) as u32;
            let count = &mut self.counts[*slot as usize];
            *count += 1;
            most = most.max(*count);
        }
        // No n-gram occurs more often than its slot. A slot may have others, too, so what is found tells whether to go on.
        let mut least = most - most / 4;
        loop {
            let (count, first) = self.top_of_slots(n, least.max(2), has_spaces);
            if count >= least || least <= 2 {
                let chars = (self.chars[first as usize + n] - self.chars[first as usize]) as usize;
                return count as usize * if has_spaces { chars - 1 } else { chars + n - 1 };
            }
            least = count;
        }
    }

    /// How often the most frequent of those n-grams occurs that have at least `least` in their slots, and where first. It is
    /// the first of equals, and the text's first if none is repeated.
    fn top_of_slots(&mut self, n: usize, least: u32, has_spaces: bool) -> (u32, u32) {
        self.chosen.clear();
        for (at, &slot) in self.slots.iter().enumerate() {
            if self.counts[slot as usize] >= least {
                self.chosen.push(at);
            }
        }
        self.index.start(self.chosen.len());
        self.occurrences.clear();
        for &at in &self.chosen {
            let mut hash = self.prefixes[at].hash_to(&self.prefixes[at + n]);
            if !has_spaces {
                // Where no word has spaces in it, the places of the spaces are part of the n-gram.
                for cuts in self.chars[at..at + n].windows(2) {
                    hash = mix(hash, u64::from(cuts[1] - cuts[0]));
                }
            }
            let (id, is_new) = self.index.insert(hash);
            if is_new {
                self.occurrences.push((0, at as u32));
            }
            self.occurrences[id as usize].0 += 1;
        }
        self.occurrences.iter().fold((1, 0), |top, &next| if next.0 > top.0 { next } else { top })
    }

    /// Characters of n-grams that repeat an earlier one, their words joined by nothing.
    fn dup_n_gram_chars(&mut self, n: usize) -> usize {
        self.find_repeated(n);
        self.seen.start(self.slots.len() / 2);
        let (mut next, mut found) = (0, 0);
        for &at in &self.slots {
            let at = at as usize;
            if at >= next && !self.seen.insert(self.prefixes[at].hash_to(&self.prefixes[at + n])) {
                next = at + n;
                found += (self.chars[next] - self.chars[at]) as usize;
            }
        }
        found
    }

    /// Replaces the slots by the n-grams that share one.
    fn find_repeated(&mut self, n: usize) {
        let n_grams = self.prefixes.len().saturating_sub(n);
        let slots_log2 = (n_grams * 8).next_power_of_two().ilog2().clamp(6, 20);
        self.marks.clear();
        self.marks.resize(1 << slots_log2, 0);
        self.slots.resize(n_grams, 0);
        if n_grams == 0 {
            return;
        }
        for ((slot, end), start) in self.slots.iter_mut().zip(&self.prefixes[n..]).zip(&self.prefixes) {
            *slot = (start.hash_to(end) >> (64 - slots_log2)) as u32;
            let mark = &mut self.marks[*slot as usize];
            *mark = *mark << 1 | 1;
        }
        // Always written and seldom kept, because a branch would be a coin's toss.
        let mut kept = 0;
        for at in 0..n_grams {
            let mark = self.marks[self.slots[at] as usize];
            self.slots[kept] = at as u32;
            kept += usize::from(mark > 1);
        }
        self.slots.truncate(kept);
    }
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
            v1_dup_line_frac: 0.0,
            v1_dup_line_char_frac: 0.0,
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
