//! From named tensors to a decoder's weights: all are checked by name and shape before the first is
//! read.

use candle_core::{Device, Tensor};

use crate::lm::LmError;
use crate::lm::config::Config;
use crate::lm::decoder::{Layer, Options};
use crate::lm::weights::{TensorSource, read_checked};

/// Reads tensors, puts together those that are one product, and moves them to the device.
pub(super) struct Loader<'a> {
    pub(super) config: &'a Config,
    pub(super) source: &'a mut dyn TensorSource,
    pub(super) options: &'a Options,
}

impl Loader<'_> {
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
        let bias = match bias_values.as_slice() {
            [] => None,
            values => Some(self.tensor(values.to_vec(), &[values.len()])?),
        };
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

    /// One or more matrices of so many rows each, one below the other.
    pub(super) fn matrix(
        &mut self,
        names: &[&str],
        rows: &[usize],
        columns: usize,
    ) -> Result<Tensor, LmError> {
        let mut values = Vec::new();
        for (name, &rows) in names.iter().zip(rows) {
            let part = read_checked(self.source, name, &[rows, columns])?;
            values = if values.is_empty() {
                part
            } else {
                [values, part].concat()
            };
        }
        self.tensor(values, &[rows.iter().sum(), columns])
    }

    pub(super) fn vector(&mut self, name: &str) -> Result<Tensor, LmError> {
        let values = read_checked(self.source, name, &[self.config.hidden_size])?;
        self.tensor(values, &[self.config.hidden_size])
    }

    fn tensor(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor, LmError> {
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

/// Whether the source has just the tensors that the configuration calls for. What transformers
/// ignores is ignored: rotary frequencies of old checkpoints, and a copy of a tied output layer.
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
    let known: std::collections::HashSet<&str> =
        expected.iter().map(|(name, _)| name.as_str()).collect();
    let is_ignored = |name: &str| name.ends_with("rotary_emb.inv_freq") || name == "lm_head.weight";
    match source
        .names()
        .into_iter()
        .find(|name| !known.contains(name.as_str()) && !is_ignored(name))
    {
        Some(name) => Err(LmError::UnexpectedTensor { name }),
        None => Ok(()),
    }
}
