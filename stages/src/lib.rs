//! Tables to tables: one file a stage. A stage is a DataFusion plan over one shard's zipped rows,
//! or a kernel over narrow columns of all shards; nothing runs here.
//!
//! | file | stage | scope |
//! |---|---|---|
//! | [`language`] | language label, and which languages are kept | shard |
//! | [`signals`] | every rule's value, the heuristic score | shard |
//! | [`signatures`] | text hash, MinHash band keys | shard |
//! | [`filter`] | verdicts: expressions over `signals` | shard |
//! | [`exact_dedup`] | equal texts | corpus |
//! | [`near_dedup`] | MinHash candidates, verified, star clusters | corpus |
//! | [`paragraph_dedup`] | paragraphs or lines that stand in an earlier document | corpus |
//! | [`tokens`] | token counts | shard |
//! | [`ngram`] | how surprised an n-gram model is | shard |
//! | [`score`] | how surprised a language model is | shard |
//! | [`quality`] | vetoes and tails of model scores, q and its terms | corpus |
//! | [`mix`] | epochs per bucket, draws per document | corpus |
//!
//! [`rules`] lists every rule of `filter`; [`edits`] says what text the stages behind `signals`
//! see.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use curate_schemas::manifest::Manifest;
use curate_schemas::tables;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::DataFrame;
use serde_json::Value;

use crate::edits::TextColumns;
use crate::lists::Lists;

mod bits;
pub mod edits;
pub mod exact_dedup;
pub mod filter;
pub mod function;
pub mod language;
pub mod lists;
pub mod mix;
pub mod near_dedup;
pub mod ngram;
pub mod paragraph_dedup;
pub mod quality;
pub mod rules;
pub mod score;
pub mod signals;
pub mod signatures;
mod sketch;
mod spill;
pub mod survivor;
pub mod tokens;

/// A column that a stage reads: from a table, under the name it has in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The table.
    pub table: &'static str,
    /// The column in the table.
    pub column: &'static str,
    /// Its name in the plan.
    pub name: Cow<'static, str>,
}

/// A column read under its own name.
pub const fn read(table: &'static str, column: &'static str) -> Read {
    Read {
        table,
        column,
        name: Cow::Borrowed(column),
    }
}

const UP_REACHED: &str = "up_reached";
const UP_REMOVED_BY: &str = "up_removed_by";

/// What every stage that writes a row-aligned table has.
pub trait Stage: Send + Sync {
    /// Name of the stage, its table and its folder.
    fn name(&self) -> &'static str;

    /// Version of the code: raised when the output changes, so that stored results are not reused.
    fn version(&self) -> u32;

    /// The settings, canonical: they are a part of the stage's key.
    fn config(&self) -> Value;

    /// Digests of what else the output depends on, by name: models, tokenizers, word lists.
    fn resources(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    /// The table whose survivors reach this stage; `documents` for all of them.
    fn follows(&self) -> &'static str;

    /// Whether it also works on documents that do not reach it.
    fn covers_all(&self) -> bool {
        false
    }

    /// Tells how many documents the stage it follows kept, before its key is asked for.
    fn arrive(&self, _documents: u64) {}

    /// The columns it reads, beside `doc_id` and what says which documents reach it.
    fn reads(&self) -> Vec<Read>;
}

/// A stage that maps one shard to one shard.
pub trait ShardStage: Stage {
    /// The plan from the shard's zipped columns, with `doc_id` and `reached`, to the stage's table.
    ///
    /// # Errors
    /// If the plan cannot be built.
    fn plan(&self, input: DataFrame) -> Result<DataFrame>;

    /// What may be copied from a former output of this stage, see [`tokens`].
    fn reuses(&self) -> Option<Reuse> {
        None
    }

    /// What a person wants to know of how the stage ran, once its shards are there.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether a row that needs a value has none in the former output: `rows` has `doc_id`, what
    /// says who reaches the stage, and the columns of [`Reuse`] with [`KNOWN`] before their names.
    fn lacks(&self, _rows: &RecordBatch) -> bool {
        true
    }
}

/// What stands before the name of a column that comes from a former output.
pub const KNOWN: &str = "known_";

/// What may be copied from a former output, so that work on unchanged rows is not done again.
#[derive(Debug, Clone, Copy)]
pub struct Reuse {
    /// Columns of the stage's own table.
    pub columns: &'static [&'static str],
    /// Parts of the key that must be equal for their values to hold.
    pub parts: &'static [&'static str],
    /// Columns that are not read where no row lacks a value.
    pub spares: &'static [&'static str],
}

