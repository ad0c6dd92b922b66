//! Fields that a manifest reads of the records: what is counted, what stops a run, and what a term
//! without a value does.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Outcome, Place, check, query, report, run};

/// A manifest over two sources of records, with what is to be set.
fn manifest(place: &Place, web: &[Value], books: &[Value], more: &str) -> PathBuf {
    let lines = |records: &[Value]| records.iter().map(|r| format!("{r}\n")).collect::<String>();
    place.write("web.jsonl", lines(web));
    place.write("books.jsonl", lines(books));
    place.write("domains.txt", "adult.example\n");
    place.write("empty.txt", "# nothing yet\n\n");
    let head = "[run]\nname = \"fields\"\n[[source]]\nname = \"web\"\npath = \"web.jsonl\"\nurl = \"link\"\n";
    let books = "[[source]]\nname = \"books\"\npath = \"books.jsonl\"\n";
    place.write("fields.toml", format!("{head}{more}\n{books}"))
}

fn record(number: u32, fields: Value) -> Value {
    let mut record =
        json!({ "text": format!("Text number {number} says what number {number} says.") });
    record
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    record
}

fn records(range: std::ops::Range<u32>, fields: impl Fn(u32) -> Value) -> Vec<Value> {
    range.map(|number| record(number, fields(number))).collect()
}

fn with(place: &Place, web: Value, more: &str) -> Outcome {
    let web = records(0..10, |_| web.clone());
    let manifest = manifest(place, &web, &records(10..20, |_| json!({})), more);
    run(&manifest, &place.path("run"), &[])
}

#[test]
fn a_field_that_no_source_names_is_a_mistake_in_the_manifest() {
    let place = Place::new();
    let nameless = |rest: &str| {
        place.write("a.jsonl", "{\"text\":\"a\"}\n");
        place.write("domains.txt", "adult.example\n");
        let head = "[run]\nname = \"none\"\n[[source]]\nname = \"s\"\npath = \"a.jsonl\"\n";
        run(
            &place.write("none.toml", format!("{head}{rest}")),
            &place.path("none"),
            &[],
        )
    };
    let list = "[filter.url]\ndomains = \"domains.txt\"\n";
    nameless(list).exits(2).says(&[
        "filter.url: no [[source]] names the field url",
        "hint: for example url = ",
    ]);
    nameless("[dedup.exact]\nurl = true\n")
        .exits(2)
        .says(&["dedup.exact.url: no [[source]] names the field url"]);
    let newest = "[dedup.near]\nprefer = [\"newest\"]\n";
    nameless(newest)
        .exits(2)
        .says(&["dedup.near.prefer: no [[source]] names the field date"]);
    nameless("[filter.url]\n")
        .exits(0)
        .says(&["warning: [filter.url] names no list"]);
    // Without these settings the same sources are fine.
    nameless("").exits(0);

    // One source that names the field is enough.
    with(&place, json!({ "link": "http://a.example/" }), list).exits(0);
    for (key, name) in [
        ("filter.url", "domains"),
        ("filter.url", "substrings"),
        ("filter.c4_bad_words", "file"),
    ] {
        let empty = format!("[{key}]\n{name} = \"empty.txt\"\n");
        with(&place, json!({ "link": "http://x.example/" }), &empty)
            .exits(2)
            .says(&["the list has no entry"]);
    }
}

#[test]
fn a_named_field_that_no_record_has_stops_the_run() {
    let place = Place::new();
    let list = "[filter.url]\ndomains = \"domains.txt\"\n";
    for (fields, kinds) in [
        (
            json!({ "lnk": "http://adult.example/" }),
            "10 without the field",
        ),
        (json!({ "link": null }), "10 without the field"),
        (
            json!({ "link": ["http://adult.example/"] }),
            "10 of another type",
        ),
        (json!({ "link": true }), "10 of another type"),
        (json!({ "link": " " }), "10 without the field"),
    ] {
        let what = format!(
            "source \"web\": url = \"link\": 0 of 10 records have a usable value ({kinds})"
        );
        with(&place, fields, list)
            .exits(1)
            .says(&[&what, "allow_missing = [\"url\"]"]);
    }
    let date = "date = \"day\"\n";
    with(
        &place,
        json!({ "link": "http://u.example/", "day": "soon" }),
        date,
    )
    .exits(1)
    .says(&["date = \"day\": 0 of 10 records have a usable value (10 that are not dates)"]);

    // The stop is lifted for the field, or for all.
    let allowed = "allow_missing = [\"url\"]\n[filter.url]\ndomains = \"domains.txt\"\n";
    with(&place, json!({}), allowed)
        .exits(0)
        .says(&["warning: source \"web\": url"]);
    let lifted = manifest(&place, &records(0..10, |_| json!({})), &[], list);
    run(&lifted, &place.path("run"), &["--allow-missing"]).exits(0);
    run(&lifted, &place.path("run"), &[]).exits(1);
}

