//! `curate drift` and `curate baseline`: whether a run's scores and verdicts are still those of a
//! baseline.
//!
//! If both runs have the same documents, each document is compared with itself, and one flipped
//! verdict is a change. In any case the distribution of each column is compared, by source and
//! language, by documents and by tokens, over bins frozen from the baseline. The module
//! [`curate_scorers::drift`] explains the statistics and the meaning of "too few documents".
//!
//! | file | what |
//! |---|---|
//! | [`gather`], [`columns`], [`groups`] | values of a run's columns by source and language |
//! | [`baseline`] | the file that a repository keeps |
//! | `distributions` | the distributions of the run against those of the baseline |
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

use std::collections::{BTreeMap, BTreeSet};
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

/// The arguments of `curate baseline`.
#[derive(Debug, Args)]
pub struct BaselineRequest {
    /// Path of the run directory
    run: PathBuf,
    /// File of the baseline, about 2 KB for each column, source and language
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Column to keep, such as meta.score; may be repeated; default: q, its terms and vetoes, and
    /// scores of models
    #[arg(long = "measure", value_name = "COLUMN")]
    measures: Vec<String>,
}

/// The arguments of `curate drift`.
#[derive(Debug, Args)]
pub struct DriftRequest {
    /// Path of the run directory
    run: PathBuf,
    /// Baseline to compare with: another run directory, or a file of `curate baseline`
    #[arg(long, value_name = "RUN_OR_JSON")]
    baseline: PathBuf,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = AnswerFormat::Text)]
    format: AnswerFormat,
    /// Column to compare, such as meta.score; may be repeated; default: all columns of the baseline
    #[arg(long = "measure", value_name = "COLUMN")]
    measures: Vec<String>,
    /// Number of verdicts on the same documents that may flip, in documents
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_flips: u64,
    /// PSI above which to warn; 0.001 is a mean that moved by 0.03 standard deviations
    #[arg(long, value_name = "PSI", default_value_t = Gates::default().warn)]
    warn: f64,
    /// PSI above which to fail; 0.01 is a mean that moved by 0.1 standard deviations, and the
    /// customary 0.1 is a mean that moved by 0.32
    #[arg(long, value_name = "PSI", default_value_t = Gates::default().fail)]
    fail: f64,
    /// Jensen–Shannon distance above which to warn; a small shift of the mean gives 0.42 times the
    /// shift in standard deviations. Off unless set, like the options below
    #[arg(long, value_name = "JS")]
    warn_js: Option<f64>,
    /// Jensen–Shannon distance above which to fail
    #[arg(long, value_name = "JS")]
    fail_js: Option<f64>,
    /// Kolmogorov–Smirnov statistic above which to warn; a small shift of the mean gives 0.4 times
    /// the shift in standard deviations
    #[arg(long, value_name = "KS")]
    warn_ks: Option<f64>,
    /// Kolmogorov–Smirnov statistic above which to fail
    #[arg(long, value_name = "KS")]
    fail_ks: Option<f64>,
    /// Wasserstein distance above which to warn, in the baseline's standard deviations; a shift of
    /// the mean gives the shift itself
    #[arg(long, value_name = "SD")]
    warn_wasserstein: Option<f64>,
    /// Wasserstein distance above which to fail, in the baseline's standard deviations
    #[arg(long, value_name = "SD")]
    fail_wasserstein: Option<f64>,
    /// Exit with 1 also if there are too few documents to decide, or nothing to compare with
    #[arg(long)]
    strict: bool,
    /// Exit with 0 even if nothing could be compared: no check passed, warned or failed, and no
    /// document was compared with itself
    #[arg(long)]
    allow_empty: bool,
    /// Source of the baseline that the run may lack; may be repeated
    #[arg(long = "allow-missing-source", value_name = "NAME")]
    allowed_sources: Vec<String>,
}

