//! Tails of the distributions by which drift is judged: χ², Kolmogorov's, the binomial.
//!
//! Incomplete gamma and beta functions are computed by series and continued fraction (Abramowitz &
//! Stegun 6.5.29, 6.5.31, 26.5.8; Lentz's evaluation), to about 1e-12 for the degrees of freedom
//! met here. Quantiles are found by bisection of these functions, so there is one source of error.

/// Relative change at which continued fractions and series stop.
const EPSILON: f64 = 1e-15;
/// Steps of a bisection: more than a double has bits.
const HALVINGS: usize = 200;
/// The most steps of a continued fraction. The incomplete beta function needs about the root of its
/// larger parameter in steps, so this is enough for 1e10 documents.
const STEPS_MAX: usize = 1_000_000;
/// Takes the place of 0 in the denominators of Lentz's method.
const TINY: f64 = 1e-300;

/// The probability that χ² with `df` degrees of freedom is at least `x`.
pub fn chi_squared_tail(x: f64, df: f64) -> f64 {
    if x <= 0.0 || df <= 0.0 {
        1.0
    } else {
        gamma_tail(df / 2.0, x / 2.0)
    }
}

/// The value that χ² with `df` degrees of freedom exceeds with probability `tail`, in (0, 1).
pub fn chi_squared_quantile(tail: f64, df: f64) -> f64 {
    let mut high = df + 1.0;
    // No upper bound is known beforehand.
    while chi_squared_tail(high, df) > tail {
        high *= 2.0;
    }

    bisect(0.0, high, |x| chi_squared_tail(x, df) > tail)
}

/// The asymptotic probability that √(nm/(n+m)) times the two-sample KS statistic is at least
/// `lambda` (Smirnov 1948).
pub fn kolmogorov_tail(lambda: f64) -> f64 {
    // Below 0.2 the alternating series converges slowly, and the answer is 1 to twelve digits.
    if lambda < 0.2 {
        return 1.0;
    }

    let terms = (1..=100).map(|k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(k * k) * lambda * lambda).exp()
    });

    terms.sum::<f64>().clamp(0.0, 1.0)
}

/// The exact interval of a binomial share (Clopper & Pearson 1934): `k` of `n`, at `confidence` in
/// (0, 1). `[0, 1]` where `n` is 0.
pub fn binomial_interval(k: u64, n: u64, confidence: f64) -> [f64; 2] {
    let (tail, hits, misses) = (
        (1.0 - confidence) / 2.0,
        k as f64,
        n.saturating_sub(k) as f64,
    );

    // The tails of the binomial are shares of beta distributions. With no hits the lower tail is
    // empty, with no misses the upper one.
    let low = if k == 0 {
        0.0
    } else {
        bisect(0.0, 1.0, |p| beta_share(hits, misses + 1.0, p) < tail)
    };
    let high = if k >= n {
        1.0
    } else {
        bisect(0.0, 1.0, |p| beta_share(hits + 1.0, misses, p) < 1.0 - tail)
    };

    [low, high]
}

/// The exact two-sided probability of a split at least as uneven as `a` to `b` if both ways are
/// equally likely.
pub fn sign_test(a: u64, b: u64) -> f64 {
    let (few, many) = (a.min(b) as f64, a.max(b) as f64);

    // No split is less uneven than an even one. For 0 to 0 the beta function has no value.
    if a == b {
        1.0
    } else {
        (2.0 * beta_share(many, few + 1.0, 0.5)).min(1.0)
    }
}

/// Halves `[low, high]` until it encloses the point where `is_below` turns from true to false as
/// closely as doubles can. Returns the upper end.
fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;

        // Neighbouring doubles have none between them.
        if middle == low || middle == high {
            break;
        }

        if is_below(middle) {
            low = middle
        } else {
            high = middle
        }
    }
    high
}

/// ln Γ(x) for x > 0: Stirling's series from 15 on, below it by recurrence.
fn ln_gamma(x: f64) -> f64 {
    let (mut product, mut x) = (1.0, x);
    while x < 15.0 {
        product *= x;
        x += 1.0;
    }

    let y = 1.0 / (x * x);
    let series =
        (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x;

    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - f64::ln(product)
}

/// Q(a, x), the upper regularised incomplete gamma function.
fn gamma_tail(a: f64, x: f64) -> f64 {
    let front = (a * x.ln() - x - ln_gamma(a)).exp();

    // The series converges fast up to a + 1, the continued fraction beyond.
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * EPSILON {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }

    let steps = (1..).map(|i: i32| {
        let i = f64::from(i);
        (-i * (i - a), x + 2.0 * i + 1.0 - a)
    });
    (front / lentz(x + 1.0 - a, steps)).clamp(0.0, 1.0)
}

/// I_x(a, b), the regularised incomplete beta function: the share of a Beta(a, b) below `x`.
fn beta_share(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }

    // The continued fraction converges fast below the mean, so above it the mirror image is used.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_share(b, a, 1.0 - x);
    }

    let front =
        (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    front / lentz(1.0, (1..).map(|i| beta_step(a, b, x, i)))
}

