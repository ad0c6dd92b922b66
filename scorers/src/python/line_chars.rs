//! Python's `str.isdecimal`, `isdigit` and `isupper` for single characters, for rules about lines.
//!
//! The answers are those of CPython 3.11 (Unicode 14.0.0), as in [`crate::python`]. ASCII takes a
//! comparison, other characters take a binary search.

use crate::python::line_tables::{DECIMAL, DIGIT, UPPER};

/// True if `c` is one of the code points of `runs`. A run is its first and last code point and the
/// step between its code points, which is 2 where capitals and small letters alternate.
fn in_runs(runs: &[(u32, u32, u32)], c: char) -> bool {
    let code = c as u32;
    let after = runs.partition_point(|&(first, ..)| first <= code);

    after.checked_sub(1).is_some_and(|i| {
        let (first, last, step) = runs[i];
        code <= last && (code - first).is_multiple_of(step)
    })
}

/// `str.isdecimal()` for one character, which is also `\d` of Python's `re`.
#[inline]
pub fn is_decimal(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        in_runs(DECIMAL, c)
    }
}

/// `str.isdigit()` for one character: decimals, and digits such as `²` and `①`.
#[inline]
pub fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        in_runs(DIGIT, c)
    }
}

/// `str.isupper()` for one character: capital letters, and symbols such as `Ⓐ`.
#[inline]
pub fn is_upper(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_uppercase()
    } else {
        in_runs(UPPER, c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::line_tables as tables;

    #[test]
    fn every_scalar_answers_as_in_cpython() {
        let fnv = |answer: fn(char) -> bool| {
            let bytes = ('\0'..=char::MAX).flat_map(|c| u32::from(answer(c)).to_le_bytes());
            bytes.fold(0xcbf2_9ce4_8422_2325, |h: u64, byte| {
                (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            })
        };

        assert_eq!(fnv(is_decimal), tables::DECIMAL_FNV);
        assert_eq!(fnv(is_digit), tables::DIGIT_FNV);
        assert_eq!(fnv(is_upper), tables::UPPER_FNV);
    }

    #[test]
    fn kinds_of_digits_and_capitals() {
        assert!(
            is_decimal('٣') && is_digit('٣') && !is_decimal('²') && is_digit('²') && !is_digit('½')
        );
        assert!(
            is_upper('Ж') && is_upper('Ⓐ') && !is_upper('ß') && !is_upper('ש') && !is_upper('ǅ')
        );
    }
}
