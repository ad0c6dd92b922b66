//! The verdicts of the rules: every rule that the manifest switches on, as an expression over the
//! values in `signals`. The stage reads no text. It looks addresses of `documents.url` up in the
//! lists of unwanted ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListBuilder, StringArray, StringBuilder, new_null_array,
};
use arrow::datatypes::{DataType, Field};
use curate_schemas::rules::{FAMILIES, Fails, Rule, Signal, rules};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::filter::{FILTER, Filter};
use curate_schemas::tables;
use curate_scorers::rules::url_rules::Blocklist;
use datafusion_expr::{Expr, cast, col, lit};
use serde_json::Value;

use crate::error::{Result, StageError};
use crate::function::{Function, field, text};
use crate::plan::{Plan, if_reached, null_of};
use crate::resources::{Digested, Opening};
use crate::{Read, ShardStage, Stage, read};

/// The stage `filter` with its lists of unwanted addresses.
pub struct FilterStage {
    filter: Filter,
    domains: Option<Digested<Blocklist>>,
    substrings: Option<Digested<Blocklist>>,
}

impl FilterStage {
    /// The stage as the manifest sets it, with its lists of addresses.
    ///
    /// # Errors
    /// If a list cannot be used.
    pub fn open(opening: &Opening) -> Result<Self> {
        let filter = opening.manifest.filter.clone();

        // Without `[filter.url]` there is no list, as in an empty table.
        let url = filter.url.clone().unwrap_or_default();
        let domains = url.domains.as_ref().map(|name| {
            let file = opening.list("filter.url.domains", name)?;
            if let Some((number, entry)) = Blocklist::not_a_domain(&file.text) {
                let what = format!(
                    "line {number}, \"{entry}\", is no domain: write one domain a line, such as \
                     bad.example"
                );
                return Err(opening.wrong("filter.url.domains", name, &what));
            }
            Ok::<_, StageError>(Digested {
                value: Arc::new(Blocklist::domains(&file.text)),
                digest: file.digest,
            })
        });
        let substrings = url.substrings.as_ref().map(|name| {
            let file = opening.list("filter.url.substrings", name)?;
            let list = Blocklist::substrings(&file.text);
            let list = list.map_err(|error| StageError::manifest(format!("{name}: {error}")))?;
            Ok::<_, StageError>(Digested {
                value: Arc::new(list),
                digest: file.digest,
            })
        });

        Ok(FilterStage {
            domains: domains.transpose()?,
            substrings: substrings.transpose()?,
            filter,
        })
    }
}

impl Stage for FilterStage {
    fn spec(&self) -> &'static StageSpec {
        &FILTER
    }

    fn config(&self) -> Value {
        let mut config = serde_json::to_value(&self.filter).expect("settings are plain data");

        // A file counts by its digest, see `resources`. The key only says whether there is one.
        if let Some(url) = config["url"].as_object_mut() {
            for (name, path) in url.iter_mut().filter(|(_, path)| !path.is_null()) {
                // Substrings with the form in which they are compared.
                *path = match name.as_str() {
                    "substrings" => "nfc".into(),
                    _ => true.into(),
                };
            }
        }

        // `signals` counts the words of the list, so its key has the digest of this file.
        if let Some(words) = config["c4_bad_words"].as_object_mut() {
            words.remove("file");
        }

        config
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        let lists = [("domains", &self.domains), ("substrings", &self.substrings)];
        let digests = lists
            .into_iter()
            .filter_map(|(name, list)| Some((name, list.as_ref()?.digest.clone())));
        digests.collect()
    }

    fn reads(&self) -> Vec<Read> {
        // A family without values of its own has no struct in `signals`.
        let mut reads: Vec<Read> = FAMILIES
            .iter()
            .filter(|family| !family.values_doc.is_empty())
            .map(|family| read("signals", family.name))
            .collect();
        reads.push(read("signals", "bad_words"));
        if self.filter.url.is_some() {
            reads.push(read("documents", "url"));
        }
        reads
    }
}

impl ShardStage for FilterStage {
    fn plan(&self, input: Plan, _: u64) -> Result<Plan> {
        let lists = [
            ("url_domain", &self.domains),
            ("url_substring", &self.substrings),
        ];

        let mut plan = input;
        for (column, list) in lists {
            let entry = match list {
                Some(list) => if_reached(listed(col("url"), list))?,
                None => null_of(FILTER.name, column)?,
            };
            plan = plan.with_column(column, entry)?;
        }

        // `removed_by` names the first failing rule, so the order of the rules is a contract.
        let judging =
            rules().filter_map(|rule| Some((rule.full_name(), failed(rule, &self.filter)?)));
        let plan = plan.with_column("failing", if_reached(failing(judging.collect()))?)?;
        plan.with_column("removed_by", first_of(col("failing")))
    }
}

