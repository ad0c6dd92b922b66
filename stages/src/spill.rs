//! Records of 64-bit words in numbered partitions, in memory up to a bound and in files beyond it.
//!
//! Corpus stages move their data between passes through such partitions, so their memory does not
//! grow with the corpus.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Result, StageError};
use crate::record::Record;

/// The fewest words of a partition that stay in memory before they are written: 4 KiB.
const LEAST_TAIL: usize = 512;

/// Partitions of records. Threads append records in no defined order, so a reader sorts them.
pub(crate) struct Spill {
    folder: PathBuf,
    parts: Vec<Mutex<Part>>,
    /// The number of words of a partition at which they are written to its file.
    tail: usize,
}

/// A partition: words in its file, then words in memory.
#[derive(Default)]
struct Part {
    /// The number of words in the file; 0: there is no file.
    filed: u64,
    tail: Vec<u64>,
}

/// One partition, open for reading.
pub(crate) enum Words {
    /// All words of the partition.
    Memory(Vec<u64>),
    /// The path and the file of a partition that exceeds its memory. It is read piece by piece.
    File(PathBuf, File),
}

impl Spill {
    /// Empty partitions. About `memory` bytes of all partitions together stay in memory, but at
    /// least 4 KiB of each. Files go into a new folder in `folder`.
    ///
    /// # Errors
    /// If the new folder cannot be created.
    pub(crate) fn new(folder: &Path, partitions: usize, memory: u64) -> Result<Spill> {
        let tail = (memory / 8) as usize / partitions.max(1);
        let parts = (0..partitions).map(|_| Mutex::default()).collect();

        Ok(Spill {
            folder: new_folder(folder)?,
            parts,
            tail: tail.max(LEAST_TAIL),
        })
    }

    /// The number of partitions.
    pub(crate) fn partitions(&self) -> usize {
        self.parts.len()
    }

    /// The partition of a key. The key need not be a good hash.
    pub(crate) fn partition_of(&self, key: u64) -> usize {
        let mixed = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Scales the hash from 2^64 to the number of partitions, which need not be a power of two.
        ((u128::from(mixed) * self.parts.len() as u128) >> 64) as usize
    }

    /// Appends records to a partition, and returns the number of words before them.
    ///
    /// # Errors
    /// If the partition's file cannot be written.
    pub(crate) fn push(&self, partition: usize, words: &[u64]) -> Result<u64> {
        let mut part = self.lock(partition);
        let at = part.filed + part.tail.len() as u64;
        part.tail.extend_from_slice(words);
        if part.tail.len() >= self.tail {
            self.file(partition, &mut part)?;
        }
        Ok(at)
    }

    /// Appends a record to a partition.
    ///
    /// # Errors
    /// If the partition's file cannot be written.
    pub(crate) fn push_record(&self, partition: usize, record: &impl Record) -> Result<()> {
        self.push(partition, record.words().as_ref()).map(|_| ())
    }

    /// All words of a partition.
    ///
    /// # Errors
    /// If the partition's file cannot be read.
    pub(crate) fn read(&self, partition: usize) -> Result<Vec<u64>> {
        self.read_locked(partition, &self.lock(partition))
    }

    /// All words of a partition. The partition is empty afterwards.
    ///
    /// # Errors
    /// If the partition's file cannot be read or deleted.
    pub(crate) fn take(&self, partition: usize) -> Result<Vec<u64>> {
        let mut part = self.lock(partition);
        if part.filed == 0 {
            return Ok(std::mem::take(&mut part.tail));
        }

        // The file goes, so that disk space does not add up over passes.
        let words = self.read_locked(partition, &part)?;
        *part = Part::default();
        let path = self.path(partition);
        fs::remove_file(&path).map_err(|error| failed("delete", &path, error))?;
        Ok(words)
    }

    /// All words of a locked partition, in the order in which they were appended.
    fn read_locked(&self, partition: usize, part: &Part) -> Result<Vec<u64>> {
        let mut words = Vec::with_capacity(part.filed as usize + part.tail.len());
        if part.filed > 0 {
            let path = self.path(partition);
            let place = |error| failed("read", &path, error);
            let mut file = File::open(&path).map_err(place)?;

            // Piece by piece, so that bytes and words of the file are not in memory together.
            let mut bytes = vec![0; 1 << 16];
            let mut left = 8 * part.filed as usize;
            while left > 0 {
                let now = left.min(bytes.len());
                file.read_exact(&mut bytes[..now]).map_err(place)?;
                words.extend(to_words(&bytes[..now]));
                left -= now;
            }
        }
        words.extend_from_slice(&part.tail);
        Ok(words)
    }

