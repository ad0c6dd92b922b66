//! A run's distribution against a baseline's, with intervals that allow for documents that share
//! hosts.
//!
//! Each metric's interval is a basic bootstrap interval (Davison & Hinkley 1997, §5.2). Metrics of
//! noise are not zero, and grow by the noise on each resampling as they did on sampling. The bounds
//! `2·value − quantiles` and the debiased `2·value − mean` take this growth out. For PSI this is
//! the subtraction of (B − 1)(1/n + 1/m) at effective sizes, which a test asserts.
//!
//! The run is resampled by clusters of hosts. The baseline's hosts are not kept. The baseline is
//! taken to vary as the run does, in the same directions, scaled to its own effective size, by a
//! second resampling of the run. Bounds below zero are zero. Close to zero the interval is wider
//! than needed, as the bootstrap adds its noise to the sample's.
//!
//! Bins with fewer than five documents expected in the smaller side are merged with the next. The
//! expectation is by the share of both sides together, as in a χ² test of homogeneity, so a bin
//! that was empty and is not empty any more stays. The p-values are PSI over (1/n + 1/m) as χ² with
//! B − 1 degrees of freedom (Yurdakul & Naranjo 2020) and Smirnov's, both at effective sizes. This
//! is Rao & Scott's correction of first order, which gives too small a p-value where hosts differ
//! in their mean and in little else.
//!
//! Randomness is keyed by (seed, replicate), so the result does not depend on threads. Replicates
//! run in rayon's pool. Cost: twice clusters × cells a replicate.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::DriftError;
use super::bins::{Summary, Tally, Weight};
use super::metrics::{jensen_shannon, kolmogorov_smirnov, psi, wasserstein};
use super::special::{chi_squared_tail, kolmogorov_tail};

/// Number of documents that a bin must be expected to have.
const EXPECTED_MIN: f64 = 5.0;

/// Settings of the intervals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Number of bootstrap samples, 200 to 1000.
    pub replicates: u32,
    /// Probability that an interval covers the truth, both sides together. 0.9 makes each bound a
    /// test at 5 %, as equivalence tests are (TOST, Schuirmann 1987).
    pub confidence: f64,
    /// Key of the resampling.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            replicates: 400,
            confidence: 0.9,
            seed: 0,
        }
    }
}

/// A metric with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The metric of the shares as they are, noise included.
    pub value: f64,
    /// The metric without what noise adds on average; 0 or more.
    pub debiased: f64,
    /// The interval's lower bound; 0 or more.
    pub low: f64,
    /// The interval's upper bound; 0 or more.
    pub high: f64,
}

/// The comparison of one column of one group of documents, run against baseline. Pairs are
/// `[baseline, run]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Whether documents count once or by tokens.
    pub weight: Weight,
    /// Number of documents.
    pub documents: [u64; 2],
    /// Effective sizes: independent documents that would vary as much.
    pub effective: [f64; 2],
    /// Number of clusters of hosts.
    pub clusters: [u32; 2],
    /// Number of bins after merging, with the bin of documents without a score.
    pub bins: u32,
    /// Share of documents, or of their tokens, without a score.
    pub not_scored: [f64; 2],
    /// Mean of the run's scores less the mean of the baseline's, in the baseline's standard
    /// deviations. `None` where the standard deviation is 0. Each document counts once.
    pub mean_shift: Option<f64>,
    /// Population stability index over bins.
    pub psi: Estimate,
    /// Jensen–Shannon distance over bins.
    pub jensen_shannon: Estimate,
    /// Kolmogorov–Smirnov statistic over cells, among the scores.
    pub ks: Estimate,
    /// Wasserstein-1 distance in the baseline's standard deviations, among the scores. `None` where
    /// the standard deviation is 0.
    pub wasserstein: Option<Estimate>,
    /// The probability of such a PSI or a larger one if nothing changed.
    pub psi_p: f64,
    /// The probability of such a KS statistic or a larger one if nothing changed.
    pub ks_p: f64,
}

impl Comparison {
    /// How many documents are worth one independent document, both sides together; at least 1.
    pub fn design_effect(&self) -> f64 {
        noise(self.effective) / noise(self.documents.map(|n| n as f64))
    }

