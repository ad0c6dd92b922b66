//! Tests of loading as a whole: what a good manifest means. [`messages`] tests what is said about a
//! bad one.

mod every_message;
mod messages;

use std::path::PathBuf;

use curate_schemas::config::{Kind, Section};
use curate_schemas::rules::{C4Rules, FineWebRules, GopherQualityRules, GopherRepetitionRules};
use curate_schemas::stages::documents::{Clean, Format};
use curate_schemas::stages::exact_dedup::Dedup;
use curate_schemas::stages::filter::{Filter, Profile, Words};
use curate_schemas::stages::language::Language;
use curate_schemas::stages::near_dedup::{NearDedup, Prefer};
use curate_schemas::stages::quality::{Quality, Term};
use curate_schemas::stages::tokens::{TokenScope, Tokens};
use curate_schemas::stages::{keys, sections};

use super::tree::{Entries, Node, Value, parse};
use super::*;

const SMALL: &str = "[run]\nname = \"a\"\n[[source]]\nname = \"web\"\npath = \"web/*.jsonl\"\n";
const QUICKSTART: &str = include_str!("../../../manifests/quickstart.toml");

fn load_text(text: &str, sets: &[&str]) -> Result<Manifest, LoadError> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    from_bytes(Path::new("manifest.toml"), text.as_bytes(), &sets)
}

