//! `curate gc` says what a run directory holds, and with `--delete` deletes what nothing names.
//!
//! A file is named by a commit, or it can still be used by the next run: a former commit or the
//! receipt of a finished shard names it. What else lies in the folders of stages and in the staging
//! folder was left by a run that was stopped. A file that this program does not write is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use curate_formats::numbers::{counted, grouped, size};
use curate_schemas::commit::{Commit, FileEntry};
use curate_schemas::stages::{self, stage_of_table};
use curate_schemas::tables;
use curate_store::durable;
use curate_store::failure::{Exit, exit_code};
use curate_store::run_dir::{COMMIT, RunDir, STALE, has_subfolders, read_commit};
use curate_store::terminal::{self, printable};
use serde_json::{Value, json};

use super::show::json_line;

/// The most paths that are listed for people.
const PATHS_SHOWN: usize = 20;
/// Folders of files that are not finished, and of units of work that are over.
const UNFINISHED: [&str; 3] = [".curate/staging", ".curate/spill", ".curate/rounds"];
/// Files at the top of a run directory that summarize it.
const SUMMARIES: [&str; 3] = ["run.json", "report.html", "views.sql"];

/// The arguments of `curate gc`.
#[derive(Debug, Args)]
pub struct Request {
    /// Run directory to look at
    run: PathBuf,
    /// Delete what nothing names; takes the run's lock
    #[arg(long)]
    delete: bool,
    /// Print one JSON object with every path
    #[arg(long)]
    json: bool,
}

/// Why a file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A commit names it, or it is the commit, a summary, or the state of the run.
    Named,
    /// The next run can use it: a former commit, a receipt or a finished unit of ingest.
    Reusable,
    /// Nothing names it.
    Unnamed,
    /// This program does not write such a file.
    Foreign,
}

/// Files of a kind.
#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    files: u64,
    bytes: u64,
}

/// A file of the run directory.
#[derive(Debug)]
struct Found {
    /// Path relative to the run directory.
    path: PathBuf,
    bytes: u64,
    kind: Kind,
}

