//! Deduplication on inputs made to break it: one text many times, one shingle everywhere, chains,
//! texts without a shingle.

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
    let of = |name: &str| {
        stages
            .as_array()
            .unwrap()
            .iter()
            .find(|stage| stage["name"] == name)
            .unwrap()["docs"]
            .clone()
    };
    let docs = of("near_dedup");
    (
        docs["duplicates"].as_u64().unwrap(),
        docs["kept"].as_u64().unwrap(),
    )
}

/// So many words that no other text has.
fn words(random: &mut Random, n: usize) -> String {
    (0..n)
        .map(|_| format!("w{:x}", random.below(1 << 40)))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_shingle_in_every_document_makes_no_duplicates() {
    let place = Place::new();
    let mut random = Random::new(1);
    let shared = "All rights are reserved by the authors of this page.";
    let texts: Vec<String> = (0..3_000)
        .map(|_| format!("{}\n{shared}", words(&mut random, 60)))
        .collect();
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
    let manifest = manifest(&place, std::iter::repeat_n(text, 100_000), "[dedup.near]\n");
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(0);
    assert_eq!(outcome(&dir), (99_999, 1));
    let evidence = "SELECT count(*), min(jaccard), max(cluster_size), count(DISTINCT kept_id) FROM near_dedup_evidence";
    assert_eq!(query(&dir, evidence), ["99999|1.0|100000|1"]);
    // Cut into blocks of documents, each block keeps one.
    let cut = [
        "--until",
        "near_dedup",
        "--set",
        "dedup.near.max_component=30000",
    ];
    run(&manifest, &dir, &cut)
        .exits(0)
        .says(&["1 components of more than 30000 documents were cut"]);
    assert_eq!(outcome(&dir), (99_993, 7));
}

/// Texts of 200 words, each beginning 16 words later in one long sequence: 0.85 like the next, 0.72
/// like the one after.
fn chain(links: usize) -> Vec<String> {
    let all = words(&mut Random::new(3), 200 + 16 * links);
    let all: Vec<&str> = all.split(' ').collect();
    (0..links)
        .map(|link| all[16 * link..16 * link + 200].join(" "))
        .collect()
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
    assert!(
        removed > 300 && kept >= 334,
        "{removed} removed, {kept} kept"
    );
    assert_eq!(
        query(
            &dir,
            "SELECT max(cluster_size) <= 3, min(jaccard) >= 0.8 FROM near_dedup_evidence"
        ),
        ["True|True"]
    );
    // The closure is what stars are there to avoid.
    let closure = [
        "--until",
        "near_dedup",
        "--set",
        "dedup.near.cluster=component",
        "--set",
        "dedup.near.min_jaccard=0",
    ];
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
    let short = manifest(
        &place,
        texts.into_iter().map(str::to_owned),
        "[dedup.near]\n",
    );
    let dir = place.path("short");
    let note = "6 documents have fewer than 5 words and were compared with nothing";
    run(&short, &dir, &["--until", "near_dedup"])
        .exits(0)
        .says(&[note]);
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
    let copies = texts
        .iter()
        .chain(&texts[..5])
        .map(|text| format!("{text} the end"));
    let manifest = manifest(&place, copies, "[dedup.near]\nmax_source_loss = 0.3\n");
    let dir = place.path("run");
    let message = "source \"docs\" would lose 5 of 15 documents as near-duplicates";
    run(&manifest, &dir, &["--until", "near_dedup"])
        .exits(1)
        .says(&[message]);
    assert!(!dir.join("near_dedup/_commit.json").exists());
    run(
        &manifest,
        &dir,
        &[
            "--until",
            "near_dedup",
            "--set",
            "dedup.near.max_source_loss=0.34",
        ],
    )
    .exits(0);
    assert_eq!(outcome(&dir), (5, 10));
}

/// Texts of 60 words, then copies of each with the last words replaced.
fn families(random: &mut Random, texts: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..texts {
        let text = words(random, 60);
        for copy in 0..random.below(5) {
            let kept: Vec<&str> = text.split(' ').take(60 - copy as usize).collect();
            all.push(format!(
                "{} {}",
                kept.join(" "),
                words(random, copy as usize)
            ));
        }
        all.push(text);
    }
    all
}

#[test]
fn the_banding_is_measured_on_every_run() {
    let place = Place::new();
    let manifest = manifest(
        &place,
        families(&mut Random::new(5), 800).into_iter(),
        "[dedup.near]\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"])
        .exits(0)
        .says(&["sampled pairs of similarity 0.8 or more"]);
    let rows = query(
        &dir,
        "SELECT pairs, share_band, share_band_low, share_band_high, expected FROM near_dedup_sample ORDER BY 1",
    );
    assert_eq!(rows.len(), 10);
    // What a sample says must hold the exact answer for the same pairs, which is that of all pairs
    // of families.
    let high = "SELECT pairs > 200 AND share_band BETWEEN 0.9 AND 1 AND expected BETWEEN 0.9 AND 1
        AND share_band_low <= expected AND expected <= share_band_high + 0.05 AND both_kept < 0.1
        FROM near_dedup_sample WHERE from_jaccard = 0.8";
    assert_eq!(query(&dir, high), ["True"]);
}

