//! Turns one JSON line into a record. Fields that the manifest does not name are kept as `meta`,
//! and their values are kept byte for byte.

use std::borrow::Cow;
use std::fmt;

use curate_schemas::stages::documents::Source;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::date;
use crate::record::Record;

/// The reason and the detail of a damage.
type Damaged = (&'static str, String);

/// The fields of an object in their order. The values are not parsed.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    fields.push((field.0.0, field.1));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A field name. It is borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    /// The value of a field.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        // JSON does not forbid repeated names. The last one counts, as in Python and DuckDB.
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
    }
}

/// Reads one JSON line as a record.
///
/// # Errors
/// If the line is not UTF-8 or not a JSON object, or if its text is missing or not a string. The
/// error is the reason and the detail for the table `quarantine`.
pub fn record(line: &[u8], source: &Source) -> Result<Record, Damaged> {
    let line = std::str::from_utf8(line).map_err(|error| ("invalid_utf8", error.to_string()))?;
    let object: Object =
        serde_json::from_str(line).map_err(|error| ("invalid_json", error.to_string()))?;

    let value = |path: &Option<String>| lookup(&object, path.as_deref()?);
    let text = text(&object, &source.text)?;
    let [id, url, date] = [&source.id, &source.url, &source.date].map(value);
    let (id_text, url_text) = (id.and_then(scalar), url.and_then(scalar));
    let date_value = date.and_then(scalar).and_then(|text| date::parse(&text));

    // A value that cannot be used stays in `meta`, so that nothing is lost and the coverage can
    // count it.
    let mut named = vec![source.text.as_str()];
    let is_null = |value: Option<&RawValue>| value.is_none_or(|value| value.get() == "null");
    for (path, value, is_used) in [
        (&source.id, id, id_text.is_some()),
        (&source.url, url, url_text.is_some()),
        (&source.date, date, date_value.is_some()),
    ] {
        named.extend(path.as_deref().filter(|_| is_used || is_null(value)));
    }
    Ok(Record {
        text,
        id: id_text,
        url: url_text,
        date: date_value,
        meta: meta(&object, &named),
    })
}

/// The text at `path`. It must be a string.
fn text(object: &Object, path: &str) -> Result<String, Damaged> {
    let Some(value) = lookup(object, path) else {
        // The first names show which field the manifest may have meant.
        let names: Vec<&str> = object
            .0
            .iter()
            .map(|(name, _)| name.as_ref())
            .take(12)
            .collect();
        return Err((
            "missing_text",
            format!("no field \"{path}\"; there are: {}", names.join(", ")),
        ));
    };

    if value.get() == "null" {
        return Err(("missing_text", format!("field \"{path}\" is null")));
    }
    if !value.get().starts_with('"') {
        let head: String = value.get().chars().take(40).collect();
        return Err(("text_not_string", format!("field \"{path}\" is {head}")));
    }

    // The parser of the line did not decode escapes, so a lone surrogate is found only here.
    serde_json::from_str(value.get())
        .map_err(|error| ("invalid_json", format!("field \"{path}\": {error}")))
}

/// The field with the name `path`, or else the field at the dotted path through objects.
fn lookup<'a>(object: &Object<'a>, path: &str) -> Option<&'a RawValue> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let (head, rest) = path.split_once('.')?;
    let inner: Object<'a> = serde_json::from_str(object.get(head)?.get()).ok()?;
    lookup(&inner, rest)
}

/// A string without its escapes, or a number or boolean as it is written. `None` for null, lists
/// and objects.
fn scalar(value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first()? {
        b'"' => serde_json::from_str(value.get()).ok(),
        b'n' | b'[' | b'{' => None,
        _ => Some(value.get().to_owned()),
    }
}

/// The object without the `named` fields, or `None` if no field is left. A named field of a nested
/// object is left out of that object.
fn meta(object: &Object, named: &[&str]) -> Option<String> {
    let mut out = String::from("{");
    for (name, value) in &object.0 {
        if named.contains(&name.as_ref()) {
            continue;
        }

        // `lookup` splits a path at its first dot, so it never enters a field with a dot in its
        // name.
        let inside: Vec<&str> = named
            .iter()
            .filter(|_| !name.contains('.'))
            .filter_map(|path| path.strip_prefix(name.as_ref())?.strip_prefix('.'))
            .collect();
        let kept = match (
            inside.is_empty(),
            serde_json::from_str::<Object>(value.get()),
        ) {
            (false, Ok(inner)) => match meta(&inner, &inside) {
                Some(rest) => Cow::Owned(rest),
                None => continue,
            },
            _ => Cow::Borrowed(value.get()),
        };

        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&serde_json::to_string(name).expect("a string is JSON"));
        out.push(':');
        out.push_str(&kept);
    }

    out.push('}');
    (out.len() > 2).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            name: "s".into(),
            path: vec![],
            text: text.into(),
            id: Some("id".into()),
            url: Some("meta.url".into()),
            domain: "s".into(),
            date: Some("date".into()),
            priority: 0,
            format: None,
            license: None,
            allow_missing: Vec::new(),
        }
    }

    #[test]
    fn named_fields_are_taken_and_the_rest_is_kept_as_written() {
        let line = br#"{"id": 7, "body":{"text":"a\u0000\n\u00e9","n":1.50}, "meta":{"url":"u"}, "date":"2020-01-02", "x":[1, 2]}"#;
        let record = record(line, &source("body.text")).expect("a record");
        assert_eq!(record.text, "a\0\né");
        assert_eq!(record.id.as_deref(), Some("7"));
        assert_eq!(record.url.as_deref(), Some("u"));
        assert_eq!(record.date, Some(1_577_923_200_000_000));
        assert_eq!(
            record.meta.as_deref(),
            Some(r#"{"body":{"n":1.50},"x":[1, 2]}"#)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let reason = |line: &[u8]| record(line, &source("text")).expect_err("damage").0;
        assert_eq!(reason(b"{"), "invalid_json");
        assert_eq!(reason(b"[1]"), "invalid_json");
        assert_eq!(reason(b"{\"text\":\"\x00\"}"), "invalid_json");
        assert_eq!(reason(br#"{"text":"\ud800"}"#), "invalid_json");
        assert_eq!(reason(br#"{"text":null}"#), "missing_text");
        assert_eq!(reason(br#"{"body":"x"}"#), "missing_text");
        assert_eq!(reason(br#"{"text":5}"#), "text_not_string");
        assert_eq!(reason(b"{\"text\":\"\xff\"}"), "invalid_utf8");
    }

    #[test]
    fn nesting_however_deep_is_no_danger() {
        let deep = format!(
            r#"{{"text":"a","x":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let result = record(deep.as_bytes(), &source("text"));
        assert!(result.is_ok() || result.is_err_and(|(reason, _)| reason == "invalid_json"));
    }

    #[test]
    fn a_dotted_name_wins_over_a_path() {
        let record = record(br#"{"a.b":"x","a":{"b":"y"}}"#, &source("a.b")).expect("a record");
        assert_eq!(record.text, "x");
    }
}
