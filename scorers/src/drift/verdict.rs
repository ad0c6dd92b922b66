//! From a comparison to an answer: pass, warn, fail, or too few documents to say.
//!
//! Gates are on the size of the effect, not on p-values: at 10^9 documents every p-value is zero.
//! The gates of this module are on PSI, since for small shifts the other metrics are functions of
//! PSI. The customary PSI of 0.1 is a shift of a third of a standard deviation, and noise alone
//! reaches 0.09 at 1,000 documents. So by default 0.001 (0.03 σ) warns and 0.01 (0.1 σ) fails. The
//! other metrics have gates of their own where they are set: see [`mod@super::gates`].
//!
//! These are the rules, where `low` and `high` are the bounds of the PSI's interval. The first rule
//! that holds decides.
//! 1. Equal distributions (PSI and KS are 0) pass.
//! 2. Fewer than [`CLUSTERS_MIN`] clusters of hosts on either side are inconclusive: their variance
//!    is not known.
//! 3. `high` < warn passes, if (B − 1)(1/n + 1/m) at effective sizes, the PSI that noise alone adds
//!    on average, is below warn too.
//! 4. `low` > fail, with an adjusted p-value of at most `false_discovery_rate`, fails.
//! 5. `low` > warn, with such a p-value, warns.
//! 6. All else is inconclusive.
//!
//! The p-value counts where many groups are looked at: of 1,000 groups of noise alone, some have a
//! `low` above warn.
//!
//! The documents needed for an answer are estimated from the first-order theory. There have to be
//! enough on *each* side that noise alone passes, with PSI < warn at the upper bound, and that the
//! interval around today's estimate clears the nearer gate. An estimate on the gate itself is taken
//! to miss the gate by a tenth of it.

use serde::{Deserialize, Serialize};

use super::compare::Comparison;
use super::gates::Gate;
use super::special::chi_squared_quantile;

/// The least number of clusters of hosts for which an interval is believed: the variance of twenty
/// is known to within a third (√(2/19)).
pub const CLUSTERS_MIN: u32 = 20;

/// The gates: how much drift matters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// PSI above which to warn, above 0.
    pub warn: f64,
    /// PSI above which to fail, at least `warn`.
    pub fail: f64,
    /// Expected share of false alarms among alarms.
    pub false_discovery_rate: f64,
    /// Gate on the Jensen–Shannon distance; off by default.
    pub jensen_shannon: Gate,
    /// Gate on Kolmogorov–Smirnov; off by default.
    pub ks: Gate,
    /// Gate on Wasserstein in the baseline's standard deviations; off by default.
    pub wasserstein: Gate,
}

impl Default for Gates {
    fn default() -> Self {
        let off = Gate::default();

        Gates {
            warn: 0.001,
            fail: 0.01,
            false_discovery_rate: 0.05,
            jensen_shannon: off,
            ks: off,
            wasserstein: off,
        }
    }
}

/// The answer for one column of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Any drift is below the gate that warns.
    Pass,
    /// Drift is above the gate that warns.
    Warn,
    /// Drift is above the gate that fails.
    Fail,
    /// There are too few documents, or hosts, to say.
    Inconclusive {
        /// Documents on each side that would be enough, estimated.
        documents_needed: u64,
    },
}

/// Judges a comparison by its PSI. `adjusted_p` is its [`Comparison::psi_p`] after
/// [`benjamini_hochberg`] over all comparisons that were made. `confidence` is the confidence of
/// its interval.
pub fn verdict(found: &Comparison, adjusted_p: f64, gates: &Gates, confidence: f64) -> Verdict {
    let is_found = adjusted_p <= gates.false_discovery_rate;

    // In the order of the rules in the module's header.
    match found.psi {
        psi if psi.value == 0.0 && found.ks.value == 0.0 => Verdict::Pass,
        _ if !is_known(found) => Verdict::Inconclusive {
            documents_needed: documents_needed(found, gates, confidence),
        },
        psi if psi.high < gates.warn && found.noise() < gates.warn => Verdict::Pass,
        psi if psi.low > gates.fail && is_found => Verdict::Fail,
        psi if psi.low > gates.warn && is_found => Verdict::Warn,
        _ => Verdict::Inconclusive {
            documents_needed: documents_needed(found, gates, confidence),
        },
    }
}

/// Whether both sides have enough hosts for their variance to be known.
pub(super) fn is_known(found: &Comparison) -> bool {
    found
        .clusters
        .iter()
        .all(|&clusters| clusters >= CLUSTERS_MIN)
}

/// Documents on each side that would have enough hosts, with as many documents a host as now. 0
/// where there are enough already.
pub(super) fn hosts_needed(found: &Comparison) -> f64 {
    found
        .documents
        .iter()
        .zip(found.clusters)
        .map(|(&documents, clusters)| {
            let few = f64::from(CLUSTERS_MIN) / f64::from(clusters.max(1));
            if few > 1.0 {
                documents as f64 * few
            } else {
                0.0
            }
        })
        .fold(0.0, f64::max)
}

/// Documents on each side that would be enough for a verdict other than "inconclusive", at least
/// one more than the smaller side has.
fn documents_needed(found: &Comparison, gates: &Gates, confidence: f64) -> u64 {
    let (psi, tail) = (found.psi.debiased, (1.0 - confidence) / 2.0);

    // Noise alone has a PSI of about (1/n + 1/m) χ², whose upper bound must be below the gate.
    let noise = chi_squared_quantile(tail, f64::from(found.bins.max(2)) - 1.0) / gates.warn;

    let miss = |gate: f64| (psi - gate).abs().max(0.1 * gate);
    let gap = miss(gates.warn).min(miss(gates.fail));

    // The variance of PSI is about 4 · PSI · (1/n + 1/m).
    let resolution = 4.0 * chi_squared_quantile(2.0 * tail, 1.0) * psi / (gap * gap);

    // With n documents on each side, 1/n + 1/m is 2/n.
    let enough = 2.0 * found.design_effect() * noise.max(resolution);
    let more = found.documents.iter().min().copied().unwrap_or(0) + 1;
    (enough.max(hosts_needed(found)).ceil() as u64).max(more)
}

