//! Reads the records of a file one at a time, in bounded memory. A format is one [`Reader`] in a
//! file of its own, and one line in [`READERS`].

mod arrow;
mod csv;
mod json;
mod kind;
mod lines;
mod pages;
mod parquet;
mod text;
mod values;

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read as _, Seek as _};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use curate_schemas::stages::documents::{Format, Run, Source};

use crate::inputs::{Compression, InputFile};
use crate::record::{Damage, Entry, Item, RAW_KEPT, damage};
use kind::Kind;

/// The readers of all formats.
pub const READERS: [Reader; 9] = [
    lines::JSONL,
    values::JSON,
    csv::CSV,
    csv::TSV,
    parquet::PARQUET,
    arrow::ARROW,
    text::TXT,
    pages::WARC,
    pages::HTML,
];

/// The reason of a file whose bytes are of another kind than its name or the manifest says.
pub const OTHER_FORMAT: &str = "other_format";

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes the records of a file in their order. A failure of a sink is a failure of the run.
pub type Sink<'a> = &'a mut dyn FnMut(Item) -> Result<()>;

/// Takes what a reader finds in a file, in its order.
pub type Entries<'a> = &'a mut dyn FnMut(Entry) -> Result<()>;

/// A format of input files.
pub struct Reader {
    /// The format that a manifest names.
    pub format: Format,
    /// Endings of file names with this format, in lower case and without the dot.
    pub endings: &'static [&'static str],
    /// The function that reads a file. It hands damage to the sink, because damage is not an error.
    pub read: Access,
}

/// A function that reads a file, by the access that it needs.
pub enum Access {
    /// Reads the bytes from the first to the last. The file may be compressed as a whole.
    Stream(fn(&mut dyn BufRead, &Source, &Run, Sink) -> Result<()>),
    /// Reads the file at any place.
    File(fn(File, &Source, &Run, Sink) -> Result<()>),
    /// Reads the bytes of the file from the first to the last, and decompresses them itself.
    Raw(fn(&mut dyn BufRead, &Source, &Run, Entries) -> Result<()>),
}

/// The reader of a format.
fn reader(format: Format) -> &'static Reader {
    READERS
        .iter()
        .find(|reader| reader.format == format)
        .expect("every format has a reader")
}

/// The format of a file by the ending of its name, or `None` if no format has the ending.
pub fn by_ending(ending: &str) -> Option<Format> {
    let reader = READERS
        .iter()
        .find(|reader| reader.endings.contains(&ending));
    reader.map(|reader| reader.format)
}

/// Reads a file, calls `take` for each entry, and returns the blake3 of the bytes of the file as 64
/// hex digits.
///
/// # Errors
/// If the file cannot be opened or read from disk, or if `take` fails. Damage in the data is not an
/// error.
pub fn read_file(file: &InputFile, source: &Source, limits: &Run, take: Entries) -> Result<String> {
    let place = || format!("cannot read {}", file.path.display());
    // A reader that seeks may leave parts out, so the digest is taken in a pass of its own.
    if let Access::File(_) = reader(file.format).read {
        let handle = File::open(&file.path).with_context(place)?;
        let mut digest = blake3::Hasher::new();
        digest.update_reader(&handle).with_context(place)?;
        read_entries(file, source, limits, take)?;
        return Ok(digest.finalize().to_hex().to_string());
    }
    read_entries(file, source, limits, take)
}

/// Reads a file and calls `take` for each entry. Returns the blake3 of its bytes as 64 hex digits, or
/// an empty text if the reader seeks. If `take` fails, the rest of the file is not read.
///
/// # Errors
/// As [`read_file`].
pub fn read_entries(
    file: &InputFile,
    source: &Source,
    limits: &Run,
    take: Entries,
) -> Result<String> {
    let place = || format!("cannot read {}", file.path.display());
    let handle = File::open(&file.path).with_context(place)?;

    let sink: Sink = &mut |item| take(item.into());
    match reader(file.format).read {
        Access::Raw(read) => raw(file, handle, |bytes| read(bytes, source, limits, take)),
        Access::Stream(read) => stream(file, handle, source, limits, sink, |bytes, sink| {
            read(bytes, source, limits, sink)
        }),
        Access::File(read) => {
            match kind::other(&head(&handle, file.size), file.format) {
                Some(kind) => {
                    (&handle).rewind().with_context(place)?;
                    let mut bytes = BufReader::new(&handle);
                    let kind = kind.of_file(Compression::None, source);
                    refuse(kind, file.format, &mut bytes, limits, sink)?;
                }
                None => read(handle, source, limits, sink)?,
            }
            Ok(String::new())
        }
    }
}

/// Hands the bytes of a file to `read`, and returns their blake3 as 64 hex digits.
fn raw(
    file: &InputFile,
    handle: File,
    read: impl FnOnce(&mut dyn BufRead) -> Result<()>,
) -> Result<String> {
    let place = || format!("cannot read {}", file.path.display());
    let mut raw = DigestingReader {
        file: handle,
        digest: blake3::Hasher::new(),
        error: None,
    };

    read(&mut BufReader::with_capacity(1 << 18, &mut raw)).with_context(place)?;
    // The digest covers all bytes of the file, also those that the reader left.
    std::io::copy(&mut raw, &mut std::io::sink()).with_context(place)?;
    Ok(raw.digest.finalize().to_hex().to_string())
}

