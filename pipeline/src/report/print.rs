//! The funnel and its worth, for a person.

use std::io::Write;

use curate_formats::numbers::grouped;
use curate_schemas::report::{BudgetReport, LossReport, MixtureReport, Report};
use curate_scorers::loss::LossLaw;

use super::{Amounts, loss_under};

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
            (Some(tokens), Some(half_width)) if half_width > 0 => {
                format!("~{}", grouped(tokens.kept))
            }
            (Some(tokens), _) => grouped(tokens.kept),
            (None, _) => "-".to_owned(),
        };
        let docs = &stage.docs;
        let numbers = [docs.arrived, docs.kept, removed, docs.duplicates].map(grouped);
        let [arrived, kept, removed, duplicates] = numbers;
        let bytes = grouped(stage.bytes.kept);
        writeln!(
            out,
            "{:<13}{arrived:>12}{kept:>12}{removed:>12}{duplicates:>12}{bytes:>14}{tokens:>14}",
            stage.name
        )?;
        let quarantined = (docs.quarantined > 0).then_some(("quarantined", docs.quarantined));
        for (rule, n) in docs
            .removed
            .iter()
            .map(|(rule, n)| (rule.as_str(), *n))
            .chain(quarantined)
        {
            writeln!(out, "  {rule:<40}{:>7}", grouped(n))?;
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
    if let Some(pool) = &report.pool {
        writeln!(
            out,
            "\n{:<26}{}",
            "pool",
            worth(pool.tokens, pool.q, pool.d_eff)
        )?;
        for source in &report.sources {
            if let Some(pool) = &source.pool {
                writeln!(
                    out,
                    "  {:<24}{}",
                    source.name,
                    worth(pool.tokens, pool.q, pool.d_eff)
                )?;
            }
        }
    }
    print_loss(
        report.budget.as_ref(),
        report
            .budget
            .as_ref()
            .and_then(|budget| budget.pool.as_ref()),
        out,
    )?;
    for mixture in &report.mixtures {
        print_mixture(mixture, out)?;
        print_loss(report.budget.as_ref(), mixture.loss.as_ref(), out)?;
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

/// What a lead wants to know, in one sentence.
fn print_sentence(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let (Some(pool), Some(budget)) = (&report.pool, &report.budget) else {
        return Ok(());
    };
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
        "\n{} tokens raw → {} kept → {} effective (q uncalibrated); at N = {} that costs ΔL = {:+.4} against {} tokens of q = 1",
        scaled(raw),
        scaled(pool.tokens as f64),
        scaled(pool.d_eff),
        short(budget.params),
        loss.delta_loss,
        scaled(pool.tokens as f64)
    )?;
    for mixture in report.mixtures.iter().filter(|mixture| mixture.tokens > 0) {
        let times = mixture.d_eff / mixture.tokens as f64 / pool.q;
        write!(
            out,
            "; per token mixture {} is worth {times:.2}× the pool",
            mixture.name
        )?;
    }
    let saved = |source: &&curate_schemas::report::SourceReport| source.next_billion.unwrap_or(0.0);
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

/// 1.2 T, 3.4 B, 5.6 M, 789 K or 12.
fn short(n: f64) -> String {
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")];
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
        worth(amounts.tokens as u64, q, amounts.d_eff).trim_start()
    )?;
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

fn worth(tokens: u64, q: f64, d_eff: f64) -> String {
    format!(
        "{:>14} tokens, q = {q:.4}, D_eff = {} (uncalibrated)",
        grouped(tokens),
        grouped(d_eff.round() as u64)
    )
}

fn print_mixture(mixture: &MixtureReport, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "\nmixture {}: {} documents, {} draws, {:.2} epochs, {} tokens were asked for\n  {}",
        mixture.name,
        grouped(mixture.docs),
        grouped(mixture.draws),
        mixture.epochs,
        grouped(mixture.tokens_asked),
        worth(mixture.tokens, mixture.q, mixture.d_eff).trim_start()
    )?;
    if !mixture.held_by.is_empty() {
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

/// Constraints that are printed; `run.json` has all.
const HELD_SHOWN: usize = 3;

fn print_loss(
    budget: Option<&BudgetReport>,
    loss: Option<&LossReport>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let (Some(budget), Some(loss)) = (budget, loss) else {
        return Ok(());
    };
    let scaled = match budget.represents {
        1.0 => String::new(),
        times => format!(" = {times:e} times this run's"),
    };
    let range = if loss.in_fitted_range {
        ""
    } else {
        ", outside the fitted range"
    };
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

fn signed(n: i64) -> String {
    format!(
        "{}{}",
        if n < 0 { "-" } else { "" },
        grouped(n.unsigned_abs())
    )
}
