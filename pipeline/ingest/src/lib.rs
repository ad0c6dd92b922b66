//! Reads raw files into the table `documents`. Inputs are resolved into units, and each unit is
//! read into shards and a quarantine file.
//!
//! A finished unit waits in `.curate/ingest/<unit key>/` until all units are finished, because only
//! then are the part numbers known. Publishing renames its files. An interrupted run finds the
//! finished units there and does not read their files again.

mod clean;
mod date;
#[cfg(test)]
mod fuzz;
pub mod inputs;
mod readers;
mod record;
mod rows;
mod search;
pub mod web;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{
    ArrayRef, BinaryBuilder, ListArray, ListBuilder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field};
use curate_schemas::commit::{Counts, FileEntry, Input, Skipped, Tally};
use curate_schemas::stages::documents::{Clean, DOCUMENTS, Format, Run, Source, Web};
use curate_schemas::{Manifest, tables};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::writer::{Staged, TableWriter};
use curate_store::{durable, interrupt, key, terminal};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use inputs::{InputFile, Unit};
use record::Repairs;

pub use record::{Damage, Entry, Item, Record};

/// The byte order mark, U+FEFF. In a text it is no character but a trace of how a file was saved.
const MARK: char = '\u{feff}';

/// A batch is written when it reaches this number of rows, or [`BATCH_BYTES`].
const BATCH_ROWS: usize = 1024;
/// A batch is written when its text, ids, urls and meta reach this size, bytes.
const BATCH_BYTES: usize = 1 << 20;

/// The outcome of a unit. It is recorded when the unit is finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitResult {
    /// Key of the unit, 64 hex digits.
    pub key: String,
    /// Files of the unit, with digests that were taken while the files were read.
    pub inputs: Vec<Input>,
    /// Size, modification time and digest of each file when it was read.
    pub seen: Vec<Seen>,
    /// Shards of the unit, in order. Until a shard is published, its `path` is the name of the file
    /// in the folder of the unit.
    pub shards: Vec<FileEntry>,
    /// The quarantine file, or `None` if every record could be read.
    pub quarantine: Option<FileEntry>,
    /// Records that were read, kept and quarantined.
    pub counts: Counts,
}

impl UnitResult {
    /// A unit without files.
    pub fn empty(key: &str) -> Self {
        UnitResult {
            key: key.to_owned(),
            inputs: Vec::new(),
            seen: Vec::new(),
            shards: Vec::new(),
            quarantine: None,
            counts: Counts::default(),
        }
    }
}

/// The settings that decide how a source is read, as a JSON object. They are the part of a key that
/// does not depend on the data.
pub fn config(manifest: &Manifest, source: &Source) -> String {
    let clean: Option<&Clean> = manifest.clean.as_ref();
    let mut fields = serde_json::json!({
        "source": source.name,
        "domain": source.domain,
        "text": source.text,
        "id": source.id,
        "url": source.url,
        "date": source.date,
        "clean": clean,
        "shard_size": manifest.run.shard_size,
        "max_record": manifest.run.max_record,
        "max_window": manifest.run.max_window,
        "max_pages": manifest.run.max_pages,
    });
    if source.web != Web::default() {
        fields["web"] = serde_json::json!(source.web);
    }
    fields.to_string()
}

/// Version of what is read of pages of the web: the texts of the extractors, the fields of `meta`,
/// and the list of public suffixes. It is a part of the keys of units with such files only.
const PAGES_VERSION: u32 = 1;

/// The key of a unit, 64 hex digits. It covers the settings and the path, digest and format of each
/// file.
pub fn unit_key(config: &str, unit: &Unit, inputs: &[Input]) -> String {
    let files: Vec<(&str, &str, Format)> = inputs
        .iter()
        .zip(&unit.files)
        .map(|(input, file)| (input.path.as_str(), input.digest.as_str(), file.format))
        .collect();
    let files = serde_json::to_string(&files).expect("strings are JSON");
    let version = DOCUMENTS.version.to_string();
    let mut parts = vec!["documents", &version, config, &files];

    let pages = format!("pages {PAGES_VERSION}");
    let is_page = |file: &InputFile| matches!(file.format, Format::Warc | Format::Html);
    if unit.files.iter().any(is_page) {
        parts.push(&pages);
    }
    key::digest(&parts)
}

