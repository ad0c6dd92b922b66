//! The operations on files whose order a crash may cut: every durable step of a run goes through
//! here.
//!
//! A build with the feature `faults` counts them and can fail each, or lose what was not fsynced:
//! see `faults.rs`. Without it they are the system's own calls. Spill files are no durable steps;
//! they are swept when a run is opened.

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

/// One operation, as the walks over faults see it.
#[derive(Debug, Clone, Copy)]
#[allow(
    dead_code,
    reason = "only faults look into it, some fields only to print them"
)]
enum Step<'a> {
    /// A new, empty file.
    Create(&'a Path),
    /// Bytes behind those that are there.
    Write(&'a Path),
    /// A file's bytes are made durable.
    Sync(&'a Path),
    /// A file or a folder gets another name, in place of what has it.
    Rename(&'a Path, &'a Path),
    /// A file gets a second name.
    Link(&'a Path, &'a Path),
    /// A new folder.
    CreateDir(&'a Path),
    /// The names in a folder are made durable.
    SyncDir(&'a Path),
    /// A file goes.
    Remove(&'a Path),
    /// A folder goes, with all that is in it.
    RemoveDir(&'a Path),
}

/// Does a step, unless a fault is due.
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
    /// Creates the file; one that is there is emptied.
    pub fn create(path: &Path) -> io::Result<NewFile> {
        let file = step(Step::Create(path), || File::create(path))?;
        Ok(NewFile {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Makes what was written durable, and returns its size in bytes.
    pub fn sync(&self) -> io::Result<u64> {
        step(Step::Sync(&self.path), || self.file.sync_all())?;
        Ok(self.file.metadata()?.len())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = Step::Write(&self.path);
        if let Some(fault) = hook::due(now) {
            // A write that fails may have gone half its way.
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

/// Writes a file and makes its bytes, not yet its name, durable.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes)?;
    file.sync().map(drop)
}

/// Makes a file by `write`, which is given the path of a new one beside it, and puts it in the
/// place of what has its name: whole, or not at all.
pub fn replace<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    write(&part)?;
    step(Step::Sync(&part), || File::open(&part)?.sync_all())?;
    rename(&part, path)?;
    sync_dir(
        path.parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )?;
    Ok(())
}

/// Copies a file and makes the copy's bytes, not yet its name, durable.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut file = NewFile::create(to)?;
    let mut source = File::open(from)?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match source.read(&mut buffer)? {
            0 => return file.sync().map(drop),
            n => file.write_all(&buffer[..n])?,
        }
    }
}

/// Renames a file or a folder, in place of a file that has the name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(Step::Rename(from, to), || fs::rename(from, to))
}

/// Gives a file a second name.
pub fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    step(Step::Link(from, to), || fs::hard_link(from, to))
}

/// Makes the names in a folder durable.
pub fn sync_dir(folder: &Path) -> io::Result<()> {
    step(Step::SyncDir(folder), || File::open(folder)?.sync_all())
}

/// Makes a folder and those above it that are missing, and their names durable.
pub fn create_dir_all(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|above| !above.is_dir())
        .collect();
    for folder in missing
        .into_iter()
        .rev()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        // Another thread may have made it meanwhile.
        step(Step::CreateDir(folder), || fs::create_dir(folder)).or_else(|error| {
            match error.kind() {
                io::ErrorKind::AlreadyExists if folder.is_dir() => Ok(()),
                _ => Err(error),
            }
        })?;
        let above = folder
            .parent()
            .filter(|above| !above.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        match sync_dir(above) {
            // A folder that may be written into, but not read, cannot be synced.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Deletes a file, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    if_there(step(Step::Remove(path), || fs::remove_file(path)))
}

/// Deletes a folder and what is in it, if it is there.
pub fn remove_dir(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    if_there(step(Step::RemoveDir(folder), || fs::remove_dir_all(folder)))
}

fn if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
