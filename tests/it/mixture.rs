//! Mixtures under bounds and by strategies, and what tokens are worth without a run.

use std::fs;

use crate::support::{Outcome, Place, check, corpus, curate, query, report, run};

/// The corpus with one mixture of so many tokens, and more of the manifest.
fn with_mixture(place: &Place, mixture: &str) -> std::path::PathBuf {
    let text = fs::read_to_string(corpus(place, 30)).unwrap();
    let end = text.find("[[mixture]]").unwrap();
    place.write("manifest.toml", format!("{}{mixture}", &text[..end]))
}

fn shares(place: &Place) -> Vec<String> {
    query(
        &place.path("run"),
        "SELECT source, round(sum(draws * tokens) / sum(sum(draws * tokens)) OVER (), 2)
        FROM read_parquet('mix/m/*.parquet') JOIN documents USING (doc_id) JOIN tokens USING (doc_id) GROUP BY 1 ORDER BY 1",
    )
}

#[test]
fn shares_of_sources_are_kept_to() {
    let place = Place::new();
    let bounds = "[[mixture]]\nname = \"m\"\ntokens = 60_000\n
        [[mixture_source]]\nmixture = \"m\"\nsource = \"notes\"\nmin_share = 0.3\n
        [[mixture_source]]\nmixture = \"m\"\nsource = \"web\"\nmax_share = 0.2\n";
    let (manifest, dir) = (with_mixture(&place, bounds), place.path("run"));
    run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["held back by ", "quality_curve"]);
    check(&dir, None).exits(0);
    let share = |name: &str| -> f64 {
        let row = shares(&place)
            .into_iter()
            .find(|row| row.starts_with(name))
            .unwrap();
        row.split('|').nth(1).unwrap().parse().unwrap()
    };
    assert!(
        share("notes") >= 0.28 && share("web") <= 0.22,
        "{:?}",
        shares(&place)
    );
    // Another bound is another mixture; nothing else is done again.
    run(&manifest, &dir, &["--set", "mixture.m.max_epochs=6"])
        .exits(0)
        .says(&["quality: cached"]);
    let impossible = fs::read_to_string(&manifest)
        .unwrap()
        .replace("max_share = 0.2", "min_share = 0.8");
    let impossible = place.write("impossible.toml", impossible);
    // No pool can give them, so nothing is read.
    run(&impossible, &dir, &[]).exits(2).says(&[
        "least shares of the sources sum to 1.1, more than 1",
        "hint: change the shares",
    ]);
}

#[test]
fn the_solution_is_worth_no_less_than_any_strategy() {
    let place = Place::new();
    let (manifest, dir) = (
        with_mixture(&place, "[[mixture]]\nname = \"m\"\ntokens = 60_000\n"),
        place.path("run"),
    );
    let mut worth = Vec::new();
    for strategy in [
        "effective",
        "natural",
        "unimax",
        "temperature",
        "quality_curve",
    ] {
        run(
            &manifest,
            &dir,
            &["--set", &format!("mixture.m.strategy={strategy}")],
        )
        .exits(0);
        let mixture = report(&dir)["mixtures"][0].clone();
        assert!(
            mixture["strategy"].as_str().unwrap().starts_with(strategy),
            "{mixture}"
        );
        let planned = mixture["compared"]
            .as_array()
            .unwrap()
            .iter()
            .find(|other| other["strategy"] == mixture["strategy"]);
        let (planned, drawn) = (
            planned.unwrap()["d_eff"].as_f64().unwrap(),
            mixture["d_eff"].as_f64().unwrap(),
        );
        // Documents are drawn whole: a small pool misses by one of each bucket at the most.
        assert!(
            (planned / drawn - 1.0).abs() < 0.2,
            "{strategy}: {planned} planned, {drawn} drawn"
        );
        worth.push(planned);
    }
    assert!(
        worth[1..]
            .iter()
            .all(|other| *other <= worth[0] * (1.0 + 1e-9)),
        "{worth:?}"
    );
    let fixed = fs::read_to_string(&manifest).unwrap()
        + "strategy = \"fixed\"\n"
        + &["notes", "web", "manuals"]
            .iter()
            .zip([0.2, 0.5, 0.3])
            .map(|(source, share)| {
                format!(
                    "[[mixture_source]]\nmixture = \"m\"\nsource = \"{source}\"\nshare = {share}\n"
                )
            })
            .collect::<String>();
    run(&place.write("fixed.toml", fixed), &dir, &[]).exits(0);
    for (row, share) in shares(&place).iter().zip([0.3, 0.2, 0.5]) {
        let found: f64 = row.split('|').nth(1).unwrap().parse().unwrap();
        assert!((found - share).abs() < 0.08, "{:?}", shares(&place));
    }
}

