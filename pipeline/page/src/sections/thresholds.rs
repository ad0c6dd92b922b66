//! Whether a rule's threshold is in the right place: a histogram of its values with the threshold
//! on an edge, and texts from both sides of it.

use maud::{Markup, html};

use super::rules::condition;
use crate::bins::{Bins, Closed};
use crate::parts::{Cell, Column, Figure, Table, literal, percent, quoted, things};
use crate::rule::{Candidate, RuleCounts};
use crate::samples::TEXT_CHARS;
use crate::{Facts, numbers, text};

/// Height of the plot, from its top to its axis, in pixels.
const PLOT: f64 = 120.0;
/// Space above the plot, in pixels: for the threshold's number.
const ABOVE: f64 = 34.0;
/// A bar this many times as high as the next one is cut.
const CUT: f64 = 4.0;

/// The figure of a rule, and its texts.
pub fn figure(facts: &Facts, number: usize) -> Markup {
    let rule = &facts.counted.rules[number];
    let Some(bins) = &rule.bins else {
        return html! {};
    };
    let view = View::of(rule, bins);
    let [below, above, nulls] = rule.beyond;
    let figure = Figure {
        caption: html! {
            strong { (text::name(&rule.name)) } " fails if " (condition(rule))
            (things(rule.fails, "document")) " fail, " (numbers::count(rule.alone)) " of them alone."
        },
        picture: picture(rule, bins, &view),
        table: counts(rule, bins, &view),
        is_folded: true,
        note: html! {
            @if below > 0 { "Below the axis: " (things(below, "document")) ". " }
            @if above > 0 { "Above the axis: " (things(above, "document")) ". " }
            @if nulls > 0 { "Without a value: " (things(nulls, "document")) ". " }
        },
        sql: sql(rule, bins, &view),
    };
    html! {
        div {
            (figure.markup())
            (texts(facts, rule))
        }
    }
}

/// The part of a rule's bins that is drawn: without the empty bins at both ends.
struct View {
    from: usize,
    to: usize,
    /// The count at the top of the plot.
    top: f64,
    /// The bin whose bar is cut.
    cut: Option<usize>,
}

impl View {
    fn of(rule: &RuleCounts, bins: &Bins) -> View {
        let total = |bin: usize| rule.counts[bin].iter().sum::<u64>();
        let filled = || (0..bins.len()).filter(|bin| total(*bin) > 0);

        // The bins on both sides of the threshold are always shown.
        let at = bins.threshold;
        let from = filled().next().unwrap_or(at).min(at.saturating_sub(1));
        let to = filled()
            .next_back()
            .map_or(at, |bin| bin + 1)
            .max((at + 1).min(bins.len()));

        let mut sizes: Vec<(u64, usize)> = (from..to).map(|bin| (total(bin), bin)).collect();
        sizes.sort_by(|a, b| b.cmp(a));
        let highest = sizes.first().copied().unwrap_or((1, from));
        let next = sizes.get(1).map_or(0, |(n, _)| *n);
        let is_cut = next > 0 && highest.0 as f64 > CUT * next as f64;
        View {
            from,
            to,
            top: if is_cut {
                next as f64 * 1.25
            } else {
                (highest.0 as f64).max(1.0)
            },
            cut: is_cut.then_some(highest.1),
        }
    }
}

/// The histogram.
fn picture(rule: &RuleCounts, bins: &Bins, view: &View) -> Markup {
    let position = |edge: f64| bins.position(edge, view.from, view.to);
    let height = ABOVE + PLOT;
    let threshold = position(bins.edges[bins.threshold]);
    // The side that fails is tinted.
    let fails_below = matches!(
        rule.judged.fails,
        curate_schemas::rules::Fails::Below | curate_schemas::rules::Fails::AtMost
    );
    let (tint, tinted) = match fails_below {
        true => (0.0, threshold),
        false => (threshold, 1.0 - threshold),
    };
    let label = format!(
        "Histogram of documents by {}: {} bars, the threshold is {}",
        rule.name,
        view.to - view.from,
        rule.judged.threshold
    );
    html! {
        svg.chart role="img" aria-label=(label) width="100%" height=(height + 36.0) {
            rect.fails x=(percent(tint)) y=(ABOVE) width=(percent(tinted)) height=(PLOT) {}
            line.grid x1="0%" x2="100%" y1=(ABOVE) y2=(ABOVE) {}
            @for bin in view.from..view.to {
                (bar(rule.counts[bin], position(bins.edges[bin]), position(bins.edges[bin + 1]), view.top))
            }
            line.axis x1="0%" x2="100%" y1=(height) y2=(height) {}
            line.threshold x1=(percent(threshold)) x2=(percent(threshold)) y1=(ABOVE - 8.0) y2=(height) {}
            (threshold_label(rule, threshold, fails_below))
            text x="0%" y="10" { "documents ↑ " (numbers::rounded(view.top, 3)) }
            @if let Some(bin) = view.cut {
                (cut_label(rule.counts[bin].iter().sum(), position(bins.edges[bin])))
            }
            @for tick in ticks(bins, view) {
                (tick_label(position(tick), tick, height))
            }
            text x="100%" y=(height + 32.0) text-anchor="end" { (axis(rule)) " →" }
        }
    }
}

