//! Telephone numbers.
//!
//! Three kinds of number are found:
//! - `+` and a calling code of ITU-T E.164, with 8 to 15 digits,
//! - a number as North America writes it, with an area and an exchange that can exist, or one of
//!   three groups or more with a leading 0 as in Europe,
//! - any 7 to 15 digits in groups behind a word such as `phone`.
//!
//! Left alone are the numbers for fiction and documentation of North America (555-0100 to
//! 555-0199).

use super::byte_before;
use super::checks::value;
use super::cues::{Cue, Cues};
use super::number::{Number, ends_value};

/// How far before a number a word such as `phone` counts, in bytes.
const NEAR: u8 = 32;

/// Digits in groups, as telephone numbers are written.
struct Groups {
    digits: [u8; 15],
    n_digits: usize,
    /// Number of digits, separator before, and end of each group.
    groups: [(usize, Separator, usize); 7],
    n_groups: usize,
    /// True if a parenthesis is around the first group.
    has_area: bool,
}

/// What stands between two groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    None,
    Blank,
    Hyphen,
    Dot,
    Slash,
    Parenthesis,
}

impl Groups {
    /// The groups from a number on, as far as there is one separator between each two.
    fn read(number: &Number) -> Groups {
        let mut groups = Groups {
            digits: [0; 15],
            n_digits: 0,
            groups: [(0, Separator::None, 0); 7],
            n_groups: 0,
            has_area: byte_before(number.bytes, number.at) == b'(',
        };
        let (mut at, mut separator) = (number.at, Separator::None);
        loop {
            let run = Number::at(number.bytes, at);
            if run.run() == 0 || groups.n_digits + run.run() > 15 || groups.n_groups == 7 {
                return groups;
            }
            for digit in &number.bytes[at..run.run_end] {
                groups.digits[groups.n_digits] = digit - b'0';
                groups.n_digits += 1;
            }
            groups.groups[groups.n_groups] = (run.run(), separator, run.run_end);
            groups.n_groups += 1;

            (separator, at) = match separator_at(&number.bytes[run.run_end..]) {
                Some((separator, bytes)) => (separator, run.run_end + bytes),
                None => return groups,
            };
        }
    }

    /// The first groups alone.
    fn first(&self, n: usize) -> &[(usize, Separator, usize)] {
        &self.groups[..n]
    }

    /// The digits of the first groups.
    fn digits_of(&self, n: usize) -> &[u8] {
        let length: usize = self.first(n).iter().map(|group| group.0).sum();
        &self.digits[..length]
    }
}

/// The separator at the start of `rest`, and its length in bytes.
fn separator_at(rest: &[u8]) -> Option<(Separator, usize)> {
    Some(match rest {
        [b')', b' ' | b'-', ..] => (Separator::Parenthesis, 2),
        [b')', ..] => (Separator::Parenthesis, 1),
        [b' ', b'(', ..] => (Separator::Parenthesis, 2),
        [b'(', ..] => (Separator::Parenthesis, 1),
        [b' ', ..] => (Separator::Blank, 1),
        // A no-break space, and a hyphen that does not break.
        [0xC2, 0xA0, ..] => (Separator::Blank, 2),
        [0xE2, 0x80, 0x91, ..] => (Separator::Hyphen, 3),
        [b'-', ..] => (Separator::Hyphen, 1),
        [b'.', ..] => (Separator::Dot, 1),
        [b'/', ..] => (Separator::Slash, 1),
        _ => return None,
    })
}

/// The telephone number that begins with a number.
pub(super) fn find(
    number: &Number,
    cues: &mut Cues,
    documentation: bool,
) -> Option<(usize, usize)> {
    let groups = Groups::read(number);
    if groups.n_digits < 7 {
        return None;
    }
    let start = number.at - usize::from(groups.has_area);
    let has_plus = byte_before(number.bytes, start) == b'+';

    let n = match has_plus {
        true => international(number, &groups, start)?,
        false => {
            let is_of_thing = cues.has(Cue::Thing, 24) && cues.nearer(Cue::Thing, Cue::Phone);
            if is_of_thing || byte_before(number.bytes, start) == b'-' {
                return None;
            }
            match cues.has(Cue::Phone, NEAR) {
                true => named(number, &groups).or_else(|| north_american(number, &groups))?,
                false => north_american(number, &groups).or_else(|| with_zero(number, &groups))?,
            }
        }
    };

    let digits = groups.digits_of(n);
    let end = groups.first(n).last()?.2;
    let is_kept = documentation || !is_documentation(digits);
    (is_kept && !is_one_digit(digits)).then_some((start - usize::from(has_plus), end))
}

