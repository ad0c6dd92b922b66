//! Language label of each document, and which languages are kept. Values and verdict stand in one stage, because all later
//! work is done only for what is kept here.

use std::sync::Arc;

use curate_schemas::manifest::{Language, Manifest};
use curate_scorers::language::detect;
use datafusion::arrow::array::{ArrayRef, Float64Builder, StringBuilder, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, col, lit, when};
use datafusion::prelude::DataFrame;
use serde_json::{Value, json};

use crate::function::{Function, text};
use crate::{Read, ShardStage, Stage, read, select_table};

/// The stage `language`.
pub struct LanguageStage {
    config: Language,
}

impl LanguageStage {
    /// The stage as the manifest sets it; without `[language]` every document is kept.
    pub fn new(manifest: &Manifest) -> Self {
        let keep_all = Language { keep: Vec::new(), min_confidence: 0.0 };
        LanguageStage { config: manifest.language.clone().unwrap_or(keep_all) }
    }

    fn removed_by(&self) -> Result<Expr> {
        let keep: Vec<Expr> = self.config.keep.iter().map(|code| lit(code.as_str())).collect();
        let not_kept = match keep.is_empty() {
            true => lit(false),
            false => col("language").is_null().or(col("language").in_list(keep, true)),
        };
        when(not_kept, lit("language.not_kept"))
            .when(col("confidence").lt(lit(self.config.min_confidence)), lit("language.low_confidence"))
            .end()
    }
}

impl Stage for LanguageStage {
    fn name(&self) -> &'static str {
        "language"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        json!({ "engine": "whatlang", "language": self.config })
    }

    fn follows(&self) -> &'static str {
        "documents"
    }

    fn reads(&self) -> Vec<Read> {
        vec![read("documents", "text")]
    }
}

impl ShardStage for LanguageStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let labelled = input
            .with_column("detected", detect_language(col("text")))?
            .with_column("language", get_field(col("detected"), "language"))?
            .with_column("confidence", get_field(col("detected"), "confidence"))?;
        select_table(labelled.with_column("removed_by", self.removed_by()?)?, "language")
    }
}

/// `detect_language(text) -> {language, confidence}`.
fn detect_language(text_column: Expr) -> Expr {
    let fields: Fields =
        vec![Field::new("language", DataType::Utf8, true), Field::new("confidence", DataType::Float64, false)].into();
    let output = fields.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let texts = text(columns, 0)?;
        let (mut codes, mut confidences) = (StringBuilder::new(), Float64Builder::new());
        let mut sample = String::new();
        for text in texts {
            let language = detect(text.unwrap_or_default(), &mut sample);
            codes.append_option(language.code);
            confidences.append_value(language.confidence);
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(codes.finish()), Arc::new(confidences.finish())];
        Ok(Arc::new(StructArray::try_new(output.clone(), columns, None)?))
    };
    Function::new("detect_language", DataType::Struct(fields), kernel).call(vec![text_column])
}
