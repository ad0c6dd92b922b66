//! Rows of single documents, for commands that show documents: reading them, the text that a stage
//! saw, and the settings that judged them.

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::json::LineDelimitedWriter;
use curate_schemas::commit::Commit;
use curate_schemas::rules::{Judged, Rule, rules};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::stages::{self, filter::Filter, pii::PII};
use curate_stages::text::edit_row;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::{RunDir, Stored};
use curate_store::zip::{Part, open_parquet};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use serde_json::{Value, json};

use super::hunks::edits_of;

/// Some rows of a file with all its columns, one batch a row. `rows` ascends. The columns are the
/// file's own: another version of the stage may have written others.
///
/// # Errors
/// If the file cannot be read.
pub fn read_rows(
    run: &RunDir,
    table: &str,
    file: &str,
    rows: &[usize],
) -> Result<Vec<RecordBatch>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }

    // Pages without a wanted row are skipped by their headers.
    let path = run.table(table).join(file);
    let mut selectors = Vec::new();
    let mut next = 0;
    for &row in rows {
        selectors.push(RowSelector::skip(row - next));
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    let reader = open_parquet(&path)?
        .with_row_selection(RowSelection::from(selectors))
        .with_batch_size(1)
        .build()?;

    let mut batches = Vec::new();
    for batch in reader {
        batches.push(batch.with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(batches)
}

/// A batch of one row as a JSON object. Columns that are null are left out.
///
/// # Errors
/// If the row has a type that JSON lacks.
pub fn json_of(row: &RecordBatch) -> Result<Value> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    let line = String::from_utf8(writer.into_inner()).context("JSON is UTF-8")?;
    Ok(serde_json::from_str(line.trim_end())?)
}

/// The text in a column of one row. Null is the empty text.
pub fn own_text(column: &ArrayRef) -> String {
    let texts = column.as_string::<i32>();
    texts.iter().flatten().collect()
}

/// A document as a row of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Number of the shard, from 0.
    pub shard: usize,
    /// Number of the row in the shard, from 0.
    pub row: usize,
}

/// The committed row-aligned stages of a run, `documents` first.
pub struct Committed<'r> {
    /// The run that is read.
    pub run: &'r RunDir,
    /// A commit for each stage that has one, in the order of the stages.
    pub stages: Vec<(&'static StageSpec, Commit)>,
}

impl<'r> Committed<'r> {
    /// Reads the commits.
    ///
    /// # Errors
    /// Exit 2 if no document is committed. If a commit cannot be read.
    pub fn of(run: &'r RunDir) -> Result<Self> {
        let mut committed = Vec::new();
        for spec in stages::aligned() {
            committed.extend(run.commit(spec.name)?.map(|commit| (spec, commit)));
        }

        if committed
            .first()
            .is_none_or(|(spec, _)| spec.name != DOCUMENTS.name)
        {
            let message = format!("{} has no documents", run.root().display());
            let hint = "run the manifest, at least with --until documents";
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }
        Ok(Committed {
            run,
            stages: committed,
        })
    }

    /// The commit of a stage. `None` if there is none.
    pub fn commit(&self, stage: &str) -> Option<&Commit> {
        let found = self.stages.iter().find(|(spec, _)| spec.name == stage);
        found.map(|(_, commit)| commit)
    }

    /// Columns of a shard's file, to be read without a check of the file's digest, which would read
    /// the whole file. The columns have the names `table.column`.
    ///
    /// # Errors
    /// If the stage has no such shard.
    pub fn part(&self, table: &str, shard: usize, columns: &[&str]) -> Result<Part> {
        let commit = self.commit(table);
        let commit = commit.with_context(|| format!("stage {table} has not run"))?;
        let file = commit.files.get(shard);
        let file = file.with_context(|| format!("{table} has no shard {shard}"))?;

        let columns = columns.iter();
        Ok(Part {
            file: Stored {
                digest: None,
                ..self.run.stored(commit.version, table, file)
            },
            columns: columns
                .map(|column| ((*column).to_owned(), format!("{table}.{column}")))
                .collect(),
        })
    }

