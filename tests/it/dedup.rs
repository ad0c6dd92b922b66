//! Deduplication on inputs made to break it: one text many times, one shingle everywhere, chains, texts without a shingle.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::support::{Place, Random, check, query, report, run};

/// A manifest over these texts, one record each, with what is to be set.
fn manifest(place: &Place, texts: impl Iterator<Item = String>, more: &str) -> PathBuf {
    let mut lines = String::new();
    texts.for_each(|text| writeln!(lines, "{}", serde_json::json!({ "text": text })).unwrap());
    place.write("docs.jsonl", lines);
    let head = "[run]\nname = \"dedup\"\nshard_size = \"1MiB\"\n[[source]]\nname = \"docs\"\npath = \"docs.jsonl\"\n";
    place.write("dedup.toml", format!("{head}{more}"))
}

/// How many documents went and how many are left.
fn outcome(dir: &Path) -> (u64, u64) {
    let stages = report(dir)["stages"].clone();
    let of =
        |name: &str| stages.as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap()["docs"].clone();
    let docs = of("near_dedup");
    (docs["duplicates"].as_u64().unwrap(), docs["kept"].as_u64().unwrap())
}

/// So many words that no other text has.
fn words(random: &mut Random, n: usize) -> String {
    (0..n).map(|_| format!("w{:x}", random.below(1 << 40))).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_shingle_in_every_document_makes_no_duplicates() {
    let place = Place::new();
    let mut random = Random::new(1);
    let shared = "All rights are reserved by the authors of this page.";
    let texts: Vec<String> = (0..3_000).map(|_| format!("{}\n{shared}", words(&mut random, 60))).collect();
    let manifest = manifest(&place, texts.into_iter(), "[dedup.near]\n");
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(0);
    assert_eq!(outcome(&dir), (0, 3_000));
}

#[test]
fn of_many_copies_one_is_kept() {
    let place = Place::new();
    let text = words(&mut Random::new(2), 30);
    // Without [dedup.exact], so that the clusters see them all.
    let manifest = manifest(&place, std::iter::repeat_n(text, 20_000), "[dedup.near]\n");
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(0);
    assert_eq!(outcome(&dir), (19_999, 1));
    let evidence = "SELECT count(*), min(jaccard), max(cluster_size), count(DISTINCT kept_id) FROM near_dedup_evidence";
    assert_eq!(query(&dir, evidence), ["19999|1.0|20000|1"]);
}

/// Texts of 200 words, each beginning 16 words later in one long sequence: 0.85 like the next, 0.72 like the one after.
fn chain(links: usize) -> Vec<String> {
    let all = words(&mut Random::new(3), 200 + 16 * links);
    let all: Vec<&str> = all.split(' ').collect();
    (0..links).map(|link| all[16 * link..16 * link + 200].join(" ")).collect()
}

#[test]
fn a_chain_does_not_collapse() {
    let place = Place::new();
    let manifest = manifest(&place, chain(1_000).into_iter(), "[dedup.near]\n");
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(0);
    check(&dir, None).exits(0);
    let (removed, kept) = outcome(&dir);
    // A star has at most the two neighbours of its centre.
    assert!(removed > 300 && kept >= 334, "{removed} removed, {kept} kept");
    assert_eq!(
        query(&dir, "SELECT max(cluster_size) <= 3, min(jaccard) >= 0.8 FROM near_dedup_evidence"),
        ["True|True"]
    );
    // The closure is what stars are there to avoid.
    let closure =
        ["--until", "near_dedup", "--set", "dedup.near.cluster=component", "--set", "dedup.near.min_jaccard=0"];
    run(&manifest, &dir, &closure).exits(0);
    let (removed, kept) = outcome(&dir);
    assert!(kept < 100, "{removed} removed, {kept} kept");
    let reasons = "SELECT DISTINCT reason, jaccard FROM near_dedup_evidence";
    assert_eq!(query(&dir, reasons), ["component|None"]);
}

#[test]
fn texts_without_a_whole_shingle_and_single_documents_stay() {
    let place = Place::new();
    let texts = ["one two", "one two", "one two three", "", "…", "four"];
    let short = manifest(&place, texts.into_iter().map(str::to_owned), "[dedup.near]\n");
    let dir = place.path("short");
    let note = "6 documents have fewer than 5 words and were compared with nothing";
    run(&short, &dir, &["--until", "near_dedup"]).exits(0).says(&[note]);
    check(&dir, None).exits(0);
    // They are compared with nothing; equal ones are for [dedup.exact].
    assert_eq!(outcome(&dir), (0, 6));
    let alone = Place::new();
    let manifest = manifest(
        &alone,
        ["just one document in the whole corpus".to_owned()].into_iter(),
        "[dedup.exact]\n[dedup.near]\n",
    );
    let dir = alone.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(0);
    assert_eq!(outcome(&dir), (0, 1));
}

#[test]
fn a_source_that_would_lose_too_much_stops_the_run() {
    let place = Place::new();
    let mut random = Random::new(4);
    let texts: Vec<String> = (0..10).map(|_| words(&mut random, 40)).collect();
    let copies = texts.iter().chain(&texts[..5]).map(|text| format!("{text} the end"));
    let manifest = manifest(&place, copies, "[dedup.near]\nmax_source_loss = 0.3\n");
    let dir = place.path("run");
    let message = "source \"docs\" would lose 5 of 15 documents as near-duplicates";
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(1).says(&[message]);
    assert!(!dir.join("near_dedup/_commit.json").exists());
    run(&manifest, &dir, &["--until", "near_dedup", "--set", "dedup.near.max_source_loss=0.34"]).exits(0);
    assert_eq!(outcome(&dir), (5, 10));
}
