//! Compares a model with reference scores: `make gold-score MODEL=… REFERENCE=… NAME=…`, where the
//! reference has `model`, `text`, `ids` and `logprobs`. Prints what differs by document.

use curate_scorers::lm::decoder::Options;
use curate_scorers::lm::model::Model;
use curate_scorers::lm::window::WindowKind;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // cargo appends `--bench`.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let [model, reference, name] = args.as_slice() else {
        return Err("MODEL REFERENCE NAME".into());
    };
    let start = std::time::Instant::now();
    let (description, decoder) =
        Model::open(std::path::Path::new(model))?.load(Options::cpu(512))?;
    println!(
        "loaded in {:.1} s, bos {:?}, {:?}",
        start.elapsed().as_secs_f64(),
        description.bos,
        description.config
    );
    let reference = std::fs::read_to_string(reference)?;
    let rows: Vec<serde_json::Value> = reference
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row["model"].as_str().is_some_and(|m| m.contains(name)))
        .collect();
    let text = |row: &&serde_json::Value| row["text"].as_str().unwrap_or_default().to_owned();
    let documents: Vec<Vec<u32>> = rows
        .iter()
        .map(|row| description.tokenizer.encode(&text(row), Some(512)))
        .collect::<Result<_, _>>()?;
    let scorer = description.scorer(decoder, WindowKind::Start, 2048);
    let start = std::time::Instant::now();
    let (scores, stats) = scorer.score(&documents)?;
    println!(
        "{} documents in {:.1} s, {stats:?}",
        rows.len(),
        start.elapsed().as_secs_f64()
    );
    let (mut most, mut total) = (0f64, 0f64);
    let mut pairs = Vec::new();
    for ((row, document), score) in rows.iter().zip(&documents).zip(&scores) {
        let ids: Vec<u32> = row["ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_u64())
            .map(|id| id as u32)
            .collect();
        let expected = row["mean_nll"].as_f64().unwrap_or(f64::NAN);
        let found = score.mean_nll().unwrap_or(f64::NAN);
        most = most.max((found - expected).abs());
        total += (found - expected).abs();
        pairs.push((expected, found));
        let bytes = row["n_bytes_scored"].as_u64();
        println!(
            "{:>14} ids {} mean {found:.5} expected {expected:.5} difference {:+.5} bytes {} {:?}",
            row["id"].as_str().unwrap_or_default(),
            if ids == *document { "equal" } else { "DIFFER" },
            found - expected,
            score.bytes_scored,
            bytes
        );
    }
    let mut swapped = 0;
    for (i, a) in pairs.iter().enumerate() {
        for b in &pairs[..i] {
            swapped += usize::from((a.0 - b.0).abs() > 0.04 && (a.0 < b.0) != (a.1 < b.1));
        }
    }
    println!(
        "largest difference {most:.5}, mean {:.5}, pairs out of order {swapped}",
        total / pairs.len() as f64
    );
    Ok(())
}
