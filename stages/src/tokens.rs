//! Token counts. The slowest of the cheap stages, so counts of unchanged text are copied from the
//! stage's former output, and nothing that does not need tokens waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use curate_schemas::manifest::{Manifest, TokenScope};
use curate_schemas::tables;
use curate_scorers::tokenizer::Tokenizer;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch, StructArray, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, col, lit, when};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::edits::TextColumns;
use crate::function::{Function, text};
use crate::{Read, Reuse, ShardStage, Stage, is_reached, select_table};

/// A loaded tokenizer, shared by all threads.
pub type Counter = Arc<Tokenizer>;

/// `doc_id`s below this are the hash sample that is counted whatever the scope: one in 16, for
/// `doc_id` is a hash in hexadecimal digits.
pub const SAMPLE_BELOW: &str = "1";

const COLUMNS: [&str; 3] = ["tokens", "tokens_before", "text_hash"];
/// What the kernel gives.
const COUNTED: [&str; 2] = ["tokens", "text_hash"];
const KNOWN_COLUMNS: [&str; 3] = ["known_tokens", "known_tokens_before", "known_text_hash"];

/// The stage `tokens`.
pub struct TokensStage {
    scope: TokenScope,
    tokenizer: Counter,
    text: TextColumns,
}

impl TokensStage {
    /// The stage as the manifest sets it.
    pub fn new(manifest: &Manifest, tokenizer: Counter) -> Self {
        TokensStage {
            scope: manifest.tokens.scope,
            tokenizer,
            text: TextColumns::last(manifest),
        }
    }
}

impl Stage for TokensStage {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn version(&self) -> u32 {
        3
    }

    fn config(&self) -> Value {
        json!({ "scope": self.scope })
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        [("tokenizer", self.tokenizer.digest().to_owned())].into()
    }

    fn follows(&self) -> &'static str {
        "paragraph_dedup"
    }

    fn covers_all(&self) -> bool {
        self.scope == TokenScope::All
    }

    fn reads(&self) -> Vec<Read> {
        self.text.reads()
    }
}

impl ShardStage for TokensStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let has = |name: &str| input.schema().has_column_with_unqualified_name(name);
        let (has_known, has_text) = (has("known_tokens"), has("text"));
        let wanted = match self.scope {
            TokenScope::All => lit(true),
            TokenScope::Survivors => col("reached").or(col("doc_id").lt(lit(SAMPLE_BELOW))),
        };
        let missing = match has_known {
            true => wanted.clone().and(col("known_tokens").is_null()),
            false => wanted.clone(),
        };
        let mut plan = input;
        if has_text {
            let after = count_tokens(self.text.text(), &self.tokenizer);
            plan = plan.with_column("counted", when(missing.clone(), after).end()?)?;
            let before = match self.text {
                TextColumns::Plain => lit(ScalarValue::UInt64(None)),
                TextColumns::Edited(_) => {
                    let before = get_field(count_tokens(col("text"), &self.tokenizer), "tokens");
                    when(missing.and(col("edits").is_not_null()), before).end()?
                }
            };
            plan = plan.with_column("counted_before", before)?;
        }
        for (column, known) in COLUMNS.into_iter().zip(KNOWN_COLUMNS) {
            let counted = match column {
                "tokens_before" => col("counted_before"),
                _ => get_field(col("counted"), column),
            };
            let value = match (has_known, has_text) {
                (true, false) => col(known),
                (true, true) => {
                    when(col("known_tokens").is_not_null(), col(known)).otherwise(counted)?
                }
                (false, _) => counted,
            };
            // What a former scope or other survivors left counted is not carried along: equal keys,
            // equal bytes.
            plan = plan.with_column(column, when(wanted.clone(), value).end()?)?;
        }
        select_table(plan, "tokens")
    }

    fn reuses(&self) -> Option<Reuse> {
        // Edits are a part of what was counted; where there are none, `signals` is no part of
        // either key.
        let parts: &[&str] = match self.text {
            TextColumns::Edited("paragraph_dedup") => {
                &["documents", "paragraph_dedup", "tokenizer"]
            }
            _ => &["documents", "signals", "tokenizer"],
        };
        Some(Reuse {
            columns: &COLUMNS,
            parts,
            spares: &["text", "edits"],
        })
    }

    fn lacks(&self, rows: &RecordBatch) -> bool {
        let (Some(known), Some(ids)) = (
            rows.column_by_name("known_tokens"),
            rows.column_by_name("doc_id"),
        ) else {
            return true;
        };
        let ids = ids.as_string::<i32>();
        let wanted = |row: usize| match self.scope {
            TokenScope::All => true,
            TokenScope::Survivors => is_reached(rows, row) || ids.value(row) < SAMPLE_BELOW,
        };
        (0..rows.num_rows()).any(|row| known.is_null(row) && wanted(row))
    }
}

/// `count_tokens(text, tokenizer digest) -> {tokens, text_hash}`.
fn count_tokens(text_column: Expr, tokenizer: &Counter) -> Expr {
    let digest = lit(tokenizer.digest());
    let tokenizer = Arc::clone(tokenizer);
    let schema = tables::schema("tokens");
    let fields: Fields = COUNTED
        .iter()
        .map(|name| schema.field_with_name(name).expect("declared").clone())
        .collect();
    let output = fields.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (mut counts, mut hashes) = (UInt64Builder::new(), FixedSizeBinaryBuilder::new(16));
        for text in text(columns, 0)? {
            let text = text.unwrap_or_default();
            let count = tokenizer
                .count(text)
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
            counts.append_value(count);
            hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(counts.finish()), Arc::new(hashes.finish())];
        Ok(Arc::new(StructArray::try_new(
            output.clone(),
            columns,
            None,
        )?))
    };
    Function::new("count_tokens", DataType::Struct(fields), kernel).call(vec![text_column, digest])
}
