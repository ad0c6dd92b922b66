//! `run.json` and the funnel: where documents, bytes and tokens went, and what the rest is worth.
//!
//! Every sum is taken anew from the committed tables, in integers or in fixed point. Its value
//! therefore depends neither on the layout of shards nor on the order of threads.

mod ledger;
mod print;
mod sample;
mod terms;
pub mod views;
mod warnings;
pub mod worth;

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::array::AsArray;
use curate_schemas::commit::Commit;
use curate_schemas::report::{
    BudgetReport, CalibrationReport, CoverageReport, LossReport, MixtureReport, Report,
    SourceReport, StageReport, StrategyReport, TokenizerReport, VERSION,
};
use curate_schemas::stages::documents::Source;
use curate_schemas::stages::mixtures::{Budget, Mixture};
use curate_schemas::stages::tokens::{TOKENS, TokenScope};
use curate_schemas::{Manifest, stages};
use curate_scorers::loss::LossLaw;
use curate_stages::calibrated::Calibrated;
use curate_stages::mix::{self, Active, Method, Request};
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::terminal;
use curate_store::zip::{Zip, part};
use rayon::prelude::*;

use crate::constants;
use crate::driver::{CoverageRow, counts_by_source, read_coverage, sources_of_shards};
use crate::mixing::{Draws, Pooled, Weighed, method, read_draws, weighed};
use ledger::{Ledger, Sums, entry, read_ledger};
pub use print::{print, print_worth};
use sample::TokenSample;
use terms::term_reports;
use warnings::warn;
use worth::{Worth, calibration_report};

/// The report of a run: built from what is committed, or the `run.json` of a run directory in which
/// another version of a stage wrote.
///
/// # Errors
/// Exit 2 if the run directory is of another version and has no `run.json` that this program reads.
/// If a committed file cannot be read.
pub fn of_run(run: &RunDir) -> Result<Report> {
    let outdated = run.outdated_stages()?;
    let Some(first) = outdated.first() else {
        if run.has_manifest() {
            return build(run, &run.manifest()?);
        }
        // A first run that has not finished keeps no manifest yet. Its commits name the sources.
        let mut manifest = Manifest::default();
        manifest.run.name = run.name()?;
        // With another scope, tokens that are not counted are estimated.
        let tokens = run.commit(TOKENS.name)?;
        let config = tokens
            .as_ref()
            .and_then(|commit| commit.files.first()?.parts.get("config"));
        if let Some(config) = config {
            let config: serde_json::Value = serde_json::from_str(config)?;
            manifest.tokens.scope = serde_json::from_value(config["scope"].clone())?;
        }
        return build(run, &manifest);
    };

    let path = run.report();
    let text = std::fs::read(&path).map_err(|_| first.failure(&run.table(first.stage)))?;
    let report: Report = serde_json::from_slice(&text).map_err(|_| first.failure(&path))?;
    if report.version != VERSION {
        return Err(first.failure(&path).into());
    }
    let place = path.display();
    terminal::say(&format!(
        "curate: the figures are those of {place}: {first}"
    ));
    Ok(report)
}

