//! The values behind Gopher's repetition rules (Rae et al. 2021, arXiv:2112.11446, table A1).
//!
//! They are computed as in datatrove 0.10:
//!
//! - Fractions are of the code points of the whole text.
//! - A duplicate is the second and every later occurrence.
//! - The most frequent n-gram counts even if it occurs only once. Among equals it is the first.
//! - The scan for duplicate n-grams joins words without a separator and jumps n words on a hit.
//!
//! The values named `v1` are those of datatrove 0.2, whose lines were `str.splitlines()`. Departs
//! in two points. The words are those of [`crate::words`], which are not always spaCy's. The empty
//! text gives 0 where datatrove raises `ZeroDivisionError`.
//!
//! No n-gram is ever built. The sum Σ digit\[k\]·BASEᵏ of a stretch of the joined words is a
//! difference of two prefix sums. Divided by the BASE power of its start, the difference is a hash
//! that does not depend on where words are cut (Karp and Rabin 1987, but modulo 2⁶⁴). For each n, a
//! table of bytes first tells which n-grams share a slot with another one. Only these n-grams, a
//! third of technical prose, are looked up by their 64-bit hash. Modulo 2⁶⁴, any two Thue–Morse
//! strings of a kilobyte are equal (Pachocki and Radoszewski 2013), so n-grams beyond `LONG_CHARS`
//! are hashed by xxh3 instead. Cost: linear. For each of the nine n, two passes over 16 bytes a
//! word.

use memchr::{memchr_iter, memmem};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::hash_index::{HIGH_BITS, HashIndex, HashSet, ONES, first_block, keep, mix};
use crate::python::{self, lines};

/// The values of Gopher's repetition rules. All values are fractions in \[0, 1\], except that the
/// most frequent n-gram may exceed 1 if it overlaps itself.
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
    /// `dup_line_frac` as in datatrove before 2024-04-26: over the lines of `str.splitlines()`,
    /// blank lines included.
    pub v1_dup_line_frac: f64,
    /// Share of characters in such lines.
    pub v1_dup_line_char_frac: f64,
    /// Share of characters in all occurrences of the most frequent n-gram, for n = 2, 3, 4. 0 for
    /// fewer than n words.
    pub top_n_gram: [f64; 3],
    /// Share of characters in n-grams that repeat an earlier one, for n = 5 to 10.
    pub dup_n_gram: [f64; 6],
}

super::values!(
    GopherRepetition,
    dup_para_frac,
    dup_para_char_frac,
    dup_line_frac,
    dup_line_char_frac,
    v1_dup_line_frac,
    v1_dup_line_char_frac;
    |row|
    top_2_gram: row.top_n_gram[0],
    top_3_gram: row.top_n_gram[1],
    top_4_gram: row.top_n_gram[2],
    dup_5_gram: row.dup_n_gram[0],
    dup_6_gram: row.dup_n_gram[1],
    dup_7_gram: row.dup_n_gram[2],
    dup_8_gram: row.dup_n_gram[3],
    dup_9_gram: row.dup_n_gram[4],
    dup_10_gram: row.dup_n_gram[5],
);

/// Memory that [`gopher_repetition`] keeps from one text to the next.
#[derive(Default)]
pub struct RepetitionScratch {
    joined: Joined,
    /// The slot of each n-gram, in the order of first words.
    slots: Vec<u32>,
    /// The number of n-grams in each slot.
    counts: Vec<u32>,
    /// The same number as a mark: 0 for no n-gram, 1 for one, and more than 1 for several.
    marks: Vec<u8>,
    /// The first words of the n-grams that must be looked up.
    candidates: Vec<u32>,
    /// The different n-grams among the candidates.
    index: HashIndex,
    /// For each id in `index`, the number of occurrences and the first word of the first one.
    occurrences: Vec<(u32, u32)>,
    /// The hashes of pieces or n-grams so far.
    seen: HashSet,
}

