//! Runs the stage `documents`: reads the units that are new, publishes all shards under their
//! numbers, commits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use arrow::array::AsArray;
use curate_ingest::inputs::{Unit, units};
use curate_ingest::{Known, UnitResult, read_unit, unit_folder, unit_key};
use curate_schemas::Manifest;
use curate_schemas::commit::{Commit, Counts, FileEntry, Input};
use curate_schemas::stages::documents::DOCUMENTS;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::zip::{Part, Zip, file_digest};
use curate_store::{durable, interrupt, key, terminal};

use super::expect::number;
use super::{Contents, Driver};
use crate::progress::Progress;
use ::curate_ingest;

const STAGE: &str = DOCUMENTS.name;
const UNIT_FILE: &str = "unit.json";

/// What is known of a unit before it is read.
#[derive(Debug, Clone)]
pub enum InputState {
    /// Its shards are committed.
    Committed(UnitResult),
    /// It was read by a run that did not get to its commit.
    Finished(UnitResult),
    /// It has to be read.
    New,
}

/// The state of each unit of a manifest: nothing is written, no input is read.
///
/// # Errors
/// Exit 2 for a missing input; 70 for a damaged commit.
pub fn input_states(manifest: &Manifest, run: Option<&RunDir>) -> Result<Vec<(Unit, InputState)>> {
    let units = units(manifest)?;
    let Some(run) = run else {
        return Ok(units
            .into_iter()
            .map(|unit| (unit, InputState::New))
            .collect());
    };
    let finished = finished_units(run);
    let mut known = Known::load(run);
    finished.values().for_each(|result| known.remember(result));
    let by_unit = run
        .commit(STAGE)?
        .map(|commit| by_unit(run, &commit))
        .unwrap_or_default();
    let state = |unit: &Unit| {
        let source = &manifest.source[unit.source];
        let Some(inputs) = known.inputs(unit, &source.name) else {
            return InputState::New;
        };
        let key = unit_key(&curate_ingest::config(manifest, source), unit, &inputs);
        if let Some(result) = by_unit.get(&key) {
            return InputState::Committed(result.clone());
        }
        finished
            .get(&key)
            .cloned()
            .map_or(InputState::New, InputState::Finished)
    };
    Ok(units
        .into_iter()
        .map(|unit| (unit.clone(), state(&unit)))
        .collect())
}

/// Units whose files are all in the commit and there, by key.
fn by_unit(run: &RunDir, commit: &Commit) -> BTreeMap<String, UnitResult> {
    let is_there = |table: &str, file: &FileEntry| {
        fs::metadata(run.table(table).join(&file.path))
            .is_ok_and(|metadata| metadata.len() == file.size)
    };
    let mut damaged = BTreeSet::new();
    let mut found: BTreeMap<String, UnitResult> = BTreeMap::new();
    let quarantine = commit.tables.get("quarantine").into_iter().flatten();
    let files = commit
        .files
        .iter()
        .map(|file| (STAGE, file))
        .chain(quarantine.map(|file| ("quarantine", file)));
    // A unit without a record has no file, but it was read all the same.
    for input in &commit.inputs {
        let result = found
            .entry(input.unit.clone())
            .or_insert_with(|| UnitResult::empty(&input.unit));
        result.inputs.push(input.clone());
    }
    for (table, file) in files {
        let Some(key) = &file.unit else { continue };
        if !is_there(table, file) {
            damaged.insert(key.clone());
        }
        let result = found
            .entry(key.clone())
            .or_insert_with(|| UnitResult::empty(key));
        result
            .counts
            .add(file.counts.as_ref().unwrap_or(&Counts::default()));
        match table {
            STAGE => result.shards.push(file.clone()),
            _ => result.quarantine = Some(file.clone()),
        }
    }
    found.retain(|key, _| !damaged.contains(key));
    found
}

/// Units that wait to be published, by key.
fn finished_units(run: &RunDir) -> BTreeMap<String, UnitResult> {
    let Ok(entries) = fs::read_dir(run.ingest()) else {
        return BTreeMap::new();
    };
    let texts = entries
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join(UNIT_FILE)).ok());
    let results = texts.filter_map(|text| serde_json::from_slice::<UnitResult>(&text).ok());
    let is_whole = |result: &UnitResult| {
        let folder = unit_folder(run, &result.key);
        let size = |file: &FileEntry| {
            fs::metadata(folder.join(&file.path))
                .map(|metadata| metadata.len())
                .ok()
        };
        result
            .shards
            .iter()
            .chain(&result.quarantine)
            .all(|file| size(file) == Some(file.size))
    };
    results
        .filter(is_whole)
        .map(|result| (result.key.clone(), result))
        .collect()
}

