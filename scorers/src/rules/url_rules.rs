//! Blocklists for addresses: lists of domains, and lists of substrings.
//!
//! A list of domains blocks the hosts that it names and all hosts below them. An example is the UT1
//! list of Toulouse, which RefinedWeb and FineWeb filter by (Penedo et al. 2023, arXiv:2306.01116,
//! appendix G.1). A list of substrings blocks every address that has one of them anywhere. Case
//! does not count. Internationalised names are compared as they are written, in letters or as
//! `xn--…`. Addresses from the web may be anything, so no address is an error: an address without a
//! host matches no domain. Unlike datatrove's `URLFilter`, there is no list of public suffixes, so
//! `co.uk` in the list blocks all hosts below it.
//!
//! Cost: one look-up for each label of the host, or one pass over the address. The length of the
//! list does not matter.

use std::borrow::Cow;
use std::collections::HashSet;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

use crate::python;

/// A list of domains or of substrings, ready to be searched for.
#[derive(Debug, Clone)]
pub struct Blocklist(Kind);

/// The entries of a list, in lower case.
#[derive(Debug, Clone)]
enum Kind {
    Domains(HashSet<Box<str>>),
    /// The patterns of the automaton are the entries, in the same order.
    Substrings(Vec<Box<str>>, AhoCorasick),
}

/// The error for a list that is too large to search for, which has some 2³¹ bytes.
#[derive(Debug, thiserror::Error)]
#[error("cannot search for {entries} substrings: {source}")]
pub struct TooLarge {
    /// The number of entries of the list.
    pub entries: usize,
    source: BuildError,
}

impl Blocklist {
    /// The list of the domains in the text `file`, one a line. Blank lines and comments from `#` on
    /// do not count. Only the host of an entry counts, so that an entry may be an address with
    /// `https://`, a port or a path. `*.` or `.` before the host does not count either.
    pub fn domains(file: &str) -> Blocklist {
        let domains: HashSet<Box<str>> = file
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .filter_map(|line| host(line.trim().trim_start_matches("*.")))
            .map(|domain| Box::from(domain.trim_start_matches('.')))
            .collect();
        Blocklist(Kind::Domains(domains))
    }

    /// The list of the substrings in the text `file`, one a line. Blank lines and lines that start
    /// with `#` do not count, nor does white space around an entry.
    ///
    /// # Errors
    ///
    /// If the list is too large.
    pub fn substrings(file: &str) -> Result<Blocklist, TooLarge> {
        let entries: Vec<Box<str>> = file
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| lower(line).into())
            .collect();

        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(entries.iter().map(|e| &**e));

        match automaton {
            Ok(automaton) => Ok(Blocklist(Kind::Substrings(entries, automaton))),
            Err(source) => Err(TooLarge {
                entries: entries.len(),
                source,
            }),
        }
    }

    /// The entry for which `url` is blocked; `None` if `url` is not blocked. Of several domains it
    /// is the longest. Of several substrings it is the first in `url`, and the longest of those
    /// that start there.
    ///
    /// ```
    /// use curate_scorers::rules::url_rules::Blocklist;
    /// let list = Blocklist::domains("# adverts\nads.example\nExample.org\n");
    /// assert_eq!(list.find("https://user@Cdn.ADS.example:8443/x"), Some("ads.example"));
    /// assert_eq!(list.find("https://notexample.org/example.org"), None);
    /// ```
    pub fn find(&self, url: &str) -> Option<&str> {
        match &self.0 {
            Kind::Domains(domains) => {
                let host = host(url)?;
                // The host itself comes first, so the longest entry is found first.
                parents(&host)
                    .find_map(|domain| domains.get(domain))
                    .map(|domain| &**domain)
            }
            Kind::Substrings(entries, automaton) => {
                let found = automaton.find(lower(url).as_bytes())?;
                Some(&entries[found.pattern().as_usize()])
            }
        }
    }
}

/// The host of an address in lower case, without credentials, port and dots at its end. The address
/// need not have a scheme. `None` if the address has no host.
///
/// ```
/// use curate_scorers::rules::url_rules::host;
/// assert_eq!(host("HTTP://me:pw@WWW.Example.COM.:80/a?b@c").as_deref(), Some("www.example.com"));
/// assert_eq!(host("example.com/?to=http://other.org").as_deref(), Some("example.com"));
/// assert_eq!(host("mailto:"), None);
/// ```
pub fn host(url: &str) -> Option<Cow<'_, str>> {
    // Browsers read `\` as `/`.
    let rest = without_scheme(url.trim());
    let authority = rest.split(['/', '\\', '?', '#']).next()?;
    // A password may have an `@`, but a host has none.
    let host_port = authority.rsplit('@').next()?;

    // An IPv6 address without brackets has several colons, and its last part is not a port.
    let host = match host_port.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (host.ends_with(']') || !host.contains(':')) =>
        {
            host
        }
        _ => host_port,
    };

    let host = host.trim_end_matches('.');
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| lower(host))
}

