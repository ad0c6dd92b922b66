//! The simplified text whose words datatrove's MinHash compares.
//!
//! Follows `simplify_text` of datatrove 0.10.1 with its default `TextNormConfig`, in this order:
//! the text is put in lower case, a number becomes `0`, punctuation becomes a space, a run of white
//! space becomes one space, and NFD is taken without nonspacing marks. NFD comes last, which shows.
//! A mark between two spaces leaves both spaces, and `≠` leaves `=`. In ASCII all but letters and
//! digits is punctuation. Beyond ASCII only listed characters are, so `•` and `·` stay.
//!
//! The result is the same as datatrove's for every scalar value and for 5,000 technical documents.
//! Lower case, white space, marks and their order are those of CPython 3.11 (Unicode 14.0.0).
//! Digits are those of the package `regex` 2026.11.15, whose Unicode is newer. The crate
//! `unicode-normalization` is newer than both, and what it knows beyond them is left out here.
//!
//! Cost: one pass over ASCII, and one more pass for the lower case of other texts. 320 MB/s on
//! English technical prose.

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};

use super::nonspacing::NONSPACING;
use crate::python::{self, line_chars};

/// The simplified form of `text`. Two documents with the same simplified form have the same
/// shingles.
///
/// ```
/// use curate_scorers::datatrove::simplify::simplify_text;
///
/// assert_eq!(simplify_text(" Café №1,234.5 — don't!\n"), "cafe №0 0 don t");
/// ```
pub fn simplify_text(text: &str) -> String {
    // The table `SIMPLE` lowers ASCII, so a text of ASCII needs no copy.
    let lowered = (!text.is_ascii()).then(|| python::lower(text));
    let text = lowered.as_deref().unwrap_or(text);
    let mut out = Simplified {
        text: Vec::with_capacity(text.len()),
        after_space: true,
        marks: Vec::new(),
    };

    let mut at = 0;
    while let Some(c) = char_at(text, at) {
        if c.is_ascii() {
            at = out.push_ascii(text, at);
        } else if is_digit(c) {
            out.push_simple(b'0');
            at = number_end(text, at);
        } else {
            out.push(c);
            at += c.len_utf8();
        }
    }

    out.finish()
}

/// The simplified form of each byte of ASCII: a small letter, `0` or a space.
static SIMPLE: [u8; 256] = {
    let mut simple = [b' '; 256];

    let mut b = 0;
    while b < 128 {
        let byte = b as u8;
        if byte.is_ascii_alphanumeric() {
            simple[b] = if byte.is_ascii_digit() {
                b'0'
            } else {
                byte.to_ascii_lowercase()
            };
        }
        b += 1;
    }

    simple
};

#[inline]
fn char_at(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}

/// The end of the match of `\p{Nd}+([.,،٫⎖⎗⎘]\p{Nd}+)?` at `at`, where a digit is.
fn number_end(text: &str, at: usize) -> usize {
    let end = digits_end(text, at);
    let Some(c @ ('.' | ',' | '،' | '٫' | '⎖' | '⎗' | '⎘')) = char_at(text, end) else {
        return end;
    };

    let decimals = end + c.len_utf8();
    let decimals_end = digits_end(text, decimals);
    if decimals_end > decimals {
        decimals_end
    } else {
        end
    }
}

fn digits_end(text: &str, at: usize) -> usize {
    text[at..]
        .char_indices()
        .find(|&(_, c)| !is_digit(c))
        .map_or(text.len(), |(len, _)| at + len)
}

/// True for `\p{Nd}` of the package `regex`: `isdecimal()` of CPython 3.11, and the digits that
/// Unicode 15 to 17 added.
#[inline]
fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    // Most characters are letters, which a bitmap rules out before any binary search.
    !python::is_alpha(c) && (line_chars::is_decimal(c) || is_newer_digit(c))
}

/// True for digits that Unicode 15 to 17 added.
fn is_newer_digit(c: char) -> bool {
    matches!(c,
        '\u{10d40}'..='\u{10d49}' | '\u{116d0}'..='\u{116e3}' | '\u{11bf0}'..='\u{11bf9}' | '\u{11de0}'..='\u{11de9}'
        | '\u{11f50}'..='\u{11f59}' | '\u{16130}'..='\u{16139}' | '\u{16d70}'..='\u{16d79}' | '\u{1ccf0}'..='\u{1ccf9}'
        | '\u{1e4f0}'..='\u{1e4f9}' | '\u{1e5f1}'..='\u{1e5fa}')
}

/// True for datatrove's `PUNCTUATION` beyond ASCII, without `１`, which has become a number by then.
fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        '\u{80}'
            ..='\u{9f}'
                | '«'
                | '´'
                | '»'
                | '–'
                | '—'
                | '’'
                | '“'
                | '”'
                | '„'
                | '…'
                | '∶'
                | '━'
                | '►'
    ) || matches!(
        c,
        '、' | '。' | '〈' | '〉' | '《' | '》' | '「' | '」' | '【' | '】'
    ) || matches!(
        c,
        '！' | '％' | '（' | '）' | '，' | '．' | '：' | '；' | '？' | '～'
    )
}

