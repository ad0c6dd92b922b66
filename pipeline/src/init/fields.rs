//! Tells which field of a record is its text, its id, its URL, its date and its licence, by the names
//! of the fields and by what their values look like.

use std::collections::{BTreeMap, BTreeSet};

use curate_formats::numbers::grouped;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

/// The most levels of objects that are looked into.
const MOST_LEVELS: usize = 4;
/// The most fields that are told apart.
const MOST_FIELDS: usize = 500;
/// The least mean length of a text, characters, unless the field has the name of a text.
const TEXT_CHARS: f64 = 20.0;
/// The most values of a licence that are remembered.
const MOST_VALUES: usize = 20;

/// Names of fields with the text, the most likely ones first.
const TEXT: [&str; 14] = [
    "text",
    "content",
    "body",
    "document",
    "raw_content",
    "page_content",
    "markdown",
    "article",
    "passage",
    "story",
    "code",
    "doc",
    "contents",
    "output",
];
/// Names of fields with the id of a record.
const ID: [&str; 11] = [
    "id",
    "doc_id",
    "document_id",
    "uid",
    "uuid",
    "guid",
    "_id",
    "docid",
    "record_id",
    "warc_record_id",
    "key",
];
/// Names of fields with the URL of a record.
const URL: [&str; 8] = [
    "url",
    "uri",
    "source_url",
    "link",
    "permalink",
    "href",
    "page_url",
    "warc-target-uri",
];
/// Names of fields with the date of a record, the date of its text before that of its download.
const DATE: [&str; 15] = [
    "date",
    "published",
    "published_at",
    "date_published",
    "publish_date",
    "publication_date",
    "pubdate",
    "created",
    "created_at",
    "modified",
    "updated",
    "updated_at",
    "timestamp",
    "crawl_date",
    "time",
];
/// Names of fields with the licence of a text.
const LICENCE: [&str; 5] = ["license", "licence", "licenses", "rights", "license_type"];

/// What the values of a field look like.
#[derive(Debug, Default)]
pub struct Field {
    /// The path of the field, with dots between the levels.
    pub path: String,
    /// Records with a value that is not null.
    pub present: u64,
    /// The number of values of each type.
    types: BTreeMap<&'static str, u64>,
    /// The characters of each string.
    chars: Vec<u64>,
    /// Numbers, booleans and strings that are not blank.
    scalars: u64,
    /// Hashes of these values.
    distinct: BTreeSet<u64>,
    /// Strings that begin with `http://` or `https://`, and have no white space.
    urls: u64,
    /// Strings and numbers that can be read as dates.
    dates: u64,
    /// Some of the strings of a field with the name of a licence.
    values: BTreeMap<String, u64>,
}

impl Field {
    /// The type of most values, and how many values have it, of `records` records.
    pub fn coverage(&self, records: u64) -> String {
        let kind = self.types.iter().max_by_key(|(_, n)| **n);
        let kind = kind.map_or("null", |(kind, _)| kind);
        let others = match self.types.len() {
            0 | 1 => "",
            _ => ", and other types",
        };
        format!(
            "{kind} in {} of {} records{others}",
            grouped(self.types.get(kind).copied().unwrap_or(0)),
            grouped(records)
        )
    }

    /// The number of strings.
    pub fn strings(&self) -> u64 {
        self.chars.len() as u64
    }

    /// The number of different values.
    pub fn distinct(&self) -> u64 {
        self.distinct.len() as u64
    }

    /// The mean length of the strings, characters. 0 if there is no string.
    fn mean_chars(&self) -> f64 {
        self.chars.iter().sum::<u64>() as f64 / self.chars.len().max(1) as f64
    }

    /// The median length of the strings, characters. 0 if there is no string.
    pub fn median_chars(&self) -> u64 {
        median(&self.chars)
    }

    /// The last part of the path, in lower case.
    fn name(&self) -> String {
        let name = self.path.rsplit('.').next().unwrap_or_default();
        name.to_lowercase()
    }

    /// The place of the name in a list of names, or `None` if it is not there.
    fn rank(&self, names: &[&str]) -> Option<usize> {
        let name = self.name();
        names.iter().position(|known| *known == name)
    }

    /// Adds the value of a record.
    fn add(&mut self, value: &Value) {
        let kind = match value {
            Value::Null => return,
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        self.present += 1;
        *self.types.entry(kind).or_default() += 1;

        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return,
        };
        if value.is_string() {
            self.chars.push(text.chars().count() as u64);
            self.add_value(&text);
        }
        let bare = text.trim();
        if bare.is_empty() {
            return;
        }

        self.scalars += 1;
        self.distinct.insert(xxh3_64(text.as_bytes()));
        let is_address = bare.starts_with("http://") || bare.starts_with("https://");
        self.urls += u64::from(is_address && !bare.contains(char::is_whitespace));
        // No date is longer, and a text of a megabyte is not worth the search.
        self.dates += u64::from(bare.len() <= 64 && curate_ingest::is_date(bare));
    }

