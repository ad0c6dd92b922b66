//! Bins frozen from a baseline, counts over them, and the summary of a column that a repository can
//! keep.
//!
//! Edges are exact quantiles of the baseline's scores: about [`CELLS`] cells of equal mass, grouped
//! into bins (20 by default). Cells are half-open, `[edge, next)`; the first and the last take what
//! is below and above. A value that holds a bin's share of the documents or more (ratios have many
//! zeros and ones) gets a bin of its own, closed on both sides, so that 0 turning into 0.01 is
//! seen. Elsewhere an edge falls between two neighbouring values, at the shortest decimal there: it
//! survives JSON and noise in the last digits. What is not scored is counted in a cell of its own,
//! after the others.
//!
//! All that is summed is an integer, so neither order nor the way shards are split has a say. Hosts
//! are hashed into [`CLUSTERS`] clusters: sums over random groups of hosts have the variance of
//! sums over hosts, and some 1,000 of them give it to within 5 % (√(2/1023)). Cost: a binary search
//! a document; 16 bytes a cell and cluster met, 1.7 MB at the most.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::DriftError;

/// Cells of equal mass into which a baseline without heavy values is cut.
pub const CELLS: usize = 100;
/// Clusters that hosts are hashed into.
pub const CLUSTERS: u64 = 1024;
/// Steps between the lowest and the highest cell's centre, in which values are summed.
const FIXED_POINT: f64 = (1u64 << 32) as f64;
/// What is further out than this many steps counts as there: 16 times the baseline's range.
const STEPS_MAX: f64 = (1u64 << 36) as f64;

/// Whether a document counts once or by its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Each document once.
    Documents,
    /// Each token once.
    Tokens,
}

/// Where the values of a column are cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bins {
    /// Lower ends of all cells but the first, ascending; a value equal to one belongs to the cell
    /// above.
    pub edges: Vec<f64>,
    /// The mean of the baseline's values in each cell, ascending; the near edge where there are
    /// none.
    pub centers: Vec<f64>,
    /// Which edges are also edges of bins.
    pub cuts: Vec<u32>,
}

impl Bins {
    /// Cuts the values of a baseline into `bins` bins (2 to 100) of equal mass; what is not finite
    /// is left out.
    pub fn freeze(mut values: Vec<f64>, bins: usize) -> Bins {
        values.retain(|value| value.is_finite());
        // Both zeros are one.
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

    /// The cell of a value.
    pub fn cell(&self, value: f64) -> usize {
        self.edges.partition_point(|edge| *edge <= value)
    }

    /// The bin of each cell, and last that of what is not scored.
    pub fn bins(&self) -> Vec<usize> {
        let bin = |cell: usize| self.cuts.partition_point(|&cut| (cut as usize) < cell);
        (0..=self.edges.len())
            .map(bin)
            .chain([self.cuts.len() + 1])
            .collect()
    }

    /// Whether the parts fit each other.
    ///
    /// # Errors
    /// If they do not, as in a file that was edited by hand.
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

/// Places in sorted values before which they are cut, and whether there a bin ends.
fn places(values: &[f64], bins: usize) -> BTreeMap<usize, bool> {
    let (n, per_bin) = (values.len(), CELLS / bins);
    let targets = bins * per_bin;
    let mut places = BTreeMap::new();
    for target in 1..targets {
        let at = target * n / targets;
        let start = values.partition_point(|value| *value < values[at]);
        let end = values.partition_point(|value| *value <= values[at]);
        let is_heavy = (end - start) * bins >= n;
        let ends = match is_heavy {
            true => vec![start, end],
            false => vec![if at - start <= end - at { start } else { end }],
        };
        for place in ends
            .into_iter()
            .filter(|place| is_heavy || (1..n).contains(place))
        {
            *places.entry(place).or_insert(false) |= is_heavy || target % per_bin == 0;
        }
    }
    places
}

/// The edge before `place`; beside the outermost values, a millionth away.
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

fn center(own: &[f64], tolerance: f64) -> f64 {
    let (first, last) = (own[0], own[own.len() - 1]);
    let mean = own.iter().sum::<f64>() / own.len() as f64;
    if first == last {
        first
    } else {
        short_decimal(first.max(mean - tolerance), last.min(mean + tolerance))
    }
}

/// The number of fewest digits about midway in `(low, high]`. Up to 15 digits, every JSON parser
/// reads it back unchanged.
fn short_decimal(low: f64, high: f64) -> f64 {
    let middle = low / 2.0 + high / 2.0;
    let rounded = |digits: usize| format!("{middle:.digits$e}").parse().ok();
    (0..15)
        .filter_map(rounded)
        .find(|number| low < *number && *number <= high)
        .unwrap_or(high)
}

/// Documents and tokens in each cell, and last those that are not scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Documents by cell.
    pub docs: Vec<u64>,
    /// Their tokens.
    pub tokens: Vec<u64>,
}

impl Counts {
    fn new(cells: usize) -> Counts {
        Counts {
            docs: vec![0; cells],
            tokens: vec![0; cells],
        }
    }