/// The condition under which a document fails the rule; `None` if the rule does not judge.
fn failed(rule: &Rule, filter: &Filter) -> Option<Expr> {
    let judged = rule.judged(filter)?;

    let number = |family: &str, name: &str| {
        let data_type = value_type(family, name);
        let value = field(col(family), name, data_type.clone());
        // Thresholds are floats. A float holds every integer below 2^32 exactly.
        match data_type {
            DataType::UInt32 => cast(value, DataType::Float64),
            _ => value,
        }
    };
    let value = match judged.value {
        Signal::Field(name) => number(rule.family, name),
        Signal::Of(family, name) => number(family, name),
        Signal::Column(column) => cast(col(column), DataType::Float64),
        Signal::Own(column) => col(column),
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

/// The type of a field of a family's struct in `signals`.
fn value_type(family: &str, name: &str) -> DataType {
    let schema = tables::schema("signals");
    match schema.field_with_name(family).map(Field::data_type) {
        Ok(DataType::Struct(fields)) => match fields.find(name) {
            Some((_, field)) => field.data_type().clone(),
            None => unreachable!("a test walks the rules: {family}.{name}"),
        },
        _ => unreachable!("a test walks the rules: {family}"),
    }
}

/// The function `listed(url, digest of the list) -> entry`. The entry is the one that the URL
/// matches, or null.
fn listed(url: Expr, list: &Digested<Blocklist>) -> Expr {
    let blocklist = Arc::clone(&list.value);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let entries = text(columns, 0)?.iter().map(|url| blocklist.find(url?));
        Ok(Arc::new(entries.collect::<StringArray>()))
    };
    Function::new("listed", DataType::Utf8, kernel).call(vec![url, lit(list.digest.as_str())])
}

/// The function `first_of(list) -> first entry`. The entry is null if the list is null or empty.
fn first_of(list: Expr) -> Expr {
    let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let lists = columns[0].as_list::<i32>();
        if lists.null_count() == lists.len() {
            return Ok(new_null_array(&DataType::Utf8, lists.len()));
        }

        // An empty list has the offset of the next entry, which is not its own.
        let entries = lists.values().as_string::<i32>();
        let firsts: StringArray = (0..lists.len())
            .map(|row| {
                let has_entries = lists.is_valid(row) && lists.value_length(row) > 0;
                has_entries.then(|| entries.value(lists.value_offsets()[row] as usize))
            })
            .collect();
        Ok(Arc::new(firsts))
    };
    Function::new("first_of", DataType::Utf8, kernel).call(vec![list])
}

/// The function `failing(name, failed, name, failed, …) -> names`. It lists the names whose
/// condition holds, in the order of the arguments. A null condition does not hold.
pub fn failing(rules: Vec<(String, Expr)>) -> Expr {
    let schema = tables::schema("filter");
    let output = schema
        .field_with_name("failing")
        .expect("declared")
        .data_type()
        .clone();

    let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
        // The table declares entries as not null, unlike the builder.
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

    // Without a rule there would be no column that gives the number of rows. `reached` is never
    // null, so this condition never holds.
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
    use arrow::array::{BooleanArray, Float64Array, RecordBatch, StructArray, UInt32Array};
    use arrow::datatypes::Schema;
    use curate_schemas::rules::{
        BadWordsRules, C4Rules, FineWebRules, GopherQualityRules, GopherRepetitionRules, Judged,
        LineRules, ParagraphRules,
    };
    use curate_schemas::stages::filter::Profile;

    fn every_family(profile: Profile) -> Filter {
        Filter {
            profile,
            gopher_repetition: Some(GopherRepetitionRules::default()),
            gopher_quality: Some(GopherQualityRules::default()),
            c4: Some(C4Rules::default()),
            c4_paragraphs: Some(ParagraphRules { min_line_len: 200 }),
            c4_bad_words: Some(BadWordsRules {
                file: "words.txt".into(),
                language: "en".into(),
                max_matches: 2,
            }),
            fineweb: Some(FineWebRules::default()),
            lines: Some(LineRules {
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
        let (family, field) = match judged.value {
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
            domains: None,
            substrings: None,
        };
        let plan = stage.plan(Plan::new(rows.schema()), 0).expect("a plan");
        let judged = plan.run(rows).expect("verdicts");
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
        names(&judged)
    }

    #[test]
    fn every_threshold_has_two_sides() {
        for profile in [Profile::Datatrove010, Profile::FineWebV1Lines] {
            let filter = every_family(profile);
            let mut judging = 0;
            for rule in rules() {
                let Some(judged) = rule.judged(&filter) else {
                    continue;
                };
                judging += 1;

                let schema = signals(rule, judged, [0.0; 3]).schema();
                let family = match judged.value {
                    Signal::Of(family, _) => family,
                    _ => rule.family,
                };
                let is_ratio =
                    schema
                        .field_with_name(family)
                        .is_ok_and(|group| match group.data_type() {
                            DataType::Struct(fields) => fields
                                .find(judged.value.name())
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
