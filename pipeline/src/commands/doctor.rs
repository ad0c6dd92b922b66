//! `curate doctor`: what this machine and this build offer a run, and what could go wrong.

use std::env;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use curate_formats::numbers::{counted, size};
use curate_schemas::stages::documents::Run;
use curate_scorers::lm::device::{DeviceChoice, free_bytes, name};
use curate_store::durable;
use curate_store::failure::Exit;
use curate_store::terminal::printable;
use serde::Serialize;

use crate::driver::space;
use crate::machine;
use crate::manifest::size_text;

/// Free space below which a warning is given, bytes.
const LITTLE_SPACE: u64 = 1 << 30;
/// Open files below which a warning is given. Each thread holds a few files of each table.
const FEW_FILES: u64 = 1024;

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Request {
    /// Folder that is to hold the run directories; files are made and removed there
    #[arg(default_value = "runs")]
    folder: PathBuf,
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// Nothing is wrong.
    Ok,
    /// A run works, but slower or with less.
    Warning,
    /// A run would stop.
    Stop,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Stop => "stop",
        }
    }
}

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    level: Level,
    /// What was found.
    found: String,
    /// What to do. Absent if there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            name,
            level: Level::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warning(self, remedy: impl Into<String>) -> Check {
        Check {
            level: Level::Warning,
            remedy: Some(remedy.into()),
            ..self
        }
    }

    fn stop(self, remedy: impl Into<String>) -> Check {
        Check {
            level: Level::Stop,
            ..self.warning(remedy)
        }
    }
}

/// Prints the checks. Exits with 1 if one of them would stop a run.
///
/// # Errors
/// If stdout cannot be written.
pub fn print(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    let mut checks = vec![version(), processors(), memory()];
    checks.extend(disk(&request.folder));
    checks.extend([open_files(), device(), terminal()]);

    if request.json {
        serde_json::to_writer_pretty(&mut *out, &checks)?;
        writeln!(out)?;
    } else {
        for check in &checks {
            let (level, found) = (check.level.word(), printable(&check.found));
            write!(out, "{level:<8} {:<11} {found}", check.name)?;
            match &check.remedy {
                Some(remedy) => writeln!(out, "; {}", printable(remedy))?,
                None => writeln!(out)?,
            }
        }
    }

    let stops = checks.iter().any(|check| check.level == Level::Stop);
    Ok(ExitCode::from(if stops { Exit::No as u8 } else { 0 }))
}

/// Version and features of the build.
fn version() -> Check {
    let features = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("faults", cfg!(feature = "faults")),
    ];
    let built: Vec<&str> = features
        .iter()
        .filter_map(|(name, is_on)| is_on.then_some(*name))
        .collect();
    let features = match built.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let check = Check::ok(
        "version",
        format!("{}, features: {features}", env!("CARGO_PKG_VERSION")),
    );
    match cfg!(feature = "faults") {
        true => check.warning("faults fails steps on demand, build without it"),
        false => check,
    }
}

/// Processors that this process may use.
fn processors() -> Check {
    match std::thread::available_parallelism() {
        Ok(n) => Check::ok("processors", counted(n.get() as u64, "thread")),
        Err(error) => Check::ok("processors", error.to_string())
            .warning("a run takes 1 thread; set --threads"),
    }
}

/// Memory that this process may use, beside what a run takes.
fn memory() -> Check {
    let Some((bytes, who)) = machine::memory() else {
        let check = Check::ok("memory", "the system does not tell how much there is");
        return check.warning("set run.memory to half of the memory");
    };

    let found = format!("{who} gives {}", size(bytes));
    if bytes < machine::LEAST {
        let least = size_text(machine::LEAST);
        return Check::ok("memory", found).stop(format!("a run needs at least {least}"));
    }
    match machine::smaller_memory() {
        None => {
            let default = size_text(Run::default().memory);
            Check::ok(
                "memory",
                format!("{found}; run.memory is {default} by default"),
            )
        }
        Some((smaller, _)) => {
            let smaller = size_text(smaller);
            Check::ok("memory", found).warning(format!("set run.memory = \"{smaller}\""))
        }
    }
}

/// Space and abilities of the file system that is to hold the run directories.
fn disk(folder: &Path) -> Vec<Check> {
    let there = folder.ancestors().find(|above| above.exists());
    let there = there
        .filter(|above| !above.as_os_str().is_empty())
        .unwrap_or(Path::new("."));

    let place = there.display();
    let kind = file_system(there);
    let space = match space::free(there) {
        None => Check::ok("space", format!("unknown in {place}"))
            .warning("the system does not tell the free space"),
        Some(free) => {
            let check = Check::ok("space", format!("{} free in {place}", size(free)));
            match free {
                0 => check.stop("make room, or use another disk"),
                1..LITTLE_SPACE => check.warning("make room, or use another disk"),
                _ => check,
            }
        }
    };
    vec![space, abilities(there, &kind)]
}

