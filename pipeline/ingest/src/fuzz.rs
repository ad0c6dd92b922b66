//! Tests of every reader with mutated files. Whatever the bytes are, a reader ends, reports what it
//! found, and loses no line and no row in silence.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use curate_schemas::Manifest;
use curate_schemas::stages::documents::{Format, Source};

use super::inputs::{InputFile, find};
use super::readers::{OTHER_FORMAT, is_blank, read_file, without_marks};
use super::record::{Entry, Item, RAW_KEPT};
use mutations::cases;

#[path = "../../../tests/mutations.rs"]
mod mutations;

/// A manifest with one source in `folder`. Its limits are low, so that mutations exceed them.
fn manifest(folder: &Path) -> Manifest {
    let mut manifest = Manifest::default();
    manifest.run.max_record = 4096;
    manifest.run.max_window = 1 << 20;
    manifest.source.push(Source {
        name: "s".to_owned(),
        domain: "s".to_owned(),
        path: vec!["in".to_owned()],
        id: Some("id".to_owned()),
        url: Some("m.url".to_owned()),
        date: Some("date".to_owned()),
        ..Source::default()
    });
    manifest.base = folder.to_owned();
    manifest
}

/// The seed of JSON lines: twelve records.
fn lines() -> Vec<u8> {
    let mut text = String::new();
    for n in 0..12 {
        text += &format!(
            "{{\"id\": {n}, \"text\": \"Prose {n} \\u00e9 \\\"quoted\\\"\", \"m\": {{\"url\": \"http://h/{n}\"}}, \"date\": \"2024-01-0{}\"}}\n",
            n % 9 + 1
        );
    }
    text.into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("written");
    out.finish().expect("finished")
}

/// A Parquet file of 40 rows in `groups` row groups.
fn parquet(groups: usize) -> Vec<u8> {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..40).map(|n| format!("Prose {n} and so on")),
    ));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40));
    let batch = RecordBatch::try_from_iter([("text", texts), ("id", ids)]).expect("equal columns");

    let settings = ::parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(40 / groups))
        .set_compression(::parquet::basic::Compression::SNAPPY)
        .build();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), Some(settings))
            .expect("a writer");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("finished")
}

/// A folder with one input file, and the manifest that reads the file.
struct Reader {
    folder: tempfile::TempDir,
    manifest: Manifest,
    name: &'static str,
}

impl Reader {
    fn new(name: &'static str) -> Reader {
        // In memory, because each case writes a file.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("a folder");
        std::fs::create_dir(folder.path().join("in")).expect("a folder");
        std::fs::write(folder.path().join("in").join(name), b"x").expect("written");
        let manifest = manifest(folder.path());
        Reader {
            folder,
            manifest,
            name,
        }
    }

    /// The items of a file with these bytes. Checks that the digest covers all bytes, however far
    /// the reader got, and that all items respect the limits.
    fn items(&self, bytes: &[u8]) -> Vec<Item> {
        std::fs::write(self.folder.path().join("in").join(self.name), bytes).expect("written");
        let unit = find(&self.manifest).expect("one file").units.remove(0);
        let file: &InputFile = &unit.files[0];

        let mut items = Vec::new();
        let digest = read_file(
            file,
            &self.manifest.source[0],
            &self.manifest.run,
            &mut |entry| {
                match entry {
                    Entry::Item(item) => items.push(item),
                    Entry::Skipped { reason, .. } => assert!(!reason.is_empty()),
                }
                Ok(())
            },
        );
        assert_eq!(
            digest.expect("no error of the run"),
            blake3::hash(bytes).to_hex().to_string()
        );

        for item in &items {
            match item {
                // Characters of one byte may take three in UTF-8, and lists and tables are laid out.
                Ok(record) if self.manifest.source[0].is_web() => {
                    assert!(record.text.len() <= 10 * 4096, "a text beyond max_record");
                }
                Ok(record) => assert!(record.text.len() <= 4096, "a text beyond max_record"),
                Err(damage) => {
                    assert!(
                        damage.raw.len() <= RAW_KEPT
                            && damage.detail.chars().count() < 600
                            && !damage.reason.is_empty()
                    );
                }
            }
        }
        items
    }
}

