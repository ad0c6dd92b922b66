//! Turns the rows of a batch into records, for every table format.
//!
//! Memory: texts and bytes are views into the buffers of the batch, and rows are copied out of the
//! views one megabyte at a time. If a thousand rows share a dictionary entry of several megabytes,
//! memory therefore holds the entry and one copy of it, not a thousand copies.

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
use crate::readers::{Sink, is_blank};
use crate::record::{Damage, Item, Record, Repairs, damage};

/// Bytes that are copied out of a batch at a time. A single larger row is a slice by itself.
const SLICE_BYTES: u64 = 1 << 20;

/// The largest number of rows whose sizes are counted at a time. A row may hold a list of a million
/// entries.
const ROWS: usize = 1024;

/// Reads the rows of a table, batch after batch.
pub struct Rows<'a> {
    source: &'a Source,
    max_record: u64,
    /// Number of the next row in its file, from 0.
    pub row: u64,
    /// Rows that are hidden for one reason, as one damage that is not handed on yet.
    hidden: Option<Damage>,
}

/// The rows of a slice of a table.
enum Slice {
    /// One item per row.
    Items(Vec<Item>),
    /// The damage of all its rows.
    Hidden(Damage),
}

impl<'a> Rows<'a> {
    /// Starts at the first row of a table.
    pub fn new(source: &'a Source, limits: &Run) -> Rows<'a> {
        Rows {
            source,
            max_record: limits.max_record,
            row: 0,
            hidden: None,
        }
    }

    /// Hands on the damage of hidden rows. Call it before other damage of the file goes to `sink`, and
    /// at the end of the file.
    ///
    /// # Errors
    /// If `sink` fails.
    pub fn flush(&mut self, sink: Sink) -> Result<()> {
        self.hidden
            .take()
            .map_or(Ok(()), |damage| sink(Err(damage)))
    }

    /// Calls `sink` for each row of a batch. The inner result is the damage that ended the batch,
    /// if there was any.
    ///
    /// # Errors
    /// If `sink` fails. `sink` is called outside of the guard, because its failures are failures of
    /// the run.
    pub fn read(
        &mut self,
        batch: RecordBatch,
        sink: Sink,
    ) -> Result<std::result::Result<(), String>> {
        let batch = match guarded(|| with_views(batch)) {
            Ok(batch) => batch,
            Err(detail) => return Ok(Err(detail)),
        };

        // Sizes are counted for a block of rows, and the block is copied in slices.
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
                let outcome = guarded(|| {
                    records(
                        &slice,
                        &sizes[at..at + n],
                        self.source,
                        self.max_record,
                        self.row,
                    )
                });
                match outcome {
                    Ok(Slice::Items(items)) => {
                        self.flush(sink)?;
                        items.into_iter().try_for_each(&mut *sink)?;
                    }
                    // A column of another type is the same in all slices, and the file says so once.
                    Ok(Slice::Hidden(damage)) => {
                        let records = self.hidden.as_ref().map_or(0, |hidden| hidden.records);
                        let first = self.hidden.take().unwrap_or(damage);
                        self.hidden = Some(first.of_records(records + n as u64));
                    }
                    Err(detail) => return Ok(Err(detail)),
                }
                self.row += n as u64;
                at += n;
            }
            start += sizes.len();
        }
        Ok(Ok(()))
    }
}

/// The batch with the types of [`viewed`].
fn with_views(batch: RecordBatch) -> Result<RecordBatch> {
    let fields = viewed(batch.schema_ref().fields());
    if fields == *batch.schema_ref().fields() {
        return Ok(batch);
    }

    let columns = fields
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| cast(column, field.data_type()))
        .collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// The approximate size of each row in bytes, see [`add_sizes`].
fn sizes(batch: &RecordBatch) -> Vec<u64> {
    let mut sizes = vec![0; batch.num_rows()];
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    columns.for_each(|(field, column)| add_sizes(field.name(), column, &mut sizes));
    sizes
}

/// The fields with texts and bytes as views, dictionaries as plain columns and lists of any kind as
/// plain lists.
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
        // A list of fixed size has entries even in null rows, and the schema of the file can demand
        // any number of them.
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

/// The number of rows at the beginning of `sizes` that fit in a slice, at least 1.
fn rows_of_a_slice(sizes: &[u64]) -> usize {
    let mut bytes = 0;
    let fitting = sizes.iter().take_while(|size| {
        bytes += **size;
        bytes <= SLICE_BYTES
    });
    fitting.count().max(1)
}

