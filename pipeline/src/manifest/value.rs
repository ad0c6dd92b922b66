//! The check of one value: whether it has the type of its key and lies in the key's range, and its
//! normal form.
//!
//! The wording of types and ranges is here too, for messages and for the reference.

use std::collections::BTreeSet;

use curate_schemas::config::{Kind, NO_MAX};
use curate_scorers::language::language_codes;
use curate_scorers::language::names::{code_of, named, renamed};

use super::diagnose::{Problem, closest, did_you_mean, list, quoted};
use super::size::{meant_size, parse_size, size_text};
use super::tree::{Node, Value};

/// The value of `node` in the form that [`Manifest`](curate_schemas::Manifest) reads, or all its
/// mistakes. `path` is the path of its key, which messages name.
pub(super) fn read(path: &str, kind: Kind, node: &Node) -> Result<toml::Value, Vec<Problem>> {
    match (kind, &node.value) {
        (Kind::Words(known), Value::List(items)) => words(path, known, items),
        (Kind::Languages, Value::List(items)) => languages(path, items),
        (Kind::Paths, Value::List(items)) => paths(path, items, node),
        (Kind::Command, Value::List(items)) => command(path, items, node),
        (Kind::Paths, _) => paths(path, std::slice::from_ref(node), node),
        _ => scalar(kind, &node.value).map_err(|fault| vec![fault.at(path, node)]),
    }
}

/// A mistake in a value, without the value's key and place.
struct Fault {
    message: String,
    hint: Option<String>,
}

impl Fault {
    fn at(self, path: &str, node: &Node) -> Problem {
        Problem::new(node.at, format!("{path}: {}", self.message)).hint(self.hint)
    }
}

/// The checked value of a key that holds a single value.
fn scalar(kind: Kind, value: &Value) -> Result<toml::Value, Fault> {
    let read = match (kind, value) {
        (Kind::Bool, Value::Bool(value)) => Some(toml::Value::Boolean(*value)),
        (Kind::Integer { min, max }, Value::Integer(value)) => within(*value, min, max),
        (Kind::Count, Value::Integer(value)) => within(*value, 1, NO_MAX),
        // The bound is just below 2^63, the bound of TOML's integers. The cast is exact for every
        // whole float in the range.
        (Kind::Count, Value::Float(value))
            if value.fract() == 0.0 && (1.0..9.2e18).contains(value) =>
        {
            Some(toml::Value::Integer(*value as i64))
        }
        // A whole number may be written without its `.0`.
        (
            Kind::Number { .. } | Kind::Positive { .. } | Kind::Large { .. },
            Value::Integer(value),
        ) => number(kind, *value as f64),
        (Kind::Number { .. } | Kind::Positive { .. } | Kind::Large { .. }, Value::Float(value)) => {
            number(kind, *value)
        }
        (Kind::WordOrShare(_), Value::Integer(value)) => share(*value as f64),
        (Kind::WordOrShare(_), Value::Float(value)) => share(*value),
        // A negative integer is not a size, so it gets the message about the type.
        (Kind::Size { min, max }, Value::Integer(value @ 0..)) => within(*value, min, max),
        (Kind::Size { min, max }, Value::Text(text)) => match parse_size(text) {
            Some(bytes) => within(bytes, min, max),
            None => return Err(unlike(kind, value)),
        },
        (Kind::WordOrJson(_), Value::Text(text)) if is_json(text) => {
            Some(toml::Value::String(text.clone()))
        }
        (
            Kind::Word(known) | Kind::WordOrJson(known) | Kind::WordOrShare(known),
            Value::Text(text),
        ) => {
            return word(known, text, &wanted(kind, known));
        }
        (Kind::Name | Kind::Label | Kind::Field | Kind::Path, Value::Text(text)) => {
            is_text_of(kind, text).then(|| toml::Value::String(text.clone()))
        }
        _ => return Err(unlike(kind, value)),
    };

    if let (Kind::Path, Value::Text(text)) = (kind, value)
        && let Some(fault) = shell_fault(text)
    {
        return Err(fault);
    }

    // The type is right, so the range is what is missed.
    read.ok_or_else(|| Fault {
        message: format!("must be {}, found {}", range(kind), bare(kind, value)),
        hint: meant(kind, value),
    })
}

