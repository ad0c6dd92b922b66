//! Tests of the messages about a bad manifest: their position, wording and hint.

use std::path::Path;

use curate_schemas::config::{Absent, Key, Kind, Section};
use curate_schemas::stages::sections;

use super::super::{from_bytes, load};
use super::{SMALL, bad, fault, good, load_text};

#[test]
fn three_mistakes_are_three_lines() {
    let text = "\
# a comment
[run]
name = \"a\"
shard_sze = \"1MiB\"

[[source]]
name = \"web\"
path = \"*.jsonl\"
max = \"é\"   # no such key
[dedup]
near = { ngram = 5, min_jaccard = 1.5 }
";
    let expected = "\
manifest.toml:4:1: unknown key \"shard_sze\" in [run]
  hint: did you mean \"shard_size\"?
manifest.toml:9:1: unknown key \"max\" in [[source]]
  hint: its keys are \"name\", \"path\", \"text\", \"id\", \"url\", \"domain\", \"date\", \"priority\", \"format\", \"license\", \"allow_missing\", \"max_quarantine_ratio\"
manifest.toml:11:35: dedup.near.min_jaccard: must be between 0 and 1, found 1.5";
    assert_eq!(bad(text, &[]), expected);
}

#[test]
fn wrong_types_and_ranges_are_named() {
    #[rustfmt::skip] // One line per case reads as a table.
    let cases = [
        ("run", "seed = -1", "run.seed: must be at least 0 and below 2^63, found -1"),
        ("run", "seed = 7.0", "run.seed: expected an integer, found float 7.0"),
        ("run", "seed = 9223372036854775808", "run.seed: must be at least 0 and below 2^63, found 9223372036854775808"),
        ("run", "shard_size = -3", "run.shard_size: expected a size such as \"64MiB\", found integer -3"),
        ("run", "shard_size = \"2GiB\"", "run.shard_size: must be between 64KiB and 1GiB, found \"2GiB\""),
        ("run", "shard_size = 1", "run.shard_size: must be between 64KiB and 1GiB, found 1B"),
        ("run", "memory = \"511MiB\"", "run.memory: must be at least 512MiB, found \"511MiB\""),
        ("run", "memory = 1979-05-27", "run.memory: expected a size such as \"64MiB\", found a date"),
        ("run", "max_quarantine_ratio = nan", "run.max_quarantine_ratio: must be between 0 and 1, found NaN"),
        ("source", "max_quarantine_ratio = 1.5", "source.max_quarantine_ratio: must be between 0 and 1, found 1.5"),
        ("run", "max_quarantine_ratio = true", "run.max_quarantine_ratio: expected a number, found boolean true"),
        ("run", "dir = \"\"", "run.dir: must be a path, not empty and without NUL, found \"\""),
        ("run", "dir = \"a\\u0000b\"", "run.dir: must be a path, not empty and without NUL, found \"a\\0b\""),
        ("source", "text = \"a..b\"", "source.text: must be field names joined by dots, found \"a..b\""),
        ("source", "domain = \"a\\nb\"", "source.domain: must be 1 to 64 characters, none a control character, found \"a\\nb\""),
        ("source", "license = \"\"", "source.license: must be 1 to 64 characters, none a control character, found \"\""),
        ("source", "license = [\"mit\"]", "source.license: expected a string, found a list"),
        ("source", "priority = 4294967296", "source.priority: must be at least 0 and below 2^32, found 4294967296"),
        ("[clean]", "nfc = 1", "clean.nfc: expected true or false, found integer 1"),
        ("[filter.gopher_quality]", "min_words = 1.5", "filter.gopher_quality.min_words: expected an integer, found float 1.5"),
        ("[filter.gopher_quality]", "max_avg_word_len = inf", "filter.gopher_quality.max_avg_word_len: must be at least 0 and finite, found inf"),
        ("[filter.gopher_quality]", "max_words = 10", "filter.gopher_quality.min_words: must be at most max_words = 10, found 50"),
        ("[dedup.near]", "bands = 257", "dedup.near.bands: must be between 1 and 256, found 257"),
        ("[dedup.near]", "prefer = [\"bytes\", \"bytes\"]", "dedup.near.prefer: \"bytes\" is listed twice"),
        ("[[quality.term]]", "column = \"signals.heuristic\"\nweight = 0", "quality.term: weight must be above 0, found 0\n  hint: only combine = \"logistic\" takes others"),
        ("[[quality.term]]", "column = \"signals.heuristic\"\nweight = inf", "quality.term.weight: must be finite, found inf"),
        ("[[quality.term]]", "column = \"signals.heuristic\"\nhigh = 0.1", "quality.term.low: must be at most high = 0.1, found 0.25"),
        ("[[quality.term]]", "column = \"signals.heuristic\"\n[[quality.term]]\ncolumn = \"signals.heuristic\"", "quality.term: \"signals.heuristic\" is a term already"),
        ("[[quality.term]]", "column = \"signals.heuristics\"", "quality.term: \"signals.heuristics\" is no column of numbers\n  hint: name table.column as `curate schema` lists them, or meta.field for a field of the record"),
        ("[[quality.term]]", "column = \"quality.q\"", "quality.term: \"quality.q\" is no column of numbers\n  hint: name table.column as `curate schema` lists them, or meta.field for a field of the record"),
        ("[[quality.term]]", "column = \"score.mean_nll\"", "quality.term: \"score.mean_nll\" is not computed, there is no [score.perplexity]"),
        ("[[quality.term]]", "column = \"signals.heuristic\"\nmap = \"isotonic\"", "quality.term: map = \"isotonic\" needs a file\n  hint: write file = \"curve.json\""),
        ("[[quality.term]]", "column = \"signals.heuristic\"\nfile = \"x\"", "quality.term: map = \"identity\" has no file"),
        ("[[quality.veto]]", "column = \"meta.toxicity\"", "quality.veto: \"meta.toxicity\" has no bound\n  hint: write below or above"),
        ("[score.perplexity]", "sample = 0.5\ndrop = { above = 0.9 }", "score.perplexity.drop: only a sample is scored, and the rest cannot be judged"),
        ("[score.perplexity]", "drop = { below = 0.5, above = 0.4 }", "score.perplexity.drop.below: must be at most above = 0.4, found 0.5"),
        ("[budget]", "params = 1e400", "budget.params: must be at least 1e5 and finite, found inf"),
        ("[budget]", "params = 1e9\nconstants = 5", "budget.constants: expected one of \"besiroglu2024\", \"besiroglu2024_full\", \"hoffmann2022_rounded\", \"hoffmann2022\", \"muennighoff2023\", or the path of a .json file, found integer 5"),
        ("[budget]", "params = 1e9\nconstants = \"no/own.json\"", "budget.constants: \"no/own.json\": no such file\n  hint: a path is relative to the manifest"),
        ("[budget]", "params = 1e9\nrepresents = 0.5", "budget.represents: must be at least 1 and finite, found 0.5"),
        ("[[mixture]]", "name = \"m\"\ntokens = 0", "mixture.tokens: must be at least 1 and below 2^63, found 0"),
        ("[[mixture]]", "name = \"m\"\ntokens = 1.5", "mixture.tokens: expected an integer, or a whole number such as 3e11, found float 1.5"),
        ("[[mixture]]", "name = \"m\"\ntokens = 1\nmax_epochs = 1001", "mixture.max_epochs: must be above 0 and at most 1000, found 1001"),
    ];
    for (table, line, message) in cases {
        assert_eq!(fault(table, line), message, "{line}");
    }
}

