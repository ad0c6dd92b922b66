//! Laws against exact and simulated losses, and against those of a study on real text.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Dirichlet, Distribution, Normal};

use super::fit::{Fit, Runs};
use super::held_out::Scores;
use super::laws::Law;
use super::plan::Set;
use super::verdict::{Arm, Bucket, JudgeConfig, Measured, judge};
use super::worth::worths;

/// A file of `fixtures/calibration`.
fn fixture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/calibration/");
    std::fs::read_to_string(format!("{folder}{name}")).unwrap()
}

/// Runs of a CSV file: tokens of each bucket, then the loss.
fn csv(name: &str, buckets: usize) -> Runs {
    let mut runs = Runs::new(buckets);
    for line in fixture(name).lines().filter(|line| !line.starts_with('#')) {
        let numbers: Vec<f64> = line
            .split(',')
            .map(|number| number.parse().unwrap())
            .collect();
        runs.push(&numbers[..buckets], numbers[buckets]).unwrap();
    }
    runs
}

/// Names, tokens of each bucket, and losses of the study's runs. Of a bucket beyond `buckets`
/// nothing is kept.
fn study(plan: &str, losses: &str, buckets: usize) -> Vec<(String, Vec<f64>, Vec<f64>)> {
    let plan = fixture(plan);
    let drawn: BTreeMap<&str, Vec<f64>> = plan
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let mut tokens = vec![0.0; buckets];
            for part in fields[2].split(',') {
                let part: Vec<f64> = part
                    .split(':')
                    .map(|number| number.parse().unwrap())
                    .collect();
                if let Some(tokens) = tokens.get_mut(part[0] as usize) {
                    *tokens = part[1] * part[2];
                }
            }
            (fields[0], tokens)
        })
        .collect();

    let losses = fixture(losses);
    let runs = losses.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let losses = fields[3..]
            .iter()
            .map(|loss| loss.parse().unwrap())
            .collect();
        (fields[0].to_owned(), drawn[fields[0]].clone(), losses)
    });
    runs.collect()
}

/// The mean loss over the html, text and man targets.
fn mean_of_three(losses: &[f64]) -> f64 {
    losses[..3].iter().sum::<f64>() / 3.0
}

/// The worths relative to the greatest.
fn q(fit: &Fit) -> Vec<f64> {
    let greatest = fit
        .worths()
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    fit.worths()
        .iter()
        .map(|worth| (worth - greatest).exp())
        .collect()
}

const TRUE_Q: [f64; 6] = [0.05, 0.2, 0.5, 0.1, 0.4, 1.0];

#[test]
fn exact_losses_give_the_truth() {
    let linear = Fit::new(&Law::Linear, &csv("linear_noiseless.csv", 6), 0.0, 1, None);
    let ces = Law::Ces {
        sources: vec![0, 0, 0, 1, 1, 1],
    };
    let ces = Fit::new(&ces, &csv("ces_noiseless.csv", 6), 0.0, 1, None);

    for fit in [&linear, &ces] {
        for (found, truth) in q(fit).iter().zip(TRUE_Q) {
            assert!((found - truth).abs() < 1e-4, "{found} {truth}");
        }
        assert!((fit.e() - 1.8).abs() < 1e-6 && (fit.beta() - 0.25).abs() < 1e-6);
    }
    assert!((ces.rho() - 0.7).abs() < 1e-8, "{}", ces.rho());
}

#[test]
fn noisy_losses_give_worths_within_their_intervals() {
    let runs = csv("linear_noise003.csv", 6);
    let fit = Fit::new(&Law::Linear, &runs, 3e-4, 1, None);
    let found = worths(&fit, &runs, &[true; 6], 1);
    for (bucket, truth) in TRUE_Q.into_iter().enumerate() {
        let (q, between) = (found.pinned.q[bucket], found.q[bucket]);
        assert!((q / truth).ln().abs() < 0.1, "{q} {truth}");
        let half = 0.5 * (between.high - between.low);
        assert!(
            between.low - half <= truth && truth <= between.high + half,
            "{between:?} {truth}"
        );
    }
}

