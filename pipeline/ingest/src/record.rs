//! The items that a reader produces: a record, or the damage in place of a record. Input files are
//! untrusted, so an unreadable record is set aside and is never an error of the run.

use curate_schemas::stages::documents::{BYTE_ORDER_MARK, LONE_SURROGATE};

/// The most bytes of a damaged record that are kept for inspection.
pub const RAW_KEPT: usize = 4096;
/// The most characters of a description that are kept.
const DETAIL_CHARS: usize = 500;

/// A record as it was read, before it gets an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The text field, before `[clean]`.
    pub text: String,
    /// The id field. `None` if the source names no such field or the record lacks it.
    pub id: Option<String>,
    /// The url field. `None` as for `id`.
    pub url: Option<String>,
    /// The date field as microseconds since 1970, UTC. `None` as for `id`, or if it is not a date.
    pub date: Option<i64>,
    /// The other fields as a JSON object. `None` if there are no other fields.
    pub meta: Option<String>,
    /// What was repaired so far.
    pub repairs: Repairs,
}

/// The repairs of a record while it is read. They are the only changes to a text before `[clean]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repairs {
    /// True if U+FEFF was removed before the record or from its text, id or URL.
    pub byte_order_mark: bool,
    /// True if a lone surrogate in a field of the record became U+FFFD.
    pub lone_surrogate: bool,
}

impl Repairs {
    /// The words for the column `repaired`.
    pub fn kinds(self) -> impl Iterator<Item = &'static str> {
        [
            (self.byte_order_mark, BYTE_ORDER_MARK),
            (self.lone_surrogate, LONE_SURROGATE),
        ]
        .into_iter()
        .filter_map(|(is_done, kind)| is_done.then_some(kind))
    }
}

/// A record or file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Start of the damage: a byte of the decompressed file, or a row of a Parquet or Arrow file.
    pub offset: u64,
    /// The kind of damage, one word. The table `quarantine` lists the words.
    pub reason: &'static str,
    /// The finding in detail, cut after 500 characters.
    pub detail: String,
    /// The first bytes of the unreadable part, at most [`RAW_KEPT`].
    pub raw: Vec<u8>,
    /// Length of the unreadable part in bytes, as far as it is known.
    pub raw_bytes: u64,
    /// Number of records that the damage hides, as far as it is known, and at least 1.
    pub records: u64,
}

impl Damage {
    /// The same damage, which hides `records` records; 0 counts as 1.
    pub fn of_records(self, records: u64) -> Damage {
        Damage {
            records: records.max(1),
            ..self
        }
    }
}

/// A record, or the damage in its place.
pub type Item = std::result::Result<Record, Damage>;

/// What a reader finds in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A record, or the damage in its place.
    Item(Item),
    /// A record that is no document.
    Skipped {
        /// Why it is none, one word: `record_type`, `content_type`, `status`, `revisit` or
        /// `empty_payload`.
        reason: &'static str,
        /// Its bytes, without the headers of the archive.
        bytes: u64,
    },
}

impl From<Item> for Entry {
    fn from(item: Item) -> Entry {
        Entry::Item(item)
    }
}

/// The damage of one record, with the beginning of its detail and of its raw bytes.
pub fn damage(
    offset: u64,
    reason: &'static str,
    detail: &str,
    raw: &[u8],
    raw_bytes: u64,
) -> Damage {
    let raw = raw[..raw.len().min(RAW_KEPT)].to_vec();
    let detail = match detail.char_indices().nth(DETAIL_CHARS) {
        // The message of a library may quote all of the input that it refused.
        Some((end, _)) => format!("{}… ({} bytes)", &detail[..end], detail.len()),
        None => detail.to_owned(),
    };

    Damage {
        offset,
        reason,
        detail,
        raw,
        raw_bytes,
        records: 1,
    }
}