#[test]
fn unknown_words_get_a_hint() {
    #[rustfmt::skip] // One line per case reads as a table.
    let cases = [
        ("source", "format = \"jsnl\"", "source.format: unknown word \"jsnl\", expected one of \"jsonl\", \"json\", \"csv\", \"tsv\", \"parquet\", \"arrow\", \"txt\", \"warc\", \"html\"\n  hint: did you mean \"jsonl\"?"),
        ("source", "pth = \"x\"", "unknown key \"pth\" in [[source]]\n  hint: did you mean \"path\"?"),
        ("run", "size = \"64\"", "unknown key \"size\" in [run]\n  hint: its keys are \"name\", \"dir\", \"seed\", \"memory\", \"shard_size\", \"max_record\", \"max_window\", \"max_pages\", \"max_file\", \"max_quarantine_ratio\", \"min_coverage\""),
        ("run", "ngram = 5", "unknown key \"ngram\" in [run]\n  hint: \"ngram\" is a key of [dedup.near]"),
        ("run", "memory = \"4gb\"", "run.memory: expected a size such as \"64MiB\", found string \"4gb\"\n  hint: did you mean \"4GB\"?"),
        ("[dedup.exact]", "on = true", "unknown key \"on\" in [dedup.exact]\n  hint: its keys are \"text\", \"url\""),
        ("[dedup.neer]", "", "unknown table \"neer\" in [dedup]\n  hint: did you mean [dedup.near]?"),
        ("[gopher_quality]", "", "unknown table \"gopher_quality\" at the top level\n  hint: did you mean [filter.gopher_quality]?"),
        ("[[sources]]", "", "unknown table \"sources\" at the top level\n  hint: did you mean [[source]]?"),
        ("[dedup]", "zzz = 1", "unknown key \"zzz\" in [dedup]\n  hint: its keys are \"against\""),
        ("[dedup]", "exact = true", "expected the table [dedup.exact], found boolean true\n  hint: write [dedup.exact] on a line of its own"),
        ("[mixture]", "name = \"m\"", "expected the table [[mixture]], found a table\n  hint: write [[mixture]] on a line of its own"),
        ("[language]", "keep = [\"eng\", \"enq\"]", "language.keep: unknown language \"enq\"\n  hint: did you mean \"eng\"?"),
        ("[language]", "keep = [\"deu\", \"en\", \"eng\"]", "language.keep: \"en\" and \"eng\" are one language"),
        ("[language]", "keep = \"eng\"", "language.keep: expected a list of language codes such as [\"eng\"], found string \"eng\"\n  hint: write [\"eng\"]"),
        ("[budget]", "params = 1e9\nconstants = \"hofmann2022\"", "budget.constants: unknown word \"hofmann2022\", expected one of \"besiroglu2024\", \"besiroglu2024_full\", \"hoffmann2022_rounded\", \"hoffmann2022\", \"muennighoff2023\", or the path of a .json file\n  hint: did you mean \"hoffmann2022\"?"),
        ("[quality]", "combine = \"means\"", "quality.combine: unknown word \"means\", expected one of \"weighted_geometric\", \"mean\", \"min\", \"max\", \"logistic\"\n  hint: did you mean \"mean\"?"),
    ];
    for (table, line, message) in cases {
        assert_eq!(fault(table, line), message, "{line}");
    }

    let report = bad(&format!("seed = 7\n{SMALL}"), &[]);
    assert_eq!(
        report,
        "manifest.toml:1:1: unknown key \"seed\" at the top level\n  hint: \"seed\" is a key of [run]"
    );
}

