//! Language label of each document, and which languages are kept. Values and verdict stand in one
//! stage, because all later work is done only for what is kept here.

use std::sync::Arc;

use curate_schemas::manifest::{Language, LanguageEngine, Manifest};
use curate_schemas::tables;
use curate_scorers::language::{Engine, detect};
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, StringBuilder, StructArray,
};
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, col, lit, when};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::{Value, json};

use crate::function::{Function, text};
use crate::{Read, ShardStage, Stage, read, select_table};

const COLUMNS: [&str; 3] = ["language", "confidence", "mixed"];

/// The stage `language`.
pub struct LanguageStage {
    config: Language,
}

impl LanguageStage {
    /// The stage as the manifest sets it; without `[language]` every document is kept.
    pub fn new(manifest: &Manifest) -> Self {
        LanguageStage {
            config: manifest.language.clone().unwrap_or_default(),
        }
    }

    fn removed_by(&self) -> Result<Expr> {
        let keep: Vec<Expr> = self
            .config
            .keep
            .iter()
            .map(|code| lit(code.as_str()))
            .collect();
        let not_kept = match keep.is_empty() {
            true => lit(false),
            false => col("language")
                .is_null()
                .or(col("language").in_list(keep, true)),
        };
        when(not_kept, lit("language.not_kept"))
            .when(
                col("confidence").lt(lit(self.config.min_confidence)),
                lit("language.low_confidence"),
            )
            .when(
                col("mixed").and(lit(!self.config.keep_mixed)),
                lit("language.mixed"),
            )
            .end()
    }
}

impl Stage for LanguageStage {
    fn name(&self) -> &'static str {
        "language"
    }

    fn version(&self) -> u32 {
        2
    }

    fn config(&self) -> Value {
        json!(self.config)
    }

    fn follows(&self) -> &'static str {
        "documents"
    }

    fn reads(&self) -> Vec<Read> {
        match self.config.engine {
            LanguageEngine::None => Vec::new(),
            _ => vec![read("documents", "text")],
        }
    }
}

impl ShardStage for LanguageStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let engine = match self.config.engine {
            LanguageEngine::Whatlang => Engine::Whatlang,
            LanguageEngine::Whichlang => Engine::Whichlang,
            LanguageEngine::None => return self.without_labels(input),
        };
        let mut labelled = input.with_column("detected", detect_language(col("text"), engine))?;
        for column in COLUMNS {
            labelled = labelled.with_column(column, get_field(col("detected"), column))?;
        }
        select_table(
            labelled.with_column("removed_by", self.removed_by()?)?,
            "language",
        )
    }
}

impl LanguageStage {
    /// The table of documents without a language, which are all kept.
    fn without_labels(&self, input: DataFrame) -> Result<DataFrame> {
        let plan = input
            .with_column("removed_by", lit(ScalarValue::Utf8(None)))?
            .with_column("language", lit(ScalarValue::Utf8(None)))?
            .with_column("confidence", lit(ScalarValue::Float64(None)))?
            .with_column("mixed", lit(false))?;
        select_table(plan, "language")
    }
}

/// `detect_language(text, engine) -> {language, confidence, mixed}`.
fn detect_language(text_column: Expr, engine: Engine) -> Expr {
    let schema = tables::schema("language");
    let fields: Fields = COLUMNS
        .iter()
        .map(|name| schema.field_with_name(name).expect("declared").clone())
        .collect();
    let output = fields.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (mut codes, mut confidences) = (StringBuilder::new(), Float64Builder::new());
        let mut mixed = BooleanBuilder::new();
        let mut sample = String::new();
        for text in text(columns, 0)? {
            let language = detect(engine, text.unwrap_or_default(), &mut sample);
            codes.append_option(language.code);
            confidences.append_option(language.confidence);
            mixed.append_value(language.mixed);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(codes.finish()),
            Arc::new(confidences.finish()),
            Arc::new(mixed.finish()),
        ];
        Ok(Arc::new(StructArray::try_new(
            output.clone(),
            columns,
            None,
        )?))
    };
    let name = match engine {
        Engine::Whatlang => "whatlang",
        Engine::Whichlang => "whichlang",
    };
    Function::new("detect_language", DataType::Struct(fields), kernel)
        .call(vec![text_column, lit(name)])
}
