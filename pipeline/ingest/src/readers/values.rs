//! Reads JSON files: an array of objects, or objects one after another. An object may take one line or
//! several. A file with one object on each line is read line by line, as JSON lines are.
//!
//! Objects are found by their brackets, so a file is never held as a whole. Commas between objects
//! are not required, and neither are brackets around them: what costs no record is no damage. A
//! record that is not JSON costs itself, if its quotes and brackets are in order. A line break in a
//! string is not allowed in JSON, so it shows a lost quote: the record is given up, and the next
//! line that starts with `{` starts the next one.

use std::io::BufRead;

use anyhow::Result;
use curate_schemas::stages::documents::{Format, Run, Source};
use curate_store::interrupt;
use memchr::{memchr, memchr3};

use super::kind::{Shape, shape};
use super::lines::{item, lines};
use super::{Access, MARK, Reader, Sink, is_blank, without_marks};
use crate::record::damage;

/// JSON: an array of objects, or objects one after another.
pub const JSON: Reader = Reader {
    format: Format::Json,
    endings: &["json"],
    read: Access::Stream(read),
};

/// Reads a file by what its first record looks like.
fn read(stream: &mut dyn BufRead, source: &Source, limits: &Run, sink: Sink) -> Result<()> {
    let head = stream.fill_buf().unwrap_or_default();
    match shape(head) {
        Shape::Lines => lines(stream, source, limits, sink),
        _ => values(stream, source, limits, sink),
    }
}

/// Finds the end of a JSON value by its brackets and quotes.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Number of open brackets.
    depth: u64,
    in_string: bool,
    /// True if the byte before was a backslash in a string.
    is_escaped: bool,
    /// True once the first byte was seen.
    has_begun: bool,
    /// True if the value is a number or a word. The first byte that cannot be part of one ends it.
    is_word: bool,
}

/// What [`Scanner::feed`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// The value goes on behind the bytes.
    More,
    /// The value ends before this byte.
    End(usize),
    /// The value has a line break in a string at this byte, so it is not JSON.
    Broken(usize),
}

impl Scanner {
    /// Takes the next bytes of a value. The first byte is not white space.
    pub fn feed(&mut self, bytes: &[u8]) -> Scanned {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string {
                if std::mem::take(&mut self.is_escaped) {
                    at += 1;
                    continue;
                }
                let Some(next) = memchr3(b'"', b'\\', b'\n', &bytes[at..]) else {
                    return Scanned::More;
                };
                at += next;
                match bytes[at] {
                    b'\n' => return Scanned::Broken(at),
                    b'\\' => self.is_escaped = true,
                    _ => self.in_string = false,
                }
                at += 1;
                if self.depth == 0 && !self.in_string {
                    return Scanned::End(at);
                }
                continue;
            }

            let is_first = !std::mem::replace(&mut self.has_begun, true);
            match bytes[at] {
                // Outside of an object, what begins another value or ends the list ends a word.
                b'"' | b'{' | b'[' | b'}' | b']' | b',' if self.is_word => return Scanned::End(at),
                byte if self.is_word && byte.is_ascii_whitespace() => return Scanned::End(at),
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                // A bracket that closes nothing is a value by itself, and no JSON.
                b'}' | b']' if is_first => return Scanned::End(at + 1),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Scanned::End(at + 1);
                    }
                }
                _ => self.is_word = self.depth == 0,
            }
            at += 1;
        }
        Scanned::More
    }
}

/// One value as it was read.
struct Value {
    /// The bytes of the value, up to a limit.
    bytes: Vec<u8>,
    /// The full length of the value in bytes.
    length: u64,
    /// Why the value has no end.
    fault: Option<Fault>,
}

/// Why a value has no end.
enum Fault {
    /// A line break in a string.
    LineBreak,
    /// The end of the file.
    FileEnd,
    /// Damage that ended the file.
    Damaged(std::io::Error),
}

/// The values of a file, one after the other.
pub struct Values<'a> {
    stream: &'a mut dyn BufRead,
    /// The most bytes of a value that are kept.
    limit: u64,
    /// Bytes that were read so far.
    pub offset: u64,
    /// True between the brackets of the array that holds the values.
    in_array: bool,
}

