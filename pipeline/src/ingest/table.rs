//! Records out of Parquet files. A panic in the reader, which strangers' files can cause, sets the file aside.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampMicrosecondType};
use curate_schemas::manifest::Source;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::date;
use super::record::{Item, Record, damage};

/// Reads a file, row by row.
///
/// # Errors
/// If `sink` fails. Damage in the file is handed to `sink`.
pub fn read(file: File, source: &Source, max_record: u64, sink: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
    let mut row = 0;
    let size = file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    let outcome = catch_unwind(AssertUnwindSafe(|| read_rows(file, source, max_record, &mut row, sink)));
    let detail = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(Stop::Sink(error))) => return Err(error),
        Ok(Err(Stop::Damage(detail))) => detail,
        Err(_) => "the Parquet reader failed on it".to_owned(),
    };
    sink(Err(damage(row, "damaged_file", &detail, &[], size)))
}

enum Stop {
    Sink(anyhow::Error),
    Damage(String),
}

fn read_rows(
    file: File,
    source: &Source,
    max_record: u64,
    row: &mut u64,
    sink: &mut dyn FnMut(Item) -> Result<()>,
) -> std::result::Result<(), Stop> {
    let bad = |error: &dyn std::fmt::Display| Stop::Damage(error.to_string());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| bad(&error))?;
    let reader = builder.with_batch_size(256).build().map_err(|error| bad(&error))?;
    for batch in reader {
        let batch = batch.map_err(|error| bad(&error))?;
        for item in records(&batch, source, max_record, *row).map_err(|error| bad(&format!("{error:#}")))? {
            *row += 1;
            sink(item).map_err(Stop::Sink)?;
        }
    }
    Ok(())
}

fn records(batch: &RecordBatch, source: &Source, max_record: u64, first: u64) -> Result<Vec<Item>> {
    let Some(text) = lookup(batch, &source.text) else {
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).take(12).collect();
        let detail = format!("no column \"{}\"; there are: {}", source.text, names.join(", "));
        return Ok((0..batch.num_rows())
            .map(|row| Err(damage(first + row as u64, "missing_text", &detail, &[], 0)))
            .collect());
    };
    let texts = text_values(&text)?;
    let scalars = |path: &Option<String>| -> Result<Option<StringArray>> {
        let Some(column) = path.as_deref().and_then(|path| lookup(batch, path)) else {
            return Ok(None);
        };
        Ok(Some(cast(&column, &DataType::Utf8)?.as_string::<i32>().clone()))
    };
    let (ids, urls) = (scalars(&source.id)?, scalars(&source.url)?);
    let dates = source.date.as_deref().and_then(|path| lookup(batch, path)).map(|column| dates(&column)).transpose()?;
    let mut metas = metas(batch, source)?;
    let rows = (0..batch.num_rows()).map(|row| {
        let value = |column: &Option<StringArray>| {
            column.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row).to_owned())
        };
        let offset = first + row as u64;
        match texts.get(row).cloned().flatten() {
            None => Err(damage(offset, "missing_text", &format!("column \"{}\" is null", source.text), &[], 0)),
            Some(Err(raw)) => Err(damage(offset, "invalid_utf8", "the text is not UTF-8", &raw, raw.len() as u64)),
            Some(Ok(text)) if text.len() as u64 > max_record => {
                let detail = format!("a text of {} bytes, max_record is {max_record}", text.len());
                Err(damage(offset, "record_too_large", &detail, text.as_bytes(), text.len() as u64))
            }
            Some(Ok(text)) => Ok(Record {
                text,
                id: value(&ids),
                url: value(&urls),
                date: dates.as_ref().and_then(|dates| dates[row]),
                meta: metas[row].take(),
            }),
        }
    });
    Ok(rows.collect())
}

type Text = Option<std::result::Result<String, Vec<u8>>>;

fn text_values(column: &ArrayRef) -> Result<Vec<Text>> {
    Ok(match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let texts = cast(column, &DataType::Utf8View)?;
            texts.as_string_view().iter().map(|text| text.map(|text| Ok(text.to_owned()))).collect()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let raw = cast(column, &DataType::BinaryView)?;
            let texts = raw.as_binary_view().iter();
            texts
                .map(|raw| raw.map(|raw| String::from_utf8(raw.to_vec()).map_err(|error| error.into_bytes())))
                .collect()
        }
        other => anyhow::bail!("the text column is {other}, expected text"),
    })
}

fn dates(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    if matches!(column.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
        let times = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        return Ok(times.as_primitive::<TimestampMicrosecondType>().iter().collect());
    }
    let texts = cast(column, &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.and_then(date::parse)).collect())
}

/// A column by its name, else by its dotted path through structs.
fn lookup(batch: &RecordBatch, path: &str) -> Option<ArrayRef> {
    if let Some(column) = batch.column_by_name(path) {
        return Some(Arc::clone(column));
    }
    let (head, rest) = path.split_once('.')?;
    let inner: &StructArray = batch.column_by_name(head)?.as_struct_opt()?;
    lookup(&RecordBatch::from(inner.clone()), rest)
}

/// The columns that the manifest does not name, a JSON object a row.
fn metas(batch: &RecordBatch, source: &Source) -> Result<Vec<Option<String>>> {
    let named = [Some(&source.text), source.id.as_ref(), source.url.as_ref(), source.date.as_ref()];
    let schema = batch.schema();
    let kept: Vec<usize> =
        (0..batch.num_columns()).filter(|&column| !named.contains(&Some(schema.field(column).name()))).collect();
    if kept.is_empty() {
        return Ok(vec![None; batch.num_rows()]);
    }
    let rest = batch.project(&kept)?;
    let nullable: Vec<_> = rest.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let rest = RecordBatch::try_new(Arc::new(Schema::new(nullable)), rest.columns().to_vec())?;
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(&rest).context("a column cannot be written as JSON")?;
    writer.finish()?;
    let lines = String::from_utf8(writer.into_inner()).context("JSON is UTF-8")?;
    Ok(lines.lines().map(|line| (line != "{}").then(|| line.to_owned())).collect())
}
