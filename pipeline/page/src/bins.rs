//! The bins of a rule's histogram. They follow from the rule and its threshold alone, so that one
//! pass over the documents fills them.
//!
//! The threshold is an edge of two bins, and a bin is closed on the side that passes. So no bin
//! holds documents that pass and documents that fail. Counts up to a few are bins of one, longer
//! counts lie on a logarithmic scale, and all other values on a linear one.

use arrow::datatypes::DataType;
use curate_schemas::rules::{Fails, Judged};
use curate_schemas::tables::Column;

/// Greatest threshold of a count that has a bin for each number.
const SMALL: f64 = 20.0;
/// Bins for each factor of ten on a logarithmic scale.
const PER_DECADE: i32 = 8;
/// Greatest number of bins.
const MOST: usize = 70;

/// The bins of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    /// The edges, ascending. Bin n lies between edges n and n + 1.
    pub edges: Vec<f64>,
    /// The number of the edge that is the threshold.
    pub threshold: usize,
    /// The end of a bin that belongs to it.
    pub closed: Closed,
    /// True if the scale is logarithmic.
    pub is_log: bool,
}

/// The end of a bin that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The lower end.
    Low,
    /// The upper end.
    High,
}

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the bin of this number.
    Bin(usize),
    /// Below the first bin, or not a number.
    Below,
    /// Above the last bin.
    Above,
}

impl Bins {
    /// The bins of a rule whose values stand in `column`. `None` for a flag or a list.
    pub fn of(judged: &Judged, column: &Column) -> Option<Bins> {
        let closed = match judged.fails {
            Fails::Below | Fails::AtLeast => Closed::Low,
            Fails::Above | Fails::AtMost => Closed::High,
            Fails::Set | Fails::Listed => return None,
        };
        let t = judged.threshold;
        if !t.is_finite() || t < 0.0 {
            return None;
        }

        let is_count = column.data_type == DataType::UInt32;
        let (edges, threshold, is_log) = match (is_count, column.range) {
            (true, _) if t <= SMALL => {
                // A bin for each number, and one below 0 so that 0 has a bin that is closed above.
                let last = (3.0 * t).clamp(20.0, 45.0) as usize;
                let edges = (0..=last + 1).map(|n| n as f64 - 1.0).collect();
                (edges, t as usize + 1, false)
            }
            (true, _) => log_edges(t),
            (false, "[0, 1]") => linear_edges(t, if t > 0.3 { 1.0 } else { 3.0 * t }),
            (false, _) => linear_edges(t, 3.0 * t),
        };
        Some(Bins {
            edges,
            threshold,
            closed,
            is_log,
        })
    }

    /// Where a value lies.
    pub fn place(&self, value: f64) -> Place {
        let after = match self.closed {
            Closed::Low => self.edges.partition_point(|edge| *edge <= value),
            Closed::High => self.edges.partition_point(|edge| *edge < value),
        };
        match after {
            0 => Place::Below,
            n if n == self.edges.len() => Place::Above,
            n => Place::Bin(n - 1),
        }
    }

    /// Number of bins.
    pub fn len(&self) -> usize {
        self.edges.len() - 1
    }

    /// A value as a share of the axis from edge `from` to edge `to`, 0 to 1 for values on it.
    pub fn position(&self, value: f64, from: usize, to: usize) -> f64 {
        let scale = |x: f64| if self.is_log { x.max(1e-9).ln() } else { x };
        let (low, high) = (scale(self.edges[from]), scale(self.edges[to]));
        (scale(value) - low) / (high - low)
    }
}

/// Edges on a linear scale from below 0 to `end` or a little more, with `t` among them.
fn linear_edges(t: f64, end: f64) -> (Vec<f64>, usize, bool) {
    // One bin lies below 0, so that 0 has a bin that is closed above.
    if t == 0.0 {
        // No threshold sets the width, so the bins are twentieths.
        return ((-1..=20).map(|n| f64::from(n) / 20.0).collect(), 1, false);
    }

    let steps = steps(t, end);
    let width = t / steps as f64;
    let bins = ((end / width).ceil() as usize).clamp(steps + 1, MOST);
    // The threshold itself is not computed, because a rounded edge would not be the threshold.
    let edge = |n: i64| match n {
        n if n == steps as i64 => t,
        n => width * n as f64,
    };
    ((-1..=bins as i64).map(edge).collect(), steps + 1, false)
}

