//! The texts that the page shows: of documents just inside and just outside the thresholds. And the
//! sample of pairs by which near-deduplication is judged.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, UInt64Type};
use curate_schemas::commit::FileEntry;
use curate_schemas::stages::{documents::DOCUMENTS, near_dedup::NEAR_DEDUP, pii::PII};
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::zip::{Part, Zip, open_parquet};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use crate::pass::Counted;
use crate::rule::shown;

/// Characters of a text that are shown. A text of more is cut.
pub const TEXT_CHARS: usize = 420;
/// Characters of a text that are kept, so that the first difference of two long texts is found.
const KEPT_CHARS: usize = 100_000;
/// Merged documents that are shown.
const MERGED: usize = 2;

/// A document that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Name of its source.
    pub source: String,
    /// The record's own id, if it has one.
    pub own_id: Option<String>,
    /// Its URL, if it has one.
    pub url: Option<String>,
    /// Its input file.
    pub path: String,
    /// The begin of its ingested text, longer than what is shown.
    pub text: String,
    /// Characters of the whole text.
    pub chars: u64,
}

/// The documents that are shown, by `doc_id`.
pub type Texts = BTreeMap<String, Sample>;

/// Reads the documents that the rules' figures show, and those whose places the pass found.
///
/// # Errors
/// If a file of `documents` cannot be read.
pub fn texts(run: &RunDir, counted: &Counted) -> Result<Texts> {
    // The page goes from hand to hand, and texts of documents are from before `pii`.
    let pii = run.commit(PII.name)?;
    let is_on = |file: &FileEntry| {
        file.parts
            .get("config")
            .is_none_or(|on| !on.contains("null"))
    };
    if pii.is_some_and(|pii| pii.files.iter().any(is_on)) {
        return Ok(Texts::new());
    }

    // Rows by shard, ascending, so that each file is read once and forwards.
    let mut rows: BTreeMap<usize, BTreeMap<usize, &str>> = BTreeMap::new();
    for number in shown(&counted.rules) {
        let rule = &counted.rules[number];
        for candidate in rule.inside.iter().chain(&rule.outside).chain(&rule.random) {
            let (shard, row) = candidate.place;
            rows.entry(shard)
                .or_default()
                .insert(row, &candidate.doc_id);
        }
    }

    for (doc_id, (shard, row)) in &counted.places {
        rows.entry(*shard).or_default().insert(*row, doc_id);
    }

    let shards = run.shard_files()?;
    let mut texts = Texts::new();
    for (shard, rows) in rows {
        let files = shards.get(shard).context("a shard is gone")?;
        read_rows(files, &rows, &mut texts)?;
    }
    Ok(texts)
}

/// Reads some rows of a shard. Pages without such a row are not decoded.
fn read_rows(files: &ShardFiles, rows: &BTreeMap<usize, &str>, texts: &mut Texts) -> Result<()> {
    let path = &files
        .get(DOCUMENTS.name)
        .context("documents has not run")?
        .path;
    let place = || format!("cannot read {}", path.display());

    let mut selectors = Vec::new();
    let mut at = 0;
    for row in rows.keys() {
        selectors.push(RowSelector::skip(row - at));
        selectors.push(RowSelector::select(1));
        at = row + 1;
    }

    let builder = open_parquet(path)?;
    let columns = [
        "doc_id",
        "source",
        "source_id",
        "path",
        "url",
        "text",
        "chars",
    ];
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
    let reader = builder
        .with_projection(mask)
        .with_row_selection(RowSelection::from(selectors))
        .with_batch_size(1)
        .build()
        .with_context(place)?;
    for batch in reader {
        let batch = batch.with_context(place)?;
        for row in 0..batch.num_rows() {
            let (doc_id, sample) = sample(&batch, row).with_context(place)?;
            texts.insert(doc_id, sample);
        }
    }
    Ok(())
}

/// The document in a row.
fn sample(batch: &RecordBatch, row: usize) -> Result<(String, Sample)> {
    let column = |name: &str| -> Result<&StringArray> {
        let found = batch.column_by_name(name).context("a column is missing")?;
        Ok(found.as_string::<i32>())
    };
    let word = |name: &str| -> Result<String> { Ok(column(name)?.value(row).to_owned()) };
    let optional = |name: &str| -> Result<Option<String>> {
        let column = column(name)?;
        Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
    };

    let chars = batch.column_by_name("chars").context("chars is missing")?;
    let sample = Sample {
        source: word("source")?,
        own_id: optional("source_id")?,
        url: optional("url")?,
        path: word("path")?,
        text: column("text")?
            .value(row)
            .chars()
            .take(KEPT_CHARS)
            .collect(),
        chars: chars.as_primitive::<UInt64Type>().value(row),
    };
    Ok((word("doc_id")?, sample))
}