/// A stage that looks at all shards at once, at narrow columns only.
pub trait CorpusStage: Stage {
    /// Further tables that it writes.
    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    /// Decides; the driver writes the decision into one file a shard.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    fn decide<'a>(&'a self, corpus: &'a dyn Corpus) -> Result<Decision<'a>>;
}

/// A corpus stage's result. Rows are handed out shard by shard, so that they need not be in memory
/// together.
pub struct Decision<'a> {
    /// Of a shard: `doc` (UInt64, ascending) and the stage's own columns, for documents where one
    /// of them is not null.
    pub annotations: Rows<'a>,
    /// Of a shard: its rows of a further table, by the table's name.
    pub tables: BTreeMap<&'static str, Rows<'a>>,
    /// What a reader should know, for the log.
    pub notes: Vec<String>,
    /// Why nothing of it may be committed, where a limit of the manifest is broken.
    pub refused: Option<String>,
}

/// Rows that belong to a shard.
pub type Rows<'a> = Box<dyn Fn(usize) -> Result<RecordBatch> + Send + Sync + 'a>;

/// All shards, as a corpus stage may see them. A document is its number in the corpus, called
/// `doc`: shards in their order, rows in theirs; behind this run's shards stand those of earlier
/// runs, of which only kept documents reach any stage.
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
        text: TextColumns,
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

/// An earlier run that duplicates are looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its directory, as the manifest has it.
    pub name: String,
    /// Number of its first document.
    pub first: u64,
}

/// How many documents are of this run; the others come behind them.
pub(crate) fn own_documents(corpus: &dyn Corpus) -> u64 {
    corpus
        .earlier()
        .first()
        .map_or_else(|| documents(corpus), |run| run.first)
}

/// How many documents there are.
pub(crate) fn documents(corpus: &dyn Corpus) -> u64 {
    corpus.firsts().last().copied().unwrap_or(0)
}

/// The earlier run that holds a document; `None` for this one.
pub(crate) fn run_of(earlier: &[Earlier], doc: u64) -> Option<&str> {
    let after = earlier.partition_point(|run| run.first <= doc);
    after.checked_sub(1).map(|at| earlier[at].name.as_str())
}

/// Any stage, by scope.
pub enum AnyStage {
    /// One shard to one shard.
    Shard(Box<dyn ShardStage>),
    /// All shards at once.
    Corpus(Box<dyn CorpusStage>),
}

impl AnyStage {
    /// The part that both scopes share.
    pub fn stage(&self) -> &dyn Stage {
        match self {
            AnyStage::Shard(stage) => stage.as_ref(),
            AnyStage::Corpus(stage) => stage.as_ref(),
        }
    }
}

/// The row-aligned stages behind `documents`, in the order they run; `against` is the digest of the
/// earlier runs that duplicates are also looked for in.
pub fn stages(
    manifest: &Manifest,
    tokenizer: tokens::Counter,
    lists: &Lists,
    against: Option<String>,
    models: Models,
) -> Vec<AnyStage> {
    vec![
        AnyStage::Shard(Box::new(language::LanguageStage::new(manifest))),
        AnyStage::Shard(Box::new(signals::SignalsStage::new(
            manifest,
            lists.clone(),
        ))),
        AnyStage::Shard(Box::new(signatures::SignaturesStage::new(manifest))),
        AnyStage::Shard(Box::new(filter::FilterStage::new(manifest, lists.clone()))),
        AnyStage::Corpus(Box::new(exact_dedup::ExactDedupStage::new(
            manifest,
            against.clone(),
        ))),
        AnyStage::Corpus(Box::new(near_dedup::NearDedupStage::new(manifest, against))),
        AnyStage::Corpus(Box::new(paragraph_dedup::ParagraphDedupStage::new(
            manifest,
        ))),
        AnyStage::Shard(Box::new(tokens::TokensStage::new(manifest, tokenizer))),
        AnyStage::Shard(Box::new(ngram::NgramStage::new(manifest, models.ngram))),
        AnyStage::Shard(Box::new(score::ScoreStage::new(
            manifest,
            models.perplexity,
        ))),
        AnyStage::Corpus(Box::new(quality::QualityStage::new(manifest, lists))),
    ]
}

