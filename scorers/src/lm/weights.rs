//! Tensors by name, wherever they are stored.
//!
//! One tensor is read and converted at a time, into memory that has been checked against the file:
//! peak memory is that of the weights in f32 plus the largest tensor in its stored form.

use crate::lm::LmError;

/// Tensors that can be read one at a time, under the names of Hugging Face
/// (`model.layers.0.mlp.up_proj.weight`).
pub trait TensorSource: Send {
    /// The names of all tensors, sorted.
    fn names(&self) -> Vec<String>;

    /// The dimensions of a tensor, outermost first; none if it is not there.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// The values of a tensor in f32, row by row. Called with names that `shape` knows.
    ///
    /// # Errors
    /// [`LmError::Io`] and [`LmError::Malformed`] if the file ends early or holds a type that is
    /// not supported.
    fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError>;
}

/// Anything that weights can be read from.
pub trait ReadSeek: Send + std::io::Read + std::io::Seek + Send {}

impl<T: std::io::Read + std::io::Seek + Send> ReadSeek for T {}

/// The values of `name`, if its dimensions are `expected`.
pub(crate) fn read_checked(
    source: &mut dyn TensorSource,
    name: &str,
    expected: &[usize],
) -> Result<Vec<f32>, LmError> {
    let Some(found) = source.shape(name) else {
        return Err(LmError::MissingTensor {
            name: name.to_owned(),
        });
    };
    if found != expected {
        return Err(LmError::Shape {
            name: name.to_owned(),
            found,
            expected: expected.to_vec(),
        });
    }
    let values = source.read(name)?;
    if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
        return Err(LmError::malformed(
            name,
            format!("value {bad} is {}", values[bad]),
        ));
    }
    Ok(values)
}
