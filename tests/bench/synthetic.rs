//! Synthetic documents with a known share of near-duplicates, for deduplication at sizes that no
//! corpus here has:
//! `cargo bench -p curate-scorers --bench synthetic -- [--short] [SOURCE.jsonl.zst …] N OUT_DIR [SEED]`.
//!
//! Writes N JSON lines with `id` and `text`, about 300 bytes each, to
//! `OUT_DIR/synthetic-00000.jsonl.zst` and on, 250,000 a file; with `--short` texts are a quarter
//! as long, for whole runs over many documents. A text is a window of words of an English source
//! document (default: `fixtures/docs`) with words replaced:
//!
//! | share | document | `id` |
//! |---|---|---|
//! | 51 % | 40 to 80 % of the words replaced, so that hardly a shingle of five words is shared with others | `17` |
//! | 6 % | the same around a passage of 20 words, one of 16 | `17+3` |
//! | 10 % | the same as the first; every tenth document may be the head of a family | `20` |
//! | 33 % | an edit of an earlier head: equal, or up to 5 % of the words replaced at one end or anywhere | `27~20` |
//!
//! A family has a geometric number of edits, with mean 3.3, at distances from its head that are
//! spread over all scales. Document i follows from the seed, i and the source alone: an edit makes
//! its head again. Files are written in parallel and do not depend on it; memory is that of the
//! source. The last line printed has a digest of all files' lines.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DOCS_PER_FILE: u64 = 250_000;
const PASSAGES: u64 = 16;

/// Words of a document, and of a passage that several share.
struct Lengths {
    window: Range<u64>,
    passage: usize,
}

const LONG: Lengths = Lengths {
    window: 38..61,
    passage: 20,
};
/// Some 40 to 120 bytes.
const SHORT: Lengths = Lengths {
    window: 8..19,
    passage: 5,
};
/// Replacements are drawn from this many words: few enough for the cache, and as frequent as in the
/// source.
const SAMPLE_WORDS: u64 = 1 << 16;
/// Longer words are mostly addresses, or sentences of a script without spaces.
const WORD_BYTES_MAX: usize = 24;
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/docs");

fn main() -> Result<()> {
    let lengths = if std::env::args().any(|argument| argument == "--short") {
        SHORT
    } else {
        LONG
    };
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let count = arguments
        .iter()
        .position(|argument| argument.parse::<u64>().is_ok());
    let Some((sources, [count, out, seed @ ..])) = count.map(|at| arguments.split_at(at)) else {
        eprintln!(
            "usage: cargo bench -p curate-scorers --bench synthetic -- [--short] [SOURCE.jsonl.zst …] N OUT_DIR [SEED]"
        );
        return Ok(());
    };
    let seed = seed.first().map_or(Ok(0), |seed| seed.parse())?;
    let sources = if sources.is_empty() {
        fixtures()?
    } else {
        sources.iter().map(PathBuf::from).collect()
    };
    write_all(
        &Source::read(&sources, seed, lengths)?,
        count.parse()?,
        Path::new(out),
    )
}

fn fixtures() -> Result<Vec<PathBuf>> {
    let files: std::io::Result<Vec<PathBuf>> = std::fs::read_dir(FIXTURES)?
        .map(|entry| Ok(entry?.path()))
        .collect();
    let mut files = files?;
    files.retain(|path| path.to_string_lossy().ends_with(".jsonl.zst"));
    files.sort();
    Ok(files)
}

/// Writes documents 0 to `count`, as many files at a time as there are cores.
fn write_all(source: &Source, count: u64, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)?;
    if std::fs::read_dir(out)?.next().is_some() {
        return Err(format!("{} is not empty", out.display()).into());
    }
    let (start, files) = (Instant::now(), count.div_ceil(DOCS_PER_FILE));
    let next = AtomicU64::new(0);
    let work = || -> Result<(u64, u64)> {
        let (mut bytes, mut digest) = (0, 0);
        loop {
            let file = next.fetch_add(1, Ordering::Relaxed);
            if file >= files {
                return Ok((bytes, digest));
            }
            let documents = file * DOCS_PER_FILE..count.min((file + 1) * DOCS_PER_FILE);
            let written = write_file(
                source,
                documents,
                &out.join(format!("synthetic-{file:05}.jsonl.zst")),
            )?;
            (bytes, digest) = (bytes + written.0, digest ^ written.1);
        }
    };
    let threads = std::thread::available_parallelism()
        .map_or(1, |cores| cores.get() as u64)
        .min(files);
    let (bytes, digest) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_fold((0, 0), |(bytes, digest), worker| {
                let written = worker.join().map_err(|_| "a writer panicked")??;
                Result::Ok((bytes + written.0, digest ^ written.1))
            })
    })?;
    let (megabytes, seconds) = (bytes as f64 / 1e6, start.elapsed().as_secs_f64());
    let rate = megabytes / seconds;
    println!(
        "{count} documents, {megabytes:.1} MB of JSON lines, {files} files, {seconds:.1} s, {rate:.0} MB/s"
    );
    println!("digest {digest:016x}");
    Ok(())
}

