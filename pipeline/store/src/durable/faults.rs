//! Faults for tests. Two variables of the environment steer them:
//!
//! - `CURATE_STEPS=FILE` appends a line for each step: its number from 1, what it does, and to
//!   which path.
//! - `CURATE_FAULT=N:ACTION` fails step `N`. A write that is to fail has written half its bytes.
//!
//! | action | what happens at the step |
//! |---|---|
//! | `eio`, `enospc` | it fails with that error |
//! | `panic` | the thread panics |
//! | `exit` | the process ends with code 86, as if killed |
//! | `power_old` | the process ends; names that no `fsync` of their folder made durable are undone, bytes that were not fsynced are torn |
//! | `power_new` | the same, but such names have become durable: a torn file has its final name |
//!
//! The two losses of power are the extremes of what POSIX allows: between an operation on a name
//! and the `fsync` of the folder either may be found after a crash. A deleted folder stays deleted
//! in both.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::Step;

/// A step that is to fail, and how.
pub(super) struct Fault(Action);

#[derive(Clone, Copy)]
enum Action {
    Error(i32),
    Panic,
    Exit,
    PowerOld,
    PowerNew,
}

/// What a loss of power would take, and how far the steps are.
#[derive(Default)]
struct State {
    steps: u64,
    names: Vec<Name>,
    /// Files with bytes that are not fsynced.
    torn: BTreeSet<PathBuf>,
}

/// A change of a name that is not durable.
enum Name {
    New(PathBuf),
    Moved {
        from: PathBuf,
        to: PathBuf,
        replaced: Option<Vec<u8>>,
    },
    Gone {
        path: PathBuf,
        bytes: Vec<u8>,
    },
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn with_state<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(
        STATE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default(),
    )
}

fn wanted() -> Option<(u64, Action)> {
    static WANTED: OnceLock<Option<(u64, Action)>> = OnceLock::new();
    *WANTED.get_or_init(|| {
        let text = std::env::var("CURATE_FAULT").ok()?;
        let (number, action) = text.split_once(':').expect("CURATE_FAULT is N:ACTION");
        let action = match action {
            "eio" => Action::Error(5),
            "enospc" => Action::Error(28),
            "panic" => Action::Panic,
            "exit" => Action::Exit,
            "power_old" => Action::PowerOld,
            "power_new" => Action::PowerNew,
            other => panic!("CURATE_FAULT names no action: {other}"),
        };
        Some((number.parse().expect("CURATE_FAULT has a number"), action))
    })
}

/// Counts a step; the fault, if it is this one's turn.
pub(super) fn due(step: Step) -> Option<Fault> {
    let number = with_state(|state| {
        state.steps += 1;
        // What a rename replaces and what a deletion deletes is not there any more when it is done.
        match step {
            Step::Rename(from, to) => {
                let replaced = fs::read(to).ok();
                state.names.push(Name::Moved {
                    from: from.to_owned(),
                    to: to.to_owned(),
                    replaced,
                });
            }
            Step::Remove(path) => {
                let gone = fs::read(path).ok().map(|bytes| Name::Gone {
                    path: path.to_owned(),
                    bytes,
                });
                state.names.extend(gone);
            }
            _ => {}
        }
        state.steps
    });
    if let Ok(path) = std::env::var("CURATE_STEPS") {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .expect("CURATE_STEPS can be written");
        writeln!(file, "{number} {step:?}").expect("CURATE_STEPS can be written");
    }
    wanted().filter(|(at, _)| *at == number).map(|(_, action)| {
        with_state(|state| match state.names.last() {
            Some(Name::Moved { to, .. }) if matches!(step, Step::Rename(_, path) if path == to) => {
                drop(state.names.pop())
            }
            Some(Name::Gone { path: gone, .. }) if matches!(step, Step::Remove(path) if path == gone) => {
                drop(state.names.pop());
            }
            _ => {}
        });
        if let Step::Write(path) = step {
            with_state(|state| state.torn.insert(path.to_owned()));
        }
        Fault(action)
    })
}

/// Notes what a step that was done leaves open.
pub(super) fn done(step: Step) {
    with_state(|state| match step {
        Step::Create(path) => {
            state.names.push(Name::New(path.to_owned()));
            state.torn.insert(path.to_owned());
        }
        Step::Link(_, path) | Step::CreateDir(path) => state.names.push(Name::New(path.to_owned())),
        Step::Write(path) => drop(state.torn.insert(path.to_owned())),
        Step::Sync(path) => drop(state.torn.remove(path)),
        Step::Rename(from, to) => state.move_torn(from, to),
        Step::SyncDir(folder) => state.make_durable(folder),
        Step::Remove(_) | Step::RemoveDir(_) => {}
    });
}

/// `path` once `from` is called `to`.
fn rebased(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path.to_owned(),
    }
}

impl State {
    fn move_torn(&mut self, from: &Path, to: &Path) {
        self.torn = std::mem::take(&mut self.torn)
            .iter()
            .map(|path| rebased(path, from, to))
            .collect();
    }

    fn make_durable(&mut self, folder: &Path) {
        let mut moved = Vec::new();
        self.names.retain(|name| {
            let path = match name {
                Name::New(path) | Name::Gone { path, .. } => path,
                Name::Moved { from, to, .. } => {
                    if to.parent() == Some(folder) {
                        moved.push((from.clone(), to.clone()));
                    }
                    to
                }
            };
            path.parent() != Some(folder)
        });
        for (from, to) in moved {
            // The file's first name need not be undone any more; names in a folder that moved have
            // moved with it.
            self.names
                .retain(|name| !matches!(name, Name::New(path) if *path == from));
            for name in &mut self.names {
                if let Name::New(path) = name {
                    *path = rebased(path, &from, &to);
                }
            }
        }
    }

    fn lose_names(&mut self) {
        while let Some(name) = self.names.pop() {
            match name {
                Name::New(path) if path.is_dir() => drop(fs::remove_dir_all(path)),
                Name::New(path) => drop(fs::remove_file(path)),
                Name::Gone { path, bytes } => {
                    fs::write(path, bytes).expect("what was deleted can be put back")
                }
                Name::Moved { from, to, replaced } => {
                    let _ = fs::rename(&to, &from);
                    self.move_torn(&to, &from);
                    if let Some(bytes) = replaced {
                        fs::write(&to, bytes).expect("what was replaced can be put back");
                    }
                }
            }
        }
    }

    fn tear_bytes(&mut self) {
        for path in &self.torn {
            if let Ok(file) = fs::File::options().write(true).open(path) {
                let size = file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
                file.set_len(size / 2).expect("a file can be cut");
            }
        }
    }
}

impl Fault {
    /// The error of the step, if the process goes on.
    pub(super) fn strike(self) -> io::Result<()> {
        match self.0 {
            Action::Error(code) => return Err(io::Error::from_raw_os_error(code)),
            Action::Panic => panic!("a fault that a test asked for"),
            Action::Exit => {}
            Action::PowerOld => with_state(|state| {
                state.lose_names();
                state.tear_bytes();
            }),
            Action::PowerNew => with_state(State::tear_bytes),
        }
        std::process::exit(86)
    }
}
