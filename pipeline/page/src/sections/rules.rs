//! What removed the documents: for each rule of `filter` the documents that fail it first, at all,
//! and alone. A document that fails one rule alone comes back if the rule goes.

use curate_schemas::rules::Fails;
use curate_schemas::stages::filter::FILTER;
use maud::{Markup, html};

use super::thresholds;
use crate::parts::{Cell, Column, Figure, Table, bar, key, part};
use crate::rule::{RuleCounts, ordered, shown};
use crate::{Facts, Section, numbers, text};

/// Greatest number of rules with a row.
const ROWS: usize = 60;

/// The rules; `None` before `filter`.
pub fn section(facts: &Facts) -> Option<Section> {
    if !facts.has(FILTER.name) {
        return None;
    }

    let rules = &facts.counted.rules;
    let numbers = ordered(rules);
    // An unfinished first run keeps no manifest, so its rules are not known.
    let removed = facts
        .report
        .stages
        .iter()
        .find(|stage| stage.name == FILTER.name);
    if rules.is_empty() && removed.is_some_and(|stage| !stage.docs.removed.is_empty()) {
        return None;
    }

    let body = match (rules.is_empty(), numbers.is_empty()) {
        (true, _) => html! { p { "The manifest switches no rule on." } },
        (_, true) => {
            html! { p { "No document fails one of the " (numbers::count(rules.len() as u64)) " rules." } }
        }
        _ => html! {
            (table(facts, &numbers).markup())
            @let shown = shown(rules);
            @if !shown.is_empty() {
                h3 { "Is the threshold in the right place?" }
                p {
                    "Each picture has all documents that reached filter. The threshold is an edge of two bars. "
                    (key(&[("kept", "kept"), ("lost", "fails this rule alone"), ("merged", "another rule decides")]))
                }
                div.pair { @for number in shown { (thresholds::figure(facts, number)) } }
            }
        },
    };
    Some(Section {
        id: "rules",
        heading: "What removed my documents?",
        body,
    })
}

/// The figure with a row for each rule that some document fails.
fn table(facts: &Facts, numbers: &[usize]) -> Figure {
    let rules = &facts.counted.rules;
    let has_tokens = facts.has_all_tokens();
    let most = numbers
        .iter()
        .map(|number| rules[*number].fails)
        .max()
        .unwrap_or(0);

    let mut columns = vec![
        Column::words("Rule"),
        Column::words("fails when"),
        Column::numbers("fails first"),
        Column::numbers("fails"),
        Column::bars(""),
        Column::numbers("alone"),
    ];
    columns.extend(has_tokens.then(|| Column::numbers("tokens alone")));
    let rows = numbers.iter().take(ROWS).map(|number| {
        let rule = &rules[*number];
        let mut cells = vec![
            Cell::Name(rule.name.clone()),
            Cell::Beside(condition(rule)),
            Cell::Count(rule.first),
            Cell::Count(rule.fails),
            Cell::Beside(bar(&[
                ("lost", part(rule.alone, most)),
                ("merged", part(rule.fails - rule.alone, most)),
            ])),
            Cell::Count(rule.alone),
        ];
        cells.extend(has_tokens.then_some(Cell::Count(rule.alone_tokens)));
        cells
    });

    let idle: Vec<&RuleCounts> = rules.iter().filter(|rule| rule.fails == 0).collect();
    Figure {
        caption: caption(facts),
        picture: html! {},
        table: Table {
            title: "The rules that documents fail",
            columns,
            rows: rows.collect(),
        },
        is_folded: false,
        note: html! {
            "“Fails first” names each removed document once, so the column sums to what filter removed. \
             “Alone” comes back if the rule goes. "
            @if !idle.is_empty() {
                "No document fails "
                @for (at, rule) in idle.iter().enumerate() {
                    @if at > 0 { ", " } (text::name(&rule.name))
                }
                "."
            }
        },
        sql: sql(has_tokens),
    }
}

/// The rules that come first for most documents.
fn caption(facts: &Facts) -> Markup {
    let rules = &facts.counted.rules;
    let removed: u64 = rules.iter().map(|rule| rule.first).sum();
    let mut by_first: Vec<&RuleCounts> = rules.iter().filter(|rule| rule.first > 0).collect();
    by_first.sort_by_key(|rule| std::cmp::Reverse(rule.first));
    by_first.truncate(3);
    let together: u64 = by_first.iter().map(|rule| rule.first).sum();
    html! {
        @for (at, rule) in by_first.iter().enumerate() {
            @if at > 0 { ", " } strong { (text::name(&rule.name)) }
        }
        " come first for " (numbers::share(together, removed)) " of the "
        (numbers::count(removed)) " documents that filter removed. "
        (numbers::count(facts.counted.fail_one)) " of them fail one rule alone, so one threshold decides them. "
        (key(&[("lost", "fails this rule alone"), ("merged", "fails others too")]))
    }
}

/// When a document fails a rule: its value, the comparison and the threshold, and what the value is.
pub fn condition(rule: &RuleCounts) -> Markup {
    html! {
        code { (rule.declared.name) } " "
        @match rule.judged.fails {
            Fails::Set | Fails::Listed => (rule.judged.fails.symbol()),
            fails => { (fails.symbol()) " " strong { (numbers::plain(rule.judged.threshold)) } }
        }
        small { (rule.declared.doc) }
    }
}

/// The query for the rules.
fn sql(has_tokens: bool) -> String {
    let (tokens, join) = match has_tokens {
        true => (
            ",\n  coalesce(sum(tokens) FILTER (len(failing) = 1), 0)::BIGINT",
            " JOIN tokens t USING (doc_id)",
        ),
        false => ("", ""),
    };
    let column = if has_tokens { ", t.tokens" } else { "" };
    format!(
        "SELECT rule, count(*) FILTER (removed_by = rule), count(*), count(*) FILTER (len(failing) = 1) AS alone{tokens}\n\
         FROM (SELECT unnest(f.failing) AS rule, f.failing, f.removed_by{column} FROM filter f{join} WHERE f.reached)\n\
         GROUP BY rule ORDER BY alone DESC, count(*) DESC, rule LIMIT {ROWS}"
    )
}
