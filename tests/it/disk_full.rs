//! A disk that is really full: a small file system in memory, whose size and number of files are
//! walked. Needs the right to mount in a namespace of one's own; where the system refuses, the
//! tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Outcome, Place, assert_same, corpus, figure, leftovers, outcome, run, tree};

/// Runs a script as root of a namespace of its own; none where that is not allowed.
fn with_mounts(script: &str, arguments: &[&Path]) -> Option<Outcome> {
    for namespace in ["-Urm", "-m"] {
        let mut command = Command::new("unshare");
        command.args([
            namespace,
            "sh",
            "-c",
            &format!("mount -t tmpfs none /mnt || exit 99\n{script}"),
            "sh",
        ]);
        let Ok(_) = Command::new("unshare").arg("--version").output() else {
            break;
        };
        let outcome = outcome(command.arg(env!("CARGO_BIN_EXE_curate")).args(arguments));
        if outcome.code == Some(0) {
            return Some(outcome);
        }
        assert!(
            matches!(outcome.code, Some(1 | 99)),
            "{:?}\n{}",
            outcome.code,
            outcome.stderr
        );
    }
    println!("skipped: this system lets us mount nothing");
    None
}

/// A run on a full file system, its verification, and the same run once there is room; what is left
/// is copied out.
const FULL: &str = r#"
curate=$1 manifest=$2 disk=$3 out=$4
mkdir "$disk" && mount -t tmpfs -o "$(cat "$out.options")" none "$disk" || exit 98
"$curate" run "$manifest" --run-dir "$disk/run" --threads 2 2>"$out.err" >/dev/null; echo $? >"$out.code"
"$curate" verify "$disk/run" >"$out.verify" 2>&1; echo $? >"$out.whole"
mount -o remount,size=64m,nr_inodes=10000 "$disk" || exit 97
"$curate" run "$manifest" --run-dir "$disk/run" --threads 2 2>"$out.again.err" >/dev/null; echo $? >"$out.again"
"$curate" verify "$disk/run" >"$out.verify2" 2>&1; echo $? >"$out.whole2"
cp -r "$disk/run" "$out"
"#;

struct Full {
    place: Place,
    manifest: PathBuf,
    expected: BTreeMap<String, Vec<u8>>,
}

impl Full {
    fn new() -> Full {
        let place = Place::in_memory();
        let manifest = corpus(&place, 6);
        let dir = place.path("unbroken");
        run(&manifest, &dir, &["--threads", "2"]).exits(0);
        let expected = tree(&dir);
        Full {
            place,
            manifest,
            expected,
        }
    }

    /// One size of disk: what could not be written, or nothing if all could.
    fn on_disk_of(&self, options: &str) -> Option<String> {
        let name = options.replace([',', '='], "-");
        let (disk, out) = (
            self.place.path(&format!("disk-{name}")),
            self.place.path(&format!("out-{name}")),
        );
        let text = |suffix: &str| {
            fs::read_to_string(format!("{}.{suffix}", out.display())).unwrap_or_default()
        };
        self.place.write(&format!("out-{name}.options"), options);
        with_mounts(FULL, &[&self.manifest, &disk, &out])?;
        assert_eq!(
            text("again").trim(),
            "0",
            "{options}: {}",
            text("again.err")
        );
        assert_eq!(text("whole2").trim(), "0", "{options}: {}", text("verify2"));
        assert_same(&tree(&out), &self.expected, options);
        assert_eq!(leftovers(&out), [] as [&Path; 0], "{options}");
        fs::remove_dir_all(&out).unwrap();
        let said = text("err");
        if text("code").trim() == "0" {
            return Some(String::new());
        }
        assert_eq!(text("code").trim(), "74", "{options}: {said}");
        assert!(
            said.contains("the run needs about") && said.contains(" bytes ("),
            "{options}: {said}"
        );
        // Nothing committed that is not whole. A disk too small for a first file holds no run.
        assert!(
            text("whole").trim() == "0" || text("verify").contains("is not a run directory"),
            "{options}: {}",
            text("verify")
        );
        let message = said
            .lines()
            .find(|line| line.starts_with("curate: ") && line.contains("os error 28"));
        let message = message.unwrap_or_else(|| panic!("{options}: no message: {said}"));
        assert!(
            message.contains(disk.to_str().unwrap()),
            "{options}: no path: {message}"
        );
        Some(message.to_owned())
    }

    /// Walks file systems until one is large enough; what could not be written.
    fn walk(&self, options: impl Fn(u64) -> String) -> Vec<String> {
        (1..200)
            .map_while(|n| self.on_disk_of(&options(n)))
            .take_while(|message| !message.is_empty())
            .collect()
    }
}

fn is_about(messages: &[String], parts: &[&str]) -> bool {
    messages
        .iter()
        .any(|message| parts.iter().any(|part| message.contains(part)))
}

#[test]
fn a_full_disk_is_named_and_survived() {
    let full = Full::new();
    let by_size = full.walk(|n| format!("size={}k", 60 * n));
    let warned = fs::read_to_string(full.place.path("out-size-60k.err")).unwrap_or_default();
    assert!(
        by_size.is_empty() || warned.contains("curate: warning: this run needs about "),
        "{warned}"
    );
    let by_files = full.walk(|n| format!("size=64m,nr_inodes={}", 7 * n));
    let all = [by_size, by_files].concat();
    if all.is_empty() {
        return;
    }
    let kinds: BTreeSet<&str> = ["staging", "receipts", "spill", "ingest"]
        .into_iter()
        .filter(|part| is_about(&all, &[part]))
        .collect();
    println!("{all:#?}\n{kinds:?}");
    assert!(all.len() > 20, "{} disks were full", all.len());
    assert!(
        is_about(&all, &["/.curate/staging/", "/part-"]) && is_about(&all, &["/.curate/receipts/"]),
        "{all:#?}"
    );
    figure("full disks, each resumed with more room", all.len());
}

/// The spill files of an export on a file system of their own that is too small.
#[test]
fn a_full_disk_for_spill_files_is_named_and_survived() {
    let full = Full::new();
    let script = r#"
curate=$1 manifest=$2 run=$3
mkdir -p "$run/.curate/spill" && mount -t tmpfs -o size=16k none "$run/.curate/spill" || exit 98
"$curate" run "$manifest" --run-dir "$run" --threads 2 2>"$run.err" >/dev/null; echo $? >"$run.code"
"$curate" verify "$run" >&2 || exit 96
umount "$run/.curate/spill"
"#;
    let dir = full.place.path("run");
    let Some(_) = with_mounts(script, &[&full.manifest, &dir]) else {
        return;
    };
    let said = fs::read_to_string(full.place.path("run.err")).unwrap();
    assert_eq!(
        fs::read_to_string(full.place.path("run.code"))
            .unwrap()
            .trim(),
        "74",
        "{said}"
    );
    assert!(
        said.contains("/.curate/spill/") && said.contains("the run needs about"),
        "{said}"
    );
    run(&full.manifest, &dir, &["--threads", "2"]).exits(0);
    assert_same(
        &tree(&dir),
        &full.expected,
        "after a full disk of spill files",
    );
    assert_eq!(leftovers(&dir), [] as [&Path; 0]);
}
