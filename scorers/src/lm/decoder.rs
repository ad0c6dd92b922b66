//! A decoder-only transformer that scores: `ln p(t_i | t_<i)` at every position, and nothing else.
//!
//! The architecture is that of Llama (Touvron et al. 2023, arXiv:2302.13971) with grouped-query
//! attention (Ainslie et al. 2023, arXiv:2305.13245). Qwen2 (arXiv:2407.10671) adds biases on q, k
//! and v.
//!
//! Written for scoring:
//!
//! * Windows follow one another, so the products with weights compute no padding.
//! * There is no cache of keys and values.
//! * Cosines and sines are f32 in any dtype.
//! * The output layer is applied to a block of positions at a time and, on the CPU, to a block of
//!   the vocabulary at a time, with a running logsumexp. No `[tokens, vocabulary]` matrix ever
//!   exists.
//!
//! Cost: 2 × parameters FLOPs a token, embedding excluded and output layer included, plus
//! attention.

use std::sync::{Mutex, PoisonError};

use candle_core::{D, DType, Device, Storage, Tensor};

use crate::lm::LmError;
use crate::lm::config::Config;
#[cfg(feature = "cuda")]
use crate::lm::cuda;
use crate::lm::load::{Loader, check_tensors};
use crate::lm::ops::{AddAssign, CausalAttention, Heads, LogSumExp, SwigluInto, add_logits};
use crate::lm::weights::TensorSource;

/// A run of tokens to read. The tokens from `first_scored` on are scored, each given all tokens
/// before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The token ids, including the beginning-of-sequence token if the model has one.
    pub tokens: Vec<u32>,
    /// Index of the first token to score. At least 1, because nothing predicts the first token.
    pub first_scored: usize,
}

/// Where a decoder runs, and how much it holds in memory at a time.
#[derive(Debug, Clone)]
pub struct Options {
    /// The device that computes.
    pub device: Device,
    /// The dtype of weights and activations. Norms, rotation, softmax and cross-entropy are f32 in
    /// any dtype.
    pub dtype: DType,
    /// Length of the longest window to expect, in tokens. The model's own context applies if it is
    /// shorter.
    pub positions: usize,
    /// Bytes of logits held at a time and, off the CPU, of attention scores.
    pub chunk_bytes: usize,
}

impl Options {
    /// f32 on the CPU, with 2 MiB of logits at a time: more would not stay in the cache.
    pub fn cpu(positions: usize) -> Options {
        Options {
            device: Device::Cpu,
            dtype: DType::F32,
            positions,
            chunk_bytes: 2 << 20,
        }
    }

    /// Options for a device: on the CPU those of [`Options::cpu`], elsewhere the dtype of the
    /// device, with 1 GiB of logits at a time.
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

/// The weights of a layer.
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    pub(super) qkv: Tensor,
    /// Biases of q, k and v, one after the other, if the architecture has them.
    pub(super) bias: Option<Tensor>,
    /// The same biases for the loops of the CPU. Empty if there are none.
    pub(super) bias_values: Vec<f32>,
    pub(super) output: Tensor,
    pub(super) mlp_norm: Tensor,
    /// The rows of the gate projection, then those of the up projection.
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
    /// Cosines and sines, `[positions, head_dim / 2]`, in f32 throughout, as transformers computes
    /// them.
    angles: [Vec<f32>; 2],
    /// The same tables on the device.
    angles_there: [Tensor; 2],
    operations: Operations,
    /// Lets one batch at a time run on a GPU. Two at once would need memory for two, and take as
    /// long as one after the other.
    turn: Mutex<()>,
}

/// What computes the steps between the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operations {
    /// Loops over slices: f32 on the CPU.
    Loops,
    /// Our own kernels on CUDA.
    #[cfg(feature = "cuda")]
    Kernels,
    /// Operations of the tensor library, on any device.
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

/// Attention of a layer, from q, k and v without biases to mixed values.
type AttentionOf<'a> = dyn Fn(&'a Layer, Tensor) -> candle_core::Result<Tensor> + 'a;

