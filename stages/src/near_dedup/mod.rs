//! Near-duplicates: MinHash band keys give candidates, exact Jaccard similarity of shingle sets
//! decides.
//!
//! Broder 1997; banding as in Leskovec et al., *Mining of Massive Datasets*, ch. 3. Departs from
//! the usual transitive closure: clusters are stars. Members of a component are visited in the
//! order of preference and compared with the *kept* members that share a band; a document is
//! removed only if one of those is verified, so every removal has a kept document that it
//! resembles, and chains do not carry dissimilar documents along. The closure itself is to be had
//! as `cluster = "component"`, unverified, for comparison with tools that know no other.
//!
//! | file | what it does |
//! |---|---|
//! | `candidates` | which documents share a band key, and the components that this connects |
//! | `components` | moves what is known of candidates to their component, and loads it |
//! | `stars` | who is removed for whom |
//! | `sample` | how many pairs the banding missed, on every run |
//!
//! Cost: two scans over the band keys, one over what the preference looks at, one over the texts of
//! candidates. In memory stay 4 bytes a document (8 for a moment) and 3 bits; everything else goes
//! through partitions that spill. A partition holds at least one band key with all its documents,
//! 32 bytes each, or one component, so `max_component` bounds it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use curate_schemas::manifest::{Cluster, Manifest, NearDedup, Verify};
use curate_schemas::tables;
use datafusion::arrow::array::{
    ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::error::Result;
use rayon::prelude::*;
use serde_json::{Value, json};

use self::candidates::Candidates;
use self::components::{Components, Loaded, Store, member_bytes};
use self::sample::Sample;
use self::stars::{Outcome, Verdict};
use crate::bits::Bits;
use crate::edits::TextColumns;
use crate::signatures::shingles_of;
use crate::spill::{Spill, records, records_mut};
use crate::survivor::{self, Preference, id_of, id_text};
use crate::{
    Corpus, CorpusStage, Decision, Earlier, Read, Rows, Stage, column, documents, is_reached,
    own_documents, read, run_of, shard_of,
};

mod candidates;
mod components;
mod sample;
mod stars;

/// The stage `near_dedup`.
pub struct NearDedupStage {
    near: Option<NearDedup>,
    preference: Preference,
    text: TextColumns,
    against: Option<String>,
}

impl NearDedupStage {
    /// The stage as the manifest sets it; without `[dedup.near]` nothing is removed. `against` is
    /// the digest of earlier runs.
    pub fn new(manifest: &Manifest, against: Option<String>) -> Self {
        NearDedupStage {
            near: manifest.dedup.near.clone(),
            preference: Preference::new(manifest),
            text: TextColumns::new(manifest),
            against,
        }
    }
}

impl Stage for NearDedupStage {
    fn name(&self) -> &'static str {
        "near_dedup"
    }

    fn version(&self) -> u32 {
        3
    }

    fn config(&self) -> Value {
        json!({ "near": self.near, "preference": self.near.as_ref().map(|_| self.preference.config()) })
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        self.against
            .iter()
            .map(|digest| ("against", digest.clone()))
            .collect()
    }

    fn follows(&self) -> &'static str {
        "exact_dedup"
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = ["bands", "n_shingles", "probe", "signature"]
            .map(|name| read("signatures", name))
            .to_vec();
        reads.extend(
            survivor::reads()
                .into_iter()
                .filter(|read| read.name != "doc_id"),
        );
        reads
    }
}

