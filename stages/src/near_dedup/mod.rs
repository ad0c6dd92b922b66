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
use self::sample::Sample;
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

/// The stage `near_dedup`.
pub struct NearDedupStage {
    near: Option<NearDedup>,
    preference: Preference,
    text: TextSource,
    against: Option<String>,
}

impl NearDedupStage {
    /// The stage as the manifest sets it; without `[dedup.near]` nothing is removed.
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
        let sample = Sample::new(documents);
        let candidates = Candidates::find(corpus, near, &sample)?;
        let sampled = sample.documents(documents);
        let gathered = self.gather(corpus, near, &candidates, &sampled)?;
        let results = Results::new(corpus, Some(near))?;
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
        let components = Components::new(corpus, bytes, rayon::current_num_threads() as u64)?;
        components.add_buckets(candidates)?;
        let sampled_words = Store::new(corpus, 1, corpus.memory() / 16)?;

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
        corpus.texts(&self.text, &wanted, &|doc, text| {
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

record! {
    /// A document of a cluster: removed for the survivor, or the survivor itself.
    struct Clustered {
        doc: u64,
        cluster_size: u64,
        id: DocId,
        /// The survivor, by identity and by number.
        kept: DocId,
        kept_doc: u64,
        is_removed: bool,
        /// Evidence for a removal: bands shared, exact similarity, containment, estimate.
        bands_hit: u64,
        jaccard: Option<f64>,
        containment: Option<f64>,
        estimated: Option<f64>,
    }
}

impl Results {
    fn new(corpus: &dyn Corpus, near: Option<&NearDedup>) -> Result<Results> {
        let firsts = corpus.firsts().to_vec();
        let (own, documents) = (own_documents(corpus), documents(corpus));
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

    fn add(&self, loaded: &Loaded, verdicts: &[Verdict]) -> Result<()> {
        let mut sizes: BTreeMap<usize, u64> = BTreeMap::new();
        verdicts
            .iter()
            .for_each(|verdict| *sizes.entry(verdict.kept).or_insert(1) += 1);
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

    fn sorted(&self, shard: usize) -> Result<Vec<Clustered>> {
        Ok(sorted(self.rows.read(shard)?))
    }

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
