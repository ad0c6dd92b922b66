//! A run whose q comes from a calibration: q, D_eff and mixtures recomputed in DuckDB, and what is
//! refused.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::calibrate::{SMALL, write_sources};
use crate::support::{Place, curate, files, fixture_lines, query, report, run};

/// ρ of the law behind the losses.
const RHO: f64 = 0.6;
/// A place with a run in the folder `pool` and its calibration of two targets: text of the web is
/// worth most to `pages`, manuals are worth most to `guides`.
fn place() -> Place {
    let place = Place::new();
    run(&write_sources(&place, "pool", ""), &place.path("pool"), &[]).exits(0);

    let plan = place.path("plan.jsonl");
    let pool = place.path("pool");
    let words = ["calibrate", pool.to_str().unwrap(), "--plan-only"];
    curate([&words[..], &[plan.to_str().unwrap()], SMALL.as_flattened()].concat()).exits(0);
    let losses = place.write("losses.jsonl", losses(&plan));
    let output = place.path("calibration.json");
    let words = ["calibrate", pool.to_str().unwrap(), "--losses"];
    let ends = ["-o", output.to_str().unwrap()];
    curate(
        [
            &words[..],
            &[losses.to_str().unwrap()],
            SMALL.as_flattened(),
            &ends,
        ]
        .concat(),
    )
    .exits(0)
    .prints(&["target guides: ", "target pages: "]);
    place
}

/// The plan with losses of a known law and a little noise.
fn losses(plan: &Path) -> String {
    let text = fs::read_to_string(plan).unwrap();
    let mut lines = text.lines();
    let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let buckets = header["buckets"].as_array().unwrap();
    let is_web = |bucket: &str| {
        let bucket = &buckets[bucket.parse::<usize>().unwrap()];
        bucket["name"].as_str().unwrap().starts_with("web")
    };

    let mut out = format!("{header}\n");
    for (number, line) in lines.enumerate() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let loss = |web: f64, manuals: f64| {
            let mut parts = [0.0; 2];
            for (bucket, tokens) in line["unique"].as_object().unwrap() {
                // Within a source, later bins are worth more.
                let bin = 1.0 + 0.2 * bucket.parse::<f64>().unwrap();
                let worth = if is_web(bucket) { web } else { manuals };
                parts[usize::from(is_web(bucket))] += worth * bin * tokens.as_f64().unwrap();
            }
            let sum: f64 = parts.iter().map(|part| part.powf(RHO)).sum();
            let noise = ((number * 7919 % 101) as f64 / 101.0 - 0.5) * 2e-3;
            1.2 + (sum.powf(1.0 / RHO) / 1e6).powf(-0.3) + noise
        };
        let both = serde_json::json!({ "pages": loss(1.0, 0.2), "guides": loss(0.1, 0.8) });
        line["loss"] = both;
        out += &format!("{line}\n");
    }
    out
}

/// Two mixtures, each for a target.
const MIXTURES: &str = "[quality]\ncalibration = \"calibration.json\"\ntarget = \"pages\"\n\
    [[mixture]]\nname = \"general\"\ntokens = 90_000\n\
    [[mixture]]\nname = \"manual\"\ntokens = 90_000\ntarget = \"guides\"\n\
    [budget]\nparams = 7e9\n";

