//! Reads a file member by member: gzip members, zstd frames, padding, or one plain stream.

use std::io::BufRead;

use anyhow::Result;
use memchr::{memchr, memmem};

use super::decode::{
    DICTIONARY, DICTIONARY_BYTES, Decoders, GZIP, Kind, State, ZSTD, dictionary, gzip_header,
    is_skippable,
};
use super::input::Input;
use super::record::{self, Ending, Search};
use super::records::Records;
use super::{Limits, Raw, Sink, UNCHECKED_BYTES, note, reason};
use crate::record::{RAW_KEPT, damage};
use crate::web::headers::text;

/// The first bytes of an ARC file.
const ARC: &[u8] = b"filedesc://";
/// The most bytes of the header of a gzip member.
const GZIP_HEADER: usize = 256 << 10;
/// The numbers of bytes in which the first record or member is searched, one after the other.
const HEADS: [usize; 3] = [64 << 10, 1 << 20, 16 << 20];

/// How a member ended.
enum End {
    /// As it should.
    Whole,
    /// Without its checksum, at the end of the file.
    NoTrailer,
    /// In the middle, at the end of the file.
    Truncated,
    /// With an error. Its description, and true if bytes before the error may be right.
    Broken(String, bool),
}

/// The state of the reading of a file.
pub struct Reader<'a> {
    /// The bytes of the file.
    pub input: Input<'a>,
    /// The decoded bytes.
    pub records: Records<'a>,
    /// The decoders of members.
    pub decoders: Decoders,
    /// Bytes at the start of the decoded bytes that members before left, because their last record
    /// is not complete.
    pub pending: usize,
    /// The offset of the member at the place, or of the bytes that are no member.
    pub member: u64,
    /// The furthest place that a damaged member reached.
    pub reached: u64,
    /// The number of damaged members before that place.
    pub attempts: u32,
    max_window: u64,
    /// True if the file is of another format, so that nothing else is read.
    is_refused: bool,
}

impl<'a> Reader<'a> {
    /// The state at the start of a file.
    ///
    /// # Errors
    /// If a decoder cannot be made.
    pub fn new(stream: &'a mut dyn BufRead, limits: &Limits, sink: Sink<'a>) -> Result<Self> {
        Ok(Reader {
            input: Input::new(stream),
            records: Records::new(limits.max_record, sink),
            decoders: Decoders::new(limits.max_window)?,
            pending: 0,
            member: 0,
            reached: 0,
            attempts: 0,
            max_window: limits.max_window,
            is_refused: false,
        })
    }

    /// Reads the file to its end.
    ///
    /// # Errors
    /// If the stream cannot be read or the sink fails.
    pub fn read(&mut self) -> Result<()> {
        loop {
            self.input.forget();
            self.member = self.input.offset();
            let head = self.input.want(4)?;
            let head = head[..head.len().min(4)].to_vec();
            match &head[..] {
                [] => break,
                [0, ..] => self.zeros()?,
                _ if head.starts_with(GZIP) => self.member(Kind::Gzip)?,
                _ if head.starts_with(ZSTD) => self.member(Kind::Zstd)?,
                _ if is_skippable(&head) => self.skippable()?,
                _ if GZIP.starts_with(&head) || ZSTD.starts_with(&head) => {
                    self.lost(Kind::Gzip, reason::TRUNCATED, "the file ends")?;
                }
                _ if !self.records.has_records && self.is_plain()? => self.plain()?,
                _ => self.garbage()?,
            }
            if self.is_refused {
                return self.refuse();
            }
        }
        self.flush()
    }

    /// Skips zeros between members.
    fn zeros(&mut self) -> Result<()> {
        let mut bytes = 0;
        loop {
            let zeros = self.input.rest().iter().take_while(|byte| **byte == 0);
            let zeros = zeros.count();
            bytes += zeros as u64;
            self.input.advance(zeros);
            self.input.forget();
            if !self.input.rest().is_empty() || !self.input.more()? {
                return (self.records.sink)(Raw::Padding { bytes });
            }
        }
    }

