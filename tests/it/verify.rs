//! `curate verify` finds one changed bit, and names the file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{
    Outcome, Place, Random, STAGES, assert_same, corpus, curate, figure, run, tree,
};

fn verify(run: &Path) -> Outcome {
    curate(["verify".as_ref(), run.as_os_str()])
}

fn finished(place: &Place) -> PathBuf {
    let (manifest, dir) = (corpus(place, 12), place.path("run"));
    run(&manifest, &dir, &["--set", "run.shard_size=1GiB"]).exits(0);
    dir
}

/// Changes one file after the other, and each time wants to be told.
fn each_is_found(seed: u64, change: impl Fn(&mut Vec<u8>, &mut Random)) {
    let place = Place::new();
    let dir = finished(&place);
    let mut random = Random::new(seed);
    for (name, bytes) in tree(&dir) {
        let mut changed = bytes.clone();
        change(&mut changed, &mut random);
        fs::write(dir.join(&name), changed).unwrap();
        let outcome = verify(&dir);
        assert_eq!(
            outcome.code,
            Some(1),
            "{name}: {}{}",
            outcome.stdout,
            outcome.stderr
        );
        assert!(
            outcome.stdout.contains(&format!("/{name}")),
            "{name}: {}",
            outcome.stdout
        );
        fs::write(dir.join(&name), bytes).unwrap();
    }
    verify(&dir).exits(0);
}

#[test]
fn a_finished_run_is_whole() {
    let place = Place::new();
    let dir = finished(&place);
    let files = tree(&dir).len();
    verify(&dir)
        .exits(0)
        .prints(&[&format!("{files} files, "), ": whole\n"]);
    // Found by a user's number: a reader of JSON that rounds made another report of it.
    let long = [
        "--set",
        "budget.params=123456789.12345679",
        "--set",
        "budget.represents=123456789.12345679",
    ];
    run(&place.path("manifest.toml"), &dir, &long).exits(0);
    verify(&dir).exits(0);
}

#[test]
fn one_bit_in_any_file_is_found() {
    each_is_found(11, |bytes, random| {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
    });
}

#[test]
fn a_truncated_file_is_found() {
    each_is_found(12, |bytes, random| {
        let length = random.below(bytes.len() as u64) as usize;
        bytes.truncate(length);
    });
}

#[test]
fn a_grown_file_is_found() {
    each_is_found(13, |bytes, _| bytes.push(b'\n'));
}

#[test]
fn a_deleted_file_is_found() {
    let place = Place::new();
    let dir = finished(&place);
    for (name, bytes) in tree(&dir) {
        // A run that was interrupted has no run.json, and all that it committed is whole.
        if name == "run.json" {
            continue;
        }
        fs::remove_file(dir.join(&name)).unwrap();
        let outcome = verify(&dir);
        assert_eq!(
            outcome.code,
            Some(1),
            "{name}: {}{}",
            outcome.stdout,
            outcome.stderr
        );
        // What a lost commit held is not known, but what is no longer explained is.
        if !name.ends_with("_commit.json") {
            assert!(outcome.stdout.contains(&name), "{name}: {}", outcome.stdout);
        }
        fs::write(dir.join(&name), bytes).unwrap();
    }
    verify(&dir).exits(0);
}

#[test]
fn a_file_in_place_of_another_is_found() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    for folder in ["documents", "filter", "tokens"] {
        let parts: Vec<String> = tree(&dir.join(folder))
            .into_keys()
            .filter(|name| name.ends_with(".parquet"))
            .collect();
        let (one, two) = (
            dir.join(folder).join(&parts[0]),
            dir.join(folder).join(&parts[1]),
        );
        let bytes = fs::read(&one).unwrap();
        fs::copy(&two, &one).unwrap();
        verify(&dir).exits(1).prints(&[&parts[0]]);
        fs::write(&one, bytes).unwrap();
    }
    // A whole commit of another run is not this run's.
    let other = place.path("other");
    run(
        &manifest,
        &other,
        &["--set", "filter.gopher_quality.min_words=120"],
    )
    .exits(0);
    let commit = fs::read(dir.join("filter/_commit.json")).unwrap();
    fs::copy(
        other.join("filter/_commit.json"),
        dir.join("filter/_commit.json"),
    )
    .unwrap();
    verify(&dir).exits(1).prints(&["/filter/part-"]);
    fs::write(dir.join("filter/_commit.json"), commit).unwrap();
    fs::copy(other.join("run.json"), dir.join("run.json")).unwrap();
    verify(&dir)
        .exits(1)
        .prints(&["/run.json: it does not follow from what is committed"]);
}

/// Runs the command that `verify` gives.
fn repair(said: &Outcome) -> Outcome {
    let command = said
        .stdout
        .lines()
        .find_map(|line| line.split_once("(with the --set that the run had): curate "))
        .unwrap()
        .1;
    curate(command.split(' '))
}

