//! Components with the data that decides over them: buckets, ranks, shingle sets and signatures.
//!
//! The data is in partitions that are loaded one by one. Sets that do not fit into memory are read
//! from their file when they are compared.

use std::ops::Range;

use crate::error::Result;
use curate_schemas::stages::near_dedup::NearDedup;

use super::candidates::Candidates;
use crate::corpus::Corpus;
use crate::record::{Record, record, sorted};
use crate::spill::{Spill, Words};
use crate::survivor::Rank;

/// The data of all components. Each kind of data is in the same number of partitions.
pub(super) struct Components {
    /// A record [`InBucket`] for each document of each bucket.
    buckets: Spill,
    /// A record [`Ranked`] for each candidate.
    ranks: Spill,
    /// Shingle sets; empty if pairs are not compared by sets.
    pub(super) sets: Store,
    /// Full signatures; empty if they are not kept.
    pub(super) signatures: Store,
    /// Most bytes of sets that are loaded at once.
    memory: u64,
}

record! {
    /// A document in a bucket of its component. The component's first document names the component.
    struct InBucket {
        component: u64,
        bucket: u64,
        doc: u64,
    }
}

record! {
    /// A candidate with its place in the order of preference.
    struct Ranked {
        component: u64,
        doc: u64,
        /// Number of the source, or `u64::MAX` for a source that the manifest does not name.
        source: u64,
        rank: Rank,
    }
}

record! {
    /// The place of a document's words in its partition.
    struct Stored {
        doc: u64,
        /// Number of words before the first word.
        at: u64,
        /// Number of words of the document.
        len: u64,
    }
}

/// The words of many documents, in partitions: shingle sets or signatures.
pub(super) struct Store {
    words: Spill,
    /// A record [`Stored`] for each document.
    places: Spill,
}

/// One partition of a [`Store`], open for look-ups.
struct Opened {
    words: Words,
    /// Sorted by document, for a binary search.
    places: Vec<Stored>,
}

impl Components {
    /// Empty components. The data of all components is expected to take `bytes`, and `threads`
    /// threads load partitions at once.
    ///
    /// # Errors
    /// If a folder for the partitions cannot be created.
    pub(super) fn new(corpus: &dyn Corpus, bytes: u64, threads: u64) -> Result<Components> {
        // Each thread holds one partition. Its data besides sets takes about as much memory again.
        let memory = corpus.memory() / (8 * threads);
        let partitions = bytes.div_ceil(memory / 2).clamp(1, 4096) as usize;

        let spill = |share: u64| Spill::new(corpus.spill(), partitions, corpus.memory() / share);
        let store = |share: u64| -> Result<Store> {
            Ok(Store {
                words: spill(share)?,
                places: spill(64)?,
            })
        };

        Ok(Components {
            buckets: spill(32)?,
            ranks: spill(32)?,
            sets: store(8)?,
            signatures: store(32)?,
            memory,
        })
    }

    /// The partition of the component with the first document `root`.
    pub(super) fn partition_of(&self, root: u64) -> usize {
        self.buckets.partition_of(root)
    }

    /// The number of partitions.
    pub(super) fn partitions(&self) -> usize {
        self.buckets.partitions()
    }

    /// Moves the buckets of all candidates into the partitions of their components.
    ///
    /// # Errors
    /// If a partition cannot be read or written.
    pub(super) fn add_buckets(&self, candidates: &Candidates) -> Result<()> {
        candidates.for_each_bucket(|number, bucket| {
            // All documents of a bucket are of one component.
            let root = candidates.root(bucket[0][1]);
            let rows = bucket.iter().flat_map(|[_, doc]| {
                let row = InBucket {
                    component: root,
                    bucket: number,
                    doc: *doc,
                };
                row.words()
            });
            let rows: Vec<u64> = rows.collect();

            // One push for the whole bucket locks the partition once.
            self.buckets
                .push(self.partition_of(root), &rows)
                .map(|_| ())
        })
    }