impl CorpusStage for NearDedupStage {
    fn tables(&self) -> &'static [&'static str] {
        &["near_dedup_evidence", "near_dedup_sample"]
    }

    fn decide<'a>(&'a self, corpus: &'a dyn Corpus) -> Result<Decision<'a>> {
        let Some(near) = &self.near else {
            let results = Results::new(corpus, None);
            return Ok(results.decision(
                RecordBatch::new_empty(tables::schema("near_dedup_sample")),
                Vec::new(),
            ));
        };
        let documents = documents(corpus);
        let sample = Sample::new(documents);
        let candidates = Candidates::find(corpus, near, &sample)?;
        let sampled = sample.documents(documents);
        let gathered = self.gather(corpus, near, &candidates, &sampled)?;
        let results = Results::new(corpus, Some(near));
        let tally = self.judge(corpus, near, &gathered, &results)?;
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

/// What is known of candidates, by component, and of the sample.
struct Gathered {
    components: Components,
    /// Shingle sets of sampled documents, or their signatures where pairs are compared by estimate.
    sampled: Store,
    /// Documents of each source that reach the stage.
    of_source: Vec<u64>,
}

/// What the verdicts add up to.
#[derive(Debug, Default)]
struct Tally {
    compared: u64,
    removed: u64,
    capped: u64,
    /// Documents that each source loses.
    lost: Vec<u64>,
}

impl NearDedupStage {
    /// Moves buckets, ranks, shingle sets and signatures of candidates to the partition of their
    /// component.
    fn gather(
        &self,
        corpus: &dyn Corpus,
        near: &NearDedup,
        candidates: &Candidates,
        sampled: &Bits,
    ) -> Result<Gathered> {
        let by_estimate = near.verify == Verify::Estimate;
        let verified = near.min_jaccard > 0.0 && !by_estimate;
        let members = candidates.members.count();
        // Shares of all shingles and bands, by the number of candidates: repeats within a document
        // count too.
        let documents = documents(corpus).max(1);
        let of_members =
            |bytes: u64| (u128::from(bytes) * u128::from(members) / u128::from(documents)) as u64;
        let sets = if verified {
            of_members(8 * candidates.counts.shingles)
        } else {
            0
        };
        let signatures = if near.keep_signatures {
            8 * u64::from(near.bands * near.rows)
        } else {
            0
        };
        let bytes = sets + members * (signatures + member_bytes(near));
        let components = Components::new(corpus, bytes, rayon::current_num_threads() as u64);
        components.add_buckets(candidates)?;
        let sampled_words = Store::new(corpus, 1, corpus.memory() / 16);

        let of_source: Vec<AtomicU64> = self
            .preference
            .sources()
            .map(|_| AtomicU64::new(0))
            .collect();
        corpus.scan(&survivor::reads(), &|first, batch| {
            let is_earlier = first >= own_documents(corpus);
            let rank = survivor::ranks(&self.preference, batch, is_earlier)?;
            let sources = column(batch, "source")?.as_string::<i32>();
            for row in (0..batch.num_rows()).filter(|&row| is_reached(batch, row)) {
                let source = self
                    .preference
                    .source(sources.value(row))
                    .unwrap_or(usize::MAX);
                if let Some(n) = of_source.get(source).filter(|_| !is_earlier) {
                    n.fetch_add(1, Relaxed);
                }
                let doc = first + row as u64;
                if candidates.members.contains(doc) {
                    components.add_rank(candidates.root(doc), doc, &rank(row)?, source as u64)?;
                }
            }
            Ok(())
        })?;
        if near.keep_signatures {
            corpus.scan(&[read("signatures", "signature")], &|first, batch| {
                let signatures = column(batch, "signature")?.as_list::<i32>();
                for row in (0..batch.num_rows()).filter(|&row| is_reached(batch, row)) {
                    let doc = first + row as u64;
                    let values = || {
                        signatures
                            .value(row)
                            .as_primitive::<UInt64Type>()
                            .values()
                            .to_vec()
                    };
                    if candidates.members.contains(doc) {
                        components.signatures.push(
                            components.partition_of(candidates.root(doc)),
                            doc,
                            &values(),
                        )?;
                    }
                    if by_estimate && sampled.contains(doc) {
                        sampled_words.push(0, doc, &values())?;
                    }
                }
                Ok(())
            })?;
        }

        let is_member = |doc| verified && candidates.members.contains(doc);
        let wanted = |doc| !by_estimate && (is_member(doc) || sampled.contains(doc));
        corpus.texts(self.text, &wanted, &|doc, text| {
            let mut set = Vec::new();
            shingles_of(near.shingles, text, near.ngram as usize, &mut set);
            set.sort_unstable();
            set.dedup();
            if is_member(doc) {
                components
                    .sets
                    .push(components.partition_of(candidates.root(doc)), doc, &set)?;
            }
            if sampled.contains(doc) {
                sampled_words.push(0, doc, &set)?;
            }
            Ok(())
        })?;
        let of_source = of_source.into_iter().map(AtomicU64::into_inner).collect();
        Ok(Gathered {
            components,
            sampled: sampled_words,
            of_source,
        })
    }

    /// Decides over all components, partition by partition.
    fn judge(
        &self,
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
                tally
                    .lost
                    .get_mut(loaded.members[verdict.member].source as usize)
                    .into_iter()
                    .for_each(|n| *n += 1);
            }
            drop(tally);
            results.add(&loaded, &outcome.verdicts)
        };
        let (light, heavy) = gathered.components.by_weight();
        light.into_par_iter().try_for_each(judge)?;
        heavy.into_iter().try_for_each(judge)?;
        Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why the verdicts are refused: a source would lose more than the share of its documents that the
/// manifest allows.
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
    let limit = format!(
        "as near-duplicates, dedup.near.max_source_loss is {}",
        near.max_source_loss
    );
    (!broken.is_empty()).then(|| format!("{} {limit}", broken.join(", ")))
}

