//! Which inputs run together.
//!
//! Inputs are sorted by length, longest first, and cut where the number of inputs times the longest
//! length would exceed the budget. The largest batch then comes first, so a device that is too
//! small shows at once. The plan depends on the lengths and the budget alone, so it is the same on
//! every device. Inputs of equal length keep their order.

use std::ops::Range;

/// A plan for a list of inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    /// Indices of the inputs, longest input first.
    pub order: Vec<usize>,
    /// The batches, each a range of `order`.
    pub batches: Vec<Range<usize>>,
    /// What padding costs on a device that pads.
    pub padding: PaddingWaste,
}

/// Tokens of the inputs, without and with each batch padded to its longest input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaddingWaste {
    /// Tokens in the inputs.
    pub tokens: u64,
    /// Tokens in the padded batches.
    pub padded: u64,
}

impl PaddingWaste {
    /// Share of the padded batches that is padding, from 0 to 1. 0 without batches.
    pub fn share(self) -> f64 {
        if self.padded == 0 {
            0.0
        } else {
            1.0 - self.tokens as f64 / self.padded as f64
        }
    }

    /// Adds the tokens of `other` to this count.
    pub fn add(&mut self, other: PaddingWaste) {
        self.tokens += other.tokens;
        self.padded += other.padded;
    }
}

/// Plans batches of inputs of the given lengths, each of at most `budget_tokens` tokens when
/// padded.
///
/// An input that is longer than the budget becomes a batch of its own.
pub fn plan(lengths: &[usize], budget_tokens: usize) -> Batches {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    // The sort is stable: equal lengths stay in the order of the inputs.
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));

    let mut plan = Batches {
        order,
        batches: Vec::new(),
        padding: PaddingWaste::default(),
    };

    let mut start = 0;
    while start < lengths.len() {
        // Lengths of 0 must not divide by 0, and each batch takes at least one input so that the
        // loop ends.
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
