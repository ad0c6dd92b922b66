//! The value of every rule, computed in one pass over each document that `language` kept: words are segmented once and
//! shared by the families. No threshold stands here; verdicts are expressions in [`crate::filter`].

use std::sync::Arc;

use curate_schemas::tables;
use curate_scorers::gopher_quality::{GopherQuality, gopher_quality};
use curate_scorers::gopher_repetition::{GopherRepetition, RepetitionScratch, gopher_repetition};
use curate_scorers::study_note::study_note;
use curate_scorers::words::{WORDS, words};
use datafusion::arrow::array::{ArrayRef, Float64Array, StructArray, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, col};
use datafusion::prelude::DataFrame;
use serde_json::{Value, json};

use crate::function::{Function, text};
use crate::{Read, ShardStage, Stage, if_reached, read, select_table};

const FAMILIES: [&str; 3] = ["heuristic", "gopher_quality", "gopher_repetition"];

/// The stage `signals`.
pub struct SignalsStage;

impl Stage for SignalsStage {
    fn name(&self) -> &'static str {
        "signals"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        json!({ "words": WORDS })
    }

    fn follows(&self) -> &'static str {
        "language"
    }

    fn reads(&self) -> Vec<Read> {
        vec![read("documents", "text")]
    }
}

impl ShardStage for SignalsStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let mut plan = input.with_column("signals", if_reached(signals(col("text")))?)?;
        for family in FAMILIES {
            plan = plan.with_column(family, get_field(col("signals"), family))?;
        }
        select_table(plan, "signals")
    }
}

/// `signals(text) -> {heuristic, gopher_quality, gopher_repetition}`.
fn signals(text_column: Expr) -> Expr {
    let schema = tables::schema("signals");
    let families = FAMILIES.iter().map(|family| schema.field_with_name(family).expect("declared").clone());
    let fields: Fields = families.collect();
    let output = fields.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let mut heuristic = Vec::new();
        let mut quality = Vec::new();
        let mut repetition = Vec::new();
        let mut scratch = RepetitionScratch::default();
        for text in text(columns, 0)? {
            let text = text.unwrap_or_default();
            // The word list borrows from the text, so it cannot outlive the row.
            let mut segmented = Vec::new();
            words(text, &mut segmented);
            heuristic.push(study_note(text));
            quality.push(gopher_quality(text, &segmented));
            repetition.push(gopher_repetition(text, &segmented, &mut scratch));
        }
        let families: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from(heuristic)),
            quality_columns(&output[1], &quality)?,
            repetition_columns(&output[2], &repetition)?,
        ];
        Ok(Arc::new(StructArray::try_new(output.clone(), families, None)?))
    };
    Function::new("signals", DataType::Struct(fields), kernel).call(vec![text_column])
}

fn struct_of(field: &Field, columns: Vec<ArrayRef>) -> Result<ArrayRef> {
    let DataType::Struct(fields) = field.data_type() else {
        return datafusion::common::internal_err!("{} is no struct", field.name());
    };
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
}

fn quality_columns(field: &Field, rows: &[GopherQuality]) -> Result<ArrayRef> {
    let count =
        |get: fn(&GopherQuality) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows.iter().map(get))) };
    let ratio =
        |get: fn(&GopherQuality) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(rows.iter().map(get))) };
    let columns = vec![
        count(|row| row.n_words),
        count(|row| row.n_nonsymbol_words),
        ratio(|row| row.avg_word_len),
        ratio(|row| row.hash_word_ratio),
        ratio(|row| row.ellipsis_word_ratio),
        ratio(|row| row.bullet_line_ratio),
        ratio(|row| row.ellipsis_line_ratio),
        ratio(|row| row.alpha_word_ratio),
        count(|row| row.n_stop_words),
    ];
    struct_of(field, columns)
}

fn repetition_columns(field: &Field, rows: &[GopherRepetition]) -> Result<ArrayRef> {
    let ratio = |get: &dyn Fn(&GopherRepetition) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(get)))
    };
    let mut columns = vec![
        ratio(&|row| row.dup_para_frac),
        ratio(&|row| row.dup_para_char_frac),
        ratio(&|row| row.dup_line_frac),
        ratio(&|row| row.dup_line_char_frac),
    ];
    columns.extend((0..3).map(|n| ratio(&|row| row.top_n_gram[n])));
    columns.extend((0..6).map(|n| ratio(&|row| row.dup_n_gram[n])));
    struct_of(field, columns)
}