/// The hint about a number that is out of range: what its author most likely meant.
fn meant(kind: Kind, value: &Value) -> Option<String> {
    let number = match value {
        Value::Integer(value) => *value as f64,
        Value::Float(value) => *value,
        _ => return None,
    };

    let is_share = matches!(
        kind,
        Kind::Number { min: 0.0, max: 1.0 } | Kind::Positive { max: 1.0 } | Kind::WordOrShare(_)
    );
    match kind {
        Kind::Large { unit, .. } => {
            billions(number).map(|meant| format!("{number} {unit}: did you mean {meant}?"))
        }
        // A whole number from 2 to 100 is a percentage.
        _ if is_share && number.fract() == 0.0 && (2.0..=100.0).contains(&number) => {
            Some(format!("did you mean {}?", number / 100.0))
        }
        _ => None,
    }
}

/// A number that was written without its billions, with them: 7 is `7e9`. From 100 on it may also
/// stand for millions, and from 1000 on it does. `None` if the number is not in \[0.01, 1e6).
pub(crate) fn billions(number: f64) -> Option<String> {
    match number {
        0.01..100.0 => Some(format!("{number}e9")),
        100.0..1000.0 => Some(format!("{number}e9 or {number}e6")),
        1000.0..1e6 => Some(format!("{}e9", number / 1000.0)),
        _ => None,
    }
}

/// A number with the suffix of a magnitude or a percent sign, in TOML: `7B` is `7e9`, and `5%` is
/// `0.05`. `None` for another text, or if the key takes no such number: a share is never 150%.
fn without_suffix(kind: Kind, text: &str) -> Option<String> {
    let text = text.trim();
    let suffix = text.chars().next_back()?.to_ascii_lowercase();
    let digits = text[..text.len() - suffix.len_utf8()].trim_end();
    let is_plain = |c: char| c.is_ascii_digit() || c == '.';
    let value: f64 = digits
        .parse()
        .ok()
        .filter(|_| digits.chars().all(is_plain))?;

    let exponent = match suffix {
        '%' => -2,
        'k' => 3,
        'm' => 6,
        'b' | 'g' => 9,
        't' => 12,
        _ => return None,
    };
    match kind {
        Kind::Number { .. } | Kind::Positive { .. } if exponent < 0 => {
            number(kind, value / 100.0).map(|_| (value / 100.0).to_string())
        }
        Kind::Integer { .. } if exponent > 0 => {
            Some(format!("{:.0}", value * 10_f64.powi(exponent)))
        }
        Kind::Count | Kind::Large { .. } if exponent > 0 => Some(format!("{digits}e{exponent}")),
        _ => None,
    }
}

/// The fault of a value that does not have the type of its key.
fn unlike(kind: Kind, value: &Value) -> Fault {
    let hint = match (kind, value) {
        (Kind::Words(_) | Kind::Languages, Value::Text(text)) => {
            Some(format!("write [{}]", items(kind, text)))
        }
        (_, Value::Text(text)) if without_suffix(kind, text).is_some() => {
            without_suffix(kind, text).map(|number| format!("did you mean {number}?"))
        }
        (Kind::Number { .. } | Kind::Positive { .. }, Value::Text(text)) if text.ends_with('%') => {
            Some(format!("write a number {}, without %", range(kind)))
        }
        (Kind::Size { min, max }, Value::Text(text)) => {
            let bytes = |size: &String| within(parse_size(size)?, min, max);
            let meant = meant_size(text).filter(|size| bytes(size).is_some());
            Some(meant.map_or_else(
                || "units are B, KB, MB, GB, KiB, MiB and GiB".to_owned(),
                |size| format!("did you mean {}?", quoted(&size)),
            ))
        }
        _ => None,
    };

    Fault {
        message: format!("expected {}, found {}", type_name(kind), found(value)),
        hint,
    }
}

/// The items of a list that was written as one text, such as `eng,deu` or `[eng]`, each in quotes.
fn items(kind: Kind, text: &str) -> String {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    let items = text
        .split(',')
        .map(|item| item.trim().trim_matches(['"', '\'']))
        .filter(|item| !item.is_empty())
        .filter(|item| !matches!(kind, Kind::Languages) || !is_no_language(item))
        .map(|item| match kind {
            Kind::Languages => near_language(item).unwrap_or(item),
            _ => item,
        });
    list(items)
}

/// An integer, if it lies in a range and TOML can hold it.
fn within(value: i128, min: u64, max: u64) -> Option<toml::Value> {
    let value = i64::try_from(value).ok()?;
    (min..=max)
        .contains(&u64::try_from(value).ok()?)
        .then_some(toml::Value::Integer(value))
}

