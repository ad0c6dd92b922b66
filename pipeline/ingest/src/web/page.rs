//! Turns a WARC record into a page: the HTML as text, with what the record says about it.
//!
//! A record that is no page is skipped with a reason, and is no damage. A page that cannot be read
//! is damage.

use anyhow::Result;

use super::charset::{self, CHARSET};
use super::digest::{Digest, digest};
use super::http::{self, Head, Response};
use super::mime::{essence, mime};
use super::rights::{Rights, rights};
use super::warc::{WarcRecord, reason};
use super::{headers, url};
use crate::record::{Damage, damage};

/// A record of another kind than those that are read.
pub const RECORD_TYPE: &str = "record_type";
/// A page of another MIME type than those that are read.
pub const CONTENT_TYPE: &str = "content_type";
/// A page with another status than those that are read.
pub const STATUS: &str = "status";
/// A record that refers to an earlier one, without a page of its own.
pub const REVISIT: &str = "revisit";
/// A page without a body.
pub const EMPTY_PAYLOAD: &str = "empty_payload";

/// The settings that decide which records are pages.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The record types that are read: `response`, `resource`, `conversion`.
    pub records: Vec<String>,
    /// The MIME types of pages, in lower case.
    pub types: Vec<String>,
    /// The HTTP status codes of pages.
    pub status: Vec<u16>,
    /// The most bytes of a page.
    pub max_html: u64,
    /// True if digests are computed and compared.
    pub verify: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            records: ["response", "resource", "conversion"]
                .map(str::to_owned)
                .to_vec(),
            types: ["text/html", "application/xhtml+xml"]
                .map(str::to_owned)
                .to_vec(),
            status: vec![200],
            max_html: 8 << 20,
            verify: false,
        }
    }
}

/// A page, or the text of a `conversion` record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// `WARC-Target-URI` without angle brackets.
    pub url: Option<String>,
    /// The canonical form of the address.
    pub canonical: Option<String>,
    /// `WARC-Date`.
    pub date: Option<String>,
    /// `WARC-Record-ID` as given.
    pub record_id: Option<String>,
    /// The HTTP status. `None` for records without an HTTP header.
    pub status: Option<u16>,
    /// The MIME type that the server said, as sent.
    pub content_type: Option<String>,
    /// The MIME type that was identified or sniffed.
    pub mime: Option<String>,
    /// The name of the encoding.
    pub charset: &'static str,
    /// The source of the encoding: `bom`, `http`, `meta`, `utf8` or `detector`.
    pub charset_from: &'static str,
    /// The number of characters that became U+FFFD.
    pub replaced: usize,
    /// `Content-Language` of the HTTP header.
    pub lang_http: Option<String>,
    /// `WARC-Identified-Content-Language`.
    pub lang_warc: Option<String>,
    /// `WARC-Truncated`, or `gzip` if the member of the record has no checksum.
    pub truncated: Option<String>,
    /// `WARC-Payload-Digest`, or else `WARC-Block-Digest`.
    pub digest: Option<Digest>,
    /// What is unusual, as words of [`super::warc::note`] and [`super::http::note`].
    pub notes: Vec<&'static str>,
    /// What the HTTP header says about the use of the page.
    pub rights: Rights,
    /// The place of the record, as in [`WarcRecord::offset`]. `None` for a page outside of archives.
    pub offset: Option<u64>,
    /// The page as text.
    pub html: String,
    /// Length of the page in bytes, before its encoding was decoded.
    pub html_bytes: usize,
}

/// What a record is.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A page, whose text is HTML or another of the wanted types.
    Page(Box<Page>),
    /// A text without markup, of a `conversion` record.
    Text(Box<Page>),
    /// No page. The reason is one of the words above.
    Skipped(&'static str),
    /// A page that cannot be read.
    Damage(Damage),
}