/// Reads a file of another kind to its end, as one damage.
///
/// # Errors
/// If `sink` fails or the run is interrupted.
fn refuse(
    kind: Kind,
    format: Format,
    stream: &mut dyn BufRead,
    limits: &Run,
    sink: Sink,
) -> Result<()> {
    let head = stream.fill_buf().unwrap_or_default();
    let raw = head[..head.len().min(RAW_KEPT)].to_vec();
    let (records, bytes) = kind::hidden(kind, format, stream, limits)?;
    let damage = damage(0, OTHER_FORMAT, &kind.to_string(), &raw, bytes);
    sink(Err(damage.of_records(records)))
}

/// The bytes without the byte order marks at their start.
pub fn without_marks(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(MARK) {
        bytes = rest;
    }
    bytes
}

/// True for white space of any kind, byte order marks, and the mark that DOS put at the end of a
/// file.
pub fn is_blank(bytes: &[u8]) -> bool {
    let is_nothing = |c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{1a}');
    match bytes.trim_ascii_start().first() {
        None => true,
        // Most lines end here.
        Some(byte) if byte.is_ascii_graphic() => false,
        Some(_) => std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(is_nothing)),
    }
}

/// The first bytes of a file, to be kept with a damage. Empty if they cannot be read.
fn head(file: &File, size: u64) -> Vec<u8> {
    let mut head = vec![0; RAW_KEPT.min(size as usize)];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => head,
        Err(_) => Vec::new(),
    }
}

/// Hands the decompressed bytes of a file to `read`, and returns the blake3 of the bytes of the
/// file as 64 hex digits.
fn stream(
    file: &InputFile,
    handle: File,
    source: &Source,
    limits: &Run,
    sink: Sink,
    read: impl FnOnce(&mut dyn BufRead, Sink) -> Result<()>,
) -> Result<String> {
    let place = || format!("cannot read {}", file.path.display());
    let mut head = vec![0; RAW_KEPT];
    let length = handle.read_at(&mut head, 0).with_context(place)?;
    head.truncate(length);

    // If not even the first byte could be decompressed, the damage keeps bytes of the file itself.
    let sink = &mut |item: Item| {
        sink(item.map_err(|damage| {
            match damage.raw.is_empty() && damage.offset == 0 && damage.reason == "damaged_file" {
                true => Damage {
                    raw: head.clone(),
                    ..damage
                },
                false => damage,
            }
        }))
    };

    let mut raw = DigestingReader {
        file: handle,
        digest: blake3::Hasher::new(),
        error: None,
    };
    {
        let mut buffered = BufReader::with_capacity(1 << 18, &mut raw);
        match kind::uncompressed(&head, file.compression) {
            Some(kind) => refuse(kind, file.format, &mut buffered, limits, sink)?,
            None => {
                let bytes = decompressed(file.compression, buffered, limits).with_context(place)?;
                read_known(file, bytes, source, limits, sink, read)?;
            }
        }
    }

    // The digest covers all bytes of the file, also those behind the damage that ended the reading.
    std::io::copy(&mut raw, &mut std::io::sink()).with_context(place)?;
    // Readers take a failure of the disk for damage. It was kept, so that it ends the run instead.
    if let Some(error) = raw.error {
        return Err(error).with_context(place);
    }
    Ok(raw.digest.finalize().to_hex().to_string())
}

/// The decompressed bytes of a compressed stream.
///
/// # Errors
/// If a decoder cannot be made.
fn decompressed<'a>(
    compression: Compression,
    bytes: impl BufRead + 'a,
    limits: &Run,
) -> Result<Box<dyn BufRead + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(bytes),
        Compression::Gzip => Box::new(BufReader::with_capacity(
            1 << 18,
            flate2::bufread::MultiGzDecoder::new(bytes),
        )),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
            // Some public dumps are packed with `zstd --long=31`. Its window takes up to 2 GiB.
            decoder.window_log_max(limits.max_window.ilog2())?;
            Box::new(BufReader::with_capacity(1 << 18, decoder))
        }
    })
}

/// Hands the bytes of a file to `read`, unless they are of another kind.
fn read_known(
    file: &InputFile,
    mut bytes: Box<dyn BufRead + '_>,
    source: &Source,
    limits: &Run,
    sink: Sink,
    read: impl FnOnce(&mut dyn BufRead, Sink) -> Result<()>,
) -> Result<()> {
    // The same number of bytes is looked at however the decoder divides them.
    let mut head = Vec::new();
    let error = (&mut bytes)
        .take(kind::HEAD as u64)
        .read_to_end(&mut head)
        .err();

    let kind = kind::other(&head, file.format);
    let mut bytes = Cursor::new(head).chain(Failing(error)).chain(bytes);
    match kind {
        Some(kind) => {
            let kind = kind.of_file(file.compression, source);
            refuse(kind, file.format, &mut bytes, limits, sink)
        }
        None => read(&mut bytes, sink),
    }
}

/// A stream without bytes. It fails with the error, if it has one, as often as it is read.
struct Failing(Option<std::io::Error>);

impl std::io::Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.fill_buf().map(<[u8]>::len)
    }
}

impl BufRead for Failing {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        match &self.0 {
            // An `io::Error` cannot be cloned.
            Some(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
            None => Ok(&[]),
        }
    }

    fn consume(&mut self, _: usize) {}
}

/// Digests the bytes that are read, and keeps failures of the disk apart from damage in the data.
struct DigestingReader {
    file: File,
    digest: blake3::Hasher,
    /// The first failure of the disk.
    error: Option<std::io::Error>,
}

impl std::io::Read for DigestingReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.file.read(buffer) {
            Ok(n) => {
                self.digest.update(&buffer[..n]);
                Ok(n)
            }
            Err(error) => {
                // An `io::Error` cannot be cloned.
                let copy = std::io::Error::new(error.kind(), error.to_string());
                self.error.get_or_insert(error);
                Err(copy)
            }
        }
    }
}
