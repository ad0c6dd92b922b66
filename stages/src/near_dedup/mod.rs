//! Near-duplicates: MinHash band keys find candidates, and the exact Jaccard similarity of their
//! shingle sets decides.
//!
//! Broder 1997, with banding as in Leskovec et al., *Mining of Massive Datasets*, ch. 3. Departs
//! from the usual transitive closure: clusters are stars. The members of a component are visited in
//! the order of preference and compared with the *kept* members that share a band. A document is
//! removed only if its similarity to a kept document is verified. So every removed document
//! resembles a kept document, and chains do not carry dissimilar documents along. The closure is
//! available as `cluster = "component"`, unverified, for comparison with tools that work so.
//!
//! | file | what it does |
//! |---|---|
//! | `candidates` | finds the documents that share a band key, and their components |
//! | `components` | moves the data of candidates to their component, and loads the data |
//! | `stars` | decides which document is removed for which |
//! | `sample` | measures on every run how many pairs the banding missed |
//!
//! Cost: two scans over the band keys, one over the columns of the preference, and one over the
//! texts of candidates and of the sample. 4 bytes a document (8 for a moment) and 3 bits stay in
//! memory. Everything else goes through partitions that spill. A partition holds at least one band
//! key with all its documents, at 32 bytes each, or one component, so `max_component` bounds it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::UInt64Type;
use curate_schemas::DocId;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::near_dedup::{Cluster, NEAR_DEDUP, NearDedup, Verify};
use curate_schemas::tables;
use rayon::prelude::*;
use serde_json::{Value, json};

use self::candidates::Candidates;
use self::components::{Components, Loaded, Store, member_bytes};
use self::sample::PairSample;
use self::stars::{Outcome, Verdict};
use crate::bits::Bits;
use crate::corpus::{
    Corpus, CorpusStage, Decision, Earlier, FurtherRows, documents, own_documents, run_of, shard_of,
};
use crate::error::Result;
use crate::record::{record, sorted};
use crate::resources::Opening;
use crate::signatures::shingles_of;
use crate::spill::Spill;
use crate::survivor::{self, Preference, id_of};
use crate::text::TextSource;
use crate::{Read, Stage, column, is_reached, read};

mod candidates;
mod components;
mod sample;
mod stars;

/// The corpus stage `near_dedup`.
pub struct NearDedupStage {
    /// Settings of the stage; `None`: nothing is removed.
    near: Option<NearDedup>,
    preference: Preference,
    text: TextSource,
    /// Digest of the earlier runs that documents are also compared with.
    against: Option<String>,
}

impl NearDedupStage {
    /// The stage with the manifest's settings. Without `[dedup.near]` it removes nothing.
    pub fn open(opening: &Opening) -> Self {
        NearDedupStage {
            near: opening.manifest.dedup.near.clone(),
            preference: Preference::new(opening.manifest),
            text: TextSource::before(NEAR_DEDUP.name, opening.manifest),
            against: opening.against.clone(),
        }
    }
}

impl Stage for NearDedupStage {
    fn spec(&self) -> &'static StageSpec {
        &NEAR_DEDUP
    }

    fn config(&self) -> Value {
        json!({ "near": self.near, "preference": self.near.as_ref().map(|_| self.preference.config()) })
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        self.against
            .iter()
            .map(|digest| ("against", digest.clone()))
            .collect()
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = ["bands", "n_shingles", "probe", "signature"]
            .map(|name| read("signatures", name))
            .to_vec();

        // `doc_id` is read for every stage.
        reads.extend(
            survivor::reads()
                .into_iter()
                .filter(|read| read.name != "doc_id"),
        );
        reads
    }
}

