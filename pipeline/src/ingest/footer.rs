//! A look at a Parquet file's footer before a reader trusts it. What it lies about would cost the run: a schema nested some
//! hundred deep overflows the reader's stack, and a list that claims 2^31 entries its memory; neither can be caught.
//!
//! The footer is a struct of the Thrift compact protocol (github.com/apache/thrift, doc/specs/thrift-compact-protocol.md); its
//! second field is the list of schema elements, in the order of a walk, each with the number of its children in its fifth field
//! (github.com/apache/parquet-format, parquet.thrift).

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Deepest nesting of columns that is read.
const DEEPEST: usize = 64;
/// Deepest nesting of the footer's own structs.
const DEEPEST_STRUCT: usize = 16;
/// Most row groups: more have no number in the format.
const MOST_GROUPS: u64 = 32_767;
/// Largest footer that is read.
const LARGEST: u64 = 256 << 20;

/// Refuses a footer that no reader should be given; others, and those that are none, are left to the reader.
///
/// # Errors
/// What is wrong with it.
pub fn check(file: &File, size: u64) -> Result<(), String> {
    let mut tail = [0; 8];
    if size < 12 || file.read_exact_at(&mut tail, size - 8).is_err() || &tail[4..] != b"PAR1" {
        return Ok(());
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if length + 8 > size {
        return Ok(());
    }
    if length > LARGEST {
        return Err(format!("a footer of {length} bytes, more than {LARGEST}"));
    }
    let mut bytes = vec![0; length as usize];
    match file.read_exact_at(&mut bytes, size - 8 - length) {
        Ok(()) => footer(&mut Bytes(&bytes)),
        Err(_) => Ok(()),
    }
}

type Found<T> = Result<T, String>;

struct Bytes<'a>(&'a [u8]);

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

impl Bytes<'_> {
    fn byte(&mut self) -> Found<u8> {
        let (first, rest) = self.0.split_first().ok_or("a footer that ends in the middle")?;
        self.0 = rest;
        Ok(*first)
    }

    fn skip(&mut self, n: u64) -> Found<()> {
        let rest = usize::try_from(n).ok().and_then(|n| self.0.get(n..));
        self.0 = rest.ok_or_else(|| format!("a footer with a value of {n} bytes, {} are left", self.0.len()))?;
        Ok(())
    }

    fn varint(&mut self) -> Found<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a footer with a number of more than 64 bits".to_owned())
    }

    fn signed(&mut self) -> Found<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The type and the length of a list; each element takes a byte or more.
    fn list(&mut self) -> Found<(u8, u64)> {
        let head = self.byte()?;
        let n = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        if n > self.0.len() as u64 {
            return Err(format!("a footer with a list of {n} entries in {} bytes", self.0.len()));
        }
        Ok((head & 15, n))
    }

    /// The type of a struct's next field and its number; none at the end.
    fn field(&mut self, last: &mut i64) -> Found<Option<(u8, i64)>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        *last = if head >> 4 == 0 { self.signed()? } else { *last + i64::from(head >> 4) };
        if i16::try_from(*last).is_err() {
            return Err(format!("a footer with a field {last}"));
        }
        Ok(Some((head & 15, *last)))
    }

    /// Passes over a value. `is_field`: a boolean field is in its type.
    fn value(&mut self, of: u8, depth: usize, is_field: bool) -> Found<()> {
        if depth > DEEPEST_STRUCT {
            return Err(format!("a footer nested more than {DEEPEST_STRUCT} deep"));
        }
        match of {
            kind::TRUE | kind::FALSE if is_field => Ok(()),
            kind::TRUE | kind::FALSE | kind::BYTE => self.skip(1),
            kind::I16 | kind::I32 | kind::I64 => self.varint().map(drop),
            kind::DOUBLE => self.skip(8),
            kind::BINARY => {
                let n = self.varint()?;
                self.skip(n)
            }
            kind::LIST | kind::SET => {
                let (of, n) = self.list()?;
                (0..n).try_for_each(|_| self.value(of, depth + 1, false))
            }
            kind::MAP => self.map(depth),
            kind::STRUCT => {
                let mut last = 0;
                while let Some((of, _)) = self.field(&mut last)? {
                    self.value(of, depth + 1, true)?;
                }
                Ok(())
            }
            other => Err(format!("a footer with a value of type {other}")),
        }
    }

    fn map(&mut self, depth: usize) -> Found<()> {
        let n = self.varint()?;
        if n > self.0.len() as u64 {
            return Err(format!("a footer with a map of {n} entries in {} bytes", self.0.len()));
        }
        if n == 0 {
            return Ok(());
        }
        let types = self.byte()?;
        (0..n).try_for_each(|_| {
            self.value(types >> 4, depth + 1, false)?;
            self.value(types & 15, depth + 1, false)
        })
    }
}

