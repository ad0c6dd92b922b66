//! Errors of stages. The variant says whose fault the failure is.

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
    /// The manifest names a file, a model or a setting that cannot be used.
    #[error("{message}")]
    Manifest {
        /// The key, its value and the mistake in them.
        message: String,
        /// Advice to correct the mistake; empty if the correction is obvious.
        hint: String,
    },
    /// The data is not what the manifest demands.
    #[error("{message}")]
    Refused {
        /// The demand, and the data that does not meet it.
        message: String,
        /// Advice to correct the data or the demand.
        hint: String,
    },
    /// A file of the stage's own, such as a spill file, cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// The action that failed: `create`, `read`, `write` or `delete`.
        action: &'static str,
        /// The path of the file or folder.
        path: PathBuf,
        /// The reason that the system gives.
        source: io::Error,
    },
    /// A kernel refused a text, or a model failed.
    #[error(transparent)]
    Kernel(Box<dyn Error + Send + Sync>),
    /// The driver failed while it worked for the stage, because of a damaged file or a signal.
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
    /// The error for a mistake in the manifest, without a hint.
    pub fn manifest(message: impl Into<String>) -> StageError {
        StageError::Manifest {
            message: message.into(),
            hint: String::new(),
        }
    }

    /// Adds a hint to a mistake in the manifest. Other errors stay as they are.
    pub fn hint(self, hint: impl Into<String>) -> StageError {
        match self {
            StageError::Manifest { message, .. } => StageError::Manifest {
                message,
                hint: hint.into(),
            },
            other => other,
        }
    }

    /// The error for a failure of a kernel.
    pub fn kernel(error: impl Into<Box<dyn Error + Send + Sync>>) -> StageError {
        StageError::Kernel(error.into())
    }

    /// The error for a file of the stage's own.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> StageError {
        StageError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// A stage's error comes out of an expression as it went in.
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
