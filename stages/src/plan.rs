//! A plan over one shard: DataFusion expressions make columns one after the other, and a table
//! chooses among the columns. Rows and their order stay as they are.
//!
//! Each expression is evaluated once for each batch. DataFusion's logical planner is left out on
//! purpose. It merged projections, and so ran a kernel once for each field of the kernel's struct.
//! The planner and its operators also took a quarter of a clean build.

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

/// The columns of a shard's rows, and the steps that make further columns.
#[derive(Clone)]
pub struct Plan {
    /// The columns after all steps.
    schema: SchemaRef,
    steps: Vec<Step>,
}

/// A step that makes one column from the columns before it.
#[derive(Clone)]
struct Step {
    /// The name of the column and its expression as the stage wrote it, for people.
    shown: String,
    expression: Arc<dyn PhysicalExpr>,
    /// The columns after this step.
    schema: SchemaRef,
    /// Place of the column that the new column replaces; `None`: the new column is appended.
    replaces: Option<usize>,
}

impl Plan {
    /// A plan without steps, over rows with the columns of `schema`.
    pub fn new(schema: SchemaRef) -> Plan {
        Plan {
            schema,
            steps: Vec::new(),
        }
    }

    /// True if the plan has a column `name`.
    pub fn has(&self, name: &str) -> bool {
        self.schema.index_of(name).is_ok()
    }

    /// Adds the column `name`, or replaces it if the plan has one.
    ///
    /// # Errors
    /// If the expression names a column that the plan does not have, or if its types do not fit.
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

    /// Makes all columns of the plan for a batch.
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

    /// Makes the columns of a table for a batch, in the table's order.
    ///
    /// # Errors
    /// The first failure of an expression, or if the plan lacks a column of the table.
    pub fn run_table(&self, batch: RecordBatch, table: &str) -> Result<RecordBatch> {
        let made = self.run(batch)?;
        let schema = tables::schema(table);

        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                let name = field.name();
                made.column_by_name(name).cloned().ok_or_else(|| {
                    StageError::Bug(format!("the plan for {table} makes no column {name}"))
                })
            })
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

/// The expression `value` where the document reaches the stage, else null.
pub(crate) fn if_reached(value: Expr) -> Result<Expr> {
    Ok(datafusion_expr::when(col("reached"), value).end()?)
}

/// A null of the type of a table's column.
pub(crate) fn null_of(table: &str, column: &str) -> Result<Expr> {
    let schema = tables::schema(table);
    let data_type = schema.field_with_name(column)?.data_type();
    Ok(lit(datafusion_common::ScalarValue::try_from(data_type)?))
}

/// Adds `columns` of a table to a plan, null everywhere. A stage whose model the manifest does not
/// name has such columns.
pub(crate) fn without_values(input: Plan, table: &str, columns: &[&str]) -> Result<Plan> {
    let mut plan = input;
    for column in columns {
        plan = plan.with_column(column, null_of(table, column)?)?;
    }
    Ok(plan)
}