/// 48 runs of a linear law with a relative noise of 0.005.
fn simulated(seed: u64) -> Runs {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (shares, noise) = (
        Dirichlet::new([0.8; 6]).unwrap(),
        Normal::<f64>::new(0.0, 0.005).unwrap(),
    );
    let mut runs = Runs::new(6);
    for _ in 0..48 {
        let total = random.random_range((0.25e6f64).ln()..(4e6f64).ln()).exp();
        let tokens = shares.sample(&mut random).map(|share| share * total);
        let effective: f64 = tokens
            .iter()
            .zip(TRUE_Q)
            .map(|(tokens, q)| tokens * q)
            .sum();
        let loss = 1.8 + (2.0 * effective / 1e6).powf(-0.25);
        runs.push(&tokens, loss * noise.sample(&mut random).exp())
            .unwrap();
    }
    runs
}

#[test]
fn intervals_cover_the_truth() {
    const Z: f64 = 1.6449;
    let (mut covered, mut all) = (0, 0);
    for seed in 0..40 {
        let runs = simulated(seed);
        let fit = Fit::new(&Law::Linear, &runs, 3e-4, seed, None);
        let covariance = fit.covariance(&runs).unwrap();
        let entry = |i: usize, j: usize| covariance[(2 + i) * fit.theta.len() + 2 + j];

        // ln q of the others, relative to the last bucket.
        let worths = fit.worths();
        for bucket in 0..5 {
            let variance = entry(bucket, bucket) + entry(5, 5) - 2.0 * entry(bucket, 5);
            let error = worths[bucket] - worths[5] - TRUE_Q[bucket].ln();
            covered += usize::from(error.abs() <= Z * variance.sqrt());
            all += 1;
        }
    }

    let share = covered as f64 / all as f64;
    println!("figure: coverage of 90 % intervals {share:.3}");
    assert!((0.8..=0.95).contains(&share), "{share}");
}

#[test]
fn the_study_is_fitted_as_its_own_code_fitted_it() {
    let all = study("study_plan.txt", "study_losses.tsv", 18);
    let runs = |wanted: &dyn Fn(&str) -> bool| {
        let mut runs = Runs::new(18);
        for (_, tokens, losses) in all.iter().filter(|(name, ..)| wanted(name)) {
            runs.push(tokens, mean_of_three(losses)).unwrap();
        }
        runs
    };
    let fit = runs(&|name| {
        name.strip_prefix("fit")
            .is_some_and(|n| n.parse::<usize>().unwrap() < 80)
    });
    let held_out = runs(&|name| {
        ["hA", "hB", "hC", "hD"]
            .iter()
            .any(|set| name.starts_with(set))
    });
    let equal = runs(&|name| name.starts_with("hB"));
    assert_eq!((fit.len(), held_out.len(), equal.len()), (80, 74, 30));

    let linear = Fit::new(&Law::Linear, &fit, 3e-3, 1, None);
    let error = Scores::new(&held_out, &linear.predict(&held_out)).mae;
    let tau = Scores::new(&equal, &linear.predict(&equal)).tau.unwrap();
    println!("figure: linear law on the study: error {error:.4}, tau {tau:.2}");
    assert!((error - 0.0455).abs() <= 0.0015, "{error}");
    assert!((tau - 0.69).abs() <= 0.03, "{tau}");
    assert!(linear.agreeing >= 2);
    // 60 % random tokens beside their clean control.
    let worths = q(&linear);
    assert!(worths[15] / worths[11] < 0.1, "{worths:?}");
}

