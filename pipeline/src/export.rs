//! A mixture's text in a global order, by a keyed hash of (doc_id, draw): a shuffle in two passes, whose parts follow from
//! the text's size and the part size, never from memory or cores.
//!
//! Pass one reads the documents once and appends each drawn text to the spill file of its part; pass two sorts each part
//! in memory and writes it. Memory: one part's text a thread.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use curate_schemas::manifest::Mixture;
use curate_schemas::tables;
use curate_stages::read;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::driver::Pooled;
use crate::engine::parts;
use crate::interrupt;
use crate::run_dir::ShardFiles;
use crate::writer::{Staged, TableWriter};
use crate::zip::Zip;

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
        let places = pool.documents.iter().zip(draws).enumerate().filter(|(_, (_, draws))| **draws > 0);
        let drawn: HashMap<u64, (usize, u32)> =
            places.map(|(at, (document, draws))| (document.doc, (at, *draws))).collect();
        let bytes: u64 = drawn.values().map(|(at, draws)| pool.documents[*at].bytes * u64::from(*draws)).sum();
        let parts = bytes.div_ceil(mixture.part_size).max(1) as usize;
        Plan { pool, seed, name: &mixture.name, drawn, parts }
    }

    /// The place of a draw in the global order.
    fn order(&self, doc_id: &str, draw: u32) -> u128 {
        xxh3_128_with_seed(format!("{}\0{doc_id}\0{draw}", self.name).as_bytes(), self.seed)
    }

    /// Parts are equal ranges of the order, so that the order is global.
    fn part_of(&self, order: u128) -> usize {
        (((order >> 64) * self.parts as u128) >> 64) as usize
    }
}

/// Pass one: writes the spill files of the parts for which `missing` holds.
///
/// # Errors
/// If a file cannot be read or written.
pub fn spill(plan: &Plan, shards: &[ShardFiles], folder: &Path, missing: &dyn Fn(usize) -> bool) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut open: Vec<Option<BufWriter<File>>> = Vec::new();
    for part in 0..plan.parts {
        let path = spill_path(folder, part);
        let create = || File::create(&path).with_context(|| format!("cannot create {}", path.display()));
        open.push(missing(part).then(|| create().map(|file| BufWriter::with_capacity(1 << 16, file))).transpose()?);
    }
    for (shard, files) in shards.iter().enumerate() {
        let first = (shard as u64) << 32;
        if open.iter().all(Option::is_none) {
            break;
        }
        let mut doc = first;
        for batch in Zip::open(&parts(files, &[read("documents", "text")])?)? {
            interrupt::check()?;
            for text in batch?.column(0).as_string::<i32>() {
                doc += 1;
                let Some((at, draws)) = plan.drawn.get(&(doc - 1)) else {
                    continue;
                };
                for draw in 0..*draws {
                    let order = plan.order(&plan.pool.documents[*at].doc_id, draw);
                    if let Some(file) = &mut open[plan.part_of(order)] {
                        append(file, order, *at as u64, draw, text.unwrap_or_default())
                            .with_context(|| format!("cannot write below {}", folder.display()))?;
                    }
                }
            }
        }
    }
    for mut file in open.into_iter().flatten() {
        file.flush().with_context(|| format!("cannot write below {}", folder.display()))?;
    }
    Ok(())
}

fn spill_path(folder: &Path, part: usize) -> PathBuf {
    folder.join(format!("{part:05}.spill"))
}

fn append(file: &mut impl Write, order: u128, at: u64, draw: u32, text: &str) -> std::io::Result<()> {
    file.write_all(&order.to_le_bytes())?;
    file.write_all(&at.to_le_bytes())?;
    file.write_all(&draw.to_le_bytes())?;
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(text.as_bytes())
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
    for rows in rows.chunks(256) {
        writer.write(&batch(plan, rows)?)?;
    }
    writer.finish()
}

fn batch(plan: &Plan, rows: &[Drawn]) -> Result<RecordBatch> {
    let documents = || rows.iter().map(|row| &plan.pool.documents[row.at]);
    let origins = || documents().map(|document| &plan.pool.origins[document.origin as usize]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(documents().map(|document| &document.doc_id))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.draw))),
        Arc::new(StringArray::from_iter_values(origins().map(|origin| &origin.0))),
        Arc::new(StringArray::from_iter_values(origins().map(|origin| &origin.1))),
        Arc::new(UInt64Array::from_iter_values(documents().map(|document| document.tokens))),
        Arc::new(Float64Array::from_iter_values(documents().map(|document| document.q))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.text))),
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
        let number = |from: usize| u64::from_le_bytes(head[from..from + 8].try_into().expect("eight bytes"));
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
