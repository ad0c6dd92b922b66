//! Equal texts: one is kept. Texts are compared by xxh3-128: by the birthday bound two different texts among 10^10 collide
//! with a probability of about 1.5e-19.

use std::sync::Arc;

use async_trait::async_trait;
use curate_schemas::manifest::Manifest;
use datafusion::arrow::array::{AsArray, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{array_agg, count};
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::survivor::{self, Candidate, Preference};
use crate::{Corpus, CorpusStage, Decision, Read, Stage, read};

/// The stage `exact_dedup`.
pub struct ExactDedupStage {
    on: bool,
    preference: Preference,
}

impl ExactDedupStage {
    /// The stage as the manifest sets it; without `[dedup.exact]` nothing is removed.
    pub fn new(manifest: &Manifest) -> Self {
        ExactDedupStage { on: manifest.dedup.exact.is_some(), preference: Preference::new(manifest) }
    }
}

impl Stage for ExactDedupStage {
    fn name(&self) -> &'static str {
        "exact_dedup"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        json!({ "exact": self.on.then(|| self.preference.config()) })
    }

    fn follows(&self) -> &'static str {
        "filter"
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = vec![read("signatures", "text_hash")];
        reads.extend(survivor::reads().into_iter().filter(|read| read.name != "doc_id"));
        reads
    }
}

#[async_trait]
impl CorpusStage for ExactDedupStage {
    async fn decide(&self, corpus: &dyn Corpus) -> Result<Decision> {
        let groups = if self.on { equal_texts(corpus).await? } else { Vec::new() };
        let members = gather(corpus, &groups).await?;
        let mut removed: Vec<(u64, String)> = Vec::new();
        for group in &groups {
            let mut candidates: Vec<&Candidate> = group.iter().map(|doc| find(&members, *doc)).collect();
            candidates.sort_by(|a, b| self.preference.compare(a, b));
            let (kept, rest) = candidates.split_first().expect("a group has two members or more");
            removed.extend(rest.iter().map(|candidate| (candidate.doc, kept.doc_id.clone())));
        }
        removed.sort_unstable();
        let docs = UInt64Array::from_iter_values(removed.iter().map(|(doc, _)| *doc));
        let reasons = StringArray::from_iter_values(removed.iter().map(|_| "exact_dedup.document"));
        let kept = StringArray::from_iter_values(removed.iter().map(|(_, kept)| kept));
        let annotations = RecordBatch::try_from_iter([
            ("doc", Arc::new(docs) as _),
            ("removed_by", Arc::new(reasons) as _),
            ("kept_id", Arc::new(kept) as _),
        ])?;
        Ok(Decision { annotations, tables: [].into(), notes: Vec::new(), refused: None })
    }
}

/// Groups of two or more documents with equal texts. A grouping of narrow rows: it spills under the memory pool.
async fn equal_texts(corpus: &dyn Corpus) -> Result<Vec<Vec<u64>>> {
    let rows = corpus.rows(&[read("signatures", "text_hash")])?.filter(col("reached"))?;
    let groups = rows
        .aggregate(vec![col("text_hash")], vec![count(lit(1)).alias("n"), array_agg(col("doc")).alias("docs")])?
        .filter(col("n").gt(lit(1i64)))?
        .select(vec![col("docs")])?;
    collect_groups(groups).await
}

/// Reads a column of document lists; each comes back sorted.
pub(crate) async fn collect_groups(plan: datafusion::prelude::DataFrame) -> Result<Vec<Vec<u64>>> {
    let mut stream = plan.execute_stream().await?;
    let mut groups = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        for docs in batch.column(0).as_list::<i32>().iter().flatten() {
            let mut docs = docs.as_primitive::<UInt64Type>().values().to_vec();
            docs.sort_unstable();
            groups.push(docs);
        }
    }
    // The plan's order follows threads; this one follows the documents.
    groups.sort_unstable();
    Ok(groups)
}

/// What the preference needs of every document in a group, ascending.
pub(crate) async fn gather(corpus: &dyn Corpus, groups: &[Vec<u64>]) -> Result<Vec<Candidate>> {
    let mut wanted: Vec<u64> = groups.iter().flatten().copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = Vec::with_capacity(wanted.len());
    if !wanted.is_empty() {
        let mut stream = corpus.rows(&survivor::reads())?.execute_stream().await?;
        while let Some(batch) = stream.try_next().await? {
            found.extend(survivor::candidates(&batch, |doc| wanted.binary_search(&doc).is_ok())?);
        }
    }
    found.sort_by_key(|candidate| candidate.doc);
    Ok(found)
}

fn find(members: &[Candidate], doc: u64) -> &Candidate {
    let at = members.binary_search_by_key(&doc, |candidate| candidate.doc);
    &members[at.expect("every member of a group was gathered")]
}
