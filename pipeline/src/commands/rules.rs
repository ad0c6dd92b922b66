//! `curate rules` lists all rules, explains one rule, or prints on how many documents of a run the
//! profiles agree.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, UInt32Type};
use curate_schemas::rules::{
    C4Rules, FAMILIES, Fails, Family, FineWebRules, GopherQualityRules, GopherRepetitionRules,
    Judged, ParagraphRules, Rule, Signal, V1, rules,
};
use curate_schemas::spec::Removal;
use curate_schemas::stages::filter::{Filter, Profile};
use curate_schemas::stages::{STAGES, filter::FILTER};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::zip::{Zip, part};

use crate::manifest::closest;

/// Prints a line for each rule. The order of the lines is the order of precedence: a removal is
/// named after the first rule that fails.
///
/// # Errors
/// If `out` cannot be written.
pub fn list(out: &mut impl Write) -> Result<ExitCode> {
    writeln!(out, "{:<40}{:<12}{:<18}datatrove", "rule", "fails", "unit")?;

    // Other stages than `filter` have reasons for removal without a threshold.
    for stage in STAGES {
        for Removal { name, doc } in stage.removals {
            writeln!(out, "{name:<40}{doc}")?;
        }
        if stage.name == FILTER.name {
            for rule in rules() {
                writeln!(out, "{}", line(rule))?;
            }
        }
    }

    writeln!(
        out,
        "\ncurate rules NAME explains one; values are columns of the table signals, verdicts of filter"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The line of a rule: its name, the side that fails with the threshold, the unit, and the name in
/// datatrove.
fn line(rule: &Rule) -> String {
    let line = format!(
        "{:<40}{:<12}{:<18}{}",
        rule.full_name(),
        fails_where(rule),
        unit(rule),
        rule.datatrove
    );
    line.trim_end().to_owned()
}

/// The side that fails, with the default threshold.
fn fails_where(rule: &Rule) -> String {
    let threshold = threshold(rule).unwrap_or_default();
    format!("{} {threshold}", rule.fails.symbol())
        .trim_end()
        .to_owned()
}

/// The unit of the value that a rule judges. A float without a unit is a share.
fn unit(rule: &Rule) -> &'static str {
    let column = rule.column();
    match column.unit {
        "" if column.data_type == DataType::Float64 => "share",
        unit => unit,
    }
}

/// The default threshold of a rule. `None` if the rule has no number.
fn threshold(rule: &Rule) -> Option<String> {
    match (rule.fails, rule.key) {
        (Fails::Set | Fails::Listed, _) => None,
        // A rule without a key is on whenever its family is, and its threshold is part of the rule.
        (_, None) => Some(
            rule.judged(&every_family(Profile::Datatrove010))?
                .threshold
                .to_string(),
        ),
        (_, Some(key)) => Some(family(rule)?.section.key(key)?.default()?.to_string()),
    }
}

/// The family that a rule belongs to.
fn family(rule: &Rule) -> Option<&'static Family> {
    FAMILIES
        .iter()
        .copied()
        .find(|family| family.name == rule.family)
}

