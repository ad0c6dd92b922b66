//! JSON lines compressed with Zstandard: `.jsonl.zst`, a line for each draw, in the mixture's
//! order.
//!
//! The file is a sequence of Zstandard frames (RFC 8878). Each frame holds whole lines, about 4 MiB
//! of JSON, and a checksum. So a reader can start at any frame, and a damaged frame costs no other
//! frame. The frames depend on the lines alone, so equal rows give equal bytes.
//!
//! `datasets` 5.2 (streaming too), fsspec 2026.9, pandas 3.1, PyArrow 26, DuckDB 2.0 and
//! python-zstandard 0.22 to 0.25 read the whole file. Only `ZstdDecompressor.decompress` of
//! python-zstandard stops after the first frame, because it is made for single frames.
//!
//! Cost: about 80 MB of text per second (one core under load). Memory: twice the size of a frame,
//! or of the longest line if that is larger.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use zstd::bulk::Compressor;

use crate::card::{Facts, Use};
use crate::{Draw, Export, ExportFormat, Folder, MixturePart};

/// A frame ends with the line that brings it to this many bytes of JSON, or beyond.
const FRAME_BYTES: usize = 4 << 20;
/// The compression level, which is Zstandard's default.
const LEVEL: i32 = 3;

/// The export format `jsonl`.
pub(crate) const JSONL: ExportFormat = ExportFormat {
    name: "jsonl",
    doc: "JSON lines in Zstandard",
    has_token_ids: false,
    open: |_| Ok(Box::new(Jsonl)),
};

struct Jsonl;

impl Export for Jsonl {
    fn part(&mut self, part: &dyn MixturePart, folder: &dyn Folder) -> Result<()> {
        folder.put(&format!("{}.jsonl.zst", part.stem()), &mut |out| {
            let mut writer = JsonlWriter::new(out)?;
            part.each_row(&mut |row| writer.write(row))?;
            writer.finish()?;
            Ok(())
        })
    }

    fn finish(&mut self, _: &dyn Folder, card: &mut Facts) -> Result<()> {
        card.uses.push(Use {
            language: "python",
            code: "datasets.load_dataset(\"json\", data_files=\"/path/of/this/folder/part-*.jsonl.zst\", split=\"train\")"
                .to_owned(),
        });
        Ok(())
    }
}

/// A writer of rows as compressed lines.
pub struct JsonlWriter<W> {
    out: W,
    compressor: Compressor<'static>,
    lines: Vec<u8>,
    rows: u64,
}

impl<W: Write> JsonlWriter<W> {
    /// A writer that appends its frames to `out`.
    ///
    /// # Errors
    /// If Zstandard cannot be set up.
    pub fn new(out: W) -> Result<JsonlWriter<W>> {
        let mut compressor = Compressor::new(LEVEL).context("cannot set up Zstandard")?;
        compressor
            .include_checksum(true)
            .context("cannot set up Zstandard")?;

        Ok(JsonlWriter {
            out,
            compressor,
            lines: Vec::new(),
            rows: 0,
        })
    }

    /// Appends a row as a line of JSON.
    ///
    /// # Errors
    /// If the quality of the row is not finite, or if writing fails.
    pub fn write(&mut self, row: &Draw) -> Result<()> {
        // JSON has no NaN, and serde_json would write null in its place.
        ensure!(
            row.q.is_finite(),
            "document {} has quality {}, expected a number",
            row.id,
            row.q
        );

        serde_json::to_writer(&mut self.lines, row).context("cannot write a line")?;
        self.lines.push(b'\n');
        self.rows += 1;

        if self.lines.len() >= FRAME_BYTES {
            self.end_frame()
        } else {
            Ok(())
        }
    }

    /// Writes the collected lines as one frame.
    fn end_frame(&mut self) -> Result<()> {
        let frame = self
            .compressor
            .compress(&self.lines)
            .context("cannot compress lines")?;

        self.lines.clear();
        // The memory of one very long line must not stay in use for all later frames.
        self.lines.shrink_to(2 * FRAME_BYTES);

        self.out.write_all(&frame).context("cannot write lines")
    }

