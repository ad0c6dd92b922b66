//! Turns one JSON object into a record. Fields that the manifest does not name are kept as `meta`,
//! and their values are kept byte for byte.
//!
//! Two things that programs write and JSON or Unicode does not allow are repaired in all fields: a
//! lone surrogate becomes U+FFFD, and `NaN` or `Infinity` becomes null. A line is repaired only
//! after the parser refused it, or if `meta` holds a lone surrogate, which the parser copies
//! unseen. So other lines pay for a search in `meta` alone.

use std::borrow::Cow;
use std::fmt;

use curate_schemas::stages::documents::Source;
use memchr::{memchr2, memmem};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::is_blank;
use crate::date;
use crate::record::{Record, Repairs};

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

/// Reads one JSON object as a record.
///
/// # Errors
/// If the line is not UTF-8 or not a JSON object, or if its text is missing or not a string. The
/// error is the reason and the detail for the table `quarantine`.
pub fn record(line: &[u8], source: &Source) -> Result<Record, Damaged> {
    let line = std::str::from_utf8(line).map_err(|error| ("invalid_utf8", error.to_string()))?;
    let found = read(line, source);
    let is_fine = found.as_ref().is_ok_and(|record| {
        let meta = record.meta.as_deref().unwrap_or_default();
        memmem::find(meta.as_bytes(), b"\\u").is_none() || repair(meta).is_none()
    });
    if is_fine {
        return found;
    }

    let Some((line, has_surrogate)) = repair(line) else {
        return found;
    };
    let mut record = read(&line, source)?;
    record.repairs.lone_surrogate = has_surrogate;
    Ok(record)
}

/// The line with U+FFFD for lone surrogates and null for numbers that JSON does not have, or `None`
/// if it has neither. The `bool` is true if it has a lone surrogate.
fn repair(line: &str) -> Option<(String, bool)> {
    let bytes = line.as_bytes();
    let mut out = String::new();
    let (mut done, mut at) = (0, 0);
    let (mut in_string, mut has_surrogate) = (false, false);
    while at < bytes.len() {
        // The length of what is replaced at this place, and the replacement.
        let (length, replacement) = match bytes[at] {
            b'"' => {
                in_string = !in_string;
                at += 1;
                continue;
            }
            b'\\' if in_string => match surrogate(&bytes[at..]) {
                Surrogate::Lone => {
                    has_surrogate = true;
                    (6, "\\ufffd")
                }
                Surrogate::Pair => {
                    at += 12;
                    continue;
                }
                // The escaped byte may be a quote, and it is skipped.
                Surrogate::None => {
                    at += 2;
                    continue;
                }
            },
            _ if in_string => {
                at += memchr2(b'"', b'\\', &bytes[at..]).unwrap_or(bytes.len() - at);
                continue;
            }
            byte if is_word(byte) => {
                let rest = &bytes[at..];
                let end = rest.iter().position(|byte| !is_word(*byte));
                let word = &rest[..end.unwrap_or(rest.len())];
                if !is_no_number(word) {
                    at += word.len();
                    continue;
                }
                (word.len(), "null")
            }
            _ => {
                at += 1;
                continue;
            }
        };

        out.push_str(&line[done..at]);
        out.push_str(replacement);
        at += length;
        done = at;
    }

    if done == 0 {
        return None;
    }
    out.push_str(&line[done..]);
    Some((out, has_surrogate))
}

/// What an escape in a string says of surrogates.
enum Surrogate {
    /// A high half and the low half behind it, 12 bytes.
    Pair,
    /// A half without the other, 6 bytes.
    Lone,
    /// The escape is of another kind.
    None,
}

/// Judges the escape at the start of `bytes`.
fn surrogate(bytes: &[u8]) -> Surrogate {
    let half = |bytes: &[u8]| -> Option<u8> {
        let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
        let is_half = matches!(digits[0], b'd' | b'D')
            && digits[2].is_ascii_hexdigit()
            && digits[3].is_ascii_hexdigit();
        is_half.then_some(digits[1].to_ascii_lowercase())
    };

    let second = bytes.get(6..).and_then(half);
    match half(bytes) {
        Some(b'8' | b'9' | b'a' | b'b') => match second {
            Some(b'c'..=b'f') => Surrogate::Pair,
            _ => Surrogate::Lone,
        },
        Some(b'c'..=b'f') => Surrogate::Lone,
        _ => Surrogate::None,
    }
}

/// True for the bytes of a number or a word outside of strings.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// True for the words that programs write for numbers which JSON does not have: `NaN`, `Infinity`
/// and `-Infinity` in Python, `nan` and `inf` in C.
fn is_no_number(word: &[u8]) -> bool {
    let unsigned = match word {
        [b'-' | b'+', rest @ ..] => rest,
        _ => word,
    };
    ["nan", "inf", "infinity"]
        .iter()
        .any(|name| unsigned.eq_ignore_ascii_case(name.as_bytes()))
}