/// Reads a unit and writes its shards and its quarantine file into `folder`.
///
/// # Errors
/// If a file cannot be read from disk, if a file changes while it is read, or if writing fails.
/// Damage in a file is not an error.
pub fn read_unit(unit: &Unit, manifest: &Manifest, folder: &Path) -> Result<UnitResult> {
    let source = &manifest.source[unit.source];
    durable::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let mut shards = Shards::new(source, manifest, folder);
    let mut inputs: Vec<Input> = Vec::new();

    for file in &unit.files {
        shards.start_file(file);
        let digest =
            readers::read_file(file, source, &manifest.run, &mut |entry| shards.push(entry))?;
        // The digest must be that of the bytes that the records came from.
        check_unchanged(file)?;
        inputs.push(Input {
            source: source.name.clone(),
            path: file.relative.clone(),
            size: file.size,
            digest,
            unit: String::new(),
            skipped: std::mem::take(&mut shards.skipped),
        });
    }

    // The key covers the digests, so it is known only now.
    let config = config(manifest, source);
    let key = unit_key(&config, unit, &inputs);
    for input in &mut inputs {
        input.unit.clone_from(&key);
    }
    let seen = inputs
        .iter()
        .zip(&unit.files)
        .map(|(input, file)| Seen::new(file, &input.digest))
        .collect();
    shards.finish(key, inputs, seen, &config)
}

/// Reads one file that is in no run, such as a page that a user looks at.
///
/// # Errors
/// Exit 2 if the file is missing or of unknown format. Else as for [`read_unit`].
pub fn read_alone(
    path: &Path,
    source: &Source,
    limits: &Run,
    take: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let file = inputs::alone(path, source)?;
    readers::read_file(&file, source, limits, take)?;
    Ok(())
}

/// Reads the first entries of a file, until `take` asks to stop. A source whose `text` is empty names
/// no text field: the text of each record is empty, and `meta` holds all of its fields. No manifest
/// can say so, because a field has a name.
///
/// # Errors
/// If the file cannot be read from disk, or if `take` fails. Damage in a file is not an error.
pub fn sample_file(
    file: &InputFile,
    source: &Source,
    limits: &Run,
    take: &mut dyn FnMut(Entry) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut is_enough = false;
    let read = readers::read_entries(file, source, limits, &mut |entry| {
        is_enough = take(entry)?.is_break();
        // A reader ends only at an error of its sink.
        ensure!(!is_enough, "enough was read");
        Ok(())
    });
    if is_enough {
        return Ok(());
    }
    read.map(drop)
}

/// True if a value of a field can be read as a date.
pub fn is_date(value: &str) -> bool {
    date::parse(value).is_some()
}

/// Compares the size and the modification time of a file with those before it was read.
fn check_unchanged(file: &InputFile) -> Result<()> {
    let metadata =
        fs::metadata(&file.path).with_context(|| format!("cannot read {}", file.path.display()))?;
    // A time before 1970 counts as 0, as it did when the file was found.
    let modified = metadata
        .modified()?
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as i64);

    if metadata.len() != file.size || modified != file.modified {
        let message = format!("{} changed while it was read", file.path.display());
        return Err(Failure::new(Exit::Broken, message)
            .hint("run again when no process writes to the file")
            .into());
    }
    Ok(())
}

/// The identity of a document, 32 hex digits. It is the xxh3-128 of source, own id and path, each
/// with its length before it, and of the ordinal.
pub fn doc_id(source: &str, own_id: &str, path: &str, ordinal: u64) -> String {
    let mut hash = Xxh3::new();
    for part in [source, own_id, path] {
        // The length keeps the pairs ("a", "bc") and ("ab", "c") apart.
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(&ordinal.to_le_bytes());
    format!("{:032x}", hash.digest128())
}

/// Cuts records into shards. A shard ends when its text, ids, urls and meta reach the shard size.
struct Shards<'a> {
    source: &'a Source,
    clean: Option<&'a Clean>,
    /// Size at which a shard ends, bytes before compression.
    shard_size: u64,
    /// The folder that the files are written into.
    folder: &'a Path,
    /// Relative path of the input file that is being read.
    path: String,
    /// Format of the input file that is being read.
    format: Format,
    /// Number of records of the input file before the next one, damaged ones included.
    ordinal: u64,
    /// Rows of the open shard that are not written yet.
    rows: RowBuffer,
    /// The file of the open shard, or `None` if none of its rows is written yet.
    writer: Option<TableWriter>,
    /// Size of the open shard so far, bytes.
    shard_bytes: u64,
    shard_counts: Counts,
    finished: Vec<(Staged, Counts)>,
    /// The quarantine file and its unwritten rows, or `None` before the first damage.
    damaged: Option<(TableWriter, DamagedRows)>,
    quarantined: Counts,
    /// Records of the input file that are no documents, by reason.
    skipped: BTreeMap<String, Skipped>,
}

