//! Records out of files, one at a time, in bounded memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use curate_schemas::stages::documents::{Format, Run, Source};
use curate_store::failure::guard;

use super::inputs::{Compression, InputFile};
use super::record::{Damage, Item, RAW_KEPT, Record, damage};
use super::{json, table};

/// Reads a file, calling `sink` for each record, and returns the blake3 of the file's bytes.
///
/// # Errors
/// If the file cannot be opened or read from disk, or `sink` fails. Damage in the data is no error.
pub fn read_file(
    file: &InputFile,
    source: &Source,
    limits: &Run,
    sink: &mut dyn FnMut(Item) -> Result<()>,
) -> Result<String> {
    let max_record = limits.max_record;
    let place = || format!("cannot read {}", file.path.display());
    let handle = File::open(&file.path).with_context(place)?;
    if file.format == Format::Parquet {
        let mut digest = blake3::Hasher::new();
        digest.update_reader(&handle).with_context(place)?;
        table::read(handle, source, limits, sink)?;
        return Ok(digest.finalize().to_hex().to_string());
    }
    let mut head = vec![0; RAW_KEPT];
    let read = handle.read_at(&mut head, 0).with_context(place)?;
    head.truncate(read);
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
        let mut stream: Box<dyn BufRead> = match file.compression {
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
        match file.format {
            Format::Txt => whole_text(&mut stream, max_record, sink)?,
            _ => lines(&mut stream, source, max_record, sink)?,
        }
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

impl Read for DigestingReader {
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

/// One line as read: its bytes up to the limit, its full length, and the damage that ended the file
/// in it, if any.
struct Line {
    bytes: Vec<u8>,
    length: u64,
    ended: bool,
    damage: Option<std::io::Error>,
}

/// Reads up to a newline; keeps at most `limit` bytes of the line, so memory stays flat whatever
/// its length.
fn read_line(stream: &mut dyn BufRead, limit: u64, reuse: Vec<u8>) -> Line {
    let mut line = Line {
        bytes: reuse,
        length: 0,
        ended: false,
        damage: None,
    };
    line.bytes.clear();
    loop {
        let buffer = match stream.fill_buf() {
            Ok([]) => {
                return Line {
                    ended: true,
                    ..line
                };
            }
            Ok(buffer) => buffer,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Line {
                    ended: true,
                    damage: Some(error),
                    ..line
                };
            }
        };
        let newline = buffer.iter().position(|&byte| byte == b'\n');
        let taken = newline.unwrap_or(buffer.len());
        let room = limit
            .saturating_sub(line.bytes.len() as u64)
            .min(taken as u64) as usize;
        line.bytes.extend_from_slice(&buffer[..room]);
        line.length += taken as u64;
        stream.consume(taken + usize::from(newline.is_some()));
        if newline.is_some() {
            return line;
        }
    }
}

fn lines(
    stream: &mut dyn BufRead,
    source: &Source,
    max_record: u64,
    sink: &mut dyn FnMut(Item) -> Result<()>,
) -> Result<()> {
    let mut offset = 0;
    let mut buffer = Vec::new();
    loop {
        // One byte more than allowed tells a record that is too long from one that just fits.
        let line = read_line(stream, max_record + 1, buffer);
        let bytes = match offset {
            0 => line
                .bytes
                .strip_prefix(b"\xef\xbb\xbf")
                .unwrap_or(&line.bytes),
            _ => &line.bytes,
        };
        if let Some(error) = &line.damage {
            sink(Err(damage(
                offset,
                "damaged_file",
                &error.to_string(),
                bytes,
                line.length,
            )))?;
        } else if line.length > max_record {
            let detail = format!(
                "a line of {} bytes, max_record is {max_record}",
                line.length
            );
            sink(Err(damage(
                offset,
                "record_too_large",
                &detail,
                bytes,
                line.length,
            )))?;
        } else if !bytes.trim_ascii().is_empty() {
            let item = guard(|| json::record(bytes, source)).unwrap_or_else(|panic| {
                Err((
                    "invalid_json",
                    format!("the JSON reader failed on it: {panic}"),
                ))
            });
            sink(
                item.map_err(|(reason, detail)| {
                    damage(offset, reason, &detail, bytes, line.length)
                }),
            )?;
        }
        offset += line.length + u64::from(!line.ended);
        if line.ended {
            return Ok(());
        }
        buffer = line.bytes;
    }
}

/// A whole text file is one record.
fn whole_text(
    stream: &mut dyn BufRead,
    max_record: u64,
    sink: &mut dyn FnMut(Item) -> Result<()>,
) -> Result<()> {
    let mut bytes = Vec::new();
    let read = stream.take(max_record + 1).read_to_end(&mut bytes);
    let length = bytes.len() as u64;
    if let Err(error) = read {
        return sink(Err(damage(
            0,
            "damaged_file",
            &error.to_string(),
            &bytes,
            length,
        )));
    }
    if length > max_record {
        let rest = std::io::copy(stream, &mut std::io::sink()).unwrap_or(0);
        let detail = format!(
            "a file of {} bytes, max_record is {max_record}",
            length + rest
        );
        return sink(Err(damage(
            0,
            "record_too_large",
            &detail,
            &bytes,
            length + rest,
        )));
    }
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        let detail = format!("a NUL byte at {at}: this is no text file");
        return sink(Err(damage(0, "nul_byte", &detail, &bytes, length)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => sink(Ok(Record {
            text,
            id: None,
            url: None,
            date: None,
            meta: None,
        })),
        Err(error) => {
            let detail = error.utf8_error().to_string();
            sink(Err(damage(
                0,
                "invalid_utf8",
                &detail,
                error.as_bytes(),
                length,
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            name: "s".into(),
            path: vec![],
            text: "text".into(),
            id: Some("id".into()),
            url: None,
            domain: "s".into(),
            date: None,
            priority: 0,
            format: None,
            license: None,
        }
    }

    fn items(text: &[u8], max_record: u64) -> Vec<Item> {
        let mut items = Vec::new();
        let mut stream = std::io::Cursor::new(text);
        lines(&mut stream, &source(), max_record, &mut |item| {
            items.push(item);
            Ok(())
        })
        .expect("the sink does not fail");
        items
    }

    #[test]
    fn a_bad_line_costs_itself_only() {
        let items = items(b"{\"text\":\"a\"}\n\xff\xfe\n\n{\"text\":\"b\"}", 1000);
        assert_eq!(items.len(), 3);
        assert_eq!(items[0].as_ref().expect("a record").text, "a");
        let damage = items[1].as_ref().expect_err("damage");
        assert_eq!(
            (damage.reason, damage.offset, damage.raw.as_slice()),
            ("invalid_utf8", 13, &b"\xff\xfe"[..])
        );
        assert_eq!(items[2].as_ref().expect("a record").text, "b");
    }

    #[test]
    fn a_long_line_is_set_aside_whole_and_the_next_is_read() {
        let mut text = vec![b'x'; 100_000];
        text.extend_from_slice(b"\n{\"text\":\"b\"}\n");
        let items = items(&text, 50);
        let damage = items[0].as_ref().expect_err("damage");
        assert_eq!(
            (damage.reason, damage.raw_bytes, damage.raw.len()),
            ("record_too_large", 100_000, 51)
        );
        assert_eq!(items[1].as_ref().expect("a record").text, "b");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_record() {
        assert_eq!(
            items(b"\xef\xbb\xbf{\"text\":\"a\"}", 50)[0]
                .as_ref()
                .expect("a record")
                .text,
            "a"
        );
    }
}