/// A float, if it is finite and in the range of its key.
fn number(kind: Kind, value: f64) -> Option<toml::Value> {
    let inside = match kind {
        Kind::Number { min, max } => min <= value && value <= max,
        Kind::Positive { max } => 0.0 < value && value <= max,
        Kind::Large { min, .. } => min <= value,
        _ => false,
    };

    // Adding 0 turns -0 into 0. The two are equal, but would give different stage keys.
    (inside && value.is_finite()).then_some(toml::Value::Float(value + 0.0))
}

/// A number above 0 and at most 1.
fn share(value: f64) -> Option<toml::Value> {
    number(Kind::Positive { max: 1.0 }, value)
}

/// True if a text is in the range of its key.
fn is_text_of(kind: Kind, text: &str) -> bool {
    let short = (1..=64).contains(&text.chars().count());

    match kind {
        Kind::Name => {
            let mut bytes = text.bytes();
            short
                && !text.starts_with('.')
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        Kind::Label => short && !text.chars().any(char::is_control),
        Kind::Field => text.split('.').all(|part| !part.is_empty()),
        Kind::Path | Kind::Paths => !text.is_empty() && !text.contains('\0'),
        _ => false,
    }
}

/// True if a path begins as one that a shell expands: `~/data` or `$HOME/data`. curate takes a path
/// as it is written, so such a path would make or miss a folder that is called `~`.
fn is_for_a_shell(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    first.starts_with('~')
        || first
            .strip_prefix('$')
            .is_some_and(|name| name.starts_with(|c: char| c == '{' || c.is_ascii_alphabetic()))
}

/// The fault of a path that [`is_for_a_shell`]; `None` for any other path.
fn shell_fault(path: &str) -> Option<Fault> {
    let own = quoted(&format!("./{path}"));
    is_for_a_shell(path).then(|| Fault {
        message: format!(
            "{} is taken as it is written, ~ and $NAME are not expanded",
            quoted(path)
        ),
        hint: Some(format!(
            "write the whole path, or {own} for a name that begins so"
        )),
    })
}

/// True if a text is the path of a JSON file.
pub(super) fn is_json(text: &str) -> bool {
    text.ends_with(".json") && is_text_of(Kind::Path, text)
}

/// A text, if it is one of the words that its key may hold.
fn word(known: &[&str], text: &str, expected: &str) -> Result<toml::Value, Fault> {
    if known.contains(&text) {
        return Ok(toml::Value::String(text.to_owned()));
    }

    let message = format!("unknown word {}, expected {expected}", quoted(text));
    Err(Fault {
        message,
        hint: did_you_mean(text, known.iter().copied()),
    })
}

/// Reads each item of a list with `one`. A text that occurs twice is a mistake.
fn each(
    path: &str,
    items: &[Node],
    one: impl Fn(&Value) -> Result<toml::Value, Fault>,
) -> Result<Vec<toml::Value>, Vec<Problem>> {
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();

    // One mistake does not hide those of the items behind it.
    for item in items {
        match (one(&item.value), &item.value) {
            (Err(fault), _) => problems.push(fault.at(path, item)),
            (Ok(_), Value::Text(text)) if !seen.insert(text) => {
                problems.push(Problem::new(
                    item.at,
                    format!("{path}: {} is listed twice", quoted(text)),
                ));
            }
            (Ok(value), _) => values.push(value),
        }
    }

    if problems.is_empty() {
        Ok(values)
    } else {
        Err(problems)
    }
}

fn words(
    path: &str,
    known: &'static [&'static str],
    items: &[Node],
) -> Result<toml::Value, Vec<Problem>> {
    each(path, items, |value| scalar(Kind::Word(known), value)).map(toml::Value::Array)
}

fn paths(path: &str, items: &[Node], node: &Node) -> Result<toml::Value, Vec<Problem>> {
    if items.is_empty() {
        return Err(vec![Problem::new(
            node.at,
            format!("{path}: expected at least one path, found an empty list"),
        )]);
    }
    each(path, items, glob_path).map(toml::Value::Array)
}

