//! Finds the files that the patterns of a source stand for.
//!
//! A pattern is followed part by part. A part that exists in its folder, as it is written, is this
//! file or folder, so names with brackets, stars and question marks work. Any other part is a glob
//! over the names in the folder: `*`, `?`, `[…]`, or `**` for any number of folders. A pattern that
//! is a folder stands for every file below it, like the folder with `/**` behind it.
//!
//! Folders and globs leave out what [`LeftOut`] lists. A part that is written out leaves out
//! nothing. Links are followed, but no folder is entered twice for the same rest of a pattern, so
//! circles of links end. Cost: one listing for each folder and rest of a pattern.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use curate_schemas::stages::documents::Source;
use curate_store::failure::{Exit, Failure};

/// A part of a pattern that stands for any number of folders.
const ANY_FOLDERS: &str = "**";

/// What a source consists of.
#[derive(Debug, Default)]
pub struct Found {
    /// The files by their paths: true if a pattern selects the file, false if the file was only
    /// found in a folder.
    pub files: BTreeMap<PathBuf, bool>,
    /// The deepest folder that all patterns share, absolute and with links resolved. Ids therefore
    /// do not depend on the name that the manifest is opened by.
    pub prefix: PathBuf,
    /// The files and folders that were left out.
    pub left_out: BTreeMap<PathBuf, LeftOut>,
    /// Sentences about patterns that could mean two things.
    pub notes: Vec<String>,
}

/// Why a file or folder is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// A name that begins with `.` or `_`: caches of a hub, and markers such as `_SUCCESS`.
    Hidden,
    /// The description of a data set, as in a snapshot of a hub: `README.md` and its translations.
    Card,
    /// A licence, or how to cite.
    Licence,
    /// What libraries write about a data set, as `dataset_infos.json`.
    Metadata,
    /// A link that leads nowhere. Its data may be missing by mistake.
    Dangling,
    /// Neither a file nor a folder: a run would wait for the bytes of a pipe for ever.
    Special,
}

impl LeftOut {
    /// What is left out by its name alone. `is_folder` is true for the name of a folder.
    fn of(name: &str, is_folder: bool) -> Option<LeftOut> {
        if name.starts_with(['.', '_']) {
            return Some(LeftOut::Hidden);
        }
        if is_folder {
            return None;
        }

        let lower = name.to_ascii_lowercase();
        let metadata = [
            "croissant.json",
            "dataset_dict.json",
            "dataset_info.json",
            "dataset_infos.json",
            "state.json",
        ];
        if metadata.contains(&lower.as_str()) {
            return Some(LeftOut::Metadata);
        }

        let endings = [".md", ".rst", ".txt", ".cff", ".bib"];
        let text = endings.iter().find_map(|ending| lower.strip_suffix(ending));
        let stem = text.unwrap_or(&lower);
        // A language or the name of a licence may follow: `README.zh-CN.md`, `LICENSE-MIT`. Digits
        // may not, so that a series of texts is no series of licences.
        let is_with_suffix = |word: &str| {
            stem.strip_prefix(word).is_some_and(|rest| {
                let suffix = rest
                    .strip_prefix(['-', '_'])
                    .or(rest.strip_prefix('.').filter(|_| text.is_some()));
                let is_letter = |byte: u8| byte.is_ascii_alphabetic() || b"-_".contains(&byte);
                let is_suffix = |suffix: &str| suffix.len() < 8 && suffix.bytes().all(is_letter);
                rest.is_empty() || suffix.is_some_and(is_suffix)
            })
        };

        if is_with_suffix("readme") {
            Some(LeftOut::Card)
        } else if ["license", "licence"].into_iter().any(is_with_suffix)
            || ["copying", "citation"].contains(&stem)
        {
            Some(LeftOut::Licence)
        } else {
            None
        }
    }

    /// The reason in words.
    pub fn words(self) -> &'static str {
        match self {
            LeftOut::Hidden => "a hidden name",
            LeftOut::Card => "a data set card",
            LeftOut::Licence => "a licence",
            LeftOut::Metadata => "metadata",
            LeftOut::Dangling => "a link to nothing",
            LeftOut::Special => "no regular file",
        }
    }

    /// True if the data may be missing by mistake.
    pub fn is_suspicious(self) -> bool {
        matches!(self, LeftOut::Dangling | LeftOut::Special)
    }
}

