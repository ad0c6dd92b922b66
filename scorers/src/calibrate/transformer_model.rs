//! The model of the transformer proxy, with gradients.
//!
//! The operations are those of the tensor library, which knows their gradients. Only the
//! cross-entropy has its own on the CPU. A trained model is a [`TensorSource`], which
//! [`crate::lm::decoder`] reads, so a model is measured by the code that scores documents.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::ops::{rms_norm_slow, silu, softmax};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use candle_nn::rotary_emb::rope_slow;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::calibrate::transformer_proxy::Training;
use crate::lm::LmError;
use crate::lm::cross_entropy::CrossEntropy;
use crate::lm::weights::TensorSource;

/// The decay of the moments of AdamW.
const BETAS: (f64, f64) = (0.9, 0.95);
/// What AdamW takes off the matrices in a step, times the learning rate. Norms do not decay.
const DECAY: f64 = 0.1;
/// The standard deviation of the embedding at the start.
const EMBEDDING: f64 = 0.02;
/// Base of the rotary frequencies.
pub(super) const ROPE_THETA: f64 = 10_000.0;
/// What a norm adds to the mean square.
pub(super) const NORM_EPS: f64 = 1e-6;

/// The weights of a layer. Matrices are `[out, in]`, stacked as the decoder stacks them.
#[derive(Debug)]
struct Layer {
    attention_norm: Var,
    qkv: Var,
    output: Var,
    mlp_norm: Var,
    gate_up: Var,
    down: Var,
}

/// A model in training.
#[derive(Debug)]
pub(super) struct Model {
    heads: usize,
    embedding: Var,
    layers: Vec<Layer>,
    norm: Var,
    /// Cosines and sines, each `[context, half of a head]`.
    angles: [Tensor; 2],
    /// `[context, context]`, −∞ where the column is behind the row.
    mask: Tensor,
}

impl Model {
    /// A model with random weights. The variance of a matrix is 1 over its columns, and that over
    /// twice the layers if it adds to the residual stream.
    pub(super) fn new(
        training: &Training,
        vocabulary: usize,
        dtype: DType,
        device: &Device,
        random: &mut ChaCha8Rng,
    ) -> candle_core::Result<Model> {
        let Training {
            width,
            layers,
            heads,
            inner,
            context,
            ..
        } = *training;

        let there = |values: Vec<f32>, shape: (usize, usize)| {
            Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
        };
        let mut matrix = |rows: usize, columns: usize, deviation: f64| {
            let mut value = || {
                let value: f64 = StandardNormal.sample(&mut *random);
                (value * deviation) as f32
            };
            let values = (0..rows * columns).map(|_| value()).collect();
            Var::from_tensor(&there(values, (rows, columns))?)
        };
        let ones = || Var::ones(width, dtype, device);

        let within = (width as f64).sqrt().recip();
        let added = (2.0 * layers as f64).sqrt().recip();
        let embedding = matrix(vocabulary, width, EMBEDDING)?;
        let mut layer = || {
            Ok(Layer {
                attention_norm: ones()?,
                qkv: matrix(3 * width, width, within)?,
                output: matrix(width, width, within * added)?,
                mlp_norm: ones()?,
                gate_up: matrix(2 * inner, width, within)?,
                down: matrix(width, inner, (inner as f64).sqrt().recip() * added)?,
            })
        };
        let layers = (0..layers)
            .map(|_| layer())
            .collect::<candle_core::Result<_>>()?;

        let half = width / heads / 2;
        let angle = |at: usize| {
            let frequency = ROPE_THETA.powf(-((at % half) as f64) / half as f64);
            (at / half) as f64 * frequency
        };
        let table = |f: fn(f64) -> f64| {
            let values = (0..context * half).map(|at| f(angle(at)) as f32);
            there(values.collect(), (context, half))
        };
        let mask = (0..context * context).map(|at| match at % context > at / context {
            true => f32::NEG_INFINITY,
            false => 0.0,
        });

        Ok(Model {
            heads,
            embedding,
            layers,
            norm: ones()?,
            angles: [table(f64::cos)?, table(f64::sin)?],
            mask: there(mask.collect(), (context, context))?,
        })
    }

