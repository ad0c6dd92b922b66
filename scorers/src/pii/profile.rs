//! The spans that datatrove and dolma find, for comparison with curate's own.
//!
//! What these tools put in place of a value depends on the order of documents, and is not repeated
//! here. The expressions are those of datatrove 0.10 (`PIIFormatter`) and of dolma 1
//! (`pii_regex_with_counts_fast_v2`), written from parts. Python's `re` is followed: `\s` has the
//! four separators U+001C to U+001F as well.
//!
//! Cost: both are automata of the crate `regex`. A search reads on behind a match only through
//! characters of the same match, up to the next `@`, so that the whole is linear.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use regex::Regex;

use super::{Found, Kind};

/// A number of 0 to 255, with leading zeros.
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)";
/// Python's `\s`.
const BLANK: &str = r"\s\x1c-\x1f";

fn regex(expression: &str) -> Regex {
    Regex::new(expression).expect("a constant expression")
}

static IPV4: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"(?:{OCTET}\.){{3}}{OCTET}")));

/// Datatrove's addresses: small letters alone.
static DATATROVE_EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    let atom = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+";
    let label = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?";
    let literal = format!(r"\[(?:{OCTET}\.){{3}}(?:{OCTET}|[a-z0-9-]*[a-z0-9]:)\]");
    regex(&format!(
        r"\b{atom}(?:\.{atom})*@(?:(?:{label}\.)+{label}|{literal})"
    ))
});

/// The addresses of datatrove, and the global IPv4 addresses outside of them.
pub(super) fn datatrove(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    for email in DATATROVE_EMAIL.find_iter(text) {
        datatrove_ipv4(text, at..email.start(), &mut found);
        at = email.end();
        found.push(Found {
            start: email.start(),
            end: email.end(),
            kind: Kind::Email,
        });
    }
    datatrove_ipv4(text, at..text.len(), &mut found);
    found
}

/// Adds the IPv4 addresses in a part of a text that Python's `ipaddress` calls global.
fn datatrove_ipv4(text: &str, part: std::ops::Range<usize>, found: &mut Vec<Found>) {
    for address in IPV4.find_iter(&text[part.clone()]) {
        // Python refuses leading zeros, as the standard library does here.
        if address.as_str().parse().is_ok_and(is_global) {
            found.push(Found {
                start: part.start + address.start(),
                end: part.start + address.end(),
                kind: Kind::Ipv4,
            });
        }
    }
}

/// `ipaddress.IPv4Address.is_global` of CPython 3.12.4 and later. It calls multicast global.
fn is_global(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let is_private = match (a, b) {
        (0 | 10 | 127 | 240..=255, _) | (169, 254) | (192, 168) | (198, 18 | 19) => true,
        (172, 16..=31) | (100, 64..=127) => true,
        (192, 0) => c == 2 || c == 0 && !matches!(d, 9 | 10),
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        _ => false,
    };
    !is_private
}

/// Dolma's addresses: anything around an `@` up to a blank, with what stands before and behind.
static DOLMA_EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    let edge = format!("[.{BLANK}@,?!;:)(]");
    regex(&format!(
        "{edge}*([^{BLANK}@]+@[^{BLANK}@,?!;:)(]+?){edge}?[{BLANK}]"
    ))
});

/// Dolma's telephone numbers: ten digits behind a blank, with nothing asked of what follows.
static DOLMA_PHONE: LazyLock<Regex> = LazyLock::new(|| {
    regex(&format!(
        r"[{BLANK}]+\(?(\d{{3}})\)?[-. ]*(\d{{3}})[-. ]?(\d{{4}})"
    ))
});

/// More question marks than this, and dolma looks for nothing.
const MOST_QUESTIONS: usize = 10_000;

/// The addresses, telephone numbers and IPv4 addresses of dolma, paragraph by paragraph.
pub(super) fn dolma(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    if memchr::memchr_iter(b'?', text.as_bytes()).count() > MOST_QUESTIONS {
        return found;
    }

    let mut at = 0;
    for paragraph in text.split_inclusive('\n') {
        let mut push = |start, end, kind| {
            found.push(Found {
                start: at + start,
                end: at + end,
                kind,
            });
        };
        for email in DOLMA_EMAIL.captures_iter(paragraph) {
            let (whole, address) = (email.get_match(), &email[1]);
            let (user, domain) = address.split_once('@').unwrap_or((address, ""));
            if user.trim() != "(" && domain.contains('.') {
                push(whole.start(), whole.end(), Kind::Email);
            }
        }
        for phone in DOLMA_PHONE.find_iter(paragraph) {
            push(phone.start(), phone.end(), Kind::Phone);
        }
        for address in IPV4.find_iter(paragraph) {
            push(address.start(), address.end(), Kind::Ipv4);
        }
        at += paragraph.len();
    }
    found
}
