//! The pass over a run's committed tables from which the figures of the page are counted.
//!
//! The row-aligned tables are read side by side, a shard on each core. Everything is counted in
//! integers and in fixed bins, so the result depends neither on the layout of shards nor on the
//! order of threads. Memory does not grow with the documents. Text is not read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, UInt32Type, UInt64Type};
use curate_schemas::Manifest;
use curate_schemas::stages::{
    documents::DOCUMENTS, filter::FILTER, language::LANGUAGE, near_dedup::NEAR_DEDUP,
    quality::QUALITY, signals::SIGNALS, tokens::TOKENS,
};
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::zip::{Zip, part};
use rayon::prelude::*;

use crate::rule::{RuleCounts, Value, judging};

/// Bins of q, each 1/50 wide.
pub const Q_BINS: usize = 50;

/// What the pass counts.
#[derive(Debug, Default)]
pub struct Counted {
    /// Every rule that judges, in the order of the rules.
    pub rules: Vec<RuleCounts>,
    /// Documents that reached `filter`.
    pub judged: u64,
    /// Documents that fail exactly one rule.
    pub fail_one: u64,
    /// Documents by language; the empty name stands for no language.
    pub languages: BTreeMap<String, LanguageCounts>,
    /// Clusters of near-duplicates, by their number of documents.
    pub clusters: BTreeMap<u32, u64>,
    /// The tokens of the pool by source and bin of q.
    pub q: BTreeMap<String, [u64; Q_BINS]>,
    /// Shard and row of each wanted document.
    pub places: BTreeMap<String, (usize, usize)>,
}

/// What became of the documents in one language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LanguageCounts {
    /// Documents.
    pub docs: u64,
    /// Tokens of these documents.
    pub tokens: u64,
    /// Documents that `language` kept.
    pub kept: u64,
    /// Documents in the pool.
    pub pool_docs: u64,
    /// Tokens in the pool.
    pub pool_tokens: u64,
}

impl LanguageCounts {
    fn add(&mut self, other: &LanguageCounts) {
        self.docs += other.docs;
        self.tokens += other.tokens;
        self.kept += other.kept;
        self.pool_docs += other.pool_docs;
        self.pool_tokens += other.pool_tokens;
    }
}

impl Counted {
    /// Counts of a run in which these rules judge, all zero.
    fn new(manifest: &Manifest) -> Counted {
        Counted {
            rules: judging(&manifest.filter),
            ..Counted::default()
        }
    }

    /// Adds the counts of another shard.
    fn add(mut self, other: Counted) -> Counted {
        for (own, other) in self.rules.iter_mut().zip(other.rules) {
            own.add(other);
        }
        self.judged += other.judged;
        self.fail_one += other.fail_one;
        self.places.extend(other.places);
        for (language, counts) in other.languages {
            self.languages.entry(language).or_default().add(&counts);
        }
        for (size, clusters) in other.clusters {
            *self.clusters.entry(size).or_default() += clusters;
        }
        for (source, bins) in other.q {
            let own = self.q.entry(source).or_insert([0; Q_BINS]);
            own.iter_mut().zip(bins).for_each(|(own, bin)| *own += bin);
        }
        self
    }
}

/// Counts the committed tables of a run, and finds the documents that are `wanted`. Tables that are
/// missing are left out.
///
/// # Errors
/// If a file cannot be read, or another version of its stage wrote it.
pub fn count(run: &RunDir, manifest: &Manifest, wanted: &BTreeSet<&str>) -> Result<Counted> {
    let shards = run.shard_files()?;
    let counted = shards
        .par_iter()
        .enumerate()
        .map(|(number, files)| count_shard(number, files, manifest, wanted))
        .try_reduce(|| Counted::new(manifest), |a, b| Ok(a.add(b)))?;
    Ok(counted)
}