    /// What is counted, by cell.
    pub fn by(&self, weight: Weight) -> &[u64] {
        match weight {
            Weight::Documents => &self.docs,
            Weight::Tokens => &self.tokens,
        }
    }

    /// Documents or tokens in all.
    pub fn total(&self, weight: Weight) -> u64 {
        self.by(weight).iter().sum()
    }

    fn add(&mut self, cell: usize, tokens: u64) {
        self.docs[cell] += 1;
        self.tokens[cell] += tokens;
    }

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

/// The cluster of a document by its host, or by whatever else its errors are shared with: its own
/// id where there is no host or only one.
pub fn cluster(host: &str) -> u16 {
    (xxh3_64(host.as_bytes()) % CLUSTERS) as u16
}

/// Counts of one column of one group of documents, over frozen bins; merging is associative and
/// order-free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub(super) counts: Counts,
    pub(super) clusters: BTreeMap<u16, Counts>,
    /// Σ of the scores and of their squares, in steps from the lowest cell's centre.
    steps: i128,
    squares: i128,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(bins: &Bins) -> Tally {
        Tally {
            counts: Counts::new(bins.edges.len() + 2),
            clusters: BTreeMap::new(),
            steps: 0,
            squares: 0,
        }
    }

    /// Counts a document; no score and NaN are "not scored".
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
            let steps = ((score - origin) / step)
                .round()
                .clamp(-STEPS_MAX, STEPS_MAX) as i128;
            self.steps += steps;
            self.squares += steps * steps;
        }
    }

    /// Adds all that another over the same bins holds.
    ///
    /// # Panics
    /// If it has another number of cells.
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

    /// Documents that were counted, scored or not.
    pub fn documents(&self) -> u64 {
        self.counts.total(Weight::Documents)
    }

    /// Mean and standard deviation of the scores, `[0, 0]` without any.
    pub fn moments(&self, bins: &Bins) -> [f64; 2] {
        let scored = self.documents() - self.counts.docs.last().copied().unwrap_or(0);
        if scored == 0 {
            return [0.0; 2];
        }
        let (origin, step) = fixed_point(bins);
        let mean = self.steps as f64 / scored as f64;
        let variance = self.squares as f64 / scored as f64 - mean * mean;
        [origin + step * mean, step * variance.max(0.0).sqrt()]
    }

    /// How many independent documents would vary as much as these, which share hosts: documents
    /// over the mean design effect of the bins' shares (Rao & Scott 1981), for shares of documents
    /// or of tokens. Never more than there are.
    pub fn effective(&self, bins: &Bins, weight: Weight) -> f64 {
        let (map, total) = (bins.bins(), self.counts.total(weight) as f64);
        let shares: Vec<f64> = binned(&self.counts, &map, weight)
            .iter()
            .map(|own| own / total)
            .collect();
        let mut variances = vec![0.0; shares.len()];
        for counts in self.clusters.values() {
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
        let df = shares.iter().filter(|share| **share > 0.0).count() as f64 - 1.0;
        let effective = df / (relative * clusters / (clusters - 1.0).max(1.0));
        let documents = self.documents() as f64;
        if effective.is_finite() {
            effective.min(documents)
        } else {
            documents
        }
    }

    /// What a later run needs to be compared with this one.
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

/// Counts summed to bins.
fn binned(counts: &Counts, map: &[usize], weight: Weight) -> Vec<f64> {
    let mut bins = vec![0.0; map.iter().collect::<BTreeSet<_>>().len()];
    map.iter()
        .zip(counts.by(weight))
        .for_each(|(&bin, &own)| bins[bin] += own as f64);
    bins
}

fn fixed_point(bins: &Bins) -> (f64, f64) {
    let (first, last) = (bins.centers[0], bins.centers[bins.centers.len() - 1]);
    let range = if last > first {
        last - first
    } else {
        first.abs().max(1.0)
    };
    (first, range / FIXED_POINT)
}

/// The distribution of one column of one group of documents: what a baseline keeps of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Where values are cut.
    pub bins: Bins,
    /// Documents and tokens by cell, the last one not scored.
    pub counts: Counts,
    /// Mean of the scores, each document once.
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
    /// Clusters of hosts that were met.
    pub clusters: u32,
    /// Independent documents that would vary as much, for shares of documents.
    pub effective_docs: f64,
    /// The same for shares of tokens.
    pub effective_docs_by_tokens: f64,
}

impl Summary {
    /// Independent documents that would vary as much.
    pub fn effective(&self, weight: Weight) -> f64 {
        match weight {
            Weight::Documents => self.effective_docs,
            Weight::Tokens => self.effective_docs_by_tokens,
        }
    }

    /// Whether the parts fit each other.
    ///
    /// # Errors
    /// If they do not, as in a file that was edited by hand.
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
        // One value, and what was never seen.
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
        // Ten equal documents a host are worth one; a fifth of the documents with nine tenths of
        // the tokens less than all.
        let copies = tally(
            &bins,
            (0..20_000u64).map(|n| (score(n / 10), 100, (n / 10 % 1000) as u16)),
        );
        assert!((1_700.0..2_300.0).contains(&copies.effective(&bins, Weight::Documents)));
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
