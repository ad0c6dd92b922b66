//! `curate diff` compares two runs: their settings, the documents that the second one won and lost,
//! how scores moved, and what both are worth.

mod join;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use curate_formats::numbers::grouped;
use curate_schemas::report::Report;
use curate_schemas::stages::{ngram::NGRAM, quality::QUALITY, score::SCORE};
use curate_schemas::tables::{self, measure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use serde_json::{Value, json};

use super::document::Committed;
use super::show::{Paint, json_line, number};
use crate::report;
use join::{Compared, Group, Joined, Movement, join};
use settings::{Setting, settings};

/// The most input files that are named.
const INPUTS_SHOWN: usize = 5;

/// The arguments of `curate diff`.
#[derive(Debug, Args)]
pub struct Request {
    /// The run directory to compare with
    #[arg(value_name = "RUN_A")]
    one: PathBuf,
    /// The run directory that is compared
    #[arg(value_name = "RUN_B")]
    other: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints how two runs differ.
///
/// # Errors
/// Exit 2 if a path is not a run directory or has no documents. If a file cannot be read.
pub fn print(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    let runs = [RunDir::open(&request.one)?, RunDir::open(&request.other)?];
    let committed = [Committed::of(&runs[0])?, Committed::of(&runs[1])?];
    let both = [&committed[0], &committed[1]];

    let compared = compared(both);
    let difference = Diff {
        names: [runs[0].name()?, runs[1].name()?],
        stages: stages(both),
        settings: settings(&runs)?,
        joined: join(both, &compared)?,
        reports: [report::of_run(&runs[0])?, report::of_run(&runs[1])?],
        compared,
    };
    match request.json {
        true => writeln!(out, "{}", json_line(&difference.to_json()))?,
        false => difference.print(request, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The differences of two runs.
struct Diff {
    /// Names of the runs.
    names: [String; 2],
    /// Documents that each stage kept, in the order of the stages. `None` without a commit.
    stages: Vec<(&'static str, [Option<u64>; 2])>,
    /// What differs in the keys of each stage, in words.
    settings: Vec<(String, Vec<Setting>)>,
    joined: Joined,
    reports: [Report; 2],
    compared: Compared,
}

/// The documents that each stage kept.
fn stages(runs: [&Committed; 2]) -> Vec<(&'static str, [Option<u64>; 2])> {
    let names = curate_schemas::stages::aligned().map(|spec| spec.name);
    let kept = names.map(|name| {
        let kept = runs.map(|run| Some(run.commit(name)?.counts.docs.kept));
        (name, kept)
    });
    kept.filter(|(_, kept)| kept.iter().any(Option::is_some))
        .collect()
}

/// What both runs have: stages that remove documents, and numbers of model scores and q.
fn compared(runs: [&Committed; 2]) -> Compared {
    let has = |name: &str| runs.iter().all(|run| run.commit(name).is_some());
    let removing = curate_schemas::stages::aligned();
    let removing = removing.filter(|spec| spec.may_remove() && has(spec.name));

    let mut measures = Vec::new();
    for table in [QUALITY.name, SCORE.name, NGRAM.name] {
        let columns = tables::table(table)
            .map(|table| table.columns)
            .unwrap_or_default();
        for column in columns.iter().filter(|_| has(table)) {
            let is_number = column.data_type.is_numeric();
            let name = format!("{table}.{}", column.name);
            measures.extend(measure(&name).filter(|_| is_number));
        }
    }
    Compared {
        removing: removing.map(|spec| spec.name).collect(),
        measures,
    }
}

impl Diff {
    /// Prints the differences for people.
    fn print(&self, request: &Request, out: &mut impl Write) -> Result<()> {
        let paint = Paint::of_stdout();
        let paths = [&request.one, &request.other].map(|path| printable(&path.to_string_lossy()));
        for (letter, (name, path)) in ["A", "B"].iter().zip(self.names.iter().zip(paths)) {
            writeln!(out, "{letter}  {path} ({})", printable(name))?;
        }
        self.print_worth(paint, out)?;
        self.print_settings(paint, out)?;
        self.print_documents(paint, out)?;
        self.print_scores(paint, out)?;
        Ok(())
    }

    /// Prints the funnels and D_eff side by side.
    fn print_worth(&self, paint: Paint, out: &mut impl Write) -> Result<()> {
        let head = format!(
            "{:<26}{:>16}{:>16}{:>16}",
            "kept documents", "A", "B", "B - A"
        );
        writeln!(out, "\n{}", paint.heading(&head))?;
        for (name, kept) in &self.stages {
            let kept = kept.map(|kept| kept.map(|kept| kept as f64));
            print_pair(name, kept, whole, out)?;
        }

        let head = format!("{:<26}{:>16}{:>16}{:>16}", "worth", "A", "B", "B - A");
        writeln!(out, "\n{}", paint.heading(&head))?;
        let pools = [0, 1].map(|run| self.reports[run].pool.as_ref());
        print_pair(
            "pool tokens",
            pools.map(|pool| Some(pool?.tokens as f64)),
            whole,
            out,
        )?;
        print_pair("pool q", pools.map(|pool| Some(pool?.q)), number, out)?;
        print_pair(
            "pool D_eff",
            pools.map(|pool| Some(pool?.d_eff)),
            whole,
            out,
        )?;
        for name in self.mixtures() {
            let name = name.as_str();
            let mixtures = [0, 1].map(|run| {
                let mut mixtures = self.reports[run].mixtures.iter();
                mixtures.find(|mixture| mixture.name == name)
            });
            let line = |what: &str| printable(&format!("{name} {what}"));
            let tokens = mixtures.map(|mixture| Some(mixture?.tokens as f64));
            print_pair(&line("tokens"), tokens, whole, out)?;
            let d_eff = mixtures.map(|mixture| Some(mixture?.d_eff));
            print_pair(&line("D_eff"), d_eff, whole, out)?;
        }
        for (letter, report) in ["A", "B"].iter().zip(&self.reports) {
            let q = match &report.calibration {
                Some(calibration) => report::worth::sentence(calibration),
                None => "q is uncalibrated".to_owned(),
            };
            writeln!(out, "  {letter}: {q}")?;
        }
        Ok(())
    }

    /// Names of the mixtures of both runs.
    fn mixtures(&self) -> BTreeSet<String> {
        let mixtures = self.reports.iter().flat_map(|report| &report.mixtures);
        mixtures.map(|mixture| mixture.name.clone()).collect()
    }

    /// Prints the settings that differ.
    fn print_settings(&self, paint: Paint, out: &mut impl Write) -> Result<()> {
        if self.settings.is_empty() {
            writeln!(out, "\n{}", paint.heading("settings: no difference"))?;
            return Ok(());
        }
        writeln!(out, "\n{}", paint.heading("settings"))?;
        for (stage, settings) in &self.settings {
            let is_input = |setting: &&Setting| setting.path.starts_with("input ");
            let inputs = settings.iter().filter(is_input).count();
            let mut shown = 0;
            for setting in settings {
                if is_input(&setting) {
                    shown += 1;
                    if shown > INPUTS_SHOWN {
                        continue;
                    }
                }
                let [one, other] = &setting.values;
                let line = match (one, other) {
                    (Value::Null, Value::Null) => format!("{stage}: {} differs", setting.path),
                    (one, other) => format!("{stage}: {} {one} → {other}", setting.path),
                };
                writeln!(out, "  {}", printable(&line))?;
            }
            if inputs > INPUTS_SHOWN {
                writeln!(
                    out,
                    "  {stage}: and {} more input files",
                    inputs - INPUTS_SHOWN
                )?;
            }
        }
        Ok(())
    }

    /// Prints the documents that were won and lost.
    fn print_documents(&self, paint: Paint, out: &mut impl Write) -> Result<()> {
        let Joined { both, only, .. } = &self.joined;
        writeln!(out, "\n{}", paint.heading("documents"))?;
        writeln!(out, "  {} are in both runs", grouped(*both))?;
        for (letter, only) in ["A", "B"].iter().zip(only) {
            let sources = only.iter();
            let sources = sources.map(|(source, n)| format!("{source} {}", grouped(*n)));
            let sources = sources.collect::<Vec<_>>().join(", ");
            let n = grouped(only.values().sum());
            let of = if sources.is_empty() {
                String::new()
            } else {
                format!(": {sources}")
            };
            writeln!(out, "  {n} are in {letter} only{}", printable(&of))?;
        }
        if let Some(name) = self.unshared() {
            writeln!(
                out,
                "  only stages that both runs have are compared; {name} is in one run"
            )?;
        }

        let moved = [
            ("won: B kept them, A removed them by", &self.joined.won),
            ("lost: A kept them, B removed them by", &self.joined.lost),
        ];
        for (title, rules) in moved {
            let n: u64 = rules
                .values()
                .flat_map(BTreeMap::values)
                .map(|group| group.documents)
                .sum();
            writeln!(out, "\n  {} {title}", paint.heading(&grouped(n)))?;
            for (rule, sources) in rules {
                let n: u64 = sources.values().map(|group| group.documents).sum();
                let by_source = sources
                    .iter()
                    .map(|(source, group)| format!("{source} {}", grouped(group.documents)));
                let by_source = by_source.collect::<Vec<_>>().join(", ");
                let line = format!("    {rule:<36}{:>8}  {by_source}", grouped(n));
                writeln!(out, "{}", printable(&line))?;
                writeln!(out, "      {}", examples(sources.values()))?;
            }
        }

        if !self.joined.other_rule.is_empty() {
            writeln!(out, "\n  removed in both, for another reason in B")?;
        }
        for ((before, after), group) in &self.joined.other_rule {
            let line = format!("    {before} → {after}  {}", grouped(group.documents));
            writeln!(out, "{}", printable(&line))?;
        }
        Ok(())
    }

    /// The first stage that removes documents and that one run lacks.
    fn unshared(&self) -> Option<&'static str> {
        let mut stages = self.stages.iter();
        let found = stages.find(|(name, kept)| {
            let spec = curate_schemas::stages::stage(name);
            spec.is_some_and(|spec| spec.may_remove()) && kept.iter().any(Option::is_none)
        });
        found.map(|(name, _)| *name)
    }

    /// Prints how scores moved.
    fn print_scores(&self, paint: Paint, out: &mut impl Write) -> Result<()> {
        let has_values =
            |movement: &Movement| movement.both + movement.only[0] + movement.only[1] > 0;
        let head = format!(
            "{:<22}{:>10}{:>10}{:>10}{:>10}{:>13}{:>13}",
            "scores", "in both", "changed", "only A", "only B", "mean", "mean size"
        );
        writeln!(out, "\n{}", paint.heading(&head))?;
        let movements = self.compared.measures.iter().zip(&self.joined.movements);
        for (measure, movement) in movements.filter(|(_, movement)| has_values(movement)) {
            let counts = [
                movement.both,
                movement.changed,
                movement.only[0],
                movement.only[1],
            ];
            let [both, changed, only_a, only_b] = counts.map(grouped);
            writeln!(
                out,
                "{:<22}{both:>10}{changed:>10}{only_a:>10}{only_b:>10}{:>13}{:>13}",
                measure.name(),
                number(movement.mean()),
                number(movement.mean_absolute())
            )?;
            for (doc_id, one, other) in &movement.largest {
                writeln!(out, "    {doc_id}  {} → {}", number(*one), number(*other))?;
            }
        }
        Ok(())
    }

    /// The differences for programs.
    fn to_json(&self) -> Value {
        let worth = |report: &Report| json!({ "pool": report.pool, "mixtures": report.mixtures, "calibration": report.calibration });
        let rules = |rules: &BTreeMap<String, BTreeMap<String, Group>>| -> Value {
            let rules = rules.iter().map(|(rule, sources)| {
                let sources = sources.iter();
                let sources = sources.map(|(source, group)| (source.clone(), of_group(group)));
                (rule.clone(), sources.collect::<Value>())
            });
            rules.collect()
        };
        let settings = self.settings.iter().map(|(stage, settings)| {
            let settings = settings.iter().map(
                |Setting {
                     path,
                     values: [one, other],
                 }| { json!({ "path": path, "a": one, "b": other }) },
            );
            (stage.clone(), settings.collect::<Value>())
        });
        let other_rule = self.joined.other_rule.iter().map(|((before, after), group)| {
            json!({ "a": before, "b": after, "documents": group.documents, "examples": group.examples })
        });
        let movements = self.compared.measures.iter().zip(&self.joined.movements);
        let scores = movements.map(|(measure, movement)| {
            let largest = movement.largest.iter();
            let largest =
                largest.map(|(id, one, other)| json!({ "doc_id": id, "a": one, "b": other }));
            let value = json!({
                "both": movement.both,
                "changed": movement.changed,
                "only_a": movement.only[0],
                "only_b": movement.only[1],
                "mean": movement.mean(),
                "mean_absolute": movement.mean_absolute(),
                "largest": largest.collect::<Value>(),
            });
            (measure.name(), value)
        });
        let stages = self
            .stages
            .iter()
            .map(|(name, [one, other])| json!({ "stage": name, "a": one, "b": other }));

        json!({
            "a": worth(&self.reports[0]),
            "b": worth(&self.reports[1]),
            "kept": stages.collect::<Value>(),
            "settings": settings.collect::<Value>(),
            "both": self.joined.both,
            "only_a": self.joined.only[0],
            "only_b": self.joined.only[1],
            "won": rules(&self.joined.won),
            "lost": rules(&self.joined.lost),
            "other_rule": other_rule.collect::<Value>(),
            "scores": scores.collect::<Value>(),
        })
    }
}

/// A group for programs.
fn of_group(group: &Group) -> Value {
    json!({ "documents": group.documents, "examples": group.examples })
}

/// The least `doc_id`s of some groups.
fn examples<'g>(groups: impl Iterator<Item = &'g Group>) -> String {
    let ids: BTreeSet<&String> = groups.flat_map(|group| &group.examples).collect();
    let ids: Vec<&str> = ids.into_iter().take(2).map(String::as_str).collect();
    ids.join(" ")
}

/// A whole number with its digits in groups.
fn whole(value: f64) -> String {
    let digits = grouped(value.abs().round() as u64);
    if value < 0.0 && digits != "0" {
        return format!("-{digits}");
    }
    digits
}

/// Prints two figures side by side, and how much greater the second one is.
fn print_pair(
    name: &str,
    values: [Option<f64>; 2],
    shown: fn(f64) -> String,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let [one, other] = values.map(|value| value.map_or("-".to_owned(), shown));
    let difference = match values {
        [Some(one), Some(other)] => shown(other - one),
        _ => "-".to_owned(),
    };
    writeln!(out, "{name:<26}{one:>16}{other:>16}{difference:>16}")
}
