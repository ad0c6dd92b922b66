//! Reads the records of a WARC file (ISO 28500), which may be plain, gzip or zstd.
//!
//! Magic bytes decide on the compression. A member is decoded into a buffer whose size `max_record`
//! limits, so no length in a header is trusted. The end of a member wins over the length of its
//! last record. A member may hold many records, and a record may go on in the next member. Segments
//! of a record are joined if they follow each other.
//!
//! After damage in a member, the next gzip or zstd magic whose data decodes to `WARC/` is the next
//! member. Everything between is one damage. In plain files, the next record is the next line
//! `WARC/1.x` with `WARC-Type` in its header.
//!
//! The offset of a damage is a place in the file, like the offset of a record. The length of a
//! damaged member is in bytes of the file, and the length of a damaged record is in decoded bytes.
//!
//! Every record of the file is handed out or is named by a damage. A record is handed out after the
//! checksum of its member was compared. A member of more than 16 MiB is the exception, because its
//! records cannot wait in memory. They have the note [`note::UNCHECKED`]. A zstd frame may have no
//! checksum at all, and a plain file never has one.

mod damaged;
mod decode;
mod input;
mod reader;
mod record;
mod records;
mod segments;
#[cfg(test)]
mod tests;

use std::io::BufRead;

use anyhow::Result;

use crate::record::Damage;
use crate::web::headers::Headers;
use reader::Reader;
use segments::Segments;

/// The most bytes of a member that are decoded before its first record is handed out.
const UNCHECKED_BYTES: usize = 16 << 20;

/// The reasons of damages.
pub mod reason {
    /// The file ends within a record.
    pub const TRUNCATED: &str = "truncated";
    /// A gzip member cannot be decoded, or its checksum is wrong.
    pub const BAD_GZIP: &str = "bad_gzip";
    /// A zstd frame cannot be decoded.
    pub const BAD_ZSTD: &str = "bad_zstd";
    /// A header has no end.
    pub const BAD_HEADER: &str = "bad_header";
    /// A header has no usable Content-Length.
    pub const BAD_LENGTH: &str = "bad_length";
    /// A header has too many bytes or lines.
    pub const HEADER_TOO_LONG: &str = "header_too_long";
    /// A record is longer than `max_record`.
    pub const TOO_LONG: &str = "record_too_large";
    /// The bytes belong to no record.
    pub const GARBAGE: &str = "garbage";
    /// A part of a record that was divided into several, without the other parts.
    pub const SEGMENTED: &str = "segmented";
    /// The file is an ARC file.
    pub const OTHER_FORMAT: &str = "other_format";
}

/// The notes of records.
pub mod note {
    /// The member has no checksum, because the file ends before it.
    pub const NO_TRAILER: &str = "gzip";
    /// The record was handed out before the checksum of its member, or the member is damaged behind
    /// the record.
    pub const UNCHECKED: &str = "unchecked";
    /// Content-Length is longer than the block.
    pub const LENGTH_LONG: &str = "length_long";
    /// Content-Length is shorter than the block.
    pub const LENGTH_SHORT: &str = "length_short";
    /// The record was joined from segments of which none says the length of the whole.
    pub const NO_TOTAL: &str = "segments_no_total";
    /// The version is not one of those that exist.
    pub const VERSION: &str = "version";
    /// The header has lines that are no header lines.
    pub const HEADER_LINES: &str = "header_lines";
}

/// The limits on a file.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of the block of a record.
    pub max_record: u64,
    /// The largest window of a zstd frame, bytes.
    pub max_window: u64,
}

/// A part of a WARC file.
#[derive(Debug)]
pub enum Raw<'a> {
    /// A record.
    Record(WarcRecord<'a>),
    /// Bytes that could not be read as records.
    Damage(Damage),
    /// Zeros between members or records.
    Padding {
        /// The number of zeros.
        bytes: u64,
    },
}

/// A record of a WARC file.
#[derive(Debug)]
pub struct WarcRecord<'a> {
    /// The place in the file: of the member if the file is compressed, else of the record.
    pub offset: u64,
    /// The version, such as `WARC/1.0`.
    pub version: &'a str,
    /// The header.
    pub headers: Headers<'a>,
    /// The block.
    pub block: &'a [u8],
    /// What is unusual, as words of [`note`].
    pub notes: Vec<&'static str>,
}

/// Takes the parts of a file in their order.
pub type Sink<'a> = &'a mut dyn FnMut(Raw) -> Result<()>;

/// Reads the raw bytes of a WARC file, compressed or not.
///
/// # Errors
/// If the stream cannot be read or `sink` fails. Damage in the data is not an error.
pub fn read(stream: &mut dyn BufRead, limits: &Limits, sink: Sink) -> Result<()> {
    let mut segments = Segments::new(limits.max_record, sink);
    Reader::new(stream, limits, &mut |raw| segments.push(raw))?.read()?;
    segments.finish()
}
