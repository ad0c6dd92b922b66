//! Drift between runs that have nothing in common.

use std::path::{Path, PathBuf};

use crate::support::{Outcome, Place, curate, run};

const NOUNS: [&str; 8] = [
    "harbour", "lantern", "orchard", "ferry", "ledger", "quarry", "violin", "saddle",
];
const VERBS: [&str; 6] = ["passed", "mended", "weighed", "painted", "followed", "hid"];

/// Texts of a source: sentences of small words, other ones for each seed.
fn texts(seed: usize, documents: usize) -> String {
    let sentence = |number: usize| {
        let noun = NOUNS[number % NOUNS.len()];
        let verb = VERBS[number / 8 % VERBS.len()];
        let other = NOUNS[(number / 48 + seed) % NOUNS.len()];
        format!("The {noun} that we saw in the morning {verb} the {other} of the town.")
    };
    let document = |number: usize| {
        let sentences = 3 + (number * 7 + seed) % 9;
        let text: Vec<String> = (0..sentences)
            .map(|at| sentence(number * 31 + at * 17 + seed))
            .collect();
        format!(
            "{{\"id\":\"{seed}-{number}\",\"text\":\"{} It was day {number}.\"}}\n",
            text.join(" ")
        )
    };
    (0..documents).map(document).collect()
}

/// A run whose sources are these, each a name and a file in `in/`.
fn made(place: &Place, name: &str, sources: &[(&str, &str)]) -> PathBuf {
    let sources: String = sources
        .iter()
        .map(|(source, file)| {
            format!("[[source]]\nname = \"{source}\"\npath = \"in/{file}.jsonl\"\nid = \"id\"\n")
        })
        .collect();
    let manifest = place.write(
        &format!("{name}.toml"),
        format!("[run]\nname = \"{name}\"\n[language]\nengine = \"none\"\n{sources}"),
    );

    let dir = place.path(name);
    run(&manifest, &dir, &[]).exits(0);
    dir
}

fn drift(run: &Path, baseline: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec!["drift", run.to_str().unwrap()];
    arguments.extend(["--baseline", baseline.to_str().unwrap()]);
    arguments.extend(more);
    curate(arguments)
}

#[test]
fn runs_without_a_common_source_are_no_success() {
    let place = Place::new();
    for (file, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        place.write(&format!("in/{file}.jsonl"), texts(seed, 60));
    }
    let both = made(&place, "both", &[("a", "a"), ("b", "b")]);
    let file = place.path("baseline.json");
    let written = ["baseline".as_ref(), both.as_os_str(), "-o".as_ref()];
    curate(written.into_iter().chain([file.as_os_str()])).exits(0);

    // A run against itself has no drift, whichever form the baseline has.
    for baseline in [&both, &file] {
        drift(&both, baseline, &["--strict"])
            .exits(0)
            .prints(&["no drift: "]);
    }

    // The same texts under other names: nothing can be compared, and both sources are named.
    let renamed = made(&place, "renamed", &[("x", "a"), ("y", "b")]);
    for baseline in [&both, &file] {
        drift(&renamed, baseline, &[]).exits(1).prints(&[
            "fail          gone, source a: the run has no document of this source",
            "fail          gone, source b: ",
            "inconclusive  new, source x: ",
            "inconclusive  new, source y: ",
            "\nnothing could be compared, other documents\n",
        ]);
    }

    // Both have to be accepted: that the sources are gone, and that nothing is left to compare.
    let gone = ["--allow-missing-source", "a", "--allow-missing-source", "b"];
    let found = drift(&renamed, &both, &gone).exits(1);
    let found = found.prints(&["fail          nothing, all: nothing could be compared"]);
    assert!(
        !found.stdout.contains("fail          gone"),
        "{}",
        found.stdout
    );
    drift(&renamed, &both, &["--allow-empty"])
        .exits(1)
        .prints(&[
            "fail          gone, source a",
            "inconclusive  nothing, all: ",
        ]);
    let all = [&gone[..], &["--allow-empty"]].concat();
    drift(&renamed, &both, &all).exits(0).prints(&[
        "note: the run has no document of the source a, which --allow-missing-source accepts\n",
        "\nnothing could be compared, other documents\n",
    ]);

    // Every format of the answer says it.
    for (format, says) in [
        ("json", "\"is_compared\": false"),
        ("junit", "<failure message=\"nothing could be compared"),
        (
            "github",
            "::error title=drift nothing%2C all::nothing could be compared",
        ),
        ("markdown", "**drift**: nothing could be compared"),
    ] {
        drift(&renamed, &both, &["--format", format])
            .exits(1)
            .prints(&[says]);
    }
    drift(&renamed, &both, &["--allow-missing-source", "z"])
        .exits(2)
        .says(&["the baseline has no source z", "hint: its sources are a, b"]);
}

#[test]
fn a_source_that_the_run_lacks_fails_by_name_and_a_new_one_is_said() {
    let place = Place::new();
    for (file, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        place.write(&format!("in/{file}.jsonl"), texts(seed, 60));
    }
    let both = made(&place, "both", &[("a", "a"), ("b", "b")]);

    // One source is still there, with the same texts, so distributions are compared.
    let one = made(&place, "one", &[("a", "a"), ("c", "c")]);
    let found = drift(&one, &both, &[]).exits(1).prints(&[
        "fail          gone, source b: the run has no document of this source of the baseline; \
         --allow-missing-source b accepts that",
        "inconclusive  new, source c: the baseline has no document of this source",
    ]);
    assert!(
        !found.stdout.contains("nothing could be compared"),
        "{}",
        found.stdout
    );
    let allowed = ["--allow-missing-source", "b"];
    drift(&one, &both, &allowed).exits(0).prints(&[
        "no drift found: ",
        "note: the run has no document of the source b",
    ]);

    // An allowed source is no doubt, a new one is.
    drift(&one, &both, &["--allow-missing-source", "b", "--strict"]).exits(1);
    let less = made(&place, "less", &[("a", "a")]);
    drift(&less, &both, &["--allow-missing-source", "b", "--strict"]).exits(0);

    // So it is if only some columns are compared.
    drift(&less, &both, &["--measure", "quality.q"])
        .exits(1)
        .prints(&["fail          gone, source b: "]);
}
