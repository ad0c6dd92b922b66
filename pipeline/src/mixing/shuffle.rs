//! The shuffle of a mixture: its texts in one global order, by a keyed hash of (doc_id, draw).
//!
//! Pass one reads the documents once and appends each drawn text to the spill file of its part.
//! Pass two sorts each part in memory and writes it. The number of parts follows from the size of
//! the text and of a part, never from memory or cores. In memory is the text of one part for each
//! thread.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use curate_schemas::stages::mixtures::Mixture;
use curate_schemas::{DocId, tables};
use curate_stages::text::TextSource;
use curate_store::interrupt;
use curate_store::run_dir::ShardFiles;
use curate_store::writer::{Staged, TableWriter};
use curate_store::zip::{Zip, parts};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::Pooled;
use crate::driver::engine::of_stage;

/// Greatest text of a written batch, bytes, unless one text is longer.
const BATCH_BYTES: usize = 64 << 20;
/// Greatest number of rows of a written batch.
const BATCH_ROWS: usize = 256;

/// The order of a mixture's rows, as an export states it: see [`Plan::order`].
pub const ORDER: &str = "rising xxh3-128 hashes of (mixture, doc_id, draw)";

/// The documents that are drawn, and the part that each draw goes to.
pub struct Plan<'a> {
    pool: &'a Pooled,
    seed: u64,
    name: &'a str,
    /// Place in the pool and number of draws of each drawn document, by its `doc`.
    drawn: HashMap<u64, (usize, u32)>,
    /// Number of parts, at least 1.
    pub parts: usize,
}

impl<'a> Plan<'a> {
    /// The plan for a pool whose documents are drawn as often as `draws` says.
    pub fn new(pool: &'a Pooled, draws: &[u32], seed: u64, mixture: &'a Mixture) -> Self {
        let places = pool
            .documents
            .iter()
            .zip(draws)
            .enumerate()
            .filter(|(_, (_, draws))| **draws > 0);
        let drawn: HashMap<u64, (usize, u32)> = places
            .map(|(at, (document, draws))| (document.doc, (at, *draws)))
            .collect();

        // An empty mixture is one part without rows.
        let bytes: u64 = drawn
            .values()
            .map(|(at, draws)| pool.documents[*at].bytes * u64::from(*draws))
            .sum();
        let parts = bytes.div_ceil(mixture.part_size).max(1) as usize;

        Plan {
            pool,
            seed,
            name: &mixture.name,
            drawn,
            parts,
        }
    }

    /// The place of a draw in the global order. Another mixture or seed gives another order.
    fn order(&self, doc_id: DocId, draw: u32) -> u128 {
        xxh3_128_with_seed(
            format!("{}\0{doc_id}\0{draw}", self.name).as_bytes(),
            self.seed,
        )
    }

    /// The part of a draw, from 0. Parts are equal ranges of the order, so one part after the other
    /// is the global order.
    fn part_of(&self, order: u128) -> usize {
        (((order >> 64) * self.parts as u128) >> 64) as usize
    }
}

/// Pass one: writes the spill files of the parts for which `missing` is true.
///
/// There may be more parts than files can be open. Each part therefore has a buffer, all of them
/// together about `memory` bytes, and its file is open only while the buffer is written.
///
/// # Errors
/// If a file cannot be read or written.
pub fn spill(
    plan: &Plan,
    shards: &[ShardFiles],
    text: &TextSource,
    folder: &Path,
    memory: u64,
    missing: &dyn Fn(usize) -> bool,
) -> Result<()> {
    // Pass one appends to files, so the files that an earlier mixture left must go.
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;

    let mut buffers: Vec<Option<Vec<u8>>> = (0..plan.parts)
        .map(|part| missing(part).then(Vec::new))
        .collect();
    let most = (memory as usize / plan.parts).clamp(16 << 10, 8 << 20);

    for (shard, files) in shards.iter().enumerate() {
        // If every part is there already, no text is read.
        if buffers.iter().all(Option::is_none) {
            break;
        }

        // `doc` is the number of the shard and of the row in it, as the pool has it.
        let mut doc = (shard as u64) << 32;
        for batch in Zip::open(&parts(files, &text.reads())?)? {
            interrupt::check()?;
            for text in &text.texts(&batch?).map_err(of_stage)? {
                doc += 1;
                let Some((at, draws)) = plan.drawn.get(&(doc - 1)) else {
                    continue;
                };
                for draw in 0..*draws {
                    let order = plan.order(plan.pool.documents[*at].doc_id, draw);
                    let part = plan.part_of(order);
                    let Some(buffer) = &mut buffers[part] else {
                        continue;
                    };
                    append(buffer, order, *at as u64, draw, text.unwrap_or_default());
                    if buffer.len() >= most {
                        flush(folder, part, buffer)?;
                    }
                }
            }
        }
    }

    // A part without text gets a file too, because pass two reads the file of each missing part.
    for (part, buffer) in buffers.iter_mut().enumerate() {
        if let Some(buffer) = buffer {
            flush(folder, part, buffer)?;
        }
    }
    Ok(())
}

