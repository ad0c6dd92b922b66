//! Every stage key of four manifests, and what each key is made of, as `tests/it/pinned_keys/` has
//! them. A key that changes makes users' finished stages run again, so a commit that changes one
//! changes the file and says why.
//!
//! `CURATE_PIN=1 cargo test -p curate --test it pinned_keys` writes the files anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Place, STAGES, commit, fixture_lines, outcome, repository, run, run_command};

/// The stages and mixtures of a run: version, key and number of files, and the parts of the first
/// file's key.
fn keys(dir: &Path) -> String {
    let mut text = String::new();
    let folders = |name: &str| -> Vec<String> {
        let entries = fs::read_dir(dir.join(name)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| format!("{name}/{}", entry.file_name().to_str().unwrap()))
            .collect();
        names.sort();
        names
    };
    let mut tables: Vec<String> = STAGES.iter().map(|stage| (*stage).to_owned()).collect();
    tables.push("buckets".to_owned());
    tables.extend(folders("mix"));
    tables.extend(folders("mixture"));
    for table in tables {
        let commit = commit(dir, &table);
        let files = commit["files"].as_array().unwrap();
        writeln!(
            text,
            "{table} version {} key {} files {}",
            commit["version"],
            commit["key"],
            files.len()
        )
        .unwrap();
        let further = commit
            .get("tables")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let first = files.first().map(|file| (table.clone(), file));
        let firsts =
            further.filter_map(|(name, files)| Some((name.clone(), files.as_array()?.first()?)));
        for (name, file) in first.into_iter().chain(firsts) {
            writeln!(text, "  {name} key {}", file["key"]).unwrap();
            let parts: BTreeMap<String, Value> =
                serde_json::from_value(file["parts"].clone()).unwrap();
            for (part, value) in parts {
                writeln!(text, "    {part} = {}", value.as_str().unwrap()).unwrap();
            }
        }
    }
    text
}

