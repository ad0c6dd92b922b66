//! Finds the input files. The files that `search` finds are described, and grouped into units of
//! work. The order of the files does not depend on directory listings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use curate_schemas::Manifest;
use curate_schemas::stages::documents::{Format, Source, Web};
use curate_store::failure::{Exit, Failure};
use xxhash_rust::xxh3::xxh3_64;

use crate::readers;
use crate::search::{Found, LeftOut, search, usage};

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
/// The most names in a line about files that are left out.
const NAMES_SHOWN: usize = 5;

/// The input of a run.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The units of every source, ordered by source name and first path.
    pub units: Vec<Unit>,
    /// What a user should know of the files, a line each.
    pub notes: Vec<String>,
}

/// The input that a manifest names.
///
/// # Errors
/// Exit 2 for a pattern that matches no file, a missing file, or a file of unknown format.
pub fn find(manifest: &Manifest) -> Result<Inputs> {
    // The run directory may not exist yet. Then it holds no file to leave out.
    let run_dir = fs::canonicalize(&manifest.run.dir).unwrap_or_else(|_| manifest.run.dir.clone());
    // By name, so that the order of the sources in the manifest does not matter.
    let mut order: Vec<usize> = (0..manifest.source.len()).collect();
    order.sort_by_key(|&source| &manifest.source[source].name);

    let mut inputs = Inputs::default();
    let mut readers = Readers::default();
    for number in order {
        let source = &manifest.source[number];
        let files = files(source, &manifest.base, &run_dir, &mut inputs.notes)?;
        for (file, identity) in &files {
            readers.add(&source.name, &file.path, identity.clone());
        }

        let files: Vec<InputFile> = files.into_iter().map(|(file, _)| file).collect();
        let is_page = |file: &InputFile| matches!(file.format, Format::Warc | Format::Html);
        if source.web != Web::default() && !files.iter().any(is_page) {
            let message = "[source.web] says how pages are read, and no file is an archive of them";
            let hint = "remove the table, or set format = \"warc\" or format = \"html\"";
            return Err(usage(source, message.to_owned()).hint(hint).into());
        }
        let mut own = group(files, manifest.run.shard_size);
        own.sort_by(|a, b| a[0].relative.cmp(&b[0].relative));
        let units = own.into_iter().map(|files| Unit {
            source: number,
            files,
        });
        inputs.units.extend(units);
    }

    inputs.notes.extend(readers.notes());
    Ok(inputs)
}

/// Every file of a source with its identity, by relative path. `base` is the folder of the
/// manifest. Files that a run wrote are left out. `notes` gets what a user should know of them.
fn files(
    source: &Source,
    base: &Path,
    run_dir: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<(InputFile, Identity)>> {
    let found = search(source, base)?;
    let prefix = &found.prefix;
    let mut outputs = Outputs {
        run_dir: run_dir.to_path_buf(),
        known: BTreeMap::new(),
    };

    let (mut files, unknown) = described(source, &found, &mut outputs)?;
    if !unknown.is_empty() {
        return Err(unknown_format(source, prefix, &unknown).into());
    }
    if files.is_empty() {
        let all = source.path.join(", ");
        // Before the first run, the run directory may be a folder of input files by mistake.
        let is_run = run_dir.join(".curate/run.json").exists();
        if !is_run && found.files.keys().any(|path| path.starts_with(run_dir)) {
            let message = format!(
                "all files of {all} are in the run directory {}",
                run_dir.display()
            );
            return Err(usage(source, message)
                .hint("name a new or an empty directory as the run directory")
                .into());
        }
        return Err(usage(source, format!("all files of {all} were written by a run")).into());
    }

    let patterns = found.notes.into_iter();
    notes.extend(patterns.map(|note| format!("source \"{}\": {note}", source.name)));
    let mut left_out = found.left_out;
    left_out.retain(|path, _| !outputs.holds(path, prefix));
    notes.extend(left_out_notes(source, prefix, &left_out));

    files.sort_by(|(a, _), (b, _)| a.relative.cmp(&b.relative));
    Ok(files)
}

/// Files with their identities, and files of unknown format.
type Described<'a> = (Vec<(InputFile, Identity)>, Vec<(&'a Path, bool)>);