fn is_nonspacing(c: char) -> bool {
    let after = NONSPACING.partition_point(|&(first, _)| first <= c as u32);
    after > 0 && c as u32 <= NONSPACING[after - 1].1
}

/// True if `c` was added by Unicode 15 or later, so that CPython 3.11 does not decompose it.
fn is_newer_composite(c: char) -> bool {
    matches!(c,
        '\u{105c9}' | '\u{105e4}' | '\u{11383}' | '\u{11385}' | '\u{1138e}' | '\u{11391}' | '\u{113c5}' | '\u{113c7}'
        | '\u{113c8}' | '\u{16121}'..='\u{16128}' | '\u{16d68}'..='\u{16d6a}')
}

/// The combining class of a character that is not a nonspacing mark. The class is 0 for nearly all
/// of these characters.
fn spacing_class(c: char) -> u8 {
    match c {
        '\u{16ff0}' | '\u{16ff1}' => 6,
        '\u{1715}' | '\u{1734}' | '\u{1b44}' | '\u{1baa}' | '\u{1bf2}' | '\u{1bf3}'
        | '\u{a953}' | '\u{a9c0}' => 9,
        '\u{111c0}' | '\u{11235}' | '\u{1134d}' | '\u{116b6}' | '\u{1193d}' => 9,
        '\u{1d165}' | '\u{1d166}' | '\u{1d16e}'..='\u{1d172}' => 216,
        '\u{302e}' | '\u{302f}' => 224,
        '\u{1d16d}' => 226,
        _ => 0,
    }
}

/// The simplified text while it grows.
struct Simplified {
    /// UTF-8 of whole characters.
    text: Vec<u8>,
    /// True if a space that comes next adds nothing. A mark between two spaces makes this false,
    /// although the mark is left out.
    after_space: bool,
    /// Characters with a combining class that belong at the end of `text`, not yet in canonical
    /// order.
    marks: Vec<(u8, char)>,
}

impl Simplified {
    /// Appends the simplified form of the ASCII run at `start`. Returns the end of the run, or the
    /// end of a number that begins in it.
    fn push_ascii(&mut self, text: &str, start: usize) -> usize {
        self.order_marks();
        let bytes = text.as_bytes();
        let end = bytes[start..]
            .iter()
            .position(|b| !b.is_ascii())
            .map_or(bytes.len(), |len| start + len);

        // Each step below reads a byte or more and writes one, so this is room enough.
        let mut len = self.text.len();
        self.text.resize(len + end - start, 0);

        let mut after_space = self.after_space;
        let mut at = start;
        while at < end {
            // A space that adds nothing is overwritten by the next byte, which costs less than a
            // branch for every byte.
            let simple = SIMPLE[bytes[at] as usize];
            self.text[len] = simple;
            len += usize::from(simple != b' ' || !after_space);
            after_space = simple == b' ';
            at = if simple == b'0' {
                number_end(text, at)
            } else {
                at + 1
            };
        }

        self.text.truncate(len);
        self.after_space = after_space;
        at
    }

    /// Appends `simple`, which is a zero or a space. A space after a space adds nothing.
    fn push_simple(&mut self, simple: u8) {
        self.order_marks();
        if simple != b' ' || !self.after_space {
            self.text.push(simple);
        }
        self.after_space = simple == b' ';
    }

    /// Appends the simplified form of a lower-case character beyond ASCII that is not a digit.
    fn push(&mut self, c: char) {
        // The bitmap of letters spares most characters the slower lookups.
        let is_letter = python::is_alpha(c);
        if !is_letter && (python::is_space(c) || is_punctuation(c)) {
            return self.push_simple(b' ');
        }

        self.after_space = false;
        if is_newer_composite(c) {
            self.push_part(c);
        } else {
            decompose_canonical(c, |part| self.push_part(part));
        }
    }

    /// Appends one character of a decomposition. Nonspacing marks are left out.
    fn push_part(&mut self, part: char) {
        let is_letter = python::is_alpha(part);
        if !is_letter && is_nonspacing(part) {
            // A mark of class 0 is left out too, but marks do not change places across it.
            if canonical_combining_class(part) == 0 {
                self.order_marks();
            }
            return;
        }

        match spacing_class(part) {
            0 => {
                self.order_marks();
                self.text
                    .extend_from_slice(part.encode_utf8(&mut [0; 4]).as_bytes());
            }
            class => self.marks.push((class, part)),
        }
    }

