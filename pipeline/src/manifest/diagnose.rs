//! Mistakes in a manifest: their positions, their wording and suggestions.

use std::fmt::Write;

use curate_store::terminal::printable;

/// The most characters of a line that are shown on each side of a mistake.
const SHOWN_CHARS: usize = 60;

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

/// The text of all mistakes, without and with the lines that they are in.
#[derive(Debug)]
pub struct Report {
    /// A line `path:line:column: message` for each mistake by position, and its hint on a line below.
    pub lines: String,
    /// The same, with the line of the file below each message and the mistake underlined.
    pub shown: String,
}

/// The text of all `problems`.
pub(super) fn report(
    path: &str,
    text: &str,
    sets: &[String],
    mut problems: Vec<Problem>,
) -> Report {
    // In this order the cursor below passes over the text once.
    problems.sort_by_key(|problem| problem.at);
    let mut cursor = Cursor {
        text,
        offset: 0,
        line: 1,
        column: 1,
    };

    let (mut lines, mut shown) = (String::new(), String::new());
    for Problem { at, message, hint } in problems {
        let (place, excerpt) = match at {
            At::File(offset) => {
                cursor.advance(offset);
                let place = format!("{path}:{}:{}", cursor.line, cursor.column);
                (place, excerpt(text, cursor.offset, cursor.line))
            }
            At::Set(number) => {
                let set = sets.get(number).map_or("", String::as_str);
                (format!("--set {set}"), String::new())
            }
        };

        let hint = hint
            .map(|hint| format!("\n  hint: {hint}"))
            .unwrap_or_default();
        let newline = if lines.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = write!(lines, "{newline}{place}: {message}{hint}");
        let _ = write!(shown, "{newline}{place}: {message}{excerpt}{hint}");
    }
    Report { lines, shown }
}

/// The line of the file that holds the byte at `offset`, with its number, and marks under the word or
/// value that begins there. Empty for a blank line. Of a long line the part around the mistake is shown.
fn excerpt(text: &str, offset: usize, number: usize) -> String {
    // Only characters near the mistake are looked at: a line can be as long as the file.
    let (before, after) = text.split_at(offset);
    let in_line = |c: &char| *c != '\n';
    let backwards = before.chars().rev().take_while(in_line).take(SHOWN_CHARS);
    let backwards: Vec<char> = backwards.collect();
    let cut: String = backwards.into_iter().rev().collect();
    let after = after.chars().take_while(in_line).take(2 * SHOWN_CHARS);
    let after: String = after.collect();
    let after = after.trim_end_matches('\r');
    if cut.trim().is_empty() && after.trim().is_empty() {
        return String::new();
    }

    let length = word_chars(after).clamp(1, SHOWN_CHARS);
    let word: String = after.chars().take(length).collect();
    let rest: String = after.chars().skip(length).take(SHOWN_CHARS).collect();

    // Nobody expects the value of a key that is not known to be shown: it may be a secret.
    let rest = match rest.trim_start().starts_with('=') {
        true => " = …".to_owned(),
        false => rest,
    };
    let cut = match cut.contains(['"', '\'']) {
        true => "… ".to_owned(),
        false => cut,
    };

    // A tab has no certain width, and an escape is longer than its character.
    let [cut, word, rest] = [cut, word, rest].map(|part| printable(&part.replace('\t', " ")));
    let margin = " ".repeat(number.to_string().len());
    let space = " ".repeat(cut.chars().count());
    let marks = "^".repeat(word.chars().count().max(1));
    format!("\n  {number} | {cut}{word}{rest}\n  {margin} | {space}{marks}")
}

/// The number of characters of the word or the value at the start of a text.
fn word_chars(text: &str) -> usize {
    let mut chars = text.chars();
    match chars.next() {
        None => 0,
        Some(quote @ ('"' | '\'')) => chars
            .position(|c| c == quote)
            .map_or(text.chars().count(), |end| end + 2),
        Some('[') => text.chars().take_while(|c| !"]#".contains(*c)).count() + 1,
        Some(_) => text
            .chars()
            .take_while(|c| !c.is_whitespace() && !"=,]}#".contains(*c))
            .count(),
    }
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
            .lines
        };

        assert_eq!(report("", &[0, 9]), "m:1:1: odd\nm:1:1: odd");
        assert_eq!(
            report("é = 1\r\nb", &[8, 3, 8]),
            "m:1:3: odd\nm:2:1: odd\nm:2:1: odd"
        );
    }

    #[test]
    fn the_line_of_a_mistake_is_shown_and_underlined() {
        let shown = |text, at| excerpt(text, at, 12);
        assert_eq!(
            shown("a\n\tkey = \"b c\" # d\r\n", 9),
            "\n  12 |  key = \"b c\" # d\n     |        ^^^^^"
        );
        assert_eq!(shown("é = x.y\n", 5), "\n  12 | é = x.y\n     |     ^^^");
        assert_eq!(
            shown("a\u{1b}=1", 2),
            "\n  12 | a\\u{1b}=1\n     |        ^"
        );
        assert_eq!(
            shown("token = \"secret\"", 0),
            "\n  12 | token = …\n     | ^^^^^"
        );
        assert_eq!(
            shown("a = { token = \"secret\", b = 1 }", 24),
            "\n  12 | … b = …\n     |   ^"
        );
        assert_eq!(shown("a\n", 2), "");
        assert_eq!(shown("", 0), "");

        // A line of a megabyte is cut on both sides.
        let long = "x".repeat(1 << 20);
        assert!(shown(&long, 1 << 19).len() < 400);
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
