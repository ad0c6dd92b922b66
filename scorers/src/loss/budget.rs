//! Budgets: the best N and D for a given compute, the tokens or parameters that a loss takes, the
//! tokens that are still missing, and the gain from the next tokens of one source.
//!
//! Compute is `C = 6·N·D`. The optimum is the closed form of Hoffmann et al. 2022, §3.3
//! (arXiv:2203.15556).

use super::repeats::more_epochs;
use super::{LossLaw, unique_equivalent};

/// The most tokens of an answer: a loss that takes more is out of reach. The largest disclosed set
/// has 3.6e13 (Qwen3). Close to the asymptote the law gives arbitrarily large numbers, none of
/// whose digits is known.
pub const TOKENS_MAX: f64 = 1e16;

/// The most parameters of an answer, for the same reason.
const PARAMS_MAX: f64 = 1e16;

/// The best parameters and tokens for a budget of compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimum {
    /// N, the parameters.
    pub params: f64,
    /// D, the tokens.
    pub tokens: f64,
    /// The loss at this N and D, in nats a token.
    pub loss: f64,
}

/// The error for a loss out of reach: no number of tokens or parameters reaches it, or only more
/// than 1e16.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "a loss of {target} is out of reach: it takes {needed:.3e} {what}, and with any number of {what} the loss stays above {asymptote}"
)]
pub struct Infeasible {
    /// The requested loss, in nats a token.
    pub target: f64,
    /// The loss with infinitely many tokens or parameters, in nats a token: `E + A/N^α` for tokens,
    /// `E + B/D^β` for parameters.
    pub asymptote: f64,
    /// The tokens or parameters that the law gives; infinite at and below the asymptote.
    pub needed: f64,
    /// The quantity that varies: `tokens` or `parameters`.
    pub what: &'static str,
}

/// A source, or one bucket of a source, and how far it is used already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Supply {
    /// The quality of the source, (0, 1].
    pub q: f64,
    /// U, the source's tokens, each document counted once.
    pub unique: f64,
    /// Epochs over the source so far; 0 or more.
    pub epochs: f64,
}

/// The gain from more tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Marginal {
    /// Effective tokens gained.
    pub d_eff: f64,
    /// Loss saved, in nats a token.
    pub loss: f64,
}

impl Supply {
    /// q·D′, the effective tokens of the use so far.
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

    /// G = (αA/(βB))^(1/(α+β)), which divides the compute between parameters and tokens.
    fn balance(&self) -> f64 {
        (self.alpha * self.a / (self.beta * self.b)).powf(1.0 / (self.alpha + self.beta))
    }

    /// The parameters of the optimum that has `tokens` tokens.
    pub(super) fn params_of_optimum(&self, tokens: f64) -> f64 {
        let g = self.balance();
        (tokens * g).powf(self.beta / self.alpha) * g
    }

    /// The tokens with which `params` parameters reach the loss `target`, in nats a token.
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

    /// The parameters with which `tokens` tokens reach the loss `target`, in nats a token.
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

    /// The effective tokens still missing for the loss `target`, in nats a token, beyond `d_eff`. 0
    /// where the loss is reached.
    ///
    /// # Errors
    /// As [`tokens_for`](Self::tokens_for).
    pub fn missing_tokens(&self, target: f64, params: f64, d_eff: f64) -> Result<f64, Infeasible> {
        Ok((self.tokens_for(target, params)? - d_eff).max(0.0))
    }

    /// The gain from `tokens` more tokens of one source in a mixture of `d_eff` effective tokens,
    /// which include the source's use so far. After the first epoch more tokens are repeats. The
    /// loss saved is the same for every N.
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

/// The x where `coefficient / x^exponent` = `gap`; infinite where the gap is 0 or less.
fn inverse(coefficient: f64, exponent: f64, gap: f64) -> f64 {
    if gap > 0.0 {
        (coefficient / gap).powf(1.0 / exponent)
    } else {
        f64::INFINITY
    }
}
