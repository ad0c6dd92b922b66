//! The header of a GGUF file: the metadata, and where each tensor lies.
//!
//! Every count and length is checked against the bytes that are left in the file before memory is
//! allocated for it. The bytes of each tensor are checked against the file.

use std::collections::{BTreeMap, HashMap};
use std::io::SeekFrom;

use candle_core::quantized::GgmlDType;

use crate::lm::LmError;
use crate::lm::weights::ReadSeek;

// Limits on untrusted headers: counts and lengths beyond them are refused unread.
const ENTRIES_MAX: u64 = 1 << 20;
const NAME_BYTES_MAX: u64 = 1 << 16;
const STRING_BYTES_MAX: u64 = 1 << 24;
const ARRAY_MAX: u64 = 1 << 22;
const DIMS_MAX: u32 = 4;

/// A value of the metadata. Arrays are skipped, except arrays of strings and the token types.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meta {
    Number(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f32>),
    Skipped,
}

/// Where a tensor lies in the file, and how it is stored.
pub(super) struct Entry {
    pub(super) dtype: GgmlDType,
    /// Dimensions, outermost first.
    pub(super) shape: Vec<usize>,
    /// Where the values begin, in bytes from the start of the file.
    pub(super) start: u64,
    pub(super) len_bytes: u64,
}

/// Reads the header. What is left of the file bounds every length.
pub(super) struct Header<'a> {
    name: &'a str,
    reader: &'a mut dyn ReadSeek,
    at: u64,
    file_bytes: u64,
    tensors: u64,
    pairs: u64,
}

impl<'a> Header<'a> {
    /// Reads the magic number, the version and the counts.
    pub(super) fn new(name: &'a str, reader: &'a mut dyn ReadSeek) -> Result<Header<'a>, LmError> {
        let io = |source| LmError::Io {
            path: name.to_owned(),
            source,
        };
        let file_bytes = reader.seek(SeekFrom::End(0)).map_err(io)?;
        reader.seek(SeekFrom::Start(0)).map_err(io)?;

        let mut header = Header {
            name,
            reader,
            at: 0,
            file_bytes,
            tensors: 0,
            pairs: 0,
        };

        let magic = header.bytes(4)?;
        if magic != b"GGUF" {
            return Err(header.malformed("not a GGUF file"));
        }

        let version = header.u32()?;
        if !(2..=3).contains(&version) {
            return Err(header.malformed(format!("GGUF version {version}, expected 2 or 3")));
        }

        (header.tensors, header.pairs) = (header.u64()?, header.u64()?);
        if header.tensors > ENTRIES_MAX || header.pairs > ENTRIES_MAX {
            return Err(header.malformed(format!(
                "{} tensors and {} metadata pairs, expected at most {ENTRIES_MAX} of each",
                header.tensors, header.pairs
            )));
        }

