//! How many epochs each bucket of the pool contributes to a mixture, and which documents make up the fractions.
//!
//! Buckets are source × domain × quality bin. Epochs maximise `Σ q_b · D′(U_b, R_b)`, effective tokens with the repetition
//! discount of Muennighoff et al. 2023 (arXiv:2305.16264), for a token budget under a cap on epochs. The problem is
//! concave; its KKT conditions say: the first pass over a bucket is worth q_b a token, a repeat q_b·e^(−R/R*), and every
//! bucket is filled down to one common marginal value λ, found by bisection.

use std::collections::BTreeMap;

use curate_scorers::loss::{REPEATS_SCALE, unique_equivalent};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Quality bins of the pool; each holds about the same tokens.
pub const BINS: usize = 20;

/// One document of the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The document, `shard << 32 | row`.
    pub doc: u64,
    /// Its identity.
    pub doc_id: String,
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
    /// Token-weighted mean q of its documents.
    pub q: f64,
    /// Bytes of text.
    pub bytes: u64,
    /// Places of its documents in the pool.
    pub documents: Vec<usize>,
}

/// A request that cannot be met.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{asked} tokens are asked for, {max_epochs} epochs over {unique} tokens give {feasible} at the most")]
pub struct Infeasible {
    /// Tokens asked for.
    pub asked: u64,
    /// Cap on epochs.
    pub max_epochs: f64,
    /// Tokens of the pool, each document once.
    pub unique: u64,
    /// The most that can be had.
    pub feasible: u64,
}

/// Sorts the pool into buckets. Bin edges are token-weighted quantiles of q over the whole pool, from an exact sort;
/// documents of equal q share a bin.
pub fn buckets(pool: &[Document]) -> Vec<Bucket> {
    let edges = edges(pool);
    let mut by_key: BTreeMap<(u32, u32), Bucket> = BTreeMap::new();
    for (at, document) in pool.iter().enumerate() {
        let bin = edges.partition_point(|edge| *edge <= document.q) as u32;
        let bucket = by_key.entry((document.origin, bin)).or_insert_with(|| Bucket {
            origin: document.origin,
            bin,
            tokens: 0,
            q: 0.0,
            bytes: 0,
            documents: Vec::new(),
        });
        bucket.tokens += document.tokens;
        bucket.bytes += document.bytes;
        bucket.documents.push(at);
    }
    let mut buckets: Vec<Bucket> = by_key.into_values().collect();
    for bucket in &mut buckets {
        bucket.q = mean_q(bucket.documents.iter().map(|&at| (&pool[at], 1)));
    }
    buckets
}

/// Lower edges of bins 1 to 19.
fn edges(pool: &[Document]) -> Vec<f64> {
    let mut by_q: Vec<(f64, u64)> = pool.iter().map(|document| (document.q, document.tokens)).collect();
    by_q.sort_by(|a, b| a.0.total_cmp(&b.0));
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

/// Σ draws·tokens·q / Σ draws·tokens; 0 without tokens. Summed in fixed point, so the order does not matter.
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
    (q * (1u64 << 40) as f64).round() as u64
}

/// A sum of [`fixed_point`] values times tokens, divided by tokens; 0 where there are none.
pub fn ratio(weighted: u128, tokens: u128) -> f64 {
    if tokens == 0 {
        return 0.0;
    }
    // Whole and fraction apart, so that nothing is rounded before the division.
    weighted as f64 / tokens as f64 / (1u64 << 40) as f64
}

