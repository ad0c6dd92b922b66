//! `run.json` and the funnel: where documents, bytes and tokens went, and what is left is worth. Everything is summed anew
//! from the committed tables, in integers or fixed point, so that shard layout and threads have no say.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, UInt64Type};
use curate_schemas::commit::{Commit, Tally};
use curate_schemas::manifest::{Budget, EMBEDDED_TOKENIZER, Manifest, Mixture, TokenScope};
use curate_schemas::report::{
    BudgetReport, LossReport, MixtureReport, Pool, Report, SourceReport, StageReport, TokenizerReport, VERSION,
};
use curate_schemas::tables;
use curate_scorers::loss::{LossLaw, law};
use curate_stages::{STAGES, mix, tokens::SAMPLE_BELOW};

use crate::driver::{Draws, Pooled, count, gather_pool, read_draws, shard_files};
use crate::engine::ShardFiles;
use crate::run_dir::RunDir;
use crate::zip::{Part, Zip};

/// Documents outside the hash sample that are not counted stand for so many.
const SAMPLE_WEIGHT: u64 = 16;

/// Sums over a set of documents, exact.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    docs: u64,
    bytes: u64,
    tokens: u64,
    weighted: u128,
}

impl Sums {
    fn pool(self) -> Pool {
        let q = mix::ratio(self.weighted, u128::from(self.tokens));
        let Sums { docs, bytes, tokens, .. } = self;
        Pool { docs, bytes, tokens, q, d_eff: q * tokens as f64, q_calibrated: false }
    }
}

/// What one pass over the narrow columns of all shards finds.
#[derive(Default)]
struct Ledger {
    tokens: BTreeMap<String, Tally>,
    /// Σ tokens² of sampled documents, by stage: the variance of what is estimated.
    squares: BTreeMap<String, f64>,
    counted_bytes: u64,
    counted_tokens: u64,
    pool: Sums,
    by_source: BTreeMap<String, Sums>,
    by_domain: BTreeMap<String, Sums>,
}

/// Builds the report from what is committed.
///
/// # Errors
/// If a committed file cannot be read.
pub fn build(run: &RunDir, manifest: &Manifest) -> Result<Report> {
    let mut commits: Vec<Commit> = Vec::new();
    for stage in STAGES {
        commits.extend(run.commit(stage)?);
    }
    let has = |stage: &str| commits.iter().any(|commit| commit.stage == stage);
    let names: Vec<&str> = commits.iter().map(|commit| commit.stage.as_str()).collect();
    let shards = shard_files(run)?;
    let ledger = if has("tokens") { read_ledger(&shards, &names, manifest)? } else { Ledger::default() };
    let documents = commits.first();
    let estimated = manifest.tokens.scope == TokenScope::Survivors;
    let pool = has("quality").then(|| ledger.pool.pool());
    let mut report = Report {
        version: VERSION,
        name: manifest.run.name.clone(),
        curate: env!("CARGO_PKG_VERSION").to_owned(),
        docs_in: documents.map_or(0, |commit| commit.counts.docs.arrived),
        stages: commits.iter().map(|commit| stage_report(commit, &ledger, has("tokens"), estimated)).collect(),
        sources: Vec::new(),
        tokenizer: has("tokens").then(|| tokenizer(manifest, &commits, &ledger)).flatten(),
        pool,
        domains: ledger.by_domain.iter().map(|(name, sums)| (name.clone(), sums.pool())).collect(),
        mixtures: Vec::new(),
        budget: manifest.budget.as_ref().map(|budget| budget_report(budget, pool)),
        warnings: Vec::new(),
    };
    if !has("quality") {
        report.domains.clear();
    }
    let repeated = repeated_ids(&shards)?;
    for source in &manifest.source {
        let counts = documents.and_then(|commit| commit.sources.get(&source.name));
        let repeated_ids = repeated.get(&source.name).copied().unwrap_or(0);
        if repeated_ids > 0 {
            report
                .warnings
                .push(format!("source \"{}\": {repeated_ids} records have an id that another has", source.name));
        }
        report.sources.push(SourceReport {
            name: source.name.clone(),
            docs_in: counts.map_or(0, |counts| counts.docs.arrived),
            quarantined: counts.map_or(0, |counts| counts.docs.quarantined),
            repeated_ids,
            pool: has("quality").then(|| ledger.by_source.get(&source.name).copied().unwrap_or_default().pool()),
        });
    }
    if has("quality") && !manifest.mixture.is_empty() {
        let pool = gather_pool(&shards)?;
        for mixture in &manifest.mixture {
            if let Some(draws) = read_draws(run, &mixture.name, &pool)? {
                report.mixtures.push(mixture_report(mixture, manifest.budget.as_ref(), &pool, &draws));
            }
        }
    }
    warn(&mut report, documents);
    Ok(report)
}

