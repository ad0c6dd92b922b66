//! The answer in words: a line a check, of which all formats but JSON are made.
//!
//! Names come from strangers: control characters are written as escapes, before any format's own
//! escaping.

use std::collections::BTreeMap;

use curate_scorers::drift::{Comparison, Estimate, Flips, Judged, Metric, Verdict, Weight};
use curate_store::terminal::printable;

use super::groups::Example;
use super::paired::{Paired, Score};
use super::{Answer, Check};

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Drift above the gate that fails, or more flips than may be.
    Fail,
    /// Something changed.
    Warn,
    /// Too few documents to say, or nothing to compare.
    Inconclusive,
    /// Nothing to see.
    Pass,
}

impl Status {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Status::Fail => "fail",
            Status::Warn => "warn",
            Status::Inconclusive => "inconclusive",
            Status::Pass => "pass",
        }
    }
}

/// A check in words, on one line.
pub struct Line {
    /// What became of it.
    pub status: Status,
    /// The column, or what else was looked at; JUnit's class.
    pub what: String,
    /// Source, language and weight.
    pub of: String,
    /// What was found.
    pub message: String,
    /// Some documents.
    pub examples: Vec<String>,
}

/// A line a check: verdicts, scores of the same documents, distributions, what one side lacks.
pub fn lines(answer: &Answer) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(paired) = &answer.paired {
        lines.push(flips(paired, answer));
        lines.extend(paired.scores.iter().map(score));
    }
    if let Some(flips) = answer.least_flips {
        let message = format!(
            "at least {flips} of {} verdicts flipped, {} may",
            answer.documents, answer.max_flips
        );
        let status = match flips {
            _ if answer.has_flips() => Status::Fail,
            0 => Status::Pass,
            _ => Status::Warn,
        };
        let (what, of) = ("verdicts".to_owned(), "same documents".to_owned());
        lines.push(Line {
            status,
            what,
            of,
            message,
            examples: Vec::new(),
        });
    }
    lines.extend(answer.checks.iter().map(check));
    // A source or a language that is new or gone is one line, whatever columns it has.
    let mut missing: BTreeMap<(String, &str), (Vec<&str>, u64)> = BTreeMap::new();
    for one in &answer.missing {
        let of = one.group.as_ref().map_or("all".to_owned(), |group| {
            format!("{} {}", group.source, group.language)
        });
        let (measures, documents) = missing.entry((of, one.what)).or_default();
        measures.push(&one.measure);
        *documents = one.documents.max(*documents);
    }
    lines.extend(
        missing
            .into_iter()
            .map(|((of, what), (measures, documents))| Line {
                status: Status::Inconclusive,
                what: what.to_owned(),
                of: one_line(&of),
                message: one_line(&format!(
                    "nothing to compare in {}, {documents} documents",
                    measures.join(", ")
                )),
                examples: Vec::new(),
            }),
    );
    lines
}

fn flips(paired: &Paired, answer: &Answer) -> Line {
    let Flips {
        documents,
        removed,
        restored,
        reasons,
    } = paired.flips;
    let [low, high] = paired.interval.map(|share| 100.0 * share);
    let mut message = format!(
        "{} of {documents} verdicts flipped, {removed} removed and {restored} restored, {low:.4} to {high:.4} % of such documents; \
         {} may; McNemar p = {:.2e}",
        paired.flips.flips(),
        answer.max_flips,
        paired.mcnemar_p
    );
    for (rule, flips) in &paired.rules {
        message += &format!("; {rule} +{} -{}", flips.removed, flips.restored);
    }
    if reasons > 0 {
        message += &format!("; {reasons} removed for another reason");
    }
    let status = match paired.flips.flips() {
        _ if answer.has_flips() => Status::Fail,
        0 if reasons == 0 => Status::Pass,
        _ => Status::Warn,
    };
    let examples = paired.examples.iter().map(example).collect();
    Line {
        status,
        what: "verdicts".to_owned(),
        of: "same documents".to_owned(),
        message: one_line(&message),
        examples,
    }
}

