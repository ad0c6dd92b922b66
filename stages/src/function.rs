//! Scalar functions for plans: a kernel on columns. A function has no hidden state; its settings
//! are literal arguments, so its name and arguments say all there is to know.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// A kernel: argument columns of equal length to one column of that length.
pub type Kernel = Arc<dyn Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync>;

/// A scalar function made of a name, a type and a kernel.
#[derive(Clone)]
pub struct Function {
    name: &'static str,
    output: DataType,
    signature: Signature,
    kernel: Kernel,
}

impl Function {
    /// A function over any number of columns.
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

    /// The function applied to arguments.
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

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.output.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array((self.kernel)(&columns)?))
    }
}

/// The text column among a kernel's arguments.
pub(crate) fn text(columns: &[ArrayRef], index: usize) -> Result<&StringArray> {
    columns[index].as_string_opt::<i32>().ok_or_else(|| {
        DataFusionError::Internal(format!(
            "argument {index} is {}, expected Utf8",
            columns[index].data_type()
        ))
    })
}

/// A setting among a kernel's arguments: a literal, the same in every row; 0 for a batch without
/// rows.
pub(crate) fn setting(columns: &[ArrayRef], index: usize) -> Result<u64> {
    let values = columns[index]
        .as_primitive_opt::<UInt64Type>()
        .ok_or_else(|| {
            DataFusionError::Internal(format!(
                "argument {index} is {}, expected UInt64",
                columns[index].data_type()
            ))
        })?;
    Ok(if values.is_empty() {
        0
    } else {
        values.value(0)
    })
}