        Ok(header)
    }

    fn malformed(&self, reason: impl ToString) -> LmError {
        LmError::malformed(self.name, reason)
    }

    /// Bytes of the file behind the current position.
    fn left(&self) -> u64 {
        self.file_bytes.saturating_sub(self.at)
    }

    fn bytes(&mut self, n: u64) -> Result<Vec<u8>, LmError> {
        if n > self.left() {
            return Err(self.malformed(format!(
                "the file ends within its header: {n} bytes needed, {} left",
                self.left()
            )));
        }

        let mut bytes = vec![0; n as usize];
        let path = self.name.to_owned();
        self.reader
            .read_exact(&mut bytes)
            .map_err(|source| LmError::Io { path, source })?;

        self.at += n;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LmError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes(N as u64)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, LmError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, LmError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A string: its length in bytes, at most `most`, and its UTF-8.
    fn text(&mut self, most: u64) -> Result<String, LmError> {
        let len = self.u64()?;
        if len > most {
            return Err(self.malformed(format!("a string of {len} bytes, expected at most {most}")));
        }

        String::from_utf8(self.bytes(len)?).map_err(|_| self.malformed("a string is not UTF-8"))
    }

    /// Reads all pairs of key and value, which follow the counts.
    pub(super) fn metadata(&mut self) -> Result<HashMap<String, Meta>, LmError> {
        let mut metadata = HashMap::new();
        for _ in 0..self.pairs {
            let key = self.text(NAME_BYTES_MAX)?;
            let kind = self.u32()?;
            let value = self.value(kind, &key)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(self.malformed(format!("{key} occurs twice")));
            }
        }
        Ok(metadata)
    }

    /// A value of the type `kind`, by the numbers of the GGUF specification. `key` is for messages.
    fn value(&mut self, kind: u32, key: &str) -> Result<Meta, LmError> {
        match kind {
            7 => Ok(Meta::Bool(self.bytes(1)? != [0])),
            8 => self.text(STRING_BYTES_MAX).map(Meta::Text),
            9 => self.list(key),
            _ => self.number(kind, key).map(Meta::Number),
        }
    }

    /// A number or a bool of the type `kind`, as f64.
    fn number(&mut self, kind: u32, key: &str) -> Result<f64, LmError> {
        Ok(match kind {
            0 => f64::from(u8::from_le_bytes(self.array()?)),
            1 => f64::from(i8::from_le_bytes(self.array()?)),
            2 => f64::from(u16::from_le_bytes(self.array()?)),
            3 => f64::from(i16::from_le_bytes(self.array()?)),
            4 => f64::from(u32::from_le_bytes(self.array()?)),
            5 => f64::from(i32::from_le_bytes(self.array()?)),
            6 => f64::from(f32::from_le_bytes(self.array()?)),
            7 => f64::from(u8::from_le_bytes(self.array()?)),
            10 => u64::from_le_bytes(self.array()?) as f64,
            11 => i64::from_le_bytes(self.array()?) as f64,
            12 => f64::from_le_bytes(self.array()?),
            _ => return Err(self.malformed(format!("{key} has the unknown type {kind}"))),
        })
    }

    /// An array. Its values are kept if they are strings or token types, else skipped.
    fn list(&mut self, key: &str) -> Result<Meta, LmError> {
        let (kind, len) = (self.u32()?, self.u64()?);

        // A string has at least the eight bytes of its length.
        let least_bytes = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => {
                return Err(self.malformed(format!(
                    "{key} is an array of values of the unsupported type {kind}"
                )));
            }
        };

        // The first bound keeps the product from overflowing.
        if len > ARRAY_MAX || len * least_bytes > self.left() {
            return Err(self.malformed(format!(
                "{key} is an array of {len} values, more than {ARRAY_MAX} or than the file holds"
            )));
        }

        if kind == 8 {
            return (0..len)
                .map(|_| self.text(NAME_BYTES_MAX))
                .collect::<Result<_, _>>()
                .map(Meta::Texts);
        }

        // Nothing reads other arrays.
        if key != "tokenizer.ggml.token_type" {
            self.bytes(len * least_bytes)?;
            return Ok(Meta::Skipped);
        }

        (0..len)
            .map(|_| Ok(self.number(kind, key)? as f32))
            .collect::<Result<_, _>>()
            .map(Meta::Numbers)
    }

    /// Reads where the tensors lie. Follows the metadata, which may set the alignment of the data.
    pub(super) fn entries(
        &mut self,
        metadata: &HashMap<String, Meta>,
    ) -> Result<BTreeMap<String, Entry>, LmError> {
        let mut entries = BTreeMap::new();
        for _ in 0..self.tensors {
            let name = self.text(NAME_BYTES_MAX)?;
            let entry = self.entry(&name)?;
            if entries.insert(name.clone(), entry).is_some() {
                return Err(self.malformed(format!("tensor {name} occurs twice")));
            }
        }

        // A negative number and NaN become 0, which is no power of two.
        let alignment = match metadata.get("general.alignment") {
            Some(Meta::Number(n)) => *n as u64,
            _ => 32,
        };
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(self.malformed(format!(
                "general.alignment is {alignment}, expected a power of two up to 1048576"
            )));
        }

        // Offsets are relative to the data, which begins at the next aligned byte. Sums saturate,
        // so that an absurd offset is refused instead of wrapping around.
        let data = self.at.next_multiple_of(alignment);
        for (name, entry) in &mut entries {
            entry.start = entry.start.saturating_add(data);
            if entry.start.saturating_add(entry.len_bytes) > self.file_bytes {
                return Err(self.malformed(format!(
                    "tensor {name} needs {} bytes from byte {} on, but the file has {} bytes",
                    entry.len_bytes, entry.start, self.file_bytes
                )));
            }
        }

        Ok(entries)
    }

    /// Reads where one tensor lies. `start` is still relative to the data.
    fn entry(&mut self, name: &str) -> Result<Entry, LmError> {
        let dims = self.u32()?;
        if dims > DIMS_MAX {
            return Err(self.malformed(format!(
                "tensor {name} has {dims} dimensions, expected at most {DIMS_MAX}"
            )));
        }

        // The file lists the innermost dimension first.
        let mut shape = (0..dims)
            .map(|_| self.u64())
            .collect::<Result<Vec<u64>, _>>()?;
        shape.reverse();

        let (kind, start) = (self.u32()?, self.u64()?);
        let Some(dtype) = dtype(kind) else {
            return Err(LmError::unsupported(format!(
                "tensor {name} of ggml type {kind}"
            )));
        };

        // Blocks do not cross rows, so a row must be a whole number of blocks.
        let blocks = shape
            .last()
            .is_some_and(|row| row.is_multiple_of(dtype.block_size() as u64));

        let elements = shape
            .iter()
            .try_fold(1u64, |product, &n| product.checked_mul(n));

        // The bound on the elements keeps the bytes from overflowing.
        match elements {
            Some(elements) if blocks && elements < 1 << 40 => {
                let len_bytes = elements / dtype.block_size() as u64 * dtype.type_size() as u64;
                Ok(Entry {
                    dtype,
                    shape: shape.iter().map(|&n| n as usize).collect(),
                    start,
                    len_bytes,
                })
            }
            _ => Err(self.malformed(format!(
                "tensor {name} has shape {shape:?}, which is too large or does not fit {dtype:?}"
            ))),
        }
    }
}

/// The type of the values, by ggml's number. `None` if the type is not supported.
fn dtype(kind: u32) -> Option<GgmlDType> {
    Some(match kind {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}
