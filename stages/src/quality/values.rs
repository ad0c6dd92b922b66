//! Numbers from columns of any table before `quality`, and from the records' own fields in
//! `documents.meta`.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use curate_schemas::tables::{self, Measure};
use serde_json::Value;

use crate::error::Result;
use crate::function::struct_field;
use crate::{Read, column};

/// The column that holds a measure, under the name `table.column`.
pub fn read_of(measure: &Measure) -> Read {
    let name = format!("{}.{}", measure.table, measure.column);
    Read {
        table: measure.table,
        column: measure.column,
        name: name.into(),
    }
}

/// A measure of each row, from the column of [`read_of`]. Null if the row has no value. For flags
/// true is 1 and false is 0.
///
/// # Errors
/// If the batch does not have the column, or if a struct does not have the field.
pub fn values(batch: &RecordBatch, measure: &Measure) -> Result<Float64Array> {
    let whole = column(batch, &read_of(measure).name)?;

    // A field of a column that is no struct is a field of the JSON objects in `documents.meta`.
    let found: ArrayRef = match (&measure.field, whole.data_type()) {
        (None, _) => ArrayRef::clone(whole),
        (Some(field), DataType::Struct(_)) => struct_field(whole.as_struct(), field)?,
        (Some(field), _) => return Ok(of_records(whole.as_string::<i32>(), field)),
    };

    Ok(cast(&found, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .clone())
}

/// The column in which a table says why a document has no value, in the tables that say so.
const WHY: &str = "unscored";

/// The columns that [`absences`] reads for a measure.
pub fn reads_of_absences(measure: &Measure) -> Vec<Read> {
    let mut reads = vec![read_of(measure)];
    if tables::table(measure.table).is_some_and(|table| table.has(WHY)) {
        reads.push(Read {
            table: measure.table,
            column: WHY,
            name: format!("{}.{WHY}", measure.table).into(),
        });
    }
    reads
}

/// Why each of some rows has no value of a measure; `None` for a row that has one. `absent`, `null`
/// and `not_a_number` are of fields of the records, and `not_a_number` is of NaN, too. Other words
/// are those of the table's column `unscored`. Without such a word it is `no_value`.
///
/// # Errors
/// If the batch does not have the columns of [`reads_of_absences`].
pub fn absences(
    batch: &RecordBatch,
    measure: &Measure,
    rows: &[usize],
) -> Result<Vec<Option<String>>> {
    if let (Some(field), "meta") = (&measure.field, measure.column) {
        let records = column(batch, &read_of(measure).name)?.as_string::<i32>();
        let absence = |row: &usize| {
            let record = records.is_valid(*row).then(|| records.value(*row));
            absence_in(record, field).map(str::to_owned)
        };
        return Ok(rows.iter().map(absence).collect());
    }

    let values = values(batch, measure)?;
    let words = batch.column_by_name(&format!("{}.{WHY}", measure.table));
    let words = words.map(|words| words.as_string::<i32>());
    let absence = |&row: &usize| {
        if values.is_valid(row) {
            return values
                .value(row)
                .is_nan()
                .then(|| "not_a_number".to_owned());
        }
        let word = words.filter(|words| words.is_valid(row));
        Some(word.map_or("no_value", |words| words.value(row)).to_owned())
    };
    Ok(rows.iter().map(absence).collect())
}

/// Why a record has no number in a field; `None` if it has one.
fn absence_in(record: Option<&str>, field: &str) -> Option<&'static str> {
    let record = record.and_then(|record| serde_json::from_str::<Value>(record).ok());
    match record.as_ref().and_then(|record| field_of(record, field)) {
        None => Some("absent"),
        Some(Value::Null) => Some("null"),
        Some(value) => number(value).is_none().then_some("not_a_number"),
    }
}

/// A field of each record. Records are JSON objects.
fn of_records(records: &StringArray, field: &str) -> Float64Array {
    records
        .iter()
        .map(|record| of_record(record?, field))
        .collect()
}

/// A field of a record as a number. `None` if there is no such field, or if its value is neither a
/// number nor a boolean.
fn of_record(record: &str, field: &str) -> Option<f64> {
    let record: Value = serde_json::from_str(record).ok()?;
    number(field_of(&record, field)?)
}

/// The number that a value is as a term or for a veto; a boolean is 1 or 0.
pub fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(f64::from))
}

