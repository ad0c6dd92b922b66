//! Buckets, mixes and mixtures: the pool gathered from narrow columns, epochs and draws decided,
//! text exported.

pub mod languages;
mod shuffle;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{
    ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Float64Type, UInt32Type, UInt64Type};
use curate_schemas::commit::FileEntry;
use curate_schemas::stages::mixtures::{Mixture, MixtureSource, Strategy};
use curate_schemas::stages::{self, mixtures::MIXTURE};
use curate_schemas::{DocId, Manifest, tables};
use curate_stages::mix::{self, Bucket, Document, Method, Request, SourceBounds};
use curate_stages::read;
use curate_stages::text::TextSource;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::writer::TableWriter;
use curate_store::zip::{Part, Zip, parts};
use curate_store::{durable, interrupt, key};

use crate::driver::{Contents, Driver, Existing, Expected, Keys, corpus_digest, publish};
use crate::progress::Progress;
use crate::report::views;

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

/// Reads the pool: 64 bytes of memory a document.
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
    // Looked up by reference, so that a row makes no string.
    let mut numbers: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    let mut known = 0;
    for (shard, files) in shards.iter().enumerate() {
        let mut doc = (shard as u64) << 32;
        for batch in Zip::open(&parts(files, &reads)?)? {
            let batch = batch?;
            let column = |name: &str| {
                batch
                    .column_by_name(name)
                    .with_context(|| format!("{name} was not read"))
            };
            let (ids, sources) = (
                column("doc_id")?.as_string::<i32>(),
                column("source")?.as_string::<i32>(),
            );
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
                let origin = origin(
                    &mut numbers,
                    &mut known,
                    sources.value(row),
                    domains.value(row),
                );
                let doc_id = ids.value(row);
                pool.documents.push(Document {
                    doc: doc - 1,
                    doc_id: doc_id.parse()?,
                    origin,
                    tokens: tokens.value(row),
                    bytes: bytes.value(row),
                    q: quality.value(row),
                });
            }
        }
    }
    // Numbered by name, not by first appearance, so that shard layout has no say.
    let mut order = vec![0; known as usize];
    for (source, domains) in numbers {
        for (domain, first) in domains {
            order[first as usize] = pool.origins.len() as u32;
            pool.origins.push((source.clone(), domain));
        }
    }
    for document in &mut pool.documents {
        document.origin = order[document.origin as usize];
    }
    Ok(pool)
}

/// The number of a (source, domain) pair, the next one where it is new.
fn origin(
    numbers: &mut BTreeMap<String, BTreeMap<String, u32>>,
    known: &mut u32,
    source: &str,
    domain: &str,
) -> u32 {
    if let Some(&number) = numbers.get(source).and_then(|domains| domains.get(domain)) {
        return number;
    }
    *known += 1;
    numbers
        .entry(source.to_owned())
        .or_default()
        .insert(domain.to_owned(), *known - 1);
    *known - 1
}

/// Calls `visit` with each row of a committed mix, in the documents' order: `doc_id` and draws.
/// Says whether there is one.
///
/// # Errors
/// If the file cannot be read, holds no `doc_id`, or `visit` fails.
pub fn each_draw(
    run: &RunDir,
    name: &str,
    visit: &mut dyn FnMut(DocId, u32) -> Result<()>,
) -> Result<bool> {
    let folder = format!("mix/{name}");
    let Some(commit) = run.commit(&folder)? else {
        return Ok(false);
    };
    for file in &commit.files {
        for batch in Zip::open(&[Part::of(run.stored(&folder, file), &["doc_id", "draws"])])? {
            let batch = batch?;
            let draws = batch.column(1).as_primitive::<UInt32Type>();
            for (id, draws) in batch
                .column(0)
                .as_string::<i32>()
                .iter()
                .zip(draws.values())
            {
                let id = id.with_context(|| format!("{folder} has a row without a doc_id"))?;
                let id = id.parse()?;
                visit(id, *draws)?;
            }
        }
    }
    Ok(true)
}

/// The draws that a committed mix holds, in the pool's order.
///
/// # Errors
/// If the file cannot be read or names a document that is not in the pool.
pub fn read_draws(run: &RunDir, name: &str, pool: &Pooled) -> Result<Option<Draws>> {
    let mut draws = vec![0; pool.documents.len()];
    let mut at = 0;
    let is_there = each_draw(run, name, &mut |doc_id, count| {
        // Both are in the documents' order, so this is a merge.
        while at < draws.len() && pool.documents[at].doc_id != doc_id {
            at += 1;
        }
        ensure!(
            at < draws.len(),
            "mix/{name} names a document that is not in the pool: {doc_id}"
        );
        draws[at] = count;
        Ok(())
    })?;
    Ok(is_there.then_some(draws))
}

