//! Feeds a page to the tokenizer and cuts long tags on the way.
//!
//! The tokenizer compares each attribute's name with all names before it in the tag, so a tag of
//! 200,000 attributes takes it half a minute. The states here are those of the HTML Standard
//! (section 13.2.5), as far as they decide where a tag begins and ends. Two of them depend on the
//! tree: the text of elements such as `style`, and CDATA. There the tokenizer gets the page up to
//! that place, and its sink says which state follows.

use html5ever::interface::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, TokenSink, Tokenizer};
use memchr::{memchr, memchr2, memmem};

use super::caps::{Capped, is_raw_text};

/// A tag's text is cut at this many bytes.
const TAG_BYTES_MAX: usize = 64 << 10;

/// A tag's text is cut after this many attributes.
pub(super) const TAG_ATTRIBUTES_MAX: usize = 512;

/// More bytes than the longest name of an element whose content is text.
const RAW_NAME_MAX: usize = 10;

/// Feeds a page to its end. Returns the number of tags that were cut.
pub(super) fn feed(tokenizer: &Tokenizer<Capped>, html: &str) -> usize {
    let mut feeder = Feeder {
        tokenizer,
        html,
        page: StrTendril::from(html),
        input: BufferQueue::default(),
        fed: 0,
        tags_cut: 0,
    };
    let mut at = 0;
    while let Some(found) = memchr(b'<', &html.as_bytes()[at..]) {
        at = feeder.markup(at + found);
    }

    feeder.feed_to(html.len());
    feeder.tags_cut
}

struct Feeder<'a> {
    tokenizer: &'a Tokenizer<Capped>,
    html: &'a str,
    /// The same page, of which the tokenizer keeps parts without a copy.
    page: StrTendril,
    input: BufferQueue,
    /// The bytes before this index were fed or left out.
    fed: usize,
    tags_cut: usize,
}

impl Feeder<'_> {
    /// The index behind the markup that begins with the `<` at `start`, at the end of the page at
    /// most.
    fn markup(&mut self, start: usize) -> usize {
        let bytes = self.html.as_bytes();
        let rest = &bytes[start..];
        match rest {
            [b'<', b'!', b'-', b'-', ..] => comment_end(bytes, start),
            [b'<', b'!', ..] if rest.starts_with(b"<![CDATA[") => {
                self.feed_to(start);
                let sink = &self.tokenizer.sink;
                match sink.adjusted_current_node_present_but_not_in_html_namespace() {
                    true => behind(bytes, start, b"]]>"),
                    false => behind(bytes, start, b">"),
                }
            }
            [b'<', letter, ..] if letter.is_ascii_alphabetic() => self.start_tag(start + 1),
            [b'<', b'/', letter, ..] if letter.is_ascii_alphabetic() => self.tag(start + 2),
            [b'<', b'!' | b'?' | b'/', ..] => behind(bytes, start, b">"),
            _ => start + 1,
        }
    }

    /// The index behind a start tag and behind the text of its element if that is no markup.
    fn start_tag(&mut self, name: usize) -> usize {
        let bytes = self.html.as_bytes();
        let end = self.tag(name);
        // Longer names are those of other elements.
        let name = &bytes[name..end.min(name + RAW_NAME_MAX)];
        let length = name
            .iter()
            .take_while(|byte| !is_space(**byte) && !matches!(**byte, b'/' | b'>'))
            .count();
        let name = name[..length].to_ascii_lowercase();
        let name = std::str::from_utf8(&name).unwrap_or_default();
        if !is_raw_text(name) {
            return end;
        }

        self.feed_to(end);
        match name {
            _ if !self.tokenizer.sink.is_raw.get() => end,
            "plaintext" => bytes.len(),
            "script" => script_end(bytes, end),
            _ => text_end(bytes, end, name),
        }
    }

    /// Cuts a tag if it is long. Returns the index behind its `>`.
    fn tag(&mut self, name: usize) -> usize {
        let tag = scan_tag(self.html.as_bytes(), name);
        if let Some(mut cut) = tag.cut {
            while !self.html.is_char_boundary(cut) {
                cut -= 1;
            }
            self.feed_to(cut);
            self.input.push_back(StrTendril::from(tag.closing));
            self.fed = tag.end;
            self.tags_cut += 1;
        }

        (tag.end + 1).min(self.html.len())
    }

    /// Feeds the page up to an index.
    fn feed_to(&mut self, end: usize) {
        if end > self.fed {
            let piece = self
                .page
                .subtendril(self.fed as u32, (end - self.fed) as u32);
            self.input.push_back(piece);
            self.fed = end;
        }

        // A script or a charset hint interrupts the tokenizer, which then goes on as before.
        while !matches!(self.tokenizer.feed(&self.input), TokenizerResult::Done) {}
    }
}

