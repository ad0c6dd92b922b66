//! Buckets, mixes and mixtures: the pool gathered from narrow columns, epochs and draws decided, text exported.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{Float64Type, UInt32Type, UInt64Type};
use curate_schemas::commit::FileEntry;
use curate_schemas::manifest::Mixture;
use curate_schemas::tables;
use curate_stages::edits::TextColumns;
use curate_stages::mix::{self, Bucket, Document};
use curate_stages::read;

use super::expect::{Existing, Expected, Keys, corpus_digest};
use super::shards::publish;
use super::{Contents, Driver};
use crate::engine::parts;
use crate::error::{Exit, Failure};
use crate::export;
use crate::interrupt;
use crate::key;
use crate::progress::Progress;
use crate::run_dir::{RunDir, ShardFiles};
use crate::writer::TableWriter;
use crate::zip::{Part, Zip};

/// Version of bucketing, mixing and exporting: raised when their output changes.
const VERSION: u32 = 4;

/// The documents that `quality` kept, in the documents' order.
#[derive(Debug, Default)]
pub struct Pooled {
    /// The documents.
    pub documents: Vec<Document>,
    /// (source, domain) by number.
    pub origins: Vec<(String, String)>,
}

/// Draws of each document of a pool, in its order.
pub type Draws = Vec<u32>;

/// Reads the pool: about 120 bytes of memory a document.
///
/// # Errors
/// If a file cannot be read.
pub fn gather_pool(shards: &[ShardFiles]) -> Result<Pooled> {
    let reads = [
        read("documents", "doc_id"),
        read("documents", "source"),
        read("documents", "domain"),
        read("paragraph_dedup", "bytes"),
        read("tokens", "tokens"),
        read("quality", "reached"),
        read("quality", "removed_by"),
        read("quality", "q"),
    ];
    let mut pool = Pooled::default();
    let mut numbers: BTreeMap<(String, String), u32> = BTreeMap::new();
    for (shard, files) in shards.iter().enumerate() {
        let mut doc = (shard as u64) << 32;
        for batch in Zip::open(&parts(files, &reads)?)? {
            let batch = batch?;
            let column = |name: &str| batch.column_by_name(name).with_context(|| format!("{name} was not read"));
            let (ids, sources) = (column("doc_id")?.as_string::<i32>(), column("source")?.as_string::<i32>());
            let domains = column("domain")?.as_string::<i32>();
            let bytes = column("bytes")?.as_primitive::<UInt64Type>();
            let tokens = column("tokens")?.as_primitive::<UInt64Type>();
            let reached = column("reached")?.as_boolean();
            let removed = column("removed_by")?;
            let quality = column("q")?.as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                doc += 1;
                if !reached.value(row) || removed.is_valid(row) {
                    continue;
                }
                let origin = (sources.value(row).to_owned(), domains.value(row).to_owned());
                let next = numbers.len() as u32;
                let origin = *numbers.entry(origin).or_insert(next);
                pool.documents.push(Document {
                    doc: doc - 1,
                    doc_id: ids.value(row).to_owned(),
                    origin,
                    tokens: tokens.value(row),
                    bytes: bytes.value(row),
                    q: quality.value(row),
                });
            }
        }
    }
    // Numbered by name, not by first appearance, so that shard layout has no say.
    let order: BTreeMap<u32, u32> =
        numbers.values().enumerate().map(|(sorted, &first)| (first, sorted as u32)).collect();
    for document in &mut pool.documents {
        document.origin = order[&document.origin];
    }
    pool.origins = numbers.into_keys().collect();
    Ok(pool)
}

/// The draws that a committed mix holds, in the pool's order.
///
/// # Errors
/// If the file cannot be read or names a document that is not in the pool.
pub fn read_draws(run: &RunDir, name: &str, pool: &Pooled) -> Result<Option<Draws>> {
    let folder = format!("mix/{name}");
    let Some(commit) = run.commit(&folder)? else {
        return Ok(None);
    };
    let mut draws = vec![0; pool.documents.len()];
    let mut at = 0;
    for file in &commit.files {
        let columns = ["doc_id", "draws"].map(|column| (column.to_owned(), column.to_owned())).to_vec();
        for batch in Zip::open(&[Part { path: run.table(&folder).join(&file.path), columns }])? {
            let batch = batch?;
            let counts = batch.column(1).as_primitive::<UInt32Type>();
            for (doc_id, count) in batch.column(0).as_string::<i32>().iter().zip(counts.values()) {
                // Both are in the documents' order, so this is a merge.
                while at < draws.len() && Some(pool.documents[at].doc_id.as_str()) != doc_id {
                    at += 1;
                }
                ensure!(at < draws.len(), "mix/{name} names a document that is not in the pool: {doc_id:?}");
                draws[at] = *count;
            }
        }
    }
    Ok(Some(draws))
}