/// The kind of the file system of a folder, as the system calls it.
fn file_system(folder: &Path) -> String {
    let own = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();

    // Of two mounts in one place the later one is seen.
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(place), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        // Spaces are written as `\040`.
        let place = place.replace("\\040", " ");
        if own.starts_with(&place) && place.len() >= best.0 {
            best = (place.len(), kind);
        }
    }
    best.1.to_owned()
}

/// Tries in a folder what a run does with files.
fn abilities(folder: &Path, kind: &str) -> Check {
    let trial = folder.join(format!(".curate-doctor-{}", std::process::id()));
    let result = fs::create_dir(&trial)
        .map_err(|error| ("a folder cannot be made", error))
        .and_then(|()| try_files(&trial));
    // What is left of a failure is no more than two empty files.
    let _ = fs::remove_dir_all(&trial);

    let found = format!("file system {kind}");
    match result {
        Ok(true) => Check::ok(
            "files",
            format!("{found}: sync, rename, lock and hard links work"),
        ),
        Ok(false) => Check::ok("files", format!("{found}: no hard links"))
            .warning("a run copies files instead, which needs more time and space"),
        Err((what, error)) => {
            Check::ok("files", format!("{found}: {what}: {error}")).stop(format!(
                "use a folder where this works instead of {}",
                folder.display()
            ))
        }
    }
}

/// Writes, syncs, renames and locks a file in a folder. True if the file can have two names.
fn try_files(folder: &Path) -> Result<bool, (&'static str, io::Error)> {
    let [first, second, third] = ["a", "b", "c"].map(|name| folder.join(name));
    let of = |what| move |error| (what, error);

    durable::write(&first, b"curate").map_err(of("a file cannot be written and synced"))?;
    durable::rename(&first, &second).map_err(of("a file cannot be renamed"))?;
    durable::sync_dir(folder).map_err(of("a folder cannot be synced"))?;
    let file = File::open(&second).map_err(of("a file cannot be read"))?;
    file.lock().map_err(of("a file cannot be locked"))?;
    Ok(durable::hard_link(&second, &third).is_ok())
}

/// The number of files that this process may open.
fn open_files() -> Check {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let most = line.and_then(|line| line.split_whitespace().next());
    match most.map(|most| (most, most.parse::<u64>())) {
        Some((_, Ok(most))) if most < FEW_FILES => {
            Check::ok("open files", format!("at most {most}")).warning(format!(
                "run `ulimit -n {FEW_FILES}` before, or use fewer threads"
            ))
        }
        Some((most, _)) => Check::ok("open files", format!("at most {most}")),
        None => Check::ok("open files", "the system does not tell the limit"),
    }
}

/// The device that a model runs on by default.
fn device() -> Check {
    let has_gpu = cfg!(any(feature = "cuda", feature = "metal"));
    let device = match DeviceChoice::Auto.open() {
        Ok(device) => device,
        Err(error) => {
            let check = Check::ok("device", error.to_string());
            return check.warning("set score.perplexity.device = \"cpu\"");
        }
    };

    let free = free_bytes(&device).ok().flatten();
    let free = free.map_or(String::new(), |bytes| format!(", {} free", size(bytes)));
    let is_cpu = name(&device) == "cpu";
    let check = Check::ok("device", format!("models run on {}{free}", name(&device)));
    match (has_gpu, is_cpu) {
        (true, true) => check.warning("no GPU can be opened; see docs/gpu.md"),
        (false, _) if Path::new("/dev/nvidia0").exists() => {
            check.warning("this machine has a GPU; build with --features cuda to use it")
        }
        _ => check,
    }
}

/// Colours and the locale of the terminal.
fn terminal() -> Check {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_terminal = io::stderr().is_terminal();
    let colours = match (is_set("NO_COLOR"), is_set("CLICOLOR_FORCE"), is_terminal) {
        (true, ..) => "no colours, by NO_COLOR",
        (_, true, _) => "colours, by CLICOLOR_FORCE",
        (_, _, true) => "colours",
        _ => "no colours, because stderr is no terminal",
    };

    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    let locale = locale.unwrap_or_else(|| "C".to_owned());
    let check = Check::ok("terminal", format!("{colours}; locale {locale}"));

    let lower = locale.to_ascii_lowercase();
    let is_utf8 = lower.contains("utf-8") || lower.contains("utf8");
    match is_terminal && !is_utf8 {
        true => check.warning("set LANG=C.UTF-8, so that letters beyond ASCII are shown"),
        false => check,
    }
}