/// The calibration, changed.
fn changed(place: &Place, change: impl FnOnce(&mut Value)) {
    let path = place.path("calibration.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut file);
    fs::write(&path, file.to_string()).unwrap();
}

#[test]
fn duckdb_finds_the_same_q_and_effective_tokens() {
    let place = place();
    let wanted = write_sources(&place, "run", MIXTURES);
    let dir = place.path("run");
    run(&wanted, &dir, &[]).exits(0);
    curate(["status", dir.to_str().unwrap()]).exits(0).prints(&[
        "(calibrated on pages)",
        "(calibrated on guides)",
        "q calibrated on pages with models of somebody else: error on 24 unseen mixtures",
        "sources complement each other (ρ = 0.",
        "90 % interval of D_eff [",
        "note: ΔL of a calibrated D_eff mixes two fits",
    ]);

    // q of every document is that of its bucket, and differs from its score.
    let wrong = query(
        &dir,
        "SELECT count(*), count(*) FILTER (w.q IS NULL OR quality.q <> w.q), \
         count(*) FILTER (quality.q <> quality.score) > 0 \
         FROM quality JOIN documents USING (doc_id) \
         LEFT JOIN quality_worths w ON w.target = 'pages' AND w.source = documents.source \
           AND w.domain = documents.domain AND score >= w.score_from AND score < w.score_to \
         WHERE quality.reached AND quality.removed_by IS NULL",
    );
    let [documents, unlike, differs] =
        <[&str; 3]>::try_from(wrong[0].split('|').collect::<Vec<_>>()).unwrap();
    assert!(documents.parse::<u64>().unwrap() > 500, "{wrong:?}");
    assert_eq!((unlike, differs), ("0", "True"));

    // D_eff of the pool under CES, and its mean q.
    let found = report(&dir);
    let pool = &found["pool"];
    assert_eq!(pool["q_calibrated"], true);
    assert_eq!(found["calibration"]["target"], "pages");
    let rho = found["calibration"]["rho"].as_f64().unwrap();
    assert!((rho - RHO).abs() < 0.1, "{rho}");
    let sums = "SELECT ces_source, any_value(rho) AS rho, sum(tokens) AS tokens, \
                  sum(tokens * quality.q) AS worth \
                FROM quality JOIN documents USING (doc_id) JOIN tokens USING (doc_id) \
                JOIN quality_worths w ON w.target = 'pages' AND w.source = documents.source \
                  AND w.domain = documents.domain AND score >= score_from AND score < score_to \
                WHERE quality.reached AND quality.removed_by IS NULL GROUP BY ces_source";
    let own = query(
        &dir,
        &format!(
            "SELECT sum(worth) / sum(tokens), pow(sum(pow(worth, rho)), 1 / any_value(rho)), count(*) \
             FROM ({sums})"
        ),
    );
    let numbers = numbers(&own[0]);
    assert_eq!(numbers[2], 2.0, "two sources");
    near(numbers[0], pool["q"].as_f64().unwrap());
    near(numbers[1], pool["d_eff"].as_f64().unwrap());
    let [low, high] = [0, 1].map(|end| pool["d_eff_interval"][end].as_f64().unwrap());
    assert!(low <= numbers[1] * 1.05 && high >= numbers[1] * 0.95 && low < high);

    // D_eff of each mixture with the q and the law of its own target.
    let mut shares = Vec::new();
    for (at, (name, target)) in [("general", "pages"), ("manual", "guides")]
        .iter()
        .enumerate()
    {
        let mixture = &found["mixtures"][at];
        assert_eq!(mixture["calibration"]["target"], *target);
        let own = query(&dir, &of_mixture(name, target));
        near(
            self::numbers(&own[0])[0],
            mixture["d_eff"].as_f64().unwrap(),
        );

        // The best mixture is worth more than any other strategy's.
        let compared = mixture["compared"].as_array().unwrap();
        let best = compared[0]["d_eff"].as_f64().unwrap();
        assert_eq!(compared[0]["strategy"], "effective");
        for other in compared {
            assert!(
                other["d_eff"].as_f64().unwrap() <= best * (1.0 + 1e-9),
                "{other}"
            );
        }
        let web =
            format!("SELECT sum(tokens) FILTER (source = 'web') / sum(tokens) FROM mixture_{name}");
        shares.push(self::numbers(&query(&dir, &web)[0])[0]);
    }
    // Complements: both sources are in both mixtures, in other proportions.
    assert!(
        shares[0] > shares[1] + 0.1 && shares[1] > 0.02 && shares[0] < 1.0,
        "{shares:?}"
    );

    // Buckets are cut by the score and hold q for each target.
    let buckets = query(
        &dir,
        "SELECT count(*) > 5, bool_and(abs(q - q_by_target['pages']) < 1e-9), \
         bool_and(q_by_target['guides'] > 0) FROM buckets",
    );
    assert_eq!(buckets, ["True|True|True"]);
}

/// D_eff of a mixture, from its draws.
fn of_mixture(name: &str, target: &str) -> String {
    format!(
        "WITH drawn AS (
           SELECT d.source, d.domain, t.tokens, m.draws, w.q, w.ces_source, w.rho, b.bin
           FROM mix_{name} m JOIN documents d USING (doc_id) JOIN tokens t USING (doc_id)
           JOIN quality USING (doc_id)
           JOIN quality_worths w ON w.target = '{target}' AND w.source = d.source
             AND w.domain = d.domain AND score >= w.score_from AND score < w.score_to
           JOIN LATERAL (SELECT max(bin) AS bin FROM buckets b WHERE b.source = d.source
             AND b.domain = d.domain AND b.score_from <= score) b ON true),
         by_bucket AS (
           SELECT ces_source, any_value(rho) AS rho, sum(tokens) AS u,
             sum(tokens * draws) / sum(tokens) AS e,
             sum(tokens * draws * q) / sum(tokens * draws) AS q
           FROM drawn GROUP BY ces_source, source, domain, bin),
         by_source AS (
           SELECT ces_source, any_value(rho) AS rho,
             sum(q * u * (1 + 15.387756 * (1 - exp(-(e - 1) / 15.387756)))) AS y
           FROM by_bucket GROUP BY ces_source)
         SELECT pow(sum(pow(y, rho)), 1 / any_value(rho)) FROM by_source"
    )
}

