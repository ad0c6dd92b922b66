//! The documents without the value of a term, by reason. A term that is left out of q for many
//! documents, or removes them, says so in the report.
//!
//! Cost: one pass over the column `quality.terms`. The columns that the terms are made of are read
//! only for shards in which a document lacks a value.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use curate_schemas::commit::Commit;
use curate_schemas::report::TermReport;
use curate_schemas::stages::quality::{QUALITY, Quality};
use curate_schemas::tables::{Measure, measure};
use curate_stages::Read;
use curate_stages::quality::values::{absences, reads_of_absences};
use curate_store::run_dir::ShardFiles;
use curate_store::zip::{Zip, parts};
use rayon::prelude::*;

/// The report of each term, from the committed tables. Empty if `quality` has not run, or has no
/// shard.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn term_reports(commits: &[Commit], shards: &[ShardFiles]) -> Result<Vec<TermReport>> {
    let quality = commits.iter().find(|commit| commit.stage == QUALITY.name);
    let first = quality.and_then(|commit| commit.files.first());
    let Some(config) = first.and_then(|file| file.parts.get("config")) else {
        return Ok(Vec::new());
    };

    // The committed settings, because the manifest may have changed since.
    let config: serde_json::Value = serde_json::from_str(config)?;
    let quality: Quality = serde_json::from_value(config["quality"].clone())?;
    let mut measures = Vec::new();
    for term in &quality.term {
        let measure = measure(&term.column);
        measures.push(measure.with_context(|| format!("{} is no column", term.column))?);
    }

    let counted = shards
        .par_iter()
        .map(|files| count_shard(files, &measures))
        .collect::<Result<Vec<Counted>>>()?;
    let documents = counted.iter().map(|shard| shard.documents).sum();
    let mut without: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); measures.len()];
    for (term, reason) in counted.into_iter().flat_map(|shard| shard.reasons) {
        *without[term].entry(reason).or_default() += 1;
    }

    let reports = quality.term.iter().zip(without);
    Ok(reports
        .map(|(term, without_value)| TermReport {
            column: term.column.clone(),
            missing: term.missing(),
            documents,
            without_value,
        })
        .collect())
}

/// The documents of a shard that the terms judge.
#[derive(Default)]
struct Counted {
    documents: u64,
    /// The number of a term and a reason, for each document and term without a value.
    reasons: Vec<(usize, String)>,
}

/// Counts the documents of a shard.
fn count_shard(files: &ShardFiles, measures: &[Measure]) -> Result<Counted> {
    let mut reads = Vec::from(JUDGED.map(of_quality));
    let mut counted = Counted::default();
    let mut lacks = false;
    for batch in Zip::open(&parts(files, &reads)?)? {
        let (documents, rows) = judged(&batch?)?;
        counted.documents += documents;
        lacks |= !rows.is_empty();
    }
    if !lacks {
        return Ok(counted);
    }

    for read in measures.iter().flat_map(reads_of_absences) {
        if !reads.contains(&read) {
            reads.push(read);
        }
    }
    for batch in Zip::open(&parts(files, &reads)?)? {
        let batch = batch?;
        let (_, rows) = judged(&batch)?;
        for (term, measure) in measures.iter().enumerate() {
            let absences = absences(&batch, measure, &rows)?;
            let found = absences.into_iter().flatten();
            counted.reasons.extend(found.map(|reason| (term, reason)));
        }
    }
    Ok(counted)
}

/// The columns of `quality` that say which documents the terms judge, and which lack a value.
const JUDGED: [&str; 3] = ["reached", "removed_by", "terms"];

/// A column of `quality`, under the name `quality.column`.
fn of_quality(column: &'static str) -> Read {
    Read {
        table: QUALITY.name,
        column,
        name: format!("{}.{column}", QUALITY.name).into(),
    }
}

/// The number of documents in a batch that the terms judge, and the rows of those that lack the
/// value of a term.
fn judged(batch: &RecordBatch) -> Result<(u64, Vec<usize>)> {
    let column = |name: &str| {
        let found = batch.column_by_name(&format!("{}.{name}", QUALITY.name));
        found.with_context(|| format!("{name} was not read"))
    };
    let reached = column("reached")?.as_boolean();
    let removed_by = column("removed_by")?.as_string::<i32>();
    let terms = column("terms")?.as_map();
    let (values, ends) = (terms.values(), terms.value_offsets());

    let (mut documents, mut rows) = (0, Vec::new());
    for row in (0..batch.num_rows()).filter(|&row| reached.value(row)) {
        let lacks = if removed_by.is_valid(row) {
            // A veto or a score that removes a document leaves the terms nothing to judge.
            if !removed_by.value(row).starts_with("quality.missing.") {
                continue;
            }
            true
        } else {
            (ends[row]..ends[row + 1]).any(|at| values.is_null(at as usize))
        };

        documents += 1;
        if lacks {
            rows.push(row);
        }
    }
    Ok((documents, rows))
}
