//! `curate trace`: everything that happened to one document, a line a table.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::json::LineDelimitedWriter;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::{stages, tables};
use curate_stages::text::edit_row;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use curate_store::zip::{Part, Zip};
use serde_json::Value;

/// Characters of the text that are shown.
const TEXT_SHOWN: usize = 400;

/// Prints the document's row in each table that has one.
///
/// # Errors
/// Exit 1 if there is no such document, 2 if the directory is no run directory.
pub fn print(root: &Path, doc_id: &str, out: &mut impl Write) -> Result<ExitCode> {
    let run = RunDir::open(root)?;
    let mut tables: Vec<(String, String)> = Vec::new();
    for folder in run.folders()? {
        let stage = stages::stage_of_folder(&folder).context("a folder belongs to a stage")?;
        let mut names = vec![folder.as_str()];
        names.extend(stage.further_tables());
        names.retain(|table| has_documents(table));
        tables.extend(
            names
                .into_iter()
                .map(|table| (table.to_owned(), folder.clone())),
        );
    }

    // The text as the next stage sees it: each stage's edits are spans of the text that it saw.
    let mut text = String::new();
    let mut found = false;
    for (table, stage) in tables {
        let Some(commit) = run.commit(&stage)? else {
            continue;
        };
        let files = match table == stage {
            true => Some(&commit.files),
            false => commit.tables.get(&table),
        };
        for file in files.into_iter().flatten() {
            for row in rows(&run, &table, &file.path, doc_id)? {
                found = true;
                let mut shown = json(&row)?;
                if table == DOCUMENTS.name {
                    text = row.column_by_name("text").map(own_text).unwrap_or_default();
                }
                if let Some(edits) = row.column_by_name("edits") {
                    show_edits(&mut shown, &text);
                    text = edit_row(&text, edits.as_list(), 0)?.into_owned();
                }
                shown.get_mut("text").into_iter().for_each(shorten);
                writeln!(out, "{table}: {}", printable(&shown.to_string()))?;
            }
        }

        // `documents` has a row of every document and is the first table.
        if !found {
            let message = format!("no document is called {}", printable(doc_id));
            return Err(Failure::new(Exit::No, message)
                .hint("see the column doc_id of the table documents")
                .into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// True if a table, or a folder of a mixture, has rows of documents.
fn has_documents(name: &str) -> bool {
    let table = name.split('/').next().unwrap_or(name);
    tables::table(table).is_some_and(|table| table.has("doc_id"))
}

/// The rows of a file that are the document's: ids are looked for first, the rest is read only
/// where one is found.
fn rows(run: &RunDir, folder: &str, file: &str, doc_id: &str) -> Result<Vec<RecordBatch>> {
    let part = |columns: &[&str]| Part::of(run.unchecked(folder, file), columns);
    let mut has = false;
    for batch in Zip::open(&[part(&["doc_id"])])? {
        has = has
            || batch?
                .column(0)
                .as_string::<i32>()
                .iter()
                .any(|id| id == Some(doc_id));
    }
    let mut rows = Vec::new();
    if !has {
        return Ok(rows);
    }
    let schema = tables::schema(folder.split('/').next().unwrap_or(folder));
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    for batch in Zip::open(&[part(&names)])? {
        let batch = batch?;
        let ids = batch.column(0).as_string::<i32>();
        let matching = (0..batch.num_rows()).filter(|&row| ids.value(row) == doc_id);
        rows.extend(matching.map(|row| batch.slice(row, 1)));
    }
    Ok(rows)
}

fn json(row: &RecordBatch) -> Result<Value> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    let line = String::from_utf8(writer.into_inner()).context("JSON is UTF-8")?;
    Ok(serde_json::from_str(line.trim_end())?)
}

/// The text of the one row of a column.
fn own_text(column: &ArrayRef) -> String {
    let texts = column.as_string::<i32>();
    texts.iter().flatten().collect()
}

/// Adds to each edit of a row the text that it replaced, as `was`.
fn show_edits(row: &mut Value, text: &str) {
    let edits = row.get_mut("edits").and_then(Value::as_array_mut);
    for edit in edits.into_iter().flatten() {
        let place = |key: &str| edit[key].as_u64().and_then(|at| usize::try_from(at).ok());
        let span = place("start").zip(place("end"));
        let was = span.and_then(|(start, end)| text.get(start..end));

        edit["was"] = was.into();
        shorten(&mut edit["was"]);
    }
}

/// Cuts a long text, and shows the cut.
fn shorten(value: &mut Value) {
    if let Some(text) = value.as_str()
        && let Some((cut, _)) = text.char_indices().nth(TEXT_SHOWN)
    {
        *value = format!("{}…", &text[..cut]).into();
    }
}
