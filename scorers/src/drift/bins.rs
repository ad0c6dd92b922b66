//! Bins frozen from a baseline, counts over them, and the summary of a column that a repository can
//! keep.
//!
//! Edges are exact quantiles of the baseline's scores: about [`CELLS`] cells of equal mass, grouped
//! into bins (20 by default). Cells are half-open, `[edge, next)`. The first cell also takes
//! everything below, the last everything above. A value that holds a bin's share of the documents
//! or more (ratios have many zeros and ones) gets a bin of its own, closed on both sides, so that a
//! change from 0 to 0.01 is seen. Elsewhere an edge falls between two neighbouring values, at the
//! shortest decimal there, so that the edge survives JSON and noise in the last digits. Documents
//! without a score are counted in a cell of their own, after the others.
//!
//! All sums are of integers, so neither the order of the documents nor the shards change one.
//! Hosts are hashed into [`CLUSTERS`] clusters. Sums over random groups of hosts have the variance
//! of sums over hosts, and some 1,000 groups give the variance to within 5 % (√(2/1023)).
//!
//! Cost: a binary search a document, and 16 bytes for each cell of each cluster met, at most 1.7 MB
//! with 20 bins.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::DriftError;

/// The number of cells of equal mass into which a baseline without heavy values is cut.
pub const CELLS: usize = 100;
/// The number of clusters into which hosts are hashed.
pub const CLUSTERS: u64 = 1024;
/// Scores are summed in steps: this many from the lowest to the highest cell's centre.
const FIXED_POINT: f64 = (1u64 << 32) as f64;
/// A score further out than this many steps counts as this far: 16 times the baseline's range.
const STEPS_MAX: f64 = (1u64 << 36) as f64;

/// The weight of a document: one, or its number of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Each document counts once.
    Documents,
    /// Each token counts once.
    Tokens,
}

/// The places where the values of a column are cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bins {
    /// Lower ends of all cells but the first, ascending. A value equal to an edge belongs to the
    /// cell above.
    pub edges: Vec<f64>,
    /// The mean of the baseline's values in each cell, ascending. A cell without values has its
    /// nearest edge.
    pub centers: Vec<f64>,
    /// Indices of the edges that are also edges of bins, ascending.
    pub cuts: Vec<u32>,
}

impl Bins {
    /// Cuts the values of a baseline into `bins` bins (2 to 100) of equal mass. Values that are not
    /// finite are left out.
    pub fn freeze(mut values: Vec<f64>, bins: usize) -> Bins {
        values.retain(|value| value.is_finite());
        // Makes −0 a 0. They are one value, but `total_cmp` would part them.
        values.iter_mut().for_each(|value| *value += 0.0);
        values.sort_unstable_by(f64::total_cmp);

        if values.is_empty() {
            return Bins {
                edges: Vec::new(),
                centers: vec![0.0],
                cuts: Vec::new(),
            };
        }

        let places = places(&values, bins.clamp(2, CELLS));
        let edges = places
            .keys()
            .map(|&place| edge(&values, place))
            .collect::<Vec<_>>();
        let cuts = (0..)
            .zip(places.values())
            .filter_map(|(at, &is_cut)| is_cut.then_some(at))
            .collect();

        let ends = places.keys().copied().chain([values.len()]);
        let starts = [0].into_iter().chain(places.keys().copied());
        // A centre may be off by a ten-thousandth of the range, so that it takes few digits.
        let tolerance = 1e-4 * (values[values.len() - 1] - values[0]);
        let centers =
            starts
                .zip(ends)
                .enumerate()
                .map(|(cell, (start, end))| match &values[start..end] {
                    [] => edges[cell.saturating_sub(1)],
                    own => center(own, tolerance),
                });

        Bins {
            centers: centers.collect(),
            edges,
            cuts,
        }
    }

    /// The index of the cell of a value.
    pub fn cell(&self, value: f64) -> usize {
        self.edges.partition_point(|edge| *edge <= value)
    }

