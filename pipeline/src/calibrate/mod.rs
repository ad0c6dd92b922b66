//! `curate calibrate`: what a token of each bucket of a run is worth to a target.
//!
//! Many small models of mixtures of the buckets are trained and measured on the target's texts. A
//! law that ties tokens to loss is fitted to some of them and judged on others. The result,
//! `calibration.json`, gives each bucket its q.
//!
//! | file | what |
//! |---|---|
//! | `cells` | cuts the pool into buckets |
//! | `texts` | the pool's texts, as pieces of tokens |
//! | `arms` | damaged text, for the controls |
//! | `target` | the targets' texts |
//! | `losses` | the plan and its losses as JSON lines |
//! | `proxy` | the small models that measure mixtures |
//! | `sample` | the pieces of each bucket that runs draw from |
//! | `result` | `calibration.json`, and what is printed |

mod arms;
mod cells;
mod losses;
mod proxy;
mod result;
mod sample;
mod target;
mod texts;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use clap::Args;
use curate_schemas::calibration::Proxy;
use curate_scorers::calibrate::plan::{PlanConfig, Supply, plan};
use curate_scorers::calibrate::verdict::{Bucket, JudgeConfig, Measured, judge, runs_needed};
use curate_scorers::loss::unique_equivalent;
use curate_scorers::tokenizer::Tokenizer;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::{interrupt, key};
use rayon::prelude::*;

use self::cells::{Cell, CutConfig, cut};
use self::losses::{Header, LossFile, RunLine, header};
pub use self::proxy::ProxyKind;
use self::sample::Sample;
use self::target::{Target, TargetPath, target_path};
use crate::commands::tokenizer;
use crate::mixing::{Pooled, gather_pool};
use crate::progress;

/// The arguments of `curate calibrate`.
#[derive(Debug, Args)]
pub struct Request {
    /// Run directory whose kept documents are calibrated
    pub run: PathBuf,
    /// Text that the data should help to predict, read as a source is; may be repeated
    #[arg(long, value_name = "NAME=PATH,…", value_parser = target_path)]
    pub target: Vec<TargetPath>,
    /// File to write the calibration to; measured losses are kept beside it, in FILE.losses.jsonl
    #[arg(
        short,
        long,
        value_name = "FILE",
        required_unless_present = "plan_only"
    )]
    pub output: Option<PathBuf>,
    /// Model of a mixture
    #[arg(long, value_enum, default_value_t = ProxyKind::Ngram)]
    pub proxy: ProxyKind,
    /// Device of a transformer: auto, cpu, cuda:0 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// Mixtures that laws are fitted to: four for each bucket, and at least 48
    #[arg(long, value_name = "N", default_value_t = 96)]
    pub runs: usize,
    /// Mixtures that laws are judged by
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(12..))]
    pub held_out: u16,
    /// Least and greatest number of tokens of a fitted mixture, at least 16 times apart
    #[arg(long, value_name = "LOW..HIGH", default_value = "250k..4M", value_parser = token_range)]
    pub tokens: (f64, f64),
    /// Bins of the uncalibrated q in each source and domain
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub bins: u16,
    /// Most buckets; small sources and domains are joined
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(2..=200))]
    pub max_buckets: u16,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// A tokenizer.json instead of the tokenizer that is compiled in; the models of a large
    /// vocabulary take twice the memory
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Tokens that must be left of each target once text of the pool is dropped
    #[arg(long, value_name = "N", default_value = "200k", value_parser = tokens)]
    pub least_target: f64,
    /// Train no damaged text; the verdict then has no criterion `controls`
    #[arg(long)]
    pub no_controls: bool,
    /// Write the mixtures to train on models of your own to this file, and stop
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "losses"])]
    pub plan_only: Option<PathBuf>,
    /// Fit losses that somebody else measured: the file of --plan-only with a `loss` in each line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "tokenizer"])]
    pub losses: Option<PathBuf>,
    /// Number of threads; default: the machine's cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Memory for the sampled text; each thread's model takes up to 90 bytes a token on top
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = crate::manifest::size)]
    pub memory: u64,
}

