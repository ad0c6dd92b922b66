//! Properties of mixtures on generated instances; numbers are the same in every run.

mod baselines;
mod ces;
mod draws;
mod pool;
mod solve;

use super::*;

/// A linear congruential generator with the constants of Knuth's MMIX; its high bits are used.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

pub(super) fn bucket(origin: u32, bin: u32, q: f64, tokens: u64) -> Bucket {
    Bucket {
        origin,
        bin,
        score_from: 0.0,
        tokens,
        q,
        bytes: 0,
        documents: Vec::new(),
    }
}

/// `n` buckets of `sources` sources; some share a q, as buckets do that hold a floor or a ceiling.
pub(super) fn some_buckets(numbers: &mut Numbers, n: usize, sources: usize) -> Vec<Bucket> {
    let one = |_| {
        let q = [0.05 + 0.95 * numbers.uniform(), 0.5, 1.0][numbers.below(4).saturating_sub(1)];
        bucket(
            numbers.below(sources) as u32,
            numbers.below(BINS) as u32,
            q,
            1 + numbers.below(100_000) as u64,
        )
    };
    (0..n).map(one).collect()
}

/// Bounds, caps and a budget, not always such as can be met.
pub(super) fn some_request(numbers: &mut Numbers, buckets: &[Bucket], sources: usize) -> Request {
    let bounds = |source: usize| {
        let mut bounds = SourceBounds::free(format!("source {source}"));
        bounds.min_share = if numbers.below(3) == 0 {
            0.5 * numbers.uniform()
        } else {
            0.0
        };
        bounds.max_share = if numbers.below(3) == 0 {
            bounds.min_share + 0.5 * numbers.uniform()
        } else {
            1.0
        };
        bounds.max_epochs = (numbers.below(3) == 0).then_some(0.5 + 8.0 * numbers.uniform());
        bounds
    };
    let sources = (0..sources).map(bounds).collect::<Vec<_>>();
    let unique: u64 = buckets.iter().map(|bucket| bucket.tokens).sum();
    let tokens = 1 + (unique as f64 * 4.0 * numbers.uniform().powi(2)) as u64;
    let source_of = (0..sources.len() as u32).collect();
    Request {
        tokens,
        max_epochs: 1.0 + 6.0 * numbers.uniform(),
        sources,
        source_of,
        law: Law::default(),
    }
}

pub(super) fn tokens_by_source(buckets: &[Bucket], request: &Request, epochs: &[f64]) -> Vec<f64> {
    let mut tokens = vec![0.0; request.sources.len().max(1)];
    for (bucket, epochs) in buckets.iter().zip(epochs) {
        tokens[request.source(bucket)] += bucket.tokens as f64 * epochs;
    }
    tokens
}

/// Panics unless budget, shares and caps hold.
pub(super) fn assert_feasible(buckets: &[Bucket], request: &Request, epochs: &[f64]) {
    let budget = request.tokens as f64;
    let by_source = tokens_by_source(buckets, request, epochs);
    let total: f64 = by_source.iter().sum();
    assert!(
        (total / budget - 1.0).abs() < 1e-9,
        "{total} tokens for {budget}"
    );
    for (tokens, bounds) in by_source.iter().zip(&request.sources) {
        let share = tokens / budget;
        assert!(
            share >= bounds.min_share - 1e-9 && share <= bounds.max_share + 1e-9,
            "{share}: {bounds:?}"
        );
    }
    for (epochs, cap) in epochs.iter().zip(request.caps(buckets)) {
        assert!(
            (0.0..=cap).contains(epochs),
            "{epochs} epochs, {cap} allowed"
        );
    }
}

/// Panics if tokens moved from one bucket to another make a mixture worth more, within the bounds.
/// `slack` is the relative error of `value`. Returns the number of moves.
pub(super) fn assert_no_shift_is_better(
    buckets: &[Bucket],
    request: &Request,
    epochs: &[f64],
    value: &dyn Fn(&[f64]) -> f64,
    steps: [f64; 3],
    slack: f64,
) -> usize {
    let (caps, best) = (request.caps(buckets), value(epochs));
    let by_source = tokens_by_source(buckets, request, epochs);
    let share = |source: usize, change: f64| (by_source[source] + change) / request.tokens as f64;

    let mut tried = 0;
    for from in 0..buckets.len() {
        for to in (0..buckets.len()).filter(|&to| to != from) {
            for step in steps {
                let mut shifted = epochs.to_vec();
                shifted[from] -= step / buckets[from].tokens as f64;
                shifted[to] += step / buckets[to].tokens as f64;

                let (source, target) =
                    (request.source(&buckets[from]), request.source(&buckets[to]));
                let shares_hold = source == target
                    || share(source, -step) >= request.sources[source].min_share
                        && share(target, step) <= request.sources[target].max_share;
                if shares_hold && shifted[from] >= 0.0 && shifted[to] <= caps[to] {
                    tried += 1;
                    let other = value(&shifted);
                    assert!(
                        other <= best * (1.0 + slack),
                        "{from} to {to} by {step}: {other} > {best}, {:?}",
                        request.law
                    );
                }
            }
        }
    }
    tried
}