/// The files of a source. `base` is the folder of the manifest.
///
/// # Errors
/// Exit 2 for a pattern that matches no file, or that is no glob. Else if a folder cannot be
/// listed.
pub fn search(source: &Source, base: &Path) -> Result<Found> {
    let base = match base.as_os_str().is_empty() {
        true => Path::new("."),
        false => base,
    };

    let mut found = Found::default();
    let mut prefixes = Vec::new();
    for pattern in &source.path {
        let mut search = Search {
            source,
            pattern,
            full: base.join(pattern),
            found: &mut found,
            is_folder: false,
            matched_folder: None,
            n: 0,
            entered: BTreeSet::new(),
        };
        prefixes.push(search.follow(base)?);
    }

    // What one part or pattern leaves out may be named by another. The files in a folder come right
    // behind it in the order of paths.
    let files = &found.files;
    found.left_out.retain(|path, _| {
        let next = files.range(path.clone()..).next();
        next.is_none_or(|(file, _)| !file.starts_with(path))
    });
    found.prefix = common_prefix(&prefixes);
    Ok(found)
}

/// A failure with exit 2 that names the source.
pub fn usage(source: &Source, message: String) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("source \"{}\": {message}", source.name),
    )
}

/// The search for the files of one pattern.
struct Search<'a> {
    source: &'a Source,
    /// The pattern as the manifest writes it.
    pattern: &'a str,
    /// The pattern in the folder of the manifest, for messages.
    full: PathBuf,
    found: &'a mut Found,
    /// True if the pattern is a folder.
    is_folder: bool,
    /// A folder that the whole pattern matches, if there is one. A glob selects files alone.
    matched_folder: Option<PathBuf>,
    /// The number of files that the pattern selects.
    n: usize,
    /// The folders that were entered, with links resolved, and the number of parts that were left
    /// to follow.
    entered: BTreeSet<(PathBuf, usize)>,
}

