//! Tensors, configuration and tokenizer from a GGUF file.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3,
//! little-endian. The header is parsed here rather than by candle, whose parser takes 32 bytes of
//! memory for each byte of an array and panics on an alignment of 0. candle dequantises the blocks
//! to f32. Every length is checked against the size of the file before memory is allocated.
//!
//! llama.cpp's converter reorders the rows of q and k of Llama models, because its rotation pairs
//! neighbours and that of Hugging Face pairs the halves of a head. The rows are put back at load,
//! so that one rotation serves both. Qwen2 is not reordered.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};

use crate::lm::LmError;
use crate::lm::config::{Architecture, Config};
use crate::lm::gguf_header::{Entry, Header, Meta};
use crate::lm::safetensors::open;
use crate::lm::weights::{ReadSeek, TensorSource};

/// A GGUF file whose header has been read and checked.
pub struct Gguf {
    pub(super) name: String,
    pub(super) reader: Box<dyn ReadSeek>,
    pub(super) metadata: HashMap<String, Meta>,
    pub(super) entries: BTreeMap<String, Entry>,
}

impl Gguf {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`LmError::Io`] if the file cannot be read. [`LmError::Malformed`] if its header is damaged.
    /// [`LmError::Unsupported`] if it stores a tensor in an unsupported type.
    pub fn open(path: &Path) -> Result<Gguf, LmError> {
        Gguf::from_reader(
            &path.display().to_string(),
            Box::new(BufReader::new(open(path)?)),
        )
    }

    /// Reads the header of a file, or of bytes in memory. `name` is for messages.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_reader(name: &str, mut reader: Box<dyn ReadSeek>) -> Result<Gguf, LmError> {
        let mut header = Header::new(name, reader.as_mut())?;
        let metadata = header.metadata()?;
        let entries = header.entries(&metadata)?;

        Ok(Gguf {
            name: name.to_owned(),
            reader,
            metadata,
            entries,
        })
    }

    /// The dimensions of a tensor, outermost first. `name` is the name in the file.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// A text of the metadata.
    pub(crate) fn string(&self, key: &str) -> Result<&str, LmError> {
        match self.metadata.get(key) {
            Some(Meta::Text(text)) => Ok(text),
            _ => Err(LmError::config(key, "missing", "a string")),
        }
    }

    /// A number of the metadata. `None` if the key is absent or holds another type.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        match self.metadata.get(key) {
            Some(Meta::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A whole number of the metadata.
    pub(crate) fn size(&self, key: &str) -> Result<usize, LmError> {
        match self.metadata.get(key) {
            Some(Meta::Number(number)) if *number >= 0.0 && number.fract() == 0.0 => {
                Ok(*number as usize)
            }
            Some(other) => Err(LmError::config(key, format!("{other:?}"), "a whole number")),
            None => Err(LmError::config(key, "missing", "a whole number")),
        }
    }

    /// A whole number of the metadata with a default. A value of another type is an error.
    pub(crate) fn size_or(&self, key: &str, default: usize) -> Result<usize, LmError> {
        if self.metadata.contains_key(key) {
            self.size(key)
        } else {
            Ok(default)
        }
    }

    /// True if `tokenizer.ggml.add_bos_token` is true. False if the key is absent.
    pub fn adds_bos(&self) -> bool {
        self.metadata.get("tokenizer.ggml.add_bos_token") == Some(&Meta::Bool(true))
    }

    /// The type of most of the weights, as candle names it (`Q4K`), for the record. Empty if the
    /// file has no tensors.
    pub fn quantisation(&self) -> String {
        let mut elements: BTreeMap<String, u64> = BTreeMap::new();
        for entry in self.entries.values() {
            *elements.entry(format!("{:?}", entry.dtype)).or_default() +=
                entry.shape.iter().product::<usize>() as u64;
        }

        elements
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(name, _)| name)
            .unwrap_or_default()
    }

    /// The tensors of the file, under the names of Hugging Face.
    pub fn into_source(self, config: &Config) -> GgufTensors {
        let mut names = BTreeMap::new();
        for name in self.entries.keys() {
            // An unknown tensor keeps its name, so that the check of all tensors refuses it by that
            // name.
            names.insert(
                canonical(name).unwrap_or_else(|| name.clone()),
                name.clone(),
            );
        }

        GgufTensors {
            gguf: self,
            names,
            architecture: config.architecture,
            head_dim: config.head_dim,
        }
    }
}

