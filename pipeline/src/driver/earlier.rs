//! The earlier runs that `dedup.against` names. Documents of this run are compared with the
//! documents that those runs kept. Earlier runs are read and never changed.
//!
//! All of an earlier run that can be checked without reading data is checked before anything of
//! this run is written. A refusal therefore leaves this run as it was.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use curate_schemas::Manifest;
use curate_schemas::commit::Commit;
use curate_stages::AnyStage;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::{key, terminal};
use serde_json::Value;

use super::expect::{Difference, differences};
use crate::driver::engine::Shards;

/// The tables that deduplication reads of an earlier run.
const TABLES: [&str; 4] = ["documents", "signals", "signatures", "near_dedup"];

/// The earlier runs, in the order of the manifest. No process writes into them while this value
/// lives.
pub struct EarlierRuns(Vec<EarlierRun>);

/// One earlier run.
struct EarlierRun {
    /// Its directory, as written in the manifest.
    name: String,
    run: RunDir,
    /// The commits of [`TABLES`], in this order.
    commits: Vec<Commit>,
}

impl EarlierRuns {
    /// No earlier runs.
    pub fn none() -> EarlierRuns {
        EarlierRuns(Vec::new())
    }

    /// Opens the earlier runs of a manifest.
    ///
    /// # Errors
    /// Exit 2 if an earlier run is the run itself, is named twice, is not a run directory, or lacks
    /// a stage or a file that deduplication reads. Exit 11 if another process writes into it.
    pub fn open(manifest: &Manifest) -> Result<EarlierRuns> {
        let own = identity(&manifest.run.dir);
        let mut seen: Vec<(&str, (u64, u64))> = Vec::new();
        let mut runs = Vec::new();

        for name in manifest.dedup.earlier() {
            // A directory has many spellings, and links lead to it.
            let found = identity(Path::new(name));
            if found.is_some() && found == own {
                let message = format!(
                    "dedup.against: {name} is the directory of this run, {}",
                    manifest.run.dir.display()
                );
                let hint =
                    "name earlier runs only, or another run directory by run.dir or --run-dir";
                return Err(Failure::new(Exit::Usage, message).hint(hint).into());
            }
            if let Some((other, _)) = seen.iter().find(|(_, other)| Some(*other) == found) {
                let message = format!("dedup.against: {other} and {name} are one run directory");
                return Err(Failure::new(Exit::Usage, message)
                    .hint("name the run once")
                    .into());
            }

            runs.push(EarlierRun::open(name)?);
            seen.extend(found.map(|found| (name.as_str(), found)));
        }

        let runs = EarlierRuns(runs);
        runs.note_chains(manifest);
        Ok(runs)
    }

    /// One digest over the tables of all earlier runs that deduplication reads, 64 hex digits.
    /// `None` if the manifest names no earlier run.
    pub(super) fn digest(&self) -> Option<String> {
        let commits = self.0.iter().flat_map(|earlier| &earlier.commits);
        let keys: Vec<&str> = commits.map(|commit| commit.key.as_str()).collect();

        // A manifest without earlier runs has no digest, so its keys do not depend on this feature.
        (!keys.is_empty()).then(|| key::digest(&keys))
    }

    /// Refuses earlier runs whose signatures cannot be compared with those of this run.
    ///
    /// # Errors
    /// Exit 2 with the settings that differ.
    pub(super) fn check_signatures(&self, stages: &[AnyStage]) -> Result<()> {
        let signatures = stages
            .iter()
            .map(AnyStage::stage)
            .find(|stage| stage.name() == "signatures");
        let own = signatures.context("there is a stage signatures")?.config();

        for earlier in &self.0 {
            // Each file is checked. The settings of a file are a part of its key.
            let files = &earlier.commit("signatures").files;
            let settings = files.iter().filter_map(|file| file.parts.get("config"));
            for theirs in settings {
                let theirs: Value = serde_json::from_str(theirs)
                    .map_err(|error| earlier.refuse(format!("its signatures: {error}")))?;

                let different = differences(&theirs, &own);
                if different.is_empty() {
                    continue;
                }
                let list = |value: fn(&Difference) -> &Value| {
                    let settings = different
                        .iter()
                        .map(|setting| format!("{} = {}", setting.path, value(setting)));
                    settings.collect::<Vec<_>>().join(", ")
                };
                // One of the two looks for near-duplicates, and the other does not.
                let is_switch = |setting: &&Difference| setting.path == "near";
                let message = match different.iter().find(is_switch) {
                    Some(setting) if setting.one.is_null() => {
                        "it has no signatures of [dedup.near], which this manifest has".to_owned()
                    }
                    Some(_) => {
                        "it has signatures of [dedup.near], which this manifest does not have"
                            .to_owned()
                    }
                    None => format!(
                        "it has signatures of {}, this manifest asks for {}",
                        list(|setting| &setting.one),
                        list(|setting| &setting.other)
                    ),
                };
                let hint = "deduplicate both runs with the same settings";
                return Err(earlier.refuse(message).hint(hint).into());
            }
        }
        Ok(())
    }

