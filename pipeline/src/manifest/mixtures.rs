//! Mistakes in mixtures that take several keys to see: names without a table, keys that a strategy
//! does not read, and shares that cannot sum.

use std::collections::BTreeSet;

use curate_schemas::Manifest;
use curate_schemas::stages::key;
use curate_schemas::stages::mixtures::{READ_BY, Strategy};
use curate_stages::mix;
use serde::Deserialize;

use super::check::{last, tables_at};
use super::diagnose::{At, Problem, quoted};
use super::tree::Entries;
use crate::mixing::{Pooled, method, request};

/// All mistakes in the tables `[[mixture]]` and `[[mixture_source]]` that are not mistakes of a
/// single key. A key with a mistake of its own is missing from `out` and is passed over here.
pub(super) fn problems(entries: &Entries, out: &toml::Table) -> Vec<Problem> {
    let mut problems = names(entries, out);

    for (mixture, written, _) in tables_at(entries, out, "mixture") {
        let (Some(name), Some(strategy)) = (text(mixture, "name"), strategy(mixture)) else {
            continue;
        };

        problems.extend(unread("mixture", mixture, written, name, strategy));
        for (source, written, _) in tables_at(entries, out, "mixture_source") {
            if text(source, "mixture") == Some(name) {
                problems.extend(unread("mixture_source", source, written, name, strategy));
            }
        }
    }
    problems
}

/// The mixtures of a manifest whose shares no pool can meet. `entries` is the manifest as it was
/// written, and `out` is its checked table.
pub(super) fn impossible(
    manifest: &Manifest,
    entries: &Entries,
    out: &toml::Table,
) -> Vec<Problem> {
    let tables = tables_at(entries, out, "mixture");

    // The request is made as a run makes it, so that both refuse the same shares. It does not
    // depend on the documents of the pool until these are drawn.
    let pool = Pooled::default();
    let checked = manifest.mixture.iter().zip(tables);
    let refused = checked.filter_map(|(mixture, (_, _, at))| {
        let request = request(manifest, mixture, &pool);
        let infeasible = mix::check(&method(manifest, mixture), &request).err()?;
        let message = format!(
            "mixture {} is not possible: {infeasible}",
            quoted(&mixture.name)
        );
        let hint = "change the shares of [[mixture_source]]".to_owned();
        Some(Problem::new(at, message).hint(Some(hint)))
    });
    refused.collect()
}

/// The tables `[[mixture_source]]` that name no mixture or no source of the manifest, and those
/// that name the pair of another one.
fn names(entries: &Entries, out: &toml::Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    let known = |kind: &str| -> BTreeSet<&str> {
        let tables = tables_at(entries, out, kind);
        tables
            .into_iter()
            .filter_map(|(table, _, _)| text(table, "name"))
            .collect()
    };
    let (mixtures, sources) = (known("mixture"), known("source"));

    let mut seen = BTreeSet::new();
    for (item, written, at) in tables_at(entries, out, "mixture_source") {
        // A missing name is a problem of its own.
        for (kind, known) in [("mixture", &mixtures), ("source", &sources)] {
            if let Some(name) = text(item, kind).filter(|name| !known.contains(name)) {
                let name = quoted(name);
                let message = format!("mixture_source.{kind}: no [[{kind}]] is called {name}");
                problems.push(Problem::new(place(written, kind, at), message));
            }
        }

        let (Some(mixture), Some(source)) = (text(item, "mixture"), text(item, "source")) else {
            continue;
        };
        if !seen.insert((mixture, source)) {
            let (source, mixture) = (quoted(source), quoted(mixture));
            let message = format!("mixture_source: {source} in {mixture} is bounded twice");
            problems.push(Problem::new(at, message));
        }
    }
    problems
}

/// The keys of a table of the mixture `name` that its strategy does not read. `path` is the path of
/// the table. A key that holds its default changes nothing, so it is no mistake.
fn unread(
    path: &str,
    table: &toml::Table,
    written: &Entries,
    name: &str,
    strategy: Strategy,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (full, readers) in READ_BY {
        let own = last(full);
        if *full != format!("{path}.{own}") || readers.contains(&strategy) {
            continue;
        }

        // Defaults are filled in, so that a value alone does not say that the key was written.
        let default = key(full).and_then(|key| toml::Value::try_from(key.default()?).ok());
        let Some(entry) = written.get(own) else {
            continue;
        };
        if table
            .get(own)
            .is_none_or(|value| Some(value) == default.as_ref())
        {
            continue;
        }

        let message = format!(
            "{full}: mixture {} has strategy = {}, which does not read {own}",
            quoted(name),
            word(strategy)
        );
        let readers: Vec<String> = readers.iter().map(|strategy| word(*strategy)).collect();
        let hint = format!("{own} is for strategy = {}", readers.join(", "));
        problems.push(Problem::new(entry.node.at, message).hint(Some(hint)));
    }
    problems
}

/// The strategy of a checked mixture. `None` if the key has a mistake.
fn strategy(mixture: &toml::Table) -> Option<Strategy> {
    Strategy::deserialize(mixture.get("strategy")?.clone()).ok()
}

/// The word of a strategy, in quotes as a manifest writes it.
fn word(strategy: Strategy) -> String {
    serde_json::to_string(&strategy).expect("a word is plain data")
}

/// The text of a key, or `None` if the key is absent or has a mistake.
fn text<'t>(table: &'t toml::Table, key: &str) -> Option<&'t str> {
    table.get(key).and_then(toml::Value::as_str)
}

/// The place of a key's value. `at` is the place of its table.
fn place(written: &Entries, key: &str, at: At) -> At {
    written.get(key).map_or(at, |entry| entry.node.at)
}
