//! Tables to tables: one file a stage. A stage is a plan over one shard's zipped rows, or a kernel
//! over narrow columns of all shards. Nothing runs here.
//!
//! The stages are those of [`curate_schemas::stages::STAGES`], each in the file of its name; [`open`]
//! opens them for a manifest.
//!
//! | module | contents |
//! |---|---|
//! | [`plan`], [`function`] | expressions over a shard, and kernels as functions |
//! | [`text`] | the text that a stage sees |
//! | [`reuse`] | values of unchanged texts, copied from a former output |
//! | [`corpus`] | all shards, as a stage over the corpus sees them |
//! | [`survivor`] | which of several duplicates is kept |
//! | [`mix`] | epochs per bucket, draws per document |
//! | [`resources`] | files that a manifest names |

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages;
use datafusion_expr::{col, lit};
use serde_json::Value;

use crate::corpus::CorpusStage;
use crate::error::{Result, StageError};
use crate::plan::Plan;
use crate::resources::Opening;
use crate::reuse::Reuse;

mod bits;
pub mod corpus;
pub mod error;
pub mod exact_dedup;
pub mod filter;
pub mod function;
pub mod language;
pub mod mix;
pub mod near_dedup;
pub mod ngram;
pub mod paragraph_dedup;
pub mod plan;
pub mod quality;
mod record;
pub mod resources;
pub mod reuse;
pub mod score;
pub mod signals;
pub mod signatures;
mod sketch;
mod spill;
pub mod survivor;
pub mod text;
pub mod tokens;

/// Opens the row-aligned stages behind `documents`, in the order they run.
///
/// # Errors
/// [`StageError::Manifest`] if a file or model that the manifest names cannot be used.
pub fn open(opening: &Opening) -> Result<Vec<AnyStage>> {
    Ok(vec![
        AnyStage::shard(language::LanguageStage::open(opening)),
        AnyStage::shard(signals::SignalsStage::open(opening)?),
        AnyStage::shard(signatures::SignaturesStage::open(opening)),
        AnyStage::shard(filter::FilterStage::open(opening)?),
        AnyStage::corpus(exact_dedup::ExactDedupStage::open(opening)),
        AnyStage::corpus(near_dedup::NearDedupStage::open(opening)),
        AnyStage::corpus(paragraph_dedup::ParagraphDedupStage::open(opening)),
        AnyStage::shard(tokens::TokensStage::open(opening)?),
        AnyStage::shard(ngram::NgramStage::open(opening)?),
        AnyStage::shard(score::ScoreStage::open(opening)?),
        AnyStage::corpus(quality::QualityStage::open(opening)?),
    ])
}

/// The part that stages of both scopes share.
pub trait Stage: Send + Sync {
    /// The declaration of the stage.
    fn spec(&self) -> &'static StageSpec;

    /// The settings, canonical: a part of the stage's key.
    fn config(&self) -> Value;

    /// Digests of what else the output depends on, by name: models, tokenizers, word lists.
    /// `arriving` is the number of documents that reach the stage.
    fn resources(&self, _arriving: u64) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    /// The stage whose survivors reach this one; `documents` for all documents.
    fn follows(&self) -> &'static str {
        self.spec().follows
    }

    /// True if the stage also works on documents that do not reach it.
    fn covers_all(&self) -> bool {
        false
    }

    /// The columns that the stage reads, besides `doc_id` and those that say which documents reach
    /// it.
    fn reads(&self) -> Vec<Read>;

    /// Name of the stage, its table and its folder.
    fn name(&self) -> &'static str {
        self.spec().name
    }
}

/// A stage that maps one shard to one shard.
pub trait ShardStage: Stage {
    /// Adds the columns of the stage's table to the shard's zipped columns, `doc_id` and `reached`.
    /// `arriving` is the number of documents that reach the stage.
    ///
    /// # Errors
    /// If an expression cannot be planned.
    fn plan(&self, input: Plan, arriving: u64) -> Result<Plan>;

    /// What may be copied from a former output.
    fn reuse(&self, _arriving: u64) -> Option<Reuse> {
        None
    }

    /// How the stage ran, for the log, once its shards are written.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Any stage, by scope.
pub enum AnyStage {
    /// One shard to one shard.
    Shard(Box<dyn ShardStage>),
    /// All shards at once.
    Corpus(Box<dyn CorpusStage>),
}

impl AnyStage {
    fn shard(stage: impl ShardStage + 'static) -> AnyStage {
        AnyStage::Shard(Box::new(stage))
    }

    fn corpus(stage: impl CorpusStage + 'static) -> AnyStage {
        AnyStage::Corpus(Box::new(stage))
    }

    /// The part that both scopes share.
    pub fn stage(&self) -> &dyn Stage {
        match self {
            AnyStage::Shard(stage) => stage.as_ref(),
            AnyStage::Corpus(stage) => stage.as_ref(),
        }
    }
}

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

/// Every column that the driver reads for a stage: identity, which documents reach the stage, and
/// the stage's own columns.
pub fn all_reads(stage: &dyn Stage) -> Vec<Read> {
    let mut reads = narrow_reads(stage.follows());
    reads.extend(stage.reads());
    reads
}

/// Identity, and the columns from which `reached` is made.
pub fn narrow_reads(follows: &'static str) -> Vec<Read> {
    let mut reads = vec![read("documents", "doc_id")];
    reads.extend(reached_reads(follows));
    reads
}

/// The columns from which `reached` is made.
pub fn reached_reads(follows: &'static str) -> Vec<Read> {
    if follows == "documents" {
        return Vec::new();
    }
    let column = |column, name: &'static str| Read {
        table: follows,
        column,
        name: name.into(),
    };
    let mut reads = vec![column("reached", UP_REACHED)];
    if may_remove(follows) {
        reads.push(column("removed_by", UP_REMOVED_BY));
    }
    reads
}

fn may_remove(stage: &str) -> bool {
    stages::stage(stage).is_some_and(StageSpec::may_remove)
}

/// The column with the length of each text that a stage sees.
pub fn bytes_read(stage: &str) -> Read {
    read(
        stages::last_edits_before(stage).unwrap_or("documents"),
        "bytes",
    )
}

/// Adds `reached`: true if the document was kept by the stage `follows`.
///
/// # Errors
/// If the plan lacks the columns of [`reached_reads`].
pub fn with_reached(input: Plan, follows: &str) -> Result<Plan> {
    let reached = match follows {
        "documents" => lit(true),
        _ if may_remove(follows) => col(UP_REACHED).and(col(UP_REMOVED_BY).is_null()),
        _ => col(UP_REACHED),
    };
    input.with_column("reached", reached)
}

/// True if a row of a batch with the columns of [`reached_reads`] reaches the stage.
pub(crate) fn is_reached(rows: &RecordBatch, row: usize) -> bool {
    let Some(reached) = rows.column_by_name(UP_REACHED) else {
        return true;
    };
    let removed = rows
        .column_by_name(UP_REMOVED_BY)
        .is_some_and(|removed_by| removed_by.is_valid(row));
    reached.as_boolean().value(row) && !removed
}

/// A column of a batch.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| StageError::Bug(format!("{name} was not read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_text_is_in_the_last_table_with_edits() {
        assert_eq!(bytes_read("language"), read("documents", "bytes"));
        assert_eq!(bytes_read("near_dedup"), read("signals", "bytes"));
        assert_eq!(bytes_read("quality"), read("paragraph_dedup", "bytes"));
    }
}