    /// The name and the shards of each earlier run, in the order of the manifest.
    ///
    /// # Errors
    /// Exit 70 if a commit is damaged.
    pub(super) fn shards(&self) -> Result<Vec<(String, Shards)>> {
        let mut all = Vec::new();
        for earlier in &self.0 {
            // The numbers of rows come from the commit, so no data file is opened here.
            let rows = earlier.commit("documents").files.iter();
            let rows = rows.map(|file| file.rows);
            let shards = earlier.run.shard_files()?.into_iter().zip(rows).collect();
            all.push((earlier.name.clone(), shards));
        }
        Ok(all)
    }

    /// Says which runs the earlier runs were themselves compared with, unless this run is compared
    /// with them too. An earlier run does not hold the documents that it removed for such a run.
    fn note_chains(&self, manifest: &Manifest) {
        let named = manifest.dedup.earlier().iter();
        let known: Vec<_> = named
            .filter_map(|name| identity(Path::new(name)))
            .chain(identity(&manifest.run.dir))
            .collect();

        for EarlierRun { name, run, .. } in &self.0 {
            // Only a finished run has a copy of its manifest.
            let Ok(theirs) = run.manifest() else { continue };
            for further in theirs.dedup.earlier() {
                let found = identity(Path::new(further));
                if found.is_none_or(|found| !known.contains(&found)) {
                    terminal::say(&format!(
                        "curate: note: dedup.against: {name} was itself compared with {further}, whose documents \
                         are compared with this run only if dedup.against names it too"
                    ));
                }
            }
        }
    }
}

impl EarlierRun {
    /// Opens the earlier run `name`, and checks that all which deduplication reads is there.
    fn open(name: &str) -> Result<EarlierRun> {
        let run =
            RunDir::open_held(Path::new(name)).with_context(|| format!("dedup.against: {name}"))?;

        let mut earlier = EarlierRun {
            name: name.to_owned(),
            run,
            commits: Vec::new(),
        };
        for table in TABLES {
            let commit = earlier.committed(table)?;
            earlier.commits.push(commit);
        }
        Ok(earlier)
    }

    /// The valid commit of a stage.
    ///
    /// # Errors
    /// Exit 2 if the run has no such commit, if another version of the stage wrote the commit, or
    /// if a file of the commit is gone.
    fn committed(&self, stage: &str) -> Result<Commit> {
        let again = "run the manifest of the earlier run again; it may end with --until near_dedup";
        let commit = match self.run.commit(stage) {
            Ok(Some(commit)) => commit,
            Ok(None) => {
                let message = format!("stage {stage} has not run there, or its result is outdated");
                return Err(self.refuse(message).hint(again).into());
            }
            // The damage is in a run that the manifest names, not in this one.
            Err(error) => return Err(self.refuse(format!("{error:#}")).hint(again).into()),
        };

        if let Some(outdated) = self.run.outdated(commit.version, stage) {
            let message = format!("its table {stage}: {outdated}");
            return Err(self.refuse(message).hint(again).into());
        }

        // The digests are compared when the files are read.
        for file in &commit.files {
            let path = self.run.table(stage).join(&file.path);
            let is_there = fs::metadata(&path).is_ok_and(|found| found.len() == file.size);
            if !is_there {
                let message = format!("{} is not as it was committed", path.display());
                return Err(self.refuse(message).hint(again).into());
            }
        }
        Ok(commit)
    }

    /// The commit of a table of [`TABLES`].
    fn commit(&self, table: &str) -> &Commit {
        let at = TABLES.iter().position(|known| *known == table);
        &self.commits[at.expect("a table of TABLES")]
    }

    /// A refusal of this earlier run, exit 2.
    fn refuse(&self, why: String) -> Failure {
        let message = format!("dedup.against: {}: {why}", self.name);
        Failure::new(Exit::Usage, message)
    }
}

/// Device and inode of a directory. They are equal for all its spellings, links and mounts. `None`
/// if it does not exist.
fn identity(directory: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
