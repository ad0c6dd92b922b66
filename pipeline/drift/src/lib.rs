//! `curate drift` and `curate baseline`: whether a run's scores and verdicts are still those of a
//! baseline.
//!
//! The same documents in both runs: paired checks, where one flipped verdict is a change. In any
//! case the distribution of each column by source and language, by documents and by tokens, over
//! bins frozen from the baseline: see [`curate_scorers::drift`] for the statistics and for what
//! "too few documents" means.
//!
//! | file | what |
//! |---|---|
//! | [`gather`], [`columns`], [`groups`] | values of a run's columns by source and language |
//! | [`baseline`] | the file that a repository keeps |
//! | `distributions` | the run's against the baseline's |
//! | `paired` | the same documents, one by one |
//! | `lines`, `print` | the answer in words; text, JSON, JUnit, GitHub's annotations, Markdown |

mod baseline;
mod columns;
mod distributions;
mod gather;
mod groups;
mod lines;
mod paired;
mod print;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use curate_schemas::tables::Measure;
use curate_scorers::drift::{Comparison, Gate, Gates, Judged, Settings, Verdict};
use curate_store::failure::{Exit, Failure};
use curate_store::terminal::printable;
use serde::Serialize;

use self::baseline::Baseline;
use self::columns::measure;
use self::distributions::distributions;
use self::gather::Reader;
use self::groups::{Example, Group};
use self::paired::{Paired, paired};

/// What `curate baseline` is asked for.
#[derive(Debug, Args)]
pub struct BaselineRequest {
    /// Run directory
    run: PathBuf,
    /// File of the baseline, about 2 KB a column, source and language
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Column to keep, as in meta.score; may be repeated; default: q, its terms and vetoes, and
    /// scores of models
    #[arg(long = "measure", value_name = "COLUMN")]
    measures: Vec<String>,
}

/// What `curate drift` is asked for.
#[derive(Debug, Args)]
pub struct DriftRequest {
    /// Run directory
    run: PathBuf,
    /// What to compare it with: another run directory, or a file of `curate baseline`
    #[arg(long, value_name = "RUN_OR_JSON")]
    baseline: PathBuf,
    /// How to say it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Column to compare, as in meta.score; may be repeated; default: all that the baseline has
    #[arg(long = "measure", value_name = "COLUMN")]
    measures: Vec<String>,
    /// Verdicts on the same documents that may flip, documents
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_flips: u64,
    /// PSI above which to warn; 0.001 is a mean moved by 0.03 standard deviations
    #[arg(long, value_name = "PSI", default_value_t = Gates::default().warn)]
    warn: f64,
    /// PSI above which to fail; 0.01 is a mean moved by 0.1 standard deviations, the customary 0.1
    /// by 0.32
    #[arg(long, value_name = "PSI", default_value_t = Gates::default().fail)]
    fail: f64,
    /// Jensen–Shannon distance above which to warn; 0.42 times a small shift of the mean in
    /// standard deviations. Off unless set, as are those below
    #[arg(long, value_name = "JS")]
    warn_js: Option<f64>,
    /// Jensen–Shannon distance above which to fail
    #[arg(long, value_name = "JS")]
    fail_js: Option<f64>,
    /// Kolmogorov–Smirnov statistic above which to warn; 0.4 times a small shift of the mean in
    /// standard deviations
    #[arg(long, value_name = "KS")]
    warn_ks: Option<f64>,
    /// Kolmogorov–Smirnov statistic above which to fail
    #[arg(long, value_name = "KS")]
    fail_ks: Option<f64>,
    /// Wasserstein distance above which to warn, in the baseline's standard deviations: a shift of
    /// the mean, as it is
    #[arg(long, value_name = "SD")]
    warn_wasserstein: Option<f64>,
    /// Wasserstein distance above which to fail, in the baseline's standard deviations
    #[arg(long, value_name = "SD")]
    fail_wasserstein: Option<f64>,
    /// Exit 1 as well where there are too few documents to say, or nothing to compare with
    #[arg(long)]
    strict: bool,
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person
    Text,
    /// All numbers
    Json,
    /// A test case a check, as XML
    Junit,
    /// Annotations of a GitHub workflow
    Github,
    /// A table for a comment or a job summary
    Markdown,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Name of the baseline's run.
    pub baseline: String,
    /// Name of the run.
    pub run: String,
    /// Documents of the run.
    pub documents: u64,
    /// Whether both are of the same documents.
    pub same_documents: bool,
    /// How much drift matters.
    pub gates: Gates,
    /// How intervals were made.
    pub settings: Settings,
    /// Flips that are allowed.
    pub max_flips: u64,
    /// The same documents one by one, where both are run directories.
    pub paired: Option<Paired>,
    /// Verdicts that flipped at the least, by how many documents each source keeps: of the same
    /// documents and a file.
    pub least_flips: Option<u64>,
    /// Distributions.
    pub checks: Vec<Check>,
    /// What one of them lacks.
    pub missing: Vec<Missing>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One column of one group, by documents or by tokens.
#[derive(Debug, Serialize)]
pub struct Check {
    /// The column.
    pub measure: String,
    /// Source and language.
    pub group: Group,
    /// The answer of all gates together.
    pub verdict: Verdict,
    /// That of each gate that is on.
    pub judged: Vec<Judged>,
    /// The PSI's p-value, adjusted for being one of many.
    pub adjusted_p: f64,
    /// All metrics.
    pub comparison: Comparison,
    /// Documents of the run from where it gained most, if it drifted.
    pub examples: Vec<Example>,
    /// The cells of the bin that gained most.
    #[serde(skip)]
    gained: Vec<bool>,
}

/// A column of a group that one side does not have.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// Source and language; none: of all.
    pub group: Option<Group>,
    /// `new`: the baseline lacks it, `gone`: the run does.
    pub what: &'static str,
    /// The column.
    pub measure: String,
    /// Documents of the side that has it.
    pub documents: u64,
}