impl Driver {
    /// Brings `documents` up to date; says whether anything was read.
    pub(super) fn ingest(&self) -> Result<bool> {
        let states = input_states(&self.manifest, Some(&self.run))?;
        let current = self.run.commit(STAGE)?;
        let new = states
            .iter()
            .filter(|(_, state)| matches!(state, InputState::New))
            .count();
        let progress = Progress::start(STAGE, new);
        let known = Mutex::new(Known::load(&self.run));
        let results = self
            .engine
            .for_each(&states, |number, (unit, state)| match state {
                InputState::Committed(result) | InputState::Finished(result) => Ok(result.clone()),
                InputState::New => {
                    interrupt::check()?;
                    let result = self.read_new(unit, number)?;
                    known
                        .lock()
                        .expect("no thread panics while it holds this")
                        .remember(&result);
                    progress.shard(
                        &unit.files[0].relative,
                        result.counts.docs.kept,
                        result.counts.bytes.kept,
                    );
                    Ok(result)
                }
            })?;
        let mut known = known
            .into_inner()
            .expect("no thread panics while it holds this");
        results.iter().for_each(|result| known.remember(result));
        let contents = self.publish_units(&states, &results, current.as_ref())?;
        let unchanged = current.is_some_and(|commit| {
            commit.files == contents.files
                && commit.tables == contents.tables
                && commit.inputs == contents.inputs
        });
        if !unchanged {
            self.commit(STAGE, DOCUMENTS.version, contents)?;
            progress.finish();
        }
        known.save(&self.run)?;
        let published = self.run.ingest();
        durable::remove_dir(&published)
            .with_context(|| format!("cannot delete {}", published.display()))?;
        self.check_quarantine(&results)?;
        Ok(!unchanged)
    }

    fn read_new(&self, unit: &Unit, number: usize) -> Result<UnitResult> {
        let staging = self.run.staging().join(format!("unit-{number}"));
        let result = read_unit(unit, &self.manifest, &staging)?;
        self.run
            .write(&staging.join(UNIT_FILE), &serde_json::to_vec(&result)?)?;
        durable::sync_dir(&staging)
            .with_context(|| format!("cannot write {}", staging.display()))?;
        let folder = unit_folder(&self.run, &result.key);
        // Two units of equal files and settings cannot be, a source's paths are unique: one that is
        // there is a leftover.
        durable::remove_dir(&folder)
            .with_context(|| format!("cannot replace {}", folder.display()))?;
        self.run.publish(&staging, &folder)?;
        Ok(result)
    }

    /// Gives every shard its final name. Shards that are committed keep theirs; new ones are
    /// numbered on from the highest.
    fn publish_units(
        &self,
        states: &[(Unit, InputState)],
        results: &[UnitResult],
        current: Option<&Commit>,
    ) -> Result<Contents> {
        let mut contents = Contents::default();
        contents.tables.insert("quarantine".to_owned(), Vec::new());
        // A shard that is read again, because its file was lost, gets its former name.
        let former: BTreeMap<&str, &str> = current
            .iter()
            .flat_map(|commit| &commit.files)
            .map(|file| (file.key.as_str(), file.path.as_str()))
            .collect();
        let numbers = former
            .values()
            .filter_map(|path| number(path).parse::<u32>().ok());
        let wanted: BTreeSet<&str> = results
            .iter()
            .flat_map(|result| &result.shards)
            .map(|file| file.key.as_str())
            .collect();
        let none_kept = !former.keys().any(|key| wanted.contains(key));
        let mut next = if none_kept {
            0
        } else {
            numbers.max().map_or(0, |highest| highest + 1)
        };
        for ((unit, state), result) in states.iter().zip(results) {
            let published = matches!(state, InputState::Committed(_));
            let is_new = matches!(state, InputState::New);
            for shard in &result.shards {
                let mut entry = shard.clone();
                if !published {
                    entry.path = match former.get(entry.key.as_str()) {
                        Some(path) => (*path).to_owned(),
                        None => {
                            next += 1;
                            format!("part-{:05}-{}.parquet", next - 1, key::short(&entry.key))
                        }
                    };
                    self.publish_shard(result, shard, STAGE, &entry.path, is_new)?;
                }
                contents.files.push(entry);
            }
            if let Some(quarantine) = &result.quarantine {
                let mut entry = quarantine.clone();
                if !published {
                    entry.path = format!("part-{}.parquet", &entry.key[..16]);
                    self.publish_shard(result, quarantine, "quarantine", &entry.path, is_new)?;
                }
                contents
                    .tables
                    .entry("quarantine".to_owned())
                    .or_default()
                    .push(entry);
            }
            let source = &self.manifest.source[unit.source].name;
            contents
                .sources
                .entry(source.clone())
                .or_default()
                .add(&result.counts);
            contents.inputs.extend(result.inputs.iter().cloned());
        }
        contents
            .inputs
            .sort_by(|a: &Input, b: &Input| (&a.source, &a.path).cmp(&(&b.source, &b.path)));
        Ok(contents)
    }