    /// Remembers a short value of a field with the name of a licence.
    fn add_value(&mut self, text: &str) {
        let is_known = self.values.contains_key(text) || self.values.len() < MOST_VALUES;
        if is_known && text.len() <= 200 && self.rank(&LICENCE).is_some() {
            *self.values.entry(text.to_owned()).or_default() += 1;
        }
    }
}

/// The median of some numbers, 0 without any.
pub fn median(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// The fields of the records, in the order in which they come. A field of an object is named by its
/// path, and a field that a manifest cannot name is left out.
pub fn fields(records: &[Map<String, Value>]) -> Vec<Field> {
    let mut places = BTreeMap::new();
    let mut fields: Vec<Field> = Vec::new();
    for record in records {
        visit(record, "", 1, &mut |path, value| {
            let place = *places.entry(path.to_owned()).or_insert(fields.len());
            if place == MOST_FIELDS {
                places.remove(path);
                return;
            }
            if place == fields.len() {
                fields.push(Field {
                    path: path.to_owned(),
                    ..Field::default()
                });
            }
            fields[place].add(value);
        });
    }
    fields
}

/// Calls `each` with every value of an object and of the objects in it, and with its path.
fn visit(
    object: &Map<String, Value>,
    above: &str,
    level: usize,
    each: &mut dyn FnMut(&str, &Value),
) {
    for (name, value) in object {
        // A manifest names no field with an empty part.
        if name.split('.').any(str::is_empty) {
            continue;
        }
        let path = format!("{above}{name}");
        match value {
            Value::Object(inner) if level < MOST_LEVELS && !name.contains('.') => {
                visit(inner, &format!("{path}."), level + 1, each);
            }
            value => each(&path, value),
        }
    }
}

/// The value of a record at a path, as the readers find it.
pub fn lookup<'a>(record: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = record.get(path) {
        return Some(value);
    }
    let (head, rest) = path.split_once('.')?;
    lookup(record.get(head)?.as_object()?, rest)
}

/// What is written for a field of a source: the path, or why there is none.
#[derive(Debug, Default)]
pub struct Choice {
    /// The path of the field.
    pub path: Option<String>,
    /// What was seen. Empty if there is nothing to say.
    pub why: String,
}

impl Choice {
    fn of(field: &Field, why: String) -> Choice {
        Choice {
            path: Some(field.path.clone()),
            why,
        }
    }
}

/// The field with the text of `records` records, and the next likely one.
pub fn text(fields: &[Field], records: u64) -> Choice {
    // A name counts as much as a text that is 100 times longer.
    let score = |field: &Field| {
        let named = field.rank(&TEXT).map(|rank| 100.0 - rank as f64);
        field.mean_chars() * named.unwrap_or(1.0) * field.strings() as f64
    };
    let mut likely: Vec<&Field> = fields
        .iter()
        .filter(|field| {
            let is_other = field.urls * 2 > field.strings() || field.dates * 2 > field.strings();
            let is_named = field.rank(&TEXT).is_some() && field.mean_chars() > 0.0;
            field.strings() > 0 && (is_named || field.mean_chars() >= TEXT_CHARS && !is_other)
        })
        .collect();
    likely.sort_by(|a, b| score(b).total_cmp(&score(a)));

    let Some(first) = likely.first() else {
        return Choice::default();
    };
    let median = |field: &Field| format!("median {} characters", grouped(field.median_chars()));
    let mut why = format!("{}, {}", first.coverage(records), median(first));
    if let Some(next) = likely
        .get(1)
        .filter(|next| next.mean_chars() >= 5.0 * TEXT_CHARS && next.rank(&ID).is_none())
    {
        why += &format!("; also possible: {} ({})", next.path, median(next));
    }
    Choice::of(first, why)
}

/// The field with the id of a record: by its name, and every value occurs once. Else a field of
/// strings that look like ids.
pub fn id(fields: &[Field], records: u64) -> Choice {
    let named = best(fields, &ID, |field| field.scalars > 0);
    let Some(field) = named else {
        return Choice::default();
    };

    let repeated = field.scalars - field.distinct();
    if repeated > 0 && field.distinct() * 100 < field.scalars * 99 {
        let why = format!(
            "{} is not used as id: {} of {} values repeat",
            field.path,
            grouped(repeated),
            grouped(field.scalars)
        );
        return Choice { path: None, why };
    }
    let unique = match repeated {
        0 => "all different".to_owned(),
        n => format!("{} repeat", grouped(n)),
    };
    Choice::of(field, format!("{}, {unique}", field.coverage(records)))
}

