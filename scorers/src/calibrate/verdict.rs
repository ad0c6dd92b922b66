//! From measured losses to a verdict: laws fitted to the `fit` runs, judged on runs that they never
//! saw, beside baselines and with controls that must fail.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::fit::{Fit, Runs, choose_lambda};
use super::held_out::{Scores, ratio};
use super::laws::Law;
use super::plan::Set;
use super::worth::{Worths, isotonic, worths};

/// Permutations of the bucket labels in the control of chance, so that passing has p ≤ 0.05.
const PERMUTATIONS: u64 = 19;
/// ρ of the start that CES takes from the linear solution.
const NEARLY_LINEAR: f64 = 0.95;
/// An isotonic q is used if the held-out error is at most this many times the fitted one's.
const ISOTONIC_COST: f64 = 1.02;

/// Damaged text whose worth is known beforehand, and the clean text that it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// The clean text that the other arms were made of.
    Control,
    /// Words shuffled within each document.
    Shuffled,
    /// This many percent of the tokens replaced by random ones: 10, 30 or 60.
    Random(u8),
    /// Lines that many documents share.
    Boilerplate,
}

impl Arm {
    /// All arms, in the order of their buckets.
    pub const ALL: [Arm; 6] = [
        Arm::Control,
        Arm::Shuffled,
        Arm::Random(10),
        Arm::Random(30),
        Arm::Random(60),
        Arm::Boilerplate,
    ];

    /// The name of the arm in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Control => "control",
            Arm::Shuffled => "shuffled",
            Arm::Random(10) => "random_10",
            Arm::Random(30) => "random_30",
            Arm::Random(_) => "random_60",
            Arm::Boilerplate => "boilerplate",
        }
    }
}

/// A bucket as the verdict sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The number of its source, from 0 without a gap. Arms belong to the source of their text.
    pub source: usize,
    /// The number of its source and domain, within which bins are ordered by score.
    pub group: usize,
    /// The mean uncalibrated q of its tokens, above 0.
    pub score: f64,
    /// `None` for natural text.
    pub arm: Option<Arm>,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The set.
    pub set: Set,
    /// The number of the run within its set; seeds of one anchor and passes of one mixture share
    /// it.
    pub number: usize,
    /// Tokens of each bucket, repeats discounted.
    pub tokens: Vec<f64>,
    /// Passes over the tokens.
    pub epochs: u32,
    /// The held-out loss, in bits per byte.
    pub loss: f64,
}

/// The settings of the judgement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgeConfig {
    /// The seed of starts, resamples and permutations.
    pub seed: u64,
    /// True for the n-gram proxy, whose loss must not fall with exact repeats.
    pub repeats_must_not_help: bool,
}

/// A law and how it did.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The name in tables: `d_prime`, `score`, or that of the law.
    pub name: &'static str,
    /// The law, fitted to the `fit` runs.
    pub fit: Fit,
    /// Its predictions on all held-out runs.
    pub all: Scores,
    /// The mean absolute error on each held-out set, in the order of [`Set::ALL`]; `None` for a
    /// set without runs.
    pub by_set: Vec<(Set, Option<Scores>)>,
    /// Its iso-R² on `interpolation` and `equal`.
    pub iso_r2: Option<f64>,
}

/// One criterion of the verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Criterion {
    /// A short name, stable over versions.
    pub name: &'static str,
    /// What was found, as a sentence with its figures.
    pub found: String,
    /// True if the criterion is met.
    pub met: bool,
    /// True if "calibrated" requires it.
    pub required: bool,
}

/// The judgement of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The number of held-out runs.
    pub held_out: usize,
    /// The baselines and all laws.
    pub tried: Vec<Tried>,
    /// The index in `tried` of the chosen law, which is linear or CES.
    pub chosen: usize,
    /// q by the chosen law, with intervals.
    pub worths: Worths,
    /// q made to ascend with the score within each group, where that costs at most 2 % of error;
    /// else the groups whose order of scores is contradicted.
    pub isotonic: Result<Vec<f64>, Vec<usize>>,
    /// The ratio of the chosen law's held-out error to that of D′, and its 95 % interval.
    pub ratio: (f64, [f64; 2]),
    /// The standard deviation of the loss between seeds; `None` without anchors.
    pub sigma_seed: Option<f64>,
    /// MSE on `equal` in units of σ²_seed.
    pub lack_of_fit: Option<f64>,
    /// The ratios of errors with permuted labels, ascending.
    pub permuted: Vec<f64>,
    /// The criteria, in their order.
    pub criteria: Vec<Criterion>,
}

