//! Tests that need a whole model, and what these tests share.

mod batches;
mod damaged;
mod parity;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use candle_core::quantized::gguf_file::{self, Value as Meta};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use crate::lm::LmError;
use crate::lm::config::Config;
use crate::lm::decoder::{Decoder, Input, Options};
use crate::lm::gguf::Gguf;
use crate::lm::model::{Description, Model};
use crate::lm::safetensors::SafeTensors;
use crate::lm::score::{Forward, Scorer};
use crate::lm::weights::TensorSource;
use crate::lm::window::{WindowKind, Windowing};
use crate::tokenizer::Tokenizer;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/lm")
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(path)).expect("a fixture")
}

/// A text of a fixture, with the ids and the log-probabilities of the reference implementation.
struct Case {
    text: String,
    ids: Vec<u32>,
    log_probs: Vec<f32>,
}

fn cases(path: &str) -> Vec<Case> {
    let json: Value = serde_json::from_slice(&read(path)).expect("JSON");

    json["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .map(case)
        .collect()
}

fn case(json: &Value) -> Case {
    let text = json["text"].as_str().expect("a text").to_owned();

    let ids = json["ids"]
        .as_array()
        .expect("ids")
        .iter()
        .map(|id| id.as_u64().expect("an id") as u32)
        .collect();

    let log_probs = json["logprobs"]
        .as_array()
        .expect("log-probabilities")
        .iter()
        .map(|p| p.as_f64().expect("a number") as f32)
        .collect();

    Case {
        text,
        ids,
        log_probs,
    }
}

/// The inputs that score every token of the cases but the first.
fn inputs(cases: &[Case]) -> Vec<Input> {
    cases
        .iter()
        .map(|case| Input {
            tokens: case.ids.clone(),
            first_scored: 1,
        })
        .collect()
}

/// The largest difference between found and expected log-probabilities, over all tokens.
fn difference(found: &[Vec<f32>], cases: &[Case]) -> f32 {
    assert_eq!(found.len(), cases.len());

    let mut most = 0f32;
    for (found, case) in found.iter().zip(cases) {
        assert_eq!(found.len(), case.log_probs.len());

        for (found, expected) in found.iter().zip(&case.log_probs) {
            assert!(found.is_finite());
            most = most.max((found - expected).abs());
        }
    }

    most
}

fn tiny_config(form: &str, config: &str) -> Config {
    Config::from_json(&read(&format!("tiny_qwen2/{form}/{config}"))).expect("a configuration")
}

fn tiny(form: &str) -> Decoder {
    let mut source =
        SafeTensors::from_dir(&fixtures().join("tiny_qwen2").join(form)).expect("weights");
    Decoder::load(
        tiny_config(form, "config.json"),
        &mut source,
        Options::cpu(512),
    )
    .expect("a model")
}

fn embedded() -> (Description, Decoder) {
    Model::embedded()
        .expect("the embedded model")
        .load(Options::cpu(256))
        .expect("its weights")
}

/// A GGUF file of a model, written by candle: matrices in `dtype`, norms and biases in f32. `more`
/// replaces or adds pairs of the metadata.
fn gguf(
    source: &mut dyn TensorSource,
    config: &Config,
    dtype: GgmlDType,
    tokenizer: &[u8],
    more: &[(&str, Meta)],
) -> Vec<u8> {
    let architecture = config.architecture.name();

    let json: Value = serde_json::from_slice(tokenizer).expect("a tokenizer");
    let added = json["added_tokens"].as_array().expect("added tokens");
    let mut tokens: Vec<(u64, String)> = (json["model"]["vocab"]
        .as_object()
        .expect("a vocabulary")
        .iter())
    .map(|(token, id)| (id.as_u64().expect("an id"), token.clone()))
    .collect();

    // An added token may or may not be in the vocabulary too.
    let special: Vec<u64> = added
        .iter()
        .filter_map(|token| token["id"].as_u64())
        .collect();
    for token in added {
        let entry = (
            token["id"].as_u64().expect("an id"),
            token["content"].as_str().expect("text").to_owned(),
        );
        if !tokens.contains(&entry) {
            tokens.push(entry);
        }
    }
    tokens.sort();
    // llama.cpp's token types: 3 control, 1 normal.
    let kinds = tokens
        .iter()
        .map(|(id, _)| Meta::I32(if special.contains(id) { 3 } else { 1 }))
        .collect();

    // A merge is a text with a space in older files, and a pair of texts in newer ones.
    let merges = json["model"]["merges"]
        .as_array()
        .expect("merges")
        .iter()
        .map(|merge| match merge {
            Value::String(merge) => Meta::String(merge.clone()),
            pair => Meta::String(format!(
                "{} {}",
                pair[0].as_str().expect("text"),
                pair[1].as_str().expect("text")
            )),
        })
        .collect();

    let n = |n: usize| Meta::U32(n as u32);
    let mut metadata: Vec<(String, Meta)> = vec![
        (
            "general.architecture".into(),
            Meta::String(architecture.into()),
        ),
        (
            format!("{architecture}.embedding_length"),
            n(config.hidden_size),
        ),
        (
            format!("{architecture}.feed_forward_length"),
            n(config.intermediate_size),
        ),
        (format!("{architecture}.block_count"), n(config.num_layers)),
        (
            format!("{architecture}.attention.head_count"),
            n(config.num_heads),
        ),
        (
            format!("{architecture}.attention.head_count_kv"),
            n(config.num_kv_heads),
        ),
        (
            format!("{architecture}.context_length"),
            n(config.max_positions),
        ),
        (
            format!("{architecture}.rope.freq_base"),
            Meta::F32(config.rope_theta as f32),
        ),
        (
            format!("{architecture}.attention.layer_norm_rms_epsilon"),
            Meta::F32(config.rms_norm_eps as f32),
        ),
        ("tokenizer.ggml.model".into(), Meta::String("gpt2".into())),
        ("tokenizer.ggml.pre".into(), Meta::String("qwen2".into())),
        (
            "tokenizer.ggml.tokens".into(),
            Meta::Array(
                tokens
                    .into_iter()
                    .map(|(_, token)| Meta::String(token))
                    .collect(),
            ),
        ),
        ("tokenizer.ggml.token_type".into(), Meta::Array(kinds)),
        ("tokenizer.ggml.merges".into(), Meta::Array(merges)),
        ("tokenizer.ggml.bos_token_id".into(), n(0)),
        ("tokenizer.ggml.add_bos_token".into(), Meta::Bool(true)),
    ];

    for (key, value) in more {
        metadata.retain(|(name, _)| name != key);
        metadata.push(((*key).to_owned(), value.clone()));
    }

    let mut tensors = Vec::new();
    for name in source.names() {
        let shape = source.shape(&name).expect("there");
        let mut values = source.read(&name).expect("values");
        // llama.cpp's converter reorders the rows of Llama models only.
        if architecture == "llama"
            && (name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight"))
        {
            values = permuted(&values, shape[1], config.head_dim);
        }

        let tensor = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).expect("a tensor");
        let dtype = if shape.len() == 2 {
            dtype
        } else {
            GgmlDType::F32
        };
        tensors.push((
            ggml_name(&name),
            QTensor::quantize(&tensor, dtype).expect("quantised"),
        ));
    }

    let metadata: Vec<(&str, &Meta)> = metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();

    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &metadata, &tensors).expect("written");
    file.into_inner()
}

