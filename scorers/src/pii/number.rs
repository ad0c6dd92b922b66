//! A number in a text: digits with single separators between them.

use super::{byte_at, byte_before, is_word};

/// A place where digits begin.
pub(super) struct Number<'a> {
    pub(super) bytes: &'a [u8],
    /// Place of the first digit.
    pub(super) at: usize,
    /// Place behind the first run of digits.
    pub(super) run_end: usize,
}

impl<'a> Number<'a> {
    /// The number whose first digit is at `at`, which no digit precedes.
    pub(super) fn at(bytes: &'a [u8], at: usize) -> Number<'a> {
        let run = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit());
        let run_end = at + run.count();
        Number { bytes, at, run_end }
    }

    /// Number of digits before the first separator.
    pub(super) fn run(&self) -> usize {
        self.run_end - self.at
    }

    /// True if four groups of one to three digits stand here, and no fifth, with dots between them.
    pub(super) fn may_be_ipv4(&self) -> bool {
        self.run() <= 3 && self.dots() == 3
    }

    /// The number of groups of digits behind dots, at most 4.
    fn dots(&self) -> usize {
        let (mut at, mut dots) = (self.run_end, 0);
        while dots < 4 && byte_at(self.bytes, at) == b'.' {
            let group = Number::at(self.bytes, at + 1);
            if !(1..=3).contains(&group.run()) {
                break;
            }
            (at, dots) = (group.run_end, dots + 1);
        }
        dots
    }

    /// True if a letter of ASCII stands right before the digits.
    pub(super) fn follows_letter(&self) -> bool {
        byte_before(self.bytes, self.at).is_ascii_alphabetic()
    }

    /// True if there are seven digits or more here, with short separators between them. Most numbers
    /// of prose are shorter.
    pub(super) fn is_long(&self) -> bool {
        let (mut run_end, mut digits) = (self.run_end, self.run());
        while digits < 7 {
            // A blank and a parenthesis, or a no-break space, or a hyphen of three bytes.
            let rest = self.bytes[run_end..].iter().take(3);
            let gap = rest
                .take_while(|byte| matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')' | 0x80..))
                .count();
            let next = Number::at(self.bytes, run_end + gap);
            if gap == 0 || next.run() == 0 {
                // Finland's numbers have a letter between six digits and three.
                return digits == 6 && byte_at(self.bytes, run_end).is_ascii_alphabetic();
            }
            (run_end, digits) = (next.run_end, digits + next.run());
        }
        true
    }

    /// True if what stands before the number does not make it a part of something longer: a word, a
    /// path, a decimal fraction.
    pub(super) fn begins_value(&self) -> bool {
        let before = byte_before(self.bytes, self.at);
        let is_digit_behind = self.at >= 2 && self.bytes[self.at - 2].is_ascii_digit();
        match before {
            b'.' | b',' | b'-' | b':' => !is_digit_behind,
            b'#' | b'/' | b'\\' | b'$' => false,
            _ => !is_word(before),
        }
    }

    /// True if the text from the number on has a form: `9` stands for a digit, and any other
    /// character for itself.
    pub(super) fn form(&self, form: &str) -> bool {
        let text = self.bytes[self.at..].get(..form.len());
        text.is_some_and(|text| {
            let mut pairs = text.iter().zip(form.bytes());
            pairs.all(|(byte, wanted)| match wanted {
                b'9' => byte.is_ascii_digit(),
                _ => *byte == wanted,
            })
        })
    }

    /// The end of the first form that the number has and that ends a value; see [`Number::form`].
    pub(super) fn first_form(&self, forms: &[&str]) -> Option<usize> {
        let fits = forms.iter().find(|form| {
            // The length of the first run rules most forms out.
            let run = form.bytes().take_while(|byte| *byte == b'9').count();
            run == self.run() && self.form(form) && ends_value(self.bytes, self.at + form.len())
        });
        fits.map(|form| self.at + form.len())
    }

    /// The digits up to `end`, and their number. At most 20 are taken.
    pub(super) fn digits(&self, end: usize) -> Digits {
        let mut digits = Digits::default();
        let text = self.bytes[self.at..end].iter();
        for byte in text.filter(|byte| byte.is_ascii_digit()).take(20) {
            digits.all[digits.len] = byte - b'0';
            digits.len += 1;
        }
        digits
    }
}

/// The digits of a number, without separators.
#[derive(Default)]
pub(super) struct Digits {
    all: [u8; 20],
    len: usize,
}

impl std::ops::Deref for Digits {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.all[..self.len]
    }
}

/// True if a value may end at `end`: what follows does not make it a part of something longer.
pub(super) fn ends_value(bytes: &[u8], end: usize) -> bool {
    let after = byte_at(bytes, end + 1);
    match byte_at(bytes, end) {
        b'.' | b',' | b':' => !after.is_ascii_digit(),
        b'-' | b'/' => !is_word(after),
        b'@' | b'%' => false,
        next => !is_word(next),
    }
}