impl<'a> Shards<'a> {
    fn new(source: &'a Source, manifest: &'a Manifest, folder: &'a Path) -> Self {
        Shards {
            source,
            clean: manifest.clean.as_ref(),
            shard_size: manifest.run.shard_size,
            folder,
            path: String::new(),
            format: Format::default(),
            ordinal: 0,
            rows: RowBuffer::default(),
            writer: None,
            shard_bytes: 0,
            shard_counts: Counts::default(),
            finished: Vec::new(),
            damaged: None,
            quarantined: Counts::default(),
            skipped: BTreeMap::new(),
        }
    }

    /// Starts the next input file of the unit. Its records are numbered from 0.
    fn start_file(&mut self, file: &InputFile) {
        self.path.clone_from(&file.relative);
        self.format = file.format;
        self.ordinal = 0;
    }

    /// Adds the next entry of the input file.
    fn push(&mut self, entry: Entry) -> Result<()> {
        // A damaged or skipped record takes a number too, so that the records behind it keep their
        // ids when it is repaired or wanted.
        match entry {
            Entry::Item(Ok(record)) => {
                self.push_record(record)?;
                self.ordinal += 1;
            }
            Entry::Item(Err(damage)) => {
                let records = damage.records;
                self.push_damage(damage)?;
                self.ordinal += records;
            }
            Entry::Skipped { reason, bytes } => {
                // A long stretch of such records must not keep a run from stopping.
                interrupt::check()?;
                let skipped = self.skipped.entry(reason.to_owned()).or_default();
                skipped.records += 1;
                skipped.bytes += bytes;
                self.ordinal += 1;
            }
        }
        Ok(())
    }

    fn push_record(&mut self, mut record: Record) -> Result<()> {
        let raw_bytes = record.text.len() as u64;
        if let Some(text) = without_marks(&record.text, self.format) {
            record.text = text;
            record.repairs.byte_order_mark = true;
        }
        // A list of addresses would miss a URL behind a mark.
        for field in [&mut record.id, &mut record.url] {
            let bare = field.as_deref();
            if let Some(bare) = bare.and_then(|value| without_marks(value, self.format)) {
                *field = Some(bare);
                record.repairs.byte_order_mark = true;
            }
        }
        let text = match self.clean {
            Some(steps) => clean::clean(&record.text, steps).into_owned(),
            None => record.text,
        };
        let bytes = text.len() as u64;

        // Ids, urls and meta count too, because they can be longer than the text.
        let others = [&record.id, &record.url, &record.meta]
            .map(|field| field.as_ref().map_or(0, String::len));
        let row_bytes = text.len() + others.iter().sum::<usize>();
        count_kept(&mut self.shard_counts, raw_bytes, bytes, record.repairs);
        self.shard_bytes += row_bytes as u64;

        let own_id = record.id.as_deref().unwrap_or_default();
        let doc_id = doc_id(&self.source.name, own_id, &self.path, self.ordinal);
        let rows = &mut self.rows;
        rows.doc_id.append_value(doc_id);
        rows.source.append_value(&self.source.name);
        rows.source_id.append_option(record.id);
        rows.domain.append_value(&self.source.domain);
        rows.path.append_value(&self.path);
        rows.ordinal.append_value(self.ordinal);
        rows.url.append_option(record.url);
        rows.date.append_option(record.date);
        rows.raw_bytes.append_value(raw_bytes);
        rows.bytes.append_value(bytes);
        rows.chars.append_value(text.chars().count() as u64);
        rows.meta.append_option(record.meta);
        let mut is_repaired = false;
        for kind in record.repairs.kinds() {
            rows.repaired.values().append_value(kind);
            is_repaired = true;
        }
        rows.repaired.append(is_repaired);
        rows.bytes_held += row_bytes;
        rows.text.append_value(text);
        rows.n += 1;

        if rows.n >= BATCH_ROWS || rows.bytes_held >= BATCH_BYTES {
            self.flush_rows()?;
        }
        if self.shard_bytes >= self.shard_size {
            self.end_shard()?;
        }
        Ok(())
    }

