//! `curate`: one manifest, one command, from raw files to a quality-weighted mixture with an
//! account of effective tokens.
//!
//! | module | what happens there |
//! |---|---|
//! | [`commands`] | arguments, and a file a subcommand |
//! | [`manifest`] | `manifest.toml` to types, every problem with its place |
//! | [`driver`] | which shards are missing; runs and commits them |
//! | [`mixing`] | buckets, mixtures, and a mixture's text in training order |
//! | [`report`] | `run.json`, the funnel, `views.sql` |
//! | [`progress`] | what a person sees while a run goes on |
//! | [`constants`] | the loss constants that a person names |

mod commands;
mod constants;
mod driver;
#[cfg(test)]
mod fuzz;
mod manifest;
mod mixing;
mod progress;
mod report;

use std::process::ExitCode;

use curate_store::failure::{self, Exit};
use curate_store::terminal;

/// The system's allocator returns memory late and contends between threads that parse and build
/// strings.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    failure::report_panics();
    // Whatever panicked said so; a run that it ended is resumed like one that was killed.
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

/// `curate … | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
