//! One column of a batch as numbers, and keys of documents: hosts, and hashes that choose some of
//! them.

use std::collections::BinaryHeap;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use curate_schemas::tables::{self, Measure};
use curate_stages::quality::values::{read_of, values};
use curate_stages::{Read, read};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Documents of a group that bins are frozen from: at 10^6 noise alone adds 4e-5 to a PSI over 20
/// bins, (B - 1)(1/n + 1/m).
const SAMPLE: usize = 1_000_000;
/// Key of the hashes that choose documents.
const SEED: u64 = 0x64_7269_6674;

/// The values of the [`SAMPLE`] documents with the smallest hashes, as (hash, bits of the value);
/// no order has a say.
#[derive(Default)]
pub struct Sample(pub BinaryHeap<(u64, u64)>);

impl Extend<(u64, u64)> for Sample {
    fn extend<I: IntoIterator<Item = (u64, u64)>>(&mut self, more: I) {
        for one in more {
            self.0.push(one);
            if self.0.len() > SAMPLE {
                self.0.pop();
            }
        }
    }
}

/// The keyed hash of a document.
pub fn hash(doc_id: &str) -> u64 {
    xxh3_64_with_seed(doc_id.as_bytes(), SEED)
}

/// What is read of a run for a column: it, and who reached its table.
pub fn measure_reads(measure: &Measure) -> Vec<Read> {
    let mut reads = vec![read_of(measure)];
    if measure.table != "documents" {
        reads.push(read(measure.table, "reached"));
    }
    reads
}

/// 1 for a document that no stage removed, else 0: not a column of a table, yet compared like one.
pub const KEPT: &str = "documents.kept";

/// The measure of this name, [`KEPT`] included.
pub fn measure(name: &str) -> Option<Measure> {
    match name {
        KEPT => Some(Measure {
            table: "documents",
            column: "kept",
            field: None,
        }),
        name => tables::measure(name),
    }
}

/// Whether it is [`KEPT`].
pub fn is_kept(measure: &Measure) -> bool {
    measure.table == "documents" && measure.column == "kept"
}

/// What is read to know what removed a document in these stages.
pub fn verdict_reads(stages: &[&'static str]) -> Vec<Read> {
    let name = |stage: &str| format!("{stage}.removed_by").into();
    stages
        .iter()
        .map(|stage| Read {
            table: stage,
            column: "removed_by",
            name: name(stage),
        })
        .collect()
}

/// What removed each document, if anything did.
///
/// # Errors
/// If the batch lacks the columns of [`verdict_reads`].
pub fn verdicts<'a>(batch: &'a RecordBatch, stages: &[&str]) -> Result<Vec<Option<&'a str>>> {
    let mut verdicts = vec![None; batch.num_rows()];
    for stage in stages {
        let column = batch
            .column_by_name(&format!("{stage}.removed_by"))
            .context("removed_by was read")?;
        for (verdict, removed_by) in verdicts.iter_mut().zip(column.as_string::<i32>()) {
            *verdict = removed_by.or(*verdict);
        }
    }
    Ok(verdicts)
}

/// Whether a row reached the table.
pub fn reached(batch: &RecordBatch) -> impl Fn(usize) -> bool + '_ {
    let reached = batch
        .column_by_name("reached")
        .map(|column| column.as_boolean());
    move |row| reached.is_none_or(|reached| reached.value(row))
}

/// The values of a column, none where the row did not reach its table.
///
/// # Errors
/// If the batch lacks the columns of [`measure_reads`].
pub fn measured(batch: &RecordBatch, measure: &Measure) -> Result<Vec<Option<f64>>> {
    let reached = reached(batch);
    let values = values(batch, measure)?;
    Ok((0..)
        .zip(&values)
        .map(|(row, value)| value.filter(|value| !value.is_nan() && reached(row)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_do_not_depend_on_order() {
        let numbers: Vec<(u64, u64)> = (0..SAMPLE as u64 + 5)
            .map(|n| (hash(&n.to_string()), n))
            .collect();
        let (mut one, mut other) = (Sample::default(), Sample::default());
        one.extend(numbers.iter().copied());
        other.extend(numbers.iter().rev().copied());
        let [one, other] = [one, other].map(|sample| sample.0.into_sorted_vec());
        assert_eq!(one.len(), SAMPLE);
        assert!(one == other, "samples differ");
    }
}
