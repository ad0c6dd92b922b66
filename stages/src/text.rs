//! The text as a stage sees it: `documents.text` with the edits of every step before the stage that
//! rewrites, made in the order of the stages. Spans of a step are of the text that the step saw.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, UInt32Type};
use curate_schemas::Manifest;
use curate_schemas::stages;
use curate_scorers::edits::{Edit, apply};
use datafusion_expr::{Expr, col};

use crate::error::{Result, StageError};
use crate::function::{Function, text};
use crate::{Read, read};

/// The tables whose edits make the text that a stage sees, in their order. Empty: the ingested
/// text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextSource {
    edits: Vec<&'static str>,
}

impl TextSource {
    /// The text before `stage` under a manifest.
    pub fn before(stage: &str, manifest: &Manifest) -> TextSource {
        let before = stages::aligned().take_while(|spec| spec.name != stage);
        let rewriting = before.filter(|spec| (spec.rewrites)(manifest));
        TextSource {
            edits: rewriting.map(|spec| spec.name).collect(),
        }
    }

    /// The text with the edits of these tables, in this order.
    pub fn edited_by(tables: Vec<&'static str>) -> TextSource {
        TextSource { edits: tables }
    }

    /// True if no step rewrites.
    pub fn is_plain(&self) -> bool {
        self.edits.is_empty()
    }

    /// The tables whose edits are made, in their order.
    pub fn tables(&self) -> &[&'static str] {
        &self.edits
    }

    /// The columns of the text: `text`, and the edits of each table.
    pub fn reads(&self) -> Vec<Read> {
        let mut reads = vec![read("documents", "text")];
        reads.extend(self.edits.iter().map(|table| Read {
            table,
            column: "edits",
            name: edits_name(table).into(),
        }));
        reads
    }

    /// The edits of each table, for a plan over [`TextSource::reads`].
    pub(crate) fn edits(&self) -> Vec<Expr> {
        let names = self.edits.iter().map(|table| edits_name(table));
        names.map(col).collect()
    }

    /// The text, for a plan over [`TextSource::reads`].
    pub(crate) fn text(&self) -> Expr {
        let Some(_) = self.edits.first() else {
            return col("text");
        };
        let mut arguments = vec![col("text")];
        arguments.extend(self.edits());
        let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
            Ok(Arc::new(edit_texts(text(columns, 0)?, &columns[1..])?))
        };
        Function::new("apply_edits", DataType::Utf8, kernel).call(arguments)
    }

    /// The texts of a batch with the columns of [`TextSource::reads`].
    ///
    /// # Errors
    /// If a column was not read, or edits do not fit their text.
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

/// The name of a table's edits among the columns of a plan.
pub(crate) fn edits_name(table: &str) -> String {
    format!("{table}_edits")
}

/// Each text after the edits of each column, one column after the other. Columns are of the type
/// [`curate_schemas::tables::edits`].
///
/// # Errors
/// If edits do not fit their text.
pub fn edit_texts(texts: &StringArray, columns: &[ArrayRef]) -> Result<StringArray> {
    let mut texts = texts.clone();
    for edits in columns {
        texts = edit_once(&texts, edits)?;
    }
    Ok(texts)
}

fn edit_once(texts: &StringArray, edits: &dyn Array) -> Result<StringArray> {
    if edits.null_count() == edits.len() {
        return Ok(texts.clone());
    }
    let lists = edits.as_list::<i32>();
    let mut edited = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for (row, text) in texts.iter().enumerate() {
        let text = match lists.is_valid(row) {
            true => text
                .map(|text| edit(text, lists.value(row).as_struct()))
                .transpose()?,
            false => text.map(Cow::Borrowed),
        };
        edited.append_option(text);
    }
    Ok(edited.finish())
}

fn edit<'a>(text: &'a str, edits: &StructArray) -> Result<Cow<'a, str>> {
    let place = |i: usize| edits.column(i).as_primitive::<UInt32Type>().values();
    let replacements = edits.column(2).as_string::<i32>();

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