/// The files of a search with their identities, and those of unknown format: true for a file that a
/// pattern selects. Files that a run wrote are left out.
fn described<'a>(
    source: &Source,
    found: &'a Found,
    outputs: &mut Outputs,
) -> Result<Described<'a>> {
    let (mut files, mut unknown) = (Vec::new(), Vec::new());
    // A file that has several names, by links, is read under the first of them.
    let mut seen = BTreeSet::new();
    for (path, is_selected) in &found.files {
        // The order matters: a name inside a run directory must not hide a name outside of it.
        if !outputs.holds(path, &found.prefix) {
            let identity = Identity::of(path)?;
            if seen.insert(identity.clone()) {
                match input_file(path, &found.prefix, source)? {
                    Some(file) => files.push((file, identity)),
                    None => unknown.push((path.as_path(), *is_selected)),
                }
            }
        }
    }
    Ok((files, unknown))
}

/// What a path holds, for a program that looks at files before there is a manifest.
#[derive(Debug, Default)]
pub struct Survey {
    /// The files whose format is known, by path.
    pub files: Vec<InputFile>,
    /// The files whose format is not known from their names, by path.
    pub unknown: Vec<PathBuf>,
    /// The deepest folder that all files are in, absolute and with links resolved.
    pub prefix: PathBuf,
}

/// The files that a source selects. `base` is the folder that its paths are relative to. Files that
/// a run wrote are left out, and a folder may hold files of unknown formats.
///
/// # Errors
/// Exit 2 for a pattern that matches no file, a missing file, or a path that is not UTF-8.
pub fn survey(source: &Source, base: &Path) -> Result<Survey> {
    let found = search(source, base)?;
    let mut outputs = Outputs {
        run_dir: PathBuf::new(),
        known: BTreeMap::new(),
    };

    let (files, unknown) = described(source, &found, &mut outputs)?;
    let unknown = unknown.into_iter().map(|(path, _)| path.to_path_buf());
    Ok(Survey {
        files: files.into_iter().map(|(file, _)| file).collect(),
        unknown: unknown.collect(),
        prefix: found.prefix,
    })
}

/// Lines about the files and folders that a source leaves out: one about those that a source does
/// not read by default, and a warning about those that cannot be read.
fn left_out_notes(
    source: &Source,
    prefix: &Path,
    left_out: &BTreeMap<PathBuf, LeftOut>,
) -> Vec<String> {
    let list = |is_suspicious: bool| {
        let mut names = left_out
            .iter()
            .filter(|(_, why)| why.is_suspicious() == is_suspicious)
            .map(|(path, why)| {
                let path = path.strip_prefix(prefix).unwrap_or(path);
                format!("{} ({})", path.display(), why.words())
            });
        let first: Vec<String> = names.by_ref().take(NAMES_SHOWN).collect();
        let others = names.count();
        let more = match others {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        (first.len() + others, first.join(", ") + &more)
    };
    let ((n, names), (n_lost, lost)) = (list(false), list(true));
    let counted = |n| match n {
        1 => "1 name".to_owned(),
        n => format!("{n} names"),
    };

    let mut notes = Vec::new();
    if n > 0 {
        notes.push(format!(
            "source \"{}\" leaves out {}: {names}; to read one, name it in path",
            source.name,
            counted(n)
        ));
    }
    if n_lost > 0 {
        notes.push(format!(
            "warning: source \"{}\" cannot read {}: {lost}",
            source.name,
            counted(n_lost)
        ));
    }
    notes
}

/// What tells files apart. All names of a file have one identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    /// The path with links resolved.
    Path(PathBuf),
    /// Device and number, for a file with hard links. Other files do not go by their number,
    /// because some network file systems give one number to several files.
    Number(u64, u64),
}

impl Identity {
    fn of(path: &Path) -> Result<Identity> {
        let place = || format!("cannot read {}", path.display());
        let metadata = fs::metadata(path).with_context(place)?;

        Ok(match metadata.nlink() {
            0 | 1 => Identity::Path(fs::canonicalize(path).with_context(place)?),
            _ => Identity::Number(metadata.dev(), metadata.ino()),
        })
    }
}

/// The sources that read each file.
#[derive(Default)]
struct Readers<'a> {
    /// The first source of each file.
    first: BTreeMap<Identity, &'a str>,
    /// The sources of each file that several sources read, and its path in the second of them.
    shared: BTreeMap<Identity, (Vec<&'a str>, PathBuf)>,
}

impl<'a> Readers<'a> {
    /// Adds a file of a source, which has each file once.
    fn add(&mut self, source: &'a str, path: &Path, identity: Identity) {
        let first = *self.first.entry(identity.clone()).or_insert(source);
        if first != source {
            let shared = self.shared.entry(identity);
            let (sources, _) = shared.or_insert_with(|| (vec![first], path.to_owned()));
            sources.push(source);
        }
    }

