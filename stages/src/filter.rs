//! Verdicts: every rule that the manifest switches on, as an expression over the values in `signals`. Reads no text.

use std::sync::Arc;

use curate_schemas::manifest::{Filter, GopherQuality, GopherRepetition, Manifest};
use curate_schemas::tables;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_nested::extract::array_element;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::DataFrame;
use serde_json::Value;

use crate::function::Function;
use crate::{Read, ShardStage, Stage, if_reached, read, select_table};

/// Which side of its threshold fails a document. Comparisons are strict: a value equal to the threshold passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// Values below the threshold fail.
    Below,
    /// Values above the threshold fail.
    Above,
}

/// A rule: a signal, a side and a threshold.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// `family` in `family.rule`, the manifest's `[filter.family]` and the struct in `signals`.
    pub family: &'static str,
    /// `rule` in `family.rule`.
    pub name: &'static str,
    /// The field of the family's struct.
    pub signal: &'static str,
    /// The side that fails.
    pub fails: Fails,
    threshold: Threshold,
}

#[derive(Debug, Clone, Copy)]
enum Threshold {
    Quality(fn(&GopherQuality) -> f64),
    Repetition(fn(&GopherRepetition) -> f64),
}

impl Rule {
    /// `family.rule`, as in `removed_by` and `failing`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.family, self.name)
    }

    /// The threshold, if the rule's family is switched on.
    pub fn threshold(&self, filter: &Filter) -> Option<f64> {
        match self.threshold {
            Threshold::Quality(get) => filter.gopher_quality.as_ref().map(get),
            Threshold::Repetition(get) => filter.gopher_repetition.as_ref().map(get),
        }
    }

    fn failed(&self, threshold: f64) -> Expr {
        let value = get_field(col(self.family), self.signal);
        match self.fails {
            Fails::Below => value.lt(lit(threshold)),
            Fails::Above => value.gt(lit(threshold)),
        }
    }
}

const fn quality(name: &'static str, signal: &'static str, fails: Fails, threshold: fn(&GopherQuality) -> f64) -> Rule {
    Rule { family: "gopher_quality", name, signal, fails, threshold: Threshold::Quality(threshold) }
}

const fn repetition(name: &'static str, signal: &'static str, threshold: fn(&GopherRepetition) -> f64) -> Rule {
    Rule { family: "gopher_repetition", name, signal, fails: Fails::Above, threshold: Threshold::Repetition(threshold) }
}

/// Every rule, in the order in which the first failing one is named: repetition before quality, as in FineWeb's recipe.
/// Names are datatrove 0.10's reasons, less its `gopher_` and `_threshold`.
pub const RULES: &[Rule] = &[
    repetition("dup_para_frac", "dup_para_frac", |t| t.max_dup_para_frac),
    repetition("dup_para_char_frac", "dup_para_char_frac", |t| t.max_dup_para_char_frac),
    repetition("dup_line_frac", "dup_line_frac", |t| t.max_dup_line_frac),
    repetition("dup_line_char_frac", "dup_line_char_frac", |t| t.max_dup_line_char_frac),
    repetition("top_2_gram", "top_2_gram", |t| t.max_top_2_gram),
    repetition("top_3_gram", "top_3_gram", |t| t.max_top_3_gram),
    repetition("top_4_gram", "top_4_gram", |t| t.max_top_4_gram),
    repetition("duplicated_5_n_grams", "dup_5_gram", |t| t.max_dup_5_gram),
    repetition("duplicated_6_n_grams", "dup_6_gram", |t| t.max_dup_6_gram),
    repetition("duplicated_7_n_grams", "dup_7_gram", |t| t.max_dup_7_gram),
    repetition("duplicated_8_n_grams", "dup_8_gram", |t| t.max_dup_8_gram),
    repetition("duplicated_9_n_grams", "dup_9_gram", |t| t.max_dup_9_gram),
    repetition("duplicated_10_n_grams", "dup_10_gram", |t| t.max_dup_10_gram),
    quality("short_doc", "n_nonsymbol_words", Fails::Below, |t| f64::from(t.min_words)),
    quality("long_doc", "n_nonsymbol_words", Fails::Above, |t| f64::from(t.max_words)),
    quality("below_avg", "avg_word_len", Fails::Below, |t| t.min_avg_word_len),
    quality("above_avg", "avg_word_len", Fails::Above, |t| t.max_avg_word_len),
    quality("too_many_hashes", "hash_word_ratio", Fails::Above, |t| t.max_hash_word_ratio),
    quality("too_many_ellipsis", "ellipsis_word_ratio", Fails::Above, |t| t.max_ellipsis_word_ratio),
    quality("too_many_bullets", "bullet_line_ratio", Fails::Above, |t| t.max_bullet_line_ratio),
    quality("too_many_end_ellipsis", "ellipsis_line_ratio", Fails::Above, |t| t.max_ellipsis_line_ratio),
    quality("below_alpha", "alpha_word_ratio", Fails::Below, |t| t.min_alpha_word_ratio),
    quality("enough_stop_words", "n_stop_words", Fails::Below, |t| f64::from(t.min_stop_words)),
];

