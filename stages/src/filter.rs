//! Verdicts: every rule that the manifest switches on, as an expression over the values in
//! `signals`. Reads no text; the lists of unwanted addresses are looked up in `documents.url`.

use std::sync::Arc;

use curate_schemas::manifest::{Filter, Manifest};
use curate_schemas::tables;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_nested::extract::array_element;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::function::{Function, text};
use crate::lists::{List, Lists};
use crate::rules::{Fails, RULES, Rule, Signal};
use crate::{Read, ShardStage, Stage, if_reached, read, select_table};

/// The stage `filter`.
pub struct FilterStage {
    filter: Filter,
    lists: Lists,
}

impl FilterStage {
    /// The stage as the manifest sets it.
    pub fn new(manifest: &Manifest, lists: Lists) -> Self {
        FilterStage {
            filter: manifest.filter.clone(),
            lists,
        }
    }
}

impl Stage for FilterStage {
    fn name(&self) -> &'static str {
        "filter"
    }

    fn version(&self) -> u32 {
        2
    }

    fn config(&self) -> Value {
        // Files are named by their digests, see `resources`.
        let mut config =
            serde_json::to_value(&self.filter).expect("settings are numbers, words and paths");
        if let Some(url) = config["url"].as_object_mut() {
            url.values_mut()
                .filter(|path| !path.is_null())
                .for_each(|path| *path = true.into());
        }
        if let Some(words) = config["c4_bad_words"].as_object_mut() {
            words.remove("file");
        }
        config
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        let lists = [
            ("domains", &self.lists.domains),
            ("substrings", &self.lists.substrings),
        ];
        lists
            .into_iter()
            .filter_map(|(name, list)| Some((name, list.as_ref()?.digest.clone())))
            .collect()
    }

    fn follows(&self) -> &'static str {
        "signals"
    }

    fn reads(&self) -> Vec<Read> {
        let columns = [
            "gopher_repetition",
            "gopher_quality",
            "c4",
            "bad_words",
            "fineweb",
            "lines",
        ];
        let mut reads: Vec<Read> = columns
            .iter()
            .map(|column| read("signals", column))
            .collect();
        if self.filter.url.is_some() {
            reads.push(read("documents", "url"));
        }
        reads
    }
}

impl ShardStage for FilterStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let mut plan = input;
        for (column, list) in [
            ("url_domain", &self.lists.domains),
            ("url_substring", &self.lists.substrings),
        ] {
            let entry = match list {
                Some(list) => if_reached(listed(col("url"), list))?,
                None => lit(ScalarValue::Utf8(None)),
            };
            plan = plan.with_column(column, entry)?;
        }
        let on = RULES
            .iter()
            .filter_map(|rule| Some((rule.full_name(), failed(rule, &self.filter)?)));
        let judged = plan.with_column("failing", if_reached(failing(on.collect()))?)?;
        select_table(
            judged.with_column("removed_by", array_element(col("failing"), lit(1i64)))?,
            "filter",
        )
    }
}

/// Whether a document fails the rule, if the rule judges.
fn failed(rule: &Rule, filter: &Filter) -> Option<Expr> {
    let judged = rule.judged(filter)?;
    let value = match judged.signal {
        Signal::Field(field) => get_field(col(rule.family), field),
        Signal::Of(family, field) => get_field(col(family), field),
        Signal::Column(column) | Signal::Own(column) => col(column),
    };
    let threshold = lit(judged.threshold);
    Some(match judged.fails {
        Fails::Below => value.lt(threshold),
        Fails::Above => value.gt(threshold),
        Fails::AtMost => value.lt_eq(threshold),
        Fails::AtLeast => value.gt_eq(threshold),
        Fails::Set => value,
        Fails::Listed => value.is_not_null(),
    })
}

/// `listed(url, digest of the list) -> the entry that the url matches`, or null.
fn listed(url: Expr, list: &List) -> Expr {
    let blocklist = Arc::clone(&list.blocklist);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let entries = text(columns, 0)?.iter().map(|url| blocklist.find(url?));
        Ok(Arc::new(entries.collect::<StringArray>()))
    };
    Function::new("listed", DataType::Utf8, kernel).call(vec![url, lit(list.digest.as_str())])
}

