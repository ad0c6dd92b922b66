//! Which languages the documents are in, and what is left of each.

use curate_schemas::stages::language::LANGUAGE;
use maud::html;

use crate::parts::{Cell, Column, Figure, Table, bar, part};
use crate::pass::LanguageCounts;
use crate::{Facts, Section, numbers, text};

/// Greatest number of languages with a row.
const ROWS: usize = 8;

/// The languages; `None` if no document has a label.
pub fn section(facts: &Facts) -> Option<Section> {
    let languages = &facts.counted.languages;
    if !facts.has(LANGUAGE.name) || languages.keys().all(String::is_empty) {
        return None;
    }

    // By tokens where all are counted, else by documents.
    let has_tokens = facts.has_all_tokens();
    let has_pool = facts.report.pool.is_some();
    let size = |counts: &LanguageCounts| {
        if has_tokens {
            counts.tokens
        } else {
            counts.docs
        }
    };
    let mut rows: Vec<(&String, &LanguageCounts)> = languages.iter().collect();
    rows.sort_by(|a, b| {
        (size(b.1), b.1.docs)
            .cmp(&(size(a.1), a.1.docs))
            .then(a.0.cmp(b.0))
    });
    let total: u64 = rows.iter().map(|(_, counts)| size(counts)).sum();
    let left: u64 = rows
        .iter()
        .map(|(_, counts)| counts.docs - counts.kept)
        .sum();
    let (first, largest) = rows.first()?;

    let mut columns = vec![
        Column::words("Language"),
        Column::bars(""),
        Column::numbers("of all"),
    ];
    columns.extend(has_tokens.then(|| Column::numbers("tokens")));
    columns.extend(["documents", "kept by language"].map(Column::numbers));
    columns.extend(has_pool.then(|| Column::numbers("left at the end")));

    let shown = rows.iter().take(ROWS).map(|(name, counts)| {
        let kept = part(counts.pool_tokens, total.max(1));
        let mut cells = vec![
            Cell::Name(label(name).to_owned()),
            Cell::Beside(match has_tokens && has_pool {
                true => bar(&[
                    ("kept", kept),
                    ("lost", part(counts.tokens - counts.pool_tokens, total)),
                ]),
                false => bar(&[("other", part(size(counts), total))]),
            }),
            Cell::Beside(numbers::share(size(counts), total)),
        ];
        cells.extend(has_tokens.then_some(Cell::Count(counts.tokens)));
        cells.extend([counts.docs, counts.kept].map(Cell::Count));
        cells.extend(has_pool.then_some(Cell::Count(counts.pool_docs)));
        cells
    });
    let more = rows.len().saturating_sub(ROWS);
    let figure = Figure {
        caption: html! {
            strong { (text::name(label(first))) } " has " (numbers::share(size(largest), total)) " of the "
            @if has_tokens { "tokens" } @else { "documents" } ". "
            (numbers::count(left)) " documents left for their language, or for being unsure of it."
        },
        picture: html! {},
        table: Table {
            title: "Languages",
            columns,
            rows: shown.collect(),
        },
        is_folded: false,
        note: html! { @if more > 0 { (numbers::count(more as u64)) " more languages are in the table language." } },
        sql: sql(has_tokens, has_pool),
    };
    Some(Section {
        id: "languages",
        heading: "Which languages?",
        body: figure.markup(),
    })
}

/// The name of a language in the table.
fn label(name: &str) -> &str {
    if name.is_empty() { "none" } else { name }
}

/// The query for the languages.
fn sql(has_tokens: bool, has_pool: bool) -> String {
    let (tokens, join) = match has_tokens {
        true => (
            "coalesce(sum(t.tokens), 0)::BIGINT AS tokens, ",
            " JOIN tokens t USING (doc_id)",
        ),
        false => ("", ""),
    };
    let (pool, pool_join) = match has_pool {
        true => (
            ", count(*) FILTER (p.reached AND p.removed_by IS NULL)",
            " JOIN quality p USING (doc_id)",
        ),
        false => ("", ""),
    };
    let order = if has_tokens {
        "tokens DESC, docs DESC"
    } else {
        "docs DESC"
    };
    format!(
        "SELECT coalesce(l.language, 'none') AS name, {tokens}count(*) AS docs, \
         count(*) FILTER (l.removed_by IS NULL){pool}\n\
         FROM language l{join}{pool_join}\nGROUP BY name ORDER BY {order}, name LIMIT {ROWS}"
    )
}
