//! Personal data and secrets in a text, as spans with a kind.
//!
//! One pass over the bytes stops at `@`, `:` and digits. Another pass looks for the first letters of
//! secrets. At each stop the detectors of the kinds look at a bounded stretch of text, so the cost
//! is linear in the text, whatever it holds. A detector knows three things: what may stand beside a
//! value, whether the value is valid (checksum, registry, range), and which words before it speak
//! for or against it.
//!
//! | module | kinds |
//! |---|---|
//! | `email` | addresses, those of Unicode too |
//! | `ip` | global IPv4 and IPv6 addresses |
//! | `phone` | E.164, North American and other national numbers |
//! | `card` | payment cards, by Luhn's check and issuer |
//! | `iban` | IBANs, by check digits and length of the country |
//! | `national` | US social security numbers, and identity numbers with checksums |
//! | `secret` | private keys, and tokens of clouds and forges |
//! | [`allow`] | values that are let through |
//! | `profile` | the spans that datatrove and dolma find, for comparison |
//! | [`replace`] | what is put in place of a value |
//!
//! Names, addresses of houses and birthdays are not looked for: they need a model.

pub mod allow;
mod card;
mod checks;
mod cues;
mod email;
mod iban;
mod ip;
mod national;
mod number;
mod phone;
mod profile;
pub mod replace;
mod secret;

use allow::Allowed;
use cues::Cues;
use number::Number;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A global IPv4 address.
    Ipv4,
    /// A global IPv6 address.
    Ipv6,
    /// A telephone number.
    Phone,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// A US social security number.
    UsSsn,
    /// An identity number of another country, with a checksum.
    NationalId,
    /// A private key, or a token of a cloud, a forge or a service.
    Secret,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 9] = [
        Kind::Email,
        Kind::Ipv4,
        Kind::Ipv6,
        Kind::Phone,
        Kind::Card,
        Kind::Iban,
        Kind::UsSsn,
        Kind::NationalId,
        Kind::Secret,
    ];

    /// The name of the kind in what replaces its values.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Email => "EMAIL",
            Kind::Ipv4 => "IPV4",
            Kind::Ipv6 => "IPV6",
            Kind::Phone => "PHONE",
            Kind::Card => "CARD",
            Kind::Iban => "IBAN",
            Kind::UsSsn => "US_SSN",
            Kind::NationalId => "NATIONAL_ID",
            Kind::Secret => "SECRET",
        }
    }
}

/// Whose spans are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// curate's own detectors.
    Curate,
    /// Those of datatrove's `PIIFormatter`.
    Datatrove,
    /// Those of dolma's `pii_regex_with_counts_fast_v2`.
    Dolma,
}

/// A value that was found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Start of the value, in bytes.
    pub start: usize,
    /// End of the value, in bytes. The byte at `end` is not part of the value.
    pub end: usize,
    /// What the value is.
    pub kind: Kind,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Search {
    /// Whose spans are found.
    pub profile: Profile,
    /// The kinds of values.
    pub kinds: Vec<Kind>,
    /// True if values of documentation count: `example.com`, RFC 5737, test numbers of cards. They
    /// always count in the other profiles.
    pub documentation: bool,
    /// Values that are let through.
    pub allowed: Allowed,
}

impl Search {
    /// Every value in a text, in order and without overlap.
    pub fn find(&self, text: &str) -> Vec<Found> {
        let mut found = match self.profile {
            Profile::Curate => own(text, self.documentation),
            Profile::Datatrove => profile::datatrove(text),
            Profile::Dolma => profile::dolma(text),
        };

        found.retain(|found| {
            let value = &text[found.start..found.end];
            self.kinds.contains(&found.kind) && !self.allowed.lets_through(found.kind, value)
        });
        without_overlap(found)
    }
}

/// Every value that curate's own detectors find, in no defined order.
fn own(text: &str, documentation: bool) -> Vec<Found> {
    let mut scan = Scan {
        text,
        bytes: text.as_bytes(),
        documentation,
        found: Vec::new(),
    };
    scan.run();
    secret::find(text, documentation, &mut scan.found);
    scan.found
}