/// Builds the report from the committed files of a run.
///
/// # Errors
/// If a committed file cannot be read.
pub fn build(run: &RunDir, manifest: &Manifest) -> Result<Report> {
    let mut commits: Vec<Commit> = Vec::new();
    for stage in stages::aligned() {
        commits.extend(run.commit(stage.name)?);
    }
    let has = |stage: &str| commits.iter().any(|commit| commit.stage == stage);
    let names: Vec<&str> = commits.iter().map(|commit| commit.stage.as_str()).collect();
    let documents = commits.first();
    let shards = run.shard_files()?;
    let of_shards = documents.map(sources_of_shards).transpose()?;

    // Under this scope only survivors and the hash sample are counted. The rest is estimated.
    let survivors_only = has("tokens") && manifest.tokens.scope == TokenScope::Survivors;
    let sample = if survivors_only {
        TokenSample::read(&shards)?
    } else {
        TokenSample::default()
    };
    let calibrated = weighed::opened(manifest, None)?;
    let worth = calibrated.as_ref().map(Worth::new);
    let ledger = if has("tokens") {
        let sources = of_shards.unwrap_or_default();
        read_ledger(&shards, &sources, &names, &sample, calibrated.as_ref())?
    } else {
        Ledger::default()
    };

    let pool = has("quality").then(|| ledger.pool.pool(worth.as_ref()));
    let forecast = manifest.budget.as_ref().map(Forecast::new).transpose()?;
    let mut report = Report {
        version: VERSION,
        name: manifest.run.name.clone(),
        curate: env!("CARGO_PKG_VERSION").to_owned(),
        docs_in: documents.map_or(0, |commit| commit.counts.docs.arrived),
        stages: commits
            .iter()
            .map(|commit| stage_report(commit, &ledger, has("tokens"), &sample))
            .collect(),
        sources: Vec::new(),
        tokenizer: has("tokens")
            .then(|| tokenizer(manifest, &commits, &ledger))
            .flatten(),
        calibration: calibrated
            .as_ref()
            .map(|calibrated| calibration_of(manifest, calibrated)),
        pool,
        // Empty until `quality` has run.
        domains: ledger
            .by_domain
            .iter()
            .map(|(name, sums)| (name.clone(), sums.pool(worth.as_ref())))
            .collect(),
        terms: term_reports(&commits, &shards)?,
        mixtures: Vec::new(),
        budget: forecast.as_ref().map(|forecast| {
            forecast.report(
                pool.and_then(|pool| forecast.loss(Amounts::once(pool.tokens as f64, pool.d_eff))),
            )
        }),
        warnings: Vec::new(),
    };

    let repeated = repeated_ids(&shards)?;
    let coverage = read_coverage(run)?;
    let funnels = funnels(&commits, &ledger, has("tokens"))?;
    for source in &sources(manifest, documents) {
        report.sources.push(SourceReport {
            repeated_ids: repeated.get(&source.name).copied().unwrap_or(0),
            coverage: coverage_of(&coverage, &source.name),
            funnel: funnels.get(&source.name).cloned().unwrap_or_default(),
            ..source_report(
                source,
                documents,
                &ledger,
                worth.as_ref(),
                forecast.as_ref(),
            )
        });
    }
    if pool.is_some() && !manifest.mixture.is_empty() {
        report.mixtures = mixture_reports(run, manifest, forecast.as_ref())?;
    }

    // Last, because warnings depend on the figures.
    warn(&mut report, manifest, documents)?;
    Ok(report)
}

/// A calibration as the report of a run tells it.
fn calibration_of(manifest: &Manifest, calibrated: &Calibrated) -> CalibrationReport {
    let text = manifest.quality.calibration_json.as_deref();
    let digest = blake3::hash(text.unwrap_or_default().as_bytes());
    let name = manifest.quality.calibration.as_deref();
    calibration_report(
        name.unwrap_or_default(),
        digest.to_hex().to_string(),
        calibrated,
    )
}

/// The report of one source. Repeated ids are counted elsewhere.
fn source_report(
    source: &Source,
    documents: Option<&Commit>,
    ledger: &Ledger,
    worth: Option<&Worth>,
    forecast: Option<&Forecast>,
) -> SourceReport {
    let counts = documents.and_then(|commit| commit.sources.get(&source.name));
    // A source of which no document is left has a pool of zeros.
    let sums = ledger.by_source.get(&source.name);
    let sums = sums.cloned().unwrap_or_default();
    let has_pool = ledger.has_pool;
    SourceReport {
        name: source.name.clone(),
        license: source.license.clone(),
        docs_in: counts.map_or(0, |counts| counts.docs.arrived),
        quarantined: counts.map_or(0, |counts| counts.docs.quarantined),
        skipped: counts.map_or_else(BTreeMap::new, |counts| counts.docs.skipped.clone()),
        repaired: counts.map_or_else(BTreeMap::new, |counts| counts.repaired.clone()),
        funnel: Vec::new(),
        coverage: BTreeMap::new(),
        repeated_ids: 0,
        pool: has_pool.then(|| sums.pool(worth)),
        next_billion: forecast
            .filter(|_| has_pool)
            .and_then(|forecast| forecast.next_billion(&ledger.pool, &sums, worth)),
    }
}

