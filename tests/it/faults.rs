//! Every durable step of a run fails once, in every way: an error, a panic, a death, a loss of
//! power. What is committed is whole right after it, and the same command again ends in the bytes
//! of an unbroken run.
//!
//! Runs with the feature `faults` only, by `make faults`. `CURATE_FAULTS=all` takes every step with
//! every action.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{
    Place, assert_same, check, curate, figure, fixture_lines, leftovers, outcome, run, run_command,
    tree, visit,
};

const ACTIONS: [&str; 6] = ["eio", "enospc", "panic", "exit", "power_old", "power_new"];

/// A step of a run: its number, and what is done to what.
struct Step {
    number: u64,
    point: String,
    /// Whether it is one of the stage `language`, the first after `documents`.
    is_later: bool,
}

/// What is walked: a command that is run in a copy of a directory.
struct Walk {
    place: Place,
    manifest: PathBuf,
    /// The directory before the command; it may not be there.
    before: PathBuf,
    more: &'static [&'static str],
    expected: BTreeMap<String, Vec<u8>>,
    steps: Vec<Step>,
    /// How many steps there are, those that are not walked included.
    total: u64,
}

const MANIFEST: &str = r#"
[run]
name = "faults"
shard_size = "64KiB"
max_quarantine_ratio = 0.5

[[source]]
name = "web"
path = "data"

[language]
keep = ["eng"]

[filter.gopher_quality]

[dedup.exact]

[dedup.near]

[[mixture]]
name = "general"
tokens = 1_000
"#;

fn corpus(place: &Place) -> PathBuf {
    let lines = fixture_lines("web-000.jsonl.zst", 0..6);
    place.write("data/a.jsonl", format!("{lines}no record\n"));
    place.write("data/b.jsonl", fixture_lines("web-000.jsonl.zst", 3..8));
    place.write("manifest.toml", MANIFEST)
}

impl Walk {
    /// A first run.
    fn fresh() -> Walk {
        let place = Place::in_memory();
        let manifest = corpus(&place);
        Walk::of(place, manifest, &[])
    }

    /// A run with another threshold and another mixture, over a finished one: commits are replaced.
    fn changed() -> Walk {
        let place = Place::in_memory();
        let manifest = corpus(&place);
        run(&manifest, &place.path("before"), &["--threads", "1"]).exits(0);
        Walk::of(
            place,
            manifest,
            &[
                "--set",
                "filter.gopher_quality.min_words=60",
                "--set",
                "mixture.general.tokens=1_500",
            ],
        )
    }

    /// A run with a further input and a changed one, over a finished one, up to what follows
    /// `documents`.
    fn grown() -> Walk {
        let place = Place::in_memory();
        let manifest = corpus(&place);
        run(&manifest, &place.path("before"), &["--threads", "1"]).exits(0);
        place.write("data/b.jsonl", fixture_lines("web-000.jsonl.zst", 4..8));
        place.write("data/c.jsonl", fixture_lines("web-000.jsonl.zst", 10..12));
        let mut walk = Walk::of(place, manifest, &[]);
        let later = walk.steps.iter().position(|step| step.is_later).unwrap();
        walk.steps.truncate(later);
        walk
    }