/// Counts the tables of one shard.
fn count_shard(
    number: usize,
    files: &ShardFiles,
    manifest: &Manifest,
    wanted: &BTreeSet<&str>,
) -> Result<Counted> {
    let mut counted = Counted::new(manifest);
    let mut parts = vec![part(files, DOCUMENTS.name, &["doc_id", "source"])?];

    // The values of rules that do not judge are not read.
    let mut families: Vec<&str> = Vec::new();
    let values = counted.rules.iter().filter(|rule| rule.bins.is_some());
    for column in values.map(|rule| rule.column) {
        if !families.contains(&column) {
            families.push(column);
        }
    }
    for (table, columns) in [
        (SIGNALS.name, families.as_slice()),
        (FILTER.name, &["reached", "removed_by", "failing"]),
        (LANGUAGE.name, &["removed_by", "language"]),
        (NEAR_DEDUP.name, &["reached", "removed_by", "cluster_size"]),
        (TOKENS.name, &["tokens"]),
        (QUALITY.name, &["reached", "removed_by", "q"]),
    ] {
        if files.contains_key(table) && !columns.is_empty() {
            parts.push(part(files, table, columns)?);
        }
    }

    let mut first = 0;
    for batch in Zip::open(&parts)? {
        let batch = batch?;
        let rows = Rows::of(&batch)?;
        add_rules(&mut counted, &batch, &rows, (number, first))?;
        add_languages(&mut counted, &rows);
        add_clusters(&mut counted, &rows);
        add_q(&mut counted, &rows);
        let found = (0..rows.len()).filter(|row| wanted.contains(rows.doc_id.value(*row)));
        let found = found.map(|row| (rows.doc_id.value(row).to_owned(), (number, first + row)));
        counted.places.extend(found);
        first += batch.num_rows();
    }
    Ok(counted)
}

/// The columns of a batch. Those of a stage that has not run are `None`.
struct Rows<'a> {
    doc_id: &'a StringArray,
    source: &'a StringArray,
    tokens: Option<&'a ArrayRef>,
    filter: Option<Stage<'a>>,
    failing: Option<&'a ArrayRef>,
    language: Option<(&'a StringArray, &'a StringArray)>,
    near: Option<Stage<'a>>,
    cluster_size: Option<&'a ArrayRef>,
    quality: Option<Stage<'a>>,
    q: Option<&'a ArrayRef>,
}

/// Which documents reached a stage, and why it removed some.
struct Stage<'a> {
    reached: &'a BooleanArray,
    removed_by: &'a StringArray,
}

impl Stage<'_> {
    /// True if the stage kept the document.
    fn keeps(&self, row: usize) -> bool {
        self.reached.value(row) && self.removed_by.is_null(row)
    }
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Rows<'a>> {
        let column = |name: &str| batch.column_by_name(name);
        let stage = |name: &str| {
            Some(Stage {
                reached: column(&format!("{name}.reached"))?.as_boolean(),
                removed_by: column(&format!("{name}.removed_by"))?.as_string(),
            })
        };
        let language = column("language.language").zip(column("language.removed_by"));
        Ok(Rows {
            doc_id: column("documents.doc_id")
                .context("doc_id was not read")?
                .as_string(),
            source: column("documents.source")
                .context("source was not read")?
                .as_string(),
            tokens: column("tokens.tokens"),
            filter: stage(FILTER.name),
            failing: column("filter.failing"),
            language: language.map(|(name, removed)| (name.as_string(), removed.as_string())),
            near: stage(NEAR_DEDUP.name),
            cluster_size: column("near_dedup.cluster_size"),
            quality: stage(QUALITY.name),
            q: column("quality.q"),
        })
    }

    /// Number of documents.
    fn len(&self) -> usize {
        self.doc_id.len()
    }

    /// Tokens of a document; 0 if they were not counted.
    fn tokens(&self, row: usize) -> u64 {
        let counted = self.tokens.filter(|tokens| tokens.is_valid(row));
        counted.map_or(0, |tokens| tokens.as_primitive::<UInt64Type>().value(row))
    }
}

