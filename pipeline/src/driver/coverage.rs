//! Runs the stage `coverage`: counts the records that have the fields which the manifest reads, and
//! stops a run in which a field does nothing.
//!
//! A misspelt field has no value in any record. Without this check, a list of addresses or a term
//! over such a field would keep every document and say nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use curate_schemas::Manifest;
use curate_schemas::stages::coverage::COVERAGE;
use curate_schemas::stages::documents::{DOCUMENTS, NamedField};
use curate_schemas::stages::quality::{Missing, MissingValue};
use curate_schemas::tables;
use curate_stages::coverage::{Covered, Field, NARROW, Purpose, count, fields, needs_meta};
use curate_store::run_dir::{RunDir, ShardFiles, Stored};
use curate_store::terminal::{self, printable};
use curate_store::zip::{Part, Zip};
use curate_store::{interrupt, key};

use super::expect::Expected;
use super::quarantine::stopped;
use super::{Contents, Driver};

/// The coverage of each source and field, by the names of the sources.
type Rows = Vec<(String, Field, Covered)>;

/// Warns of a table `[filter.url]` that names no list of addresses.
pub fn warn_of_no_list(manifest: &Manifest) {
    let url = manifest.filter.url.as_ref();
    if url.is_some_and(|url| url.domains.is_none() && url.substrings.is_none()) {
        terminal::say("curate: warning: [filter.url] names no list, so it removes nothing");
    }
}

