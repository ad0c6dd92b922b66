//! Cholesky's factorization of a small symmetric matrix.

/// The lower factor of a positive definite matrix, row by row.
pub(super) struct Cholesky {
    factor: Vec<f64>,
    size: usize,
}

impl Cholesky {
    /// Factors a symmetric matrix of `size` × `size`; `None` if it is not positive definite.
    pub(super) fn new(mut matrix: Vec<f64>, size: usize) -> Option<Cholesky> {
        for i in 0..size {
            for j in 0..=i {
                let (above, row) = matrix.split_at(i * size);
                let known = if i == j {
                    &row[..j]
                } else {
                    &above[j * size..j * size + j]
                };
                let rest = row[j] - row[..j].iter().zip(known).map(|(a, b)| a * b).sum::<f64>();

                matrix[i * size + j] = if i != j {
                    rest / matrix[j * size + j]
                } else if rest > 0.0 && rest.is_finite() {
                    rest.sqrt()
                } else {
                    return None;
                };
            }
        }

        Some(Cholesky {
            factor: matrix,
            size,
        })
    }

    /// The x with A·x = `right`.
    pub(super) fn solve(&self, mut right: Vec<f64>) -> Vec<f64> {
        let (factor, size) = (&self.factor, self.size);
        for i in 0..size {
            let known: f64 = (0..i).map(|j| factor[i * size + j] * right[j]).sum();
            right[i] = (right[i] - known) / factor[i * size + i];
        }

        for i in (0..size).rev() {
            let known: f64 = (i + 1..size).map(|j| factor[j * size + i] * right[j]).sum();
            right[i] = (right[i] - known) / factor[i * size + i];
        }
        right
    }

    /// A⁻¹, row by row.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let unit = |i: usize| {
            (0..self.size)
                .map(|j| f64::from(u8::from(i == j)))
                .collect()
        };
        (0..self.size).flat_map(|i| self.solve(unit(i))).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use super::Cholesky;

    #[test]
    fn solves_by_hand() {
        let matrix = vec![4.0, 2.0, 0.6, 2.0, 3.0, 0.4, 0.6, 0.4, 2.0];
        let factor = Cholesky::new(matrix.clone(), 3).unwrap();
        let x = factor.solve(vec![7.2, 6.2, 5.4]);

        for (row, expected) in matrix.chunks(3).zip([7.2, 6.2, 5.4]) {
            let found: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
            assert!((found - expected).abs() < 1e-12);
        }

        let product: f64 = (0..3).map(|k| matrix[k] * factor.inverse()[k * 3]).sum();
        assert!((product - 1.0).abs() < 1e-12);
        assert!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
    }
}