#[test]
fn json_lines_of_any_bytes_lose_no_line() {
    let reader = Reader::new("a.jsonl");
    assert_eq!(
        reader
            .items(&lines())
            .iter()
            .filter(|item| item.is_ok())
            .count(),
        12
    );

    cases("JSON lines", &[lines(), parquet(1)], |bytes| {
        let items = reader.items(bytes);
        if is_of_another_kind(&items) {
            return;
        }
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !is_blank(without_marks(line)))
            .count();
        assert_eq!(items.len(), lines);
    });
}

/// True for the one damage of a file that is not what its name says.
fn is_of_another_kind(items: &[Item]) -> bool {
    matches!(items, [Err(damage)] if damage.reason == OTHER_FORMAT)
}

#[test]
fn json_files_of_any_bytes_are_read_or_set_aside() {
    let text = String::from_utf8(lines()).expect("JSON");
    let array = format!("[{}]", text.trim().replace('\n', ",\n"));
    let pretty = text
        .replace(", \"", ",\n  \"")
        .replace("{\"id", "{\n  \"id");
    let reader = Reader::new("a.json");
    for seed in [&text, &array, &pretty] {
        assert_eq!(reader.items(seed.as_bytes()).iter().flatten().count(), 12);
    }

    let seeds = [text, array, pretty].map(String::into_bytes);
    cases("JSON files", &seeds, |bytes| {
        let items = reader.items(bytes);
        assert!(!items.is_empty() || !bytes.contains(&b'{'), "all is gone");
    });
}

#[test]
fn tables_of_any_bytes_lose_no_row() {
    let mut table = "id,text,date\r\n".to_owned();
    let mut quoted = table.clone();
    for n in 0..12 {
        table += &format!("{n},Prose {n} and so on,2024-01-02\r\n");
        quoted += &format!("{n},\"Prose \"\"{n}\"\",\nand so on\",\r\n");
    }
    let reader = Reader::new("a.csv");
    for seed in [&table, &quoted] {
        assert_eq!(reader.items(seed.as_bytes()).iter().flatten().count(), 12);
    }

    cases(
        "tables",
        &[table, quoted].map(String::into_bytes),
        |bytes| {
            let items = reader.items(bytes);
            // A quote may take any number of lines into its row.
            if bytes.contains(&b'"') || is_of_another_kind(&items) {
                return;
            }
            let rows: Vec<&[u8]> = bytes
                .split(|byte| matches!(byte, b'\n' | b'\r'))
                .map(without_marks)
                .filter(|row| !row.is_empty())
                .collect();
            let header_is_refused = matches!(&items[..], [Err(damage)] if damage.offset == 0);
            let rows = rows.iter().skip(1).filter(|row| !is_blank(row)).count() as u64;
            let of = |item: &Item| item.as_ref().map_or_else(|damage| damage.records, |_| 1);
            let found: u64 = items.iter().map(of).sum();
            assert_eq!(found, if header_is_refused { rows.max(1) } else { rows });
        },
    );
}

#[test]
fn compressed_files_of_any_bytes_are_read_or_set_aside() {
    for (name, seed) in [
        ("a.jsonl.gz", gzip(&lines())),
        (
            "a.jsonl.zst",
            zstd::encode_all(&lines()[..], 1).expect("encoded"),
        ),
    ] {
        let reader = Reader::new(name);
        assert_eq!(
            reader
                .items(&seed)
                .iter()
                .filter(|item| item.is_ok())
                .count(),
            12
        );

        // The second seed has two members or frames.
        cases(
            name.rsplit_once('.').map_or(name, |(_, kind)| kind),
            &[seed.clone(), [seed.clone(), seed].concat()],
            |bytes| {
                let items = reader.items(bytes);
                let is_damaged = items.iter().any(Result::is_err);
                assert!(
                    is_damaged || items.len() >= 12 || bytes.len() < 40,
                    "{} records are gone in silence",
                    12 - items.len()
                );
            },
        );
    }
}