/// Step `i`, from 1, of the continued fraction of the incomplete beta function (26.5.8).
fn beta_step(a: f64, b: f64, x: f64, i: u32) -> (f64, f64) {
    let m = f64::from(i / 2);
    match i % 2 {
        0 => (m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)), 1.0),
        _ => (
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
            1.0,
        ),
    }
}

/// The continued fraction b0 + a1/(b1 + a2/(b2 + …)) by the modified method of Lentz. `steps` gives
/// the pairs (a1, b1), (a2, b2), …
fn lentz(b0: f64, steps: impl Iterator<Item = (f64, f64)>) -> f64 {
    let nonzero = |x: f64| if x.abs() < TINY { TINY } else { x };

    let (mut value, mut c, mut d) = (nonzero(b0), nonzero(b0), 0.0);
    for (a, b) in steps.take(STEPS_MAX) {
        d = 1.0 / nonzero(b + a * d);
        c = nonzero(b + a / c);
        value *= c * d;

        if (c * d - 1.0).abs() < EPSILON {
            break;
        }
    }

    value
}

/// The share of a standard normal distribution below `z`.
#[cfg(test)]
pub(crate) fn normal_share(z: f64) -> f64 {
    let tail = chi_squared_tail(z * z, 1.0) / 2.0;
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// The value below which a standard normal distribution has the share `p`, in (0, 1).
#[cfg(test)]
pub(crate) fn normal_quantile(p: f64) -> f64 {
    bisect(-40.0, 40.0, |z| normal_share(z) < p)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that two numbers differ by at most `tolerance`.
    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn tails_have_closed_forms() {
        for x in [0.1, 1.0, 5.0, 30.0, 200.0] {
            near(chi_squared_tail(x, 2.0) / (-x / 2.0).exp(), 1.0, 1e-12);
            near(
                chi_squared_tail(x, 4.0) / ((1.0 + x / 2.0) * (-x / 2.0).exp()),
                1.0,
                1e-12,
            );
        }

        near(normal_share(1.959963984540054), 0.975, 1e-12);
        near(normal_quantile(0.025), -1.959963984540054, 1e-9);
        assert_eq!(
            (chi_squared_tail(0.0, 3.0), chi_squared_tail(5.0, 0.0)),
            (1.0, 1.0)
        );

        near(ln_gamma(0.5), std::f64::consts::PI.ln() / 2.0, 1e-13);
        near(
            ln_gamma(101.0),
            (1..=100).map(|n| f64::from(n).ln()).sum(),
            1e-10,
        );
    }

    /// Values from the NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        near(chi_squared_quantile(0.001, 19.0), 43.820, 5e-4);
        near(chi_squared_quantile(0.05, 19.0), 30.144, 5e-4);
        near(chi_squared_quantile(0.05, 1.0), 3.841, 5e-4);
        near(chi_squared_quantile(0.975, 100.0), 74.222, 5e-4);
    }

    #[test]
    fn kolmogorov_tail_at_its_critical_values() {
        near(kolmogorov_tail(1.3581), 0.05, 1e-5);
        near(kolmogorov_tail(1.9495), 0.001, 1e-6);
        assert_eq!((kolmogorov_tail(0.0), kolmogorov_tail(40.0)), (1.0, 0.0));
    }

    #[test]
    fn binomial_bounds_leave_equal_tails() {
        // k = 0: (1 − p)^n = 0.025.
        let [low, high] = binomial_interval(0, 1000, 0.95);
        near(low, 0.0, 0.0);
        near(high, 1.0 - 0.025f64.powf(1e-3), 1e-12);

        // Summed by hand: at the bounds, three or more and three or fewer of twenty have
        // probability 0.025.
        let [low, high] = binomial_interval(3, 20, 0.95);
        let upto = |k: u64, p: f64| -> f64 {
            let choose = |i: u64| {
                (0..i)
                    .map(|j| (20 - j) as f64 / (j + 1) as f64)
                    .product::<f64>()
            };

            (0..=k)
                .map(|i| choose(i) * p.powi(i as i32) * (1.0 - p).powi(20 - i as i32))
                .sum()
        };
        near(1.0 - upto(2, low), 0.025, 1e-12);
        near(upto(3, high), 0.025, 1e-12);
        assert_eq!(binomial_interval(0, 0, 0.95), [0.0, 1.0]);

        // Mirror images, at a size where the beta function takes many steps.
        let [a, b] = [
            binomial_interval(400_000, 1_000_000, 0.95),
            binomial_interval(600_000, 1_000_000, 0.95),
        ];
        near(a[0], 1.0 - b[1], 1e-9);
        near(a[1] - a[0], 2.0 * 1.96 * (0.24f64 / 1e6).sqrt(), 3e-6);
    }

    #[test]
    fn sign_test_adds_up_both_tails() {
        near(sign_test(0, 5), 2.0 / 32.0, 1e-12);
        near(sign_test(7, 1), 2.0 * 9.0 / 256.0, 1e-12);
        assert_eq!((sign_test(4, 4), sign_test(0, 0)), (1.0, 1.0));
    }
}
