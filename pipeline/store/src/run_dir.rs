//! The run directory: where files lie, how a file becomes durable, and who holds the lock.
//!
//! Commit protocol: write a file in `.curate/staging`, fsync it, rename it to its final name, and
//! fsync the folder. A stage consists of the files that its `_commit.json` names. No file is
//! deleted before its replacement is durable.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use curate_schemas::commit::{Commit, FORMAT, FileEntry};
use curate_schemas::spec::{Scope, StageSpec};
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::stages::mixtures::BUCKETS;
use curate_schemas::stages::{STAGES, aligned, stage_of_table};
use curate_schemas::times::Times;
use curate_schemas::{Manifest, tables};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::failure::{Exit, Failure};
use crate::terminal;
use crate::zip::{Reading, file_digest};

/// File name of a stage's commit.
pub const COMMIT: &str = "_commit.json";
/// File name of a commit that is no longer valid. The files that it names may still be reused.
pub const STALE: &str = "_stale.json";

/// The files of one shard, by table.
pub type ShardFiles = BTreeMap<String, Stored>;

/// A file of a run directory, and how to read it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Path of the file.
    pub path: PathBuf,
    /// The blake3 of the file when it was committed, 64 hex digits. `None` if the reader checks the
    /// file by other means, or not at all.
    pub digest: Option<String>,
    /// True if the digest is checked only where text is read.
    pub is_checked_with_text: bool,
    /// Why this program cannot read the columns of the file: another version of its stage wrote
    /// it.
    pub outdated: Option<Outdated>,
    /// The way in which files of the run directory are read.
    pub reading: Arc<Reading>,
}

/// A stage whose committed files another version of its code wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outdated {
    /// Name of the stage.
    pub stage: &'static str,
    /// The version that wrote the files.
    pub written_by: u32,
    /// The version that this program has.
    pub own: u32,
    /// The release of curate that last wrote into the run directory, where it is known and is
    /// another one.
    pub release: Option<String>,
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Outdated {
            stage,
            written_by,
            own,
            ..
        } = self;
        write!(
            f,
            "version {written_by} of the stage {stage} wrote it, this program has version {own}"
        )
    }
}

impl Outdated {
    /// The failure to read `what`.
    pub fn failure(&self, what: &Path) -> Failure {
        let hint = match &self.release {
            Some(release) => format!("run the manifest again, or use curate {release}"),
            None => "run the manifest again".to_owned(),
        };
        let message = format!("cannot read {}: {self}", what.display());
        Failure::new(Exit::Usage, message).hint(hint)
    }
}

/// An open run directory.
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    /// The release of curate that last wrote into it, where it is another than this one.
    release: Option<String>,
    reading: Arc<Reading>,
    /// The name of this process among those that compute units for the driver; `None` for the
    /// driver itself and for readers.
    unit: Option<String>,
    /// The lock, held until this value is dropped: alone by a writer, with others by a reader that
    /// keeps writers away. `None` for any other reader.
    _lock: Option<File>,
}

/// `.curate/run.json`: the run that the directory belongs to.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    /// [`FORMAT`] of the writer.
    format: u32,
    /// Name of the run.
    name: String,
    /// Release of the writer. Release 0.1.0 did not record it.
    #[serde(default)]
    curate: Option<String>,
}

/// This release of curate.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

impl Owner {
    fn release(&self) -> String {
        // Format 1 is older than any release.
        let unrecorded = if self.format < 2 {
            "before 0.1.0"
        } else {
            "0.1.0"
        };
        self.curate.clone().unwrap_or_else(|| unrecorded.to_owned())
    }
}

