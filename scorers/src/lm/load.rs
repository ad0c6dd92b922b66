//! From named tensors to a decoder's weights.
//!
//! The name and the shape of every tensor are checked before the first tensor is read.

use candle_core::{Device, Tensor};

use crate::lm::LmError;
use crate::lm::config::Config;
use crate::lm::decoder::{Layer, Options};
use crate::lm::weights::{TensorSource, read_checked};

/// Reads tensors, joins matrices that multiply the same input, and moves the tensors to the device.
pub(super) struct Loader<'a> {
    pub(super) config: &'a Config,
    pub(super) source: &'a mut dyn TensorSource,
    pub(super) options: &'a Options,
}

impl Loader<'_> {
    /// The weights of layer `i`.
    pub(super) fn layer(&mut self, i: usize) -> Result<Layer, LmError> {
        let Config {
            hidden_size,
            intermediate_size,
            head_dim,
            ..
        } = *self.config;
        let (q, kv) = (
            self.config.num_heads * head_dim,
            self.config.num_kv_heads * head_dim,
        );

        let name = |part: &str| format!("model.layers.{i}.{part}");
        let [gate, up, down] =
            ["gate", "up", "down"].map(|part| name(&format!("mlp.{part}_proj.weight")));
        let weights = ["q", "k", "v"].map(|part| name(&format!("self_attn.{part}_proj.weight")));
        let biases = ["q", "k", "v"].map(|part| name(&format!("self_attn.{part}_proj.bias")));

        let mut bias_values = Vec::new();
        if self.config.has_qkv_bias() {
            for (name, len) in biases.iter().zip([q, kv, kv]) {
                bias_values.extend(read_checked(self.source, name, &[len])?);
            }
        }

        // Kept twice: the loops of the CPU read the values, all other operations read the tensor.
        let bias = match bias_values.as_slice() {
            [] => None,
            values => Some(self.tensor(values.to_vec(), &[values.len()])?),
        };

        // q, k and v are stacked so that one product computes them. gate and up are stacked too,
        // but the CPU computes them apart.
        Ok(Layer {
            attention_norm: self.vector(&name("input_layernorm.weight"))?,
            qkv: self.matrix(
                &weights.each_ref().map(String::as_str),
                &[q, kv, kv],
                hidden_size,
            )?,
            bias,
            bias_values,
            output: self.matrix(&[&name("self_attn.o_proj.weight")], &[hidden_size], q)?,
            mlp_norm: self.vector(&name("post_attention_layernorm.weight"))?,
            gate_up: self.matrix(&[&gate, &up], &[intermediate_size; 2], hidden_size)?,
            down: self.matrix(&[&down], &[hidden_size], intermediate_size)?,
        })
    }

    /// Reads one or more matrices with the given numbers of rows, and stacks them one below the
    /// other.
    pub(super) fn matrix(
        &mut self,
        names: &[&str],
        rows: &[usize],
        columns: usize,
    ) -> Result<Tensor, LmError> {
        let mut values = Vec::new();
        for (name, &rows) in names.iter().zip(rows) {
            let part = read_checked(self.source, name, &[rows, columns])?;
            // A single part, which may be the whole embedding, is not copied.
            values = if values.is_empty() {
                part
            } else {
                [values, part].concat()
            };
        }

        self.tensor(values, &[rows.iter().sum(), columns])
    }

    /// Reads a vector of the width of the residual stream.
    pub(super) fn vector(&mut self, name: &str) -> Result<Tensor, LmError> {
        let values = read_checked(self.source, name, &[self.config.hidden_size])?;
        self.tensor(values, &[self.config.hidden_size])
    }

    /// Converts values to the dtype and moves them to the device.
    fn tensor(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor, LmError> {
        // Converted before the move, so that the device never holds a copy in f32.
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?
            .to_dtype(self.options.dtype)?
            .to_device(&self.options.device)?)
    }
}

/// The tensors that the configuration calls for, with their dimensions.
fn expected_tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let Config {
        vocab_size,
        hidden_size,
        intermediate_size,
        head_dim,
        ..
    } = *config;
    let (q, kv) = (config.num_heads * head_dim, config.num_kv_heads * head_dim);

    let mut expected = vec![(
        "model.embed_tokens.weight".to_owned(),
        vec![vocab_size, hidden_size],
    )];
    expected.push(("model.norm.weight".to_owned(), vec![hidden_size]));
    // `Decoder::load` has decided by now whether the output layer is tied.
    if config.tie_word_embeddings != Some(true) {
        expected.push(("lm_head.weight".to_owned(), vec![vocab_size, hidden_size]));
    }

    for i in 0..config.num_layers {
        let mut add = |part: &str, shape: &[usize]| {
            expected.push((format!("model.layers.{i}.{part}"), shape.to_vec()))
        };

        add("input_layernorm.weight", &[hidden_size]);
        add("post_attention_layernorm.weight", &[hidden_size]);

        for (part, rows) in [("q", q), ("k", kv), ("v", kv)] {
            add(
                &format!("self_attn.{part}_proj.weight"),
                &[rows, hidden_size],
            );
            if config.has_qkv_bias() {
                add(&format!("self_attn.{part}_proj.bias"), &[rows]);
            }
        }

        add("self_attn.o_proj.weight", &[hidden_size, q]);
        add("mlp.gate_proj.weight", &[intermediate_size, hidden_size]);
        add("mlp.up_proj.weight", &[intermediate_size, hidden_size]);
        add("mlp.down_proj.weight", &[hidden_size, intermediate_size]);
    }

    expected
}

/// Checks that the source has exactly the tensors that the configuration calls for.
///
/// Two kinds of further tensors are ignored, as transformers ignores them: rotary frequencies of
/// old checkpoints, and a copy of a tied output layer.
pub(super) fn check_tensors(config: &Config, source: &dyn TensorSource) -> Result<(), LmError> {
    let expected = expected_tensors(config);

    for (name, shape) in &expected {
        match source.shape(name) {
            None => return Err(LmError::MissingTensor { name: name.clone() }),
            Some(found) if found != *shape => {
                return Err(LmError::Shape {
                    name: name.clone(),
                    found,
                    expected: shape.clone(),
                });
            }
            Some(_) => {}
        }
    }

    // A tensor without a place means that the model computes something that this decoder does not.
    let known: std::collections::HashSet<&str> =
        expected.iter().map(|(name, _)| name.as_str()).collect();
    let unexpected = source.names().into_iter().find(|name| {
        let is_ignored = name.ends_with("rotary_emb.inv_freq") || name == "lm_head.weight";
        !known.contains(name.as_str()) && !is_ignored
    });

    match unexpected {
        Some(name) => Err(LmError::UnexpectedTensor { name }),
        None => Ok(()),
    }
}
