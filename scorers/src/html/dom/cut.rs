//! The cut of long tags, before the tokenizer sees them.
//!
//! The tokenizer compares each attribute's name with all names before it in the tag, so a tag of
//! 200,000 attributes takes it half a minute. One pass with memchr finds such tags.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// A tag's text is cut at this many bytes.
const TAG_BYTES_MAX: usize = 64 << 10;

/// A tag's text is cut after this many attributes.
const TAG_ATTRIBUTES_MAX: usize = 512;

/// Cuts the text of tags that are too long or have too many attributes.
///
/// Returns the page and the number of tags that were cut. The page is copied only if one was.
pub(super) fn cut_tags(html: &str) -> (Cow<'_, str>, usize) {
    let bytes = html.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied, mut tags_cut) = (0, 0, 0);
    while let Some(found) = memchr(b'<', &bytes[at..]) {
        let start = at + found + 1;
        if bytes[start..].starts_with(b"!--") {
            let end = memmem::find(&bytes[start..], b"-->");
            at = end.map_or(bytes.len(), |end| start + end + 3);
            continue;
        }
        let name = start + usize::from(bytes.get(start) == Some(&b'/'));
        if !bytes.get(name).is_some_and(u8::is_ascii_alphabetic) {
            at = start;
            continue;
        }

        let tag = scan_tag(bytes, name);
        if let Some(mut cut) = tag.cut {
            while !html.is_char_boundary(cut) {
                cut -= 1;
            }
            out.push_str(&html[copied..cut]);
            out.push_str(tag.closing);
            copied = tag.end;
            tags_cut += 1;
        }
        at = if name == start {
            skip_raw_text(bytes, name, tag.end)
        } else {
            tag.end
        };
    }
    if tags_cut == 0 {
        return (Cow::Borrowed(html), 0);
    }

    out.push_str(&html[copied..]);
    (Cow::Owned(out), tags_cut)
}

/// Where a tag ends and where it must be cut.
struct TagText {
    /// Index of the tag's `>`, or the end of the page.
    end: usize,
    /// Index from which the tag's text is left out.
    cut: Option<usize>,
    /// The quote that closes the value that was cut.
    closing: &'static str,
}

/// Finds the end of a tag whose name begins at `start`. A quoted `>` does not end it.
fn scan_tag(bytes: &[u8], start: usize) -> TagText {
    let mut tag = TagText {
        end: bytes.len(),
        cut: None,
        closing: "",
    };
    let (mut at, mut attributes, mut after_equals) = (start, 0, false);
    while at < bytes.len() {
        let byte = bytes[at];
        let mut quote = None;
        match byte {
            b'>' => {
                tag.end = at;
                break;
            }
            b'"' | b'\'' if after_equals => quote = Some(byte),
            b'=' => after_equals = true,
            b' ' | b'\n' | b'\t' | b'\r' | 0x0c | b'/' => {
                attributes += usize::from(!after_equals);
            }
            _ => after_equals = false,
        }
        if tag.cut.is_none() && (attributes > TAG_ATTRIBUTES_MAX || at - start >= TAG_BYTES_MAX) {
            tag.cut = Some(at);
        }

        at += 1;
        if let Some(quote) = quote {
            after_equals = false;
            attributes += 1;
            let end = memchr(quote, &bytes[at..]).map_or(bytes.len(), |end| at + end);
            if tag.cut.is_none() && end - start > TAG_BYTES_MAX {
                tag.cut = Some((start + TAG_BYTES_MAX).max(at));
                tag.closing = if quote == b'"' { "\"" } else { "'" };
            }
            at = end + 1;
        }
    }

    tag
}

/// The index after the text of a raw-text element whose start tag ends at `end`, else `end`.
fn skip_raw_text(bytes: &[u8], name: usize, end: usize) -> usize {
    let length = bytes[name..end]
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let found = &bytes[name..name + length.min(10)];
    let raw: &[u8] = match found.to_ascii_lowercase().as_slice() {
        b"script" => b"script",
        b"style" => b"style",
        b"textarea" => b"textarea",
        b"title" => b"title",
        _ => return end,
    };

    let mut at = end;
    while let Some(found) = memmem::find(&bytes[at..], b"</") {
        at += found + 2;
        let rest = &bytes[at..];
        if rest.len() >= raw.len() && rest[..raw.len()].eq_ignore_ascii_case(raw) {
            return at - 2;
        }
    }
    bytes.len()
}