impl Search<'_> {
    /// Adds the files of the pattern, and returns the folder that all of them are in: the part of
    /// the pattern before its first glob, with links resolved.
    fn follow(&mut self, base: &Path) -> Result<PathBuf> {
        let parts: Vec<String> = Path::new(self.pattern)
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();

        let mut place = base.to_path_buf();
        let mut rest = parts.as_slice();
        while let [part, after @ ..] = rest {
            let Some(next) = self.as_written(&place, part)? else {
                break;
            };
            (place, rest) = (next, after);
        }

        let prefix = match rest {
            [] if place.is_dir() => {
                self.is_folder = true;
                let prefix = self.resolve(&place)?;
                self.descend(&prefix, &[ANY_FOLDERS.to_owned()])?;
                prefix
            }
            [] if place.is_file() => {
                let folder = place.parent().unwrap_or(base);
                let name = place.file_name().unwrap_or_default();
                let prefix = self.resolve(folder)?;
                self.add(prefix.join(name));
                prefix
            }
            [] => {
                let message = format!("{} is not a regular file", place.display());
                return Err(usage(self.source, message).into());
            }
            [part, ..] if is_glob(part) && place.is_dir() => {
                let prefix = self.resolve(&place)?;
                self.descend(&prefix, rest)?;
                prefix
            }
            [part, ..] => {
                let message = format!("{} does not exist", place.join(part).display());
                return Err(self.hinted(message).into());
            }
        };

        if self.n == 0 {
            return Err(self.nothing(&prefix).into());
        }
        Ok(prefix)
    }

    /// A folder with links resolved.
    fn resolve(&self, folder: &Path) -> Result<PathBuf> {
        fs::canonicalize(folder)
            .map_err(|error| usage(self.source, format!("{}: {error}", folder.display())).into())
    }

    /// Adds the files below a folder that the parts of a pattern select.
    fn descend(&mut self, folder: &Path, parts: &[String]) -> Result<()> {
        let [part, rest @ ..] = parts else {
            return Ok(());
        };
        let own = fs::canonicalize(folder).with_context(|| cannot_list(folder))?;
        if !self.entered.insert((own, parts.len())) {
            return Ok(());
        }

        if part == ANY_FOLDERS {
            self.descend(folder, rest)?;
            for path in list(folder)? {
                if path.is_dir() && !self.leaves_out(&path, "") {
                    self.descend(&path, parts)?;
                } else if rest.is_empty() && !path.is_dir() && !self.leaves_out(&path, "") {
                    self.add(path);
                }
            }
            return Ok(());
        }

        let selected = match self.as_written(folder, part)? {
            Some(path) => vec![path],
            None if is_glob(part) => self.matches(folder, part, rest.is_empty())?,
            None => Vec::new(),
        };
        for path in selected {
            if rest.is_empty() {
                self.add(path);
            } else if path.is_dir() {
                self.descend(&path, rest)?;
            }
        }
        Ok(())
    }

    /// The path of a part that exists as it is written. A note says if the part, read as a glob,
    /// would select something else.
    fn as_written(&mut self, folder: &Path, part: &str) -> Result<Option<PathBuf>> {
        let path = folder.join(part);
        match path.try_exists() {
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let message = format!("{}: {error}", path.display());
                return Err(usage(self.source, message).into());
            }
            // The part may be too long for a name, because it is a glob.
            Ok(false) | Err(_) => return Ok(None),
        }

        if is_glob(part)
            && let Ok(glob) = glob::Pattern::new(part)
            && let Some(other) = list(folder)?
                .iter()
                .find(|other| **other != path && glob.matches(&name_of(other)))
        {
            self.found.notes.push(format!(
                "{} is a name, so it is not read as a glob, and {} is not selected",
                path.display(),
                name_of(other)
            ));
        }
        Ok(Some(path))
    }

    /// The files and folders in a folder that a glob selects, and only folders unless the glob is
    /// the last part of the pattern.
    fn matches(&mut self, folder: &Path, part: &str, is_last: bool) -> Result<Vec<PathBuf>> {
        let glob = glob::Pattern::new(part).map_err(|error| {
            let message = format!("{part} is not a glob: {}", error.msg);
            usage(self.source, message)
                .hint("write [[] for a bracket and [*] for a star that the file name holds")
        })?;

        let mut matches = list(folder)?;
        matches.retain(|path| {
            let is_match = glob.matches(&name_of(path)) && (is_last || path.is_dir());
            is_match && !self.leaves_out(path, part)
        });
        Ok(matches)
    }

    /// True if a file or folder is left out by its name. A glob that begins with `.` or `_` asks
    /// for such names.
    fn leaves_out(&mut self, path: &Path, glob: &str) -> bool {
        let name = name_of(path);
        let Some(why) = LeftOut::of(&name, path.is_dir()) else {
            return false;
        };

        let is_asked = why == LeftOut::Hidden && glob.chars().next() == name.chars().next();
        if !is_asked {
            self.found.left_out.insert(path.to_owned(), why);
        }
        !is_asked
    }

    /// Adds a file that the pattern selects.
    fn add(&mut self, path: PathBuf) {
        if path.is_file() {
            *self.found.files.entry(path).or_default() |= !self.is_folder;
            self.n += 1;
        } else if path.is_dir() {
            self.matched_folder.get_or_insert(path);
        } else {
            let why = match path.exists() {
                true => LeftOut::Special,
                false => LeftOut::Dangling,
            };
            self.found.left_out.insert(path, why);
        }
    }

    /// The failure of a pattern that selects no file.
    fn nothing(&self, prefix: &Path) -> Failure {
        let mut message = match self.is_folder {
            true => format!("there is no file in {}", prefix.display()),
            false => format!("no file matches {}", self.full.display()),
        };
        let left_out = &self.found.left_out;
        if let Some((path, why)) = left_out.iter().find(|(path, _)| path.starts_with(prefix)) {
            message += &format!(" other than what is left out, as {}", name_of(path));
            message += &format!(" ({})", why.words());
        }

        match &self.matched_folder {
            Some(folder) => usage(self.source, message).hint(format!(
                "it matches the folder {}: write /** behind it for the files in folders",
                folder.display()
            )),
            None => self.hinted(message),
        }
    }

    /// A failure with exit 2, with a hint if the pattern is written for another program.
    fn hinted(&self, message: String) -> Failure {
        let failure = usage(self.source, message);
        if self.pattern.starts_with('~') || self.pattern.contains('$') {
            failure.hint("neither ~ nor variables are expanded: write the path in full")
        } else if self.pattern.contains('{') && self.pattern.contains('}') {
            failure.hint("braces have no meaning in a glob: write a list, path = [\"…\", \"…\"]")
        } else {
            failure
        }
    }
}

/// True if a part of a pattern can be read as a glob.
fn is_glob(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// The name of a file or folder.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn cannot_list(folder: &Path) -> String {
    format!("cannot list {}", folder.display())
}

