//! Model scores of survivors: values only, no verdict. The model is read when the first document that lacks a score comes.
//!
//! Documents of a batch of rows are sorted by length and cut into batches of a fixed budget of tokens, so what runs together
//! follows from the shard's file, not from memory or threads. Scores of documents whose text and model are unchanged are
//! copied.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use curate_schemas::manifest::{Manifest, Perplexity};
use curate_schemas::tables;
use curate_scorers::lm::LmError;
use curate_scorers::lm::decoder::{Decoder, Options};
use curate_scorers::lm::device::DeviceChoice;
use curate_scorers::lm::model::{Description, Model};
use curate_scorers::lm::score::{DocScore, Scorer};
use curate_scorers::lm::window::WindowKind;
use datafusion::arrow::array::{
    Array, ArrayRef, FixedSizeBinaryBuilder, Float64Builder, RecordBatch, StringBuilder, StructArray, UInt64Builder,
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

/// The stage `score`.
pub struct ScoreStage {
    perplexity: Option<(Perplexity, Arc<LoadedModel>)>,
    text: TextColumns,
}

/// A model that is opened, and loaded once it is needed.
pub struct LoadedModel {
    /// BLAKE3 of the weights, in hex.
    pub digest: String,
    model: Mutex<Option<Model>>,
    ready: OnceLock<(Description, Scorer<Decoder>)>,
    settings: Perplexity,
}

impl LoadedModel {
    /// A model whose weights are read later.
    pub fn new(model: Model, settings: Perplexity) -> LoadedModel {
        let digest = model.digest.clone();
        LoadedModel { digest, model: Mutex::new(Some(model)), ready: OnceLock::new(), settings }
    }

    fn ready(&self) -> Result<&(Description, Scorer<Decoder>), LmError> {
        // Held while it loads, so that it loads once.
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = model.take() {
            let kind = WindowKind::parse(&self.settings.window)?;
            let device = DeviceChoice::parse(&self.settings.device)?.open()?;
            let positions = model.description.windowing(kind).positions();
            let (description, decoder) = model.load(Options::on(device, positions))?;
            let scorer = description.scorer(decoder, kind, self.settings.batch_tokens as usize);
            _ = self.ready.set((description, scorer));
        }
        self.ready.get().ok_or_else(|| LmError::Unsupported { what: "a model that failed to load before".to_owned() })
    }

    fn score(&self, texts: &[&str]) -> Result<Vec<DocScore>, DataFusionError> {
        let external = |error: LmError| DataFusionError::External(error.into());
        let (description, scorer) = self.ready().map_err(external)?;
        let most = scorer.windowing().tokens_needed();
        let ids: Result<Vec<Vec<u32>>, _> = texts.iter().map(|text| description.tokenizer.encode(text, most)).collect();
        let ids = ids.map_err(|error| DataFusionError::External(error.into()))?;
        Ok(scorer.score(&ids).map_err(external)?.0)
    }
}

const COLUMNS: [&str; 9] = [
    "text_hash",
    "model",
    "model_digest",
    "n_scored",
    "sum_nll",
    "mean_nll",
    "bits_per_byte",
    "perplexity",
    "unscored",
];

impl ScoreStage {
    /// The stage as the manifest sets it, with the model that it names; without `[score.perplexity]` there are no values.
    pub fn new(manifest: &Manifest, model: Option<Arc<LoadedModel>>) -> Self {
        ScoreStage { perplexity: manifest.score.perplexity.clone().zip(model), text: TextColumns::last(manifest) }
    }
}

impl Stage for ScoreStage {
    fn name(&self) -> &'static str {
        "score"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        json!({ "perplexity": self.perplexity.as_ref().map(|(settings, _)| settings) })
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        self.perplexity.iter().map(|(_, model)| ("model", model.digest.clone())).collect()
    }

    fn follows(&self) -> &'static str {
        "paragraph_dedup"
    }

    fn reads(&self) -> Vec<Read> {
        if self.perplexity.is_some() { self.text.reads() } else { Vec::new() }
    }
}

