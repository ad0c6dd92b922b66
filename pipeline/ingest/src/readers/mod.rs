//! Records out of files, one at a time, in bounded memory. A format is one [`Reader`] in a file of
//! its own, and a line in [`READERS`].

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

/// Every format that is read.
pub const READERS: [Reader; 4] = [lines::JSONL, parquet::PARQUET, arrow::ARROW, text::TXT];

/// Takes the records of a file in their order. Its failures are the run's.
pub type Sink<'a> = &'a mut dyn FnMut(Item) -> Result<()>;

/// A format of input files.
pub struct Reader {
    /// The format, as a manifest names it.
    pub format: Format,
    /// Endings of the names of its files, lower case, without the dot.
    pub endings: &'static [&'static str],
    /// Reads a file. Damage in it is handed to the sink and is no error.
    pub read: Read,
}

/// What a reader needs of a file.
pub enum Read {
    /// Its bytes from the first to the last; so it may be compressed as a whole.
    Stream(fn(&mut dyn BufRead, &Source, &Run, Sink) -> Result<()>),
    /// The file, to be read at any place.
    File(fn(File, &Source, &Run, Sink) -> Result<()>),
}

/// The reader of a format.
fn reader(format: Format) -> &'static Reader {
    let of_format = |reader: &&Reader| reader.format == format;
    READERS
        .iter()
        .find(of_format)
        .expect("every format has a reader")
}

/// The format of a file by the ending of its name; `None`: no format has it.
pub fn by_ending(ending: &str) -> Option<Format> {
    let reader = READERS
        .iter()
        .find(|reader| reader.endings.contains(&ending));
    reader.map(|reader| reader.format)
}

/// Reads a file, calling `sink` for each record, and returns the blake3 of the file's bytes.
///
/// # Errors
/// If the file cannot be opened or read from disk, or `sink` fails. Damage in the data is no error.
pub fn read_file(file: &InputFile, source: &Source, limits: &Run, sink: Sink) -> Result<String> {
    let place = || format!("cannot read {}", file.path.display());
    let handle = File::open(&file.path).with_context(place)?;
    match reader(file.format).read {
        Read::Stream(read) => stream(file, handle, limits, sink, |bytes, sink| {
            read(bytes, source, limits, sink)
        }),
        Read::File(read) => {
            let mut digest = blake3::Hasher::new();
            digest.update_reader(&handle).with_context(place)?;
            read(handle, source, limits, sink)?;
            Ok(digest.finalize().to_hex().to_string())
        }
    }
}

/// The first bytes of a file, for a look at what is damaged; none if they cannot be read.
fn head(file: &File, size: u64) -> Vec<u8> {
    let mut head = vec![0; RAW_KEPT.min(size as usize)];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => head,
        Err(_) => Vec::new(),
    }
}

/// Hands the decompressed bytes of a file to `read`, and returns the blake3 of the file's bytes.
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

    // Where not even a beginning could be decompressed, the file's own bytes are what there is to
    // look at.
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
                // `zstd --long=31` is how some public dumps are packed; its window takes up to 2
                // GiB.
                decoder
                    .window_log_max(limits.max_window.ilog2())
                    .with_context(place)?;
                Box::new(BufReader::with_capacity(1 << 18, decoder))
            }
        };
        read(&mut bytes, sink)?;
    }

    // What the reader left behind a damaged spot still belongs to the file's digest.
    std::io::copy(&mut raw, &mut std::io::sink()).with_context(place)?;
    if let Some(error) = raw.error {
        return Err(error).with_context(place);
    }
    Ok(raw.digest.finalize().to_hex().to_string())
}

/// Digests what is read, and tells failures of the disk from damage in the data.
struct DigestingReader {
    file: File,
    digest: blake3::Hasher,
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
                let copy = std::io::Error::new(error.kind(), error.to_string());
                self.error.get_or_insert(error);
                Err(copy)
            }
        }
    }
}
