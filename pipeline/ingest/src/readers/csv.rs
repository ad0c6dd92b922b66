//! Reads CSV and TSV: a header line with the names of the columns, and one record per row.
//!
//! Quotes are those of RFC 4180: a quoted field may hold delimiters, line breaks and doubled quotes.
//! Rows end with CR LF, LF or CR. The state machine is that of `csv-core`, which takes rows of any
//! length in pieces, so that a row takes no more memory than `run.max_record`, twice. It accepts any
//! bytes, so a quote within a quoted field and a quote that is never closed are found here.
//!
//! A field is a string or, if it is empty, null. An id or URL of white space is null, too. In `meta`
//! a field that is a number in JSON is a number, as it is written, because terms and vetoes read
//! numbers.
//!
//! In joined files the header line comes again. With the names in another order or case, the line
//! ends the reading, because the columns of the rows behind it may be others.

use std::collections::BTreeSet;
use std::io::BufRead;

use anyhow::Result;
use csv_core::{ReadRecordResult, ReaderBuilder};
use curate_schemas::stages::documents::{Format, Run, Source};
use curate_store::interrupt;

use super::{Access, MARK, Reader, Sink, is_blank};
use crate::date;
use crate::record::{Damage, Item, RAW_KEPT, Record, Repairs, damage};

/// Comma-separated values.
pub const CSV: Reader = Reader {
    format: Format::Csv,
    endings: &["csv"],
    read: Access::Stream(|stream, source, limits, sink| read(stream, b',', source, limits, sink)),
};

/// Tab-separated values.
pub const TSV: Reader = Reader {
    format: Format::Tsv,
    endings: &["tsv", "tab"],
    read: Access::Stream(|stream, source, limits, sink| read(stream, b'\t', source, limits, sink)),
};

/// The most fields of a row that are told apart.
const MAX_FIELDS: usize = 1 << 16;

/// The reason and the detail of a damage.
type Damaged = (&'static str, String);

/// One row as it was read.
#[derive(Default)]
struct Row {
    /// The fields, one behind the other, without quotes.
    fields: Vec<u8>,
    /// Number of bytes of `fields` that are used.
    length: usize,
    /// Where each field ends in `fields`.
    ends: Vec<usize>,
    /// Number of fields, at most [`MAX_FIELDS`].
    n: usize,
    /// The row as it is in the file, or its beginning if it is too large.
    raw: Vec<u8>,
    /// Length of the row in the file, bytes.
    raw_bytes: u64,
    /// Number of lines that the row takes.
    lines: u64,
    /// Place of its first byte in the file.
    offset: u64,
    /// Number of its first line in the file, from 1.
    line: u64,
    /// True if a byte order mark was removed before it.
    is_marked: bool,
    /// True if the row has more bytes or more fields than allowed. Its fields are lost then.
    is_too_large: bool,
    /// True if the file ends in a field whose quote is not closed.
    is_unclosed: bool,
}

impl Row {
    /// The fields.
    ///
    /// # Errors
    /// If a field is not UTF-8.
    fn texts(&self) -> Result<Vec<&str>, std::str::Utf8Error> {
        let ends = &self.ends[..self.n];
        let starts = std::iter::once(&0).chain(ends);
        starts
            .zip(ends)
            .map(|(start, end)| std::str::from_utf8(&self.fields[*start..*end]))
            .collect()
    }

    /// The damage of the row.
    fn damaged(&self, reason: &'static str, detail: &str) -> Damage {
        damage(self.offset, reason, detail, &self.raw, self.raw_bytes)
    }
}

/// The rows of a file, one after the other.
struct Rows<'a> {
    stream: &'a mut dyn BufRead,
    core: csv_core::Reader,
    /// The most bytes of a row.
    max_record: u64,
    /// Bytes that were read so far.
    offset: u64,
    /// Number of the line at `offset`, from 1.
    line: u64,
}

