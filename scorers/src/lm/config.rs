//! The shape of a model, from `config.json` or from the metadata of a GGUF file.
//!
//! The files are read by hand rather than by a derived structure, for two reasons. The two forms of
//! `config.json` in use differ: transformers writes `"sliding_window": null` where candle wants a
//! number, and transformers 5 moves `rope_theta` into `rope_parameters`. And every number is
//! bounded here, before anything is allocated by it.
//!
//! What this decoder does not do is an error rather than a wrong score: a scaled RoPE, a sliding
//! window in use, quantised weights in safetensors, experts.

use serde_json::Value;

use crate::lm::LmError;
use crate::lm::gguf::Gguf;

/// The supported architectures. They differ in the biases of attention, and in the order of a
/// head's dimensions in GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen2 and Qwen2.5: q, k and v have biases.
    Qwen2,
    /// Llama and SmolLM2: no biases.
    Llama,
}

impl Architecture {
    fn parse(key: &str, name: &str) -> Result<Architecture, LmError> {
        match name {
            "qwen2" => Ok(Architecture::Qwen2),
            "llama" => Ok(Architecture::Llama),
            _ => Err(LmError::unsupported(format!(
                "{key} is {name}, expected qwen2 or llama"
            ))),
        }
    }

    /// The name in `config.json` and in GGUF.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Qwen2 => "qwen2",
            Architecture::Llama => "llama",
        }
    }
}

