//! Decoders of HTTP content codings. The output is limited, so a small body cannot fill the memory.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

/// The largest window of a zstd body, as a power of two. Browsers stop at 8 MiB.
const WINDOW_LOG: u32 = 27;
/// The buffer of the brotli decoder, bytes.
const BROTLI_BUFFER: usize = 4096;

/// The outcome of a decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// All bytes.
    Whole(Vec<u8>),
    /// The bytes before an error or an early end, at least one.
    Part(Vec<u8>),
    /// Nothing could be decoded.
    Nothing(String),
    /// The output would be longer than the limit.
    TooLong,
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` and `x-gzip`.
    Gzip,
    /// `deflate`: zlib, or deflate without a header.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// The coding with this name, in any case.
    pub fn by_name(name: &str) -> Option<Coding> {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "gzip" | "x-gzip" => Some(Coding::Gzip),
            "deflate" | "x-deflate" => Some(Coding::Deflate),
            "br" => Some(Coding::Brotli),
            "zstd" => Some(Coding::Zstd),
            _ => None,
        }
    }

    /// Decodes a body into at most `max` bytes.
    pub fn decode(self, body: &[u8], max: usize) -> Decoded {
        match self {
            Coding::Gzip => gzip(body, max),
            Coding::Deflate if is_zlib(body) => match read(ZlibDecoder::new(body), max) {
                Decoded::Nothing(_) => read(DeflateDecoder::new(body), max),
                decoded => decoded,
            },
            Coding::Deflate => read(DeflateDecoder::new(body), max),
            Coding::Brotli => {
                let decoder = brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER);
                read(decoder, max)
            }
            Coding::Zstd => match zstd::stream::read::Decoder::with_buffer(body) {
                Ok(mut decoder) => match decoder.window_log_max(WINDOW_LOG) {
                    Ok(()) => read(decoder, max),
                    Err(error) => Decoded::Nothing(error.to_string()),
                },
                Err(error) => Decoded::Nothing(error.to_string()),
            },
        }
    }
}

/// True if the bytes begin with a gzip member.
pub fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(b"\x1f\x8b\x08")
}

/// True if the bytes begin with the two bytes of a zlib header (RFC 1950, section 2.2).
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            let check = u16::from_be_bytes([*method, *flags]);
            method & 0x0f == 8 && check.is_multiple_of(31)
        }
        _ => false,
    }
}

/// Decodes gzip members. What follows the last member is left out.
fn gzip(mut body: &[u8], max: usize) -> Decoded {
    let mut out = Vec::new();
    loop {
        let mut decoder = GzDecoder::new(body);
        let decoded = read(&mut decoder, max - out.len());
        let rest = decoder.into_inner();
        match decoded {
            Decoded::Whole(bytes) => out.extend(bytes),
            Decoded::Part(bytes) => {
                out.extend(bytes);
                return Decoded::Part(out);
            }
            Decoded::TooLong => return Decoded::TooLong,
            Decoded::Nothing(error) if out.is_empty() => return Decoded::Nothing(error),
            Decoded::Nothing(_) => return Decoded::Part(out),
        }
        if !is_gzip(rest) {
            return Decoded::Whole(out);
        }
        body = rest;
    }
}

/// Reads a decoder to its end.
fn read(decoder: impl Read, max: usize) -> Decoded {
    let mut out = Vec::new();
    let result = decoder.take(max as u64 + 1).read_to_end(&mut out);
    match result {
        _ if out.len() > max => Decoded::TooLong,
        Ok(_) => Decoded::Whole(out),
        Err(error) if out.is_empty() => Decoded::Nothing(error.to_string()),
        Err(_) => Decoded::Part(out),
    }
}