impl Judged {
    /// True if all required criteria are met.
    pub fn passed(&self) -> bool {
        self.criteria
            .iter()
            .all(|criterion| criterion.met || !criterion.required)
    }

    /// True if the verdict is passed with the stricter thresholds: a ratio of at most 0.5, an
    /// iso-R² of at least 0.8 and a τ on `equal` of at least 0.7.
    pub fn strong(&self) -> bool {
        let chosen = &self.tried[self.chosen];
        let tau = chosen.on(Set::Equal).and_then(|scores| scores.tau);
        self.passed()
            && self.ratio.0 <= 0.5
            && chosen.iso_r2.is_some_and(|r2| r2 >= 0.8)
            && tau.is_some_and(|tau| tau >= 0.7)
    }
}

impl Tried {
    /// The scores on one set.
    pub fn on(&self, set: Set) -> Option<Scores> {
        self.by_set
            .iter()
            .find(|(other, _)| *other == set)
            .and_then(|(_, scores)| *scores)
    }
}

/// The error for runs that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unjudged {
    /// Too few runs of a kind.
    #[error("{found} {set} runs have a loss, expected at least {needed}")]
    TooFew {
        /// The kind of runs.
        set: &'static str,
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// The baseline predicts each held-out loss exactly, so that no ratio to its error exists.
    #[error("equal worth predicts every held-out loss exactly: there is nothing to calibrate")]
    NothingToGain,
}

/// The fewest `fit` runs for a number of buckets: four each, and at least 48.
pub fn runs_needed(buckets: usize) -> usize {
    (4 * buckets).max(48)
}

/// Fits all laws, chooses one and judges it.
///
/// # Errors
/// [`Unjudged`] with fewer than [`runs_needed`] runs to fit to or fewer than 12 held-out runs, or
/// where the baseline has no error.
pub fn judge(
    buckets: &[Bucket],
    measured: &[Measured],
    config: &JudgeConfig,
) -> Result<Judged, Unjudged> {
    let runs = |wanted: &dyn Fn(&Measured) -> bool| {
        let mut runs = Runs::new(buckets.len());
        for run in measured.iter().filter(|run| wanted(run)) {
            runs.push(&run.tokens, run.loss)
                .expect("measured runs were checked");
        }
        runs
    };
    let fit_runs = runs(&|run| run.set == Set::Fit);
    let held_out = runs(&|run| run.set.held_out());

    let enough = |set, found, needed| match found < needed {
        true => Err(Unjudged::TooFew { set, found, needed }),
        false => Ok(()),
    };
    enough("fit", fit_runs.len(), runs_needed(buckets.len()))?;
    enough("held-out", held_out.len(), 12)?;

    let tried = try_laws(buckets, &fit_runs, &runs, config.seed);
    let errors = |fit: &Fit| -> Vec<f64> {
        let predicted = fit.predict(&held_out);
        predicted
            .iter()
            .zip(held_out.losses())
            .map(|(found, loss)| found - loss)
            .collect()
    };
    let baseline = errors(&tried[0].fit);

    let natural: Vec<bool> = buckets.iter().map(|bucket| bucket.arm.is_none()).collect();
    let (chosen, worths) = choose(&tried, &fit_runs, &natural, config.seed);
    let fit = &tried[chosen].fit;
    let ratio_to_baseline = |fit: &Fit| ratio(&errors(fit), &baseline, config.seed);
    let ratio = ratio_to_baseline(fit).ok_or(Unjudged::NothingToGain)?;

    let permuted = permuted_ratios(fit, &fit_runs, config.seed, |fit| {
        ratio_to_baseline(fit).map(|(ratio, _)| ratio)
    });
    let isotonic = try_isotonic(buckets, fit, &worths, &held_out, tried[chosen].all.mae);
    let sigma_seed = seed_noise(measured);
    let lack_of_fit = sigma_seed.and_then(|sigma| lack_of_fit(fit, &runs, sigma));

    let mut judged = Judged {
        held_out: held_out.len(),
        tried,
        chosen,
        worths,
        isotonic,
        ratio,
        sigma_seed,
        lack_of_fit,
        permuted,
        criteria: Vec::new(),
    };
    judged.criteria = criteria(&judged, buckets, measured, config);
    Ok(judged)
}