/// The shape of a decoder. All numbers are within the bounds of `Config::check`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The architecture of the decoder.
    pub architecture: Architecture,
    /// Rows of the embedding. There may be more rows than the tokenizer has entries.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Inner width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_layers: usize,
    /// Number of query heads.
    pub num_heads: usize,
    /// Number of key and value heads. It divides `num_heads`.
    pub num_kv_heads: usize,
    /// Dimensions of a head. Even.
    pub head_dim: usize,
    /// The model's context, in tokens.
    pub max_positions: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// What a norm adds to the mean square.
    pub rms_norm_eps: f64,
    /// Whether the output layer is the embedding. `None` if the configuration does not say, and the
    /// presence of the tensor decides.
    pub tie_word_embeddings: Option<bool>,
    /// The token that is named as beginning of sequence. Whether it is used depends on the
    /// tokenizer's `add_bos_token`.
    pub bos_token_id: Option<u32>,
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`LmError::Malformed`] if the bytes are not a JSON object with a `model_type`.
    /// [`LmError::Unsupported`] for what this decoder does not do. [`LmError::Config`] for a number
    /// that is missing or out of bounds.
    pub fn from_json(bytes: &[u8]) -> Result<Config, LmError> {
        let json: Value =
            serde_json::from_slice(bytes).map_err(|e| LmError::malformed("config.json", e))?;
        let Some(name) = json["model_type"].as_str() else {
            return Err(LmError::malformed("config.json", "model_type is missing"));
        };

        let architecture = Architecture::parse("model_type", name)?;
        refuse_json(&json)?;

        let (hidden_size, num_heads) = (
            size(&json, "hidden_size")?,
            size(&json, "num_attention_heads")?,
        );

        // Absent numbers have the defaults of transformers.
        let config = Config {
            architecture,
            vocab_size: size(&json, "vocab_size")?,
            hidden_size,
            intermediate_size: size(&json, "intermediate_size")?,
            num_layers: size(&json, "num_hidden_layers")?,
            num_heads,
            num_kv_heads: size_or(&json, "num_key_value_heads", num_heads)?,
            head_dim: size_or(&json, "head_dim", head_dim(hidden_size, num_heads)?)?,
            max_positions: size(&json, "max_position_embeddings")?,
            rope_theta: theta(&json)?,
            rms_norm_eps: number(&json, "rms_norm_eps")?.unwrap_or(1e-6),
            tie_word_embeddings: json["tie_word_embeddings"].as_bool(),
            bos_token_id: json["bos_token_id"]
                .as_u64()
                .and_then(|id| u32::try_from(id).ok()),
        };

        config.check()
    }

    /// Reads the metadata of a GGUF file.
    ///
    /// # Errors
    /// [`LmError::MissingTensor`] if the file has no embedding, else as [`Config::from_json`].
    pub fn from_gguf(gguf: &Gguf) -> Result<Config, LmError> {
        let architecture =
            Architecture::parse("general.architecture", gguf.string("general.architecture")?)?;

        let key = |name: &str| format!("{}.{name}", architecture.name());
        refuse_gguf(gguf, &key)?;

        let (hidden_size, num_heads) = (
            gguf.size(&key("embedding_length"))?,
            gguf.size(&key("attention.head_count"))?,
        );
        let head_dim = gguf.size_or(
            &key("attention.key_length"),
            head_dim(hidden_size, num_heads)?,
        )?;

        // Models that rotate a part of each head exist. This decoder rotates all of it.
        let rotated = gguf.size_or(&key("rope.dimension_count"), head_dim)?;
        if rotated != head_dim {
            return Err(LmError::unsupported(format!(
                "RoPE over {rotated} of a head's {head_dim} dimensions"
            )));
        }

        let Some(vocab_size) = gguf
            .shape("token_embd.weight")
            .and_then(|shape| shape.first().copied())
        else {
            return Err(LmError::MissingTensor {
                name: "token_embd.weight".to_owned(),
            });
        };

        let config = Config {
            architecture,
            vocab_size,
            hidden_size,
            intermediate_size: gguf.size(&key("feed_forward_length"))?,
            num_layers: gguf.size(&key("block_count"))?,
            num_heads,
            num_kv_heads: gguf.size_or(&key("attention.head_count_kv"), num_heads)?,
            head_dim,
            max_positions: gguf.size(&key("context_length"))?,
            rope_theta: gguf.number(&key("rope.freq_base")).unwrap_or(1e4),
            rms_norm_eps: gguf
                .number(&key("attention.layer_norm_rms_epsilon"))
                .unwrap_or(1e-6),
            // GGUF has no key for this: the output layer of a file without one is the embedding.
            tie_word_embeddings: Some(gguf.shape("output.weight").is_none()),
            bos_token_id: gguf
                .number("tokenizer.ggml.bos_token_id")
                .map(|id| id as u32),
        };

        config.check()
    }

    /// Bounds far above any model in use, and far below what would exhaust memory or overflow in a
    /// product.
    ///
    /// Within these bounds the largest tensor has 2³⁶ elements, and its bytes must be in the file
    /// before memory is allocated for them.
    fn check(self) -> Result<Config, LmError> {
        let bounded = |key: &str, value: usize, most: usize| match value {
            value if (1..=most).contains(&value) => Ok(()),
            _ => Err(LmError::config(key, value, format!("1 to {most}"))),
        };

        bounded("vocab_size", self.vocab_size, 1 << 20)?;
        bounded("hidden_size", self.hidden_size, 1 << 16)?;
        bounded("intermediate_size", self.intermediate_size, 1 << 18)?;
        bounded("num_hidden_layers", self.num_layers, 512)?;
        bounded("num_attention_heads", self.num_heads, 1024)?;
        bounded("num_key_value_heads", self.num_kv_heads, 1024)?;
        bounded("head_dim", self.head_dim, 512)?;
        bounded("max_position_embeddings", self.max_positions, 1 << 24)?;

        // Rotation pairs the halves of a head, and each key head serves equally many query heads.
        if !self.head_dim.is_multiple_of(2) {
            return Err(LmError::config("head_dim", self.head_dim, "an even number"));
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            let expected = format!("a divisor of {} query heads", self.num_heads);
            return Err(LmError::config(
                "num_key_value_heads",
                self.num_kv_heads,
                expected,
            ));
        }

        // NaN is in no range, so it is refused too.
        if !(1.0..=1e12).contains(&self.rope_theta) {
            return Err(LmError::config("rope_theta", self.rope_theta, "1 to 1e12"));
        }
        if !(1e-12..=0.1).contains(&self.rms_norm_eps) {
            return Err(LmError::config(
                "rms_norm_eps",
                self.rms_norm_eps,
                "1e-12 to 0.1",
            ));
        }

        Ok(self)
    }

    /// True if q, k and v have biases.
    pub fn has_qkv_bias(&self) -> bool {
        self.architecture == Architecture::Qwen2
    }

    /// Number of parameters. A tied output layer is not counted a second time.
    pub fn parameters(&self) -> u64 {
        let (hidden, ffn) = (self.hidden_size as u64, self.intermediate_size as u64);
        let q = (self.num_heads * self.head_dim) as u64;
        let kv = (self.num_kv_heads * self.head_dim) as u64;
        let biases = if self.has_qkv_bias() { q + 2 * kv } else { 0 };

        // Four matrices of attention, three of the feed-forward layer, and two norms. One more norm
        // follows the last layer.
        let layer = hidden * (2 * q + 2 * kv) + biases + 3 * hidden * ffn + 2 * hidden;
        let embeddings = if self.tie_word_embeddings == Some(true) {
            1
        } else {
            2
        };

        self.num_layers as u64 * layer + embeddings * self.vocab_size as u64 * hidden + hidden
    }
}

