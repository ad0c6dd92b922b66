//! A set of documents, a bit each.

use std::sync::atomic::{AtomicU64, Ordering};

/// Documents by number; may be filled by several threads.
pub(crate) struct Bits(Vec<AtomicU64>);

impl Bits {
    /// None of so many documents.
    pub(crate) fn new(documents: u64) -> Bits {
        Bits(
            (0..documents.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
        )
    }

    /// Adds a document.
    pub(crate) fn insert(&self, doc: u64) {
        self.0[doc as usize / 64].fetch_or(1 << (doc % 64), Ordering::Relaxed);
    }

    /// Whether a document was added.
    pub(crate) fn contains(&self, doc: u64) -> bool {
        self.0[doc as usize / 64].load(Ordering::Relaxed) >> (doc % 64) & 1 == 1
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0
            .iter()
            .map(|word| u64::from(word.load(Ordering::Relaxed).count_ones()))
            .sum()
    }
}
