//! Blocklists for addresses: lists of domains, and lists of substrings.
//!
//! A list of domains blocks the hosts that it names and all hosts below them. An example is the UT1
//! list of Toulouse, which RefinedWeb and FineWeb filter by (Penedo et al. 2023, arXiv:2306.01116,
//! appendix G.1). A list of substrings blocks every address that has one of them anywhere. Case
//! does not count. Addresses from the web may be anything, so no address is an error: an address
//! without a host matches no domain. Unlike datatrove's `URLFilter`, there is no list of public
//! suffixes, so `co.uk` in the list blocks all hosts below it.
//!
//! An international name can be written in letters or as `xn--…` (UTS #46, as browsers read it).
//! Domains are compared in the second form, and `%62%C3%BC` in a host is read as the letters that
//! it stands for. datatrove compares names as they are written. Substrings are searched in the
//! address as it is written, then in NFC, and then with the host in both of its forms.
//!
//! Cost: one look-up for each label of the host, or one pass over the address, four passes over an
//! address with an international name. The length of the list does not matter.

use std::borrow::Cow;
use std::collections::HashMap;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use percent_encoding::percent_decode_str;

use crate::normalize::composed;
use crate::python;

/// A list of domains or of substrings, ready to be searched for.
#[derive(Debug, Clone)]
pub struct Blocklist(Kind);

/// The entries of a list, in lower case. Substrings are in NFC.
#[derive(Debug, Clone)]
enum Kind {
    /// By their form as [`one_form`]; the value is the entry if the entry has another form.
    Domains(HashMap<Box<str>, Option<Box<str>>>),
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
        let hosts = file
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .filter_map(|line| host(line.trim().trim_start_matches("*.")));

        let mut domains = HashMap::new();
        for host in hosts {
            let entry = host.trim_start_matches('.');
            let form = one_form(entry);
            let written = (form != entry).then(|| Box::from(entry));
            // Of an entry in both forms, the first is named.
            domains.entry(Box::from(form)).or_insert(written);
        }
        Blocklist(Kind::Domains(domains))
    }

    /// The first line of the text `file` that is no entry of a list of domains, with its number from
    /// 1: a line of a hosts file or of an advert blocker, a table, or a pattern. Such a line would
    /// match nothing.
    ///
    /// ```
    /// use curate_scorers::rules::url_rules::Blocklist;
    ///
    /// assert_eq!(Blocklist::not_a_domain("# good\n*.a.example\nhttp://b.example/x\nxyz\n"), None);
    /// for line in ["0.0.0.0 a.example", "||a.example^", "\"a.example\"", "a.example,malware", "a.*", "."] {
    ///     assert_eq!(Blocklist::not_a_domain(&format!("\n{line}")), Some((2, line)));
    /// }
    /// ```
    pub fn not_a_domain(file: &str) -> Option<(usize, &str)> {
        let is_domain = |entry: &str| {
            host(entry.trim_start_matches("*.").trim_start_matches('.'))
                .is_some_and(|host| !host.contains(['|', '^', ',', ';', '"', '\'', '*']))
        };
        let mut lines = (1..).zip(file.lines());
        lines.find_map(|(number, line)| {
            let entry = line.split('#').next().unwrap_or_default().trim();
            (!entry.is_empty() && !is_domain(entry)).then_some((number, entry))
        })
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
            .map(|line| composed(&lower(line)).into())
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
                let (form, written) =
                    parents(&one_form(&host)).find_map(|domain| domains.get_key_value(domain))?;
                Some(written.as_deref().unwrap_or(form))
            }
            Kind::Substrings(entries, automaton) => {
                let search = |url: &str| automaton.find(url.as_bytes());
                let in_nfc = |url: &str| search(&composed(&lower(url)));
                // As it is written first, because NFC would join an accent with the letter before
                // it, which may be the last one of an entry.
                let found = search(&lower(url))
                    .or_else(|| in_nfc(url))
                    .or_else(|| other_forms(url)?.iter().find_map(|form| in_nfc(form)))?;
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
    host_as_written(url).map(lower)
}

/// The part of an address that [`host`] writes in lower case.
fn host_as_written(url: &str) -> Option<&str> {
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
    (!host.is_empty() && !host.contains(char::is_whitespace)).then_some(host)
}

/// The form in which hosts are compared: labels that are not ASCII as `xn--…`, and no `%`. A label
/// that is no name of a host stays as it is written. `host` is in lower case.
fn one_form(host: &str) -> Cow<'_, str> {
    if is_plain(host) {
        return Cow::Borrowed(host);
    }

    let decoded = percent_decode_str(host).decode_utf8();
    let decoded = decoded.unwrap_or(Cow::Borrowed(host));
    let form = idna::domain_to_ascii(&decoded).unwrap_or_else(|_| {
        // One bad label must not hide the domain above it.
        let labels = decoded.split('.');
        let forms = labels.map(|label| idna::domain_to_ascii(label).unwrap_or(label.to_owned()));
        forms.collect::<Vec<_>>().join(".")
    });

    // UTS #46 maps other full stops to dots, so a dot at the end may be new.
    Cow::Owned(form.trim_end_matches('.').to_owned())
}

