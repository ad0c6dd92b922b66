//! Buckets, mixes and mixtures. The pool is gathered from narrow columns, epochs and draws are
//! decided for each mixture, and the drawn texts are written in a shuffled order.

pub mod languages;
mod shuffle;
pub mod weighed;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{
    ArrayRef, AsArray, Float64Array, Float64Builder, MapBuilder, RecordBatch, StringArray,
    StringBuilder, UInt32Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{Float64Type, UInt32Type, UInt64Type};
use curate_schemas::commit::{Commit, FileEntry};
use curate_schemas::stages::mixtures::{Mixture, MixtureSource, Strategy};
use curate_schemas::stages::{self, mixtures::MIXTURE};
use curate_schemas::{DocId, Manifest, tables};
use curate_stages::mix::{self, Bucket, Document, Method, Request, SourceBounds};
use curate_stages::text::TextSource;
use curate_stages::{bytes_read, read};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::writer::TableWriter;
use curate_store::zip::{Part, Zip, parts};
use curate_store::{durable, interrupt, key};
pub use shuffle::ORDER;
pub use weighed::Weighed;

use crate::driver::{Contents, Done, Driver, Existing, Expected, Keys, corpus_digest, publish};
use crate::progress::{Progress, Work};
use crate::report::views;

/// The pool: the documents that `quality` kept.
#[derive(Debug, Default)]
pub struct Pooled {
    /// The documents, in the order of their shards and rows.
    pub documents: Vec<Document>,
    /// The (source, domain) pairs, sorted. `Document::origin` is a place in this list.
    pub origins: Vec<(String, String)>,
}

/// The tables whose keys tell whether the pool, and all that is made from it, is the same. The keys
/// of `tokens` and `quality` cover the stages before them.
pub const POOL_TABLES: [&str; 4] = ["documents", "signals", "tokens", "quality"];

/// Number of draws of each document of a pool, in the order of the pool.
pub type Draws = Vec<u32>;

/// Reads the pool. It takes 64 bytes of memory for each document.
///
/// # Errors
/// If a file cannot be read or holds a `doc_id` that is not one.
pub fn gather_pool(shards: &[ShardFiles]) -> Result<Pooled> {
    // The last stage that edits has the length after all edits.
    let reads = [
        read("documents", "doc_id"),
        read("documents", "source"),
        read("documents", "domain"),
        bytes_read(MIXTURE.name),
        read("tokens", "tokens"),
        read("quality", "reached"),
        read("quality", "removed_by"),
        read("quality", "score"),
        read("quality", "q"),
    ];

    let mut pool = Pooled::default();
    let mut origins = Origins::default();
    for (shard, files) in shards.iter().enumerate() {
        // The shard is in the upper half of `doc` and the row in the lower half.
        let mut doc = (shard as u64) << 32;
        for batch in Zip::open(&parts(files, &reads)?)? {
            let batch = batch?;
            add_batch(&mut pool, &mut origins, &batch, doc)?;
            doc += batch.num_rows() as u64;
        }
    }

    // Numbered by name, not by first appearance, so that the layout of shards has no say. Every
    // number of `origins` is below `known`, so it is a place in `order`.
    let mut order = vec![0; origins.known as usize];
    for (source, domains) in origins.numbers {
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

/// Adds the documents of a batch that `quality` kept. `first` is the `doc` of the batch's first
/// row.
fn add_batch(
    pool: &mut Pooled,
    origins: &mut Origins,
    batch: &RecordBatch,
    first: u64,
) -> Result<()> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .with_context(|| format!("{name} was not read"))
    };
    let ids = column("doc_id")?.as_string::<i32>();
    let sources = column("source")?.as_string::<i32>();
    let domains = column("domain")?.as_string::<i32>();
    let bytes = column("bytes")?.as_primitive::<UInt64Type>();
    let tokens = column("tokens")?.as_primitive::<UInt64Type>();
    let reached = column("reached")?.as_boolean();
    let removed = column("removed_by")?;
    let scores = column("score")?.as_primitive::<Float64Type>();
    let quality = column("q")?.as_primitive::<Float64Type>();

    for row in 0..batch.num_rows() {
        if !reached.value(row) || removed.is_valid(row) {
            continue;
        }
        pool.documents.push(Document {
            doc: first + row as u64,
            doc_id: ids.value(row).parse()?,
            origin: origins.number(sources.value(row), domains.value(row)),
            tokens: tokens.value(row),
            bytes: bytes.value(row),
            score: scores.value(row),
            q: quality.value(row),
        });
    }
    Ok(())
}

/// The (source, domain) pairs so far, numbered in the order of their first appearance.
#[derive(Default)]
struct Origins {
    /// Number of each pair, by source and domain. Two maps, so that a lookup makes no string.
    numbers: BTreeMap<String, BTreeMap<String, u32>>,
    /// Number of pairs so far.
    known: u32,
}

impl Origins {
    /// The number of a pair. A new pair gets the next number.
    fn number(&mut self, source: &str, domain: &str) -> u32 {
        let domains = self.numbers.get(source);
        if let Some(&number) = domains.and_then(|domains| domains.get(domain)) {
            return number;
        }

        self.known += 1;
        self.numbers
            .entry(source.to_owned())
            .or_default()
            .insert(domain.to_owned(), self.known - 1);
        self.known - 1
    }
}

/// Calls `visit` with the `doc_id` and the draws of each row of a committed mix, in the order of
/// the pool. False if the mix is not committed.
///
/// # Errors
/// If the file cannot be read or has a row without a `doc_id`, or the first error of `visit`.
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
        let stored = run.stored(commit.version, &folder, file);
        for batch in Zip::open(&[Part::of(stored, &["doc_id", "draws"])])? {
            let batch = batch?;
            let ids = batch.column(0).as_string::<i32>();
            let draws = batch.column(1).as_primitive::<UInt32Type>();
            for (id, draws) in ids.iter().zip(draws.values()) {
                let id = id.with_context(|| format!("{folder} has a row without a doc_id"))?;
                visit(id.parse()?, *draws)?;
            }
        }
    }
    Ok(true)
}

