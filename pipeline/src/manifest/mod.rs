//! Manifests: reading, overriding and checking them, and their reference.
//!
//! 1. [`tree`] parses the file into a tree of values with positions, and writes the overrides into
//!    the tree.
//! 2. [`check`] and [`value`] compare the tree with the table of keys in
//!    [`curate_schemas::stages`].
//! 3. Only a tree without a single problem becomes a [`Manifest`].
//!
//! Of the files that a manifest names, only those of `budget.constants` and `quality.calibration`
//! are read here, by [`constants`] and [`calibration`], because the report of a run needs their
//! texts again. Cost: linear in the file, which
//! may have up to 1 MiB.

pub(crate) mod calibration;
mod check;
mod constants;
mod diagnose;
mod json_schema;
mod mixtures;
mod reference;
mod size;
mod terms;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use curate_schemas::Manifest;
use curate_schemas::stages::documents::Source;
use curate_schemas::stages::quality::Term;
use curate_store::terminal::printable;
use serde::Deserialize;

pub(crate) use diagnose::closest;
use diagnose::{At, Problem};
pub use json_schema::json_schema;
pub use reference::print_reference;
pub(crate) use size::size_text;
pub(crate) use value::{billions, scheme};

/// Greatest length of a manifest, bytes. A file without an end, such as `/dev/zero`, is given up
/// after this many bytes.
const LONGEST_BYTES: u64 = 1 << 20;

/// Why a manifest could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read: it does not exist, is a directory, may not be read or is too long.
    #[error("{path}: {reason}")]
    Unreadable {
        /// Path of the file, as the user wrote it.
        path: String,
        /// Why the file cannot be read.
        reason: String,
    },
    /// The manifest or an override has mistakes.
    #[error("{}", report.lines)]
    Invalid {
        /// All mistakes by position.
        report: diagnose::Report,
    },
    /// The table of keys accepts a value that the types refuse. This is a bug here, never the
    /// manifest's fault.
    #[error("{path}: bug: the key table and the manifest's types disagree: {reason}")]
    Disagreement {
        /// Path of the file, as the user wrote it.
        path: String,
        /// The message of the types, which names what they refused.
        reason: String,
    },
}

impl LoadError {
    /// The message, with the lines of the manifest that have mistakes.
    pub fn shown(&self) -> String {
        match self {
            LoadError::Invalid { report } => report.shown.clone(),
            other => other.to_string(),
        }
    }
}

/// Reads the manifest at `path` and applies the overrides `sets`, such as `run.seed=9`, in their
/// order.
///
/// An override names a key by its path. A table of a list is named by its `name`, as in
/// `source.web.priority=2`. Missing tables are made, but not those of a list. The value is TOML. It
/// is taken as bare text if it is not TOML, or if the key holds text.
///
/// # Errors
///
/// If the file cannot be read, or if the file or `sets` have mistakes. The error then lists all of
/// them, or only the first one if the syntax is broken.
pub fn load(path: &Path, sets: &[String]) -> Result<Manifest, LoadError> {
    let bytes = read(path, "a manifest").map_err(|reason| LoadError::Unreadable {
        path: printable(&path.to_string_lossy()),
        reason,
    })?;
    let manifest = from_bytes(path, &bytes, sets)?;
    Ok(Manifest {
        file: path.to_string_lossy().into_owned(),
        ..manifest
    })
}

/// The bytes of a file of up to 1 MiB. `what` names the kind of file for the error.
fn read(path: &Path, what: &str) -> Result<Vec<u8>, String> {
    read_up_to(path, what, LONGEST_BYTES)
}

/// The bytes of a file of up to `longest` bytes, a whole number of MiB.
fn read_up_to(path: &Path, what: &str, longest: u64) -> Result<Vec<u8>, String> {
    // One byte more than allowed tells a file that is too long from one that just fits.
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(longest + 1).read_to_end(&mut bytes))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            io::ErrorKind::IsADirectory => format!("expected {what}, found a directory"),
            _ => error.to_string(),
        })?;

    if bytes.len() as u64 > longest {
        return Err(format!(
            "expected {what}, found more than {}MiB",
            longest >> 20
        ));
    }
    Ok(bytes)
}