/// True if a host has one form only.
fn is_plain(host: &str) -> bool {
    let has_prefix = || {
        host.as_bytes()
            .windows(4)
            .any(|four| four.eq_ignore_ascii_case(b"xn--"))
    };
    host.is_ascii() && !host.contains('%') && !has_prefix()
}

/// The address with its host as `xn--…`, and with its host in letters. `None` if the host has one
/// form only, or if there is no host.
fn other_forms(url: &str) -> Option<[String; 2]> {
    let host = host_as_written(url).filter(|host| !is_plain(host))?;
    // The host is a part of the address, so the difference of their places is its start.
    let start = host.as_ptr() as usize - url.as_ptr() as usize;
    let (before, after) = (&url[..start], &url[start + host.len()..]);

    let ascii = one_form(&lower(host)).into_owned();
    let letters = idna::domain_to_unicode(&ascii).0;
    Some([ascii, letters].map(|form| format!("{before}{form}{after}")))
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
            ("http://xn--bcher-kva.example", Some("bücher.example")),
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
    fn international_names_have_one_form() {
        let list = Blocklist::domains(
            "BÜCHER.example\nXN--FSQU00A.xn--0zwm56d\nрф\nstraße.example\n*.bücher.example\nplain.example\n",
        );
        for (url, expected) in [
            ("https://bücher.example/x", Some("bücher.example")),
            ("https://BÜCHER.example.:443/", Some("bücher.example")),
            ("https://XN--Bcher-KVA.example/", Some("bücher.example")),
            (
                "https://user@a.b.xn--bcher-kva.example",
                Some("bücher.example"),
            ),
            // The letter and its accent apart, full-width letters, and another full stop.
            ("https://bu\u{308}cher.example/", Some("bücher.example")),
            ("https://ｂücher.example。/", Some("bücher.example")),
            ("https://b%C3%BCcher.example/", Some("bücher.example")),
            ("https://pl%61in.example/", Some("plain.example")),
            ("http://例子.测试/", Some("xn--fsqu00a.xn--0zwm56d")),
            ("http://a.例子.测试/", Some("xn--fsqu00a.xn--0zwm56d")),
            ("http://пример.рф/", Some("рф")),
            ("http://xn--e1afmkfd.xn--p1ai/", Some("рф")),
            ("http://straße.example/", Some("straße.example")),
            ("http://xn--strae-oqa.example/", Some("straße.example")),
            ("http://strasse.example/", None),
            ("https://bucher.example/", None),
            ("https://xbücher.example/", None),
            ("https://good.example/bücher.example", None),
            // A label that cannot be read does not hide the domain above it.
            (
                "https://xn--zzzzzz\u{202e}.bücher.example/",
                Some("bücher.example"),
            ),
            ("https://%ff.bücher.example/", Some("bücher.example")),
            ("https://xn--.example/", None),
        ] {
            assert_eq!(list.find(url), expected, "{url}");
        }
        let long = format!("http://{}/", "ü".repeat(1 << 20));
        assert_eq!(list.find(&long), None);
    }

    #[test]
    fn substrings_match_both_forms_of_a_host() {
        let list = Blocklist::substrings("bücher\nxn--fsqu00a\n").expect("small");
        for (url, expected) in [
            ("https://xn--bcher-kva.example/", Some("bücher")),
            ("https://b%C3%BCcher.example/", Some("bücher")),
            ("https://example.org/BÜCHER", Some("bücher")),
            ("//me:pw@例子.测试:80/x?y", Some("xn--fsqu00a")),
            // Only the host has two forms.
            ("https://example.org/xn--bcher-kva", None),
            ("https://xn--zzzzzz.example/", None),
        ] {
            assert_eq!(list.find(url), expected, "{url}");
        }
    }

    #[test]
    fn substrings_match_in_both_spellings_of_an_accent() {
        let list = Blocklist::substrings("mu\u{308}nze\nCAF\u{c9}\nend\n").expect("small");
        for (url, expected) in [
            ("https://x.org/m\u{fc}nze", Some("m\u{fc}nze")),
            ("https://x.org/MU\u{308}NZE", Some("m\u{fc}nze")),
            ("https://x.org/cafe\u{301}", Some("caf\u{e9}")),
            ("https://x.org/caf\u{e9}", Some("caf\u{e9}")),
            ("https://mu\u{308}nze.example/", Some("m\u{fc}nze")),
            // The accent belongs to a letter of the entry, which is there as it is written.
            ("https://x.org/end\u{301}", Some("end")),
            ("https://x.org/munze/cafe", None),
        ] {
            assert_eq!(list.find(url), expected, "{url}");
        }
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
