//! Tells what a file is by its first bytes, where its name says something else.
//!
//! A file of another kind is one damage with one message, which names the kind and says what to do.
//! It is not read: a name that does not fit shows a mistake, and a guess would hide the mistake. The
//! records that the file hides are counted, as far as a pass through the file tells their number.

use std::fmt;
use std::io::BufRead;

use anyhow::Result;
use curate_schemas::stages::documents::{Format, Run, Source};
use curate_store::interrupt;

use super::values::{Scanned, Scanner, Values};
use super::{decompressed, is_blank, without_marks};
use crate::inputs::Compression;

/// Bytes of a file that tell its kind.
pub const HEAD: usize = 64 << 10;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What the file is, such as `UTF-16 text`.
    name: &'static str,
    /// What to do with the file.
    remedy: &'static str,
    /// How its records are counted.
    content: Content,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the file is {}: {}", self.name, self.remedy)
    }
}

impl Kind {
    /// The kind with the remedy for a file of a source. `compression` is that of the name of the
    /// file, and the kind is that of the decompressed bytes.
    pub fn of_file(self, compression: Compression, source: &Source) -> Kind {
        let is_twice =
            compression != Compression::None && matches!(self.content, Content::Compressed(_));
        // The name of a file has no say where the manifest sets the format.
        let is_set = source.format.is_some() && self.remedy.starts_with("let its name end with");
        match (is_twice, is_set) {
            (true, _) => Kind {
                name: "compressed twice",
                remedy: "unpack it once",
                ..self
            },
            (false, true) => Kind {
                remedy: "remove or change format in the source",
                ..self
            },
            (false, false) => self,
        }
    }
}

/// What is known about the records in a file of some kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Nothing.
    Opaque,
    /// Each line of text may be a record. The code units have this width in bytes, and the last
    /// byte of a unit is its lowest if `is_big`.
    Lines { width: usize, is_big: bool },
    /// Lines of text, compressed.
    Compressed(Compression),
    /// JSON values.
    Values,
}

/// Lines of UTF-8.
const LINES: Content = Content::Lines {
    width: 1,
    is_big: false,
};

const fn kind(name: &'static str, remedy: &'static str, content: Content) -> Kind {
    Kind {
        name,
        remedy,
        content,
    }
}

const fn utf(name: &'static str, width: usize, is_big: bool) -> Kind {
    let remedy = match width {
        2 => "convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8",
        _ => "convert it to UTF-8, for example with iconv -f UTF-32 -t UTF-8",
    };
    kind(name, remedy, Content::Lines { width, is_big })
}

const UNPACK: &str = "unpack it first";
const EXPORT: &str = "export its records as JSON lines or Parquet";
const EXTRACT: &str = "extract the text first";
const REMOVE: &str = "leave it out of the source";

