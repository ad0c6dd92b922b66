//! One pass over the narrow columns of all shards: where tokens went, stage by stage, and what is
//! left.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, UInt64Type};
use curate_schemas::commit::Tally;
use curate_schemas::report::Pool;
use curate_schemas::spec::Removes;
use curate_schemas::{stages, tables};
use curate_stages::{bytes_read, mix};
use curate_store::run_dir::ShardFiles;
use curate_store::zip::{Zip, part};
use rayon::prelude::*;

use super::sample::Sample;
use crate::driver::{count, edit};

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
        let Sums {
            docs,
            bytes,
            tokens,
            ..
        } = self;
        Pool {
            docs,
            bytes,
            tokens,
            q,
            d_eff: q * tokens as f64,
            q_calibrated: false,
        }
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

/// One pass over the columns that say where documents went, several shards at a time: all sums are
/// exact, so their order has no say.
pub(super) fn read_ledger(
    shards: &[ShardFiles],
    stages: &[&str],
    sample: &Sample,
) -> Result<Ledger> {
    let read = |files: &ShardFiles| read_shard(files, stages, sample);
    let shards = shards
        .par_iter()
        .map(read)
        .collect::<Result<Vec<Shard>>>()?;
    let mut ledger = Ledger::default();
    for shard in shards {
        ledger.counted_bytes += shard.counted_bytes;
        ledger.counted_tokens += shard.counted_tokens;
        for (stage, own) in stages.iter().zip(shard.stages) {
            entry(&mut ledger.tokens, stage).add(&own.tokens);
            *entry(&mut ledger.estimated, stage) += own.estimated;
        }
        for (source, sums) in shard.by_source.0 {
            add(&mut ledger.pool, sums);
            add(entry(&mut ledger.by_source, &source), sums);
        }
        for (domain, sums) in shard.by_domain.0 {
            add(entry(&mut ledger.by_domain, &domain), sums);
        }
    }
    Ok(ledger)
}

/// A shard's part of the ledger. Stages go by their number, because names are looked up a dozen
/// times a row else.
#[derive(Default)]
struct Shard {
    stages: Vec<OfStage>,
    counted_bytes: u64,
    counted_tokens: u64,
    by_source: Named,
    by_domain: Named,
}

#[derive(Clone, Default)]
struct OfStage {
    tokens: Tally,
    estimated: u64,
}

/// Sums by name: few names, and mostly the same one again.
#[derive(Default)]
struct Named(Vec<(String, Sums)>, usize);

impl Named {
    fn add(&mut self, name: &str, own: Sums) {
        let Named(all, last) = self;
        if all.get(*last).is_none_or(|(known, _)| known != name) {
            *last = all
                .iter()
                .position(|(known, _)| known == name)
                .unwrap_or(all.len());
            if *last == all.len() {
                all.push((name.to_owned(), Sums::default()));
            }
        }
        add(&mut all[*last].1, own);
    }
}

fn read_shard(files: &ShardFiles, stages: &[&str], sample: &Sample) -> Result<Shard> {
    let mut shard = Shard {
        stages: vec![OfStage::default(); stages.len()],
        ..Shard::default()
    };
    let mut parts = vec![part(files, "documents", &["source", "domain", "bytes"])?];
    for stage in stages.iter().skip(1) {
        let mut columns = vec!["reached"];
        columns.extend(
            tables::schema(stage)
                .index_of("removed_by")
                .ok()
                .map(|_| "removed_by"),
        );
        columns.extend(
            ["signals", "paragraph_dedup"]
                .contains(stage)
                .then_some("bytes"),
        );
        columns.extend(
            (*stage == "tokens")
                .then_some(["tokens", "tokens_before"])
                .into_iter()
                .flatten(),
        );
        columns.extend((*stage == "quality").then_some("q"));
        parts.push(part(files, stage, &columns)?);
    }
    for batch in Zip::open(&parts)? {
        add_batch(&mut shard, &batch?, stages, sample)?;
    }
    Ok(shard)
}

/// Which documents a stage saw before they were edited.
#[derive(Clone, Copy)]
enum Before {
    /// None.
    None,
    /// Those that `paragraph_dedup` edits.
    Paragraphs,
    /// All.
    All,
}

