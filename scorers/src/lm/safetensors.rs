//! Tensors from safetensors files: from one file, or from the shards that an index names.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. A file is eight bytes of header
//! length, a JSON header, and the data. The crate `safetensors` wants the whole file in memory (or
//! mapped, which is unsafe). Here the header is read and checked first: its length, the types, and
//! the offsets against the shapes and against the file. Then one tensor is read at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lm::LmError;
use crate::lm::weights::{ReadSeek, TensorSource};

/// The limit of the reference implementation.
const HEADER_BYTES_MAX: u64 = 100_000_000;
const INDEX_BYTES_MAX: u64 = 100_000_000;
const SHARDS_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Dtype {
    F32,
    F16,
    BF16,
}

struct Entry {
    shard: usize,
    dtype: Option<Dtype>,
    dtype_name: String,
    shape: Vec<usize>,
    /// Where the values begin, in bytes from the start of the file.
    start: u64,
    len_bytes: u64,
}

struct Shard {
    name: String,
    reader: Box<dyn ReadSeek>,
}

/// The tensors of one or more safetensors files.
pub struct SafeTensors {
    shards: Vec<Shard>,
    entries: BTreeMap<String, Entry>,
}

impl SafeTensors {
    /// The tensors of one file, or of bytes in memory. `name` is for messages.
    ///
    /// # Errors
    /// [`LmError::Io`] if the bytes cannot be read. [`LmError::Malformed`] if the header is damaged
    /// or does not fit the file.
    pub fn from_reader(name: &str, reader: Box<dyn ReadSeek>) -> Result<SafeTensors, LmError> {
        let mut all = SafeTensors {
            shards: Vec::new(),
            entries: BTreeMap::new(),
        };
        all.add(name, reader)?;
        Ok(all)
    }

    /// The tensors of `model.safetensors` in a directory, or of the files that
    /// `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`LmError::Io`] if a file cannot be read. [`LmError::Malformed`] if a file is damaged, or if
    /// a name in the index leads out of the directory. [`LmError::MissingTensor`] if a tensor of
    /// the index is in no file.
    pub fn from_dir(dir: &Path) -> Result<SafeTensors, LmError> {
        let single = dir.join("model.safetensors");
        if single.exists() {
            return SafeTensors::from_file(&single);
        }

        let index = dir.join("model.safetensors.index.json");
        let name = index.display().to_string();
        let map = shard_map(&name, &read_limited(&index, INDEX_BYTES_MAX)?)?;

        let mut all = SafeTensors {
            shards: Vec::new(),
            entries: BTreeMap::new(),
        };
        // Sorted, because the digest of a model is over its files in order of name.
        let files: std::collections::BTreeSet<&String> = map.values().collect();
        if files.len() > SHARDS_MAX {
            return Err(LmError::malformed(
                name,
                format!("{} shards, expected at most {SHARDS_MAX}", files.len()),
            ));
        }

        for file in files {
            let path = dir.join(file);
            all.add(&path.display().to_string(), Box::new(open(&path)?))?;
        }

        if let Some(tensor) = map.keys().find(|tensor| !all.entries.contains_key(*tensor)) {
            return Err(LmError::MissingTensor {
                name: tensor.clone(),
            });
        }

        Ok(all)
    }

    /// The tensors of one file.
    ///
    /// # Errors
    /// As [`SafeTensors::from_reader`].
    pub fn from_file(path: &Path) -> Result<SafeTensors, LmError> {
        SafeTensors::from_reader(&path.display().to_string(), Box::new(open(path)?))
    }

    /// The paths of the files, in order.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.shards
            .iter()
            .map(|shard| PathBuf::from(&shard.name))
            .collect()
    }

    /// Reads the header of one more file, and keeps the file open for its tensors.
    fn add(&mut self, name: &str, mut reader: Box<dyn ReadSeek>) -> Result<(), LmError> {
        let io = |source| LmError::Io {
            path: name.to_owned(),
            source,
        };
        let malformed = |reason: String| LmError::malformed(name, reason);

        let file_bytes = reader.seek(SeekFrom::End(0)).map_err(io)?;
        reader.seek(SeekFrom::Start(0)).map_err(io)?;

        let mut prefix = [0; 8];
        if file_bytes < 8 {
            return Err(malformed(format!(
                "{file_bytes} bytes are too few for a safetensors file"
            )));
        }
        reader.read_exact(&mut prefix).map_err(io)?;

        let header_bytes = u64::from_le_bytes(prefix);
        if header_bytes > HEADER_BYTES_MAX || header_bytes > file_bytes - 8 {
            return Err(malformed(format!(
                "a header of {header_bytes} bytes in a file of {file_bytes}"
            )));
        }

        // The length was checked against the file and the limit, so a damaged length cannot take
        // all memory.
        let mut header = vec![0; header_bytes as usize];
        reader.read_exact(&mut header).map_err(io)?;
        let header: serde_json::Map<String, Value> =
            serde_json::from_slice(&header).map_err(|e| malformed(format!("header: {e}")))?;

        let shard = self.shards.len();
        // `__metadata__` is the only key that names no tensor.
        for (tensor, value) in header
            .iter()
            .filter(|(tensor, _)| *tensor != "__metadata__")
        {
            let entry = entry(shard, value, 8 + header_bytes, file_bytes)
                .map_err(|reason| malformed(format!("tensor {tensor}: {reason}")))?;
            if self.entries.insert(tensor.clone(), entry).is_some() {
                return Err(malformed(format!("tensor {tensor} occurs twice")));
            }
        }

        self.shards.push(Shard {
            name: name.to_owned(),
            reader,
        });

        Ok(())
    }
}