/// The values of `text`. `words` are the words of `text`. The function is fastest if they are
/// subslices of `text`. Text and words must each have less than 4 GiB.
pub fn gopher_repetition(
    text: &str,
    words: &[&str],
    scratch: &mut RepetitionScratch,
) -> GopherRepetition {
    let text_chars = text.chars().count();
    let share = |chars: usize| {
        if text_chars == 0 {
            0.0
        } else {
            chars as f64 / text_chars as f64
        }
    };

    let paragraphs = paragraph_duplicates(text, &mut scratch.seen);
    let (lines, v1_lines) = line_duplicates(text, &mut scratch.seen);

    // Only if a word has a space in it, spaces must be part of the hashes of the top n-grams.
    let join = if scratch.joined.start(text, words, Join::Nothing) {
        Join::Spaces
    } else {
        Join::Nothing
    };
    if join == Join::Spaces {
        scratch.joined.start(text, words, join);
    }

    let top_n_gram = [2, 3, 4].map(|n| share(scratch.top_n_gram_chars(words, n, join)));
    // The reference joins the words of duplicate n-grams by nothing.
    if join == Join::Spaces {
        scratch.joined.start(text, words, Join::Nothing);
    }

    GopherRepetition {
        dup_para_frac: paragraphs.share_of_pieces(),
        dup_para_char_frac: share(paragraphs.chars),
        dup_line_frac: lines.share_of_pieces(),
        dup_line_char_frac: share(lines.chars),
        v1_dup_line_frac: v1_lines.share_of_pieces(),
        v1_dup_line_char_frac: share(v1_lines.chars),
        top_n_gram,
        dup_n_gram: [5, 6, 7, 8, 9, 10].map(|n| share(scratch.dup_n_gram_chars(words, n))),
    }
}

/// Counts of the paragraphs or lines of a text that repeat an earlier one.
#[derive(Default)]
struct Duplicates {
    /// The number of duplicates.
    pieces: usize,
    /// The characters of the duplicates.
    chars: usize,
    /// The number of all paragraphs or lines.
    of: usize,
}

impl Duplicates {
    /// Counts one paragraph or line.
    fn add(&mut self, piece: &str, seen: &mut HashSet) {
        self.of += 1;
        if !seen.insert(xxh3_64(piece.as_bytes())) {
            self.pieces += 1;
            self.chars += piece.chars().count();
        }
    }

    /// Counts empty lines. All but the first are duplicates, of no characters.
    fn add_empty(&mut self, pieces: usize) {
        self.of += pieces;
        self.pieces += pieces.saturating_sub(1);
    }

    /// The share of duplicates among all pieces; 0 without pieces.
    fn share_of_pieces(&self) -> f64 {
        if self.of == 0 {
            0.0
        } else {
            self.pieces as f64 / self.of as f64
        }
    }
}

/// The duplicates in `re.split(r"\n{2,}", text.strip())`.
fn paragraph_duplicates(text: &str, seen: &mut HashSet) -> Duplicates {
    let text = python::strip(text);
    let mut found = Duplicates::default();
    let mut start = 0;

    // A guess at the number of paragraphs. The set grows if there are more.
    seen.start(text.len() / 256);
    for at in memmem::find_iter(text.as_bytes(), b"\n\n") {
        // A match inside of a separator that was skipped does not count.
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

    // Lines that are not empty are the same in both versions if all lines end in line feeds.
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
        // `found.of` counts the lines that are not empty, so the rest is empty.
        v1_found.add_empty(line_feeds + usize::from(start < text.len()) - found.of);
        v1_found
    } else {
        let mut v1_found = Duplicates::default();
        seen.start(text.len() / 64);
        python::splitlines(text).for_each(|line| v1_found.add(line, seen));
        v1_found
    };

    // Runs of line feeds separate lines, so that a line can be empty only at either end.
    found.add_empty(
        usize::from(text.starts_with('\n')) + usize::from(text.is_empty() || text.ends_with('\n')),
    );
    (found, v1_found)
}

/// The base of the hashes. It is odd and therefore has an inverse modulo 2⁶⁴. It is larger than any
/// digit, so that no two blocks of eight have the same sum.
const BASE: u64 = 251;

/// N-grams of more characters than this are hashed by xxh3.
const LONG_CHARS: u32 = 128;

