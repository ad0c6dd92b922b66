//! Reads Parquet files: one document per row. An untrusted file can make the library panic, which
//! sets the row group aside.
//!
//! The library trusts the numbers in a file. Some numbers would cost the whole run, because they
//! exhaust the stack or take memory beyond any limit. So these numbers are checked before the
//! library sees them.
//!
//! | file | what it checks |
//! |---|---|
//! | [`footer`] | the schema and the lists of the footer |
//! | [`pages`] | the pages of a row group: their sizes, their encodings, the rows of a batch |
//! | [`contents`] | decompressed pages: the entries of lists, the lengths of values |
//! | [`thrift`] | the encoding of the footer and of page headers |

mod contents;
mod footer;
mod pages;
mod thrift;

use std::fs::File;
use std::sync::Arc;

use anyhow::Result;
use arrow::datatypes::Schema;
use curate_schemas::stages::documents::{Format, Run, Source};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{ConvertedType, Type};

use super::{Access, Reader, Sink, head};
use crate::record::damage;
use crate::rows::{Rows, guarded, viewed};

/// Parquet: one document per row.
pub const PARQUET: Reader = Reader {
    format: Format::Parquet,
    endings: &["parquet"],
    read: Access::File(read),
};

/// Reads a file, row by row. Damage costs its row group, or the rest of its row group from the
/// damaged batch on. The next row group is read again.
///
/// # Errors
/// If `sink` fails. Damage in the file is handed to `sink`.
fn read(file: File, source: &Source, limits: &Run, sink: Sink) -> Result<()> {
    let size = file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    let head = head(&file, size);
    let damaged = |row: u64, detail: &str, bytes: u64| {
        Err(damage(row, "damaged_file", detail, &head, bytes.min(size)))
    };
    let (metadata, has_views) = match guarded(|| open(&file, size)) {
        Ok(open) => open,
        Err(detail) => return sink(damaged(0, &detail, size)),
    };

    let mut rows = Rows::new(source, limits);
    let groups = metadata.metadata().row_groups();
    for (number, group) in groups.iter().enumerate() {
        let promised = group.num_rows();
        let bytes = u64::try_from(group.compressed_size()).unwrap_or(0);
        let first = rows.row;

        let opened = guarded(|| {
            let reading = pages::check(&file, size, group, limits.max_pages, has_views)
                .map_err(anyhow::Error::msg)?;
            open_group(&file, &metadata, number, reading)
        });
        let outcome = match opened {
            Ok((mut reader, is_unchecked)) => {
                read_group(&mut reader, is_unchecked, &mut rows, sink)?
            }
            Err(detail) => Err(detail),
        };

        // A row group can end too early without an error, so the rows are counted.
        let found = rows.row - first;
        let outcome = match outcome {
            Ok(()) if u64::try_from(promised) != Ok(found) => Err(format!(
                "the footer says {promised} rows, {found} could be read"
            )),
            other => other,
        };
        // Rows keep the numbers that they have in the file, even behind damage. `max` and `min` are
        // for a footer that lies.
        let promised = u64::try_from(promised).unwrap_or(0);
        let next = first.saturating_add(promised.min(u64::from(u32::MAX)));
        if let Err(detail) = outcome {
            let detail = format!("row group {number}: {detail}");
            let lost = next.saturating_sub(rows.row);
            let damage = damaged(rows.row, &detail, bytes);
            rows.flush(sink)?;
            sink(damage.map_err(|damage| damage.of_records(lost)))?;
        }
        rows.row = rows.row.max(next);
    }

    rows.flush(sink)?;

    // A row group can be missing from the footer.
    let said = metadata.metadata().file_metadata().num_rows();
    let sum = groups
        .iter()
        .fold(0i64, |sum, group| sum.saturating_add(group.num_rows()));
    if said != sum {
        let detail = format!("the footer says {said} rows, its row groups say {sum}");
        sink(damaged(rows.row, &detail, 0))?;
    }
    Ok(())
}

/// The footer of a file, with a schema in which texts and bytes are views. The `bool` is false if
/// the library refuses such a schema, and the schema has no views then.
fn open(file: &File, size: u64) -> Result<(ArrowReaderMetadata, bool)> {
    footer::check(file, size).map_err(anyhow::Error::msg)?;
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::default())?;

    let schema = metadata.schema();
    let views = Schema::new_with_metadata(viewed(schema.fields()), schema.metadata().clone());
    let options = ArrowReaderOptions::default().with_schema(Arc::new(views));
    match ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options) {
        Ok(metadata) => Ok((metadata, true)),
        // A group without columns is a case: the library has no type for it.
        Err(_) => {
            let options = ArrowReaderOptions::default().with_skip_arrow_metadata(true);
            Ok((
                ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?,
                false,
            ))
        }
    }
}

/// The reader of a row group that was checked. The `bool` is true if the values of a batch must be
/// checked after they are read.
fn open_group(
    file: &File,
    metadata: &ArrowReaderMetadata,
    group: usize,
    reading: pages::Reading,
) -> Result<(ParquetRecordBatchReader, bool)> {
    let reader =
        ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(reading.batch_rows)
            .build()?;
    Ok((reader, reading.has_deltas || has_unmarked(metadata)))
}

/// True if the file has texts that the library takes for UTF-8 without a check. These are bytes
/// that are marked as JSON, and bytes that only the schema of Arrow calls text.
fn has_unmarked(metadata: &ArrowReaderMetadata) -> bool {
    let leaves = metadata.parquet_schema().columns();
    leaves.iter().any(|leaf| {
        leaf.physical_type() == Type::BYTE_ARRAY && leaf.converted_type() != ConvertedType::UTF8
    })
}

/// Reads the rows of a row group. The inner result is the damage that ended the row group, if there
/// was any.
///
/// # Errors
/// If `sink` fails.
fn read_group(
    reader: &mut ParquetRecordBatchReader,
    is_unchecked: bool,
    rows: &mut Rows,
    sink: Sink,
) -> Result<std::result::Result<(), String>> {
    loop {
        let next = guarded(|| {
            let batch = reader.next().transpose()?;
            // The library checks values in a delta encoding all together. So a value can begin or
            // end within a character.
            if let Some(batch) = batch.as_ref().filter(|_| is_unchecked) {
                for column in batch.columns() {
                    column.to_data().validate_full()?;
                }
            }
            Ok(batch)
        });
        let batch = match next {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(Ok(())),
            Err(detail) => return Ok(Err(detail)),
        };

        if let Err(detail) = rows.read(batch, sink)? {
            return Ok(Err(detail));
        }
    }
}