/// A program and its arguments. The same argument may be there twice.
fn command(path: &str, items: &[Node], node: &Node) -> Result<toml::Value, Vec<Problem>> {
    let wrong =
        |node: &Node, message: String| vec![Problem::new(node.at, format!("{path}: {message}"))];

    let mut words = Vec::new();
    for item in items {
        match &item.value {
            Value::Text(text) if !text.contains('\0') => words.push(text.clone()),
            Value::Text(text) => {
                return Err(wrong(item, format!("{} has a NUL", quoted(text))));
            }
            other => {
                return Err(wrong(
                    item,
                    format!("expected a string, found {}", found(other)),
                ));
            }
        }
    }

    match words.first() {
        None => Err(wrong(
            node,
            "expected a program, found an empty list".to_owned(),
        )),
        Some(program) if program.is_empty() => Err(wrong(
            node,
            "expected a program, found an empty string".to_owned(),
        )),
        Some(_) => Ok(words.into()),
    }
}

/// A path on this machine that may be a glob.
fn glob_path(value: &Value) -> Result<toml::Value, Fault> {
    let Value::Text(text) = value else {
        return Err(unlike(Kind::Paths, value));
    };
    if !is_text_of(Kind::Paths, text) {
        let message = format!("must be {}, found {}", range(Kind::Paths), quoted(text));
        return Err(Fault {
            message,
            hint: None,
        });
    }

    if let Some(fault) = shell_fault(text) {
        return Err(fault);
    }

    // Whether the path is a glob depends on the files there, so it is read with them.
    match scheme(text) {
        None => Ok(toml::Value::String(text.clone())),
        Some(scheme) => Err(Fault {
            message: format!(
                "{} is not a path on this machine, and other places are not read",
                quoted(text)
            ),
            hint: Some(local_copy(scheme).to_owned()),
        }),
    }
}

/// The scheme of an address such as `s3://bucket/web`; `None` for a path.
pub(crate) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    is_scheme.then_some(scheme)
}

/// How to get files on this machine that an address of the scheme names.
fn local_copy(scheme: &str) -> &'static str {
    match scheme.to_ascii_lowercase().as_str() {
        "file" => "write the path without file://",
        "hf" => {
            "download the data set with `hf download OWNER/NAME --repo-type dataset --local-dir DIR`, \
             and write path = \"DIR\""
        }
        "http" | "https" | "ftp" => "download the files, and write the path of the copy",
        _ => "copy the files to this machine or mount the store, and write the path",
    }
}

fn languages(path: &str, items: &[Node]) -> Result<toml::Value, Vec<Problem>> {
    let mut codes = each(path, items, language_code)?;

    // The texts differ, but two of them may name one language: `en` and `eng`.
    for (at, code) in codes.iter().enumerate() {
        if let Some(first) = codes[..at].iter().position(|other| other == code) {
            let [one, other] = [first, at].map(|at| bare(Kind::Languages, &items[at].value));
            let message = format!("{path}: {one} and {other} are one language");
            return Err(vec![Problem::new(items[at].at, message)]);
        }
    }

    // The order has no meaning, so it may not change a stage key.
    codes.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    Ok(toml::Value::Array(codes))
}

/// The ISO 639-3 code of a language that is named by either code. Whether the engine knows the
/// language is checked where both keys are seen.
fn language_code(value: &Value) -> Result<toml::Value, Fault> {
    let Value::Text(text) = value else {
        return Err(unlike(Kind::Languages, value));
    };

    if let Some((code, _)) = named(text) {
        return Ok(toml::Value::String(code.to_owned()));
    }
    let hint = match near_language(text) {
        Some(code) => format!("did you mean {}?", quoted(code)),
        None if is_no_language(text) => {
            "a text of no known language has no label, so keep cannot name it".to_owned()
        }
        None => {
            "languages go by their ISO 639-3 code, such as \"eng\", or ISO 639-1, such as \"en\""
                .to_owned()
        }
    };
    Err(Fault {
        message: format!("unknown language {}", quoted(text)),
        hint: Some(hint),
    })
}

/// The code of the language that a text most likely means: its name, a code in upper case or with a
/// region (`en-US`), a code of another standard (`ger`), else a code of an engine that differs by
/// one letter.
fn near_language(text: &str) -> Option<&'static str> {
    if is_no_language(text) {
        return None;
    }
    let text = text.trim().to_lowercase();
    let main = text.split(['-', '_']).next().unwrap_or_default();

    let code = code_of(&text).or_else(|| named(main).map(|(code, _)| code));
    code.or_else(|| renamed(main))
        .or_else(|| closest(&text, language_codes().iter().copied()))
}

