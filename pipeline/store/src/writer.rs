//! Writes one Parquet file in staging, with bytes that depend on the rows alone.
//!
//! The page boundaries of the Parquet writer follow its batches. The rows are therefore regrouped
//! into blocks of a fixed cut before they reach the writer. Row groups end at a row count or a text
//! size. The bytes of the file (blake3) and the rows are digested during writing, and afterwards
//! the footer is read back. The `parquet` crate cannot write page checksums yet, so the file's
//! digest serves in their place.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::xxh3_128;

use crate::durable::NewFile;

/// Zstandard level. On technical prose, level 3 makes files 10 % smaller, and reading in a corpus
/// becomes 12 % slower (`make bench-dedup`).
const LEVEL: i32 = 1;
/// Rows at which a block ends.
const BLOCK_ROWS: usize = 1024;
/// Bytes of text and binary values at which a block ends.
const BLOCK_BYTES: usize = 1 << 20;
/// Rows at which a row group ends.
const GROUP_ROWS: usize = 128 * 1024;
/// Bytes of text and binary values at which a row group ends.
const GROUP_BYTES: usize = 64 << 20;

/// A written, fsynced and checked file in staging, which has no final name yet.
#[derive(Debug)]
pub struct Staged {
    /// Path of the file in staging.
    pub path: PathBuf,
    /// Rows in the file.
    pub rows: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// The blake3 of the file, 64 hex digits.
    pub digest: String,
    /// Sum of the rows' hashes modulo 2^128.
    pub content: u128,
}

/// Writes batches of one schema into one staged file.
pub struct TableWriter {
    path: PathBuf,
    schema: SchemaRef,
    /// Indices of the text and binary columns, whose values may be of any size.
    wide: Vec<usize>,
    parquet: ArrowWriter<DigestingFile>,
    /// Slices of batches that make up the open block.
    block: Vec<RecordBatch>,
    block_rows: usize,
    block_bytes: usize,
    /// Rows of the open row group, without the open block.
    group_rows: usize,
    group_bytes: usize,
    /// Rows of all finished blocks.
    rows: u64,
    /// Makes the bytes of a row that are hashed.
    converter: RowConverter,
    content: u128,
}

impl TableWriter {
    /// Starts a file at `path`.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<TableWriter> {
        let wide = (0..schema.fields().len())
            .filter(|&column| {
                matches!(
                    schema.field(column).data_type(),
                    DataType::Utf8 | DataType::Binary
                )
            })
            .collect();

        let file =
            NewFile::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let file = DigestingFile {
            file: BufWriter::with_capacity(1 << 20, file),
            digest: blake3::Hasher::new(),
        };

        Ok(TableWriter {
            path: path.to_path_buf(),
            parquet: ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties()))?,
            converter: row_converter(&schema)?,
            schema,
            wide,
            block: Vec::new(),
            block_rows: 0,
            block_bytes: 0,
            group_rows: 0,
            group_bytes: 0,
            rows: 0,
            content: 0,
        })
    }

    /// Appends rows to the file.
    ///
    /// # Errors
    /// If the batch has another schema, or writing fails.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check_schema(batch)?;

        let mut from = 0;
        while from < batch.num_rows() {
            // At least one row fits, because a full block is flushed at once.
            let n = self.rows_to_block_end(batch, from);
            self.block.push(batch.slice(from, n));
            from += n;

            if self.block_rows >= BLOCK_ROWS || self.block_bytes >= BLOCK_BYTES {
                self.flush_block()?;
            }
        }
        Ok(())
    }

    /// Compares the columns of a batch with the schema of the file: names, types and nulls.
    ///
    /// # Errors
    /// If a column differs, or has nulls where the schema allows none.
    fn check_schema(&self, batch: &RecordBatch) -> Result<()> {
        let expected = self.schema.fields();
        let found = batch.schema();

        ensure!(
            found.fields().len() == expected.len(),
            "{} columns, expected {}",
            found.fields().len(),
            expected.len()
        );

        for ((expected, found), column) in expected.iter().zip(found.fields()).zip(batch.columns())
        {
            ensure!(
                expected.name() == found.name() && expected.data_type() == column.data_type(),
                "schema mismatch in {}: column \"{}\" is {}, expected \"{}\", {}",
                self.path.display(),
                found.name(),
                column.data_type(),
                expected.name(),
                expected.data_type()
            );

            // The batch's own schema may call a column nullable that has no nulls.
            let nulls = column.null_count();
            ensure!(
                expected.is_nullable() || nulls == 0,
                "column \"{}\" has {nulls} nulls, expected none",
                found.name()
            );
        }
        Ok(())
    }

    /// The number of rows from `from` on that belong to the open block. Adds these rows to the
    /// block's counts.
    fn rows_to_block_end(&mut self, batch: &RecordBatch, from: usize) -> usize {
        let room = (BLOCK_ROWS - self.block_rows).min(batch.num_rows() - from);

        // The type of a column is looked up once, not for each of its values.
        let sizes: Vec<Box<dyn Fn(usize) -> usize + '_>> = self
            .wide
            .iter()
            .map(|&c| value_size(batch.column(c)))
            .collect();

        // The row that fills the block belongs to it, so that a row of any size has a block.
        let mut n = 0;
        while n < room && self.block_bytes < BLOCK_BYTES {
            self.block_bytes += sizes.iter().map(|size| size(from + n)).sum::<usize>();
            n += 1;
        }

        self.block_rows += n;
        n
    }

    /// Writes the open block, and ends the row group if the group is large enough.
    fn flush_block(&mut self) -> Result<()> {
        // Cloning a batch copies no values.
        let block = match &self.block[..] {
            [block] => block.clone(),
            several => concat_batches(&self.schema, several)?,
        };
        self.block.clear();

        self.content = self
            .content
            .wrapping_add(sum_of_rows(&self.converter, &block)?);

        self.parquet.write(&block)?;
        self.rows += block.num_rows() as u64;
        self.group_rows += std::mem::take(&mut self.block_rows);
        self.group_bytes += std::mem::take(&mut self.block_bytes);

        if self.group_rows >= GROUP_ROWS || self.group_bytes >= GROUP_BYTES {
            self.parquet.flush()?;
            (self.group_rows, self.group_bytes) = (0, 0);
        }
        Ok(())
    }

    /// Finishes the file: writes the footer, fsyncs the file, and reads the footer back.
    ///
    /// # Errors
    /// If writing fails, or if the footer has other rows or columns than were written.
    pub fn finish(mut self) -> Result<Staged> {
        if self.block_rows > 0 {
            self.flush_block()?;
        }

        let place = || format!("cannot write {}", self.path.display());
        let mut file = self.parquet.into_inner().with_context(place)?;
        file.flush().with_context(place)?;

        // `into_inner` returns its buffer together with the error, and the error is enough.
        let inner = file
            .file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .with_context(place)?;
        let size = inner.sync().with_context(place)?;
        let digest = file.digest.finalize().to_hex().to_string();

        let footer = ParquetRecordBatchReaderBuilder::try_new(File::open(&self.path)?)
            .with_context(place)?;
        let rows = footer.metadata().file_metadata().num_rows();
        // A file that reads back differently must not get its final name.
        ensure!(
            rows == self.rows as i64,
            "{} holds {rows} rows, {} were written",
            self.path.display(),
            self.rows
        );
        ensure!(
            footer.schema().fields() == self.schema.fields(),
            "{} reads back with another schema than it was written with",
            self.path.display()
        );

        Ok(Staged {
            path: self.path,
            rows: self.rows,
            size,
            digest,
            content: self.content,
        })
    }
}

