//! Raw files to the table `documents`: inputs resolved into units, units read into shards and
//! quarantine.
//!
//! A finished unit waits in `.curate/ingest/<unit key>/` until all are done, because only then are
//! part numbers known; publishing renames its files. An interrupted run finds finished units there
//! and does not read their files again.

mod clean;
mod date;
#[cfg(test)]
mod fuzz;
pub mod inputs;
mod readers;
mod record;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{
    ArrayRef, BinaryBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use curate_schemas::commit::{Counts, FileEntry, Input, Tally};
use curate_schemas::stages::documents::{Clean, Format, Source};
use curate_schemas::{Manifest, tables};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::writer::{Staged, TableWriter};
use curate_store::{durable, interrupt, key};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use inputs::{InputFile, Unit};
use record::{Damage, Item, Record};

/// Version of the stage `documents`: raised when its output changes.
pub const VERSION: u32 = 4;

const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;

/// What a unit became: recorded when it is finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitResult {
    /// Its key: 64 hex digits.
    pub key: String,
    /// Its files, with digests taken while they were read.
    pub inputs: Vec<Input>,
    /// What was seen of each file when it was read.
    pub seen: Vec<Seen>,
    /// Its shards, in order; `path` is the file's name in the unit's folder until it is published.
    pub shards: Vec<FileEntry>,
    /// Its quarantine file, if something could not be read.
    pub quarantine: Option<FileEntry>,
    /// Records read, kept and set aside.
    pub counts: Counts,
    /// The first thing that was set aside, for messages.
    pub first_damage: Option<String>,
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
            first_damage: None,
        }
    }
}

/// The parts of the key of a unit's shards that do not depend on the data.
pub fn config(manifest: &Manifest, source: &Source) -> String {
    let clean: Option<&Clean> = manifest.clean.as_ref();
    let fields = serde_json::json!({
        "source": source.name, "domain": source.domain, "text": source.text, "id": source.id, "url": source.url,
        "date": source.date, "clean": clean, "shard_size": manifest.run.shard_size, "max_record": manifest.run.max_record,
        "max_window": manifest.run.max_window, "max_pages": manifest.run.max_pages,
    });
    fields.to_string()
}

/// The key of a unit: what it was read from, and how.
pub fn unit_key(config: &str, unit: &Unit, inputs: &[Input]) -> String {
    let digests = inputs.iter().zip(&unit.files);
    let files: Vec<(&str, &str, Format)> = digests
        .map(|(input, file)| (input.path.as_str(), input.digest.as_str(), file.format))
        .collect();
    let files = serde_json::to_string(&files).expect("strings are JSON");
    key::digest(&["documents", &VERSION.to_string(), config, &files])
}

/// Reads a unit into a folder of its own below `folder`, and returns its key and what it became.
///
/// # Errors
/// If a file cannot be read from disk or changes meanwhile, or writing fails.
pub fn read_unit(unit: &Unit, manifest: &Manifest, folder: &Path) -> Result<UnitResult> {
    let source = &manifest.source[unit.source];
    durable::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let mut shards = Shards::new(source, manifest, folder);
    let mut inputs: Vec<Input> = Vec::new();
    for file in &unit.files {
        shards.start_file(file);
        let digest =
            readers::read_file(file, source, &manifest.run, &mut |item| shards.push(item))?;
        check_unchanged(file)?;
        let (source, path) = (source.name.clone(), file.relative.clone());
        inputs.push(Input {
            source,
            path,
            size: file.size,
            digest,
            unit: String::new(),
        });
    }
    let config = config(manifest, source);
    let key = unit_key(&config, unit, &inputs);
    inputs
        .iter_mut()
        .for_each(|input| input.unit.clone_from(&key));
    let seen = inputs
        .iter()
        .zip(&unit.files)
        .map(|(input, file)| Seen::new(file, &input.digest))
        .collect();
    shards.finish(key, inputs, seen, &config)
}

fn check_unchanged(file: &InputFile) -> Result<()> {
    let place = || format!("cannot read {}", file.path.display());
    let metadata = fs::metadata(&file.path).with_context(place)?;
    let modified = metadata
        .modified()?
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as i64);
    if metadata.len() != file.size || modified != file.modified {
        let message = format!("{} changed while it was read", file.path.display());
        return Err(Failure::new(Exit::Broken, message)
            .hint("run again when nothing writes to it")
            .into());
    }
    Ok(())
}

