//! The plan of a calibration: which mixtures of buckets are trained, to fit a law and to test it.
//!
//! | set | what a run is |
//! |---|---|
//! | `fit` | 3 to 10 buckets, shares by Dirichlet(0.8), D log-uniform over the range |
//! | `interpolation` | the same, held out |
//! | `equal` | the same at D = the geometric mean of the range: can a law rank mixtures of one size? |
//! | `extrapolation` | D from 2 to 3 times the end of the range, shares as in the pool × Gamma(0.7) |
//! | `pairs` | two buckets, Dirichlet(1), D as in `equal` |
//! | `anchor` | mixtures of D as in `equal` with three seeds each: the noise of a run |
//! | `repeats` | one mixture with 1, 2, 4 and 8 passes over its text |
//!
//! Arms are buckets of damaged text that the controls need. They are in a third of the `fit` runs,
//! and in no held-out run: planted garbage makes any q look good. Shares beyond a bucket's size go
//! to the other buckets of the mixture in proportion.

use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};

/// The fewest buckets and the most buckets of a `fit` run.
const BUCKETS: (usize, usize) = (3, 10);
/// The concentration of the shares in a `fit` run.
const CONCENTRATION: f64 = 0.8;
/// The fewest `fit` runs in which each arm is.
const RUNS_OF_AN_ARM: usize = 8;
/// A part of a run with fewer tokens is left out.
const LEAST_TOKENS: f64 = 500.0;
/// Mixtures of the set `anchor`, and the seeds of each.
const ANCHORS: (usize, u64) = (8, 3);
/// Mixtures of the set `repeats`, and the passes over each.
const REPEATS: (usize, [u32; 4]) = (3, [1, 2, 4, 8]);

/// A bucket that runs draw from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Supply {
    /// The tokens at hand.
    pub tokens: u64,
    /// The tokens of the bucket in the pool, of which those at hand may be a sample.
    pub in_pool: u64,
    /// False for an arm of the controls.
    pub natural: bool,
}

/// The settings of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanConfig {
    /// Runs to fit to.
    pub fit: usize,
    /// Held-out runs in all sets together; `interpolation` and `equal` take two thirds of them.
    pub held_out: usize,
    /// The least and the greatest D of a `fit` run, in tokens.
    pub tokens: (f64, f64),
    /// The seed of all draws.
    pub seed: u64,
}

/// The set that a run belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// Runs that laws are fitted to.
    Fit,
    /// Held-out runs like those of `fit`.
    Interpolation,
    /// Held-out runs of one size.
    Equal,
    /// Held-out runs of more tokens and more buckets.
    Extrapolation,
    /// Held-out runs of two buckets.
    Pairs,
    /// Runs that show the noise between seeds.
    Anchor,
    /// Runs that show what repeats do.
    Repeats,
}

impl Set {
    /// All sets, in the order of a plan.
    pub const ALL: [Set; 7] = [
        Set::Fit,
        Set::Interpolation,
        Set::Equal,
        Set::Extrapolation,
        Set::Pairs,
        Set::Anchor,
        Set::Repeats,
    ];

    /// The name of the set in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Set::Fit => "fit",
            Set::Interpolation => "interpolation",
            Set::Equal => "equal",
            Set::Extrapolation => "extrapolation",
            Set::Pairs => "pairs",
            Set::Anchor => "anchor",
            Set::Repeats => "repeats",
        }
    }

    /// True for the runs by which a law is judged.
    pub fn held_out(self) -> bool {
        !matches!(self, Set::Fit | Set::Anchor | Set::Repeats)
    }
}

/// A run of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRun {
    /// The set and the number within the set, such as `fit17`.
    pub name: String,
    /// The set.
    pub set: Set,
    /// The seed that chooses the text of each bucket.
    pub seed: u64,
    /// Unique tokens of each bucket; 0 where a bucket is absent.
    pub unique: Vec<u64>,
    /// Passes over the unique tokens.
    pub epochs: u32,
}

