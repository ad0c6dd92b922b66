//! The driver: it brings every stage of a manifest up to date. It finds the shards that a stage
//! must have, computes those that are missing, and commits the stage. Only the driver commits.

mod coverage;
mod documents;
mod earlier;
pub mod engine;
mod expect;
mod fleet;
mod hub;
mod quarantine;
mod replaced;
mod shards;
mod sources;
pub mod space;
mod unit;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use curate_ingest::add_skipped;
use curate_schemas::Manifest;
use curate_schemas::commit::{Commit, Counts, FORMAT, FileEntry};
use curate_schemas::stages::{self, coverage::COVERAGE, documents::DOCUMENTS};
use curate_schemas::times::{StageTime, Times};
use curate_stages::AnyStage;
use curate_stages::resources::Opening;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::{key, terminal};

pub use coverage::{CoverageRow, coverage_expected, read as read_coverage, warn_of_no_list};
pub use documents::{InputState, input_states};
pub use earlier::EarlierRuns;
pub use expect::{
    Difference, Existing, Expected, Keys, corpus_digest, differences, expected, missing, number,
    tables_read,
};
pub use replaced::replaced;
pub use shards::{count, edit, edited_bytes, publish};
pub use sources::{counts_by_source, loss, sources_of_shards};
pub use unit::compute_units;

use crate::driver::engine::{Engine, external, of_stage};
use crate::progress::{Work, peak_memory};
use crate::report::views;

/// A run: a manifest, its run directory, and the engine that executes the plans.
pub struct Driver {
    /// The manifest of the run.
    pub manifest: Manifest,
    /// The run directory, open for writing.
    pub run: RunDir,
    /// The engine that runs the plans.
    pub engine: Engine,
    /// True if fields without a value do not stop the run.
    allow_missing: bool,
    /// The runs that `dedup.against` names.
    earlier: EarlierRuns,
    /// The row-aligned stages behind `documents`, in the order in which they run.
    stages: Vec<AnyStage>,
}

/// The stages that [`Driver::run`] went through, each in one of two lists.
#[derive(Debug)]
pub struct Done {
    /// Stages with at least one computed file, in the order in which they ran.
    pub computed: Vec<StageTime>,
    /// Stages whose files all existed, in the order in which they run. A stage behind a changed one
    /// may have been committed again.
    pub cached: Vec<String>,
    started: Instant,
    /// End of the last stage, in seconds from the start.
    end: f64,
}

impl Done {
    /// No stage yet. The clock starts.
    fn start() -> Done {
        Done {
            computed: Vec::new(),
            cached: Vec::new(),
            started: Instant::now(),
            end: 0.0,
        }
    }

    /// Adds a stage that ends now to its list, and logs a stage that was cached. `work` is what the
    /// stage computed, `None` if it was cached.
    pub fn note(&mut self, stage: &str, work: Option<Work>) {
        // Stages run one after another, so a stage starts where the last one ended.
        let start = std::mem::replace(&mut self.end, self.started.elapsed().as_secs_f64());
        let Some(work) = work else {
            terminal::say(&format!("{stage}: cached"));
            self.cached.push(stage.to_owned());
            return;
        };

        self.computed.push(StageTime {
            name: stage.to_owned(),
            start,
            end: self.end,
            docs: work.docs,
            bytes: work.bytes,
            peak_memory: peak_memory(),
        });
    }

    /// The times of the run, with this number of threads.
    pub fn times(&self, threads: usize) -> Times {
        Times {
            stages: self.computed.clone(),
            cached: self.cached.clone(),
            seconds: self.end,
            threads: threads as u64,
        }
    }
}

impl Driver {
    /// Makes a driver that only computes shards of one stage, in the open directory of a run.
    /// Another process is the driver of the run.
    fn of_unit(manifest: Manifest, run: RunDir, threads: usize) -> Driver {
        Driver {
            engine: Engine::new(threads, manifest.run.memory, run.spill()),
            manifest,
            run,
            allow_missing: false,
            earlier: EarlierRuns::none(),
            stages: Vec::new(),
        }
    }

    /// Makes a driver that uses `threads` threads, and opens the files and models that the manifest
    /// names. `earlier` are the runs that `dedup.against` names. With `allow_missing`, fields
    /// without a value do not stop the run.
    ///
    /// # Errors
    /// The errors are those of [`load_stages`].
    pub fn new(
        manifest: Manifest,
        run: RunDir,
        earlier: EarlierRuns,
        threads: usize,
        allow_missing: bool,
    ) -> Result<Driver> {
        let engine = Engine::new(threads, manifest.run.memory, run.spill());
        let stages = load_stages(&manifest, &earlier, threads)?;

        Ok(Driver {
            manifest,
            run,
            engine,
            allow_missing,
            earlier,
            stages,
        })
    }

