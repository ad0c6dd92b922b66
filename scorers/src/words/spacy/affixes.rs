//! spaCy's patterns for prefixes, suffixes and infixes, written out as code.
//!
//! The length of a match is in bytes, and 0 means that no pattern matches.

use super::classes::{self, ALPHA, DOT_BEHIND, INFIX, LOWER, PREFIX, QUOTE, SUFFIX, UPPER};
use super::tables::UNITS;

fn first(text: &str) -> Option<char> {
    text.chars().next()
}

fn last(text: &str) -> Option<char> {
    text.chars().next_back()
}

fn is(c: Option<char>, wanted: u16) -> bool {
    c.is_some_and(|c| classes::is(c, wanted))
}

fn is_ascii_digit(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_ascii_digit())
}

fn alpha_or_digit(c: Option<char>) -> bool {
    is(c, ALPHA) || is_ascii_digit(c)
}

/// The length of the prefix of `text`. spaCy tries its patterns in order and finds `…` before `……`,
/// so `……` is never one prefix.
pub(super) fn prefix_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let Some(c) = first(text) else { return 0 };
    match c {
        '.' => dots(bytes.iter()),
        '+' => usize::from(!bytes.get(1).is_some_and(u8::is_ascii_digit)),
        'U' if bytes.starts_with(b"US$") => 3,
        'A' | 'C' if bytes.get(1) == Some(&b'$') => 2,
        _ if classes::is(c, PREFIX) => c.len_utf8(),
        _ => 0,
    }
}

/// The length of the run of full stops at the start of `bytes`. 0 if it has fewer than two.
fn dots<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    let run = bytes.take_while(|&&b| b == b'.').count();
    if run >= 2 { run } else { 0 }
}

/// The length of the suffix of `text`: the longest one that a pattern matches.
pub(super) fn suffix_len(text: &str) -> usize {
    let Some(c) = last(text) else { return 0 };
    let before = &text[..text.len() - c.len_utf8()];

    match c {
        '.' if before.ends_with('.') => dots(text.as_bytes().iter().rev()),
        '.' => usize::from(ends_sentence(before)),
        '+' => usize::from(is_ascii_digit(last(before))),
        // `’` and `…` have three bytes each.
        's' | 'S' if before.ends_with('\'') => 2,
        's' | 'S' if before.ends_with('’') => 4,
        '…' if before.ends_with('…') => 6,
        _ if classes::is(c, SUFFIX) => c.len_utf8(),
        // No unit holds a digit.
        _ if c.is_ascii_digit() => 0,
        _ => unit_len(text),
    }
}

/// True if a full stop after `text` is a suffix.
fn ends_sentence(text: &str) -> bool {
    let mut back = text.chars().rev();
    let (last, before) = (back.next(), back.next());
    is(last, DOT_BEHIND)
        || is(last, UPPER) && is(before, UPPER)
        || matches!((before, last), (Some('°'), Some('F' | 'C' | 'K')))
}

/// The length of the unit or currency at the end of `text`. 0 unless an ASCII digit precedes it.
fn unit_len(text: &str) -> usize {
    // The longest entry of `UNITS`, in bytes.
    const LONGEST: usize = 10;

    // The window may start inside a character, so it is compared as bytes.
    let bytes = text.as_bytes();
    let window = &bytes[bytes.len().saturating_sub(LONGEST + 1)..];
    let Some(digit) = window.iter().rposition(u8::is_ascii_digit) else {
        return 0;
    };

    let unit = &window[digit + 1..];
    if UNITS
        .binary_search_by(|known| known.as_bytes().cmp(unit))
        .is_ok()
    {
        unit.len()
    } else {
        0
    }
}

/// Splits `text` at its infixes, and appends the pieces between them and the infixes themselves.
/// `text` has no prefix or suffix left.
pub(super) fn split_infixes<'a>(text: &'a str, out: &mut Vec<&'a str>) {
    let bytes = text.as_bytes();

    let (mut start, mut at) = (0, 0);
    while let Some(ahead) = bytes[at..].iter().position(|&b| MAY_BE_INFIX[b as usize]) {
        at += ahead;
        match infix_len(text, at) {
            0 => at += first(&text[at..]).map_or(1, char::len_utf8),
            // An infix at the very start stays with what follows it.
            len if at == 0 => at = len,
            len => {
                if start < at {
                    out.push(&text[start..at]);
                }
                out.push(&text[at..at + len]);
                at += len;
                start = at;
            }
        }
    }

    if start < text.len() {
        out.push(&text[start..]);
    }
}

/// True for the bytes at which an infix may start.
pub(super) static MAY_BE_INFIX: [bool; 256] = {
    let mut table = [false; 256];

    // First bytes of characters beyond ASCII.
    let mut b = 0xc2;
    while b < 0xf5 {
        table[b] = true;
        b += 1;
    }

    let ascii = b".,:<>=/+-*^~";
    let mut i = 0;
    while i < ascii.len() {
        table[ascii[i] as usize] = true;
        i += 1;
    }

    table
};

/// The length of the infix at byte `at`, which is the start of a character.
fn infix_len(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let bytes = rest.as_bytes();
    let Some(c) = first(rest) else { return 0 };
    let before = last(&text[..at]);
    let after = |len: usize| first(&rest[len..]);

    match c {
        '.' if bytes.get(1) == Some(&b'.') => dots(bytes.iter()),
        '.' => usize::from(is(before, LOWER | QUOTE) && is(after(1), UPPER | QUOTE)),
        ',' => usize::from(is(before, ALPHA) && is(after(1), ALPHA)),
        ':' | '<' | '>' | '=' | '/' => usize::from(alpha_or_digit(before) && is(after(1), ALPHA)),
        '+' | '-' | '*' | '^'
            if is_ascii_digit(before)
                && bytes
                    .get(1)
                    .is_some_and(|&b| b.is_ascii_digit() || b == b'-') =>
        {
            1
        }
        // spaCy's hyphens are `-`, `--`, `---`, `—`, `——`, `–` and `~`.
        '-' => hyphens_len(rest, before, 3),
        '—' => hyphens_len(rest, before, 2),
        '–' | '~' => hyphens_len(rest, before, 1),
        _ if classes::is(c, INFIX) => c.len_utf8(),
        _ => 0,
    }
}

/// The length of the run of hyphens that `text` starts with, cut off after `longest` characters. 0
/// unless a letter or digit precedes and a letter follows.
fn hyphens_len(text: &str, before: Option<char>, longest: usize) -> usize {
    let hyphen = first(text);
    let len = text
        .chars()
        .take(longest)
        .take_while(|&c| Some(c) == hyphen)
        .map(char::len_utf8)
        .sum();

    if alpha_or_digit(before) && is(first(&text[len..]), ALPHA) {
        len
    } else {
        0
    }
}