/// A field of a record, where dots lead into nested objects. `None` if there is no such field.
pub fn field_of<'v>(record: &'v Value, field: &str) -> Option<&'v Value> {
    let mut found = record;
    let mut rest = field;

    // A field whose name has a dot in it goes before a nested field.
    loop {
        if let Some(value) = found.get(rest) {
            return Some(value);
        }
        let (first, inner) = rest.split_once('.')?;
        found = found.get(first)?;
        rest = inner;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, StructArray};
    use arrow::datatypes::{Field, Fields};
    use curate_schemas::tables::measure;
    use std::sync::Arc;

    #[test]
    fn fields_of_records() {
        let records = [
            Some(r#"{"a": 1.5, "b": {"c": true, "d.e": -2}, "f": "3"}"#),
            Some(r#"{"a": null, "b.c": 0}"#),
            None,
            Some("not json"),
        ];
        let records = StringArray::from(records.to_vec());
        let of = |field| of_records(&records, field).iter().collect::<Vec<_>>();
        assert_eq!(of("a"), [Some(1.5), None, None, None]);
        assert_eq!(of("b.c"), [Some(1.0), Some(0.0), None, None]);
        assert_eq!(of("b.d.e"), [Some(-2.0), None, None, None]);
        assert_eq!(of("f"), [None; 4]);
    }

    #[test]
    fn absences_have_reasons() {
        let records = [
            Some(r#"{"a": 1, "b": null}"#),
            Some(r#"{"a": "0.9", "b": {"c": true}}"#),
            Some(r#"{"a": [1]}"#),
            None,
            Some("not json"),
        ];
        let scores = [Some(0.5), Some(f64::NAN), None, None, None];
        let words = [None, None, Some("too_short"), None, None];
        let columns: [(&str, ArrayRef); 4] = [
            (
                "documents.meta",
                Arc::new(StringArray::from(records.to_vec())),
            ),
            (
                "score.mean_nll",
                Arc::new(Float64Array::from(scores.to_vec())),
            ),
            (
                "score.unscored",
                Arc::new(StringArray::from(words.to_vec())),
            ),
            (
                "ngram.perplexity",
                Arc::new(Float64Array::from(scores.to_vec())),
            ),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, array)| (name, array, true)),
        );
        let batch = batch.expect("a batch");

        let of = |name: &str| {
            let measure = measure(name).expect("a measure");
            for read in reads_of_absences(&measure) {
                assert!(batch.column_by_name(&read.name).is_some(), "{name}");
            }
            let found = absences(&batch, &measure, &[0, 1, 2, 3, 4]).expect("columns");
            found
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("meta.a"),
            ["", "not_a_number", "not_a_number", "absent", "absent"]
        );
        assert_eq!(
            of("meta.b"),
            ["null", "not_a_number", "absent", "absent", "absent"]
        );
        assert_eq!(of("meta.b.c"), ["absent", "", "absent", "absent", "absent"]);
        assert_eq!(
            of("score.mean_nll"),
            ["", "not_a_number", "too_short", "no_value", "no_value"]
        );
        assert_eq!(
            of("ngram.perplexity"),
            ["", "not_a_number", "no_value", "no_value", "no_value"]
        );
    }

    #[test]
    fn columns_and_fields_of_tables() {
        let fields: Fields = vec![Field::new("alpha_word_ratio", DataType::Float64, true)].into();
        let inner: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), Some(0.7), None]));
        let nulls = vec![true, false, true].into();
        let ratios: ArrayRef = Arc::new(StructArray::new(fields, vec![inner], Some(nulls)));
        let mixed: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));

        let columns = [
            ("signals.gopher_quality", ratios),
            ("language.mixed", mixed),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, array)| (name, array, true)),
        );
        let batch = batch.expect("a batch");
        let of = |name: &str| {
            let measure = measure(name).expect("a measure");
            values(&batch, &measure)
                .expect("numbers")
                .iter()
                .collect::<Vec<_>>()
        };

        // The null of a struct is a null of each field, whatever stands below it.
        assert_eq!(
            of("signals.gopher_quality.alpha_word_ratio"),
            [Some(0.5), None, None]
        );
        assert_eq!(of("language.mixed"), [Some(1.0), Some(0.0), None]);

        for unknown in [
            "signals",
            "signals.words",
            "signals.gopher_quality",
            "nothing.at_all",
            "mix.draws",
        ] {
            assert_eq!(measure(unknown), None, "{unknown}");
        }
    }
}
