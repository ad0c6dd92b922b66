//! The commands that look into runs: `trace`, `sample`, `diff` and `gc`. Each figure is what DuckDB
//! computes from the views.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use crate::support::{Outcome, Place, assert_same, corpus, curate, leftovers, query, run, tree};

/// A run of three sources in which every stage removed something, shared by the tests of a process
/// that only read.
static RUN: LazyLock<(Place, PathBuf)> = LazyLock::new(|| {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 40), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    (place, dir)
});

/// Runs a command on a run directory.
fn look(command: &str, dir: &Path, more: &[&str]) -> Outcome {
    let words = [OsStr::new(command), dir.as_os_str()];
    curate(words.into_iter().chain(more.iter().map(OsStr::new)))
}

/// The lines of JSON that a command prints.
fn json_lines(outcome: Outcome) -> Vec<Value> {
    let outcome = outcome.exits(0);
    let lines = outcome.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The first value of a query.
fn one(dir: &Path, sql: &str) -> String {
    query(dir, sql).remove(0)
}

/// A field of each line, as text.
fn field(lines: &[Value], name: &str) -> Vec<String> {
    let text = |line: &Value| match &line[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    lines.iter().map(text).collect()
}

#[test]
fn a_trace_shows_each_value_beside_its_threshold() {
    let dir = &RUN.1;
    let id = one(
        dir,
        "SELECT doc_id FROM filter WHERE removed_by = 'gopher_quality.short_doc' ORDER BY 1 LIMIT 1",
    );
    let words = one(
        dir,
        &format!(
            "SELECT signals.gopher_quality.n_nonsymbol_words FROM signals WHERE doc_id = '{id}'"
        ),
    );
    let (path, record) = {
        let row = one(
            dir,
            &format!("SELECT path, ordinal + 1 FROM documents WHERE doc_id = '{id}'"),
        );
        let (path, record) = row.split_once('|').unwrap();
        (path.to_owned(), record.to_owned())
    };
    let page = look("trace", dir, &[&id]).exits(0).stdout;
    let rule = page
        .lines()
        .find(|line| line.contains("gopher_quality.short_doc  "))
        .unwrap();
    let found: Vec<&str> = rule.split_whitespace().collect();
    assert_eq!(
        found[..4],
        ["gopher_quality.short_doc", &words, "FAILS", "(fails"],
        "{page}"
    );
    for part in [
        format!(" {path}, record {record}\n"),
        "filter: removed by gopher_quality.short_doc\n".to_owned(),
        "not reached: exact_dedup, near_dedup,".to_owned(),
        "general  not drawn\n".to_owned(),
    ] {
        assert!(page.contains(&part), "{part}: {page}");
    }

    // Every rule that judged is there once, with the verdict of `failing`.
    let failing = query(
        dir,
        &format!("SELECT unnest(failing) FROM filter WHERE doc_id = '{id}'"),
    );
    let verdicts = page.lines().filter(|line| line.contains(" FAILS ("));
    let verdicts: Vec<&str> = verdicts
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(verdicts, failing);
    // No colours without a terminal.
    assert!(!page.contains('\u{1b}'), "{page:?}");
}

#[test]
fn a_trace_shows_cluster_terms_and_draws() {
    let dir = &RUN.1;
    let pair = one(
        dir,
        "SELECT doc_id, kept_id, jaccard FROM near_dedup_evidence WHERE reason = 'verified' ORDER BY 1 LIMIT 1",
    );
    let parts: Vec<&str> = pair.split('|').collect();
    let page = look("trace", dir, &[parts[0]]).exits(0).stdout;
    let merged = format!(
        "{} (this document): merged into {}, verified, ",
        parts[0], parts[1]
    );
    assert!(page.contains(&merged), "{page}");
    assert!(page.contains("(merges from 0."), "{page}");
    // The survivor shows who was merged into it.
    let survivor = look("trace", dir, &[parts[1]]).exits(0).stdout;
    assert!(
        survivor.contains(&format!("{}: merged into {}", parts[0], parts[1])),
        "{survivor}"
    );

    let drawn = one(
        dir,
        "SELECT doc_id, draws FROM mix_general ORDER BY draws DESC, 1 LIMIT 1",
    );
    let (id, draws) = drawn.split_once('|').unwrap();
    let page = look("trace", dir, &[id]).exits(0).stdout;
    let plural = if draws == "1" { "" } else { "s" };
    assert!(
        page.contains(&format!("general  {draws} draw{plural}\n")),
        "{page}"
    );
    for part in [
        "terms.signals.heuristic",
        "map percentile, weight 0.5",
        "veto signals.gopher_quality.n_words",
        "band score.mean_nll",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_trace_shows_edits_as_a_diff() {
    let place = Place::new();
    let text = "A line that stays, and says something about the harbour.\\nnavigation | home\\nAnother line that stays, and ends properly.";
    place.write(
        "in.jsonl",
        format!("{{\"id\":\"x\",\"text\":\"{text} \\u001b[31m\"}}\n"),
    );
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"t\"\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\nid = \"id\"\n[language]\nengine = \"none\"\n[filter.c4]\nrewrite = true\nmin_sentences = 0\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "filter"]).exits(0);
    let page = look("trace", &dir, &["x"]).exits(0).stdout;
    let lines: Vec<&str> = page.lines().collect();
    assert!(lines.contains(&"  -navigation | home"), "{page}");
    assert!(page.contains("  @ line "), "{page}");
    assert!(!page.contains('\u{1b}'), "{page:?}");
    // The text below is the one after the edits.
    let shown: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("  | "))
        .collect();
    assert!(
        !shown.contains(&"navigation | home") && !shown.is_empty(),
        "{page}"
    );
}

#[test]
fn a_sample_of_kept_documents_is_a_hash_of_them() {
    let dir = &RUN.1;
    let sample = |more: &[&str]| json_lines(look("sample", dir, &[more, &["--json"]].concat()));
    let lines = sample(&["-n", "7"]);
    let ids = field(&lines, "doc_id");
    assert_eq!(lines.len(), 7);
    let kept = query(
        dir,
        "SELECT doc_id FROM quality WHERE reached AND removed_by IS NULL",
    );
    assert!(ids.iter().all(|id| kept.contains(id)));
    assert!(lines.iter().all(|line| line["removed_by"].is_null()));

    // The same request draws the same documents, fewer are the first of more, a seed draws others.
    assert_eq!(sample(&["-n", "7"]), lines);
    assert_eq!(field(&sample(&["-n", "3"]), "doc_id"), ids[..3]);
    assert_ne!(field(&sample(&["-n", "7", "--seed", "1"]), "doc_id"), ids);
    // All of them are drawn once.
    let mut all = field(&sample(&["-n", "1000"]), "doc_id");
    all.sort();
    let mut expected = kept;
    expected.sort();
    assert_eq!(all, expected);

    let web = sample(&["--source", "web", "-n", "1000", "--stage", "language"]);
    assert!(field(&web, "source").iter().all(|source| source == "web"));
    let of_web = "SELECT count(*) FROM language JOIN documents USING (doc_id) WHERE source = 'web' AND removed_by IS NULL";
    assert_eq!(web.len().to_string(), one(dir, of_web));
    look("sample", dir, &["-n", "3"]).exits(0).prints(&[
        "3 of ",
        "kept up to quality, drawn with seed 0",
        "\n   kept\n",
    ]);
}

#[test]
fn a_sample_of_removed_documents_has_their_rule() {
    let dir = &RUN.1;
    let sample = |rule: &str| {
        json_lines(look(
            "sample",
            dir,
            &["--removed-by", rule, "-n", "1000", "--json"],
        ))
    };
    for (rule, table, reasons) in [
        (
            "gopher_quality.short_doc",
            "filter",
            "gopher_quality.short_doc",
        ),
        ("gopher_quality", "filter", "gopher_quality.%"),
        ("filter", "filter", "%"),
        ("near_dedup", "near_dedup", "%"),
        ("language", "language", "%"),
        ("perplexity", "quality", "perplexity.%"),
    ] {
        let sql = format!("SELECT doc_id FROM {table} WHERE removed_by LIKE '{reasons}'");
        let (mut ids, mut expected) = (field(&sample(rule), "doc_id"), query(dir, &sql));
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected, "{rule}");
        assert!(!ids.is_empty(), "{rule}");
    }

    // A rule that removed nothing is no error; a rule that does not exist is one.
    assert_eq!(sample("gopher_quality.long_doc").len(), 0);
    assert_eq!(sample("c4").len(), 0);
    look("sample", dir, &["--removed-by", "gopher_quality.shrt_doc"])
        .exits(2)
        .says(&[
            "there is no rule \"gopher_quality.shrt_doc\"",
            "did you mean gopher_quality.short_doc?",
        ]);
    look("sample", dir, &["--stage", "nonsense"])
        .exits(2)
        .says(&["its stages are documents, language,"]);
    look("sample", dir, &["--source", "nonsense"])
        .exits(2)
        .says(&["its sources are manuals, notes, web"]);
    look("sample", dir, &["-n", "0"]).exits(2);
}

#[test]
fn a_sample_near_a_threshold_is_the_nearest_on_both_sides() {
    let dir = &RUN.1;
    let near = |name: &str| json_lines(look("sample", dir, &["--near", name, "-n", "4", "--json"]));
    let lines = near("gopher_quality.below_alpha");
    assert_eq!(near("filter.gopher_quality.min_alpha_word_ratio"), lines);

    let value = "signals.gopher_quality.alpha_word_ratio";
    for (side, condition) in [(false, ">= 0.6"), (true, "< 0.6")] {
        let expected = query(
            dir,
            &format!(
                "SELECT filter.doc_id FROM filter JOIN signals USING (doc_id) \
                 WHERE filter.reached AND {value} {condition} \
                 ORDER BY abs({value} - 0.6), 1 LIMIT 4"
            ),
        );
        let own: Vec<Value> = lines
            .iter()
            .filter(|line| line["fails"] == side)
            .cloned()
            .collect();
        assert_eq!(field(&own, "doc_id"), expected, "{side}");
        assert!(!expected.is_empty());
    }
    assert!(lines.iter().all(|line| line["threshold"] == 0.6));

    // Counts of both sides are those of the whole run.
    let counts = one(
        dir,
        &format!(
            "SELECT count(*) FILTER (WHERE {value} >= 0.6), count(*) FILTER (WHERE {value} < 0.6) \
         FROM filter JOIN signals USING (doc_id) WHERE filter.reached"
        ),
    );
    let (pass, fail) = counts.split_once('|').unwrap();
    look("sample", dir, &["--near", "gopher_quality.below_alpha"])
        .exits(0)
        .prints(&[
            "(fails < 0.6)",
            &format!("{pass} documents that reached filter pass, {fail} document"),
            "just inside: the ",
            "just outside: the ",
        ]);

    // A veto has a threshold too, a flag has none.
    let veto = near("veto.signals.gopher_quality.n_words");
    let fails = query(
        dir,
        "SELECT doc_id FROM quality WHERE removed_by LIKE 'veto.%'",
    )
    .len();
    assert_eq!(veto.iter().filter(|line| line["fails"] == false).count(), 4);
    assert_eq!(veto.len(), 4 + fails.min(4));
    look("sample", dir, &["--near", "c4.lorem_ipsum"])
        .exits(2)
        .says(&["has no threshold that judged documents of this run"]);
    look("sample", dir, &["--near", "gopher_quality.short"])
        .exits(2)
        .says(&["there is no rule or key"]);
    look("sample", dir, &["--near", "x", "--removed-by", "y"]).exits(2);
}

#[test]
fn texts_of_strangers_reach_no_terminal() {
    let place = Place::new();
    let text = "red \\u001b[31m bell \\u0007 c1 \\u009b31m bidi \\u202e tag \\udb40\\udc41 end";
    place.write(
        "in.jsonl",
        format!("{{\"id\":\"\\u001b]0;x\\u0007\",\"text\":\"{text}\"}}\n"),
    );
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"t\"\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\nid = \"id\"\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &["--until", "filter"]).exits(0);
    let id = one(&dir, "SELECT doc_id FROM documents");
    let is_bad = |c: char| c.is_control() && c != '\n' || ['\u{202e}', '\u{e0041}'].contains(&c);
    for words in [
        &["trace", &id][..],
        &["sample"],
        &["sample", "--full"],
        &["gc"],
    ] {
        for json in [&[][..], &["--json"]] {
            let outcome = look(words[0], &dir, &[&words[1..], json].concat()).exits(0);
            let said = outcome.stdout + &outcome.stderr;
            assert!(!said.contains(is_bad), "{words:?} {json:?}: {said:?}");
        }
    }
    // JSON holds the text as it is.
    let lines = json_lines(look("sample", &dir, &["--json"]));
    assert_eq!(
        lines[0]["text"].as_str().unwrap().matches(is_bad).count(),
        5
    );
}

#[test]
fn a_diff_counts_what_duckdb_counts() {
    let place = Place::new();
    let manifest = corpus(&place, 40);
    let (a, b) = (RUN.1.clone(), place.path("b"));
    let set = [
        "--set",
        "filter.gopher_quality.min_words=120",
        "--set",
        "filter.gopher_quality.min_alpha_word_ratio=0.5",
        "--set",
        "quality.combine=min",
    ];
    run(&manifest, &b, &set).exits(0);
    let found = diff(&a, &b);

    // The fate of a document in a run: the reason of the first stage that removed it.
    let fate = |dir: &Path| -> BTreeMap<String, (String, String)> {
        let sql = "SELECT d.doc_id, d.source, coalesce(l.removed_by, s.removed_by, f.removed_by, e.removed_by, \
                   n.removed_by, p.removed_by, q.removed_by, '') FROM documents d \
                   JOIN language l USING (doc_id) JOIN signals s USING (doc_id) JOIN filter f USING (doc_id) \
                   JOIN exact_dedup e USING (doc_id) JOIN near_dedup n USING (doc_id) \
                   JOIN paragraph_dedup p USING (doc_id) JOIN quality q USING (doc_id)";
        query(dir, sql)
            .iter()
            .map(|row| {
                let parts: Vec<&str> = row.split('|').collect();
                (
                    parts[0].to_owned(),
                    (parts[1].to_owned(), parts[2].to_owned()),
                )
            })
            .collect()
    };
    let (before, after) = (fate(&a), fate(&b));
    let (mut won, mut lost) = (BTreeMap::new(), BTreeMap::new());
    for (id, (source, reason)) in &before {
        let (_, other) = &after[id];
        match (reason.as_str(), other.as_str()) {
            ("", "") => {}
            (rule, "") => *won.entry((rule.to_owned(), source.clone())).or_insert(0) += 1,
            ("", rule) => *lost.entry((rule.to_owned(), source.clone())).or_insert(0) += 1,
            _ => {}
        }
    }
    let counted = |name: &str| -> BTreeMap<(String, String), i64> {
        let rules = found[name].as_object().unwrap();
        let of = rules.iter().flat_map(|(rule, sources)| {
            let sources = sources.as_object().unwrap().iter();
            sources.map(move |(source, group)| {
                (
                    (rule.clone(), source.clone()),
                    group["documents"].as_i64().unwrap(),
                )
            })
        });
        of.collect()
    };
    assert_eq!(
        (counted("won"), counted("lost")),
        (won.clone(), lost.clone())
    );
    assert!(!won.is_empty() && !lost.is_empty(), "{won:?} {lost:?}");
    assert_eq!(found["both"], before.len());

    // Scores: how many changed, and the mean movement.
    let q = |dir: &Path| -> BTreeMap<String, f64> {
        let rows = query(dir, "SELECT doc_id, q FROM quality WHERE q IS NOT NULL");
        rows.iter()
            .map(|row| {
                let (id, q) = row.split_once('|').unwrap();
                (id.to_owned(), q.parse().unwrap())
            })
            .collect()
    };
    let (before, after) = (q(&a), q(&b));
    let both: Vec<f64> = before
        .iter()
        .filter_map(|(id, q)| Some(after.get(id)? - q))
        .collect();
    let score = &found["scores"]["quality.q"];
    assert_eq!(score["both"], both.len());
    assert_eq!(
        score["changed"],
        both.iter().filter(|change| **change != 0.0).count()
    );
    let mean = both.iter().sum::<f64>() / both.len() as f64;
    assert!(
        (score["mean"].as_f64().unwrap() - mean).abs() < 1e-9,
        "{score}"
    );
    let largest = both.iter().map(|change| change.abs()).fold(0.0, f64::max);
    let first = &score["largest"][0];
    let shown = (first["b"].as_f64().unwrap() - first["a"].as_f64().unwrap()).abs();
    assert_eq!(shown, largest);

    // Settings with both values, and D_eff as each run.json has it.
    let filter = found["settings"]["filter"].as_array().unwrap();
    let paths: Vec<&str> = filter
        .iter()
        .map(|setting| setting["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "gopher_quality.min_alpha_word_ratio",
            "gopher_quality.min_words"
        ]
    );
    assert_eq!(
        (&filter[1]["a"], &filter[1]["b"]),
        (&Value::from(50), &Value::from(120))
    );
    for (side, dir) in [("a", &a), ("b", &b)] {
        assert_eq!(
            found[side]["pool"]["d_eff"],
            crate::support::report(dir)["pool"]["d_eff"]
        );
    }
    let page = curate([OsStr::new("diff"), a.as_os_str(), b.as_os_str()]).exits(0);
    page.prints(&[
        "filter: gopher_quality.min_words 50 → 120",
        " won: B kept them",
        "pool D_eff",
    ]);
}

/// The JSON of a diff.
fn diff(a: &Path, b: &Path) -> Value {
    json_lines(curate([
        OsStr::new("diff"),
        a.as_os_str(),
        b.as_os_str(),
        OsStr::new("--json"),
    ]))
    .remove(0)
}

#[test]
fn a_diff_does_not_depend_on_shards() {
    let place = Place::new();
    let manifest = corpus(&place, 40);
    let (one, other) = (place.path("one"), place.path("other"));
    let set = [
        "--set",
        "filter.gopher_quality.min_words=120",
        "--set",
        "run.shard_size=1GiB",
    ];
    run(&manifest, &one, &set).exits(0);
    run(&manifest, &other, &set[..2]).exits(0);
    // Documents of other shards are joined by another way, with the same figures.
    let (large, small) = (diff(&RUN.1, &one), diff(&RUN.1, &other));
    for name in ["both", "only_a", "only_b", "won", "lost", "other_rule"] {
        assert_eq!(large[name], small[name], "{name}");
    }

    // A run is equal to itself.
    let same = diff(&one, &one);
    assert_eq!(same["settings"], serde_json::json!({}));
    assert_eq!(
        (&same["won"], &same["lost"]),
        (&serde_json::json!({}), &serde_json::json!({}))
    );
    assert_eq!(same["scores"]["quality.q"]["changed"], 0);

    // Other inputs are documents of one run only, and an unfinished run is compared as far as it is.
    let few = place.path("few");
    place.write("data/web/copies.jsonl", "");
    run(&manifest, &few, &["--until", "filter"]).exits(0);
    let found = diff(&one, &few);
    assert_eq!(found["only_a"]["web"], 16);
    assert_eq!(found["only_b"], serde_json::json!({}));
    let page = curate([OsStr::new("diff"), one.as_os_str(), few.as_os_str()]).exits(0);
    page.prints(&["16 are in A only: web 16", "exact_dedup is in one run"]);
    curate([
        OsStr::new("diff"),
        one.as_os_str(),
        place.path("none").as_os_str(),
    ])
    .exits(2);
}

#[test]
fn gc_deletes_what_nothing_names_and_nothing_else() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let before = tree(&dir);

    // A finished run holds nothing else, and its bytes are those of the files.
    let found = json_lines(look("gc", &dir, &["--json"])).remove(0);
    assert_eq!(
        (&found["unnamed"], &found["foreign"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    let folders = found["folders"].as_array().unwrap();
    let signals = folders
        .iter()
        .find(|folder| folder["folder"] == "signals")
        .unwrap();
    let bytes: usize = before
        .iter()
        .filter(|(name, _)| name.starts_with("signals/"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert_eq!(signals["named"]["bytes"], bytes);
    look("gc", &dir, &["--delete"])
        .exits(0)
        .prints(&["nothing to delete"]);
    assert_same(&tree(&dir), &before, "after gc of a finished run");

    // What a stopped run leaves, and files of somebody else.
    for (name, text) in [
        ("run/signals/part-00099-aaaaaaaa.parquet", "left"),
        (
            "run/near_dedup_evidence/part-00000-bbbbbbbb.parquet",
            "left",
        ),
        ("run/mixture/general/part-00077-cccccccc.parquet", "left"),
        ("run/.curate/staging/unit-0/part.parquet", "left"),
        ("run/.curate/spill/x.tmp", "left"),
        ("run/filter/mine.parquet", "mine"),
        ("run/notes.txt", "mine"),
        ("run/filter/old/part-00000-dddddddd.parquet", "mine"),
    ] {
        place.write(name, text);
    }
    fs::copy(
        dir.join("filter/_commit.json"),
        dir.join("filter/_stale.json"),
    )
    .unwrap();
    let with_leftovers = tree(&dir);
    look("gc", &dir, &[]).exits(0).prints(&[
        "6 files, ",
        "can be deleted: curate gc ",
        "notes.txt",
        "spill/x.tmp",
    ]);
    assert_same(&tree(&dir), &with_leftovers, "after gc without --delete");

    // While a run holds the directory, nothing is deleted.
    let lock = fs::File::open(dir.join(".curate/lock")).unwrap();
    lock.lock().unwrap();
    look("gc", &dir, &["--delete"]).exits(11);
    look("gc", &dir, &[])
        .exits(0)
        .says(&["a run is going on here"]);
    drop(lock);
    assert_same(&tree(&dir), &with_leftovers, "after gc of a locked run");

    look("gc", &dir, &["--delete"])
        .exits(0)
        .prints(&["deleted 6 files, ", "signals/part-00099-aaaaaaaa.parquet"]);
    let mine = [
        "filter/mine.parquet",
        "notes.txt",
        "filter/old/part-00000-dddddddd.parquet",
    ];
    let mut after = tree(&dir);
    for name in mine {
        assert!(after.remove(name).is_some(), "{name}");
    }
    assert_same(&after, &before, "after gc --delete");
    assert_eq!(leftovers(&dir), [] as [PathBuf; 0]);

    // A commit that is damaged names nothing, so nothing is deleted.
    let commit = fs::read(dir.join("tokens/_commit.json")).unwrap();
    fs::write(dir.join("tokens/_commit.json"), &commit[..40]).unwrap();
    look("gc", &dir, &["--delete"]).exits(70);
    look("gc", &place.path("none"), &["--delete"]).exits(2);
    assert!(!place.path("none").exists());
}

#[test]
fn gc_keeps_what_the_next_run_can_use() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    // Stages behind `language` are retired, and their files are of use if the setting comes back.
    run(
        &manifest,
        &dir,
        &[
            "--until",
            "language",
            "--set",
            "language.min_confidence=0.9",
        ],
    )
    .exits(0);
    assert!(dir.join("signals/_stale.json").exists());
    let found = json_lines(look("gc", &dir, &["--delete", "--json"])).remove(0);
    let folders = found["folders"].as_array().unwrap();
    let reusable = folders
        .iter()
        .find(|folder| folder["folder"] == "signals")
        .unwrap();
    assert!(
        reusable["reusable"]["files"].as_u64().unwrap() > 1,
        "{reusable}"
    );
    let log = run(&manifest, &dir, &[]).exits(0).stderr;
    assert!(log.contains("signals: cached"), "{log}");
}
