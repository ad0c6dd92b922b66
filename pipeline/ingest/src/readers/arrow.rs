//! Reads Arrow IPC, as a stream or as a file: one document per row. `datasets.save_to_disk` writes
//! streams.
//!
//! The framing is read here, message by message. Only a message that is whole and small enough goes
//! to the library, because the library would allocate whatever a length says. The format is that of
//! arrow.apache.org/docs/format/Columnar.html, "IPC Streaming Format" and "IPC File Format". A file
//! is a stream between a magic word and a footer. Only the number of record batches is read from
//! the footer.
//!
//! Damage costs its record batch. A damaged length, schema or dictionary ends the file, because a
//! later batch could be read with the values of an older dictionary.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow::ipc::{self, Message, MessageHeader, root_as_footer, root_as_message};
use curate_schemas::stages::documents::{Format, Run, Source};

use super::{Access, Reader, Sink, head};
use crate::record::damage;
use crate::rows::{Rows, guarded};

/// Arrow IPC: one document per row.
pub const ARROW: Reader = Reader {
    format: Format::Arrow,
    endings: &["arrow"],
    read: Access::File(read),
};

/// The word that a file begins with, padded to eight bytes. A stream has no such word.
const MAGIC: &[u8; 8] = b"ARROW1\0\0";
/// The first word of the first message of a file ends at this byte at the latest.
const LONGEST_PADDING: u64 = 64 + 4;
/// The word in front of the length of a message, since version 0.15 of the format.
const CONTINUATION: u32 = 0xffff_ffff;

/// Reads the rows of every record batch.
///
/// # Errors
/// If `sink` fails. Damage in the file is handed to `sink`.
fn read(file: File, source: &Source, limits: &Run, sink: Sink) -> Result<()> {
    let size = file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    let head = head(&file, size);
    let damaged = |row: u64, detail: &str, bytes: u64| {
        Err(damage(row, "damaged_file", detail, &head, bytes.min(size)))
    };

    let mut messages = Messages::new(file, size, limits.max_pages);
    let mut tables = Tables::new(limits.max_pages);
    let mut rows = Rows::new(source, limits);
    let mut number = 0;
    loop {
        let left = size - messages.at;
        let (header, body) = match guarded(|| messages.next()) {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(detail) => {
                rows.flush(sink)?;
                let damage = damaged(rows.row, &detail, left);
                return sink(damage.map_err(|damage| damage.of_records(messages.promised)));
            }
        };

        // The kind of the message is read before its content, so that damage in the content can be
        // judged by the kind.
        let is_batch = guarded(|| Ok(parse(&header)?.header_type() == MessageHeader::RecordBatch));
        let first = rows.row;
        let bytes = (header.len() + body.len()) as u64;
        let mut promised = 0;
        let batch = guarded(|| tables.take(&header, &body, &mut promised));
        let outcome = match batch {
            Ok(None) => continue,
            Ok(Some(batch)) => rows.read(batch, sink)?,
            Err(detail) => Err(detail),
        };

        if let Err(detail) = outcome {
            rows.flush(sink)?;
            // Later batches depend on a schema or a dictionary, and not on another batch.
            if is_batch != Ok(true) {
                return sink(damaged(rows.row, &detail, left));
            }
            let detail = format!("record batch {number}: {detail}");
            let lost = first.saturating_add(promised).saturating_sub(rows.row);
            let damage = damaged(rows.row, &detail, bytes);
            sink(damage.map_err(|damage| damage.of_records(lost)))?;
        }

        // Rows keep the numbers that they have in the file, even behind damage. `max` is for a
        // length that promises fewer rows than were read.
        rows.row = rows.row.max(first.saturating_add(promised));
        number += 1;
    }

    rows.flush(sink)?;
    // The end is the only place that shows that batches are missing.
    let left = size - messages.at;
    let end = match tables.schema {
        None => Err("a stream without a schema".to_owned()),
        Some(_) => guarded(|| messages.check_end(number)),
    };
    match end {
        Ok(()) => Ok(()),
        Err(detail) => sink(damaged(rows.row, &detail, left)),
    }
}

/// The messages of a stream, one after the other.
struct Messages {
    file: File,
    /// Size of the file in bytes.
    size: u64,
    /// Bytes read so far, at most `size`.
    at: u64,
    /// The largest header or body of a message that is read, bytes.
    most: u64,
    /// True for a file with a magic word and a footer, false for a stream.
    is_file: bool,
    /// True once the mark for the end of the stream was read.
    has_ended: bool,
    /// Rows that the last message claims; 0 for a message without rows. The rows are lost if the
    /// body of the message cannot be read.
    promised: u64,
}

