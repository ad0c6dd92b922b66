//! From manifest to committed stages: which shards a stage consists of, which of them are already
//! there, and the rest run and committed. The driver alone commits.

mod documents;
mod earlier;
pub mod engine;
mod expect;
mod hub;
mod shards;
pub mod space;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use curate_schemas::Manifest;
use curate_schemas::commit::{Commit, Counts, FORMAT, FileEntry};
use curate_schemas::spec::Scope;
use curate_schemas::stages::{self, documents::DOCUMENTS};
use curate_stages::AnyStage;
use curate_stages::resources::Opening;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::{key, terminal};

pub use documents::{InputState, input_states};
pub use expect::{Existing, Expected, Keys, corpus_digest, expected, number};
pub use shards::{count, edit, edited_bytes, publish};

use crate::driver::engine::{Engine, external, of_stage};
use crate::report::views;

/// A run: a manifest, its directory, and what executes it.
pub struct Driver {
    /// What is to be done.
    pub manifest: Manifest,
    /// Where it is done.
    pub run: RunDir,
    /// What runs the plans.
    pub engine: Engine,
    stages: Vec<AnyStage>,
}

/// What [`Driver::run`] found to do.
#[derive(Debug, Default)]
pub struct Done {
    /// Stages of which at least one shard was computed, in order.
    pub computed: Vec<String>,
    /// Stages that were there already.
    pub cached: Vec<String>,
}

impl Driver {
    /// A driver with so many threads.
    ///
    /// # Errors
    /// If the tokenizer cannot be loaded.
    pub fn new(manifest: Manifest, run: RunDir, threads: usize) -> Result<Driver> {
        let engine = Engine::new(threads, manifest.run.memory, run.spill());
        let stages = load_stages(&manifest, threads)?;
        Ok(Driver {
            manifest,
            run,
            engine,
            stages,
        })
    }

    /// Runs every stage up to and with `until`; mixtures only without it.
    pub fn run(&self, until: Option<&str>) -> Result<Done> {
        let mut done = Done::default();
        let mut note = |stage: &str, computed: bool| match computed {
            true => done.computed.push(stage.to_owned()),
            false => {
                terminal::say(&format!("{stage}: cached"));
                done.cached.push(stage.to_owned());
            }
        };
        note(DOCUMENTS.name, self.ingest()?);
        if until == Some(DOCUMENTS.name) {
            return Ok(done);
        }
        for stage in &self.stages {
            let name = stage.stage().name();
            note(name, self.run_stage(stage)?);
            if until == Some(name) {
                return Ok(done);
            }
        }
        for (name, computed) in self.run_mixtures()? {
            note(&name, computed);
        }
        Ok(done)
    }

    /// The commit of a stage that must be there.
    fn committed(&self, stage: &str) -> Result<Commit> {
        self.run
            .commit(stage)?
            .with_context(|| format!("stage {stage} has not run"))
    }

    /// Replaces a stage's commit: what follows is retired first, what is no longer named goes last.
    pub fn commit(&self, stage: &str, version: u32, content: Contents) -> Result<()> {
        let Contents {
            files,
            tables,
            inputs,
            sources,
        } = content;
        let mut counts = Counts::default();
        for file in files
            .iter()
            .chain(tables.get("quarantine").into_iter().flatten())
        {
            counts.add(file.counts.as_ref().unwrap_or(&Counts::default()));
        }
        if !counts.is_conserved() {
            let message = format!("stage {stage} lost or doubled documents or bytes: {counts:?}");
            return Err(Failure::new(Exit::Broken, message).into());
        }
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
        let stage_name = stage.to_owned();
        let commit = Commit {
            format: FORMAT,
            stage: stage_name,
            version,
            key,
            counts,
            files,
            tables,
            inputs,
            sources,
            digest: String::new(),
        };
        // Whoever reads the views finds every file: those that they named are deleted once they
        // name others.
        self.run.write_commit(&commit)?;
        views::write(&self.run)?;
        self.run.sweep_stage(&commit)
    }

    /// The folders of everything that may rest on a stage, the last first: at every instant a
    /// committed stage rests on committed ones.
    fn later_stages(&self, folder: &str) -> Result<Vec<String>> {
        if let Some(name) = folder.strip_prefix("mix/") {
            return Ok(vec![format!("mixture/{name}")]);
        }
        let is_before = |other: &String| other != folder;
        let folders = self.run.folders()?;
        let later = folders.into_iter().skip_while(is_before).skip(1);
        // Buckets and mixtures are made of the same tables, not of each other.
        let is_aligned = stages::stage(folder).is_some_and(|stage| stage.scope != Scope::Pool);
        let mut later: Vec<String> = later.filter(|_| is_aligned).collect();
        later.reverse();
        Ok(later)
    }
}

/// What a commit is made of.
#[derive(Default)]
pub struct Contents {
    /// The files of the stage's own table, in the order of shards.
    pub files: Vec<FileEntry>,
    /// The files of its further tables.
    pub tables: BTreeMap<String, Vec<FileEntry>>,
    /// The input files that were read.
    pub inputs: Vec<curate_schemas::commit::Input>,
    /// Counts by source.
    pub sources: BTreeMap<String, Counts>,
}

/// The row-aligned stages of a manifest, with the files and models that it names.
///
/// # Errors
/// Exit 2 if a file or model cannot be used, or an earlier run does not fit.
pub fn load_stages(manifest: &Manifest, threads: usize) -> Result<Vec<AnyStage>> {
    let opening = Opening {
        manifest,
        threads,
        against: earlier::digest(manifest)?,
        fetch: &|name| hub::fetch(name).map_err(external),
    };
    let stages = curate_stages::open(&opening).map_err(of_stage)?;
    earlier::check(manifest, &stages)?;
    Ok(stages)
}
