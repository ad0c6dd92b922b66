//! Near-duplicates: MinHash band keys give candidates, exact Jaccard similarity of shingle sets decides.
//!
//! Broder 1997; banding as in Leskovec et al., *Mining of Massive Datasets*, ch. 3. Departs from the usual transitive
//! closure: clusters are stars. Members of a component are visited in the order of preference and compared with the *kept*
//! members that share a band; a document is removed only if one of those is verified, so every removal has a kept
//! document that it resembles, and chains do not carry dissimilar documents along. The closure itself is to be had as
//! `cluster = "component"`, unverified, for comparison with tools that know no other.
//!
//! Cost: a spilling grouping over `bands` narrow rows a document; then shingle sets, 8 bytes a shingle, of the documents
//! that have a candidate, in rounds that fit the memory setting (one more pass over their text a round).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use curate_schemas::manifest::{Cluster, Manifest, NearDedup};
use curate_schemas::tables;
use curate_scorers::shingles::{jaccard, shingle_set};
use datafusion::arrow::array::{
    ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, StringBuilder, UInt32Array, UInt32Builder, UInt64Array,
};
use datafusion::arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{array_agg, count};
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::edits::TextColumns;
use crate::exact_dedup::{collect_groups, gather};
use crate::survivor::{self, Candidate, Preference};
use crate::{Corpus, CorpusStage, Decision, Read, Stage, read};

/// The stage `near_dedup`.
pub struct NearDedupStage {
    near: Option<NearDedup>,
    preference: Preference,
    text: TextColumns,
}

impl NearDedupStage {
    /// The stage as the manifest sets it; without `[dedup.near]` nothing is removed.
    pub fn new(manifest: &Manifest) -> Self {
        NearDedupStage {
            near: manifest.dedup.near.clone(),
            preference: Preference::new(manifest),
            text: TextColumns::new(manifest),
        }
    }
}

impl Stage for NearDedupStage {
    fn name(&self) -> &'static str {
        "near_dedup"
    }

    fn version(&self) -> u32 {
        2
    }

    fn config(&self) -> Value {
        json!({ "near": self.near, "preference": self.near.as_ref().map(|_| self.preference.config()) })
    }

    fn follows(&self) -> &'static str {
        "exact_dedup"
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = vec![read("signatures", "bands"), read("signatures", "n_shingles")];
        reads.extend(survivor::reads().into_iter().filter(|read| read.name != "doc_id"));
        reads
    }
}

#[async_trait]
impl CorpusStage for NearDedupStage {
    fn tables(&self) -> &'static [&'static str] {
        &["near_dedup_evidence"]
    }

    async fn decide(&self, corpus: &dyn Corpus) -> Result<Decision> {
        let Some(near) = &self.near else {
            return decision(&[], &[], Cluster::Star, Vec::new());
        };
        let buckets = band_buckets(corpus).await?;
        let members = gather(corpus, &buckets).await?;
        let sizes = shingle_counts(corpus, &members).await?;
        let graph = Graph::new(&members, &buckets, &self.preference);
        let (verdicts, capped) = graph.verify_all(corpus, near, self.text, &sizes)?;
        let mut notes = vec![format!(
            "{} documents share a band with another, in {} components, the largest of {}",
            members.len(),
            graph.components.len(),
            graph.components.iter().map(Vec::len).max().unwrap_or(0)
        )];
        let no_shingle = corpus.rows(&[read("signatures", "bands")])?;
        let no_shingle = no_shingle.filter(col("reached").and(col("bands").is_null()))?.count().await?;
        if no_shingle > 0 {
            let n = near.ngram;
            notes.push(format!("{no_shingle} documents have fewer than {n} words and were compared with nothing"));
        }
        if capped > 0 {
            notes.push(format!("{capped} documents met max_comparisons = {} before a match", near.max_comparisons));
        }
        let mut decision = decision(&members, &verdicts, near.cluster, notes)?;
        if near.max_source_loss < 1.0 {
            decision.refused = refusal(corpus, &members, &verdicts, near.max_source_loss).await?;
        }
        Ok(decision)
    }
}

