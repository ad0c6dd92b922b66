//! Terms, vetoes and tails: q as DuckDB computes it from the columns, and what a changed band
//! redoes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::{
    Outcome, Place, Random, assert_same, check, corpus, figure, fixture_lines, query, repository,
    run, tree,
};

/// Documents that a run's log says were scored by the model.
fn scored(outcome: &Outcome) -> usize {
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.contains(" documents scored, "));
    line.map_or(0, |line| {
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    })
}

#[test]
fn q_follows_from_its_columns() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 40), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    check(&dir, None).exits(0);
    // The term of a percentile, from the values themselves: the share of tokens below, and half of
    // the document's own. Texts whose values are as good as equal share one, and a text may hold a
    // tenth of its group's tokens.
    let terms = "WITH pool AS (
            SELECT q.doc_id, q.q, q.terms, language, domain, tokens, heuristic, mean_nll
            FROM quality q JOIN language USING (doc_id) JOIN documents USING (doc_id) JOIN tokens USING (doc_id)
            JOIN signals USING (doc_id) JOIN score USING (doc_id)
            WHERE q.reached AND NOT starts_with(coalesce(q.removed_by, ''), 'veto')
        ), shares AS (
            SELECT *, (sum(tokens) OVER below - tokens / 2) / sum(tokens) OVER everyone AS share FROM pool
            WINDOW everyone AS (PARTITION BY language, domain), below AS (PARTITION BY language, domain ORDER BY mean_nll)
        )";
    let worst = query(
        &dir,
        &format!(
            "{terms} SELECT max(abs(terms['score.mean_nll'] - (1 - share))) < 0.06 AND avg(abs(terms['score.mean_nll'] - (1 - share))) < 0.005,
            max(abs(q - exp((ln(terms['signals.heuristic']) + 0.5 * ln(terms['score.mean_nll'])) / 1.5))) < 1e-9,
            max(abs(terms['signals.heuristic'] - heuristic)) < 1e-12, count(*) > 40 FROM shares WHERE q IS NOT NULL"
        ),
    );
    assert_eq!(worst, ["True|True|True|True"]);
    // No group loses more than was asked for, on either side; both sides lose some.
    let tails = query(
        &dir,
        "WITH groups AS (
            SELECT count(*) AS n, count(*) FILTER (quality.removed_by = 'perplexity.low') AS low,
            count(*) FILTER (quality.removed_by = 'perplexity.high') AS high
            FROM quality JOIN language USING (doc_id) JOIN documents USING (doc_id)
            WHERE quality.reached AND NOT starts_with(coalesce(quality.removed_by, ''), 'veto') GROUP BY language, domain)
        SELECT bool_and(low <= 2 * 0.05 * n AND high <= 2 * (1 - 0.9) * n + 2), sum(low) > 0, sum(high) > 0 FROM groups",
    );
    assert_eq!(tails, ["True|True|True"]);
    let ends = query(
        &dir,
        "SELECT bool_and(CASE q.removed_by WHEN 'perplexity.low' THEN mean_nll < l.nats OR bits_per_byte < l.bits
            WHEN 'perplexity.high' THEN mean_nll >= h.nats OR bits_per_byte >= h.bits
            ELSE NOT coalesce(mean_nll < l.nats OR bits_per_byte < l.bits OR mean_nll >= h.nats OR bits_per_byte >= h.bits, false) END)
        FROM quality q JOIN score USING (doc_id) JOIN language USING (doc_id) JOIN documents USING (doc_id)
        LEFT JOIN (PIVOT (SELECT * REPLACE (replace(measure, 'score.', '') AS measure) FROM quality_maps WHERE kind = 'drop_below')
            ON measure IN ('mean_nll' AS nats, 'bits_per_byte' AS bits) USING first(value) GROUP BY language, domain) l USING (language, domain)
        LEFT JOIN (PIVOT (SELECT * REPLACE (replace(measure, 'score.', '') AS measure) FROM quality_maps WHERE kind = 'drop_above')
            ON measure IN ('mean_nll' AS nats, 'bits_per_byte' AS bits) USING first(value) GROUP BY language, domain) h USING (language, domain)
        WHERE q.reached AND NOT starts_with(coalesce(q.removed_by, ''), 'veto')",
    );
    assert_eq!(ends, ["True"]);
}