/// Kinds by the bytes at a place in the file, in the order in which they are tried.
const MAGIC: &[(usize, &[u8], Kind)] = &[
    (0, b"\xff\xfe\0\0", utf("UTF-32 text", 4, false)),
    (0, b"\0\0\xfe\xff", utf("UTF-32 text", 4, true)),
    (0, b"\xff\xfe", utf("UTF-16 text", 2, false)),
    (0, b"\xfe\xff", utf("UTF-16 text", 2, true)),
    (
        0,
        b"\x1f\x8b\x08",
        kind(
            "compressed with gzip",
            "unpack it, or let its name end with .gz",
            Content::Compressed(Compression::Gzip),
        ),
    ),
    (
        0,
        b"\x28\xb5\x2f\xfd",
        kind(
            "compressed with Zstandard",
            "unpack it, or let its name end with .zst",
            Content::Compressed(Compression::Zstd),
        ),
    ),
    (
        0,
        b"BZh",
        kind("compressed with bzip2", UNPACK, Content::Opaque),
    ),
    (
        0,
        b"\xfd7zXZ\0",
        kind("compressed with xz", UNPACK, Content::Opaque),
    ),
    (
        0,
        b"\x04\x22\x4d\x18",
        kind("compressed with LZ4", UNPACK, Content::Opaque),
    ),
    (
        0,
        b"\xff\x06\0\0sNaPpY",
        kind("compressed with Snappy", UNPACK, Content::Opaque),
    ),
    (
        0,
        b"PK\x03\x04",
        kind(
            "a ZIP archive, as .docx, .xlsx and .epub are, too",
            UNPACK,
            Content::Opaque,
        ),
    ),
    (
        0,
        b"7z\xbc\xaf\x27\x1c",
        kind("a 7z archive", UNPACK, Content::Opaque),
    ),
    (
        0,
        b"Rar!\x1a\x07",
        kind("a RAR archive", UNPACK, Content::Opaque),
    ),
    (
        257,
        b"ustar",
        kind("a tar archive", UNPACK, Content::Opaque),
    ),
    (0, b"PAR1", PARQUET),
    (0, b"ARROW1\0\0", ARROW),
    (0, b"ORC", kind("an ORC file", EXPORT, Content::Opaque)),
    (0, b"Obj\x01", kind("an Avro file", EXPORT, Content::Opaque)),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        kind("an HDF5 file", EXPORT, Content::Opaque),
    ),
    (
        0,
        b"\x93NUMPY",
        kind("a NumPy array", EXPORT, Content::Opaque),
    ),
    (
        0,
        b"\x80\x04\x95",
        kind("a Python pickle", EXPORT, Content::Opaque),
    ),
    (
        0,
        b"SQLite format 3\0",
        kind("a SQLite database", EXPORT, Content::Opaque),
    ),
    (
        0,
        b"%PDF-",
        kind("a PDF document", EXTRACT, Content::Opaque),
    ),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        kind(
            "a document of an old Office version",
            EXTRACT,
            Content::Opaque,
        ),
    ),
    (
        0,
        b"\x89PNG\r\n",
        kind("a PNG image", REMOVE, Content::Opaque),
    ),
    (
        0,
        b"\xff\xd8\xff",
        kind("a JPEG image", REMOVE, Content::Opaque),
    ),
    (0, b"GIF8", kind("a GIF image", REMOVE, Content::Opaque)),
    (0, b"\x7fELF", kind("a program", REMOVE, Content::Opaque)),
];

const PARQUET: Kind = kind(
    "a Parquet file",
    "let its name end with .parquet, or set format = \"parquet\"",
    Content::Opaque,
);
const ARROW: Kind = kind(
    "an Arrow file",
    "let its name end with .arrow, or set format = \"arrow\"",
    Content::Opaque,
);
/// A pointer that stands for a large file in a Git repository.
const LFS: Kind = kind(
    "a pointer of Git LFS and not the data",
    "fetch the data with git lfs pull",
    Content::Opaque,
);
const HTML: Kind = kind(
    "HTML or XML",
    "let its name end with .html if it is a page",
    Content::Opaque,
);
const WARC: Kind = kind(
    "a WARC archive",
    "let its name end with .warc",
    Content::Opaque,
);
const TEXT: Kind = kind(
    "text",
    "let its name end with .jsonl, .json, .csv or .txt, or set format",
    LINES,
);
const ARRAY: Kind = kind(
    "a JSON array",
    "let its name end with .json, or set format = \"json\"",
    Content::Values,
);
const PRETTY: Kind = kind(
    "JSON with objects of several lines",
    "let its name end with .json, or set format = \"json\"",
    Content::Values,
);
const CARRIAGE_RETURNS: Kind = kind(
    "JSON with carriage returns between the objects, and no newlines",
    "let its name end with .json, or convert it with tr '\\r' '\\n'",
    Content::Values,
);
const JOINED: Kind = kind(
    "JSON with several objects on a line",
    "let its name end with .json, or set format = \"json\"",
    Content::Values,
);
const COMMAS: Kind = kind(
    "JSON with commas between the objects, as an array without its brackets",
    "let its name end with .json, or set format = \"json\"",
    Content::Values,
);
const JSON: Kind = kind(
    "JSON",
    "let its name end with .jsonl or .json, or set format",
    Content::Values,
);

