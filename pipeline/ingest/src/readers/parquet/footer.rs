//! Checks the footer of a Parquet file before a reader trusts it.
//!
//! A footer that lies would cost the run. A schema nested some hundred levels deep overflows the
//! stack of the reader, and a list that claims 2^31 entries exhausts its memory. Neither can be
//! caught. Every field must have the type that the format gives it, so that the reader finds the
//! same values as this check.
//!
//! The footer is a struct of the Thrift compact protocol. Its second field is the list of schema
//! elements, each before its children. The second field of an element is the length of its values,
//! and the fifth is the number of its children (github.com/apache/parquet-format, parquet.thrift).

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::thrift::{Bytes, Found, Is};

/// The deepest nesting of columns that is read.
const DEEPEST: usize = 64;
/// The largest number of columns that is read, groups included.
const MOST_COLUMNS: u64 = 1 << 16;
/// The longest value of a column of fixed length, bytes. A null takes as much memory as a value.
const LONGEST_FIXED: i32 = 1 << 20;
/// The largest number of row groups. The format numbers them in 16 bits.
const MOST_GROUPS: u64 = 32_767;
/// The largest footer that is read, bytes. In memory it takes a multiple of its size.
const LARGEST: u64 = 64 << 20;

/// Refuses a footer that would exhaust the stack or the memory of a reader. Bytes that are not a
/// footer are left to the reader, whose message says so.
///
/// # Errors
/// A message that says what is wrong with the footer.
pub fn check(file: &File, size: u64) -> Result<(), String> {
    // The file ends with the footer, its length in four bytes and the magic word.
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
        Ok(()) => footer(&bytes).map_err(|error| format!("the footer: {error}")),
        Err(_) => Ok(()),
    }
}

/// Checks the bytes of a footer: the types of all fields first, then the schema and the number of
/// row groups.
fn footer(bytes: &[u8]) -> Found<()> {
    Bytes(bytes).check(FILE)?;

    let (mut bytes, mut last) = (Bytes(bytes), 0);
    while let Some((of, number)) = bytes.field(&mut last)? {
        match number {
            2 => schema(&mut bytes)?,
            4 => {
                // The list is read from a copy of the bytes, and then passed over as a whole.
                let (_, n) = Bytes(bytes.0).list()?;
                if n > MOST_GROUPS {
                    return Err(format!("{n} row groups, more than {MOST_GROUPS}"));
                }
                bytes.pass(of)?;
            }
            _ => bytes.pass(of)?,
        }
    }
    Ok(())
}

/// Checks the depth of the list of schema elements, and the number of children of each element.
fn schema(bytes: &mut Bytes) -> Found<()> {
    let (_, n) = bytes.list()?;
    if n > MOST_COLUMNS {
        return Err(format!("{n} columns, more than {MOST_COLUMNS}"));
    }

    // For each element around the current one, the number of its children still to come.
    let mut open: Vec<u64> = Vec::new();
    for _ in 0..n {
        let children = children(bytes)?;
        if let Some(left) = open.last_mut() {
            // At least 1: elements without children left were taken off.
            *left -= 1;
        }

        // A reader makes room for the children at once.
        if children > n {
            return Err(format!(
                "a column with {children} children in a schema of {n} columns"
            ));
        }
        if children > 0 {
            open.push(children);
        }
        // One element can be the last child at several levels.
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > DEEPEST {
            return Err(format!("columns nested more than {DEEPEST} deep"));
        }
    }
    Ok(())
}

/// Passes over a schema element and returns the number of its children, 0 for a column. Refuses
/// values of a fixed length that is too large.
fn children(bytes: &mut Bytes) -> Found<u64> {
    let (mut last, mut children) = (0, 0);
    while let Some((of, number)) = bytes.field(&mut last)? {
        match number {
            2 => {
                let n = bytes.i32()?;
                if n > LONGEST_FIXED {
                    return Err(format!(
                        "a column of values of {n} bytes, more than {LONGEST_FIXED}"
                    ));
                }
            }
            5 => {
                let n = bytes.i32()?;
                children = u64::try_from(n).map_err(|_| format!("a column with {n} children"))?;
            }
            _ => bytes.pass(of)?,
        }
    }
    Ok(children)
}

// The structs of the footer, with the types of their fields as in parquet.thrift.

