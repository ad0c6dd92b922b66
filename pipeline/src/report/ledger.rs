//! One pass over the narrow columns of all shards: where tokens went, stage by stage, and what is left.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, UInt64Type};
use curate_schemas::commit::Tally;
use curate_schemas::report::Pool;
use curate_schemas::tables;
use curate_stages::{bytes_read, mix};

use super::sample::Sample;
use crate::driver::{count, edit};
use crate::run_dir::ShardFiles;
use crate::zip::{Zip, part};

/// Sums over a set of documents, exact.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    docs: u64,
    bytes: u64,
    pub(super) tokens: u64,
    weighted: u128,
}

impl Sums {
    pub(super) fn pool(self) -> Pool {
        let q = mix::ratio(self.weighted, u128::from(self.tokens));
        let Sums { docs, bytes, tokens, .. } = self;
        Pool { docs, bytes, tokens, q, d_eff: q * tokens as f64, q_calibrated: false }
    }
}

/// What one pass over the narrow columns of all shards finds.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) tokens: BTreeMap<String, Tally>,
    /// Bytes of the documents whose tokens are estimated, by stage.
    pub(super) estimated: BTreeMap<String, u64>,
    pub(super) counted_bytes: u64,
    pub(super) counted_tokens: u64,
    pub(super) pool: Sums,
    pub(super) by_source: BTreeMap<String, Sums>,
    pub(super) by_domain: BTreeMap<String, Sums>,
}

/// One pass over the columns that say where documents went.
pub(super) fn read_ledger(shards: &[ShardFiles], stages: &[&str], sample: &Sample) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for files in shards {
        let mut parts = vec![part(files, "documents", &["source", "domain", "bytes"])?];
        for stage in stages.iter().skip(1) {
            let mut columns = vec!["reached"];
            columns.extend(tables::schema(stage).index_of("removed_by").ok().map(|_| "removed_by"));
            columns.extend(["signals", "paragraph_dedup"].contains(stage).then_some("bytes"));
            columns.extend((*stage == "tokens").then_some(["tokens", "tokens_before"]).into_iter().flatten());
            columns.extend((*stage == "quality").then_some("q"));
            parts.push(part(files, stage, &columns)?);
        }
        for batch in Zip::open(&parts)? {
            add_batch(&mut ledger, &batch?, stages, sample)?;
        }
    }
    Ok(ledger)
}

fn add_batch(ledger: &mut Ledger, batch: &RecordBatch, stages: &[&str], sample: &Sample) -> Result<()> {
    let column = |name: &str| batch.column_by_name(name).with_context(|| format!("{name} was not read"));
    let (sources, domains) =
        (column("documents.source")?.as_string::<i32>(), column("documents.domain")?.as_string::<i32>());
    let bytes_before = column("documents.bytes")?.as_primitive::<UInt64Type>();
    let (signed, bytes) = (column("signals.bytes")?, column("paragraph_dedup.bytes")?);
    let (signed, bytes) = (signed.as_primitive::<UInt64Type>(), bytes.as_primitive::<UInt64Type>());
    let tokens = column("tokens.tokens")?.as_primitive::<UInt64Type>();
    let tokens_before = column("tokens.tokens_before")?.as_primitive::<UInt64Type>();
    let quality = match column("quality.q") {
        Ok(q) => Some((
            q.as_primitive::<Float64Type>(),
            column("quality.removed_by")?,
            column("quality.reached")?.as_boolean(),
        )),
        Err(_) => None,
    };
    let mut outcomes: Vec<(&str, &BooleanArray, Option<&StringArray>)> = Vec::new();
    for stage in stages.iter().skip(1) {
        let reached = column(&format!("{stage}.reached"))?.as_boolean();
        let removed = batch.column_by_name(&format!("{stage}.removed_by")).map(|column| column.as_string::<i32>());
        outcomes.push((stage, reached, removed));
    }
    for row in 0..batch.num_rows() {
        let counted = tokens.is_valid(row);
        let n = if counted { tokens.value(row) } else { sample.estimate(bytes.value(row)) };
        if counted {
            ledger.counted_bytes += bytes.value(row);
            ledger.counted_tokens += n;
        }
        let n_before = match (counted, tokens_before.is_valid(row)) {
            (true, true) => tokens_before.value(row),
            (true, false) => n,
            (false, _) => sample.estimate(bytes_before.value(row)),
        };
        let edits_in = if bytes.value(row) == signed.value(row) { "signals" } else { "paragraph_dedup" };
        let mut tally = |stage: &str, removed_by: Option<&str>| {
            // What arrives at the one step that edits is the text before it.
            let is_before = match bytes_read(stage).table {
                "documents" => true,
                "signals" => edits_in == "paragraph_dedup",
                _ => false,
            };
            let (n, bytes) = if is_before { (n_before, bytes_before) } else { (n, bytes) };
            count(entry(&mut ledger.tokens, stage), removed_by, n);
            *entry(&mut ledger.estimated, stage) += if counted { 0 } else { bytes.value(row) };
        };
        tally("documents", None);
        for (stage, reached, removed) in &outcomes {
            if reached.value(row) {
                tally(stage, removed.filter(|removed| removed.is_valid(row)).map(|removed| removed.value(row)));
            }
        }
        if outcomes.iter().any(|(stage, reached, _)| *stage == edits_in && reached.value(row)) {
            edit(entry(&mut ledger.tokens, edits_in), n_before, n);
        }
        if let Some((q, removed, reached)) = &quality
            && reached.value(row)
            && removed.is_null(row)
        {
            let weighted = u128::from(mix::fixed_point(q.value(row))) * u128::from(n);
            let own = Sums { docs: 1, bytes: bytes.value(row), tokens: n, weighted };
            add(&mut ledger.pool, own);
            add(entry(&mut ledger.by_source, sources.value(row)), own);
            add(entry(&mut ledger.by_domain, domains.value(row)), own);
        }
    }
    Ok(())
}

/// The entry of a map, made where it is missing; a name that is there is not copied.
pub(super) fn entry<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), T::default());
    }
    map.get_mut(name).expect("it was inserted where it was missing")
}

fn add(sums: &mut Sums, own: Sums) {
    sums.docs += own.docs;
    sums.bytes += own.bytes;
    sums.tokens += own.tokens;
    sums.weighted += own.weighted;
}
