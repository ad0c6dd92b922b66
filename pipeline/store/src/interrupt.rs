//! SIGINT and SIGTERM. The first signal gives up the shards that are being worked on and ends the
//! run. The second signal ends the process at once.
//!
//! Committed files are whole at every instant. A run that does not reach a place where it can stop
//! within [`PATIENCE`] is therefore ended wherever it is.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Exit, Failure};
use crate::terminal;

/// The number of the first signal, 0 before a signal came.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The time that a run has to end by itself after the first signal.
const PATIENCE: Duration = Duration::from_secs(4);

/// Installs the handler of both signals.
///
/// # Errors
/// If the system refuses the handler.
pub fn install() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
    std::thread::spawn(move || {
        let mut is_second = false;
        for signal in signals.forever() {
            if std::mem::replace(&mut is_second, true) {
                std::process::exit(128 + signal);
            }

            // The timer starts before the message: writing to stderr blocks if nobody reads it.
            std::thread::spawn(move || {
                std::thread::sleep(PATIENCE);
                std::process::exit(128 + signal);
            });

            terminal::say(
                "curate: stopping; shards under way are given up, run the same command again to go on",
            );
            SIGNAL.store(signal, Ordering::SeqCst);
        }
    });
    Ok(())
}

/// Fails once a signal has come.
///
/// # Errors
/// Exit 130 for SIGINT, 143 for SIGTERM.
pub fn check() -> Result<()> {
    let exit = match SIGNAL.load(Ordering::Relaxed) {
        0 => return Ok(()),
        SIGTERM => Exit::Terminated,
        _ => Exit::Interrupted,
    };
    Err(Failure::new(exit, "interrupted; what was committed is kept").into())
}
