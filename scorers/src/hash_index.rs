//! A reusable index of 64-bit hashes: which are equal, in order of first appearance.
//!
//! Open addressing with linear probing over a power of two of slots, at most half of them full. Emptying it is one
//! increment: slots carry the generation that wrote them, so a document of any length costs what its own items cost.

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u64,
    generation: u32,
    id: u32,
}

/// Gives equal hashes equal ids: 0, 1, 2 … by first appearance since [`HashIndex::start`].
#[derive(Default)]
pub(crate) struct HashIndex {
    slots: Vec<Slot>,
    mask: usize,
    generation: u32,
    len: u32,
}

impl HashIndex {
    /// Empties the index and makes room for `items` hashes; inserting more is a bug.
    pub(crate) fn start(&mut self, items: usize) {
        let slots = (items * 2).next_power_of_two().max(64);
        if slots > self.slots.len() || self.generation == u32::MAX {
            self.slots.clear();
            self.slots.resize(slots, Slot::default());
            self.generation = 0;
        }
        self.mask = slots - 1;
        self.generation += 1;
        self.len = 0;
    }

    /// The id of `hash`, and whether it is new.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) -> (u32, bool) {
        // Polynomial hashes are not uniform in their low bits.
        let mut at = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & self.mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.generation != self.generation {
                *slot = Slot { hash, generation: self.generation, id: self.len };
                self.len += 1;
                return (slot.id, true);
            }
            if slot.hash == hash {
                return (slot.id, false);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// How many different hashes there are.
    pub(crate) fn len(&self) -> u32 {
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
            assert_eq!(ids, [(0, true), (1, true), (0, false), (2, true), (1, false)]);
            assert_eq!(index.len(), 3);
        }
    }
}
