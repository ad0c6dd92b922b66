//! The documents of a run directory that a changed manifest replaces. Two manifests may write to one
//! directory under one run name, so this is said before it happens.

use anyhow::Result;
use curate_ingest::inputs::Unit;
use curate_schemas::Manifest;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_store::run_dir::RunDir;

use super::InputState;

/// A sentence for each source whose committed documents leave the run: the manifest does not have
/// the source, or the source reads other paths. `states` are those of the manifest's units.
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

        // A source of which anything stays was changed, not replaced.
        let paths = &manifest.source[at].path;
        let stays = states
            .iter()
            .any(|(unit, state)| unit.source == at && matches!(state, InputState::Committed(_)));
        let Some(before) = former.iter().find(|former| former.name == *name) else {
            continue;
        };
        if !stays && before.path.iter().all(|path| !paths.contains(path)) {
            sentences.push(format!(
                "the {documents} documents of source {name} are replaced, because the source reads \
                 {}, not {}",
                paths.join(", "),
                before.path.join(", ")
            ));
        }
    }
    Ok(sentences)
}
