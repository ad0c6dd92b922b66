//! Mutated bytes for whatever reads files: the harness, manifests, tokenizers and models. Inputs
//! have theirs in `ingest/fuzz.rs`.
//!
//! `CURATE_FUZZ_CASES` sets the number of cases for each reader, `CURATE_FUZZ_SEED` where they
//! begin; `make fuzz` takes many.

use std::fs;
use std::path::{Path, PathBuf};

use curate_scorers::lm::model::Model;
use curate_scorers::ngram::{self, read_arpa};
use curate_scorers::tokenizer::Tokenizer;

use crate::manifest::load;

/// splitmix64 (Steele et al. 2014): each case has a state of its own, so that one can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        const WORDS: [&[u8]; 14] = [
            b"\"",
            b"\\",
            b"\\ud800",
            b"{",
            b"[[[[",
            b"null",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\0",
            b"\r\n",
            b"\n\n",
            b"1e999",
            b"\x7f\xff\xff\xff",
            b"\xf0\x80\x80\xaf",
        ];
        for _ in 0..=self.below(6) {
            let (at, to) = (self.below(bytes.len()), self.below(bytes.len() + 1));
            let range = at.min(to)..at.max(to);
            match self.below(8) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                2 => drop(bytes.drain(range.start..range.end.min(range.start + 64))),
                3 => bytes.truncate(range.end),
                4 => drop(bytes.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
                5 => {
                    let copy = bytes[range.start..range.end.min(range.start + 512)].to_vec();
                    bytes.splice(to..to, copy);
                }
                6 => {
                    let other = &others[self.below(others.len())];
                    let from = self.below(other.len());
                    bytes.splice(
                        at..at,
                        other[from..].iter().take(200).copied().collect::<Vec<u8>>(),
                    );
                }
                _ => bytes.extend((0..self.below(5000)).map(|_| b'a')),
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Calls `each` with so many mutations of the seeds, and says where a case that fails began.
pub(crate) fn cases(what: &str, seeds: &[Vec<u8>], mut each: impl FnMut(&[u8])) {
    let (cases, first) = (
        setting("CURATE_FUZZ_CASES", 3000),
        setting("CURATE_FUZZ_SEED", 1),
    );
    println!("{what}: seed {first}");
    for case in 0..cases {
        let seed = first.wrapping_add(case);
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut bytes = seeds[random.below(seeds.len())].clone();
        random.mutate(&mut bytes, seeds);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each(&bytes)));
        if let Err(panic) = outcome {
            println!(
                "{what}: CURATE_FUZZ_SEED={seed} CURATE_FUZZ_CASES=1 shows it again: {bytes:?}"
            );
            std::panic::resume_unwind(panic);
        }
    }
    println!("figure: fuzz cases, {what}: {cases}");
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn manifests_of_any_bytes_are_read_or_refused_with_a_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.toml");
    let repository = repository("manifests");
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(repository)
        .expect("a folder")
        .flatten()
        .filter(|entry| entry.path().is_file())
    {
        seeds.push(std::fs::read(entry.path()).expect("a manifest"));
    }
    cases("manifests", &seeds, |bytes| {
        std::fs::write(&path, bytes).expect("written");
        if let Err(error) = load(&path, &[]) {
            assert!(error.to_string().contains("m.toml"), "{error}");
        }
    });
}

/// A tokenizer of any bytes is refused, or counts.
#[test]
fn tokenizers_of_any_bytes_are_refused_or_count() {
    let seed =
        fs::read(repository("fixtures/lm/tiny_qwen2/tied/tokenizer.json")).expect("a fixture");
    cases("tokenizers", &[seed], |bytes| {
        if let Ok(tokenizer) = Tokenizer::from_bytes("fuzz", bytes) {
            let _ = tokenizer.count("Some prose, é and 漢字, 123.");
        }
    });
}

/// Of a model's files one is mutated at a time.
#[test]
fn models_of_any_bytes_are_refused_or_opened() {
    let from = repository("fixtures/lm/tiny_qwen2/tied");
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["config.json", "tokenizer.json", "model.safetensors"];
    for name in names {
        fs::copy(from.join(name), folder.path().join(name)).expect("copied");
    }
    assert!(Model::open(folder.path()).is_ok());
    for name in [names[0], names[2]] {
        let seed = fs::read(from.join(name)).expect("a fixture");
        cases(name, std::slice::from_ref(&seed), |bytes| {
            fs::write(folder.path().join(name), bytes).expect("written");
            let _ = Model::open(folder.path());
        });
        fs::write(folder.path().join(name), seed).expect("written");
    }
}

#[test]
fn arpa_files_of_any_bytes_are_refused_or_read() {
    let seed = b"\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-1.0\t<unk>\n-99\t<s>\t-0.3\n-0.5\t</s>\n-0.7\ta\t-0.2\n\n\\2-grams:\n-0.3\t<s> a\n-0.2\ta </s>\n\n\\end\\\n";
    assert!(read_arpa(&seed[..], "words").is_ok());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.ngram");
    read_arpa(&seed[..], "words")
        .expect("a model")
        .write(&path)
        .expect("written");
    let binary = fs::read(&path).expect("a model");
    cases("ARPA files", &[seed.to_vec()], |bytes| {
        drop(read_arpa(bytes, "words"))
    });
    cases("n-gram models", &[binary], |bytes| {
        fs::write(&path, bytes).expect("written");
        let _ = ngram::Model::open(&path).and_then(|model| model.verify());
    });
}
