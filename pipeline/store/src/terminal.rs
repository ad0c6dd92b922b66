//! Text that a person reads on a terminal: lines on stderr, and the escaping that makes text of
//! strangers harmless.

use std::io::Write;

use curate_scorers::unseen::is_unseen;

/// Writes a line to stderr. Names in the line come from strangers, so control characters are
/// escaped.
pub fn say(text: &str) {
    say_rendered(&printable(text));
}

/// Writes text to stderr that is safe for a terminal already, followed by a newline.
pub fn say_rendered(text: &str) {
    // A reader of stderr that has gone away must not end the run.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Text of strangers, made safe for one line of a terminal. Control characters, characters that
/// change the direction of text and characters that cannot be seen are written as escapes.
pub fn printable(text: &str) -> String {
    printable_lines(text).replace('\n', "\\n")
}

/// Like [`printable`], for text of several lines whose newlines are this program's own.
pub(crate) fn printable_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(c),
            c if c.is_control() || is_unseen(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_never_reach_the_terminal() {
        assert_eq!(
            printable("a\x1b[31mb\u{9b}c\nd\t"),
            "a\\u{1b}[31mb\\u{9b}c\\nd\\u{9}"
        );
        assert_eq!(printable("gpj.\u{202e}exe é 漢"), "gpj.\\u{202e}exe é 漢");
    }
}