/// The format in which the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AnswerFormat {
    /// Text for a person
    Text,
    /// All numbers, as JSON
    Json,
    /// JUnit's XML, with a test case for each check
    Junit,
    /// Annotations of a GitHub workflow
    Github,
    /// A Markdown table for a comment or a job summary
    Markdown,
}

/// The answer of `curate drift`.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Name of the baseline's run.
    pub baseline: String,
    /// Name of the run.
    pub run: String,
    /// Documents of the run.
    pub documents: u64,
    /// True if q of the run is calibrated. Where it is, the notes name the target.
    pub q_calibrated: bool,
    /// True if the baseline and the run have the same documents.
    pub same_documents: bool,
    /// The bounds above which a distance warns or fails.
    pub gates: Gates,
    /// The settings with which intervals were computed.
    pub settings: Settings,
    /// The number of flips that are allowed.
    pub max_flips: u64,
    /// The comparison of each document with itself. `None` unless both sides are run directories
    /// with the same documents.
    pub paired: Option<Paired>,
    /// The least number of verdicts that flipped, from the number of documents that each source
    /// keeps. `None` unless the baseline is a file with the same documents.
    pub least_flips: Option<u64>,
    /// The comparisons of distributions.
    pub checks: Vec<Check>,
    /// Columns and groups that one side lacks.
    pub missing: Vec<Missing>,
    /// Sources that one side lacks as a whole.
    pub sources: Sources,
    /// True if anything was compared: a document with itself, or a distribution with enough
    /// documents for a verdict.
    pub is_compared: bool,
    /// True if the user allows that nothing could be compared.
    pub allow_empty: bool,
    /// Remarks for the reader of the answer.
    pub notes: Vec<String>,
}

/// The comparison of one column in one group, by documents or by tokens.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Name of the column.
    pub measure: String,
    /// Source and language of the documents.
    pub group: Group,
    /// The verdict of all gates together.
    pub verdict: Verdict,
    /// The verdict of each gate that is on.
    pub judged: Vec<Judged>,
    /// The p-value of the PSI, adjusted for the number of tests.
    pub adjusted_p: f64,
    /// The values of all metrics.
    pub comparison: Comparison,
    /// Documents of the run in the bin that gained most, if the column drifted.
    pub examples: Vec<Example>,
    /// For each cell, whether it belongs to the bin that gained most.
    #[serde(skip)]
    gained: Vec<bool>,
}

/// A column of a group that one side lacks.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// Source and language. `None` if the column is missing for all documents.
    pub group: Option<Group>,
    /// `new` if the baseline lacks the column, `gone` if the run lacks it.
    pub what: &'static str,
    /// Name of the column.
    pub measure: String,
    /// The number of documents of the side that has the column.
    pub documents: u64,
}

/// The sources that one side lacks as a whole, sorted.
#[derive(Debug, Default, Serialize)]
pub struct Sources {
    /// Sources of the baseline of which the run has no document, without the allowed ones. Each of
    /// them is a failure.
    pub gone: Vec<String>,
    /// Sources of the baseline of which the run has no document, as the user allows.
    pub allowed: Vec<String>,
    /// Sources of the run of which the baseline has no document.
    pub new: Vec<String>,
}

impl Sources {
    /// Compares the sources of both sides.
    ///
    /// # Errors
    /// Exit 2 if an allowed source is not one of the baseline.
    fn of(
        baseline: &BTreeSet<String>,
        run: &BTreeSet<String>,
        allowed: &[String],
    ) -> Result<Sources> {
        if let Some(unknown) = allowed.iter().find(|name| !baseline.contains(*name)) {
            let message = format!("the baseline has no source {}", printable(unknown));
            let names: Vec<&str> = baseline.iter().map(String::as_str).collect();
            let hint = format!("its sources are {}", names.join(", "));
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }

        let (allowed, gone) = baseline
            .difference(run)
            .cloned()
            .partition(|name| allowed.contains(name));
        Ok(Sources {
            gone,
            allowed,
            new: run.difference(baseline).cloned().collect(),
        })
    }
}