impl CorpusStage for NearDedupStage {
    fn decide<'a>(&'a self, corpus: &'a dyn Corpus) -> Result<Decision<'a>> {
        let Some(near) = &self.near else {
            let results = Results::new(corpus, None)?;
            return Ok(results.decision(
                RecordBatch::new_empty(tables::schema("near_dedup_sample")),
                Vec::new(),
            ));
        };

        let documents = documents(corpus);
        let sample = PairSample::new(documents);
        let candidates = Candidates::find(corpus, near, &sample)?;
        let sampled = sample.documents(documents);
        let gathered = self.gather(corpus, near, &candidates, &sampled)?;

        // The sample is measured last, because it counts pairs of which both documents are kept.
        let results = Results::new(corpus, Some(near))?;
        let tally = judge(corpus, near, &gathered, &results)?;
        let measured = sample.measure(
            near,
            own_documents(corpus),
            gathered.sampled.reader(corpus.memory() / 8)?,
            &results.removed,
        )?;

        let mut notes = candidates_notes(near, &candidates, documents);
        notes.extend(tally_notes(
            near,
            &tally,
            documents,
            gathered.components.filed(),
        ));
        // Unverified runs have no threshold of their own. Their note is about the default one.
        notes.push(measured.note(if near.min_jaccard > 0.0 {
            near.min_jaccard
        } else {
            0.8
        }));

        let refused = refusal(
            near,
            &gathered.of_source,
            &tally.lost,
            self.preference.sources(),
        );
        Ok(Decision {
            refused,
            ..results.decision(measured.table()?, notes)
        })
    }
}

/// The data of candidates, by component, and of the sampled documents.
struct Gathered {
    components: Components,
    /// Shingle sets of sampled documents, or their signatures if pairs are compared by estimate.
    sampled: Store,
    /// The number of documents of each source that reach the stage, earlier runs excluded.
    of_source: Vec<u64>,
}

/// Sums over the verdicts of all components.
#[derive(Debug, Default)]
struct Tally {
    /// Pairs of documents that were compared.
    compared: u64,
    /// Documents that are removed.
    removed: u64,
    /// Documents that reached `max_comparisons` without a match.
    capped: u64,
    /// The number of documents that each source loses.
    lost: Vec<u64>,
}

impl NearDedupStage {
    /// Moves buckets, ranks, shingle sets and signatures of candidates to the partition of their
    /// component. `sampled` are the documents of the sample.
    fn gather(
        &self,
        corpus: &dyn Corpus,
        near: &NearDedup,
        candidates: &Candidates,
        sampled: &Bits,
    ) -> Result<Gathered> {
        let bytes = expected_bytes(corpus, near, candidates);
        let components = Components::new(corpus, bytes, rayon::current_num_threads() as u64)?;
        components.add_buckets(candidates)?;
        let mut gathered = Gathered {
            components,
            sampled: Store::new(corpus, 1, corpus.memory() / 16)?,
            of_source: Vec::new(),
        };

        gathered.of_source = gathered.add_ranks(corpus, &self.preference, candidates)?;
        if near.keep_signatures {
            gathered.add_signatures(corpus, near, candidates, sampled)?;
        }
        gathered.add_sets(corpus, &self.text, near, candidates, sampled)?;
        Ok(gathered)
    }
}

/// The memory that the components of all candidates are expected to take, bytes.
fn expected_bytes(corpus: &dyn Corpus, near: &NearDedup, candidates: &Candidates) -> u64 {
    let members = candidates.members.count();
    let sets = if near.min_jaccard > 0.0 && near.verify == Verify::Exact {
        // The candidates' share of all shingles. The count includes repeats, which sets do not
        // have. The product can exceed 64 bits.
        let bytes = u128::from(8 * candidates.counts.shingles) * u128::from(members);
        (bytes / u128::from(documents(corpus).max(1))) as u64
    } else {
        0
    };

    let signatures = if near.keep_signatures {
        8 * u64::from(near.bands * near.rows)
    } else {
        0
    };

    sets + members * (signatures + member_bytes(near))
}

impl Gathered {
    /// Moves the ranks of candidates to their component. Returns the number of documents of each
    /// source that reach the stage.
    fn add_ranks(
        &self,
        corpus: &dyn Corpus,
        preference: &Preference,
        candidates: &Candidates,
    ) -> Result<Vec<u64>> {
        let of_source: Vec<AtomicU64> = preference.sources().map(|_| AtomicU64::new(0)).collect();

        corpus.scan(&survivor::reads(), &|first, batch| {
            // The rows of a batch are of one shard, so they are all of this run or all of an
            // earlier one.
            let is_earlier = first >= own_documents(corpus);
            let rank = survivor::ranks(preference, batch, is_earlier)?;
            let sources = column(batch, "source")?.as_string::<i32>();

            for row in (0..batch.num_rows()).filter(|&row| is_reached(batch, row)) {
                // An earlier run may have sources that this manifest does not name.
                let source = preference.source(sources.value(row)).unwrap_or(usize::MAX);
                if let Some(n) = of_source.get(source).filter(|_| !is_earlier) {
                    n.fetch_add(1, Relaxed);
                }

                let doc = first + row as u64;
                if candidates.members.contains(doc) {
                    let root = candidates.root(doc);
                    self.components
                        .add_rank(root, doc, &rank(row)?, source as u64)?;
                }
            }
            Ok(())
        })?;
        Ok(of_source.into_iter().map(AtomicU64::into_inner).collect())
    }