impl Messages {
    fn new(file: File, size: u64, most: u64) -> Messages {
        let mut magic = [0; 8];
        let is_file = file.read_exact_at(&mut magic, 0).is_ok() && &magic == MAGIC;
        Messages {
            file,
            size,
            at: 0,
            most,
            is_file,
            has_ended: false,
            promised: 0,
        }
    }

    /// The flatbuffer of the next message and its body, or `None` at the end of the stream.
    fn next(&mut self) -> Result<Option<(Buffer, Buffer)>> {
        self.promised = 0;
        // The mark for the end is optional in the format. `check_end` says if it is missing.
        if self.at == self.size {
            return Ok(None);
        }

        let mut length = self.number()?;
        if self.is_file && self.at == 4 {
            // The magic word is padded with zeros, by some writers to 64 bytes.
            self.number()?;
            length = self.number()?;
            while length == 0 && self.at < LONGEST_PADDING {
                length = self.number()?;
            }
        }
        if length == CONTINUATION {
            length = self.number()?;
        }
        // A header of length 0 marks the end.
        if length == 0 {
            self.has_ended = true;
            return Ok(None);
        }

        let header = self.bytes(u64::from(length))?;
        let message = parse(&header)?;
        self.promised = message.header_as_record_batch().map_or(0, promised);
        let length = message.bodyLength();
        let length = u64::try_from(length)
            .ok()
            .context("a body of negative length")?;
        let body = self.bytes(length)?;
        Ok(Some((header, body)))
    }

    /// The next four bytes as a little-endian number.
    fn number(&mut self) -> Result<u32> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_le_bytes(bytes.as_slice().try_into()?))
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// If the file has fewer bytes left or the limit is lower.
    fn bytes(&mut self, length: u64) -> Result<Buffer> {
        // Both checks come before the allocation.
        let left = self.size - self.at;
        ensure!(
            length <= left,
            "{length} bytes are to follow at {}, and {left} are there",
            self.at
        );
        ensure!(
            length <= self.most,
            "a message of {length} bytes, max_pages is {}",
            self.most
        );

        // The buffer is aligned as arrays need it, so that the library does not copy them.
        let mut bytes = MutableBuffer::from_len_zeroed(length as usize);
        self.file.read_exact_at(bytes.as_slice_mut(), self.at)?;
        self.at += length;
        Ok(bytes.into())
    }

    /// Compares the end of the file with the number of record batches that were read, because a
    /// damaged length may look like the end.
    ///
    /// # Errors
    /// If the end is missing, if bytes follow the end of a stream, or if the footer of a file does
    /// not name this number of record batches.
    fn check_end(&mut self, batches: usize) -> Result<()> {
        ensure!(self.has_ended, "the stream has no end: rows may be missing");
        let left = self.size - self.at;
        if !self.is_file {
            ensure!(left == 0, "{left} bytes behind the end of the stream");
            return Ok(());
        }

        // A file ends with the footer, the length of the footer and the magic word without padding.
        let tail = 4 + 6;
        ensure!(left >= tail, "the file has no footer: rows may be missing");
        let start = self.at;
        self.at = self.size - tail;
        let length = u64::from(self.number()?);
        ensure!(length + tail <= left, "a footer of {length} bytes");
        self.at = self.size - tail - length;
        let footer = self.bytes(length)?;
        self.at = start;

        let footer = root_as_footer(&footer).map_err(|error| anyhow!("the footer: {error}"))?;
        let named = footer
            .recordBatches()
            .context("the footer names no record batches")?
            .len();
        ensure!(
            named == batches,
            "the footer names {named} record batches, {batches} were read"
        );
        Ok(())
    }
}

/// The flatbuffer of a message, verified.
fn parse(header: &Buffer) -> Result<Message<'_>> {
    root_as_message(header).map_err(|error| anyhow!("the header of a message: {error}"))
}

/// The number of rows that a record batch claims. The bound keeps the row numbers behind a lie
/// small.
fn promised(batch: ipc::RecordBatch) -> u64 {
    u64::try_from(batch.length())
        .unwrap_or(0)
        .min(u64::from(u32::MAX))
}

/// The schema and the dictionaries that were read so far. Record batches are read with them.
struct Tables {
    schema: Option<SchemaRef>,
    /// The values of each dictionary, by the number of the dictionary.
    dictionaries: HashMap<i64, ArrayRef>,
    /// Bytes that later dictionaries may take together.
    left: u64,
}

