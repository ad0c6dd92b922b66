//! Mistakes in a manifest: their positions, their wording and suggestions.

use std::fmt::Write;

/// Where something was written. Positions of the file, in bytes, sort before those of overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// A place in the file, in bytes from its beginning.
    File(usize),
    /// An override, by its number on the command line, from 0.
    Set(usize),
}

/// One mistake, with its place and perhaps a hint.
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

/// The text of all `problems`, by position: a line `path:line:column: message` for each, and its
/// hint on a line below.
pub(super) fn report(
    path: &str,
    text: &str,
    sets: &[String],
    mut problems: Vec<Problem>,
) -> String {
    // In this order the cursor below passes over the text once.
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
    /// Bytes before the place.
    offset: usize,
    /// Number of the line, from 1.
    line: usize,
    /// Number of the character in its line, from 1.
    column: usize,
}

impl Cursor<'_> {
    fn advance(&mut self, offset: usize) {
        // No offset is trusted: one inside a character or behind the end is moved back.
        let offset = self.text.floor_char_boundary(offset);

        // An offset before the cursor gives no slice, and the cursor stays.
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

/// The number of the line that holds the byte at `offset`, from 1.
pub(super) fn line(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

/// `text` in quotes, on one line: escaped, and cut after 60 characters.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST_CHARS: usize = 60;

    let mut out = String::from('"');
    for (position, char) in text.chars().enumerate() {
        match char {
            _ if position == LONGEST_CHARS => {
                out.push('…');
                break;
            }
            // `escape_debug` would escape an apostrophe, which needs no escape in double quotes.
            '\'' => out.push('\''),
            _ => out.extend(char.escape_debug()),
        }
    }
    out.push('"');
    out
}

/// `words`, each in quotes, separated by commas.
pub(super) fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// The word of `known` that `word` was most likely meant to be. At most a third of its letters
/// differ, or one letter of a short word.
pub(crate) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // No known word is nearly as long. The distance takes time and memory in proportion to the
    // product of both lengths.
    const LONGEST_BYTES: usize = 200;
    if word.len() > LONGEST_BYTES {
        return None;
    }

    let plain = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &plain(known)), known))
        .filter(|(distance, known)| *distance <= (known.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The hint that names the word of `known` closest to `word`, if one is close enough.
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
        let report = |text, offsets: &[usize]| {
            report(
                "m",
                text,
                &[],
                offsets
                    .iter()
                    .map(|&at| Problem::new(At::File(at), "odd"))
                    .collect(),
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
