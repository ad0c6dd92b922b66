//! Parquet files. A panic in the reader, which strangers' files can cause, sets the row group aside.
//!
//! The library trusts what a file says of itself, and some of what files say costs the whole run:
//! the stack, or memory beyond any limit. So each promise is checked before the library sees it.
//!
//! | file | what it looks at |
//! |---|---|
//! | [`footer`] | the schema and the lists of the footer |
//! | [`pages`] | the pages of a row group: sizes, encodings, rows of a batch |
//! | [`contents`] | what stands in a page |
//! | [`thrift`] | the protocol of the footer and of page headers |

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
use parquet::schema::types::ColumnDescPtr;

use super::{Read, Reader, Sink, head};
use crate::record::damage;
use crate::rows::{Rows, guarded, viewed};

/// Parquet: one document per row.
pub const PARQUET: Reader = Reader {
    format: Format::Parquet,
    endings: &["parquet"],
    read: Read::File(read),
};

/// Reads a file, row by row. Damage costs its row group, or the rest of it from where values are
/// damaged on; the next one is read again.
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
    for (group, about) in metadata.metadata().row_groups().iter().enumerate() {
        let (promised, bytes) = (
            about.num_rows(),
            u64::try_from(about.compressed_size()).unwrap_or(0),
        );
        let open = || -> Result<_> {
            let reading = pages::check(&file, size, about, limits.max_pages, has_views)
                .map_err(anyhow::Error::msg)?;
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                file.try_clone()?,
                metadata.clone(),
            );
            let reader = builder
                .with_row_groups(vec![group])
                .with_batch_size(reading.batch_rows)
                .build()?;
            Ok((reader, reading.has_deltas || has_unmarked(&metadata)))
        };
        let first = rows.row;
        let outcome = match guarded(open) {
            Ok((mut reader, is_unchecked)) => {
                read_group(&mut reader, is_unchecked, &mut rows, sink)?
            }
            Err(detail) => Err(detail),
        };
        let found = rows.row - first;
        match outcome {
            Err(detail) => sink(damaged(
                rows.row,
                &format!("row group {group}: {detail}"),
                bytes,
            ))?,
            Ok(()) if u64::try_from(promised) != Ok(found) => {
                sink(damaged(
                    rows.row,
                    &format!(
                        "row group {group}: the footer says {promised} rows, {found} could be read"
                    ),
                    bytes,
                ))?;
            }
            Ok(()) => {}
        }
        // Rows keep the numbers they have in the file, unless a footer lies.
        rows.row = rows.row.max(
            first.saturating_add(
                u64::try_from(promised)
                    .unwrap_or(0)
                    .min(u64::from(u32::MAX)),
            ),
        );
    }
    let (said, groups) = (
        metadata.metadata().file_metadata().num_rows(),
        metadata.metadata().row_groups(),
    );
    let sum = groups
        .iter()
        .fold(0i64, |sum, group| sum.saturating_add(group.num_rows()));
    if said != sum {
        sink(damaged(
            rows.row,
            &format!("the footer says {said} rows, its row groups say {sum}"),
            0,
        ))?;
    }
    Ok(())
}

/// The footer, with a schema in which texts and bytes are views if they can be: not where a group
/// has no columns, for which the library has no type.
fn open(file: &File, size: u64) -> Result<(ArrowReaderMetadata, bool)> {
    footer::check(file, size).map_err(anyhow::Error::msg)?;
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::default())?;
    let schema = metadata.schema();
    let views = Schema::new_with_metadata(viewed(schema.fields()), schema.metadata().clone());
    let options = ArrowReaderOptions::default().with_schema(Arc::new(views));
    match ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options) {
        Ok(metadata) => Ok((metadata, true)),
        Err(_) => {
            let options = ArrowReaderOptions::default().with_skip_arrow_metadata(true);
            Ok((
                ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?,
                false,
            ))
        }
    }
}

/// Whether there are texts that the library takes for UTF-8 without a look: bytes that are marked
/// as JSON, or only by Arrow.
fn has_unmarked(metadata: &ArrowReaderMetadata) -> bool {
    let is_unmarked = |leaf: &ColumnDescPtr| {
        leaf.physical_type() == Type::BYTE_ARRAY && leaf.converted_type() != ConvertedType::UTF8
    };
    metadata.parquet_schema().columns().iter().any(is_unmarked)
}

/// Reads a row group. The damage that ended it, if any.
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
        let next = || -> Result<_> {
            let batch = reader.next().transpose()?;
            // Of values in a delta encoding the library checks all together, not each.
            if let Some(batch) = batch.as_ref().filter(|_| is_unchecked) {
                let mut columns = batch.columns().iter();
                columns.try_for_each(|column| column.to_data().validate_full())?;
            }
            Ok(batch)
        };
        let batch = match guarded(next) {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(Ok(())),
            Err(detail) => return Ok(Err(detail)),
        };
        if let Err(detail) = rows.read(batch, sink)? {
            return Ok(Err(detail));
        }
    }
}
