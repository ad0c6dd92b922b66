//! The parts of Python's `str` that ported rules rest on: `\w`, `isalpha`, `isspace`, `strip`,
//! `lower`, `splitlines`.
//!
//! All answers are those of CPython 3.11 (Unicode 14.0.0), whose tables are compiled in. Rust's own
//! tables follow a newer Unicode, so a rule that counts letters or words would differ on new
//! scripts. A character is looked up in a bitmap below U+10000 and by binary search above. ASCII
//! needs neither. [`line_chars`] has digits and capitals.

mod line_tables;
mod tables;

pub mod line_chars;
pub(crate) mod lines;

use tables::{ALNUM, ALPHA, CASE_IGNORABLE, CASED, LOWER, SPACE};

/// One bit for each code point below U+10000.
pub(crate) type Bitmap = [u64; 1024];

static ALNUM_BELOW_10000: Bitmap = bitmap(ALNUM);
static ALPHA_BELOW_10000: Bitmap = bitmap(ALPHA);

/// The bitmap of sorted ranges, as far as they lie below U+10000.
pub(crate) const fn bitmap(ranges: &[(u32, u32)]) -> Bitmap {
    let mut bits = [0; 1024];

    let mut i = 0;
    while i < ranges.len() && ranges[i].0 < 0x10000 {
        let mut c = ranges[i].0;
        // A range may reach beyond the bitmap.
        while c <= ranges[i].1 && c < 0x10000 {
            bits[c as usize / 64] |= 1 << (c % 64);
            c += 1;
        }
        i += 1;
    }

    bits
}

fn in_ranges(ranges: &[(u32, u32)], c: char) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= c as u32);
    after > 0 && c as u32 <= ranges[after - 1].1
}

/// True if `c` is in the ranges, whose bitmap is `low`.
#[inline]
pub(crate) fn is_member(low: &Bitmap, ranges: &[(u32, u32)], c: char) -> bool {
    let code = c as u32;
    if code < 0x10000 {
        low[code as usize / 64] >> (code % 64) & 1 == 1
    } else {
        in_ranges(ranges, c)
    }
}

/// True for `\w` of Python's `re` on strings: `isalnum()` or an underscore. Combining marks are not
/// word characters.
#[inline]
pub fn is_word_char(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || c == '_'
    } else {
        is_member(&ALNUM_BELOW_10000, ALNUM, c)
    }
}

/// `str.isalpha()` for one character.
#[inline]
pub fn is_alpha(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphabetic()
    } else {
        is_member(&ALPHA_BELOW_10000, ALPHA, c)
    }
}

/// `str.isspace()` for one character. Unlike [`char::is_whitespace`], it includes U+001C to U+001F.
#[inline]
pub fn is_space(c: char) -> bool {
    if c.is_ascii() {
        matches!(c, '\t'..='\r' | '\x1c'..=' ')
    } else {
        in_ranges(SPACE, c)
    }
}

