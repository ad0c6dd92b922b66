//! The table `[clean]` of the manifest: the only changes to a text before it is written. Each step
//! is a setting. Without the table, a text stays as it is.

use std::borrow::Cow;

use curate_schemas::stages::documents::Clean;
use unicode_normalization::char::is_combining_mark;
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
        text = Cow::Owned(without_controls(&text));
    }

    // A carriage return or a control can come behind a space at the end of a line, so this step is
    // after both.
    if steps.trailing_space && has_trailing_space(&text) {
        text = Cow::Owned(without_trailing_space(&text));
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

/// What controls between two characters stand for. Of several controls the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    /// The control separates nothing, but it may be all that is between two words. An example is
    /// U+0097, a dash that was read in the wrong encoding.
    Other,
    /// White space within a line: US.
    Space,
    /// The end of a line, a page or a record: VT, FF, FS, GS and RS. These are the characters at
    /// which Python's `str.splitlines` ends a line, too.
    Line,
}

impl Gap {
    fn of(control: char) -> Gap {
        match control {
            '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' => Gap::Line,
            '\u{1f}' => Gap::Space,
            _ => Gap::Other,
        }
    }

    /// The character that keeps the words on both sides of a gap apart, if one is needed.
    fn between(self, before: char, after: char) -> Option<char> {
        let is_either = |is: fn(char) -> bool| is(before) || is(after);
        // An accent belongs to the letter before it, so it ends a word and starts none.
        let ends_word = before.is_alphanumeric() || is_combining_mark(before);

        match self {
            Gap::Line => (!is_either(is_line_break)).then_some('\n'),
            Gap::Space => (!is_either(char::is_whitespace)).then_some(' '),
            Gap::Other => (ends_word && after.is_alphanumeric()).then_some(' '),
        }
    }
}

/// The text without unwanted controls. Where they separate words, a newline or a space takes their
/// place.
fn without_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    let mut gap = None;

    for c in text.chars() {
        if is_unwanted_control(c) {
            gap = gap.max(Some(Gap::of(c)));
            continue;
        }
        // Controls at the beginning and the end of a text separate nothing.
        if let (Some(before), Some(gap)) = (before, gap.take()) {
            out.extend(gap.between(before, c));
        }
        out.push(c);
        before = Some(c);
    }
    out
}

/// True for the characters that the step `newlines` turns into newlines, and for newline.
fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// True if a line of the text ends with a space or a tab.
fn has_trailing_space(text: &str) -> bool {
    let mut after_space = false;
    for c in text.chars() {
        if after_space && is_line_break(c) {
            return true;
        }
        after_space = matches!(c, ' ' | '\t');
    }
    after_space
}

/// The text without spaces and tabs at the ends of lines.
fn without_trailing_space(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let trimmed = |line: &str| line.trim_end_matches([' ', '\t']).len();

    let mut rest = text;
    while let Some(end) = rest.find(is_line_break) {
        let (line, after) = rest.split_at(end);
        out.push_str(&line[..trimmed(line)]);

        // The line break itself stays as it is.
        let width = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(&after[..width]);
        rest = &after[width..];
    }
    out.push_str(&rest[..trimmed(rest)]);
    out
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
    fn every_control_between_two_words_keeps_them_apart() {
        let steps = Clean {
            control: true,
            ..Clean::default()
        };
        for c in (0..=0xa0).filter_map(char::from_u32) {
            let stays = matches!(c, '\t' | '\n' | '\r' | '\u{85}') || !c.is_control();
            let expected = match c {
                c if stays => format!("one{c}two"),
                '\u{b}' | '\u{c}' | '\u{1c}' | '\u{1d}' | '\u{1e}' => "one\ntwo".to_owned(),
                _ => "one two".to_owned(),
            };
            assert_eq!(clean(&format!("one{c}two"), &steps), expected, "{c:?}");
        }
        // These are no control characters.
        for c in ['\u{2028}', '\u{2029}', '\u{200b}', '\u{feff}'] {
            let text = format!("one{c}two");
            assert_eq!(clean(&text, &steps), text, "{c:?}");
        }
    }

    #[test]
    fn a_control_leaves_no_second_separator() {
        let steps = Clean {
            control: true,
            ..Clean::default()
        };
        for (text, expected) in [
            ("\u{c}first page", "first page"),
            ("last page\u{c}", "last page"),
            ("one page\n\u{c}the next", "one page\nthe next"),
            ("one page\u{c}\r\nthe next", "one page\r\nthe next"),
            ("one page\u{c}\u{c}\0the next", "one page\nthe next"),
            ("one page \u{c}the next", "one page \nthe next"),
            ("one\u{1f}\u{1f}two", "one two"),
            ("one\u{1f} two", "one two"),
            ("one,\u{1f}two", "one, two"),
            ("said\u{97}loudly", "said loudly"),
            ("\u{1b}[31mred\u{1b}[0m", "[31mred[0m"),
            ("e\0\u{301}", "e\u{301}"),
            ("cafe\u{301}\0noir", "cafe\u{301} noir"),
            ("one.\0", "one."),
            ("\0\u{b}", ""),
        ] {
            assert_eq!(clean(text, &steps), expected, "{text:?}");
        }
    }

    #[test]
    fn spaces_go_before_every_kind_of_line_end() {
        let steps = Clean {
            trailing_space: true,
            ..Clean::default()
        };
        for (text, expected) in [
            ("a \r\nb\t\rc", "a\r\nb\rc"),
            (
                "a \u{85}b \u{2028}c \u{2029}d ",
                "a\u{85}b\u{2028}c\u{2029}d",
            ),
            // Other white space stays, and so does space within a line.
            ("a b\u{a0}\nc\u{3000}\n d", "a b\u{a0}\nc\u{3000}\n d"),
            (" \n\t\n", "\n\n"),
        ] {
            assert_eq!(clean(text, &steps), expected, "{text:?}");
        }
    }

    #[test]
    fn cleaning_twice_changes_nothing() {
        for text in [
            "a \u{c}b\u{1f}\u{97}c \u{b} \u{85}",
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
