//! spaCy's special cases: looked up as whole words, and found again among the finished tokens.
//!
//! The second search follows spaCy's `Tokenizer._apply_special_cases`. A special case that its own
//! affixes would take apart (`:)`, `Mr.`) is kept as a phrase of tokens, and the document is
//! searched for the phrase. Phrases also match across single spaces. Such a match changes nothing
//! by itself, but it blocks the matches that it overlaps.

use super::tables::SPECIALS;

/// The length of the longest special case in bytes.
const LONGEST: usize = 29;
const SLOT_BITS: u32 = 13;
/// A free slot. No index into `SPECIALS` is that large.
const EMPTY: u16 = u16::MAX;

/// An open-addressed hash table of indices into `SPECIALS`.
static SLOTS: [u16; 1 << SLOT_BITS] = {
    let mut slots = [EMPTY; 1 << SLOT_BITS];

    let mut i = 0;
    while i < SPECIALS.len() {
        let mut slot = slot(hash_of(SPECIALS[i].0.as_bytes()));
        while slots[slot] != EMPTY {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = i as u16;
        i += 1;
    }

    slots
};

const fn slot(hash: u64) -> usize {
    (hash >> (64 - SLOT_BITS)) as usize
}

/// A set of hashes, told apart by their upper 16 bits alone. It may claim to hold a hash that was
/// never added.
struct Filter([u64; 1024]);

impl Filter {
    const fn add(&mut self, hash: u64) {
        self.0[(hash >> 54) as usize] |= 1 << (hash >> 48 & 63);
    }

    #[inline]
    fn may_hold(&self, hash: u64) -> bool {
        self.0[(hash >> 54) as usize] >> (hash >> 48 & 63) & 1 == 1
    }
}

/// The hashes of all special cases. The filter rejects nearly all other words.
static KNOWN: Filter = {
    let mut filter = Filter([0; 1024]);
    let mut i = 0;
    while i < SPECIALS.len() {
        filter.add(hash_of(SPECIALS[i].0.as_bytes()));
        i += 1;
    }
    filter
};

/// The hash of a text of `len` bytes, from its first eight bytes in little-endian order. A shorter
/// text is filled up with zeros.
#[inline]
const fn hash(first_eight: u64, len: usize) -> u64 {
    (first_eight ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline]
const fn hash_of(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    // A shorter text is read by chunks that may overlap: a byte that is read twice falls on its own
    // place both times.
    let first_eight = if let Some(eight) = bytes.first_chunk() {
        u64::from_le_bytes(*eight)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << (8 * (n - 4))
    } else if n > 0 {
        bytes[0] as u64
            | (bytes[n / 2] as u64) << (8 * (n / 2))
            | (bytes[n - 1] as u64) << (8 * (n - 1))
    } else {
        0
    };
    hash(first_eight, n)
}

/// The pieces of the special case `text`, as a mask: bit n is set if a piece starts at byte n > 0.
/// `None` if `text` is not a special case.
#[inline]
pub(super) fn find(text: &str) -> Option<u32> {
    let hash = hash_of(text.as_bytes());
    if KNOWN.may_hold(hash) {
        find_hashed(text.as_bytes(), hash).map(|(cuts, _)| cuts)
    } else {
        None
    }
}

/// Like [`find`], with the eight bytes from the start of `text` on already read. They may reach
/// beyond the end of `text`, which is not empty.
#[inline]
pub(super) fn find_with(text: &str, first_eight: u64) -> Option<u32> {
    let own = u64::MAX >> (64 - 8 * text.len().min(8));
    let hash = hash(first_eight & own, text.len());
    if KNOWN.may_hold(hash) {
        find_hashed(text.as_bytes(), hash).map(|(cuts, _)| cuts)
    } else {
        None
    }
}

/// The masks of the special case `text`: its pieces, and its tokens if it is a phrase, else 0.
fn find_hashed(text: &[u8], hash: u64) -> Option<(u32, u32)> {
    let mut slot = slot(hash);
    loop {
        // A free slot has no entry in `SPECIALS` and ends the search.
        let &(known, cuts, phrase) = SPECIALS.get(usize::from(SLOTS[slot]))?;
        if known.as_bytes() == text {
            return Some((cuts, phrase));
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

/// Appends the pieces of `text`, which start at byte 0 and at the bits of `cuts`.
pub(super) fn push_pieces<'a>(text: &'a str, mut cuts: u32, out: &mut Vec<&'a str>) {
    let mut start = 0;
    while cuts != 0 {
        let end = cuts.trailing_zeros() as usize;
        out.push(&text[start..end]);
        start = end;
        cuts &= cuts - 1;
    }
    out.push(&text[start..]);
}

/// A set of pairs of neighbouring tokens, told apart by their first bytes: a mask for each byte of
/// the first token. Bit n stands for byte n of the second token, bit 127 for all beyond ASCII.
struct Pairs([u128; 256]);

impl Pairs {
    const fn add(&mut self, token: u8, next: u8) {
        self.0[token as usize] |= 1 << if next < 127 { next } else { 127 };
    }

    #[inline]
    fn may_hold(&self, token: &str, next: &str) -> bool {
        self.0[usize::from(token.as_bytes()[0])] >> next.as_bytes()[0].min(127) & 1 == 1
    }
}

/// The pairs of neighbouring tokens of all phrases.
static PAIRS: Pairs = {
    let mut pairs = Pairs([0; 256]);

    let mut i = 0;
    while i < SPECIALS.len() {
        let (bytes, mut starts) = (SPECIALS[i].0.as_bytes(), SPECIALS[i].2);
        let mut start = 0;
        while starts != 0 {
            let next = starts.trailing_zeros() as usize;
            pairs.add(bytes[start], bytes[next]);
            start = next;
            starts &= starts - 1;
        }
        i += 1;
    }

    pairs
};

/// The hashes of the beginnings of phrases: their first token, their first two, up to all but one.
static BEGINNINGS: Filter = {
    let mut filter = Filter([0; 1024]);

    let mut i = 0;
    while i < SPECIALS.len() {
        let (bytes, mut starts) = (SPECIALS[i].0.as_bytes(), SPECIALS[i].2);
        while starts != 0 {
            filter.add(hash_of(bytes.split_at(starts.trailing_zeros() as usize).0));
            starts &= starts - 1;
        }
        i += 1;
    }

    filter
};

#[inline]
fn may_start_phrase(token: &str, next: &str) -> bool {
    PAIRS.may_hold(token, next) && BEGINNINGS.may_hold(hash_of(token.as_bytes()))
}

/// Tokens `first..end`, which match the phrase of a special case.
struct Match {
    first: usize,
    end: usize,
    /// The pieces of the special case, if they replace the tokens: they differ from the tokens, and
    /// the tokens touch each other.
    cuts: Option<u32>,
}

/// Appends to `marked` the tokens from `first` on that start a phrase with other pieces than its
/// tokens.
#[inline]
pub(super) fn mark_phrases(text: &str, tokens: &[&str], first: usize, marked: &mut Vec<usize>) {
    for i in first + 1..tokens.len() {
        if may_start_phrase(tokens[i - 1], tokens[i]) {
            find_phrases(text, tokens, i - 1, |found| {
                marked.extend(found.cuts.map(|_| i - 1))
            });
        }
    }
}

/// Replaces the tokens in `out`, which are subslices of `text`, where spaCy's matcher finds special
/// cases. All replacements are near the tokens `marked`, which are in ascending order.
pub(super) fn respan<'a>(text: &'a str, marked: &[usize], out: &mut Vec<&'a str>) {
    let links = |i: usize| {
        PAIRS.may_hold(out[i - 1], out[i])
            && super::gap(text, out[i - 1], out[i]) != super::Gap::Token
    };

    let mut kept = Vec::new();
    let mut matches = Vec::new();
    let mut end = 0;
    for &mark in marked {
        if mark < end {
            continue;
        }

        // No match crosses the ends of a run of linked tokens, so a mark needs no look beyond its
        // own run.
        let start = (1..=mark).rev().find(|&i| !links(i)).unwrap_or(0);
        end = (mark + 1..out.len())
            .find(|&i| !links(i))
            .unwrap_or(out.len());

        // Matches that change nothing count too, because they may block others.
        matches.clear();
        for i in start + 1..end {
            if may_start_phrase(out[i - 1], out[i]) {
                find_phrases(text, out, i - 1, |found| matches.push(found));
            }
        }
        without_overlaps(&mut matches, &mut kept);
    }

    let Some(&(start, ..)) = kept.first() else {
        return;
    };

    // The tokens before the first replacement stay where they are.
    let old = out.split_off(start);
    let mut at = start;
    for (first, end, cuts) in kept {
        out.extend_from_slice(&old[at - start..first - start]);

        // Replaced tokens touch each other, so together they are one slice of the text.
        let span_start = super::offset(text, old[first - start]);
        let last = old[end - 1 - start];
        push_pieces(
            &text[span_start..super::offset(text, last) + last.len()],
            cuts,
            out,
        );
        at = end;
    }
    out.extend_from_slice(&old[at - start..]);
}

/// Calls `found` with each phrase that starts at token `first`, from the shortest to the longest.
fn find_phrases(text: &str, tokens: &[&str], first: usize, mut found: impl FnMut(Match)) {
    // The tokens so far without the white space between them, and the mask of their starts.
    let mut joined = [0; LONGEST];
    let (mut len, mut starts, mut touching) = (0, 0u32, true);
    for (i, token) in tokens.iter().enumerate().skip(first) {
        if i > first {
            let gap = super::gap(text, tokens[i - 1], token);
            if gap == super::Gap::Token {
                return;
            }
            touching &= gap == super::Gap::None;
            starts |= 1 << len;
        }

        // Longer than any special case: no phrase can follow.
        let Some(free) = joined[len..].get_mut(..token.len()) else {
            return;
        };
        free.copy_from_slice(token.as_bytes());
        len += token.len();

        let hash = hash_of(&joined[..len]);
        if i > first
            && KNOWN.may_hold(hash)
            && let Some((cuts, phrase)) = find_hashed(&joined[..len], hash)
            && phrase == starts
        {
            found(Match {
                first,
                end: i + 1,
                cuts: (touching && cuts != starts).then_some(cuts),
            });
        }

        if !BEGINNINGS.may_hold(hash) {
            return;
        }
    }
}

/// Appends to `kept` the matches that change something and overlap no stronger match. `matches` are
/// in the order of their starts.
///
/// The longer match is the stronger one, then the earlier one. As in spaCy, a match blocks its
/// tokens even if it loses to another.
fn without_overlaps(matches: &mut [Match], kept: &mut Vec<(usize, usize, u32)>) {
    let mut rest = matches;
    while let Some(cluster_len) = cluster_len(rest) {
        let (cluster, after) = rest.split_at_mut(cluster_len);
        rest = after;

        // A match that overlaps no other needs no sorting.
        if let [Match { first, end, cuts }] = cluster {
            kept.extend(cuts.map(|cuts| (*first, *end, cuts)));
            continue;
        }

        let from = cluster[0].first;
        let end = cluster.iter().map(|m| m.end).max().unwrap_or(from);
        cluster.sort_by_key(|m| (std::cmp::Reverse(m.end - m.first), m.first));

        let mut taken = vec![false; end - from];
        let kept_before = kept.len();
        for m in &*cluster {
            let (first, end) = (m.first - from, m.end - from);
            if let (false, false, Some(cuts)) = (taken[first], taken[end - 1], m.cuts) {
                kept.push((m.first, m.end, cuts));
            }
            taken[first..end].fill(true);
        }

        // Back from the order of strength to the order of the text. Clusters are in order already.
        kept[kept_before..].sort_unstable();
    }
}

/// The number of leading matches that overlap in a chain. `None` without matches.
fn cluster_len(matches: &[Match]) -> Option<usize> {
    let mut end = matches.first()?.end;

    let chained = matches.iter().take_while(|m| {
        let overlaps = m.first < end;
        end = end.max(m.end);
        overlaps
    });
    Some(chained.count())
}