/// The kind of a file by its first bytes, or `None` if it may be of the format that its name or the
/// manifest says. `head` is empty for an empty file.
pub fn other(head: &[u8], format: Format) -> Option<Kind> {
    match format {
        // The first bytes of an archive decide on its compression, and the rest shows damage.
        Format::Warc => return None,
        Format::Html => return no_page(head),
        _ => {}
    }
    if let Some(kind) = binary(head) {
        // Each of these two readers checks the rest of the file.
        let is_own = match format {
            Format::Parquet => kind == PARQUET,
            Format::Arrow => kind == ARROW,
            _ => false,
        };
        // Only formats that are read from the first byte to the last may be compressed as a whole.
        let remedy = match (format, kind.content) {
            (Format::Parquet | Format::Arrow, Content::Compressed(_)) => UNPACK,
            _ => kind.remedy,
        };
        return (!is_own).then_some(Kind { remedy, ..kind });
    }
    if head.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Some(LFS);
    }

    match format {
        Format::Txt | Format::Html | Format::Warc => None,
        Format::Parquet | Format::Arrow => {
            (!head.is_empty() && is_text(head)).then(|| markup(head).unwrap_or(TEXT))
        }
        Format::Csv | Format::Tsv => markup(head).or_else(|| is_json(head).then_some(JSON)),
        Format::Json => markup(head),
        Format::Jsonl => markup(head).or(match shape(head) {
            Shape::Lines => None,
            Shape::Array => Some(ARRAY),
            Shape::Pretty => Some(PRETTY),
            Shape::CarriageReturns => Some(CARRIAGE_RETURNS),
            Shape::Joined => Some(JOINED),
            Shape::Commas => Some(COMMAS),
        }),
    }
}

/// The kind of a file that is no page. A page may be in UTF-16.
fn no_page(head: &[u8]) -> Option<Kind> {
    let binary = binary(head).filter(|kind| !matches!(kind.content, Content::Lines { .. }));

    binary.or_else(|| markup(head).filter(|kind| *kind == WARC))
}

/// The kind of a file whose name says that it is compressed, if its first bytes do not fit.
pub fn uncompressed(head: &[u8], compression: Compression) -> Option<Kind> {
    let is_own = match compression {
        Compression::None => true,
        Compression::Gzip => head.starts_with(b"\x1f\x8b"),
        // A skippable frame may come first.
        Compression::Zstd => {
            head.starts_with(b"\x28\xb5\x2f\xfd")
                || head.get(1..4) == Some(b"\x2a\x4d\x18") && head[0] & 0xf0 == 0x50
        }
    };
    if is_own || head.is_empty() {
        return None;
    }

    let plain = kind(
        "text that is not compressed",
        "remove the ending .gz or .zst from its name",
        LINES,
    );
    binary(head).or_else(|| is_text(head).then_some(plain))
}

/// The kind of a file that is not UTF-8 text.
fn binary(head: &[u8]) -> Option<Kind> {
    // A text may begin with `BZh` or `ORC`, but not with a byte that no text has.
    let is_clear = |magic: &[u8]| {
        let is_odd = |byte: &u8| *byte >= 0x7f || *byte < b' ' && !byte.is_ascii_whitespace();
        magic == b"%PDF-" || magic.iter().any(is_odd) || !is_text(head)
    };
    let found = MAGIC.iter().find(|(at, magic, _)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(magic)) && is_clear(magic)
    });
    if let Some((_, _, kind)) = found {
        return Some(*kind);
    }

    // UTF-16 without a mark: the first characters of a file are mostly from ASCII.
    let units = head.get(..8)?.chunks_exact(2);
    let is_wide = |low: usize| {
        units
            .clone()
            .all(|unit| unit[low].is_ascii() && unit[low] != 0 && unit[1 - low] == 0)
    };
    if is_wide(0) {
        return Some(utf("UTF-16 text", 2, false));
    }
    is_wide(1).then(|| utf("UTF-16 text", 2, true))
}

