//! Gates on all four metrics. The gate on PSI is always on, each of the others is off unless it is
//! set.
//!
//! A metric with a gate is judged by the rule of [`mod@super::verdict`], with its own interval in
//! place of the PSI's:
//!
//! | metric | what noise alone adds on average, at effective sizes n and m | adjusted p-value |
//! |---|---|---|
//! | Jensen–Shannon distance | √(N / (8 ln 2)), with N the PSI's (B − 1)(1/n + 1/m): to first order PSI is 8 ln 2 times its square | the PSI's |
//! | Kolmogorov–Smirnov | 0.8687 √(1/n + 1/m): the mean of Kolmogorov's distribution, √(π/2) ln 2 | its own |
//! | Wasserstein, in σ | 1.2884 √(1/n + 1/m): √(2/π) ∫ √(Φ(1 − Φ)), as of normal scores | twice the lesser of both |
//!
//! The worst verdict decides a check: one metric that fails, else one that warns, else one that is
//! inconclusive. Where all scores of the baseline are one value, there is no σ in which Wasserstein
//! could be measured, and its gate is left out. PSI sees such a change.
//!
//! The number of documents that would be enough is estimated from the interval, whose width falls
//! with the root of their number.

use serde::{Deserialize, Serialize};

use super::compare::{Comparison, Estimate};
use super::verdict::{Gates, Verdict, hosts_needed, is_known, verdict};

/// A gate that may be off. A bound that is absent is not checked, and a gate without bounds is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Value above which to warn, above 0.
    pub warn: Option<f64>,
    /// Value above which to fail, at least `warn`.
    pub fail: Option<f64>,
}

impl Gate {
    /// The bound that is reached first; `None` if the gate is off.
    pub fn least(&self) -> Option<f64> {
        self.warn.or(self.fail)
    }

    /// Whether 0 < warn <= fail holds for the bounds that are set.
    pub fn is_sound(&self) -> bool {
        let is_positive = |bound: Option<f64>| bound.is_none_or(|bound| bound > 0.0);
        let in_order = self
            .warn
            .zip(self.fail)
            .is_none_or(|(warn, fail)| warn <= fail);

        is_positive(self.warn) && is_positive(self.fail) && in_order
    }
}

/// The metric that a gate is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Population stability index.
    Psi,
    /// Jensen–Shannon distance.
    JensenShannon,
    /// Kolmogorov–Smirnov statistic.
    Ks,
    /// Wasserstein-1 distance in the baseline's standard deviations.
    Wasserstein,
}

/// The verdict of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The metric of the gate.
    pub metric: Metric,
    /// The verdict by this metric.
    pub verdict: Verdict,
}

/// P-values after [`benjamini_hochberg`](super::benjamini_hochberg) over all comparisons that were
/// made.
#[derive(Debug, Clone, Copy)]
pub struct Adjusted {
    /// The adjusted [`Comparison::psi_p`].
    pub psi: f64,
    /// The adjusted [`Comparison::ks_p`].
    pub ks: f64,
}

/// Judges a comparison by every gate that is on, the gate on PSI first. `confidence` is the
/// confidence of the comparison's intervals.
pub fn judge(found: &Comparison, p: Adjusted, gates: &Gates, confidence: f64) -> Vec<Judged> {
    let root = found
        .effective
        .iter()
        .map(|size| 1.0 / size)
        .sum::<f64>()
        .sqrt();

    let others = [
        (
            Metric::JensenShannon,
            gates.jensen_shannon,
            Some(found.jensen_shannon),
            js_of_psi(found.noise()),
            p.psi,
        ),
        (Metric::Ks, gates.ks, Some(found.ks), KS_NOISE * root, p.ks),
        (
            Metric::Wasserstein,
            gates.wasserstein,
            found.wasserstein,
            WASSERSTEIN_NOISE * root,
            // Wasserstein has no p-value of its own: Bonferroni's correction of the two.
            2.0 * p.psi.min(p.ks),
        ),
    ];

    let mut judged = vec![Judged {
        metric: Metric::Psi,
        verdict: verdict(found, p.psi, gates, confidence),
    }];

    for (metric, gate, estimate, noise, p) in others {
        let (Some(least), Some(estimate)) = (gate.least(), estimate) else {
            continue;
        };

        let is_found = p <= gates.false_discovery_rate;
        let verdict = by_gate(found, &Measured { estimate, noise }, &gate, least, is_found);
        judged.push(Judged { metric, verdict });
    }

    judged
}

/// The worst verdict of all gates; [`Verdict::Pass`] without any. Of several inconclusive gates the
/// one that needs the most documents counts.
pub fn overall(judged: &[Judged]) -> Verdict {
    judged
        .iter()
        .map(|judged| judged.verdict)
        .max_by_key(|verdict| match verdict {
            Verdict::Pass => (0, 0),
            Verdict::Inconclusive { documents_needed } => (1, *documents_needed),
            Verdict::Warn => (2, 0),
            Verdict::Fail => (3, 0),
        })
        .unwrap_or(Verdict::Pass)
}