    fn push_damage(&mut self, damage: Damage) -> Result<()> {
        let Damage {
            offset,
            reason,
            detail,
            raw,
            raw_bytes,
            records,
        } = damage;
        count_quarantined(&mut self.quarantined, records, raw_bytes);
        // A file that is lost as a whole has a message of its own.
        if reason == readers::OTHER_FORMAT {
            let (source, path) = (&self.source.name, &self.path);
            terminal::say(&format!(
                "curate: warning: source \"{source}\": {path}: {detail}"
            ));
        }

        // The file is created at the first damage: a unit without damage has no quarantine file.
        if self.damaged.is_none() {
            let writer = TableWriter::create(
                &self.folder.join("quarantine.parquet"),
                tables::schema("quarantine"),
            )?;
            self.damaged = Some((writer, DamagedRows::default()));
        }
        let Some((writer, rows)) = &mut self.damaged else {
            // Not reached: `damaged` was filled above.
            return Ok(());
        };

        rows.source.append_value(&self.source.name);
        rows.path.append_value(&self.path);
        rows.ordinal.append_value(self.ordinal);
        rows.offset.append_value(offset);
        rows.reason.append_value(reason);
        rows.bytes_held += detail.len() + raw.len();
        rows.detail.append_value(detail);
        rows.raw.append_value(raw);
        rows.raw_bytes.append_value(raw_bytes);
        rows.records.append_value(records);
        rows.n += 1;

        if rows.n >= BATCH_ROWS || rows.bytes_held >= BATCH_BYTES {
            writer.write(&rows.take()?)?;
        }
        Ok(())
    }

    /// Writes the rows that are held.
    fn flush_rows(&mut self) -> Result<()> {
        // A signal stops a run here, also within a large file.
        interrupt::check()?;
        if self.rows.n == 0 {
            return Ok(());
        }

        // The file is created with its first rows, so that no shard is empty. Its number is its
        // place in the unit, because part numbers are not known yet.
        if self.writer.is_none() {
            let path = self.folder.join(format!("{}.parquet", self.finished.len()));
            self.writer = Some(TableWriter::create(&path, tables::schema("documents"))?);
        }
        if let Some(writer) = &mut self.writer {
            writer.write(&self.rows.take()?)?;
        }
        Ok(())
    }

    /// Finishes the file of the open shard, if the shard has rows.
    fn end_shard(&mut self) -> Result<()> {
        self.flush_rows()?;
        if let Some(writer) = self.writer.take() {
            self.finished
                .push((writer.finish()?, std::mem::take(&mut self.shard_counts)));
        }
        self.shard_bytes = 0;
        Ok(())
    }

    /// Ends the last shard and the quarantine file, and describes the files.
    fn finish(
        mut self,
        unit_key: String,
        inputs: Vec<Input>,
        seen: Vec<Seen>,
        config: &str,
    ) -> Result<UnitResult> {
        self.end_shard()?;

        let mut counts = self.quarantined.clone();
        add_skipped(&mut counts, &inputs);
        let mut shards = Vec::new();
        for (number, (staged, shard_counts)) in self.finished.into_iter().enumerate() {
            counts.add(&shard_counts);
            let name = number.to_string();
            let entry = file_entry(&name, number, staged, shard_counts, &unit_key, config);
            shards.push(entry);
        }

        // Damage of all input files is in one file, whichever shards their records are in.
        let quarantine = match self.damaged {
            None => None,
            Some((mut writer, mut rows)) => {
                writer.write(&rows.take()?)?;
                let (name, staged) = ("quarantine", writer.finish()?);
                let entry = file_entry(name, 0, staged, self.quarantined, &unit_key, config);
                Some(entry)
            }
        };

        ensure!(
            counts.is_conserved(),
            "records are lost or doubled while reading {}",
            self.path
        );
        Ok(UnitResult {
            key: unit_key,
            inputs,
            seen,
            shards,
            quarantine,
            counts,
        })
    }
}

