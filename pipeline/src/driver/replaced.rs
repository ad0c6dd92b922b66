//! The documents of a run directory that a changed manifest replaces. Two manifests may write to one
//! directory under one run name, so this is said before it happens.

use std::collections::BTreeSet;

use anyhow::Result;
use curate_formats::numbers::counted;
use curate_ingest::inputs::Unit;
use curate_schemas::Manifest;
use curate_schemas::commit::Commit;
use curate_schemas::stages::documents::{DOCUMENTS, Source};
use curate_store::run_dir::RunDir;

use super::InputState;

/// A sentence for each source of which committed documents leave the run: the manifest lacks the
/// source, or the source no longer reads a path. `states` are those of the manifest's units.
///
/// # Errors
/// If the commit of `documents` is damaged.
pub fn replaced(
    manifest: &Manifest,
    run: &RunDir,
    states: &[(Unit, InputState)],
) -> Result<Vec<String>> {
    let Some(commit) = run.commit(DOCUMENTS.name)? else {
        return Ok(Vec::new());
    };

    // Only a run that has finished left a copy of its manifest.
    let former = run.manifest().map(|former| former.source);
    let former = former.unwrap_or_default();
    let had: Vec<&str> = commit.sources.keys().map(String::as_str).collect();
    let has: Vec<&str> = manifest
        .source
        .iter()
        .map(|own| own.name.as_str())
        .collect();

    let mut sentences = Vec::new();
    for (name, counts) in &commit.sources {
        let documents = counts.docs.kept;
        let Some(at) = manifest.source.iter().position(|own| own.name == *name) else {
            sentences.push(format!(
                "the {documents} documents of source {name} leave the run, because this manifest \
                 has no such source (sources: {} → {})",
                had.join(", "),
                has.join(", ")
            ));
            continue;
        };

        let before = former.iter().find(|former| former.name == *name);
        sentences.extend(before.and_then(|before| changed(before, at, manifest, &commit, states)));
    }
    Ok(sentences)
}

/// A sentence for a source that no longer reads a path of `before`, the source in the last run.
/// `at` is the number of the source in the manifest. `None` if no document leaves the run.
fn changed(
    before: &Source,
    at: usize,
    manifest: &Manifest,
    commit: &Commit,
    states: &[(Unit, InputState)],
) -> Option<String> {
    // Files that vanished from a path that is still read are no matter of the manifest.
    let (name, paths) = (&before.name, &manifest.source[at].path);
    let mut dropped = before.path.clone();
    dropped.retain(|path| !paths.contains(path));
    if dropped.is_empty() {
        return None;
    }

    // The paths of files are relative to the source's fixed prefix, so another prefix leaves no
    // file in its place.
    let own = || states.iter().filter(|(unit, _)| unit.source == at);
    let files = own().flat_map(|(unit, _)| &unit.files);
    let read: BTreeSet<&str> = files.map(|file| file.relative.as_str()).collect();
    let inputs = commit.inputs.iter().filter(|input| input.source == *name);
    let (stay, leave): (Vec<_>, Vec<_>) =
        inputs.partition(|input| read.contains(input.path.as_str()));

    // A source of which anything stays was changed, not replaced. A file of another folder may have
    // the path of a former one.
    let is_committed = own().any(|(_, state)| matches!(state, InputState::Committed(_)));
    if stay.is_empty() || !is_committed && dropped.len() == before.path.len() {
        let documents = commit.sources.get(name).map_or(0, |own| own.docs.kept);
        return Some(format!(
            "the {documents} documents of source {name} are replaced, because the source reads {}, \
             not {}",
            paths.join(", "),
            before.path.join(", ")
        ));
    }
    (!leave.is_empty()).then(|| {
        format!(
            "the documents of {} of source {name} leave the run, because the source no longer \
             reads {}",
            counted(leave.len() as u64, "file"),
            dropped.join(", ")
        )
    })
}