fn numbers(row: &str) -> Vec<f64> {
    row.split('|')
        .map(|number| number.parse().unwrap())
        .collect()
}

fn near(found: f64, expected: f64) {
    assert!(
        (found / expected - 1.0).abs() < 1e-9,
        "{found} is not {expected}"
    );
}

#[test]
fn a_linear_law_is_a_plain_sum() {
    let place = place();
    changed(&place, |file| {
        for target in file["targets"].as_array_mut().unwrap() {
            target["law"]["name"] = "linear".into();
            target["law"]["rho"] = 1.0.into();
            for refit in target["refits"].as_array_mut().unwrap() {
                refit["rho"] = 1.0.into();
            }
        }
    });
    let wanted = write_sources(&place, "run", MIXTURES);
    let dir = place.path("run");
    run(&wanted, &dir, &[]).exits(0);

    let found = report(&dir);
    let sum = "SELECT sum(tokens * q) FROM quality JOIN tokens USING (doc_id) \
               WHERE quality.reached AND quality.removed_by IS NULL";
    near(
        numbers(&query(&dir, sum)[0])[0],
        found["pool"]["d_eff"].as_f64().unwrap(),
    );
    for (at, (name, target)) in [("general", "pages"), ("manual", "guides")]
        .iter()
        .enumerate()
    {
        let own = query(&dir, &of_mixture(name, target));
        near(
            numbers(&own[0])[0],
            found["mixtures"][at]["d_eff"].as_f64().unwrap(),
        );
    }
}

