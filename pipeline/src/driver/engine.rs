//! Runs the plans of shard stages, one shard on each thread, and shows all shards to corpus stages.
//! The engine yields batches. Files are written by [`curate_store::writer`].

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use arrow::array::RecordBatch;
use curate_schemas::stages::near_dedup::NEAR_DEDUP;
use curate_schemas::stages::signals::SIGNALS;
use curate_stages::corpus::{Corpus, Earlier};
use curate_stages::error::StageError;
use curate_stages::plan::Plan;
use curate_stages::text::TextSource;
use curate_stages::{Read, ShardStage, reached_reads, with_reached};
use curate_store::failure::{Exit, Failure};
use curate_store::interrupt;
use curate_store::run_dir::ShardFiles;
use curate_store::zip::{Part, Zip, parts};

/// The threads, the memory and the spill folder that a run may use.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Number of threads that plans and kernels may use.
    pub threads: usize,
    /// Memory that kernels may use, bytes.
    pub memory: u64,
    /// Folder for data that does not fit into `memory`.
    spill: PathBuf,
}

impl Engine {
    /// Makes an engine that spills into the folder `spill`.
    pub fn new(threads: usize, memory: u64, spill: PathBuf) -> Engine {
        Engine {
            threads,
            memory,
            spill,
        }
    }

    /// Runs the plan of a shard stage over the zipped `parts` of one shard, on this thread. Calls
    /// `sink` with each batch of the result, in the order of the rows. `arriving` is the number of
    /// documents that reach the stage.
    ///
    /// # Errors
    /// If a file cannot be read or the plan fails, or the first error of `sink`.
    pub fn run_shard(
        &self,
        stage: &dyn ShardStage,
        arriving: u64,
        parts: &[Part],
        sink: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let zip = Zip::open(parts)?;
        let input = with_reached(Plan::new(zip.schema()), stage.follows()).map_err(of_stage)?;
        let plan = stage.plan(input, arriving).map_err(of_stage)?;

        for batch in zip {
            sink(&plan.run_table(batch?, stage.name()).map_err(of_stage)?)?;
        }
        Ok(())
    }

    /// Calls `work` with the place and the value of each item, on up to `threads` threads. The
    /// results are in the order of the items.
    ///
    /// # Errors
    /// The first failure in the order of the items. No item is started after a failure.
    pub fn for_each<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(usize, &T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let next = AtomicUsize::new(0);
        let failed = AtomicUsize::new(0);

        // Items are started in their order, so every item before a failed one has a result. The
        // first failure is therefore the same for any number of threads.
        let worker = || {
            let mut done = Vec::new();
            while failed.load(Ordering::Relaxed) == 0 {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(at) else { break };
                let raise = Raise(&failed);
                let result = work(at, item);
                drop(raise);

                failed.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
                done.push((at, result));
            }
            done
        };

        // At least one thread, so that no items at all are not a special case.
        let threads = self.threads.min(items.len()).max(1);
        let mut results: Vec<(usize, Result<R>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            workers
                .into_iter()
                .flat_map(|worker| {
                    worker
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });

        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// Raises a count when it is dropped by a panic, so that other threads start no more items.
struct Raise<'a>(&'a AtomicUsize);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0
            .fetch_add(usize::from(std::thread::panicking()), Ordering::Relaxed);
    }
}

/// All shards of a run and of the earlier runs that it names, as corpus stages see them.
pub struct CorpusFiles {
    engine: Engine,
    /// Files of each shard. The shards of earlier runs come after those of this run.
    shards: Vec<ShardFiles>,
    /// Number of the first document of each shard, and at the end the number of all documents.
    firsts: Vec<u64>,
    earlier: Vec<Earlier>,
    /// Number of shards of this run.
    own_shards: usize,
    /// The stage whose survivors reach the corpus stage.
    follows: &'static str,
}

/// The shards of a run in the order of `documents`, each with its number of rows.
pub type Shards = Vec<(ShardFiles, u64)>;

