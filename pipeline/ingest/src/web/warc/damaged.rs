//! What happens after damage in a member: the search for the next member, and the damage that names
//! everything between.

use anyhow::Result;
use memchr::memchr2;

use super::decode::{GZIP, Kind, ZSTD};
use super::reader::Reader;
use super::{reason, record};
use crate::record::{RAW_KEPT, damage};

/// The number of compressed bytes that a trial takes. A block of zstd has at most 128 KiB.
const TRIAL: usize = 192 << 10;
/// The most damaged members within bytes that were read before. It bounds the work for members that
/// lie inside each other.
const ATTEMPTS: u32 = 100;

impl Reader<'_> {
    /// Names the rest of `out` and the bytes up to the next member as damage.
    ///
    /// # Errors
    /// If the stream cannot be read or the sink fails.
    pub fn damaged_member(&mut self, kind: Kind, reason: &'static str, detail: &str) -> Result<()> {
        let offset = match self.records.out.len() {
            0 => self.member,
            _ => self.records.origin,
        };
        let decoded = self.records.out.rest();
        let records = record::count(decoded);
        let mut raw = decoded[..decoded.len().min(RAW_KEPT)].to_vec();
        self.records.out.clear();
        self.records.needed = 0;
        self.pending = 0;

        self.go_back(self.member);
        if raw.is_empty() {
            self.input.want(RAW_KEPT)?;
            raw = self.input.rest()[..self.input.rest().len().min(RAW_KEPT)].to_vec();
        }
        // The first byte of the damaged member is no start of another one.
        if !self.input.want(1)?.is_empty() {
            self.input.advance(1);
        }
        self.resync()?;

        // Damage that made the decoder run to the end of the file is no truncation.
        let is_over = self.input.want(1)?.is_empty();
        let reason = match reason == reason::TRUNCATED && !is_over {
            true => kind.reason(),
            false => reason,
        };
        let bytes = self.input.offset() - offset;
        let found = match self.records.skip.take() {
            Some(skip) => skip.damage(),
            None => damage(offset, reason, detail, &raw, bytes).of_records(records),
        };
        self.records.emit(found)
    }

    /// Goes back to the start of a damaged member, so that the search for the next one sees every
    /// byte. Members that lie inside each other are searched a limited number of times.
    fn go_back(&mut self, start: u64) {
        let here = self.input.offset();
        self.attempts = match start < self.reached {
            true => self.attempts + 1,
            false => 0,
        };
        self.reached = self.reached.max(here);
        if self.attempts < ATTEMPTS {
            self.input.back_to(start);
        }
    }

    /// Moves to the next member whose data is a record, or to the end of the file.
    fn resync(&mut self) -> Result<()> {
        loop {
            self.input.forget();
            let bytes = self.input.want(TRIAL)?;
            let Some(at) = memchr2(GZIP[0], ZSTD[0], bytes) else {
                let length = bytes.len();
                if length == 0 {
                    return Ok(());
                }
                self.input.advance(length);
                continue;
            };

            self.input.advance(at);
            if self.is_member()? {
                return Ok(());
            }
            self.input.advance(1);
        }
    }

    /// True if a member begins here and its data begins with a record.
    ///
    /// # Errors
    /// If the stream cannot be read or the sink fails.
    pub fn is_member(&mut self) -> Result<bool> {
        let head = self.input.want(4)?;
        let kind = match head {
            _ if head.starts_with(GZIP) => Kind::Gzip,
            _ if head.starts_with(ZSTD) => Kind::Zstd,
            _ => return Ok(false),
        };
        self.input.want(TRIAL)?;
        let mut data = [0; 64];
        let decoder = self.decoders.get(kind);
        let input = self.input.rest();
        let length = decoder.head(&input[..input.len().min(TRIAL)], &mut data);
        Ok(length.is_some_and(|length| record::begins_record(&data[..length])))
    }

    /// Names bytes that are no member as damage.
    ///
    /// # Errors
    /// If the stream cannot be read or the sink fails.
    pub fn garbage(&mut self) -> Result<()> {
        self.lost(Kind::Gzip, reason::GARBAGE, "the bytes are no member")
    }

    /// Names the bytes at the place as damage, after the record before them.
    ///
    /// # Errors
    /// If the stream cannot be read or the sink fails.
    pub fn lost(&mut self, kind: Kind, reason: &'static str, detail: &str) -> Result<()> {
        self.flush()?;
        self.damaged_member(kind, reason, detail)
    }
}
