//! Text of strangers in YAML and Markdown.
//!
//! In YAML every text is a double-quoted scalar with all but letters, digits and printable ASCII
//! escaped, so that `no` is no boolean and U+2028 no line break, for readers of YAML 1.1 (PyYAML)
//! and 1.2 alike. In Markdown what could be markup is escaped, and what could be unseen or turn
//! text around is replaced.

use std::fmt::Write;

use curate_scorers::unseen::is_unseen;

/// A double-quoted YAML scalar on one line.
pub fn yaml(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            // Letters stay readable; everything else is safe from readers that take it for a break
            // or refuse it.
            c if c.is_alphanumeric() => out.push(c),
            c if u32::from(c) <= 0xffff => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("a String takes it")
            }
            c => write!(out, "\\U{:08X}", u32::from(c)).expect("a String takes it"),
        }
    }
    out.push('"');
    out
}

/// The longest name that a table shows, characters.
const NAME_CHARS: usize = 100;

/// Text as Markdown shows it, on one line and in a table's cell.
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
    if text.chars().nth(NAME_CHARS).is_some() {
        out.push('…');
    }
    match out.trim() {
        "" => "(no name)".to_owned(),
        shown => shown.to_owned(),
    }
}

/// A line of code in a fence longer than any within it.
pub fn code_block(language: &str, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
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
