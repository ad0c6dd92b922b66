//! Which inputs run together.
//!
//! Inputs are sorted by length, longest first (the largest batch comes first, so a device that is
//! too small shows it at once), and cut where the number of inputs times the longest would pass the
//! budget. The plan depends on lengths and the budget alone, so it is the same on every device; the
//! order of equal lengths is that of the inputs.

use std::ops::Range;

/// A plan for a list of inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    /// Indices of the inputs, longest input first.
    pub order: Vec<usize>,
    /// Each batch is a range of `order`.
    pub batches: Vec<Range<usize>>,
    /// What padding costs where there is any.
    pub padding: PaddingWaste,
}

/// Tokens, and what they are with each batch padded to its longest input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaddingWaste {
    /// Tokens in the inputs.
    pub tokens: u64,
    /// Tokens in the padded batches.
    pub padded: u64,
}

impl PaddingWaste {
    /// The share of the padded batches that is padding, 0 to 1.
    pub fn share(self) -> f64 {
        if self.padded == 0 {
            0.0
        } else {
            1.0 - self.tokens as f64 / self.padded as f64
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: PaddingWaste) {
        self.tokens += other.tokens;
        self.padded += other.padded;
    }
}

/// Batches of inputs of the given lengths, each of at most `budget_tokens` when padded; an input
/// that is longer than that is a batch of its own.
pub fn plan(lengths: &[usize], budget_tokens: usize) -> Batches {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let mut plan = Batches {
        order,
        batches: Vec::new(),
        padding: PaddingWaste::default(),
    };
    let mut start = 0;
    while start < lengths.len() {
        let longest = lengths[plan.order[start]].max(1);
        let end = lengths.len().min(start + (budget_tokens / longest).max(1));
        plan.padding.add(PaddingWaste {
            tokens: plan.order[start..end]
                .iter()
                .map(|&i| lengths[i] as u64)
                .sum(),
            padded: (longest * (end - start)) as u64,
        });
        plan.batches.push(start..end);
        start = end;
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_cut() {
        let plan = plan(&[3, 10, 2, 3, 1], 6);
        assert_eq!(plan.order, [1, 0, 3, 2, 4]);
        assert_eq!(plan.batches, [0..1, 1..3, 3..5]);
        assert_eq!(
            plan.padding,
            PaddingWaste {
                tokens: 19,
                padded: 10 + 6 + 4
            }
        );
        assert_eq!(plan.padding.share(), 0.050000000000000044);
    }

    #[test]
    fn nothing_and_nothing_to_read() {
        assert!(plan(&[], 6).batches.is_empty());
        assert_eq!(plan(&[], 6).padding.share(), 0.0);
        assert_eq!(plan(&[0, 0], 0).batches, [0..1, 1..2]);
    }
}
