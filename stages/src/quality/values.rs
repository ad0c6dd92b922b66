//! Numbers from columns of any table before `quality`, and from the records' own fields in
//! `documents.meta`.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use curate_schemas::tables::Measure;
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
