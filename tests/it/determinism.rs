//! The same bytes for any number of threads and any order of sources, patterns and files.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{
    Place, assert_same, corpus, figure, files, fixture_lines, outcome, run, run_command, tree,
};

#[test]
fn threads_and_batches_have_no_say() {
    let place = Place::in_memory();
    let manifest = corpus(&place, 20);
    let mut first = None;
    let mut cells = 0;
    for threads in ["1", "2", "8"] {
        for batch in ["1", "7", "8192"] {
            let dir = place.path("run");
            run(
                &manifest,
                &dir,
                &["--threads", threads, "--batch-rows", batch],
            )
            .exits(0);
            let found = tree(&dir);
            assert_same(
                &found,
                first.get_or_insert_with(|| found.clone()),
                &format!("{threads} threads, {batch} rows"),
            );
            fs::remove_dir_all(&dir).unwrap();
            cells += 1;
        }
    }
    figure("threads × rows of a batch, bytes equal", cells);
}

#[test]
fn locale_and_time_zone_have_no_say() {
    let place = Place::in_memory();
    let manifest = corpus(&place, 20);
    let mut trees = Vec::new();
    for (locale, zone) in [
        ("C", "UTC"),
        ("tr_TR.UTF-8", "Pacific/Kiritimati"),
        ("de_DE.UTF-8", "America/St_Johns"),
    ] {
        let dir = place.path("run");
        let mut command = run_command(&manifest, &dir, &[]);
        outcome(
            command
                .env("LC_ALL", locale)
                .env("LANG", locale)
                .env("TZ", zone),
        )
        .exits(0);
        trees.push(tree(&dir));
        fs::remove_dir_all(&dir).unwrap();
    }
    for found in &trees[1..] {
        assert_same(found, &trees[0], "another locale and time zone");
    }
    figure("locales and time zones, bytes equal", trees.len());
}

/// Shards that records of these sizes make.
fn shards(sizes: &[usize], shard_size: usize) -> usize {
    let (mut shards, mut held) = (0, 0);
    for size in sizes {
        held += size;
        if held >= shard_size {
            (shards, held) = (shards + 1, 0);
        }
    }
    shards + usize::from(held > 0)
}

#[test]
fn the_number_of_shards_has_no_say() {
    let place = Place::in_memory();
    let mut texts = Vec::new();
    for name in [
        "web-000.jsonl.zst",
        "web-001.jsonl.zst",
        "web-002.jsonl.zst",
    ] {
        for line in fixture_lines(name, 0..100_000).lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            texts.push(record["text"].as_str().unwrap().to_owned());
        }
    }
    let lines: String = texts
        .iter()
        .map(|text| format!("{}\n", serde_json::json!({ "text": text })))
        .collect();
    place.write("in.jsonl", lines);
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"shards\"\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\n[language]\n[filter.gopher_quality]\n[dedup.exact]\n[dedup.near]\n\
         [[mixture]]\nname = \"m\"\ntokens = 50_000\n",
    );
    let sizes: Vec<usize> = texts.iter().map(String::len).collect();
    let mut all = Vec::new();
    for wanted in [1, 5, 64] {
        let least = sizes.iter().sum::<usize>() / wanted;
        let size = (65_536..=least + 1)
            .rev()
            .find(|size| shards(&sizes, *size) == wanted)
            .unwrap();
        let dir = place.path("run");
        run(
            &manifest,
            &dir,
            &["--set", &format!("run.shard_size={size}B")],
        )
        .exits(0);
        assert_eq!(files(&dir, "documents").len(), wanted);
        let tables =
            crate::support::STAGES
                .iter()
                .copied()
                .chain(["buckets", "mix/m", "mixture/m"]);
        all.push(
            tables
                .map(|table| (table, crate::support::content(&dir, table)))
                .collect::<Vec<_>>(),
        );
        fs::remove_dir_all(&dir).unwrap();
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
    figure(
        "numbers of shards (1, 5, 64), content digests equal",
        all.len(),
    );
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
    crate::support::visit(&shuffled.path("data"), &mut |path| {
        inputs.push(path.to_owned())
    });
    inputs.sort_by(|a, b| b.cmp(a));
    for (number, path) in inputs.iter().enumerate() {
        make_again(
            path,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 * (number as u64 + 1)),
        );
    }

    let (dir, other_dir) = (place.path("run"), shuffled.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    run(&other, &other_dir, &[]).exits(0);
    let (mut one, mut two) = (tree(&dir), tree(&other_dir));
    // run.json lists the sources in the manifest's order; all else is equal to the byte.
    let [one_report, two_report] = [one.remove("run.json"), two.remove("run.json")].map(|report| {
        let mut report: serde_json::Value = serde_json::from_slice(&report.unwrap()).unwrap();
        report["sources"]
            .as_array_mut()
            .unwrap()
            .sort_by_key(|source| source["name"].to_string());
        report
    });
    assert_eq!(one_report, two_report);
    assert_same(&two, &one, "another order");
}

fn make_again(path: &Path, modified: SystemTime) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
}

#[test]
fn another_shard_size_gives_the_same_rows() {
    let place = Place::new();
    let manifest = corpus(&place, 40);
    let (small, large) = (place.path("small"), place.path("large"));
    run(&manifest, &small, &[]).exits(0);
    run(&manifest, &large, &["--set", "run.shard_size=1GiB"]).exits(0);
    assert!(files(&small, "documents").len() > files(&large, "documents").len());
    for table in [
        "documents",
        "filter",
        "near_dedup",
        "tokens",
        "quality",
        "buckets",
        "mix/general",
        "mixture/general",
    ] {
        let (small, large) = (
            crate::support::content(&small, table),
            crate::support::content(&large, table),
        );
        assert_eq!(small, large, "{table}");
    }
}
