//! Which files are input: patterns of the manifest resolved, in an order that no directory listing
//! decides, and grouped into units of work.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use curate_schemas::Manifest;
use curate_schemas::stages::documents::{Format, Source};
use curate_store::failure::{Exit, Failure};
use xxhash_rust::xxh3::xxh3_64;

use crate::readers;

/// A file that is read record by record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Where it lies, absolute.
    pub path: PathBuf,
    /// Path relative to the source's fixed prefix, with `/`: it enters ids and keys.
    pub relative: String,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified: i64,
    /// What stands in it.
    pub format: Format,
    /// How it is compressed.
    pub compression: Compression,
}

/// How a file is compressed, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`, one or more members.
    Gzip,
    /// `.zst`, one or more frames.
    Zstd,
}

/// A unit of ingest: one file, or a group of tiny files of one source, that becomes one or more
/// shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Place of its source in the manifest.
    pub source: usize,
    /// Its files, by relative path.
    pub files: Vec<InputFile>,
}

/// A file smaller than this share of a shard is tiny and shares a shard with others.
const TINY: u64 = 64;
/// A group of tiny files holds about this many at the most.
const GROUP_FILES: u64 = 4096;

/// The units of every source, ordered by source name and first path.
///
/// # Errors
/// Exit 2 for a pattern that matches nothing, a missing file, or a file of unknown format.
pub fn units(manifest: &Manifest) -> Result<Vec<Unit>> {
    let run_dir = fs::canonicalize(&manifest.run.dir).unwrap_or_else(|_| manifest.run.dir.clone());
    let mut order: Vec<usize> = (0..manifest.source.len()).collect();
    order.sort_by_key(|&source| &manifest.source[source].name);
    let mut units = Vec::new();
    for source in order {
        let files = files(&manifest.source[source], &manifest.base, &run_dir)?;
        let mut own = group(files, manifest.run.shard_size);
        own.sort_by(|a, b| a[0].relative.cmp(&b[0].relative));
        units.extend(own.into_iter().map(|files| Unit { source, files }));
    }
    Ok(units)
}

/// Every file of a source, by relative path.
fn files(source: &Source, base: &Path, run_dir: &Path) -> Result<Vec<InputFile>> {
    let mut found: BTreeMap<PathBuf, bool> = BTreeMap::new();
    let mut prefixes = Vec::new();
    for pattern in &source.path {
        let pattern = Pattern::new(source, base, pattern)?;
        let expanded = pattern.expand(source)?;
        if expanded.is_empty() {
            let message = match &pattern.rest {
                Rest::Glob(rest) => {
                    format!("no file matches {}", pattern.prefix.join(rest).display())
                }
                _ => format!("there is no file in {}", pattern.prefix.display()),
            };
            return Err(usage(source, message).into());
        }
        for path in expanded {
            *found.entry(path).or_default() |= !matches!(pattern.rest, Rest::Folder);
        }
        prefixes.push(pattern.prefix);
    }
    let prefix = common_prefix(&prefixes);
    let mut outputs = Outputs {
        run_dir: run_dir.to_path_buf(),
        known: BTreeMap::new(),
    };
    let mut files = Vec::new();
    // Files that are there under several names, by links, are read under the first of them.
    let mut seen = BTreeSet::new();
    for (path, named) in found {
        let mut is_new = || fs::canonicalize(&path).map_or(true, |file| seen.insert(file));
        if !outputs.holds(&path, &prefix) && is_new() {
            files.push(input_file(&path, named, &prefix, source)?);
        }
    }
    if files.is_empty() {
        let message = format!(
            "all files of {} were written by a run",
            source.path.join(", ")
        );
        return Err(usage(source, message).into());
    }
    files.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(files)
}

fn usage(source: &Source, message: String) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("source \"{}\": {message}", source.name),
    )
}

/// A pattern of the manifest: a folder that is there, and what is wanted below it.
struct Pattern {
    /// The part that no wildcard touches, absolute, links resolved: ids do not depend on how the
    /// manifest is named.
    prefix: PathBuf,
    rest: Rest,
}

enum Rest {
    /// Everything below.
    Folder,
    /// One file.
    File(PathBuf),
    /// What a glob finds.
    Glob(String),
}