/// Noise of KS for 1/n + 1/m = 1: √(π/2) ln 2.
const KS_NOISE: f64 = 0.8687311606361591;

/// Noise of Wasserstein for 1/n + 1/m = 1: √(2/π) ∫ √(Φ(z)(1 − Φ(z))) dz = 0.79788 · 1.61474.
const WASSERSTEIN_NOISE: f64 = 1.28837919029;

/// The Jensen–Shannon distance of a small PSI, to first order.
fn js_of_psi(psi: f64) -> f64 {
    (psi / (8.0 * std::f64::consts::LN_2)).sqrt()
}

/// A metric with the value that noise alone would give on average.
struct Measured {
    estimate: Estimate,
    noise: f64,
}

/// The verdict by a metric other than PSI. `least` is the gate's lower bound, and `is_found` says
/// that the p-value is small enough for an alarm.
fn by_gate(found: &Comparison, of: &Measured, gate: &Gate, least: f64, is_found: bool) -> Verdict {
    let Measured {
        estimate: Estimate { low, high, .. },
        noise,
    } = *of;
    let is_over = |bound: Option<f64>| is_found && bound.is_some_and(|bound| low > bound);

    // Equal distributions pass any gate, though the interval of noise may not.
    if found.psi.value == 0.0 && found.ks.value == 0.0 {
        return Verdict::Pass;
    }

    if is_known(found) {
        if high < least && noise < least {
            return Verdict::Pass;
        }

        if is_over(gate.fail) {
            return Verdict::Fail;
        }
        if is_over(gate.warn) {
            return Verdict::Warn;
        }
    }

    Verdict::Inconclusive {
        documents_needed: documents_needed(found, of, gate, least),
    }
}

