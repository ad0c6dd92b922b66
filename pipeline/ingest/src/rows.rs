//! Rows of a batch to records, for every format of tables.
//!
//! Memory: texts and bytes are views into the buffers that they came in, and rows are copied out of
//! them a megabyte at a time, so one dictionary entry of megabytes in a thousand rows is there
//! once.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, RecordBatch, StringViewArray, StructArray,
    make_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Schema, TimeUnit, TimestampMicrosecondType,
};
use curate_schemas::stages::documents::{Run, Source};
use curate_store::failure::guard;

use crate::date;
use crate::readers::Sink;
use crate::record::{Item, Record, damage};

/// Text that is copied out of a batch at a time, bytes.
const SLICE_BYTES: u64 = 1 << 20;

/// Most rows whose sizes are counted at a time. A row may hold a list of a million entries.
const ROWS: usize = 1024;

/// Reads the rows of a table, batch after batch.
pub struct Rows<'a> {
    source: &'a Source,
    max_record: u64,
    /// Rows before the next one.
    pub row: u64,
}

impl<'a> Rows<'a> {
    /// A table from its first row on.
    pub fn new(source: &'a Source, limits: &Run) -> Rows<'a> {
        Rows {
            source,
            max_record: limits.max_record,
            row: 0,
        }
    }

    /// Calls `sink` for each row of a batch. `sink` is called outside of the guard: its failures are
    /// the run's. The damage that ended the batch, if any.
    ///
    /// # Errors
    /// If `sink` fails.
    pub fn read(
        &mut self,
        batch: RecordBatch,
        sink: Sink,
    ) -> Result<std::result::Result<(), String>> {
        let batch = match guarded(|| with_views(batch)) {
            Ok(batch) => batch,
            Err(detail) => return Ok(Err(detail)),
        };

        let mut start = 0;
        while start < batch.num_rows() {
            let block = batch.slice(start, ROWS.min(batch.num_rows() - start));
            let sizes = match guarded(|| Ok(sizes(&block))) {
                Ok(sizes) => sizes,
                Err(detail) => return Ok(Err(detail)),
            };

            let mut at = 0;
            while at < sizes.len() {
                let n = rows_of_a_slice(&sizes[at..]);
                let slice = block.slice(at, n);
                let work = || {
                    records(
                        &slice,
                        &sizes[at..at + n],
                        self.source,
                        self.max_record,
                        self.row,
                    )
                };
                let items = match guarded(work) {
                    Ok(items) => items,
                    Err(detail) => return Ok(Err(detail)),
                };
                for item in items {
                    self.row += 1;
                    sink(item)?;
                }
                at += n;
            }
            start += sizes.len();
        }
        Ok(Ok(()))
    }
}

/// The batch with texts and bytes as views.
fn with_views(batch: RecordBatch) -> Result<RecordBatch> {
    let fields = viewed(batch.schema_ref().fields());
    if fields == *batch.schema_ref().fields() {
        return Ok(batch);
    }
    let columns = fields.iter().zip(batch.columns());
    let columns = columns
        .map(|(field, column)| cast(column, field.data_type()))
        .collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// About the bytes of each row.
fn sizes(batch: &RecordBatch) -> Vec<u64> {
    let mut sizes = vec![0; batch.num_rows()];
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    columns.for_each(|(field, column)| add_sizes(field.name(), column, &mut sizes));
    sizes
}

/// The fields with texts and bytes as views, dictionaries spelled out and lists of any kind as plain
/// lists.
pub fn viewed(fields: &Fields) -> Fields {
    fields.iter().map(viewed_field).collect()
}

fn viewed_field(field: &FieldRef) -> FieldRef {
    let data_type = viewed_type(field.data_type());
    Arc::new(Field::clone(field).with_data_type(data_type))
}

fn viewed_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => viewed_type(values),
        DataType::Struct(fields) => DataType::Struct(viewed(fields)),
        // A list of fixed size has its entries also where it is null, as many as the file's schema
        // likes.
        DataType::List(field) | DataType::FixedSizeList(field, _) | DataType::ListView(field) => {
            DataType::List(viewed_field(field))
        }
        DataType::LargeList(field) | DataType::LargeListView(field) => {
            DataType::LargeList(viewed_field(field))
        }
        DataType::Map(field, is_sorted) => DataType::Map(viewed_field(field), *is_sorted),
        other => other.clone(),
    }
}

