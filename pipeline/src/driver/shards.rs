//! Runs a row-aligned stage. Missing shards are computed, their documents are counted by what
//! became of them, and the stage is committed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::UInt64Type;
use curate_schemas::commit::{Commit, Counts, FileEntry, Tally};
use curate_schemas::spec::Removes;
use curate_schemas::stages::{self, documents::DOCUMENTS};
use curate_schemas::tables;
use curate_stages::corpus::{Corpus, CorpusStage, Decision, FurtherRows};
use curate_stages::reuse::{KNOWN, is_spared};
use curate_stages::{AnyStage, Read, ShardStage, Stage, all_reads, bytes_read, narrow_reads};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::ShardFiles;
use curate_store::writer::{Staged, TableWriter};
use curate_store::zip::{Part, Zip, parts};
use curate_store::{interrupt, key};

use super::expect::{Existing, Expected, Keys, expected, missing, number};
use super::{Contents, Driver};
use crate::driver::engine::{CorpusFiles, of_stage};
use crate::progress::{Progress, Work};

/// A stage that is run, and what its computation starts from.
pub(super) struct Job<'a> {
    pub(super) stage: &'a dyn Stage,
    /// Number of documents that reach the stage.
    arriving: u64,
    /// Commit of the stage `documents`.
    pub(super) documents: Commit,
    /// Commit of the stage whose survivors reach this one.
    pub(super) followed: Commit,
    /// Files of each shard, by table.
    pub(super) files: Vec<ShardFiles>,
    /// Files of the stage that exist already.
    pub(super) existing: Existing,
}

impl Driver {
    /// Brings a stage up to date. Returns what was computed, `None` if all files existed.
    ///
    /// # Errors
    /// Exit 1 if the stage refuses its decision, 70 if documents or bytes are lost or doubled. Else
    /// if reading, computing or writing fails.
    pub(super) fn run_stage(&self, stage: &AnyStage) -> Result<Option<Work>> {
        let base = stage.stage();
        let (mut job, wanted) = self.job(stage)?;

        let missing = missing(&wanted, &job.existing).len();
        if missing == 0 {
            // The stage may still need a commit: it was retired, or its list of files changed.
            let current = self.run.commit(base.name())?;
            if !current.is_some_and(|commit| is_made_of(&commit, &wanted, &job.existing)) {
                let contents = contents(base, &wanted, &BTreeMap::new(), &job.existing)?;
                self.commit(base.name(), base.spec().version, contents)?;
            }
            return Ok(None);
        }

        job.files = self.run.shard_files()?;
        let progress = Progress::start(base.name(), missing);
        let computed: BTreeMap<String, FileEntry> = match (stage, &self.manifest.fleet.command) {
            (AnyStage::Shard(_), Some(command)) => {
                self.compute_by_fleet(command, &job, &wanted, &progress)?
            }
            (AnyStage::Shard(shard_stage), None) => {
                self.compute_shards(shard_stage.as_ref(), &job, &wanted, &progress)?
            }
            (AnyStage::Corpus(corpus), _) => {
                self.compute_corpus(corpus.as_ref(), &job, &wanted, &progress)?
            }
        };

        let contents = contents(base, &wanted, &computed, &job.existing)?;
        self.commit(base.name(), base.spec().version, contents)?;
        if let AnyStage::Shard(stage) = stage {
            stage.notes().iter().for_each(|note| progress.note(note));
        }
        Ok(Some(progress.finish()))
    }