    /// Ends the last frame, and returns `out` and the number of rows.
    ///
    /// # Errors
    /// If writing fails.
    pub fn finish(mut self) -> Result<(W, u64)> {
        // An empty file is not Zstandard, so a file without rows has one empty frame.
        if !self.lines.is_empty() || self.rows == 0 {
            self.end_frame()?;
        }
        self.out.flush().context("cannot write lines")?;
        Ok((self.out, self.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(id: &'a str, text: &'a str) -> Draw<'a> {
        Draw {
            id,
            source: "web",
            domain: "code",
            draw: 0,
            tokens: 3,
            q: 0.5,
            text,
        }
    }

    fn written(rows: &[Draw]) -> Vec<u8> {
        let mut writer = JsonlWriter::new(Vec::new()).expect("set up");
        rows.iter()
            .for_each(|row| writer.write(row).expect("written"));
        let (file, n) = writer.finish().expect("finished");
        assert_eq!(n, rows.len() as u64);
        file
    }

    fn read(file: &[u8]) -> String {
        String::from_utf8(zstd::decode_all(file).expect("Zstandard")).expect("UTF-8")
    }

    /// The number of frames in the file.
    fn frames(file: &[u8]) -> usize {
        let mut n = 0;
        let mut rest = file;
        while !rest.is_empty() {
            rest = &rest[zstd::zstd_safe::find_frame_compressed_size(rest).expect("a frame")..];
            n += 1;
        }
        n
    }

    #[test]
    fn a_line_spelled_out() {
        let row = Draw {
            id: "00ff",
            source: "we\"b",
            domain: "",
            draw: 2,
            tokens: 7,
            q: 1.0,
            text: "a\nb\u{2028}\0é\\",
        };
        let line = "{\"id\":\"00ff\",\"source\":\"we\\\"b\",\"domain\":\"\",\"draw\":2,\"tokens\":7,\"q\":1.0,\
                    \"text\":\"a\\nb\u{2028}\\u0000é\\\\\"}\n";
        assert_eq!(read(&written(&[row])), line);
    }

    #[test]
    fn numbers_are_the_shortest_that_come_back() {
        let cases = [
            (0.1 + 0.2, "0.30000000000000004"),
            (5e-324, "5e-324"),
            (0.36995516654807925, "0.36995516654807925"),
        ];
        for (q, text) in cases {
            let line = read(&written(&[Draw {
                q,
                tokens: u64::MAX,
                ..row("a", "")
            }]));
            assert!(
                line.contains(&format!("\"tokens\":18446744073709551615,\"q\":{text},")),
                "{line}"
            );
        }
    }

    #[test]
    fn frames_hold_whole_lines_and_are_bounded() {
        let long = "word ".repeat(60_000);
        let rows: Vec<Draw> = (0..40).map(|_| row("a", &long)).collect();
        let file = written(&rows);
        assert_eq!(frames(&file), 3);
        assert_eq!(file, written(&rows));
        let text = read(&file);
        assert_eq!(text.lines().count(), 40);
        let first = zstd::zstd_safe::find_frame_compressed_size(&file).expect("a frame");
        let first = read(&file[..first]);
        assert!(first.ends_with('\n') && first.len() < FRAME_BYTES + 310_000);
    }

    #[test]
    fn a_line_longer_than_a_frame_is_a_frame() {
        let long = "é".repeat(FRAME_BYTES);
        let file = written(&[row("a", &long), row("b", "short")]);
        assert_eq!(frames(&file), 2);
        let text = read(&file);
        let texts = text.lines().map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["text"].take()
        });
        assert_eq!(texts.collect::<Vec<_>>(), [long.as_str(), "short"]);
    }

    #[test]
    fn no_rows_are_an_empty_frame() {
        let file = written(&[]);
        assert_eq!((frames(&file), read(&file).as_str()), (1, ""));
    }

    #[test]
    fn a_damaged_frame_is_noticed() {
        let mut file = written(&[row("a", "some text")]);
        let last = file.len() - 1;
        file[last] ^= 1;
        assert!(zstd::decode_all(&file[..]).is_err());
    }

    #[test]
    fn quality_that_is_no_number_is_refused() {
        let mut writer = JsonlWriter::new(Vec::new()).expect("set up");
        let error = writer
            .write(&Draw {
                q: f64::NAN,
                ..row("7a", "")
            })
            .expect_err("refused");
        assert_eq!(
            error.to_string(),
            "document 7a has quality NaN, expected a number"
        );
    }
}
