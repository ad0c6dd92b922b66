//! The bytes of a file, of which a part is kept so that a damaged member can be searched again.

use std::io::{BufRead, ErrorKind, Result};

/// The most bytes before the current place that are kept. A damage that is noticed later than this
/// is searched from the oldest byte that is kept.
const KEPT: usize = 16 << 20;

/// A stream with a place in it. The bytes since the last [`Input::forget`] can be read again.
pub struct Input<'a> {
    stream: &'a mut dyn BufRead,
    bytes: Vec<u8>,
    /// The place, as an index of `bytes`.
    at: usize,
    /// Bytes before this index are not needed again.
    floor: usize,
    /// The offset of `bytes[0]` in the file.
    base: u64,
}

impl<'a> Input<'a> {
    /// The beginning of a stream.
    pub fn new(stream: &'a mut dyn BufRead) -> Input<'a> {
        Input {
            stream,
            bytes: Vec::new(),
            at: 0,
            floor: 0,
            base: 0,
        }
    }

    /// The place as an offset in the file.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The bytes at the place that were read so far.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// At least `length` bytes at the place, or fewer if the file ends.
    ///
    /// # Errors
    /// If the stream cannot be read.
    pub fn want(&mut self, length: usize) -> Result<&[u8]> {
        while self.rest().len() < length && self.more()? {}
        Ok(self.rest())
    }

    /// Reads another piece of the stream. False if the stream has ended.
    ///
    /// # Errors
    /// If the stream cannot be read.
    pub fn more(&mut self) -> Result<bool> {
        self.compact();

        let piece = loop {
            match self.stream.fill_buf() {
                Ok(piece) => break piece,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let length = piece.len();
        self.bytes.extend_from_slice(piece);
        self.stream.consume(length);
        Ok(length > 0)
    }

    /// Moves the place forward within [`Input::rest`].
    pub fn advance(&mut self, length: usize) {
        self.at += length;
    }

    /// Says that the bytes before the place are not needed again.
    pub fn forget(&mut self) {
        self.floor = self.at;
    }

    /// Moves the place back to `offset`, or to the oldest byte that is kept.
    pub fn back_to(&mut self, offset: u64) {
        let index = offset.saturating_sub(self.base) as usize;
        self.at = index.clamp(self.floor.min(self.at), self.at);
    }

    /// Drops the bytes that are not needed, if they are the larger part.
    fn compact(&mut self) {
        if self.at - self.floor > 2 * KEPT {
            self.floor = self.at - KEPT;
        }
        if self.floor > self.bytes.len() / 2 {
            self.bytes.drain(..self.floor);
            self.base += self.floor as u64;
            self.at -= self.floor;
            self.floor = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn bytes_can_be_read_again_until_they_are_forgotten() {
        let mut stream = BufReader::with_capacity(3, &b"0123456789"[..]);
        let mut input = Input::new(&mut stream);
        assert_eq!(&input.want(4).expect("bytes")[..4], b"0123");
        input.advance(4);
        input.back_to(1);
        assert_eq!(&input.want(3).expect("bytes")[..3], b"123");

        input.advance(3);
        input.forget();
        input.back_to(0);
        assert_eq!(
            (input.offset(), input.want(99).expect("bytes")),
            (4, &b"456789"[..])
        );
        assert!(!input.more().expect("the end"));
    }
}