/// Prints everything about one rule: its paper, value, unit, threshold, key and profile.
///
/// # Errors
/// Exit 2 if no rule is called `name`.
pub fn explain(name: &str, out: &mut impl Write) -> Result<ExitCode> {
    // Reasons of other stages than `filter` have a sentence and nothing else.
    let mut removals = STAGES.iter().flat_map(|stage| stage.removals);
    if let Some(Removal { name, doc }) = removals.find(|removal| removal.name == name) {
        writeln!(out, "{name}: {doc}")?;
        return Ok(ExitCode::SUCCESS);
    }

    let Some(rule) = rules().find(|rule| rule.full_name() == name) else {
        return Err(unknown(name).into());
    };
    let family = family(rule).context("a rule has a family")?;

    // A rule without a number has a key that is true or false.
    let key = rule.key.map(|key| format!("filter.{}.{key}", rule.family));
    let is_switch = matches!(rule.fails, Fails::Set | Fails::Listed);
    let key = match key {
        Some(key) if is_switch => format!("{key} switches it on"),
        key => key.unwrap_or_default(),
    };
    // `fineweb-v1-lines` reads some rules in another way, and lacks others.
    let profile = match rule.v1 {
        V1::Same => String::new(),
        V1::Other(field, fails) => {
            let path = rule.path(Signal::Field(field));
            format!("fineweb-v1-lines: fails where {path} {} it", fails.symbol())
        }
        V1::None => "fineweb-v1-lines: there was no such rule".to_owned(),
    };
    let lines = [
        ("paper", family.paper.to_owned()),
        ("value", rule.column().doc.to_owned()),
        ("unit", unit(rule).to_owned()),
        ("column", rule.path(rule.value)),
        ("fails", fails_where(rule)),
        ("key", key),
        ("datatrove", rule.datatrove.to_owned()),
        ("departs", family.departs.to_owned()),
        ("profile", profile),
    ];

    writeln!(out, "{}", rule.full_name())?;
    for (title, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        writeln!(out, "  {title:<12}{text}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The failure for a name that no rule has.
fn unknown(name: &str) -> Failure {
    // A name may be a rule's, or a reason of a stage other than `filter`.
    let mut names: Vec<String> = rules().map(Rule::full_name).collect();
    let removals = STAGES.iter().flat_map(|stage| stage.removals);
    names.extend(removals.map(|removal| removal.name.to_owned()));

    let near = closest(name, names.iter().map(String::as_str));
    let hint = near.map_or_else(
        || "curate rules lists them".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    Failure::new(Exit::Usage, format!("there is no rule \"{name}\"")).hint(hint)
}

/// The profiles with the names that the manifest gives them.
const PROFILES: [(&str, Profile); 2] = [
    ("datatrove-0.10", Profile::Datatrove010),
    ("fineweb-v1-lines", Profile::FineWebV1Lines),
];

/// The families that are compared. Their values are computed whichever rules are switched on,
/// unless `signals.values` is `"none"`.
const COMPARED: [&str; 5] = [
    "gopher_repetition",
    "gopher_quality",
    "c4",
    "c4_paragraphs",
    "fineweb",
];

/// Prints a table in Markdown: the share of a run's documents that each family passes under each
/// profile with default thresholds, and the share on which the profiles agree. Only `signals` is
/// read, no text.
///
/// # Errors
/// Exit 2 if the run has no `signals`, or if they were computed with other line settings than the
/// default ones.
pub fn agreement(root: &Path, out: &mut impl Write) -> Result<ExitCode> {
    let run = RunDir::open(root)?;
    let refuse = |what: &str, hint: &str| {
        Failure::new(Exit::Usage, format!("{}: {what}", root.display())).hint(hint)
    };

    if run.commit("signals")?.is_none() {
        return Err(refuse(
            "it has no signals",
            "run the manifest at least up to signals, with --until signals",
        )
        .into());
    }

    // Line settings change the values themselves. These three settings only judge values, so they
    // may differ from the default.
    let c4 = run.manifest()?.filter.c4.unwrap_or_default();
    let lines = C4Rules {
        min_sentences: 0,
        lorem_ipsum: true,
        curly_bracket: true,
        ..c4
    };
    if run.manifest()?.filter.rewrites()
        || lines
            != (C4Rules {
                min_sentences: 0,
                ..C4Rules::default()
            })
    {
        let hint = "run it without rewrite and with the default line settings of C4";
        return Err(refuse(
            "its signals were computed with other line settings than those of the profiles",
            hint,
        )
        .into());
    }

    let mut table = Agreement::default();
    for files in &run.shard_files()? {
        // `c4_paragraphs` has no values of its own: its rules judge values of other families.
        let mut columns = vec!["reached"];
        columns.extend(COMPARED.iter().filter(|family| **family != "c4_paragraphs"));
        for batch in Zip::open(&[part(files, "signals", &columns)?])? {
            table.add(&batch?)?;
        }
    }
    table.print(out)?;
    Ok(ExitCode::SUCCESS)
}

/// Counts of documents: `passed[profile][family]` and `agreed[family]`. One more family at the end
/// stands for all families together.
#[derive(Default)]
struct Agreement {
    documents: u64,
    passed: [[u64; COMPARED.len() + 1]; PROFILES.len()],
    agreed: [u64; COMPARED.len() + 1],
}

impl Agreement {
    /// Counts the rows of a batch that reached `signals`.
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
                // The number behind the last family stands for all families together.
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

    /// Prints the counts as shares of the documents.
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

/// For each family of [`COMPARED`], a value for each row: true if the row fails one of the family's
/// rules.
fn failed_families(batch: &RecordBatch, profile: Profile) -> Result<[Vec<bool>; COMPARED.len()]> {
    let filter = every_family(profile);
    let mut failed = [(); COMPARED.len()].map(|()| vec![false; batch.num_rows()]);

    for rule in rules() {
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

/// The settings of `filter` with every compared family switched on, at its defaults.
fn every_family(profile: Profile) -> Filter {
    Filter {
        profile,
        gopher_repetition: Some(GopherRepetitionRules::default()),
        gopher_quality: Some(GopherQualityRules::default()),
        c4: Some(C4Rules::default()),
        c4_paragraphs: Some(ParagraphRules::default()),
        fineweb: Some(FineWebRules::default()),
        ..Filter::default()
    }
}

/// The column of `signals` that a rule judges.
fn values(batch: &RecordBatch, rule: &Rule, judged: Judged) -> Result<ArrayRef> {
    // The rule of `c4_paragraphs`, for one, judges a value of C4.
    let (family, field) = match judged.value {
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

/// True if the value of a row fails a rule.
fn fails(values: &ArrayRef, row: usize, judged: Judged) -> Result<bool> {
    // Thresholds are floats, so every value becomes a float. An integer of 32 bits does so exactly.
    let value = match values.data_type() {
        DataType::UInt32 => f64::from(values.as_primitive::<UInt32Type>().value(row)),
        DataType::Float64 => values.as_primitive::<Float64Type>().value(row),
        DataType::Boolean => f64::from(u8::from(values.as_boolean().value(row))),
        other => anyhow::bail!("a rule looks at a column of type {other}"),
    };

    Ok(judged.fails.is_failed_by(value, judged.threshold))
}