/// Runs that meet a condition.
type Choose<'r> = dyn Fn(&dyn Fn(&Measured) -> bool) -> Runs + 'r;

/// Fits the baselines and all laws. The order is `d_prime`, `score`, `linear`, `ces_sources`,
/// `geometric`, `additive`.
fn try_laws(buckets: &[Bucket], fit_runs: &Runs, runs: &Choose, seed: u64) -> Vec<Tried> {
    let held_out = runs(&|run| run.set.held_out());
    let both = runs(&|run| matches!(run.set, Set::Interpolation | Set::Equal));
    let finish = |name, fit: Fit| {
        let scores = |runs: &Runs| Scores::new(runs, &fit.predict(runs));
        let sets = Set::ALL.into_iter().filter(|set| set.held_out());
        let by_set = sets.map(|set| {
            let of_set = runs(&|run| run.set == set);
            (set, (!of_set.is_empty()).then(|| scores(&of_set)))
        });
        Tried {
            name,
            all: scores(&held_out),
            by_set: by_set.collect(),
            iso_r2: if both.is_empty() {
                None
            } else {
                scores(&both).iso_r2
            },
            fit,
        }
    };

    let fixed = |weights: Vec<f64>| Fit::new(&Law::Weighted(weights), fit_runs, 0.0, seed, None);
    let fitted = |law: &Law, warm: Option<&[f64]>| {
        let (lambda, _) = choose_lambda(law, fit_runs, seed, warm);
        Fit::new(law, fit_runs, lambda, seed, warm)
    };

    let linear = fitted(&Law::Linear, None);
    let ces = Law::Ces {
        sources: buckets.iter().map(|bucket| bucket.source).collect(),
    };
    let warm = [&linear.theta[..], &[NEARLY_LINEAR]].concat();

    vec![
        finish("d_prime", fixed(vec![1.0; buckets.len()])),
        finish(
            "score",
            fixed(buckets.iter().map(|bucket| bucket.score).collect()),
        ),
        finish("linear", linear),
        finish("ces_sources", fitted(&ces, Some(&warm))),
        finish("geometric", fitted(&Law::Geometric, None)),
        finish("additive", fitted(&Law::Additive, None)),
    ]
}

/// The place of the linear law among those tried; CES follows.
const LINEAR: usize = 2;

/// CES of sources, or the linear law where there is one source, where the interval of ρ reaches 1,
/// or where CES predicts no better.
fn choose(tried: &[Tried], runs: &Runs, natural: &[bool], seed: u64) -> (usize, Worths) {
    let ces = &tried[LINEAR + 1];
    let several = match &ces.fit.law {
        Law::Ces { sources } => sources.iter().max() > Some(&0),
        _ => false,
    };

    if several && ces.all.mae < tried[LINEAR].all.mae {
        let worths = worths(&ces.fit, runs, natural, seed);
        if worths.rho.high < 1.0 {
            return (LINEAR + 1, worths);
        }
    }

    (LINEAR, worths(&tried[LINEAR].fit, runs, natural, seed))
}

/// The ratios of error after the labels of the buckets were permuted within each run, ascending.
fn permuted_ratios(
    fit: &Fit,
    runs: &Runs,
    seed: u64,
    ratio: impl Fn(&Fit) -> Option<f64> + Sync,
) -> Vec<f64> {
    let one = |number: u64| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number + 1);

        let mut permuted = Runs::new(runs.buckets());
        for run in 0..runs.len() {
            let mut tokens: Vec<f64> = runs.tokens(run).iter().map(|x| x * 1e6).collect();
            tokens.shuffle(&mut random);
            permuted
                .push(&tokens, runs.losses()[run])
                .expect("the run was checked");
        }

        ratio(&Fit::new(&fit.law, &permuted, fit.lambda, seed, None))
    };

    let mut ratios: Vec<f64> = (0..PERMUTATIONS).into_par_iter().filter_map(one).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