fn good(text: &str, sets: &[&str]) -> Manifest {
    load_text(text, sets).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn bad(text: &str, sets: &[&str]) -> String {
    load_text(text, sets).expect_err(text).to_string()
}

/// The message about `line` in a table of an otherwise good manifest, without its position.
#[track_caller]
fn fault(table: &str, line: &str) -> String {
    let text = match table {
        "run" => SMALL.replace("[run]\n", &format!("[run]\n{line}\n")),
        "source" => format!("{SMALL}{line}\n"),
        table => format!("{SMALL}{table}\n{line}\n"),
    };

    let report = bad(&text, &[]);
    report.split_once(": ").expect("a position").1.to_owned()
}

#[test]
fn overrides_replace_add_and_make_tables() {
    let sets = [
        "run.seed=9",
        "run.name=2024-01-01",
        " run.memory = 8GiB",
        "source.web.priority=2",
        "filter.gopher_quality.min_words=80",
    ];
    let manifest = good(SMALL, &sets);

    assert_eq!(
        (
            manifest.run.seed,
            manifest.run.memory,
            manifest.source[0].priority
        ),
        (9, 8 << 30, 2)
    );
    assert_eq!(
        (manifest.run.name.as_str(), manifest.run.dir),
        ("2024-01-01", PathBuf::from("runs/2024-01-01"))
    );
    assert_eq!(
        manifest.filter.gopher_quality,
        Some(GopherQualityRules {
            min_words: 80,
            ..Default::default()
        })
    );

    let dotted = good(
        &SMALL.replace("\"web\"", "\"web.v1\""),
        &["source.web.v1.path=[\"x\", \"y\"]"],
    );
    assert_eq!(dotted.source[0].path, ["x", "y"]);

    let switched = good(
        SMALL,
        &[
            "dedup.exact={}",
            "quality.term=[{ column = 'language.confidence' }, { column = 'signals.heuristic', weight = 2 }]",
        ],
    );
    assert_eq!(
        (switched.dedup.exact.is_some(), switched.quality.term.len()),
        (true, 2)
    );

    // Overrides can make a whole manifest, and repair one.
    assert_eq!(
        good("", &["run.name=a", "source=[{name = 'b', path = 'c'}]"]).source[0].name,
        "b"
    );
    assert_eq!(
        good(
            &SMALL.replace("\"a\"", "3"),
            &["run.name=repaired", "run.name=again"]
        )
        .run
        .name,
        "again"
    );
}

#[test]
fn a_small_manifest_means_the_defaults() {
    let manifest = good(SMALL, &[]);

    assert_eq!(manifest.run.dir, PathBuf::from("runs/a"));
    assert_eq!(
        (
            manifest.run.seed,
            manifest.run.memory,
            manifest.run.shard_size
        ),
        (0, 4 << 30, 64 << 20)
    );
    assert_eq!(
        (manifest.run.max_record, manifest.run.max_quarantine_ratio),
        (64 << 20, 0.05)
    );

    let web = &manifest.source[0];
    assert_eq!(
        (
            web.text.as_str(),
            web.domain.as_str(),
            web.priority,
            web.format
        ),
        ("text", "web", 0, None)
    );

    assert_eq!(
        (
            &manifest.clean,
            &manifest.language,
            &manifest.budget,
            manifest.mixture.len()
        ),
        (&None, &None, &None, 0)
    );
    assert_eq!(
        (&manifest.filter, &manifest.dedup),
        (&Filter::default(), &Dedup::default())
    );
    assert_eq!(
        (&manifest.tokens, &manifest.quality),
        (&Tokens::default(), &texture())
    );
}

/// The `[quality]` of a manifest that says nothing of it.
fn texture() -> Quality {
    Quality {
        term: Term::defaults(),
        ..Quality::default()
    }
}

#[test]
fn empty_tables_mean_the_types_defaults() {
    let switches: String = sections()
        .filter(|table| table.path != "run" && table.path != "source" && table.path != "mixture")
        .map(|table| match table.path {
            "budget" => "[budget]\nparams = 1e9\n".to_owned(),
            "filter.c4_bad_words" => "[filter.c4_bad_words]\nfile = \"words.txt\"\n".to_owned(),
            "mixture_source" => String::new(),
            "score.ngram" => "[score.ngram]\nmodel = \"reference.ngram\"\n".to_owned(),
            "quality.term" => "[[quality.term]]\ncolumn = \"signals.heuristic\"\n".to_owned(),
            "quality.veto" => {
                "[[quality.veto]]\ncolumn = \"meta.toxicity\"\nabove = 1\n".to_owned()
            }
            path => format!("[{path}]\n"),
        })
        .collect();
    let manifest = good(&format!("{SMALL}{switches}"), &[]);

    assert_eq!(
        (manifest.clean, manifest.language),
        (Some(Clean::default()), Some(Language::default()))
    );
    assert_eq!(
        manifest.filter.gopher_quality,
        Some(GopherQualityRules::default())
    );
    assert_eq!(
        manifest.filter.gopher_repetition,
        Some(GopherRepetitionRules::default())
    );
    assert_eq!(
        (manifest.filter.c4, manifest.filter.fineweb),
        (Some(C4Rules::default()), Some(FineWebRules::default()))
    );
    assert_eq!(
        (manifest.filter.profile, manifest.filter.words),
        (Profile::default(), Words::default())
    );
    assert_eq!(
        (manifest.dedup.exact, manifest.dedup.near),
        (Some(Default::default()), Some(NearDedup::default()))
    );
    assert_eq!(
        (manifest.tokens, manifest.quality.veto.len()),
        (Tokens::default(), 1)
    );
    assert_eq!(
        (manifest.quality.term, manifest.quality.combine),
        (
            vec![Term::of("signals.heuristic")],
            Quality::default().combine
        )
    );

    let budget = manifest.budget.expect("it was given");
    assert_eq!(
        (budget.params, budget.constants, budget.represents),
        (1e9, "besiroglu2024".to_owned(), 1.0)
    );

    let mixture = &good(
        &format!("{SMALL}[[mixture]]\nname = \"m\"\ntokens = 3e11\n"),
        &[],
    )
    .mixture[0];
    assert_eq!(
        (mixture.tokens, mixture.max_epochs, mixture.part_size),
        (300_000_000_000, 4.0, 256 << 20)
    );
}

#[test]
fn values_come_out_normalised() {
    let rest = "[language]\nkeep = [\"fra\", \"en\"]\nmin_confidence = -0.0\n[filter.gopher_quality]\nmin_avg_word_len = 4\n[budget]\nparams = 7_000_000_000";
    let manifest = good(&format!("{SMALL}{rest}"), &[]);

    let language = manifest.language.expect("it was given");
    assert_eq!(language.keep, ["eng", "fra"]);
    assert!(language.min_confidence.is_sign_positive());
    assert_eq!(
        manifest
            .filter
            .gopher_quality
            .map(|rules| rules.min_avg_word_len),
        Some(4.0)
    );
    assert_eq!(manifest.budget.map(|budget| budget.params), Some(7e9));
}

#[test]
fn every_default_and_example_is_a_good_value() {
    for key in keys() {
        let written = reference::shown_value(key);
        let entries = parse(&format!("v = {written}"))
            .unwrap_or_else(|error| panic!("{}: {error}", key.path));
        let read = value::read(key.path, key.kind, &entries["v"].node);
        let read = read.unwrap_or_else(|_| panic!("{} = {written}", key.path));

        if let Some(default) = key.default() {
            assert_eq!(
                Some(read),
                toml::Value::try_from(default).ok(),
                "{}",
                key.path
            );
        }
    }
}

/// Each word of the key table is a word of its type, which the compiler does not check.
#[test]
fn every_word_loads() {
    let header = |path: &str| {
        let mut tables = sections();
        let table = tables.find(|table| table.keys.iter().any(|key| key.path == path));
        table.map(Section::header)
    };

    for key in keys() {
        let (Kind::Word(words) | Kind::WordOrJson(words) | Kind::Words(words)) = key.kind else {
            continue;
        };
        for word in words {
            let value = match key.kind {
                Kind::Word(_) | Kind::WordOrJson(_) => format!("\"{word}\""),
                _ => format!("[\"{word}\"]"),
            };
            let table = header(key.path)
                .filter(|header| header != "[[source]]")
                .unwrap_or_default();

            // The other keys that this word needs.
            let more = match (table.as_str(), *word) {
                ("[budget]", _) => "params = 1e9\n",
                ("[[mixture]]", "fixed") => {
                    "name = 'm'\ntokens = 5\n\
                     [[mixture_source]]\nmixture = 'm'\nsource = 'web'\nshare = 1\n"
                }
                ("[[mixture]]", _) => "name = 'm'\ntokens = 5\n",
                ("[language]", "fasttext") => "model = 'lid.176.ftz'\n",
                ("[pii]", "pseudonym") => "key_file = 'pii.key'\n",
                ("[score.ngram]", _) => "model = 'reference.ngram'\n",
                ("[[quality.term]]", "isotonic") => {
                    "column = 'signals.heuristic'\nfile = 'curve.json'\n"
                }
                ("[[quality.term]]", _) => "column = 'signals.heuristic'\n",
                (_, "component") => "min_jaccard = 0\n",
                (_, "estimate") => "keep_signatures = true\n",
                _ => "",
            };

            good(
                &format!("{SMALL}date = 'd'\n{table}\n{} = {value}\n{more}", key.name),
                &[],
            );
        }
    }
}

#[test]
fn the_reference_is_a_manifest_of_every_key() {
    let mut out = Vec::new();
    print_reference(&mut out).expect("writing to memory");
    let text = String::from_utf8(out).expect("UTF-8");
    assert_eq!(good(&text, &[]).run.memory, 4 << 30);

    let uncommented = text
        .replace("\n# id =", "\nid =")
        .replace("\n# url =", "\nurl =")
        .replace("\n# date =", "\ndate =");
    let uncommented = uncommented.replace("\n# license =", "\nlicense =");
    good(&uncommented, &[]);

    for key in keys() {
        assert!(
            text.contains(&format!("{} = ", key.name)) && text.contains(key.doc()),
            "{}",
            key.path
        );
    }
}

#[test]
fn the_quickstart_loads_and_its_keys_are_known() {
    let manifest = good(QUICKSTART, &[]);
    let names: Vec<_> = manifest
        .source
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    assert_eq!(names, ["web", "manuals", "books", "notes", "stories"]);
    assert_eq!(
        (
            manifest.run.seed,
            manifest.run.shard_size,
            manifest.mixture[0].tokens
        ),
        (7, 1 << 20, 300_000)
    );

    // The paths of all values below `entries`.
    fn paths(prefix: &str, entries: &Entries, out: &mut Vec<String>) {
        for (name, entry) in entries {
            let path = format!("{prefix}{name}");
            let inner = format!("{path}.");
            match &entry.node.value {
                Value::Table(entries) if !keys().any(|key| key.path == path) => {
                    paths(&inner, entries, out)
                }
                Value::List(items) => {
                    let tables = items.iter().filter_map(|item| match item {
                        Node {
                            value: Value::Table(entries),
                            ..
                        } => Some(entries),
                        _ => None,
                    });
                    tables.for_each(|entries| paths(&inner, entries, out));
                }
                _ => out.push(path),
            }
        }
    }

    let (mut written, tree) = (Vec::new(), parse(QUICKSTART).expect("it loads"));
    paths("", &tree, &mut written);
    assert!(written.len() > 30, "{written:?}");
    for path in written {
        assert!(keys().any(|key| key.path == path), "{path}");
    }
}

#[test]
fn parts_serialise_stably() {
    let near = NearDedup {
        prefer: vec![Prefer::Newest, Prefer::SourcePriority],
        ..Default::default()
    };
    let text = toml::to_string(&near).expect("plain data");
    assert!(
        text.ends_with("prefer = [\"newest\", \"source_priority\"]\n"),
        "{text}"
    );

    let manifest = good(
        QUICKSTART,
        &["source.notes.format=jsonl", "tokens.scope=survivors"],
    );
    assert_eq!(
        (manifest.source[3].format, manifest.tokens.scope),
        (Some(Format::Jsonl), TokenScope::Survivors)
    );
    assert_eq!(manifest.quality.term, Term::defaults());
    let written = toml::to_string(&manifest).expect("plain data");
    assert_eq!(
        good(&written, &[]),
        manifest,
        "a serialised manifest is a manifest"
    );
}

#[test]
fn a_manifest_knows_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("m.toml");
    std::fs::write(&path, SMALL).expect("a file");
    assert_eq!(load(&path, &[]).expect("a manifest").base, directory.path());
}

