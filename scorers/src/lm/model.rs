//! A model with everything that its scores depend on: weights, tokenizer, digest, and whether a
//! beginning-of-sequence token goes first.
//!
//! A model is read from a directory in the form of Hugging Face or from a GGUF file, or is the one
//! that is compiled in. The beginning-of-sequence token is used only if `add_bos_token` says so.
//! Qwen2.5 names such a token but was not trained with it. The embedded model was.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lm::LmError;
use crate::lm::config::Config;
use crate::lm::decoder::{Decoder, Options};
use crate::lm::gguf::Gguf;
use crate::lm::safetensors::{SafeTensors, open, read_limited};
use crate::lm::score::Scorer;
use crate::lm::weights::TensorSource;
use crate::lm::window::{WindowKind, Windowing};
use crate::tokenizer::{EMBEDDED_NAME, Tokenizer};

static EMBEDDED_WEIGHTS: &[u8] = include_bytes!("../../data/embedded_lm/model.safetensors");
static EMBEDDED_CONFIG: &[u8] = include_bytes!("../../data/embedded_lm/config.json");
static EMBEDDED_TOKENIZER_CONFIG: &[u8] =
    include_bytes!("../../data/embedded_lm/tokenizer_config.json");

const JSON_BYTES_MAX: u64 = 64 << 20;

/// What is known of a model without its weights: enough to plan memory and to tokenise.
pub struct Description {
    /// The shape of the decoder.
    pub config: Config,
    /// The tokenizer, checked to fit the vocabulary of `config`.
    pub tokenizer: Tokenizer,
    /// The beginning-of-sequence token that goes before each window. `None` if the model was
    /// trained without one.
    pub bos: Option<u32>,
}

/// A model whose headers are read, but not its weights.
pub struct Model {
    /// What is known without the weights.
    pub description: Description,
    /// BLAKE3 of the file of weights, in hex. With several files, BLAKE3 of the concatenated hex
    /// digests of the files, in order of name.
    pub digest: String,
    source: Box<dyn TensorSource>,
}

impl Model {
    /// The model that is compiled in: 3.7 million parameters, a context of 256 tokens.
    ///
    /// # Errors
    /// None in practice, because a test loads this model.
    pub fn embedded() -> Result<Model, LmError> {
        let config = Config::from_json(EMBEDDED_CONFIG)?;
        let tokenizer = Tokenizer::embedded().map_err(tokenizer_error)?;
        let source =
            SafeTensors::from_reader(EMBEDDED_NAME, Box::new(Cursor::new(EMBEDDED_WEIGHTS)))?;
        let digest = blake3::hash(EMBEDDED_WEIGHTS).to_hex().to_string();

        let description = describe(config, tokenizer, Some(EMBEDDED_TOKENIZER_CONFIG))?;

        Ok(Model {
            description,
            digest,
            source: Box::new(source),
        })
    }

    /// Opens the model at a path: a GGUF file, or a directory with `config.json`, `tokenizer.json`
    /// and safetensors.
    ///
    /// Reads the weights once from end to end, for their digest.
    ///
    /// # Errors
    /// [`LmError::Tokenizer`] if tokenizer and model do not fit each other. [`LmError::TokenId`] if
    /// the beginning-of-sequence token is not in the vocabulary. The errors of [`Config`],
    /// [`SafeTensors`] and [`Gguf`] for files that cannot be read or used.
    pub fn open(path: &Path) -> Result<Model, LmError> {
        if path.is_dir() {
            Model::from_dir(path)
        } else {
            Model::from_gguf(path)
        }
    }

    fn from_dir(dir: &Path) -> Result<Model, LmError> {
        let config = Config::from_json(&read_limited(&dir.join("config.json"), JSON_BYTES_MAX)?)?;

        let path = dir.join("tokenizer.json");
        let bytes = read_limited(&path, JSON_BYTES_MAX)?;
        let tokenizer =
            Tokenizer::from_bytes(&path.display().to_string(), &bytes).map_err(tokenizer_error)?;

        // The file is optional: a model without it gets no beginning-of-sequence token.
        let tokenizer_config = dir.join("tokenizer_config.json");
        let tokenizer_config = match tokenizer_config.exists() {
            true => Some(read_limited(&tokenizer_config, JSON_BYTES_MAX)?),
            false => None,
        };

        let source = SafeTensors::from_dir(dir)?;
        let description = describe(config, tokenizer, tokenizer_config.as_deref())?;
        Ok(Model {
            description,
            digest: digest(&source.paths())?,
            source: Box::new(source),
        })
    }