/// `POWERS[k]` is BASEᵏ and its inverse modulo 2⁶⁴.
const POWERS: [(u64, u64); 9] = {
    let mut inverse = BASE;
    let mut i = 0;
    while i < 5 {
        // Newton's iteration doubles the number of right bits: 3 become 96.
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(BASE.wrapping_mul(inverse)));
        i += 1;
    }

    let mut powers = [(1, 1); 9];
    let mut k = 1;
    while k < 9 {
        powers[k] = (
            BASE.wrapping_mul(powers[k - 1].0),
            inverse.wrapping_mul(powers[k - 1].1),
        );
        k += 1;
    }

    powers
};

/// Σ bytes\[k\]·BASEᵏ over the eight bytes of `block`.
#[inline]
fn polynomial(block: u64) -> u64 {
    // Two neighbours are added at a time. Only the last sum may exceed its lane, and wraps.
    let twos = (block & 0x00ff_00ff_00ff_00ff) + BASE * (block >> 8 & 0x00ff_00ff_00ff_00ff);
    let fours = (twos & 0x0000_ffff_0000_ffff) + BASE.pow(2) * (twos >> 16 & 0x0000_ffff_0000_ffff);
    (fours & 0xffff_ffff).wrapping_add((fours >> 32).wrapping_mul(BASE.pow(4)))
}

/// The joined text before a word, as far as hashes need it.
#[derive(Clone, Copy, Default)]
struct Prefix {
    /// Σ digits\[k\]·BASEᵏ over the text.
    sum: u64,
    /// The inverse of the next power of `BASE`, times a constant. The constant makes the high bits
    /// of a hash depend on all of its bits.
    factor: u64,
}

impl Prefix {
    /// The hash of the text between this prefix and `end`.
    #[inline]
    fn hash_to(&self, end: &Prefix) -> u64 {
        end.sum.wrapping_sub(self.sum).wrapping_mul(self.factor)
    }
}

/// The text that follows each word when words are joined.
#[derive(Clone, Copy, PartialEq)]
enum Join {
    /// The words touch each other.
    Nothing,
    /// One space follows each word, the last one too.
    Spaces,
}

/// The joined words so far.
struct Stream {
    prefix: Prefix,
    /// The next power of `BASE`.
    power: u64,
    chars: u32,
    /// The high bit of at least one byte is set if the words have a space in them.
    spaces: u64,
}

impl Stream {
    /// Appends the first `len_bytes` bytes of `block`.
    #[inline]
    fn append(&mut self, block: u64, len_bytes: usize) {
        let (power, inverse) = POWERS[len_bytes];
        // A digit is the byte plus 1, and never 0, so that NULs count. No byte of UTF-8 is FF, so
        // that the sum does not carry.
        let digits = polynomial(keep(block + ONES, len_bytes));
        self.prefix.sum = self
            .prefix
            .sum
            .wrapping_add(digits.wrapping_mul(self.power));
        self.prefix.factor = self.prefix.factor.wrapping_mul(inverse);
        self.power = self.power.wrapping_mul(power);

        // A byte that is 0 sets its high bit by borrowing.
        let block = keep(block, len_bytes);
        let zero_for_space = block ^ (ONES * u64::from(b' '));
        self.spaces |= zero_for_space.wrapping_sub(ONES) & !zero_for_space;

        // Bytes 10xxxxxx continue a character. The product sums up the bytes in the highest one.
        self.chars += len_bytes as u32;
        if block & HIGH_BITS != 0 {
            let continuations = block >> 7 & !block >> 6 & ONES;
            self.chars -= (continuations.wrapping_mul(ONES) >> 56) as u32;
        }
    }
}

/// The joined words of a text.
#[derive(Default)]
struct Joined {
    /// The prefix before each word, and the prefix of the whole.
    prefixes: Vec<Prefix>,
    /// The number of characters before each word, and of the whole.
    chars: Vec<u32>,
}