fn rows_of_a_slice(sizes: &[u64]) -> usize {
    let mut bytes = 0;
    let fitting = sizes.iter().take_while(|size| {
        bytes += **size;
        bytes <= SLICE_BYTES
    });
    fitting.count().max(1)
}

/// Adds what each row of a column holds of texts, bytes and names of fields, nested ones included:
/// about what a copy of it takes.
fn add_sizes(name: &str, column: &dyn Array, sizes: &mut [u64]) {
    let mut own = vec![name.len() as u64; sizes.len()];
    // The low half of a view is its length.
    let add = |own: &mut [u64], views: &[u128]| {
        own.iter_mut()
            .zip(views)
            .for_each(|(size, view)| *size += u64::from(*view as u32));
    };
    match column.data_type() {
        DataType::Utf8View => add(&mut own, column.as_string_view().views()),
        DataType::BinaryView => add(&mut own, column.as_binary_view().views()),
        DataType::FixedSizeBinary(length) => {
            own.iter_mut().for_each(|size| *size += *length as u64)
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            columns.for_each(|(field, column)| add_sizes(field.name(), column, &mut own));
        }
        DataType::List(_) => add_lists(
            column.as_list::<i32>().values(),
            column.as_list::<i32>().value_offsets(),
            &mut own,
        ),
        DataType::LargeList(_) => {
            add_lists(
                column.as_list::<i64>().values(),
                column.as_list::<i64>().value_offsets(),
                &mut own,
            );
        }
        DataType::Map(..) => add_lists(
            column.as_map().entries(),
            column.as_map().value_offsets(),
            &mut own,
        ),
        _ => {}
    }
    // Where a value is null, anything may be left over from another.
    for (row, size) in sizes.iter_mut().enumerate() {
        if column.is_valid(row) {
            *size += own[row];
        }
    }
}

fn add_lists<O: Copy + TryInto<usize>>(values: &dyn Array, offsets: &[O], sizes: &mut [u64]) {
    let place = |offset: Option<&O>| offset.and_then(|offset| (*offset).try_into().ok());
    let (Some(first), Some(last)) = (place(offsets.first()), place(offsets.last())) else {
        return;
    };
    // Values of one size need no count of their own.
    if values.data_type().is_primitive()
        || matches!(values.data_type(), DataType::Boolean | DataType::Null)
    {
        for (size, ends) in sizes.iter_mut().zip(offsets.windows(2)) {
            if let (Some(start), Some(end)) = (place(ends.first()), place(ends.last())) {
                *size += (end - start) as u64;
            }
        }
        return;
    }

    // The values of other rows may be there too.
    let values = values.slice(first, last - first);
    let mut each = vec![1; values.len()];
    add_sizes("", &values, &mut each);

    for (size, ends) in sizes.iter_mut().zip(offsets.windows(2)) {
        if let (Some(start), Some(end)) = (place(ends.first()), place(ends.last())) {
            *size += each[start - first..end - first].iter().sum::<u64>();
        }
    }
}

/// Runs what strangers' files can make fail: an error or a panic, told alike.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    match guard(work) {
        Ok(done) => done.map_err(|error| format!("{error:#}")),
        Err(panic) => Err(format!("the reader failed on it: {panic}")),
    }
}

