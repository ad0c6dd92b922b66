//! A set of documents with one bit for each document of the corpus.

use std::sync::atomic::{AtomicU64, Ordering};

/// A set of documents, by number. Several threads may add documents at the same time.
pub(crate) struct Bits(Vec<AtomicU64>);

impl Bits {
    /// The empty set in a corpus of `documents` documents.
    pub(crate) fn new(documents: u64) -> Bits {
        Bits(
            (0..documents.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
        )
    }

    /// Adds a document to the set.
    pub(crate) fn insert(&self, doc: u64) {
        self.0[doc as usize / 64].fetch_or(1 << (doc % 64), Ordering::Relaxed);
    }

    /// True if a document is in the set.
    pub(crate) fn contains(&self, doc: u64) -> bool {
        self.0[doc as usize / 64].load(Ordering::Relaxed) >> (doc % 64) & 1 == 1
    }

    /// The number of documents in the set.
    pub(crate) fn count(&self) -> u64 {
        self.0
            .iter()
            .map(|word| u64::from(word.load(Ordering::Relaxed).count_ones()))
            .sum()
    }
}
