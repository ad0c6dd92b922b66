//! International bank account numbers (ISO 13616): country, check digits modulo 97, and the length
//! that the country has fixed.

use super::number::Number;
use super::{byte_at, byte_before, is_word};

/// The length of an IBAN in each country, in letters and digits (SWIFT's registry, release 99).
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// Examples of the standard's own documents and of many manuals.
const EXAMPLES: &[&[u8]] = &[
    b"GB82WEST12345698765432",
    b"GB29NWBK60161331926819",
    b"GB33BUKB20201555555555",
    b"DE89370400440532013000",
    b"FR1420041010050500013M02606",
    b"NL91ABNA0417164300",
    b"BE68539007547034",
    b"CH9300762011623852957",
    b"ES9121000418450200051332",
    b"IT60X0542811101000000123456",
];

/// The IBAN whose check digits are the first digits of a number that follows two letters.
pub(super) fn find(number: &Number, documentation: bool) -> Option<(usize, usize)> {
    let (bytes, at) = (number.bytes, number.at);
    let start = at
        .checked_sub(2)
        .filter(|start| !is_word(byte_before(bytes, *start)))?;
    let country = [bytes[start], bytes[start + 1]].map(|byte| byte.to_ascii_uppercase());
    let (_, length) = LENGTHS.iter().find(|(known, _)| **known == country)?;

    let (compact, end) = compact(bytes, start, *length)?;
    let compact = &compact[..*length];
    let is_example = EXAMPLES.contains(&compact);
    (is_valid(compact) && (documentation || !is_example)).then_some((start, end))
}

/// The letters and digits from `start` on, in upper case and without the blanks or hyphens between
/// groups of four, and where they end. `None` if there are not exactly `length` of them, or if
/// small and capital letters are mixed, as in text that is encoded.
fn compact(bytes: &[u8], start: usize, length: usize) -> Option<([u8; 34], usize)> {
    let mut compact = [0; 34];
    let (mut at, mut n) = (start, 0);
    let (mut has_small, mut has_capital) = (false, false);
    while n < length {
        let byte = byte_at(bytes, at);
        if byte.is_ascii_alphanumeric() {
            has_small |= byte.is_ascii_lowercase();
            has_capital |= byte.is_ascii_uppercase();
            compact[n] = byte.to_ascii_uppercase();
            n += 1;
        } else if !(matches!(byte, b' ' | b'-') && n > 0 && n % 4 == 0) {
            return None;
        }
        at += 1;
    }

    let is_mixed = has_small && has_capital;
    let is_whole = !is_word(byte_at(bytes, at)) && !is_mixed;
    is_whole.then_some((compact, at))
}

/// True if the check digits are right: letters are 10 to 35, the first four characters go to the
/// end, and the number modulo 97 is 1 (ISO 7064).
fn is_valid(compact: &[u8]) -> bool {
    let moved = compact[4..].iter().chain(&compact[..4]);
    let rest = moved.fold(0_u32, |rest, byte| match byte.is_ascii_digit() {
        true => (rest * 10 + u32::from(byte - b'0')) % 97,
        false => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    rest == 1 && compact[2].is_ascii_digit() && compact[3].is_ascii_digit()
}
