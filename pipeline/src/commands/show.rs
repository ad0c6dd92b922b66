//! How commands show what strangers wrote: colours for a terminal, texts cut to a length, and JSON
//! lines for programs. A table has the same look in every command.

use std::io::{IsTerminal, Write};

use curate_scorers::unseen::is_unseen;
use curate_store::terminal::printable;
use serde_json::Value;

/// The number of characters of a text that are shown, unless `--full` is given.
pub const TEXT_SHOWN: usize = 400;

/// Colours of a terminal, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// Colours if stdout is a terminal and `NO_COLOR` is unset or empty.
    pub fn of_stdout() -> Paint {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint {
            is_on: !is_unwanted && std::io::stdout().is_terminal(),
        }
    }

    /// Text that was lost or that failed.
    pub fn lost(self, text: &str) -> String {
        self.in_style("31", text)
    }

    /// Text that was added or that passed.
    pub fn won(self, text: &str) -> String {
        self.in_style("32", text)
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        self.in_style("1", text)
    }

    fn in_style(self, code: &str, text: &str) -> String {
        match self.is_on {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// The first `most` characters of a text. `None` shows all of it. A cut is marked with `…`.
pub fn cut(text: &str, most: Option<usize>) -> String {
    let end = most.and_then(|most| text.char_indices().nth(most));
    match end {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Writes a text with its own line breaks, each line behind `margin`. Everything else that could
/// change a terminal is escaped.
pub fn write_text(
    text: &str,
    margin: &str,
    most: Option<usize>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    for line in cut(text, most).split('\n') {
        // A tab is harmless, and code without tabs is hard to read.
        let cells: Vec<String> = line.split('\t').map(printable).collect();
        let line = format!("{margin}{}", cells.join("\t"));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A value as one line of JSON. Characters that could change a terminal are written as `\uXXXX`, so
/// the line is still JSON with the same value.
pub fn json_line(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        if c.is_control() || is_unseen(c) {
            // Such characters occur in strings only: `to_string` adds no white space.
            for unit in c.encode_utf16(&mut units) {
                out += &format!("\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A number with at most four decimals. Numbers below a thousandth have four digits.
pub fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        return format!("{value:.3e}");
    }

    // The sum makes 0 of -0.
    let text = format!("{:.4}", value + 0.0);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A value beside a threshold: with as many decimals as show on which side of the threshold the
/// value lies, four or more.
pub fn beside(value: f64, threshold: f64) -> String {
    let shows_side = |text: &String| {
        let shown = text.parse::<f64>().ok();
        shown.and_then(|shown| shown.partial_cmp(&threshold)) == value.partial_cmp(&threshold)
    };

    let longer = (5..17).map(|decimals| format!("{value:.decimals$}"));
    std::iter::once(number(value))
        .chain(longer)
        .find(shows_side)
        .unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_shows_its_side_of_the_threshold() {
        assert_eq!(beside(0.69999999, 0.7), "0.69999999");
        assert_eq!(beside(0.7, 0.7), "0.7");
        assert_eq!(beside(0.613, 0.7), "0.613");
        assert_eq!(beside(49.0, 50.0), "49");
        assert_eq!(beside(0.00002, 0.1), "2.000e-5");
        assert_eq!(beside(f64::INFINITY, 1.0), "inf");
    }

    #[test]
    fn numbers_have_four_decimals_or_four_digits() {
        let shown = [0.0, -0.0, 1.0, 0.12345, 1234.5, 0.000_012_34, 1e20].map(number);
        assert_eq!(
            shown,
            [
                "0",
                "0",
                "1",
                "0.1235",
                "1234.5",
                "1.234e-5",
                "100000000000000000000"
            ]
        );
    }

    #[test]
    fn json_keeps_its_value_and_leaves_the_terminal_alone() {
        let value = serde_json::json!({ "a\u{202e}": "\x1b[31m \u{9b} \u{e0041} é\n" });
        let line = json_line(&value);
        assert!(
            !line.contains(|c: char| c.is_control() || is_unseen(c)),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<Value>(&line).ok(), Some(value));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("añb", Some(2)), "añ…");
        assert_eq!(cut("añb", Some(3)), "añb");
        assert_eq!(cut("añb", None), "añb");
        let mut out = Vec::new();
        write_text("a\x1b\n\nb", "  | ", None, &mut out).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "  | a\\u{1b}\n  |\n  | b\n"
        );
    }
}
