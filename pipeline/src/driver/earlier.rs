//! The earlier runs that `dedup.against` names. Documents of this run are compared with the
//! documents that those runs kept. Earlier runs are read and never changed.

use std::path::Path;

use anyhow::{Context, Result};
use curate_schemas::Manifest;
use curate_schemas::commit::Commit;
use curate_stages::AnyStage;
use curate_store::failure::{Exit, Failure};
use curate_store::key;
use curate_store::run_dir::RunDir;

use crate::driver::engine::Shards;

/// The tables that deduplication reads of an earlier run.
const TABLES: [&str; 4] = ["documents", "signals", "signatures", "near_dedup"];

/// One digest over the tables of all earlier runs that deduplication reads, 64 hex digits. `None`
/// if the manifest names no earlier run.
///
/// # Errors
/// Exit 2 if an earlier run is not a run directory or lacks a stage.
pub(super) fn digest(manifest: &Manifest) -> Result<Option<String>> {
    let mut keys = Vec::new();
    for name in manifest.dedup.earlier() {
        let run = open(name)?;
        for table in TABLES {
            keys.push(committed(&run, name, table)?.key);
        }
    }

    // A manifest without earlier runs has no digest, so its keys do not depend on this feature.
    Ok((!keys.is_empty())
        .then(|| key::digest(&keys.iter().map(String::as_str).collect::<Vec<_>>())))
}

/// Refuses earlier runs whose signatures cannot be compared with those of this run.
///
/// # Errors
/// Exit 2 with the settings, or the versions, of both runs.
pub(super) fn check(manifest: &Manifest, stages: &[AnyStage]) -> Result<()> {
    let signatures = stages
        .iter()
        .map(AnyStage::stage)
        .find(|stage| stage.name() == "signatures");
    let signatures = signatures.context("there is a stage signatures")?;
    let own = signatures.config().to_string();

    for name in manifest.dedup.earlier() {
        let commit = committed(&open(name)?, name, "signatures")?;

        // Each file is checked. The settings of a file are a part of its key.
        let settings = commit
            .files
            .iter()
            .filter_map(|file| file.parts.get("config"));
        if let Some(theirs) = settings.into_iter().find(|theirs| **theirs != own) {
            let message = format!(
                "dedup.against: {name} has signatures of {theirs}, this manifest asks for {own}"
            );
            return Err(Failure::new(Exit::Usage, message).into());
        }

        if commit.version != signatures.spec().version {
            let (theirs, own) = (commit.version, signatures.spec().version);
            let message = format!(
                "dedup.against: {name} has signatures of version {theirs}, this program makes {own}"
            );
            return Err(Failure::new(Exit::Usage, message)
                .hint("run the earlier run again with this program")
                .into());
        }
    }
    Ok(())
}

/// The name and the shards of each earlier run, in the order of the manifest.
///
/// # Errors
/// Exit 2 if an earlier run is not a run directory or has no documents; 70 if a commit is damaged.
pub(super) fn shards(manifest: &Manifest) -> Result<Vec<(String, Shards)>> {
    let mut all = Vec::new();
    for name in manifest.dedup.earlier() {
        let run = open(name)?;
        let documents = committed(&run, name, "documents")?;

        // The numbers of rows come from the commit, so no data file is opened here.
        let rows = documents.files.into_iter().map(|file| file.rows);
        let shards = run.shard_files()?.into_iter().zip(rows).collect();
        all.push((name.clone(), shards));
    }
    Ok(all)
}

/// Opens an earlier run for reading. `name` is its directory, as written in the manifest.
fn open(name: &str) -> Result<RunDir> {
    RunDir::open(Path::new(name)).with_context(|| format!("dedup.against: {name}"))
}

/// The commit of a stage of the earlier run `name`. A missing one is the manifest's fault: exit 2.
fn committed(run: &RunDir, name: &str, stage: &str) -> Result<Commit> {
    let Some(commit) = run.commit(stage)? else {
        let message = format!("dedup.against: stage {stage} has not run in {name}");
        return Err(Failure::new(Exit::Usage, message).into());
    };
    Ok(commit)
}
