//! Maps from a raw value to a term of q, and the ends of a distribution's tails.
//!
//! Quantiles are counted, not sketched. Values go into bins of relative width 2^-16 that hold
//! integers, so the result does not depend on the order of the values or on threads. Memory is
//! bounded by the spread of the values: a decade takes at most 218,000 bins of 40 bytes.

use std::collections::BTreeMap;

/// The least value of a term and of q. It is above 0, so that every document keeps some worth.
pub const FLOOR: f64 = 0.001;

/// The bits of a number that choose its bin: the sign, 11 bits of the exponent and 16 bits of the
/// mantissa.
const BIN_BITS: u32 = 28;

/// The numbers of documents and tokens by value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents and tokens of each bin.
    bins: BTreeMap<u32, (u64, u64)>,
}

impl Counts {
    /// Counts a document with a value and a number of tokens. A NaN is not counted.
    pub fn add(&mut self, value: f64, tokens: u64) {
        if !value.is_nan() {
            self.put(bin(value), (1, tokens));
        }
    }

    /// Adds all documents of `other`.
    pub fn merge(&mut self, other: &Counts) {
        for (&bin, &counted) in &other.bins {
            self.put(bin, counted);
        }
    }

    fn put(&mut self, bin: u32, (documents, tokens): (u64, u64)) {
        let counted = self.bins.entry(bin).or_default();
        counted.0 += documents;
        counted.1 += tokens;
    }

    /// The number of documents counted.
    pub fn documents(&self) -> u64 {
        self.bins.values().map(|(documents, _)| documents).sum()
    }

    /// The percentile of each value, in \[0, 1\]: the share of tokens in documents with a smaller
    /// value, plus half of the share in documents of the same bin.
    ///
    /// There are at most 257 knots, in steps of 1/256. A bin that holds more than that makes a
    /// larger step.
    pub fn percentiles(&self) -> Knots {
        // Documents weigh a little too, so that a group has percentiles even if no document in it
        // has tokens.
        let weight =
            |(documents, tokens): (u64, u64)| u128::from(tokens) * 256 + u128::from(documents);
        let total: u128 = self.bins.values().map(|&counted| weight(counted)).sum();

        let (mut below, mut next, mut points) = (0u128, 0u128, Vec::new());
        for (at, (&bin, &counted)) in self.bins.iter().enumerate() {
            let own = weight(counted);
            // A knot for the first bin, the last bin, and each bin that crosses the next 256th.
            if (below + own) * 256 >= next * total || at + 1 == self.bins.len() {
                points.push((lower(bin), (below as f64 + own as f64 / 2.0) / total as f64));
                next = (below + own) * 256 / total + 1;
            }
            below += own;
        }

        Knots { points }
    }

    /// The end of the lower tail: documents with a value below it are at most `share`, in \[0, 1\],
    /// of all documents, and as many as possible. `None` if no document is in the tail.
    pub fn low_cut(&self, share: f64) -> Option<f64> {
        // The product may be rounded below the integer that is meant, such as 0.29 of 100.
        let most = share * self.documents() as f64 * (1.0 + 1e-12);

        let (mut below, mut cut) = (0u64, None);
        for (&bin, (documents, _)) in &self.bins {
            below += documents;
            if below as f64 > most {
                break;
            }
            cut = Some(lower(bin + 1));
        }

        cut
    }

    /// The start of the upper tail: documents with this value or more have at least `share`, in
    /// \[0, 1\], of all documents below them. `None` if no document is in the tail.
    pub fn high_cut(&self, share: f64) -> Option<f64> {
        // The product may be rounded above the integer that is meant, such as 0.07 of 100.
        let least = share * self.documents() as f64 * (1.0 - 1e-12);

        let mut below = 0u64;
        for (&bin, (documents, _)) in &self.bins {
            if below as f64 >= least {
                return Some(lower(bin));
            }
            below += documents;
        }

        None
    }
}

