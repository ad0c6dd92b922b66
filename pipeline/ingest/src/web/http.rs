//! Takes HTTP messages apart, as crawlers stored them in `response` records.
//!
//! Archives hold what servers sent: headers in ISO-8859-1, lines that end with LF, bodies that are
//! not coded as the header says. A body is decoded if its bytes agree with the header, and is kept
//! as it is otherwise. What was unusual becomes a note. The header is parsed by hand, because a
//! strict parser would refuse pages that browsers show.

use std::borrow::Cow;

use memchr::memchr;

use super::encodings::{Coding, Decoded, is_gzip};
use super::headers::{HeaderEnd, Headers, header_end};

/// The most codings of a body that are undone.
const LAYERS: usize = 3;
/// The number of bytes that show if a body is text.
const TEXT_BYTES: usize = 512;

/// The notes of messages.
pub mod note {
    /// The message has no header. The block is the body.
    pub const NO_HEADER: &str = "http_no_header";
    /// The header or the body breaks off. The bytes before that are kept.
    pub const TRUNCATED: &str = "http_truncated";
    /// The header says that the body is chunked, and the body is not.
    pub const NOT_CHUNKED: &str = "http_not_chunked";
    /// The header says that the body is compressed, and the body is not.
    pub const NOT_ENCODED: &str = "http_not_encoded";
    /// The header names a coding that is not known. The body is kept as it is.
    pub const UNKNOWN_ENCODING: &str = "http_unknown_encoding";
    /// The body was compressed more often than the header says.
    pub const ENCODED_TWICE: &str = "http_encoded_twice";
    /// An empty line between the header and the body was removed, as CC-MAIN-2018-34 has it.
    pub const EXTRA_LINE: &str = "http_extra_line";
    /// The header has lines that are no header lines.
    pub const HEADER_LINES: &str = "http_header_lines";
}

/// No coding of the body could be undone.
pub const BAD_ENCODING: &str = "http_bad_encoding";
/// The decoded body is longer than the limit.
pub const TOO_LONG: &str = "html_too_long";

/// An HTTP response.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status code. `None` if there is no header.
    pub status: Option<u16>,
    /// The header.
    pub headers: Headers<'a>,
    /// The body as it was stored, for its digest.
    pub payload: &'a [u8],
    /// The body without chunks and compression.
    pub body: Cow<'a, [u8]>,
    /// What is unusual, as words of [`note`].
    pub notes: Vec<&'static str>,
}

/// The reason and the detail of a body that cannot be read.
pub type Unreadable = (&'static str, String);

/// A response whose body is not decoded yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The status code. `None` if there is no header.
    pub status: Option<u16>,
    /// The header.
    pub headers: Headers<'a>,
    /// The body as it was stored.
    pub payload: &'a [u8],
    /// What is unusual, as words of [`note`].
    pub notes: Vec<&'static str>,
}

/// Parses the status line and the header of the block of a `response` record.
///
/// Interim responses such as `100 Continue` before the final one are skipped (RFC 9110, section
/// 15.2).
pub fn head(block: &[u8]) -> Head<'_> {
    let mut head = message(block);
    while head
        .status
        .is_some_and(|status| (100..200).contains(&status))
        && is_status_line(head.payload)
    {
        head = message(head.payload);
    }
    head
}

/// Parses one message. A line end before it is left out.
fn message(block: &[u8]) -> Head<'_> {
    let rest = block.strip_prefix(b"\r\n");
    let block = rest.filter(|rest| is_status_line(rest)).unwrap_or(block);
    let line_end = memchr(b'\n', block).map_or(block.len(), |end| end + 1);
    let (line, rest) = block.split_at(line_end);
    if !is_status_line(line) {
        return Head {
            status: None,
            headers: Headers::default(),
            payload: block,
            notes: vec![note::NO_HEADER],
        };
    }

    let mut notes = Vec::new();
    let (header, payload) = match rest {
        // A header with no lines.
        [b'\r', b'\n', body @ ..] | [b'\n', body @ ..] => (&rest[..0], body),
        _ => match header_end(rest) {
            HeaderEnd::At(end) => rest.split_at(end),
            HeaderEnd::Open | HeaderEnd::TooLong => {
                notes.push(note::TRUNCATED);
                rest.split_at(body_start(rest))
            }
        },
    };
    let headers = Headers::parse(header);
    if headers.unreadable > 0 {
        notes.push(note::HEADER_LINES);
    }
    Head {
        status: status(line),
        headers,
        payload,
        notes,
    }
}

