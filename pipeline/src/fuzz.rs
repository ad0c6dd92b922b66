//! Tests with mutated manifests, tokenizers and models. The tests with mutated inputs are in the
//! crate `curate-ingest`.

use std::fs;
use std::path::{Path, PathBuf};

use curate_scorers::lm::model::Model;
use curate_scorers::ngram::{self, read_arpa};
use curate_scorers::tokenizer::Tokenizer;

use crate::manifest::load;
use mutations::cases;

#[path = "../../tests/mutations.rs"]
mod mutations;

/// The file or folder at `path`, which is relative to the root of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn manifests_of_any_bytes_are_read_or_refused_with_a_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.toml");

    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(repository("manifests"))
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

/// One file of the model is mutated at a time.
#[test]
fn models_of_any_bytes_are_refused_or_opened() {
    let from = repository("fixtures/lm/tiny_qwen2/tied");
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["config.json", "tokenizer.json", "model.safetensors"];
    for name in names {
        fs::copy(from.join(name), folder.path().join(name)).expect("copied");
    }
    assert!(Model::open(folder.path()).is_ok());

    // The tokenizer has a test of its own.
    for name in [names[0], names[2]] {
        let seed = fs::read(from.join(name)).expect("a fixture");
        cases(name, std::slice::from_ref(&seed), |bytes| {
            fs::write(folder.path().join(name), bytes).expect("written");
            let _ = Model::open(folder.path());
        });
        // The next file is mutated beside whole ones.
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
