//! Scaling laws: the loss of N parameters trained on D tokens, and the worth of repeated tokens.
//!
//! `L(N, D) = E + A/N^α + B/D^β` in nats a token, Hoffmann et al. 2022 (arXiv:2203.15556), with the
//! constants of several fits. Repeats follow Muennighoff et al. 2023 (arXiv:2305.16264):
//! `D' = U + U·R*·(1 − e^(−R/R*))` for U unique tokens seen R times again. All constants were
//! fitted with the tokenizers of their authors. Differences and ratios carry over to another
//! tokenizer, absolute losses do not. Everything is a closed form, at some tens of nanoseconds a
//! call.
//!
//! | where | what |
//! |---|---|
//! | [`LAWS`], [`UserConstants`] | constants, with their errors where published |
//! | [`LossLaw::loss`], [`LossLaw::delta_loss`] | losses and their differences |
//! | [`LossLaw::optimum`] | the best N and D for a budget of compute |
//! | [`LossLaw::tokens_for`], [`LossLaw::params_for`] | the tokens or parameters that a loss takes |
//! | [`LossLaw::delta_loss_interval`] | the interval of a difference of losses |
//! | [`unique_equivalent`], [`LossLaw::repeated_loss`] | the worth of repeats |
//! | [`LossLaw::missing_tokens`], [`LossLaw::next_tokens`] | the missing tokens, and the gain from more tokens of one source |

mod budget;
mod interval;
mod laws;
mod repeats;

pub use budget::{Infeasible, Marginal, Optimum, Supply, TOKENS_MAX};
pub use interval::Interval;
pub use laws::{Errors, InvalidConstants, LAWS, UserConstants, law};
pub use repeats::{PARAMS_REPEATS_SCALE, REPEATS_SCALE, unique_equivalent};

/// One fit of `L(N, D) = E + A/N^α + B/D^β`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossLaw {
    /// The name of the fit in manifests.
    pub name: &'static str,
    /// The publication of the constants.
    pub source: &'static str,
    /// E, the loss that neither parameters nor tokens remove, in nats a token.
    pub e: f64,
    /// A, the coefficient of the parameters' term.
    pub a: f64,
    /// B, the coefficient of the tokens' term.
    pub b: f64,
    /// α, the exponent of N.
    pub alpha: f64,
    /// β, the exponent of D.
    pub beta: f64,
    /// The least and the greatest N of the runs of the fit, roughly.
    pub params: (f64, f64),
    /// The least and the greatest D of the runs of the fit, roughly.
    pub tokens: (f64, f64),
    /// The errors of the constants; `None` where nothing was published.
    pub errors: Option<Errors>,
}

impl LossLaw {
    /// The loss of `params` parameters trained on `tokens` tokens, in nats a token. Infinite if
    /// either is zero.
    pub fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.e + self.a / params.powf(self.alpha) + self.b / tokens.powf(self.beta)
    }

    /// `L(N, tokens) − L(N, other)` in nats a token, which is the same for every N: the loss added
    /// by training on `tokens` instead of `other`. Exact to rounding, however close the two are.
    pub fn delta_loss(&self, tokens: f64, other: f64) -> f64 {
        if tokens == other {
            return 0.0;
        }

        // This is B/D₂^β · ((D₁/D₂)^−β − 1). `exp_m1` gives the second factor without cancellation.
        self.b / other.powf(self.beta) * (-self.beta * log_ratio(tokens, other)).exp_m1()
    }

    /// Whether both numbers are in the range of the fit's runs. Outside of the range a loss is an
    /// extrapolation, and output should say so.
    pub fn in_fitted_range(&self, params: f64, tokens: f64) -> bool {
        (self.params.0..=self.params.1).contains(&params)
            && (self.tokens.0..=self.tokens.1).contains(&tokens)
    }
}

/// ln(a/b), without the rounding error of a quotient close to one.
fn log_ratio(a: f64, b: f64) -> f64 {
    let relative = (a - b) / b;
    if relative.abs() < 0.5 {
        relative.ln_1p()
    } else {
        (a / b).ln()
    }
}

#[cfg(test)]
mod tests;