/// Documents on each side that would be enough for a verdict other than "inconclusive", at least
/// one more than the smaller side has.
fn documents_needed(found: &Comparison, of: &Measured, gate: &Gate, least: f64) -> u64 {
    let Estimate {
        debiased,
        low,
        high,
        ..
    } = of.estimate;

    // An estimate on a bound is taken to miss the bound by a tenth of it.
    let gap = [gate.warn, gate.fail]
        .into_iter()
        .flatten()
        .map(|bound| (debiased - bound).abs().max(0.1 * bound))
        .fold(f64::INFINITY, f64::min);

    let width = (high - debiased).max(debiased - low);
    // The upper bound of noise alone is seldom above three times what noise is on average.
    let narrower = (width / gap).max(3.0 * of.noise / least);

    // The interval narrows with the root of the number of documents.
    let fewest = found.documents.iter().min().copied().unwrap_or(0);
    let enough = (fewest as f64 * narrower * narrower).max(hosts_needed(found));

    (enough.ceil() as u64).max(fewest + 1)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::compare::{against, normal, summary};
    use super::*;

    /// The verdicts by metric, on the p-values as they are.
    fn judged(found: &Comparison, gates: &Gates) -> Vec<(Metric, Verdict)> {
        let p = Adjusted {
            psi: found.psi_p,
            ks: found.ks_p,
        };

        let judged = judge(found, p, gates, Settings::default().confidence);
        judged
            .into_iter()
            .map(|Judged { metric, verdict }| (metric, verdict))
            .collect()
    }

    /// PSI's gate is out of the way. The others are at the values that a shift of `warn` and of
    /// `fail` standard deviations gives for normal scores.
    fn gates(warn: f64, fail: f64) -> Gates {
        let gate = |times: f64| Gate {
            warn: Some(times * warn),
            fail: Some(times * fail),
        };
        let (jensen_shannon, ks, wasserstein) = (gate(0.42), gate(0.4), gate(1.0));

        Gates {
            warn: 20.0,
            fail: 20.0,
            jensen_shannon,
            ks,
            wasserstein,
            ..Gates::default()
        }
    }

    #[test]
    fn they_are_off_unless_set() {
        let found = against(
            &summary(&normal(20_000, 0.0, 1, 0.0, 1)),
            &normal(20_000, 0.5, 1, 0.0, 2),
        );
        assert_eq!(
            judged(&found, &Gates::default()),
            [(Metric::Psi, Verdict::Fail)]
        );
    }

    #[test]
    fn each_sees_the_same_shift_at_its_own_scale() {
        let baseline = summary(&normal(40_000, 0.0, 1, 0.0, 1));
        for (shift, expected) in [
            (0.0, Verdict::Pass),
            (0.2, Verdict::Warn),
            (0.5, Verdict::Fail),
        ] {
            let found = judged(
                &against(&baseline, &normal(40_000, shift, 1, 0.0, 2)),
                &gates(0.1, 0.3),
            );

            let metrics = [Metric::JensenShannon, Metric::Ks, Metric::Wasserstein];
            assert_eq!(found[0], (Metric::Psi, Verdict::Pass));
            assert_eq!(
                found[1..],
                metrics.map(|metric| (metric, expected)),
                "{shift}"
            );
        }
    }

    #[test]
    fn a_gate_alone_fails_or_warns_and_equal_runs_pass_any() {
        let rows = normal(20_000, 0.0, 1, 0.0, 1);
        let (baseline, tiny) = (summary(&rows), Some(1e-12));
        let ks = |ks: Gate| Gates {
            warn: 20.0,
            fail: 20.0,
            ks,
            ..Gates::default()
        };

        let found = against(&baseline, &normal(20_000, 0.2, 1, 0.0, 2));
        assert_eq!(
            judged(
                &found,
                &ks(Gate {
                    warn: None,
                    fail: Some(0.04)
                })
            )[1]
            .1,
            Verdict::Fail
        );
        assert_eq!(
            judged(
                &found,
                &ks(Gate {
                    warn: Some(0.04),
                    fail: None
                })
            )[1]
            .1,
            Verdict::Warn
        );
        assert_eq!(
            judged(
                &found,
                &ks(Gate {
                    warn: None,
                    fail: Some(0.2)
                })
            )[1]
            .1,
            Verdict::Pass
        );

        let same = judged(
            &against(&baseline, &rows),
            &ks(Gate {
                warn: tiny,
                fail: tiny,
            }),
        );
        assert_eq!(same[1].1, Verdict::Pass);
    }

    #[test]
    fn noise_is_inconclusive_and_as_many_as_are_asked_for_are_enough() {
        let at = |n: usize, seed: u64| {
            judged(
                &against(
                    &summary(&normal(n, 0.0, 1, 0.0, seed)),
                    &normal(n, 0.0, 1, 0.0, seed + 1),
                ),
                &gates(0.05, 0.1),
            )
        };

        for (at_metric, (metric, verdict)) in at(500, 1).into_iter().enumerate().skip(1) {
            let Verdict::Inconclusive { documents_needed } = verdict else {
                panic!("{metric:?}: {verdict:?}")
            };
            assert!(
                (2_000..200_000).contains(&documents_needed),
                "{metric:?}: {documents_needed}"
            );

            assert_eq!(
                at(documents_needed as usize, 3)[at_metric],
                (metric, Verdict::Pass),
                "{documents_needed}"
            );
        }
    }

    #[test]
    fn a_p_value_that_does_not_survive_is_no_alarm_and_few_hosts_are_none() {
        let baseline = summary(&normal(20_000, 0.0, 1, 0.0, 1));
        let found = against(&baseline, &normal(20_000, 0.5, 1, 0.0, 2));

        let judged = judge(
            &found,
            Adjusted { psi: 1.0, ks: 0.04 },
            &gates(0.1, 0.3),
            0.9,
        );
        let is_fail: Vec<bool> = judged
            .iter()
            .map(|judged| judged.verdict == Verdict::Fail)
            .collect();
        assert_eq!(is_fail, [false, false, true, false]);

        let few = Comparison {
            clusters: [1000, 19],
            ..found
        };
        let judged = judge(&few, Adjusted { psi: 0.0, ks: 0.0 }, &gates(0.1, 0.3), 0.9);
        assert!(
            judged
                .iter()
                .all(|judged| matches!(judged.verdict, Verdict::Inconclusive { .. })),
            "{judged:?}"
        );
    }

    #[test]
    fn the_worst_answer_counts() {
        let few = |documents_needed| Verdict::Inconclusive { documents_needed };

        let of = |verdicts: &[Verdict]| {
            let judged: Vec<Judged> = verdicts
                .iter()
                .map(|&verdict| Judged {
                    metric: Metric::Ks,
                    verdict,
                })
                .collect();
            overall(&judged)
        };

        assert_eq!(of(&[few(5), few(7), Verdict::Pass]), few(7));
        assert_eq!(of(&[Verdict::Warn, few(7), Verdict::Pass]), Verdict::Warn);
        assert_eq!(of(&[Verdict::Warn, Verdict::Fail, few(7)]), Verdict::Fail);
        assert_eq!(of(&[]), Verdict::Pass);
    }

    #[test]
    fn bounds_are_positive_and_in_order() {
        let is_sound = |warn, fail| Gate { warn, fail }.is_sound();
        assert!(is_sound(None, None) && is_sound(Some(0.1), None) && is_sound(None, Some(0.1)));
        assert!(is_sound(Some(0.1), Some(0.1)) && !is_sound(Some(0.2), Some(0.1)));
        assert!(
            !is_sound(Some(0.0), None)
                && !is_sound(None, Some(f64::NAN))
                && !is_sound(Some(-1.0), Some(1.0))
        );
    }
}