/// A record that is no page, or that cannot be read.
enum Refused {
    Skipped(&'static str),
    Damaged(&'static str, String),
}

/// Turns a record into a page.
pub fn page(record: &WarcRecord, settings: &Settings) -> Outcome {
    let read = match read(record, settings) {
        Ok(outcome) => return outcome,
        Err(refused) => refused,
    };
    match read {
        Refused::Skipped(reason) => Outcome::Skipped(reason),
        Refused::Damaged(reason, detail) => {
            let bytes = record.block.len() as u64;
            Outcome::Damage(damage(record.offset, reason, &detail, record.block, bytes))
        }
    }
}

/// Reads a record by its type.
fn read(record: &WarcRecord, settings: &Settings) -> Result<Outcome, Refused> {
    let Some(kind) = record.headers.get("WARC-Type") else {
        return Err(Refused::Damaged(
            reason::BAD_HEADER,
            "no WARC-Type".to_owned(),
        ));
    };
    let kind = kind.to_ascii_lowercase();
    if kind == "revisit" {
        return Err(Refused::Skipped(REVISIT));
    }
    let is_wanted = |name: &str| settings.records.iter().any(|wanted| wanted == name);
    if !is_wanted(&kind) {
        return Err(Refused::Skipped(RECORD_TYPE));
    }

    let block_type = record.headers.get("Content-Type").and_then(essence);
    if kind == "conversion" {
        return text(record, settings, block_type);
    }
    // A resource has no HTTP header, unless its type says so.
    let is_http = kind == "response" || block_type.as_deref() == Some("application/http");
    let head = match is_http {
        true => http::head(record.block),
        false => resource(record),
    };
    html(record, settings, head)
}

/// The block of a `resource` record, as a response without a header.
fn resource<'a>(record: &'a WarcRecord) -> Head<'a> {
    Head {
        status: None,
        headers: headers::Headers::default(),
        payload: record.block,
        notes: Vec::new(),
    }
}

/// Reads a page.
fn html(record: &WarcRecord, settings: &Settings, head: Head) -> Result<Outcome, Refused> {
    if head
        .status
        .is_some_and(|status| !settings.status.contains(&status))
    {
        return Err(Refused::Skipped(STATUS));
    }
    if head.payload.is_empty() {
        return Err(Refused::Skipped(EMPTY_PAYLOAD));
    }

    // The type that the crawler identified is known before the body is decoded.
    let identified = record.headers.get("WARC-Identified-Payload-Type");
    let is_other = |mime: String| !settings.types.contains(&mime);
    if identified.and_then(essence).is_some_and(is_other) {
        return Err(Refused::Skipped(CONTENT_TYPE));
    }

    // The type of the message is not the type of its body.
    let said = head.headers.get("Content-Type");
    let said = said.or_else(|| record.headers.get("Content-Type"));
    let said = said.filter(|said| essence(said).as_deref() != Some("application/http"));
    let said = said.map(str::to_owned);
    let (status, payload) = (head.status, head.payload);
    let response = response(head, said.as_deref(), settings)?;

    let mime = mime(identified, &response.body, said.as_deref());
    if mime.clone().is_none_or(is_other) {
        return Err(Refused::Skipped(CONTENT_TYPE));
    }

    let mut page = described(record);
    page.status = status;
    page.mime = mime;
    page.lang_http = response.headers.get("Content-Language").map(str::to_owned);
    page.rights = rights(&response.headers);
    page.notes.extend(&response.notes);
    page.digest = digest(record, payload, settings.verify);
    let label = said.as_deref().and_then(charset::of_content_type);
    decode(&mut page, &response.body, label)?;
    page.content_type = said;
    Ok(Outcome::Page(Box::new(page)))
}

/// Decodes the body of a page.
fn response<'a>(
    head: Head<'a>,
    said: Option<&str>,
    settings: &Settings,
) -> Result<Response<'a>, Refused> {
    let max = usize::try_from(settings.max_html).unwrap_or(usize::MAX - 1);
    let payload = head.payload;
    match head.decode(max) {
        Ok(response) if response.body.is_empty() => Err(Refused::Skipped(EMPTY_PAYLOAD)),
        Ok(response) => Ok(response),
        // A long film is no page that is too long.
        Err(_) if is_other_type(said, payload, &settings.types) => {
            Err(Refused::Skipped(CONTENT_TYPE))
        }
        Err((reason, detail)) => Err(Refused::Damaged(reason, detail)),
    }
}

/// True if the type that is said is not wanted, or if no type is said and the bytes show another.
fn is_other_type(said: Option<&str>, payload: &[u8], types: &[String]) -> bool {
    let said = said.and_then(essence);
    let found = said.or_else(|| mime(None, payload, None));
    found.is_some_and(|found| !types.contains(&found))
}

/// Reads the text of a `conversion` record. Its type must be `text/plain`.
fn text(
    record: &WarcRecord,
    settings: &Settings,
    block_type: Option<String>,
) -> Result<Outcome, Refused> {
    if block_type
        .as_deref()
        .is_some_and(|kind| kind != "text/plain")
    {
        return Err(Refused::Skipped(CONTENT_TYPE));
    }
    if record.block.is_empty() {
        return Err(Refused::Skipped(EMPTY_PAYLOAD));
    }
    if record.block.len() as u64 > settings.max_html {
        let detail = format!("a text of {} bytes", record.block.len());
        return Err(Refused::Damaged(http::TOO_LONG, detail));
    }

    let mut page = described(record);
    page.content_type = record.headers.get("Content-Type").map(str::to_owned);
    page.mime = block_type;
    page.digest = digest(record, record.block, settings.verify);
    let label = record.headers.get("Content-Type");
    let label = label.and_then(charset::of_content_type);
    decode(&mut page, record.block, label)?;
    Ok(Outcome::Text(Box::new(page)))
}