/// Why the verdicts are refused: a source would lose more than the given share of its documents.
async fn refusal(
    corpus: &dyn Corpus,
    members: &[Candidate],
    verdicts: &[Verdict],
    most: f64,
) -> Result<Option<String>> {
    let mut lost: BTreeMap<&str, u64> = BTreeMap::new();
    for verdict in verdicts {
        *lost.entry(&members[verdict.member].source).or_default() += 1;
    }
    let rows = corpus.rows(&[read("documents", "source")])?.filter(col("reached"))?;
    let mut stream = rows.aggregate(vec![col("source")], vec![count(lit(1)).alias("n")])?.execute_stream().await?;
    let mut broken = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        let counts = batch.column(1).as_primitive::<Int64Type>();
        for (source, n) in batch.column(0).as_string::<i32>().iter().flatten().zip(counts.values()) {
            let lost = lost.get(source).copied().unwrap_or(0);
            if lost as f64 > most * *n as f64 {
                broken.push(format!("source \"{source}\" would lose {lost} of {n} documents"));
            }
        }
    }
    broken.sort_unstable();
    let limit = format!("as near-duplicates, dedup.near.max_source_loss is {most}");
    Ok((!broken.is_empty()).then(|| format!("{} {limit}", broken.join(", "))))
}

/// Documents that share a band key, a list for each key that two or more have.
async fn band_buckets(corpus: &dyn Corpus) -> Result<Vec<Vec<u64>>> {
    let rows = corpus.rows(&[read("signatures", "bands")])?;
    let keyed = rows.filter(col("reached").and(col("bands").is_not_null()))?;
    let keys = keyed.select(vec![col("doc"), col("bands")])?.unnest_columns(&["bands"])?;
    let buckets = keys
        .aggregate(vec![col("bands")], vec![count(lit(1)).alias("n"), array_agg(col("doc")).alias("docs")])?
        .filter(col("n").gt(lit(1i64)))?
        .select(vec![col("docs")])?;
    collect_groups(buckets).await
}

/// Shingles of each member, repeats included: an upper bound of its set.
async fn shingle_counts(corpus: &dyn Corpus, members: &[Candidate]) -> Result<Vec<u32>> {
    let mut counts = vec![0; members.len()];
    if members.is_empty() {
        return Ok(counts);
    }
    let mut stream = corpus.rows(&[read("signatures", "n_shingles")])?.execute_stream().await?;
    while let Some(batch) = stream.try_next().await? {
        let docs = batch.column_by_name("doc").expect("every corpus plan has it").as_primitive::<UInt64Type>();
        let sizes = batch.column_by_name("n_shingles").expect("asked for").as_primitive::<UInt32Type>();
        for (doc, size) in docs.values().iter().zip(sizes) {
            if let Ok(at) = members.binary_search_by_key(doc, |member| member.doc) {
                counts[at] = size.unwrap_or(0);
            }
        }
    }
    Ok(counts)
}

/// What became of one member: removed in favour of `kept`, on this evidence.
#[derive(Debug, Clone, PartialEq)]
struct Verdict {
    member: usize,
    kept: usize,
    bands_hit: u32,
    /// Jaccard similarity and containment; `None` without verification.
    similarity: Option<(f64, f64)>,
}