impl ShardStage for ScoreStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let has = |name: &str| input.schema().has_column_with_unqualified_name(name);
        let (has_known, has_text) = (has("known_n_scored"), has("text"));
        let schema = tables::schema("score");
        let mut plan = input;
        let Some((_, model)) = &self.perplexity else {
            for column in COLUMNS {
                let none = ScalarValue::try_from(schema.field_with_name(column)?.data_type())?;
                plan = plan.with_column(column, lit(none))?;
            }
            return select_table(plan, "score");
        };
        if has_text {
            let missing = match has_known {
                true => col("reached").and(col("known_n_scored").is_null()),
                false => col("reached"),
            };
            plan = plan.with_column("scored", when(missing, score(self.text.text(), model)).end()?)?;
        }
        for column in COLUMNS {
            let known = || col(format!("known_{column}"));
            let scored = || get_field(col("scored"), column);
            let value = match (has_known, has_text) {
                (true, false) => known(),
                (true, true) => when(col("known_n_scored").is_not_null(), known()).otherwise(scored())?,
                (false, _) => scored(),
            };
            // What a former run scored of others is not carried along: equal keys, equal bytes.
            plan = plan.with_column(column, when(col("reached"), value).end()?)?;
        }
        select_table(plan, "score")
    }

    fn reuses(&self) -> Option<Reuse> {
        self.perplexity.as_ref()?;
        let parts: &[&str] = match self.text {
            TextColumns::Edited("paragraph_dedup") => &["documents", "paragraph_dedup", "config", "model"],
            _ => &["documents", "signals", "config", "model"],
        };
        Some(Reuse { columns: &COLUMNS, parts, spares: &["text", "edits"] })
    }

    fn lacks(&self, rows: &RecordBatch) -> bool {
        let known = rows.column_by_name("known_n_scored");
        known.is_none_or(|known| (0..rows.num_rows()).any(|row| known.is_null(row) && is_reached(rows, row)))
    }
}

/// `score(text, model digest) -> {text_hash, …}`.
fn score(text_column: Expr, model: &Arc<LoadedModel>) -> Expr {
    let schema = tables::schema("score");
    let fields: Fields = COLUMNS.iter().map(|name| schema.field_with_name(name).expect("declared").clone()).collect();
    let output = fields.clone();
    let digest = lit(model.digest.as_str());
    let model = Arc::clone(model);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let texts: Vec<&str> = text(columns, 0)?.iter().map(Option::unwrap_or_default).collect();
        let scores = model.score(&texts)?;
        Ok(Arc::new(StructArray::try_new(output.clone(), arrays(&model, &texts, &scores)?, None)?))
    };
    Function::new("score", DataType::Struct(fields), kernel).call(vec![text_column, digest])
}

/// In the order of [`COLUMNS`].
fn arrays(model: &LoadedModel, texts: &[&str], scores: &[DocScore]) -> Result<Vec<ArrayRef>> {
    let (mut hashes, mut counts) = (FixedSizeBinaryBuilder::new(16), UInt64Builder::new());
    let (mut names, mut digests, mut reasons) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let mut values: [Float64Builder; 4] = Default::default();
    for (text, score) in texts.iter().zip(scores) {
        hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
        names.append_value(&model.settings.model);
        digests.append_value(&model.digest);
        counts.append_value(score.n_scored);
        let sum = (score.n_scored > 0).then_some(score.sum_nll);
        let all = [sum, score.mean_nll(), score.bits_per_byte(), score.perplexity()];
        values.iter_mut().zip(all).for_each(|(column, value)| column.append_option(value));
        reasons.append_option((score.n_scored == 0).then_some("too_short"));
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(hashes.finish()),
        Arc::new(names.finish()),
        Arc::new(digests.finish()),
        Arc::new(counts.finish()),
    ];
    columns.extend(values.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
    columns.push(Arc::new(reasons.finish()));
    Ok(columns)
}