/// Weights of a GGUF file, in f32, under the names of Hugging Face.
pub struct GgufTensors {
    gguf: Gguf,
    /// Names in the file, by the names of Hugging Face.
    names: BTreeMap<String, String>,
    architecture: Architecture,
    head_dim: usize,
}

impl TensorSource for GgufTensors {
    fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.gguf
            .shape(self.names.get(name)?)
            .map(<[usize]>::to_vec)
    }

    fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError> {
        let stored = self.names.get(name).ok_or_else(|| LmError::MissingTensor {
            name: name.to_owned(),
        })?;

        let gguf = &mut self.gguf;
        let entry = gguf
            .entries
            .get(stored)
            .ok_or_else(|| LmError::MissingTensor {
                name: name.to_owned(),
            })?;
        let io = |source| LmError::Io {
            path: gguf.name.clone(),
            source,
        };

        // The header was checked: the bytes of every tensor lie in the file.
        let mut bytes = vec![0; entry.len_bytes as usize];
        gguf.reader.seek(SeekFrom::Start(entry.start)).map_err(io)?;
        gguf.reader.read_exact(&mut bytes).map_err(io)?;

        let values = dequantise(entry, &bytes)?;

        let is_rotated = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight");
        match (self.architecture, entry.shape.as_slice()) {
            (Architecture::Llama, &[rows, columns])
                if is_rotated && rows.is_multiple_of(self.head_dim) =>
            {
                Ok(unpermute(&values, columns, self.head_dim))
            }
            _ => Ok(values),
        }
    }
}

/// The values of a tensor in f32.
fn dequantise(entry: &Entry, bytes: &[u8]) -> Result<Vec<f32>, LmError> {
    match entry.dtype {
        // f32 and f16 are read without candle, which panics if the bytes are not aligned to the
        // type.
        GgmlDType::F32 => Ok(bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()),
        GgmlDType::F16 => Ok(bytes
            .chunks_exact(2)
            .map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect()),
        dtype => {
            // In parts, because candle copies the bytes and the values.
            let part_bytes = dtype.type_size() * (1 << 12);

            let mut values =
                Vec::with_capacity(bytes.len() / dtype.type_size() * dtype.block_size());
            for part in bytes.chunks(part_bytes) {
                let len = part.len() / dtype.type_size() * dtype.block_size();
                let storage = QStorage::from_data(Cow::Borrowed(part), &Device::Cpu, dtype)?;
                values.extend(
                    QTensor::new(storage, len)?
                        .dequantize(&Device::Cpu)?
                        .to_vec1::<f32>()?,
                );
            }

            Ok(values)
        }
    }
}

/// Puts the rows of each head from llama.cpp's order (0, d/2, 1, d/2 + 1, …) back into that of
/// Hugging Face.
fn unpermute(values: &[f32], columns: usize, head_dim: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for head in values.chunks_exact(head_dim * columns) {
        for part in 0..2 {
            for i in 0..head_dim / 2 {
                let row = 2 * i + part;
                out.extend_from_slice(&head[row * columns..(row + 1) * columns]);
            }
        }
    }
    out
}

/// The name that Hugging Face gives to a tensor of llama.cpp. `None` if the decoder has no such
/// tensor.
fn canonical(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        "output.weight" => return Some("lm_head.weight".to_owned()),
        _ => {}
    }

    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;

    let part = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };

    Some(format!("model.layers.{layer}.{part}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_head_are_put_back() {
        // A head of 4 rows, 1 column: Hugging Face's rows 0 1 2 3 are stored as 0 2 1 3.
        assert_eq!(
            unpermute(&[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0], 1, 4),
            [0., 1., 2., 3., 4., 5., 6., 7.]
        );
    }

    #[test]
    fn names() {
        let name = |name: &str| canonical(name).unwrap_or_default();

        assert_eq!(
            name("blk.11.attn_q.bias"),
            "model.layers.11.self_attn.q_proj.bias"
        );
        assert_eq!(
            name("blk.0.ffn_norm.weight"),
            "model.layers.0.post_attention_layernorm.weight"
        );

        // The router of a mixture of experts, and frequencies of its own: no place here.
        assert_eq!(name("blk.0.ffn_gate_inp.weight"), "");
        assert_eq!(name("rope_freqs.weight"), "");
    }
}