impl TensorSource for SafeTensors {
    fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.entries.get(name).map(|entry| entry.shape.clone())
    }

    fn read(&mut self, name: &str) -> Result<Vec<f32>, LmError> {
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| LmError::MissingTensor {
                name: name.to_owned(),
            })?;
        let Some(dtype) = entry.dtype else {
            return Err(LmError::unsupported(format!(
                "tensor {name} of type {}",
                entry.dtype_name
            )));
        };

        let shard = &mut self.shards[entry.shard];
        let io = |source| LmError::Io {
            path: shard.name.clone(),
            source,
        };

        // `add` checked that the bytes of every tensor lie in its file.
        let mut bytes = vec![0; entry.len_bytes as usize];
        shard
            .reader
            .seek(SeekFrom::Start(entry.start))
            .map_err(io)?;
        shard.reader.read_exact(&mut bytes).map_err(io)?;

        Ok(to_f32(dtype, &bytes))
    }
}

/// Reads one line of the header, the place of a tensor.
///
/// The offsets must lie within the file, and be as far apart as type and shape say. `data_start` is
/// the first byte after the header.
fn entry(shard: usize, value: &Value, data_start: u64, file_bytes: u64) -> Result<Entry, String> {
    let dtype_name = value["dtype"]
        .as_str()
        .ok_or("dtype is missing")?
        .to_owned();
    let dtype = match dtype_name.as_str() {
        "F32" => Some(Dtype::F32),
        "F16" => Some(Dtype::F16),
        "BF16" => Some(Dtype::BF16),
        // Other types are an error only if the tensor is read.
        _ => None,
    };

    let numbers = |key: &str| -> Result<Vec<u64>, String> {
        let list = value[key]
            .as_array()
            .ok_or_else(|| format!("{key} is missing or not a list"))?;
        list.iter()
            .map(|n| n.as_u64().ok_or_else(|| format!("{key} has {n}")))
            .collect()
    };

    let shape = numbers("shape")?;
    let &[start, end] = numbers("data_offsets")?.as_slice() else {
        return Err("data_offsets are not two numbers".to_owned());
    };

    // `data_start` is at most `file_bytes`: `add` checked the length of the header.
    if start > end || end > file_bytes - data_start {
        return Err(format!(
            "data_offsets are bytes {start} to {end} of {} bytes of data",
            file_bytes - data_start
        ));
    }

    let elements = shape
        .iter()
        .try_fold(1u64, |product, &n| product.checked_mul(n));
    let elements = elements.ok_or_else(|| format!("shape {shape:?} overflows"))?;

    if let Some(dtype) = dtype {
        let size = if dtype == Dtype::F32 { 4 } else { 2 };
        if elements.checked_mul(size) != Some(end - start) {
            return Err(format!(
                "{} bytes do not fit shape {shape:?} of {dtype_name}",
                end - start
            ));
        }
    }

    let shape = shape.iter().map(|&n| n as usize).collect();

    Ok(Entry {
        shard,
        dtype,
        dtype_name,
        shape,
        start: data_start + start,
        len_bytes: end - start,
    })
}

/// Converts the stored values, which are little-endian.
fn to_f32(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        Dtype::F16 => bytes
            .chunks_exact(2)
            .map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect(),
        // bf16 is the upper half of an f32.
        Dtype::BF16 => bytes
            .chunks_exact(2)
            .map(|b| f32::from_bits(u32::from_le_bytes([0, 0, b[0], b[1]])))
            .collect(),
    }
}