/// The fields that the manifest reads of each source's records, by the names of the sources: the
/// order of sources in the manifest has no say.
fn fields_by_source(manifest: &Manifest) -> Vec<(String, Vec<Field>)> {
    let mut all: Vec<(String, Vec<Field>)> = manifest
        .source
        .iter()
        .map(|source| (source.name.clone(), fields(manifest, source)))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The file of the table `coverage`. Its key covers the fields and `documents`, the key of the
/// documents.
///
/// # Errors
/// If the fields are not JSON.
pub fn coverage_expected(manifest: &Manifest, documents: String) -> Result<Expected> {
    let all = fields_by_source(manifest);
    let names: Vec<_> = all
        .iter()
        .map(|(source, fields)| {
            let pairs = fields.iter().map(|field| (&field.name, &field.path));
            (source, pairs.collect::<Vec<_>>())
        })
        .collect();
    let parts = BTreeMap::from([
        ("config".to_owned(), serde_json::to_string(&names)?),
        (DOCUMENTS.name.to_owned(), documents),
    ]);

    let key = key::of_parts(COVERAGE.name, COVERAGE.version, &parts);
    Ok(Expected {
        table: COVERAGE.name.to_owned(),
        path: format!("part-00000-{}.parquet", key::short(&key)),
        key,
        parts,
    })
}

impl Driver {
    /// Brings the table `coverage` up to date, logs the fields that some records lack, and refuses
    /// the fields that do nothing. Returns true if the table was made.
    ///
    /// # Errors
    /// Exit 1 if no record of a source has a usable value in a field that the source names, if no
    /// record at all has one in a field that a term or veto reads, or if a record lacks the value
    /// of a term with `missing = "refuse"`.
    pub(super) fn check_coverage(&self) -> Result<bool> {
        warn_of_no_list(&self.manifest);
        let (rows, is_made) = self.coverage()?;
        for (source, field, covered) in &rows {
            self.say_coverage(source, field, *covered);
        }
        if !self.allow_missing {
            self.refuse_unusable_fields(&rows)?;
        }
        // A term that must have a value would stop the run in any case, after all other stages.
        self.refuse_missing_terms(&rows)?;
        Ok(is_made)
    }

    /// The coverage of each source and field: from the committed table, or counted and committed.
    /// The `bool` is true if it was counted.
    fn coverage(&self) -> Result<(Rows, bool)> {
        let all = fields_by_source(&self.manifest);
        let documents = self.committed(DOCUMENTS.name)?;
        let wanted = coverage_expected(&self.manifest, documents.key)?;

        let is_made = !self.reuse_folder(&wanted)?;
        if is_made {
            let rows = rows_of(&all, &self.count_coverage(&all)?)?;
            let contents = Contents {
                files: vec![self.write_rows(COVERAGE.name, &wanted, &rows)?],
                ..Contents::default()
            };
            self.commit(COVERAGE.name, COVERAGE.version, contents)?;
        }

        let mut covered = read(&self.run)?.into_iter();
        let mut rows = Vec::new();
        for (source, fields) in all {
            for field in fields {
                let covered = covered.next().context("a row for each source and field")?;
                rows.push((source.clone(), field, covered.covered));
            }
        }
        Ok((rows, is_made))
    }

    /// Counts the records of all shards, by source and field.
    fn count_coverage(
        &self,
        all: &[(String, Vec<Field>)],
    ) -> Result<BTreeMap<String, Vec<Covered>>> {
        let shards = self.run.shard_files()?;
        let counted = self
            .engine
            .for_each(&shards, |_, files| count_shard(files, all))?;

        let mut sums: BTreeMap<String, Vec<Covered>> = BTreeMap::new();
        for (source, covered) in counted.into_iter().flatten() {
            let sums = sums
                .entry(source)
                .or_insert_with(|| vec![Covered::default(); covered.len()]);
            for (sum, covered) in sums.iter_mut().zip(covered) {
                sum.add(covered);
            }
        }
        Ok(sums)
    }

    /// Logs a field that some records lack.
    fn say_coverage(&self, source: &str, field: &Field, covered: Covered) {
        if field.path.is_none() || covered.usable == covered.records {
            return;
        }
        let share = covered.usable as f64 / covered.records as f64;
        let is_low = share < self.manifest.run.min_coverage;
        let warning = if is_low { "warning: " } else { "" };
        terminal::say(&format!(
            "curate: {warning}source \"{source}\": {}",
            description(field, covered)
        ));
    }

    /// Refuses fields in which no record has a usable value.
    fn refuse_unusable_fields(&self, rows: &Rows) -> Result<()> {
        let mut unusable = Unusable::default();
        for (source, field, covered) in rows {
            let Purpose::Named(named) = field.purpose else {
                continue;
            };
            let settings = self
                .manifest
                .source
                .iter()
                .find(|found| found.name == *source);
            let is_allowed =
                settings.is_some_and(|settings| settings.allow_missing.contains(&named));
            if field.path.is_none() || covered.records == 0 || covered.usable > 0 || is_allowed {
                continue;
            }
            let stop = format!("source \"{source}\": {}", description(field, *covered));
            unusable.stops.push(stop);
            unusable.named.insert(format!("\"{}\"", field.name));
        }

        // Another source may have the field of a term or veto, so one source with it is enough.
        let mut measures: BTreeMap<&str, (&Field, Covered)> = BTreeMap::new();
        for (_, field, covered) in rows.iter().filter(|row| row.1.purpose == Purpose::Measure) {
            let sum = measures
                .entry(&field.name)
                .or_insert((field, Covered::default()));
            sum.1.add(*covered);
        }
        for (field, covered) in measures.into_values() {
            if covered.records == 0 || covered.usable > 0 {
                continue;
            }
            let stop = format!("all sources: {}", description(field, covered));
            unusable.stops.push(stop);
            let names = match self.must_have(field) {
                true => &mut unusable.needed,
                false => &mut unusable.measured,
            };
            names.insert(field.name.clone());
        }

        if unusable.stops.is_empty() {
            return Ok(());
        }
        Err(stopped(&unusable.stops, "fields")
            .hint(unusable.hint())
            .into())
    }

    /// True if a term needs a value of the field in every record.
    fn must_have(&self, field: &Field) -> bool {
        self.manifest.quality.term.iter().any(|term| {
            term.column == field.name && term.missing() == MissingValue::Policy(Missing::Refuse)
        })
    }

    /// Refuses records without the value of a term that must have one.
    fn refuse_missing_terms(&self, rows: &Rows) -> Result<()> {
        let (mut stops, mut names) = (Vec::new(), BTreeSet::new());
        for (source, field, covered) in rows {
            if self.must_have(field) && covered.usable < covered.records {
                stops.push(format!(
                    "source \"{source}\": {}",
                    description(field, *covered)
                ));
                names.insert(field.name.clone());
            }
        }

        if stops.is_empty() {
            return Ok(());
        }
        let hint = format!("{}: {MISSING}", needing(&names));
        Err(stopped(&stops, "fields").hint(hint).into())
    }
}

/// How a term does without a value.
const MISSING: &str = "write missing = \"neutral\", \"drop\" or a number in [[quality.term]]";

/// The fields in which no record has a usable value.
#[derive(Default)]
struct Unusable {
    /// A sentence about each field.
    stops: Vec<String>,
    /// Named fields of sources, in quotes.
    named: BTreeSet<String>,
    /// Fields of terms that need a value in every record.
    needed: BTreeSet<String>,
    /// Fields of vetoes, and of terms that do without a value.
    measured: BTreeSet<String>,
}

impl Unusable {
    /// What to do about all the fields.
    fn hint(&self) -> String {
        let mut parts = Vec::new();
        if !self.named.is_empty() {
            parts.push(format!(
                "name another field, or write allow_missing = [{}] in the source",
                joined(&self.named)
            ));
        }
        if !self.measured.is_empty() {
            parts.push("a term or veto reads numbers".to_owned());
        }

        // `--allow-missing` lifts this check alone. A term that needs a value would stop the run at
        // the next check.
        parts.push(match (self.needed.is_empty(), self.stops.len()) {
            (false, _) => format!(
                "{}: read another field, or {MISSING} and run with --allow-missing",
                needing(&self.needed)
            ),
            (true, 1) if self.named.is_empty() => "--allow-missing lifts this check".to_owned(),
            _ => "--allow-missing lifts all such checks".to_owned(),
        });
        parts.join("; ")
    }
}

/// The beginning of a hint about terms that need a value in every record.
fn needing(names: &BTreeSet<String>) -> String {
    let term = if names.len() == 1 {
        "the term over"
    } else {
        "the terms over"
    };
    let verb = if names.len() == 1 { "needs" } else { "need" };
    format!("{term} {} {verb} a value in every record", joined(names))
}

/// The names with commas between them.
fn joined(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(", ")
}

/// A sentence about a field and the records without a usable value.
fn description(field: &Field, covered: Covered) -> String {
    let path = field.path.as_deref().unwrap_or_default();
    let named = match field.purpose {
        Purpose::Named(_) => format!("{} = \"{}\"", field.name, printable(path)),
        Purpose::Measure => printable(&field.name),
    };
    let unparsable = match field.purpose {
        Purpose::Named(NamedField::Url) => "that name no host",
        _ => "that are not dates",
    };
    let kinds = [
        (covered.missing(), "without the field"),
        (covered.other_type, "of another type"),
        (covered.unparsable, unparsable),
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, kind)| format!("{n} {kind}"))
        .collect();
    let Covered {
        usable, records, ..
    } = covered;
    format!(
        "{named}: {usable} of {records} records have a usable value ({})",
        kinds.join(", ")
    )
}

