//! The ledger of a run: the tokens that each stage removed and kept, and the pool of documents that
//! are left. It takes one pass over the narrow columns of all shards.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use arrow::array::{
    Array, AsArray, BooleanArray, ListArray, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{Float64Type, UInt64Type};
use curate_schemas::commit::Tally;
use curate_schemas::report::Pool;
use curate_schemas::spec::{Removes, StageSpec};
use curate_schemas::stages::{self, quality::QUALITY, tokens::TOKENS};
use curate_schemas::tables;
use curate_stages::calibrated::Calibrated;
use curate_stages::mix;
use curate_store::run_dir::ShardFiles;
use curate_store::zip::{Zip, part};
use rayon::prelude::*;

use super::sample::TokenSample;
use super::worth::Worth;
use crate::driver::{count, edit};

/// Sums over a set of documents. They are integers, so they are exact in any order.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    docs: u64,
    bytes: u64,
    /// Tokens of the documents, each document once.
    pub(super) tokens: u64,
    /// Σ tokens·q, with q in fixed point as in [`mix::fixed_point`].
    weighted: u128,
    /// Tokens by bucket of the calibration; empty if q is uncalibrated.
    by_bucket: Vec<u64>,
}

impl Sums {
    /// Adds a document. `bucket` is its bucket in the calibration.
    fn add_document(&mut self, bytes: u64, tokens: u64, q: f64, bucket: Option<usize>) {
        self.docs += 1;
        self.bytes += bytes;
        self.tokens += tokens;
        self.weighted += u128::from(mix::fixed_point(q)) * u128::from(tokens);
        if let Some(bucket) = bucket {
            let least = self.by_bucket.len().max(bucket + 1);
            self.by_bucket.resize(least, 0);
            self.by_bucket[bucket] += tokens;
        }
    }

    /// Adds other sums, field by field.
    fn add(&mut self, own: &Sums) {
        self.docs += own.docs;
        self.bytes += own.bytes;
        self.tokens += own.tokens;
        self.weighted += own.weighted;
        let least = self.by_bucket.len().max(own.by_bucket.len());
        self.by_bucket.resize(least, 0);
        for (sum, own) in self.by_bucket.iter_mut().zip(&own.by_bucket) {
            *sum += own;
        }
    }

    /// The documents as a pool, with their mean q and their effective tokens.
    pub(super) fn pool(&self, worth: Option<&Worth>) -> Pool {
        let q = mix::ratio(self.weighted, u128::from(self.tokens));
        let tokens = self.by_bucket.iter().map(|tokens| *tokens as f64);
        let tokens: Vec<f64> = tokens.collect();
        Pool {
            docs: self.docs,
            bytes: self.bytes,
            tokens: self.tokens,
            q,
            d_eff: worth.map_or(q * self.tokens as f64, |worth| worth.d_eff(&tokens)),
            d_eff_interval: worth.and_then(|worth| worth.interval(&tokens)),
            q_calibrated: worth.is_some(),
        }
    }

    /// Effective tokens of the pool with `more` tokens that are spread over buckets as these are,
    /// after the pool's tokens were multiplied by `times`.
    pub(super) fn d_eff_with(
        &self,
        pool: &Sums,
        times: f64,
        more: f64,
        worth: Option<&Worth>,
    ) -> f64 {
        let Some(worth) = worth else {
            let q = |sums: &Sums| mix::ratio(sums.weighted, u128::from(sums.tokens));
            return q(pool) * pool.tokens as f64 * times + q(self) * more;
        };
        let own = |bucket: usize| {
            let tokens = self.by_bucket.get(bucket).copied().unwrap_or(0);
            tokens as f64 / self.tokens.max(1) as f64
        };
        let tokens = pool.by_bucket.iter().enumerate();
        let tokens: Vec<f64> = tokens
            .map(|(bucket, tokens)| *tokens as f64 * times + own(bucket) * more)
            .collect();
        worth.d_eff(&tokens)
    }
}

