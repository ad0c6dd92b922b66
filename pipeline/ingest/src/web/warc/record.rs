//! Finds the records in a piece of decoded bytes. The functions know no files: they get the bytes
//! that are there and [`Ending`], which says what comes behind them.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::{note, reason};
use crate::web::headers::{HEADER_BYTES, HEADER_LINES, HeaderEnd, Headers, header_end};

/// The beginning of each record.
const MAGIC: &[u8] = b"WARC/";
/// Line ends and padding after a record are skipped. More than this number of them is padding,
/// whatever follows.
const BLANKS: usize = 4096;

/// What comes behind the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// More bytes will come.
    More,
    /// A member ends. Its last record may go on in the next member.
    Member,
    /// A member ends, and its last record ends with it.
    Last,
    /// A file without compression ends.
    File,
    /// The bytes break off, because the member is damaged. Only a record that is followed by
    /// another one is complete.
    Cut,
}

/// What was found at the beginning of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A record.
    Record(Found<'a>),
    /// Blank bytes or padding, of this length.
    Blank(usize),
    /// No decision is possible before this number of bytes is there.
    More(usize),
    /// The bytes are over, or their last record goes on in the next member. It is not complete
    /// before this number of bytes is there.
    Rest(usize),
    /// The beginning is unreadable up to the next record.
    Bad(&'static str, String),
}

/// A record in the bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The first line.
    pub version: &'a [u8],
    /// The header.
    pub headers: Headers<'a>,
    /// The place of the block.
    pub block: Range<usize>,
    /// The end of the record, at or behind the end of the block.
    pub end: usize,
    /// What is wrong with the length.
    pub note: Option<&'static str>,
}

/// A search for the next record.
#[derive(Debug, PartialEq, Eq)]
pub enum Search {
    /// A record begins here.
    At(usize),
    /// A record may begin here, if the bytes to come say so.
    Maybe(usize),
    /// No record begins in the bytes.
    Nowhere,
}

/// Looks at the beginning of the bytes.
pub fn next(bytes: &[u8], ending: Ending, max_record: u64) -> Step<'_> {
    let blanks = blanks(bytes);
    if blanks > 0 {
        return Step::Blank(blanks);
    }
    if bytes.is_empty() {
        return match ending {
            Ending::More => Step::More(1),
            _ => Step::Rest(1),
        };
    }

    match is_magic(bytes) {
        Some(true) => {}
        None if ending == Ending::More => return Step::More(MAGIC.len() + 1),
        None if ending == Ending::Member || ending == Ending::Cut => return Step::Rest(1),
        _ => return Step::Bad(reason::GARBAGE, "the bytes are no WARC record".to_owned()),
    }
    let header = match header_end(bytes) {
        HeaderEnd::At(end) => end,
        HeaderEnd::TooLong => {
            let detail = format!("more than {HEADER_BYTES} bytes or {HEADER_LINES} lines");
            return Step::Bad(reason::HEADER_TOO_LONG, detail);
        }
        HeaderEnd::Open => return open_header(bytes, ending),
    };

    let line = memchr(b'\n', bytes).expect("a header has a line") + 1;
    let headers = Headers::parse(&bytes[line..header]);
    let lengths = match lengths(&headers, max_record) {
        Ok(lengths) => lengths,
        Err((reason, detail)) => return Step::Bad(reason, detail),
    };
    match block(bytes, header, &lengths, ending, max_record) {
        Block::Fits(block, end, note) => Step::Record(Found {
            version: bytes[..line].trim_ascii(),
            headers,
            block,
            end,
            note,
        }),
        Block::More(length) => Step::More(length),
        Block::Rest(length) => Step::Rest(length),
        Block::Bad(reason, detail) => Step::Bad(reason, detail),
    }
}

