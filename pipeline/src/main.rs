//! `curate`: one manifest, one command, from raw files to a quality-weighted mixture with an
//! account of effective tokens.
//!
//! | module | what happens there |
//! |---|---|
//! | [`commands`] | the arguments, and one file for each subcommand |
//! | [`manifest`] | turns `manifest.toml` into types and reports every problem with its place |
//! | [`init`] | looks at files, and writes a manifest for them |
//! | [`driver`] | finds the missing shards, computes and commits them |
//! | [`mixing`] | buckets, mixtures, and the text of a mixture in training order |
//! | [`report`] | `run.json`, the funnel, `views.sql` |
//! | [`progress`] | the progress that a person sees during a run |
//! | [`machine`] | memory and processors that this process may use |
//! | [`constants`] | the loss constants that a manifest or an argument names |

mod calibrate;
mod commands;
mod constants;
mod driver;
#[cfg(test)]
mod fuzz;
mod init;
mod machine;
mod manifest;
mod mixing;
mod progress;
mod report;

use std::process::ExitCode;

use curate_store::failure::{self, Exit};
use curate_store::terminal;

/// Replaces the allocator of the system, which returns memory late and has contention between
/// threads that parse and build strings.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    failure::report_panics();

    // The hook has reported the panic by now. The run can be resumed like a run that was killed.
    match std::panic::catch_unwind(commands::run).unwrap_or(Ok(ExitCode::from(Exit::Broken as u8)))
    {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say_rendered(&failure::render(&error));
            ExitCode::from(failure::exit_code(&error))
        }
    }
}

/// True if the reader of stdout has gone away, as in `curate … | head`. This is not a failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
