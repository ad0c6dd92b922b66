//! The pool of documents and its buckets.
//!
//! Memory a document, at ten million documents: 64 bytes, 4 more in its bucket, and 16 while the
//! bins' edges are found.

use curate_schemas::DocId;

/// Number of quality bins of the pool. Each bin holds about the same number of tokens.
pub const BINS: usize = 20;

/// One document of the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Place of the document in the run: `shard << 32 | row`.
    pub doc: u64,
    /// Identity of the document, as in the column `doc_id`.
    pub doc_id: DocId,
    /// Number of the document's (source, domain) pair.
    pub origin: u32,
    /// Tokens of the text.
    pub tokens: u64,
    /// Length of the text in bytes.
    pub bytes: u64,
    /// The uncalibrated q of the document, in (0, 1]. It decides the bin.
    pub score: f64,
    /// Quality of the document, in (0, 1]; the score if q is uncalibrated.
    pub q: f64,
}

/// A bucket: documents of one source and domain in one bin of the score.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Number of the bucket's (source, domain) pair.
    pub origin: u32,
    /// Bin of the score, 0 to 19. A greater bin has greater scores.
    pub bin: u32,
    /// U: tokens of the documents, each document once.
    pub tokens: u64,
    /// Lower end of the bin: its documents have this score or more, those of the bin before have
    /// less.
    pub score_from: f64,
    /// Token-weighted mean q of the documents; 0 without tokens.
    pub q: f64,
    /// Length of the documents' texts in bytes.
    pub bytes: u64,
    /// Places of the documents in the pool, ascending.
    pub documents: Vec<u32>,
}

/// Sorts the pool into buckets, in the order of origin and bin. Bin edges are token-weighted
/// quantiles of the score over the whole pool, from an exact sort. Documents of equal score share a
/// bin.
pub fn buckets(pool: &[Document]) -> Vec<Bucket> {
    let by_score = pool
        .iter()
        .map(|document| (document.score, document.tokens));
    let edges = edges(by_score.collect(), BINS);
    let cell = |document: &Document| {
        let bin = edges.partition_point(|edge| *edge <= document.score);
        document.origin as usize * BINS + bin
    };

    // Documents are counted first, so that each bucket's list gets the memory it needs and no more.
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

    // A bin is the number of edges that the score has reached, so bin n has the edge n − 1.
    for bucket in &mut buckets {
        bucket.score_from = bucket
            .bin
            .checked_sub(1)
            .map_or(0.0, |before| edges[before as usize]);
    }

    // From here on the counts are not needed. Their memory holds the number of each cell's bucket.
    let mut places = sizes;
    for (number, bucket) in buckets.iter().enumerate() {
        places[bucket.origin as usize * BINS + bucket.bin as usize] = number as u32;
    }

    // Sums of q are integers, so the order of the documents has no say.
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

/// Takes the mean q of each bucket anew from its documents, whose q has changed.
pub fn weigh(pool: &[Document], buckets: &mut [Bucket]) {
    for bucket in buckets {
        let documents = bucket.documents.iter();
        bucket.q = mean_q(documents.map(|&at| (&pool[at as usize], 1)));
    }
}

/// The bucket of a cell, with room for its documents.
fn empty(cell: usize, documents: u32) -> Bucket {
    let (origin, bin) = ((cell / BINS) as u32, (cell % BINS) as u32);
    Bucket {
        origin,
        bin,
        score_from: 0.0,
        tokens: 0,
        q: 0.0,
        bytes: 0,
        documents: Vec::with_capacity(documents as usize),
    }
}

/// Lower edges of the bins from 1 on, ascending, at most `bins − 1`: token-weighted quantiles of
/// pairs of score and tokens, from an exact sort. Two equal edges leave a bin without documents.
pub fn edges(mut by_q: Vec<(f64, u64)>, bins: usize) -> Vec<f64> {
    by_q.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));

    let total: u64 = by_q.iter().map(|(_, tokens)| tokens).sum();
    let mut edges = Vec::with_capacity(bins - 1);
    let mut below = 0u64;
    // Documents of equal q are one step, so that their order has no say.
    for equal in by_q.chunk_by(|a, b| a.0 == b.0) {
        while edges.len() < bins - 1
            && u128::from(below) * bins as u128 >= u128::from(total) * (edges.len() as u128 + 1)
        {
            edges.push(equal[0].0);
        }
        below += equal.iter().map(|(_, tokens)| tokens).sum::<u64>();
    }

    edges
}

/// Mean q of documents with their draws: Σ draws·tokens·q / Σ draws·tokens; 0 without tokens. The
/// sum is in fixed point, so the order of the documents does not matter.
pub fn mean_q<'a>(documents: impl Iterator<Item = (&'a Document, u64)>) -> f64 {
    let (mut weighted, mut tokens) = (0u128, 0u128);
    for (document, draws) in documents {
        let n = u128::from(document.tokens) * u128::from(draws);
        weighted += u128::from(fixed_point(document.q)) * n;
        tokens += n;
    }
    ratio(weighted, tokens)
}

/// A quality in units of 2^-40, rounded to the nearest.
pub fn fixed_point(q: f64) -> u64 {
    (q * UNIT).round() as u64
}

/// The mean q of a sum of [`fixed_point`] values times tokens; 0 without tokens.
pub fn ratio(weighted: u128, tokens: u128) -> f64 {
    if tokens == 0 {
        return 0.0;
    }
    weighted as f64 / tokens as f64 / UNIT
}

/// Steps of fixed-point numbers in one.
const UNIT: f64 = (1u64 << 40) as f64;

/// The sum of numbers that are at least 0 and below 2^80. It is formed in units of 2^-40, so that
/// the order of the numbers does not matter.
pub(crate) fn sum(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers
        .map(|number| (number * UNIT).round() as u128)
        .fold(0, u128::saturating_add) as f64
        / UNIT
}
