//! Python's `str.isdecimal`, `isdigit` and `isupper` of single characters, which rules about lines
//! rest on.
//!
//! They are those of CPython 3.11 (Unicode 14.0.0), like those of [`crate::python`]. ASCII takes a
//! comparison, other characters a binary search.

use crate::python::line_tables::{DECIMAL, DIGIT, UPPER};

fn in_runs(runs: &[(u32, u32, u32)], c: char) -> bool {
    let code = c as u32;
    let after = runs.partition_point(|&(first, ..)| first <= code);
    after.checked_sub(1).is_some_and(|i| {
        let (first, last, step) = runs[i];
        code <= last && (code - first).is_multiple_of(step)
    })
}

/// `str.isdecimal()` of one character, which is `\d` of Python's `re`.
#[inline]
pub fn is_decimal(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        in_runs(DECIMAL, c)
    }
}

/// `str.isdigit()` of one character: decimals, and digits such as `²` and `①`.
#[inline]
pub fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        in_runs(DIGIT, c)
    }
}

/// `str.isupper()` of one character.
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