/// Members (by index), the buckets each is in, and the components they form.
struct Graph<'a> {
    members: &'a [Candidate],
    buckets_of: Vec<Vec<u32>>,
    /// Each in the order of preference; components in the order of their first document.
    components: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(members: &'a [Candidate], buckets: &[Vec<u64>], preference: &Preference) -> Self {
        let index = |doc: u64| {
            members.binary_search_by_key(&doc, |member| member.doc).expect("every member of a bucket was gathered")
        };
        let mut buckets_of = vec![Vec::new(); members.len()];
        let mut parents: Vec<usize> = (0..members.len()).collect();
        for (number, bucket) in buckets.iter().enumerate() {
            let first = index(bucket[0]);
            for &doc in bucket {
                let member = index(doc);
                buckets_of[member].push(number as u32);
                union(&mut parents, first, member);
            }
        }
        let mut by_root: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for member in 0..members.len() {
            by_root.entry(root(&mut parents, member)).or_default().push(member);
        }
        let mut components: Vec<Vec<usize>> = by_root.into_values().collect();
        for component in &mut components {
            component.sort_by(|&a, &b| preference.compare(&members[a], &members[b]));
        }
        Graph { members, buckets_of, components }
    }

    /// Verdicts in the order of components, and how many documents met the bound on comparisons.
    fn verify_all(
        &self,
        corpus: &dyn Corpus,
        near: &NearDedup,
        text: TextColumns,
        sizes: &[u32],
    ) -> Result<(Vec<Verdict>, u64)> {
        let (mut verdicts, mut capped) = (Vec::new(), 0);
        for round in self.rounds(near, sizes, corpus.memory() / 2) {
            let sets = match near.min_jaccard > 0.0 {
                true => self.shingle_sets(corpus, text, round, near.ngram as usize)?,
                false => HashMap::new(),
            };
            let results: Vec<_> = round
                .par_iter()
                .map(|component| match near.cluster {
                    Cluster::Star => self.star(component, near, &sets),
                    Cluster::Component => (self.closure(component), 0),
                })
                .collect();
            for (removed, met_bound) in results {
                verdicts.extend(removed);
                capped += met_bound;
            }
        }
        Ok((verdicts, capped))
    }

    /// Components in slices whose shingle sets fit into `memory` bytes; a component larger than that is a slice of its own.
    fn rounds(&self, near: &NearDedup, sizes: &[u32], memory: u64) -> Vec<&[Vec<usize>]> {
        if near.min_jaccard == 0.0 {
            return vec![&self.components];
        }
        let mut rounds = Vec::new();
        let (mut from, mut used) = (0, 0u64);
        for (at, component) in self.components.iter().enumerate() {
            let bytes: u64 = component.iter().map(|&member| 8 * u64::from(sizes[member])).sum();
            if used > 0 && used + bytes > memory {
                rounds.push(&self.components[from..at]);
                (from, used) = (at, 0);
            }
            used += bytes;
        }
        rounds.push(&self.components[from..]);
        rounds
    }

    fn shingle_sets(
        &self,
        corpus: &dyn Corpus,
        text: TextColumns,
        components: &[Vec<usize>],
        ngram: usize,
    ) -> Result<HashMap<u64, Vec<u64>>> {
        let mut docs: Vec<u64> = components.iter().flatten().map(|&member| self.members[member].doc).collect();
        docs.sort_unstable();
        let sets = Mutex::new(HashMap::with_capacity(docs.len()));
        corpus.texts(text, &docs, &|doc, text| {
            let mut set = Vec::new();
            shingle_set(text, ngram, &mut set);
            set.shrink_to_fit();
            sets.lock().expect("no thread panics while it inserts").insert(doc, set);
        })?;
        Ok(sets.into_inner().expect("no thread panics while it inserts"))
    }

    /// All of a component but its preferred member, in favour of that.
    fn closure(&self, component: &[usize]) -> Vec<Verdict> {
        let Some((&kept, rest)) = component.split_first() else { return Vec::new() };
        let shared = |member: usize| {
            let shares = |bucket: &&u32| self.buckets_of[kept].binary_search(bucket).is_ok();
            self.buckets_of[member].iter().filter(shares).count() as u32
        };
        rest.iter().map(|&member| Verdict { member, kept, bands_hit: shared(member), similarity: None }).collect()
    }

    /// Star clusters of one component: who is removed for whom, and how many members met the bound on comparisons.
    fn star(&self, component: &[usize], near: &NearDedup, sets: &HashMap<u64, Vec<u64>>) -> (Vec<Verdict>, u64) {
        let (mut removed, mut capped) = (Vec::new(), 0);
        let most = near.max_comparisons as usize;
        let mut kept_in: HashMap<u32, Vec<usize>> = HashMap::new();
        for (rank, &member) in component.iter().enumerate() {
            // Kept members that share a band, by their rank: most shared bands first, then the preferred.
            let mut hits: BTreeMap<usize, u32> = BTreeMap::new();
            for bucket in &self.buckets_of[member] {
                for &kept in kept_in.get(bucket).into_iter().flatten() {
                    *hits.entry(kept).or_default() += 1;
                }
            }
            let mut near_kept: Vec<(Reverse<u32>, usize)> = hits.iter().map(|(&kept, &n)| (Reverse(n), kept)).collect();
            near_kept.sort_unstable();
            let found = near_kept.iter().take(most).find_map(|&(Reverse(bands_hit), kept)| {
                let kept = component[kept];
                let similarity = match near.min_jaccard > 0.0 {
                    true => Some(self.compare(member, kept, sets)),
                    false => None,
                };
                let same = similarity.is_none_or(|(jaccard, _)| jaccard >= near.min_jaccard);
                same.then_some(Verdict { member, kept, bands_hit, similarity })
            });
            if let Some(verdict) = found {
                removed.push(verdict);
                continue;
            }
            let was_full = |bucket: &u32| kept_in.get(bucket).is_some_and(|kept| kept.len() >= most);
            capped += u64::from(near_kept.len() > most || self.buckets_of[member].iter().any(was_full));
            for bucket in &self.buckets_of[member] {
                let kept = kept_in.entry(*bucket).or_default();
                // More could never be compared; the preferred ones came first.
                if kept.len() < most {
                    kept.push(rank);
                }
            }
        }
        (removed, capped)
    }

    fn compare(&self, a: usize, b: usize, sets: &HashMap<u64, Vec<u64>>) -> (f64, f64) {
        let set = |member: usize| sets[&self.members[member].doc].as_slice();
        jaccard(set(a), set(b))
    }
}

