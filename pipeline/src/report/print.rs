//! The funnel and the worth of its result, as text for a person.

use std::io::Write;

use curate_formats::numbers::grouped;
use curate_schemas::report::{
    BudgetReport, CalibrationReport, LossReport, MixtureReport, Report, SourceReport,
};
use curate_schemas::stages::quality::{Missing, MissingValue};
use curate_scorers::loss::LossLaw;
use curate_store::terminal::printable;

use super::worth::sentence;
use super::{Amounts, loss_under};

/// Prints the funnel and what the result is worth.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    print_stages(report, out)?;
    print_sources(report, out)?;
    print_pool(report, out)?;
    print_terms(report, out)?;

    let budget = report.budget.as_ref();
    print_loss(budget, budget.and_then(|budget| budget.pool.as_ref()), out)?;
    for mixture in &report.mixtures {
        print_mixture(mixture, out)?;
        print_loss(budget, mixture.loss.as_ref(), out)?;
    }

    print_sentence(report, out)?;
    if !report.warnings.is_empty() {
        writeln!(out)?;
    }
    for warning in &report.warnings {
        writeln!(out, "note: {warning}")?;
    }
    Ok(())
}

/// Prints the funnel: a line for each stage, and below it a line for each rule that removed
/// documents.
fn print_stages(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<13}{:>12}{:>12}{:>12}{:>12}{:>14}{:>14}",
        "stage", "docs in", "kept", "removed", "duplicates", "bytes kept", "tokens kept"
    )?;

    for stage in &report.stages {
        let docs = &stage.docs;
        // Quarantined and skipped records are gone as well, though no rule removed them.
        let skipped: u64 = docs.skipped.values().sum();
        let removed: u64 = docs.removed.values().sum::<u64>() + docs.quarantined + skipped;
        // The mark says that the tokens of some documents are estimated.
        let tokens = match (&stage.tokens, stage.tokens_in_half_width) {
            (Some(tokens), Some(half_width)) if half_width > 0 => {
                format!("~{}", grouped(tokens.kept))
            }
            (Some(tokens), _) => grouped(tokens.kept),
            (None, _) => "-".to_owned(),
        };
        let numbers = [docs.arrived, docs.kept, removed, docs.duplicates].map(grouped);
        let [arrived, kept, removed, duplicates] = numbers;
        let bytes = grouped(stage.bytes.kept);
        writeln!(
            out,
            "{:<13}{arrived:>12}{kept:>12}{removed:>12}{duplicates:>12}{bytes:>14}{tokens:>14}",
            stage.name
        )?;

        let quarantined = (docs.quarantined > 0).then_some(("quarantined", docs.quarantined));
        let rules = docs.removed.iter().map(|(rule, n)| (rule.as_str(), *n));
        for (rule, n) in rules.chain(quarantined) {
            writeln!(out, "  {rule:<40}{:>7}", grouped(n))?;
        }
        for (reason, n) in &docs.skipped {
            writeln!(
                out,
                "  {:<40}{:>7}",
                format!("skipped: {reason}"),
                grouped(*n)
            )?;
        }
        if stage.bytes.edited != 0 {
            writeln!(
                out,
                "  {:<40}{:>7} bytes",
                "edited away",
                signed(stage.bytes.edited)
            )?;
        }
    }
    Ok(())
}

/// Greatest number of sources in the funnel by source. `run.json` has all of them.
const SOURCES_SHOWN: usize = 12;

