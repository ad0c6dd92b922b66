//! DuckDB opens `views.sql` and counts again what `run.json` says: the work is done by
//! `check_run.py`.
//!
//! DuckDB is the PyPI wheel in `.venv`, pinned in `tests/requirements.txt`; `make setup` puts it
//! there.

use crate::support::{Place, check, corpus, fixture_lines, report, repository, run, stage_of};

#[test]
fn the_quickstart_is_what_its_tables_say() {
    let place = Place::new();
    let dir = place.path("run");
    run(&repository().join("manifests/quickstart.toml"), &dir, &[]).exits(0);
    check(&dir, None).exits(0).prints(&[" 0 failed"]);
}

#[test]
fn tokens_of_a_sample_come_with_an_interval_that_holds_the_truth() {
    let place = Place::new();
    let (manifest, all, survivors) = (
        corpus(&place, 100),
        place.path("all"),
        place.path("survivors"),
    );
    run(&manifest, &all, &[]).exits(0);
    run(
        &manifest,
        &survivors,
        &["--set", "tokens.scope=\"survivors\""],
    )
    .exits(0);
    check(&survivors, Some(&all.join("run.json"))).exits(0);
}

#[test]
fn several_mixtures_and_repeats_are_what_their_tables_say() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 60), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let report = report(&dir);
    assert_eq!(report["mixtures"].as_array().unwrap().len(), 2);
    for name in ["exact_dedup", "near_dedup"] {
        let stage = stage_of(&report, name);
        assert!(stage["docs"]["duplicates"].as_u64().unwrap() > 0, "{stage}");
    }
    check(&dir, None).exits(0);
}

#[test]
fn quarantined_records_and_repeated_ids_are_counted() {
    let place = Place::new();
    let mut text = fixture_lines("web-001.jsonl.zst", 0..40).into_bytes();
    text.extend_from_slice(
        b"{\"id\": \"x\", \"text\": \"caf\xff\"}\n{\"id\": \"twice\", \"text\": \"one\"}\n",
    );
    text.extend_from_slice(
        b"{\"id\": \"twice\", \"text\": \"two\"}\nnot json\n{\"id\": \"no text\"}\n",
    );
    place.write("web.jsonl", text);
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"bad\"\nmax_quarantine_ratio = 0.1\n[[source]]\nname = \"web\"\npath = \"web.jsonl\"\nid = \"id\"\n\
         [clean]\nnfc = true\nnewlines = true\n[dedup.exact]\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[])
        .exits(0)
        .says(&["3 of 45 records are in quarantine", "web.jsonl"]);
    let source = &report(&dir)["sources"][0];
    assert_eq!(
        (&source["quarantined"], &source["repeated_ids"]),
        (&3.into(), &2.into())
    );
    check(&dir, None).exits(0);
}

#[test]
fn an_empty_corpus_has_every_view() {
    let place = Place::new();
    place.write("none.jsonl", "");
    place.write("blank.jsonl", "\n \r\n\n");
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"empty\"\n[[source]]\nname = \"none\"\npath = [\"none.jsonl\", \"blank.jsonl\"]\n\
         [language]\nkeep = [\"eng\"]\n[filter.gopher_quality]\n[dedup.exact]\n[dedup.near]\n[budget]\nparams = 7e9\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    assert_eq!(report(&dir)["docs_in"], 0);
    check(&dir, None).exits(0);
}

#[test]
fn a_run_that_stopped_early_has_views_of_what_it_did() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &["--until", "exact_dedup"]).exits(0);
    check(&dir, None).exits(0);
}

#[test]
fn the_check_itself_finds_a_wrong_figure() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let mut report = report(&dir);
    let kept = report["stages"][4]["bytes"]["kept"].as_u64().unwrap();
    report["stages"][4]["bytes"]["kept"] = (kept + 1).into();
    place.write("run/run.json", report.to_string());
    check(&dir, None).exits(1).prints(&["filter, bytes"]);
}