/// The entry of a file that is written. `name` is the name of the file without its ending, and
/// `number` is the place of a shard in its unit, 0 for the quarantine file.
fn file_entry(
    name: &str,
    number: usize,
    staged: Staged,
    counts: Counts,
    unit_key: &str,
    config: &str,
) -> FileEntry {
    // The bytes of a file follow from these parts and from the version.
    let parts: BTreeMap<String, String> = [
        ("config".to_owned(), config.to_owned()),
        ("input".to_owned(), unit_key.to_owned()),
        ("shard".to_owned(), number.to_string()),
    ]
    .into();

    FileEntry {
        path: format!("{name}.parquet"),
        key: key::of_parts(table_of(name), DOCUMENTS.version, &parts),
        parts,
        rows: staged.rows,
        size: staged.size,
        digest: staged.digest,
        content: format!("{:032x}", staged.content),
        counts: Some(counts),
        unit: Some(unit_key.to_owned()),
    }
}

/// The table that a file of a unit belongs to.
fn table_of(file: &str) -> &'static str {
    if file == "quarantine" {
        "quarantine"
    } else {
        "documents"
    }
}

/// The text without byte order marks at its start, or `None` if it has none. Text files are joined
/// as they are, so a mark at the start of a line of such a file is removed, too.
fn without_marks(text: &str, format: Format) -> Option<String> {
    let is_joined = format == Format::Txt && text.contains("\n\u{feff}");
    if is_joined {
        let lines = text.split('\n').map(|line| line.trim_start_matches(MARK));
        return Some(lines.collect::<Vec<_>>().join("\n"));
    }
    text.strip_prefix(MARK)
        .map(|rest| rest.trim_start_matches(MARK).to_owned())
}

/// Counts a record that is kept. `raw_bytes` and `bytes` are the sizes of its text before and after
/// marks are removed and `[clean]` is applied.
fn count_kept(counts: &mut Counts, raw_bytes: u64, bytes: u64, repairs: Repairs) {
    for kind in repairs.kinds() {
        *counts.repaired.entry(kind.to_owned()).or_default() += 1;
    }

    let Counts {
        docs, bytes: sizes, ..
    } = counts;
    docs.arrived += 1;
    docs.kept += 1;
    sizes.arrived += raw_bytes;
    sizes.kept += bytes;
    // The difference is signed, because NFC can make a text longer.
    sizes.edited += raw_bytes as i64 - bytes as i64;
}

/// Adds the records of input files that are no documents.
pub fn add_skipped(counts: &mut Counts, inputs: &[Input]) {
    for (reason, skipped) in inputs.iter().flat_map(|input| &input.skipped) {
        counts.skip(reason, skipped.records, skipped.bytes);
    }
}

/// Counts damaged records that have `raw_bytes` bytes together.
fn count_quarantined(counts: &mut Counts, records: u64, raw_bytes: u64) {
    let add = |tally: &mut Tally, n: u64| {
        tally.arrived += n;
        tally.quarantined += n;
    };
    add(&mut counts.docs, records);
    add(&mut counts.bytes, raw_bytes);
}

/// Rows of `documents` that are not written yet.
#[derive(Default)]
struct RowBuffer {
    n: usize,
    /// Bytes of their texts, ids, urls and meta.
    bytes_held: usize,
    doc_id: StringBuilder,
    source: StringBuilder,
    source_id: StringBuilder,
    domain: StringBuilder,
    path: StringBuilder,
    ordinal: UInt64Builder,
    url: StringBuilder,
    date: TimestampMicrosecondBuilder,
    text: StringBuilder,
    raw_bytes: UInt64Builder,
    bytes: UInt64Builder,
    chars: UInt64Builder,
    meta: StringBuilder,
    repaired: ListBuilder<StringBuilder>,
}

impl RowBuffer {
    /// The rows as a batch. None are left.
    fn take(&mut self) -> Result<RecordBatch> {
        (self.n, self.bytes_held) = (0, 0);
        // A builder makes lists whose entries can be null, and the table has none.
        let item = Arc::new(Field::new("item", DataType::Utf8, false));
        let (_, ends, kinds, nulls) = self.repaired.finish().into_parts();
        let repaired = ListArray::try_new(item, ends, kinds, nulls)?;

        // In the order of the declaration of the table. `try_new` compares the types.
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.doc_id.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.source_id.finish()),
            Arc::new(self.domain.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.ordinal.finish()),
            Arc::new(self.url.finish()),
            Arc::new(self.date.finish().with_timezone("UTC")),
            Arc::new(self.text.finish()),
            Arc::new(self.raw_bytes.finish()),
            Arc::new(self.bytes.finish()),
            Arc::new(self.chars.finish()),
            Arc::new(self.meta.finish()),
            Arc::new(repaired),
        ];
        Ok(RecordBatch::try_new(tables::schema("documents"), columns)?)
    }
}