/// The file of each tensor, from an index.
///
/// A file must be a plain name: the index is untrusted, and must not lead out of its directory.
fn shard_map(name: &str, index: &[u8]) -> Result<BTreeMap<String, String>, LmError> {
    let json: Value = serde_json::from_slice(index).map_err(|e| LmError::malformed(name, e))?;
    let map = json["weight_map"]
        .as_object()
        .ok_or_else(|| LmError::malformed(name, "weight_map is missing"))?;

    map.iter()
        .map(|(tensor, file)| match file.as_str() {
            Some(file)
                if Path::new(file).components().count() == 1
                    && Path::new(file).file_name().is_some() =>
            {
                Ok((tensor.clone(), file.to_owned()))
            }
            _ => Err(LmError::malformed(
                name,
                format!("tensor {tensor} is in {file}, expected the name of a file"),
            )),
        })
        .collect()
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<File, LmError> {
    File::open(path).map_err(|source| LmError::Io {
        path: path.display().to_string(),
        source,
    })
}

/// The bytes of a small file. Fails if the file has more than `most` bytes.
pub(crate) fn read_limited(path: &Path, most: u64) -> Result<Vec<u8>, LmError> {
    let io = |source| LmError::Io {
        path: path.display().to_string(),
        source,
    };

    let mut bytes = Vec::new();
    // One byte beyond the limit tells a file that is too large from one that just fits.
    open(path)?
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;

    if bytes.len() as u64 > most {
        return Err(LmError::malformed(
            path.display().to_string(),
            format!("the file has more than {most} bytes"),
        ));
    }

    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [
            &(header.len() as u64).to_le_bytes()[..],
            header.as_bytes(),
            data,
        ]
        .concat()
    }

    fn parse(bytes: Vec<u8>) -> Result<SafeTensors, LmError> {
        SafeTensors::from_reader("test", Box::new(Cursor::new(bytes)))
    }

    #[test]
    fn three_types() {
        let header = r#"{"a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}, "__metadata__": {"x": "y"},
            "b": {"dtype": "F16", "shape": [2], "data_offsets": [8, 12]},
            "c": {"dtype": "BF16", "shape": [2], "data_offsets": [12, 16]},
            "d": {"dtype": "I64", "shape": [], "data_offsets": [16, 16]}}"#;
        let mut data = [1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat();
        // 1.5 and the smallest subnormal number in f16, then 1.5 and -2 in bf16.
        data.extend([0x00, 0x3e, 0x01, 0x00, 0xc0, 0x3f, 0x00, 0xc0]);

        let mut tensors = parse(file(header, &data)).expect("valid");
        assert_eq!(tensors.names(), ["a", "b", "c", "d"]);
        assert_eq!(tensors.shape("a"), Some(vec![1, 2]));

        assert_eq!(tensors.read("a").expect("there"), [1.5, -2.0]);
        assert_eq!(tensors.read("b").expect("there"), [1.5, 5.960_464_5e-8]);
        assert_eq!(tensors.read("c").expect("there"), [1.5, -2.0]);

        // An unsupported type is an error only when the tensor is read.
        assert!(matches!(
            tensors.read("d"),
            Err(LmError::Unsupported { .. })
        ));
        assert!(matches!(
            tensors.read("e"),
            Err(LmError::MissingTensor { .. })
        ));
    }

    #[test]
    fn damaged_files() {
        let entry = |line: &str| format!(r#"{{"a": {line}}}"#);

        for (header, word) in [
            ("{".to_owned(), "header"),
            ("[]".to_owned(), "header"),
            (
                entry(r#"{"dtype": "F32", "shape": [2], "data_offsets": [0, 12]}"#),
                "12",
            ),
            (
                entry(r#"{"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}"#),
                "bytes 8 to 0",
            ),
            (
                entry(r#"{"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}"#),
                "shape [3]",
            ),
            (
                entry(r#"{"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}"#),
                "-2",
            ),
            (
                entry(r#"{"dtype": "F32", "shape": [2], "data_offsets": [0]}"#),
                "two numbers",
            ),
            (
                entry(
                    r#"{"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 8]}"#,
                ),
                "overflows",
            ),
            (
                entry(
                    r#"{"dtype": "F32", "shape": [274877906944], "data_offsets": [0, 1099511627776]}"#,
                ),
                "1099511627776",
            ),
        ] {
            let error = parse(file(&header, &[0; 8]))
                .err()
                .expect("damaged")
                .to_string();
            assert!(error.contains(word), "{header}: {error}");
        }

        // A header that claims to be 1 TB long, or longer than the file.
        for len in [1u64 << 40, 10, u64::MAX] {
            let mut bytes = file("{}", &[]);
            bytes[..8].copy_from_slice(&len.to_le_bytes());
            assert!(matches!(parse(bytes), Err(LmError::Malformed { .. })));
        }

        assert!(matches!(parse(vec![0; 7]), Err(LmError::Malformed { .. })));
    }

    #[test]
    fn an_index_stays_in_its_directory() {
        for file in ["../x.safetensors", "/etc/passwd", "..", "", "a/b"] {
            let index = format!(r#"{{"weight_map": {{"t": "{file}"}}}}"#);
            assert!(shard_map("index", index.as_bytes()).is_err(), "{file}");
        }

        assert!(shard_map("index", br#"{"weight_map": {"t": "a.safetensors"}}"#).is_ok());
        assert!(shard_map("index", br#"{"weight_map": {"t": 1}}"#).is_err());
        assert!(shard_map("index", b"{}").is_err());
    }
}
