//! What the pool is worth: q and effective tokens of each source, and the tokens by q.

use curate_schemas::report::SourceReport;
use maud::{Markup, html};

use super::{interval, q_tag};
use crate::parts::{Cell, Column, Figure, Table, percent, quoted};
use crate::pass::Q_BINS;
use crate::{Facts, Section, numbers, text};

/// Height of the plot, in pixels.
const PLOT: f64 = 110.0;
/// Height of a source's strip, in pixels.
const STRIP: f64 = 22.0;
/// Greatest number of sources with a row.
const SOURCES: usize = 60;

/// The worth of the pool; `None` before `quality`, or if nothing is left.
pub fn section(facts: &Facts) -> Option<Section> {
    facts.report.pool.filter(|pool| pool.tokens > 0)?;
    let body = html! {
        (by_source(facts))
        (by_q(facts))
    };
    Some(Section {
        id: "worth",
        heading: "What is it worth?",
        body,
    })
}

/// The sources of which something is left, those with most tokens first.
fn sources<'a>(facts: &'a Facts) -> Vec<&'a SourceReport> {
    let tokens = |source: &SourceReport| source.pool.map_or(0, |pool| pool.tokens);
    let mut sources: Vec<&SourceReport> = facts.report.sources.iter().collect();
    sources.retain(|source| tokens(source) > 0);
    sources.sort_by(|a, b| tokens(b).cmp(&tokens(a)).then(a.name.cmp(&b.name)));
    sources.truncate(SOURCES);
    sources
}

/// The figure of the sources.
fn by_source(facts: &Facts) -> Markup {
    let sources = sources(facts);
    let is_calibrated = facts.report.calibration.is_some();
    let has_budget = sources.iter().any(|source| source.next_billion.is_some());
    let best_next = sources
        .iter()
        .filter_map(|source| source.next_billion)
        .fold(0.0, f64::max);

    let mut columns = vec![
        Column::words("Source"),
        Column::bars("tokens by q, 0 to 1"),
        Column::numbers("mean q"),
        Column::numbers("tokens"),
        Column::numbers("effective"),
    ];
    columns.extend(has_budget.then(|| Column::numbers("worth of the next 1 B")));
    let rows = sources.iter().map(|source| {
        let pool = source
            .pool
            .unwrap_or_else(|| unreachable!("sources without a pool are left out"));
        let mut cells = vec![
            Cell::Name(source.name.clone()),
            Cell::Beside(strip(facts.counted.q.get(&source.name), pool.q)),
            Cell::Real(pool.q, 4),
            Cell::Count(pool.tokens),
            // See `sql`.
            match is_calibrated {
                true => Cell::Beside(html! {
                    (numbers::count(pool.d_eff.round() as u64)) (interval(pool.d_eff_interval))
                }),
                false => Cell::Real(pool.d_eff, 0),
            },
        ];
        cells.extend(has_budget.then(|| {
            let next = source.next_billion.filter(|_| best_next > 0.0);
            Cell::Beside(next.map_or(numbers::none(), |next| numbers::ratio(next / best_next)))
        }));
        cells
    });

    let figure = Figure {
        caption: caption(facts, &sources),
        picture: html! {},
        table: Table {
            title: "What each source is worth",
            columns,
            rows: rows.collect(),
        },
        is_folded: false,
        note: html! {
            "Each strip has its own height; the line is the mean. "
            @if has_budget {
                "The last column compares what the next 1 B tokens of a source would save in loss with the best source."
            }
        },
        sql: sql(&sources, is_calibrated),
    };
    figure.markup()
}

/// The query for the sources. The law of a calibration is no sum over documents, so no query gives
/// its D_eff.
fn sql(sources: &[&SourceReport], is_calibrated: bool) -> String {
    let names: Vec<String> = sources.iter().map(|source| quoted(&source.name)).collect();
    let names = names.join(", ");
    let effective = if is_calibrated {
        ""
    } else {
        ", sum(t.tokens * p.q)"
    };
    format!(
        "SELECT source, sum(t.tokens * p.q) / sum(t.tokens), sum(t.tokens)::BIGINT{effective}\n\
         FROM quality p JOIN tokens t USING (doc_id) JOIN documents d USING (doc_id)\n\
         WHERE p.reached AND p.removed_by IS NULL AND source IN ({names}) GROUP BY source\n\
         ORDER BY list_position([{names}], source)"
    )
}

