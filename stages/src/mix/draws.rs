//! Which documents make up a mixture's epochs: whole passes over each bucket, and for the fraction
//! of a pass the head of the bucket in a keyed order.
//!
//! Cost: a sort of 16 bytes a document, one bucket at a time.

use curate_schemas::DocId;
use curate_scorers::loss::unique_equivalent;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Bucket, Document, Law, Parts, mean_q};

/// Number of draws of each document of the pool.
///
/// Whole epochs draw every document of a bucket. The fraction draws the head of the bucket in the
/// order of hash(seed, mixture, doc_id), to within one document of the bucket's budget. The error
/// is carried to the next bucket that is not full at its cap. `caps` are the buckets' caps on
/// epochs. A cap may be a fraction.
pub fn draws(
    pool: &[Document],
    buckets: &[Bucket],
    epochs: &[f64],
    caps: &[f64],
    seed: u64,
    mixture: &str,
) -> Vec<u32> {
    let mut draws = vec![0u32; pool.len()];
    let mut order: Vec<(u64, u32)> = Vec::new();
    let mut key = DrawKey::new(seed, mixture);
    let mut carried = 0.0;

    for ((bucket, &epochs), &cap) in buckets.iter().zip(epochs).zip(caps) {
        // A manifest allows at most 1,000 epochs, so the number of passes fits.
        let whole = epochs.floor();
        for &at in &bucket.documents {
            draws[at as usize] += whole as u32;
        }

        // A bucket at a whole cap is full: the carried tokens would draw a document once too often.
        if whole >= cap {
            continue;
        }
        // No document of a token or more is taken for less than half a token, whatever the order.
        // This spares the sort.
        let target = (epochs - whole) * bucket.tokens as f64 + carried;
        if target < 0.5 {
            carried = target;
            continue;
        }

        // Equal hashes are ordered by identity, so the order of the pool has no say.
        order.clear();
        order.extend(
            bucket
                .documents
                .iter()
                .map(|&at| (key.of(pool[at as usize].doc_id), at)),
        );
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| pool[a.1 as usize].doc_id.cmp(&pool[b.1 as usize].doc_id))
        });
        carried = target - take(pool, &order, target, &mut draws);
    }

    draws
}

/// Draws the head of an order up to `target` tokens, to the nearest document. Returns the number of
/// tokens drawn.
fn take(pool: &[Document], order: &[(u64, u32)], target: f64, draws: &mut [u32]) -> f64 {
    let mut taken = 0.0;
    for &(_, at) in order {
        let tokens = pool[at as usize].tokens as f64;
        // A document that begins within the target is left out if more than half of it is beyond.
        if taken + tokens / 2.0 > target {
            break;
        }
        draws[at as usize] += 1;
        taken += tokens;
    }
    taken
}

/// The function hash(seed, mixture, doc_id): xxh3 of the mixture's name, a zero byte and the 32
/// digits of the identity.
struct DrawKey {
    seed: u64,
    bytes: Vec<u8>,
}

impl DrawKey {
    fn new(seed: u64, mixture: &str) -> Self {
        let mut bytes = mixture.as_bytes().to_vec();
        bytes.extend([0; 33]);
        DrawKey { seed, bytes }
    }

    /// The hash of one document.
    fn of(&mut self, doc_id: DocId) -> u64 {
        // The digits are those of `doc_id.to_string()`, without a string for each document.
        let start = self.bytes.len() - 32;
        for (pair, byte) in self.bytes[start..]
            .chunks_exact_mut(2)
            .zip(doc_id.0.to_be_bytes())
        {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }

        xxh3_64_with_seed(&self.bytes, self.seed)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What a set of draws is worth, in effective tokens: D_eff under the law with the q of what is
/// drawn from each bucket, and D′, which is the plain sum with q ≡ 1.
pub fn effective_tokens(
    pool: &[Document],
    buckets: &[Bucket],
    draws: &[u32],
    law: &Law,
) -> (f64, f64) {
    let (mut parts, mut d_repeat) = (Parts::default(), 0.0);
    for bucket in buckets {
        let drawn = || {
            bucket
                .documents
                .iter()
                .map(|&at| (&pool[at as usize], u64::from(draws[at as usize])))
        };

        let tokens: u64 = drawn()
            .map(|(document, draws)| document.tokens * draws)
            .sum();
        let unique: u64 = drawn()
            .filter(|(_, draws)| *draws > 0)
            .map(|(document, _)| document.tokens)
            .sum();
        if unique == 0 {
            continue;
        }

        // The documents that are drawn differ from the bucket as planned, in tokens and in q. So
        // the worth is that of the draws, not of the epochs.
        let equivalent = unique_equivalent(unique as f64, tokens as f64 / unique as f64);
        parts.add(law, bucket.origin, mean_q(drawn()) * equivalent);
        d_repeat += equivalent;
    }
    (parts.total(law), d_repeat)
}
