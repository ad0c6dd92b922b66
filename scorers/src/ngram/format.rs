//! The header of a model file, and where its parts are.
//!
//! 512 bytes of header, then the payload: a level for each order, then the vocabulary. All numbers
//! are little-endian.
//!
//! | part | records | record |
//! |---|---|---|
//! | order 1 to N−1 | nodes + 1 | word `u32`, log₁₀ probability `f32`, log₁₀ backoff `f32`, first child `u32` |
//! | order N | nodes | word `u32`, log₁₀ probability `f32` |
//! | ends of names | tokens + 1 | `u32`, in bytes from the start of the names |
//! | slots | 2 · tokens + 1 | `u32`: 1 + the id of a token, 0 if free; linear probing from the xxh3 of the name |
//! | names | | UTF-8 |
//!
//! The header carries its own BLAKE3 and the payload's. It is checked whole before anything else is
//! read, and so is that its parts fill the file exactly; the payload's digest is checked on
//! request, since that reads all of it.

use std::ops::Range;

use crate::ngram::{MAX_ORDER, NgramError, SPECIAL, VOCABULARY_MAX};

const MAGIC: &[u8; 8] = b"\x89NGRAM\r\n";
const VERSION: u32 = 1;

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 512;
/// The longest name of a tokenizer, bytes.
pub(super) const NAME_BYTES_MAX: usize = HEADER_BYTES - NAME_AT;

// Where the fields are.
const NODES_AT: usize = 32;
const VOCABULARY_DIGEST_AT: usize = NODES_AT + 8 * MAX_ORDER;
const PAYLOAD_DIGEST_AT: usize = VOCABULARY_DIGEST_AT + 32;
const DIGEST_AT: usize = PAYLOAD_DIGEST_AT + 32;
const NAME_AT: usize = DIGEST_AT + 32;

/// What the header says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub order: usize,
    /// How many tokens there are, without the special ones.
    pub vocabulary: usize,
    /// Bytes of all names.
    pub name_bytes: usize,
    /// Nodes of each order.
    pub nodes: [usize; MAX_ORDER],
    pub vocabulary_digest: [u8; 32],
    pub payload_digest: [u8; 32],
    pub tokenizer: String,
}

/// Where the parts are, in bytes from the start of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub levels: [Range<usize>; MAX_ORDER],
    pub ends: Range<usize>,
    pub slots: Range<usize>,
    pub names: Range<usize>,
}

impl Header {
    /// Bytes of a node of order `level + 1`.
    pub fn stride(&self, level: usize) -> usize {
        if level + 1 < self.order { 16 } else { 8 }
    }

    /// Where the parts are; `None` if that is beyond what can be addressed.
    pub fn layout(&self) -> Option<Layout> {
        let mut at = HEADER_BYTES;
        let mut part = |records: usize, stride: usize| {
            let start = at;
            at = at.checked_add(records.checked_mul(stride)?)?;
            Some(start..at)
        };
        let mut layout = Layout::default();
        for level in 0..self.order {
            let inner = usize::from(level + 1 < self.order);
            layout.levels[level] = part(self.nodes[level].checked_add(inner)?, self.stride(level))?;
        }
        layout.ends = part(self.vocabulary + 1, 4)?;
        layout.slots = part(2 * self.vocabulary + 1, 4)?;
        layout.names = part(self.name_bytes, 1)?;
        Some(layout)
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &(self.order as u32).to_le_bytes());
        put(16, &(self.vocabulary as u32).to_le_bytes());
        put(20, &(self.tokenizer.len() as u32).to_le_bytes());
        put(24, &(self.name_bytes as u64).to_le_bytes());
        for (i, &nodes) in self.nodes.iter().enumerate() {
            put(NODES_AT + 8 * i, &(nodes as u64).to_le_bytes());
        }
        put(VOCABULARY_DIGEST_AT, &self.vocabulary_digest);
        put(PAYLOAD_DIGEST_AT, &self.payload_digest);
        put(NAME_AT, self.tokenizer.as_bytes());
        let digest = digest(&out);
        out[DIGEST_AT..NAME_AT].copy_from_slice(&digest);
        out
    }

    /// The header and the layout of a file, and the header's digest.
    ///
    /// # Errors
    /// [`NgramError::Malformed`] with the first thing that is wrong; `file` is for the message.
    pub fn decode(file: &str, bytes: &[u8]) -> Result<(Header, Layout, [u8; 32]), NgramError> {
        let malformed = |reason: String| NgramError::Malformed {
            file: file.to_owned(),
            reason,
        };
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(malformed(format!(
                "{} bytes, expected at least {HEADER_BYTES}",
                bytes.len()
            )));
        };
        if !head.starts_with(MAGIC) {
            return Err(malformed(
                "it does not begin as a model file does".to_owned(),
            ));
        }
        if read_u32(head, 8) != Some(VERSION) {
            return Err(malformed(format!(
                "format {}, expected {VERSION}",
                read_u32(head, 8).unwrap_or(0)
            )));
        }
        let digest = digest(head);
        if head[DIGEST_AT..NAME_AT] != digest {
            return Err(malformed(
                "the header is damaged: its digest differs".to_owned(),
            ));
        }
        let header = Header::fields(head)
            .ok_or_else(|| malformed("a number in the header is out of range".to_owned()))?;
        match header.layout() {
            Some(layout) if layout.names.end == bytes.len() => Ok((header, layout, digest)),
            layout => {
                let expected =
                    layout.map_or("more".to_owned(), |layout| layout.names.end.to_string());
                Err(malformed(format!(
                    "{} bytes, the header says {expected}",
                    bytes.len()
                )))
            }
        }
    }

    fn fields(head: &[u8; HEADER_BYTES]) -> Option<Header> {
        let number = |at: usize| usize::try_from(read_u32(head, at)?).ok();
        let (order, vocabulary, tokenizer_bytes) = (number(12)?, number(16)?, number(20)?);
        let mut nodes = [0; MAX_ORDER];
        for (i, nodes) in nodes.iter_mut().enumerate() {
            *nodes = usize::try_from(read_u64(head, NODES_AT + 8 * i)?).ok()?;
        }
        let fits = (1..=MAX_ORDER).contains(&order)
            && vocabulary <= VOCABULARY_MAX
            && nodes[0] == vocabulary + SPECIAL
            && nodes
                .iter()
                .enumerate()
                .all(|(i, &nodes)| nodes <= u32::MAX as usize && (i < order || nodes == 0));
        let digest = |at: usize| head[at..].first_chunk().copied();
        fits.then_some(Header {
            order,
            vocabulary,
            name_bytes: usize::try_from(read_u64(head, 24)?).ok()?,
            nodes,
            vocabulary_digest: digest(VOCABULARY_DIGEST_AT)?,
            payload_digest: digest(PAYLOAD_DIGEST_AT)?,
            tokenizer: str::from_utf8(head[NAME_AT..].get(..tokenizer_bytes)?)
                .ok()?
                .to_owned(),
        })
    }
}

/// The digest of a header without the digest.
fn digest(head: &[u8; HEADER_BYTES]) -> [u8; 32] {
    *blake3::Hasher::new()
        .update(&head[..DIGEST_AT])
        .update(&head[NAME_AT..])
        .finalize()
        .as_bytes()
}

/// The number at `at`; `None` behind the end.
#[inline]
pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[inline]
fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The first slot of a name among `slots`.
pub(super) fn slot(name: &str, slots: usize) -> usize {
    ((u128::from(xxhash_rust::xxh3::xxh3_64(name.as_bytes())) * slots as u128) >> 64) as usize
}
