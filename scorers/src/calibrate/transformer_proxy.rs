//! The transformer proxy: the loss of a small transformer, trained on a mixture, on fixed target
//! texts.
//!
//! The model is a Llama whose output layer is the embedding, with gradients. Training takes windows
//! of the mixture in a random order: AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), a linear
//! warm-up, and a cosine down to a tenth of the learning rate. [`crate::lm::decoder`] then measures
//! the model.
//!
//! Unlike the n-gram proxy it may see a text more than once, so it can tell what repeats are worth.
//! A model of less than a million parameters says something of the order of mixtures, and nothing of
//! the size of their losses in a large model.
//!
//! On the CPU the same seed gives the same bytes.
//!
//! Cost: 6 FLOPs for each parameter and token, and a third of that for each token of the targets.

use std::f64::consts::{LN_2, PI};

use candle_core::{DType, Device, Tensor};
use candle_nn::optim::Optimizer;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::calibrate::ngram_proxy::Target;
use crate::calibrate::transformer_model::{Model, NORM_EPS, ROPE_THETA};
use crate::lm::LmError;
use crate::lm::config::{Architecture, Config};
use crate::lm::decoder::{Decoder, Input, Options};

/// The share of the steps in which the learning rate rises.
const WARM_UP: f64 = 0.05;
/// The share of the learning rate that is left at the last step.
const END: f64 = 0.1;
/// Target windows that are measured at a time.
const MEASURED: usize = 256;

/// The shape of a model, and how it is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Width of the residual stream: a multiple of twice the heads.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of heads.
    pub heads: usize,
    /// Inner width of the feed-forward layers.
    pub inner: usize,
    /// Tokens of a window, and the most that a token is predicted from.
    pub context: usize,
    /// Windows of a step.
    pub windows: usize,
    /// The learning rate after the warm-up, from which it falls.
    pub learning_rate: f64,
}

impl Training {
    /// For a check of order on the CPU: 0.36 million parameters with a vocabulary of 4,096, which
    /// see 400,000 tokens in half a minute of a core. The learning rate is the best of 0.002,
    /// 0.004, 0.008 and 0.016 on two mixtures of that size.
    pub const CPU: Training = Training {
        width: 64,
        layers: 2,
        heads: 4,
        inner: 176,
        context: 64,
        windows: 8,
        learning_rate: 8e-3,
    };

    /// For a GPU: 8.7 million parameters with a vocabulary of 4,096, which should see 75 million
    /// tokens or more.
    pub const GPU: Training = Training {
        width: 320,
        layers: 6,
        heads: 5,
        inner: 864,
        context: 512,
        windows: 32,
        learning_rate: 2e-3,
    };

    /// The training for a device.
    pub fn on(device: &Device) -> Training {
        match device {
            Device::Cpu => Training::CPU,
            _ => Training::GPU,
        }
    }

    /// The learning rate of a step, counted from 0, of `steps`.
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        let rising = (WARM_UP * steps as f64).ceil().max(1.0);
        let step = step as f64 + 1.0;
        if step <= rising {
            return self.learning_rate * step / rising;
        }

        let done = (step - rising) / (steps as f64 - rising);
        self.learning_rate * (END + (1.0 - END) * 0.5 * (1.0 + (PI * done).cos()))
    }

    /// The number of parameters with a vocabulary of this size.
    pub fn parameters(&self, vocabulary: usize) -> usize {
        let layer = 4 * self.width * self.width + 3 * self.width * self.inner + 2 * self.width;
        vocabulary * self.width + self.layers * layer + self.width
    }

    /// The shape for the decoder, which reads one token more than it predicts.
    pub(super) fn config(&self, vocabulary: usize) -> Config {
        Config {
            architecture: Architecture::Llama,
            vocab_size: vocabulary,
            hidden_size: self.width,
            intermediate_size: self.inner,
            num_layers: self.layers,
            num_heads: self.heads,
            num_kv_heads: self.heads,
            head_dim: self.width / self.heads,
            max_positions: self.context + 1,
            rope_theta: ROPE_THETA,
            rms_norm_eps: NORM_EPS,
            tie_word_embeddings: Some(true),
            bos_token_id: None,
        }
    }
}

/// The targets, prepared for any number of mixtures.
#[derive(Debug)]
pub struct TransformerProxy {
    training: Training,
    vocabulary: usize,
    separator: u32,
    device: Device,
    /// The windows of each target, and its bytes.
    targets: Vec<(Vec<Input>, u64)>,
}