/// Reads one JSON object as a record, without repairs.
fn read(line: &str, source: &Source) -> Result<Record, Damaged> {
    let object: Object =
        serde_json::from_str(line).map_err(|error| ("invalid_json", error.to_string()))?;

    let value = |path: &Option<String>| lookup(&object, path.as_deref()?);
    let text = text(&object, &source.text)?;
    let [id, url, date] = [&source.id, &source.url, &source.date].map(value);
    let is_present = |text: &String| !is_blank(text.as_bytes());
    let id_text = id.and_then(scalar).filter(is_present);
    // An address is text. A number or a boolean would be an equal address in many records.
    let url_text = url
        .filter(|value| value.get().starts_with('"'))
        .and_then(scalar)
        .filter(is_present);
    let date_value = date.and_then(scalar).and_then(|text| date::parse(&text));

    // A value that cannot be used stays in `meta`, so that nothing is lost and the coverage can
    // count it.
    let mut named = vec![source.text.as_str()];
    for (path, value, is_used) in [
        (&source.id, id, id_text.is_some()),
        (&source.url, url, url_text.is_some()),
        (&source.date, date, date_value.is_some()),
    ] {
        named.extend(path.as_deref().filter(|_| is_used || is_missing(value)));
    }
    Ok(Record {
        text,
        id: id_text,
        url: url_text,
        date: date_value,
        meta: meta(&object, &named),
        repairs: Repairs::default(),
    })
}

/// The text at `path`. It must be a string. Without a path the text is empty.
fn text(object: &Object, path: &str) -> Result<String, Damaged> {
    if path.is_empty() {
        return Ok(String::new());
    }
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

/// True if a record lacks the value: it has no such field, null, or a blank string.
fn is_missing(value: Option<&RawValue>) -> bool {
    value.is_none_or(|value| {
        let is_blank_text = || scalar(value).is_some_and(|text| is_blank(text.as_bytes()));
        value.get() == "null" || is_blank_text()
    })
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
            ..Source::default()
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
    fn a_blank_id_or_url_is_missing_and_a_url_is_text() {
        let found = |line: &str| {
            let found = record(line.as_bytes(), &source("text")).expect("a record");
            (found.id, found.url, found.meta)
        };
        for blank in ["", "  ", "\\u3000\\n", "\\ufeff"] {
            let line = format!(
                r#"{{"text":"a","id":"{blank}","meta":{{"url":"{blank}"}},"date":"{blank}"}}"#
            );
            assert_eq!(found(&line), (None, None, None), "{blank}");
        }
        for other in ["5", "true", r#"["u"]"#] {
            let line = format!(r#"{{"text":"a","id":false,"meta":{{"url":{other}}}}}"#);
            let meta = format!(r#"{{"meta":{{"url":{other}}}}}"#);
            assert_eq!(found(&line), (Some("false".to_owned()), None, Some(meta)));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let reason = |line: &[u8]| record(line, &source("text")).expect_err("damage").0;
        assert_eq!(reason(b"{"), "invalid_json");
        assert_eq!(reason(b"[1]"), "invalid_json");
        assert_eq!(reason(b"{\"text\":\"\x00\"}"), "invalid_json");
        assert_eq!(reason(br#"{"text":null}"#), "missing_text");
        assert_eq!(reason(br#"{"body":"x"}"#), "missing_text");
        assert_eq!(reason(br#"{"text":5}"#), "text_not_string");
        assert_eq!(reason(b"{\"text\":\"\xff\"}"), "invalid_utf8");
    }

    #[test]
    fn lone_surrogates_are_replaced_in_every_field_and_pairs_are_kept() {
        let line = br#"{"text":"a\ud83d b \ud83d\ude00 \\ud83d","id":"\uDE00","k\ud800":{"x":"\udfff\ud800\ud83d\ude00"},"n":1.50}"#;
        let found = record(line, &source("text")).expect("a record");
        assert_eq!(found.text, "a\u{fffd} b \u{1f600} \\ud83d");
        assert_eq!(found.id.as_deref(), Some("\u{fffd}"));
        let meta = found.meta.as_deref().expect("other fields");
        let meta: serde_json::Value = serde_json::from_str(meta).expect("JSON");
        assert_eq!(meta["k\u{fffd}"]["x"], "\u{fffd}\u{fffd}\u{1f600}");
        assert!(found.repairs.lone_surrogate);

        let whole = br#"{"text":"a","m":"\ud83d\ude00 \ud55c"}"#;
        let found = record(whole, &source("text")).expect("a record");
        assert_eq!(
            found.meta.as_deref(),
            Some(r#"{"m":"\ud83d\ude00 \ud55c"}"#)
        );
        assert!(!found.repairs.lone_surrogate);
    }

    #[test]
    fn numbers_that_json_does_not_have_become_null() {
        let line =
            br#"{"score":NaN,"text":"NaN, -Infinity","x":[-Infinity,1e5,{"y":Infinity}],"z":nan}"#;
        let found = record(line, &source("text")).expect("a record");
        assert_eq!(found.text, "NaN, -Infinity");
        assert_eq!(
            found.meta.as_deref(),
            Some(r#"{"score":null,"x":[null,1e5,{"y":null}],"z":null}"#)
        );
        assert_eq!(found.repairs, Repairs::default());

        let reason = |line: &[u8]| record(line, &source("text")).expect_err("damage").0;
        assert_eq!(reason(br#"{"text":NaN}"#), "missing_text");
        assert_eq!(reason(br#"{"text":"a","x":NaNa}"#), "invalid_json");
        assert_eq!(reason(br#"{"text":"a","x":undefined}"#), "invalid_json");
        assert_eq!(reason(br#"{"text":"\ud800"#), "invalid_json");
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
