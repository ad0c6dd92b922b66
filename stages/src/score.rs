//! The scores of a language model for each survivor: values only, no verdict. The model is loaded
//! when the first document without a score arrives.
//!
//! The documents of a batch of rows are sorted by length and cut into batches of a fixed number of
//! tokens. So the documents that run together follow from the shard's file, not from memory or
//! threads. Scores of documents whose text and model are unchanged are copied.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryBuilder, Float64Builder, StringBuilder, StructArray,
    UInt64Builder,
};
use arrow::datatypes::DataType;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::score::{EMBEDDED_MODEL, Perplexity, SCORE};
use curate_scorers::lm::LmError;
use curate_scorers::lm::decoder::{Decoder, Options};
use curate_scorers::lm::device::{DeviceChoice, free_bytes, name};
use curate_scorers::lm::memory::{Demand, MemoryPlan};
use curate_scorers::lm::model::{Description, Model};
use curate_scorers::lm::score::{DocScore, ScoreStats, Scorer};
use curate_scorers::lm::window::WindowKind;
use datafusion_expr::{Expr, col, lit, when};
use serde_json::{Value, json};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use crate::error::{Result, StageError};
use crate::function::{Function, fields_of, text};
use crate::plan::{Plan, null_of, without_values};
use crate::resources::Opening;
use crate::reuse::Reuse;
use crate::text::TextSource;
use crate::{Read, ShardStage, Stage};

/// Prefix of the names of models on a hub.
pub const HUB_SCHEME: &str = "hf://";

/// The stage `score` with its model if the manifest names one.
pub struct ScoreStage {
    perplexity: Option<(Perplexity, Arc<LoadedModel>)>,
    seed: u64,
    text: TextSource,
}

/// A model that is opened at the start of a run, and loaded when it is needed.
pub struct LoadedModel {
    /// BLAKE3 of the weights, in hex.
    pub digest: String,
    /// The opened model; `None` once it was taken to be loaded.
    model: Mutex<Option<Model>>,
    /// The loaded model; empty until the first call of [`LoadedModel::ready`].
    ready: OnceLock<(Description, Scorer<Decoder>)>,
    settings: Perplexity,
    options: Options,
    plan: MemoryPlan,
    done: Mutex<Done>,
}

/// The work of scoring, over all shards.
#[derive(Debug, Default)]
struct Done {
    documents: u64,
    stats: ScoreStats,
    /// Time of all threads together.
    busy: Duration,
}

/// The resources that a model may use.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Memory on a CPU, in bytes. On a GPU the free memory of the device counts.
    pub memory: u64,
    /// Number of shards that are scored at once.
    pub threads: usize,
}

