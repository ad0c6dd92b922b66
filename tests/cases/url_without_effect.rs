//! Lists, vetoes and terms over a field that no record has.

use serde_json::json;

use crate::support::{Outcome, Place, report, run, stage_of};

/// Writes 100 records, which have an address in `link` and a number in quotes in `toxicity`, and
/// runs a manifest with `more` behind the source's own keys.
fn with(place: &Place, more: &str) -> Outcome {
    let record = |n| {
        json!({
            "id": n,
            "link": format!("https://adult.example/{n}"),
            "toxicity": "0.99",
            "text": format!("Page number {n} of the house by the lake has number {n} on its door."),
        })
    };
    let lines: String = (0..100).map(|n| format!("{}\n", record(n))).collect();
    place.write("in/a.jsonl", lines);
    place.write("bad.txt", "adult.example\n");
    place.write("empty.txt", "# nothing yet\n\n");

    let head = "[run]\nname = \"field\"\n[[source]]\nname = \"s\"\npath = \"in\"\nid = \"id\"\n";
    let manifest = place.write("field.toml", format!("{head}{more}"));
    run(&manifest, &place.path("run"), &[])
}

#[test]
fn a_list_over_the_right_field_removes_all() {
    let place = Place::new();
    with(
        &place,
        "url = \"link\"\n[filter.url]\ndomains = \"bad.txt\"\n",
    )
    .exits(0);
    let report = report(&place.path("run"));
    let docs = &stage_of(&report, "filter")["docs"];
    assert_eq!((&docs["in"], &docs["kept"]), (&100.into(), &0.into()));
    assert_eq!(docs["removed"], json!({ "url.domain": 100 }));
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let place = Place::new();
    let list = "[filter.url]\ndomains = \"bad.txt\"\n";
    let veto = |field: &str| format!("[[quality.veto]]\ncolumn = \"meta.{field}\"\nabove = 0.8\n");
    let cases = [
        // The manifest alone shows the mistake.
        (
            list.to_owned(),
            2,
            "filter.url: no [[source]] names the field url",
        ),
        (
            "url = \"link\"\n[filter.url]\ndomains = \"empty.txt\"\n".to_owned(),
            2,
            "filter.url.domains",
        ),
        (
            "[dedup.exact]\nurl = true\n".to_owned(),
            2,
            "dedup.exact.url: no [[source]] names the field url",
        ),
        // The records show it.
        (
            format!("url = \"lnk\"\n{list}"),
            1,
            "source \"s\": url = \"lnk\": 0 of 100 records have a usable value (100 without the field)",
        ),
        (
            veto("toxicity"),
            1,
            "meta.toxicity: 0 of 100 records have a usable value (100 of another type)",
        ),
        (
            veto("toxicty"),
            1,
            "meta.toxicty: 0 of 100 records have a usable value (100 without the field)",
        ),
        (
            "[[quality.term]]\ncolumn = \"meta.toxicity\"\n".to_owned(),
            1,
            "meta.toxicity: 0 of 100 records have a usable value (100 of another type)",
        ),
    ];
    for (more, code, said) in cases {
        with(&place, &more).exits(code).says(&[said]);
    }
}

#[test]
fn a_table_without_a_list_is_a_warning() {
    let place = Place::new();
    with(&place, "url = \"link\"\n[filter.url]\n")
        .exits(0)
        .says(&["warning: [filter.url] names no list, so it removes nothing"]);
    let report = report(&place.path("run"));
    assert_eq!(stage_of(&report, "filter")["docs"]["kept"], 100);
}