/// What the horizontal axis counts: the unit of the value, or its name if it has none.
fn axis(rule: &RuleCounts) -> &'static str {
    match rule.declared.unit {
        "" => rule.declared.name,
        unit => unit,
    }
}

/// A stacked bar from one share of the width to another.
fn bar(counts: [u64; 3], from: f64, to: f64, top: f64) -> Markup {
    let mut y = ABOVE + PLOT;
    let parts: Vec<(&str, f64, f64)> = ["kept", "lost", "other"]
        .into_iter()
        .zip(counts)
        .filter(|(_, n)| *n > 0)
        .map(|(class, n)| {
            // A bar that is cut ends at the top of the plot.
            let height = (n as f64 / top * PLOT).min(y - ABOVE);
            y -= height;
            (class, y, height)
        })
        .collect();
    html! {
        g.bin { @for (class, y, height) in parts {
            rect class=(class) x=(percent(from)) width=(percent(to - from))
                y=(format!("{y:.2}")) height=(format!("{height:.2}")) {}
        } }
    }
}

/// The threshold's number above its line, and the side that fails.
fn threshold_label(rule: &RuleCounts, at: f64, fails_below: bool) -> Markup {
    let shown = format!("{}", rule.judged.threshold);
    let (label, anchor) = match (fails_below, at > 0.5) {
        (true, true) => (format!("← fails {shown}"), "end"),
        (true, false) => (format!("{shown} ← fails"), "start"),
        (false, true) => (format!("fails → {shown}"), "end"),
        (false, false) => (format!("{shown} fails →"), "start"),
    };
    html! {
        text.strong x=(percent(at)) y=(ABOVE - 12.0) text-anchor=(anchor) { (label) }
    }
}

/// The count of a bar that is cut, beside its top.
fn cut_label(count: u64, at: f64) -> Markup {
    let (anchor, dx) = if at > 0.6 {
        ("end", "-4")
    } else {
        ("start", "24")
    };
    html! {
        text x=(percent(at)) dx=(dx) y=(ABOVE + 12.0) text-anchor=(anchor) {
            "▲ " (numbers::rounded(count as f64, 3)) " in this bar"
        }
    }
}

/// A tick of the horizontal axis and its number. Those at the ends lie within the picture.
fn tick_label(at: f64, value: f64, y: f64) -> Markup {
    let anchor = match at {
        at if at < 0.03 => "start",
        at if at > 0.97 => "end",
        _ => "middle",
    };
    html! {
        line.axis x1=(percent(at)) x2=(percent(at)) y1=(y) y2=(y + 4.0) {}
        text x=(percent(at)) y=(y + 17.0) text-anchor=(anchor) { (numbers::trimmed(round_off(value))) }
    }
}

/// A number without the rounding errors of a product: to ten digits after the point.
fn round_off(x: f64) -> f64 {
    (x * 1e10).round() / 1e10
}

