//! The reference of the manifest: `curate schema manifest`.
//!
//! The reference is printed from the declarations that manifests are checked with. It is itself a
//! manifest that loads, and a test loads it.

use std::io::{self, Write};

use curate_schemas::config::{Absent, Key, Kind, Times};
use curate_schemas::stages::sections;
use serde_json::Value;

use super::size::size_text;
use super::value::{range, type_name};

/// The first lines of the reference, which say how to read the others.
const HEAD: &str = "\
# Every table and key of a manifest. The value of a key is its default. It is an example if the line says \"required\" or begins
# with a \"#\". Any key can be overridden: --set run.seed=9, --set source.web.priority=2.
# Sizes are bytes, or strings with B, KB, MB, GB (powers of 1000), KiB, MiB or GiB (powers of 1024).";

/// Writes a manifest with every key. A comment beside each key says its type, range and meaning.
/// The value of a key is its default or an example. A key that has no default and may be absent is
/// commented out.
///
/// # Errors
/// If `out` cannot be written.
pub fn print_reference(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{HEAD}")?;
    for table in sections() {
        let times = match table.times {
            Times::Once => "required",
            Times::OneOrMore => "one or more",
            Times::Any => "any number",
            Times::Default | Times::Switch => "optional",
        };

        writeln!(out, "\n# {}; {times}\n{}", table.doc(), table.header())?;
        for key in table.keys {
            writeln!(out, "{}", line(key))?;
        }
    }
    Ok(())
}

/// The line of a key: its value, and a comment with its type, range and meaning.
fn line(key: &Key) -> String {
    let (mark, required) = match key.absent {
        Absent::Refused(_) => ("", "required "),
        Absent::Default(_) => ("", ""),
        Absent::OneOf(_) => ("", "one of several, "),
        Absent::Nothing(_) => ("# ", ""),
    };
    let written = format!("{mark}{} = {}", key.name, shown_value(key));

    let kind = match key.kind {
        // The first lines of the reference say how a size is written.
        Kind::Size { .. } => "size".to_owned(),
        kind => {
            let name = type_name(kind);
            let name = name.trim_start_matches("an ");
            name.trim_start_matches("a ").to_owned()
        }
    };

    let mut range = Some(range(key.kind))
        .filter(|range| !range.is_empty())
        .map_or_else(String::new, |range| format!(", {range}"));
    if let Some(high) = key.at_most {
        range += &format!(", at most {high}");
    }
    format!("{written:<32} # {required}{kind}{range}: {}", key.doc())
}

/// The default of a key, or its example, as TOML.
pub(super) fn shown_value(key: &Key) -> String {
    match key.absent {
        Absent::Refused(example) | Absent::Nothing(example) | Absent::OneOf(example) => {
            example.to_owned()
        }
        Absent::Default(value) => default_text(key.kind, &value()),
    }
}

/// A default as a person would write it in TOML.
fn default_text(kind: Kind, value: &Value) -> String {
    match (kind, value.as_u64(), value.as_f64()) {
        (Kind::Size { .. }, Some(bytes), _) => format!("\"{}\"", size_text(bytes)),
        // The debug form keeps the `.0` that makes a whole number a float.
        (_, None, Some(number)) => format!("{number:?}"),
        // TOML writes lists and texts as a person would. It has no null, which JSON can write.
        _ => match toml::Value::try_from(value) {
            Ok(value) => value.to_string(),
            Err(_) => value.to_string(),
        },
    }
}