/// Draws the runs. There must be two natural buckets with tokens.
pub fn plan(supplies: &[Supply], config: &PlanConfig) -> Vec<PlannedRun> {
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    let natural: Vec<usize> = (0..supplies.len())
        .filter(|&b| supplies[b].natural)
        .collect();
    let arms: Vec<usize> = (0..supplies.len())
        .filter(|&b| !supplies[b].natural)
        .collect();

    let (low, high) = (config.tokens.0.ln(), config.tokens.1.ln());
    let any = |random: &mut ChaCha8Rng| random.random_range(low..=high).exp();
    let middle = ((low + high) / 2.0).exp();
    let thirds = config.held_out.div_ceil(3);
    let sixth = config.held_out.saturating_sub(2 * thirds).div_ceil(2);

    let mut runs = Planned(supplies, Vec::new());

    // The arms take turns, as many a run as it takes to have each often enough.
    let with_arms = config.fit.div_ceil(3);
    let arms_each = (RUNS_OF_AN_ARM * arms.len())
        .div_ceil(with_arms.max(1))
        .min(arms.len());
    let mut turn = arms.iter().copied().cycle();
    for number in 0..config.fit {
        let planted = if number % 3 == 0 { arms_each } else { 0 };
        let planted: Vec<usize> = turn.by_ref().take(planted).collect();
        let shares = mixed(&mut random, &natural, &planted, BUCKETS, CONCENTRATION);
        let tokens = any(&mut random);
        runs.add(Set::Fit, number, &shares, tokens, 1, 1);
    }

    for number in 0..thirds {
        let shares = mixed(&mut random, &natural, &[], BUCKETS, CONCENTRATION);
        let tokens = any(&mut random);
        runs.add(Set::Interpolation, number, &shares, tokens, 1, 1);
    }
    for number in 0..config.held_out.min(2 * thirds) - thirds {
        let shares = mixed(&mut random, &natural, &[], BUCKETS, CONCENTRATION);
        runs.add(Set::Equal, number, &shares, middle, 1, 1);
    }

    let gamma = Gamma::new(0.7, 1.0).expect("the shape is above 0");
    for number in 0..sixth {
        let size = |bucket: usize| supplies[bucket].in_pool as f64;
        let shares: Vec<(usize, f64)> = natural
            .iter()
            .map(|&b| (b, size(b) * gamma.sample(&mut random)))
            .collect();
        let tokens = random.random_range(2.0..=3.0) * config.tokens.1;
        runs.add(Set::Extrapolation, number, &shares, tokens, 1, 1);
    }
    for number in 0..config.held_out.saturating_sub(2 * thirds + sixth) {
        let shares = mixed(&mut random, &natural, &[], (2, 2), 1.0);
        runs.add(Set::Pairs, number, &shares, middle, 1, 1);
    }

    for number in 0..ANCHORS.0 {
        let shares = mixed(&mut random, &natural, &[], BUCKETS, CONCENTRATION);
        for seed in 1..=ANCHORS.1 {
            runs.add(Set::Anchor, number, &shares, middle, seed, 1);
        }
    }
    for number in 0..REPEATS.0 {
        let shares = mixed(&mut random, &natural, &[], BUCKETS, CONCENTRATION);
        for epochs in REPEATS.1 {
            runs.add(Set::Repeats, number, &shares, middle, 1, epochs);
        }
    }

    runs.1
}

/// The runs drawn so far.
struct Planned<'s>(&'s [Supply], Vec<PlannedRun>);

impl Planned<'_> {
    /// Adds a run of `tokens` tokens with these shares, which need not sum to 1.
    fn add(
        &mut self,
        set: Set,
        number: usize,
        shares: &[(usize, f64)],
        tokens: f64,
        seed: u64,
        epochs: u32,
    ) {
        let mut name = format!("{}{number}", set.name());
        match set {
            Set::Anchor => name += &format!("_{seed}"),
            Set::Repeats => name += &format!("_{epochs}"),
            _ => {}
        }

        self.1.push(PlannedRun {
            name,
            set,
            seed,
            unique: filled(self.0, shares, tokens),
            epochs,
        });
    }
}

/// Buckets with their shares: all of `planted`, and natural ones up to a number drawn from `most`.
fn mixed(
    random: &mut ChaCha8Rng,
    natural: &[usize],
    planted: &[usize],
    most: (usize, usize),
    concentration: f64,
) -> Vec<(usize, f64)> {
    let (low, high) = (most.0.min(natural.len()), most.1.min(natural.len()));
    let number = random
        .random_range(low..=high)
        .saturating_sub(planted.len())
        .max(1);
    let chosen = sample(random, natural.len(), number)
        .into_iter()
        .map(|at| natural[at]);
    let chosen: Vec<usize> = chosen.chain(planted.iter().copied()).collect();

    // Dirichlet: shares of independent Gammas.
    let gamma = Gamma::new(concentration, 1.0).expect("the shape is above 0");
    chosen
        .into_iter()
        .map(|bucket| (bucket, gamma.sample(random)))
        .collect()
}

