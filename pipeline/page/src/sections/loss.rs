//! What the tokens mean for a model: its loss by tokens, with the pool and the mixtures on the
//! curve.

use curate_schemas::report::LossReport;
use curate_scorers::loss::LossLaw;
use maud::{Markup, html};

use super::q_tag;
use crate::parts::{Cell, Column, Table, percent};
use crate::{Facts, Section, numbers, text};

/// Height of the plot, in pixels.
const PLOT: f64 = 240.0;
/// Space above the plot, in pixels.
const ABOVE: f64 = 20.0;
/// Points of the curve.
const POINTS: usize = 80;

/// A number of tokens on the curve.
struct Point {
    name: Markup,
    tokens: f64,
    loss: f64,
    /// True if the point belongs to a mixture.
    is_mixture: bool,
}

/// The loss; `None` without a budget or without tokens.
pub fn section(facts: &Facts) -> Option<Section> {
    let budget = facts.report.budget.as_ref()?;
    let law = facts.law?;
    let pool = budget.pool.as_ref()?;
    let points = points(facts, &law, pool);
    let mixtures = facts.report.mixtures.iter();
    let changes: Vec<(Markup, &LossReport)> = [(html! { "the pool" }, pool)]
        .into_iter()
        .chain(mixtures.filter_map(|mixture| {
            Some((
                html! { "mixture " (text::name(&mixture.name)) },
                mixture.loss.as_ref()?,
            ))
        }))
        .collect();

    let body = html! {
        figure {
            figcaption {
                "At " (numbers::round(budget.params)) " parameters, q costs the pool ΔL = "
                (numbers::signed(pool.delta_loss, 4)) " nats a token against as many tokens of q = 1. "
                (q_tag(facts.report.calibration.as_ref()))
                @if !pool.in_fitted_range { " " span.tag { "outside the fitted range" } }
            }
            (picture(&law, budget.params, &points))
            div.pair {
                (places(&points).markup("small"))
                (deltas(&changes).markup("small"))
            }
            p.note {
                "The curve is L(N, D) with the constants " (text::name(&budget.constants)) " ("
                (text::name(&budget.source)) "). Full points are the pool, open points the mixtures. "
                "Absolute losses were fitted with other tokenizers; differences carry over."
            }
        }
    };
    Some(Section {
        id: "loss",
        heading: "What does that mean for a model?",
        body,
    })
}

/// The points of the pool and of the mixtures.
fn points(facts: &Facts, law: &LossLaw, pool: &LossReport) -> Vec<Point> {
    let Some(budget) = &facts.report.budget else {
        return Vec::new();
    };
    let of = |name: Markup, tokens: f64, is_mixture: bool| Point {
        name,
        tokens,
        loss: law.loss(budget.params, tokens),
        is_mixture,
    };

    let mut points = Vec::new();
    if let Some(tokens) = facts.tokens() {
        points.push(of(
            html! { "raw" },
            tokens as f64 * budget.represents,
            false,
        ));
    }
    points.push(of(html! { "pool" }, pool.tokens, false));
    points.push(of(html! { "pool, D_eff" }, pool.d_eff, false));
    for mixture in &facts.report.mixtures {
        let Some(loss) = &mixture.loss else { continue };
        let name = || text::name(&mixture.name);
        let scaled = |tokens: f64| tokens * budget.represents;
        points.extend([
            of(
                html! { (name()) ", unique" },
                scaled(mixture.unique_tokens as f64),
                true,
            ),
            of(html! { (name()) ", D′" }, scaled(mixture.d_repeat), true),
            of(html! { (name()) ", D_eff" }, loss.d_eff, true),
        ]);
    }
    points.retain(|point| point.tokens > 0.0 && point.loss.is_finite());
    points
}

