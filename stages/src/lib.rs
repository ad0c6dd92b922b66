//! The stages, which make tables from tables. A stage is a plan over one shard's zipped rows, or a
//! kernel over narrow columns of all shards. Nothing runs here.
//!
//! [`curate_schemas::stages::STAGES`] declares the stages. Each stage is in the file of its name,
//! and [`open`] opens all of them for a manifest.
//!
//! | module | contents |
//! |---|---|
//! | [`plan`], [`function`] | expressions over a shard, and kernels as functions |
//! | [`text`] | the text that a stage sees |
//! | [`reuse`] | values of unchanged texts, copied from a previous output |
//! | [`calibrated`] | q of a document by a calibration, and its law |
//! | [`corpus`] | all shards, as a stage over the corpus sees them |
//! | [`survivor`] | the choice of the duplicate that is kept |
//! | [`mix`] | epochs per bucket, draws per document |
//! | [`resources`] | files that a manifest names |

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::{self, documents::DOCUMENTS};
use datafusion_expr::{col, lit};
use serde_json::Value;

use crate::corpus::CorpusStage;
use crate::error::{Result, StageError};
use crate::plan::Plan;
use crate::resources::Opening;
use crate::reuse::Reuse;

mod bits;
pub mod calibrated;
pub mod corpus;
pub mod coverage;
pub mod error;
pub mod exact_dedup;
pub mod filter;
pub mod function;
pub mod language;
pub mod mix;
pub mod near_dedup;
pub mod ngram;
pub mod paragraph_dedup;
pub mod pii;
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

/// Opens the row-aligned stages after `documents`, in the order in which they run.
///
/// # Errors
/// [`StageError::Manifest`] if a file or model that the manifest names cannot be used.
pub fn open(opening: &Opening) -> Result<Vec<AnyStage>> {
    stages::aligned()
        .filter(|spec| spec.name != DOCUMENTS.name)
        .map(|spec| open_stage(spec.name, opening))
        .collect()
}

/// Opens one row-aligned stage behind `documents`.
///
/// # Errors
/// As for [`open`], or if there is no such stage.
pub fn open_stage(name: &str, opening: &Opening) -> Result<AnyStage> {
    Ok(match name {
        "language" => AnyStage::shard(language::LanguageStage::open(opening)?),
        "signals" => AnyStage::shard(signals::SignalsStage::open(opening)?),
        "signatures" => AnyStage::shard(signatures::SignaturesStage::open(opening)),
        "filter" => AnyStage::shard(filter::FilterStage::open(opening)?),
        "exact_dedup" => AnyStage::corpus(exact_dedup::ExactDedupStage::open(opening)),
        "near_dedup" => AnyStage::corpus(near_dedup::NearDedupStage::open(opening)),
        "paragraph_dedup" => AnyStage::corpus(paragraph_dedup::ParagraphDedupStage::open(opening)),
        "pii" => AnyStage::shard(pii::PiiStage::open(opening)?),
        "tokens" => AnyStage::shard(tokens::TokensStage::open(opening)?),
        "ngram" => AnyStage::shard(ngram::NgramStage::open(opening)?),
        "score" => AnyStage::shard(score::ScoreStage::open(opening)?),
        "quality" => AnyStage::corpus(quality::QualityStage::open(opening)?),
        _ => return Err(StageError::Bug(format!("no stage {name} can be opened"))),
    })
}

/// The part that stages of both scopes share.
pub trait Stage: Send + Sync {
    /// The declaration of the stage.
    fn spec(&self) -> &'static StageSpec;

    /// The settings in canonical form. They are a part of the stage's key.
    fn config(&self) -> Value;

    /// Digests of the models, tokenizers and word lists that the output depends on, by name.
    /// `arriving` is the number of documents that reach the stage.
    fn resources(&self, _arriving: u64) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    /// The stage whose survivors reach this stage; `documents` if all documents reach it.
    fn follows(&self) -> &'static str {
        self.spec().follows
    }

    /// True if the stage also works on documents that do not reach it.
    fn covers_all(&self) -> bool {
        false
    }

    /// The columns that the stage reads, besides `doc_id` and the columns of [`reached_reads`].
    fn reads(&self) -> Vec<Read>;

    /// Name of the stage, which is also the name of its table and its folder.
    fn name(&self) -> &'static str {
        self.spec().name
    }
}

