//! The constants of the published fits, the errors of these constants, and the constants of a
//! user's own fit.

use super::LossLaw;

/// The errors of a fit's constants, in the order E, A, B, α, β.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Errors {
    /// Standard errors. What follows from them takes the constants' errors as independent.
    Independent([f64; 5]),
    /// The covariance matrix of the constants.
    Covariance([[f64; 5]; 5]),
}

impl Errors {
    /// The variance of the sum of the constants' errors, each times its entry in `gradient`.
    pub(super) fn variance(&self, gradient: &[f64; 5]) -> f64 {
        match self {
            Errors::Independent(errors) => errors
                .iter()
                .zip(gradient)
                .map(|(error, slope)| (error * slope).powi(2))
                .sum(),
            Errors::Covariance(covariance) => covariance
                .iter()
                .zip(gradient)
                .map(|(row, slope)| slope * dot(row, gradient))
                .sum(),
        }
    }
}

/// The scalar product.
fn dot(a: &[f64; 5], b: &[f64; 5]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The least and the greatest N of the runs of Hoffmann et al. Besiroglu et al. fitted the same
/// runs, which they read off a figure of Hoffmann et al.
const CHINCHILLA_PARAMS: (f64, f64) = (7e7, 1.6e10);
/// The least and the greatest D of the same runs.
const CHINCHILLA_TOKENS: (f64, f64) = (5e9, 5e11);

/// All published fits, the default first.
pub const LAWS: &[LossLaw] = &[
    LossLaw {
        name: "besiroglu2024",
        source: "Besiroglu et al. 2024, arXiv:2404.10102, as printed",
        e: 1.8172,
        a: 482.01,
        b: 2085.43,
        alpha: 0.3478,
        beta: 0.3658,
        params: CHINCHILLA_PARAMS,
        tokens: CHINCHILLA_TOKENS,
        errors: Some(Errors::Independent([0.03, 124.58, 1293.23, 0.02, 0.02])),
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
        params: CHINCHILLA_PARAMS,
        tokens: CHINCHILLA_TOKENS,
        // data_analysis.ipynb prints these; the paper's α and β have larger ones.
        errors: Some(Errors::Independent([0.026, 124.5, 1293.3, 0.015, 0.021])),
    },
    LossLaw {
        name: "hoffmann2022_rounded",
        source: "Hoffmann et al. 2022, arXiv:2203.15556, as printed",
        e: 1.69,
        a: 406.4,
        b: 410.7,
        alpha: 0.34,
        beta: 0.28,
        params: CHINCHILLA_PARAMS,
        tokens: CHINCHILLA_TOKENS,
        errors: None,
    },
    LossLaw {
        name: "hoffmann2022",
        source: "Hoffmann et al. 2022, arXiv:2203.15556, precision of its TeX source",
        e: 1.6933737,
        a: 406.40102,
        b: 410.72283,
        alpha: 0.33917084,
        beta: 0.2849083,
        params: CHINCHILLA_PARAMS,
        tokens: CHINCHILLA_TOKENS,
        errors: None,
    },
    LossLaw {
        name: "muennighoff2023",
        source: "Muennighoff et al. 2023, arXiv:2305.16264, github.com/huggingface/datablations",
        // exp of the logarithms 0.6254804, 6.255414 and 7.3049974, with which its notebook
        // computes.
        e: 1.8691436784054858,
        a: 520.8249516599187,
        b: 1487.716093782861,
        alpha: 0.3526596,
        beta: 0.3526596,
        params: (0.0, 9e9),
        tokens: (0.0, 9e11),
        errors: None,
    },
];

/// The fit called `name`; `None` if no fit has this name.
pub fn law(name: &str) -> Option<&'static LossLaw> {
    LAWS.iter().find(|law| law.name == name)
}

/// Constants of a user's own fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UserConstants {
    /// E, in nats a token; 0 or more.
    pub e: f64,
    /// A, above 0.
    pub a: f64,
    /// B, above 0.
    pub b: f64,
    /// α, the exponent of N; above 0.
    pub alpha: f64,
    /// β, the exponent of D; above 0.
    pub beta: f64,
    /// Covariance of E, A, B, α and β in this order. Without one no interval is given.
    pub covariance: Option<[[f64; 5]; 5]>,
}

/// The error for constants that no fit can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidConstants {
    /// A constant is not finite or has the wrong sign.
    #[error("the loss's constant {name} is {value}, expected a finite number {expected}")]
    Constant {
        /// Name of the constant, as in [`UserConstants`].
        name: &'static str,
        /// Value of the constant.
        value: f64,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// The matrix is not a covariance: it is not symmetric, or a correlation is above 1.
    #[error(
        "the covariance of {row} and {column} is {value}, expected a symmetric matrix with no correlation above 1"
    )]
    Covariance {
        /// Name of the row's constant.
        row: &'static str,
        /// Name of the column's constant.
        column: &'static str,
        /// The entry of the matrix.
        value: f64,
    },
}

/// The constants' names, in the order of [`Errors`].
const NAMES: [&str; 5] = ["e", "a", "b", "alpha", "beta"];

impl TryFrom<UserConstants> for LossLaw {
    type Error = InvalidConstants;

    /// The law of these constants. The range of the fit's runs is unknown, so every N and D counts
    /// as inside.
    ///
    /// # Errors
    /// [`InvalidConstants`] names the first constant or entry that is wrong.
    fn try_from(own: UserConstants) -> Result<LossLaw, InvalidConstants> {
        let constants = [own.e, own.a, own.b, own.alpha, own.beta];
        for (at, (name, value)) in NAMES.into_iter().zip(constants).enumerate() {
            let (holds, expected) = if at == 0 {
                (value >= 0.0, "of at least 0")
            } else {
                (value > 0.0, "above 0")
            };

            if !holds || !value.is_finite() {
                return Err(InvalidConstants::Constant {
                    name,
                    value,
                    expected,
                });
            }
        }

        if let Some(covariance) = &own.covariance {
            check_covariance(covariance)?;
        }

        let UserConstants {
            e,
            a,
            b,
            alpha,
            beta,
            covariance,
        } = own;

        let everywhere = (0.0, f64::INFINITY);
        let (name, source) = ("user", "constants of the user's own");
        let errors = covariance.map(Errors::Covariance);

        Ok(LossLaw {
            name,
            source,
            e,
            a,
            b,
            alpha,
            beta,
            params: everywhere,
            tokens: everywhere,
            errors,
        })
    }
}

/// Checks that a matrix is symmetric, with variances of at least 0 and correlations of at most 1.
fn check_covariance(covariance: &[[f64; 5]; 5]) -> Result<(), InvalidConstants> {
    for (i, row) in covariance.iter().enumerate() {
        for (j, &value) in row.iter().enumerate().skip(i) {
            // A correlation of exactly 1 may come out above 1 by rounding.
            let most = (row[i] * covariance[j][j]).sqrt() * (1.0 + 1e-9);
            let holds = row[i] >= 0.0 && value == covariance[j][i] && value.abs() <= most;

            if !holds || !value.is_finite() {
                return Err(InvalidConstants::Covariance {
                    row: NAMES[i],
                    column: NAMES[j],
                    value,
                });
            }
        }
    }
    Ok(())
}