#[test]
fn a_language_that_the_engine_lacks_is_named_with_the_engines_that_know_it() {
    let whichlang = "engine = \"whichlang\"\nkeep = [\"en\", \"pol\"]";
    assert_eq!(
        fault("[language]", whichlang),
        "language.keep: whichlang has no Polish (\"pol\"); engines that do: \"whatlang\"\n  hint: write engine = \"whatlang\""
    );
    assert_eq!(
        fault("[language]", "engine = \"none\"\nkeep = [\"eng\"]"),
        "language.keep: language.engine = \"none\" has no English (\"eng\"); engines that do: \"whatlang\", \"whichlang\"\n  hint: write engine = \"whatlang\""
    );

    // Either code names the language, at its place in the list.
    for code in ["swa", "sw"] {
        let report = bad(
            &format!("{SMALL}[language]\nkeep = [\"eng\", \"{code}\"]\n"),
            &[],
        );
        let start = "manifest.toml:7:16: language.keep: whatlang has no Swahili (\"swa\"); engines that do: none\n  hint: the languages of whatlang are \"afr\", ";
        assert!(report.starts_with(start), "{report}");
    }
}

#[test]
fn what_was_meant_is_suggested() {
    #[rustfmt::skip] // One line per case reads as a table.
    let cases = [
        ("[language]", "keep = [\"English\"]", "did you mean \"eng\"?"),
        ("[language]", "keep = [\"EN\"]", "did you mean \"eng\"?"),
        ("[language]", "keep = [\"pt-BR\"]", "did you mean \"por\"?"),
        ("[language]", "keep = [\"ger\"]", "did you mean \"deu\"?"),
        ("[language]", "keep = [\"chi\"]", "did you mean \"cmn\"?"),
        ("[language]", "keep = [\"iw\"]", "did you mean \"heb\"?"),
        ("[language]", "keep = [\"und\"]", "a text of no known language has no label, so keep cannot name it"),
        ("[language]", "keep = \"ger,und\"", "write [\"deu\"]"),
        ("[language]", "keep = \"english\"", "write [\"eng\"]"),
        ("[language]", "keep = \"[eng, de]\"", "write [\"eng\", \"deu\"]"),
        ("[language]", "keep = \"\"", "write []"),
        ("[language]", "min_confidence = 65", "did you mean 0.65?"),
        ("[language]", "min_confidence = \"65%\"", "did you mean 0.65?"),
        ("[language]", "min_confidence = \"150%\"", "write a number between 0 and 1, without %"),
        ("run", "memory = \"8G\"", "did you mean \"8GiB\"?"),
        ("run", "shard_size = \"64mb\"", "did you mean \"64MB\"?"),
        ("run", "shard_size = \"64G\"", "units are B, KB, MB, GB, KiB, MiB and GiB"),
        ("[dedup.near]", "min_jaccard = 80.0", "did you mean 0.8?"),
        ("[budget]", "params = 7", "7 parameters: did you mean 7e9?"),
        ("[budget]", "params = 1.5", "1.5 parameters: did you mean 1.5e9?"),
        ("[budget]", "params = 7e3", "7000 parameters: did you mean 7e9?"),
        ("[budget]", "params = 125", "125 parameters: did you mean 125e9 or 125e6?"),
        ("[budget]", "params = \"7B\"", "did you mean 7e9?"),
        ("[[mixture]]", "name = \"m\"\ntokens = \"1.5T\"", "did you mean 1.5e12?"),
        ("[filter.gopher_quality]", "max_words = \"100k\"", "did you mean 100000?"),
        ("run", "dir = \"~/runs\"", "write the whole path, or \"./~/runs\" for a name that begins so"),
        ("source", "url = \"u\"\n[filter.url]\ndomains = \"${LISTS}/a.txt\"", "write the whole path, or \"./${LISTS}/a.txt\" for a name that begins so"),
    ];
    for (table, line, hint) in cases {
        let report = fault(table, line);
        assert!(report.ends_with(&format!("\n  hint: {hint}")), "{report}");
    }

    // A number that nobody writes in another unit gets no suggestion.
    for (table, line) in [
        ("[dedup.near]", "min_jaccard = 1.5"),
        ("[dedup.near]", "min_jaccard = -1"),
        ("[budget]", "params = -7"),
        ("[budget]", "params = nan"),
    ] {
        assert!(!fault(table, line).contains("hint"), "{line}");
    }
}