    /// The bin of each cell. The last entry is the bin of documents without a score.
    pub fn bins(&self) -> Vec<usize> {
        (0..=self.edges.len())
            .map(|cell| self.cuts.partition_point(|&cut| (cut as usize) < cell))
            .chain([self.cuts.len() + 1])
            .collect()
    }

    /// Checks that edges, cuts and centres ascend and fit each other.
    ///
    /// # Errors
    /// [`DriftError::Bins`] if they do not, as in a file that was edited by hand.
    pub fn check(&self) -> Result<(), DriftError> {
        let ascends = self.edges.windows(2).all(|pair| pair[0] < pair[1])
            && self.cuts.windows(2).all(|p| p[0] < p[1]);
        let fits = self
            .cuts
            .last()
            .is_none_or(|&cut| (cut as usize) < self.edges.len());
        let centered = self.centers.len() == self.edges.len() + 1
            && self.centers.windows(2).all(|p| p[0] <= p[1]);

        if ascends && fits && centered {
            Ok(())
        } else {
            Err(DriftError::Bins {
                edges: self.edges.len(),
            })
        }
    }
}

/// The places in sorted values at which cells end, each with whether a bin ends there too.
fn places(values: &[f64], bins: usize) -> BTreeMap<usize, bool> {
    let (n, per_bin) = (values.len(), CELLS / bins);
    let targets = bins * per_bin;
    let mut places = BTreeMap::new();

    for target in 1..targets {
        let at = target * n / targets;
        let start = values.partition_point(|value| *value < values[at]);
        let end = values.partition_point(|value| *value <= values[at]);

        // A value is cut off as a whole: before its first occurrence, after its last, or both.
        let is_heavy = (end - start) * bins >= n;
        let ends = match is_heavy {
            true => vec![start, end],
            false => vec![if at - start <= end - at { start } else { end }],
        };

        // A heavy value at either end of the range gets an edge there as well, so that values
        // beyond the range fall into another bin.
        for place in ends
            .into_iter()
            .filter(|place| is_heavy || (1..n).contains(place))
        {
            *places.entry(place).or_insert(false) |= is_heavy || target % per_bin == 0;
        }
    }

    places
}

/// The edge before `place`: between the neighbouring values, or a millionth beyond the outermost
/// value.
fn edge(values: &[f64], place: usize) -> f64 {
    let beside = |value: f64| value.abs().max(1.0) * 1e-6;
    match place {
        0 => short_decimal(values[0] - beside(values[0]), values[0]),
        end if end == values.len() => {
            short_decimal(values[end - 1], values[end - 1] + beside(values[end - 1]))
        }
        place => short_decimal(values[place - 1], values[place]),
    }
}

/// The centre of a cell: a short decimal within `tolerance` of the mean and among the cell's
/// values. If all values are equal, that value.
fn center(own: &[f64], tolerance: f64) -> f64 {
    let (first, last) = (own[0], own[own.len() - 1]);
    let mean = own.iter().sum::<f64>() / own.len() as f64;

    if first == last {
        first
    } else {
        short_decimal(first.max(mean - tolerance), last.min(mean + tolerance))
    }
}

/// A number of few digits about midway in `(low, high]`. Every JSON parser reads up to 15 digits
/// back unchanged.
fn short_decimal(low: f64, high: f64) -> f64 {
    // Halved before the sum, which could overflow.
    let middle = low / 2.0 + high / 2.0;

    (0..15)
        .filter_map(|digits: usize| format!("{middle:.digits$e}").parse::<f64>().ok())
        .find(|number| low < *number && *number <= high)
        .unwrap_or(high)
}

/// Documents and tokens in each cell. The last cell has the documents without a score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Number of documents in each cell.
    pub docs: Vec<u64>,
    /// Number of tokens of these documents in each cell.
    pub tokens: Vec<u64>,
}

