//! Finds the input files. The patterns of the manifest are resolved into files, and the files are
//! grouped into units of work. The order of the files does not depend on directory listings.

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
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Path relative to the fixed prefix of the source, with `/`. It enters ids and keys.
    pub relative: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified: i64,
    /// Format of the decompressed file.
    pub format: Format,
    /// Compression of the whole file.
    pub compression: Compression,
}

/// The compression of a file, as the end of its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// The file is not compressed.
    None,
    /// Gzip: `.gz`, one or more members.
    Gzip,
    /// Zstandard: `.zst` or `.zstd`, one or more frames.
    Zstd,
}

/// A unit of ingest: one file, or a group of tiny files of one source. A unit becomes one or more
/// shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Index of the source in the manifest.
    pub source: usize,
    /// Files of the unit, by relative path.
    pub files: Vec<InputFile>,
}

/// A file smaller than the shard size divided by this number is tiny. It shares a shard with
/// others.
const TINY: u64 = 64;
/// The largest number of files in a group of tiny files, on average.
const GROUP_FILES: u64 = 4096;

/// The units of every source, ordered by source name and first path.
///
/// # Errors
/// Exit 2 for a pattern that matches no file, a missing file, or a file of unknown format.
pub fn units(manifest: &Manifest) -> Result<Vec<Unit>> {
    // The run directory may not exist yet. Then it holds no file to leave out.
    let run_dir = fs::canonicalize(&manifest.run.dir).unwrap_or_else(|_| manifest.run.dir.clone());
    // By name, so that the order of the sources in the manifest does not matter.
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

/// Every file of a source, by relative path. `base` is the folder of the manifest. Files that a run
/// wrote are left out.
fn files(source: &Source, base: &Path, run_dir: &Path) -> Result<Vec<InputFile>> {
    let (found, prefix) = matched(source, base)?;
    let mut outputs = Outputs {
        run_dir: run_dir.to_path_buf(),
        known: BTreeMap::new(),
    };

    let mut files = Vec::new();
    // A file that has several names, by links, is read under the first of them.
    let mut seen = BTreeSet::new();
    for (path, is_named) in found {
        // The order matters: a name inside a run directory must not hide a name outside of it.
        if !outputs.holds(&path, &prefix)
            && fs::canonicalize(&path).map_or(true, |file| seen.insert(file))
        {
            files.push(input_file(&path, is_named, &prefix, source)?);
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

/// The files that the patterns of a source match, and the folder that all patterns share. A file
/// has `true` if a pattern names it, and `false` if it was only found in a folder.
fn matched(source: &Source, base: &Path) -> Result<(BTreeMap<PathBuf, bool>, PathBuf)> {
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
    Ok((found, common_prefix(&prefixes)))
}

/// A failure with exit 2 that names the source.
fn usage(source: &Source, message: String) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("source \"{}\": {message}", source.name),
    )
}

/// A pattern of the manifest, taken apart: a folder that exists, and the part that selects files in
/// this folder.
struct Pattern {
    /// The part without wildcards, absolute and with links resolved. Ids therefore do not depend on
    /// the name that the manifest is opened by.
    prefix: PathBuf,
    rest: Rest,
}

/// The files in a folder that a pattern matches.
enum Rest {
    /// Every file below the folder.
    Folder,
    /// One file by its name.
    File(PathBuf),
    /// Every file that a glob matches.
    Glob(String),
}

impl Pattern {
    /// Takes a pattern apart.
    ///
    /// # Errors
    /// Exit 2 if the pattern has no wildcard and no file or folder has this path.
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

        // An existing path is taken literally, so names with brackets or question marks work.
        if full.is_dir() {
            return Ok(Pattern {
                prefix: folder(&full)?,
                rest: Rest::Folder,
            });
        }
        if full.exists() && !full.is_file() {
            let message = format!("{} is not a regular file", full.display());
            return Err(usage(source, message).into());
        }
        if full.exists() {
            let name = full
                .file_name()
                .with_context(|| format!("{} does not end with a file name", full.display()))?;
            return Ok(Pattern {
                prefix: folder(full.parent().unwrap_or(base))?,
                rest: Rest::File(name.into()),
            });
        }

        // Only the pattern itself is searched for wildcards. A folder above the manifest may have
        // such characters in its name.
        let parts: Vec<Component> = Path::new(pattern).components().collect();
        let wild = parts
            .iter()
            .position(|part| part.as_os_str().to_string_lossy().contains(['*', '?', '[']));
        let Some(wild) = wild else {
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

    /// The files that the pattern matches.
    fn expand(&self, source: &Source) -> Result<Vec<PathBuf>> {
        match &self.rest {
            Rest::File(name) => Ok(vec![self.prefix.join(name)]),
            Rest::Folder => self.below(false),

            // The glob crate follows links in circles: two links to the folder that they are in
            // become 2^40 paths. So the folders are walked here and the paths are matched.
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
                // Wildcards in the prefix are part of the names of folders.
                let escaped = glob::Pattern::escape(&self.prefix.to_string_lossy());
                let bad = |error: &dyn std::fmt::Display| usage(source, format!("{rest}: {error}"));
                let paths =
                    glob::glob(&format!("{escaped}/{rest}")).map_err(|error| bad(&error))?;
                // A folder that cannot be listed is an error, not a missing match.
                let paths: Result<Vec<PathBuf>, _> = paths.collect();
                let files = paths
                    .map_err(|error| bad(&error))?
                    .into_iter()
                    .filter(|path| path.is_file());
                Ok(files.collect())
            }
        }
    }

    /// Every file below the prefix, as [`walk`] finds them.
    fn below(&self, is_glob: bool) -> Result<Vec<PathBuf>> {
        let (mut files, mut seen) = (BTreeSet::new(), BTreeSet::new());
        walk(&self.prefix, is_glob, &mut files, &mut seen)?;
        Ok(files.into_iter().collect())
    }
}

/// The deepest folder that all prefixes are in.
fn common_prefix(prefixes: &[PathBuf]) -> PathBuf {
    let Some((first, rest)) = prefixes.split_first() else {
        return PathBuf::new();
    };

    let shared = first.components().enumerate().take_while(|(part, name)| {
        rest.iter()
            .all(|prefix| prefix.components().nth(*part) == Some(*name))
    });
    shared.map(|(_, name)| name).collect()
}

/// The run directories below a source. The files in them are outputs, not inputs.
struct Outputs {
    run_dir: PathBuf,
    /// The folders that were checked: true for a folder that is a run directory or is in one.
    known: BTreeMap<PathBuf, bool>,
}

impl Outputs {
    /// True if a file is in a run directory.
    fn holds(&mut self, file: &Path, prefix: &Path) -> bool {
        file.parent()
            .is_some_and(|folder| self.is_output(folder, prefix))
    }

    /// True if a folder is a run directory or is in a run directory.
    fn is_output(&mut self, folder: &Path, prefix: &Path) -> bool {
        if let Some(known) = self.known.get(folder) {
            return *known;
        }

        let own = folder == self.run_dir || folder.join(".curate/run.json").exists();
        // The search ends at the prefix, because a source may name a folder inside a run directory.
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

/// Adds every file below a folder to `files`. Links are followed.
///
/// Without a glob, hidden files and markers such as `_SUCCESS` are left out, and a folder with
/// several names is entered once. A glob says itself which names it wants. So with `is_glob` no
/// name is left out and a folder is entered by each of its names, but never from inside itself.
fn walk(
    folder: &Path,
    is_glob: bool,
    files: &mut BTreeSet<PathBuf>,
    seen: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let place = || format!("cannot list {}", folder.display());

    // `seen` ends circles of links.
    let own = fs::canonicalize(folder).with_context(place)?;
    if !seen.insert(own.clone()) {
        return Ok(());
    }

    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(place)? {
        paths.push(entry.with_context(place)?.path());
    }
    // The first of two links to one folder must not depend on the order of the listing.
    paths.sort();

    for path in paths {
        let name = path.file_name().unwrap_or_default();
        if !is_glob && name.to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            walk(&path, is_glob, files, seen)?;
        } else if path.is_file() {
            // Not pipes and sockets: a run would wait for their bytes for ever.
            files.insert(path);
        }
    }

    // For a glob, only the folders on the way down from the top are blocked.
    if is_glob {
        seen.remove(&own);
    }
    Ok(())
}

/// Describes a file. `is_named` is false if the file was only found in a folder.
///
/// # Errors
/// Exit 2 if its path is not UTF-8 or its format is unknown.
fn input_file(path: &Path, is_named: bool, prefix: &Path, source: &Source) -> Result<InputFile> {
    // The path enters ids and keys, so it must have one spelling.
    let relative = path.strip_prefix(prefix).with_context(|| {
        format!(
            "{} is not in the folder {}",
            path.display(),
            prefix.display()
        )
    })?;
    let parts: Option<Vec<&str>> = relative
        .components()
        .map(|part| part.as_os_str().to_str())
        .collect();
    let Some(parts) = parts else {
        return Err(usage(source, format!("{} is not UTF-8", path.display()))
            .hint("rename the file or its folder")
            .into());
    };

    let (by_name, compression) = format_of(parts.last().copied().unwrap_or_default());
    let Some(format) = source.format.or(by_name) else {
        let why = if is_named {
            ""
        } else {
            ", which was found in a folder,"
        };
        let message = format!(
            "the format of {}{why} is not known from its name",
            path.display()
        );
        let hint = format!(
            "set format = \"{}\", or select the files with a glob",
            Format::WORDS.join("\" or \"")
        );
        return Err(usage(source, message).hint(hint).into());
    };

    // A time that is missing or before 1970 counts as 0.
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

/// The format and the compression of a file by its name. The format is `None` for an ending that no
/// reader has.
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

/// Groups files into units. Tiny files share a unit.
///
/// The path and the size of a file alone decide if a group ends with it, so that a new file changes
/// at most the group that it falls into. The chance that a group ends is the share of the file in a
/// shard, and at least 1 in [`GROUP_FILES`].
fn group(files: Vec<InputFile>, shard_size: u64) -> Vec<Vec<InputFile>> {
    let mut units = Vec::new();
    let mut open = Vec::new();
    for file in files {
        if file.size * TINY >= shard_size {
            // The open group goes on behind this file.
            units.push(vec![file]);
            continue;
        }

        let share = (file.size as f64 / shard_size as f64).max(1.0 / GROUP_FILES as f64);
        // The hash stands in for a random number that is the same in every run.
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
