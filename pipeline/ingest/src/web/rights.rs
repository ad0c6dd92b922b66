//! What the HTTP header of a page says about its use: robots tags, the TDM Reservation Protocol,
//! `Content-Usage` of the IETF, and licences.

use super::headers::Headers;

/// What the HTTP header says about the use of a page, as the values were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// `X-Robots-Tag`.
    pub robots: Vec<String>,
    /// `tdm-reservation`.
    pub tdm_reservation: Option<String>,
    /// `tdm-policy`.
    pub tdm_policy: Option<String>,
    /// `Content-Usage`.
    pub content_usage: Vec<String>,
    /// The targets of `Link` with `rel=license`.
    pub licences: Vec<String>,
}

/// What a header says about the use of a page.
pub fn rights(headers: &Headers) -> Rights {
    let all = |name: &str| headers.all(name).map(str::to_owned).collect();
    let licences = headers
        .all("Link")
        .flat_map(|value| value.split(','))
        .filter_map(licence);
    Rights {
        robots: all("X-Robots-Tag"),
        tdm_reservation: headers.get("tdm-reservation").map(str::to_owned),
        tdm_policy: headers.get("tdm-policy").map(str::to_owned),
        content_usage: all("Content-Usage"),
        licences: licences.collect(),
    }
}

/// The target of a link whose relation is `license` (RFC 8288).
fn licence(link: &str) -> Option<String> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_licence = parameters.split(';').any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else {
            return false;
        };
        let mut words = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && words.any(|word| word.eq_ignore_ascii_case("license"))
    });
    is_licence.then(|| target.trim().to_owned())
}
