//! Compares the distributions of a run's columns with those of a baseline. There is one comparison
//! for each column, group and weight, and all comparisons are judged together.

use anyhow::Result;
use curate_schemas::tables::Measure;
use curate_scorers::drift::{
    Adjusted, Bins, DriftError, Gates, Settings, Summary, Tally, Verdict, Weight,
    benjamini_hochberg, compare, judge, overall,
};

use super::baseline::{Baseline, Column};
use super::gather::Reader;
use super::groups::{Group, Groups};
use super::{Check, Missing};

/// Compares all distributions, judges them together, and lists the columns and groups that one side
/// lacks. With `asks_all` the list includes columns that the baseline lacks.
///
/// # Errors
/// If a file cannot be read or the baseline is malformed.
pub fn distributions(
    baseline: &Baseline,
    run: &Reader,
    asks_all: bool,
    gates: &Gates,
    settings: &Settings,
) -> Result<(Vec<Check>, Vec<Missing>)> {
    let (mut checks, mut missing) = (Vec::new(), Vec::new());
    let measures = baseline.measures()?;

    for measure in &measures {
        compare_measure(baseline, run, measure, settings, &mut checks, &mut missing)?;
    }

    // The correction for many tests needs the p-values of all columns.
    let adjusted =
        |p: fn(&Check) -> f64| benjamini_hochberg(&checks.iter().map(p).collect::<Vec<_>>());
    let (psi, ks) = (
        adjusted(|check| check.comparison.psi_p),
        adjusted(|check| check.comparison.ks_p),
    );

    for (check, (psi, ks)) in checks.iter_mut().zip(psi.into_iter().zip(ks)) {
        check.adjusted_p = psi;
        check.judged = judge(
            &check.comparison,
            Adjusted { psi, ks },
            gates,
            settings.confidence,
        );
        check.verdict = overall(&check.judged);
    }

    // Examples come last, because only columns with drift have them.
    for measure in &measures {
        show(baseline, run, measure, &mut checks)?;
    }

    if asks_all {
        for measure in run.measures() {
            if !measures.contains(&measure) && run.has_values(&measure)? {
                missing.push(Missing {
                    group: None,
                    what: "new",
                    measure: measure.name(),
                    documents: run.documents.rows,
                });
            }
        }
    }

    missing.sort();
    Ok((checks, missing))
}

/// Compares one column in all groups. Appends the comparisons, not judged yet, to `checks`, and the
/// groups that one side lacks to `missing`.
fn compare_measure(
    baseline: &Baseline,
    run: &Reader,
    measure: &Measure,
    settings: &Settings,
    checks: &mut Vec<Check>,
    missing: &mut Vec<Missing>,
) -> Result<()> {
    let name = measure.name();
    let lacks = |what, group: Group, documents| Missing {
        group: Some(group),
        what,
        measure: name.clone(),
        documents,
    };

    let (tallies, others) = if run.has_table(measure.table) {
        run.tally(measure, &baseline.bins(&name))?
    } else {
        // Without the table, all groups of the baseline are gone.
        Default::default()
    };
    missing.extend(
        others
            .into_iter()
            .map(|(group, documents)| lacks("new", group, documents)),
    );

    for Column { group, summary, .. } in baseline.of_measure(&name) {
        let Some(tally) = tallies.get(&group.source, &group.language) else {
            missing.push(lacks(
                "gone",
                group.clone(),
                summary.counts.total(Weight::Documents),
            ));
            continue;
        };

        for weight in [Weight::Documents, Weight::Tokens] {
            let comparison = match compare(summary, tally, weight, settings) {
                Ok(comparison) => comparison,
                // A group with documents has no tokens if the tokens were not counted.
                Err(DriftError::Empty { .. }) => continue,
                Err(error) => return Err(error.into()),
            };

            checks.push(Check {
                measure: name.clone(),
                group: group.clone(),
                verdict: Verdict::Pass,
                judged: Vec::new(),
                adjusted_p: 1.0,
                comparison,
                examples: Vec::new(),
                gained: gained(summary, tally, weight),
            });
        }
    }

    Ok(())
}

/// The cells of the bin whose share grew most: for each cell, whether it belongs to that bin.
fn gained(was: &Summary, is: &Tally, weight: Weight) -> Vec<bool> {
    let bins = was.bins.bins();
    let is = is.summary(&was.bins);

    let [before, now] = [&was.counts, &is.counts].map(|counts| {
        let total = counts.total(weight).max(1) as f64;
        // The bins are numbered from 0, and the last cell is in the last bin.
        let mut shares = vec![0.0; bins.last().map_or(0, |last| last + 1)];
        bins.iter()
            .zip(counts.by(weight))
            .for_each(|(&bin, &own)| shares[bin] += own as f64 / total);
        shares
    });

    let gain = |bin: &usize| now[*bin] - before[*bin];
    let most = (0..now.len()).max_by(|a, b| gain(a).total_cmp(&gain(b)));
    bins.into_iter().map(|bin| Some(bin) == most).collect()
}

/// Finds examples for the drift of a column. Only the first check of a group with drift gets
/// examples, by documents if both weights drifted.
fn show(baseline: &Baseline, run: &Reader, measure: &Measure, checks: &mut [Check]) -> Result<()> {
    let (name, bins) = (measure.name(), baseline.bins(&measure.name()));
    let mut wanted: Groups<(Bins, Vec<bool>)> = Groups::default();
    let mut drifted: Vec<&mut Check> = Vec::new();

    for check in checks
        .iter_mut()
        .filter(|check| check.measure == name && is_drift(check.verdict))
    {
        let Group { source, language } = &check.group;
        let Some(bins) = bins
            .get(source, language)
            .filter(|_| wanted.get(source, language).is_none())
        else {
            continue;
        };

        wanted.entry(source, language, || (bins.clone(), check.gained.clone()));
        drifted.push(check);
    }

    // Without drift the run need not be read again.
    if drifted.is_empty() {
        return Ok(());
    }

    let examples = run.examples(measure, &wanted)?;
    for check in drifted {
        check.examples = examples
            .get(&check.group.source, &check.group.language)
            .cloned()
            .unwrap_or_default();
    }
    Ok(())
}

/// True if a gate was exceeded.
fn is_drift(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Warn | Verdict::Fail)
}