    /// Moves the signatures of candidates to their component, and those of sampled documents to the
    /// sample if pairs are compared by estimate.
    fn add_signatures(
        &self,
        corpus: &dyn Corpus,
        near: &NearDedup,
        candidates: &Candidates,
        sampled: &Bits,
    ) -> Result<()> {
        let by_estimate = near.verify == Verify::Estimate;

        corpus.scan(&[read("signatures", "signature")], &|first, batch| {
            let signatures = column(batch, "signature")?.as_list::<i32>();
            for row in (0..batch.num_rows()).filter(|&row| is_reached(batch, row)) {
                let doc = first + row as u64;
                // Copied on demand, because most documents are neither candidates nor sampled.
                let values = || {
                    signatures
                        .value(row)
                        .as_primitive::<UInt64Type>()
                        .values()
                        .to_vec()
                };

                if candidates.members.contains(doc) {
                    let partition = self.components.partition_of(candidates.root(doc));
                    self.components.signatures.push(partition, doc, &values())?;
                }
                if by_estimate && sampled.contains(doc) {
                    self.sampled.push(0, doc, &values())?;
                }
            }
            Ok(())
        })
    }

    /// Makes the shingle sets of candidates and of sampled documents from their texts. No text is
    /// read if pairs are compared by estimate.
    fn add_sets(
        &self,
        corpus: &dyn Corpus,
        text: &TextSource,
        near: &NearDedup,
        candidates: &Candidates,
        sampled: &Bits,
    ) -> Result<()> {
        let by_estimate = near.verify == Verify::Estimate;
        let verified = near.min_jaccard > 0.0 && !by_estimate;
        let is_member = |doc: u64| verified && candidates.members.contains(doc);

        corpus.texts(
            text,
            // Estimates need no text.
            &|doc| !by_estimate && (is_member(doc) || sampled.contains(doc)),
            &|doc, text| {
                // `jaccard` merges two sets, so they are sorted and without repeats.
                let mut set = Vec::new();
                shingles_of(near.shingles, text, near.ngram as usize, &mut set);
                set.sort_unstable();
                set.dedup();

                if is_member(doc) {
                    let partition = self.components.partition_of(candidates.root(doc));
                    self.components.sets.push(partition, doc, &set)?;
                }
                if sampled.contains(doc) {
                    self.sampled.push(0, doc, &set)?;
                }
                Ok(())
            },
        )
    }
}

/// Decides over all components, partition by partition, and adds the verdicts to `results`.
fn judge(
    corpus: &dyn Corpus,
    near: &NearDedup,
    gathered: &Gathered,
    results: &Results,
) -> Result<Tally> {
    let tally = Mutex::new(Tally {
        lost: vec![0; gathered.of_source.len()],
        ..Tally::default()
    });
    let judge = |partition: usize| -> Result<()> {
        corpus.check()?;
        let loaded = gathered.components.load(partition)?;
        let mut outcome = Outcome::default();
        for component in loaded.components() {
            stars::decide(near, &loaded, component, results.own, &mut outcome)?;
        }

        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.compared += outcome.compared;
        tally.capped += outcome.capped;
        tally.removed += outcome.verdicts.len() as u64;
        for verdict in &outcome.verdicts {
            let source = loaded.members[verdict.member].source as usize;
            if let Some(n) = tally.lost.get_mut(source) {
                *n += 1;
            }
        }

        // Other threads need not wait while the rows are written.
        drop(tally);
        results.add(&loaded, &outcome.verdicts)
    };

    // A heavy partition exceeds a thread's share of the memory, so heavy ones go one by one.
    let (light, heavy) = gathered.components.by_weight();
    light.into_par_iter().try_for_each(judge)?;
    heavy.into_iter().try_for_each(judge)?;
    Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The reason to refuse the verdicts, if a source would lose more than the share of its documents
/// that the manifest allows; else `None`.
///
/// `of_source`, `lost` and `names` have an entry for each source, in the same order.
fn refusal<'a>(
    near: &NearDedup,
    of_source: &[u64],
    lost: &[u64],
    names: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let broken: Vec<String> = names
        .zip(of_source.iter().zip(lost))
        .filter(|(_, (n, lost))| **lost as f64 > near.max_source_loss * **n as f64)
        .map(|(source, (n, lost))| {
            format!("source \"{source}\" would lose {lost} of {n} documents")
        })
        .collect();

    (!broken.is_empty()).then(|| {
        format!(
            "{} as near-duplicates; dedup.near.max_source_loss allows a share of {}",
            broken.join(", "),
            near.max_source_loss
        )
    })
}

