//! Stages over the corpus: kernels over narrow columns of all shards, and what they decide.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::text::TextSource;
use crate::{Read, Stage};

/// A stage that looks at all shards at once, at narrow columns only.
pub trait CorpusStage: Stage {
    /// Decides; the driver writes the decision into one file a shard.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    fn decide<'a>(&'a self, corpus: &'a dyn Corpus) -> Result<Decision<'a>>;
}

/// A corpus stage's result. Rows are handed out shard by shard, so that they need not be in memory
/// together.
pub struct Decision<'a> {
    /// For a shard: `doc` (UInt64, ascending) and the stage's own columns, of the documents for which
    /// a column is not null.
    pub annotations: Rows<'a>,
    /// Rows of further tables, by the table's name.
    pub tables: BTreeMap<&'static str, FurtherRows<'a>>,
    /// Facts about the decision, for the log.
    pub notes: Vec<String>,
    /// The limit of the manifest that is broken; nothing is committed then.
    pub refused: Option<String>,
}

impl<'a> Decision<'a> {
    /// A decision without further tables and notes.
    pub(crate) fn of(annotations: Rows<'a>) -> Decision<'a> {
        Decision {
            annotations,
            tables: BTreeMap::new(),
            notes: Vec::new(),
            refused: None,
        }
    }
}

/// Rows of a further table.
pub enum FurtherRows<'a> {
    /// Of the corpus as a whole.
    Whole(RecordBatch),
    /// Of each shard.
    PerShard(Rows<'a>),
}

/// The rows of a shard, by its number.
pub type Rows<'a> = Box<dyn Fn(usize) -> Result<RecordBatch> + Send + Sync + 'a>;

/// All shards, as a corpus stage sees them. A document is its number in the corpus, called `doc`:
/// shards in their order, rows in theirs. The shards of earlier runs come after those of this run;
/// only documents that those runs kept reach a stage.
pub trait Corpus: Send + Sync {
    /// Number of the first document of each shard, and last the number of documents.
    fn firsts(&self) -> &[u64];

    /// The earlier runs, in the order of their documents.
    fn earlier(&self) -> &[Earlier];

    /// How many shards are of this run; they come first.
    fn own_shards(&self) -> usize;

    /// Calls `visit` with the number of a batch's first document, and with the batch, of one shard
    /// of this run, in order: the named columns and what `is_reached` needs.
    ///
    /// # Errors
    /// If a file cannot be read, or the first that `visit` returns.
    fn shard(
        &self,
        shard: usize,
        reads: &[Read],
        visit: &mut dyn FnMut(u64, &RecordBatch) -> Result<()>,
    ) -> Result<()>;

    /// Calls `visit` with the number of a batch's first document, and with the batch: the named
    /// narrow columns and what `is_reached` needs, of all shards, from several threads in no
    /// defined order.
    ///
    /// # Errors
    /// If a file cannot be read, or the first that `visit` returns.
    fn scan(
        &self,
        reads: &[Read],
        visit: &(dyn Fn(u64, &RecordBatch) -> Result<()> + Sync),
    ) -> Result<()>;

    /// Calls `visit` with each document of `wanted` and its text, as `text` says, from several
    /// threads in no defined order.
    ///
    /// # Errors
    /// If a file cannot be read, or the first that `visit` returns.
    fn texts(
        &self,
        text: &TextSource,
        wanted: &(dyn Fn(u64) -> bool + Sync),
        visit: &(dyn Fn(u64, &str) -> Result<()> + Sync),
    ) -> Result<()>;

    /// Fails if the run is to stop; asked between pieces of work.
    ///
    /// # Errors
    /// Once the process was told to stop.
    fn check(&self) -> Result<()>;

    /// Memory that a kernel may use, bytes.
    fn memory(&self) -> u64;

    /// A folder for what does not fit into it.
    fn spill(&self) -> &Path;
}

/// An earlier run whose kept documents this run's documents are compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its directory, as the manifest has it.
    pub name: String,
    /// Number of its first document.
    pub first: u64,
}

/// Number of documents of this run. Those of earlier runs have greater numbers.
pub(crate) fn own_documents(corpus: &dyn Corpus) -> u64 {
    corpus
        .earlier()
        .first()
        .map_or_else(|| documents(corpus), |run| run.first)
}

/// Number of documents, those of earlier runs included.
pub(crate) fn documents(corpus: &dyn Corpus) -> u64 {
    corpus.firsts().last().copied().unwrap_or(0)
}

/// The earlier run that holds a document; `None` for this run.
pub(crate) fn run_of(earlier: &[Earlier], doc: u64) -> Option<&str> {
    let after = earlier.partition_point(|run| run.first <= doc);
    after.checked_sub(1).map(|at| earlier[at].name.as_str())
}

/// The shard of a document, by the number of each shard's first document.
pub(crate) fn shard_of(firsts: &[u64], doc: u64) -> usize {
    firsts.partition_point(|first| *first <= doc) - 1
}
