//! Whether the fields that a manifest reads of the records are there: for each source and field the
//! number of records with a usable value, with a value of another type, and with text that is not a
//! date.
//!
//! A value that cannot be used stays in `documents.meta`, so everything is counted from the table
//! `documents`. Cost: one pass over ids, URLs and dates. `meta` is read, and parsed once a row, only
//! for rows that need it.

use arrow::array::{Array, AsArray, RecordBatch};
use curate_schemas::Manifest;
use curate_schemas::stages::documents::{NamedField, Source};
use curate_schemas::tables::{Measure, measure};
use curate_scorers::normalize::url_hash;
use serde_json::Value;

use crate::column;
use crate::error::Result;
use crate::quality::values::{field_of, number};

/// A field that a manifest reads of the records of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The purpose: `id`, `url`, `date`, or `meta.NAME` for a term or a veto.
    pub name: String,
    /// Name of the field in the records. `None` if the source does not name one.
    pub path: Option<String>,
    /// What the values are used for.
    pub purpose: Purpose,
}

/// What the values of a field are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A column of `documents`.
    Named(NamedField),
    /// A term or a veto, which read numbers.
    Measure,
}

/// Numbers of records of a source, for one field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Covered {
    /// Records that became documents.
    pub records: u64,
    /// Records with a usable value.
    pub usable: u64,
    /// Records with a value of another type.
    pub other_type: u64,
    /// Records with text or a number that is not a date.
    pub unparsable: u64,
}

impl Covered {
    /// Records without a value, with null, or with a named field of white space.
    pub fn missing(&self) -> u64 {
        self.records - self.usable - self.other_type - self.unparsable
    }

    /// Adds the numbers of other records.
    pub fn add(&mut self, other: Covered) {
        self.records += other.records;
        self.usable += other.usable;
        self.other_type += other.other_type;
        self.unparsable += other.unparsable;
    }
}

/// The fields of the records that a source names, and those that terms and vetoes read.
pub fn fields(manifest: &Manifest, source: &Source) -> Vec<Field> {
    let named = [
        ("id", NamedField::Id, &source.id),
        ("url", NamedField::Url, &source.url),
        ("date", NamedField::Date, &source.date),
    ];
    let named = named.map(|(name, field, path)| Field {
        name: name.to_owned(),
        path: path.clone(),
        purpose: Purpose::Named(field),
    });

    let mut all = named.to_vec();
    for field in measured(manifest) {
        let name = format!("meta.{field}");
        if all.iter().all(|known| known.name != name) {
            all.push(Field {
                name,
                path: Some(field),
                purpose: Purpose::Measure,
            });
        }
    }
    all
}

/// The fields of records that terms and vetoes read.
fn measured(manifest: &Manifest) -> impl Iterator<Item = String> {
    let quality = &manifest.quality;
    let terms = quality.term.iter().map(|term| &term.column);
    let vetoes = quality.veto.iter().map(|veto| &veto.column);
    terms.chain(vetoes).filter_map(|name| record_field(name))
}

/// The field of the record that a measure reads; `None` for a column that a stage computes.
pub fn record_field(name: &str) -> Option<String> {
    match measure(name) {
        Some(Measure {
            column: "meta",
            field,
            ..
        }) => field,
        _ => None,
    }
}

/// Columns of `documents` that [`count`] reads, without `meta`.
pub const NARROW: [&str; 3] = ["source_id", "url", "date"];