/// Adds the verdicts of the rules. `place` is the number of the shard, and of the batch's first row
/// in it.
fn add_rules(
    counted: &mut Counted,
    batch: &RecordBatch,
    rows: &Rows,
    place: (usize, usize),
) -> Result<()> {
    let (Some(filter), Some(failing)) = (&rows.filter, rows.failing) else {
        return Ok(());
    };
    let failing = failing.as_list::<i32>();
    let (names, ends) = (failing.values().as_string::<i32>(), failing.value_offsets());
    let values: Vec<Option<Value>> = counted
        .rules
        .iter()
        .map(|rule| Value::of(batch, rule))
        .collect::<Result<_>>()?;

    let numbers: BTreeMap<String, usize> = counted
        .rules
        .iter()
        .enumerate()
        .map(|(number, rule)| (rule.name.clone(), number))
        .collect();
    let mut failed = Vec::new();
    for row in (0..rows.len()).filter(|row| filter.reached.value(*row)) {
        failed.clear();
        if failing.is_valid(row) {
            let own = ends[row] as usize..ends[row + 1] as usize;
            failed.extend(own.filter_map(|at| numbers.get(names.value(at)).copied()));
        }
        counted.judged += 1;
        counted.fail_one += u64::from(failed.len() == 1);

        let document = crate::rule::Document {
            id: rows.doc_id.value(row),
            tokens: rows.tokens(row),
            failed: &failed,
            place: (place.0, place.1 + row),
        };
        for (number, rule) in counted.rules.iter_mut().enumerate() {
            let value = values[number].as_ref().map(|value| value.get(row));
            rule.add_document(number, &document, value);
        }
    }
    Ok(())
}

/// Adds the languages of the documents.
fn add_languages(counted: &mut Counted, rows: &Rows) {
    let Some((languages, removed_by)) = rows.language else {
        return;
    };
    for row in 0..rows.len() {
        let name = match languages.is_valid(row) {
            true => languages.value(row),
            false => "",
        };
        let (tokens, is_kept) = (rows.tokens(row), removed_by.is_null(row));
        let in_pool = rows
            .quality
            .as_ref()
            .is_some_and(|quality| quality.keeps(row));
        let own = LanguageCounts {
            docs: 1,
            tokens,
            kept: u64::from(is_kept),
            pool_docs: u64::from(in_pool),
            pool_tokens: if in_pool { tokens } else { 0 },
        };
        match counted.languages.get_mut(name) {
            Some(counts) => counts.add(&own),
            None => {
                counted.languages.insert(name.to_owned(), own);
            }
        }
    }
}

/// Adds the clusters of near-duplicates, each with its survivor.
fn add_clusters(counted: &mut Counted, rows: &Rows) {
    let (Some(near), Some(sizes)) = (&rows.near, rows.cluster_size) else {
        return;
    };
    let sizes = sizes.as_primitive::<UInt32Type>();
    for row in (0..rows.len()).filter(|row| near.keeps(*row) && sizes.is_valid(*row)) {
        *counted.clusters.entry(sizes.value(row)).or_default() += 1;
    }
}

/// Adds the tokens of the pool, by source and q.
fn add_q(counted: &mut Counted, rows: &Rows) {
    let (Some(quality), Some(q)) = (&rows.quality, rows.q) else {
        return;
    };
    let q = q.as_primitive::<Float64Type>();
    for row in (0..rows.len()).filter(|row| quality.keeps(*row) && q.is_valid(*row)) {
        let bin = ((q.value(row) * Q_BINS as f64) as usize).min(Q_BINS - 1);
        let source = rows.source.value(row);
        if !counted.q.contains_key(source) {
            counted.q.insert(source.to_owned(), [0; Q_BINS]);
        }
        if let Some(bins) = counted.q.get_mut(source) {
            bins[bin] += rows.tokens(row);
        }
    }
}
