//! Reads one shard's rows across tables. Row-aligned files have equal rows in equal order, so
//! joining them is a zip.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::error::{Exit, Failure};
use crate::run_dir::{ShardFiles, Stored};

/// Most rows of a batch, where [`limit_batches`] says no other number.
const NARROW_BATCH_ROWS: usize = 8192;
const TEXT_BATCH_ROWS: usize = 1024;
const TEXT_BATCH_BYTES: usize = 2 << 20;

static MOST_ROWS: AtomicUsize = AtomicUsize::new(NARROW_BATCH_ROWS);

/// Sets the most rows of a batch, for this process. Only the rounding of model scores may depend on
/// it, since it decides what is scored together.
pub fn limit_batches(rows: usize) {
    MOST_ROWS.store(rows.max(1), Ordering::Relaxed);
}

/// The most rows of a batch.
pub fn most_rows() -> usize {
    MOST_ROWS.load(Ordering::Relaxed)
}

/// Columns of one file to read, and the names they get: a name the column has in its table, and its
/// name in the zip.
#[derive(Debug, Clone)]
pub struct Part {
    /// The Parquet file.
    pub path: PathBuf,
    /// The digest that it was committed with, to be checked before it is read; none: whoever reads
    /// checks by other means.
    pub digest: Option<String>,
    /// (column in the file, name in the zip).
    pub columns: Vec<(String, String)>,
}

impl Part {
    /// Columns of a committed file.
    pub fn of(stored: &Stored, columns: Vec<(String, String)>) -> Part {
        Part {
            path: stored.path.clone(),
            digest: Some(stored.digest.clone()),
            columns,
        }
    }

    /// Damage must not spread into what is computed from a file. Of `documents` the narrow columns
    /// are read alone for questions that shall not read text, so there the digest is checked where
    /// text is read.
    fn check(&self) -> Result<()> {
        let Some(digest) = &self.digest else {
            return Ok(());
        };
        let of_documents = self
            .path
            .parent()
            .and_then(Path::file_name)
            .is_some_and(|folder| folder == "documents");
        if of_documents && !self.columns.iter().any(|(column, _)| column == "text") {
            return Ok(());
        }
        check_digest(&self.path, digest)
    }
}

/// Files whose bytes this process has written or checked.
static CHECKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Notes that this process wrote a file, so that it need not be checked.
pub fn trust(path: &Path) {
    CHECKED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(path.to_owned());
}

/// Compares a committed file with its digest, once in a process.
///
/// # Errors
/// Exit 70 if it was changed.
pub fn check_digest(path: &Path, digest: &str) -> Result<()> {
    if CHECKED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(path)
    {
        return Ok(());
    }
    let place = || format!("cannot read {}", path.display());
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(File::open(path).with_context(place)?)
        .with_context(place)?;
    if hasher.finalize().to_hex().as_str() != digest {
        let message = format!("{} was changed since it was committed", path.display());
        let hint = "`curate verify` names all that is damaged, and `curate run` with --repair makes it again";
        return Err(Failure::new(Exit::Broken, message).hint(hint).into());
    }
    trust(path);
    Ok(())
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
    Ok(Part::of(stored, columns))
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
                part.path.display(),
                parts[0].path.display()
            );
            open.push(Open {
                path: part.path.clone(),
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
    let builder = open_parquet(&part.path)?;
    let schema = Arc::clone(builder.schema());
    let place = || format!("cannot read {}", part.path.display());
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
        true => text_batch_rows(&builder).min(most_rows()),
        false => most_rows(),
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