/// Bins between 0 and a threshold, so that about 45 lie on the axis. Widths of one, two or five
/// digits are preferred.
fn steps(t: f64, end: f64) -> usize {
    let fitting = (30..=60).map(|bins| (t / end * f64::from(bins)).round().max(1.0) as usize);
    let nice = |steps: &usize| {
        let hundred = t / *steps as f64 * 1000.0;
        (hundred - hundred.round()).abs() < 1e-9 && hundred.round() % 5.0 == 0.0
    };
    let all: Vec<usize> = fitting.collect();
    let found = all.iter().rev().find(|steps| nice(steps));
    found.copied().unwrap_or(all[15])
}

/// Edges on a logarithmic scale that has the threshold as an edge, from about 1 to 10^7.
fn log_edges(t: f64) -> (Vec<f64>, usize, bool) {
    let edge = |n: i32| match n {
        0 => t,
        n => t * 10f64.powf(f64::from(n) / f64::from(PER_DECADE)),
    };
    let first = -(t.log10() * f64::from(PER_DECADE)).ceil() as i32;
    let last = first + MOST as i32;
    let edges = (first..=last).map(edge).collect();
    (edges, -first as usize, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_schemas::rules::rules;
    use curate_schemas::stages::filter::Filter;

    fn filter() -> Filter {
        toml::from_str(
            "gopher_quality = {}\ngopher_repetition = {}\nc4 = {}\nfineweb = {}\nlines = {}\n\
             c4_paragraphs = {}\n",
        )
        .expect("tables without keys have defaults")
    }

    #[test]
    fn every_threshold_is_an_edge_that_parts_pass_from_fail() {
        let mut seen = 0;
        for rule in rules() {
            let Some(judged) = rule.judged(&filter()) else {
                continue;
            };
            let Some(bins) = Bins::of(&judged, &rule.column()) else {
                continue;
            };
            seen += 1;
            let (t, at) = (judged.threshold, bins.threshold);
            let name = rule.full_name();
            assert_eq!(bins.edges[at], t, "{name}");
            assert!(bins.len() <= MOST + 1, "{name} has {} bins", bins.len());
            assert!(
                bins.edges.windows(2).all(|pair| pair[0] < pair[1]),
                "{name}"
            );

            // The threshold passes with Below and Above, and fails with the other two.
            let expected = match judged.fails {
                Fails::Below | Fails::AtLeast => at,
                _ => at - 1,
            };
            assert_eq!(bins.place(t), Place::Bin(expected), "{name}");
            assert_eq!(bins.place(t.next_down()), Place::Bin(at - 1), "{name}");
            assert_eq!(bins.place(t.next_up()), Place::Bin(at), "{name}");
        }
        assert!(seen > 25, "{seen}");
    }

    #[test]
    fn a_threshold_of_zero_has_bins_on_both_sides() {
        for (fails, range, data_type) in [
            (Fails::Above, "[0, 1]", DataType::Float64),
            (Fails::Above, "0 or more", DataType::Float64),
            (Fails::Above, "", DataType::UInt32),
        ] {
            let (_, column) = rules()
                .map(|rule| (rule, rule.column()))
                .next()
                .expect("a rule");
            let column = Column {
                range,
                data_type,
                ..column
            };
            let judged = Judged {
                value: rules().next().expect("a rule").value,
                fails,
                threshold: 0.0,
            };
            let bins = Bins::of(&judged, &column).expect("bins");
            assert_eq!(bins.edges[bins.threshold], 0.0);
            assert_eq!(bins.place(0.0), Place::Bin(bins.threshold - 1));
            assert_eq!(bins.place(f64::MIN_POSITIVE), Place::Bin(bins.threshold));
            assert_eq!(bins.place(f64::NAN), Place::Below);
        }
    }
}
