//! Equal texts, and if asked for equal URLs: one is kept. Both are compared by xxh3-128: by the
//! birthday bound two different texts among 10^10 collide with a probability of about 1.5e-19.
//!
//! Cost: two scans of 16 bytes a document; 80 bytes for each document whose key is repeated, in
//! partitions that spill. In memory stay a sketch (a quarter of the memory setting at the most) and
//! 2 bits a document; all copies of one text are in one partition, which is sorted in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use curate_schemas::manifest::{ExactDedup, ExactText, Manifest};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use datafusion::error::Result;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::bits::Bits;
use crate::sketch::Sketch;
use crate::spill::{Spill, records, records_mut};
use crate::survivor::{self, Preference, id_of, id_text};
use crate::{
    Corpus, CorpusStage, Decision, Earlier, Read, Stage, column, documents, is_reached,
    own_documents, read, run_of, shard_of,
};

/// The stage `exact_dedup`.
pub struct ExactDedupStage {
    exact: Option<ExactDedup>,
    preference: Preference,
    against: Option<String>,
}

impl ExactDedupStage {
    /// The stage as the manifest sets it; without `[dedup.exact]` nothing is removed. `against` is
    /// the digest of earlier runs.
    pub fn new(manifest: &Manifest, against: Option<String>) -> Self {
        ExactDedupStage {
            exact: manifest.dedup.exact.clone(),
            preference: Preference::new(manifest),
            against,
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
    fn name(&self) -> &'static str {
        "exact_dedup"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        let preference = self.exact.as_ref().map(|_| self.preference.config());
        json!({ "exact": self.exact, "preference": preference })
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        self.against
            .iter()
            .map(|digest| ("against", digest.clone()))
            .collect()
    }

    fn follows(&self) -> &'static str {
        "filter"
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
            rows: Spill::new(corpus.spill(), firsts.len() - 1, corpus.memory() / 8),
        };
        for (at, (key, _)) in self.keys().into_iter().enumerate() {
            self.equal(corpus, key, at as u64, &removed)?;
        }
        let earlier = corpus.earlier().to_vec();
        let annotations = move |shard| {
            let mut words = removed.rows.read(shard)?;
            let moved = removed.moved.lock().unwrap_or_else(PoisonError::into_inner);
            for row in records_mut::<5>(&mut words) {
                // One step: what a URL removed is no target of a text.
                if let Some(kept) = moved.get(&row[4]) {
                    row[2..].copy_from_slice(kept);
                }
            }
            annotations(words, &earlier)
        };
        Ok(Decision {
            annotations: Box::new(annotations),
            tables: [].into(),
            notes: Vec::new(),
            refused: None,
        })
    }
}

/// Who goes, and for whom.
struct Removed {
    docs: Bits,
    /// Documents that are kept for another so far.
    targets: Bits,
    /// Of those the ones that went later, with the `doc_id` and the number of the one that is kept
    /// for them.
    moved: Mutex<HashMap<u64, [u64; 3]>>,
    /// By shard: the document, its reason, the `doc_id` of the one that is kept, its number.
    rows: Spill,
}

/// The key of a document, its rank, the document.
type Row = [u64; 3 + survivor::WORDS];

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
        let bytes = documents * size_of::<Row>() as u64;
        let share = corpus.memory() / (8 * rayon::current_num_threads() as u64);
        let partitions = bytes.div_ceil(share).clamp(1, 4096) as usize;
        let repeated = Spill::new(corpus.spill(), partitions, corpus.memory() / 4);
        let mut reads = survivor::reads();
        reads.push(keys);
        corpus.scan(&reads, &|first, batch| {
            let rank = survivor::ranks(&self.preference, batch, first >= own_documents(corpus))?;
            each(batch, first, &mut |row, key| {
                if !sketch.is_repeated(key[1]) {
                    return Ok(());
                }
                let mut record: Row = [0; 3 + survivor::WORDS];
                record[..2].copy_from_slice(&key);
                record[2..2 + survivor::WORDS].copy_from_slice(&rank(row)?);
                record[2 + survivor::WORDS] = first + row as u64;
                repeated
                    .push(repeated.partition_of(key[1]), &record)
                    .map(|_| ())
            })
        })?;
        drop(sketch);
        let (firsts, own) = (corpus.firsts(), own_documents(corpus));
        let doc = |row: &Row| row[2 + survivor::WORDS];
        (0..repeated.partitions())
            .into_par_iter()
            .try_for_each(|partition| {
                let mut words = repeated.take(partition)?;
                let rows: &mut [Row] = records_mut(&mut words);
                rows.sort_unstable();
                corpus.check()?;
                for equal in rows.chunk_by(|a, b| a[..2] == b[..2]) {
                    if equal.len() > 1 {
                        removed.targets.insert(doc(&equal[0]));
                    }
                    let kept = id_of(
                        equal[0][2..2 + survivor::WORDS]
                            .try_into()
                            .expect("cut to a rank"),
                    );
                    for row in equal[1..].iter().filter(|row| doc(row) < own) {
                        if removed.targets.contains(doc(row)) {
                            let mut moved =
                                removed.moved.lock().unwrap_or_else(PoisonError::into_inner);
                            moved.insert(doc(row), [kept[0], kept[1], doc(&equal[0])]);
                        }
                        removed.docs.insert(doc(row));
                        let record = [doc(row), reason, kept[0], kept[1], doc(&equal[0])];
                        removed.rows.push(shard_of(firsts, doc(row)), &record)?;
                    }
                }
                Ok(())
            })
    }
}

/// Of a shard: who went, why, and for whom.
fn annotations(mut words: Vec<u64>, earlier: &[Earlier]) -> Result<RecordBatch> {
    records_mut::<5>(&mut words).sort_unstable();
    let rows = records::<5>(&words);
    let docs = UInt64Array::from_iter_values(rows.iter().map(|row| row[0]));
    let reasons = StringArray::from_iter_values(rows.iter().map(|row| REASONS[row[1] as usize]));
    let kept = StringArray::from_iter_values(rows.iter().map(|row| id_text([row[2], row[3]])));
    let kept_in = StringArray::from_iter(rows.iter().map(|row| run_of(earlier, row[4])));
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("doc", Arc::new(docs) as ArrayRef, false),
        ("removed_by", Arc::new(reasons), true),
        ("kept_id", Arc::new(kept), true),
        ("kept_in", Arc::new(kept_in), true),
    ])?)
}
