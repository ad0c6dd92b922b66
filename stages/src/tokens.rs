//! Token counts. Counts of unchanged texts are copied from the stage's previous output, because
//! this is the slowest of the cheap stages. Only stages that need token counts depend on it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, ListArray, StringArray, StructArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Fields};
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
use crate::text::{TextSource, edit_row, list_of_structs};
use crate::{Read, ShardStage, Stage};

/// Documents with a `doc_id` below this text are a sample that is counted in every scope. The
/// sample is one document in 16, because a `doc_id` is a hash in hexadecimal digits.
pub const SAMPLE_BELOW: &str = "1";

/// The columns of the table that the stage makes.
const COLUMNS: [&str; 3] = ["tokens", "tokens_before", "text_hash"];

/// The stage `tokens`, with its tokenizer.
pub struct TokensStage {
    scope: TokenScope,
    tokenizer: Arc<Tokenizer>,
    text: TextSource,
}

impl TokensStage {
    /// The stage with the settings of the manifest, and with its tokenizer.
    ///
    /// # Errors
    /// [`StageError::Manifest`] if the tokenizer's file cannot be used.
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
        // The key has a part for each table that the stage reads. If several tables have edits,
        // these parts do not tell which edits are made.
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

        // If no stage rewrites now, a count of a text that a stage had edited does not hold.
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

    fn notes(&self) -> Vec<String> {
        let slow = self.tokenizer.slow_because();
        slow.map(|why| {
            let name = self.tokenizer.name();
            format!("the tokenizer {name} is read by the slower of two libraries, because {why}")
        })
        .into_iter()
        .collect()
    }
}

/// The function `count_tokens(text, tokenizer digest, edits…)`, which gives a struct of
/// [`COLUMNS`].
fn count_tokens(source: &TextSource, tokenizer: &Arc<Tokenizer>) -> Expr {
    let digest = lit(tokenizer.digest());
    let tokenizer = Arc::clone(tokenizer);
    let editing = source.tables().to_vec();
    let output = fields_of(TOKENS.name, &COLUMNS);
    let fields = output.clone();

    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        // The digest is an argument for people and for equality of plans. The kernel skips it.
        let edits: Vec<&ListArray> = columns[2..].iter().map(|edits| edits.as_list()).collect();
        let steps: Vec<_> = editing.iter().copied().zip(edits).collect();

        let mut counts = Counts::default();
        for (row, text) in text(columns, 0)?.iter().enumerate() {
            counts.add(&tokenizer, text.unwrap_or_default(), &steps, row)?;
        }
        counts.finish(&fields)
    };

    let mut arguments = vec![col("text"), digest];
    arguments.extend(source.edits());
    Function::new("count_tokens", DataType::Struct(output), kernel).call(arguments)
}

/// Token counts of the texts in a batch of rows.
#[derive(Default)]
struct Counts {
    tokens: Vec<u64>,
    hashes: Vec<[u8; 16]>,
    /// Number of stages that edited each text.
    lengths: Vec<usize>,
    /// The stages that edited the texts, row by row.
    stages: Vec<&'static str>,
    /// Number of tokens of the text that each of `stages` saw.
    before: Vec<u64>,
}

impl Counts {
    /// Counts the tokens of a text before each stage that edits it, and after all stages. `steps`
    /// holds each stage with its column of edits, of which `row` is the text's row.
    fn add(
        &mut self,
        tokenizer: &Tokenizer,
        text: &str,
        steps: &[(&'static str, &ListArray)],
        row: usize,
    ) -> Result<()> {
        let count = |text: &str| tokenizer.count(text).map_err(StageError::kernel);
        let mut text = Cow::Borrowed(text);
        let already = self.stages.len();

        // A stage that leaves the text alone costs nothing. Only edited texts are counted more than
        // once.
        for (stage, edits) in steps.iter().filter(|(_, edits)| edits.is_valid(row)) {
            self.stages.push(stage);
            self.before.push(count(&text)?);
            text = Cow::Owned(edit_row(&text, edits, row)?.into_owned());
        }

        self.lengths.push(self.stages.len() - already);
        self.tokens.push(count(&text)?);
        self.hashes.push(xxh3_128(text.as_bytes()).to_be_bytes());
        Ok(())
    }

    /// The struct column of [`COLUMNS`].
    fn finish(self, fields: &Fields) -> Result<ArrayRef> {
        let mut hashes = FixedSizeBinaryBuilder::new(16);
        for hash in self.hashes {
            hashes.append_value(hash)?;
        }

        // The columns are in the order of `COLUMNS`.
        let before: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(self.stages)),
            Arc::new(UInt64Array::from(self.before)),
        ];

        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(self.tokens)),
            list_of_structs(fields[1].data_type(), before, &self.lengths)?,
            Arc::new(hashes.finish()),
        ];
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            columns,
            None,
        )?))
    }
}
