//! A table from hashes to numbers with open addressing. Its size follows from the entries that are
//! really in the file, and so does the time to build it: a chain that no honest file has is refused.

/// The most slots that a search looks at. With half of the slots free, chance makes chains of some
/// dozens; only a file that was made for it has longer ones.
const CHAIN_MAX: usize = 1024;

/// A free slot has this value.
const FREE: u32 = u32::MAX;

/// A table from 32-bit hashes to values below `u32::MAX`.
pub(super) struct Slots {
    /// (hash, value). The length is a power of two.
    slots: Vec<(u32, u32)>,
    shift: u32,
}

impl Slots {
    /// An empty table for `entries`, half full or less when they are in.
    pub(super) fn new(entries: usize) -> Slots {
        let len = (entries * 2).next_power_of_two().max(2);
        Slots {
            slots: vec![(0, FREE); len],
            shift: 64 - len.trailing_zeros(),
        }
    }

    #[inline]
    fn first(&self, hash: u32) -> usize {
        // Fibonacci hashing (Knuth, TAOCP 3, 6.4): the upper bits depend on all bits of the hash.
        (u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// Sets the value of a hash. An entry for which `is_same` holds is overwritten. `None` if the
    /// chain of the hash is longer than chance makes it.
    pub(super) fn insert(
        &mut self,
        hash: u32,
        value: u32,
        is_same: impl Fn(u32) -> bool,
    ) -> Option<()> {
        let mask = self.slots.len() - 1;
        let mut at = self.first(hash);
        for _ in 0..CHAIN_MAX {
            let slot = &mut self.slots[at];
            if slot.1 == FREE || slot.0 == hash && is_same(slot.1) {
                *slot = (hash, value);
                return Some(());
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The value of the first entry with this hash for which `is_same` holds.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.first(hash);
        // Half of the slots are free, so the search ends.
        loop {
            let (found, value) = self.slots[at];
            if value == FREE {
                return None;
            }
            if found == hash && is_same(value) {
                return Some(value);
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_an_entry_counts() {
        let mut slots = Slots::new(3);
        for (hash, value) in [(7, 1), (7, 2), (9, 3)] {
            assert!(slots.insert(hash, value, |_| true).is_some());
        }
        let found = [7, 9, 8].map(|hash| slots.find(hash, |_| true));
        assert_eq!(found, [Some(2), Some(3), None]);
    }

    #[test]
    fn a_chain_that_chance_does_not_make_is_refused() {
        let mut slots = Slots::new(5_000);
        let taken = (0..5_000)
            .take_while(|&value| slots.insert(7, value, |_| false).is_some())
            .count();
        assert_eq!(taken, CHAIN_MAX);
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(Slots::new(0).find(0, |_| true), None);
    }
}
