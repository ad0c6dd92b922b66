//! What came out of the run, what it cost, and whether its figures can be trusted.

use curate_schemas::commit::Tally;
use curate_schemas::report::StageReport;
use curate_schemas::stages;
use maud::{Markup, html};

use super::{interval, lost, q_tag};
use crate::parts::things;
use crate::{Facts, Section, numbers, text};

/// The first section of the page.
pub fn section(facts: &Facts) -> Section {
    let body = html! {
        (broken(facts))
        p.lead { (lead(facts)) }
        div.panels {
            div { h2 { "What came out" } (came_out(facts)) }
            div { h2 { "What it cost" } (cost(facts)) }
            div { h2 { "Can you trust it" } (trust(facts)) }
        }
        p.note { (meaning(facts)) }
    };
    Section {
        id: "result",
        heading: "",
        body,
    }
}

/// What makes the page less than the page of a whole run: a stage that is missing, or counts that
/// do not add up. Empty otherwise.
fn broken(facts: &Facts) -> Markup {
    let missing = stages::aligned().find(|spec| !facts.has(spec.name));
    let mixtures = facts.manifest.mixture.iter();
    let undrawn = mixtures
        .filter(|wanted| {
            facts
                .report
                .mixtures
                .iter()
                .all(|own| own.name != wanted.name)
        })
        .map(|mixture| &mixture.name)
        .next();
    let breaches = breaches(facts);
    html! {
        @if !breaches.is_empty() {
            p.broken { "The counts do not add up: " (breaches.join(", ")) }
        }
        @if let Some(why) = &facts.unread {
            p.broken { "Texts cannot be shown: " (text::name(why)) }
        }
        @if let Some(missing) = missing {
            p.broken { "This run is not finished: " (missing.name) " and what follows is missing." }
        } @else if let Some(name) = undrawn {
            p.broken { "This run is not finished: the mixture " (text::name(name)) " is missing." }
        }
    }
}

/// The stages whose counts do not add up, each with the quantity.
fn breaches(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let mut before: Option<&StageReport> = None;
    for stage in &facts.report.stages {
        let own = [Some(&stage.docs), Some(&stage.bytes), stage.tokens.as_ref()];
        let earlier = before.map(|before| {
            [
                Some(&before.docs),
                Some(&before.bytes),
                before.tokens.as_ref(),
            ]
        });
        for (at, what) in ["documents", "bytes", "tokens"].into_iter().enumerate() {
            let Some(tally) = own[at] else { continue };
            let kept = earlier
                .and_then(|earlier| earlier[at])
                .map(|tally: &Tally| tally.kept);
            if !tally.is_conserved() || kept.is_some_and(|kept| kept != tally.arrived) {
                found.push(format!("{what} of {}", stage.name));
            }
        }
        before = Some(stage);
    }
    found
}

/// The run in one sentence.
fn lead(facts: &Facts) -> Markup {
    let report = facts.report;
    if report.docs_in == 0 {
        return html! { "No record was read." };
    }

    let last = report.stages.last();
    let kept = last.map_or(0, |stage| stage.docs.kept);
    if kept == 0 {
        return nothing_left(facts);
    }
    match (&report.pool, facts.tokens()) {
        (Some(pool), Some(tokens)) => html! {
            @if facts.is_estimated() { "About " }
            (numbers::about(tokens as f64)) " tokens in, " (numbers::about(pool.tokens as f64))
            " kept (" (numbers::share(pool.tokens, tokens)) "), worth "
            (numbers::about(pool.d_eff)) (interval(pool.d_eff_interval))
            " effective tokens " (q_tag(report.calibration.as_ref()))
        },
        _ => html! {
            (numbers::count(facts.documents())) " documents in, " (numbers::count(kept)) " kept so far ("
            (numbers::share(kept, facts.documents())) ")"
        },
    }
}

/// Where the last documents went.
fn nothing_left(facts: &Facts) -> Markup {
    let mut stages = facts.report.stages.iter();
    let stage = stages.find(|stage| stage.docs.arrived > 0 && stage.docs.kept == 0);
    let reason = stage.and_then(|stage| stage.docs.removed.iter().max_by_key(|(_, n)| **n));
    html! {
        "No document is left."
        @if let Some(stage) = stage {
            " The last " (numbers::count(stage.docs.arrived)) " went at " (stage.name)
            @if let Some((rule, n)) = reason {
                ", " (numbers::count(*n)) " of them by " (text::name(rule))
            }
            "."
        }
    }
}

