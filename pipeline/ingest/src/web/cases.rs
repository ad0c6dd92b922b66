//! Builds WARC files for tests.

use std::io::{BufReader, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::warc::{Limits, Raw, read};

/// The limits of the tests.
pub const LIMITS: Limits = Limits {
    max_record: 1 << 20,
    max_window: 1 << 27,
};

/// The page with a number.
pub fn html(n: usize) -> String {
    let head = format!("<html><head><title>t{n}</title></head>");
    format!("{head}<body><p>Paragraph {n} of the page.</p></body></html>")
}

/// An HTTP response with more header lines and a body.
pub fn http(lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{lines}\r\n");
    [head.as_bytes(), body].concat()
}

/// A record with the lines of its header and a block.
pub fn with_lines(lines: &[&str], block: &[u8]) -> Vec<u8> {
    let head = format!("{}\r\n\r\n", lines.join("\r\n"));
    [head.as_bytes(), block, b"\r\n\r\n"].concat()
}

/// The block of the page with a number.
pub fn block(n: usize) -> Vec<u8> {
    http("", html(n).as_bytes())
}

/// A `response` record of the page with a number, with the value of `Content-Length`.
pub fn sized(n: usize, length: &str) -> Vec<u8> {
    let uri = format!("WARC-Target-URI: https://example.com/{n}");
    let length = format!("Content-Length: {length}");
    let lines = ["WARC/1.0", "WARC-Type: response", &uri, &length];
    with_lines(&lines, &block(n))
}

/// A good `response` record of the page with a number.
pub fn record(n: usize) -> Vec<u8> {
    sized(n, &block(n).len().to_string())
}

/// A gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// A gzip member for each record.
pub fn members(numbers: std::ops::RangeInclusive<usize>) -> Vec<Vec<u8>> {
    numbers.map(|n| gzip(&record(n))).collect()
}

/// The parts of a file in one line. A record is the number of its page with its notes, `?` stands
/// for other blocks, and a damage is `!` with its reason.
pub fn parts(file: &[u8]) -> String {
    parts_in_pieces(file, 1 << 16)
}

/// As [`parts`], from a stream that gives at most `piece` bytes at once.
pub fn parts_in_pieces(file: &[u8], piece: usize) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut stream = BufReader::with_capacity(piece, file);
    read(&mut stream, &LIMITS, &mut |raw| {
        match raw {
            Raw::Record(record) => {
                let page = (1..=9).find(|n| block(*n) == record.block);
                let mut word = page.map_or("?".to_owned(), |n| n.to_string());
                for note in record.notes {
                    word.push('+');
                    word.push_str(note);
                }
                words.push(word);
            }
            Raw::Damage(damage) => words.push(match damage.records {
                1 => format!("!{}", damage.reason),
                records => format!("!{}*{records}", damage.reason),
            }),
            Raw::Padding { bytes } => words.push(format!("0*{bytes}")),
        }
        Ok(())
    })
    .expect("memory can be read");
    words.join(" ")
}

/// Numbers that look random and are the same in each run.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}