#[test]
fn bounds_of_what_is_not_there_are_named() {
    let place = Place::new();
    let bad = |more: &str, says: &[&str]| {
        let mixture = "[[mixture]]\nname = \"m\"\ntokens = 60_000\n[[mixture_source]]\n";
        run(
            &with_mixture(&place, &format!("{mixture}{more}")),
            &place.path("run"),
            &[],
        )
        .exits(2)
        .says(says);
    };
    bad(
        "mixture = \"n\"\nsource = \"web\"\n",
        &["no [[mixture]] is called \"n\""],
    );
    bad(
        "mixture = \"m\"\nsource = \"wep\"\n",
        &["no [[source]] is called \"wep\""],
    );
    bad(
        "mixture = \"m\"\nsource = \"web\"\nmin_share = 0.5\nmax_share = 0.4\n",
        &["must be at most max_share = 0.4"],
    );
}

#[test]
fn constants_of_ones_own_price_a_run() {
    let place = Place::new();
    let text = fs::read_to_string(corpus(&place, 20)).unwrap();
    let manifest = place.write(
        "manifest.toml",
        text.replace("params = 7e9", "params = 7e9\nconstants = \"own.json\""),
    );
    let dir = place.path("run");
    // Those of `hoffmann2022_rounded`, with 17 digits where a parser may lose one.
    let own = r#"{"e": 1.69, "a": 406.4, "b": 410.69999999999999, "alpha": 0.34, "beta": 0.28000000000000003}"#;
    run(&manifest, &dir, &[]).exits(2).says(&[
        "manifest.toml:",
        ": budget.constants: \"own.json\": no such file",
        "hint: ",
    ]);
    assert!(!dir.exists());
    place.write("own.json", own);
    run(&manifest, &dir, &[]).exits(0).prints(&[
        "(own.json)",
        "note: where the constants of own.json were fitted",
    ]);
    check(&dir, None).exits(0);
    let first = report(&dir);
    assert_eq!(first["budget"]["constants"], "own.json");
    assert_eq!(
        first["budget"]["constants_digest"],
        blake3::hash(own.as_bytes()).to_hex().as_str()
    );
    assert!(first["budget"]["pool"]["delta_loss_interval"].is_null());

    // Another file is another report, and nothing else.
    let rows = [
        "[0,0,0,0,0]",
        "[0,0,0,0,0]",
        "[0,0,100,0,0.1]",
        "[0,0,0,0,0]",
        "[0,0,0.1,0,1e-4]",
    ]
    .join(",");
    let own = place.write(
        "own.json",
        own.replace('}', &format!(", \"covariance\": [{rows}]}}")),
    );
    run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["everything was cached in "]);
    check(&dir, None).exits(0);
    let second = report(&dir);
    assert_ne!(
        first["budget"]["constants_digest"],
        second["budget"]["constants_digest"]
    );
    let interval = |loss: &serde_json::Value| -> (f64, f64, f64) {
        let end = |at: usize| loss["delta_loss_interval"][at].as_f64().unwrap();
        (end(0), loss["delta_loss"].as_f64().unwrap(), end(1))
    };
    for loss in [&second["budget"]["pool"], &second["mixtures"][0]["loss"]] {
        let (low, value, high) = interval(loss);
        assert!(0.0 < low && low < value && value < high, "{loss}");
    }
    // The report stands without the file; the manifest does not.
    fs::remove_file(&own).unwrap();
    check(&dir, None).exits(0);
    curate(["status".as_ref(), dir.as_os_str()])
        .exits(0)
        .prints(&["(own.json)"]);
    run(&manifest, &dir, &[]).exits(2);
    run(
        &manifest,
        &dir,
        &["--set", "budget.constants=hoffmann2022_rounded"],
    )
    .exits(0);
    assert!(report(&dir)["budget"].get("constants_digest").is_none());
}

