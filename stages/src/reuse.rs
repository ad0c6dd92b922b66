//! Values of unchanged texts are copied from a stage's previous output. Counting tokens and scoring
//! with models cost more than all other stages together, so a changed threshold must not repeat
//! this work.
//!
//! The driver finds a previous output whose key has the same [`Reuse::parts`]. It reads the columns
//! of this output under names with the prefix [`KNOWN`]. It leaves out the columns of [`is_spared`]
//! if no row needs them.

use arrow::array::{Array, AsArray, RecordBatch};
use curate_schemas::{stages, tables};
use datafusion_expr::{Expr, col, when};

use crate::error::Result;
use crate::function::field;
use crate::plan::Plan;
use crate::text::TextSource;
use crate::with_reached;

/// Prefix of the name of a column that comes from a previous output.
pub const KNOWN: &str = "known_";

/// The values that may be copied from a previous output of a stage.
#[derive(Debug, Clone)]
pub struct Reuse {
    /// The stage's own table.
    pub table: &'static str,
    /// Columns of the table that are copied.
    pub columns: &'static [&'static str],
    /// Parts of the stage's key. Values hold only if these parts are equal in both outputs.
    pub parts: Vec<&'static str>,
    /// True for rows that need a value.
    pub wanted: Expr,
    /// True for rows whose value is in the previous output.
    pub known: Expr,
}

impl Reuse {
    /// The reuse of values that depend on the text and on `parts` of the key.
    pub(crate) fn of_text(
        table: &'static str,
        text: &TextSource,
        parts: &[&'static str],
        columns: &'static [&'static str],
        wanted: Expr,
        known: Expr,
    ) -> Reuse {
        // Values depend on edits and on the absence of edits. A table that is read for its edits
        // alone is a part of one key and not of the other.
        let mut all = vec!["documents"];
        all.extend(text.tables());
        all.extend(unedited(table, text));
        all.extend(parts);

        Reuse {
            table,
            columns,
            parts: all,
            wanted,
            known,
        }
    }

    /// True if a row of `rows` needs a value that the previous output lacks. `rows` has `doc_id`,
    /// the columns that say which documents reach the stage, and the known columns. `follows` is
    /// the stage whose survivors reach this stage.
    ///
    /// # Errors
    /// If an expression cannot be evaluated.
    pub fn lacks(&self, rows: RecordBatch, follows: &str) -> Result<bool> {
        let lacking = self.wanted.clone().and(is_not(self.known.clone()));
        let plan = with_reached(Plan::new(rows.schema()), follows)?;
        let made = plan.with_column("lacking", lacking)?.run(rows)?;

        // Null is not true, as in the `when` of `fill`.
        let lacking = crate::column(&made, "lacking")?.as_boolean();
        Ok((0..lacking.len()).any(|row| lacking.is_valid(row) && lacking.value(row)))
    }

    /// Adds the columns of the stage to a plan. Known values are copied. Other values are fields of
    /// the struct that `compute` makes of the text. Rows that need no value get `unwanted` of the
    /// column.
    pub(crate) fn fill(
        &self,
        input: Plan,
        compute: Expr,
        unwanted: impl Fn(&str) -> Result<Expr>,
    ) -> Result<Plan> {
        let has_known = input.has(&format!("{KNOWN}{}", self.columns[0]));
        // The driver reads no text if every wanted row is known, as `lacks` found.
        let has_text = input.has("text");
        let schema = tables::schema(self.table);

        let mut plan = input;
        if has_text {
            let missing = match has_known {
                true => self.wanted.clone().and(is_not(self.known.clone())),
                false => self.wanted.clone(),
            };
            plan = plan.with_column("computed", when(missing, compute).end()?)?;
        }

        for column in self.columns {
            let known = || col(format!("{KNOWN}{column}"));
            let data_type = schema.field_with_name(column)?.data_type();
            let computed = || field(col("computed"), column, data_type.clone());
            let value = match (has_known, has_text) {
                (true, false) => known(),
                (true, true) => when(self.known.clone(), known()).otherwise(computed())?,
                (false, _) => computed(),
            };
            // Unwanted rows lose their known values, which come from another scope or from other
            // survivors: equal keys mean equal bytes.
            let value = when(self.wanted.clone(), value).otherwise(unwanted(column)?)?;
            plan = plan.with_column(column, value)?;
        }
        Ok(plan)
    }
}

/// The tables before a stage that may hold edits but hold none, and whose rows the stage does not
/// read.
fn unedited(stage: &str, text: &TextSource) -> impl Iterator<Item = &'static str> {
    let follows = stages::stage(stage).map(|spec| spec.follows);
    let before = stages::aligned().take_while(move |spec| spec.name != stage);
    let quiet = before.filter(|spec| spec.may_rewrite() && !text.tables().contains(&spec.name));
    // The rows of `follows` are read in any case: they say which documents arrive.
    let quiet = quiet.filter(move |spec| Some(spec.name) != follows);
    quiet.map(|spec| spec.name)
}

/// True if a column need not be read when every wanted value is known.
pub fn is_spared(column: &str) -> bool {
    column == "text" || column == "edits"
}

/// The negation of a condition; null stays null.
fn is_not(condition: Expr) -> Expr {
    Expr::Not(Box::new(condition))
}