/// q made to ascend with the score in each group, or the groups where the score says otherwise.
fn try_isotonic(
    buckets: &[Bucket],
    fit: &Fit,
    worths: &Worths,
    held_out: &Runs,
    mae: f64,
) -> Result<Vec<f64>, Vec<usize>> {
    let mut ascending = fit.clone();
    let mut changed = Vec::new();
    let groups = buckets
        .iter()
        .map(|bucket| bucket.group)
        .max()
        .map_or(0, |last| last + 1);
    for group in 0..groups {
        let member = |&b: &usize| buckets[b].group == group && buckets[b].arm.is_none();
        let mut members: Vec<usize> = (0..buckets.len()).filter(member).collect();
        members.sort_by(|&a, &b| buckets[a].score.total_cmp(&buckets[b].score));

        let values: Vec<f64> = members.iter().map(|&b| fit.worths()[b]).collect();
        // A bucket without an error of its own would outweigh all others.
        let weight = |&b: &usize| worths.deviation[b].max(1e-3).powi(-2);
        let weights: Vec<f64> = members.iter().map(weight).collect();
        for (&bucket, worth) in members.iter().zip(isotonic(&values, &weights)) {
            ascending.theta[2 + bucket] = worth;
        }
        if !values.is_sorted() {
            changed.push(group);
        }
    }

    let after = Scores::new(held_out, &ascending.predict(held_out)).mae;
    if after > ISOTONIC_COST * mae {
        return Err(changed);
    }

    let of = |worth: &f64| {
        (worth - worths.pinned.scale)
            .exp()
            .clamp(super::worth::FLOOR, 1.0)
    };
    Ok(ascending.worths().iter().map(of).collect())
}

/// The standard deviation of the loss between seeds of the same mixture, pooled.
fn seed_noise(measured: &[Measured]) -> Option<f64> {
    let anchors = || measured.iter().filter(|run| run.set == Set::Anchor);
    let mut numbers: Vec<usize> = anchors().map(|run| run.number).collect();
    numbers.sort_unstable();
    numbers.dedup();

    let (mut squares, mut freedom) = (0.0, 0);
    for number in numbers {
        let losses: Vec<f64> = anchors()
            .filter(|run| run.number == number)
            .map(|run| run.loss)
            .collect();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        squares += losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>();
        freedom += losses.len() - 1;
    }
    (freedom > 0).then(|| (squares / freedom as f64).sqrt())
}

/// MSE on `equal` in units of the variance between seeds.
fn lack_of_fit(fit: &Fit, runs: &Choose, sigma: f64) -> Option<f64> {
    let equal = runs(&|run| run.set == Set::Equal);
    if equal.is_empty() || sigma == 0.0 {
        return None;
    }

    let predicted = fit.predict(&equal);
    let squares = predicted
        .iter()
        .zip(equal.losses())
        .map(|(found, loss)| (found - loss).powi(2));
    Some(squares.sum::<f64>() / equal.len() as f64 / (sigma * sigma))
}

/// The ten criteria.
fn criteria(
    judged: &Judged,
    buckets: &[Bucket],
    measured: &[Measured],
    config: &JudgeConfig,
) -> Vec<Criterion> {
    let (chosen, score) = (&judged.tried[judged.chosen], &judged.tried[1]);
    let additive = &judged.tried[judged.tried.len() - 1];
    let (ratio, [_, upper]) = judged.ratio;
    let tau = |tried: &Tried| tried.on(Set::Equal).and_then(|scores| scores.tau);
    let (own_tau, score_tau) = (tau(chosen), tau(score));

    let mut criteria = vec![
        Criterion {
            name: "error",
            found: format!(
                "error {:.4}, {ratio:.2} of that of equal worth (upper end {upper:.2}); at most 0.60 and 0.80 pass",
                chosen.all.mae
            ),
            met: ratio <= 0.6 && upper < 0.8,
            required: true,
        },
        Criterion {
            name: "score",
            found: format!(
                "error {:.4}, that of the uncalibrated score {:.4}",
                chosen.all.mae, score.all.mae
            ),
            met: chosen.all.mae < score.all.mae,
            required: true,
        },
        Criterion {
            name: "order",
            found: format!(
                "Kendall's τ at equal tokens {}, that of the uncalibrated score {}; at least 0.60 passes",
                shown(own_tau),
                shown(score_tau)
            ),
            met: own_tau.is_some_and(|tau| tau >= 0.6 && score_tau.is_none_or(|other| tau > other)),
            required: true,
        },
        Criterion {
            name: "composition",
            found: format!(
                "R² without the amount of text {}; at least 0.70 passes",
                shown(chosen.iso_r2)
            ),
            met: chosen.iso_r2.is_some_and(|r2| r2 >= 0.7),
            required: true,
        },
        permutation_criterion(&judged.permuted, ratio),
    ];
    criteria.extend(arms_criterion(buckets, &judged.worths.pinned.q));
    criteria.extend(repeats_criterion(measured, config.repeats_must_not_help));
    criteria.extend(range_criterion(chosen, judged.sigma_seed));

    if let Some(lack) = judged.lack_of_fit {
        criteria.push(Criterion {
            name: "lack_of_fit",
            found: format!(
                "squared error at equal tokens is {lack:.1} times the noise between seeds; at most 4 would be noise"
            ),
            met: lack <= 4.0,
            required: false,
        });
    }
    criteria.push(Criterion {
        name: "constant_worth",
        found: format!(
            "error {:.4}, that of a law with a floor for each mixture {:.4}; beyond 1.5 times the worth of a bucket is not a constant number of tokens",
            chosen.all.mae, additive.all.mae
        ),
        met: chosen.all.mae <= 1.5 * additive.all.mae,
        required: false,
    });

    criteria
}

