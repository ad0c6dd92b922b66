//! How well a law predicts the losses of runs that it was not fitted to.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fit::Runs;
use super::linalg::Cholesky;
use super::worth::quantile;
use crate::drift::kendall_tau;

/// The number of resamples behind the interval of a ratio of errors.
const RESAMPLES: usize = 4000;

/// How far predictions are from measured losses. Losses keep their unit, bits per byte for the
/// built-in proxies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The mean absolute error.
    pub mae: f64,
    /// The mean of predicted minus measured.
    pub bias: f64,
    /// The share of the losses' variance that is explained, at most 1. `None` where all losses are
    /// equal.
    pub r2: Option<f64>,
    /// The same after a quadratic in ln D is taken out of both sides, so that the amount of text
    /// explains nothing. `None` with fewer than four runs, or where nothing is left to explain.
    pub iso_r2: Option<f64>,
    /// Kendall's τ-b of predicted and measured losses, in \[−1, 1\]. `None` where one side has a
    /// single value.
    pub tau: Option<f64>,
}

impl Scores {
    /// Compares `predicted` with the losses of `runs`, of which there is at least one.
    pub fn new(runs: &Runs, predicted: &[f64]) -> Scores {
        let losses = runs.losses();
        let mean =
            |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / losses.len() as f64;
        let errors = || {
            predicted
                .iter()
                .zip(losses)
                .map(|(found, loss)| found - loss)
        };

        let centre = mean(&mut losses.iter().copied());
        let total: f64 = losses.iter().map(|loss| (loss - centre).powi(2)).sum();
        let squares: f64 = errors().map(|error| error * error).sum();

        Scores {
            mae: mean(&mut errors().map(f64::abs)),
            bias: mean(&mut errors()),
            r2: (total > 0.0).then(|| 1.0 - squares / total),
            iso_r2: iso_r2(runs, predicted),
            tau: kendall_tau(
                predicted
                    .iter()
                    .copied()
                    .zip(losses.iter().copied())
                    .collect(),
            ),
        }
    }
}

/// R² after a quadratic in ln D is taken out of losses and predictions.
fn iso_r2(runs: &Runs, predicted: &[f64]) -> Option<f64> {
    let ln_d: Vec<f64> = (0..runs.len()).map(|run| runs.total(run).ln()).collect();
    let (losses, predicted) = (rest(&ln_d, runs.losses())?, rest(&ln_d, predicted)?);

    let total: f64 = losses.iter().map(|loss| loss * loss).sum();
    let both = losses.iter().zip(&predicted);
    let squares: f64 = both.map(|(loss, found)| (loss - found).powi(2)).sum();
    (total > 0.0).then(|| 1.0 - squares / total)
}

/// What a quadratic in x leaves of y, by least squares. `None` with fewer than four points.
fn rest(x: &[f64], y: &[f64]) -> Option<Vec<f64>> {
    if x.len() < 4 {
        return None;
    }

    // Around the mean, where the powers are nearly independent.
    let centre = x.iter().sum::<f64>() / x.len() as f64;
    let row = |x: f64| [1.0, x - centre, (x - centre).powi(2)];

    let (mut normal, mut right) = (vec![0.0; 9], vec![0.0; 3]);
    for (&x, &y) in x.iter().zip(y) {
        for (i, left) in row(x).into_iter().enumerate() {
            right[i] += left * y;
            for (j, other) in row(x).into_iter().enumerate() {
                normal[i * 3 + j] += left * other;
            }
        }
    }

    // Runs of equal D have no slope: only their mean is taken out.
    for i in 1..3 {
        normal[i * 3 + i] += 1e-12;
    }
    let solved = Cholesky::new(normal, 3)?.solve(right);
    let value = |x: f64| row(x).iter().zip(&solved).map(|(a, b)| a * b).sum::<f64>();
    Some(x.iter().zip(y).map(|(&x, &y)| y - value(x)).collect())
}