/// `str.strip()` without arguments: `text` without white space at its ends.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.lower()`: the full mapping. `İ` becomes `i` and U+0307, and a capital sigma becomes a final
/// sigma at the end of a word.
pub fn lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }

    // Some small letters have more bytes than their capitals, such as `ⱥ`.
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        // A run of ASCII needs no table.
        if c.is_ascii() {
            let run = rest
                .bytes()
                .position(|b| !b.is_ascii())
                .unwrap_or(rest.len());
            let start = out.len();
            out.push_str(&rest[..run]);
            out[start..].make_ascii_lowercase();
            rest = &rest[run..];
            continue;
        }

        match c {
            'İ' => out.push_str("i\u{307}"),
            'Σ' => out.push(sigma(
                &text[..text.len() - rest.len()],
                &rest[c.len_utf8()..],
            )),
            _ => out.push(lower_char(c)),
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// The lower case of a capital sigma between `before` and `after`: final if a cased letter precedes
/// and no cased letter follows.
fn sigma(before: &str, after: &str) -> char {
    // Case-ignorable characters are passed over. A sigma is none of them, so each run of them is
    // read twice at most, and a text with many sigmas still takes linear time.
    let is_letter = |c: char| (!in_ranges(CASE_IGNORABLE, c)).then(|| in_ranges(CASED, c));
    let follows = before.chars().rev().find_map(is_letter).unwrap_or(false);
    let precedes = after.chars().find_map(is_letter).unwrap_or(false);

    if follows && !precedes { 'ς' } else { 'σ' }
}

fn lower_char(c: char) -> char {
    let after = LOWER.partition_point(|&(first, ..)| first <= c as u32);
    match after.checked_sub(1).map(|i| LOWER[i]) {
        Some((first, last, step, delta))
            if c as u32 <= last && (c as u32 - first).is_multiple_of(step) =>
        {
            char::from_u32((c as u32).wrapping_add_signed(delta))
                .expect("the table maps scalars to scalars: tested")
        }
        _ => c,
    }
}

/// `re.findall(r"\w+", text)`, as slices of `text` in order.
///
/// A bitmap of the text shows where words start and end, so there is one branch a word instead of
/// one a byte.
pub fn word_runs(text: &str) -> impl Iterator<Item = &str> {
    let bits = word_bits(text);

    let mut at = 0;
    std::iter::from_fn(move || {
        let start = next_bit(&bits, at, 0)?;
        at = next_bit(&bits, start, u64::MAX).map_or(text.len(), |end| end.min(text.len()));
        Some(&text[start..at])
    })
}

/// One bit for each byte of the text, set if the byte is part of a word character. The bits beyond
/// the end of the text are 0.
fn word_bits(text: &str) -> Vec<u64> {
    let bytes = text.as_bytes();
    let (blocks, rest) = bytes.as_chunks();
    let mut bits = Vec::with_capacity(blocks.len() + 1);
    bits.extend(blocks.iter().map(ascii_word_bits));

    // NUL is no word character.
    let mut last = [0; 64];
    last[..rest.len()].copy_from_slice(rest);
    bits.push(ascii_word_bits(&last));

    // The blocks left 0 for all characters beyond ASCII.
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|byte| !byte.is_ascii()) {
        at += offset;
        let Some(c) = text[at..].chars().next() else {
            break;
        };
        if is_word_char(c) {
            (at..at + c.len_utf8()).for_each(|byte| bits[byte / 64] |= 1 << (byte % 64));
        }
        at += c.len_utf8();
    }

    bits
}

/// One bit for each of 64 bytes, set if the byte is an ASCII word character.
fn ascii_word_bits(block: &[u8; 64]) -> u64 {
    let kinds = block.map(|byte| {
        u8::from(
            (byte | 0x20).wrapping_sub(b'a') < 26 || byte.wrapping_sub(b'0') < 10 || byte == b'_',
        )
    });

    // The product gathers the lowest bits of eight bytes in its highest byte.
    let eights = kinds.as_chunks().0.iter().enumerate();
    eights.fold(0, |bits, (i, eight)| {
        bits | u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * i)
    })
}

/// The first place from `from` on whose bit is set, after all bits are flipped by the mask `flip`.
/// With `u64::MAX` this is the first bit that is 0.
#[inline]
fn next_bit(bits: &[u64], from: usize, flip: u64) -> Option<usize> {
    let mut at = from / 64;
    let mut word = (bits.get(at)? ^ flip) & u64::MAX << (from % 64);
    while word == 0 {
        at += 1;
        word = bits.get(at)? ^ flip;
    }
    Some(64 * at + word.trailing_zeros() as usize)
}

/// `str.splitlines()`: lines without their ends. A line ends at `\n`, `\r`, `\r\n`, `\v`, `\f`,
/// U+001C to U+001E, U+0085, U+2028 or U+2029. No empty line follows the last line end.
pub fn splitlines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (len, end) = line_end(rest.as_bytes());
        let line = &rest[..len];
        rest = &rest[len + end..];
        Some(line)
    })
}

