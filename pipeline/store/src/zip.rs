//! Reads one shard's rows across tables. Row-aligned files have equal rows in equal order, so
//! joining them is a zip.

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
const TEXT_BATCH_ROWS: usize = 1024;
const TEXT_BATCH_BYTES: usize = 2 << 20;

/// How committed files are read: in batches of how many rows, and which files need no check of
/// their digest any more.
#[derive(Debug)]
pub struct Reading {
    /// Most rows of a batch. Only the rounding of model scores may depend on it, because it decides
    /// which documents are scored together.
    most_rows: usize,
    /// Files whose bytes this process has written or checked.
    checked: Mutex<BTreeSet<PathBuf>>,
}

impl Reading {
    /// Reads in batches of at most this many rows; `None`: as many as are fast.
    pub fn new(most_rows: Option<usize>) -> Reading {
        Reading {
            most_rows: most_rows.unwrap_or(NARROW_BATCH_ROWS).max(1),
            checked: Mutex::default(),
        }
    }

    /// Notes that this process wrote a file, so that the file need not be checked.
    pub fn trust(&self, path: &Path) {
        self.checked().insert(path.to_owned());
    }

    /// Compares a committed file with its digest, once in a process.
    ///
    /// # Errors
    /// Exit 70 if the file was changed.
    pub fn check_digest(&self, path: &Path, digest: &str) -> Result<()> {
        if self.checked().contains(path) {
            return Ok(());
        }
        if file_digest(path)? != digest {
            let message = format!("{} was changed since it was committed", path.display());
            let hint = "`curate verify` names all that is damaged, and `curate run` with --repair \
                        makes it again";
            return Err(Failure::new(Exit::Broken, message).hint(hint).into());
        }
        self.trust(path);
        Ok(())
    }

    fn checked(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
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

/// Columns of one file to read, and the names they get in the zip.
#[derive(Debug, Clone)]
pub struct Part {
    /// The file.
    pub file: Stored,
    /// (column in the file, name in the zip).
    pub columns: Vec<(String, String)>,
}

impl Part {
    /// Columns of a file under their own names.
    pub fn of(file: Stored, columns: &[&str]) -> Part {
        let same = |name: &&str| ((*name).to_owned(), (*name).to_owned());
        Part {
            file,
            columns: columns.iter().map(same).collect(),
        }
    }

    /// Damage must not spread into what is computed from a file. The narrow columns of `documents`
    /// are read alone for questions that shall not read text, so that file is checked only if its
    /// text is read.
    fn check(&self) -> Result<()> {
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
/// If the shard has no file of that table.
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

/// The files and columns of one shard, in the order the tables are first named.
pub fn parts(files: &ShardFiles, reads: &[Read]) -> Result<Vec<Part>> {
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

struct Open {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    pending: Option<RecordBatch>,
    /// For each column wanted, its place in the reader's batches.
    order: Vec<usize>,
}

impl Zip {
    /// Opens the files.
    ///
    /// # Errors
    /// If a file cannot be read, lacks a column, or has another number of rows than the first.
    pub fn open(parts: &[Part]) -> Result<Zip> {
        let mut rows = None;
        let mut fields: Vec<Field> = Vec::new();
        let mut open = Vec::new();
        for part in parts {
            let (reader, file_rows, order) = open_part(part, &mut fields)?;
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

    /// The columns of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows_left == 0 {
            return Ok(None);
        }
        for part in &mut self.parts {
            part.fill()?;
        }
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

    fn take(&mut self, n: usize) -> Vec<ArrayRef> {
        let Some(batch) = self.pending.take() else {
            return Vec::new();
        };
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
    // The reader returns its columns in the file's order, whatever order they are asked in, each
    // once.
    let in_file: BTreeSet<usize> = indices.iter().copied().collect();
    let order = indices
        .iter()
        .map(|index| in_file.iter().position(|other| other == index).unwrap_or(0))
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), in_file);
    let rows = builder.metadata().file_metadata().num_rows();
    let batch_rows = match part
        .columns
        .iter()
        .any(|(column, _)| column == "text" || column == "raw")
    {
        true => text_batch_rows(&builder).min(part.file.reading.most_rows),
        false => part.file.reading.most_rows,
    };
    let reader = builder
        .with_projection(mask)
        .with_batch_size(batch_rows)
        .build()
        .with_context(place)?;
    Ok((reader, rows, order))
}

/// Opens a Parquet file, with the path in the error.
pub fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let place = || format!("cannot read {}", path.display());
    ParquetRecordBatchReaderBuilder::try_new(File::open(path).with_context(place)?)
        .with_context(place)
}

/// Few enough rows that a batch of text stays around 2 MiB: in the cache, in memory that the
/// allocator keeps, and far from the 2 GiB that 32-bit offsets can address.
fn text_batch_rows(builder: &ParquetRecordBatchReaderBuilder<File>) -> usize {
    let groups = builder.metadata().row_groups();
    let widest = groups
        .iter()
        .map(|group| group.total_byte_size() / group.num_rows().max(1))
        .max()
        .unwrap_or(0);
    (TEXT_BATCH_BYTES / widest.max(1) as usize).clamp(1, TEXT_BATCH_ROWS)
}
