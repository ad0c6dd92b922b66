//! `curate trace`: everything that happened to one document, a line a table.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::json::LineDelimitedWriter;
use curate_schemas::{stages, tables};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use curate_store::zip::{Part, Zip};

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
    let mut found = false;
    for (table, stage) in tables {
        let Some(commit) = run.commit(&stage)? else {
            continue;
        };
        let files = if table == stage {
            Some(&commit.files)
        } else {
            commit.tables.get(&table)
        };
        for file in files.into_iter().flatten() {
            for row in rows(&run, &table, &file.path, doc_id)? {
                found = true;
                writeln!(out, "{table}: {}", printable(&json(&row)?))?;
            }
        }
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

fn json(row: &RecordBatch) -> Result<String> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    let line = String::from_utf8(writer.into_inner()).context("JSON is UTF-8")?;
    let mut value: serde_json::Value = serde_json::from_str(line.trim_end())?;
    if let Some(text) = value.get("text").and_then(|text| text.as_str()) {
        let shown: String = text.chars().take(TEXT_SHOWN).collect();
        let cut = if shown.len() < text.len() { "…" } else { "" };
        value["text"] = format!("{shown}{cut}").into();
    }
    Ok(value.to_string())
}
