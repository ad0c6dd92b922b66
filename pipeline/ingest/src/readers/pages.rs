//! Reads pages of the web: archives of WARC and WET records, and HTML files.
//!
//! A page becomes one document, whose text an extractor takes out of the HTML. A page without a text
//! is a document too: its empty text is removed later, so that the funnel shows it. Requests and
//! other records that hold no page are skipped and counted.

use std::io::{BufRead, Read as _};

use anyhow::Result;
use curate_schemas::stages::documents::{Extractor, Format, Run, Source, Web};
use curate_scorers::html::{self, Extracted, Options};
use curate_store::failure::guard;
use serde_json::{Map, Value, json};

use super::{Access, Entries, Reader, Sink};
use crate::date;
use crate::record::{Entry, Item, Record, Repairs, damage};
use crate::web::charset;
use crate::web::http::TOO_LONG;
use crate::web::page::{self, Outcome, Page, Settings};
use crate::web::url::{canonical, registered_domain};
use crate::web::warc::{self, Raw};

/// Web archives: WARC and WET, plain, gzip or Zstandard.
pub const WARC: Reader = Reader {
    format: Format::Warc,
    endings: Format::Warc.web_endings(),
    read: Access::Raw(archive),
};

/// HTML files, one page each.
pub const HTML: Reader = Reader {
    format: Format::Html,
    endings: Format::Html.web_endings(),
    read: Access::Stream(file),
};

/// The reason of a page on which the extractor fails.
const EXTRACTION: &str = "extraction_failed";

/// Reads the records of an archive.
fn archive(stream: &mut dyn BufRead, source: &Source, limits: &Run, take: Entries) -> Result<()> {
    let settings = settings(&source.web);
    let limits = warc::Limits {
        max_record: limits.max_record,
        max_window: limits.max_window,
    };

    warc::read(stream, &limits, &mut |raw| match raw {
        Raw::Record(record) => {
            let entry = match page::page(&record, &settings) {
                Outcome::Page(page) => item(*page, &source.web).into(),
                Outcome::Text(page) => text_item(*page).into(),
                Outcome::Damage(damage) => Err(damage).into(),
                Outcome::Skipped(reason) => Entry::Skipped {
                    reason,
                    bytes: record.block.len() as u64,
                },
            };
            take(entry)
        }
        Raw::Damage(damage) => take(Err(damage).into()),
        Raw::Padding { .. } => Ok(()),
    })
}

/// The records that are pages, by the settings of a source.
fn settings(web: &Web) -> Settings {
    let words = web.types.iter().filter_map(|kind| match json!(kind) {
        Value::String(word) => Some(word),
        _ => None,
    });
    Settings {
        types: words.collect(),
        max_html: web.max_html,
        verify: web.verify,
        ..Settings::default()
    }
}

/// Reads an HTML file as one page.
fn file(stream: &mut dyn BufRead, source: &Source, limits: &Run, sink: Sink) -> Result<()> {
    let most = source.web.max_html.min(limits.max_record);
    let mut bytes = Vec::new();
    // One byte more than allowed tells a page that is too long from one that just fits.
    let read = stream.take(most + 1).read_to_end(&mut bytes);
    let length = bytes.len() as u64;

    if let Err(error) = read {
        let detail = error.to_string();
        return sink(Err(damage(0, "damaged_file", &detail, &bytes, length)));
    }
    if length > most {
        // The rest is counted without being held. Damage in it only makes the count too small.
        let rest = std::io::copy(stream, &mut std::io::sink()).unwrap_or(0);
        let length = length + rest;
        let detail = format!("a page of {length} bytes, at most {most} are read");
        return sink(Err(damage(0, TOO_LONG, &detail, &bytes, length)));
    }

    let decoded = match charset::decode(&bytes, None, None) {
        Ok(decoded) => decoded,
        Err(detail) => {
            let reason = charset::CHARSET;
            return sink(Err(damage(0, reason, &detail, &bytes, length)));
        }
    };
    let page = Page {
        charset: decoded.charset,
        charset_from: decoded.from.name(),
        replaced: decoded.replaced,
        html_bytes: bytes.len(),
        html: decoded.text.into_owned(),
        ..Page::default()
    };
    sink(item(page, &source.web))
}

