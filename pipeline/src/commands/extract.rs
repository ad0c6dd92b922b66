//! `curate extract`: the text that an extractor takes out of a page, to be compared by eye.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use curate_ingest::{Entry, Record, read_alone};
use curate_schemas::stages::documents::{Extractor, Run, Source, Web};
use curate_store::failure::{Exit, Failure};
use curate_store::terminal::printable;
use serde_json::{Value, json};
use similar::TextDiff;

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Request {
    /// HTML file, or a WARC or WET archive
    file: PathBuf,
    /// Address or record id of the page in an archive; without it the pages are listed
    page: Option<String>,
    /// How the text is taken, as in source.web.extractor
    #[arg(long, value_name = "NAME", default_value = "resiliparse", value_parser = PossibleValuesParser::new(Extractor::WORDS))]
    extractor: String,
    /// Write formulas as TeX between dollar signs
    #[arg(long)]
    formulas: bool,
    /// Show the lines in which the texts of two extractors differ: `-` for --extractor, `+` for
    /// this one
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Extractor::WORDS))]
    diff: Option<String>,
}

/// Prints the text of a page, the difference of two texts, or the list of pages.
///
/// # Errors
/// Exit 2 if the file cannot be used, exit 1 if no page has the address.
pub fn print(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    let found = look(request, &request.extractor)?;
    let text = match (found.text, &request.page) {
        (Some(text), _) => text,
        (None, None) => {
            list(&found.lines, out)?;
            return Ok(ExitCode::SUCCESS);
        }
        (None, Some(name)) => {
            let file = request.file.display();
            let message = format!("no page of {file} has the address {name}");
            let hint = format!("curate extract {file} lists the pages");
            return Err(Failure::new(Exit::No, message).hint(hint).into());
        }
    };

    match &request.diff {
        None => writeln!(out, "{}", shown(&text))?,
        Some(other) => {
            let second = look(request, other)?.text.unwrap_or_default();
            // With line feeds at their ends, so that the last lines compare like the others.
            let (first, second) = (text + "\n", second + "\n");
            let difference = TextDiff::from_lines(&first, &second);
            let mut difference = difference.unified_diff();
            let difference = difference.header(&request.extractor, other).to_string();
            write!(out, "{}", shown(&difference))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The text as it is, or for a terminal without the control characters that could change it.
fn shown(text: &str) -> Cow<'_, str> {
    if !std::io::stdout().is_terminal() {
        return text.into();
    }
    let cells = |line: &str| {
        line.split('\t')
            .map(printable)
            .collect::<Vec<_>>()
            .join("\t")
    };
    text.split('\n')
        .map(cells)
        .collect::<Vec<_>>()
        .join("\n")
        .into()
}

/// True if the page has this address or this id.
fn is_called(page: &Record, name: &str) -> bool {
    [&page.url, &page.id]
        .into_iter()
        .any(|own| own.as_deref() == Some(name))
}

/// Prints the list of the pages.
fn list(lines: &[String], out: &mut impl Write) -> Result<()> {
    writeln!(out, "{:>12}  address and title", "text bytes")?;
    for line in lines {
        writeln!(out, "{}", printable(line))?;
    }
    Ok(())
}

/// The line of a page: the bytes of its text, its address, its title.
fn line(page: &Record) -> String {
    let meta: Value = page
        .meta
        .as_deref()
        .and_then(|meta| serde_json::from_str(meta).ok())
        .unwrap_or_default();
    let title = meta["title"].as_str().unwrap_or_default();
    let address = page.url.as_deref().or(page.id.as_deref()).unwrap_or("-");
    let line = format!("{:>12}  {address}  {title}", page.text.len());
    line.trim_end().to_owned()
}

/// What was found in a file. An archive may be large, so no other texts are held.
#[derive(Default)]
struct Found {
    /// The text of the page that was asked for, or of the only page if it needs no name.
    text: Option<String>,
    /// A line for each page, if none was asked for.
    lines: Vec<String>,
}

/// Reads the pages of the file.
fn look(request: &Request, extractor: &str) -> Result<Found> {
    let source = Source {
        name: "extract".to_owned(),
        web: Web {
            extractor: serde_json::from_value(json!(extractor)).context("a known word")?,
            formulas: request.formulas,
            ..Web::default()
        },
        ..Source::default()
    };

    let mut found = Found::default();
    read_alone(&request.file, &source, &Run::default(), &mut |entry| {
        match entry {
            Entry::Item(Ok(record)) => found.add(record, request.page.as_deref()),
            Entry::Item(Err(damage)) => {
                let (at, reason) = (damage.offset, damage.reason);
                let detail = printable(&damage.detail);
                curate_store::terminal::say(&format!(
                    "curate: warning: {reason} at byte {at}: {detail}"
                ));
            }
            Entry::Skipped { .. } => {}
        }
        Ok(())
    })?;
    Ok(found)
}

impl Found {
    /// Adds a page.
    fn add(&mut self, page: Record, name: Option<&str>) {
        match name {
            Some(name) if self.text.is_none() && is_called(&page, name) => {
                self.text = Some(page.text);
            }
            Some(_) => {}
            None => {
                self.lines.push(line(&page));
                // A page that is not in an archive needs no name.
                let is_alone = self.lines.len() == 1 && page.url.is_none();
                self.text = is_alone.then_some(page.text);
            }
        }
    }
}