/// Notes for the log about band keys, candidates and components.
fn candidates_notes(near: &NearDedup, candidates: &Candidates, documents: u64) -> Vec<String> {
    let counts = &candidates.counts;
    let members = candidates.members.count();

    let mut notes = vec![format!(
        "{members} of {documents} documents share a band key with another document, in {} \
         components; the largest has {} documents",
        counts.components, counts.largest
    )];
    if counts.keys > 0 {
        notes.push(format!(
            "{} of {} band keys ({:.1} %) were moved and sorted; each of the others occurs once",
            counts.moved,
            counts.keys,
            100.0 * counts.moved as f64 / counts.keys as f64
        ));
    }
    if counts.without_shingle > 0 {
        let (n, ngram) = (counts.without_shingle, near.ngram);
        notes.push(format!(
            "{n} documents have fewer than {ngram} words and were compared with nothing"
        ));
    }
    if counts.cut > 0 {
        let most = near.max_component;
        notes.push(format!(
            "{} components of more than {most} documents were cut into blocks of documents",
            counts.cut
        ));
    }
    notes
}

/// Notes for the log about comparisons and memory. `filed` is in bytes.
fn tally_notes(near: &NearDedup, tally: &Tally, documents: u64, filed: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if tally.compared > 0 {
        let (compared, removed) = (tally.compared, tally.removed);
        notes.push(format!(
            "{compared} pairs were compared; {removed} documents have a similarity of min_jaccard \
             or more to a kept document"
        ));
    }
    if tally.capped > 0 {
        let (capped, most) = (tally.capped, near.max_comparisons);
        notes.push(format!(
            "{capped} documents reached max_comparisons = {most} without a match"
        ));
    }

    // The forest, once more while it is flattened, and the bits of three sets.
    let held = documents * (4 + 4) + 3 * documents.div_ceil(8);
    let (held, spilled) = (held >> 10, filed >> 10);
    notes.push(format!(
        "clustering held 8.4 bytes a document, {held} KiB, on top of run.memory; {spilled} KiB \
         were spilled"
    ));
    notes
}

/// The rows to write, by shard: removed documents, and survivors with a cluster.
struct Results {
    /// [`Clustered`] documents of this run, in one partition for each shard.
    rows: Spill,
    removed: Bits,
    firsts: Vec<u64>,
    earlier: Vec<Earlier>,
    /// The number of documents of this run.
    own: u64,
    /// The reason of a removal without an exact comparison.
    unverified: &'static str,
}

record! {
    /// A document of a cluster: one that is removed for the survivor, or the survivor itself.
    struct Clustered {
        /// First, so that rows sort by document.
        doc: u64,
        cluster_size: u64,
        id: DocId,
        /// The survivor's identity, equal to `id` in the survivor's own row.
        kept: DocId,
        kept_doc: u64,
        is_removed: bool,
        /// The number of shared bands. This field and those below are evidence for a removal.
        bands_hit: u64,
        jaccard: Option<f64>,
        containment: Option<f64>,
        estimated: Option<f64>,
    }
}