impl<'a> Head<'a> {
    /// Decodes the body, which then has at most `max` bytes.
    ///
    /// # Errors
    /// If the body cannot be decoded and is no text, or if it is longer than `max`.
    pub fn decode(self, max: usize) -> Result<Response<'a>, Unreadable> {
        let mut notes = self.notes;
        let body = without_extra_line(self.payload, &self.headers, &mut notes);
        let body = unchunked(body, &self.headers, &mut notes);
        let body = decoded(body, &self.headers, max, &mut notes)?;
        Ok(Response {
            status: self.status,
            headers: self.headers,
            payload: self.payload,
            body,
            notes,
        })
    }
}

/// True for the first line of a response: `HTTP/` and a version, or `ICY`.
fn is_status_line(line: &[u8]) -> bool {
    let starts = |name: &[u8]| {
        line.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    starts(b"HTTP/") || starts(b"ICY ")
}

/// The status code of a status line.
fn status(line: &[u8]) -> Option<u16> {
    let mut words = line.split(u8::is_ascii_whitespace).skip(1);
    let word = words.find(|word| !word.is_empty())?;
    let digits = std::str::from_utf8(word.get(..3)?).ok()?;
    digits.parse().ok()
}

/// The start of the body behind a header without an empty line: the first line that begins with
/// `<`, or the end.
fn body_start(bytes: &[u8]) -> usize {
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"<") {
            return start;
        }
        start += line.len();
    }
    start
}

/// The body without an empty line at its start. The line is removed only if the header or the bytes
/// behind the line show that it is no part of the body.
fn without_extra_line<'a>(
    body: &'a [u8],
    headers: &Headers,
    notes: &mut Vec<&'static str>,
) -> &'a [u8] {
    let Some(rest) = body.strip_prefix(b"\r\n") else {
        return body;
    };
    let length = headers.get("Content-Length");
    let is_said = length.is_some_and(|length| length.parse() == Ok(rest.len()));
    let is_chunk = is_chunked(headers) && chunk_size(rest).is_some();
    let is_mark = rest.starts_with(b"\xef\xbb\xbf");
    match is_said || is_chunk || is_mark || is_gzip(rest) {
        true => {
            notes.push(note::EXTRA_LINE);
            rest
        }
        false => body,
    }
}

/// True if the header says that the body is chunked.
fn is_chunked(headers: &Headers) -> bool {
    headers
        .all("Transfer-Encoding")
        .any(|value| value.to_ascii_lowercase().contains("chunked"))
}

/// The body without its chunks.
fn unchunked<'a>(
    body: &'a [u8],
    headers: &Headers,
    notes: &mut Vec<&'static str>,
) -> Cow<'a, [u8]> {
    if !is_chunked(headers) || body.is_empty() {
        return Cow::Borrowed(body);
    }
    if chunk_size(body).is_none() {
        notes.push(note::NOT_CHUNKED);
        return Cow::Borrowed(body);
    }

    let mut out = Vec::new();
    let mut rest = body;
    loop {
        let Some((size, line)) = chunk_size(rest) else {
            notes.push(note::TRUNCATED);
            break;
        };
        rest = &rest[line..];
        if size == 0 {
            break;
        }
        if size > rest.len() {
            out.extend_from_slice(rest);
            notes.push(note::TRUNCATED);
            break;
        }

        out.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
        rest = match rest {
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => after,
            // The size was wrong, and the place of the next chunk is not known.
            _ => {
                notes.push(note::TRUNCATED);
                break;
            }
        };
    }
    Cow::Owned(out)
}

