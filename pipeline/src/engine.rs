//! Runs plans, one a shard on a thread of its own, and shows all shards to corpus stages. The
//! engine yields batches; files are written by [`crate::writer`].

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use curate_stages::edits::{TextColumns, edit_texts};
use curate_stages::{Corpus, Earlier, Read, ShardStage, reached_reads, with_reached};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;

use crate::error::Failure;
use crate::interrupt;
use crate::run_dir::ShardFiles;
use crate::zip::{Part, Zip, most_rows};

/// Threads, memory and a place to spill.
#[derive(Debug, Clone)]
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    /// Threads that plans and kernels may use.
    pub threads: usize,
    /// Memory for pool and kernels, bytes.
    pub memory: u64,
    spill: PathBuf,
}

impl Engine {
    /// An engine that spills into `spill`.
    pub fn new(threads: usize, memory: u64, spill: PathBuf) -> Result<Engine> {
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![spill.clone()]));
        let pool = Arc::new(FairSpillPool::new((memory / 2) as usize));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_disk_manager_builder(disk)
            .build_arc()?;
        Ok(Engine {
            runtime,
            threads,
            memory,
            spill,
        })
    }

    fn session(&self, partitions: usize) -> SessionContext {
        let mut config = SessionConfig::new()
            .with_target_partitions(partitions)
            .with_batch_size(most_rows());
        // This rule moves the access to each field of a kernel's struct down to the kernel, which
        // then runs once a field: it cost the signals stage a factor of three.
        config
            .options_mut()
            .optimizer
            .enable_leaf_expression_pushdown = false;
        SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime))
    }

    /// Runs a shard stage's plan over zipped files on this thread, handing its batches to `sink` in
    /// the rows' order.
    pub fn run_shard(
        &self,
        stage: &dyn ShardStage,
        parts: Vec<Part>,
        sink: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let session = self.session(1);
        let schema = Zip::open(&parts)?.schema();
        let rows = Arc::new(Rows {
            schema: Arc::clone(&schema),
            parts,
        });
        let table = StreamingTable::try_new(schema, vec![rows])?;
        let plan = stage.plan(with_reached(
            session.read_table(Arc::new(table))?,
            stage.follows(),
        )?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let mut stream = plan.execute_stream().await?;
            while let Some(batch) = stream.next().await {
                sink(&batch.map_err(internal)?)?;
            }
            Ok(())
        })
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
        visit: &(dyn Fn(u64, &RecordBatch) -> datafusion::error::Result<()> + Sync),
    ) -> datafusion::error::Result<()> {
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
        parts.push((read.table, Part::of(stored, vec![column])));
    }
    Ok(parts.into_iter().map(|(_, part)| part).collect())
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
        visit: &mut dyn FnMut(u64, &RecordBatch) -> datafusion::error::Result<()>,
    ) -> datafusion::error::Result<()> {
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
        visit: &(dyn Fn(u64, &RecordBatch) -> datafusion::error::Result<()> + Sync),
    ) -> datafusion::error::Result<()> {
        let reads = |is_earlier| {
            let mut all = reached_reads(if is_earlier {
                "near_dedup"
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
        text: TextColumns,
        wanted: &(dyn Fn(u64) -> bool + Sync),
        visit: &(dyn Fn(u64, &str) -> datafusion::error::Result<()> + Sync),
    ) -> datafusion::error::Result<()> {
        // Whether an earlier run rewrote its texts is not known here.
        let reads = |is_earlier| {
            if is_earlier {
                TextColumns::Edited("signals").reads()
            } else {
                text.reads()
            }
        };
        self.for_each_batch(&reads, &|docs| docs.clone().any(wanted), &|first, batch| {
            if !(first..first + batch.num_rows() as u64).any(wanted) {
                return Ok(());
            }
            let texts = edited_texts(batch).map_err(external)?;
            for (doc, text) in (first..).zip(&texts) {
                if wanted(doc) {
                    visit(doc, text.unwrap_or_default())?;
                }
            }
            Ok(())
        })
    }

    fn check(&self) -> datafusion::error::Result<()> {
        interrupt::check().map_err(external)
    }

    fn memory(&self) -> u64 {
        self.engine.memory
    }

    fn spill(&self) -> &Path {
        &self.engine.spill
    }
}

/// An error of ours on its way through a stage, so that what failed is still known behind it.
fn external(error: anyhow::Error) -> DataFusionError {
    match error.downcast::<Failure>() {
        Ok(failure) => DataFusionError::External(Box::new(failure)),
        Err(error) => {
            DataFusionError::External(error.reallocate_into_boxed_dyn_error_without_backtrace())
        }
    }
}

/// An error of ours, come out of a stage again, without its wrapping.
pub fn internal(error: DataFusionError) -> anyhow::Error {
    match error {
        DataFusionError::External(ours) => match ours.downcast::<Failure>() {
            Ok(failure) => (*failure).into(),
            Err(ours) => anyhow::Error::from_boxed(ours),
        },
        other => other.into(),
    }
}

/// The texts of a batch with the columns of [`TextColumns::reads`].
///
/// # Errors
/// If there is no text, or edits do not fit it.
pub fn edited_texts(batch: &RecordBatch) -> Result<StringArray> {
    let texts = batch
        .column_by_name("text")
        .context("text was not read")?
        .as_string::<i32>();
    Ok(match batch.column_by_name("edits") {
        Some(edits) => edit_texts(texts, edits)?,
        None => texts.clone(),
    })
}

/// One shard, zipped.
struct Rows {
    schema: SchemaRef,
    parts: Vec<Part>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send> =
            match Zip::open(&self.parts) {
                Ok(zip) => Box::new(zip),
                Err(error) => Box::new(std::iter::once(Err(error))),
            };
        let batches = batches.map(|batch| batch.map_err(external));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter(batches),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, exit_code};

    /// Found by a signal in a stage over all shards: exit 70.
    #[test]
    fn a_failure_is_still_known_behind_a_stage() {
        let failure = || anyhow::Error::from(Failure::new(Exit::Terminated, "interrupted"));
        for error in [failure(), failure().context("while reading")] {
            assert_eq!(exit_code(&internal(external(error))), 143);
        }
        assert_eq!(
            exit_code(&external(failure()).context("in a plan").into()),
            143
        );
        let full = anyhow::Error::from(std::io::Error::from_raw_os_error(28))
            .context("cannot write a file");
        assert_eq!(exit_code(&internal(external(full))), 74);
    }

    use arrow::array::{ArrayRef, StructArray, UInt64Array};
    use arrow::datatypes::{DataType, Field};
    use curate_stages::function::Function;
    use datafusion::functions::core::expr_fn::get_field;
    use datafusion::logical_expr::{col, when};

    #[test]
    fn a_kernel_runs_once_a_row_however_many_fields_are_taken() {
        let spill = tempfile::tempdir().expect("a temporary folder");
        let session = Engine::new(1, 1 << 30, spill.path().into())
            .expect("an engine")
            .session(1);
        let calls = Arc::new(AtomicUsize::new(0));
        let fields: arrow::datatypes::Fields = ["a", "b", "c"]
            .map(|name| Field::new(name, DataType::UInt64, true))
            .to_vec()
            .into();
        let (seen, output) = (Arc::clone(&calls), fields.clone());
        let kernel = move |columns: &[ArrayRef]| {
            seen.fetch_add(columns[0].len(), Ordering::Relaxed);
            Ok(Arc::new(StructArray::new(
                output.clone(),
                vec![Arc::clone(&columns[0]); 3],
                None,
            )) as ArrayRef)
        };
        let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..100));
        let rows = RecordBatch::try_from_iter([("n", numbers)]).expect("a batch");
        let counted =
            Function::new("counted", DataType::Struct(fields), kernel).call(vec![col("n")]);
        let struct_column = when(col("n").is_not_null(), counted)
            .end()
            .expect("an expression");
        let mut plan = session
            .read_batch(rows)
            .expect("a plan")
            .with_column("s", struct_column)
            .expect("a plan");
        for field in ["a", "b", "c"] {
            plan = plan
                .with_column(field, get_field(col("s"), field))
                .expect("a plan");
        }
        let plan = plan
            .select(["a", "b", "c"].map(col).to_vec())
            .expect("a plan");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(plan.collect()).expect("batches");
        assert_eq!(calls.load(Ordering::Relaxed), 100);
    }
}
