//! What a person reads on a terminal: text from strangers made harmless, and lines on stderr.

use std::io::Write;

use curate_scorers::unseen::is_unseen;

/// A line on stderr. Names in it come from strangers, so control characters are escaped; a reader
/// that has gone is no error.
pub fn say(text: &str) {
    say_rendered(&printable(text));
}

/// Text on stderr that is fit for a terminal already.
pub fn say_rendered(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Text that may come from strangers, fit for a line of a terminal: control characters, those that
/// turn the direction of what follows and those that cannot be seen are written as escapes.
pub fn printable(text: &str) -> String {
    printable_lines(text).replace('\n', "\\n")
}

/// The same for several lines that are ours.
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
