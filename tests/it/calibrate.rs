//! `curate calibrate`: buckets, mixtures, losses and the verdict, on the sample corpus.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Outcome, Place, curate, fixture_lines, run};

/// The settings of a calibration of [`write_sources`] with small mixtures.
pub const SMALL: [[&str; 2]; 4] = [
    ["--tokens", "8k..160k"],
    ["--runs", "48"],
    ["--held-out", "24"],
    ["--max-buckets", "5"],
];

/// Writes pages of the web and manuals, and returns the manifest of a run over them. `more` is
/// appended.
pub fn write_sources(place: &Place, name: &str, more: &str) -> PathBuf {
    let web =
        fixture_lines("web-000.jsonl.zst", 0..308) + &fixture_lines("web-001.jsonl.zst", 0..308);
    place.write("web.jsonl", web);
    let manuals = fixture_lines("manuals-000.jsonl.zst", 0..300);
    place.write("manuals.jsonl", manuals);

    let manifest = format!(
        "[run]\nname = \"{name}\"\nseed = 3\nshard_size = \"1MiB\"\n\
        [[source]]\nname = \"web\"\npath = \"web.jsonl\"\nid = \"id\"\n\
        [[source]]\nname = \"manuals\"\npath = \"manuals.jsonl\"\ntext = \"content.text\"\n\
        [language]\nengine = \"none\"\n[[quality.term]]\ncolumn = \"signals.heuristic\"\n{more}"
    );
    place.write(&format!("{name}.toml"), manifest)
}

/// A run over pages of the web and manuals, and a folder of pages that the run does not have.
fn place() -> Place {
    let place = Place::new();
    place.write(
        "target/pages.jsonl",
        fixture_lines("web-002.jsonl.zst", 0..140),
    );
    let manifest = write_sources(&place, "pool", "");
    run(&manifest, &place.path("pool"), &[]).exits(0);
    place
}

/// Calibrates with small mixtures, and with what is given.
fn calibrate(place: &Place, output: &str, more: &[&str]) -> (Outcome, PathBuf) {
    let (pool, output) = (place.path("pool"), place.path(output));
    let mut words = vec!["calibrate", pool.to_str().unwrap()];
    words.extend(["-o", output.to_str().unwrap()]);
    let own = SMALL.iter().filter(|[name, _]| !more.contains(name));
    words.extend(own.flatten());
    words.extend(more);
    (curate(words), output)
}

fn target(place: &Place) -> [String; 4] {
    let path = place.path("target");
    let named = format!("pages={}", path.display());
    [
        "--target".to_owned(),
        named,
        "--least-target".to_owned(),
        "50k".to_owned(),
    ]
}

