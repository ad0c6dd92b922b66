//! The laws that tie the tokens of each bucket to a held-out loss, with their gradients.
//!
//! All but [`Law::Additive`] have the form L = E + X^−β, where X stands for effective tokens in
//! millions and the laws differ in X:
//!
//! | law | X |
//! |---|---|
//! | [`Law::Weighted`] | e^(−a/β)·Σ v_b·x_b with fixed v: the baselines |
//! | [`Law::Linear`] | Σ e^(w_b)·x_b |
//! | [`Law::Ces`] | (Σ_s Y_s^ρ)^(1/ρ), where Y_s = Σ e^(w_b)·x_b over the buckets of source s |
//! | [`Law::Geometric`] | ln X = ln D + Σ h_b·w_b, with h the shares: Ye et al., ICLR 2025 (arXiv:2403.16952) |
//!
//! The additive law is E + 1/Σ e^(c_b)·h_b^γ + e^a·D^−β, after Shukor et al. 2025
//! (arXiv:2507.09404): a mixture has a floor of its own. CES (constant elasticity of substitution)
//! makes sources complements: a token of another source is worth more than one more of the same.
//! At ρ = 1 it is the linear law.

/// Tokens in millions, below which a bucket counts as absent. Its logarithm enters no derivative.
const ABSENT: f64 = 1e-30;

/// A law of the loss of a mixture.
#[derive(Debug, Clone, PartialEq)]
pub enum Law {
    /// Effective tokens with fixed weights, one for each bucket, above 0. With all weights 1 and
    /// D′ as tokens this is the baseline of equal worth.
    Weighted(Vec<f64>),
    /// A token of a bucket has one worth, wherever it is used.
    Linear,
    /// The linear law within each source, CES between sources.
    Ces {
        /// The number of the source of each bucket, from 0 without a gap.
        sources: Vec<usize>,
    },
    /// The geometric mean of worths by share. Used as a check only.
    Geometric,
    /// A floor for each mixture and one common term of its tokens. Used as a check only.
    Additive,
}

impl Law {
    /// The name of the law in files and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Law::Weighted(_) => "weighted",
            Law::Linear => "linear",
            Law::Ces { .. } => "ces_sources",
            Law::Geometric => "geometric",
            Law::Additive => "additive",
        }
    }

    /// The number of fitted parameters for `buckets` buckets. The first two are always ln E and
    /// ln β. The worths w of the buckets follow, except in [`Law::Weighted`], then a law's own
    /// parameters: `a` of the weighted law, ρ of CES, ln γ and `a` of the additive law.
    pub fn params(&self, buckets: usize) -> usize {
        match self {
            Law::Weighted(_) => 3,
            Law::Linear | Law::Geometric => 2 + buckets,
            Law::Ces { .. } => 3 + buckets,
            Law::Additive => 4 + buckets,
        }
    }

    /// The number of parameters that are worths of buckets, which begin at index 2.
    pub(super) fn worths(&self, buckets: usize) -> usize {
        match self {
            Law::Weighted(_) => 0,
            _ => buckets,
        }
    }

    /// The least and the greatest value of each parameter. `least_loss` is the least loss of the
    /// runs, which E stays below.
    pub(super) fn bounds(&self, buckets: usize, least_loss: f64) -> Vec<(f64, f64)> {
        let mut bounds = vec![(-16.0, 8.0); self.params(buckets)];
        bounds[0] = ((1e-3f64).ln(), (0.98 * least_loss).ln());
        bounds[1] = ((0.02f64).ln(), (1.5f64).ln());

        match self {
            Law::Ces { .. } => bounds[2 + buckets] = (0.05, 1.0),
            Law::Additive => bounds[2 + buckets] = ((0.05f64).ln(), 0.0),
            Law::Weighted(_) | Law::Linear | Law::Geometric => {}
        }

        bounds
    }

    /// The logarithm of the loss of a run with `tokens` millions in each bucket. `gradient`
    /// (of length [`params`](Self::params)) receives the derivatives by the parameters.
    ///
    /// At least one bucket must have tokens.
    pub fn ln_loss(&self, theta: &[f64], tokens: &[f64], gradient: &mut [f64]) -> f64 {
        if let Law::Additive = self {
            return additive(theta, tokens, gradient);
        }

        let (e, beta) = (theta[0].exp(), theta[1].exp());
        let ln_x = self.ln_effective(theta, tokens, gradient);
        // The weighted law has its scale in front of the power, the others inside of X.
        let scale = match self {
            Law::Weighted(_) => theta[2],
            _ => 0.0,
        };
        let power = (scale - beta * ln_x).exp();
        let loss = e + power;

        gradient[0] = e / loss;
        gradient[1] = -beta * ln_x * power / loss;
        match self {
            Law::Weighted(_) => gradient[2] = power / loss,
            _ => {
                for slope in &mut gradient[2..] {
                    *slope *= -beta * power / loss;
                }
            }
        }

        loss.ln()
    }

    /// ln X of a run with `tokens` millions in each bucket: the logarithm of its effective tokens,
    /// before they are pinned to a reference. `gradient[2..]` receives the derivatives by the
    /// worths and, for CES, by ρ. The additive law has no X and panics.
    pub(super) fn ln_effective(&self, theta: &[f64], tokens: &[f64], gradient: &mut [f64]) -> f64 {
        match self {
            Law::Weighted(weights) => {
                let total: f64 = weights.iter().zip(tokens).map(|(v, x)| v * x).sum();
                total.ln()
            }
            Law::Linear => linear(&theta[2..], tokens, &mut gradient[2..]),
            Law::Ces { sources } => ces(sources, &theta[2..], tokens, &mut gradient[2..]),
            Law::Geometric => geometric(&theta[2..], tokens, &mut gradient[2..]),
            Law::Additive => unreachable!("the additive law has no effective tokens"),
        }
    }
}

