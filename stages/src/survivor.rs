//! Which of several duplicates is kept: the first under a total order from the manifest, ties by `doc_id`. Thread timing
//! and model scores have no say.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use curate_schemas::manifest::{Manifest, Prefer};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Float64Type, TimestampMicrosecondType, UInt64Type};
use datafusion::error::Result;

use crate::{Read, read};

/// The order of preference, and what it needs to know of sources.
#[derive(Debug, Clone)]
pub struct Preference {
    order: Vec<Prefer>,
    priority: BTreeMap<String, u32>,
}

/// What the order looks at, for one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The document, `shard << 32 | row`.
    pub doc: u64,
    /// Its identity.
    pub doc_id: String,
    pub(crate) source: String,
    heuristic: f64,
    bytes: u64,
    date: Option<i64>,
}

impl Preference {
    /// The manifest's order; that of `[dedup.near]` also serves exact duplicates.
    pub fn new(manifest: &Manifest) -> Self {
        let near = manifest.dedup.near.clone().unwrap_or_default();
        let priority = manifest.source.iter().map(|source| (source.name.clone(), source.priority));
        Preference { order: near.prefer, priority: priority.collect() }
    }

    /// The order as a part of a stage's key.
    pub fn config(&self) -> serde_json::Value {
        serde_json::json!({ "prefer": self.order, "priority": self.priority })
    }

    /// Sorts the one to be kept to the front.
    pub fn compare(&self, a: &Candidate, b: &Candidate) -> Ordering {
        let priority = |candidate: &Candidate| self.priority.get(&candidate.source).copied().unwrap_or(u32::MAX);
        for prefer in &self.order {
            let order = match prefer {
                Prefer::SourcePriority => priority(a).cmp(&priority(b)),
                Prefer::Heuristic => b.heuristic.total_cmp(&a.heuristic),
                Prefer::Bytes => b.bytes.cmp(&a.bytes),
                // A document without a date comes last.
                Prefer::Newest => b.date.cmp(&a.date),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        a.doc_id.cmp(&b.doc_id)
    }
}

/// The columns that [`candidates`] needs.
pub(crate) fn reads() -> Vec<Read> {
    vec![
        read("documents", "doc_id"),
        read("documents", "source"),
        read("signals", "bytes"),
        read("documents", "date"),
        read("signals", "heuristic"),
    ]
}

/// The rows of a batch with the columns of [`reads`] and `doc` for which `wanted` holds.
pub(crate) fn candidates(batch: &RecordBatch, wanted: impl Fn(u64) -> bool) -> Result<Vec<Candidate>> {
    let column = |name: &str| {
        let found = batch.column_by_name(name);
        found.ok_or_else(|| datafusion::error::DataFusionError::Internal(format!("the plan lost {name}")))
    };
    let docs = column("doc")?.as_primitive::<UInt64Type>();
    let ids = column("doc_id")?.as_string::<i32>();
    let sources = column("source")?.as_string::<i32>();
    let bytes = column("bytes")?.as_primitive::<UInt64Type>();
    let dates = column("date")?.as_primitive::<TimestampMicrosecondType>();
    let heuristics = column("heuristic")?.as_primitive::<Float64Type>();
    let rows = (0..batch.num_rows()).filter(|&row| wanted(docs.value(row)));
    let candidates = rows.map(|row| Candidate {
        doc: docs.value(row),
        doc_id: ids.value(row).to_owned(),
        source: sources.value(row).to_owned(),
        heuristic: if heuristics.is_null(row) { 0.0 } else { heuristics.value(row) },
        bytes: bytes.value(row),
        date: dates.is_valid(row).then(|| dates.value(row)),
    });
    Ok(candidates.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(doc_id: &str, source: &str, heuristic: f64, bytes: u64, date: Option<i64>) -> Candidate {
        Candidate { doc: 0, doc_id: doc_id.into(), source: source.into(), heuristic, bytes, date }
    }

    fn order(prefer: &[Prefer]) -> Preference {
        let priority = [("books".to_owned(), 0), ("web".to_owned(), 1)];
        Preference { order: prefer.to_vec(), priority: priority.into() }
    }

    #[test]
    fn earlier_criteria_win_and_ties_fall_to_the_next() {
        let web = candidate("a", "web", 0.9, 900, None);
        let book = candidate("b", "books", 0.1, 10, None);
        let by_source = order(&[Prefer::SourcePriority, Prefer::Heuristic]);
        assert_eq!(by_source.compare(&book, &web), Ordering::Less);
        let by_score = order(&[Prefer::Heuristic, Prefer::SourcePriority]);
        assert_eq!(by_score.compare(&web, &book), Ordering::Less);
        assert_eq!(order(&[]).compare(&web, &book), Ordering::Less);
        assert_eq!(order(&[Prefer::Bytes]).compare(&web, &book), Ordering::Less);
    }

    #[test]
    fn newest_puts_undated_documents_last() {
        let dated = candidate("b", "web", 0.5, 1, Some(-5));
        let undated = candidate("a", "web", 0.5, 1, None);
        assert_eq!(order(&[Prefer::Newest]).compare(&dated, &undated), Ordering::Less);
    }
}