/// The sources of the manifest. Behind them are those that only the committed documents have: of a
/// run that was stopped before it kept its manifest.
fn sources(manifest: &Manifest, documents: Option<&Commit>) -> Vec<Source> {
    let mut all = manifest.source.clone();
    for name in documents
        .into_iter()
        .flat_map(|commit| commit.sources.keys())
    {
        if all.iter().all(|known| known.name != *name) {
            all.push(Source {
                name: name.clone(),
                ..Source::default()
            });
        }
    }
    all
}

/// What became of each source's documents in each stage, by source. `counted` is true if tokens were
/// counted.
fn funnels(
    commits: &[Commit],
    ledger: &Ledger,
    counted: bool,
) -> Result<BTreeMap<String, Vec<StageReport>>> {
    let mut all: BTreeMap<String, Vec<StageReport>> = BTreeMap::new();
    for (number, commit) in commits.iter().enumerate() {
        for (source, counts) in counts_by_source(&commits[0], commit)? {
            // A source without a document has no shard, so it has no tokens.
            let own = ledger.funnels.get(&source).map(|funnel| &funnel[number]);
            let own = own.cloned().unwrap_or_default();
            let is_exact = counted && own.estimated == 0;

            all.entry(source).or_default().push(StageReport {
                name: commit.stage.clone(),
                docs: counts.docs,
                bytes: counts.bytes,
                tokens: is_exact.then_some(own.tokens),
                tokens_in_half_width: None,
            });
        }
    }
    Ok(all)
}

/// The coverage of a source's fields, by the purpose of the field.
fn coverage_of(rows: &[CoverageRow], source: &str) -> BTreeMap<String, CoverageReport> {
    let own = rows.iter().filter(|row| row.source == source);
    own.map(|row| {
        let report = CoverageReport {
            path: row.path.clone(),
            records: row.covered.records,
            usable: row.covered.usable,
            other_type: row.covered.other_type,
            unparsable: row.covered.unparsable,
        };
        (row.field.clone(), report)
    })
    .collect()
}

/// The reports of all mixtures that have been drawn, in the manifest's order.
fn mixture_reports(
    run: &RunDir,
    manifest: &Manifest,
    forecast: Option<&Forecast>,
) -> Result<Vec<MixtureReport>> {
    // Gathered once for all mixtures. The pool takes 64 bytes of memory for each document.
    let mut weighed = Weighed::gather(run)?;

    let mut reports = Vec::new();
    for mixture in &manifest.mixture {
        if let Some(draws) = read_draws(run, &mixture.name, &weighed.pool)? {
            weighed.weigh(manifest, Some(mixture))?;
            reports.push(mixture_report(
                mixture, manifest, &weighed, &draws, forecast,
            ));
        }
    }
    Ok(reports)
}

/// The report of one stage. `counted` is true if tokens were counted.
fn stage_report(
    commit: &Commit,
    ledger: &Ledger,
    counted: bool,
    sample: &TokenSample,
) -> StageReport {
    let tokens = counted.then(|| {
        ledger
            .tokens
            .get(&commit.stage)
            .cloned()
            .unwrap_or_default()
    });
    let estimated = ledger.estimated.get(&commit.stage).copied().unwrap_or(0);

    StageReport {
        name: commit.stage.clone(),
        docs: commit.counts.docs.clone(),
        bytes: commit.counts.bytes.clone(),
        tokens_in_half_width: (estimated > 0).then(|| sample.half_width(estimated)),
        tokens,
    }
}

