//! Decoders of the members of a compressed WARC file: gzip members and zstd frames. They take the
//! compressed bytes piece by piece, so the caller knows the exact place at which a member ends.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use memchr::memchr;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::reason;

/// The first bytes of a gzip member that uses deflate, the only method there is.
pub const GZIP: &[u8] = b"\x1f\x8b\x08";
/// The first bytes of a zstd frame.
pub const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// The largest dictionary.
pub const DICTIONARY_BYTES: usize = 16 << 20;
/// The first bytes of the skippable frame that holds the dictionary of a `.warc.zst` file.
pub const DICTIONARY: &[u8] = b"\x5d\x2a\x4d\x18";

/// A kind of members.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A gzip member.
    Gzip,
    /// A zstd frame.
    Zstd,
}

impl Kind {
    /// The reason of a damage in a member.
    pub fn reason(self) -> &'static str {
        match self {
            Kind::Gzip => reason::BAD_GZIP,
            Kind::Zstd => reason::BAD_ZSTD,
        }
    }
}

/// The decoders of both kinds.
pub struct Decoders {
    gzip: Decoder,
    /// The decoder of zstd frames. The dictionary of a file replaces it.
    pub zstd: Decoder,
}

impl Decoders {
    /// Decoders without a dictionary.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn new(max_window: u64) -> std::io::Result<Decoders> {
        Ok(Decoders {
            gzip: Decoder::gzip(),
            zstd: Decoder::zstd(&[], max_window)?,
        })
    }

    /// The decoder of a kind.
    pub fn get(&mut self, kind: Kind) -> &mut Decoder {
        match kind {
            Kind::Gzip => &mut self.gzip,
            Kind::Zstd => &mut self.zstd,
        }
    }
}

/// The number of compressed bytes in which a trial of a gzip member must find text.
const TRIAL: usize = 4096;

/// The progress of a decoder.
pub struct Progress {
    /// Bytes that were taken from the input.
    pub read: usize,
    /// Bytes that were written to the output.
    pub written: usize,
    /// The state after that.
    pub state: State,
}

/// The state of a decoder.
pub enum State {
    /// More data is expected.
    Open,
    /// The compressed data is complete.
    Done,
    /// The data is damaged. The text describes the damage.
    Failed(String),
}

/// A decoder of the compressed data of one member after the other.
pub enum Decoder {
    /// Deflate, with the checksum of the bytes that it gave.
    Gzip {
        /// The decoder of the compressed data.
        inflate: Box<Decompress>,
        /// Checksum and length of the bytes so far.
        crc: Crc,
    },
    /// zstd, which checks itself.
    Zstd(ZstdDecoder<'static>),
}

impl Decoder {
    /// A decoder of gzip members.
    pub fn gzip() -> Decoder {
        Decoder::Gzip {
            inflate: Box::new(Decompress::new(false)),
            crc: Crc::new(),
        }
    }

    /// A decoder of zstd frames, with a dictionary or an empty one, and with windows of at most
    /// `max_window` bytes.
    ///
    /// # Errors
    /// If the dictionary cannot be used.
    pub fn zstd(dictionary: &[u8], max_window: u64) -> std::io::Result<Decoder> {
        let mut decoder = ZstdDecoder::with_dictionary(dictionary)?;
        let log = max_window.max(1).ilog2().clamp(10, 31);
        decoder.set_parameter(DParameter::WindowLogMax(log))?;
        Ok(Decoder::Zstd(decoder))
    }

    /// Prepares for the next member.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn restart(&mut self) -> std::io::Result<()> {
        match self {
            Decoder::Gzip { inflate, crc } => {
                inflate.reset(false);
                crc.reset();
                Ok(())
            }
            Decoder::Zstd(decoder) => decoder.reinit(),
        }
    }

    /// Decodes a piece. A state of [`State::Open`] without progress means that the decoder needs
    /// more input.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Progress {
        match self {
            Decoder::Gzip { inflate, crc } => {
                let (read, written) = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, output, FlushDecompress::None);
                // The counts are right after an error too.
                let written = (inflate.total_out() - written) as usize;
                crc.update(&output[..written]);
                Progress {
                    read: (inflate.total_in() - read) as usize,
                    written,
                    state: match status {
                        Ok(Status::StreamEnd) => State::Done,
                        Ok(_) => State::Open,
                        Err(error) => State::Failed(error.to_string()),
                    },
                }
            }
            Decoder::Zstd(decoder) => {
                let mut input = InBuffer::around(input);
                let mut output = OutBuffer::around(output);
                let status = decoder.run(&mut input, &mut output);
                let (read, written) = (input.pos(), output.pos());
                Progress {
                    read,
                    written,
                    state: match status {
                        Ok(0) if read + written > 0 => State::Done,
                        Ok(_) => State::Open,
                        Err(error) => State::Failed(error.to_string()),
                    },
                }
            }
        }
    }

    /// The trailer that must follow the compressed data. Empty for zstd.
    pub fn trailer(&self) -> Vec<u8> {
        match self {
            Decoder::Gzip { crc, .. } => {
                let parts = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()];
                parts.concat()
            }
            Decoder::Zstd(_) => Vec::new(),
        }
    }

    /// Decodes the first bytes of a member, up to the length of `output`. Returns their number, or
    /// `None` if `input` does not begin with a member.
    pub fn head(&mut self, mut input: &[u8], output: &mut [u8]) -> Option<usize> {
        let mut at = match self {
            // A trial must be cheap, because bytes that mean nothing may begin like many members.
            Decoder::Gzip { .. } => {
                input = &input[..input.len().min(TRIAL)];
                gzip_header(input)?
            }
            Decoder::Zstd(_) => 0,
        };
        self.restart().ok()?;

        let mut filled = 0;
        while filled < output.len() {
            let step = self.step(&input[at..], &mut output[filled..]);
            at += step.read;
            filled += step.written;
            match step.state {
                State::Open if step.read + step.written > 0 => {}
                State::Open | State::Done => break,
                State::Failed(_) => return None,
            }
        }
        Some(filled)
    }
}

/// The length of the header of a gzip member (RFC 1952, section 2.3), or `None` if `bytes` end
/// before the header does.
pub fn gzip_header(bytes: &[u8]) -> Option<usize> {
    const CHECKSUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;

    let flags = *bytes.get(3)?;
    let mut at = 10;
    if flags & EXTRA != 0 {
        let length = bytes.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            at += memchr(0, bytes.get(at..)?)? + 1;
        }
    }
    if flags & CHECKSUM != 0 {
        at += 2;
    }
    (at <= bytes.len()).then_some(at)
}

/// True for the first bytes of a skippable zstd frame.
pub fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// A decoder with the dictionary of a file. The dictionary may be a zstd frame itself.
pub fn dictionary(bytes: &[u8], max_window: u64) -> std::io::Result<Decoder> {
    if !bytes.starts_with(ZSTD) {
        return Decoder::zstd(bytes, max_window);
    }
    let bytes = zstd::bulk::decompress(bytes, DICTIONARY_BYTES)?;
    Decoder::zstd(&bytes, max_window)
}
