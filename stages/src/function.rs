//! Scalar functions for plans: kernels on columns.
//!
//! Settings that people should see in a plan are literal arguments. Lists and models are captured
//! by the kernel, and their digests are literal arguments.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StructArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use curate_schemas::tables;
use datafusion_common::{DataFusionError, Result as DataFusionResult};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Result, StageError};

/// A kernel, which maps argument columns of equal length to one column of the same length.
pub type Kernel = Arc<dyn Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync>;

/// A scalar function, made of a name, an output type and a kernel.
#[derive(Clone)]
pub struct Function {
    name: &'static str,
    output: DataType,
    signature: Signature,
    kernel: Kernel,
}

impl Function {
    /// A function over any number of columns of any type.
    pub fn new(
        name: &'static str,
        output: DataType,
        kernel: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Self {
        Function {
            name,
            output,
            signature: Signature::variadic_any(Volatility::Immutable),
            kernel: Arc::new(kernel),
        }
    }

    /// The expression that applies the function to `arguments`.
    pub fn call(self, arguments: Vec<Expr>) -> Expr {
        ScalarUDF::new_from_impl(self).call(arguments)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    // Kernels cannot be compared. Two kernels of one name differ in their arguments.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.output == other.output
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.output.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let made = (self.kernel)(&columns).map_err(DataFusionError::from)?;
        Ok(ColumnarValue::Array(made))
    }
}

/// The function `field(struct, name)`: a field of a struct column, null where the struct is null.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct StructField {
    signature: Signature,
    name: String,
    output: DataType,
}

impl ScalarUDFImpl for StructField {
    fn name(&self) -> &'static str {
        "field"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.output.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let field = struct_field(columns[0].as_struct(), &self.name);
        Ok(ColumnarValue::Array(field.map_err(DataFusionError::from)?))
    }
}

/// A field of a struct column, null where the struct is null.
///
/// # Errors
/// If the struct has no field `name`.
pub(crate) fn struct_field(whole: &StructArray, name: &str) -> Result<ArrayRef> {
    let field = whole
        .column_by_name(name)
        .ok_or_else(|| StageError::Bug(format!("the struct has no field {name}")))?;

    // A field may have values where its struct is null.
    let nulls = NullBuffer::union(whole.nulls(), field.nulls());
    Ok(make_array(
        field.to_data().into_builder().nulls(nulls).build()?,
    ))
}

/// The expression for a field of a struct column. The field is of the type `output`.
pub(crate) fn field(whole: Expr, name: &str, output: DataType) -> Expr {
    let field = StructField {
        signature: Signature::any(2, Volatility::Immutable),
        name: name.to_owned(),
        output,
    };
    // The name is an argument as well, so that plans show it.
    ScalarUDF::new_from_impl(field).call(vec![whole, datafusion_expr::lit(name)])
}

/// Columns of a table, as the fields of a struct that a kernel makes.
///
/// # Panics
/// If the table has no such column, which tests exclude.
pub(crate) fn fields_of(table: &str, columns: &[&str]) -> Fields {
    let schema = tables::schema(table);
    columns
        .iter()
        .map(|name| -> Field {
            schema
                .field_with_name(name)
                .expect("a test walks the tables")
                .clone()
        })
        .collect()
}

/// The text column at place `index` of a kernel's arguments.
///
/// # Errors
/// If the argument is not of the type Utf8.
pub(crate) fn text(columns: &[ArrayRef], index: usize) -> Result<&StringArray> {
    columns[index].as_string_opt::<i32>().ok_or_else(|| {
        let found = columns[index].data_type();
        StageError::Bug(format!("argument {index} is {found}, expected Utf8"))
    })
}
