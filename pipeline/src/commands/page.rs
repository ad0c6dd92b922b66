//! `curate report` writes `report.html` again from the files of a run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use curate_page::Subject;
use curate_schemas::Manifest;
use curate_schemas::report::Report;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;

use crate::{constants, report};

/// The arguments of `curate report`.
#[derive(Debug, Args)]
pub struct Request {
    /// Run directory; the page is RUN/report.html
    run: PathBuf,
    /// Open the page in the browser of the desktop
    #[arg(long)]
    open: bool,
}

/// Writes the page of a run, and says where it is.
///
/// # Errors
/// Exit 2 if the path is not a run directory or another version of a stage wrote its tables, 11 if a
/// run writes into it. If the page cannot be written, or no browser can be started.
pub fn write_again(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    let run = RunDir::open_held(&request.run)?;
    if let Some(outdated) = run.outdated_stages()?.first() {
        return Err(outdated.failure(&run.table(outdated.stage)).into());
    }

    let report = report::of_run(&run)?;
    let manifest = match run.has_manifest() {
        true => run.manifest()?,
        false => Manifest::default(),
    };
    write(&run, &manifest, &report)?;

    let page = run.page();
    writeln!(out, "{}", printable(&page.to_string_lossy()))?;
    if request.open {
        open(&page)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a run into its directory.
///
/// # Errors
/// If a committed file cannot be read, or the page cannot be written.
pub fn write(run: &RunDir, manifest: &Manifest, report: &Report) -> Result<()> {
    let budget = manifest.budget.as_ref();
    let page = curate_page::page(&Subject {
        run,
        manifest,
        report,
        law: budget.map(constants::of_budget).transpose()?,
    })?;
    run.write_if_changed(&run.page(), page.as_bytes())
}

/// Opens a page in the browser of the desktop.
///
/// # Errors
/// Exit 74 if there is no program that opens pages.
fn open(page: &Path) -> Result<()> {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let page = page
        .canonicalize()
        .with_context(|| format!("cannot find {}", page.display()))?;

    // The browser may live longer than this program, so nobody waits for it.
    Command::new(program)
        .arg(&page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .map_err(|error| {
            let message = format!("cannot start {program}: {error}");
            Failure::new(Exit::Io, message)
                .hint(format!("open {} in a browser", page.display()))
                .into()
        })
}
