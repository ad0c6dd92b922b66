//! Model scores of survivors: values only, no verdict. The model is read when the first document
//! that lacks a score comes.
//!
//! Documents of a batch of rows are sorted by length and cut into batches of a fixed budget of
//! tokens, so what runs together follows from the shard's file, not from memory or threads. Scores
//! of documents whose text and model are unchanged are copied.

use std::collections::BTreeMap;
use std::ops::Not;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use curate_schemas::manifest::{Manifest, Perplexity};
use curate_schemas::tables;
use curate_scorers::lm::LmError;
use curate_scorers::lm::decoder::{Decoder, Options};
use curate_scorers::lm::device::{DeviceChoice, free_bytes, name};
use curate_scorers::lm::memory::{Demand, MemoryPlan};
use curate_scorers::lm::model::{Description, Model};
use curate_scorers::lm::score::{DocScore, ScoreStats, Scorer};
use curate_scorers::lm::window::WindowKind;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, Float64Builder, RecordBatch,
    StringBuilder, StructArray, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, col, lit, when};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::{Value, json};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use crate::edits::TextColumns;
use crate::function::{Function, text};
use crate::{Read, Reuse, ShardStage, Stage, is_reached, select_table};

/// The stage `score`.
pub struct ScoreStage {
    perplexity: Option<(Perplexity, Arc<LoadedModel>)>,
    seed: u64,
    text: TextColumns,
    /// Survivors that arrive, known once the stages before are done.
    arrived: OnceLock<u64>,
}

/// A model that is opened, and loaded once it is needed.
pub struct LoadedModel {
    /// BLAKE3 of the weights, in hex.
    pub digest: String,
    model: Mutex<Option<Model>>,
    ready: OnceLock<(Description, Scorer<Decoder>)>,
    settings: Perplexity,
    options: Options,
    plan: MemoryPlan,
    done: Mutex<Done>,
}

/// What scoring took, over all shards.
#[derive(Debug, Default)]
struct Done {
    documents: u64,
    stats: ScoreStats,
    /// Of all threads together.
    busy: Duration,
}

/// What a model may take.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes of memory on the CPU.
    pub memory: u64,
    /// Shards that are scored at once.
    pub threads: usize,
}

impl LoadedModel {
    /// A model whose weights are read later. Opens its device and plans its memory.
    ///
    /// # Errors
    /// [`LmError::Device`]; [`LmError::NoRoom`] if not even one window fits.
    pub fn new(model: Model, mut settings: Perplexity, room: Room) -> Result<LoadedModel, LmError> {
        let device = DeviceChoice::parse(&settings.device)?.open()?;
        let kind = WindowKind::parse(&settings.window)?;
        let positions = model.description.windowing(kind).positions();
        let free = free_bytes(&device)?;
        let options = Options::on(device, positions);
        let memory = match free {
            // The driver, cuBLAS and fragmentation want some.
            Some(free) => free - free / 10,
            None => room.memory,
        };
        let threads = if options.device.is_cpu() {
            room.threads
        } else {
            1
        };
        let plan = MemoryPlan::new(
            &model.description.config,
            Demand::of(&options),
            memory,
            threads as u64,
        );
        if plan.batch_tokens == 0 {
            return Err(LmError::NoRoom {
                needed: plan.total(positions as u64),
                memory,
                device: name(&options.device),
            });
        }
        let by_device = if options.device.is_cpu() {
            CPU_BATCH_TOKENS
        } else {
            GPU_BATCH_TOKENS
        };
        settings.batch_tokens.get_or_insert(by_device);
        Ok(LoadedModel {
            digest: model.digest.clone(),
            model: Mutex::new(Some(model)),
            ready: OnceLock::new(),
            settings,
            options,
            plan,
            done: Mutex::default(),
        })
    }

    /// Device class and dtype, which scores depend on.
    fn arithmetic(&self) -> String {
        let device = name(&self.options.device);
        format!(
            "{}/{}",
            device.split(':').next().unwrap_or_default(),
            self.options.dtype.as_str()
        )
    }

    fn batch_tokens(&self) -> u32 {
        self.settings.batch_tokens.unwrap_or(CPU_BATCH_TOKENS)
    }

    fn ready(&self) -> Result<&(Description, Scorer<Decoder>), LmError> {
        // Held while it loads, so that it loads once.
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = model.take() {
            let kind = WindowKind::parse(&self.settings.window)?;
            let (description, decoder) = model.load(self.options.clone())?;
            let scorer = description.scorer(decoder, kind, self.batch_tokens() as usize);
            _ = self.ready.set((
                description,
                scorer.limited_to(self.plan.batch_tokens as usize),
            ));
        }
        self.ready.get().ok_or_else(|| LmError::Unsupported {
            what: "a model that failed to load before".to_owned(),
        })
    }