/// The ratio of two mean absolute errors over the same runs, and its 95 % interval from 4,000
/// paired resamples of the runs. `None` if a mean error of `other` is 0.
pub fn ratio(errors: &[f64], other: &[f64], seed: u64) -> Option<(f64, [f64; 2])> {
    let mean_ratio = |numbers: &mut dyn Iterator<Item = usize>| {
        let (mut above, mut below) = (0.0, 0.0);
        for run in numbers {
            above += errors[run].abs();
            below += other[run].abs();
        }
        (below > 0.0).then(|| above / below)
    };
    let all = mean_ratio(&mut (0..errors.len()))?;

    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut ratios = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let mut drawn = (0..errors.len()).map(|_| random.random_range(0..errors.len()));
        ratios.push(mean_ratio(&mut drawn)?);
    }

    ratios.sort_by(f64::total_cmp);
    Some((all, [quantile(&ratios, 0.025), quantile(&ratios, 0.975)]))
}

/// Spearman's ρ: the correlation of ranks, ties with their mean rank. `None` where one side has a
/// single value.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (ranks(a), ranks(b));
    let centre = (a.len() as f64 + 1.0) / 2.0;

    let (mut product, mut left, mut right) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(&b) {
        product += (a - centre) * (b - centre);
        left += (a - centre).powi(2);
        right += (b - centre).powi(2);
    }
    (left > 0.0 && right > 0.0).then(|| product / (left * right).sqrt())
}

/// The ranks of the values, from 1; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));

    let mut ranks = vec![0.0; values.len()];
    let mut begin = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = begin as f64 + (equal.len() as f64 + 1.0) / 2.0;
        for &at in equal {
            ranks[at] = mean;
        }
        begin += equal.len();
    }
    ranks
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use super::*;

    fn runs(tokens: &[f64], losses: &[f64]) -> Runs {
        let mut runs = Runs::new(1);
        for (tokens, loss) in tokens.iter().zip(losses) {
            runs.push(&[*tokens], *loss).unwrap();
        }
        runs
    }

    #[test]
    fn scores_by_hand() {
        let runs = runs(&[1e6, 2e6, 3e6, 5e6], &[4.0, 3.0, 2.0, 1.0]);
        let scores = Scores::new(&runs, &[4.5, 3.0, 2.0, 1.5]);
        assert_eq!((scores.mae, scores.bias), (0.25, 0.25));
        assert_eq!((scores.r2, scores.tau), (Some(0.9), Some(1.0)));

        // A constant is no prediction.
        let scores = Scores::new(&runs, &[2.5; 4]);
        assert_eq!((scores.r2, scores.tau), (Some(0.0), None));
    }

    #[test]
    fn what_the_amount_of_text_explains_counts_for_nothing() {
        let tokens: Vec<f64> = (1..30).map(|n| f64::from(n) * 1e5).collect();
        let wave = |n: usize| if n.is_multiple_of(3) { 0.1 } else { -0.05 };
        let by_size: Vec<f64> = tokens
            .iter()
            .map(|tokens| 5.0 - 0.2 * tokens.ln())
            .collect();
        let losses: Vec<f64> = by_size
            .iter()
            .enumerate()
            .map(|(n, l)| l + wave(n))
            .collect();

        let runs = runs(&tokens, &losses);
        assert!(Scores::new(&runs, &by_size).iso_r2.unwrap().abs() < 1e-9);
        assert!((Scores::new(&runs, &losses).iso_r2.unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ratios_and_ranks() {
        let (errors, other) = ([0.1, -0.1, 0.2, 0.0], [0.2, 0.2, -0.4, 0.1]);
        let (value, [low, high]) = ratio(&errors, &other, 1).unwrap();
        assert!((value - 4.0 / 9.0).abs() < 1e-12);
        assert!(low < value && value < high && high <= 0.5 + 1e-12);
        assert_eq!(ratio(&errors, &[0.0; 4], 1), None);

        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]), Some(1.0));
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), Some(-1.0));
        assert_eq!(spearman(&[1.0, 1.0], &[3.0, 2.0]), None);
    }
}
