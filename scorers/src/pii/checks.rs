//! Checksums, each over digits without separators.

/// Luhn's check: every second digit from the right is doubled, and the digits of the products sum
/// to a multiple of ten (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u8]) -> bool {
    let products = digits.iter().rev().enumerate().map(|(place, digit)| {
        let product = digit << (place % 2);
        u32::from(product / 10 + product % 10)
    });
    products.sum::<u32>().is_multiple_of(10)
}

/// The weighted sum of digits. The shorter of the two lists counts.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    let products = digits.iter().zip(weights);
    products
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum()
}

/// The digits as one number. At most 19 digits fit.
pub(super) fn value(digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(0, |value, digit| value * 10 + u64::from(*digit))
}

/// Verhoeff's check (Verhoeff 1969), of Aadhaar numbers: an error of one digit, or two neighbours
/// exchanged, always shows.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    let mut check = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        let mut moved = *digit;
        for _ in 0..place % 8 {
            moved = PERMUTATION[moved as usize];
        }
        check = dihedral(check, moved);
    }
    check == 0
}

/// The permutation that is applied once more at each place.
const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

/// The product in the dihedral group of ten elements: rotations are 0 to 4, reflections 5 to 9.
fn dihedral(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a - 5 + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// ISO 7064 mod 11,10, of German tax numbers.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((last, body)) = digits.split_last() else {
        return false;
    };
    let mut product = 10;
    for digit in body {
        let sum = (u32::from(*digit) + product) % 10;
        product = 2 * (if sum == 0 { 10 } else { sum }) % 11;
    }
    (11 - product) % 10 == u32::from(*last)
}

/// True if the digits are a month and a day of it, in this order.
pub(super) fn is_month_day(month: &[u8], day: &[u8]) -> bool {
    let (month, day) = (value(month), value(day));
    let longest = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=12).contains(&month) && (1..=longest).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().map(|byte| byte - b'0').collect()
    }

    #[test]
    fn luhn_finds_every_wrong_digit() {
        let number = digits("4111111111111111");
        assert!(luhn(&number));
        for place in 0..number.len() {
            let mut wrong = number.clone();
            wrong[place] = (wrong[place] + 3) % 10;
            assert!(!luhn(&wrong), "{place}");
        }
    }

    #[test]
    fn verhoeff_agrees_with_his_example() {
        // The example of the article on the algorithm: 236 has the check digit 3.
        assert!(verhoeff(&digits("2363")));
        for wrong in 0..10 {
            let number = digits(&format!("236{wrong}"));
            assert_eq!(verhoeff(&number), wrong == 3);
        }
        assert!(!verhoeff(&digits("3263")));
    }

    #[test]
    fn the_german_check_agrees_with_the_example_of_the_tax_office() {
        assert!(mod_11_10(&digits("86095742719")));
        assert!(!mod_11_10(&digits("86095742718")));
        assert!(!mod_11_10(&[]));
    }

    #[test]
    fn days_of_a_month() {
        let is = |month: &str, day: &str| is_month_day(&digits(month), &digits(day));
        assert!(is("02", "29") && is("12", "31") && !is("04", "31") && !is("13", "01"));
        assert!(!is("00", "10") && !is("10", "00"));
    }
}
