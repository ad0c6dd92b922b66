//! Tokens per CPU second of the model scorer, of the embedded model, of random weights in the shape
//! of Qwen2.5-0.5B, or of a model at a path:
//! `RAYON_NUM_THREADS=1 cargo bench --bench lm -- embedded|0.5b|PATH [tokens per document] [documents] [budget]`.

use std::time::Instant;

use curate_scorers::lm::decoder::{Decoder, Options};
use curate_scorers::lm::memory::{Demand, MemoryPlan};
use curate_scorers::lm::model::Model;
use curate_scorers::lm::score::Scorer;
use curate_scorers::lm::window::{WindowKind, Windowing};

#[path = "random_weights.rs"]
mod random_weights;
use random_weights::{Random, half_billion};

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default()
        .to_owned()
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default().to_owned();
    let field = |n: usize| {
        after
            .split_whitespace()
            .nth(n)
            .and_then(|x| x.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (field(11) + field(12)) / 100.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // cargo adds `--bench`.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let number =
        |i: usize, default: usize| args.get(i).and_then(|x| x.parse().ok()).unwrap_or(default);
    let which = args.first().map_or("embedded", String::as_str);
    let (tokens, documents, budget) = (number(1, 256), number(2, 64), number(3, 2048));
    let start = Instant::now();
    let decoder = match which {
        "embedded" => Model::embedded()?.load(Options::cpu(256))?.1,
        "0.5b" => {
            let config = half_billion()?;
            Decoder::load(config.clone(), &mut Random(config), Options::cpu(2048))?
        }
        path => {
            Model::open(std::path::Path::new(path))?
                .load(Options::cpu(2048))?
                .1
        }
    };
    eprintln!(
        "loaded in {:.1} s, {}",
        start.elapsed().as_secs_f64(),
        peak()
    );
    let longest = tokens.min(decoder.options().positions) as u64;
    let demand = Demand {
        window_tokens: longest,
        ..Demand::of(decoder.options())
    };
    let plan = MemoryPlan::new(decoder.config(), demand, 16 << 30, 1);
    eprintln!(
        "{plan}; with this batch {} kB",
        plan.total((budget as u64).max(longest)) >> 10
    );
    let vocab = decoder.config().vocab_size as u32;
    let context = decoder.options().positions;
    let document = |d: u32| {
        (0..tokens as u32)
            .map(|i| (i * 7919 + d * 104_729) % vocab)
            .collect()
    };
    let documents: Vec<Vec<u32>> = (0..documents as u32).map(document).collect();
    let windowing = Windowing {
        kind: WindowKind::All,
        context,
        bos: None,
    };
    let scorer = Scorer::new(decoder, windowing, budget, Vec::new());
    scorer.score(&documents[..1])?;
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let (scores, stats) = scorer.score(&documents)?;
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let read = stats.padding.tokens as f64;
    println!(
        "{which}: {} documents, {read} tokens in {} batches, {:.1} tokens per CPU second ({:.1} a second), sum {}",
        scores.len(),
        stats.batches,
        read / cpu,
        read / wall,
        scores.iter().map(|score| score.sum_nll).sum::<f64>()
    );
    eprintln!("{}", peak());
    Ok(())
}
