//! Whether the mixtures are the right ones: what each strategy makes of the same request.

use curate_schemas::report::{MixtureReport, StrategyReport};
use maud::{Markup, html};

use super::{interval, q_tag};
use crate::parts::{Cell, Column, Table, bar, key};
use crate::{Facts, Section, numbers, text};

/// Constraints that are named.
const HELD_SHOWN: usize = 3;

/// The mixtures; `None` without one.
pub fn section(facts: &Facts) -> Option<Section> {
    let mixtures = &facts.report.mixtures;
    if mixtures.is_empty() {
        return None;
    }
    Some(Section {
        id: "mixtures",
        heading: "Is the mixture the right one?",
        body: html! { @for mixture in mixtures { (figure(mixture)) } },
    })
}

/// The figure of a mixture.
fn figure(mixture: &MixtureReport) -> Markup {
    html! {
        figure {
            figcaption {
                strong { (text::name(&mixture.name)) } ": " (caption(mixture)) " "
                (q_tag(mixture.calibration.as_ref())) " "
                (key(&[("kept", "effective"), ("merged", "what repeats leave, with q = 1")]))
            }
            (strategies(mixture).markup("strategies"))
            p.note {
                (numbers::count(mixture.docs)) " documents, " (numbers::count(mixture.draws)) " draws, "
                (numbers::count(mixture.tokens)) " tokens of " (numbers::count(mixture.tokens_asked))
                " requested, " (numbers::count(mixture.unique_tokens)) " of them unique. D_eff of the draws is "
                (numbers::count(mixture.d_eff.round() as u64)) (interval(mixture.d_eff_interval)) ". "
                "The table has the plans of the strategies, before whole documents are drawn. "
                @if !mixture.held_by.is_empty() {
                    "The mixture is held back by "
                    @for (at, held) in mixture.held_by.iter().take(HELD_SHOWN).enumerate() {
                        @if at > 0 { "; " } (text::name(held))
                    }
                    @let more = mixture.held_by.len().saturating_sub(HELD_SHOWN);
                    @if more > 0 { " and " (numbers::count(more as u64)) " more" }
                    "."
                }
            }
        }
    }
}

/// How much better the chosen strategy is than the best of the others.
fn caption(mixture: &MixtureReport) -> Markup {
    let is_chosen = |other: &&StrategyReport| other.strategy == mixture.strategy;
    let feasible = || {
        mixture
            .compared
            .iter()
            .filter(|other| other.infeasible.is_none())
    };
    let chosen = feasible().find(is_chosen);
    let next = feasible()
        .filter(|other| !is_chosen(other))
        .max_by(|a, b| a.d_eff.total_cmp(&b.d_eff));
    html! {
        "strategy " strong { (text::name(&mixture.strategy)) }
        @if let (Some(chosen), Some(next)) = (chosen, next) {
            @if next.d_eff > 0.0 {
                @let more = chosen.d_eff / next.d_eff - 1.0;
                @if more >= 0.0 {
                    " is worth " (numbers::ratio(more)) " more than the next best, "
                } @else {
                    " is worth " (numbers::ratio(-more)) " less than the best, "
                }
                (text::name(&next.strategy))
            }
        }
        "."
    }
}

/// The strategies side by side.
fn strategies(mixture: &MixtureReport) -> Table {
    let most = mixture
        .compared
        .iter()
        .map(|other| other.d_repeat)
        .fold(0.0, f64::max);
    let share = |tokens: f64| if most > 0.0 { tokens / most } else { 0.0 };
    let columns = vec![
        Column::words("Strategy"),
        Column::bars(""),
        Column::numbers("effective"),
        Column::numbers("D′, q = 1"),
        Column::numbers("unique"),
        Column::numbers("epochs"),
    ];
    let rows = mixture.compared.iter().map(|other| {
        let count = |tokens: f64| Cell::Beside(numbers::count(tokens.round() as u64));
        let name = Cell::Title(html! {
            @if other.strategy == mixture.strategy { strong { (text::name(&other.strategy)) " (chosen)" } }
            @else { (text::name(&other.strategy)) }
        });
        if let Some(why) = &other.infeasible {
            let mut cells = vec![name, Cell::Beside(text::name(why))];
            cells.extend((0..4).map(|_| Cell::Beside(numbers::none())));
            return cells;
        }
        vec![
            name,
            Cell::Beside(bar(&[
                ("kept", share(other.d_eff)),
                ("merged", share(other.d_repeat - other.d_eff)),
            ])),
            count(other.d_eff),
            count(other.d_repeat),
            count(other.unique_tokens),
            Cell::Beside(numbers::real(other.epochs, 2)),
        ]
    });
    Table {
        title: "Strategies for the same request",
        columns,
        rows: rows.collect(),
    }
}
