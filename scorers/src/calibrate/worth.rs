//! From a fitted law to q: the worth of a token of each bucket, pinned to a best token of 1, with
//! its interval.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::fit::{Fit, Runs};
use super::laws::Law;

/// The least q of a bucket.
pub const FLOOR: f64 = 0.001;
/// The number of resamples behind an interval.
pub const RESAMPLES: usize = 200;
/// A reference bucket's worth must be known this well: the greatest standard deviation of its ln
/// worth over resamples.
const KNOWN: f64 = 0.5;
/// The ends of a 90 % interval.
const ENDS: (f64, f64) = (0.05, 0.95);

/// The worths of buckets, pinned.
#[derive(Debug, Clone, PartialEq)]
pub struct Pinned {
    /// q of each bucket, in \[0.001, 1\].
    pub q: Vec<f64>,
    /// ln of the worth that a q of 1 stands for, in millions of tokens: the law of a mixture is
    /// `L = E + (e^scale · D_eff / 10⁶)^−β`.
    pub scale: f64,
}

/// A value with the ends of its 90 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between {
    /// The 5 % quantile over resamples.
    pub low: f64,
    /// The 95 % quantile over resamples.
    pub high: f64,
}

/// q with its intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Worths {
    /// q of each bucket and its scale, from all runs.
    pub pinned: Pinned,
    /// The interval of the q of each bucket.
    pub q: Vec<Between>,
    /// The interval of ρ; both ends are 1 where the law is not CES.
    pub rho: Between,
    /// The standard deviation of ln q of each bucket over resamples.
    pub deviation: Vec<f64>,
    /// The refitted laws, one for each resample.
    pub refits: Vec<Fit>,
    /// q of each refitted law.
    pub pins: Vec<Pinned>,
}

/// Refits `fit` to [`RESAMPLES`] resamples of `runs` with replacement, and pins every fit.
///
/// `natural` says of each bucket if its text is natural, not an arm of the controls; at least one
/// must be. Refits begin at the fit itself. The result is the same for the same `seed`.
pub fn worths(fit: &Fit, runs: &Runs, natural: &[bool], seed: u64) -> Worths {
    let refit = |number: usize| {
        // A stream of its own, so that threads have no say.
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number as u64);
        let drawn = (0..runs.len()).map(|_| random.random_range(0..runs.len()));
        fit.again(&runs.select(drawn))
    };
    let refits: Vec<Fit> = (0..RESAMPLES).into_par_iter().map(refit).collect();

    let reference = reference(fit, &refits, natural);
    let pinned = pin(fit, natural, reference);
    let pins: Vec<Pinned> = refits
        .iter()
        .map(|fit| pin(fit, natural, reference))
        .collect();

    let of_bucket = |bucket: usize| pins.iter().map(|pin| pin.q[bucket]).collect::<Vec<_>>();
    let ln = |values: Vec<f64>| values.into_iter().map(f64::ln).collect::<Vec<_>>();
    let buckets = 0..natural.len();
    Worths {
        q: buckets
            .clone()
            .map(|bucket| between(of_bucket(bucket)))
            .collect(),
        deviation: buckets
            .map(|bucket| deviation(&ln(of_bucket(bucket))))
            .collect(),
        rho: between(refits.iter().map(Fit::rho).collect()),
        pinned,
        refits,
        pins,
    }
}

/// The natural bucket with the greatest worth among those whose worth is known well, or among all
/// where none is. Worths are compared relative to their mean, because E and β move them all.
fn reference(fit: &Fit, refits: &[Fit], natural: &[bool]) -> usize {
    let relative = |fit: &Fit, bucket: usize| {
        let worths = fit.worths();
        worths[bucket] - worths.iter().sum::<f64>() / worths.len() as f64
    };
    let known = |bucket: usize| {
        let values: Vec<f64> = refits.iter().map(|fit| relative(fit, bucket)).collect();
        deviation(&values) < KNOWN
    };

    let natural = (0..natural.len()).filter(|&bucket| natural[bucket]);
    natural
        .max_by(|&a, &b| {
            let key = |bucket| (known(bucket), relative(fit, bucket));
            let ((a_known, a_worth), (b_known, b_worth)) = (key(a), key(b));
            a_known.cmp(&b_known).then(a_worth.total_cmp(&b_worth))
        })
        .expect("there is a natural bucket")
}

