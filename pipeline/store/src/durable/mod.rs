//! The operations on files whose order matters after a crash. Every durable step of a run goes
//! through this module.
//!
//! A build with the feature `faults` counts the steps. It can fail each of them, or lose what was
//! not fsynced: see `faults.rs`. Without the feature the steps are plain calls of the system.
//! Writing a spill file is not a durable step: spill files are deleted when a run is opened.

#[cfg(feature = "faults")]
mod faults;
#[cfg(not(feature = "faults"))]
mod no_faults;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

#[cfg(feature = "faults")]
use faults as hook;
#[cfg(not(feature = "faults"))]
use no_faults as hook;

/// One operation, as tests see it that fail each step in turn.
#[derive(Debug, Clone, Copy)]
#[allow(
    dead_code,
    reason = "only faults look into it, some fields only to print them"
)]
enum Step<'a> {
    /// Creates an empty file.
    Create(&'a Path),
    /// Appends bytes to a file.
    Write(&'a Path),
    /// Makes the bytes of a file durable.
    Sync(&'a Path),
    /// Renames a file or a folder, from the first path to the second. A file that has the second
    /// name is replaced.
    Rename(&'a Path, &'a Path),
    /// Gives the file at the first path a second name.
    Link(&'a Path, &'a Path),
    /// Creates a folder at the path.
    CreateDir(&'a Path),
    /// Makes the names in a folder durable.
    SyncDir(&'a Path),
    /// Deletes the file at the path.
    Remove(&'a Path),
    /// Deletes a folder and everything in it.
    RemoveDir(&'a Path),
}

/// Does a step, or fails if a fault is due.
fn step<T>(step: Step, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if let Some(fault) = hook::due(step) {
        fault.strike()?;
    }

    let done = work()?;
    hook::done(step);
    Ok(done)
}

/// A new file, written from its beginning.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    file: File,
}

impl NewFile {
    /// Creates the file. A file that exists already is emptied.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(path: &Path) -> io::Result<NewFile> {
        let file = step(Step::Create(path), || File::create(path))?;
        Ok(NewFile {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Makes the written bytes durable and returns the size of the file in bytes.
    ///
    /// # Errors
    /// If the system cannot make the bytes durable or tell the size.
    pub fn sync(&self) -> io::Result<u64> {
        step(Step::Sync(&self.path), || self.file.sync_all())?;
        Ok(self.file.metadata()?.len())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = Step::Write(&self.path);
        if let Some(fault) = hook::due(now) {
            // A write that fails may have written some of its bytes.
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            fault.strike()?;
        }

        let n = self.file.write(bytes)?;
        hook::done(now);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a file and makes its bytes durable, but not its name.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes)?;
    file.sync().map(drop)
}

/// Replaces the file at `path` by a whole new one, or not at all. `write` writes the new file to
/// the path that it is given, which is `path` with `.part` appended.
///
/// # Errors
/// If `write` fails, or if the new file cannot be made durable or renamed.
pub fn replace<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);

    // The bytes must be durable before the name: else a crash could leave a torn file under `path`.
    write(&part)?;
    step(Step::Sync(&part), || File::open(&part)?.sync_all())?;
    rename(&part, path)?;
    sync_dir(folder_of(path))?;

    Ok(())
}

/// The folder that holds the name of `path`.
fn folder_of(path: &Path) -> &Path {
    // The parent of a bare name is the empty path, which cannot be opened.
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Copies a file and makes the bytes of the copy durable, but not its name.
///
/// # Errors
/// If the source cannot be read or the copy cannot be written.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut file = NewFile::create(to)?;
    let mut source = File::open(from)?;

    // Not `fs::copy`: each write is a step, so that tests can fail it.
    let mut buffer = vec![0; 1 << 18];
    loop {
        match source.read(&mut buffer)? {
            0 => return file.sync().map(drop),
            n => file.write_all(&buffer[..n])?,
        }
    }
}

/// Renames a file or a folder. A file that has the new name is replaced.
///
/// # Errors
/// If the system refuses.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(Step::Rename(from, to), || fs::rename(from, to))
}

/// Gives the file `from` the second name `to`.
///
/// # Errors
/// If the system refuses, for example because `to` exists.
pub fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    step(Step::Link(from, to), || fs::hard_link(from, to))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// If the folder cannot be opened for reading or synced.
pub fn sync_dir(folder: &Path) -> io::Result<()> {
    step(Step::SyncDir(folder), || File::open(folder)?.sync_all())
}

/// Creates a folder and the missing folders above it, and makes their names durable.
///
/// # Errors
/// If a folder cannot be created, or its name cannot be made durable.
pub fn create_dir_all(folder: &Path) -> io::Result<()> {
    // The ancestors of a relative path end in the empty path, which names no folder.
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|above| !above.is_dir())
        .filter(|above| !above.as_os_str().is_empty())
        .collect();

    // The outermost folder comes first.
    for folder in missing.into_iter().rev() {
        // Another thread may have created the folder in the meantime.
        step(Step::CreateDir(folder), || fs::create_dir(folder)).or_else(|error| {
            match error.kind() {
                io::ErrorKind::AlreadyExists if folder.is_dir() => Ok(()),
                _ => Err(error),
            }
        })?;

        match sync_dir(folder_of(folder)) {
            // A folder with write permission but without read permission cannot be synced.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Deletes a file. A file that does not exist is no error.
///
/// # Errors
/// If the file exists and cannot be deleted.
pub fn remove(path: &Path) -> io::Result<()> {
    if_there(step(Step::Remove(path), || fs::remove_file(path)))
}

/// Deletes a folder and everything in it. A folder that does not exist is no error.
///
/// # Errors
/// If the folder exists and cannot be deleted.
pub fn remove_dir(folder: &Path) -> io::Result<()> {
    // Without this check a missing folder would count as a step.
    if !folder.exists() {
        return Ok(());
    }
    if_there(step(Step::RemoveDir(folder), || fs::remove_dir_all(folder)))
}

/// Takes "not found" for success, because what is to be deleted is gone.
fn if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