/// The tokenizer that counted, and how many bytes its tokens have on average.
fn tokenizer(manifest: &Manifest, commits: &[Commit], ledger: &Ledger) -> Option<TokenizerReport> {
    let commit = commits.iter().find(|commit| commit.stage == "tokens")?;

    // One tokenizer counted all shards, so the key of the first file has its digest.
    let digest = commit
        .files
        .first()
        .and_then(|file| file.parts.get("tokenizer"))
        .cloned()
        .unwrap_or_default();

    Some(TokenizerReport {
        name: manifest.tokens.tokenizer.clone(),
        digest,
        bytes_per_token: ledger.counted_bytes as f64 / ledger.counted_tokens.max(1) as f64,
    })
}

/// Number of records that share their own id with another record of their source, by source. Ids
/// are compared by hashes that are sorted in memory, which takes 16 bytes a record.
fn repeated_ids(shards: &[ShardFiles]) -> Result<BTreeMap<String, u64>> {
    let mut hashes: BTreeMap<String, Vec<u128>> = BTreeMap::new();
    // The order of shards does not matter, because the hashes are sorted.
    for shard in shards.par_iter().map(own_ids).collect::<Result<Vec<_>>>()? {
        for (source, mut own) in shard {
            entry(&mut hashes, &source).append(&mut own);
        }
    }

    Ok(hashes
        .into_iter()
        .map(|(source, hashes)| (source, repeated(hashes)))
        .collect())
}

/// Number of hashes that occur more than once, with all their occurrences.
fn repeated(mut hashes: Vec<u128>) -> u64 {
    hashes.par_sort_unstable();
    hashes
        .chunk_by(|a, b| a == b)
        .filter(|run| run.len() > 1)
        .map(|run| run.len() as u64)
        .sum()
}

/// Hashes of the ids that the records of a shard brought along, by source.
fn own_ids(files: &ShardFiles) -> Result<BTreeMap<String, Vec<u128>>> {
    let mut hashes: BTreeMap<String, Vec<u128>> = BTreeMap::new();

    for batch in Zip::open(&[part(files, "documents", &["source", "source_id"])?])? {
        let batch = batch?;
        let sources = batch.column(0).as_string::<i32>();

        // The field `id` of a record is optional. A record without one repeats nothing.
        for (row, id) in batch.column(1).as_string::<i32>().iter().enumerate() {
            let Some(id) = id else { continue };
            entry(&mut hashes, sources.value(row)).push(xxhash_rust::xxh3::xxh3_128(id.as_bytes()));
        }
    }
    Ok(hashes)
}

/// The report of one mixture, whose documents are drawn from the pool as often as `draws` says.
fn mixture_report(
    mixture: &Mixture,
    manifest: &Manifest,
    weighed: &Weighed,
    draws: &Draws,
    forecast: Option<&Forecast>,
) -> MixtureReport {
    let (pool, buckets) = (&weighed.pool, weighed.buckets.as_slice());
    let drawn = || {
        pool.documents
            .iter()
            .zip(draws)
            .filter(|(_, draws)| **draws > 0)
    };

    // Sums over the documents that were drawn. What a strategy plans is `compared` below.
    let tokens: u64 = drawn()
        .map(|(document, draws)| document.tokens * u64::from(*draws))
        .sum();
    let unique_tokens: u64 = drawn().map(|(document, _)| document.tokens).sum();
    let (d_eff, d_repeat) = mix::effective_tokens(&pool.documents, buckets, draws, &weighed.law());

    let (request, method) = (
        weighed.request(manifest, mixture),
        method(manifest, mixture),
    );
    MixtureReport {
        name: mixture.name.clone(),
        docs: drawn().count() as u64,
        draws: drawn().map(|(_, draws)| u64::from(*draws)).sum(),
        tokens_asked: mixture.tokens,
        tokens,
        unique_tokens,
        // A mixture may be empty.
        epochs: tokens as f64 / unique_tokens.max(1) as f64,
        q: mix::mean_q(drawn().map(|(document, draws)| (document, u64::from(*draws)))),
        d_eff,
        d_eff_interval: worth::interval(weighed.refitted(draws).into_iter()),
        d_repeat,
        q_calibrated: weighed.calibrated.is_some(),
        calibration: weighed
            .calibrated
            .as_ref()
            .map(|calibrated| calibration_of(manifest, calibrated)),
        strategy: method.name(),
        held_by: held_by(&method, &request, buckets, pool),
        compared: mix::compare(buckets, &request, &methods(manifest, mixture))
            .into_iter()
            .map(strategy_report)
            .collect(),
        loss: forecast.and_then(|forecast| {
            forecast.loss(Amounts {
                tokens: tokens as f64,
                unique: unique_tokens as f64,
                d_repeat,
                d_eff,
            })
        }),
    }
}

