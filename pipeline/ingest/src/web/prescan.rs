//! The encoding that a page declares in its first 1,024 bytes: the algorithm "prescan a byte stream
//! to determine its encoding" of the WHATWG HTML Standard (section 13.2.3.2), and the XML
//! declaration.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use memchr::{memchr, memmem};

/// The number of bytes that are searched for a declaration.
pub const PRESCAN: usize = 1024;

/// The encoding that the first bytes declare.
pub fn prescan(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(PRESCAN)];
    if head.starts_with(b"<\0?\0x\0") {
        return Some(UTF_16LE);
    }
    if head.starts_with(b"\0<\0?\0x") {
        return Some(UTF_16BE);
    }
    Prescan { bytes: head, at: 0 }
        .meta()
        .or_else(|| xml_declaration(head))
}

/// The encoding with this label, as a declaration in a page means it.
fn declared(label: &[u8]) -> Option<&'static Encoding> {
    let encoding = Encoding::for_label(label)?;
    // The declaration was read as ASCII, so the page is not UTF-16.
    Some(match encoding {
        _ if encoding == UTF_16LE || encoding == UTF_16BE => UTF_8,
        _ if encoding == X_USER_DEFINED => WINDOWS_1252,
        _ => encoding,
    })
}

/// The encoding that an XML declaration at the start names.
fn xml_declaration(head: &[u8]) -> Option<&'static Encoding> {
    let rest = head.strip_prefix(b"<?xml")?;
    let rest = &rest[..memchr(b'>', rest)?];
    let start = memmem::find(rest, b"encoding")? + b"encoding".len();
    let value = rest[start..].trim_ascii_start().strip_prefix(b"=")?;
    let value = value.trim_ascii_start();
    let quote = *value.first().filter(|byte| b"\"'".contains(byte))?;
    let value = &value[1..];
    let end = memchr(quote, value)?;
    declared(&value[..end])
}

/// The prescan of the HTML Standard, "prescan a byte stream to determine its encoding".
struct Prescan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Prescan<'_> {
    /// The encoding of the first `meta` element that declares one.
    fn meta(&mut self) -> Option<&'static Encoding> {
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            if rest.starts_with(b"<!--") {
                // The hyphens of the start may be those of the end.
                let end = memmem::find(&rest[2..], b"-->")?;
                self.at += 2 + end + 3;
                continue;
            }

            let is_meta = rest
                .get(..5)
                .is_some_and(|tag| tag.eq_ignore_ascii_case(b"<meta"))
                && rest
                    .get(5)
                    .is_some_and(|byte| is_space(*byte) || *byte == b'/');
            if is_meta {
                self.at += 5;
                match self.meta_element() {
                    Some(encoding) => return Some(encoding),
                    None => continue,
                }
            }
            match rest {
                [b'<', b'/', letter, ..] | [b'<', letter, ..] if letter.is_ascii_alphabetic() => {
                    let name = rest
                        .iter()
                        .position(|byte| is_space(*byte) || *byte == b'>')?;
                    self.at += name;
                    while self.attribute().is_some() {}
                    self.at += 1;
                }
                [b'<', b'!' | b'/' | b'?', ..] => self.at += memchr(b'>', rest)? + 1,
                _ => self.at += memchr(b'<', &rest[1..])? + 1,
            }
        }
        None
    }

    /// The encoding that the attributes of a `meta` element declare.
    fn meta_element(&mut self) -> Option<&'static Encoding> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut is_pragma = false;
        let mut needs_pragma = None;
        let mut charset = None;
        while let Some((name, value)) = self.attribute() {
            if names.contains(&name) {
                continue;
            }
            match name.as_slice() {
                b"http-equiv" => is_pragma |= value == b"content-type",
                b"content" if charset.is_none() => {
                    if let Some(encoding) = of_content(&value) {
                        charset = Some(Some(encoding));
                        needs_pragma = Some(true);
                    }
                }
                b"charset" => {
                    charset = Some(declared(&value));
                    needs_pragma = Some(false);
                }
                _ => {}
            }
            names.push(name);
        }

        match needs_pragma {
            None => None,
            Some(true) if !is_pragma => None,
            Some(_) => charset.flatten(),
        }
    }

    /// The next attribute, as name and value in lower case. `None` at the end of the tag.
    fn attribute(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.skip(|byte| is_space(byte) || byte == b'/');
        if matches!(self.peek(), None | Some(b'>')) {
            return None;
        }

        let mut name = Vec::new();
        loop {
            match self.peek()? {
                b'=' if !name.is_empty() => break,
                byte if is_space(byte) => {
                    self.skip(is_space);
                    match self.peek() {
                        Some(b'=') => break,
                        _ => return Some((name, Vec::new())),
                    }
                }
                b'/' | b'>' => return Some((name, Vec::new())),
                byte => name.push(byte.to_ascii_lowercase()),
            }
            self.at += 1;
        }

        // The place is that of the equals sign.
        self.at += 1;
        self.skip(is_space);
        Some((name, self.value()?))
    }

    /// The value of an attribute. `None` if the bytes end within the value.
    fn value(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        match self.peek()? {
            quote @ (b'"' | b'\'') => {
                self.at += 1;
                loop {
                    let byte = self.peek()?;
                    self.at += 1;
                    if byte == quote {
                        return Some(value);
                    }
                    value.push(byte.to_ascii_lowercase());
                }
            }
            _ => loop {
                let byte = self.peek()?;
                if is_space(byte) || byte == b'>' {
                    return Some(value);
                }
                value.push(byte.to_ascii_lowercase());
                self.at += 1;
            },
        }
    }

    /// The byte at the place.
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips bytes for which `is_skipped` holds.
    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&is_skipped) {
            self.at += 1;
        }
    }
}

