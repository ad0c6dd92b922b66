//! How much memory scoring takes, and so how large a batch may be.
//!
//! The plan counts the decoder's own buffers at their largest:
//!
//! * the weights,
//! * for each token the residual stream, its norm, q, k, v, the mixed values and the widened layer,
//! * one chunk of logits and one of attention scores.
//!
//! The caches of keys and values that generation would need are reported for comparison. Scoring
//! has no such caches.

use candle_core::DType;

use crate::lm::config::Config;
use crate::lm::decoder::Options;

/// Bytes of keys and values for `batch` sequences of `tokens` tokens, at `bytes` bytes a value: 2 ·
/// batch · tokens · layers · KV heads · head dimensions · bytes.
pub fn kv_bytes(config: &Config, batch: u64, tokens: u64, bytes: u64) -> u64 {
    2 * batch * tokens * (config.num_layers * config.num_kv_heads * config.head_dim) as u64 * bytes
}

/// What a memory plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Bytes of a weight or an activation: 4 or 2.
    pub dtype_bytes: u64,
    /// Length of the longest window, in tokens.
    pub window_tokens: u64,
    /// Bytes of logits held at a time, and of attention scores.
    pub chunk_bytes: u64,
    /// True for the loops of the CPU, which widen a few rows at a time. False for operations on a
    /// whole batch.
    pub uses_loops: bool,
}

impl Demand {
    /// The demand of a decoder with these options, for windows as long as its positions.
    pub fn of(options: &Options) -> Demand {
        Demand {
            dtype_bytes: options.dtype.size_in_bytes() as u64,
            window_tokens: options.positions as u64,
            chunk_bytes: options.chunk_bytes as u64,
            uses_loops: options.device.is_cpu() && options.dtype == DType::F32,
        }
    }
}

/// Bytes of memory, by what they are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Bytes of the weights.
    pub weights: u64,
    /// Bytes of the activations of a token.
    pub activations_per_token: u64,
    /// Bytes of the chunk of logits and of what is derived from the chunk.
    pub logits: u64,
    /// Bytes of the chunk of attention scores and of what is derived from the chunk. The loops'
    /// rows of the widened layer are included.
    pub attention: u64,
    /// Bytes of the keys and values of a token in all layers. Scoring keeps one layer's at a time.
    pub kv_per_token: u64,
    /// The most tokens of a padded batch that fit into the given memory. 0 if not even one window
    /// fits.
    pub batch_tokens: u64,
}

impl MemoryPlan {
    /// The plan for a model in `memory_bytes` of memory, in which `batches` batches run at once.
    pub fn new(config: &Config, demand: Demand, memory_bytes: u64, batches: u64) -> MemoryPlan {
        let Demand {
            dtype_bytes,
            window_tokens,
            chunk_bytes,
            uses_loops,
        } = demand;

        let (hidden, ffn) = (config.hidden_size as u64, config.intermediate_size as u64);
        let (q, kv) = (
            (config.num_heads * config.head_dim) as u64,
            (config.num_kv_heads * config.head_dim) as u64,
        );

        // Always: the stream before and after a sum, its norm, and the output of a product, each of
        // width `hidden`. In attention: q, k and v as they are and padded, rotated in f32, and
        // mixed. In the feed-forward layer: gate, up, their product, and the activation in between.
        // Attention and the feed-forward layer do not run at the same time.
        let attention_row = (3 * (q + 2 * kv) + 2 * q) * dtype_bytes + (q + kv) * 8;
        let mlp_row = if uses_loops { 0 } else { 4 * ffn * dtype_bytes };
        let activations_per_token = 4 * hidden * dtype_bytes + attention_row.max(mlp_row);

        // The loops widen 512 rows at a time, whatever the batch: see `CPU_ROWS` and `CPU_COLUMNS`.
        let fixed_rows = if uses_loops {
            512 * (ffn + 2 * 1024) * 4
        } else {
            0
        };

        // Logits in the dtype, in f32, shifted, and their exponentials, for at least one row.
        // Attention scores likewise.
        let logits = 4 * chunk_bytes.max(
            4 * if uses_loops {
                1
            } else {
                config.vocab_size as u64
            },
        );
        let attention = 4 * chunk_bytes.max(4 * config.num_heads as u64 * window_tokens);

        let weights = config.parameters() * dtype_bytes;

        // All batches share one copy of the weights.
        let left = memory_bytes.saturating_sub(weights) / batches.max(1);
        let batch_tokens =
            left.saturating_sub(logits + attention + fixed_rows) / activations_per_token;

        MemoryPlan {
            weights,
            activations_per_token,
            logits,
            attention: attention + fixed_rows,
            kv_per_token: kv_bytes(config, 1, 1, dtype_bytes),
            batch_tokens: if batch_tokens < window_tokens {
                0
            } else {
                batch_tokens
            },
        }
    }