/// The upper end of a range, by the name of its lower end: `max_words` of `min_words`.
fn upper_end(low: &str) -> Option<String> {
    for (from, to) in [("min", "max"), ("least", "most"), ("from", "to")] {
        if let Some(stem) = low.strip_prefix(&format!("{from}_")) {
            return Some(format!("{to}_{stem}"));
        }
    }
    match low {
        "low" => Some("high".to_owned()),
        "below" => Some("above".to_owned()),
        _ => None,
    }
}

/// A manifest with a table in which two keys have these values.
fn range_of(table: &Section, low: (&Key, &str), high: (&Key, &str)) -> String {
    let [low, high] = [low, high].map(|(key, value)| format!("{} = {value}\n", key.name));
    let required = table.keys.iter().filter_map(|key| match key.absent {
        Absent::Refused(example) => Some(format!("{} = {example}\n", key.name)),
        _ => None,
    });
    let required: String = required.collect();

    // `[[mixture_source]]` names a mixture, which must exist.
    let mixture = "[[mixture]]\nname = \"general\"\ntokens = 5\n";
    let header = table.header();
    format!("{SMALL}{mixture}{header}\n{required}{low}{high}")
}

#[test]
fn every_range_is_declared_and_refuses_crossed_ends() {
    let mut ranges = 0;
    for table in sections() {
        for low in table.keys {
            // Two names that look like the ends of a range are ends of one.
            let looks = upper_end(low.name).and_then(|name| table.key(&name));
            assert_eq!(low.at_most, looks.map(|key| key.name), "{}", low.path);
            let Some(high) = looks else { continue };
            ranges += 1;

            let (least, most) = match low.kind {
                Kind::Integer { .. } => ("2", "3"),
                _ => ("0.25", "0.75"),
            };
            let message = format!("{}: must be at most {} = {least}", low.path, high.name);
            let said = |low_value, high_value| {
                let text = range_of(table, (low, low_value), (high, high_value));
                load_text(&text, &[])
                    .err()
                    .map_or(String::new(), |error| error.to_string())
            };
            let crossed = said(most, least);
            assert!(crossed.contains(&message), "{}: {crossed}", low.path);
            for high_value in [least, most] {
                let fits = said(least, high_value);
                assert!(!fits.contains("must be at most"), "{}: {fits}", low.path);
            }
        }
    }
    assert!(ranges >= 7, "{ranges} ranges");
}

