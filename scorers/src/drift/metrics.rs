//! The distance of two distributions over the same cells, by four metrics.
//!
//! All metrics take shares that sum to one. For a Gaussian whose mean moves by δ of its standard
//! deviations, PSI ≈ δ², KS ≈ 0.4 δ, Wasserstein ≈ δ and JS distance ≈ 0.42 δ (√(δ²/(8 ln 2))):
//! four views of one effect. Cost: linear in the cells.

/// Added to each share before logarithms, so that an empty bin is not infinitely far. With this
/// value PSI is at most 27.6, and 100 documents of a million in a bin that was empty count for
/// 0.0005.
pub const EPSILON: f64 = 1e-6;

/// The population stability index, Σ (p − q) ln(p/q): the Jeffreys divergence (Jeffreys 1946), with
/// each share smoothed to (p + [`EPSILON`]) / (1 + B · [`EPSILON`]). 0 for equal shares, up to 27.6
/// for disjoint ones. Symmetric.
pub fn psi(p: &[f64], q: &[f64]) -> f64 {
    let smooth = |share: f64| (share + EPSILON) / (1.0 + p.len() as f64 * EPSILON);

    p.iter()
        .zip(q)
        .map(|(&p, &q)| (smooth(p) - smooth(q)) * (smooth(p) / smooth(q)).ln())
        .sum()
}

/// The Jensen–Shannon distance (Endres & Schindelin 2003): the root of the divergence in bits. A
/// metric, in \[0, 1\].
pub fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    // 0 · log 0 is 0 here, as its limit is.
    let bits = |own: f64, middle: f64| {
        if own > 0.0 {
            own * (own / middle).log2()
        } else {
            0.0
        }
    };

    let divergence: f64 = p
        .iter()
        .zip(q)
        .map(|(&p, &q)| bits(p, (p + q) / 2.0) + bits(q, (p + q) / 2.0))
        .sum();

    // Rounding may lead out of the range by a little.
    (divergence / 2.0).clamp(0.0, 1.0).sqrt()
}

/// The Kolmogorov–Smirnov statistic at the cells' edges: the largest difference of the shares below
/// one edge. In \[0, 1\]. The statistic of the values themselves is larger by at most the share of
/// one cell.
pub fn kolmogorov_smirnov(p: &[f64], q: &[f64]) -> f64 {
    below(p, q).map(f64::abs).fold(0.0, f64::max)
}

/// The Wasserstein-1 distance with each value moved to the centre of its cell, in the scores' unit
/// (Vallender 1974: the area between the distribution functions). Exact where cells hold one value.
/// Movement within a cell is not seen, and values beyond the baseline's range count as in the last
/// cell.
pub fn wasserstein(p: &[f64], q: &[f64], centers: &[f64]) -> f64 {
    centers
        .windows(2)
        .zip(below(p, q))
        .map(|(pair, difference)| difference.abs() * (pair[1] - pair[0]))
        .sum()
}

/// The difference of the shares up to each cell, the cell included.
fn below<'a>(p: &'a [f64], q: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    p.iter().zip(q).scan(0.0, |sum, (p, q)| {
        *sum += p - q;
        Some(*sum)
    })
}

#[cfg(test)]
mod tests {
    use super::super::special::{chi_squared_quantile, normal_quantile, normal_share};
    use super::*;

    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn worked_by_hand() {
        let (p, q) = ([0.5, 0.3, 0.2], [0.4, 0.4, 0.2]);
        // 0.1 ln 1.25 + 0.1 ln 4/3
        near(psi(&p, &q), 0.1 * (1.25f64 * 4.0 / 3.0).ln(), 1e-6);

        near(kolmogorov_smirnov(&p, &q), 0.1, 1e-15);
        near(wasserstein(&p, &q, &[0.0, 1.0, 10.0]), 0.1, 1e-15);
        near(
            wasserstein(&p, &[0.4, 0.3, 0.3], &[0.0, 1.0, 10.0]),
            1.0,
            1e-15,
        );

        // Half in common: divergence 1/2 bit.
        near(
            jensen_shannon(&[0.5, 0.5, 0.0], &[0.5, 0.0, 0.5]),
            0.5f64.sqrt(),
            1e-15,
        );
    }

