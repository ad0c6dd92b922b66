//! Weights that nobody trained, for measurements of speed: it does not depend on their values.

use curate_scorers::lm::LmError;
use curate_scorers::lm::config::Config;
use curate_scorers::lm::weights::TensorSource;

/// Random weights in the shape of a configuration.
pub struct Random(pub Config);

/// The shape of Qwen2.5-0.5B.
pub fn half_billion() -> Result<Config, LmError> {
    Config::from_json(
        br#"{"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "rope_theta": 1000000.0,
        "max_position_embeddings": 32768, "tie_word_embeddings": true}"#,
    )
}

impl TensorSource for Random {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (h, f, v) = (
            self.0.hidden_size,
            self.0.intermediate_size,
            self.0.vocab_size,
        );
        let (q, kv) = (
            self.0.num_heads * self.0.head_dim,
            self.0.num_kv_heads * self.0.head_dim,
        );
        let part = name.rsplit('.').nth(1)?;
        let is_bias = name.ends_with("bias");
        Some(match part {
            "embed_tokens" => vec![v, h],
            "lm_head" => return None,
            "q_proj" if is_bias => vec![q],
            "k_proj" | "v_proj" if is_bias => vec![kv],
            "q_proj" => vec![q, h],
            "k_proj" | "v_proj" => vec![kv, h],
            "o_proj" => vec![h, q],
            "gate_proj" | "up_proj" => vec![f, h],
            "down_proj" => vec![h, f],
            _ => vec![h],
        })
    }

    fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError> {
        let n: usize = self.shape(name).iter().flatten().product();
        let mut state = name.len() as u32 * 7919 + 1;
        let random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let scale = if n > 100_000 { 0.05 } else { 1.0 };
        Ok(std::iter::repeat_with(random)
            .take(n)
            .map(|x| x * scale)
            .collect())
    }
}