/// The tokens of all stages, and the pool.
#[derive(Default)]
pub(super) struct Ledger {
    /// Tokens that reached each stage, by what became of them.
    pub(super) tokens: BTreeMap<String, Tally>,
    /// Bytes of the documents that reached each stage and whose tokens are estimated.
    pub(super) estimated: BTreeMap<String, u64>,
    /// Bytes of the documents whose tokens were counted, after the last edit.
    pub(super) counted_bytes: u64,
    /// Tokens of the documents whose tokens were counted, after the last edit.
    pub(super) counted_tokens: u64,
    /// True if `quality` is committed, so that there is a pool.
    pub(super) has_pool: bool,
    /// Sums over the documents that `quality` kept.
    pub(super) pool: Sums,
    /// What `tokens` and `estimated` are of each source, in the order of the stages.
    pub(super) funnels: BTreeMap<String, Vec<OfStage>>,
    /// The sums of `pool`, by source.
    pub(super) by_source: BTreeMap<String, Sums>,
    /// The sums of `pool`, by domain.
    pub(super) by_domain: BTreeMap<String, Sums>,
}

/// Reads the ledger of a run whose committed row-aligned stages are `stages`, `documents` first.
/// `sources` are the sources of the shards. `calibrated` is what q comes from. Several shards are
/// read at a time.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn read_ledger(
    shards: &[ShardFiles],
    sources: &[&str],
    stages: &[&str],
    sample: &TokenSample,
    calibrated: Option<&Calibrated>,
) -> Result<Ledger> {
    let shards = shards
        .par_iter()
        .map(|files| read_shard(files, stages, sample, calibrated))
        .collect::<Result<Vec<Shard>>>()?;
    ensure!(
        shards.len() == sources.len(),
        "{} shards have {} sources",
        shards.len(),
        sources.len()
    );

    let mut ledger = Ledger {
        has_pool: stages.contains(&QUALITY.name),
        ..Ledger::default()
    };
    for (source, shard) in sources.iter().zip(shards) {
        ledger.counted_bytes += shard.counted_bytes;
        ledger.counted_tokens += shard.counted_tokens;

        let funnel: &mut Vec<OfStage> = entry(&mut ledger.funnels, source);
        funnel.resize(stages.len(), OfStage::default());
        for ((stage, own), of_source) in stages.iter().zip(shard.stages).zip(funnel) {
            entry(&mut ledger.tokens, stage).add(&own.tokens);
            *entry(&mut ledger.estimated, stage) += own.estimated;
            of_source.tokens.add(&own.tokens);
            of_source.estimated += own.estimated;
        }

        // Each document has one source, so the sums by source are those of the pool.
        for (source, sums) in shard.by_source.0 {
            ledger.pool.add(&sums);
            entry(&mut ledger.by_source, &source).add(&sums);
        }
        for (domain, sums) in shard.by_domain.0 {
            entry(&mut ledger.by_domain, &domain).add(&sums);
        }
    }
    Ok(ledger)
}

/// A shard's part of the ledger. Stages are found by their number, because a row would otherwise
/// look up a dozen names.
#[derive(Default)]
struct Shard {
    /// In the order of the stages.
    stages: Vec<OfStage>,
    counted_bytes: u64,
    counted_tokens: u64,
    by_source: Named,
    by_domain: Named,
}

/// The tokens of a shard or a source in one stage.
#[derive(Clone, Default)]
pub(super) struct OfStage {
    pub(super) tokens: Tally,
    /// Bytes of the documents whose tokens are estimated.
    pub(super) estimated: u64,
}

/// Sums by name, and the place of the last name that was asked for. There are few names, and a row
/// mostly has the name of the row before.
#[derive(Default)]
struct Named(Vec<(String, Sums)>, usize);

impl Named {
    /// The sums of `name`.
    fn of(&mut self, name: &str) -> &mut Sums {
        let Named(all, last) = self;

        // The fast path compares one string and makes none.
        if all.get(*last).is_none_or(|(known, _)| known != name) {
            *last = all
                .iter()
                .position(|(known, _)| known == name)
                .unwrap_or(all.len());
            if *last == all.len() {
                all.push((name.to_owned(), Sums::default()));
            }
        }
        &mut all[*last].1
    }
}