/// The number of groups of a number with `+` and a calling code.
fn international(number: &Number, groups: &Groups, start: usize) -> Option<usize> {
    let before = start
        .checked_sub(2)
        .map_or(0, |before| number.bytes[before]);
    if before.is_ascii_alphanumeric() || matches!(before, b'+' | b')' | b']' | b'_') {
        return None;
    }
    if !has_calling_code(&groups.digits[..groups.n_digits]) {
        return None;
    }

    let is_of_america = groups.digits[0] == 1;
    let fits = |n: &usize| {
        let digits = groups.digits_of(*n);
        match is_of_america {
            true => digits.len() == 11 && digits[1] >= 2,
            false => (8..=15).contains(&digits.len()),
        }
    };
    longest(number, groups, 1).find(fits)
}

/// The numbers of groups with which a number may end, the greatest first. Groups behind the first
/// one have at least `least` digits.
fn longest<'a>(
    number: &'a Number,
    groups: &'a Groups,
    least: usize,
) -> impl Iterator<Item = usize> + 'a {
    let short = |group: &(usize, Separator, usize)| group.0 < least;
    let rest = &groups.groups[1..groups.n_groups];
    let whole = 1 + rest.iter().position(short).unwrap_or(rest.len());
    (1..=whole)
        .rev()
        .filter(|n| ends_value(number.bytes, groups.groups[n - 1].2))
}

/// Calling codes of three digits that ITU has assigned, beside those of two (ITU-T E.164, list of
/// assigned codes).
const LONG_CODES: &[u64] = &[
    211, 212, 213, 216, 218, 220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233,
    234, 235, 236, 237, 238, 239, 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 251, 252,
    253, 254, 255, 256, 257, 258, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 290, 291, 297,
    298, 299, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359, 370, 371, 372, 373, 374, 375, 376,
    377, 378, 379, 380, 381, 382, 383, 385, 386, 387, 389, 420, 421, 423, 500, 501, 502, 503, 504,
    505, 506, 507, 508, 509, 590, 591, 592, 593, 594, 595, 596, 597, 598, 599, 670, 672, 673, 674,
    675, 676, 677, 678, 679, 680, 681, 682, 683, 685, 686, 687, 688, 689, 690, 691, 692, 800, 808,
    850, 852, 853, 855, 856, 870, 878, 880, 881, 882, 883, 886, 888, 960, 961, 962, 963, 964, 965,
    966, 967, 968, 970, 971, 972, 973, 974, 975, 976, 977, 979, 992, 993, 994, 995, 996, 998,
];

/// True if the digits begin with a calling code that ITU has assigned.
fn has_calling_code(digits: &[u8]) -> bool {
    // Zones 1 and 7 are codes themselves.
    let is_short = match digits {
        [1 | 7, ..] | [2, 0 | 7, ..] | [3, 0..=4 | 6 | 9, ..] => true,
        [4, second, ..] => *second != 2,
        [5, 1..=8, ..] | [6, 0..=6, ..] | [8, 1 | 2 | 4 | 6, ..] | [9, 0..=5 | 8, ..] => true,
        _ => false,
    };
    is_short || LONG_CODES.binary_search(&value(&digits[..3])).is_ok()
}

/// The number of groups of a number as North America writes it.
fn north_american(number: &Number, groups: &Groups) -> Option<usize> {
    let skipped = usize::from(groups.digits[0] == 1 && groups.groups[0].0 == 1);
    let n = skipped + 3;
    if n > groups.n_groups {
        return None;
    }

    let [area, exchange, line] = [0, 1, 2].map(|group| groups.groups[skipped + group]);
    let [first, second] = [exchange.1, line.1];
    let is_separated = match first {
        Separator::Parenthesis => second == Separator::Hyphen || second == Separator::Blank,
        Separator::Hyphen | Separator::Dot => second == first,
        Separator::Blank => second == Separator::Hyphen,
        _ => false,
    };

    let digits = &groups.digits_of(n)[skipped..];
    let is_possible = (area.0, exchange.0, line.0) == (3, 3, 4)
        && digits[0] >= 2
        && digits[3] >= 2
        && digits[1..3] != [1, 1];
    (is_separated && is_possible && ends_value(number.bytes, line.2)).then_some(n)
}