fn warn(report: &mut Report, documents: Option<&Commit>) {
    let quarantined = documents.map_or(0, |commit| commit.counts.docs.quarantined);
    if quarantined > 0 {
        report.warnings.push(format!("{quarantined} records could not be read; see the table quarantine"));
    }
    if report.pool.is_some() {
        report.warnings.push("q is uncalibrated: D_eff and its loss are relative figures".to_owned());
    }
    let out_of_range = |loss: &LossReport| !loss.in_fitted_range;
    let losses = report.mixtures.iter().filter_map(|mixture| mixture.loss.as_ref());
    let pool = report.budget.as_ref().and_then(|budget| budget.pool.as_ref());
    if losses.chain(pool).any(out_of_range) {
        report.warnings.push("a loss is outside the fitted range of its constants".to_owned());
    }
}

fn stage_report(commit: &Commit, ledger: &Ledger, counted: bool, estimated: bool) -> StageReport {
    let tokens = counted.then(|| ledger.tokens.get(&commit.stage).cloned().unwrap_or_default());
    let squares = ledger.squares.get(&commit.stage).copied().unwrap_or(0.0);
    // A sampled document stands for itself and 15 others: the variance of the total is (1 − π)/π² Σ t² with π = 1/16.
    let weight = SAMPLE_WEIGHT as f64;
    let half_width = 1.96 * ((weight * weight - weight) * squares).sqrt();
    StageReport {
        name: commit.stage.clone(),
        docs: commit.counts.docs.clone(),
        bytes: commit.counts.bytes.clone(),
        tokens,
        tokens_in_half_width: (estimated && counted).then_some(half_width.round() as u64),
    }
}

fn tokenizer(manifest: &Manifest, commits: &[Commit], ledger: &Ledger) -> Option<TokenizerReport> {
    let commit = commits.iter().find(|commit| commit.stage == "tokens")?;
    let digest = commit.files.first().and_then(|file| file.parts.get("tokenizer")).cloned().unwrap_or_default();
    let name = manifest.tokens.tokenizer.clone();
    debug_assert!(!name.is_empty(), "the default is {EMBEDDED_TOKENIZER}");
    let bytes_per_token = ledger.counted_bytes as f64 / (ledger.counted_tokens.max(1)) as f64;
    Some(TokenizerReport { name, digest, bytes_per_token })
}

/// One pass over the columns that say where documents went.
fn read_ledger(shards: &[ShardFiles], stages: &[&str], manifest: &Manifest) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for files in shards {
        let mut parts = vec![part(files, "documents", &["doc_id", "source", "domain", "bytes"])?];
        for stage in stages.iter().skip(1) {
            let mut columns = vec!["reached"];
            columns.extend(tables::schema(stage).index_of("removed_by").ok().map(|_| "removed_by"));
            columns.extend((*stage == "tokens").then_some("tokens"));
            columns.extend((*stage == "quality").then_some("q"));
            parts.push(part(files, stage, &columns)?);
        }
        for batch in Zip::open(&parts)? {
            add_batch(&mut ledger, &batch?, stages, manifest.tokens.scope)?;
        }
    }
    Ok(ledger)
}

fn part(files: &ShardFiles, table: &str, columns: &[&str]) -> Result<Part> {
    let path = files.get(table).with_context(|| format!("stage {table} has not run"))?.clone();
    let columns = columns.iter().map(|column| ((*column).to_owned(), format!("{table}.{column}"))).collect();
    Ok(Part { path, columns })
}

