//! What shells and `man` read of the command line: completions and manual pages, from the same
//! definitions as `--help`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

/// The arguments of `curate completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// Shell that reads the completions
    shell: Shell,
}

/// The arguments of `curate man`.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Folder for the pages; it is made if it is missing
    folder: PathBuf,
}

/// Prints the completions of a command line for a shell.
///
/// # Errors
/// If stdout cannot be written.
pub fn completions<C: CommandFactory>(
    request: &Completions,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    // The library panics if it cannot write, and a reader may go away.
    let mut text = Vec::new();
    clap_complete::generate(request.shell, &mut command, name, &mut text);
    out.write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page for a command line and for each of its subcommands, such as `curate-run.1`.
///
/// # Errors
/// If the folder or a file cannot be written.
pub fn man<C: CommandFactory>(request: &Man, out: &mut impl Write) -> Result<ExitCode> {
    fs::create_dir_all(&request.folder)
        .with_context(|| format!("cannot make {}", request.folder.display()))?;

    let mut command = C::command();
    // The names of subcommands get the names of their parents.
    command.build();
    let n = pages(&command, &request.folder)?;
    writeln!(
        out,
        "wrote {n} pages; read one with `man -l {}/curate.1`",
        request.folder.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of its subcommands, and returns their number.
fn pages(command: &clap::Command, folder: &Path) -> Result<usize> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    let page = clap_mangen::Man::new(command.clone());

    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;

    let mut n = 1;
    for command in command
        .get_subcommands()
        .filter(|own| own.get_name() != "help")
    {
        n += pages(command, folder)?;
    }
    Ok(n)
}
