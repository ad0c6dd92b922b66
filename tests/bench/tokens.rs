//! Speed of the tokenizer, and its ids beside those of the `tokenizers` crate, one thread:
//! `make bench-tokens CORPUS=FILE.jsonl.zst TOKENIZER=FILE`, where the tokenizer is a
//! `tokenizer.json`, a GGUF file with a vocabulary, or `embedded`.
//!
//! Each file is encoded three times: by ours with empty caches, by ours again, and by
//! `tokenizers`. Then texts that are hard to encode are timed. The bench fails if an id differs.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use curate_scorers::lm::gguf::Gguf;
use curate_scorers::tokenizer::{EMBEDDED_NAME, Tokenizer};

type Failure = Box<dyn std::error::Error>;

/// `tokenizers` takes minutes for a larger part of a corpus, so it encodes only this many bytes.
const PEER_BYTES: usize = 20 << 20;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let Some((tokenizer, corpora)) = arguments.split_first() else {
        return Err("usage: tokens TOKENIZER CORPUS.jsonl.zst …".into());
    };

    let bytes = file(tokenizer)?;
    let start = cpu_seconds()?;
    let ours = Tokenizer::from_bytes(tokenizer, &bytes)?;
    println!(
        "{tokenizer}: {} ids, loaded in {:.2} CPU s, {}",
        ours.ids(),
        cpu_seconds()? - start,
        match ours.slow_because() {
            None => "read by fastokens".to_owned(),
            Some(why) => format!("read by tokenizers: {why}"),
        }
    );

    // The peer reads names of special tokens as text, as ours does.
    let mut peer = tokenizers::Tokenizer::from_bytes(&bytes).map_err(|error| error.to_string())?;
    peer.set_encode_special_tokens(true);
    peer.with_padding(None);
    peer.with_truncation(None)
        .map_err(|error| error.to_string())?;

    let mut differing = 0;
    for corpus in corpora {
        differing += measure(corpus, &texts(corpus)?, &ours, &peer, PEER_BYTES)?;
    }
    for (name, text) in hard_texts() {
        differing += measure(name, &[text], &ours, &peer, PEER_BYTES)?;
    }

    match differing {
        0 => Ok(()),
        _ => Err(format!("the ids of {differing} texts differ").into()),
    }
}

/// Encodes the texts by both, prints the speeds, and returns the number of texts whose ids differ.
fn measure(
    name: &str,
    texts: &[String],
    ours: &Tokenizer,
    peer: &tokenizers::Tokenizer,
    peer_bytes: usize,
) -> Result<usize, Failure> {
    let encode = || -> Result<(u64, f64), Failure> {
        let start = cpu_seconds()?;
        let mut tokens = 0;
        for text in texts {
            tokens += ours.count(text)?;
        }
        Ok((tokens, cpu_seconds()? - start))
    };
    let (tokens, first) = encode()?;
    let (_, second) = encode()?;

    let (mut compared, mut compared_bytes, mut peer_seconds) = (0, 0, 0.0);
    let (mut differing, mut longer) = (0, 0);
    for text in texts {
        if compared_bytes >= peer_bytes {
            break;
        }
        // Longer texts are cut at a fixed place where no cut is free, so that ids may differ.
        if text.len() > 1 << 20 {
            longer += 1;
            continue;
        }

        let start = cpu_seconds()?;
        let wanted = peer.encode_fast(text.as_str(), false);
        let wanted = wanted.map_err(|error| error.to_string())?;
        peer_seconds += cpu_seconds()? - start;

        differing += usize::from(ours.encode(text, None)? != wanted.get_ids());
        compared += 1;
        compared_bytes += text.len();
    }

    let bytes: usize = texts.iter().map(String::len).sum();
    let speed = |bytes: usize, seconds: f64| bytes as f64 / 1e6 / seconds.max(1e-9);
    println!(
        "{name}: {:.1} MB, {tokens} tokens; MB per CPU second: {:.1} first, {:.1} again, \
         tokenizers {:.1}; {differing} of {compared} texts differ, {longer} above 1 MiB not compared",
        bytes as f64 / 1e6,
        speed(bytes, first),
        speed(bytes, second),
        speed(compared_bytes, peer_seconds),
    );
    Ok(differing)
}

/// Texts whose words are as long as the text, or of which each character is a part.
fn hard_texts() -> Vec<(&'static str, String)> {
    let mut state = 1u64;
    let mut letters = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + ((state >> 33) % 26) as u8)
    };
    let random: String = (0..1 << 20).map(|_| letters()).collect();

    vec![
        ("one letter", "a".repeat(1 << 20)),
        ("random letters", random),
        ("full stops", ".".repeat(1 << 20)),
        ("spaces", " ".repeat(1 << 20)),
        ("digits", "7".repeat(1 << 20)),
        ("combining marks", "\u{301}".repeat(1 << 19)),
        ("ideographs", "日".repeat((1 << 20) / 3)),
        ("emoji", "😀".repeat(1 << 18)),
        ("NUL", "\0".repeat(1 << 20)),
        ("64 MiB of full stops", ".".repeat(64 << 20)),
        (
            "64 MiB of prose",
            "The quick brown fox, 12345. ".repeat((64 << 20) / 28),
        ),
    ]
}

/// The bytes of the tokenizer's file.
fn file(name: &str) -> Result<Vec<u8>, Failure> {
    if name == EMBEDDED_NAME {
        let embedded = include_bytes!("../../scorers/data/embedded_tokenizer.json");
        return Ok(embedded.to_vec());
    }
    match Path::new(name).extension().is_some_and(|it| it == "gguf") {
        true => Ok(Gguf::open(Path::new(name))?.tokenizer_json()?),
        false => Ok(std::fs::read(name)?),
    }
}

/// The texts of a `.jsonl.zst`.
fn texts(path: &str) -> Result<Vec<String>, Failure> {
    let lines = BufReader::new(zstd::Decoder::new(File::open(path)?)?).lines();
    lines
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(&line?)?;
            Ok(record["text"].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

/// CPU seconds of all threads of this process so far.
fn cpu_seconds() -> Result<f64, Failure> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let counted = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += counted
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}
