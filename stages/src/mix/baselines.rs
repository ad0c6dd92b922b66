//! Mixtures as others would choose them, for the same tokens, and what each is worth.
//!
//! All but the curve give each source its tokens in proportion to a weight, clamped between its
//! least share and what its greatest share and its cap allow, with one factor for all that meets
//! the budget; inside a source every bucket gets the same epochs.

use std::collections::BTreeMap;

use curate_scorers::loss::unique_equivalent;

use super::pool::sum;
use super::request::{Group, Problem, bad};
use super::solve::{between, cross};
use super::{Bucket, Constraint, Infeasible, Request, solve};

/// A way to choose a mixture.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// The epochs that are worth most.
    Solved,
    /// Sources in proportion to their unique tokens.
    Natural,
    /// Sources alike, as far as their caps on epochs go: UniMax, Chung et al. 2023
    /// (arXiv:2304.09151).
    Unimax,
    /// Sources in proportion to U^(1/τ), τ of at least 1: natural at 1, alike at infinity.
    Temperature(f64),
    /// Given shares of the sources, by number, in place of the request's bounds.
    Fixed(Vec<f64>),
    /// Sources as in [`Natural`](Method::Natural), the better bins of each more often: the curve of
    /// Olmo 3 (allenai/dolma3, mixing_utils.py) without its exponential factor. The share `discard`
    /// of the worst tokens is left out, and the best bin is at the cap on epochs.
    QualityCurve {
        /// Share of tokens left out, 0 to 1; 0.4 in Olmo 3.
        discard: f64,
    },
}

impl Method {
    /// What reports call it.
    pub fn name(&self) -> String {
        match self {
            Method::Solved => "effective".to_owned(),
            Method::Natural => "natural".to_owned(),
            Method::Unimax => "unimax".to_owned(),
            Method::Temperature(tau) => format!("temperature({tau})"),
            Method::Fixed(_) => "fixed".to_owned(),
            Method::QualityCurve { .. } => "quality_curve".to_owned(),
        }
    }

    fn check(&self) -> Result<(), Infeasible> {
        match *self {
            Method::Temperature(tau) if tau.is_nan() || tau <= 0.0 => {
                bad("the temperature".to_owned(), "tau", tau, "a number above 0")
            }
            Method::QualityCurve { discard } if !(0.0..=1.0).contains(&discard) => {
                bad("the quality curve".to_owned(), "discard", discard, "0 to 1")
            }
            _ => Ok(()),
        }
    }
}

/// What epochs are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worth {
    /// |D|: tokens, repeats counted.
    pub tokens: f64,
    /// Tokens seen at least once.
    pub unique: f64,
    /// D′, with q ≡ 1: what repetition alone leaves.
    pub d_repeat: f64,
    /// D_eff = Σ q_b·D′(U_b, R_b).
    pub d_eff: f64,
    /// Mean epochs over what is seen: tokens / unique.
    pub epochs: f64,
}

/// One method beside others.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// What its mixture is worth, or why it has none.
    pub worth: Result<Worth, Infeasible>,
}

/// What `epochs` over buckets are worth, where what is drawn of a bucket has the bucket's q.
pub fn worth(buckets: &[Bucket], epochs: &[f64]) -> Worth {
    let over = |value: fn(&Bucket, f64) -> f64| {
        sum(buckets
            .iter()
            .zip(epochs)
            .map(|(b, &epochs)| value(b, epochs)))
    };
    let tokens = over(|bucket, epochs| bucket.tokens as f64 * epochs);
    let unique = over(|bucket, epochs| bucket.tokens as f64 * epochs.min(1.0));
    let d_repeat = over(|bucket, epochs| unique_equivalent(bucket.tokens as f64, epochs));
    let d_eff = over(|bucket, epochs| bucket.q * unique_equivalent(bucket.tokens as f64, epochs));
    let epochs = if unique > 0.0 { tokens / unique } else { 0.0 };
    Worth {
        tokens,
        unique,
        d_repeat,
        d_eff,
        epochs,
    }
}

/// Several methods side by side, on the same request.
pub fn compare(buckets: &[Bucket], request: &Request, methods: &[Method]) -> Vec<Compared> {
    let one = |method: &Method| Compared {
        name: method.name(),
        worth: baseline(method, buckets, request).map(|epochs| worth(buckets, &epochs)),
    };
    methods.iter().map(one).collect()
}

/// The epochs of each bucket that a method chooses.
///
/// # Errors
/// [`Infeasible`] names a constraint that cannot be met, and the most tokens that could be had.
pub fn baseline(
    method: &Method,
    buckets: &[Bucket],
    request: &Request,
) -> Result<Vec<f64>, Infeasible> {
    method.check()?;
    let natural = |group: &Group| group.unique as f64;
    let spread = |weight: &dyn Fn(&Group) -> f64| -> Result<Vec<f64>, Infeasible> {
        let problem = Problem::new(buckets, request)?;
        Ok(flat(buckets, &problem, &proportional(&problem, weight)))
    };
    match method {
        Method::Solved => Ok(solve(buckets, request)?.epochs),
        Method::Natural => spread(&natural),
        Method::Unimax => spread(&|_| 1.0),
        Method::Temperature(tau) => spread(&|group| (group.unique as f64).powf(1.0 / tau)),
        Method::Fixed(shares) => {
            let problem = Problem::new(buckets, &with_shares(request, shares)?)?;
            Ok(flat(buckets, &problem, &proportional(&problem, &natural)))
        }
        Method::QualityCurve { discard } => {
            let problem = Problem::new(buckets, request)?;
            Ok(curved(
                buckets,
                &problem,
                &proportional(&problem, &natural),
                *discard,
            ))
        }
    }
}