#[test]
fn a_run_keeps_what_it_was_calibrated_with() {
    let place = place();
    let wanted = write_sources(&place, "run", MIXTURES);
    let dir = place.path("run");
    run(&wanted, &dir, &[]).exits(0);
    run(&wanted, &dir, &[])
        .exits(0)
        .prints(&["everything was cached"]);
    let before = (files(&dir, "quality"), files(&dir, "score"));

    // Another target is another q, and asks no stage before `quality` again.
    run(&wanted, &dir, &["--set", "quality.target=guides"])
        .exits(0)
        .prints(&["computed: quality, buckets, "]);
    assert_ne!(files(&dir, "quality"), before.0);

    // The report needs the file no more.
    let path = place.path("calibration.json");
    fs::rename(&path, place.path("away.json")).unwrap();
    curate(["status", dir.to_str().unwrap()])
        .exits(0)
        .prints(&["(calibrated on guides)"]);
    run(&wanted, &dir, &[])
        .exits(2)
        .says(&["quality.calibration: \"calibration.json\": no such file"]);
    fs::rename(place.path("away.json"), &path).unwrap();

    // Drift says that q means something else.
    let pool = place.path("pool");
    curate([
        "drift",
        dir.to_str().unwrap(),
        "--baseline",
        pool.to_str().unwrap(),
    ])
    .prints(&["q of the baseline is uncalibrated, q of the run is calibrated on guides"]);
}

#[test]
fn a_calibration_that_does_not_fit_is_refused() {
    let place = place();
    let wanted = write_sources(&place, "run", MIXTURES);
    let refused = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        let path = place.path("calibration.json");
        let kept = fs::read(&path).unwrap();
        changed(&place, change);
        run(&wanted, &place.path("run"), &[]).exits(2).says(parts);
        assert!(!place.path("run/documents/_commit.json").exists());
        fs::write(path, kept).unwrap();
    };

    // A bucket of several, and the only one of a source.
    let name_of = |at: usize| {
        let text = fs::read(place.path("calibration.json")).unwrap();
        let file: Value = serde_json::from_slice(&text).unwrap();
        file["buckets"][at]["name"].as_str().unwrap().to_owned()
    };
    let second = name_of(1);
    refused(
        &|file| {
            file["buckets"].as_array_mut().unwrap().remove(1);
            for target in file["targets"].as_array_mut().unwrap() {
                target["refits"] = Value::Array(Vec::new());
            }
        },
        &[&format!("bucket \"{second}\" is missing")],
    );
    refused(
        &|file| {
            let criteria = &mut file["targets"][1]["verdict"];
            criteria["passed"] = false.into();
            criteria["criteria"][0]["met"] = false.into();
        },
        &[
            "the calibration of target \"pages\" was not passed: error (",
            "hint: calibration_unpassed = \"uncalibrated\"",
        ],
    );
    refused(
        &|file| file["schema"] = "curate.calibration/1".into(),
        &["the file has the schema \"curate.calibration/1\""],
    );
    refused(
        &|file| file["score"] = "".into(),
        &["its buckets are cut by other terms of q", "calibrate again"],
    );

    // A pipe would never end, and nobody writes to this one.
    let pipe = place.path("pipe.json");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let of_pipe = write_sources(&place, "pipe", "[quality]\ncalibration = \"pipe.json\"\n");
    run(&of_pipe, &place.path("pipe"), &[]).exits(2).says(&[
        "pipe.toml:",
        "\"pipe.json\": expected a calibration, found no regular file",
    ]);

    // Names of targets.
    for (more, parts) in [
        (
            "[quality]\ncalibration = \"calibration.json\"\n",
            [
                "the calibration has the targets guides, pages",
                "hint: for example target",
            ],
        ),
        (
            "[quality]\ncalibration = \"calibration.json\"\ntarget = \"page\"\n",
            ["no target \"page\"", "did you mean \"pages\"?"],
        ),
        (
            "[quality]\ntarget = \"pages\"\n",
            [
                "quality.target: there is no quality.calibration",
                "hint: write calibration",
            ],
        ),
        (
            "[[mixture]]\nname = \"a\"\ntokens = 1000\ntarget = \"pages\"\n",
            [
                "mixture.target: there is no quality.calibration",
                "hint: write calibration",
            ],
        ),
    ] {
        let wanted = write_sources(&place, "named", more);
        run(&wanted, &place.path("named"), &[])
            .exits(2)
            .says(&parts);
    }
    let old = write_sources(&place, "old", "calibration = \"percentile\"\n");
    run(&old, &place.path("old"), &[]).exits(2).says(&[
        "unknown key \"calibration\" in [[quality.term]]",
        "the key is called map now",
    ]);
}

