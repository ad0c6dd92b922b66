//! `curate init`: looks at files, and writes a manifest for them that runs as it is.
//!
//! | file | what it does |
//! |---|---|
//! | [`survey`] | finds the files, and divides them into sources |
//! | [`sample`] | reads some records of each source |
//! | [`fields`] | tells which field is the text, the id, the URL, the date and the licence |
//! | [`recipes`] | the tables behind the sources |
//! | [`mod@write`] | the text of the manifest |

mod fields;
mod recipes;
mod sample;
mod survey;
mod write;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use curate_formats::numbers::counted;
use curate_store::durable;
use curate_store::failure::{Exit, Failure};
use curate_store::terminal::printable;

use crate::{machine, manifest};
use sample::Seen;
use survey::{Found, Group};

/// Name of the file with the JSON Schema, in the folder of the manifest. A source that reads all
/// files of the folder leaves it out, because its name begins with a dot.
const SCHEMA: &str = ".curate.schema.json";

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Request {
    /// Files or folders to look at; default: the current folder
    paths: Vec<PathBuf>,
    /// File to write, or - for stdout
    #[arg(short, long, value_name = "FILE", default_value = "manifest.toml")]
    output: PathBuf,
    /// Tables behind the sources; default: code for source code, else quickstart
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(recipes::NAMES))]
    recipe: Option<String>,
    /// Records of each source to look at
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    records: u32,
    /// Replace the files if they exist
    #[arg(long)]
    force: bool,
}

/// Looks at files and writes a manifest for them.
///
/// # Errors
/// Exit 2 if the manifest exists, if a path does not exist, or if no file holds text.
pub fn init(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    let is_printed = request.output == Path::new("-");
    if !is_printed && !request.force {
        refuse_existing(&request.output)?;
    }
    let folder = folder(&request.output, is_printed)?;

    let here = [PathBuf::from(".")];
    let paths = match request.paths.as_slice() {
        [] => &here,
        paths => paths,
    };
    let own = request.output.file_name().unwrap_or_default();
    let Found { groups, unread } = survey::find(paths, &folder, own)?;
    let sources = look(groups, request.records as usize)?;
    let is_code = sources.iter().all(|(group, _)| group.is_code);
    let recipe = recipes::recipe(request.recipe.as_deref(), is_code);

    let name = run_name(&request.output, &folder);
    let schema = format!("./{SCHEMA}");
    let draft = write::Draft {
        name: &name,
        recipe,
        schema: (!is_printed).then_some(schema.as_str()),
        memory: machine::smaller_memory(),
        sources: &sources,
        unread: &unread,
    };
    let text = write::manifest(&draft);
    let target = if is_printed {
        Path::new("manifest.toml")
    } else {
        &request.output
    };
    manifest::parse(target, &text).map_err(|error| {
        let message = format!("bug: the manifest that was made is not valid: {error}");
        Failure::new(Exit::Broken, message)
    })?;

    if is_printed {
        out.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    write_schema(&folder.join(SCHEMA), request.force)?;
    write_new(&request.output, text.as_bytes(), request.force)?;
    tell(request, &sources, recipe.name, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Samples of the sources.
///
/// # Errors
/// Exit 2 if no source has a text.
fn look(groups: Vec<Group>, records: usize) -> Result<Vec<(Group, Seen)>> {
    let mut sources = Vec::new();
    for group in groups {
        let seen = sample::look(&group, records)?;
        sources.push((group, seen));
    }
    if sources
        .iter()
        .any(|(group, seen)| seen.is_usable(group.format))
    {
        return Ok(sources);
    }

    let message = match sources.first() {
        None => "there is no file of a known format".to_owned(),
        Some((group, seen)) => {
            let fields: Vec<&str> = seen
                .fields
                .iter()
                .map(|field| &*field.path)
                .take(12)
                .collect();
            let fields = match fields.is_empty() {
                true => String::new(),
                false => format!("; the fields are {}", fields.join(", ")),
            };
            let damage = seen.damaged.iter().next();
            let damage = damage.map(|(reason, (_, detail))| format!("; {reason}: {detail}"));
            let damage = damage.unwrap_or_default();
            let paths = group.paths.join(", ");
            format!("no field of {paths} looks like a text{fields}{damage}")
        }
    };
    Err(Failure::new(Exit::Usage, message)
        .hint("name files that hold texts; `curate schema manifest` lists the formats")
        .into())
}

/// The folder of the manifest, absolute and with links resolved.
fn folder(output: &Path, is_printed: bool) -> Result<PathBuf> {
    let folder = match output.parent() {
        Some(folder) if !is_printed && !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::canonicalize(folder).map_err(|error| {
        let message = format!("the folder {} of the manifest: {error}", folder.display());
        Failure::new(Exit::Usage, message).into()
    })
}

/// Refuses to replace a file.
fn refuse_existing(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => {
            let message = format!("{} exists already", path.display());
            Err(Failure::new(Exit::Usage, message)
                .hint("write another file with -o FILE, or replace this one with --force")
                .into())
        }
        Err(_) => Ok(()),
    }
}

/// The name of the run: that of the manifest, or of its folder if the manifest has no name of its own.
fn run_name(output: &Path, folder: &Path) -> String {
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    let own = match &*stem {
        "manifest" | "-" => folder.file_name().unwrap_or_default().to_string_lossy(),
        _ => stem,
    };
    survey::unique(&own, "run", &mut Default::default())
}

/// Writes the schema for editors, unless a file of this name has other bytes.
fn write_schema(path: &Path, is_forced: bool) -> Result<()> {
    let schema = serde_json::to_string_pretty(&manifest::json_schema())? + "\n";
    match fs::read(path) {
        Ok(bytes) if bytes == schema.as_bytes() => Ok(()),
        Ok(_) if !is_forced => {
            curate_store::terminal::say(&format!(
                "curate: {} is of another version and was left; --force replaces it",
                path.display()
            ));
            Ok(())
        }
        _ => write_new(path, schema.as_bytes(), is_forced),
    }
}

/// Writes a file. A file that exists is replaced only with `is_forced`.
fn write_new(path: &Path, bytes: &[u8], is_forced: bool) -> Result<()> {
    let place = || format!("cannot write {}", path.display());
    if is_forced {
        return durable::replace(path, |part| durable::write(part, bytes)).with_context(place);
    }

    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        // The file was made since the first look.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return refuse_existing(path),
        opened => opened.with_context(place)?,
    };
    file.write_all(bytes).with_context(place)
}

/// Prints what was found, and what to do next.
fn tell(
    request: &Request,
    sources: &[(Group, Seen)],
    recipe: &str,
    out: &mut impl Write,
) -> Result<()> {
    let output = printable(&request.output.to_string_lossy());
    for (group, seen) in sources {
        let records = counted(seen.records, "record");
        let text = match (&seen.text.path, seen.is_usable(group.format)) {
            (_, false) => "left out: no field looks like a text".to_owned(),
            (Some(path), _) => format!("text in \"{path}\""),
            (None, _) => "one text for each document".to_owned(),
        };
        let line = format!(
            "{:<20} {:<8} {}, looked at {records}, {text}",
            group.name,
            survey::word(group.format),
            counted(group.files.len() as u64, "file"),
        );
        writeln!(out, "{}", printable(&line))?;
    }

    writeln!(
        out,
        "\nwrote {output} with the recipe {recipe}; read its comments, then:\n  curate plan {output}\n  curate run {output}"
    )?;
    Ok(())
}