impl TransformerProxy {
    /// Cuts the targets into windows. `vocabulary` is the number of token ids, and `separator` the
    /// id before the start of a piece and of a target's document.
    ///
    /// # Errors
    /// [`LmError::Config`] if the width is no multiple of twice the heads, or a size is 0.
    pub fn new(
        targets: &[Target],
        vocabulary: usize,
        separator: u32,
        training: Training,
        device: Device,
    ) -> Result<TransformerProxy, LmError> {
        if training.heads == 0 || !training.width.is_multiple_of(2 * training.heads) {
            return Err(LmError::config(
                "width",
                training.width,
                format!("a multiple of 2 · {}", training.heads),
            ));
        }
        if training.context.min(training.windows).min(training.width) == 0 {
            return Err(LmError::config("context or windows", 0, "1 or more"));
        }

        let windows = |target: &Target| {
            let documents = target.documents.iter();
            let inputs = documents.flat_map(|ids| measured(ids, separator, training.context));
            (inputs.collect(), target.bytes)
        };
        Ok(TransformerProxy {
            training,
            vocabulary,
            separator,
            device,
            targets: targets.iter().map(windows).collect(),
        })
    }

    /// The loss on each target, in bits per byte, of a model that has seen these pieces `epochs`
    /// times. The seed decides the weights at the start and the order of the windows.
    ///
    /// # Errors
    /// [`LmError::TokenId`] if an id is not in the vocabulary. [`LmError::Malformed`], naming a
    /// weight, if training diverged. [`LmError::Backend`] if the device fails.
    pub fn losses(&self, pieces: &[&[u32]], epochs: u32, seed: u64) -> Result<Vec<f64>, LmError> {
        let model = self.trained(pieces, epochs, seed)?;

        let options = Options {
            dtype: DType::F32,
            ..Options::on(self.device.clone(), self.training.context + 1)
        };
        let config = self.training.config(self.vocabulary);
        let decoder = Decoder::load(config, &mut model.weights()?, options)?;

        let loss = |(windows, bytes): &(Vec<Input>, u64)| {
            let mut nats = 0.0;
            for windows in windows.chunks(MEASURED) {
                let found = decoder.log_probs(windows)?;
                nats -= found.iter().flatten().map(|&p| f64::from(p)).sum::<f64>();
            }
            Ok(nats / LN_2 / *bytes as f64)
        };
        self.targets.iter().map(loss).collect()
    }

    /// Trains a model.
    fn trained(&self, pieces: &[&[u32]], epochs: u32, seed: u64) -> Result<Model, LmError> {
        if let Some(&id) = pieces
            .iter()
            .copied()
            .flatten()
            .find(|&&id| id as usize >= self.vocabulary)
        {
            return Err(LmError::TokenId {
                id,
                vocab: self.vocabulary,
            });
        }

        let Training {
            context, windows, ..
        } = self.training;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let model = Model::new(
            &self.training,
            self.vocabulary,
            DType::F32,
            &self.device,
            &mut random,
        )?;
        let mut optimizers = model.optimizers()?;

        let stream = stream(pieces, self.separator, context);
        let mut order: Vec<usize> = (0..stream.len() / context).collect();
        let steps = order.len().div_ceil(windows) * epochs as usize;

        let mut step = 0;
        for _ in 0..epochs {
            order.shuffle(&mut random);
            for chosen in order.chunks(windows) {
                let window = |&at: &usize| &stream[at * context..=(at + 1) * context];
                let inputs = chosen.iter().flat_map(|at| &window(at)[..context]);
                let targets = chosen.iter().flat_map(|at| &window(at)[1..]);

                let inputs: Vec<u32> = inputs.copied().collect();
                let inputs = Tensor::from_vec(inputs, (chosen.len(), context), &self.device)?;
                let loss = model.loss(&inputs, targets.copied().collect())?;

                let gradients = loss.backward()?;
                let rate = self.training.rate(step, steps);
                for optimizer in &mut optimizers {
                    optimizer.set_learning_rate(rate);
                    optimizer.step(&gradients)?;
                }
                step += 1;
            }
        }
        Ok(model)
    }
}

/// The windows by which a document is measured: each token is predicted once, by as many tokens
/// before it as its window has.
fn measured(ids: &[u32], separator: u32, context: usize) -> Vec<Input> {
    let stream = [&[separator], ids].concat();
    (0..ids.len())
        .step_by(context)
        .map(|start| Input {
            tokens: stream[start..stream.len().min(start + context + 1)].to_vec(),
            first_scored: 1,
        })
        .collect()
}

