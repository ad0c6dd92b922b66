//! The shards of a stage, computed by other processes. The driver writes a round, hands the numbers
//! of its units to the command of the manifest, and believes receipts only: a unit is done if its
//! files are there with receipts that fit. What is missing is handed out again.
//!
//! The command places units on machines and says nothing that the driver needs. Its exit code is
//! shown if units are missing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use curate_schemas::commit::FileEntry;
use curate_schemas::fleet::{ROUND_FORMAT, Round, Unit, UnitFile};
use curate_schemas::tables;
use curate_store::failure::{Exit, Failure};
use curate_store::terminal::printable;
use curate_store::zip::open_parquet;
use curate_store::{interrupt, key};
use rustix::process::{Pid, Signal, kill_process};

use super::expect::{Existing, Expected, number};
use super::shards::Job;
use super::unit::{build, failure_of};
use super::{Driver, missing};
use crate::progress::Progress;

/// How often the driver looks whether the command has ended.
const POLL: Duration = Duration::from_millis(20);

impl Driver {
    /// Computes the missing shards of a shard stage by units of the `command`. The entries are by
    /// key.
    ///
    /// # Errors
    /// Exit 1 if a unit leaves no receipt after all attempts. Exit 70 if a file is not what its
    /// receipt says. Else if the command cannot be started or the round cannot be written.
    pub(super) fn compute_by_fleet(
        &self,
        command: &[String],
        job: &Job,
        wanted: &[Expected],
        progress: &Progress,
    ) -> Result<BTreeMap<String, FileEntry>> {
        let round = self.round(job, wanted)?;
        let path = self.write_round(&round)?;
        let mut done = BTreeMap::new();
        for _ in 0..self.manifest.fleet.attempts {
            let todo = unfinished(&round, &done);
            if todo.is_empty() {
                break;
            }

            // A file without a receipt that fits was left by a process that died, or is damaged.
            // No unit replaces it.
            let lacking = missing(wanted, &job.existing).into_iter();
            for file in lacking.filter(|file| !done.contains_key(&file.key)) {
                self.run.make_way(&file.table, &file.path)?;
            }
            let status = place(command, &path, &todo)?;
            self.collect(job, wanted, &mut done, progress)?;
            let left = unfinished(&round, &done).len();
            if left > 0 {
                progress.note(&format!(
                    "{left} of {} units left no receipt ({status})",
                    todo.len()
                ));
            }
        }

        if let Some(first) = unfinished(&round, &done).first() {
            return Err(self.given_up(&round, &path, *first).into());
        }
        self.run.sweep_rounds()?;
        self.run.sweep_staging()?;
        Ok(done)
    }

    /// The round of the missing files.
    fn round(&self, job: &Job, wanted: &[Expected]) -> Result<Round> {
        let fleet = &self.manifest.fleet;
        let absolute = |path: &Path| {
            let path = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            let found = fs::canonicalize(path);
            found.with_context(|| format!("cannot find {}", path.display()))
        };

        // A shard stage has one file for each shard, so the place of a file is the number of its
        // shard.
        let files: Vec<UnitFile> = wanted
            .iter()
            .enumerate()
            .filter(|(_, file)| job.existing.get(&file.key).is_none())
            .map(|(shard, file)| UnitFile {
                shard,
                key: file.key.clone(),
            })
            .collect();

        Ok(Round {
            format: ROUND_FORMAT,
            curate: env!("CARGO_PKG_VERSION").to_owned(),
            build: build()?,
            run: absolute(self.run.root())?.to_string_lossy().into_owned(),
            base: absolute(&self.manifest.base)?
                .to_string_lossy()
                .into_owned(),
            manifest: toml::to_string(&self.manifest)?,
            stage: job.stage.name().to_owned(),
            batch_rows: self.run.reading().most_rows(),
            units: files
                .chunks(fleet.shards as usize)
                .map(|files| Unit {
                    files: files.to_vec(),
                })
                .collect(),
        })
    }

    /// Writes a round, and returns its absolute path.
    fn write_round(&self, round: &Round) -> Result<PathBuf> {
        let bytes = serde_json::to_vec_pretty(round)?;
        let digest = key::digest(&[&String::from_utf8_lossy(&bytes)]);
        let name = format!("{}-{}.json", round.stage, key::short(&digest));

        let path = Path::new(&round.run)
            .join(self.run.rounds().strip_prefix(self.run.root())?)
            .join(name);
        self.run.write(&path, &bytes)?;
        Ok(path)
    }

