//! What is read: a record, or the damage that stands in its place. Strangers wrote these files, so
//! what cannot be read is set aside and never an error of the run.

/// The most of a damaged record that is kept for a look.
pub const RAW_KEPT: usize = 4096;
/// The most characters of a description.
const DETAIL_CHARS: usize = 500;

/// A record as read, before it gets an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The text field.
    pub text: String,
    /// The id field, if the source names one and the record has it.
    pub id: Option<String>,
    /// The url field, likewise.
    pub url: Option<String>,
    /// The date field, likewise, as microseconds since 1970.
    pub date: Option<i64>,
    /// The other fields, as a JSON object.
    pub meta: Option<String>,
}

/// A record or file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where it starts: bytes in the decompressed file, or the row of a Parquet file.
    pub offset: u64,
    /// What is wrong, one word; see the table `quarantine`.
    pub reason: &'static str,
    /// What exactly was found.
    pub detail: String,
    /// The first [`RAW_KEPT`] bytes.
    pub raw: Vec<u8>,
    /// Length of what could not be read, as far as it is known.
    pub raw_bytes: u64,
}

/// A record, or what stands in its place.
pub type Item = std::result::Result<Record, Damage>;

/// A damage with the head of its raw bytes.
pub fn damage(
    offset: u64,
    reason: &'static str,
    detail: &str,
    raw: &[u8],
    raw_bytes: u64,
) -> Damage {
    let raw = raw[..raw.len().min(RAW_KEPT)].to_vec();
    let detail = match detail.char_indices().nth(DETAIL_CHARS) {
        // A library's message may quote all of what it did not like.
        Some((end, _)) => format!("{}… ({} bytes)", &detail[..end], detail.len()),
        None => detail.to_owned(),
    };
    Damage {
        offset,
        reason,
        detail,
        raw,
        raw_bytes,
    }
}