#[test]
fn source_paths_are_one_or_several() {
    let with = |path: &str| SMALL.replace("\"web/*.jsonl\"", path);
    assert_eq!(
        good(&with("[\"a\", \"b/**/*.txt\"]"), &[]).source[0].path,
        ["a", "b/**/*.txt"]
    );

    #[rustfmt::skip] // One line per case reads as a table.
    let faults = [
        ("[]", "source.path: expected at least one path, found an empty list"),
        ("3", "source.path: expected a string or a list of strings, found integer 3"),
        ("\"\"", "source.path: must be a path, not empty and without NUL, found \"\""),
        ("[\"a\", \"a\"]", "source.path: \"a\" is listed twice"),
        ("\"s3://bucket/web\"", "source.path: \"s3://bucket/web\" is not a path on this machine, and other places are not read\n  hint: copy the files to this machine or mount the store, and write the path"),
        ("\"gs://bucket/*.jsonl\"", "source.path: \"gs://bucket/*.jsonl\" is not a path on this machine, and other places are not read\n  hint: copy the files to this machine or mount the store, and write the path"),
        ("[\"a\", \"https://example.org/a.jsonl\"]", "source.path: \"https://example.org/a.jsonl\" is not a path on this machine, and other places are not read\n  hint: download the files, and write the path of the copy"),
        ("\"hf://datasets/someone/web\"", "source.path: \"hf://datasets/someone/web\" is not a path on this machine, and other places are not read\n  hint: download the data set with `hf download OWNER/NAME --repo-type dataset --local-dir DIR`, and write path = \"DIR\""),
        ("\"file:///data/web\"", "source.path: \"file:///data/web\" is not a path on this machine, and other places are not read\n  hint: write the path without file://"),
    ];
    for (path, message) in faults {
        assert!(
            bad(&with(path), &[]).ends_with(&format!(": {message}")),
            "{}",
            bad(&with(path), &[])
        );
    }
}

#[test]
fn what_is_missing_is_reported_at_its_table() {
    let expected = "\
manifest.toml:1:1: missing table [run]
  hint: for example [run] with name = \"quickstart\"
manifest.toml:1:1: missing table [[source]]
  hint: for example [[source]] with name = \"web\" and path = \"docs/web-*.jsonl.zst\"";
    assert_eq!(bad("", &[]), expected);

    let expected = "\
manifest.toml:2:1: missing key \"name\" in [run]
  hint: for example name = \"quickstart\"
manifest.toml:4:1: missing key \"path\" in [[source]]
  hint: for example path = \"docs/web-*.jsonl.zst\"";
    assert_eq!(
        bad("\n[run]\nseed = 1\n[[source]]\nname = \"web\"\n", &[]),
        expected
    );

    let report = bad("run = { name = \"a\" }\nsource = []\n", &[]);
    assert_eq!(
        report,
        "manifest.toml:2:10: expected at least one [[source]], found an empty list"
    );
}

/// A small manifest with the sources `web` and `books`, and the mixture `m`.
fn with_mixture(keys: &str, sources: &[(&str, &str)]) -> String {
    let bounds: String = sources
        .iter()
        .map(|(source, keys)| {
            format!("[[mixture_source]]\nmixture = \"m\"\nsource = \"{source}\"\n{keys}\n")
        })
        .collect();
    format!(
        "{SMALL}[[source]]\nname = \"books\"\npath = \"books\"\n\
         [[mixture]]\nname = \"m\"\ntokens = 5\n{keys}\n{bounds}"
    )
}