impl Pattern {
    fn new(source: &Source, base: &Path, pattern: &str) -> Result<Pattern> {
        let base = if base.as_os_str().is_empty() {
            Path::new(".")
        } else {
            base
        };
        let full = base.join(pattern);
        let folder = |path: &Path| {
            let place = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            fs::canonicalize(place)
                .map_err(|error| usage(source, format!("{}: {error}", full.display())))
        };
        if full.is_dir() {
            return Ok(Pattern {
                prefix: folder(&full)?,
                rest: Rest::Folder,
            });
        }
        if full.exists() && !full.is_file() {
            return Err(usage(source, format!("{} is no file", full.display())).into());
        }
        if full.exists() {
            let name = full
                .file_name()
                .with_context(|| format!("{} names no file", full.display()))?;
            return Ok(Pattern {
                prefix: folder(full.parent().unwrap_or(base))?,
                rest: Rest::File(name.into()),
            });
        }
        // Wildcards are looked for in the manifest's own words only: a folder above it may be
        // called anything.
        let parts: Vec<Component> = Path::new(pattern).components().collect();
        let is_wild =
            |part: &Component| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let Some(wild) = parts.iter().position(is_wild) else {
            return Err(usage(source, format!("{} does not exist", full.display())).into());
        };
        let fixed: PathBuf = parts[..wild].iter().collect();
        let rest: PathBuf = parts[wild..].iter().collect();
        let prefix = folder(&base.join(fixed))?;
        Ok(Pattern {
            prefix,
            rest: Rest::Glob(rest.to_string_lossy().into_owned()),
        })
    }

    fn expand(&self, source: &Source) -> Result<Vec<PathBuf>> {
        match &self.rest {
            Rest::File(name) => Ok(vec![self.prefix.join(name)]),
            Rest::Folder => self.below(false),
            // The glob crate follows links round and round: two of them to their own folder are
            // 2^40 paths.
            Rest::Glob(rest) if rest.contains("**") => {
                let wanted = glob::Pattern::new(rest)
                    .map_err(|error| usage(source, format!("{rest}: {error}")))?;
                let options = glob::MatchOptions {
                    require_literal_separator: true,
                    ..glob::MatchOptions::new()
                };
                let matches = |path: &PathBuf| {
                    path.strip_prefix(&self.prefix)
                        .is_ok_and(|relative| wanted.matches_path_with(relative, options))
                };
                Ok(self.below(true)?.into_iter().filter(matches).collect())
            }
            Rest::Glob(rest) => {
                let escaped = glob::Pattern::escape(&self.prefix.to_string_lossy());
                let bad = |error: &dyn std::fmt::Display| usage(source, format!("{rest}: {error}"));
                let paths =
                    glob::glob(&format!("{escaped}/{rest}")).map_err(|error| bad(&error))?;
                let paths: Result<Vec<PathBuf>, _> = paths.collect();
                let files = paths
                    .map_err(|error| bad(&error))?
                    .into_iter()
                    .filter(|path| path.is_file());
                Ok(files.collect())
            }
        }
    }
}

impl Pattern {
    /// Every file below the prefix, as [`walk`] finds them.
    fn below(&self, is_glob: bool) -> Result<Vec<PathBuf>> {
        let (mut files, mut seen) = (BTreeSet::new(), BTreeSet::new());
        walk(&self.prefix, is_glob, &mut files, &mut seen)?;
        Ok(files.into_iter().collect())
    }
}

fn common_prefix(prefixes: &[PathBuf]) -> PathBuf {
    let Some((first, rest)) = prefixes.split_first() else {
        return PathBuf::new();
    };
    let shared = |part: usize, component: &Component| {
        rest.iter()
            .all(|prefix| prefix.components().nth(part) == Some(*component))
    };
    first
        .components()
        .enumerate()
        .take_while(|(part, component)| shared(*part, component))
        .map(|(_, c)| c)
        .collect()
}

/// Run directories below a source: what a run wrote is no input.
struct Outputs {
    run_dir: PathBuf,
    known: BTreeMap<PathBuf, bool>,
}

impl Outputs {
    fn holds(&mut self, file: &Path, prefix: &Path) -> bool {
        file.parent()
            .is_some_and(|folder| self.is_output(folder, prefix))
    }

    fn is_output(&mut self, folder: &Path, prefix: &Path) -> bool {
        if let Some(known) = self.known.get(folder) {
            return *known;
        }
        let own = folder == self.run_dir || folder.join(".curate/run.json").exists();
        let above = || folder.starts_with(prefix) && folder != prefix;
        let is = own
            || above()
                && folder
                    .parent()
                    .is_some_and(|parent| self.is_output(parent, prefix));
        self.known.insert(folder.to_path_buf(), is);
        is
    }
}

/// Every file below a folder but hidden ones and markers such as `_SUCCESS`. Links are followed,
/// each folder once. For a glob, which says itself what it wants, nothing is hidden and a folder
/// has all its names, but is not entered from below itself.
fn walk(
    folder: &Path,
    is_glob: bool,
    files: &mut BTreeSet<PathBuf>,
    seen: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let place = || format!("cannot list {}", folder.display());
    let own = fs::canonicalize(folder).with_context(place)?;
    if !seen.insert(own.clone()) {
        return Ok(());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(place)? {
        paths.push(entry.with_context(place)?.path());
    }
    // Which of two links to one folder comes first must not depend on the listing.
    paths.sort();
    for path in paths {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !is_glob && name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            walk(&path, is_glob, files, seen)?;
        } else if path.is_file() {
            // A pipe or a socket would be waited for without end.
            files.insert(path);
        }
    }
    if is_glob {
        seen.remove(&own);
    }
    Ok(())
}