impl Rows<'_> {
    /// Reads the next row that is not empty. False at the end of the file.
    fn next(&mut self, row: &mut Row) -> std::io::Result<bool> {
        (row.length, row.n, row.raw_bytes) = (0, 0, 0);
        (row.is_too_large, row.is_unclosed) = (false, false);
        row.raw.clear();
        self.start(row)?;

        // The last byte that was read, to tell a row that ends in a line break from others.
        let mut last = 0;
        loop {
            let buffer = match self.stream.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };

            // A field is never longer than its bytes in the file.
            let is_end = buffer.is_empty();
            row.fields.resize(row.length + buffer.len(), 0);
            row.ends.resize(row.n + buffer.len().min(MAX_FIELDS) + 1, 0);
            let (result, taken, written, ended) = self.core.read_record(
                buffer,
                &mut row.fields[row.length..],
                &mut row.ends[row.n..],
            );

            let bytes = &buffer[..taken];
            last = bytes.last().copied().unwrap_or(last);
            row.raw.extend_from_slice(bytes);
            row.raw_bytes += taken as u64;
            self.offset += taken as u64;
            self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
            self.stream.consume(taken);

            // The rest of a row that is too large is read and not kept.
            (row.length, row.n) = (row.length + written, row.n + ended);
            row.is_too_large |= row.raw_bytes > self.max_record || row.n > MAX_FIELDS;
            if row.is_too_large {
                (row.length, row.n) = (0, 0);
                row.raw.truncate(RAW_KEPT);
            }

            match result {
                ReadRecordResult::Record => {
                    // A line break ends a row, unless it is inside of quotes.
                    let has_break = last == b'\n';
                    row.is_unclosed = is_end && has_break;
                    row.lines = self.line - row.line + u64::from(!has_break);
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::InputEmpty
                | ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }

    /// Skips line breaks and byte order marks before a row.
    fn start(&mut self, row: &mut Row) -> std::io::Result<()> {
        row.is_marked = false;
        loop {
            let buffer = match self.stream.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };

            let taken = match buffer {
                [b'\n', ..] => {
                    self.line += 1;
                    1
                }
                [b'\r', ..] => 1,
                _ if buffer.starts_with(MARK) => {
                    row.is_marked = true;
                    MARK.len()
                }
                _ => {
                    (row.offset, row.line) = (self.offset, self.line);
                    return Ok(());
                }
            };
            self.stream.consume(taken);
            self.offset += taken as u64;
        }
    }
}

/// The columns of a table.
struct Header<'a> {
    source: &'a Source,
    names: Vec<String>,
    delimiter: u8,
    max_record: u64,
    /// `None` if the source names no text field.
    text: Option<usize>,
    id: Option<usize>,
    url: Option<usize>,
    date: Option<usize>,
}

impl<'a> Header<'a> {
    /// Reads the header line.
    ///
    /// # Errors
    /// If the line is too long or not UTF-8, if a column has no name or the name of another column,
    /// or if no column has the name of the text field.
    fn new(row: &Row, delimiter: u8, source: &'a Source, max_record: u64) -> Result<Self, Damaged> {
        if row.is_too_large {
            let bytes = row.raw_bytes;
            let detail = format!("a header line of {bytes} bytes, max_record is {max_record}");
            return Err(("record_too_large", detail));
        }
        if let Some(fault) = quotes(&row.raw, delimiter) {
            return Err(("invalid_csv", format!("the header line: {fault}")));
        }

        let names = row
            .texts()
            .map_err(|error| ("invalid_utf8", format!("the header line: {error}")))?;
        let mut known = BTreeSet::new();
        for (number, name) in (1..).zip(&names) {
            if name.is_empty() {
                let detail = format!(
                    "column {number} of the header line has no name; pandas writes such a column \
                     without index=False"
                );
                return Err(("invalid_csv", detail));
            }
            if !known.insert(name) {
                let detail = format!("column {number} of the header line is a second \"{name}\"");
                return Err(("invalid_csv", detail));
            }
        }

        let place = |path: &str| names.iter().position(|name| *name == path);
        let text = place(&source.text);
        if text.is_none() && !source.text.is_empty() {
            return Err(("missing_text", missing(&names, delimiter, &source.text)));
        }
        let [id, url, date] =
            [&source.id, &source.url, &source.date].map(|path| path.as_deref().and_then(place));
        Ok(Header {
            source,
            delimiter,
            max_record,
            text,
            id,
            url,
            date,
            names: names.into_iter().map(str::to_owned).collect(),
        })
    }