    /// Brings `coverage` and every row-aligned stage up to date, in order. With `until` the last
    /// stage is that one, but the coverage of the documents is always checked.
    ///
    /// # Errors
    /// The first failure of a stage. The stages before it stay committed.
    pub fn run(&self, until: Option<&str>) -> Result<Done> {
        let mut done = Done::start();

        // These two are not in `stages`: one reads input files, the other has a row for each field.
        done.note(DOCUMENTS.name, self.ingest()?);
        done.note(COVERAGE.name, self.check_coverage()?.then(Work::default));
        if until.is_some_and(|until| [DOCUMENTS.name, COVERAGE.name].contains(&until)) {
            return Ok(done);
        }

        for stage in &self.stages {
            let name = stage.stage().name();
            done.note(name, self.run_stage(stage)?);
            self.warn_of_lost_sources(name)?;
            if until == Some(name) {
                break;
            }
        }
        Ok(done)
    }

    /// The commit of a stage that has run.
    ///
    /// # Errors
    /// If the stage has no commit, or its commit is damaged.
    fn committed(&self, stage: &str) -> Result<Commit> {
        self.run
            .commit(stage)?
            .with_context(|| format!("stage {stage} has not run"))
    }

    /// Replaces a stage's commit. The commits of later stages are retired first. Files that no
    /// commit names are deleted last.
    ///
    /// # Errors
    /// Exit 70 if the counts show lost or doubled documents or bytes. Else if writing fails.
    pub fn commit(&self, stage: &str, version: u32, content: Contents) -> Result<()> {
        let Contents {
            files,
            tables,
            inputs,
            sources,
        } = content;

        // Quarantined records arrived too, so their files take part in the balance.
        let mut counts = Counts::default();
        for file in files
            .iter()
            .chain(tables.get("quarantine").into_iter().flatten())
        {
            counts.add(file.counts.as_ref().unwrap_or(&Counts::default()));
        }
        // Skipped records are in no file.
        add_skipped(&mut counts, &inputs);
        if !counts.is_conserved() {
            let message = format!("stage {stage} lost or doubled documents or bytes: {counts:?}");
            return Err(Failure::new(Exit::Broken, message).into());
        }

        // The report goes first, because a run with `run.json` counts as finished. The views
        // never name a stage that is no longer committed.
        self.run.retire_report()?;
        let mut retired = false;
        for later in self.later_stages(stage)? {
            retired |= self.run.retire(&later)?;
        }
        if retired {
            views::write(&self.run)?;
        }

        let key = key::of_files(
            stage,
            version,
            files.iter().chain(tables.values().flatten()),
        );
        let commit = Commit {
            format: FORMAT,
            stage: stage.to_owned(),
            version,
            key,
            counts,
            files,
            tables,
            inputs,
            sources,
            digest: String::new(),
        };

        // A reader of the views must find every file that they name. The old files are therefore
        // deleted only after the views name the new ones.
        self.run.write_commit(&commit)?;
        views::write(&self.run)?;
        self.run.sweep_stage(&commit)
    }

    /// The folders whose commits may depend on the commit of `folder`, the last folder first. If
    /// they are retired in this order, no committed stage ever depends on a retired stage.
    fn later_stages(&self, folder: &str) -> Result<Vec<String>> {
        if let Some(name) = folder.strip_prefix("mix/") {
            return Ok(vec![format!("mixture/{name}")]);
        }

        // Buckets and mixtures are made from the same tables, not from each other. Nothing is made
        // from the coverage.
        let folders = self.run.folders()?;
        if stages::stage(folder).is_none_or(|stage| !stage.scope.is_aligned()) {
            return Ok(Vec::new());
        }

        let mut later: Vec<String> = folders
            .into_iter()
            .skip_while(|other| other != folder)
            .skip(1)
            .collect();
        later.reverse();
        Ok(later)
    }
}

/// The facts of a commit that the driver cannot derive itself.
#[derive(Default)]
pub struct Contents {
    /// Files of the stage's own table, in the order of the shards.
    pub files: Vec<FileEntry>,
    /// Files of the stage's further tables, by table.
    pub tables: BTreeMap<String, Vec<FileEntry>>,
    /// Input files that the stage read. Empty for every stage but `documents`.
    pub inputs: Vec<curate_schemas::commit::Input>,
    /// Counts of records by source. Empty for every stage but `documents`.
    pub sources: BTreeMap<String, Counts>,
}

/// The row-aligned stages behind `documents`, opened with the files and models that the manifest
/// names.
///
/// # Errors
/// Exit 2 if a file or model cannot be used, or if the signatures of an earlier run cannot be
/// compared with those of this one.
pub fn load_stages(
    manifest: &Manifest,
    earlier: &EarlierRuns,
    threads: usize,
) -> Result<Vec<AnyStage>> {
    let opening = Opening {
        manifest,
        threads,
        against: earlier.digest(),
        fetch: &|name| hub::fetch(name).map_err(external),
    };

    let stages = curate_stages::open(&opening).map_err(of_stage)?;
    earlier.check_signatures(&stages)?;
    Ok(stages)
}
