//! The language label of each document, and the verdict which languages are kept. Values and
//! verdict are in one stage, because all later work is done only for documents that are kept here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, StringBuilder, StructArray};
use arrow::datatypes::DataType;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::language::{LANGUAGE, Language, LanguageEngine};
use curate_schemas::tables;
use curate_scorers::language::{Identifier, LanguageModel, detect};
use datafusion_expr::{Expr, col, lit, when};
use serde_json::{Value, json};

use crate::error::{Result, StageError};
use crate::function::{Function, field, fields_of, text};
use crate::plan::{Plan, null_of};
use crate::resources::Opening;
use crate::{Read, ShardStage, Stage, read};

/// Columns of the table that a label fills.
const COLUMNS: [&str; 6] = [
    "language",
    "confidence",
    "share",
    "mixed",
    "second_language",
    "second_share",
];

/// The stage `language` with its settings.
pub struct LanguageStage {
    config: Language,
    engine: Option<Engine>,
}

/// The engine that labels documents.
#[derive(Clone)]
enum Engine {
    Whatlang,
    Whichlang,
    FastText(Arc<LanguageModel>),
}

impl Engine {
    fn identifier(&self) -> Identifier<'_> {
        match self {
            Engine::Whatlang => Identifier::Whatlang,
            Engine::Whichlang => Identifier::Whichlang,
            Engine::FastText(model) => Identifier::FastText(model),
        }
    }

    /// The name of the engine, or the digest of its model.
    fn name(&self) -> &str {
        match self {
            Engine::Whatlang => "whatlang",
            Engine::Whichlang => "whichlang",
            Engine::FastText(model) => model.digest(),
        }
    }
}

impl LanguageStage {
    /// The stage as the manifest sets it, with its model. Without `[language]` every document is
    /// kept.
    ///
    /// # Errors
    /// If the model cannot be used, or if it lacks a language that is kept.
    pub fn open(opening: &Opening) -> Result<Self> {
        let config = opening.manifest.language.clone().unwrap_or_default();
        let engine = match config.engine {
            LanguageEngine::Whatlang => Some(Engine::Whatlang),
            LanguageEngine::Whichlang => Some(Engine::Whichlang),
            LanguageEngine::FastText => {
                Some(Engine::FastText(Arc::new(open_model(opening, &config)?)))
            }
            LanguageEngine::None => None,
        };
        Ok(LanguageStage { config, engine })
    }

    /// The rule that removes a document, as an expression over the label; null if it is kept.
    fn removed_by(&self) -> Result<Expr> {
        let keep: Vec<Expr> = self
            .config
            .keep
            .iter()
            .map(|code| lit(code.as_str()))
            .collect();

        // A null label is in no list, but `NOT IN` is null for it, and null would keep the
        // document.
        let not_kept = match keep.is_empty() {
            true => lit(false),
            false => col("language")
                .is_null()
                .or(col("language").in_list(keep, true)),
        };
        // Without a confidence the comparison is null, so the document stays.
        let low = col("confidence").lt(lit(self.config.min_confidence));
        let mixed = col("mixed").and(lit(!self.config.keep_mixed));

        Ok(when(not_kept, lit("language.not_kept"))
            .when(low, lit("language.low_confidence"))
            .when(mixed, lit("language.mixed"))
            .end()?)
    }
}

impl Stage for LanguageStage {
    fn spec(&self) -> &'static StageSpec {
        &LANGUAGE
    }

    fn config(&self) -> Value {
        let mut config = json!(self.config);
        // The path is not a setting: the digest of the model is among the resources.
        if let Some(config) = config.as_object_mut() {
            config.shift_remove("model");
        }
        config
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        match &self.engine {
            Some(Engine::FastText(model)) => [("model", model.digest().to_owned())].into(),
            _ => BTreeMap::new(),
        }
    }

    fn reads(&self) -> Vec<Read> {
        match self.engine {
            Some(_) => vec![read("documents", "text")],
            None => Vec::new(),
        }
    }
}

impl ShardStage for LanguageStage {
    fn plan(&self, input: Plan, _: u64) -> Result<Plan> {
        let Some(engine) = &self.engine else {
            return without_labels(input);
        };
        let schema = tables::schema(LANGUAGE.name);

        // One struct column first, so that each text is read once and not once for each column.
        let mut plan = input.with_column("detected", detect_language(col("text"), engine))?;
        for column in COLUMNS {
            let data_type = schema.field_with_name(column)?.data_type().clone();
            plan = plan.with_column(column, field(col("detected"), column, data_type))?;
        }
        plan.with_column("removed_by", self.removed_by()?)
    }
}

/// Opens the model that `[language]` names, and checks that it knows the languages that are kept.
fn open_model(opening: &Opening, config: &Language) -> Result<LanguageModel> {
    // The check of the manifest demands a model for this engine.
    let name = config.model.as_deref().unwrap_or_default();
    let path = opening.manifest.base.join(name);
    let model = LanguageModel::open(&path)
        .map_err(|error| StageError::manifest(format!("language.model: {error}")))?;

    let languages = model.languages();
    let is_missing = |code: &&String| languages.binary_search(&code.as_str()).is_err();
    if let Some(code) = config.keep.iter().find(is_missing) {
        let message = format!("language.keep: {name} has no label for the language \"{code}\"");
        let hint = format!("the languages of {name} are {}", languages.join(", "));
        return Err(StageError::manifest(message).hint(hint));
    }
    Ok(model)
}

/// The plan without labels: no document has a language, and all are kept.
fn without_labels(input: Plan) -> Result<Plan> {
    let mut plan = input;
    for column in ["removed_by"].into_iter().chain(COLUMNS) {
        let value = match column {
            "mixed" => lit(false),
            _ => null_of(LANGUAGE.name, column)?,
        };
        plan = plan.with_column(column, value)?;
    }
    Ok(plan)
}

/// The function `detect_language(text, engine)`, which gives a struct of [`COLUMNS`].
fn detect_language(text_column: Expr, engine: &Engine) -> Expr {
    let output = fields_of(LANGUAGE.name, &COLUMNS);
    let (fields, own) = (output.clone(), engine.clone());
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (mut codes, mut confidences) = (StringBuilder::new(), Float64Builder::new());
        let (mut shares, mut mixed) = (Float64Builder::new(), BooleanBuilder::new());
        let (mut seconds, mut second_shares) = (StringBuilder::new(), Float64Builder::new());
        // `detect` overwrites this for each text, which spares an allocation.
        let mut sample = String::new();

        for text in text(columns, 0)? {
            let text = text.unwrap_or_default();
            let language = detect(own.identifier(), text, &mut sample);
            codes.append_option(language.code);
            confidences.append_option(language.confidence);
            shares.append_option(language.share);

            let (second, second_share) = language.second.unzip();
            mixed.append_value(second.is_some());
            seconds.append_option(second);
            second_shares.append_option(second_share);
        }

        let columns: Vec<ArrayRef> = vec![
            Arc::new(codes.finish()),
            Arc::new(confidences.finish()),
            Arc::new(shares.finish()),
            Arc::new(mixed.finish()),
            Arc::new(seconds.finish()),
            Arc::new(second_shares.finish()),
        ];
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            columns,
            None,
        )?))
    };

    // The engine is an argument as well, so that plans show it.
    Function::new("detect_language", DataType::Struct(output), kernel)
        .call(vec![text_column, lit(engine.name())])
}