    fn from_gguf(path: &Path) -> Result<Model, LmError> {
        let gguf = Gguf::open(path)?;
        let config = Config::from_gguf(&gguf)?;

        let name = path.display().to_string();
        let tokenizer =
            Tokenizer::from_bytes(&name, &gguf.tokenizer_json()?).map_err(tokenizer_error)?;

        // The token's id counts only if the file also asks for the token.
        let bos = gguf.adds_bos().then_some(config.bos_token_id);
        let bos = bos.map(|id| id.ok_or_else(no_bos)).transpose()?;

        check_vocabulary(&config, &tokenizer)?;
        check_bos(&config, bos)?;

        let source = Box::new(gguf.into_source(&config));
        let description = Description {
            config,
            tokenizer,
            bos,
        };

        Ok(Model {
            description,
            digest: digest(&[path.to_owned()])?,
            source,
        })
    }

    /// Reads the weights and moves them to the device of `options`.
    ///
    /// # Errors
    /// Those of [`Decoder::load`].
    pub fn load(mut self, options: Options) -> Result<(Description, Decoder), LmError> {
        let decoder = Decoder::load(
            self.description.config.clone(),
            self.source.as_mut(),
            options,
        )?;
        Ok((self.description, decoder))
    }
}

impl Description {
    /// How documents are cut into windows for this model.
    pub fn windowing(&self, kind: WindowKind) -> Windowing {
        Windowing {
            kind,
            context: self.config.max_positions,
            bos: self.bos,
        }
    }

    /// A scorer that cuts documents as `kind` says and runs them through `forward`, a decoder of
    /// this model, in batches of up to `budget_tokens` padded tokens.
    pub fn scorer<F: crate::lm::score::Forward>(
        &self,
        forward: F,
        kind: WindowKind,
        budget_tokens: usize,
    ) -> Scorer<F> {
        Scorer::new(
            forward,
            self.windowing(kind),
            budget_tokens,
            self.tokenizer.token_bytes(),
        )
    }
}

fn describe(
    config: Config,
    tokenizer: Tokenizer,
    tokenizer_config: Option<&[u8]>,
) -> Result<Description, LmError> {
    check_vocabulary(&config, &tokenizer)?;

    let json: Value = match tokenizer_config {
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|e| LmError::malformed("tokenizer_config.json", e))?,
        None => Value::Null,
    };

    // transformers writes a token as its text, or as an object that holds the text under `content`.
    let named = json["bos_token"]
        .as_str()
        .or(json["bos_token"]["content"].as_str());

    let bos = match json["add_bos_token"] == true {
        true => Some(
            named
                .and_then(|name| tokenizer.id(name))
                .or(config.bos_token_id)
                .ok_or_else(no_bos)?,
        ),
        false => None,
    };
    check_bos(&config, bos)?;

    Ok(Description {
        config,
        tokenizer,
        bos,
    })
}

fn check_bos(config: &Config, bos: Option<u32>) -> Result<(), LmError> {
    match bos {
        Some(id) if id as usize >= config.vocab_size => Err(LmError::TokenId {
            id,
            vocab: config.vocab_size,
        }),
        _ => Ok(()),
    }
}

fn no_bos() -> LmError {
    LmError::Tokenizer {
        reason: "add_bos_token is true, but no beginning-of-sequence token is named".to_owned(),
    }
}

fn tokenizer_error(error: crate::tokenizer::TokenizerError) -> LmError {
    LmError::Tokenizer {
        reason: error.to_string(),
    }
}

/// Checks that every id has a row in the embedding, and nearly every row an id.
///
/// Qwen2.5 pads its 151,665 ids to 151,936 or 152,064 rows, so up to 256 rows plus a twentieth of
/// all rows may lack an id. A tokenizer of another family would give valid ids, and scores without
/// meaning.
fn check_vocabulary(config: &Config, tokenizer: &Tokenizer) -> Result<(), LmError> {
    let (ids, rows) = (tokenizer.ids(), config.vocab_size);
    if ids > rows || rows - ids > rows / 20 + 256 {
        let reason = format!("it has {ids} ids, the model's vocabulary {rows} entries");
        return Err(LmError::Tokenizer { reason });
    }
    Ok(())
}

/// See [`Model::digest`].
fn digest(paths: &[PathBuf]) -> Result<String, LmError> {
    let mut all = Vec::with_capacity(paths.len());
    for path in paths {
        let io = |source| LmError::Io {
            path: path.display().to_string(),
            source,
        };

        // 1 MiB at a time, because weights may be larger than memory.
        let (mut file, mut hasher, mut buffer) =
            (open(path)?, blake3::Hasher::new(), vec![0; 1 << 20]);

        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => break,
                n => hasher.update(&buffer[..n]),
            };
        }

        all.push(hasher.finalize().to_hex().to_string());
    }

    // The digest of a single file can be checked with `b3sum`.
    match all.as_slice() {
        [one] => Ok(one.clone()),
        all => Ok(blake3::hash(all.concat().as_bytes()).to_hex().to_string()),
    }
}
