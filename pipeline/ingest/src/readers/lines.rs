//! Reads JSON lines: one record per line.

use std::io::BufRead;

use anyhow::Result;
use curate_schemas::stages::documents::{Format, Run, Source};
use curate_store::failure::guard;

use super::kind::start;
use super::values::{Scanned, Scanner};
use super::{Access, Reader, Sink, is_blank, json, without_marks};
use crate::record::{Item, damage};

/// JSON lines: one object per line.
pub const JSONL: Reader = Reader {
    format: Format::Jsonl,
    endings: &["jsonl", "ndjson"],
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

/// The item of one JSON object, which starts at the byte `offset` of its file. `is_marked` is true if
/// a byte order mark was removed before it.
pub fn item(bytes: &[u8], is_marked: bool, offset: u64, source: &Source) -> Item {
    // A panic of the JSON library costs its record, too.
    let found = guard(|| json::record(bytes, source)).unwrap_or_else(|panic| {
        let detail = format!("the JSON reader failed on it: {panic}");
        Err(("invalid_json", detail))
    });

    let length = bytes.len() as u64;
    let mut record = found.map_err(|(reason, detail)| {
        match joined(bytes).filter(|_| reason == "invalid_json") {
            Some(n) => {
                let detail =
                    format!("{n} JSON objects on one line; a newline is missing between them");
                damage(offset, reason, &detail, bytes, length).of_records(n)
            }
            None => damage(offset, reason, &detail, bytes, length),
        }
    })?;
    record.repairs.byte_order_mark = is_marked;
    Ok(record)
}

/// The number of objects on a line of several whole objects, as in files that were joined without a
/// newline at their ends. `None` for any other line.
fn joined(line: &[u8]) -> Option<u64> {
    let mut rest = start(line);
    let mut n = 0;
    while !is_blank(rest) {
        if rest.first() != Some(&b'{') {
            return None;
        }
        let Scanned::End(end) = Scanner::default().feed(rest) else {
            return None;
        };
        n += 1;
        rest = start(&rest[end..]);
    }
    (n > 1).then_some(n)
}

/// Reads every line. A line of white space is no record. Damage costs its line, except that damage
/// in the compression ends the file.
pub fn lines(stream: &mut dyn BufRead, source: &Source, limits: &Run, sink: Sink) -> Result<()> {
    let max_record = limits.max_record;
    let mut offset = 0;
    let mut buffer = Vec::new();
    loop {
        // One byte more than allowed tells a record that is too long from one that just fits.
        let line = read_line(stream, max_record + 1, buffer);
        // A byte order mark is not part of a record. A file that was made of joined files has more
        // than one.
        let bytes = without_marks(&line.bytes);
        let is_marked = bytes.len() < line.bytes.len();

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
        } else if !is_blank(bytes) {
            sink(item(bytes, is_marked, offset, source))?;
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
    fn objects_on_one_line_are_counted() {
        let a = "{\"text\":\"}{\"}";
        let text = format!("{a}{a} \u{feff}{a}\r\n{a}x\n{a}{{\"text\n{a}\n");
        let items = items(text.as_bytes(), 1000);
        let damages: Vec<_> = items
            .iter()
            .filter_map(|item| item.as_ref().err())
            .collect();
        assert_eq!(
            damages[0].detail,
            "3 JSON objects on one line; a newline is missing between them"
        );
        let records: Vec<u64> = damages.iter().map(|damage| damage.records).collect();
        assert_eq!((items.len(), records), (4, vec![3, 1, 1]));
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
    fn a_byte_order_mark_is_no_part_of_a_record() {
        let joined =
            "\u{feff}{\"text\":\"a\"}\n{\"text\":\"b\"}\n\u{feff}{\"text\":\"c\"}\n\u{feff}";
        let found: Vec<(String, bool)> = items(joined.as_bytes(), 50)
            .into_iter()
            .map(|item| item.expect("a record"))
            .map(|record| (record.text, record.repairs.byte_order_mark))
            .collect();
        let expected = [("a", true), ("b", false), ("c", true)];
        assert_eq!(found, expected.map(|(text, is)| (text.to_owned(), is)));
    }

    #[test]
    fn lines_of_white_space_of_any_kind_are_no_records() {
        let text = "\u{a0}\n\u{3000}\t\r\n{\"text\":\"a\"}\r\n\u{1a}";
        assert_eq!(items(text.as_bytes(), 50).len(), 1);
    }
}