/// True for the codes of ISO 639-2 that stand for no single language: not determined, several, one
/// without a code, and no language at all.
fn is_no_language(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    ["und", "mul", "mis", "zxx"].contains(&text.as_str())
}

/// The name of a type, for messages of the form "expected …".
pub(super) fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer { .. } => "an integer".to_owned(),
        Kind::Count => "an integer, or a whole number such as 3e11".to_owned(),
        Kind::Number { .. } | Kind::Positive { .. } | Kind::Large { .. } => "a number".to_owned(),
        Kind::Size { .. } => r#"a size such as "64MiB""#.to_owned(),
        Kind::Name | Kind::Label | Kind::Field | Kind::Path => "a string".to_owned(),
        Kind::Paths => "a string or a list of strings".to_owned(),
        Kind::Command => "a list of strings".to_owned(),
        Kind::Word(known) | Kind::WordOrJson(known) | Kind::WordOrShare(known) => {
            wanted(kind, known)
        }
        Kind::Words(known) => format!("a list of {}", list(known.iter().copied())),
        Kind::Languages => r#"a list of language codes such as ["eng"]"#.to_owned(),
    }
}

/// A range in words, for messages of the form "must be …". Empty if the type has no range.
pub(super) fn range(kind: Kind) -> String {
    match kind {
        Kind::Integer { min, max: NO_MAX } => format!("at least {min} and below 2^63"),
        Kind::Integer { min, max } if max == u64::from(u32::MAX) => {
            format!("at least {min} and below 2^32")
        }
        Kind::Integer { min, max } => format!("between {min} and {max}"),
        Kind::Count => "at least 1 and below 2^63".to_owned(),
        Kind::Number { min, max } if max.is_finite() => format!("between {min} and {max}"),
        Kind::Number { min, .. } if min.is_finite() => format!("at least {min} and finite"),
        Kind::Number { .. } => "finite".to_owned(),
        Kind::Positive { max } if max.is_finite() => format!("above 0 and at most {max}"),
        Kind::Positive { .. } => "above 0 and finite".to_owned(),
        Kind::Large { min, .. } => format!("at least {min:e} and finite"),
        Kind::Size { min, max: NO_MAX } => format!("at least {}", size_text(min)),
        Kind::Size { min, max } => format!("between {} and {}", size_text(min), size_text(max)),
        Kind::WordOrShare(_) => "above 0 and at most 1".to_owned(),
        Kind::Name => "1 to 64 of A-Z a-z 0-9 . _ -, the first not a dot".to_owned(),
        Kind::Label => "1 to 64 characters, none a control character".to_owned(),
        Kind::Field => "field names joined by dots".to_owned(),
        Kind::Path | Kind::Paths => "a path, not empty and without NUL".to_owned(),
        Kind::Command => "a program and its arguments".to_owned(),
        Kind::Bool | Kind::Word(_) | Kind::WordOrJson(_) | Kind::Words(_) | Kind::Languages => {
            String::new()
        }
    }
}

/// The words that a key may hold, for messages of the form "expected …".
fn wanted(kind: Kind, known: &[&str]) -> String {
    let or = match kind {
        Kind::WordOrJson(_) => ", or the path of a .json file",
        Kind::WordOrShare(_) => ", or a number above 0 and at most 1",
        _ => "",
    };
    format!("one of {}{or}", list(known.iter().copied()))
}

/// A value with its type, for messages of the form "expected …, found …".
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Bool(value) => format!("boolean {value}"),
        // The tree has these two in place of an integer that is too large.
        Value::Integer(i128::MIN | i128::MAX) => "an integer beyond 128 bits".to_owned(),
        Value::Integer(value) => format!("integer {value}"),
        Value::Float(value) => format!("float {value:?}"),
        Value::Text(text) => format!("string {}", quoted(text)),
        Value::Date => "a date".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// A value without its type, for messages of the form "must be …, found …".
fn bare(kind: Kind, value: &Value) -> String {
    match (kind, value) {
        // Shown with a unit, as the range beside it is.
        (Kind::Size { .. }, Value::Integer(bytes)) => {
            u64::try_from(*bytes).map_or_else(|_| bytes.to_string(), size_text)
        }
        (_, Value::Integer(value)) if !matches!(*value, i128::MIN | i128::MAX) => value.to_string(),
        (_, Value::Float(value)) => format!("{value:?}"),
        (_, Value::Text(text)) => quoted(text),
        _ => found(value),
    }
}
