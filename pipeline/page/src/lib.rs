//! `report.html`: the page that shows a run to a person.
//!
//! The page is one file that needs no network and works without its script. Its numbers come from
//! `run.json`, from the commits, and from one pass over the committed tables. Each figure has a
//! sentence, a table of its numbers, and the query over `views.sql` that gives them again.
//!
//! | where | what |
//! |---|---|
//! | [`page`] | the page of a run |
//! | `pass`, `rule`, `bins` | the pass over the tables, and what it counts for each rule |
//! | `samples` | the texts that are shown |
//! | `sections` | one file for each section of the page |
//! | `parts` | tables, figures and bars |
//! | `numbers`, `text` | numbers, and text of strangers |
//!
//! Everything is written by the template library, which escapes by itself. Charts are elements of
//! SVG whose places are per cent of the width, so that they fit any width and paper. The policy of
//! the page allows its own style and its own script, by their digests, and nothing else.

mod bins;
mod numbers;
mod parts;
mod pass;
mod rule;
mod samples;
mod sections;
mod text;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use curate_schemas::Manifest;
use curate_schemas::commit::Commit;
use curate_schemas::report::Report;
use curate_schemas::times::Times;
use curate_scorers::loss::LossLaw;
use curate_store::run_dir::RunDir;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use pass::Counted;
use samples::Texts;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page is made of.
pub struct Subject<'a> {
    /// The run directory.
    pub run: &'a RunDir,
    /// The manifest of the run.
    pub manifest: &'a Manifest,
    /// The report of the run, as `run.json` holds it.
    pub report: &'a Report,
    /// The loss law that the budget names; `None` without a budget.
    pub law: Option<LossLaw>,
}

/// What the sections are written from.
struct Facts<'a> {
    manifest: &'a Manifest,
    report: &'a Report,
    law: Option<LossLaw>,
    counted: Counted,
    texts: Texts,
    /// Why the texts could not be read; `None` if they were.
    unread: Option<String>,
    times: Option<Times>,
    /// The commits of all folders, in the order in which stages run.
    commits: Vec<(String, Commit)>,
    /// The rows of `near_dedup_sample`.
    pairs: Vec<samples::Pairs>,
    /// The merged documents that resemble their survivors least.
    merged: Vec<samples::Merged>,
}

/// A section of the page.
struct Section {
    /// Its name in addresses and in the list of sections.
    id: &'static str,
    /// The reader's question.
    heading: &'static str,
    body: Markup,
}

/// The page of a run. It depends on the committed files and on the times that `.curate/` holds.
///
/// # Errors
/// If a committed file cannot be read, or another version of its stage wrote it.
pub fn page(subject: &Subject) -> Result<String> {
    let Subject {
        run,
        manifest,
        report,
        law,
    } = *subject;
    let merged = samples::least_alike(run)?;
    let wanted = merged
        .iter()
        .flat_map(|merged| [merged.doc_id.as_str(), &merged.kept_id]);
    let counted = pass::count(run, manifest, &wanted.collect())?;
    let mut commits = Vec::new();
    for folder in run.folders()? {
        if let Some(commit) = run.commit(&folder)? {
            commits.push((folder, commit));
        }
    }

    // A run that reads no text of its own does not fail for a text that is damaged. The page says so.
    let (texts, unread) = match samples::texts(run, &counted) {
        Ok(texts) => (texts, None),
        Err(error) => (Texts::new(), Some(format!("{error:#}"))),
    };
    let facts = Facts {
        manifest,
        report,
        law,
        texts,
        unread,
        counted,
        times: run.times(),
        commits,
        pairs: samples::pairs(run)?,
        merged,
    };
    Ok(document(&facts).into_string())
}

/// The whole document.
fn document(facts: &Facts) -> Markup {
    let name = &facts.report.name;
    let sections = sections::all(facts);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (name) ": curate report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#result" { "Skip to the result" }
                nav aria-label="Sections" {
                    strong { (text::name(name)) }
                    ul { @for section in &sections {
                        li { a href={ "#" (section.id) } { (title(section.id)) } }
                    } }
                    div #buttons {}
                }
                main {
                    @for section in &sections {
                        section id=(section.id) {
                            @if section.id == "result" {
                                h1 { (text::name(name)) }
                            } @else {
                                h2 { (section.heading) }
                            }
                            (section.body)
                        }
                    }
                    footer {
                        "Written by curate " (facts.report.curate) " from the committed files of \
                         the run. Each number is a " code { "data" } " element that holds the exact \
                         value."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The name of a section in the list of sections: its id with a capital.
fn title(id: &str) -> String {
    let mut chars = id.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// The policy of the page: its own style and script, by their digests, and nothing else.
fn policy() -> String {
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; \
         form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_cannot_end_their_elements() {
        // They are written as they are, so that their digests hold.
        for text in [STYLE, SCRIPT] {
            assert!(!text.to_ascii_lowercase().contains("</"));
            assert!(!text.contains("<!--"));
        }
    }
}