    /// What is wrong with a row that has the names of the columns in another order or case; `None`
    /// for any other row. A table of one column has no order.
    fn other_header(&self, row: &Row) -> Option<String> {
        // Almost all rows end here, by their length.
        let length: usize = self.names.iter().map(String::len).sum();
        if row.length != length || row.n != self.names.len() || row.n < 2 {
            return None;
        }

        let fields = row.texts().ok()?;
        let is_same = |(field, name): (&&str, &String)| field.eq_ignore_ascii_case(name);
        let change = match fields.iter().zip(&self.names).all(is_same) {
            true => "case",
            false => "order",
        };
        if fields == self.names || folded(&fields) != folded(&self.names) {
            return None;
        }
        let shown: Vec<&str> = fields.iter().copied().take(12).collect();
        Some(format!(
            "line {} has the names of the header in another {change}: {}; split the file before \
             this line",
            row.line,
            shown.join(", ")
        ))
    }

    /// The item of a row.
    fn item(&self, row: &Row) -> Item {
        if row.is_too_large {
            let (bytes, max_record) = (row.raw_bytes, self.max_record);
            let detail = format!("a row of {bytes} bytes, max_record is {max_record}");
            let hidden = if row.is_unclosed { row.lines } else { 1 };
            return Err(row.damaged("record_too_large", &detail).of_records(hidden));
        }
        let line = row.line;
        // Each line behind a lost quote may be a row.
        if let Some(fault) = quotes(&row.raw, self.delimiter) {
            let detail = format!("line {line}: {fault}");
            return Err(row.damaged("invalid_csv", &detail).of_records(row.lines));
        }

        let fields = row.texts().map_err(|error| {
            let detail = format!("line {line}: {error}");
            row.damaged("invalid_utf8", &detail)
        })?;
        if row.raw.contains(&0) {
            return Err(row.damaged("nul_byte", &format!("line {line} has a NUL byte")));
        }
        let (found, expected) = (fields.len(), self.names.len());
        if found != expected {
            let detail = format!("line {line} has {found} fields, the header line has {expected}");
            return Err(row.damaged("invalid_csv", &detail));
        }
        if fields == self.names {
            let detail = format!("line {line} is the header line again, as in joined files");
            return Err(row.damaged("invalid_csv", &detail));
        }
        if self.text.is_some_and(|text| fields[text].is_empty()) {
            let detail = format!("line {line}: column \"{}\" is empty", self.source.text);
            return Err(row.damaged("missing_text", &detail));
        }
        Ok(self.record(&fields, row.is_marked))
    }

    /// The record of a row with as many fields as there are columns.
    fn record(&self, fields: &[&str], is_marked: bool) -> Record {
        let value = |column: Option<usize>| {
            let field = fields[column?];
            (!is_blank(field.as_bytes())).then(|| field.to_owned())
        };
        let date = value(self.date).and_then(|text| date::parse(&text));

        // A date that cannot be read stays in `meta`, so that the coverage can count it.
        let used = [
            self.text,
            self.id,
            self.url,
            self.date.filter(|_| date.is_some()),
        ];
        let mut meta = String::from("{");
        for (column, (name, field)) in self.names.iter().zip(fields).enumerate() {
            if used.contains(&Some(column)) || field.is_empty() {
                continue;
            }
            if meta.len() > 1 {
                meta.push(',');
            }
            meta.push_str(&serde_json::to_string(name).expect("a string is JSON"));
            meta.push(':');
            match is_number(field) {
                true => meta.push_str(field),
                false => meta.push_str(&serde_json::to_string(field).expect("a string is JSON")),
            }
        }
        meta.push('}');

        Record {
            text: self.text.map_or("", |text| fields[text]).to_owned(),
            id: value(self.id),
            url: value(self.url),
            date,
            meta: (meta.len() > 2).then_some(meta),
            repairs: Repairs {
                byte_order_mark: is_marked,
                ..Repairs::default()
            },
        }
    }
}