/// Adds to each size what the row holds in a column: the bytes of texts, binary values and field
/// names, nested ones included. This is about what a copy of the row takes.
fn add_sizes(name: &str, column: &dyn Array, sizes: &mut [u64]) {
    // The name is counted in every row because `meta` repeats the name in every row.
    let mut own = vec![name.len() as u64; sizes.len()];
    // The low 32 bits of a view are its length.
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
        // Numbers and dates are too small to count.
        _ => {}
    }

    // The bytes behind a null value are arbitrary, so they do not count.
    for (row, size) in sizes.iter_mut().enumerate() {
        if column.is_valid(row) {
            *size += own[row];
        }
    }
}

/// Adds to each size what the entries of the row's list hold. `offsets` are the places in `values`
/// where the lists start and end.
fn add_lists<O: Copy + TryInto<usize>>(values: &dyn Array, offsets: &[O], sizes: &mut [u64]) {
    let place = |offset: Option<&O>| offset.and_then(|offset| (*offset).try_into().ok());
    let (Some(first), Some(last)) = (place(offsets.first()), place(offsets.last())) else {
        return;
    };

    // Values of a fixed size count as one byte each. A walk through them would find nothing else.
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

    // A slice of a list column still has the values of all rows of the column. Only the values of
    // its own rows are walked.
    let values = values.slice(first, last - first);
    let mut each = vec![1; values.len()];
    add_sizes("", &values, &mut each);

    for (size, ends) in sizes.iter_mut().zip(offsets.windows(2)) {
        if let (Some(start), Some(end)) = (place(ends.first()), place(ends.last())) {
            *size += each[start - first..end - first].iter().sum::<u64>();
        }
    }
}

/// Runs work on an untrusted file. An error and a panic both become a message.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    match guard(work) {
        Ok(done) => done.map_err(|error| format!("{error:#}")),
        Err(panic) => Err(format!("the reader failed on it: {panic}")),
    }
}

/// The records of a batch, one item per row, or one damage of all its rows. `sizes` are the sizes of its rows, see [`add_sizes`],
/// and `first` is the number of its first row in the file.
///
/// # Errors
/// If the other columns cannot be written as JSON.
fn records(
    batch: &RecordBatch,
    sizes: &[u64],
    source: &Source,
    max_record: u64,
    first: u64,
) -> Result<Slice> {
    let columns = StructArray::from(batch.clone());
    let text = match source.text.is_empty() {
        true => Some(no_texts(batch.num_rows())),
        false => lookup(&columns, &source.text),
    };
    let Some(text) = text else {
        let names: Vec<&str> = columns.column_names().into_iter().take(12).collect();
        let detail = format!(
            "no column \"{}\"; there are: {}",
            source.text,
            names.join(", ")
        );
        let damage = damage(first, "missing_text", &detail, &[], 0);
        return Ok(Slice::Hidden(damage));
    };
    // A writer gives a column of nulls this type, so the texts are missing and not of another type.
    if text.data_type() == &DataType::Null {
        let detail = format!("column \"{}\" is null in every row", source.text);
        let damage = damage(first, "missing_text", &detail, &[], 0);
        return Ok(Slice::Hidden(damage));
    }
    let texts = match Texts::new(&text) {
        Ok(texts) => texts,
        Err(found) => {
            let detail = format!("column \"{}\" is {found}, expected text", source.text);
            let damage = damage(first, "text_not_string", &detail, &[], 0);
            return Ok(Slice::Hidden(damage));
        }
    };

    // A row larger than a slice comes alone. A row that is far too large is not copied at all. The
    // margin leaves the decision to the exact size below, because `sizes` are approximate.
    if let [bytes] = sizes
        && *bytes > max_record.saturating_add(SLICE_BYTES)
    {
        let text = texts.bytes(0).unwrap_or_default();
        let damage = too_large(first, text, *bytes, max_record);
        return Ok(Slice::Items(vec![Err(damage)]));
    }

    let mut others = Others::new(&columns, source)?;
    let items = (0..batch.num_rows()).map(|row| -> Item {
        let offset = first + row as u64;
        let text = texts.text(row, &source.text, offset)?;
        let (id, url) = (value(&others.ids, row), value(&others.urls, row));
        let meta = others.metas[row].take();

        let lengths = [&id, &url, &meta].map(|field| field.as_ref().map_or(0, String::len));
        let bytes = (text.len() + lengths.iter().sum::<usize>()) as u64;
        if bytes > max_record {
            return Err(too_large(offset, text.as_bytes(), bytes, max_record));
        }

        Ok(Record {
            text: text.to_owned(),
            id,
            url,
            date: others.dates.as_ref().and_then(|dates| dates[row]),
            meta,
            repairs: Repairs::default(),
        })
    });
    Ok(Slice::Items(items.collect()))
}

