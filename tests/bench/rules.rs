//! Speed of the rules' kernels, one thread, family by family and all in one pass:
//! `make bench-rules CORPUS=…`.
//!
//! `rules FILE` times each family over the texts of a `.jsonl.zst`.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use curate_scorers::rules::c4::{LineSettings, c4};
use curate_scorers::rules::fineweb::{LinesScratch, fineweb};
use curate_scorers::rules::gopher_quality::gopher_quality;
use curate_scorers::rules::gopher_repetition::{RepetitionScratch, gopher_repetition};
use curate_scorers::rules::line_rules::{self, line_rules};
use curate_scorers::study_note::study_note;
use curate_scorers::texture::{TextureScratch, texture};
use curate_scorers::words::{dictionary, spacy, uax29};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [file] => compare(&texts(file)),
        _ => {
            eprintln!("usage: rules FILE.jsonl.zst");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// The field `text` of every line.
fn texts(file: &str) -> Vec<String> {
    let input = zstd::Decoder::new(File::open(file).expect("the file can be opened"))
        .expect("it is Zstandard");
    let text = |line: std::io::Result<String>| {
        let record: serde_json::Value =
            serde_json::from_str(&line.expect("it is UTF-8")).expect("a line is JSON");
        record["text"]
            .as_str()
            .expect("a record has a text")
            .to_owned()
    };
    BufReader::new(input).lines().map(text).collect()
}

/// Every rule of the families that every run has values of, one pass over one text; a number that
/// depends on all of them.
fn all_rules(text: &str, repetition: &mut RepetitionScratch, lines: &mut LinesScratch) -> f64 {
    let mut words = Vec::new();
    spacy::words(text, &mut words);
    let quality = gopher_quality(text, &words);
    let repetition = gopher_repetition(text, &words, repetition);
    let c4 = c4(text, &words, &LineSettings::default(), None);
    let fineweb = fineweb(text, quality.n_words, lines);
    quality.alpha_word_ratio
        + repetition.top_n_gram[0]
        + f64::from(c4.n_sentences)
        + fineweb.list_ratio
}

fn compare(texts: &[String]) {
    let bytes: usize = texts.iter().map(String::len).sum();
    println!(
        "{} documents, {:.1} MB of text, one thread",
        texts.len(),
        bytes as f64 / 1e6
    );
    println!("{:<34}{:>12}{:>12}", "", "MB/cpu s", "docs/s");
    let (mut repetition, mut lines) = (RepetitionScratch::default(), LinesScratch::default());
    let segmented: Vec<Vec<&str>> = texts
        .iter()
        .map(|text| segment(text, spacy::words))
        .collect();
    let each = |name: &str, work: &mut dyn FnMut(&str, &[&str])| {
        let seconds = fastest(&mut || {
            texts
                .iter()
                .zip(&segmented)
                .for_each(|(text, words)| work(text, words))
        });
        println!(
            "{name:<34}{:>12.1}{:>12.0}",
            bytes as f64 / 1e6 / seconds,
            texts.len() as f64 / seconds
        );
    };
    each("words: spaCy's English", &mut |text, _| {
        seen(segment(text, spacy::words))
    });
    each("words: UAX-29", &mut |text, _| {
        seen(segment(text, uax29::words))
    });
    each("words: UAX-29 with dictionaries", &mut |text, _| {
        seen(segment(text, dictionary::words))
    });
    each("gopher_quality, words given", &mut |text, words| {
        seen(gopher_quality(text, words))
    });
    each("gopher_repetition, words given", &mut |text, words| {
        seen(gopher_repetition(text, words, &mut repetition));
    });
    let settings = LineSettings::default();
    each("c4, words given", &mut |text, words| {
        seen(c4(text, words, &settings, None))
    });
    each("fineweb", &mut |text, words| {
        seen(fineweb(text, words.len() as u32, &mut lines))
    });
    let settings = line_rules::LineSettings::default();
    each("lines", &mut |text, _| {
        seen(line_rules(text, &settings, None))
    });
    each("heuristic", &mut |text, _| seen(study_note(text)));
    let mut scratch = TextureScratch::default();
    each("texture", &mut |text, _| seen(texture(text, &mut scratch)));
    let mut scratch = (RepetitionScratch::default(), LinesScratch::default());
    each("words and all rules, one pass", &mut |text, _| {
        seen(all_rules(text, &mut scratch.0, &mut scratch.1));
    });
    each("the same, lines and heuristic", &mut |text, _| {
        let rules = all_rules(text, &mut scratch.0, &mut scratch.1);
        seen(rules + line_rules(text, &settings, None).removed_word_ratio + study_note(text));
    });
}

/// Keeps a value from being optimised away.
fn seen<T>(value: T) {
    black_box(value);
}

fn segment<'a>(text: &'a str, words: fn(&'a str, &mut Vec<&'a str>)) -> Vec<&'a str> {
    let mut out = Vec::new();
    words(text, &mut out);
    out
}

/// CPU seconds of the fastest of three.
fn fastest(work: &mut dyn FnMut()) -> f64 {
    let mut time = || {
        let start = cpu_seconds();
        work();
        cpu_seconds() - start
    };
    [time(), time(), time()]
        .into_iter()
        .fold(f64::INFINITY, f64::min)
}

/// CPU time of this thread: the kernel's count in nanoseconds, or the clock where there is none.
fn cpu_seconds() -> f64 {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = counted.and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(
        || {
            std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0.0, |elapsed| elapsed.as_secs_f64())
        },
        |nanoseconds| nanoseconds / 1e9,
    )
}
