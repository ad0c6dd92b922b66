//! A Megatron data set of documents that have few tokens or none.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::export::{all_of, dataset, export, pair};
use crate::support::{Place, query};

/// Texts that tokenise to nothing or to little, or that spell special tokens.
const TEXTS: [&str; 13] = [
    "",
    " ",
    "\n",
    "\u{200b}",
    "a",
    "<|endoftext|>",
    "before <|endoftext|> after",
    "<|im_start|>user\nhi<|im_end|>",
    "</s><s>",
    "\0",
    "😀",
    "The old lamp on the shelf gives a warm light. The river runs past the mill and the barn.",
    "",
];

/// The tokens of each row of the mixture, in its order.
fn rows(dir: &Path) -> Vec<usize> {
    let sql = "SELECT tokens FROM read_parquet('mixture/m/*.parquet')";
    let rows = query(dir, sql);
    rows.iter().map(|tokens| tokens.parse().unwrap()).collect()
}

#[test]
fn every_row_is_a_document_with_its_end() {
    let place = Place::new();
    let (dir, out) = (all_of(&place, &TEXTS), place.path("out"));
    let rows = rows(&dir);
    assert_eq!(rows.len(), TEXTS.len());
    assert_eq!(rows.iter().filter(|tokens| **tokens == 0).count(), 2);

    let words = ["--format", "parquet,megatron", "--end", "<|endoftext|>"];
    export(&dir, "m", &out, &words)
        .exits(0)
        .prints(&["13 rows", "13 documents each ended by <|endoftext|>"]);

    // The text "<|endoftext|>" is text: 0 is the end of each document, and nowhere else.
    let (documents, _) = pair(&out, "part-00000");
    for (ids, tokens) in documents.iter().zip(&rows) {
        assert_eq!(ids.len(), tokens + 1, "{ids:?}");
        assert_eq!(ids.iter().position(|id| *id == 0), Some(*tokens), "{ids:?}");
    }
    assert_eq!(documents.len(), rows.len());

    let ids = &dataset(&out)["token_ids"];
    let sum: usize = rows.iter().sum();
    assert_eq!(ids["ids"], sum + rows.len());
    assert_eq!(
        (&ids["documents"], &ids["documents_left_out"]),
        (&json!(13), &json!(0))
    );
    assert_eq!(
        (&ids["end_id"], &ids["end_token"]),
        (&json!(0), &json!("<|endoftext|>"))
    );
}

#[test]
fn without_an_end_documents_without_ids_are_left_out_and_counted() {
    let place = Place::new();
    let (dir, out) = (all_of(&place, &TEXTS), place.path("out"));
    export(
        &dir,
        "m",
        &out,
        &["--format", "parquet,megatron", "--no-end"],
    )
    .exits(0)
    .prints(&["11 documents without an end; 2 documents without ids left out"]);

    let rows: Vec<usize> = rows(&dir)
        .into_iter()
        .filter(|tokens| *tokens > 0)
        .collect();
    let lengths: Vec<usize> = pair(&out, "part-00000").0.iter().map(Vec::len).collect();
    assert_eq!(lengths, rows);

    let ids = &dataset(&out)["token_ids"];
    assert_eq!(
        (&ids["documents"], &ids["documents_left_out"]),
        (&json!(11), &json!(2))
    );
    assert_eq!(
        (&ids["end_id"], &ids["end_token"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(ids["ids"], rows.iter().sum::<usize>());
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    for line in [
        "| documents left out, because they have no ids | 2 |",
        "| end of each document | none |",
    ] {
        assert!(card.contains(line), "{card}");
    }
}