/// True for UTF-8 without NUL bytes. The last character may be cut.
fn is_text(head: &[u8]) -> bool {
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && !head.contains(&0)
}

/// HTML, XML or WARC.
fn markup(head: &[u8]) -> Option<Kind> {
    let text = start(head);
    let begins = |word: &str| {
        text.get(..word.len())
            .is_some_and(|text| text.eq_ignore_ascii_case(word.as_bytes()))
    };
    if ["<!doctype", "<html", "<?xml"].into_iter().any(begins) {
        return Some(HTML);
    }
    begins("WARC/").then_some(WARC)
}

/// True if the first bytes are those of an object with a field, or of an array of objects.
fn is_json(head: &[u8]) -> bool {
    let text = start(head);
    let after = |bracket: u8| text.strip_prefix(&[bracket]).map(<[u8]>::trim_ascii_start);
    after(b'{').is_some_and(|rest| rest.starts_with(b"\""))
        || after(b'[').is_some_and(|rest| rest.starts_with(b"{"))
}

/// The bytes behind byte order marks and white space.
pub fn start(head: &[u8]) -> &[u8] {
    let mut text = head;
    loop {
        let rest = without_marks(text.trim_ascii_start());
        if rest.len() == text.len() {
            return text;
        }
        text = rest;
    }
}

/// How JSON objects stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One on each line. Also anything that looks like no other shape.
    Lines,
    /// In an array.
    Array,
    /// One after another, each on several lines.
    Pretty,
    /// With a carriage return between them.
    CarriageReturns,
    /// Several on one line.
    Joined,
    /// With commas between them.
    Commas,
}

/// The shape of a JSON file by its first bytes. It follows from the first value and the text
/// behind it.
pub fn shape(head: &[u8]) -> Shape {
    let text = start(head);
    let line = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
    match text.first() {
        Some(b'{') => objects(text, line.len()),
        Some(b'[') => {
            // A line such as `["a"]` may also be one damaged line among good ones.
            let inside = text[1..].trim_ascii_start();
            let has_line_break = memchr::memchr(b'\n', &text[1..text.len() - inside.len()]);
            let is_whole = match Scanner::default().feed(line) {
                Scanned::End(end) => is_blank(&text[end..]),
                _ => true,
            };
            match inside.starts_with(b"{") || has_line_break.is_some() || is_whole {
                true => Shape::Array,
                false => Shape::Lines,
            }
        }
        _ => Shape::Lines,
    }
}

/// The shape of a file that begins with an object. `line` is the length of its first line.
fn objects(text: &[u8], line: usize) -> Shape {
    let with_newline = &text[..text.len().min(line + 1)];
    let end = match Scanner::default().feed(with_newline) {
        Scanned::End(end) => end,
        Scanned::Broken(_) => return Shape::Lines,
        // A first line that was cut is followed by a whole object, and an object on several lines
        // by one of its fields or by its end.
        Scanned::More => {
            return match text[line..].trim_ascii_start().first() {
                Some(b'"' | b'}') => Shape::Pretty,
                _ => Shape::Lines,
            };
        }
    };

    let behind = &text[end..];
    let gap = behind.len() - behind.trim_ascii_start().len();
    let has = |byte: u8| behind[..gap].contains(&byte);
    match behind.get(gap) {
        Some(b',') => Shape::Commas,
        Some(b'{') if has(b'\n') => Shape::Lines,
        Some(b'{') if has(b'\r') => Shape::CarriageReturns,
        Some(b'{') => Shape::Joined,
        _ => Shape::Lines,
    }
}