/// Documents, tokens, effective tokens, and each mixture.
fn came_out(facts: &Facts) -> Markup {
    let report = facts.report;
    let documents = facts.documents();
    let kept = report.stages.last().map_or(0, |stage| stage.docs.kept);
    html! {
        dl {
            dt { "Documents" }
            dd {
                (numbers::count(kept)) " of " (numbers::count(documents))
                span.aside { (numbers::share(kept, documents)) }
            }
            @if let Some(pool) = &report.pool {
                dt { "Tokens" }
                dd {
                    (numbers::count(pool.tokens))
                    span.aside { (numbers::share(pool.tokens, facts.tokens().unwrap_or(0))) }
                }
                dt { "Effective tokens" }
                @if pool.tokens == 0 {
                    dd { "none" }
                } @else {
                    dd {
                        (numbers::count(pool.d_eff.round() as u64)) (interval(pool.d_eff_interval))
                        span.aside { "q(D) = " (numbers::real(pool.q, 4)) }
                        " " (q_tag(report.calibration.as_ref()))
                    }
                }
            }
            @for mixture in &report.mixtures {
                dt { "Mixture " (text::name(&mixture.name)) }
                dd {
                    (numbers::count(mixture.tokens)) " tokens"
                    span.aside { (numbers::real(mixture.epochs, 2)) " epochs" }
                }
            }
        }
    }
}

/// Time, memory, disk, and the largest reason.
fn cost(facts: &Facts) -> Markup {
    let times = facts.times.as_ref();
    let peak = times.and_then(|times| {
        times
            .stages
            .iter()
            .filter_map(|stage| stage.peak_memory)
            .max()
    });
    let disk: u64 = super::cost::disk(facts).iter().map(|(_, size)| size).sum();
    let text = facts
        .report
        .stages
        .first()
        .map_or(0, |stage| stage.bytes.kept);
    let reasons = facts
        .report
        .stages
        .iter()
        .flat_map(|stage| &stage.docs.removed);
    let largest = reasons.max_by_key(|(_, n)| **n);
    html! {
        dl {
            dt { "Time" }
            @match times {
                Some(times) => dd {
                    (numbers::seconds(times.seconds))
                    @if !times.cached.is_empty() {
                        span.aside { (things(times.cached.len() as u64, "stage")) " cached" }
                    }
                },
                None => dd { "not recorded" },
            }
            dt { "Peak memory" }
            @match peak {
                Some(peak) => dd {
                    (numbers::bytes(peak))
                    span.aside { "limit " (numbers::bytes(facts.manifest.run.memory)) }
                },
                None => dd { "not recorded" },
            }
            dt { "Disk" }
            dd {
                (numbers::bytes(disk))
                @if text > 0 {
                    span.aside { (numbers::real(disk as f64 / text as f64, 2)) " × the text" }
                }
            }
            dt { "Largest loss" }
            @match largest {
                Some((rule, n)) => dd {
                    (text::name(rule)) span.aside { (things(*n, "document")) }
                },
                None => dd { "none" },
            }
        }
    }
}

/// Whether the sums hold, what could not be read, and the warnings of `run.json`.
fn trust(facts: &Facts) -> Markup {
    let report = facts.report;
    let stages = report.stages.len() as u64;
    let unread = report
        .stages
        .first()
        .map_or(0, |stage| stage.docs.quarantined);
    let holds = breaches(facts).is_empty();
    html! {
        ul.checks {
            @if holds {
                li { b { "✓" } span { "Every document is accounted for at " (things(stages, "stage")) } }
            } @else {
                li.no { b { "✗" } span { "Documents, bytes or tokens are not accounted for" } }
            }
            @if unread == 0 {
                li { b { "✓" } span { "Each of " (things(report.docs_in, "record")) " could be read" } }
            } @else {
                li { b { "!" } span {
                    (numbers::count(unread)) " of " (things(report.docs_in, "record")) " could not be read"
                } }
            }
            @for warning in &report.warnings {
                li { b { "!" } span { (text::name(warning)) } }
            }
        }
    }
}

/// What the words of the page mean in this run.
fn meaning(facts: &Facts) -> Markup {
    let report = facts.report;
    let represents = report
        .budget
        .as_ref()
        .map_or(1.0, |budget| budget.represents);
    let removing = report
        .stages
        .iter()
        .skip(1)
        .filter(|stage| lost(stage) > 0)
        .count();
    html! {
        @if represents != 1.0 {
            "The run stands for a corpus " (numbers::round(represents)) " times as large. "
        }
        @if let Some(tokenizer) = &report.tokenizer {
            "Tokens are those of the tokenizer " (text::name(&tokenizer.name)) ", "
            (numbers::real(tokenizer.bytes_per_token, 2)) " bytes each. "
        }
        @if removing > 0 { "“Kept” is what every stage let through. " }
        @if report.pool.is_some() {
            "“Effective tokens” are tokens weighted by q. "
            @if report.calibration.is_none() {
                "No loss was measured behind q, so it ranks documents and does not price them. "
            }
        }
        @if facts.is_estimated() {
            "The tokens of documents that did not reach the stage tokens are estimated from a sample. "
        }
    }
}