/// The tokens of each bucket of a run. A bucket that has too few leaves the rest to the others.
fn filled(supplies: &[Supply], shares: &[(usize, f64)], tokens: f64) -> Vec<u64> {
    let mut amounts = vec![0.0; supplies.len()];
    let mut open: Vec<(usize, f64)> = shares.to_vec();
    let mut left = tokens;

    // Each round fills at least one bucket, or places all that is left.
    while left >= 1.0 && !open.is_empty() {
        let sum: f64 = open.iter().map(|(_, share)| share).sum();
        let (mut placed, mut still) = (0.0, Vec::new());
        for &(bucket, share) in &open {
            let room = supplies[bucket].tokens as f64 - amounts[bucket];
            let part = left * share / sum;
            amounts[bucket] += part.min(room);
            placed += part.min(room);
            if part < room {
                still.push((bucket, share));
            }
        }

        if still.len() == open.len() {
            break;
        }
        (left, open) = (left - placed, still);
    }

    let whole = |amount: f64| {
        if amount < LEAST_TOKENS {
            0
        } else {
            amount.round() as u64
        }
    };
    amounts.into_iter().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supplies() -> Vec<Supply> {
        let natural = (1..=12).map(|n| Supply {
            tokens: n * 400_000,
            in_pool: n * 400_000,
            natural: true,
        });
        let arms = (0..6).map(|_| Supply {
            tokens: 1_000_000,
            in_pool: 1_000_000,
            natural: false,
        });
        natural.chain(arms).collect()
    }

    const CONFIG: PlanConfig = PlanConfig {
        fit: 96,
        held_out: 60,
        tokens: (250e3, 4e6),
        seed: 1,
    };

    #[test]
    fn the_plan_has_its_sets() {
        let (supplies, runs) = (supplies(), plan(&supplies(), &CONFIG));
        let of = |set: Set| runs.iter().filter(move |run| run.set == set);
        let sizes = Set::ALL.map(|set| of(set).count());
        assert_eq!(sizes, [96, 20, 20, 10, 10, 24, 12]);
        assert_eq!(
            runs.iter().filter(|run| run.set.held_out()).count(),
            CONFIG.held_out
        );

        for run in &runs {
            let total: u64 = run.unique.iter().sum();
            assert!(
                run.unique
                    .iter()
                    .zip(&supplies)
                    .all(|(n, s)| *n <= s.tokens)
            );
            let arms = run
                .unique
                .iter()
                .zip(&supplies)
                .filter(|(n, s)| **n > 0 && !s.natural);
            assert!(run.set == Set::Fit || arms.count() == 0, "{}", run.name);
            if run.set == Set::Equal {
                assert!(total.abs_diff(1_000_000) < 5_000, "{total}");
            }
        }

        for arm in 12..18 {
            let runs = of(Set::Fit).filter(|run| run.unique[arm] > 0).count();
            assert!(runs >= RUNS_OF_AN_ARM - 1, "{runs}");
        }
        let arms = |run: &&PlannedRun| run.unique[12..].iter().any(|tokens| *tokens > 0);
        assert!(of(Set::Fit).filter(arms).count() <= 32);

        let names: std::collections::BTreeSet<_> = runs.iter().map(|run| &run.name).collect();
        assert_eq!(names.len(), runs.len());
        assert_eq!(plan(&supplies, &CONFIG), runs);
        assert_ne!(plan(&supplies, &PlanConfig { seed: 2, ..CONFIG }), runs);
    }

    #[test]
    fn what_a_bucket_lacks_goes_to_the_others() {
        let supplies = [1_000, 50_000, 90_000].map(|tokens| Supply {
            tokens,
            in_pool: tokens,
            natural: true,
        });
        let shares = [(0, 0.5), (1, 0.3), (2, 0.2)];
        assert_eq!(filled(&supplies, &shares, 11_000.0), [1_000, 6_000, 4_000]);
        assert_eq!(filled(&supplies, &shares, 1e9), [1_000, 50_000, 90_000]);
        assert_eq!(filled(&supplies, &[(1, 1.0)], 400.0), [0, 0, 0]);
    }
}
