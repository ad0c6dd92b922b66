//! Python's `str.splitlines()`, as [`python::splitlines`] gives them, faster where all lines end in
//! a line feed.
//!
//! Cost: linear; up to five searches by `memchr` say which it is, then one more finds the ends.

use memchr::{memchr_iter, memchr3, memmem};

use crate::python;

/// Whether [`python::splitlines`] splits at line feeds alone.
pub(crate) fn end_in_line_feeds(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr3(b'\r', 0x0b, 0x0c, bytes).is_none()
        && memchr3(0x1c, 0x1d, 0x1e, bytes).is_none()
        && ["\u{85}", "\u{2028}", "\u{2029}"]
            .iter()
            .all(|end| memmem::find(bytes, end.as_bytes()).is_none())
}

/// What [`python::splitlines`] gives.
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
            assert_eq!(
                end_in_line_feeds(&text),
                digits.iter().all(|&digit| digit < 4 || digit == 11),
                "{text:?}"
            );
        }
        for_each_line("", |line| panic!("{line:?} is no line of nothing"));
    }
}