    fn score(&self, texts: &[&str]) -> Result<Vec<DocScore>, DataFusionError> {
        let external = |error: LmError| DataFusionError::External(error.into());
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let (description, scorer) = self.ready().map_err(external)?;
        let start = Instant::now();
        let most = scorer.windowing().tokens_needed();
        let ids: Result<Vec<Vec<u32>>, _> = texts
            .iter()
            .map(|text| description.tokenizer.encode(text, most))
            .collect();
        let ids = ids.map_err(|error| DataFusionError::External(error.into()))?;
        let (scores, stats) = scorer.score(&ids).map_err(external)?;
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.documents += texts.len() as u64;
        done.stats.add(stats);
        done.busy += start.elapsed();
        Ok(scores)
    }

    /// How the model ran, if it was needed: what a person wants to see of a stage that takes days.
    fn notes(&self) -> Vec<String> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.documents == 0 {
            return Vec::new();
        }
        let ScoreStats {
            padding,
            batches,
            halved,
        } = done.stats;
        let rate = padding.tokens as f64 / done.busy.as_secs_f64().max(1e-3);
        vec![
            format!(
                "{} on {}, {}",
                self.settings.model,
                name(&self.options.device),
                self.plan
            ),
            format!(
                "{} documents scored, {} tokens in {batches} batches, {rate:.0} tokens a second and thread; {:.1} % of padded batches would be padding; {halved} batches halved",
                done.documents,
                padding.tokens,
                100.0 * padding.share(),
            ),
        ]
    }
}

/// Tokens of a batch where the manifest does not say: enough rows for matrix products to be worth
/// their packing on a CPU, and for a GPU to be busy.
const CPU_BATCH_TOKENS: u32 = 8192;
const GPU_BATCH_TOKENS: u32 = 1 << 16;

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
    /// The stage as the manifest sets it, with the model that it names; without
    /// `[score.perplexity]` there are no values.
    pub fn new(manifest: &Manifest, model: Option<Arc<LoadedModel>>) -> Self {
        // What goes for its score is decided in `quality`: a changed band scores nothing again.
        let perplexity = manifest
            .score
            .perplexity
            .clone()
            .map(|settings| Perplexity {
                drop: None,
                ..settings
            });
        ScoreStage {
            perplexity: perplexity.zip(model),
            seed: manifest.run.seed,
            text: TextColumns::last(manifest),
            arrived: OnceLock::new(),
        }
    }

    /// Share of survivors that are scored: the manifest's, or less where the windows of all could
    /// hold more tokens than it allows.
    fn share(&self) -> f64 {
        let Some((settings, model)) = &self.perplexity else {
            return 1.0;
        };
        let windows = if settings.window == "start+middle" {
            2
        } else {
            1
        };
        let windows = self
            .arrived
            .get()
            .copied()
            .unwrap_or(0)
            .saturating_mul(windows * model.options.positions as u64);
        let allowed = settings
            .max_tokens
            .map_or(1.0, |most| most as f64 / windows.max(1) as f64);
        settings.sample.min(allowed)
    }

    fn is_sampled(&self) -> Expr {
        sampled(self.seed, self.share())
    }
}

impl Stage for ScoreStage {
    fn name(&self) -> &'static str {
        "score"
    }

    fn version(&self) -> u32 {
        3
    }

    fn arrive(&self, documents: u64) {
        _ = self.arrived.set(documents);
    }

    fn config(&self) -> Value {
        let settings = self
            .perplexity
            .as_ref()
            .map(|(settings, model)| Perplexity {
                // What the device is stands beside the model's digest, whatever it was called.
                device: String::new(),
                batch_tokens: Some(model.batch_tokens()),
                // Which documents are scored is a part of its own, so that a greater sample keeps
                // what it has.
                sample: 1.0,
                max_tokens: None,
                ..settings.clone()
            });
        json!({ "perplexity": settings })
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        let of_model = |model: &LoadedModel| {
            let seed = if self.share() < 1.0 { self.seed } else { 0 };
            let sample = format!("{} {seed}", self.share().min(1.0));
            [
                ("model", model.digest.clone()),
                ("device", model.arithmetic()),
                ("sample", sample),
            ]
        };
        self.perplexity
            .iter()
            .flat_map(|(_, model)| of_model(model))
            .collect()
    }

    fn follows(&self) -> &'static str {
        "paragraph_dedup"
    }

    fn reads(&self) -> Vec<Read> {
        if self.perplexity.is_some() {
            self.text.reads()
        } else {
            Vec::new()
        }
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
            let wanted = col("reached").and(self.is_sampled());
            let missing = if has_known {
                wanted.and(is_known().not())
            } else {
                wanted
            };
            plan = plan.with_column(
                "scored",
                when(missing, score(self.text.text(), model)).end()?,
            )?;
        }
        for column in COLUMNS {
            let known = || col(format!("known_{column}"));
            let scored = || get_field(col("scored"), column);
            let value = match (has_known, has_text) {
                (true, false) => known(),
                (true, true) => when(is_known(), known()).otherwise(scored())?,
                (false, _) => scored(),
            };
            let unsampled = match column {
                "model" => lit(model.settings.model.as_str()),
                "model_digest" => lit(model.digest.as_str()),
                "n_scored" => lit(0u64),
                "unscored" => lit(NOT_SAMPLED),
                _ => lit(ScalarValue::try_from(
                    schema.field_with_name(column)?.data_type(),
                )?),
            };
            // What a former run scored of others is not carried along: equal keys, equal bytes.
            let value = when(self.is_sampled(), value).otherwise(unsampled)?;
            plan = plan.with_column(column, when(col("reached"), value).end()?)?;
        }
        select_table(plan, "score")
    }

    fn reuses(&self) -> Option<Reuse> {
        self.perplexity.as_ref()?;
        let parts: &[&str] = match self.text {
            TextColumns::Edited("paragraph_dedup") => {
                &["documents", "paragraph_dedup", "config", "model", "device"]
            }
            _ => &["documents", "signals", "config", "model", "device"],
        };
        Some(Reuse {
            columns: &COLUMNS,
            parts,
            spares: &["text", "edits"],
        })
    }

    fn notes(&self) -> Vec<String> {
        self.perplexity
            .iter()
            .flat_map(|(_, model)| model.notes())
            .collect()
    }

    fn lacks(&self, rows: &RecordBatch) -> bool {
        let column = |name: &str| rows.column_by_name(name);
        let (Some(known), Some(why), Some(ids)) = (
            column("known_n_scored"),
            column("known_unscored"),
            column("doc_id"),
        ) else {
            return true;
        };
        let (why, ids, share) = (why.as_string::<i32>(), ids.as_string::<i32>(), self.share());
        let is_missing =
            |row: usize| known.is_null(row) || why.is_valid(row) && why.value(row) == NOT_SAMPLED;
        (0..rows.num_rows()).any(|row| {
            is_reached(rows, row) && is_missing(row) && is_sampled(self.seed, share, ids.value(row))
        })
    }
}

