//! The answer in words, with one line for each check. All formats but JSON are made from these
//! lines.
//!
//! Names come from strangers. Control characters in them are written as escapes, before the
//! escaping of any format.

use std::collections::BTreeMap;

use curate_scorers::drift::{Comparison, Estimate, Flips, Judged, Metric, Verdict, Weight};
use curate_store::terminal::printable;

use super::groups::Example;
use super::paired::{Paired, Score};
use super::{Answer, Check, Missing, Sources};

/// The outcome of a check. The worst outcome comes first in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Drift above a bound that fails, or more flips than allowed.
    Fail,
    /// Drift above a bound that warns, changed scores, or flips that are allowed.
    Warn,
    /// Too few documents to decide, or nothing to compare with.
    Inconclusive,
    /// No drift above a bound.
    Pass,
}

impl Status {
    /// The name of the outcome in reports.
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
    /// The outcome of the check.
    pub status: Status,
    /// The column, `verdicts`, `new`, `gone` or `nothing`. It is part of JUnit's class name.
    pub what: String,
    /// Source, language and weight, or `same documents`.
    pub of: String,
    /// The numbers that were found, in a sentence.
    pub message: String,
    /// Some documents, one line each.
    pub examples: Vec<String>,
}

/// A line for each check: verdicts and scores of the same documents, distributions, and what one
/// side lacks.
pub fn lines(answer: &Answer) -> Vec<Line> {
    let mut lines = Vec::new();

    // At most one of the two is there, see `Answer`.
    if let Some(paired) = &answer.paired {
        lines.push(flips(paired, answer));
        lines.extend(paired.scores.iter().map(score));
    }
    if let Some(flips) = answer.least_flips {
        lines.push(least_flips(flips, answer));
    }

    lines.extend(answer.checks.iter().map(check));
    lines.extend(sources(answer));
    lines.extend(missing(answer));
    lines.extend((!answer.is_compared).then(|| nothing(answer)));
    lines
}

/// The line of an answer in which nothing could be compared.
fn nothing(answer: &Answer) -> Line {
    let allowed = match answer.allow_empty {
        true => "",
        false => "; --allow-empty accepts that",
    };

    Line {
        status: match answer.allow_empty {
            true => Status::Inconclusive,
            false => Status::Fail,
        },
        what: "nothing".to_owned(),
        of: "all".to_owned(),
        message: format!(
            "nothing could be compared: no check has a verdict, and no document was compared with itself{allowed}"
        ),
        examples: Vec::new(),
    }
}

/// The lines about sources that one side lacks as a whole.
fn sources(answer: &Answer) -> Vec<Line> {
    let line = |name: &String, status: Status, what: &str, message: &str| Line {
        status,
        what: what.to_owned(),
        of: one_line(&format!("source {name}")),
        message: message.to_owned(),
        examples: Vec::new(),
    };

    let Sources { gone, new, .. } = &answer.sources;
    let gone = gone.iter().map(|name| {
        let message = one_line(&format!(
            "the run has no document of this source of the baseline; --allow-missing-source {name} accepts that"
        ));
        line(name, Status::Fail, "gone", &message)
    });
    let new = new.iter().map(|name| {
        let message = "the baseline has no document of this source, so there is nothing to compare";
        line(name, Status::Inconclusive, "new", message)
    });
    gone.chain(new).collect()
}

/// The line about flips if only their least number is known.
fn least_flips(flips: u64, answer: &Answer) -> Line {
    Line {
        status: match flips {
            _ if answer.has_flips() => Status::Fail,
            0 => Status::Pass,
            _ => Status::Warn,
        },
        what: "verdicts".to_owned(),
        of: "same documents".to_owned(),
        message: format!(
            "at least {flips} of {} verdicts flipped, {} may",
            answer.documents, answer.max_flips
        ),
        examples: Vec::new(),
    }
}

/// The lines about columns and groups that one side lacks, without those of whole sources.
fn missing(answer: &Answer) -> Vec<Line> {
    let Sources { gone, allowed, new } = &answer.sources;
    let is_whole_source = |one: &&Missing| {
        let mut sources = gone.iter().chain(allowed).chain(new);
        one.group
            .as_ref()
            .is_some_and(|group| sources.any(|name| *name == group.source))
    };

    // A new language is one line, whatever number of columns it has.
    let mut missing: BTreeMap<(String, &str), (Vec<&str>, u64)> = BTreeMap::new();
    for one in answer.missing.iter().filter(|one| !is_whole_source(one)) {
        let of = one.group.as_ref().map_or("all".to_owned(), |group| {
            format!("{} {}", group.source, group.language)
        });
        let (measures, documents) = missing.entry((of, one.what)).or_default();
        measures.push(&one.measure);
        // The columns of a group may have reached different numbers of documents.
        *documents = one.documents.max(*documents);
    }

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
        })
        .collect()
}

/// The line about flipped verdicts of the same documents, with the flips of each rule.
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
    // The rules tell where a change comes from, so all of them are listed.
    for (rule, flips) in &paired.rules {
        message += &format!("; {rule} +{} -{}", flips.removed, flips.restored);
    }
    if reasons > 0 {
        message += &format!("; {reasons} removed for another reason");
    }

    Line {
        // Another reason is no flip, but it is a change.
        status: match paired.flips.flips() {
            _ if answer.has_flips() => Status::Fail,
            0 if reasons == 0 => Status::Pass,
            _ => Status::Warn,
        },
        what: "verdicts".to_owned(),
        of: "same documents".to_owned(),
        // Names of rules come from the tables of a run, which may be a stranger's.
        message: one_line(&message),
        examples: paired.examples.iter().map(example).collect(),
    }
}

/// The line about one column's scores of the same documents.
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
        // Changed scores only warn: verdicts and distributions decide.
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

/// The line about one distribution.
fn check(check: &Check) -> Line {
    let needed = match check.verdict {
        Verdict::Inconclusive { documents_needed } => {
            format!("too few documents, about {documents_needed} on each side would be enough; ")
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

/// The outcome that a verdict stands for.
fn status(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Pass => Status::Pass,
        Verdict::Warn => Status::Warn,
        Verdict::Fail => Status::Fail,
        Verdict::Inconclusive { .. } => Status::Inconclusive,
    }
}

/// The verdict of each gate, in words. Empty if only the gate on PSI is on.
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

/// The values of all metrics, in words.
fn metrics(found: &Comparison, adjusted_p: f64) -> String {
    let interval = |of: &Estimate| format!("{:.4} [{:.4}, {:.4}]", of.value, of.low, of.high);

    // Without a standard deviation of the baseline there is neither shift nor Wasserstein distance.
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

/// A document as an example, on one line.
fn example(example: &Example) -> String {
    let kept = |what: &Option<String>| what.clone().unwrap_or_else(|| "none".to_owned());

    let change = match (&example.before, &example.now) {
        // A number without a former value is a score of a distribution, not a rule.
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

/// Text of strangers without line breaks, control characters, and characters that XML cannot hold.
pub fn one_line(text: &str) -> String {
    // XML cannot hold U+FFFE and U+FFFF, not even as escapes.
    printable(text)
        .replace(['\n', '\u{2028}', '\u{2029}'], " ")
        .replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