/// The identity of a document: xxh3-128 over source, own id, path and ordinal, each with its length
/// before it.
pub fn doc_id(source: &str, own_id: &str, path: &str, ordinal: u64) -> String {
    let mut hash = Xxh3::new();
    for part in [source, own_id, path] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(&ordinal.to_le_bytes());
    format!("{:032x}", hash.digest128())
}

/// Cuts records into shards: a shard ends when its text, with ids, urls and meta, reaches the shard
/// size.
struct Shards<'a> {
    source: &'a Source,
    clean: Option<&'a Clean>,
    shard_size: u64,
    folder: &'a Path,
    path: String,
    ordinal: u64,
    rows: Rows,
    writer: Option<TableWriter>,
    shard_bytes: u64,
    shard_counts: Counts,
    finished: Vec<(Staged, Counts)>,
    damaged: Option<(TableWriter, DamagedRows)>,
    quarantined: Counts,
    first_damage: Option<String>,
}

impl<'a> Shards<'a> {
    fn new(source: &'a Source, manifest: &'a Manifest, folder: &'a Path) -> Self {
        Shards {
            source,
            clean: manifest.clean.as_ref(),
            shard_size: manifest.run.shard_size,
            folder,
            path: String::new(),
            ordinal: 0,
            rows: Rows::default(),
            writer: None,
            shard_bytes: 0,
            shard_counts: Counts::default(),
            finished: Vec::new(),
            damaged: None,
            quarantined: Counts::default(),
            first_damage: None,
        }
    }

    fn start_file(&mut self, file: &InputFile) {
        self.path.clone_from(&file.relative);
        self.ordinal = 0;
    }

    fn push(&mut self, item: Item) -> Result<()> {
        match item {
            Ok(record) => self.push_record(record)?,
            Err(damage) => self.push_damage(damage)?,
        }
        self.ordinal += 1;
        Ok(())
    }

    fn push_record(&mut self, record: Record) -> Result<()> {
        let raw_bytes = record.text.len() as u64;
        let text = match self.clean {
            Some(steps) => clean::clean(&record.text, steps).into_owned(),
            None => record.text,
        };
        let bytes = text.len() as u64;
        let others = [&record.id, &record.url, &record.meta]
            .map(|field| field.as_ref().map_or(0, String::len));
        let row_bytes = text.len() + others.iter().sum::<usize>();
        count_kept(&mut self.shard_counts, raw_bytes, bytes);
        self.shard_bytes += row_bytes as u64;
        let own_id = record.id.as_deref().unwrap_or_default();
        let rows = &mut self.rows;
        rows.doc_id
            .append_value(doc_id(&self.source.name, own_id, &self.path, self.ordinal));
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
        } = damage;
        self.first_damage.get_or_insert_with(|| {
            format!("{}, record {}: {reason}: {detail}", self.path, self.ordinal)
        });
        count_quarantined(&mut self.quarantined, raw_bytes);
        if self.damaged.is_none() {
            let writer = TableWriter::create(
                &self.folder.join("quarantine.parquet"),
                tables::schema("quarantine"),
            )?;
            self.damaged = Some((writer, DamagedRows::default()));
        }
        let Some((writer, rows)) = &mut self.damaged else {
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
        rows.n += 1;
        if rows.n >= BATCH_ROWS || rows.bytes_held >= BATCH_BYTES {
            writer.write(&rows.take()?)?;
        }
        Ok(())
    }

    fn flush_rows(&mut self) -> Result<()> {
        interrupt::check()?;
        if self.rows.n == 0 {
            return Ok(());
        }
        if self.writer.is_none() {
            let path = self.folder.join(format!("{}.parquet", self.finished.len()));
            self.writer = Some(TableWriter::create(&path, tables::schema("documents"))?);
        }
        if let Some(writer) = &mut self.writer {
            writer.write(&self.rows.take()?)?;
        }
        Ok(())
    }

    fn end_shard(&mut self) -> Result<()> {
        self.flush_rows()?;
        if let Some(writer) = self.writer.take() {
            self.finished
                .push((writer.finish()?, std::mem::take(&mut self.shard_counts)));
        }
        self.shard_bytes = 0;
        Ok(())
    }