/// Epochs for each bucket.
///
/// # Errors
/// [`Infeasible`] if the budget is more than the cap on epochs allows.
pub fn epochs(buckets: &[Bucket], budget: u64, max_epochs: f64) -> Result<Vec<f64>, Infeasible> {
    let unique: u64 = buckets.iter().map(|bucket| bucket.tokens).sum();
    let feasible = unique as f64 * max_epochs;
    if budget as f64 > feasible {
        return Err(Infeasible { asked: budget, max_epochs, unique, feasible: feasible as u64 });
    }
    let tokens_at = |lambda: f64| -> f64 {
        buckets.iter().map(|bucket| bucket.tokens as f64 * epochs_at(bucket.q, lambda, max_epochs)).sum()
    };
    let highest = buckets.iter().map(|bucket| bucket.q).fold(0.0, f64::max);
    // At `low` every bucket is at its cap: its marginal value there is q·e^(−(cap−1)/R*), and q ≥ 1e-3.
    // Above the highest q nothing is taken, so a budget below the best bucket lies between the two as well.
    let (mut low, mut high) = (0.0, 2.0 * highest);
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if tokens_at(middle) >= budget as f64 { low = middle } else { high = middle }
    }
    Ok(fill_at(buckets, low, high, budget, max_epochs))
}

/// Epochs of a bucket at marginal value λ: none where a fresh token is worth less, else repeats down to λ.
fn epochs_at(q: f64, lambda: f64, max_epochs: f64) -> f64 {
    if q < lambda {
        return 0.0;
    }
    // At λ = 0 the logarithm is infinite: the cap holds.
    (1.0 + REPEATS_SCALE * (q / lambda).ln()).min(max_epochs)
}

/// Buckets worth more than `high` are filled to it; what jumps between `high` and `low` shares the rest of the budget in
/// proportion to its tokens.
fn fill_at(buckets: &[Bucket], low: f64, high: f64, budget: u64, max_epochs: f64) -> Vec<f64> {
    let at_high: Vec<f64> = buckets.iter().map(|bucket| epochs_at(bucket.q, high, max_epochs)).collect();
    let at_low: Vec<f64> = buckets.iter().map(|bucket| epochs_at(bucket.q, low, max_epochs)).collect();
    let tokens = |epochs: &[f64]| -> f64 {
        buckets.iter().zip(epochs).map(|(bucket, epochs)| bucket.tokens as f64 * epochs).sum()
    };
    let (least, most) = (tokens(&at_high), tokens(&at_low));
    let share = if most > least { ((budget as f64 - least) / (most - least)).clamp(0.0, 1.0) } else { 0.0 };
    at_high.iter().zip(&at_low).map(|(high, low)| high + share * (low - high)).collect()
}

/// Draws of each document of the pool: whole epochs, plus the head of the bucket in order of hash(seed, mixture, doc_id)
/// for the rest, to within one document of the bucket's budget; what a bucket misses by is carried to the next that is not at
/// its cap.
pub fn draws(
    pool: &[Document],
    buckets: &[Bucket],
    epochs: &[f64],
    max_epochs: f64,
    seed: u64,
    mixture: &str,
) -> Vec<u32> {
    let mut draws = vec![0u32; pool.len()];
    let mut carried = 0.0;
    for (bucket, &epochs) in buckets.iter().zip(epochs) {
        let whole = epochs.floor();
        for &at in &bucket.documents {
            draws[at] += whole as u32;
        }
        let target = (epochs - whole) * bucket.tokens as f64 + carried;
        if epochs >= max_epochs {
            carried = target;
            continue;
        }
        let mut order: Vec<(u64, usize)> =
            bucket.documents.iter().map(|&at| (draw_key(seed, mixture, &pool[at].doc_id), at)).collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| pool[a.1].doc_id.cmp(&pool[b.1].doc_id)));
        let mut taken = 0.0;
        for (_, at) in order {
            let tokens = pool[at].tokens as f64;
            if taken + tokens / 2.0 > target {
                break;
            }
            draws[at] += 1;
            taken += tokens;
        }
        carried = target - taken;
    }
    draws
}

fn draw_key(seed: u64, mixture: &str, doc_id: &str) -> u64 {
    xxh3_64_with_seed(format!("{mixture}\0{doc_id}").as_bytes(), seed)
}

