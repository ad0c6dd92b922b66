//! The funnel and its worth, for a person.

use std::io::Write;

use curate_schemas::report::{BudgetReport, LossReport, MixtureReport, Report};

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

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
    }
}
