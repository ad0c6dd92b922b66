//! Runs plans, one a shard on a thread of its own, and shows all shards to corpus stages. The engine
//! yields batches; files are written by [`curate_store::writer`].

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

/// Threads, memory and a place to spill.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Threads that plans and kernels may use.
    pub threads: usize,
    /// Memory for kernels, bytes.
    pub memory: u64,
    spill: PathBuf,
}

impl Engine {
    /// An engine that spills into `spill`.
    pub fn new(threads: usize, memory: u64, spill: PathBuf) -> Engine {
        Engine {
            threads,
            memory,
            spill,
        }
    }

    /// Runs a shard stage's plan over zipped files on this thread, and hands its batches to `sink`
    /// in the order of rows. `arriving` documents reach the stage.
    ///
    /// # Errors
    /// If a file cannot be read, the plan fails, or `sink` fails.
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

    /// Calls `work` for each of `items` on up to `threads` threads; the results come back in the
    /// items' order.
    ///
    /// # Errors
    /// The first failure in the items' order. Others are not started once one failed.
    pub fn for_each<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(usize, &T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let next = AtomicUsize::new(0);
        let failed = AtomicUsize::new(0);
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

/// Raises a count if its thread panics, so that other threads begin nothing more.
struct Raise<'a>(&'a AtomicUsize);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0
            .fetch_add(usize::from(std::thread::panicking()), Ordering::Relaxed);
    }
}

/// All shards of a run, as corpus stages see them.
pub struct CorpusFiles {
    engine: Engine,
    shards: Vec<ShardFiles>,
    firsts: Vec<u64>,
    earlier: Vec<Earlier>,
    own_shards: usize,
    follows: &'static str,
}

/// The shards of a run in the documents' order, with the rows of each.
pub type Shards = Vec<(ShardFiles, u64)>;

impl CorpusFiles {
    /// The shards of this run and of earlier ones with their names, for a stage that follows
    /// `follows`.
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

    fn add(&mut self, shards: Shards) {
        for (files, rows) in shards {
            self.firsts.push(self.firsts[self.shards.len()] + rows);
            self.shards.push(files);
        }
    }

    /// Calls `visit` with the first document and the columns of each batch, shards in parallel,
    /// those for which `wanted` holds. `reads` says what to read of this run (`false`) or of an
    /// earlier one.
    fn for_each_batch(
        &self,
        reads: &(dyn Fn(bool) -> Vec<Read> + Sync),
        wanted: &(dyn Fn(&Range<u64>) -> bool + Sync),
        visit: &(dyn Fn(u64, &RecordBatch) -> curate_stages::error::Result<()> + Sync),
    ) -> curate_stages::error::Result<()> {
        let read_shard = |shard: usize, files: &ShardFiles| -> Result<()> {
            let mut docs = self.firsts[shard]..self.firsts[shard + 1];
            if !wanted(&docs) {
                return Ok(());
            }
            for batch in Zip::open(&parts(files, &reads(shard >= self.own_shards))?)? {
                interrupt::check()?;
                let batch = batch?;
                let next = docs.start + batch.num_rows() as u64;
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
        };
        let read = self.engine.for_each(&self.shards, read_shard);
        read.map(|_| ()).map_err(external)
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
        let mut read = || -> Result<()> {
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
                "shard {shard} has other rows than its commit says"
            );
            Ok(())
        };
        read().map_err(external)
    }

    fn scan(
        &self,
        reads: &[Read],
        visit: &(dyn Fn(u64, &RecordBatch) -> curate_stages::error::Result<()> + Sync),
    ) -> curate_stages::error::Result<()> {
        let reads = |is_earlier| {
            let mut all = reached_reads(if is_earlier {
                NEAR_DEDUP.name
            } else {
                self.follows
            });
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
        // Whether an earlier run rewrote its texts is not known here; its edits are null if not.
        let earlier = TextSource::edited_by(vec![SIGNALS.name]);
        let source = |is_earlier| if is_earlier { &earlier } else { text };
        let own_documents = self.firsts[self.own_shards];

        let reads = |is_earlier| source(is_earlier).reads();
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

/// An error of the driver on its way through a stage.
pub fn external(error: anyhow::Error) -> StageError {
    StageError::Driver(match error.downcast::<Failure>() {
        Ok(failure) => Box::new(failure),
        Err(error) => error.reallocate_into_boxed_dyn_error_without_backtrace(),
    })
}

/// The failure of a stage, with its exit code; an error of the driver comes out as it went in.
pub fn of_stage(error: StageError) -> anyhow::Error {
    match error {
        StageError::Manifest { message, hint } => {
            let failure = Failure::new(Exit::Usage, message);
            match hint.is_empty() {
                true => failure.into(),
                false => failure.hint(hint).into(),
            }
        }
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