fn add_batch(ledger: &mut Ledger, batch: &RecordBatch, stages: &[&str], scope: TokenScope) -> Result<()> {
    let column = |name: &str| batch.column_by_name(name).with_context(|| format!("{name} was not read"));
    let ids = column("documents.doc_id")?.as_string::<i32>();
    let (sources, domains) =
        (column("documents.source")?.as_string::<i32>(), column("documents.domain")?.as_string::<i32>());
    let bytes = column("documents.bytes")?.as_primitive::<UInt64Type>();
    let tokens = column("tokens.tokens")?.as_primitive::<UInt64Type>();
    let at_tokens = column("tokens.reached")?.as_boolean();
    let quality = match column("quality.q") {
        Ok(q) => Some((
            q.as_primitive::<Float64Type>(),
            column("quality.removed_by")?,
            column("quality.reached")?.as_boolean(),
        )),
        Err(_) => None,
    };
    let mut outcomes: Vec<(&str, &BooleanArray, Option<&StringArray>)> = Vec::new();
    for stage in stages.iter().skip(1) {
        let reached = column(&format!("{stage}.reached"))?.as_boolean();
        let removed = batch.column_by_name(&format!("{stage}.removed_by")).map(|column| column.as_string::<i32>());
        outcomes.push((stage, reached, removed));
    }
    for row in 0..batch.num_rows() {
        let known = if tokens.is_valid(row) { tokens.value(row) } else { 0 };
        let sampled = scope == TokenScope::Survivors && !at_tokens.value(row);
        let weight = match (sampled, ids.value(row) < SAMPLE_BELOW) {
            (false, _) => 1,
            (true, true) => SAMPLE_WEIGHT,
            (true, false) => 0,
        };
        if tokens.is_valid(row) {
            ledger.counted_bytes += bytes.value(row);
            ledger.counted_tokens += known;
        }
        let n = known * weight;
        let mut tally = |stage: &str, removed_by: Option<&str>| {
            if !ledger.tokens.contains_key(stage) {
                ledger.tokens.insert(stage.to_owned(), Tally::default());
            }
            if let Some(tally) = ledger.tokens.get_mut(stage) {
                count(tally, removed_by, n);
            }
            if weight > 1 {
                *ledger.squares.entry(stage.to_owned()).or_default() += (known as f64).powi(2);
            }
        };
        tally("documents", None);
        for (stage, reached, removed) in &outcomes {
            if reached.value(row) {
                tally(stage, removed.filter(|removed| removed.is_valid(row)).map(|removed| removed.value(row)));
            }
        }
        if let Some((q, removed, reached)) = &quality
            && reached.value(row)
            && removed.is_null(row)
        {
            let weighted = u128::from(mix::fixed_point(q.value(row))) * u128::from(known);
            let own = Sums { docs: 1, bytes: bytes.value(row), tokens: known, weighted };
            add(&mut ledger.pool, own);
            add(entry(&mut ledger.by_source, sources.value(row)), own);
            add(entry(&mut ledger.by_domain, domains.value(row)), own);
        }
    }
    Ok(())
}

fn entry<'a>(sums: &'a mut BTreeMap<String, Sums>, name: &str) -> &'a mut Sums {
    if !sums.contains_key(name) {
        sums.insert(name.to_owned(), Sums::default());
    }
    sums.get_mut(name).expect("it was inserted where it was missing")
}

fn add(sums: &mut Sums, own: Sums) {
    sums.docs += own.docs;
    sums.bytes += own.bytes;
    sums.tokens += own.tokens;
    sums.weighted += own.weighted;
}

