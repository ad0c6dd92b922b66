//! Manifests: reading, overriding and checking them, and their reference.
//!
//! A file becomes a tree of values with positions ([`tree`]); overrides are written into it; it is
//! walked against the key table of [`curate_schemas::stages`] ([`check`], [`value`]); only a tree
//! without a single problem becomes a [`Manifest`]. Of other files only that of `budget.constants`
//! is read, by [`constants`]: a run's report needs it again. Cost: linear in the file, which may be
//! 1 MiB at the most.

mod check;
mod constants;
mod diagnose;
mod json_schema;
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
use curate_schemas::stages::quality::Term;
use curate_store::terminal::printable;
use serde::Deserialize;

pub(crate) use diagnose::closest;
use diagnose::{At, Problem};
pub use json_schema::json_schema;
pub use reference::print_reference;

/// Longest manifest that is read, bytes. `/dev/zero` ends here.
const LONGEST_BYTES: u64 = 1 << 20;

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read: it is not there, not a file, not ours or too long.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file, as it was named.
        path: String,
        /// What stood in the way.
        reason: String,
    },
    /// The manifest or an override has mistakes.
    #[error("{report}")]
    Invalid {
        /// All mistakes by position, one a line, each followed by its hint.
        report: String,
    },
    /// The table of keys lets through what the types refuse: a bug here, never the manifest's
    /// fault.
    #[error("{path}: bug: the key table and the manifest's types disagree: {reason}")]
    Disagreement {
        /// The file, as it was named.
        path: String,
        /// What the types refused.
        reason: String,
    },
}

/// Reads the manifest at `path`, with the overrides `sets`, such as `run.seed=9`, in their order.
///
/// An override names a key by its path, and an array's table by its name: `source.web.priority=2`.
/// It makes the tables it needs. Its value is TOML, or the bare text where it is no TOML or the key
/// holds text.
///
/// # Errors
///
/// If the file cannot be read, or with everything that is wrong in it and in `sets`. In a file with
/// broken syntax only the first mistake is known.
pub fn load(path: &Path, sets: &[String]) -> Result<Manifest, LoadError> {
    let unreadable = |reason| LoadError::Unreadable {
        path: printable(&path.to_string_lossy()),
        reason,
    };
    let manifest = from_bytes(path, &read(path, "a manifest").map_err(unreadable)?, sets)?;
    Ok(Manifest {
        file: path.to_string_lossy().into_owned(),
        ..manifest
    })
}

/// Reads a small file, which is `what`.
fn read(path: &Path, what: &str) -> Result<Vec<u8>, String> {
    let reason = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::IsADirectory => format!("expected {what}, found a directory"),
        _ => error.to_string(),
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(reason)?;
    if bytes.len() as u64 > LONGEST_BYTES {
        return Err(format!("expected {what}, found more than 1MiB"));
    }
    Ok(bytes)
}

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
    let apply = |(number, set): (usize, &String)| tree::apply(&mut tree, number, set).err();
    let mut problems: Vec<Problem> = sets.iter().enumerate().filter_map(apply).collect();
    let (mut checked, found) = check::check(text, &tree);
    problems.extend(found);
    problems.extend(constants::read(base, &tree, &mut checked).err());
    if !problems.is_empty() {
        return Err(invalid(text, problems));
    }
    derive(&mut checked);
    let broken = |error: toml::de::Error| LoadError::Disagreement {
        path: path.to_owned(),
        reason: error.message().to_owned(),
    };
    let manifest = Manifest::deserialize(toml::Value::Table(checked)).map_err(broken)?;
    Ok(Manifest {
        base: base.to_owned(),
        ..manifest
    })
}

fn syntax(error: &toml::de::Error) -> Problem {
    let start = error.span().map_or(0, |span| span.start);
    let message = match error.message() {
        "recursion limit" => "keys are nested too deeply".to_owned(),
        message => message.replace('\n', ", "),
    };
    Problem::new(At::File(start), message)
}

/// A size of the command line, such as `1GiB`.
///
/// # Errors
/// What is expected instead.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bytes = size::parse_size(text).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| "expected a size such as 1GiB".to_owned())
}

/// Fills in what other keys decide: the run directory, each source's domain, and what q is without
/// signals.
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
    }
    let has_signals = manifest
        .get("signals")
        .and_then(|signals| signals.get("values")?.as_str())
        != Some("none");
    let quality = manifest
        .get_mut("quality")
        .and_then(toml::Value::as_table_mut);
    if let Some(quality) = quality.filter(|quality| !quality.contains_key("term") && has_signals) {
        let heuristic = toml::Value::try_from(Term::of("signals.heuristic")).expect("plain data");
        quality.insert("term".to_owned(), toml::Value::Array(vec![heuristic]));
    }
}