fn root(parents: &mut [usize], mut member: usize) -> usize {
    while parents[member] != member {
        parents[member] = parents[parents[member]];
        member = parents[member];
    }
    member
}

/// The smaller index becomes the root, so that components come out in the documents' order.
fn union(parents: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b)] = a.min(b);
}

/// Annotations of removed documents and of survivors with a cluster, and the evidence, both in the documents' order.
fn decision(members: &[Candidate], verdicts: &[Verdict], cluster: Cluster, notes: Vec<String>) -> Result<Decision> {
    let mut sizes: HashMap<usize, u32> = HashMap::new();
    for verdict in verdicts {
        *sizes.entry(verdict.kept).or_insert(1) += 1;
    }
    let mut verdicts: Vec<&Verdict> = verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| verdict.member);
    let mut marked: BTreeMap<usize, Option<&Verdict>> = sizes.keys().map(|&kept| (kept, None)).collect();
    marked.extend(verdicts.iter().map(|verdict| (verdict.member, Some(*verdict))));

    let docs = UInt64Array::from_iter_values(marked.keys().map(|&member| members[member].doc));
    let (mut reasons, mut kept_ids, mut cluster_sizes) =
        (StringBuilder::new(), StringBuilder::new(), UInt32Builder::new());
    for (member, verdict) in &marked {
        reasons.append_option(verdict.map(|_| "near_dedup.cluster"));
        kept_ids.append_option(verdict.map(|verdict| &members[verdict.kept].doc_id));
        cluster_sizes.append_value(sizes[&verdict.map_or(*member, |verdict| verdict.kept)]);
    }
    let annotations = RecordBatch::try_from_iter_with_nullable([
        ("doc", Arc::new(docs) as ArrayRef, false),
        ("removed_by", Arc::new(reasons.finish()), true),
        ("kept_id", Arc::new(kept_ids.finish()), true),
        ("cluster_size", Arc::new(cluster_sizes.finish()), true),
    ])?;

    let ids = |get: fn(&Verdict) -> usize| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(verdicts.iter().map(|verdict| &members[get(verdict)].doc_id)))
    };
    let numbers = |get: &dyn Fn(&Verdict) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(verdicts.iter().map(|verdict| get(verdict))))
    };
    let ratios = |get: fn(&Verdict) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(verdicts.iter().map(|verdict| get(verdict))))
    };
    let reason = |verdict: &&Verdict| match (verdict.similarity, cluster) {
        (Some(_), _) => "verified",
        (None, Cluster::Star) => "band",
        (None, Cluster::Component) => "component",
    };
    let evidence = RecordBatch::try_new(
        tables::schema("near_dedup_evidence"),
        vec![
            ids(|verdict| verdict.member),
            ids(|verdict| verdict.kept),
            numbers(&|verdict| sizes[&verdict.kept]),
            ids(|verdict| verdict.kept),
            numbers(&|verdict| verdict.bands_hit),
            ratios(|_| None),
            ratios(|verdict| verdict.similarity.map(|(jaccard, _)| jaccard)),
            ratios(|verdict| verdict.similarity.map(|(_, containment)| containment)),
            Arc::new(StringArray::from_iter_values(verdicts.iter().map(reason))),
        ],
    )?;
    Ok(Decision { annotations, tables: [("near_dedup_evidence", evidence)].into(), notes, refused: None })
}
