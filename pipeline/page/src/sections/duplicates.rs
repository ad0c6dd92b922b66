//! Whether duplicates were duplicates: how often sampled pairs share a band beside the S-curve, and
//! the sizes of the clusters.

use curate_schemas::stages::{
    exact_dedup::EXACT_DEDUP,
    near_dedup::{NEAR_DEDUP, NearDedup},
};
use maud::{Markup, PreEscaped, html};

use super::merged;
use crate::parts::{Cell, Column, Figure, Table, bar, key, part, percent, things};
use crate::samples::Pairs;
use crate::{Facts, Section, numbers};

/// Greatest number of cluster sizes with a row.
const SIZES: usize = 8;
/// Height of the plot, in pixels.
const PLOT: f64 = 180.0;
/// Space above the plot, in pixels.
const ABOVE: f64 = 20.0;

/// The duplicates; `None` if neither deduplication has run or found something.
pub fn section(facts: &Facts) -> Option<Section> {
    let stages = facts.report.stages.iter();
    let merged = |name: &str| {
        let mut stages = stages.clone();
        let stage = stages.find(|stage| stage.name == name);
        stage.map_or(0, |stage| stage.docs.duplicates)
    };
    let (exact, near) = (merged(EXACT_DEDUP.name), merged(NEAR_DEDUP.name));
    if exact + near == 0 && facts.pairs.is_empty() {
        return None;
    }

    let body = html! {
        p {
            (things(exact, "document")) " merged into an equal one, " (numbers::count(near))
            " into a similar one."
        }
        div.pair {
            @if facts.pairs.iter().any(|row| row.pairs > 0) { (curve(facts)) }
            @if !facts.counted.clusters.is_empty() { (clusters(facts)) }
        }
    };
    let body = html! { (body) (merged::pairs(facts)) };
    Some(Section {
        id: "duplicates",
        heading: "Were the duplicates duplicates?",
        body,
    })
}

/// The figure of sampled pairs that share a band, by similarity.
fn curve(facts: &Facts) -> Markup {
    let near = facts.manifest.dedup.near.as_ref();
    let least = near.map_or(0.0, |near| near.min_jaccard);
    let pairs: u64 = facts.pairs.iter().map(|row| row.pairs).sum();
    // The row that holds the threshold has pairs of both sides, so only rows above it count.
    let alike = facts
        .pairs
        .iter()
        .filter(|row| least > 0.0 && row.from >= least - 1e-9);
    let alike: Vec<&Pairs> = alike.collect();
    let alike_pairs: u64 = alike.iter().map(|row| row.pairs).sum();
    let kept: f64 = alike
        .iter()
        .map(|row| row.both_kept.unwrap_or(0.0) * row.pairs as f64)
        .sum();

    let columns = [
        "from",
        "to",
        "pairs",
        "share a band",
        "low",
        "high",
        "by the curve",
        "both kept",
    ];
    let figure = Figure {
        caption: html! {
            "Of " (numbers::count(pairs)) " sampled pairs, " (numbers::count(alike_pairs))
            " have a similarity of " (numbers::plain(least)) " or more. "
            (numbers::count(kept.round() as u64)) " of these are still kept twice. "
            (key(&[("kept", "measured, with 95 % interval"), ("merged", "computed from bands and rows")]))
        },
        picture: picture(&facts.pairs, least, near),
        table: Table {
            title: "Sampled pairs by similarity",
            columns: columns.map(Column::numbers).into(),
            rows: facts.pairs.iter().map(row).collect(),
        },
        is_folded: true,
        note: html! { "Horizontal: Jaccard similarity of two texts. Vertical: share of such pairs with an equal band." },
        sql: "SELECT from_jaccard, to_jaccard, pairs, share_band, share_band_low, share_band_high, expected, both_kept\n\
              FROM near_dedup_sample ORDER BY from_jaccard"
            .to_owned(),
    };
    figure.markup()
}

