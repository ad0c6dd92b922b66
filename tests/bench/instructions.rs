//! One pass of one kernel over a fixed text of half a megabyte, one thread, for a count of its
//! instructions: `instructions KERNEL`, called by `make bench-instructions` under callgrind, which
//! collects inside of [`counted`] only.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;

use curate_ingest::{Entry, read_alone};
use curate_schemas::stages::documents::{Run, Source};
use curate_scorers::language::{Identifier, detect};
use curate_scorers::minhash::MinHash;
use curate_scorers::rules::c4::{LineSettings, c4};
use curate_scorers::rules::fineweb::{LinesScratch, fineweb};
use curate_scorers::rules::gopher_quality::gopher_quality;
use curate_scorers::rules::gopher_repetition::{RepetitionScratch, gopher_repetition};
use curate_scorers::shingles::{jaccard, shingle_set, shingles};
use curate_scorers::study_note::study_note;
use curate_scorers::texture::{TextureScratch, texture};
use curate_scorers::tokenizer::Tokenizer;
use curate_scorers::words::spacy;

type Failure = Box<dyn std::error::Error>;

/// The documents of which the texts are read.
const INPUT: &str = "fixtures/docs/web-000.jsonl.zst";
/// The least bytes of text that a kernel reads.
const BYTES: usize = 500_000;

fn main() -> Result<(), Failure> {
    let kernel = std::env::args().skip(1).find(|word| word != "--bench");
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(INPUT);
    let (lines, texts) = texts(&input)?;

    // What a run makes once is made before the count.
    match kernel.as_deref().unwrap_or_default() {
        "documents" => {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("lines.jsonl");
            std::fs::write(&file, lines)?;
            counted(|| documents(&file))
        }
        "language" => {
            let mut scratch = String::new();
            detect(Identifier::Whatlang, &texts[0], &mut scratch);
            counted(|| {
                let found = texts
                    .iter()
                    .map(|text| detect(Identifier::Whatlang, text, &mut scratch));
                found
                    .filter(|language| language.code == Some("eng"))
                    .count()
            })
        }
        "signals" => {
            let mut scratch = Default::default();
            signals(&texts[0], &mut scratch);
            counted(|| {
                texts
                    .iter()
                    .map(|text| signals(text, &mut scratch))
                    .sum::<f64>() as usize
            })
        }
        "signatures" => {
            let hash = MinHash::new(14, 8, 1);
            counted(|| texts.iter().map(|text| signature(text, &hash)).sum())
        }
        "near_dedup" => counted(|| near_dedup(&texts)),
        "tokens" => {
            let tokenizer = Tokenizer::embedded()?;
            // The cache of words is made with the first text.
            tokenizer.count(&texts[0])?;
            counted(|| {
                let counts = texts
                    .iter()
                    .map(|text| tokenizer.count(text).unwrap_or_default());
                counts.sum::<u64>() as usize
            })
        }
        other => {
            let names = "documents, language, signals, signatures, near_dedup, tokens";
            return Err(format!("unknown kernel {other:?}, expected one of {names}").into());
        }
    }
    Ok(())
}

/// Does the work, kept apart so that its instructions can be counted by its name.
#[inline(never)]
fn counted(work: impl FnOnce() -> usize) {
    black_box(work());
}

/// The lines of the input that have [`BYTES`] bytes of text together, and their texts.
fn texts(input: &Path) -> Result<(String, Vec<String>), Failure> {
    let (mut lines, mut texts, mut bytes) = (String::new(), Vec::new(), 0);
    for line in BufReader::new(zstd::Decoder::new(File::open(input)?)?).lines() {
        let line = line?;
        let record: serde_json::Value = serde_json::from_str(&line)?;
        let text = record["text"].as_str().unwrap_or_default().to_owned();
        bytes += text.len();
        texts.push(text);
        lines += &line;
        lines.push('\n');
        if bytes >= BYTES {
            break;
        }
    }
    Ok((lines, texts))
}

/// Reads JSON lines to records; the number of records.
fn documents(file: &Path) -> usize {
    let mut records = 0;
    let source = Source {
        text: "text".to_owned(),
        ..Source::default()
    };
    let read = read_alone(file, &source, &Run::default(), &mut |entry| {
        records += usize::from(matches!(entry, Entry::Item(Ok(_))));
        Ok(())
    });
    match read {
        Ok(()) => records,
        Err(_) => 0,
    }
}

/// Every value of `signals` of an English text.
fn signals(text: &str, scratch: &mut (RepetitionScratch, LinesScratch, TextureScratch)) -> f64 {
    let mut words = Vec::new();
    spacy::words(text, &mut words);
    let quality = gopher_quality(text, &words);
    let repetition = gopher_repetition(text, &words, &mut scratch.0);
    let c4 = c4(text, &words, &LineSettings::default(), None);
    let fineweb = fineweb(text, quality.n_words, &mut scratch.1);
    let texture = texture(text, &mut scratch.2);
    quality.alpha_word_ratio
        + repetition.top_n_gram[0]
        + f64::from(c4.n_sentences)
        + fineweb.list_ratio
        + texture.novelty
        + study_note(text)
}

/// MinHash band keys of 5-word shingles; their number.
fn signature(text: &str, hash: &MinHash) -> usize {
    let (mut grams, mut keys) = (Vec::new(), Vec::new());
    shingles(text, 5, &mut grams);
    let mut signature = vec![0; hash.signature_len()];
    hash.signature(&grams, &mut signature);
    hash.band_keys(&signature, &mut keys);
    keys.len()
}

/// Verifies each text with the one behind it, as candidates are; the number of pairs that share a
/// shingle.
fn near_dedup(texts: &[String]) -> usize {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut pairs = 0;
    for pair in texts.windows(2) {
        shingle_set(&pair[0], 5, &mut a);
        shingle_set(&pair[1], 5, &mut b);
        pairs += usize::from(jaccard(&a, &b).0 > 0.0);
    }
    pairs
}