/// A column of empty texts, for a source that names no text field.
fn no_texts(rows: usize) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values((0..rows).map(|_| "")))
}

/// The damage of a row that exceeds `max_record`. `bytes` is the size of the whole row.
fn too_large(offset: u64, text: &[u8], bytes: u64, max_record: u64) -> Damage {
    let length = text.len() as u64;
    let detail = if length > max_record {
        format!("a text of {length} bytes, max_record is {max_record}")
    } else {
        format!("a row of {bytes} bytes with its other columns, max_record is {max_record}")
    };
    damage(offset, "record_too_large", &detail, text, bytes)
}

/// The texts of a column of text or bytes.
enum Texts {
    Text(StringViewArray),
    Bytes(BinaryViewArray),
}

impl Texts {
    /// # Errors
    /// The type of the column, if it is neither text nor bytes.
    fn new(column: &ArrayRef) -> Result<Texts, DataType> {
        match column.data_type() {
            DataType::Utf8View => Ok(Texts::Text(column.as_string_view().clone())),
            DataType::BinaryView => Ok(Texts::Bytes(column.as_binary_view().clone())),
            other => Err(other.clone()),
        }
    }

    /// The bytes of a row, or `None` for null.
    fn bytes(&self, row: usize) -> Option<&[u8]> {
        match self {
            Texts::Text(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Texts::Bytes(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }

    /// The text of a row. A null and bytes that are not UTF-8 are damage. `path` is the name of the
    /// column and `offset` the number of the row, for the damage.
    fn text(&self, row: usize, path: &str, offset: u64) -> Result<&str, Damage> {
        let Some(raw) = self.bytes(row) else {
            let detail = format!("column \"{path}\" is null");
            return Err(damage(offset, "missing_text", &detail, &[], 0));
        };
        std::str::from_utf8(raw).map_err(|_| {
            let detail = "the text is not UTF-8";
            damage(offset, "invalid_utf8", detail, raw, raw.len() as u64)
        })
    }
}

/// The columns of a batch other than the text.
struct Others {
    ids: Option<StringViewArray>,
    urls: Option<StringViewArray>,
    /// Microseconds since 1970, UTC. `None` in a row without a readable date.
    dates: Option<Vec<Option<i64>>>,
    /// The columns that the source does not name, a JSON object per row.
    metas: Vec<Option<String>>,
}

impl Others {
    /// Looks up the columns that a source names. A column of the wrong type counts as absent,
    /// because a text is not lost over its id, url or date.
    fn new(columns: &StructArray, source: &Source) -> Result<Others> {
        let ids = scalars(columns, source.id.as_deref());
        let urls = urls(columns, source.url.as_deref());
        let date_path = source.date.as_deref();
        let date_column = date_path.and_then(|path| lookup(columns, path));
        let dates = date_column.as_ref().and_then(|column| dates(column).ok());

        // A column that cannot be used goes to `meta`, where nothing of it is lost and the coverage
        // can count it.
        let mut named = vec![source.text.as_str()];
        named.extend(source.id.as_deref().filter(|_| ids.is_some()));
        named.extend(source.url.as_deref().filter(|_| urls.is_some()));
        // If one date cannot be read, the column goes to `meta`, where nothing of it is lost.
        if let (Some(column), Some(dates)) = (&date_column, &dates)
            && (0..dates.len()).all(|row| dates[row].is_some() || column.is_null(row))
        {
            named.extend(date_path);
        }

        Ok(Others {
            ids,
            urls,
            dates,
            metas: metas(columns, &named)?,
        })
    }
}

/// The column at `path` as text, or `None` if there is no such column or it has no form as text.
fn scalars(columns: &StructArray, path: Option<&str>) -> Option<StringViewArray> {
    let column = lookup(columns, path?)?;
    let texts = cast(&column, &DataType::Utf8View).ok()?;
    let texts = texts.as_string_view();
    // A table of floats writes NaN where a row has no value.
    if column.data_type().is_floating() {
        let is_number = |text: &&str| *text != "NaN";
        return Some(texts.iter().map(|text| text.filter(is_number)).collect());
    }
    Some(texts.clone())
}

/// The column at `path` as addresses, or `None` if there is no such column or it is not of text or
/// bytes. A number or a boolean would be an equal address in many rows.
fn urls(columns: &StructArray, path: Option<&str>) -> Option<StringViewArray> {
    let column = lookup(columns, path?)?;
    let is_text = matches!(
        column.data_type(),
        DataType::Utf8View | DataType::BinaryView | DataType::Null
    );
    is_text.then(|| scalars(columns, path)).flatten()
}

/// The value of a row, or `None` if the column is absent or the value is null or blank.
fn value(column: &Option<StringViewArray>, row: usize) -> Option<String> {
    let column = column.as_ref().filter(|column| column.is_valid(row))?;
    let text = column.value(row);
    (!is_blank(text.as_bytes())).then(|| text.to_owned())
}

/// The dates of a column of times, numbers or texts, microseconds since 1970, UTC. A value that is
/// not a date is `None`.
///
/// # Errors
/// If the column cannot be converted to times or to text.
fn dates(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    if matches!(
        column.data_type(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    ) {
        let times = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        return Ok(times
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .map(|micros| micros.and_then(date::plausible))
            .collect());
    }

    // Numbers become texts too: `date::parse` reads both.
    let texts = cast(column, &DataType::Utf8View)?;
    Ok(texts
        .as_string_view()
        .iter()
        .map(|text| text.and_then(date::parse))
        .collect())
}

/// The column with the name `path`, or else the column at the dotted path through structs. A value
/// is null where a struct around it is null.
fn lookup(columns: &StructArray, path: &str) -> Option<ArrayRef> {
    if let Some(column) = columns.column_by_name(path) {
        // Arrow keeps the nulls of a struct apart from those of its fields.
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

/// The columns that are not `named`, a JSON object per row. `None` is a row without a value in any
/// of them. A column that JSON cannot express is left out.
fn metas(columns: &StructArray, named: &[&str]) -> Result<Vec<Option<String>>> {
    let mut kept = without(columns, named);
    let metas = match write_json(&kept) {
        Ok(metas) => metas,
        // The error does not say which column caused it, so each is tried by itself.
        Err(_) => {
            kept.retain(|column| write_json(std::slice::from_ref(column)).is_ok());
            write_json(&kept)?
        }
    };

    // Without a column there is no line for a row.
    if metas.is_empty() {
        return Ok(vec![None; columns.len()]);
    }
    Ok(metas)
}

/// The columns without the `named` ones. A named field of a struct is left out of its struct.
fn without(columns: &StructArray, named: &[&str]) -> Vec<(FieldRef, ArrayRef)> {
    let mut kept = Vec::new();
    for (field, column) in columns.fields().iter().zip(columns.columns()) {
        let name = field.name();
        if named.contains(&name.as_str()) {
            continue;
        }

        let inside: Vec<&str> = named
            .iter()
            .filter_map(|path| path.strip_prefix(name.as_str())?.strip_prefix('.'))
            .collect();
        let Some(inner) = column.as_struct_opt().filter(|_| !inside.is_empty()) else {
            kept.push((Arc::clone(field), Arc::clone(column)));
            continue;
        };

        // A struct without a field left would be an empty object in every row.
        let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) =
            without(inner, &inside).into_iter().unzip();
        if fields.is_empty() {
            continue;
        }
        let nulls = inner.nulls().cloned();
        let rest: ArrayRef = Arc::new(StructArray::new(fields.into(), columns, nulls));
        let field = Field::clone(field).with_data_type(rest.data_type().clone());
        kept.push((Arc::new(field), rest));
    }
    kept
}

/// The columns as JSON, an object per row. A row in which all values are null is `None`. Without
/// columns there are no rows.
///
/// # Errors
/// If a column has a type that JSON cannot express.
fn write_json(columns: &[(FieldRef, ArrayRef)]) -> Result<Vec<Option<String>>> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }

    let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) = columns.iter().cloned().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;

    // The writer leaves null values out, and JSON escapes newlines: a line is a row.
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
    fn a_url_is_text_and_a_blank_value_is_missing() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["u", " ", "\u{feff}"]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("t", texts), ("n", numbers)]);
        let columns = StructArray::from(batch.expect("equal columns"));
        assert!(urls(&columns, Some("n")).is_none());
        assert!(scalars(&columns, Some("n")).is_some());
        let found = urls(&columns, Some("t"));
        let values = [0, 1, 2].map(|row| value(&found, row));
        assert_eq!(values, [Some("u".to_owned()), None, None]);
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
