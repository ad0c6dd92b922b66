//! What changed is redone with what follows, and nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use curate_schemas::commit::Commit;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::support::{
    Outcome, Place, STAGES, assert_same, content, corpus, curate, fixture_lines, query, report,
    run, tree, visit,
};

/// When each file of a run directory was last written; `.curate/` aside.
fn times(run: &Path) -> BTreeMap<String, SystemTime> {
    let mut times = BTreeMap::new();
    visit(run, &mut |path| {
        let name = path.strip_prefix(run).unwrap().to_str().unwrap().to_owned();
        times.insert(name, fs::metadata(path).unwrap().modified().unwrap());
    });
    times.retain(|name, _| !name.starts_with(".curate/"));
    times
}

/// Overwrites a file with as many other bytes and gives it its time back: whoever reads it finds
/// out.
fn spoil(path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    fs::write(path, vec![0xff; metadata.len() as usize]).unwrap();
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(metadata.modified().unwrap())
        .unwrap();
}

/// Overwrites the column `text` in every file of `documents`; all other columns can be read as
/// before.
fn spoil_text(run: &Path) {
    for name in crate::support::files(run, "documents") {
        let path = run.join("documents").join(name);
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for group in reader.metadata().row_groups() {
            let text = group
                .columns()
                .iter()
                .find(|column| column.column_path().string() == "text")
                .unwrap();
            let (start, length) = text.byte_range();
            file.write_all_at(&vec![0xff; length as usize], start)
                .unwrap();
        }
    }
}

#[track_caller]
fn computes(outcome: Outcome, computed: &str, cached: &str) {
    let line = format!("\ncomputed: {computed}; cached: {cached}; in ");
    outcome.exits(0).prints(&[&line]);
}

#[test]
fn a_second_run_computes_nothing_and_reads_no_text() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    spoil_text(&dir);
    visit(&place.path("data"), &mut spoil);
    let before = times(&dir);
    let outcome = run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["everything was cached in "]);
    for stage in STAGES.iter().chain(&[
        "coverage",
        "buckets",
        "mix/general",
        "mixture/general",
        "mix/long",
        "mixture/long",
    ]) {
        assert!(
            outcome.stderr.contains(&format!("{stage}: cached\n")),
            "{stage}: {}",
            outcome.stderr
        );
    }
    assert_eq!(times(&dir), before);
    // Who does read it finds out.
    curate(["verify".as_ref(), dir.as_os_str()])
        .exits(1)
        .prints(&["/documents/part-00000-"]);
}

#[test]
fn a_changed_threshold_redoes_verdicts_and_copies_token_counts() {
    // Near-duplicates are told by their signatures, because exact verification reads text.
    const SET: &str = "--set";
    const SIGNED: [&str; 2] = [
        "dedup.near.verify=estimate",
        "dedup.near.keep_signatures=true",
    ];
    const TO_QUALITY: [&str; 6] = ["--until", "quality", SET, SIGNED[0], SET, SIGNED[1]];
    let place = Place::new();
    // Without a model, which reads the texts of documents that come back.
    let text = fs::read_to_string(corpus(&place, 40)).unwrap();
    let (start, end) = (
        text.find("[score.perplexity]").unwrap(),
        text.find("[[quality.veto]]").unwrap(),
    );
    let manifest = place.write("manifest.toml", [&text[..start], &text[end..]].concat());
    let (dir, fresh) = (place.path("run"), place.path("fresh"));
    run(&manifest, &dir, &TO_QUALITY).exits(0);
    let first = tree(&dir);
    spoil_text(&dir);
    let before = times(&dir);
    let changed = [
        &TO_QUALITY[..],
        &["--set", "filter.gopher_quality.min_words=120"],
    ]
    .concat();
    let redone =
        "filter, exact_dedup, near_dedup, paragraph_dedup, pii, tokens, ngram, score, quality";
    computes(
        run(&manifest, &dir, &changed),
        redone,
        "documents, coverage, language, signals, signatures",
    );
    for (name, time) in times(&dir) {
        let kept = ["documents", "language", "signals", "signatures"]
            .iter()
            .any(|stage| name.starts_with(stage));
        assert!(!kept || before[&name] == time, "{name} was written again");
    }
    run(&manifest, &fresh, &changed).exits(0);
    let without_documents = |mut tree: BTreeMap<String, Vec<u8>>| {
        tree.retain(|name, _| !name.starts_with("documents/part-"));
        tree
    };
    assert_same(
        &without_documents(tree(&dir)),
        &without_documents(tree(&fresh)),
        "a changed threshold",
    );
    computes(
        run(&manifest, &dir, &TO_QUALITY),
        redone,
        "documents, coverage, language, signals, signatures",
    );
    assert_same(
        &without_documents(tree(&dir)),
        &without_documents(first),
        "the former threshold",
    );
}

