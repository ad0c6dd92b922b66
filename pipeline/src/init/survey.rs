//! Finds the files of the given paths, and divides them into sources.
//!
//! Files of one format in one folder are a source. If a path holds up to [`MOST_FOLDERS`] folders,
//! each is a source of its own. Files with records are divided further by the beginnings of their
//! names, such as `train` of `train-00000-of-00010.parquet`. A source is written as a folder or as
//! globs only if they select its files and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use curate_ingest::inputs::{self, InputFile};
use curate_schemas::stages::documents::{Format, Source};
use curate_store::failure::{Exit, Failure};

/// The most folders of a path that become a source each.
const MOST_FOLDERS: usize = 20;
/// The most beginnings of names in a folder that become a source each.
const MOST_FAMILIES: usize = 8;
/// The most paths of a source, unless no glob selects its files.
const MOST_PATHS: usize = 50;

/// Endings of text files that no reader has, but whose files are read as one text each. The `bool` is
/// true for source code.
const TEXT_ENDINGS: [(&str, bool); 40] = [
    ("adoc", false),
    ("org", false),
    ("rst", false),
    ("tex", false),
    ("asm", true),
    ("bash", true),
    ("c", true),
    ("cc", true),
    ("clj", true),
    ("cpp", true),
    ("cs", true),
    ("css", true),
    ("cu", true),
    ("dart", true),
    ("ex", true),
    ("f90", true),
    ("go", true),
    ("h", true),
    ("hpp", true),
    ("hs", true),
    ("java", true),
    ("jl", true),
    ("js", true),
    ("jsx", true),
    ("kt", true),
    ("lua", true),
    ("m", true),
    ("ml", true),
    ("php", true),
    ("pl", true),
    ("py", true),
    ("r", true),
    ("rb", true),
    ("rs", true),
    ("scala", true),
    ("sh", true),
    ("sql", true),
    ("swift", true),
    ("ts", true),
    ("tsx", true),
];

/// Files that become one source.
#[derive(Debug)]
pub struct Group {
    /// Name of the source.
    pub name: String,
    /// The key `path` of the source, relative to the folder of the manifest if the files are in it.
    pub paths: Vec<String>,
    /// The format of all files.
    pub format: Format,
    /// True if the names of the files do not tell their format.
    pub is_set: bool,
    /// True if the files are source code, by their names.
    pub is_code: bool,
    /// The files, by path.
    pub files: Vec<InputFile>,
}

/// What the paths hold.
#[derive(Debug, Default)]
pub struct Found {
    /// The sources, by name.
    pub groups: Vec<Group>,
    /// The number of files that no source reads, by the endings of their names.
    pub unread: BTreeMap<String, u64>,
}

