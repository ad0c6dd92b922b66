//! `dedup.against` with the run directory itself, and with other runs that cannot be compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use curate_schemas::commit::Commit;
use serde_json::json;

use crate::support::{
    Outcome, Place, Random, assert_same, check, outcome, query, run_command, tree,
};

const WORDS: [&str; 16] = [
    "copper", "kettle", "narrow", "garden", "letter", "valley", "winter", "candle", "bridge",
    "market", "signal", "harbour", "orchard", "lantern", "meadow", "granite",
];

/// Texts of 40 words, 20 texts from the number `first` on. The same number is the same text.
fn texts(first: u64) -> String {
    let text = |number: u64| {
        let mut random = Random::new(number + 1);
        let words: Vec<&str> = (0..40).map(|_| WORDS[random.below(16) as usize]).collect();
        format!("{}\n", json!({ "id": number, "text": words.join(" ") }))
    };
    (first..first + 20).map(text).collect()
}

/// A folder with the manifests `ra` and `rb`. Ten of their texts are the same.
fn place() -> Place {
    let place = Place::new();
    for (name, first) in [("ra", 0), ("rb", 10)] {
        place.write(&format!("{name}.jsonl"), texts(first));
        place.write(
            &format!("{name}.toml"),
            format!(
                "[run]\nname = \"{name}\"\n[[source]]\nname = \"s\"\npath = \"{name}.jsonl\"\nid = \"id\"\n\
                 [dedup.exact]\n[dedup.near]\n"
            ),
        );
    }
    place
}

/// Runs a manifest in its folder, into `runs/<name>`.
fn curate(place: &Place, name: &str, more: &[&str]) -> Outcome {
    let mut command = run_command(
        Path::new(&format!("{name}.toml")),
        &Path::new("runs").join(name),
        more,
    );
    outcome(command.current_dir(place.path("")))
}

/// Runs the manifest `rb` with these earlier runs.
fn compared(place: &Place, against: &[&str], more: &[&str]) -> Outcome {
    let set = format!("dedup.against={}", json!(against));
    curate(place, "rb", &[&["--set", &set][..], more].concat())
}

/// Asks for the plan of the manifest `rb` with these earlier runs.
fn planned(place: &Place, against: &[&str], more: &[&str]) -> Outcome {
    let set = format!("dedup.against={}", json!(against));
    let plan = ["plan", "rb.toml", "--run-dir", "runs/rb", "--set", &set];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_curate"));
    outcome(command.args(plan).args(more).current_dir(place.path("")))
}

/// The files of the run `rb`. Those that say who holds the lock are left out.
fn files(place: &Place) -> BTreeMap<String, Vec<u8>> {
    tree(&place.path("runs/rb"))
}

/// Fails the test unless a run and a plan refuse these earlier runs, and leave the run `rb` as it
/// was.
#[track_caller]
fn refused(place: &Place, against: &[&str], more: &[&str], code: i32, says: &[&str]) {
    let before = files(place);
    compared(place, against, more).exits(code).says(says);
    planned(place, against, more).exits(code).says(says);
    assert_same(&files(place), &before, &format!("{against:?}"));
}

#[test]
fn the_run_itself_is_refused_under_any_name() {
    let place = place();
    for name in ["ra", "rb"] {
        curate(&place, name, &[]).exits(0);
    }
    symlink("rb", place.path("runs/link")).unwrap();
    symlink(place.path("runs"), place.path("elsewhere")).unwrap();

    let full = place.path("runs/rb");
    let full = full.to_str().unwrap();
    let names = [
        "runs/rb",
        "runs/rb/",
        "./runs/rb",
        "runs/ra/../rb",
        "runs/rb/signals/..",
        "runs/link",
        "elsewhere/rb",
        full,
    ];
    for name in names {
        let says = format!("dedup.against: {name} is the directory of this run, runs/rb");
        refused(
            &place,
            &[name],
            &[],
            2,
            &[&says, "hint: name earlier runs only"],
        );
        refused(&place, &["runs/ra", name], &[], 2, &[&says]);
    }

    // The run directory may be the one with the other spelling.
    let set = "dedup.against=[\"runs/rb\"]";
    let link = Path::new("elsewhere/link");
    let mut command = run_command(Path::new("rb.toml"), link, &["--set", set]);
    outcome(command.current_dir(place.path("")))
        .exits(2)
        .says(&["is the directory of this run, elsewhere/link"]);

    // The finished run is whole: without the mistake nothing is done again.
    curate(&place, "rb", &[])
        .exits(0)
        .prints(&["everything was cached"]);
}

