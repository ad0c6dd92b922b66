//! Baseline strategies: mixtures of the same request as other methods choose them, and what each
//! mixture is worth.
//!
//! Every baseline gives each source tokens in proportion to a weight. The tokens are clamped
//! between the source's least share and what its greatest share and its cap allow. One factor for
//! all sources meets the budget. Inside a source every bucket gets the same epochs, except with the
//! quality curve.

use std::collections::BTreeMap;

use curate_scorers::loss::unique_equivalent;

use super::pool::sum;
use super::request::{Group, Problem, SLACK, bad, check_bounds};
use super::solve::{between, cross};
use super::{Bucket, Constraint, Infeasible, Law, Request, SourceBounds, solve};

/// A way to choose a mixture.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// The epochs that are worth most effective tokens.
    Solved,
    /// Sources in proportion to their unique tokens.
    Natural,
    /// The same tokens from every source, as far as the caps on epochs allow: UniMax, Chung et al.
    /// 2023 (arXiv:2304.09151).
    Unimax,
    /// Sources in proportion to U^(1/τ), for τ above 0. [`Natural`](Method::Natural) at τ = 1, the
    /// same tokens from every source as τ grows.
    Temperature(f64),
    /// The share of each source, by number. It replaces the request's bounds on shares.
    Fixed(Vec<f64>),
    /// Sources as in [`Natural`](Method::Natural), and better bins more often within each source.
    /// This is the curve of Olmo 3 (allenai/dolma3, mixing_utils.py) without its exponential
    /// factor. It leaves out the share `discard` of the worst tokens and puts the best bin at the
    /// cap on epochs.
    QualityCurve {
        /// Share of tokens that is left out, 0 to 1. Olmo 3 has 0.4.
        discard: f64,
    },
}

impl Method {
    /// Name of the method in reports.
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

/// What the epochs of a mixture are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worth {
    /// |D|: tokens of the mixture, with repeats.
    pub tokens: f64,
    /// Tokens that are seen at least once.
    pub unique: f64,
    /// D′, which is D_eff with q ≡ 1: what repetition alone leaves, in tokens.
    pub d_repeat: f64,
    /// D_eff: Σ q_b·D′(U_b, R_b) of each of the law's sources, added up by the law; in effective
    /// tokens.
    pub d_eff: f64,
    /// Mean epochs over the tokens that are seen: tokens / unique; 0 without tokens.
    pub epochs: f64,
}

/// One method in a comparison of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Name of the method.
    pub name: String,
    /// What the method's mixture is worth, or why there is no mixture.
    pub worth: Result<Worth, Infeasible>,
}

/// What `epochs` over each bucket are worth under a law. The part of a bucket that is drawn is taken
/// to have the bucket's mean q.
pub fn worth(buckets: &[Bucket], epochs: &[f64], law: &Law) -> Worth {
    let over = |value: fn(&Bucket, f64) -> f64| {
        sum(buckets
            .iter()
            .zip(epochs)
            .map(|(b, &epochs)| value(b, epochs)))
    };

    let tokens = over(|bucket, epochs| bucket.tokens as f64 * epochs);
    let unique = over(|bucket, epochs| bucket.tokens as f64 * epochs.min(1.0));
    let d_repeat = over(|bucket, epochs| unique_equivalent(bucket.tokens as f64, epochs));

    // The sums of the law's sources do not depend on the order of the buckets.
    let parts = buckets.iter().map(|bucket| law.part(bucket.origin) + 1);
    let parts = (0..parts.max().unwrap_or(0)).map(|part| {
        let own = buckets
            .iter()
            .zip(epochs)
            .filter(|(bucket, _)| law.part(bucket.origin) == part);
        sum(own.map(|(b, &epochs)| b.q * unique_equivalent(b.tokens as f64, epochs)))
    });
    let d_eff = law.total(&parts.collect::<Vec<_>>());

    Worth {
        tokens,
        unique,
        d_repeat,
        d_eff,
        epochs: if unique > 0.0 { tokens / unique } else { 0.0 },
    }
}

/// Several methods side by side, for the same request.
pub fn compare(buckets: &[Bucket], request: &Request, methods: &[Method]) -> Vec<Compared> {
    methods
        .iter()
        .map(|method| Compared {
            name: method.name(),
            worth: baseline(method, buckets, request)
                .map(|epochs| worth(buckets, &epochs, &request.law)),
        })
        .collect()
}

/// Checks what does not depend on a pool: the settings of a method, the bounds of a request, and
/// the sums of shares.
///
/// # Errors
/// [`Infeasible`] names the first constraint that no pool can meet.
pub fn check(method: &Method, request: &Request) -> Result<(), Infeasible> {
    method.check()?;
    match method {
        Method::Fixed(shares) => check_bounds(&with_shares(request, shares)?),
        _ => check_bounds(request),
    }
}

/// The epochs of each bucket that a method chooses.
///
/// # Errors
/// [`Infeasible`] names a constraint that cannot be met, and the most tokens that are possible.
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
            let tokens = proportional(&problem, &natural);
            Ok(curved(buckets, &problem, &tokens, *discard))
        }
    }
}

