//! A decoder-only transformer that scores: `ln p(t_i | t_<i)` at every position, and nothing else.
//!
//! The architecture of Llama (Touvron et al. 2023, arXiv:2302.13971) with grouped-query attention
//! (Ainslie et al. 2023, arXiv:2305.13245) and, for Qwen2 (arXiv:2407.10671), biases on q, k and v.
//! Written for scoring: windows are laid one after the other, so that products see no padding;
//! there is no cache; cosines and sines are f32 in any dtype; the output layer is applied to a
//! block of positions and, on the CPU, to a block of the vocabulary at a time, with a running
//! logsumexp, so that no `[tokens, vocabulary]` matrix ever exists. Cost: 2 × parameters FLOPs a
//! token, embedding excluded and output layer included, plus attention.

use std::sync::{Mutex, PoisonError};

use candle_core::{D, DType, Device, Storage, Tensor};

use crate::lm::LmError;
use crate::lm::config::Config;
#[cfg(feature = "cuda")]
use crate::lm::cuda;
use crate::lm::load::{Loader, check_tensors};
use crate::lm::ops::{AddAssign, CausalAttention, Heads, LogSumExp, SwigluInto, add_logits};
use crate::lm::weights::TensorSource;

/// A run of tokens to read, of which those from `first_scored` on are scored given all before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The token ids, the beginning-of-sequence token included if there is one.
    pub tokens: Vec<u32>,
    /// At least 1: nothing predicts the first token.
    pub first_scored: usize,
}

/// Where a decoder runs, and how much it holds at a time.
#[derive(Debug, Clone)]
pub struct Options {
    /// The device.
    pub device: Device,
    /// Of weights and activations; norms, rotation, softmax and cross-entropy are f32 whatever it
    /// is.
    pub dtype: DType,
    /// Positions up to which windows may reach; the model's own if that is less.
    pub positions: usize,
    /// Bytes of logits, and of attention scores off the CPU, held at a time.
    pub chunk_bytes: usize,
}

impl Options {
    /// f32 on the CPU, with 2 MiB of logits at a time: more would leave the cache.
    pub fn cpu(positions: usize) -> Options {
        Options {
            device: Device::Cpu,
            dtype: DType::F32,
            positions,
            chunk_bytes: 2 << 20,
        }
    }

    /// The dtype of the device, with 1 GiB of logits at a time off the CPU.
    pub fn on(device: Device, positions: usize) -> Options {
        match device {
            Device::Cpu => Options::cpu(positions),
            _ => Options {
                dtype: crate::lm::device::dtype(&device),
                device,
                positions,
                chunk_bytes: 1 << 30,
            },
        }
    }
}

pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    pub(super) qkv: Tensor,
    pub(super) bias: Option<Tensor>,
    pub(super) bias_values: Vec<f32>,
    pub(super) output: Tensor,
    pub(super) mlp_norm: Tensor,
    /// Gates above ups.
    pub(super) gate_up: Tensor,
    pub(super) down: Tensor,
}

/// The weights of a model on a device.
pub struct Decoder {
    config: Config,
    options: Options,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Tensor,
    /// Cosines and sines, `[positions, head_dim / 2]`: in f32 throughout, as transformers computes
    /// them.
    angles: [Vec<f32>; 2],
    /// The same on the device.
    angles_there: [Tensor; 2],
    operations: Operations,
    /// One batch at a time on a device of its own: two would need memory for two, and take as long.
    turn: Mutex<()>,
}

/// What is done between matrix products, by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operations {
    /// Loops on slices: f32 on the CPU.
    Loops,
    /// Kernels of our own on CUDA.
    #[cfg(feature = "cuda")]
    Kernels,
    /// The tensor library's, on any device.
    Tensors,
}

impl Operations {
    fn of(options: &Options) -> Operations {
        match (&options.device, options.dtype) {
            (Device::Cpu, DType::F32) => Operations::Loops,
            #[cfg(feature = "cuda")]
            (device, dtype) if cuda::serves(device, dtype) => Operations::Kernels,
            _ => Operations::Tensors,
        }
    }
}

type AttentionOf<'a> = dyn Fn(&'a Layer, Tensor) -> candle_core::Result<Tensor> + 'a;

/// Rows of a batch that go through the feed-forward layers at a time on the CPU, and columns of its
/// inner width: what is held stays in the cache, and rows are enough to pay for the packing of the
/// weights.
const CPU_ROWS: usize = 512;
const CPU_COLUMNS: usize = 1024;

