//! One column of a batch as numbers, what removed each document of a batch, and the hashes that
//! choose a sample of documents.

use std::collections::BinaryHeap;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use curate_schemas::tables::{self, Measure};
use curate_stages::quality::values::{read_of, values};
use curate_stages::{Read, read};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The most documents of a group from which bins are frozen. With 10^6 documents on each side,
/// noise alone adds 4e-5 to a PSI over 20 bins: (B - 1)(1/n + 1/m).
const SAMPLE: usize = 1_000_000;
/// The key of the hashes that choose documents: "drift" in ASCII.
const SEED: u64 = 0x64_7269_6674;

/// The values of the `SAMPLE` documents with the smallest hashes, as (hash, bits of the value). The
/// sample does not depend on the order of the documents.
#[derive(Default)]
pub struct HashSample(pub BinaryHeap<(u64, u64)>);

impl Extend<(u64, u64)> for HashSample {
    fn extend<I: IntoIterator<Item = (u64, u64)>>(&mut self, more: I) {
        for one in more {
            // The heap's top is the largest hash, which is the first to go.
            self.0.push(one);
            if self.0.len() > SAMPLE {
                self.0.pop();
            }
        }
    }
}

/// The keyed hash of a document, which decides whether it is sampled or shown as an example.
pub fn hash(doc_id: &str) -> u64 {
    xxh3_64_with_seed(doc_id.as_bytes(), SEED)
}

/// The columns to read for a measure: the measure's own column, and whether each document reached
/// the table.
pub fn measure_reads(measure: &Measure) -> Vec<Read> {
    let mut reads = vec![read_of(measure)];
    // Every document reaches `documents`, which has no column `reached`.
    if measure.table != "documents" {
        reads.push(read(measure.table, "reached"));
    }
    reads
}

/// The name of a measure that is 1 for a document that no stage removed, else 0. It is compared
/// like a column, but no table has it.
pub const KEPT: &str = "documents.kept";

/// The measure of this name, [`KEPT`] included. `None` if no column of numbers has the name.
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

/// True if the measure is [`KEPT`].
pub fn is_kept(measure: &Measure) -> bool {
    measure.table == "documents" && measure.column == "kept"
}

/// The columns to read for the verdicts of these stages.
pub fn verdict_reads(stages: &[&'static str]) -> Vec<Read> {
    stages
        .iter()
        .map(|stage| Read {
            table: stage,
            column: "removed_by",
            name: format!("{stage}.removed_by").into(),
        })
        .collect()
}

/// The rule that removed each document; `None` for a document that no stage removed.
///
/// # Errors
/// If the batch lacks the columns of [`verdict_reads`].
pub fn verdicts<'a>(batch: &'a RecordBatch, stages: &[&str]) -> Result<Vec<Option<&'a str>>> {
    let mut verdicts = vec![None; batch.num_rows()];

    for stage in stages {
        let column = batch
            .column_by_name(&format!("{stage}.removed_by"))
            .context("a column removed_by was not read")?;

        // At most one stage removes a document, so the order of stages does not matter.
        for (verdict, removed_by) in verdicts.iter_mut().zip(column.as_string::<i32>()) {
            *verdict = removed_by.or(*verdict);
        }
    }

    Ok(verdicts)
}

/// Tells whether a row reached the table. True for all rows if the column `reached` was not read.
pub fn reached(batch: &RecordBatch) -> impl Fn(usize) -> bool + '_ {
    let reached = batch
        .column_by_name("reached")
        .map(|column| column.as_boolean());
    move |row| reached.is_none_or(|reached| reached.value(row))
}

/// The values of a column. `None` where the row did not reach the table, has no value, or has NaN.
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
        let (mut one, mut other) = (HashSample::default(), HashSample::default());
        one.extend(numbers.iter().copied());
        other.extend(numbers.iter().rev().copied());
        let [one, other] = [one, other].map(|sample| sample.0.into_sorted_vec());
        assert_eq!(one.len(), SAMPLE);
        assert!(one == other, "samples differ");
    }
}