impl Joined {
    /// Replaces the words. Returns true if a word has a space in it, or if words are joined by
    /// spaces.
    fn start(&mut self, text: &str, words: &[&str], join: Join) -> bool {
        // The factor is the constant of `Prefix::factor`: at the start the inverse of the power is
        // 1.
        let prefix = Prefix {
            sum: 0,
            factor: 0x9e37_79b9_7f4a_7c15,
        };
        let mut stream = Stream {
            prefix,
            power: 1,
            chars: 0,
            spaces: 0,
        };

        self.prefixes.resize(words.len() + 1, prefix);
        self.chars.resize(words.len() + 1, 0);
        for ((word, prefix), chars) in words.iter().zip(&mut self.prefixes).zip(&mut self.chars) {
            (*prefix, *chars) = (stream.prefix, stream.chars);

            let mut rest = word.as_bytes();
            while let Some((block, after)) = rest.split_first_chunk() {
                stream.append(u64::from_le_bytes(*block), 8);
                rest = after;
            }
            stream.append(first_block(text, rest), rest.len());
            if join == Join::Spaces {
                stream.append(b' '.into(), 1);
            }
        }

        self.prefixes[words.len()] = stream.prefix;
        self.chars[words.len()] = stream.chars;
        stream.spaces & HIGH_BITS != 0
    }

    /// The hash of `words[first..end]`. `join` must be the one of [`Joined::start`].
    #[inline]
    fn hash(&self, words: &[&str], first: usize, end: usize, join: Join) -> u64 {
        if self.chars_between(first, end) > LONG_CHARS {
            return long_hash(&words[first..end], join);
        }
        self.prefixes[first].hash_to(&self.prefixes[end])
    }

    /// The number of characters of the words from `first` to before `end`, with joined spaces.
    #[inline]
    fn chars_between(&self, first: usize, end: usize) -> u32 {
        self.chars[end] - self.chars[first]
    }

    /// The slot of each n-gram, among 2^`slots_log2` slots. Empty for fewer than n words.
    #[inline]
    fn slots(&self, n: usize, slots_log2: u32) -> impl Iterator<Item = u32> {
        let ends = self.prefixes.get(n..).unwrap_or_default();
        self.prefixes
            .iter()
            .zip(ends)
            .map(move |(start, end)| (start.hash_to(end) >> (64 - slots_log2)) as u32)
    }
}

impl RepetitionScratch {
    /// Length × count of the most frequent n-gram, whose words are joined by spaces.
    ///
    /// If no word has a space in it, spaces need not be hashed: the places of the cuts between
    /// words tell as much.
    fn top_n_gram_chars(&mut self, words: &[&str], n: usize, join: Join) -> usize {
        let n_grams = (words.len() + 1).saturating_sub(n);
        if n_grams == 0 {
            return 0;
        }

        // At most 8,192 slots, so that the counts take no more than 32 KiB.
        let slots_log2 = (n_grams * 8).next_power_of_two().ilog2().clamp(6, 13);
        self.counts.clear();
        self.counts.resize(1 << slots_log2, 0);
        self.slots.resize(n_grams, 0);
        let mut most = 0;
        for (slot, its_slot) in self.slots.iter_mut().zip(self.joined.slots(n, slots_log2)) {
            *slot = its_slot;
            let count = &mut self.counts[its_slot as usize];
            *count += 1;
            most = most.max(*count);
        }

        // No n-gram occurs more often than the number in its slot. The slot may hold other n-grams
        // too, so the first try aims lower.
        let mut least = most - most / 4;
        loop {
            let (count, first) = self.top_candidate(words, n, join, least.max(2));
            if count >= least || least <= 2 {
                let first = first as usize;
                let chars = self.joined.chars_between(first, first + n) as usize;
                // With spaces, one follows the last word too. Without, n - 1 are missing.
                let spaced = if join == Join::Spaces {
                    chars - 1
                } else {
                    chars + n - 1
                };
                return count as usize * spaced;
            }

            // An n-gram outside of the candidates may occur more than `count` times.
            least = count;
        }
    }