/// The pieces one after the other, each behind a separator, and separators up to a whole number of
/// windows and one token more: the last token of a window is only predicted.
fn stream(pieces: &[&[u32]], separator: u32, context: usize) -> Vec<u32> {
    let pieces = pieces.iter();
    let mut stream: Vec<u32> = pieces
        .flat_map(|piece| std::iter::once(separator).chain(piece.iter().copied()))
        .collect();
    let windows = stream.len().saturating_sub(1).div_ceil(context);
    stream.resize(windows * context + 1, separator);
    stream
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use super::*;

    const TINY: Training = Training {
        width: 8,
        layers: 2,
        heads: 2,
        inner: 12,
        context: 6,
        windows: 4,
        learning_rate: 1e-2,
    };

    /// A text in which each token follows from the one before it.
    fn chain(length: usize) -> Vec<u32> {
        let next = |&id: &u32| Some((id * 7 + 3) % 10 + 1);
        std::iter::successors(Some(1), next).take(length).collect()
    }

    fn proxy(training: Training) -> TransformerProxy {
        let target = Target {
            documents: vec![chain(40)],
            bytes: 40,
        };
        TransformerProxy::new(&[target], 20, 0, training, Device::Cpu).unwrap()
    }

    #[test]
    fn training_lowers_the_loss() {
        let (proxy, text) = (proxy(TINY), chain(2_000));
        let pieces = [&text[..1_000], &text[1_000..]];

        // Without training all tokens are nearly as likely, and the text has a byte a token.
        let before = proxy.losses(&pieces, 0, 1).unwrap()[0];
        assert!((before - 20f64.log2()).abs() < 0.2, "{before}");
        let once = proxy.losses(&pieces, 1, 1).unwrap()[0];
        let often = proxy.losses(&pieces, 8, 1).unwrap()[0];
        assert!(once < 0.8 * before && often < 0.5 * once, "{once} {often}");
    }

    #[test]
    fn same_seed_same_bytes() {
        let (proxy, text) = (proxy(TINY), chain(300));
        let losses = |seed| proxy.losses(&[&text], 2, seed).unwrap()[0].to_bits();
        assert_eq!(losses(1), losses(1));
        assert_ne!(losses(1), losses(2));
    }

    #[test]
    fn learning_rates() {
        let rate = |step, steps| TINY.rate(step, steps) / TINY.learning_rate;
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        // 5 steps of 100 rise, the last of them to the greatest rate. Halfway down it is 0.55.
        near(rate(0, 100), 0.2);
        near(rate(4, 100), 1.0);
        near(rate(99, 100), 0.1);
        near(rate(12, 25), 0.1 + 0.45 * (1.0 + (PI * 11.0 / 23.0).cos()));
        near(rate(0, 1), 1.0);
        assert!((5..99).all(|step| rate(step, 100) > rate(step + 1, 100)));
    }

    #[test]
    fn every_token_is_predicted_once() {
        let ids: Vec<u32> = (1..=20).collect();
        let windows = measured(&ids, 0, 6);
        let predicted: Vec<u32> = windows
            .iter()
            .flat_map(|w| &w.tokens[1..])
            .copied()
            .collect();
        assert_eq!(predicted, ids);
        assert_eq!(windows[0].tokens[0], 0);
        assert_eq!(windows[1].tokens[0], 6);
        assert!(measured(&[], 0, 6).is_empty());

        let stream = stream(&[&ids[..4], &ids[4..9]], 0, 6);
        assert_eq!(stream, [0, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 0, 0]);
        assert_eq!(super::stream(&[], 0, 6), [0]);
    }

    #[test]
    fn settings_are_checked() {
        let new = |training| TransformerProxy::new(&[], 20, 0, training, Device::Cpu);
        let wrong = [
            Training { heads: 3, ..TINY },
            Training { heads: 0, ..TINY },
            Training { context: 0, ..TINY },
        ];
        assert!(wrong.into_iter().all(|training| new(training).is_err()));
        assert!(matches!(
            proxy(TINY).losses(&[&[20]], 1, 1),
            Err(LmError::TokenId { id: 20, vocab: 20 })
        ));
        let many = Training {
            learning_rate: 1e30,
            ..TINY
        };
        assert!(proxy(many).losses(&[&chain(300)], 1, 1).is_err());
    }
}
