//! SIGINT and SIGTERM: the first one lets running shards end, the second ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use crate::error::{Exit, Failure};

static STOP: AtomicBool = AtomicBool::new(false);

/// Installs the handler.
pub fn install() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted as i32);
        }
        eprintln!("curate: stopping, shards under way are given up; run the same command again to go on");
    })?;
    Ok(())
}

/// Fails once a signal has come.
///
/// # Errors
/// Exit 130.
pub fn check() -> Result<()> {
    if STOP.load(Ordering::Relaxed) {
        return Err(Failure::new(Exit::Interrupted, "interrupted; what was committed is kept").into());
    }
    Ok(())
}