impl Counts {
    /// Zeros in all cells.
    fn new(cells: usize) -> Counts {
        Counts {
            docs: vec![0; cells],
            tokens: vec![0; cells],
        }
    }

    /// The counts of documents or of tokens, by cell.
    pub fn by(&self, weight: Weight) -> &[u64] {
        match weight {
            Weight::Documents => &self.docs,
            Weight::Tokens => &self.tokens,
        }
    }

    /// The number of documents or tokens in all cells.
    pub fn total(&self, weight: Weight) -> u64 {
        self.by(weight).iter().sum()
    }

    /// Counts a document.
    fn add(&mut self, cell: usize, tokens: u64) {
        self.docs[cell] += 1;
        self.tokens[cell] += tokens;
    }

    /// Adds other counts over the same bins.
    fn merge(&mut self, other: &Counts) {
        assert_eq!(self.docs.len(), other.docs.len(), "counts over other bins");

        self.docs
            .iter_mut()
            .zip(&other.docs)
            .for_each(|(own, more)| *own += more);
        self.tokens
            .iter_mut()
            .zip(&other.tokens)
            .for_each(|(own, more)| *own += more);
    }
}

/// The cluster of a document by its host, or by another text that documents with shared errors have
/// in common. Where there is no host or only one, use the document's own id.
pub fn cluster(host: &str) -> u16 {
    (xxh3_64(host.as_bytes()) % CLUSTERS) as u16
}

/// Counts of one column of one group of documents, over frozen bins. Merging is associative and
/// does not depend on the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The counts of all documents.
    pub(super) counts: Counts,
    /// The counts of each cluster that was met.
    pub(super) clusters: BTreeMap<u16, Counts>,
    /// Σ of the scores, in steps from the lowest cell's centre.
    steps: i128,
    /// Σ of the squares of these steps.
    squares: i128,
}

impl Tally {
    /// A tally without documents.
    pub fn new(bins: &Bins) -> Tally {
        Tally {
            counts: Counts::new(bins.edges.len() + 2),
            clusters: BTreeMap::new(),
            steps: 0,
            squares: 0,
        }
    }

    /// Counts a document. Without a score, or with NaN, the document is "not scored". `bins` must
    /// be the bins of [`Tally::new`].
    pub fn add(&mut self, bins: &Bins, score: Option<f64>, tokens: u64, cluster: u16) {
        let score = score.filter(|score| !score.is_nan());
        let cell = score.map_or(bins.edges.len() + 1, |score| bins.cell(score));

        self.counts.add(cell, tokens);
        self.clusters
            .entry(cluster)
            .or_insert_with(|| Counts::new(bins.edges.len() + 2))
            .add(cell, tokens);

        if let Some(score) = score {
            let (origin, step) = fixed_point(bins);

            // In integers, so that the sum does not depend on the order. A square is at most 2^72:
            // the sum of 2^54 of them still fits.
            let steps = ((score - origin) / step)
                .round()
                .clamp(-STEPS_MAX, STEPS_MAX) as i128;

            self.steps += steps;
            self.squares += steps * steps;
        }
    }

    /// Adds all documents of another tally over the same bins.
    ///
    /// # Panics
    /// If the other tally has another number of cells.
    pub fn merge(&mut self, other: &Tally) {
        self.counts.merge(&other.counts);

        for (&cluster, counts) in &other.clusters {
            self.clusters
                .entry(cluster)
                .or_insert_with(|| Counts::new(counts.docs.len()))
                .merge(counts);
        }

        self.steps += other.steps;
        self.squares += other.squares;
    }

    /// The number of documents that were counted, scored or not.
    pub fn documents(&self) -> u64 {
        self.counts.total(Weight::Documents)
    }

