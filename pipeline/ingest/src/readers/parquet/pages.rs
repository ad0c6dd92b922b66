//! Checks the pages of a row group of a Parquet file before a reader decompresses them.
//!
//! A reader holds a page whole and allocates at once the size that the header of the page says. So
//! a file of some kilobytes can cost gigabytes, or the run if the system refuses them.
//!
//! Each column of a row group is a chunk of pages. In front of each page is its header, a struct.
//! The second and third fields of the struct are the sizes of the page, decompressed and in the
//! file (github.com/apache/parquet-format, parquet.thrift).

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

/// The average size of the values of a batch, bytes.
const BATCH_BYTES: u64 = 2 << 20;
/// The largest size of the values of a batch, bytes, unless a single row takes more. The pages that
/// the batch begins and ends in are not counted.
const WORST_BATCH_BYTES: u64 = 32 << 20;
/// The largest number of rows in a batch.
const BATCH_ROWS: u64 = 1024;
/// The memory of a list entry in addition to its value, bytes: two levels, an offset or a view.
const ENTRY_BYTES: u64 = 24;
/// The memory of a dictionary entry in addition to its value, bytes: a view.
const VIEW_BYTES: u64 = 16;
/// The number of bytes that are read first to find a header.
const HEADER: u64 = 1 << 10;
/// The longest header that is read, bytes. The statistics in a header may be as long as texts.
const LONGEST_HEADER: u64 = 64 << 20;
/// The largest number of bytes that a byte of Deflate decompresses to (zlib.net/zlib_tech.html).
const DEFLATE_RATIO: u64 = 1032;
/// The largest number of bytes that a byte of LZ4 decompresses to: a length goes on in bytes of
/// 255.
const LZ4_RATIO: u64 = 255;
/// The words that a frame of LZ4 and an old frame of LZ4 begin with (github.com/lz4/lz4,
/// lz4_Frame_format.md).
const LZ4_FRAMES: [[u8; 4]; 2] = [0x184d_2204u32.to_le_bytes(), 0x184c_2102u32.to_le_bytes()];

/// Settings for the reader of a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// True if some values are in a delta encoding.
    pub has_deltas: bool,
}

/// Checks all pages of a row group. `has_views` is true if texts and bytes are read as views into
/// pages and not copied.
///
/// # Errors
/// If a page is wrong, or if more than `max_pages` bytes must be in memory at once. These are the
/// largest page and the dictionary of each column together, or the values that the reader builds
/// for one row.
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
        let (memory, has_some) = chunk.check().map_err(|error| {
            let name = column.column_path().string();
            format!("column \"{name}\": {error}")
        })?;

        // A reader holds a page of every column at the same time.
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

    // The average bounds a common batch, and the largest row bounds the worst one.
    let average = whole.all / u64::try_from(group.num_rows()).unwrap_or(0).max(1);
    let batch_rows = (BATCH_BYTES / average.max(1)).min(WORST_BATCH_BYTES / whole.row.max(1));
    Ok(Reading {
        batch_rows: batch_rows.clamp(1, BATCH_ROWS) as usize,
        has_deltas,
    })
}

/// The memory that a column needs, bytes.
#[derive(Debug, Default)]
struct Memory {
    /// The largest page of the column and its dictionary.
    pages: u64,
    /// About the largest row: its values in the pages and the values that the reader builds.
    row: u64,
    /// About the size of all rows together.
    all: u64,
    /// The most that the reader builds for one row: list entries, nulls of a fixed length, values
    /// that are put together from several.
    made: u64,
}

/// The sums and the largest values over the pages of a column.
#[derive(Debug, Default)]
struct Pages {
    /// The size of all pages and of the entries of lists, bytes.
    all: u64,
    /// The size of the largest page, bytes.
    largest: u64,
    /// The largest average size of a value in a page, bytes.
    value: u64,
    /// The size of the largest dictionary, bytes.
    dictionary: u64,
    /// The most entries of a dictionary.
    dictionary_entries: u64,
    /// True if some values are in a delta encoding.
    has_deltas: bool,
}

/// The pages of a column in a row group.
struct Chunk<'a> {
    file: &'a File,
    /// Size of the file in bytes.
    size: u64,
    column: &'a ColumnChunkMetaData,
    max_pages: u64,
    has_views: bool,
}

