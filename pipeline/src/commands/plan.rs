//! `curate plan` prints which stages are cached, which shards are not, and which part of their key
//! changed. It asks the same questions as a run, but reads no input and writes nothing.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use curate_ingest::inputs::Unit;
use curate_schemas::Manifest;
use curate_schemas::commit::FileEntry;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_stages::AnyStage;
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use serde_json::Value;

use crate::driver::{
    Existing, Expected, InputState, Keys, expected, input_states, load_stages, number,
};
use crate::mixing::mixture_expected;

/// Prints what a run would do.
///
/// # Errors
/// The errors of a run: a missing input, a run directory of another run, a damaged commit.
pub fn print(manifest: &Manifest, out: &mut impl Write) -> Result<ExitCode> {
    let dir = &manifest.run.dir;
    RunDir::check_owner(dir, &manifest.run.name, false)?;

    // A plan must not create the directory that a first run would.
    let run = dir
        .join(".curate/run.json")
        .exists()
        .then(|| RunDir::open(dir))
        .transpose()?;
    let states = input_states(manifest, run.as_ref())?;
    // A plan refuses the same settings as a run.
    let loaded = load_stages(manifest, 1)?;

    let new: Vec<&Unit> = states
        .iter()
        .filter(|(_, state)| matches!(state, InputState::New))
        .map(|(unit, _)| unit)
        .collect();
    if !new.is_empty() {
        print_new(manifest, &new, out)?;
    }
    let Some(run) = run else {
        return Ok(ExitCode::SUCCESS);
    };
    let committed = run.commit(DOCUMENTS.name)?;
    if let Some(commit) = &committed
        && let Some(outdated) = run.outdated(commit.version, DOCUMENTS.name)
    {
        writeln!(out, "documents: {outdated}")?;
    }

    let mut documents = Vec::new();
    for (_, state) in &states {
        if let InputState::Committed(result) | InputState::Finished(result) = state {
            documents.extend(result.shards.iter().cloned());
        }
    }

    // Keys of later stages rest on committed documents, so the plan ends at units that are not.
    let unfinished = states
        .iter()
        .filter(|(_, state)| matches!(state, InputState::Finished(_)))
        .count();
    if unfinished > 0 {
        writeln!(
            out,
            "documents: {unfinished} units are read, but not committed"
        )?;
        return Ok(ExitCode::SUCCESS);
    }

    if new.is_empty() {
        writeln!(out, "documents: {} shards, cached", documents.len())?;
    }
    stages(manifest, &loaded, &run, &documents, new.is_empty(), out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the input files that a run would read, and the first five units by name.
fn print_new(manifest: &Manifest, new: &[&Unit], out: &mut impl Write) -> Result<()> {
    let files: usize = new.iter().map(|unit| unit.files.len()).sum();
    let bytes: u64 = new
        .iter()
        .flat_map(|unit| &unit.files)
        .map(|file| file.size)
        .sum();

    writeln!(
        out,
        "documents: {files} input files to read, {:.1} MB",
        bytes as f64 / 1e6
    )?;
    for unit in new.iter().take(5) {
        // A unit has at least one file, and the first names it.
        writeln!(
            out,
            "  {} (source {})",
            printable(&unit.files[0].relative),
            manifest.source[unit.source].name
        )?;
    }
    writeln!(
        out,
        "then every stage, for the shards that these files become; their keys depend on what is read"
    )?;
    Ok(())
}

/// Prints a line for each stage behind `documents`. `complete` is true if no input is new.
fn stages(
    manifest: &Manifest,
    loaded: &[AnyStage],
    run: &RunDir,
    documents: &[FileEntry],
    complete: bool,
    out: &mut impl Write,
) -> Result<()> {
    let mut keys: Keys = [(
        DOCUMENTS.name.to_owned(),
        documents.iter().map(|file| file.key.clone()).collect(),
    )]
    .into();

    for stage in loaded {
        let name = stage.stage().name();
        // The number of documents that arrive is that of the last run, until the stages before have
        // run again.
        let followed = run.commit(stage.stage().follows())?;
        let arriving = followed.map_or(0, |commit| commit.counts.docs.kept);
        let wanted = expected(stage, arriving, documents, &keys)?;
        let own = wanted.iter().filter(|file| file.table == name);
        keys.insert(name.to_owned(), own.map(|file| file.key.clone()).collect());

        // The key of such a stage holds the keys of all shards, and those of new ones are unknown.
        if matches!(stage, AnyStage::Corpus(_)) && !complete {
            writeln!(
                out,
                "{name}: {} shards to do: it looks at all shards, and there are new ones",
                documents.len()
            )?;
            continue;
        }
        line(run, name, &wanted, out)?;
    }

    // Mixtures, too, rest on all shards.
    if !complete {
        return Ok(());
    }
    let mut mixtures = vec![mixture_expected("buckets", None, manifest, &keys)?];
    for mixture in &manifest.mixture {
        for folder in ["mix", "mixture"] {
            mixtures.push(mixture_expected(
                &format!("{folder}/{}", mixture.name),
                Some(mixture),
                manifest,
                &keys,
            )?);
        }
    }
    for file in mixtures {
        let name = file.table.clone();
        line(run, &name, &[file], out)?;
    }
    Ok(())
}

/// Prints whether the files that `name` needs are cached, or else why one of them is not.
fn line(run: &RunDir, name: &str, wanted: &[Expected], out: &mut impl Write) -> Result<()> {
    let commit = run.commit(name)?.or_else(|| run.stale(name));
    let tables: Vec<&str> = wanted
        .iter()
        .map(|file| file.table.as_str())
        .filter(|table| *table != name)
        .collect();
    let existing = Existing::load(run, name, &tables)?;

    let files: Vec<&FileEntry> = commit
        .iter()
        .flat_map(|commit| commit.files.iter().chain(commit.tables.values().flatten()))
        .collect();
    let missing: Vec<&Expected> = wanted
        .iter()
        .filter(|file| existing.get(&file.key).is_none())
        .collect();
    if missing.is_empty() {
        writeln!(out, "{name}: {} shards, cached", wanted.len())?;
        return Ok(());
    }

    let outdated = commit
        .as_ref()
        .and_then(|commit| run.outdated(commit.version, name));

    // The reason is that of the first missing file with a predecessor in the last commit.
    let why = missing.iter().find_map(|file| {
        let former = files
            .iter()
            .find(|had| number(&had.path) == number(&file.path))?;
        let changes = changes(&former.parts, &file.parts);
        // An equal key without a usable file: the file is gone or has another size.
        Some(if changes.is_empty() {
            "a file is not as it was committed".to_owned()
        } else {
            changes.join("; ")
        })
    });
    let why = match outdated {
        Some(outdated) => outdated.to_string(),
        None => why.unwrap_or_else(|| "not done yet".to_owned()),
    };
    writeln!(
        out,
        "{name}: {} of {} shards to do: {why}",
        missing.len(),
        wanted.len()
    )?;
    Ok(())
}

/// Parts of a key by name, as [`Expected`] has them.
type Parts = std::collections::BTreeMap<String, String>;

/// The differences between two keys. A setting is named with both values, another part by its name.
fn changes(before: &Parts, after: &Parts) -> Vec<String> {
    let mut changes = Vec::new();
    for (name, value) in after {
        let former = before.get(name);
        if former == Some(value) {
            continue;
        }

        // Settings are JSON. The values of other parts, such as digests, tell a reader nothing.
        let values = former.and_then(|former| Some((parse(former)?, parse(value)?)));
        match values.filter(|_| name == "config") {
            Some((former, value)) => compare("", &former, &value, &mut changes),
            None => changes.push(format!("{name} changed")),
        }
    }

    changes.extend(
        before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .map(|name| format!("{name} is no longer a part of the key")),
    );
    changes
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// Adds each setting that differs between two JSON values, by its path.
fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<String>) {
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        let names: std::collections::BTreeSet<&String> =
            before.keys().chain(after.keys()).collect();
        for name in names {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            let value = |map: &serde_json::Map<String, Value>| {
                map.get(name).cloned().unwrap_or(Value::Null)
            };
            compare(&path, &value(before), &value(after), changes);
        }
    } else if before != after {
        changes.push(format!("{path} was {before}, is {after}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_setting_is_named_with_both_values() {
        let parts = |min_words: u32, tokenizer: &str| -> Parts {
            let config =
                format!(r#"{{"gopher_quality":{{"min_words":{min_words},"max_words":9}}}}"#);
            [
                ("config".to_owned(), config),
                ("tokenizer".to_owned(), tokenizer.to_owned()),
            ]
            .into()
        };

        assert_eq!(
            changes(&parts(50, "a"), &parts(80, "a")),
            ["gopher_quality.min_words was 50, is 80"]
        );
        assert_eq!(
            changes(&parts(50, "a"), &parts(50, "b")),
            ["tokenizer changed"]
        );
    }
}