/// The size of a chunk, and the length of the line that says it. A size that does not fit in memory
/// is the largest number.
fn chunk_size(bytes: &[u8]) -> Option<(usize, usize)> {
    const LINE: usize = 4096;
    let end = memchr(b'\n', &bytes[..bytes.len().min(LINE)])?;
    let line = bytes[..end].trim_ascii();
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = digits.count();
    let is_size = matches!(line[digits..].trim_ascii(), [] | [b';', ..]);
    if digits == 0 || !is_size {
        return None;
    }

    let digits = std::str::from_utf8(&line[..digits]).ok()?;
    let size = usize::from_str_radix(digits, 16).unwrap_or(usize::MAX);
    Some((size, end + 1))
}

/// The body without its content codings.
///
/// # Errors
/// As [`Head::decode`].
fn decoded<'a>(
    body: Cow<'a, [u8]>,
    headers: &Headers,
    max: usize,
    notes: &mut Vec<&'static str>,
) -> Result<Cow<'a, [u8]>, Unreadable> {
    let (codings, is_known) = codings(headers);
    if !is_known {
        notes.push(note::UNKNOWN_ENCODING);
    }
    if body.is_empty() {
        return Ok(body);
    }

    let mut body = body;
    let mut layers = 0;
    for coding in codings.iter().rev().take(LAYERS) {
        // Brotli and deflate have no magic, so they would take some texts for data.
        let decoded = match is_text(&body) && is_utf8(&body) {
            true => Decoded::Nothing(String::new()),
            false => coding.decode(&body, max),
        };
        body = match decoded {
            Decoded::Whole(bytes) => Cow::Owned(bytes),
            _ if is_text(&body) => {
                notes.push(note::NOT_ENCODED);
                break;
            }
            Decoded::Part(bytes) => {
                notes.push(note::TRUNCATED);
                Cow::Owned(bytes)
            }
            Decoded::TooLong => return Err(too_long(max)),
            Decoded::Nothing(error) => return Err((BAD_ENCODING, error)),
        };
        layers += 1;
    }
    if codings.len() > LAYERS && !is_text(&body) {
        let detail = format!(
            "{} content codings, at most {LAYERS} are undone",
            codings.len()
        );
        return Err((BAD_ENCODING, detail));
    }

    // A page never begins with the magic of gzip, so another layer was not named.
    while layers < LAYERS && is_gzip(&body) && (layers > 0 || is_said_text(headers)) {
        body = match Coding::Gzip.decode(&body, max) {
            Decoded::Whole(bytes) => Cow::Owned(bytes),
            Decoded::TooLong => return Err(too_long(max)),
            Decoded::Part(_) | Decoded::Nothing(_) => break,
        };
        layers += 1;
        notes.push(note::ENCODED_TWICE);
    }
    if body.len() > max {
        return Err(too_long(max));
    }
    Ok(body)
}

/// The error of a body that is longer than the limit.
fn too_long(max: usize) -> Unreadable {
    (TOO_LONG, format!("the body has more than {max} bytes"))
}

/// The content codings of a message in the order in which they were applied. False if a name is
/// not known.
fn codings(headers: &Headers) -> (Vec<Coding>, bool) {
    let mut codings = Vec::new();
    let mut is_known = true;
    let transfer = headers
        .all("Transfer-Encoding")
        .flat_map(|value| value.split(','))
        .filter_map(|name| Coding::by_name(name.trim()));
    let content = headers
        .all("Content-Encoding")
        .flat_map(|value| value.split(','));

    for name in content.map(str::trim) {
        match Coding::by_name(name) {
            Some(coding) => codings.push(coding),
            None => {
                let is_nothing = ["", "identity", "none"]
                    .iter()
                    .any(|nothing| name.eq_ignore_ascii_case(nothing));
                is_known &= is_nothing;
            }
        }
    }
    codings.extend(transfer);
    (codings, is_known)
}

/// True if the header says that the body is text.
fn is_said_text(headers: &Headers) -> bool {
    headers.get("Content-Type").is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind.starts_with("text/") || kind.contains("html")
    })
}

/// True if the bytes look like a page: they have a `<` and no control characters.
fn is_text(body: &[u8]) -> bool {
    // The escape is that of ISO-2022-JP.
    let is_control =
        |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | 0x1b);
    let head = &body[..body.len().min(TEXT_BYTES)];
    memchr(b'<', head).is_some() && !head.iter().any(is_control)
}

