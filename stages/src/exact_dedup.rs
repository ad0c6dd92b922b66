//! Exact duplicates: of equal texts, and of equal URLs if the manifest says so, one document is
//! kept.
//!
//! Texts and URLs are compared by xxh3-128. By the birthday bound, two different texts among 10^10
//! collide with a probability of about 1.5e-19.
//!
//! Cost: two scans of 16 bytes a document, and 96 bytes for each document whose key is repeated, in
//! partitions that spill. A sketch (at most a quarter of the memory setting) and 2 bits a document
//! stay in memory. All copies of one text are in one partition, which is sorted in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use curate_schemas::DocId;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::exact_dedup::{EXACT_DEDUP, ExactDedup, ExactText};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::bits::Bits;
use crate::corpus::{
    Corpus, CorpusStage, Decision, Earlier, documents, own_documents, run_of, shard_of,
};
use crate::error::Result;
use crate::record::{record, sorted};
use crate::resources::Opening;
use crate::sketch::Sketch;
use crate::spill::Spill;
use crate::survivor::{self, Preference, Rank, id_of};
use crate::{Read, Stage, column, is_reached, read};

/// The corpus stage `exact_dedup`.
pub struct ExactDedupStage {
    /// Settings of the stage; `None`: nothing is removed.
    exact: Option<ExactDedup>,
    preference: Preference,
    /// Digest of the earlier runs that documents are also compared with.
    against: Option<String>,
}

impl ExactDedupStage {
    /// The stage with the manifest's settings. Without `[dedup.exact]` it removes nothing.
    pub fn open(opening: &Opening) -> Self {
        ExactDedupStage {
            exact: opening.manifest.dedup.exact.clone(),
            preference: Preference::new(opening.manifest),
            against: opening.against.clone(),
        }
    }

    /// The columns of `signatures` that are compared, each with the reason for its removals.
    fn keys(&self) -> Vec<(&'static str, &'static str)> {
        let Some(exact) = &self.exact else {
            return Vec::new();
        };
        let text = match exact.text {
            ExactText::AsIs => "text_hash",
            ExactText::Normalized => "normalized_hash",
        };

        let mut keys = vec![(text, REASONS[0])];
        if exact.url {
            keys.push(("url_hash", REASONS[1]));
        }
        keys
    }
}

/// The reasons for a removal, in the order in which keys are compared.
const REASONS: [&str; 2] = ["exact_dedup.document", "exact_dedup.url"];

impl Stage for ExactDedupStage {
    fn spec(&self) -> &'static StageSpec {
        &EXACT_DEDUP
    }

    fn config(&self) -> Value {
        let preference = self.exact.as_ref().map(|_| self.preference.config());
        json!({ "exact": self.exact, "preference": preference })
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        self.against
            .iter()
            .map(|digest| ("against", digest.clone()))
            .collect()
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads: Vec<Read> = self
            .keys()
            .into_iter()
            .map(|(key, _)| read("signatures", key))
            .collect();

        // `doc_id` is read for every stage.
        reads.extend(
            survivor::reads()
                .into_iter()
                .filter(|read| read.name != "doc_id"),
        );
        reads
    }
}

impl CorpusStage for ExactDedupStage {
    fn decide<'a>(&'a self, corpus: &'a dyn Corpus) -> Result<Decision<'a>> {
        let firsts = corpus.firsts().to_vec();
        let documents = documents(corpus);
        let removed = Removed {
            docs: Bits::new(documents),
            targets: Bits::new(documents),
            moved: Mutex::default(),
            // The last of `firsts` is the number of all documents, not a shard.
            rows: Spill::new(corpus.spill(), firsts.len() - 1, corpus.memory() / 8)?,
        };

        // One key after the other: a document that its text removes is not compared by URL.
        for (at, (key, _)) in self.keys().into_iter().enumerate() {
            let repeated = self.repeated(corpus, key, &removed)?;
            remove_equal(corpus, &repeated, at as u64, &removed)?;
        }

        let earlier = corpus.earlier().to_vec();
        Ok(Decision::of(Box::new(move |shard| {
            let mut removals: Vec<Removal> = sorted(removed.rows.read(shard)?);
            let moved = removed.moved.lock().unwrap_or_else(PoisonError::into_inner);
            for removal in &mut removals {
                // One step is enough: the URL is the last key, so what is kept for it stays.
                if let Some(kept) = moved.get(&removal.kept_doc) {
                    (removal.kept, removal.kept_doc) = *kept;
                }
            }
            annotations(&removals, &earlier)
        })))
    }
}

/// The documents that are removed, and the documents that are kept for them.
struct Removed {
    docs: Bits,
    /// Documents that are kept for another document so far.
    targets: Bits,
    /// Targets that were removed later, with the document that is kept for them.
    moved: Mutex<HashMap<u64, (DocId, u64)>>,
    /// A record [`Removal`] for each removed document, in one partition for each shard.
    rows: Spill,
}

record! {
    /// A document that is removed.
    struct Removal {
        doc: u64,
        /// Place of the reason in [`REASONS`].
        reason: u64,
        /// Identity of the document that is kept instead. `kept_doc` is its number.
        kept: DocId,
        kept_doc: u64,
    }
}

