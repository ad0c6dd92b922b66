//! The parts that sections are made of: tables, figures, bars, and folded details.
//!
//! A figure has a caption, which is a sentence with the number in it, a table of its numbers, and
//! the query over `views.sql` that gives the same rows. The cells of such a table are the columns of
//! the query, in order. Only pictures and remarks are not columns.

use maud::{Markup, html};

use crate::{numbers, text};

/// A cell of a table.
pub enum Cell {
    /// The name of the row, which may come from a stranger.
    Name(String),
    /// A number of things.
    Count(u64),
    /// A number, with the digits that are shown after the point.
    Real(f64, usize),
    /// A number with as many digits as it has.
    Plain(f64),
    /// A value that does not exist: null in the query.
    Missing,
    /// What the query does not give: a bar, a share, a remark.
    Beside(Markup),
    /// The head of a row that the query does not give.
    Title(Markup),
}

/// A column of a table.
pub struct Column {
    head: String,
    kind: Kind,
}

/// How a column is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Words, from the left.
    Words,
    /// Numbers, from the right.
    Numbers,
    /// Bars, as wide as there is room.
    Bars,
}

impl Column {
    /// A column of words.
    pub fn words(head: impl Into<String>) -> Column {
        let head = head.into();
        Column {
            head,
            kind: Kind::Words,
        }
    }

    /// A column of numbers.
    pub fn numbers(head: impl Into<String>) -> Column {
        let head = head.into();
        Column {
            head,
            kind: Kind::Numbers,
        }
    }

    /// A column of bars.
    pub fn bars(head: impl Into<String>) -> Column {
        let head = head.into();
        Column {
            head,
            kind: Kind::Bars,
        }
    }

    fn class(&self) -> &'static str {
        match self.kind {
            Kind::Words => "words",
            Kind::Numbers => "number",
            Kind::Bars => "bars",
        }
    }
}

/// A table.
pub struct Table {
    /// What the table is called by a program that reads it aloud.
    pub title: &'static str,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with a cell for every column.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// The table as markup. `class` names its kind.
    pub fn markup(&self, class: &str) -> Markup {
        html! {
            div.scroll role="region" aria-label=(self.title) tabindex="0" {
                table class=(class) {
                    thead { tr {
                        @for column in &self.columns {
                            th scope="col" class=(column.class()) { (column.head) }
                        }
                    } }
                    tbody {
                        @for row in &self.rows {
                            tr { @for (column, cell) in self.columns.iter().zip(row) {
                                (cell.markup(column.class()))
                            } }
                        }
                    }
                }
            }
        }
    }
}

impl Cell {
    fn markup(&self, class: &str) -> Markup {
        let inner = match self {
            Cell::Name(name) => {
                return html! { th scope="row" class=(class) { (text::name(name)) } };
            }
            Cell::Count(n) => numbers::count(*n),
            Cell::Real(x, digits) => numbers::real(*x, *digits),
            Cell::Plain(x) => numbers::plain(*x),
            Cell::Missing => numbers::none(),
            Cell::Beside(markup) => {
                return html! { td class={ (class) " beside" } { (markup) } };
            }
            Cell::Title(markup) => {
                return html! { th scope="row" class={ (class) " beside" } { (markup) } };
            }
        };
        html! { td class=(class) { (inner) } }
    }
}

/// A figure: caption, picture, numbers and query.
pub struct Figure {
    /// The answer as a sentence, with the number in it.
    pub caption: Markup,
    /// The picture; empty if the table of numbers is the picture.
    pub picture: Markup,
    /// The numbers, which the query gives again.
    pub table: Table,
    /// True if the numbers are folded away below the picture.
    pub is_folded: bool,
    /// What else a reader must know.
    pub note: Markup,
    /// The query over the views of `views.sql`; empty if the numbers are in `run.json` only.
    pub sql: String,
}

impl Figure {
    /// The figure as markup.
    pub fn markup(&self) -> Markup {
        html! {
            figure {
                figcaption { (self.caption) }
                (self.picture)
                @if !self.is_folded { (self.table.markup("numbers")) }
                @if !self.note.0.is_empty() { p.note { (self.note) } }
                div.folds {
                    @if self.is_folded {
                        details { summary { "Numbers" } (self.table.markup("numbers small")) }
                    }
                    @if !self.sql.is_empty() {
                        details { summary { "Query" } pre.sql { (self.sql) } }
                    }
                }
            }
        }
    }
}

/// The key of the colours: pairs of a class and a word.
pub fn key(colours: &[(&str, &str)]) -> Markup {
    html! {
        span.key { @for (class, word) in colours {
            span { i class=(class) aria-hidden="true" {} (word) } " "
        } }
    }
}

/// A bar in a cell: parts beside each other, each with the class of its colour and its width as a
/// share of the cell. The number stands in another cell.
pub fn bar(parts: &[(&str, f64)]) -> Markup {
    let mut left = 0.0;
    let parts = parts.iter().map(|(class, width)| {
        let from = left;
        left += width;
        (*class, from, *width)
    });
    let parts: Vec<(&str, f64, f64)> = parts.filter(|(_, _, width)| *width > 0.0).collect();
    html! {
        svg.bar width="100%" height="12" aria-hidden="true" {
            @for (class, from, width) in parts {
                rect class=(class) x=(percent(from)) y="0" width=(percent(width)) height="12" {}
            }
        }
    }
}

/// A share of a drawing's width, as SVG writes it. Values that are no number lie at 0.
pub fn percent(share: f64) -> String {
    let share = if share.is_finite() { share } else { 0.0 };
    format!("{:.3}%", share * 100.0 + 0.0)
}

/// A part of a whole, 0 for a part of nothing.
pub fn part(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
}

/// A text as a literal in SQL.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A number as a literal in SQL. Without the exponent DuckDB would take a decimal.
pub fn literal(x: f64) -> String {
    format!("{x:e}")
}

/// `one thing`, `2 things`.
pub fn things(n: u64, thing: &str) -> Markup {
    html! { (numbers::count(n)) " " (thing) @if n != 1 { "s" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_beyond_numbers() {
        assert_eq!(percent(f64::NAN), "0.000%");
        assert_eq!(percent(-0.0), "0.000%");
        assert_eq!(part(1, 0), 0.0);
        let drawn = bar(&[("kept", 0.25), ("lost", 0.0), ("merged", 0.5)]).into_string();
        assert!(
            drawn.contains("x=\"25.000%\" y=\"0\" width=\"50.000%\""),
            "{drawn}"
        );
        assert!(!drawn.contains("lost"), "{drawn}");
    }

    #[test]
    fn literals_are_doubles_and_texts() {
        assert_eq!(
            (literal(0.15), literal(50.0)),
            ("1.5e-1".into(), "5e1".into())
        );
        assert_eq!(quoted("it's"), "'it''s'");
    }
}