/// Why a survivor has no score that could have one.
const NOT_SAMPLED: &str = "not_sampled";

/// Whether a former output has what the model says of a row.
fn is_known() -> Expr {
    let why = || col("known_unscored");
    col("known_n_scored")
        .is_not_null()
        .and(why().is_null().or(why().not_eq(lit(NOT_SAMPLED))))
}

/// `is_sampled(doc_id, seed, share) -> bool`.
fn sampled(seed: u64, share: f64) -> Expr {
    if share >= 1.0 {
        return lit(true);
    }
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let ids = text(columns, 0)?;
        let of = |id: Option<&str>| Some(is_sampled(seed, share, id.unwrap_or_default()));
        Ok(Arc::new(ids.iter().map(of).collect::<BooleanArray>()))
    };
    Function::new("is_sampled", DataType::Boolean, kernel).call(vec![
        col("doc_id"),
        lit(seed),
        lit(share),
    ])
}

/// `score(text, model digest) -> {text_hash, …}`.
fn score(text_column: Expr, model: &Arc<LoadedModel>) -> Expr {
    let schema = tables::schema("score");
    let fields: Fields = COLUMNS
        .iter()
        .map(|name| schema.field_with_name(name).expect("declared").clone())
        .collect();
    let output = fields.clone();
    let arguments = vec![text_column, lit(model.digest.as_str())];
    let model = Arc::clone(model);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let texts: Vec<&str> = text(columns, 0)?
            .iter()
            .map(Option::unwrap_or_default)
            .collect();
        let scores = model.score(&texts)?;
        Ok(Arc::new(StructArray::try_new(
            output.clone(),
            arrays(&model, &texts, &scores)?,
            None,
        )?))
    };
    Function::new("score", DataType::Struct(fields), kernel).call(arguments)
}

/// Whether a document is in a sample of that share: the same ones are in every greater sample.
fn is_sampled(seed: u64, sample: f64, doc_id: &str) -> bool {
    let place = xxh3_64_with_seed(doc_id.as_bytes(), seed) as f64 / u64::MAX as f64;
    sample >= 1.0 || place < sample
}

/// In the order of [`COLUMNS`].
fn arrays(model: &LoadedModel, texts: &[&str], scores: &[DocScore]) -> Result<Vec<ArrayRef>> {
    let (mut hashes, mut counts) = (FixedSizeBinaryBuilder::new(16), UInt64Builder::new());
    let (mut names, mut digests, mut reasons) = (
        StringBuilder::new(),
        StringBuilder::new(),
        StringBuilder::new(),
    );
    let mut values: [Float64Builder; 4] = Default::default();
    for (text, score) in texts.iter().zip(scores) {
        hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
        names.append_value(&model.settings.model);
        digests.append_value(&model.digest);
        counts.append_value(score.n_scored);
        let sum = (score.n_scored > 0).then_some(score.sum_nll);
        let all = [
            sum,
            score.mean_nll(),
            score.bits_per_byte(),
            score.perplexity(),
        ];
        values
            .iter_mut()
            .zip(all)
            .for_each(|(column, value)| column.append_option(value));
        reasons.append_option((score.n_scored == 0).then_some("too_short"));
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(hashes.finish()),
        Arc::new(names.finish()),
        Arc::new(digests.finish()),
        Arc::new(counts.finish()),
    ];
    columns.extend(
        values
            .iter_mut()
            .map(|column| Arc::new(column.finish()) as ArrayRef),
    );
    columns.push(Arc::new(reasons.finish()));
    Ok(columns)
}