/// A stage that maps one shard to one shard.
pub trait ShardStage: Stage {
    /// Adds the columns of the stage's table to a plan over the shard's zipped columns, `doc_id`
    /// and `reached`. `arriving` is the number of documents that reach the stage.
    ///
    /// # Errors
    /// If an expression cannot be planned.
    fn plan(&self, input: Plan, arriving: u64) -> Result<Plan>;

    /// The values that may be copied from a previous output; `None`: all values are computed.
    fn reuse(&self, _arriving: u64) -> Option<Reuse> {
        None
    }

    /// Facts about the work of the stage, one line each, for the log. Called after all shards are
    /// written.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A stage of either scope.
pub enum AnyStage {
    /// A stage that maps one shard to one shard.
    Shard(Box<dyn ShardStage>),
    /// A stage that looks at all shards at once.
    Corpus(Box<dyn CorpusStage>),
}

impl AnyStage {
    fn shard(stage: impl ShardStage + 'static) -> AnyStage {
        AnyStage::Shard(Box::new(stage))
    }

    fn corpus(stage: impl CorpusStage + 'static) -> AnyStage {
        AnyStage::Corpus(Box::new(stage))
    }

    /// The part that stages of both scopes share.
    pub fn stage(&self) -> &dyn Stage {
        match self {
            AnyStage::Shard(stage) => stage.as_ref(),
            AnyStage::Corpus(stage) => stage.as_ref(),
        }
    }
}

/// A column of a table that a stage reads, and its name in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Name of the table.
    pub table: &'static str,
    /// Name of the column in the table.
    pub column: &'static str,
    /// Name of the column in the plan.
    pub name: Cow<'static, str>,
}

/// A column that is read under its own name.
pub const fn read(table: &'static str, column: &'static str) -> Read {
    Read {
        table,
        column,
        name: Cow::Borrowed(column),
    }
}

/// Name in a plan of the column `reached` of the stage before. The stage itself makes `reached`.
const UP_REACHED: &str = "up_reached";
/// Name in a plan of the column `removed_by` of the stage before.
const UP_REMOVED_BY: &str = "up_removed_by";

/// All columns that the driver reads for a stage: `doc_id`, the columns of [`reached_reads`], and
/// the columns of [`Stage::reads`].
pub fn all_reads(stage: &dyn Stage) -> Vec<Read> {
    let mut reads = narrow_reads(stage.follows());
    reads.extend(stage.reads());
    reads
}

/// The column `doc_id`, and the columns of [`reached_reads`].
pub fn narrow_reads(follows: &'static str) -> Vec<Read> {
    let mut reads = vec![read("documents", "doc_id")];
    reads.extend(reached_reads(follows));
    reads
}

/// The columns from which [`with_reached`] makes `reached`, for a stage after `follows`.
pub fn reached_reads(follows: &'static str) -> Vec<Read> {
    // Every document reaches a stage that follows `documents`.
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

/// True if the stage may remove documents, and so has the column `removed_by`.
fn may_remove(stage: &str) -> bool {
    stages::stage(stage).is_some_and(StageSpec::may_remove)
}

/// The column with the length in bytes of each text that a stage sees.
pub fn bytes_read(stage: &str) -> Read {
    // A table with edits has the length of the text after them.
    read(
        stages::last_edits_before(stage).unwrap_or("documents"),
        "bytes",
    )
}

/// Adds the column `reached`: true if the stage `follows` kept the document.
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

/// True if a row of a batch reaches the stage. The batch has the columns of [`reached_reads`].
pub(crate) fn is_reached(rows: &RecordBatch, row: usize) -> bool {
    // Without the column the stage follows `documents`, so that every row reaches the stage.
    let Some(reached) = rows.column_by_name(UP_REACHED) else {
        return true;
    };

    let removed = rows
        .column_by_name(UP_REMOVED_BY)
        .is_some_and(|removed_by| removed_by.is_valid(row));
    reached.as_boolean().value(row) && !removed
}

/// The column `name` of a batch.
///
/// # Errors
/// [`StageError::Bug`] if the batch has no such column.
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
        assert_eq!(bytes_read("quality"), read("pii", "bytes"));
    }
}
