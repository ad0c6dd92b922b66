//! SIGINT and SIGTERM: the first one gives up the shards under way and ends the run, the second
//! ends the process at once.
//!
//! What was committed is whole at every instant, so a run that does not come to a place where it
//! can stop in [`PATIENCE`] is ended where it is.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Exit, Failure};
use crate::terminal;

static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// How long a run may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(4);

/// Installs the handler.
///
/// # Errors
/// If the system refuses.
pub fn install() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
    std::thread::spawn(move || {
        let mut is_second = false;
        for signal in signals.forever() {
            if std::mem::replace(&mut is_second, true) {
                std::process::exit(128 + signal);
            }
            // Before anything is said: whoever should read it may not.
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