#[test]
fn keys_that_a_strategy_does_not_read_are_refused() {
    let refused = |keys: &str, bound: &str, place: &str, key: &str, hint: &str| {
        let share = if keys.contains("fixed") {
            "share = 1\n"
        } else {
            ""
        };
        let report = bad(
            &with_mixture(keys, &[("web", &format!("{share}{bound}"))]),
            &[],
        );
        let strategy = keys.split('"').nth(1).unwrap_or("effective");
        let name = key.split_once('.').expect("a path").1;
        assert_eq!(
            report,
            format!(
                "manifest.toml:{place}: {key}: mixture \"m\" has strategy = \"{strategy}\", which does not read {name}\n  hint: {name} is for strategy = {hint}"
            ),
        );
    };
    let bounded = r#""effective", "natural", "unimax", "temperature", "quality_curve""#;

    refused(
        "",
        "share = 0.5",
        "16:9",
        "mixture_source.share",
        r#""fixed""#,
    );
    refused(
        "strategy = \"unimax\"",
        "share = 0.0",
        "16:9",
        "mixture_source.share",
        r#""fixed""#,
    );
    for (key, value) in [("min_share", "0.7"), ("max_share", "0.7")] {
        let bound = format!("{key} = {value}");
        let path = format!("mixture_source.{key}");
        refused("strategy = \"fixed\"", &bound, "17:13", &path, bounded);
    }
    for strategy in ["effective", "natural", "unimax", "fixed", "quality_curve"] {
        let keys = format!("strategy = \"{strategy}\"\ntemperature = 2");
        refused(
            &keys,
            "",
            "13:15",
            "mixture.temperature",
            r#""temperature""#,
        );
    }
    let keys = "strategy = \"natural\"\ndiscard = 0.1";
    refused(keys, "", "13:11", "mixture.discard", r#""quality_curve""#);

    // An override has the same effect as the file, and its own place.
    let set = "mixture.m.temperature=2";
    assert!(
        bad(&with_mixture("", &[]), &[set])
            .starts_with(&format!("--set {set}: mixture.temperature: "))
    );

    // A default that is written out changes nothing.
    let defaults = "temperature = 3.3\ndiscard = 0.4";
    good(
        &with_mixture(defaults, &[("web", "min_share = 0\nmax_share = 1")]),
        &[],
    );
    let fixed = [
        ("web", "share = 0.25\nmin_share = 0"),
        ("books", "share = 0.75\nmax_epochs = 9"),
    ];
    good(&with_mixture("strategy = \"fixed\"", &fixed), &[]);
    for (keys, bound) in [
        (
            "strategy = \"temperature\"\ntemperature = 2",
            "min_share = 0.1",
        ),
        (
            "strategy = \"quality_curve\"\ndiscard = 0.1",
            "max_share = 0.9",
        ),
        (
            "strategy = \"natural\"",
            "min_share = 0.1\nmax_share = 0.9\nmax_epochs = 2",
        ),
    ] {
        good(&with_mixture(keys, &[("web", bound)]), &[]);
    }
}

#[test]
fn shares_that_cannot_sum_are_refused() {
    let fixed = "strategy = \"fixed\"";
    #[rustfmt::skip] // One line per case reads as a table.
    let cases = [
        ("", "min_share = 0.6", "min_share = 0.6", "the least shares of the sources sum to 1.2, more than 1"),
        ("", "max_share = 0.3", "max_share = 0.3", "the greatest shares of the sources sum to 0.6, less than 1"),
        ("strategy = \"natural\"", "max_share = 0.5", "max_share = 0.4999", "the greatest shares of the sources sum to 0.9999, less than 1"),
        ("", "min_share = 0.5", "min_share = 0.50000001", "the least shares of the sources sum to 1.00000001, more than 1"),
        (fixed, "share = 0.5", "share = 0.3", "the shares of the sources sum to 0.8, expected 1"),
        (fixed, "share = 0.5", "share = 0.6", "the shares of the sources sum to 1.1, expected 1"),
        (fixed, "share = 1", "share = 0.00000001", "the shares of the sources sum to 1.00000001, expected 1"),
        (fixed, "", "", "the shares of the sources sum to 0, expected 1"),
    ];
    for (keys, web, books, message) in cases {
        let report = bad(&with_mixture(keys, &[("web", web), ("books", books)]), &[]);
        let expected = format!(
            "manifest.toml:9:1: mixture \"m\" is not possible: {message}\n  hint: change the shares of [[mixture_source]]"
        );
        assert_eq!(report, expected, "{web}, {books}");
    }

    // Rounding is no mistake. A source without a bound takes what the others leave.
    let third = [
        ("web", "share = 0.3333333333"),
        ("books", "share = 0.6666666667"),
    ];
    good(&with_mixture(fixed, &third), &[]);
    good(&with_mixture("", &[("web", "max_share = 0.1")]), &[]);
    good(
        &with_mixture("", &[("web", "min_share = 1"), ("books", "max_share = 0")]),
        &[],
    );
}

#[test]
fn earlier_runs_that_nothing_is_compared_with_are_refused() {
    let against = format!("{SMALL}[dedup]\nagainst = [\"runs/2023\"]\n");
    let message = "manifest.toml:7:11: dedup.against: no deduplication compares documents with earlier runs\n  hint: write [dedup.exact] or [dedup.near]";
    assert_eq!(bad(&against, &[]), message);
    assert_eq!(bad(&format!("{against}[dedup.paragraphs]\n"), &[]), message);
    good(&format!("{against}[dedup.exact]\n"), &[]);
    good(&format!("{against}[dedup.near]\n"), &[]);
}

#[test]
fn names_are_short_plain_and_unique() {
    let range = "must be 1 to 64 of A-Z a-z 0-9 . _ -, the first not a dot";
    for name in ["", ".a", "a/b", "..", "a b", "é", &"a".repeat(65)] {
        let report = bad(&SMALL.replace("\"a\"", &format!("\"{name}\"")), &[]);
        assert!(
            report.starts_with(&format!(
                "manifest.toml:2:8: run.name: {range}, found \"{}",
                &name[..name.len().min(60)]
            )),
            "{report}"
        );
    }

    let twice = format!("{SMALL}[[source]]\npath = \"b\"\nname = \"web\"\n");
    assert_eq!(
        bad(&twice, &[]),
        "manifest.toml:8:8: [[source]]: the name \"web\" is taken on line 4"
    );
}

#[test]
fn syntax_errors_have_a_position_and_stand_alone() {
    #[rustfmt::skip] // One line per case reads as a table.
    let cases = [
        ("[run]\nname = \n", "manifest.toml:2:8: string values must be quoted, expected literal string"),
        ("[run]\nnme = 1\nname = 'a'\nname = 'b'\n", "manifest.toml:4:1: duplicate key"),
        ("[run]\n[run]\n", "manifest.toml:2:2: duplicate key"),
        ("é = 1", "manifest.toml:1:1: invalid unquoted key, expected letters, numbers, `-`, `_`"),
        ("\u{feff}a = = 1", "manifest.toml:1:5: extra `=`, expected nothing"),
    ];
    for (text, expected) in cases {
        assert_eq!(bad(text, &[]), expected);
    }
    assert!(bad("a = \"\0\"", &[]).starts_with("manifest.toml:1:6: invalid basic string"));

    let deep = 100_000;
    let nested = [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}", "{a=".repeat(deep)),
    ];
    let dotted = [
        format!("{}b = 1", "a.".repeat(deep)),
        format!("[{}b]", "a.".repeat(deep)),
    ];
    for text in nested.into_iter().chain(dotted) {
        assert!(bad(&text, &[]).len() < 200);
    }

    let bytes = [b"a = 1\nb = \"".as_slice(), b"\xff\""].concat();
    let error = from_bytes(Path::new("manifest.toml"), &bytes, &[])
        .expect_err("not UTF-8")
        .to_string();
    assert_eq!(
        error,
        "manifest.toml:2:6: expected UTF-8, found the byte 0xff"
    );
}

#[test]
fn mistakes_in_overrides_quote_them() {
    #[rustfmt::skip] // One line per case reads as a table.
    let cases = [
        ("run.sed=9", "unknown key \"sed\" in [run]\n  hint: did you mean \"seed\"?"),
        ("run.seed=x", "run.seed: expected an integer, found string \"x\""),
        ("run.seed", "expected key=value, such as run.seed=9"),
        ("run.name=", "run.name: must be 1 to 64 of A-Z a-z 0-9 . _ -, the first not a dot, found \"\""),
        ("run.seed=1\nx=2", "run.seed: expected an integer, found string \"1\\nx=2\""),
        ("source.wbe.priority=2", "no [[source]] is called \"wbe\"\n  hint: did you mean \"web\"?"),
        ("source.web=2", "expected source.<name>.<key>=value, found source.web"),
        ("mixture.general.tokens=2", "no [[mixture]] is called \"general\""),
        ("run.name.x=1", "\"name\" is not a table"),
        ("=1", "unknown key \"\" at the top level\n  hint: the tables are [run], [fleet], [[source]], [source.web], [clean], [language], [signals], [filter], [filter.url], [filter.gopher_repetition], [filter.gopher_quality], [filter.c4], [filter.c4_paragraphs], [filter.c4_bad_words], [filter.fineweb], [filter.lines], [dedup], [dedup.exact], [dedup.near], [dedup.paragraphs], [pii], [tokens], [score.ngram], [score.ngram.drop], [score.perplexity], [score.perplexity.drop], [quality], [[quality.term]], [[quality.veto]], [budget], [[mixture]], [[mixture_source]]"),
        ("budget.represents=2", "missing key \"params\" in [budget]\n  hint: for example params = 7e9"),
    ];
    for (set, message) in cases {
        assert_eq!(bad(SMALL, &[set]), format!("--set {set}: {message}"));
    }

    let deep = format!("{}b=1", "a.".repeat(100_000));
    assert!(bad(SMALL, &[&deep]).contains(": unknown key \"a.a."));

    // The file's mistakes come first, then those of the overrides in their order.
    let both = bad(
        &format!("{SMALL}txt = 1\n"),
        &["run.seed=1", "run.sed=1", "run.dri=x"],
    );
    let places: Vec<_> = both
        .lines()
        .filter(|line| !line.starts_with("  "))
        .map(|line| line.split_once(": ").map(|parts| parts.0))
        .collect();
    assert_eq!(
        places,
        [
            Some("manifest.toml:6:1"),
            Some("--set run.sed=1"),
            Some("--set run.dri=x")
        ]
    );
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let directory = std::env::temp_dir();
    let shown = directory.display();
    let error = |path: &Path| load(path, &[]).expect_err("no manifest").to_string();

    assert_eq!(
        error(&directory),
        format!("{shown}: expected a manifest, found a directory")
    );
    assert_eq!(
        error(Path::new("no/manifest.toml")),
        "no/manifest.toml: no such file"
    );
    assert_eq!(
        error(Path::new("/dev/zero")),
        "/dev/zero: expected a manifest, found more than 1MiB"
    );
}

#[test]
fn a_file_of_constants_is_read_and_its_mistakes_are_placed() {
    let directory = tempfile::tempdir().expect("a directory");
    let manifest = directory.path().join("m.toml");
    std::fs::write(
        &manifest,
        format!("{SMALL}[budget]\nparams = 7e9\nconstants = \"own.json\"\nrepresnts = 2\n"),
    )
    .expect("a file");
    let error = |json: &str| {
        std::fs::write(directory.path().join("own.json"), json).expect("a file");
        load(&manifest, &[]).expect_err("mistakes").to_string()
    };

    let unknown = format!(
        "{}:9:1: unknown key \"represnts\" in [budget]\n  hint: did you mean \"represents\"?",
        manifest.display()
    );

    // With a good file only the other mistake is left.
    let own = r#"{"e": 1.69, "a": 406.4, "b": 410.7, "alpha": 0.34, "beta": 0.28}"#;
    assert_eq!(error(own), unknown);

    let wrong = error(&own.replace("406.4", "-1"));
    let (first, rest) = wrong.split_once('\n').expect("a hint");
    let place = format!(
        "{}:8:13: budget.constants: \"own.json\": the loss's constant a is -1, ",
        manifest.display()
    );
    assert!(first.starts_with(&place), "{wrong}");
    assert!(
        rest.starts_with("  hint: for example {\"e\": ") && rest.ends_with(&unknown),
        "{wrong}"
    );

    let set = ["budget.constants=other.json".to_owned()];
    let error = load(&manifest, &set).expect_err("mistakes").to_string();
    assert!(error.ends_with("--set budget.constants=other.json: budget.constants: \"other.json\": no such file\n  hint: a path is relative to the manifest"), "{error}");

    std::fs::write(
        &manifest,
        format!("{SMALL}[budget]\nparams = 7e9\nconstants = \"own.json\"\n"),
    )
    .expect("a file");
    std::fs::write(directory.path().join("own.json"), own).expect("a file");
    let budget = load(&manifest, &[])
        .expect("a manifest")
        .budget
        .expect("it was given");
    assert_eq!(
        (budget.constants.as_str(), budget.constants_json.as_deref()),
        ("own.json", Some(own))
    );
}