#[test]
fn a_changed_mixture_redoes_itself_only() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let outcome = run(&manifest, &dir, &["--set", "mixture.long.tokens=39_000"]);
    let cached = [
        &["documents", "coverage"][..],
        &STAGES[1..],
        &["buckets", "mix/general", "mixture/general"],
    ]
    .concat()
    .join(", ");
    computes(outcome, "mix/long, mixture/long", &cached);
}

/// Stages whose shards do not depend on other shards.
const SHARD_SCOPE: [&str; 5] = ["documents", "language", "signals", "signatures", "filter"];

/// Every table's rows are those of a run that never knew another input.
#[track_caller]
fn assert_rows_of_a_fresh_run(place: &Place, manifest: &Path, dir: &Path) {
    let fresh = place.path("fresh");
    run(manifest, &fresh, &[]).exits(0);
    for table in STAGES
        .iter()
        .chain(&["buckets", "mix/general", "mixture/general"])
    {
        assert_eq!(content(dir, table), content(&fresh, table), "{table}");
    }
    assert_eq!(
        fs::read(dir.join("run.json")).unwrap(),
        fs::read(fresh.join("run.json")).unwrap()
    );
}

#[test]
fn a_new_input_adds_shards_and_a_lost_one_takes_its_own_away() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let before = times(&dir);
    let of_shards = |times: &BTreeMap<String, SystemTime>| {
        let mut times = times.clone();
        times.retain(|name, _| {
            name.ends_with(".parquet")
                && SHARD_SCOPE
                    .iter()
                    .any(|stage| name.starts_with(&format!("{stage}/")))
        });
        times
    };

    // Its name sorts before those of its source that are there already.
    let added = place.write(
        "data/manuals/0.jsonl",
        fixture_lines("manuals-001.jsonl.zst", 200..230),
    );
    run(&manifest, &dir, &[]).exits(0);
    let after = times(&dir);
    for (name, time) in of_shards(&before) {
        assert_eq!(after.get(&name), Some(&time), "{name}");
    }
    assert!(of_shards(&after).len() > of_shards(&before).len());
    assert_rows_of_a_fresh_run(&place, &manifest, &dir);

    fs::remove_file(added).unwrap();
    fs::remove_dir_all(place.path("fresh")).unwrap();
    run(&manifest, &dir, &[]).exits(0);
    assert_eq!(of_shards(&times(&dir)), of_shards(&before));
    assert_rows_of_a_fresh_run(&place, &manifest, &dir);
}

#[test]
fn a_changed_input_redoes_its_own_shards() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let before = times(&dir);
    place.write(
        "data/web/b.jsonl",
        fixture_lines("web-002.jsonl.zst", 40..60),
    );
    run(&manifest, &dir, &[]).exits(0);
    let after = times(&dir);
    let same =
        |name: &&String| name.starts_with("signals/part") && before.get(*name) == after.get(*name);
    let signals = |times: &BTreeMap<String, SystemTime>| {
        times
            .keys()
            .filter(|name| name.starts_with("signals/part"))
            .count()
    };
    let kept = after.keys().filter(same).count();
    assert!(
        kept > 0 && kept < signals(&after) && kept < signals(&before),
        "{kept} shards were kept"
    );
    assert_rows_of_a_fresh_run(&place, &manifest, &dir);
}

#[test]
fn a_touched_input_is_read_and_nothing_else_is_done() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let before = times(&dir);
    let input = place.path("data/web/a.jsonl");
    File::options()
        .write(true)
        .open(&input)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["everything was cached in "]);
    assert_eq!(times(&dir), before);
    // Its new time is known from then on.
    spoil(&input);
    run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["everything was cached in "]);
}

