//! Candidates: the documents that share a band key, and the components that these keys connect.
//!
//! There are two scans over the band keys. The first finds the repeated keys. The second moves the
//! repeated keys, with their documents, into partitions by key. Each partition is sorted in memory.
//! The documents of one key are joined by linear edges in a forest over all documents.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::error::{Result, StageError};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use curate_schemas::stages::near_dedup::NearDedup;
use rayon::prelude::*;

use super::sample::PairSample;
use crate::bits::Bits;
use crate::corpus::{Corpus, documents, own_documents};
use crate::sketch::Sketch;
use crate::spill::{Spill, pairs, pairs_mut};
use crate::{column, is_reached, read};

/// Documents that share a band key with another document, by key, and their components.
pub(super) struct Candidates {
    /// Pairs of key and document, sorted, in partitions by key. Each key has two documents or more.
    buckets: Spill,
    /// The first document of each document's component.
    roots: Vec<u32>,
    /// Documents that share a band key with another document.
    pub(super) members: Bits,
    /// How components that were too large were cut; `None` if no component was.
    cuts: Option<Cuts>,
    /// Counts for the log, and for the size of partitions.
    pub(super) counts: Counts,
}

/// Counts over the documents that reach the stage, their keys and their components.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Documents without a shingle.
    pub(super) without_shingle: u64,
    /// Shingles of all documents, repeats within a document included.
    pub(super) shingles: u64,
    /// Band keys of all documents.
    pub(super) keys: u64,
    /// Band keys that went into partitions.
    pub(super) moved: u64,
    /// Components of two documents or more, before any was cut.
    pub(super) components: u64,
    /// Documents of the largest component, before any was cut; 0 without components.
    pub(super) largest: u64,
    /// Components that were cut.
    pub(super) cut: u64,
}

impl Candidates {
    /// Reads the band keys of all documents that reach the stage, and shows them to `sample`.
    ///
    /// # Errors
    /// If a file cannot be read or written, or if there are 2³² − 1 documents or more, those of
    /// earlier runs included.
    pub(super) fn find(
        corpus: &dyn Corpus,
        near: &NearDedup,
        sample: &PairSample,
    ) -> Result<Candidates> {
        // The forest holds the number of a document in 32 bits.
        let documents = documents(corpus);
        if documents >= u64::from(u32::MAX) {
            let message = format!(
                "{documents} documents are too many, those of earlier runs included: near_dedup \
                 takes fewer than 2^32"
            );
            return Err(StageError::manifest(message));
        }

        let most_keys = documents * u64::from(near.bands);
        let sketch = Sketch::new(most_keys, corpus.memory() / 4);
        let mut counts = survey(corpus, &sketch, sample)?;
        let (buckets, moved) = file_repeated(corpus, &sketch, counts.keys)?;
        counts.moved = moved;
        drop(sketch);

        let (forest, members) = join_buckets(corpus, &buckets, documents)?;
        let mut found = Candidates {
            buckets,
            roots: forest.roots(),
            members,
            cuts: None,
            counts,
        };
        found.cut_giants(corpus, near.max_component)?;
        Ok(found)
    }

    /// The first document of a document's component.
    pub(super) fn root(&self, doc: u64) -> u64 {
        u64::from(self.roots[doc as usize])
    }

    /// Calls `visit` once with each bucket: a number for the bucket, and its documents. The buckets
    /// are empty afterwards.
    ///
    /// # Errors
    /// If a partition cannot be read, or the first error that `visit` returns.
    pub(super) fn for_each_bucket(
        &self,
        visit: impl Fn(u64, &[[u64; 2]]) -> Result<()> + Sync,
    ) -> Result<()> {
        (0..self.buckets.partitions())
            .into_par_iter()
            .try_for_each(|partition| {
                let pairs = self.buckets.take(partition)?;

                for bucket in each_bucket(&pairs) {
                    let Some(cuts) = self.cuts.as_ref().filter(|cuts| cuts.level(bucket) > 0)
                    else {
                        visit(bucket[0][0], bucket)?;
                        continue;
                    };
                    // Pieces of one bucket have one key, so the key alone does not tell them apart.
                    for (at, piece) in cuts.pieces(bucket).iter().enumerate() {
                        visit(bucket[0][0].wrapping_add(at as u64), piece)?;
                    }
                }
                Ok(())
            })
    }