    /// Gives a shard its final name. The waiting file stays until the commit: an interrupted run
    /// may have to number anew. One that this process did not write is not trusted: its digest is
    /// checked where it is read.
    fn publish_shard(
        &self,
        unit: &UnitResult,
        file: &FileEntry,
        table: &str,
        name: &str,
        is_new: bool,
    ) -> Result<()> {
        let waiting = unit_folder(&self.run, &unit.key).join(&file.path);
        let path = self.run.table(table).join(name);
        if is_file(&path, file)? {
            self.run.reading().trust(&path);
            return Ok(());
        }
        let staged = self.run.staging().join(name);
        // Not every file system has second names.
        if durable::hard_link(&waiting, &staged).is_err() {
            // A link that was made although an error was returned must not be written through.
            durable::remove(&staged)
                .with_context(|| format!("cannot replace {}", staged.display()))?;
            durable::copy(&waiting, &staged).with_context(|| {
                format!("cannot copy {} to {}", waiting.display(), staged.display())
            })?;
        }
        self.run.publish(&staged, &path)?;
        if is_new {
            self.run.reading().trust(&path);
        }
        Ok(())
    }

    /// Stops a run that is mostly garbage. What was set aside is committed by now, so that it can
    /// be looked at.
    fn check_quarantine(&self, results: &[UnitResult]) -> Result<()> {
        let mut counts = Counts::default();
        results.iter().for_each(|result| counts.add(&result.counts));
        let (records, bad) = (counts.docs.arrived, counts.docs.quarantined);
        if bad == 0 {
            return Ok(());
        }
        let first = match results
            .iter()
            .find_map(|result| result.first_damage.clone())
        {
            Some(first) => first,
            None => self.first_damage()?,
        };
        let allowed = self.manifest.run.max_quarantine_ratio;
        if bad as f64 > allowed * records as f64 {
            let message = format!(
                "{bad} of {records} records could not be read, more than run.max_quarantine_ratio = {allowed} allows; the \
                 first: {first}"
            );
            let hint = format!("see the table quarantine in {}", self.run.root().display());
            return Err(Failure::new(Exit::No, message).hint(hint).into());
        }
        terminal::say(&format!(
            "curate: warning: {bad} of {records} records are in quarantine; the first: {first}"
        ));
        Ok(())
    }

    /// The first row of the quarantine, for messages of runs that read nothing themselves.
    fn first_damage(&self) -> Result<String> {
        let commit = self.committed(STAGE)?;
        let Some(file) = commit
            .tables
            .get("quarantine")
            .and_then(|files| files.first())
        else {
            return Ok("unknown".to_owned());
        };
        let columns = ["path", "reason", "detail"];
        let part = Part::of(self.run.stored("quarantine", file), &columns);
        let batch = Zip::open(&[part])?
            .next()
            .context("a quarantine file has rows")??;
        let text = |column: usize| batch.column(column).as_string::<i32>().value(0).to_owned();
        Ok(format!("{}: {}: {}", text(0), text(1), text(2)))
    }
}

/// Whether the file at `path` is the one that was written: its size and its bytes.
fn is_file(path: &Path, file: &FileEntry) -> Result<bool> {
    if !fs::metadata(path).is_ok_and(|metadata| metadata.len() == file.size) {
        return Ok(false);
    }
    Ok(file_digest(path)? == file.digest)
}