    /// What the computation of a stage starts from, without the files of the shards, and the files
    /// that the stage must have.
    ///
    /// # Errors
    /// If a commit that it needs is missing or damaged.
    pub(super) fn job<'a>(&self, stage: &'a AnyStage) -> Result<(Job<'a>, Vec<Expected>)> {
        let base = stage.stage();
        let documents = self.committed(DOCUMENTS.name)?;
        let followed = self.committed(base.follows())?;
        let arriving = followed.counts.docs.kept;

        let wanted = expected(stage, arriving, &documents.files, &self.keys()?)?;
        let existing = Existing::load(&self.run, base.name(), &base.spec().further_tables())?;
        let job = Job {
            stage: base,
            arriving,
            documents,
            followed,
            files: Vec::new(),
            existing,
        };
        Ok((job, wanted))
    }

    /// Keys of the files of every committed row-aligned stage, by table.
    ///
    /// # Errors
    /// Exit 70 if a commit is damaged.
    pub fn keys(&self) -> Result<Keys> {
        let mut keys = Keys::new();
        for stage in stages::aligned() {
            if let Some(commit) = self.run.commit(stage.name)? {
                keys.insert(
                    stage.name.to_owned(),
                    commit.files.into_iter().map(|file| file.key).collect(),
                );
            }
        }
        Ok(keys)
    }

    /// Computes the missing shards of a shard stage, several at a time. The entries are by key.
    fn compute_shards(
        &self,
        stage: &dyn ShardStage,
        job: &Job,
        wanted: &[Expected],
        progress: &Progress,
    ) -> Result<BTreeMap<String, FileEntry>> {
        // A shard stage has one file for each shard, so the place of a file is the number of its
        // shard.
        let todo: Vec<(usize, &Expected)> = wanted
            .iter()
            .enumerate()
            .filter(|(_, file)| job.existing.get(&file.key).is_none())
            .collect();

        let entries = self.engine.for_each(&todo, |_, (shard, file)| {
            interrupt::check()?;
            self.compute_shard(stage, job, *shard, file, progress)
                .with_context(|| {
                    let path = &job.documents.files[*shard].path;
                    format!("stage {}, shard {shard} ({path})", stage.name())
                })
        })?;

        Ok(entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect())
    }

    /// Computes one shard and publishes its file.
    pub(super) fn compute_shard(
        &self,
        stage: &dyn ShardStage,
        job: &Job,
        shard: usize,
        file: &Expected,
        progress: &Progress,
    ) -> Result<FileEntry> {
        let inputs = self.inputs_of(stage, job, shard, file)?;
        let mut output = Output::create(self, job, shard, file)?;
        self.engine
            .run_shard(stage, job.arriving, &inputs, &mut |batch| {
                interrupt::check()?;
                output.write(batch)
            })?;
        output.finish(self, progress)
    }

    /// The files and columns that the plan of a shard reads. If a previous output of the stage has
    /// values that still hold, its columns come last.
    fn inputs_of(
        &self,
        stage: &dyn ShardStage,
        job: &Job,
        shard: usize,
        file: &Expected,
    ) -> Result<Vec<Part>> {
        let files = &job.files[shard];
        let reads = all_reads(stage);
        let Some(reuse) = stage.reuse(job.arriving) else {
            return parts(files, &reads);
        };

        let rows = job.documents.files[shard].rows;
        let version = stage.spec().version;
        let former = job.existing.iter().find(|entry| {
            // The key says whether the same version of the code wrote the file.
            entry.rows == rows
                && entry.key == key::of_parts(stage.name(), version, &entry.parts)
                && reuse
                    .parts
                    .iter()
                    .all(|part| entry.parts.get(*part) == file.parts.get(*part))
        });
        let Some(former) = former else {
            return parts(files, &reads);
        };

        let known = Part {
            file: self.run.stored(version, stage.name(), former),
            columns: reuse
                .columns
                .iter()
                .map(|column| ((*column).to_owned(), format!("{KNOWN}{column}")))
                .collect(),
        };

        // Text is read only if a row needs a value that the former output lacks.
        let mut narrow = parts(files, &narrow_reads(stage.follows()))?;
        narrow.push(known.clone());
        let mut lacks = false;
        for batch in Zip::open(&narrow)? {
            lacks = lacks || reuse.lacks(batch?, stage.follows()).map_err(of_stage)?;
        }

        let needed: Vec<Read> = reads
            .into_iter()
            .filter(|read| lacks || !is_spared(read.column))
            .collect();
        let mut inputs = parts(files, &needed)?;
        inputs.push(known);
        Ok(inputs)
    }

    /// Decides a corpus stage over all shards, and writes the missing files. The entries are by
    /// key.
    fn compute_corpus(
        &self,
        stage: &dyn CorpusStage,
        job: &Job,
        wanted: &[Expected],
        progress: &Progress,
    ) -> Result<BTreeMap<String, FileEntry>> {
        let rows = job.documents.files.iter().map(|file| file.rows);
        let own = job.files.iter().cloned().zip(rows).collect();
        let corpus = CorpusFiles::new(
            self.engine.clone(),
            own,
            self.earlier.shards()?,
            stage.follows(),
        );

        // The notes are shown first, so that they explain a refusal.
        let decision = stage.decide(&corpus).map_err(of_stage)?;
        for note in &decision.notes {
            progress.note(note);
        }
        if let Some(reason) = &decision.refused {
            return Err(Failure::new(Exit::No, reason.clone()).into());
        }

        // The stage's own files come first in `wanted`, one for each shard, so the place of such a
        // file is the number of its shard.
        let todo: Vec<(usize, &Expected)> = wanted
            .iter()
            .enumerate()
            .filter(|(_, file)| job.existing.get(&file.key).is_none())
            .collect();
        let entries = self.engine.for_each(&todo, |_, (at, file)| {
            interrupt::check()?;
            if file.table != stage.name() {
                return self.write_table(file, &decision, job.files.len());
            }
            let annotations = (decision.annotations)(*at).map_err(of_stage)?;
            self.write_annotations(
                job,
                *at,
                file,
                (corpus.firsts()[*at], &annotations),
                progress,
            )
        })?;

        Ok(entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect())
    }

    /// Writes a corpus stage's file for one shard. The annotations are spread over all rows of the
    /// shard, and a document without an annotation gets nulls. `first` is the shard's first
    /// document.
    fn write_annotations(
        &self,
        job: &Job,
        shard: usize,
        file: &Expected,
        (first, annotations): (u64, &RecordBatch),
        progress: &Progress,
    ) -> Result<FileEntry> {
        let mut output = Output::create(self, job, shard, file)?;
        let reads = narrow_reads(job.stage.follows());
        let docs = annotations.column(0).as_primitive::<UInt64Type>().values();

        let mut next = first;
        for batch in Zip::open(&parts(&job.files[shard], &reads)?)? {
            let batch = batch?;
            let rows = next..next + batch.num_rows() as u64;
            next = rows.end;

            // `docs` ascends, so this is a merge. A place is the row of an annotation, or null.
            // `at` is at least 1 once a document was found.
            let mut at = docs.partition_point(|doc| *doc < rows.start);
            let places: UInt64Array = rows
                .map(|doc| {
                    let found = docs.get(at) == Some(&doc);
                    at += usize::from(found);
                    found.then(|| at as u64 - 1)
                })
                .collect();

            // The first two columns of every stage's table are `doc_id` and `reached`.
            let mut columns: Vec<ArrayRef> = vec![batch.column(0).clone(), reached(&batch)?];
            for field in &tables::schema(job.stage.name()).fields()[2..] {
                let values = annotations
                    .column_by_name(field.name())
                    .context("a stage decides all its columns")?;
                columns.push(take(values, &places, None)?);
            }

            output.write(&RecordBatch::try_new(
                tables::schema(job.stage.name()),
                columns,
            )?)?;
        }
        output.finish(self, progress)
    }

    /// Writes a further table of a corpus stage and publishes its file.
    fn write_table(
        &self,
        file: &Expected,
        decision: &Decision,
        shards: usize,
    ) -> Result<FileEntry> {
        let rows = decision
            .tables
            .get(file.table.as_str())
            .with_context(|| format!("no rows for {}", file.table))?;

        let staged_path = self
            .run
            .staging()
            .join(format!("{}-{}", file.table, file.path));
        let mut writer = TableWriter::create(&staged_path, tables::schema(&file.table))?;
        match rows {
            FurtherRows::Whole(rows) => writer.write(rows)?,
            // In the order of the shards, and only the rows of one shard in memory.
            FurtherRows::PerShard(rows) => {
                for shard in 0..shards {
                    writer.write(&rows(shard).map_err(of_stage)?)?;
                }
            }
        }
        publish(self, file, writer.finish()?, None)
    }
}

