//! The text as a stage sees it: `documents.text` after the edits of all earlier stages that rewrite
//! the text.
//!
//! The edits are made in the order of the stages. The spans of a stage's edits are byte offsets in
//! the text that this stage saw.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, StringArray, StringBuilder, StructArray,
    UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, UInt32Type};
use curate_schemas::{Manifest, stages, tables};
use curate_scorers::edits::{Edit, apply};
use datafusion_expr::{Expr, col};

use crate::error::{Result, StageError};
use crate::function::{Function, text};
use crate::{Read, read};

/// The tables whose edits make the text that a stage sees, in the order of the stages. Without
/// tables the stage sees the text as ingested.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextSource {
    edits: Vec<&'static str>,
}

impl TextSource {
    /// The text that `stage` sees under a manifest.
    pub fn before(stage: &str, manifest: &Manifest) -> TextSource {
        let before = stages::aligned().take_while(|spec| spec.name != stage);
        let rewriting = before.filter(|spec| (spec.rewrites)(manifest));
        TextSource {
            edits: rewriting.map(|spec| spec.name).collect(),
        }
    }

    /// The text after the edits of these tables, in this order.
    pub fn edited_by(tables: Vec<&'static str>) -> TextSource {
        TextSource { edits: tables }
    }

    /// True if no stage rewrites the text.
    pub fn is_plain(&self) -> bool {
        self.edits.is_empty()
    }

    /// The tables whose edits are made, in the order of the stages.
    pub fn tables(&self) -> &[&'static str] {
        &self.edits
    }

    /// The columns from which the text is made: `text`, and the edits of each table.
    pub fn reads(&self) -> Vec<Read> {
        let mut reads = vec![read("documents", "text")];
        reads.extend(self.edits.iter().map(|table| Read {
            table,
            column: "edits",
            name: edits_name(table).into(),
        }));
        reads
    }

    /// The column of each table's edits, in a plan over the columns of [`TextSource::reads`].
    pub(crate) fn edits(&self) -> Vec<Expr> {
        self.edits
            .iter()
            .map(|table| col(edits_name(table)))
            .collect()
    }

    /// The text after all edits, in a plan over the columns of [`TextSource::reads`].
    pub(crate) fn text(&self) -> Expr {
        if self.is_plain() {
            return col("text");
        }

        let mut arguments = vec![col("text")];
        arguments.extend(self.edits());
        let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
            Ok(Arc::new(edit_texts(text(columns, 0)?, &columns[1..])?))
        };
        Function::new("apply_edits", DataType::Utf8, kernel).call(arguments)
    }

    /// The texts of a batch after all edits. The batch has the columns of [`TextSource::reads`].
    ///
    /// # Errors
    /// If a column was not read, or if edits do not fit their text.
    pub fn texts(&self, batch: &RecordBatch) -> Result<StringArray> {
        let texts = crate::column(batch, "text")?.as_string::<i32>();
        let edits: Vec<ArrayRef> = self
            .edits
            .iter()
            .map(|table| crate::column(batch, &edits_name(table)).cloned())
            .collect::<Result<_>>()?;
        edit_texts(texts, &edits)
    }
}

/// The name of the column in a plan that holds a table's edits.
pub(crate) fn edits_name(table: &str) -> String {
    format!("{table}_edits")
}

/// The texts after the edits of all columns, one column after the other. Each column is of the type
/// [`curate_schemas::tables::edits`].
///
/// # Errors
/// If edits do not fit their text.
pub fn edit_texts(texts: &StringArray, columns: &[ArrayRef]) -> Result<StringArray> {
    // The clone shares the bytes of the texts.
    let mut texts = texts.clone();
    for edits in columns {
        texts = edit_once(&texts, edits)?;
    }
    Ok(texts)
}

/// The texts after the edits of one column.
fn edit_once(texts: &StringArray, edits: &dyn Array) -> Result<StringArray> {
    // Rows without edits are null, and often all rows of a batch are.
    if edits.null_count() == edits.len() {
        return Ok(texts.clone());
    }

    let lists = edits.as_list::<i32>();
    let mut edited = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for (row, text) in texts.iter().enumerate() {
        edited.append_option(text.map(|text| edit_row(text, lists, row)).transpose()?);
    }
    Ok(edited.finish())
}

/// A text after the edits in one row of a column. The column is of the type
/// [`curate_schemas::tables::edits`].
///
/// # Errors
/// If the edits do not fit the text.
pub fn edit_row<'a>(text: &'a str, lists: &ListArray, row: usize) -> Result<Cow<'a, str>> {
    if lists.is_null(row) {
        return Ok(Cow::Borrowed(text));
    }

    let edits = lists.value(row);
    let edits = edits.as_struct();
    let place = |i: usize| edits.column(i).as_primitive::<UInt32Type>().values();
    let replacements = edits.column(2).as_string::<i32>();

    // `apply` does not read the reasons, so they are left out.
    let spans = place(0).iter().zip(place(1)).enumerate();
    let edits: Vec<Edit> = spans
        .map(|(at, (start, end))| Edit {
            start: *start,
            end: *end,
            replacement: Cow::Owned(replacements.value(at).to_owned()),
            reason: "",
        })
        .collect();
    apply(text, &edits).map_err(StageError::kernel)
}

/// A builder for a column of edits.
#[derive(Default)]
pub(crate) struct EditLists {
    starts: Vec<u32>,
    ends: Vec<u32>,
    replacements: StringBuilder,
    reasons: StringBuilder,
    /// Number of edits of each row that has ended.
    lengths: Vec<usize>,
    /// Number of edits in all rows that have ended.
    ended: usize,
}

impl EditLists {
    /// Adds an edit to the current row, which [`EditLists::end_row`] ends.
    pub(crate) fn push(&mut self, start: u32, end: u32, replacement: &str, reason: &str) {
        self.starts.push(start);
        self.ends.push(end);
        self.replacements.append_value(replacement);
        self.reasons.append_value(reason);
    }

    /// Ends the current row. A row without edits is null.
    pub(crate) fn end_row(&mut self) {
        self.lengths.push(self.starts.len() - self.ended);
        self.ended = self.starts.len();
    }

    /// The column, which has the type [`curate_schemas::tables::edits`].
    pub(crate) fn finish(mut self) -> Result<ArrayRef> {
        // The order is that of the fields of the struct.
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(self.starts)),
            Arc::new(UInt32Array::from(self.ends)),
            Arc::new(self.replacements.finish()),
            Arc::new(self.reasons.finish()),
        ];
        list_of_structs(&tables::edits(), columns, &self.lengths)
    }
}

/// A column of lists of structs, from the columns of all items and the length of each list. A list
/// without items is null.
pub(crate) fn list_of_structs(
    data_type: &DataType,
    columns: Vec<ArrayRef>,
    lengths: &[usize],
) -> Result<ArrayRef> {
    let DataType::List(item) = data_type else {
        return Err(StageError::Bug(format!("{data_type} is not a list")));
    };
    let DataType::Struct(fields) = item.data_type() else {
        return Err(StageError::Bug(format!("{data_type} has no structs")));
    };

    let items = StructArray::try_new(fields.clone(), columns, None)?;
    let nulls: NullBuffer = lengths.iter().map(|length| *length > 0).collect();
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    let lists = ListArray::try_new(Arc::clone(item), offsets, Arc::new(items), Some(nulls))?;
    Ok(Arc::new(lists))
}