/// Dimensions of a head where the file does not say.
fn head_dim(hidden_size: usize, num_heads: usize) -> Result<usize, LmError> {
    // The bounds are checked later, so 0 heads may arrive here.
    match hidden_size.checked_rem(num_heads) {
        Some(_) => Ok(hidden_size / num_heads),
        None => Err(LmError::config("num_attention_heads", 0, "at least 1")),
    }
}

/// A number that the file must have.
fn size(json: &Value, key: &str) -> Result<usize, LmError> {
    json[key]
        .as_u64()
        .map(|n| n as usize)
        .ok_or_else(|| LmError::config(key, &json[key], "a whole number"))
}

/// A number with a default.
fn size_or(json: &Value, key: &str, default: usize) -> Result<usize, LmError> {
    if json[key].is_null() {
        Ok(default)
    } else {
        size(json, key)
    }
}

/// A number that may be absent or null.
fn number(json: &Value, key: &str) -> Result<Option<f64>, LmError> {
    match &json[key] {
        Value::Null => Ok(None),
        value => value
            .as_f64()
            .map(Some)
            .ok_or_else(|| LmError::config(key, value, "a number")),
    }
}

/// The base of the rotary frequencies, at the top level or, as transformers 5 writes it, in
/// `rope_parameters`.
fn theta(json: &Value) -> Result<f64, LmError> {
    let in_parameters = number(&json["rope_parameters"], "rope_theta")?;
    Ok(number(json, "rope_theta")?.or(in_parameters).unwrap_or(1e4))
}

