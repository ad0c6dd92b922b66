//! Checks decompressed Parquet pages.
//!
//! Two numbers are known only when a page is decompressed: the entries of the lists in its rows,
//! and the lengths of values in a delta encoding. A run of a few bytes can stand for any number of
//! entries or any length, and the reader makes room for all of them.
//!
//! The encodings are RLE, BIT_PACKED, DELTA_BINARY_PACKED and the two that are built on the latter
//! (github.com/apache/parquet-format, Encodings.md).

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::schema::types::ColumnDescriptor;

use super::thrift::{Bytes, ENDS, Found};

#[expect(deprecated, reason = "levels of old files are in it")]
const BIT_PACKED: Encoding = Encoding::BIT_PACKED;

/// The largest rows and values that were found in the pages of a chunk so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Entries of the last row, which may go on in the next page.
    entries: u64,
    /// The most entries of a row.
    pub most_entries: u64,
    /// The longest value in DELTA_BYTE_ARRAY, bytes.
    pub longest: u64,
    /// The length of all values in DELTA_BYTE_ARRAY together, bytes.
    pub lengths: u64,
}

impl Contents {
    /// Adds the next page.
    ///
    /// # Errors
    /// If the page claims more lengths than values or more than `most` lengths, or if it cannot be
    /// read.
    pub fn add(&mut self, page: &Page, column: &ColumnDescriptor, most: u64) -> Found<()> {
        let Some((levels, encoding, values)) = parts(page, column) else {
            return if page.is_data_page() {
                Err(ENDS.to_owned())
            } else {
                Ok(())
            };
        };

        if column.max_rep_level() > 0 {
            let width = bits(column.max_rep_level());
            let count = |is_first, n| self.count(is_first, n);
            match encoding {
                BIT_PACKED => bit_packed(levels, width, page.num_values(), count)?,
                _ => runs(levels, width, u64::from(page.num_values()), count)?,
            }
        }

        // A page of nulls only has no values and no block of lengths.
        let most = most.min(u64::from(page.num_values()));
        let mut bytes = Bytes(values);
        match page.encoding() {
            // The values lie in the page whole, so the size of the page bounds them.
            Encoding::DELTA_LENGTH_BYTE_ARRAY if !values.is_empty() => {
                delta_packed(&mut bytes, most)?;
            }
            // A value is a prefix of the value before it and a rest. The prefix takes no bytes in
            // the page.
            Encoding::DELTA_BYTE_ARRAY if !values.is_empty() => {
                let shared = delta_packed(&mut bytes, most)?;
                for (shared, rest) in shared.into_iter().zip(delta_packed(&mut bytes, most)?) {
                    let length = u64::try_from(i64::from(shared) + i64::from(rest))
                        .map_err(|_| "a length below 0")?;
                    self.longest = self.longest.max(length);
                    self.lengths += length;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts `n` entries. Either each of them is the first of its row, or none is.
    fn count(&mut self, is_first: bool, n: u64) {
        self.entries = if is_first && n > 0 {
            1
        } else {
            self.entries.saturating_add(n)
        };
        self.most_entries = self.most_entries.max(self.entries);
    }
}

/// The number of bits of a level, for levels up to `max_level`.
fn bits(max_level: i16) -> u32 {
    i16::BITS - max_level.leading_zeros()
}

/// The repetition levels of a data page, their encoding, and the bytes behind all levels. `None` if
/// the page is too short or is a dictionary.
fn parts<'a>(page: &'a Page, column: &ColumnDescriptor) -> Option<(&'a [u8], Encoding, &'a [u8])> {
    match page {
        Page::DataPageV2 {
            buf,
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => {
            // The lengths of the levels are in the header of such a page.
            let (repetition, rest) = buf.split_at_checked(*rep_levels_byte_len as usize)?;
            let values = rest.get(*def_levels_byte_len as usize..)?;
            Some((repetition, Encoding::RLE, values))
        }

        Page::DataPage {
            buf,
            num_values,
            def_level_encoding,
            rep_level_encoding,
            ..
        } => {
            let n = *num_values;
            let (max_rep, max_def) = (column.max_rep_level(), column.max_def_level());
            let (repetition, rest) = split_levels(buf, max_rep, *rep_level_encoding, n)?;
            let (_, values) = split_levels(rest, max_def, *def_level_encoding, n)?;
            Some((repetition, *rep_level_encoding, values))
        }

        Page::DictionaryPage { .. } => None,
    }
}

/// Splits the levels of `n` values off the bytes of a page. A column whose largest level is 0 has
/// no levels.
fn split_levels(
    bytes: &[u8],
    max_level: i16,
    encoding: Encoding,
    n: u32,
) -> Option<(&[u8], &[u8])> {
    match (max_level, encoding) {
        (0, _) => bytes.split_at_checked(0),
        (_, BIT_PACKED) => {
            bytes.split_at_checked((n as usize * bits(max_level) as usize).div_ceil(8))
        }
        _ => {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        }
    }
}

/// Counts the entries of `n` repetition levels in RLE, each of `width` bits. An entry with level 0
/// is the first of its row.
fn runs(bytes: &[u8], width: u32, n: u64, mut count: impl FnMut(bool, u64)) -> Found<()> {
    let (mut bytes, mut left) = (Bytes(bytes), n);
    while left > 0 {
        // The lowest bit tells a run of one value from packed values.
        let head = bytes.varint()?;
        let length = head >> 1;
        if head & 1 == 0 {
            let value = bytes.take(u64::from(width.div_ceil(8)))?;
            count(value.iter().all(|byte| *byte == 0), length.min(left));
            left = left.saturating_sub(length);
            continue;
        }

        // Packed values come in groups of eight. The last group may be cut short.
        let packed = bytes.take(
            length
                .saturating_mul(u64::from(width))
                .min(bytes.0.len() as u64),
        )?;
        let here = length.saturating_mul(8).min(left);
        (0..here).for_each(|at| count(unpacked(packed, at * u64::from(width), width) == 0, 1));
        left -= here;
    }
    Ok(())
}

/// Counts the entries of `n` repetition levels in the deprecated encoding, in which the first level
/// is in the highest bits.
fn bit_packed(bytes: &[u8], width: u32, n: u32, mut count: impl FnMut(bool, u64)) -> Found<()> {
    for at in 0..n as usize {
        let bit = |at: usize| bytes.get(at / 8).map(|byte| byte >> (7 - at % 8) & 1);
        let mut is_first = true;
        for at in at * width as usize..(at + 1) * width as usize {
            is_first &= bit(at).ok_or(ENDS)? == 0;
        }
        count(is_first, 1);
    }
    Ok(())
}

/// The number in the `width` bits from `bit` on, at most 32, with the lowest bit first. Bits behind
/// the end are 0.
fn unpacked(bytes: &[u8], bit: u64, width: u32) -> u32 {
    // Eight bytes hold 32 bits at any distance from a byte.
    let rest = bytes.get((bit / 8) as usize..).unwrap_or_default();
    let rest = &rest[..rest.len().min(8)];
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    ((u64::from_le_bytes(word) >> (bit % 8)) & ((1 << width) - 1)) as u32
}

/// Reads numbers of 32 bits in DELTA_BINARY_PACKED.
///
/// # Errors
/// If there are more than `most` numbers, or if the bytes cannot be read.
fn delta_packed(bytes: &mut Bytes, most: u64) -> Found<Vec<i32>> {
    let [block, miniblocks, n] = [bytes.varint()?, bytes.varint()?, bytes.varint()?];
    if n > most {
        return Err(format!("{n} lengths, at most {most} have room"));
    }

    let mut last = bytes.signed()? as i32;
    let mut numbers = Vec::with_capacity(n as usize);
    numbers.extend((n > 0).then_some(last));

    // `each` is the number of values in a miniblock.
    let each = block
        .checked_div(miniblocks)
        .filter(|each| *each > 0 && each % 32 == 0);
    let each = each.ok_or_else(|| format!("blocks of {block} values in {miniblocks} parts"))?;

    while (numbers.len() as u64) < n {
        let least = bytes.signed()? as i32;
        for width in bytes.take(miniblocks)? {
            let here = each.min(n - numbers.len() as u64);
            // A miniblock behind the last value has a width, but no bytes.
            if here == 0 {
                break;
            }
            if *width > 32 {
                return Err(format!("a number of {width} bits"));
            }

            // A miniblock is padded to its full size.
            let packed = bytes.take(u64::from(*width).saturating_mul(each / 8))?;
            for at in 0..here {
                let delta = unpacked(packed, at * u64::from(*width), u32::from(*width)) as i32;
                // The format lets the sum wrap around.
                last = last.wrapping_add(delta).wrapping_add(least);
                numbers.push(last);
            }
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use parquet::basic::{Repetition, Type as Physical};
    use parquet::schema::types::{ColumnPath, Type};

    use super::*;

    fn column(max_rep_level: i16) -> ColumnDescriptor {
        let text = Type::primitive_type_builder("text", Physical::BYTE_ARRAY);
        let text = text
            .with_repetition(Repetition::OPTIONAL)
            .build()
            .expect("a type");
        ColumnDescriptor::new(text.into(), 1, max_rep_level, ColumnPath::from("text"))
    }

    fn page(encoding: Encoding, levels: Encoding, bytes: Vec<u8>) -> Page {
        let (def_level_encoding, rep_level_encoding) = (Encoding::RLE, levels);
        Page::DataPage {
            buf: bytes.into(),
            num_values: 100,
            encoding,
            def_level_encoding,
            rep_level_encoding,
            statistics: None,
        }
    }

    /// The contents of a page of 100 values behind three bytes of definition levels.
    fn of_values(encoding: Encoding, values: &[u8]) -> Found<Contents> {
        let mut contents = Contents::default();
        let page = page(
            encoding,
            Encoding::RLE,
            [&[3, 0, 0, 0, 9, 9, 9], values].concat(),
        );
        contents.add(&page, &column(0), 1 << 28).map(|()| contents)
    }

    /// `n` numbers that are all 3, in blocks of 128 in 4 miniblocks.
    fn numbers(n: u8) -> Vec<u8> {
        let mut bytes = vec![0x80, 1, 4, n, 6];
        for _ in 0..usize::from(n.saturating_sub(1)).div_ceil(128) {
            bytes.extend([0, 0, 0, 0, 0]);
        }
        bytes
    }

    #[test]
    fn lengths_of_delta_encodings() {
        let (length, both) = (
            Encoding::DELTA_LENGTH_BYTE_ARRAY,
            Encoding::DELTA_BYTE_ARRAY,
        );
        assert_eq!(of_values(length, &numbers(100)), Ok(Contents::default()));
        assert_eq!(of_values(length, &[]), Ok(Contents::default()));
        let found = of_values(both, &[numbers(100), numbers(100)].concat()).expect("fine");
        assert_eq!((found.longest, found.lengths), (6, 600));

        let error = Err("101 lengths, at most 100 have room".to_owned());
        assert_eq!(of_values(length, &numbers(101)), error);
        assert_eq!(
            of_values(both, &[numbers(100), numbers(101)].concat()),
            error
        );

        // The lengths 3, 3 + 1 + 2 and 6 + 1 + 3, in 2 bits each. The widths of the miniblocks
        // behind them do not matter.
        let wide = [
            &[0x80, 1, 4, 3, 6, 2, 2, 7, 7, 7, 0b1110],
            &[0xff; 7][..],
            &numbers(3),
        ]
        .concat();
        let found = of_values(both, &wide).expect("fine");
        assert_eq!((found.longest, found.lengths), (13, 28));
        assert!(of_values(length, &[0, 4, 100, 0]).is_err());
        assert!(of_values(length, &[0x80, 1, 4, 100, 6, 2, 40, 0, 0, 0]).is_err());
    }

    #[test]
    fn entries_of_rows() {
        let of_levels = |encoding, levels: &[u8]| {
            let length = if encoding == Encoding::RLE {
                vec![levels.len() as u8, 0, 0, 0]
            } else {
                vec![]
            };
            let bytes = [&length, levels, &[1, 0, 0, 0, 9]].concat();
            let mut contents = Contents::default();
            let added = contents.add(&page(Encoding::PLAIN, encoding, bytes), &column(1), 0);
            added.map(|()| contents.most_entries)
        };

        // Runs of zeros and ones; 8 levels 0, 1, 1, 0, 0, 1, 1, 1 in a byte.
        assert_eq!(of_levels(Encoding::RLE, &[200, 1, 0]), Ok(1));
        assert_eq!(of_levels(Encoding::RLE, &[2, 0, 198, 1, 1]), Ok(100));
        assert_eq!(
            of_levels(Encoding::RLE, &[3, 0b1110_0110, 2, 0, 182, 1, 1]),
            Ok(92)
        );
        assert_eq!(
            of_levels(Encoding::RLE, &[3, 0b1110_0110, 184, 1, 1]),
            Ok(96)
        );
        assert_eq!(of_levels(Encoding::RLE, &[3]), Err(ENDS.to_owned()));
        assert_eq!(
            of_levels(Encoding::RLE, &[3, 0b1110_0110]),
            Err(ENDS.to_owned())
        );
        assert_eq!(of_levels(BIT_PACKED, &[0b0110_0111; 13]), Ok(4));

        // A row that goes on in the next page.
        let mut contents = Contents::default();
        let page = page(
            Encoding::PLAIN,
            Encoding::RLE,
            vec![5, 0, 0, 0, 2, 0, 198, 1, 1, 1, 0, 0, 0, 9],
        );
        let more = Page::DataPageV2 {
            buf: vec![200, 1, 1].into(),
            num_values: 100,
            encoding: Encoding::PLAIN,
            num_nulls: 0,
            num_rows: 0,
            def_levels_byte_len: 0,
            rep_levels_byte_len: 3,
            is_compressed: false,
            statistics: None,
        };
        contents.add(&page, &column(1), 0).expect("fine");
        contents.add(&more, &column(1), 0).expect("fine");
        assert_eq!(contents.most_entries, 200);
    }
}