/// The stage `filter`.
pub struct FilterStage {
    filter: Filter,
}

impl FilterStage {
    /// The stage as the manifest sets it.
    pub fn new(manifest: &Manifest) -> Self {
        FilterStage { filter: manifest.filter.clone() }
    }
}

impl Stage for FilterStage {
    fn name(&self) -> &'static str {
        "filter"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        serde_json::to_value(&self.filter).expect("thresholds are numbers")
    }

    fn follows(&self) -> &'static str {
        "language"
    }

    fn reads(&self) -> Vec<Read> {
        vec![read("signals", "gopher_quality"), read("signals", "gopher_repetition")]
    }
}

impl ShardStage for FilterStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let on = RULES.iter().filter_map(|rule| Some((rule.full_name(), rule.failed(rule.threshold(&self.filter)?))));
        let judged = input.with_column("failing", if_reached(failing(on.collect()))?)?;
        select_table(judged.with_column("removed_by", array_element(col("failing"), lit(1i64)))?, "filter")
    }
}

/// `failing(name, failed, name, failed, …) -> list of the names whose condition holds`, in the arguments' order.
pub fn failing(rules: Vec<(String, Expr)>) -> Expr {
    let schema = tables::schema("filter");
    let output = schema.field_with_name("failing").expect("declared").data_type().clone();
    let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let item = Field::new("item", DataType::Utf8, false);
        let mut lists = ListBuilder::new(StringBuilder::new()).with_field(item);
        let rules: Vec<_> =
            columns.chunks_exact(2).map(|pair| (pair[0].as_string::<i32>(), pair[1].as_boolean())).collect();
        for row in 0..columns.first().map_or(0, |column| column.len()) {
            for (name, failed) in &rules {
                if failed.is_valid(row) && failed.value(row) {
                    lists.values().append_value(name.value(row));
                }
            }
            lists.append(true);
        }
        Ok(Arc::new(lists.finish()))
    };
    // Without a rule there would be no column to take the number of rows from.
    let mut arguments = vec![lit(""), col("reached").is_null()];
    arguments.extend(rules.into_iter().flat_map(|(name, failed)| [lit(name), failed]));
    Function::new("failing", output, kernel).call(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_names_and_signals_are_declared() {
        let schema = tables::schema("signals");
        for rule in RULES {
            let family = schema.field_with_name(rule.family).expect("a family is a column of signals");
            let DataType::Struct(fields) = family.data_type() else { panic!("{} is no struct", rule.family) };
            assert!(fields.find(rule.signal).is_some(), "{}.{}", rule.family, rule.signal);
            assert_eq!(RULES.iter().filter(|other| other.full_name() == rule.full_name()).count(), 1);
        }
    }

    #[test]
    fn a_family_that_is_absent_has_no_threshold() {
        let filter = Filter { gopher_quality: Some(GopherQuality::default()), gopher_repetition: None };
        let on = RULES.iter().filter(|rule| rule.threshold(&filter).is_some()).count();
        assert_eq!(on, 10);
    }
}