/// True if a batch of the columns [`NARROW`] does not tell everything about the fields.
///
/// # Errors
/// If a column was not read.
pub fn needs_meta(batch: &RecordBatch, fields: &[Field]) -> Result<bool> {
    for field in fields.iter().filter(|field| field.path.is_some()) {
        let Purpose::Named(named) = field.purpose else {
            return Ok(true);
        };
        if column(batch, column_of(named))?.null_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Counts the rows of a batch of one source, by field. The batch has the columns [`NARROW`], and
/// `meta` if [`needs_meta`] says so.
///
/// # Errors
/// If a column was not read.
pub fn count(batch: &RecordBatch, fields: &[Field]) -> Result<Vec<Covered>> {
    let metas = batch
        .column_by_name("meta")
        .map(|metas| metas.as_string::<i32>());
    let mut columns = Vec::new();
    for field in fields {
        columns.push(match field.purpose {
            Purpose::Named(named) => Some(column(batch, column_of(named))?),
            Purpose::Measure => None,
        });
    }

    let mut all = vec![Covered::default(); fields.len()];
    for row in 0..batch.num_rows() {
        let mut meta = None;
        for ((field, column), covered) in fields.iter().zip(&columns).zip(&mut all) {
            covered.records += 1;
            let Some(path) = &field.path else { continue };
            if let Some(column) = column.filter(|column| column.is_valid(row)) {
                // Lists and deduplication can do nothing with a text such as `N/A`.
                let is_used = field.purpose != Purpose::Named(NamedField::Url)
                    || url_hash(column.as_string::<i32>().value(row)).is_some();
                covered.usable += u64::from(is_used);
                covered.unparsable += u64::from(!is_used);
                continue;
            }

            // A record is parsed once, and only if a field needs it.
            let meta = meta.get_or_insert_with(|| {
                let text = metas.filter(|metas| metas.is_valid(row));
                text.and_then(|metas| serde_json::from_str::<Value>(metas.value(row)).ok())
            });
            let value = meta.as_ref().and_then(|meta| field_of(meta, path));
            match (field.purpose, value) {
                (_, None | Some(Value::Null)) => {}
                // A CSV file has no null, and other formats agree with it.
                (Purpose::Named(_), Some(Value::String(text))) if text.trim().is_empty() => {}
                (Purpose::Measure, Some(value)) if number(value).is_some() => covered.usable += 1,
                (Purpose::Named(NamedField::Date), Some(Value::String(_) | Value::Number(_))) => {
                    covered.unparsable += 1;
                }
                _ => covered.other_type += 1,
            }
        }
    }
    Ok(all)
}

/// The column of `documents` that holds a named field.
fn column_of(field: NamedField) -> &'static str {
    match field {
        NamedField::Id => "source_id",
        NamedField::Url => "url",
        NamedField::Date => "date",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
    use curate_schemas::stages::quality::Term;
    use std::sync::Arc;

    #[test]
    fn what_a_value_lacks_is_told_apart() {
        let source = Source {
            url: Some("link".into()),
            date: Some("when".into()),
            ..Source::default()
        };
        let mut manifest = Manifest::default();
        manifest.quality.term = vec![Term::of("meta.score"), Term::of("signals.heuristic")];
        let fields = fields(&manifest, &source);
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["id", "url", "date", "meta.score"]);

        let metas = [
            Some(r#"{"score":1}"#),
            Some(r#"{"score":"0.9","link":["a"],"when":"soon"}"#),
            Some(r#"{"score":null,"link":" ","when":[1]}"#),
            Some(r#"{"when":""}"#),
        ];
        let columns: [(&str, ArrayRef); 4] = [
            ("source_id", Arc::new(StringArray::new_null(4))),
            (
                "url",
                Arc::new(StringArray::from(vec![
                    Some("http://a.example/"),
                    None,
                    None,
                    None,
                ])),
            ),
            (
                "date",
                Arc::new(TimestampMicrosecondArray::from(vec![
                    Some(0),
                    None,
                    None,
                    None,
                ])),
            ),
            ("meta", Arc::new(StringArray::from(metas.to_vec()))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, array)| (name, array, true)),
        );
        let batch = batch.expect("a batch");
        assert!(needs_meta(&batch, &fields).expect("columns"));

        let found = count(&batch, &fields).expect("columns");
        let numbers = |covered: &Covered| {
            [
                covered.usable,
                covered.other_type,
                covered.unparsable,
                covered.missing(),
            ]
        };
        assert_eq!(numbers(&found[0]), [0, 0, 0, 4]);
        assert_eq!(numbers(&found[1]), [1, 1, 0, 2]);
        assert_eq!(numbers(&found[2]), [1, 1, 1, 1]);
        assert_eq!(numbers(&found[3]), [1, 1, 0, 2]);
    }
}
