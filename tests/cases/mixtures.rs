//! Mixture keys that do not apply, shares that cannot sum, budgets that are too small.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Outcome, Place, Random, curate, query, run};

const WORDS: [&str; 20] = [
    "river", "carries", "gravel", "below", "bridge", "every", "spring", "children", "count",
    "swallows", "over", "field", "farmer", "mends", "fence", "before", "winter", "closes", "road",
    "north",
];

/// Sentences that no other document has.
fn prose(random: &mut Random, sentences: u64) -> String {
    let sentence = |random: &mut Random| {
        let words: Vec<&str> = (0..10).map(|_| WORDS[random.below(20) as usize]).collect();
        format!("The {}.", words.join(" "))
    };
    let sentences: Vec<String> = (0..sentences).map(|_| sentence(random)).collect();
    sentences.join(" ")
}

/// Writes the sources `a`, `b` and `c` of 60, 12 and 3 documents. A document has about 60 to 120
/// tokens.
fn place() -> Place {
    let place = Place::new();
    let mut random = Random::new(26);
    for (source, documents) in [("a", 60), ("b", 12), ("c", 3)] {
        let lines: String = (0..documents)
            .map(|at| format!("{}\n", json!({ "text": prose(&mut random, 5 + at % 5) })))
            .collect();
        place.write(&format!("{source}.jsonl"), lines);
    }
    place
}

/// A manifest with these keys of the mixture `m`, and with keys for some of its sources.
fn manifest(place: &Place, mixture: &str, sources: &[(&str, &str)]) -> PathBuf {
    let mut text = "[run]\nname = \"mixed\"\n".to_owned();
    for name in ["a", "b", "c"] {
        text += &format!("[[source]]\nname = \"{name}\"\npath = \"{name}.jsonl\"\n");
    }
    text += &format!("[[mixture]]\nname = \"m\"\n{mixture}\n");
    for (source, keys) in sources {
        text += &format!("[[mixture_source]]\nmixture = \"m\"\nsource = \"{source}\"\n{keys}\n");
    }
    place.write("mixed.toml", text)
}

fn plan(manifest: &Path, dir: &Path) -> Outcome {
    let [manifest, dir] = [manifest, dir].map(Path::as_os_str);
    curate(["plan".as_ref(), manifest, "--run-dir".as_ref(), dir])
}

/// Fails the test unless a run and a plan refuse the manifest and write nothing.
#[track_caller]
fn refused(mixture: &str, sources: &[(&str, &str)], says: &[&str]) {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.write(&format!("{name}.jsonl"), "{\"text\": \"One line.\"}\n");
    }
    let (manifest, dir) = (manifest(&place, mixture, sources), place.path("run"));
    run(&manifest, &dir, &[]).exits(2).says(says);
    plan(&manifest, &dir).exits(2).says(says);
    assert!(!dir.exists());
}

/// The share of a source in the tokens of the mixture `m`.
fn share(dir: &Path, source: &str) -> f64 {
    let sql =
        format!("SELECT sum(tokens) FILTER (source = '{source}') / sum(tokens) FROM mixture_m");
    query(dir, &sql)[0].parse().unwrap()
}

#[test]
fn keys_that_do_not_apply_are_refused() {
    refused(
        "tokens = 2_000",
        &[("a", "share = 0.5")],
        &[
            "mixed.toml:18:9: mixture_source.share: mixture \"m\" has strategy = \"effective\", which does not read share",
            "hint: share is for strategy = \"fixed\"",
        ],
    );
    let fixed = "tokens = 2_000\nstrategy = \"fixed\"";
    for bound in ["min_share = 0.7", "max_share = 0.4"] {
        let key = bound.split(' ').next().unwrap();
        refused(
            fixed,
            &[
                ("a", &format!("share = 0.5\n{bound}")),
                ("b", "share = 0.5"),
            ],
            &[&format!(
                "mixture_source.{key}: mixture \"m\" has strategy = \"fixed\""
            )],
        );
    }
    refused(
        "tokens = 2_000\ntemperature = 2",
        &[],
        &["mixture.temperature: mixture \"m\" has strategy = \"effective\""],
    );
    refused(
        "tokens = 2_000\nstrategy = \"natural\"\ndiscard = 0.2",
        &[],
        &["mixture.discard: mixture \"m\" has strategy = \"natural\""],
    );
}