/// The values in order. Of values that overlap, the one that starts first is kept, of several such
/// the longest.
fn without_overlap(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_unstable_by_key(|found| (found.start, std::cmp::Reverse(found.end)));
    let mut end = 0;
    found.retain(|found| {
        let is_free = found.start >= end;
        if is_free {
            end = found.end;
        }
        is_free
    });
    found
}

/// The next digit, `:` or `@` from `at` on; the length of the text if there is none. Eight bytes are
/// looked at together.
fn next_stop(bytes: &[u8], at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;

    let mut at = at;
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        // Without their highest bits no sum of two bytes carries into the next one. The digits and
        // `:` stand together in ASCII.
        let word = u64::from_le_bytes(*eight);
        let low = word & !HIGH;
        let from_zero = low + u64::from(0x80 - b'0') * ONES;
        let behind_colon = low + u64::from(0x80 - b':' - 1) * ONES;
        let is_no_at = (low ^ (u64::from(b'@') * ONES)) + 0x7F * ONES;
        let stops = ((from_zero & !behind_colon) | !is_no_at) & !word & HIGH;
        if stops != 0 {
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += 8;
    }

    let is_stop = |byte: &u8| matches!(byte, b'0'..=b':' | b'@');
    bytes[at..]
        .iter()
        .position(is_stop)
        .map_or(bytes.len(), |place| at + place)
}

/// The pass over the bytes of a text.
struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    documentation: bool,
    found: Vec<Found>,
}

impl Scan<'_> {
    fn run(&mut self) {
        let mut at = next_stop(self.bytes, 0);
        while at < self.bytes.len() {
            let behind = match self.bytes[at] {
                b'@' => self.at_sign(at),
                b':' => self.colon(at),
                _ => self.digits(at),
            };
            at = next_stop(self.bytes, behind);
        }
    }

    /// Looks at an `@`. Returns where the scan goes on.
    fn at_sign(&mut self, at: usize) -> usize {
        if let Some((start, end)) = email::around(self.text, at, self.documentation) {
            // The digits of the address may have been taken for something else.
            while self.found.last().is_some_and(|last| last.end > start) {
                self.found.pop();
            }
            self.push(start, end, Kind::Email);
            return end;
        }
        at + 1
    }

    /// Looks at a colon. Returns where the scan goes on.
    fn colon(&mut self, at: usize) -> usize {
        let Some((start, end)) = ip::v6(self.text, at, self.documentation) else {
            return at + 1;
        };
        self.push(start, end, Kind::Ipv6);
        end
    }

    /// Looks at a digit that follows no digit. Returns where the scan goes on.
    fn digits(&mut self, at: usize) -> usize {
        let number = Number::at(self.bytes, at);
        let mut cues = Cues::before(self.bytes, at);
        let found = self.number(&number, &mut cues);
        let Some((start, end, kind)) = found else {
            return number.run_end;
        };

        self.push(start, end, kind);
        end
    }

    /// The value that a number begins. The first kind that fits wins.
    fn number(&self, number: &Number, cues: &mut Cues) -> Option<(usize, usize, Kind)> {
        let of = |kind| move |(start, end)| (start, end, kind);
        if number.may_be_ipv4() {
            return ip::v4(self.bytes, number, cues, self.documentation).map(of(Kind::Ipv4));
        }
        if number.follows_letter() {
            return iban::find(number, self.documentation)
                .map(of(Kind::Iban))
                .or_else(|| national::with_letters(number).map(of(Kind::NationalId)));
        }
        if !number.is_long() || !number.begins_value() {
            return None;
        }

        national::us_ssn(number, cues, self.documentation)
            .map(of(Kind::UsSsn))
            .or_else(|| card::find(number, cues, self.documentation).map(of(Kind::Card)))
            .or_else(|| national::find(number, cues).map(of(Kind::NationalId)))
            .or_else(|| phone::find(number, cues, self.documentation).map(of(Kind::Phone)))
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind) {
        self.found.push(Found { start, end, kind });
    }
}

/// The byte before a place; 0 at the start of the text.
fn byte_before(bytes: &[u8], at: usize) -> u8 {
    at.checked_sub(1).map_or(0, |before| bytes[before])
}

/// The byte at a place; 0 at the end of the text.
fn byte_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// True for letters, digits and `_` of ASCII.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests;
