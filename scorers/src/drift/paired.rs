//! Paired checks: the same documents before and after a change of code or configuration.
//!
//! On the same frozen input nothing has to be estimated to know whether something changed: one
//! flipped verdict is a change. The exact interval (Clopper & Pearson 1934) gives the share of
//! flips to expect among other documents like these. McNemar's exact test says whether flips go one
//! way. Kendall's τ-b says whether the order of scores held.
//!
//! Cost: O(n log n) time and 16 bytes a pair, with 24 more while τ is computed.

use serde::{Deserialize, Serialize};

use super::special::{binomial_interval, sign_test};

/// Counts of documents whose verdict changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flips {
    /// Documents in both runs.
    pub documents: u64,
    /// Documents kept before and removed now.
    pub removed: u64,
    /// Documents removed before and kept now.
    pub restored: u64,
    /// Documents removed by both runs, for different reasons. Such a document is not a flip.
    pub reasons: u64,
}

impl Flips {
    /// Counts a document. `before` and `now` are what removed the document, `None` if it was kept.
    pub fn add(&mut self, before: Option<&str>, now: Option<&str>) {
        self.documents += 1;
        match (before, now) {
            (None, Some(_)) => self.removed += 1,
            (Some(_), None) => self.restored += 1,
            (before, now) => self.reasons += u64::from(before != now),
        }
    }

    /// Adds the counts of other documents.
    pub fn merge(&mut self, other: &Flips) {
        self.documents += other.documents;
        self.removed += other.removed;
        self.restored += other.restored;
        self.reasons += other.reasons;
    }

    /// The number of verdicts that flipped, either way.
    pub fn flips(&self) -> u64 {
        self.removed + self.restored
    }

    /// The exact interval of the share of flips, at `confidence` in (0, 1).
    pub fn interval(&self, confidence: f64) -> [f64; 2] {
        binomial_interval(self.flips(), self.documents, confidence)
    }

    /// McNemar's exact two-sided p-value: the probability that flips are at least as one-sided as
    /// these if both ways are equally likely.
    pub fn mcnemar(&self) -> f64 {
        sign_test(self.removed, self.restored)
    }
}

/// The change of the scores of the same documents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoreChange {
    /// Documents with a score in both runs.
    pub documents: u64,
    /// Documents with a score in one run only.
    pub unpaired: u64,
    /// Scores that differ at all.
    pub changed: u64,
    /// The largest |Δ|; 0 without documents.
    pub max: f64,
    /// The least |Δ| that 99 % of the documents do not exceed; 0 without documents.
    pub p99: f64,
    /// Kendall's τ-b, in \[−1, 1\]; `None` where one side has a single value.
    pub kendall_tau: Option<f64>,
}

/// Compares the scores of the same documents before and now. NaN counts as no score.
pub fn score_change(pairs: impl IntoIterator<Item = (Option<f64>, Option<f64>)>) -> ScoreChange {
    let scored = |score: Option<f64>| score.filter(|score| !score.is_nan());
    let (mut both, mut unpaired) = (Vec::new(), 0);

    for (before, now) in pairs {
        match (scored(before), scored(now)) {
            (Some(before), Some(now)) => both.push((before, now)),
            (before, now) => unpaired += u64::from(before.is_some() != now.is_some()),
        }
    }

    // The difference of equal infinities would be NaN.
    let mut deltas: Vec<f64> = both
        .iter()
        .map(|(a, b)| if a == b { 0.0 } else { (b - a).abs() })
        .collect();
    deltas.sort_unstable_by(f64::total_cmp);
    let rank = (deltas.len() * 99).div_ceil(100).saturating_sub(1);

    ScoreChange {
        documents: both.len() as u64,
        unpaired,
        changed: deltas.iter().filter(|delta| **delta > 0.0).count() as u64,
        max: deltas.last().copied().unwrap_or(0.0),
        p99: deltas.get(rank).copied().unwrap_or(0.0),
        kendall_tau: kendall_tau(both),
    }
}

/// Kendall's τ-b, in which tied pairs are neither concordant nor discordant, in O(n log n) (Knight
/// 1966). Sorted by the first score, the exchanges that merge sort makes by the second are the
/// discordant pairs. The scores must not be NaN. `None` where all pairs are tied on one side.
pub fn kendall_tau(mut pairs: Vec<(f64, f64)>) -> Option<f64> {
    // Makes −0 a 0. They are one value, but `total_cmp` would part them.
    pairs
        .iter_mut()
        .for_each(|pair| *pair = (pair.0 + 0.0, pair.1 + 0.0));
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));

    let ties_first = ties(&pairs, |a, b| a.0 == b.0);
    let ties_both = ties(&pairs, |a, b| a == b);

    // Pairs with equal first scores are in the order of the second, so they are not exchanged.
    let mut seconds: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let discordant = sort_counting(&mut seconds, &mut vec![0.0; pairs.len()]);
    let ties_second = ties(&seconds, |a, b| a == b);

    // Pairs tied on both sides are in both counts of ties.
    let all = two_of(pairs.len());
    let concordant = all + ties_both - ties_first - ties_second - discordant;

    let roots = ((all - ties_first) as f64 * (all - ties_second) as f64).sqrt();
    (roots > 0.0).then(|| (concordant as f64 - discordant as f64) / roots)
}

