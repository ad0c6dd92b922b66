//! Effective tokens under a calibration, with their interval, and the calibration in words.

use curate_formats::numbers::grouped;
use curate_schemas::calibration::Proxy;
use curate_schemas::report::CalibrationReport;
use curate_stages::calibrated::Calibrated;
use curate_stages::mix::{Law, Parts};

/// The ends of a 90 % interval, as shares of the refits.
const ENDS: (f64, f64) = (0.05, 0.95);

/// A calibration that turns tokens by bucket into effective tokens.
pub struct Worth<'c> {
    calibrated: &'c Calibrated,
    /// The number of the law's source, by bucket.
    part_of: Vec<u32>,
}

impl<'c> Worth<'c> {
    /// The worth of tokens for the target of a calibration.
    pub fn new(calibrated: &'c Calibrated) -> Worth<'c> {
        let buckets = calibrated.file.buckets.iter();
        Worth {
            calibrated,
            part_of: buckets.map(|bucket| bucket.source as u32).collect(),
        }
    }

    /// D_eff of tokens by bucket, each seen once. A list that ends early has no tokens of the other
    /// buckets.
    pub fn d_eff(&self, tokens: &[f64]) -> f64 {
        let target = &self.calibrated.target().name;
        let buckets = self.calibrated.file.buckets.iter();
        let q: Vec<f64> = buckets
            .map(|bucket| self.calibrated.q_of(bucket, target))
            .collect();
        self.under(self.calibrated.target().law.rho, &q, tokens)
    }

    /// The 90 % interval of D_eff over the refits; `None` without refits.
    pub fn interval(&self, tokens: &[f64]) -> Option<(f64, f64)> {
        interval(self.refits(tokens).into_iter())
    }

    /// D_eff under each refit; empty without refits.
    pub fn refits(&self, tokens: &[f64]) -> Vec<f64> {
        let refits = self.calibrated.target().refits.iter();
        refits
            .map(|refit| self.under(refit.rho, &refit.q, tokens))
            .collect()
    }

    /// The loss that the law predicts for the calibration's models, in bits per byte.
    pub fn proxy_loss(&self, d_eff: f64) -> f64 {
        let law = &self.calibrated.target().law;
        law.e + (law.worth_of_best * d_eff / 1e6).powf(-law.beta)
    }

    fn under(&self, rho: f64, q: &[f64], tokens: &[f64]) -> f64 {
        let law = Law {
            rho,
            part_of: self.part_of.clone(),
        };
        let mut parts = Parts::default();
        for ((bucket, q), tokens) in (0..).zip(q).zip(tokens) {
            parts.add(&law, bucket, q * tokens);
        }
        parts.total(&law)
    }
}

/// The 90 % interval of some figures, one for each refit; `None` without figures.
pub fn interval(figures: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let last = figures.len().checked_sub(1)?;
    let at = |share: f64| figures[(share * last as f64).round() as usize];
    Some((at(ENDS.0), at(ENDS.1)))
}

/// The calibration as `run.json` tells it.
pub fn calibration_report(
    file: &str,
    digest: String,
    calibrated: &Calibrated,
) -> CalibrationReport {
    let target = calibrated.target();
    CalibrationReport {
        file: file.to_owned(),
        digest,
        target: target.name.clone(),
        proxy: proxy(&calibrated.file.proxy),
        valid_tokens: target.valid_tokens,
        rho: target.law.rho,
        held_out: target.held_out.runs,
        error: target.held_out.error,
        error_of_equal_worth: target.held_out.error_of_equal_worth,
        grade: target.verdict.grade.clone(),
    }
}

/// The small models of a calibration, in words.
fn proxy(proxy: &Proxy) -> String {
    match (proxy.kind.as_str(), proxy.order) {
        ("ngram", Some(order)) => format!("a {order}-gram model"),
        ("experts", Some(order)) => format!("mixtures of {order}-gram models"),
        ("transformer", _) => "a small transformer".to_owned(),
        ("external", _) => "models of somebody else".to_owned(),
        (other, _) => other.to_owned(),
    }
}

/// A calibration in one sentence, for what is printed.
pub fn sentence(calibration: &CalibrationReport) -> String {
    format!(
        "q calibrated on {} with {}: error on {} unseen mixtures {:.4} bits per byte, {:.4} with \
         D' alone",
        calibration.target,
        calibration.proxy,
        calibration.held_out,
        calibration.error,
        calibration.error_of_equal_worth
    )
}

/// What must stand beside a figure for `tokens` tokens: that they are outside the range in which
/// the law was checked. `None` inside the range.
pub fn out_of_range(calibration: &CalibrationReport, tokens: f64) -> Option<String> {
    let [low, high] = calibration.valid_tokens.map(|tokens| tokens as f64);
    let is_inside = (low..=high).contains(&tokens);
    (!is_inside).then(|| {
        format!(
            "q was measured at {} to {} tokens of {}; that it holds at {} tokens is an assumption",
            grouped(low as u64),
            grouped(high as u64),
            calibration.proxy,
            grouped(tokens as u64)
        )
    })
}
