//! A faster `str.splitlines()` for texts whose lines all end in a line feed. The lines are those of
//! [`python::splitlines`].
//!
//! Cost: linear. Up to five searches by `memchr` look for other line ends, then one more search
//! finds the line feeds.

use memchr::{memchr_iter, memchr3, memmem};

use crate::python;

/// True if [`python::splitlines`] splits `text` at line feeds alone.
pub(crate) fn end_in_line_feeds(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr3(b'\r', 0x0b, 0x0c, bytes).is_none()
        && memchr3(0x1c, 0x1d, 0x1e, bytes).is_none()
        && ["\u{85}", "\u{2028}", "\u{2029}"]
            .iter()
            .all(|end| memmem::find(bytes, end.as_bytes()).is_none())
}

/// Calls `action` with each line that [`python::splitlines`] gives, in order.
#[inline]
pub(crate) fn for_each_line<'a>(text: &'a str, mut action: impl FnMut(&'a str)) {
    if !end_in_line_feeds(text) {
        return python::splitlines(text).for_each(action);
    }

    let mut start = 0;
    for end in memchr_iter(b'\n', text.as_bytes()) {
        action(&text[start..end]);
        start = end + 1;
    }

    // The end of the last line opens no further one.
    if start < text.len() {
        action(&text[start..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_splitlines() {
        let parts = [
            "\n",
            "\n",
            "a",
            "é\u{2027}",
            "\r",
            "\r\n",
            "\u{b}",
            "\u{1d}",
            "\u{85}",
            "\u{2028}",
            "\u{2029}",
            "\u{1f}",
        ];

        // All strings of four parts: each code has four digits to base 12.
        for code in 0..parts.len().pow(4) {
            let digits = [code % 12, code / 12 % 12, code / 144 % 12, code / 1728];
            let text = digits.map(|digit| parts[digit]).concat();

            let mut lines = Vec::new();
            for_each_line(&text, |line| lines.push(line));
            assert_eq!(
                lines,
                python::splitlines(&text).collect::<Vec<_>>(),
                "{text:?}"
            );

            // Parts 4 to 10 end a line in another way than by a line feed.
            assert_eq!(
                end_in_line_feeds(&text),
                digits.iter().all(|&digit| digit < 4 || digit == 11),
                "{text:?}"
            );
        }

        for_each_line("", |line| panic!("an empty text has the line {line:?}"));
    }
}
