//! Budgets: the best N and D for a given compute, the tokens or parameters that a loss takes, what
//! is still missing of them, and what the next tokens of one source would bring.
//!
//! Compute is `C = 6·N·D`; the optimum is the closed form of Hoffmann et al. 2022, §3.3
//! (arXiv:2203.15556).

use super::repeats::more_epochs;
use super::{LossLaw, unique_equivalent};

/// A loss that takes more tokens than this cannot be had. The largest disclosed set has 3.6e13
/// (Qwen3); close to the asymptote the law answers with any number at all, and none of its digits
/// is known.
pub const TOKENS_MAX: f64 = 1e16;

/// The parameters that are out of reach in the same way.
const PARAMS_MAX: f64 = 1e16;

/// The best parameters and tokens for a budget of compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimum {
    /// N.
    pub params: f64,
    /// D.
    pub tokens: f64,
    /// Their loss, nats a token.
    pub loss: f64,
}

/// A loss that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "a loss of {target} cannot be had: it takes {needed:.3e} {what}, and however many there are it stays above {asymptote}"
)]
pub struct Infeasible {
    /// The loss asked for.
    pub target: f64,
    /// The loss with no end of what is varied, `E + A/N^α` where that is tokens.
    pub asymptote: f64,
    /// What the law asks for; infinite at and below the asymptote.
    pub needed: f64,
    /// What is varied, `tokens` or `parameters`.
    pub what: &'static str,
}

/// A source, or a bucket of it, as far as it is used already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Supply {
    /// Its quality, (0, 1].
    pub q: f64,
    /// U: its tokens, each document once.
    pub unique: f64,
    /// Epochs over it so far.
    pub epochs: f64,
}

/// What more tokens bring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Marginal {
    /// Effective tokens gained.
    pub d_eff: f64,
    /// Loss saved, nats a token.
    pub loss: f64,
}

impl Supply {
    /// q·D′: what it is worth so far.
    pub fn d_eff(&self) -> f64 {
        self.q * unique_equivalent(self.unique, self.epochs)
    }
}

impl LossLaw {
    /// The parameters and tokens with the least loss for `flops` = 6·N·D.
    pub fn optimum(&self, flops: f64) -> Optimum {
        let sum = self.alpha + self.beta;
        let (g, c) = (self.balance(), flops / 6.0);
        let (params, tokens) = (g * c.powf(self.beta / sum), c.powf(self.alpha / sum) / g);
        Optimum {
            params,
            tokens,
            loss: self.loss(params, tokens),
        }
    }

    /// G = (αA/(βB))^(1/(α+β)).
    fn balance(&self) -> f64 {
        (self.alpha * self.a / (self.beta * self.b)).powf(1.0 / (self.alpha + self.beta))
    }

    /// The parameters of the optimum that has `tokens` tokens.
    pub(super) fn params_of_optimum(&self, tokens: f64) -> f64 {
        let g = self.balance();
        (tokens * g).powf(self.beta / self.alpha) * g
    }

    /// The tokens with which `params` parameters reach the loss `target`.
    ///
    /// # Errors
    /// [`Infeasible`] if no number of tokens does, or only more than [`TOKENS_MAX`].
    pub fn tokens_for(&self, target: f64, params: f64) -> Result<f64, Infeasible> {
        let asymptote = self.e + self.a / params.powf(self.alpha);
        let needed = inverse(self.b, self.beta, target - asymptote);
        let error = Infeasible {
            target,
            asymptote,
            needed,
            what: "tokens",
        };
        if needed <= TOKENS_MAX {
            Ok(needed)
        } else {
            Err(error)
        }
    }

    /// The parameters with which `tokens` tokens reach the loss `target`.
    ///
    /// # Errors
    /// [`Infeasible`] if no number of parameters does, or only more than 1e16.
    pub fn params_for(&self, target: f64, tokens: f64) -> Result<f64, Infeasible> {
        let asymptote = self.e + self.b / tokens.powf(self.beta);
        let needed = inverse(self.a, self.alpha, target - asymptote);
        let error = Infeasible {
            target,
            asymptote,
            needed,
            what: "parameters",
        };
        if needed <= PARAMS_MAX {
            Ok(needed)
        } else {
            Err(error)
        }
    }

    /// The effective tokens still missing for the loss `target` with `d_eff` at hand; none where it
    /// is reached.
    ///
    /// # Errors
    /// As [`tokens_for`](Self::tokens_for).
    pub fn missing_tokens(&self, target: f64, params: f64, d_eff: f64) -> Result<f64, Infeasible> {
        Ok((self.tokens_for(target, params)? - d_eff).max(0.0))
    }

    /// What `tokens` more of one source bring to a mixture worth `d_eff`, which holds what is used
    /// of it: repeats as soon as the first epoch is over. The loss saved is the same for every N.
    pub fn next_tokens(&self, d_eff: f64, supply: &Supply, tokens: f64) -> Marginal {
        if supply.unique <= 0.0 {
            return Marginal {
                d_eff: 0.0,
                loss: 0.0,
            };
        }
        let gained = supply.q * more_epochs(supply.unique, supply.epochs, tokens / supply.unique);
        Marginal {
            d_eff: gained,
            loss: self.delta_loss(d_eff, d_eff + gained),
        }
    }
}

/// x where `coefficient / x^exponent` = `gap`; infinite where the gap is nothing or less.
fn inverse(coefficient: f64, exponent: f64, gap: f64) -> f64 {
    if gap > 0.0 {
        (coefficient / gap).powf(1.0 / exponent)
    } else {
        f64::INFINITY
    }
}