    /// The row of a document in the table of a stage. `None` if the stage is not committed.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn row(&self, table: &str, at: At) -> Result<Option<RecordBatch>> {
        let Some(commit) = self.commit(table) else {
            return Ok(None);
        };
        let file = commit.files.get(at.shard);
        let file = file.with_context(|| format!("{table} has no shard {}", at.shard))?;
        let row = read_rows(self.run, table, &file.path, &[at.row])?.pop();
        Ok(Some(row.with_context(|| {
            format!("{table} has no row {} in {}", at.row, file.path)
        })?))
    }

    /// The row of a document in `documents`, and its text as `stage` saw it: after the edits of all
    /// earlier stages that are committed. `None` stands for the text after every edit. Values that
    /// `pii` replaced are masked.
    ///
    /// # Errors
    /// If a file cannot be read, or if edits do not fit their text.
    pub fn text_before(&self, stage: Option<&str>, at: At) -> Result<(RecordBatch, String)> {
        let (row, text) = self.edited_before(stage, at)?;
        Ok((row, masked(&text, &self.hidden(at)?)))
    }

    /// As [`Committed::text_before`], with nothing masked.
    fn edited_before(&self, stage: Option<&str>, at: At) -> Result<(RecordBatch, String)> {
        let row = self
            .row(DOCUMENTS.name, at)?
            .context("a document has a row")?;
        let mut text = row.column_by_name("text").map(own_text).unwrap_or_default();

        let before = self.stages.iter().map(|(spec, _)| spec);
        let before = before.take_while(|spec| Some(spec.name) != stage);
        for spec in before.filter(|spec| spec.may_rewrite()) {
            let edits = self.row(spec.name, at)?;
            if let Some(edits) = edits.as_ref().and_then(|row| row.column_by_name("edits")) {
                text = edit_row(&text, edits.as_list(), 0)?.into_owned();
            }
        }
        Ok((row, text))
    }

    /// The values that `pii` replaced in a document, the longest first. No command shows them.
    ///
    /// # Errors
    /// If a file cannot be read, or if edits do not fit their text.
    pub fn hidden(&self, at: At) -> Result<Vec<String>> {
        let Some(row) = self.row(PII.name, at)? else {
            return Ok(Vec::new());
        };
        let Some(edits) = row.column_by_name("edits") else {
            return Ok(Vec::new());
        };
        let edits = edits_of(edits.as_list(), 0);
        if edits.is_empty() {
            return Ok(Vec::new());
        }

        let (_, text) = self.edited_before(Some(PII.name), at)?;
        let mut hidden: Vec<String> = edits
            .iter()
            .filter_map(|edit| text.get(edit.start..edit.end))
            .map(str::to_owned)
            .collect();
        hidden.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Ok(hidden)
    }

    /// The stage that removed a document, and its reason. `None` if no stage did.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn fate(&self, at: At) -> Result<Option<(&'static str, String)>> {
        for (spec, _) in self.stages.iter().filter(|(spec, _)| spec.may_remove()) {
            let row = self.row(spec.name, at)?;
            let reason = row
                .as_ref()
                .and_then(|row| row.column_by_name("removed_by"));
            let reason = reason.map(own_text).unwrap_or_default();
            if !reason.is_empty() {
                return Ok(Some((spec.name, reason)));
            }
        }
        Ok(None)
    }
}

/// A text with asterisks in place of the `hidden` values, of the same length in bytes.
pub fn masked(text: &str, hidden: &[String]) -> String {
    hidden.iter().fold(text.to_owned(), |text, value| {
        text.replace(value.as_str(), &"*".repeat(value.len()))
    })
}

/// The settings in the key of a stage. Null if the stage has no shard.
pub fn config_of(commit: &Commit) -> Value {
    let config = commit
        .files
        .first()
        .and_then(|file| file.parts.get("config"));
    let config = config.and_then(|text| serde_json::from_str(text).ok());
    config.unwrap_or_default()
}

/// The rules that judged the documents of a run, with their thresholds, in the order of
/// precedence. They are read from the commit of `filter`, because the manifest may have changed
/// since.
///
/// # Errors
/// If another version wrote settings that this one does not know.
pub fn judging(filter: &Commit) -> Result<Vec<(&'static Rule, Judged)>> {
    let mut config = config_of(filter);
    if config.is_null() {
        return Ok(Vec::new());
    }

    // A key names files by their digests, and says here only that there is a file.
    for (_, path) in config["url"].as_object_mut().into_iter().flatten() {
        if path.as_bool() == Some(true) {
            *path = json!("");
        }
    }
    if let Some(words) = config["c4_bad_words"].as_object_mut() {
        words.insert("file".to_owned(), json!(""));
    }

    let filter: Filter =
        serde_json::from_value(config).context("the settings of filter are unknown")?;
    let judging = rules().filter_map(|rule| Some((rule, rule.judged(&filter)?)));
    Ok(judging.collect())
}