    /// The mean and the standard deviation of the scores, each document counted once; `[0, 0]`
    /// without scores.
    pub fn moments(&self, bins: &Bins) -> [f64; 2] {
        let scored = self.documents() - self.counts.docs.last().copied().unwrap_or(0);

        if scored == 0 {
            return [0.0; 2];
        }

        let (origin, step) = fixed_point(bins);
        let mean = self.steps as f64 / scored as f64;
        let variance = self.squares as f64 / scored as f64 - mean * mean;

        // Rounding may leave a variance of zero slightly negative.
        [origin + step * mean, step * variance.max(0.0).sqrt()]
    }

    /// The effective size: how many independent documents would vary as much as these, which share
    /// hosts. This is the number of documents over the mean design effect of the bins' shares (Rao
    /// & Scott 1981), for shares of documents or of tokens. Never more than there are documents.
    pub fn effective(&self, bins: &Bins, weight: Weight) -> f64 {
        let (map, total) = (bins.bins(), self.counts.total(weight) as f64);
        let shares: Vec<f64> = binned(&self.counts, &map, weight)
            .iter()
            .map(|own| own / total)
            .collect();

        let mut variances = vec![0.0; shares.len()];
        for counts in self.clusters.values() {
            // The variance of a ratio estimate: what each cluster has beyond its size times the
            // share.
            let own = binned(counts, &map, weight);
            let size: f64 = own.iter().sum();
            for ((variance, own), share) in variances.iter_mut().zip(own).zip(&shares) {
                *variance += ((own - share * size) / total).powi(2);
            }
        }

        let clusters = self.clusters.len() as f64;
        let relative: f64 = variances
            .iter()
            .zip(&shares)
            .filter(|(_, p)| **p > 0.0)
            .map(|(v, p)| v / p)
            .sum();

        // For n independent documents Σ v/p is (B − 1)/n over B bins, so this quotient is n.
        let df = shares.iter().filter(|share| **share > 0.0).count() as f64 - 1.0;
        let effective = df / (relative * clusters / (clusters - 1.0).max(1.0));

        // One bin or one cluster shows no variance.
        let documents = self.documents() as f64;
        if effective.is_finite() {
            effective.min(documents)
        } else {
            documents
        }
    }

    /// The summary that a later run is compared with.
    pub fn summary(&self, bins: &Bins) -> Summary {
        let [mean, sd] = self.moments(bins);

        Summary {
            bins: bins.clone(),
            counts: self.counts.clone(),
            mean,
            sd,
            clusters: self.clusters.len() as u32,
            effective_docs: self.effective(bins, Weight::Documents),
            effective_docs_by_tokens: self.effective(bins, Weight::Tokens),
        }
    }
}

/// Counts of cells summed to the bins of `map`.
fn binned(counts: &Counts, map: &[usize], weight: Weight) -> Vec<f64> {
    let mut bins = vec![0.0; map.iter().collect::<BTreeSet<_>>().len()];
    map.iter()
        .zip(counts.by(weight))
        .for_each(|(&bin, &own)| bins[bin] += own as f64);
    bins
}

/// The scale in which scores are summed: the score at 0 steps, which is the lowest cell's centre,
/// and the difference in score of one step.
fn fixed_point(bins: &Bins) -> (f64, f64) {
    let (first, last) = (bins.centers[0], bins.centers[bins.centers.len() - 1]);
    // A baseline with a single value has no range. The value's size serves instead.
    let range = if last > first {
        last - first
    } else {
        first.abs().max(1.0)
    };

    (first, range / FIXED_POINT)
}

/// The distribution of one column of one group of documents, as a baseline keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// The places where values are cut.
    pub bins: Bins,
    /// Documents and tokens by cell, the last one for documents without a score.
    pub counts: Counts,
    /// Mean of the scores, each document counted once.
    pub mean: f64,
    /// Standard deviation of the scores, each document counted once.
    pub sd: f64,
    /// Number of clusters of hosts that were met.
    pub clusters: u32,
    /// Effective size for shares of documents: independent documents that would vary as much.
    pub effective_docs: f64,
    /// Effective size for shares of tokens.
    pub effective_docs_by_tokens: f64,
}