    /// A warning for each group of sources that read a file. It has the number of their files, and
    /// the first of these files.
    fn notes(self) -> impl Iterator<Item = String> {
        let mut groups: BTreeMap<Vec<&str>, (u64, PathBuf)> = BTreeMap::new();
        for (sources, path) in self.shared.into_values() {
            let (n, first) = groups.entry(sources).or_insert_with(|| (0, path.clone()));
            *n += 1;
            if path < *first {
                *first = path;
            }
        }

        groups.into_iter().map(|(sources, (n, path))| {
            let quoted: Vec<String> = sources.iter().map(|name| format!("\"{name}\"")).collect();
            let (last, others) = quoted.split_last().expect("a group has two sources");
            let (both, times) = match sources.len() {
                2 => ("both", "twice".to_owned()),
                sources => ("all", format!("{sources} times")),
            };
            let files = match n {
                1 => "a file".to_owned(),
                n => format!("{n} files, the first is"),
            };
            format!(
                "warning: sources {} and {last} {both} read {files} {}, so its records are read \
                 {times}",
                others.join(", "),
                path.display()
            )
        })
    }
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

/// Describes a file. `None` if its format is unknown.
///
/// # Errors
/// Exit 2 if its path is not UTF-8.
fn input_file(path: &Path, prefix: &Path, source: &Source) -> Result<Option<InputFile>> {
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
        return Ok(None);
    };

    // A time that is missing or before 1970 counts as 0.
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let since_1970 = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());

    Ok(Some(InputFile {
        path: path.to_path_buf(),
        relative: parts.join("/"),
        size: metadata.len(),
        modified: since_1970.map_or(0, |duration| duration.as_nanos() as i64),
        format,
        compression,
    }))
}

/// A file that is in no run.
///
/// # Errors
/// Exit 2 if there is no such file, or if its format is not known.
pub fn alone(path: &Path, source: &Source) -> Result<InputFile> {
    let folder = path.parent().unwrap_or(Path::new(""));
    if !path.is_file() {
        let message = format!("{} is not a file", path.display());
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let file = input_file(path, folder, source)?;
    file.ok_or_else(|| unknown_format(source, folder, &[(path, true)]).into())
}

/// The failure of a source with files whose format is unknown. `unknown` has at least one file,
/// with false for a file that was only found in a folder.
fn unknown_format(source: &Source, prefix: &Path, unknown: &[(&Path, bool)]) -> Failure {
    let message = match unknown {
        [(path, is_selected)] => {
            let why = match is_selected {
                true => "",
                false => ", which was found in a folder,",
            };
            format!(
                "the format of {}{why} is not known from its name",
                path.display()
            )
        }
        all => {
            let names = all.iter().take(NAMES_SHOWN).map(|(path, _)| {
                let name = path.strip_prefix(prefix).unwrap_or(path);
                name.display().to_string()
            });
            let more = match all.len().saturating_sub(NAMES_SHOWN) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!(
                "the formats of {} files in {} are not known from their names: {}{more}",
                all.len(),
                prefix.display(),
                names.collect::<Vec<_>>().join(", ")
            )
        }
    };

    let endings: Vec<String> = readers::READERS
        .iter()
        .flat_map(|reader| reader.endings)
        .map(|ending| format!(".{ending}"))
        .collect();
    usage(source, message).hint(format!(
        "set format, for example \"txt\" to read each file as one text, or select the files with a \
         glob; the endings that are known are {}",
        endings.join(", ")
    ))
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
    fn all_sources_of_a_file_are_named_at_once() {
        let mut readers = Readers::default();
        for (source, names) in [
            ("a", &["x", "y", "z"][..]),
            ("b", &["x"][..]),
            ("c", &["x", "z", "y"][..]),
        ] {
            for name in names {
                let path = Path::new(name);
                readers.add(source, path, Identity::Path(path.to_owned()));
            }
        }
        assert_eq!(
            readers.notes().collect::<Vec<_>>(),
            [
                "warning: sources \"a\", \"b\" and \"c\" all read a file x, so its records are read \
                 3 times",
                "warning: sources \"a\" and \"c\" both read 2 files, the first is y, so its records \
                 are read twice",
            ]
        );
    }

    #[test]
    fn formats_by_name() {
        assert_eq!(
            format_of("a.jsonl.zst"),
            (Some(Format::Jsonl), Compression::Zstd)
        );
        assert_eq!(
            format_of("A.JSON.GZ"),
            (Some(Format::Json), Compression::Gzip)
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
}