/// q of each bucket under a fit.
///
/// Linear: relative to the reference bucket. CES: relative to a token of the best mixture of
/// unlimited sources, so that D_eff is at most D. With q_s the greatest worth of a source's
/// natural buckets, that token is worth A = (Σ_s q_s^(ρ/(1−ρ)))^((1−ρ)/ρ), and A goes to the
/// greatest q_s as ρ goes to 1.
fn pin(fit: &Fit, natural: &[bool], reference: usize) -> Pinned {
    let worths = fit.worths();
    let scale = match &fit.law {
        Law::Ces { sources } => {
            let count = sources.iter().max().map_or(0, |last| last + 1);
            let mut best = vec![f64::NEG_INFINITY; count];
            for (bucket, &source) in sources.iter().enumerate().filter(|&(b, _)| natural[b]) {
                best[source] = best[source].max(worths[bucket]);
            }
            best_mixture(&best, fit.rho())
        }
        _ => worths[reference],
    };

    let q = worths
        .iter()
        .map(|worth| (worth - scale).exp().clamp(FLOOR, 1.0))
        .collect();
    Pinned { q, scale }
}

/// ln A, from the logarithms of q_s; −∞ stands for a source without natural buckets.
fn best_mixture(ln_q: &[f64], rho: f64) -> f64 {
    let greatest = ln_q.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if rho >= 1.0 {
        return greatest;
    }

    // Relative to the greatest, because the power is large where ρ is close to 1.
    let power = rho / (1.0 - rho);
    let sum: f64 = ln_q
        .iter()
        .map(|ln_q| ((ln_q - greatest) * power).exp())
        .sum();
    greatest + sum.ln() / power
}

/// The worths of one group's bins in the order of their scores, made to ascend: the pool-adjacent-
/// violators algorithm, which gives the ascending sequence of least weighted squares. `weights`
/// are above 0, such as 1/se².
pub fn isotonic(values: &[f64], weights: &[f64]) -> Vec<f64> {
    // Blocks of neighbours with a common value: (mean, weight, length).
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (&value, &weight) in values.iter().zip(weights) {
        let mut last = (value, weight, 1);
        while let Some(&(mean, weight, length)) = blocks.last()
            && mean > last.0
        {
            let both = weight + last.1;
            last = (
                (mean * weight + last.0 * last.1) / both,
                both,
                length + last.2,
            );
            blocks.pop();
        }
        blocks.push(last);
    }

    let repeated = |(mean, _, length): (f64, f64, usize)| std::iter::repeat_n(mean, length);
    blocks.into_iter().flat_map(repeated).collect()
}

/// The 90 % interval of resampled values.
fn between(mut values: Vec<f64>) -> Between {
    values.sort_by(f64::total_cmp);
    Between {
        low: quantile(&values, ENDS.0),
        high: quantile(&values, ENDS.1),
    }
}

/// The quantile of sorted values, between neighbours in proportion.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, rest) = (at.floor() as usize, at.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] * (1.0 - rest) + sorted[high] * rest
}

/// The standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_best_mixture_is_worth_one() {
        let a = |q: &[f64], rho| {
            best_mixture(&q.iter().map(|q: &f64| q.ln()).collect::<Vec<_>>(), rho).exp()
        };
        assert!((a(&[1.0, 1.0], 0.58) - 1.6519).abs() < 5e-5);
        assert!((a(&[1.0, 0.5], 0.7) - 1.0807).abs() < 5e-5);
        assert_eq!(a(&[1.0, 0.5, 0.0], 1.0), 1.0);
        assert!((a(&[1.0, 0.5], 0.999) - 1.0).abs() < 1e-12);

        // The mixture with shares ∝ q^(ρ/(1−ρ)) has D_eff = D, any other less.
        let (q, rho) = ([0.9f64, 0.5, 0.2], 0.6);
        let scale = a(&q, rho);
        let shares = q.map(|q| q.powf(rho / (1.0 - rho)));
        let sum: f64 = shares.iter().sum();
        let d_eff = |shares: [f64; 3]| {
            let terms = q
                .iter()
                .zip(shares)
                .map(|(q, share)| (q / scale * share).powf(rho));
            terms.sum::<f64>().powf(1.0 / rho)
        };
        assert!((d_eff(shares.map(|share| share / sum)) - 1.0).abs() < 1e-12);
        assert!(d_eff([0.5, 0.3, 0.2]) < 1.0);
    }

    #[test]
    fn isotonic_by_hand() {
        let even = [1.0; 5];
        assert_eq!(
            isotonic(&[1.0, 3.0, 2.0, 2.0, 5.0], &even),
            [1.0, 7.0 / 3.0, 7.0 / 3.0, 7.0 / 3.0, 5.0]
        );
        assert_eq!(isotonic(&[3.0, 1.0], &[1.0, 3.0]), [1.5, 1.5]);
        assert_eq!(isotonic(&[], &[]), [0.0; 0]);
    }
}