impl RunDir {
    /// Opens or creates the directory of the run `name` for writing, and takes its lock. With
    /// `repair`, a directory that lost the record of its owner counts as this run's directory.
    ///
    /// # Errors
    /// Exit 2 if the directory belongs to another run or is not a run directory. Exit 74 if it
    /// cannot be written. Exit 11 if another process holds the lock.
    pub fn create(root: &Path, name: &str, repair: bool, reading: Reading) -> Result<RunDir> {
        // The owner comes first, so that nothing is created in a directory of somebody else.
        Self::check_owner(root, name, repair)?;

        let hidden = root.join(".curate");
        let unwritable = || format!("cannot write the run directory {}", root.display());
        durable::create_dir_all(&hidden).with_context(unwritable)?;
        refuse_links(root)?;
        let lock = take_lock(&hidden.join("lock"))?;
        let run = RunDir {
            root: root.to_path_buf(),
            release: None,
            reading: Arc::new(reading),
            unit: None,
            _lock: Some(lock),
        };

        durable::create_dir_all(&run.receipts()).with_context(unwritable)?;
        let owner = serde_json::to_vec_pretty(&Owner {
            format: FORMAT,
            name: name.to_owned(),
            curate: Some(RELEASE.to_owned()),
        })?;
        // The sweep creates the staging folder, through which the record of the owner is written.
        run.sweep_staging()?;
        run.sweep_rounds()?;
        run.write_if_changed(&hidden.join("run.json"), &owner)?;
        Ok(run)
    }

    /// Opens the run directory for a process that computes units for the driver. It takes no lock:
    /// the driver holds it. Files get their names only if nothing has them.
    ///
    /// # Errors
    /// The errors of [`RunDir::open`]. Exit 74 if the directory cannot be written.
    pub fn open_unit(root: &Path, reading: Reading) -> Result<RunDir> {
        let run = Self::open(root)?;
        let run = RunDir {
            reading: Arc::new(reading),
            unit: Some(format!("{}-{}", host(), std::process::id())),
            ..run
        };
        durable::create_dir_all(&run.staging())
            .with_context(|| format!("cannot write the run directory {}", root.display()))?;
        Ok(run)
    }

    /// Opens an existing run directory for reading. A reader takes no lock.
    ///
    /// # Errors
    /// Exit 2 if the path is not a run directory, or if the directory has another format.
    pub fn open(root: &Path) -> Result<RunDir> {
        match read_owner(root)? {
            Some(owner) => Ok(RunDir {
                root: root.to_path_buf(),
                release: Some(owner.release()).filter(|release| release != RELEASE),
                reading: Arc::new(Reading::new(None)),
                unit: None,
                _lock: None,
            }),
            None => Err(Failure::new(
                Exit::Usage,
                format!("{} is not a run directory", root.display()),
            )
            .hint("a run directory is made by `curate run MANIFEST`")
            .into()),
        }
    }

    /// Opens an existing run directory for reading, and keeps writers away until the value is
    /// dropped. Any number of readers may do this at once. A directory without a lock file, or on a
    /// file system without locks, is opened as [`RunDir::open`] does.
    ///
    /// # Errors
    /// The errors of [`RunDir::open`]. Exit 11 if another process writes into the directory.
    pub fn open_held(root: &Path) -> Result<RunDir> {
        let run = Self::open(root)?;
        let lock = share_lock(&root.join(".curate/lock"))?;
        Ok(RunDir { _lock: lock, ..run })
    }

    /// Opens an existing run directory for deleting files in it, and takes its lock. Only the lock
    /// file is written.
    ///
    /// # Errors
    /// The errors of [`RunDir::open`]. Exit 11 if another process holds the lock.
    pub fn open_alone(root: &Path) -> Result<RunDir> {
        let run = Self::open(root)?;
        refuse_links(root)?;
        let lock = take_lock(&root.join(".curate/lock"))?;
        Ok(RunDir {
            _lock: Some(lock),
            ..run
        })
    }