#[test]
fn estimates_stand_beside_exact_similarities_and_can_replace_them() {
    let place = Place::new();
    let manifest = manifest(
        &place,
        families(&mut Random::new(6), 300).into_iter(),
        "[dedup.near]\nkeep_signatures = true\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "near_dedup"]).exits(0);
    let close =
        "SELECT count(*) > 200 AND avg(abs(estimated_jaccard - jaccard)) < 0.04 AND count(*) = count(estimated_jaccard)
        FROM near_dedup_evidence";
    assert_eq!(query(&dir, close), ["True"]);
    assert_eq!(
        query(&dir, "SELECT DISTINCT len(signature) FROM signatures"),
        ["112"]
    );
    let exact = outcome(&dir).0;
    run(
        &manifest,
        &dir,
        &[
            "--until",
            "near_dedup",
            "--set",
            "dedup.near.verify=estimate",
        ],
    )
    .exits(0);
    let labelled = "SELECT DISTINCT reason, jaccard IS NULL, estimated_jaccard >= 0.8 FROM near_dedup_evidence";
    assert_eq!(query(&dir, labelled), ["estimate|True|True"]);
    let estimated = outcome(&dir).0;
    assert!(
        exact.abs_diff(estimated) < exact / 10,
        "{exact} by texts, {estimated} by estimates"
    );
    // Without signatures there is nothing to estimate from.
    let set = [
        "--set",
        "dedup.near.verify=estimate",
        "--set",
        "dedup.near.keep_signatures=false",
    ];
    run(&manifest, &dir, &set)
        .exits(2)
        .says(&["full signatures, and none are kept"]);
}

#[test]
fn equal_words_and_equal_urls_are_found_where_they_are_asked_for() {
    let place = Place::new();
    let record =
        |text: &str, url: Option<&str>| serde_json::json!({ "text": text, "url": url }).to_string();
    let records = [
        record("One two three.", Some("https://Example.org/a#top")),
        record("one, TWO three", None),
        record("something else", Some("HTTPS://example.org/a")),
        record("a third text", Some("https://example.org/A")),
        record("…", None),
        record("!", Some("")),
    ];
    let docs = records.join("\n");
    place.write("docs.jsonl", docs);
    let manifest = place.write(
        "exact.toml",
        "[run]\nname = \"exact\"\n[[source]]\nname = \"docs\"\npath = \"docs.jsonl\"\nurl = \"url\"\n[dedup.exact]\n",
    );
    let dir = place.path("run");
    let reasons = "SELECT ordinal, removed_by FROM documents JOIN exact_dedup e USING (doc_id)
        WHERE removed_by IS NOT NULL ORDER BY ordinal";
    let found = |set: &[&str]| {
        run(
            &manifest,
            &dir,
            &[&["--until", "exact_dedup"], set].concat(),
        )
        .exits(0);
        check(&dir, None).exits(0);
        query(&dir, reasons)
            .into_iter()
            .map(|row| row[2..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&[]), [""; 0]);
    assert_eq!(
        found(&["--set", "dedup.exact.text=normalized"]),
        ["exact_dedup.document"]
    );
    assert_eq!(
        found(&["--set", "dedup.exact.url=true"]),
        ["exact_dedup.url"]
    );
    let both = [
        "--set",
        "dedup.exact.url=true",
        "--set",
        "dedup.exact.text=normalized",
    ];
    // The survivor of the first two has the URL of the third, or has none: it depends on their ids.
    assert!(matches!(found(&both).len(), 1 | 2));
}

#[test]
fn a_run_that_only_deduplicates_computes_nothing_else() {
    let place = Place::new();
    let more = "[language]\nengine = \"none\"\n[signals]\nvalues = \"none\"\n[dedup.near]\nprefer = [\"bytes\"]\n";
    let manifest = manifest(&place, families(&mut Random::new(7), 100).into_iter(), more);
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    check(&dir, None).exits(0);
    let nothing = "SELECT count(heuristic) + count(words) + count(language), count(*) > 200 FROM signals JOIN language USING (doc_id)";
    assert_eq!(query(&dir, nothing), ["0|True"]);
    // Without a term every token counts in full.
    assert_eq!(
        query(&dir, "SELECT DISTINCT q FROM quality WHERE reached"),
        ["1.0"]
    );
    let set = [
        "--set",
        "filter.gopher_quality={}",
        "--set",
        "quality.term=[{ column = 'signals.heuristic' }]",
    ];
    let says = [
        "filter.gopher_quality: its values are not computed",
        "quality.term: \"signals.heuristic\" is not computed",
    ];
    run(&manifest, &dir, &set).exits(2).says(&says);
}

#[test]
fn new_data_is_deduplicated_against_earlier_runs() {
    let place = Place::new();
    let mut random = Random::new(8);
    let (old, new): (Vec<String>, Vec<String>) = (
        (0..30).map(|_| words(&mut random, 60)).collect(),
        (0..30).map(|_| words(&mut random, 60)).collect(),
    );
    let settings = "[dedup.exact]\n[dedup.near]\n";
    let first = manifest(&place, old.iter().chain(&old[..3]).cloned(), settings);
    let earlier = place.path("earlier");
    run(&first, &earlier, &["--until", "near_dedup"]).exits(0);

    let again = Place::new();
    let near = |text: &String| format!("{text} and the end");
    let texts = new
        .iter()
        .cloned()
        .chain(old[..5].to_vec())
        .chain(old[5..12].iter().map(near))
        .chain([near(&new[0])]);
    let second = manifest(&again, texts, settings);
    let dir = again.path("run");
    let against = format!("dedup.against=[\"{}\"]", earlier.display());
    run(&second, &dir, &["--until", "near_dedup", "--set", &against]).exits(0);
    check(&dir, None).exits(0);
    let fates = "SELECT e.removed_by, e.kept_in IS NOT NULL, count(*) FROM exact_dedup e WHERE removed_by IS NOT NULL GROUP BY ALL
        UNION ALL SELECT reason, kept_in IS NOT NULL, count(*) FROM near_dedup_evidence GROUP BY ALL ORDER BY ALL";
    assert_eq!(
        query(&dir, fates),
        [
            "exact_dedup.document|True|5",
            "verified|False|1",
            "verified|True|7"
        ]
    );
    // What the earlier run holds is a part of the key, and it is not touched.
    let cached = run(&second, &dir, &["--until", "near_dedup", "--set", &against]).exits(0);
    cached.prints(&["everything was cached in "]);
    run(
        &first,
        &earlier,
        &[
            "--until",
            "near_dedup",
            "--set",
            "dedup.near.min_jaccard=0.9",
        ],
    )
    .exits(0);
    let changed = run(&second, &dir, &["--until", "near_dedup", "--set", &against]).exits(0);
    changed.prints(&["computed: exact_dedup, near_dedup; "]);

    let nowhere = ["--set", "dedup.against=[\"no/such/run\"]"];
    run(&second, &dir, &nowhere)
        .exits(2)
        .says(&["dedup.against: no/such/run"]);
    let unlike = ["--set", &against, "--set", "dedup.near.ngram=3"];
    run(&second, &dir, &unlike)
        .exits(2)
        .says(&["has signatures of", "this manifest asks for"]);
}

#[test]
fn paragraphs_that_stand_before_are_cut_out() {
    let place = Place::new();
    let mut random = Random::new(9);
    let (footer, shared) = (words(&mut random, 12), words(&mut random, 15));
    let texts = [
        format!("{}\n\n{shared}\n\n{footer}\n", words(&mut random, 20)),
        format!(
            "{}\n\n{}\n\n{footer}",
            words(&mut random, 20),
            words(&mut random, 30)
        ),
        // Nothing of its own; and once more within one text.
        format!("{shared}\n\n\n{footer}"),
        format!("{}\n \nshort\n\nshort\n\n{shared}", footer.to_uppercase()),
        format!("{0}\n\n{0}\n\n{0}", words(&mut random, 10)),
    ];
    let set = "dedup.paragraphs.set=bloom";
    let manifest = manifest(&place, texts.into_iter(), "[dedup.paragraphs]\n");
    let (dir, bloom) = (place.path("run"), place.path("bloom"));
    let says = "6 of 13 units of 50 characters or more stand before, in 4 documents";
    run(&manifest, &dir, &[]).exits(0).says(&[says]);
    check(&dir, None).exits(0);
    let fates = "SELECT ordinal, p.removed_by, p.bytes < d.bytes, len(edits) FROM documents d JOIN paragraph_dedup p USING (doc_id) ORDER BY 1";
    let removed = "2|paragraph_dedup.nothing_left|False|None";
    let expected = [
        "0|None|False|None",
        "1|None|True|1",
        removed,
        "3|None|True|1",
        "4|None|True|1",
    ];
    assert_eq!(query(&dir, fates), expected);
    run(&manifest, &bloom, &["--set", set])
        .exits(0)
        .says(&[says]);
    check(&bloom, None).exits(0);
    assert_eq!(query(&bloom, fates), expected);
    let lines = [
        "--set",
        "dedup.paragraphs.unit=line",
        "--set",
        "dedup.paragraphs.min_len=1",
    ];
    run(&manifest, &dir, &lines).exits(0);
    check(&dir, None).exits(0);
    assert_eq!(query(&dir, fates)[3], "3|None|True|2");
}