    /// The PSI to expect of noise alone: (B − 1)(1/n + 1/m) at effective sizes.
    pub fn noise(&self) -> f64 {
        (f64::from(self.bins) - 1.0) * noise(self.effective)
    }
}

/// The noise of two samples of these sizes: 1/n + 1/m.
fn noise(sizes: [f64; 2]) -> f64 {
    sizes.iter().map(|size| 1.0 / size).sum()
}

/// Compares a run's counts, made over the baseline's bins, with the baseline.
///
/// # Errors
/// [`DriftError`] if the summary is malformed, the counts are over other bins, or one side has no
/// documents or no tokens.
pub fn compare(
    baseline: &Summary,
    run: &Tally,
    weight: Weight,
    settings: &Settings,
) -> Result<Comparison, DriftError> {
    baseline.check()?;

    let (expected, found) = (baseline.counts.docs.len(), run.counts.docs.len());
    if expected != found {
        return Err(DriftError::Cells { expected, found });
    }

    let was = shares(baseline.counts.by(weight)).ok_or(DriftError::Empty { side: "baseline" })?;
    let is = shares(run.counts.by(weight)).ok_or(DriftError::Empty { side: "run" })?;

    let effective = [
        baseline.effective(weight),
        run.effective(&baseline.bins, weight),
    ];

    let ruler = Ruler::new(baseline, run);
    let values = ruler.measure(&was, &is);
    let resampled = resample([&was, &is], effective, run, weight, settings, &ruler);

    let estimate = |metric: usize| {
        estimate(
            values[metric],
            resampled.iter().map(|found| found[metric]),
            settings,
        )
    };

    // KS is among the scores, so its sizes are those of the scored documents.
    let scored = |shares: &[f64]| 1.0 - shares[shares.len() - 1];
    let root = noise([effective[0] * scored(&was), effective[1] * scored(&is)]).sqrt();
    let df = ruler.bins as f64 - 1.0;

    Ok(Comparison {
        weight,
        documents: [baseline.counts.total(Weight::Documents), run.documents()],
        effective,
        clusters: [baseline.clusters, run.clusters.len() as u32],
        bins: ruler.bins as u32,
        not_scored: [1.0 - scored(&was), 1.0 - scored(&is)],
        mean_shift: (baseline.sd > 0.0)
            .then(|| (run.moments(&baseline.bins)[0] - baseline.mean) / baseline.sd),
        psi: estimate(0),
        jensen_shannon: estimate(1),
        ks: estimate(2),
        wasserstein: (baseline.sd > 0.0).then(|| estimate(3)),
        psi_p: chi_squared_tail(values[0] / noise(effective), df),
        ks_p: kolmogorov_tail(values[2] / root),
    })
}

/// Each count's share of the sum; `None` if the sum is 0.
fn shares(counts: &[u64]) -> Option<Vec<f64>> {
    let total: u64 = counts.iter().sum();
    (total > 0).then(|| {
        counts
            .iter()
            .map(|&own| own as f64 / total as f64)
            .collect()
    })
}

/// Measures the distance of shares over cells.
struct Ruler<'a> {
    /// The merged bin of each cell.
    map: Vec<usize>,
    /// Number of bins after merging.
    bins: usize,
    /// Centres of the cells.
    centers: &'a [f64],
    /// Standard deviation of the baseline's scores, the unit of Wasserstein.
    sd: f64,
}