const EMPTY: Is = Is::Struct(&[]);
const TIME: Is = Is::Struct(&[
    (1, Is::Bool),
    (2, Is::Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)])),
]);
const LOGICAL_TYPE: Is = Is::Struct(&[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Is::Struct(&[(1, Is::I32), (2, Is::I32)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Is::Struct(&[(1, Is::Byte), (2, Is::Bool)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Is::Struct(&[(1, Is::Byte)])),
    (17, Is::Struct(&[(1, Is::Binary)])),
    (18, Is::Struct(&[(1, Is::Binary), (2, Is::I32)])),
]);
const SCHEMA_ELEMENT: Is = Is::Struct(&[
    (1, Is::I32),
    (2, Is::I32),
    (3, Is::I32),
    (4, Is::Binary),
    (5, Is::I32),
    (6, Is::I32),
    (7, Is::I32),
    (8, Is::I32),
    (9, Is::I32),
    (10, LOGICAL_TYPE),
]);
const KEY_VALUE: Is = Is::Struct(&[(1, Is::Binary), (2, Is::Binary)]);
const SIZES: Is = Is::Struct(&[
    (1, Is::I64),
    (2, Is::List(&Is::I64)),
    (3, Is::List(&Is::I64)),
]);
const BOX: Is = Is::Struct(&[
    (1, Is::Double),
    (2, Is::Double),
    (3, Is::Double),
    (4, Is::Double),
    (5, Is::Double),
    (6, Is::Double),
    (7, Is::Double),
    (8, Is::Double),
]);
const PLACES: Is = Is::Struct(&[(1, BOX), (2, Is::List(&Is::I32))]);
const PAGE_ENCODING: Is = Is::Struct(&[(1, Is::I32), (2, Is::I32), (3, Is::I32)]);
const COLUMN: Is = Is::Struct(&[
    (1, Is::I32),
    (2, Is::List(&Is::I32)),
    (3, Is::List(&Is::Binary)),
    (4, Is::I32),
    (5, Is::I64),
    (6, Is::I64),
    (7, Is::I64),
    (8, Is::List(&KEY_VALUE)),
    (9, Is::I64),
    (10, Is::I64),
    (11, Is::I64),
    (12, STATISTICS),
    (13, Is::List(&PAGE_ENCODING)),
    (14, Is::I64),
    (15, Is::I32),
    (16, SIZES),
    (17, PLACES),
]);
const COLUMN_CHUNK: Is = Is::Struct(&[
    (1, Is::Binary),
    (2, Is::I64),
    (3, COLUMN),
    (4, Is::I64),
    (5, Is::I32),
    (6, Is::I64),
    (7, Is::I32),
    (9, Is::Binary),
]);
const SORTING: Is = Is::Struct(&[(1, Is::I32), (2, Is::Bool), (3, Is::Bool)]);
const ROW_GROUP: Is = Is::Struct(&[
    (1, Is::List(&COLUMN_CHUNK)),
    (2, Is::I64),
    (3, Is::I64),
    (4, Is::List(&SORTING)),
    (5, Is::I64),
    (6, Is::I64),
    (7, Is::I16),
]);
/// `FileMetaData` of parquet.thrift, without the fields for encryption, which is not read.
const FILE: &[(i64, Is)] = &[
    (1, Is::I32),
    (2, Is::List(&SCHEMA_ELEMENT)),
    (3, Is::I64),
    (4, Is::List(&ROW_GROUP)),
    (5, Is::List(&KEY_VALUE)),
    (6, Is::Binary),
    (7, Is::List(&Is::Struct(&[(1, EMPTY), (2, EMPTY)]))),
];
/// The struct `Statistics` of parquet.thrift.
pub const STATISTICS: Is = Is::Struct(&[
    (1, Is::Binary),
    (2, Is::Binary),
    (3, Is::I64),
    (4, Is::I64),
    (5, Is::Binary),
    (6, Is::Binary),
    (7, Is::Bool),
    (8, Is::Bool),
]);

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Checks a file whose schema has an element with each of these numbers of children. `head` is
    /// the head of the list of elements.
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
        file.write_all(&(footer.len() as u32).to_le_bytes())
            .expect("written");
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
        assert_eq!(deep, "the footer: columns nested more than 64 deep");
    }

    #[test]
    fn lies_are_named() {
        let refused =
            |head: &[u8], children: &[u8]| check_schema(head, children).expect_err("a lie");
        let huge = refused(&[0xfc, 0xff, 0xff, 0xff, 0xff, 0x07], &[0]);
        assert!(
            huge.starts_with("the footer: a list of 2147483647 entries in "),
            "{huge}"
        );
        assert_eq!(
            refused(&[0x2c], &[60, 0]),
            "the footer: a column with 60 children in a schema of 2 columns"
        );
        assert_eq!(refused(&[0x25], &[0]), "the footer: a list of type 5");
    }

    /// Bytes that two readers would read differently are refused, because each of them would find
    /// another footer behind the bytes.
    #[test]
    fn readers_agree_on_what_is_let_through() {
        let of = |bytes: &[u8]| footer(bytes).expect_err("refused");
        assert_eq!(footer(&[0x15, 2, 0]), Ok(()));
        // An unknown field with a list of booleans, or structs in structs; a version that is a
        // double, or has 33 bits.
        assert_eq!(
            of(&[0x15, 2, 0x09, 40, 0x21, 1, 1, 0]),
            "a list of booleans"
        );
        assert_eq!(
            of(&[vec![0x0c, 40], vec![0x1c; 40], vec![0; 42]].concat()),
            "structs nested more than 16 deep"
        );
        assert_eq!(of(&[0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "field 1 has type 7");
        assert_eq!(
            of(&[0x15, 0x80, 0x80, 0x80, 0x80, 0x20, 0]),
            "the number 4294967296 in a field of 32 bits"
        );

        // The length of a value, in a schema element.
        let element =
            |field: &[u8]| [&[0x15, 2, 0x19, 0x1c], field, &[0x28, 1, b'a', 0, 0]].concat();
        assert_eq!(footer(&element(&[0x25, 32])), Ok(()));
        assert_eq!(
            of(&element(&[0x25, 0x80, 0x80, 0x80, 0x80, 0x04])),
            "a column of values of 536870912 bytes, more than 1048576"
        );
    }

    #[test]
    fn every_file_in_the_repository_is_let_through() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fixtures/docs/stories.parquet");
        let file = File::open(folder).expect("a fixture");
        let size = file.metadata().expect("a file").len();
        assert_eq!(check(&file, size), Ok(()));
    }
}
