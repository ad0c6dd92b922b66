//! Mutated files for every reader, and mutated manifests: whatever the bytes, the reader ends, says what it found, and loses no line.
//!
//! `CURATE_FUZZ_CASES` sets the number of cases for each reader, `CURATE_FUZZ_SEED` where they begin; `make fuzz` takes many.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use curate_schemas::manifest::Manifest;

use super::inputs::{InputFile, units};
use super::read::read_file;
use super::record::{Item, RAW_KEPT};
use crate::manifest::load;

const MANIFEST: &str = "[run]\nname = \"fuzz\"\nmax_record = \"4KiB\"\nmax_window = \"1MiB\"\n[[source]]\nname = \"s\"\npath = \"in\"\nid = \"id\"\n\
                        url = \"m.url\"\ndate = \"date\"\n";

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
                    bytes.splice(at..at, other[from..].iter().take(200).copied().collect::<Vec<u8>>());
                }
                _ => bytes.extend((0..self.below(5000)).map(|_| b'a')),
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Calls `each` with so many mutations of the seeds, and says where a case that fails began.
fn cases(what: &str, seeds: &[Vec<u8>], mut each: impl FnMut(&[u8])) {
    let (cases, first) = (setting("CURATE_FUZZ_CASES", 3000), setting("CURATE_FUZZ_SEED", 1));
    println!("{what}: seed {first}");
    for case in 0..cases {
        let seed = first.wrapping_add(case);
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut bytes = seeds[random.below(seeds.len())].clone();
        random.mutate(&mut bytes, seeds);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each(&bytes)));
        if let Err(panic) = outcome {
            println!("{what}: CURATE_FUZZ_SEED={seed} CURATE_FUZZ_CASES=1 shows it again: {bytes:?}");
            std::panic::resume_unwind(panic);
        }
    }
    println!("figure: fuzz cases, {what}: {cases}");
}

fn lines() -> Vec<u8> {
    let mut text = String::new();
    for n in 0..12 {
        text += &format!(
            "{{\"id\": {n}, \"text\": \"Prose {n} \\u00e9 \\\"quoted\\\"\", \"m\": {{\"url\": \"http://h/{n}\"}}, \"date\": \"2024-01-0{}\"}}\n",
            n % 9 + 1
        );
    }
    text.into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("written");
    out.finish().expect("finished")
}

fn parquet(groups: usize) -> Vec<u8> {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|n| format!("Prose {n} and so on"))));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40));
    let batch = RecordBatch::try_from_iter([("text", texts), ("id", ids)]).expect("equal columns");
    let settings = ::parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(40 / groups))
        .set_compression(::parquet::basic::Compression::SNAPPY)
        .build();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), Some(settings)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("finished")
}

/// A folder with an input, and what reads it.
struct Reader {
    folder: tempfile::TempDir,
    manifest: Manifest,
    name: &'static str,
}

impl Reader {
    fn new(name: &'static str) -> Reader {
        let memory = Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).expect("a folder");
        std::fs::create_dir(folder.path().join("in")).expect("a folder");
        std::fs::write(folder.path().join("manifest.toml"), MANIFEST).expect("written");
        std::fs::write(folder.path().join("in").join(name), b"x").expect("written");
        let manifest = load(&folder.path().join("manifest.toml"), &[]).expect("a manifest");
        Reader { folder, manifest, name }
    }

    /// What is in a file of these bytes. Its digest is that of the bytes, however far the reader got.
    fn items(&self, bytes: &[u8]) -> Vec<Item> {
        std::fs::write(self.folder.path().join("in").join(self.name), bytes).expect("written");
        let unit = units(&self.manifest).expect("one file").remove(0);
        let file: &InputFile = &unit.files[0];
        let mut items = Vec::new();
        let digest = read_file(file, &self.manifest.source[0], &self.manifest.run, &mut |item| {
            items.push(item);
            Ok(())
        });
        assert_eq!(digest.expect("no error of the run"), blake3::hash(bytes).to_hex().to_string());
        for item in &items {
            match item {
                Ok(record) => assert!(record.text.len() <= 4096, "a text beyond max_record"),
                Err(damage) => {
                    assert!(
                        damage.raw.len() <= RAW_KEPT
                            && damage.detail.chars().count() < 600
                            && !damage.reason.is_empty()
                    );
                }
            }
        }
        items
    }
}

#[test]
fn json_lines_of_any_bytes_lose_no_line() {
    let reader = Reader::new("a.jsonl");
    assert_eq!(reader.items(&lines()).iter().filter(|item| item.is_ok()).count(), 12);
    cases("JSON lines", &[lines(), parquet(1)], |bytes| {
        let items = reader.items(bytes);
        let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        assert_eq!(items.len(), lines);
    });
}

#[test]
fn compressed_files_of_any_bytes_are_read_or_set_aside() {
    for (name, seed) in
        [("a.jsonl.gz", gzip(&lines())), ("a.jsonl.zst", zstd::encode_all(&lines()[..], 1).expect("encoded"))]
    {
        let reader = Reader::new(name);
        assert_eq!(reader.items(&seed).iter().filter(|item| item.is_ok()).count(), 12);
        cases(
            name.rsplit_once('.').map_or(name, |(_, kind)| kind),
            &[seed.clone(), [seed.clone(), seed].concat()],
            |bytes| {
                let items = reader.items(bytes);
                let is_damaged = items.iter().any(Result::is_err);
                assert!(
                    is_damaged || items.len() >= 12 || bytes.len() < 40,
                    "{} records are gone in silence",
                    12 - items.len()
                );
            },
        );
    }
}

#[test]
fn text_files_of_any_bytes_are_one_record() {
    let reader = Reader::new("a.txt");
    cases("text files", &[b"Some prose.\nAnd more of it.\n".to_vec(), lines()], |bytes| {
        assert_eq!(reader.items(bytes).len(), 1);
    });
}

#[test]
fn parquet_files_of_any_bytes_lose_no_row_in_silence() {
    let reader = Reader::new("a.parquet");
    assert_eq!(reader.items(&parquet(4)).len(), 40);
    cases("Parquet", &[parquet(1), parquet(4)], |bytes| {
        let items = reader.items(bytes);
        assert!(items.iter().any(Result::is_err) || items.len() == 40, "{} rows", items.len());
    });
}

#[test]
fn manifests_of_any_bytes_are_read_or_refused_with_a_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.toml");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let mut seeds = vec![MANIFEST.as_bytes().to_vec()];
    for entry in std::fs::read_dir(repository).expect("a folder").flatten().filter(|entry| entry.path().is_file()) {
        seeds.push(std::fs::read(entry.path()).expect("a manifest"));
    }
    cases("manifests", &seeds, |bytes| {
        std::fs::write(&path, bytes).expect("written");
        if let Err(error) = load(&path, &[]) {
            assert!(error.to_string().contains("m.toml"), "{error}");
        }
    });
}
