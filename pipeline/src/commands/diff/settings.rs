//! The settings of two runs that differ: parts of the keys of their stages, and their input files.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use curate_schemas::commit::Commit;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::tables;
use curate_store::run_dir::RunDir;
use serde_json::Value;

use crate::driver::{Difference, differences, sources_of_shards};

/// A setting, or another part of a key, that differs.
pub(super) struct Setting {
    /// Path of the setting in the key; the name of another part.
    pub path: String,
    /// Both values. Null for a part whose value tells nobody anything, such as a digest.
    pub values: [Value; 2],
}

impl Setting {
    fn new(path: impl Into<String>, one: Value, other: Value) -> Setting {
        Setting {
            path: path.into(),
            values: [one, other],
        }
    }
}

/// The parts of the keys that differ, by stage. Stages without a difference are left out.
///
/// # Errors
/// If a commit cannot be read.
pub(super) fn settings(runs: &[RunDir; 2]) -> Result<Vec<(String, Vec<Setting>)>> {
    let mut folders = runs[0].folders()?;
    for folder in runs[1].folders()? {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }

    let mut all = Vec::new();
    for folder in folders {
        let found = match (runs[0].commit(&folder)?, runs[1].commit(&folder)?) {
            (None, None) => continue,
            (Some(one), Some(other)) if folder == DOCUMENTS.name => documents(&one, &other)?,
            (Some(one), Some(other)) => {
                let parts = |commit: &Commit| {
                    commit
                        .files
                        .first()
                        .map(|file| file.parts.clone())
                        .unwrap_or_default()
                };
                let mut found = parts_that_differ(&parts(&one), &parts(&other));
                if one.version != other.version {
                    let versions = [one.version, other.version].map(Value::from);
                    let [one, other] = versions;
                    found.insert(0, Setting::new("version of the stage", one, other));
                }
                found
            }
            (one, other) => {
                let is_there = |commit: &Option<Commit>| Value::from(commit.is_some());
                vec![Setting::new("committed", is_there(&one), is_there(&other))]
            }
        };
        if !found.is_empty() {
            all.push((folder, found));
        }
    }
    Ok(all)
}

/// Parts of a key by name.
type Parts = BTreeMap<String, String>;

/// The settings and the resources that differ between the keys of two files of a stage.
fn parts_that_differ(one: &Parts, other: &Parts) -> Vec<Setting> {
    let mut found = Vec::new();
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for name in names {
        // Keys of other tables differ with the settings of their own stages.
        let is_input =
            tables::table(name).is_some() || ["corpus", "shard"].contains(&name.as_str());
        let (before, after) = (one.get(name), other.get(name));
        if is_input || before == after {
            continue;
        }

        let parse = |text: Option<&String>| -> Value {
            let value = text.and_then(|text| serde_json::from_str(text).ok());
            value.unwrap_or_default()
        };
        if name == "config" {
            let differences = differences(&parse(before), &parse(after)).into_iter();
            found.extend(
                differences.map(|Difference { path, one, other }| Setting::new(path, one, other)),
            );
        } else {
            found.push(Setting::new(name.as_str(), Value::Null, Value::Null));
        }
    }
    found
}

/// The settings of sources that differ, and their input files.
fn documents(one: &Commit, other: &Commit) -> Result<Vec<Setting>> {
    let mut found = Vec::new();

    // All shards of a source were read with the same settings.
    let by_source = |commit: &Commit| -> Result<BTreeMap<String, Parts>> {
        let sources = sources_of_shards(commit)?.into_iter().map(str::to_owned);
        let parts = commit.files.iter().map(|file| file.parts.clone());
        Ok(sources.zip(parts).collect())
    };
    let (before, after) = (by_source(one)?, by_source(other)?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) => {
                let mut parts = [before.clone(), after.clone()];
                // What was read is compared below, file by file.
                parts
                    .iter_mut()
                    .for_each(|parts| parts.retain(|part, _| part == "config"));
                let [before, after] = parts;
                let own = parts_that_differ(&before, &after).into_iter();
                found.extend(own.map(|setting| Setting {
                    path: format!("source {name}: {}", setting.path),
                    ..setting
                }));
            }
            (before, after) => found.push(Setting::new(
                format!("source {name}"),
                before.is_some().into(),
                after.is_some().into(),
            )),
        }
    }

    let inputs = |commit: &Commit| -> BTreeMap<(String, String), String> {
        let inputs = commit.inputs.iter();
        inputs
            .map(|input| {
                (
                    (input.source.clone(), input.path.clone()),
                    input.digest.clone(),
                )
            })
            .collect()
    };
    let (before, after) = (inputs(one), inputs(other));
    let names: BTreeSet<&(String, String)> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (digest, other) = (before.get(name), after.get(name));
        if digest != other {
            let value = |digest: Option<&String>| -> Value {
                let first = digest.map(|digest| digest.chars().take(8).collect::<String>());
                first.into()
            };
            let path = format!("input {} of {}", name.1, name.0);
            found.push(Setting::new(path, value(digest), value(other)));
        }
    }
    Ok(found)
}
