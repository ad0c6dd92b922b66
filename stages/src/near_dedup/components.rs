//! Components with all that is needed to decide over them, in partitions that are loaded one by
//! one: buckets, ranks, shingle sets. Sets that do not fit into memory are read from their file
//! when they are compared.

use std::ops::Range;

use crate::error::Result;
use curate_schemas::stages::near_dedup::NearDedup;

use super::candidates::Candidates;
use crate::corpus::Corpus;
use crate::record::{Record, record, sorted};
use crate::spill::{Spill, Words};
use crate::survivor::Rank;

/// What is moved to the components, in equal numbers of partitions.
pub(super) struct Components {
    /// [`InBucket`].
    buckets: Spill,
    /// [`Ranked`].
    ranks: Spill,
    /// Shingle sets; empty without verification by them.
    pub(super) sets: Store,
    /// Full signatures; empty if none are kept.
    pub(super) signatures: Store,
    /// Bytes of sets that may be loaded at once.
    memory: u64,
}

record! {
    /// A document in a bucket of its component, which is named by its first document.
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
        /// Number of its source.
        source: u64,
        rank: Rank,
    }
}

record! {
    /// Where the words of a document are.
    struct Stored {
        doc: u64,
        at: u64,
        len: u64,
    }
}

/// Words of many documents.
pub(super) struct Store {
    words: Spill,
    /// [`Stored`].
    places: Spill,
}

/// A partition of a [`Store`].
struct Opened {
    words: Words,
    /// In the order of documents.
    places: Vec<Stored>,
}

impl Components {
    /// No components yet. `bytes` of sets and signatures are expected.
    ///
    /// # Errors
    /// If a folder for them cannot be created.
    pub(super) fn new(corpus: &dyn Corpus, bytes: u64, threads: u64) -> Result<Components> {
        // Each thread holds a partition, and in it what is not sets: about as much again.
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

    /// The partition of a component.
    pub(super) fn partition_of(&self, root: u64) -> usize {
        self.buckets.partition_of(root)
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> usize {
        self.buckets.partitions()
    }

    /// Takes the buckets of all candidates.
    ///
    /// # Errors
    /// If a partition cannot be read or written.
    pub(super) fn add_buckets(&self, candidates: &Candidates) -> Result<()> {
        candidates.for_each_bucket(|number, bucket| {
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
            self.buckets
                .push(self.partition_of(root), &rows)
                .map(|_| ())
        })
    }

    /// Takes the rank of a member, and the number of its source.
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

    /// Bytes that went into files.
    pub(super) fn filed(&self) -> u64 {
        let stores =
            [&self.sets, &self.signatures].map(|store| store.words.filed() + store.places.filed());
        self.buckets.filed() + self.ranks.filed() + stores.iter().sum::<u64>()
    }

    /// Partitions that can be loaded side by side, one a thread, then those that need more memory
    /// than that.
    pub(super) fn by_weight(&self) -> (Vec<usize>, Vec<usize>) {
        let words = |partition| self.buckets.len(partition) + self.ranks.len(partition);
        (0..self.partitions()).partition(|partition| 8 * words(*partition) <= self.memory)
    }

    /// Loads a partition.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn load(&self, partition: usize) -> Result<Loaded> {
        let ranked: Vec<Ranked> = sorted(self.ranks.take(partition)?);
        let member = |row: &Ranked| Member {
            root: row.component,
            doc: row.doc,
            rank: row.rank,
            source: row.source,
            buckets: 0..0,
        };
        let members: Vec<Member> = ranked.iter().map(member).collect();
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
    /// Room for the words of documents in `partitions` partitions.
    ///
    /// # Errors
    /// If a folder for them cannot be created.
    pub(super) fn new(corpus: &dyn Corpus, partitions: usize, memory: u64) -> Result<Store> {
        let spill = || Spill::new(corpus.spill(), partitions, memory);

        Ok(Store {
            words: spill()?,
            places: spill()?,
        })
    }

    /// Takes a document's words.
    ///
    /// # Errors
    /// If a partition cannot be written.
    pub(super) fn push(&self, partition: usize, doc: u64, words: &[u64]) -> Result<()> {
        let at = self.words.push(partition, words)?;
        let len = words.len() as u64;
        self.places.push_record(partition, &Stored { doc, at, len })
    }

    fn open(&self, partition: usize, memory: u64) -> Result<Opened> {
        Ok(Opened {
            words: self.words.open(partition, memory)?,
            places: sorted(self.places.take(partition)?),
        })
    }

    /// Looks documents up in the only partition.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn reader(
        &self,
        memory: u64,
    ) -> Result<impl Fn(u64, &mut Vec<u64>) -> Result<bool> + use<>> {
        let opened = self.open(0, memory)?;
        Ok(move |doc, buffer: &mut Vec<u64>| {
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
    /// By component, then by document.
    pub(super) members: Vec<Member>,
    /// For each member, the numbers of its buckets, ascending; numbers of one component are
    /// consecutive.
    buckets: Vec<u32>,
    sets: Opened,
    signatures: Opened,
}

/// A document that shares a band key with another.
#[derive(Debug)]
pub(super) struct Member {
    /// The first document of its component.
    pub(super) root: u64,
    /// The document.
    pub(super) doc: u64,
    /// Its place in the order of preference.
    pub(super) rank: Rank,
    /// The number of its source.
    pub(super) source: u64,
    buckets: Range<usize>,
}

impl Loaded {
    /// Places of the members of each component.
    pub(super) fn components(&self) -> Vec<Range<usize>> {
        let mut at = 0;
        let components = self.members.chunk_by(|a, b| a.root == b.root);
        components
            .map(|component| (at, at += component.len()).0..at)
            .collect()
    }

    /// The numbers of a member's buckets.
    pub(super) fn buckets(&self, member: usize) -> &[u32] {
        &self.buckets[self.members[member].buckets.clone()]
    }

    /// The shingle set of a member; `buffer` may hold it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn set<'a>(&'a self, member: usize, buffer: &'a mut Vec<u64>) -> Result<&'a [u64]> {
        Ok(self
            .sets
            .get(self.members[member].doc, buffer)?
            .unwrap_or_default())
    }

    /// The full signature of a member, if it is kept; `buffer` may hold it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn signature<'a>(
        &'a self,
        member: usize,
        buffer: &'a mut Vec<u64>,
    ) -> Result<Option<&'a [u64]>> {
        self.signatures.get(self.members[member].doc, buffer)
    }

    /// Numbers the buckets in the order of components.
    fn number(&mut self, words: Vec<u64>) {
        let rows: Vec<InBucket> = sorted(words);
        let mut of_members: Vec<(u32, u32)> = Vec::with_capacity(rows.len());
        let buckets = rows.chunk_by(|a, b| (a.component, a.bucket) == (b.component, b.bucket));
        for (number, bucket) in buckets.enumerate() {
            for InBucket { component, doc, .. } in bucket {
                let member = self
                    .members
                    .binary_search_by_key(&(*component, *doc), |member| (member.root, member.doc));
                let member = member.expect("every document of a bucket has a rank");
                of_members.push((member as u32, number as u32));
            }
        }
        of_members.sort_unstable();
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

/// Bytes of memory for each member of a loaded partition, sets and signatures aside: a member, its
/// row while it is sorted, and for each bucket a row, a number, and a list of kept members.
pub(super) fn member_bytes(near: &NearDedup) -> u64 {
    (size_of::<Member>() + size_of::<Ranked>() + 24) as u64
        + u64::from(near.bands) * (24 + 8 + 4 + 24)
}
