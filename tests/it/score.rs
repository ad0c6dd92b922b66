//! Model scores: on real documents, copied where nothing changed, never from a model that is damaged or of another kind.

use std::fs;

use crate::support::{Place, assert_same, check, query, run, tree};

const PROSE: &str = "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience \
    and should act towards one another in a spirit of brotherhood.";
const NOISE: &str = "zq vx jk wp qz xv kj pw zx qv jx wk vz xq kw pj zv qx jw kp xz vq wj pk zk xp vw jq zp kx wv qj";

fn manifest(place: &Place, more: &str) -> std::path::PathBuf {
    let texts =
        [PROSE, NOISE, "", "One two three four five six seven eight nine ten, and so on until the end of the line."];
    let lines: Vec<String> = texts.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
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
    assert_eq!(rows, [scored(0), scored(1), "2|False|too_short|True|None|None|embedded".to_owned(), scored(3)]);
    let less = "SELECT (SELECT mean_nll FROM score JOIN documents USING (doc_id) WHERE ordinal = 0) < 4.5
        AND (SELECT bits_per_byte FROM score JOIN documents USING (doc_id) WHERE ordinal = 1) > 3";
    assert_eq!(query(&dir, less), ["True"]);
    // Other batches and threads, the same scores but for rounding.
    let other = place.path("other");
    run(&manifest, &other, &["--threads", "1", "--set", "score.perplexity.batch_tokens=64"]).exits(0);
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
    let strict = ["--until", "score", "--set", "filter.gopher_quality={min_words=1,min_stop_words=2}"];
    run(&manifest, &dir, &strict).exits(0);
    let kept = query(&dir, "SELECT count(n_scored) FROM score");
    // Fewer survivors need no model: its file may be gone, and so may the text.
    let first = tree(&dir);
    run(&manifest, &dir, &["--until", "score", "--set", "filter.gopher_quality={min_words=25,min_stop_words=2}"])
        .exits(0);
    assert_ne!(query(&dir, "SELECT count(n_scored) FROM score"), kept);
    run(&manifest, &dir, &strict).exits(0);
    assert_same(&tree(&dir), &first, "the former threshold");
}

#[test]
fn models_that_cannot_be_trusted_are_refused() {
    let place = Place::new();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/lm/tiny_qwen2/tied");
    let model = place.path("model");
    fs::create_dir_all(&model).unwrap();
    for entry in fs::read_dir(&fixtures).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let (manifest, dir) = (manifest(&place, "model = \"model\"\n"), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    assert_eq!(query(&dir, "SELECT DISTINCT model, length(model_digest) FROM score"), ["model|64"]);

    let weights = model.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let refused = |says: &str| {
        run(&manifest, &place.path("refused"), &[]).exits(2).says(&["score.perplexity.model model: ", says]);
    };
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    refused("model.safetensors");
    let mut terabyte = whole.clone();
    terabyte[..8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    fs::write(&weights, terabyte).unwrap();
    refused("model.safetensors");
    fs::write(&weights, &whole).unwrap();
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    fs::write(model.join("config.json"), config.replace("\"qwen2\"", "\"gpt_neox\"")).unwrap();
    refused("unsupported model");
    fs::remove_dir_all(&model).unwrap();
    refused("cannot read");
}