/// P-values adjusted for their number (Benjamini & Hochberg 1995): the least false discovery rate
/// at which each is a discovery.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));

    // From the largest p-value down, so that a smaller p-value never gets a larger adjusted one.
    let (mut adjusted, mut least) = (vec![1.0; p_values.len()], 1.0f64);
    for (rank, &at) in order.iter().enumerate().rev() {
        least = least.min(p_values[at] * p_values.len() as f64 / (rank + 1) as f64);
        adjusted[at] = least;
    }

    adjusted
}

#[cfg(test)]
mod tests {
    use super::super::compare::{against, normal, summary, tally};
    use super::super::{Settings, Weight, compare};
    use super::*;

    /// The verdict at the default gates on the p-value as it is.
    fn judge(found: &Comparison) -> Verdict {
        verdict(
            found,
            found.psi_p,
            &Gates::default(),
            Settings::default().confidence,
        )
    }

    /// Whether there are too few documents to say.
    fn is_inconclusive(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Inconclusive { .. })
    }

    #[test]
    fn a_run_against_itself_is_silent() {
        for n in [3, 1000, 20_000] {
            let rows = normal(n, 0.0, 7, 0.2, 1);
            assert_eq!(
                judge(&against(&summary(&rows), &rows)),
                Verdict::Pass,
                "{n}"
            );
        }
    }

    /// Three sources of 100,000 documents, one of them moved.
    #[test]
    fn a_moved_source_is_told_from_the_others() {
        let judge_all = |moved: f64, seed: u64| {
            let sources = [0.0, moved, 0.0];
            let found: Vec<Comparison> = (0..3)
                .zip(sources)
                .map(|(source, shift)| {
                    let baseline = summary(&normal(100_000, 0.0, 1, 0.0, seed + source));
                    against(
                        &baseline,
                        &normal(100_000, shift, 1, 0.0, seed + 10 + source),
                    )
                })
                .collect();

            let adjusted =
                benjamini_hochberg(&found.iter().map(|found| found.psi_p).collect::<Vec<_>>());

            let judged = found
                .iter()
                .zip(adjusted)
                .map(|(found, p)| verdict(found, p, &Gates::default(), 0.9));
            judged.collect::<Vec<_>>()
        };

        assert_eq!(
            judge_all(0.2, 100),
            [Verdict::Pass, Verdict::Fail, Verdict::Pass]
        );
        assert_eq!(
            judge_all(0.05, 200),
            [Verdict::Pass, Verdict::Warn, Verdict::Pass]
        );
    }

    #[test]
    fn noise_of_a_thousand_documents_is_inconclusive() {
        let verdicts: Vec<Verdict> = (0..40)
            .map(|seed| {
                judge(&against(
                    &summary(&normal(1000, 0.0, 1, 0.0, seed)),
                    &normal(1000, 0.0, 1, 0.0, 50 + seed),
                ))
            })
            .collect();

        let inconclusive = verdicts
            .iter()
            .filter(|verdict| is_inconclusive(verdict))
            .count();
        assert_eq!(inconclusive, 40, "{verdicts:?}");
    }

    #[test]
    fn as_many_documents_as_are_asked_for_are_enough() {
        let at = |n: usize| {
            against(
                &summary(&normal(n, 0.0, 5, 0.2, 1)),
                &normal(n, 0.0, 5, 0.2, 2),
            )
        };

        let Verdict::Inconclusive { documents_needed } = judge(&at(5000)) else {
            panic!("noise is not inconclusive")
        };
        assert!(
            (60_000..250_000).contains(&documents_needed),
            "{documents_needed}"
        );
        assert_eq!(judge(&at(documents_needed as usize)), Verdict::Pass);
    }

    #[test]
    fn a_large_shift_fails_at_a_thousand_documents() {
        let baseline = summary(&normal(1000, 0.0, 1, 0.0, 1));
        assert_eq!(
            judge(&against(&baseline, &normal(1000, 0.5, 1, 0.0, 2))),
            Verdict::Fail
        );

        // A p-value that is too large after adjustment is no alarm.
        let found = against(&baseline, &normal(1000, 0.5, 1, 0.0, 2));
        assert!(is_inconclusive(&verdict(
            &found,
            0.06,
            &Gates::default(),
            0.9
        )));

        // The same shift on nineteen hosts is no alarm either.
        let rows: Vec<(f64, u16)> = normal(1000, 0.5, 1, 0.0, 2)
            .iter()
            .map(|row| (row.0, row.1 % 19))
            .collect();

        let found = compare(
            &baseline,
            &tally(&baseline.bins, &rows),
            Weight::Documents,
            &Settings::default(),
        );
        assert!(is_inconclusive(&judge(&found.expect("fits"))));
    }

    #[test]
    fn adjusted_p_values_by_hand() {
        let found = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.02, 0.04, 0.04, 0.02];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(found, expected)| (found - expected).abs() < 1e-15),
            "{found:?}"
        );

        assert_eq!(benjamini_hochberg(&[]), [0.0; 0]);
        assert_eq!(benjamini_hochberg(&[0.9, 1.0]), [1.0, 1.0]);
    }
}
