//! 64-bit hashes of words in registers, and two reusable tables of hashes: [`HashIndex`] tells
//! which hashes are equal, and [`HashSet`] counts the different ones.
//!
//! [`mix`] is the folded multiplication of wyhash (Wang Yi 2019), with two words of input, 128 bits
//! of product and one word of output. Two different inputs agree with a probability of about 2⁻⁶⁴,
//! unless a text is made with knowledge of the constants.
//!
//! The tables use open addressing with linear probing. The number of slots is a power of two, and
//! at most half of the slots are full. The cost of a document depends on its own items alone, not
//! on the documents before it.

use xxhash_rust::xxh3::xxh3_64;

/// One hash of two hashes, or of sixteen bytes.
#[inline]
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    product as u64 ^ (product >> 64) as u64
}

/// The lowest bit of each byte.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte, which is set in bytes beyond ASCII.
pub(crate) const HIGH_BITS: u64 = ONES << 7;

/// The eight bytes from `at` on, in little-endian order.
///
/// # Panics
/// If fewer than eight bytes follow.
#[inline]
pub(crate) fn load(bytes: &[u8], at: usize) -> u64 {
    let mut block = [0; 8];
    block.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(block)
}

/// Masks of a block: `KEEP[n]` has the lowest `n` bytes set.
const KEEP: [u64; 9] = {
    // A shift by 64 bits would overflow, so the last mask stays as it is.
    let mut masks = [u64::MAX; 9];
    let mut n = 0;
    while n < 8 {
        masks[n] = (1 << (8 * n)) - 1;
        n += 1;
    }
    masks
};

/// The first `len_bytes` bytes of a block of eight. The other bytes become 0.
#[inline]
pub(crate) fn keep(block: u64, len_bytes: usize) -> u64 {
    block & KEEP[len_bytes.min(8)]
}

/// The first eight bytes of `word` and of the text behind it, in little-endian order.
///
/// If fewer than eight bytes are left in `text`, or `word` is no subslice of it, zeros follow the
/// word instead.
#[inline]
pub(crate) fn first_block(text: &str, word: &[u8]) -> u64 {
    // Outside `text` the difference is larger than its length, and the lookup fails.
    let from = word.as_ptr().addr().wrapping_sub(text.as_ptr().addr());

    match text
        .as_bytes()
        .get(from..)
        .and_then(|text| text.first_chunk())
    {
        Some(block) => u64::from_le_bytes(*block),
        None => word
            .iter()
            .take(8)
            .rev()
            .fold(0, |block, &byte| block << 8 | u64::from(byte)),
    }
}

/// The length of the longest word that a [`Word`] can hold, in bytes.
pub(crate) const SHORT: usize = 16;

/// A word of at most [`SHORT`] bytes, in registers.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    low: u64,
    high: u64,
    len_bytes: usize,
}

impl Word {
    /// The word in the first `len_bytes` bytes of a block of [`SHORT`] bytes.
    #[inline]
    pub(crate) fn new(block: &[u8], len_bytes: usize) -> Word {
        let low = keep(load(block, 0), len_bytes);
        Word {
            low,
            high: keep(load(block, 8), len_bytes.saturating_sub(8)),
            len_bytes,
        }
    }

    /// True if all bytes of the word are ASCII.
    #[inline]
    pub(crate) fn is_ascii(self) -> bool {
        (self.low | self.high) & HIGH_BITS == 0
    }

    /// The hash of the word. [`hash_word`] gives the same.
    #[inline]
    pub(crate) fn hash(self) -> u64 {
        // Without the length, a word and the same word with NULs behind it would have one hash.
        mix(
            self.low,
            self.high ^ (self.len_bytes as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        )
    }
}

/// The hash of a word of any length.
pub(crate) fn hash_word(word: &[u8]) -> u64 {
    if word.len() > SHORT {
        return xxh3_64(word);
    }

    let mut block = [0; SHORT];
    block[..word.len()].copy_from_slice(word);
    Word::new(&block, word.len()).hash()
}

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u64,
    generation: u32,
    id: u32,
}

/// A map from hashes to ids. Equal hashes have equal ids, and ids are numbered 0, 1, 2 … by first
/// appearance since [`HashIndex::start`].
///
/// Slots carry the generation that wrote them, so one increment empties the index.
#[derive(Default)]
pub(crate) struct HashIndex {
    slots: Vec<Slot>,
    mask: usize,
    generation: u32,
    len: u32,
}