/// Reads a shard's part of the ledger. `stages` are the committed stages, `documents` first.
fn read_shard(
    files: &ShardFiles,
    stages: &[&str],
    sample: &TokenSample,
    calibrated: Option<&Calibrated>,
) -> Result<Shard> {
    let mut shard = Shard {
        stages: vec![OfStage::default(); stages.len()],
        ..Shard::default()
    };
    let editing = editing(stages);

    // Every document reaches `documents`, so that table has no column `reached`.
    let mut parts = vec![part(files, "documents", &["source", "domain", "bytes"])?];
    for stage in stages.iter().skip(1) {
        let table = tables::table(stage).with_context(|| format!("no table is called {stage}"))?;
        let mut columns = vec!["reached"];
        columns.extend(table.has("removed_by").then_some("removed_by"));
        columns.extend(table.has("edits").then_some("bytes"));
        columns.extend(OF_TOKENS.into_iter().filter(|_| *stage == TOKENS.name));
        let of_quality = ["q", "score"].into_iter();
        columns.extend(of_quality.filter(|_| *stage == QUALITY.name));
        parts.push(part(files, stage, &columns)?);
    }

    for batch in Zip::open(&parts)? {
        add_batch(&mut shard, &batch?, stages, &editing, sample, calibrated)?;
    }
    Ok(shard)
}

/// The columns that the ledger reads of the stage `tokens`, besides `reached`.
const OF_TOKENS: [&str; 2] = ["tokens", "tokens_before"];

/// Places in `stages` of the stages that may edit texts, ascending.
fn editing(stages: &[&str]) -> Vec<usize> {
    let numbered = stages.iter().enumerate();
    let edits =
        numbered.filter(|(_, name)| stages::stage(name).is_some_and(StageSpec::may_rewrite));
    edits.map(|(number, _)| number).collect()
}

/// The lengths of the texts of a batch while they go through the stages. A text has one length more
/// than there are stages that edit: the length that each of them saw, and the length after the
/// last.
struct Lengths<'a> {
    /// Lengths in bytes: a column for each stage that edits, and one for the length after the last.
    bytes: Vec<&'a UInt64Array>,
    /// Tokens after the last edit; null if the tokens of the document were not counted.
    tokens: &'a UInt64Array,
    /// The stages that edited a text, each with the tokens that it saw; null if no stage did.
    before: &'a ListArray,
    sample: &'a TokenSample,
}

impl Lengths<'_> {
    /// Writes the tokens of a document's text into `all`: before each of the stages `names`, and
    /// after the last. True if they were counted, false if they are estimated from the bytes.
    fn tokens(&self, names: &[&str], row: usize, all: &mut Vec<u64>) -> bool {
        all.clear();
        let is_counted = self.tokens.is_valid(row);
        if !is_counted {
            let bytes = self.bytes.iter().map(|bytes| bytes.value(row));
            all.extend(bytes.map(|bytes| self.sample.estimate(bytes)));
            return false;
        }

        all.resize(names.len() + 1, self.tokens.value(row));
        if self.before.is_valid(row) {
            let steps = self.before.value(row);
            let stages = steps.as_struct().column(0).as_string::<i32>();
            let counts = steps.as_struct().column(1).as_primitive::<UInt64Type>();

            // From the last step to the first. A stage that left the text alone saw the text that
            // the next one saw.
            let mut step = stages.len();
            for (at, name) in names.iter().enumerate().rev() {
                let edited = step > 0 && stages.value(step - 1) == *name;
                step -= usize::from(edited);
                all[at] = if edited {
                    counts.value(step)
                } else {
                    all[at + 1]
                };
            }
        }
        true
    }
}

/// What one stage made of the documents of a batch.
struct Outcome<'a> {
    /// Number of stages before this one that may edit texts.
    edited: usize,
    /// How removed documents are counted.
    removes: Removes,
    /// True for the documents that reached the stage. `None` for `documents`, which all reach.
    reached: Option<&'a BooleanArray>,
    /// The reason of each removed document. `None` if the stage removes none.
    removed_by: Option<&'a StringArray>,
}

