//! The law by which the effective tokens of sources add up: CES, a constant elasticity of
//! substitution, `D_eff = (Σ_s Y_s^ρ)^(1/ρ)`.
//!
//! `Y_s = Σ q_b·D′(U_b, R_b)` over the buckets of source s of the law. With ρ = 1 the law is a plain
//! sum. With ρ below 1 another source is worth more than more of the same. The law is concave and
//! homogeneous of degree 1. It is fitted by `curate calibrate`. A source of the law may be several
//! sources of the manifest.

/// How the effective tokens of sources add up.
#[derive(Debug, Clone, PartialEq)]
pub struct Law {
    /// ρ, above 0 and at most 1.
    pub rho: f64,
    /// The number of the law's source, by the `origin` of a document or bucket. An origin beyond
    /// the end belongs to source 0.
    pub part_of: Vec<u32>,
}

impl Default for Law {
    /// The plain sum.
    fn default() -> Law {
        Law {
            rho: 1.0,
            part_of: Vec::new(),
        }
    }
}

impl Law {
    /// The number of the law's source for an origin. 0 for all under the plain sum, so that its
    /// figures do not depend on how sources are numbered.
    pub fn part(&self, origin: u32) -> usize {
        if self.rho == 1.0 {
            return 0;
        }
        let part = self.part_of.get(origin as usize);
        part.map_or(0, |part| *part as usize)
    }

    /// D_eff of the effective tokens Y of each of the law's sources.
    pub fn total(&self, parts: &[f64]) -> f64 {
        if self.rho == 1.0 {
            return parts.iter().sum();
        }

        // Relative to the greatest, so that no power overflows.
        let greatest = parts.iter().copied().fold(0.0, f64::max);
        if greatest == 0.0 {
            return 0.0;
        }
        let powers = parts.iter().map(|part| (part / greatest).powf(self.rho));
        greatest * powers.sum::<f64>().powf(1.0 / self.rho)
    }
}

/// Effective tokens of each of a law's sources, while they are summed.
#[derive(Debug, Clone, Default)]
pub struct Parts(Vec<f64>);

impl Parts {
    /// Adds effective tokens of an origin.
    pub fn add(&mut self, law: &Law, origin: u32, tokens: f64) {
        let part = law.part(origin);
        if self.0.len() <= part {
            self.0.resize(part + 1, 0.0);
        }
        self.0[part] += tokens;
    }

    /// D_eff of the sum.
    pub fn total(&self, law: &Law) -> f64 {
        law.total(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(rho: f64) -> Law {
        Law {
            rho,
            part_of: vec![0, 1, 1],
        }
    }

    #[test]
    fn worked_values() {
        assert_eq!(law(1.0).total(&[3.0, 4.0]), 7.0);
        // (√9 + √16)² = 49.
        assert!((law(0.5).total(&[9.0, 16.0]) - 49.0).abs() < 1e-12);
        assert_eq!(law(0.5).total(&[5.0]), 5.0);
        assert_eq!(law(0.5).total(&[5.0, 0.0]), 5.0);
        assert_eq!(law(0.5).total(&[0.0, 0.0]), 0.0);
        assert_eq!(law(0.05).total(&[]), 0.0);
        assert!((law(0.999_999).total(&[3.0, 4.0]) - 7.0).abs() < 1e-4);
        assert!(law(0.05).total(&[1e12, 1e12]).is_finite());
    }

    #[test]
    fn origins_of_one_part_are_substitutes() {
        let law = law(0.5);
        let mut parts = Parts::default();
        for (origin, tokens) in [(1, 7.0), (0, 9.0), (2, 9.0)] {
            parts.add(&law, origin, tokens);
        }
        assert!((parts.total(&law) - 49.0).abs() < 1e-12);
        assert_eq!((law.part(9), Law::default().part(1)), (0, 0));
    }
}
