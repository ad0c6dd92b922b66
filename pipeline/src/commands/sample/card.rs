//! A document of a sample, printed for people or for programs.

use std::io::Write;

use anyhow::Result;
use curate_formats::numbers::grouped;
use curate_schemas::stages::filter::FILTER;
use curate_store::terminal::printable;
use serde_json::{Value, json};

use super::super::document::{At, Committed, json_of, judging};
use super::super::show::{Paint, TEXT_SHOWN, beside, cut, json_line, write_text};
use super::Request;
use super::near::Edge;

/// The side of a threshold on which a document lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'e> {
    /// The rule.
    pub edge: &'e Edge,
    /// The value that the rule compares.
    pub value: f64,
    /// True if the document fails.
    pub fails: bool,
}

/// Prints documents, for people or for programs.
pub(super) struct Printer<'p, W: Write> {
    committed: &'p Committed<'p>,
    request: &'p Request,
    /// The rules of `filter` with a threshold.
    judging: Vec<Edge>,
    paint: Paint,
    out: &'p mut W,
}

impl<'p, W: Write> Printer<'p, W> {
    /// Reads which rules judged the run.
    ///
    /// # Errors
    /// If another version wrote settings that this one does not know.
    pub fn new(committed: &'p Committed<'p>, request: &'p Request, out: &'p mut W) -> Result<Self> {
        let judging = match committed.commit(FILTER.name) {
            Some(commit) => judging(commit)?,
            None => Vec::new(),
        };
        Ok(Printer {
            committed,
            request,
            judging: judging.into_iter().filter_map(Edge::of_rule).collect(),
            paint: Paint::of_stdout(),
            out,
        })
    }

    /// Prints a title, for people only.
    pub fn title(&mut self, text: &str) -> Result<()> {
        if !self.request.json {
            writeln!(self.out, "{}", self.paint.heading(text))?;
        }
        Ok(())
    }

    /// Prints a document. `side` is where it lies beside the threshold that was asked for.
    pub fn document(&mut self, number: usize, at: At, side: Option<Side>) -> Result<()> {
        let fate = self.committed.fate(at)?;
        let saw = fate.as_ref().map(|(stage, _)| *stage);
        let (row, text) = self.committed.text_before(saw, at)?;
        let row = json_of(&row)?;
        let failing = self.failing(at)?;

        match self.request.json {
            true => self.json(&row, &text, fate.as_ref(), &failing, side),
            false => self.page(number, &row, &text, fate.as_ref(), &failing, side),
        }
    }

    /// Every rule of `filter` that a document fails, with the value if the rule has a threshold.
    fn failing(&self, at: At) -> Result<Vec<(String, Option<String>)>> {
        let Some(filter) = self.committed.row(FILTER.name, at)? else {
            return Ok(Vec::new());
        };
        let filter = json_of(&filter)?;
        let failing = filter["failing"].as_array().cloned().unwrap_or_default();
        if failing.is_empty() {
            return Ok(Vec::new());
        }

        let signals = self.committed.row("signals", at)?;
        let signals = signals
            .as_ref()
            .map(json_of)
            .transpose()?
            .unwrap_or_default();
        let failing = failing.iter().filter_map(Value::as_str).map(|name| {
            let edge = self.judging.iter().find(|edge| edge.rule == name);
            let value = edge.and_then(|edge| {
                let path = edge.measure.name();
                let mut value = &signals;
                for name in path.strip_prefix("signals.")?.split('.') {
                    value = value.get(name)?;
                }
                let value = value.as_f64()?;
                let value = beside(value, edge.nearest(value));
                Some(format!("{value} ({})", edge.condition()))
            });
            (name.to_owned(), value)
        });
        Ok(failing.collect())
    }

    /// Prints a document for people.
    fn page(
        &mut self,
        number: usize,
        row: &Value,
        text: &str,
        fate: Option<&(&'static str, String)>,
        failing: &[(String, Option<String>)],
        side: Option<Side>,
    ) -> Result<()> {
        let field = |name: &str| printable(row[name].as_str().unwrap_or_default());
        let record = row["ordinal"].as_u64().unwrap_or_default() + 1;
        writeln!(
            self.out,
            "\n{number}. {} {}, {}, record {}",
            self.paint.heading(&field("doc_id")),
            field("source"),
            field("path"),
            grouped(record)
        )?;

        if let Some(Side { edge, value, fails }) = side {
            let verdict = if fails {
                self.paint.lost("fails")
            } else {
                self.paint.won("passes")
            };
            let value = beside(value, edge.nearest(value));
            writeln!(
                self.out,
                "   {value} {verdict} {} (fails {})",
                edge.rule,
                edge.condition()
            )?;
        }
        match fate {
            Some((stage, reason)) => {
                let verdict = self
                    .paint
                    .lost(&format!("removed by {}", printable(reason)));
                writeln!(self.out, "   {verdict} in {stage}")?;
            }
            None => writeln!(self.out, "   {}", self.paint.won("kept"))?,
        }
        for (rule, value) in failing {
            let is_said = side.is_some_and(|side| side.edge.rule == *rule);
            if !is_said {
                let value = value
                    .as_ref()
                    .map_or(String::new(), |value| format!(": {value}"));
                writeln!(self.out, "   fails {}{value}", printable(rule))?;
            }
        }

        let most = (!self.request.full).then_some(TEXT_SHOWN);
        let chars = text.chars().count();
        if most.is_some_and(|most| most < chars) {
            let chars = grouped(chars as u64);
            writeln!(self.out, "   the first {TEXT_SHOWN} of {chars} characters:")?;
        }
        write_text(text, "   | ", most, self.out)?;
        Ok(())
    }

    /// Prints a document for programs.
    fn json(
        &mut self,
        row: &Value,
        text: &str,
        fate: Option<&(&'static str, String)>,
        failing: &[(String, Option<String>)],
        side: Option<Side>,
    ) -> Result<()> {
        let most = (!self.request.full).then_some(TEXT_SHOWN);
        let failing: Vec<&str> = failing.iter().map(|(rule, _)| rule.as_str()).collect();
        let mut line = json!({
            "doc_id": row["doc_id"],
            "source": row["source"],
            "source_id": row["source_id"],
            "url": row["url"],
            "path": row["path"],
            "ordinal": row["ordinal"],
            "removed_in": fate.map(|(stage, _)| stage),
            "removed_by": fate.map(|(_, reason)| reason),
            "failing": failing,
            "chars": text.chars().count(),
            "text": cut(text, most),
        });
        if let Some(Side { edge, value, fails }) = side {
            line["rule"] = json!(edge.rule);
            line["value"] = json!(value);
            line["threshold"] = json!(edge.nearest(value));
            line["fails"] = json!(fails);
        }
        writeln!(self.out, "{}", json_line(&line))?;
        Ok(())
    }
}