/// The contents of a stage's commit: the entries of the `wanted` files. An entry is in `computed`
/// or in `existing`.
fn contents(
    stage: &dyn Stage,
    wanted: &[Expected],
    computed: &BTreeMap<String, FileEntry>,
    existing: &Existing,
) -> Result<Contents> {
    let mut contents = Contents::default();
    for file in wanted {
        let entry = computed
            .get(&file.key)
            .or(existing.get(&file.key))
            .context("every shard is computed by now")?
            .clone();

        // Files of further tables have a table of their own.
        if file.table == stage.name() {
            contents.files.push(entry);
        } else {
            contents
                .tables
                .entry(file.table.clone())
                .or_default()
                .push(entry);
        }
    }
    Ok(contents)
}

/// True if a commit consists of exactly the `wanted` files, and if those that exist have the
/// committed digests.
fn is_made_of(commit: &Commit, wanted: &[Expected], existing: &Existing) -> bool {
    let files = || commit.files.iter().chain(commit.tables.values().flatten());

    // A file that was made again has the same key, but it may have other bytes.
    files()
        .map(|file| &file.key)
        .eq(wanted.iter().map(|file| &file.key))
        && files().all(|file| {
            existing
                .get(&file.key)
                .is_some_and(|found| found.digest == file.digest)
        })
}

