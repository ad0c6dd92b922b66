//! The table `[clean]` of the manifest: the only changes to a text before it is written. Each step
//! is a setting. Without the table, a text stays as it is.

use std::borrow::Cow;

use curate_schemas::stages::documents::Clean;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The text after the steps that are switched on. The order is newlines, control characters,
/// trailing space, NFC. A text that no step changes is borrowed.
pub fn clean<'a>(text: &'a str, steps: &Clean) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);

    if steps.newlines && text.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        let unified = text
            .replace("\r\n", "\n")
            .replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
        text = Cow::Owned(unified);
    }
    if steps.control && text.contains(is_unwanted_control) {
        text = Cow::Owned(text.replace(is_unwanted_control, ""));
    }

    // A carriage return or a control can come behind a space at the end of a line, so this step is
    // after both.
    if steps.trailing_space && has_trailing_space(&text) {
        let lines: Vec<&str> = text
            .split('\n')
            .map(|line| line.trim_end_matches([' ', '\t']))
            .collect();
        text = Cow::Owned(lines.join("\n"));
    }

    // A removed control can bring a letter and its accent together, so this step is the last.
    // The quick check spares most texts the composition. It may answer "maybe".
    if steps.nfc && is_nfc_quick(text.chars()) != IsNormalized::Yes {
        let normalised: String = text.nfc().collect();
        if normalised != *text {
            text = Cow::Owned(normalised);
        }
    }
    text
}

/// True for C0 and C1 controls other than tab and the line breaks: newline, carriage return and
/// NEL. The step `newlines` replaces the latter two.
fn is_unwanted_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')
}

/// True if a line of the text ends with a space or a tab.
fn has_trailing_space(text: &str) -> bool {
    text.ends_with([' ', '\t']) || text.contains(" \n") || text.contains("\t\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Clean {
        Clean {
            nfc: true,
            control: true,
            newlines: true,
            trailing_space: true,
        }
    }

    #[test]
    fn nothing_to_do_borrows() {
        assert!(matches!(
            clean("plain text\nsecond", &all()),
            Cow::Borrowed(_)
        ));
        assert!(matches!(
            clean("a\0b \r\n", &Clean::default()),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn each_step_does_its_own() {
        let only = |clean_step: fn(&mut Clean)| {
            let mut steps = Clean::default();
            clean_step(&mut steps);
            steps
        };
        assert_eq!(clean("e\u{301}", &only(|s| s.nfc = true)), "é");
        assert_eq!(
            clean("a\0\u{9f}\tb\n", &only(|s| s.control = true)),
            "a\tb\n"
        );
        assert_eq!(
            clean("a\r\nb\rc\u{2028}d", &only(|s| s.newlines = true)),
            "a\nb\nc\nd"
        );
        assert_eq!(
            clean("a \t\nb  ", &only(|s| s.trailing_space = true)),
            "a\nb"
        );
    }

    #[test]
    fn cleaning_twice_changes_nothing() {
        for text in [
            "a \0\r\n",
            "e\u{301}\u{200d} \u{85}x",
            " \t \n\n\0 ",
            "\u{1100}\u{1161}",
        ] {
            let once = clean(text, &all()).into_owned();
            assert_eq!(clean(&once, &all()), once, "{text:?}");
        }
    }
}