fn is_type(number: i64, found: u8, wanted: u8) -> Found<()> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("a footer whose field {number} has type {found}, not {wanted}")),
    }
}

fn footer(bytes: &mut Bytes) -> Found<()> {
    let mut last = 0;
    while let Some((of, number)) = bytes.field(&mut last)? {
        let wanted = match number {
            1 => kind::I32,
            2 | 4 | 5 | 7 => kind::LIST,
            3 => kind::I64,
            6 | 9 => kind::BINARY,
            8 => kind::STRUCT,
            _ => of,
        };
        is_type(number, of, wanted)?;
        match number {
            2 => schema(bytes)?,
            4 => {
                let (_, n) = Bytes(bytes.0).list()?;
                if n > MOST_GROUPS {
                    return Err(format!("a footer with {n} row groups, more than {MOST_GROUPS}"));
                }
                bytes.value(of, 1, true)?;
            }
            _ => bytes.value(of, 1, true)?,
        }
    }
    Ok(())
}

/// The list of schema elements: how deep it goes, and whether every child is there.
fn schema(bytes: &mut Bytes) -> Found<()> {
    let (of, n) = bytes.list()?;
    if of != kind::STRUCT {
        return Err("a footer whose schema is no list of elements".to_owned());
    }
    // Children still to come of each element that is open.
    let mut open: Vec<u64> = Vec::new();
    for _ in 0..n {
        let children = children(bytes)?;
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > n {
            return Err(format!("a column with {children} children in a schema of {n} columns"));
        }
        if children > 0 {
            open.push(children);
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > DEEPEST {
            return Err(format!("columns nested more than {DEEPEST} deep"));
        }
    }
    Ok(())
}

/// Passes over a schema element; the number of its children.
fn children(bytes: &mut Bytes) -> Found<u64> {
    let (mut last, mut children) = (0, 0);
    while let Some((of, number)) = bytes.field(&mut last)? {
        // A reader that goes by the number alone would take another type for something else.
        let wanted = match number {
            4 => kind::BINARY,
            10 => kind::STRUCT,
            1..=9 => kind::I32,
            _ => of,
        };
        is_type(number, of, wanted)?;
        match number {
            5 => {
                let n = bytes.signed()?;
                children = u64::try_from(n).map_err(|_| format!("a column with {n} children"))?;
            }
            _ => bytes.value(of, 2, true)?,
        }
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A file with a footer whose schema is these numbers of children.
    fn check_schema(head: &[u8], children: &[u8]) -> Found<()> {
        let mut footer = vec![0x15, 2];
        footer.push(0x19);
        footer.extend_from_slice(head);
        for n in children {
            // A name and a number of children: fields 4 and 5.
            footer.extend([0x48, 1, b'a', 0x15, n << 1, 0]);
        }
        footer.push(0);
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"PAR1").expect("written");
        file.write_all(&footer).expect("written");
        file.write_all(&(footer.len() as u32).to_le_bytes()).expect("written");
        file.write_all(b"PAR1").expect("written");
        let size = file.metadata().expect("a file").len();
        check(&file, size)
    }

    #[test]
    fn schemas_of_every_depth() {
        assert_eq!(check_schema(&[0x4c], &[3, 0, 0, 0]), Ok(()));
        let nested = |depth: usize| [vec![1; depth], vec![0]].concat();
        assert_eq!(check_schema(&[0xfc, 61], &nested(60)), Ok(()));
        let deep = check_schema(&[0xfc, 0x91, 0x03], &nested(400)).expect_err("too deep");
        assert_eq!(deep, "columns nested more than 64 deep");
    }

    #[test]
    fn lies_are_named() {
        let huge = check_schema(&[0xfc, 0xff, 0xff, 0xff, 0xff, 0x07], &[0]).expect_err("a lie");
        assert!(huge.starts_with("a footer with a list of 2147483647 entries in "), "{huge}");
        let children = check_schema(&[0x2c], &[60, 0]).expect_err("a lie");
        assert_eq!(children, "a column with 60 children in a schema of 2 columns");
        let structs = [vec![0x1c; 40], vec![0; 41]].concat();
        assert!(footer(&mut Bytes(&structs)).is_err());
    }

    #[test]
    fn every_file_in_the_repository_is_let_through() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/docs/stories.parquet");
        let file = File::open(folder).expect("a fixture");
        let size = file.metadata().expect("a file").len();
        assert_eq!(check(&file, size), Ok(()));
    }
}