/// The column `reached` of a stage, for a batch of `doc_id` and the columns of
/// [`curate_stages::reached_reads`].
fn reached(batch: &RecordBatch) -> Result<ArrayRef> {
    let reached = batch.column(1).as_boolean();
    let Some(removed) = batch.columns().get(2) else {
        return Ok(batch.column(1).clone());
    };

    // What the followed stage removed does not reach this one.
    let open = arrow::compute::is_null(removed)?;
    Ok(std::sync::Arc::new(arrow::compute::and(reached, &open)?))
}

/// The file of a shard while it is written to staging. Its documents are counted as they pass.
struct Output<'a> {
    file: &'a Expected,
    writer: TableWriter,
    /// Length of each text that the stage sees, bytes, by row.
    bytes: Vec<u64>,
    /// Number of rows written so far.
    row: usize,
    counts: Counts,
    /// Documents and bytes that the followed stage kept in this shard.
    arrives: (u64, u64),
    /// True if the stage also works on documents that do not reach it.
    covers_all: bool,
    /// How removed documents are counted.
    removes: Removes,
}

impl<'a> Output<'a> {
    /// Creates the file in staging, and reads the lengths of the shard's texts.
    fn create(driver: &Driver, job: &Job, shard: usize, file: &'a Expected) -> Result<Self> {
        let staged: &Path = &driver
            .run
            .staging()
            .join(format!("{}-{}", file.table, file.path));

        let mut bytes = Vec::new();
        for batch in Zip::open(&parts(&job.files[shard], &[bytes_read(job.stage.name())])?)? {
            bytes.extend_from_slice(batch?.column(0).as_primitive::<UInt64Type>().values());
        }

        let before = job.followed.files[shard]
            .counts
            .as_ref()
            .context("a row-aligned file has counts")?;

        Ok(Output {
            file,
            writer: TableWriter::create(staged, tables::schema(&file.table))?,
            bytes,
            row: 0,
            counts: Counts::default(),
            arrives: (before.docs.kept, before.bytes.kept),
            covers_all: job.stage.covers_all(),
            removes: job.stage.spec().removes,
        })
    }

    /// Writes a batch, and counts its documents that reach the stage.
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let reached = batch
            .column_by_name("reached")
            .context("a row-aligned table has `reached`")?
            .as_boolean();
        let removed = batch
            .column_by_name("removed_by")
            .map(|column| column.as_string::<i32>());
        let edited = edited_bytes(batch);

        // With this check the index into `bytes` below is in range.
        ensure!(
            self.row + batch.num_rows() <= self.bytes.len(),
            "more rows came out than went in"
        );

