//! Failures with an exit code: whose fault it is decides the code, the message names the thing and the place.

use std::fmt;

/// Exit codes, listed in `curate --help` and held by tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The answer is no: `verify` found damage, too much was quarantined, a request cannot be met.
    No = 1,
    /// The command line or the manifest is wrong, an input is missing, the run directory belongs to another run.
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
}

impl Failure {
    /// A failure with a one-sentence message: lower case, no full stop, names the thing, expected and found.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into(), hint: None }
    }

    /// Adds what the user can do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Failure { hint: Some(hint.into()), ..self }
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
    if let Some(failure) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
        return failure.exit as u8;
    }
    let io = error.chain().any(|cause| cause.is::<std::io::Error>());
    if io { Exit::Io as u8 } else { Exit::Broken as u8 }
}

/// The message of an error on one line, and its hint behind a blank line.
pub fn render(error: &anyhow::Error) -> String {
    let hint = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).and_then(|f| f.hint.as_deref());
    let mut text = format!("curate: {error:#}");
    if let Some(hint) = hint {
        text.push_str("\n\nhint: ");
        text.push_str(hint);
    }
    text
}

/// Text that may come from strangers, fit for a terminal: control characters but newlines are written as escapes.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_failure_however_deep() {
        let error =
            anyhow::Error::from(Failure::new(Exit::Usage, "no such file").hint("look")).context("while reading");
        assert_eq!(exit_code(&error), 2);
        assert_eq!(render(&error), "curate: while reading: no such file\n\nhint: look");
        assert_eq!(exit_code(&anyhow::Error::from(std::io::Error::other("disk"))), 74);
        assert_eq!(exit_code(&anyhow::anyhow!("bug")), 70);
    }

    #[test]
    fn escapes_never_reach_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\u{9b}c\nd"), "a\\u{1b}[31mb\\u{9b}c\nd");
    }
}