/// Adds a batch to a shard's part of the ledger.
fn add_batch(
    shard: &mut Shard,
    batch: &RecordBatch,
    stages: &[&str],
    editing: &[usize],
    sample: &TokenSample,
    calibrated: Option<&Calibrated>,
) -> Result<()> {
    let column = |name: &str| {
        let found = batch.column_by_name(name);
        found.with_context(|| format!("{name} was not read"))
    };
    let numbers = |name: &str| Ok::<_, anyhow::Error>(column(name)?.as_primitive::<UInt64Type>());

    // `bytes` of a table with edits is the length after the edits, so the lengths that the stages
    // saw begin with `documents.bytes`.
    let names: Vec<&str> = editing.iter().map(|at| stages[*at]).collect();
    let mut bytes = vec![numbers("documents.bytes")?];
    for name in &names {
        bytes.push(numbers(&format!("{name}.bytes"))?);
    }
    let lengths = Lengths {
        bytes,
        tokens: numbers("tokens.tokens")?,
        before: column("tokens.tokens_before")?.as_list(),
        sample,
    };

    let mut outcomes: Vec<Outcome> = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let of_stage = |name: &str| batch.column_by_name(&format!("{stage}.{name}"));
        outcomes.push(Outcome {
            edited: editing.iter().filter(|at| **at < number).count(),
            removes: stages::stage(stage).map_or(Removes::Documents, |spec| spec.removes),
            reached: of_stage("reached").map(|reached| reached.as_boolean()),
            removed_by: of_stage("removed_by").map(|removed| removed.as_string()),
        });
    }

    add_outcomes(shard, &outcomes, &lengths, editing, &names);
    // There is no pool before `quality` is committed.
    if batch.column_by_name("quality.q").is_some() {
        add_pool(shard, batch, &lengths, calibrated)?;
    }
    Ok(())
}

/// Adds the tokens of a batch to each stage that its documents reached.
fn add_outcomes(
    shard: &mut Shard,
    outcomes: &[Outcome],
    lengths: &Lengths,
    editing: &[usize],
    names: &[&str],
) {
    let last = names.len();
    // One list for all rows, so that a row allocates nothing.
    let mut tokens = Vec::new();
    for row in 0..lengths.tokens.len() {
        let is_counted = lengths.tokens(names, row, &mut tokens);
        if is_counted {
            shard.counted_bytes += lengths.bytes[last].value(row);
            shard.counted_tokens += tokens[last];
        }

        let has_reached =
            |outcome: &Outcome| outcome.reached.is_none_or(|reached| reached.value(row));
        for (outcome, own) in outcomes.iter().zip(&mut shard.stages) {
            if !has_reached(outcome) {
                continue;
            }
            let removed = outcome.removed_by.filter(|removed| removed.is_valid(row));
            let reason = removed.map(|removed| removed.value(row));
            count(
                &mut own.tokens,
                outcome.removes,
                reason,
                tokens[outcome.edited],
            );
            if !is_counted {
                own.estimated += lengths.bytes[outcome.edited].value(row);
            }
        }

        // A stage keeps what it edited: only documents that it removes have no edits.
        for (at, number) in editing.iter().enumerate() {
            let (before, after) = (tokens[at], tokens[at + 1]);
            if before != after && has_reached(&outcomes[*number]) {
                edit(&mut shard.stages[*number].tokens, before, after);
            }
        }
    }
}

/// Adds the documents of a batch that `quality` kept to the sums of the pool.
fn add_pool(
    shard: &mut Shard,
    batch: &RecordBatch,
    lengths: &Lengths,
    calibrated: Option<&Calibrated>,
) -> Result<()> {
    let column = |name: &str| {
        let found = batch.column_by_name(name);
        found.with_context(|| format!("{name} was not read"))
    };
    let sources = column("documents.source")?.as_string::<i32>();
    let domains = column("documents.domain")?.as_string::<i32>();
    let q = column("quality.q")?.as_primitive::<Float64Type>();
    let scores = column("quality.score")?.as_primitive::<Float64Type>();
    let removed_by = column("quality.removed_by")?;
    let reached = column("quality.reached")?.as_boolean();
    let bytes = lengths.bytes.last().context("a text has a length")?;

    for row in 0..batch.num_rows() {
        if !reached.value(row) || removed_by.is_valid(row) {
            continue;
        }
        // Every document that reaches `quality` reached `tokens`, so its tokens were counted.
        let tokens = lengths.tokens.value(row);
        let (source, domain) = (sources.value(row), domains.value(row));
        let group = calibrated.and_then(|calibrated| calibrated.group(source, domain));
        let bucket = group.map(|group| group.bucket(scores.value(row)));

        let (bytes, q) = (bytes.value(row), q.value(row));
        for sums in [shard.by_source.of(source), shard.by_domain.of(domain)] {
            sums.add_document(bytes, tokens, q, bucket);
        }
    }
    Ok(())
}

/// The value of `name` in a map, which is added if it is missing. Unlike with `BTreeMap::entry`, a
/// name in the map is not copied.
pub(super) fn entry<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), T::default());
    }
    map.get_mut(name)
        .expect("a missing name was inserted above")
}
