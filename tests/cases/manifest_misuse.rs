//! Mistakes that people make in a manifest, each with its place and its correction.

use std::path::PathBuf;

use crate::support::{Outcome, Place, curate};

/// The first lines of a manifest: a run and a source.
const SMALL: &str = "[run]\nname = \"x\"\n[[source]]\nname = \"web\"\npath = \"in\"\nid = \"id\"\n";

/// A folder with a few records in `in/`.
fn place() -> Place {
    let place = Place::new();
    let records: String = (0..5)
        .map(|number| {
            format!(
                "{{\"id\":\"p{number}\",\"url\":\"https://a.example/{number}\",\"score\":0.{number},\
                 \"text\":\"The ferry left the harbour at noon on day {number}.\"}}\n"
            )
        })
        .collect();
    place.write("in/p.jsonl", records);
    place.write("list.txt", "a.example\n");
    place
}

fn plan(place: &Place, manifest: &str, sets: &[&str]) -> Outcome {
    let manifest: PathBuf = place.write("manifest.toml", manifest);
    let run = place.path("run");
    let mut arguments = vec!["plan", manifest.to_str().unwrap()];
    arguments.extend(["--run-dir", run.to_str().unwrap()]);
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    curate(arguments)
}

#[test]
fn a_mistake_in_the_file_is_refused_with_its_place_and_what_would_be_right() {
    let place = place();

    #[rustfmt::skip] // One line per case reads as a table.
    let cases = [
        // Files that are no manifest, or lack a table.
        ("", "manifest.toml:1:1: missing table [[source]]", "for example [[source]] with name = "),
        ("JSON", "manifest.toml:1:1: invalid key-value pair", "manifest.toml:1:1"),
        // Words and tables.
        ("[lang]\nkeep = [\"eng\"]\n", "manifest.toml:7:2: unknown table \"lang\" at the top level", "[language]"),
        ("[filters.gopher_quality]\n", "manifest.toml:7:2: unknown table \"filters\"", "did you mean [filter]?"),
        ("text_key = \"body\"\n", "manifest.toml:7:1: unknown key \"text_key\" in [[source]]", "its keys are \"name\", \"path\", \"text\""),
        ("[dedup]\nexact = true\n", "manifest.toml:8:9: expected the table [dedup.exact]", "write [dedup.exact] on a line of its own"),
        ("[mixture]\nname = \"m\"\ntokens = 5\n", "manifest.toml:7:1: expected the table [[mixture]]", "write [[mixture]] on a line of its own"),
        // Languages.
        ("[language]\nkeep = [\"swa\"]\n", "manifest.toml:8:9: language.keep: whatlang has no Swahili (\"swa\"); engines that do: none", "the languages of whatlang are "),
        ("[language]\nengine = \"whichlang\"\nkeep = [\"pl\"]\n", "manifest.toml:9:9: language.keep: whichlang has no Polish (\"pol\"); engines that do: \"whatlang\"", "write engine = \"whatlang\""),
        ("[language]\nkeep = [\"english\"]\n", "manifest.toml:8:9: language.keep: unknown language \"english\"", "did you mean \"eng\"?"),
        ("[language]\nkeep = \"eng\"\n", "manifest.toml:8:8: language.keep: expected a list", "write [\"eng\"]"),
        // Numbers in another unit.
        ("[budget]\nparams = 7\n", "manifest.toml:8:10: budget.params: must be at least 1e5", "7 parameters: did you mean 7e9?"),
        ("[budget]\nparams = 1.5\n", "manifest.toml:8:10: budget.params: must be at least 1e5", "1.5 parameters: did you mean 1.5e9?"),
        ("[budget]\nparams = \"7B\"\n", "manifest.toml:8:10: budget.params: expected a number", "did you mean 7e9?"),
        ("[[mixture]]\nname = \"m\"\ntokens = \"1B\"\n", "manifest.toml:9:10: mixture.tokens: expected an integer", "did you mean 1e9?"),
        ("[dedup.near]\nmin_jaccard = 80\n", "manifest.toml:8:15: dedup.near.min_jaccard: must be between 0 and 1", "did you mean 0.8?"),
        // Ranges whose low end exceeds the high end.
        ("[[quality.veto]]\ncolumn = \"meta.score\"\nbelow = 0.8\nabove = 0.2\n", "manifest.toml:9:9: quality.veto.below", "must be at most above = 0.2, found 0.8"),
        ("[[quality.term]]\ncolumn = \"signals.heuristic\"\nlow = 0.9\nhigh = 0.1\n", "manifest.toml:9:7: quality.term.low", "must be at most high = 0.1, found 0.9"),
        ("[score.perplexity.drop]\nbelow = 0.9\nabove = 0.1\n", "manifest.toml:8:9: score.perplexity.drop.below", "must be at most above = 0.1, found 0.9"),
        ("[filter.gopher_quality]\nmin_words = 100\nmax_words = 50\n", "manifest.toml:8:13: filter.gopher_quality.min_words", "must be at most max_words = 50, found 100"),
        ("[filter.gopher_quality]\nmax_avg_word_len = 2\n", "manifest.toml:8:20: filter.gopher_quality.min_avg_word_len", "must be at most max_avg_word_len = 2, found 3"),
        ("[[mixture]]\nname = \"m\"\ntokens = 5\n[[mixture_source]]\nmixture = \"m\"\nsource = \"web\"\nmin_share = 0.6\nmax_share = 0.4\n", "manifest.toml:13:13: mixture_source.min_share", "must be at most max_share = 0.4, found 0.6"),
        // Keys that need another one.
        ("[score.perplexity]\nsample = 0.5\ndrop = { below = 0.1 }\n", "manifest.toml:9:8: score.perplexity.drop", "only a sample is scored"),
        ("[[quality.veto]]\ncolumn = \"meta.score\"\n", "manifest.toml:7:1: quality.veto: \"meta.score\" has no bound", "write below or above"),
        ("[[quality.term]]\ncolumn = \"score\"\n", "manifest.toml:7:1: quality.term: \"score\" is no column", "meta.field for a field of the record"),
        ("[filter.url]\ndomains = \"list.txt\"\n", "manifest.toml:7:1: filter.url: no [[source]] names the field url", "url = \"url\" in the source"),
        ("[dedup.near]\nprefer = [\"newest\"]\n", "manifest.toml:8:10: dedup.near.prefer: no [[source]] names the field date", "date = \"date\" in the source"),
    ];
    for (rest, place_of, right) in cases {
        let manifest = match rest {
            "" => "[run]\nname = \"x\"\n".to_owned(),
            "JSON" => "{\"run\": {\"name\": \"x\"}}".to_owned(),
            rest => format!("{SMALL}{rest}"),
        };
        plan(&place, &manifest, &[])
            .exits(2)
            .says(&[place_of, right]);
    }

    // A path is not expanded as a shell does.
    for path in ["~/data", "$HOME/data", "${HOME}/data"] {
        let manifest = SMALL.replace("\"in\"", &format!("\"{path}\""));
        let right = "write the whole path";
        plan(&place, &manifest, &[]).exits(2).says(&[
            &format!("manifest.toml:5:8: source.path: \"{path}\""),
            right,
        ]);
    }
    assert!(!place.path("run").exists());
}

