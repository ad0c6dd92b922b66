//! Cross-entropy of rows of logits, with its gradient, as loops over slices.
//!
//! Only training needs it. In operations of the tensor library it is ten passes over
//! `[rows, vocabulary]`, and half of a small model's time. Here it is one pass forward and one
//! backward, over f32 on the CPU.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::lm::ops::{LogSumExp, Loop, add_logits, dispatch, exp, slice};

/// Rows that a thread takes at a time.
const ROWS: usize = 32;

/// `[rows, vocabulary]` logits → −ln p(target) of each row, in nats.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// The target of each row. Each is below the number of columns.
    pub targets: Arc<[u32]>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;
        let fits = self.targets.iter().all(|&id| (id as usize) < columns);
        if rows != self.targets.len() || !fits {
            candle_core::bail!("cross-entropy: the targets do not fit {rows} rows of {columns}");
        }

        let mut states = vec![LogSumExp::EMPTY; rows];
        add_logits(
            slice(logits, layout)?,
            columns,
            0,
            &self.targets,
            &mut states,
        );
        let nats = states.into_iter().map(|state| -state.log_prob()).collect();
        Ok((CpuStorage::F32(nats), rows.into()))
    }

    fn bwd(&self, logits: &Tensor, nats: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let op = Gradient(self.targets.clone());
        logits
            .apply_op3_no_bwd(nats, &gradient.contiguous()?, &op)
            .map(Some)
    }
}

/// Logits, −ln p(target) and the gradient of the latter → the gradient of the logits: the
/// probabilities, less 1 at the target, times the row's gradient.
struct Gradient(Arc<[u32]>);

impl CustomOp3 for Gradient {
    fn name(&self) -> &'static str {
        "cross-entropy-gradient"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        nats: &CpuStorage,
        nats_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = logits_layout.shape().dims2()?;
        let logits = slice(logits, logits_layout)?;
        let nats = slice(nats, nats_layout)?;
        let gradient = slice(gradient, gradient_layout)?;

        let mut out = vec![0f32; rows * columns];
        let blocks = out
            .par_chunks_mut(ROWS * columns)
            .zip(logits.par_chunks(ROWS * columns))
            .zip(nats.par_chunks(ROWS))
            .zip(gradient.par_chunks(ROWS))
            .zip(self.0.par_chunks(ROWS));
        blocks.for_each(|((((out, logits), nats), gradient), targets)| {
            dispatch(GradientRows {
                out,
                logits,
                nats,
                gradient,
                targets,
                columns,
            });
        });
        Ok((CpuStorage::F32(out), (rows, columns).into()))
    }
}

/// The loop of [`Gradient`], over a block of rows.
struct GradientRows<'a> {
    out: &'a mut [f32],
    logits: &'a [f32],
    nats: &'a [f32],
    gradient: &'a [f32],
    targets: &'a [u32],
    columns: usize,
}

impl Loop for GradientRows<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (row, out) in self.out.chunks_exact_mut(self.columns).enumerate() {
            let logits = &self.logits[row * self.columns..(row + 1) * self.columns];
            let (target, gradient) = (self.targets[row] as usize, self.gradient[row]);

            // The logarithm of the sum of exponentials.
            let log_sum = self.nats[row] + logits[target];
            for (out, &logit) in out.iter_mut().zip(logits) {
                *out = exp::<FMA>(logit - log_sum) * gradient;
            }
            out[target] -= gradient;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    #[test]
    fn agrees_with_the_tensor_library() {
        let (rows, columns) = (37, 50);
        let value = |i: usize| ((i * 7919 % 1009) as f32 / 1009.0 - 0.5) * 20.0;
        let logits: Vec<f32> = (0..rows * columns).map(value).collect();
        let logits =
            Var::from_tensor(&Tensor::from_vec(logits, (rows, columns), &Device::Cpu).unwrap())
                .unwrap();
        let targets: Vec<u32> = (0..rows as u32).map(|row| row * 13 % 50).collect();

        let there = Tensor::new(targets.as_slice(), &Device::Cpu).unwrap();
        let expected = candle_nn::loss::cross_entropy(logits.as_tensor(), &there).unwrap();
        let op = CrossEntropy {
            targets: targets.into(),
        };
        let found = logits.apply_op1(op).unwrap().mean_all().unwrap();
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let gap = |a: &Tensor, b: &Tensor| {
            let pairs = values(a).into_iter().zip(values(b));
            pairs.fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()))
        };
        assert!(gap(&found, &expected) < 1e-5);

        let gradient = |loss: &Tensor| loss.backward().unwrap().get(&logits).unwrap().clone();
        assert_eq!(gradient(&found).dtype(), DType::F32);
        assert!(gap(&gradient(&found), &gradient(&expected)) < 1e-7);
    }

    #[test]
    fn targets_must_fit() {
        let logits = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        for targets in [vec![0], vec![0, 3]] {
            let op = CrossEntropy {
                targets: targets.into(),
            };
            assert!(logits.apply_op1(op).is_err());
        }
    }
}
