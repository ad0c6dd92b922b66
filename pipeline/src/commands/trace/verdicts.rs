//! The values of a document on its page, each beside the threshold that judged it: rules, bounds of
//! languages, vetoes, bands, and the evidence for near-duplicates.

use std::io::Write;

use anyhow::Result;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, UInt32Type};
use curate_formats::numbers::counted;
use curate_schemas::commit::Commit;
use curate_schemas::rules::{Judged, Rule};
use curate_schemas::stages::filter::FILTER;
use curate_schemas::stages::near_dedup::NEAR_DEDUP;
use curate_schemas::tables;
use curate_store::terminal::printable;
use curate_store::zip::{Part, Zip};
use serde_json::Value;

use super::super::document::{config_of, judging};
use super::super::show::{Paint, beside, number};
use super::Row;
use super::page::{Line, Page, list, shown, with_unit};

/// The most members of a cluster that are shown.
const MEMBERS_SHOWN: usize = 10;
/// The table with the evidence for near-duplicates.
const EVIDENCE: &str = "near_dedup_evidence";

/// A column, and the lower and upper end of its band.
type Band = (String, Option<f64>, Option<f64>);

impl<W: Write> Page<'_, W> {
    /// The values of a row that no rule of `filter` judges, with the settings that judge them.
    pub(super) fn values(&self, row: &Row, commit: &Commit) -> Result<Vec<Line>> {
        let judged: Vec<String> = match self.history.row(FILTER.name) {
            Some(filter) if filter.values["reached"] == true => self
                .judging()?
                .iter()
                .map(|(rule, judged)| rule.path(judged.value))
                .collect(),
            _ => Vec::new(),
        };
        let config = config_of(commit);

        let mut lines = Vec::new();
        let Some(table) = tables::table(&row.table) else {
            return Ok(lines);
        };
        for column in table.columns {
            let value = &row.values[column.name];
            // `failing` is in the verdicts of the rules.
            let said = ["doc_id", "reached", "removed_by", "edits", "failing"];
            if said.contains(&column.name) || value.is_null() {
                continue;
            }

            let path = format!("{}.{}", table.name, column.name);
            let Some(fields) = value.as_object() else {
                if !judged.contains(&path) {
                    let note = note_of(&path, value, &config, self.paint);
                    let note = if note.is_empty() {
                        column.unit.to_owned()
                    } else {
                        note
                    };
                    let value = with_unit(value, column.unit);
                    lines.push(Line::new(column.name, value, note));
                }
                continue;
            };
            for (name, value) in fields {
                if judged.contains(&format!("{path}.{name}")) {
                    continue;
                }
                let unit = column.children.iter().find(|child| child.name == name);
                let unit = unit.map_or("", |child| child.unit);
                let value = with_unit(value, unit);
                let note = match path.as_str() {
                    "quality.terms" => self.term_note(name, &config),
                    _ => unit.to_owned(),
                };
                let name = printable(&format!("{}.{name}", column.name));
                lines.push(Line::new(name, value, note));
            }
        }
        Ok(lines)
    }

    /// What a term of q was made of.
    fn term_note(&self, column: &str, config: &Value) -> String {
        let terms = config["quality"]["term"].as_array();
        let term = terms.and_then(|terms| terms.iter().find(|term| term["column"] == column));
        let mut parts = Vec::new();
        if let Some(value) = self.history.value(column) {
            parts.push(format!("of {}", shown(value)));
        }
        if let Some(term) = term {
            let map = term["map"].as_str().unwrap_or_default();
            parts.push(format!("map {map}, weight {}", shown(&term["weight"])));
        }
        parts.join(", ")
    }

    /// The commit of a table, unless another version of the stage wrote it, whose columns and
    /// settings may be others.
    fn current(&self, table: &str) -> Option<&Commit> {
        let commit = self.tables.iter().find(|(known, _)| known == table);
        commit
            .map(|(_, commit)| commit)
            .filter(|commit| self.run.outdated(commit.version, table).is_none())
    }

    /// The rules that judged the documents of the run.
    fn judging(&self) -> Result<Vec<(&'static Rule, Judged)>> {
        match self.current(FILTER.name) {
            Some(commit) => judging(commit),
            None => Ok(Vec::new()),
        }
    }

    /// A line for each rule that judged the document.
    pub(super) fn rules(&self, row: &Row) -> Result<Vec<Line>> {
        let failing = row.values["failing"].as_array();
        let mut lines = Vec::new();
        for (rule, judged) in self.judging()? {
            let name = rule.full_name();
            let fails = failing.is_some_and(|failing| failing.iter().any(|by| *by == name));
            let value = self.history.value(&rule.path(judged.value));
            let value = value.map_or("-".to_owned(), |value| match value.as_f64() {
                Some(value) => beside(value, judged.threshold),
                None => shown(value),
            });
            // A flag and a list have no threshold.
            let side = match judged.fails.symbol() {
                words if words.starts_with("is ") => format!("if it {words}"),
                symbol => format!("{symbol} {}", judged.threshold),
            };
            lines.push(Line::new(
                name,
                value,
                self.verdict(fails, &format!("fails {side}")),
            ));
        }
        Ok(lines)
    }

    /// A verdict with the condition that gives it.
    fn verdict(&self, fails: bool, condition: &str) -> String {
        match fails {
            true => format!("{} ({condition})", self.paint.lost("FAILS")),
            false => format!("passes ({condition})"),
        }
    }

    /// A line for each veto, and for each band of model scores that holds for the document's
    /// language and domain.
    pub(super) fn vetoes_and_bands(&self, commit: &Commit) -> Result<Vec<Line>> {
        let config = config_of(commit);
        let mut lines = Vec::new();

        for veto in config["quality"]["veto"].as_array().into_iter().flatten() {
            let column = veto["column"].as_str().unwrap_or_default();
            let Some(value) = self.history.value(column).and_then(Value::as_f64) else {
                let name = printable(&format!("veto {column}"));
                lines.push(Line::new(
                    name,
                    "-",
                    conditions(&veto["below"], &veto["above"]),
                ));
                continue;
            };
            let (below, above) = (veto["below"].as_f64(), veto["above"].as_f64());
            lines.push(self.bounded(&format!("veto {column}"), value, below, above));
        }

        for (column, below, above) in self.bands(commit)? {
            if let Some(value) = self.history.value(&column).and_then(Value::as_f64) {
                lines.push(self.bounded(&format!("band {column}"), value, below, above));
            }
        }
        Ok(lines)
    }

    /// The line of a value between two bounds.
    fn bounded(&self, name: &str, value: f64, below: Option<f64>, above: Option<f64>) -> Line {
        let fails =
            below.is_some_and(|least| value < least) || above.is_some_and(|most| value > most);
        let nearest = [below, above].into_iter().flatten();
        let nearest = nearest.min_by(|a, b| (a - value).abs().total_cmp(&(b - value).abs()));
        let note = conditions(&below.into(), &above.into());
        Line::new(
            printable(name),
            nearest.map_or_else(|| number(value), |nearest| beside(value, nearest)),
            self.verdict(fails, &note),
        )
    }

    /// The cuts of each band in the document's language and domain: column, lower and upper end.
    fn bands(&self, commit: &Commit) -> Result<Vec<Band>> {
        let language = self.history.value("language.language");
        let language = language.and_then(Value::as_str).unwrap_or_default();
        let domain = self.history.value("documents.domain");
        let domain = domain.and_then(Value::as_str).unwrap_or_default();

        let mut bands: Vec<Band> = Vec::new();
        if self.run.outdated(commit.version, "quality_maps").is_some() {
            return Ok(bands);
        }
        for file in commit.tables.get("quality_maps").into_iter().flatten() {
            let stored = self.run.unchecked("quality_maps", &file.path);
            let columns = ["measure", "kind", "language", "domain", "value"];
            for batch in Zip::open(&[Part::of(stored, &columns)])? {
                let batch = batch?;
                let text = |i: usize| batch.column(i).as_string::<i32>();
                let values = batch.column(4).as_primitive::<Float64Type>();
                for row in 0..batch.num_rows() {
                    if text(2).value(row) != language || text(3).value(row) != domain {
                        continue;
                    }
                    let (is_below, is_above) = match text(1).value(row) {
                        "drop_below" => (true, false),
                        "drop_above" => (false, true),
                        _ => continue,
                    };
                    let column = text(0).value(row);
                    let known = bands.iter().position(|(known, ..)| known == column);
                    let at = known.unwrap_or_else(|| {
                        bands.push((column.to_owned(), None, None));
                        bands.len() - 1
                    });
                    let cut = Some(values.value(row));
                    bands[at].1 = if is_below { cut } else { bands[at].1 };
                    bands[at].2 = if is_above { cut } else { bands[at].2 };
                }
            }
        }
        Ok(bands)
    }

    /// Prints the documents of the near-duplicates' cluster, with the evidence for each.
    pub(super) fn cluster(&mut self) -> Result<()> {
        let Some(row) = self.history.row(NEAR_DEDUP.name) else {
            return Ok(());
        };
        let own = self
            .history
            .value("documents.doc_id")
            .and_then(Value::as_str);
        let own = own.unwrap_or_default().to_owned();
        if row.values["cluster_size"].is_null() {
            return Ok(());
        }

        // The cluster is named after its survivor, which has no evidence of its own.
        let evidence = self.history.row(EVIDENCE);
        let cluster = evidence.and_then(|row| row.values["cluster_id"].as_str());
        let members = self.members(cluster.unwrap_or(&own).to_owned())?;
        let members_n = members.len();
        for member in members.into_iter().take(MEMBERS_SHOWN) {
            let this = if member.doc_id == own {
                " (this document)"
            } else {
                ""
            };
            writeln!(self.out, "  {}{this}: {}", member.doc_id, member.evidence)?;
        }
        if members_n > MEMBERS_SHOWN {
            writeln!(self.out, "  and {} more", members_n - MEMBERS_SHOWN)?;
        }
        Ok(())
    }

    /// The removed documents of a cluster, in the order of the table.
    fn members(&self, cluster: String) -> Result<Vec<Member>> {
        let columns = [
            "doc_id",
            "cluster_id",
            "kept_id",
            "reason",
            "bands_hit",
            "estimated_jaccard",
            "jaccard",
            "containment",
        ];
        let Some(commit) = self.current(EVIDENCE) else {
            return Ok(Vec::new());
        };
        let threshold = config_of(commit)["near"]["min_jaccard"].as_f64();

        let mut members = Vec::new();
        for file in commit.tables.get(EVIDENCE).into_iter().flatten() {
            let part = Part::of(self.run.unchecked(EVIDENCE, &file.path), &columns);
            for batch in Zip::open(&[part])? {
                let batch = batch?;
                let text = |i: usize| batch.column(i).as_string::<i32>();
                for row in 0..batch.num_rows() {
                    if text(1).value(row) != cluster {
                        continue;
                    }
                    let bands = batch.column(4).as_primitive::<UInt32Type>().value(row);
                    let bands = counted(u64::from(bands), "band");
                    let mut evidence = format!(
                        "merged into {}, {}, {bands} shared",
                        text(2).value(row),
                        text(3).value(row)
                    );
                    for (i, name) in columns.iter().enumerate().skip(5) {
                        let values = batch.column(i).as_primitive::<Float64Type>();
                        if values.is_null(row) {
                            continue;
                        }
                        let value = values.value(row);
                        evidence += &match threshold.filter(|_| name.contains("jaccard")) {
                            Some(least) => {
                                let value = beside(value, least);
                                format!(", {name} {value} (merges from {least})")
                            }
                            None => format!(", {name} {}", number(value)),
                        };
                    }
                    members.push(Member {
                        doc_id: text(0).value(row).to_owned(),
                        evidence,
                    });
                }
            }
        }
        Ok(members)
    }
}