/// Counts the records of a shard by field, with the source that they are of.
fn count_shard(
    files: &ShardFiles,
    all: &[(String, Vec<Field>)],
) -> Result<Option<(String, Vec<Covered>)>> {
    let stored = files
        .get(DOCUMENTS.name)
        .context("a shard has a file of documents")?;

    // A shard never spans input files, so it has one source.
    let Some(source) = first_source(stored)? else {
        return Ok(None);
    };
    let Some((_, fields)) = all.iter().find(|(name, _)| *name == source) else {
        return Ok(None);
    };

    // Most shards have a value in every row, so `meta` is read only if a row lacks one.
    let mut sum = vec![Covered::default(); fields.len()];
    let mut needs = false;
    for batch in Zip::open(&[Part::of(stored.clone(), &NARROW)])? {
        interrupt::check()?;
        let batch = batch?;
        needs = needs_meta(&batch, fields)?;
        if needs {
            break;
        }
        add(&mut sum, count(&batch, fields)?);
    }
    if needs {
        sum.fill(Covered::default());
        let columns = [&NARROW[..], &["meta"]].concat();
        for batch in Zip::open(&[Part::of(stored.clone(), &columns)])? {
            interrupt::check()?;
            add(&mut sum, count(&batch?, fields)?);
        }
    }
    Ok(Some((source, sum)))
}