#[test]
fn coverage_is_a_table_a_part_of_the_report_and_a_warning() {
    let place = Place::new();
    let web = records(0..10, |number| match number {
        0..4 => json!({ "link": format!("http://a.example/{number}"), "when": "2020-01-02" }),
        4 => json!({ "link": {"href": "x"}, "when": "yesterday" }),
        _ => json!({ "when": [1] }),
    });
    let manifest = manifest(
        &place,
        &web,
        &records(10..20, |_| json!({})),
        "date = \"when\"\n",
    );
    let dir = place.path("run");
    let said = "source \"web\": url = \"link\": 4 of 10 records have a usable value (5 without the field, 1 of another type)";
    run(&manifest, &dir, &[])
        .exits(0)
        .says(&[&format!("warning: {said}")]);
    check(&dir, None).exits(0);
    let rows = query(
        &dir,
        "SELECT source, field, path, records, usable, other_type, unparsable FROM coverage",
    );
    assert_eq!(
        rows,
        [
            "books|id|None|10|0|0|0",
            "books|url|None|10|0|0|0",
            "books|date|None|10|0|0|0",
            "web|id|None|10|0|0|0",
            "web|url|link|10|4|1|0",
            "web|date|when|10|4|5|1",
        ]
    );
    let url = &report(&dir)["sources"][0]["coverage"]["url"];
    assert_eq!(
        (url["usable"].as_u64(), url["other_type"].as_u64()),
        (Some(4), Some(1))
    );

    // What was not usable is kept with the record.
    let kept = query(
        &dir,
        "SELECT meta FROM documents WHERE ordinal = 4 AND source = 'web'",
    );
    assert_eq!(kept, [r#"{"link":{"href":"x"},"when":"yesterday"}"#]);
    let less = ["--set", "run.min_coverage=0.4"];
    let quiet = run(&manifest, &dir, &less).exits(0);
    assert!(quiet.stderr.contains(said) && !quiet.stderr.contains(&format!("warning: {said}")));
    // A second run counts nothing again, and says the same.
    run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["everything was cached"])
        .says(&[said]);
}

#[test]
fn vetoes_and_terms_need_numbers() {
    let place = Place::new();
    let veto = "[[quality.veto]]\ncolumn = \"meta.toxicity\"\nabove = 0.8\n";
    let link = |value: Value| json!({ "link": "http://u.example/", "toxicity": value });
    with(&place, link(json!("0.99")), veto)
        .exits(1)
        .says(&["all sources: meta.toxicity: 0 of 20 records have a usable value (10 without the field, 10 of another type)"]);
    with(&place, link(json!(0.99)), veto).exits(0);
    with(
        &place,
        link(json!(0.99)),
        &veto.replace("toxicity", "toxicty"),
    )
    .exits(1)
    .says(&["meta.toxicty: 0 of 20", "--allow-missing lifts this check"]);
}

#[test]
fn every_field_that_does_nothing_is_named_with_its_way_out() {
    let place = Place::new();
    let terms = "date = \"day\"\n[[quality.term]]\ncolumn = \"meta.scor\"\n\
                 [[quality.veto]]\ncolumn = \"meta.toxicty\"\nabove = 0.8\n";
    with(&place, json!({ "lnk": "u" }), terms).exits(1).says(&[
        "source \"web\": url = \"link\": 0 of 10",
        "source \"web\": date = \"day\": 0 of 10",
        "all sources: meta.scor: 0 of 20",
        "all sources: meta.toxicty: 0 of 20",
        "allow_missing = [\"date\", \"url\"] in the source",
        "the term over meta.scor needs a value in every record",
        "write missing = \"neutral\"",
    ]);
}

/// Runs with a term over `meta.score`, which only the web has, beside one over the length.
fn scored(place: &Place, dir: &Path, missing: &str) -> Outcome {
    let terms = format!(
        "[quality]\ncombine = \"mean\"\n[[quality.term]]\ncolumn = \"meta.score\"\n{missing}\n\
         [[quality.term]]\ncolumn = \"meta.other\"\n"
    );
    let web = records(
        0..4,
        |_| json!({ "link": "http://u.example/", "score": 0.5, "other": 0.9 }),
    );
    let books = records(10..14, |_| json!({ "other": 0.7 }));
    run(&manifest(place, &web, &books, &terms), dir, &[])
}

#[test]
fn a_term_without_a_value_follows_its_policy() {
    let place = Place::new();
    let dir = place.path("run");
    let q = "SELECT DISTINCT source, round(q, 6), terms['meta.score'], removed_by FROM quality JOIN documents USING (doc_id) ORDER BY 1";
    let refused =
        "source \"books\": meta.score: 0 of 4 records have a usable value (4 without the field)";
    for refuse in ["", "missing = \"refuse\""] {
        scored(&place, &dir, refuse)
            .exits(1)
            .says(&[refused, "write missing = \"neutral\""]);
        // The run stopped right behind the documents.
        assert!(
            dir.join("documents/_commit.json").exists()
                && !dir.join("language/_commit.json").exists()
        );
    }

    // --allow-missing is about fields that do nothing. It does not put the stop off to the last stage.
    let refusing = place.path("fields.toml");
    run(&refusing, &dir, &["--allow-missing"])
        .exits(1)
        .says(&[refused]);
    assert!(!dir.join("language/_commit.json").exists());

    let web = "web|0.7|0.5|None".to_owned();
    for (missing, books) in [
        ("missing = \"neutral\"", "books|0.7|None|None"),
        ("missing = 0.3", "books|0.5|None|None"),
        (
            "missing = \"drop\"",
            "books|None|None|quality.missing.meta.score",
        ),
    ] {
        scored(&place, &dir, missing).exits(0);
        check(&dir, None).exits(0);
        assert_eq!(query(&dir, q), [books.to_owned(), web.clone()], "{missing}");
    }
    // Where no term is left, q is the mean of the others, and never the best.
    let (web, books) = (|n: u32| 0.2 + f64::from(n % 5) / 10.0, |_: u32| json!({}));
    let only = manifest(
        &place,
        &records(
            0..10,
            |n| json!({ "link": "http://u.example/", "score": web(n) }),
        ),
        &records(10..20, books),
        "[[quality.term]]\ncolumn = \"meta.score\"\nmissing = \"neutral\"\n",
    );
    run(&only, &dir, &[]).exits(0);
    check(&dir, None).exits(0);
    let mean =
        "SELECT abs(max(q.q) FILTER (source = 'books') - sum(q.q * tokens) FILTER (source = 'web')
        / sum(tokens) FILTER (source = 'web')) < 1e-9, count(DISTINCT q.q) FILTER (source = 'books')
        FROM quality q JOIN documents USING (doc_id) JOIN tokens USING (doc_id)";
    assert_eq!(query(&dir, mean), ["True|1"]);

    for wrong in [
        "missing = \"none\"",
        "missing = 0",
        "missing = 1.5",
        "missing = true",
    ] {
        scored(&place, &dir, wrong)
            .exits(2)
            .says(&["quality.term.missing"]);
    }
}

