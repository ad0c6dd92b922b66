//! The sections of the page, in the order in which a reader asks: what came out, where the rest
//! went, whether that was right, what it is worth, what it cost, and whether it can be made again.

mod cost;
mod duplicates;
mod funnel;
mod languages;
mod loss;
mod merged;
mod mixtures;
mod record;
mod result;
mod rules;
mod sources;
mod thresholds;
mod worth;

use curate_schemas::report::{CalibrationReport, StageReport};
use curate_schemas::spec::Removes;
use curate_schemas::stages;
use maud::{Markup, html};

use crate::{Facts, Section, numbers, text};

/// The sections of a run's page. A section that has nothing to say is left out.
pub fn all(facts: &Facts) -> Vec<Section> {
    let sections = [
        Some(result::section(facts)),
        funnel::section(facts),
        sources::section(facts),
        rules::section(facts),
        duplicates::section(facts),
        languages::section(facts),
        worth::section(facts),
        mixtures::section(facts),
        loss::section(facts),
        Some(cost::section(facts)),
        Some(record::section(facts)),
    ];
    sections.into_iter().flatten().collect()
}

impl Facts<'_> {
    /// The documents of a run: what `documents` kept. 0 before it has run.
    fn documents(&self) -> u64 {
        self.report
            .stages
            .first()
            .map_or(0, |stage| stage.docs.kept)
    }

    /// The tokens of all documents; `None` before `tokens` has run.
    fn tokens(&self) -> Option<u64> {
        let first = self.report.stages.first()?;
        first.tokens.as_ref().map(|tokens| tokens.kept)
    }

    /// True if some documents have estimated tokens.
    fn is_estimated(&self) -> bool {
        let mut stages = self.report.stages.iter();
        stages.any(|stage| stage.tokens_in_half_width.is_some())
    }

    /// True if the tokens of every document were counted.
    fn has_all_tokens(&self) -> bool {
        self.tokens().is_some() && !self.is_estimated()
    }

    /// True if the stage has run.
    fn has(&self, stage: &str) -> bool {
        self.report.stages.iter().any(|own| own.name == stage)
    }
}

/// What a stage took out of the documents: all that arrived and did not go on.
fn lost(stage: &StageReport) -> u64 {
    stage.docs.arrived - stage.docs.kept
}

/// The reasons that count as duplicates.
fn duplicate_reasons() -> Vec<&'static str> {
    let stages = stages::aligned().filter(|spec| spec.removes == Removes::Duplicates);
    stages
        .flat_map(|spec| spec.removals.iter().map(|removal| removal.name))
        .collect()
}

/// Where q comes from, beside each figure that depends on it.
fn q_tag(calibration: Option<&CalibrationReport>) -> Markup {
    match calibration {
        None => html! { span.tag { "q uncalibrated" } },
        Some(calibration) => html! {
            span.tag { "q calibrated on " (text::name(&calibration.target)) }
        },
    }
}

/// The 90 % interval of a D_eff; empty without one.
fn interval(ends: Option<(f64, f64)>) -> Markup {
    html! {
        @if let Some((low, high)) = ends {
            " [" (numbers::about(low)) ", " (numbers::about(high)) "]"
        }
    }
}