/// The size in bytes of the value in each row of a text or binary column.
///
/// # Panics
/// If the column has another type.
fn value_size(column: &ArrayRef) -> Box<dyn Fn(usize) -> usize + '_> {
    match column.as_string_opt::<i32>() {
        Some(texts) => Box::new(|row| texts.value_length(row) as usize),
        None => {
            let values = column.as_binary::<i32>();
            Box::new(|row| values.value_length(row) as usize)
        }
    }
}

/// How Parquet files are written.
fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(LEVEL).expect("zstd has levels 1 to 22");

    // `flush_block` ends a group before `GROUP_ROWS + BLOCK_ROWS` rows, so that the limit of the
    // Parquet writer is never reached. Texts and ids hardly repeat: a dictionary would only cost.
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(2 * GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(ColumnPath::from("doc_id"), false)
        .set_column_dictionary_enabled(ColumnPath::from("text"), false)
        .build()
}

/// The sum of a batch's row hashes modulo 2^128.
///
/// # Errors
/// If a column has a type that cannot be hashed.
pub fn content_digest(batch: &RecordBatch) -> Result<u128> {
    sum_of_rows(&row_converter(&batch.schema())?, batch)
}

/// A converter that makes one string of bytes of each row.
fn row_converter(schema: &SchemaRef) -> Result<RowConverter> {
    let fields = schema
        .fields()
        .iter()
        .map(|field| SortField::new(field.data_type().clone()))
        .collect();
    Ok(RowConverter::new(fields)?)
}

/// The sum of the hashes of a batch's rows modulo 2^128. A sum does not depend on the order of rows
/// or on their blocks.
fn sum_of_rows(converter: &RowConverter, batch: &RecordBatch) -> Result<u128> {
    let rows = converter.convert_columns(batch.columns())?;
    Ok(rows
        .iter()
        .fold(0u128, |sum, row| sum.wrapping_add(xxh3_128(row.as_ref()))))
}

/// A new file that digests the bytes written to it.
struct DigestingFile {
    file: BufWriter<NewFile>,
    digest: blake3::Hasher,
}

impl Write for DigestingFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        // Only accepted bytes are digested: the caller writes the rest again.
        self.digest.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{StringArray, UInt64Array};

    fn batch(n: usize) -> RecordBatch {
        let text: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..n).map(|i| "word ".repeat(i % 300)),
        ));
        let id: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..n as u64));
        RecordBatch::try_from_iter([("id", id), ("text", text)]).expect("two equal columns")
    }

    fn write_in_slices(rows: &RecordBatch, step: usize) -> (String, u128) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut writer =
            TableWriter::create(&dir.path().join("a.parquet"), rows.schema()).expect("created");
        for from in (0..rows.num_rows()).step_by(step) {
            writer
                .write(&rows.slice(from, step.min(rows.num_rows() - from)))
                .expect("written");
        }
        let staged = writer.finish().expect("finished");
        (staged.digest, staged.content)
    }

    #[test]
    fn bytes_do_not_depend_on_batches() {
        let rows = batch(5000);
        let whole = write_in_slices(&rows, 5000);
        assert_eq!(write_in_slices(&rows, 1), whole);
        assert_eq!(write_in_slices(&rows, 777), whole);
        assert_eq!(whole.1, content_digest(&rows).expect("digest"));
    }

    #[test]
    fn a_null_where_none_may_be_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut writer = TableWriter::create(
            &dir.path().join("a.parquet"),
            curate_schemas::tables::schema("mix"),
        )
        .expect("created");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![None::<&str>])),
            Arc::new(arrow::array::UInt32Array::from(vec![1])),
        ];
        let rows = RecordBatch::try_from_iter(["doc_id", "draws"].into_iter().zip(columns))
            .expect("a batch");
        assert!(writer.write(&rows).is_err());
    }
}
