//! What is wrong with a manifest, and where: positions, wording and suggestions.

use std::fmt::Write;

/// Where something was written. Ordered: the file from its beginning, then the overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// In the file, bytes from its beginning.
    File(usize),
    /// In an override, by its number.
    Set(usize),
}

/// One mistake.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) at: At,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(super) fn new(at: At, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// All `problems`, by position, as `path:line:column: message`, each with its hint on a line below.
pub(super) fn report(
    path: &str,
    text: &str,
    sets: &[String],
    mut problems: Vec<Problem>,
) -> String {
    problems.sort_by_key(|problem| problem.at);
    let mut cursor = Cursor {
        text,
        offset: 0,
        line: 1,
        column: 1,
    };
    let mut out = String::new();
    for Problem { at, message, hint } in problems {
        let place = match at {
            At::File(offset) => {
                cursor.advance(offset);
                format!("{path}:{}:{}", cursor.line, cursor.column)
            }
            At::Set(number) => format!("--set {}", sets.get(number).map_or("", String::as_str)),
        };
        let hint = hint
            .map(|hint| format!("\n  hint: {hint}"))
            .unwrap_or_default();
        let newline = if out.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = write!(out, "{newline}{place}: {message}{hint}");
    }
    out
}

/// A place in a text that only moves forward, so that many problems cost one pass.
struct Cursor<'t> {
    text: &'t str,
    /// Bytes.
    offset: usize,
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
}

impl Cursor<'_> {
    fn advance(&mut self, offset: usize) {
        let offset = self.text.floor_char_boundary(offset);
        for char in self
            .text
            .get(self.offset..offset)
            .unwrap_or_default()
            .chars()
        {
            (self.line, self.column) = if char == '\n' {
                (self.line + 1, 1)
            } else {
                (self.line, self.column + 1)
            };
        }
        self.offset = offset.max(self.offset);
    }
}

/// The line that `offset` of `text` is in, from 1.
pub(super) fn line(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

/// `text` in quotes, on one line and not too long for one.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST_CHARS: usize = 60;
    let mut out = String::from('"');
    for (position, char) in text.chars().enumerate() {
        match char {
            _ if position == LONGEST_CHARS => {
                out.push('…');
                break;
            }
            '\'' => out.push('\''),
            _ => out.extend(char.escape_debug()),
        }
    }
    out.push('"');
    out
}

/// `words`, each in quotes, with commas.
pub(super) fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// The one of `known` that was most likely meant by `word`: at most a third of its letters differ.
pub(crate) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Nothing known is near as long, and the distance takes time and memory by the product of both.
    const LONGEST_BYTES: usize = 200;
    if word.len() > LONGEST_BYTES {
        return None;
    }
    let plain = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let distance = |known| strsim::damerau_levenshtein(&plain(word), &plain(known));
    let near = known.into_iter().map(|known| (distance(known), known));
    let near = near.filter(|(distance, known)| *distance <= (known.chars().count() / 3).max(1));
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The hint that `word` may have been meant for one of `known`.
pub(super) fn did_you_mean<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<String> {
    closest(word, known).map(|known| format!("did you mean {}?", quoted(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_with_a_newline() {
        let problem = |offset| Problem::new(At::File(offset), "odd");
        let report = |text, offsets: &[usize]| {
            report(
                "m",
                text,
                &[],
                offsets.iter().map(|&at| problem(at)).collect(),
            )
        };
        assert_eq!(report("", &[0, 9]), "m:1:1: odd\nm:1:1: odd");
        assert_eq!(
            report("é = 1\r\nb", &[8, 3, 8]),
            "m:1:3: odd\nm:2:1: odd\nm:2:1: odd"
        );
    }

    #[test]
    fn quotes_stay_on_one_short_line() {
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted("a\nb\u{202e}\0"), r#""a\nb\u{202e}\0""#);
        assert_eq!(quoted(&"é".repeat(61)).chars().count(), 63);
    }

    #[test]
    fn closest_takes_typing_errors_and_no_other_words() {
        let known = ["shard_size", "seed", "name", "max_record"];
        assert_eq!(closest("shard_sze", known), Some("shard_size"));
        assert_eq!(closest("shard-size", known), Some("shard_size"));
        assert_eq!(closest("Seed", known), Some("seed"));
        assert_eq!(closest("sede", known), Some("seed"));
        assert_eq!(closest("threads", known), None);
        assert_eq!(closest(&"s".repeat(100_000), known), None);
        assert_eq!(closest("", known), None);
    }
}
