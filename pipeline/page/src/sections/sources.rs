//! Which source lost what, and why: the share of each source's documents that a reason removed.

use std::collections::BTreeMap;

use curate_schemas::report::SourceReport;
use curate_schemas::tables;
use maud::{Markup, html};

use super::duplicate_reasons;
use crate::parts::{Cell, Column, Figure, Table, bar, part, quoted};
use crate::{Facts, Section, numbers, text};

/// Greatest number of reasons with a column.
const REASONS: usize = 8;
/// Greatest number of sources with a row.
const SOURCES: usize = 60;

/// The sources; `None` if no source has a document.
pub fn section(facts: &Facts) -> Option<Section> {
    let mut sources: Vec<&SourceReport> = facts.report.sources.iter().collect();
    sources.retain(|source| documents(source) > 0);
    if sources.is_empty() {
        return None;
    }

    // Those with most tokens come first, or with most documents where tokens are not known.
    sources.sort_by_key(|source| std::cmp::Reverse((tokens(source), documents(source))));
    let more = sources.len().saturating_sub(SOURCES);
    sources.truncate(SOURCES);
    let reasons = reasons(&sources);
    let figure = Figure {
        caption: caption(&sources),
        picture: heat(&sources, &reasons).markup("sources"),
        table: counts(&sources, &reasons),
        is_folded: true,
        note: html! {
            "A document counts once, for the first rule that it failed. "
            @if reasons.len() == REASONS {
                "The " (numbers::count(REASONS as u64)) " reasons with most documents have a column, \
                 the rest is “other”. "
            }
            @if more > 0 { (numbers::count(more as u64)) " more sources are in run.json. " }
            "“·” is none."
        },
        sql: sql(facts, &sources, &reasons),
    };
    Some(Section {
        id: "sources",
        heading: "Which source lost what, and why?",
        body: figure.markup(),
    })
}

fn documents(source: &SourceReport) -> u64 {
    source.funnel.first().map_or(0, |stage| stage.docs.kept)
}

fn kept(source: &SourceReport) -> u64 {
    source.funnel.last().map_or(0, |stage| stage.docs.kept)
}

/// The tokens of a source's documents; `None` if they are not counted.
fn tokens(source: &SourceReport) -> Option<u64> {
    source
        .funnel
        .first()?
        .tokens
        .as_ref()
        .map(|tokens| tokens.kept)
}

/// The tokens that are left of a source.
fn tokens_kept(source: &SourceReport) -> Option<u64> {
    source
        .funnel
        .last()?
        .tokens
        .as_ref()
        .map(|tokens| tokens.kept)
}

/// The share that is left of a source: of its tokens where they are counted, else of its documents.
fn share(source: &SourceReport) -> f64 {
    match (tokens(source), tokens_kept(source)) {
        (Some(all), Some(kept)) if all > 0 => part(kept, all),
        _ => part(kept(source), documents(source)),
    }
}

/// What was removed from a source after `documents`, by reason.
fn removed(source: &SourceReport) -> BTreeMap<&str, u64> {
    let mut found = BTreeMap::new();
    for stage in source.funnel.iter().skip(1) {
        for (reason, n) in &stage.docs.removed {
            *found.entry(reason.as_str()).or_default() += n;
        }
    }
    found
}

/// Documents of a source that were merged into others.
fn duplicates(source: &SourceReport) -> u64 {
    source
        .funnel
        .iter()
        .map(|stage| stage.docs.duplicates)
        .sum()
}

/// The reasons with most documents.
fn reasons<'a>(sources: &[&'a SourceReport]) -> Vec<&'a str> {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for source in sources {
        for (reason, n) in removed(source) {
            *all.entry(reason).or_default() += n;
        }
    }
    let mut all: Vec<(&str, u64)> = all.into_iter().filter(|(_, n)| *n > 0).collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    all.into_iter()
        .take(REASONS)
        .map(|(reason, _)| reason)
        .collect()
}

/// The best and the worst source.
fn caption(sources: &[&SourceReport]) -> Markup {
    let has_tokens = sources.iter().all(|source| tokens(source).is_some());
    let what = if has_tokens { "tokens" } else { "documents" };
    let by_share = |a: &&&SourceReport, b: &&&SourceReport| share(a).total_cmp(&share(b));
    let (best, worst) = (
        sources.iter().max_by(by_share),
        sources.iter().min_by(by_share),
    );
    let of = |source: &SourceReport| {
        html! { strong { (text::name(&source.name)) } " kept " (numbers::ratio(share(source))) }
    };
    html! {
        @match (best, worst) {
            (Some(best), _) if sources.len() == 1 => {
                "The one source " (of(best)) " of its " (what) ". "
            }
            (Some(best), Some(worst)) => { (of(best)) " of its " (what) ", " (of(worst)) ". " }
            _ => "",
        }
        "The columns on the right have the share of the source’s documents that a reason removed."
    }
}

