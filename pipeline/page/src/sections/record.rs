//! What it takes to make the run again: versions, keys, inputs and the manifest.

use maud::{Markup, html};

use crate::parts::{Cell, Column, Table, things};
use crate::{Facts, Section, numbers, text};

/// Greatest number of input files that are listed.
const INPUTS: usize = 200;
/// Hex digits of a digest that are shown.
const DIGITS: usize = 16;

/// The record.
pub fn section(facts: &Facts) -> Section {
    let report = facts.report;
    let inputs: usize = facts
        .commits
        .iter()
        .map(|(_, commit)| commit.inputs.len())
        .sum();
    let body = html! {
        p {
            "curate " (report.curate) ", seed " (numbers::count(facts.manifest.run.seed))
            @if let Some(tokenizer) = &report.tokenizer {
                ", tokenizer " (text::name(&tokenizer.name)) " " code { (short(&tokenizer.digest)) }
            }
            @if let Some(calibration) = &report.calibration {
                ", calibration " (text::name(&calibration.file)) " " code { (short(&calibration.digest)) }
            }
            ". The same inputs and the same settings give the same files."
        }
        details.unfold { summary { "Keys of the stages" } (keys(facts).markup("small")) }
        details { summary { (things(inputs as u64, "input file")) } (inputs_of(facts)) }
        details.unfold {
            summary { "The manifest, with the values of absent keys" }
            pre { (manifest(facts)) }
        }
        h3 { "To look further" }
        pre {
            "curate trace RUN ID          # everything that happened to one document\n"
            "curate verify RUN            # whether each file is still what was committed\n"
            "curate plan MANIFEST         # what a changed setting would redo\n"
            "duckdb -init views.sql       # every table of the run, in its folder\n"
        }
    };
    Section {
        id: "record",
        heading: "Could I make it again?",
        body,
    }
}

/// The first digits of a digest.
fn short(digest: &str) -> &str {
    digest.get(..DIGITS).unwrap_or(digest)
}

/// The key of each stage.
fn keys(facts: &Facts) -> Table {
    let rows = facts.commits.iter().map(|(folder, commit)| {
        vec![
            Cell::Title(text::name(folder)),
            Cell::Beside(numbers::count(u64::from(commit.version))),
            Cell::Beside(html! { code { (short(&commit.key)) } }),
            Cell::Beside(numbers::count(commit.files.len() as u64)),
        ]
    });
    Table {
        title: "Keys of the stages",
        columns: vec![
            Column::words("Stage"),
            Column::numbers("version"),
            Column::words("key, blake3"),
            Column::numbers("files"),
        ],
        rows: rows.collect(),
    }
}

/// The input files with their digests.
fn inputs_of(facts: &Facts) -> Markup {
    let inputs = || facts.commits.iter().flat_map(|(_, commit)| &commit.inputs);
    let rows = inputs().take(INPUTS).map(|input| {
        vec![
            Cell::Title(text::name(&input.path)),
            Cell::Beside(text::name(&input.source)),
            Cell::Beside(numbers::bytes(input.size)),
            Cell::Beside(html! { code { (short(&input.digest)) } }),
        ]
    });
    let table = Table {
        title: "Input files",
        columns: vec![
            Column::words("File"),
            Column::words("source"),
            Column::numbers("size"),
            Column::words("blake3"),
        ],
        rows: rows.collect(),
    };
    let more = inputs().count().saturating_sub(INPUTS);
    html! {
        (table.markup("small"))
        @if more > 0 { p.note { (numbers::count(more as u64)) " more are in documents/_commit.json." } }
    }
}

/// The manifest as TOML, without the texts of the files that it names.
fn manifest(facts: &Facts) -> Markup {
    let mut manifest = facts.manifest.clone();
    manifest.quality.calibration_json = None;
    if let Some(budget) = &mut manifest.budget {
        budget.constants_json = None;
    }
    let toml = toml::to_string_pretty(&manifest).unwrap_or_else(|error| format!("# {error}"));
    text::block(&toml, 40_000)
}