#[test]
fn shares_that_cannot_sum_are_refused_before_the_first_stage() {
    let tokens = "tokens = 2_000";
    let fixed = "tokens = 2_000\nstrategy = \"fixed\"";
    refused(
        tokens,
        &[("a", "min_share = 0.6"), ("b", "min_share = 0.6")],
        &["mixture \"m\" is not possible: the least shares of the sources sum to 1.2, more than 1"],
    );
    refused(
        tokens,
        &["a", "b", "c"].map(|source| (source, "max_share = 0.3")),
        &["the greatest shares of the sources sum to 0.9, less than 1"],
    );
    refused(
        fixed,
        &[("a", "share = 0.5"), ("b", "share = 0.49999999")],
        &["the shares of the sources sum to 0.99999999, expected 1"],
    );
    refused(
        fixed,
        &[],
        &["the shares of the sources sum to 0, expected 1"],
    );
    refused(
        tokens,
        &[("a", "min_share = 0.6\nmax_share = 0.4")],
        &["mixture_source.min_share: must be at most max_share = 0.4, found 0.6"],
    );
}

#[test]
fn a_mixture_that_the_pool_cannot_give_is_an_answer_of_no() {
    let (place, dir) = (place(), Place::new());
    let dir = dir.path("run");
    for (mixture, source, says) in [
        ("tokens = 10_000_000", "", "10000000 tokens are requested"),
        (
            "tokens = 2_000\nmax_epochs = 1",
            "min_share = 0.9",
            "source \"c\" has to give 1800 tokens",
        ),
    ] {
        let manifest = manifest(&place, mixture, &[("c", source)]);
        run(&manifest, &dir, &[]).exits(1).says(&[
            &format!("mixture \"m\" is not possible: {says}"),
            "hint: ask for ",
        ]);
    }
}

#[test]
fn a_mixture_without_a_document_is_an_error() {
    let (place, strategies) = (place(), ["effective", "natural", "unimax", "quality_curve"]);
    let dir = place.path("run");
    for (at, strategy) in strategies.iter().enumerate() {
        let tokens = [1, 10][at % 2];
        let keys = format!("tokens = {tokens}\nstrategy = \"{strategy}\"");
        let found = run(&manifest(&place, &keys, &[]), &dir, &[]).exits(1);
        let smallest = query(&dir, "SELECT min(tokens) FROM tokens").remove(0);
        found.says(&[
            &format!(
                "mixture \"m\" has no document: it asks for {tokens} tokens, and the smallest document of the pool has {smallest}"
            ),
            "hint: ",
        ]);
        assert!(!dir.join("mix/m/_commit.json").exists());
        assert!(!dir.join("run.json").exists());
    }

    // What the hint says is enough: as many tokens as the largest document has.
    let largest = query(&dir, "SELECT max(tokens) FROM tokens").remove(0);
    run(
        &manifest(&place, &format!("tokens = {largest}"), &[]),
        &dir,
        &[],
    )
    .exits(0);
    assert_ne!(query(&dir, "SELECT count(*) FROM mixture_m"), ["0"]);
}

#[test]
fn only_a_share_that_was_set_holds_a_mixture_back() {
    let place = place();
    // A single bucket may give a whole mixture of this size, and it alone is the best.
    for (at, tokens) in [60, 150, 400, 2_000].iter().enumerate() {
        let manifest = manifest(&place, &format!("tokens = {tokens}"), &[]);
        let found = run(&manifest, &place.path("free"), &[]);
        if at > 0 {
            assert_eq!(found.code, Some(0), "{}", found.stderr);
        }
        assert!(!found.stdout.contains("share of"), "{}", found.stdout);
    }

    let dir = place.path("bound");
    let bound = [("a", "max_share = 0.25")];
    run(&manifest(&place, "tokens = 2_000", &bound), &dir, &[])
        .exits(0)
        .prints(&["held back by greatest share of a"]);
    assert!(share(&dir, "a") < 0.31, "{}", share(&dir, "a"));
}

#[test]
fn shares_are_what_was_asked() {
    let place = place();
    let dir = place.path("run");
    let fixed = [
        ("a", "share = 0.5"),
        ("b", "share = 0.4"),
        ("c", "share = 0.1"),
    ];
    let keys = "tokens = 2_000\nstrategy = \"fixed\"";
    run(&manifest(&place, keys, &fixed), &dir, &[]).exits(0);
    for (source, expected) in [("a", 0.5), ("b", 0.4), ("c", 0.1)] {
        let found = share(&dir, source);
        // Documents are drawn whole, and one is up to a twentieth of the mixture.
        assert!((found - expected).abs() < 0.06, "{source}: {found}");
    }

    let least = [("c", "min_share = 0.3\nmax_epochs = 8")];
    run(
        &manifest(&place, "tokens = 2_000\nmax_epochs = 1", &least),
        &dir,
        &[],
    )
    .exits(0)
    .prints(&["held back by least share of c"]);
    assert!(share(&dir, "c") > 0.24, "{}", share(&dir, "c"));
}