    /// Refuses a directory that belongs to another run, or that holds files of somebody else. With
    /// `repair`, a directory with `.curate` is accepted even if the record of its owner is missing
    /// or damaged.
    ///
    /// # Errors
    /// Exit 2 in both cases.
    pub fn check_owner(root: &Path, name: &str, repair: bool) -> Result<()> {
        let is_lost = repair && root.join(".curate").is_dir();

        let owner = match read_owner(root) {
            Err(NotOwned::Damaged(message)) if is_lost => {
                terminal::say(&format!("curate: repair: {message}"));
                None
            }
            owner => owner?,
        };

        if let Some(owner) = owner {
            if owner.name != name {
                let message = format!(
                    "{} belongs to the run \"{}\", not \"{name}\"",
                    root.display(),
                    owner.name
                );
                return Err(Failure::new(Exit::Usage, message)
                    .hint("set run.dir, or give --run-dir")
                    .into());
            }
            return Ok(());
        }

        // `.curate` does not count: an interrupted `create` makes it before the record.
        let occupied = fs::read_dir(root).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.file_name() != *".curate")
        });
        if occupied && !is_lost {
            let message = format!("{} exists and is not a run directory", root.display());
            return Err(Failure::new(Exit::Usage, message)
                .hint("name a new or an empty directory")
                .into());
        }

        Ok(())
    }

    /// The path of the directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a table's folder.
    pub fn table(&self, table: &str) -> PathBuf {
        self.root.join(table)
    }

    /// The folder in which files are written before they get their final names. Each process that
    /// computes units has its own.
    pub fn staging(&self) -> PathBuf {
        let staging = self.root.join(".curate/staging");
        match &self.unit {
            Some(unit) => staging.join(unit),
            None => staging,
        }
    }

    /// The folder of rounds: lists of units of work for other processes.
    pub fn rounds(&self) -> PathBuf {
        self.root.join(".curate/rounds")
    }

    /// The folder into which plans over all shards spill.
    pub fn spill(&self) -> PathBuf {
        self.root.join(".curate/spill")
    }

    /// The folder of receipts: records of finished shards that are not committed yet.
    fn receipts(&self) -> PathBuf {
        self.root.join(".curate/receipts")
    }

    /// The file that records which input files were read.
    pub fn inputs(&self) -> PathBuf {
        self.root.join(".curate/inputs.json")
    }

    /// The folder of finished units of ingest that are not published yet.
    pub fn ingest(&self) -> PathBuf {
        self.root.join(".curate/ingest")
    }

    /// Writes a small file atomically and durably.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        // Several threads may write files of the same name, so each stages under its own.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let staged = self
            .staging()
            .join(format!("{name}.{:?}.tmp", std::thread::current().id()));

        durable::write(&staged, bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.publish(&staged, path)
    }

    /// Writes a small file atomically and durably, unless it holds these bytes already.
    pub fn write_if_changed(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        match fs::read(path) {
            Ok(found) if found == bytes => Ok(()),
            _ => self.write(path, bytes),
        }
    }

    /// Gives a staged, fsynced file its final name and makes the name durable. Missing folders
    /// above the final name are created. A file that has the name is replaced, but not by a process
    /// that computes units.
    ///
    /// # Errors
    /// If writing fails. Exit 70 if a unit finds another file under the name.
    pub fn publish(&self, staged: &Path, path: &Path) -> Result<()> {
        let place = || format!("cannot write {}", path.display());
        // The rename is the commit. Without the fsync of the folder, a crash could undo it.
        let folder = path
            .parent()
            .context("a published file has no folder above it")?;

        durable::create_dir_all(folder).with_context(place)?;
        if self.unit.is_some() {
            put_new(staged, path)?;
        } else {
            durable::rename(staged, path).with_context(place)?;
        }
        durable::sync_dir(folder).with_context(place)
    }

    /// The commit of a stage. `None` if the stage is not finished.
    ///
    /// # Errors
    /// Exit 70 if `_commit.json` exists but was changed.
    pub fn commit(&self, stage: &str) -> Result<Option<Commit>> {
        read_commit(&self.table(stage).join(COMMIT))
    }

    /// The former commit of a stage, whose files may be reused. `None` if there is no former
    /// commit, or if it is damaged.
    pub fn stale(&self, stage: &str) -> Option<Commit> {
        // A damaged former commit costs only time: its files are computed again.
        read_commit(&self.table(stage).join(STALE)).ok().flatten()
    }

    /// Retires a commit whose inputs are about to change. Returns false if the stage has no commit.
    /// The files of the commit stay until new files replace them.
    pub fn retire(&self, stage: &str) -> Result<bool> {
        let folder = self.table(stage);
        let commit = folder.join(COMMIT);
        if !commit.exists() {
            return Ok(false);
        }

        let place = || format!("cannot retire {}", commit.display());
        // Renamed and not deleted, so that the next run can reuse the files that it names.
        durable::rename(&commit, &folder.join(STALE)).with_context(place)?;
        durable::sync_dir(&folder).with_context(place)?;
        Ok(true)
    }

    /// Deletes `run.json` and `report.html`, because their content is about to become stale.
    pub fn retire_report(&self) -> Result<()> {
        // The page goes first, so that no page is left beside an unfinished run.
        for path in [self.page(), self.report()] {
            if path.exists() {
                remove(&path)?;
                durable::sync_dir(&self.root)
                    .with_context(|| format!("cannot delete {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// The path of `run.json`, the summary of the run for programs.
    pub fn report(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// The path of `report.html`, the page of the run for a person.
    pub fn page(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// The path of the times of the last run.
    fn times_path(&self) -> PathBuf {
        self.root.join(".curate/times.json")
    }

    /// The times of the last run that computed something. `None` if they are not known: no run has
    /// finished, or the record cannot be read.
    pub fn times(&self) -> Option<Times> {
        // Times serve people only, so a damaged record is no failure.
        serde_json::from_slice(&fs::read(self.times_path()).ok()?).ok()
    }

    /// Records the times of a run.
    pub fn write_times(&self, times: &Times) -> Result<()> {
        self.write(&self.times_path(), &serde_json::to_vec_pretty(times)?)
    }

    /// The path of the copy of the manifest.
    fn manifest_path(&self) -> PathBuf {
        self.root.join(".curate/manifest.toml")
    }

    /// Keeps a copy of the manifest of a finished run, as the program understood it. The report can
    /// then be made again without the user's file. A report of another manifest is deleted first.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        // The copy is TOML, because its reader returns every float unchanged.
        let text = toml::to_string_pretty(manifest)?;

        if fs::read(self.manifest_path()).ok().as_deref() != Some(text.as_bytes()) {
            self.retire_report()?;
            self.write(&self.manifest_path(), text.as_bytes())?;
        }
        Ok(())
    }

    /// True if a run has finished in the directory, so that it has a manifest.
    pub fn has_manifest(&self) -> bool {
        self.manifest_path().exists()
    }

    /// Name of the run.
    ///
    /// # Errors
    /// If the record of the owner is damaged or gone.
    pub fn name(&self) -> Result<String> {
        let owner = read_owner(&self.root)?;
        Ok(owner.context("the record of the owner is gone")?.name)
    }

    /// The manifest of the last run, from the copy in the run directory.
    ///
    /// # Errors
    /// If the copy is missing. Exit 70 if it is damaged.
    pub fn manifest(&self) -> Result<Manifest> {
        let path = self.manifest_path();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;

        Ok(toml::from_str(&text).map_err(|error: toml::de::Error| {
            Failure::new(
                Exit::Broken,
                format!("{} is damaged: {}", path.display(), error.message()),
            )
        })?)
    }

    /// A file that a commit names.
    /// `version` is the version of the stage's code that wrote it.
    pub fn stored(&self, version: u32, table: &str, file: &FileEntry) -> Stored {
        Stored {
            path: self.table(table).join(&file.path),
            digest: Some(file.digest.clone()),
            is_checked_with_text: table == DOCUMENTS.name,
            outdated: self.outdated(version, table),
            reading: Arc::clone(&self.reading),
        }
    }

    /// Whether `version` of the code that writes `table` is another one than this program has.
    pub fn outdated(&self, version: u32, table: &str) -> Option<Outdated> {
        let spec = stage_of_table(table).filter(|spec| spec.version != version)?;
        Some(Outdated {
            stage: spec.name,
            written_by: version,
            own: spec.version,
            release: self.release.clone(),
        })
    }

    /// The committed stages that other versions of their code wrote, in the order in which they
    /// run.
    ///
    /// # Errors
    /// If a commit is damaged.
    pub fn outdated_stages(&self) -> Result<Vec<Outdated>> {
        let mut stages = Vec::new();
        for folder in self.folders()? {
            let commit = self.commit(&folder)?;
            stages.extend(commit.and_then(|commit| self.outdated(commit.version, &folder)));
        }
        stages.dedup();
        Ok(stages)
    }

    /// A file whose digest the reader checks by other means, or not at all.
    pub fn unchecked(&self, table: &str, file: &str) -> Stored {
        Stored {
            path: self.table(table).join(file),
            digest: None,
            is_checked_with_text: false,
            outdated: None,
            reading: Arc::clone(&self.reading),
        }
    }

    /// The way in which files of this run directory are read.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The files of each shard, by table, for the row-aligned stages that are committed.
    ///
    /// # Errors
    /// If a commit cannot be read. Exit 70 if it was changed.
    pub fn shard_files(&self) -> Result<Vec<ShardFiles>> {
        let mut shards: Vec<ShardFiles> = Vec::new();

        for stage in aligned() {
            let Some(commit) = self.commit(stage.name)? else {
                continue;
            };

            // File n of every commit belongs to shard n.
            shards.resize_with(shards.len().max(commit.files.len()), ShardFiles::default);
            for (shard, file) in shards.iter_mut().zip(&commit.files) {
                shard.insert(
                    stage.name.to_owned(),
                    self.stored(commit.version, stage.name, file),
                );
            }
        }

        Ok(shards)
    }

    /// The folders of all stages, in the order in which the stages run: `score`, `buckets`,
    /// `mix/general`. The folders of mixtures are sorted, and only those with a commit are listed.
    ///
    /// # Errors
    /// If a folder cannot be listed.
    pub fn folders(&self) -> Result<Vec<String>> {
        let mut folders = Vec::new();
        for stage in STAGES {
            if has_subfolders(stage) {
                folders.extend(self.subfolders(stage.name)?);
            } else {
                folders.push(stage.name.to_owned());
            }
        }
        Ok(folders)
    }

    /// `folder/name` for each subfolder with a commit, sorted. Empty if `folder` does not exist.
    ///
    /// # Errors
    /// If an entry of the folder cannot be read.
    pub fn subfolders(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.table(folder);
        let Ok(entries) = fs::read_dir(&path) else {
            return Ok(Vec::new());
        };

        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
            if entry.path().join(COMMIT).exists() {
                names.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
            }
        }

        // The system lists entries in any order.
        names.sort();
        Ok(names)
    }

    /// Records a finished shard, so that a later run need not compute the shard again.
    ///
    /// # Errors
    /// If writing fails. Exit 70 if another process that computed the same unit recorded another
    /// file.
    pub fn write_receipt(&self, table: &str, entry: &FileEntry) -> Result<()> {
        self.write(
            &self.receipt(table, &entry.path),
            &serde_json::to_vec(entry)?,
        )
    }

    /// The path of the receipt of a file of a table.
    fn receipt(&self, table: &str, file: &str) -> PathBuf {
        let name = file.replace(".parquet", ".json").replace('/', "_");
        self.receipts().join(table.replace('/', "_")).join(name)
    }

    /// Deletes a file that is to be made again, and its receipt, so that a process that computes
    /// units finds both names free.
    ///
    /// # Errors
    /// If a file cannot be deleted.
    pub fn make_way(&self, table: &str, file: &str) -> Result<()> {
        remove(&self.receipt(table, file))?;
        remove(&self.table(table).join(file))
    }

    /// The receipts of the shards of `table` that were finished, but not committed. Unreadable
    /// receipts are left out.
    pub fn read_receipts(&self, table: &str) -> Vec<FileEntry> {
        let Ok(entries) = fs::read_dir(self.receipts().join(table.replace('/', "_"))) else {
            return Vec::new();
        };

        // A receipt that cannot be read costs only time: its shard is computed again.
        entries
            .flatten()
            .filter_map(|entry| fs::read(entry.path()).ok())
            .filter_map(|text| serde_json::from_slice(&text).ok())
            .collect()
    }

    /// Replaces the commit of a stage. Files that the new commit does not name stay until
    /// [`RunDir::sweep_stage`], which may run once nothing else names them either.
    pub fn write_commit(&self, commit: &Commit) -> Result<()> {
        // The digest covers the commit with an empty digest.
        let mut sealed = commit.clone();
        sealed.digest = String::new();
        sealed.digest = digest_of(&sealed)?;

        let folder = self.table(&commit.stage);
        let mut text = serde_json::to_vec_pretty(&sealed)?;
        text.push(b'\n');
        self.write(&folder.join(COMMIT), &text)
    }

    /// Deletes the files that an interrupted run left and no commit names. Folders without a commit
    /// keep their files for the next run.
    pub fn sweep(&self) -> Result<()> {
        for stage in self.folders()? {
            if let Some(commit) = self.commit(&stage)? {
                self.sweep_stage(&commit)?;
            }
        }
        Ok(())
    }

    /// Deletes the receipts of a stage, its former commit, and the files that its commit does not
    /// name.
    pub fn sweep_stage(&self, commit: &Commit) -> Result<()> {
        remove(&self.table(&commit.stage).join(STALE))?;
        self.sweep_table(&commit.stage, &commit.files)?;
        commit
            .tables
            .iter()
            .try_for_each(|(table, files)| self.sweep_table(table, files))
    }

    /// Deletes the Parquet files in a table's folder that `files` does not name, and the table's
    /// receipts.
    fn sweep_table(&self, table: &str, files: &[FileEntry]) -> Result<()> {
        let named: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let Ok(entries) = fs::read_dir(self.table(table)) else {
            return Ok(());
        };

        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".parquet") && !named.contains(name.as_str()) {
                remove(&entry.path())?;
            }
        }

        let receipts = self.receipts().join(table.replace('/', "_"));
        durable::remove_dir(&receipts)
            .with_context(|| format!("cannot delete {}", receipts.display()))
    }

    /// Deletes the rounds of units that are over.
    ///
    /// # Errors
    /// If the folder cannot be deleted.
    pub fn sweep_rounds(&self) -> Result<()> {
        durable::remove_dir(&self.rounds())
            .with_context(|| format!("cannot delete {}", self.rounds().display()))
    }

    /// Empties the folders of staged files and of spill files, and creates them if they are
    /// missing.
    ///
    /// # Errors
    /// If something in them cannot be deleted.
    pub fn sweep_staging(&self) -> Result<()> {
        for folder in [self.staging(), self.spill()] {
            // The folder itself stays, because it may be a mounted file system.
            durable::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;

            let place = || format!("cannot clear {}", folder.display());
            for entry in fs::read_dir(&folder).with_context(place)? {
                let path = entry.with_context(place)?.path();

                // Links are not followed: a link is deleted, not the folder that it leads to.
                let is_folder = path
                    .symlink_metadata()
                    .is_ok_and(|metadata| metadata.is_dir());
                let removed = if is_folder {
                    durable::remove_dir(&path)
                } else {
                    durable::remove(&path)
                };
                removed.with_context(place)?;
            }
        }
        Ok(())
    }
}

/// The reason why the owner of a directory cannot be read.
enum NotOwned {
    /// The record of the owner is damaged. `--repair` can write the record again.
    Damaged(String),
    /// Any other failure, which `--repair` does not help.
    Other(anyhow::Error),
}

impl From<NotOwned> for anyhow::Error {
    fn from(why: NotOwned) -> Self {
        match why {
            NotOwned::Other(error) => error,
            NotOwned::Damaged(message) => {
                let hint = "`curate run` the manifest with --repair, it writes the file again";
                Failure::new(Exit::Usage, message).hint(hint).into()
            }
        }
    }
}

/// The owner of a directory. `None` if the directory does not exist or has no record of an owner.
fn read_owner(root: &Path) -> Result<Option<Owner>, NotOwned> {
    let path = root.join(".curate/run.json");
    let other = |failure: Failure| NotOwned::Other(failure.into());

    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(other(Failure::new(
                Exit::Usage,
                format!("{} is not a directory", root.display()),
            )));
        }
        Err(error) => {
            return Err(NotOwned::Other(
                anyhow::Error::new(error).context(format!("cannot read {}", path.display())),
            ));
        }
    };

    let owner: Owner = serde_json::from_slice(&text)
        .map_err(|error| NotOwned::Damaged(format!("{} is damaged: {error}", path.display())))?;

    if owner.format != FORMAT {
        let message = format!(
            "{} has format {}, this program writes {FORMAT}",
            root.display(),
            owner.format
        );
        let hint = format!("use a new run directory, or curate {}", owner.release());
        return Err(other(Failure::new(Exit::Usage, message).hint(hint)));
    }

    Ok(Some(owner))
}

