//! Token counts. The slowest of the cheap stages: counts of unchanged text are copied from the
//! stage's former output, and no stage that does without tokens waits for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryBuilder, StructArray, UInt64Builder};
use arrow::datatypes::DataType;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::tokens::{TOKENS, TokenScope};
use curate_scorers::tokenizer::Tokenizer;
use datafusion_expr::{Expr, col, lit};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Result, StageError};
use crate::function::{Function, fields_of, text};
use crate::plan::{Plan, null_of};
use crate::resources::Opening;
use crate::reuse::Reuse;
use crate::text::TextSource;
use crate::{Read, ShardStage, Stage};

/// `doc_id`s below this are the hash sample that is counted whatever the scope: one in 16, because
/// a `doc_id` is a hash in hexadecimal digits.
pub const SAMPLE_BELOW: &str = "1";

const COLUMNS: [&str; 3] = ["tokens", "tokens_before", "text_hash"];

/// The stage `tokens`.
pub struct TokensStage {
    scope: TokenScope,
    tokenizer: Arc<Tokenizer>,
    text: TextSource,
}

impl TokensStage {
    /// The stage as the manifest sets it, with its tokenizer.
    ///
    /// # Errors
    /// If the tokenizer's file cannot be used.
    pub fn open(opening: &Opening) -> Result<Self> {
        let settings = &opening.manifest.tokens;
        let tokenizer = opening.tokenizer("tokens.tokenizer", &settings.tokenizer)?;
        Ok(TokensStage {
            scope: settings.scope,
            tokenizer: Arc::new(tokenizer),
            text: TextSource::before(TOKENS.name, opening.manifest),
        })
    }
}

impl Stage for TokensStage {
    fn spec(&self) -> &'static StageSpec {
        &TOKENS
    }

    fn config(&self) -> Value {
        json!({ "scope": self.scope })
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        let mut parts = BTreeMap::from([("tokenizer", self.tokenizer.digest().to_owned())]);
        // With several steps that edit, the parts for their tables do not say which of them do.
        if self.text.tables().len() > 1 {
            parts.insert("edits", self.text.tables().join(" "));
        }
        parts
    }

    fn covers_all(&self) -> bool {
        self.scope == TokenScope::All
    }

    fn reads(&self) -> Vec<Read> {
        self.text.reads()
    }
}

impl ShardStage for TokensStage {
    fn plan(&self, input: Plan, arriving: u64) -> Result<Plan> {
        let reuse = self.reuse(arriving).expect("tokens are always reused");
        let counted = count_tokens(&self.text, &self.tokenizer);
        reuse.fill(input, counted, |column| null_of(TOKENS.name, column))
    }

    fn reuse(&self, _: u64) -> Option<Reuse> {
        let wanted = match self.scope {
            TokenScope::All => lit(true),
            TokenScope::Survivors => col("reached").or(col("doc_id").lt(lit(SAMPLE_BELOW))),
        };
        // A text that nothing edits now, but something edited then, is to be counted again.
        let known = match self.text.is_plain() {
            true => col("known_tokens_before").is_null(),
            false => lit(true),
        };
        let known = col("known_tokens").is_not_null().and(known);
        let parts = ["tokenizer", "edits"];
        Some(Reuse::of_text(
            TOKENS.name,
            &self.text,
            &parts,
            &COLUMNS,
            wanted,
            known,
        ))
    }
}

/// `count_tokens(edited text, text, tokenizer digest) -> {tokens, tokens_before, text_hash}`.
fn count_tokens(source: &TextSource, tokenizer: &Arc<Tokenizer>) -> Expr {
    let digest = lit(tokenizer.digest());
    let tokenizer = Arc::clone(tokenizer);
    let is_plain = source.is_plain();
    let output = fields_of(TOKENS.name, &COLUMNS);
    let fields = output.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (mut counts, mut before) = (UInt64Builder::new(), UInt64Builder::new());
        let mut hashes = FixedSizeBinaryBuilder::new(16);
        let ingested = text(columns, 1)?;

        for (row, text) in text(columns, 0)?.iter().enumerate() {
            let text = text.unwrap_or_default();
            counts.append_value(tokenizer.count(text).map_err(StageError::kernel)?);
            hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;

            // A text that no step edited is the same before and after.
            let is_edited = !is_plain && columns[3..].iter().any(|edits| edits.is_valid(row));
            let counted = is_edited.then(|| tokenizer.count(ingested.value(row)));
            before.append_option(counted.transpose().map_err(StageError::kernel)?);
        }

        let columns: Vec<ArrayRef> = vec![
            Arc::new(counts.finish()),
            Arc::new(before.finish()),
            Arc::new(hashes.finish()),
        ];
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            columns,
            None,
        )?))
    };

    let mut arguments = vec![source.text(), col("text"), digest];
    arguments.extend(source.edits());
    Function::new("count_tokens", DataType::Struct(output), kernel).call(arguments)
}