    /// Cuts components of more than `most` documents. Large buckets of unlike documents connect
    /// such components, or long chains do.
    fn cut_giants(&mut self, corpus: &dyn Corpus, most: u64) -> Result<()> {
        let sizes = self.sizes();
        self.counts.components = sizes.iter().filter(|size| **size > 1).count() as u64;
        self.counts.largest = sizes
            .iter()
            .map(|size| u64::from(*size))
            .filter(|size| *size > 1)
            .max()
            .unwrap_or(0);
        self.counts.cut = sizes.iter().filter(|size| u64::from(**size) > most).count() as u64;
        drop(sizes);
        if self.counts.cut == 0 {
            return Ok(());
        }

        let mut cuts = Cuts::new(documents(corpus), own_documents(corpus), most);
        while cuts.deepen(&self.roots, &self.sizes()) {
            // A forest cannot take an edge back. Components that are cut are joined anew instead,
            // by the pieces of their buckets.
            let mut forest = Forest(std::mem::take(&mut self.roots));
            forest.separate(&cuts.levels);

            // Buckets are read, not taken: the next round and `for_each_bucket` need them whole.
            for partition in 0..self.buckets.partitions() {
                corpus.check()?;
                let pairs = self.buckets.read(partition)?;
                for bucket in each_bucket(&pairs).filter(|bucket| cuts.level(bucket) > 0) {
                    cuts.pieces(bucket)
                        .iter()
                        .for_each(|piece| forest.join(piece));
                }
            }
            self.roots = forest.roots();
        }
        self.cuts = Some(cuts);
        Ok(())
    }

    /// The number of documents of each component at the place of its root; 0 elsewhere.
    fn sizes(&self) -> Vec<u32> {
        let mut sizes = vec![0; self.roots.len()];
        self.roots
            .iter()
            .for_each(|root| sizes[*root as usize] += 1);
        sizes
    }
}

/// Moves the repeated keys, with their documents, into partitions by key. Returns the partitions
/// and the number of keys in them. `keys` is the number of all band keys.
fn file_repeated(corpus: &dyn Corpus, sketch: &Sketch, keys: u64) -> Result<(Spill, u64)> {
    // Each thread sorts one partition, and holds the remaining pairs beside it.
    let share = corpus.memory() / (16 * rayon::current_num_threads() as u64);
    let partitions = (16 * keys).div_ceil(share).clamp(1, 4096) as usize;
    let buckets = Spill::new(corpus.spill(), partitions, corpus.memory() / 8)?;
    let moved = AtomicU64::new(0);

    corpus.scan(&[read("signatures", "bands")], &|first, batch| {
        // Pairs are gathered first, so that a partition is locked once a batch.
        let mut local = vec![Vec::new(); partitions];
        each_key(batch, first, &mut |doc, key| {
            if sketch.is_repeated(key) {
                local[buckets.partition_of(key)].extend([key, doc]);
            }
        })?;

        for (partition, pairs) in local
            .iter()
            .enumerate()
            .filter(|(_, pairs)| !pairs.is_empty())
        {
            moved.fetch_add(pairs.len() as u64 / 2, Relaxed);
            buckets.push(partition, pairs)?;
        }
        Ok(())
    })?;
    Ok((buckets, moved.into_inner()))
}

/// Sorts each partition, drops keys of a single document, and joins the documents of each other
/// key. Returns the forest and the documents in it that have a bucket.
fn join_buckets(corpus: &dyn Corpus, buckets: &Spill, documents: u64) -> Result<(Forest, Bits)> {
    let members = Bits::new(documents);
    let forest = Mutex::new(Forest::new(documents));

    (0..buckets.partitions())
        .into_par_iter()
        .try_for_each(|partition| {
            corpus.check()?;
            let mut words = buckets.take(partition)?;
            pairs_mut(&mut words).sort_unstable();

            // The sketch lets some keys of a single document pass. They end here.
            let repeated: Vec<u64> = each_bucket(&words)
                .filter(|bucket| bucket.len() > 1)
                .flatten()
                .flatten()
                .copied()
                .collect();
            drop(words);

            let mut joined = forest.lock().unwrap_or_else(PoisonError::into_inner);
            each_bucket(&repeated).for_each(|bucket| joined.join(bucket));
            drop(joined);

            pairs(&repeated)
                .iter()
                .for_each(|[_, doc]| members.insert(*doc));
            buckets.push(partition, &repeated).map(|_| ())
        })?;
    let forest = forest.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((forest, members))
}

/// A bucket of more documents than this is long. It is taken to connect unlike documents.
const LONG: usize = 1_000;

/// How components that are too large are cut.
///
/// They are cut into blocks of documents. The blocks are the same for all buckets, so documents
/// that share many buckets still share them after the cut. At first only long buckets are cut, into
/// ever smaller blocks. Where these cuts do not suffice, as for a chain, all buckets are cut.
struct Cuts {
    /// How often the component of each document was cut; 0: never.
    levels: Vec<u8>,
    /// Number of documents, rounded up to a power of two.
    whole: u64,
    /// The level from which on all buckets are cut.
    all_from: u8,
    /// Most documents that a component may have.
    most: u64,
    /// Number of documents, those of earlier runs included.
    documents: u64,
    /// Number of documents of this run.
    own: u64,
}

