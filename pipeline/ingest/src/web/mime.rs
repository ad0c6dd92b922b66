//! The MIME type of a body: the type that the crawler identified, or the type that the first bytes
//! show, or the type that the server said.
//!
//! The signatures are those of the WHATWG MIME Sniffing Standard that tell pages from files.

/// Signatures of markup. A blank, `>` or the end must follow, and blanks may come before.
const MARKUP: [&[u8]; 10] = [
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<body",
    b"<title",
    b"<script",
    b"<style",
    b"<iframe",
    b"<table",
    b"<!--",
];

/// Signatures of other types.
const MAGIC: [(&[u8], &str); 14] = [
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"BM", "image/bmp"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1a\x07", "application/x-rar-compressed"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"OggS\0", "application/ogg"),
    (b"ID3", "audio/mpeg"),
];

/// The MIME type of a body, in lower case and without parameters. `None` if nothing is known.
pub fn mime(identified: Option<&str>, body: &[u8], said: Option<&str>) -> Option<String> {
    let identified = identified.and_then(essence);
    identified
        .or_else(|| sniff(body, said.and_then(essence).as_deref()))
        .or_else(|| said.and_then(essence))
}

/// A MIME type in lower case and without parameters. `None` if it is no type.
pub fn essence(value: &str) -> Option<String> {
    let end = value.find([';', ',']).unwrap_or(value.len());
    let name = value[..end].trim().to_ascii_lowercase();
    let (kind, sub) = name.split_once('/')?;
    let is_token = |part: &str| {
        let is_symbol = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        !part.is_empty() && part.bytes().all(is_symbol)
    };
    (is_token(kind) && is_token(sub)).then_some(name)
}

/// The type that the first bytes show.
fn sniff(body: &[u8], said: Option<&str>) -> Option<String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let start = body.trim_ascii_start();
    if start.starts_with(b"<?xml") {
        // XHTML begins like any other XML, so the header decides.
        let is_xml = said.is_some_and(|said| said.contains("xml") || said.contains("html"));
        return match is_xml {
            true => None,
            false if is_xhtml(start) => Some("application/xhtml+xml".to_owned()),
            false => Some("text/xml".to_owned()),
        };
    }
    if is_markup(start) {
        let said = said.unwrap_or_default();
        // Comments begin style sheets and scripts too, and XML may use the names of tags.
        let is_vague = matches!(said, "" | "text/plain" | "application/octet-stream");
        let is_page = said.contains("html") || is_vague || !start.starts_with(b"<!--");
        return (is_page && !said.contains("xml")).then(|| "text/html".to_owned());
    }

    let found = MAGIC.iter().find(|(magic, _)| {
        // Two letters are no proof against a server that says text.
        let is_weak = magic.len() < 4 && magic.is_ascii();
        let is_text = said.is_some_and(|said| said.starts_with("text/"));
        body.starts_with(magic) && !(is_weak && is_text)
    });
    found.map(|(_, name)| (*name).to_owned())
}

/// True if the bytes begin with a tag of a page.
fn is_markup(start: &[u8]) -> bool {
    MARKUP.iter().any(|signature| {
        let is_equal = start
            .get(..signature.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(signature));
        let next = start.get(signature.len());
        let is_whole = *signature == b"<!--"
            || next.is_none_or(|byte| byte.is_ascii_whitespace() || b">/".contains(byte));
        is_equal && is_whole
    })
}

/// True if XML has the element `html` near its start.
fn is_xhtml(start: &[u8]) -> bool {
    let head = &start[..start.len().min(1024)];
    memchr::memmem::find(head, b"<html").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crawler_wins_over_the_bytes_and_the_bytes_over_the_server() {
        let page = b"\n <!DOCTYPE HTML><p>x";
        let all = |identified, body, said| mime(identified, body, said).unwrap_or_default();
        assert_eq!(
            all(Some("Application/PDF"), page, Some("a/b")),
            "application/pdf"
        );
        assert_eq!(all(None, page, Some("text/plain; charset=x")), "text/html");
        assert_eq!(all(None, b"%PDF-1.4", Some("text/html")), "application/pdf");
        assert_eq!(all(None, b"plain", Some("Text/Plain;x")), "text/plain");
        assert_eq!(
            all(Some("nonsense"), b"plain", Some("text/css")),
            "text/css"
        );
        assert_eq!(mime(None, b"plain", None), None);
    }

    #[test]
    fn xhtml_stays_xhtml_and_other_words_are_no_tags() {
        let xml = b"<?xml version='1.0'?><html xmlns='x'>";
        let all = |body: &[u8], said| mime(None, body, said).unwrap_or_default();
        assert_eq!(all(xml, Some("text/html")), "text/html");
        assert_eq!(all(xml, None), "application/xhtml+xml");
        assert_eq!(all(b"<?xml?><rss>", Some("text/plain")), "text/xml");
        assert_eq!(all(b"<headline>", Some("text/xml")), "text/xml");
        assert_eq!(all(b"BMW is a car", Some("text/html")), "text/html");
        assert_eq!(
            all(b"<!-- x --><svg>", Some("image/svg+xml")),
            "image/svg+xml"
        );
        assert_eq!(
            all(b"<!-- x\nvar a", Some("text/javascript")),
            "text/javascript"
        );
        assert_eq!(all(b"<!-- x --><p>", Some("text/plain")), "text/html");
        assert_eq!(all(b"<html>", Some("application/json")), "text/html");
    }
}
