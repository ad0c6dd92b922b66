//! A manifest as it was written: a tree of values, each with the place that it came from.
//!
//! `toml` gives a byte span for each value of the file. A value of an override has no span. Both go
//! into one tree, so that overrides are checked like the file, with the same messages.

use std::collections::BTreeMap;

use curate_schemas::config::Kind;
use curate_schemas::stages::{key, sections};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnose::{At, Problem, closest, quoted};

/// A value and the place where it was written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// A value of one of TOML's types.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Bool(bool),
    /// An integer. `i128::MIN` and `i128::MAX` also stand for integers beyond 128 bits.
    Integer(i128),
    Float(f64),
    Text(String),
    Date,
    List(Vec<Node>),
    Table(Entries),
}

/// The entries of a table, by key.
pub(super) type Entries = BTreeMap<String, Entry>;

/// The place where a key was written, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) at: At,
    pub(super) node: Node,
}

/// Parses a file. The parser's limit on nesting (80) bounds every recursion over the result.
pub(super) fn parse(text: &str) -> Result<Entries, toml::de::Error> {
    Ok(entries(DeTable::parse(text)?.get_ref(), &At::File))
}

fn entries(table: &DeTable<'_>, at: &dyn Fn(usize) -> At) -> Entries {
    table
        .iter()
        .map(|(key, value)| {
            let entry = Entry {
                at: at(key.span().start),
                node: node(value, at),
            };
            (key.get_ref().to_string(), entry)
        })
        .collect()
}

fn node(value: &Spanned<DeValue<'_>>, at: &dyn Fn(usize) -> At) -> Node {
    let start = value.span().start;
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => Value::Integer(integer(digits.as_str(), digits.radix())),
        // What does not parse becomes NaN, which no key accepts.
        DeValue::Float(digits) => Value::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Bool(*value),
        // No key holds a date, so only the type is kept.
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, at)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, at)),
    };
    Node {
        at: at(start),
        value,
    }
}

/// The integer that `digits` spell. Its sign decides what an integer beyond 128 bits becomes.
fn integer(digits: &str, radix: u32) -> i128 {
    let beyond = if digits.starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    };
    i128::from_str_radix(digits, radix).unwrap_or(beyond)
}

/// Writes the override `set` into `tree`. `number` is its number on the command line, from 0.
///
/// An override is a key's path and a value, as in `run.seed=9`. For a table of a list the path
/// holds the name of the table, as in `source.web.priority=2`.
pub(super) fn apply(tree: &mut Entries, number: usize, set: &str) -> Result<(), Problem> {
    let at = At::Set(number);
    let Some((path, written)) = set.split_once('=') else {
        return Err(Problem::new(at, "expected key=value, such as run.seed=9"));
    };
    let (path, written) = (path.trim(), written.trim());

    for table in sections().filter(|table| table.is_list()) {
        let Some(rest) = path
            .strip_prefix(table.path)
            .and_then(|rest| rest.strip_prefix('.'))
        else {
            continue;
        };

        // A name may hold dots, but a key of these tables does not.
        let Some((name, key)) = rest.rsplit_once('.') else {
            let example = format!(
                "expected {0}.<name>.<key>=value, found {0}.{rest}",
                table.path
            );
            return Err(Problem::new(at, example));
        };

        // A key of a table inside, as in `source.cc.web.extractor`.
        if let Some((name, inner)) = name.rsplit_once('.') {
            let path = format!("{}.{inner}.{key}", table.path);
            if curate_schemas::stages::key(&path).is_some() {
                let value = override_value(&path, written, at);
                return insert(named(tree, table.path, name, at)?, &[inner, key], value, at);
            }
        }

        let value = override_value(&format!("{}.{key}", table.path), written, at);
        return insert(named(tree, table.path, name, at)?, &[key], value, at);
    }

    let value = override_value(path, written, at);
    insert(tree, &path.split('.').collect::<Vec<_>>(), value, at)
}

/// The entries of the `[[table]]` whose key `name` holds `name`.
fn named<'t>(
    tree: &'t mut Entries,
    table: &str,
    name: &str,
    at: At,
) -> Result<&'t mut Entries, Problem> {
    // If the file has something other than a list there, no name is found, and the check of the
    // whole manifest reports the list.
    let items = match tree.get_mut(table).map(|entry| &mut entry.node.value) {
        Some(Value::List(items)) => items.as_mut_slice(),
        _ => &mut [],
    };

    let mut names = Vec::new();
    for item in items {
        let Value::Table(entries) = &mut item.value else {
            continue;
        };
        match own_name(entries) {
            Some(own) if own == name => return Ok(entries),
            own => names.extend(own),
        }
    }

    let hint = closest(name, names.iter().map(String::as_str))
        .map(|near| format!("did you mean {}?", quoted(near)));
    Err(Problem::new(at, format!("no [[{table}]] is called {}", quoted(name))).hint(hint))
}

/// The text of the key `name` of a table. The text is copied, so that the table can still be lent
/// out for writing.
fn own_name(entries: &Entries) -> Option<String> {
    match entries.get("name").map(|entry| &entry.node.value) {
        Some(Value::Text(name)) => Some(name.clone()),
        _ => None,
    }
}

/// Puts `value` at `path` below `entries`, in place of the value that is there. Missing tables on
/// the way are made.
fn insert(mut entries: &mut Entries, path: &[&str], value: Value, at: At) -> Result<(), Problem> {
    // No key's path has more than four parts. Without this bound a long path would nest the tree
    // deeper than recursion can go.
    let (Some((last, tables)), true) = (path.split_last(), path.len() <= 4) else {
        return Err(Problem::new(
            at,
            format!("unknown key {}", quoted(&path.join("."))),
        ));
    };

    let entry = |value: Value| Entry {
        at,
        node: Node { at, value },
    };
    for name in tables {
        match &mut entries
            .entry((*name).to_owned())
            .or_insert_with(|| entry(Value::Table(Entries::new())))
            .node
            .value
        {
            Value::Table(inner) => entries = inner,
            _ => return Err(Problem::new(at, format!("{} is not a table", quoted(name)))),
        }
    }
    entries.insert((*last).to_owned(), entry(value));
    Ok(())
}

/// The value of an override. `written` is TOML, or bare text if it is not TOML or if the key at
/// `path` holds text.
fn override_value(path: &str, written: &str, at: At) -> Value {
    let holds_text = key(path).is_some_and(|key| {
        use Kind::{Field, Label, Name, Path, Paths, Word};
        matches!(key.kind, Field | Label | Name | Path | Paths | Word(_))
    });

    // Where the key holds text, quotes are optional: a bare `2024-01-01` is a name and not a date.
    match DeValue::parse(written).map(|value| node(&value, &|_| at).value) {
        Ok(value @ (Value::Text(_) | Value::List(_) | Value::Table(_))) => value,
        Ok(value) if !holds_text => value,
        _ => Value::Text(written.to_owned()),
    }
}