#[test]
fn what_was_deleted_comes_back_with_the_same_bytes() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 20), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let whole = tree(&dir);
    let mut lost = vec!["run.json".to_owned(), "views.sql".to_owned()];
    for folder in STAGES.iter().chain(&[
        "near_dedup_evidence",
        "buckets",
        "mix/long",
        "mixture/general",
    ]) {
        let part = whole
            .keys()
            .rfind(|name| name.starts_with(&format!("{folder}/part-")))
            .unwrap();
        lost.push(part.clone());
        if *folder != "near_dedup_evidence" {
            lost.push(format!("{folder}/_commit.json"));
        }
    }
    for name in lost {
        fs::remove_file(dir.join(&name)).unwrap();
        run(&manifest, &dir, &[]).exits(0);
        assert_same(&tree(&dir), &whole, &format!("without {name}"));
    }
}

#[test]
fn another_format_reads_the_same_file_again() {
    let place = Place::new();
    place.write("lines.txt", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    let manifest = place.write(
        "manifest.toml",
        "[run]\nname = \"format\"\n[[source]]\nname = \"s\"\npath = \"lines.txt\"\n",
    );
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    assert_eq!(report(&dir)["docs_in"], 1);
    run(&manifest, &dir, &["--set", "source.s.format=jsonl"]).exits(0);
    assert_eq!(report(&dir)["docs_in"], 2);
}

/// The counts were once those of the texts as `[dedup.paragraphs]` had left them.
#[test]
fn tokens_are_counted_again_once_paragraphs_stay() {
    let place = Place::new();
    let shared = "This paragraph stands in every document, and it is long enough to be cut out of all but one.";
    let records: String = (0..30)
        .map(|n| {
            let own = format!(
                "Document {n} begins with a paragraph about the number {}.",
                n * 7919
            );
            let text = format!(
                "{own}\\n\\n{shared}\\n\\nIt ends with the number {}.",
                n * 31
            );
            format!("{{\"text\": \"{text}\"}}\n")
        })
        .collect();
    place.write("in.jsonl", records);
    let plain = "[run]\nname = \"p\"\n[[source]]\nname = \"s\"\npath = \"in.jsonl\"\n";
    let cut = place.write("cut.toml", format!("{plain}[dedup.paragraphs]\n"));
    let plain = place.write("plain.toml", plain);
    let (dir, fresh) = (place.path("run"), place.path("fresh"));
    let tokens = |dir: &Path| query(dir, "SELECT sum(tokens) FROM tokens");

    run(&cut, &dir, &[]).exits(0);
    let of_cut_texts = tokens(&dir);
    run(&plain, &dir, &[]).exits(0);
    run(&plain, &fresh, &[]).exits(0);
    assert_ne!(of_cut_texts, tokens(&fresh));
    assert_same(&tree(&dir), &tree(&fresh), "without paragraphs again");
}

/// Turns the commit of a stage into one that an earlier version of its code wrote.
fn make_older(dir: &Path, stage: &str) {
    let path = dir.join(stage).join("_commit.json");
    let mut commit: Commit = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    commit.version -= 1;
    commit.digest = String::new();
    for file in &mut commit.files {
        file.key = curate_store::key::of_parts(stage, commit.version, &file.parts);
    }
    commit.digest = blake3::hash(&serde_json::to_vec(&commit).unwrap())
        .to_hex()
        .to_string();
    let text = serde_json::to_string_pretty(&commit).unwrap();
    fs::write(path, text + "\n").unwrap();
}

#[test]
fn a_run_directory_of_an_older_version_is_named_and_read() {
    let place = Place::new();
    let (manifest, dir) = (corpus(&place, 12), place.path("run"));
    run(&manifest, &dir, &[]).exits(0);
    let fresh = tree(&dir);
    let id = query(&dir, "SELECT doc_id FROM tokens LIMIT 1").remove(0);
    make_older(&dir, "tokens");
    let of = |words: &[&str]| {
        curate(
            words
                .iter()
                .map(|word| word.replace("DIR", dir.to_str().unwrap())),
        )
    };

    // A plan says why; status and export use `run.json`; verify checks the bytes; a trace reads.
    let why = "version 3 of the stage tokens wrote it, this program has version 4";
    let set = ["plan", manifest.to_str().unwrap(), "--run-dir", "DIR"];
    of(&set).exits(0).prints(&[
        &format!("tokens: 10 of 10 shards to do: {why}"),
        "filter: 10 shards, cached",
    ]);
    of(&["status", "DIR"])
        .exits(0)
        .prints(&["near_dedup"])
        .says(&["run.json", why]);
    of(&["verify", "DIR"])
        .exits(0)
        .prints(&["whole", "only bytes were checked", why]);
    of(&["trace", "DIR", &id])
        .exits(0)
        .prints(&["tokens: ", "quality: "]);
    let export = place.path("export");
    of(&["export", "DIR", "general", "-o", export.to_str().unwrap()])
        .exits(0)
        .says(&[why]);
    assert!(export.join("README.md").exists());

    // Without `run.json` nobody knows the figures.
    fs::rename(dir.join("run.json"), place.path("kept.json")).unwrap();
    of(&["status", "DIR"])
        .exits(2)
        .says(&[why, "hint: run the manifest again"]);
    fs::rename(place.path("kept.json"), dir.join("run.json")).unwrap();

    // A run makes again what changed, and ends as a fresh one.
    run(&manifest, &dir, &[])
        .exits(0)
        .prints(&["computed: tokens"]);
    assert_same(&tree(&dir), &fresh, "a run over an older directory");

    // Another layout is refused, with the release that reads it.
    let owner = dir.join(".curate/run.json");
    let text = fs::read_to_string(&owner)
        .unwrap()
        .replace("\"format\": 2", "\"format\": 1");
    fs::write(owner, text.replace(env!("CARGO_PKG_VERSION"), "0.0.9")).unwrap();
    of(&["status", "DIR"])
        .exits(2)
        .says(&["has format 1", "or curate 0.0.9"]);
}

/// The stages that a plan finds cached, and those that it finds to do, in order.
fn planned(stdout: &str) -> [Vec<String>; 2] {
    let lines = stdout.lines().filter(|line| {
        ![" ", "then ", "note: "]
            .iter()
            .any(|start| line.starts_with(start))
    });
    let named = lines.map(|line| {
        let (name, state) = line.split_once(": ").unwrap();
        (name.to_owned(), state.ends_with("cached"))
    });
    let (cached, to_do): (Vec<_>, Vec<_>) = named.partition(|(_, is_cached)| *is_cached);
    [cached, to_do].map(|list| list.into_iter().map(|(name, _)| name).collect())
}

/// The stages that a run found cached, and those that it computed, in order.
fn done(stdout: &str) -> [Vec<String>; 2] {
    let line = stdout.lines().rfind(|line| line.starts_with("computed: "));
    let Some(line) = line else {
        assert!(stdout.contains("everything was cached in "), "{stdout}");
        return [vec!["everything".to_owned()], Vec::new()];
    };
    let (computed, rest) = line
        .strip_prefix("computed: ")
        .unwrap()
        .split_once("; cached: ")
        .unwrap();
    let (cached, _) = rest.split_once("; in ").unwrap();
    [cached, computed].map(|list| {
        let names = list.split(", ").filter(|name| *name != "nothing");
        names.map(str::to_owned).collect()
    })
}

/// Plans a run, runs it, and compares which stages are cached. Returns what the plan printed.
#[track_caller]
fn assert_plan_and_run_agree(manifest: &Path, dir: &Path, more: &[&str]) -> String {
    let mut words = vec!["plan", manifest.to_str().unwrap()];
    words.extend(["--run-dir", dir.to_str().unwrap()]);
    words.extend(more);
    let plan = curate(words).exits(0).stdout;
    let outcome = run(manifest, dir, more).exits(0);

    let [mut cached, to_do] = planned(&plan);
    if to_do.is_empty() {
        cached = vec!["everything".to_owned()];
    }
    assert_eq!([cached, to_do], done(&outcome.stdout), "{more:?}: {plan}");
    plan
}

#[test]
fn a_plan_and_the_run_after_it_agree_on_what_is_cached() {
    let place = Place::new();
    // Without a model, which is no part of the question and takes most of the time.
    let text = fs::read_to_string(corpus(&place, 20)).unwrap();
    let (start, end) = (
        text.find("[score.perplexity]").unwrap(),
        text.find("[[quality.veto]]").unwrap(),
    );
    let text = [&text[..start], &text[end..]].concat();
    // Small mixtures, which any of the pools below can give.
    let text = text
        .replace("= 20_000\n", "= 2_000\n")
        .replace("= 40_000\n", "= 4_000\n");
    let manifest = place.write("manifest.toml", &text);
    let dir = place.path("run");
    run(&manifest, &dir, &[]).exits(0);
    let same = |more: &[&str]| assert_plan_and_run_agree(&manifest, &dir, more);

    // Nothing changed, a threshold changed, and it changed back.
    same(&[]);
    let threshold = ["--set", "filter.gopher_quality.min_words=120"];
    let plan = same(&threshold);
    assert!(
        plan.contains("near_dedup: 13 of 13 shards to do: exact_dedup changed"),
        "{plan}"
    );
    assert!(
        plan.contains("buckets: to do: tokens and quality changed"),
        "{plan}"
    );
    same(&[]);

    // A run that ended early, before and behind the change.
    same(&["--until", "filter"]);
    same(&[&threshold[..], &["--until", "filter"]].concat());
    same(&[&threshold[..], &["--until", "exact_dedup"]].concat());
    same(&["--until", "signatures"]);
    same(&["--until", "documents"]);
    same(&["--until", "coverage"]);
    same(&[]);

    // Settings of other stages, of the tokenizer's scope, of a mixture.
    same(&["--set", "tokens.scope=survivors"]);
    same(&["--set", "language.min_confidence=0.2"]);
    same(&["--set", "quality.combine=mean"]);
    same(&["--set", "mixture.long.tokens=3_900"]);
    same(&[]);

    // A source removed and back, mixtures removed and back, sources in another order.
    let at = |part: &str| text.find(part).unwrap();
    let sources = [
        &text[at("[[source]]\nname = \"manuals\"")..at("[[source]]\nname = \"web\"")],
        &text[at("[[source]]\nname = \"web\"")..at("[[source]]\nname = \"notes\"")],
        &text[at("[[source]]\nname = \"notes\"")..at("[clean]")],
    ];
    let head = &text[..at("[[source]]")];
    let rest = &text[at("[clean]")..];
    let without_mixtures = &rest[..rest.find("[[mixture]]").unwrap()];
    for changed in [
        [head, sources[0], sources[1], rest].concat(),
        text.clone(),
        [head, sources[2], sources[1], sources[0], rest].concat(),
        [head, sources[0], sources[1], sources[2], without_mixtures].concat(),
        text.clone(),
    ] {
        fs::write(&manifest, changed).unwrap();
        same(&[]);
    }

    // A file removed, a new one, a changed one, and a tokenizer of another name.
    fs::remove_file(place.path("data/web/copies.jsonl")).unwrap();
    fs::write(&manifest, text.replace(", \"data/web/copies.jsonl\"", "")).unwrap();
    let plan = same(&["--until", "coverage"]);
    assert!(
        plan.contains("coverage: to do: documents changed"),
        "{plan}"
    );
    same(&[]);
    place.write(
        "data/manuals/c.jsonl",
        fixture_lines("manuals-001.jsonl.zst", 200..220),
    );
    let plan = same(&[]);
    assert!(
        plan.contains(" shards cached, and the new files to do"),
        "{plan}"
    );
    place.write(
        "data/web/b.jsonl",
        fixture_lines("web-002.jsonl.zst", 40..60),
    );
    same(&[]);

    // A lost file of a further table is no shard, and its stage is done again.
    let evidence = crate::support::tree(&dir).into_keys();
    let evidence = evidence.filter(|name| name.starts_with("near_dedup_evidence/part-"));
    for name in evidence {
        fs::remove_file(dir.join(name)).unwrap();
    }
    let plan = same(&[]);
    let line = "near_dedup: the table near_dedup_evidence to do: a file is not as it was committed";
    assert!(plan.contains(line), "{plan}");
    same(&[]);
}