#[test]
fn one_run_is_not_named_twice() {
    let place = place();
    for name in ["ra", "rb"] {
        curate(&place, name, &[]).exits(0);
    }
    symlink("ra", place.path("runs/again")).unwrap();
    for other in ["./runs/ra", "runs/again"] {
        let says = format!("dedup.against: runs/ra and {other} are one run directory");
        refused(&place, &["runs/ra", other], &[], 2, &[&says]);
    }
}

#[test]
fn a_run_without_a_valid_near_dedup_is_refused() {
    let place = place();
    curate(&place, "rb", &[]).exits(0);
    refused(
        &place,
        &["runs/ra"],
        &[],
        2,
        &["dedup.against: runs/ra", "is not a run directory"],
    );

    for until in ["documents", "signatures", "exact_dedup"] {
        curate(&place, "ra", &["--until", until]).exits(0);
        refused(
            &place,
            &["runs/ra"],
            &[],
            2,
            &["dedup.against: runs/ra: stage ", " has not run there"],
        );
    }

    // A run that ended here has all that is compared.
    curate(&place, "ra", &["--until", "near_dedup"]).exits(0);
    let commit = place.path("runs/ra/near_dedup/_commit.json");
    let stale = commit.with_file_name("_stale.json");
    let sound = fs::read(&commit).unwrap();

    // Retired: its inputs have changed.
    fs::rename(&commit, &stale).unwrap();
    let missing = "dedup.against: runs/ra: stage near_dedup has not run there";
    refused(
        &place,
        &["runs/ra"],
        &[],
        2,
        &[missing, "--until near_dedup"],
    );
    fs::rename(&stale, &commit).unwrap();

    // Damaged.
    let damaged = String::from_utf8(sound.clone())
        .unwrap()
        .replace("\"rows\": 20", "\"rows\": 21");
    for bytes in [damaged.as_bytes(), &sound[..sound.len() / 2], b""] {
        fs::write(&commit, bytes).unwrap();
        let says = [
            "dedup.against: runs/ra: ",
            "near_dedup/_commit.json is damaged",
        ];
        refused(&place, &["runs/ra"], &[], 2, &says);
    }
    fs::write(&commit, &sound).unwrap();

    // Without one of its files.
    let file = file_of(&place, "near_dedup");
    let away = place.path("away.parquet");
    fs::rename(&file, &away).unwrap();
    let says = ["dedup.against: runs/ra: ", "is not as it was committed"];
    refused(&place, &["runs/ra"], &[], 2, &says);
    fs::rename(&away, &file).unwrap();

    // Whole again, it is compared. Ten texts are in both.
    compared(&place, &["runs/ra"], &[]).exits(0);
    check(&place.path("runs/rb"), None).exits(0);
    assert_eq!(duplicates(&place), ["10"]);
}

/// The only file of a table of the run `ra`.
fn file_of(place: &Place, table: &str) -> PathBuf {
    let name = crate::support::files(&place.path("runs/ra"), table).remove(0);
    place.path("runs/ra").join(table).join(name)
}

/// The number of documents of the run `rb` that are copies of documents of an earlier run.
fn duplicates(place: &Place) -> Vec<String> {
    let sql =
        "SELECT count(*) FROM exact_dedup WHERE removed_by IS NOT NULL AND kept_in IS NOT NULL";
    query(&place.path("runs/rb"), sql)
}