impl Tables {
    fn new(most: u64) -> Tables {
        Tables {
            schema: None,
            dictionaries: HashMap::new(),
            left: most,
        }
    }

    /// The record batch of a message, or `None` for a schema or a dictionary. `claimed` is set to
    /// the number of rows that the message claims.
    fn take(
        &mut self,
        header: &Buffer,
        body: &Buffer,
        claimed: &mut u64,
    ) -> Result<Option<RecordBatch>> {
        let message = parse(header)?;
        match message.header_type() {
            MessageHeader::Schema => {
                self.set_schema(&message)?;
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                self.dictionary(&message, body)?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let batch = message
                    .header_as_record_batch()
                    .context("a batch is missing")?;
                // Set before the batch is checked, because the rows of a refused batch count too.
                *claimed = promised(batch);
                check_lengths(&batch, body)?;

                let schema = self.schema.clone().context("no schema came before")?;
                let version = message.version();
                let decoder =
                    RecordBatchDecoder::try_new(body, batch, schema, &self.dictionaries, &version)?;
                Ok(Some(decoder.read_record_batch()?))
            }
            other => bail!("a message of type {other:?}"),
        }
    }

    /// Keeps the schema of a message.
    fn set_schema(&mut self, message: &Message) -> Result<()> {
        ensure!(self.schema.is_none(), "a second schema");
        let schema = message.header_as_schema().context("a schema is missing")?;
        ensure!(
            schema.endianness() == ipc::Endianness::Little,
            "big-endian values are not read"
        );

        let schema = fb_to_schema(schema);
        for field in schema.fields() {
            check_type(field.data_type())?;
        }
        self.schema = Some(Arc::new(schema));
        Ok(())
    }

    /// Keeps the dictionary of a message. It replaces or extends an earlier one of the same number.
    fn dictionary(&mut self, message: &Message, body: &Buffer) -> Result<()> {
        let schema = self.schema.as_ref().context("no schema came before")?;
        let dictionary = message
            .header_as_dictionary_batch()
            .context("a dictionary is missing")?;
        let values = dictionary.data().context("a dictionary without values")?;
        check_lengths(&values, body)?;

        // Dictionaries are kept to the end of the file, so their sizes add up.
        self.left = self
            .left
            .checked_sub(body.len() as u64)
            .context("dictionaries of more than max_pages bytes")?;

        let known = &mut self.dictionaries;
        Ok(read_dictionary(
            body,
            dictionary,
            schema,
            known,
            &message.version(),
        )?)
    }
}

/// Refuses arrays that claim more values than the bytes of the body. Refuses compressed bodies too,
/// because their buffers say themselves how large they become.
fn check_lengths(batch: &ipc::RecordBatch, body: &Buffer) -> Result<()> {
    ensure!(
        batch.compression().is_none(),
        "compressed bodies are not read"
    );

    let nodes = batch
        .nodes()
        .into_iter()
        .flatten()
        .map(|node| node.length());
    for length in nodes.chain([batch.length()]) {
        // A body without bytes may hold one value: a null takes no bytes.
        let most = body.len().max(1);
        let fits = usize::try_from(length).is_ok_and(|length| length <= most);
        ensure!(fits, "{length} values in {} bytes", body.len());
    }
    Ok(())
}