    /// Bytes in use while a padded batch of `batch_tokens` tokens runs.
    pub fn total(&self, batch_tokens: u64) -> u64 {
        self.weights + self.logits + self.attention + batch_tokens * self.activations_per_token
    }
}

impl std::fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);

        write!(
            f,
            "weights {:.0} MiB, logits chunk {:.0} MiB, attention chunk {:.0} MiB, activations {:.1} KiB a token: \
             up to {} tokens a batch (keys and values of generation would be {:.1} KiB a token)",
            mib(self.weights),
            mib(self.logits),
            mib(self.attention),
            self.activations_per_token as f64 / 1024.0,
            self.batch_tokens,
            self.kv_per_token as f64 / 1024.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(
        layers: usize,
        hidden: usize,
        ffn: usize,
        heads: (usize, usize, usize),
        vocab: usize,
    ) -> Config {
        let json = format!(
            r#"{{"model_type": "qwen2", "vocab_size": {vocab}, "hidden_size": {hidden}, "intermediate_size": {ffn},
            "num_hidden_layers": {layers}, "num_attention_heads": {}, "num_key_value_heads": {}, "head_dim": {},
            "max_position_embeddings": 32768, "tie_word_embeddings": {}}}"#,
            heads.0,
            heads.1,
            heads.2,
            hidden < 3584
        );
        Config::from_json(json.as_bytes()).expect("valid")
    }

    /// Qwen2.5 technical report, table 1, with the dimensions of the published configurations:
    /// bytes a token in bf16, GiB of 32,768 tokens, parameters.
    #[test]
    fn keys_and_values_of_qwen2_5() {
        for (config, per_token, gib, parameters) in [
            (
                config(24, 896, 4864, (14, 2, 64), 151_936),
                12_288,
                0.375,
                494_032_768,
            ),
            (
                config(28, 1536, 8960, (12, 2, 128), 151_936),
                28_672,
                0.875,
                1_543_714_304,
            ),
            (
                config(36, 2048, 11008, (16, 2, 128), 151_936),
                36_864,
                1.125,
                3_085_938_688,
            ),
            (
                config(28, 3584, 18944, (28, 4, 128), 152_064),
                57_344,
                1.75,
                7_615_616_512,
            ),
            (
                config(48, 5120, 13824, (40, 8, 128), 152_064),
                196_608,
                6.0,
                14_770_033_664,
            ),
            (
                config(64, 5120, 27648, (40, 8, 128), 152_064),
                262_144,
                8.0,
                32_763_876_352,
            ),
            (
                config(80, 8192, 29568, (64, 8, 128), 152_064),
                327_680,
                10.0,
                72_706_203_648,
            ),
        ] {
            assert_eq!(kv_bytes(&config, 1, 1, 2), per_token);
            assert_eq!(
                kv_bytes(&config, 1, 32_768, 2) as f64 / f64::from(1 << 30),
                gib
            );
            assert_eq!(config.parameters(), parameters);
        }

        let half_b = config(24, 896, 4864, (14, 2, 64), 151_936);
        assert_eq!(kv_bytes(&half_b, 256, 2048, 2), 6 << 30);
    }

    #[test]
    fn batches_grow_with_memory() {
        let config = config(24, 896, 4864, (14, 2, 64), 151_936);
        let demand = Demand {
            dtype_bytes: 2,
            window_tokens: 512,
            chunk_bytes: 256 << 20,
            uses_loops: false,
        };

        let plan = |gib: u64| MemoryPlan::new(&config, demand, gib << 30, 1);

        assert_eq!(plan(1).batch_tokens, 0);
        assert!(plan(8).batch_tokens > 10_000 && plan(80).batch_tokens > 10 * plan(8).batch_tokens);
        assert!(plan(8).total(plan(8).batch_tokens) <= 8 << 30);

        // Two batches, which share the weights.
        let shared = MemoryPlan::new(&config, demand, 8 << 30, 2);
        assert!(
            2 * shared.total(shared.batch_tokens) - shared.weights <= 8 << 30,
            "{shared}"
        );

        assert!(
            plan(8)
                .to_string()
                .starts_with("weights 942 MiB, logits chunk 1024 MiB"),
            "{}",
            plan(8)
        );
    }
}