/// The bytes of a file before compression, and a digest of them and of the first document's number.
fn write_file(source: &Source, documents: Range<u64>, path: &Path) -> Result<(u64, u64)> {
    let mut file = zstd::Encoder::new(File::create(path)?, 1)?;
    let (mut bytes, mut digest) = (0, Xxh3::with_seed(documents.start));
    let (mut chunk, mut words) = (Vec::new(), Vec::new());
    for number in documents.clone() {
        source.write(number, &mut words, &mut chunk);
        if chunk.len() >= 1 << 16 || number + 1 == documents.end {
            file.write_all(&chunk)?;
            digest.update(&chunk);
            bytes += chunk.len() as u64;
            chunk.clear();
        }
    }
    file.finish()?;
    Ok((bytes, digest.digest()))
}

/// Words in the order of their text, each escaped for JSON.
#[derive(Default)]
struct Words {
    text: String,
    ends: Vec<u32>,
}

impl Words {
    fn push(&mut self, word: &str) {
        self.text.push_str(word);
        self.ends
            .push(u32::try_from(self.text.len()).expect("sources of more than 4 GiB are refused"));
    }

    fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }
}

/// How a document comes about.
enum Kind {
    Unlike,
    Passage(u64),
    EditOf(u64),
}

struct Source {
    seed: u64,
    lengths: Lengths,
    words: Words,
    /// Words of each document that is longer than any window.
    documents: Vec<Range<usize>>,
    sample: Words,
}

impl Source {
    fn read(paths: &[PathBuf], seed: u64, lengths: Lengths) -> Result<Source> {
        let mut source = Source {
            seed,
            lengths,
            words: Words::default(),
            documents: Vec::new(),
            sample: Words::default(),
        };
        for path in paths {
            let name = |error: &dyn Error| format!("{}: {error}", path.display());
            let file = File::open(path).map_err(|error| name(&error))?;
            for line in BufReader::new(zstd::Decoder::new(file)?).lines() {
                let line = line.map_err(|error| name(&error))?;
                let record: serde_json::Value =
                    serde_json::from_str(&line).map_err(|error| name(&error))?;
                let text = record["text"]
                    .as_str()
                    .or_else(|| record["content"]["text"].as_str());
                let text = text.ok_or_else(|| format!("{}: a line has no text", path.display()))?;
                if record["lang"]
                    .as_str()
                    .is_none_or(|language| language.starts_with("en"))
                {
                    source.push(text)?;
                }
            }
        }
        if source.documents.is_empty() {
            return Err(format!("no document has {} words", source.lengths.window.end).into());
        }
        let mut random = Random::new(seed, 0, Stream::Sample);
        for _ in 0..SAMPLE_WORDS {
            source.sample.push(
                source
                    .words
                    .get(random.below(source.words.ends.len() as u64) as usize),
            );
        }
        Ok(source)
    }

    fn push(&mut self, text: &str) -> Result<()> {
        if self.words.text.len() + 6 * text.len() > u32::MAX as usize {
            return Err("the sources have more than 4 GiB of text".into());
        }
        let first = self.words.ends.len();
        for word in text
            .split_whitespace()
            .filter(|word| word.len() <= WORD_BYTES_MAX)
        {
            let escaped = serde_json::to_string(word)?;
            self.words.push(&escaped[1..escaped.len() - 1]);
        }
        if self.words.ends.len() - first >= self.lengths.window.end as usize {
            self.documents.push(first..self.words.ends.len());
        }
        Ok(())
    }