/// The true ratio is below all permuted ones, whose median is near 1.
fn permutation_criterion(permuted: &[f64], ratio: f64) -> Criterion {
    let (least, median) = match permuted {
        [] => (f64::NAN, f64::NAN),
        [least, ..] => (*least, permuted[permuted.len() / 2]),
    };

    Criterion {
        name: "permuted",
        found: format!(
            "with permuted labels the ratio is {least:.2} at best and {median:.2} in the median of {}; the true one must be below all, and the median above 0.85",
            permuted.len()
        ),
        met: ratio < least && median > 0.85,
        required: true,
    }
}

/// Damaged text is worth less than clean text. `None` without arms.
fn arms_criterion(buckets: &[Bucket], q: &[f64]) -> Option<Criterion> {
    let of = |arm: Arm| {
        let at = buckets.iter().position(|bucket| bucket.arm == Some(arm))?;
        Some(q[at])
    };
    let (control, shuffled) = (of(Arm::Control)?, of(Arm::Shuffled)?);
    let [ten, thirty, sixty] = [
        of(Arm::Random(10))?,
        of(Arm::Random(30))?,
        of(Arm::Random(60))?,
    ];

    Some(Criterion {
        name: "controls",
        found: format!(
            "q of clean text {control:.3}, of shuffled words {shuffled:.3}, with 10, 30 and 60 % random tokens {ten:.3}, {thirty:.3}, {sixty:.3}"
        ),
        met: sixty < thirty
            && thirty < ten
            && ten <= 1.25 * control
            && sixty <= 0.15 * control
            && shuffled < control,
        required: true,
    })
}

/// The loss of an n-gram model does not fall with exact repeats. `None` without such runs.
fn repeats_criterion(measured: &[Measured], must_not_help: bool) -> Option<Criterion> {
    let mut runs: Vec<&Measured> = measured
        .iter()
        .filter(|run| run.set == Set::Repeats)
        .collect();
    runs.sort_by_key(|run| (run.number, run.epochs));

    let steps = || {
        runs.windows(2)
            .filter(|pair| pair[0].number == pair[1].number)
    };
    let greatest_fall = steps()
        .map(|pair| pair[0].loss - pair[1].loss)
        .fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = steps().map(|pair| pair[1].loss - pair[0].loss).sum();
    let mixtures = runs.chunk_by(|a, b| a.number == b.number).count();
    if mixtures == 0 {
        return None;
    }

    Some(Criterion {
        name: "repeats",
        found: format!(
            "from one pass to the most passes the loss changes by {:+.4} on average",
            total / mixtures as f64
        ),
        met: !must_not_help || greatest_fall <= 0.0,
        required: must_not_help,
    })
}

/// The law holds beyond the range of its fit. `None` without runs there or without anchors.
fn range_criterion(chosen: &Tried, sigma_seed: Option<f64>) -> Option<Criterion> {
    let (beyond, sigma) = (chosen.on(Set::Extrapolation)?, sigma_seed?);
    let limit = 2.0 * sigma + 0.02;

    Some(Criterion {
        name: "range",
        found: format!(
            "bias at 2 to 3 times the tokens {:+.4}; within {limit:.4} the range reaches that far",
            beyond.bias
        ),
        met: beyond.bias.abs() <= limit,
        required: false,
    })
}

/// A value that may not exist.
fn shown(value: Option<f64>) -> String {
    value.map_or("undefined".to_owned(), |value| format!("{value:.2}"))
}
