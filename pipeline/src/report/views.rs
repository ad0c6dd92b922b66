//! `views.sql`: a DuckDB view for each table, over the files that the commits name, and the views
//! `funnel`, `funnel_by_source` and `skipped`. The file is rewritten at each commit of a stage, so it shows valid stages only.

use std::fmt::Write;

use anyhow::{Context, Result};
use arrow::datatypes::{DataType, FieldRef};
use curate_schemas::commit::{FileEntry, Input};
use curate_schemas::spec::Removes;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::{stages, tables};
use curate_stages::bytes_read;
use curate_store::run_dir::RunDir;

/// Writes `views.sql`, unless the file has this text already.
///
/// # Errors
/// If a commit is damaged or the file cannot be written.
pub fn write(run: &RunDir) -> Result<()> {
    run.write_if_changed(&run.root().join("views.sql"), sql(run)?.as_bytes())
}

/// The text of `views.sql`.
///
/// # Errors
/// If a commit is damaged.
pub fn sql(run: &RunDir) -> Result<String> {
    let mut sql = String::from(
        "-- cd into this folder, then: duckdb -init views.sql\n-- or in Python: duckdb.execute(open('views.sql').read())\n",
    );

    let mut committed = Vec::new();
    for folder in run.folders()? {
        let Some(commit) = run.commit(&folder)? else {
            continue;
        };

        let stage = stages::stage_of_folder(&folder).context("a folder belongs to a stage")?;
        // The view of `mix/general` is called `mix_general`.
        let name = folder.replacen('/', "_", 1);
        view(&mut sql, &name, stage.name, &folder, &commit.files);
        for (table, files) in &commit.tables {
            view(&mut sql, table, table, table, files);
        }

        // Other stages have no row for each document and remove nothing, so the funnel leaves them
        // out.
        if stage.scope.is_aligned() {
            committed.push(stage.name);
        }
    }

    if let Some(documents) = run.commit(DOCUMENTS.name)? {
        skipped(&mut sql, &documents.inputs);
    }
    // Both need the view `documents`, and the second one needs `skipped`.
    if !committed.is_empty() {
        funnel(&mut sql, &committed);
        funnel_by_source(&mut sql, &committed);
    }
    Ok(sql)
}

/// Adds the view `name` over the files of a folder. `table` names the schema of an empty table.
fn view(sql: &mut String, name: &str, table: &str, folder: &str, files: &[FileEntry]) {
    let paths: Vec<String> = files
        .iter()
        .map(|file| format!("  '{folder}/{}'", file.path))
        .collect();

    // DuckDB takes the columns from the files, and a table without files has no columns to take.
    let rows = match paths.is_empty() {
        true => empty(table),
        false => format!("SELECT * FROM read_parquet([\n{}\n])", paths.join(",\n")),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(sql, "CREATE OR REPLACE VIEW \"{name}\" AS {rows};");
}

/// A query without rows that has the columns of a table, for a table without files.
fn empty(table: &str) -> String {
    let schema = tables::schema(table);
    let columns = schema.fields().iter().map(|field| {
        format!(
            "NULL::{} AS {}",
            duckdb_type(field.data_type()),
            field.name()
        )
    });
    format!(
        "SELECT {} WHERE false",
        columns.collect::<Vec<_>>().join(", ")
    )
}

/// DuckDB's name for the type of a column.
fn duckdb_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::UInt32 => "UINTEGER".to_owned(),
        DataType::UInt64 => "UBIGINT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Binary | DataType::FixedSizeBinary(_) => "BLOB".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMPTZ".to_owned(),
        DataType::List(item) => format!("{}[]", duckdb_type(item.data_type())),
        DataType::Struct(fields) => format!("STRUCT({})", struct_fields(fields)),
        _ => "VARCHAR".to_owned(),
    }
}

/// The fields of a struct as DuckDB declares them.
fn struct_fields(fields: &[FieldRef]) -> String {
    let fields = fields
        .iter()
        .map(|field| format!("\"{}\" {}", field.name(), duckdb_type(field.data_type())));
    fields.collect::<Vec<_>>().join(", ")
}

