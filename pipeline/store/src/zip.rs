//! Reads the rows of one shard across tables. Row-aligned files hold the same documents in the same
//! order, so they are joined by position and not by a key.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use curate_stages::Read;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::failure::{Exit, Failure};
use crate::run_dir::{ShardFiles, Stored};

/// Most rows of a batch of narrow columns, unless a run sets another number.
const NARROW_BATCH_ROWS: usize = 8192;
/// Most rows of a batch with text.
const TEXT_BATCH_ROWS: usize = 1024;
/// Size that a batch with text should have, in bytes.
const TEXT_BATCH_BYTES: usize = 2 << 20;

/// The way in which committed files are read: the size of batches, and the files whose digest need
/// not be checked again.
#[derive(Debug)]
pub struct Reading {
    /// Most rows of a batch. Only the rounding of model scores may depend on this number, because
    /// it decides which documents are scored together.
    most_rows: usize,
    /// Files whose bytes this process has written or checked.
    checked: Mutex<BTreeSet<PathBuf>>,
}

impl Reading {
    /// Reads in batches of at most `most_rows` rows. `None` takes a number that is fast.
    pub fn new(most_rows: Option<usize>) -> Reading {
        Reading {
            most_rows: most_rows.unwrap_or(NARROW_BATCH_ROWS).max(1),
            checked: Mutex::default(),
        }
    }

    /// Most rows of a batch.
    pub fn most_rows(&self) -> usize {
        self.most_rows
    }

    /// Notes that this process wrote a file, so that the file need not be checked.
    pub fn trust(&self, path: &Path) {
        self.checked().insert(path.to_owned());
    }

    /// Compares a committed file with its digest, unless this process wrote or checked the file
    /// before.
    ///
    /// # Errors
    /// Exit 70 if the file was changed.
    pub fn check_digest(&self, path: &Path, digest: &str) -> Result<()> {
        // The lock is not held during the check, so two threads may check the same file.
        if self.checked().contains(path) {
            return Ok(());
        }

        // A changed file is damage or a bug, so the run must not go on with it.
        if file_digest(path)? != digest {
            let message = format!("{} was changed since it was committed", path.display());
            let hint = "`curate verify` names all that is damaged, and `curate run` with --repair \
                        makes it again";
            return Err(Failure::new(Exit::Broken, message).hint(hint).into());
        }

        self.trust(path);
        Ok(())
    }