/// Rows of `quarantine` that are not written yet.
#[derive(Default)]
struct DamagedRows {
    n: usize,
    /// Bytes of their details and raw bytes.
    bytes_held: usize,
    source: StringBuilder,
    path: StringBuilder,
    ordinal: UInt64Builder,
    offset: UInt64Builder,
    reason: StringBuilder,
    detail: StringBuilder,
    raw: BinaryBuilder,
    raw_bytes: UInt64Builder,
    records: UInt64Builder,
}

impl DamagedRows {
    /// The rows as a batch. None are left.
    fn take(&mut self) -> Result<RecordBatch> {
        (self.n, self.bytes_held) = (0, 0);
        // In the order of the declaration, as above.
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.source.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.ordinal.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.detail.finish()),
            Arc::new(self.raw.finish()),
            Arc::new(self.raw_bytes.finish()),
            Arc::new(self.records.finish()),
        ];
        Ok(RecordBatch::try_new(tables::schema("quarantine"), columns)?)
    }
}

/// Digests of the input files that were read before, by absolute path. A file with the same path,
/// size and modification time is not read again. This is only an index: if it is lost, the files
/// are read once more.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Known(BTreeMap<String, Seen>);

/// Size, modification time and digest of a file when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    path: String,
    size: u64,
    modified: i64,
    digest: String,
}

impl Seen {
    fn new(file: &InputFile, digest: &str) -> Seen {
        let path = file.path.to_string_lossy().into_owned();
        Seen {
            path,
            size: file.size,
            modified: file.modified,
            digest: digest.to_owned(),
        }
    }
}

impl Known {
    /// Reads the index from the run directory. It is empty if the file is absent or damaged.
    pub fn load(run: &RunDir) -> Known {
        fs::read(run.inputs())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Writes the index to the run directory.
    ///
    /// # Errors
    /// If writing fails.
    pub fn save(&self, run: &RunDir) -> Result<()> {
        run.write_if_changed(&run.inputs(), &serde_json::to_vec(self)?)
    }

    /// The inputs of a unit, with an empty `unit`. `None` if one of its files is unknown or has
    /// changed.
    pub fn inputs(&self, unit: &Unit, source: &str) -> Option<Vec<Input>> {
        let files = unit.files.iter();
        files.map(|file| self.input(file, source)).collect()
    }

    /// The input of a file, or `None` if the file is unknown or has changed.
    fn input(&self, file: &InputFile, source: &str) -> Option<Input> {
        let seen = self.0.get(file.path.to_string_lossy().as_ref())?;
        let is_same = seen.size == file.size && seen.modified == file.modified;
        is_same.then(|| Input {
            source: source.to_owned(),
            path: file.relative.clone(),
            size: file.size,
            digest: seen.digest.clone(),
            unit: String::new(),
            skipped: BTreeMap::new(),
        })
    }

    /// Adds the files of a unit that was read.
    pub fn remember(&mut self, result: &UnitResult) {
        for seen in &result.seen {
            self.0.insert(seen.path.clone(), seen.clone());
        }
    }
}

/// The folder where a finished unit waits to be published.
pub fn unit_folder(run: &RunDir, unit_key: &str) -> PathBuf {
    run.ingest().join(unit_key.get(..32).unwrap_or(unit_key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_from_the_start_of_a_text_and_stay_inside() {
        let [json, text] = [Format::Jsonl, Format::Txt];
        let of = |text: &str, format| without_marks(text, format);
        assert_eq!(
            of("\u{feff}\u{feff}a\u{feff}b", json).as_deref(),
            Some("a\u{feff}b")
        );
        assert_eq!(of("a\n\u{feff}b", json), None);
        assert_eq!(
            of("\u{feff}a\r\n\u{feff}b c\u{feff}\n", text).as_deref(),
            Some("a\r\nb c\u{feff}\n")
        );
        assert_eq!(of("\u{feff}", text).as_deref(), Some(""));
        assert_eq!(of("plain \u{feff}\n", text), None);
    }

    #[test]
    fn ids_depend_on_every_part_and_on_where_parts_end() {
        let id = doc_id("web", "7", "a.jsonl", 3);
        assert_eq!(id.len(), 32);
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        for other in [
            doc_id("web", "7a", ".jsonl", 3),
            doc_id("web7", "", "a.jsonl", 3),
            doc_id("web", "7", "a.jsonl", 4),
        ] {
            assert_ne!(id, other);
        }
    }
}
