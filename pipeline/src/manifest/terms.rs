//! Checks of `[[quality.term]]`, `[[quality.veto]]` and `[score.perplexity]` that involve several
//! keys: whether a column exists, whether a stage computes it, and whether keys fit together.

use curate_schemas::tables;

use super::check::{place, tables_at, value_at};
use super::diagnose::{At, Problem, quoted};
use super::tree::Entries;

/// All mistakes in terms, vetoes and bands that are not mistakes of a single key. A key with a
/// mistake of its own is missing from `out` and is passed over here.
pub(super) fn problems(entries: &Entries, out: &toml::Table) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    let logistic =
        value_at(out, "quality.combine").and_then(toml::Value::as_str) == Some("logistic");
    let mut seen: Vec<&str> = Vec::new();

    for (kind, item, at) in items(entries, out) {
        let path = format!("quality.{kind}");
        let text = |key: &str| item.get(key).and_then(toml::Value::as_str);
        let Some(column) = text("column") else {
            continue;
        };

        // Several keys are at fault, so a problem is placed at their table.
        let mut problem = |message: String, hint: Option<String>| {
            problems.push(Problem::new(at, format!("{path}: {message}")).hint(hint));
        };
        if let Some((message, hint)) = unusable(column, out) {
            problem(format!("{} {message}", quoted(column)), hint);
        }

        // A veto needs a bound, and may name a column again. The rest is about terms.
        if kind == "veto" {
            if !item.contains_key("below") && !item.contains_key("above") {
                problem(
                    format!("{} has no bound", quoted(column)),
                    Some("write below or above".to_owned()),
                );
            }
            continue;
        }

        // Terms are stored by their column, so one column is one term.
        if seen.contains(&column) {
            problem(format!("{} is a term already", quoted(column)), None);
        }
        seen.push(column);

        // The weights of a logistic are coefficients of any sign.
        let weight = item
            .get("weight")
            .and_then(toml::Value::as_float)
            .unwrap_or(1.0);
        if !logistic && weight <= 0.0 {
            let hint = "only combine = \"logistic\" takes others".to_owned();
            problem(
                format!("weight must be above 0, found {weight}"),
                Some(hint),
            );
        }

        match (text("map"), text("file")) {
            (Some("isotonic"), None) => {
                problem(
                    "map = \"isotonic\" needs a file".to_owned(),
                    Some("write file = \"curve.json\"".to_owned()),
                );
            }
            (Some(other), Some(_)) if other != "isotonic" => {
                problem(format!("map = {} has no file", quoted(other)), None);
            }
            _ => {}
        }
    }
    problems.extend(perplexity_problems(entries, out));
    problems
}

/// Mistakes in `[score.perplexity]` that take two keys to see.
fn perplexity_problems(entries: &Entries, out: &toml::Table) -> Vec<Problem> {
    let mut problems = Vec::new();

    let window = value_at(out, "score.perplexity.window").and_then(toml::Value::as_str);
    if window == Some("all") && value_at(out, "score.perplexity.max_tokens").is_some() {
        let message =
            "score.perplexity.max_tokens: window = \"all\" has no bound on a document's tokens"
                .to_owned();
        let at = place(entries, "score.perplexity.max_tokens");
        problems.push(Problem::new(at, message).hint(Some("write sample instead".to_owned())));
    }

    if is_sampled(out) && value_at(out, "score.perplexity.drop").is_some() {
        let message =
            "score.perplexity.drop: only a sample is scored, and the rest cannot be judged"
                .to_owned();
        let at = place(entries, "score.perplexity.drop");
        problems.push(Problem::new(at, message));
    }
    problems
}

/// True if only a sample is scored, so that some survivors may have no model score.
fn is_sampled(out: &toml::Table) -> bool {
    let sample = value_at(out, "score.perplexity.sample").and_then(toml::Value::as_float);
    sample.is_some_and(|share| share < 1.0)
        || value_at(out, "score.perplexity.max_tokens").is_some()
}

/// Why a column cannot be a term or a veto, with a hint. `None` if the column can be used.
fn unusable(column: &str, out: &toml::Table) -> Option<(String, Option<String>)> {
    // q is what the terms make, so no column of `quality` can be a term.
    let Some(measure) = tables::measure(column).filter(|measure| measure.table != "quality") else {
        let hint =
            "name table.column as `curate schema` lists them, or meta.field for a field of the record".to_owned();
        return Some(("is no column of numbers".to_owned(), Some(hint)));
    };

    let word = |path: &str| value_at(out, path).and_then(toml::Value::as_str);
    let why = match (measure.table, measure.column) {
        ("signals", _) if word("signals.values") == Some("none") => {
            "is not computed, signals.values is \"none\""
        }
        ("ngram", _) if value_at(out, "score.ngram").is_none() => {
            "is not computed, there is no [score.ngram]"
        }
        ("score", _) if value_at(out, "score.perplexity").is_none() => {
            "is not computed, there is no [score.perplexity]"
        }
        ("score", _) if is_sampled(out) => "is there for a sample only",
        ("language", "confidence")
            if matches!(word("language.engine"), Some("whichlang" | "none")) =>
        {
            "is not computed: only the language engines whatlang and fasttext have a confidence"
        }
        _ => return None,
    };

    Some((why.to_owned(), None))
}

/// Every term and veto: its kind (`"term"` or `"veto"`), its keys and its place.
fn items<'t>(
    entries: &'t Entries,
    out: &'t toml::Table,
) -> Vec<(&'static str, &'t toml::Table, At)> {
    let of = |kind: &'static str| {
        let tables = tables_at(entries, out, &format!("quality.{kind}"));
        tables
            .into_iter()
            .map(move |(table, _, at)| (kind, table, at))
    };
    of("term").chain(of("veto")).collect()
}
