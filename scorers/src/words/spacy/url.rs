//! What spaCy's `URL_MATCH` matches, without backtracking.
//!
//! The pattern is `^(scheme://)?(\S+@)?(address|host)(:port)?([/?#]\S*)?$`: a host may start at the
//! text's start, after the scheme or after any `@` but a leading one, and nothing in a host is an
//! `@`. So one pass over the text tries all.

use super::classes::{self, DIGIT, LOWER};
use crate::python;

/// Whether `text`, which has no white space, is a host at the end of a scheme or an account, with
/// an optional path.
pub(super) fn has_host_after(text: &str) -> bool {
    let after_ats = text
        .match_indices('@')
        .filter(|&(i, _)| i > 0)
        .map(|(i, _)| &text[i + 1..]);
    after_scheme(text)
        .into_iter()
        .chain(after_ats)
        .any(starts_with_host)
}

/// What comes after `scheme://`.
fn after_scheme(text: &str) -> Option<&str> {
    let is_scheme = |c: char| python::is_word_char(c) || matches!(c, '+' | '-' | '.');
    let end = text.find(|c| !is_scheme(c))?;
    let rest = text[end..].strip_prefix("://")?;
    (text[..end].chars().take(2).count() == 2).then_some(rest)
}

/// Whether `text` is a host or an address, then maybe a port, then maybe a path.
pub(super) fn starts_with_host(text: &str) -> bool {
    // The first byte that is in no host: characters beyond ASCII are left to the labels.
    let end = text.bytes().position(|b| {
        b.is_ascii() && !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'-' | b'.')
    });
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    is_end(rest) && (is_host(name) || is_address(name))
}

/// Whether `text` is `(:\d{2,5})?([/?#].*)?`.
fn is_end(text: &str) -> bool {
    let path = match text.strip_prefix(':') {
        Some(port) => {
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

/// One or more labels of 1 to 64 characters with a full stop after each, then 2 to 63 lower-case
/// letters.
fn is_host(name: &str) -> bool {
    let Some((labels, top)) = name.rsplit_once('.') else {
        return false;
    };
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

/// Four octets that are not those of a local or private network.
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

/// The characters of an octet, `\d` as itself for ASCII and as `d` for any other digit; at most
/// four are looked at.
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

/// `[1-9]\d?|1\d\d|2[01]\d|22[0-3]`
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

/// `1?\d{1,2}|2[0-4]\d|25[0-5]`
fn is_middle(octet: &str) -> bool {
    let (d, len) = digits(octet);
    match len {
        1 => is_any(d[0]),
        2 => is_any(d[0]) && is_any(d[1]),
        3 => d[0] == b'1' && is_any(d[1]) && is_any(d[2]) || is_200(d, b'5'),
        _ => false,
    }
}

/// `[1-9]\d?|1\d\d|2[0-4]\d|25[0-4]`
fn is_last(octet: &str) -> bool {
    let (d, len) = digits(octet);
    match len {
        1 => matches!(d[0], b'1'..=b'9'),
        2 => matches!(d[0], b'1'..=b'9') && is_any(d[1]),
        3 => d[0] == b'1' && is_any(d[1]) && is_any(d[2]) || is_200(d, b'4'),
        _ => false,
    }
}

/// `2[0-4]\d`, or 250 up to 25 and `most`.
fn is_200(d: [u8; 4], most: u8) -> bool {
    d[0] == b'2'
        && (matches!(d[1], b'0'..=b'4') && is_any(d[2])
            || d[1] == b'5' && (b'0'..=most).contains(&d[2]))
}

/// `1[6-9]|2\d|3[0-1]`
fn is_172(octet: &str) -> bool {
    match digits(octet) {
        ([b'1', b'6'..=b'9', ..], 2) | ([b'3', b'0' | b'1', ..], 2) => true,
        ([b'2', d, ..], 2) => is_any(d),
        _ => false,
    }
}
