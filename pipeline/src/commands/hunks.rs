//! Edits of a text as a diff: the lines that changed, before and after, each with the rules that
//! changed them. The edits are known, so nothing is searched: the cost is that of the text shown.

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, ListArray};
use arrow::datatypes::UInt32Type;

/// The number of characters around an edit that are shown of its line.
const AROUND: usize = 60;

/// A change of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes of the text that are replaced.
    pub start: usize,
    /// End of these bytes, exclusive.
    pub end: usize,
    /// The text in their place.
    pub replacement: String,
    /// The rule that changed the text.
    pub reason: String,
}

/// Some neighbouring edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// Number of the first line in the text before the edits, from 1.
    pub line: usize,
    /// The rules that changed the lines, each once.
    pub reasons: Vec<String>,
    /// The lines, each with `-` if it was removed, `+` if it was added, and a space if it stayed.
    pub lines: Vec<(char, String)>,
}

/// The edits in one row of a column `edits`.
pub fn edits_of(lists: &ListArray, row: usize) -> Vec<Edit> {
    if lists.is_null(row) {
        return Vec::new();
    }

    let edits = lists.value(row);
    let edits = edits.as_struct();
    let place = |i: usize| edits.column(i).as_primitive::<UInt32Type>();
    let text = |i: usize| edits.column(i).as_string::<i32>();
    (0..edits.len())
        .map(|at| Edit {
            start: place(0).value(at) as usize,
            end: place(1).value(at) as usize,
            replacement: text(2).value(at).to_owned(),
            reason: text(3).value(at).to_owned(),
        })
        .collect()
}

/// The edits of a text as hunks, in the order of the text. Edits ascend and do not overlap.
///
/// # Errors
/// If an edit does not fit the text.
pub fn hunks(text: &str, edits: &[Edit]) -> Result<Vec<Hunk>> {
    let mut hunks = Vec::new();
    // The line of a hunk is counted on from the hunk before, so that the text is read once.
    let (mut line, mut counted) = (1, 0);

    let mut rest = edits;
    while let [first, ..] = rest {
        let start = window_start(text, first.start)?;
        let mut end = window_end(text, first.end)?;
        let mut n = 1;
        while let Some(next) = rest.get(n).filter(|next| next.start <= end) {
            end = end.max(window_end(text, next.end)?);
            n += 1;
        }

        let skipped = text.get(counted..start).context("edits do not ascend")?;
        line += skipped.matches('\n').count();
        counted = start;
        hunks.push(hunk(text, start, end, line, &rest[..n])?);
        rest = &rest[n..];
    }
    Ok(hunks)
}

/// The hunk of the edits between two places of the text.
fn hunk(text: &str, start: usize, end: usize, line: usize, edits: &[Edit]) -> Result<Hunk> {
    let mut after = String::new();
    let mut reasons: Vec<String> = Vec::new();
    let mut at = start;
    for edit in edits {
        after += text.get(at..edit.start).context("an edit does not fit")?;
        after += &edit.replacement;
        at = edit.end;
        if !reasons.contains(&edit.reason) {
            reasons.push(edit.reason.clone());
        }
    }
    after += text.get(at..end).context("an edit does not fit")?;

    // A window may begin or end inside of a line.
    let is_whole = |at: usize| at == 0 || text[..at].ends_with('\n');
    let head = if is_whole(start) { "" } else { "…" };
    let is_end = end == text.len() || text[end..].starts_with('\n');
    let tail = if is_end { "" } else { "…" };
    let before = format!("{head}{}{tail}", &text[start..end]);
    let after = format!("{head}{after}{tail}");

    Ok(Hunk {
        line,
        reasons,
        lines: compare(&before, &after),
    })
}