/// What files of one source have in common: the folder of the path, a folder in it or nothing, the
/// format, whether the format must be set, and whether the files are code.
type Key = (PathBuf, String, &'static str, bool, bool);

/// The sources of the paths. `base` is the folder of the manifest, absolute and with links resolved,
/// and `own` is the name of the manifest there, which is no input.
///
/// # Errors
/// Exit 2 if a path does not exist, holds no file, or is not UTF-8.
pub fn find(paths: &[PathBuf], base: &Path, own: &OsStr) -> Result<Found> {
    let manifest = base.join(own);
    let mut found = Found::default();
    let mut groups: BTreeMap<Key, Vec<InputFile>> = BTreeMap::new();
    let mut seen = BTreeSet::new();

    for path in paths {
        let (root, files) = read(path, &manifest, &mut found.unread)?;
        let depth = shared_folders(&files);
        let folder = |file: &InputFile| {
            let mut parts: Vec<&str> = file.relative.split('/').skip(depth).collect();
            parts.pop();
            parts.first().copied().unwrap_or_default().to_owned()
        };
        let folders: BTreeSet<String> = files.iter().map(|found| folder(&found.file)).collect();
        let root = files.first().map_or(root.clone(), |first| {
            let parts = first.file.relative.split('/').take(depth);
            parts.fold(root, |root, part| root.join(part))
        });

        for Told {
            file,
            is_set,
            is_code,
        } in files
        {
            let own = match folders.len() <= MOST_FOLDERS {
                true => folder(&file),
                false => String::new(),
            };
            if seen.insert(file.path.clone()) {
                let key = (root.clone(), own, word(file.format), is_set, is_code);
                groups.entry(key).or_default().push(file);
            }
        }
    }

    let mut names = BTreeSet::new();
    for (key, files) in groups {
        for (name, paths, files) in families(&key, files, base) {
            found.groups.push(Group {
                name: unique(&name, key.2, &mut names),
                paths,
                format: files[0].format,
                is_set: key.3,
                is_code: key.4,
                files,
            });
        }
    }
    found.groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// A file whose format is known.
struct Told {
    file: InputFile,
    /// True if the name does not tell the format.
    is_set: bool,
    is_code: bool,
}

/// The files of a path, and the folder that their relative paths begin in. `unread` counts the other
/// files.
fn read(
    path: &Path,
    manifest: &Path,
    unread: &mut BTreeMap<String, u64>,
) -> Result<(PathBuf, Vec<Told>)> {
    let Some(text) = path.to_str() else {
        let message = format!("{} is not UTF-8", path.display());
        let hint = "rename the file or its folder";
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    };
    let survey = inputs::survey(&source(vec![text.to_owned()], None), Path::new(""))?;

    let told = |file| Told {
        file,
        is_set: false,
        is_code: false,
    };
    let mut files: Vec<Told> = survey.files.into_iter().map(told).collect();
    for file in survey.unknown {
        if file == manifest {
            continue;
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let lower = ending.to_ascii_lowercase();
        let known = TEXT_ENDINGS.iter().find(|(known, _)| *known == lower);

        // A name that the user wrote is looked into. Others may be anything.
        let format = match known {
            Some(_) => Some(Format::Txt),
            None if path.is_file() => by_content(&file)?,
            None => None,
        };
        match format {
            Some(format) => files.push(Told {
                file: with_format(&file, &survey.prefix, format)?,
                is_set: true,
                is_code: known.is_some_and(|(_, is_code)| *is_code),
            }),
            None => *unread.entry(lower).or_default() += 1,
        }
    }

    files.sort_by(|a, b| a.file.path.cmp(&b.file.path));
    Ok((survey.prefix, files))
}

/// A source that selects the paths.
fn source(path: Vec<String>, format: Option<Format>) -> Source {
    Source {
        name: path.join(", "),
        path,
        format,
        ..Source::default()
    }
}

/// A file as its format reads it, with its path relative to `prefix`.
fn with_format(path: &Path, prefix: &Path, format: Format) -> Result<InputFile> {
    let own = inputs::alone(path, &source(Vec::new(), Some(format)))?;
    let relative = path.strip_prefix(prefix).unwrap_or(path);
    Ok(InputFile {
        relative: relative.to_string_lossy().into_owned(),
        ..own
    })
}

/// The format of a file by its first bytes, or `None` if the file is not text and of no known format.
fn by_content(path: &Path) -> Result<Option<Format>> {
    let mut head = Vec::new();
    File::open(path)?.take(4096).read_to_end(&mut head)?;

    let text = String::from_utf8_lossy(&head);
    // The last character may be cut.
    let is_text = !head.contains(&0) && !text.trim_end_matches('\u{fffd}').contains('\u{fffd}');
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let lower = start.get(..14).unwrap_or(start).to_ascii_lowercase();
    Ok(match start.as_bytes() {
        _ if head.starts_with(b"PAR1") => Some(Format::Parquet),
        _ if head.starts_with(b"ARROW1") => Some(Format::Arrow),
        [b'W', b'A', b'R', b'C', b'/', ..] => Some(Format::Warc),
        _ if !is_text => None,
        [b'{' | b'[', ..] => Some(Format::Json),
        _ if lower.starts_with("<!doctype html") || lower.starts_with("<html") => {
            Some(Format::Html)
        }
        _ => Some(Format::Txt),
    })
}

/// The number of folders at the beginning of all relative paths.
fn shared_folders(files: &[Told]) -> usize {
    let mut folders = files.iter().map(|found| {
        let mut parts: Vec<&str> = found.file.relative.split('/').collect();
        parts.pop();
        parts
    });
    let first = folders.next().unwrap_or_default();
    folders.fold(first.len(), |shared, other| {
        let same = first.iter().zip(&other).take_while(|(a, b)| a == b);
        same.count().min(shared)
    })
}

/// A name, the paths of a source, and its files.
type Named = (String, Vec<String>, Vec<InputFile>);

/// The sources of the files with a key.
fn families(key: &Key, files: Vec<InputFile>, base: &Path) -> Vec<Named> {
    let (root, folder, ..) = key;
    let name = match folder.is_empty() {
        true => root
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        false => folder.clone(),
    };
    let whole = root.join(folder);

    // Texts and pages are documents of their own, whose names mean nothing here.
    let has_records = !matches!(files[0].format, Format::Txt | Format::Html | Format::Warc);
    if has_records {
        let mut families: BTreeMap<String, Vec<InputFile>> = BTreeMap::new();
        for file in &files {
            families.entry(family(file)).or_default().push(file.clone());
        }
        if families.len() <= MOST_FAMILIES {
            let named = families.into_iter().map(|(family, files)| {
                let paths = paths(&whole, &family, key, &files, base);
                let is_nameless = family.is_empty();
                let own = if is_nameless { name.clone() } else { family };
                (own, paths, files)
            });
            let named: Vec<Named> = named.collect();
            if named.iter().all(|(_, paths, _)| paths.len() <= MOST_PATHS) {
                return named;
            }
        }
    }

    let paths = paths(&whole, "", key, &files, base);
    vec![(name, paths, files)]
}

/// The beginning of a file's name that it shares with the other parts of its data set: the words
/// before the first number.
fn family(file: &InputFile) -> String {
    let name = file.relative.rsplit('/').next().unwrap_or_default();
    let stem = &name[..name.len() - ending(file).len()];

    let separators = ['-', '_', '.'];
    let words: Vec<&str> = stem.split(separators).collect();
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let number = words.iter().position(|word| word.bytes().all(is_digit));
    let kept: usize = match number {
        Some(number) => words[..number].iter().map(|word| word.len() + 1).sum(),
        None => stem.trim_end_matches(|c: char| c.is_ascii_digit()).len(),
    };
    let kept = stem.get(..kept.min(stem.len())).unwrap_or_default();
    kept.trim_end_matches(separators).to_owned()
}

/// The ending of a file's name that tells its format, with the compression: `.jsonl.zst`.
fn ending(file: &InputFile) -> &str {
    let name = file.relative.rsplit('/').next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let stem = [".gz", ".zst", ".zstd"]
        .iter()
        .find_map(|ending| lower.strip_suffix(ending))
        .unwrap_or(&lower);
    // Lower case of ASCII keeps the length.
    stem.rfind('.').map_or("", |dot| &name[dot..])
}

/// The paths that select these files and no other, as few as there are: the folder, globs over the
/// endings, or each file.
fn paths(folder: &Path, family: &str, key: &Key, files: &[InputFile], base: &Path) -> Vec<String> {
    let format = key.3.then_some(files[0].format);
    let wanted: BTreeSet<&Path> = files.iter().map(|file| file.path.as_path()).collect();
    let selects = |paths: &[String]| {
        let found = inputs::survey(&source(paths.to_vec(), format), base);
        found.is_ok_and(|found| {
            let files = found.files.iter().map(|file| file.path.as_path());
            found.unknown.is_empty() && files.collect::<BTreeSet<_>>() == wanted
        })
    };

    let mut candidates = Vec::new();
    // The manifest is in its own folder, and is no input.
    if files.len() > 1 && !base.starts_with(folder) {
        candidates.push(vec![written(folder, "", base)]);
    }
    let endings: BTreeSet<&str> = files.iter().map(ending).collect();
    if files.len() > 1 && !endings.contains("") {
        for between in ["", "**/"] {
            let globs = endings.iter().map(|ending| {
                let name = format!("{between}{}*{}", literal(family), literal(ending));
                written(folder, &name, base)
            });
            candidates.push(globs.collect());
        }
    }
    if let Some(paths) = candidates.into_iter().find(|paths| selects(paths)) {
        return paths;
    }

    let each = wanted.into_iter();
    each.map(|path| written(path, "", base)).collect()
}

/// A part of a glob that stands for itself.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '*' | '?' | '[' => out.extend(['[', c, ']']),
            c => out.push(c),
        }
    }
    out
}

