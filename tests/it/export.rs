//! A mixture in the formats of trainers, read back by readers that are not ours.

use std::fs;

use crate::support::{
    Place, corpus, curate, files, outcome, python, query, report, repository, run, tree,
};

#[test]
fn every_format_is_read_back() {
    let place = Place::new();
    let (manifest, dir, out) = (corpus(&place, 30), place.path("run"), place.path("out"));
    run(&manifest, &dir, &[]).exits(0);
    let export = |out: &std::path::Path, more: &[&str]| {
        let words = [
            "export",
            dir.to_str().unwrap(),
            "general",
            "-o",
            out.to_str().unwrap(),
        ];
        curate([&words[..], more].concat())
    };
    let all = [
        "--format",
        "parquet,jsonl,megatron",
        "--end",
        "<|endoftext|>",
    ];
    export(&out, &all).exits(0).prints(&["rows"]);
    let parts = files(&dir, "mixture/general")
        .into_iter()
        .map(|name| dir.join("mixture/general").join(name));
    let mut check = python();
    check
        .arg(repository().join("tests/it/check_export.py"))
        .arg(&out)
        .args(parts);
    assert_eq!(outcome(&mut check).exits(0).stdout, "OK\n");
    // Again: the same bytes; where one is finished already: nothing.
    let again = place.path("again");
    export(&again, &all).exits(0);
    crate::support::assert_same(&tree(&again), &tree(&out), "an export made twice");
    export(&out, &all)
        .exits(2)
        .says(&["is a finished export", "hint: name another folder"]);
    // One that was cut off is made whole.
    fs::remove_file(again.join("README.md")).unwrap();
    export(&again, &all)
        .exits(2)
        .says(&["no unfinished export"]);
    fs::write(again.join(".unfinished"), b"").unwrap();
    fs::write(again.join("part-00000.bin"), b"half").unwrap();
    export(&again, &all).exits(0);
    crate::support::assert_same(&tree(&again), &tree(&out), "an export made whole");

    export(
        &place.path("other"),
        &["--format", "megatron", "--end", "<|nothing|>"],
    )
    .exits(2)
    .says(&["no such token"]);
    let words = ["export", dir.to_str().unwrap(), "nothing", "-o", "x"];
    curate(words)
        .exits(2)
        .says(&["the run has no mixture \"nothing\""]);
}

/// Documents in English, German, French, and without words, of three sources; a mixture of most of
/// them.
fn in_four_languages(place: &Place) -> std::path::PathBuf {
    let texts = [
        (
            "The committee met on Tuesday to discuss the plan for the coming year, and then everybody went home.",
            40,
        ),
        (
            "Der Ausschuss traf sich am Dienstag, um über den Plan für das nächste Jahr zu sprechen, und ging dann heim.",
            20,
        ),
        (
            "Le comité se réunit mardi pour discuter du projet de l'année prochaine, puis chacun rentra chez lui.",
            10,
        ),
        ("", 8),
    ];
    for source in ["manuals", "web", "notes"] {
        let line = |text: &str, number: usize| {
            format!("{{\"text\":\"{text} {number}{number} {number}\"}}\n")
        };
        let lines = texts
            .iter()
            .flat_map(|(text, count)| (100..100 + count).map(move |number| line(text, number)));
        place.write(&format!("data/{source}.jsonl"), lines.collect::<String>());
    }
    let source =
        |name: &str| format!("[[source]]\nname = \"{name}\"\npath = \"data/{name}.jsonl\"\n");
    let mixture =
        "[language]\n[[mixture]]\nname = \"general\"\ntokens = 5_000\nstrategy = \"natural\"\n";
    let head = "[run]\nname = \"languages\"\n".to_owned();
    place.write(
        "manifest.toml",
        head + &["manuals", "web", "notes"].map(source).concat() + mixture,
    )
}

#[test]
fn a_card_has_the_licences_of_its_sources_and_the_languages_of_its_documents() {
    let place = Place::new();
    let (manifest, dir) = (in_four_languages(&place), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let card = |name: &str| {
        let out = place.path(name);
        curate([
            "export",
            dir.to_str().unwrap(),
            "general",
            "-o",
            out.to_str().unwrap(),
            "--format",
            "parquet",
        ])
        .exits(0);
        fs::read_to_string(out.join("README.md")).unwrap()
    };
    let plain = card("plain");
    assert!(
        !plain.contains("\nlicense") && plain.contains(" | not stated |\n"),
        "{plain}"
    );
    // A licence computes nothing again; the report and a new export have it.
    let one: Vec<String> = ["manuals", "web", "notes"]
        .iter()
        .map(|name| format!("source.{name}.license=CC-BY-4.0"))
        .collect();
    let sets: Vec<&str> = one.iter().flat_map(|set| ["--set", set]).collect();
    run(&manifest, &dir, &sets)
        .exits(0)
        .prints(&["everything was cached in "]);
    crate::support::check(&dir, None).exits(0);
    assert_eq!(report(&dir)["sources"][1]["license"], "CC-BY-4.0");
    assert!(card("one").contains("\nlicense: \"cc-by-4.0\"\nlanguage:\n"));
    let sets = [
        "--set",
        "source.web.license=CC0-1.0",
        "--set",
        "source.manuals.license=Terms of X: 'free'",
    ];
    run(&manifest, &dir, &sets)
        .exits(0)
        .prints(&["everything was cached in "]);
    let several = card("several");
    let header = several
        .lines()
        .find_map(|line| line.strip_prefix("license_name: "))
        .unwrap();
    assert!(
        several.contains("\nlicense: \"other\"\n") && header.contains("cc0-1.0"),
        "{several}"
    );
    assert!(
        several
            .lines()
            .any(|line| line.starts_with("| web | ") && line.ends_with(" | CC0-1.0 |")),
        "{several}"
    );

    let found = query(
        &dir,
        "SELECT coalesce(language, 'not identified'), count(*), sum(tokens * draws), sum(count(*)) OVER (), sum(sum(tokens * draws)) OVER ()
        FROM read_parquet('mix/general/*.parquet') JOIN language USING (doc_id) JOIN tokens USING (doc_id)
        GROUP BY language ORDER BY language IS NULL, 2 DESC, 1",
    );
    assert_eq!(found.len(), 4, "{found:?}");
    let rows: Vec<&str> = several
        .split("## Languages")
        .nth(1)
        .unwrap()
        .lines()
        .filter(|line| line.ends_with(" % |"))
        .collect();
    let expected: Vec<String> = found
        .iter()
        .map(|row| {
            let words: Vec<&str> = row.split('|').collect();
            let [documents, tokens, all, total] =
                [1, 2, 3, 4].map(|at| words[at].parse::<f64>().unwrap());
            let shares =
                [documents / all, tokens / total].map(|share| format!("{:.2} %", 100.0 * share));
            format!(
                "| {} | {documents} | {} | {tokens} | {} |",
                words[0], shares[0], shares[1]
            )
        })
        .collect();
    assert_eq!(
        rows.iter()
            .map(|row| row.replace(',', ""))
            .collect::<Vec<_>>(),
        expected
    );
    assert!(several.contains("\nlanguage:\n- \"en\"\n"), "{several}");
}
