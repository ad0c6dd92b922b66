//! The text as later stages see it: `documents.text` with the edits made of the one step that
//! rewrites, `signals` or `paragraph_dedup`, where the manifest asks for one.

use std::borrow::Cow;
use std::sync::Arc;

use curate_schemas::manifest::Manifest;
use curate_scorers::edits::{Edit, apply};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder, StructArray};
use datafusion::arrow::datatypes::{DataType, UInt32Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, col};
use datafusion::prelude::DataFrame;

use crate::function::{Function, text};
use crate::{Read, read};

/// What to read of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextColumns {
    /// Nothing rewrites.
    Plain,
    /// The edits in this table are to be made.
    Edited(&'static str),
}

impl TextColumns {
    /// Where the text of stages behind `signals` is found, up to `paragraph_dedup`.
    pub fn new(manifest: &Manifest) -> Self {
        if manifest.filter.rewrites() {
            TextColumns::Edited("signals")
        } else {
            TextColumns::Plain
        }
    }

    /// Where the text of stages behind `paragraph_dedup` is found.
    pub fn last(manifest: &Manifest) -> Self {
        match manifest.dedup.paragraphs {
            Some(_) => TextColumns::Edited("paragraph_dedup"),
            None => TextColumns::new(manifest),
        }
    }

    /// The columns of the text.
    pub fn reads(self) -> Vec<Read> {
        let mut reads = vec![read("documents", "text")];
        if let TextColumns::Edited(table) = self {
            reads.push(read(table, "edits"));
        }
        reads
    }

    /// The text, of a plan over [`Self::reads`].
    pub fn text(self) -> Expr {
        match self {
            TextColumns::Plain => col("text"),
            TextColumns::Edited(_) => apply_edits(col("text"), col("edits")),
        }
    }

    /// Replaces `text` by the edited one, in a plan over [`Self::reads`].
    ///
    /// # Errors
    /// If the plan lacks one of them.
    pub fn edited(self, plan: DataFrame) -> Result<DataFrame> {
        if self == TextColumns::Plain {
            Ok(plan)
        } else {
            plan.with_column("text", self.text())
        }
    }
}

/// `apply_edits(text, edits) -> text`.
fn apply_edits(text_column: Expr, edits: Expr) -> Expr {
    let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
        Ok(Arc::new(edit_texts(text(columns, 0)?, &columns[1])?))
    };
    Function::new("apply_edits", DataType::Utf8, kernel).call(vec![text_column, edits])
}

/// Each text with its edits made; `edits` is a column of [`curate_schemas::tables::edits`].
///
/// # Errors
/// If edits do not fit their text.
pub fn edit_texts(texts: &StringArray, edits: &dyn Array) -> Result<StringArray> {
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
    apply(text, &edits).map_err(|error| DataFusionError::External(error.into()))
}
