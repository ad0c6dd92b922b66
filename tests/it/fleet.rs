//! Shards that other processes compute: the bytes are those of one process, whatever the fleet does
//! with its units.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{
    Place, assert_same, check, corpus, curate, fixture_lines, leftovers, run, start, tree,
};

const CURATE: &str = env!("CARGO_BIN_EXE_curate");

/// A command of a fleet: a shell script that is called with a round and numbers of units.
fn fleet(place: &Place, name: &str, script: &str) -> String {
    let script = format!("#!/bin/sh\nround=$1; shift\n{script}\n")
        .replace("CURATE unit", &format!("{CURATE} unit"));
    let path = place.write(name, script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Three processes at a time, each with one unit.
fn three(place: &Place) -> String {
    let script = r#"printf '%s\n' "$@" | xargs -P 3 -n 1 CURATE unit "$round""#;
    fleet(place, "three.sh", script)
}

/// Small shards of twenty documents and of duplicates of some.
fn small(place: &Place) -> PathBuf {
    place.write("data/a.jsonl", fixture_lines("web-000.jsonl.zst", 0..12));
    place.write("data/b.jsonl", fixture_lines("web-000.jsonl.zst", 8..20));
    place.write("data/c.jsonl", fixture_lines("web-001.jsonl.zst", 0..12));
    place.write(
        "manifest.toml",
        r#"
[run]
name = "fleet"
shard_size = "64KiB"

[fleet]
shards = 1

[[source]]
name = "web"
path = "data"

[language]
keep = ["eng"]

[filter.gopher_quality]
[filter.c4]
rewrite = true

[dedup.exact]
[dedup.near]

[score.perplexity]
model = "embedded"

[[mixture]]
name = "general"
tokens = 1_000
"#,
    )
}

#[test]
fn three_processes_give_the_bytes_of_one() {
    let place = Place::new();
    let manifest = corpus(&place, 60);
    let (local, spread) = (place.path("local"), place.path("spread"));

    run(&manifest, &local, &[]).exits(0);
    let fleet = three(&place);
    run(
        &manifest,
        &spread,
        &["--fleet", &fleet, "--set", "fleet.shards=2"],
    )
    .exits(0);

    assert_same(&tree(&spread), &tree(&local), "a fleet of three processes");
    assert_eq!(leftovers(&spread), [] as [&Path; 0]);
    assert!(!spread.join(".curate/rounds").exists());
    check(&spread, None).exits(0);

    // What a fleet made is cached for a run without one, and the other way round.
    let again = run(&manifest, &spread, &[]).exits(0);
    assert!(
        again.stdout.contains("everything was cached"),
        "{}",
        again.stdout
    );
    let again = run(&manifest, &local, &["--fleet", &fleet]).exits(0);
    assert!(
        again.stdout.contains("everything was cached"),
        "{}",
        again.stdout
    );
}

#[test]
fn a_unit_may_run_twice_at_once_and_late() {
    let place = Place::new();
    let manifest = small(&place);
    let (local, twice) = (place.path("local"), place.path("twice"));
    run(&manifest, &local, &[]).exits(0);

    // Both processes of a unit start together, and the rounds are kept for later.
    let kept = place.path("kept");
    fs::create_dir_all(&kept).unwrap();
    let script = format!(
        r#"cp "$round" "{}/"
printf '%s\n' "$@" "$@" | sort -rn | xargs -P 4 -n 1 CURATE unit "$round""#,
        kept.display()
    );
    let fleet = fleet(&place, "twice.sh", &script);
    run(&manifest, &twice, &["--fleet", &fleet]).exits(0);
    let expected = tree(&local);
    assert_same(&tree(&twice), &expected, "each unit twice");

    let rounds = || {
        fs::read_dir(&kept)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    assert!(rounds().count() >= 5, "{} rounds", rounds().count());
    for round in rounds() {
        curate(["unit".as_ref(), round.as_os_str(), "0".as_ref()]).exits(0);
    }
    assert_same(&tree(&twice), &expected, "late units");

    // A unit of a state that is over does nothing: the texts of its stage are others by now.
    place.write("data/a.jsonl", fixture_lines("web-000.jsonl.zst", 20..24));
    run(&manifest, &twice, &[]).exits(0);
    let after = tree(&twice);
    let mut refused = 0;
    for round in rounds() {
        let found = curate(["unit".as_ref(), round.as_os_str(), "0".as_ref()]);
        refused += usize::from(found.code == Some(2));
        assert!(
            found.code == Some(0) || found.stderr.contains("the round is over"),
            "{}",
            found.stderr
        );
    }
    assert!(refused > 0);
    assert_same(&tree(&twice), &after, "units of a state that is over");
}

#[test]
fn a_unit_that_always_dies_is_named() {
    let place = Place::new();
    let manifest = small(&place);
    let (local, run_dir) = (place.path("local"), place.path("run"));
    run(&manifest, &local, &[]).exits(0);

    // Unit 1 is never run, the others are.
    let script = r#"echo called >> calls
for unit in "$@"; do [ "$unit" = 1 ] || CURATE unit "$round" "$unit"; done"#;
    let script = script.replace("calls", place.path("calls").to_str().unwrap());
    let lazy = fleet(&place, "lazy.sh", &script);
    run(&manifest, &run_dir, &["--fleet", &lazy])
        .exits(1)
        .says(&[
            "stage language, unit 1 (shard 1) left no receipt after 3 attempts",
            "it said nothing",
            "try the unit by hand: curate unit ",
            "1 of 1 units left no receipt (exit status: 0)",
        ]);
    assert_eq!(
        fs::read_to_string(place.path("calls"))
            .unwrap()
            .lines()
            .count(),
        3
    );

    let fleet = fleet(&place, "one.sh", r#"CURATE unit "$round" "$@""#);
    let denied = run(&manifest, &run_dir, &["--fleet", "/nonexistent/fleet"]).exits(2);
    assert!(
        denied.stderr.contains("fleet.command: cannot start"),
        "{}",
        denied.stderr
    );

    // The same command with a fleet that works goes on with what is missing.
    let done = run(&manifest, &run_dir, &["--fleet", &fleet]).exits(0);
    assert!(
        !done.stderr.contains("language part-00000 "),
        "{}",
        done.stderr
    );
    assert_same(&tree(&run_dir), &tree(&local), "after a unit that died");
}

#[test]
fn what_a_unit_leaves_is_checked() {
    let place = Place::new();
    let manifest = small(&place);
    let (local, run_dir) = (place.path("local"), place.path("run"));
    run(&manifest, &local, &[]).exits(0);

    // The first attempt of each stage ends with a file that lost its tail: it is made again.
    let script = r#"CURATE unit "$round" "$@" || exit 1
stage=$(basename "$round" | cut -d- -f1)
[ -e "$0.$stage" ] && exit 0
touch "$0.$stage"
for file in "$(dirname "$round")"/../../"$stage"/part-00000-*.parquet; do truncate -s -9 "$file"; done"#;
    let torn = fleet(&place, "torn.sh", script);
    run(&manifest, &run_dir, &["--fleet", &torn])
        .exits(0)
        .says(&["units left no receipt (exit status: 0)"]);
    assert_same(
        &tree(&run_dir),
        &tree(&local),
        "files that lost their tails",
    );

    // A receipt that counts another number of documents is no receipt to believe.
    let script = r#"CURATE unit "$round" "$@" || exit 1
for receipt in "$(dirname "$round")"/../receipts/language/part-00000-*.json; do
  [ -e "$receipt" ] && sed -i 's/"in":[0-9]*/"in":1/' "$receipt"
done; true"#;
    let liar = fleet(&place, "liar.sh", script);
    run(&manifest, &place.path("other"), &["--fleet", &liar])
        .exits(70)
        .says(&["a unit left ", "lost or doubled documents or bytes"]);
}

#[test]
fn another_build_or_no_round_is_refused() {
    let place = Place::new();
    let manifest = small(&place);
    let run_dir = place.path("run");

    let script = r#"sed -i 's/"build": "./"build": "z/' "$round"; CURATE unit "$round" "$@""#;
    let other = fleet(&place, "other.sh", script);
    run(&manifest, &run_dir, &["--fleet", &other])
        .exits(1)
        .says(&[
            "is a round of another build of curate",
            "hint: run the same executable on every machine of the fleet",
        ]);

    let missing = place.path("no-round.json");
    curate(["unit".as_ref(), missing.as_os_str(), "0".as_ref()])
        .exits(2)
        .says(&["cannot read the round"]);
    let torn = place.write("torn.json", "{\"format\": 1");
    curate(["unit".as_ref(), torn.as_os_str(), "0".as_ref()])
        .exits(2)
        .says(&["is no round"]);
}

#[test]
fn a_driver_that_is_stopped_stops_its_command() {
    let place = Place::new();
    let manifest = small(&place);
    let run_dir = place.path("run");
    let pid = place.path("pid");
    let waits = fleet(
        &place,
        "waits.sh",
        &format!("echo $$ > {}; exec sleep 600", pid.display()),
    );

    let mut driver = start(&manifest, &run_dir, &["--fleet", &waits]);
    let begun = Instant::now();
    while fs::read_to_string(&pid)
        .unwrap_or_default()
        .trim()
        .is_empty()
    {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "the command was never called"
        );
        std::thread::sleep(Duration::from_millis(20));
    }

    // A second driver is refused while the first one waits.
    run(&manifest, &run_dir, &[]).exits(11);
    let kill = ["-TERM".to_owned(), driver.id().to_string()];
    assert!(Command::new("kill").args(kill).status().unwrap().success());
    assert_eq!(driver.wait().unwrap().code(), Some(143));

    let child = fs::read_to_string(&pid).unwrap();
    let is_there = Path::new("/proc").join(child.trim()).exists();
    assert!(!is_there, "the command goes on");

    run(&manifest, &run_dir, &[]).exits(0);
}