/// Refuses types in which a few bytes can stand for many large values.
fn check_type(data_type: &DataType) -> Result<()> {
    match data_type {
        // Views of a list can overlap, and a run can have any length.
        DataType::ListView(_) | DataType::LargeListView(_) | DataType::RunEndEncoded(..) => {
            bail!("columns of type {data_type} are not read")
        }
        // An entry of a dictionary can be large, and each row can repeat it. Texts and bytes become
        // views, which share the entry.
        DataType::Dictionary(_, values)
            if values.is_nested() || matches!(**values, DataType::FixedSizeBinary(_)) =>
        {
            bail!("columns of type {data_type} are not read")
        }

        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => check_type(field.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| check_type(field.data_type())),
        DataType::Union(fields, _) => fields
            .iter()
            .try_for_each(|(_, field)| check_type(field.data_type())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Item;
    use arrow::array::{DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::writer::{FileWriter, StreamWriter};

    fn batch(texts: &[&str]) -> RecordBatch {
        let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..texts.len() as i64));
        let kinds: DictionaryArray<Int32Type> = (0..texts.len()).map(|_| "prose").collect();
        let kinds: ArrayRef = Arc::new(kinds);
        let columns = [("text", texts), ("id", ids), ("kind", kinds)];
        RecordBatch::try_from_iter(columns).expect("equal columns")
    }

    fn stream(batches: &[RecordBatch]) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("a writer");
        for batch in batches {
            writer.write(batch).expect("written");
        }
        writer.into_inner().expect("finished")
    }

    fn items(bytes: &[u8]) -> Vec<Item> {
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, bytes).expect("written");
        let source = Source {
            id: Some("id".to_owned()),
            text: "text".to_owned(),
            ..Source::default()
        };
        let mut items = Vec::new();
        let mut sink = |item| {
            items.push(item);
            Ok(())
        };
        read(file, &source, &Run::default(), &mut sink).expect("the sink does not fail");
        items
    }

    fn texts(items: &[Item]) -> Vec<&str> {
        let records = items.iter().filter_map(|item| item.as_ref().ok());
        records.map(|record| record.text.as_str()).collect()
    }

    fn details(items: &[Item]) -> Vec<&str> {
        let damages = items.iter().filter_map(|item| item.as_ref().err());
        damages.map(|damage| damage.detail.as_str()).collect()
    }

    #[test]
    fn a_stream_and_a_file_have_the_same_rows() {
        let batches = [batch(&["a", "b"]), batch(&["c"])];
        let items_of_stream = items(&stream(&batches));
        let mut writer = FileWriter::try_new(Vec::new(), &batches[0].schema()).expect("a writer");
        for batch in &batches {
            writer.write(batch).expect("written");
        }

        assert_eq!(
            items(&writer.into_inner().expect("finished")),
            items_of_stream
        );
        assert_eq!(texts(&items_of_stream), ["a", "b", "c"]);
        let first = items_of_stream[0].as_ref().expect("a record");
        assert_eq!(first.id.as_deref(), Some("0"));
        assert_eq!(first.meta.as_deref(), Some(r#"{"kind":"prose"}"#));
    }

    #[test]
    fn a_cut_stream_keeps_the_batches_before() {
        let whole = stream(&[batch(&["a", "b"]), batch(&["c", "d", "e"])]);
        let cut = items(&whole[..whole.len() - 40]);
        assert_eq!(texts(&cut), ["a", "b"]);
        assert_eq!(details(&cut).len(), 1, "{cut:?}");
        assert!(
            details(&cut)[0].contains("bytes are to follow at"),
            "{cut:?}"
        );
        let lost = cut.last().and_then(|item| item.as_ref().err());
        assert_eq!(lost.map(|damage| damage.records), Some(3));
    }

    #[test]
    fn a_stream_that_is_cut_between_batches_is_named() {
        let whole = stream(&[batch(&["a", "b"])]);
        let cut = items(&whole[..whole.len() - 8]);
        assert_eq!(texts(&cut), ["a", "b"]);
        assert_eq!(
            details(&cut),
            ["the stream has no end: rows may be missing"]
        );
    }

    /// Otherwise a later batch could be read with the values of an older dictionary.
    #[test]
    fn a_damaged_dictionary_ends_the_file() {
        let mut whole = stream(&[batch(&["a"])]);
        let word = whole.windows(5).position(|bytes| bytes == b"prose");
        let offsets = word.expect("the dictionary") - 64;
        assert_eq!(whole[offsets + 4], 5);
        whole[offsets + 4] = 99;
        let items = items(&whole);
        assert_eq!((items.len(), texts(&items).len()), (1, 0), "{items:?}");
        assert!(!details(&items)[0].contains("record batch"), "{items:?}");
    }

    #[test]
    fn what_follows_a_stream_is_named() {
        let mut two = stream(&[batch(&["a"])]);
        two.extend(stream(&[batch(&["b"])]));
        let items = items(&two);
        assert_eq!(texts(&items), ["a"]);
        assert!(
            details(&items)[0].contains("behind the end of the stream"),
            "{items:?}"
        );
    }

    /// The fixture was written by pyarrow with Zstandard, see `fixtures/arrow/README.md`.
    #[test]
    fn a_compressed_body_is_set_aside() {
        let compressed = include_bytes!("../../../../fixtures/arrow/compressed.arrow");
        let items = items(compressed);
        assert!(texts(&items).is_empty());
        assert_eq!(
            details(&items),
            ["record batch 0: compressed bodies are not read"]
        );
    }

    #[test]
    fn other_bytes_are_no_stream() {
        for bytes in [&b""[..], b"ARROW1\0\0", b"{\"text\": \"a\"}\n", &[0xff; 64]] {
            let items = items(bytes);
            assert!(texts(&items).is_empty());
            assert_eq!(details(&items).len(), 1, "{items:?}");
        }
    }
}
