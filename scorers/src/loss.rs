//! Scaling laws: the loss of N parameters trained on D tokens, and what repeated tokens are worth.
//!
//! `L(N, D) = E + A/N^α + B/D^β` in nats a token, Hoffmann et al. 2022 (arXiv:2203.15556), with the constants of several
//! fits. Repeats follow Muennighoff et al. 2023 (arXiv:2305.16264): `D' = U + U·R*·(1 − e^(−R/R*))` for U unique tokens seen
//! R times again. All constants were fitted with the tokenizers of their authors: differences and ratios carry over to
//! another tokenizer, absolute losses do not.

/// One fit of `L(N, D) = E + A/N^α + B/D^β`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossLaw {
    /// What manifests call it.
    pub name: &'static str,
    /// Where the constants are from.
    pub source: &'static str,
    /// E, the loss that neither parameters nor tokens remove, in nats a token.
    pub e: f64,
    /// A, of the parameters' term.
    pub a: f64,
    /// B, of the tokens' term.
    pub b: f64,
    /// The exponent of N.
    pub alpha: f64,
    /// The exponent of D.
    pub beta: f64,
    /// The least and greatest N of the runs it was fitted on, roughly.
    pub params: (f64, f64),
    /// The least and greatest D of the runs it was fitted on, roughly.
    pub tokens: (f64, f64),
}

/// All fits, the default first.
pub const LAWS: &[LossLaw] = &[
    LossLaw {
        name: "besiroglu2024",
        source: "Besiroglu et al. 2024, arXiv:2404.10102, as printed",
        e: 1.8172,
        a: 482.01,
        b: 2085.43,
        alpha: 0.3478,
        beta: 0.3658,
        params: (7e7, 1.6e10),
        tokens: (5e9, 5e11),
    },
    LossLaw {
        name: "besiroglu2024_full",
        source: "Besiroglu et al. 2024, github.com/epoch-research/analyzing-chinchilla, full precision",
        // exp of the logarithms 0.59711196, 6.17795598 and 7.64273236.
        e: 1.8168640400416654,
        a: 482.0057194215438,
        b: 2085.434195928221,
        alpha: 0.34781303,
        beta: 0.36585412,
        params: (7e7, 1.6e10),
        tokens: (5e9, 5e11),
    },
    LossLaw {
        name: "hoffmann2022_rounded",
        source: "Hoffmann et al. 2022, arXiv:2203.15556, as printed",
        e: 1.69,
        a: 406.4,
        b: 410.7,
        alpha: 0.34,
        beta: 0.28,
        params: (7e7, 1.6e10),
        tokens: (5e9, 5e11),
    },
    LossLaw {
        name: "hoffmann2022",
        source: "Hoffmann et al. 2022, arXiv:2203.15556, precision of its TeX source",
        e: 1.6933737,
        a: 406.40102,
        b: 410.72283,
        alpha: 0.33917084,
        beta: 0.2849083,
        params: (7e7, 1.6e10),
        tokens: (5e9, 5e11),
    },
    LossLaw {
        name: "muennighoff2023",
        source: "Muennighoff et al. 2023, arXiv:2305.16264, github.com/huggingface/datablations",
        e: 1.8691437,
        a: 520.82495,
        b: 1487.71609,
        alpha: 0.3526596,
        beta: 0.3526596,
        params: (0.0, 9e9),
        tokens: (0.0, 9e11),
    },
];

/// The fit called `name`.
pub fn law(name: &str) -> Option<&'static LossLaw> {
    LAWS.iter().find(|law| law.name == name)
}

impl LossLaw {
    /// The loss of `params` parameters trained on `tokens` tokens, in nats a token; infinite at zero of either.
    pub fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.e + self.a / params.powf(self.alpha) + self.b / tokens.powf(self.beta)
    }

    /// Whether both lie where the law was fitted. Elsewhere a loss is an extrapolation and should be called one.
    pub fn in_fitted_range(&self, params: f64, tokens: f64) -> bool {
        (self.params.0..=self.params.1).contains(&params) && (self.tokens.0..=self.tokens.1).contains(&tokens)
    }
}