record! {
    /// A document with a repeated key. Records sort by key, then by preference.
    struct Keyed {
        /// Hash of the text or of the URL, high half first.
        key: [u64; 2],
        rank: Rank,
        doc: u64,
    }
}

impl ExactDedupStage {
    /// The documents whose value in the column `key` may be repeated, as records [`Keyed`] in
    /// partitions by key.
    fn repeated(&self, corpus: &dyn Corpus, key: &'static str, removed: &Removed) -> Result<Spill> {
        let documents = documents(corpus);
        let sketch = Sketch::new(documents, corpus.memory() / 4);
        corpus.scan(&[read("signatures", key)], &|first, batch| {
            for_each_key(batch, key, first, removed, &mut |_, key| {
                // The sketch takes 64 bits, and the halves of a hash are hashes.
                sketch.add(key[1]);
                Ok(())
            })
        })?;

        // As many partitions as if all keys were repeated. Each thread sorts one of them.
        let bytes = documents * size_of::<Keyed>() as u64;
        let share = corpus.memory() / (8 * rayon::current_num_threads() as u64);
        let partitions = bytes.div_ceil(share).clamp(1, 4096) as usize;
        let repeated = Spill::new(corpus.spill(), partitions, corpus.memory() / 4)?;

        let mut reads = survivor::reads();
        reads.push(read("signatures", key));
        corpus.scan(&reads, &|first, batch| {
            let rank = survivor::ranks(&self.preference, batch, first >= own_documents(corpus))?;
            for_each_key(batch, key, first, removed, &mut |row, key| {
                if !sketch.is_repeated(key[1]) {
                    return Ok(());
                }
                let keyed = Keyed {
                    key,
                    rank: rank(row)?,
                    doc: first + row as u64,
                };
                repeated.push_record(repeated.partition_of(key[1]), &keyed)
            })
        })?;
        Ok(repeated)
    }
}

/// Calls `visit` with the row and the key, for each document that reaches the stage, has a value in
/// the column `key` and is not removed yet. `first` is the document of the batch's first row.
fn for_each_key(
    batch: &RecordBatch,
    key: &str,
    first: u64,
    removed: &Removed,
    visit: &mut dyn FnMut(usize, [u64; 2]) -> Result<()>,
) -> Result<()> {
    let keys = column(batch, key)?.as_fixed_size_binary();

    for row in (0..batch.num_rows()).filter(|&row| keys.is_valid(row) && is_reached(batch, row)) {
        if !removed.docs.contains(first + row as u64) {
            let (halves, _) = keys.value(row).as_chunks();
            visit(
                row,
                [u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1])],
            )?;
        }
    }
    Ok(())
}

/// Removes all but the preferred one of the documents that share a key.
fn remove_equal(
    corpus: &dyn Corpus,
    repeated: &Spill,
    reason: u64,
    removed: &Removed,
) -> Result<()> {
    let (firsts, own) = (corpus.firsts(), own_documents(corpus));

    (0..repeated.partitions())
        .into_par_iter()
        .try_for_each(|partition| {
            let rows: Vec<Keyed> = sorted(repeated.take(partition)?);
            corpus.check()?;

            // Keys are compared in full here, so two keys in one slot of the sketch do no harm.
            for equal in rows.chunk_by(|a, b| a.key == b.key) {
                let (kept, rest) = (&equal[0], &equal[1..]);
                if !rest.is_empty() {
                    removed.targets.insert(kept.doc);
                }

                // Documents of earlier runs stay.
                for Keyed { doc, .. } in rest.iter().filter(|row| row.doc < own) {
                    let removal = Removal {
                        doc: *doc,
                        reason,
                        kept: id_of(&kept.rank),
                        kept_doc: kept.doc,
                    };
                    // The key before kept this document for others. Their survivor changes too.
                    if removed.targets.contains(*doc) {
                        let mut moved =
                            removed.moved.lock().unwrap_or_else(PoisonError::into_inner);
                        moved.insert(*doc, (removal.kept, removal.kept_doc));
                    }
                    removed.docs.insert(*doc);
                    removed.rows.push_record(shard_of(firsts, *doc), &removal)?;
                }
            }
            Ok(())
        })
}

/// The rows of the table for the removed documents of a shard, with reason and survivor.
fn annotations(removals: &[Removal], earlier: &[Earlier]) -> Result<RecordBatch> {
    let docs = UInt64Array::from_iter_values(removals.iter().map(|removal| removal.doc));
    let reasons = removals
        .iter()
        .map(|removal| REASONS[removal.reason as usize]);
    let kept = removals.iter().map(|removal| removal.kept.to_string());
    // Null if the survivor is of this run.
    let kept_in = removals
        .iter()
        .map(|removal| run_of(earlier, removal.kept_doc));

    Ok(RecordBatch::try_from_iter_with_nullable([
        ("doc", Arc::new(docs) as ArrayRef, false),
        (
            "removed_by",
            Arc::new(StringArray::from_iter_values(reasons)),
            true,
        ),
        (
            "kept_id",
            Arc::new(StringArray::from_iter_values(kept)),
            true,
        ),
        ("kept_in", Arc::new(StringArray::from_iter(kept_in)), true),
    ])?)
}
