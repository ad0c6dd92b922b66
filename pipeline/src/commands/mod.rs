//! The command line: the arguments of all subcommands, and a file for each larger subcommand.

mod budget;
mod diff;
mod doctor;
mod document;
mod export;
mod extract;
mod gc;
mod hunks;
mod page;
mod plan;
mod rules;
mod sample;
mod shell;
mod show;
mod trace;
mod train;
mod verify;

pub use train::tokenizer;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::datatypes::DataType;
use arrow::ipc::writer::StreamWriter;
use clap::{Args, Parser, Subcommand};
use curate_ingest::inputs::Inputs;
use curate_schemas::spec::Scope;
use curate_schemas::stages::STAGES;
use curate_schemas::{Manifest, calibration, tables};
use curate_store::failure::{self, Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use curate_store::zip::Reading;
use curate_store::{interrupt, terminal};

use crate::driver::{Driver, EarlierRuns, compute_units, space};
use crate::report::views;
use crate::{calibrate, init, manifest, progress, report};

const EXIT_CODES: &str = "Exit codes:
  0        done
  1        the answer is no: verify found damage, too much was quarantined, a mixture is impossible
  2        usage or manifest error, a missing input, a run directory of another run
  11       another process holds the run directory, or writes into a run of dedup.against
  70       an invariant broke: a stage lost or doubled something, or a committed file was changed
  74       reading or writing failed, or the disk is full
  130/143  interrupted; committed work is kept, run the same command again to go on

Example:
  curate run manifests/quickstart.toml --set filter.gopher_quality.min_words=80";

/// Curates pre-training data: shards, cleans, labels, deduplicates and scores raw text, and says
/// what it is worth in effective tokens.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at files and write a manifest for them; example: curate init data -o mine.toml
    Init(init::Request),
    /// Bring every stage of a manifest up to date; work that is committed already is reused
    Run(RunArgs),
    /// Compute units of a round for a driver in another process, as a fleet's command is asked to
    Unit {
        /// Round that the driver wrote, DIR/.curate/rounds/NAME.json
        round: PathBuf,
        /// Numbers of the units
        #[arg(required = true)]
        numbers: Vec<usize>,
    },
    /// Show which stages are cached, and why others are not; writes nothing and reads no input
    Plan {
        #[command(flatten)]
        manifest: ManifestArgs,
        /// Last stage of the run that is planned, as in near_dedup
        #[arg(long, value_name = "STAGE")]
        until: Option<String>,
    },
    /// Show what this machine and this build offer a run, and what could go wrong; exits with 1 if
    /// something would stop a run
    Doctor(doctor::Request),
    /// Show the funnel of a run directory
    Status(RunDirArgs),
    /// Write report.html, the page of a run, again from its files; every run writes it at its end;
    /// example: curate report runs/quickstart --open
    Report(page::Request),
    /// Compare two runs: settings, documents won and lost, scores, effective tokens; example:
    /// curate diff runs/quickstart runs/stricter
    Diff(diff::Request),
    /// Show what a run directory holds, and delete what nothing names; example: curate gc
    /// runs/quickstart --delete
    Gc(gc::Request),
    /// Check all committed files: digests, rows, schemas, conservation; exits with 1 and names each
    /// damaged file
    Verify(RunDirArgs),
    /// Show everything that happened to one document; example:
    /// curate trace runs/quickstart page-17
    Trace(trace::Request),
    /// Show texts of documents that were kept, that a rule removed, or that lie closest to a rule's
    /// threshold; example: curate sample runs/quickstart --near gopher_quality.short_doc
    Sample(sample::Request),
    /// List the rules, explain one, or compare the profiles on the documents of a run
    Rules {
        /// Rule to explain, as in gopher_quality.short_doc
        #[arg(conflicts_with = "agreement")]
        name: Option<String>,
        /// Run directory; prints how many of its documents each family passes, and on how many the
        /// profiles agree
        #[arg(long, value_name = "RUN")]
        agreement: Option<PathBuf>,
    },
    /// Learn a model from the documents that a run kept
    Train {
        #[command(subcommand)]
        model: Train,
    },
    /// Measure what a token of each part of a run is worth to a target, by the losses of many small
    /// models; exits with 1 if the result must not be used; example: curate calibrate runs/today
    /// --target docs=held-out/*.jsonl.zst -o calibration.json
    Calibrate(calibrate::Request),
    /// Compare a run's scores and verdicts with those of a baseline; exits with 1 and names what
    /// drifted, documents and PSI; example: curate drift runs/today --baseline baseline.json
    Drift(curate_drift::DriftRequest),
    /// Write the distributions of a run's scores into a small file for `drift`; example:
    /// curate baseline runs/reference -o baseline.json
    Baseline(curate_drift::BaselineRequest),
    /// Write a mixture of a run as a folder that trainers read: Parquet, JSON lines, Megatron-LM's
    /// .bin and .idx with blend files, a dataset card and dataset.json; example: curate export
    /// runs/quickstart general -o general --format parquet,megatron --end '<|endoftext|>'
    Export(export::Request),
    /// Print the text that is taken out of a page of a web archive or an HTML file; example:
    /// curate extract page.html --diff text
    Extract(extract::Request),
    /// Show what a number of tokens of some quality is worth to a model, without a run
    Budget(budget::Question),
    /// Print completions for a shell; example: curate completions bash
    Completions(shell::Completions),
    /// Write the manual pages into a folder; example: curate man ~/.local/share/man/man1
    Man(shell::Man),
    /// Describe the keys of the manifest, or the columns of a table such as documents or signals
    Schema {
        /// `manifest` or the name of a table; if absent, all tables are listed
        name: Option<String>,
        /// Print the manifest as a JSON Schema, for editors
        #[arg(long)]
        json: bool,
        /// Write a table as an Arrow IPC stream without rows, for programs that need its types
        #[arg(long, requires = "name", conflicts_with = "json")]
        arrow: bool,
    },
}

