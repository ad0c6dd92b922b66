//! Faults for tests. Two environment variables control them:
//!
//! - `CURATE_STEPS=FILE` appends a line to the file for each step: the number of the step from 1,
//!   what the step does, and its path.
//! - `CURATE_FAULT=N:ACTION` fails step `N`. A write that fails has written half of its bytes.
//!
//! | action | what happens at the step |
//! |---|---|
//! | `eio`, `enospc` | the step fails with that error |
//! | `panic` | the thread panics |
//! | `exit` | the process ends with code 86, as if killed |
//! | `power_old` | the process ends; names that no `fsync` of their folder made durable are undone, and bytes that were not fsynced are torn |
//! | `power_new` | the process ends; the same bytes are torn, but all names have become durable, so that a torn file can have its final name |
//!
//! The two losses of power are the extremes of what POSIX allows. After a crash between an
//! operation on a name and the `fsync` of the folder, either the old or the new name may be found.
//! A deleted folder stays deleted in both.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::Step;

/// The way in which a step must fail.
pub(super) struct Fault(Action);

/// The action of `CURATE_FAULT`. An error has its `errno`.
#[derive(Clone, Copy)]
enum Action {
    Error(i32),
    Panic,
    Exit,
    PowerOld,
    PowerNew,
}

/// The number of steps so far, and everything that a loss of power would take.
#[derive(Default)]
struct State {
    /// Steps that were begun.
    steps: u64,
    /// Changes of names that are not durable, the oldest first.
    names: Vec<Name>,
    /// Files with bytes that are not fsynced.
    torn: BTreeSet<PathBuf>,
}

/// A change of a name that is not durable.
enum Name {
    /// A new file, folder or link.
    New(PathBuf),
    /// A renamed file or folder, with the bytes of the file that it replaced.
    Moved {
        from: PathBuf,
        to: PathBuf,
        replaced: Option<Vec<u8>>,
    },
    /// A deleted file, with its bytes.
    Gone { path: PathBuf, bytes: Vec<u8> },
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Runs `work` on the state of the process. Steps of several threads are counted one by one.
fn with_state<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(
        STATE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default(),
    )
}

/// The step and the action that `CURATE_FAULT` names; `None` if the variable is not set.
fn wanted() -> Option<(u64, Action)> {
    static WANTED: OnceLock<Option<(u64, Action)>> = OnceLock::new();
    *WANTED.get_or_init(|| {
        let text = std::env::var("CURATE_FAULT").ok()?;
        let (number, action) = text.split_once(':').expect("CURATE_FAULT is N:ACTION");

        // The errors are Linux's EIO and ENOSPC.
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

/// Counts a step that is about to be done. Returns the fault if this step must fail.
pub(super) fn due(step: Step) -> Option<Fault> {
    let number = with_state(|state| state.begin(step));

    if let Ok(path) = std::env::var("CURATE_STEPS") {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .expect("CURATE_STEPS can be written");
        writeln!(file, "{number} {step:?}").expect("CURATE_STEPS can be written");
    }

    let (_, action) = wanted().filter(|(at, _)| *at == number)?;
    with_state(|state| state.give_up(step));
    Some(Fault(action))
}

/// Notes what a finished step leaves that is not durable.
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

/// The new path of `path` after `from` is renamed to `to`. `from` may be a folder above `path`.
fn rebased(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path.to_owned(),
    }
}

impl State {
    /// Counts a step and returns its number, from 1. Notes the bytes that the step takes away.
    fn begin(&mut self, step: Step) -> u64 {
        self.steps += 1;

        // The bytes are read now: after the step, a replaced or deleted file has no name.
        match step {
            Step::Rename(from, to) => {
                let replaced = fs::read(to).ok();
                self.names.push(Name::Moved {
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
                self.names.extend(gone);
            }
            _ => {}
        }

        self.steps
    }

    /// Takes back what [`State::begin`] noted, because the step will not be done.
    fn give_up(&mut self, step: Step) {
        let is_noted = match (self.names.last(), step) {
            (Some(Name::Moved { to, .. }), Step::Rename(_, path)) => to == path,
            (Some(Name::Gone { path: gone, .. }), Step::Remove(path)) => gone == path,
            _ => false,
        };
        if is_noted {
            self.names.pop();
        }

        // A write that fails has written half of its bytes.
        if let Step::Write(path) = step {
            self.torn.insert(path.to_owned());
        }
    }

    /// Follows a rename in the paths of torn files.
    fn move_torn(&mut self, from: &Path, to: &Path) {
        self.torn = std::mem::take(&mut self.torn)
            .iter()
            .map(|path| rebased(path, from, to))
            .collect();
    }

    /// Forgets the changes of names in `folder`, because an `fsync` made them durable.
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
            // The first name of a moved file is not undone any more. The names in a moved folder
            // moved with the folder.
            self.names
                .retain(|name| !matches!(name, Name::New(path) if *path == from));
            for name in &mut self.names {
                if let Name::New(path) = name {
                    *path = rebased(path, &from, &to);
                }
            }
        }
    }

    /// Undoes the changes of names that are not durable.
    fn lose_names(&mut self) {
        // The newest change is undone first, because it may build on an older one.
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

    /// Cuts each file with bytes that are not fsynced to half of its size.
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
    /// Does what the action says. Returns the error of the step if the process goes on.
    pub(super) fn strike(self) -> io::Result<()> {
        match self.0 {
            Action::Error(code) => return Err(io::Error::from_raw_os_error(code)),
            Action::Panic => panic!("a fault that a test requested"),
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