#[test]
fn a_dropped_document_is_in_no_percentile() {
    let place = Place::new();
    let dir = place.path("run");
    let terms = "[[quality.term]]\ncolumn = \"meta.other\"\nmap = \"percentile\"\n\
                 [[quality.term]]\ncolumn = \"meta.score\"\nmissing = \"drop\"\n";
    let web = records(
        0..4,
        |n| json!({ "link": "http://u.example/", "score": 0.5, "other": 0.1 * f64::from(n + 1) }),
    );
    let percentiles =
        "SELECT measure, domain, documents, round(value, 3), share FROM quality_maps ORDER BY ALL";
    let mut found = Vec::new();
    // The second source has the same domain, and none of its documents has a score.
    for books in [records(10..14, |_| json!({ "other": 0.9 })), Vec::new()] {
        let domain = "domain = \"one\"\n";
        let manifest = manifest(&place, &web, &books, &format!("{domain}{terms}"));
        let text = std::fs::read_to_string(&manifest).unwrap();
        let manifest = place.write("fields.toml", format!("{text}domain = \"one\"\n"));
        run(&manifest, &dir, &[]).exits(0);
        found.push(query(&dir, percentiles));
    }
    assert!(found[0].len() > 2, "{found:?}");
    assert_eq!(found[0], found[1]);
}

#[test]
fn a_placeholder_is_no_url() {
    let place = Place::new();
    let web = records(0..10, |n| match n % 2 {
        0 => json!({ "link": "N/A" }),
        _ => json!({ "link": format!("https://a.example/{n}") }),
    });
    let exact = manifest(&place, &web, &[], "[dedup.exact]\nurl = true\n");
    let dir = place.path("run");
    run(&exact, &dir, &[])
        .exits(0)
        .says(&["5 of 10 records have a usable value (5 that name no host)"]);
    // Records that share a placeholder are no copies of each other.
    let kept = "SELECT count(*) FROM exact_dedup WHERE removed_by IS NULL";
    assert_eq!(query(&dir, kept), ["10"]);
}
