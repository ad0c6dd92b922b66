//! Stages over the corpus: kernels over narrow columns of all shards, and their decisions.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::text::TextSource;
use crate::{Read, Stage};

/// A stage that looks at narrow columns of all shards at once.
pub trait CorpusStage: Stage {
    /// Decides over all documents. The driver writes the decision into one file for each shard.
    ///
    /// # Errors
    /// If a file cannot be read or written, or if the corpus exceeds a limit of the stage.
    fn decide<'a>(&'a self, corpus: &'a dyn Corpus) -> Result<Decision<'a>>;
}

/// The result of a corpus stage. The rows of each shard are made when they are needed, so that the
/// rows of all shards need not be in memory together.
pub struct Decision<'a> {
    /// The annotations of a shard: `doc` (UInt64, ascending) and the stage's own columns, for the
    /// documents for which a column is not null.
    pub annotations: ShardRows<'a>,
    /// Rows of further tables, by the table's name.
    pub tables: BTreeMap<&'static str, FurtherRows<'a>>,
    /// Facts about the decision, one line each, for the log.
    pub notes: Vec<String>,
    /// The reason not to commit the decision, which breaks a limit of the manifest. `None`: the
    /// decision is committed.
    pub refused: Option<String>,
}

impl<'a> Decision<'a> {
    /// A decision without further tables and notes.
    pub(crate) fn of(annotations: ShardRows<'a>) -> Decision<'a> {
        Decision {
            annotations,
            tables: BTreeMap::new(),
            notes: Vec::new(),
            refused: None,
        }
    }
}

/// Rows of a table other than the stage's own.
pub enum FurtherRows<'a> {
    /// The rows of the whole corpus.
    Whole(RecordBatch),
    /// The rows of each shard.
    PerShard(ShardRows<'a>),
}

/// A function from the number of a shard to the rows of the shard.
pub type ShardRows<'a> = Box<dyn Fn(usize) -> Result<RecordBatch> + Send + Sync + 'a>;

/// All shards, as a corpus stage sees them.
///
/// Documents are numbered through the corpus: shards in their order, and rows in their order within
/// a shard. The number of a document is called `doc`. The shards of earlier runs come after those
/// of this run. Of an earlier run, only documents that the run kept reach a stage.
pub trait Corpus: Send + Sync {
    /// The number of the first document of each shard. The last entry is the number of all
    /// documents.
    fn firsts(&self) -> &[u64];

    /// The earlier runs, in the order of their documents.
    fn earlier(&self) -> &[Earlier];

    /// The number of shards of this run, which come first.
    fn own_shards(&self) -> usize;

    /// Calls `visit` for each batch of one shard of this run, in order. The arguments are the
    /// number of the batch's first document, and the batch with the named columns and those that
    /// `is_reached` needs.
    ///
    /// # Errors
    /// If a file cannot be read, or the first error that `visit` returns.
    fn shard(
        &self,
        shard: usize,
        reads: &[Read],
        visit: &mut dyn FnMut(u64, &RecordBatch) -> Result<()>,
    ) -> Result<()>;

    /// Calls `visit` for each batch of all shards, from several threads in no defined order. The
    /// arguments are the number of the batch's first document, and the batch with the named narrow
    /// columns and those that `is_reached` needs. All rows of a batch are of one shard.
    ///
    /// # Errors
    /// If a file cannot be read, or the first error that `visit` returns.
    fn scan(
        &self,
        reads: &[Read],
        visit: &(dyn Fn(u64, &RecordBatch) -> Result<()> + Sync),
    ) -> Result<()>;

    /// Calls `visit` with each document for which `wanted` is true, and with its text under `text`,
    /// from several threads in no defined order.
    ///
    /// # Errors
    /// If a file cannot be read, or the first error that `visit` returns.
    fn texts(
        &self,
        text: &TextSource,
        wanted: &(dyn Fn(u64) -> bool + Sync),
        visit: &(dyn Fn(u64, &str) -> Result<()> + Sync),
    ) -> Result<()>;

    /// Fails if the run must stop. Stages call this between pieces of work.
    ///
    /// # Errors
    /// If the process received a signal to stop.
    fn check(&self) -> Result<()>;

    /// The memory that a kernel may use, bytes.
    fn memory(&self) -> u64;

    /// The folder for data that does not fit into [`Corpus::memory`].
    fn spill(&self) -> &Path;
}

/// An earlier run. Documents of this run are also compared with the documents that it kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// The directory of the run, as written in the manifest.
    pub name: String,
    /// The number of the run's first document.
    pub first: u64,
}

/// The number of documents of this run. Documents of earlier runs have greater numbers.
pub(crate) fn own_documents(corpus: &dyn Corpus) -> u64 {
    corpus
        .earlier()
        .first()
        .map_or_else(|| documents(corpus), |run| run.first)
}

/// The number of documents, those of earlier runs included.
pub(crate) fn documents(corpus: &dyn Corpus) -> u64 {
    corpus.firsts().last().copied().unwrap_or(0)
}

/// The name of the earlier run that holds a document; `None` for this run.
pub(crate) fn run_of(earlier: &[Earlier], doc: u64) -> Option<&str> {
    let after = earlier.partition_point(|run| run.first <= doc);
    after.checked_sub(1).map(|at| earlier[at].name.as_str())
}

/// The shard of a document. `firsts` has the number of each shard's first document.
pub(crate) fn shard_of(firsts: &[u64], doc: u64) -> usize {
    firsts.partition_point(|first| *first <= doc) - 1
}
