//! A sketch of the keys that occur more than once, with two bits a slot, so that other keys need
//! not be moved.
//!
//! Two keys in one slot count as a repeat. Keys that pass are compared exactly later, so the sketch
//! decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// Slots for each expected key, before the number of slots is rounded down to a power of two. One
/// key in 9 to 17 shares its slot by chance.
const SLOTS_A_KEY: u64 = 16;

/// A table of slots. Each slot is empty, hit once or hit more often.
pub(crate) struct Sketch {
    /// 32 slots a word. The lower bit of a slot says that it was hit, the upper bit that it was hit
    /// again.
    words: Vec<AtomicU64>,
    /// Number of bits by which a mixed key is shifted to the right, which gives its slot.
    shift: u32,
}

impl Sketch {
    /// An empty sketch for `keys` keys, in at most `memory` bytes but at least 16.
    pub(crate) fn new(keys: u64, memory: u64) -> Sketch {
        // Four slots take a byte.
        let wanted = (keys.saturating_mul(SLOTS_A_KEY))
            .min(memory.saturating_mul(4))
            .max(64);
        // Rounded down to a power of two, so that the sketch stays within its memory.
        let bits = wanted.ilog2();

        Sketch {
            words: (0..1u64 << (bits - 5)).map(|_| AtomicU64::new(0)).collect(),
            shift: 64 - bits,
        }
    }

    /// Notes an occurrence of a key. The result does not depend on the order of calls.
    pub(crate) fn add(&self, key: u64) {
        let (word, once) = self.slot(key);
        // Of two threads that add at once, one sees the bit of the other.
        let before = self.words[word].fetch_or(once, Ordering::Relaxed);
        if before & once != 0 && before & once << 1 == 0 {
            self.words[word].fetch_or(once << 1, Ordering::Relaxed);
        }
    }

    /// True if the key may have occurred more than once. Never false if it has.
    pub(crate) fn is_repeated(&self, key: u64) -> bool {
        let (word, once) = self.slot(key);
        self.words[word].load(Ordering::Relaxed) & once << 1 != 0
    }

    /// The word of a key's slot, and the lower bit of the slot in the word.
    fn slot(&self, key: u64) -> (usize, u64) {
        let slot = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        ((slot >> 5) as usize, 1 << (2 * (slot & 31)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_found_and_few_others() {
        const KEYS: u64 = 100_000;
        for memory in [1 << 30, KEYS] {
            let sketch = Sketch::new(KEYS, memory);
            // Keys are hashes.
            let hash = |key: u64| xxhash_rust::xxh3::xxh3_64(&key.to_le_bytes());
            for key in 0..KEYS {
                sketch.add(hash(key));
                (key % 10 == 0).then(|| sketch.add(hash(key)));
            }

            let found = |repeated: bool| {
                (0..KEYS)
                    .filter(|key| (key % 10 == 0) == repeated && sketch.is_repeated(hash(*key)))
                    .count() as f64
            };
            assert_eq!(found(true), 0.1 * KEYS as f64);

            let by_chance = found(false) / (0.9 * KEYS as f64);
            let slots = 32.0 * sketch.words.len() as f64;
            assert!(8 * sketch.words.len() as u64 <= memory);
            let expected = 1.0 - (-(KEYS as f64) / slots).exp();
            assert!(
                (by_chance / expected - 1.0).abs() < 0.15,
                "{by_chance} by chance, expected {expected}"
            );
        }
    }
}
