//! Runs the stage `documents`. New units are read, the shards of all units get their part numbers,
//! and the stage is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use curate_ingest::inputs::{Unit, find};
use curate_ingest::{Known, UnitResult, add_skipped, read_unit, unit_folder, unit_key};
use curate_schemas::Manifest;
use curate_schemas::commit::{Commit, Counts, FileEntry, Input};
use curate_schemas::stages::documents::{BYTE_ORDER_MARK, DOCUMENTS, LONE_SURROGATE};
use curate_store::run_dir::RunDir;
use curate_store::zip::file_digest;
use curate_store::{durable, interrupt, key, terminal};

use super::expect::number;
use super::{Contents, Driver, replaced};
use crate::progress::{Progress, Work};

const STAGE: &str = DOCUMENTS.name;
/// Name of the file that records a finished unit, in the folder of the unit.
const UNIT_FILE: &str = "unit.json";

/// The state of a unit before a run.
#[derive(Debug, Clone)]
pub enum InputState {
    /// The shards of the unit are committed.
    Committed(UnitResult),
    /// A run read the unit and stopped before the commit.
    Finished(UnitResult),
    /// The unit has to be read.
    New,
}

/// The state of each of the `units` of a manifest, in their order. Writes nothing and reads no input
/// file. Without a run directory every unit is new.
///
/// # Errors
/// Exit 70 for a damaged commit.
pub fn input_states(
    manifest: &Manifest,
    units: Vec<Unit>,
    run: Option<&RunDir>,
) -> Result<Vec<(Unit, InputState)>> {
    let Some(run) = run else {
        return Ok(units
            .into_iter()
            .map(|unit| (unit, InputState::New))
            .collect());
    };

    // The index of digests is saved only after a commit, so finished units bring their own digests.
    let finished_units = finished_units(run);
    let mut known = Known::load(run);
    finished_units
        .values()
        .for_each(|result| known.remember(result));
    let committed_units = run
        .commit(STAGE)?
        .map(|commit| by_unit(run, &commit))
        .unwrap_or_default();

    let mut states = Vec::with_capacity(units.len());
    for unit in units {
        // The key of a unit covers the digests of its files. Without them the unit has no key and
        // is new.
        let source = &manifest.source[unit.source];
        let key = known
            .inputs(&unit, &source.name)
            .map(|inputs| unit_key(&curate_ingest::config(manifest, source), &unit, &inputs));
        let committed = key.as_ref().and_then(|key| committed_units.get(key));
        let finished = key.as_ref().and_then(|key| finished_units.get(key));
        let state = match (committed, finished) {
            (Some(result), _) => InputState::Committed(result.clone()),
            (None, Some(result)) => InputState::Finished(result.clone()),
            (None, None) => InputState::New,
        };
        states.push((unit, state));
    }
    Ok(states)
}

/// The units of a commit, by key. A unit is left out if one of its files is missing or has another
/// size.
fn by_unit(run: &RunDir, commit: &Commit) -> BTreeMap<String, UnitResult> {
    let mut damaged = BTreeSet::new();
    let mut found: BTreeMap<String, UnitResult> = BTreeMap::new();

    // A unit without records has no file, but it was read all the same.
    for input in &commit.inputs {
        let result = found
            .entry(input.unit.clone())
            .or_insert_with(|| UnitResult::empty(&input.unit));
        add_skipped(&mut result.counts, std::slice::from_ref(input));
        result.inputs.push(input.clone());
    }

    let quarantine = commit.tables.get("quarantine").into_iter().flatten();
    let files = commit
        .files
        .iter()
        .map(|file| (STAGE, file))
        .chain(quarantine.map(|file| ("quarantine", file)));
    for (table, file) in files {
        let Some(key) = &file.unit else { continue };
        // The size is enough here: the digest is checked where the file is read.
        let is_there = fs::metadata(run.table(table).join(&file.path))
            .is_ok_and(|metadata| metadata.len() == file.size);
        if !is_there {
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

    // A unit is read as a whole, so one missing file costs all its files.
    found.retain(|key, _| !damaged.contains(key));
    found
}

/// The finished units that wait to be published, by key. Records that cannot be read and units with
/// missing files are left out, so those units are read again.
fn finished_units(run: &RunDir) -> BTreeMap<String, UnitResult> {
    let Ok(entries) = fs::read_dir(run.ingest()) else {
        return BTreeMap::new();
    };

    let texts = entries
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join(UNIT_FILE)).ok());
    let results = texts.filter_map(|text| serde_json::from_slice::<UnitResult>(&text).ok());
    results
        .filter(|result| is_whole(run, result))
        .map(|result| (result.key.clone(), result))
        .collect()
}

/// True if all files of a finished unit are in its folder with the recorded sizes.
fn is_whole(run: &RunDir, result: &UnitResult) -> bool {
    let folder = unit_folder(run, &result.key);
    let mut files = result.shards.iter().chain(&result.quarantine);
    files.all(|file| {
        fs::metadata(folder.join(&file.path)).is_ok_and(|metadata| metadata.len() == file.size)
    })
}