    /// AdamW for the matrices, and another one without decay for the norms.
    pub(super) fn optimizers(&self) -> candle_core::Result<[AdamW; 2]> {
        let (mut matrices, mut norms) = (vec![self.embedding.clone()], vec![self.norm.clone()]);
        for layer in &self.layers {
            matrices
                .extend([&layer.qkv, &layer.output, &layer.gate_up, &layer.down].map(Var::clone));
            norms.extend([&layer.attention_norm, &layer.mlp_norm].map(Var::clone));
        }

        let with = |weight_decay| ParamsAdamW {
            beta1: BETAS.0,
            beta2: BETAS.1,
            weight_decay,
            ..ParamsAdamW::default()
        };
        Ok([
            AdamW::new(matrices, with(DECAY))?,
            AdamW::new(norms, with(0.0))?,
        ])
    }

    /// The mean of −ln p over all positions of the windows `[windows, context]`, in nats.
    pub(super) fn loss(&self, inputs: &Tensor, targets: Vec<u32>) -> candle_core::Result<Tensor> {
        let logits = self.hidden(inputs)?.matmul(&self.embedding.t()?)?;
        if logits.device().is_cpu() && logits.dtype() == DType::F32 {
            let op = CrossEntropy {
                targets: targets.into(),
            };
            return logits.apply_op1(op)?.mean_all();
        }

        let rows = targets.len();
        let targets = Tensor::from_vec(targets, rows, logits.device())?;
        candle_nn::loss::cross_entropy(&logits, &targets)
    }

    /// States of the last layer after the final norm: `[tokens, width]`.
    fn hidden(&self, inputs: &Tensor) -> candle_core::Result<Tensor> {
        let (windows, context) = inputs.dims2()?;
        let normed = |x: &Tensor, weight: &Var| rms_norm_slow(x, weight, NORM_EPS as f32);

        let mut x = self.embedding.index_select(&inputs.flatten_all()?, 0)?;
        for layer in &self.layers {
            let qkv = normed(&x, &layer.attention_norm)?.matmul(&layer.qkv.t()?)?;
            let mixed = self.attention(&qkv, windows, context)?;
            x = (x + mixed.matmul(&layer.output.t()?)?)?;

            let gate_up = normed(&x, &layer.mlp_norm)?.matmul(&layer.gate_up.t()?)?;
            let inner = gate_up.dim(1)? / 2;
            let gate = silu(&gate_up.narrow(1, 0, inner)?)?;
            let inner = (gate * gate_up.narrow(1, inner, inner)?)?;
            x = (x + inner.matmul(&layer.down.t()?)?)?;
        }
        normed(&x, &self.norm)
    }

    /// Causal attention: `[tokens, q | k | v]` → `[tokens, width]`.
    fn attention(
        &self,
        qkv: &Tensor,
        windows: usize,
        context: usize,
    ) -> candle_core::Result<Tensor> {
        let width = qkv.dim(1)? / 3;
        let dim = width / self.heads;
        let parts = qkv.reshape((windows, context, 3, self.heads, dim))?;
        let part = |at| {
            parts
                .narrow(2, at, 1)?
                .squeeze(2)?
                .transpose(1, 2)?
                .contiguous()
        };

        let [cos, sin] = &self.angles;
        let q = rope_slow(&(part(0)? * (dim as f64).sqrt().recip())?, cos, sin)?;
        let k = rope_slow(&part(1)?, cos, sin)?;
        let scores = q.matmul(&k.t()?)?.broadcast_add(&self.mask)?;
        let mixed = softmax(&scores, D::Minus1)?.matmul(&part(2)?)?;
        mixed.transpose(1, 2)?.reshape((windows * context, width))
    }

    /// The weights under the names that the decoder looks for.
    pub(super) fn weights(&self) -> candle_core::Result<Weights> {
        let mut weights = BTreeMap::new();
        let mut add = |name: String, tensor: &Tensor| {
            weights.insert(name, tensor.detach());
        };

        add("model.embed_tokens.weight".to_owned(), &self.embedding);
        add("model.norm.weight".to_owned(), &self.norm);
        for (i, layer) in self.layers.iter().enumerate() {
            let name = |part: &str| format!("model.layers.{i}.{part}.weight");
            add(name("input_layernorm"), &layer.attention_norm);
            add(name("post_attention_layernorm"), &layer.mlp_norm);
            add(name("self_attn.o_proj"), &layer.output);
            add(name("mlp.down_proj"), &layer.down);

            let width = layer.qkv.dim(1)?;
            for (at, part) in ["q", "k", "v"].iter().enumerate() {
                let rows = layer.qkv.narrow(0, at * width, width)?;
                add(name(&format!("self_attn.{part}_proj")), &rows);
            }
            let inner = layer.down.dim(1)?;
            for (at, part) in ["gate", "up"].iter().enumerate() {
                let rows = layer.gate_up.narrow(0, at * inner, inner)?;
                add(name(&format!("mlp.{part}_proj")), &rows);
            }
        }
        Ok(Weights(weights))
    }
}