fn candidates_notes(near: &NearDedup, candidates: &Candidates, documents: u64) -> Vec<String> {
    let counts = &candidates.counts;
    let members = candidates.members.count();
    let mut notes = vec![format!(
        "{members} of {documents} documents share a band key with another, in {} components, the largest of {}",
        counts.components, counts.largest
    )];
    if counts.keys > 0 {
        notes.push(format!(
            "{} of {} band keys ({:.1} %) went on to be sorted, the rest occurs once",
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

fn tally_notes(near: &NearDedup, tally: &Tally, documents: u64, filed: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if tally.compared > 0 {
        let (compared, removed) = (tally.compared, tally.removed);
        notes.push(format!(
            "{compared} pairs were compared, {removed} documents have a kept one of min_jaccard or more"
        ));
    }
    if tally.capped > 0 {
        let (capped, most) = (tally.capped, near.max_comparisons);
        notes.push(format!(
            "{capped} documents met max_comparisons = {most} before a match"
        ));
    }
    // The forest, once more while it is flattened, and the bits of three sets.
    let held = documents * (4 + 4) + 3 * documents.div_ceil(8);
    let (held, spilled) = (held >> 10, filed >> 10);
    notes.push(format!(
        "clustering held 8.4 bytes a document, {held} KiB, beside run.memory; {spilled} KiB were spilled"
    ));
    notes
}

/// What is written: by shard, rows of removed documents and of survivors with a cluster.
struct Results {
    rows: Spill,
    removed: Bits,
    firsts: Vec<u64>,
    earlier: Vec<Earlier>,
    /// Documents of this run.
    own: u64,
    /// What a removal without an exact comparison rests on.
    unverified: &'static str,
}

/// Document, cluster size, its `doc_id`, that of the survivor, the survivor, then of removed ones:
/// 1, buckets hit, and as bits of floats, NaN for none, exact similarity, containment, estimate.
type Row = [u64; 12];

impl Results {
    fn new(corpus: &dyn Corpus, near: Option<&NearDedup>) -> Results {
        let firsts = corpus.firsts().to_vec();
        let (own, documents) = (own_documents(corpus), documents(corpus));
        let rows = Spill::new(corpus.spill(), firsts.len() - 1, corpus.memory() / 16);
        let unverified = match near {
            Some(near) if near.cluster == Cluster::Component => "component",
            Some(near) if near.min_jaccard > 0.0 => "estimate",
            _ => "band",
        };
        Results {
            rows,
            removed: Bits::new(documents),
            firsts,
            earlier: corpus.earlier().to_vec(),
            own,
            unverified,
        }
    }

    fn add(&self, loaded: &Loaded, verdicts: &[Verdict]) -> Result<()> {
        let mut sizes: BTreeMap<usize, u64> = BTreeMap::new();
        verdicts
            .iter()
            .for_each(|verdict| *sizes.entry(verdict.kept).or_insert(1) += 1);
        let id = |member: usize| id_of(&loaded.members[member].rank);
        let start = |member: usize, kept: usize| -> Row {
            let mut row = [0; 12];
            row[0] = loaded.members[member].doc;
            row[6] = loaded.members[kept].doc;
            row[1] = sizes[&kept];
            row[2..4].copy_from_slice(&id(member));
            row[4..6].copy_from_slice(&id(kept));
            row
        };
        for verdict in verdicts {
            let mut row = start(verdict.member, verdict.kept);
            let bits = |value: Option<f64>| value.unwrap_or(f64::NAN).to_bits();
            let (jaccard, containment) = (
                verdict.exact.map(|exact| exact.0),
                verdict.exact.map(|exact| exact.1),
            );
            row[7..9].copy_from_slice(&[1, u64::from(verdict.bands_hit)]);
            row[9..].copy_from_slice(&[jaccard, containment, verdict.estimated].map(bits));
            self.removed.insert(row[0]);
            self.rows.push(shard_of(&self.firsts, row[0]), &row)?;
        }
        for &kept in sizes
            .keys()
            .filter(|kept| loaded.members[**kept].doc < self.own)
        {
            let row = start(kept, kept);
            self.rows.push(shard_of(&self.firsts, row[0]), &row)?;
        }
        Ok(())
    }

    fn decision(self, sample: RecordBatch, notes: Vec<String>) -> Decision<'static> {
        let annotated = Arc::new(self);
        let with_evidence = Arc::clone(&annotated);
        let tables: [(&'static str, Rows); 2] = [
            (
                "near_dedup_evidence",
                Box::new(move |shard| with_evidence.evidence(shard)),
            ),
            // Of the corpus as a whole; it stands with the first shard.
            (
                "near_dedup_sample",
                Box::new(move |shard| {
                    Ok(if shard == 0 {
                        sample.clone()
                    } else {
                        sample.slice(0, 0)
                    })
                }),
            ),
        ];
        let annotations = Box::new(move |shard| annotated.annotations(shard));
        Decision {
            annotations,
            tables: tables.into(),
            notes,
            refused: None,
        }
    }

    fn sorted(&self, shard: usize) -> Result<Vec<u64>> {
        let mut words = self.rows.read(shard)?;
        records_mut::<12>(&mut words).sort_unstable();
        Ok(words)
    }

    fn annotations(&self, shard: usize) -> Result<RecordBatch> {
        let words = self.sorted(shard)?;
        let rows: &[Row] = records(&words);
        let docs = UInt64Array::from_iter_values(rows.iter().map(|row| row[0]));
        let reasons = StringArray::from_iter(
            rows.iter()
                .map(|row| (row[7] == 1).then_some("near_dedup.cluster")),
        );
        let kept = StringArray::from_iter(
            rows.iter()
                .map(|row| (row[7] == 1).then(|| id_text([row[4], row[5]]))),
        );
        let sizes = UInt32Array::from_iter_values(rows.iter().map(|row| row[1] as u32));
        Ok(RecordBatch::try_from_iter_with_nullable([
            ("doc", Arc::new(docs) as ArrayRef, false),
            ("removed_by", Arc::new(reasons), true),
            ("kept_id", Arc::new(kept), true),
            ("cluster_size", Arc::new(sizes), true),
        ])?)
    }

    fn evidence(&self, shard: usize) -> Result<RecordBatch> {
        let words = self.sorted(shard)?;
        let rows: Vec<&Row> = records(&words)
            .iter()
            .filter(|row: &&Row| row[7] == 1)
            .collect();
        let ids = |at: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| id_text([row[at], row[at + 1]])),
            ))
        };
        let counts = |at: usize| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(
                rows.iter().map(|row| row[at] as u32),
            ))
        };
        let ratios = |at: usize| -> ArrayRef {
            let values = rows.iter().map(|row| f64::from_bits(row[at]));
            Arc::new(Float64Array::from_iter(
                values.map(|value| (!value.is_nan()).then_some(value)),
            ))
        };
        let reason = |row: &&Row| {
            if f64::from_bits(row[9]).is_nan() {
                self.unverified
            } else {
                "verified"
            }
        };
        let reasons = StringArray::from_iter_values(rows.iter().map(reason));
        let kept_in = StringArray::from_iter(rows.iter().map(|row| run_of(&self.earlier, row[6])));
        let columns = vec![
            ids(2),
            ids(4),
            counts(1),
            ids(4),
            Arc::new(kept_in),
            counts(8),
            ratios(11),
            ratios(9),
            ratios(10),
            Arc::new(reasons) as ArrayRef,
        ];
        Ok(RecordBatch::try_new(
            tables::schema("near_dedup_evidence"),
            columns,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signatures::SignaturesStage;
    use datafusion::arrow::array::{BooleanArray, TimestampMicrosecondArray};
    use std::path::{Path, PathBuf};

    /// Texts in shards, with so much memory that they spill or do not.
    struct Texts {
        texts: Vec<String>,
        firsts: Vec<u64>,
        columns: RecordBatch,
        memory: u64,
        spill: PathBuf,
    }

    impl Texts {
        fn new(near: &NearDedup, texts: Vec<String>, shards: u64, memory: u64) -> Texts {
            let signed = SignaturesStage::sign_all(near, 1, &texts).expect("signatures");
            let n = texts.len();
            let ids = StringArray::from_iter_values(
                (0..n as u64).map(|doc| id_text([doc.wrapping_mul(0x9e37_79b9_7f4a_7c15), doc])),
            );
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
            _: TextColumns,
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

    fn decide(near: &NearDedup, shards: u64, memory: u64) -> (String, Vec<String>) {
        let stage = NearDedupStage {
            near: Some(near.clone()),
            preference: Preference::of(&[curate_schemas::manifest::Prefer::Bytes], ["web"]),
            text: TextColumns::Plain,
            against: None,
        };
        let corpus = Texts::new(near, families(3_000), shards, memory);
        let decision = stage.decide(&corpus).expect("a decision");
        let mut rows = String::new();
        for shard in 0..shards as usize {
            let batches = [
                (decision.annotations)(shard),
                (decision.tables["near_dedup_evidence"])(shard),
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
        let sample = (decision.tables["near_dedup_sample"])(0).expect("a batch");
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
