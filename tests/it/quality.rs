//! Terms, vetoes and tails: q as DuckDB computes it from the columns, and what a changed band
//! redoes.

use std::fs;

use crate::support::{Outcome, Place, assert_same, check, corpus, query, run, tree};

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
        LEFT JOIN (PIVOT (SELECT * REPLACE (replace(measure, 'score.', '') AS measure) FROM quality_calibration WHERE kind = 'drop_below')
            ON measure IN ('mean_nll' AS nats, 'bits_per_byte' AS bits) USING first(value) GROUP BY language, domain) l USING (language, domain)
        LEFT JOIN (PIVOT (SELECT * REPLACE (replace(measure, 'score.', '') AS measure) FROM quality_calibration WHERE kind = 'drop_above')
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
        "SELECT (SELECT sum(documents) FROM (SELECT DISTINCT language, domain, documents FROM quality_calibration
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
    let term =
        "column = \"signals.heuristic\"\ncalibration = \"isotonic\"\nfile = \"curve.json\"\n";
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