/// The bin of a number. A greater number never has a smaller bin.
fn bin(value: f64) -> u32 {
    // The sum turns -0.0 into 0.0, so that both have one bin.
    let bits = (value + 0.0).to_bits();

    // Bits of positive numbers are in their order already, and those of negative ones in reverse.
    let ordered = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    (ordered >> (64 - BIN_BITS)) as u32
}

/// The least number of a bin: the inverse of [`bin`].
fn lower(bin: u32) -> f64 {
    let ordered = u64::from(bin) << (64 - BIN_BITS);

    let bits = if ordered >> 63 == 1 {
        ordered & !(1 << 63)
    } else {
        !ordered
    };
    f64::from_bits(bits)
}

/// A function of one variable: linear between its points, constant outside them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Knots {
    points: Vec<(f64, f64)>,
}

/// The error for points that are not an isotonic map.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("point {at}: {wrong}")]
pub struct BadPoint {
    /// The number of the point, from 0.
    pub at: usize,
    /// The fault of the point.
    pub wrong: &'static str,
}

impl Knots {
    /// An isotonic map from points (value, result). Values must ascend. Results must lie in (0, 1]
    /// and must not descend.
    ///
    /// # Errors
    /// [`BadPoint`] for the first point that breaks a rule, or if there are no points.
    pub fn isotonic(points: Vec<(f64, f64)>) -> Result<Knots, BadPoint> {
        if points.is_empty() {
            return Err(BadPoint {
                at: 0,
                wrong: "the list of points is empty",
            });
        }

        for (at, &(value, result)) in points.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| points[before]);
            let wrong = match before {
                _ if !value.is_finite() => "the value is not finite",
                _ if !(result > 0.0 && result <= 1.0) => "the result is not in (0, 1]",
                Some(before) if value <= before.0 => "the value is not above the one before",
                Some(before) if result < before.1 => "the result is below the one before",
                _ => continue,
            };
            return Err(BadPoint { at, wrong });
        }

        Ok(Knots { points })
    }

    /// The points (value, result), in ascending order of their values.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The result of the function for `value`. `None` if there are no points.
    pub fn at(&self, value: f64) -> Option<f64> {
        // Before the first point the function has the result of the first point.
        let after = self.points.partition_point(|point| point.0 <= value);
        let &(from, low) = after
            .checked_sub(1)
            .map_or(self.points.first(), |before| self.points.get(before))?;

        match self.points.get(after) {
            Some(&(to, high)) if value > from => {
                Some(low + (high - low) * ((value - from) / (to - from)))
            }
            _ => Some(low),
        }
    }
}

/// A map from a raw value to a term in (0, 1].
#[derive(Debug, Clone, PartialEq)]
pub enum TermMap {
    /// The term is the value itself.
    Identity,
    /// The term is 1 / (1 + e^(−slope·(value − midpoint))).
    Logistic {
        /// The value whose term is one half.
        midpoint: f64,
        /// The steepness of the curve, per unit of the value. Below 0 the curve falls.
        slope: f64,
    },
    /// The term is the share of tokens in the group with a smaller value, or with a greater value.
    Percentile {
        /// True if small values are better, so that the share with a greater value counts.
        low_is_better: bool,
    },
    /// The term is 1 in the middle of the group. It falls in both tails, in proportion to the share
    /// of tokens that are farther out.
    TwoSided {
        /// The share of tokens at which the middle begins, in \[0, 1\].
        low: f64,
        /// The share of tokens at which the middle ends, in \[0, 1\].
        high: f64,
    },
    /// The term is given by a fitted curve.
    Isotonic(Knots),
}

impl TermMap {
    /// True if a term depends on the percentiles of a group.
    pub fn is_relative(&self) -> bool {
        matches!(self, TermMap::Percentile { .. } | TermMap::TwoSided { .. })
    }