/// Rows of a batch that go through the feed-forward layer at a time on the CPU.
///
/// The block of rows stays in the cache, and is large enough to pay for packing the weights.
const CPU_ROWS: usize = 512;
/// Columns of the feed-forward layer's inner width that are computed at a time on the CPU, to stay
/// in the cache.
const CPU_COLUMNS: usize = 1024;

impl Decoder {
    /// Reads the weights. If the configuration does not say whether the output layer is tied, the
    /// tensors of the source decide.
    ///
    /// # Errors
    /// [`LmError::MissingTensor`], [`LmError::UnexpectedTensor`] or [`LmError::Shape`], naming the
    /// tensor, if the source does not fit the configuration. These checks come before any tensor is
    /// read. After that, the errors of reading.
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

    /// The shape of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the decoder runs. `positions` is at most the model's context.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The same decoder with [`Operations::Tensors`], which f32 on the CPU would not use.
    #[cfg(test)]
    pub(crate) fn by_tensors(self) -> Decoder {
        Decoder {
            operations: Operations::Tensors,
            ..self
        }
    }

    /// For each input, `ln p(t_i | t_<i)` in nats for each i from `first_scored` on, in order.
    ///
    /// # Errors
    /// [`LmError::TokenId`] and [`LmError::TooLong`] for inputs that do not belong to the model.
    /// [`LmError::NotFinite`] if the dtype is too narrow for the model. [`LmError::Backend`] if the
    /// device fails, for example for lack of memory.
    pub fn log_probs(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, LmError> {
        self.check(inputs)?;

        // The CPU is shared by the threads. The lock guards no data, so it is used even if another
        // thread panicked while it held the lock.
        let is_shared = self.options.device.is_cpu();
        let _turn = (!is_shared).then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));

        // An input without a scored token is not run. Attention may then rely on windows of at
        // least two tokens.
        let inputs_scored: Vec<&Input> = inputs
            .iter()
            .filter(|input| !scored(input).is_empty())
            .collect();

        let mut flat = Vec::new().into_iter();
        if !inputs_scored.is_empty() {
            let hidden = self.hidden(&inputs_scored)?;
            flat = self.cross_entropy(&inputs_scored, &hidden)?.into_iter();
        }

        // One such value would spoil the sum of its document.
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

    /// Checks that every input fits the positions and the vocabulary.
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

    /// States of the last layer after the final norm: `[tokens, hidden]`, windows one after the
    /// other.
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

        // One buffer for all layers: only the loops write into it.
        let inner = (CPU_ROWS.min(x.dim(0)?), self.config.intermediate_size);
        let inner = match self.operations {
            Operations::Loops => Some(Tensor::zeros(inner, DType::F32, &Device::Cpu)?),
            _ => None,
        };

        let Some(first) = self.layers.first() else {
            return Ok(self.normed(&x, &self.norm)?);
        };

        // The norm of a layer is computed with the sum before it, so that the kernels do both in
        // one pass. Each turn therefore ends with the norm of the next layer, or with the final
        // norm.
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

