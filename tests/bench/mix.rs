//! Mixing of ten million synthetic documents, which is all that a changed token budget does before
//! the export: `make bench-mix`, or `mix [documents]`. Scores are drawn from a fixed sequence, so
//! every run has the same pool.

use std::time::Instant;

use curate_schemas::DocId;
use curate_stages::mix::{
    Document, Law, Method, Request, SourceBounds, buckets, compare, draws, effective_tokens, solve,
};

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|kb| kb.parse::<u64>().ok())
        .unwrap_or(0)
        / 1000
}

/// Sixty origins of very unlike sizes, lengths of an exponential law, q evenly spread.
fn pool(documents: usize) -> Vec<Document> {
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let document = |doc: usize| {
        let document = Document {
            doc: doc as u64,
            doc_id: DocId((u128::from((random() * 1.8e19) as u64) << 64) | doc as u128),
            origin: (random() * random() * 60.0) as u32,
            tokens: 20 + (-(random() + 1e-12).ln() * 800.0) as u64,
            bytes: 4000,
            score: 0.001 + 0.999 * random(),
            q: 0.0,
        };
        Document {
            q: document.score,
            ..document
        }
    };
    (0..documents).map(document).collect()
}

fn main() {
    let documents = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(10_000_000);
    let pool = pool(documents);
    println!("pool of {documents} documents, {} MB", peak_mb());
    let timed =
        |what: &str, start: Instant| println!("{what:<20}{:>8.3} s", start.elapsed().as_secs_f64());
    let (all, start) = (Instant::now(), Instant::now());
    let buckets = buckets(&pool);
    timed("buckets", start);
    let mut sources: Vec<SourceBounds> = (0..6)
        .map(|number| SourceBounds::free(format!("source {number}")))
        .collect();
    (
        sources[0].max_share,
        sources[5].min_share,
        sources[3].max_epochs,
    ) = (0.3, 0.03, Some(2.0));
    let unique: u64 = buckets.iter().map(|bucket| bucket.tokens).sum();
    let source_of = (0..60).map(|origin| origin / 10).collect();
    let request = Request {
        tokens: unique / 7 * 9,
        max_epochs: 4.0,
        sources,
        source_of,
        law: Law::default(),
    };
    let start = Instant::now();
    let solution = solve(&buckets, &request).expect("the bounds can be met");
    timed("solve", start);
    let ces = Request {
        law: Law {
            rho: 0.6,
            part_of: request.source_of.clone(),
        },
        ..request.clone()
    };
    let start = Instant::now();
    solve(&buckets, &ces).expect("the bounds can be met");
    timed("solve, CES", start);
    let methods = [
        Method::Solved,
        Method::Natural,
        Method::Unimax,
        Method::Temperature(3.0),
    ];
    let start = Instant::now();
    let compared = compare(&buckets, &request, &methods);
    timed("four strategies", start);
    let start = Instant::now();
    let drawn = draws(
        &pool,
        &buckets,
        &solution.epochs,
        &request.caps(&buckets),
        7,
        "general",
    );
    timed("draws", start);
    let start = Instant::now();
    let (d_eff, _) = effective_tokens(&pool, &buckets, &drawn, &request.law);
    timed("effective tokens", start);
    timed("all", all);
    let tokens: u64 = pool
        .iter()
        .zip(&drawn)
        .map(|(document, n)| document.tokens * u64::from(*n))
        .sum();
    println!(
        "{tokens} tokens drawn, {} asked; D_eff = {d_eff:.4e}; peak {} MB",
        request.tokens,
        peak_mb()
    );
    for other in compared {
        println!(
            "  {:<18}{}",
            other.name,
            other.worth.map_or_else(
                |why| why.to_string(),
                |worth| format!("D_eff = {:.4e}", worth.d_eff)
            )
        );
    }
}