/// The draws of a committed mix, in the order of the pool. 0 for a document that the mix does not
/// name, `None` if the mix is not committed.
///
/// # Errors
/// If the file cannot be read or names a document that is not in the pool.
pub fn read_draws(run: &RunDir, name: &str, pool: &Pooled) -> Result<Option<Draws>> {
    let mut draws = vec![0; pool.documents.len()];
    let mut at = 0;
    let is_there = each_draw(run, name, &mut |doc_id, count| {
        // The mix is in the order of the pool, so this is a merge.
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

/// The file of a folder: `buckets`, `mix/general` or `mixture/general`. The last one is the first
/// part of the mixture, and its key stands for all parts. `mixture` is `None` for `buckets`.
///
/// # Errors
/// If a stage that the pool is made from has not run.
pub fn mixture_expected(
    table: &str,
    mixture: Option<&Mixture>,
    manifest: &Manifest,
    keys: &Keys,
) -> Result<Expected> {
    let corpus = corpus_digest(&POOL_TABLES, keys)?;
    let mut parts: BTreeMap<String, String> = [("corpus".to_owned(), corpus)].into();

    // The size of parts changes no draw, so it is not a setting of the mix.
    if let Some(mixture) = mixture {
        let mut config = serde_json::json!({
            "name": mixture.name,
            "tokens": mixture.tokens,
            "max_epochs": mixture.max_epochs,
            "seed": manifest.run.seed,
            "strategy": mixture.strategy,
            "temperature": mixture.temperature,
            "discard": mixture.discard,
            "target": mixture.target,
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

/// The folders of a manifest's mixtures, with the first file of each, in the order in which they
/// depend on each other: `buckets`, then `mix/NAME` and `mixture/NAME` of each mixture.
///
/// # Errors
/// If a stage that the pool is made from has not run.
pub fn mixtures_expected<'m>(
    manifest: &'m Manifest,
    keys: &Keys,
) -> Result<Vec<(Expected, Option<&'m Mixture>)>> {
    let buckets = mixture_expected("buckets", None, manifest, keys)?;
    let mut wanted = vec![(buckets, None)];

    for mixture in &manifest.mixture {
        for folder in ["mix", "mixture"] {
            let table = format!("{folder}/{}", mixture.name);
            let file = mixture_expected(&table, Some(mixture), manifest, keys)?;
            wanted.push((file, Some(mixture)));
        }
    }
    Ok(wanted)
}

/// The files of a folder that `file` is the first file of: those of its commit, or of its retired
/// commit. `None` if neither commit begins with `file`, or if one of its files is gone, so that the
/// folder has to be made.
///
/// # Errors
/// Exit 70 if the commit is damaged.
pub fn whole_folder(run: &RunDir, file: &Expected) -> Result<Option<Vec<FileEntry>>> {
    let existing = Existing::load(run, &file.table, &[])?;
    let commits = [run.commit(&file.table)?, run.stale(&file.table)];

    // The key of the first file stands for all parts.
    let is_whole = |commit: &Commit| {
        commit
            .files
            .first()
            .is_some_and(|first| first.key == file.key)
            && commit.files.iter().all(|file| {
                existing
                    .get(&file.key)
                    .is_some_and(|found| found.digest == file.digest)
            })
    };
    Ok(commits
        .into_iter()
        .flatten()
        .find(is_whole)
        .map(|commit| commit.files))
}

/// Version of the stage that writes a folder such as `mix/general`. 0 if no stage does.
fn version(folder: &str) -> u32 {
    stages::stage_of_folder(folder).map_or(0, |stage| stage.version)
}

impl Driver {
    /// Brings buckets, mixes and mixtures up to date, after [`Driver::run`]. Each folder is added
    /// to `done`.
    ///
    /// # Errors
    /// Exit 1 if a mixture is not possible. Else if reading or writing fails. The folders before it
    /// stay committed.
    pub fn run_mixtures(&self, done: &mut Done) -> Result<()> {
        let wanted = mixtures_expected(&self.manifest, &self.keys()?)?;

        // Mixtures that are no longer in the manifest are not a part of the run. Their files stay.
        // A mixture is retired before the mix that it depends on.
        for folder in ["mixture", "mix"] {
            for name in self.run.subfolders(folder)? {
                if wanted.iter().all(|(file, _)| file.table != name) {
                    self.run.retire_report()?;
                    self.run.retire(&name)?;
                    views::write(&self.run)?;
                }
            }
        }

        // The pool is read at most once, and only if something has to be made from it.
        let mut pool = None;
        for (file, mixture) in wanted {
            interrupt::check()?;
            let mut work = None;
            if !self.reuse_folder(&file)? {
                let pool = match &mut pool {
                    Some(pool) => pool,
                    none => none.insert(Weighed::gather(&self.run)?),
                };
                pool.weigh(&self.manifest, mixture)?;
                work = Some(self.compute_mixture_table(&file, mixture, pool)?);
            }
            done.note(&file.table, work);
        }
        Ok(())
    }

    /// True if all files of the folder exist that `file` is the first file of. A folder whose
    /// commit was retired, although nothing in it changes, is committed again.
    ///
    /// # Errors
    /// Exit 70 if the commit is damaged. Else if it cannot be written.
    pub(crate) fn reuse_folder(&self, file: &Expected) -> Result<bool> {
        let Some(files) = whole_folder(&self.run, file)? else {
            return Ok(false);
        };

        let is_committed = self
            .run
            .commit(&file.table)?
            .is_some_and(|commit| commit.files == files);
        if !is_committed {
            let contents = Contents {
                files,
                ..Contents::default()
            };
            self.commit(&file.table, version(&file.table), contents)?;
        }
        Ok(true)
    }

    /// Makes the files of a folder and commits them. The folder is `buckets` if `mixture` is
    /// `None`, else the mix or the texts of the mixture.
    fn compute_mixture_table(
        &self,
        file: &Expected,
        mixture: Option<&Mixture>,
        weighed: &Weighed,
    ) -> Result<Work> {
        let progress = Progress::start(&file.table, 1);
        let pool = &weighed.pool;
        let files = match (mixture, file.table.starts_with("mix/")) {
            (None, _) => {
                let by_target = weighed.q_by_target(&self.manifest)?;
                let rows = bucket_rows(pool, &weighed.buckets, &by_target)?;
                vec![self.write_rows("buckets", file, &rows)?]
            }
            (Some(mixture), true) => {
                let draws = self.draw(mixture, weighed)?;
                vec![self.write_rows("mix", file, &mix_rows(pool, &draws)?)?]
            }
            (Some(mixture), false) => {
                // The draws are read back, because an earlier run may have committed the mix.
                let draws = read_draws(&self.run, &mixture.name, pool)?
                    .context("a mix is committed before its mixture")?;
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
        )?;
        Ok(Work {
            docs: rows,
            bytes: 0,
        })
    }

    /// Decides the epochs of the buckets and the draws of the documents for a mixture.
    ///
    /// # Errors
    /// Exit 1 if the mixture is not possible, or if no document is drawn. The hint says how many
    /// tokens are possible, or that the shares must change. Exit 70 if the drawn tokens differ from the requested tokens by more
    /// than the longest document.
    fn draw(&self, mixture: &Mixture, weighed: &Weighed) -> Result<Draws> {
        let (pool, buckets) = (&weighed.pool, weighed.buckets.as_slice());
        let request = weighed.request(&self.manifest, mixture);
        let epochs = mix::baseline(&method(&self.manifest, mixture), buckets, &request).map_err(
            |infeasible| {
                let name = &mixture.name;
                let message = format!("mixture \"{name}\" is not possible: {infeasible}");
                let failure = Failure::new(Exit::No, message);
                // 0: the shares contradict each other for any number of tokens.
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

        // Only whole documents are drawn, so the sum is within one document of the request.
        let drawn: u64 = pool
            .documents
            .iter()
            .zip(&draws)
            .map(|(document, n)| document.tokens * u64::from(*n))
            .sum();
        if drawn == 0 {
            return Err(nothing_drawn(mixture, pool).into());
        }

        let longest = pool
            .documents
            .iter()
            .map(|document| document.tokens)
            .max()
            .unwrap_or(0);
        if drawn.abs_diff(mixture.tokens) > longest {
            let message = format!(
                "mixture \"{}\" has {drawn} tokens, {} were requested",
                mixture.name, mixture.tokens
            );
            return Err(Failure::new(Exit::Broken, message).into());
        }
        Ok(draws)
    }

    /// Writes a table that is one batch, and publishes its file.
    pub(crate) fn write_rows(
        &self,
        table: &str,
        file: &Expected,
        rows: &RecordBatch,
    ) -> Result<FileEntry> {
        let staged = self.run.staging().join(format!("{table}-{}", file.path));
        let mut writer = TableWriter::create(&staged, tables::schema(table))?;
        writer.write(rows)?;
        publish(self, file, writer.finish()?, None)
    }

    /// Writes the parts of a mixture that do not exist yet. `file` is the file of the first part.
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
        let wanted: Vec<Expected> = (0..plan.parts)
            .map(|part| mixture_part(file, part))
            .collect();

        // Pass one: the buffers of all parts share an eighth of the memory.
        let spill = self.run.spill().join("export");
        let text = TextSource::before(MIXTURE.name, &self.manifest);
        shuffle::spill(
            &plan,
            &shards,
            &text,
            &spill,
            self.manifest.run.memory / 8,
            &|part| existing.get(&wanted[part].key).is_none(),
        )?;

        // Pass two: parts are independent of each other, so an interrupted run keeps finished ones.
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

/// The failure of a mixture into which no document is drawn, because its budget is too small.
fn nothing_drawn(mixture: &Mixture, pool: &Pooled) -> Failure {
    // A document without tokens gives a mixture nothing.
    let tokens = pool.documents.iter().map(|document| document.tokens);
    let (least, most) = tokens
        .filter(|tokens| *tokens > 0)
        .fold((u64::MAX, 0), |(least, most), tokens| {
            (least.min(tokens), most.max(tokens))
        });

    let message = format!(
        "mixture \"{}\" has no document: it asks for {} tokens, and the smallest document of the pool has {least}",
        mixture.name, mixture.tokens
    );
    // A document is drawn if at least half of it is within the budget, and any may be the first.
    Failure::new(Exit::No, message).hint(format!(
        "documents are drawn whole; ask for more tokens, the largest document has {most}"
    ))
}

/// The file of one part of a mixture, from 0. `first` is the file of the first part.
fn mixture_part(first: &Expected, part: usize) -> Expected {
    let mut parts = first.parts.clone();
    // The first part's key stands for the mixture, so it has no number of its own.
    if part > 0 {
        parts.insert("part".to_owned(), part.to_string());
    }

    let key = key::of_parts(&first.table, version(&first.table), &parts);
    Expected {
        table: first.table.clone(),
        path: format!("part-{part:05}-{}.parquet", key::short(&key)),
        key,
        parts,
    }
}

/// The tables `[[mixture_source]]` that bound the sources of a mixture.
fn bounds<'m>(manifest: &'m Manifest, mixture: &Mixture) -> Vec<&'m MixtureSource> {
    manifest
        .mixture_source
        .iter()
        .filter(|bounds| bounds.mixture == mixture.name)
        .collect()
}

/// The request of a mixture for tokens of a pool. Its sources are those of the manifest, in their
/// order, each with its bounds.
pub fn request(manifest: &Manifest, mixture: &Mixture, pool: &Pooled) -> Request {
    let bounds = bounds(manifest, mixture);
    let sources = manifest.source.iter().map(|source| {
        match bounds.iter().find(|bounds| bounds.source == source.name) {
            None => SourceBounds::free(&source.name),
            Some(bounds) => SourceBounds {
                name: source.name.clone(),
                min_share: bounds.min_share,
                max_share: bounds.max_share,
                max_epochs: bounds.max_epochs,
            },
        }
    });

    // An unknown source counts as source 0, as an unknown origin does in `Request`.
    let source_of = pool.origins.iter().map(|(name, _)| {
        let mut names = manifest.source.iter().map(|source| &source.name);
        names.position(|known| known == name).unwrap_or(0) as u32
    });

    Request {
        sources: sources.collect(),
        source_of: source_of.collect(),
        ..Request::new(mixture.tokens, mixture.max_epochs)
    }
}

/// The method that chooses the epochs of a mixture, by its `strategy`.
pub fn method(manifest: &Manifest, mixture: &Mixture) -> Method {
    match mixture.strategy {
        Strategy::Effective => Method::Solved,
        Strategy::Natural => Method::Natural,
        Strategy::Unimax => Method::Unimax,
        Strategy::Temperature => Method::Temperature(mixture.temperature),
        Strategy::Fixed => {
            // A source without a share gets none of the mixture.
            let bounds = bounds(manifest, mixture);
            let shares = manifest.source.iter().map(|source| {
                let own = bounds.iter().find(|bounds| bounds.source == source.name);
                own.and_then(|bounds| bounds.share).unwrap_or(0.0)
            });
            Method::Fixed(shares.collect())
        }
        Strategy::QualityCurve => Method::QualityCurve {
            discard: mixture.discard,
        },
    }
}

/// The rows of the table `buckets`, one for each bucket. `by_target` holds the mean q of each bucket
/// for each target of the calibration, by the name of the target.
fn bucket_rows(
    pool: &Pooled,
    buckets: &[Bucket],
    by_target: &BTreeMap<String, Vec<f64>>,
) -> Result<RecordBatch> {
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

    let mut targets = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for bucket in 0..buckets.len() {
        for (target, q) in by_target {
            targets.keys().append_value(target);
            targets.values().append_value(q[bucket]);
        }
        targets.append(true)?;
    }
    let schema = tables::schema("buckets");
    // The builder declares the values of the map as nullable, the table does not.
    let targets = cast(&targets.finish(), schema.field(8).data_type())?;

    // In the order of the table's columns.
    let columns = vec![
        names(|origin| &origin.0),
        names(|origin| &origin.1),
        Arc::new(UInt32Array::from_iter_values(
            buckets.iter().map(|bucket| bucket.bin),
        )) as ArrayRef,
        Arc::new(Float64Array::from_iter_values(
            buckets.iter().map(|bucket| bucket.score_from),
        )) as ArrayRef,
        numbers(|bucket| bucket.documents.len() as u64),
        numbers(|bucket| bucket.bytes),
        numbers(|bucket| bucket.tokens),
        Arc::new(Float64Array::from_iter_values(
            buckets.iter().map(|bucket| bucket.q),
        )) as ArrayRef,
        targets,
    ];

    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The rows of a mix, one for each drawn document, in the order of the pool.
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
