//! `curate drift` and `curate baseline`: silent on what is equal, and by name on what moved.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Outcome, Place, Random, corpus, curate, outcome, query, repository, run};

fn drift(run: &Path, baseline: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec![
        "drift",
        run.to_str().unwrap(),
        "--baseline",
        baseline.to_str().unwrap(),
    ];
    arguments.extend(more);
    curate(arguments)
}

fn baseline(run: &Path, file: &Path) -> Outcome {
    curate([
        "baseline",
        run.to_str().unwrap(),
        "-o",
        file.to_str().unwrap(),
    ])
}

/// Two sources of documents, each with a score in `meta` that is uniform in [0, 1) and moved by so
/// much; a run of them.
fn scored(place: &Place, name: &str, seed: u64, moved: [f64; 2]) -> PathBuf {
    let mut random = Random::new(seed);
    for (source, moved) in ["still", "moving"].iter().zip(moved) {
        let mut lines = String::new();
        for number in 0..3000 {
            let score = random.below(1_000_000) as f64 / 1e6 + moved;
            let (word, host) = (random.below(1 << 40), number % 1000);
            lines += &format!(
                "{{\"id\":\"{seed}-{number}\",\"url\":\"https://h{host}.example/{number}\",\"score\":{score},\
                 \"text\":\"The quick brown fox number {word} jumps over the lazy dog and runs away from it.\"}}\n"
            );
        }
        place.write(&format!("{name}/{source}.jsonl"), lines);
    }
    let source = |source: &str| {
        format!(
            "[[source]]\nname = \"{source}\"\npath = \"{name}/{source}.jsonl\"\nid = \"id\"\nurl = \"url\"\n\n"
        )
    };
    let veto = "[[quality.veto]]\ncolumn = \"meta.score\"\nabove = 1000\n";
    let head = format!("[run]\nname = \"{name}\"\nseed = 1\n\n[language]\nengine = \"none\"\n\n");
    let manifest = place.write(
        &format!("{name}.toml"),
        head + &source("still") + &source("moving") + veto,
    );
    let dir = place.path(&format!("run-{name}"));
    run(&manifest, &dir, &[]).exits(0);
    dir
}

fn checks(json: &str) -> Vec<(String, String, String)> {
    let answer: Value = serde_json::from_str(json).unwrap();
    let of = |check: &Value| {
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        (
            text(&check["measure"]),
            text(&check["group"]["source"]),
            text(&check["verdict"]),
        )
    };
    answer["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(of)
        .collect()
}

#[test]
fn a_run_against_itself_is_silent() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let silent = drift(&dir, &dir, &["--strict"])
        .exits(0)
        .prints(&["no drift: ", " checks pass, same documents\n"]);
    assert_eq!(
        (silent.stdout.lines().count(), silent.stderr.as_str()),
        (1, "")
    );
    assert_eq!(
        drift(&dir, &dir, &["--format", "github"]).exits(0).stdout,
        ""
    );
    let json = drift(&dir, &dir, &["--format", "json"]).exits(0).stdout;
    let found = checks(&json);
    for measure in [
        "quality.q",
        "signals.heuristic",
        "language.confidence",
        "score.mean_nll",
        "score.bits_per_byte",
    ] {
        assert!(
            found.iter().any(|(name, _, _)| name == measure),
            "{measure}: {found:?}"
        );
    }
    assert!(
        found.iter().all(|(_, _, verdict)| verdict == "pass"),
        "{found:?}"
    );
    // The veto's column is one of them; the n-gram model, which the manifest does not name, is
    // none.
    assert!(
        found
            .iter()
            .any(|(name, _, _)| name == "signals.gopher_quality.n_words"),
        "{found:?}"
    );
    assert!(
        found.iter().all(|(name, _, _)| name != "ngram.perplexity"),
        "{found:?}"
    );
    // Another layout in shards is the same run.
    let split = place.path("split");
    run(&manifest, &split, &["--set", "run.shard_size=\"1MiB\""]).exits(0);
    let flips = drift(&split, &dir, &["--format", "json"]).stdout;
    let flips: Value = serde_json::from_str(&flips).unwrap();
    assert_eq!(flips["paired"]["flips"]["removed"], 0);
}