/// The field with the URL of a record: by its name, or else by its values.
pub fn url(fields: &[Field], records: u64) -> Choice {
    let is_url = |field: &Field| field.urls * 2 > field.present;
    let named = best(fields, &URL, is_url);
    let found = named.or_else(|| {
        let mut by_value = fields.iter().filter(|field| is_url(field));
        by_value.find(|field| field.present * 2 > records)
    });
    found.map_or_else(Choice::default, |field| {
        let n = grouped(field.urls);
        let why = format!(
            "{}, {n} of them addresses of the web",
            field.coverage(records)
        );
        Choice::of(field, why)
    })
}

/// The field with the date of a record, by its name and its values.
pub fn date(fields: &[Field], records: u64) -> Choice {
    let is_date = |field: &Field| field.dates * 2 > field.present;
    best(fields, &DATE, is_date).map_or_else(Choice::default, |field| {
        let n = grouped(field.dates);
        let why = format!("{}, {n} of them dates", field.coverage(records));
        Choice::of(field, why)
    })
}

/// The licence that a field of the records names, and what was seen. The path of the choice is the
/// licence itself.
pub fn licence(fields: &[Field], records: u64) -> Choice {
    let Some(field) = best(fields, &LICENCE, |field| !field.values.is_empty()) else {
        return Choice::default();
    };

    let path = &field.path;
    let is_label = |text: &str| {
        (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    match field.values.iter().next() {
        Some((value, n)) if field.values.len() == 1 && *n == records && is_label(value) => Choice {
            path: Some(value.clone()),
            why: format!("the field {path} of all {} records", grouped(records)),
        },
        _ => Choice {
            path: Some("several, each record names its own".to_owned()),
            why: format!("the field {path}: {}", field.coverage(records)),
        },
    }
}

/// The first field with one of the names, by the order of the names, then by the depth of the field.
fn best<'a>(
    fields: &'a [Field],
    names: &[&str],
    is_good: impl Fn(&Field) -> bool,
) -> Option<&'a Field> {
    let good = fields.iter().filter(|field| is_good(field));
    let ranked = good.filter_map(|field| Some((field.rank(names)?, field)));
    let first = ranked.min_by_key(|(rank, field)| (*rank, field.path.matches('.').count()));
    first.map(|(_, field)| field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Vec<Field> {
        let records: Vec<Map<String, Value>> = lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("an object"))
            .collect();
        fields(&records)
    }

    #[test]
    fn fields_are_told_by_their_names_and_their_values() {
        let fields = of(&[
            r#"{"id":1,"title":"A title of some length","body":{"text":"short"},"link":"https://a.b/c","published":"2024-01-02","license":"cc0-1.0"}"#,
            r#"{"id":2,"title":"Another title, and it is longer","body":{"text":"text"},"link":"https://a.b/d","published":"2024-01-03","license":"cc0-1.0"}"#,
        ]);
        let path = |choice: Choice| choice.path.unwrap_or_default();
        assert_eq!(path(text(&fields, 2)), "body.text");
        assert_eq!(path(id(&fields, 2)), "id");
        assert_eq!(path(url(&fields, 2)), "link");
        assert_eq!(path(date(&fields, 2)), "published");
        assert_eq!(path(licence(&fields, 2)), "cc0-1.0");
        assert_eq!(
            id(&fields, 2).why,
            "number in 2 of 2 records, all different"
        );
    }

    #[test]
    fn a_name_alone_is_no_reason() {
        let fields = of(&[
            r#"{"id":"x","url":"no address","date":"soon","license":["a"],"messages":[{"text":"a"}]}"#,
            r#"{"id":"x","url":"none","date":"later","license":["a"],"messages":[]}"#,
        ]);
        assert_eq!(text(&fields, 2).path, None);
        assert_eq!(id(&fields, 2).path, None);
        assert_eq!(
            id(&fields, 2).why,
            "id is not used as id: 1 of 2 values repeat"
        );
        for choice in [url(&fields, 2), date(&fields, 2), licence(&fields, 2)] {
            assert_eq!(choice.path, None);
        }
    }

    #[test]
    fn fields_without_a_name_for_a_manifest_are_left_out() {
        let fields = of(&[r#"{"":"a","a..b":"c",".":"d","x":{"":"e","y.z":"f"},"k":null}"#]);
        let paths: Vec<&str> = fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["x.y.z", "k"]);
        assert_eq!(fields[1].present, 0);
    }

    #[test]
    fn a_long_field_of_another_name_is_the_text_if_no_name_tells() {
        let long = "many words ".repeat(50);
        let line = format!(r#"{{"prompt":"{long}","kind":"a short label, no text"}}"#);
        let fields = of(&[&line]);
        assert_eq!(text(&fields, 1).path.as_deref(), Some("prompt"));
    }
}
