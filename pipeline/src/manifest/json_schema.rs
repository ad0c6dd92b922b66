//! The manifest as a JSON Schema, so that editors complete keys and mark mistakes:
//! `curate schema manifest --json`.
//!
//! The schema is made from the declarations that manifests are checked with. It is written in draft
//! 7, which editors for TOML read. A schema cannot express a rule about several keys, nor the range
//! of a size that is written as a text such as `"64MiB"`. The check of a manifest covers both.

use curate_schemas::config::{Absent, Key, Kind, Section, Times};
use curate_schemas::stages::sections;
use serde_json::{Map, Value, json};

/// The schema of a whole manifest.
pub fn json_schema() -> Value {
    let mut root = object("A manifest of curate.");
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("curate manifest");
    for section in sections() {
        insert(&mut root, section);
    }
    root
}

/// The schema of a table that has no keys yet.
fn object(doc: &str) -> Value {
    json!({
        "description": doc,
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": false,
    })
}

/// Adds the schema of a table at the table's path. A table may be added before the table around it.
fn insert(root: &mut Value, section: &Section) {
    let mut place = &mut *root;
    let (parents, name) = match section.path.rsplit_once('.') {
        Some((parents, name)) => (parents.split('.').collect(), name),
        None => (Vec::new(), section.path),
    };

    for parent in parents {
        let inner = &mut place["properties"][parent];
        if inner.is_null() {
            *inner = object("");
        }
        // A table inside a `[[table]]` belongs to each of its items.
        place = match inner["type"] == "array" {
            true => &mut inner["items"],
            false => inner,
        };
    }

    if matches!(section.times, Times::Once | Times::OneOrMore) {
        push(&mut place["required"], json!(name));
    }

    // Tables inside this one may have been added already.
    let known = place["properties"][name].take();
    let mut table = object(section.doc());
    if let Some(inner) = known.get("properties") {
        table["properties"] = inner.clone();
    }

    for key in section.keys {
        table["properties"][key.name] = value_of(key);
        if matches!(key.absent, Absent::Refused(_)) {
            push(&mut table["required"], json!(key.name));
        }
    }
    // At least one of these keys must be in the table.
    let choices: Vec<Value> = section
        .keys
        .iter()
        .filter(|key| matches!(key.absent, Absent::OneOf(_)))
        .map(|key| json!({ "required": [key.name] }))
        .collect();
    if !choices.is_empty() {
        table["anyOf"] = Value::Array(choices);
    }

    place["properties"][name] = match section.times {
        Times::OneOrMore => json!({ "type": "array", "minItems": 1, "items": table }),
        Times::Any => json!({ "type": "array", "items": table }),
        Times::Once | Times::Default | Times::Switch => table,
    };
}

fn push(list: &mut Value, value: Value) {
    if let Value::Array(list) = list {
        list.push(value);
    }
}

/// The schema of a key's values, with the key's meaning and its default or an example.
fn value_of(key: &Key) -> Value {
    let mut value = match kind(key.kind) {
        Value::Object(value) => value,
        _ => Map::new(),
    };
    value.insert("description".to_owned(), json!(key.doc()));

    match key.absent {
        Absent::Default(default) => drop(value.insert("default".to_owned(), default())),
        Absent::Refused(example) | Absent::Nothing(example) | Absent::OneOf(example) => {
            // Only a whole line is TOML, so the example becomes the value of a key.
            let example: toml::Table = format!("value = {example}")
                .parse()
                .expect("an example is TOML");
            value.insert("examples".to_owned(), json!([example["value"]]));
        }
    }
    Value::Object(value)
}

/// The schema of the values of a kind.
fn kind(kind: Kind) -> Value {
    let text = json!({ "type": "string", "minLength": 1 });

    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer { min, max } => integers(min, max),
        // `3e11` is a float in TOML, and an integer by JSON Schema.
        Kind::Count => json!({ "type": "integer", "minimum": 1 }),
        Kind::Number { min, max } => numbers("minimum", min, max),
        Kind::Positive { max } => numbers("exclusiveMinimum", 0.0, max),
        Kind::Large { min, .. } => numbers("minimum", min, f64::INFINITY),
        // A pattern cannot bound the number of bytes that a text stands for.
        Kind::Size { min, max } => {
            let written = r"^[0-9]{1,12}(\.[0-9]{1,12})?\s*(GiB|MiB|KiB|GB|MB|KB|kB|B)$";
            json!({ "anyOf": [integers(min, max), { "type": "string", "pattern": written }] })
        }
        Kind::Name => {
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$" })
        }
        Kind::Label => json!({ "type": "string", "minLength": 1, "maxLength": 64 }),
        Kind::Field => json!({ "type": "string", "pattern": r"^[^.]+(\.[^.]+)*$" }),
        Kind::Path => text,
        Kind::Paths => json!({
            "anyOf": [text, { "type": "array", "minItems": 1, "items": text }],
        }),
        Kind::Command => json!({
            "type": "array", "minItems": 1, "items": [text], "additionalItems": { "type": "string" },
        }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::WordOrJson(words) => json!({
            "anyOf": [{ "enum": words }, { "type": "string", "pattern": r"\.json$" }],
        }),
        Kind::WordOrShare(words) => json!({
            "anyOf": [{ "enum": words }, numbers("exclusiveMinimum", 0.0, 1.0)],
        }),
        Kind::Words(words) => json!({
            "type": "array",
            "items": { "enum": words },
            "uniqueItems": true,
        }),
        Kind::Languages => {
            let codes: Vec<String> = languages().collect();
            json!({ "type": "array", "items": { "enum": codes } })
        }
    }
}

fn integers(min: u64, max: u64) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max })
}

fn numbers(least: &str, min: f64, max: f64) -> Value {
    let mut value = json!({ "type": "number" });

    // An infinite bound is left out, because JSON has no infinity.
    if min.is_finite() {
        value[least] = json!(min);
    }
    if max.is_finite() {
        value["maximum"] = json!(max);
    }
    value
}

/// All language codes that a manifest may hold, of two letters (ISO 639-1) and of three (639-3).
fn languages() -> impl Iterator<Item = String> {
    // `named` answers for one code at a time, so every combination of letters is tried.
    let letters = || b'a'..=b'z';
    let pairs = letters().flat_map(move |one| letters().map(move |two| vec![one, two]));
    let triples = pairs
        .clone()
        .flat_map(move |pair| letters().map(move |three| [pair.as_slice(), &[three]].concat()));

    pairs
        .chain(triples)
        .filter_map(|code| String::from_utf8(code).ok())
        .filter(|code| curate_scorers::language::names::named(code).is_some())
}