/// The number of bytes before the end of the first line, and the number of bytes of that end (0 at
/// the end of the text).
fn line_end(bytes: &[u8]) -> (usize, usize) {
    for (i, &byte) in bytes.iter().enumerate() {
        // The bytes are UTF-8: one byte always follows 0xc2, and two follow 0xe2.
        let end = match byte {
            b'\r' if bytes.get(i + 1) == Some(&b'\n') => 2,
            b'\n' | b'\r' | 0x0b | 0x0c | 0x1c..=0x1e => 1,
            0xc2 if bytes[i + 1] == 0x85 => 2,
            0xe2 if bytes[i + 1] == 0x80 && matches!(bytes[i + 2], 0xa8 | 0xa9) => 3,
            _ => continue,
        };
        return (i, end);
    }
    (bytes.len(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::tables;

    fn fnv(numbers: impl Iterator<Item = u32>) -> u64 {
        numbers
            .flat_map(u32::to_le_bytes)
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, byte: u8| {
                (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            })
    }

    fn fnv_of(answer: impl Fn(char) -> bool) -> u64 {
        fnv(('\0'..=char::MAX).map(|c| u32::from(answer(c))))
    }

    #[test]
    fn every_scalar_answers_as_in_cpython() {
        assert_eq!(fnv_of(|c| is_word_char(c) && c != '_'), tables::ALNUM_FNV);
        assert_eq!(fnv_of(is_alpha), tables::ALPHA_FNV);
        assert_eq!(fnv_of(is_space), tables::SPACE_FNV);
        assert_eq!(fnv_of(|c| in_ranges(CASED, c)), tables::CASED_FNV);
        assert_eq!(
            fnv_of(|c| in_ranges(CASE_IGNORABLE, c)),
            tables::CASE_IGNORABLE_FNV
        );

        let lowered = ('\0'..=char::MAX).flat_map(|c| {
            lower(c.encode_utf8(&mut [0; 4]))
                .chars()
                .collect::<Vec<_>>()
        });
        assert_eq!(fnv(lowered.map(u32::from)), tables::LOWER_FNV);
    }

    #[test]
    fn lower_is_the_full_mapping() {
        assert_eq!(lower(""), "");
        assert_eq!(lower("ÄÖ ABC ß İI"), "äö abc ß i\u{307}i");
        // Python 3.11: "ΑΣ ΑΣΑ Σ ΑΣ'Α ΑΣ' 'Σ".lower()
        assert_eq!(lower("ΑΣ ΑΣΑ Σ ΑΣ'Α ΑΣ' 'Σ"), "ας ασα σ ασ'α ας' 'σ");
        assert_eq!(lower("Καλημέρα ΚΌΣΜΟΣ"), "καλημέρα κόσμος");
        assert_eq!(lower("שלום 😀 ﷺ"), "שלום 😀 ﷺ");
        // Unicode 16 gave U+A7CB a lower case; CPython 3.11 does not know the letter.
        assert_eq!(lower("\u{a7cb}"), "\u{a7cb}");
    }

    #[test]
    fn word_runs_are_the_runs_of_word_characters_at_any_place() {
        let letters = [
            'a', 'Z', '0', '9', '_', ' ', '-', '@', '[', '`', '{', '/', ':', '\n', 'é', 'ß',
            '\u{301}', '日', '😀', '\u{7f}',
        ];

        let mut state = 1u64;
        for len in 0..400 {
            let mut random = |n: usize| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 33) as usize % n
            };

            // Mostly letters, so that words cross the bounds of blocks.
            let text: String = (0..len)
                .map(|_| {
                    if random(3) > 0 {
                        letters[random(5)]
                    } else {
                        letters[random(20)]
                    }
                })
                .collect();

            let expected: Vec<&str> = text
                .split(|c| !is_word_char(c))
                .filter(|word| !word.is_empty())
                .collect();
            assert_eq!(word_runs(&text).collect::<Vec<_>>(), expected, "{text:?}");
        }

        assert_eq!(word_runs(&"x".repeat(64)).count(), 1);
    }

    #[test]
    fn word_runs_are_those_of_re() {
        let words = |text| word_runs(text).collect::<Vec<_>>();

        assert_eq!(words(""), [""; 0]);
        assert_eq!(words(" \t\u{3000}\n"), [""; 0]);
        assert_eq!(words("one"), ["one"]);
        assert_eq!(
            words("it's snake_case, x²+½"),
            ["it", "s", "snake_case", "x²", "½"]
        );
        // A combining mark is no word character, so a decomposed é ends the word.
        assert_eq!(
            words("cafe\u{301}s שָלום 😀日本語"),
            ["cafe", "s", "ש", "לום", "日本語"]
        );
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        let lines = |text| splitlines(text).collect::<Vec<_>>();

        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("a"), ["a"]);
        assert_eq!(lines("\n"), [""]);
        assert_eq!(lines("a\r\nb\rc\n\nd\n"), ["a", "b", "c", "", "d"]);
        assert_eq!(
            lines("1\u{b}2\u{c}3\u{1c}4\u{1d}5\u{1e}6\u{85}7\u{2028}8\u{2029}9\u{1f}10"),
            ["1", "2", "3", "4", "5", "6", "7", "8", "9\u{1f}10"]
        );
        assert_eq!(lines("é\u{2027}…\u{a0}"), ["é\u{2027}…\u{a0}"]);
        assert_eq!(
            splitlines(&"x".repeat(1 << 20))
                .map(str::len)
                .collect::<Vec<_>>(),
            [1 << 20]
        );
    }

    #[test]
    fn strip_removes_what_isspace_holds_for() {
        assert_eq!(strip("\u{1f}\u{a0} a b\u{2029}\r\n"), "a b");
        assert_eq!(strip(" \u{3000}"), "");
        assert_eq!(strip("\u{200b}a"), "\u{200b}a");
    }
}