    fn of(place: Place, manifest: PathBuf, more: &'static [&'static str]) -> Walk {
        let before = place.path("before");
        let mut walk = Walk {
            place,
            manifest,
            before,
            more,
            expected: BTreeMap::new(),
            steps: Vec::new(),
            total: 0,
        };
        let (dir, log) = (walk.copy("unbroken"), walk.place.path("steps"));
        outcome(walk.command(&dir).env("CURATE_STEPS", &log)).exits(0);
        check(&dir, None).exits(0);
        walk.expected = tree(&dir);
        let text = fs::read_to_string(log).unwrap();
        walk.steps = text.lines().map(|line| step(line, &dir)).collect();
        walk.total = walk.steps.len() as u64;
        assert!(walk.total > 200, "{} steps", walk.steps.len());
        walk
    }

    fn copy(&self, name: &str) -> PathBuf {
        let dir = self.place.path(name);
        visit(&self.before, &mut |path| {
            let to = dir.join(path.strip_prefix(&self.before).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(path, to).unwrap();
        });
        dir
    }

    fn command(&self, dir: &Path) -> Command {
        run_command(
            &self.manifest,
            dir,
            &[&["--threads", "1"], self.more].concat(),
        )
    }

    /// Fails one step and goes on afterwards.
    fn fault(&self, number: u64, point: &str, action: &str) {
        let what = format!("step {number} ({point}) with {action}");
        let dir = self.copy(&format!("run-{number}-{action}"));
        let outcome = outcome(
            self.command(&dir)
                .env("CURATE_FAULT", format!("{number}:{action}")),
        );
        let code = match action {
            "eio" | "enospc" => 74,
            "panic" => 70,
            _ => 86,
        };
        // Where a file has no second name it is copied.
        let code = if point.starts_with("Link") && code == 74 {
            0
        } else {
            code
        };
        assert_eq!(outcome.code, Some(code), "{what}\n{}", outcome.stderr);
        if code == 74 {
            assert!(
                outcome.stderr.contains(dir.to_str().unwrap()),
                "{what}: no path\n{}",
                outcome.stderr
            );
        }
        if action == "enospc" && code == 74 {
            assert!(
                outcome.stderr.contains("the run needs about"),
                "{what}: no bytes\n{}",
                outcome.stderr
            );
        }
        self.is_whole(&dir, &what);
        let again = crate::support::outcome(&mut self.command(&dir));
        assert_eq!(again.code, Some(0), "{what}, again\n{}", again.stderr);
        assert_same(&tree(&dir), &self.expected, &what);
        assert_eq!(leftovers(&dir), [] as [&Path; 0], "{what}");
        curate(["verify".as_ref(), dir.as_os_str()])
            .exits(0)
            .prints(&[": whole\n"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    /// What readers find between a fault and the next run.
    fn is_whole(&self, dir: &Path, what: &str) {
        if dir.join(".curate/run.json").exists() {
            let verify = curate(["verify".as_ref(), dir.as_os_str()]);
            assert_eq!(verify.code, Some(0), "{what}: verify\n{}", verify.stdout);
        }
        let views = fs::read_to_string(dir.join("views.sql")).unwrap_or_default();
        let names = views.lines().filter_map(|line| {
            line.trim()
                .trim_end_matches(',')
                .strip_prefix('\'')?
                .strip_suffix('\'')
        });
        for name in names {
            assert!(
                dir.join(name).exists(),
                "{what}: views.sql names {name}, which is gone"
            );
        }
    }

    /// The steps to be failed, with the actions for each: the first of each kind with all of them,
    /// the others with one in turn.
    fn cases(&self) -> Vec<(&Step, &'static str)> {
        let all = std::env::var("CURATE_FAULTS").is_ok_and(|value| value == "all");
        let mut seen = BTreeSet::new();
        let mut cases = Vec::new();
        for step in &self.steps {
            let every = seen.insert(&step.point) || all;
            let turn = (step.number % ACTIONS.len() as u64) as usize;
            let actions = ACTIONS
                .iter()
                .enumerate()
                .filter(|(at, _)| every || *at == turn);
            cases.extend(actions.map(|(_, action)| (step, *action)));
        }
        cases
    }

    fn walk(&self, name: &str) {
        let cases = self.cases();
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
                scope.spawn(|| {
                    while let Some((step, action)) = cases.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let case = || self.fault(step.number, &step.point, action);
                        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(case)).is_err() {
                            failed
                                .lock()
                                .unwrap()
                                .push(format!("{} {} {action}", step.number, step.point));
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner().unwrap();
        assert!(
            failed.is_empty(),
            "{} of {} faults: {failed:#?}",
            failed.len(),
            cases.len()
        );
        // The walk ends where a run sees no fault.
        let last = self.total;
        let dir = self.copy("beyond");
        outcome(
            self.command(&dir)
                .env("CURATE_FAULT", format!("{}:exit", last + 1)),
        )
        .exits(0);
        let points: BTreeSet<&str> = self.steps.iter().map(|step| step.point.as_str()).collect();
        figure(
            &format!("faults, {name} run: durable steps"),
            self.steps.len(),
        );
        figure(&format!("faults, {name} run: kinds of steps"), points.len());
        figure(
            &format!("faults, {name} run: step × action, each resumed"),
            cases.len(),
        );
    }
}

/// A line of the log: `12 Rename("/…/a", "/…/b")`.
fn step(line: &str, dir: &Path) -> Step {
    let (number, what) = line.split_once(' ').unwrap();
    let (kind, paths) = what.split_once('(').unwrap();
    let path = Path::new(
        paths
            .trim_end_matches(')')
            .rsplit(", ")
            .next()
            .unwrap()
            .trim_matches('"'),
    );
    let path = path.strip_prefix(dir).map_or_else(
        |_| "..".to_owned(),
        |path| path.to_string_lossy().into_owned(),
    );
    let is_later = kind == "Create" && path.contains("language-part");
    Step {
        number: number.parse().unwrap(),
        point: format!("{kind} {}", sort_of(&path)),
        is_later,
    }
}

/// What a path is of, whatever its stage and its number.
fn sort_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let folder = path
        .split('/')
        .take_while(|part| *part != name)
        .collect::<Vec<_>>();
    let kind = match name.rsplit_once('.') {
        _ if name.starts_with('_') => name.to_owned(),
        Some(("unit" | "run" | "views" | "manifest" | "inputs", _)) => name.to_owned(),
        Some((_, "parquet")) => "part.parquet".to_owned(),
        Some((_, "json")) => "receipt.json".to_owned(),
        Some((_, "tmp")) if name.starts_with("part-") => "receipt.tmp".to_owned(),
        Some((_, "tmp")) => format!("{}.tmp", name.split('.').next().unwrap_or_default()),
        _ => "folder".to_owned(),
    };
    match folder.first() {
        Some(&".curate") => format!(
            ".curate/{}/{kind}",
            folder.get(1).copied().unwrap_or_default()
        ),
        _ if path.starts_with(".curate") => path.to_owned(),
        Some(_) => format!("table/{kind}"),
        None => kind,
    }
}

/// An export that failed is made by the same command, or is finished.
#[test]
fn every_step_of_an_export() {
    let place = Place::in_memory();
    let run_dir = place.path("run");
    run(&corpus(&place), &run_dir, &["--threads", "1"]).exits(0);
    let export = |to: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_curate"));
        command
            .arg("export")
            .arg(&run_dir)
            .args(["general", "--format", "parquet,jsonl,megatron"])
            .args(["--end", "<|endoftext|>", "-o"])
            .arg(to);
        command
    };
    let (whole, log) = (place.path("whole"), place.path("steps"));
    outcome(export(&whole).env("CURATE_STEPS", &log)).exits(0);
    let (expected, steps) = (
        tree(&whole),
        fs::read_to_string(log).unwrap().lines().count(),
    );
    let mut cases = 0;
    for number in 1..=steps {
        for action in ACTIONS {
            let (dir, what) = (place.path("out"), format!("step {number} with {action}"));
            let fault = outcome(export(&dir).env("CURATE_FAULT", format!("{number}:{action}")));
            assert!(
                matches!(fault.code, Some(70 | 74 | 86)),
                "{what}: {:?} {}",
                fault.code,
                fault.stderr
            );
            let again = outcome(&mut export(&dir));
            let is_finished =
                again.code == Some(2) && again.stderr.contains("is a finished export");
            assert!(
                again.code == Some(0) || is_finished,
                "{what}: {}",
                again.stderr
            );
            let mut found = tree(&dir);
            // The mark of an unfinished folder goes last.
            let is_marked = found.remove(".unfinished").is_some();
            assert!(!is_marked || is_finished, "{what}");
            assert_same(&found, &expected, &what);
            fs::remove_dir_all(&dir).unwrap();
            cases += 1;
        }
    }
    figure("faults, export: step × action, each made again", cases);
}

/// A command that writes one file leaves it whole or not at all, and makes it again.
#[test]
fn every_step_of_a_model_and_of_a_baseline() {
    let place = Place::in_memory();
    let run_dir = place.path("run");
    run(&corpus(&place), &run_dir, &["--threads", "1"]).exits(0);
    let mut cases = 0;
    for arguments in [&["train", "ngram", "--order", "2"][..], &["baseline"]] {
        let write = |to: &Path| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_curate"));
            command
                .args(arguments)
                .arg(&run_dir)
                .arg("-o")
                .arg(to.join("file"));
            command
        };
        let [whole, out] = ["whole", "out"].map(|name| place.path(name));
        [&whole, &out]
            .iter()
            .for_each(|dir| fs::create_dir(dir).unwrap());
        let log = place.path("steps");
        outcome(write(&whole).env("CURATE_STEPS", &log)).exits(0);
        let (expected, steps) = (
            tree(&whole),
            fs::read_to_string(&log).unwrap().lines().count(),
        );
        assert!(steps > 2, "{arguments:?}: {steps} steps");
        for number in 1..=steps {
            for action in ACTIONS {
                let what = format!("{arguments:?}, step {number} with {action}");
                let fault = outcome(write(&out).env("CURATE_FAULT", format!("{number}:{action}")));
                assert!(
                    matches!(fault.code, Some(70 | 74 | 86)),
                    "{what}: {:?} {}",
                    fault.code,
                    fault.stderr
                );
                if let Some(file) = tree(&out).get("file") {
                    assert_eq!(
                        Some(file),
                        expected.get("file"),
                        "{what}: it is there and not whole"
                    );
                }
                outcome(&mut write(&out)).exits(0);
                assert_same(&tree(&out), &expected, &what);
                fs::remove_file(out.join("file")).unwrap();
                cases += 1;
            }
        }
        [&whole, &out]
            .iter()
            .for_each(|dir| fs::remove_dir_all(dir).unwrap());
        fs::remove_file(log).unwrap();
    }
    figure(
        "faults, a model and a baseline: step × action, each made again",
        cases,
    );
}

#[test]
fn every_step_of_a_first_run() {
    Walk::fresh().walk("first");
}

#[test]
fn every_step_of_a_run_with_other_inputs() {
    Walk::grown().walk("other inputs");
}

#[test]
fn every_step_of_a_changed_run() {
    Walk::changed().walk("changed");
}