/// A page with what the header of the record says.
fn described(record: &WarcRecord) -> Page {
    let owned = |name: &str| record.headers.get(name).map(str::to_owned);
    let url = record
        .headers
        .get("WARC-Target-URI")
        .and_then(url::archived);
    let is_cut = record.notes.contains(&super::warc::note::NO_TRAILER);
    Page {
        url: url.map(str::to_owned),
        canonical: url.and_then(url::canonical),
        date: owned("WARC-Date"),
        record_id: owned("WARC-Record-ID"),
        lang_warc: owned("WARC-Identified-Content-Language"),
        truncated: owned("WARC-Truncated")
            .or_else(|| is_cut.then(|| super::warc::note::NO_TRAILER.to_owned())),
        notes: record.notes.clone(),
        offset: Some(record.offset),
        ..Page::default()
    }
}

/// Decodes the bytes of a page.
fn decode(page: &mut Page, bytes: &[u8], label: Option<&str>) -> Result<(), Refused> {
    let tld = page.url.as_deref().and_then(url::top_level_domain);
    let decoded = charset::decode(bytes, label, tld.as_deref())
        .map_err(|detail| Refused::Damaged(CHARSET, detail))?;
    page.charset = decoded.charset;
    page.charset_from = decoded.from.name();
    page.replaced = decoded.replaced;
    page.html_bytes = bytes.len();
    page.html = decoded.text.into_owned();
    Ok(())
}

#[cfg(test)]
mod tests {
    use sha1::{Digest as _, Sha1};

    use super::*;
    use crate::web::cases::{LIMITS, block, gzip, html, http, record, with_lines};
    use crate::web::digest::base32;
    use crate::web::warc::{Raw, read};

    /// What each record of a file is.
    fn outcomes(file: &[u8], settings: &Settings) -> Vec<Outcome> {
        let mut found = Vec::new();
        read(&mut &file[..], &LIMITS, &mut |raw| {
            if let Raw::Record(record) = raw {
                found.push(page(&record, settings));
            }
            Ok(())
        })
        .expect("memory can be read");
        found
    }

    /// What a record with these lines is, in a word.
    fn word(lines: &[&str], block: &[u8]) -> String {
        let length = format!("Content-Length: {}", block.len());
        let lines = [&["WARC/1.0", &length], lines].concat();
        match outcomes(&with_lines(&lines, block), &Settings::default()).remove(0) {
            Outcome::Page(page) => format!("page {}", page.html),
            Outcome::Text(page) => format!("text {}", page.html),
            Outcome::Skipped(reason) => reason.to_owned(),
            Outcome::Damage(damage) => format!("!{}", damage.reason),
        }
    }

    #[test]
    fn the_record_type_decides_what_a_record_is() {
        let is = |kind: &str, content: &str, block: &[u8]| {
            let kind = format!("WARC-Type: {kind}");
            word(&[&kind, &format!("Content-Type: {content}")], block)
        };
        let page = format!("page {}", html(1));
        assert_eq!(
            is("response", "application/http; msgtype=response", &block(1)),
            page
        );
        assert_eq!(is("RESPONSE", "", &block(1)), page);
        assert_eq!(is("resource", "text/html", html(1).as_bytes()), page);
        assert_eq!(is("response", "", html(1).as_bytes()), page);
        assert_eq!(is("conversion", "text/plain", "ä ö".as_bytes()), "text ä ö");
        assert_eq!(is("conversion", "application/json", b"{}"), CONTENT_TYPE);
        assert_eq!(is("revisit", "", b""), REVISIT);
        for kind in ["warcinfo", "request", "metadata", "future-type"] {
            assert_eq!(is(kind, "", b"x"), RECORD_TYPE);
        }
        assert_eq!(word(&["X: y"], &block(1)), "!bad_header");
    }