/// The names in lower case, sorted.
fn folded(names: &[impl AsRef<str>]) -> Vec<String> {
    let mut folded: Vec<String> = names
        .iter()
        .map(|name| name.as_ref().to_ascii_lowercase())
        .collect();
    folded.sort_unstable();
    folded
}

/// What a header line without the text column lacks. A line with another delimiter has one column.
fn missing(names: &[&str], delimiter: u8, path: &str) -> String {
    let shown: Vec<&str> = names.iter().copied().take(12).collect();
    let others = [',', '\t', ';', '|'];
    let other = others.into_iter().find(|other| {
        *other != char::from(delimiter) && names.len() == 1 && names[0].contains(*other)
    });
    let hint = match other {
        Some('\t') => "; the delimiter is a tab, so it is a file for format = \"tsv\"".to_owned(),
        Some(',') => "; the delimiter is a comma, so it is a file for format = \"csv\"".to_owned(),
        Some(other) => format!("; the delimiter seems to be \"{other}\", which is not read"),
        None => String::new(),
    };
    format!(
        "no column \"{path}\"; there are: {}{hint}",
        shown.join(", ")
    )
}

/// What is wrong with the quotes of a row, or `None` if they are in order. Quotes in a field without
/// quotes around it are part of the field.
fn quotes(raw: &[u8], delimiter: u8) -> Option<&'static str> {
    enum At {
        Start,
        Plain,
        Quoted,
        Closing,
    }

    memchr::memchr(b'"', raw)?;
    let mut at = At::Start;
    for byte in raw {
        at = match (at, *byte) {
            (At::Start | At::Closing, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Closing,
            (At::Quoted, _) => At::Quoted,
            (_, b'\n' | b'\r') => At::Start,
            (_, byte) if byte == delimiter => At::Start,
            (At::Closing, _) => return Some("a quote within a quoted field is not doubled"),
            _ => At::Plain,
        };
    }
    matches!(at, At::Quoted).then_some("a quote is not closed")
}

/// True for a number as JSON writes it: no sign `+`, no leading zeros, no white space.
fn is_number(field: &str) -> bool {
    let is_tight = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
    field.as_bytes().first().is_some_and(is_tight)
        && field.ends_with(|last: char| last.is_ascii_digit())
        && serde_json::from_str::<serde_json::Number>(field).is_ok()
}

/// Reads every row. Damage costs its row, except that damage in the compression ends the file.
fn read(
    stream: &mut dyn BufRead,
    delimiter: u8,
    source: &Source,
    limits: &Run,
    sink: Sink,
) -> Result<()> {
    let mut rows = Rows {
        stream,
        core: ReaderBuilder::new().delimiter(delimiter).build(),
        max_record: limits.max_record,
        offset: 0,
        line: 1,
    };
    let mut row = Row::default();
    let damaged =
        |row: &Row, error: std::io::Error| Err(row.damaged("damaged_file", &error.to_string()));
    match rows.next(&mut row) {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(error) => return sink(damaged(&row, error)),
    }
    let header = match Header::new(&row, delimiter, source, limits.max_record) {
        Ok(header) => header,
        Err((reason, detail)) => return refuse(&mut rows, &row, reason, &detail, sink),
    };

    // A mark before the header is a mark before the first record.
    let mut is_marked = row.is_marked;
    loop {
        match rows.next(&mut row) {
            Ok(true) if is_blank(&row.raw) => {}
            Ok(true) => {
                if let Some(detail) = header.other_header(&row) {
                    // The line counts too, as the header line again does.
                    let records = 1 + count(&mut rows)?;
                    let bytes = rows.offset - row.offset;
                    let damage = damage(row.offset, "invalid_csv", &detail, &row.raw, bytes);
                    return sink(Err(damage.of_records(records)));
                }
                row.is_marked |= std::mem::take(&mut is_marked);
                sink(header.item(&row))?;
            }
            Ok(false) => return Ok(()),
            Err(error) => return sink(damaged(&row, error)),
        }
    }
}