impl Chunk<'_> {
    /// Checks the pages. Returns the memory that they need, and whether some values are in a delta
    /// encoding.
    fn check(&self) -> Found<(Memory, bool)> {
        let pages = self.check_headers()?;
        // Pages are decompressed here only if their headers do not bound what they hold.
        let contents = if pages.has_deltas || self.is_list() {
            self.contents()?
        } else {
            Contents::default()
        };
        Ok((self.memory(&pages, &contents), pages.has_deltas))
    }

    /// True if a row can have several values in this column.
    fn is_list(&self) -> bool {
        self.column.column_descr().max_rep_level() > 0
    }

    /// The start and the end of the chunk in the file.
    fn range(&self) -> Found<(u64, u64)> {
        let column = self.column;
        let start = column
            .dictionary_page_offset()
            .unwrap_or(column.data_page_offset());
        // The footer may say anything, negative numbers included.
        let range = u64::try_from(start)
            .ok()
            .zip(u64::try_from(column.compressed_size()).ok());
        range
            .and_then(|(start, length)| Some((start, start.checked_add(length)?)))
            .filter(|(_, end)| *end <= self.size)
            .ok_or_else(|| "it lies outside of the file".to_owned())
    }

    /// Goes from header to header and checks each page.
    fn check_headers(&self) -> Found<Pages> {
        let (mut at, end) = self.range()?;
        let entry_bytes = if self.is_list() { ENTRY_BYTES } else { 0 };
        let mut pages = Pages::default();
        let mut number = 0u64;

        while at < end {
            let place = |error: String| format!("page {number}: {error}");
            let (header, length) = header_at(self.file, at, end).map_err(place)?;
            at += length;
            self.check_page(&header, at, end - at).map_err(place)?;

            let bytes = header.bytes();
            // A dictionary has entries, and no values.
            let value = bytes.checked_div(header.values).unwrap_or(0);
            pages.value = pages.value.max(value);
            pages.largest = pages.largest.max(bytes);
            pages.all = pages
                .all
                .saturating_add(bytes)
                .saturating_add(header.values * entry_bytes);
            // A chunk should have one dictionary. The largest counts, whichever it is.
            if header.is_dictionary {
                pages.dictionary = pages.dictionary.max(bytes);
                pages.dictionary_entries = pages.dictionary_entries.max(header.entries);
            }
            pages.has_deltas |= header.has_deltas();

            at += header.compressed;
            number += 1;
        }
        Ok(pages)
    }

    /// The memory that the reader needs for the pages of this column.
    fn memory(&self, pages: &Pages, contents: &Contents) -> Memory {
        let about = self.column.column_descr();
        let is_copied = self.column.column_type() == Type::BYTE_ARRAY
            && (!self.has_views || about.converted_type() == ConvertedType::DECIMAL);

        // A null takes as much memory as a value of fixed length. If values are copied, each of
        // them may be one entry that is as long as the whole dictionary.
        let fixed = u64::try_from(about.type_length()).unwrap_or(0);
        let made = fixed.max(if is_copied { pages.dictionary } else { 0 });
        let (entries, each) = if self.is_list() {
            (contents.most_entries, ENTRY_BYTES + made)
        } else {
            (1, made)
        };

        // Values in a delta encoding are put together from the values before them.
        let put_together = entries
            .saturating_mul(contents.longest)
            .min(contents.lengths);
        let made = entries.saturating_mul(each).saturating_add(put_together);

        Memory {
            pages: pages
                .largest
                .saturating_add(pages.dictionary)
                .saturating_add(pages.dictionary_entries.saturating_mul(VIEW_BYTES)),
            row: made.saturating_add(entries.saturating_mul(pages.value)),
            all: pages.all.saturating_add(contents.lengths),
            made,
        }
    }

    /// Refuses a page that does not fit in its chunk or in memory. The page starts at `at`, and
    /// `room` is the number of bytes from there to the end of the chunk.
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

        // The smallest size of an entry of a dictionary. A text has its length in four bytes.
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

        // The decoders of Gzip and of frames of LZ4 do not stop at the size in the header. A page
        // that is too small to exceed `max_pages` at the best ratio needs no check.
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

    /// Decompresses the pages, one after the other, and counts what they hold.
    fn contents(&self) -> Found<Contents> {
        let file = Arc::new(self.file.try_clone().map_err(|error| error.to_string())?);
        // The number of rows can be 0: the library needs it only with an index of pages.
        let pages = SerializedPageReader::new(file, self.column, 0, None)
            .map_err(|error| error.to_string())?;

        let mut contents = Contents::default();
        for (number, page) in pages.enumerate() {
            let place = |error: String| format!("page {number}: {error}");
            let page = page.map_err(|error| place(error.to_string()))?;
            // A length is held in 4 bytes, so the lengths of a page take at most `max_pages`.
            contents
                .add(&page, self.column.column_descr(), self.max_pages / 4)
                .map_err(place)?;
        }
        Ok(contents)
    }
}

/// The fields of the header of a page that matter here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Size of the decompressed page, bytes.
    uncompressed: u64,
    /// Size of the page in the file, bytes.
    compressed: u64,
    /// Values of a data page, nulls included. 0 for a dictionary.
    values: u64,
    encoding: i32,
    is_dictionary: bool,
    /// Values of a dictionary page. 0 for a data page.
    entries: u64,
    /// Bytes of levels in front of the values that are never compressed.
    levels: u64,
}

