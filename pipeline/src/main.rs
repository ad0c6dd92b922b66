//! `curate`: one manifest, one command, from raw files to a quality-weighted mixture with an
//! account of effective tokens.
//!
//! | module | what happens there |
//! |---|---|
//! | [`budget`] | what tokens are worth, without a run |
//! | [`constants`] | the loss constants that a person names
//! | [`cli`] | arguments, and a function a subcommand |
//! | [`manifest`] | `manifest.toml` to types, every problem with its place |
//! | [`ingest`] | raw files to the table `documents` |
//! | [`driver`] | which shards are missing; runs and commits them |
//! | [`engine`], [`zip`], [`writer`] | plans over shards, row-aligned reading, Parquet writing |
//! | [`hub`] | models fetched by name |
//! | [`run_dir`], [`durable`], [`key`] | the run directory, its durable steps, keys |
//! | [`export`] | a mixture's text in training order |
//! | [`formats`] | a mixture as trainers read it: JSON lines, Megatron-LM, blend files, a dataset card |
//! | [`space`] | room on the disk |
//! | [`report`], [`views`] | `run.json`, the funnel, `views.sql` |
//! | [`verify`], [`trace`], [`plan`] | questions about a run |
//! | [`drift`] | whether scores and verdicts are still a baseline's |
//! | [`train`] | an n-gram model of what a run kept |
//! | [`rules`] | the rules by name, and how far their profiles agree |

mod budget;
mod cli;
mod constants;
mod drift;
mod driver;
mod durable;
mod engine;
mod error;
mod export;
mod formats;
#[cfg(test)]
mod fuzz;
mod hub;
mod ingest;
mod interrupt;
mod key;
mod manifest;
mod plan;
mod progress;
mod report;
mod rules;
mod run_dir;
mod space;
mod trace;
mod train;
mod verify;
mod views;
mod writer;
mod zip;

use std::process::ExitCode;

/// The system's allocator returns memory late and contends between threads that parse and build
/// strings.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    error::report_panics();
    // Whatever panicked said so; a run that it ended is resumed like one that was killed.
    match std::panic::catch_unwind(cli::run)
        .unwrap_or(Ok(ExitCode::from(error::Exit::Broken as u8)))
    {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say_rendered(&error::render(&error));
            ExitCode::from(error::exit_code(&error))
        }
    }
}

/// `curate … | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