    /// Adds the files of finished units to `done`.
    ///
    /// # Errors
    /// Exit 70 if a file is not what its receipt says.
    fn collect(
        &self,
        job: &Job,
        wanted: &[Expected],
        done: &mut BTreeMap<String, FileEntry>,
        progress: &Progress,
    ) -> Result<()> {
        let found = Existing::load(&self.run, job.stage.name(), &[])?;
        for (shard, file) in wanted.iter().enumerate() {
            let is_new = job.existing.get(&file.key).is_none() && !done.contains_key(&file.key);
            let Some(entry) = found.get(&file.key).filter(|_| is_new) else {
                continue;
            };

            self.check(job, shard, file, entry)?;
            let counts = entry
                .counts
                .as_ref()
                .context("a row-aligned file has counts")?;
            progress.shard(
                &format!("part-{}", number(&entry.path)),
                counts.docs.arrived,
                counts.bytes.arrived,
            );
            done.insert(file.key.clone(), entry.clone());
        }
        Ok(())
    }

    /// Checks a file of a unit before it is committed. The digest is checked where the file is read.
    fn check(&self, job: &Job, shard: usize, file: &Expected, entry: &FileEntry) -> Result<()> {
        let path = self.run.table(&file.table).join(&file.path);
        let before = job.followed.files[shard].counts.as_ref();
        let arrived = |counts: &curate_schemas::commit::Counts| {
            let kept = before.map(|before| (before.docs.kept, before.bytes.kept));
            kept == Some((counts.docs.arrived, counts.bytes.arrived)) && counts.is_conserved()
        };

        let inside = open_parquet(&path)?;
        let rows = inside.metadata().file_metadata().num_rows();
        let schema = tables::schema(&file.table);
        let wrong = if !entry.counts.as_ref().is_some_and(arrived) {
            "its receipt lost or doubled documents or bytes"
        } else if entry.parts != file.parts || entry.path != file.path {
            "its receipt is of another file"
        } else if rows as u64 != entry.rows || entry.rows != job.documents.files[shard].rows {
            "it has another number of rows than documents"
        } else if inside.schema().fields() != schema.fields() {
            "it has other columns"
        } else {
            return Ok(());
        };

        let message = format!("a unit left {}, but {wrong}", path.display());
        Err(Failure::new(Exit::Broken, message)
            .hint("run the manifest with --repair")
            .into())
    }

    /// The failure of a round whose unit `number` left no receipt after all attempts.
    fn given_up(&self, round: &Round, path: &Path, number: usize) -> Failure {
        let shards: Vec<String> = round.units[number]
            .files
            .iter()
            .map(|file| file.shard.to_string())
            .collect();
        let said = fs::read_to_string(failure_of(path, number))
            .unwrap_or_else(|_| "it said nothing, so it was killed or never started".to_owned());

        let message = format!(
            "stage {}, unit {number} (shard {}) left no receipt after {} attempts: {}",
            round.stage,
            shards.join(", "),
            self.manifest.fleet.attempts,
            printable(said.trim())
        );
        Failure::new(Exit::No, message).hint(format!(
            "what is done is kept; try the unit by hand: curate unit {} {number}",
            path.display()
        ))
    }
}

/// The numbers of the units that lack a file.
fn unfinished(round: &Round, done: &BTreeMap<String, FileEntry>) -> Vec<usize> {
    let lacks = |unit: &Unit| unit.files.iter().any(|file| !done.contains_key(&file.key));
    (0..round.units.len())
        .filter(|&number| lacks(&round.units[number]))
        .collect()
}

/// Calls the command with a round and numbers of units, and waits for its end.
///
/// # Errors
/// Exit 2 if the command cannot be started. Exit 130 or 143 if this process is stopped, after the
/// command was told to stop.
fn place(command: &[String], round: &Path, units: &[usize]) -> Result<ExitStatus> {
    let [program, arguments @ ..] = command else {
        unreachable!("the check of the manifest refuses an empty command");
    };

    let mut child = Command::new(program)
        .args(arguments)
        .arg(round)
        .args(units.iter().map(ToString::to_string))
        // Results of this process go to stdout, so nothing else may.
        .stdout(std::io::stderr())
        .spawn()
        .map_err(|error| {
            let message = format!(
                "fleet.command: cannot start {}: {error}",
                printable(program)
            );
            Failure::new(Exit::Usage, message)
        })?;

    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(stopped) = interrupt::check() {
            // A command that has just ended needs no signal.
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            child.wait()?;
            return Err(stopped);
        }
        std::thread::sleep(POLL);
    }
}