/// The path of a folder or file with a glob behind it, as the manifest writes it.
fn written(path: &Path, glob: &str, base: &Path) -> String {
    let path = path.strip_prefix(base).unwrap_or(path).join(glob);
    // `join` of nothing leaves a slash at the end.
    let text = path.to_string_lossy();
    let text = text.strip_suffix('/').unwrap_or(&text);
    match text.starts_with(['~', '$']) {
        // A manifest refuses these, because a shell would replace them.
        true => format!("./{text}"),
        false => text.to_owned(),
    }
}

/// A name for a source that no other source has: the letters, digits and dashes of `name`, if need be
/// with the format or a number.
pub fn unique(name: &str, format: &str, names: &mut BTreeSet<String>) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let words = name.split(|c| !is_kept(c)).filter(|word| !word.is_empty());
    let mut bare = words.collect::<Vec<_>>().join("-");
    bare.truncate(40);
    let bare = bare.trim_matches(['.', '-', '_']);
    let bare = if bare.is_empty() { "source" } else { bare };

    let of_format = [bare.to_owned(), format!("{bare}-{format}")];
    let numbered = (2..).map(|number| format!("{bare}-{number}"));
    let mut candidates = of_format.into_iter().chain(numbered);
    let name = candidates.find(|name| !names.contains(name));
    let name = name.expect("there are more numbers than sources");
    names.insert(name.clone());
    name
}

