//! The history of a document as a page for people: a section for each stage that it reached, each
//! value beside the threshold that judged it.

use std::io::Write;

use anyhow::Result;
use curate_formats::numbers::{counted, grouped};
use curate_schemas::commit::Commit;
use curate_schemas::spec::Removes;
use curate_schemas::stages;
use curate_schemas::stages::documents::DOCUMENTS;
use curate_schemas::stages::near_dedup::NEAR_DEDUP;
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use serde_json::Value;

use super::super::hunks::Hunk;
use super::super::show::{Paint, cut, number, write_text};
use super::{History, Request, Row};

/// The most hunks of a stage, and lines of a hunk, that are shown without `--full`.
const HUNKS_SHOWN: usize = 10;
/// The most entries of a list that are shown.
const ENTRIES_SHOWN: usize = 4;

/// Prints the page of a document.
///
/// # Errors
/// If a file of the run cannot be read.
pub(super) fn print(
    run: &RunDir,
    tables: &[(String, Commit)],
    history: &History,
    request: &Request,
    out: &mut impl Write,
) -> Result<()> {
    let mut page = Page {
        run,
        tables,
        history,
        most: request.text_shown(),
        paint: Paint::of_stdout(),
        out,
    };

    page.source()?;
    let mut unreached = Vec::new();
    for (table, commit) in tables {
        let is_aligned = stages::stage(table).is_some_and(|stage| stage.scope.is_aligned());
        if !is_aligned || table == DOCUMENTS.name {
            continue;
        }
        let Some(row) = history.row(table) else {
            continue;
        };
        match row.values["reached"].as_bool() {
            Some(true) => page.stage(row, commit)?,
            _ => unreached.push(table.as_str()),
        }
    }
    if !unreached.is_empty() {
        page.head("not reached", &unreached.join(", "))?;
    }
    page.mixtures()?;
    page.text()
}

impl History {
    /// The row of the document in a table.
    pub(super) fn row(&self, table: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.table == table)
    }

    /// The value of a measure, such as `signals.c4.n_lines`. `None` if the document has none.
    pub(super) fn value(&self, path: &str) -> Option<&Value> {
        let (table, rest) = match path.strip_prefix("meta.") {
            // The records' own fields are JSON in one column, which is left as it is.
            Some(_) => return None,
            None => path.split_once('.')?,
        };
        let mut value = &self.row(table)?.values;
        for name in rest.split('.') {
            value = value.get(name)?;
        }
        Some(value)
    }
}

/// A page that is being printed.
pub(super) struct Page<'a, W: Write> {
    pub run: &'a RunDir,
    pub tables: &'a [(String, Commit)],
    pub history: &'a History,
    /// The most characters of a text that are shown.
    most: Option<usize>,
    pub paint: Paint,
    pub out: &'a mut W,
}

/// A line of a section: a name, a value, and what is said of the value.
pub(super) struct Line {
    name: String,
    value: String,
    note: String,
}

impl Line {
    pub fn new(name: impl Into<String>, value: impl Into<String>, note: impl Into<String>) -> Line {
        Line {
            name: name.into(),
            value: value.into(),
            note: note.into(),
        }
    }
}