/// Reads a number of tokens such as `250k`, `4M` or `1e6`.
fn tokens(text: &str) -> Result<f64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        Some(b'B' | b'G') => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    let number = digits.parse::<f64>().ok().filter(|number| *number >= 1.0);
    number
        .map(|number| number * unit)
        .filter(|tokens| tokens.is_finite())
        .ok_or_else(|| "expected a number of tokens such as 250k or 4M".to_owned())
}

/// Reads a range of tokens such as `250k..4M`.
fn token_range(text: &str) -> Result<(f64, f64), String> {
    let (low, high) = text
        .split_once("..")
        .ok_or("expected LOW..HIGH, such as 250k..4M")?;
    let (low, high) = (tokens(low)?, tokens(high)?);
    if high < 16.0 * low {
        return Err("the end must be at least 16 times the start, or β cannot be told".to_owned());
    }
    Ok((low, high))
}

/// An error of usage with a hint.
fn usage(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Failure::new(Exit::Usage, message).hint(hint).into()
}

/// Calibrates, and prints the verdict. Exit 1 if a target's verdict is not passed.
///
/// # Errors
/// Exit 2 if a setting, a target or a file of losses cannot be used. Exit 74 if reading or writing
/// fails.
pub fn calibrate(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    if let Some(threads) = request.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
            .context("cannot start threads")?;
    }
    interrupt::install()?;

    let run = RunDir::open(&request.run)?;
    let pool = gather_pool(&run.shard_files()?)?;
    let name = run.name()?;
    let config = CutConfig {
        bins: request.bins.into(),
        most: request.max_buckets.into(),
        least_tokens: ((request.tokens.1 / 8.0) as u64).max(20_000),
    };

    if request.plan_only.is_some() || request.losses.is_some() {
        let cells = cut(&pool.documents, &pool.origins, &config)?;
        let header = header(&name, &cells, &pool.origins, &[]);
        if let Some(path) = &request.plan_only {
            return plan_for_others(request, &cells, &header, path, out);
        }
        return fit_others(request, &run, &pool, &cells, &header, out);
    }

    measure_and_fit(request, &run, &pool, &config, out)
}