    /// The term of a value, from [`FLOOR`] to 1. `None` and NaN have the term [`FLOOR`].
    ///
    /// `percentiles` are those of the value's group. They are needed if
    /// [`TermMap::is_relative`] is true.
    pub fn term(&self, value: Option<f64>, percentiles: Option<&Knots>) -> f64 {
        let Some(value) = value.filter(|value| !value.is_nan()) else {
            return FLOOR;
        };

        // All values of a bin share one percentile, so the bin's least number is looked up.
        let share = || {
            percentiles
                .and_then(|knots| knots.at(lower(bin(value))))
                .unwrap_or(FLOOR)
        };

        let term = match self {
            TermMap::Identity => value,
            TermMap::Logistic { midpoint, slope } => {
                1.0 / (1.0 + (-slope * (value - midpoint)).exp())
            }
            TermMap::Percentile {
                low_is_better: false,
            } => share(),
            TermMap::Percentile {
                low_is_better: true,
            } => 1.0 - share(),
            TermMap::TwoSided { low, high } => {
                let share = share();
                let (rise, fall) = (share / low, (1.0 - share) / (1.0 - high));
                // A tail of width 0 lowers no term: 0/0 is left out, and n/0 is above 1.
                [rise, fall]
                    .into_iter()
                    .filter(|side| !side.is_nan())
                    .fold(1.0, f64::min)
            }
            TermMap::Isotonic(knots) => knots.at(value).unwrap_or(FLOOR),
        };

        term.clamp(FLOOR, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: impl IntoIterator<Item = (f64, u64)>) -> Counts {
        let mut counts = Counts::default();
        values
            .into_iter()
            .for_each(|(value, tokens)| counts.add(value, tokens));
        counts
    }

    #[test]
    fn bins_keep_the_order_of_numbers() {
        let numbers = [
            f64::NEG_INFINITY,
            -1e300,
            -3.5,
            -1.0,
            -1e-300,
            0.0,
            1e-300,
            0.3,
            1.0,
            1.001,
            2.0,
            f64::MAX,
        ];

        for pair in numbers.windows(2) {
            assert!(bin(pair[0]) < bin(pair[1]), "{pair:?}");
        }
        assert_eq!(bin(-0.0), bin(0.0));

        for number in numbers.into_iter().filter(|number| *number > 0.0) {
            let edge = lower(bin(number));
            assert!(
                edge <= number && number - edge <= number * f64::powi(2.0, -16),
                "{number}: {edge}"
            );
        }
    }

    #[test]
    fn percentiles_are_shares_of_tokens() {
        let knots = counts((1..=1000).map(|n| (f64::from(n), 10))).percentiles();
        assert!(knots.points().len() <= 257, "{}", knots.points().len());
        for value in [1.0f64, 17.0, 250.0, 500.5, 999.0] {
            let share = knots.at(value).expect("there are points");
            assert!((share - value / 1000.0).abs() < 0.005, "{value}: {share}");
        }

        // Half of all tokens are in one document.
        let heavy = counts([(1.0, 100), (2.0, 300), (3.0, 200)]).percentiles();
        assert!((heavy.at(2.0).expect("a point") - 250.0 / 600.0).abs() < 1e-3);
    }

    #[test]
    fn equal_values_share_one_percentile() {
        let knots = counts([(0.3, 10); 50].into_iter().chain([(0.7, 10); 50])).percentiles();
        assert!(
            (knots.at(0.3).expect("a point") - 0.25).abs() < 1e-3,
            "{knots:?}"
        );
        assert!(
            (knots.at(0.7).expect("a point") - 0.75).abs() < 1e-3,
            "{knots:?}"
        );
        assert_eq!(counts([]).percentiles().at(1.0), None);
        assert_eq!(counts([(5.0, 0)]).percentiles().at(5.0), Some(0.5));
    }

    #[test]
    fn order_and_splitting_do_not_matter() {
        let values: Vec<(f64, u64)> = (0..5000u64)
            .map(|n| ((n * 7919 % 5000) as f64 / 97.0, n % 13))
            .collect();

        let mut halves = counts(values[3000..].iter().rev().copied());
        halves.merge(&counts(values[..3000].iter().copied()));
        assert_eq!(halves, counts(values));
    }

    #[test]
    fn cuts_take_no_more_than_their_share() {
        let hundred = counts((1..=100).map(|n| (f64::from(n), 1)));
        let dropped = |low: f64, high: f64| {
            let (low, high) = (hundred.low_cut(low), hundred.high_cut(high));
            let all = || (1..=100).map(f64::from);
            (
                all().filter(|n| low.is_some_and(|cut| *n < cut)).count(),
                all().filter(|n| high.is_some_and(|cut| *n >= cut)).count(),
            )
        };

        assert_eq!(dropped(0.02, 0.95), (2, 5));
        assert_eq!(dropped(0.29, 0.07), (29, 93));
        assert_eq!(dropped(0.0, 1.0), (0, 0));
        assert_eq!(dropped(0.005, 0.995), (0, 0));
        assert_eq!(dropped(1.0, 0.0), (100, 100));

        // Few documents, or all of one value, have no tails.
        let few = counts((1..=10).map(|n| (f64::from(n), 1)));
        assert_eq!((few.low_cut(0.02), few.high_cut(0.95)), (None, None));
        let equal = counts([(2.0, 1); 1000]);
        assert_eq!((equal.low_cut(0.02), equal.high_cut(0.95)), (None, None));
        assert_eq!(
            (counts([]).low_cut(0.5), counts([]).high_cut(0.5)),
            (None, None)
        );
    }

    #[test]
    fn terms_lie_between_the_floor_and_one() {
        let knots = counts((1..=1000).map(|n| (f64::from(n), 1))).percentiles();
        let at = |map: &TermMap, value: f64| map.term(Some(value), Some(&knots));

        let all = [
            TermMap::Identity,
            TermMap::Logistic {
                midpoint: 3.0,
                slope: -2.0,
            },
            TermMap::Percentile {
                low_is_better: true,
            },
            TermMap::Percentile {
                low_is_better: false,
            },
            TermMap::TwoSided {
                low: 0.0,
                high: 1.0,
            },
            TermMap::TwoSided {
                low: 0.25,
                high: 0.75,
            },
            TermMap::Isotonic(Knots::isotonic(vec![(0.0, 0.1), (10.0, 1.0)]).expect("ascends")),
        ];

        for map in &all {
            for value in [
                f64::NEG_INFINITY,
                -5.0,
                0.0,
                1.0,
                500.0,
                1000.0,
                1e300,
                f64::INFINITY,
            ] {
                let term = at(map, value);
                assert!(
                    (FLOOR..=1.0).contains(&term),
                    "{map:?} of {value} is {term}"
                );
            }
            assert_eq!(map.term(None, Some(&knots)), FLOOR);
            assert_eq!(map.term(Some(f64::NAN), Some(&knots)), FLOOR);
        }

        assert_eq!(at(&all[1], 3.0), 0.5);
        assert!(
            (at(&all[2], 100.0) - 0.9).abs() < 0.005 && (at(&all[3], 100.0) - 0.1).abs() < 0.005
        );
        assert_eq!([at(&all[4], 1.0), at(&all[4], 1000.0)], [1.0, 1.0]);

        let two_sided: Vec<f64> = [125.0, 500.0, 875.0]
            .map(|value| at(&all[5], value))
            .to_vec();
        assert!(
            (two_sided[0] - 0.5).abs() < 0.01
                && two_sided[1] == 1.0
                && (two_sided[2] - 0.5).abs() < 0.01
        );
        assert_eq!(at(&all[6], 5.0), 0.55);
    }

    #[test]
    fn points_that_are_no_isotonic_map_are_named() {
        let wrong = |points: &[(f64, f64)]| {
            Knots::isotonic(points.to_vec())
                .expect_err("no map")
                .to_string()
        };

        assert_eq!(wrong(&[]), "point 0: the list of points is empty");
        assert_eq!(
            wrong(&[(0.0, 0.5), (0.0, 0.6)]),
            "point 1: the value is not above the one before"
        );
        assert_eq!(
            wrong(&[(0.0, 0.5), (1.0, 0.4)]),
            "point 1: the result is below the one before"
        );
        assert_eq!(wrong(&[(0.0, 0.0)]), "point 0: the result is not in (0, 1]");
        assert_eq!(
            wrong(&[(f64::NAN, 0.5)]),
            "point 0: the value is not finite"
        );
    }
}
