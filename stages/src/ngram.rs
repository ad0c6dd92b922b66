//! What an n-gram model says of survivors: values only, no verdict. Perplexity is CCNet's, over
//! tokens and ends of lines.
//!
//! Cost: with a tokenizer, its own (some 3 MB a CPU second); the model itself takes over two
//! million tokens a second.

use std::collections::BTreeMap;
use std::sync::Arc;

use curate_schemas::manifest::{Manifest, Ngram, Normalize};
use curate_schemas::tables;
use curate_scorers::ngram::{DocumentScore, LineScore, Model, NgramError, ccnet_normalize};
use curate_scorers::tokenizer::{Tokenizer, TokenizerError};
use datafusion::arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Float64Builder, RecordBatch, StringBuilder, StructArray,
    UInt64Builder,
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

/// The stage `ngram`.
pub struct NgramStage {
    scorer: Option<Arc<NgramScorer>>,
    text: TextColumns,
}

/// A model with what makes tokens for it.
pub struct NgramScorer {
    model: Model,
    /// None: what is between white space is a token.
    pieces: Option<Pieces>,
    settings: Ngram,
}

const LEARNT_WITH: &str = "blake3:";

/// What a model's header says of the tokenizer that it was learnt with.
pub fn learnt_with(tokenizer: &Tokenizer) -> String {
    format!("{LEARNT_WITH}{}", tokenizer.digest())
}

/// A tokenizer, and the model's number of each of its ids, where the model has the piece.
struct Pieces {
    tokenizer: Tokenizer,
    numbers: Vec<Option<u32>>,
}

impl NgramScorer {
    /// A model with its tokenizer; without one, words are what is between white space.
    ///
    /// # Errors
    /// [`NgramError::Malformed`] if the model says that it was learnt with another tokenizer, or
    /// knows fewer than half of the tokens' names.
    pub fn new(
        model: Model,
        tokenizer: Option<Tokenizer>,
        settings: Ngram,
    ) -> std::result::Result<Self, NgramError> {
        let found = tokenizer.as_ref().map_or("words".to_owned(), learnt_with);
        if model.tokenizer().starts_with(LEARNT_WITH) && model.tokenizer() != found {
            let reason = format!(
                "it was learnt with another tokenizer, {}, than {found}",
                model.tokenizer()
            );
            return Err(NgramError::Malformed {
                file: settings.model,
                reason,
            });
        }
        let pieces = tokenizer.map(|tokenizer| {
            let vocabulary = model.vocabulary();
            let numbers = tokenizer
                .pieces()
                .iter()
                .map(|piece| vocabulary.id(piece))
                .collect();
            Pieces { tokenizer, numbers }
        });
        let numbers: &[Option<u32>] = pieces.as_ref().map_or(&[], |pieces| &pieces.numbers);
        let known = numbers.iter().flatten().count();
        if known * 2 < numbers.len() {
            let reason = format!(
                "it knows {known} of the {} tokens of the tokenizer",
                numbers.len()
            );
            return Err(NgramError::Malformed {
                file: settings.model,
                reason,
            });
        }
        Ok(NgramScorer {
            model,
            pieces,
            settings,
        })
    }

    fn score(&self, text: &str) -> std::result::Result<Option<DocumentScore>, TokenizerError> {
        let mut ids = Vec::new();
        let mut score = |line: &str| -> std::result::Result<LineScore, TokenizerError> {
            let normal = match self.settings.normalize {
                Normalize::None => line.into(),
                Normalize::Ccnet => ccnet_normalize(line),
            };
            let Some(Pieces { tokenizer, numbers }) = &self.pieces else {
                return Ok(self.model.score_pieces(&normal));
            };
            let number = |id: u32| {
                numbers
                    .get(id as usize)
                    .copied()
                    .flatten()
                    .unwrap_or(u32::MAX)
            };
            ids.clear();
            ids.extend(tokenizer.encode(&normal, None)?.into_iter().map(number));
            Ok(self.model.score_line(&ids))
        };
        let lines = text
            .split('\n')
            .map(&mut score)
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(DocumentScore::of(lines).filter(|document| document.tokens > 0))
    }

    fn tokenizer_digest(&self) -> &str {
        self.pieces
            .as_ref()
            .map_or("words", |pieces| pieces.tokenizer.digest())
    }
}

const COLUMNS: [&str; 7] = [
    "text_hash",
    "model",
    "model_digest",
    "n_tokens",
    "n_unknown",
    "log10_sum",
    "perplexity",
];

impl NgramStage {
    /// The stage as the manifest sets it, with the model that it names; without `[score.ngram]`
    /// there are no values.
    pub fn new(manifest: &Manifest, scorer: Option<Arc<NgramScorer>>) -> Self {
        NgramStage {
            scorer,
            text: TextColumns::last(manifest),
        }
    }
}

