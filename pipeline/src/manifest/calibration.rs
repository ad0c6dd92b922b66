//! The file that `quality.calibration` names: its mistakes, or its text, which goes into the
//! manifest.
//!
//! The text is copied byte for byte, as that of `budget.constants` is: the report of a run is made
//! again from the manifest that the run kept.

use std::path::Path;

use curate_schemas::Manifest;
use curate_schemas::calibration::Calibration;
use curate_stages::calibrated::{self, CalibrationError};

use super::check::{place, tables_at, value_at};
use super::diagnose::{At, Problem, did_you_mean, quoted};
use super::tree::Entries;

/// Greatest length of a calibration, bytes. With its refits it holds some 300 numbers for each
/// bucket and target.
const LONGEST_BYTES: u64 = 64 << 20;

/// Puts the file's text into a checked manifest as `quality.calibration_json`. Does nothing without
/// `quality.calibration`. The path is relative to `base`.
pub(super) fn read(base: &Path, entries: &Entries, out: &mut toml::Table) -> Vec<Problem> {
    let path = value_at(out, "quality.calibration").and_then(toml::Value::as_str);
    let Some(name) = path.map(str::to_owned) else {
        return without_calibration(entries, out);
    };

    let problem = |what: String, hint: Option<String>| {
        let message = format!("quality.calibration: {}: {what}", quoted(&name));
        vec![Problem::new(place(entries, "quality.calibration"), message).hint(hint)]
    };
    let text = match read_text(&base.join(&name)) {
        Ok(text) => text,
        Err(what) => {
            let hint = "a path is relative to the manifest; `curate calibrate` writes the file";
            return problem(what, Some(hint.to_owned()));
        }
    };
    let file = match calibrated::parse(&text) {
        Ok(file) => file,
        Err(error) => return problem(error.to_string(), hint(&error)),
    };

    let problems = unknown_targets(&file, entries, out);
    if let Some(quality) = out.get_mut("quality").and_then(toml::Value::as_table_mut) {
        quality.insert("calibration_json".to_owned(), toml::Value::String(text));
    }
    problems
}

/// The text of a calibration's file.
///
/// # Errors
/// In words, if the path is no regular file, or if the file is too long or not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    // Reading a pipe would wait for somebody to write.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err("expected a calibration, found no regular file".to_owned());
    }
    let bytes = super::read_up_to(path, "a calibration", LONGEST_BYTES)?;
    String::from_utf8(bytes).map_err(|_| "expected JSON, found bytes that are not UTF-8".to_owned())
}

/// The targets of a checked manifest whose calibration cannot be used. `entries` is the manifest as
/// it was written, and `out` is its checked table.
pub(super) fn unusable(manifest: &Manifest, entries: &Entries, out: &toml::Table) -> Vec<Problem> {
    let problem = |at: At, error: &CalibrationError| {
        let message = format!("quality.calibration: {error}");
        Problem::new(at, message).hint(hint(error))
    };

    let at = place(entries, "quality.calibration");
    if let Err(error) = calibrated::chosen(&manifest.quality, None) {
        // Targets of mixtures would repeat most of what is wrong with the file.
        return vec![problem(at, &error)];
    }
    let tables = tables_at(entries, out, "mixture");
    let targets = manifest.mixture.iter().zip(tables);
    let refused = targets.filter_map(|(mixture, (_, _, at))| {
        let target = mixture.target.as_deref()?;
        let error = calibrated::chosen(&manifest.quality, Some(target)).err()?;
        Some(problem(at, &error))
    });
    refused.collect()
}

/// The keys that need a calibration, in a manifest without one.
fn without_calibration(entries: &Entries, out: &toml::Table) -> Vec<Problem> {
    let problem = |at: At, key: &str| {
        let message = format!("{key}: there is no quality.calibration");
        let hint = "write calibration = \"calibration.json\" in [quality]".to_owned();
        Problem::new(at, message).hint(Some(hint))
    };

    let mut problems = Vec::new();
    if value_at(out, "quality.target").is_some() {
        problems.push(problem(place(entries, "quality.target"), "quality.target"));
    }
    for (mixture, _, at) in tables_at(entries, out, "mixture") {
        if mixture.contains_key("target") {
            problems.push(problem(at, "mixture.target"));
        }
    }
    problems
}

/// The names of targets that the calibration does not have.
fn unknown_targets(file: &Calibration, entries: &Entries, out: &toml::Table) -> Vec<Problem> {
    let known: Vec<&str> = file
        .targets
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    let problem = |at: At, key: &str, name: &str| {
        let message = format!("{key}: the calibration has no target {}", quoted(name));
        let hint = did_you_mean(name, known.iter().copied())
            .unwrap_or_else(|| format!("its targets are {}", known.join(", ")));
        Problem::new(at, message).hint(Some(hint))
    };

    let mut problems = Vec::new();
    let own = value_at(out, "quality.target").and_then(toml::Value::as_str);
    match own {
        Some(name) if !known.contains(&name) => {
            let at = place(entries, "quality.target");
            problems.push(problem(at, "quality.target", name));
        }
        None if known.len() > 1 => {
            let message = format!(
                "quality.target: the calibration has the targets {}, and one must be named",
                known.join(", ")
            );
            let hint = format!("for example target = {}", quoted(known[0]));
            let at = place(entries, "quality.calibration");
            problems.push(Problem::new(at, message).hint(Some(hint)));
        }
        _ => {}
    }
    for (mixture, _, at) in tables_at(entries, out, "mixture") {
        let name = mixture.get("target").and_then(toml::Value::as_str);
        if let Some(name) = name.filter(|name| !known.contains(name)) {
            problems.push(problem(at, "mixture.target", name));
        }
    }
    problems
}

/// What to do about a calibration that cannot be used.
fn hint(error: &CalibrationError) -> Option<String> {
    let hint = match error {
        CalibrationError::Gap { .. } => "calibrate again; a file must hold every bucket",
        CalibrationError::Unpassed { .. } => {
            "calibration_unpassed = \"uncalibrated\" in [quality] goes on with an uncalibrated q"
        }
        CalibrationError::NotIsotonic { .. } => "write calibration_curve = \"fitted\"",
        _ => return None,
    };
    Some(hint.to_owned())
}
