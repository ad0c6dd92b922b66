//! The header of a model file, and where the file's parts are.
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
//! The header holds its own BLAKE3 digest and the payload's. Before anything else is read, the
//! whole header is checked, and its parts must fill the file exactly. The payload's digest is
//! checked on request only, since that reads the whole file.

use std::ops::Range;

use crate::ngram::{MAX_ORDER, NgramError, SPECIAL, VOCABULARY_MAX};

/// The first bytes of a model file.
const MAGIC: &[u8; 8] = b"\x89NGRAM\r\n";
/// Version of the format.
const VERSION: u32 = 1;

/// Length of the header in bytes.
pub(super) const HEADER_BYTES: usize = 512;
/// The longest name of a tokenizer, in bytes: the rest of the header.
pub(super) const NAME_BYTES_MAX: usize = HEADER_BYTES - NAME_AT;

// Offsets of the fields in the header, in bytes. The numbers before the nodes are in `encode`.
const NODES_AT: usize = 32;
const VOCABULARY_DIGEST_AT: usize = NODES_AT + 8 * MAX_ORDER;
const PAYLOAD_DIGEST_AT: usize = VOCABULARY_DIGEST_AT + 32;
const DIGEST_AT: usize = PAYLOAD_DIGEST_AT + 32;
const NAME_AT: usize = DIGEST_AT + 32;

/// The fields of the header.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    /// The order of the model, 1 to [`MAX_ORDER`].
    pub order: usize,
    /// Number of tokens, without the special ones.
    pub vocabulary: usize,
    /// Length of all names together, in bytes.
    pub name_bytes: usize,
    /// Number of nodes of each order; 0 above the model's order.
    pub nodes: [usize; MAX_ORDER],
    /// BLAKE3 of the tokens' names (`build::vocabulary_digest`).
    pub vocabulary_digest: [u8; 32],
    /// BLAKE3 of everything behind the header.
    pub payload_digest: [u8; 32],
    /// The tokenizer's name, as given when the model was made.
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
    /// Length of a node of order `level + 1`, in bytes.
    pub fn stride(&self, level: usize) -> usize {
        // Nodes of the highest order have neither a backoff nor children.
        if level + 1 < self.order { 16 } else { 8 }
    }

    /// The places of the parts; `None` if one of them is beyond what can be addressed.
    pub fn layout(&self) -> Option<Layout> {
        let mut at = HEADER_BYTES;
        let mut part = |records: usize, stride: usize| {
            let start = at;
            at = at.checked_add(records.checked_mul(stride)?)?;
            Some(start..at)
        };

        let mut layout = Layout::default();
        for level in 0..self.order {
            // Below the highest order, a closing record ends the children of the last node.
            let inner = usize::from(level + 1 < self.order);
            layout.levels[level] = part(self.nodes[level].checked_add(inner)?, self.stride(level))?;
        }

        layout.ends = part(self.vocabulary + 1, 4)?;
        layout.slots = part(2 * self.vocabulary + 1, 4)?;
        layout.names = part(self.name_bytes, 1)?;

        Some(layout)
    }

    /// The bytes of the header.
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

        // Last, because the digest is of all other fields.
        let digest = digest(&out);
        out[DIGEST_AT..NAME_AT].copy_from_slice(&digest);
        out
    }

    /// Reads the header of a file. Returns the header, the layout and the header's digest. `file`
    /// is the file's name for messages.
    ///
    /// # Errors
    /// [`NgramError::Malformed`] with the first thing that is wrong.
    pub fn decode(file: &str, bytes: &[u8]) -> Result<(Header, Layout, [u8; 32]), NgramError> {
        let malformed = |reason: String| NgramError::Malformed {
            file: file.to_owned(),
            reason,
        };

        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(malformed(format!(
                "the file has {} bytes, expected at least {HEADER_BYTES}",
                bytes.len()
            )));
        };

        if !head.starts_with(MAGIC) {
            return Err(malformed(
                "its first bytes are not those of a model file".to_owned(),
            ));
        }

        // Before the digest, so that a file of another version is reported as such.
        if read_u32(head, 8) != Some(VERSION) {
            return Err(malformed(format!(
                "format version {}, expected {VERSION}",
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
                    "the file has {} bytes, the header says {expected}",
                    bytes.len()
                )))
            }
        }
    }

    /// The fields of a header; `None` if a number is out of range or the tokenizer is not UTF-8.
    fn fields(head: &[u8; HEADER_BYTES]) -> Option<Header> {
        let number = |at: usize| usize::try_from(read_u32(head, at)?).ok();
        let (order, vocabulary, tokenizer_bytes) = (number(12)?, number(16)?, number(20)?);

        let mut nodes = [0; MAX_ORDER];
        for (i, nodes) in nodes.iter_mut().enumerate() {
            *nodes = usize::try_from(read_u64(head, NODES_AT + 8 * i)?).ok()?;
        }

        // `layout` adds to the vocabulary unchecked, so the bound comes first. Each token and each
        // special one has a unigram.
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

/// The digest of a header, over all of its bytes but the digest's own.
fn digest(head: &[u8; HEADER_BYTES]) -> [u8; 32] {
    *blake3::Hasher::new()
        .update(&head[..DIGEST_AT])
        .update(&head[NAME_AT..])
        .finalize()
        .as_bytes()
}

/// The number at `at`, in bytes; `None` if the number is not wholly inside.
#[inline]
pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// As [`read_u32`], for eight bytes.
#[inline]
fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The slot, of `slots`, at which the search for a name begins.
pub(super) fn slot(name: &str, slots: usize) -> usize {
    // The high bits of the product: a hash spread over any number of slots, without a division.
    ((u128::from(xxhash_rust::xxh3::xxh3_64(name.as_bytes())) * slots as u128) >> 64) as usize
}