    /// Opens a partition for reading. A partition of at most `memory` bytes, or one without a file,
    /// is loaded and is empty afterwards.
    ///
    /// # Errors
    /// If the partition's file cannot be read, written or deleted.
    pub(crate) fn open(&self, partition: usize, memory: u64) -> Result<Words> {
        let mut part = self.lock(partition);
        if part.filed == 0 || 8 * (part.filed + part.tail.len() as u64) <= memory {
            // `take` locks the partition again.
            drop(part);
            return Ok(Words::Memory(self.take(partition)?));
        }

        // Words are found by their place in the file, so the file must hold the last ones too.
        self.file(partition, &mut part)?;
        let path = self.path(partition);
        let file = File::open(&path).map_err(|error| failed("read", &path, error))?;
        Ok(Words::File(path, file))
    }

    /// The number of words of a partition.
    pub(crate) fn len(&self, partition: usize) -> u64 {
        let part = self.lock(partition);
        part.filed + part.tail.len() as u64
    }

    /// The number of bytes that are in files.
    pub(crate) fn filed(&self) -> u64 {
        (0..self.parts.len())
            .map(|partition| 8 * self.lock(partition).filed)
            .sum()
    }

    /// Appends the words in memory to the file of a locked partition.
    fn file(&self, partition: usize, part: &mut Part) -> Result<()> {
        let path = self.path(partition);
        let place = |error| failed("write", &path, error);
        // The file is not kept open: there may be thousands of partitions, and a process may open
        // few files.
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(place)?;

        let mut bytes = Vec::with_capacity(1 << 16);
        for words in part.tail.chunks(1 << 13) {
            bytes.clear();
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            file.write_all(&bytes).map_err(place)?;
        }

        part.filed += part.tail.len() as u64;
        // One large record must not hold its memory for ever.
        part.tail.clear();
        part.tail.shrink_to(self.tail);
        Ok(())
    }

    fn path(&self, partition: usize) -> PathBuf {
        self.folder.join(partition.to_string())
    }

    fn lock(&self, partition: usize) -> std::sync::MutexGuard<'_, Part> {
        self.parts[partition]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        // A folder that cannot be deleted now is swept when the run is opened again.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Words {
    /// `len` words from word `at` on. `buffer` may hold the words.
    ///
    /// # Errors
    /// If the file cannot be read.
    ///
    /// # Panics
    /// If the words of a partition in memory end before.
    pub(crate) fn get<'a>(
        &'a self,
        at: u64,
        len: usize,
        buffer: &'a mut Vec<u64>,
    ) -> Result<&'a [u64]> {
        match self {
            Words::Memory(words) => Ok(&words[at as usize..at as usize + len]),
            Words::File(path, file) => {
                // A place is passed along, not a seek, so that threads may share the file.
                let mut bytes = vec![0; 8 * len];
                file.read_exact_at(&mut bytes, 8 * at)
                    .map_err(|error| failed("read", path, error))?;
                buffer.clear();
                buffer.extend(to_words(&bytes));
                Ok(buffer)
            }
        }
    }
}

/// Creates a folder in `parent` that no other [`Spill`] uses: `words-0`, or the next free number.
fn new_folder(parent: &Path) -> Result<PathBuf> {
    fs::create_dir_all(parent).map_err(|error| failed("create", parent, error))?;
    let mut number = 0;
    loop {
        let folder = parent.join(format!("words-{number}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(failed("create", &folder, error)),
        }
    }
}

/// A partition as pairs of words. An odd last word is left out.
pub(crate) fn pairs(words: &[u64]) -> &[[u64; 2]] {
    words.as_chunks().0
}

/// A partition as pairs of words, to sort them in place. An odd last word is left out.
pub(crate) fn pairs_mut(words: &mut [u64]) -> &mut [[u64; 2]] {
    words.as_chunks_mut().0
}

fn to_words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word))
}

fn failed(action: &'static str, path: &Path, error: std::io::Error) -> StageError {
    StageError::io(action, path, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_memory_and_from_files() {
        let folder = std::env::temp_dir().join(format!("curate-spill-{}", std::process::id()));
        for memory in [0, 1 << 30] {
            let spill = Spill::new(&folder, 2, memory).expect("a folder");
            let mut at = Vec::new();
            for n in 0..2_000u64 {
                assert_eq!(spill.push(0, &[n]).expect("a push"), n);
                at.push(spill.push(1, &[n, n * n, u64::MAX]).expect("a push"));
            }
            assert_eq!(spill.filed() > 0, memory == 0);

            let words = spill.open(1, 1000).expect("a partition");
            assert_eq!(matches!(words, Words::File(..)), memory == 0);

            let mut buffer = Vec::new();
            assert_eq!(
                words.get(at[1_999], 3, &mut buffer).expect("a record"),
                [1_999, 1_999 * 1_999, u64::MAX]
            );
            assert_eq!(
                spill.take(0).expect("a partition"),
                (0..2_000).collect::<Vec<_>>()
            );
            assert_eq!(spill.take(0).expect("a partition"), [0; 0]);
        }
        // A spill deletes its folder when it is dropped.
        assert!(fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none()));
        fs::remove_dir_all(&folder).expect("an empty folder");
    }
}