/// A web archive of a request, three pages and a text.
fn archive() -> Vec<u8> {
    let mut file = Vec::new();
    let mut add = |kind: &str, content: &str, block: &str| {
        let header = format!(
            "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{}>\r\n\
             WARC-Target-URI: http://h/{}\r\nWARC-Date: 2024-01-02T03:04:05Z\r\n\
             Content-Type: {content}\r\nContent-Length: {}\r\n\r\n",
            file.len(),
            file.len(),
            block.len()
        );
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(block.as_bytes());
        file.extend_from_slice(b"\r\n\r\n");
    };

    add("request", "application/http", "GET / HTTP/1.1\r\n\r\n");
    for n in 0..3 {
        let page = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html lang=en>\
             <title>T</title><body><ul><li>Prose {n}</ul><table><tr><td>a<td>b</table><p>\u{e9}"
        );
        add("response", "application/http; msgtype=response", &page);
    }
    add("conversion", "text/plain", "Prose of a page.\n");
    file
}

#[test]
fn web_archives_of_any_bytes_are_read_or_set_aside() {
    for (name, seed) in [("a.warc", archive()), ("a.warc.gz", gzip(&archive()))] {
        let mut reader = Reader::new(name);
        reader.manifest.source[0].format = Some(Format::Warc);
        assert_eq!(reader.items(&seed).iter().flatten().count(), 4);

        // Texts of damaged pages differ, so only the bounds of the items are checked.
        cases(
            name,
            &[seed.clone(), [seed.clone(), seed].concat()],
            |bytes| {
                reader.items(bytes);
            },
        );
    }
}

#[test]
fn html_files_of_any_bytes_are_one_record() {
    let mut reader = Reader::new("a.html");
    reader.manifest.source[0].format = Some(Format::Html);
    let page = b"<html lang=en><title>T</title><body><p>Prose<b>and<table><li>so on".to_vec();
    assert_eq!(reader.items(&page).len(), 1);
    cases("HTML", &[page, archive()], |bytes| {
        assert_eq!(reader.items(bytes).len(), 1);
    });
}

#[test]
fn text_files_of_any_bytes_are_one_record() {
    let reader = Reader::new("a.txt");
    cases(
        "text files",
        &[b"Some prose.\nAnd more of it.\n".to_vec(), lines()],
        |bytes| {
            assert_eq!(reader.items(bytes).len(), 1);
        },
    );
}

#[test]
fn parquet_files_of_any_bytes_lose_no_row_in_silence() {
    let reader = Reader::new("a.parquet");
    assert_eq!(reader.items(&parquet(4)).len(), 40);

    let mut panics = 0;
    cases("Parquet", &[parquet(1), parquet(4)], |bytes| {
        let items = reader.items(bytes);
        let is_panic = |item: &Item| {
            item.as_ref()
                .is_err_and(|damage| damage.detail.contains("the reader failed on it"))
        };
        panics += u32::from(items.iter().any(is_panic));
        assert!(
            items.iter().any(Result::is_err) || items.len() == 40,
            "{} rows",
            items.len()
        );
    });

    println!(
        "figure: fuzz cases, Parquet, in which the library panicked and the file was set aside: {panics}"
    );
}

/// A stream and a file, each with two batches of 20 rows.
fn arrow_seeds() -> [Vec<u8>; 2] {
    let batch = |first: i64| {
        let rows = first..first + 20;
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
            rows.clone().map(|n| format!("Prose {n} and so on")),
        ));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows));
        RecordBatch::try_from_iter([("text", texts), ("id", ids)]).expect("equal columns")
    };

    let schema = batch(0).schema();
    let mut stream =
        ::arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &schema).expect("a writer");
    let mut file =
        ::arrow::ipc::writer::FileWriter::try_new(Vec::new(), &schema).expect("a writer");
    for first in [0, 20] {
        stream.write(&batch(first)).expect("written");
        file.write(&batch(first)).expect("written");
    }
    [
        stream.into_inner().expect("finished"),
        file.into_inner().expect("finished"),
    ]
}

