//! Tensors by name, wherever they are stored.
//!
//! One tensor is read and converted at a time, into memory whose size has been checked against the
//! file. Peak memory is the weights in f32 plus the largest tensor in its stored form.

use crate::lm::LmError;

/// Tensors that can be read one at a time, under the names of Hugging Face
/// (`model.layers.0.mlp.up_proj.weight`).
pub trait TensorSource: Send {
    /// Names of all tensors, sorted.
    fn names(&self) -> Vec<String>;

    /// Dimensions of a tensor, outermost first. `None` if there is no tensor of this name.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// Values of a tensor in f32, row by row. Callers pass only names that `shape` knows.
    ///
    /// # Errors
    /// [`LmError::Io`] if the file cannot be read or ends early, [`LmError::Unsupported`] if it
    /// stores the tensor in an unsupported type, [`LmError::Backend`] if quantised values cannot be
    /// converted.
    fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError>;
}

/// Anything that weights can be read from: a file, or bytes in memory.
pub trait ReadSeek: Send + std::io::Read + std::io::Seek + Send {}

impl<T: std::io::Read + std::io::Seek + Send> ReadSeek for T {}

/// Values of the tensor `name`, after a check that its dimensions are `expected` and its values
/// finite.
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

    // One infinite or NaN weight would make every score meaningless, so the model is refused at
    // load.
    if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
        return Err(LmError::malformed(
            name,
            format!("value {bad} is {}", values[bad]),
        ));
    }

    Ok(values)
}
