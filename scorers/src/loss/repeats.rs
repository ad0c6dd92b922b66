//! What repeats are worth: Muennighoff et al. 2023 (arXiv:2305.16264), for tokens and for
//! parameters.
//!
//! Tokens beyond the unique ones decay with R_D*, parameters beyond those that are best for the
//! unique tokens with R_N*; both constants are of github.com/huggingface/datablations.

use super::LossLaw;

/// R_D* of Muennighoff et al. 2023: after this many repeats, one more is worth 1/e of a fresh
/// token.
pub const REPEATS_SCALE: f64 = 15.387756;

/// R_N* of Muennighoff et al. 2023: the same for parameters in excess of what the unique tokens are
/// best trained with.
pub const PARAMS_REPEATS_SCALE: f64 = 5.309743;

/// D′(U, R): how many unique tokens `epochs` = 1 + R passes over `unique` tokens are worth;
/// `unique · epochs` up to one.
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

/// `unit` and what its repeats are worth under a scale of decay.
fn decayed(unit: f64, times: f64, scale: f64) -> f64 {
    if times <= 1.0 {
        return unit * times;
    }
    unit + unit * scale * -(-(times - 1.0) / scale).exp_m1()
}

/// What another pass of `more` epochs is worth after `epochs`: the difference of two
/// [`unique_equivalent`], without its cancellation.
pub(super) fn more_epochs(unique: f64, epochs: f64, more: f64) -> f64 {
    let fresh = (1.0 - epochs).clamp(0.0, more);
    let repeated = more - fresh;
    let worth = (-(epochs - 1.0).max(0.0) / REPEATS_SCALE).exp();
    unique * fresh + unique * worth * REPEATS_SCALE * -(-repeated / REPEATS_SCALE).exp_m1()
}

impl LossLaw {
    /// The loss of `params` parameters trained on `tokens` tokens of which `unique` differ: D′ in
    /// place of D and N′ in place of N, where parameters beyond the best number for `unique` tokens
    /// decay as well.
    pub fn repeated_loss(&self, params: f64, tokens: f64, unique: f64) -> f64 {
        let unique = unique.min(tokens);
        let useful = self.params_of_optimum(unique).min(params);
        let params = decayed(useful, params / useful, PARAMS_REPEATS_SCALE);
        self.loss(params, unique_equivalent(unique, tokens / unique))
    }
}
