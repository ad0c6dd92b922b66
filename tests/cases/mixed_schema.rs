//! Fields that change their type from record to record and from file to file.

use std::fs::{self, File};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, NullArray, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::support::{Outcome, Place, check, query, report, run};

fn prose(name: &str) -> String {
    format!("Text {name} walks down the road to the mill, and {name} comes back by the river.")
}

/// The JSON of an object whose text is [`prose`], with further fields.
fn line(name: &str, fields: Value) -> String {
    let mut record = json!({ "text": prose(name) });
    let more = fields.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(more);
    format!("{record}\n")
}

fn write_lines(place: &Place) {
    let files = [
        (
            "a",
            line("a1", json!({ "id": "a1" })) + &line("a2", json!({ "id": "a2" })),
        ),
        (
            "b",
            line("b1", json!({ "id": 1, "meta": { "n": 1 } }))
                + &line("b2", json!({ "id": 2, "meta": "words" })),
        ),
        (
            "c",
            line(
                "c1",
                json!({ "url": "http://x.example/1", "id": null, "meta": [1, 2] }),
            ) + &line("c2", json!({ "url": null, "date": "31 January 2024" })),
        ),
        (
            "d",
            line(
                "d1",
                json!({ "date": "2024-01-31T00:00:00Z", "score": 0.5 }),
            ) + &line("d2", json!({ "date": 1_706_659_200, "score": "0.7" }))
                + &line("d3", json!({ "score": null })),
        ),
    ];
    for (name, lines) in files {
        place.write(&format!("in_jsonl/{name}.jsonl"), lines);
    }
}

fn texts<const N: usize>(texts: [Option<&str>; N]) -> ArrayRef {
    Arc::new(StringArray::from(
        texts.map(|text| text.map(prose)).to_vec(),
    ))
}

fn write_tables(place: &Place) {
    fs::create_dir_all(place.path("in_pq")).unwrap();
    let strings = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let numbers = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let nulls = |n| -> ArrayRef { Arc::new(NullArray::new(n)) };
    let inner = Arc::new(Field::new("n", DataType::Int64, true));
    let extra: ArrayRef = Arc::new(StructArray::from(vec![(inner, numbers(vec![1, 2]))]));
    let half: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None]));
    let id: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));

    let files: [(&str, Vec<(&str, ArrayRef)>); 6] = [
        (
            "a",
            vec![
                ("id", strings(vec!["a1", "a2"])),
                ("text", texts([Some("p-a1"), Some("p-a2")])),
            ],
        ),
        (
            "b",
            vec![
                ("text", texts([Some("p-b1"), Some("p-b2")])),
                ("id", numbers(vec![1, 2])),
                ("extra", extra),
            ],
        ),
        (
            "c",
            vec![
                ("text", texts([None, Some("p-c1")])),
                ("id", nulls(2)),
                ("score", half),
            ],
        ),
        // A chunk in which every text is null has a column without a type.
        ("d", vec![("text", nulls(2)), ("id", numbers(vec![7, 8]))]),
        (
            "e",
            vec![
                ("text", texts([Some("p-e1")])),
                ("id", id),
                ("score", strings(vec!["0.9"])),
            ],
        ),
        ("f", vec![("text", texts([])), ("id", numbers(vec![]))]),
    ];
    for (name, columns) in files {
        let columns = columns
            .into_iter()
            .map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let file = File::create(place.path(&format!("in_pq/{name}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// Runs with a term over `meta.score`, and its policy for documents without a value.
fn scored(place: &Place, missing: &str) -> Outcome {
    let manifest = format!(
        "[run]\nname = \"mixed\"\nmax_quarantine_ratio = 1.0\n\
         [[source]]\nname = \"lines\"\npath = \"in_jsonl\"\nid = \"id\"\nurl = \"url\"\ndate = \"date\"\n\
         [[source]]\nname = \"tables\"\npath = \"in_pq\"\nid = \"id\"\n\
         [dedup.exact]\n[[quality.term]]\ncolumn = \"meta.score\"\nmap = \"percentile\"\n{missing}\n"
    );
    run(
        &place.write("mixed.toml", manifest),
        &place.path("run"),
        &[],
    )
}

#[test]
fn fields_of_many_types_are_read_and_counted() {
    let place = Place::new();
    let dir = place.path("run");
    write_lines(&place);
    write_tables(&place);

    // By default the run stops, and says how many documents have no number and why.
    scored(&place, "").exits(1).says(&[
        "source \"lines\": meta.score: 1 of 9 records have a usable value",
        "write missing = \"neutral\"",
    ]);
    let documents = "SELECT source, count(*) FROM documents GROUP BY 1 ORDER BY 1";
    assert_eq!(query(&dir, documents), ["lines|9", "tables|6"]);
    let quarantine =
        "SELECT path, reason, sum(records)::INT FROM quarantine GROUP BY ALL ORDER BY 1";
    let expected = ["c.parquet|missing_text|1", "d.parquet|missing_text|2"];
    assert_eq!(query(&dir, quarantine), expected);

    // With a policy the report says for how many documents the policy held.
    for (missing, value, effect) in [
        (
            "\"neutral\"",
            json!("neutral"),
            "the term is left out of their q",
        ),
        ("0.3", json!(0.3), "their term is 0.3"),
        ("\"drop\"", json!("drop"), "they are removed"),
    ] {
        let said = format!(
            "term meta.score: 14 of 15 documents have no value (11 absent, 2 not_a_number, 1 null), {effect}"
        );
        scored(&place, &format!("missing = {missing}"))
            .exits(0)
            .prints(&[&said]);
        let term = json!({
            "column": "meta.score",
            "missing": value,
            "documents": 15,
            "without_value": { "absent": 11, "not_a_number": 2, "null": 1 },
        });
        assert_eq!(report(&dir)["terms"], json!([term]));
        check(&dir, None).exits(0);
    }
    assert_eq!(
        query(
            &dir,
            "SELECT source_id FROM documents JOIN quality USING (doc_id) WHERE q IS NOT NULL"
        ),
        ["None"]
    );
}

#[test]
fn a_term_with_a_value_in_every_document_says_nothing() {
    let place = Place::new();
    write_lines(&place);
    write_tables(&place);
    for name in ["a", "b", "c", "d"] {
        place.write(
            &format!("in_jsonl/{name}.jsonl"),
            line(
                name,
                json!({ "id": name, "url": "http://u.example/", "date": "2024-01-31", "score": 0.5 }),
            ),
        );
    }
    fs::remove_dir_all(place.path("in_pq")).unwrap();
    place.write(
        "in_pq/a.jsonl",
        line("t", json!({ "id": "t", "score": true })),
    );

    let outcome = scored(&place, "").exits(0);
    assert!(!outcome.stdout.contains("term meta.score"));
    let report = report(&place.path("run"));
    assert_eq!(report["terms"][0]["documents"], 5);
    assert_eq!(report["terms"][0]["without_value"], json!({}));
    check(&place.path("run"), None).exits(0);
}