/// `failing(name, failed, name, failed, …) -> list of the names whose condition holds`, in the
/// arguments' order.
pub fn failing(rules: Vec<(String, Expr)>) -> Expr {
    let schema = tables::schema("filter");
    let output = schema
        .field_with_name("failing")
        .expect("declared")
        .data_type()
        .clone();
    let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let item = Field::new("item", DataType::Utf8, false);
        let mut lists = ListBuilder::new(StringBuilder::new()).with_field(item);
        let rules: Vec<_> = columns
            .chunks_exact(2)
            .map(|pair| (pair[0].as_string::<i32>(), pair[1].as_boolean()))
            .collect();
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
    arguments.extend(
        rules
            .into_iter()
            .flat_map(|(name, failed)| [lit(name), failed]),
    );
    Function::new("failing", output, kernel).call(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Judged;
    use curate_schemas::manifest::{
        C4, C4BadWords, C4Paragraphs, FineWeb, GopherQuality, GopherRepetition, Lines, Profile,
    };
    use datafusion::arrow::array::{
        BooleanArray, Float64Array, RecordBatch, StructArray, UInt32Array,
    };
    use datafusion::arrow::datatypes::Schema;
    use datafusion::prelude::SessionContext;

    fn every_family(profile: Profile) -> Filter {
        Filter {
            profile,
            gopher_repetition: Some(GopherRepetition::default()),
            gopher_quality: Some(GopherQuality::default()),
            c4: Some(C4::default()),
            c4_paragraphs: Some(C4Paragraphs { min_line_len: 200 }),
            c4_bad_words: Some(C4BadWords {
                file: "words.txt".into(),
                language: "en".into(),
                max_matches: 2,
            }),
            fineweb: Some(FineWeb::default()),
            lines: Some(Lines {
                rewrite: false,
                max_removed_word_ratio: 0.05,
            }),
            ..Filter::default()
        }
    }

    /// Rows of `signals` that are 0 and false everywhere but in the column of one rule.
    fn signals(rule: &Rule, judged: Judged, values: [f64; 3]) -> RecordBatch {
        let column = |name: &str, data_type: &DataType, is_it: bool| -> ArrayRef {
            let values = if is_it { values } else { [0.0; 3] };
            match data_type {
                DataType::UInt32 => Arc::new(UInt32Array::from_iter_values(
                    values.map(|value| value as u32),
                )),
                DataType::Float64 => Arc::new(Float64Array::from_iter_values(values)),
                DataType::Boolean => Arc::new(BooleanArray::from_iter(
                    values.map(|value| Some(value > 0.0)),
                )),
                other => panic!("{name} is {other}"),
            }
        };
        let (family, field) = match judged.signal {
            Signal::Of(family, field) => (family, field),
            signal => (rule.family, signal.name()),
        };
        let schema = tables::schema("signals");
        let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        for field_of_signals in schema.fields() {
            let array: ArrayRef = match (
                field_of_signals.name().as_str(),
                field_of_signals.data_type(),
            ) {
                ("doc_id", _) => Arc::new(StringArray::from(vec!["a", "b", "c"])),
                ("reached", _) => Arc::new(BooleanArray::from(vec![true; 3])),
                (name, DataType::Struct(inner)) => {
                    let of = |inner: &Field| {
                        column(
                            inner.name(),
                            inner.data_type(),
                            name == family && inner.name() == field,
                        )
                    };
                    let arrays = inner.iter().map(|inner| of(inner)).collect();
                    Arc::new(StructArray::new(inner.clone(), arrays, None))
                }
                ("bad_words", data_type) => column("bad_words", data_type, field == "bad_words"),
                _ => continue,
            };
            fields.push(field_of_signals.as_ref().clone());
            columns.push(array);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .expect("the columns are those of signals")
    }

    fn failing_of(filter: &Filter, rows: RecordBatch) -> Vec<Vec<String>> {
        let stage = FilterStage {
            filter: filter.clone(),
            lists: Lists::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let batches = runtime.block_on(async {
            let rows = SessionContext::new().read_batch(rows).expect("a plan");
            stage
                .plan(rows)
                .expect("a plan")
                .collect()
                .await
                .expect("batches")
        });
        let names = |lists: &RecordBatch| -> Vec<Vec<String>> {
            let lists = lists
                .column_by_name("failing")
                .expect("declared")
                .as_list::<i32>()
                .clone();
            lists
                .iter()
                .flatten()
                .map(|names| {
                    names
                        .as_string::<i32>()
                        .iter()
                        .flatten()
                        .map(str::to_owned)
                        .collect()
                })
                .collect()
        };
        batches.iter().flat_map(names).collect()
    }

    #[test]
    fn every_threshold_has_two_sides() {
        for profile in [Profile::Datatrove010, Profile::FineWebV1Lines] {
            let filter = every_family(profile);
            let mut judging = 0;
            for rule in RULES {
                let Some(judged) = rule.judged(&filter) else {
                    continue;
                };
                judging += 1;
                let schema = signals(rule, judged, [0.0; 3]).schema();
                let family = match judged.signal {
                    Signal::Of(family, _) => family,
                    _ => rule.family,
                };
                let is_ratio =
                    schema
                        .field_with_name(family)
                        .is_ok_and(|group| match group.data_type() {
                            DataType::Struct(fields) => fields
                                .find(judged.signal.name())
                                .is_some_and(|(_, field)| field.data_type() == &DataType::Float64),
                            _ => false,
                        });
                // The nearest number on each side of the threshold.
                let (below, at, above, expected) = match (judged.fails, is_ratio) {
                    (Fails::Set, _) => (0.0, 0.0, 1.0, [false, false, true]),
                    (fails, is_ratio) => {
                        let at = judged.threshold;
                        let (below, above) = if is_ratio {
                            (at.next_down(), at.next_up())
                        } else {
                            (at - 1.0, at + 1.0)
                        };
                        let expected = match fails {
                            Fails::Below => [true, false, false],
                            Fails::Above => [false, false, true],
                            Fails::AtMost => [true, true, false],
                            _ => [false, true, true],
                        };
                        (below, at, above, expected)
                    }
                };
                let failing = failing_of(&filter, signals(rule, judged, [below, at, above]));
                let found: Vec<bool> = failing
                    .iter()
                    .map(|names| names.contains(&rule.full_name()))
                    .collect();
                assert_eq!(found, expected, "{} in {profile:?}", rule.full_name());
            }
            assert!(judging > 30, "{judging}");
        }
    }
}
