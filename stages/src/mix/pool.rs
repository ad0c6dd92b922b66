//! The pool of documents and its buckets.
//!
//! Cost for ten million documents: 64 bytes of memory each, 4 more in their bucket, and 16 while
//! the bins' edges are found.

use curate_schemas::DocId;

/// Quality bins of the pool; each holds about the same tokens.
pub const BINS: usize = 20;

/// One document of the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The document, `shard << 32 | row`.
    pub doc: u64,
    /// Its identity, the number that the 32 hex digits of the column are: `{:032x}`.
    pub doc_id: DocId,
    /// Number of its (source, domain) pair.
    pub origin: u32,
    /// Tokens of its text.
    pub tokens: u64,
    /// Bytes of its text.
    pub bytes: u64,
    /// Its quality, (0, 1].
    pub q: f64,
}

/// A bucket: documents of one source and domain in one quality bin.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Number of its (source, domain) pair.
    pub origin: u32,
    /// Its quality bin.
    pub bin: u32,
    /// U: tokens, each document once.
    pub tokens: u64,
    /// Where its bin begins: no document of it has a smaller q, and those of the bin before do.
    pub q_from: f64,
    /// Token-weighted mean q of its documents.
    pub q: f64,
    /// Bytes of text.
    pub bytes: u64,
    /// Places of its documents in the pool, ascending.
    pub documents: Vec<u32>,
}

/// Sorts the pool into buckets. Bin edges are token-weighted quantiles of q over the whole pool,
/// from an exact sort; documents of equal q share a bin.
pub fn buckets(pool: &[Document]) -> Vec<Bucket> {
    let edges = edges(pool);
    let bin = |document: &Document| edges.partition_point(|edge| *edge <= document.q);
    let cell = |document: &Document| document.origin as usize * BINS + bin(document);
    let origins = pool
        .iter()
        .map(|document| document.origin as usize + 1)
        .max()
        .unwrap_or(0);
    let mut sizes = vec![0u32; origins * BINS];
    for document in pool {
        sizes[cell(document)] += 1;
    }
    let filled = (0..sizes.len()).filter(|&cell| sizes[cell] > 0);
    let mut buckets: Vec<Bucket> = filled.map(|cell| empty(cell, sizes[cell])).collect();
    for bucket in &mut buckets {
        bucket.q_from = bucket
            .bin
            .checked_sub(1)
            .map_or(0.0, |before| edges[before as usize]);
    }
    // From here on a cell's number is that of its bucket.
    let mut places = sizes;
    for (number, bucket) in buckets.iter().enumerate() {
        places[bucket.origin as usize * BINS + bucket.bin as usize] = number as u32;
    }
    let mut weighted = vec![0u128; buckets.len()];
    for (at, document) in (0u32..).zip(pool) {
        let number = places[cell(document)] as usize;
        weighted[number] += u128::from(fixed_point(document.q)) * u128::from(document.tokens);
        let bucket = &mut buckets[number];
        bucket.tokens += document.tokens;
        bucket.bytes += document.bytes;
        bucket.documents.push(at);
    }
    for (bucket, weighted) in buckets.iter_mut().zip(weighted) {
        bucket.q = ratio(weighted, u128::from(bucket.tokens));
    }
    buckets
}

fn empty(cell: usize, documents: u32) -> Bucket {
    let (origin, bin) = ((cell / BINS) as u32, (cell % BINS) as u32);
    Bucket {
        origin,
        bin,
        q_from: 0.0,
        tokens: 0,
        q: 0.0,
        bytes: 0,
        documents: Vec::with_capacity(documents as usize),
    }
}

/// Lower edges of bins 1 to 19.
fn edges(pool: &[Document]) -> Vec<f64> {
    let mut by_q: Vec<(f64, u64)> = pool
        .iter()
        .map(|document| (document.q, document.tokens))
        .collect();
    by_q.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: u64 = by_q.iter().map(|(_, tokens)| tokens).sum();
    let mut edges = Vec::with_capacity(BINS - 1);
    let mut below = 0u64;
    // Documents of equal q are one step, so that their order has no say.
    for equal in by_q.chunk_by(|a, b| a.0 == b.0) {
        while edges.len() < BINS - 1
            && u128::from(below) * BINS as u128 >= u128::from(total) * (edges.len() as u128 + 1)
        {
            edges.push(equal[0].0);
        }
        below += equal.iter().map(|(_, tokens)| tokens).sum::<u64>();
    }
    edges
}

/// Σ draws·tokens·q / Σ draws·tokens; 0 without tokens. Summed in fixed point, so the order does
/// not matter.
pub fn mean_q<'a>(documents: impl Iterator<Item = (&'a Document, u64)>) -> f64 {
    let (mut weighted, mut tokens) = (0u128, 0u128);
    for (document, draws) in documents {
        let n = u128::from(document.tokens) * u128::from(draws);
        weighted += u128::from(fixed_point(document.q)) * n;
        tokens += n;
    }
    ratio(weighted, tokens)
}

/// q in units of 2^-40.
pub fn fixed_point(q: f64) -> u64 {
    (q * UNIT).round() as u64
}

/// A sum of [`fixed_point`] values times tokens, divided by tokens; 0 where there are none.
pub fn ratio(weighted: u128, tokens: u128) -> f64 {
    if tokens == 0 {
        return 0.0;
    }
    weighted as f64 / tokens as f64 / UNIT
}

const UNIT: f64 = (1u64 << 40) as f64;

/// A sum of numbers of at least 0 and below 2^80, in units of 2^-40, so that their order does not
/// matter.
pub(super) fn sum(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers
        .map(|number| (number * UNIT).round() as u128)
        .fold(0, u128::saturating_add) as f64
        / UNIT
}