impl Results {
    /// Empty results. `near` is `None` if the stage is off.
    fn new(corpus: &dyn Corpus, near: Option<&NearDedup>) -> Result<Results> {
        let firsts = corpus.firsts().to_vec();
        let (own, documents) = (own_documents(corpus), documents(corpus));
        // The last of `firsts` is the number of all documents, not a shard.
        let rows = Spill::new(corpus.spill(), firsts.len() - 1, corpus.memory() / 16)?;
        let unverified = match near {
            Some(near) if near.cluster == Cluster::Component => "component",
            Some(near) if near.min_jaccard > 0.0 => "estimate",
            _ => "band",
        };

        Ok(Results {
            rows,
            removed: Bits::new(documents),
            firsts,
            earlier: corpus.earlier().to_vec(),
            own,
            unverified,
        })
    }

    /// Adds the verdicts over the components of a loaded partition.
    fn add(&self, loaded: &Loaded, verdicts: &[Verdict]) -> Result<()> {
        let mut sizes: BTreeMap<usize, u64> = BTreeMap::new();
        for verdict in verdicts {
            // The survivor counts as 1.
            *sizes.entry(verdict.kept).or_insert(1) += 1;
        }

        let clustered = |member: usize, kept: usize| {
            let (member, survivor) = (&loaded.members[member], &loaded.members[kept]);
            Clustered {
                doc: member.doc,
                cluster_size: sizes[&kept],
                id: id_of(&member.rank),
                kept: id_of(&survivor.rank),
                kept_doc: survivor.doc,
                is_removed: false,
                bands_hit: 0,
                jaccard: None,
                containment: None,
                estimated: None,
            }
        };

        for verdict in verdicts {
            let row = Clustered {
                is_removed: true,
                bands_hit: u64::from(verdict.bands_hit),
                jaccard: verdict.exact.map(|exact| exact.0),
                containment: verdict.exact.map(|exact| exact.1),
                estimated: verdict.estimated,
                ..clustered(verdict.member, verdict.kept)
            };
            self.removed.insert(row.doc);
            self.rows
                .push_record(shard_of(&self.firsts, row.doc), &row)?;
        }

        // A survivor of an earlier run has no row in this run's tables.
        let own_survivors = sizes
            .keys()
            .filter(|kept| loaded.members[**kept].doc < self.own);
        for &kept in own_survivors {
            let row = clustered(kept, kept);
            self.rows
                .push_record(shard_of(&self.firsts, row.doc), &row)?;
        }
        Ok(())
    }

    /// The decision that hands out these rows, with the table `near_dedup_sample`.
    fn decision(self, sample: RecordBatch, notes: Vec<String>) -> Decision<'static> {
        let annotated = Arc::new(self);
        let with_evidence = Arc::clone(&annotated);
        let evidence = FurtherRows::PerShard(Box::new(move |shard| with_evidence.evidence(shard)));