impl CorpusFiles {
    /// The shards of this run, then the shards of the earlier runs, with their documents numbered
    /// in this order. `earlier` has the name and the shards of each earlier run. `follows` is the
    /// stage whose survivors reach the corpus stage.
    pub fn new(
        engine: Engine,
        own: Shards,
        earlier: Vec<(String, Shards)>,
        follows: &'static str,
    ) -> Self {
        let mut corpus = CorpusFiles {
            engine,
            shards: Vec::new(),
            firsts: vec![0],
            earlier: Vec::new(),
            own_shards: 0,
            follows,
        };

        corpus.add(own);
        corpus.own_shards = corpus.shards.len();
        for (name, shards) in earlier {
            let first = corpus.firsts[corpus.shards.len()];
            corpus.earlier.push(Earlier { name, first });
            corpus.add(shards);
        }
        corpus
    }

    /// Appends shards and numbers their documents.
    fn add(&mut self, shards: Shards) {
        for (files, rows) in shards {
            // `firsts` has one entry more than `shards`: the end of the last shard.
            self.firsts.push(self.firsts[self.shards.len()] + rows);
            self.shards.push(files);
        }
    }

    /// Calls `visit` with the first document and the columns of each batch, several shards at a
    /// time. A shard is skipped if `wanted` is false for its documents. `reads` gives the columns
    /// to read: those of an earlier run for `true`, those of this run for `false`.
    ///
    /// # Errors
    /// If a file cannot be read or has another number of rows than its commit says, or the first
    /// error of `visit`.
    fn for_each_batch(
        &self,
        reads: &(dyn Fn(bool) -> Vec<Read> + Sync),
        wanted: &(dyn Fn(&Range<u64>) -> bool + Sync),
        visit: &(dyn Fn(u64, &RecordBatch) -> curate_stages::error::Result<()> + Sync),
    ) -> curate_stages::error::Result<()> {
        let read = self.engine.for_each(&self.shards, |shard, files| {
            let mut docs = self.firsts[shard]..self.firsts[shard + 1];
            if !wanted(&docs) {
                return Ok(());
            }

            for batch in Zip::open(&parts(files, &reads(shard >= self.own_shards))?)? {
                interrupt::check()?;
                let batch = batch?;
                let next = docs.start + batch.num_rows() as u64;
                // Checked before the visit, so that no batch has documents of the next shard.
                ensure!(
                    next <= docs.end,
                    "shard {shard} has more rows than its commit says"
                );
                visit(docs.start, &batch)?;
                docs.start = next;
            }

            ensure!(
                docs.is_empty(),
                "shard {shard} has fewer rows than its commit says"
            );
            Ok(())
        });
        read.map(|_| ()).map_err(external)
    }

    /// Calls `visit` with the first document and the columns of each batch of one shard of this
    /// run, in the order of the rows.
    fn read_shard(
        &self,
        shard: usize,
        reads: &[Read],
        visit: &mut dyn FnMut(u64, &RecordBatch) -> curate_stages::error::Result<()>,
    ) -> Result<()> {
        let mut all = reached_reads(self.follows);
        all.extend_from_slice(reads);

        let mut doc = self.firsts[shard];
        for batch in Zip::open(&parts(&self.shards[shard], &all)?)? {
            interrupt::check()?;
            let batch = batch?;
            visit(doc, &batch)?;
            doc += batch.num_rows() as u64;
        }

        ensure!(
            doc == self.firsts[shard + 1],
            "shard {shard} has another number of rows than its commit says"
        );
        Ok(())
    }
}

impl Corpus for CorpusFiles {
    fn firsts(&self) -> &[u64] {
        &self.firsts
    }

    fn earlier(&self) -> &[Earlier] {
        &self.earlier
    }

    fn own_shards(&self) -> usize {
        self.own_shards
    }

