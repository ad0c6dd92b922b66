//! Warnings of a report: what a reader should know before trusting a figure.

use anyhow::Result;
use curate_schemas::Manifest;
use curate_schemas::commit::Commit;
use curate_schemas::report::Report;
use curate_stages::calibrated;

use super::worth;
use crate::driver::loss;

/// Adds the warnings: what a reader should know before trusting a figure. Their order is fixed.
///
/// # Errors
/// If the calibration that the run kept cannot be read.
pub(super) fn warn(
    report: &mut Report,
    manifest: &Manifest,
    documents: Option<&Commit>,
) -> Result<()> {
    for source in &report.sources {
        let name = &source.name;
        if source.repeated_ids > 0 {
            report.warnings.push(format!(
                "source \"{name}\": {} records have an id that another has",
                source.repeated_ids
            ));
        }
        let losses = source.funnel.iter().skip(1);
        report
            .warnings
            .extend(losses.filter_map(|stage| loss(name, &stage.name, &stage.docs)));
    }
    let quarantined = documents.map_or(0, |commit| commit.counts.docs.quarantined);
    if quarantined > 0 {
        report.warnings.push(format!(
            "{quarantined} records could not be read; see the table quarantine"
        ));
    }

    warn_of_calibration(report, manifest)?;

    // Only a file of constants has a digest, and such a file says nothing about its fit.
    if let Some(budget) = report
        .budget
        .as_ref()
        .filter(|budget| budget.constants_digest.is_some())
    {
        report.warnings.push(format!(
            "where the constants of {} were fitted is not known",
            budget.constants
        ));
    }

    let losses = report
        .mixtures
        .iter()
        .filter_map(|mixture| mixture.loss.as_ref());
    let pool = report
        .budget
        .as_ref()
        .and_then(|budget| budget.pool.as_ref());
    if losses.chain(pool).any(|loss| !loss.in_fitted_range) {
        report
            .warnings
            .push("a loss is outside the fitted range of its constants".to_owned());
    }
    Ok(())
}

/// Adds the warnings about where q comes from.
///
/// # Errors
/// If the calibration that the run kept cannot be read.
fn warn_of_calibration(report: &mut Report, manifest: &Manifest) -> Result<()> {
    let Some(pool) = &report.pool else {
        return Ok(());
    };

    let mut warnings = Vec::new();
    match &report.calibration {
        None => {
            let unpassed = target_of_quality(manifest)?;
            warnings.extend(unpassed.map(|target| {
                format!("the calibration of target \"{target}\" was not passed: q is uncalibrated")
            }));
            warnings.push("q is uncalibrated: D_eff and its loss are relative figures".to_owned());
        }
        Some(calibration) => {
            warnings.extend(worth::out_of_range(calibration, pool.tokens as f64));
            if report.budget.is_some() {
                warnings.push(
                    "ΔL of a calibrated D_eff mixes two fits: q is of the calibration's models, \
                     the constants are of large ones"
                        .to_owned(),
                );
            }
        }
    }

    for mixture in &report.mixtures {
        let name = &mixture.name;
        let wanted = manifest.mixture.iter().find(|own| own.name == *name);
        let target = wanted.and_then(|wanted| wanted.target.as_deref());

        // A target of a mixture is one of the calibration, so only its verdict can be the reason.
        match (&mixture.calibration, target) {
            (Some(calibration), _) => {
                let outside = worth::out_of_range(calibration, mixture.tokens as f64);
                warnings.extend(outside.map(|what| format!("mixture {name}: {what}")));
            }
            (None, Some(target)) => warnings.push(format!(
                "the calibration of target \"{target}\" was not passed: q of mixture {name} is \
                 uncalibrated"
            )),
            (None, None) => {}
        }
    }
    report.warnings.extend(warnings);
    Ok(())
}

/// The name of the target of `[quality]`; `None` without a calibration.
///
/// # Errors
/// If the calibration that the run kept cannot be read.
fn target_of_quality(manifest: &Manifest) -> Result<Option<String>> {
    let Some(text) = &manifest.quality.calibration_json else {
        return Ok(None);
    };
    let file = calibrated::parse(text)?;
    let at = calibrated::place_of(&file, manifest.quality.target.as_deref())?;
    Ok(Some(file.targets[at].name.clone()))
}
