//! The funnel and its worth, for a person.

use std::io::Write;

use curate_schemas::manifest::Budget;
use curate_schemas::report::{BudgetReport, LossReport, MixtureReport, Report};

use super::{budget_report, loss};

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
            writeln!(out, "  {rule:<40}{:>7}", grouped(n))?;
        }
        if stage.bytes.edited != 0 {
            writeln!(out, "  {:<40}{:>7} bytes", "edited away", signed(stage.bytes.edited))?;
        }
    }
    if let Some(pool) = &report.pool {
        writeln!(out, "\n{:<26}{}", "pool", worth(pool.tokens, pool.q, pool.d_eff))?;
        for source in &report.sources {
            if let Some(pool) = &source.pool {
                writeln!(out, "  {:<24}{}", source.name, worth(pool.tokens, pool.q, pool.d_eff))?;
            }
        }
    }
    print_loss(report.budget.as_ref(), report.budget.as_ref().and_then(|budget| budget.pool.as_ref()), out)?;
    for mixture in &report.mixtures {
        print_mixture(mixture, out)?;
        print_loss(report.budget.as_ref(), mixture.loss.as_ref(), out)?;
    }
    for warning in &report.warnings {
        writeln!(out, "note: {warning}")?;
    }
    Ok(())
}

/// Prints what `tokens` of mean quality `q` are worth, without a run.
///
/// # Errors
/// If `out` cannot be written.
pub fn print_budget(budget: &Budget, tokens: f64, q: f64, out: &mut impl Write) -> std::io::Result<()> {
    let loss = loss(budget, tokens, q * tokens);
    writeln!(out, "{}", worth(tokens as u64, q, q * tokens).trim_start())?;
    print_loss(Some(&budget_report(budget, None)), loss.as_ref(), out)
}

fn worth(tokens: u64, q: f64, d_eff: f64) -> String {
    format!("{:>14} tokens, q = {q:.4}, D_eff = {} (uncalibrated)", grouped(tokens), grouped(d_eff.round() as u64))
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
    )
}

fn print_loss(budget: Option<&BudgetReport>, loss: Option<&LossReport>, out: &mut impl Write) -> std::io::Result<()> {
    let (Some(budget), Some(loss)) = (budget, loss) else { return Ok(()) };
    let scaled = match budget.represents {
        1.0 => String::new(),
        times => format!(" = {times:e} times this run's"),
    };
    let range = if loss.in_fitted_range { "" } else { ", outside the fitted range" };
    writeln!(
        out,
        "  D_eff/D = {:.4}, ΔL = {:+.4} nats per token at N = {:.3e}, D = {:.3e}{scaled} ({}, L = {:.4} to {:.4}{range})",
        loss.d_eff_ratio, loss.delta_loss, budget.params, loss.tokens, budget.constants, loss.loss, loss.loss_d_eff
    )
}

/// 1234567 as 1,234,567.
fn signed(n: i64) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, grouped(n.unsigned_abs()))
}

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

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
    }
}