    /// Appends the JSON line of document `number`; `words` is scratch.
    fn write<'a>(&'a self, number: u64, words: &mut Vec<&'a str>, out: &mut Vec<u8>) {
        let kind = self.kind(number);
        self.text(number, &kind, words);
        let id = match kind {
            Kind::Unlike => format!("{number}"),
            Kind::Passage(passage) => format!("{number}+{passage}"),
            Kind::EditOf(head) => format!("{number}~{head}"),
        };
        out.extend_from_slice(b"{\"id\":\"");
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b"\",\"text\":\"");
        for (at, word) in words.iter().enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word.as_bytes());
        }
        out.extend_from_slice(b"\"}\n");
    }

    fn kind(&self, number: u64) -> Kind {
        let mut random = Random::new(self.seed, number, Stream::Kind);
        match random.below(90) {
            _ if number.is_multiple_of(10) => Kind::Unlike,
            0..33 => self
                .head(number, &mut random)
                .map_or(Kind::Unlike, Kind::EditOf),
            33..39 => Kind::Passage(random.below(PASSAGES)),
            _ => Kind::Unlike,
        }
    }

    /// A head before `number`. It is taken in proportion to a weight, and weights are exponential:
    /// a Poisson number whose mean is exponential is geometric. The logarithm of the distance has a
    /// density that grows linearly; so the edits that a head gets stay as many, however many
    /// documents there are.
    fn head(&self, number: u64, random: &mut Random) -> Option<u64> {
        (0..64).find_map(|_| {
            let distance = (number as f64).powf(random.unit().sqrt()) as u64;
            let head = (number - distance.clamp(1, number)) / 10 * 10;
            let weight = -Random::new(self.seed, head, Stream::Weight).unit().ln() / 4.0;
            (random.unit() < weight).then_some(head)
        })
    }

    fn text<'a>(&'a self, number: u64, kind: &Kind, words: &mut Vec<&'a str>) {
        let mut random = Random::new(self.seed, number, Stream::Text);
        match *kind {
            Kind::Unlike => self.unlike(&mut random, words),
            Kind::Passage(passage) => {
                self.unlike(&mut Random::new(self.seed, passage, Stream::Passage), words);
                let passage = words[..self.lengths.passage].to_vec();
                self.unlike(&mut random, words);
                let at = random.below((words.len() - passage.len()) as u64 + 1) as usize;
                words[at..at + passage.len()].copy_from_slice(&passage);
            }
            Kind::EditOf(head) => {
                self.text(head, &Kind::Unlike, words);
                let rate = 0.05 * random.unit();
                match random.below(3) {
                    0 => {}
                    1 => {
                        let len = (rate * words.len() as f64).ceil() as usize;
                        let first = random.below(2) as usize * (words.len() - len);
                        self.replace(1.0, &mut random, &mut words[first..first + len]);
                    }
                    _ => self.replace(rate, &mut random, words),
                }
            }
        }
    }

    /// A window of a random document, with 40 to 80 % of its words replaced.
    fn unlike<'a>(&'a self, random: &mut Random, words: &mut Vec<&'a str>) {
        let document = &self.documents[random.below(self.documents.len() as u64) as usize];
        let Range { start, end } = self.lengths.window;
        let len = (start + random.below(end - start)) as usize;
        let first = document.start + random.below((document.len() - len) as u64 + 1) as usize;
        words.clear();
        words.extend((first..first + len).map(|at| self.words.get(at)));
        let rate = 0.4 + 0.4 * random.unit();
        self.replace(rate, random, words);
    }

    fn replace<'a>(&'a self, rate: f64, random: &mut Random, words: &mut [&'a str]) {
        let limit = (rate * 2f64.powi(32)) as u64;
        for word in words {
            let bits = random.next();
            if bits >> 32 < limit {
                *word = self.sample.get((bits % SAMPLE_WORDS) as usize);
            }
        }
    }
}

/// What random numbers are drawn for: each has its own.
#[derive(Clone, Copy)]
enum Stream {
    Kind,
    Passage,
    Sample,
    Text,
    Weight,
}

/// SplitMix64, begun anew for each document.
struct Random(u64);

impl Random {
    fn new(seed: u64, number: u64, stream: Stream) -> Random {
        let mut key = [0; 17];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());
        key[16] = stream as u8;
        Random(xxh3_64(&key))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Below `end`; its bias, end / 2^64, is nothing here.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// In (0, 1].
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / 2f64.powi(53)
    }
}
