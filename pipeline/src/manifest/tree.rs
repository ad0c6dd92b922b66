//! A manifest as it was written: values, each with where it came from.
//!
//! `toml` gives byte spans for values of the file. A value of an override has no span. Both become
//! one tree, so that overrides are checked like the file, with messages of the same kind.

use std::collections::BTreeMap;

use curate_schemas::config::Kind;
use curate_schemas::stages::{key, sections};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnose::{At, Problem, closest, quoted};

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// A value as TOML has them.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Bool(bool),
    /// Beyond 128 bits, the least or greatest of them.
    Integer(i128),
    Float(f64),
    Text(String),
    Date,
    List(Vec<Node>),
    Table(Entries),
}

/// What a table holds.
pub(super) type Entries = BTreeMap<String, Entry>;

/// A key, where it was written, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) at: At,
    pub(super) node: Node,
}

/// Parses a file. TOML's own limit on nesting (80) bounds every recursion over the result.
pub(super) fn parse(text: &str) -> Result<Entries, toml::de::Error> {
    Ok(entries(DeTable::parse(text)?.get_ref(), &At::File))
}

fn entries(table: &DeTable<'_>, at: &dyn Fn(usize) -> At) -> Entries {
    let entry = |(key, value): (&Spanned<_>, &Spanned<_>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        (
            name.to_string(),
            Entry {
                at: at(key.span().start),
                node: node(value, at),
            },
        )
    };
    table.iter().map(entry).collect()
}

fn node(value: &Spanned<DeValue<'_>>, at: &dyn Fn(usize) -> At) -> Node {
    let start = value.span().start;
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => Value::Integer(integer(digits.as_str(), digits.radix())),
        DeValue::Float(digits) => Value::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, at)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, at)),
    };
    Node {
        at: at(start),
        value,
    }
}

fn integer(digits: &str, radix: u32) -> i128 {
    let beyond = if digits.starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    };
    i128::from_str_radix(digits, radix).unwrap_or(beyond)
}

/// Writes the override `set`, the `number`th, into `tree`: `run.seed=9`, or `source.web.priority=2`
/// for the source of that name.
pub(super) fn apply(tree: &mut Entries, number: usize, set: &str) -> Result<(), Problem> {
    let at = At::Set(number);
    let Some((path, written)) = set.split_once('=') else {
        return Err(Problem::new(at, "expected key=value, such as run.seed=9"));
    };
    let (path, written) = (path.trim(), written.trim());
    let many = sections().filter(|table| table.is_list());
    for table in many {
        let Some(rest) = path
            .strip_prefix(table.path)
            .and_then(|rest| rest.strip_prefix('.'))
        else {
            continue;
        };
        // A name may hold dots; the keys of these tables do not.
        let Some((name, key)) = rest.rsplit_once('.') else {
            let example = format!(
                "expected {0}.<name>.<key>=value, found {0}.{rest}",
                table.path
            );
            return Err(Problem::new(at, example));
        };
        let value = override_value(&format!("{}.{key}", table.path), written, at);
        return insert(named(tree, table.path, name, at)?, &[key], value, at);
    }
    let value = override_value(path, written, at);
    insert(tree, &path.split('.').collect::<Vec<_>>(), value, at)
}

/// The entries of the `[[table]]` called `name`.
fn named<'t>(
    tree: &'t mut Entries,
    table: &str,
    name: &str,
    at: At,
) -> Result<&'t mut Entries, Problem> {
    let items = match tree.get_mut(table).map(|entry| &mut entry.node.value) {
        Some(Value::List(items)) => items.as_mut_slice(),
        _ => &mut [],
    };
    let own_name = |entries: &Entries| match entries.get("name").map(|entry| &entry.node.value) {
        Some(Value::Text(name)) => Some(name.clone()),
        _ => None,
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

fn insert(mut entries: &mut Entries, path: &[&str], value: Value, at: At) -> Result<(), Problem> {
    // Deeper than any key; without this a long path would nest the tree beyond what recursion
    // bears.
    let (Some((last, tables)), true) = (path.split_last(), path.len() <= 4) else {
        return Err(Problem::new(
            at,
            format!("unknown key {}", quoted(&path.join("."))),
        ));
    };
    for name in tables {
        let empty = || Entry {
            at,
            node: Node {
                at,
                value: Value::Table(Entries::new()),
            },
        };
        match &mut entries
            .entry((*name).to_owned())
            .or_insert_with(empty)
            .node
            .value
        {
            Value::Table(inner) => entries = inner,
            _ => return Err(Problem::new(at, format!("{} is not a table", quoted(name)))),
        }
    }
    entries.insert(
        (*last).to_owned(),
        Entry {
            at,
            node: Node { at, value },
        },
    );
    Ok(())
}

/// The value of an override: TOML, or the text itself where that is no TOML or the key holds text.
fn override_value(path: &str, written: &str, at: At) -> Value {
    let holds_text = key(path).is_some_and(|key| {
        use Kind::{Field, Label, Name, Path, Paths, Word};
        matches!(key.kind, Field | Label | Name | Path | Paths | Word(_))
    });
    match DeValue::parse(written).map(|value| node(&value, &|_| at).value) {
        Ok(value @ (Value::Text(_) | Value::List(_) | Value::Table(_))) => value,
        Ok(value) if !holds_text => value,
        _ => Value::Text(written.to_owned()),
    }
}