/// Reads a file of another kind to its end. Returns the number of records that it hides, as far as
/// it is known and at least 1, and the number of its bytes.
///
/// # Errors
/// If the run is interrupted.
pub fn hidden(
    kind: Kind,
    format: Format,
    stream: &mut dyn BufRead,
    limits: &Run,
) -> Result<(u64, u64)> {
    let mut stream = Counted { stream, bytes: 0 };
    let records = match (format, kind.content) {
        (Format::Txt | Format::Html, _) | (_, Content::Opaque) => 1,
        (_, Content::Values) => Values::new(&mut stream, 0).count()?,
        (_, Content::Lines { width, is_big }) => lines(&mut stream, width, is_big)?,
        (_, Content::Compressed(compression)) => {
            let mut inner = decompressed(compression, &mut stream, limits)?;
            lines(&mut inner, 1, false)?
        }
    };

    // The first line of a table is its header.
    let has_header = matches!(format, Format::Csv | Format::Tsv)
        && !matches!(kind.content, Content::Opaque | Content::Values);
    let headers = u64::from(has_header);
    // The rest is counted without being held. Damage in it only makes the count too small.
    std::io::copy(&mut stream, &mut std::io::sink()).ok();
    Ok((records.saturating_sub(headers).max(1), stream.bytes))
}

/// Counts the lines that are not empty. Damage ends the count.
fn lines(stream: &mut dyn BufRead, width: usize, is_big: bool) -> Result<u64> {
    let low = if is_big { width - 1 } else { 0 };
    let (mut n, mut is_empty) = (0, true);
    let mut block = [0; 1 << 16];
    loop {
        interrupt::check()?;
        // A full block has a whole number of units.
        let Ok(length) = fill(stream, &mut block) else {
            break;
        };
        for unit in block[..length].chunks(width) {
            let is_ascii = unit.iter().filter(|byte| **byte != 0).count() <= 1;
            match unit.get(low) {
                Some(b'\n') if is_ascii => {
                    n += u64::from(!is_empty);
                    is_empty = true;
                }
                Some(byte) if is_ascii && byte.is_ascii_whitespace() => {}
                _ => is_empty = false,
            }
        }
        if length < block.len() {
            break;
        }
    }
    Ok(n + u64::from(!is_empty))
}

/// Fills a buffer as far as the stream reaches. Returns the number of bytes.
fn fill(stream: &mut dyn BufRead, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // What came before the damage counts.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A stream that counts its bytes.
struct Counted<'a> {
    stream: &'a mut dyn BufRead,
    bytes: u64,
}