    /// Reads a skippable frame. The one at the start of a file may be a dictionary.
    fn skippable(&mut self) -> Result<()> {
        let start = self.input.offset();
        let head = self.input.want(8)?;
        let is_dictionary = head.starts_with(DICTIONARY) && start == 0;
        let Some(length) = head.get(4..8) else {
            return self.lost(Kind::Zstd, reason::TRUNCATED, "the file ends");
        };
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;

        if is_dictionary && length <= DICTIONARY_BYTES {
            let frame = self.input.want(8 + length)?;
            if frame.len() < 8 + length {
                return self.lost(Kind::Zstd, reason::TRUNCATED, "the file ends");
            }
            match dictionary(&frame[8..8 + length], self.max_window) {
                Ok(decoder) => self.decoders.zstd = decoder,
                Err(error) => {
                    let detail = format!("the dictionary cannot be used: {error}");
                    return self.lost(Kind::Zstd, reason::BAD_ZSTD, &detail);
                }
            }
        }

        let mut left = 8 + length;
        while left > 0 && !self.input.want(1)?.is_empty() {
            let piece = self.input.rest().len().min(left);
            self.input.advance(piece);
            self.input.forget();
            left -= piece;
        }
        match left {
            0 => Ok(()),
            _ => self.lost(Kind::Zstd, reason::TRUNCATED, "the file ends"),
        }
    }

    /// Reads one member.
    fn member(&mut self, kind: Kind) -> Result<()> {
        let start = self.input.offset();
        self.pending = self.records.out.len();
        if self.pending == 0 {
            self.records.origin = start;
        }
        self.records.wanted = UNCHECKED_BYTES;

        let end = self.decode(kind, start)?;
        if self.is_refused {
            return Ok(());
        }
        match end {
            End::Whole => {
                self.settle(start, true)?;
                self.records.hand_out(Ending::Member, start, None)
            }
            End::NoTrailer => {
                self.settle(start, true)?;
                self.records
                    .hand_out(Ending::Member, start, Some(note::NO_TRAILER))
            }
            End::Truncated => {
                self.salvage(start, true)?;
                self.damaged_member(kind, reason::TRUNCATED, "the file ends within a member")
            }
            End::Broken(detail, is_usable) => {
                self.salvage(start, is_usable)?;
                self.damaged_member(kind, kind.reason(), &detail)
            }
        }
    }

    /// Decodes a member into `out`. Records are handed out on the way if it is very long.
    fn decode(&mut self, kind: Kind, start: u64) -> Result<End> {
        let header = match kind {
            Kind::Gzip => loop {
                match gzip_header(self.input.rest()) {
                    Some(length) => break length,
                    // A name or a comment without an end is no header.
                    None if self.input.rest().len() > GZIP_HEADER => {
                        return Ok(End::Broken("no gzip header".to_owned(), false));
                    }
                    None if !self.input.more()? => return Ok(End::Truncated),
                    None => {}
                }
            },
            Kind::Zstd => 0,
        };
        self.input.advance(header);
        self.decoders.get(kind).restart()?;

        loop {
            let decoder = self.decoders.get(kind);
            let step = decoder.step(self.input.rest(), self.records.out.room());
            self.input.advance(step.read);
            self.records.out.end += step.written;

            if step.written > 0 {
                self.settle(start, false)?;
                if !self.records.has_records && self.records.out.rest().starts_with(ARC) {
                    self.is_refused = true;
                    return Ok(End::Whole);
                }
            }
            match step.state {
                State::Open => {}
                State::Done => return self.trailer(kind),
                State::Failed(detail) => return Ok(End::Broken(detail, true)),
            }
            if self.records.out.len() >= self.records.wanted {
                self.records
                    .hand_out(Ending::More, start, Some(note::UNCHECKED))?;
            }
            if step.read + step.written == 0 && !self.input.more()? {
                return Ok(End::Truncated);
            }
        }
    }

    /// Compares the trailer of a member.
    fn trailer(&mut self, kind: Kind) -> Result<End> {
        let expected = self.decoders.get(kind).trailer();
        let found = self.input.want(expected.len())?;
        let length = found.len().min(expected.len());
        if found[..length] != expected[..length] {
            return Ok(End::Broken("the checksum is wrong".to_owned(), false));
        }

        self.input.advance(length);
        Ok(match length == expected.len() {
            true => End::Whole,
            false => End::NoTrailer,
        })
    }

