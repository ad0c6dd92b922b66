//! The header lines that WARC records and HTTP messages share: `Name: value` lines, values that are
//! folded over several lines, and an empty line as the end.
//!
//! The parser refuses nothing, because archives keep what servers sent. A line without a colon is
//! left out and counted.

use std::borrow::Cow;

use memchr::memchr;

/// The most bytes of a header.
pub const HEADER_BYTES: usize = 64 << 10;
/// The most lines of a header.
pub const HEADER_LINES: usize = 1000;

/// The lines of a header in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    lines: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Number of lines that are no header lines.
    pub unreadable: usize,
}

impl<'a> Headers<'a> {
    /// Parses the lines of a header, without the first line of the message.
    pub fn parse(bytes: &'a [u8]) -> Headers<'a> {
        let mut headers = Headers::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let trimmed = line.trim_ascii();
            if trimmed.is_empty() {
                continue;
            }

            // A line that begins with a blank continues the value before it.
            if line[0] == b' ' || line[0] == b'\t' {
                match headers.lines.last_mut() {
                    Some((_, value)) => {
                        let value = value.to_mut();
                        value.push(' ');
                        value.push_str(&text(trimmed));
                    }
                    None => headers.unreadable += 1,
                }
                continue;
            }
            match memchr(b':', line) {
                Some(colon) if colon > 0 => {
                    let name = text(line[..colon].trim_ascii());
                    headers
                        .lines
                        .push((name, text(line[colon + 1..].trim_ascii())));
                }
                _ => headers.unreadable += 1,
            }
        }
        headers
    }

    /// The same header, without a reference to the bytes that it was parsed from.
    pub fn into_owned(self) -> Headers<'static> {
        let lines = self.lines.into_iter();
        Headers {
            lines: lines
                .map(|(name, value)| (name.into_owned().into(), value.into_owned().into()))
                .collect(),
            unreadable: self.unreadable,
        }
    }

    /// The value of the first line with this name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.lines
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }

    /// The values of all lines with this name, in any case.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.lines
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }
}

/// The bytes as UTF-8, or else as ISO-8859-1.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Where a header ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEnd {
    /// The header, with its empty line, takes this number of bytes.
    At(usize),
    /// The bytes end before the header does.
    Open,
    /// The header has more than [`HEADER_BYTES`] or [`HEADER_LINES`].
    TooLong,
}

/// Finds the empty line that ends a header.
pub fn header_end(bytes: &[u8]) -> HeaderEnd {
    let window = &bytes[..bytes.len().min(HEADER_BYTES)];
    let mut start = 0;
    for _ in 0..=HEADER_LINES {
        let Some(length) = memchr(b'\n', &window[start..]) else {
            return match bytes.len() >= HEADER_BYTES {
                true => HeaderEnd::TooLong,
                false => HeaderEnd::Open,
            };
        };

        let line = &window[start..start + length];
        start += length + 1;
        if line.is_empty() || line == b"\r" {
            return HeaderEnd::At(start);
        }
    }
    HeaderEnd::TooLong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_folded_values_are_joined() {
        let headers = Headers::parse(b"A: 1\r\nb:  2 \r\n\tand 3\r\nno colon\r\na: 4\r\n: x\r\n");
        assert_eq!(headers.get("a"), Some("1"));
        assert_eq!(headers.get("B"), Some("2 and 3"));
        assert_eq!(headers.all("A").collect::<Vec<_>>(), ["1", "4"]);
        assert_eq!(headers.unreadable, 2);
        assert_eq!(headers.get("c"), None);
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_read_as_iso_8859_1() {
        let headers = Headers::parse(b"X: caf\xe9\r\nY: caf\xc3\xa9\r\n");
        assert_eq!(headers.get("x"), Some("café"));
        assert_eq!(headers.get("y"), Some("café"));
    }

    #[test]
    fn the_end_of_a_header_is_its_empty_line() {
        assert_eq!(header_end(b"a\r\nb\r\n\r\nc"), HeaderEnd::At(8));
        assert_eq!(header_end(b"a\nb\n\nc"), HeaderEnd::At(5));
        assert_eq!(header_end(b"a\r\nb\r\n"), HeaderEnd::Open);
        assert_eq!(header_end(&[b'a'; HEADER_BYTES]), HeaderEnd::TooLong);
        assert_eq!(header_end(&b"a\n".repeat(1001)), HeaderEnd::TooLong);
        assert_eq!(header_end(&[b'a'; HEADER_BYTES - 1]), HeaderEnd::Open);
    }
}