    #[test]
    fn other_types_other_statuses_and_empty_bodies_are_skipped() {
        let is = |block: &[u8]| word(&["WARC-Type: response"], block);
        assert_eq!(is(b"HTTP/1.1 404 No\r\n\r\n<html>"), STATUS);
        assert_eq!(is(b"HTTP/1.1 200 OK\r\n\r\n"), EMPTY_PAYLOAD);
        assert_eq!(is(b""), EMPTY_PAYLOAD);
        assert_eq!(
            is(&http("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
            EMPTY_PAYLOAD
        );
        assert_eq!(is(&http("", b"%PDF-1.4 <html>")), CONTENT_TYPE);
        assert_eq!(
            is(b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\n\r\nb {}"),
            CONTENT_TYPE
        );
        let film = [
            &b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n"[..],
            &[1; 900],
        ]
        .concat();
        assert_eq!(is(&film), CONTENT_TYPE);
        let lines = [
            "WARC-Type: response",
            "WARC-Identified-Payload-Type: image/png",
        ];
        assert_eq!(word(&lines, &block(1)), CONTENT_TYPE);
    }

    #[test]
    fn a_page_that_cannot_be_read_is_damage() {
        let is = |block: &[u8]| word(&["WARC-Type: response"], block);
        let bad = http("", &[b"<html>", &[0xff; 40][..]].concat());
        assert_eq!(is(&bad), "!charset");
        assert_eq!(
            is(&http("Content-Encoding: gzip\r\n", b"\x01\x02")),
            "!http_bad_encoding"
        );

        let small = Settings {
            max_html: 80,
            ..Settings::default()
        };
        for body in [html(1).into_bytes(), gzip(html(1).as_bytes())] {
            let block = http("Content-Encoding: gzip\r\n", &body);
            let length = format!("Content-Length: {}", block.len());
            let file = with_lines(&["WARC/1.0", "WARC-Type: response", &length], &block);
            let [Outcome::Damage(damage)] = &outcomes(&file, &small)[..] else {
                panic!("the page is longer than 80 bytes")
            };
            assert_eq!(damage.reason, "html_too_long");
            assert_eq!(damage.raw, block);
        }
    }

    #[test]
    fn a_page_has_what_its_record_and_its_header_say() {
        let lines = "Content-Language: en\r\nX-Robots-Tag: noai\r\nX-Robots-Tag: bot: none\r\n\
            tdm-reservation: 1\r\ntdm-policy: https://x.de/p\r\nContent-Usage: train-ai=n\r\n\
            Link: <https://a.de/s.css>; rel=preload, \
            <https://creativecommons.org/licenses/by/4.0/>; title=x; rel=\"license next\"\r\n";
        let block = http(lines, html(1).as_bytes());
        let length = format!("Content-Length: {}", block.len());
        let digest = format!(
            "WARC-Payload-Digest: sha1:{}",
            base32(&Sha1::digest(html(1)))
        );
        let file = with_lines(
            &[
                "WARC/1.0",
                "WARC-Type: response",
                "WARC-Target-URI: <https://www.example.com/1#x>",
                "WARC-Date: 2025-01-02T03:04:05Z",
                "WARC-Record-ID: <urn:uuid:1>",
                "WARC-Identified-Content-Language: eng",
                "WARC-Truncated: length",
                &digest,
                &length,
            ],
            &block,
        );
        let settings = Settings {
            verify: true,
            ..Settings::default()
        };
        let [Outcome::Page(page)] = &outcomes(&file, &settings)[..] else {
            panic!("the file has one page")
        };
        let expected = Page {
            url: Some("https://www.example.com/1#x".to_owned()),
            canonical: Some("https://example.com/1".to_owned()),
            date: Some("2025-01-02T03:04:05Z".to_owned()),
            record_id: Some("<urn:uuid:1>".to_owned()),
            status: Some(200),
            content_type: Some("text/html; charset=utf-8".to_owned()),
            mime: Some("text/html".to_owned()),
            charset: "UTF-8",
            charset_from: "http",
            lang_http: Some("en".to_owned()),
            lang_warc: Some("eng".to_owned()),
            truncated: Some("length".to_owned()),
            digest: Some(Digest {
                given: digest["WARC-Payload-Digest: ".len()..].to_owned(),
                is_right: Some(true),
            }),
            rights: Rights {
                robots: vec!["noai".to_owned(), "bot: none".to_owned()],
                tdm_reservation: Some("1".to_owned()),
                tdm_policy: Some("https://x.de/p".to_owned()),
                content_usage: vec!["train-ai=n".to_owned()],
                licences: vec!["https://creativecommons.org/licenses/by/4.0/".to_owned()],
            },
            html: html(1),
            html_bytes: html(1).len(),
            offset: Some(0),
            ..Page::default()
        };
        assert_eq!(**page, expected);
    }

    #[test]
    fn a_member_without_its_checksum_gives_a_page_that_says_so() {
        let member = gzip(&record(1));
        let file = &member[..member.len() - 8];
        let [Outcome::Page(page)] = &outcomes(file, &Settings::default())[..] else {
            panic!("the file has one page")
        };
        assert_eq!(page.truncated.as_deref(), Some("gzip"));
    }
}