impl Driver {
    /// Brings `documents` up to date. Returns what was read, `None` if every unit was committed
    /// before. A file that was only touched is read, and its documents are those that are committed.
    ///
    /// # Errors
    /// Exit 1 if a source or the run lost more records than it may, 2 for a missing input. Else if
    /// reading or writing fails.
    pub(super) fn ingest(&self) -> Result<Option<Work>> {
        let units = find(&self.manifest)?.units;
        let states = input_states(&self.manifest, units, Some(&self.run))?;
        let current = self.run.commit(STAGE)?;
        let committed_units = current
            .as_ref()
            .map(|commit| by_unit(&self.run, commit))
            .unwrap_or_default();

        // Said before anything is read, so that there is time to stop.
        for sentence in replaced(&self.manifest, &self.run, &states)? {
            let root = self.run.root().display();
            terminal::say(&format!("curate: warning: {root}: {sentence}"));
        }

        let new = states
            .iter()
            .filter(|(_, state)| matches!(state, InputState::New))
            .count();
        let progress = Progress::start(STAGE, new);
        let results = self
            .engine
            .for_each(&states, |number, (unit, state)| match state {
                InputState::Committed(result) | InputState::Finished(result) => Ok(result.clone()),
                InputState::New => {
                    interrupt::check()?;
                    let result = self.read_new(unit, number)?;
                    progress.shard(
                        &unit.files[0].relative,
                        result.counts.docs.kept,
                        result.counts.bytes.kept,
                    );
                    Ok(result)
                }
            })?;

        let computed = results
            .iter()
            .any(|result| !committed_units.contains_key(&result.key));
        let contents = self.publish_units(&states, &results, current.as_ref())?;
        say_repairs(&contents.sources);
        let unchanged = current.is_some_and(|commit| {
            commit.files == contents.files
                && commit.tables == contents.tables
                && commit.inputs == contents.inputs
        });
        if !unchanged {
            self.commit(STAGE, DOCUMENTS.version, contents)?;
        }
        let work = computed.then(|| progress.finish());

        // Waiting units go after the index is saved, because their records hold the same digests.
        let mut known = Known::load(&self.run);
        results.iter().for_each(|result| known.remember(result));
        known.save(&self.run)?;
        let published = self.run.ingest();
        durable::remove_dir(&published)
            .with_context(|| format!("cannot delete {}", published.display()))?;

        self.judge_quarantine()?;
        Ok(work)
    }

    /// Reads a unit and leaves its files in the folder where finished units wait. `number` is the
    /// unit's place in the manifest, from 0.
    fn read_new(&self, unit: &Unit, number: usize) -> Result<UnitResult> {
        let staging = self.run.staging().join(format!("unit-{number}"));
        let result = read_unit(unit, &self.manifest, &staging)?;

        // The record is written into the folder before the folder gets its final name, so a waiting
        // unit always has one.
        self.run
            .write(&staging.join(UNIT_FILE), &serde_json::to_vec(&result)?)?;
        durable::sync_dir(&staging)
            .with_context(|| format!("cannot write {}", staging.display()))?;

        // No two units have equal files and settings, because the paths of a source are unique. A
        // folder that exists already is a leftover.
        let folder = unit_folder(&self.run, &result.key);
        durable::remove_dir(&folder)
            .with_context(|| format!("cannot replace {}", folder.display()))?;
        self.run.publish(&staging, &folder)?;
        Ok(result)
    }

    /// Gives every shard its final name, and makes the contents of the commit. Committed shards
    /// keep their names. New shards get the numbers after the highest one.
    fn publish_units(
        &self,
        states: &[(Unit, InputState)],
        results: &[UnitResult],
        current: Option<&Commit>,
    ) -> Result<Contents> {
        let mut contents = Contents::default();
        contents.tables.insert("quarantine".to_owned(), Vec::new());

        // A shard that is read again because its file was lost gets its former name.
        let former: BTreeMap<&str, &str> = current
            .iter()
            .flat_map(|commit| &commit.files)
            .map(|file| (file.key.as_str(), file.path.as_str()))
            .collect();
        let mut next = first_new_number(&former, results);

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
                    // The key has 64 hex digits. The name has no part number, because a quarantine
                    // file belongs to a unit and not to a shard.
                    entry.path =
                        format!("part-{}.parquet", entry.key.get(..16).unwrap_or(&entry.key));
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

    /// Gives a file of a unit its final name, `name` in the folder of `table`. The waiting file
    /// stays until the commit, because the next run may number the shards anew if this one is
    /// interrupted.
    ///
    /// A file is trusted if this process wrote it (`is_new`) or has just compared its digest. The
    /// digest of any other file is checked where the file is read.
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

        // A link costs no space. The fallback is a copy, because not every file system has links.
        let staged = self.run.staging().join(name);
        if durable::hard_link(&waiting, &staged).is_err() {
            // The link may exist although an error was returned. A copy onto it would overwrite the
            // waiting file.
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
}

/// Logs how many documents of each source were repaired while they were read.
fn say_repairs(sources: &BTreeMap<String, Counts>) {
    for (source, counts) in sources {
        for (kind, n) in &counts.repaired {
            let repair = match kind.as_str() {
                BYTE_ORDER_MARK => "a byte order mark was removed",
                LONE_SURROGATE => "a lone surrogate became U+FFFD",
                other => other,
            };
            let kept = counts.docs.kept;
            terminal::say(&format!(
                "curate: source \"{source}\": {repair} in {n} of {kept} documents"
            ));
        }
    }
}

/// The number of the first new shard. It is one above the highest number of the `former` shards,
/// which are paths by key. It is 0 if `results` keeps no former shard, as in a first run.
fn first_new_number(former: &BTreeMap<&str, &str>, results: &[UnitResult]) -> u32 {
    let mut wanted = results.iter().flat_map(|result| &result.shards);
    if !wanted.any(|file| former.contains_key(file.key.as_str())) {
        return 0;
    }

    former
        .values()
        .filter_map(|path| number(path).parse::<u32>().ok())
        .max()
        .map_or(0, |highest| highest + 1)
}

/// True if `path` holds the file of an entry, by size and digest. The size is compared first,
/// because the digest reads the whole file.
fn is_file(path: &Path, file: &FileEntry) -> Result<bool> {
    if !fs::metadata(path).is_ok_and(|metadata| metadata.len() == file.size) {
        return Ok(false);
    }
    Ok(file_digest(path)? == file.digest)
}