    /// Appends the marks in canonical order. The sort must be stable: marks of one class keep their
    /// order.
    #[inline]
    fn order_marks(&mut self) {
        if !self.marks.is_empty() {
            self.marks.sort_by_key(|&(class, _)| class);
            for (_, mark) in self.marks.drain(..) {
                self.text
                    .extend_from_slice(mark.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }

    /// The text without spaces at its ends. At the start there is a space only if a mark before it
    /// was left out.
    fn finish(mut self) -> String {
        self.order_marks();
        let text = String::from_utf8(self.text).expect("made of whole characters");

        let trimmed = text.trim_matches(' ');
        if trimmed.len() == text.len() {
            text
        } else {
            trimmed.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh64::Xxh64;

    // The expected values come from Python 3.11 with datatrove 0.10.1, regex 2026.11.15 and xxhash:
    //
    //     from datatrove.utils.text import simplify_text

    /// `xxh64_intdigest("\n".join(map(simplify_text, texts)).encode())`
    fn digest(texts: impl Iterator<Item = String>) -> u64 {
        let mut hash = Xxh64::new(0);
        for (i, text) in texts.enumerate() {
            hash.update(if i > 0 { b"\n" } else { b"" });
            hash.update(simplify_text(&text).as_bytes());
        }

        hash.digest()
    }

    #[test]
    fn every_scalar_becomes_what_it_does_in_datatrove() {
        let all =
            |before, after| digest(('\0'..=char::MAX).map(move |c| format!("{before}{c}{after}")));
        assert_eq!(all('a', 'b'), 0x8b2e_c541_949d_2a8c);
        assert_eq!(all('1', '2'), 0x2c51_d6ca_6bd9_3b16);
    }

    #[test]
    fn marks_are_ordered_and_left_out_as_in_datatrove() {
        // All strings of four of these: ("".join(p) for p in itertools.product(chars, repeat=4)).
        let chars: Vec<char> =
            " a0,\u{301}\u{327}\u{93f}\u{d4a}\u{16ff0}\u{1b44}\u{302e}\u{1d165}\u{1d16d}\u{1d160}\
            \u{fb1e}\u{bcd}\u{a802}é가≠Σ"
                .chars()
                .collect();

        let n = chars.len();
        let texts = (0..n.pow(4)).map(|i| {
            [i / n.pow(3), i / n.pow(2) % n, i / n % n, i % n]
                .map(|k| chars[k])
                .iter()
                .collect()
        });
        assert_eq!(digest(texts), 0xac0d_78dc_a8ee_b31d);
    }

    #[test]
    fn nothing_is_left_of_spaces_punctuation_and_marks() {
        for text in ["", " \r\n\u{3000}", "…!", "\u{301}", " \u{301} \u{301} "] {
            assert_eq!(simplify_text(text), "", "{text:?}");
        }

        assert_eq!(simplify_text("a \u{301} b"), "a  b");
        assert_eq!(simplify_text(" \u{301} \u{301} a \u{301}"), "a");
        assert_eq!(
            simplify_text("a\0b\u{1c}c\u{7f}d\u{85}e\u{a0}f"),
            "a b c d e f"
        );
    }

    #[test]
    fn numbers() {
        assert_eq!(
            simplify_text("1,234.5 3.14.15 v1.2.3 7, 8."),
            "0 0 0 0 v0 0 0 0"
        );
        assert_eq!(
            simplify_text("٣٫١٤ १२.५ 1٫5 1،5 1⎖5 ² ½ Ⅳ １２％"),
            "0 0 0 0 0 ² ½ ⅳ 0"
        );
    }

    #[test]
    fn letters_and_marks() {
        assert_eq!(simplify_text("don't — “STOP”: x_y"), "don t stop x y");
        assert_eq!(simplify_text("ΑΣ ΑΣΑ İstanbul ẞ Å"), "ας ασα istanbul ß a");
        assert_eq!(
            simplify_text("naïve Zoë e\u{301}té ﬁ Å"),
            "naive zoe ete ﬁ a"
        );
        assert_eq!(simplify_text("שָׁלוֹם"), "שלום");
        assert_eq!(
            simplify_text("한글 か゛が"),
            "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af} か゛か"
        );
        assert_eq!(simplify_text("👍🏽 a\u{200b}b•c·d"), "👍🏽 a\u{200b}b•c·d");
    }

    #[test]
    fn punctuation_that_only_decomposition_brings_stays() {
        assert_eq!(
            simplify_text("a≠b c≮d x\u{37e}y \u{1fef} \u{2329}z"),
            "a=b c<d x;y ` 〈z"
        );
    }

    #[test]
    fn one_line_of_a_megabyte() {
        const MB: usize = 1 << 20;
        assert_eq!(simplify_text(&"A".repeat(MB)).len(), MB);
        assert_eq!(simplify_text(&"1".repeat(MB)), "0");
        assert_eq!(simplify_text(&"1.".repeat(MB)).len(), MB - 1);
        assert_eq!(simplify_text(&" \u{301}".repeat(MB)), "");
        assert_eq!(
            simplify_text(&"\u{1d165}\u{16ff0}".repeat(1 << 17))
                .chars()
                .count(),
            1 << 18
        );
    }
}
