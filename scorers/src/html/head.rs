//! What a page says about itself: title, language, address, opt-out signals and licence.
//!
//! Opt-out signals are words. `noai`, `noimageai`, `noindex`, `nosnippet`, `noarchive`, `none` and
//! `max-snippet:0` come from robots rules, with `agent:` in front if the rule names one agent.
//! `tdm` is a reservation of TDMRep (W3C, 2024). `train-ai=n` is a rule of `Content-Usage` (IETF aipref).
//! A licence comes with its place, because a licence of a picture is often no licence of the text.

use html5ever::local_name;

use super::dom::{DOCUMENT, Dom, NONE, NodeId};

/// The bytes of a value in JSON-LD that are searched for a licence.
const JSON_VALUE_MAX: usize = 512;

/// Agents whose own robots rules count.
const AGENTS: [&str; 20] = [
    "ai2bot",
    "amazonbot",
    "anthropic-ai",
    "applebot-extended",
    "bingbot",
    "bytespider",
    "ccbot",
    "chatgpt-user",
    "claudebot",
    "cohere-ai",
    "diffbot",
    "facebookbot",
    "google-extended",
    "googlebot",
    "gptbot",
    "meta-externalagent",
    "oai-searchbot",
    "omgilibot",
    "perplexitybot",
    "youbot",
];

/// Robots rules that are opt-out signals.
const RULES: [&str; 7] = [
    "max-snippet:0",
    "noai",
    "noarchive",
    "noimageai",
    "noindex",
    "none",
    "nosnippet",
];

/// What a page's elements say about the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The first title, white space collapsed.
    pub title: Option<String>,
    /// `lang` of the `html` element.
    pub lang: Option<String>,
    /// The address of `link rel=canonical`, as written.
    pub canonical: Option<String>,
    /// Opt-out signals, sorted, each once.
    pub optout: Vec<String>,
    /// The address of a TDMRep policy.
    pub tdm_policy: Option<String>,
    /// The Creative Commons licence that the page names in the most reliable place.
    pub licence: Option<Licence>,
}

/// A Creative Commons licence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licence {
    /// SPDX's identifier, such as `CC-BY-4.0`. Without a version if the page names none.
    pub id: String,
    /// Where the page names the licence.
    pub from: LicencePlace,
}

/// Where a licence stands, from the most reliable place to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LicencePlace {
    /// `link rel=license`.
    Link,
    /// A `meta` for rights or licence.
    Meta,
    /// A key `license` of JSON-LD.
    JsonLd,
    /// `a rel=license`.
    Anchor,
}

impl LicencePlace {
    /// The place's name in rows: `link`, `meta`, `json-ld` or `a`.
    pub fn name(self) -> &'static str {
        match self {
            LicencePlace::Link => "link",
            LicencePlace::Meta => "meta",
            LicencePlace::JsonLd => "json-ld",
            LicencePlace::Anchor => "a",
        }
    }
}

/// Reads a page's head. Elements of the body count as well, because broken heads end early.
pub fn read(dom: &Dom) -> Head {
    let mut head = Head {
        lang: dom
            .root()
            .and_then(|html| filled(dom.attribute(html, "lang"))),
        ..Head::default()
    };
    let mut id = DOCUMENT;
    while id != NONE {
        match dom.name(id).map_or("", |name| name) {
            "title" if head.title.is_none() && dom.is_html(id, &local_name!("title")) => {
                head.title = filled(Some(&dom.text_of(id)));
            }
            "meta" => read_meta(dom, id, &mut head),
            "link" => read_link(dom, id, &mut head),
            "a" if has_rel(dom, id, "license") => {
                let licence = dom.attribute(id, "href").and_then(licence_id);
                take_licence(&mut head, licence, LicencePlace::Anchor);
            }
            "script" if is_json_ld(dom, id) => {
                let licence = json_licence(&dom.text_of(id));
                take_licence(&mut head, licence, LicencePlace::JsonLd);
            }
            _ => {}
        }
        id = dom.following(id, DOCUMENT);
    }

    head.optout.sort();
    head.optout.dedup();
    head
}

/// Adds the signals of an HTTP response's headers to those of its page, sorted and each once.
///
/// `headers` are names and values as received. Names are compared without case.
pub fn merge_headers<'a>(
    head: &Head,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    let mut signals = head.optout.clone();
    for (name, value) in headers {
        match name.trim().to_ascii_lowercase().as_str() {
            "x-robots-tag" => robots(value, None, &mut signals),
            "tdm-reservation" if value.trim() == "1" => signals.push("tdm".to_owned()),
            "content-usage" => usage(value, &mut signals),
            _ => {}
        }
    }

    signals.sort();
    signals.dedup();
    signals
}

/// A text with white space collapsed, or `None` if nothing is left.
fn filled(text: Option<&str>) -> Option<String> {
    let words: Vec<&str> = text?.split_whitespace().collect();

    (!words.is_empty()).then(|| words.join(" "))
}

fn has_rel(dom: &Dom, id: NodeId, wanted: &str) -> bool {
    let rel = dom.attribute(id, "rel").unwrap_or_default();

    rel.split_ascii_whitespace()
        .any(|word| word.eq_ignore_ascii_case(wanted))
}

fn is_json_ld(dom: &Dom, id: NodeId) -> bool {
    let kind = dom.attribute(id, "type").unwrap_or_default().trim();

    kind.eq_ignore_ascii_case("application/ld+json")
}