#[track_caller]
fn compare(name: &str, dir: &Path) {
    let (found, path) = (
        keys(dir),
        repository()
            .join("tests/it/pinned_keys")
            .join(name)
            .with_extension("txt"),
    );
    if std::env::var_os("CURATE_PIN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let pinned = fs::read_to_string(&path).unwrap_or_default();
    for (number, (found, pinned)) in found.lines().zip(pinned.lines()).enumerate() {
        assert_eq!(found, pinned, "{}:{}", path.display(), number + 1);
    }
    assert_eq!(
        found.lines().count(),
        pinned.lines().count(),
        "{}",
        path.display()
    );
}

#[test]
fn of_the_manifests_of_this_repository() {
    for name in ["quickstart", "fineweb", "score"] {
        let place = Place::new();
        let dir = place.path("run");
        run(
            &repository()
                .join("manifests")
                .join(name)
                .with_extension("toml"),
            &dir,
            &[],
        )
        .exits(0);
        compare(name, &dir);
    }
}

/// Every table that a manifest can have, and most of the keys whose default says nothing.
const EVERY_TABLE: &str = r#"
[run]
name = "every-table"
seed = 11
shard_size = "64KiB"

[[source]]
name = "manuals"
path = "manuals.jsonl"
text = "content.text"
id = "content.id"
domain = "code"
date = "modified"
license = "several"

[[source]]
name = "web"
path = "web.jsonl"
id = "id"
url = "url"
priority = 1

[clean]
nfc = true

[language]
keep = ["eng"]
min_confidence = 0.1

[signals]

[filter]
words = "english"

[filter.url]
domains = "domains.txt"
substrings = "substrings.txt"

[filter.gopher_repetition]
max_dup_5_gram = 0.2

[filter.gopher_quality]
min_words = 40
min_alpha_word_ratio = 0.6

[filter.c4]
terminal_punct = false
curly_bracket = false
min_sentences = 1

[filter.c4_paragraphs]
min_line_len = 10

[filter.c4_bad_words]
file = "bad-words.txt"
max_matches = 5

[filter.fineweb]
max_char_dup_ratio = 0.5
min_line_punct_ratio = 0
max_list_ratio = 2

[filter.lines]
max_removed_word_ratio = 0.5

[dedup]
against = ["earlier"]

[dedup.exact]
text = "normalized"
url = true

[dedup.near]
prefer = ["newest", "bytes"]

[dedup.paragraphs]
set = "bloom"

[pii]
replace = "pseudonym"
key_file = "pii.key"
allow = "own.txt"

[tokens]
scope = "survivors"

[score.perplexity]
model = "tiny"

[score.perplexity.drop]
above = 0.99

[score.ngram]
model = "words.arpa"
tokenizer = "words"
normalize = "ccnet"

[score.ngram.drop]
above = 0.99

[quality]
combine = "mean"

[[quality.term]]
column = "signals.heuristic"
map = "isotonic"
file = "curve.json"

[[quality.term]]
column = "score.mean_nll"
map = "percentile"
prefer = "low"

[[quality.veto]]
column = "signals.gopher_quality.n_words"
above = 20000

[budget]
params = 7e9
constants = "own.json"

[[mixture]]
name = "general"
tokens = 5_000
max_epochs = 8

[[mixture]]
name = "fixed"
tokens = 3_000
max_epochs = 20
strategy = "fixed"
part_size = "1MiB"

[[mixture_source]]
mixture = "general"
source = "web"
max_share = 0.9

[[mixture_source]]
mixture = "fixed"
source = "web"
share = 0.5

[[mixture_source]]
mixture = "fixed"
source = "manuals"
share = 0.5
"#;

const ARPA: &str = "\\data\\\nngram 1=5\nngram 2=2\n\n\\1-grams:\n-1\t<unk>\n0\t<s>\t-0.5\n-1.2\t</s>\n-0.8\tthe\t-0.3\n\
    -1.1\tcat\n\n\\2-grams:\n-0.4\t<s> the\n-0.2\tthe cat\n\n\\end\\\n";

#[test]
fn of_a_manifest_with_every_table() {
    let place = Place::new();
    place.write(
        "manuals.jsonl",
        fixture_lines("manuals-000.jsonl.zst", 0..40),
    );
    place.write("web.jsonl", fixture_lines("web-000.jsonl.zst", 0..60));
    place.write("domains.txt", "unwanted.example\n");
    place.write("substrings.txt", "casino\n");
    place.write("bad-words.txt", "damn\n");
    place.write("pii.key", [7; 32]);
    place.write("own.txt", "@own.example.net\n");
    place.write("words.arpa", ARPA);
    place.write("curve.json", "[[0.0, 0.1], [1.0, 0.9]]");
    place.write(
        "own.json",
        r#"{"e": 1.69, "a": 406.4, "b": 410.7, "alpha": 0.34, "beta": 0.28}"#,
    );
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let bytes = fs::read(repository().join("fixtures/lm/tiny_qwen2/tied").join(file)).unwrap();
        place.write(&format!("tiny/{file}"), bytes);
    }
    let manifest = place.write("every-table.toml", EVERY_TABLE);
    // The earlier run holds other documents, with signatures of the same settings.
    place.write("earlier.jsonl", fixture_lines("web-001.jsonl.zst", 0..10));
    let near = "[dedup.exact]\ntext = \"normalized\"\nurl = true\n[dedup.near]\n";
    let source = "[[source]]\nname = \"web\"\npath = \"earlier.jsonl\"\nurl = \"url\"\n";
    let earlier = format!("[run]\nname = \"earlier\"\nseed = 11\n{source}{near}");
    let earlier = place.write("earlier.toml", earlier);
    let here = place.path("");
    outcome(
        run_command(&earlier, &place.path("earlier"), &["--until", "near_dedup"])
            .current_dir(&here),
    )
    .exits(0);
    outcome(run_command(&manifest, &place.path("run"), &[]).current_dir(&here)).exits(0);
    compare("every_table", &place.path("run"));
}