/// The files of buckets, of a mix and of its mixture's first part, whose key stands for all parts.
///
/// # Errors
/// If a stage has not run.
pub fn mixture_expected(table: &str, mixture: Option<&Mixture>, seed: u64, keys: &Keys) -> Result<Expected> {
    let corpus = corpus_digest(&["documents", "signals", "tokens", "quality"], keys)?;
    let mut parts: BTreeMap<String, String> = [("corpus".to_owned(), corpus)].into();
    if let Some(mixture) = mixture {
        let mut config = serde_json::json!({
            "name": mixture.name, "tokens": mixture.tokens, "max_epochs": mixture.max_epochs, "seed": seed,
        });
        if table.starts_with("mixture/") {
            config["part_size"] = mixture.part_size.into();
        }
        parts.insert("config".to_owned(), config.to_string());
    }
    let key = key::of_parts(table, VERSION, &parts);
    Ok(Expected { table: table.to_owned(), path: format!("part-00000-{}.parquet", key::short(&key)), key, parts })
}

impl Driver {
    /// Brings buckets, mixes and mixtures up to date; says for each whether anything was computed.
    pub(super) fn run_mixtures(&self) -> Result<Vec<(String, bool)>> {
        let keys = self.keys()?;
        let seed = self.manifest.run.seed;
        let mut wanted = vec![(mixture_expected("buckets", None, seed, &keys)?, None)];
        for mixture in &self.manifest.mixture {
            for folder in ["mix", "mixture"] {
                let table = format!("{folder}/{}", mixture.name);
                wanted.push((mixture_expected(&table, Some(mixture), seed, &keys)?, Some(mixture)));
            }
        }
        let is_current = |file: &Expected| -> Result<bool> {
            let Some(commit) = self.run.commit(&file.table)? else {
                return Ok(false);
            };
            let existing = Existing::load(&self.run, &file.table, &[])?;
            let all_there = commit.files.iter().all(|file| existing.get(&file.key).is_some());
            Ok(all_there && commit.files.first().is_some_and(|first| first.key == file.key))
        };
        // Mixtures that the manifest no longer asks for are no part of the run; their files stay.
        for folder in ["mix", "mixture"] {
            for name in self.run.subfolders(folder)? {
                if wanted.iter().all(|(file, _)| file.table != name) {
                    self.run.retire(&name)?;
                }
            }
        }
        let mut pool = None;
        let mut outcome = Vec::new();
        for (file, mixture) in wanted {
            interrupt::check()?;
            let cached = is_current(&file)?;
            if !cached {
                let pool = match &mut pool {
                    Some(pool) => pool,
                    none => none.insert(self.gather_buckets()?),
                };
                self.compute_mixture_table(&file, mixture, &pool.0, &pool.1)?;
            }
            outcome.push((file.table, !cached));
        }
        Ok(outcome)
    }

    fn gather_buckets(&self) -> Result<(Pooled, Vec<Bucket>)> {
        let pool = gather_pool(&self.run.shard_files()?)?;
        let buckets = mix::buckets(&pool.documents);
        Ok((pool, buckets))
    }

    fn compute_mixture_table(
        &self,
        file: &Expected,
        mixture: Option<&Mixture>,
        pool: &Pooled,
        buckets: &[Bucket],
    ) -> Result<()> {
        let progress = Progress::start(&file.table, 1);
        let files = match (mixture, file.table.starts_with("mix/")) {
            (None, _) => vec![self.write_rows("buckets", file, &bucket_rows(pool, buckets)?)?],
            (Some(mixture), true) => {
                let draws = self.draw(mixture, pool, buckets)?;
                vec![self.write_rows("mix", file, &mix_rows(pool, &draws)?)?]
            }
            (Some(mixture), false) => {
                let draws = read_draws(&self.run, &mixture.name, pool)?.context("a mixture follows its mix")?;
                self.export_mixture(mixture, file, pool, &draws)?
            }
        };
        let rows = files.iter().map(|file| file.rows).sum();
        progress.shard("committed", rows, 0);
        self.commit(&file.table, VERSION, Contents { files, ..Contents::default() })
    }

