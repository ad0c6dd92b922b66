//! The quality q of a document from its terms.

use curate_schemas::stages::quality::Combine;
use curate_scorers::maps::FLOOR;

/// The quality q of a document from its terms and their weights, [`FLOOR`] to 1. Without terms q is
/// 1, except for a logistic combination. Sums are formed in the order of the terms.
pub fn combine(how: Combine, intercept: f64, terms: &[f64], weights: &[f64]) -> f64 {
    let weighted = || terms.iter().zip(weights);
    let total: f64 = weights.iter().sum();

    let q = match (how, terms) {
        (Combine::Logistic, _) => {
            let sum: f64 = weighted().map(|(term, weight)| term * weight).sum();
            1.0 / (1.0 + (-(intercept + sum)).exp())
        }
        (_, []) => 1.0,
        // One term is q itself. The formulas could change its last digits.
        (Combine::WeightedGeometric | Combine::Mean | Combine::Min, [term]) => *term,
        (Combine::WeightedGeometric, _) => weighted()
            .map(|(term, weight)| term.ln() * (weight / total))
            .sum::<f64>()
            .exp(),
        (Combine::Mean, _) => weighted().map(|(term, weight)| term * weight).sum::<f64>() / total,
        (Combine::Min, _) => terms.iter().copied().fold(1.0, f64::min),
        (Combine::Max, _) => terms
            .iter()
            .map(|term| (term * 20.0).ceil() / 20.0)
            .fold(0.0, f64::max),
    };

    // Terms of a logistic combination may be any number, so their sum may be ∞ − ∞.
    if q.is_nan() {
        FLOOR
    } else {
        q.clamp(FLOOR, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Combine::{Logistic, Max, Mean, Min, WeightedGeometric};

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
    }

    #[test]
    fn worked_values() {
        let (terms, weights) = ([0.9, 0.4], [3.0, 1.0]);
        near(
            combine(WeightedGeometric, 0.0, &terms, &weights),
            0.9f64.powf(0.75) * 0.4f64.powf(0.25),
        );
        near(combine(Mean, 0.0, &terms, &weights), 0.775);
        near(combine(Min, 0.0, &terms, &weights), 0.4);
        // 0.42 and 0.33 are in the ninth and the seventh twentieth.
        near(combine(Max, 0.0, &[0.42, 0.33], &weights), 0.45);
        near(
            combine(Logistic, -1.0, &[2.0, -3.0], &[0.5, 0.25]),
            1.0 / (1.0 + 0.75f64.exp()),
        );
    }

    #[test]
    fn q_is_always_in_range() {
        for how in [WeightedGeometric, Mean, Min, Max] {
            assert_eq!(combine(how, 0.0, &[], &[]), 1.0);
            assert_eq!(combine(how, 0.0, &[1.0, 1.0], &[0.3, 0.6]), 1.0);
            assert!((FLOOR..=1.0).contains(&combine(how, 0.0, &[FLOOR, FLOOR], &[1e300, 1e-300])));
        }
        for terms in [
            [1e300, 1e300],
            [-1e300, 1e300],
            [f64::INFINITY, f64::NEG_INFINITY],
        ] {
            assert!((FLOOR..=1.0).contains(&combine(Logistic, 0.0, &terms, &[1e10, 1e10])));
        }
        assert_eq!(combine(WeightedGeometric, 0.0, &[0.3], &[7.0]), 0.3);
    }
}
