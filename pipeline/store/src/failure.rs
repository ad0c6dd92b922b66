//! Failures with an exit code: whose fault it is decides the code, the message names the thing and
//! the place.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::terminal::{self, printable, printable_lines};

/// Exit codes, listed in `curate --help` and held by tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The answer is no: `verify` found damage, too much was quarantined, a request cannot be met.
    No = 1,
    /// The command line or the manifest is wrong, an input is missing, the run directory belongs to
    /// another run.
    Usage = 2,
    /// Another process holds the run directory.
    Locked = 11,
    /// An invariant broke: a bug here, or a file changed under our feet.
    Broken = 70,
    /// Reading or writing failed, or the disk is full.
    Io = 74,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

/// A failure that knows its exit code and, where there is something to do about it, a hint.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub exit: Exit,
    message: String,
    hint: Option<String>,
    /// Whether newlines in the message are ours.
    has_lines: bool,
}

impl Failure {
    /// A failure with a one-sentence message: lower case, no full stop, names the thing, expected
    /// and found.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
            hint: None,
            has_lines: false,
        }
    }

    /// Says that the message is of several lines: others have theirs escaped, because names with
    /// newlines would forge lines.
    pub fn of_lines(self) -> Self {
        Failure {
            has_lines: true,
            ..self
        }
    }

    /// Adds what the user can do about it.
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

/// The exit code of an error: that of the first [`Failure`] in its chain, 74 for I/O, else 70.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(failure) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
    {
        return failure.exit as u8;
    }
    let io = error.chain().any(|cause| cause.is::<std::io::Error>());
    if io {
        Exit::Io as u8
    } else {
        Exit::Broken as u8
    }
}

/// The message of an error, fit for a terminal, and its hint behind a blank line.
pub fn render(error: &anyhow::Error) -> String {
    let failure = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>());
    let text = format!("curate: {error:#}");
    let has_lines = failure.is_some_and(|failure| failure.has_lines);
    let text = if has_lines {
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
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs code that strangers' data may make panic; the panic's message if it did. Nothing is
/// printed.
pub fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    outcome.map_err(|panic| {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        message
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned())
    })
}

/// Says where a panic that nobody guards against came from, in place of the default message.
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
