//! q of a document from its score, by the calibration that the stage uses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    ArrayRef, AsArray, Float64Builder, RecordBatch, StringArray, StringBuilder, UInt32Builder,
};
use arrow::datatypes::UInt64Type;
use curate_schemas::stages::quality::Quality;
use curate_schemas::tables;
use rayon::prelude::*;

use super::QualityStage;
use crate::calibrated::{self, Calibrated};
use crate::corpus::Corpus;
use crate::error::{Result, StageError};
use crate::{Stage, column, is_reached};

/// The number of unseen sources and domains that a message names.
const NAMED: usize = 5;

/// The rows of a batch with the buckets that they may lie in.
pub(super) enum WorthsOf<'b> {
    /// q is the score.
    Uncalibrated,
    /// q is that of the bucket.
    Calibrated {
        /// The calibration.
        by: &'b Calibrated,
        /// The source of each row.
        sources: &'b StringArray,
        /// The domain of each row.
        domains: &'b StringArray,
    },
}

impl WorthsOf<'_> {
    /// q of a row with this score.
    pub(super) fn q(&self, row: usize, score: f64) -> f64 {
        match self {
            WorthsOf::Uncalibrated => score,
            WorthsOf::Calibrated {
                by,
                sources,
                domains,
            } => {
                let group = by.group(sources.value(row), domains.value(row));
                // `check_origins` has refused a run with a group that was not seen.
                group.map_or(score, |group| group.q(score))
            }
        }
    }
}

impl QualityStage {
    /// The buckets that the rows of a batch may lie in.
    pub(super) fn worths_of<'b>(&'b self, batch: &'b RecordBatch) -> Result<WorthsOf<'b>> {
        let Some(by) = &self.calibrated else {
            return Ok(WorthsOf::Uncalibrated);
        };
        Ok(WorthsOf::Calibrated {
            by,
            sources: column(batch, "source")?.as_string(),
            domains: column(batch, "domain")?.as_string(),
        })
    }

    /// Refuses a corpus with sources and domains that the calibration has not seen.
    pub(super) fn check_origins(&self, corpus: &dyn Corpus) -> Result<()> {
        let Some(by) = &self.calibrated else {
            return Ok(());
        };

        // Tokens by source and domain. Sums are integers, so the order of shards has no say.
        let all: Mutex<BTreeMap<(String, String), u64>> = Mutex::default();
        (0..corpus.own_shards())
            .into_par_iter()
            .try_for_each(|shard| {
                corpus.shard(shard, &self.reads(), &mut |_, batch| {
                    let removed = self.removed_first(batch)?;
                    let tokens = column(batch, "tokens")?.as_primitive::<UInt64Type>();
                    let sources = column(batch, "source")?.as_string::<i32>();
                    let domains = column(batch, "domain")?.as_string::<i32>();

                    let mut own: BTreeMap<(&str, &str), u64> = BTreeMap::new();
                    for (row, reason) in removed.iter().enumerate() {
                        if is_reached(batch, row) && reason.is_none() {
                            let origin = (sources.value(row), domains.value(row));
                            *own.entry(origin).or_default() += tokens.value(row);
                        }
                    }

                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    for ((source, domain), tokens) in own {
                        *all.entry((source.to_owned(), domain.to_owned()))
                            .or_default() += tokens;
                    }
                    Ok(())
                })
            })?;

        let all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        match unseen(by, &all) {
            None => Ok(()),
            Some(message) => Err(StageError::manifest(message).hint(
                "calibrate a run that holds them, with `curate calibrate`, or leave \
                 quality.calibration out",
            )),
        }
    }
}

/// What is wrong if the calibration has not seen some of the origins; `all` are their tokens.
fn unseen(by: &Calibrated, all: &BTreeMap<(String, String), u64>) -> Option<String> {
    let unseen: Vec<(&(String, String), &u64)> = all
        .iter()
        .filter(|((source, domain), _)| by.group(source, domain).is_none())
        .collect();
    if unseen.is_empty() {
        return None;
    }

    let tokens: u64 = unseen.iter().map(|(_, tokens)| **tokens).sum();
    let total: u64 = all.values().sum();
    let names: Vec<String> = unseen
        .iter()
        .take(NAMED)
        .map(|((source, domain), _)| format!("source \"{source}\", domain \"{domain}\""))
        .collect();
    let more = match unseen.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(format!(
        "{:.1} % of the tokens are of groups that the calibration has not seen: {}{more}",
        100.0 * tokens as f64 / total.max(1) as f64,
        names.join("; ")
    ))
}

/// The rows of the table `quality_worths`, of every target that a run may use.
pub(super) fn rows(quality: &Quality) -> Result<RecordBatch> {
    let calibrated = calibrated::of_every_target(quality).map_err(StageError::kernel)?;
    let mut texts: [StringBuilder; 4] = Default::default();
    let mut parts = UInt32Builder::new();
    let mut numbers: [Float64Builder; 6] = Default::default();

    let targets = calibrated.iter().flat_map(|calibrated| {
        let targets = calibrated.usable_targets();
        targets.map(move |target| (calibrated, target))
    });
    for (calibrated, target) in targets {
        for bucket in &calibrated.file.buckets {
            let worth = bucket.worth[&target.name];
            let q = calibrated.q_of(bucket, &target.name);
            for member in &bucket.members {
                let names = [&target.name, &bucket.name, &member.source, &member.domain];
                for (column, name) in texts.iter_mut().zip(names) {
                    column.append_value(name);
                }
                parts.append_value(bucket.source as u32);
                let (from, to) = (bucket.from.0, bucket.to.0);
                let row = [target.law.rho, from, to, q, worth.low, worth.high];
                for (column, number) in numbers.iter_mut().zip(row) {
                    column.append_value(number);
                }
            }
        }
    }

    let mut columns: Vec<ArrayRef> = texts
        .iter_mut()
        .map(|column| Arc::new(column.finish()) as ArrayRef)
        .collect();
    columns.push(Arc::new(parts.finish()));
    columns.extend(
        numbers
            .iter_mut()
            .map(|column| Arc::new(column.finish()) as ArrayRef),
    );
    Ok(RecordBatch::try_new(
        tables::schema("quality_worths"),
        columns,
    )?)
}