impl Ruler<'_> {
    /// Bins are merged once, by the sizes of both sides, for all resamplings.
    fn new<'a>(baseline: &'a Summary, run: &Tally) -> Ruler<'a> {
        let map = merged(
            &baseline.bins.bins(),
            &baseline.counts.docs,
            &run.counts.docs,
        );
        let bins = map.last().map_or(0, |last| last + 1);

        Ruler {
            map,
            bins,
            centers: &baseline.bins.centers,
            sd: baseline.sd,
        }
    }

    /// PSI, Jensen–Shannon, KS and Wasserstein, in this order. Wasserstein is not finite where the
    /// baseline's standard deviation is 0; such a value is not used.
    fn measure(&self, p: &[f64], q: &[f64]) -> [f64; 4] {
        let (bins_p, bins_q) = (self.binned(p), self.binned(q));
        let (psi, js) = (psi(&bins_p, &bins_q), jensen_shannon(&bins_p, &bins_q));

        // A side without scores differs in the bin of documents without a score, which PSI sees.
        let (Some(p), Some(q)) = (scored(p), scored(q)) else {
            return [psi, js, 0.0, 0.0];
        };

        [
            psi,
            js,
            kolmogorov_smirnov(&p, &q),
            wasserstein(&p, &q, self.centers) / self.sd,
        ]
    }

    /// Shares summed to the merged bins.
    fn binned(&self, shares: &[f64]) -> Vec<f64> {
        let mut bins = vec![0.0; self.bins];
        self.map
            .iter()
            .zip(shares)
            .for_each(|(&bin, share)| bins[bin] += share);
        bins
    }
}

/// The shares among the scored documents; `None` if no document is scored.
fn scored(shares: &[f64]) -> Option<Vec<f64>> {
    let scored = &shares[..shares.len() - 1];
    let sum: f64 = scored.iter().sum();
    (sum > 0.0).then(|| scored.iter().map(|share| share / sum).collect())
}

/// The merged bin of each cell. Bins with too few expected documents join the next one, and the
/// last joins the one before.
fn merged(map: &[usize], was: &[u64], is: &[u64]) -> Vec<usize> {
    let totals = [was.iter().sum::<u64>(), is.iter().sum()];
    let part = totals[0].min(totals[1]) as f64 / (totals[0] + totals[1]).max(1) as f64;

    let mut expected = vec![0.0; map.last().map_or(0, |last| last + 1)];
    map.iter()
        .zip(was.iter().zip(is))
        .for_each(|(&bin, (a, b))| expected[bin] += (a + b) as f64 * part);

    let (mut to, mut bin, mut gathered) = (Vec::new(), 0usize, 0.0);
    for own in expected {
        to.push(bin);
        gathered += own;
        if gathered >= EXPECTED_MIN {
            (bin, gathered) = (bin + 1, 0.0);
        }
    }

    // The documents gathered last may be too few.
    to.iter_mut()
        .for_each(|own| *own = (*own).min(bin.saturating_sub(1)));

    map.iter().map(|&own| to[own]).collect()
}

/// The metrics of resampled pairs of baseline and run, one for each replicate.
fn resample(
    [was, is]: [&[f64]; 2],
    effective: [f64; 2],
    run: &Tally,
    weight: Weight,
    settings: &Settings,
    ruler: &Ruler,
) -> Vec<[f64; 4]> {
    // Clusters without a token have no weight. If only such clusters were drawn, there would be no
    // shares.
    let rows: Vec<Vec<f64>> = run
        .clusters
        .values()
        .filter(|counts| counts.total(weight) > 0)
        .map(|counts| counts.by(weight).iter().map(|&own| own as f64).collect())
        .collect();

    // Noise falls with the root of the size.
    let scale = (effective[1] / effective[0]).sqrt();

    (0..settings.replicates.max(1))
        .into_par_iter()
        .map(|number| {
            let mut random = Random::keyed(settings.seed, number);
            let [run, other] = [(); 2].map(|()| normalized(resampled_rows(&rows, &mut random)));

            // The second resampling gives the baseline's noise, scaled to the baseline's size.
            let noise = other.iter().zip(is).map(|(other, is)| scale * (other - is));
            let baseline = normalized(
                was.iter()
                    .zip(noise)
                    .map(|(was, noise)| (was + noise).max(0.0))
                    .collect(),
            );

            ruler.measure(&baseline, &run)
        })
        .collect()
}

/// The sum of `rows.len()` rows, drawn with replacement.
fn resampled_rows(rows: &[Vec<f64>], random: &mut Random) -> Vec<f64> {
    let mut times = vec![0u32; rows.len()];
    (0..rows.len()).for_each(|_| times[random.below(rows.len())] += 1);

    // Counted first: each row is added once, however often it was drawn.
    let mut sum = vec![0.0; rows[0].len()];
    for (row, times) in rows.iter().zip(times).filter(|(_, times)| *times > 0) {
        sum.iter_mut()
            .zip(row)
            .for_each(|(sum, own)| *sum += own * f64::from(times));
    }

    sum
}