fn score(score: &Score) -> Line {
    let change = &score.change;
    let tau = change
        .kendall_tau
        .map(|tau| format!(", Kendall's τ {tau:.6}"))
        .unwrap_or_default();
    let message = format!(
        "{} of {} scores changed, |Δ| at most {:.3e}, p99 {:.3e}{tau}; {} documents are scored in one run only",
        change.changed, change.documents, change.max, change.p99, change.unpaired
    );
    Line {
        status: if score.is_changed() {
            Status::Warn
        } else {
            Status::Pass
        },
        what: one_line(&score.measure),
        of: "same documents".to_owned(),
        message,
        examples: score.examples.iter().map(example).collect(),
    }
}

fn check(check: &Check) -> Line {
    let needed = match check.verdict {
        Verdict::Inconclusive { documents_needed } => {
            format!("too few documents, about {documents_needed} on each side would do; ")
        }
        _ => String::new(),
    };
    let weight = match check.comparison.weight {
        Weight::Documents => "by documents",
        Weight::Tokens => "by tokens",
    };
    Line {
        status: status(check.verdict),
        what: one_line(&check.measure),
        of: one_line(&format!(
            "{} {} {weight}",
            check.group.source, check.group.language
        )),
        message: needed + &gates(&check.judged) + &metrics(&check.comparison, check.adjusted_p),
        examples: check.examples.iter().map(example).collect(),
    }
}

fn status(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Pass => Status::Pass,
        Verdict::Warn => Status::Warn,
        Verdict::Fail => Status::Fail,
        Verdict::Inconclusive { .. } => Status::Inconclusive,
    }
}

/// What each gate says, where there are others than PSI's.
fn gates(judged: &[Judged]) -> String {
    let name = |metric: Metric| match metric {
        Metric::Psi => "PSI",
        Metric::JensenShannon => "JS",
        Metric::Ks => "KS",
        Metric::Wasserstein => "W",
    };
    let all: Vec<String> = judged
        .iter()
        .map(|judged| format!("{} {}", status(judged.verdict).name(), name(judged.metric)))
        .collect();
    if all.len() > 1 {
        format!("gates: {}; ", all.join(", "))
    } else {
        String::new()
    }
}

fn metrics(found: &Comparison, adjusted_p: f64) -> String {
    let interval = |of: &Estimate| format!("{:.4} [{:.4}, {:.4}]", of.value, of.low, of.high);
    let shift = found
        .mean_shift
        .map(|shift| format!(", mean {shift:+.3} sd"))
        .unwrap_or_default();
    let wasserstein = found
        .wasserstein
        .as_ref()
        .map(|of| format!(", W {} sd", interval(of)))
        .unwrap_or_default();
    let [was, is] = found.documents;
    let [not_was, not_is] = found.not_scored.map(|share| 100.0 * share);
    format!(
        "PSI {}, JS {}, KS {}{wasserstein}{shift}; {was} to {is} documents, {not_was:.2} to {not_is:.2} % not scored; adjusted p = {adjusted_p:.1e}",
        interval(&found.psi),
        interval(&found.jensen_shannon),
        interval(&found.ks),
    )
}

fn example(example: &Example) -> String {
    let kept = |what: &Option<String>| what.clone().unwrap_or_else(|| "none".to_owned());
    let change = match (&example.before, &example.now) {
        (None, Some(now)) if now.parse::<f64>().is_ok() => now.clone(),
        (None, None) => "not scored".to_owned(),
        (before, now) => format!("{} to {}", kept(before), kept(now)),
    };
    let url = example
        .url
        .as_ref()
        .map(|url| format!(" {url}"))
        .unwrap_or_default();
    one_line(&format!(
        "{} {}{url}: {change}",
        example.doc_id, example.source
    ))
}

/// Text of strangers without line breaks, control characters, or what XML cannot hold.
pub fn one_line(text: &str) -> String {
    // XML has no place for the last two of these even as escapes.
    printable(text)
        .replace(['\n', '\u{2028}', '\u{2029}'], " ")
        .replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