/// The manifest in `bytes`, which are those of the file `path`, with the overrides `sets`.
fn from_bytes(path: &Path, bytes: &[u8], sets: &[String]) -> Result<Manifest, LoadError> {
    let base = path.parent().unwrap_or(Path::new(""));
    let path = &printable(&path.to_string_lossy());

    // Positions do not count a byte order mark, as editors do not.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let invalid = |text: &str, problems| LoadError::Invalid {
        report: diagnose::report(path, text, sets, problems),
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            let byte = rest.first().copied().unwrap_or_default();
            let problem = Problem::new(
                At::File(valid.len()),
                format!("expected UTF-8, found the byte 0x{byte:02x}"),
            );
            return Err(invalid(&String::from_utf8_lossy(valid), vec![problem]));
        }
    };
    let mut tree = tree::parse(text).map_err(|error| invalid(text, vec![syntax(&error)]))?;

    // The steps go on after a mistake, so that one call reports all mistakes.
    let mut problems: Vec<Problem> = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        problems.extend(tree::apply(&mut tree, number, set).err());
    }
    let (mut checked, found) = check::check(text, &tree);
    problems.extend(found);
    problems.extend(constants::read(base, &tree, &mut checked).err());
    problems.extend(calibration::read(base, &tree, &mut checked));
    if !problems.is_empty() {
        return Err(invalid(text, problems));
    }

    derive(&mut checked);
    let manifest = Manifest::deserialize(toml::Value::Table(checked.clone())).map_err(|error| {
        LoadError::Disagreement {
            path: path.to_owned(),
            reason: error.message().to_owned(),
        }
    })?;

    // Shares are summed only if every key is good: a share with a mistake has no value.
    let mut problems = mixtures::impossible(&manifest, &tree, &checked);
    problems.extend(calibration::unusable(&manifest, &tree, &checked));
    if !problems.is_empty() {
        return Err(invalid(text, problems));
    }
    Ok(Manifest {
        base: base.to_owned(),
        ..manifest
    })
}

/// The first mistake of a file that is not TOML.
fn syntax(error: &toml::de::Error) -> Problem {
    let start = error.span().map_or(0, |span| span.start);

    // A message takes one line. TOML's own words for deep nesting do not name the cause.
    let message = match error.message() {
        "recursion limit" => "keys are nested too deeply".to_owned(),
        message => message.replace('\n', ", "),
    };
    Problem::new(At::File(start), message)
}

/// The manifest in a text, as if it were that of the file `path`.
///
/// # Errors
/// If the text has mistakes, as [`load`].
pub(crate) fn parse(path: &Path, text: &str) -> Result<Manifest, LoadError> {
    from_bytes(path, text.as_bytes(), &[])
}

/// The bytes of a size on the command line, such as `1GiB`.
///
/// # Errors
/// If `text` is not a size. The error says what is expected.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bytes = size::parse_size(text).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| match size::meant_size(text) {
        Some(meant) => format!("expected a size such as 1GiB; did you mean {meant}?"),
        None => "expected a size such as 1GiB".to_owned(),
    })
}

/// The fields of a source of web archives, with the lines of a record that hold them.
const ARCHIVE_FIELDS: [(&str, &str); 3] = [
    ("id", "WARC-Record-ID"),
    ("url", "WARC-Target-URI"),
    ("date", "WARC-Date"),
];

/// True if a source declares that it holds web archives.
fn is_archive(source: &toml::Table) -> bool {
    let source = Source::deserialize(toml::Value::Table(source.clone()));
    source.is_ok_and(|source| source.is_archive())
}

/// Names the fields of a source of web archives. A field that the manifest does not name may be
/// missing in all records.
fn name_archive_fields(source: &mut toml::Table) {
    for (field, header) in ARCHIVE_FIELDS {
        if source.contains_key(field) {
            continue;
        }
        source.insert(field.to_owned(), toml::Value::String(header.to_owned()));
        let allowed = source
            .entry("allow_missing")
            .or_insert_with(|| toml::Value::Array(Vec::new()));
        if let toml::Value::Array(allowed) = allowed
            && !allowed.iter().any(|word| word.as_str() == Some(field))
        {
            allowed.push(toml::Value::String(field.to_owned()));
        }
    }
}

/// Fills in defaults that depend on other keys: the run directory, the domain of each source, the
/// fields of a web archive, and the terms of q.
fn derive(manifest: &mut toml::Table) {
    let name_of = |table: &toml::Table| {
        table
            .get("name")
            .and_then(toml::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };

    if let Some(run) = manifest.get_mut("run").and_then(toml::Value::as_table_mut) {
        let dir = format!("runs/{}", name_of(run));
        run.entry("dir").or_insert(toml::Value::String(dir));
    }

    let sources = manifest
        .get_mut("source")
        .and_then(toml::Value::as_array_mut);
    for source in sources
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_table_mut)
    {
        let name = name_of(source);
        source.entry("domain").or_insert(toml::Value::String(name));

        if is_archive(source) {
            name_archive_fields(source);
        }
    }

    // Without signals there are no values for the default terms. Then q has only the terms that the
    // manifest names.
    let has_signals = manifest
        .get("signals")
        .and_then(|signals| signals.get("values")?.as_str())
        != Some("none");
    let quality = manifest
        .get_mut("quality")
        .and_then(toml::Value::as_table_mut);
    if let Some(quality) = quality.filter(|quality| !quality.contains_key("term") && has_signals) {
        let terms = Term::defaults().into_iter().map(toml::Value::try_from);
        let terms = terms.collect::<Result<_, _>>().expect("plain data");
        quality.insert("term".to_owned(), toml::Value::Array(terms));
    }
}