impl std::io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.stream.consume(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(head: &[u8], format: Format) -> &'static str {
        other(head, format).map_or("", |kind| kind.name)
    }

    fn count(bytes: &[u8], format: Format) -> (u64, u64) {
        let kind = other(bytes, format).expect("another kind");
        hidden(kind, format, &mut &bytes[..], &Run::default()).expect("not interrupted")
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn kinds_of_magic_are_unlike() {
        for (number, (at, magic, kind)) in MAGIC.iter().enumerate() {
            let mut head = vec![b'x'; *at];
            head.extend_from_slice(magic);
            head.extend_from_slice(b"\0\xff rest of the file");
            assert_eq!(binary(&head), Some(*kind), "{number}");
            assert!(other(&head, Format::Txt).is_some());
        }
    }

    #[test]
    fn texts_that_begin_like_a_magic_word_are_texts() {
        for text in [
            "BZh is a magic word",
            "ORC",
            "PAR1 and so on",
            "GIF89a",
            "PK",
        ] {
            assert_eq!(other(text.as_bytes(), Format::Txt), None, "{text}");
        }
        assert_eq!(other("caf\u{e9} \u{6f22}".as_bytes(), Format::Txt), None);
        assert_eq!(other(b"<html>", Format::Txt), None);
        assert_eq!(other(b"{\"a\": 1}", Format::Txt), None);
        assert_eq!(other(b"", Format::Parquet), None);
    }

    #[test]
    fn json_in_other_shapes_is_named() {
        let of = |text: &str| name(text.as_bytes(), Format::Jsonl);
        assert_eq!(of("{\"text\":\"a\"}\n{\"text\":\"b\"}"), "");
        assert_eq!(of("{\"text\":\"a\"}\r\n{\"text\":\"b\"}"), "");
        assert_eq!(of("{\"text\":\"cut \n{\"text\":\"b\"}"), "");
        assert_eq!(of("{\"text\":\"a\",\n{\"text\":\"b\"}"), "");
        assert_eq!(of("[\"a\"]\n{\"text\":\"b\"}"), "");
        assert_eq!(of("7\n{\"text\":\"b\"}"), "");
        assert_eq!(of("\u{feff}[{\"text\":\"a\"}]"), ARRAY.name);
        assert_eq!(of("[\n\"a\"]"), ARRAY.name);
        assert_eq!(of("{\n \"text\":\"a\"\n}"), PRETTY.name);
        assert_eq!(of("{\r\n\"text\":\"a\"}"), PRETTY.name);
        assert_eq!(
            of("{\"text\":\"a\"}\r{\"text\":\"b\"}"),
            CARRIAGE_RETURNS.name
        );
        assert_eq!(of("{\"text\":\"a\"}{\"text\":\"b\"}\n"), JOINED.name);
        assert_eq!(of("{\"text\":\"a\"},\n{\"text\":\"b\"}"), COMMAS.name);
        assert_eq!(of("<!DOCTYPE html>"), HTML.name);
        assert_eq!(name(b"[{\"text\":\"a\"}]", Format::Json), "");
        assert_eq!(name(b"{\"text\":\"a\"}", Format::Csv), JSON.name);
        assert_eq!(name(b"{\"text\":\"a\"}", Format::Parquet), TEXT.name);
    }

    #[test]
    fn the_remedy_fits_the_file_and_its_source() {
        let said = |head: &[u8], compression, source: &Source| {
            let kind = other(head, Format::Jsonl).expect("another kind");
            kind.of_file(compression, source).to_string()
        };
        let set = Source {
            format: Some(Format::Jsonl),
            ..Source::default()
        };
        let named = Source::default();
        let (array, gzip) = (&b"[{\"text\":\"a\"}]"[..], &b"\x1f\x8b\x08\0"[..]);
        let plain = Compression::None;
        assert!(said(array, plain, &named).contains("let its name end with .json"));
        assert_eq!(
            said(array, plain, &set),
            "the file is a JSON array: remove or change format in the source"
        );
        assert!(said(gzip, plain, &set).ends_with("let its name end with .gz"));
        assert_eq!(
            said(gzip, Compression::Gzip, &named),
            "the file is compressed twice: unpack it once"
        );
    }

    #[test]
    fn hidden_records_are_counted() {
        let lines = "{\"text\":\"a\"}\n\n{\"text\":\"\u{10a}\"}\r\n{\"text\":\"c\"}";
        let wide = utf16(lines);
        assert_eq!(count(&wide, Format::Jsonl), (3, wide.len() as u64));
        assert_eq!(count(&wide, Format::Csv).0, 2);
        assert_eq!(count(&wide, Format::Txt).0, 1);
        let big: Vec<u8> = wide.chunks(2).flat_map(|unit| [unit[1], unit[0]]).collect();
        assert_eq!(count(&big, Format::Jsonl).0, 3);
        let packed = zstd::encode_all(lines.as_bytes(), 1).expect("encoded");
        assert_eq!(count(&packed, Format::Jsonl), (3, packed.len() as u64));
        let array = b"[{\"a\":[1]},{\"b\":{}}]\n\xef\xbb\xbf[]";
        assert_eq!(count(array, Format::Jsonl), (2, array.len() as u64));
        assert_eq!(count(b"%PDF-1.4 ", Format::Jsonl), (1, 9));
    }

    #[test]
    fn a_compressed_name_on_plain_text_is_named() {
        let of = |head: &[u8], compression| uncompressed(head, compression).map(|kind| kind.name);
        assert_eq!(
            of(b"{}", Compression::Gzip),
            Some("text that is not compressed")
        );
        assert_eq!(
            of(b"\x1f\x8b\x08", Compression::Zstd),
            Some("compressed with gzip")
        );
        assert_eq!(of(b"\x1f\x8b\x08", Compression::Gzip), None);
        assert_eq!(of(b"\x50\x2a\x4d\x18\0", Compression::Zstd), None);
        assert_eq!(of(b"", Compression::Gzip), None);
    }
}
