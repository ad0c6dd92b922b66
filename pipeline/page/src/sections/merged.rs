//! The merged documents that resemble their survivors least, each beside its survivor.
//!
//! Both texts are shown from shortly before their first difference. What lies between the part that
//! they begin with and the part that they end with is marked. This takes linear time.

use maud::{Markup, html};

use crate::samples::{Merged, Sample};
use crate::{Facts, numbers, text};

/// Characters that are shown of each text.
const SHOWN: usize = 420;
/// Characters before the first difference.
const BEFORE: usize = 60;

/// The pairs; empty without one whose texts are at hand.
pub fn pairs(facts: &Facts) -> Markup {
    let pairs = facts.merged.iter().filter_map(|merged| {
        let removed = facts.texts.get(&merged.doc_id)?;
        Some((merged, removed, facts.texts.get(&merged.kept_id)?))
    });
    let pairs: Vec<(&Merged, &Sample, &Sample)> = pairs.collect();
    html! {
        @if !pairs.is_empty() {
            details.unfold {
                summary { "The merged documents that resemble their survivors least" }
                @for (merged, removed, kept) in pairs {
                    h4 {
                        "Jaccard similarity " (numbers::real(merged.jaccard, 4)) ", containment "
                        (numbers::real(merged.containment, 4))
                    }
                    div.cards {
                        @let (left, right) = differences(&removed.text, &kept.text);
                        (card("merged", &merged.doc_id, removed, &left))
                        (card("kept", &merged.kept_id, kept, &right))
                    }
                }
                p.note {
                    "All between the first and the last character in which two texts differ is marked."
                }
            }
        }
    }
}

/// A document of a pair.
fn card(what: &str, doc_id: &str, sample: &Sample, part: &Part) -> Markup {
    html! {
        article.card {
            p { strong { (what) } " from " (text::name(&sample.source)) ", "
                (numbers::count(sample.chars)) " characters" }
            p.note { (text::name(sample.url.as_ref().or(sample.own_id.as_ref()).unwrap_or(&sample.path))) }
            p.note { code { "curate trace RUN " (doc_id) } }
            (text::marked(&part.before, &part.own, &part.after))
        }
    }
}

/// The part of a text that is shown.
#[derive(Debug, PartialEq)]
struct Part {
    before: String,
    /// What the other text does not have at this place.
    own: String,
    after: String,
}

/// The parts of two texts around their difference.
fn differences(a: &str, b: &str) -> (Part, Part) {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let begin = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - begin;
    let end = a.iter().rev().zip(b.iter().rev()).take(rest);
    let end = end.take_while(|(a, b)| a == b).count();

    let part = |text: &[char]| {
        let from = begin.saturating_sub(BEFORE);
        let to = text.len().min(from + SHOWN);
        let own = begin.min(to)..(text.len() - end).clamp(begin.min(to), to);
        let collect = |part: &[char]| part.iter().collect::<String>();
        Part {
            before: format!(
                "{}{}",
                if from > 0 { "…" } else { "" },
                collect(&text[from..own.start])
            ),
            own: collect(&text[own.clone()]),
            after: format!(
                "{}{}",
                collect(&text[own.end..to]),
                if to < text.len() { "…" } else { "" }
            ),
        }
    };
    (part(&a), part(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_lies_between_equal_ends() {
        let (left, right) = differences("one two three", "one 2 three");
        assert_eq!(
            [left.before, left.own, left.after],
            ["one ", "two", " three"]
        );
        assert_eq!(
            [right.before, right.own, right.after],
            ["one ", "2", " three"]
        );

        let (left, right) = differences("aaa", "aaaaa");
        assert_eq!([left.before, left.own, left.after], ["aaa", "", ""]);
        assert_eq!([right.before, right.own, right.after], ["aaa", "aa", ""]);

        let equal = differences("same", "same");
        assert_eq!(equal.0, equal.1);
        let (left, _) = differences(&"x".repeat(1000), &format!("{}y", "x".repeat(900)));
        assert!(left.before.starts_with('…') && left.after.is_empty());
        assert_eq!(left.before.chars().count(), BEFORE + 1);
    }
}
