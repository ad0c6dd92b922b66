//! What the run cost: its stages on one axis of time, and its folders on the disk.

use curate_schemas::commit::FileEntry;
use curate_schemas::times::{StageTime, Times};
use maud::{Markup, html};

use crate::parts::{Cell, Column, Table, bar, part, things};
use crate::{Facts, Section, numbers, text};

/// Greatest number of folders with a row.
const FOLDERS: usize = 20;

/// The cost.
pub fn section(facts: &Facts) -> Section {
    Section {
        id: "cost",
        heading: "What did it cost?",
        body: html! {
            @match &facts.times {
                Some(times) => (time(times)),
                None => p { "The times of this run were not recorded." },
            }
            (folders(facts))
        },
    }
}

/// The figure of the stages.
fn time(times: &Times) -> Markup {
    let length = |stage: &StageTime| stage.end - stage.start;
    let slowest = times
        .stages
        .iter()
        .max_by(|a, b| length(a).total_cmp(&length(b)));
    let total: f64 = times.stages.iter().map(length).sum();
    html! {
        figure {
            figcaption {
                @match slowest {
                    Some(stage) if total > 0.0 => {
                        strong { (text::name(&stage.name)) } " took " (numbers::ratio(length(stage) / total))
                        " of " (numbers::seconds(times.seconds)) " with "
                        (things(times.threads, "thread")) "."
                    }
                    _ => "Nothing was computed.",
                }
            }
            (stages(times).markup("times"))
            p.note {
                "Times are of the last run that computed something. Speeds are over the time on the clock. "
                "Memory is the greatest of the process up to the end of the stage. "
                @if !times.cached.is_empty() {
                    "Cached, so not computed: "
                    @for (at, name) in times.cached.iter().enumerate() { @if at > 0 { ", " } (text::name(name)) }
                    "."
                }
            }
        }
    }
}

/// The stages that computed something.
fn stages(times: &Times) -> Table {
    let whole = if times.seconds > 0.0 {
        times.seconds
    } else {
        1.0
    };
    let rows = times.stages.iter().map(|stage| {
        let length = stage.end - stage.start;
        let rate = |n: u64| {
            if length > 0.0 {
                n as f64 / length
            } else {
                f64::NAN
            }
        };
        vec![
            Cell::Title(text::name(&stage.name)),
            Cell::Beside(bar(&[
                ("before", stage.start / whole),
                ("kept", length / whole),
            ])),
            Cell::Beside(numbers::seconds(length)),
            Cell::Beside(counted(stage.docs, numbers::count(stage.docs))),
            Cell::Beside(counted(stage.docs, numbers::about(rate(stage.docs)))),
            Cell::Beside(counted(
                stage.bytes,
                numbers::real(rate(stage.bytes) / 1e6, 1),
            )),
            Cell::Beside(stage.peak_memory.map_or(numbers::none(), numbers::bytes)),
        ]
    });
    let head = format!(
        "0 to {}",
        numbers::rounded((times.seconds * 10.0).round() / 10.0, 3)
    );
    Table {
        title: "Time of each stage",
        columns: vec![
            Column::words("Stage"),
            Column::bars(format!("{head} s")),
            Column::numbers("time"),
            Column::numbers("rows"),
            Column::numbers("rows/s"),
            Column::numbers("MB/s"),
            Column::numbers("peak memory"),
        ],
        rows: rows.collect(),
    }
}

/// A figure of what a stage counted; what no stage counted has none.
fn counted(n: u64, figure: Markup) -> Markup {
    if n == 0 { numbers::none() } else { figure }
}

/// The folders of the run and their bytes on the disk, the largest first.
pub fn disk(facts: &Facts) -> Vec<(String, u64)> {
    let mut folders = Vec::new();
    for (folder, commit) in &facts.commits {
        let size = |files: &[FileEntry]| files.iter().map(|file| file.size).sum::<u64>();
        folders.push((folder.clone(), size(&commit.files)));
        for (table, files) in &commit.tables {
            folders.push((table.clone(), size(files)));
        }
    }
    folders.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    folders
}

/// The figure of the folders.
fn folders(facts: &Facts) -> Markup {
    let folders = disk(facts);
    let total: u64 = folders.iter().map(|(_, size)| size).sum();
    let rows = folders.iter().take(FOLDERS).map(|(name, size)| {
        vec![
            Cell::Title(text::name(name)),
            Cell::Beside(bar(&[("merged", part(*size, total))])),
            Cell::Beside(numbers::bytes(*size)),
            Cell::Beside(numbers::share(*size, total)),
        ]
    });
    let table = Table {
        title: "Folders on the disk",
        columns: vec![
            Column::words("Folder"),
            Column::bars(""),
            Column::numbers("on the disk"),
            Column::numbers("of all"),
        ],
        rows: rows.collect(),
    };
    html! {
        figure {
            figcaption {
                (numbers::bytes(total)) " on the disk"
                @if let Some((name, size)) = folders.first() {
                    ", " (numbers::share(*size, total)) " of it in " strong { (text::name(name)) }
                }
                "."
            }
            (table.markup("small"))
        }
    }
}