/// The answer for a header without an end.
fn open_header(bytes: &[u8], ending: Ending) -> Step<'_> {
    match ending {
        Ending::More => Step::More(bytes.len() + 4096),
        Ending::Member | Ending::Cut => Step::Rest(1),
        Ending::Last => Step::Bad(
            reason::BAD_HEADER,
            "the member ends in the header".to_owned(),
        ),
        Ending::File => Step::Bad(reason::TRUNCATED, "the file ends in a header".to_owned()),
    }
}

/// The lengths that a header says, at least one.
///
/// # Errors
/// If no length is a number, or if all are larger than `max_record`.
fn lengths(headers: &Headers, max_record: u64) -> Result<Vec<u64>, (&'static str, String)> {
    let mut lengths = Vec::new();
    let mut too_long = None;
    for value in headers.all("Content-Length") {
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse::<u64>() {
            Ok(length) if is_number && length <= max_record => lengths.push(length),
            Ok(length) if is_number => too_long = Some(length),
            _ => {}
        }
    }

    if !lengths.is_empty() {
        return Ok(lengths);
    }
    Err(match (too_long, headers.get("Content-Length")) {
        (Some(length), _) => (
            reason::TOO_LONG,
            format!("a record of {length} bytes, max_record is {max_record}"),
        ),
        (None, Some(value)) => (
            reason::BAD_LENGTH,
            format!("the Content-Length is \"{value}\""),
        ),
        (None, None) => (reason::BAD_LENGTH, "no Content-Length".to_owned()),
    })
}

