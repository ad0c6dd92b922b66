//! Model scores: on real documents, copied where nothing changed, never from a model that is
//! damaged or of another kind.

use std::fs;

use crate::support::{Place, assert_same, check, query, run, tree};

const PROSE: &str = "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience \
    and should act towards one another in a spirit of brotherhood.";
const NOISE: &str = "zq vx jk wp qz xv kj pw zx qv jx wk vz xq kw pj zv qx jw kp xz vq wj pk zk xp vw jq zp kx wv qj";

fn manifest(place: &Place, more: &str) -> std::path::PathBuf {
    let texts = [
        PROSE,
        NOISE,
        "",
        "One two three four five six seven eight nine ten, and so on until the end of the line.",
    ];
    let lines: Vec<String> = texts
        .iter()
        .map(|text| serde_json::json!({ "text": text }).to_string())
        .collect();
    place.write("docs.jsonl", lines.join("\n"));
    let head = "[run]\nname = \"score\"\n[[source]]\nname = \"docs\"\npath = \"docs.jsonl\"\n";
    place.write("score.toml", format!("{head}[score.perplexity]\n{more}"))
}

#[test]
fn prose_surprises_less_than_noise() {
    let place = Place::new();
    let (manifest, dir) = (manifest(&place, ""), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    check(&dir, None).exits(0);
    let rows = query(
        &dir,
        "SELECT ordinal, n_scored > 0, unscored, sum_nll IS NULL, abs(mean_nll - sum_nll / n_scored) < 1e-12,
        abs(perplexity - exp(mean_nll)) < 1e-9, model FROM score JOIN documents USING (doc_id) ORDER BY 1",
    );
    let scored = |n: usize| format!("{n}|True|None|False|True|True|embedded");
    assert_eq!(
        rows,
        [
            scored(0),
            scored(1),
            "2|False|too_short|True|None|None|embedded".to_owned(),
            scored(3)
        ]
    );
    let less =
        "SELECT (SELECT mean_nll FROM score JOIN documents USING (doc_id) WHERE ordinal = 0) < 4.5
        AND (SELECT bits_per_byte FROM score JOIN documents USING (doc_id) WHERE ordinal = 1) > 3";
    assert_eq!(query(&dir, less), ["True"]);
    // Other batches and threads, the same scores but for rounding.
    let other = place.path("other");
    run(
        &manifest,
        &other,
        &[
            "--threads",
            "1",
            "--set",
            "score.perplexity.batch_tokens=64",
        ],
    )
    .exits(0);
    let sql = format!(
        "SELECT max(abs(a.mean_nll - b.mean_nll)) < 1e-4 FROM score a
        JOIN read_parquet('{}/score/*.parquet') b USING (doc_id)",
        other.display()
    );
    assert_eq!(query(&dir, &sql), ["True"]);
}

#[test]
fn scores_of_unchanged_documents_are_copied() {
    let place = Place::new();
    let (manifest, dir) = (manifest(&place, ""), place.path("run"));
    let strict = [
        "--until",
        "score",
        "--set",
        "filter.gopher_quality={min_words=1,min_stop_words=2}",
    ];
    run(&manifest, &dir, &strict).exits(0);
    let kept = query(&dir, "SELECT count(n_scored) FROM score");
    // Fewer survivors need no model: its file may be gone, and so may the text.
    let first = tree(&dir);
    run(
        &manifest,
        &dir,
        &[
            "--until",
            "score",
            "--set",
            "filter.gopher_quality={min_words=25,min_stop_words=2}",
        ],
    )
    .exits(0);
    assert_ne!(query(&dir, "SELECT count(n_scored) FROM score"), kept);
    run(&manifest, &dir, &strict).exits(0);
    assert_same(&tree(&dir), &first, "the former threshold");
}

#[test]
fn models_that_cannot_be_trusted_are_refused() {
    let place = Place::new();
    let fixtures =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/lm/tiny_qwen2/tied");
    let model = place.path("model");
    fs::create_dir_all(&model).unwrap();
    for entry in fs::read_dir(&fixtures).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let (manifest, dir) = (manifest(&place, "model = \"model\"\n"), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    assert_eq!(
        query(
            &dir,
            "SELECT DISTINCT model, length(model_digest) FROM score"
        ),
        ["model|64"]
    );

    let weights = model.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let refused = |says: &str| {
        run(&manifest, &place.path("refused"), &[])
            .exits(2)
            .says(&["score.perplexity.model model: ", says]);
    };
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    refused("model.safetensors");
    let mut terabyte = whole.clone();
    terabyte[..8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    fs::write(&weights, terabyte).unwrap();
    refused("model.safetensors");
    fs::write(&weights, &whole).unwrap();
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    fs::write(
        model.join("config.json"),
        config.replace("\"qwen2\"", "\"gpt_neox\""),
    )
    .unwrap();
    refused("unsupported model");
    fs::remove_dir_all(&model).unwrap();
    refused("cannot read");
}

#[test]
fn a_greater_sample_keeps_what_it_has() {
    let place = Place::new();
    let lines: Vec<String> = (0..60)
        .map(|n| {
            serde_json::json!({ "text": format!("{PROSE} And so it was, {n} times.") }).to_string()
        })
        .collect();
    place.write("docs.jsonl", lines.join("\n"));
    let fixture = crate::support::repository().join("fixtures/lm/tiny_qwen2/tied");
    let head =
        "[run]\nname = \"sample\"\nseed = 4\n[[source]]\nname = \"docs\"\npath = \"docs.jsonl\"\n";
    let model = fixture.display();
    let manifest = place.write(
        "sample.toml",
        format!("{head}[score.perplexity]\nmodel = \"{model}\"\nsample = 0.3\n"),
    );
    let dir = place.path("run");
    let scored = |outcome: &crate::support::Outcome| -> usize {
        let line = outcome
            .stderr
            .lines()
            .find(|line| line.contains(" documents scored, "));
        line.map_or(0, |line| {
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        })
    };
    let count = || {
        query(
            &dir,
            "SELECT count(mean_nll), count(*) FILTER (unscored = 'not_sampled') FROM score",
        )
    };
    let until = |set: &str| run(&manifest, &dir, &["--until", "score", "--set", set]).exits(0);
    let small = scored(&until("run.seed=4"));
    assert_eq!(count(), [format!("{small}|{}", 60 - small)]);
    assert!((8..30).contains(&small), "{small}");
    // More: only those are scored, and all is as in one go. Less: nothing is.
    let more = scored(&until("score.perplexity.sample=0.8"));
    assert_eq!(count(), [format!("{}|{}", small + more, 60 - small - more)]);
    let fresh = place.path("fresh");
    run(
        &manifest,
        &fresh,
        &["--until", "score", "--set", "score.perplexity.sample=0.8"],
    )
    .exits(0);
    let same = format!(
        "SELECT count(*) FROM score a JOIN read_parquet('{}/score/*.parquet') b USING (doc_id)
        WHERE (a.unscored IS NOT DISTINCT FROM b.unscored) AND (a.mean_nll IS NULL OR abs(a.mean_nll - b.mean_nll) < 1e-4)",
        fresh.display()
    );
    assert_eq!(query(&dir, &same), ["60"]);
    assert_eq!(scored(&until("score.perplexity.sample=0.3")), 0);
    assert_eq!(count(), [format!("{small}|{}", 60 - small)]);
    // So many tokens at the most: a window of this model has 512.
    let manifest_text = fs::read_to_string(&manifest)
        .unwrap()
        .replace("sample = 0.3", "max_tokens = 10_240");
    let capped = place.write("capped.toml", manifest_text);
    run(&capped, &dir, &["--until", "score"]).exits(0);
    let tokens = query(
        &dir,
        "SELECT sum(n_scored) <= 10240, count(mean_nll) BETWEEN 8 AND 32 FROM score",
    );
    assert_eq!(tokens, ["True|True"]);
    run(&capped, &dir, &["--set", "score.perplexity.window=all"])
        .exits(2)
        .says(&["has no bound", "hint: write sample"]);
    let judged = ["--set", "score.perplexity.drop={above=0.9}"];
    run(&capped, &dir, &judged)
        .exits(2)
        .says(&["only a sample is scored"]);
}

#[test]
fn a_shard_that_is_scored_is_not_scored_again() {
    let place = Place::new();
    let (manifest, dir) = (crate::support::corpus(&place, 40), place.path("run"));
    let mut child = crate::support::start(&manifest, &dir, &["--threads", "1"]);
    let receipts = dir.join(".curate/receipts/score");
    let arrived = |receipt: fs::DirEntry| -> u64 {
        let text = fs::read_to_string(receipt.path()).unwrap_or_default();
        let entry: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        entry["counts"]["docs"]["arrived"].as_u64().unwrap_or(0)
    };
    // Documents of shards that have a receipt: what stands there is kept.
    let receipted = || -> u64 {
        fs::read_dir(&receipts)
            .into_iter()
            .flatten()
            .flatten()
            .map(arrived)
            .sum()
    };
    while child.try_wait().unwrap().is_none() && receipted() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (is_done, kept) = (dir.join("score/_commit.json").exists(), receipted());
    let again = run(&manifest, &dir, &[]).exits(0);
    let line = again
        .stderr
        .lines()
        .find(|line| line.contains(" documents scored, "));
    let scored: u64 = line.map_or(0, |line| {
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    });
    let survivors: u64 = query(&dir, "SELECT count(*) FROM score WHERE reached")[0]
        .parse()
        .unwrap();
    assert!(is_done || kept > 0, "killed before the first shard");
    assert_eq!(
        scored,
        if is_done { 0 } else { survivors - kept },
        "{kept} documents were scored before"
    );
}