fn input_file(path: &Path, named: bool, prefix: &Path, source: &Source) -> Result<InputFile> {
    let relative = path
        .strip_prefix(prefix)
        .with_context(|| format!("{} is not below its prefix", path.display()))?;
    let parts: Option<Vec<&str>> = relative
        .components()
        .map(|part| part.as_os_str().to_str())
        .collect();
    let Some(parts) = parts else {
        return Err(usage(source, format!("{} is not UTF-8", path.display()))
            .hint("rename the file")
            .into());
    };
    let (by_name, compression) = format_of(parts.last().copied().unwrap_or_default());
    let Some(format) = source.format.or(by_name) else {
        let why = if named { "" } else { " (found in its folder)" };
        let message = format!(
            "the format of {}{why} is not known from its name",
            path.display()
        );
        let hint = format!(
            "set format = \"{}\", or name the files by a glob",
            Format::WORDS.join("\" or \"")
        );
        return Err(usage(source, message).hint(hint).into());
    };
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let since_1970 = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(InputFile {
        path: path.to_path_buf(),
        relative: parts.join("/"),
        size: metadata.len(),
        modified: since_1970.map_or(0, |duration| duration.as_nanos() as i64),
        format,
        compression,
    })
}

fn format_of(name: &str) -> (Option<Format>, Compression) {
    let lower = name.to_ascii_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
        _ => (lower.as_str(), Compression::None),
    };
    let ending = stem.rsplit_once('.').map(|(_, ending)| ending);
    (ending.and_then(readers::by_ending), compression)
}

/// Tiny files share a unit. Where a group ends is decided by the file's own path and size alone, so
/// a new file changes at most the group it falls into: the chance to end it is the file's share of
/// a shard, or 1 in [`GROUP_FILES`].
fn group(files: Vec<InputFile>, shard_size: u64) -> Vec<Vec<InputFile>> {
    let mut units = Vec::new();
    let mut open = Vec::new();
    for file in files {
        if file.size * TINY >= shard_size {
            units.push(vec![file]);
            continue;
        }
        let share = (file.size as f64 / shard_size as f64).max(1.0 / GROUP_FILES as f64);
        let ends = (xxh3_64(file.relative.as_bytes()) as f64) < share * u64::MAX as f64;
        open.push(file);
        if ends {
            units.push(std::mem::take(&mut open));
        }
    }
    if !open.is_empty() {
        units.push(open);
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, size: u64) -> InputFile {
        InputFile {
            path: name.into(),
            relative: name.into(),
            size,
            modified: 0,
            format: Format::Txt,
            compression: Compression::None,
        }
    }

    #[test]
    fn formats_by_name() {
        assert_eq!(
            format_of("a.jsonl.zst"),
            (Some(Format::Jsonl), Compression::Zstd)
        );
        assert_eq!(
            format_of("A.JSON.GZ"),
            (Some(Format::Jsonl), Compression::Gzip)
        );
        assert_eq!(
            format_of("x.parquet"),
            (Some(Format::Parquet), Compression::None)
        );
        assert_eq!(format_of("notes"), (None, Compression::None));
        assert_eq!(format_of("a.zst"), (None, Compression::Zstd));
    }

    #[test]
    fn a_new_file_that_is_not_tiny_regroups_nothing() {
        let mut files: Vec<InputFile> = (0..500)
            .map(|i| file(&format!("{i:04}.txt"), 3000))
            .collect();
        let before = group(files.clone(), 1 << 20);
        assert!(before.len() > 1 && before.len() < 20, "{}", before.len());
        files.insert(250, file("0250-big.txt", 1 << 20));
        let mut after = group(files, 1 << 20);
        after.retain(|unit| unit[0].size < 1 << 20);
        assert_eq!(before, after);
    }

    #[test]
    fn a_new_tiny_file_changes_one_group() {
        let files: Vec<InputFile> = (0..500)
            .map(|i| file(&format!("{i:04}.txt"), 3000))
            .collect();
        let mut more = files.clone();
        more.insert(250, file("0249-new.txt", 3000));
        let (before, after) = (group(files, 1 << 20), group(more, 1 << 20));
        assert!(before.iter().filter(|unit| !after.contains(unit)).count() <= 1);
    }

    #[test]
    fn the_prefix_is_what_all_patterns_share() {
        let paths = [PathBuf::from("/a/b/c"), PathBuf::from("/a/b/d/e")];
        assert_eq!(common_prefix(&paths), PathBuf::from("/a/b"));
    }
}