/// True if the first bytes are UTF-8.
fn is_utf8(body: &[u8]) -> bool {
    let head = &body[..body.len().min(TEXT_BYTES)];
    // The last character may be cut.
    std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, ZlibEncoder};

    use super::*;
    use crate::web::cases::{Numbers, gzip, html, http};

    /// The limit of the tests.
    const MAX: usize = 1 << 20;

    /// The body and the notes of a response, or the reason of the failure.
    fn read(block: &[u8]) -> (String, String) {
        match head(block).decode(MAX) {
            Ok(response) => (
                String::from_utf8_lossy(&response.body).into_owned(),
                response.notes.join(" "),
            ),
            Err((reason, _)) => (String::new(), reason.to_owned()),
        }
    }

    /// A body in chunks of 16 bytes.
    fn chunked(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in body.chunks(16) {
            out.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            out.extend(chunk);
            out.extend(b"\r\n");
        }
        out.extend(b"0\r\n\r\n");
        out
    }

    /// A body with the zlib header, and the same body without it.
    fn deflate(body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(body).expect("memory can be written");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(body).expect("memory can be written");
        let [zlib, raw] = [zlib.finish(), raw.finish()].map(|out| out.expect("memory"));
        (zlib, raw)
    }

    #[test]
    fn chunks_are_joined_if_the_body_has_any() {
        let line = "Transfer-Encoding: Chunked\r\n";
        let body = |body: &[u8]| read(&http(line, body));
        let page = html(1);
        let chunks = String::from_utf8(chunked(page.as_bytes())).expect("ASCII");
        let good = (page.clone(), String::new());
        assert_eq!(body(chunks.as_bytes()), good);
        assert_eq!(body(chunks.replace("\r\n", "\n").as_bytes()), good);

        let with_extension = chunks.replacen("10\r\n", "10;name=val\r\n", 1);
        let with_trailer = with_extension.replace("0\r\n\r\n", "0\r\nX-T: 1\r\n\r\n");
        assert_eq!(body(with_trailer.as_bytes()), good);
        let padded = format!("000000{:X}  \r\n{page}\r\n0\r\n\r\n", page.len());
        assert_eq!(body(padded.as_bytes()), good);

        let noted = |note: &str| (page.clone(), note.to_owned());
        assert_eq!(body(page.as_bytes()), noted(note::NOT_CHUNKED));
        let without_end = format!("{:x}\r\n{page}\r\n", page.len());
        assert_eq!(body(without_end.as_bytes()), noted(note::TRUNCATED));
        for size in ["ffff", "ffffffffffffffff1"] {
            let lie = format!("{size}\r\n{page}");
            assert_eq!(body(lie.as_bytes()), noted(note::TRUNCATED), "{size}");
        }
    }

    #[test]
    fn chunks_that_break_off_give_what_was_read() {
        let line = "Transfer-Encoding: chunked\r\n";
        let page = html(1);
        let chunks = chunked(page.as_bytes());
        let (text, notes) = read(&http(line, &chunks[..40]));
        assert_eq!(
            (text.as_str(), notes.as_str()),
            (&page[..30], note::TRUNCATED)
        );

        let lie = String::from_utf8(chunks)
            .expect("ASCII")
            .replacen("10\r\n", "1f\r\n", 1);
        let (text, notes) = read(&http(line, lie.as_bytes()));
        assert!(text.starts_with(&page[..16]), "{text}");
        assert_eq!(notes, note::TRUNCATED);
    }

    #[test]
    fn every_known_coding_gives_the_same_body() {
        let page = html(1);
        let bytes = page.as_bytes();
        let (zlib, raw) = deflate(bytes);
        let twice = gzip(&gzip(bytes));
        let zstd = zstd::bulk::compress(bytes, 3).expect("zstd");
        // Brotli without compression: a header, the text, and an empty last block.
        let length = (bytes.len() - 1) as u32;
        let head = (length << 4 | 1 << 20).to_le_bytes();
        let brotli = [&head[..3], bytes, &[3]].concat();

        for (name, body, notes) in [
            ("gzip", &gzip(bytes), ""),
            ("X-GZIP", &gzip(bytes), ""),
            ("deflate", &zlib, ""),
            ("deflate", &raw, ""),
            ("br", &brotli, ""),
            ("zstd", &zstd, ""),
            ("gzip, gzip", &twice, ""),
            ("gzip", &twice, note::ENCODED_TWICE),
            ("gzip, identity", &gzip(bytes), ""),
            ("gzip", &page.clone().into_bytes(), note::NOT_ENCODED),
            ("br", &page.clone().into_bytes(), note::NOT_ENCODED),
            ("zstd", &page.clone().into_bytes(), note::NOT_ENCODED),
            ("deflate", &page.clone().into_bytes(), note::NOT_ENCODED),
            ("sdch", &page.clone().into_bytes(), note::UNKNOWN_ENCODING),
            ("utf-8", &page.clone().into_bytes(), note::UNKNOWN_ENCODING),
            ("gzip", &[gzip(bytes), b"junk".to_vec()].concat(), ""),
        ] {
            let line = format!("Content-Encoding: {name}\r\n");
            let found = read(&http(&line, body));
            assert_eq!(found, (page.clone(), notes.to_owned()), "{name}");
        }

        let both = "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n";
        assert_eq!(read(&http(both, &chunked(&gzip(bytes)))).0, page);
        assert_eq!(
            read(&http("Transfer-Encoding: gzip\r\n", &gzip(bytes))).0,
            page
        );
        assert_eq!(
            read(&http("", &gzip(bytes))),
            (page.clone(), note::ENCODED_TWICE.to_owned())
        );
        let crawler =
            "X-Crawler-Content-Encoding: gzip\r\nX-Crawler-Transfer-Encoding: chunked\r\n";
        assert_eq!(read(&http(crawler, bytes)), (page, String::new()));
    }

    #[test]
    fn a_body_that_cannot_be_decoded_is_kept_in_part_or_is_damage() {
        let numbers: String = (0..5000).map(|n| format!("<p>{n}")).collect();
        let whole = gzip(numbers.as_bytes());
        let line = "Content-Encoding: gzip\r\n";
        let (text, notes) = read(&http(line, &whole[..whole.len() / 2]));
        assert!(!text.is_empty() && numbers.starts_with(&text));
        assert_eq!(notes, note::TRUNCATED);
        assert_eq!(read(&http(line, b"\x01\x02\x03")).1, BAD_ENCODING);
        let four = gzip(&gzip(&gzip(&gzip(numbers.as_bytes()))));
        let line_of_four = "Content-Encoding: gzip, gzip, gzip, gzip\r\n";
        assert_eq!(read(&http(line_of_four, &four)).1, BAD_ENCODING);
        assert_eq!(
            read(&http("Content-Encoding: zstd\r\n", b"\x01\0<")).1,
            BAD_ENCODING
        );
    }

    #[test]
    fn a_text_is_never_taken_for_compressed_data() {
        for name in ["gzip", "deflate", "br", "zstd"] {
            let line = format!("Content-Encoding: {name}\r\n");
            for byte in (0x20..=0x7e).map(char::from) {
                let text = format!("{byte}{byte} <p>{}", "a text of no use ".repeat(20));
                let found = read(&http(&line, text.as_bytes()));
                assert_eq!(found, (text, note::NOT_ENCODED.to_owned()), "{name} {byte}");
            }
        }
    }

    #[test]
    fn a_body_that_would_be_too_long_is_not_decoded_further() {
        let blanks = vec![b' '; 10 * MAX];
        let zstd = zstd::bulk::compress(&blanks, 3).expect("zstd");
        let (zlib, raw) = deflate(&blanks);
        for (name, body) in [
            ("gzip", gzip(&blanks)),
            ("gzip, gzip", gzip(&gzip(&blanks))),
            ("gzip", gzip(&gzip(&blanks))),
            ("deflate", zlib),
            ("deflate", raw),
            ("zstd", zstd),
            ("identity", blanks),
        ] {
            let line = format!("Content-Encoding: {name}\r\n");
            assert_eq!(read(&http(&line, &body)).1, TOO_LONG, "{name}");
        }
    }

    #[test]
    fn status_lines_and_headers_of_every_kind_are_read() {
        let page = html(1);
        let with = |line: &str| format!("{line}\r\nX: caf\u{e9}\r\n\r\n{page}").into_bytes();
        for line in [
            "HTTP/1.1 200",
            "ICY 200 OK",
            "HTTP/2 200",
            "http/1.0  200 OK",
        ] {
            let block = with(line);
            let response = head(&block).decode(MAX).expect("a response");
            assert_eq!(response.status, Some(200), "{line}");
            assert_eq!(
                (&response.body[..], response.notes.len()),
                (page.as_bytes(), 0)
            );
        }
        let block = with("HTTP/1.1 200 OK");
        let lf: Vec<u8> = block
            .iter()
            .copied()
            .filter(|byte| *byte != b'\r')
            .collect();
        assert_eq!(read(&lf), (page.clone(), String::new()));

        assert_eq!(
            read(page.as_bytes()),
            (page.clone(), note::NO_HEADER.to_owned())
        );
        assert_eq!(
            read(b"HTTP/1.1 204 No\r\n\r\n"),
            (String::new(), String::new())
        );
        let unfinished = b"HTTP/1.1 200 OK\r\nContent-Type: text/html";
        assert_eq!(
            read(unfinished),
            (String::new(), note::TRUNCATED.to_owned())
        );
        let open = format!("HTTP/1.1 200 OK\r\nA: b\r\n{page}");
        assert_eq!(
            read(open.as_bytes()),
            (page.clone(), note::TRUNCATED.to_owned())
        );
        let bare = format!("HTTP/1.1 200 OK\r\n\r\n{page}");
        assert_eq!(read(bare.as_bytes()), (page, String::new()));
    }

    #[test]
    fn interim_responses_and_a_line_end_before_the_message_are_skipped() {
        let page = html(1);
        let message = http("", page.as_bytes());
        for before in [
            "\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        ] {
            let block = [before.as_bytes(), &message].concat();
            assert_eq!(head(&block).status, Some(200), "{before}");
            assert_eq!(read(&block), (page.clone(), String::new()), "{before}");
        }
        assert_eq!(head(b"HTTP/1.1 101 Switching\r\n\r\nx").status, Some(101));
    }

    #[test]
    fn an_extra_line_before_the_body_is_removed_if_it_is_none_of_the_body() {
        let page = html(1);
        let extra = format!("\r\n{page}");
        let length = format!("Content-Length: {}\r\n", page.len());
        let removed = (page.clone(), note::EXTRA_LINE.to_owned());
        assert_eq!(read(&http(&length, extra.as_bytes())), removed);
        assert_eq!(
            read(&http("", extra.as_bytes())),
            (extra.clone(), String::new())
        );
        let packed = [b"\r\n", &gzip(page.as_bytes())[..]].concat();
        assert_eq!(read(&http("Content-Encoding: gzip\r\n", &packed)), removed);
        let chunks = [b"\r\n", &chunked(page.as_bytes())[..]].concat();
        assert_eq!(
            read(&http("Transfer-Encoding: chunked\r\n", &chunks)),
            removed
        );
    }

    #[test]
    fn random_cuts_and_bytes_are_no_panic() {
        let mut numbers = Numbers(3);
        let page = html(1);
        let lines =
            "Transfer-Encoding: chunked\r\nContent-Encoding: gzip, deflate\r\nX: y\r\n z\r\n";
        let (zlib, _) = deflate(page.as_bytes());
        let blocks = [
            http(lines, &chunked(&zlib)),
            http("Content-Encoding: br\r\n", page.as_bytes()),
            http(
                "Content-Encoding: zstd\r\n",
                &zstd::bulk::compress(&zlib, 3).expect("zstd"),
            ),
            http("Transfer-Encoding: chunked\r\n", &chunked(page.as_bytes())),
        ];
        for round in 0..10_000 {
            let mut block = blocks[round % blocks.len()].clone();
            for _ in 0..numbers.below(3) {
                let at = numbers.below(block.len());
                block[at] = numbers.below(256) as u8;
            }
            block.truncate(numbers.below(block.len() + 1));
            let _ = head(&block).decode(MAX);
        }
    }
}