/// The request with a fixed share for each source. A source without an entry in `shares` gets 0.
///
/// # Errors
/// [`Infeasible`] if the shares do not sum to 1.
fn with_shares(request: &Request, shares: &[f64]) -> Result<Request, Infeasible> {
    // A share below 0 has a message of its own, as a bound of its source.
    let is_sum = shares.iter().all(|share| *share >= 0.0);
    let sum = sum(shares.iter().copied());
    if is_sum && (sum - 1.0).abs() > SLACK {
        return Err(Infeasible {
            constraint: Constraint::FixedShares { sum },
            feasible: 0,
        });
    }

    // Shares may name sources that the request does not bound. Messages call those by their number.
    let mut fixed = request.clone();
    let known = fixed.sources.len();
    let further = (known..shares.len()).map(|source| SourceBounds::free(source.to_string()));
    fixed.sources.extend(further);

    for (source, bounds) in fixed.sources.iter_mut().enumerate() {
        let share = shares.get(source).copied().unwrap_or(0.0);
        (bounds.min_share, bounds.max_share) = (share, share);
    }
    Ok(fixed)
}

/// Tokens of each source: a common factor times the source's weight, within the source's bounds.
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

    // At this factor every source with a weight gives its most. A source without a weight has no
    // say: it gives its least at any factor.
    let high = groups
        .iter()
        .filter(|(_, weight)| *weight > 0.0)
        .map(|(group, weight)| group.most / weight)
        .fold(0.0, f64::max);
    let (below, above) = cross(0.0, high, |factor| total(factor) >= problem.budget);

    // The two factors are neighbouring floats. A point between them meets the budget more closely
    // than either.
    let share = between(problem.budget, total(below), total(above));
    groups
        .iter()
        .map(|group| at(below, group) + share * (at(above, group) - at(below, group)))
        .collect()
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
        // A source that gives all it has may be rounded above its cap.
        let same = (tokens / group.unique as f64).min(group.cap);
        for &at in &group.buckets {
            epochs[at] = same;
        }
    }
    epochs
}

/// Epochs by quality bin along a curve, in each source.
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

        // A map's values ascend with the bin, so the curve gets the worst bin first.
        let widths: Vec<u64> = bins.values().copied().collect();
        let mean = tokens / group.unique as f64;
        let factors = Curve::new(&widths, mean, discard, group.cap).factors();
        let by_bin: BTreeMap<u32, f64> = bins.into_keys().zip(factors).collect();

        for &at in &group.buckets {
            epochs[at] = by_bin[&buckets[at].bin].min(group.cap);
        }
    }
    epochs
}

/// A curve of epochs by quality. The share `g(t) = ((t − a)/(1 − a))^p` of the drawn tokens comes
/// from the worst share t of a source. The power p is chosen so that the best bin's mean epochs are
/// the cap.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// The t at which each bin begins, and last the t at which the last bin ends; 0 to 1.
    edges: Vec<f64>,
    /// Mean epochs over the whole source.
    mean: f64,
    /// a: share of the worst tokens that is left out, 0 to 1.
    discard: f64,
    /// p, at least 1, so that no bin gets fewer epochs than a worse bin.
    pub(super) power: f64,
}

impl Curve {
    /// Steepest power. If even this power does not reach the cap, only the best bin is drawn from,
    /// below the cap.
    const STEEPEST: f64 = 1e6;

    /// The curve for bins of `widths` tokens, from the worst bin to the best. `mean` is the mean
    /// epochs over all bins, at most `cap`.
    pub(super) fn new(widths: &[u64], mean: f64, discard: f64, cap: f64) -> Self {
        let total: u64 = widths.iter().sum();
        let last = widths.len() - 1;
        let mut below = 0;
        let mut edges = vec![0.0];
        for width in widths {
            below += width;
            edges.push(below as f64 / total.max(1) as f64);
        }

        // Less is left out if even a flat curve over the rest would exceed the cap.
        let discard = discard.clamp(0.0, (1.0 - mean / cap).max(0.0));
        let flat = Curve {
            edges,
            mean,
            discard,
            power: 1.0,
        };

        // The lower of the two powers: with it the best bin stays within the cap.
        let (power, _) = cross(1.0, Self::STEEPEST, |power| {
            let steeper = Curve {
                power,
                ..flat.clone()
            };
            steeper.factor(last) >= cap
        });
        Curve { power, ..flat }
    }

    /// g(t): the share of the drawn tokens that comes from the worst share `t` of the source.
    fn cumulative(&self, t: f64) -> f64 {
        // Everything is left out only if next to no tokens are drawn. The formula would divide by
        // 0, so the curve is flat then.
        if self.discard >= 1.0 {
            t
        } else {
            ((t - self.discard) / (1.0 - self.discard))
                .max(0.0)
                .powf(self.power)
        }
    }

    /// Mean epochs of one bin; 0 for a bin without tokens.
    fn factor(&self, bin: usize) -> f64 {
        let (from, to) = (self.edges[bin], self.edges[bin + 1]);
        if to > from {
            self.mean * (self.cumulative(to) - self.cumulative(from)) / (to - from)
        } else {
            0.0
        }
    }

    /// Mean epochs of each bin, from the worst to the best.
    pub(super) fn factors(&self) -> Vec<f64> {
        (0..self.edges.len() - 1)
            .map(|bin| self.factor(bin))
            .collect()
    }
}