    #[test]
    fn ranges_are_reached() {
        let (p, q) = ([1.0, 0.0], [0.0, 1.0]);
        near(psi(&p, &q), 2.0 * 1e6f64.ln(), 1e-3);
        assert_eq!(
            (jensen_shannon(&p, &q), kolmogorov_smirnov(&p, &q)),
            (1.0, 1.0)
        );

        for metric in [psi, jensen_shannon, kolmogorov_smirnov] {
            assert_eq!(metric(&p, &p), 0.0);
            near(
                metric(&[0.2, 0.8], &[0.7, 0.3]),
                metric(&[0.7, 0.3], &[0.2, 0.8]),
                1e-12,
            );
        }
    }

    /// A normal distribution of mean 0 and one of mean δ, over `cells` of equal mass of the first.
    fn normals(cells: usize, delta: f64) -> [Vec<f64>; 2] {
        let edges = (1..cells).map(|k| normal_quantile(k as f64 / cells as f64));
        let below: Vec<f64> = [0.0]
            .into_iter()
            .chain(edges.map(|edge| normal_share(edge - delta)))
            .chain([1.0])
            .collect();

        [
            vec![1.0 / cells as f64; cells],
            below.windows(2).map(|pair| pair[1] - pair[0]).collect(),
        ]
    }

    /// The table of shifts by which the gates were chosen: 20 bins of equal mass, mean moved by δ.
    #[test]
    fn a_shift_of_the_mean_is_its_square() {
        let table = [
            (0.02, 0.0004, 0.008),
            (0.05, 0.0025, 0.020),
            (0.1, 0.0098, 0.040),
            (0.2, 0.039, 0.080),
            (0.316, 0.098, 0.125),
            (0.5, 0.245, 0.197),
        ];

        for (delta, expected_psi, expected_ks) in table {
            let [p, q] = normals(20, delta);
            near(psi(&p, &q), expected_psi, 0.01 * expected_psi + 5e-5);
            near(kolmogorov_smirnov(&p, &q), expected_ks, 6e-4);

            near(psi(&p, &q) / (delta * delta), 1.0, 0.03);
            near(
                jensen_shannon(&p, &q) * (8.0 * 2.0f64.ln()).sqrt() / delta,
                1.0,
                0.03,
            );
        }
    }

    /// The density of the standard normal distribution.
    fn density(z: f64) -> f64 {
        (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn a_shift_of_the_mean_is_its_wasserstein_distance() {
        // The mean of a normal between two values is the difference of their densities over the
        // mass between them, here 1/100. At 0 and 1 the quantile is infinite, so the share is kept
        // off by 1e-12.
        let edge = |k: usize| {
            density(normal_quantile(
                (k as f64 / 100.0).clamp(1e-12, 1.0 - 1e-12),
            ))
        };
        let centers: Vec<f64> = (0..100).map(|k| 100.0 * (edge(k) - edge(k + 1))).collect();

        for delta in [0.02, 0.1, 0.5] {
            let [p, q] = normals(100, delta);
            near(wasserstein(&p, &q, &centers) / delta, 1.0, 0.02);
        }
    }

    /// Without any shift, PSI is (1/n + 1/m) χ² with B − 1 degrees of freedom. The table is its
    /// 99.9 % point at 20 bins.
    #[test]
    fn noise_alone_at_each_size() {
        for (n, expected) in [
            (1e3, 0.0876),
            (1e4, 0.0088),
            (1e5, 8.8e-4),
            (1e6, 8.8e-5),
            (1e9, 8.8e-8),
        ] {
            near(
                chi_squared_quantile(0.001, 19.0) * 2.0 / n,
                expected,
                0.005 * expected,
            );
        }
    }
}
