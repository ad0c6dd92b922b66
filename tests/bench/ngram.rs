//! Tokens a second of an n-gram model on the texts of a `.jsonl.zst`, one thread, by ids of the
//! embedded tokenizer; and its score of each line, for another reader: `make ngram-kenlm CORPUS=…`,
//! which calls `ngram MODEL CORPUS LINES.txt SCORES.tsv`.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use curate_scorers::ngram::{LineScore, Model};
use curate_scorers::tokenizer::Tokenizer;

/// So many lines are enough for a figure and a comparison.
const LINES_MAX: usize = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let [model, corpus, lines, scores] = arguments.as_slice() else {
        return Err("usage: ngram MODEL CORPUS.jsonl.zst LINES.txt SCORES.tsv".into());
    };
    let (model, tokenizer) = (Model::open(Path::new(model))?, Tokenizer::embedded()?);
    model.verify()?;
    let mut ids: Vec<Vec<u32>> = Vec::new();
    for record in BufReader::new(zstd::Decoder::new(File::open(corpus)?)?).lines() {
        let record: serde_json::Value = serde_json::from_str(&record?)?;
        for line in record["text"].as_str().unwrap_or_default().split('\n') {
            ids.push(tokenizer.encode(line, None)?);
        }
        if ids.len() >= LINES_MAX {
            break;
        }
    }
    let start = Instant::now();
    let found: Vec<LineScore> = ids.iter().map(|line| model.score_line(line)).collect();
    let seconds = start.elapsed().as_secs_f64();
    let tokens: u64 = found.iter().map(|line| line.tokens + 1).sum();
    println!(
        "order {}, {:.1} MB: {tokens} tokens and ends of lines in {seconds:.2} s, {:.2} million a second",
        model.order(),
        model.as_bytes().len() as f64 / 1e6,
        tokens as f64 / seconds / 1e6
    );
    let (mut text, mut table) = (
        BufWriter::new(File::create(lines)?),
        BufWriter::new(File::create(scores)?),
    );
    let vocabulary = model.vocabulary();
    for (number, (line, score)) in ids.iter().zip(&found).enumerate() {
        let pieces: Vec<&str> = line
            .iter()
            .map(|&id| vocabulary.piece(id).unwrap_or("<nothing>"))
            .collect();
        writeln!(text, "{}", pieces.join(" "))?;
        writeln!(table, "{number}\t{}\t{}", score.log10_sum, score.tokens)?;
    }
    Ok(())
}
