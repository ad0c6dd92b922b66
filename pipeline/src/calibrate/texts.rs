//! The texts of the pool, as the mixture would hold them, and as pieces of tokens.

use anyhow::Result;
use curate_scorers::tokenizer::Tokenizer;
use curate_stages::mix::Document;
use curate_stages::text::TextSource;
use curate_store::interrupt;
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::zip::{Zip, parts};
use rayon::prelude::*;

use crate::driver::engine::of_stage;

/// The longest piece, in tokens. With whole documents instead of pieces, the loss at a million
/// tokens spread nearly twice as far between seeds.
pub const PIECE: usize = 1_500;

/// Calls `read` with the place and the text of each wanted document of the pool, and returns the
/// results in the order of the pool. Shards are read in parallel.
///
/// # Errors
/// If a file cannot be read, or the first error of `read`.
pub fn each_text<T: Send>(
    run: &RunDir,
    pool: &[Document],
    wanted: &[bool],
    read: impl Fn(u32, &str) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let shards = run.shard_files()?;
    let source = TextSource::before("mixture", &run.manifest()?);

    // The pool is in the order of shards and rows, so a shard's documents are neighbours.
    let of_shard = |shard: usize| {
        let begin = pool.partition_point(|document| (document.doc >> 32) < shard as u64);
        let end = pool.partition_point(|document| (document.doc >> 32) <= shard as u64);
        begin..end
    };
    let read_shard = |(shard, files): (usize, &ShardFiles)| -> Result<Vec<T>> {
        let places = of_shard(shard).filter(|&place| wanted[place]);
        read_texts(files, &source, pool, places, &read)
    };

    let found: Vec<Vec<T>> = shards
        .par_iter()
        .enumerate()
        .map(read_shard)
        .collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// The results of `read` for the documents of one shard at these places, which ascend.
fn read_texts<T>(
    files: &ShardFiles,
    source: &TextSource,
    pool: &[Document],
    places: impl Iterator<Item = usize>,
    read: impl Fn(u32, &str) -> Result<T>,
) -> Result<Vec<T>> {
    let mut places = places.peekable();
    let mut found = Vec::new();
    if places.peek().is_none() {
        return Ok(found);
    }

    let mut first_row = 0u64;
    for batch in Zip::open(&parts(files, &source.reads())?)? {
        interrupt::check()?;
        let batch = batch?;
        let rows = batch.num_rows() as u64;
        let row = |place: &usize| pool[*place].doc & u64::from(u32::MAX);

        if places
            .peek()
            .is_some_and(|place| row(place) < first_row + rows)
        {
            let texts = source.texts(&batch).map_err(of_stage)?;
            while let Some(place) = places.next_if(|place| row(place) < first_row + rows) {
                let text = texts.value((row(&place) - first_row) as usize);
                found.push(read(place as u32, text)?);
            }
        }
        first_row += rows;
    }
    Ok(found)
}

/// A text as pieces of at most [`PIECE`] tokens.
///
/// # Errors
/// If the tokenizer fails.
pub fn pieces(tokenizer: &Tokenizer, text: &str) -> Result<Vec<Vec<u32>>> {
    let ids = tokenizer.encode(text, None)?;
    Ok(ids.chunks(PIECE).map(<[u32]>::to_vec).collect())
}