/// Prints what a run directory holds, and deletes what nothing names if the request says so.
///
/// # Errors
/// Exit 2 if the path is not a run directory, 11 if `--delete` is given while another process holds
/// it, 70 if a commit is damaged, so that nobody knows what it names.
pub fn print(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    let run = match request.delete {
        true => RunDir::open_alone(&request.run)?,
        false => open(&request.run)?,
    };

    let found = inventory(&run)?;
    if request.delete {
        delete(&run, &found)?;
    }
    match request.json {
        true => writeln!(out, "{}", json_line(&to_json(&found, request.delete)))?,
        false => print_page(&found, request, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a run directory to look at it. A run that is going on is said, because its files change.
fn open(root: &Path) -> Result<RunDir> {
    // The lock is given back at once, so that nobody has to wait for a reader.
    if let Err(error) = RunDir::open_held(root) {
        if exit_code(&error) != Exit::Locked as u8 {
            return Err(error);
        }
        terminal::say("curate: a run is going on here, so staged files are not left over");
    }
    RunDir::open(root)
}

/// The names that commits and receipts give.
#[derive(Default)]
struct Names {
    /// Paths that commits name.
    named: BTreeSet<PathBuf>,
    /// Paths that a former commit names.
    stale: BTreeSet<PathBuf>,
    /// Paths that receipts name, with `/` of the folder as `_`.
    receipts: BTreeSet<PathBuf>,
}

impl Names {
    /// Adds the files of a commit in `folder`.
    fn add(into: &mut BTreeSet<PathBuf>, folder: &Path, commit: &Commit) {
        into.extend(commit.files.iter().map(|file| folder.join(&file.path)));
        for (table, files) in &commit.tables {
            into.extend(files.iter().map(|file| Path::new(table).join(&file.path)));
        }
    }

    /// Reads the commits and receipts among some files.
    fn read(root: &Path, files: &[(PathBuf, u64)]) -> Result<Names> {
        let mut names = Names::default();
        for (path, _) in files {
            let folder = path.parent().unwrap_or(Path::new(""));
            let is_called = |name: &str| path.file_name().is_some_and(|own| own == name);

            if is_called(COMMIT) {
                if let Some(commit) = read_commit(&root.join(path))? {
                    Names::add(&mut names.named, folder, &commit);
                }
            } else if is_called(STALE) {
                // A damaged former commit names nothing: the run does not use it either.
                if let Ok(Some(commit)) = read_commit(&root.join(path)) {
                    Names::add(&mut names.stale, folder, &commit);
                }
            } else if let Ok(table) = folder.strip_prefix(".curate/receipts") {
                let text = fs::read(root.join(path)).ok();
                let entry = text.and_then(|text| serde_json::from_slice::<FileEntry>(&text).ok());
                names
                    .receipts
                    .extend(entry.map(|entry| table.join(entry.path)));
            }
        }
        Ok(names)
    }

    /// The kind of a file. `has_commit` says whether a folder has a valid commit.
    fn kind(&self, path: &Path, has_commit: impl Fn(&Path) -> bool) -> Kind {
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default().to_string_lossy();

        if UNFINISHED
            .iter()
            .any(|unfinished| path.starts_with(unfinished))
        {
            return Kind::Unnamed;
        }
        if [".curate/ingest", ".curate/receipts"]
            .iter()
            .any(|of| path.starts_with(of))
        {
            return Kind::Reusable;
        }
        let is_summary = folder == Path::new("") && SUMMARIES.contains(&name.as_ref());
        if path.starts_with(".curate") || is_summary {
            return Kind::Named;
        }

        let table = folder.to_string_lossy();
        if !is_table(folder) {
            return Kind::Foreign;
        }
        match name.as_ref() {
            COMMIT => Kind::Named,
            // A run deletes a former commit as soon as its folder has a new one.
            STALE if has_commit(folder) => Kind::Unnamed,
            STALE => Kind::Reusable,
            name if !name.starts_with("part-") || !name.ends_with(".parquet") => Kind::Foreign,
            _ if self.named.contains(path) => Kind::Named,
            name if self
                .receipts
                .contains(&Path::new(&table.replace('/', "_")).join(name)) =>
            {
                Kind::Reusable
            }
            _ if self.stale.contains(path) && !has_commit(folder) => Kind::Reusable,
            _ => Kind::Unnamed,
        }
    }
}

/// True if a folder holds a table: `filter`, or `mix/general` of a mixture.
fn is_table(folder: &Path) -> bool {
    let names: Vec<_> = folder.iter().filter_map(|name| name.to_str()).collect();
    match names[..] {
        [name] => tables::table(name).is_some(),
        [name, _] => stages::stage(name).is_some_and(has_subfolders),
        _ => false,
    }
}

/// Every file of a run directory, in the order of the paths. Links are not followed.
///
/// # Errors
/// Exit 70 if a commit is damaged. If a folder cannot be listed.
fn inventory(run: &RunDir) -> Result<Vec<Found>> {
    let mut files = Vec::new();
    list(run.root(), Path::new(""), &mut files)?;
    files.sort();

    let names = Names::read(run.root(), &files)?;
    // The tables of a stage that lie in folders of their own are committed with the stage.
    let commits: BTreeSet<&Path> = files
        .iter()
        .filter(|(path, _)| path.ends_with(COMMIT))
        .filter_map(|(path, _)| path.parent())
        .collect();
    let has_commit = |folder: &Path| {
        let stage = stage_of_table(&folder.to_string_lossy()).map(|stage| stage.name);
        commits.contains(folder) || stage.is_some_and(|stage| commits.contains(Path::new(stage)))
    };

    let found = files.iter().map(|(path, bytes)| Found {
        path: path.clone(),
        bytes: *bytes,
        kind: names.kind(path, has_commit),
    });
    Ok(found.collect())
}

/// Adds every file below a folder. What vanishes meanwhile is left out.
fn list(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let path = root.join(folder);
    let place = || format!("cannot list {}", path.display());
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(place)?,
    };

    for entry in entries {
        let entry = entry.with_context(place)?;
        let own = folder.join(entry.file_name());
        // Metadata of the entry itself: a link is a small file here.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        match metadata.is_dir() {
            true => list(root, &own, files)?,
            false => files.push((own, metadata.len())),
        }
    }
    Ok(())
}

/// Deletes what nothing names, and the empty folders of unfinished files. The caller holds the lock.
fn delete(run: &RunDir, found: &[Found]) -> Result<()> {
    for file in found.iter().filter(|file| file.kind == Kind::Unnamed) {
        let path = run.root().join(&file.path);
        durable::remove(&path).with_context(|| format!("cannot delete {}", path.display()))?;
    }

    for folder in UNFINISHED.map(|folder| run.root().join(folder)) {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            durable::remove_dir(&path)
                .with_context(|| format!("cannot delete {}", path.display()))?;
        }
    }
    Ok(())
}