/// The strategies that are compared. These are all strategies except `fixed`, which needs a share
/// for each source and is compared only if the mixture uses it.
fn methods(manifest: &Manifest, mixture: &Mixture) -> Vec<Method> {
    let own = method(manifest, mixture);
    let others = [
        Method::Solved,
        Method::Natural,
        Method::Unimax,
        Method::Temperature(mixture.temperature),
        Method::QualityCurve {
            discard: mixture.discard,
        },
    ];
    let fixed = matches!(own, Method::Fixed(_)).then_some(own);

    others.into_iter().chain(fixed).collect()
}

/// The report of one strategy that was compared.
fn strategy_report(compared: mix::Compared) -> StrategyReport {
    let (worth, infeasible) = match compared.worth {
        Ok(worth) => (Some(worth), None),
        Err(infeasible) => (None, Some(infeasible.to_string())),
    };

    // In `run.json` the numbers of an infeasible strategy are 0, not null.
    StrategyReport {
        strategy: compared.name,
        unique_tokens: worth.map_or(0.0, |worth| worth.unique),
        d_repeat: worth.map_or(0.0, |worth| worth.d_repeat),
        d_eff: worth.map_or(0.0, |worth| worth.d_eff),
        epochs: worth.map_or(0.0, |worth| worth.epochs),
        infeasible,
    }
}

/// The constraints that bind the best mixture, in words. Empty for every strategy but `effective`.
fn held_by(
    method: &Method,
    request: &Request,
    buckets: &[mix::Bucket],
    pool: &Pooled,
) -> Vec<String> {
    // A committed mix holds draws only, so the problem is solved again.
    let Some(solution) = (*method == Method::Solved)
        .then(|| mix::solve(buckets, request).ok())
        .flatten()
    else {
        return Vec::new();
    };

    let source = |at: usize| {
        request
            .sources
            .get(at)
            .map_or("", |source| source.name.as_str())
    };
    solution
        .active
        .iter()
        .map(|active| match *active {
            Active::MinShare { source: at } => format!("least share of {}", source(at)),
            Active::MaxShare { source: at } => format!("greatest share of {}", source(at)),
            Active::MaxEpochs { bucket } => {
                let (source, domain) = &pool.origins[buckets[bucket].origin as usize];
                format!("epochs of {source}/{domain}, bin {}", buckets[bucket].bin)
            }
        })
        .collect()
}

/// What losses are predicted from: the manifest's budget, and the loss law that it names.
struct Forecast<'m> {
    budget: &'m Budget,
    law: LossLaw,
}