/// Gives a staged file a name that nothing has. If a file with the same bytes has it, that is as
/// good: another process did the same work.
///
/// # Errors
/// If writing fails. Exit 70 if a file with other bytes has the name.
fn put_new(staged: &Path, path: &Path) -> Result<()> {
    let place = || format!("cannot write {}", path.display());
    match durable::hard_link(staged, path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if file_digest(staged)? != file_digest(path)? {
                let message = format!(
                    "{} has other bytes than this process ({}) made for the same key",
                    path.display(),
                    host()
                );
                return Err(Failure::new(Exit::Broken, message)
                    .hint("run the manifest with --repair, and look for machines that compute differently")
                    .into());
            }
        }
        Err(error) => return Err(error).with_context(place),
    }
    durable::remove(staged).with_context(place)
}

/// The name of this machine.
pub fn host() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok());
    host.map_or("an unknown host".to_owned(), |host| host.trim().to_owned())
}

/// This process, host and time, for a person who finds the lock held.
fn holder() -> String {
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S UTC");
    format!("pid {} on {} since {now}\n", std::process::id(), host())
}

/// Takes the lock and writes the holder into the lock file.
///
/// # Errors
/// Exit 11 if another process holds the lock.
fn take_lock(path: &Path) -> Result<File> {
    // The file is not truncated before the lock is taken: it names the present holder.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;

    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            write!(file, "{}", holder())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(held(path, file).into()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Takes the lock together with other readers. `None` if there is no lock to take.
///
/// # Errors
/// Exit 11 if a writer holds the lock.
fn share_lock(path: &Path) -> Result<Option<File>> {
    // A reader writes nothing, so it makes no lock file, and may lack the right to open one.
    let Ok(file) = File::open(path) else {
        return Ok(None);
    };

    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(held(path, file).into()),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// The failure to take a lock that another process holds. `file` is the lock file.
fn held(path: &Path, mut file: File) -> Failure {
    // The name is a help for people: without a readable name the refusal is the same.
    let mut holder = String::new();
    file.read_to_string(&mut holder).ok();
    let message = format!("another run holds {} ({})", path.display(), holder.trim());
    Failure::new(Exit::Locked, message).hint(
        "wait for it to end, or stop it; a run that names this one in dedup.against holds it too",
    )
}

/// Reads a commit and checks its digest and its names. `None` if there is no such file.
///
/// # Errors
/// Exit 70 if the file was changed, exit 74 if it cannot be read.
pub fn read_commit(path: &Path) -> Result<Option<Commit>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };

    let damaged = |what: String| {
        Failure::new(
            Exit::Broken,
            format!("{} is damaged: {what}", path.display()),
        )
    };
    let commit: Commit =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;

    // A file name or a table name from a forged commit must not lead out of the run directory.
    let mut files = commit.files.iter().chain(commit.tables.values().flatten());
    if let Some(file) = files.find(|file| !is_file_name(&file.path)) {
        return Err(damaged(format!("it names the file {:?}", file.path)).into());
    }
    if let Some(table) = commit
        .tables
        .keys()
        .find(|table| tables::table(table).is_none())
    {
        return Err(damaged(format!("it names the table {table:?}")).into());
    }

    let mut unsealed = commit.clone();
    unsealed.digest = String::new();
    let digest = digest_of(&unsealed)?;
    if digest != commit.digest {
        return Err(damaged(format!("its digest is {digest}, it says {}", commit.digest)).into());
    }

    // The digest covers only the values. A changed space or a repeated key is a change as well.
    let mut canonical = serde_json::to_vec_pretty(&commit)?;
    canonical.push(b'\n');
    if canonical != text {
        return Err(damaged("its text is not what this program writes".to_owned()).into());
    }

    Ok(Some(commit))
}

/// True if `name` is the name of a file in a folder, without a path to it.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != ".." && name != "."
}

