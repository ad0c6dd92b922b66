//! Addresses: the address as archived, the canonical form for deduplication, and the registered
//! domain.
//!
//! The canonical form follows the WHATWG URL Standard, then removes what does not change a page:
//! the default port, the fragment, `www.`, and parameters that track visitors. The other parameters
//! keep their order.

use psl::{List, Psl as _};
use url::Url;

/// Parameters that are removed, in lower case.
const TRACKING: [&str; 9] = [
    "gclid",
    "fbclid",
    "mc_cid",
    "mc_eid",
    "igshid",
    "phpsessid",
    "jsessionid",
    "sid",
    "msclkid",
];
/// The prefix of more parameters that are removed.
const TRACKING_PREFIX: &str = "utm_";

/// The address as archived, without angle brackets. `None` if nothing is left.
pub fn archived(value: &str) -> Option<&str> {
    let value = value.trim();
    let inner = value
        .strip_prefix('<')
        .and_then(|value| value.strip_suffix('>'));
    let address = inner.unwrap_or(value).trim();
    (!address.is_empty()).then_some(address)
}

/// The canonical form of an address. `None` if it is no `http` or `https` address.
pub fn canonical(address: &str) -> Option<String> {
    let mut url = parse(address)?;
    url.set_fragment(None);

    let host = url.host_str()?;
    if let Some(bare) = host.strip_prefix("www.").filter(|bare| bare.contains('.')) {
        let bare = bare.to_owned();
        url.set_host(Some(&bare)).ok()?;
    }

    let path = normal(&without_session(url.path()));
    let query = url.query().and_then(kept);
    // The parts are put together by hand, because the setters would encode them again.
    url.set_query(None);
    url.set_path("");
    let mut out = url.as_str().trim_end_matches('/').to_owned();
    out.push_str(&path);
    if let Some(query) = query {
        out.push('?');
        out.push_str(&query);
    }
    Some(out)
}

/// The domain that can be registered, such as `example.co.uk`. `None` for addresses of numbers and
/// for hosts without a public suffix.
pub fn registered_domain(address: &str) -> Option<String> {
    let url = parse(address)?;
    let host = url.domain()?.trim_end_matches('.');
    let domain = List.domain(host.as_bytes())?;
    domain
        .suffix()
        .is_known()
        .then(|| String::from_utf8_lossy(domain.as_bytes()).into_owned())
}

/// The last label of the host in lower case, for the detector of encodings.
pub fn top_level_domain(address: &str) -> Option<String> {
    let url = parse(address)?;
    let label = url.domain()?.trim_end_matches('.').rsplit('.').next()?;
    (!label.is_empty()).then(|| label.to_owned())
}

/// Parses an `http` or `https` address.
fn parse(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

/// The path without a session id behind a semicolon.
fn without_session(path: &str) -> String {
    let mut parts = path.split(';');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // The next segment of the path may follow the parameter.
        let end = part.find('/').unwrap_or(part.len());
        if !is_tracking(&part[..end]) {
            out.push(';');
            out.push_str(&part[..end]);
        }
        out.push_str(&part[end..]);
    }
    out
}

/// The query without parameters that track visitors, or `None` if no parameter is left.
fn kept(query: &str) -> Option<String> {
    let kept: Vec<String> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty() && !is_tracking(parameter))
        .map(normal)
        .collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// True for a parameter that tracks a visitor.
fn is_tracking(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    name.starts_with(TRACKING_PREFIX) || TRACKING.contains(&name.as_str())
}

/// The text with `%xx` of unreserved characters decoded and other hex digits in upper case
/// (RFC 3986, section 6.2.2).
fn normal(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = match bytes[at..] {
            [b'%', high, low, ..] => hex(high).zip(hex(low)),
            _ => None,
        };
        match hex {
            Some((high, low)) => {
                let byte = high * 16 + low;
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    out.push_str(&format!("%{byte:02X}"));
                }
                at += 3;
            }
            None => {
                let next = text[at..]
                    .chars()
                    .next()
                    .expect("`at` is the start of a char");
                out.push(next);
                at += next.len_utf8();
            }
        }
    }
    out
}

/// The value of a hex digit.
fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angle_brackets_are_no_part_of_an_address() {
        assert_eq!(archived(" <http://a.b/> "), Some("http://a.b/"));
        assert_eq!(archived("http://a.b/<x>"), Some("http://a.b/<x>"));
        assert_eq!(archived("<>"), None);
    }

    #[test]
    fn equal_pages_have_equal_canonical_forms() {
        let cases = [
            ("HTTP://WWW.Example.com:80", "http://example.com/"),
            ("https://example.com:443/a#b", "https://example.com/a"),
            ("https://example.com:444/", "https://example.com:444/"),
            ("http://bücher.de/ü", "http://xn--bcher-kva.de/%C3%BC"),
            ("http://a.de/%7euser/%c3%bc", "http://a.de/~user/%C3%BC"),
            ("http://a.de/?b=2&utm_source=x&a=1", "http://a.de/?b=2&a=1"),
            ("http://a.de/?utm_source=x&GCLID=1", "http://a.de/"),
            ("http://a.de/x;jsessionid=1/y?z", "http://a.de/x/y?z"),
            ("http://a.de/a/../b/./c", "http://a.de/b/c"),
            ("http://a.de/a b?q=ü x", "http://a.de/a%20b?q=%C3%BC%20x"),
            ("http://www.de/", "http://www.de/"),
            ("http://a.de//b", "http://a.de//b"),
            ("http://a.de/?a=%2f%41", "http://a.de/?a=%2FA"),
            ("http://a.de/?", "http://a.de/"),
            ("http://u:p@a.de/x/", "http://u:p@a.de/x/"),
        ];
        for (address, expected) in cases {
            assert_eq!(canonical(address).as_deref(), Some(expected), "{address}");
            assert_eq!(canonical(expected).as_deref(), Some(expected), "{address}");
        }
        for other in ["urn:x", "no address", "ftp://a.de/", "http://"] {
            assert_eq!(canonical(other), None, "{other}");
        }
    }

    #[test]
    fn the_registered_domain_knows_the_public_suffixes() {
        let domain = |address| registered_domain(address).unwrap_or_default();
        assert_eq!(domain("https://www.news.example.co.uk/x"), "example.co.uk");
        assert_eq!(domain("http://a.b.example.com./"), "example.com");
        assert_eq!(domain("http://127.0.0.1/"), "");
        assert_eq!(domain("http://co.uk/"), "");
        assert_eq!(top_level_domain("http://a.JP/").as_deref(), Some("jp"));
    }
}