/// Prints the funnel by source: a line for each source, with the documents that each stage kept.
/// Stages that removed no document have no column. Of many sources, those are shown that kept the
/// smallest share of their records. Prints nothing for a single source, whose funnel is that of the
/// run.
fn print_sources(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let all = &report.sources;
    if all.len() < 2 {
        return Ok(());
    }
    let mut shown: Vec<&SourceReport> = all.iter().collect();
    if all.len() > SOURCES_SHOWN {
        shown.sort_by(|a, b| kept_share(a).total_cmp(&kept_share(b)));
        shown.truncate(SOURCES_SHOWN);
    }

    // A source has the stages of the run, in their order.
    let removing: Vec<usize> = (1..report.stages.len())
        .filter(|&at| report.stages[at].docs.kept < report.stages[at].docs.arrived)
        .collect();
    let names = shown.iter().map(|source| source.name.chars().count());
    let first = names.max().unwrap_or_default().max("source".len());
    write!(
        out,
        "\n{:<first$}{:>12}{:>13}{:>12}",
        "source", "records", "quarantined", "documents"
    )?;
    for &at in &removing {
        let name = &report.stages[at].name;
        write!(out, "{name:>width$}", width = width_of(name))?;
    }
    writeln!(out)?;

    for source in shown {
        let kept = |at: usize| source.funnel.get(at).map_or(0, |stage| stage.docs.kept);
        let numbers = [source.docs_in, source.quarantined, kept(0)].map(grouped);
        let [records, quarantined, documents] = numbers;
        write!(
            out,
            "{:<first$}{records:>12}{quarantined:>13}{documents:>12}",
            source.name
        )?;
        for &at in &removing {
            let width = width_of(&report.stages[at].name);
            write!(out, "{:>width$}", grouped(kept(at)))?;
        }
        writeln!(out)?;
    }
    if all.len() > SOURCES_SHOWN {
        writeln!(
            out,
            "  the {SOURCES_SHOWN} of {} sources that kept the smallest share of their records; \
             run.json and the view funnel_by_source have all",
            all.len()
        )?;
    }
    Ok(())
}

/// Width of the column of a stage: 12, or more for a long name.
fn width_of(stage: &str) -> usize {
    (stage.len() + 2).max(12)
}

/// The share of a source's records that the last stage kept, 0 to 1. 1 for a source without
/// records, which lost none.
fn kept_share(source: &SourceReport) -> f64 {
    let kept = source.funnel.last().map_or(0, |stage| stage.docs.kept);
    match source.docs_in {
        0 => 1.0,
        records => kept as f64 / records as f64,
    }
}

/// Prints a line for each term whose value some documents lack, with the reasons and what happens
/// to these documents.
fn print_terms(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    for term in &report.terms {
        let without: u64 = term.without_value.values().sum();
        if without == 0 {
            continue;
        }

        let reasons: Vec<String> = term
            .without_value
            .iter()
            .map(|(reason, n)| format!("{} {reason}", grouped(*n)))
            .collect();
        let effect = match term.missing {
            MissingValue::Policy(Missing::Drop) => "they are removed".to_owned(),
            MissingValue::Policy(_) => "the term is left out of their q".to_owned(),
            MissingValue::Term(value) => format!("their term is {value}"),
        };
        writeln!(
            out,
            "  term {}: {} of {} documents have no value ({}), {effect}",
            printable(&term.column),
            grouped(without),
            grouped(term.documents),
            reasons.join(", ")
        )?;
    }
    Ok(())
}

/// Prints what the pool and each source are worth. Prints nothing before `quality` has run.
fn print_pool(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let Some(pool) = &report.pool else {
        return Ok(());
    };

    writeln!(
        out,
        "\n{:<26}{}",
        "pool",
        worth(pool.tokens, pool.q, pool.d_eff, report.calibration.as_ref())
    )?;
    for source in &report.sources {
        if let Some(pool) = &source.pool {
            writeln!(
                out,
                "  {:<24}{}",
                source.name,
                worth(pool.tokens, pool.q, pool.d_eff, report.calibration.as_ref())
            )?;
        }
    }
    print_calibration(report.calibration.as_ref(), pool.d_eff_interval, out)?;
    if let Some(calibration) = report.calibration.as_ref().filter(|of| of.rho < 1.0) {
        writeln!(
            out,
            "  sources complement each other (ρ = {:.2}), so D_eff of the pool is above the sum of \
             its sources",
            calibration.rho
        )?;
    }
    Ok(())
}