impl LoadedModel {
    /// A model whose weights are read later. Opens the device and plans the memory.
    ///
    /// # Errors
    /// [`LmError::Device`] if the device cannot be opened. [`LmError::NoRoom`] if not even one
    /// window fits into memory.
    pub fn new(model: Model, mut settings: Perplexity, room: Room) -> Result<LoadedModel, LmError> {
        let device = DeviceChoice::parse(&settings.device)?.open()?;
        let kind = WindowKind::parse(&settings.window)?;
        let positions = model.description.windowing(kind).positions();

        let free = free_bytes(&device)?;
        let options = Options::on(device, positions);
        let memory = match free {
            // The driver, cuBLAS and fragmentation take a part of the free memory.
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

    /// The class of the device and the dtype, because scores depend on both.
    fn arithmetic(&self) -> String {
        // The number of a GPU does not change scores.
        let device = name(&self.options.device);
        format!(
            "{}/{}",
            device.split(':').next().unwrap_or_default(),
            self.options.dtype.as_str()
        )
    }

    /// Tokens of a batch, padding included.
    fn batch_tokens(&self) -> u32 {
        self.settings.batch_tokens.unwrap_or(CPU_BATCH_TOKENS)
    }

    /// The loaded model. The first call loads it.
    fn ready(&self) -> Result<&(Description, Scorer<Decoder>), LmError> {
        // The lock is held during the load, so that other threads wait and the model loads once.
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = model.take() {
            let kind = WindowKind::parse(&self.settings.window)?;
            let (description, decoder) = model.load(self.options.clone())?;

            // Batches are planned by `batch_tokens`, which is a part of the key. Memory only limits
            // how much of a batch runs at once.
            let scorer = description.scorer(decoder, kind, self.batch_tokens() as usize);
            _ = self.ready.set((
                description,
                scorer.limited_to(self.plan.batch_tokens as usize),
            ));
        }

        // A model that failed to load was taken all the same, and is not loaded again.
        self.ready.get().ok_or_else(|| LmError::Unsupported {
            what: "a model that failed to load before".to_owned(),
        })
    }

    /// The scores of texts, one for each text.
    fn score(&self, texts: &[&str]) -> Result<Vec<DocScore>> {
        // A batch without texts must not load the model.
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let (description, scorer) = self.ready().map_err(StageError::kernel)?;

        // The clock starts after the load, so that the rate in the log is that of scoring.
        let start = Instant::now();
        let most = scorer.windowing().tokens_needed();
        let ids: Result<Vec<Vec<u32>>, _> = texts
            .iter()
            .map(|text| description.tokenizer.encode(text, most))
            .collect();
        let ids = ids.map_err(StageError::kernel)?;
        let (scores, stats) = scorer.score(&ids).map_err(StageError::kernel)?;

        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.documents += texts.len() as u64;
        done.stats.add(stats);
        done.busy += start.elapsed();
        Ok(scores)
    }

    /// How the model ran, for the log of a stage that may take days. Empty if the model was not
    /// needed.
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
        // A clock that has not moved must not divide by 0.
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

/// Tokens of a batch on a CPU if the manifest does not set them: enough rows for matrix products to
/// be worth their packing.
const CPU_BATCH_TOKENS: u32 = 8192;
/// Tokens of a batch on a GPU if the manifest does not set them: enough to keep the GPU busy.
const GPU_BATCH_TOKENS: u32 = 1 << 16;

/// Columns of the table that a score fills.
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
    /// The stage as the manifest sets it, with its model. Without `[score.perplexity]` every value
    /// is null.
    ///
    /// # Errors
    /// If the model cannot be used.
    pub fn open(opening: &Opening) -> Result<Self> {
        let manifest = opening.manifest;

        // `quality` decides which scores remove a document: a changed band scores nothing again.
        let settings = manifest
            .score
            .perplexity
            .clone()
            .map(|settings| Perplexity {
                drop: None,
                ..settings
            });
        let model = settings
            .as_ref()
            .map(|settings| open_model(opening, settings))
            .transpose()?;

        Ok(ScoreStage {
            perplexity: settings.zip(model.map(Arc::new)),
            seed: manifest.run.seed,
            text: TextSource::before(SCORE.name, manifest),
        })
    }

    /// Share of survivors that are scored, 0 to 1. It is the manifest's share, or less if the
    /// windows of all survivors could hold more tokens than the manifest allows. `arriving` is the
    /// number of survivors.
    fn share(&self, arriving: u64) -> f64 {
        let Some((settings, model)) = &self.perplexity else {
            return 1.0;
        };

        // Every window is taken to be full, so on average over samples the bound holds for any
        // texts.
        let windows = if settings.window == "start+middle" {
            2
        } else {
            1
        };
        let tokens = arriving.saturating_mul(windows * model.options.positions as u64);
        let allowed = settings
            .max_tokens
            .map_or(1.0, |most| most as f64 / tokens.max(1) as f64);
        settings.sample.min(allowed)
    }
}

/// Opens the model: its weights are digested but not loaded.
fn open_model(opening: &Opening, settings: &Perplexity) -> Result<LoadedModel> {
    let key = format!("score.perplexity.model {}", settings.model);
    let wrong = |error: LmError| {
        let failure = StageError::manifest(format!("{key}: {error}"));
        match error {
            LmError::NoRoom { .. } => failure.hint("raise run.memory, or read shorter windows"),
            _ => failure,
        }
    };

    let model = match settings.model.as_str() {
        EMBEDDED_MODEL => Model::embedded(),
        name if name.starts_with(HUB_SCHEME) => Model::open(&(opening.fetch)(name)?),
        name => Model::open(&opening.manifest.base.join(name)),
    };
    let model = model.map_err(wrong)?;
    if let Some(digest) = settings
        .digest
        .as_ref()
        .filter(|digest| **digest != model.digest)
    {
        let message = format!("{key}: its digest is {}, expected {digest}", model.digest);
        return Err(StageError::manifest(message));
    }

    let room = Room {
        memory: opening.manifest.run.memory,
        threads: opening.threads,
    };
    LoadedModel::new(model, settings.clone(), room).map_err(wrong)
}

impl Stage for ScoreStage {
    fn spec(&self) -> &'static StageSpec {
        &SCORE
    }

    fn config(&self) -> Value {
        let settings = self
            .perplexity
            .as_ref()
            .map(|(settings, model)| Perplexity {
                // The class of the device is a resource, whatever the manifest calls the device.
                device: String::new(),
                batch_tokens: Some(model.batch_tokens()),
                // The sample is a resource of its own, so that a greater sample keeps its scores.
                sample: 1.0,
                max_tokens: None,
                ..settings.clone()
            });
        json!({ "perplexity": settings })
    }

    fn resources(&self, arriving: u64) -> BTreeMap<&'static str, String> {
        let Some((_, model)) = &self.perplexity else {
            return BTreeMap::new();
        };

        // Without a sample the seed changes nothing, so it must not change the key.
        let share = self.share(arriving);
        let seed = if share < 1.0 { self.seed } else { 0 };
        [
            ("model", model.digest.clone()),
            ("device", model.arithmetic()),
            ("sample", format!("{} {seed}", share.min(1.0))),
        ]
        .into()
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
    fn plan(&self, input: Plan, arriving: u64) -> Result<Plan> {
        let (Some((_, model)), Some(reuse)) = (&self.perplexity, self.reuse(arriving)) else {
            return without_values(input, SCORE.name, &COLUMNS);
        };

        let scored = score(self.text.text(), model);
        reuse.fill(input, scored, |column| {
            let unsampled = match column {
                "model" => lit(model.settings.model.as_str()),
                "model_digest" => lit(model.digest.as_str()),
                "n_scored" => lit(0u64),
                "unscored" => lit(NOT_SAMPLED),
                _ => null_of(SCORE.name, column)?,
            };
            Ok(when(col("reached"), unsampled).end()?)
        })
    }

    fn reuse(&self, arriving: u64) -> Option<Reuse> {
        self.perplexity.as_ref()?;

        let wanted = col("reached").and(sampled(self.seed, self.share(arriving)));
        // A document that an earlier sample left out has no score, and may be in this one.
        let why = || col("known_unscored");
        let known = col("known_n_scored")
            .is_not_null()
            .and(why().is_null().or(why().not_eq(lit(NOT_SAMPLED))));
        let parts = ["config", "model", "device"];
        Some(Reuse::of_text(
            SCORE.name, &self.text, &parts, &COLUMNS, wanted, known,
        ))
    }

    fn notes(&self) -> Vec<String> {
        let models = self.perplexity.iter();
        models.flat_map(|(_, model)| model.notes()).collect()
    }
}

/// Why a survivor has no score although it could have one.
const NOT_SAMPLED: &str = "not_sampled";

/// The function `is_sampled(doc_id, seed, share) -> bool`.
fn sampled(seed: u64, share: f64) -> Expr {
    if share >= 1.0 {
        return lit(true);
    }

    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let sampled: BooleanArray = text(columns, 0)?
            .iter()
            .map(|id| Some(is_sampled(seed, share, id.unwrap_or_default())))
            .collect();
        Ok(Arc::new(sampled))
    };
    Function::new("is_sampled", DataType::Boolean, kernel).call(vec![
        col("doc_id"),
        lit(seed),
        lit(share),
    ])
}