/// The weights of a trained model.
#[derive(Debug)]
pub(super) struct Weights(BTreeMap<String, Tensor>);

impl TensorSource for Weights {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.get(name).map(|tensor| tensor.dims().to_vec())
    }

    fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError> {
        let tensor = self.0.get(name).ok_or_else(|| LmError::MissingTensor {
            name: name.to_owned(),
        })?;
        Ok(tensor.flatten_all()?.to_vec1()?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::lm::decoder::{Decoder, Input, Options};

    const TINY: Training = Training {
        width: 8,
        layers: 2,
        heads: 2,
        inner: 12,
        context: 6,
        windows: 4,
        learning_rate: 1e-2,
    };

    fn model(dtype: DType) -> Model {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        Model::new(&TINY, 20, dtype, &Device::Cpu, &mut random).unwrap()
    }

    /// Windows of TINY's context, and what follows each of their tokens.
    fn batch() -> (Vec<u32>, Vec<u32>) {
        let ids: Vec<u32> = (0..19).map(|i| i * i * 3 % 11).collect();
        (ids[..18].to_vec(), ids[1..].to_vec())
    }

    fn loss(model: &Model) -> Tensor {
        let (inputs, targets) = batch();
        let inputs = Tensor::from_vec(inputs, (3, 6), &Device::Cpu).unwrap();
        model.loss(&inputs, targets).unwrap()
    }

    #[test]
    fn gradients_agree_with_differences() {
        let model = model(DType::F64);
        let gradients = loss(&model).backward().unwrap();
        let value = |model: &Model| loss(model).to_scalar::<f64>().unwrap();

        let layer = &model.layers[0];
        let norms = [&layer.attention_norm, &layer.mlp_norm, &model.norm];
        let matrices = [&layer.qkv, &layer.output, &layer.gate_up, &layer.down];
        let all = norms.into_iter().chain(matrices).chain([&model.embedding]);
        for var in all {
            let gradient = gradients.get(var).unwrap().flatten_all().unwrap();
            let gradient = gradient.to_vec1::<f64>().unwrap();
            let start = var.flatten_all().unwrap().to_vec1::<f64>().unwrap();

            for at in (0..start.len()).step_by(5) {
                let moved = |by: f64| {
                    let mut values = start.clone();
                    values[at] += by;
                    let values = Tensor::from_vec(values, var.shape(), &Device::Cpu);
                    var.set(&values.unwrap()).unwrap();
                    value(&model)
                };
                let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                moved(0.0);
                let found = gradient[at];
                assert!(
                    (found - expected).abs() < 1e-7 + 1e-6 * expected.abs(),
                    "{found} {expected}"
                );
            }
        }
    }

    #[test]
    fn the_decoder_computes_what_was_trained() {
        let model = model(DType::F32);
        let options = Options::cpu(TINY.context + 1);
        let mut weights = model.weights().unwrap();
        let decoder = Decoder::load(TINY.config(20), &mut weights, options).unwrap();

        let (inputs, targets) = batch();
        let window = |at: usize| Input {
            tokens: [&inputs[at..at + 6], &targets[at + 5..at + 6]].concat(),
            first_scored: 1,
        };
        let found = decoder
            .log_probs(&[window(0), window(6), window(12)])
            .unwrap();
        let mean = -found.iter().flatten().sum::<f32>() / 18.0;
        let expected = loss(&model).to_scalar::<f32>().unwrap();
        assert!((mean - expected).abs() < 1e-5, "{mean} {expected}");
        // f64 takes other operations.
        let wide = loss(&super::tests::model(DType::F64)).to_scalar::<f64>();
        assert!((wide.unwrap() - f64::from(expected)).abs() < 1e-5);
    }

    #[test]
    fn parameters_are_counted() {
        let model = model(DType::F32);
        let layers = model.layers.iter().flat_map(|layer| {
            [
                &layer.attention_norm,
                &layer.qkv,
                &layer.output,
                &layer.mlp_norm,
                &layer.gate_up,
                &layer.down,
            ]
        });
        let all = layers.chain([&model.embedding, &model.norm]);
        let found: usize = all.map(|var| var.elem_count()).sum();
        assert_eq!(found, TINY.parameters(20));
        assert_eq!(Training::CPU.parameters(4_096), 362_816);
    }
}
