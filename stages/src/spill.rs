//! Records of 64-bit words in numbered partitions: in memory up to a bound, in files beyond it.
//! What corpus stages move between their passes goes through here, so their memory does not follow
//! the corpus.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Result, StageError};
use crate::record::Record;

/// Fewest words of a partition that are kept back: a write of 4 KiB.
const LEAST_TAIL: usize = 512;

/// Partitions of records. Threads append to them in no defined order; whoever reads one sorts it.
pub(crate) struct Spill {
    folder: PathBuf,
    parts: Vec<Mutex<Part>>,
    /// Words of a partition that are kept in memory.
    tail: usize,
}

#[derive(Default)]
struct Part {
    filed: u64,
    tail: Vec<u64>,
}

/// One partition, to be read from.
pub(crate) enum Words {
    /// All of it.
    Memory(Vec<u64>),
    /// It is larger than the memory for it: read piece by piece.
    File(PathBuf, File),
}

impl Spill {
    /// Partitions of which `memory` bytes together stay in memory. Files go into a new folder in
    /// `folder`.
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

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> usize {
        self.parts.len()
    }

    /// The partition of a key that is no good hash.
    pub(crate) fn partition_of(&self, key: u64) -> usize {
        let mixed = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mixed) * self.parts.len() as u128) >> 64) as usize
    }

    /// Appends records to a partition; the number of words that were in it before.
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

    /// All words of a partition, which is empty afterwards.
    ///
    /// # Errors
    /// If the partition's file cannot be read or deleted.
    pub(crate) fn take(&self, partition: usize) -> Result<Vec<u64>> {
        let mut part = self.lock(partition);
        if part.filed == 0 {
            return Ok(std::mem::take(&mut part.tail));
        }
        let words = self.read_locked(partition, &part)?;
        *part = Part::default();
        let path = self.path(partition);
        fs::remove_file(&path).map_err(|error| failed("delete", &path, error))?;
        Ok(words)
    }

    fn read_locked(&self, partition: usize, part: &Part) -> Result<Vec<u64>> {
        let mut words = Vec::with_capacity(part.filed as usize + part.tail.len());
        if part.filed > 0 {
            let path = self.path(partition);
            let place = |error| failed("read", &path, error);
            let mut file = File::open(&path).map_err(place)?;
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

    /// A partition to read from; all of it is loaded if it takes no more than `memory` bytes.
    ///
    /// # Errors
    /// If the partition's file cannot be read or written.
    pub(crate) fn open(&self, partition: usize, memory: u64) -> Result<Words> {
        let mut part = self.lock(partition);
        if part.filed == 0 || 8 * (part.filed + part.tail.len() as u64) <= memory {
            drop(part);
            return Ok(Words::Memory(self.take(partition)?));
        }
        self.file(partition, &mut part)?;
        let path = self.path(partition);
        let file = File::open(&path).map_err(|error| failed("read", &path, error))?;
        Ok(Words::File(path, file))
    }

    /// Words of a partition.
    pub(crate) fn len(&self, partition: usize) -> u64 {
        let part = self.lock(partition);
        part.filed + part.tail.len() as u64
    }

    /// Bytes that went into files so far.
    pub(crate) fn filed(&self) -> u64 {
        (0..self.parts.len())
            .map(|partition| 8 * self.lock(partition).filed)
            .sum()
    }

    fn file(&self, partition: usize, part: &mut Part) -> Result<()> {
        let path = self.path(partition);
        let place = |error| failed("write", &path, error);
        // Not kept open: partitions are many, open files few.
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
        // What cannot be deleted now is swept when the run is opened again.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Words {
    /// `len` words from word `at` on; `buffer` may hold them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn get<'a>(
        &'a self,
        at: u64,
        len: usize,
        buffer: &'a mut Vec<u64>,
    ) -> Result<&'a [u64]> {
        match self {
            Words::Memory(words) => Ok(&words[at as usize..at as usize + len]),
            Words::File(path, file) => {
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

/// A folder in `parent` that nobody has used before: `words-0`, or the next free number.
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

/// The pairs of words that a partition consists of.
pub(crate) fn pairs(words: &[u64]) -> &[[u64; 2]] {
    words.as_chunks().0
}

/// The pairs of words that a partition consists of, to be sorted.
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
        // Folders go with their spill.
        assert!(fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none()));
        fs::remove_dir_all(&folder).expect("an empty folder");
    }
}