    /// The set of files that need no check.
    fn checked(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        // A thread that panicked cannot have left half an entry.
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blake3 of a file, 64 hex digits.
///
/// # Errors
/// If the file cannot be read.
pub fn file_digest(path: &Path) -> Result<String> {
    let place = || format!("cannot read {}", path.display());

    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(File::open(path).with_context(place)?)
        .with_context(place)?;

    Ok(hasher.finalize().to_hex().to_string())
}

/// The columns to read from one file, and their names in the zip.
#[derive(Debug, Clone)]
pub struct Part {
    /// The file to read.
    pub file: Stored,
    /// Pairs of a column in the file and its name in the zip.
    pub columns: Vec<(String, String)>,
}

impl Part {
    /// Columns of a file under their own names.
    pub fn of(file: Stored, columns: &[&str]) -> Part {
        Part {
            file,
            columns: columns
                .iter()
                .map(|name| ((*name).to_owned(), (*name).to_owned()))
                .collect(),
        }
    }

    /// Checks the digest of the file, so that damage does not spread into tables that are computed
    /// from it.
    ///
    /// Some questions read only the narrow columns of `documents`, to be fast. A check would read
    /// all its text. The file of `documents` is therefore checked only if its text is read.
    ///
    /// A file of another version of its stage is refused, because its columns may be others.
    fn check(&self) -> Result<()> {
        if let Some(outdated) = &self.file.outdated {
            return Err(outdated.failure(&self.file.path).into());
        }
        let Some(digest) = &self.file.digest else {
            return Ok(());
        };

        let has_text = self.columns.iter().any(|(column, _)| column == "text");
        if self.file.is_checked_with_text && !has_text {
            return Ok(());
        }

        self.file.reading.check_digest(&self.file.path, digest)
    }
}

/// Some columns of a table's file, each named `table.column` in the zip.
///
/// # Errors
/// If the shard has no file of the table.
pub fn part(files: &ShardFiles, table: &str, columns: &[&str]) -> Result<Part> {
    let stored = files
        .get(table)
        .with_context(|| format!("stage {table} has not run"))?;
    let columns = columns
        .iter()
        .map(|column| ((*column).to_owned(), format!("{table}.{column}")))
        .collect();
    Ok(Part {
        file: stored.clone(),
        columns,
    })
}

/// The files and columns of one shard, in the order in which `reads` first names the tables.
///
/// # Errors
/// If the shard has no file of a table.
pub fn parts(files: &ShardFiles, reads: &[Read]) -> Result<Vec<Part>> {
    // Each file is opened once, whatever number of its columns is read.
    let mut parts: Vec<(&str, Part)> = Vec::new();
    for read in reads {
        let column = (read.column.to_owned(), read.name.to_string());
        if let Some((_, part)) = parts.iter_mut().find(|(table, _)| *table == read.table) {
            part.columns.push(column);
            continue;
        }

        let stored = files
            .get(read.table)
            .with_context(|| format!("stage {} has not run", read.table))?;
        let part = Part {
            file: stored.clone(),
            columns: vec![column],
        };
        parts.push((read.table, part));
    }

    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// An iterator over batches of the zipped columns of row-aligned files.
pub struct Zip {
    schema: SchemaRef,
    parts: Vec<Open>,
    rows_left: u64,
}

/// An open file of a zip.
struct Open {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// Rows that were read, but not returned yet.
    pending: Option<RecordBatch>,
    /// The index of each wanted column in the reader's batches.
    order: Vec<usize>,
}

impl Zip {
    /// Opens the files, and checks their digests where [`Stored`] says so.
    ///
    /// # Errors
    /// If a file cannot be read, was changed, lacks a column, or has another number of rows than
    /// the first file.
    pub fn open(parts: &[Part]) -> Result<Zip> {
        let mut rows = None;
        let mut fields: Vec<Field> = Vec::new();
        let mut open = Vec::new();

        for part in parts {
            let (reader, file_rows, order) = open_part(part, &mut fields)?;

            // Rows are joined by position, so a missing row would shift all rows after it.
            ensure!(
                *rows.get_or_insert(file_rows) == file_rows,
                "{} has {file_rows} rows, {} has another number",
                part.file.path.display(),
                parts[0].file.path.display()
            );
            open.push(Open {
                path: part.file.path.clone(),
                reader,
                pending: None,
                order,
            });
        }

        Ok(Zip {
            schema: Arc::new(Schema::new(fields)),
            parts: open,
            rows_left: rows.unwrap_or(0) as u64,
        })
    }

    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next batch; `None` at the end.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows_left == 0 {
            return Ok(None);
        }

        for part in &mut self.parts {
            part.fill()?;
        }

        // The batches of the files differ in size, so the shortest one decides.
        let n = self
            .parts
            .iter()
            .map(|part| part.pending_rows())
            .min()
            .unwrap_or(0);
        ensure!(
            n > 0,
            "rows end before the footer says so in {}",
            self.parts[0].path.display()
        );

        let columns: Vec<ArrayRef> = self
            .parts
            .iter_mut()
            .flat_map(|part| part.take(n))
            .collect();

        self.rows_left -= n as u64;
        Ok(Some(RecordBatch::try_new(
            Arc::clone(&self.schema),
            columns,
        )?))
    }
}

impl Iterator for Zip {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl Open {
    /// Reads the next batch if no rows are pending.
    fn fill(&mut self) -> Result<()> {
        if self.pending_rows() == 0 {
            self.pending = self
                .reader
                .next()
                .transpose()
                .with_context(|| format!("cannot read {}", self.path.display()))?;
        }
        Ok(())
    }

    fn pending_rows(&self) -> usize {
        self.pending.as_ref().map_or(0, RecordBatch::num_rows)
    }

    /// Takes the first `n` pending rows, in the order of the wanted columns. At least `n` rows must
    /// be pending.
    fn take(&mut self, n: usize) -> Vec<ArrayRef> {
        let Some(batch) = self.pending.take() else {
            return Vec::new();
        };

        // A slice shares the values of its batch.
        let head = batch.slice(0, n);
        if n < batch.num_rows() {
            self.pending = Some(batch.slice(n, batch.num_rows() - n));
        }

        self.order
            .iter()
            .map(|&column| Arc::clone(head.column(column)))
            .collect()
    }
}

/// Opens a file for the columns of `part`, and appends their fields to `fields`. Returns the
/// reader, the number of rows, and the index of each wanted column in the reader's batches.
fn open_part(
    part: &Part,
    fields: &mut Vec<Field>,
) -> Result<(ParquetRecordBatchReader, i64, Vec<usize>)> {
    part.check()?;

    let builder = open_parquet(&part.file.path)?;
    let schema = Arc::clone(builder.schema());
    let place = || format!("cannot read {}", part.file.path.display());

    let mut indices = Vec::new();
    for (column, name) in &part.columns {
        let index = schema.index_of(column).with_context(place)?;
        fields.push(schema.field(index).clone().with_name(name));
        indices.push(index);
    }

    // The reader returns each column once and in the order of the file, whatever the request.
    let in_file: BTreeSet<usize> = indices.iter().copied().collect();
    let order = indices
        .iter()
        .map(|index| in_file.iter().position(|other| other == index).unwrap_or(0))
        .collect();
    // Columns that nobody wants are not decompressed.
    let mask = ProjectionMask::roots(builder.parquet_schema(), in_file);

    let rows = builder.metadata().file_metadata().num_rows();
    let most_rows = part.file.reading.most_rows;
    let has_text = part
        .columns
        .iter()
        .any(|(column, _)| column == "text" || column == "raw");
    // Texts differ in size by far more than other values.
    let batch_rows = if has_text {
        text_batch_rows(&builder).min(most_rows)
    } else {
        most_rows
    };

    let reader = builder
        .with_projection(mask)
        .with_batch_size(batch_rows)
        .build()
        .with_context(place)?;
    Ok((reader, rows, order))
}

/// Opens a Parquet file. The path is part of the error message.
///
/// # Errors
/// If the file cannot be read or is not Parquet.
pub fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let place = || format!("cannot read {}", path.display());
    ParquetRecordBatchReaderBuilder::try_new(File::open(path).with_context(place)?)
        .with_context(place)
}

/// A number of rows for which a batch of text has about 2 MiB. Such a batch fits in the cache and
/// in memory that the allocator keeps, and is far from the 2 GiB that 32-bit offsets can address.
fn text_batch_rows(builder: &ParquetRecordBatchReaderBuilder<File>) -> usize {
    // The widest row group decides, because one reader has one batch size.
    let groups = builder.metadata().row_groups();
    let widest = groups
        .iter()
        .map(|group| group.total_byte_size() / group.num_rows().max(1))
        .max()
        .unwrap_or(0);

    (TEXT_BATCH_BYTES / widest.max(1) as usize).clamp(1, TEXT_BATCH_ROWS)
}