/// The number of groups of a number of three groups or more that begins with a 0.
fn with_zero(number: &Number, groups: &Groups) -> Option<usize> {
    if groups.digits[0] != 0 || groups.digits[1] == 0 {
        return None;
    }
    let fits = |n: &usize| {
        let (all, digits) = (groups.first(*n), groups.digits_of(*n));
        let separator = all.get(1).map(|group| group.1);
        let is_grouped = all.len() >= 3
            && all.iter().all(|group| (2..=4).contains(&group.0))
            && all[2..].iter().all(|group| Some(group.1) == separator);
        is_grouped && (9..=11).contains(&digits.len()) && !is_date(all)
    };
    let n = longest(number, groups, 2).find(fits)?;
    // A row of numbers or of bytes in hexadecimal goes on before or behind.
    let end = groups.groups[n - 1].2;
    let is_row = is_in_row(number.bytes, number.at, end);
    (!is_row).then_some(n)
}

/// True if a blank and a digit, or a blank and two hexadecimal digits alone, stand on either side.
fn is_in_row(bytes: &[u8], start: usize, end: usize) -> bool {
    let is_pair = |a: u8, b: u8, beyond: u8| {
        a.is_ascii_hexdigit() && b.is_ascii_hexdigit() && !beyond.is_ascii_alphanumeric()
    };
    let goes_before = match bytes[..start] {
        [.., b, b' '] if b.is_ascii_digit() => true,
        [.., beyond, a, b, b' '] => is_pair(a, b, beyond),
        _ => false,
    };
    let goes_behind = match bytes[end..] {
        [b' ', a, ..] if a.is_ascii_digit() => true,
        [b' ', a, b, beyond, ..] => is_pair(a, b, beyond),
        _ => false,
    };
    goes_before || goes_behind
}

/// The number of groups of a number behind a word such as `phone`.
fn named(number: &Number, groups: &Groups) -> Option<usize> {
    let fits = |n: &usize| {
        let all = groups.first(*n);
        let digits = groups.digits_of(*n).len();
        let is_grouped = all.len() == 1 || all.iter().any(|group| group.0 >= 3 || all.len() >= 4);
        let is_zero = groups.digits[..3] == [0, 0, 0];
        (7..=15).contains(&digits)
            && is_grouped
            && !is_zero
            && !is_date(all)
            && !is_thousands(all)
            && !is_years(groups, all)
    };
    longest(number, groups, 2).find(fits)
}

/// True for groups such as those of 2024-01-02 and 02.01.2024.
fn is_date(groups: &[(usize, Separator, usize)]) -> bool {
    let lengths: Vec<usize> = groups.iter().take(3).map(|group| group.0).collect();
    let is_joined = groups
        .get(1)
        .is_some_and(|group| group.1 != Separator::Blank);
    is_joined && matches!(lengths[..], [4, 1..=2, 1..=2] | [1..=2, 1..=2, 4])
}

/// True for a span of years such as 1914-1918.
fn is_years(groups: &Groups, all: &[(usize, Separator, usize)]) -> bool {
    let is_year = |digits: &[u8]| matches!(digits, [1, 8 | 9, ..] | [2, 0, ..]);
    all.len() == 2
        && all.iter().all(|group| group.0 == 4)
        && is_year(&groups.digits[..4])
        && is_year(&groups.digits[4..])
}

/// True for a large number such as 1 000 000.
fn is_thousands(groups: &[(usize, Separator, usize)]) -> bool {
    groups.len() >= 3
        && groups[0].0 <= 2
        && groups[1..]
            .iter()
            .all(|group| group.0 == 3 && group.1 == groups[1].1)
        && matches!(groups[1].1, Separator::Blank | Separator::Dot)
}

/// True for a number of the range 555-0100 to 555-0199.
fn is_documentation(digits: &[u8]) -> bool {
    let Some(last) = digits.len().checked_sub(7) else {
        return false;
    };
    digits[last..last + 5] == [5, 5, 5, 0, 1]
}

/// True if all digits but the first are equal, as in a number that stands for any other.
fn is_one_digit(digits: &[u8]) -> bool {
    digits[1..].iter().all(|digit| *digit == digits[1])
}