/// Round numbers on the axis, about five.
fn ticks(bins: &Bins, view: &View) -> Vec<f64> {
    let (low, high) = (bins.edges[view.from].max(0.0), bins.edges[view.to]);
    if bins.is_log {
        let decades = (0..10).map(|power| 10f64.powi(power));
        return decades.filter(|x| (low..=high).contains(x)).collect();
    }

    let rough = (high - low) / 5.0;
    let magnitude = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// The documents in each bin that is drawn.
fn counts(rule: &RuleCounts, bins: &Bins, view: &View) -> Table {
    let columns = [
        match bins.closed {
            Closed::Low => "from",
            Closed::High => "above",
        },
        match bins.closed {
            Closed::Low => "below",
            Closed::High => "to",
        },
        "kept",
        "alone",
        "other rules",
    ];
    let rows = (view.from..view.to).map(|bin| {
        let mut cells = vec![
            Cell::Plain(bins.edges[bin]),
            Cell::Plain(bins.edges[bin + 1]),
        ];
        cells.extend(rule.counts[bin].map(Cell::Count));
        cells
    });
    Table {
        title: "Documents by value",
        columns: columns.map(Column::numbers).into(),
        rows: rows.collect(),
    }
}

/// The query for the documents in each bin.
fn sql(rule: &RuleCounts, bins: &Bins, view: &View) -> String {
    let rows: Vec<String> = (view.from..view.to)
        .map(|bin| {
            format!(
                "({}, {})",
                literal(bins.edges[bin]),
                literal(bins.edges[bin + 1])
            )
        })
        .collect();
    let within = match bins.closed {
        Closed::Low => "v >= low AND v < high",
        Closed::High => "v > low AND v <= high",
    };
    let name = quoted(&rule.name);
    format!(
        "WITH bins(low, high) AS (VALUES {}),\n\
         found AS (SELECT s.{} AS v, f.failing FROM signals s JOIN filter f USING (doc_id) WHERE f.reached)\n\
         SELECT low, high, count(*) FILTER (len(failing) = 0), count(*) FILTER (failing = [{name}]),\n  \
         count(*) FILTER (len(failing) > 0 AND failing <> [{name}])\n\
         FROM bins LEFT JOIN found ON {within} GROUP BY low, high ORDER BY low",
        rows.join(", "),
        rule.sql()
    )
}

/// The texts on both sides of a threshold.
fn texts(facts: &Facts, rule: &RuleCounts) -> Markup {
    let groups = [
        ("Just inside: kept", &rule.inside),
        ("Just outside: removed", &rule.outside),
        ("At random, of those that this rule removed", &rule.random),
    ];
    let has_candidates = groups.iter().any(|(_, candidates)| !candidates.is_empty());
    if has_candidates && facts.texts.is_empty() {
        return html! {
            p.note { "Texts are left out, because the run looked for personal data. "
                code { "curate sample" } " shows them with that data masked." }
        };
    }
    html! {
        details.unfold {
            summary { "Texts on both sides of " (numbers::plain(rule.judged.threshold)) }
            @for (heading, candidates) in groups {
                @if !candidates.is_empty() {
                    h4 { (heading) }
                    div.cards { @for candidate in candidates { (card(facts, rule, candidate)) } }
                }
            }
            p.note { "The texts are those of documents, before any edit. They are cut at "
                (numbers::count(TEXT_CHARS as u64)) " characters." }
        }
    }
}

/// A document with its value, its source and its text.
fn card(facts: &Facts, rule: &RuleCounts, candidate: &Candidate) -> Markup {
    let Some(sample) = facts.texts.get(&candidate.doc_id) else {
        return html! {};
    };
    let others = candidate
        .failed
        .iter()
        .map(|number| &facts.counted.rules[*number].name);
    let others: Vec<&String> = others.filter(|name| **name != rule.name).collect();
    html! {
        article.card {
            p {
                strong { (numbers::near(candidate.value, rule.judged.threshold)) } " in " (text::name(&sample.source))
                ", " (things(sample.chars, "character"))
            }
            @if !others.is_empty() {
                p.note { "also fails " @for (at, name) in others.iter().enumerate() {
                    @if at > 0 { ", " } (text::name(name))
                } }
            }
            p.note {
                (text::name(sample.url.as_ref().or(sample.own_id.as_ref()).unwrap_or(&sample.path)))
            }
            p.note { code { "curate trace RUN " (candidate.doc_id) } }
            (text::block(&sample.text, TEXT_CHARS))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::judging;
    use curate_schemas::rules::GopherQualityRules;
    use curate_schemas::stages::filter::Filter;

    fn rule(name: &str) -> RuleCounts {
        let filter = Filter {
            gopher_quality: Some(GopherQualityRules::default()),
            ..Filter::default()
        };
        let mut rules = judging(&filter).into_iter();
        rules.find(|rule| rule.name == name).expect("a rule")
    }

    #[test]
    fn a_bar_far_above_the_others_is_cut() {
        let mut rule = rule("gopher_quality.below_alpha");
        let bins = rule.bins.clone().expect("bins");
        rule.counts[bins.threshold] = [1000, 0, 0];
        rule.counts[bins.threshold - 1] = [0, 10, 0];
        let view = View::of(&rule, &bins);
        assert_eq!((view.cut, view.top), (Some(bins.threshold), 12.5));
        let drawn = picture(&rule, &bins, &view).into_string();
        assert!(drawn.contains("▲ 1.00\u{202f}K in this bar"), "{drawn}");
        assert!(!drawn.contains("NaN"), "{drawn}");
    }

    #[test]
    fn a_histogram_without_documents_has_no_wrong_number() {
        let rule = rule("gopher_quality.short_doc");
        let bins = rule.bins.clone().expect("bins");
        let drawn = picture(&rule, &bins, &View::of(&rule, &bins)).into_string();
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }

    #[test]
    fn ticks_are_round() {
        let rule = rule("gopher_quality.below_alpha");
        let bins = rule.bins.clone().expect("bins");
        let view = View {
            from: 1,
            to: bins.len(),
            top: 1.0,
            cut: None,
        };
        let ticks: Vec<f64> = ticks(&bins, &view).into_iter().map(round_off).collect();
        assert_eq!(ticks, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    }
}