/// The number of pairs among `n` items.
fn two_of(n: usize) -> u128 {
    let n = n as u128;
    n * n.saturating_sub(1) / 2
}

/// The number of pairs of equal items. Equal items must be neighbours.
fn ties<T>(sorted: &[T], same: impl Fn(&T, &T) -> bool) -> u128 {
    sorted.chunk_by(same).map(|run| two_of(run.len())).sum()
}

/// Sorts values and returns the number of pairs that were in the wrong order. `scratch` has the
/// length of `values`.
fn sort_counting(values: &mut [f64], scratch: &mut [f64]) -> u128 {
    if values.len() < 2 {
        return 0;
    }

    let middle = values.len() / 2;
    let mut exchanges = sort_counting(&mut values[..middle], &mut scratch[..middle])
        + sort_counting(&mut values[middle..], &mut scratch[middle..]);

    let (mut left, mut right) = (0, middle);
    for slot in scratch.iter_mut() {
        if right == values.len() || (left < middle && values[left] <= values[right]) {
            *slot = values[left];
            left += 1;
        } else {
            *slot = values[right];
            right += 1;
            // This value passes all that remain on the left.
            exchanges += (middle - left) as u128;
        }
    }

    values.copy_from_slice(scratch);
    exchanges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flip_is_counted() {
        let mut flips = Flips::default();
        (0..999).for_each(|_| flips.add(None, None));
        assert_eq!((flips.flips(), flips.mcnemar()), (0, 1.0));

        flips.add(None, Some("gopher_quality.short_doc"));
        flips.add(Some("c4.no_terminal"), Some("gopher_quality.short_doc"));
        flips.add(Some("c4.no_terminal"), Some("c4.no_terminal"));
        assert_eq!(
            flips,
            Flips {
                documents: 1002,
                removed: 1,
                restored: 0,
                reasons: 1
            }
        );

        let [low, high] = flips.interval(0.95);
        assert!(
            low > 0.0 && low < 1.0 / 1002.0 && high > 1.0 / 1002.0 && high < 0.006,
            "{low} {high}"
        );

        let mut twice = flips;
        twice.merge(&flips);
        assert_eq!((twice.documents, twice.flips()), (2004, 2));

        let uneven = Flips {
            documents: 9,
            removed: 8,
            restored: 1,
            reasons: 0,
        };
        assert!((uneven.mcnemar() - 2.0 * 10.0 / 512.0).abs() < 1e-12);
    }

    #[test]
    fn score_changes_are_exact() {
        let pairs = (0..200).map(|n| {
            (
                Some(f64::from(n)),
                Some(f64::from(n) + if n < 3 { 0.5 } else { 0.0 }),
            )
        });

        let odd = [
            (None, Some(1.0)),
            (None, None),
            (Some(f64::NAN), Some(1.0)),
            (Some(f64::NAN), None),
        ];

        let found = score_change(pairs.chain(odd));
        assert_eq!(
            (found.documents, found.unpaired, found.changed),
            (200, 2, 3)
        );
        // 198 of 200 documents are 99 %, and three changed.
        assert_eq!(
            (found.max, found.p99, found.kendall_tau),
            (0.5, 0.5, Some(1.0))
        );

        let infinite = score_change([(Some(f64::INFINITY), Some(f64::INFINITY))]);
        assert_eq!((infinite.max, infinite.kendall_tau), (0.0, None));
        assert_eq!(score_change([]).documents, 0);
    }

    #[test]
    fn kendall_by_hand() {
        let tau =
            |a: &[f64], b: &[f64]| kendall_tau(a.iter().copied().zip(b.iter().copied()).collect());
        assert_eq!(tau(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), Some(-1.0));

        // Of 6 pairs 4 agree, 1 does not, 1 is tied in the second: 3/√(6 · 5).
        let found = tau(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 3.0]).expect("no side is constant");
        assert!((found - 3.0 / 30.0f64.sqrt()).abs() < 1e-15, "{found}");
        assert_eq!(
            (tau(&[0.0, -0.0], &[1.0, 2.0]), tau(&[], &[])),
            (None, None)
        );
    }

    #[test]
    fn kendall_agrees_with_every_pair_looked_at() {
        for (n, a, b) in [
            (2u64, 3, 5),
            (97, 4, 90),
            (300, 7, 5),
            (300, 1000, 1000),
            (301, 2, 2),
        ] {
            let noise =
                |seed: u64, n: u64| xxhash_rust::xxh3::xxh3_64_with_seed(&n.to_le_bytes(), seed);
            let pairs: Vec<(f64, f64)> = (0..n)
                .map(|i| ((noise(1, i) % a) as f64, (noise(2, i) % b) as f64))
                .collect();

            let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
            for (i, x) in pairs.iter().enumerate() {
                for y in &pairs[..i] {
                    let sign = |d: f64| if d == 0.0 { 0.0 } else { d.signum() };
                    let (da, db) = (sign(x.0 - y.0), sign(x.1 - y.1));
                    sum += da * db;
                    first += da * da;
                    second += db * db;
                }
            }

            let expected = (first * second > 0.0).then(|| sum / f64::sqrt(first * second));
            let found = kendall_tau(pairs);

            assert!(
                found
                    .zip(expected)
                    .is_none_or(|(f, e)| (f - e).abs() < 1e-12),
                "{n}: {found:?} {expected:?}"
            );
            assert_eq!(found.is_some(), expected.is_some());
        }
    }
}
