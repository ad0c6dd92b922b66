//! Verdicts: every rule that the manifest switches on, as an expression over the values in `signals`. Reads no text; the
//! lists of unwanted addresses are looked up in `documents.url`.

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
        FilterStage { filter: manifest.filter.clone(), lists }
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
        let mut config = serde_json::to_value(&self.filter).expect("settings are numbers, words and paths");
        if let Some(url) = config["url"].as_object_mut() {
            url.values_mut().filter(|path| !path.is_null()).for_each(|path| *path = true.into());
        }
        if let Some(words) = config["c4_bad_words"].as_object_mut() {
            words.remove("file");
        }
        config
    }

    fn resources(&self) -> BTreeMap<&'static str, String> {
        let lists = [("domains", &self.lists.domains), ("substrings", &self.lists.substrings)];
        lists.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?.digest.clone()))).collect()
    }

    fn follows(&self) -> &'static str {
        "signals"
    }

    fn reads(&self) -> Vec<Read> {
        let columns = ["gopher_repetition", "gopher_quality", "c4", "bad_words", "fineweb", "lines"];
        let mut reads: Vec<Read> = columns.iter().map(|column| read("signals", column)).collect();
        if self.filter.url.is_some() {
            reads.push(read("documents", "url"));
        }
        reads
    }
}

impl ShardStage for FilterStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let mut plan = input;
        for (column, list) in [("url_domain", &self.lists.domains), ("url_substring", &self.lists.substrings)] {
            let entry = match list {
                Some(list) => if_reached(listed(col("url"), list))?,
                None => lit(ScalarValue::Utf8(None)),
            };
            plan = plan.with_column(column, entry)?;
        }
        let on = RULES.iter().filter_map(|rule| Some((rule.full_name(), failed(rule, &self.filter)?)));
        let judged = plan.with_column("failing", if_reached(failing(on.collect()))?)?;
        select_table(judged.with_column("removed_by", array_element(col("failing"), lit(1i64)))?, "filter")
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