/// The function `score(text, model digest) -> {text_hash, …}`.
fn score(text_column: Expr, model: &Arc<LoadedModel>) -> Expr {
    let output = fields_of(SCORE.name, &COLUMNS);
    let fields = output.clone();
    let arguments = vec![text_column, lit(model.digest.as_str())];

    let model = Arc::clone(model);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let texts: Vec<&str> = text(columns, 0)?
            .iter()
            .map(Option::unwrap_or_default)
            .collect();
        let scores = model.score(&texts)?;
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            arrays(&model, &texts, &scores)?,
            None,
        )?))
    };
    Function::new("score", DataType::Struct(output), kernel).call(arguments)
}

/// True if a document is in the sample of the share `sample`. A greater sample holds every document
/// of a smaller one.
fn is_sampled(seed: u64, sample: f64, doc_id: &str) -> bool {
    let place = xxh3_64_with_seed(doc_id.as_bytes(), seed) as f64 / u64::MAX as f64;
    sample >= 1.0 || place < sample
}

/// The scores of texts, as the columns of [`COLUMNS`].
fn arrays(model: &LoadedModel, texts: &[&str], scores: &[DocScore]) -> Result<Vec<ArrayRef>> {
    let (mut hashes, mut counts) = (FixedSizeBinaryBuilder::new(16), UInt64Builder::new());
    let (mut names, mut digests) = (StringBuilder::new(), StringBuilder::new());
    let mut values: [Float64Builder; 4] = Default::default();
    let mut reasons = StringBuilder::new();

    for (text, score) in texts.iter().zip(scores) {
        hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
        names.append_value(&model.settings.model);
        digests.append_value(&model.digest);
        counts.append_value(score.n_scored);

        // A text without a scored token has no sum, rather than a sum of 0.
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