impl Cuts {
    fn new(documents: u64, own: u64, most: u64) -> Cuts {
        let whole = documents.next_power_of_two();
        // Before that level, blocks of long buckets shrink down to about a sixteenth of the
        // documents that a component may have.
        let all_from = (whole / most.min(whole)).ilog2() as u8 + 5;

        Cuts {
            levels: vec![0; documents as usize],
            whole,
            all_from,
            most,
            documents,
            own,
        }
    }

    /// Raises the level of the documents whose component is still too large. Returns true if there
    /// is such a component.
    ///
    /// Repeated calls come to an end, because a block of the last level has no more documents than
    /// a component may have.
    fn deepen(&mut self, roots: &[u32], sizes: &[u32]) -> bool {
        let mut any = false;
        for (level, root) in self.levels.iter_mut().zip(roots) {
            if u64::from(sizes[*root as usize]) > self.most {
                *level += 1;
                any = true;
            }
        }
        any
    }

    /// The highest level of a bucket's documents; 0: the bucket stays whole.
    fn level(&self, bucket: &[[u64; 2]]) -> u8 {
        bucket
            .iter()
            .map(|[_, doc]| self.levels[*doc as usize])
            .max()
            .unwrap_or(0)
    }

    /// Cuts a bucket into its blocks, and returns the pieces of two documents or more.
    fn pieces(&self, bucket: &[[u64; 2]]) -> Vec<Vec<[u64; 2]>> {
        let is_long = bucket.len() > LONG;
        // A sorted map, so that pieces have the same numbers in every run.
        let mut blocks: BTreeMap<(u8, u64), Vec<[u64; 2]>> = BTreeMap::new();

        for pair in bucket {
            let level = self.levels[pair[1] as usize];
            blocks
                .entry((level, self.block(level, is_long, pair[1])))
                .or_default()
                .push(*pair);
        }

        blocks
            .into_values()
            .filter(|piece| piece.len() > 1)
            .collect()
    }

    /// The number of a document's block. A block of a deeper level lies within one block of the
    /// level above.
    fn block(&self, level: u8, is_long: bool, doc: u64) -> u64 {
        // Documents of earlier runs are spread over the same blocks, so that documents of this run
        // meet them.
        let place = match doc.checked_sub(self.own) {
            Some(at) => {
                (u128::from(at) * u128::from(self.own) / u128::from(self.documents - self.own))
                    as u64
            }
            None => doc,
        };

        // Each halving adds a bit to the number of the block.
        let of_all = u32::from((level + 1).saturating_sub(self.all_from));
        let of_long = if is_long {
            u32::from(level.min(self.all_from - 1))
        } else {
            0
        };
        place / (self.whole >> of_all.max(of_long)).max(1)
    }
}

/// The first scan: notes band keys in `sketch`, counts documents, shingles and keys, and draws the
/// sample.
fn survey(corpus: &dyn Corpus, sketch: &Sketch, sample: &PairSample) -> Result<Counts> {
    let without_shingle = AtomicU64::new(0);
    let shingles = AtomicU64::new(0);
    let keys = AtomicU64::new(0);
    let reads = ["bands", "n_shingles", "probe"].map(|name| read("signatures", name));

    corpus.scan(&reads, &|first, batch| {
        let mut n = 0;
        each_key(batch, first, &mut |_, key| {
            sketch.add(key);
            n += 1;
        })?;
        keys.fetch_add(n, Relaxed);

        let counts = column(batch, "n_shingles")?.as_primitive::<UInt32Type>();
        for row in
            (0..batch.num_rows()).filter(|&row| is_reached(batch, row) && counts.is_valid(row))
        {
            shingles.fetch_add(u64::from(counts.value(row)), Relaxed);
            without_shingle.fetch_add(u64::from(counts.value(row) == 0), Relaxed);
        }
        sample.add(first, batch)
    })?;

    Ok(Counts {
        without_shingle: without_shingle.into_inner(),
        shingles: shingles.into_inner(),
        keys: keys.into_inner(),
        ..Counts::default()
    })
}

/// Calls `visit` with the document and the key, for each band key of the documents that reach the
/// stage. `first` is the document of the batch's first row.
fn each_key(batch: &RecordBatch, first: u64, visit: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let bands = column(batch, "bands")?.as_list::<i32>();
    let keys = bands.values().as_primitive::<UInt64Type>().values();
    let ends = bands.value_offsets();

    for row in (0..batch.num_rows()).filter(|&row| bands.is_valid(row) && is_reached(batch, row)) {
        for key in &keys[ends[row] as usize..ends[row + 1] as usize] {
            visit(first + row as u64, *key);
        }
    }
    Ok(())
}

