//! Payment cards: 12 to 19 digits with Luhn's check.
//!
//! Without a word such as `card` before it, a number must be written as its issuer prints it, with
//! one of the issuer's prefixes (ISO/IEC 7812-1), because one number in ten passes Luhn's check.
//! The published numbers for tests of payment systems are documentation.

use super::checks::luhn;
use super::cues::{Cue, Cues};
use super::number::Number;

/// How cards are printed: in one piece, or in groups.
const FORMS: &[&str] = &[
    "9999 9999 9999 9999 999",
    "9999-9999-9999-9999-999",
    "9999 9999 9999 9999",
    "9999-9999-9999-9999",
    "9999 999999 99999",
    "9999-999999-99999",
    "9999 999999 9999",
    "9999-999999-9999",
    "9999999999999999999",
    "999999999999999999",
    "99999999999999999",
    "9999999999999999",
    "999999999999999",
    "99999999999999",
    "9999999999999",
    "999999999999",
];

/// Numbers that payment services publish for tests.
const TEST_NUMBERS: &[u64] = &[
    378282246310005,
    371449635398431,
    378734493671000,
    30569309025904,
    38520000023237,
    36227206271667,
    6011111111111117,
    6011000990139424,
    6011000000000004,
    3530111333300000,
    3566002020360505,
    5555555555554444,
    5105105105105100,
    5200828282828210,
    5454545454545454,
    5424000000000015,
    2223003122003222,
    2223000048400011,
    4111111111111111,
    4012888888881881,
    4222222222222,
    4242424242424242,
    4000000000000002,
    4000056655665556,
    4007000000027,
    4012000033330026,
    4000000000003220,
    6200000000000005,
];

/// The card that a number is.
pub(super) fn find(
    number: &Number,
    cues: &mut Cues,
    documentation: bool,
) -> Option<(usize, usize)> {
    let end = number.first_form(FORMS)?;
    let digits = number.digits(end);
    if !luhn(&digits) || digits.iter().all(|digit| *digit == digits[0]) {
        return None;
    }

    let is_named = cues.has(Cue::Card, 40) && cues.nearer(Cue::Card, Cue::Thing);
    let is_of_thing = cues.has(Cue::Thing, 24);
    if !is_named && (is_of_thing || !is_of_issuer(&digits)) {
        return None;
    }

    let is_test = TEST_NUMBERS.contains(&super::checks::value(&digits));
    (documentation || !is_test).then_some((number.at, end))
}

/// True if an issuer's cards have this prefix and this length.
fn is_of_issuer(digits: &[u8]) -> bool {
    let prefix = |n: usize| {
        digits[..n]
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(*digit))
    };
    match digits.len() {
        // Visa, Mastercard, Discover, JCB, UnionPay.
        16 => {
            prefix(1) == 4
                || (51..=55).contains(&prefix(2))
                || (2221..=2720).contains(&prefix(4))
                || prefix(4) == 6011
                || (644..=659).contains(&prefix(3))
                || (3528..=3589).contains(&prefix(4))
                || prefix(2) == 62
        }
        // American Express.
        15 => prefix(2) == 34 || prefix(2) == 37,
        // Diners Club.
        14 => (300..=305).contains(&prefix(3)) || prefix(2) == 36 || prefix(2) == 38,
        _ => false,
    }
}