/// The blank bytes of HTML.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

/// The encoding in the `content` of a `meta` element, "extract a character encoding".
fn of_content(value: &[u8]) -> Option<&'static Encoding> {
    let mut rest = value;
    loop {
        let start = memmem::find(rest, b"charset")? + b"charset".len();
        rest = rest[start..].trim_ascii_start();
        if let Some(value) = rest.strip_prefix(b"=") {
            rest = value.trim_ascii_start();
            break;
        }
    }
    match rest {
        [quote @ (b'"' | b'\''), rest @ ..] => declared(&rest[..memchr(*quote, rest)?]),
        _ => {
            let end = rest
                .iter()
                .position(|byte| is_space(*byte) || *byte == b';');
            declared(&rest[..end.unwrap_or(rest.len())])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prescan_reads_tags_as_the_standard_does() {
        let charset = |page: &str| prescan(page.as_bytes()).map(Encoding::name);
        let koi = Some("KOI8-R");
        for page in [
            "<META CharSet = 'koi8-r' >",
            "<meta/charset=koi8-r>",
            "<!-- <meta charset=big5> --><meta charset=koi8-r>",
            "<!--><meta charset=koi8-r>",
            "<a title='<meta charset=big5>'><meta charset=koi8-r>",
            "<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>",
            "<meta content='a;charset=\"koi8-r\"' http-equiv='content-type'>",
            "<meta charset=nonsense><meta charset=koi8-r>",
            "<meta charset=koi8-r charset=big5>",
            "</p/><?x ?><!doctype html>< meta><meta charset=koi8-r>",
        ] {
            assert_eq!(charset(page), koi, "{page}");
        }
        for page in [
            "<meta content='text/html; charset=koi8-r'>",
            "<metadata charset=koi8-r>",
            "<meta http-equiv=content-type content='charset koi8-r'>",
            "<meta charset=koi8-r",
            "<!-- <meta charset=koi8-r>",
            "",
            "<",
        ] {
            assert_eq!(charset(page), None, "{page}");
        }
        let late = format!("{}<meta charset=koi8-r>", " ".repeat(1024));
        assert_eq!(charset(&late), None);
    }
}