/// Numbers divided by their sum, which must be above 0.
fn normalized(mut shares: Vec<f64>) -> Vec<f64> {
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

/// The basic bootstrap interval of a metric, from its values on the replicates.
fn estimate(value: f64, replicates: impl Iterator<Item = f64>, settings: &Settings) -> Estimate {
    let mut sorted: Vec<f64> = replicates.collect();
    sorted.sort_unstable_by(f64::total_cmp);

    // There is at least one replicate: `resample` sees to it.
    let quantile = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    let tail = (1.0 - settings.confidence) / 2.0;
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;

    // A basic interval turns the quantiles round: the upper one gives the lower bound.
    let [debiased, low, high] =
        [mean, quantile(1.0 - tail), quantile(tail)].map(|at| (2.0 * value - at).max(0.0));

    Estimate {
        value,
        debiased,
        low,
        high,
    }
}

/// SplitMix64 (Steele et al. 2014), started from a key.
struct Random(u64);

impl Random {
    /// The generator of one replicate.
    fn keyed(seed: u64, number: u32) -> Random {
        Random(xxh3_64_with_seed(&number.to_le_bytes(), seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A standard normal number (Box & Muller 1958).
    #[cfg(test)]
    fn normal(&mut self) -> f64 {
        let mut uniform = || ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let radius = (-2.0 * uniform().ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * uniform()).cos()
    }
}

#[cfg(test)]
pub(super) use tests::{against, normal, summary, tally};

#[cfg(test)]
mod tests {
    use super::super::bins::Bins;
    use super::*;

    /// `n` documents of normal scores, with clusters. `per_host` documents share a host and the
    /// part `shared` of their variance.
    pub(crate) fn normal(
        n: usize,
        shift: f64,
        per_host: usize,
        shared: f64,
        seed: u64,
    ) -> Vec<(f64, u16)> {
        let (mut random, mut host) = (Random::keyed(seed, 7), 0.0);

        (0..n)
            .map(|at| {
                if at.is_multiple_of(per_host) {
                    host = random.normal();
                }
                let score = shift + shared.sqrt() * host + (1.0 - shared).sqrt() * random.normal();
                (score, (at / per_host % 1024) as u16)
            })
            .collect()
    }

    /// Counts of documents of 100 tokens each.
    pub(crate) fn tally(bins: &Bins, rows: &[(f64, u16)]) -> Tally {
        let mut tally = Tally::new(bins);
        rows.iter()
            .for_each(|&(score, cluster)| tally.add(bins, Some(score), 100, cluster));
        tally
    }

    /// A baseline over 20 bins of its own.
    pub(crate) fn summary(rows: &[(f64, u16)]) -> Summary {
        let bins = Bins::freeze(rows.iter().map(|row| row.0).collect(), 20);
        tally(&bins, rows).summary(&bins)
    }

    /// Documents compared with a baseline, at the default settings.
    pub(crate) fn against(baseline: &Summary, rows: &[(f64, u16)]) -> Comparison {
        compare(
            baseline,
            &tally(&baseline.bins, rows),
            Weight::Documents,
            &Settings::default(),
        )
        .expect("fits")
    }

    #[test]
    fn all_metrics_see_a_shift_and_their_intervals_cover_it() {
        let found = against(
            &summary(&normal(50_000, 0.0, 1, 0.0, 1)),
            &normal(50_000, 0.2, 1, 0.0, 2),
        );
        assert_eq!(
            (found.documents, found.bins, found.not_scored),
            ([50_000; 2], 20, [0.0; 2])
        );

        let wasserstein = found.wasserstein.expect("the baseline varies");
        let truth = [
            (found.psi, 0.039),
            (found.jensen_shannon, 0.084),
            (found.ks, 0.0797),
            (wasserstein, 0.2),
        ];

        for (estimate, truth) in truth {
            assert!(
                estimate.low < truth && truth < estimate.high,
                "{estimate:?} {truth}"
            );
            assert!(estimate.high - estimate.low < 0.4 * truth, "{estimate:?}");
        }

        assert!((found.mean_shift.expect("the baseline varies") - 0.2).abs() < 0.02);
        assert!(found.psi_p < 1e-50 && found.ks_p < 1e-50);
    }

    #[test]
    fn noise_is_subtracted_as_the_chi_squared_distribution_has_it() {
        let baseline = summary(&normal(20_000, 0.0, 1, 0.0, 1));
        let found = against(&baseline, &normal(10_000, 0.1, 1, 0.0, 2));

        let subtracted = found.psi.value - found.psi.debiased;
        assert!(
            (subtracted / found.noise() - 1.0).abs() < 0.1,
            "{subtracted} for {}",
            found.noise()
        );
    }

    #[test]
    fn shared_hosts_widen_the_interval() {
        let baseline = summary(&normal(50_000, 0.0, 1, 0.0, 1));
        let own = against(&baseline, &normal(20_000, 0.1, 1, 0.0, 2));
        let shared = against(&baseline, &normal(20_000, 0.1, 20, 0.8, 2));

        let width = |found: &Comparison| found.psi.high - found.psi.low;
        let worth = |found: &Comparison| found.effective[1] / found.documents[1] as f64;

        assert!(
            worth(&own) > 0.9 && worth(&shared) < 0.5,
            "{} {}",
            worth(&own),
            worth(&shared)
        );
        assert!(
            own.design_effect() < 1.1 && shared.design_effect() > 1.5,
            "{}",
            shared.design_effect()
        );
        assert!(
            width(&shared) > 1.5 * width(&own),
            "{} {}",
            width(&shared),
            width(&own)
        );
        assert!(shared.psi_p > own.psi_p);
    }

    #[test]
    fn the_order_of_rows_and_the_number_of_threads_do_not_matter() {
        let (baseline, mut rows) = (
            summary(&normal(3000, 0.0, 3, 0.2, 1)),
            normal(3000, 0.1, 3, 0.2, 2),
        );
        let found = against(&baseline, &rows);

        rows.reverse();
        assert_eq!(against(&baseline, &rows), found);

        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .expect("a thread");
        assert_eq!(pool.install(|| against(&baseline, &rows)), found);
    }

    #[test]
    fn what_is_not_scored_any_more_is_seen() {
        let rows = normal(5000, 0.0, 1, 0.0, 1);
        let baseline = summary(&rows);

        let mut run = Tally::new(&baseline.bins);
        for (at, &(score, cluster)) in rows.iter().enumerate() {
            run.add(&baseline.bins, (at % 20 > 0).then_some(score), 100, cluster);
        }

        let found = compare(&baseline, &run, Weight::Tokens, &Settings::default()).expect("fits");
        assert_eq!(
            (found.bins, found.not_scored),
            (21, [0.0, 0.050000000000000044])
        );
        assert!(found.psi.low > 0.3 && found.ks.high < 0.01, "{found:?}");

        let nothing = Tally::new(&baseline.bins);
        let error = compare(&baseline, &nothing, Weight::Documents, &Settings::default())
            .expect_err("is empty");
        assert_eq!(
            error.to_string(),
            "the run has no documents, or no tokens, in this group"
        );

        let other = Tally::new(&Bins::freeze(vec![1.0], 20));
        let error = compare(&baseline, &other, Weight::Documents, &Settings::default())
            .expect_err("is other");
        assert_eq!(
            error.to_string(),
            "counts over 4 cells do not fit bins with 101 cells"
        );
    }

    #[test]
    fn small_bins_are_merged() {
        let (was, is) = ([10, 1, 0, 0, 30, 2], [10, 1, 0, 12, 30, 2]);
        // Expected in the smaller side: 8.8, 0.9, 0, 5.3, 26.3, 1.8; two cells share the first bin.
        assert_eq!(merged(&[0, 0, 1, 2, 3, 4], &was, &is), [0, 0, 1, 1, 2, 2]);

        assert_eq!(merged(&[0, 1], &[1, 1], &[1, 1]), [0, 0]);
    }
}
