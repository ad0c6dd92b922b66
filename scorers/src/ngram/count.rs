//! Counts of n-grams in bounded memory: an external merge sort.
//!
//! N-grams of the highest order are gathered in a buffer. A full buffer is sorted, equal n-grams
//! become one with a count, and this run goes to disk. Reading merges all runs and the last buffer.
//! The result does not depend on the size of the buffer.
//!
//! Cost: a sort. Where the text fills the buffer, its n-grams are also written to disk, and written
//! again each time that 128 runs become one. Each of the training's two passes reads them once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::ngram::NgramError;

/// The words of an n-gram, the last one first. Sorted so, n-grams with the same suffix are
/// neighbours.
pub(super) type Words<const N: usize> = [u32; N];

/// The most runs on disk. Once there are this many, the next buffer merges them into one, which
/// bounds open files and their buffers.
const RUNS_MAX: usize = 128;
/// Bytes of the buffer that reads one run.
const READ_BYTES: usize = 64 << 10;

/// A sorted run on disk: words and count of each n-gram. Dropping a `Run` deletes its file.
struct Run {
    path: PathBuf,
}

impl Drop for Run {
    fn drop(&mut self) {
        // Nothing depends on the deletion, and `drop` cannot report an error.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Counts the n-grams of one order.
pub(super) struct Counter<const N: usize> {
    buffer: Vec<Words<N>>,
    buffer_len_max: usize,
    dir: PathBuf,
    runs: Vec<Run>,
    /// How many buffers went to disk.
    pub spills: usize,
}

impl<const N: usize> Counter<N> {
    /// An empty counter. The buffer takes at most `memory_bytes`, and runs are written to `dir`.
    pub fn new(memory_bytes: usize, dir: &Path) -> Counter<N> {
        let buffer_len_max = (memory_bytes / size_of::<Words<N>>()).max(1);

        Counter {
            buffer: Vec::new(),
            buffer_len_max,
            dir: dir.to_owned(),
            runs: Vec::new(),
            spills: 0,
        }
    }

    /// Counts one n-gram.
    #[inline]
    pub fn add(&mut self, words: Words<N>) -> Result<(), NgramError> {
        if self.buffer.len() == self.buffer_len_max {
            self.spill()?;
        }

        if self.buffer.len() == self.buffer.capacity() {
            // Grown by hand: doubled as `push` does it, but never beyond the limit.
            let more = self
                .buffer
                .len()
                .max(1 << 12)
                .min(self.buffer_len_max - self.buffer.len());
            self.buffer.reserve_exact(more);
        }

        self.buffer.push(words);
        Ok(())
    }

    /// Ends the counting: sorts the n-grams that are still in the buffer.
    pub fn finish(&mut self) {
        self.buffer.par_sort_unstable();
    }

    /// Calls `action` with every n-gram and its count, in the order of [`Words`].
    ///
    /// # Errors
    /// [`NgramError::Io`] if a run cannot be read.
    pub fn for_each(&self, mut action: impl FnMut(&Words<N>, u64)) -> Result<(), NgramError> {
        merge(&self.runs, &self.buffer, |words, count| {
            action(words, count);
            Ok(())
        })
    }

    /// Writes the buffer to disk as a sorted run, and empties it.
    fn spill(&mut self) -> Result<(), NgramError> {
        self.buffer.par_sort_unstable();

        let runs = if self.runs.len() == RUNS_MAX {
            std::mem::take(&mut self.runs)
        } else {
            Vec::new()
        };

        // The merged runs are deleted with `runs` at the end of this function, after the new one is
        // whole.
        let run = write_run(&self.dir, &runs, &self.buffer)?;
        self.runs.push(run);

        self.buffer.clear();
        self.spills += 1;

        Ok(())
    }
}

/// A file in `dir` that is new. Counters of one process may share a directory, as may processes.
fn new_file(dir: &Path) -> Result<(PathBuf, File), NgramError> {
    let process = std::process::id();
    let mut number = 0;
    loop {
        let path = dir.join(format!("ngrams-{process}-{number}.run"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(NgramError::io("create", &path)(error)),
        }
    }
}

/// Merges `runs` and `buffer` into a new run.
fn write_run<const N: usize>(
    dir: &Path,
    runs: &[Run],
    buffer: &[Words<N>],
) -> Result<Run, NgramError> {
    let (path, file) = new_file(dir)?;

    // From here on the file is deleted if writing fails.
    let run = Run { path };
    let failed = || NgramError::io("write", &run.path);

    let mut out = BufWriter::with_capacity(1 << 20, file);
    merge(runs, buffer, |words, count| {
        let words = words
            .iter()
            .try_for_each(|word| out.write_all(&word.to_le_bytes()));
        words
            .and_then(|()| out.write_all(&count.to_le_bytes()))
            .map_err(failed())
    })?;

    out.flush().map_err(failed())?;
    Ok(run)
}

/// One input of a merge: the sorted buffer in groups of equal n-grams, or a run on disk.
enum NgramSource<'a, const N: usize> {
    Buffer(std::slice::ChunkBy<'a, Words<N>, fn(&Words<N>, &Words<N>) -> bool>),
    Run(&'a Path, BufReader<File>),
}

impl<const N: usize> NgramSource<'_, N> {
    /// The next n-gram and its count; `None` at the end.
    fn next(&mut self) -> Result<Option<(Words<N>, u64)>, NgramError> {
        match self {
            NgramSource::Buffer(groups) => {
                Ok(groups.next().map(|group| (group[0], group.len() as u64)))
            }
            NgramSource::Run(path, reader) => {
                read_record(reader).map_err(NgramError::io("read", path))
            }
        }
    }
}

/// The next record of a run; `None` at its end. A record that is cut short is an error.
fn read_record<const N: usize>(
    reader: &mut BufReader<File>,
) -> std::io::Result<Option<(Words<N>, u64)>> {
    let mut words = [0; N];
    let mut word = [0; 4];

    // `read_exact` cannot tell the end of the file from a cut record; one byte decides.
    if reader.read(&mut word[..1])? == 0 {
        return Ok(None);
    }

    reader.read_exact(&mut word[1..])?;
    words[0] = u32::from_le_bytes(word);
    for at in &mut words[1..] {
        reader.read_exact(&mut word)?;
        *at = u32::from_le_bytes(word);
    }

    let mut count = [0; 8];
    reader.read_exact(&mut count)?;
    Ok(Some((words, u64::from_le_bytes(count))))
}

/// Calls `action` with all n-grams of `runs` and of the sorted `buffer`, in order, each once with
/// the sum of its counts.
fn merge<const N: usize>(
    runs: &[Run],
    buffer: &[Words<N>],
    mut action: impl FnMut(&Words<N>, u64) -> Result<(), NgramError>,
) -> Result<(), NgramError> {
    let mut sources: Vec<NgramSource<N>> =
        vec![NgramSource::Buffer(buffer.chunk_by(|a, b| a == b))];
    for run in runs {
        let file = File::open(&run.path).map_err(NgramError::io("read", &run.path))?;
        sources.push(NgramSource::Run(
            &run.path,
            BufReader::with_capacity(READ_BYTES, file),
        ));
    }

    let mut heads = BinaryHeap::new();
    for (i, source) in sources.iter_mut().enumerate() {
        heads.extend(
            source
                .next()?
                .map(|(words, count)| Reverse((words, i, count))),
        );
    }

    // The heap gives equal n-grams one after another, so one open sum is enough.
    let mut sum: Option<(Words<N>, u64)> = None;
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((words, i, count)) = *head;
        match sources[i].next()? {
            // The heap restores its order when `head` is dropped.
            Some((words, count)) => *head = Reverse((words, i, count)),
            None => drop(std::collections::binary_heap::PeekMut::pop(head)),
        }

        match &mut sum {
            Some((same, total)) if *same == words => *total += count,
            _ => {
                if let Some((words, count)) = sum.replace((words, count)) {
                    action(&words, count)?;
                }
            }
        }
    }

    sum.map_or(Ok(()), |(words, count)| action(&words, count))
}