/// Records whose own id another record of their source has, by source: sorts 16-byte hashes, so 16 bytes a record.
fn repeated_ids(shards: &[ShardFiles]) -> Result<BTreeMap<String, u64>> {
    let mut hashes: BTreeMap<String, Vec<u128>> = BTreeMap::new();
    for files in shards {
        for batch in Zip::open(&[part(files, "documents", &["source", "source_id"])?])? {
            let batch = batch?;
            let sources = batch.column(0).as_string::<i32>();
            for (row, id) in batch.column(1).as_string::<i32>().iter().enumerate() {
                let Some(id) = id else { continue };
                let source = sources.value(row);
                let hash = xxhash_rust::xxh3::xxh3_128(id.as_bytes());
                match hashes.get_mut(source) {
                    Some(hashes) => hashes.push(hash),
                    None => drop(hashes.insert(source.to_owned(), vec![hash])),
                }
            }
        }
    }
    let repeated = |mut hashes: Vec<u128>| {
        hashes.sort_unstable();
        hashes.chunk_by(|a, b| a == b).filter(|run| run.len() > 1).map(|run| run.len() as u64).sum()
    };
    Ok(hashes.into_iter().map(|(source, hashes)| (source, repeated(hashes))).collect())
}

fn mixture_report(mixture: &Mixture, budget: Option<&Budget>, pool: &Pooled, draws: &Draws) -> MixtureReport {
    let drawn = || pool.documents.iter().zip(draws).filter(|(_, draws)| **draws > 0);
    let tokens: u64 = drawn().map(|(document, draws)| document.tokens * u64::from(*draws)).sum();
    let unique_tokens: u64 = drawn().map(|(document, _)| document.tokens).sum();
    let (d_eff, d_repeat) = mix::effective_tokens(&pool.documents, &mix::buckets(&pool.documents), draws);
    MixtureReport {
        name: mixture.name.clone(),
        docs: drawn().count() as u64,
        draws: drawn().map(|(_, draws)| u64::from(*draws)).sum(),
        tokens_asked: mixture.tokens,
        tokens,
        unique_tokens,
        epochs: tokens as f64 / unique_tokens.max(1) as f64,
        q: mix::mean_q(drawn().map(|(document, draws)| (document, u64::from(*draws)))),
        d_eff,
        d_repeat,
        q_calibrated: false,
        loss: budget.and_then(|budget| loss(budget, tokens as f64, d_eff)),
    }
}

fn budget_report(budget: &Budget, pool: Option<Pool>) -> BudgetReport {
    BudgetReport {
        params: budget.params,
        constants: law_of(budget).name.to_owned(),
        source: law_of(budget).source.to_owned(),
        represents: budget.represents,
        pool: pool.and_then(|pool| loss(budget, pool.tokens as f64, pool.d_eff)),
    }
}

fn law_of(budget: &Budget) -> &'static LossLaw {
    let name = serde_json::to_value(budget.constants).expect("a name is JSON");
    law(name.as_str().unwrap_or_default()).expect("the manifest's names are those of the laws: a test walks them")
}

/// The loss of a token count and of its effective tokens; nothing without tokens, where it would be infinite.
pub fn loss(budget: &Budget, tokens: f64, d_eff: f64) -> Option<LossReport> {
    if tokens <= 0.0 || d_eff <= 0.0 {
        return None;
    }
    let law = law_of(budget);
    let (tokens, d_eff) = (tokens * budget.represents, d_eff * budget.represents);
    let (plain, effective) = (law.loss(budget.params, tokens), law.loss(budget.params, d_eff));
    let in_range = law.in_fitted_range(budget.params, tokens) && law.in_fitted_range(budget.params, d_eff);
    Some(LossReport {
        tokens,
        d_eff,
        d_eff_ratio: d_eff / tokens,
        loss: plain,
        loss_d_eff: effective,
        delta_loss: effective - plain,
        in_fitted_range: in_range,
    })
}

/// `run.json` as bytes.
///
/// # Errors
/// If a number is no number.
pub fn to_bytes(report: &Report) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    Ok(text)
}