#[test]
fn a_nudged_threshold_is_caught_and_counted() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let nudged = place.path("nudged");
    let next = "SELECT min(gopher_quality.alpha_word_ratio) + 1e-9 FROM signals JOIN quality USING (doc_id)
        WHERE quality.reached AND quality.removed_by IS NULL";
    let threshold = format!(
        "filter.gopher_quality.min_alpha_word_ratio={}",
        query(&dir, next)[0]
    );
    run(&manifest, &nudged, &["--set", &threshold]).exits(0);
    let removed = "SELECT doc_id FROM (SELECT doc_id, coalesce(f.removed_by, e.removed_by, n.removed_by, q.removed_by)
        IS NULL AS kept FROM filter f JOIN exact_dedup e USING (doc_id) JOIN near_dedup n USING (doc_id)
        JOIN quality q USING (doc_id) JOIN language l USING (doc_id) WHERE l.removed_by IS NULL) WHERE kept ORDER BY 1";
    let (before, now) = (query(&dir, removed), query(&nudged, removed));
    let gone = before.iter().filter(|id| !now.contains(id)).count();
    let back = now.iter().filter(|id| !before.contains(id)).count();
    assert!(gone > 0);
    let flips = gone + back;
    let line = format!(" verdicts flipped, {gone} removed and {back} restored");
    let caught = drift(&nudged, &dir, &[])
        .exits(1)
        .prints(&[&format!("{flips} of "), &line]);
    let rule = caught
        .stdout
        .lines()
        .any(|line| line.contains("gopher_quality.below_alpha +"));
    assert!(rule, "{}", caught.stdout);
    let example = caught
        .stdout
        .lines()
        .any(|line| line.contains("none to filter") || line.contains("none to gopher"));
    assert!(example, "{}", caught.stdout);
    // So many may flip: what is left is no failure of the paired check.
    let allowed = drift(
        &nudged,
        &dir,
        &["--max-flips", &flips.to_string(), "--format", "junit"],
    )
    .stdout;
    let case = allowed
        .lines()
        .find(|line| line.contains("drift.verdicts"))
        .unwrap();
    assert!(!case.contains("<failure"), "{case}");
    // A file of the same documents cannot say which verdicts flipped, and says so; how many at the
    // least it can.
    let file = place.path("baseline.json");
    baseline(&dir, &file).exits(0);
    let least = drift(&nudged, &file, &[]).exits(1);
    let least = least.prints(&[
        "note: same documents: give the baseline's run directory",
        "verdicts flipped, 0 may",
    ]);
    let count = least
        .stdout
        .split_once("at least ")
        .unwrap()
        .1
        .split(' ')
        .next()
        .unwrap();
    let count: usize = count.parse().unwrap();
    assert!((1..=flips).contains(&count), "{count} of {flips}");
}

#[test]
fn a_moved_source_is_named_and_no_other() {
    let place = Place::new();
    let was = scored(&place, "was", 1, [0.0, 0.0]);
    let file = place.path("baseline.json");
    baseline(&was, &file).exits(0).prints(&["baseline.json: "]);
    let is = scored(&place, "is", 2, [0.0, 0.3]);
    for against in [&was, &file] {
        let found = checks(
            &drift(
                &is,
                against,
                &["--measure", "meta.score", "--format", "json"],
            )
            .exits(1)
            .stdout,
        );
        assert_eq!(found.len(), 4, "{found:?}");
        for (_, source, verdict) in &found {
            assert_eq!(verdict == "fail", source == "moving", "{found:?}");
            assert!(verdict != "warn", "{found:?}");
        }
    }
    // Both baselines give the same answer, but for their names.
    let [one, other] = [&was, &file].map(|against| {
        drift(&is, against, &["--measure", "meta.score"])
            .exits(1)
            .stdout
    });
    assert_eq!(one, other);
    let examples = one
        .lines()
        .filter(|line| line.starts_with("  ") && line.contains(" moving https://h"))
        .count();
    assert_eq!(examples, 5, "{one}");
    // What only moves within noise is no failure, and no pass at so few documents.
    let quiet = scored(&place, "quiet", 3, [0.0, 0.0]);
    let undecided = ["inconclusive", "too few documents, about "];
    drift(&quiet, &was, &["--measure", "meta.score"])
        .exits(1)
        .prints(&undecided)
        .prints(&["nothing could be compared"]);
    drift(&quiet, &was, &["--measure", "meta.score", "--allow-empty"])
        .exits(0)
        .prints(&undecided);
    drift(&quiet, &was, &["--measure", "meta.score", "--strict"]).exits(1);
    // Looser gates decide.
    let loose = ["--measure", "meta.score", "--warn", "0.2", "--fail", "0.4"];
    drift(&quiet, &was, &loose)
        .exits(0)
        .prints(&["no drift: 4 checks pass, other documents\n"]);
}

