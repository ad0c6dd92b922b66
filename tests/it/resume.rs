//! Killed at any instant, the same command ends in the bytes of an unbroken run.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::{
    Place, Random, assert_same, corpus, curate, figure, leftovers, run, start, tree,
};

/// Instants at which a first run is killed, spread over it: `CURATE_KILLS`, else 40.
fn instants() -> u32 {
    std::env::var("CURATE_KILLS")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(40)
}

/// Instants at which a run is interrupted.
const INTERRUPTS: u32 = 12;

type Tree = BTreeMap<String, Vec<u8>>;

/// A corpus, and what an unbroken run makes of it in how much time.
struct Unbroken {
    place: Place,
    manifest: PathBuf,
    tree: Tree,
    took: Duration,
}

const THREADS: [&str; 2] = ["--threads", "2"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [&THREADS[..], more].concat()
}

fn unbroken(more: &[&'static str]) -> Unbroken {
    let place = Place::in_memory();
    let manifest = every_stage(&place);
    let dir = place.path("unbroken");
    let begun = Instant::now();
    run(&manifest, &dir, &with(more)).exits(0);
    let (took, tree) = (begun.elapsed(), tree(&dir));
    assert!(tree.len() > 60, "{} files", tree.len());
    Unbroken {
        place,
        manifest,
        tree,
        took,
    }
}

/// The corpus with those stages on that it leaves off.
fn every_stage(place: &Place) -> PathBuf {
    let manifest = corpus(place, 12);
    let (reference, model) = (place.path("reference"), place.path("own.ngram"));
    run(&manifest, &reference, &["--until", "documents"]).exits(0);
    let reference = reference.to_str().unwrap();
    curate([
        "train",
        "ngram",
        reference,
        "-o",
        model.to_str().unwrap(),
        "--order",
        "2",
    ])
    .exits(0);
    let text = fs::read_to_string(&manifest).unwrap();
    // Two stages rewrite, so a kill can fall between them.
    let more = "[filter.c4]\nrewrite = true\nterminal_punct = false\nmin_sentences = 1\n\n\
                [dedup.paragraphs]\n\n[score.ngram]\nmodel = \"own.ngram\"\n\n[score.perplexity]";
    place.write("manifest.toml", text.replace("[score.perplexity]", more))
}

impl Unbroken {
    /// Kills a run after a while; says whether it was still running.
    fn kill(&self, dir: &Path, more: &[&'static str], after: Duration) -> bool {
        let mut child = start(&self.manifest, dir, &with(more));
        std::thread::sleep(after);
        child.kill().unwrap();
        !child.wait().unwrap().success()
    }

    /// Kills a run as soon as a file is there; says whether it was still running.
    fn kill_at(&self, dir: &Path, more: &[&'static str], file: &str) -> bool {
        let mut child = start(&self.manifest, dir, &with(more));
        let path = dir.join(file);
        while !path.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(100));
        }
        child.kill().unwrap();
        !child.wait().unwrap().success()
    }

    /// The same command again ends in the same bytes, and leaves nothing lying around.
    #[track_caller]
    fn ends_the_same(&self, dir: &Path, more: &[&'static str], what: &str) {
        run(&self.manifest, dir, &with(more)).exits(0);
        assert_same(&tree(dir), &self.tree, what);
        assert_eq!(leftovers(dir), [] as [&Path; 0], "{what}");
    }
}

#[test]
fn killed_at_instants_all_over_a_run() {
    let unbroken = unbroken(&[]);
    let mut random = Random::new(1);
    let wanted = instants();
    let (mut took, mut killed, mut tried) = (unbroken.took, 0, 0);
    while killed < wanted && tried < 3 * wanted {
        tried += 1;
        let dir = unbroken.place.path("killed");
        let share = (f64::from(killed) + random.below(1000) as f64 / 1000.0) / f64::from(wanted);
        let after = took.mul_f64(share);
        match unbroken.kill(&dir, &[], after) {
            true => killed += 1,
            // The machine is less busy than when the unbroken run was timed.
            false => took = took.mul_f64(0.9),
        }
        unbroken.ends_the_same(&dir, &[], &format!("killed after {after:?}"));
        curate(["verify".as_ref(), dir.as_os_str()])
            .exits(0)
            .prints(&["whole"]);
        fs::remove_dir_all(&dir).unwrap();
    }
    assert_eq!(
        killed, wanted,
        "of {tried} runs so many were killed before their end"
    );
    figure(
        "SIGKILL at instants spread over a run of every stage, each resumed",
        killed,
    );
}

#[test]
fn killed_again_and_again() {
    let unbroken = unbroken(&[]);
    let mut random = Random::new(2);
    let dir = unbroken.place.path("killed");
    for _ in 0..8 {
        let after = unbroken.took.mul_f64(random.below(300) as f64 / 1000.0);
        unbroken.kill(&dir, &[], after);
    }
    unbroken.ends_the_same(&dir, &[], "killed eight times");
    curate(["verify".as_ref(), dir.as_os_str()]).exits(0);
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {}", child.id())])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[test]
fn interrupted_at_instants_all_over_a_run() {
    let unbroken = unbroken(&[]);
    let (mut took, mut ended, mut tried) = (unbroken.took, 0u32, 0);
    while ended < INTERRUPTS && tried < 3 * INTERRUPTS {
        tried += 1;
        let (signal, code) = [("INT", 130), ("TERM", 143)][ended as usize % 2];
        let dir = unbroken.place.path("interrupted");
        let mut child = start(&unbroken.manifest, &dir, &THREADS);
        // A signal that comes before the program listens ends it as it would end any.
        while !dir.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(took.mul_f64(f64::from(ended) / f64::from(INTERRUPTS + 2)));
        if child.try_wait().unwrap().is_none() {
            send(signal, &child);
        }
        let begun = Instant::now();
        let status = child.wait().unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{signal} at {ended}: it took {:?}",
            begun.elapsed()
        );
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        match status.code() {
            // The machine is less busy than when the unbroken run was timed.
            Some(0) => took = took.mul_f64(0.9),
            found => {
                assert_eq!(found, Some(code), "{said}");
                assert!(
                    said.contains("curate: stopping; shards under way are given up"),
                    "{said}"
                );
                ended += 1;
            }
        }
        unbroken.ends_the_same(&dir, &[], &format!("{signal} at {ended}"));
        fs::remove_dir_all(&dir).unwrap();
    }
    assert_eq!(
        ended, INTERRUPTS,
        "of {tried} runs so many were interrupted before their end"
    );
    figure("SIGINT or SIGTERM, each ended in 5 s and resumed", ended);
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    let unbroken = unbroken(&[]);
    let dir = unbroken.place.path("twice");
    let mut child = start(&unbroken.manifest, &dir, &THREADS);
    while !dir.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Stopped, it cannot end between the two; they are handled when it goes on.
    send("STOP", &child);
    send("INT", &child);
    send("TERM", &child);
    send("CONT", &child);
    let status = child.wait().unwrap();
    assert!(matches!(status.code(), Some(130 | 143)), "{status}");
    unbroken.ends_the_same(&dir, &[], "two signals");
}

#[test]
fn killed_as_soon_as_a_file_appears() {
    let unbroken = unbroken(&[]);
    let mut killed = 0;
    for file in [
        ".curate/ingest",
        "documents",
        "documents/_commit.json",
        "views.sql",
        "language/_commit.json",
        ".curate/receipts/signals",
        "near_dedup_evidence",
        "near_dedup/_commit.json",
        "mix/general",
        "mixture/long/_commit.json",
        "run.json",
    ] {
        let dir = unbroken.place.path("killed");
        killed += u32::from(unbroken.kill_at(&dir, &[], file));
        unbroken.ends_the_same(&dir, &[], &format!("killed when {file} appeared"));
        fs::remove_dir_all(&dir).unwrap();
    }
    assert!(
        killed >= 9,
        "only {killed} runs were killed before their end"
    );
}

#[test]
fn killed_while_a_changed_threshold_is_redone() {
    const CHANGED: [&str; 2] = ["--set", "filter.gopher_quality.min_words=120"];
    let before = unbroken(&[]);
    let dir = before.place.path("changed");
    let begun = Instant::now();
    run(&before.manifest, &dir, &with(&CHANGED)).exits(0);
    let (fresh, mut random) = (tree(&dir), Random::new(3));
    let took = begun.elapsed() / 2;
    fs::remove_dir_all(&dir).unwrap();
    let changed = Unbroken {
        tree: fresh,
        ..unbroken(&[])
    };
    run(&changed.manifest, &dir, &THREADS).exits(0);
    for instant in 0..8 {
        // Every other time the change itself is taken back after the kill.
        let (more, end): (&[&str], &Unbroken) = if instant % 2 == 0 {
            (&CHANGED, &changed)
        } else {
            (&[], &before)
        };
        match instant {
            0 => changed.kill_at(&dir, &CHANGED, "filter/_stale.json"),
            1 => changed.kill_at(&dir, &CHANGED, "mixture/general/_stale.json"),
            _ => changed.kill(
                &dir,
                &CHANGED,
                took.mul_f64(random.below(1000) as f64 / 1000.0),
            ),
        };
        end.ends_the_same(&dir, more, &format!("kill {instant}"));
        curate(["verify".as_ref(), dir.as_os_str()]).exits(0);
        run(&changed.manifest, &dir, &THREADS).exits(0);
    }
}

/// What a kill leaves that comes between a commit and what follows it in the same step: too short
/// to be met by chance.
#[test]
fn a_kill_right_after_a_commit_leaves_nothing_behind() {
    let unbroken = unbroken(&[]);
    let dir = unbroken.place.path("run");
    run(&unbroken.manifest, &dir, &THREADS).exits(0);
    let views = fs::read_to_string(dir.join("views.sql")).unwrap();

    let before_the_last_commit = views.replace("mixture_long", "mixture_other");
    assert_ne!(before_the_last_commit, views);
    fs::write(dir.join("views.sql"), before_the_last_commit).unwrap();
    unbroken.ends_the_same(&dir, &[], "killed before views.sql was written");

    fs::copy(
        dir.join("filter/_commit.json"),
        dir.join("filter/_stale.json"),
    )
    .unwrap();
    unbroken.ends_the_same(&dir, &[], "killed before the former commit was deleted");

    fs::write(dir.join("filter/part-00000-0badcafe.parquet"), "former").unwrap();
    unbroken.ends_the_same(&dir, &[], "killed before a former shard was deleted");

    fs::create_dir_all(dir.join(".curate/receipts/filter")).unwrap();
    fs::write(dir.join(".curate/receipts/filter/part-00000.json"), "{}").unwrap();
    unbroken.ends_the_same(&dir, &[], "killed before receipts were deleted");

    fs::create_dir_all(dir.join(".curate/staging/unit-0")).unwrap();
    fs::write(dir.join(".curate/staging/unit-0/0.parquet"), "half").unwrap();
    fs::create_dir_all(dir.join(".curate/spill/export")).unwrap();
    fs::write(dir.join(".curate/spill/export/0"), "half").unwrap();
    unbroken.ends_the_same(&dir, &[], "killed while files were written");
}