impl Stage for NgramStage {
    fn name(&self) -> &'static str {
        "ngram"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        // What goes for its score is decided in `quality`.
        let settings = self.scorer.as_ref().map(|scorer| Ngram {
            drop: None,
            ..scorer.settings.clone()
        });
        json!({ "ngram": settings })
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        let of = |scorer: &Arc<NgramScorer>| {
            [
                ("model", scorer.model.digest()),
                ("tokenizer", scorer.tokenizer_digest().to_owned()),
            ]
        };
        self.scorer.iter().flat_map(of).collect()
    }

    fn follows(&self) -> &'static str {
        "paragraph_dedup"
    }

    fn reads(&self) -> Vec<Read> {
        if self.scorer.is_some() {
            self.text.reads()
        } else {
            Vec::new()
        }
    }
}

impl ShardStage for NgramStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let has = |name: &str| input.schema().has_column_with_unqualified_name(name);
        let (has_known, has_text) = (has("known_text_hash"), has("text"));
        let schema = tables::schema("ngram");
        let mut plan = input;
        let Some(scorer) = &self.scorer else {
            for column in COLUMNS {
                let none = ScalarValue::try_from(schema.field_with_name(column)?.data_type())?;
                plan = plan.with_column(column, lit(none))?;
            }
            return select_table(plan, "ngram");
        };
        if has_text {
            let missing = match has_known {
                true => col("reached").and(col("known_text_hash").is_null()),
                false => col("reached"),
            };
            plan = plan.with_column(
                "scored",
                when(missing, ngram_score(self.text.text(), scorer)).end()?,
            )?;
        }
        for column in COLUMNS {
            let known = || col(format!("known_{column}"));
            let scored = || get_field(col("scored"), column);
            let value = match (has_known, has_text) {
                (true, false) => known(),
                (true, true) => {
                    when(col("known_text_hash").is_not_null(), known()).otherwise(scored())?
                }
                (false, _) => scored(),
            };
            plan = plan.with_column(column, when(col("reached"), value).end()?)?;
        }
        select_table(plan, "ngram")
    }

    fn reuses(&self) -> Option<Reuse> {
        self.scorer.as_ref()?;
        let parts: &[&str] = match self.text {
            TextColumns::Edited("paragraph_dedup") => &[
                "documents",
                "paragraph_dedup",
                "config",
                "model",
                "tokenizer",
            ],
            _ => &["documents", "signals", "config", "model", "tokenizer"],
        };
        Some(Reuse {
            columns: &COLUMNS,
            parts,
            spares: &["text", "edits"],
        })
    }

    fn lacks(&self, rows: &RecordBatch) -> bool {
        let known = rows.column_by_name("known_text_hash");
        known.is_none_or(|known| {
            (0..rows.num_rows()).any(|row| known.is_null(row) && is_reached(rows, row))
        })
    }
}

/// `ngram_score(text, model digest, tokenizer digest) -> {text_hash, …}`.
fn ngram_score(text_column: Expr, scorer: &Arc<NgramScorer>) -> Expr {
    let schema = tables::schema("ngram");
    let fields: Fields = COLUMNS
        .iter()
        .map(|name| schema.field_with_name(name).expect("declared").clone())
        .collect();
    let output = fields.clone();
    let arguments = vec![
        text_column,
        lit(scorer.model.digest()),
        lit(scorer.tokenizer_digest()),
    ];
    let scorer = Arc::clone(scorer);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (mut hashes, mut names) = (FixedSizeBinaryBuilder::new(16), StringBuilder::new());
        let (mut digests, mut counts) = (
            StringBuilder::new(),
            [UInt64Builder::new(), UInt64Builder::new()],
        );
        let mut numbers = [Float64Builder::new(), Float64Builder::new()];
        let digest = scorer.model.digest();
        for text in text(columns, 0)? {
            let text = text.unwrap_or_default();
            let score = scorer
                .score(text)
                .map_err(|error| DataFusionError::External(error.into()))?;
            hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
            names.append_value(&scorer.settings.model);
            digests.append_value(&digest);
            counts[0].append_value(score.map_or(0, |score| score.tokens));
            counts[1].append_value(score.map_or(0, |score| score.oov));
            numbers[0].append_option(score.map(|score| score.log10_sum));
            numbers[1].append_option(score.map(|score| score.perplexity));
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(hashes.finish()),
            Arc::new(names.finish()),
            Arc::new(digests.finish()),
        ];
        columns.extend(
            counts
                .iter_mut()
                .map(|counts| Arc::new(counts.finish()) as ArrayRef),
        );
        columns.extend(
            numbers
                .iter_mut()
                .map(|numbers| Arc::new(numbers.finish()) as ArrayRef),
        );
        Ok(Arc::new(StructArray::try_new(
            output.clone(),
            columns,
            None,
        )?))
    };
    Function::new("ngram_score", DataType::Struct(fields), kernel).call(arguments)
}