/// The item of a page: its text, or its damage if the extractor fails.
fn item(page: Page, web: &Web) -> Item {
    if page.mime.as_deref() == Some("text/plain") {
        return text_item(page);
    }

    let extractor = match web.extractor {
        Extractor::Resiliparse => html::Extractor::Resiliparse,
        Extractor::Text => html::Extractor::Text,
    };
    let options = Options {
        formulas: web.formulas,
    };
    // A panic costs its page.
    let extracted = guard(|| html::extract(&page.html, extractor, options)).map_err(|panic| {
        let raw = page.html.as_bytes();
        let offset = page.offset.unwrap_or(0);
        damage(offset, EXTRACTION, &panic, raw, raw.len() as u64)
    })?;

    let meta = page_meta(&page, &extracted, web.extractor);
    Ok(record(page, extracted.text, meta))
}

/// The item of a text without markup.
fn text_item(mut page: Page) -> Item {
    let text = std::mem::take(&mut page.html);
    let meta = archive_meta(&page);
    Ok(record(page, text, meta))
}

/// The record of a page with its text.
fn record(page: Page, text: String, meta: Map<String, Value>) -> Record {
    Record {
        text,
        id: page.record_id,
        date: page.date.as_deref().and_then(date::parse),
        url: page.url,
        meta: (!meta.is_empty()).then(|| Value::Object(meta).to_string()),
        repairs: Repairs::default(),
    }
}

/// Adds a value under a name, if there is one.
fn put(meta: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        meta.insert(name.to_owned(), value.into());
    }
}

/// What an archive says of a page, and what was found while it was decoded.
fn archive_meta(page: &Page) -> Map<String, Value> {
    let mut meta = Map::new();
    put(&mut meta, "offset", page.offset);
    put(&mut meta, "status", page.status);
    put(&mut meta, "content_type", page.content_type.clone());
    put(&mut meta, "mime", page.mime.clone());
    put(&mut meta, "charset", Some(page.charset));
    put(&mut meta, "charset_from", Some(page.charset_from));
    put(
        &mut meta,
        "replaced",
        (page.replaced > 0).then_some(page.replaced),
    );
    put(&mut meta, "lang_http", page.lang_http.clone());
    put(&mut meta, "lang_warc", page.lang_warc.clone());
    put(&mut meta, "truncated", page.truncated.clone());

    let digest = page.digest.as_ref();
    put(
        &mut meta,
        "digest",
        digest.map(|digest| digest.given.clone()),
    );
    put(
        &mut meta,
        "digest_is_right",
        digest.and_then(|digest| digest.is_right),
    );
    put(&mut meta, "canonical", page.canonical.clone());
    let domain = page.url.as_deref().and_then(registered_domain);
    put(&mut meta, "registered_domain", domain);
    put(
        &mut meta,
        "notes",
        (!page.notes.is_empty()).then(|| json!(page.notes)),
    );
    meta
}

/// The same of an HTML page, and what the page says of itself.
fn page_meta(page: &Page, extracted: &Extracted, extractor: Extractor) -> Map<String, Value> {
    let mut meta = archive_meta(page);
    let (head, rights) = (&extracted.head, &page.rights);
    // A page that was not in an archive may say where it belongs.
    let canonical = page
        .canonical
        .clone()
        .or_else(|| canonical(head.canonical.as_deref()?));
    put(&mut meta, "canonical", canonical);
    put(&mut meta, "title", head.title.clone());
    put(&mut meta, "lang_html", head.lang.clone());
    put(&mut meta, "html_bytes", Some(page.html_bytes));
    put(&mut meta, "extractor", Some(json!(extractor)));

    let capped = [
        ("depth_capped", extracted.depth_capped),
        ("nodes_capped", extracted.nodes_capped),
        ("tags_cut", extracted.tags_cut > 0),
    ];
    for (name, is_capped) in capped {
        put(&mut meta, name, is_capped.then_some(true));
    }

    let robots = rights.robots.iter().map(|value| ("x-robots-tag", value));
    let reservation = rights.tdm_reservation.iter();
    let reservation = reservation.map(|value| ("tdm-reservation", value));
    let usage = rights
        .content_usage
        .iter()
        .map(|value| ("content-usage", value));
    let headers = robots.chain(reservation).chain(usage);
    let optout =
        html::head::merge_headers(head, headers.map(|(name, value)| (name, value.as_str())));
    put(
        &mut meta,
        "optout",
        (!optout.is_empty()).then(|| json!(optout)),
    );
    let policy = rights
        .tdm_policy
        .clone()
        .or_else(|| head.tdm_policy.clone());
    put(&mut meta, "tdm_policy", policy);

    let of_header = rights
        .licences
        .iter()
        .find_map(|href| html::head::licence_id(href));
    let licence = match (of_header, &head.licence) {
        (Some(id), _) => Some(json!({ "id": id, "from": "http" })),
        (None, Some(licence)) => Some(json!({ "id": licence.id, "from": licence.from.name() })),
        (None, None) => None,
    };
    put(&mut meta, "licence", licence);
    meta
}