/// Refuses what this decoder does not do, in a `config.json`.
fn refuse_json(json: &Value) -> Result<(), LmError> {
    for key in ["rope_scaling", "rope_parameters"] {
        // `type` is the older spelling of `rope_type`.
        let kind = json[key]["rope_type"]
            .as_str()
            .or(json[key]["type"].as_str());
        if json[key].is_object() && kind.unwrap_or("default") != "default" {
            return Err(LmError::unsupported(format!(
                "{key} of type {}",
                kind.unwrap_or("default")
            )));
        }
    }

    // `sliding_window` alone is no reason to refuse: a file may state a width that is not in use.
    if json["use_sliding_window"] == true {
        return Err(LmError::unsupported("use_sliding_window is true"));
    }
    let layers = json["layer_types"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if let Some(kind) = layers.iter().find(|kind| *kind != "full_attention") {
        return Err(LmError::unsupported(format!("layer_types has {kind}")));
    }

    for key in ["attention_bias", "mlp_bias"] {
        if json[key] == true {
            return Err(LmError::unsupported(format!("{key} is true")));
        }
    }

    if json["quantization_config"].is_object() {
        return Err(LmError::unsupported(
            "the weights in safetensors are quantised; use a GGUF file",
        ));
    }

    match json["hidden_act"].as_str() {
        None | Some("silu") => Ok(()),
        Some(activation) => Err(LmError::unsupported(format!(
            "hidden_act is {activation}, expected silu"
        ))),
    }
}

/// Refuses what this decoder does not do, in a GGUF file.
fn refuse_gguf(gguf: &Gguf, key: &dyn Fn(&str) -> String) -> Result<(), LmError> {
    let scaling = gguf.string(&key("rope.scaling.type")).unwrap_or("none");
    if scaling != "none" {
        return Err(LmError::unsupported(format!(
            "RoPE scaling of type {scaling}"
        )));
    }

    for name in ["expert_count", "attention.sliding_window"] {
        if gguf.number(&key(name)).is_some_and(|n| n > 0.0) {
            return Err(LmError::unsupported(format!("{} is set", key(name))));
        }
    }

    // llama.cpp's converter stores the scaled frequencies of Llama 3.1 in this tensor.
    if gguf.shape("rope_freqs.weight").is_some() {
        return Err(LmError::unsupported(
            "the file has its own rotary frequencies (rope_freqs.weight)",
        ));
    }

    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = r#"{"model_type": "qwen2", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 8"#;

    fn parse(more: &str) -> Result<Config, LmError> {
        Config::from_json(format!("{TINY}{more}}}").as_bytes())
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let config = parse("").expect("valid");
        assert_eq!(
            (config.head_dim, config.rope_theta, config.rms_norm_eps),
            (4, 1e4, 1e-6)
        );
        assert_eq!(
            (config.tie_word_embeddings, config.bos_token_id),
            (None, None)
        );

        // transformers 5 moves the base of the rotary frequencies.
        let five = parse(r#", "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}"#)
            .expect("valid");
        assert_eq!(five.rope_theta, 1e6);
    }

    #[test]
    fn what_the_decoder_does_not_do_is_refused() {
        for (more, word) in [
            (
                r#", "rope_scaling": {"rope_type": "yarn", "factor": 4.0}"#,
                "yarn",
            ),
            (
                r#", "rope_scaling": {"type": "linear", "factor": 4.0}"#,
                "linear",
            ),
            (
                r#", "use_sliding_window": true, "sliding_window": 4"#,
                "use_sliding_window",
            ),
            (
                r#", "layer_types": ["sliding_attention"]"#,
                "sliding_attention",
            ),
            (r#", "hidden_act": "gelu""#, "gelu"),
            (r#", "attention_bias": true"#, "attention_bias"),
            (
                r#", "quantization_config": {"quant_method": "gptq"}"#,
                "GGUF",
            ),
        ] {
            let error = parse(more).expect_err(more);
            assert!(
                matches!(&error, LmError::Unsupported { .. }),
                "{more}: {error}"
            );
            assert!(error.to_string().contains(word), "{more}: {error}");
        }

        let mistral = TINY.replace("qwen2", "mistral") + "}";
        let error = Config::from_json(mistral.as_bytes()).expect_err("another architecture");
        assert_eq!(
            error.to_string(),
            "unsupported model: model_type is mistral, expected qwen2 or llama"
        );
    }

    #[test]
    fn numbers_are_bounded() {
        for (from, to) in [
            (r#""vocab_size": 8"#, r#""vocab_size": 1099511627776"#),
            (r#""vocab_size": 8"#, r#""vocab_size": -1"#),
            (r#""hidden_size": 8"#, r#""hidden_size": 1e9"#),
            (r#""num_hidden_layers": 1"#, r#""num_hidden_layers": 0"#),
            (r#""num_attention_heads": 2"#, r#""num_attention_heads": 0"#),
            (r#""num_attention_heads": 2"#, r#""num_attention_heads": 8"#),
            (r#""num_key_value_heads": 1"#, r#""num_key_value_heads": 3"#),
            (r#""intermediate_size": 8"#, r#""intermediate_size": "8""#),
            (
                r#""max_position_embeddings": 8"#,
                r#""max_position_embeddings": 8, "rope_theta": 0"#,
            ),
            (
                r#""max_position_embeddings": 8"#,
                r#""max_position_embeddings": 8, "rms_norm_eps": 2"#,
            ),
            (
                r#""max_position_embeddings": 8"#,
                r#""max_position_embeddings": 8, "head_dim": 1024"#,
            ),
        ] {
            let json = TINY.replace(from, to) + "}";
            let error = Config::from_json(json.as_bytes()).expect_err(to);
            assert!(matches!(error, LmError::Config { .. }), "{to}: {error}");
        }

        for bytes in [&b""[..], b"[]", b"{", b"{}", b"\xff"] {
            assert!(matches!(
                Config::from_json(bytes),
                Err(LmError::Malformed { .. })
            ));
        }
    }

    #[test]
    fn parameters_of_qwen2_5() {
        // Qwen2.5 technical report and configurations: 0.5B has 494,032,768 parameters, 7B has
        // 7,615,616,512.
        let config = |hidden, ffn, layers, heads, kv, vocab, tied: bool| {
            let json = format!(
                r#"{{"model_type": "qwen2", "vocab_size": {vocab}, "hidden_size": {hidden}, "intermediate_size": {ffn},
                "num_hidden_layers": {layers}, "num_attention_heads": {heads}, "num_key_value_heads": {kv},
                "max_position_embeddings": 32768, "tie_word_embeddings": {tied}}}"#
            );
            Config::from_json(json.as_bytes()).expect("valid")
        };

        assert_eq!(
            config(896, 4864, 24, 14, 2, 151_936, true).parameters(),
            494_032_768
        );
        assert_eq!(
            config(3584, 18944, 28, 28, 4, 152_064, false).parameters(),
            7_615_616_512
        );
    }
}