/// The request with each source's share given.
fn with_shares(request: &Request, shares: &[f64]) -> Result<Request, Infeasible> {
    // More than the whole is found by the check of the least shares.
    let sum = sum(shares.iter().copied());
    if sum < 1.0 - 1e-9 {
        return Err(Infeasible {
            constraint: Constraint::MaxShares { sum },
            feasible: 0,
        });
    }
    let mut fixed = request.clone();
    let number = |source: usize| super::SourceBounds::free(source.to_string());
    fixed
        .sources
        .extend((fixed.sources.len()..shares.len()).map(number));
    for (source, bounds) in fixed.sources.iter_mut().enumerate() {
        let share = shares.get(source).copied().unwrap_or(0.0);
        (bounds.min_share, bounds.max_share) = (share, share);
    }
    Ok(fixed)
}

/// Tokens of each source: a common factor times its weight, within its bounds.
fn proportional(problem: &Problem, weight: &dyn Fn(&Group) -> f64) -> Vec<f64> {
    let groups: Vec<(&Group, f64)> = problem
        .groups
        .iter()
        .map(|group| (group, weight(group)))
        .collect();
    let at = |factor: f64, (group, weight): &(&Group, f64)| {
        (factor * weight).clamp(group.least, group.most)
    };
    let total = |factor: f64| sum(groups.iter().map(|group| at(factor, group)));
    let enough = |(group, weight): &(&Group, f64)| {
        if *weight > 0.0 {
            group.most / weight
        } else {
            0.0
        }
    };
    let high = groups.iter().map(enough).fold(0.0, f64::max);
    let (below, above) = cross(0.0, high, |factor| total(factor) >= problem.budget);
    let share = between(problem.budget, total(below), total(above));
    let tokens =
        |group: &(&Group, f64)| at(below, group) + share * (at(above, group) - at(below, group));
    groups.iter().map(tokens).collect()
}

/// The same epochs for all buckets of a source.
fn flat(buckets: &[Bucket], problem: &Problem, tokens: &[f64]) -> Vec<f64> {
    let mut epochs = vec![0.0; buckets.len()];
    for (group, tokens) in problem
        .groups
        .iter()
        .zip(tokens)
        .filter(|(group, _)| group.unique > 0)
    {
        for &at in &group.buckets {
            epochs[at] = (tokens / group.unique as f64).min(group.cap);
        }
    }
    epochs
}

/// Epochs by bin along a curve, in each source.
fn curved(buckets: &[Bucket], problem: &Problem, tokens: &[f64], discard: f64) -> Vec<f64> {
    let mut epochs = vec![0.0; buckets.len()];
    for (group, tokens) in problem
        .groups
        .iter()
        .zip(tokens)
        .filter(|(group, _)| group.unique > 0)
    {
        let mut bins: BTreeMap<u32, u64> = BTreeMap::new();
        for &at in &group.buckets {
            *bins.entry(buckets[at].bin).or_default() += buckets[at].tokens;
        }
        let widths: Vec<u64> = bins.values().copied().collect();
        let factors =
            Curve::new(&widths, tokens / group.unique as f64, discard, group.cap).factors();
        let by_bin: BTreeMap<u32, f64> = bins.into_keys().zip(factors).collect();
        for &at in &group.buckets {
            epochs[at] = by_bin[&buckets[at].bin].min(group.cap);
        }
    }
    epochs
}

/// The share `g(t) = ((t − a)/(1 − a))^p` of a source's tokens comes from its worst t; p makes the
/// best bin's mean epochs the cap.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// Where each bin begins and the last ends, 0 to 1.
    edges: Vec<f64>,
    /// Epochs over the whole source.
    mean: f64,
    /// a: what is left out.
    discard: f64,
    /// p, of at least 1, so that no bin gets less than a worse one.
    pub(super) power: f64,
}

impl Curve {
    /// Steepest power: beyond it the best bin alone is drawn from, and is below the cap.
    const STEEPEST: f64 = 1e6;

    /// The curve for bins of `widths` tokens from the worst to the best, `mean` ≤ `cap` epochs over
    /// all of them.
    pub(super) fn new(widths: &[u64], mean: f64, discard: f64, cap: f64) -> Self {
        let total: u64 = widths.iter().sum();
        let mut below = 0;
        let mut edges = vec![0.0];
        for width in widths {
            below += width;
            edges.push(below as f64 / total.max(1) as f64);
        }
        // Where even a flat curve over what is left would pass the cap, less is left out.
        let discard = discard.clamp(0.0, (1.0 - mean / cap).max(0.0));
        let flat = Curve {
            edges,
            mean,
            discard,
            power: 1.0,
        };
        let best = |power: f64| {
            Curve {
                power,
                ..flat.clone()
            }
            .factor(widths.len() - 1)
        };
        let power = cross(1.0, Self::STEEPEST, |power| best(power) >= cap).0;
        Curve { power, ..flat }
    }

    fn cumulative(&self, t: f64) -> f64 {
        // All of it is left out where nothing is asked for.
        if self.discard >= 1.0 {
            t
        } else {
            ((t - self.discard) / (1.0 - self.discard))
                .max(0.0)
                .powf(self.power)
        }
    }

    fn factor(&self, bin: usize) -> f64 {
        let (from, to) = (self.edges[bin], self.edges[bin + 1]);
        if to > from {
            self.mean * (self.cumulative(to) - self.cumulative(from)) / (to - from)
        } else {
            0.0
        }
    }

    /// Mean epochs of each bin.
    pub(super) fn factors(&self) -> Vec<f64> {
        (0..self.edges.len() - 1)
            .map(|bin| self.factor(bin))
            .collect()
    }
}
