//! Counts of n-grams in bounded memory: an external merge sort.
//!
//! N-grams of the highest order are gathered in a buffer; a full one is sorted, equal n-grams
//! become one with a count, and the run goes to disk. Reading merges all runs and the last buffer.
//! The result does not depend on the size of the buffer. Cost: a sort, and for a text that fills
//! the buffer its n-grams written once and read twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::ngram::NgramError;

/// Words, the last one first.
pub(super) type Words<const N: usize> = [u32; N];

/// More runs than this are merged into one, which bounds open files and their buffers.
const RUNS_MAX: usize = 128;
const READ_BYTES: usize = 64 << 10;

/// A sorted run on disk: words and count of each n-gram. The file goes when this does.
struct Run {
    path: PathBuf,
}

impl Drop for Run {
    fn drop(&mut self) {
        // Nothing rests on it, and there is nobody to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Counts n-grams.
pub(super) struct Counter<const N: usize> {
    buffer: Vec<Words<N>>,
    buffer_len_max: usize,
    dir: PathBuf,
    runs: Vec<Run>,
    /// How many buffers went to disk.
    pub spills: usize,
}

impl<const N: usize> Counter<N> {
    /// Nothing counted. The buffer takes `memory_bytes`, and runs are written to `dir`.
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
            // Never twice the length at the end, as `push` would: the limit is one.
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

    /// No more n-grams: sorts what is left.
    pub fn finish(&mut self) {
        self.buffer.par_sort_unstable();
    }

    /// Every n-gram with its count, in the order of [`Words`].
    pub fn for_each(&self, mut action: impl FnMut(&Words<N>, u64)) -> Result<(), NgramError> {
        merge(&self.runs, &self.buffer, |words, count| {
            action(words, count);
            Ok(())
        })
    }

    fn spill(&mut self) -> Result<(), NgramError> {
        self.buffer.par_sort_unstable();
        let runs = if self.runs.len() == RUNS_MAX {
            std::mem::take(&mut self.runs)
        } else {
            Vec::new()
        };
        let run = write_run(&self.dir, &runs, &self.buffer)?;
        self.runs.push(run);
        self.buffer.clear();
        self.spills += 1;
        Ok(())
    }
}

/// Writes what `runs` and `buffer` have to a new run.
fn write_run<const N: usize>(
    dir: &Path,
    runs: &[Run],
    buffer: &[Words<N>],
) -> Result<Run, NgramError> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("ngrams-{}-{serial}.run", std::process::id()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(NgramError::io("create", &path))?;
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

/// What is merged.
enum Source<'a, const N: usize> {
    Buffer(std::slice::ChunkBy<'a, Words<N>, fn(&Words<N>, &Words<N>) -> bool>),
    Run(&'a Path, BufReader<File>),
}

impl<const N: usize> Source<'_, N> {
    fn next(&mut self) -> Result<Option<(Words<N>, u64)>, NgramError> {
        match self {
            Source::Buffer(groups) => Ok(groups.next().map(|group| (group[0], group.len() as u64))),
            Source::Run(path, reader) => read_record(reader).map_err(NgramError::io("read", path)),
        }
    }
}

fn read_record<const N: usize>(
    reader: &mut BufReader<File>,
) -> std::io::Result<Option<(Words<N>, u64)>> {
    let mut words = [0; N];
    let mut word = [0; 4];
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

/// All n-grams of `runs` and of the sorted `buffer`, in order, each once.
fn merge<const N: usize>(
    runs: &[Run],
    buffer: &[Words<N>],
    mut action: impl FnMut(&Words<N>, u64) -> Result<(), NgramError>,
) -> Result<(), NgramError> {
    let mut sources: Vec<Source<N>> = vec![Source::Buffer(buffer.chunk_by(|a, b| a == b))];
    for run in runs {
        let file = File::open(&run.path).map_err(NgramError::io("read", &run.path))?;
        sources.push(Source::Run(
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
    let mut sum: Option<(Words<N>, u64)> = None;
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((words, i, count)) = *head;
        match sources[i].next()? {
            // The heap puts it right when `head` goes.
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
