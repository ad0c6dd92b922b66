//! The threshold of a rule, and the documents closest to it on both sides.

use std::io::Write;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray};
use curate_schemas::rules::{Fails, Judged, Rule, rules};
use curate_schemas::stages::filter::FILTER;
use curate_schemas::stages::language::LANGUAGE;
use curate_schemas::stages::quality::{QUALITY, Quality};
use curate_schemas::tables::{Measure, measure};
use curate_stages::quality::values::values;
use curate_store::failure::{Exit, Failure};
use curate_store::terminal::printable;
use curate_store::zip::Zip;

use super::super::document::{At, Committed, config_of, judging};
use super::card::{Printer, Side};
use super::{Least, Request, documents};
use crate::manifest::closest;

/// A rule that compares a value with one threshold or two.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The reason for a removal.
    pub rule: String,
    /// The key of the manifest that sets the threshold; empty for a veto, which has no key of its
    /// own.
    key: String,
    /// The stage that judges the documents that reach it.
    stage: &'static str,
    /// The value that is compared.
    pub measure: Measure,
    /// The sides that fail, each with its threshold.
    sides: Vec<(Fails, f64)>,
}

impl Edge {
    /// The edge of a rule of `filter`. `None` for a flag or a list.
    pub fn of_rule((rule, judged): (&'static Rule, Judged)) -> Option<Edge> {
        if matches!(judged.fails, Fails::Set | Fails::Listed) {
            return None;
        }
        let key = rule.key.map(|key| format!("filter.{}.{key}", rule.family));
        Some(Edge {
            rule: rule.full_name(),
            key: key.unwrap_or_default(),
            stage: FILTER.name,
            measure: measure(&rule.path(judged.value))?,
            sides: vec![(judged.fails, judged.threshold)],
        })
    }

    /// The edge of the rule that `name` names: a rule, or the key that sets its threshold.
    ///
    /// # Errors
    /// Exit 2 if no such rule judged documents of the run, or if the rule has no threshold.
    pub fn of(committed: &Committed, name: &str) -> Result<Edge> {
        let mut edges = all(committed)?;
        // Some edges have no key.
        let is_named = |edge: &Edge| edge.rule == name || !name.is_empty() && edge.key == name;
        if let Some(at) = edges.iter().position(is_named) {
            return Ok(edges.swap_remove(at));
        }

        let mut known = rules();
        let is_rule = known.any(|rule| {
            let key = rule.key.map(|key| format!("filter.{}.{key}", rule.family));
            rule.full_name() == name || key.as_deref() == Some(name)
        });
        let message = match is_rule {
            true => format!("{name} has no threshold that judged documents of this run"),
            false => format!(
                "there is no rule or key \"{}\" with a threshold",
                printable(name)
            ),
        };
        let names = edges
            .iter()
            .flat_map(|edge| [edge.rule.as_str(), edge.key.as_str()]);
        let hint = match closest(name, names.filter(|name| !name.is_empty())) {
            Some(near) if near != name => format!("did you mean {near}?"),
            _ if edges.is_empty() => "no rule with a threshold has judged this run yet".to_owned(),
            _ => {
                let rules: Vec<&str> = edges.iter().map(|edge| edge.rule.as_str()).collect();
                format!("rules with a threshold in this run: {}", rules.join(", "))
            }
        };
        Err(Failure::new(Exit::Usage, message)
            .hint(printable(&hint))
            .into())
    }

    /// True if a document with this value fails.
    fn is_failed_by(&self, value: f64) -> bool {
        self.sides
            .iter()
            .any(|(side, threshold)| side.is_failed_by(value, *threshold))
    }

    /// The threshold that is closest to a value.
    pub fn nearest(&self, value: f64) -> f64 {
        let thresholds = self.sides.iter().map(|(_, threshold)| *threshold);
        let nearest = thresholds.min_by(|a, b| (a - value).abs().total_cmp(&(b - value).abs()));
        nearest.unwrap_or(f64::NAN)
    }

    /// The values that fail, as in `< 50`.
    pub fn condition(&self) -> String {
        let sides = self.sides.iter();
        let sides = sides.map(|(side, threshold)| format!("{} {threshold}", side.symbol()));
        sides.collect::<Vec<_>>().join(" or ")
    }
}

/// Every rule with a threshold that judged documents of a run.
fn all(committed: &Committed) -> Result<Vec<Edge>> {
    let mut edges = Vec::new();

    if let Some(commit) = committed.commit(LANGUAGE.name)
        && let Some(least) = config_of(commit)["min_confidence"].as_f64()
    {
        edges.push(Edge {
            rule: "language.low_confidence".to_owned(),
            key: "language.min_confidence".to_owned(),
            stage: LANGUAGE.name,
            measure: measure("language.confidence").context("language has a confidence")?,
            sides: vec![(Fails::Below, least)],
        });
    }
    if let Some(commit) = committed.commit(FILTER.name) {
        edges.extend(judging(commit)?.into_iter().filter_map(Edge::of_rule));
    }
    if let Some(commit) = committed.commit(QUALITY.name) {
        let settings = config_of(commit)["quality"].take();
        let quality: Quality = serde_json::from_value(settings).unwrap_or_default();
        for veto in quality.veto {
            let below = veto.below.map(|least| (Fails::Below, least));
            let above = veto.above.map(|most| (Fails::Above, most));
            let Some(measure) = measure(&veto.column) else {
                continue;
            };
            edges.push(Edge {
                rule: format!("veto.{}", veto.column),
                key: String::new(),
                stage: QUALITY.name,
                measure,
                sides: below.into_iter().chain(above).collect(),
            });
        }
    }
    Ok(edges)
}

/// A document beside the threshold.
struct Found {
    at: At,
    value: f64,
}

/// Prints the documents closest to a threshold, first those that pass, then those that fail.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn print<W: Write>(
    committed: &Committed,
    shards: &[usize],
    edge: &Edge,
    request: &Request,
    printer: &mut Printer<'_, W>,
) -> Result<()> {
    let mut sides = [Least::new(request.n), Least::new(request.n)];
    let (mut counts, mut without) = ([0u64; 2], 0u64);
    for shard in shards {
        scan(committed, *shard, edge, |id, at, value| {
            let Some(value) = value else {
                without += 1;
                return;
            };
            let fails = edge.is_failed_by(value);
            let distance = (value - edge.nearest(value)).abs();
            counts[usize::from(fails)] += 1;
            // Distances are not negative, so their bits have the order of their values.
            sides[usize::from(fails)].offer(distance.to_bits(), id, || Found { at, value });
        })?;
    }

    let [passing, failing] = counts;
    printer.title(&format!(
        "{} (fails {}): {} that reached {} pass, {} fail, {} have no value",
        edge.rule,
        edge.condition(),
        documents(passing),
        edge.stage,
        documents(failing),
        documents(without)
    ))?;
    let mut number = 0;
    for (side, fails) in sides.into_iter().zip([false, true]) {
        let n = side.len();
        match fails {
            false => printer.title(&format!("\njust inside: the {n} nearest that pass"))?,
            true => printer.title(&format!("\njust outside: the {n} nearest that fail"))?,
        }
        for Found { at, value } in side.into_values() {
            number += 1;
            printer.document(number, at, Some(Side { edge, value, fails }))?;
        }
    }
    Ok(())
}