impl HashIndex {
    /// Empties the index and makes room for `items` hashes. More than that must not be inserted.
    pub(crate) fn start(&mut self, items: usize) {
        let slots = (items * 2).next_power_of_two().max(64);

        // Generation 0 marks slots that were never written. The numbers start again only in a table
        // without older ones.
        if slots > self.slots.len() || self.generation == u32::MAX {
            self.slots.clear();
            self.slots.resize(slots, Slot::default());
            self.generation = 0;
        }

        // A small document uses only the first slots of a large table.
        self.mask = slots - 1;
        self.generation += 1;
        self.len = 0;
    }

    /// The id of `hash`, and true if the hash is new.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) -> (u32, bool) {
        // The low bits of a hash need not be uniform, so the slot comes from a product.
        let mut at = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & self.mask;

        loop {
            let slot = &mut self.slots[at];
            if slot.generation != self.generation {
                *slot = Slot {
                    hash,
                    generation: self.generation,
                    id: self.len,
                };
                self.len += 1;
                return (slot.id, true);
            }
            if slot.hash == hash {
                return (slot.id, false);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The number of different hashes since [`HashIndex::start`].
    pub(crate) fn len(&self) -> u32 {
        self.len
    }
}

/// A set of hashes, which grows with the number of hashes in it.
///
/// The high bits of a hash choose its slot and should be uniform.
#[derive(Default)]
pub(crate) struct HashSet {
    /// The hashes. 0 marks a free slot.
    slots: Vec<u64>,
    /// The slots before the last growth, kept so that their memory is used again.
    former: Vec<u64>,
    shift: u32,
    len: usize,
}

impl HashSet {
    /// Empties the set and makes room for `items` hashes. With more hashes the set grows.
    pub(crate) fn start(&mut self, items: usize) {
        self.resize((items * 2).next_power_of_two().max(64));
    }

    fn resize(&mut self, slots: usize) {
        self.slots.clear();
        self.slots.resize(slots, 0);
        self.shift = 64 - slots.ilog2();
        self.len = 0;
    }

    /// Adds `hash`. Returns true if it is new. 0 and 1 count as the same hash.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        let hash = hash.max(1);
        let mask = self.slots.len() - 1;
        let mut at = (hash >> self.shift) as usize;

        // At most half of the slots are full, so the search ends.
        loop {
            let slot = &mut self.slots[at & mask];
            if *slot == hash {
                return false;
            }
            if *slot == 0 {
                *slot = hash;
                self.len += 1;
                if self.len * 2 > mask + 1 {
                    self.grow();
                }
                return true;
            }
            at += 1;
        }
    }

    #[cold]
    fn grow(&mut self) {
        std::mem::swap(&mut self.slots, &mut self.former);
        self.resize(self.former.len() * 4);

        for i in 0..self.former.len() {
            if self.former[i] != 0 {
                self.insert(self.former[i]);
            }
        }
    }

    /// The number of different hashes since [`HashSet::start`].
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_restart() {
        let mut index = HashIndex::default();
        for items in [5, 5, 200_000, 3] {
            index.start(items);
            let ids = [7, 9, 7, 0, 9].map(|hash| index.insert(hash));
            assert_eq!(
                ids,
                [(0, true), (1, true), (0, false), (2, true), (1, false)]
            );
            assert_eq!(index.len(), 3);
        }
    }

    #[test]
    fn a_set_grows_and_restarts() {
        let mut set = HashSet::default();
        for items in [3, 100_000, 0, 77] {
            set.start(items as usize / 2);
            for round in 0..2 {
                for i in 0..items {
                    assert_eq!(set.insert(mix(i, 0)), round == 0);
                }
            }
            assert_eq!(set.len() as u64, items);
        }
    }

    #[test]
    fn a_block_hashes_as_its_word() {
        let text = b"\0\0abcdefghijklmnopqrstuvwxyz0123456789\0\0\0\0\0\0\0";
        let mut set = HashSet::default();
        set.start(0);
        let mut words = std::collections::HashSet::new();

        for from in 0..text.len() - SHORT {
            for len in 0..=SHORT {
                let word = &text[from..from + len];
                assert_eq!(
                    Word::new(&text[from..from + SHORT], len).hash(),
                    hash_word(word)
                );
                assert_eq!(set.insert(hash_word(word)), words.insert(word), "{word:?}");
            }
        }
    }
}