#[test]
fn a_mistake_in_an_override_is_refused_with_its_words() {
    let place = place();
    let manifest = format!("{SMALL}[language]\n[filter.gopher_quality]\n[dedup.near]\n");

    #[rustfmt::skip] // One line per case reads as a table.
    let cases = [
        ("run.seed", "expected key=value, such as run.seed=9"),
        ("run.sed=9", "did you mean \"seed\"?"),
        ("seed=9", "\"seed\" is a key of [run]"),
        ("run.memory=8G", "did you mean \"8GiB\"?"),
        ("run.memory=1kb", "units are B, KB, MB, GB, KiB, MiB and GiB"),
        ("run.max_quarantine_ratio=5%", "did you mean 0.05?"),
        ("run.min_coverage=150%", "write a number between 0 and 1, without %"),
        ("run.max_quarantine_ratio=5", "did you mean 0.05?"),
        ("source.path=in", "expected source.<name>.<key>=value"),
        ("source.nope.path=in", "no [[source]] is called \"nope\""),
        ("language.keep=eng", "write [\"eng\"]"),
        ("language.keep=eng,de", "write [\"eng\", \"deu\"]"),
        ("language.keep=[eng]", "write [\"eng\"]"),
        ("language.keep=[\"EN\"]", "did you mean \"eng\"?"),
        ("language.keep=[\"tlh\"]", "whatlang has no Klingon (\"tlh\"); engines that do: none"),
        ("language.keep=[\"xx\"]", "such as \"eng\""),
        ("language.keep=[\"fre\"]", "did you mean \"fra\"?"),
        ("language.keep=[\"en\", \"eng\"]", "\"en\" and \"eng\" are one language"),
        ("language.min_confidence=65%", "did you mean 0.65?"),
        ("filter.gopher_quality.max_words=10", "must be at most max_words = 10, found 50"),
        ("filter.gopher_quality=off", "write [filter.gopher_quality] on a line of its own"),
        ("dedup.near.bands=0", "must be between 1 and 256, found 0"),
        ("dedup.near.cluster=component", "write min_jaccard = 0"),
        ("budget.params=7", "7 parameters: did you mean 7e9?"),
        ("budget.params=7e3", "7000 parameters: did you mean 7e9?"),
        ("budget.params=7B", "did you mean 7e9?"),
    ];
    for (set, right) in cases {
        plan(&place, &manifest, &[set])
            .exits(2)
            .says(&[&format!("--set {set}: "), right]);
    }
}

#[test]
fn what_is_no_mistake_is_accepted() {
    let place = place();
    for rest in [
        "[filter.c4]\nrewrite = true\n[filter.lines]\nrewrite = true\n",
        "[filter.c4]\nrewrite = true\n[dedup.paragraphs]\n",
        "[language]\nkeep = [\"en\", \"zho\", \"fas\"]\n",
        "[language]\nengine = \"whichlang\"\nkeep = [\"eng\"]\n",
        "[budget]\nparams = 7_000_000_000\n",
        "[budget]\nparams = 1e6\n",
        "[[quality.veto]]\ncolumn = \"meta.score\"\nbelow = 0.2\nabove = 0.2\n",
        "[filter.gopher_quality]\nmin_words = 60\nmax_words = 60\n",
        "[[mixture]]\nname = \"m\"\ntokens = 7e2\n",
    ] {
        for manifest in [format!("{SMALL}{rest}"), format!("\u{feff}{SMALL}{rest}")] {
            plan(&place, &manifest, &[]).exits(0);
        }
        let crlf = format!("{SMALL}{rest}").replace('\n', "\r\n");
        plan(&place, &crlf, &[]).exits(0);
    }

    let odd = place.write("~/p.jsonl", "{\"text\":\"A folder with an odd name.\"}\n");
    assert!(odd.exists());
    let manifest = SMALL.replace("\"in\"", "\"./~\"");
    plan(&place, &manifest, &[])
        .exits(0)
        .prints(&["documents: 1 input file to read, 38 bytes"]);
}