fn read_meta(dom: &Dom, id: NodeId, head: &mut Head) {
    let keys = ["name", "property", "http-equiv"];
    let Some(name) = keys.iter().find_map(|key| dom.attribute(id, key)) else {
        return;
    };
    let content = dom.attribute(id, "content").unwrap_or_default();

    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "robots" | "x-robots-tag" => robots(content, None, &mut head.optout),
        "tdm-reservation" if content.trim() == "1" => head.optout.push("tdm".to_owned()),
        "tdm-policy" if head.tdm_policy.is_none() => head.tdm_policy = filled(Some(content)),
        "content-usage" => usage(content, &mut head.optout),
        "copyright" | "dc.license" | "dc.rights" | "dc.rights.license" | "dcterms.license"
        | "dcterms.rights" | "license" | "licence" | "rights" | "rights-standard"
        | "citation_license" | "og:license" => {
            take_licence(head, licence_id(content), LicencePlace::Meta);
        }
        agent if AGENTS.contains(&agent) => robots(content, Some(agent), &mut head.optout),
        _ => {}
    }
}

fn read_link(dom: &Dom, id: NodeId, head: &mut Head) {
    let href = dom.attribute(id, "href");
    if head.canonical.is_none() && has_rel(dom, id, "canonical") {
        head.canonical = filled(href);
    }

    if has_rel(dom, id, "license") {
        take_licence(head, href.and_then(licence_id), LicencePlace::Link);
    }
}

fn take_licence(head: &mut Head, id: Option<String>, from: LicencePlace) {
    let Some(id) = id else { return };
    if head.licence.as_ref().is_none_or(|found| from < found.from) {
        head.licence = Some(Licence { id, from });
    }
}

/// Reads robots rules such as `noindex, noai` or `gptbot: noindex, nosnippet`.
fn robots(rules: &str, agent: Option<&str>, signals: &mut Vec<String>) {
    let mut agent = agent.map(str::to_owned);
    for rule in rules.split([',', ';']) {
        let rule: String = rule.split_whitespace().collect();
        let mut rule = rule.to_ascii_lowercase();
        if let Some((name, rest)) = rule.split_once(':')
            && is_agent(name)
        {
            agent = Some(name.to_owned()).filter(|name| !matches!(name.as_str(), "*" | "robots"));
            rule = rest.to_owned();
        }

        if RULES.contains(&rule.as_str()) {
            signals.push(match &agent {
                Some(agent) => format!("{agent}:{rule}"),
                None => rule,
            });
        }
    }
}

/// True if the word before a colon names an agent. Some rules have a colon of their own.
fn is_agent(name: &str) -> bool {
    let rules = [
        "max-image-preview",
        "max-snippet",
        "max-video-preview",
        "unavailable_after",
    ];

    !name.is_empty() && !rules.contains(&name)
}

/// Reads refusals of `Content-Usage` such as `train-ai=n, search=y`.
fn usage(value: &str, signals: &mut Vec<String>) {
    for item in value.split([',', ';']) {
        let Some((key, value)) = item.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        let key = key.trim().to_ascii_lowercase();
        let known = matches!(
            key.as_str(),
            "ai" | "bots" | "genai" | "search" | "train-ai" | "train-genai" | "tdm"
        );
        if known && value.eq_ignore_ascii_case("n") {
            signals.push(format!("{key}=n"));
        }
    }
}

/// SPDX's identifier of the first Creative Commons licence that a text links to.
pub fn licence_id(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase().replace("\\/", "/");
    let (_, path) = text.split_once("creativecommons.org/")?;
    let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    let mut parts = path.split(end);

    let kind = parts.next()?;
    let code = parts.next()?;
    let digits =
        |version: &&str| version.starts_with(|c: char| c.is_ascii_digit()) && version.len() <= 4;
    let version = parts
        .next()
        .filter(digits)
        .map(|version| version.trim_end_matches('.'));
    let name = match (kind, code) {
        ("publicdomain", "zero") => "CC0".to_owned(),
        ("publicdomain", "mark") => "CC-PDM".to_owned(),
        ("licenses" | "license", "by" | "by-sa" | "by-nc" | "by-nd" | "by-nc-sa" | "by-nc-nd") => {
            format!("CC-{}", code.to_ascii_uppercase())
        }
        _ => return None,
    };

    Some(match version {
        Some(version) => format!("{name}-{version}"),
        None => name,
    })
}

/// The licence of a key `license` in JSON-LD.
///
/// The text is searched and not parsed: JSON-LD of the web is often broken, and a parser would
/// recurse. The value is a string, or an object or a list with the address in its first 512 bytes.
fn json_licence(json: &str) -> Option<String> {
    let key = "\"license\"";
    let mut rest = json;
    while let Some(at) = rest.find(key) {
        rest = &rest[at + key.len()..];
        let Some(value) = rest.trim_start().strip_prefix(':') else {
            continue;
        };
        let value = value.trim_start();
        let window = first_bytes(value, JSON_VALUE_MAX);
        let end = match window.as_bytes().first() {
            Some(b'"') => window[1..].find('"').map(|end| end + 1),
            Some(b'{') => window.find('}'),
            Some(b'[') => window.find(']'),
            _ => Some(0),
        };

        let end = end.unwrap_or(window.len());
        if let Some(id) = licence_id(&window[..end]) {
            return Some(id);
        }
        // What was searched is not searched again, so the work is linear.
        rest = &value[end..];
    }

    None
}

/// The longest part of a text's first `length` bytes that ends between two characters.
fn first_bytes(text: &str, length: usize) -> &str {
    let mut end = length.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }

    &text[..end]
}