    /// Decides if the new bytes go on with the record that the members before left. `is_end` says
    /// that the new member has no more bytes.
    fn settle(&mut self, start: u64, is_end: bool) -> Result<()> {
        let fresh = &self.records.out.rest()[self.pending.min(self.records.out.len())..];
        if self.pending == 0 || fresh.is_empty() || (fresh.len() < 16 && !is_end) {
            return Ok(());
        }
        if !record::begins_record(fresh) {
            self.pending = 0;
            return Ok(());
        }
        self.finish_pending(start)
    }

    /// Ends the record that the members before left.
    fn finish_pending(&mut self, start: u64) -> Result<()> {
        let end = self.records.out.end;
        self.records.out.end = self.records.out.start + self.pending;
        self.pending = 0;
        self.records.hand_out(Ending::Last, start, None)?;
        (self.records.out.start, self.records.out.end) = (self.records.out.end, end);
        self.records.origin = start;
        self.records.wanted = UNCHECKED_BYTES;
        Ok(())
    }

    /// Hands out the records of a damaged member that were complete before the damage.
    fn salvage(&mut self, start: u64, is_usable: bool) -> Result<()> {
        if self.pending > 0 {
            self.finish_pending(start)?;
        }
        if is_usable {
            self.records
                .hand_out(Ending::Cut, start, Some(note::UNCHECKED))?;
        }
        Ok(())
    }

    /// True if the file is plain: a record or an ARC header comes before the first member. Without
    /// any of them, text is plain.
    fn is_plain(&mut self) -> Result<bool> {
        for length in HEADS {
            let head = self.input.want(length)?;
            let head = &head[..head.len().min(length)];
            if head.starts_with(ARC) || record::begins_record(head) {
                return Ok(true);
            }

            let record = match record::next_record(head, 0, true) {
                Search::At(at) => at,
                _ => head.len(),
            };
            if self.has_member_before(record)? {
                return Ok(false);
            }
            if record < self.input.rest().len().min(length) {
                return Ok(true);
            }
        }
        let head = self.input.rest();
        Ok(head[..head.len().min(RAW_KEPT)].is_ascii())
    }

    /// True if a member begins in the next `length` bytes.
    fn has_member_before(&mut self, length: usize) -> Result<bool> {
        let head = &self.input.rest()[..length];
        let gzip = memmem::find_iter(head, GZIP);
        let places: Vec<usize> = gzip.chain(memmem::find_iter(head, ZSTD)).collect();
        let start = self.input.offset();
        for place in places {
            self.input.advance(place);
            let is_member = self.is_member()?;
            self.input.back_to(start);
            if is_member {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a file without compression.
    fn plain(&mut self) -> Result<()> {
        self.records.base = Some(self.input.offset());
        self.records.wanted = 1;
        loop {
            let room = self.records.out.room();
            let length = self.input.rest().len().min(room.len());
            room[..length].copy_from_slice(&self.input.rest()[..length]);
            self.records.out.end += length;
            self.input.advance(length);
            self.input.forget();

            if !self.records.has_records && self.records.out.rest().starts_with(ARC) {
                self.is_refused = true;
                return Ok(());
            }
            if self.records.out.len() >= self.records.wanted {
                self.records.hand_out(Ending::More, 0, None)?;
            }
            if self.input.rest().is_empty() && !self.input.more()? {
                return self.records.hand_out(Ending::File, 0, None);
            }
        }
    }

    /// Ends the last record of a compressed file.
    pub fn flush(&mut self) -> Result<()> {
        self.pending = 0;
        self.records
            .hand_out(Ending::Last, self.input.offset(), None)
    }

    /// Names the whole file as one damage.
    fn refuse(&mut self) -> Result<()> {
        let raw = self.records.out.rest()[..self.records.out.len().min(RAW_KEPT)].to_vec();
        while !self.input.want(1)?.is_empty() {
            self.input.advance(self.input.rest().len());
            self.input.forget();
        }
        let line = memchr(b'\n', &raw).map_or(&raw[..], |end| &raw[..end]);
        let line = text(line.trim_ascii());
        let detail = format!("an ARC file, which begins with \"{line}\"");
        let bytes = self.input.offset();
        self.records
            .emit(damage(0, reason::OTHER_FORMAT, &detail, &raw, bytes))
    }
}