/// A removed document of a cluster.
struct Member {
    doc_id: String,
    /// Why it was merged, and into what.
    evidence: String,
}

/// The setting of `language` that judges a value of the stage. Empty for other values.
fn note_of(path: &str, value: &Value, config: &Value, paint: Paint) -> String {
    match path {
        "language.confidence" => {
            let (Some(value), Some(least)) = (value.as_f64(), config["min_confidence"].as_f64())
            else {
                return String::new();
            };
            let verdict = if value < least {
                paint.lost("FAILS")
            } else {
                "passes".to_owned()
            };
            format!("{verdict} (removed below {least})")
        }
        "language.language" => match config["keep"].as_array() {
            Some(keep) if !keep.is_empty() => {
                let is_kept = keep.contains(value);
                let verdict = if is_kept {
                    "passes".to_owned()
                } else {
                    paint.lost("FAILS")
                };
                format!("{verdict} (kept: {})", list(keep))
            }
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// The bounds between which a value passes, in words.
fn conditions(below: &Value, above: &Value) -> String {
    let bounds = [("below", below), ("above", above)].into_iter();
    let bounds = bounds.filter_map(|(side, bound)| Some(format!("{side} {}", bound.as_f64()?)));
    format!("removes {}", bounds.collect::<Vec<_>>().join(" and "))
}