        let tables = [
            ("near_dedup_evidence", evidence),
            ("near_dedup_sample", FurtherRows::Whole(sample)),
        ];
        Decision {
            tables: tables.into(),
            notes,
            ..Decision::of(Box::new(move |shard| annotated.annotations(shard)))
        }
    }

    /// The rows of a shard, by document.
    fn sorted(&self, shard: usize) -> Result<Vec<Clustered>> {
        // Read, not taken: annotations and evidence each need the rows.
        Ok(sorted(self.rows.read(shard)?))
    }

    /// The rows of a shard in the table `near_dedup`.
    fn annotations(&self, shard: usize) -> Result<RecordBatch> {
        let rows = self.sorted(shard)?;
        let reasons = rows
            .iter()
            .map(|row| row.is_removed.then_some("near_dedup.cluster"));
        let kept = rows
            .iter()
            .map(|row| row.is_removed.then(|| row.kept.to_string()));
        let docs = UInt64Array::from_iter_values(rows.iter().map(|row| row.doc));
        let sizes = UInt32Array::from_iter_values(rows.iter().map(|row| row.cluster_size as u32));

        Ok(RecordBatch::try_from_iter_with_nullable([
            ("doc", Arc::new(docs) as ArrayRef, false),
            (
                "removed_by",
                Arc::new(StringArray::from_iter(reasons)),
                true,
            ),
            ("kept_id", Arc::new(StringArray::from_iter(kept)), true),
            ("cluster_size", Arc::new(sizes), true),
        ])?)
    }

    /// The rows of a shard in the table `near_dedup_evidence`.
    fn evidence(&self, shard: usize) -> Result<RecordBatch> {
        let mut rows = self.sorted(shard)?;
        rows.retain(|row| row.is_removed);

        let ids = |get: fn(&Clustered) -> DocId| -> ArrayRef {
            let ids = rows.iter().map(|row| get(row).to_string());
            Arc::new(StringArray::from_iter_values(ids))
        };
        let counts = |get: fn(&Clustered) -> u64| -> ArrayRef {
            let counts = rows.iter().map(|row| get(row) as u32);
            Arc::new(UInt32Array::from_iter_values(counts))
        };
        let ratios = |get: fn(&Clustered) -> Option<f64>| -> ArrayRef {
            Arc::new(Float64Array::from_iter(rows.iter().map(get)))
        };

        let kept_in = rows.iter().map(|row| run_of(&self.earlier, row.kept_doc));
        // `jaccard` is null in a row whose texts were not compared.
        let reasons = rows.iter().map(|row| match row.jaccard {
            Some(_) => "verified",
            None => self.unverified,
        });

        Ok(RecordBatch::try_from_iter_with_nullable([
            ("doc_id", ids(|row| row.id), false),
            ("cluster_id", ids(|row| row.kept), false),
            ("cluster_size", counts(|row| row.cluster_size), false),
            ("kept_id", ids(|row| row.kept), false),
            ("kept_in", Arc::new(StringArray::from_iter(kept_in)), true),
            ("bands_hit", counts(|row| row.bands_hit), false),
            ("estimated_jaccard", ratios(|row| row.estimated), true),
            ("jaccard", ratios(|row| row.jaccard), true),
            ("containment", ratios(|row| row.containment), true),
            (
                "reason",
                Arc::new(StringArray::from_iter_values(reasons)),
                false,
            ),
        ])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signatures::SignaturesStage;
    use arrow::array::{BooleanArray, TimestampMicrosecondArray};
    use std::path::{Path, PathBuf};

    /// A corpus of texts in shards, as one batch in memory.
    struct Texts {
        texts: Vec<String>,
        firsts: Vec<u64>,
        columns: RecordBatch,
        /// Bytes; decides whether the stage spills.
        memory: u64,
        spill: PathBuf,
    }

    impl Texts {
        fn new(near: &NearDedup, texts: Vec<String>, shards: u64, memory: u64) -> Texts {
            let signed = SignaturesStage::sign_all(near, 1, &texts).expect("signatures");
            let n = texts.len();
            let ids = StringArray::from_iter_values((0..n as u64).map(|doc| {
                DocId::from_words([doc.wrapping_mul(0x9e37_79b9_7f4a_7c15), doc]).to_string()
            }));

            let mut columns: Vec<(&str, ArrayRef)> = vec![
                ("doc_id", Arc::new(ids)),
                (
                    "source",
                    Arc::new(StringArray::from_iter_values(std::iter::repeat_n("web", n))),
                ),
                (
                    "bytes",
                    Arc::new(UInt64Array::from_iter_values(
                        texts.iter().map(|text| text.len() as u64),
                    )),
                ),
                ("source_id", Arc::new(StringArray::new_null(n))),
                ("date", Arc::new(TimestampMicrosecondArray::new_null(n))),
                ("heuristic", Arc::new(Float64Array::new_null(n))),
                ("up_reached", Arc::new(BooleanArray::from(vec![true; n]))),
                ("up_removed_by", Arc::new(StringArray::new_null(n))),
            ];
            columns.extend(signed);
            let columns = RecordBatch::try_from_iter(columns).expect("equal lengths");

            let firsts = (0..=shards)
                .map(|shard| n as u64 * shard / shards)
                .collect();
            let spill = std::env::temp_dir().join(format!(
                "curate-near-{}-{memory}-{shards}",
                std::process::id()
            ));
            Texts {
                texts,
                firsts,
                columns,
                memory,
                spill,
            }
        }
    }

    impl Corpus for Texts {
        fn firsts(&self) -> &[u64] {
            &self.firsts
        }

        fn earlier(&self) -> &[Earlier] {
            &[]
        }

        fn own_shards(&self) -> usize {
            self.firsts.len() - 1
        }

        fn shard(
            &self,
            shard: usize,
            _: &[Read],
            visit: &mut dyn FnMut(u64, &RecordBatch) -> Result<()>,
        ) -> Result<()> {
            let (first, end) = (self.firsts[shard] as usize, self.firsts[shard + 1] as usize);
            visit(first as u64, &self.columns.slice(first, end - first))
        }

        fn scan(
            &self,
            _: &[Read],
            visit: &(dyn Fn(u64, &RecordBatch) -> Result<()> + Sync),
        ) -> Result<()> {
            self.firsts.par_windows(2).try_for_each(|shard| {
                let rows = (shard[1] - shard[0]) as usize;
                visit(shard[0], &self.columns.slice(shard[0] as usize, rows))
            })
        }

        fn texts(
            &self,
            _: &TextSource,
            wanted: &(dyn Fn(u64) -> bool + Sync),
            visit: &(dyn Fn(u64, &str) -> Result<()> + Sync),
        ) -> Result<()> {
            let wanted = (0..self.texts.len() as u64)
                .into_par_iter()
                .filter(|doc| wanted(*doc));
            wanted.try_for_each(|doc| visit(doc, &self.texts[doc as usize]))
        }

        fn check(&self) -> Result<()> {
            Ok(())
        }

        fn memory(&self) -> u64 {
            self.memory
        }

        fn spill(&self) -> &Path {
            &self.spill
        }
    }

    /// Families of texts that share most of their words.
    fn families(n: u64) -> Vec<String> {
        let word = |family: u64, at: u64| {
            format!(
                "w{:x}",
                (family << 8 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
            )
        };
        // The first words of a text are its own, at most six of forty.
        let text = |doc: u64| {
            let (family, cut) = (doc * doc % (n / 3), doc % 7);
            let words = (0..40).map(|at| {
                if at < cut {
                    word(doc + n, at)
                } else {
                    word(family, at)
                }
            });
            words.collect::<Vec<_>>().join(" ")
        };
        (0..n).map(text).collect()
    }

    fn rows_of(decision: &Decision, table: &str, shard: usize) -> Result<RecordBatch> {
        match &decision.tables[table] {
            FurtherRows::Whole(rows) => Ok(rows.clone()),
            FurtherRows::PerShard(rows) => rows(shard),
        }
    }

    fn decide(near: &NearDedup, shards: u64, memory: u64) -> (String, Vec<String>) {
        let stage = NearDedupStage {
            near: Some(near.clone()),
            preference: Preference::of(
                &[curate_schemas::stages::near_dedup::Prefer::Bytes],
                ["web"],
            ),
            text: TextSource::default(),
            against: None,
        };
        let corpus = Texts::new(near, families(3_000), shards, memory);
        let decision = stage.decide(&corpus).expect("a decision");

        let mut rows = String::new();
        for shard in 0..shards as usize {
            let batches = [
                (decision.annotations)(shard),
                rows_of(&decision, "near_dedup_evidence", shard),
            ];
            for batch in batches {
                for row in 0..batch.as_ref().expect("a batch").num_rows() {
                    rows.push_str(&format!(
                        "{:?}\n",
                        batch.as_ref().expect("a batch").slice(row, 1).columns()
                    ));
                }
            }
        }

        let sample = rows_of(&decision, "near_dedup_sample", 0).expect("a batch");
        (rows + &format!("{:?}", sample.columns()), decision.notes)
    }

    #[test]
    fn memory_and_spilling_decide_nothing() {
        let near = NearDedup {
            keep_signatures: true,
            ..NearDedup::default()
        };

        let (expected, notes) = decide(&near, 3, 1 << 30);
        assert!(
            expected.matches("near_dedup.cluster").count() > 1_000,
            "{notes:?}"
        );
        assert!(
            notes
                .iter()
                .any(|note| note.ends_with("; 0 KiB were spilled")),
            "{notes:?}"
        );

        let (found, notes) = decide(&near, 3, 1 << 14);
        assert!(
            !notes
                .iter()
                .any(|note| note.ends_with("; 0 KiB were spilled")),
            "{notes:?}"
        );
        assert!(found == expected, "16 KiB of memory decide otherwise");
    }
}
