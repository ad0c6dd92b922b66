//! A plan over one shard: columns made one after the other by DataFusion expressions, then a
//! choice of columns. Rows stay as they are, so their order does too.
//!
//! Each expression is evaluated once for each batch. DataFusion's logical planner was left out on
//! purpose: it merged projections and ran a kernel once for each field that was taken of its
//! struct, and with the operators behind it cost a quarter of a clean build.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use curate_schemas::tables;
use datafusion_common::DFSchema;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, col, lit};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use crate::error::{Result, StageError};

/// The columns of a shard's rows, and how further ones are made.
#[derive(Clone)]
pub struct Plan {
    /// The columns after all steps.
    schema: SchemaRef,
    steps: Vec<Step>,
}

/// A column that is made from those before it.
#[derive(Clone)]
struct Step {
    /// The expression as the stage wrote it, for people.
    shown: String,
    expression: Arc<dyn PhysicalExpr>,
    /// The columns after the step.
    schema: SchemaRef,
    /// Place of the column that the new one replaces; `None`: the new one is appended.
    replaces: Option<usize>,
}

impl Plan {
    /// A plan over rows with these columns, without a step.
    pub fn new(schema: SchemaRef) -> Plan {
        Plan {
            schema,
            steps: Vec::new(),
        }
    }

    /// True if there is a column of this name.
    pub fn has(&self, name: &str) -> bool {
        self.schema.index_of(name).is_ok()
    }

    /// Adds the column `name`, or replaces it.
    ///
    /// # Errors
    /// If the expression names a column that is not there, or its types do not fit.
    pub fn with_column(mut self, name: &str, expression: Expr) -> Result<Plan> {
        let input = DFSchema::try_from(self.schema.as_ref().clone())?;
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let made = create_physical_expr(&expression, &input, &props, &context)?;

        let field = Field::new(
            name,
            made.data_type(&self.schema)?,
            made.nullable(&self.schema)?,
        );
        let replaces = self.schema.index_of(name).ok();
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        match replaces {
            Some(place) => fields[place] = Arc::new(field),
            None => fields.push(Arc::new(field)),
        }

        self.schema = Arc::new(Schema::new(fields));
        self.steps.push(Step {
            shown: format!("{name} = {expression}"),
            expression: made,
            schema: Arc::clone(&self.schema),
            replaces,
        });
        Ok(self)
    }

    /// Makes the columns of a batch.
    ///
    /// # Errors
    /// The first failure of an expression.
    pub fn run(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));

        let mut batch = batch;
        for step in &self.steps {
            let made = step.expression.evaluate(&batch)?.into_array(rows)?;
            let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
            match step.replaces {
                Some(place) => columns[place] = made,
                None => columns.push(made),
            }
            let schema = Arc::clone(&step.schema);
            batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        }
        Ok(batch)
    }

    /// Makes a table's columns of a batch, in the table's order.
    ///
    /// # Errors
    /// The first failure of an expression, or a column that the plan does not make.
    pub fn run_table(&self, batch: RecordBatch, table: &str) -> Result<RecordBatch> {
        let made = self.run(batch)?;
        let schema = tables::schema(table);
        let column = |field: &Arc<Field>| {
            let column = made.column_by_name(field.name());
            column
                .cloned()
                .ok_or_else(|| StageError::Bug(format!("{table} has no {}", field.name())))
        };
        let columns = schema
            .fields()
            .iter()
            .map(column)
            .collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{}", step.shown)?;
        }
        Ok(())
    }
}

/// The value if the document reached the stage, else null.
pub(crate) fn if_reached(value: Expr) -> Result<Expr> {
    Ok(datafusion_expr::when(col("reached"), value).end()?)
}

/// Null of a column's type.
pub(crate) fn null_of(table: &str, column: &str) -> Result<Expr> {
    let schema = tables::schema(table);
    let data_type = schema.field_with_name(column)?.data_type();
    Ok(lit(datafusion_common::ScalarValue::try_from(data_type)?))
}

/// Columns of a stage whose model the manifest does not name: null everywhere.
pub(crate) fn without_values(input: Plan, table: &str, columns: &[&str]) -> Result<Plan> {
    let mut plan = input;
    for column in columns {
        plan = plan.with_column(column, null_of(table, column)?)?;
    }
    Ok(plan)
}