fn removes(stage: &str) -> Removes {
    stages::stage(stage).map_or(Removes::Documents, |stage| stage.removes)
}

/// What arrives at the one step that edits is the text before it.
fn before(stage: &str) -> Before {
    match bytes_read(stage).table {
        "documents" => Before::All,
        "signals" => Before::Paragraphs,
        _ => Before::None,
    }
}

fn add_batch(
    shard: &mut Shard,
    batch: &RecordBatch,
    stages: &[&str],
    sample: &Sample,
) -> Result<()> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .with_context(|| format!("{name} was not read"))
    };
    let (sources, domains) = (
        column("documents.source")?.as_string::<i32>(),
        column("documents.domain")?.as_string::<i32>(),
    );
    let bytes_before = column("documents.bytes")?.as_primitive::<UInt64Type>();
    let (signed, bytes) = (column("signals.bytes")?, column("paragraph_dedup.bytes")?);
    let (signed, bytes) = (
        signed.as_primitive::<UInt64Type>(),
        bytes.as_primitive::<UInt64Type>(),
    );
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
    let mut outcomes: Vec<(Before, &BooleanArray, Option<&StringArray>)> = Vec::new();
    for stage in stages.iter().skip(1) {
        let reached = column(&format!("{stage}.reached"))?.as_boolean();
        let removed = batch
            .column_by_name(&format!("{stage}.removed_by"))
            .map(|column| column.as_string::<i32>());
        outcomes.push((before(stage), reached, removed));
    }
    let removes: Vec<Removes> = stages.iter().map(|stage| removes(stage)).collect();
    let number = |name: &str| stages.iter().position(|stage| *stage == name);
    let (signals, paragraphs) = (number("signals"), number("paragraph_dedup"));
    for row in 0..batch.num_rows() {
        let counted = tokens.is_valid(row);
        let n = if counted {
            tokens.value(row)
        } else {
            sample.estimate(bytes.value(row))
        };
        if counted {
            shard.counted_bytes += bytes.value(row);
            shard.counted_tokens += n;
        }
        let n_before = match (counted, tokens_before.is_valid(row)) {
            (true, true) => tokens_before.value(row),
            (true, false) => n,
            (false, _) => sample.estimate(bytes_before.value(row)),
        };
        let by_paragraphs = bytes.value(row) != signed.value(row);
        let mut tally = |at: usize, before: Before, removed_by: Option<&str>| {
            let is_before = match before {
                Before::All => true,
                Before::Paragraphs => by_paragraphs,
                Before::None => false,
            };
            let (n, bytes) = if is_before {
                (n_before, bytes_before)
            } else {
                (n, bytes)
            };
            count(&mut shard.stages[at].tokens, removes[at], removed_by, n);
            shard.stages[at].estimated += if counted { 0 } else { bytes.value(row) };
        };
        tally(0, Before::All, None);
        for (at, (before, reached, removed)) in (1..).zip(&outcomes) {
            if reached.value(row) {
                tally(
                    at,
                    *before,
                    removed
                        .filter(|removed| removed.is_valid(row))
                        .map(|removed| removed.value(row)),
                );
            }
        }
        let edits_in = if by_paragraphs { paragraphs } else { signals };
        if let Some(at) = edits_in.filter(|at| n_before != n && outcomes[at - 1].1.value(row)) {
            edit(&mut shard.stages[at].tokens, n_before, n);
        }
        if let Some((q, removed, reached)) = &quality
            && reached.value(row)
            && removed.is_null(row)
        {
            let weighted = u128::from(mix::fixed_point(q.value(row))) * u128::from(n);
            let own = Sums {
                docs: 1,
                bytes: bytes.value(row),
                tokens: n,
                weighted,
            };
            shard.by_source.add(sources.value(row), own);
            shard.by_domain.add(domains.value(row), own);
        }
    }
    Ok(())
}

/// The entry of a map, made where it is missing; a name that is there is not copied.
pub(super) fn entry<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), T::default());
    }
    map.get_mut(name)
        .expect("it was inserted where it was missing")
}

fn add(sums: &mut Sums, own: Sums) {
    sums.docs += own.docs;
    sums.bytes += own.bytes;
    sums.tokens += own.tokens;
    sums.weighted += own.weighted;
}
