//! Runs plans: one plan a shard on a thread of its own, or one plan over narrow columns of all shards that spills under
//! the memory pool. The engine yields batches; files are written by [`crate::writer`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use curate_schemas::tables;
use curate_stages::edits::{TextColumns, edit_texts};
use curate_stages::{Corpus, Read, ShardStage, reached_reads, with_reached};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;

use crate::run_dir::ShardFiles;
use crate::zip::{Part, Zip};

/// Threads, memory and a place to spill.
#[derive(Debug, Clone)]
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    /// Threads that plans and kernels may use.
    pub threads: usize,
    /// Memory for pool and kernels, bytes.
    pub memory: u64,
}

impl Engine {
    /// An engine that spills into `spill`.
    pub fn new(threads: usize, memory: u64, spill: PathBuf) -> Result<Engine> {
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill]));
        // Kernels take up to half (see `Corpus::memory`), the pool the rest.
        let pool = Arc::new(FairSpillPool::new((memory / 2) as usize));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk).build_arc()?;
        Ok(Engine { runtime, threads, memory })
    }

    fn session(&self, partitions: usize) -> SessionContext {
        let mut config = SessionConfig::new().with_target_partitions(partitions);
        // This rule moves the access to each field of a kernel's struct down to the kernel, which then runs once a field:
        // it cost the signals stage a factor of three.
        config.options_mut().optimizer.enable_leaf_expression_pushdown = false;
        SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime))
    }

    /// Runs a shard stage's plan over zipped files on this thread, handing its batches to `sink` in the rows' order.
    pub fn run_shard(
        &self,
        stage: &dyn ShardStage,
        parts: Vec<Part>,
        sink: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let session = self.session(1);
        let schema = Zip::open(&parts)?.schema();
        let table = streaming_table(schema, vec![Source::Zip(parts)])?;
        let plan = stage.plan(with_reached(session.read_table(table)?, stage.follows())?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let mut stream = plan.execute_stream().await?;
            while let Some(batch) = stream.next().await {
                sink(&batch?)?;
            }
            Ok(())
        })
    }

    /// Calls `work` for each of `items` on up to `threads` threads; the results come back in the items' order.
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
                let result = work(at, item);
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
                .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// All shards of a run, as corpus stages see them.
pub struct CorpusFiles {
    engine: Engine,
    shards: Arc<Vec<ShardFiles>>,
    follows: &'static str,
}

impl CorpusFiles {
    /// The shards in the documents' order, for a stage that follows `follows`.
    pub fn new(engine: Engine, shards: Vec<ShardFiles>, follows: &'static str) -> Self {
        CorpusFiles { engine, shards: Arc::new(shards), follows }
    }

    /// Runs `work` on a runtime with the engine's threads.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(self.engine.threads).build()?;
        Ok(runtime.block_on(work))
    }
}