/// Calls `each` with every document of a shard that reached the stage, and its value, if it has one.
fn scan(
    committed: &Committed,
    shard: usize,
    edge: &Edge,
    mut each: impl FnMut(&str, At, Option<f64>),
) -> Result<()> {
    let Measure { table, column, .. } = &edge.measure;
    let mut parts = vec![committed.part(edge.stage, shard, &["doc_id", "reached"])?];
    let reached = format!("{}.reached", edge.stage);
    if *table == edge.stage {
        parts = vec![committed.part(table, shard, &["doc_id", "reached", *column])?];
    } else {
        parts.push(committed.part(table, shard, &[*column])?);
    }

    let mut first = 0;
    for batch in Zip::open(&parts)? {
        let batch = batch?;
        let ids = batch.column(0).as_string::<i32>();
        let reached = batch
            .column_by_name(&reached)
            .context("it was read")?
            .as_boolean();
        let values = values(&batch, &edge.measure)?;
        for row in (0..batch.num_rows()).filter(|&row| reached.value(row)) {
            let value = values.is_valid(row).then(|| values.value(row));
            let at = At {
                shard,
                row: first + row,
            };
            each(ids.value(row), at, value.filter(|value| !value.is_nan()));
        }
        first += batch.num_rows();
    }
    Ok(())
}