/// A document that was merged into another one of this run.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The document that was removed.
    pub doc_id: String,
    /// The document that is kept.
    pub kept_id: String,
    /// Their exact Jaccard similarity.
    pub jaccard: f64,
    /// Shared shingles by shingles of the smaller set.
    pub containment: f64,
}

/// The merged documents that resemble their survivors least, ties by `doc_id`. Empty if none was
/// compared exactly.
///
/// # Errors
/// If a file cannot be read.
pub fn least_alike(run: &RunDir) -> Result<Vec<Merged>> {
    const TABLE: &str = "near_dedup_evidence";
    const COLUMNS: [&str; 5] = ["doc_id", "kept_id", "kept_in", "jaccard", "containment"];

    let mut least: Vec<Merged> = Vec::new();
    let commit = run.commit(NEAR_DEDUP.name)?;
    let files = commit.and_then(|commit| commit.tables.get(TABLE).cloned());
    for file in files.into_iter().flatten() {
        for batch in Zip::open(&[Part::of(run.unchecked(TABLE, &file.path), &COLUMNS)])? {
            let batch = batch?;
            let text = |column: usize| batch.column(column).as_string::<i32>();
            let real = |column: usize| batch.column(column).as_primitive::<Float64Type>();

            // A survivor in another run has no text here.
            let rows =
                (0..batch.num_rows()).filter(|&row| text(2).is_null(row) && real(3).is_valid(row));
            least.extend(rows.map(|row| Merged {
                doc_id: text(0).value(row).to_owned(),
                kept_id: text(1).value(row).to_owned(),
                jaccard: real(3).value(row),
                containment: real(4).value(row),
            }));
            least.sort_by(|a, b| {
                a.jaccard
                    .total_cmp(&b.jaccard)
                    .then(a.doc_id.cmp(&b.doc_id))
            });
            least.truncate(MERGED);
        }
    }
    Ok(least)
}

/// A row of `near_dedup_sample`: pairs of a similarity, and how often they share a band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pairs {
    /// Least similarity of the pairs.
    pub from: f64,
    /// End of the similarity.
    pub to: f64,
    /// Pairs in the sample.
    pub pairs: u64,
    /// Share of such pairs that share a band key, and the ends of its 95 % interval.
    pub share: Option<(f64, f64, f64)>,
    /// The share by the S-curve.
    pub expected: Option<f64>,
    /// Share of such pairs of which both documents are kept.
    pub both_kept: Option<f64>,
}

/// The rows of `near_dedup_sample`. Empty if near-deduplication has not run.
///
/// # Errors
/// If a file cannot be read.
pub fn pairs(run: &RunDir) -> Result<Vec<Pairs>> {
    const TABLE: &str = "near_dedup_sample";
    const COLUMNS: [&str; 8] = [
        "from_jaccard",
        "to_jaccard",
        "pairs",
        "share_band",
        "share_band_low",
        "share_band_high",
        "expected",
        "both_kept",
    ];

    let mut rows = Vec::new();
    let commit = run.commit(NEAR_DEDUP.name)?;
    let files = commit.and_then(|commit| commit.tables.get(TABLE).cloned());
    for file in files.into_iter().flatten() {
        for batch in Zip::open(&[Part::of(run.unchecked(TABLE, &file.path), &COLUMNS)])? {
            let batch = batch?;
            rows.extend((0..batch.num_rows()).map(|row| pairs_of(&batch, row)));
        }
    }
    Ok(rows)
}

/// The pairs in a row.
fn pairs_of(batch: &RecordBatch, row: usize) -> Pairs {
    let real = |column: usize| {
        let values = batch.column(column).as_primitive::<Float64Type>();
        values.is_valid(row).then(|| values.value(row))
    };
    let share = real(3).zip(real(4)).zip(real(5));
    Pairs {
        from: real(0).unwrap_or_default(),
        to: real(1).unwrap_or_default(),
        pairs: batch.column(2).as_primitive::<UInt64Type>().value(row),
        share: share.map(|((share, low), high)| (share, low, high)),
        expected: real(6),
        both_kept: real(7),
    }
}
