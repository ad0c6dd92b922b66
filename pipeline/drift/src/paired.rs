//! The same documents in two runs, one by one: flipped verdicts and changed scores.
//!
//! A verdict is the rule that removed a document in the stages that both runs have, or no rule. If
//! the runs hold their documents in different orders, both are sorted by `doc_id` first. Cost: 16
//! bytes for each document and score. Sorting takes some 100 bytes more.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use curate_schemas::tables::Measure;
use curate_scorers::drift::{Flips, ScoreChange, score_change};
use curate_stages::{Read, read};
use curate_store::interrupt;
use curate_store::zip::{Zip, parts};
use serde::Serialize;

use super::columns::{hash, is_kept, measure_reads, measured, verdict_reads, verdicts};
use super::gather::{EXAMPLES, Reader};
use super::groups::Example;

/// The confidence of the interval of the share of flips.
const CONFIDENCE: f64 = 0.95;

/// The comparison of the same documents in two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// The numbers of verdicts that flipped.
    pub flips: Flips,
    /// The exact 95 % interval of the share of flips, in \[0, 1\].
    pub interval: [f64; 2],
    /// McNemar's exact two-sided p-value.
    pub mcnemar_p: f64,
    /// Flips by the rule that removed the document before or removes it now.
    pub rules: BTreeMap<String, RuleFlips>,
    /// Some documents whose verdict flipped.
    pub examples: Vec<Example>,
    /// The changes of scores, one entry for each column.
    pub scores: Vec<Score>,
    /// The stages whose verdicts were compared.
    pub stages: Vec<&'static str>,
}

/// The number of documents that one rule flipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RuleFlips {
    /// Documents that were kept before and that the rule removes now.
    pub removed: u64,
    /// Documents that the rule removed before and that are kept now.
    pub restored: u64,
}

/// The change of one column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Name of the column.
    pub measure: String,
    /// The numbers that describe the change.
    pub change: ScoreChange,
    /// The documents whose score moved most.
    pub examples: Vec<Example>,
}

impl Score {
    /// True if any score differs, or is there in one run only.
    pub fn is_changed(&self) -> bool {
        self.change.changed > 0 || self.change.unpaired > 0
    }
}

/// Compares two runs of the same documents, the baseline first.
///
/// # Errors
/// If a file cannot be read, or if the documents differ.
pub fn paired(runs: [&Reader; 2], measures: &[Measure]) -> Result<Paired> {
    let pairs = Pairs {
        runs,
        in_order: is_in_order(runs)?,
    };

    let stages: Vec<&str> = runs[0]
        .removing()
        .into_iter()
        .filter(|stage| runs[1].has_table(stage))
        .collect();
    let (flips, rules, mut examples) = flips(&pairs, &stages)?;

    let mut scores = Vec::new();
    for measure in measures {
        // Verdicts are compared as flips already.
        if !is_kept(measure) && runs.iter().all(|run| run.has_table(measure.table)) {
            scores.push(score(&pairs, measure)?);
        }
    }

    // One pass over the run describes the examples of all columns.
    describe(
        runs[1],
        examples
            .iter_mut()
            .chain(scores.iter_mut().flat_map(|score| &mut score.examples))
            .collect(),
    )?;

    let (interval, mcnemar_p) = (flips.interval(CONFIDENCE), flips.mcnemar());
    Ok(Paired {
        flips,
        interval,
        mcnemar_p,
        rules,
        examples,
        scores,
        stages,
    })
}

/// The number of flips, the flips of each rule, and some examples.
type Counted = (Flips, BTreeMap<String, RuleFlips>, Vec<Example>);