        for row in (0..batch.num_rows()).filter(|&row| reached.value(row)) {
            let reason = removed
                .filter(|removed| removed.is_valid(row))
                .map(|removed| removed.value(row));
            count(&mut self.counts.docs, self.removes, reason, 1);
            let before = self.bytes[self.row + row];
            count(&mut self.counts.bytes, self.removes, reason, before);
            if let Some(after) = edited {
                edit(&mut self.counts.bytes, before, after.value(row));
            }
        }

        self.row += batch.num_rows();
        self.writer.write(batch)
    }

    /// Checks the counts and publishes the file.
    ///
    /// # Errors
    /// Exit 70 if documents or bytes are lost or doubled.
    fn finish(self, driver: &Driver, progress: &Progress) -> Result<FileEntry> {
        ensure!(
            self.row == self.bytes.len(),
            "{} rows came out, {} went in",
            self.row,
            self.bytes.len()
        );

        // Checked before the file gets its name, so that no miscounted file can be reused.
        let found = (self.counts.docs.arrived, self.counts.bytes.arrived);
        if found != self.arrives || !self.counts.is_conserved() {
            let message = format!(
                "{}: {} documents and {} bytes arrived, the stage before kept {} and {}",
                self.file.path, found.0, found.1, self.arrives.0, self.arrives.1
            );
            return Err(Failure::new(Exit::Broken, message).into());
        }

        // The log shows the work of the stage, which may be more than the documents that arrived.
        let (docs, bytes) = if self.covers_all {
            (self.row as u64, self.bytes.iter().sum())
        } else {
            found
        };
        let entry = publish(driver, self.file, self.writer.finish()?, Some(self.counts))?;
        progress.shard(&format!("part-{}", number(&entry.path)), docs, bytes);
        Ok(entry)
    }
}

/// The length of each text after the edits of a table, bytes. `None` if the table holds no edits.
pub fn edited_bytes(batch: &RecordBatch) -> Option<&UInt64Array> {
    batch.column_by_name("edits")?;
    Some(batch.column_by_name("bytes")?.as_primitive::<UInt64Type>())
}

/// Counts what edits took from a document that is in the tally already. `before` and `after` are
/// the length of its text in bytes or tokens. They are equal for a document that the stage removed.
pub fn edit(tally: &mut Tally, before: u64, after: u64) {
    // Added before subtracting, because `kept` may be 0 if the document was removed.
    tally.kept = tally.kept + after - before;
    tally.edited += before as i64 - after as i64;
}

/// Counts a document that reached a stage. `n` is 1, its bytes or its tokens. `removed_by` is
/// `None` if the stage kept the document, and `removes` says how a removed document is counted.
pub fn count(tally: &mut Tally, removes: Removes, removed_by: Option<&str>, n: u64) {
    tally.arrived += n;
    // A document that could not be processed counts as quarantined, whatever the stage removes.
    match (removed_by, removes) {
        (None, _) => tally.kept += n,
        (Some(reason), _) if reason.ends_with(".error") => tally.quarantined += n,
        (Some(_), Removes::Duplicates) => tally.duplicates += n,
        (Some(reason), Removes::Documents) => {
            *tally.removed.entry(reason.to_owned()).or_default() += n;
        }
    }
}

/// Gives a staged file its final name and writes its receipt.
///
/// # Errors
/// If the file or the receipt cannot be written.
pub fn publish(
    driver: &Driver,
    file: &Expected,
    staged: Staged,
    counts: Option<Counts>,
) -> Result<FileEntry> {
    let entry = FileEntry {
        path: file.path.clone(),
        key: file.key.clone(),
        parts: file.parts.clone(),
        rows: staged.rows,
        size: staged.size,
        digest: staged.digest,
        content: format!("{:032x}", staged.content),
        counts,
        unit: None,
    };

    // The receipt comes last, because it must not exist without its file.
    let path = driver.run.table(&file.table).join(&file.path);
    driver.run.publish(&staged.path, &path)?;
    driver.run.reading().trust(&path);
    driver.run.write_receipt(&file.table, &entry)?;
    Ok(entry)
}