/// R* of Muennighoff et al. 2023: after this many repeats, one more is worth 1/e of a fresh token.
pub const REPEATS_SCALE: f64 = 15.387756;

/// D′(U, R): how many unique tokens `epochs` = 1 + R passes over `unique` tokens are worth; `unique · epochs` up to one.
///
/// ```
/// use curate_scorers::loss::unique_equivalent;
///
/// assert_eq!(unique_equivalent(100.0, 0.5), 50.0);
/// assert!((unique_equivalent(100.0, 4.0) - 372.5673).abs() < 1e-4);
/// ```
pub fn unique_equivalent(unique: f64, epochs: f64) -> f64 {
    if epochs <= 1.0 {
        return unique * epochs;
    }
    let repeats = epochs - 1.0;
    unique + unique * REPEATS_SCALE * -(-repeats / REPEATS_SCALE).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expected: f64, relative: f64) {
        assert!((got / expected - 1.0).abs() < relative, "{got} is not {expected}");
    }

    #[test]
    fn losses_are_those_of_the_papers() {
        let points = [(70e9, 1.4e12), (7e9, 18e12), (0.5e9, 18e12), (72e9, 18e12)];
        let expected = [
            ("hoffmann2022_rounded", [1.936645, 1.952459, 2.217835, 1.852500]),
            ("hoffmann2022", [1.920846, 1.948199, 2.217613, 1.846506]),
            ("besiroglu2024", [1.973882, 2.028263, 2.301262, 1.927441]),
        ];
        for (name, losses) in expected {
            for ((params, tokens), loss) in points.into_iter().zip(losses) {
                near(law(name).expect("it is listed").loss(params, tokens), loss, 1e-6);
            }
        }
        near(law("besiroglu2024_full").expect("it is listed").loss(7e9, 18e12), 2.027823, 5e-7);
    }

    #[test]
    fn full_precision_constants_are_the_published_logarithms() {
        let full = law("besiroglu2024_full").expect("it is listed");
        for (constant, logarithm) in [(full.e, 0.59711196f64), (full.a, 6.17795598), (full.b, 7.64273236)] {
            near(constant, logarithm.exp(), 1e-15);
        }
    }

    #[test]
    fn muennighoff_agrees_with_its_authors() {
        // parametric_fit.ipynb: L(N = 6.34e9, D = 242e9, U = 25e9), where N' = 4.8406682e9.
        let tokens = unique_equivalent(25e9, 242.0 / 25.0);
        near(tokens, 1.90849034e11, 1e-8);
        near(law("muennighoff2023").expect("it is listed").loss(4.8406682e9, tokens), 2.2256440889984477, 1e-8);
    }

    #[test]
    fn repeats_are_worth_less_and_less() {
        let worth = [1.0, 1.968199, 3.725673, 6.624119, 10.582457, 15.167465, 16.387756];
        for (epochs, worth) in [1.0, 2.0, 4.0, 8.0, 16.0, 40.0, f64::INFINITY].into_iter().zip(worth) {
            near(unique_equivalent(1.0, epochs), worth, 1e-6);
        }
        assert_eq!([unique_equivalent(5.0, 0.0), unique_equivalent(0.0, 7.0)], [0.0, 0.0]);
        near(unique_equivalent(2e12, 1.5), 2.983927866e12, 1e-9);
    }

    #[test]
    fn names_are_unique_and_ranges_hold() {
        for (i, entry) in LAWS.iter().enumerate() {
            assert_eq!(LAWS.iter().position(|other| other.name == entry.name), Some(i));
            assert!(entry.params.0 < entry.params.1 && entry.tokens.0 < entry.tokens.1);
        }
        let default = &LAWS[0];
        assert!(default.in_fitted_range(7e9, 1e11));
        assert!(!default.in_fitted_range(7e9, 18e12) && !default.in_fitted_range(72e9, 1e11));
        assert_eq!(law("kaplan2020"), None);
    }
}