#[test]
fn arrow_files_of_any_bytes_lose_no_row_in_silence() {
    let reader = Reader::new("a.arrow");
    let seeds = arrow_seeds();
    for seed in &seeds {
        assert_eq!(reader.items(seed).iter().flatten().count(), 40);
    }

    cases("Arrow IPC", &seeds, |bytes| {
        let items = reader.items(bytes);
        // A stream does not say how many batches it has, so a batch that is gone from its header to
        // its last byte is not noticed. The footer of a file has the number.
        let is_whole = match bytes.starts_with(b"ARROW1") {
            true => items.len() >= 40,
            false => items.len().is_multiple_of(20),
        };
        assert!(
            items.iter().any(Result::is_err) || is_whole,
            "{} rows",
            items.len()
        );
    });
}

#[test]
fn a_damaged_row_group_costs_itself_only() {
    let reader = Reader::new("a.parquet");
    let mut bytes = parquet(4);
    let path = reader.folder.path().join("in/a.parquet");
    std::fs::write(&path, &bytes).expect("written");
    let file = std::fs::File::open(&path).expect("a file");
    let footer =
        ::parquet::arrow::arrow_reader::ArrowReaderMetadata::load(&file, Default::default())
            .expect("a footer");
    let (start, length) = footer.metadata().row_group(1).column(0).byte_range();
    bytes[start as usize..(start + length) as usize].fill(0xff);

    let items = reader.items(&bytes);
    let texts: Vec<&str> = items
        .iter()
        .flatten()
        .map(|record| record.text.as_str())
        .collect();
    assert_eq!(texts.len(), 30);
    assert_eq!(
        (texts[9], texts[10]),
        ("Prose 9 and so on", "Prose 20 and so on")
    );

    let damages: Vec<_> = items
        .iter()
        .filter_map(|item| item.as_ref().err())
        .collect();
    assert_eq!(damages.len(), 1);
    assert_eq!(
        (
            damages[0].offset,
            damages[0].reason,
            damages[0].raw.is_empty()
        ),
        (10, "damaged_file", false)
    );
    assert!(
        damages[0].detail.starts_with("row group 1: "),
        "{}",
        damages[0].detail
    );
}

#[test]
fn a_row_is_not_blamed_for_another() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![
        Some("fine"),
        Some("too large"),
        None,
    ]));
    let notes: ArrayRef = Arc::new(StringArray::from(vec![None, Some("x".repeat(5000)), None]));
    let batch =
        RecordBatch::try_from_iter([("text", texts), ("note", notes)]).expect("equal columns");
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");

    let items = Reader::new("a.parquet").items(&writer.into_inner().expect("finished"));
    let found: Vec<&str> = items
        .iter()
        .map(|item| {
            item.as_ref()
                .map_or_else(|damage| damage.reason, |_| "read")
        })
        .collect();
    assert_eq!(found, ["read", "record_too_large", "missing_text"]);
}

#[test]
fn bytes_that_are_called_json_are_no_text_for_that() {
    use ::parquet::data_type::{ByteArray, ByteArrayType};
    let schema = "message m { required binary text (JSON); }";
    let schema = Arc::new(::parquet::schema::parser::parse_message_type(schema).expect("a schema"));
    let write = |values: &[&[u8]]| {
        let mut file = Vec::new();
        let mut writer = ::parquet::file::writer::SerializedFileWriter::new(
            &mut file,
            Arc::clone(&schema),
            Default::default(),
        )
        .expect("a writer");
        let mut group = writer.next_row_group().expect("a row group");
        let mut column = group.next_column().expect("no error").expect("a column");
        let values: Vec<ByteArray> = values.iter().map(|value| value.to_vec().into()).collect();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .expect("written");
        column.close().expect("closed");
        group.close().expect("closed");
        writer.close().expect("closed");
        file
    };

    let reader = Reader::new("a.parquet");
    let fine = reader.items(&write(&[
        b"{\"a\": 1}",
        b"prose that is longer than a view",
    ]));
    assert_eq!(fine.iter().flatten().count(), 2);
    let damage = reader
        .items(&write(&[b"fine", b"\xff\xfe and more than a view holds"]))
        .remove(0)
        .expect_err("no UTF-8");
    assert!(damage.detail.contains("UTF-8"), "{}", damage.detail);
}
