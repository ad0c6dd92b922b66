//! The scan over the text: it cuts at white space, and takes affixes off the stretches between.
//!
//! Follows spaCy's `Tokenizer._tokenize_affixes`, `_split_affixes` and `_attach_tokens`. Most
//! stretches of English are letters, or letters and one mark. For these, and for other stretches
//! whose kinds of bytes leave nothing to split, only special cases are looked up.

use super::{affixes, classes, specials, url};
use crate::python;

/// Appends the tokens of `text` as spaCy has them before its last step, `_apply_special_cases`.
///
/// Returns the indices of tokens in `out` that start a special case of several tokens, in ascending
/// order.
pub(super) fn tokens<'a>(text: &'a str, out: &mut Vec<&'a str>) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut scanner = Scanner {
        text,
        suffixes: Vec::new(),
        marked: Vec::new(),
    };

    // `at` passes the end of the text where the end takes the place of a space.
    let mut at = 0;
    while at < bytes.len() {
        let (eight, end) = letters(bytes, at);
        let kind = kind_at(bytes, end);

        if kind & SPACE != 0 {
            if end > at {
                push_letters(&text[at..end], eight, out);
                at = end + 1;
            } else {
                at += 1 + bytes[at + 1..].iter().take_while(|&&b| is_space(b)).count();
            }
        } else if kind & MARK != 0 && end > at && kind_at(bytes, end + 1) & SPACE != 0 {
            scanner.letters_and_mark(&text[at..=end], out);
            at = end + 2;
        } else {
            at = scanner.stretch(at, end, out);
        }
    }

    scanner.marked
}

// Kinds of bytes, one bit each. A byte may be of several kinds.

const SPACE: u16 = 1;
/// A suffix by itself, or a full stop.
const MARK: u16 = 2;
/// May start a prefix.
const OPENS: u16 = 4;
/// May end a suffix.
const CLOSES: u16 = 8;
/// May start an infix.
const JOINS: u16 = 16;
const NOT_ASCII: u16 = 32;
const DIGIT: u16 = 64;
/// May form an affix together with the letter next to it, as in `'s` and `US$`.
const BINDS: u16 = 128;
const DOT: u16 = 256;
/// May precede a host in a URL.
const BEFORE_HOST: u16 = 512;

/// The kinds of each byte.
static KIND: [u16; 256] = {
    let mut kind = [0; 256];

    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        let flags = if b < 128 { classes::ascii(byte) } else { 0 };

        if is_space(byte) {
            kind[b] |= SPACE;
        }
        if flags & classes::SUFFIX != 0 || byte == b'.' {
            kind[b] |= MARK | CLOSES;
        }
        if flags & classes::PREFIX != 0 || byte == b'.' {
            kind[b] |= OPENS;
        }
        if matches!(byte, b'+' | b'$' | b'%') {
            kind[b] |= CLOSES;
        }
        if affixes::MAY_BE_INFIX[b] && b < 128 {
            kind[b] |= JOINS;
        }
        if b >= 128 {
            kind[b] |= NOT_ASCII;
        }
        if byte.is_ascii_digit() {
            kind[b] |= DIGIT;
        }
        if matches!(byte, b'\'' | b'$') {
            kind[b] |= BINDS;
        }
        if byte == b'.' {
            kind[b] |= DOT;
        }
        if matches!(byte, b':' | b'@') {
            kind[b] |= BEFORE_HOST;
        }

        b += 1;
    }

    kind
};

const fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | 0x1c..=b' ')
}

/// The kinds of the byte at `at`. Places at or beyond the end of the text count as spaces.
#[inline]
fn kind_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at).map_or(SPACE, |&b| KIND[b as usize])
}

/// The eight bytes from `at` on, with zeros beyond the end of the text, and the end of the run of
/// ASCII letters that starts at `at`.
#[inline]
fn letters(bytes: &[u8], at: usize) -> (u64, usize) {
    let Some(eight) = bytes[at..].first_chunk() else {
        return last_letters(&bytes[at..], at);
    };

    let eight = u64::from_le_bytes(*eight);
    let others = not_letters(eight);
    if others != 0 {
        return (eight, at + others.trailing_zeros() as usize / 8);
    }

    let mut end = at + 8;
    while let Some(next) = bytes[end..].first_chunk() {
        let others = not_letters(u64::from_le_bytes(*next));
        if others != 0 {
            return (eight, end + others.trailing_zeros() as usize / 8);
        }
        end += 8;
    }

    (eight, last_letters(&bytes[end..], end).1)
}