    /// Adds the rank of a member, and the number of its source.
    ///
    /// # Errors
    /// If a partition cannot be written.
    pub(super) fn add_rank(&self, root: u64, doc: u64, rank: &Rank, source: u64) -> Result<()> {
        let row = Ranked {
            component: root,
            doc,
            source,
            rank: *rank,
        };
        self.ranks.push_record(self.partition_of(root), &row)
    }

    /// The number of bytes that are in files.
    pub(super) fn filed(&self) -> u64 {
        let stores =
            [&self.sets, &self.signatures].map(|store| store.words.filed() + store.places.filed());
        self.buckets.filed() + self.ranks.filed() + stores.iter().sum::<u64>()
    }

    /// The light and the heavy partitions. Each thread can load a light partition at the same time.
    /// A heavy partition needs more memory than a thread's share.
    pub(super) fn by_weight(&self) -> (Vec<usize>, Vec<usize>) {
        // Sets and signatures do not count: those of a large partition stay in their file.
        (0..self.partitions()).partition(|&partition| {
            8 * (self.buckets.len(partition) + self.ranks.len(partition)) <= self.memory
        })
    }

    /// Loads a partition, which is empty afterwards.
    ///
    /// # Errors
    /// If the partition's files cannot be read, written or deleted.
    pub(super) fn load(&self, partition: usize) -> Result<Loaded> {
        let ranked: Vec<Ranked> = sorted(self.ranks.take(partition)?);
        let members: Vec<Member> = ranked
            .iter()
            .map(|row| Member {
                root: row.component,
                doc: row.doc,
                rank: row.rank,
                source: row.source,
                // Filled in by `number` below.
                buckets: 0..0,
            })
            .collect();

        let mut loaded = Loaded {
            members,
            buckets: Vec::new(),
            sets: self.sets.open(partition, self.memory)?,
            signatures: self.signatures.open(partition, self.memory)?,
        };
        loaded.number(self.buckets.take(partition)?);
        Ok(loaded)
    }
}

impl Store {
    /// An empty store of `partitions` partitions. `memory` bytes of words stay in memory, and as
    /// many bytes of their places.
    ///
    /// # Errors
    /// If a folder for the partitions cannot be created.
    pub(super) fn new(corpus: &dyn Corpus, partitions: usize, memory: u64) -> Result<Store> {
        let spill = || Spill::new(corpus.spill(), partitions, memory);

        Ok(Store {
            words: spill()?,
            places: spill()?,
        })
    }

    /// Adds the words of a document to a partition.
    ///
    /// # Errors
    /// If the partition cannot be written.
    pub(super) fn push(&self, partition: usize, doc: u64, words: &[u64]) -> Result<()> {
        let at = self.words.push(partition, words)?;
        let len = words.len() as u64;
        self.places.push_record(partition, &Stored { doc, at, len })
    }

    /// Opens a partition. Its words are loaded if they take at most `memory` bytes.
    fn open(&self, partition: usize, memory: u64) -> Result<Opened> {
        Ok(Opened {
            words: self.words.open(partition, memory)?,
            places: sorted(self.places.take(partition)?),
        })
    }

    /// A function that looks documents up in partition 0. The function replaces its buffer by the
    /// words of a document, or returns false if the store has no words of the document. At most
    /// `memory` bytes of words are loaded.
    ///
    /// # Errors
    /// If the partition's files cannot be read, written or deleted.
    pub(super) fn reader(
        &self,
        memory: u64,
    ) -> Result<impl Fn(u64, &mut Vec<u64>) -> Result<bool> + use<>> {
        let opened = self.open(0, memory)?;

        Ok(move |doc, buffer: &mut Vec<u64>| {
            // The words may borrow from memory or from `spare`, so they are copied.
            let mut spare = Vec::new();
            let Some(words) = opened.get(doc, &mut spare)? else {
                return Ok(false);
            };
            buffer.clear();
            buffer.extend_from_slice(words);
            Ok(true)
        })
    }
}

impl Opened {
    /// The words of a document, `None` if the store has no words of the document. `buffer` may hold
    /// the words.
    fn get<'a>(&'a self, doc: u64, buffer: &'a mut Vec<u64>) -> Result<Option<&'a [u64]>> {
        let place = self.places.binary_search_by_key(&doc, |place| place.doc);
        let Ok(place) = place.map(|place| self.places[place]) else {
            return Ok(None);
        };
        let words = self.words.get(place.at, place.len as usize, buffer);
        words.map(Some)
    }
}

