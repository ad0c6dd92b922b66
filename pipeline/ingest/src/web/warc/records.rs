//! Decoded bytes, from which the records are handed out as they become complete.

use anyhow::Result;

use super::record::{self, Ending, Found, Search, Step};
use super::{Raw, Sink, WarcRecord, note};
use crate::record::{Damage, RAW_KEPT, damage};

/// The versions of WARC that exist.
const VERSIONS: [&str; 4] = ["WARC/1.0", "WARC/1.1", "WARC/0.17", "WARC/0.18"];
/// The number of bytes that are decoded at once.
const PIECE: usize = 64 << 10;

/// Decoded bytes that were not handed out yet. The bytes behind `end` are room for more.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// The first byte that was not handed out.
    pub start: usize,
    /// The end of the decoded bytes.
    pub end: usize,
}

impl Buffer {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// The bytes.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Drops all bytes.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Room for [`PIECE`] bytes.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.clear();
        }
        if self.bytes.len() - self.end < PIECE {
            // Moving the smaller part keeps the work linear.
            if self.start > self.bytes.len() / 2 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.len());
            } else {
                let length = (self.bytes.len() * 3 / 2).max(self.end + PIECE);
                self.bytes.resize(length, 0);
            }
        }
        &mut self.bytes[self.end..]
    }
}

/// A record that is too bad to be read. It is skipped up to the next one.
pub struct Skip {
    /// The place of the record.
    pub offset: u64,
    /// What is wrong.
    pub reason: &'static str,
    /// What is wrong in detail.
    pub detail: String,
    /// The first bytes.
    pub raw: Vec<u8>,
    /// The number of bytes that were skipped.
    pub bytes: u64,
}

impl Skip {
    /// The damage of the bytes that were skipped.
    pub fn damage(&self) -> Damage {
        damage(
            self.offset,
            self.reason,
            &self.detail,
            &self.raw,
            self.bytes,
        )
    }
}

/// The records of a file on their way to the sink.
pub struct Records<'a> {
    /// The decoded bytes.
    pub out: Buffer,
    /// The most bytes of a block.
    pub max_record: u64,
    /// Takes the records.
    pub sink: Sink<'a>,
    /// The offset of the member in which the first record of `out` begins.
    pub origin: u64,
    /// The offset of the start of `out` in a file without compression.
    pub base: Option<u64>,
    /// The record that is skipped.
    pub skip: Option<Skip>,
    /// The records are looked at again when `out` has this number of bytes.
    pub wanted: usize,
    /// The first record, which goes on in the next member, is not complete before `out` has this
    /// number of bytes.
    pub needed: usize,
    /// True after the first record or damage.
    pub has_records: bool,
}

impl<'a> Records<'a> {
    /// The state at the start of a file.
    pub fn new(max_record: u64, sink: Sink<'a>) -> Records<'a> {
        Records {
            out: Buffer::default(),
            max_record,
            sink,
            origin: 0,
            base: None,
            skip: None,
            wanted: 0,
            needed: 0,
            has_records: false,
        }
    }

    /// Hands a damage to the sink.
    pub fn emit(&mut self, damage: Damage) -> Result<()> {
        self.has_records = true;
        (self.sink)(Raw::Damage(damage))
    }

    /// Hands out the records of `out` as far as they are complete. `member` is the offset of the
    /// member in which the bytes end.
    pub fn hand_out(
        &mut self,
        ending: Ending,
        member: u64,
        note: Option<&'static str>,
    ) -> Result<()> {
        // Many short members of one record would be looked at again and again.
        if ending == Ending::Member && self.out.len() < self.needed {
            return Ok(());
        }

        loop {
            if self.skip.is_some() && !self.go_on_skipping(ending, member)? {
                return Ok(());
            }

            match record::next(self.out.rest(), ending, self.max_record) {
                Step::Rest(length) => {
                    self.needed = length;
                    return Ok(());
                }
                Step::More(length) => {
                    self.wanted = length;
                    return Ok(());
                }
                Step::Blank(length) => {
                    let rest = &self.out.rest()[..length];
                    let zeros = rest.iter().filter(|byte| **byte == 0).count() as u64;
                    self.take(length, member);
                    if zeros > 0 {
                        (self.sink)(Raw::Padding { bytes: zeros })?;
                    }
                }
                Step::Record(found) => {
                    let end = found.end;
                    let offset = self.base.unwrap_or(self.origin);
                    let found = warc_record(found, self.out.rest(), offset, note);
                    (self.sink)(Raw::Record(found))?;
                    self.has_records = true;
                    self.take(end, member);
                }
                Step::Bad(reason, detail) => {
                    let rest = self.out.rest();
                    let skip = Skip {
                        offset: self.base.unwrap_or(self.origin),
                        reason,
                        detail,
                        raw: rest[..rest.len().min(RAW_KEPT)].to_vec(),
                        bytes: 0,
                    };
                    self.skip = Some(skip);
                }
            }
        }
    }

    /// Drops bytes of the start of `out`.
    fn take(&mut self, length: usize, member: u64) {
        self.out.start += length;
        self.needed = 0;
        self.origin = member;
        self.base = self.base.map(|base| base + length as u64);
    }

    /// Skips up to the next record. False if the bytes are over before it.
    fn go_on_skipping(&mut self, ending: Ending, member: u64) -> Result<bool> {
        let is_end = ending != Ending::More;
        let rest = self.out.rest();
        let found = record::next_record(rest, 1, is_end);
        let length = match found {
            Search::At(at) => at,
            _ if is_end => rest.len(),
            // The line end before a record decides, so it stays.
            Search::Maybe(at) => at - 1,
            Search::Nowhere => rest.len().saturating_sub(8),
        };

        let skip = self.skip.as_mut().expect("checked by the caller");
        skip.bytes += length as u64;
        self.wanted = rest.len() - length + 1;
        self.take(length, member);
        // A damaged member has its own end, so the damage is named by `damaged_member`.
        if matches!(found, Search::At(_)) || (is_end && ending != Ending::Cut) {
            let skip = self.skip.take().expect("checked by the caller");
            self.emit(skip.damage())?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// A record with the notes on its header.
fn warc_record<'a>(
    found: Found<'a>,
    bytes: &'a [u8],
    offset: u64,
    note: Option<&'static str>,
) -> WarcRecord<'a> {
    let version = std::str::from_utf8(found.version).unwrap_or_default();
    let mut notes: Vec<&'static str> = note.into_iter().chain(found.note).collect();
    if !VERSIONS.contains(&version) {
        notes.push(note::VERSION);
    }
    if found.headers.unreadable > 0 {
        notes.push(note::HEADER_LINES);
    }
    WarcRecord {
        offset,
        version,
        headers: found.headers,
        block: &bytes[found.block],
        notes,
    }
}
