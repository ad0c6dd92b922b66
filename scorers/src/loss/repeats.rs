//! The worth of repeats, for tokens and for parameters: Muennighoff et al. 2023 (arXiv:2305.16264).
//!
//! The worth of tokens beyond the unique ones decays with R_D*. The worth of parameters beyond the
//! best number for the unique tokens decays with R_N*. Both constants are from
//! github.com/huggingface/datablations.

use super::LossLaw;

/// R_D* of Muennighoff et al. 2023: after this many repeats, one more is worth 1/e of a fresh
/// token.
pub const REPEATS_SCALE: f64 = 15.387756;

/// R_N* of Muennighoff et al. 2023: the same for parameters beyond the best number for the unique
/// tokens.
pub const PARAMS_REPEATS_SCALE: f64 = 5.309743;

/// D′(U, R): the number of fresh tokens that are worth as much as `epochs` = 1 + R passes over
/// `unique` tokens. Up to one epoch this is `unique · epochs`.
///
/// ```
/// use curate_scorers::loss::unique_equivalent;
///
/// assert_eq!(unique_equivalent(100.0, 0.5), 50.0);
/// assert!((unique_equivalent(100.0, 4.0) - 372.5673).abs() < 1e-4);
/// ```
pub fn unique_equivalent(unique: f64, epochs: f64) -> f64 {
    decayed(unique, epochs, REPEATS_SCALE)
}

/// The worth of `unit` seen `times` times, where repeats decay with `scale`.
fn decayed(unit: f64, times: f64, scale: f64) -> f64 {
    if times <= 1.0 {
        return unit * times;
    }

    unit + unit * scale * -(-(times - 1.0) / scale).exp_m1()
}

/// The worth of `more` epochs after `epochs`, in tokens: the difference of two values of
/// [`unique_equivalent`], without its cancellation.
pub(super) fn more_epochs(unique: f64, epochs: f64, more: f64) -> f64 {
    // What is left of the first epoch counts in full.
    let fresh = (1.0 - epochs).clamp(0.0, more);
    let repeated = more - fresh;

    // One repeat after those so far is worth e^(−R/R*).
    let worth = (-(epochs - 1.0).max(0.0) / REPEATS_SCALE).exp();

    unique * fresh + unique * worth * REPEATS_SCALE * -(-repeated / REPEATS_SCALE).exp_m1()
}

impl LossLaw {
    /// The loss of `params` parameters trained on `tokens` tokens, `unique` of them different, in
    /// nats a token. D′ takes the place of D and N′ the place of N. The worth of parameters beyond
    /// the best number for `unique` tokens decays too.
    pub fn repeated_loss(&self, params: f64, tokens: f64, unique: f64) -> f64 {
        let unique = unique.min(tokens);

        let useful = self.params_of_optimum(unique).min(params);
        let params = decayed(useful, params / useful, PARAMS_REPEATS_SCALE);

        self.loss(params, unique_equivalent(unique, tokens / unique))
    }
}