/// The row of a similarity.
fn row(row: &Pairs) -> Vec<Cell> {
    let real = |x: Option<f64>| x.map_or(Cell::Missing, |x| Cell::Real(x, 3));
    let (share, low, high) = match row.share {
        Some((share, low, high)) => (Some(share), Some(low), Some(high)),
        None => (None, None, None),
    };
    vec![
        Cell::Plain(row.from),
        Cell::Plain(row.to),
        Cell::Count(row.pairs),
        real(share),
        real(low),
        real(high),
        real(row.expected),
        real(row.both_kept),
    ]
}

/// The S-curve, and the measured shares with their intervals.
fn picture(pairs: &[Pairs], least: f64, near: Option<&NearDedup>) -> Markup {
    let y = |share: f64| ABOVE + (1.0 - share) * PLOT;
    let middle = |row: &Pairs| (row.from + row.to.min(1.0)) / 2.0;
    let curve = near
        .map(|near| s_curve(near.rows, near.bands))
        .unwrap_or_default();
    html! {
        svg.chart role="img" aria-label="Share of pairs that share a band, by similarity"
            width="100%" height=(ABOVE + PLOT + 24.0) {
            rect.fails x=(percent(least)) width=(percent(1.0 - least)) y=(ABOVE) height=(PLOT) {}
            @for share in [0.0, 0.5, 1.0] {
                line.grid x1="0%" x2="100%" y1=(y(share)) y2=(y(share)) {}
                text x="0%" y=(y(share) - 3.0) { (numbers::percent(share)) }
            }
            svg x="0" y=(ABOVE) width="100%" height=(PLOT) viewBox="0 0 100 100" preserveAspectRatio="none" {
                polyline points=(curve) {}
            }
            @for row in pairs {
                @if let Some((share, low, high)) = row.share {
                    line.interval x1=(percent(middle(row))) x2=(percent(middle(row))) y1=(y(low)) y2=(y(high)) {}
                    circle.point cx=(percent(middle(row))) cy=(y(share)) r="4" {}
                }
            }
            line.axis x1="0%" x2="100%" y1=(y(0.0)) y2=(y(0.0)) {}
            @for (at, anchor) in [(0.0, "start"), (0.2, "middle"), (0.4, "middle"), (0.6, "middle"), (0.8, "middle"), (1.0, "end")] {
                text x=(percent(at)) y=(y(0.0) + 16.0) text-anchor=(anchor) { (at) }
            }
        }
    }
}

/// The points of 1 − (1 − s^rows)^bands, in per cent of the plot from its upper left corner.
fn s_curve(rows: u32, bands: u32) -> String {
    let point = |at: u32| {
        let s = f64::from(at) / 100.0;
        let share = 1.0 - (1.0 - s.powf(f64::from(rows))).powf(f64::from(bands));
        format!("{at},{:.2}", (1.0 - share) * 100.0)
    };
    (0..=100).map(point).collect::<Vec<_>>().join(" ")
}

/// The figure of clusters by size.
fn clusters(facts: &Facts) -> Markup {
    let clusters = &facts.counted.clusters;
    let all: u64 = clusters.values().sum();
    let most = clusters.values().max().copied().unwrap_or(0);
    let largest = clusters.keys().next_back().copied().unwrap_or(0);
    let rows = clusters.iter().take(SIZES).map(|(size, n)| {
        vec![
            Cell::Count(u64::from(*size)),
            Cell::Beside(bar(&[("merged", part(*n, most))])),
            Cell::Count(*n),
        ]
    });
    let more = clusters.len().saturating_sub(SIZES);
    let figure = Figure {
        caption: html! {
            (numbers::count(all)) " clusters of similar documents have a survivor in this run, the largest has "
            (things(u64::from(largest), "document")) "."
        },
        picture: PreEscaped(String::new()),
        table: Table {
            title: "Clusters of near-duplicates by size",
            columns: vec![
                Column::numbers("documents"),
                Column::bars("clusters"),
                Column::numbers(""),
            ],
            rows: rows.collect(),
        },
        is_folded: false,
        note: html! { @if more > 0 { (numbers::count(more as u64)) " larger sizes are left out here." } },
        sql: format!(
            "SELECT cluster_size, count(*) FROM near_dedup\n\
             WHERE reached AND removed_by IS NULL AND cluster_size IS NOT NULL\n\
             GROUP BY cluster_size ORDER BY cluster_size LIMIT {SIZES}"
        ),
    };
    figure.markup()
}