#[test]
fn other_metrics_have_gates_where_they_are_asked_for() {
    let place = Place::new();
    let (was, is) = (
        scored(&place, "was", 1, [0.0, 0.0]),
        scored(&place, "is", 2, [0.0, 0.3]),
    );
    // PSI says nothing: a shift of 0.3 in [0, 1) is one standard deviation, 0.3 in KS.
    let say = |gates: &[&str]| {
        let without_psi = ["--measure", "meta.score", "--warn", "25", "--fail", "25"];
        drift(&is, &was, &[&without_psi[..], gates].concat())
    };
    let none = say(&[])
        .exits(0)
        .prints(&["no drift: 4 checks pass, other documents\n"]);
    assert!(!none.stdout.contains("gates: "));
    let moved = |verdict: &str, found: Vec<(String, String, String)>| {
        assert_eq!(found.len(), 4, "{found:?}");
        for (_, source, is) in &found {
            assert_eq!(is == verdict, source == "moving", "{found:?}");
            assert!(source == "moving" || is == "pass", "{found:?}");
        }
    };
    for (gate, low, high) in [
        ("js", "0.2", "0.9"),
        ("ks", "0.2", "0.5"),
        ("wasserstein", "0.5", "1.5"),
    ] {
        let [warn, fail] = ["warn", "fail"].map(|what| format!("--{what}-{gate}"));
        let json = ["--format", "json"];
        moved(
            "fail",
            checks(
                &say(&[&[fail.as_str(), low][..], &json].concat())
                    .exits(1)
                    .stdout,
            ),
        );
        moved(
            "warn",
            checks(
                &say(&[&[warn.as_str(), low][..], &json].concat())
                    .exits(0)
                    .stdout,
            ),
        );
        moved(
            "warn",
            checks(
                &say(&[&[warn.as_str(), low, &fail, high][..], &json].concat())
                    .exits(0)
                    .stdout,
            ),
        );
        say(&[&fail, high])
            .exits(0)
            .prints(&["no drift: 4 checks pass"]);
        say(&[&warn, high, &fail, low]).exits(2).says(&[&format!(
            "expected 0 < {warn} <= {fail}, found {high} and {low}"
        )]);
        say(&[&fail, "0"])
            .exits(2)
            .says(&[&format!("expected 0 < {warn} <= {fail}, found none and 0")]);
    }
    let text = say(&[
        "--fail-ks",
        "0.2",
        "--warn-wasserstein",
        "0.5",
        "--warn-js",
        "0.9",
    ])
    .exits(1)
    .stdout;
    assert!(
        text.starts_with("fail          meta.score, moving "),
        "{text}"
    );
    assert!(
        text.contains(": gates: pass PSI, pass JS, fail KS, warn W; PSI "),
        "{text}"
    );
    let json: Value = serde_json::from_str(
        &say(&["--fail-ks", "0.2", "--format", "json"])
            .exits(1)
            .stdout,
    )
    .unwrap();
    assert_eq!(
        (
            &json["gates"]["ks"]["fail"],
            &json["gates"]["wasserstein"]["fail"]
        ),
        (&0.2.into(), &Value::Null)
    );
    assert_eq!(json["checks"][0]["judged"].as_array().unwrap().len(), 2);
    // What noise alone reaches is no pass.
    say(&["--fail-ks", "0.01"]).exits(1).prints(&[
        "inconclusive",
        "too few documents, about ",
        "inconclusive KS; ",
    ]);
}

