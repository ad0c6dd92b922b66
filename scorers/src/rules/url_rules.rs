//! Blocklists for addresses: of domains, and of substrings.
//!
//! A list of domains, such as the UT1 list of Toulouse that RefinedWeb and FineWeb filter by
//! (Penedo et al. 2023, arXiv:2306.01116, appendix G.1), stands for the hosts it names and
//! everything below them. A list of substrings stands for every address that has one, anywhere.
//! Case does not count; internationalised names are compared as they are written, in letters or as
//! `xn--…`. Addresses from the web may be anything, so nothing is an error: what has no host
//! matches no domain. Unlike datatrove's `URLFilter`, there is no list of public suffixes: `co.uk`
//! in the list blocks all below it.
//!
//! Cost: one look-up per label of the host, or one pass over the address, whatever the length of
//! the list.

use std::borrow::Cow;
use std::collections::HashSet;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

use crate::python;

/// What addresses are blocked for.
#[derive(Debug, Clone)]
pub struct Blocklist(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Domains(HashSet<Box<str>>),
    Substrings(Vec<Box<str>>, AhoCorasick),
}

/// When a list is too large to search for: of the order of 2³¹ bytes.
#[derive(Debug, thiserror::Error)]
#[error("cannot search for {entries} substrings: {source}")]
pub struct TooLarge {
    /// How many entries the list has.
    pub entries: usize,
    source: BuildError,
}

impl Blocklist {
    /// The list of the domains in `file`, one a line. Blank lines and what follows a `#` do not
    /// count; neither does what an address has around its host (`https://`, a port, a path), nor
    /// `*.` or `.` before it.
    pub fn domains(file: &str) -> Blocklist {
        let lines = file
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        let domains = lines.filter_map(|line| host(line.trim().trim_start_matches("*.")));
        Blocklist(Kind::Domains(
            domains
                .map(|domain| Box::from(domain.trim_start_matches('.')))
                .collect(),
        ))
    }

    /// The list of the substrings in `file`, one a line. Blank lines and those that start with `#`
    /// do not count, nor does white space around an entry.
    ///
    /// # Errors
    ///
    /// If the list is too large.
    pub fn substrings(file: &str) -> Result<Blocklist, TooLarge> {
        let lines = file
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entries: Vec<Box<str>> = lines.map(|line| lower(line).into()).collect();
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

    /// The entry for which `url` is blocked: of domains the longest, of substrings the first in
    /// `url`, there the longest.
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

/// The host of an address in lower case, without credentials, port and dots at its end; of an
/// address without a scheme too. `None` if there is none.
///
/// ```
/// use curate_scorers::rules::url_rules::host;
/// assert_eq!(host("HTTP://me:pw@WWW.Example.COM.:80/a?b@c").as_deref(), Some("www.example.com"));
/// assert_eq!(host("example.com/?to=http://other.org").as_deref(), Some("example.com"));
/// assert_eq!(host("mailto:"), None);
/// ```
pub fn host(url: &str) -> Option<Cow<'_, str>> {
    let rest = without_scheme(url.trim());
    // Browsers read `\` as `/`.
    let authority = rest.split(['/', '\\', '?', '#']).next()?;
    let host_port = authority.rsplit('@').next()?;
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match host_port.rsplit_once(':') {
        Some((host, port)) if is_port(port) && (host.ends_with(']') || !host.contains(':')) => host,
        _ => host_port,
    };
    let host = host.trim_end_matches('.');
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| lower(host))
}

/// What follows `//`, after a scheme or at the start, or after a scheme that has none (`mailto:`);
/// else all.
fn without_scheme(url: &str) -> &str {
    let is_scheme_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let scheme_end = url.find(|c| !is_scheme_char(c)).unwrap_or(url.len());
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

/// A host and all domains it is in, without the part before each dot in turn.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |domain| {
        domain.split_once('.').map(|(_, parent)| parent)
    })
}

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
