//! The same bytes for any number of threads and any order of sources, patterns and files.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{Place, assert_same, corpus, files, run, tree};

#[test]
fn threads_have_no_say() {
    let place = Place::new();
    let manifest = corpus(&place, 40);
    let run_with = |threads: &str| {
        let dir = place.path(threads);
        run(&manifest, &dir, &["--threads", threads]).exits(0);
        tree(&dir)
    };
    let one = run_with("1");
    for threads in ["2", "8"] {
        assert_same(&run_with(threads), &one, &format!("{threads} threads"));
    }
}

#[test]
fn memory_has_no_say() {
    let place = Place::new();
    let manifest = corpus(&place, 40);
    let (small, large) = (place.path("small"), place.path("large"));
    run(&manifest, &small, &["--memory", "512MiB"]).exits(0);
    run(&manifest, &large, &["--memory", "8GiB"]).exits(0);
    assert_same(&tree(&small), &tree(&large), "512 MiB");
}

#[test]
fn the_order_of_inputs_has_no_say() {
    let (place, shuffled) = (Place::new(), Place::new());
    let manifest = corpus(&place, 30);
    let text = fs::read_to_string(corpus(&shuffled, 30)).unwrap();

    // Sources the other way round, patterns of a source likewise.
    let sources = text.find("[[source]]").unwrap();
    let rest = text.find("[clean]").unwrap();
    let mut tables: Vec<&str> = text[sources..rest].split_inclusive("\n\n").collect();
    tables.reverse();
    let other = [&text[..sources], &tables.concat(), &text[rest..]].concat();
    let patterns = ["\"data/web/[ab].jsonl\"", "\"data/web/copies.jsonl\""];
    let other = other.replace(&patterns.join(", "), &[patterns[1], patterns[0]].join(", "));
    assert!(other.contains("copies.jsonl\", "));
    let other = shuffled.write("manifest.toml", other);

    // Files made in another order, with other times.
    let mut inputs = Vec::new();
    crate::support::visit(&shuffled.path("data"), &mut |path| inputs.push(path.to_owned()));
    inputs.sort_by(|a, b| b.cmp(a));
    for (number, path) in inputs.iter().enumerate() {
        make_again(path, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 * (number as u64 + 1)));
    }

    let (dir, other_dir) = (place.path("run"), shuffled.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    run(&other, &other_dir, &[]).exits(0);
    let (mut one, mut two) = (tree(&dir), tree(&other_dir));
    // run.json lists the sources in the manifest's order; all else is equal to the byte.
    let [one_report, two_report] = [one.remove("run.json"), two.remove("run.json")].map(|report| {
        let mut report: serde_json::Value = serde_json::from_slice(&report.unwrap()).unwrap();
        report["sources"].as_array_mut().unwrap().sort_by_key(|source| source["name"].to_string());
        report
    });
    assert_eq!(one_report, two_report);
    assert_same(&two, &one, "another order");
}

fn make_again(path: &Path, modified: SystemTime) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn another_shard_size_gives_the_same_rows() {
    let place = Place::new();
    let manifest = corpus(&place, 40);
    let (small, large) = (place.path("small"), place.path("large"));
    run(&manifest, &small, &[]).exits(0);
    run(&manifest, &large, &["--set", "run.shard_size=1GiB"]).exits(0);
    assert!(files(&small, "documents").len() > files(&large, "documents").len());
    for table in ["documents", "filter", "near_dedup", "tokens", "quality", "buckets", "mix/general", "mixture/general"]
    {
        let (small, large) = (crate::support::content(&small, table), crate::support::content(&large, table));
        assert_eq!(small, large, "{table}");
    }
}