/// Permutes rows as llama.cpp's converter does:
/// `reshape(heads, 2, dim / 2, columns).swapaxes(1, 2)`.
fn permuted(values: &[f32], columns: usize, head_dim: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for head in values.chunks(head_dim * columns) {
        for i in 0..head_dim / 2 {
            for half in 0..2 {
                let row = half * head_dim / 2 + i;
                out.extend_from_slice(&head[row * columns..(row + 1) * columns]);
            }
        }
    }

    out
}

/// The name that llama.cpp gives to a tensor of Hugging Face.
fn ggml_name(name: &str) -> String {
    let mut name = name.to_owned();
    for (from, to) in [
        ("model.embed_tokens", "token_embd"),
        ("model.layers", "blk"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
    ] {
        name = name.replace(from, to);
    }

    name
}

fn embedded_gguf(dtype: GgmlDType, more: &[(&str, Meta)]) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let mut source = SafeTensors::from_dir(&data.join("embedded_lm")).expect("weights");
    let config =
        Config::from_json(&std::fs::read(data.join("embedded_lm/config.json")).expect("a file"))
            .expect("valid");
    let tokenizer = std::fs::read(data.join("embedded_tokenizer.json")).expect("a file");
    gguf(&mut source, &config, dtype, &tokenizer, more)
}

fn open_gguf(bytes: Vec<u8>) -> Result<Model, LmError> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("written");
    Model::open(&path)
}

/// Weights for a model of any shape. The same name and shape give the same weights.
struct Random(Config);

impl TensorSource for Random {
    fn names(&self) -> Vec<String> {
        // No names, so the check of all tensors finds none without a place.
        Vec::new()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (hidden, ffn, vocab) = (
            self.0.hidden_size,
            self.0.intermediate_size,
            self.0.vocab_size,
        );
        let (q, kv) = (
            self.0.num_heads * self.0.head_dim,
            self.0.num_kv_heads * self.0.head_dim,
        );

        let (rows, columns) = match name.rsplit('.').nth(1)? {
            "embed_tokens" => (vocab, hidden),
            "q_proj" => (q, hidden),
            "k_proj" | "v_proj" => (kv, hidden),
            "o_proj" => (hidden, q),
            "gate_proj" | "up_proj" => (ffn, hidden),
            "down_proj" => (hidden, ffn),
            // Absent, so the output layer is tied.
            "lm_head" => return None,
            _ => return Some(vec![hidden]),
        };

        Some(if name.ends_with("bias") {
            vec![rows]
        } else {
            vec![rows, columns]
        })
    }

    fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError> {
        let len = self.shape(name).iter().flatten().product();

        let mut state = name.bytes().fold(1u32, |state, byte| {
            state.wrapping_mul(31).wrapping_add(u32::from(byte))
        });

        // A linear congruential generator, for weights between -0.3 and 0.3.
        let random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        Ok(std::iter::repeat_with(random)
            .take(len)
            .map(|x| 0.3 * x)
            .collect())
    }
}