/// `sizes`: about the bytes of each row, see [`add_sizes`].
fn records(
    batch: &RecordBatch,
    sizes: &[u64],
    source: &Source,
    max_record: u64,
    first: u64,
) -> Result<Vec<Item>> {
    let columns = StructArray::from(batch.clone());
    let Some(text) = lookup(&columns, &source.text) else {
        let names: Vec<&str> = columns.column_names().into_iter().take(12).collect();
        let detail = format!(
            "no column \"{}\"; there are: {}",
            source.text,
            names.join(", ")
        );
        return Ok((0..batch.num_rows())
            .map(|row| Err(damage(first + row as u64, "missing_text", &detail, &[], 0)))
            .collect());
    };
    let texts = Texts::new(&text)?;
    let too_large = |row: usize, bytes: u64| {
        let text = texts.bytes(row).unwrap_or_default();
        let detail = match text.len() as u64 {
            length if length > max_record => {
                format!("a text of {length} bytes, max_record is {max_record}")
            }
            _ => {
                format!("a row of {bytes} bytes with its other columns, max_record is {max_record}")
            }
        };
        Err(damage(
            first + row as u64,
            "record_too_large",
            &detail,
            text,
            bytes,
        ))
    };
    // What is larger than a slice is a slice by itself, and not copied if it is much too large.
    if let [bytes] = sizes
        && *bytes > max_record.saturating_add(SLICE_BYTES)
    {
        return Ok(vec![too_large(0, *bytes)]);
    }
    // What is no text, number or date there is no id, url or date; the text is not lost over it.
    let scalars = |path: &Option<String>| -> Option<StringViewArray> {
        let column = lookup(&columns, path.as_deref()?)?;
        Some(
            cast(&column, &DataType::Utf8View)
                .ok()?
                .as_string_view()
                .clone(),
        )
    };
    let (ids, urls) = (scalars(&source.id), scalars(&source.url));
    let date_column = source
        .date
        .as_deref()
        .and_then(|path| lookup(&columns, path));
    let dates = date_column.as_ref().and_then(|column| dates(column).ok());
    let mut named = vec![source.text.as_str()];
    named.extend(
        [&source.id, &source.url]
            .into_iter()
            .flatten()
            .map(String::as_str),
    );
    // A date that could not be read stays with the other fields.
    let all_read = |column: &ArrayRef, dates: &Vec<Option<i64>>| {
        (0..dates.len()).all(|row| dates[row].is_some() || column.is_null(row))
    };
    if date_column
        .as_ref()
        .zip(dates.as_ref())
        .is_some_and(|(column, dates)| all_read(column, dates))
    {
        named.extend(source.date.as_deref());
    }
    let mut metas = metas(&columns, &named)?;
    let rows = (0..batch.num_rows()).map(|row| {
        let value = |column: &Option<StringViewArray>| {
            column
                .as_ref()
                .filter(|column| column.is_valid(row))
                .map(|column| column.value(row).to_owned())
        };
        let offset = first + row as u64;
        let Some(raw) = texts.bytes(row) else {
            return Err(damage(
                offset,
                "missing_text",
                &format!("column \"{}\" is null", source.text),
                &[],
                0,
            ));
        };
        let Ok(text) = std::str::from_utf8(raw) else {
            return Err(damage(
                offset,
                "invalid_utf8",
                "the text is not UTF-8",
                raw,
                raw.len() as u64,
            ));
        };
        let (id, url, meta) = (value(&ids), value(&urls), metas[row].take());
        let others = [&id, &url, &meta].map(|field| field.as_ref().map_or(0, String::len));
        let bytes = (text.len() + others.iter().sum::<usize>()) as u64;
        if bytes > max_record {
            return too_large(row, bytes);
        }
        Ok(Record {
            text: text.to_owned(),
            id,
            url,
            date: dates.as_ref().and_then(|dates| dates[row]),
            meta,
        })
    });
    Ok(rows.collect())
}

/// The texts of a column of text or bytes.
enum Texts {
    Text(StringViewArray),
    Bytes(BinaryViewArray),
}

impl Texts {
    fn new(column: &ArrayRef) -> Result<Texts> {
        Ok(match column.data_type() {
            DataType::Utf8View => Texts::Text(column.as_string_view().clone()),
            DataType::BinaryView => Texts::Bytes(column.as_binary_view().clone()),
            other => anyhow::bail!("the text column is {other}, expected text"),
        })
    }