/// The lines of two texts, of which the first and the last ones may be equal.
fn compare(before: &str, after: &str) -> Vec<(char, String)> {
    let before: Vec<&str> = before.split('\n').collect();
    let after: Vec<&str> = after.split('\n').collect();
    let equal = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };

    let head = equal(&mut before.iter().zip(&after));
    let shorter = before.len().min(after.len()) - head;
    let tail = equal(&mut before.iter().rev().zip(after.iter().rev())).min(shorter);

    let marked = |mark: char, lines: &[&str]| -> Vec<(char, String)> {
        lines
            .iter()
            .map(|line| (mark, (*line).to_owned()))
            .collect()
    };
    let mut lines = marked(' ', &before[..head]);
    lines.extend(marked('-', &before[head..before.len() - tail]));
    lines.extend(marked('+', &after[head..after.len() - tail]));
    lines.extend(marked(' ', &before[before.len() - tail..]));
    lines
}

/// The place before `at` where what is shown begins: the start of the line, or some characters
/// before `at`.
fn window_start(text: &str, at: usize) -> Result<usize> {
    let before = text.get(..at).context("an edit does not fit")?;
    let mut start = at;
    for (place, c) in before.char_indices().rev().take(AROUND) {
        if c == '\n' {
            break;
        }
        start = place;
    }
    Ok(start)
}

/// The place behind `at` where what is shown ends: the end of the line, or some characters behind
/// `at`.
fn window_end(text: &str, at: usize) -> Result<usize> {
    let behind = text.get(at..).context("an edit does not fit")?;
    let mut characters = behind.char_indices().enumerate();
    let end = characters.find(|(n, (_, c))| *c == '\n' || *n == AROUND);
    Ok(end.map_or(text.len(), |(_, (place, _))| at + place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str, was: &str, replacement: &str) -> Edit {
        let start = text.find(was).expect("it is there");
        Edit {
            start,
            end: start + was.len(),
            replacement: replacement.to_owned(),
            reason: "c4.line".to_owned(),
        }
    }

    /// Hunks as text, a line for each line.
    fn shown(text: &str, edits: &[Edit]) -> Vec<String> {
        let hunks = hunks(text, edits).expect("edits fit");
        let lines = hunks.into_iter().flat_map(|hunk| {
            let head = format!("@{} {}", hunk.line, hunk.reasons.join(" "));
            let lines = hunk.lines.into_iter();
            std::iter::once(head).chain(lines.map(|(mark, line)| format!("{mark}{line}")))
        });
        lines.collect()
    }

    #[test]
    fn a_removed_line_is_one_line() {
        let text = "one\ntwo\nthree";
        assert_eq!(
            shown(text, &[edit(text, "two\n", "")]),
            ["@2 c4.line", "-two", " three"]
        );
        assert_eq!(
            shown(text, &[edit(text, "\nthree", "")]),
            ["@2 c4.line", " two", "-three"]
        );
        assert_eq!(
            shown(text, &[edit(text, text, "")]),
            ["@1 c4.line", "-one", "-two", "-three", "+"]
        );
    }

    #[test]
    fn a_change_in_a_line_shows_the_line() {
        let text = "Ünø läuft\nzwei";
        assert_eq!(
            shown(text, &[edit(text, "ø", "o"), edit(text, "zwei", "2")]),
            [
                "@1 c4.line",
                "-Ünø läuft",
                "+Üno läuft",
                "@2 c4.line",
                "-zwei",
                "+2"
            ]
        );
    }

    #[test]
    fn a_long_line_is_shown_around_the_change() {
        let text = format!("{}X{}\nend", "é".repeat(100), "b".repeat(1000));
        let lines = shown(&text, &[edit(&text, "X", "")]);
        assert_eq!(
            lines[1],
            format!("-…{}X{}…", "é".repeat(60), "b".repeat(60))
        );
        assert_eq!(lines[2], format!("+…{}{}…", "é".repeat(60), "b".repeat(60)));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn edits_that_do_not_fit_are_an_error() {
        let of = |start, end| Edit {
            start,
            end,
            replacement: String::new(),
            reason: String::new(),
        };
        for wrong in [of(1, 3), of(0, 9), of(9, 9)] {
            assert!(hunks("éa", &[wrong]).is_err());
        }
        assert_eq!(hunks("éa", &[]).expect("no edit fits"), []);
    }
}