/// The paths of the files and folders in a folder, in order: which of two links to one folder comes
/// first must not depend on the file system.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| cannot_list(folder))? {
        paths.push(entry.with_context(|| cannot_list(folder))?.path());
    }
    paths.sort();
    Ok(paths)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with files of these names.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, b"x").expect("written");
        }
        folder
    }

    fn found(folder: &Path, patterns: &[&str]) -> Result<Found> {
        let source = Source {
            name: "s".to_owned(),
            path: patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
            ..Source::default()
        };
        search(&source, folder)
    }

    /// The files of some patterns, relative to `folder`.
    fn files(folder: &Path, patterns: &[&str]) -> Vec<String> {
        let found = found(folder, patterns).expect("found");
        let folder = fs::canonicalize(folder).expect("a folder");
        let files = found.files.keys();
        let relative = files.map(|path| path.strip_prefix(&folder).expect("inside").display());
        relative.map(|path| path.to_string()).collect()
    }

    fn message(folder: &Path, pattern: &str) -> String {
        let error = found(folder, &[pattern]).expect_err("nothing is found");
        curate_store::failure::render(&error)
    }

    #[test]
    fn a_name_that_exists_is_no_glob() {
        let place = folder(&[
            "[ab]/x[1].txt",
            "[ab]/x1.txt",
            "a/y.txt",
            "q?/z.txt",
            "qq/z.txt",
            "[x/w.txt",
            "d/[ab]/v.txt",
            "{m,n}.txt",
        ]);
        let place = place.path();
        for (pattern, expected) in [
            ("[ab]", &["[ab]/x1.txt", "[ab]/x[1].txt"][..]),
            ("[ab]/*.txt", &["[ab]/x1.txt", "[ab]/x[1].txt"]),
            ("[ab]/x[1].txt", &["[ab]/x[1].txt"]),
            ("[ab]/x[[]1[]].txt", &["[ab]/x[1].txt"]),
            ("[[]ab]/x1.txt", &["[ab]/x1.txt"]),
            ("[bc]*/x*.txt", &[]),
            ("[a]/*.txt", &["a/y.txt"]),
            ("q?/*", &["q?/z.txt"]),
            ("q[q?]/z.txt", &["q?/z.txt", "qq/z.txt"]),
            ("[x/w.txt", &["[x/w.txt"]),
            ("*/[ab]/v.txt", &["d/[ab]/v.txt"]),
            ("**/[ab]/**/v.txt", &["d/[ab]/v.txt"]),
            ("{m,n}.txt", &["{m,n}.txt"]),
        ] {
            match expected.is_empty() {
                true => assert!(message(place, pattern).contains("no file matches")),
                false => assert_eq!(files(place, &[pattern]), expected, "{pattern}"),
            }
        }

        // A pattern that could mean two things is said.
        let notes = found(place, &["[ab]/*.txt"]).expect("found").notes;
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(
            notes[0]
                .ends_with("[ab] is a name, so it is not read as a glob, and a is not selected")
        );
        assert!(found(place, &["[x/*"]).expect("found").notes.is_empty());
    }

    #[test]
    fn globs_leave_out_what_a_folder_leaves_out() {
        let place = folder(&[
            "in/a.txt",
            "in/.b.txt",
            "in/_c.txt",
            "in/.d/e.txt",
            "in/f/_g/h.txt",
            "in/f/i.txt",
            "in/README.md",
            "in/f/readme.txt",
            "in/f/readme_en.md",
            "in/LICENSE",
            "in/dataset_infos.json",
        ]);
        let place = place.path();
        for (pattern, expected) in [
            ("in", &["in/a.txt", "in/f/i.txt"][..]),
            ("in/**", &["in/a.txt", "in/f/i.txt"]),
            ("in/**/*", &["in/a.txt", "in/f/i.txt"]),
            ("**/*.txt", &["in/a.txt", "in/f/i.txt"]),
            ("in/**/**/*.txt", &["in/a.txt", "in/f/i.txt"]),
            ("in/*", &["in/a.txt"]),
            ("in/*/*.txt", &["in/f/i.txt"]),
            // What a pattern names is read.
            ("in/_c.txt", &["in/_c.txt"]),
            ("in/.d", &["in/.d/e.txt"]),
            ("in/.d/*.txt", &["in/.d/e.txt"]),
            ("in/.*", &["in/.b.txt"]),
            ("in/_*", &["in/_c.txt"]),
            ("**/.d/**", &["in/.d/e.txt"]),
            ("**/_g/*", &["in/f/_g/h.txt"]),
            ("in/README.md", &["in/README.md"]),
            ("**/readme.txt", &["in/f/readme.txt"]),
        ] {
            assert_eq!(files(place, &[pattern]), expected, "{pattern}");
        }

        let left_out = |patterns: &[&str]| {
            let left_out = found(place, patterns).expect("found").left_out;
            let names: Vec<String> = left_out.keys().map(|path| name_of(path)).collect();
            names.join(" ")
        };
        let all =
            ".b.txt .d LICENSE README.md _c.txt dataset_infos.json _g readme.txt readme_en.md";
        assert_eq!(left_out(&["in"]), all);
        // A glob tells only of what it would have selected.
        assert_eq!(left_out(&["in/*.txt"]), ".b.txt _c.txt");
        assert_eq!(left_out(&["in/*/*.txt"]), ".d readme.txt");
        assert_eq!(
            left_out(&["in", "in/README.md"]),
            all.replace("README.md ", "")
        );
        assert_eq!(left_out(&["in", "in/.d"]), all.replace(".d ", ""));
        assert_eq!(left_out(&["in/**/_g/*.txt"]), ".d");
    }

    #[test]
    fn names_that_are_left_out() {
        for (name, expected) in [
            ("README.md", Some(LeftOut::Card)),
            ("readme", Some(LeftOut::Card)),
            ("README_zh-CN.md", Some(LeftOut::Card)),
            ("README.fr.md", Some(LeftOut::Card)),
            ("LICENSE.txt", Some(LeftOut::Licence)),
            ("LICENSE-APACHE", Some(LeftOut::Licence)),
            ("CITATION.cff", Some(LeftOut::Licence)),
            ("dataset_dict.json", Some(LeftOut::Metadata)),
            (".gitattributes", Some(LeftOut::Hidden)),
            ("_SUCCESS", Some(LeftOut::Hidden)),
            ("readme.jsonl", None),
            ("readme-first.parquet", None),
            ("readme.parquet", None),
            ("license_1.txt", None),
            ("citation_1.txt", None),
            ("readme_of_another_project.md", None),
            ("readmes.txt", None),
            ("licenses.jsonl", None),
            ("infos.json", None),
            ("a.b_c.txt", None),
        ] {
            assert_eq!(LeftOut::of(name, false), expected, "{name}");
        }
        assert_eq!(LeftOut::of("README", true), None);
        assert_eq!(LeftOut::of(".cache", true), Some(LeftOut::Hidden));
    }

    #[test]
    fn links_are_followed_and_circles_end() {
        let place = folder(&["real/x.txt"]);
        let place = place.path();
        fs::create_dir(place.join("in")).expect("a folder");
        for n in 0..40 {
            symlink(".", place.join(format!("in/here{n}"))).expect("a link");
        }
        symlink("../real", place.join("in/one")).expect("a link");
        symlink("../real/x.txt", place.join("in/x.txt")).expect("a link");
        symlink("nowhere.txt", place.join("in/lost.txt")).expect("a link");

        for pattern in ["in", "in/**", "in/**/*.txt"] {
            let found = found(place, &[pattern]).expect("found");
            assert!(!found.files.is_empty(), "{pattern}");
            let lost: Vec<LeftOut> = found.left_out.into_values().collect();
            assert_eq!(lost, [LeftOut::Dangling], "{pattern}");
        }
        assert_eq!(files(place, &["in/**/one/*.txt"]), ["in/one/x.txt"]);
        assert_eq!(
            files(place, &["in/**/here7/**/x.txt"]),
            ["in/here7/one/x.txt", "in/here7/x.txt"]
        );
    }

    #[test]
    fn a_pattern_without_files_says_why() {
        let place = folder(&["in/README.md", "deep/er/a.txt"]);
        let place = place.path();
        for (pattern, expected) in [
            ("in", "there is no file in "),
            (
                "in",
                "in other than what is left out, as README.md (a data set card)",
            ),
            ("in/*.md", "no file matches "),
            (
                "in/*.md",
                "/in/*.md other than what is left out, as README.md",
            ),
            ("none.txt", "none.txt does not exist"),
            ("none/*.txt", "none does not exist"),
            ("x*.txt", "/x*.txt"),
            ("de*", "hint: it matches the folder "),
            ("[x", "[x is not a glob: invalid range pattern"),
            ("a**", "a** is not a glob: "),
            ("~/in", "hint: neither ~ nor variables are expanded"),
            ("$HOME/in", "hint: neither ~ nor variables are expanded"),
            ("{in,deep}/*", "hint: braces have no meaning in a glob"),
            ("*.{md,txt}", "hint: braces have no meaning in a glob"),
            ("in/README.md/x", "x does not exist"),
        ] {
            let said = message(place, pattern);
            assert!(said.contains(expected), "{pattern}: {said}");
        }
    }

    #[test]
    fn the_prefix_is_what_all_patterns_share() {
        let paths = [PathBuf::from("/a/b/c"), PathBuf::from("/a/b/d/e")];
        assert_eq!(common_prefix(&paths), PathBuf::from("/a/b"));
    }
}
