//! Lines, fast: Python's `str.splitlines()` where all lines end in a line feed.

use memchr::{memchr_iter, memchr3, memmem};

use crate::python;

/// Whether [`python::splitlines`] splits at line feeds alone.
pub(crate) fn end_in_line_feeds(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr3(b'\r', 0x0b, 0x0c, bytes).is_none()
        && memchr3(0x1c, 0x1d, 0x1e, bytes).is_none()
        && ["\u{85}", "\u{2028}", "\u{2029}"].iter().all(|end| memmem::find(bytes, end.as_bytes()).is_none())
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