/// Writes the plan for models of somebody else.
fn plan_for_others(
    request: &Request,
    cells: &[Cell],
    header: &Header,
    path: &Path,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let supplies: Vec<Supply> = cells
        .iter()
        .map(|cell| Supply {
            tokens: cell.tokens,
            in_pool: cell.tokens,
            natural: true,
        })
        .collect();
    check_runs(request, supplies.len())?;

    let lines: Vec<RunLine> = plan(&supplies, &plan_config(request))
        .iter()
        .map(|run| RunLine {
            key: String::new(),
            ..RunLine::new(run, "")
        })
        .collect();
    losses::write(path, header, &lines)?;
    writeln!(
        out,
        "{} mixtures of {} buckets in {}; add \"loss\": {{\"TARGET\": bits per byte}} to each \
         line, then `curate calibrate --losses`",
        lines.len(),
        cells.len(),
        path.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Fits losses that somebody else measured.
fn fit_others(
    request: &Request,
    run: &RunDir,
    pool: &Pooled,
    cells: &[Cell],
    header: &Header,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let path = request.losses.as_deref().unwrap_or(Path::new(""));
    let (found, lines) = losses::read(path)?;
    if found.buckets_digest != header.buckets_digest {
        return Err(usage(
            format!("{} is of other buckets than this run's", path.display()),
            "the run, --bins, --max-buckets and --tokens must be those of --plan-only",
        ));
    }

    let lines: Vec<RunLine> = lines
        .into_iter()
        .filter(|line| !line.loss.is_empty())
        .collect();
    let mut names: Vec<&String> = lines.iter().flat_map(|line| line.loss.keys()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Err(usage(
            format!("no line of {} has a loss", path.display()),
            "a line ends in \"loss\": {\"TARGET\": bits per byte}",
        ));
    }

    let buckets: Vec<Bucket> = cells.iter().map(natural_bucket).collect();
    let config = JudgeConfig {
        seed: request.seed,
        repeats_must_not_help: false,
    };
    let mut judged = Vec::new();
    for name in names {
        let runs = measured(&lines, name, buckets.len(), true);
        judged.push((
            name.clone(),
            None,
            judge_target(name, &buckets, &runs, &config)?,
        ));
    }

    let proxy = Proxy {
        kind: "external".to_owned(),
        order: None,
        tokenizer: None,
    };
    let digest = curate_store::zip::file_digest(path)?;
    result::finish(request, run, pool, cells, &[], proxy, digest, judged, out)
}

/// Trains the mixtures on n-gram models, measures them on the targets and fits the losses.
fn measure_and_fit(
    request: &Request,
    run: &RunDir,
    pool: &Pooled,
    config: &CutConfig,
    out: &mut impl Write,
) -> Result<ExitCode> {
    if request.target.is_empty() {
        return Err(usage(
            "a calibration needs a --target",
            "for example --target docs=held-out/*.jsonl.zst",
        ));
    }
    let tokenizer = tokenizer(request.tokenizer.as_deref())?;
    let output = request.output.as_deref().unwrap_or(Path::new(""));

    // The folder is named after this process, so no folder of somebody else is deleted afterwards.
    let scratch = beside(output, &format!(".targets-{}", std::process::id()));
    let targets = target::read(
        &request.target,
        run,
        &pool.documents,
        &tokenizer,
        request.least_target as u64,
        &scratch,
    );
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot delete {}", scratch.display()))?;
    }
    let targets = targets?;

    let sample = Sample::take(request, run, pool, config, &tokenizer)?;
    check_runs(request, sample.supplies().len())?;
    let (lines, digest) = train(request, run, pool, &sample, &targets, &tokenizer, output)?;

    let config = JudgeConfig {
        seed: request.seed,
        repeats_must_not_help: request.proxy.counts_once(),
    };
    let buckets = sample.buckets();
    let mut judged = Vec::new();
    for target in targets {
        let discounted = !request.proxy.counts_once();
        let runs = measured(&lines, &target.name, buckets.len(), discounted);
        let found = judge_target(&target.name, &buckets, &runs, &config)?;
        judged.push((target.name, Some(target.text), found));
    }

    let proxy = Proxy {
        kind: request.proxy.name().to_owned(),
        order: request.proxy.order(),
        tokenizer: Some(tokenizer.digest().to_owned()),
    };
    let arms = sample.arms();
    result::finish(
        request,
        run,
        pool,
        &sample.cells,
        &arms,
        proxy,
        digest,
        judged,
        out,
    )
}

/// Trains every mixture of the plan that has no loss yet. Returns the lines in the order of the
/// plan, and the digest of their file.
fn train(
    request: &Request,
    run: &RunDir,
    pool: &Pooled,
    sample: &Sample,
    targets: &[Target],
    tokenizer: &Tokenizer,
    output: &Path,
) -> Result<(Vec<RunLine>, String)> {
    let proxy = proxy::Proxy::open(request.proxy, &request.device, targets, tokenizer.ids())?;

    // All that a loss depends on beside the draws.
    let texts: Vec<_> = targets
        .iter()
        .map(|target| (&target.name, &target.text))
        .collect();
    let texts = serde_json::to_string(&texts)?;
    let of = key::digest(&[&sample.digest(), tokenizer.digest(), &texts, &proxy.words()]);
    let planned = plan(&sample.supplies(), &plan_config(request));
    let mut lines: Vec<RunLine> = planned.iter().map(|run| RunLine::new(run, &of)).collect();

    let arms: Vec<(&str, u64)> = sample.arms().iter().map(|arm| (arm.name(), 0)).collect();
    let header = header(&run.name()?, &sample.cells, &pool.origins, &arms);
    let file = LossFile::open(&beside(output, ".losses.jsonl"), header);
    for line in &mut lines {
        if let Some(loss) = file.finished(&line.key) {
            line.loss.clone_from(loss);
        }
    }

    let missing: Vec<usize> = (0..lines.len())
        .filter(|&at| lines[at].loss.is_empty())
        .collect();
    let progress = progress::Count::start("mixtures", lines.len(), lines.len() - missing.len());
    let file = Mutex::new(file);
    let measure = |at: usize| {
        interrupt::check()?;
        let losses = proxy.losses(sample.pieces(&planned[at]), &planned[at])?;
        // So few digits are the same number again when the file of losses is read.
        let losses = losses.into_iter().map(|loss| (loss * 1e9).round() / 1e9);
        let names = targets.iter().map(|target| target.name.clone());
        let loss: BTreeMap<String, f64> = names.zip(losses).collect();

        let finished = RunLine {
            loss: loss.clone(),
            ..lines[at].clone()
        };
        file.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(finished)?;
        progress.one();
        Ok((at, loss))
    };
    let trained: Vec<(usize, BTreeMap<String, f64>)> = match proxy.is_parallel() {
        true => missing
            .into_par_iter()
            .map(measure)
            .collect::<Result<_>>()?,
        false => missing.into_iter().map(measure).collect::<Result<_>>()?,
    };

    for (at, loss) in trained {
        lines[at].loss = loss;
    }
    let mut file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
    let digest = file.finish(lines.clone())?;
    Ok((lines, digest))
}

/// The finished runs of one target. With `discounted`, repeated tokens count as Muennighoff et al.
/// 2023 discount them; the n-gram proxy is fitted to unique tokens only.
fn measured(lines: &[RunLine], target: &str, buckets: usize, discounted: bool) -> Vec<Measured> {
    let run = |line: &RunLine| {
        let loss = *line.loss.get(target)?;
        let mut tokens = vec![0.0; buckets];
        for (&bucket, &unique) in &line.unique {
            let epochs = if discounted {
                f64::from(line.epochs)
            } else {
                1.0
            };
            tokens[bucket] = unique_equivalent(unique as f64, epochs);
        }
        Some(Measured {
            set: line.set()?,
            number: line.number(),
            tokens,
            epochs: line.epochs,
            loss,
        })
    };
    lines.iter().filter_map(run).collect()
}

/// A bucket of natural text, for the verdict.
fn natural_bucket(cell: &Cell) -> Bucket {
    Bucket {
        source: cell.source,
        group: cell.group,
        score: cell.score.max(1e-6),
        arm: None,
    }
}

/// The judgement of one target.
fn judge_target(
    name: &str,
    buckets: &[Bucket],
    runs: &[Measured],
    config: &JudgeConfig,
) -> Result<curate_scorers::calibrate::verdict::Judged> {
    interrupt::check()?;
    judge(buckets, runs, config).map_err(|error| {
        usage(
            format!("target {name}: {error}"),
            "train more mixtures: --runs and --held-out",
        )
    })
}

/// Refuses a number of runs that cannot tell the buckets apart.
fn check_runs(request: &Request, buckets: usize) -> Result<()> {
    let needed = runs_needed(buckets);
    if request.runs >= needed {
        return Ok(());
    }
    Err(usage(
        format!(
            "{} runs are too few for {buckets} buckets, expected at least {needed}",
            request.runs
        ),
        format!("--runs {needed}, or fewer --bins or --max-buckets"),
    ))
}

/// The settings of the plan.
fn plan_config(request: &Request) -> PlanConfig {
    PlanConfig {
        fit: request.runs,
        held_out: request.held_out.into(),
        tokens: request.tokens,
        seed: request.seed,
    }
}

/// A path beside the output: its name with `end` appended.
fn beside(output: &Path, end: &str) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
