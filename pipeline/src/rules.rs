//! `curate rules`: every rule, one of them in full, or how far the profiles agree on the documents
//! of a run.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, UInt32Type};
use curate_schemas::manifest::{
    Absent, C4, C4Paragraphs, Filter, FineWeb, GopherQuality, GopherRepetition, KEYS, Profile,
};
use curate_stages::rules::{
    FAMILIES, Fails, Judged, OTHER_REMOVALS, RULES, Rule, Signal, Threshold, V1,
};

use crate::error::{Exit, Failure};
use crate::manifest::closest;
use crate::run_dir::RunDir;
use crate::zip::{Zip, part};

/// Prints every rule, a line each, in the order in which the first failing one is named.
///
/// # Errors
/// If `out` cannot be written.
pub fn list(out: &mut impl Write) -> Result<ExitCode> {
    writeln!(out, "{:<40}{:<12}{:<18}datatrove", "rule", "fails", "unit")?;
    let (before, after): (Vec<_>, Vec<_>) = OTHER_REMOVALS
        .iter()
        .partition(|(name, _)| name.starts_with("language."));
    other(&before, out)?;
    for rule in RULES {
        let fails = format!(
            "{} {}",
            rule.fails.symbol(),
            default_of(rule).unwrap_or_default()
        );
        let line = format!(
            "{:<40}{:<12}{:<18}{}",
            rule.full_name(),
            fails.trim_end(),
            rule.unit,
            rule.datatrove
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    other(&after, out)?;
    writeln!(
        out,
        "\ncurate rules NAME explains one; values are columns of the table signals, verdicts of filter"
    )?;
    Ok(ExitCode::SUCCESS)
}

fn other(removals: &[&(&str, &str)], out: &mut impl Write) -> std::io::Result<()> {
    removals
        .iter()
        .try_for_each(|(name, doc)| writeln!(out, "{name:<40}{doc}"))
}

/// Prints all there is to know of one rule.
///
/// # Errors
/// Exit 2 if there is no such rule.
pub fn explain(name: &str, out: &mut impl Write) -> Result<ExitCode> {
    if let Some((name, doc)) = OTHER_REMOVALS.iter().find(|(other, _)| *other == name) {
        writeln!(out, "{name}: {doc}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(rule) = RULES.iter().find(|rule| rule.full_name() == name) else {
        let mut names: Vec<String> = RULES.iter().map(Rule::full_name).collect();
        names.extend(OTHER_REMOVALS.iter().map(|(name, _)| (*name).to_owned()));
        let near = closest(name, names.iter().map(String::as_str))
            .map(|near| format!("did you mean {near}?"));
        let hint = near.unwrap_or_else(|| "curate rules lists them".to_owned());
        return Err(
            Failure::new(Exit::Usage, format!("there is no rule \"{name}\""))
                .hint(hint)
                .into(),
        );
    };
    let family = FAMILIES
        .iter()
        .find(|family| family.name == rule.family)
        .context("a rule has a family")?;
    writeln!(out, "{}", rule.full_name())?;
    let mut line = |title: &str, text: &str| match text.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  {title:<12}{text}"),
    };
    line("paper", family.paper)?;
    line("value", rule.formula)?;
    line("unit", rule.unit)?;
    line("column", &column(rule))?;
    let default = default_of(rule).unwrap_or_default();
    line(
        "fails",
        format!("{} {default}", rule.fails.symbol()).trim_end(),
    )?;
    match rule.threshold {
        Threshold::Key(key) => line("key", &format!("filter.{}.{key}", rule.family))?,
        Threshold::Switch(key) => line(
            "key",
            &format!("filter.{}.{key} switches it on", rule.family),
        )?,
        Threshold::Fixed(_) => {}
    }
    line("datatrove", rule.datatrove)?;
    line("departs", family.departs)?;
    match rule.v1 {
        V1::Same => {}
        V1::Other(field, fails) => {
            let was = format!(
                "fineweb-v1-lines: fails where signals.{}.{field} {} it",
                rule.family,
                fails.symbol()
            );
            line("profile", &was)?;
        }
        V1::None => line("profile", "fineweb-v1-lines: there was no such rule")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn column(rule: &Rule) -> String {
    match rule.signal {
        Signal::Field(field) => format!("signals.{}.{field}", rule.family),
        Signal::Of(family, field) => format!("signals.{family}.{field}"),
        Signal::Column(column) => format!("signals.{column}"),
        Signal::Own(column) => format!("filter.{column}"),
    }
}

/// The rule's threshold where the manifest has no other.
fn default_of(rule: &Rule) -> Option<String> {
    match rule.threshold {
        Threshold::Fixed(threshold) => Some(threshold.to_string()),
        Threshold::Switch(_) => None,
        Threshold::Key(key) => {
            let path = format!("filter.{}.{key}", rule.family);
            match KEYS.iter().find(|key| key.path == path)?.absent {
                Absent::Default(default) => Some(default.to_owned()),
                Absent::Refused(_) | Absent::Nothing(_) | Absent::OneOf(_) => None,
            }
        }
    }
}

/// The profiles, by name.
const PROFILES: [(&str, Profile); 2] = [
    ("datatrove-0.10", Profile::Datatrove010),
    ("fineweb-v1-lines", Profile::FineWebV1Lines),
];

/// The families that are compared: those whose values every run has.
const COMPARED: [&str; 5] = [
    "gopher_repetition",
    "gopher_quality",
    "c4",
    "c4_paragraphs",
    "fineweb",
];

/// Prints how many documents of a run each family passes under each profile, with default
/// thresholds, and on how many the profiles agree: a table in Markdown. Reads `signals`, no text.
///
/// # Errors
/// If the run has no `signals`.
pub fn agreement(root: &Path, out: &mut impl Write) -> Result<ExitCode> {
    let run = RunDir::open(root)?;
    let refuse = |what: &str, hint: &str| {
        Failure::new(Exit::Usage, format!("{}: {what}", root.display())).hint(hint)
    };
    if run.commit("signals")?.is_none() {
        return Err(refuse(
            "it has no signals",
            "run the manifest, with --until signals at least",
        )
        .into());
    }
    let c4 = run.manifest()?.filter.c4.unwrap_or_default();
    let lines = C4 {
        min_sentences: 0,
        lorem_ipsum: true,
        curly_bracket: true,
        ..c4
    };
    if run.manifest()?.filter.rewrites()
        || lines
            != (C4 {
                min_sentences: 0,
                ..C4::default()
            })
    {
        let hint = "run it without rewrite and with C4's line settings as they come";
        return Err(refuse(
            "its signals were made with other line settings than the profiles'",
            hint,
        )
        .into());
    }
    let mut table = Agreement::default();
    for files in &run.shard_files()? {
        let mut columns = vec!["reached"];
        columns.extend(COMPARED.iter().filter(|family| **family != "c4_paragraphs"));
        for batch in Zip::open(&[part(files, "signals", &columns)?])? {
            table.add(&batch?)?;
        }
    }
    table.print(out)?;
    Ok(ExitCode::SUCCESS)
}

/// Counts of documents. `passed[profile][family]`, `agreed[family]`; the last family is all of
/// them.
#[derive(Default)]
struct Agreement {
    documents: u64,
    passed: [[u64; COMPARED.len() + 1]; PROFILES.len()],
    agreed: [u64; COMPARED.len() + 1],
}

impl Agreement {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let reached = batch
            .column_by_name("signals.reached")
            .context("reached was not read")?
            .as_boolean();
        let mut failed = Vec::new();
        for (_, profile) in PROFILES {
            failed.push(failed_families(batch, profile)?);
        }
        for row in (0..batch.num_rows()).filter(|&row| reached.value(row)) {
            self.documents += 1;
            for family in 0..=COMPARED.len() {
                let fails = |of: &[Vec<bool>; COMPARED.len()]| match of.get(family) {
                    Some(rows) => rows[row],
                    None => of.iter().any(|rows| rows[row]),
                };
                for (passed, of) in self.passed.iter_mut().zip(&failed) {
                    passed[family] += u64::from(!fails(of));
                }
                self.agreed[family] += u64::from(fails(&failed[0]) == fails(&failed[1]));
            }
        }
        Ok(())
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let share = |n: u64| format!("{:.4}", n as f64 / self.documents.max(1) as f64);
        writeln!(
            out,
            "{} documents; share that passes, default thresholds\n",
            self.documents
        )?;
        writeln!(
            out,
            "| family | {} | {} | agree |\n|---|---|---|---|",
            PROFILES[0].0, PROFILES[1].0
        )?;
        for family in 0..=COMPARED.len() {
            let name = COMPARED.get(family).copied().unwrap_or("all of them");
            let [first, second] = [0, 1].map(|profile| share(self.passed[profile][family]));
            writeln!(
                out,
                "| `{name}` | {first} | {second} | {} |",
                share(self.agreed[family])
            )?;
        }
        Ok(())
    }
}

/// For each family of [`COMPARED`], which rows fail one of its rules.
fn failed_families(batch: &RecordBatch, profile: Profile) -> Result<[Vec<bool>; COMPARED.len()]> {
    let filter = Filter {
        profile,
        gopher_repetition: Some(GopherRepetition::default()),
        gopher_quality: Some(GopherQuality::default()),
        c4: Some(C4::default()),
        c4_paragraphs: Some(C4Paragraphs { min_line_len: 200 }),
        fineweb: Some(FineWeb::default()),
        ..Filter::default()
    };
    let mut failed = [(); COMPARED.len()].map(|()| vec![false; batch.num_rows()]);
    for rule in RULES {
        let (Some(family), Some(judged)) = (
            COMPARED.iter().position(|name| *name == rule.family),
            rule.judged(&filter),
        ) else {
            continue;
        };
        let values = values(batch, rule, judged)?;
        for (row, failed) in failed[family].iter_mut().enumerate() {
            *failed |= fails(&values, row, judged)?;
        }
    }
    Ok(failed)
}

fn values(batch: &RecordBatch, rule: &Rule, judged: Judged) -> Result<ArrayRef> {
    let (family, field) = match judged.signal {
        Signal::Of(family, field) => (family, field),
        signal => (rule.family, signal.name()),
    };
    let group = batch
        .column_by_name(&format!("signals.{family}"))
        .context("a family was not read")?;
    group
        .as_struct()
        .column_by_name(field)
        .cloned()
        .with_context(|| format!("signals has no {family}.{field}"))
}

fn fails(values: &ArrayRef, row: usize, judged: Judged) -> Result<bool> {
    let value = match values.data_type() {
        DataType::UInt32 => f64::from(values.as_primitive::<UInt32Type>().value(row)),
        DataType::Float64 => values.as_primitive::<Float64Type>().value(row),
        DataType::Boolean => f64::from(u8::from(values.as_boolean().value(row))),
        other => anyhow::bail!("a rule looks at a column of type {other}"),
    };
    Ok(match judged.fails {
        Fails::Below => value < judged.threshold,
        Fails::Above | Fails::Set => value > judged.threshold,
        Fails::AtMost => value <= judged.threshold,
        Fails::AtLeast => value >= judged.threshold,
        Fails::Listed => values.is_valid(row),
    })
}