/// The word of a format, as a manifest writes it.
pub fn word(format: Format) -> &'static str {
    let words = Format::WORDS;
    let value = serde_json::to_value(format).unwrap_or_default();
    words
        .iter()
        .find(|word| value == **word)
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_ingest::inputs::Compression;

    fn named(name: &str) -> InputFile {
        InputFile {
            path: name.into(),
            relative: name.to_owned(),
            size: 0,
            modified: 0,
            format: Format::Jsonl,
            compression: Compression::None,
        }
    }

    #[test]
    fn parts_of_a_data_set_share_the_beginning_of_their_names() {
        for (name, beginning) in [
            ("train-00000-of-00010.parquet", "train"),
            ("a/c4-train.00000-of-01024.json.gz", "c4-train"),
            ("web-000.jsonl.zst", "web"),
            ("web12.jsonl", "web"),
            ("000.jsonl", ""),
            ("notes.JSONL.GZ", "notes"),
            ("été-1.jsonl", "été"),
        ] {
            assert_eq!(family(&named(name)), beginning, "{name}");
        }
        assert_eq!(ending(&named("a/B.JSONL.Gz")), ".JSONL.Gz");
        assert_eq!(ending(&named("notes")), "");
    }

    #[test]
    fn names_of_sources_are_names_that_a_manifest_takes() {
        let mut names = BTreeSet::new();
        let mut name = |text: &str, format: &str| unique(text, format, &mut names);
        assert_eq!(name("web", "jsonl"), "web");
        assert_eq!(name("web", "csv"), "web-csv");
        assert_eq!(name("web", "csv"), "web-2");
        assert_eq!(name("a\"]\n[x y.z", "csv"), "a-x-y.z");
        assert_eq!(name("漢字", "csv"), "source");
        assert_eq!(name("..", "csv"), "source-csv");
    }

    #[test]
    fn a_glob_of_a_name_stands_for_the_name() {
        assert_eq!(literal("a[1]*?"), "a[[]1][*][?]");
        let base = Path::new("/data");
        assert_eq!(written(Path::new("/data/a"), "*.txt", base), "a/*.txt");
        assert_eq!(written(Path::new("/data/~a"), "", base), "./~a");
        assert_eq!(written(Path::new("/other/a"), "", base), "/other/a");
    }
}