#[test]
fn what_was_changed_is_named_and_made_again() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let (before, mut repaired) = (tree(&dir), 0);
    // Of each folder one data file and its commit, and all else.
    let mut seen = std::collections::BTreeSet::new();
    for (name, bytes) in &before {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        if name.ends_with(".parquet") && !seen.insert(folder) {
            continue;
        }
        type Change = fn(&[u8]) -> Option<Vec<u8>>;
        let changes: [(&str, Change); 4] = [
            ("missing", |_| None),
            ("truncated", |bytes| Some(bytes[..bytes.len() / 2].to_vec())),
            ("grown", |bytes| Some([bytes, b"\n"].concat())),
            ("edited", |bytes| {
                Some(bytes.iter().rev().copied().collect())
            }),
        ];
        // One way to change a file is enough for each.
        let (what, change) = changes[repaired % changes.len()];
        let (what, change) = match name {
            name if name.ends_with(".json") => changes[3],
            name if name.starts_with("signals/") => changes[0],
            _ => (what, change),
        };
        match change(bytes) {
            None if name.starts_with("signals/") => {
                fs::remove_file(dir.join(name)).unwrap();
                let plan = curate([
                    "plan".as_ref(),
                    manifest.as_os_str(),
                    "--run-dir".as_ref(),
                    dir.as_os_str(),
                ])
                .exits(0);
                plan.prints(&[
                    "signals: 1 of ",
                    "shards to do: a file is not as it was committed",
                ]);
            }
            None => fs::remove_file(dir.join(name)).unwrap(),
            Some(changed) => fs::write(dir.join(name), changed).unwrap(),
        }
        let said = verify(&dir)
            .exits(1)
            .prints(&[&format!("/{name}: "), "--repair"]);
        let again = repair(&said)
            .exits(0)
            .says(&[&format!("curate: repair: {}", dir.join(name).display())]);
        assert_same(&tree(&dir), &before, &format!("{name}, {what}"));
        if name.ends_with(".parquet") && STAGES[1..].contains(&folder) {
            let shards: Vec<&str> = again
                .stderr
                .lines()
                .filter(|line| line.contains(" part-") && line.contains(" docs, "))
                .collect();
            assert!(
                matches!(shards[..], [one] if one.starts_with(&format!("{folder} part-"))),
                "{name}: {shards:?}"
            );
        }
        verify(&dir).exits(0);
        repaired += 1;
    }
    figure(
        "files changed, named by verify and made again by its command",
        repaired,
    );
}

/// Found by an attack: a damaged shard was read as it was, what came of it was committed, and
/// `verify` called that whole.
#[test]
fn damage_does_not_spread() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let change = |table: &str| {
        let name = crate::support::files(&dir, table).remove(0);
        let (path, mut bytes) = (
            dir.join(table).join(&name),
            fs::read(dir.join(table).join(&name)).unwrap(),
        );
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        (path, middle, bytes)
    };
    let put_back = |(path, middle, mut bytes): (PathBuf, usize, Vec<u8>)| {
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    for (table, set) in [
        ("documents", "dedup.near.min_jaccard=0.6"),
        ("signals", "filter.gopher_quality.min_words=60"),
        ("tokens", "mixture.general.tokens=10_000"),
    ] {
        let changed = change(table);
        let named = format!("{} was changed since it was committed", changed.0.display());
        run(&manifest, &dir, &["--set", set])
            .exits(70)
            .says(&[&named, "--repair"]);
        put_back(changed);
        run(&manifest, &dir, &[]).exits(0);
    }
    let changed = change("mixture/general");
    let output = place.path("out");
    let export = [
        "export".as_ref(),
        dir.as_os_str(),
        "general".as_ref(),
        "-o".as_ref(),
        output.as_os_str(),
    ];
    curate(export)
        .exits(70)
        .says(&[&format!("{} was changed", changed.0.display())]);
    put_back(changed);
    curate(export).exits(0);
    verify(&dir).exits(0);
}

#[test]
fn what_a_run_remembers_can_be_lost() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let before = tree(&dir);
    for name in ["inputs.json", "manifest.toml", "lock"] {
        for bytes in ["", "{", "[]", "{\"format\": 1}"] {
            fs::write(dir.join(".curate").join(name), bytes).unwrap();
            run(&manifest, &dir, &[]).exits(0);
            assert_same(&tree(&dir), &before, &format!("{name} was {bytes:?}"));
            verify(&dir).exits(0);
        }
    }
    let owner = dir.join(".curate/run.json");
    fs::write(&owner, "{").unwrap();
    for outcome in [verify(&dir), run(&manifest, &dir, &[])] {
        outcome
            .exits(2)
            .says(&[".curate/run.json is damaged", "--repair"]);
    }
    run(&manifest, &dir, &["--repair"])
        .exits(0)
        .says(&["curate: repair: ", ".curate/run.json is damaged"]);
    assert_same(&tree(&dir), &before, "an owner that was lost");
    // Another version's directory is left alone.
    fs::write(&owner, "{\"format\": 99, \"name\": \"corpus\"}").unwrap();
    for more in [&[][..], &["--repair"]] {
        run(&manifest, &dir, more).exits(2).says(&[
            "has format 99, this program writes ",
            "use a new run directory",
        ]);
    }
    verify(&dir).exits(2).says(&["has format 99"]);
    assert_same(&tree(&dir), &before, "another version");
}

#[test]
fn a_damaged_commit_stops_a_run() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let path = dir.join("filter/_commit.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"kept\": ", "\"kept\": 1", 1)).unwrap();
    run(&manifest, &dir, &[])
        .exits(70)
        .says(&["filter/_commit.json", "is damaged"]);
    fs::remove_file(&path).unwrap();
    run(&manifest, &dir, &[]).exits(0);
    verify(&dir).exits(0);
}
