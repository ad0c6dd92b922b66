//! An n-gram model: learnt from a run, in its own form and as ARPA, and what it says of another
//! run's documents.

use std::fs;
use std::process::Command;

use crate::support::{Place, assert_same, check, curate, fixture_lines, query, run, tree};

/// A reference of manuals and a manifest that scores pages of the web by what was learnt from it.
fn place() -> Place {
    let place = Place::new();
    place.write(
        "manuals.jsonl",
        fixture_lines("manuals-000.jsonl.zst", 0..60),
    );
    place.write("web.jsonl", fixture_lines("web-000.jsonl.zst", 0..60));
    let source = |name: &str| {
        let text = if name == "manuals" {
            "text = \"content.text\"\n"
        } else {
            ""
        };
        format!(
            "[run]\nname = \"{name}\"\n[[source]]\nname = \"{name}\"\npath = \"{name}.jsonl\"\n{text}"
        )
    };
    place.write("manuals.toml", source("manuals"));
    place.write(
        "web.toml",
        format!(
            "{}[language]\n[score.ngram]\nmodel = \"manuals.ngram\"\n",
            source("web")
        ),
    );
    run(
        &place.path("manuals.toml"),
        &place.path("reference"),
        &["--until", "documents"],
    )
    .exits(0);
    place
}

fn train(place: &Place, more: &[&str]) -> crate::support::Outcome {
    let (reference, model) = (place.path("reference"), place.path("manuals.ngram"));
    let words = [
        "train",
        "ngram",
        reference.to_str().unwrap(),
        "-o",
        model.to_str().unwrap(),
    ];
    curate([&words[..], more].concat())
}

#[test]
fn what_is_learnt_scores_another_run() {
    let place = place();
    train(&place, &[])
        .exits(0)
        .prints(&["order", "discounts", "digest "]);
    let left = fs::read_dir(place.path(""))
        .unwrap()
        .flatten()
        .any(|file| file.path().to_string_lossy().contains("spill"));
    assert!(!left, "counts are left on disk");
    let (manifest, dir) = (place.path("web.toml"), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    check(&dir, None).exits(0);
    let values = "SELECT max(abs(perplexity / pow(10, -log10_sum / (n_tokens + len(text) - len(replace(text, chr(10), '')) + 1)) - 1)) < 1e-9,
        count(DISTINCT model_digest), bool_and(n_unknown <= n_tokens AND log10_sum < 0), count(*) > 40
        FROM ngram JOIN documents USING (doc_id) WHERE reached AND perplexity IS NOT NULL";
    assert_eq!(query(&dir, values), ["True|1|True|True"]);
    let thirds = "WITH pool AS (SELECT ccnet, perplexity, percent_rank() OVER (PARTITION BY language ORDER BY perplexity) AS rank,
            count(*) OVER (PARTITION BY language) AS n
            FROM quality JOIN ngram USING (doc_id) JOIN language USING (doc_id) WHERE quality.reached)
        SELECT bool_and(ccnet = CASE WHEN rank < 0.3 THEN 'head' WHEN rank < 0.6 THEN 'middle' ELSE 'tail' END),
        count(DISTINCT ccnet), count(*) > 30 FROM pool
        WHERE n > 20 AND abs(rank - 0.3) > 2 / n AND abs(rank - 0.6) > 2 / n";
    assert_eq!(query(&dir, thirds), ["True|3|True"]);
    // Another band decides again and scores nothing; the model's bytes are the same whatever the
    // memory.
    let band = ["--set", "score.ngram.drop={below=0.1,above=0.8}"];
    run(&manifest, &dir, &band)
        .exits(0)
        .says(&["ngram: cached"]);
    let removed = "SELECT count(*) FILTER (removed_by = 'ngram.low') > 0, count(*) FILTER (removed_by = 'ngram.high') > 0 FROM quality";
    assert_eq!(query(&dir, removed), ["True|True"]);
    let fresh = place.path("fresh");
    run(&manifest, &fresh, &band).exits(0);
    assert_same(&tree(&dir), &tree(&fresh), "a changed band");
    let model = fs::read(place.path("manuals.ngram")).unwrap();
    train(&place, &["--memory", "1MiB"]).exits(0);
    assert!(
        fs::read(place.path("manuals.ngram")).unwrap() == model,
        "memory has no say"
    );
}