fn budget(arguments: &[&str]) -> Outcome {
    curate([&["budget"], arguments].concat())
}

#[test]
fn budgets_without_a_run() {
    // What the heuristic gives "Clear prose. " two hundred times.
    budget(&[
        "--params",
        "7e9",
        "--tokens",
        "1e6",
        "--quality",
        "0.542",
        "--constants",
        "besiroglu2024",
    ])
    .exits(0)
    .prints(&["D_eff = 542,000 (uncalibrated)", "outside the fitted range"]);
    // Two thousand billion tokens, half of them seen twice: science of repeats, then q.
    budget(&["--params", "7e9", "--tokens", "4e11", "--unique", "1e11"])
        .exits(0)
        .prints(&["372,567", "D' with q = 1"]);
    budget(&["--flops", "5.76e23", "--constants", "hoffmann2022_rounded"])
        .exits(0)
        .prints(&["N = 3.2190e10", "D/N = 92.65"]);
    budget(&["--params", "7e9", "--target-loss", "1.9"])
        .exits(1)
        .prints(&["infeasible at N = 7.000e9"]);
    budget(&[
        "--params",
        "7e9",
        "--target-loss",
        "2.2",
        "--tokens",
        "1e11",
        "--quality",
        "0.5",
    ])
    .exits(0)
    .prints(&["effective tokens", "are missing"]);
    budget(&["--memory-plan"]).exits(0).prints(&[
        "Qwen2.5-72B",
        "327,680",
        "72,706,203,648",
        "10.0000",
    ]);
    let tiny = crate::support::repository().join("fixtures/lm/tiny_qwen2/tied/config.json");
    budget(&["--memory-plan", tiny.to_str().unwrap()])
        .exits(0)
        .prints(&["config.json"]);
    budget(&[]).exits(2).says(&["nothing is asked", "hint: "]);
    budget(&["--tokens", "1e9"])
        .exits(2)
        .says(&["--tokens needs --params"]);
    budget(&["--params", "7e9", "--tokens", "1e9", "--unique", "2e9"])
        .exits(2)
        .says(&["at most --tokens"]);

    let place = Place::new();
    let own = place.write(
        "own.json",
        r#"{"e": 1.69, "a": 406.4, "b": 410.7, "alpha": 0.34, "beta": 0.28}"#,
    );
    let own = own.to_str().unwrap();
    budget(&["--params", "70e9", "--tokens", "1.4e12", "--constants", own])
        .exits(0)
        .prints(&["1.936645"]);
    place.write(
        "own.json",
        r#"{"e": 1.69, "a": -1, "b": 410.7, "alpha": 0.34, "beta": 0.28}"#,
    );
    budget(&["--params", "70e9", "--tokens", "1.4e12", "--constants", own])
        .exits(2)
        .says(&["own.json", "-1"]);
    budget(&[
        "--params",
        "70e9",
        "--tokens",
        "1e12",
        "--constants",
        "kaplan2020",
    ])
    .exits(2)
    .says(&["no law has this name"]);
}