#[test]
fn other_signatures_are_refused_with_what_differs() {
    let place = place();
    for name in ["ra", "rb"] {
        curate(&place, name, &["--until", "near_dedup"]).exits(0);
    }
    for (set, theirs, own) in [
        ("dedup.near.ngram=3", "near.ngram = 5", "near.ngram = 3"),
        ("dedup.near.bands=10", "near.bands = 14", "near.bands = 10"),
        ("dedup.near.rows=4", "near.rows = 8", "near.rows = 4"),
        ("run.seed=9", "near.seed = 0", "near.seed = 9"),
        (
            "dedup.near.family=datatrove-0.10",
            "near.family = \"fast\"",
            "near.family = \"datatrove-0.10\"",
        ),
        (
            "dedup.near.shingles=datatrove-0.10",
            "near.shingles = \"words\"",
            "near.shingles = \"datatrove-0.10\"",
        ),
        (
            "dedup.exact.text=normalized",
            "normalized = false",
            "normalized = true",
        ),
    ] {
        let says = format!(
            "dedup.against: runs/ra: it has signatures of {theirs}, this manifest asks for {own}"
        );
        refused(&place, &["runs/ra"], &["--set", set], 2, &[&says]);
    }

    // A run without [dedup.near] has signatures for exact duplicates alone.
    let text = fs::read_to_string(place.path("rb.toml")).unwrap();
    let exact = text.replace("[dedup.near]\n", "");
    assert!(exact != text, "{text}");
    fs::write(place.path("rb.toml"), &exact).unwrap();
    let says = "dedup.against: runs/ra: it has signatures of [dedup.near], which this manifest does not have";
    refused(&place, &["runs/ra"], &[], 2, &[says]);
    fs::write(place.path("rb.toml"), &text).unwrap();

    // What changes no signature may differ.
    compared(
        &place,
        &["runs/ra"],
        &[
            "--set",
            "dedup.near.min_jaccard=0.9",
            "--until",
            "near_dedup",
        ],
    )
    .exits(0);
    assert_eq!(duplicates(&place), ["10"]);
}

#[test]
fn a_run_of_another_version_is_refused() {
    let place = place();
    for name in ["ra", "rb"] {
        curate(&place, name, &["--until", "near_dedup"]).exits(0);
    }
    for table in ["documents", "signals", "signatures", "near_dedup"] {
        let path = place.path("runs/ra").join(table).join("_commit.json");
        let sound = fs::read(&path).unwrap();
        fs::write(&path, of_version_0(&sound)).unwrap();
        let says =
            format!("dedup.against: runs/ra: its table {table}: version 0 of the stage {table}");
        refused(
            &place,
            &["runs/ra"],
            &[],
            2,
            &[&says, "run the manifest of the earlier run again"],
        );
        fs::write(&path, &sound).unwrap();
    }
}

/// A commit as version 0 of its stage would have written it.
fn of_version_0(sound: &[u8]) -> Vec<u8> {
    let mut commit: Commit = serde_json::from_slice(sound).unwrap();
    commit.version = 0;
    commit.digest = String::new();
    let digest = blake3::hash(&serde_json::to_vec(&commit).unwrap());
    commit.digest = digest.to_hex().to_string();
    let mut text = serde_json::to_vec_pretty(&commit).unwrap();
    text.push(b'\n');
    text
}

#[test]
fn a_run_that_another_process_writes_is_refused() {
    let place = place();
    for name in ["ra", "rb"] {
        curate(&place, name, &["--until", "near_dedup"]).exits(0);
    }

    let lock = File::open(place.path("runs/ra/.curate/lock")).unwrap();
    lock.lock().unwrap();
    refused(
        &place,
        &["runs/ra"],
        &[],
        11,
        &["dedup.against: runs/ra", "another run holds"],
    );
    lock.unlock().unwrap();

    // Readers do not keep each other away, and a directory without a lock file is read.
    lock.lock_shared().unwrap();
    compared(&place, &["runs/ra"], &["--until", "near_dedup"]).exits(0);
    curate(&place, "ra", &["--until", "near_dedup"])
        .exits(11)
        .says(&["dedup.against holds it too"]);
    lock.unlock().unwrap();
    fs::remove_file(place.path("runs/ra/.curate/lock")).unwrap();
    compared(&place, &["runs/ra"], &["--until", "near_dedup"])
        .exits(0)
        .prints(&["everything was cached"]);
}

#[test]
fn a_chain_of_earlier_runs_is_said() {
    let place = place();
    place.write("rc.jsonl", texts(5));
    let manifest = fs::read_to_string(place.path("rb.toml")).unwrap();
    place.write("rc.toml", manifest.replace("rb", "rc"));

    curate(&place, "ra", &["--until", "near_dedup"]).exits(0);
    compared(&place, &["runs/ra"], &["--until", "near_dedup"]).exits(0);
    let against = |runs: &str| {
        let set = format!("dedup.against={runs}");
        curate(&place, "rc", &["--until", "near_dedup", "--set", &set]).exits(0)
    };
    let says = "note: dedup.against: runs/rb was itself compared with runs/ra";
    against("[\"runs/rb\"]").says(&[says]);
    let both = against("[\"runs/rb\", \"runs/ra\"]");
    assert!(
        !both.stderr.contains("was itself compared"),
        "{}",
        both.stderr
    );
}