/// Where a block ends.
enum Block {
    /// The block, the end of the record, and a note.
    Fits(Range<usize>, usize, Option<&'static str>),
    /// As [`Step::More`].
    More(usize),
    /// As [`Step::Rest`].
    Rest(usize),
    /// As [`Step::Bad`].
    Bad(&'static str, String),
}

/// Finds the end of the block that begins at `start`. A length is right if a record or the end
/// follows; else the block ends before the next record or with the member.
fn block(bytes: &[u8], start: usize, lengths: &[u64], ending: Ending, max_record: u64) -> Block {
    let is_open = ending == Ending::More;
    let mut longest = start;
    for length in lengths {
        // `max_record` limits the length, so the sum does not overflow.
        let end = start + *length as usize;
        longest = longest.max(end);
        match follows(bytes, end) {
            Next::Record => return Block::Fits(start..end, end, None),
            Next::End if ending != Ending::Cut && !is_open => {
                return Block::Fits(start..end, end, None);
            }
            Next::Other => {}
            Next::End if is_open => return Block::More(bytes.len().max(end) + MAGIC.len() + 1),
            Next::Missing if is_open => return Block::More(end + MAGIC.len() + 5),
            Next::End | Next::Missing => {}
        }
    }

    let is_short = longest > bytes.len();
    let note = |end: usize| match longest > end {
        true => Some(note::LENGTH_LONG),
        false => Some(note::LENGTH_SHORT),
    };
    match next_record(bytes, start, !is_open) {
        Search::At(next) => {
            let end = without_line_ends(bytes, start, next);
            Block::Fits(start..end, next, note(end))
        }
        _ if is_open && (bytes.len() - start) as u64 > max_record => Block::Bad(
            reason::TOO_LONG,
            format!("more than max_record, {max_record} bytes, before the next record"),
        ),
        // Twice as many bytes at each attempt keep the work linear.
        _ if is_open => Block::More((bytes.len() * 2).min(start + max_record as usize + 1)),
        _ if ending == Ending::Cut || (ending == Ending::Member && is_short) => {
            Block::Rest(longest)
        }
        _ if ending == Ending::File && is_short => Block::Bad(
            reason::TRUNCATED,
            format!(
                "{} bytes of {}, then the file ends",
                bytes.len() - start,
                longest - start
            ),
        ),
        _ => {
            let end = without_line_ends(bytes, start, bytes.len());
            Block::Fits(start..end, bytes.len(), note(end))
        }
    }
}

/// What follows a block.
enum Next {
    /// Another record.
    Record,
    /// The end of the bytes.
    End,
    /// Something else.
    Other,
    /// The bytes end within the block.
    Missing,
}

/// Looks behind a block that ends at `end`.
fn follows(bytes: &[u8], end: usize) -> Next {
    let Some(rest) = bytes.get(end..) else {
        return Next::Missing;
    };
    let blanks = blanks(rest);
    match is_magic(&rest[blanks..]) {
        Some(true) => Next::Record,
        _ if blanks >= BLANKS => Next::Record,
        None => Next::End,
        Some(false) => Next::Other,
    }
}

/// The number of line ends, zeros and byte order marks at the beginning, up to [`BLANKS`].
fn blanks(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < BLANKS {
        match &bytes[at..] {
            [b'\r' | b'\n' | 0, ..] => at += 1,
            [0xef, 0xbb, 0xbf, ..] => at += 3,
            _ => break,
        }
    }
    at
}

/// True if the bytes begin with `WARC/` and a digit in any case. `None` if they are too few.
fn is_magic(bytes: &[u8]) -> Option<bool> {
    let length = bytes.len().min(MAGIC.len());
    if !bytes[..length].eq_ignore_ascii_case(&MAGIC[..length]) {
        return Some(false);
    }
    bytes.get(MAGIC.len()).map(u8::is_ascii_digit)
}

/// True if the bytes begin with a record, blank bytes aside.
pub fn begins_record(bytes: &[u8]) -> bool {
    is_magic(&bytes[blanks(bytes)..]) == Some(true)
}

/// Finds a line `WARC/1.x` behind `from`, in whose header stands `WARC-Type`.
pub fn next_record(bytes: &[u8], from: usize, is_end: bool) -> Search {
    let from = from.min(bytes.len());
    for found in memmem::find_iter(&bytes[from..], MAGIC) {
        let at = from + found;
        if at == 0 || bytes[at - 1] != b'\n' {
            continue;
        }
        match is_record(&bytes[at..]) {
            Some(true) => return Search::At(at),
            None if !is_end => return Search::Maybe(at),
            _ => {}
        }
    }
    Search::Nowhere
}

/// The number of records in the bytes, which begin with a record or with damage.
pub fn count(bytes: &[u8]) -> u64 {
    let mut records = u64::from(!bytes.is_empty());
    let mut at = 1;
    while let Search::At(next) = next_record(bytes, at, true) {
        records += 1;
        at = next + 1;
    }
    records
}

/// True if the bytes begin with a version line and header lines of which one is `WARC-Type`. `None`
/// if the bytes end before that is clear.
fn is_record(bytes: &[u8]) -> Option<bool> {
    let window = &bytes[..bytes.len().min(HEADER_BYTES)];
    let mut start = memchr(b'\n', &window[..window.len().min(32)]);
    let Some(end) = start else {
        return (window.len() >= 32).then_some(false);
    };
    let version = window[MAGIC.len()..end].trim_ascii_end();
    let is_version = version.first().is_some_and(u8::is_ascii_digit)
        && version
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.');
    if !is_version {
        return Some(false);
    }

    while let Some(at) = start {
        let line = &window[at + 1..];
        let Some(length) = memchr(b'\n', line) else {
            return (window.len() == HEADER_BYTES).then_some(false);
        };
        let line = &line[..length];
        let name = memchr(b':', line).map(|colon| line[..colon].trim_ascii());
        match name {
            Some(name) if name.eq_ignore_ascii_case(b"WARC-Type") => return Some(true),
            Some(_) => {}
            None if line.starts_with(b" ") || line.starts_with(b"\t") => {}
            None => return Some(false),
        }
        start = Some(at + 1 + length);
    }
    None
}

/// The end of a block that is followed by up to two line ends.
fn without_line_ends(bytes: &[u8], start: usize, mut end: usize) -> usize {
    for _ in 0..2 {
        if end > start && bytes[end - 1] == b'\n' {
            end -= 1;
            if end > start && bytes[end - 1] == b'\r' {
                end -= 1;
            }
        }
    }
    end
}