impl Summary {
    /// The effective size for shares of documents or of tokens.
    pub fn effective(&self, weight: Weight) -> f64 {
        match weight {
            Weight::Documents => self.effective_docs,
            Weight::Tokens => self.effective_docs_by_tokens,
        }
    }

    /// Checks that the bins are sound and that the counts are over their cells.
    ///
    /// # Errors
    /// [`DriftError`] if not, as in a file that was edited by hand.
    pub fn check(&self) -> Result<(), DriftError> {
        self.bins.check()?;

        let cells = self.bins.edges.len() + 2;
        if self.counts.docs.len() != cells || self.counts.tokens.len() != cells {
            return Err(DriftError::Cells {
                expected: cells,
                found: self.counts.docs.len(),
            });
        }

        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tally of rows of a score, a number of tokens and a cluster.
    fn tally(bins: &Bins, rows: impl IntoIterator<Item = (Option<f64>, u64, u16)>) -> Tally {
        let mut tally = Tally::new(bins);
        rows.into_iter()
            .for_each(|(score, tokens, cluster)| tally.add(bins, score, tokens, cluster));
        tally
    }

    #[test]
    fn bins_hold_equal_shares_of_the_baseline() {
        let bins = Bins::freeze((0..2000).rev().map(f64::from).collect(), 20);
        assert_eq!((bins.edges.len(), bins.cuts.len()), (99, 19));

        // Cells end between 19 and 20, 39 and 40, …: half-open, at the shortest number there.
        assert_eq!(bins.edges[..3], [20.0, 40.0, 60.0]);
        assert_eq!(
            (
                bins.cell(-1e9),
                bins.cell(19.0),
                bins.cell(20.0),
                bins.cell(1e9)
            ),
            (0, 0, 1, 99)
        );

        let tally = tally(&bins, (0..2000).map(|n| (Some(f64::from(n)), 3, 0)));
        assert!(
            tally.counts.docs[..100].iter().all(|&docs| docs == 20) && tally.counts.docs[100] == 0
        );
        assert!(
            (binned(&tally.counts, &bins.bins(), Weight::Tokens)[..20])
                .iter()
                .all(|&tokens| tokens == 300.0)
        );

        let [mean, sd] = tally.moments(&bins);
        assert!(
            (mean - 999.5).abs() < 1e-6
                && (sd - ((2000.0f64.powi(2) - 1.0) / 12.0).sqrt()).abs() < 1e-6
        );

        assert!((bins.centers[0] - 9.5).abs() < 0.2 && (bins.centers[99] - 1989.5).abs() < 0.2);
    }

    #[test]
    fn heavy_values_have_bins_of_their_own() {
        let values = [0.0; 500]
            .into_iter()
            .chain((1..=300).map(|n| f64::from(n) / 400.0))
            .chain([1.0; 200]);
        let bins = Bins::freeze(values.collect(), 20);

        let map = bins.bins();
        let bin = |value: f64| map[bins.cell(value)];
        assert_eq!(bin(0.0), bin(-0.0));
        let inner = [-0.01, 0.0, 0.0025, 0.5, 0.75, 1.0, 1.1].map(bin);
        assert!(inner.windows(2).all(|pair| pair[0] < pair[1]), "{inner:?}");

        // A single value gets a bin of its own, and values on both sides of it others.
        let constant = Bins::freeze(vec![0.5; 30], 20);
        assert_eq!([0.4, 0.5, 0.6].map(|value| constant.cell(value)), [0, 1, 2]);

        let flags = Bins::freeze([0.0, 1.0].repeat(50), 20);
        assert_eq!(
            [-1.0, 0.0, 1.0, 2.0].map(|value| flags.cell(value)),
            [0, 1, 2, 3]
        );
        assert_eq!(flags.centers[1..3], [0.0, 1.0]);

        assert_eq!(Bins::freeze(vec![f64::NAN], 20).cell(3.0), 0);
    }

    #[test]
    fn any_mix_of_ties_is_cut_into_few_ascending_cells() {
        for ties in 1..60u64 {
            let values: Vec<f64> = (0..5000u64)
                .map(|n| (n * n % (7 * ties) / ties) as f64 / 3.0)
                .collect();

            for bins in [2, 10, 20, 33, 100] {
                let bins = Bins::freeze(values.clone(), bins);
                bins.check().expect("ascends");
                assert!(bins.edges.len() < 257);
            }
        }
    }

    #[test]
    fn a_summary_survives_json_to_the_bit() {
        let values: Vec<f64> = (1..3000)
            .map(|n| (f64::from(n) / 7.0).sin().abs().powi(3) as f32 as f64)
            .collect();
        let bins = Bins::freeze(values.clone(), 20);
        let tally = tally(
            &bins,
            values.iter().map(|&value| (Some(value), 10, cluster("a"))),
        );

        let json = serde_json::to_string(&tally.summary(&bins)).expect("is plain data");
        let read: Summary = serde_json::from_str(&json).expect("is a summary");
        read.check().expect("fits");
        assert_eq!(
            (&read.bins.edges, &read.counts),
            (&bins.edges, &tally.counts)
        );

        assert!(json.len() < 4000, "{} bytes", json.len());
        assert!(
            Summary {
                counts: Counts::new(3),
                ..read
            }
            .check()
            .is_err()
        );
    }

    #[test]
    fn order_and_splitting_do_not_matter() {
        let row = |n: u64| {
            (
                (!n.is_multiple_of(11)).then_some((n * 7919 % 5000) as f64 / 97.0),
                n % 13,
                (n % 40) as u16,
            )
        };

        let bins = Bins::freeze((0..5000).filter_map(|n| row(n).0).collect(), 20);
        assert_eq!(
            bins,
            Bins::freeze((0..5000).rev().filter_map(|n| row(n).0).collect(), 20)
        );

        let part = |from: u64, to: u64| tally(&bins, (from..to).rev().map(row));
        let all = tally(&bins, (0..5000).map(row));
        let (a, b, c) = (part(0, 1234), part(1234, 1300), part(1300, 5000));

        let (mut left, mut right) = (a.clone(), c.clone());
        left.merge(&b);
        left.merge(&c);
        right.merge(&b);
        right.merge(&a);

        assert_eq!((&left, &right), (&all, &all));
        assert_eq!(left.summary(&bins), all.summary(&bins));
    }

    #[test]
    fn documents_of_one_host_count_for_less() {
        let bins = Bins::freeze((0..1000).map(f64::from).collect(), 20);
        let score = |key: u64| Some((xxh3_64(&key.to_le_bytes()) % 1000) as f64);

        let own = tally(
            &bins,
            (0..20_000u64).map(|n| (score(n), 100, (n % 1000) as u16)),
        );
        let effective = own.effective(&bins, Weight::Documents);
        assert!(effective > 17_000.0 && effective <= 20_000.0, "{effective}");

        // Ten equal documents a host are worth one.
        let copies = tally(
            &bins,
            (0..20_000u64).map(|n| (score(n / 10), 100, (n / 10 % 1000) as u16)),
        );
        assert!((1_700.0..2_300.0).contains(&copies.effective(&bins, Weight::Documents)));

        // Where a fifth of the documents has nine tenths of the tokens, they are worth less than
        // all.
        let uneven = tally(
            &bins,
            (0..20_000u64).map(|n| (score(n), 1 + n % 5 / 4 * 35, (n / 5 % 1000) as u16)),
        );
        // Kish: (Σ t)² / Σ t² = 20,000 · (0.8 + 7.2)² / (0.8 + 0.2 · 36²).
        let kish = 20_000.0 * 64.0 / (0.8 + 0.2 * 1296.0);
        let effective = uneven.effective(&bins, Weight::Tokens);
        assert!(
            (effective / kish - 1.0).abs() < 0.1,
            "{effective} of {kish}"
        );
    }
}
