//! Numbers and stretches of a model file, each checked against the end of the file.

use std::ops::Range;

/// A fault of a model file, and where the file has it.
#[derive(Debug)]
pub(super) struct Fault {
    /// Offset of the first byte of what is wrong.
    pub(super) at: usize,
    pub(super) reason: String,
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

/// A place in a model file. All numbers are little-endian.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// The offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The number of bytes from here to the end of the file.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The place of the next `len` bytes, which `what` names. Nothing is allocated for them.
    ///
    /// # Errors
    /// If the file ends before them.
    pub(super) fn take(&mut self, len: usize, what: &str) -> Result<Range<usize>> {
        if len > self.left() {
            let left = self.left();
            return Err(self.fault(format!(
                "the file ends in {what}: expected {len} bytes, found {left}"
            )));
        }

        let start = self.at;
        self.at += len;
        Ok(start..self.at)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let place = self.take(N, what)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[place]);
        Ok(array)
    }

    pub(super) fn byte(&mut self, what: &str) -> Result<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    /// A `bool` of C++. Any byte but 0 and 1 is a fault.
    pub(super) fn flag(&mut self, what: &str) -> Result<bool> {
        let at = self.at;
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Fault {
                at,
                reason: format!("{what} is {other}, expected 0 or 1"),
            }),
        }
    }

    pub(super) fn i32(&mut self, what: &str) -> Result<i32> {
        Ok(i32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn i64(&mut self, what: &str) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array(what)?))
    }

    /// A number in a range.
    ///
    /// # Errors
    /// If the number is outside of the range.
    pub(super) fn i32_in(&mut self, what: &str, range: Range<i32>) -> Result<i32> {
        let at = self.at;
        let found = self.i32(what)?;
        match range.contains(&found) {
            true => Ok(found),
            false => Err(Fault {
                at,
                reason: format!(
                    "{what} is {found}, expected {} to {}",
                    range.start,
                    range.end - 1
                ),
            }),
        }
    }

    /// The number of rows or columns of a matrix: 1 or more.
    pub(super) fn size(&mut self, what: &str) -> Result<usize> {
        let at = self.at;
        let found = self.i64(what)?;
        match usize::try_from(found) {
            Ok(size) if (1..=i32::MAX as usize).contains(&size) => Ok(size),
            _ => Err(Fault {
                at,
                reason: format!("{what} is {found}, expected 1 to {}", i32::MAX),
            }),
        }
    }

    /// The place of the bytes before the next byte 0, which is passed over.
    pub(super) fn text(&mut self, what: &str) -> Result<Range<usize>> {
        let Some(len) = memchr::memchr(0, &self.bytes[self.at..]) else {
            return Err(self.fault(format!("the file ends in {what}: no byte 0 after it")));
        };

        let place = self.take(len + 1, what)?;
        Ok(place.start..place.end - 1)
    }

    /// Little-endian floats, read into memory.
    pub(super) fn floats(&mut self, count: usize, what: &str) -> Result<Vec<f32>> {
        let place = self.take(count.saturating_mul(4), what)?;
        Ok(floats(&self.bytes[place]).collect())
    }

    /// A fault at this place.
    pub(super) fn fault(&self, reason: String) -> Fault {
        Fault {
            at: self.at,
            reason,
        }
    }
}

/// Little-endian floats. Bytes after the last whole float are left out.
pub(super) fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
}