/// ln Σ e^w·x, with its derivatives by w.
fn linear(worths: &[f64], tokens: &[f64], gradient: &mut [f64]) -> f64 {
    let mut total = 0.0;
    for ((slope, worth), tokens) in gradient.iter_mut().zip(worths).zip(tokens) {
        *slope = worth.exp() * tokens;
        total += *slope;
    }

    for slope in gradient.iter_mut() {
        *slope /= total;
    }
    total.ln()
}

/// ln D + Σ h·w, with its derivatives by w, which are the shares h.
fn geometric(worths: &[f64], tokens: &[f64], gradient: &mut [f64]) -> f64 {
    let total: f64 = tokens.iter().sum();
    let mut ln_x = total.ln();

    for ((slope, worth), tokens) in gradient.iter_mut().zip(worths).zip(tokens) {
        *slope = tokens / total;
        ln_x += *slope * worth;
    }
    ln_x
}

/// ln (Σ_s Y_s^ρ)^(1/ρ). `params` holds the worths and ρ, `gradient` their derivatives.
fn ces(sources: &[usize], params: &[f64], tokens: &[f64], gradient: &mut [f64]) -> f64 {
    let (worths, rho) = (&params[..sources.len()], params[sources.len()]);

    // Y of each source, in millions of effective tokens.
    let count = sources.iter().max().map_or(0, |last| last + 1);
    let mut amounts = vec![0.0; count];
    for (bucket, &source) in sources.iter().enumerate() {
        gradient[bucket] = worths[bucket].exp() * tokens[bucket];
        amounts[source] += gradient[bucket];
    }

    let (mut sum, mut weighted) = (0.0, 0.0);
    for &amount in amounts.iter().filter(|&&amount| amount > ABSENT) {
        let power = amount.powf(rho);
        sum += power;
        weighted += power * amount.ln();
    }

    for (bucket, &source) in sources.iter().enumerate() {
        let amount = amounts[source];
        gradient[bucket] *= if amount > ABSENT {
            amount.powf(rho - 1.0) / sum
        } else {
            0.0
        };
    }
    gradient[sources.len()] = -sum.ln() / (rho * rho) + weighted / (rho * sum);

    sum.ln() / rho
}

/// ln (E + 1/Σ e^c·h^γ + e^a·D^−β), with all derivatives.
fn additive(theta: &[f64], tokens: &[f64], gradient: &mut [f64]) -> f64 {
    let buckets = tokens.len();
    let (e, beta) = (theta[0].exp(), theta[1].exp());
    let (gamma, a) = (theta[2 + buckets].exp(), theta[3 + buckets]);

    let total: f64 = tokens.iter().sum();
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (bucket, &tokens) in tokens.iter().enumerate() {
        let share = tokens / total;
        gradient[2 + bucket] = 0.0;
        if share > ABSENT {
            let term = (theta[2 + bucket] + gamma * share.ln()).exp();
            gradient[2 + bucket] = term;
            sum += term;
            weighted += term * share.ln();
        }
    }

    let power = (a - beta * total.ln()).exp();
    let loss = e + 1.0 / sum + power;

    gradient[0] = e / loss;
    gradient[1] = -beta * total.ln() * power / loss;
    for slope in &mut gradient[2..2 + buckets] {
        *slope *= -1.0 / (sum * sum * loss);
    }
    gradient[2 + buckets] = -gamma * weighted / (sum * sum * loss);
    gradient[3 + buckets] = power / loss;

    loss.ln()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn laws() -> Vec<Law> {
        vec![
            Law::Weighted(vec![0.5, 1.0, 0.2, 0.9, 0.4]),
            Law::Linear,
            Law::Ces {
                sources: vec![0, 0, 1, 2, 1],
            },
            Law::Geometric,
            Law::Additive,
        ]
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for law in laws() {
            for _ in 0..50 {
                let mut tokens: Vec<f64> = (0..5).map(|_| random.random_range(0.01..3.0)).collect();
                // A bucket and a whole source may be absent from a run.
                tokens[random.random_range(0..5)] = 0.0;
                let mut theta: Vec<f64> = (0..law.params(5))
                    .map(|_| random.random_range(-1.5..0.5))
                    .collect();
                if let Law::Ces { .. } = law {
                    theta[7] = random.random_range(0.1..1.0);
                }

                let mut gradient = vec![0.0; theta.len()];
                law.ln_loss(&theta, &tokens, &mut gradient);

                for index in 0..theta.len() {
                    let at = |step: f64| {
                        let mut moved = theta.clone();
                        moved[index] += step;
                        law.ln_loss(&moved, &tokens, &mut vec![0.0; theta.len()])
                    };
                    let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                    assert!(
                        (slope - gradient[index]).abs() < 1e-8,
                        "{} {index}: {slope} {}",
                        law.name(),
                        gradient[index]
                    );
                }
            }
        }
    }

    #[test]
    fn ces_at_one_is_linear() {
        let (tokens, worths) = ([0.3, 0.0, 2.0, 0.7, 0.1], [-1.0, 0.2, -3.0, 0.0, -0.5]);
        let ces = Law::Ces {
            sources: vec![0, 0, 1, 2, 1],
        };

        let theta = [&[0.1, -1.2][..], &worths, &[1.0]].concat();
        let with = ces.ln_loss(&theta, &tokens, &mut [0.0; 8]);
        let without = Law::Linear.ln_loss(&theta[..7], &tokens, &mut [0.0; 7]);
        assert!((with - without).abs() < 1e-15);
    }
}