/// The source of a shard; `None` if the shard has no row.
fn first_source(stored: &Stored) -> Result<Option<String>> {
    let batch = Zip::open(&[Part::of(stored.clone(), &["source"])])?.next();
    Ok(batch
        .transpose()?
        .map(|batch| batch.column(0).as_string::<i32>().value(0).to_owned()))
}

fn add(sums: &mut [Covered], counted: Vec<Covered>) {
    for (sum, covered) in sums.iter_mut().zip(counted) {
        sum.add(covered);
    }
}

/// The rows of the table, by the names of the sources.
fn rows_of(
    all: &[(String, Vec<Field>)],
    counted: &BTreeMap<String, Vec<Covered>>,
) -> Result<RecordBatch> {
    let (mut sources, mut names, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    let mut numbers: [Vec<u64>; 4] = Default::default();
    for (source, fields) in all {
        for (at, field) in fields.iter().enumerate() {
            sources.push(source.as_str());
            names.push(field.name.as_str());
            paths.push(field.path.as_deref());
            let covered = counted
                .get(source)
                .map_or_else(Covered::default, |own| own[at]);
            let Covered {
                records,
                usable,
                other_type,
                unparsable,
            } = covered;
            for (column, n) in numbers
                .iter_mut()
                .zip([records, usable, other_type, unparsable])
            {
                column.push(n);
            }
        }
    }

    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(sources)),
        Arc::new(StringArray::from(names)),
        Arc::new(StringArray::from(paths)),
    ];
    columns.extend(numbers.map(|numbers| Arc::new(UInt64Array::from(numbers)) as ArrayRef));
    Ok(RecordBatch::try_new(
        tables::schema(COVERAGE.name),
        columns,
    )?)
}

/// A row of the table.
pub struct CoverageRow {
    /// Name of the source.
    pub source: String,
    /// What the field is for.
    pub field: String,
    /// Name of the field in the records, if the source names one.
    pub path: Option<String>,
    /// The records.
    pub covered: Covered,
}

/// The committed rows, by the names of the sources. Empty if the stage has not run.
///
/// # Errors
/// If the commit or the file is damaged.
pub fn read(run: &RunDir) -> Result<Vec<CoverageRow>> {
    let mut rows = Vec::new();
    let Some(commit) = run.commit(COVERAGE.name)? else {
        return Ok(rows);
    };

    let schema = tables::schema(COVERAGE.name);
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    for file in &commit.files {
        let stored = run.stored(commit.version, COVERAGE.name, file);
        for batch in Zip::open(&[Part::of(stored, &names)])? {
            let batch = batch?;
            let text = |at: usize| batch.column(at).as_string::<i32>();
            let number = |at: usize| batch.column(at).as_primitive::<UInt64Type>();

            for row in 0..batch.num_rows() {
                rows.push(CoverageRow {
                    source: text(0).value(row).to_owned(),
                    field: text(1).value(row).to_owned(),
                    path: text(2).is_valid(row).then(|| text(2).value(row).to_owned()),
                    covered: Covered {
                        records: number(3).value(row),
                        usable: number(4).value(row),
                        other_type: number(5).value(row),
                        unparsable: number(6).value(row),
                    },
                });
            }
        }
    }
    Ok(rows)
}
