//! The Thrift compact protocol (github.com/apache/thrift, doc/specs/thrift-compact-protocol.md), as
//! far as it is needed to pass over untrusted values. A number of elements or bytes is refused if
//! the remaining bytes cannot hold them.

/// A finding, or a message that says what is wrong with the bytes.
pub type Found<T> = Result<T, String>;

/// The deepest nesting of values.
const DEEPEST: usize = 16;

/// The bytes that remain to be read.
pub struct Bytes<'a>(pub &'a [u8]);

/// The codes of the types in the compact protocol.
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

/// The type that a value must have. A reader that looks only at the number of a field would misread
/// a value of another type, and everything behind the value.
#[derive(Debug, Clone, Copy)]
pub enum Is {
    Bool,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    /// A list with elements of one type.
    List(&'static Is),
    /// A struct with its known fields, by number.
    Struct(&'static [(i64, Is)]),
}

impl Is {
    /// True if a value with the code `found` has this type. Elements and fields are not checked.
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

/// The message for a value that needs more bytes than remain.
pub const ENDS: &str = "it ends in the middle";

impl<'a> Bytes<'a> {
    /// The next `n` bytes.
    pub fn take(&mut self, n: u64) -> Found<&'a [u8]> {
        let n = usize::try_from(n).map_err(|_| ENDS)?;
        let (taken, rest) = self.0.split_at_checked(n).ok_or(ENDS)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Takes the next byte.
    fn byte(&mut self) -> Found<u8> {
        let (first, rest) = self.0.split_first().ok_or(ENDS)?;
        self.0 = rest;
        Ok(*first)
    }

    /// Passes over `n` bytes.
    fn skip(&mut self, n: u64) -> Found<()> {
        self.take(n).map(drop)
    }

    /// A number of 64 bits, seven in each byte.
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

    /// A signed number in zigzag encoding: the lowest bit of a varint is the sign.
    pub fn signed(&mut self) -> Found<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A signed number that must fit in 32 bits.
    pub fn i32(&mut self) -> Found<i32> {
        let n = self.signed()?;
        i32::try_from(n).map_err(|_| format!("the number {n} in a field of 32 bits"))
    }

    /// The type of the elements of a list and their number. A list of more elements than bytes is
    /// refused, because an element takes at least one byte.
    pub fn list(&mut self) -> Found<(u8, u64)> {
        let head = self.byte()?;
        // The high half is the number, or 15 if the number follows.
        let n = if head >> 4 == 15 {
            self.varint()?
        } else {
            u64::from(head >> 4)
        };
        self.has_room(n)?;
        Ok((head & 15, n))
    }

    /// Refuses `n` elements if fewer than `n` bytes remain.
    fn has_room(&self, n: u64) -> Found<()> {
        match n > self.0.len() as u64 {
            true => Err(format!("a list of {n} entries in {} bytes", self.0.len())),
            false => Ok(()),
        }
    }

    /// The type and the number of the next field of a struct, or `None` at the end of the struct.
    /// `last` is the number of the previous field, 0 at first, and becomes the number of this
    /// field.
    pub fn field(&mut self, last: &mut i64) -> Found<Option<(u8, i64)>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }

        // The high half is the distance to the last number, or 0 if the number follows.
        *last = if head >> 4 == 0 {
            self.signed()?
        } else {
            *last + i64::from(head >> 4)
        };
        // The sum cannot overflow: the last number had 16 bits.
        if i16::try_from(*last).is_err() {
            return Err(format!("a field {last}"));
        }
        Ok(Some((head & 15, *last)))
    }

    /// Passes over a struct. Its known fields must have the types in `fields`, at every depth.
    pub fn check(&mut self, fields: &'static [(i64, Is)]) -> Found<()> {
        self.checked(Is::Struct(fields), 0)
    }

    /// Passes over a value that must have a type.
    fn checked(&mut self, is: Is, depth: usize) -> Found<()> {
        match is {
            // A boolean takes no byte: the type of its field is its value.
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
                // The type of an empty list does not matter.
                if n > 0 && !each.is(of) {
                    return Err(format!("a list of type {of}"));
                }
                (0..n).try_for_each(|_| self.checked(*each, depth + 1))
            }
            Is::Struct(fields) => self.checked_struct(fields, depth),
        }
    }

    /// Passes over a struct whose known fields must have their types.
    fn checked_struct(&mut self, fields: &'static [(i64, Is)], depth: usize) -> Found<()> {
        let mut last = 0;
        while let Some((of, number)) = self.field(&mut last)? {
            match fields.iter().find(|(known, _)| *known == number) {
                // hyparquet-writer writes a number of 32 bits in place of one of 8. A reader takes
                // one byte of it, so it is let through if it has one byte.
                Some((_, Is::Byte))
                    if of == kind::I32 && self.0.first().is_some_and(|byte| *byte < 0x80) =>
                {
                    self.skip(1)?;
                }
                Some((_, is)) if !is.is(of) => {
                    return Err(format!("field {number} has type {of}"));
                }
                // The depth of known fields is bounded by the depth of the types.
                Some((_, is)) => self.checked(*is, depth + 1)?,
                None => self.value(of, depth + 1)?,
            }
        }
        Ok(())
    }

    /// Passes over the value of a field with the type `of`.
    pub fn pass(&mut self, of: u8) -> Found<()> {
        self.value(of, 1)
    }

    /// Passes over a value of a field, `depth` structs deep.
    fn value(&mut self, of: u8, depth: usize) -> Found<()> {
        // The bytes decide how deep this function calls itself, so the depth is bounded.
        if depth > DEEPEST {
            return Err(format!("structs nested more than {DEEPEST} deep"));
        }

        match of {
            // The type of the field is the value.
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
                // An empty map has no byte for the types of its keys and values.
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

    /// Passes over an element of a list, a set or a map. Booleans are refused here, because readers
    /// do not agree on the bytes that they take, and no format that is read here has such lists.
    fn element(&mut self, of: u8, depth: usize) -> Found<()> {
        match of {
            kind::TRUE | kind::FALSE => Err("a list of booleans".to_owned()),
            _ => self.value(of, depth + 1),
        }
    }
}