    fn finish(
        mut self,
        unit_key: String,
        inputs: Vec<Input>,
        seen: Vec<Seen>,
        config: &str,
    ) -> Result<UnitResult> {
        self.end_shard()?;
        let entry = |name: &str, number: usize, staged: Staged, counts: Option<Counts>| {
            let parts: BTreeMap<String, String> = [
                ("config".to_owned(), config.to_owned()),
                ("input".to_owned(), unit_key.clone()),
                ("shard".to_owned(), number.to_string()),
            ]
            .into();
            FileEntry {
                path: format!("{name}.parquet"),
                key: key::of_parts(table_of(name), VERSION, &parts),
                parts,
                rows: staged.rows,
                size: staged.size,
                digest: staged.digest,
                content: format!("{:032x}", staged.content),
                counts,
                unit: Some(unit_key.clone()),
            }
        };
        let mut counts = self.quarantined.clone();
        let mut shards = Vec::new();
        for (number, (staged, shard_counts)) in self.finished.into_iter().enumerate() {
            counts.add(&shard_counts);
            shards.push(entry(
                &number.to_string(),
                number,
                staged,
                Some(shard_counts),
            ));
        }
        let quarantine = match self.damaged {
            None => None,
            Some((mut writer, mut rows)) => {
                writer.write(&rows.take()?)?;
                Some(entry(
                    "quarantine",
                    0,
                    writer.finish()?,
                    Some(self.quarantined),
                ))
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
            first_damage: self.first_damage,
        })
    }
}

fn table_of(file: &str) -> &'static str {
    if file == "quarantine" {
        "quarantine"
    } else {
        "documents"
    }
}

fn count_kept(counts: &mut Counts, raw_bytes: u64, bytes: u64) {
    let Counts { docs, bytes: sizes } = counts;
    docs.arrived += 1;
    docs.kept += 1;
    sizes.arrived += raw_bytes;
    sizes.kept += bytes;
    sizes.edited += raw_bytes as i64 - bytes as i64;
}

fn count_quarantined(counts: &mut Counts, raw_bytes: u64) {
    let add = |tally: &mut Tally, n: u64| {
        tally.arrived += n;
        tally.quarantined += n;
    };
    add(&mut counts.docs, 1);
    add(&mut counts.bytes, raw_bytes);
}

#[derive(Default)]
struct Rows {
    n: usize,
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
}

impl Rows {
    fn take(&mut self) -> Result<RecordBatch> {
        (self.n, self.bytes_held) = (0, 0);
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
        ];
        Ok(RecordBatch::try_new(tables::schema("documents"), columns)?)
    }
}

#[derive(Default)]
struct DamagedRows {
    n: usize,
    bytes_held: usize,
    source: StringBuilder,
    path: StringBuilder,
    ordinal: UInt64Builder,
    offset: UInt64Builder,
    reason: StringBuilder,
    detail: StringBuilder,
    raw: BinaryBuilder,
    raw_bytes: UInt64Builder,
}

impl DamagedRows {
    fn take(&mut self) -> Result<RecordBatch> {
        (self.n, self.bytes_held) = (0, 0);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.source.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.ordinal.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.detail.finish()),
            Arc::new(self.raw.finish()),
            Arc::new(self.raw_bytes.finish()),
        ];
        Ok(RecordBatch::try_new(tables::schema("quarantine"), columns)?)
    }
}

/// Digests of input files that were read before, by absolute path: an unchanged path, size and
/// modification time is not read again. An index only: without it files are read once more.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Known(BTreeMap<String, Seen>);

/// What was seen of a file when it was read.
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
    /// The record of the run directory; empty if there is none.
    pub fn load(run: &RunDir) -> Known {
        fs::read(run.inputs())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Writes the record.
    pub fn save(&self, run: &RunDir) -> Result<()> {
        run.write_if_changed(&run.inputs(), &serde_json::to_vec(self)?)
    }

    /// The inputs of a unit, if all its files are known and unchanged; their units are not filled
    /// in.
    pub fn inputs(&self, unit: &Unit, source: &str) -> Option<Vec<Input>> {
        let known = |file: &InputFile| {
            let seen = self.0.get(file.path.to_string_lossy().as_ref())?;
            let (source, path, digest) = (
                source.to_owned(),
                file.relative.clone(),
                seen.digest.clone(),
            );
            let same = seen.size == file.size && seen.modified == file.modified;
            same.then(|| Input {
                source,
                path,
                size: file.size,
                digest,
                unit: String::new(),
            })
        };
        unit.files.iter().map(known).collect()
    }

    /// Remembers what was read.
    pub fn remember(&mut self, result: &UnitResult) {
        for seen in &result.seen {
            self.0.insert(seen.path.clone(), seen.clone());
        }
    }
}

/// Where a finished unit waits.
pub fn unit_folder(run: &RunDir, unit_key: &str) -> PathBuf {
    run.ingest().join(unit_key.get(..32).unwrap_or(unit_key))
}

#[cfg(test)]
mod tests {
    use super::*;

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
