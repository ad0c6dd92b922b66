//! Hashes of texts and URLs for exact deduplication. They ignore differences that do not change the
//! meaning: case, punctuation and spacing of a text, and fragment and case of the host of a URL.
//! Beside them, the one spelling in which lists are compared with texts.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::rules::url_rules::host;
use crate::words::compared;

/// xxh3-128 of the words of a text, joined by spaces. Words are those of [`compared`]: without case,
/// and single letters in scripts that put no spaces between words. A text without words is hashed
/// as it is.
///
/// ```
/// use curate_scorers::normalize::text_hash;
///
/// assert_eq!(text_hash("Hello, world!"), text_hash("hello — WORLD"));
/// assert_ne!(text_hash("hello world"), text_hash("helloworld"));
/// assert_eq!(text_hash("你好，世界！"), text_hash("你好世界"));
/// assert_ne!(text_hash("…"), text_hash("!"));
/// ```
pub fn text_hash(text: &str) -> u128 {
    // The words are hashed one by one, so that the joined string is never in memory.
    let mut hash = Xxh3::new();
    let mut any = false;
    compared::for_each_word(text, |word| {
        if any {
            hash.update(b" ");
        }
        hash.update(word.as_bytes());
        any = true;
    });

    // Without words all texts would have one hash, and `…` would be a duplicate of `!`.
    if any {
        hash.digest128()
    } else {
        xxh3_128(text.as_bytes())
    }
}

/// xxh3-128 of a URL without its fragment, with scheme and host in lower case (RFC 3986, section
/// 6.2.2.1). `None` for a text that names no host, such as `N/A` or `-`: records that share a
/// placeholder are no copies of each other.
///
/// ```
/// use curate_scorers::normalize::url_hash;
///
/// assert_eq!(url_hash("HTTPS://Example.ORG/Page?a=1#top"), url_hash("https://example.org/Page?a=1"));
/// assert_ne!(url_hash("https://example.org/page"), url_hash("https://example.org/Page"));
/// assert_eq!(["#top", "N/A", "not a url", "javascript:alert(1)"].map(url_hash), [None; 4]);
/// ```
pub fn url_hash(url: &str) -> Option<u128> {
    // A name without a dot is no public host. An IPv6 address has brackets.
    let name = host(url)?;
    if !name.contains('.') && !name.starts_with('[') {
        return None;
    }

    let url = url.trim();
    let url = url.split_once('#').map_or(url, |(before, _)| before);

    // Without a scheme, the URL starts with its host.
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let path = url[host..]
        .find(['/', '?'])
        .map_or(url.len(), |end| host + end);
    let (authority, rest) = url.split_at(path);

    let url = format!("{}{rest}", authority.to_ascii_lowercase());
    Some(xxh3_128(url.as_bytes()))
}

/// The text in Unicode NFC: a letter and its accent are one character if Unicode has one. A text
/// that is surely in NFC is borrowed.
///
/// ```
/// use curate_scorers::normalize::composed;
///
/// assert_eq!(composed("Mu\u{308}nze"), "M\u{fc}nze");
/// assert!(matches!(composed("coin"), std::borrow::Cow::Borrowed(_)));
/// ```
pub fn composed(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfc().collect()),
    }
}
