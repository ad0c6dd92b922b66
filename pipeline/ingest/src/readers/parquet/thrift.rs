//! The Thrift compact protocol (github.com/apache/thrift, doc/specs/thrift-compact-protocol.md), as
//! far as it takes to pass over values that strangers wrote: nothing is believed that the bytes at
//! hand cannot hold.

/// What was found, or what is wrong.
pub type Found<T> = Result<T, String>;

/// Deepest nesting of structs.
const DEEPEST: usize = 16;

/// Bytes that are still to be read.
pub struct Bytes<'a>(pub &'a [u8]);

/// Types of the compact protocol.
mod kind {
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
}

/// What a value has to be. A reader that goes by a field's number alone takes a value of another
/// type for something else, and all that follows it.
#[derive(Debug, Clone, Copy)]
pub enum Is {
    Bool,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List(&'static Is),
    /// Its known fields, by number.
    Struct(&'static [(i64, Is)]),
}

impl Is {
    fn is(self, found: u8) -> bool {
        match self {
            Is::Bool => matches!(found, kind::TRUE | kind::FALSE),
            Is::Byte => found == kind::BYTE,
            Is::I16 => found == kind::I16,
            Is::I32 => found == kind::I32,
            Is::I64 => found == kind::I64,
            Is::Double => found == kind::DOUBLE,
            Is::Binary => found == kind::BINARY,
            Is::List(_) => found == kind::LIST,
            Is::Struct(_) => found == kind::STRUCT,
        }
    }
}

/// What a value is called that has more bytes than there are.
pub const ENDS: &str = "it ends in the middle";

impl<'a> Bytes<'a> {
    /// The next `n` bytes.
    pub fn take(&mut self, n: u64) -> Found<&'a [u8]> {
        let n = usize::try_from(n).map_err(|_| ENDS)?;
        let (taken, rest) = self.0.split_at_checked(n).ok_or(ENDS)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Found<u8> {
        let (first, rest) = self.0.split_first().ok_or(ENDS)?;
        self.0 = rest;
        Ok(*first)
    }

    fn skip(&mut self, n: u64) -> Found<()> {
        self.take(n).map(drop)
    }

    /// A number of 64 bits, seven to a byte.
    pub fn varint(&mut self) -> Found<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number of more than 64 bits".to_owned())
    }

    /// A varint whose lowest bit is the sign.
    pub fn signed(&mut self) -> Found<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of 32 bits.
    pub fn i32(&mut self) -> Found<i32> {
        let n = self.signed()?;
        i32::try_from(n).map_err(|_| format!("the number {n} in a field of 32 bits"))
    }

    /// The type and the length of a list; each element takes a byte or more.
    pub fn list(&mut self) -> Found<(u8, u64)> {
        let head = self.byte()?;
        let n = if head >> 4 == 15 {
            self.varint()?
        } else {
            u64::from(head >> 4)
        };
        self.has_room(n)?;
        Ok((head & 15, n))
    }

    fn has_room(&self, n: u64) -> Found<()> {
        match n > self.0.len() as u64 {
            true => Err(format!("a list of {n} entries in {} bytes", self.0.len())),
            false => Ok(()),
        }
    }

    /// The type of a struct's next field and its number; none at the end.
    pub fn field(&mut self, last: &mut i64) -> Found<Option<(u8, i64)>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        *last = if head >> 4 == 0 {
            self.signed()?
        } else {
            *last + i64::from(head >> 4)
        };
        if i16::try_from(*last).is_err() {
            return Err(format!("a field {last}"));
        }
        Ok(Some((head & 15, *last)))
    }

    /// Passes over a struct, whose known fields have to be what they are said to be.
    pub fn check(&mut self, fields: &'static [(i64, Is)]) -> Found<()> {
        self.checked(Is::Struct(fields), 0)
    }

    fn checked(&mut self, is: Is, depth: usize) -> Found<()> {
        match is {
            Is::Bool => Ok(()),
            Is::Byte => self.skip(1),
            Is::I16 => {
                let n = self.signed()?;
                i16::try_from(n)
                    .map(drop)
                    .map_err(|_| format!("the number {n} in a field of 16 bits"))
            }
            Is::I32 => self.i32().map(drop),
            Is::I64 => self.varint().map(drop),
            Is::Double => self.skip(8),
            Is::Binary => self.pass(kind::BINARY),
            Is::List(each) => {
                let (of, n) = self.list()?;
                if n > 0 && !each.is(of) {
                    return Err(format!("a list of type {of}"));
                }
                (0..n).try_for_each(|_| self.checked(*each, depth + 1))
            }
            Is::Struct(fields) => {
                let mut last = 0;
                while let Some((of, number)) = self.field(&mut last)? {
                    match fields.iter().find(|(known, _)| *known == number) {
                        // hyparquet-writer gives a number of 32 bits for one of 8; a reader takes
                        // one byte of it.
                        Some((_, Is::Byte))
                            if of == kind::I32
                                && self.0.first().is_some_and(|byte| *byte < 0x80) =>
                        {
                            self.skip(1)?;
                        }
                        Some((_, is)) if !is.is(of) => {
                            return Err(format!("field {number} has type {of}"));
                        }
                        Some((_, is)) => self.checked(*is, depth + 1)?,
                        None => self.value(of, depth + 1)?,
                    }
                }
                Ok(())
            }
        }
    }

    /// Passes over a field's value.
    pub fn pass(&mut self, of: u8) -> Found<()> {
        self.value(of, 1)
    }

    fn value(&mut self, of: u8, depth: usize) -> Found<()> {
        if depth > DEEPEST {
            return Err(format!("structs nested more than {DEEPEST} deep"));
        }
        match of {
            // Of a field: it is in its type.
            kind::TRUE | kind::FALSE => Ok(()),
            kind::BYTE => self.skip(1),
            kind::I16 | kind::I32 | kind::I64 => self.varint().map(drop),
            kind::DOUBLE => self.skip(8),
            kind::BINARY => {
                let n = self.varint()?;
                self.skip(n)
            }
            kind::LIST | kind::SET => {
                let (of, n) = self.list()?;
                (0..n).try_for_each(|_| self.element(of, depth))
            }
            kind::MAP => {
                let n = self.varint()?;
                self.has_room(n)?;
                let types = if n == 0 { 0 } else { self.byte()? };
                (0..n).try_for_each(|_| {
                    self.element(types >> 4, depth)?;
                    self.element(types & 15, depth)
                })
            }
            kind::STRUCT => {
                let mut last = 0;
                while let Some((of, _)) = self.field(&mut last)? {
                    self.value(of, depth + 1)?;
                }
                Ok(())
            }
            other => Err(format!("a value of type {other}")),
        }
    }

    /// Readers do not agree on the bytes that a boolean takes here, and no format that is read has
    /// one.
    fn element(&mut self, of: u8, depth: usize) -> Found<()> {
        match of {
            kind::TRUE | kind::FALSE => Err("a list of booleans".to_owned()),
            _ => self.value(of, depth + 1),
        }
    }
}
