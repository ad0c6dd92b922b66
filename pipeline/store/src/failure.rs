//! Failures with an exit code. The exit code says whose fault the failure is. The message names the
//! thing and the place.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::terminal::{self, printable, printable_lines};

/// The exit codes of the program. `curate --help` lists them, and tests check them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The answer is no. For example, `verify` found damage, too much was quarantined, or a request
    /// cannot be met.
    No = 1,
    /// The command line or the manifest is wrong, an input is missing, or the run directory belongs
    /// to another run.
    Usage = 2,
    /// Another process holds the run directory.
    Locked = 11,
    /// An invariant broke: the program has a bug, or something else changed a file of the run.
    Broken = 70,
    /// Reading or writing failed, or the disk is full.
    Io = 74,
    /// SIGINT stopped the run.
    Interrupted = 130,
    /// SIGTERM stopped the run.
    Terminated = 143,
}

/// A failure with its exit code. It has a hint if the user can do something about it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code of the process.
    pub exit: Exit,
    message: String,
    hint: Option<String>,
    /// True if this program wrote the newlines in the message.
    has_lines: bool,
}

impl Failure {
    /// A failure with a message of one sentence. The message is in lower case, has no full stop,
    /// and names the thing, what was expected and what was found.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
            hint: None,
            has_lines: false,
        }
    }

    /// Marks the message as one of several lines. The newlines of all other messages are escaped,
    /// because a name with a newline could forge a line.
    pub fn of_lines(self) -> Self {
        Failure {
            has_lines: true,
            ..self
        }
    }

    /// Adds a hint: what the user can do about the failure.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Failure {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code of an error: the code of the first [`Failure`] in its chain. Without a [`Failure`]
/// the code is 74 for an I/O error, else 70.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(failure) = failure_of(error) {
        failure.exit as u8
    } else if error.chain().any(|cause| cause.is::<std::io::Error>()) {
        Exit::Io as u8
    } else {
        // An error that nobody classified counts as a bug.
        Exit::Broken as u8
    }
}

/// The first [`Failure`] in the chain of an error.
fn failure_of(error: &anyhow::Error) -> Option<&Failure> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
}

/// The message of an error, made safe for a terminal. The hint follows after a blank line.
pub fn render(error: &anyhow::Error) -> String {
    let failure = failure_of(error);

    let text = format!("curate: {error:#}");
    let text = if failure.is_some_and(|failure| failure.has_lines) {
        printable_lines(&text)
    } else {
        printable(&text)
    };

    match failure.and_then(|failure| failure.hint.as_deref()) {
        Some(hint) => format!("{text}\n\nhint: {}", printable(hint)),
        None => text,
    }
}

thread_local! {
    /// True while this thread runs code under [`guard`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which may panic over a stranger's data. Nothing is printed.
///
/// # Errors
/// The message of the panic, if `work` panicked.
pub fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // Guards may be nested, so the former value comes back and not `false`.
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);

    outcome.map_err(|panic| {
        // The payload is a `&str` for a literal message and a `String` for a formatted one.
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        message
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned())
    })
}

/// Installs a panic hook that prints one line in place of the default message: where the panic
/// occurred, and its text. Panics under [`guard`] print nothing.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if GUARDED.get() {
            return;
        }

        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no message");
        let version = env!("CARGO_PKG_VERSION");
        terminal::say(&format!(
            "curate: internal error at {place} (curate {version}): {text}; please report it"
        ));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_failure_however_deep() {
        let error = anyhow::Error::from(Failure::new(Exit::Usage, "no such file").hint("look"))
            .context("while reading");
        assert_eq!(exit_code(&error), 2);
        assert_eq!(
            render(&error),
            "curate: while reading: no such file\n\nhint: look"
        );
        assert_eq!(
            exit_code(&anyhow::Error::from(std::io::Error::other("disk"))),
            74
        );
        assert_eq!(exit_code(&anyhow::anyhow!("bug")), 70);
    }

    #[test]
    fn a_guarded_panic_is_its_message() {
        assert_eq!(guard(|| 7), Ok(7));
        assert_eq!(
            guard(|| panic!("at {}", 3)),
            Err::<(), _>("at 3".to_owned())
        );
    }
}
