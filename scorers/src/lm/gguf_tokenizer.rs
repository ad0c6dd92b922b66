//! The tokenizer in the metadata of a GGUF file.
//!
//! It is rewritten as a `tokenizer.json`, so that it is loaded and named like any other tokenizer.

use serde_json::json;

use crate::lm::LmError;
use crate::lm::gguf::Gguf;
use crate::lm::gguf_header::Meta;

impl Gguf {
    /// The tokenizer in the metadata, as the bytes of a `tokenizer.json`.
    ///
    /// Supported is byte-level BPE (`tokenizer.ggml.model` is `gpt2`) with the pre-tokenizer of
    /// Qwen2, Llama 3, SmolLM or GPT-2. Text for Qwen2 is normalised to NFC, because Qwen2's own
    /// `tokenizer.json` says so. llama.cpp does not normalise.
    ///
    /// # Errors
    /// [`LmError::Tokenizer`] for any other kind of tokenizer, or if a part is missing.
    /// [`LmError::Config`] if `tokenizer.ggml.model` or `tokenizer.ggml.pre` is missing.
    pub fn tokenizer_json(&self) -> Result<Vec<u8>, LmError> {
        let fail = |reason: String| LmError::Tokenizer { reason };
        let model = self.string("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(fail(format!(
                "{} has a tokenizer of kind {model}, expected gpt2 (byte-level BPE)",
                self.name
            )));
        }

        let texts = |key: &str| match self.metadata.get(key) {
            Some(Meta::Texts(texts)) => Ok(texts),
            _ => Err(fail(format!("{key} is missing in {}", self.name))),
        };
        let (tokens, merges) = (
            texts("tokenizer.ggml.tokens")?,
            texts("tokenizer.ggml.merges")?,
        );

        let types = match self.metadata.get("tokenizer.ggml.token_type") {
            Some(Meta::Numbers(types)) if types.len() == tokens.len() => types.as_slice(),
            Some(_) => {
                return Err(fail(format!(
                    "tokenizer.ggml.token_type must have one number for each token in {}",
                    self.name
                )));
            }
            None => &[],
        };

        // The vocabulary maps a token to one id: a token that occurs twice would lose an id
        // unnoticed.
        let mut vocab = serde_json::Map::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            if vocab.insert(token.clone(), json!(id)).is_some() {
                return Err(fail(format!("token {token} occurs twice in {}", self.name)));
            }
        }

        // llama.cpp's token types: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6
        // byte.
        let added: Vec<_> = (types.iter().zip(tokens).enumerate())
            .filter(|(_, (kind, _))| [3.0, 4.0].contains(*kind))
            .map(|(id, (kind, token))| {
                json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind == 3.0})
            })
            .collect();

        let (normalizer, pre_tokenizer, ignore_merges) =
            pre_tokenizer(self.string("tokenizer.ggml.pre")?)?;

        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": ignore_merges, "vocab": vocab, "merges": merges},
        });

        serde_json::to_vec(&json).map_err(|e| fail(e.to_string()))
    }
}

/// The normaliser, the pre-tokenizer, and `ignore_merges`: true if a word that is in the vocabulary
/// as a whole skips the merges. `pre` is the value of `tokenizer.ggml.pre`.
fn pre_tokenizer(pre: &str) -> Result<(serde_json::Value, serde_json::Value, bool), LmError> {
    let bytes = |use_regex: bool| {
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
        "use_regex": use_regex})
    };
    let split = |pattern: &str| {
        json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}, bytes(false)]})
    };

    match pre {
        "qwen2" => {
            let nfc = json!({"type": "NFC"});
            Ok((nfc, split(crate::tokenizer::QWEN2), false))
        }
        // Llama 3's own `tokenizer.json` sets `ignore_merges`.
        "llama-bpe" | "llama3" | "llama-v3" => {
            Ok((json!(null), split(crate::tokenizer::LLAMA3), true))
        }
        "smollm" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            Ok((
                json!(null),
                json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}),
                false,
            ))
        }
        "gpt-2" => Ok((json!(null), bytes(true), false)),
        _ => Err(LmError::Tokenizer {
            reason: format!(
                "tokenizer.ggml.pre is {pre}, expected qwen2, llama-bpe, smollm or gpt-2"
            ),
        }),
    }
}