#[test]
fn arpa_is_the_same_model() {
    let place = place();
    let arpa = place.path("manuals.arpa");
    train(&place, &["--order", "3", "--arpa", arpa.to_str().unwrap()]).exits(0);
    let (manifest, own, read) = (
        place.path("web.toml"),
        place.path("own"),
        place.path("read"),
    );
    run(&manifest, &own, &[]).exits(0);
    run(
        &manifest,
        &read,
        &["--set", "score.ngram.model=manuals.arpa"],
    )
    .exits(0);
    let sql = format!(
        "SELECT max(abs(a.log10_sum - b.log10_sum) / a.n_tokens) < 1e-6, sum(a.n_unknown) = sum(b.n_unknown), count(*) > 40
        FROM ngram a JOIN read_parquet('{}/ngram/*.parquet') b USING (doc_id) WHERE a.n_tokens > 0",
        read.display()
    );
    assert_eq!(query(&own, &sql), ["True|True|True"]);
    // Words: what another tool learnt, of lines as CCNet writes them.
    let words = "\\data\\\nngram 1=5\nngram 2=2\n\n\\1-grams:\n-1\t<unk>\n0\t<s>\t-0.5\n-1.2\t</s>\n-0.8\tthe\t-0.3\n-1.1\tcat\n\n\\2-grams:\n-0.4\t<s> the\n-0.2\tthe cat\n\n\\end\\\n";
    place.write("words.arpa", words);
    place.write("web.jsonl", "{\"text\": \"The CAT\"}\n");
    let dir = place.path("words");
    let settings = ["model=words.arpa", "tokenizer=words", "normalize=ccnet"]
        .map(|set| format!("score.ngram.{set}"));
    run(
        &manifest,
        &dir,
        &[
            "--set",
            &settings[0],
            "--set",
            &settings[1],
            "--set",
            &settings[2],
        ],
    )
    .exits(0);
    // log10 p(the | <s>) + p(cat | <s> the) + p(</s>), cat having no backoff: -0.4 - 0.2 - 1.2.
    assert_eq!(
        query(
            &dir,
            "SELECT round(log10_sum, 6), n_tokens, round(perplexity, 6) FROM ngram"
        ),
        ["-1.8|2|3.981072"]
    );
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let place = place();
    train(&place, &["--order", "2"]).exits(0);
    let (manifest, dir, model) = (
        place.path("web.toml"),
        place.path("run"),
        place.path("manuals.ngram"),
    );
    let refused = |more: &[&str], says: &[&str]| {
        run(&manifest, &dir, more)
            .exits(2)
            .says(&["score.ngram"])
            .says(says);
    };
    let other = crate::support::repository().join("fixtures/lm/tiny_qwen2/tied/tokenizer.json");
    refused(
        &[
            "--set",
            &format!("score.ngram.tokenizer={}", other.display()),
        ],
        &["learnt with another tokenizer"],
    );
    refused(
        &["--set", "score.ngram.model=nothing.ngram"],
        &["cannot read"],
    );
    place.write("bad.arpa", "\\data\\\nngram 1=99999999999\n\n\\1-grams:\n");
    refused(&["--set", "score.ngram.model=bad.arpa"], &["line "]);
    let mut bytes = fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&model, &bytes).unwrap();
    refused(&[], &["manuals.ngram"]);
    fs::write(&model, &bytes[..middle]).unwrap();
    refused(&[], &["manuals.ngram"]);
    // What is no file is refused before it is opened, because a pipe may never end.
    let pipe = place.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for (path, what) in [
        (pipe.to_str().unwrap(), "it is not a regular file"),
        ("/dev/zero", "it is not a regular file"),
        ("none.json", "No such file"),
    ] {
        let says = format!("--tokenizer {path}: {what}");
        train(&place, &["--tokenizer", path])
            .exits(2)
            .says(&[&says]);
    }
    train(&place, &["--order", "9"])
        .exits(2)
        .says(&["order is 9"]);
    curate(["train", "ngram", "nowhere", "-o", "x.ngram"]).exits(2);
}