#[test]
fn groups_that_the_calibration_has_not_seen_are_named() {
    let place = place();
    place.write("other.jsonl", fixture_lines("web-002.jsonl.zst", 0..40));
    let more = format!(
        "{MIXTURES}[[source]]\nname = \"other\"\npath = \"other.jsonl\"\ndomain = \"pages\"\n"
    );
    let wanted = write_sources(&place, "run", &more);
    let dir = place.path("run");
    run(&wanted, &dir, &[]).exits(2).says(&[
        " % of the tokens are of groups that the calibration has not seen: source \"other\", domain \"pages\"",
        "hint: calibrate a run that holds them",
    ]);
    assert!(!dir.join("quality/_commit.json").exists());
}

#[test]
fn an_unpassed_calibration_may_leave_q_uncalibrated() {
    let place = place();
    changed(&place, |file| {
        file["targets"][1]["verdict"]["passed"] = false.into();
    });
    let more = MIXTURES.replace(
        "target = \"pages\"\n",
        "target = \"pages\"\ncalibration_unpassed = \"uncalibrated\"\n",
    );
    let wanted = write_sources(&place, "run", &more);
    let dir = place.path("run");
    run(&wanted, &dir, &[])
        .exits(0)
        .prints(&["the calibration of target \"pages\" was not passed: q is uncalibrated"]);
    let found = report(&dir);
    assert_eq!(found["pool"]["q_calibrated"], false);
    assert_eq!(found["calibration"], Value::Null);
    // The other target was passed, so its mixture is calibrated.
    assert_eq!(found["mixtures"][0]["q_calibrated"], false);
    assert_eq!(found["mixtures"][1]["q_calibrated"], true);
    let told = query(
        &dir,
        "SELECT (SELECT string_agg(DISTINCT target) FROM quality_worths), \
         (SELECT string_agg(DISTINCT array_to_string(map_keys(q_by_target), ',')) FROM buckets)",
    );
    assert_eq!(told, ["guides|guides"]);
    let unlike = query(
        &dir,
        "SELECT count(*) FROM quality WHERE q IS DISTINCT FROM score",
    );
    assert_eq!(unlike, ["0"]);
}

#[test]
fn a_budget_compares_mixtures_without_a_run() {
    let place = place();
    let path = place.path("calibration.json");
    let words = [
        "budget",
        "--calibration",
        path.to_str().unwrap(),
        "--tokens",
        "100000",
    ];
    let mixtures = ["--mixture", "web=0.5,manuals=0.5", "--mixture", "manuals=1"];
    curate(
        [
            &words[..],
            &mixtures,
            &["--target", "pages", "--params", "7e9"],
        ]
        .concat(),
    )
    .exits(0)
    .prints(&[
        "q calibrated on pages with models of somebody else",
        "web=0.5,manuals=0.5",
        "1.000  [1.000, 1.000]",
        "ΔL = ",
        "ΔL mixes two fits",
    ]);
    curate([&words[..], &mixtures].concat())
        .exits(2)
        .says(&["the calibration has the targets \"guides\", \"pages\""]);
    curate([&words[..], &["--target", "pages", "--mixture", "wiki=1"]].concat())
        .exits(2)
        .says(&[
            "no source or bucket is called \"wiki\"",
            "hint: the buckets are ",
        ]);
    curate(words).exits(2).says(&["--mixture"]);

    curate(["schema", "calibration"]).exits(0).prints(&[
        "\"worth_of_best\"",
        "The least uncalibrated q of the bucket",
    ]);
}