fn json(path: &PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_target_gives_each_bucket_a_worth() {
    let place = place();
    let words = target(&place);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (outcome, output) = calibrate(&place, "one.json", &words);
    let passed = match outcome.code {
        Some(0) => true,
        Some(1) => false,
        code => panic!("{code:?}: {}", outcome.stderr),
    };
    outcome.prints(&[
        "target pages: ",
        "error on 24 unseen mixtures",
        "(random_60)",
    ]);

    let file = json(&output);
    assert_eq!(file["schema"], "curate.calibration/2");
    let found = &file["targets"][0];
    assert_eq!(found["verdict"]["passed"], passed);
    let required = found["verdict"]["criteria"].as_array().unwrap();
    let met = required
        .iter()
        .filter(|it| it["required"] == true)
        .all(|it| it["met"] == true);
    assert_eq!(met, passed);

    // The documents of a bucket are those of its sources and its range of q.
    let buckets = file["buckets"].as_array().unwrap();
    assert!((2..=5).contains(&buckets.len()), "{}", buckets.len());
    for bucket in buckets {
        let worth = &bucket["worth"]["pages"];
        let [q, low, high] = ["q", "low", "high"].map(|name| worth[name].as_f64().unwrap());
        assert!((0.001..=1.0).contains(&q) && low <= high, "{bucket}");
        assert!(bucket["from"].as_str().unwrap().starts_with("0x"));
    }

    // Text of which most tokens are random is worth less than clean text.
    let control = |name: &str| found["controls"][name].as_f64().unwrap();
    assert!(control("random_60") < control("control"));

    // Every mixture has its losses, and none is measured again.
    let losses = place.path("one.json.losses.jsonl");
    let first = fs::read(&losses).unwrap();
    let lines = String::from_utf8(first.clone()).unwrap();
    assert_eq!(lines.lines().count(), 1 + 48 + 24 + 24 + 12);
    let written = fs::metadata(&losses).unwrap().modified().unwrap();
    let before = fs::read(&output).unwrap();
    fs::remove_file(&output).unwrap();

    // Half of the lines, as an interrupted calibration leaves them, and one thread.
    let half: Vec<&str> = lines.lines().take(50).collect();
    fs::write(&losses, half.join("\n") + "\n").unwrap();
    let (_, again) = calibrate(
        &place,
        "one.json",
        &[&words[..], &["--threads", "1"]].concat(),
    );
    assert_eq!(fs::read(again).unwrap(), before);
    assert_eq!(fs::read(&losses).unwrap(), first);
    assert!(fs::metadata(&losses).unwrap().modified().unwrap() >= written);
}

#[test]
fn losses_of_other_models_are_fitted() {
    let place = place();
    let (pool, plan) = (place.path("pool"), place.path("plan.jsonl"));
    let sizes = SMALL.as_flattened();
    let words = [
        "calibrate",
        pool.to_str().unwrap(),
        "--plan-only",
        plan.to_str().unwrap(),
    ];
    curate([&words[..], sizes].concat())
        .exits(0)
        .prints(&["mixtures of "]);

    // Losses of a law: a token of the first bucket is worth four of any other.
    let text = fs::read_to_string(&plan).unwrap();
    let mut lines = text.lines();
    let mut out = format!("{}\n", lines.next().unwrap());
    for line in lines {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let worth = |(bucket, tokens): (&String, &Value)| {
            let q = if bucket == "0" { 1.0 } else { 0.25 };
            q * tokens.as_f64().unwrap() * line["epochs"].as_f64().unwrap().min(3.0)
        };
        let effective: f64 = line["unique"].as_object().unwrap().iter().map(worth).sum();
        let loss = 1.2 + (effective / 1e6).powf(-0.3);
        line["loss"] = serde_json::json!({ "mine": loss });
        out += &format!("{line}\n");
    }
    let losses = place.write("mine.jsonl", out);
    let (outcome, output) = calibrate(&place, "mine.json", &["--losses", losses.to_str().unwrap()]);
    outcome.prints(&["target mine: "]);
    let file = json(&output);
    assert_eq!(file["proxy"]["kind"], "external");
    let q = |bucket: usize| {
        file["buckets"][bucket]["worth"]["mine"]["q"]
            .as_f64()
            .unwrap()
    };
    assert!(
        q(0) > 0.95 && (q(1) / q(0) - 0.25).abs() < 0.05,
        "{} {}",
        q(0),
        q(1)
    );

    // Losses of other buckets are refused, and so are damaged lines.
    let other = ["--losses", losses.to_str().unwrap(), "--max-buckets", "2"];
    calibrate(&place, "mine.json", &other)
        .0
        .exits(2)
        .says(&["is of other buckets than this run's"]);
    let torn = place.write("torn.jsonl", &text[..text.len() - 20]);
    calibrate(&place, "mine.json", &["--losses", torn.to_str().unwrap()])
        .0
        .exits(2)
        .says(&["torn.jsonl, line "]);
}

#[test]
fn what_cannot_be_calibrated_is_refused() {
    let place = place();
    let words = target(&place);
    calibrate(&place, "a.json", &[])
        .0
        .exits(2)
        .says(&["a calibration needs a --target"]);
    calibrate(
        &place,
        "a.json",
        &["--target", &words[1], "--least-target", "5M"],
    )
    .0
    .exits(2)
    .says(&[
        "target pages: ",
        "expected at least 5000000 tokens in 100 documents",
    ]);
    // Text that the pool holds is no target.
    let pool = format!("pool={}", place.path("web.jsonl").display());
    calibrate(&place, "a.json", &["--target", &pool])
        .0
        .exits(2)
        .says(&[
            "target pool: ",
            " documents that overlap with the pool were dropped",
        ]);
    calibrate(&place, "a.json", &["--target", &words[1], "--runs", "20"])
        .0
        .exits(2)
        .says(&["20 runs are too few for "]);
    for wrong in ["x", "=y", "a b=c"] {
        calibrate(&place, "a.json", &["--target", wrong]).0.exits(2);
    }
    calibrate(
        &place,
        "a.json",
        &["--target", &words[1], "--tokens", "100k..200k"],
    )
    .0
    .exits(2)
    .says(&["at least 16 times the start"]);
    // Nothing is left beside the output.
    assert!(!place.path("a.json").exists());
    let left = fs::read_dir(place.path("")).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        names
            .filter(|name| name.starts_with("a.json.targets"))
            .count(),
        0
    );
}

#[test]
fn the_proxy_is_a_choice() {
    let place = place();
    let words = target(&place);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let small = ["--held-out", "12", "--tokens", "4k..64k", "--no-controls"];
    let of = |output: &str, more: &[&str]| {
        calibrate(&place, output, &[&words[..], &small, more].concat())
    };

    let (outcome, output) = of("experts.json", &["--proxy", "experts"]);
    assert!(matches!(outcome.code, Some(0 | 1)), "{}", outcome.stderr);
    let experts = json(&output);
    assert_eq!(experts["proxy"]["kind"], "experts");
    let (_, output) = of("ngram.json", &[]);
    assert_eq!(json(&output)["proxy"]["kind"], "ngram");

    // Losses of one proxy are not taken for those of another.
    let losses = |name: &str| {
        let text = fs::read_to_string(place.path(&format!("{name}.json.losses.jsonl"))).unwrap();
        let lines = text.lines().skip(1);
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        lines
    };
    let (ngram, experts) = (losses("ngram"), losses("experts"));
    for (one, other) in ngram.iter().zip(&experts) {
        assert_eq!(one["run"], other["run"]);
        assert_ne!(one["key"], other["key"]);
    }
    // A mixture of one bucket has a single expert, which is the model of the mixture.
    let both = ngram.iter().zip(&experts);
    let unlike = both
        .filter(|(one, other)| one["loss"] != other["loss"])
        .count();
    assert!(unlike > ngram.len() / 2, "{unlike} of {}", ngram.len());

    // A device that this build does not have.
    let transformer = ["--proxy", "transformer", "--device", "gpu"];
    of("transformer.json", &transformer)
        .0
        .exits(2)
        .says(&["--device: ", "auto, cpu, cuda, cuda:0 or metal"]);
}