/// Prints where q comes from, and the interval of D_eff. Prints nothing for an uncalibrated q.
fn print_calibration(
    calibration: Option<&CalibrationReport>,
    interval: Option<(f64, f64)>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    if let Some(calibration) = calibration {
        writeln!(out, "  {}", sentence(calibration))?;
    }
    if let Some((low, high)) = interval {
        let [low, high] = [low, high].map(|end| grouped(end.round() as u64));
        writeln!(
            out,
            "  90 % interval of D_eff [{low}, {high}] from refits of the calibration"
        )?;
    }
    Ok(())
}

/// Prints one sentence for the person who decides: what is left, what that costs in loss, and where
/// more tokens are worth most. Prints nothing without a budget or without tokens.
fn print_sentence(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let (Some(pool), Some(budget)) = (&report.pool, &report.budget) else {
        return Ok(());
    };

    // The tokens that the first stage let through are those of all documents.
    let raw = report
        .stages
        .first()
        .and_then(|stage| stage.tokens.as_ref())
        .map(|tokens| tokens.kept as f64);
    let (Some(raw), Some(loss)) = (raw, &budget.pool) else {
        return Ok(());
    };

    let scaled = |tokens: f64| short(tokens * budget.represents);
    write!(
        out,
        "\n{} tokens raw → {} kept → {} effective ({}); at N = {} that costs ΔL = {:+.4} against {} tokens of q = 1",
        scaled(raw),
        scaled(pool.tokens as f64),
        scaled(pool.d_eff),
        match &report.calibration {
            Some(calibration) => sentence(calibration),
            None => "q uncalibrated".to_owned(),
        },
        short(budget.params),
        loss.delta_loss,
        scaled(pool.tokens as f64)
    )?;

    for mixture in report.mixtures.iter().filter(|mixture| mixture.tokens > 0) {
        // D_eff of another target is in units of its own, so it is not compared with the pool's.
        let target = |of: &Option<CalibrationReport>| of.as_ref().map(|of| of.target.clone());
        if target(&mixture.calibration) != target(&report.calibration) {
            continue;
        }
        let per_token = pool.d_eff / pool.tokens.max(1) as f64;
        let times = mixture.d_eff / mixture.tokens as f64 / per_token;
        write!(
            out,
            "; per token mixture {} is worth {times:.2}× the pool",
            mixture.name
        )?;
    }

    // A source without a figure counts as 0, and a source of 0 is not named.
    let saved = |source: &&SourceReport| source.next_billion.unwrap_or(0.0);
    if let Some(best) = report
        .sources
        .iter()
        .max_by(|a, b| saved(a).total_cmp(&saved(b)))
        .filter(|best| saved(best) > 0.0)
    {
        write!(
            out,
            "; the next 1 B tokens are worth most from {} (ΔL = −{:.2e})",
            best.name,
            saved(&best)
        )?;
    }
    writeln!(out)
}

/// A number with a unit of thousands, such as `1.200 T`, `3.400 B`, `5.600 M`, `789.000 K` or `12`.
fn short(n: f64) -> String {
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")];
    // The first unit that fits is the largest. A number below a thousand has none.
    let unit = units.into_iter().find(|(size, _)| n >= *size);
    unit.map_or(format!("{n:.0}"), |(size, name)| {
        format!("{:.3} {name}", n / size)
    })
}

/// Prints what `tokens` of mean quality `q` are worth under a law, without a run.
///
/// # Errors
/// If `out` cannot be written.
pub fn print_worth(
    law: &LossLaw,
    params: f64,
    amounts: Amounts,
    q: f64,
    out: &mut impl Write,
) -> std::io::Result<()> {
    writeln!(
        out,
        "{}",
        worth(amounts.tokens as u64, q, amounts.d_eff, None).trim_start()
    )?;

    // Losses are printed for a budget, so the question becomes one.
    let budget = BudgetReport {
        params,
        constants: law.name.to_owned(),
        constants_digest: None,
        source: law.source.to_owned(),
        represents: 1.0,
        pool: None,
    };
    print_loss(Some(&budget), Some(&loss_under(law, params, amounts)), out)
}