    fn shard(
        &self,
        shard: usize,
        reads: &[Read],
        visit: &mut dyn FnMut(u64, &RecordBatch) -> curate_stages::error::Result<()>,
    ) -> curate_stages::error::Result<()> {
        self.read_shard(shard, reads, visit).map_err(external)
    }

    fn scan(
        &self,
        reads: &[Read],
        visit: &(dyn Fn(u64, &RecordBatch) -> curate_stages::error::Result<()> + Sync),
    ) -> curate_stages::error::Result<()> {
        let reads = |is_earlier| {
            // `near_dedup` is the last stage whose verdict on an earlier run is read.
            let follows = if is_earlier {
                NEAR_DEDUP.name
            } else {
                self.follows
            };
            let mut all = reached_reads(follows);
            all.extend_from_slice(reads);
            all
        };
        self.for_each_batch(&reads, &|_| true, visit)
    }

    fn texts(
        &self,
        text: &TextSource,
        wanted: &(dyn Fn(u64) -> bool + Sync),
        visit: &(dyn Fn(u64, &str) -> curate_stages::error::Result<()> + Sync),
    ) -> curate_stages::error::Result<()> {
        // The manifest of an earlier run is not known here. Its edits are read in any case, and
        // they are null if the run did not rewrite its texts.
        let earlier = TextSource::edited_by(vec![SIGNALS.name]);
        let source = |is_earlier| if is_earlier { &earlier } else { text };
        let own_documents = self.firsts[self.own_shards];

        let reads = |is_earlier| source(is_earlier).reads();
        // A shard without a wanted document is not read, and a batch without one is not edited.
        let is_wanted = |docs: &Range<u64>| docs.clone().any(wanted);
        self.for_each_batch(&reads, &is_wanted, &|first, batch| {
            if !is_wanted(&(first..first + batch.num_rows() as u64)) {
                return Ok(());
            }

            let texts = source(first >= own_documents).texts(batch)?;
            for (doc, text) in (first..).zip(&texts) {
                if wanted(doc) {
                    visit(doc, text.unwrap_or_default())?;
                }
            }
            Ok(())
        })
    }

    fn check(&self) -> curate_stages::error::Result<()> {
        interrupt::check().map_err(external)
    }

    fn memory(&self) -> u64 {
        self.engine.memory
    }

    fn spill(&self) -> &Path {
        &self.engine.spill
    }
}

/// Wraps an error of the driver, so that it can pass through a stage. [`of_stage`] unwraps it.
pub fn external(error: anyhow::Error) -> StageError {
    StageError::Driver(match error.downcast::<Failure>() {
        Ok(failure) => Box::new(failure),
        Err(error) => error.reallocate_into_boxed_dyn_error_without_backtrace(),
    })
}

/// The error of a stage with its exit code. An error of the driver comes out as it went into
/// [`external`].
pub fn of_stage(error: StageError) -> anyhow::Error {
    match error {
        StageError::Manifest { message, hint } => {
            let failure = Failure::new(Exit::Usage, message);
            match hint.is_empty() {
                true => failure.into(),
                false => failure.hint(hint).into(),
            }
        }
        StageError::Refused { message, hint } => Failure::new(Exit::No, message).hint(hint).into(),
        StageError::Driver(ours) => match ours.downcast::<Failure>() {
            Ok(failure) => (*failure).into(),
            Err(ours) => anyhow::Error::from_boxed(ours),
        },
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_store::failure::exit_code;

    /// Found by a signal in a stage over all shards: exit 70.
    #[test]
    fn a_failure_is_still_known_behind_a_stage() {
        let failure = || anyhow::Error::from(Failure::new(Exit::Terminated, "interrupted"));
        for error in [failure(), failure().context("while reading")] {
            assert_eq!(exit_code(&of_stage(external(error))), 143);
        }
        let full = anyhow::Error::from(std::io::Error::from_raw_os_error(28))
            .context("cannot write a file");
        assert_eq!(exit_code(&of_stage(external(full))), 74);
    }
}
