//! Lone surrogates, NUL, noncharacters and numbers that JSON does not have.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use crate::support::{Place, check, query, report, run};

/// The prose around what is odd.
const PROSE: &str = "The harbour lies behind the hill";

/// A manifest of the source `lines` over `in/`.
fn manifest(place: &Place, more: &str) -> std::path::PathBuf {
    let text = format!(
        "[run]\nname = \"odd\"\nmax_quarantine_ratio = 1\n[[source]]\nname = \"lines\"\npath = \"in\"\nid = \"id\"\n{more}\n"
    );
    place.write("manifest.toml", text)
}

#[test]
fn a_lone_surrogate_becomes_a_replacement_character_and_is_counted() {
    let place = Place::new();
    let texts = [
        ("high", "\\ud83d end"),
        ("low", "\\udcb2 end"),
        ("swapped", "\\uDE00\\uD83D end"),
        ("pair", "\\ud83d\\ude00 end"),
        ("escaped", "\\\\ud83d end"),
        ("nul", "\\u0000 end"),
        ("nonchar", "\\uffff \\ufdd0 end"),
        ("slash", "\\/ \\u002f end"),
        ("bad_escape", "\\x41 end"),
    ];
    let mut lines: String = texts
        .iter()
        .map(|(id, text)| format!("{{\"id\":\"{id}\",\"text\":\"{PROSE} {text}\"}}\n"))
        .collect();
    lines += &format!("{{\"id\":\"in_meta\",\"m\":[\"\\ud83d\"],\"text\":\"{PROSE}\"}}\n");
    lines += &format!("{{\"id\":\"\\ud83d\",\"text\":\"{PROSE}\"}}\n");
    lines += &format!("{{\"id\":\"key\",\"\\ude00\":1,\"text\":\"{PROSE}\"}}\n");
    let mut bytes = lines.into_bytes();
    for (id, odd) in [
        ("raw_nul", &b"\0"[..]),
        ("cesu", b"\xed\xa0\xbd\xed\xb8\x80"),
    ] {
        bytes.extend(format!("{{\"id\":\"{id}\",\"text\":\"").bytes());
        bytes.extend_from_slice(odd);
        bytes.extend(b"\"}\n");
    }
    place.write("in/x.jsonl", bytes);

    let dir = place.path("run");
    run(&manifest(&place, ""), &dir, &[])
        .exits(0)
        .says(&["source \"lines\": a lone surrogate became U+FFFD in 6 of 11 documents"]);
    let texts = format!(
        "SELECT source_id, replace(text, '{PROSE} ', '') FROM documents WHERE text <> '{PROSE}' ORDER BY ordinal"
    );
    assert_eq!(
        query(&dir, &texts),
        [
            "high|\u{fffd} end",
            "low|\u{fffd} end",
            "swapped|\u{fffd}\u{fffd} end",
            "pair|\u{1f600} end",
            "escaped|\\ud83d end",
            "nul|\0 end",
            "nonchar|\u{ffff} \u{fdd0} end",
            "slash|/ / end",
        ]
    );
    let fields = format!(
        "SELECT source_id, meta->>'$.m[0]', json_keys(meta)[1] FROM documents WHERE text = '{PROSE}' ORDER BY ordinal"
    );
    assert_eq!(
        query(&dir, &fields),
        [
            "in_meta|\u{fffd}|m",
            "\u{fffd}|None|None",
            "key|None|\u{fffd}"
        ]
    );
    let reasons = "SELECT reason FROM quarantine ORDER BY ordinal";
    assert_eq!(
        query(&dir, reasons),
        ["invalid_json", "invalid_json", "invalid_utf8"]
    );

    let repaired = "SELECT count(*) FROM documents WHERE list_contains(repaired, 'lone_surrogate')";
    assert_eq!(query(&dir, repaired), ["6"]);
    let repaired = &report(&dir)["sources"][0]["repaired"];
    assert_eq!(repaired.to_string(), "{\"lone_surrogate\":6}");
    check(&dir, None).exits(0);
}