/// Sets a file aside whose header line cannot be used, as one damage of all its rows.
fn refuse(
    rows: &mut Rows,
    header: &Row,
    reason: &'static str,
    detail: &str,
    sink: Sink,
) -> Result<()> {
    let records = count(rows)?;
    let damage = damage(0, reason, detail, &header.raw, rows.offset);
    sink(Err(damage.of_records(records)))
}

/// Counts the rows that are left. Damage ends the count.
///
/// # Errors
/// If the run is interrupted.
fn count(rows: &mut Rows) -> Result<u64> {
    let (mut row, mut n) = (Row::default(), 0);
    while let Ok(true) = rows.next(&mut row) {
        interrupt::check()?;
        n += u64::from(!is_blank(&row.raw));
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &[u8], chunk: usize) -> Vec<Item> {
        let source = Source {
            id: Some("id".into()),
            date: Some("date".into()),
            ..Source::default()
        };
        let limits = Run {
            max_record: 200,
            ..Run::default()
        };
        let mut items = Vec::new();
        let mut stream = std::io::BufReader::with_capacity(chunk, text);
        read(&mut stream, b',', &source, &limits, &mut |item| {
            items.push(item);
            Ok(())
        })
        .expect("the sink does not fail");
        items
    }

    /// The items, which do not depend on how the file comes in. A mark is taken off in one piece.
    fn found(text: &str) -> Vec<Item> {
        let whole = items(text.as_bytes(), 1 << 16);
        for chunk in [3, 4, 7] {
            assert_eq!(
                items(text.as_bytes(), chunk),
                whole,
                "{chunk} bytes at a time"
            );
        }
        whole
    }

    /// The texts, and the reasons and numbers of records of damages.
    fn texts(text: &str) -> Vec<String> {
        let show = |item: Item| match item {
            Ok(record) => record.text,
            Err(damage) => format!("<{} {}>", damage.reason, damage.records),
        };
        found(text).into_iter().map(show).collect()
    }

    #[test]
    fn fields_become_records() {
        let text = "id,text,date,score,zip,note\r\n\
                    7,\"a, \"\"b\"\"\r\nc\",2020-01-02,1.50,007,\r\n\
                    ,d,soon,-2e3,,\"x\"\r\n";
        let found = found(text);
        assert_eq!(found.len(), 2);

        let first = found[0].as_ref().expect("a record");
        assert_eq!(first.text, "a, \"b\"\r\nc");
        assert_eq!(first.id.as_deref(), Some("7"));
        assert_eq!(first.date, Some(1_577_923_200_000_000));
        assert_eq!(first.meta.as_deref(), Some(r#"{"score":1.50,"zip":"007"}"#));

        let second = found[1].as_ref().expect("a record");
        assert_eq!((second.id.as_deref(), second.date), (None, None));
        let meta = r#"{"date":"soon","score":-2e3,"note":"x"}"#;
        assert_eq!(second.meta.as_deref(), Some(meta));
    }

    #[test]
    fn rows_end_with_any_line_break_and_empty_lines_are_no_rows() {
        assert_eq!(texts("text\na\n\n\nb"), ["a", "b"]);
        assert_eq!(texts("text\ra\rb\r"), ["a", "b"]);
        assert_eq!(texts("\r\ntext,n\r\na,1\r\n \r\nb,2\r\n\u{1a}"), ["a", "b"]);
        assert_eq!(texts("text\n"), [""; 0]);
        assert_eq!(texts(""), [""; 0]);
        assert_eq!(texts("\u{feff}"), [""; 0]);
    }

    #[test]
    fn marks_and_headers_of_joined_files_are_no_records() {
        let text = "\u{feff}\"text\",id\na,1\nb,2\n\u{feff}\"text\",id\nc,3\n";
        let found = items(text.as_bytes(), 1 << 16);
        let marked = |item: &Item| {
            item.as_ref()
                .map(|record| record.repairs.byte_order_mark)
                .map_err(|damage| damage.reason)
        };
        let marks: Vec<_> = found.iter().map(marked).collect();
        assert_eq!(marks, [Ok(true), Ok(false), Err("invalid_csv"), Ok(false)]);
    }

    #[test]
    fn a_header_with_other_columns_ends_the_reading() {
        for (line, change) in [("id,text", "order"), ("Text,ID", "case")] {
            let found = found(&format!("text,id\na,1\n{line}\n2,b\n3,c\n"));
            assert_eq!(found.len(), 2);
            let damage = found[1].as_ref().expect_err("damage");
            let names = line.replace(',', ", ");
            let expected =
                format!("line 3 has the names of the header in another {change}: {names}; split");
            assert!(damage.detail.starts_with(&expected), "{}", damage.detail);
            assert_eq!((damage.reason, damage.records), ("invalid_csv", 3));
            assert_eq!((damage.offset, damage.raw_bytes), (12, 16));
        }
        // Rows that only look alike.
        assert_eq!(texts("text,id\ntext,xy\nidtext,\n"), ["text", "idtext"]);
        assert_eq!(texts("text\nText\na\n"), ["Text", "a"]);
    }

    #[test]
    fn a_bad_row_costs_itself_only() {
        let text = "text,id\na,1\nb\nc,3,x\n\"d\" d,4\n,5\ne,6\n";
        let damages = "<invalid_csv 1>";
        assert_eq!(
            texts(text),
            ["a", damages, damages, damages, "<missing_text 1>", "e"]
        );
        let bytes = b"text,id\na\xff,1\nb\0,2\n\xc3,\xa9\nc,3\n";
        let reasons: Vec<_> = items(bytes, 99)
            .into_iter()
            .map(|item| item.map_or_else(|damage| damage.reason, |_| "read"))
            .collect();
        assert_eq!(
            reasons,
            ["invalid_utf8", "nul_byte", "invalid_utf8", "read"]
        );

        let long = format!("text,id\na,1\n{},2\nb,3\n", "x".repeat(300));
        assert_eq!(texts(&long), ["a", "<record_too_large 1>", "b"]);
        let wide = format!("text,id\n{}\nb,3\n", ",".repeat(180));
        assert_eq!(texts(&wide), ["<invalid_csv 1>", "b"]);
    }

    #[test]
    fn lines_behind_a_lost_quote_are_counted() {
        assert_eq!(
            texts("text,id\na,1\n\"b,2\nc,3\nd,4\n"),
            ["a", "<invalid_csv 3>"]
        );
        assert_eq!(
            texts("text,id\n\"b,2\nc,3\n\"d\",4\ne,5\n"),
            ["<invalid_csv 3>", "e"]
        );
        let lines = "c,3\n".repeat(100);
        assert_eq!(
            texts(&format!("text,id\n\"b,2\n{lines}")),
            ["<record_too_large 101>"]
        );
    }

    #[test]
    fn a_header_that_cannot_be_used_hides_all_rows() {
        for (text, expected) in [
            (
                "a,a,text\n1,2,3\n4,5,6\n",
                "column 2 of the header line is a second \"a\"",
            ),
            (
                ",text\n0,a\n1,b\n",
                "column 1 of the header line has no name",
            ),
            (
                "body,id\na,1\nb,2\n",
                "no column \"text\"; there are: body, id",
            ),
            ("text;id\na;1\nb;2\n", "the delimiter seems to be \";\""),
            ("text\tid\na\t1\nb\t2\n", "the delimiter is a tab"),
        ] {
            let found = found(text);
            let damage = found[0].as_ref().expect_err("damage");
            assert!(damage.detail.contains(expected), "{}", damage.detail);
            assert_eq!((found.len(), damage.records), (1, 2), "{text}");
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for text in ["0", "-1", "1.5", "1e5", "12345678901234567890123"] {
            assert!(is_number(text), "{text}");
        }
        for text in [
            "", "007", "+1", " 1", "1 ", "1.", ".5", "NaN", "1e999", "0x1", "1,5", "-",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }
}