/// The folder under which a file is listed: that of its table, or one below `.curate`.
fn folder_of(path: &Path) -> String {
    let folder = path.parent().unwrap_or(Path::new(""));
    let depth = if folder.starts_with(".curate") {
        2
    } else {
        usize::MAX
    };
    let folder: PathBuf = folder.components().take(depth).collect();
    match folder.to_string_lossy() {
        name if name.is_empty() => ".".to_owned(),
        name => name.into_owned(),
    }
}

/// The files of each folder by kind.
fn by_folder(found: &[Found]) -> BTreeMap<String, [Amount; 4]> {
    let mut folders: BTreeMap<String, [Amount; 4]> = BTreeMap::new();
    for file in found {
        let amounts = folders.entry(folder_of(&file.path)).or_default();
        let amount = &mut amounts[file.kind as usize];
        amount.files += 1;
        amount.bytes += file.bytes;
    }
    folders
}

/// Names of the kinds, in their order.
const KINDS: [&str; 4] = ["named", "reusable", "unnamed", "foreign"];

/// Prints the folders and what was or can be deleted.
fn print_page(found: &[Found], request: &Request, out: &mut impl Write) -> Result<()> {
    let folders = by_folder(found);
    let mut total = [Amount::default(); 4];
    let names = folders.keys().map(|name| printable(name).chars().count());
    let width = names.max().unwrap_or_default().max("folder".len());

    write!(out, "{:<width$}", "folder")?;
    for kind in KINDS {
        write!(out, "{:>9}{kind:>12}", "files")?;
    }
    writeln!(out)?;
    for (name, amounts) in &folders {
        print_row(&printable(name), width, amounts, out)?;
        for (sum, amount) in total.iter_mut().zip(amounts) {
            sum.files += amount.files;
            sum.bytes += amount.bytes;
        }
    }
    print_row("total", width, &total, out)?;

    let of = |kind: Kind| found.iter().filter(move |file| file.kind == kind);
    let foreign: Vec<_> = of(Kind::Foreign).map(|file| shown(&file.path)).collect();
    print_paths("not written by curate, left alone", &foreign, out)?;
    let unnamed: Vec<_> = of(Kind::Unnamed).map(|file| shown(&file.path)).collect();
    let what = if request.delete {
        "deleted"
    } else {
        "nothing names"
    };
    print_paths(what, &unnamed, out)?;

    let Amount { files, bytes } = total[Kind::Unnamed as usize];
    let files = counted(files, "file");
    match (unnamed.is_empty(), request.delete) {
        (true, _) => writeln!(out, "\nnothing to delete")?,
        (false, true) => writeln!(out, "\ndeleted {files}, {}", size(bytes))?,
        (false, false) => writeln!(
            out,
            "\n{files}, {}, can be deleted: curate gc {} --delete",
            size(bytes),
            shown(&request.run)
        )?,
    }
    Ok(())
}

/// A path, safe for a terminal.
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Prints the files of a folder by kind.
fn print_row(
    name: &str,
    width: usize,
    amounts: &[Amount; 4],
    out: &mut impl Write,
) -> std::io::Result<()> {
    write!(out, "{name:<width$}")?;
    for Amount { files, bytes } in amounts {
        match files {
            0 => write!(out, "{:>9}{:>12}", "-", "-")?,
            files => write!(out, "{:>9}{:>12}", grouped(*files), size(*bytes))?,
        }
    }
    writeln!(out)
}

/// Prints the first paths of a list.
fn print_paths(what: &str, paths: &[String], out: &mut impl Write) -> std::io::Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{what}:")?;
    for path in paths.iter().take(PATHS_SHOWN) {
        writeln!(out, "  {path}")?;
    }
    match paths.len().saturating_sub(PATHS_SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more, see --json"),
    }
}

/// The inventory for programs.
fn to_json(found: &[Found], deleted: bool) -> Value {
    let folders = by_folder(found).into_iter().map(|(folder, amounts)| {
        let mut line = json!({ "folder": folder });
        for (kind, Amount { files, bytes }) in KINDS.iter().zip(amounts) {
            line[kind] = json!({ "files": files, "bytes": bytes });
        }
        line
    });
    let paths = |kind: Kind| -> Value {
        let files = found.iter().filter(|file| file.kind == kind);
        let files =
            files.map(|file| json!({ "path": file.path.to_string_lossy(), "bytes": file.bytes }));
        files.collect()
    };
    json!({
        "folders": folders.collect::<Value>(),
        "unnamed": paths(Kind::Unnamed),
        "foreign": paths(Kind::Foreign),
        "deleted": deleted,
    })
}