impl<W: Write> Page<'_, W> {
    /// Prints the head of a section.
    fn head(&mut self, name: &str, what: &str) -> Result<()> {
        writeln!(self.out, "\n{}: {what}", self.paint.heading(name))?;
        Ok(())
    }

    /// Prints lines in columns.
    fn lines(&mut self, lines: &[Line]) -> Result<()> {
        let width = |of: fn(&Line) -> &str| {
            let widths = lines.iter().map(|line| of(line).chars().count());
            widths.max().unwrap_or_default()
        };
        let names = width(|line| line.name.as_str());
        // One long value must not push the notes of all others to the right.
        let values = width(|line| line.value.as_str()).min(24);
        for Line { name, value, note } in lines {
            let line = format!("  {name:<names$}  {value:<values$}  {note}");
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Prints where the document comes from.
    fn source(&mut self) -> Result<()> {
        let Some(row) = self.history.row(DOCUMENTS.name) else {
            return Ok(());
        };
        let values = &row.values;
        let text = |name: &str| printable(values[name].as_str().unwrap_or_default());
        let number = |name: &str| values[name].as_u64().unwrap_or_default();
        let doc_id = text("doc_id");
        writeln!(
            self.out,
            "{}",
            self.paint.heading(&format!("document {doc_id}"))
        )?;

        let record = number("ordinal") + 1;
        let mut lines = vec![
            Line::new("source", text("source"), ""),
            Line::new("domain", text("domain"), ""),
            Line::new(
                "file",
                format!("{}, record {}", text("path"), grouped(record)),
                "",
            ),
        ];
        for name in ["source_id", "url", "date", "meta"] {
            if !values[name].is_null() {
                let value = printable(&cut(values[name].as_str().unwrap_or_default(), self.most));
                lines.push(Line::new(name, value, ""));
            }
        }

        let (raw, bytes) = (number("raw_bytes"), number("bytes"));
        let mut size = format!(
            "{} bytes, {} characters",
            grouped(bytes),
            grouped(number("chars"))
        );
        if raw != bytes {
            size += &format!("; {} bytes before repairs and [clean]", grouped(raw));
        }
        lines.push(Line::new("text", size, ""));
        if let Some(repaired) = values["repaired"].as_array() {
            lines.push(Line::new("repaired", list(repaired), ""));
        }
        self.lines(&lines)
    }

    /// Prints the section of a stage that the document reached.
    fn stage(&mut self, row: &Row, commit: &Commit) -> Result<()> {
        let removed = row.values["removed_by"].as_str();
        let spec = stages::stage(&row.table);
        let removes = spec.is_some_and(|spec| spec.may_remove());
        let is_merged = spec.is_some_and(|spec| spec.removes == Removes::Duplicates);
        let verdict = match removed {
            Some(rule) if is_merged => self.paint.lost(&format!("merged by {}", printable(rule))),
            Some(rule) => self.paint.lost(&format!("removed by {}", printable(rule))),
            None if removes => self.paint.won("kept"),
            None => "reached".to_owned(),
        };
        self.head(&row.table, &verdict)?;

        let mut lines = self.values(row, commit)?;
        match row.table.as_str() {
            "filter" => lines.extend(self.rules(row)?),
            "quality" => lines.extend(self.vetoes_and_bands(commit)?),
            _ => {}
        }
        self.lines(&lines)?;
        if row.table == NEAR_DEDUP.name {
            self.cluster()?;
        }
        self.hunks(&row.hunks)
    }

    /// Prints what a stage changed in the text.
    fn hunks(&mut self, hunks: &[Hunk]) -> Result<()> {
        let most = self.most.map_or(usize::MAX, |_| HUNKS_SHOWN);
        for Hunk {
            line,
            reasons,
            lines,
        } in hunks.iter().take(most)
        {
            writeln!(
                self.out,
                "  @ line {line}: {}",
                printable(&reasons.join(", "))
            )?;
            for (mark, text) in lines.iter().take(most) {
                let text = format!("{mark}{}", printable(&cut(text, self.most)));
                let text = match *mark {
                    '-' => self.paint.lost(&text),
                    '+' => self.paint.won(&text),
                    _ => text,
                };
                writeln!(self.out, "  {text}")?;
            }
            if lines.len() > most {
                let more = counted((lines.len() - most) as u64, "line");
                writeln!(self.out, "   and {more} more, see --full")?;
            }
        }
        if hunks.len() > most {
            let more = counted((hunks.len() - most) as u64, "change");
            writeln!(self.out, "  and {more} more, see --full")?;
        }
        Ok(())
    }

    /// Prints how often each mixture draws the document.
    fn mixtures(&mut self) -> Result<()> {
        let mut lines = Vec::new();
        for (table, _) in self.tables {
            let Some(name) = table.strip_prefix("mix/") else {
                continue;
            };
            let draws = self
                .history
                .row(table)
                .and_then(|row| row.values["draws"].as_u64());
            let draws = match draws {
                Some(draws) => counted(draws, "draw"),
                None => "not drawn".to_owned(),
            };
            lines.push(Line::new(printable(name), draws, ""));
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.head("mixtures", "how often each one draws the document")?;
        self.lines(&lines)
    }

    /// Prints the text.
    fn text(&mut self) -> Result<()> {
        let all = self.history.text.chars().count();
        let what = match self.most.filter(|most| *most < all) {
            Some(most) => format!(
                "the first {most} of {} characters, after all edits; --full shows all",
                grouped(all as u64)
            ),
            None => format!("{} characters, after all edits", grouped(all as u64)),
        };
        self.head("text", &what)?;
        write_text(&self.history.text, "  | ", self.most, self.out)?;
        Ok(())
    }
}

/// A value of a column. A quantity has its digits in groups, a hash has not.
pub(super) fn with_unit(value: &Value, unit: &str) -> String {
    match value.as_u64().filter(|_| !unit.is_empty()) {
        Some(quantity) => grouped(quantity),
        None => shown(value),
    }
}

/// A value in words: numbers rounded, lists cut.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Number(value) if value.is_f64() => number(value.as_f64().unwrap_or_default()),
        Value::String(text) => printable(&cut(text, Some(80))),
        Value::Array(entries) => list(entries),
        Value::Null => "-".to_owned(),
        other => printable(&other.to_string()),
    }
}

/// The first entries of a list, and how many there are.
pub(super) fn list(entries: &[Value]) -> String {
    let first = entries.iter().take(ENTRIES_SHOWN).map(shown);
    let first = first.collect::<Vec<_>>().join(", ");
    match entries.len().saturating_sub(ENTRIES_SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
