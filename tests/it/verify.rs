//! `curate verify` finds one changed bit, and names the file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Outcome, Place, Random, corpus, curate, run, tree};

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
        assert_eq!(outcome.code, Some(1), "{name}: {}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stdout.contains(&format!("/{name}")), "{name}: {}", outcome.stdout);
        fs::write(dir.join(&name), bytes).unwrap();
    }
    verify(&dir).exits(0);
}

#[test]
fn a_finished_run_is_whole() {
    let place = Place::new();
    let dir = finished(&place);
    let files = tree(&dir).len();
    verify(&dir).exits(0).prints(&[&format!("{files} files, "), ": whole\n"]);
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
        assert_eq!(outcome.code, Some(1), "{name}: {}{}", outcome.stdout, outcome.stderr);
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
        let parts: Vec<String> =
            tree(&dir.join(folder)).into_keys().filter(|name| name.ends_with(".parquet")).collect();
        let (one, two) = (dir.join(folder).join(&parts[0]), dir.join(folder).join(&parts[1]));
        let bytes = fs::read(&one).unwrap();
        fs::copy(&two, &one).unwrap();
        verify(&dir).exits(1).prints(&[&parts[0]]);
        fs::write(&one, bytes).unwrap();
    }
    // A whole commit of another run is not this run's.
    let other = place.path("other");
    run(&manifest, &other, &["--set", "filter.gopher_quality.min_words=120"]).exits(0);
    let commit = fs::read(dir.join("filter/_commit.json")).unwrap();
    fs::copy(other.join("filter/_commit.json"), dir.join("filter/_commit.json")).unwrap();
    verify(&dir).exits(1).prints(&["/filter/part-"]);
    fs::write(dir.join("filter/_commit.json"), commit).unwrap();
    fs::copy(other.join("run.json"), dir.join("run.json")).unwrap();
    verify(&dir).exits(1).prints(&["/run.json: it does not follow from what is committed"]);
}

#[test]
fn a_damaged_commit_stops_a_run() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let path = dir.join("filter/_commit.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"kept\": ", "\"kept\": 1", 1)).unwrap();
    run(&manifest, &dir, &[]).exits(70).says(&["filter/_commit.json", "is damaged"]);
    fs::remove_file(&path).unwrap();
    run(&manifest, &dir, &[]).exits(0);
    verify(&dir).exits(0);
}