impl Decoder {
    /// Reads the weights. `config.tie_word_embeddings` is settled where the configuration was
    /// silent.
    ///
    /// # Errors
    /// [`LmError::MissingTensor`], [`LmError::UnexpectedTensor`] or [`LmError::Shape`] naming the
    /// tensor if the source does not fit the configuration, all before a tensor is read; then those
    /// of reading.
    pub fn load(
        mut config: Config,
        source: &mut dyn TensorSource,
        options: Options,
    ) -> Result<Decoder, LmError> {
        let has_head = source.shape("lm_head.weight").is_some();
        config.tie_word_embeddings.get_or_insert(!has_head);
        check_tensors(&config, source)?;
        let positions = options.positions.min(config.max_positions);
        let mut loader = Loader {
            config: &config,
            source,
            options: &options,
        };
        let embedding = loader.matrix(
            &["model.embed_tokens.weight"],
            &[config.vocab_size],
            config.hidden_size,
        )?;
        let head = match config.tie_word_embeddings {
            Some(true) => embedding.clone(),
            _ => loader.matrix(
                &["lm_head.weight"],
                &[config.vocab_size],
                config.hidden_size,
            )?,
        };
        let norm = loader.vector("model.norm.weight")?;
        let layers = (0..config.num_layers)
            .map(|i| loader.layer(i))
            .collect::<Result<_, _>>()?;
        let angles = rotation(&config, positions);
        let there = |values: &Vec<f32>| {
            Tensor::from_slice(values, (positions, config.head_dim / 2), &options.device)
        };
        let angles_there = [there(&angles[0])?, there(&angles[1])?];
        let operations = Operations::of(&options);
        let options = Options {
            positions,
            ..options
        };
        let turn = Mutex::new(());
        Ok(Decoder {
            config,
            options,
            embedding,
            layers,
            norm,
            head,
            angles,
            angles_there,
            operations,
            turn,
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How it runs.
    pub fn options(&self) -> &Options {
        &self.options
    }

    #[cfg(test)]
    pub(crate) fn by_tensors(self) -> Decoder {
        Decoder {
            operations: Operations::Tensors,
            ..self
        }
    }

    /// For each input, `ln p(t_i | t_<i)` in nats for i from `first_scored` on, in order.
    ///
    /// # Errors
    /// [`LmError::TokenId`] and [`LmError::TooLong`] for inputs that are not the model's,
    /// [`LmError::NotFinite`] if the dtype is too narrow for it, [`LmError::Backend`] for what the
    /// device cannot do, out of memory among it.
    pub fn log_probs(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, LmError> {
        self.check(inputs)?;
        let is_shared = self.options.device.is_cpu();
        let _turn = (!is_shared).then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let inputs_scored: Vec<&Input> = inputs
            .iter()
            .filter(|input| !scored(input).is_empty())
            .collect();
        let mut flat = Vec::new().into_iter();
        if !inputs_scored.is_empty() {
            let hidden = self.hidden(&inputs_scored)?;
            flat = self.cross_entropy(&inputs_scored, &hidden)?.into_iter();
        }
        if let Some(&found) = flat.as_slice().iter().find(|p| !p.is_finite()) {
            let device = crate::lm::device::name(&self.options.device);
            return Err(LmError::NotFinite {
                found,
                device,
                dtype: self.options.dtype.as_str().to_owned(),
            });
        }
        Ok(inputs
            .iter()
            .map(|input| flat.by_ref().take(scored(input).len()).collect())
            .collect())
    }

    fn check(&self, inputs: &[Input]) -> Result<(), LmError> {
        let vocab = self.config.vocab_size;
        for input in inputs {
            if input.tokens.len() > self.options.positions {
                return Err(LmError::TooLong {
                    tokens: input.tokens.len(),
                    positions: self.options.positions,
                });
            }
            if let Some(&id) = input.tokens.iter().find(|&&id| id as usize >= vocab) {
                return Err(LmError::TokenId { id, vocab });
            }
        }
        Ok(())
    }

    /// The last layer's states, normed: `[tokens, hidden]`, windows one after the other.
    fn hidden(&self, inputs: &[&Input]) -> Result<Tensor, LmError> {
        let ids: Vec<u32> = inputs
            .iter()
            .flat_map(|input| &input.tokens)
            .copied()
            .collect();
        let windows: Vec<usize> = inputs.iter().map(|input| input.tokens.len()).collect();
        let ids = Tensor::from_vec(ids, windows.iter().sum::<usize>(), &self.options.device)?;
        let mut x = self.embedding.index_select(&ids, 0)?;
        let attention = self.attention(&windows)?;
        let inner = (CPU_ROWS.min(x.dim(0)?), self.config.intermediate_size);
        let inner = match self.operations {
            Operations::Loops => Some(Tensor::zeros(inner, DType::F32, &Device::Cpu)?),
            _ => None,
        };
        let Some(first) = self.layers.first() else {
            return Ok(self.normed(&x, &self.norm)?);
        };
        let mut normed = self.normed(&x, &first.attention_norm)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let mixed = attention(layer, normed.matmul(&layer.qkv.t()?)?)?;
            (x, normed) = self.add_norm(x, &mixed.matmul(&layer.output.t()?)?, &layer.mlp_norm)?;
            let next = self
                .layers
                .get(i + 1)
                .map_or(&self.norm, |layer| &layer.attention_norm);
            (x, normed) = match &inner {
                Some(inner) => {
                    let x = mlp_by_loops(layer, x, &normed, inner)?;
                    let normed = self.normed(&x, next)?;
                    (x, normed)
                }
                None => {
                    let inner = self.swiglu(&normed.matmul(&layer.gate_up.t()?)?)?;
                    self.add_norm(x, &inner.matmul(&layer.down.t()?)?, next)?
                }
            };
        }
        Ok(normed)
    }

    fn normed(&self, x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
        #[cfg(feature = "cuda")]
        if self.operations == Operations::Kernels {
            return cuda::add_norm(x, None, weight, self.config.rms_norm_eps);
        }
        candle_nn::ops::rms_norm(x, weight, self.config.rms_norm_eps as f32)
    }

    /// The residual stream with what a layer adds to it, and its norm.
    fn add_norm(
        &self,
        x: Tensor,
        y: &Tensor,
        weight: &Tensor,
    ) -> candle_core::Result<(Tensor, Tensor)> {
        let x = match self.operations {
            Operations::Loops => x.inplace_op2(y, &AddAssign).map(|()| x)?,
            #[cfg(feature = "cuda")]
            Operations::Kernels => {
                let normed = cuda::add_norm(&x, Some(y), weight, self.config.rms_norm_eps)?;
                return Ok((x, normed));
            }
            Operations::Tensors => (x + y)?,
        };
        let normed = self.normed(&x, weight)?;
        Ok((x, normed))
    }

    /// silu(gate) · up, off the loops of the CPU.
    fn swiglu(&self, gate_up: &Tensor) -> candle_core::Result<Tensor> {
        #[cfg(feature = "cuda")]
        if self.operations == Operations::Kernels {
            return cuda::swiglu(gate_up);
        }
        let width = self.config.intermediate_size;
        gate_up.narrow(1, 0, width)?.silu()? * gate_up.narrow(1, width, width)?
    }

    fn heads(&self) -> Heads {
        Heads {
            query: self.config.num_heads,
            kv: self.config.num_kv_heads,
            dim: self.config.head_dim,
        }
    }

    /// From a layer's q, k and v, without biases, to its mixed values, for windows of these
    /// lengths.
    fn attention<'a>(&'a self, windows: &'a [usize]) -> candle_core::Result<Box<AttentionOf<'a>>> {
        let heads = self.heads();
        Ok(match self.operations {
            Operations::Loops => Box::new(move |layer, qkv| {
                let (bias, [cos, sin]) = (layer.bias_values.as_slice(), &self.angles);
                qkv.apply_op1_no_bwd(&CausalAttention {
                    heads,
                    bias,
                    cos,
                    sin,
                    windows,
                })
            }),
            #[cfg(feature = "cuda")]
            Operations::Kernels => {
                let windows = cuda::Windows::new(
                    windows,
                    &self.angles_there,
                    heads.query,
                    self.options.chunk_bytes,
                )?;
                Box::new(move |layer, qkv| {
                    cuda::attention(&qkv, layer.bias.as_ref(), heads, &windows)
                })
            }
            Operations::Tensors => {
                let padding = Padding::new(self, windows)?;
                Box::new(move |layer, qkv| self.attention_by_tensors(layer, qkv, &padding))
            }
        })
    }

    /// Attention in the tensor library's operations: windows padded on the right to the longest,
    /// where no position sees the padding because none sees what follows it. Query rows go in
    /// chunks of `chunk_bytes` of scores.
    fn attention_by_tensors(
        &self,
        layer: &Layer,
        qkv: Tensor,
        padding: &Padding,
    ) -> candle_core::Result<Tensor> {
        let Heads { query, kv, dim } = self.heads();
        let (windows, longest) = (padding.windows, padding.longest);
        let qkv = match &layer.bias {
            Some(bias) => qkv.broadcast_add(bias)?,
            None => qkv,
        };
        let padded = qkv.index_select(&padding.scatter, 0)?.reshape((
            windows,
            longest,
            query + 2 * kv,
            dim,
        ))?;
        let part = |first, heads| {
            padded
                .narrow(2, first, heads)?
                .transpose(1, 2)?
                .contiguous()
        };
        let rotated = |x: Tensor| {
            let x = x.to_dtype(DType::F32)?;
            candle_nn::rotary_emb::rope(&x, &padding.cos, &padding.sin)?
                .to_dtype(self.options.dtype)
        };
        let q = rotated(part(0, query)?)?.reshape((windows, kv, query / kv, longest, dim))?;
        let k = rotated(part(query, kv)?)?.reshape((windows * kv, longest, dim))?;
        let v = part(query + kv, kv)?.reshape((windows * kv, longest, dim))?;
        let rows = padding.chunk_rows;
        let mut chunks = Vec::new();
        for start in (0..longest).step_by(rows) {
            let rows = rows.min(longest - start);
            let seen = start + rows;
            let q = q
                .narrow(3, start, rows)?
                .reshape((windows * kv, query / kv * rows, dim))?;
            let scores = (q.matmul(&k.narrow(1, 0, seen)?.t()?)? * (dim as f64).sqrt().recip())?;
            let scores = scores
                .to_dtype(DType::F32)?
                .reshape((windows * query, rows, seen))?;
            let scores = scores.broadcast_add(&padding.mask.narrow(0, 0, rows)?.narrow(
                1,
                longest - start,
                seen,
            )?)?;
            let weights =
                candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(self.options.dtype)?;
            let weights = weights.reshape((windows * kv, query / kv * rows, seen))?;
            let mixed = weights.matmul(&v.narrow(1, 0, seen)?)?;
            chunks.push(mixed.reshape((windows, query, rows, dim))?);
        }
        let mixed = Tensor::cat(&chunks, 2)?
            .transpose(1, 2)?
            .reshape((windows * longest, query * dim))?;
        mixed.index_select(&padding.gather, 0)
    }

    /// Log-probabilities of all scored tokens, one input after the other.
    fn cross_entropy(&self, inputs: &[&Input], hidden: &Tensor) -> Result<Vec<f32>, LmError> {
        let (mut rows, mut targets, mut first) = (Vec::new(), Vec::new(), 0u32);
        for input in inputs {
            for i in scored(input) {
                rows.push(first + i as u32 - 1);
                targets.push(input.tokens[i]);
            }
            first += input.tokens.len() as u32;
        }
        let vocab = self.config.vocab_size;
        let rows_max = match self.operations {
            Operations::Loops => CPU_ROWS,
            _ => (self.options.chunk_bytes / (4 * vocab)).max(1),
        };
        let hidden = hidden.index_select(&Tensor::new(rows, &self.options.device)?, 0)?;
        if self.operations == Operations::Loops {
            let mut out = Vec::with_capacity(targets.len());
            for (at, targets) in (0..).step_by(rows_max).zip(targets.chunks(rows_max)) {
                self.log_probs_by_loops(&hidden.narrow(0, at, targets.len())?, targets, &mut out)?;
            }
            return Ok(out);
        }
        // One copy to the device and one back: each waits for all that is queued.
        let all = Tensor::new(targets, &self.options.device)?;
        let mut chunks = Vec::new();
        for at in (0..all.dim(0)?).step_by(rows_max) {
            let rows = rows_max.min(all.dim(0)? - at);
            let (hidden, targets) = (hidden.narrow(0, at, rows)?, all.narrow(0, at, rows)?);
            chunks.push(match self.operations {
                #[cfg(feature = "cuda")]
                Operations::Kernels => cuda::log_probs(&hidden, &self.head, &targets)?,
                _ => self.log_probs_by_tensors(&hidden, &targets)?,
            });
        }
        Ok(Tensor::cat(&chunks, 0)?.to_vec1()?)
    }

    fn log_probs_by_loops(
        &self,
        hidden: &Tensor,
        targets: &[u32],
        out: &mut Vec<f32>,
    ) -> candle_core::Result<()> {
        let vocab = self.config.vocab_size;
        let columns = (self.options.chunk_bytes / (4 * targets.len())).clamp(16, vocab);
        let mut states = vec![LogSumExp::EMPTY; targets.len()];
        for first in (0..vocab).step_by(columns) {
            let columns = columns.min(vocab - first);
            let logits = hidden.matmul(&self.head.narrow(0, first, columns)?.t()?)?;
            let (storage, _) = logits.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else {
                candle_core::bail!("logits are not on the CPU");
            };
            add_logits(storage.as_slice()?, columns, first, targets, &mut states);
        }
        out.extend(states.into_iter().map(LogSumExp::log_prob));
        Ok(())
    }

    fn log_probs_by_tensors(
        &self,
        hidden: &Tensor,
        targets: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let logits = hidden.matmul(&self.head.t()?)?.to_dtype(DType::F32)?;
        let target = logits.gather(&targets.unsqueeze(1)?, 1)?;
        let max = logits.max_keepdim(D::Minus1)?;
        let sum = logits
            .broadcast_sub(&max)?
            .exp()?
            .sum_keepdim(D::Minus1)?
            .log()?;
        (target - (max + sum)?)?.squeeze(1)
    }
}

/// The feed-forward layer, a block of rows and of inner columns at a time, added to `x` in place.
fn mlp_by_loops(
    layer: &Layer,
    x: Tensor,
    normed: &Tensor,
    inner: &Tensor,
) -> candle_core::Result<Tensor> {
    let (rows, width) = (x.dim(0)?, inner.dim(1)?);
    for start in (0..rows).step_by(CPU_ROWS) {
        let rows = CPU_ROWS.min(rows - start);
        let (normed, inner) = (normed.narrow(0, start, rows)?, inner.narrow(0, 0, rows)?);
        for first in (0..width).step_by(CPU_COLUMNS) {
            let columns = CPU_COLUMNS.min(width - first);
            let gate = normed.matmul(&layer.gate_up.narrow(0, first, columns)?.t()?)?;
            let up = normed.matmul(&layer.gate_up.narrow(0, width + first, columns)?.t()?)?;
            inner.inplace_op3(&gate, &up, &SwigluInto { first })?;
        }
        x.narrow(0, start, rows)?
            .inplace_op2(&inner.matmul(&layer.down.t()?)?, &AddAssign)?;
    }
    Ok(x)
}

fn scored(input: &Input) -> std::ops::Range<usize> {
    input.first_scored.max(1).min(input.tokens.len())..input.tokens.len()
}

/// Where the rows of windows that lie one after the other are in a padded batch, and back.
struct Padding {
    windows: usize,
    longest: usize,
    scatter: Tensor,
    gather: Tensor,
    /// Query rows of attention at a time.
    chunk_rows: usize,
    /// `[chunk_rows, longest + chunk_rows]`, −∞ where the column is more than `longest` after the
    /// row: the mask of the chunk that starts at s begins at column `longest` − s.
    mask: Tensor,
    cos: Tensor,
    sin: Tensor,
}

impl Padding {
    fn new(decoder: &Decoder, windows: &[usize]) -> candle_core::Result<Padding> {
        let device = &decoder.options.device;
        let longest = windows.iter().copied().max().unwrap_or(0);
        let (mut scatter, mut gather, mut first) = (Vec::new(), Vec::new(), 0);
        for (i, &len) in windows.iter().enumerate() {
            // Padding repeats the window's last row: finite values that nothing reads.
            scatter.extend((0..longest).map(|j| (first + j.min(len - 1)) as u32));
            gather.extend((0..len).map(|j| (i * longest + j) as u32));
            first += len;
        }
        let scores_bytes = 4 * windows.len() * decoder.config.num_heads * longest;
        let chunk_rows = (decoder.options.chunk_bytes / scores_bytes).clamp(1, longest);
        let columns = longest + chunk_rows;
        let is_seen = |i: usize| i % columns <= longest + i / columns;
        let mask = (0..chunk_rows * columns)
            .map(|i| if is_seen(i) { 0.0 } else { f32::NEG_INFINITY })
            .collect();
        let mask = Tensor::from_vec::<_, f32>(mask, (chunk_rows, columns), device)?;
        let [cos, sin] = decoder
            .angles_there
            .each_ref()
            .map(|table| table.narrow(0, 0, longest));
        Ok(Padding {
            windows: windows.len(),
            longest,
            scatter: Tensor::new(scatter, device)?,
            gather: Tensor::new(gather, device)?,
            chunk_rows,
            mask,
            cos: cos?,
            sin: sin?,
        })
    }
}

fn rotation(config: &Config, positions: usize) -> [Vec<f32>; 2] {
    let frequency = |i: usize| {
        (config.rope_theta as f32)
            .powf((2 * i) as f32 / config.head_dim as f32)
            .recip()
    };
    let frequencies: Vec<f32> = (0..config.head_dim / 2).map(frequency).collect();
    let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
    angles
        .map(|angle| (angle.cos(), angle.sin()))
        .unzip()
        .into()
}