#[test]
fn vetoes_come_before_everything_else() {
    let place = Place::new();
    let manifest = place.write(
        "manifest.toml",
        fs::read_to_string(corpus(&place, 20))
            .unwrap()
            .replace("20000", "400"),
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    check(&dir, None).exits(0);
    let reasons = "SELECT bool_and(quality.removed_by = 'veto.signals.gopher_quality.n_words' AND q IS NULL), count(*) > 5
        FROM quality JOIN signals USING (doc_id) WHERE quality.reached AND gopher_quality.n_words > 400";
    assert_eq!(query(&dir, reasons), ["True|True"]);
    // They are in no group: a group's documents are those that stay.
    let groups =
        "SELECT (SELECT sum(documents) FROM (SELECT DISTINCT language, domain, documents FROM quality_maps
        WHERE measure = 'score.mean_nll')) = (SELECT count(*) FROM quality JOIN score USING (doc_id)
        WHERE quality.reached AND mean_nll IS NOT NULL AND NOT starts_with(coalesce(quality.removed_by, ''), 'veto'))";
    assert_eq!(query(&dir, groups), ["True"]);
}

#[test]
fn a_band_scores_nothing_and_a_threshold_only_what_is_new() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    let first = run(&manifest, &dir, &[]).exits(0);
    let survivors: usize = query(&dir, "SELECT count(*) FROM score WHERE reached")[0]
        .parse()
        .unwrap();
    assert_eq!(scored(&first), survivors);
    // Another band: the model is not asked.
    let band = ["--set", "score.perplexity.drop.above=0.5"];
    let again = run(&manifest, &dir, &band)
        .exits(0)
        .says(&["score: cached"]);
    assert_eq!(scored(&again), 0);
    let fresh = place.path("fresh");
    run(&manifest, &fresh, &band).exits(0);
    assert_same(&tree(&dir), &tree(&fresh), "a changed band");
    // Another threshold upstream: those that are new, counted.
    let looser = [
        "--set",
        "filter.gopher_quality.min_words=10",
        "--set",
        "filter.gopher_quality.min_alpha_word_ratio=0.3",
    ];
    let loosened = run(&manifest, &dir, &looser).exits(0);
    let more: usize = query(&dir, "SELECT count(*) FROM score WHERE reached")[0]
        .parse()
        .unwrap();
    assert!(more > survivors, "{more} of {survivors}");
    assert_eq!(scored(&loosened), more - survivors);
    let fresh = place.path("loosened");
    run(&manifest, &fresh, &looser).exits(0);
    let difference = format!(
        "SELECT max(abs(a.mean_nll - b.mean_nll)) < 1e-4, count(*) FROM score a
        JOIN read_parquet('{}/score/*.parquet') b USING (doc_id) WHERE a.reached AND b.reached",
        fresh.display()
    );
    assert_eq!(query(&dir, &difference), [format!("True|{more}")]);
}

#[test]
fn a_curve_from_a_file_is_part_of_the_key() {
    let place = Place::new();
    let text = fs::read_to_string(corpus(&place, 10)).unwrap();
    let term = "column = \"signals.heuristic\"\nmap = \"isotonic\"\nfile = \"curve.json\"\n";
    let manifest = place.write(
        "manifest.toml",
        text.replacen("column = \"signals.heuristic\"\n", term, 1),
    );
    let dir = place.path("run");
    let curve = |points: &str| place.write("curve.json", points);
    curve("[[0, 0.25], [1, 0.75]]");
    run(&manifest, &dir, &[]).exits(0);
    let lines = "SELECT max(abs(terms['signals.heuristic'] - (0.25 + heuristic / 2))) < 1e-12
        FROM quality JOIN signals USING (doc_id) WHERE quality.q IS NOT NULL";
    assert_eq!(query(&dir, lines), ["True"]);
    curve("[[0, 0.5], [1, 0.5]]");
    run(&manifest, &dir, &[]).exits(0).says(&["score: cached"]);
    assert_eq!(
        query(
            &dir,
            "SELECT DISTINCT terms['signals.heuristic'] FROM quality WHERE q IS NOT NULL"
        ),
        ["0.5"]
    );
    for (points, says) in [
        ("[[0, 0.5], [0, 0.6]]", "point 1"),
        ("[[0, 2]]", "(0, 1]"),
        ("{}", "expected [[value, term]"),
        ("[]", "the list of points is empty"),
    ] {
        curve(points);
        run(&manifest, &dir, &[])
            .exits(2)
            .says(&["quality.term.file curve.json", says]);
    }
}