/// The index behind the next occurrence of `end`, or the end of the bytes.
fn behind(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    memmem::find(&bytes[from..], end).map_or(bytes.len(), |found| from + found + end.len())
}

/// The index behind a comment. It ends with `-->` or `--!>`, and `<!-->` is a comment.
fn comment_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 2;
    while let Some(found) = memmem::find(&bytes[at..], b"--") {
        at += found;
        match &bytes[at + 2..] {
            [b'>', ..] => return at + 3,
            // The hyphens of the start are none of the end here.
            [b'!', b'>', ..] if at >= start + 4 => return at + 4,
            _ => at += 1,
        }
    }

    bytes.len()
}

/// The index of the end tag that ends the text of an element, or the end of the bytes.
fn text_end(bytes: &[u8], from: usize, name: &str) -> usize {
    let mut at = from;
    while let Some(found) = memmem::find(&bytes[at..], b"</") {
        at += found;
        if is_tag(&bytes[at + 2..], name) {
            return at;
        }
        at += 2;
    }

    bytes.len()
}

/// As [`text_end`] for a script, in which `<!--` and then `<script` hide the end tag.
fn script_end(bytes: &[u8], from: usize) -> usize {
    #[derive(PartialEq)]
    enum Escape {
        No,
        Once,
        Twice,
    }

    let (mut at, mut escape) = (from, Escape::No);
    loop {
        let found = match escape {
            Escape::No => memchr(b'<', &bytes[at..]),
            _ => memchr2(b'<', b'-', &bytes[at..]),
        };
        let Some(found) = found else {
            return bytes.len();
        };
        at += found;
        let rest = &bytes[at..];
        let is_end = rest.starts_with(b"</") && is_tag(&rest[2..], "script");
        match escape {
            Escape::No | Escape::Once if is_end => return at,
            Escape::No if rest.starts_with(b"<!--") => {
                escape = Escape::Once;
                // The hyphens may belong to the end of the comment, too.
                at += 1;
            }
            Escape::Once | Escape::Twice if rest.starts_with(b"-->") => escape = Escape::No,
            Escape::Once if rest[0] == b'<' && is_tag(&rest[1..], "script") => {
                escape = Escape::Twice;
            }
            Escape::Twice if is_end => escape = Escape::Once,
            _ => {}
        }
        at += 1;
    }
}

/// True if the bytes begin with this name in any case, and the name ends there.
fn is_tag(bytes: &[u8], name: &str) -> bool {
    let Some((start, rest)) = bytes.split_at_checked(name.len()) else {
        return false;
    };

    start.eq_ignore_ascii_case(name.as_bytes())
        && rest
            .first()
            .is_some_and(|byte| is_space(*byte) || matches!(byte, b'/' | b'>'))
}

/// White space within a tag.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | 0x0c)
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
    let skip = |at: usize, is_skipped: fn(u8) -> bool| {
        let rest = bytes[at..].iter();
        at + rest.take_while(|byte| is_skipped(**byte)).count()
    };
    let (mut cut, mut closing) = (None, "");
    let mut attributes = 0;
    let mut at = skip(start, |byte| {
        !is_space(byte) && byte != b'/' && byte != b'>'
    });
    loop {
        at = skip(at, |byte| is_space(byte) || byte == b'/');
        if at == bytes.len() || bytes[at] == b'>' {
            break;
        }
        attributes += 1;
        if cut.is_none() && attributes > TAG_ATTRIBUTES_MAX {
            cut = Some(at);
        }

        // An equals sign may be the first letter of a name.
        at = skip(at + 1, |byte| {
            !is_space(byte) && !matches!(byte, b'/' | b'>' | b'=')
        });
        let equals = skip(at, is_space);
        let (mut quote, mut value) = (None, start);
        if bytes.get(equals) == Some(&b'=') {
            at = skip(equals + 1, is_space);
            quote = bytes.get(at).copied().filter(|byte| b"\"'".contains(byte));
            at = match quote {
                Some(quote) => {
                    value = at + 1;
                    let end = memchr(quote, &bytes[value..]);
                    end.map_or(bytes.len(), |end| value + end + 1)
                }
                None => skip(at, |byte| !is_space(byte) && byte != b'>'),
            };
        }
        if cut.is_none() && at - start > TAG_BYTES_MAX {
            cut = Some(value.max(start + TAG_BYTES_MAX));
            closing = match quote {
                Some(b'"') => "\"",
                Some(_) => "'",
                None => "",
            };
        }
    }

    if cut.is_none() && at - start > TAG_BYTES_MAX {
        cut = Some(start + TAG_BYTES_MAX);
    }
    TagText {
        end: at,
        cut,
        closing,
    }
}
