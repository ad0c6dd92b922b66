//! Text as it was read, what could not be read, and its language.

use arrow::datatypes::{DataType, TimeUnit};

use super::{Column, Shape, Table, aligned, count, doc_id, removed_by, unit_interval, utf8};

pub(super) fn documents() -> Table {
    Table {
        name: "documents",
        doc: "the ingested text, written once",
        shape: Shape::Aligned,
        columns: vec![
            doc_id(),
            utf8("source", "name of the source in the manifest"),
            utf8(
                "source_id",
                "the record's own id, where the source names an id field",
            )
            .null(),
            utf8("domain", "domain label of the source in the manifest"),
            utf8("path", "input file, relative to the source's fixed prefix"),
            count(
                "ordinal",
                "records",
                "number of records before this one in its file",
            ),
            utf8(
                "url",
                "the record's url, where the source names a url field",
            )
            .null(),
            Column::new(
                "date",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                "the record's date, where the source names a date field and it can be read",
            )
            .null()
            .unit("microseconds since 1970, UTC"),
            utf8(
                "text",
                "the text after [clean]; without [clean] the input's, byte for byte",
            ),
            count(
                "raw_bytes",
                "bytes",
                "length of the text before [clean], UTF-8",
            ),
            count("bytes", "bytes", "length of the text, UTF-8"),
            count("chars", "code points", "length of the text"),
            utf8("meta", "the record's other fields, as a JSON object").null(),
        ],
    }
}

pub(super) fn quarantine() -> Table {
    Table {
        name: "quarantine",
        doc: "records and files that could not be read",
        shape: Shape::Own,
        columns: vec![
            utf8("source", "name of the source in the manifest"),
            utf8("path", "input file, relative to the source's fixed prefix"),
            count("ordinal", "records", "number of records before this one in its file"),
            count("offset", "bytes", "where it starts in the (decompressed) file; the row number in a Parquet file"),
            utf8("reason", "what is wrong, one word").range(
                "invalid_utf8, invalid_json, missing_text, text_not_string, record_too_large, nul_byte, damaged_file",
            ),
            utf8("detail", "what exactly was found"),
            Column::new("raw", DataType::Binary, "the first 4 KiB as they stand in the input").unit("bytes"),
            count("raw_bytes", "bytes", "length of what could not be read, where it is known"),
        ],
    }
}

pub(super) fn language() -> Table {
    aligned(
        "language",
        "language of each document, from a bounded sample of it",
        vec![
            removed_by(),
            utf8(
                "language",
                "ISO 639-3 code; null where no language can be told",
            )
            .null()
            .range("3 letters"),
            unit_interval(
                "confidence",
                "the engine's confidence in `language`; null where it has none",
            )
            .null(),
            Column::new(
                "mixed",
                DataType::Boolean,
                "whether parts of the document are in different languages",
            ),
        ],
    )
}