    /// The most frequent n-gram among those whose slot has at least `least`: its number of
    /// occurrences and its first word. Among equals it is the first. If no n-gram is repeated, it
    /// is the first of the text.
    fn top_candidate(&mut self, words: &[&str], n: usize, join: Join, least: u32) -> (u32, u32) {
        let candidates = choose(&self.slots, &mut self.candidates, |slot| {
            self.counts[slot] >= least
        });

        self.index.start(candidates.len());
        self.occurrences.clear();
        for &first in candidates {
            let at = first as usize;

            // Without spaces in the hash, the lengths of the words tell where they are cut.
            let mut hash = self.joined.hash(words, at, at + n, join);
            if join == Join::Nothing {
                let cuts = self.joined.chars[at..at + n].windows(2);
                hash = cuts.fold(hash, |hash, cut| mix(hash, (cut[1] - cut[0]).into()));
            }

            let (id, is_new) = self.index.insert(hash);
            if is_new {
                self.occurrences.push((0, first));
            }
            self.occurrences[id as usize].0 += 1;
        }
        debug_assert_eq!(self.index.len() as usize, self.occurrences.len());

        self.occurrences
            .iter()
            .fold((1, 0), |top, &next| if next.0 > top.0 { next } else { top })
    }

    /// The number of characters in n-grams that repeat an earlier one. Words are joined by nothing.
    fn dup_n_gram_chars(&mut self, words: &[&str], n: usize) -> usize {
        self.mark_slots((words.len() + 1).saturating_sub(n), n);
        let candidates = choose(&self.slots, &mut self.candidates, |slot| {
            self.marks[slot] > 1
        });

        // Words before `next` belong to a duplicate that was counted already.
        self.seen.start(candidates.len());
        let (mut next, mut chars) = (0, 0);
        for &first in candidates {
            let (first, end) = (first as usize, first as usize + n);
            if first >= next
                && !self
                    .seen
                    .insert(self.joined.hash(words, first, end, Join::Nothing))
            {
                next = end;
                chars += self.joined.chars_between(first, end) as usize;
            }
        }

        chars
    }

    /// Finds the slot of each n-gram, and marks the slots by their number of n-grams.
    fn mark_slots(&mut self, n_grams: usize, n: usize) {
        // More slots would not stay in a core's cache: without the limit, texts above 300 kB lose a
        // fifth of the speed.
        let slots_log2 = (n_grams * 8).next_power_of_two().ilog2().clamp(6, 20);
        self.marks.clear();
        self.marks.resize(1 << slots_log2, 0);
        self.slots.resize(n_grams, 0);

        for (slot, its_slot) in self.slots.iter_mut().zip(self.joined.slots(n, slots_log2)) {
            *slot = its_slot;
            // A shift needs no branch. Marks never fall back to 1, as the lowest bits stay set.
            let mark = &mut self.marks[its_slot as usize];
            *mark = *mark << 1 | 1;
        }
    }
}

/// The indices of the slots for which `is_wanted` is true, in the memory of `chosen`.
#[inline]
fn choose<'a>(
    slots: &[u32],
    chosen: &'a mut Vec<u32>,
    is_wanted: impl Fn(usize) -> bool,
) -> &'a [u32] {
    // The memory never shrinks, so that it is filled with zeros only once.
    chosen.resize(chosen.len().max(slots.len()), 0);

    let mut kept = 0;
    for (at, &slot) in (0..).zip(slots) {
        // Each index is written, and overwritten if it is not wanted: a branch would be
        // unpredictable.
        chosen[kept] = at;
        kept += usize::from(is_wanted(slot as usize));
    }

    &chosen[..kept]
}

