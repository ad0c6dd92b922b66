//! Text of strangers, made safe for YAML and Markdown.
//!
//! In YAML every text is a double-quoted scalar. All characters except letters, digits and
//! printable ASCII are escaped. So `no` is not read as a boolean and U+2028 not as a line break,
//! neither by readers of YAML 1.1 (PyYAML) nor by those of 1.2. In Markdown, characters of markup
//! are escaped. Characters that are invisible or change the direction of text are replaced.

use std::fmt::Write;

use curate_scorers::unseen::is_unseen;

/// A double-quoted YAML scalar on one line.
pub fn yaml(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            // Letters stay readable. Other characters are escaped, because some readers take them
            // for a line break or refuse them.
            c if c.is_alphanumeric() => out.push(c),
            // `\u` takes four digits, so characters beyond U+FFFF need `\U` with eight.
            c if u32::from(c) <= 0xffff => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("writing to a String does not fail")
            }
            c => write!(out, "\\U{:08X}", u32::from(c)).expect("writing to a String does not fail"),
        }
    }
    out.push('"');
    out
}

/// The length of the longest name that a table shows in full, in characters.
const NAME_CHARS: usize = 100;

/// Markdown that shows a text on one line, so that the text fits into a cell of a table. A text of
/// more than 100 characters is cut, and a blank one becomes `(no name)`.
pub fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(NAME_CHARS) {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '$' | '&' | '#' | '!'
            | '^' => {
                out.extend(['\\', c]);
            }
            '\n' | '\r' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            c if c.is_control() || is_unseen(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }

    // The cut counts characters of the text, so that it never falls into an escape.
    if text.chars().nth(NAME_CHARS).is_some() {
        out.push('…');
    }
    match out.trim() {
        "" => "(no name)".to_owned(),
        shown => shown.to_owned(),
    }
}

/// A line of code in a Markdown fence. The fence is longer than any run of backticks in the code,
/// so the code cannot end it.
pub fn code_block(language: &str, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));

    // A line feed is a control character too, so the code stays on one line.
    let line: String = code
        .chars()
        .map(|c| {
            if c.is_control() || is_unseen(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();

    format!("{fence}{language}\n{line}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_one_quoted_line() {
        assert_eq!(
            yaml("a: \"b\" \\ #c\n---\n"),
            r#""a: \"b\" \\ #c\u000A---\u000A""#
        );
        assert_eq!(
            yaml("née 日本\u{2028}\u{85}\u{feff}\u{7f}😀"),
            r#""née 日本\u2028\u0085\uFEFF\u007F\U0001F600""#
        );
        assert_eq!(
            ["no", "1e3", "~", ""].map(yaml),
            ["\"no\"", "\"1e3\"", "\"~\"", "\"\""]
        );
    }

    #[test]
    fn markdown_is_one_harmless_cell() {
        assert_eq!(
            markdown("a|b\n# <img src=x> [l](u) `c` *e* $m$"),
            r"a\|b \# \<img src=x\> \[l\](u) \`c\` \*e\* \$m\$"
        );
        assert_eq!(
            markdown("\u{202e}abc\0\u{200b}"),
            "\u{fffd}abc\u{fffd}\u{fffd}"
        );
        assert_eq!(markdown(" \n "), "(no name)");
        assert_eq!(markdown(&"é".repeat(101)), "é".repeat(100) + "…");
        assert_eq!(markdown(&"é".repeat(100)), "é".repeat(100));
    }

    #[test]
    fn code_cannot_end_its_fence() {
        assert_eq!(code_block("sh", "ls"), "```sh\nls\n```\n");
        assert_eq!(
            code_block("", "a\n```\nb"),
            "````\na\u{fffd}```\u{fffd}b\n````\n"
        );
    }
}
