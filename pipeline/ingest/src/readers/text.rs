//! Reads text files: one record per file.

use std::io::{BufRead, Read as _};

use anyhow::Result;
use curate_schemas::stages::documents::{Format, Run, Source};

use super::{Access, Reader, Sink};
use crate::record::{Record, Repairs, damage};

/// Plain text: one document per file.
pub const TXT: Reader = Reader {
    format: Format::Txt,
    endings: &["txt", "md", "text"],
    read: Access::Stream(whole_text),
};

/// Reads a file as one record, or as one damage.
fn whole_text(stream: &mut dyn BufRead, _: &Source, limits: &Run, sink: Sink) -> Result<()> {
    let max_record = limits.max_record;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long from one that just fits.
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
        // The rest is counted without being held. Damage in it only makes the count too small.
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

    // A NUL is valid UTF-8, so a binary file of ASCII and NULs would pass for text.
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
            repairs: Repairs::default(),
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