/// The files and columns of one shard, in the order the tables are first named.
pub fn parts(files: &ShardFiles, reads: &[Read]) -> Result<Vec<Part>> {
    let mut parts: Vec<(&str, Part)> = Vec::new();
    for read in reads {
        let column = (read.column.to_owned(), read.name.to_owned());
        if let Some((_, part)) = parts.iter_mut().find(|(table, _)| *table == read.table) {
            part.columns.push(column);
            continue;
        }
        let path = files.get(read.table).with_context(|| format!("stage {} has not run", read.table))?;
        parts.push((read.table, Part { path: path.clone(), columns: vec![column] }));
    }
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

impl Corpus for CorpusFiles {
    fn rows(&self, reads: &[Read]) -> datafusion::error::Result<DataFrame> {
        let mut all = reached_reads(self.follows);
        all.extend_from_slice(reads);
        let mut fields = vec![Field::new("doc", DataType::UInt64, false)];
        for read in &all {
            let schema = tables::schema(read.table);
            fields.push(schema.field_with_name(read.column)?.clone().with_name(read.name));
        }
        let partitions = self.engine.threads;
        let sources = (0..partitions).map(|first| Source::Shards {
            shards: Arc::clone(&self.shards),
            reads: all.clone(),
            first,
            step: partitions,
        });
        let table = streaming_table(Arc::new(Schema::new(fields)), sources.collect())?;
        with_reached(self.engine.session(partitions).read_table(table)?, self.follows)
    }

    fn texts(
        &self,
        text: TextColumns,
        docs: &[u64],
        visit: &(dyn Fn(u64, &str) + Sync),
    ) -> datafusion::error::Result<()> {
        let by_shard: Vec<&[u64]> = docs.chunk_by(|a, b| a >> 32 == b >> 32).collect();
        let read_shard = |_: usize, docs: &&[u64]| -> Result<()> {
            let shard = (docs[0] >> 32) as usize;
            let mut wanted = docs.iter().copied().peekable();
            let mut next = (shard as u64) << 32;
            for batch in Zip::open(&parts(&self.shards[shard], &text.reads())?)? {
                let batch = batch?;
                let texts = edited_texts(&batch)?;
                while let Some(doc) = wanted.next_if(|doc| *doc < next + batch.num_rows() as u64) {
                    visit(doc, texts.value((doc - next) as usize));
                }
                next += batch.num_rows() as u64;
                if wanted.peek().is_none() {
                    break;
                }
            }
            Ok(())
        };
        let read = self.engine.for_each(&by_shard, read_shard);
        read.map(|_| ()).map_err(|error| DataFusionError::External(error.into()))
    }

    fn memory(&self) -> u64 {
        self.engine.memory / 2
    }
}

/// The texts of a batch with the columns of [`TextColumns::reads`].
///
/// # Errors
/// If there is no text, or edits do not fit it.
pub fn edited_texts(batch: &RecordBatch) -> Result<StringArray> {
    let texts = batch.column_by_name("text").context("text was not read")?.as_string::<i32>();
    Ok(match batch.column_by_name("edits") {
        Some(edits) => edit_texts(texts, edits)?,
        None => texts.clone(),
    })
}

fn streaming_table(schema: SchemaRef, sources: Vec<Source>) -> datafusion::error::Result<Arc<StreamingTable>> {
    let partition = |source| Arc::new(Rows { schema: Arc::clone(&schema), source }) as Arc<dyn PartitionStream>;
    let partitions = sources.into_iter().map(partition).collect();
    Ok(Arc::new(StreamingTable::try_new(Arc::clone(&schema), partitions)?))
}

/// Where a partition's rows come from.
#[derive(Clone)]
enum Source {
    /// One shard, zipped.
    Zip(Vec<Part>),
    /// Every `step`th shard from `first`, opened one after the other, with `doc` in front.
    Shards { shards: Arc<Vec<ShardFiles>>, reads: Vec<Read>, first: usize, step: usize },
}

struct Rows {
    schema: SchemaRef,
    source: Source,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches: Batches = match self.source.clone() {
            Source::Zip(parts) => match Zip::open(&parts) {
                Ok(zip) => Box::new(zip),
                Err(error) => Box::new(std::iter::once(Err(error))),
            },
            Source::Shards { shards, reads, first, step } => {
                let schema = Arc::clone(&self.schema);
                let numbers = (first..shards.len()).step_by(step);
                Box::new(numbers.flat_map(move |shard| numbered(&shards[shard], shard, &reads, &schema)))
            }
        };
        let batches = batches.map(|batch| batch.map_err(|error| DataFusionError::External(error.into())));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}

/// The batches of a shard with `doc = shard << 32 | row` in front.
fn numbered(files: &ShardFiles, shard: usize, reads: &[Read], schema: &SchemaRef) -> Batches {
    let zip = match parts(files, reads).and_then(|parts| Zip::open(&parts)) {
        Ok(zip) => zip,
        Err(error) => return Box::new(std::iter::once(Err(error))),
    };
    let mut next = (shard as u64) << 32;
    let schema = Arc::clone(schema);
    // The zip groups columns by table; the plan wants them as asked.
    let names: Vec<&'static str> = reads.iter().map(|read| read.name).collect();
    Box::new(zip.map(move |batch| {
        let batch = batch?;
        let docs = UInt64Array::from_iter_values(next..next + batch.num_rows() as u64);
        next += batch.num_rows() as u64;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(docs)];
        for name in &names {
            columns.push(Arc::clone(batch.column_by_name(name).with_context(|| format!("{name} was not read"))?));
        }
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{StructArray, UInt64Array};
    use curate_stages::function::Function;
    use datafusion::functions::core::expr_fn::get_field;
    use datafusion::logical_expr::{col, when};

    #[test]
    fn a_kernel_runs_once_a_row_however_many_fields_are_taken() {
        let spill = tempfile::tempdir().expect("a temporary folder");
        let session = Engine::new(1, 1 << 30, spill.path().into()).expect("an engine").session(1);
        let calls = Arc::new(AtomicUsize::new(0));
        let fields: arrow::datatypes::Fields =
            ["a", "b", "c"].map(|name| Field::new(name, DataType::UInt64, true)).to_vec().into();
        let (seen, output) = (Arc::clone(&calls), fields.clone());
        let kernel = move |columns: &[ArrayRef]| {
            seen.fetch_add(columns[0].len(), Ordering::Relaxed);
            Ok(Arc::new(StructArray::new(output.clone(), vec![Arc::clone(&columns[0]); 3], None)) as ArrayRef)
        };
        let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..100));
        let rows = RecordBatch::try_from_iter([("n", numbers)]).expect("a batch");
        let counted = Function::new("counted", DataType::Struct(fields), kernel).call(vec![col("n")]);
        let struct_column = when(col("n").is_not_null(), counted).end().expect("an expression");
        let mut plan = session.read_batch(rows).expect("a plan").with_column("s", struct_column).expect("a plan");
        for field in ["a", "b", "c"] {
            plan = plan.with_column(field, get_field(col("s"), field)).expect("a plan");
        }
        let plan = plan.select(["a", "b", "c"].map(col).to_vec()).expect("a plan");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(plan.collect()).expect("batches");
        assert_eq!(calls.load(Ordering::Relaxed), 100);
    }
}