/// Like [`letters`], for the last bytes of a text, fewer than eight.
#[cold]
fn last_letters(bytes: &[u8], at: usize) -> (u64, usize) {
    let mut eight = [0; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    (
        u64::from_le_bytes(eight),
        at + bytes.iter().take_while(|b| b.is_ascii_alphabetic()).count(),
    )
}

/// A mask of the eight bytes: the top bit of each byte that is not an ASCII letter.
#[inline]
fn not_letters(eight: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;

    // Each byte is made a small letter without its top bit, so that no sum carries into the next
    // byte. The top bit that was lost comes back at the end.
    let low = (eight | (0x20 * EACH)) & (0x7f * EACH);
    let from_a = low + (0x80 - b'a' as u64) * EACH;
    let after_z = low + (0x7f - b'z' as u64) * EACH;
    (!from_a | after_z | eight) & (0x80 * EACH)
}

/// Appends the tokens of a stretch of ASCII letters, which only a special case can split.
/// `first_eight` are the eight bytes from the start of the stretch on.
#[inline]
fn push_letters<'a>(word: &'a str, first_eight: u64, out: &mut Vec<&'a str>) {
    match specials::find_with(word, first_eight) {
        None => out.push(word),
        Some(cuts) => specials::push_pieces(word, cuts, out),
    }
}

/// The end of the stretch without white space around `at`, and the kinds of its bytes from `at` on.
fn stretch_end(text: &str, mut at: usize) -> (usize, u16) {
    let bytes = text.as_bytes();
    let mut kinds = 0;

    while let Some(&byte) = bytes.get(at) {
        let kind = KIND[byte as usize];
        if kind & SPACE != 0 {
            break;
        }
        if kind & NOT_ASCII != 0 {
            // White space beyond ASCII ends a stretch too.
            let Some(c) = text[at..].chars().next().filter(|&c| !python::is_space(c)) else {
                break;
            };
            at += c.len_utf8();
        } else {
            at += 1;
        }
        kinds |= kind;
    }

    (at, kinds)
}

/// The state of a scan, beside the tokens found so far.
struct Scanner<'a> {
    text: &'a str,
    /// The suffixes taken off the current stretch, last first. Empty between stretches.
    suffixes: Vec<&'a str>,
    /// Indices of tokens that start a special case of several tokens.
    marked: Vec<usize>,
}

impl<'a> Scanner<'a> {
    /// Appends the tokens of a stretch that consists of ASCII letters and one mark at its end.
    fn letters_and_mark(&mut self, stretch: &'a str, out: &mut Vec<&'a str>) {
        let (word, mark) = stretch.split_at(stretch.len() - 1);

        if let Some(cuts) = specials::find(stretch) {
            specials::push_pieces(stretch, cuts, out);
        } else if mark == "." && affixes::suffix_len(stretch) == 0 {
            out.push(stretch);
        } else if let Some(cuts) = specials::find(word) {
            let first = out.len();
            specials::push_pieces(word, cuts, out);
            out.push(mark);
            specials::mark_phrases(self.text, out, first, &mut self.marked);
        } else {
            // Together the two are no special case, or the first lookup would have found it.
            out.extend([word, mark]);
        }
    }

    /// Appends the tokens of the stretch that starts at `start` and has only ASCII letters up to
    /// `letters_end`. Returns the end of the stretch.
    fn stretch(&mut self, start: usize, letters_end: usize, out: &mut Vec<&'a str>) -> usize {
        let (end, kinds) = stretch_end(self.text, letters_end);
        if start == end {
            // White space beyond ASCII is at `start`, and is passed over.
            return end + self.text[end..].chars().next().map_or(1, char::len_utf8);
        }

        let stretch = &self.text[start..end];
        let bytes = stretch.as_bytes();
        if bytes.len() == 1 {
            out.push(stretch);
            return end;
        }

        let (first, last) = (bytes[0], bytes[bytes.len() - 1]);
        // A unit is a suffix after a digit, and no unit ends in a digit.
        let may_have_suffix =
            KIND[last as usize] & CLOSES != 0 || kinds & DIGIT != 0 && !last.is_ascii_digit();
        if kinds & (JOINS | BINDS | NOT_ASCII) != 0
            || KIND[first as usize] & OPENS != 0
            || may_have_suffix
        {
            self.tokens(stretch, kinds, out);
        } else if let Some(cuts) = specials::find(stretch) {
            specials::push_pieces(stretch, cuts, out);
        } else {
            out.push(stretch);
        }
        end
    }

