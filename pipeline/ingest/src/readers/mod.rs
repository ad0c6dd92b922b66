//! Reads the records of a file one at a time, in bounded memory. A format is one [`Reader`] in a
//! file of its own, and one line in [`READERS`].

mod arrow;
mod json;
mod lines;
mod parquet;
mod text;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use curate_schemas::stages::documents::{Format, Run, Source};

use crate::inputs::{Compression, InputFile};
use crate::record::{Damage, Item, RAW_KEPT};

/// The readers of all formats.
pub const READERS: [Reader; 4] = [lines::JSONL, parquet::PARQUET, arrow::ARROW, text::TXT];

/// Takes the records of a file in their order. A failure of a sink is a failure of the run.
pub type Sink<'a> = &'a mut dyn FnMut(Item) -> Result<()>;

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

/// Reads a file, calls `sink` for each record, and returns the blake3 of the bytes of the file as
/// 64 hex digits.
///
/// # Errors
/// If the file cannot be opened or read from disk, or if `sink` fails. Damage in the data is not an
/// error.
pub fn read_file(file: &InputFile, source: &Source, limits: &Run, sink: Sink) -> Result<String> {
    let place = || format!("cannot read {}", file.path.display());
    let handle = File::open(&file.path).with_context(place)?;

    match reader(file.format).read {
        Access::Stream(read) => stream(file, handle, limits, sink, |bytes, sink| {
            read(bytes, source, limits, sink)
        }),
        Access::File(read) => {
            // A reader that seeks may leave parts out, so the digest is taken in a pass of its own.
            let mut digest = blake3::Hasher::new();
            digest.update_reader(&handle).with_context(place)?;
            read(handle, source, limits, sink)?;
            Ok(digest.finalize().to_hex().to_string())
        }
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
        let buffered = BufReader::with_capacity(1 << 18, &mut raw);
        let mut bytes: Box<dyn BufRead> = match file.compression {
            Compression::None => Box::new(buffered),
            Compression::Gzip => Box::new(BufReader::with_capacity(
                1 << 18,
                flate2::bufread::MultiGzDecoder::new(buffered),
            )),
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(buffered).with_context(place)?;
                // Some public dumps are packed with `zstd --long=31`. Its window takes up to 2 GiB.
                decoder
                    .window_log_max(limits.max_window.ilog2())
                    .with_context(place)?;
                Box::new(BufReader::with_capacity(1 << 18, decoder))
            }
        };
        read(&mut bytes, sink)?;
    }

    // The digest covers all bytes of the file, also those behind the damage that ended the reading.
    std::io::copy(&mut raw, &mut std::io::sink()).with_context(place)?;
    // Readers take a failure of the disk for damage. It was kept, so that it ends the run instead.
    if let Some(error) = raw.error {
        return Err(error).with_context(place);
    }
    Ok(raw.digest.finalize().to_hex().to_string())
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