/// Prints the funnel and what the result is worth.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<13}{:>12}{:>12}{:>12}{:>12}{:>14}{:>14}",
        "stage", "docs in", "kept", "removed", "duplicates", "bytes kept", "tokens kept"
    )?;
    for stage in &report.stages {
        let removed: u64 = stage.docs.removed.values().sum::<u64>() + stage.docs.quarantined;
        let tokens = match (&stage.tokens, stage.tokens_in_half_width) {
            (Some(tokens), Some(half_width)) if half_width > 0 => format!("~{}", grouped(tokens.kept)),
            (Some(tokens), _) => grouped(tokens.kept),
            (None, _) => "-".to_owned(),
        };
        let docs = &stage.docs;
        let numbers = [docs.arrived, docs.kept, removed, docs.duplicates].map(grouped);
        let [arrived, kept, removed, duplicates] = numbers;
        let bytes = grouped(stage.bytes.kept);
        writeln!(out, "{:<13}{arrived:>12}{kept:>12}{removed:>12}{duplicates:>12}{bytes:>14}{tokens:>14}", stage.name)?;
        let quarantined = (docs.quarantined > 0).then_some(("quarantined", docs.quarantined));
        for (rule, n) in docs.removed.iter().map(|(rule, n)| (rule.as_str(), *n)).chain(quarantined) {
            writeln!(out, "  {rule:<35}{:>14}", grouped(n))?;
        }
    }
    if let Some(pool) = &report.pool {
        writeln!(out, "\npool: {}", worth(pool.tokens as f64, pool.q, pool.d_eff))?;
        for source in &report.sources {
            if let Some(pool) = &source.pool {
                writeln!(out, "  {:<24}{}", source.name, worth(pool.tokens as f64, pool.q, pool.d_eff))?;
            }
        }
    }
    if let Some(budget) = &report.budget {
        if let Some(loss) = &budget.pool {
            write!(out, "  ")?;
            print_loss(loss, budget, out)?;
        }
        for mixture in &report.mixtures {
            print_mixture(mixture, out)?;
            if let Some(loss) = &mixture.loss {
                write!(out, "  ")?;
                print_loss(loss, budget, out)?;
            }
        }
    } else {
        for mixture in &report.mixtures {
            print_mixture(mixture, out)?;
        }
    }
    for warning in &report.warnings {
        writeln!(out, "note: {warning}")?;
    }
    Ok(())
}

fn worth(tokens: f64, q: f64, d_eff: f64) -> String {
    format!("{} tokens, q = {q:.4}, D_eff = {} (uncalibrated)", grouped(tokens as u64), grouped(d_eff.round() as u64))
}

fn print_mixture(mixture: &MixtureReport, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "\nmixture {}: {} documents, {} draws, {:.2} epochs\n  {}, {} were asked for",
        mixture.name,
        grouped(mixture.docs),
        grouped(mixture.draws),
        mixture.epochs,
        worth(mixture.tokens as f64, mixture.q, mixture.d_eff),
        grouped(mixture.tokens_asked)
    )
}

fn print_loss(loss: &LossReport, budget: &BudgetReport, out: &mut impl Write) -> std::io::Result<()> {
    let range = if loss.in_fitted_range { "" } else { ", outside the fitted range" };
    writeln!(
        out,
        "D_eff/D = {:.4}, ΔL = {:+.4} nats per token at N = {:.3e}, D = {:.3e} ({}, L = {:.4} to {:.4}{range})",
        loss.d_eff_ratio, loss.delta_loss, budget.params, loss.tokens, budget.constants, loss.loss, loss.loss_d_eff
    )
}

/// 1234567 as 1,234,567.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_schemas::manifest::LossConstants;

    #[test]
    fn every_named_constant_set_has_a_law() {
        use LossConstants::{Besiroglu2024, Besiroglu2024Full, Hoffmann2022, Hoffmann2022Rounded, Muennighoff2023};
        for constants in [Besiroglu2024, Besiroglu2024Full, Hoffmann2022, Hoffmann2022Rounded, Muennighoff2023] {
            assert!(law_of(&Budget { params: 7e9, constants, represents: 1.0 }).e > 1.0);
        }
    }

    #[test]
    fn a_sample_is_scaled_before_its_loss() {
        let budget = Budget { params: 7e9, constants: LossConstants::Besiroglu2024, represents: 1e6 };
        let scaled = loss(&budget, 18e6, 18e6).expect("tokens");
        assert!((scaled.loss - 2.028263).abs() < 1e-6, "{}", scaled.loss);
        assert!(!scaled.in_fitted_range);
        assert_eq!(scaled.delta_loss, 0.0);
        assert!(loss(&budget, 0.0, 0.0).is_none());
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
    }
}
