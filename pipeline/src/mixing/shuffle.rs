//! A mixture's text in a global order, by a keyed hash of (doc_id, draw): a shuffle in two passes,
//! whose parts follow from the text's size and the part size, never from memory or cores.
//!
//! Pass one reads the documents once and appends each drawn text to the spill file of its part;
//! pass two sorts each part in memory and writes it. Memory: one part's text a thread.

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

const BATCH_BYTES: usize = 64 << 20;
const BATCH_ROWS: usize = 256;

/// Which documents go where.
pub struct Plan<'a> {
    pool: &'a Pooled,
    seed: u64,
    name: &'a str,
    /// Place in the pool of each drawn document, by `doc`, with its draws.
    drawn: HashMap<u64, (usize, u32)>,
    /// Number of parts.
    pub parts: usize,
}

impl<'a> Plan<'a> {
    /// A plan for the draws of a pool.
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

    /// The place of a draw in the global order.
    fn order(&self, doc_id: DocId, draw: u32) -> u128 {
        xxh3_128_with_seed(
            format!("{}\0{doc_id}\0{draw}", self.name).as_bytes(),
            self.seed,
        )
    }

    /// Parts are equal ranges of the order, so that the order is global.
    fn part_of(&self, order: u128) -> usize {
        (((order >> 64) * self.parts as u128) >> 64) as usize
    }
}

/// Pass one: writes the spill files of the parts for which `missing` holds. Parts are many and open
/// files few, so each has a buffer out of `memory` bytes and its file is open only while that is
/// written.
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
    // Files are appended to, so what an earlier mixture left must go.
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut buffers: Vec<Option<Vec<u8>>> = (0..plan.parts)
        .map(|part| missing(part).then(Vec::new))
        .collect();
    let most = (memory as usize / plan.parts).clamp(16 << 10, 8 << 20);
    for (shard, files) in shards.iter().enumerate() {
        if buffers.iter().all(Option::is_none) {
            break;
        }
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

fn append(buffer: &mut Vec<u8>, order: u128, at: u64, draw: u32, text: &str) {
    buffer.extend_from_slice(&order.to_le_bytes());
    buffer.extend_from_slice(&at.to_le_bytes());
    buffer.extend_from_slice(&draw.to_le_bytes());
    buffer.extend_from_slice(&(text.len() as u64).to_le_bytes());
    buffer.extend_from_slice(text.as_bytes());
}

struct Drawn {
    order: u128,
    at: usize,
    draw: u32,
    text: String,
}

/// Pass two: one part, sorted and written to staging.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write_part(plan: &Plan, part: usize, folder: &Path, staged: &Path) -> Result<Staged> {
    let path = spill_path(folder, part);
    let mut rows = read_spill(&path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
    rows.sort_unstable_by_key(|row| (row.order, row.at, row.draw));
    let mut writer = TableWriter::create(staged, tables::schema("mixture"))?;
    // A batch's text must stay far below the 2 GiB that 32-bit offsets can address.
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let full = |row: &Drawn| {
            bytes += row.text.len();
            bytes > BATCH_BYTES
        };
        // No more rows are looked at than are taken: a batch's bytes of short texts are hundreds of
        // thousands.
        let most = rest.len().min(BATCH_ROWS);
        let n = rest[..most].iter().position(full).unwrap_or(most).max(1);
        writer.write(&batch(plan, &rest[..n])?)?;
        rest = &rest[n..];
    }
    writer.finish()
}

fn batch(plan: &Plan, rows: &[Drawn]) -> Result<RecordBatch> {
    let documents = || rows.iter().map(|row| &plan.pool.documents[row.at]);
    let origins = || documents().map(|document| &plan.pool.origins[document.origin as usize]);
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

fn read_spill(path: &Path) -> Result<Vec<Drawn>> {
    let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
    let mut rows = Vec::new();
    let mut head = [0u8; 36];
    loop {
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
