//! How many lengths a Parquet page in a delta encoding says it has. The reader makes room for as many before it looks at the page's
//! number of values, and a block of a few bytes may stand for any number of lengths that are all the same.
//!
//! Encodings: github.com/apache/parquet-format, Encodings.md, DELTA_BINARY_PACKED and the two that rest on it.

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::schema::types::ColumnDescriptor;

use super::thrift::{Bytes, Found};

/// Refuses a page with more lengths than values, or more than `max_page` bytes of lengths. Others are left to the reader.
pub fn check(page: &Page, column: &ColumnDescriptor, max_page: u64) -> Found<()> {
    let streams = match page.encoding() {
        _ if !page.is_data_page() => 0,
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => 0,
    };
    let mut bytes = Bytes(values(page, column).unwrap_or_default());
    let most = u64::from(page.num_values()).min(max_page / 4);
    for _ in 0..streams {
        if bytes.0.is_empty() {
            break;
        }
        let n = pass(&mut bytes)?;
        if n > most {
            return Err(format!("{n} lengths, at most {most} for its {} values", page.num_values()));
        }
    }
    Ok(())
}

/// A data page's bytes behind its levels.
fn values<'a>(page: &'a Page, column: &ColumnDescriptor) -> Option<&'a [u8]> {
    match page {
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            buf.get((*def_levels_byte_len as usize).checked_add(*rep_levels_byte_len as usize)?..)
        }
        Page::DataPage { buf, num_values, def_level_encoding, rep_level_encoding, .. } => {
            let mut rest = &buf[..];
            for (level, encoding) in
                [(column.max_rep_level(), rep_level_encoding), (column.max_def_level(), def_level_encoding)]
            {
                let length = match (level, encoding) {
                    (0, _) => 0,
                    (_, Encoding::RLE) => {
                        let (length, behind) = rest.split_first_chunk::<4>()?;
                        rest = behind;
                        u32::from_le_bytes(*length) as usize
                    }
                    // As many bits a level as the highest one takes.
                    _ => (*num_values as usize * (16 - level.leading_zeros()) as usize).div_ceil(8),
                };
                rest = rest.get(length..)?;
            }
            Some(rest)
        }
        Page::DictionaryPage { .. } => None,
    }
}

/// Passes over numbers in DELTA_BINARY_PACKED; how many there are said to be.
fn pass(bytes: &mut Bytes) -> Found<u64> {
    let [block, miniblocks, n] = [bytes.varint()?, bytes.varint()?, bytes.varint()?];
    bytes.varint()?;
    let mut left = n.saturating_sub(1);
    let each = block.checked_div(miniblocks).filter(|each| *each > 0 && each % 32 == 0);
    let each = each.ok_or_else(|| format!("blocks of {block} values in {miniblocks} parts"))?;
    while left > 0 {
        bytes.varint()?;
        let mut packed = 0u64;
        for _ in 0..miniblocks {
            let width = u64::from(bytes.byte()?);
            // What follows the last value has a width and no bytes.
            if left > 0 {
                packed = packed.saturating_add(width.saturating_mul(each / 8));
            }
            left = left.saturating_sub(each);
        }
        bytes.skip(packed)?;
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use parquet::basic::Repetition;
    use parquet::schema::types::{ColumnPath, Type};

    use super::*;

    /// A page of 100 values behind definition levels of three bytes.
    fn check_values(encoding: Encoding, values: &[u8]) -> Found<()> {
        let text = Type::primitive_type_builder("text", parquet::basic::Type::BYTE_ARRAY);
        let text = text.with_repetition(Repetition::OPTIONAL).build().expect("a type");
        let column = ColumnDescriptor::new(text.into(), 1, 0, ColumnPath::from("text"));
        let page = Page::DataPage {
            buf: [&[3, 0, 0, 0, 9, 9, 9], values].concat().into(),
            num_values: 100,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        check(&page, &column, 1 << 30)
    }

    /// Blocks of 128 in 4 miniblocks: `n` numbers that are all 3.
    fn numbers(n: u8) -> Vec<u8> {
        let mut bytes = vec![0x80, 1, 4, n, 6];
        for _ in 0..usize::from(n.saturating_sub(1)).div_ceil(128) {
            bytes.extend([0, 0, 0, 0, 0]);
        }
        bytes
    }

    #[test]
    fn as_many_lengths_as_values() {
        let (length, both) = (Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY);
        assert_eq!(check_values(length, &numbers(100)), Ok(()));
        assert_eq!(check_values(length, &[]), Ok(()));
        assert_eq!(check_values(both, &[numbers(100), numbers(100)].concat()), Ok(()));
        let error = "101 lengths, at most 100 for its 100 values".to_owned();
        assert_eq!(check_values(length, &numbers(101)), Err(error.clone()));
        assert_eq!(check_values(both, &[numbers(100), numbers(101)].concat()), Err(error));
        // Where the second stream begins is known from the widths of the first.
        let wide = [&[0x80, 1, 4, 3, 6, 0, 2, 0, 0, 0], &[0xff; 8][..], &numbers(101)].concat();
        assert!(check_values(both, &wide).is_err());
        let wide = [&[0x80, 1, 4, 3, 6, 0, 2, 7, 7, 7], &[0xff; 8][..], &numbers(3)].concat();
        assert_eq!(check_values(both, &wide), Ok(()));
        assert!(check_values(length, &[0, 4, 100, 0]).is_err());
    }
}