    fn bytes(&self, row: usize) -> Option<&[u8]> {
        match self {
            Texts::Text(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Texts::Bytes(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

fn dates(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    if matches!(
        column.data_type(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    ) {
        let times = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        return Ok(times
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .collect());
    }
    let texts = cast(column, &DataType::Utf8View)?;
    Ok(texts
        .as_string_view()
        .iter()
        .map(|text| text.and_then(date::parse))
        .collect())
}

/// A column by its name, else by its dotted path through structs; null where a struct on the way
/// is.
fn lookup(columns: &StructArray, path: &str) -> Option<ArrayRef> {
    if let Some(column) = columns.column_by_name(path) {
        let nulls = NullBuffer::union(columns.nulls(), column.nulls());
        return column
            .to_data()
            .into_builder()
            .nulls(nulls)
            .build()
            .ok()
            .map(make_array);
    }
    let (head, rest) = path.split_once('.')?;
    lookup(lookup(columns, head)?.as_struct_opt()?, rest)
}

/// The columns that the manifest does not name, a JSON object a row. A column that JSON cannot hold
/// is left out.
fn metas(columns: &StructArray, named: &[&str]) -> Result<Vec<Option<String>>> {
    let kept = without(columns, named);
    match write_json(&kept) {
        Err(_) if kept.len() > 1 => {
            let holds =
                |column: &&(FieldRef, ArrayRef)| write_json(std::slice::from_ref(*column)).is_ok();
            write_json(&kept.iter().filter(holds).cloned().collect::<Vec<_>>())
        }
        Err(_) => Ok(vec![None; columns.len()]),
        written => written,
    }
    .map(|metas| {
        if metas.is_empty() {
            vec![None; columns.len()]
        } else {
            metas
        }
    })
}

/// The columns less the named ones; nested ones are left out of their struct.
fn without(columns: &StructArray, named: &[&str]) -> Vec<(FieldRef, ArrayRef)> {
    let mut kept = Vec::new();
    for (field, column) in columns.fields().iter().zip(columns.columns()) {
        let name = field.name();
        let inside: Vec<&str> = named
            .iter()
            .filter_map(|path| path.strip_prefix(name.as_str())?.strip_prefix('.'))
            .collect();
        if named.contains(&name.as_str()) {
            continue;
        }
        let Some(inner) = column.as_struct_opt().filter(|_| !inside.is_empty()) else {
            kept.push((Arc::clone(field), Arc::clone(column)));
            continue;
        };
        let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) =
            without(inner, &inside).into_iter().unzip();
        if fields.is_empty() {
            continue;
        }
        let rest: ArrayRef = Arc::new(StructArray::new(
            fields.into(),
            columns,
            inner.nulls().cloned(),
        ));
        kept.push((
            Arc::new(
                field
                    .as_ref()
                    .clone()
                    .with_data_type(rest.data_type().clone()),
            ),
            rest,
        ));
    }
    kept
}

fn write_json(columns: &[(FieldRef, ArrayRef)]) -> Result<Vec<Option<String>>> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) = columns.iter().cloned().unzip();
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(&RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)?;
    writer.finish()?;
    let lines = String::from_utf8(writer.into_inner()).context("JSON is UTF-8")?;
    Ok(lines
        .lines()
        .map(|line| (line != "{}").then(|| line.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Builder, Int64Array, MapBuilder, StringArray, StringBuilder};
    use arrow::datatypes::Field;

    fn columns() -> StructArray {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let url: ArrayRef = Arc::new(StringArray::from(vec!["u", "v"]));
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let fields = [("text", &text), ("url", &url)]
            .map(|(name, column)| Field::new(name, column.data_type().clone(), true));
        let nulls = NullBuffer::from(vec![true, false]);
        let body: ArrayRef = Arc::new(StructArray::new(
            fields.to_vec().into(),
            vec![text, url],
            Some(nulls),
        ));
        StructArray::from(
            RecordBatch::try_from_iter([("body", body), ("n", n)]).expect("equal columns"),
        )
    }

    #[test]
    fn a_null_struct_has_null_fields() {
        let url = lookup(&columns(), "body.url").expect("it is there");
        assert!(url.is_valid(0) && url.is_null(1));
        assert!(lookup(&columns(), "body.none").is_none());
    }

    #[test]
    fn meta_leaves_named_fields_out_of_their_struct() {
        let metas = metas(&columns(), &["body.text"]).expect("JSON");
        assert_eq!(metas[0].as_deref(), Some(r#"{"body":{"url":"u"},"n":1}"#));
        assert_eq!(metas[1].as_deref(), Some(r#"{"n":2}"#));
    }

    #[test]
    fn a_column_that_json_cannot_hold_costs_itself_only() {
        let mut map = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
        map.append(true).expect("a row");
        let map: ArrayRef = Arc::new(map.finish());
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let rows = StructArray::from(
            RecordBatch::try_from_iter([("m", map), ("n", n)]).expect("equal columns"),
        );
        assert_eq!(
            metas(&rows, &[]).expect("JSON"),
            [Some(r#"{"n":1}"#.to_owned())]
        );
    }
}
