//! `curate budget --calibration`: mixtures of a calibration's buckets side by side, under the fitted
//! law.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use curate_formats::numbers::grouped;
use curate_schemas::calibration::Bucket;
use curate_schemas::stages::quality::CalibrationCurve;
use curate_scorers::loss::LossLaw;
use curate_stages::calibrated::{self, Calibrated};
use curate_store::failure::{Exit, Failure};

use crate::manifest::calibration::read_text;
use crate::report::worth::{Worth, calibration_report, interval, out_of_range, sentence};

/// A mixture: its name as it was written, and shares of sources or buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    written: String,
    shares: Vec<(String, f64)>,
}

/// Reads a mixture such as `html=0.5,text=0.5`.
pub(super) fn shares(text: &str) -> Result<Shares, String> {
    let mut shares = Vec::new();
    for part in text.split(',') {
        let (name, share) = part
            .rsplit_once('=')
            .ok_or("expected NAME=SHARE, separated by commas, such as html=0.5,text=0.5")?;
        let share: f64 = share
            .trim()
            .parse()
            .map_err(|_| format!("\"{share}\" is not a share such as 0.5"))?;
        if !(0.0..=1.0).contains(&share) {
            return Err(format!("the share of {name} is {share}, expected 0 to 1"));
        }
        shares.push((name.trim().to_owned(), share));
    }

    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    if (sum - 1.0).abs() > 1e-6 {
        return Err(format!("the shares sum to {sum}, expected 1"));
    }
    Ok(Shares {
        written: text.to_owned(),
        shares,
    })
}

/// The mixtures that are compared, and what they are compared by.
pub(super) struct Comparison<'q> {
    /// The calibration's file.
    pub calibration: &'q Path,
    /// The target; `None` for the only one of the file.
    pub target: Option<&'q str>,
    pub mixtures: &'q [Shares],
    /// Tokens of each mixture, all different.
    pub tokens: f64,
    /// Parameters of a large model, for a difference of its losses.
    pub params: Option<f64>,
}

/// Prints D_eff of each mixture and how much more it is worth than the first one.
///
/// # Errors
/// Exit 2 if the calibration or a mixture cannot be used.
pub(super) fn compare(of: &Comparison, law: &LossLaw, out: &mut impl Write) -> Result<()> {
    let calibrated = open(of)?;
    let worth = Worth::new(&calibrated);
    let name = of.calibration.to_string_lossy();
    let report = calibration_report(&name, String::new(), &calibrated);
    writeln!(out, "{}", sentence(&report))?;
    if !calibrated.target().verdict.passed {
        writeln!(
            out,
            "the verdict of this calibration was not passed: its figures should not be used"
        )?;
    }

    let mut first: Option<(f64, Vec<f64>)> = None;
    writeln!(
        out,
        "\n{:<32}{:>16}{:>9}{:>14}{:>10}  90 % interval",
        "mixture", "D_eff", "D_eff/D", "bits/byte", "to first"
    )?;
    for mixture in of.mixtures {
        let tokens = tokens_of(&calibrated, mixture, of.tokens)?;
        let d_eff = worth.d_eff(&tokens);
        let refits = worth.refits(&tokens);
        let (base, base_refits) = first.get_or_insert_with(|| (d_eff, refits.clone()));

        // Each refit tells the ratio of its own law, so errors that both mixtures share cancel.
        let ratios = refits
            .iter()
            .zip(&*base_refits)
            .map(|(own, base)| own / base);
        let ratios = match interval(ratios) {
            Some((low, high)) => format!("[{low:.3}, {high:.3}]"),
            None => "-".to_owned(),
        };
        writeln!(
            out,
            "{:<32}{:>16}{:>9.4}{:>14.4}{:>10.3}  {ratios}",
            mixture.written,
            grouped(d_eff.round() as u64),
            d_eff / of.tokens,
            worth.proxy_loss(d_eff),
            d_eff / *base
        )?;
        if let Some(params) = of.params {
            writeln!(
                out,
                "  ΔL = {:+.5} nats per token against the first at N = {params:.3e} ({})",
                law.loss(params, d_eff) - law.loss(params, *base),
                law.name
            )?;
        }
    }

    writeln!(
        out,
        "\nAll tokens are taken to be fresh. bits/byte is the loss that the law predicts for the \
         calibration's models."
    )?;
    if of.params.is_some() {
        writeln!(
            out,
            "ΔL mixes two fits: D_eff is of the calibration's models, the constants are of large \
             ones."
        )?;
    }
    if let Some(assumption) = out_of_range(&report, of.tokens) {
        writeln!(out, "{assumption}.")?;
    }
    Ok(())
}

/// The calibration of a comparison. A verdict that was not passed is said, not refused.
fn open(of: &Comparison) -> Result<Calibrated> {
    let path = of.calibration;
    let usage = |what: String| {
        Failure::new(
            Exit::Usage,
            format!("--calibration {}: {what}", path.display()),
        )
    };
    let text = read_text(path).map_err(usage)?;
    let file = calibrated::parse(&text).map_err(|error| usage(error.to_string()))?;
    let target = calibrated::place_of(&file, of.target)
        .map_err(|error| usage(error.to_string()).hint("name one with --target"))?;
    Ok(Calibrated::new(file, target, CalibrationCurve::Fitted))
}

/// The tokens of each bucket. A name stands for a bucket, a source, or a source and domain with a
/// slash between. Buckets of one name are in proportion to their tokens in the calibration.
fn tokens_of(calibrated: &Calibrated, mixture: &Shares, tokens: f64) -> Result<Vec<f64>> {
    let buckets = &calibrated.file.buckets;
    let mut all = vec![0.0; buckets.len()];
    for (name, share) in &mixture.shares {
        let of = |is: &dyn Fn(&Bucket) -> bool| -> Vec<usize> {
            (0..buckets.len()).filter(|&at| is(&buckets[at])).collect()
        };
        let mut named = of(&|bucket| bucket.name == *name);
        if named.is_empty() {
            named = of(&|bucket| {
                let mut members = bucket.members.iter();
                members.any(|member| {
                    member.source == *name
                        || format!("{}/{}", member.source, member.domain) == *name
                })
            });
        }
        if named.is_empty() {
            let known: Vec<&str> = buckets.iter().map(|bucket| bucket.name.as_str()).collect();
            let message = format!("--mixture: no source or bucket is called \"{name}\"");
            let hint = format!("the buckets are {}", known.join(", "));
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }

        let total: u64 = named.iter().map(|&at| buckets[at].tokens).sum();
        for at in named {
            all[at] += share * tokens * buckets[at].tokens as f64 / total.max(1) as f64;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_checked() {
        let found = shares("html=0.25, text 2=0.75").expect("shares");
        let expected = [("html".to_owned(), 0.25), ("text 2".to_owned(), 0.75)];
        assert_eq!(found.shares, expected);
        for (text, message) in [
            ("html", "NAME=SHARE"),
            ("html=x", "not a share"),
            ("html=0.5", "sum to 0.5"),
            ("html=1.5,text=-0.5", "is 1.5"),
            ("html=NaN", "is NaN"),
        ] {
            let refused = shares(text).expect_err("no shares");
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }
}