/// Adds the view `funnel`: documents and bytes by stage, with a row for each rule that removed
/// documents and a row for what went on.
fn funnel(sql: &mut String, stages: &[&'static str]) {
    let mut rows = vec![
        "SELECT 0 AS stage_number, 'documents' AS stage, NULL AS removed_by, count(*) AS docs, sum(bytes) AS bytes FROM \
         documents"
            .to_owned(),
    ];
    for (number, stage) in stages.iter().enumerate().skip(1) {
        let removes = tables::schema(stage).index_of("removed_by").is_ok();
        let reason = if removes { "s.removed_by" } else { "NULL" };

        let of = bytes_after(stage);
        rows.push(format!(
            "SELECT {number}, '{stage}', {reason}, count(*), sum(b.bytes) FROM \"{stage}\" s JOIN {of} b USING (doc_id) \
             WHERE s.reached GROUP BY 3"
        ));
    }

    let _ = writeln!(
        sql,
        "-- documents and bytes by stage and by the rule that removed them; removed_by is null for what went on\n\
         CREATE OR REPLACE VIEW funnel AS\n{}\nORDER BY stage_number, docs DESC;",
        rows.join("\nUNION ALL\n")
    );
}

/// The table whose column `bytes` has the length of the texts that leave a stage.
fn bytes_after(stage: &'static str) -> &'static str {
    // A stage that edits keeps the text after its edits. The others keep the text that they read.
    let edits = tables::schema(stage).index_of("edits").is_ok();
    if edits {
        stage
    } else {
        bytes_read(stage).table
    }
}

/// Adds the view `skipped`: the records of each input file that are no documents, by reason. They are
/// in no file of the run, so the view holds the rows itself.
fn skipped(sql: &mut String, inputs: &[Input]) {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let rows: Vec<String> = inputs
        .iter()
        .flat_map(|input| input.skipped.iter().map(move |found| (input, found)))
        .map(|(input, (reason, skipped))| {
            let [source, path, reason] = [&input.source, &input.path, reason].map(|it| quoted(it));
            let (records, bytes) = (skipped.records, skipped.bytes);
            format!("({source}, {path}, {reason}, {records}::BIGINT, {bytes}::BIGINT)")
        })
        .collect();

    let _ = write!(
        sql,
        "-- records that are no documents, such as the requests in a web archive\n\
         CREATE OR REPLACE VIEW skipped AS "
    );
    let _ = match rows.is_empty() {
        true => writeln!(
            sql,
            "SELECT ''::VARCHAR AS source, ''::VARCHAR AS path, ''::VARCHAR AS reason, \
             0::BIGINT AS records, 0::BIGINT AS bytes WHERE false;"
        ),
        false => writeln!(
            sql,
            "SELECT * FROM (VALUES\n{}) AS skipped(source, path, reason, records, bytes);",
            rows.join(",\n")
        ),
    };
}

/// Adds the view `funnel_by_source`: a row for each source and stage, with the documents that
/// reached the stage by what became of them, and the bytes that went on. A source has a row for each
/// stage, also if no document of it reached the stage.
fn funnel_by_source(sql: &mut String, stages: &[&'static str]) {
    // What could not be read is in no table but `quarantine`.
    let mut rows = vec![
        "SELECT source, 0 AS stage_number, 'documents' AS stage, sum(docs + bad + none)::BIGINT AS docs_in, \
         sum(docs)::BIGINT AS kept, 0::BIGINT AS removed, 0::BIGINT AS duplicates, sum(bad)::BIGINT AS quarantined, \
         sum(bytes)::BIGINT AS bytes_kept, sum(none)::BIGINT AS skipped FROM (\
         SELECT source, count(*) AS docs, 0 AS bad, 0 AS none, sum(bytes) AS bytes FROM documents GROUP BY 1 UNION ALL \
         SELECT source, 0, sum(records), 0, 0 FROM quarantine GROUP BY 1 UNION ALL \
         SELECT source, 0, 0, sum(records), 0 FROM skipped GROUP BY 1) GROUP BY 1"
            .to_owned(),
    ];

    for (number, stage) in stages.iter().enumerate().skip(1) {
        let removes = tables::schema(stage).index_of("removed_by").is_ok();
        let reason = if removes {
            "s.removed_by"
        } else {
            "NULL::VARCHAR"
        };
        let is_duplicates =
            stages::stage(stage).is_some_and(|spec| spec.removes == Removes::Duplicates);
        let (removed, duplicates) = match is_duplicates {
            true => ("false", "reason IS NOT NULL AND NOT failed"),
            false => ("reason IS NOT NULL AND NOT failed", "false"),
        };

        let of = bytes_after(stage);
        rows.push(format!(
            "SELECT source, {number}, '{stage}', count(*) FILTER (reached), count(*) FILTER (reached AND reason IS NULL), \
             count(*) FILTER (reached AND {removed}), count(*) FILTER (reached AND {duplicates}), \
             count(*) FILTER (reached AND failed), \
             coalesce(sum(bytes) FILTER (reached AND reason IS NULL), 0)::BIGINT, 0::BIGINT FROM (\
             SELECT d.source, s.reached, {reason} AS reason, coalesce({reason} LIKE '%.error', false) AS failed, b.bytes \
             FROM \"{stage}\" s JOIN documents d USING (doc_id) JOIN {of} b USING (doc_id)) GROUP BY 1"
        ));
    }

    let _ = writeln!(
        sql,
        "-- documents by source and stage, by what became of them, and the bytes that went on\n\
         CREATE OR REPLACE VIEW funnel_by_source AS\n{}\nORDER BY source, stage_number;",
        rows.join("\nUNION ALL\n")
    );
}
