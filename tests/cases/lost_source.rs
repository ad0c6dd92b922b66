//! A small source that is lost as a whole.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Outcome, Place, check, curate, query, report, run};

/// Records of texts that no two share. `field` is the name of their text field.
fn records(source: &str, field: &str, count: u32) -> Vec<Value> {
    let text =
        |n| format!("The {source} tells story number {n} of a hill and of a mill by the sea.");
    (0..count)
        .map(|n| json!({ "id": n, field: text(n) }))
        .collect()
}

/// Writes a manifest over `big`, 100 good records, and `small`. `more` goes into the table of
/// `small` and behind it.
fn manifest(place: &Place, small: &[Value], more: &str) -> PathBuf {
    let lines = |records: &[Value]| records.iter().map(|r| format!("{r}\n")).collect::<String>();
    place.write("big/a.jsonl", lines(&records("bird", "text", 100)));
    place.write("small/a.jsonl", lines(small));
    let head = "[run]\nname = \"lost\"\n[[source]]\nname = \"big\"\npath = \"big\"\nid = \"id\"\n";
    let small = "[[source]]\nname = \"small\"\npath = \"small\"\nid = \"id\"\n";
    place.write("lost.toml", format!("{head}{small}{more}\n[dedup.exact]\n"))
}

/// Runs the manifest of [`manifest`].
fn with(place: &Place, small: &[Value], more: &str) -> Outcome {
    run(&manifest(place, small, more), &place.path("run"), &[])
}

/// `bad` records without a text, and `good` ones.
fn damaged(bad: u32, good: u32) -> Vec<Value> {
    [records("fox", "content", bad), records("fox", "text", good)].concat()
}

#[test]
fn a_source_of_which_nothing_is_left_stops_the_run() {
    let place = Place::new();
    let dir = place.path("run");
    let said = "source \"small\": 4 of 4 records could not be read, so no document of the source \
                is left: 4 missing_text (a.jsonl, record 0: no field \"text\"; there are: id, content)";
    let hint = "hint: set text in [[source]] to a field that the records have";
    // No ratio lifts the stop, and a second run says the same from what is committed.
    let lifted = "max_quarantine_ratio = 1\n";
    for more in ["", lifted, lifted] {
        with(&place, &damaged(4, 0), more)
            .exits(1)
            .says(&[said, hint]);
        assert!(!dir.join("language/_commit.json").exists());
    }
    let all = ["--set", "run.max_quarantine_ratio=1"];
    let refused = manifest(&place, &damaged(4, 0), "");
    run(&refused, &dir, &all).exits(1).says(&[said]);

    // The funnel of the stopped run names the source.
    let status = curate(["status".as_ref(), dir.as_os_str()]).exits(0).stdout;
    let row = status.lines().find(|line| line.starts_with("small"));
    let numbers: Vec<&str> = row.unwrap().split_whitespace().skip(1).collect();
    assert_eq!(numbers, ["4", "4", "0"], "{status}");

    // The right name of the field mends it.
    run(&refused, &dir, &["--set", "source.small.text=content"]).exits(0);
    assert_eq!(report(&dir)["sources"][1]["quarantined"], 0);
    check(&dir, None).exits(0);
}

#[test]
fn every_way_to_lose_all_records_is_named() {
    let place = Place::new();
    let dir = place.path("run");
    manifest(&place, &[], "");
    for (lines, reason, hint) in [
        (
            "not json\nnot json\n",
            "2 invalid_json (a.jsonl, record 0: ",
            "hint: mend the files",
        ),
        (
            "{\"text\": 7}\n{\"text\": [1]}\n",
            "2 text_not_string (a.jsonl, record 0: field \"text\" is 7)",
            "hint: set text in [[source]] to a field that holds text, mend the files",
        ),
        (
            "{\"text\": null}\n{\"body\": \"b\"}\n{\"body\": \"c\"}\n",
            "3 missing_text (a.jsonl, record 1: no field \"text\"; there are: body)",
            "hint: set text in [[source]] to a field that the records have, mend the files",
        ),
    ] {
        place.write("small/a.jsonl", lines);
        let stopped = run(&place.path("lost.toml"), &dir, &["--until", "documents"]);
        stopped.exits(1).says(&[
            "source \"small\": ",
            "no document of the source is left",
            reason,
            hint,
        ]);
    }

    // Several sources are named at once, each in a line of its own.
    place.write("big/a.jsonl", "{\"text\": 1}\n");
    let stopped = run(&place.path("lost.toml"), &dir, &[]).exits(1);
    let named = |name: &str| stopped.stderr.contains(&format!("source \"{name}\": "));
    assert!(named("big") && named("small"), "{}", stopped.stderr);
}