impl Forecast<'_> {
    fn new(budget: &Budget) -> Result<Forecast<'_>> {
        Ok(Forecast {
            budget,
            law: constants::of_budget(budget)?,
        })
    }

    /// The report of the budget. `pool` is the loss of the pool, if it has tokens.
    fn report(&self, pool: Option<LossReport>) -> BudgetReport {
        let Budget {
            params,
            constants,
            constants_json,
            represents,
        } = self.budget.clone();

        // The name of a file does not say what the file held.
        let constants_digest =
            constants_json.map(|json| blake3::hash(json.as_bytes()).to_hex().to_string());
        BudgetReport {
            params,
            constants,
            constants_digest,
            source: self.law.source.to_owned(),
            represents,
            pool,
        }
    }

    /// The loss that a model reaches on these tokens, scaled by `represents`. `None` without
    /// tokens, because the loss would be infinite.
    fn loss(&self, amounts: Amounts) -> Option<LossReport> {
        let Amounts {
            tokens,
            unique,
            d_repeat,
            d_eff,
        } = amounts;
        if tokens <= 0.0 || d_eff <= 0.0 {
            return None;
        }

        // Losses are not linear in tokens, so the amounts are scaled and not the losses.
        let scaled = |tokens: f64| tokens * self.budget.represents;
        let amounts = Amounts {
            tokens: scaled(tokens),
            unique: scaled(unique),
            d_repeat: scaled(d_repeat),
            d_eff: scaled(d_eff),
        };
        Some(loss_under(&self.law, self.budget.params, amounts))
    }

    /// The loss that a billion more tokens of a source's quality, not seen before, would save the
    /// pool, in nats per token. `None` if the pool is worth nothing or the source has no tokens.
    fn next_billion(&self, pool: &Sums, source: &Sums, worth: Option<&Worth>) -> Option<f64> {
        let d_eff = |more| source.d_eff_with(pool, self.budget.represents, more, worth);
        let now = d_eff(0.0);
        (now > 0.0 && source.tokens > 0).then(|| self.law.delta_loss(now, d_eff(1e9)))
    }
}

/// An amount of tokens, counted in four ways.
#[derive(Debug, Clone, Copy)]
pub struct Amounts {
    /// |D|: tokens with their repeats.
    pub tokens: f64,
    /// U: tokens with each document once.
    pub unique: f64,
    /// D′ with q ≡ 1: tokens with their repeats discounted.
    pub d_repeat: f64,
    /// D_eff: tokens with their repeats discounted, weighted by q.
    pub d_eff: f64,
}

impl Amounts {
    /// The amounts of tokens that are all seen once.
    fn once(tokens: f64, d_eff: f64) -> Amounts {
        Amounts {
            tokens,
            unique: tokens,
            d_repeat: tokens,
            d_eff,
        }
    }
}

/// The losses of a model with `params` parameters under a law, one for each way of counting the
/// tokens, in nats per token.
pub fn loss_under(law: &LossLaw, params: f64, amounts: Amounts) -> LossReport {
    let Amounts {
        tokens,
        unique,
        d_repeat,
        d_eff,
    } = amounts;

    LossReport {
        tokens,
        d_eff,
        d_eff_ratio: d_eff / tokens,
        loss: law.loss(params, tokens),
        loss_unique: law.loss(params, unique),
        loss_repeat: law.loss(params, d_repeat),
        loss_d_eff: law.loss(params, d_eff),
        delta_loss: law.delta_loss(d_eff, tokens),
        delta_loss_interval: law
            .delta_loss_interval(d_eff, tokens)
            .map(|interval| (interval.low, interval.high)),
        in_fitted_range: law.in_fitted_range(params, tokens) && law.in_fitted_range(params, d_eff),
    }
}

/// The bytes of `run.json`. A number that is NaN or infinite becomes `null`.
///
/// # Errors
/// If the report cannot be written as JSON.
pub fn to_bytes(report: &Report) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_schemas::config::Kind;
    use curate_scorers::loss::LAWS;

    #[test]
    fn the_manifest_knows_every_published_law() {
        let key = stages::key("budget.constants").expect("a key");
        let names: Vec<&str> = LAWS.iter().map(|law| law.name).collect();
        assert_eq!(key.kind, Kind::WordOrJson(&names.leak()[..]));
    }

    #[test]
    fn a_sample_is_scaled_before_its_loss() {
        let constants = "besiroglu2024".to_owned();
        let budget = Budget {
            params: 7e9,
            constants,
            constants_json: None,
            represents: 1e6,
        };
        let forecast = Forecast::new(&budget).expect("a law");

        let scaled = forecast.loss(Amounts::once(18e6, 18e6)).expect("tokens");
        assert!((scaled.loss - 2.028263).abs() < 1e-6, "{}", scaled.loss);
        assert!(!scaled.in_fitted_range);
        assert_eq!(scaled.delta_loss, 0.0);
        assert!(forecast.loss(Amounts::once(0.0, 0.0)).is_none());
    }
}