/// Writes a run's baseline.
///
/// # Errors
/// Exit 2 if the run or a column is not there, 74 if the file cannot be written.
pub fn write_baseline(request: &BaselineRequest, out: &mut impl Write) -> Result<ExitCode> {
    let run = Reader::open(&request.run)?;
    let baseline = Baseline::of(&run, &asked(&run, &request.measures)?)?;
    baseline.write(&request.output)?;
    let (path, columns) = (
        printable(&request.output.to_string_lossy()),
        baseline.measures()?.len(),
    );
    writeln!(
        out,
        "{path}: {columns} columns, {} documents, {} lines",
        run.documents.rows,
        baseline.columns.len()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Compares a run with a baseline and prints the answer; exit 1 if it drifted.
///
/// # Errors
/// Exit 2 if one of them, or a column, is not there.
pub fn print(request: &DriftRequest, out: &mut impl Write) -> Result<ExitCode> {
    let answer = answer(request)?;
    print::print(&answer, request.format, out)?;
    let is_no = answer.fails() || (request.strict && answer.is_unsure());
    Ok(if is_no {
        ExitCode::from(Exit::No as u8)
    } else {
        ExitCode::SUCCESS
    })
}

impl Answer {
    /// Whether more verdicts flipped than may.
    pub fn has_flips(&self) -> bool {
        let flips = self
            .paired
            .as_ref()
            .map(|paired| paired.flips.flips())
            .or(self.least_flips);
        flips.is_some_and(|flips| flips > self.max_flips)
    }

    fn fails(&self) -> bool {
        self.has_flips()
            || self
                .checks
                .iter()
                .any(|check| check.verdict == Verdict::Fail)
    }

    fn is_unsure(&self) -> bool {
        let is_inconclusive = |check: &Check| matches!(check.verdict, Verdict::Inconclusive { .. });
        !self.missing.is_empty() || self.checks.iter().any(is_inconclusive)
    }
}

impl DriftRequest {
    /// The gates, if each is above 0 and none that warns is above the one that fails.
    fn gates(&self) -> Result<Gates> {
        let psi = Gate {
            warn: Some(self.warn),
            fail: Some(self.fail),
        };
        let jensen_shannon = Gate {
            warn: self.warn_js,
            fail: self.fail_js,
        };
        let ks = Gate {
            warn: self.warn_ks,
            fail: self.fail_ks,
        };
        let wasserstein = Gate {
            warn: self.warn_wasserstein,
            fail: self.fail_wasserstein,
        };
        for (name, gate) in [
            ("", psi),
            ("-js", jensen_shannon),
            ("-ks", ks),
            ("-wasserstein", wasserstein),
        ] {
            if !gate.is_sound() {
                let found =
                    |bound: Option<f64>| bound.map_or("none".to_owned(), |bound| bound.to_string());
                let (warn, fail) = (found(gate.warn), found(gate.fail));
                let message =
                    format!("expected 0 < --warn{name} <= --fail{name}, found {warn} and {fail}");
                return Err(Failure::new(Exit::Usage, message).into());
            }
        }
        Ok(Gates {
            warn: self.warn,
            fail: self.fail,
            jensen_shannon,
            ks,
            wasserstein,
            ..Gates::default()
        })
    }
}

fn answer(request: &DriftRequest) -> Result<Answer> {
    let gates = request.gates()?;
    let run = Reader::open(&request.run)?;
    let (other, mut baseline) = match request.baseline.is_dir() {
        false => (None, Baseline::read(&request.baseline)?),
        true => {
            let other = Reader::open(&request.baseline)?;
            let baseline = Baseline::of(&other, &asked(&other, &request.measures)?)?;
            (Some(other), baseline)
        }
    };
    let kept = baseline.kept();
    choose(&mut baseline, &request.measures, &request.baseline)?;
    let same_documents = baseline.documents == run.documents;
    let mut notes = Vec::new();
    let paired = match &other {
        Some(other) if same_documents => {
            let (was, is) = (other.removing(), run.removing());
            if was != is {
                notes.push(
                    "the runs have other stages: verdicts are those of the stages that both have"
                        .to_owned(),
                );
            }
            Some(paired([other, &run], &baseline.measures()?)?)
        }
        None if same_documents => {
            notes.push(
                "same documents: give the baseline's run directory to compare them one by one"
                    .to_owned(),
            );
            None
        }
        _ => None,
    };
    let least_flips = match &other {
        None if same_documents => least_flips(kept, &run)?,
        _ => None,
    };
    let settings = Settings::default();
    let asks_all = request.measures.is_empty();
    let (checks, missing) = distributions(&baseline, &run, asks_all, &gates, &settings)?;
    let (max_flips, name) = (request.max_flips, run.name.clone());
    Ok(Answer {
        baseline: baseline.run,
        run: name,
        documents: run.documents.rows,
        same_documents,
        gates,
        settings,
        max_flips,
        paired,
        least_flips,
        checks,
        missing,
        notes,
    })
}

/// Of the same documents, a source that keeps so many more or fewer has so many flips or more.
fn least_flips(was: Option<BTreeMap<String, u64>>, run: &Reader) -> Result<Option<u64>> {
    let Some(was) = was else { return Ok(None) };
    let is = run.kept()?;
    Ok(Some(
        was.iter()
            .map(|(source, was)| was.abs_diff(is.get(source).copied().unwrap_or(0)))
            .sum(),
    ))
}

/// The columns that are asked for, or those that are looked at anyway.
fn asked(run: &Reader, names: &[String]) -> Result<Vec<Measure>> {
    if names.is_empty() {
        return Ok(run.measures());
    }
    let of = |name: &String| {
        let unknown = || {
            Failure::new(
                Exit::Usage,
                format!("no column of numbers is called {}", printable(name)),
            )
        };
        let hint = "name table.column as `curate schema` lists them, or meta.field for a field of the record";
        let measure = measure(name).ok_or_else(|| unknown().hint(hint))?;
        let absent = || {
            Failure::new(
                Exit::Usage,
                format!("{}: stage {} has not run", printable(name), measure.table),
            )
        };
        if run.has_table(measure.table) {
            Ok(measure)
        } else {
            Err(absent().into())
        }
    };
    names.iter().map(of).collect()
}

/// Leaves the columns that are asked for, which must be there.
fn choose(baseline: &mut Baseline, names: &[String], path: &Path) -> Result<()> {
    for name in names {
        if baseline.of_measure(name).next().is_none() {
            let message = format!(
                "baseline {} has no values of {}",
                path.display(),
                printable(name)
            );
            return Err(Failure::new(Exit::Usage, message).into());
        }
    }
    baseline
        .columns
        .retain(|column| names.is_empty() || names.contains(&column.measure));
    Ok(())
}