/// The sources with the share that each reason removed.
fn heat(sources: &[&SourceReport], reasons: &[&str]) -> Table {
    let mut columns = vec![
        Column::words("Source"),
        Column::numbers("documents"),
        Column::bars("tokens kept"),
        Column::numbers(""),
        Column::numbers("documents kept"),
    ];
    // A reason's family says little in a narrow head.
    columns.extend(
        reasons
            .iter()
            .map(|reason| Column::numbers(breakable(reason))),
    );
    columns.extend([Column::numbers("duplicate"), Column::numbers("other")]);

    let rows = sources.iter().map(|source| {
        let all = documents(source);
        let cell = |n: u64| Cell::Beside(warm(n, all));
        let known = removed(source);
        let of = |reason: &&str| known.get(reason).copied().unwrap_or(0);
        let shown: u64 = reasons.iter().map(of).sum();
        let other = all - kept(source) - duplicates(source) - shown;

        let tokens = tokens_kept(source).zip(tokens(source));
        let mut cells = vec![
            Cell::Title(text::name(&source.name)),
            Cell::Beside(numbers::count(all)),
            Cell::Beside(match tokens {
                Some((kept, all)) => {
                    bar(&[("kept", part(kept, all)), ("rail", 1.0 - part(kept, all))])
                }
                None => html! {},
            }),
            Cell::Beside(tokens.map_or(numbers::none(), |(kept, all)| numbers::share(kept, all))),
            Cell::Beside(numbers::count(kept(source))),
        ];
        cells.extend(reasons.iter().map(|reason| cell(of(reason))));
        cells.extend([cell(duplicates(source)), cell(other)]);
        cells
    });
    Table {
        title: "What each source lost, by reason",
        columns,
        rows: rows.collect(),
    }
}

/// A reason's name with places at which a line may end.
fn breakable(reason: &str) -> String {
    reason.replace('.', ". ").replace('_', "_\u{200b}")
}

/// A share of a source's documents, the warmer the larger.
fn warm(n: u64, all: u64) -> Markup {
    let class = match part(n, all) {
        0.0 => return html! { "·" },
        share if share < 0.01 => "heat heat1",
        share if share < 0.05 => "heat heat2",
        share if share < 0.1 => "heat heat3",
        share if share < 0.2 => "heat heat4",
        _ => "heat heat5",
    };
    html! { span class=(class) { (numbers::share(n, all)) } }
}

/// The documents that each reason removed.
fn counts(sources: &[&SourceReport], reasons: &[&str]) -> Table {
    let mut columns = vec![Column::words("Source"), Column::numbers("documents")];
    columns.extend(
        reasons
            .iter()
            .map(|reason| Column::numbers(breakable(reason))),
    );
    columns.extend(["duplicate", "other", "kept"].map(Column::numbers));

    let rows = sources.iter().map(|source| {
        let known = removed(source);
        let of = |reason: &&str| known.get(reason).copied().unwrap_or(0);
        let shown: u64 = reasons.iter().map(of).sum();
        let (all, kept, duplicates) = (documents(source), kept(source), duplicates(source));

        let mut cells = vec![Cell::Name(source.name.clone()), Cell::Count(all)];
        cells.extend(reasons.iter().map(|reason| Cell::Count(of(reason))));
        cells.extend([duplicates, all - kept - duplicates - shown, kept].map(Cell::Count));
        cells
    });
    Table {
        title: "What each source lost, by reason, in documents",
        columns,
        rows: rows.collect(),
    }
}

/// The query for the documents that each reason removed.
fn sql(facts: &Facts, sources: &[&SourceReport], reasons: &[&str]) -> String {
    let list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        names.join(", ")
    };
    let stages = facts.report.stages.iter().map(|stage| stage.name.as_str());
    let removing =
        stages.filter(|stage| tables::table(stage).is_some_and(|table| table.has("removed_by")));
    let gone: Vec<String> = removing
        .map(|stage| {
            format!("SELECT doc_id, removed_by AS reason FROM {stage} WHERE reached AND removed_by IS NOT NULL")
        })
        .collect();
    // Before any stage that removes, no document is gone.
    let gone = match gone.is_empty() {
        true => "SELECT doc_id, NULL::VARCHAR AS reason FROM documents WHERE false".to_owned(),
        false => gone.join("\nUNION ALL\n"),
    };

    let duplicates = duplicate_reasons();
    let shown: String = reasons
        .iter()
        .map(|reason| format!("count(*) FILTER (reason = {}),\n  ", quoted(reason)))
        .collect();
    let named: Vec<&str> = reasons.iter().chain(&duplicates).copied().collect();
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    format!(
        "WITH gone AS (\n{gone}\n)\nSELECT source, count(*),\n  {shown}count(*) FILTER (reason IN ({})),\n  \
         count(*) FILTER (reason NOT IN ({})),\n  count(*) FILTER (reason IS NULL)\n\
         FROM documents LEFT JOIN gone USING (doc_id)\nWHERE source IN ({})\nGROUP BY source \
         ORDER BY list_position([{}], source)",
        list(&duplicates),
        list(&named),
        list(&names),
        list(&names),
    )
}
