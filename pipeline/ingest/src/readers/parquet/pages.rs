//! A look at the pages of a Parquet file's row group before a reader decompresses them. A page is
//! held whole, and what its header says is asked of the allocator at once, so a file of some
//! kilobytes can cost gigabytes or, where those are refused, the run.
//!
//! Each column of a row group is a chunk of pages, each behind its header: a struct whose second
//! and third fields are the sizes of the page, decompressed and as it lies in the file
//! (github.com/apache/parquet-format, parquet.thrift).

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use super::contents::Contents;
use super::footer::STATISTICS;
use super::thrift::{Bytes, ENDS, Found, Is};

/// What the values of a batch take on average, and what they may take at most unless a single row
/// takes more, bytes, apart from the pages that they begin and end in.
const BATCH_BYTES: u64 = 2 << 20;
const WORST_BATCH_BYTES: u64 = 32 << 20;
const BATCH_ROWS: u64 = 1024;
/// What an entry of a list takes beside its value: two levels, an offset or a view.
const ENTRY_BYTES: u64 = 24;
/// What an entry of a dictionary takes beside its value: a view.
const VIEW_BYTES: u64 = 16;
/// Where a header is looked for first, and the longest one that is read, bytes: statistics may hold
/// values as long as texts.
const HEADER: u64 = 1 << 10;
const LONGEST_HEADER: u64 = 64 << 20;
/// The most that a byte of Deflate decompresses to (zlib.net/zlib_tech.html), and a byte of LZ4,
/// where a length goes on in bytes of 255.
const DEFLATE_RATIO: u64 = 1032;
const LZ4_RATIO: u64 = 255;
/// What a frame of LZ4 begins with, and one of old (github.com/lz4/lz4, lz4_Frame_format.md).
const LZ4_FRAMES: [[u8; 4]; 2] = [0x184d_2204u32.to_le_bytes(), 0x184c_2102u32.to_le_bytes()];

/// How a row group is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Whether some values are in a delta encoding.
    pub has_deltas: bool,
}

/// Goes over all pages of a row group. `has_views`: texts and bytes are read as views into pages,
/// not copied.
///
/// # Errors
/// What is wrong with a page, or if what has to be in memory at once takes more than `max_pages`
/// bytes: the largest page of each column and its dictionary, or what a row makes of them.
pub fn check(
    file: &File,
    size: u64,
    group: &RowGroupMetaData,
    max_pages: u64,
    has_views: bool,
) -> Found<Reading> {
    let (mut whole, mut has_deltas) = (Memory::default(), false);
    for column in group.columns() {
        let chunk = Chunk {
            file,
            size,
            column,
            max_pages,
            has_views,
        };
        let place =
            |error: String| format!("column \"{}\": {error}", column.column_path().string());
        let (memory, has_some) = chunk.check().map_err(place)?;
        whole.pages = whole.pages.saturating_add(memory.pages);
        whole.row = whole.row.saturating_add(memory.row);
        whole.all = whole.all.saturating_add(memory.all);
        whole.made = whole.made.saturating_add(memory.made);
        has_deltas |= has_some;
    }
    for (what, bytes) in [
        ("the largest pages of its columns", whole.pages),
        ("what a row makes of them", whole.made),
    ] {
        if bytes > max_pages {
            return Err(format!("{what}: {bytes} bytes, max_pages is {max_pages}"));
        }
    }
    let average = whole.all / u64::try_from(group.num_rows()).unwrap_or(0).max(1);
    let batch_rows = (BATCH_BYTES / average.max(1)).min(WORST_BATCH_BYTES / whole.row.max(1));
    Ok(Reading {
        batch_rows: batch_rows.clamp(1, BATCH_ROWS) as usize,
        has_deltas,
    })
}

/// Bytes that a column asks for.
#[derive(Debug, Default)]
struct Memory {
    /// Its largest page and its dictionary.
    pages: u64,
    /// What a row holds of its pages and makes of them, and all rows together, about.
    row: u64,
    all: u64,
    /// What a row makes of them at most: entries, nulls of a fixed length, values that are put
    /// together.
    made: u64,
}

/// The pages of a column in a row group.
struct Chunk<'a> {
    file: &'a File,
    size: u64,
    column: &'a ColumnChunkMetaData,
    max_pages: u64,
    has_views: bool,
}

