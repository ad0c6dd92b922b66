//! `curate trace` shows everything that happened to one document: as a page for people, or as a
//! line of JSON for each row of each table.

mod page;
mod verdicts;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use clap::Args;
use curate_formats::numbers::counted;
use curate_schemas::commit::Commit;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::{DocId, stages, tables};
use curate_stages::text::edit_row;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::{self, printable};
use curate_store::zip::{Part, Zip};
use serde_json::{Value, json};

use super::document::{At, Committed, json_of, masked, own_text, read_rows};
use super::hunks::{Hunk, edits_of, hunks};
use super::show::{TEXT_SHOWN, cut, json_line};

/// The most documents of one name that are shown.
const DOCUMENTS_SHOWN: usize = 10;

/// The arguments of `curate trace`.
#[derive(Debug, Args)]
pub struct Request {
    /// Run directory to read
    run: PathBuf,
    /// The document: its doc_id (32 hex digits), else the record's own id, else its URL, the last
    /// two exactly as in the columns source_id and url; all documents of the name are shown, up to
    /// ten
    #[arg(value_name = "ID")]
    name: String,
    /// Look only among the documents of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Show texts as a whole, not their first 400 characters, and every edit
    #[arg(long)]
    full: bool,
    /// Print a line of JSON for each row: its table, and the row with its columns
    #[arg(long)]
    json: bool,
}

impl Request {
    /// The most characters of a text that are shown.
    fn text_shown(&self) -> Option<usize> {
        (!self.full).then_some(TEXT_SHOWN)
    }
}

/// What a name names. An earlier kind wins if a name has several meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The identity of a document.
    DocId,
    /// The record's own id.
    OwnId,
    /// The record's URL.
    Url,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Kind::DocId => "doc_id",
            Kind::OwnId => "own id",
            Kind::Url => "URL",
        })
    }
}

/// The place of a document: its row in the files of its shard.
#[derive(Debug, Clone)]
struct Place {
    doc_id: String,
    at: At,
}

