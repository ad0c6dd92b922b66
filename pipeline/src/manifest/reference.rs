//! The reference of the manifest: `curate schema manifest`.
//!
//! It is printed from the table that manifests are checked with, and is itself a manifest that
//! loads.

use std::io::{self, Write};

use curate_schemas::manifest::{Absent, Key, Kind, TABLES, Times};

use super::check::{header, keys, last};
use super::value::{range, type_name};

/// Writes a commented manifest with every key: its type, range and meaning, and its default or an
/// example. A key that has neither a default nor to be there is commented out.
///
/// # Errors
///
/// What writing to `out` gives.
pub fn print_reference(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "# Every table and key of a manifest. A value is the default, unless its line says \"required\" or stands"
    )?;
    writeln!(
        out,
        "# behind a \"#\": then it is an example. Any of them can be overridden: --set run.seed=9, --set source.web.priority=2."
    )?;
    writeln!(
        out,
        "# Sizes are bytes, or strings with B, KB, MB, GB (powers of 1000), KiB, MiB or GiB (powers of 1024)."
    )?;
    for table in TABLES {
        let times = match table.times {
            Times::Once => "required",
            Times::OneOrMore => "one or more",
            Times::Any => "any number",
            Times::Default | Times::Switch => "optional",
        };
        writeln!(out, "\n# {}; {times}\n{}", table.doc, header(table))?;
        for key in keys(table) {
            writeln!(out, "{}", line(key))?;
        }
    }
    Ok(())
}

fn line(key: &Key) -> String {
    let (mark, value, required) = match key.absent {
        Absent::Refused(example) => ("", example, "required "),
        Absent::Default(default) => ("", default, ""),
        Absent::OneOf(example) => ("", example, "one of several, "),
        Absent::Nothing(example) => ("# ", example, ""),
    };
    let written = format!("{mark}{} = {value}", last(key.path));
    let kind = match key.kind {
        // The header says how a size is written.
        Kind::Size { .. } => "size".to_owned(),
        kind => type_name(kind)
            .trim_start_matches("an ")
            .trim_start_matches("a ")
            .to_owned(),
    };
    let range = Some(range(key.kind))
        .filter(|range| !range.is_empty())
        .map_or_else(String::new, |range| format!(", {range}"));
    format!("{written:<32} # {required}{kind}{range}: {}", key.doc)
}