    /// Appends the tokens of `stretch`, which has no white space and whose bytes are of `kinds`.
    fn tokens(&mut self, stretch: &'a str, kinds: u16, out: &mut Vec<&'a str>) {
        let first = out.len();
        let (rest, special) = self.split_affixes(stretch, out);

        // A host has a full stop, and a scheme or an account ends in `:` or `@`. Without these
        // bytes the search for a URL is spared.
        if let Some(cuts) = special {
            specials::push_pieces(rest, cuts, out);
        } else if kinds & (JOINS | NOT_ASCII) == 0 {
            if !rest.is_empty() {
                out.push(rest);
            }
        } else if kinds & DOT != 0
            && (url::starts_with_host(rest)
                || kinds & BEFORE_HOST != 0 && url::has_host_after(rest))
        {
            out.push(rest);
        } else {
            affixes::split_infixes(rest, out);
        }

        while let Some(suffix) = self.suffixes.pop() {
            out.push(suffix);
        }
        specials::mark_phrases(self.text, out, first, &mut self.marked);
    }

    /// Appends the prefixes of `rest` to `out`, and moves its suffixes to `self.suffixes`.
    ///
    /// Returns the remaining middle, and its pieces as a mask if it is a special case.
    fn split_affixes(
        &mut self,
        mut rest: &'a str,
        out: &mut Vec<&'a str>,
    ) -> (&'a str, Option<u32>) {
        let mut special = specials::find(rest);
        while special.is_none() {
            let prefix = affixes::prefix_len(rest);
            let after_prefix = &rest[prefix..];
            if prefix > 0 {
                special = specials::find(after_prefix);
                if special.is_some() {
                    out.push(&rest[..prefix]);
                    return (after_prefix, special);
                }
            }

            // As in spaCy, the lookup without the suffix still includes the prefix.
            let middle = rest.len() - affixes::suffix_len(after_prefix);
            if middle < rest.len() {
                special = specials::find(&rest[..middle]);
                if special.is_some() {
                    self.suffixes.push(&rest[middle..]);
                    return (&rest[..middle], special);
                }
                self.suffixes.push(&rest[middle..]);
            } else if prefix == 0 {
                break;
            }

            if prefix > 0 {
                out.push(&rest[..prefix]);
                // With a prefix or a suffix alone, what is left has been looked up above.
                if middle < rest.len() {
                    special = specials::find(&rest[prefix..middle]);
                }
            }
            rest = &rest[prefix..middle];
        }

        (rest, special)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_give_what_the_patterns_give() {
        let alphabet: Vec<&str> = "a b Z e s S m k M 7 0 . , ; : ! ? ' ’ \" ( ) [ < > = / + - * ^ ~ _ $ % # @ é 語 … ° 👍 US$ can't im km Mr. \u{301} \u{200b}"
            .split(' ')
            .collect();

        let mut state = 1u64;
        let mut next = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };

        for _ in 0..60_000 {
            let stretch: String = (0..1 + next(6))
                .map(|_| {
                    let n = if next(2) == 0 { 9 } else { alphabet.len() };
                    alphabet[next(n)]
                })
                .collect();

            let mut fast = Vec::new();
            let marked = tokens(&stretch, &mut fast);

            // All kinds set: no shortcut is taken.
            let mut plain = Vec::new();
            let mut scanner = Scanner {
                text: &stretch,
                suffixes: Vec::new(),
                marked: Vec::new(),
            };
            scanner.tokens(&stretch, u16::MAX, &mut plain);

            assert_eq!((fast, marked), (plain, scanner.marked), "{stretch:?}");
        }
    }

    #[test]
    fn letters_end_at_the_first_other_byte() {
        for byte in 0..=u8::MAX {
            let bytes = [b'Q', byte, b'a', b'z', b'A', b'Z', b'x', b'y', b'!'];
            let end = if byte.is_ascii_alphabetic() { 8 } else { 1 };
            assert_eq!(letters(&bytes, 0).1, end, "{byte}");
            assert_eq!(letters(&bytes[..7], 0).1, end.min(7), "{byte}");
        }
    }
}