/// A partition of components in memory.
pub(super) struct Loaded {
    /// Members sorted by component, then by document.
    pub(super) members: Vec<Member>,
    /// For each member, the numbers of its buckets, ascending. The buckets of one component have
    /// consecutive numbers.
    buckets: Vec<u32>,
    sets: Opened,
    signatures: Opened,
}

/// A document that shares a band key with another document.
#[derive(Debug)]
pub(super) struct Member {
    /// The first document of the member's component.
    pub(super) root: u64,
    /// The number of the document in the corpus.
    pub(super) doc: u64,
    /// The document's place in the order of preference.
    pub(super) rank: Rank,
    /// The number of the document's source, or `u64::MAX` if the manifest does not name the source.
    pub(super) source: u64,
    /// Places of the member's buckets in the list of [`Loaded`].
    buckets: Range<usize>,
}

impl Loaded {
    /// For each component, the range of its members.
    pub(super) fn components(&self) -> Vec<Range<usize>> {
        let mut end = 0;
        self.members
            .chunk_by(|a, b| a.root == b.root)
            .map(|component| {
                let start = end;
                end += component.len();
                start..end
            })
            .collect()
    }

    /// The numbers of a member's buckets, ascending.
    pub(super) fn buckets(&self, member: usize) -> &[u32] {
        &self.buckets[self.members[member].buckets.clone()]
    }

    /// The shingle set of a member, empty if the set was not made. `buffer` may hold the set.
    ///
    /// # Errors
    /// If the file of sets cannot be read.
    pub(super) fn set<'a>(&'a self, member: usize, buffer: &'a mut Vec<u64>) -> Result<&'a [u64]> {
        Ok(self
            .sets
            .get(self.members[member].doc, buffer)?
            .unwrap_or_default())
    }

    /// The full signature of a member, `None` if signatures are not kept. `buffer` may hold the
    /// signature.
    ///
    /// # Errors
    /// If the file of signatures cannot be read.
    pub(super) fn signature<'a>(
        &'a self,
        member: usize,
        buffer: &'a mut Vec<u64>,
    ) -> Result<Option<&'a [u64]>> {
        self.signatures.get(self.members[member].doc, buffer)
    }

    /// Numbers the buckets in the order of components, and gives each member its buckets. `words`
    /// are records [`InBucket`].
    fn number(&mut self, words: Vec<u64>) {
        let rows: Vec<InBucket> = sorted(words);
        let mut of_members: Vec<(u32, u32)> = Vec::with_capacity(rows.len());

        let buckets = rows.chunk_by(|a, b| (a.component, a.bucket) == (b.component, b.bucket));
        for (number, bucket) in buckets.enumerate() {
            for InBucket { component, doc, .. } in bucket {
                // Ranks and band keys are scanned for the same documents, which reach the stage.
                let member = self
                    .members
                    .binary_search_by_key(&(*component, *doc), |member| (member.root, member.doc));
                let member = member.expect("every document of a bucket has a rank");
                of_members.push((member as u32, number as u32));
            }
        }
        of_members.sort_unstable();

        // Both lists are in the order of members, so one pass cuts the numbers into ranges.
        let mut at = 0;
        for (member, place) in self.members.iter_mut().enumerate() {
            let from = at;
            at += of_members[from..]
                .iter()
                .take_while(|(of, _)| *of == member as u32)
                .count();
            place.buckets = from..at;
        }
        self.buckets = of_members.into_iter().map(|(_, number)| number).collect();
    }
}

/// Bytes of memory for each member of a loaded partition, without sets and signatures.
///
/// The sum has a member and its row while rows are sorted. For each bucket, it has a row, a number
/// and a list of kept members.
pub(super) fn member_bytes(near: &NearDedup) -> u64 {
    (size_of::<Member>() + size_of::<Ranked>() + 24) as u64
        + u64::from(near.bands) * (24 + 8 + 4 + 24)
}