/// The files of buckets, of a mix and of its mixture's first part, whose key stands for all parts.
///
/// # Errors
/// If a stage has not run.
pub fn mixture_expected(
    table: &str,
    mixture: Option<&Mixture>,
    manifest: &Manifest,
    keys: &Keys,
) -> Result<Expected> {
    let corpus = corpus_digest(&["documents", "signals", "tokens", "quality"], keys)?;
    let mut parts: BTreeMap<String, String> = [("corpus".to_owned(), corpus)].into();
    if let Some(mixture) = mixture {
        let mut config = serde_json::json!({
            "name": mixture.name, "tokens": mixture.tokens, "max_epochs": mixture.max_epochs, "seed": manifest.run.seed,
            "strategy": mixture.strategy, "temperature": mixture.temperature, "discard": mixture.discard,
            "sources": bounds(manifest, mixture),
        });
        if table.starts_with("mixture/") {
            config["part_size"] = mixture.part_size.into();
        }
        parts.insert("config".to_owned(), config.to_string());
    }
    let key = key::of_parts(table, version(table), &parts);
    Ok(Expected {
        table: table.to_owned(),
        path: format!("part-00000-{}.parquet", key::short(&key)),
        key,
        parts,
    })
}

/// Version of the code that writes a folder such as `mix/general`.
fn version(folder: &str) -> u32 {
    stages::stage_of_folder(folder).map_or(0, |stage| stage.version)
}

impl Driver {
    /// Brings buckets, mixes and mixtures up to date; says for each whether anything was computed.
    pub(super) fn run_mixtures(&self) -> Result<Vec<(String, bool)>> {
        let keys = self.keys()?;
        let mut wanted = vec![(
            mixture_expected("buckets", None, &self.manifest, &keys)?,
            None,
        )];
        for mixture in &self.manifest.mixture {
            for folder in ["mix", "mixture"] {
                let table = format!("{folder}/{}", mixture.name);
                wanted.push((
                    mixture_expected(&table, Some(mixture), &self.manifest, &keys)?,
                    Some(mixture),
                ));
            }
        }
        let is_current = |file: &Expected| -> Result<bool> {
            let Some(commit) = self.run.commit(&file.table)? else {
                return Ok(false);
            };
            let existing = Existing::load(&self.run, &file.table, &[])?;
            let all_there = commit.files.iter().all(|file| {
                existing
                    .get(&file.key)
                    .is_some_and(|there| there.digest == file.digest)
            });
            Ok(all_there
                && commit
                    .files
                    .first()
                    .is_some_and(|first| first.key == file.key))
        };
        // Mixtures that the manifest no longer asks for are no part of the run; their files stay.
        for folder in ["mixture", "mix"] {
            for name in self.run.subfolders(folder)? {
                if wanted.iter().all(|(file, _)| file.table != name) {
                    self.run.retire_report()?;
                    self.run.retire(&name)?;
                    views::write(&self.run)?;
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
                let draws = read_draws(&self.run, &mixture.name, pool)?
                    .context("a mixture follows its mix")?;
                self.export_mixture(mixture, file, pool, &draws)?
            }
        };
        let rows = files.iter().map(|file| file.rows).sum();
        progress.shard("committed", rows, 0);
        self.commit(
            &file.table,
            version(&file.table),
            Contents {
                files,
                ..Contents::default()
            },
        )
    }

    fn draw(&self, mixture: &Mixture, pool: &Pooled, buckets: &[Bucket]) -> Result<Draws> {
        let request = request(&self.manifest, mixture, pool);
        let epochs = mix::baseline(&method(&self.manifest, mixture), buckets, &request).map_err(
            |infeasible| {
                let message = format!("mixture \"{}\" cannot be had: {infeasible}", mixture.name);
                let failure = Failure::new(Exit::No, message);
                match infeasible.feasible {
                    0 => failure.hint("change the shares of [[mixture_source]]"),
                    most => failure.hint(format!(
                        "ask for {most} tokens or fewer, or raise max_epochs"
                    )),
                }
            },
        )?;
        let caps = request.caps(buckets);
        let draws = mix::draws(
            &pool.documents,
            buckets,
            &epochs,
            &caps,
            self.manifest.run.seed,
            &mixture.name,
        );
        let drawn: u64 = pool
            .documents
            .iter()
            .zip(&draws)
            .map(|(document, n)| document.tokens * u64::from(*n))
            .sum();
        let longest = pool
            .documents
            .iter()
            .map(|document| document.tokens)
            .max()
            .unwrap_or(0);
        if drawn.abs_diff(mixture.tokens) > longest {
            let message = format!(
                "mixture \"{}\" has {drawn} tokens, {} were asked for",
                mixture.name, mixture.tokens
            );
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
        let plan = shuffle::Plan::new(pool, draws, self.manifest.run.seed, mixture);
        let name = |part: usize| {
            let mut parts = file.parts.clone();
            // The first part's key stands for the mixture, so it has no number of its own.
            if part > 0 {
                parts.insert("part".to_owned(), part.to_string());
            }
            let key = key::of_parts(&file.table, version(&file.table), &parts);
            let path = format!("part-{part:05}-{}.parquet", key::short(&key));
            Expected {
                table: file.table.clone(),
                path,
                key,
                parts,
            }
        };
        let wanted: Vec<Expected> = (0..plan.parts).map(name).collect();
        let missing = |part: usize| existing.get(&wanted[part].key).is_none();
        let spill = self.run.spill().join("export");
        let text = TextSource::before(MIXTURE.name, &self.manifest);
        shuffle::spill(
            &plan,
            &shards,
            &text,
            &spill,
            self.manifest.run.memory / 8,
            &missing,
        )?;
        let entries = self.engine.for_each(&wanted, |part, file| {
            interrupt::check()?;
            if let Some(entry) = existing.get(&file.key) {
                return Ok(entry.clone());
            }
            let staged = self.run.staging().join(format!("mixture-{}", file.path));
            publish(
                self,
                file,
                shuffle::write_part(&plan, part, &spill, &staged)?,
                None,
            )
        })?;
        durable::remove_dir(&spill)
            .with_context(|| format!("cannot delete {}", spill.display()))?;
        Ok(entries)
    }
}

/// What bounds the sources of a mixture.
fn bounds<'m>(manifest: &'m Manifest, mixture: &Mixture) -> Vec<&'m MixtureSource> {
    manifest
        .mixture_source
        .iter()
        .filter(|bounds| bounds.mixture == mixture.name)
        .collect()
}