// The numbers of the kinds of pages and of the encodings in parquet.thrift.
const DATA_PAGE: i32 = 0;
const DICTIONARY_PAGE: i32 = 2;
const DATA_PAGE_V2: i32 = 3;
const DELTA_LENGTH_BYTE_ARRAY: i32 = 6;
const DELTA_BYTE_ARRAY: i32 = 7;

impl Header {
    /// True if the values are in a delta encoding.
    fn has_deltas(&self) -> bool {
        matches!(self.encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY)
    }

    /// The size of the page in memory, bytes. A page without compression is read as it is in the
    /// file, whatever the decompressed size says.
    fn bytes(&self) -> u64 {
        self.uncompressed.max(self.compressed)
    }
}

/// Reads the header of a page. Returns the header and its length in bytes. `end` is the end of the
/// chunk.
fn header_at(file: &File, at: u64, end: u64) -> Found<(Header, u64)> {
    let (mut length, longest) = (HEADER, LONGEST_HEADER.min(end - at));
    loop {
        let mut bytes = vec![0; length.min(longest) as usize];
        file.read_exact_at(&mut bytes, at)
            .map_err(|error| error.to_string())?;

        // The length of a header is known only when it was read, so more bytes are tried.
        match header(&bytes) {
            Err(error) if error == ENDS && length < longest => length *= 8,
            found => return found.map_err(|error| format!("its header: {error}")),
        }
    }
}

/// The struct `PageHeader` of parquet.thrift.
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
/// The struct `DataPageHeaderV2` of parquet.thrift.
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

/// Reads a header at the beginning of `bytes`. Returns the header and its length in bytes. The
/// error is [`ENDS`] if the header is longer than `bytes`.
fn header(bytes: &[u8]) -> Found<(Header, u64)> {
    // The types are checked first, so that each field below is read as what it is.
    let mut rest = Bytes(bytes);
    rest.check(PAGE)?;
    let length = (bytes.len() - rest.0.len()) as u64;

    let (mut kind, mut uncompressed, mut compressed) = (0, 0, 0);
    let (mut values, mut encoding, mut entries) = (0, 0, 0);
    let (mut values_v2, mut encoding_v2) = (0, 0);
    let (mut definition, mut repetition) = (0, 0);
    let mut structs = Vec::new();
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
    check_structs(kind, &structs)?;

    let (values, encoding) = if kind == DATA_PAGE_V2 {
        (values_v2, encoding_v2)
    } else {
        (values, encoding)
    };
    let size = |n: i32| u64::try_from(n).map_err(|_| format!("a size of {n}"));
    let header = Header {
        uncompressed: size(uncompressed)?,
        compressed: size(compressed)?,
        values: size(values)?,
        encoding,
        is_dictionary: kind == DICTIONARY_PAGE,
        entries: size(entries)?,
        levels: size(definition)? + size(repetition)?,
    };
    Ok((header, length))
}

/// Refuses a header in which the fields of structs, `structs`, are not exactly the one for its kind
/// of page. A reader would take numbers out of any of the structs. Pages of an index are refused
/// too, because a reader passes over them only sometimes.
fn check_structs(kind: i32, structs: &[i64]) -> Found<()> {
    let wanted: i64 = match kind {
        DATA_PAGE => 5,
        DICTIONARY_PAGE => 7,
        DATA_PAGE_V2 => 8,
        _ => return Err(format!("a page of kind {kind}")),
    };
    if structs != [wanted] {
        return Err(format!("a page of kind {kind} with the fields {structs:?}"));
    }
    Ok(())
}

/// Reads the `wanted` fields of a struct, which are numbers. The other fields are passed over.
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

/// Refuses bytes of gzip that decompress to more than `said` bytes. Damage is left to the reader.
fn gzip_ends(mut file: &File, at: u64, bytes: u64, said: u64) -> Found<()> {
    file.seek(SeekFrom::Start(at))
        .map_err(|error| error.to_string())?;

    // One byte more than said is enough to know.
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

    /// A file of 3,000 different texts of 1,000 bytes and as many numbers, without dictionaries.
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

    /// The rows of a batch in the first row group of a file.
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

    /// Where the decompressed size is in the header of the first page. The size is a number of four
    /// bytes and follows the type.
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
        // With a large limit, the page is left to the reader. It cannot exceed the limit at the
        // best ratio.
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

    /// Runs of equal entries take next to nothing in the file, but each entry takes memory.
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

        // A long list among short ones: the worst batch is bounded.
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

        // A dictionary page of 10 bytes. The struct in field 7 has the number of its values.
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