/// What a set of draws is worth: D_eff with each bucket's q, and with q ≡ 1.
pub fn effective_tokens(pool: &[Document], buckets: &[Bucket], draws: &[u32]) -> (f64, f64) {
    let (mut d_eff, mut d_repeat) = (0.0, 0.0);
    for bucket in buckets {
        let drawn = || bucket.documents.iter().map(|&at| (&pool[at], u64::from(draws[at])));
        let tokens: u64 = drawn().map(|(document, draws)| document.tokens * draws).sum();
        let unique: u64 = drawn().filter(|(_, draws)| *draws > 0).map(|(document, _)| document.tokens).sum();
        if unique == 0 {
            continue;
        }
        let equivalent = unique_equivalent(unique as f64, tokens as f64 / unique as f64);
        d_eff += mean_q(drawn()) * equivalent;
        d_repeat += equivalent;
    }
    (d_eff, d_repeat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(q: f64, tokens: u64) -> Bucket {
        Bucket { origin: 0, bin: 0, tokens, q, bytes: 0, documents: Vec::new() }
    }

    fn value(buckets: &[Bucket], epochs: &[f64]) -> f64 {
        buckets.iter().zip(epochs).map(|(b, e)| b.q * unique_equivalent(b.tokens as f64, *e)).sum()
    }

    #[test]
    fn the_budget_is_met_and_better_buckets_are_repeated_more() {
        let buckets = [bucket(1.0, 1000), bucket(0.5, 2000), bucket(0.1, 4000)];
        let epochs = epochs(&buckets, 5000, 4.0).expect("feasible");
        let total: f64 = buckets.iter().zip(&epochs).map(|(b, e)| b.tokens as f64 * e).sum();
        assert!((total - 5000.0).abs() < 1e-6, "{total}");
        assert!(epochs[0] > epochs[1] && epochs[1] > epochs[2], "{epochs:?}");
    }

    #[test]
    fn repeats_go_before_fresh_tokens_up_to_the_ratio_of_quality() {
        // science: repeat i before taking fresh j until R = R*·ln(q_i / q_j); a ratio of 2 gives 10.67 repeats.
        let buckets = [bucket(1.0, 1000), bucket(0.5, 1_000_000)];
        let epochs = epochs(&buckets, 500_000, 1000.0).expect("feasible");
        assert!((epochs[0] - 11.665978).abs() < 1e-4, "{epochs:?}");
    }

    #[test]
    fn no_shift_between_two_buckets_is_better() {
        let buckets = [bucket(0.9, 700), bucket(0.8, 300), bucket(0.8, 900), bucket(0.3, 5000)];
        let best = epochs(&buckets, 4321, 5.0).expect("feasible");
        let at_best = value(&buckets, &best);
        for from in 0..buckets.len() {
            for to in 0..buckets.len() {
                let mut shifted = best.clone();
                let step = 1.0f64.min(best[from] * buckets[from].tokens as f64);
                shifted[from] -= step / buckets[from].tokens as f64;
                shifted[to] += step / buckets[to].tokens as f64;
                if shifted[to] <= 5.0 {
                    assert!(value(&buckets, &shifted) <= at_best + 1e-9, "{from} to {to}: {best:?}");
                }
            }
        }
    }

    #[test]
    fn a_small_budget_takes_a_part_of_the_best_bucket() {
        let buckets = [bucket(0.9, 1000), bucket(0.5, 2000)];
        let epochs = epochs(&buckets, 400, 4.0).expect("feasible");
        assert!((epochs[0] - 0.4).abs() < 1e-9 && epochs[1] == 0.0, "{epochs:?}");
    }

    #[test]
    fn too_much_is_an_error_that_says_what_would_do() {
        let error = epochs(&[bucket(1.0, 100)], 500, 4.0).expect_err("infeasible");
        assert_eq!((error.unique, error.feasible), (100, 400));
        assert!(epochs(&[bucket(1.0, 100)], 400, 4.0).is_ok());
        assert!(epochs(&[], 1, 4.0).is_err());
    }

    fn pool(n: usize) -> Vec<Document> {
        let q = |i: usize| (i % 10 + 1) as f64 / 10.0;
        let document = |i: usize| Document {
            doc: i as u64,
            doc_id: format!("{i:032x}"),
            origin: (i % 2) as u32,
            tokens: 50 + (i as u64 * 37) % 100,
            bytes: 0,
            q: q(i),
        };
        (0..n).map(document).collect()
    }

    #[test]
    fn draws_come_within_one_document_of_the_budget() {
        let pool = pool(1000);
        let buckets = buckets(&pool);
        for budget in [10_000, 99_999, 250_000] {
            let epochs = epochs(&buckets, budget, 4.0).expect("feasible");
            let draws = draws(&pool, &buckets, &epochs, 4.0, 7, "general");
            let total: u64 = pool.iter().zip(&draws).map(|(d, n)| d.tokens * u64::from(*n)).sum();
            assert!(total.abs_diff(budget) <= 150, "{total} for {budget}");
        }
    }

    #[test]
    fn no_document_is_drawn_more_often_than_the_cap() {
        let pool = pool(300);
        let buckets = buckets(&pool);
        let unique: u64 = pool.iter().map(|document| document.tokens).sum();
        for budget in [unique * 4 - 100, unique * 4 - unique / 50] {
            let epochs = epochs(&buckets, budget, 4.0).expect("feasible");
            let draws = draws(&pool, &buckets, &epochs, 4.0, 7, "general");
            assert!(draws.iter().all(|n| *n <= 4));
        }
    }

    #[test]
    fn bins_do_not_depend_on_the_documents_order() {
        let mut shuffled = pool(997);
        let bins = |pool: &[Document]| -> BTreeMap<String, u32> {
            let bin = |bucket: &Bucket| {
                bucket.documents.iter().map(|&at| (pool[at].doc_id.clone(), bucket.bin)).collect::<Vec<_>>()
            };
            buckets(pool).iter().flat_map(bin).collect()
        };
        let first = bins(&shuffled);
        shuffled.sort_by_key(|document| (document.tokens, document.doc_id.clone()));
        assert_eq!(bins(&shuffled), first);
    }

    #[test]
    fn adding_a_source_does_not_reshuffle_the_others() {
        let mut pool = pool(200);
        let one = buckets(&pool);
        let first = draws(&pool, &one, &vec![0.5; one.len()], 4.0, 7, "general");
        for i in 0..50 {
            pool.push(Document { origin: 9, doc_id: format!("f{i:031x}"), q: 0.05, ..pool[i].clone() });
        }
        let own: Vec<Bucket> = one.clone();
        let second = draws(&pool, &own, &vec![0.5; own.len()], 4.0, 7, "general");
        assert_eq!(first, second[..200]);
    }

    #[test]
    fn bins_hold_about_equal_tokens_and_equal_q_shares_a_bin() {
        let pool = pool(5000);
        let buckets = buckets(&pool);
        let total: u64 = buckets.iter().map(|bucket| bucket.tokens).sum();
        assert_eq!(total, pool.iter().map(|document| document.tokens).sum::<u64>());
        for bucket in &buckets {
            let q = pool[bucket.documents[0]].q;
            assert!(bucket.documents.iter().all(|&at| pool[at].q == q));
        }
    }

    #[test]
    fn effective_tokens_match_the_worked_value() {
        // Two buckets, (U = 2e12, q = 1, T = 3e12) and (U = 5e12, q = .6, T = 5e12): D_eff = 5.983927866e12.
        let d_eff = unique_equivalent(2e12, 1.5) + 0.6 * unique_equivalent(5e12, 1.0);
        assert!((d_eff - 5.983927866e12).abs() < 1e3, "{d_eff}");
    }
}