/// Feeds random bytes, random pieces of TOML, and damaged copies of a good manifest. Each of them
/// loads or gives an error with a message.
#[test]
fn nothing_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % bound
    };

    let pieces = [
        "[", "]", "[[", "]]", "run", "source", ".", "=", "\n", "\"", "'", "a", "1e9", "-", "{",
        "}", ",", "#", "\u{feff}", "é", "\0", "nan", "name", "0x", "\\", "\r",
    ];

    for _ in 0..1_000 {
        let bytes: Vec<u8> = (0..below(40)).map(|_| below(256) as u8).collect();
        let tokens: String = (0..below(40))
            .map(|_| pieces[below(pieces.len())])
            .collect();
        let mut damaged = QUICKSTART.as_bytes().to_vec();
        let start = below(damaged.len());
        let end = (start + below(30)).min(damaged.len());
        damaged.splice(start..end, tokens.bytes().take(below(6)));

        for bytes in [bytes.as_slice(), tokens.as_bytes(), &damaged] {
            let sets = [String::from_utf8_lossy(&bytes[..bytes.len().min(30)]).into_owned()];
            for sets in [&[], sets.as_slice()] {
                if let Err(error) = from_bytes(Path::new("m"), bytes, sets) {
                    assert!(!matches!(error, LoadError::Disagreement { .. }), "{error}");
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}