/// The models that a manifest names, opened.
#[derive(Default)]
pub struct Models {
    /// Of `[score.perplexity]`.
    pub perplexity: Option<Arc<score::LoadedModel>>,
    /// Of `[score.ngram]`.
    pub ngram: Option<Arc<ngram::NgramScorer>>,
}

/// Names of the row-aligned stages, `documents` first, in the order they run.
pub const STAGES: &[&str] = &[
    "documents",
    "language",
    "signals",
    "signatures",
    "filter",
    "exact_dedup",
    "near_dedup",
    "paragraph_dedup",
    "tokens",
    "ngram",
    "score",
    "quality",
];

/// Every column that the driver reads for a stage: identity, what says who reaches it, and the
/// stage's own.
pub fn all_reads(stage: &dyn Stage) -> Vec<Read> {
    let mut reads = vec![read("documents", "doc_id")];
    reads.extend(reached_reads(stage.follows()));
    reads.extend(stage.reads());
    reads
}

/// The columns from which `reached` is made.
pub fn reached_reads(follows: &'static str) -> Vec<Read> {
    if follows == "documents" {
        return Vec::new();
    }
    let mut reads = vec![Read {
        table: follows,
        column: "reached",
        name: UP_REACHED.into(),
    }];
    if may_remove(follows) {
        reads.push(Read {
            table: follows,
            column: "removed_by",
            name: UP_REMOVED_BY.into(),
        });
    }
    reads
}

fn may_remove(table: &str) -> bool {
    tables::schema(table).field_with_name("removed_by").is_ok()
}

/// The column that says how long each text is that a stage sees: edits are made in `signals` and
/// `paragraph_dedup`.
pub fn bytes_read(stage: &str) -> Read {
    match stage {
        "documents" | "language" | "signals" => read("documents", "bytes"),
        "tokens" | "ngram" | "score" | "quality" => read("paragraph_dedup", "bytes"),
        _ => read("signals", "bytes"),
    }
}

/// The shard of a document, by the number of each shard's first one.
pub(crate) fn shard_of(firsts: &[u64], doc: u64) -> usize {
    firsts.partition_point(|first| *first <= doc) - 1
}

/// A column of a batch.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| DataFusionError::Internal(format!("{name} was not read")))
}

/// Which rows of a batch with the columns of [`reached_reads`] reach a stage.
pub(crate) fn is_reached(rows: &RecordBatch, row: usize) -> bool {
    let Some(reached) = rows.column_by_name(UP_REACHED) else {
        return true;
    };
    let removed = rows
        .column_by_name(UP_REMOVED_BY)
        .is_some_and(|removed_by| removed_by.is_valid(row));
    reached.as_boolean().value(row) && !removed
}

/// Adds `reached`: whether the document was kept by the stage that this one follows.
///
/// # Errors
/// If the plan lacks the columns of [`reached_reads`].
pub fn with_reached(input: DataFrame, follows: &str) -> Result<DataFrame> {
    let reached = match follows {
        "documents" => lit(true),
        _ if may_remove(follows) => col(UP_REACHED).and(col(UP_REMOVED_BY).is_null()),
        _ => col(UP_REACHED),
    };
    input.with_column("reached", reached)
}

/// The columns of a table's schema, in its order.
pub(crate) fn select_table(plan: DataFrame, table: &str) -> Result<DataFrame> {
    let columns: Vec<Expr> = tables::schema(table)
        .fields()
        .iter()
        .map(|field| col(field.name()))
        .collect();
    plan.select(columns)
}

/// The value where the document reached the stage, else null.
pub(crate) fn if_reached(value: Expr) -> Result<Expr> {
    datafusion::logical_expr::when(col("reached"), value).end()
}