/// The part of an address after its scheme and slashes. An address without a scheme that does not
/// start with `//` is returned whole.
fn without_scheme(url: &str) -> &str {
    let scheme_end = url
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
        .unwrap_or(url.len());
    let has_scheme =
        url.starts_with(|c: char| c.is_ascii_alphabetic()) && url[scheme_end..].starts_with(':');

    let rest = if has_scheme {
        &url[scheme_end + 1..]
    } else {
        url
    };
    let slashed = rest.trim_start_matches(['/', '\\']);
    let slashes = rest.len() - slashed.len();

    // `example.com:80/` has no scheme but a port.
    let is_port = has_scheme && slashes == 0 && rest.starts_with(|c: char| c.is_ascii_digit());
    match slashes {
        0 | 1 if is_port || !has_scheme => url,
        _ => slashed,
    }
}

/// A host and all domains above it, the longest first.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |domain| {
        domain.split_once('.').map(|(_, parent)| parent)
    })
}

/// Python's `str.lower()`. Text that is lower-case ASCII already is not copied.
fn lower(text: &str) -> Cow<'_, str> {
    let is_lower = text
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_lower {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(python::lower(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_junk() {
        for (url, expected) in [
            ("", None),
            (
                "https://User:pw@Example.org:8080/a?b#c",
                Some("example.org"),
            ),
            ("http://example.org.", Some("example.org")),
            ("http://[2001:db8::1]:80/", Some("[2001:db8::1]")),
            ("https:///a", Some("a")),
            (" \t\u{3000}", None),
            ("http://", None),
            ("http:///", None),
            ("https://.../x", None),
            ("?q=a.b", None),
            ("/path/only", None),
            ("#example.com", None),
            ("two words", None),
            ("example", Some("example")),
            ("//cdn.example.com/x", Some("cdn.example.com")),
            ("http:\\\\Example.com\\x", Some("example.com")),
            ("http:/example.com/", Some("example.com")),
            ("example.com:8080/x", Some("example.com")),
            ("localhost:80", Some("localhost")),
            ("https://a:b@c@Example.com:443?x", Some("example.com")),
            ("https://example.com:http/", Some("example.com:http")),
            ("http://[2001:DB8::1]:80/", Some("[2001:db8::1]")),
            ("http://[2001:DB8::1]/", Some("[2001:db8::1]")),
            ("http://BÜCHER.example./", Some("bücher.example")),
            ("http://שלום.example😀/", Some("שלום.example😀")),
            ("http://a..b/", Some("a..b")),
            ("web+x.y-z://h", Some("h")),
            ("1http://h", Some("1http")),
            ("a://b://c", Some("b")),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
        let long = "a".repeat(1 << 20);
        assert_eq!(host(&long).as_deref(), Some(&*long));
    }

    #[test]
    fn domains_match_themselves_and_what_is_below() {
        let file = "# list\r\n\r\nads.example # why\n*.Tracker.NET\n.dot.org\nhttps://full.example/path\ncom.\nBÜCHER.example\n";
        let list = Blocklist::domains(file);
        for (url, expected) in [
            ("https://ads.example", Some("ads.example")),
            ("https://x.y.ADS.example./", Some("ads.example")),
            ("https://badads.example", None),
            ("https://ads.example.net", None),
            ("https://example", None),
            ("tracker.net/x", Some("tracker.net")),
            ("http://a.dot.org", Some("dot.org")),
            ("http://www.full.example", Some("full.example")),
            ("http://user:ads.example@other.net", None),
            ("http://a.example.com:1", Some("com")),
            ("http://bücher.EXAMPLE", Some("bücher.example")),
            ("http://xn--bcher-kva.example", None),
            ("", None),
        ] {
            assert_eq!(list.find(url), expected, "{url}");
        }
        assert_eq!(Blocklist::domains("").find("http://a.b"), None);
        // The longest entry is named.
        assert_eq!(
            Blocklist::domains("b.c\na.b.c\nc").find("x.a.b.c"),
            Some("a.b.c")
        );
    }

    #[test]
    fn substrings_match_anywhere() {
        let list =
            Blocklist::substrings("# list\n\ncasino\nPoker\nonline-poker \n/ad#\n").expect("small");
        assert_eq!(list.find("https://x.org/CASINO.html"), Some("casino"));
        assert_eq!(
            list.find("https://x.org/online-poker/casino"),
            Some("online-poker")
        );
        assert_eq!(list.find("https://x.org/cas-ino"), None);
        assert_eq!(list.find("x/ad#1"), Some("/ad#"));
        assert_eq!(list.find(""), None);
        let empty = Blocklist::substrings("\n# x\n").expect("small");
        assert_eq!(empty.find("https://x.org"), None);
    }
}