/// Writes the baseline of a run and prints a line about it.
///
/// # Errors
/// Exit 2 if the run or a column is missing, 74 if the file cannot be written.
pub fn write_baseline(request: &BaselineRequest, out: &mut impl Write) -> Result<ExitCode> {
    let run = Reader::open(&request.run)?;
    let baseline = Baseline::of(&run, &asked(&run, &request.measures)?)?;
    baseline.write(&request.output)?;

    let path = printable(&request.output.to_string_lossy());
    let columns = baseline.measures()?.len();
    writeln!(
        out,
        "{path}: {columns} columns, {} documents, {} lines",
        run.documents.rows,
        baseline.columns.len()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Compares a run with a baseline and prints the answer. The exit code is 1 if the run drifted.
///
/// # Errors
/// Exit 2 if the run, the baseline or a column is missing.
pub fn print(request: &DriftRequest, out: &mut impl Write) -> Result<ExitCode> {
    let answer = answer(request)?;
    print::print(&answer, request.format, out)?;

    // Without `--strict`, too few documents are no reason to fail.
    let is_no = answer.fails() || (request.strict && answer.is_unsure());
    Ok(if is_no {
        ExitCode::from(Exit::No as u8)
    } else {
        ExitCode::SUCCESS
    })
}

impl Answer {
    /// True if more verdicts flipped than `max_flips` allows.
    pub fn has_flips(&self) -> bool {
        // At most one of the two numbers is there: the exact one needs two run directories.
        let flips = self
            .paired
            .as_ref()
            .map(|paired| paired.flips.flips())
            .or(self.least_flips);
        flips.is_some_and(|flips| flips > self.max_flips)
    }

    /// True if more verdicts flipped than allowed, if a distribution failed a gate, if the run lacks
    /// a source, or if nothing could be compared.
    fn fails(&self) -> bool {
        self.has_flips()
            || !self.sources.gone.is_empty()
            || !(self.is_compared || self.allow_empty)
            || self
                .checks
                .iter()
                .any(|check| check.verdict == Verdict::Fail)
    }

    /// True if the user allows that the run lacks the source of these documents.
    pub fn is_allowed(&self, missing: &Missing) -> bool {
        let source = missing.group.as_ref().map(|group| &group.source);
        missing.what == "gone" && source.is_some_and(|name| self.sources.allowed.contains(name))
    }

    /// True if a check is inconclusive or has nothing to compare with.
    fn is_unsure(&self) -> bool {
        self.missing.iter().any(|missing| !self.is_allowed(missing))
            || self
                .checks
                .iter()
                .any(|check| matches!(check.verdict, Verdict::Inconclusive { .. }))
    }
}

impl DriftRequest {
    /// The gates of all metrics.
    ///
    /// # Errors
    /// Exit 2 unless 0 < warn <= fail holds for the bounds that are set.
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

        // The gate on PSI is always on. Its options have no suffix.
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

/// What the reader must know about the q of both sides; `None` if both are uncalibrated.
fn calibration_note(baseline: &Baseline, run: &Reader) -> Option<String> {
    let which = |calibration: &Option<String>| match calibration {
        Some(target) => format!("calibrated on {}", printable(target)),
        None => "uncalibrated".to_owned(),
    };
    let (before, now) = (which(&baseline.calibration), which(&run.calibration));
    if before != now {
        return Some(format!(
            "q of the baseline is {before}, q of the run is {now}: values of quality.q mean \
             different things"
        ));
    }
    run.calibration.as_ref().map(|_| format!("q is {now}"))
}

/// Compares the run with the baseline.
fn answer(request: &DriftRequest) -> Result<Answer> {
    // The gates first: a wrong option must not cost the reading of a run.
    let gates = request.gates()?;
    let run = Reader::open(&request.run)?;

    let (other, mut baseline) = if request.baseline.is_dir() {
        let other = Reader::open(&request.baseline)?;
        let baseline = Baseline::of(&other, &asked(&other, &request.measures)?)?;
        (Some(other), baseline)
    } else {
        (None, Baseline::read(&request.baseline)?)
    };

    // `choose` may drop the column from which kept documents are counted, and all columns of a
    // source.
    let kept = baseline.kept();
    let mut sources = baseline.sources();
    sources.extend(other.iter().flat_map(|other| other.sources.clone()));
    let sources = Sources::of(&sources, &run.sources, &request.allowed_sources)?;
    choose(&mut baseline, &request.measures, &request.baseline)?;

    let same_documents = baseline.documents == run.documents;
    let mut notes: Vec<String> = calibration_note(&baseline, &run).into_iter().collect();
    let (paired, least_flips) = match &other {
        Some(other) if same_documents => {
            if other.removing() != run.removing() {
                notes.push(
                    "the runs have different stages: verdicts are those of their common stages"
                        .to_owned(),
                );
            }
            let paired = paired([other, &run], &baseline.measures()?)?;
            (Some(paired), None)
        }
        None if same_documents => {
            notes.push(
                "same documents: give the baseline's run directory to compare them one by one"
                    .to_owned(),
            );
            (None, least_flips(kept, &run)?)
        }
        _ => (None, None),
    };

    // Columns that only the run has are reported only if the user chose no columns.
    let settings = Settings::default();
    let asks_all = request.measures.is_empty();
    let (checks, missing) = distributions(&baseline, &run, asks_all, &gates, &settings)?;

    notes.extend(sources.allowed.iter().map(|name| {
        let name = printable(name);
        format!(
            "the run has no document of the source {name}, which --allow-missing-source accepts"
        )
    }));

    // Warnings count: a distribution that moved a little was compared.
    let has_verdict = |check: &Check| !matches!(check.verdict, Verdict::Inconclusive { .. });
    let is_paired = paired
        .as_ref()
        .is_some_and(|paired| paired.flips.documents > 0);
    let is_compared = is_paired || least_flips.is_some() || checks.iter().any(has_verdict);

    Ok(Answer {
        baseline: baseline.run,
        run: run.name,
        documents: run.documents.rows,
        q_calibrated: run.calibration.is_some(),
        same_documents,
        gates,
        settings,
        max_flips: request.max_flips,
        paired,
        least_flips,
        checks,
        missing,
        sources,
        is_compared,
        allow_empty: request.allow_empty,
        notes,
    })
}

/// The least number of verdicts that flipped on the same documents: a source that keeps n documents
/// more or fewer has at least n flips. `None` if the number of kept documents is not known.
fn least_flips(was: Option<BTreeMap<String, u64>>, run: &Reader) -> Result<Option<u64>> {
    let Some(was) = was else { return Ok(None) };
    let is = run.kept()?;

    // Both sides have the same documents, so no source of the run is missing in `was`.
    Ok(Some(
        was.iter()
            .map(|(source, was)| was.abs_diff(is.get(source).copied().unwrap_or(0)))
            .sum(),
    ))
}

/// The columns that the user named, or the default columns if the user named none.
fn asked(run: &Reader, names: &[String]) -> Result<Vec<Measure>> {
    if names.is_empty() {
        return Ok(run.measures());
    }
    names.iter().map(|name| find_column(run, name)).collect()
}

/// The column called `name`.
///
/// # Errors
/// Exit 2 if no column of numbers has the name, or if the run lacks the table of the column.
fn find_column(run: &Reader, name: &str) -> Result<Measure> {
    let Some(measure) = measure(name) else {
        let message = format!("no column of numbers is called {}", printable(name));
        let hint = "name table.column as `curate schema` lists them, or meta.field for a field of the record";
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    };

    if !run.has_table(measure.table) {
        let message = format!("{}: stage {} has not run", printable(name), measure.table);
        return Err(Failure::new(Exit::Usage, message).into());
    }

    Ok(measure)
}

/// Drops all columns of the baseline but those that the user named. Without names all columns stay.
///
/// # Errors
/// Exit 2 if the baseline lacks a column.
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