/// Counts the verdicts that flipped in these stages.
fn flips(pairs: &Pairs, stages: &[&'static str]) -> Result<Counted> {
    let verdicts = |batch: &RecordBatch| -> Result<Vec<Option<String>>> {
        Ok(verdicts(batch, stages)?
            .into_iter()
            .map(|rule| rule.map(str::to_owned))
            .collect())
    };

    let (mut flips, mut rules) = (Flips::default(), BTreeMap::<String, RuleFlips>::new());
    // The examples are the flips with the smallest hashes, whatever the order of documents.
    let mut chosen: BTreeMap<u64, Example> = BTreeMap::new();

    for pair in pairs.of(&verdict_reads(stages), &verdicts)? {
        let (id, before, now) = pair?;
        flips.add(before.as_deref(), now.as_deref());
        match (&before, &now) {
            (None, Some(rule)) => rules.entry(rule.clone()).or_default().removed += 1,
            (Some(rule), None) => rules.entry(rule.clone()).or_default().restored += 1,
            _ => continue,
        }

        let doc_id = format!("{id:032x}");
        chosen.insert(
            hash(&doc_id),
            Example {
                doc_id,
                before,
                now,
                // `describe` fills these in.
                source: String::new(),
                url: None,
            },
        );
        if chosen.len() > EXAMPLES {
            chosen.pop_last();
        }
    }

    Ok((flips, rules, chosen.into_values().collect()))
}

/// Compares the scores of one column.
fn score(pairs: &Pairs, measure: &Measure) -> Result<Score> {
    // NaN means "no score", which saves 8 bytes for each score against `Option`.
    let scores = |batch: &RecordBatch| -> Result<Vec<f64>> {
        Ok(measured(batch, measure)?
            .into_iter()
            .map(|value| value.unwrap_or(f64::NAN))
            .collect())
    };

    let (mut all, mut most) = (Vec::new(), Vec::<(f64, u128, f64, f64)>::new());
    for pair in pairs.of(&measure_reads(measure), &scores)? {
        let (id, before, now) = pair?;
        all.push((before, now));

        // `moved` is NaN without one of the scores, and then no comparison is true.
        let moved = (now - before).abs();
        if moved > 0.0 && (most.len() < EXAMPLES || most.last().is_some_and(|last| last.0 < moved))
        {
            let at = most.partition_point(|other| other.0 >= moved);
            most.insert(at, (moved, id, before, now));
            most.truncate(EXAMPLES);
        }
    }

    let change = score_change(
        all.into_iter()
            .map(|(before, now)| (Some(before), Some(now))),
    );
    let examples = most
        .into_iter()
        .map(|(_, id, before, now)| Example {
            doc_id: format!("{id:032x}"),
            source: String::new(),
            url: None,
            before: Some(before.to_string()),
            now: Some(now.to_string()),
        })
        .collect();

    Ok(Score {
        measure: measure.name(),
        change,
        examples,
    })
}

/// Two runs of the same documents, to be read document by document.
struct Pairs<'a> {
    runs: [&'a Reader; 2],
    /// True if both runs hold their documents in the same order.
    in_order: bool,
}

/// The documents of a run, each with its identity and a value.
type PairedRows<'a, T> = Box<dyn Iterator<Item = Result<(u128, T)>> + 'a>;
/// Computes the value of each document of a batch.
type OfBatch<'a, T> = dyn Fn(&RecordBatch) -> Result<Vec<T>> + 'a;

impl Pairs<'_> {
    /// The identity of each document, and the value that `of` computes from its columns in both
    /// runs.
    fn of<'a, T: 'a>(
        &'a self,
        reads: &[Read],
        of: &'a OfBatch<'a, T>,
    ) -> Result<impl Iterator<Item = Result<(u128, T, T)>> + 'a> {
        let [before, now] = self.runs.map(|run| rows(run, reads.to_vec(), of));

        // Sorting holds all values in memory, and is done only if the orders differ.
        let [before, now]: [PairedRows<'a, T>; 2] = if self.in_order {
            [before, now]
        } else {
            [sorted(before)?, sorted(now)?]
        };

        Ok(before.zip(now).map(|(before, now)| {
            let ((id, before), (other, now)) = (before?, now?);
            ensure!(
                id == other,
                "the runs' documents differ, {id:032x} is not in both"
            );
            Ok((id, before, now))
        }))
    }
}

/// True if both runs hold the same documents in the same order.
fn is_in_order(runs: [&Reader; 2]) -> Result<bool> {
    let none = |batch: &RecordBatch| Ok(vec![(); batch.num_rows()]);
    let [one, other] = runs.map(|run| rows(run, Vec::new(), &none));
    for (one, other) in one.zip(other) {
        if one?.0 != other?.0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The documents sorted by identity.
fn sorted<'a, T: 'a>(rows: PairedRows<'a, T>) -> Result<PairedRows<'a, T>> {
    let mut all = rows.collect::<Result<Vec<_>>>()?;
    all.sort_unstable_by_key(|(id, _)| *id);
    Ok(Box::new(all.into_iter().map(Ok)))
}

/// The documents of a run in its order, each with the value that `of` computes from the columns.
fn rows<'a, T: 'a>(run: &'a Reader, reads: Vec<Read>, of: &'a OfBatch<'a, T>) -> PairedRows<'a, T> {
    // The identity is the first column.
    let mut all = vec![read("documents", "doc_id")];
    all.extend(reads);

    let of_batch = move |batch: Result<RecordBatch>| -> Result<Vec<(u128, T)>> {
        interrupt::check()?;
        let batch = batch?;
        let ids = batch
            .column(0)
            .as_string::<i32>()
            .iter()
            .map(|id| id_of(id.unwrap_or_default()));
        ids.zip(of(&batch)?)
            .map(|(id, own)| Ok((id?, own)))
            .collect()
    };

    // An iterator cannot return early with `?`, so an error is an item of its own.
    let batches = run.shards().iter().flat_map(move |shard| {
        match parts(shard, &all).and_then(|parts| Zip::open(&parts)) {
            Ok(zip) => Box::new(zip) as Box<dyn Iterator<Item = Result<RecordBatch>>>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });

    Box::new(batches.flat_map(move |batch| match of_batch(batch) {
        Ok(rows) => rows.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    }))
}

/// The number that a `doc_id` writes in hexadecimal.
fn id_of(doc_id: &str) -> Result<u128> {
    u128::from_str_radix(doc_id, 16)
        .with_context(|| format!("doc_id {doc_id} is not 32 hex digits"))
}

/// Fills in source and URL of the examples.
fn describe(run: &Reader, examples: Vec<&mut Example>) -> Result<()> {
    if examples.is_empty() {
        return Ok(());
    }

    let wanted: BTreeSet<String> = examples
        .iter()
        .map(|example| example.doc_id.clone())
        .collect();
    let mut found: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
    let reads = ["doc_id", "source", "url"].map(|column| read("documents", column));

    for shard in run.shards() {
        for batch in Zip::open(&parts(shard, &reads)?)? {
            let batch = batch?;
            let [ids, sources, urls] = [0, 1, 2].map(|at| batch.column(at).as_string::<i32>());
            for row in (0..batch.num_rows()).filter(|&row| wanted.contains(ids.value(row))) {
                let url = urls.is_valid(row).then(|| urls.value(row).to_owned());
                found.insert(
                    ids.value(row).to_owned(),
                    (sources.value(row).to_owned(), url),
                );
            }
        }
    }

    for example in examples {
        (example.source, example.url) = found.get(&example.doc_id).cloned().unwrap_or_default();
    }
    Ok(())
}
