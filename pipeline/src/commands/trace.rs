//! `curate trace` prints everything that happened to one document, with a line for each table.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::json::LineDelimitedWriter;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::{stages, tables};
use curate_stages::text::edit_row;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use curate_store::zip::{Part, Zip, open_parquet};
use serde_json::Value;

/// The number of characters of a text that are shown.
const TEXT_SHOWN: usize = 400;

/// Prints the document's row in each table that has one.
///
/// # Errors
/// Exit 1 if the run has no such document, 2 if `root` is not a run directory.
pub fn print(root: &Path, doc_id: &str, out: &mut impl Write) -> Result<ExitCode> {
    let run = RunDir::open(root)?;
    let mut tables: Vec<(String, String)> = Vec::new();
    for folder in run.folders()? {
        // A stage may write further tables. The commit in its folder lists their files.
        let stage = stages::stage_of_folder(&folder).context("a folder belongs to a stage")?;
        let mut names = vec![folder.as_str()];
        names.extend(stage.further_tables());
        names.retain(|table| has_documents(table));
        for table in names {
            tables.push((table.to_owned(), folder.clone()));
        }
    }

    // The text as the next stage sees it. The edits of a stage are spans of the text that this
    // stage saw.
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
                // `text` is still the text before these edits, to which their spans belong.
                if let Some(edits) = row
                    .column_by_name("edits")
                    .filter(|edits| *edits.data_type() == tables::edits())
                {
                    show_edits(&mut shown, &text);
                    text = edit_row(&text, edits.as_list(), 0)?.into_owned();
                }
                shown.get_mut("text").into_iter().for_each(shorten);
                writeln!(out, "{table}: {}", printable(&shown.to_string()))?;
            }
        }

        // `documents` is the first table and has a row for every document.
        if !found {
            let message = format!("no document is called {}", printable(doc_id));
            return Err(Failure::new(Exit::No, message)
                .hint("the column doc_id of the table documents lists all documents")
                .into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// True if the rows of a table belong to documents. `name` may also be the folder of a mixture.
fn has_documents(name: &str) -> bool {
    let table = name.split('/').next().unwrap_or(name);
    tables::table(table).is_some_and(|table| table.has("doc_id"))
}

/// The rows of a document in a file. The column of ids is read first, and the other columns only if
/// the document is in the file.
fn rows(run: &RunDir, folder: &str, file: &str, doc_id: &str) -> Result<Vec<RecordBatch>> {
    // Digests are not checked here, because this would read every file as a whole.
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
    if !has {
        return Ok(Vec::new());
    }
    // The file's own columns: another version of the stage may have written others.
    let schema = Arc::clone(open_parquet(&run.table(folder).join(file))?.schema());
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();

    // A mixture may draw a document several times, so there may be several rows.
    let mut rows = Vec::new();
    for batch in Zip::open(&[part(&names)])? {
        let batch = batch?;
        let ids = batch.column(0).as_string::<i32>();
        let matching = (0..batch.num_rows()).filter(|&row| ids.value(row) == doc_id);
        rows.extend(matching.map(|row| batch.slice(row, 1)));
    }
    Ok(rows)
}

/// A batch of one row as a JSON object.
fn json(row: &RecordBatch) -> Result<Value> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    let line = String::from_utf8(writer.into_inner()).context("JSON is UTF-8")?;
    Ok(serde_json::from_str(line.trim_end())?)
}

/// The text in a column of one row. Null is the empty text.
fn own_text(column: &ArrayRef) -> String {
    let texts = column.as_string::<i32>();
    texts.iter().flatten().collect()
}

/// Adds the key `was` to each edit of a row: the text that the edit replaced.
fn show_edits(row: &mut Value, text: &str) {
    let edits = row.get_mut("edits").and_then(Value::as_array_mut);
    for edit in edits.into_iter().flatten() {
        let place = |key: &str| edit[key].as_u64().and_then(|at| usize::try_from(at).ok());
        let span = place("start").zip(place("end"));
        // A span that does not fit the text is null here. `edit_row` reports it.
        let was = span.and_then(|(start, end)| text.get(start..end));

        edit["was"] = was.into();
        shorten(&mut edit["was"]);
    }
}

/// Cuts a text after [`TEXT_SHOWN`] characters, and marks the cut with `…`.
fn shorten(value: &mut Value) {
    if let Some(text) = value.as_str()
        && let Some((cut, _)) = text.char_indices().nth(TEXT_SHOWN)
    {
        *value = format!("{}…", &text[..cut]).into();
    }
}