#[test]
fn the_counts_of_repairs_survive_a_run_that_reads_nothing() {
    let place = Place::new();
    place.write(
        "in/x.jsonl",
        "{\"id\":1,\"text\":\"\\ud800\"}\n{\"id\":2,\"text\":\"\u{feff}a\"}\n",
    );
    let dir = place.path("run");
    let first = run(&manifest(&place, ""), &dir, &[]).exits(0);
    let counts = report(&dir)["sources"][0]["repaired"].clone();
    assert_eq!(
        counts.to_string(),
        "{\"byte_order_mark\":1,\"lone_surrogate\":1}"
    );

    let second = run(&manifest(&place, ""), &dir, &[]).exits(0);
    assert_eq!(report(&dir)["sources"][0]["repaired"], counts);
    for outcome in [first, second] {
        outcome.says(&["a byte order mark was removed in 1 of 2 documents"]);
    }
}

#[test]
fn a_number_that_json_does_not_have_costs_no_record() {
    let place = Place::new();
    let lines = [
        r#"{"id":1,"text":"NaN stays","loss":NaN,"deep":{"x":[Infinity,-Infinity]},"score":0.5}"#,
        r#"{"id":2,"text":"a","score":NaN}"#,
        r#"{"id":NaN,"text":"b","score":0.25}"#,
        r#"{"id":4,"text":NaN,"score":0.25}"#,
    ];
    place.write("in/x.jsonl", lines.join("\n"));
    place.write(
        "in/y.json",
        format!("[{}]", lines.join(",").replace("\"id\":", "\"id\":1")),
    );
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Float64Array::from(vec![1.0, f64::NAN]))),
        ("text", Arc::new(StringArray::from(vec!["p", "q"]))),
        (
            "score",
            Arc::new(Float64Array::from(vec![f64::INFINITY, 0.5])),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    place.write("in/z.parquet", writer.into_inner().unwrap());

    let dir = place.path("run");
    let term = "[[quality.term]]\ncolumn = \"meta.score\"\nmissing = \"neutral\"\n";
    run(&manifest(&place, term), &dir, &[]).exits(0);
    let rows = "SELECT source_id, text, meta FROM documents WHERE path IN ('x.jsonl', 'z.parquet') ORDER BY path, ordinal";
    assert_eq!(
        query(&dir, rows),
        [
            "1|NaN stays|{\"loss\":null,\"deep\":{\"x\":[null,null]},\"score\":0.5}",
            "2|a|{\"score\":null}",
            "None|b|{\"score\":0.25}",
            "1.0|p|{\"score\":null}",
            "None|q|{\"score\":0.5}",
        ]
    );
    let coverage = "SELECT field, records, usable FROM coverage WHERE path IS NOT NULL ORDER BY 1";
    assert_eq!(query(&dir, coverage), ["id|7|5", "meta.score|7|4"]);
    let lost = "SELECT path, reason FROM quarantine ORDER BY 1";
    assert_eq!(
        query(&dir, lost),
        [
            "x.jsonl|missing_text",
            "y.json|invalid_json",
            "y.json|missing_text"
        ]
    );
}

#[test]
fn text_files_of_other_encodings_are_named() {
    let place = Place::new();
    let wide: Vec<u8> = PROSE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    place.write("in/wide.txt", [&b"\xff\xfe"[..], &wide].concat());
    place.write("in/mark.txt", format!("\u{feff}{PROSE}"));
    place.write("in/latin1.txt", b"caf\xe9");
    place.write("in/empty.txt", "");
    place.write("in/white.txt", " \r\n\r\n");
    let dir = place.path("run");
    let manifest = manifest(&place, "allow_missing = [\"id\"]");
    run(&manifest, &dir, &[]).exits(0);
    let texts = "SELECT path, text = '', repaired FROM documents ORDER BY 1";
    assert_eq!(
        query(&dir, texts),
        [
            "empty.txt|True|None",
            "mark.txt|False|['byte_order_mark']",
            "white.txt|False|None"
        ]
    );
    let lost = "SELECT path, reason, records FROM quarantine ORDER BY 1";
    assert_eq!(
        query(&dir, lost),
        ["latin1.txt|invalid_utf8|1", "wide.txt|other_format|1"]
    );
}
