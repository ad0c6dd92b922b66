//! Why a stage cannot go on. The variant says whose fault the failure is.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;

/// The result of a stage's work.
pub type Result<T, E = StageError> = std::result::Result<T, E>;

/// Why a stage cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The manifest names something that cannot be used: a file, a model, a setting.
    #[error("{message}")]
    Manifest {
        /// The key, its value and what is wrong with them.
        message: String,
        /// What to do about it; empty if that is obvious.
        hint: String,
    },
    /// A file of the stage's own, such as a spill file, cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// `read`, `write` or `delete`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A kernel refused a text, or a model failed.
    #[error(transparent)]
    Kernel(Box<dyn Error + Send + Sync>),
    /// The driver failed while it worked for the stage: a damaged file, a signal.
    #[error(transparent)]
    Driver(Box<dyn Error + Send + Sync>),
    /// An Arrow kernel failed, which is a bug here.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// An expression cannot be planned or evaluated, which is a bug here.
    #[error(transparent)]
    Expression(DataFusionError),
    /// An invariant of a stage broke, which is a bug here.
    #[error("bug: {0}")]
    Bug(String),
}

impl StageError {
    /// A mistake in the manifest without a hint.
    pub fn manifest(message: impl Into<String>) -> StageError {
        StageError::Manifest {
            message: message.into(),
            hint: String::new(),
        }
    }

    /// Adds what to do about a mistake in the manifest.
    pub fn hint(self, hint: impl Into<String>) -> StageError {
        match self {
            StageError::Manifest { message, .. } => StageError::Manifest {
                message,
                hint: hint.into(),
            },
            other => other,
        }
    }

    /// A failure of a kernel.
    pub fn kernel(error: impl Into<Box<dyn Error + Send + Sync>>) -> StageError {
        StageError::Kernel(error.into())
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> StageError {
        StageError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// A failure of ours comes out of an expression as it went in.
impl From<DataFusionError> for StageError {
    fn from(error: DataFusionError) -> StageError {
        match error {
            DataFusionError::External(ours) => match ours.downcast::<StageError>() {
                Ok(ours) => *ours,
                Err(other) => StageError::Kernel(other),
            },
            other => StageError::Expression(other),
        }
    }
}

impl From<StageError> for DataFusionError {
    fn from(error: StageError) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_goes_through_an_expression_unchanged() {
        let failure = StageError::manifest("no such list").hint("name another");
        let back = StageError::from(DataFusionError::from(failure));
        let is_same = matches!(
            &back,
            StageError::Manifest { message, hint } if message == "no such list" && hint == "name another"
        );
        assert!(is_same, "{back:?}");
    }
}