/// What a mixture asks of a pool: the manifest's sources, each with its bounds.
pub fn request(manifest: &Manifest, mixture: &Mixture, pool: &Pooled) -> Request {
    let bounds = bounds(manifest, mixture);
    let source = |name: &str| match bounds.iter().find(|bounds| bounds.source == name) {
        None => SourceBounds::free(name),
        Some(MixtureSource {
            min_share,
            max_share,
            max_epochs,
            ..
        }) => SourceBounds {
            name: name.to_owned(),
            min_share: *min_share,
            max_share: *max_share,
            max_epochs: *max_epochs,
        },
    };
    let place = |name: &String| {
        manifest
            .source
            .iter()
            .position(|source| source.name == *name)
            .unwrap_or(0) as u32
    };
    Request {
        sources: manifest
            .source
            .iter()
            .map(|declared| source(&declared.name))
            .collect(),
        source_of: pool.origins.iter().map(|(name, _)| place(name)).collect(),
        ..Request::new(mixture.tokens, mixture.max_epochs)
    }
}

/// How a mixture's epochs are chosen.
pub fn method(manifest: &Manifest, mixture: &Mixture) -> Method {
    let share = |name: &str| {
        let bounds = bounds(manifest, mixture)
            .into_iter()
            .find(|bounds| bounds.source == name);
        bounds.and_then(|bounds| bounds.share).unwrap_or(0.0)
    };
    match mixture.strategy {
        Strategy::Effective => Method::Solved,
        Strategy::Natural => Method::Natural,
        Strategy::Unimax => Method::Unimax,
        Strategy::Temperature => Method::Temperature(mixture.temperature),
        Strategy::Fixed => Method::Fixed(
            manifest
                .source
                .iter()
                .map(|source| share(&source.name))
                .collect(),
        ),
        Strategy::QualityCurve => Method::QualityCurve {
            discard: mixture.discard,
        },
    }
}

fn bucket_rows(pool: &Pooled, buckets: &[Bucket]) -> Result<RecordBatch> {
    let names = |get: fn(&(String, String)) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            buckets
                .iter()
                .map(|bucket| get(&pool.origins[bucket.origin as usize])),
        ))
    };
    let numbers = |get: fn(&Bucket) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(buckets.iter().map(get)))
    };
    let columns = vec![
        names(|origin| &origin.0),
        names(|origin| &origin.1),
        Arc::new(UInt32Array::from_iter_values(
            buckets.iter().map(|bucket| bucket.bin),
        )) as ArrayRef,
        Arc::new(Float64Array::from_iter_values(
            buckets.iter().map(|bucket| bucket.q_from),
        )) as ArrayRef,
        numbers(|bucket| bucket.documents.len() as u64),
        numbers(|bucket| bucket.bytes),
        numbers(|bucket| bucket.tokens),
        Arc::new(Float64Array::from_iter_values(
            buckets.iter().map(|bucket| bucket.q),
        )) as ArrayRef,
    ];
    Ok(RecordBatch::try_new(tables::schema("buckets"), columns)?)
}

fn mix_rows(pool: &Pooled, draws: &Draws) -> Result<RecordBatch> {
    let drawn = || {
        pool.documents
            .iter()
            .zip(draws)
            .filter(|(_, draws)| **draws > 0)
    };
    let ids =
        StringArray::from_iter_values(drawn().map(|(document, _)| document.doc_id.to_string()));
    let counts = UInt32Array::from_iter_values(drawn().map(|(_, draws)| *draws));
    Ok(RecordBatch::try_new(
        tables::schema("mix"),
        vec![Arc::new(ids), Arc::new(counts)],
    )?)
}