/// The buckets of a sorted partition: its runs of equal keys.
fn each_bucket(words: &[u64]) -> impl Iterator<Item = &[[u64; 2]]> {
    pairs(words).chunk_by(|a, b| a[0] == b[0])
}

/// A union-find forest. Each document points towards the first document of its component, in 4
/// bytes.
struct Forest(Vec<u32>);

impl Forest {
    /// A forest in which each document is a component of its own.
    fn new(documents: u64) -> Forest {
        // The cast is exact: `Candidates::find` refuses more documents.
        Forest((0..documents as u32).collect())
    }

    /// Joins the components of all documents of a bucket.
    fn join(&mut self, bucket: &[[u64; 2]]) {
        for [_, doc] in &bucket[1..] {
            let (a, b) = (self.root(bucket[0][1] as u32), self.root(*doc as u32));
            // The smaller number becomes the root, so the result does not follow the order of
            // calls.
            self.0[a.max(b) as usize] = a.min(b);
        }
    }

    /// The first document of a document's component.
    fn root(&mut self, mut doc: u32) -> u32 {
        while self.0[doc as usize] != doc {
            // Path halving: the document points to its grandparent from now on.
            self.0[doc as usize] = self.0[self.0[doc as usize] as usize];
            doc = self.0[doc as usize];
        }
        doc
    }

    /// Makes each document of a level above 0 a component of its own.
    fn separate(&mut self, levels: &[u8]) {
        for (doc, _) in levels.iter().enumerate().filter(|(_, level)| **level > 0) {
            self.0[doc] = doc as u32;
        }
    }

    /// The root of every document.
    fn roots(mut self) -> Vec<u32> {
        // One pass is enough: a parent comes before its children, so the parent already
        // points to the root.
        for doc in 0..self.0.len() {
            self.0[doc] = self.0[self.0[doc] as usize];
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_document_is_the_root_in_any_order() {
        let bucket = |docs: &[u64]| docs.iter().map(|doc| [0, *doc]).collect::<Vec<_>>();
        let buckets = [
            bucket(&[4, 6, 8]),
            bucket(&[1, 8]),
            bucket(&[2, 3]),
            bucket(&[9, 7, 2]),
        ];

        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let mut forest = Forest::new(10);
            order
                .iter()
                .for_each(|&at: &usize| forest.join(&buckets[at]));
            assert_eq!(forest.roots(), [0, 1, 2, 2, 1, 5, 1, 2, 1, 2]);
        }
    }

    /// Cuts the component of all documents as [`Candidates::cut_giants`] does. Returns the sizes of
    /// the components after the cuts.
    fn cut(documents: u64, most: u64, buckets: &[Vec<[u64; 2]>]) -> Vec<u32> {
        let mut cuts = Cuts::new(documents, documents, most);
        let mut roots = vec![0; documents as usize];

        loop {
            let mut sizes = vec![0; documents as usize];
            roots
                .iter()
                .for_each(|root: &u32| sizes[*root as usize] += 1);
            if !cuts.deepen(&roots, &sizes) {
                sizes.retain(|size| *size > 0);
                return sizes;
            }

            let mut forest = Forest(roots);
            forest.separate(&cuts.levels);
            buckets
                .iter()
                .flat_map(|bucket| cuts.pieces(bucket))
                .for_each(|piece| forest.join(&piece));
            roots = forest.roots();
        }
    }

    #[test]
    fn a_chain_is_cut_into_few_pieces() {
        let buckets: Vec<Vec<[u64; 2]>> = (1..50_000)
            .map(|doc| vec![[doc, doc - 1], [doc, doc]])
            .collect();
        let sizes = cut(50_000, 3_000, &buckets);

        assert!(
            sizes.iter().all(|size| *size <= 3_000) && sizes.len() <= 40,
            "{} components",
            sizes.len()
        );
    }

    #[test]
    fn near_copies_stay_together_in_few_pieces() {
        // Each of 14 buckets lacks another tenth of the documents.
        let lacks = |key: u64, doc: u64| {
            (doc ^ key.wrapping_mul(0x9e37_79b9)).wrapping_mul(0xd134_2543_de82_ef95) >> 32
                < (1 << 32) / 10
        };
        let bucket = |key| {
            (0..50_000)
                .filter(|doc| !lacks(key, *doc))
                .map(|doc| [key, doc])
                .collect::<Vec<_>>()
        };
        let buckets: Vec<Vec<[u64; 2]>> = (0..14).map(bucket).collect();
        let sizes = cut(50_000, 10_000, &buckets);

        assert!(
            sizes.iter().all(|size| *size <= 10_000) && sizes.len() <= 10,
            "{sizes:?}"
        );
    }
}