    fn draw(&self, mixture: &Mixture, pool: &Pooled, buckets: &[Bucket]) -> Result<Draws> {
        let epochs = mix::epochs(buckets, mixture.tokens, mixture.max_epochs).map_err(|infeasible| {
            let message = format!("mixture \"{}\" cannot be had: {infeasible}", mixture.name);
            let hint = format!("ask for {} tokens or fewer, or raise max_epochs", infeasible.feasible);
            Failure::new(Exit::No, message).hint(hint)
        })?;
        let draws =
            mix::draws(&pool.documents, buckets, &epochs, mixture.max_epochs, self.manifest.run.seed, &mixture.name);
        let drawn: u64 = pool.documents.iter().zip(&draws).map(|(document, n)| document.tokens * u64::from(*n)).sum();
        let longest = pool.documents.iter().map(|document| document.tokens).max().unwrap_or(0);
        if drawn.abs_diff(mixture.tokens) > longest {
            let message = format!("mixture \"{}\" has {drawn} tokens, {} were asked for", mixture.name, mixture.tokens);
            return Err(Failure::new(Exit::Broken, message).into());
        }
        Ok(draws)
    }

    fn write_rows(&self, table: &str, file: &Expected, rows: &RecordBatch) -> Result<FileEntry> {
        let staged = self.run.staging().join(format!("{table}-{}", file.path));
        let mut writer = TableWriter::create(&staged, tables::schema(table))?;
        writer.write(rows)?;
        publish(self, file, writer.finish()?, None)
    }

    fn export_mixture(
        &self,
        mixture: &Mixture,
        file: &Expected,
        pool: &Pooled,
        draws: &Draws,
    ) -> Result<Vec<FileEntry>> {
        let shards = self.run.shard_files()?;
        let existing = Existing::load(&self.run, &file.table, &[])?;
        let plan = export::Plan::new(pool, draws, self.manifest.run.seed, mixture);
        let name = |part: usize| {
            let mut parts = file.parts.clone();
            // The first part's key stands for the mixture, so it has no number of its own.
            if part > 0 {
                parts.insert("part".to_owned(), part.to_string());
            }
            let key = key::of_parts(&file.table, VERSION, &parts);
            let path = format!("part-{part:05}-{}.parquet", key::short(&key));
            Expected { table: file.table.clone(), path, key, parts }
        };
        let wanted: Vec<Expected> = (0..plan.parts).map(name).collect();
        let missing = |part: usize| existing.get(&wanted[part].key).is_none();
        let spill = self.run.spill().join("export");
        let text = TextColumns::last(&self.manifest);
        export::spill(&plan, &shards, text, &spill, self.manifest.run.memory / 8, &missing)?;
        let entries = self.engine.for_each(&wanted, |part, file| {
            interrupt::check()?;
            if let Some(entry) = existing.get(&file.key) {
                return Ok(entry.clone());
            }
            let staged = self.run.staging().join(format!("mixture-{}", file.path));
            publish(self, file, export::write_part(&plan, part, &spill, &staged)?, None)
        })?;
        std::fs::remove_dir_all(&spill).context("cannot delete the export's spill files")?;
        Ok(entries)
    }
}

fn bucket_rows(pool: &Pooled, buckets: &[Bucket]) -> Result<RecordBatch> {
    let names = |get: fn(&(String, String)) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(buckets.iter().map(|bucket| get(&pool.origins[bucket.origin as usize]))))
    };
    let numbers =
        |get: fn(&Bucket) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(buckets.iter().map(get))) };
    let columns = vec![
        names(|origin| &origin.0),
        names(|origin| &origin.1),
        Arc::new(UInt32Array::from_iter_values(buckets.iter().map(|bucket| bucket.bin))) as ArrayRef,
        numbers(|bucket| bucket.documents.len() as u64),
        numbers(|bucket| bucket.bytes),
        numbers(|bucket| bucket.tokens),
        Arc::new(Float64Array::from_iter_values(buckets.iter().map(|bucket| bucket.q))) as ArrayRef,
    ];
    Ok(RecordBatch::try_new(tables::schema("buckets"), columns)?)
}

fn mix_rows(pool: &Pooled, draws: &Draws) -> Result<RecordBatch> {
    let drawn = || pool.documents.iter().zip(draws).filter(|(_, draws)| **draws > 0);
    let ids = StringArray::from_iter_values(drawn().map(|(document, _)| &document.doc_id));
    let counts = UInt32Array::from_iter_values(drawn().map(|(_, draws)| *draws));
    Ok(RecordBatch::try_new(tables::schema("mix"), vec![Arc::new(ids), Arc::new(counts)])?)
}