#[test]
fn a_source_is_judged_by_its_own_records() {
    let place = Place::new();
    // 2 of 110 records are fewer than the run may lose, and 2 of 10 are more than the source may.
    with(&place, &damaged(2, 8), "").exits(1).says(&[
        "source \"small\": 2 of 10 records could not be read, more than \
         run.max_quarantine_ratio = 0.05 allows: 2 missing_text (a.jsonl, record 0: ",
    ]);
    with(&place, &damaged(2, 8), "max_quarantine_ratio = 0.2")
        .exits(0)
        .says(&["warning: source \"small\": 2 of 10 records are in quarantine: 2 missing_text"]);
    check(&place.path("run"), None).exits(0);

    // A source may be held to less than the run.
    let strict = "max_quarantine_ratio = 0.01";
    with(&place, &damaged(1, 39), strict)
        .exits(1)
        .says(&["1 of 40 records could not be read, more than source.max_quarantine_ratio = 0.01"]);
    with(&place, &damaged(1, 39), "").exits(0);

    // What a source may lose is lost by the run, too.
    let loose = "max_quarantine_ratio = 1";
    with(&place, &damaged(20, 10), loose).exits(1).says(&[
        "all sources: 20 of 130 records could not be read, more than run.max_quarantine_ratio = \
         0.05 allows: 20 of source \"small\"",
        "raise run.max_quarantine_ratio, too",
    ]);
    let both = ["--set", "run.max_quarantine_ratio=0.2"];
    let allowed = manifest(&place, &damaged(20, 10), loose);
    run(&allowed, &place.path("run"), &both).exits(0);
}

#[test]
fn a_source_without_records_or_survivors_is_a_warning() {
    let place = Place::new();
    let dir = place.path("run");
    with(&place, &[], "")
        .exits(0)
        .says(&["warning: source \"small\": the files hold no record"]);
    check(&dir, None).exits(0);

    // Every text of the small source is one of the big source, whose documents survive.
    let copies = records("bird", "text", 4);
    let lost = "source \"small\": exact_dedup removed all 4 documents that reached it, so no \
                document of the source is left (4 duplicates)";
    with(&place, &copies, "priority = 1")
        .exits(0)
        .says(&[&format!("warning: {lost}")])
        .prints(&[&format!("note: {lost}")]);
    check(&dir, None).exits(0);

    // The funnel of the source, in run.json, in DuckDB and in the printed report.
    let report = report(&dir);
    let small = &report["sources"][1];
    let stage = |name: &str| {
        let funnel = small["funnel"].as_array().unwrap();
        let stage = funnel.iter().find(|stage| stage["name"] == name).unwrap();
        (
            stage["docs"]["in"].as_u64().unwrap(),
            stage["docs"]["kept"].as_u64().unwrap(),
            stage["docs"]["duplicates"].as_u64().unwrap(),
            stage["tokens"]["kept"].as_u64().unwrap() > 0,
        )
    };
    assert_eq!(stage("documents"), (4, 4, 0, true));
    assert_eq!(stage("exact_dedup"), (4, 0, 4, false));
    assert_eq!(stage("quality"), (0, 0, 0, false));
    let sql = "SELECT stage, docs_in, kept, duplicates, quarantined, bytes_kept > 0 FROM funnel_by_source \
               WHERE source = 'small' AND stage IN ('documents', 'exact_dedup', 'quality')";
    let rows = [
        "documents|4|4|0|0|True",
        "exact_dedup|4|0|4|0|False",
        "quality|0|0|0|0|False",
    ];
    assert_eq!(query(&dir, sql), rows);

    // A second run computes nothing, and warns again.
    run(&place.path("lost.toml"), &dir, &[])
        .exits(0)
        .says(&[&format!("warning: {lost}")])
        .prints(&["everything was cached"]);
}

#[test]
fn many_sources_are_a_short_table_of_those_that_lost_most() {
    let place = Place::new();
    let mut manifest = "[run]\nname = \"many\"\nmax_quarantine_ratio = 0.5\n".to_owned();
    for n in 0..40 {
        let name = format!("s{n:02}");
        // The record of source 33 without a text is half of the source.
        let second = if n == 33 { "content" } else { "text" };
        let lines = format!(
            "{{\"text\": \"One text of source {n}.\"}}\n{{\"{second}\": \"Another text of {n}.\"}}\n"
        );
        place.write(&format!("{name}.jsonl"), lines);
        manifest += &format!("[[source]]\nname = \"{name}\"\npath = \"{name}.jsonl\"\n");
    }

    let dir = place.path("run");
    let printed = run(
        &place.write("many.toml", manifest),
        &dir,
        &["--until", "documents"],
    )
    .exits(0)
    .prints(&["the 12 of 40 sources that kept the smallest share of their records"])
    .stdout;
    let table: Vec<&str> = printed
        .lines()
        .skip_while(|line| !line.starts_with("source "))
        .skip(1)
        .take_while(|line| line.starts_with('s'))
        .collect();
    assert_eq!(table.len(), 12, "{printed}");
    let first: Vec<&str> = table[0].split_whitespace().collect();
    assert_eq!(first, ["s33", "2", "1", "1"]);
    assert_eq!(report(&dir)["sources"].as_array().unwrap().len(), 40);
}

#[test]
fn status_shows_a_source_that_was_added_to_a_finished_run() {
    let place = Place::new();
    let dir = place.path("run");
    let both = manifest(&place, &damaged(4, 0), "");
    let text = std::fs::read_to_string(&both).unwrap();
    let (big, _) = text.split_once("[[source]]\nname = \"small\"").unwrap();
    run(&place.write("big.toml", big), &dir, &[]).exits(0);

    // The manifest of the finished run does not name the source that stopped the second run.
    run(&both, &dir, &[])
        .exits(1)
        .says(&["source \"small\": 4 of 4"]);
    let status = curate(["status".as_ref(), dir.as_os_str()]).exits(0).stdout;
    let rows: Vec<&str> = status
        .lines()
        .filter(|line| line.starts_with("big") || line.starts_with("small"))
        .collect();
    assert_eq!(rows.len(), 2, "{status}");
}
