//! q(d), what a token of a document is worth: a weighted geometric mean of terms in (0, 1].
//!
//! `q = Π t_i^(w_i / Σ w)`. Each term is mapped to (0, 1] by a calibration that is recorded in the stage's key; here that
//! is the identity, bounded below by [`FLOOR`]. Uncalibrated: nothing ties these numbers to losses yet.

use std::sync::Arc;

use curate_schemas::manifest::{Manifest, Quality, QualityTerm};
use curate_schemas::tables;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Expr, cast, col, lit, when};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::{Value, json};

use crate::function::Function;
use crate::{Read, ShardStage, Stage, if_reached, read, select_table};

/// The least value of a term, so that no single one makes q zero.
pub const FLOOR: f64 = 0.001;

/// The stage `quality`.
pub struct QualityStage {
    quality: Quality,
}

impl QualityStage {
    /// The stage as the manifest sets it.
    pub fn new(manifest: &Manifest) -> Self {
        QualityStage { quality: manifest.quality.clone() }
    }

    /// The term after calibration, or null where the manifest does not name it.
    fn term(&self, term: QualityTerm, column: &str) -> Result<Expr> {
        if !self.quality.terms.contains_key(&term) {
            return Ok(lit(ScalarValue::Float64(None)));
        }
        let value = col(column);
        when(value.clone().lt(lit(FLOOR)), lit(FLOOR)).when(value.clone().gt(lit(1.0)), lit(1.0)).otherwise(value)
    }

    fn combined(&self) -> Expr {
        if self.quality.terms.is_empty() {
            return lit(1.0);
        }
        let terms = self.quality.terms.iter();
        weighted_geometric(terms.map(|(term, weight)| (col(calibrated(*term)), *weight)).collect())
    }
}

/// `weighted_geometric(term, weight, …) -> Π term^(weight / Σ weight)`; null where a term is. One term is itself, exactly.
fn weighted_geometric(terms: Vec<(Expr, f64)>) -> Expr {
    let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let numbers: Vec<&Float64Array> = columns.iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        let rows = numbers.first().map_or(0, |column| column.len());
        let combine = |row: usize| {
            let pairs = || numbers.chunks_exact(2).map(|pair| (pair[0].value(row), pair[1].value(row)));
            if numbers.chunks_exact(2).any(|pair| pair[0].is_null(row)) {
                return None;
            }
            if let [term, _] = numbers[..] {
                return Some(term.value(row));
            }
            let total: f64 = pairs().map(|(_, weight)| weight).sum();
            Some(pairs().map(|(term, weight)| term.ln() * (weight / total)).sum::<f64>().exp())
        };
        Ok(Arc::new((0..rows).map(combine).collect::<Float64Array>()))
    };
    let arguments = terms.into_iter().flat_map(|(term, weight)| [term, lit(weight)]).collect();
    Function::new("weighted_geometric", DataType::Float64, kernel).call(arguments)
}

fn calibrated(term: QualityTerm) -> &'static str {
    match term {
        QualityTerm::Heuristic => "term_heuristic",
        QualityTerm::LanguageConfidence => "term_language_confidence",
    }
}

impl Stage for QualityStage {
    fn name(&self) -> &'static str {
        "quality"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        json!({ "quality": self.quality, "calibration": "identity", "floor": FLOOR })
    }

    fn follows(&self) -> &'static str {
        "paragraph_dedup"
    }

    fn reads(&self) -> Vec<Read> {
        vec![read("signals", "heuristic"), read("language", "confidence")]
    }
}

impl ShardStage for QualityStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let heuristic = self.term(QualityTerm::Heuristic, "heuristic")?;
        let confidence = self.term(QualityTerm::LanguageConfidence, "confidence")?;
        let terms = named_struct(vec![
            lit("heuristic"),
            col(calibrated(QualityTerm::Heuristic)),
            lit("language_confidence"),
            col(calibrated(QualityTerm::LanguageConfidence)),
        ]);
        let DataType::Struct(fields) = tables::schema("quality").field_with_name("terms")?.data_type().clone() else {
            return datafusion::common::internal_err!("quality.terms is no struct");
        };
        let plan = input
            .with_column(calibrated(QualityTerm::Heuristic), if_reached(heuristic)?)?
            .with_column(calibrated(QualityTerm::LanguageConfidence), if_reached(confidence)?)?
            .with_column("q", if_reached(self.combined())?)?
            .with_column("terms", if_reached(cast(terms, DataType::Struct(fields)))?)?
            .with_column("removed_by", lit(ScalarValue::Utf8(None)))?;
        select_table(plan, "quality")
    }
}