impl Chunk<'_> {
    /// Goes over the pages: what they take, and whether some are in a delta encoding.
    fn check(&self) -> Found<(Memory, bool)> {
        let Chunk {
            file, size, column, ..
        } = *self;
        let start = column
            .dictionary_page_offset()
            .unwrap_or(column.data_page_offset());
        let range = u64::try_from(start)
            .ok()
            .zip(u64::try_from(column.compressed_size()).ok());
        let range = range.and_then(|(start, length)| Some((start, start.checked_add(length)?)));
        let (mut at, end) = range
            .filter(|(_, end)| *end <= size)
            .ok_or("it lies outside of the file")?;
        let (mut page, mut value, mut largest) = (0u64, 0u64, 0u64);
        let (mut dictionary, mut dictionary_entries) = (0u64, 0u64);
        let (about, mut all, mut has_deltas) = (column.column_descr(), 0u64, false);
        let is_list = about.max_rep_level() > 0;
        while at < end {
            let place = |error: String| format!("page {page}: {error}");
            let (header, length) = header_at(file, at, end).map_err(place)?;
            at += length;
            self.check_page(&header, at, end - at).map_err(place)?;
            value = value.max(header.bytes().checked_div(header.values).unwrap_or(0));
            largest = largest.max(header.bytes());
            all = all
                .saturating_add(header.bytes())
                .saturating_add(header.values * if is_list { ENTRY_BYTES } else { 0 });
            if header.is_dictionary {
                dictionary = dictionary.max(header.bytes());
                dictionary_entries = dictionary_entries.max(header.entries);
            }
            has_deltas |= header.has_deltas();
            at += header.compressed;
            page += 1;
        }
        let contents = if has_deltas || is_list {
            self.contents()?
        } else {
            Contents::default()
        };
        let is_copied = column.column_type() == Type::BYTE_ARRAY
            && (!self.has_views || about.converted_type() == ConvertedType::DECIMAL);
        // A null takes as much as a value of fixed length, and an entry of a dictionary may be as
        // long as all of it.
        let fixed = u64::try_from(about.type_length()).unwrap_or(0);
        let made = fixed.max(if is_copied { dictionary } else { 0 });
        let (entries, each) = if is_list {
            (contents.most_entries, ENTRY_BYTES + made)
        } else {
            (1, made)
        };
        let put_together = entries
            .saturating_mul(contents.longest)
            .min(contents.lengths);
        let made = entries.saturating_mul(each).saturating_add(put_together);
        let row = made.saturating_add(entries.saturating_mul(value));
        let pages = largest
            .saturating_add(dictionary)
            .saturating_add(dictionary_entries.saturating_mul(VIEW_BYTES));
        let all = all.saturating_add(contents.lengths);
        Ok((
            Memory {
                pages,
                row,
                all,
                made,
            },
            has_deltas,
        ))
    }

    /// Whether the page fits where it is, and in memory. `room`: bytes from `at` to the end of the
    /// chunk.
    fn check_page(&self, header: &Header, at: u64, room: u64) -> Found<()> {
        let Header {
            uncompressed,
            compressed,
            entries,
            levels,
            ..
        } = *header;
        if compressed > room {
            return Err(format!("it is {compressed} bytes, {room} are left"));
        }
        let bytes = header.bytes();
        if bytes > self.max_pages {
            return Err(format!(
                "it is {bytes} bytes decompressed, max_pages is {}",
                self.max_pages
            ));
        }
        let least = match self.column.column_type() {
            Type::BOOLEAN => 1,
            Type::BYTE_ARRAY | Type::INT32 | Type::FLOAT => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(self.column.column_descr().type_length())
                .unwrap_or(1)
                .max(1),
        };
        if levels > compressed.min(uncompressed) || entries.saturating_mul(least) > bytes {
            return Err(format!(
                "levels of {levels} bytes and a dictionary of {entries} values in {bytes} bytes"
            ));
        }
        // Decoders of these do not stop at the size in the header.
        let (at, compressed) = (at + levels, compressed - levels);
        match self.column.compression() {
            Compression::GZIP(_) if compressed.saturating_mul(DEFLATE_RATIO) > self.max_pages => {
                gzip_ends(self.file, at, compressed, uncompressed - levels)
            }
            Compression::LZ4 if compressed.saturating_mul(LZ4_RATIO) > self.max_pages => {
                let mut magic = [0; 4];
                match self.file.read_exact_at(&mut magic, at) {
                    Ok(()) if LZ4_FRAMES.contains(&magic) => Err(format!(
                        "a frame of LZ4 of {compressed} bytes, whose size cannot be bounded"
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// What is in the pages: decompresses them, one after the other.
    fn contents(&self) -> Found<Contents> {
        let file = Arc::new(self.file.try_clone().map_err(|error| error.to_string())?);
        // Without an index of pages the reader asks for no number of rows.
        let pages = SerializedPageReader::new(file, self.column, 0, None)
            .map_err(|error| error.to_string())?;
        let mut contents = Contents::default();
        for (number, page) in pages.enumerate() {
            let place = |error: String| format!("page {number}: {error}");
            let page = page.map_err(|error| place(error.to_string()))?;
            contents
                .add(&page, self.column.column_descr(), self.max_pages / 4)
                .map_err(place)?;
        }
        Ok(contents)
    }
}

/// What of a page's header matters here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Header {
    uncompressed: u64,
    compressed: u64,
    /// Values of a data page, nulls included.
    values: u64,
    encoding: i32,
    is_dictionary: bool,
    /// Values of a dictionary page.
    entries: u64,
    /// Bytes in front of the values that are never compressed.
    levels: u64,
}

// Of parquet.thrift.
const DATA_PAGE: i32 = 0;
const DICTIONARY_PAGE: i32 = 2;
const DATA_PAGE_V2: i32 = 3;
const DELTA_LENGTH_BYTE_ARRAY: i32 = 6;
const DELTA_BYTE_ARRAY: i32 = 7;

impl Header {
    fn has_deltas(&self) -> bool {
        matches!(self.encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY)
    }

    /// The size of the page: what is not compressed is taken as it lies there, whatever the other
    /// size says.
    fn bytes(&self) -> u64 {
        self.uncompressed.max(self.compressed)
    }
}

/// The header of a page, and its length.
fn header_at(file: &File, at: u64, end: u64) -> Found<(Header, u64)> {
    let (mut length, longest) = (HEADER, LONGEST_HEADER.min(end - at));
    loop {
        let mut bytes = vec![0; length.min(longest) as usize];
        file.read_exact_at(&mut bytes, at)
            .map_err(|error| error.to_string())?;
        match header(&bytes) {
            Err(error) if error == ENDS && length < longest => length *= 8,
            found => return found.map_err(|error| format!("its header: {error}")),
        }
    }
}

/// `PageHeader` of parquet.thrift.
const PAGE: &[(i64, Is)] = &[
    (1, Is::I32),
    (2, Is::I32),
    (3, Is::I32),
    (4, Is::I32),
    (
        5,
        Is::Struct(&[
            (1, Is::I32),
            (2, Is::I32),
            (3, Is::I32),
            (4, Is::I32),
            (5, STATISTICS),
        ]),
    ),
    (6, Is::Struct(&[])),
    (7, Is::Struct(&[(1, Is::I32), (2, Is::I32), (3, Is::Bool)])),
    (8, Is::Struct(DATA_V2)),
];
const DATA_V2: &[(i64, Is)] = &[
    (1, Is::I32),
    (2, Is::I32),
    (3, Is::I32),
    (4, Is::I32),
    (5, Is::I32),
    (6, Is::I32),
    (7, Is::Bool),
    (8, STATISTICS),
];

fn header(bytes: &[u8]) -> Found<(Header, u64)> {
    let mut rest = Bytes(bytes);
    rest.check(PAGE)?;
    let length = (bytes.len() - rest.0.len()) as u64;
    let (mut kind, mut uncompressed, mut compressed) = (0, 0, 0);
    let (
        [mut values, mut encoding],
        [
            mut values_v2,
            mut encoding_v2,
            mut definition,
            mut repetition,
        ],
    ) = ([0; 2], [0; 4]);
    let (mut entries, mut structs) = (0, Vec::new());
    let (mut bytes, mut last) = (Bytes(bytes), 0);
    while let Some((of, number)) = bytes.field(&mut last)? {
        if (5..=8).contains(&number) {
            structs.push(number);
        }
        match number {
            1 => kind = bytes.i32()?,
            2 => uncompressed = bytes.i32()?,
            3 => compressed = bytes.i32()?,
            5 => numbers(&mut bytes, [(1, &mut values), (2, &mut encoding)])?,
            7 => numbers(&mut bytes, [(1, &mut entries)])?,
            8 => {
                let wanted = [
                    (1, &mut values_v2),
                    (4, &mut encoding_v2),
                    (5, &mut definition),
                    (6, &mut repetition),
                ];
                numbers(&mut bytes, wanted)?;
            }
            _ => bytes.pass(of)?,
        }
    }
    // A reader takes what it needs out of any of the three structs; pages of an index it finds only
    // sometimes.
    let wanted = match kind {
        DATA_PAGE => 5,
        DICTIONARY_PAGE => 7,
        DATA_PAGE_V2 => 8,
        _ => return Err(format!("a page of kind {kind}")),
    };
    if structs != [wanted] {
        return Err(format!("a page of kind {kind} with the fields {structs:?}"));
    }
    let (values, encoding) = if kind == DATA_PAGE_V2 {
        (values_v2, encoding_v2)
    } else {
        (values, encoding)
    };
    let levels = [definition, repetition];
    let size = |n: i32| u64::try_from(n).map_err(|_| format!("a size of {n}"));
    let header = Header {
        uncompressed: size(uncompressed)?,
        compressed: size(compressed)?,
        values: size(values)?,
        encoding,
        is_dictionary: kind == DICTIONARY_PAGE,
        entries: size(entries)?,
        levels: size(levels[0])? + size(levels[1])?,
    };
    Ok((header, length))
}

/// Fields of a struct that are numbers; the others are passed over.
fn numbers<const N: usize>(bytes: &mut Bytes, mut wanted: [(i64, &mut i32); N]) -> Found<()> {
    let mut last = 0;
    while let Some((of, number)) = bytes.field(&mut last)? {
        match wanted.iter_mut().find(|(field, _)| *field == number) {
            Some((_, value)) => **value = bytes.i32()?,
            None => bytes.pass(of)?,
        }
    }
    Ok(())
}

/// Refuses bytes of gzip that decompress to more than is said. Errors are left to the reader.
fn gzip_ends(mut file: &File, at: u64, bytes: u64, said: u64) -> Found<()> {
    file.seek(SeekFrom::Start(at))
        .map_err(|error| error.to_string())?;
    let mut page =
        flate2::bufread::MultiGzDecoder::new(BufReader::new(file.take(bytes))).take(said + 1);
    match std::io::copy(&mut page, &mut std::io::sink()) {
        Ok(n) if n > said => Err(format!(
            "it decompresses to more than the {said} bytes in its header"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, FixedSizeListArray, Int64Array, ListArray, RecordBatch, StringArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ArrowReaderMetadata;
    use parquet::basic::{Encoding, GzipLevel};
    use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};

    use super::*;

    const TEXTS: usize = 3000;

    fn write_columns(columns: Vec<(&str, ArrayRef)>, settings: WriterPropertiesBuilder) -> Vec<u8> {
        let batch = RecordBatch::try_from_iter(columns).expect("equal columns");
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(settings.build()))
            .expect("a writer");
        writer.write(&batch).expect("written");
        writer.into_inner().expect("finished")
    }

    /// A file of texts of 1,000 bytes that differ, and numbers.
    fn write(settings: WriterPropertiesBuilder) -> Vec<u8> {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..TEXTS).map(|n| format!("{n:06}{}", "x".repeat(994))),
        ));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..TEXTS as i64));
        write_columns(
            vec![("text", texts), ("n", numbers)],
            settings.set_dictionary_enabled(false),
        )
    }

    /// The rows of a batch.
    fn check_bytes(bytes: &[u8], max_pages: u64) -> Found<usize> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        let file = File::open(file.path()).expect("a file");
        let metadata = ArrowReaderMetadata::load(&file, Default::default()).expect("a footer");
        let reading = check(
            &file,
            bytes.len() as u64,
            metadata.metadata().row_group(0),
            max_pages,
            true,
        );
        reading.map(|reading| reading.batch_rows)
    }

    /// Where the first page's size is in its header: behind the type, a number in four bytes.
    fn size_at(bytes: &[u8]) -> usize {
        assert_eq!(
            (&bytes[4..7], bytes[10] >> 7),
            (&[0x15, 0x00, 0x15][..], 0),
            "a data page of a size in four bytes"
        );
        7
    }

    #[test]
    fn pages_of_every_coding_are_let_through() {
        for codec in [
            Compression::UNCOMPRESSED,
            Compression::GZIP(GzipLevel::default()),
            Compression::LZ4,
            Compression::LZ4_RAW,
        ] {
            for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                let bytes = write(
                    WriterProperties::builder()
                        .set_compression(codec)
                        .set_writer_version(version),
                );
                let rows = check_bytes(&bytes, 16 << 20).expect("nothing is wrong");
                assert!(
                    (1900..2100).contains(&rows)
                        || rows == 1024
                        || version == WriterVersion::PARQUET_2_0,
                    "{rows}"
                );
            }
        }
    }

    #[test]
    fn a_page_beyond_the_limit_is_named() {
        let bytes = write(WriterProperties::builder());
        let error = check_bytes(&bytes, 1 << 19).expect_err("a page of a megabyte");
        assert!(
            error.starts_with("column \"text\": page 0: it is 20"),
            "{error}"
        );
        assert!(
            error.ends_with(" bytes decompressed, max_pages is 524288"),
            "{error}"
        );
    }

    #[test]
    fn sizes_that_lie_are_named() {
        let bytes = write(
            WriterProperties::builder().set_compression(Compression::GZIP(GzipLevel::default())),
        );
        let at = size_at(&bytes);
        let mut smaller = bytes.clone();
        smaller[at + 2] -= 1;
        // With much room the reader is left to find it: it cannot take more than the ratio allows.
        assert!(check_bytes(&smaller, 1 << 30).is_ok());
        let error = check_bytes(&smaller, 2 << 20).expect_err("more than it says");
        assert!(
            error.contains("page 0: it decompresses to more than the 20"),
            "{error}"
        );
        assert!(check_bytes(&bytes, 2 << 20).is_ok());
        let mut larger = bytes;
        larger[at + 3] = 0x7f;
        let error = check_bytes(&larger, 4 << 20).expect_err("a lie");
        assert!(
            error.starts_with("column \"text\": page 0: it is 13"),
            "{error}"
        );
    }

    #[test]
    fn values_that_repeat_the_one_before_are_read_few_at_a_time() {
        let of_encoding = |encoding| {
            let texts = (0..200).map(|n| format!("{}{n}", "x".repeat(200_000)));
            let settings = WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_encoding(encoding);
            write_columns(
                vec![("text", Arc::new(StringArray::from_iter_values(texts)))],
                settings,
            )
        };
        let (plain, delta) = (
            of_encoding(Encoding::PLAIN),
            of_encoding(Encoding::DELTA_BYTE_ARRAY),
        );
        assert!(
            delta.len() * 10 < plain.len(),
            "{} {}",
            delta.len(),
            plain.len()
        );
        let rows = [plain, delta].map(|bytes| check_bytes(&bytes, 64 << 20).expect("fine"));
        assert_eq!(rows, [10, 10]);
    }

    #[test]
    fn every_prefix_of_a_header_is_asked_for_more() {
        let bytes = write(WriterProperties::builder());
        let (whole, length) = header(&bytes[4..]).expect("a header");
        assert!(
            whole.values > 0 && whole.uncompressed > 1 << 20,
            "{whole:?}"
        );
        for end in 0..length as usize {
            assert_eq!(header(&bytes[4..4 + end]), Err(ENDS.to_owned()));
        }
    }
    /// Runs of one entry take nothing in the file, and their place in memory.
    #[test]
    fn long_lists_are_read_few_at_a_time() {
        let entries: ArrayRef = Arc::new(Int64Array::from(vec![7; 1_000_000]));
        let lists = FixedSizeListArray::new(
            Arc::new(Field::new("item", DataType::Int64, false)),
            10_000,
            entries,
            None,
        );
        let bytes = write_columns(
            vec![("lists", Arc::new(lists))],
            WriterProperties::builder(),
        );
        assert!(bytes.len() < 100_000, "{}", bytes.len());
        let rows = check_bytes(&bytes, 16 << 20).expect("fine");
        assert!((1..10).contains(&rows), "{rows}");
        // A long one among short ones: what is bounded is the worst batch.
        let lengths = [vec![1; 10_000], vec![200_000]].concat();
        let entries: ArrayRef = Arc::new(Int64Array::from(vec![7; 210_000]));
        let item = Arc::new(Field::new("item", DataType::Int64, false));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths(lengths), entries, None);
        let bytes = write_columns(
            vec![("lists", Arc::new(lists))],
            WriterProperties::builder(),
        );
        assert_eq!(check_bytes(&bytes, 16 << 20), Ok(6));
    }

    #[test]
    fn a_dictionary_has_no_more_values_than_bytes() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a word"; 100]));
        let mut bytes = write_columns(vec![("text", texts)], WriterProperties::builder());
        // A dictionary page of 10 bytes, and in the struct of field 7 its number of values.
        assert_eq!(
            &bytes[4..14],
            &[0x15, 0x04, 0x15, 0x14, 0x15, 0x14, 0x4c, 0x15, 0x02, 0x15],
            "{:?}",
            &bytes[4..20]
        );
        assert!(check_bytes(&bytes, 1 << 20).is_ok());
        bytes[12] = 0x06;
        let error = check_bytes(&bytes, 1 << 20).expect_err("three values in ten bytes");
        assert!(
            error.ends_with("a dictionary of 3 values in 10 bytes"),
            "{error}"
        );
    }
}
