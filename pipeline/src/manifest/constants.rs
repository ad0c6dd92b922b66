//! The file that `budget.constants` names: its mistakes, or its text, which goes into the manifest.
//!
//! The text is copied byte for byte. `curate status` makes the report again from the manifest that
//! the run kept, and `run.json` holds the digest of the text, so both must come out the same.

use std::path::Path;

use super::check::{place, value_at};
use super::diagnose::{Problem, quoted};
use super::tree::Entries;
use super::value::is_json;
use crate::constants::from_json;

/// Puts the file's text into a checked manifest as `budget.constants_json`. Does nothing unless
/// `budget.constants` names a JSON file. The path is relative to `base`.
pub(super) fn read(base: &Path, entries: &Entries, out: &mut toml::Table) -> Result<(), Problem> {
    // The key holds either a path or the name of a published law. A published law has no file.
    let name = value_at(out, "budget.constants")
        .and_then(toml::Value::as_str)
        .filter(|name| is_json(name));
    let Some(name) = name.map(str::to_owned) else {
        return Ok(());
    };

    let problem = |what: String| {
        Problem::new(
            place(entries, "budget.constants"),
            format!("budget.constants: {}: {what}", quoted(&name)),
        )
    };
    let bytes = super::read(&base.join(&name), "a JSON file").map_err(|what| {
        problem(what).hint(Some("a path is relative to the manifest".to_owned()))
    })?;

    // The law itself is dropped: the report reads it again from the text.
    from_json(&bytes).map_err(|what| {
        problem(what).hint(Some(
            r#"for example {"e": 1.82, "a": 482, "b": 2085, "alpha": 0.348, "beta": 0.366}"#
                .to_owned(),
        ))
    })?;

    let text = String::from_utf8(bytes).expect("JSON is UTF-8");
    if let Some(budget) = out.get_mut("budget").and_then(toml::Value::as_table_mut) {
        budget.insert("constants_json".to_owned(), toml::Value::String(text));
    }
    Ok(())
}