/// The blake3 of a commit as JSON, 64 hex digits.
fn digest_of(commit: &Commit) -> Result<String> {
    Ok(blake3::hash(&serde_json::to_vec(commit)?)
        .to_hex()
        .to_string())
}

/// Deletes a file, with its path in the error. A missing file is no error.
fn remove(path: &Path) -> Result<()> {
    durable::remove(path).with_context(|| format!("cannot delete {}", path.display()))
}

/// True if a stage has a folder for each mixture.
pub fn has_subfolders(stage: &StageSpec) -> bool {
    stage.scope == Scope::Pool && stage.name != BUCKETS.name
}

/// Refuses symbolic links in place of the folders and files of a run directory, because a link
/// could lead writes out of the directory.
///
/// # Errors
/// Exit 2 if there is a link.
fn refuse_links(root: &Path) -> Result<()> {
    let with_subfolders = STAGES
        .iter()
        .filter(|stage| has_subfolders(stage))
        .map(|stage| stage.name);

    for folder in ["", ".curate"].into_iter().chain(with_subfolders) {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            continue;
        };

        // `file_type` of an entry does not follow links.
        let link = entries
            .flatten()
            .find(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        if let Some(link) = link {
            let message = format!(
                "{} is a symbolic link, it may lead out of the run directory",
                link.path().display()
            );
            let hint = "move the run directory itself, or name another by run.dir";
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }
    }
    Ok(())
}
