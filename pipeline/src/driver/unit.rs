//! `curate unit`: computes shards for a driver in another process, which holds the lock of the run
//! and commits. A unit reads committed files and leaves files with receipts. It may run twice, late
//! or half.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use curate_schemas::Manifest;
use curate_schemas::fleet::{ROUND_FORMAT, Round, UnitFile};
use curate_stages::AnyStage;
use curate_stages::resources::Opening;
use curate_store::failure::{Exit, Failure};
use curate_store::interrupt;
use curate_store::run_dir::{RunDir, host};
use curate_store::zip::{Reading, file_digest};

use super::engine::{external, of_stage};
use super::{Driver, hub};
use crate::progress::Progress;

/// Computes the units with these `numbers` of the round in the file `path`.
///
/// # Errors
/// Exit 2 if the round is of another build or of a state of the run that is over. Else the first
/// failure of a shard. It is also written beside the round, for the driver.
pub fn compute_units(path: &Path, numbers: &[usize]) -> Result<()> {
    let leave_word = |number: usize, error: &anyhow::Error| {
        // Only a hint for people: the unit failed whether or not the words arrive.
        let _ = fs::write(
            failure_of(path, number),
            format!("{error:#}, on {}", host()),
        );
    };
    let (round, driver, stage) = read(path)
        .and_then(open)
        .inspect_err(|error| numbers.iter().for_each(|&number| leave_word(number, error)))?;

    // One unit that fails does not keep the others from being done.
    let mut first = Ok(());
    for &number in numbers {
        let done = compute(&driver, &stage, &round, number);
        first = first.and(done.inspect_err(|error| leave_word(number, error)));
    }
    first
}

/// The round in a file.
///
/// # Errors
/// Exit 2 if there is none, or if it is of another version or build.
fn read(path: &Path) -> Result<Round> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let bytes = fs::read(path)
        .map_err(|error| usage(format!("cannot read the round {}: {error}", path.display())))?;
    let round: Round = serde_json::from_slice(&bytes)
        .map_err(|error| usage(format!("{} is no round: {error}", path.display())))?;

    if round.format != ROUND_FORMAT || round.build != build()? {
        let message = format!(
            "{} is a round of another build of curate, {}; this is curate {}",
            path.display(),
            round.curate,
            env!("CARGO_PKG_VERSION")
        );
        return Err(usage(message)
            .hint("run the same executable on every machine of the fleet")
            .into());
    }
    Ok(round)
}

/// Opens the stage of a round, and the run directory, in which another process is the driver.
fn open(round: Round) -> Result<(Round, Driver, AnyStage)> {
    let mut manifest: Manifest = toml::from_str(&round.manifest).map_err(|error| {
        Failure::new(
            Exit::Broken,
            format!("the round's manifest is damaged: {}", error.message()),
        )
    })?;
    manifest.base = PathBuf::from(&round.base);
    manifest.run.dir = PathBuf::from(&round.run);

    let run = RunDir::open_unit(&manifest.run.dir, Reading::new(Some(round.batch_rows)))?;
    let threads = manifest.fleet.threads as usize;
    let stage = curate_stages::open_stage(
        &round.stage,
        &Opening {
            manifest: &manifest,
            threads,
            against: None,
            fetch: &|name| hub::fetch(name).map_err(external),
        },
    )
    .map_err(of_stage)?;
    Ok((round, Driver::of_unit(manifest, run, threads), stage))
}

/// Computes the files of one unit that are not there yet.
fn compute(driver: &Driver, stage: &AnyStage, round: &Round, number: usize) -> Result<()> {
    let unit = round.units.get(number).ok_or_else(|| {
        let units = round.units.len();
        Failure::new(
            Exit::Usage,
            format!("there is no unit {number}, the round has {units}"),
        )
    })?;
    let AnyStage::Shard(shard_stage) = stage else {
        let message = format!("the stage {} sees the whole corpus", round.stage);
        return Err(Failure::new(Exit::Usage, message).into());
    };

    let (mut job, wanted) = driver.job(stage)?;
    job.files = driver.run.shard_files()?;
    let todo: Vec<&UnitFile> = unit
        .files
        .iter()
        .filter(|file| job.existing.get(&file.key).is_none())
        .collect();

    let progress = Progress::start(&round.stage, todo.len());
    driver.engine.for_each(&todo, |_, file| {
        interrupt::check()?;
        let expected = wanted.get(file.shard).filter(|found| found.key == file.key);
        let expected = expected.ok_or_else(|| {
            let message = format!(
                "the round is over: shard {} of {} has another key by now",
                file.shard, round.stage
            );
            Failure::new(Exit::Usage, message)
        })?;
        driver
            .compute_shard(shard_stage.as_ref(), &job, file.shard, expected, &progress)
            .with_context(|| format!("stage {}, shard {}", round.stage, file.shard))
    })?;
    progress.finish();
    Ok(())
}

/// blake3 of this executable, 64 hex digits.
///
/// # Errors
/// If the executable cannot be read.
pub(super) fn build() -> Result<String> {
    let path = std::env::current_exe().context("cannot find the running executable")?;
    file_digest(&path)
}

/// The file beside a round in which a unit says why it failed.
pub(super) fn failure_of(round: &Path, number: usize) -> PathBuf {
    round.with_extension(format!("{number}.failed"))
}