/// Prints what happened to the documents. Several pages are separated by an empty line.
///
/// # Errors
/// Exit 1 if the run has no such document, 2 if the path is not a run directory or if the run has
/// no such source.
pub fn print(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    let run = RunDir::open(&request.run)?;
    let (kind, places) = find(&run, request)?;

    if places.len() > DOCUMENTS_SHOWN {
        let name = printable(&request.name);
        let documents = counted(places.len() as u64, "document");
        terminal::say(&format!(
            "curate: {documents} have the {kind} {name}, the first {DOCUMENTS_SHOWN} are shown; \
             a doc_id or --source NAME chooses among them"
        ));
    }

    let tables = tables_of(&run)?;
    for (number, place) in places.iter().take(DOCUMENTS_SHOWN).enumerate() {
        let history = history(&run, &tables, place)?;
        if request.json {
            print_json(&history, request, out)?;
            continue;
        }
        if number > 0 {
            writeln!(out)?;
        }
        page::print(&run, &tables, &history, request, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The documents that a name names, in the order of the run, and the kind of the name. Only narrow
/// columns of `documents` are read.
///
/// # Errors
/// Exit 1 if there is no such document, 2 if there is no such source.
fn find(run: &RunDir, request: &Request) -> Result<(Kind, Vec<Place>)> {
    let Some(commit) = run.commit(DOCUMENTS.name)? else {
        return Err(not_found(request).into());
    };
    if let Some(source) = &request.source
        && !commit.sources.contains_key(source)
    {
        let names: Vec<&str> = commit.sources.keys().map(String::as_str).collect();
        let message = format!("the run has no source {}", printable(source));
        let hint = format!("its sources are {}", names.join(", "));
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }

    let mut found: BTreeMap<Kind, Vec<Place>> = BTreeMap::new();
    for (shard, file) in commit.files.iter().enumerate() {
        find_in_shard(run, request, shard, &file.path, &mut found)?;
    }

    // The first kind wins. The others are said, so that nobody takes one document for another.
    let Some((kind, places)) = found.pop_first() else {
        return Err(not_found(request).into());
    };
    for (other, places) in found {
        let documents = counted(places.len() as u64, "document");
        terminal::say(&format!(
            "curate: {documents} with the {other} {} not shown, because it is a document's {kind}",
            printable(&request.name)
        ));
    }
    Ok((kind, places))
}

/// Adds the documents of a shard that the name names to `found`, by the kind of the name.
fn find_in_shard(
    run: &RunDir,
    request: &Request,
    shard: usize,
    file: &str,
    found: &mut BTreeMap<Kind, Vec<Place>>,
) -> Result<()> {
    // A `doc_id` is written in lower case. An own id and a URL are compared as they are.
    let doc_id = request.name.to_ascii_lowercase();
    let doc_id = doc_id.parse::<DocId>().is_ok().then_some(doc_id);

    // Digests are not checked here, because this would read every file as a whole.
    let columns = ["doc_id", "source", "source_id", "url"];
    let part = Part::of(run.unchecked(DOCUMENTS.name, file), &columns);
    let mut first = 0;
    for batch in Zip::open(&[part])? {
        let batch = batch?;
        let [ids, sources, own_ids, urls] =
            [0, 1, 2, 3].map(|column| batch.column(column).as_string::<i32>());
        let is_name = |column: &StringArray, row: usize| {
            column.is_valid(row) && column.value(row) == request.name
        };

        for row in 0..batch.num_rows() {
            let id = ids.value(row);
            let kind = match () {
                () if doc_id.as_deref() == Some(id) => Kind::DocId,
                () if is_name(own_ids, row) => Kind::OwnId,
                () if is_name(urls, row) => Kind::Url,
                () => continue,
            };
            let is_of_source = request
                .source
                .as_ref()
                .is_none_or(|source| sources.value(row) == source);
            if is_of_source {
                found.entry(kind).or_default().push(Place {
                    doc_id: id.to_owned(),
                    at: At {
                        shard,
                        row: first + row,
                    },
                });
            }
        }
        first += batch.num_rows();
    }
    Ok(())
}

/// The failure of a name that no document has.
fn not_found(request: &Request) -> Failure {
    let name = printable(&request.name);
    let message = match &request.source {
        Some(source) => format!(
            "no document of the source {} is called {name}: it is no doc_id, own id or URL there",
            printable(source)
        ),
        None => format!("no document is called {name}: it is no doc_id, own id or URL of the run"),
    };

    Failure::new(Exit::No, message).hint(
        "the columns doc_id, source_id and url of the table documents list all names; a record has \
         an own id or a URL only if its source names the field",
    )
}

/// The tables whose rows belong to documents, each with the commit of the stage that writes it. The
/// first one is `documents`.
fn tables_of(run: &RunDir) -> Result<Vec<(String, Commit)>> {
    let mut all = Vec::new();
    for folder in run.folders()? {
        let Some(commit) = run.commit(&folder)? else {
            continue;
        };

        // A stage may write further tables. The commit in its folder lists their files.
        let stage = stages::stage_of_folder(&folder).context("a folder belongs to a stage")?;
        let mut names = vec![folder.as_str()];
        names.extend(stage.further_tables());
        for table in names.into_iter().filter(|table| has_documents(table)) {
            all.push((table.to_owned(), commit.clone()));
        }
    }
    Ok(all)
}

/// A row of a document in a table, or in the folder of a mixture.
struct Row {
    table: String,
    /// The columns of the row that are not null.
    values: Value,
    /// What the edits of the row changed.
    hunks: Vec<Hunk>,
}

/// What happened to a document.
struct History {
    /// In the order of the stages, `documents` first.
    rows: Vec<Row>,
    /// The text after all edits.
    text: String,
}

/// Reads the rows of a document.
fn history(run: &RunDir, tables: &[(String, Commit)], place: &Place) -> Result<History> {
    let mut found = Vec::new();
    for (table, commit) in tables {
        for row in rows(run, table, commit, place)? {
            found.push((table, row));
        }
    }
    let hidden = Committed::of(run)?.hidden(place.at)?;

    // The text as the next stage sees it. The edits of a stage are spans of the text that this
    // stage saw. Masks keep the length of a text.
    let (mut text, mut all) = (String::new(), Vec::new());
    for (table, row) in found {
        let mut values = json_of(&row)?;
        mask_all(&mut values, &hidden);
        if table == DOCUMENTS.name {
            text = row.column_by_name("text").map(own_text).unwrap_or_default();
            text = masked(&text, &hidden);
        }
        // `text` is still the text before these edits, to which their spans belong.
        let edits = row.column_by_name("edits");
        let edits = edits.filter(|edits| *edits.data_type() == tables::edits());
        let mut changed = Vec::new();
        if let Some(edits) = edits {
            add_was(&mut values, &text);
            changed = hunks(&text, &edits_of(edits.as_list(), 0))
                .with_context(|| format!("the edits of {table}"))?;
            text = edit_row(&text, edits.as_list(), 0)?.into_owned();
        }

        all.push(Row {
            table: table.clone(),
            values,
            hunks: changed,
        });
    }
    Ok(History { rows: all, text })
}

/// Masks the values that `pii` replaced in all texts of a row.
fn mask_all(value: &mut Value, hidden: &[String]) {
    match value {
        Value::String(text) => *text = masked(text, hidden),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_all(item, hidden)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| mask_all(field, hidden)),
        _ => {}
    }
}

/// Prints a line of JSON for each row. Texts are cut, unless the request is for full ones.
fn print_json(history: &History, request: &Request, out: &mut impl Write) -> Result<()> {
    let most = request.text_shown();
    for Row { table, values, .. } in &history.rows {
        let mut values = values.clone();
        let edits = values.get_mut("edits").and_then(Value::as_array_mut);
        for was in edits
            .into_iter()
            .flatten()
            .filter_map(|edit| edit.get_mut("was"))
        {
            shorten(was, most);
        }
        values
            .get_mut("text")
            .into_iter()
            .for_each(|text| shorten(text, most));

        writeln!(
            out,
            "{}",
            json_line(&json!({ "table": table, "row": values }))
        )?;
    }
    Ok(())
}

/// True if the rows of a table belong to documents. `name` may also be the folder of a mixture.
fn has_documents(name: &str) -> bool {
    let table = name.split('/').next().unwrap_or(name);
    tables::table(table).is_some_and(|table| table.has("doc_id"))
}

/// The rows of a document in a table. In a row-aligned table this is the row at the document's
/// place, and nothing else is read. In any other table the column of ids is read, and then the rows
/// of the document.
fn rows(run: &RunDir, table: &str, commit: &Commit, place: &Place) -> Result<Vec<RecordBatch>> {
    if stages::stage(table).is_some_and(|stage| stage.scope.is_aligned()) {
        let file = commit.files.get(place.at.shard);
        let file = file.with_context(|| format!("{table} has no shard {}", place.at.shard))?;
        return read_rows(run, table, &file.path, &[place.at.row]);
    }

    let files = match table == commit.stage {
        true => Some(&commit.files),
        false => commit.tables.get(table),
    };
    let mut all = Vec::new();
    for file in files.into_iter().flatten() {
        let part = Part::of(run.unchecked(table, &file.path), &["doc_id"]);
        let (mut matching, mut first) = (Vec::new(), 0);
        for batch in Zip::open(&[part])? {
            let batch = batch?;
            let ids = batch.column(0).as_string::<i32>();
            // A mixture may draw a document several times, so there may be several rows.
            let own = (0..ids.len()).filter(|&row| ids.value(row) == place.doc_id);
            matching.extend(own.map(|row| first + row));
            first += batch.num_rows();
        }
        all.extend(read_rows(run, table, &file.path, &matching)?);
    }
    Ok(all)
}

/// Adds the key `was` to each edit of a row: the text that the edit replaced.
fn add_was(row: &mut Value, text: &str) {
    let edits = row.get_mut("edits").and_then(Value::as_array_mut);
    for edit in edits.into_iter().flatten() {
        let place = |key: &str| edit[key].as_u64().and_then(|at| usize::try_from(at).ok());
        let span = place("start").zip(place("end"));
        // A span that does not fit the text is null here. `edit_row` reports it.
        let was = span.and_then(|(start, end)| text.get(start..end));

        edit["was"] = was.into();
    }
}

/// Cuts a text after `most` characters.
fn shorten(value: &mut Value, most: Option<usize>) {
    if let Some(text) = value.as_str() {
        *value = cut(text, most).into();
    }
}
