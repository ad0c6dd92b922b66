//! Reads JSON lines: one record per line.

use std::io::BufRead;

use anyhow::Result;
use curate_schemas::stages::documents::{Format, Run, Source};
use curate_store::failure::guard;

use super::{Access, Reader, Sink, json};
use crate::record::damage;

/// JSON lines: one object per line.
pub const JSONL: Reader = Reader {
    format: Format::Jsonl,
    endings: &["jsonl", "ndjson", "json"],
    read: Access::Stream(lines),
};

/// One line as it was read.
struct Line {
    /// The bytes of the line without the newline, up to a limit.
    bytes: Vec<u8>,
    /// The full length of the line in bytes.
    length: u64,
    /// True if the file ended in this line.
    ended: bool,
    /// The damage that ended the file in this line.
    damage: Option<std::io::Error>,
}

/// Reads up to a newline or the end. At most `limit` bytes of the line are kept, so a long line
/// takes no more memory. `reuse` is the buffer of an earlier line.
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

        // The bytes beyond the limit are counted, but not kept.
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

/// Reads every line. An empty line is no record. Damage costs its line, except that damage in the
/// compression ends the file.
fn lines(stream: &mut dyn BufRead, source: &Source, limits: &Run, sink: Sink) -> Result<()> {
    let max_record = limits.max_record;
    let mut offset = 0;
    let mut buffer = Vec::new();
    loop {
        // One byte more than allowed tells a record that is too long from one that just fits.
        let line = read_line(stream, max_record + 1, buffer);
        // A byte order mark at the start of the file is not part of the first record.
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
            // A panic of the JSON library costs its line, too.
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

        // The newline is not in the length of the line.
        offset += line.length + u64::from(!line.ended);
        if line.ended {
            return Ok(());
        }
        buffer = line.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Item;

    fn source() -> Source {
        Source {
            id: Some("id".into()),
            ..Source::default()
        }
    }

    fn items(text: &[u8], max_record: u64) -> Vec<Item> {
        let mut items = Vec::new();
        let mut stream = std::io::Cursor::new(text);
        let limits = Run {
            max_record,
            ..Run::default()
        };
        lines(&mut stream, &source(), &limits, &mut |item| {
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