/// The hash of an n-gram of more than [`LONG_CHARS`] characters.
#[cold]
fn long_hash(words: &[&str], join: Join) -> u64 {
    let mut hash = Xxh3::new();
    for word in words {
        hash.update(word.as_bytes());
        if join == Join::Spaces {
            hash.update(b" ");
        }
    }
    hash.digest()
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
        grams
            .iter()
            .for_each(|gram| *counts.entry(gram.clone()).or_default() += 1);
        let top = counts.values().max().copied().unwrap_or(0);
        grams
            .iter()
            .find(|&gram| counts[gram] == top)
            .map_or(0, |gram| gram.chars().count() * top)
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
        let vocabulary = [
            "a",
            "b",
            "ab",
            "ba",
            "é",
            "e\u{301}",
            "שלום",
            "😀",
            "\0",
            "\0a",
            "cde",
            "abcdefghij",
            " \u{301}",
            "a b",
        ];
        let mut scratch = RepetitionScratch::default();
        let mut state = 3u64;
        let mut next = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for _ in 0..5_000 {
            let kinds = 1 + next(vocabulary.len());
            let words: Vec<&str> = (0..next(60)).map(|_| vocabulary[next(kinds)]).collect();
            let text = words.join("  ") + "\n";
            let chars = text.chars().count() as f64;
            let got = gopher_repetition(&text, &words, &mut scratch);
            assert_eq!(
                got.top_n_gram,
                [2, 3, 4].map(|n| top_reference(&words, n) as f64 / chars),
                "{words:?}"
            );
            assert_eq!(
                got.dup_n_gram,
                [5, 6, 7, 8, 9, 10].map(|n| dup_reference(&words, n) as f64 / chars),
                "{words:?}"
            );
        }
    }

    #[test]
    fn words_may_be_slices_of_the_text() {
        // The last one is within a block of the end; one is longer than a block; one has a space in
        // it.
        let text = "aé b cc \u{5e9}\u{5e9} incomprehensibilities b cc é  x";
        let cuts = [
            (0, 3),
            (4, 5),
            (6, 8),
            (9, 13),
            (14, 35),
            (36, 37),
            (38, 40),
            (41, 45),
            (4, 8),
            (36, 40),
            (45, 46),
        ];
        let slices: Vec<&str> = cuts.iter().map(|&(from, to)| &text[from..to]).collect();
        let copies: Vec<String> = slices.iter().map(|word| word.to_string()).collect();
        let copies: Vec<&str> = copies.iter().map(String::as_str).collect();
        let mut scratch = RepetitionScratch::default();
        for n in 0..=slices.len() {
            let expected = gopher_repetition(text, &copies[..n], &mut scratch);
            assert_eq!(
                gopher_repetition(text, &slices[..n], &mut scratch),
                expected,
                "{n} words"
            );
        }
    }

    #[test]
    fn thue_morse_strings_differ() {
        let thue_morse = |other: bool| -> String {
            (0..1u32 << 11)
                .map(|i| {
                    if (i.count_ones() % 2 == 1) == other {
                        'a'
                    } else {
                        'b'
                    }
                })
                .collect()
        };
        let text = format!("{} 1 2 3 4 {} 1 2 3 4", thue_morse(false), thue_morse(true));
        let r = repetition(&text);
        assert_eq!(r.dup_n_gram, [0.0; 6]);
        assert_eq!(
            r.top_n_gram,
            [3, 5, 7].map(|chars| f64::from(2 * chars) / text.len() as f64)
        );
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
        // Lines "", "a\r", "b", "a\r", "": two of five repeat one, the empty one with no
        // characters.
        assert_eq!(
            (r.dup_line_frac, r.dup_line_char_frac),
            (2.0 / 5.0, 2.0 / 11.0)
        );
        // Paragraphs of the stripped text: "a\r\nb" and "a".
        assert_eq!((r.dup_para_frac, r.dup_para_char_frac), (0.0, 0.0));
        let r = repetition("ש\n\n ש\n\n\nש\n\nש");
        assert_eq!(
            (r.dup_para_frac, r.dup_para_char_frac),
            (2.0 / 4.0, 2.0 / 12.0)
        );
    }

    #[test]
    fn v1_lines_are_those_of_splitlines() {
        let v1 = |text| {
            let r = repetition(text);
            (r.v1_dup_line_frac, r.v1_dup_line_char_frac)
        };
        // "", "a", "", "", "a": blank lines count, and the last line feed opens no line.
        assert_eq!(v1("\na\n\n\na\n"), (3.0 / 5.0, 1.0 / 7.0));
        assert_eq!(v1("a\n\n"), (0.0, 0.0));
        assert_eq!(v1("\n"), (0.0, 0.0));
        // "é", "é", "", "é": line ends of four kinds.
        assert_eq!(v1("é\u{2028}é\r\n\ré\u{85}"), (2.0 / 4.0, 2.0 / 8.0));
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
        assert!(
            (r.dup_n_gram[0] - 2.0 / 3.0).abs() < 1e-4
                && (r.top_n_gram[0] - 5.0 / 3.0).abs() < 1e-4
        );
    }
}