/// Tokens, their mean quality and their effective tokens, as part of a line.
fn worth(tokens: u64, q: f64, d_eff: f64, calibration: Option<&CalibrationReport>) -> String {
    let which = match calibration {
        Some(calibration) => format!("calibrated on {}", calibration.target),
        None => "uncalibrated".to_owned(),
    };
    format!(
        "{:>14} tokens, q = {q:.4}, D_eff = {} ({which})",
        grouped(tokens),
        grouped(d_eff.round() as u64)
    )
}

/// Prints a mixture, the constraints that bind it, and what each strategy would make of the same
/// request.
fn print_mixture(mixture: &MixtureReport, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "\nmixture {}: {} documents, {} draws, {:.2} epochs, {} tokens requested\n  {}",
        mixture.name,
        grouped(mixture.docs),
        grouped(mixture.draws),
        mixture.epochs,
        grouped(mixture.tokens_asked),
        worth(
            mixture.tokens,
            mixture.q,
            mixture.d_eff,
            mixture.calibration.as_ref()
        )
        .trim_start()
    )?;
    print_calibration(mixture.calibration.as_ref(), mixture.d_eff_interval, out)?;

    if !mixture.held_by.is_empty() {
        // Every bucket at its cap is a constraint, so the list can be long.
        let more = mixture.held_by.len().saturating_sub(HELD_SHOWN);
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let shown = &mixture.held_by[..mixture.held_by.len().min(HELD_SHOWN)];
        writeln!(out, "  held back by {}{rest}", shown.join("; "))?;
    }

    writeln!(
        out,
        "  {:<17}{:>14}{:>9}{:>16}{:>14}",
        "strategy", "unique", "epochs", "D' (q = 1)", "D_eff"
    )?;
    for other in &mixture.compared {
        // A star marks the strategy that the mixture uses.
        let mark = if other.strategy == mixture.strategy {
            "*"
        } else {
            " "
        };
        match &other.infeasible {
            Some(why) => writeln!(out, " {mark}{:<17}{why}", other.strategy)?,
            None => writeln!(
                out,
                " {mark}{:<17}{:>14}{:>9.2}{:>16}{:>14}",
                other.strategy,
                grouped(other.unique_tokens.round() as u64),
                other.epochs,
                grouped(other.d_repeat.round() as u64),
                grouped(other.d_eff.round() as u64)
            )?,
        }
    }
    Ok(())
}

/// Greatest number of binding constraints that are printed. `run.json` has all of them.
const HELD_SHOWN: usize = 3;

/// Prints the losses of some tokens. Prints nothing without a budget or a loss.
fn print_loss(
    budget: Option<&BudgetReport>,
    loss: Option<&LossReport>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let (Some(budget), Some(loss)) = (budget, loss) else {
        return Ok(());
    };

    // If the run is the whole corpus, its tokens need no explanation.
    let scaled = match budget.represents {
        1.0 => String::new(),
        times => format!(" = {times:e} times this run's"),
    };
    let range = if loss.in_fitted_range {
        ""
    } else {
        ", outside the fitted range"
    };
    // Only constants with known errors give an interval.
    let interval = match loss.delta_loss_interval {
        Some((low, high)) => format!(" [{low:.4}, {high:.4}]"),
        None => String::new(),
    };

    writeln!(
        out,
        "  D_eff/D = {:.4}, ΔL = {:+.4}{interval} nats per token at N = {:.3e}, D = {:.3e}{scaled} ({}{range})",
        loss.d_eff_ratio, loss.delta_loss, budget.params, loss.tokens, budget.constants
    )?;
    writeln!(
        out,
        "  L = {:.4} of |D|, {:.4} of U unique, {:.4} of D' (q = 1), {:.4} of D_eff",
        loss.loss, loss.loss_unique, loss.loss_repeat, loss.loss_d_eff
    )
}

/// A signed number with its digits in groups.
fn signed(n: i64) -> String {
    format!(
        "{}{}",
        if n < 0 { "-" } else { "" },
        grouped(n.unsigned_abs())
    )
}