/// Damaged texts, made of the same clean ones. The name of each kind begins the ids.
fn damaged(texts: &[String]) -> Vec<(&'static str, Vec<String>)> {
    let vocabulary = fs::read(repository().join("scorers/data/embedded_tokenizer.json")).unwrap();
    let vocabulary: serde_json::Value = serde_json::from_slice(&vocabulary).unwrap();
    let pieces = vocabulary["model"]["vocab"].as_object().unwrap().keys();
    let pieces: Vec<String> = pieces
        .map(|piece| piece.replace('Ġ', " ").replace('Ċ', "\n"))
        .filter(|piece| piece.is_ascii())
        .collect();

    let mut random = Random::new(5);
    let mut shuffle = |text: &String| {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        for at in (1..words.len()).rev() {
            words.swap(at, random.below(at as u64 + 1) as usize);
        }
        // Lines as long as the text's own.
        let long = text.lines().count().max(1);
        let lines = words.chunks(words.len().div_ceil(long).max(1));
        lines
            .map(|line| line.join(" "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let shuffled = texts.iter().map(&mut shuffle).collect();

    // A token of the embedded vocabulary is some three characters of such text.
    let mut random = Random::new(6);
    let mut noisy = |text: &String, percent: u64| {
        let characters: Vec<char> = text.chars().collect();
        let tokens = characters
            .chunks(3)
            .map(|token| match random.below(100) < percent {
                true => pieces[random.below(pieces.len() as u64) as usize].clone(),
                false => token.iter().collect(),
            });
        tokens.collect::<String>()
    };
    let mut of = |percent| texts.iter().map(|text| noisy(text, percent)).collect();

    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for text in texts {
        let lines: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        lines
            .into_iter()
            .for_each(|line| *counts.entry(line).or_default() += 1);
    }
    let shared: Vec<&str> = counts
        .into_iter()
        .filter(|(_, documents)| *documents >= 5)
        .map(|(line, _)| line)
        .collect();
    let mut random = Random::new(7);
    let boilerplate = texts.iter().map(|_| {
        let lines = (0..60).map(|_| shared[random.below(shared.len() as u64) as usize]);
        lines.collect::<Vec<_>>().join("\n")
    });
    vec![
        ("random_10", of(10)),
        ("random_30", of(30)),
        ("random_60", of(60)),
        ("shuffled", shuffled),
        ("boilerplate", boilerplate.collect()),
    ]
}

#[test]
fn the_default_q_rewards_no_damage() {
    let place = Place::new();
    let lines =
        fixture_lines("web-000.jsonl.zst", 0..250) + &fixture_lines("web-001.jsonl.zst", 0..250);
    let texts: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["text"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .filter(|text| text.len() > 1500)
        .collect();
    assert!(texts.len() > 200, "{}", texts.len());

    let mut all = vec![("clean", texts.clone())];
    all.extend(damaged(&texts));
    let mut out = String::new();
    for (kind, texts) in &all {
        for (number, text) in texts.iter().enumerate() {
            let record = serde_json::json!({ "id": format!("{kind}/{number}"), "text": text });
            out += &format!("{record}\n");
        }
    }
    place.write("all.jsonl", out);
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"damage\"\n[[source]]\nname = \"all\"\npath = \"all.jsonl\"\nid = \"id\"\n\
         [language]\nengine = \"none\"\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);

    let means = query(
        &dir,
        "SELECT split_part(source_id, '/', 1) AS kind, sum(q * tokens) / sum(tokens), \
           sum(heuristic * tokens) / sum(tokens) \
         FROM quality JOIN documents USING (doc_id) JOIN tokens USING (doc_id) \
         JOIN signals USING (doc_id) GROUP BY kind",
    );
    let means: BTreeMap<String, (f64, f64)> = means
        .iter()
        .map(|row| {
            let mut fields = row.split('|');
            let mut next = || fields.next().unwrap();
            (
                next().to_owned(),
                (next().parse().unwrap(), next().parse().unwrap()),
            )
        })
        .collect();
    figure(
        "mean q and heuristic score of damaged text",
        format!("{means:.3?}"),
    );

    let clean = means["clean"].0;
    for (kind, _) in &all[1..] {
        assert!(means[*kind].0 < clean, "{kind}: {means:?}");
    }
    assert!(means["random_60"].0 < means["random_30"].0, "{means:?}");
    assert!(means["random_30"].0 < means["random_10"].0, "{means:?}");
    assert!(
        means["random_60"].0 < 0.4 * clean && means["shuffled"].0 < 0.6 * clean,
        "{means:?}"
    );
    // What the default was before: it takes noise for lexical variety.
    assert!(means["random_60"].1 > means["clean"].1, "{means:?}");
}
