//! The pool by bucket, and what was drawn of it.

use arrow::datatypes::DataType;

use super::{Column, Shape, Table, count, doc_id, small_count, unit_interval, utf8};

pub(super) fn buckets() -> Table {
    Table {
        name: "buckets",
        doc: "the pool by source, domain and quality bin",
        shape: Shape::Own,
        columns: vec![
            utf8("source", "name of the source"),
            utf8("domain", "domain label"),
            small_count("bin", "", "quality bin, token-weighted over the pool").range("0 to 19"),
            unit_interval("q_from", "where the bin begins: the least q that is in it"),
            count("documents", "documents", "documents in the bucket"),
            count("bytes", "bytes", "their text"),
            count("tokens", "tokens", "their tokens: U, each counted once"),
            Column::new("q", DataType::Float64, "their token-weighted mean q").range("(0, 1]"),
        ],
    }
}

pub(super) fn mix() -> Table {
    Table {
        name: "mix",
        doc: "how often each document is drawn into a mixture; one folder a mixture",
        shape: Shape::Own,
        columns: vec![
            doc_id(),
            small_count("draws", "draws", "times the document occurs").range("1 or more"),
        ],
    }
}

pub(super) fn mixture() -> Table {
    Table {
        name: "mixture",
        doc: "the mixture's text in training order; one folder a mixture",
        shape: Shape::Own,
        columns: vec![
            doc_id(),
            small_count("draw", "draws", "number of this draw of the document").range("0 or more"),
            utf8("source", "name of the source"),
            utf8("domain", "domain label"),
            count("tokens", "tokens", "tokens of the text"),
            Column::new("q", DataType::Float64, "quality of the document").range("(0, 1]"),
            utf8("text", "the text"),
        ],
    }
}
