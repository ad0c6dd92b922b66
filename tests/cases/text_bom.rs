//! A byte order mark at the start of a text, in every format.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use crate::support::{Place, check, query, report, run};

/// Prose that the rules keep.
fn prose(number: usize) -> String {
    let sentences = (0..12).map(|line| {
        format!("The keeper number {number} has written that the {line} boats came back with the fish of the day.")
    });
    sentences.collect::<Vec<_>>().join("\n")
}

#[test]
fn equal_texts_with_and_without_a_mark_are_duplicates() {
    let place = Place::new();
    for number in 0..3 {
        let text = prose(number);
        place.write(
            &format!("in/{number}_marked.txt"),
            format!("\u{feff}{text}"),
        );
        place.write(&format!("in/{number}_plain.txt"), text);
    }
    let settings =
        "[run]\nname = \"bom\"\n[[source]]\nname = \"s\"\npath = \"in\"\n[dedup.exact]\n";
    let dir = place.path("run");
    for clean in [
        "",
        "[clean]\nnfc = true\ncontrol = true\nnewlines = true\ntrailing_space = true\n",
    ] {
        let manifest = place.write("manifest.toml", format!("{settings}{clean}"));
        run(&manifest, &dir, &[])
            .exits(0)
            .says(&["source \"s\": a byte order mark was removed in 3 of 6 documents"]);
        let kept = "SELECT count(*) FROM exact_dedup WHERE reached AND removed_by IS NULL";
        assert_eq!(query(&dir, kept), ["3"]);
        let marked = "SELECT count(*) FROM documents WHERE starts_with(text, chr(65279))";
        assert_eq!(query(&dir, marked), ["0"]);
        let bytes =
            "SELECT sum(raw_bytes - bytes)::INT, sum(bytes - strlen(text))::INT FROM documents";
        assert_eq!(query(&dir, bytes), ["9|0"]);
        assert_eq!(report(&dir)["sources"][0]["repaired"]["byte_order_mark"], 3);
        check(&dir, None).exits(0);
    }
}

#[test]
fn no_text_of_any_format_begins_with_a_mark() {
    let place = Place::new();
    let text = "\u{feff}\u{feff}A word\u{feff}joiner inside";
    place.write("in/a.txt", format!("{text}\n\u{feff}and joined"));
    place.write(
        "in/b.jsonl",
        format!("{{\"text\": \"{text}\"}}\n{{\"text\": \"\\ufeff{text}\"}}\n"),
    );
    place.write("in/c.json", format!("\u{feff}[{{\"text\": \"{text}\"}}]"));
    place.write("in/d.csv", format!("\u{feff}n,text\r\n1,{text}\r\n"));
    place.write("in/e.tsv", format!("text\tn\n{text}\t1\n"));
    let column: ArrayRef = Arc::new(StringArray::from(vec![text, "plain"]));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    place.write("in/f.parquet", writer.into_inner().unwrap());
    let mut writer =
        arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    place.write("in/g.arrow", writer.into_inner().unwrap());

    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"bom\"\n[[source]]\nname = \"s\"\npath = \"in\"\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    let inside = "A word\u{feff}joiner inside";
    let texts = "SELECT path, count(*), count(repaired), string_agg(DISTINCT text) FROM documents WHERE text <> 'plain' GROUP BY path ORDER BY path";
    let expected = [
        format!("a.txt|1|1|{inside}"),
        "and joined".to_owned(),
        format!("b.jsonl|2|2|{inside}"),
        format!("c.json|1|1|{inside}"),
        format!("d.csv|1|1|{inside}"),
        format!("e.tsv|1|1|{inside}"),
        format!("f.parquet|1|1|{inside}"),
        format!("g.arrow|1|1|{inside}"),
    ];
    assert_eq!(query(&dir, texts), expected);
    assert_eq!(report(&dir)["sources"][0]["repaired"]["byte_order_mark"], 8);
    check(&dir, None).exits(0);
}

#[test]
fn a_url_and_an_id_behind_a_mark_are_found() {
    let place = Place::new();
    let address = "http://adult.example/";
    place.write(
        "in/a.jsonl",
        format!("{{\"text\":\"One text.\",\"id\":\"\u{feff}a\",\"url\":\"\u{feff}{address}\"}}\n"),
    );
    place.write(
        "in/b.csv",
        format!(
            "text,id,url\nAnother text.,\u{feff}b,\u{feff}{address}\nA third.,c,http://c.example/\n"
        ),
    );
    place.write("domains.txt", "adult.example\n");
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"bom\"\n[[source]]\nname = \"s\"\npath = \"in\"\n\
         id = \"id\"\nurl = \"url\"\n[filter.url]\ndomains = \"domains.txt\"\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    let found = "SELECT source_id, url, count(repaired) FROM documents GROUP BY ALL ORDER BY 1";
    assert_eq!(
        query(&dir, found),
        [
            format!("a|{address}|1"),
            format!("b|{address}|1"),
            "c|http://c.example/|0".to_owned(),
        ]
    );
    assert_eq!(report(&dir)["sources"][0]["repaired"]["byte_order_mark"], 2);
}