/// The best and the worst source.
fn caption(facts: &Facts, sources: &[&SourceReport]) -> Markup {
    let q = |source: &SourceReport| source.pool.map_or(0.0, |pool| pool.q);
    let by_q = |a: &&&SourceReport, b: &&&SourceReport| q(a).total_cmp(&q(b));
    let (best, worst) = (sources.iter().max_by(by_q), sources.iter().min_by(by_q));
    html! {
        @match (best, worst) {
            (Some(best), Some(worst)) if sources.len() > 1 => {
                strong { (text::name(&best.name)) } " has the highest mean q, " (numbers::real(q(best), 4)) ", "
                strong { (text::name(&worst.name)) } " the lowest, " (numbers::real(q(worst), 4)) ". "
            }
            (Some(only), _) => {
                "The one source " strong { (text::name(&only.name)) } " has a mean q of "
                (numbers::real(q(only), 4)) ". "
            }
            _ => "",
        }
        (q_tag(facts.report.calibration.as_ref()))
    }
}

/// The tokens of a source by q, in its own height, with its mean.
fn strip(bins: Option<&[u64; Q_BINS]>, mean: f64) -> Markup {
    let Some(bins) = bins else {
        return html! {};
    };
    html! {
        svg.bar width="100%" height=(STRIP) aria-hidden="true" {
            (bars(bins, STRIP, 0.0))
            line.threshold x1=(percent(mean)) x2=(percent(mean)) y1="0" y2=(STRIP) {}
        }
    }
}

/// The bars of a histogram of q.
fn bars(bins: &[u64; Q_BINS], plot: f64, above: f64) -> Markup {
    let most = bins.iter().max().copied().unwrap_or(0).max(1) as f64;
    html! {
        g.bin { @for (bin, n) in bins.iter().enumerate() {
            @if *n > 0 {
                @let height = *n as f64 / most * plot;
                rect.kept x=(percent(bin as f64 / Q_BINS as f64)) width=(percent(1.0 / Q_BINS as f64))
                    y=(format!("{:.2}", above + plot - height)) height=(format!("{height:.2}")) {}
            }
        } }
    }
}

/// The figure of the pool's tokens by q.
fn by_q(facts: &Facts) -> Markup {
    let mut bins = [0; Q_BINS];
    for own in facts.counted.q.values() {
        bins.iter_mut().zip(own).for_each(|(bin, own)| *bin += own);
    }
    let most = bins.iter().max().copied().unwrap_or(0);
    let all: u64 = bins.iter().sum();
    let low: u64 = bins[..Q_BINS / 2].iter().sum();
    let filled = bins.iter().enumerate().filter(|(_, n)| **n > 0);
    let rows = filled.map(|(bin, n)| {
        vec![
            Cell::Count(bin as u64),
            Cell::Beside(html! { (bin as f64 / Q_BINS as f64) }),
            Cell::Count(*n),
        ]
    });
    let figure = Figure {
        caption: html! {
            (numbers::share(low, all)) " of the pool’s tokens have a q below " (numbers::plain(0.5)) "."
        },
        picture: html! {
            svg.chart role="img" aria-label="Histogram of tokens by q" width="100%" height=(PLOT + 40.0) {
                text x="0%" y="10" { "tokens ↑ " (numbers::rounded(most as f64, 3)) }
                line.grid x1="0%" x2="100%" y1="16" y2="16" {}
                (bars(&bins, PLOT, 16.0))
                line.axis x1="0%" x2="100%" y1=(PLOT + 16.0) y2=(PLOT + 16.0) {}
                @for (at, anchor) in [(0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")] {
                    text x=(percent(at)) y=(PLOT + 32.0) text-anchor=(anchor) { (at) }
                }
                text x="88%" y=(PLOT + 32.0) text-anchor="middle" { "q →" }
            }
        },
        table: Table {
            title: "Tokens by q",
            columns: ["bin", "q from", "tokens"].map(Column::numbers).into(),
            rows: rows.collect(),
        },
        is_folded: true,
        note: html! {},
        sql: format!(
            "SELECT least(floor(p.q * {Q_BINS}), {})::BIGINT AS bin, sum(t.tokens)::BIGINT AS n\n\
             FROM quality p JOIN tokens t USING (doc_id)\n\
             WHERE p.reached AND p.removed_by IS NULL GROUP BY bin HAVING n > 0 ORDER BY bin",
            Q_BINS - 1
        ),
    };
    figure.markup()
}
