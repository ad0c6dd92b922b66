//! Equal texts, and if asked for equal URLs: one is kept. Both are compared by xxh3-128: by the
//! birthday bound two different texts among 10^10 collide with a probability of about 1.5e-19.
//!
//! Cost: two scans of 16 bytes a document; 80 bytes for each document whose key is repeated, in
//! partitions that spill. In memory stay a sketch (a quarter of the memory setting at the most) and
//! 2 bits a document; all copies of one text are in one partition, which is sorted in memory.

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

/// The stage `exact_dedup`.
pub struct ExactDedupStage {
    exact: Option<ExactDedup>,
    preference: Preference,
    against: Option<String>,
}

impl ExactDedupStage {
    /// The stage as the manifest sets it; without `[dedup.exact]` nothing is removed.
    pub fn open(opening: &Opening) -> Self {
        ExactDedupStage {
            exact: opening.manifest.dedup.exact.clone(),
            preference: Preference::new(opening.manifest),
            against: opening.against.clone(),
        }
    }

    /// The columns of `signatures` that are compared, and the reason of what they remove.
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

/// Why a document goes, in the order in which keys are compared.
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
            rows: Spill::new(corpus.spill(), firsts.len() - 1, corpus.memory() / 8)?,
        };
        for (at, (key, _)) in self.keys().into_iter().enumerate() {
            self.equal(corpus, key, at as u64, &removed)?;
        }
        let earlier = corpus.earlier().to_vec();

        let annotations = move |shard| {
            let mut removals: Vec<Removal> = sorted(removed.rows.read(shard)?);
            let moved = removed.moved.lock().unwrap_or_else(PoisonError::into_inner);
            for removal in &mut removals {
                // One step is enough: no document that a URL removed is kept for an equal text.
                if let Some(kept) = moved.get(&removal.kept_doc) {
                    (removal.kept, removal.kept_doc) = *kept;
                }
            }
            annotations(&removals, &earlier)
        };
        Ok(Decision::of(Box::new(annotations)))
    }
}

/// The documents that are removed, and the documents that are kept for them.
struct Removed {
    docs: Bits,
    /// Documents that are kept for another one so far.
    targets: Bits,
    /// Targets that were removed later, with the document that is kept for them.
    moved: Mutex<HashMap<u64, (DocId, u64)>>,
    /// By shard: [`Removal`].
    rows: Spill,
}

record! {
    /// A document that is removed.
    struct Removal {
        doc: u64,
        /// Place of the reason in [`REASONS`].
        reason: u64,
        /// The document that is kept for it, by identity and by number.
        kept: DocId,
        kept_doc: u64,
    }
}

record! {
    /// A document whose key occurs more than once, in the order of keys and then of preference.
    struct Keyed {
        /// Hash of the text or of the URL.
        key: [u64; 2],
        rank: Rank,
        doc: u64,
    }
}

impl ExactDedupStage {
    /// Of the documents that share a key, removes all but the preferred one.
    fn equal(
        &self,
        corpus: &dyn Corpus,
        key: &'static str,
        reason: u64,
        removed: &Removed,
    ) -> Result<()> {
        let documents = documents(corpus);
        let sketch = Sketch::new(documents, corpus.memory() / 4);
        let keys = read("signatures", key);
        let each = |batch: &RecordBatch,
                    first: u64,
                    visit: &mut dyn FnMut(usize, [u64; 2]) -> Result<()>| {
            let keys = column(batch, key)?.as_fixed_size_binary();
            for row in
                (0..batch.num_rows()).filter(|&row| keys.is_valid(row) && is_reached(batch, row))
            {
                if !removed.docs.contains(first + row as u64) {
                    let (halves, _) = keys.value(row).as_chunks();
                    visit(
                        row,
                        [u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1])],
                    )?;
                }
            }
            Ok(())
        };
        corpus.scan(std::slice::from_ref(&keys), &|first, batch| {
            each(batch, first, &mut |_, key| {
                sketch.add(key[1]);
                Ok(())
            })
        })?;
        let bytes = documents * size_of::<Keyed>() as u64;
        let share = corpus.memory() / (8 * rayon::current_num_threads() as u64);
        let partitions = bytes.div_ceil(share).clamp(1, 4096) as usize;
        let repeated = Spill::new(corpus.spill(), partitions, corpus.memory() / 4)?;
        let mut reads = survivor::reads();
        reads.push(keys);
        corpus.scan(&reads, &|first, batch| {
            let rank = survivor::ranks(&self.preference, batch, first >= own_documents(corpus))?;
            each(batch, first, &mut |row, key| {
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
        drop(sketch);
        let (firsts, own) = (corpus.firsts(), own_documents(corpus));

        (0..repeated.partitions())
            .into_par_iter()
            .try_for_each(|partition| {
                let rows: Vec<Keyed> = sorted(repeated.take(partition)?);
                corpus.check()?;

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
}

/// The rows of a shard that are removed, with reason and survivor.
fn annotations(removals: &[Removal], earlier: &[Earlier]) -> Result<RecordBatch> {
    let docs = UInt64Array::from_iter_values(removals.iter().map(|removal| removal.doc));
    let reasons = removals
        .iter()
        .map(|removal| REASONS[removal.reason as usize]);
    let kept = removals.iter().map(|removal| removal.kept.to_string());
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