/// Appends a part's buffer to its file and empties it.
fn flush(folder: &Path, part: usize, buffer: &mut Vec<u8>) -> Result<()> {
    let path = spill_path(folder, part);
    let place = || format!("cannot write {}", path.display());

    let mut file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(place)?;
    file.write_all(buffer).with_context(place)?;
    buffer.clear();
    Ok(())
}

fn spill_path(folder: &Path, part: usize) -> PathBuf {
    folder.join(format!("{part:05}.spill"))
}

/// Appends one draw to a buffer: a head of 36 bytes, then the text. [`read_spill`] reads them back.
fn append(buffer: &mut Vec<u8>, order: u128, at: u64, draw: u32, text: &str) {
    buffer.extend_from_slice(&order.to_le_bytes());
    buffer.extend_from_slice(&at.to_le_bytes());
    buffer.extend_from_slice(&draw.to_le_bytes());
    buffer.extend_from_slice(&(text.len() as u64).to_le_bytes());
    buffer.extend_from_slice(text.as_bytes());
}

/// One draw of a document, as a spill file holds it.
struct Drawn {
    order: u128,
    at: usize,
    draw: u32,
    text: String,
}

/// Pass two: sorts the rows of one part and writes them to `staged`. The spill file is deleted.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write_part(plan: &Plan, part: usize, folder: &Path, staged: &Path) -> Result<Staged> {
    let path = spill_path(folder, part);
    let mut rows = read_spill(&path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;

    // Place and draw break ties of the hash, so that an unstable sort gives one order.
    rows.sort_unstable_by_key(|row| (row.order, row.at, row.draw));

    let mut writer = TableWriter::create(staged, tables::schema("mixture"))?;
    // The text of a batch must stay far below the 2 GiB that 32-bit offsets can address.
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        // Only rows that can be taken are looked at. `BATCH_BYTES` of short texts are hundreds of
        // thousands of rows, and all of them would be looked at again for each batch.
        let most = rest.len().min(BATCH_ROWS);
        let mut bytes = 0;
        let n = rest[..most]
            .iter()
            .position(|row| {
                bytes += row.text.len();
                bytes > BATCH_BYTES
            })
            .unwrap_or(most)
            .max(1);
        writer.write(&batch(plan, &rest[..n])?)?;
        rest = &rest[n..];
    }
    writer.finish()
}

/// Rows of a part as a batch of the table `mixture`.
fn batch(plan: &Plan, rows: &[Drawn]) -> Result<RecordBatch> {
    let documents = || rows.iter().map(|row| &plan.pool.documents[row.at]);
    let origins = || documents().map(|document| &plan.pool.origins[document.origin as usize]);

    // In the order of the table's columns.
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            documents().map(|document| document.doc_id.to_string()),
        )),
        Arc::new(UInt32Array::from_iter_values(
            rows.iter().map(|row| row.draw),
        )),
        Arc::new(StringArray::from_iter_values(
            origins().map(|origin| &origin.0),
        )),
        Arc::new(StringArray::from_iter_values(
            origins().map(|origin| &origin.1),
        )),
        Arc::new(UInt64Array::from_iter_values(
            documents().map(|document| document.tokens),
        )),
        Arc::new(Float64Array::from_iter_values(
            documents().map(|document| document.q),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| &row.text),
        )),
    ];

    Ok(RecordBatch::try_new(tables::schema("mixture"), columns)?)
}

/// All draws of a spill file, in the order in which they were written.
fn read_spill(path: &Path) -> Result<Vec<Drawn>> {
    let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
    let mut rows = Vec::new();
    let mut head = [0u8; 36];

    loop {
        // The file may end before a draw. An end inside a draw is an error.
        match file.read_exact(&mut head[..1]) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(rows),
            result => result?,
        }
        file.read_exact(&mut head[1..])?;

        let number =
            |from: usize| u64::from_le_bytes(head[from..from + 8].try_into().expect("eight bytes"));
        let mut text = vec![0; number(28) as usize];
        file.read_exact(&mut text)?;
        rows.push(Drawn {
            order: u128::from(number(0)) | u128::from(number(8)) << 64,
            at: number(16) as usize,
            draw: u32::from_le_bytes(head[24..28].try_into().expect("four bytes")),
            text: String::from_utf8(text).context("a spill file is damaged")?,
        });
        ensure!(rows.len() < u32::MAX as usize, "a part has too many rows");
    }
}