#[test]
fn ces_of_sources_predicts_natural_mixtures() {
    let all = study("natural_plan.txt", "natural_losses.tsv", 11);
    let mut runs = Runs::new(11);
    for (_, tokens, losses) in &all {
        runs.push(tokens, mean_of_three(losses)).unwrap();
    }
    let law = Law::Ces {
        sources: vec![0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4],
    };

    let (mut predicted, mut rhos) = (vec![0.0; runs.len()], Vec::new());
    for fold in 0..5 {
        let inside = |run: &usize| run % 5 == fold;
        let train = runs.select((0..runs.len()).filter(|run| !inside(run)));
        let fit = Fit::new(&law, &train, 3e-3, 1, None);
        rhos.push(fit.rho());
        let all = fit.predict(&runs);
        (0..runs.len())
            .filter(inside)
            .for_each(|run| predicted[run] = all[run]);
    }

    let scores = Scores::new(&runs, &predicted);
    let (r2, rho) = (scores.iso_r2.unwrap(), rhos[4]);
    println!(
        "figure: CES on natural mixtures: error {:.4}, iso-R2 {r2:.2}, rho {rho:.2}",
        scores.mae
    );
    assert!((scores.mae - 0.0175).abs() <= 0.0015, "{}", scores.mae);
    assert!((r2 - 0.89).abs() <= 0.03, "{r2}");
    assert!((rho - 0.58).abs() <= 0.05, "{rho}");
}

#[test]
fn the_study_is_judged() {
    let arms = [
        Arm::Control,
        Arm::Shuffled,
        Arm::Random(10),
        Arm::Random(30),
        Arm::Random(60),
    ];
    let sources = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0];
    let bucket = |number: usize| Bucket {
        source: sources[number],
        group: if number < 11 { sources[number] } else { 5 },
        score: 0.5 + 0.02 * number as f64,
        arm: number
            .checked_sub(11)
            .and_then(|arm| arms.get(arm))
            .copied(),
    };
    let buckets: Vec<Bucket> = (0..18).map(bucket).collect();
    let sets = [
        ("fit", Set::Fit),
        ("hA", Set::Interpolation),
        ("hB", Set::Equal),
        ("hC", Set::Extrapolation),
        ("hD", Set::Pairs),
        ("an", Set::Anchor),
    ];
    let measured: Vec<Measured> = study("study_plan.txt", "study_losses.tsv", 18)
        .into_iter()
        .filter_map(|(name, tokens, losses)| {
            let (rest, set) = sets
                .iter()
                .find_map(|(prefix, set)| Some((name.strip_prefix(prefix)?, *set)))?;
            Some(Measured {
                set,
                number: rest.split('_').next()?.parse().ok()?,
                tokens,
                epochs: 1,
                loss: losses[0],
            })
        })
        .collect();

    let config = JudgeConfig {
        seed: 1,
        repeats_must_not_help: true,
    };
    let judged = judge(&buckets, &measured, &config).unwrap();
    assert!(judged.passed() && judged.strong(), "{:#?}", judged.criteria);
    assert_eq!(judged.tried[judged.chosen].name, "ces_sources");

    // Losses that have nothing to do with the buckets must not pass.
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let noise: Vec<Measured> = measured
        .iter()
        .map(|run| Measured {
            loss: 2.0
                + (run.tokens.iter().sum::<f64>() / 1e6).powf(-0.3)
                + random.random_range(0.0..0.3),
            ..run.clone()
        })
        .collect();
    let judged = judge(&buckets, &noise, &config).unwrap();
    assert!(!judged.passed(), "{:#?}", judged.criteria);
    for name in ["error", "order", "composition", "permuted"] {
        let own = judged
            .criteria
            .iter()
            .find(|criterion| criterion.name == name);
        assert!(own.is_some_and(|own| !own.met && own.required), "{own:?}");
    }

    let few = judge(&buckets, &measured[..60], &config).unwrap_err();
    assert_eq!(
        few.to_string(),
        "60 fit runs have a loss, expected at least 72"
    );
}