#[test]
fn every_format_can_be_read() {
    let place = Place::new();
    let (was, is) = (
        scored(&place, "was", 1, [0.0, 0.0]),
        scored(&place, "is", 2, [0.0, 0.3]),
    );
    let say = |format: &str| {
        drift(&is, &was, &["--measure", "meta.score", "--format", format])
            .exits(1)
            .stdout
    };
    let json: Value = serde_json::from_str(&say("json")).unwrap();
    assert_eq!(json["same_documents"], false);
    let cases = "import sys, xml.etree.ElementTree as tree; suite = tree.fromstring(sys.stdin.read())\n\
        assert int(suite.get('tests')) == len(suite.findall('testcase')) > 0\n\
        for kind in ['failure', 'skipped']: print(len(suite.findall('testcase/' + kind)))";
    let xml = place.write("drift.xml", say("junit"));
    let mut python = std::process::Command::new(repository().join(".venv/bin/python"));
    let program = cases.replace(
        "sys.stdin.read()",
        "open(sys.argv[1], encoding='utf-8').read().encode()",
    );
    let counted = outcome(python.arg("-c").arg(program).arg(xml))
        .exits(0)
        .stdout;
    let verdicts = checks(&say("json"));
    let failed = verdicts
        .iter()
        .filter(|(_, _, verdict)| verdict == "fail")
        .count();
    let unsure = verdicts
        .iter()
        .filter(|(_, _, verdict)| verdict.contains("inconclusive"))
        .count();
    assert_eq!(counted, format!("{failed}\n{unsure}\n"));
    let github = say("github");
    assert!(
        github.lines().all(|line| line.starts_with("::")),
        "{github}"
    );
    assert_eq!(
        github
            .lines()
            .filter(|line| line.starts_with("::error title=drift meta.score%2C moving "))
            .count(),
        failed
    );
    let markdown = say("markdown");
    let rows: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    assert!(
        rows.len() == 2 + failed + unsure && rows.iter().all(|row| row.ends_with('|')),
        "{markdown}"
    );
}

#[test]
fn a_baseline_is_the_same_bytes_and_refused_when_changed() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 10), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let [one, other] = ["one.json", "other.json"].map(|name| place.path(name));
    baseline(&dir, &one).exits(0);
    baseline(&dir, &other).exits(0);
    let text = fs::read_to_string(&one).unwrap();
    assert_eq!(text, fs::read_to_string(&other).unwrap());
    // A line a column and group, sorted.
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("    {\"measure\":"))
        .collect();
    assert!(
        lines.len() > 10 && text.len() < 400_000,
        "{} lines, {} bytes",
        lines.len(),
        text.len()
    );
    let named = |line: &&str| line.split("\"summary\"").next().unwrap().to_owned();
    assert!(lines.iter().map(named).is_sorted(), "{text}");
    drift(&dir, &one, &[]).exits(0).prints(&["no drift: "]);
    let digit = text.find("\"docs\":[").unwrap() + "\"docs\":[".len();
    let other_digit = if text.as_bytes()[digit] == b'1' {
        "2"
    } else {
        "1"
    };
    let mut changed = text.clone();
    changed.replace_range(digit..=digit, other_digit);
    for (bytes, says) in [
        (changed.as_str(), "it is damaged, its digest is "),
        (&text[..text.len() / 2], "it is damaged, "),
        ("[]", "it is damaged, "),
        ("", "it is damaged, "),
        (
            &text.replacen("\"format\": 1", "\"format\": 2", 1),
            "it has format 2, this program reads 1",
        ),
    ] {
        let file = place.write("changed.json", bytes);
        drift(&dir, &file, &[])
            .exits(2)
            .says(&["changed.json: ", says, "\n\nhint: "]);
    }
    drift(&dir, &place.path("nothing.json"), &[])
        .exits(2)
        .says(&["nothing.json: "]);
    drift(&dir, &one, &["--measure", "meta.nothing"])
        .exits(2)
        .says(&["has no values of meta.nothing"]);
    drift(&dir, &dir, &["--measure", "signals.words"])
        .exits(2)
        .says(&["no column of numbers is called signals.words"]);
    drift(&dir, &one, &["--warn", "0.1", "--fail", "0.01"])
        .exits(2)
        .says(&["expected 0 < --warn <= --fail"]);
    drift(&place.path("none"), &one, &[])
        .exits(2)
        .says(&["is not a run directory"]);
}
