//! The language label of each document, and the verdict which languages are kept. Values and
//! verdict are in one stage, because all later work is done only for documents that are kept here.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, StringBuilder, StructArray};
use arrow::datatypes::DataType;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::language::{LANGUAGE, Language, LanguageEngine};
use curate_schemas::tables;
use curate_scorers::language::{Identifier, detect};
use datafusion_expr::{Expr, col, lit, when};
use serde_json::{Value, json};

use crate::error::Result;
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
}

impl LanguageStage {
    /// The stage as the manifest sets it. Without `[language]` every document is kept.
    pub fn open(opening: &Opening) -> Self {
        LanguageStage {
            config: opening.manifest.language.clone().unwrap_or_default(),
        }
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
        json!(self.config)
    }

    fn reads(&self) -> Vec<Read> {
        match self.config.engine {
            LanguageEngine::None => Vec::new(),
            _ => vec![read("documents", "text")],
        }
    }
}

impl ShardStage for LanguageStage {
    fn plan(&self, input: Plan, _: u64) -> Result<Plan> {
        let engine = match self.config.engine {
            LanguageEngine::Whatlang => Identifier::Whatlang,
            LanguageEngine::Whichlang => Identifier::Whichlang,
            LanguageEngine::None => return without_labels(input),
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
fn detect_language(text_column: Expr, engine: Identifier) -> Expr {
    let output = fields_of(LANGUAGE.name, &COLUMNS);
    let fields = output.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (mut codes, mut confidences) = (StringBuilder::new(), Float64Builder::new());
        let (mut shares, mut mixed) = (Float64Builder::new(), BooleanBuilder::new());
        let (mut seconds, mut second_shares) = (StringBuilder::new(), Float64Builder::new());
        // `detect` overwrites this for each text, which spares an allocation.
        let mut sample = String::new();

        for text in text(columns, 0)? {
            let language = detect(engine, text.unwrap_or_default(), &mut sample);
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
    let name = match engine {
        Identifier::Whatlang => "whatlang",
        Identifier::Whichlang => "whichlang",
    };

    Function::new("detect_language", DataType::Struct(output), kernel)
        .call(vec![text_column, lit(name)])
}