    /// Adds the output of a layer to the residual stream, and returns the stream and its norm.
    fn add_norm(
        &self,
        x: Tensor,
        y: &Tensor,
        weight: &Tensor,
    ) -> candle_core::Result<(Tensor, Tensor)> {
        // In place where that is possible: the stream is a tensor of this batch alone.
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

    /// silu(gate) · up, for `Operations::Kernels` and `Operations::Tensors`.
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

    /// The attention of a layer for windows of these lengths, as a function from q, k and v without
    /// biases to the mixed values.
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

    /// Attention in the operations of the tensor library.
    ///
    /// Windows are padded on the right to the longest. No position sees the padding, because no
    /// position sees what follows it. Query rows go in chunks of `chunk_bytes` of scores.
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

        // `rope` takes contiguous tensors only.
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

        // Query heads that share a key head lie in one matrix, so keys and values are not repeated.
        let q = rotated(part(0, query)?)?.reshape((windows, kv, query / kv, longest, dim))?;
        let k = rotated(part(query, kv)?)?.reshape((windows * kv, longest, dim))?;
        let v = part(query + kv, kv)?.reshape((windows * kv, longest, dim))?;

        let rows = padding.chunk_rows;
        let mut chunks = Vec::new();
        for start in (0..longest).step_by(rows) {
            let rows = rows.min(longest - start);
            // Columns after the last row of the chunk are masked in all its rows, so they are not
            // computed.
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
                // The state of a position predicts the next token. `scored` begins at 1 or later.
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

        // One copy to the device and one copy back, because each copy waits for all work that is
        // queued.
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

    /// Appends the log-probabilities of `targets` to `out`, over a block of the vocabulary at a
    /// time.
    fn log_probs_by_loops(
        &self,
        hidden: &Tensor,
        targets: &[u32],
        out: &mut Vec<f32>,
    ) -> candle_core::Result<()> {
        let vocab = self.config.vocab_size;
        let columns = (self.options.chunk_bytes / (4 * targets.len())).clamp(16.min(vocab), vocab);

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

    /// Log-probabilities of `targets`, over the whole vocabulary at once.
    fn log_probs_by_tensors(
        &self,
        hidden: &Tensor,
        targets: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let logits = hidden.matmul(&self.head.t()?)?.to_dtype(DType::F32)?;

        let target = logits.gather(&targets.unsqueeze(1)?, 1)?;

        // The maximum is taken off first, so that no exponential overflows.
        let max = logits.max_keepdim(D::Minus1)?;
        let sum = logits
            .broadcast_sub(&max)?
            .exp()?
            .sum_keepdim(D::Minus1)?
            .log()?;

        (target - (max + sum)?)?.squeeze(1)
    }
}

/// The feed-forward layer, added to `x` in place, over a block of rows and of inner columns at a
/// time.
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

        // A narrowed tensor shares its storage, so this writes into `x`.
        x.narrow(0, start, rows)?
            .inplace_op2(&inner.matmul(&layer.down.t()?)?, &AddAssign)?;
    }

    Ok(x)
}

/// Indices of the tokens of an input that are scored. The first token never is.
fn scored(input: &Input) -> std::ops::Range<usize> {
    input.first_scored.max(1).min(input.tokens.len())..input.tokens.len()
}

/// Where the rows of consecutive windows lie in a padded batch, and how to get back.
struct Padding {
    windows: usize,
    longest: usize,
    /// For each row of the padded batch, its row among the windows.
    scatter: Tensor,
    /// For each row of the windows, its row in the padded batch.
    gather: Tensor,
    /// Query rows of attention at a time.
    chunk_rows: usize,
    /// `[chunk_rows, longest + chunk_rows]`, −∞ where the column is more than `longest` after the
    /// row. The mask of the chunk that starts at s begins at column `longest` − s.
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
            // Padding repeats the last row of the window: finite values that nothing reads. No
            // window is empty, because `log_probs` leaves inputs without a scored token out.
            scatter.extend((0..longest).map(|j| (first + j.min(len - 1)) as u32));
            gather.extend((0..len).map(|j| (i * longest + j) as u32));
            first += len;
        }

        let scores_bytes = 4 * windows.len() * decoder.config.num_heads * longest;
        let chunk_rows = (decoder.options.chunk_bytes / scores_bytes).clamp(1, longest);

        let columns = longest + chunk_rows;
        let mask = (0..chunk_rows * columns)
            .map(|i| {
                let (row, column) = (i / columns, i % columns);
                if column <= longest + row {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
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

/// Cosines and sines of all positions, each `[positions, head_dim / 2]`.
fn rotation(config: &Config, positions: usize) -> [Vec<f32>; 2] {
    // In f32 from the start, as transformers does.
    let frequencies: Vec<f32> = (0..config.head_dim / 2)
        .map(|i| {
            (config.rope_theta as f32)
                .powf((2 * i) as f32 / config.head_dim as f32)
                .recip()
        })
        .collect();

    let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
    angles
        .map(|angle| (angle.cos(), angle.sin()))
        .unzip()
        .into()
}