#[derive(Debug, Args)]
struct ManifestArgs {
    /// Path of the manifest
    manifest: PathBuf,
    /// Override a key, as in --set run.seed=9; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Run directory instead of run.dir
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Memory instead of run.memory, as in 8GiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    manifest: ManifestArgs,
    /// Number of threads; default: the machine's cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Most rows of committed tables that are read at a time; fewer rows take less memory, and only
    /// the rounding of model scores may depend on the number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_rows: Option<u32>,
    /// Program that runs units of work in place of fleet.command, its arguments separated by
    /// spaces; `local` for the threads of this process
    #[arg(long, value_name = "COMMAND")]
    fleet: Option<String>,
    /// Check all committed files first, as `verify` does, and make damaged files again
    #[arg(long)]
    repair: bool,
    /// Go on even if no record has a usable value in a field that the manifest names
    #[arg(long)]
    allow_missing: bool,
    /// Last stage to run, as in near_dedup
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,
}

#[derive(Debug, Args)]
struct RunDirArgs {
    /// Run directory to read
    run: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Train {
    /// An n-gram model, interpolated modified Kneser-Ney, for [score.ngram]; example:
    /// curate train ngram runs/reference -o reference.ngram
    Ngram(train::Request),
}

/// Parses the command line and runs the subcommand.
///
/// # Errors
/// If the subcommand fails. [`curate_store::failure::exit_code`] gives the exit code of an error.
pub fn run() -> Result<ExitCode> {
    let cli = Cli::parse();

    // The arms lock stdout, because `run` locks it only after its threads are done.
    match cli.command {
        Command::Init(request) => init::init(&request, &mut std::io::stdout().lock()),
        Command::Run(args) => run_manifest(&args),
        Command::Unit { round, numbers } => {
            interrupt::install()?;
            compute_units(&round, &numbers).map(|()| ExitCode::SUCCESS)
        }
        Command::Plan { manifest, until } => {
            check_until(until.as_deref())?;
            let out = &mut std::io::stdout().lock();
            plan::print(&load(&manifest)?, until.as_deref(), out)
        }
        Command::Doctor(request) => doctor::print(&request, &mut std::io::stdout().lock()),
        Command::Status(args) => status(&args.run),
        Command::Report(request) => page::write_again(&request, &mut std::io::stdout().lock()),
        Command::Verify(args) => verify::print(&args.run, &mut std::io::stdout().lock()),
        Command::Diff(request) => diff::print(&request, &mut std::io::stdout().lock()),
        Command::Gc(request) => gc::print(&request, &mut std::io::stdout().lock()),
        Command::Trace(request) => trace::print(&request, &mut std::io::stdout().lock()),
        Command::Sample(request) => sample::print(&request, &mut std::io::stdout().lock()),
        Command::Rules { name, agreement } => {
            let out = &mut std::io::stdout().lock();
            match (name, agreement) {
                (_, Some(run)) => rules::agreement(&run, out),
                (Some(name), None) => rules::explain(&name, out),
                (None, None) => rules::list(out),
            }
        }
        Command::Train {
            model: Train::Ngram(request),
        } => train::ngram(&request, &mut std::io::stdout().lock()),
        Command::Calibrate(request) => {
            calibrate::calibrate(&request, &mut std::io::stdout().lock())
        }
        Command::Drift(request) => curate_drift::print(&request, &mut std::io::stdout().lock()),
        Command::Baseline(request) => {
            curate_drift::write_baseline(&request, &mut std::io::stdout().lock())
        }
        Command::Export(request) => export::export(&request, &mut std::io::stdout().lock()),
        Command::Extract(request) => extract::print(&request, &mut std::io::stdout().lock()),
        Command::Budget(question) => budget::answer(&question, &mut std::io::stdout().lock()),
        Command::Completions(request) => {
            shell::completions::<Cli>(&request, &mut std::io::stdout().lock())
        }
        Command::Man(request) => shell::man::<Cli>(&request, &mut std::io::stdout().lock()),
        Command::Schema {
            name: Some(name),
            arrow: true,
            ..
        } => write_empty(&name, &mut std::io::stdout().lock()),
        Command::Schema { name, json, .. } => {
            schema(name.as_deref(), json, &mut std::io::stdout().lock())
        }
    }
}

/// Loads the manifest with its overrides. Mistakes in it are a usage error, exit 2.
fn load(args: &ManifestArgs) -> Result<Manifest> {
    // `--memory` is the last override, so it wins, and its value is checked like any other.
    let mut sets = args.sets.clone();
    sets.extend(
        args.memory
            .as_ref()
            .map(|memory| format!("run.memory={memory}")),
    );

    let mut manifest = manifest::load(&args.manifest, &sets)
        .map_err(|error| Failure::new(Exit::Usage, error.shown()).of_lines())?;
    if let Some(dir) = &args.run_dir {
        manifest.run.dir.clone_from(dir);
    }

    let dir = manifest.run.dir.to_string_lossy();
    if manifest::scheme(&dir).is_some() {
        let message = format!("the run directory {dir} is not a path on this machine");
        return Err(Failure::new(Exit::Usage, message)
            .hint("write a local path, and copy the mixture when the run is done")
            .into());
    }
    Ok(manifest)
}

/// Runs the stages of a manifest.
fn run_manifest(args: &RunArgs) -> Result<ExitCode> {
    let mut manifest = load(&args.manifest)?;
    check_until(args.until.as_deref())?;
    if let Some(fleet) = &args.fleet {
        let words: Vec<String> = fleet.split_whitespace().map(str::to_owned).collect();
        manifest.fleet.command =
            Some(words).filter(|words| !words.is_empty() && *words != ["local"]);
    }

    // Rayon's pool is set up once for the process, before anything uses it.
    let threads = args.threads.map_or_else(default_threads, usize::from);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("cannot start threads")?;
    interrupt::install()?;

    // Inputs and earlier runs are looked for before the run directory is made, so that a typing
    // error leaves nothing behind.
    let Inputs { units, notes } = curate_ingest::inputs::find(&manifest)?;
    say_notes(&notes);
    let earlier = EarlierRuns::open(&manifest)?;
    // A warning only, because the space that is needed is an estimate.
    space::warn(&manifest, &units);

    bring_up_to_date(manifest.clone(), earlier, args, threads)
        .map_err(|error| space::explain(error, &manifest, &units))
}

/// Logs what a user should know of the input files.
fn say_notes(notes: &[String]) {
    for note in notes {
        terminal::say(&format!("curate: {note}"));
    }
}

/// Refuses a last stage that does not exist: without this check a misspelt stage would run every
/// stage.
fn check_until(until: Option<&str>) -> Result<()> {
    // Mixtures are made by a whole run only.
    let stages = STAGES.iter().filter(|stage| stage.scope != Scope::Pool);
    let names: Vec<&str> = stages.map(|stage| stage.name).collect();
    let Some(until) = until.filter(|until| !names.contains(until)) else {
        return Ok(());
    };

    let failure = Failure::new(Exit::Usage, format!("there is no stage \"{until}\""));
    let hint = format!("one of: {}", names.join(", "));
    Err(failure.hint(hint).into())
}

/// Runs every stage, then writes and prints the report.
fn bring_up_to_date(
    manifest: Manifest,
    earlier: EarlierRuns,
    args: &RunArgs,
    threads: usize,
) -> Result<ExitCode> {
    let reading = Reading::new(args.batch_rows.map(|rows| rows as usize));
    let run = RunDir::create(&manifest.run.dir, &manifest.run.name, args.repair, reading)?;
    // Damaged files are deleted, and the driver then finds that they are missing.
    if args.repair {
        verify::clear(&run)?;
    }

    let driver = Driver::new(manifest, run, earlier, threads, args.allow_missing)?;
    let mut done = driver.run(args.until.as_deref())?;
    if args.until.is_none() {
        driver
            .run_mixtures(&mut done)
            .inspect_err(|error| show_funnel(&driver, error))?;
    }

    // Views first: the sweep deletes files that older views may still name.
    views::write(&driver.run)?;
    driver.run.sweep()?;

    // The report comes last, because `verify` takes a run without `run.json` as unfinished.
    let report = report::build(&driver.run, &driver.manifest)?;
    driver.run.write_manifest(&driver.manifest)?;
    if !done.computed.is_empty() {
        driver.run.write_times(&done.times(threads))?;
    }
    // A page that nothing took back is current. Another would read texts, which a run that computes
    // nothing does not.
    if !done.computed.is_empty() || !driver.run.page().exists() {
        page::write(&driver.run, &driver.manifest, &report)?;
    }
    driver
        .run
        .write_if_changed(&driver.run.report(), &report::to_bytes(&report)?)?;

    let mut out = std::io::stdout().lock();
    report::print(&report, &mut out)?;
    if let Some(bytes) = progress::peak_memory() {
        terminal::say(&format!("peak memory: {:.0} MB", bytes as f64 / 1e6));
    }

    let root = printable(&driver.run.root().to_string_lossy());
    let computed: Vec<String> = done.computed.into_iter().map(|stage| stage.name).collect();
    match computed.is_empty() {
        true => writeln!(out, "\neverything was cached in {root}")?,
        false => writeln!(
            out,
            "\ncomputed: {}; cached: {}; in {root}",
            list(&computed),
            list(&done.cached)
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the funnel of a run whose mixture is not possible: the funnel tells what the mixture can
/// be made of. Prints nothing for another error. An error here must not hide the first one, so it
/// is dropped.
fn show_funnel(driver: &Driver, error: &anyhow::Error) {
    if failure::exit_code(error) == Exit::No as u8
        && let Ok(report) = report::build(&driver.run, &driver.manifest)
    {
        let _ = report::print(&report, &mut std::io::stdout().lock());
    }
}

/// Names of stages in a list, or `nothing`.
fn list(stages: &[String]) -> String {
    if stages.is_empty() {
        "nothing".to_owned()
    } else {
        stages.join(", ")
    }
}

/// The number of threads that the machine can run at once, or 1 if it is unknown.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Prints the funnel of a run directory, from its committed files.
fn status(root: &Path) -> Result<ExitCode> {
    let run = RunDir::open(root)?;

    // Built anew, because `run.json` may be of a former state or not there yet.
    let report = report::of_run(&run)?;
    report::print(&report, &mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the keys of the manifest, the fields of a calibration, the columns of one table, or the
/// list of all tables.
fn schema(name: Option<&str>, json: bool, out: &mut impl Write) -> Result<ExitCode> {
    if json {
        if name == Some("calibration") {
            return schema(name, false, out);
        }
        if name != Some("manifest") {
            let failure = Failure::new(
                Exit::Usage,
                "--json describes the manifest and the calibration only",
            );
            return Err(failure.hint("curate schema manifest --json").into());
        }
        let schema = serde_json::to_string_pretty(&manifest::json_schema())?;
        writeln!(out, "{schema}")?;
        return Ok(ExitCode::SUCCESS);
    }

    match name {
        Some("manifest") => {
            manifest::print_reference(out)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some("calibration") => {
            let schema = serde_json::to_string_pretty(&calibration::json_schema())?;
            writeln!(out, "{schema}")?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }

    let Some(name) = name else {
        writeln!(out, "{:<21}the keys of manifest.toml", "manifest")?;
        writeln!(out, "{:<21}the fields of calibration.json", "calibration")?;
        for table in tables::tables() {
            writeln!(out, "{:<21}{}", table.name, table.doc)?;
        }
        return Ok(ExitCode::SUCCESS);
    };

    let table = tables::table(name).ok_or_else(|| no_table(name))?;
    writeln!(out, "{}: {}", table.name, table.doc)?;
    for column in &table.columns {
        print_column(column, 1, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes an Arrow IPC stream that has the columns of a table, and no rows.
fn write_empty(name: &str, out: &mut impl Write) -> Result<ExitCode> {
    let table = tables::table(name).ok_or_else(|| no_table(name))?;

    StreamWriter::try_new(out, &table.schema())?.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// The failure to find the table that a user named.
fn no_table(name: &str) -> Failure {
    let names: Vec<&str> = tables::tables().iter().map(|table| table.name).collect();
    let message = format!("there is no table \"{name}\"");
    let hint = format!("manifest, calibration, or one of: {}", names.join(", "));
    Failure::new(Exit::Usage, message).hint(hint)
}

/// Prints the line of a column, and below it those of its fields, indented by `depth`.
fn print_column(
    column: &tables::Column,
    depth: usize,
    out: &mut impl Write,
) -> std::io::Result<()> {
    // Arrow's text of a nested type repeats its fields, which have lines of their own below.
    let data_type = match (&column.data_type, column.children.is_empty()) {
        (DataType::Map(..), _) => "Map(Utf8 to Float64)".to_owned(),
        (_, true) => column.data_type.to_string(),
        (DataType::List(_), false) => "List(Struct)".to_owned(),
        (_, false) => "Struct".to_owned(),
    };

    let null = if column.nullable { ", null" } else { "" };
    let unit = if column.unit.is_empty() {
        String::new()
    } else {
        format!(", {}", column.unit)
    };
    let range = if column.range.is_empty() {
        String::new()
    } else {
        format!(", {}", column.range)
    };

    writeln!(
        out,
        "{}{}: {data_type}{null}{unit}{range}: {}",
        "  ".repeat(depth),
        column.name,
        column.doc
    )?;
    column
        .children
        .iter()
        .try_for_each(|child| print_column(child, depth + 1, out))
}