/// The curve with its points, tokens on a logarithmic axis.
fn picture(law: &LossLaw, params: f64, points: &[Point]) -> Markup {
    let tokens = || points.iter().map(|point| point.tokens);
    let low = (tokens().fold(f64::INFINITY, f64::min) / 3.0).log10();
    let high = (tokens().fold(0.0, f64::max) * 3.0).log10();
    if !low.is_finite() || !high.is_finite() {
        return html! {};
    }
    let loss = |at: f64| law.loss(params, 10f64.powf(low + (high - low) * at));
    let (bottom, top) = (loss(1.0), loss(0.0));
    let x = |tokens: f64| (tokens.log10() - low) / (high - low);
    let y = |loss: f64| (top - loss) / (top - bottom);

    let curve: Vec<String> = (0..=POINTS)
        .map(|n| n as f64 / POINTS as f64)
        .map(|at| format!("{:.2},{:.2}", at * 100.0, y(loss(at)) * 100.0))
        .collect();
    let decades = (low.ceil() as i32..=high.floor() as i32).map(|power| 10f64.powi(power));
    let decades: Vec<f64> = decades.collect();
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|at| top - (top - bottom) * at);
    let place = |at: f64| format!("{:.2}", ABOVE + at * PLOT);
    html! {
        svg.chart role="img" aria-label="Loss by tokens" width="100%" height=(ABOVE + PLOT + 36.0) {
            text x="0%" y="10" { "nats a token ↑" }
            @for tick in ticks {
                line.grid x1="0%" x2="100%" y1=(place(y(tick))) y2=(place(y(tick))) {}
                text x="100%" y=(format!("{:.2}", ABOVE + y(tick) * PLOT - 3.0)) text-anchor="end" { (format!("{tick:.3}")) }
            }
            svg x="0" y=(ABOVE) width="100%" height=(PLOT) viewBox="0 0 100 100" preserveAspectRatio="none" {
                polyline points=(curve.join(" ")) {}
            }
            @for (at, point) in points.iter().enumerate() {
                @let class = if point.is_mixture { "open" } else { "point" };
                circle class=(class) cx=(percent(x(point.tokens))) cy=(place(y(point.loss))) r="5" {}
                text.strong x=(percent(x(point.tokens))) y=(label_y(at, y(point.loss))) text-anchor="middle" { (at + 1) }
            }
            line.axis x1="0%" x2="100%" y1=(ABOVE + PLOT) y2=(ABOVE + PLOT) {}
            @for decade in decades {
                @let anchor = match x(decade) { at if at < 0.05 => "start", at if at > 0.95 => "end", _ => "middle" };
                text x=(percent(x(decade))) y=(ABOVE + PLOT + 16.0) text-anchor=(anchor) { (numbers::trimmed(decade)) }
            }
            text x="100%" y=(ABOVE + PLOT + 32.0) text-anchor="end" { "tokens →" }
        }
    }
}

/// The height of a point's number. Every second one lies below its point, so that neighbours do not
/// cover each other.
fn label_y(number: usize, at: f64) -> String {
    let offset = if number.is_multiple_of(2) {
        -10.0
    } else {
        20.0
    };
    format!("{:.2}", ABOVE + at * PLOT + offset)
}

/// The points with their numbers.
fn places(points: &[Point]) -> Table {
    let rows = points.iter().enumerate().map(|(at, point)| {
        vec![
            Cell::Title(html! { (at + 1) ". " (point.name) }),
            Cell::Beside(numbers::about(point.tokens)),
            Cell::Beside(numbers::real(point.loss, 4)),
        ]
    });
    Table {
        title: "Points on the curve",
        columns: vec![
            Column::words("Point"),
            Column::numbers("tokens"),
            Column::numbers("loss, nats a token"),
        ],
        rows: rows.collect(),
    }
}

/// What q costs the pool and each mixture.
fn deltas(changes: &[(Markup, &LossReport)]) -> Table {
    let rows = changes.iter().map(|(name, loss)| {
        vec![
            Cell::Title(name.clone()),
            Cell::Beside(numbers::real(loss.d_eff_ratio, 4)),
            Cell::Beside(numbers::signed(loss.delta_loss, 4)),
            Cell::Beside(match loss.delta_loss_interval {
                Some((low, high)) => {
                    html! { "[" (numbers::real(low, 4)) ", " (numbers::real(high, 4)) "]" }
                }
                None => numbers::none(),
            }),
        ]
    });
    Table {
        title: "What q costs",
        columns: vec![
            Column::words("Tokens of"),
            Column::numbers("D_eff / |D|"),
            Column::numbers("ΔL, nats a token"),
            Column::numbers("95 % interval"),
        ],
        rows: rows.collect(),
    }
}