impl<'a> Values<'a> {
    /// Starts at the first byte of a file.
    pub fn new(stream: &'a mut dyn BufRead, limit: u64) -> Values<'a> {
        Values {
            stream,
            limit,
            offset: 0,
            in_array: false,
        }
    }

    /// The next bytes of the file; none at its end.
    fn buffer(&mut self) -> std::io::Result<&[u8]> {
        // Two calls, because the borrow of the first would last until the end of the function.
        while let Err(error) = self.stream.fill_buf() {
            if error.kind() != std::io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.stream.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.stream.consume(bytes);
        self.offset += bytes as u64;
    }

    /// Skips white space, commas and brackets between values. False at the end of the file.
    fn skip_to_value(&mut self) -> std::io::Result<bool> {
        loop {
            let in_array = self.in_array;
            let buffer = self.buffer()?;
            if buffer.is_empty() {
                return Ok(false);
            }

            let is_between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
            let skipped = buffer.iter().take_while(|byte| is_between(byte)).count();
            match buffer.get(skipped).copied() {
                None => self.consume(skipped),
                Some(b'[') if !in_array => {
                    self.in_array = true;
                    self.consume(skipped + 1);
                }
                // A second array may follow in a file that was made of joined files.
                Some(b']') if in_array => {
                    self.in_array = false;
                    self.consume(skipped + 1);
                }
                Some(_) => {
                    self.consume(skipped);
                    return Ok(true);
                }
            }
        }
    }

    /// Reads the value that starts here. `reuse` is the buffer of an earlier value.
    fn value(&mut self, mut reuse: Vec<u8>) -> Value {
        reuse.clear();
        let mut value = Value {
            bytes: reuse,
            length: 0,
            fault: None,
        };
        let mut scanner = Scanner::default();
        loop {
            let limit = self.limit;
            let buffer = match self.buffer() {
                Ok([]) => {
                    // The end of the file may end a number or a word.
                    let fault = (!scanner.is_word).then_some(Fault::FileEnd);
                    return Value { fault, ..value };
                }
                Ok(buffer) => buffer,
                Err(error) => {
                    let fault = Some(Fault::Damaged(error));
                    return Value { fault, ..value };
                }
            };

            let scanned = scanner.feed(buffer);
            let taken = match scanned {
                Scanned::More => buffer.len(),
                Scanned::End(end) | Scanned::Broken(end) => end,
            };
            // The bytes beyond the limit are counted, but not kept.
            let room = limit.saturating_sub(value.bytes.len() as u64);
            let kept = room.min(taken as u64) as usize;
            value.bytes.extend_from_slice(&buffer[..kept]);
            value.length += taken as u64;
            self.consume(taken);

            match scanned {
                Scanned::More => {}
                Scanned::End(_) => return value,
                Scanned::Broken(_) => {
                    value.length += self.skip_to_object();
                    let fault = Some(Fault::LineBreak);
                    return Value { fault, ..value };
                }
            }
        }
    }

    /// Skips to the next line that starts with `{`. Returns the number of bytes skipped. An error is
    /// left to the next reading.
    fn skip_to_object(&mut self) -> u64 {
        let first = self.offset;
        let mut is_line_start = false;
        while let Ok(buffer) = self.buffer() {
            match buffer.first() {
                None => break,
                Some(b'{') if is_line_start => break,
                Some(byte) => {
                    is_line_start = *byte == b'\n' || is_line_start && byte.is_ascii_whitespace();
                }
            }

            // The rest of a line holds nothing that ends the search.
            let rest = match is_line_start {
                true => 1,
                false => memchr(b'\n', buffer).unwrap_or(buffer.len()),
            };
            self.consume(rest);
        }
        self.offset - first
    }

    /// Counts the values that are left. Damage ends the count.
    ///
    /// # Errors
    /// If the run is interrupted.
    pub fn count(mut self) -> Result<u64> {
        // Enough of a value to tell a byte order mark, which stands between values like a word.
        self.limit = MARK.len() as u64;
        let mut n = 0;
        while let Ok(true) = self.skip_to_value() {
            interrupt::check()?;
            let value = self.value(Vec::new());
            n += u64::from(value.bytes != MARK);
            if matches!(value.fault, Some(Fault::FileEnd | Fault::Damaged(_))) {
                break;
            }
        }
        Ok(n)
    }
}

/// Reads every value as a record.
fn values(stream: &mut dyn BufRead, source: &Source, limits: &Run, sink: Sink) -> Result<()> {
    let max_record = limits.max_record;
    // One byte more than allowed tells a record that is too long from one that just fits.
    let mut values = Values::new(stream, max_record + 1);
    let mut buffer = Vec::new();
    let (mut is_marked, mut is_broken) = (false, false);
    loop {
        let found = values.skip_to_value();
        let offset = values.offset;
        match found {
            Ok(true) => {}
            Ok(false) if values.in_array && !is_broken => {
                let detail = "the file ends within its array";
                return sink(Err(damage(offset, "damaged_file", detail, &[], 0)));
            }
            Ok(false) => return Ok(()),
            Err(error) => {
                let detail = error.to_string();
                return sink(Err(damage(offset, "damaged_file", &detail, &[], 0)));
            }
        }

        let value = values.value(buffer);
        let bytes = without_marks(&value.bytes);
        is_marked |= bytes.len() < value.bytes.len();
        let damaged =
            |reason, detail: &str| Err(damage(offset, reason, detail, bytes, value.length));

        match &value.fault {
            Some(Fault::Damaged(error)) => {
                return sink(damaged("damaged_file", &error.to_string()));
            }
            _ if value.length > max_record => {
                let length = value.length;
                let detail = format!("a record of {length} bytes, max_record is {max_record}");
                is_broken |= value.fault.is_some();
                sink(damaged("record_too_large", &detail))?;
            }
            Some(Fault::FileEnd) => {
                return sink(damaged("damaged_file", "the file ends within the record"));
            }
            Some(Fault::LineBreak) => {
                is_broken = true;
                sink(damaged("invalid_json", "a line break within a string"))?;
            }
            // A byte order mark stands before the next value, like a word.
            None if is_blank(bytes) => {}
            None => {
                sink(item(bytes, is_marked, offset, source))?;
                is_marked = false;
            }
        }
        buffer = value.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Item;

    fn items(text: &str, max_record: u64, chunk: usize) -> Vec<Item> {
        let mut items = Vec::new();
        let mut stream = std::io::BufReader::with_capacity(chunk, text.as_bytes());
        let limits = Run {
            max_record,
            ..Run::default()
        };
        values(&mut stream, &Source::default(), &limits, &mut |item| {
            items.push(item);
            Ok(())
        })
        .expect("the sink does not fail");
        items
    }

    /// The texts, and the reasons of damages in angle brackets.
    fn found(text: &str) -> Vec<String> {
        let whole = items(text, 100, 1 << 16);
        for chunk in 1..6 {
            assert_eq!(items(text, 100, chunk), whole, "{chunk} bytes at a time");
        }
        whole
            .into_iter()
            .map(|item| {
                item.map_or_else(|damage| format!("<{}>", damage.reason), |found| found.text)
            })
            .collect()
    }

    #[test]
    fn arrays_and_objects_in_any_layout_are_read() {
        for text in [
            r#"[{"text":"a"},{"text":"b"}]"#,
            "[\n {\n  \"text\": \"a\"\n },\n {\n  \"text\": \"b\"\n }\n]\n",
            "{\n\"text\": \"a\"\n}\n{\n\"text\": \"b\"\n}",
            "{\"text\": \"a\"}\r{\"text\": \"b\"}",
            "{\"text\": \"a\"}{\"text\": \"b\"}",
            "\u{feff}[{\"text\": \"a\"}]\n\u{feff}[{\"text\": \"b\"}]",
            "[{\"text\": \"a\"},\n{\"text\": \"b\"},\n]",
        ] {
            assert_eq!(found(text), ["a", "b"], "{text}");
        }
        assert_eq!(found("[]"), [""; 0]);
        assert_eq!(found(" \u{feff}\n"), [""; 0]);
        let tricky = r#"[{"text":"]}\"\\\\","x":[["}"],{"y":"{"}]},{"text":"b"}]"#;
        assert_eq!(found(tricky), ["]}\"\\\\", "b"]);
    }

    #[test]
    fn a_damaged_element_costs_itself_only() {
        assert_eq!(
            found(r#"[{"text":"a"}, {"text":}, 7, "x", null, ["y"], {"text":"b"}]"#),
            [
                "a",
                "<invalid_json>",
                "<invalid_json>",
                "<invalid_json>",
                "<invalid_json>",
                "<invalid_json>",
                "b"
            ]
        );
        assert_eq!(
            found("[{\"text\":\"a\"},\n{\"text\":\"cut,\n {\"text\":\"b\"}\n]"),
            ["a", "<invalid_json>", "b"]
        );
        let long = format!(
            r#"[{{"text":"a"}},{{"text":"{}"}},{{"text":"b"}}]"#,
            "x".repeat(200)
        );
        assert_eq!(found(&long), ["a", "<record_too_large>", "b"]);
    }

    #[test]
    fn a_cut_file_says_so() {
        assert_eq!(
            found(r#"[{"text":"a"},{"text":"b"#),
            ["a", "<damaged_file>"]
        );
        assert_eq!(found(r#"[{"text":"a"},"#), ["a", "<damaged_file>"]);
        assert_eq!(
            found(r#"{"text":"a"} ]}"#),
            ["a", "<invalid_json>", "<invalid_json>"]
        );
    }
}
