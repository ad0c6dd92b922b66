//! Earlier runs that duplicates are looked for in, as `dedup.against` names them. They are read,
//! never changed.

use std::path::Path;

use anyhow::{Context, Result};
use curate_schemas::Manifest;
use curate_schemas::commit::Commit;
use curate_stages::AnyStage;
use curate_store::failure::{Exit, Failure};
use curate_store::key;
use curate_store::run_dir::RunDir;

use crate::driver::engine::Shards;

/// What deduplication reads of a run.
const TABLES: [&str; 4] = ["documents", "signals", "signatures", "near_dedup"];

/// One digest over what the earlier runs hold; `None` if the manifest names none.
///
/// # Errors
/// Exit 2 if one of them is no run directory or lacks a stage.
pub(super) fn digest(manifest: &Manifest) -> Result<Option<String>> {
    let mut keys = Vec::new();
    for name in manifest.dedup.earlier() {
        let run = open(name)?;
        for table in TABLES {
            keys.push(committed(&run, name, table)?.key);
        }
    }
    Ok((!keys.is_empty())
        .then(|| key::digest(&keys.iter().map(String::as_str).collect::<Vec<_>>())))
}

/// Refuses earlier runs whose signatures cannot be compared with those of this one.
///
/// # Errors
/// Exit 2 with the settings of both.
pub(super) fn check(manifest: &Manifest, stages: &[AnyStage]) -> Result<()> {
    let signatures = stages
        .iter()
        .map(AnyStage::stage)
        .find(|stage| stage.name() == "signatures");
    let signatures = signatures.context("there is a stage signatures")?;
    let own = signatures.config().to_string();
    for name in manifest.dedup.earlier() {
        let commit = committed(&open(name)?, name, "signatures")?;
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
                .hint("run it again with this program")
                .into());
        }
    }
    Ok(())
}

/// The shards of each earlier run, with its name.
///
/// # Errors
/// If one of them cannot be read.
pub(super) fn shards(manifest: &Manifest) -> Result<Vec<(String, Shards)>> {
    let of_run = |name: &String| {
        let run = open(name)?;
        let rows = committed(&run, name, "documents")?
            .files
            .into_iter()
            .map(|file| file.rows);
        Ok((
            name.clone(),
            run.shard_files()?.into_iter().zip(rows).collect(),
        ))
    };
    manifest.dedup.earlier().iter().map(of_run).collect()
}

fn open(name: &str) -> Result<RunDir> {
    RunDir::open(Path::new(name)).with_context(|| format!("dedup.against: {name}"))
}

fn committed(run: &RunDir, name: &str, stage: &str) -> Result<Commit> {
    let missing = || {
        Failure::new(
            Exit::Usage,
            format!("dedup.against: stage {stage} has not run in {name}"),
        )
    };
    Ok(run.commit(stage)?.ok_or_else(missing)?)
}
