//! spaCy's pattern `URL_MATCH`, without backtracking.
//!
//! The pattern is `^(scheme://)?(\S+@)?(address|host)(:port)?([/?#]\S*)?$`. A host may start at the
//! start of the text, after the scheme, or after any `@` but a leading one. No host contains an
//! `@`, so one pass over the text tries all of these places.

use super::classes::{self, DIGIT, LOWER};
use crate::python;

/// True if `text` is a scheme or an account, then a host or an address, then maybe a port and a
/// path. `text` must have no white space.
pub(super) fn has_host_after(text: &str) -> bool {
    // `\S+@` needs a character before the `@`.
    let after_ats = text
        .match_indices('@')
        .filter(|&(i, _)| i > 0)
        .map(|(i, _)| &text[i + 1..]);

    after_scheme(text)
        .into_iter()
        .chain(after_ats)
        .any(starts_with_host)
}

/// The rest of `text` after `scheme://`. `None` if it does not start with a scheme.
fn after_scheme(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !python::is_word_char(c) && !matches!(c, '+' | '-' | '.'))?;
    let rest = text[end..].strip_prefix("://")?;
    // A scheme has at least two characters.
    (text[..end].chars().take(2).count() == 2).then_some(rest)
}

/// True if `text` is a host or an address, then maybe a port, then maybe a path.
pub(super) fn starts_with_host(text: &str) -> bool {
    // The first byte that no host contains. `is_label` judges the characters beyond ASCII.
    let end = text.bytes().position(|b| {
        b.is_ascii() && !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'-' | b'.')
    });
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));

    is_end(rest) && (is_host(name) || is_address(name))
}

/// True if `text` matches `(:\d{2,5})?([/?#].*)?` as a whole.
fn is_end(text: &str) -> bool {
    let path = match text.strip_prefix(':') {
        Some(port) => {
            // The sixth digit is taken to see that there are too many.
            let digits = port.chars().take_while(|&c| classes::is(c, DIGIT)).take(6);
            let (count, len) = digits.fold((0, 0), |(n, len), c| (n + 1, len + c.len_utf8()));
            if !(2..=5).contains(&count) {
                return false;
            }
            &port[len..]
        }
        None => text,
    };

    path.is_empty() || path.starts_with(['/', '?', '#'])
}

fn is_host_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&c)
}

/// True for one or more labels of 1 to 64 characters with a full stop after each, then a top-level
/// domain of 2 to 63 lower-case letters.
fn is_host(name: &str) -> bool {
    let Some((labels, top)) = name.rsplit_once('.') else {
        return false;
    };

    // Both lengths are counted up to one more than allowed, so that a long text costs little.
    let top_len = top
        .chars()
        .take(64)
        .take_while(|&c| classes::is(c, LOWER))
        .count();

    (2..=63).contains(&top_len)
        && top.chars().nth(top_len).is_none()
        && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    label.starts_with(is_host_char)
        && label.ends_with(is_host_char)
        && label
            .chars()
            .take(65)
            .try_fold(0, |n, c| {
                (is_host_char(c) || matches!(c, '_' | '-')).then_some(n + 1)
            })
            .is_some_and(|n| n <= 64)
}

/// True for four octets that are not an address of a local or private network.
fn is_address(name: &str) -> bool {
    let mut octets = name.splitn(5, '.');
    let (Some(a), Some(b), Some(c), Some(d), None) = (
        octets.next(),
        octets.next(),
        octets.next(),
        octets.next(),
        octets.next(),
    ) else {
        return false;
    };

    let is_local = matches!(a, "10" | "127")
        || matches!((a, b), ("169", "254") | ("192", "168"))
        || a == "172" && is_172(b);
    is_first(a) && is_middle(b) && is_middle(c) && is_last(d) && !is_local
}

/// The characters of an octet and their number. An ASCII digit is kept as it is, any other `\d`
/// becomes `d`, and all else `x`. At most four characters are read, since no octet has more than
/// three.
fn digits(octet: &str) -> ([u8; 4], usize) {
    let mut out = [0; 4];
    let mut len = 0;

    for (slot, c) in out.iter_mut().zip(octet.chars()) {
        *slot = if c.is_ascii_digit() {
            c as u8
        } else if classes::is(c, DIGIT) {
            b'd'
        } else {
            b'x'
        };
        len += 1;
    }

    (out, len)
}

fn is_any(digit: u8) -> bool {
    digit.is_ascii_digit() || digit == b'd'
}

/// True for `[1-9]\d?|1\d\d|2[01]\d|22[0-3]`.
fn is_first(octet: &str) -> bool {
    let (d, len) = digits(octet);
    match len {
        1 => matches!(d[0], b'1'..=b'9'),
        2 => matches!(d[0], b'1'..=b'9') && is_any(d[1]),
        3 => {
            d[0] == b'1' && is_any(d[1]) && is_any(d[2])
                || matches!((d[0], d[1]), (b'2', b'0' | b'1')) && is_any(d[2])
                || matches!(d, [b'2', b'2', b'0'..=b'3', _])
        }
        _ => false,
    }
}

/// True for `1?\d{1,2}|2[0-4]\d|25[0-5]`.
fn is_middle(octet: &str) -> bool {
    let (d, len) = digits(octet);
    match len {
        1 => is_any(d[0]),
        2 => is_any(d[0]) && is_any(d[1]),
        3 => d[0] == b'1' && is_any(d[1]) && is_any(d[2]) || is_200(d, b'5'),
        _ => false,
    }
}

/// True for `[1-9]\d?|1\d\d|2[0-4]\d|25[0-4]`.
fn is_last(octet: &str) -> bool {
    let (d, len) = digits(octet);
    match len {
        1 => matches!(d[0], b'1'..=b'9'),
        2 => matches!(d[0], b'1'..=b'9') && is_any(d[1]),
        3 => d[0] == b'1' && is_any(d[1]) && is_any(d[2]) || is_200(d, b'4'),
        _ => false,
    }
}

/// True for `2[0-4]\d`, and for `25` followed by a digit from `0` to `most`.
fn is_200(d: [u8; 4], most: u8) -> bool {
    d[0] == b'2'
        && (matches!(d[1], b'0'..=b'4') && is_any(d[2])
            || d[1] == b'5' && (b'0'..=most).contains(&d[2]))
}

/// True for `1[6-9]|2\d|3[0-1]`.
fn is_172(octet: &str) -> bool {
    match digits(octet) {
        ([b'1', b'6'..=b'9', ..], 2) | ([b'3', b'0' | b'1', ..], 2) => true,
        ([b'2', d, ..], 2) => is_any(d),
        _ => false,
    }
}
