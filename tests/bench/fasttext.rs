//! A fastText model on the texts of a `.jsonl.zst`, one thread: megabytes and documents a CPU
//! second, and its label of each text for another reader: `make bench-fasttext MODEL=… CORPUS=…`, which
//! calls `fasttext MODEL CORPUS LABELS.tsv`.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use curate_scorers::fasttext::{Bag, Memory, Model, Top};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let [model, corpus, labels] = arguments.as_slice() else {
        return Err("usage: fasttext MODEL CORPUS.jsonl.zst LABELS.tsv".into());
    };

    let start = Instant::now();
    let model = Model::open(Path::new(model))?;
    let opened = start.elapsed().as_secs_f64() * 1e3;
    let texts = read(corpus)?;
    let bytes: usize = texts.iter().map(String::len).sum();

    let mut seconds = f64::INFINITY;
    let mut tops = Vec::new();
    for _ in 0..3 {
        let (start, wall) = (on_cpu(), Instant::now());
        tops = predict(&model, &texts);
        let spent = match (start, on_cpu()) {
            (Some(start), Some(end)) => end - start,
            _ => wall.elapsed(),
        };
        seconds = seconds.min(spent.as_secs_f64());
    }
    println!(
        "curate: {:.1} MB/s, {:.0} documents/s by CPU time, the best of three passes over {:.1} MB; {} labels, \
         opened in {opened:.1} ms",
        bytes as f64 / 1e6 / seconds,
        texts.len() as f64 / seconds,
        bytes as f64 / 1e6,
        model.labels().len(),
    );

    let mut out = BufWriter::new(File::create(labels)?);
    for top in tops {
        match top {
            Some(top) => writeln!(out, "{}\t{}", model.label(top.label), top.probability)?,
            None => writeln!(out, "\t0")?,
        }
    }
    Ok(out.flush()?)
}

/// The time that this thread has been on a CPU; `None` where Linux does not say so.
fn on_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

fn read(corpus: &str) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let lines = BufReader::new(zstd::Decoder::new(File::open(corpus)?)?).lines();
    lines
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(&line?)?;
            Ok(record["text"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

fn predict(model: &Model, texts: &[String]) -> Vec<Option<Top>> {
    let (mut memory, mut bag, mut scores) = (Memory::default(), Bag::default(), Vec::new());
    texts
        .iter()
        .map(|text| {
            model.read(text, &mut memory, &mut bag);
            model.scores(&bag, &mut memory, &mut scores);
            model.top(&scores)
        })
        .collect()
}
