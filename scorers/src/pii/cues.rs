//! Words before a number that speak for or against a kind.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{byte_at, byte_before};

/// How far before a number words count, in bytes.
const WINDOW: usize = 48;

/// What a word before a number says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cue {
    /// The number is a telephone number.
    Phone,
    /// The number is a payment card.
    Card,
    /// The number is a US social security number.
    Ssn,
    /// The dotted number is an address.
    Ip,
    /// The dotted number is a version, a section or an object identifier.
    Version,
    /// The number names a thing: an order, a book, a parcel, an issue.
    Thing,
    /// An identity number of any country.
    Identity,
    /// The number of one country.
    Aadhaar,
    Belgium,
    Brazil,
    Germany,
    Japan,
    Netherlands,
    Nhs,
    Pesel,
    Portugal,
    Romania,
    Sin,
    Spain,
    Sweden,
    Switzerland,
    TaxFile,
    Turkey,
}

/// The number of cues.
const CUES: usize = Cue::Turkey as usize + 1;

/// Words with the cue that they give. Words of Latin letters are in lower case.
const WORDS: &[(&str, Cue)] = &[
    ("phone", Cue::Phone),
    ("phones", Cue::Phone),
    ("phone number", Cue::Phone),
    ("telephone", Cue::Phone),
    ("tel", Cue::Phone),
    ("tel.", Cue::Phone),
    ("mobile", Cue::Phone),
    ("mob", Cue::Phone),
    ("cell:", Cue::Phone),
    ("cell phone", Cue::Phone),
    ("cell number", Cue::Phone),
    ("my cell", Cue::Phone),
    ("cellphone", Cue::Phone),
    ("fax", Cue::Phone),
    ("whatsapp", Cue::Phone),
    ("sms", Cue::Phone),
    ("messages to", Cue::Phone),
    ("message to", Cue::Phone),
    ("text me", Cue::Phone),
    ("hotline", Cue::Phone),
    ("helpline", Cue::Phone),
    ("landline", Cue::Phone),
    ("voicemail", Cue::Phone),
    ("call me", Cue::Phone),
    ("call us", Cue::Phone),
    ("call him", Cue::Phone),
    ("call her", Cue::Phone),
    ("call them", Cue::Phone),
    ("please call", Cue::Phone),
    ("or call", Cue::Phone),
    ("just call", Cue::Phone),
    ("to call", Cue::Phone),
    ("dial", Cue::Phone),
    ("reach me", Cue::Phone),
    ("reach us", Cue::Phone),
    ("reached at", Cue::Phone),
    ("contact number", Cue::Phone),
    ("teléfono", Cue::Phone),
    ("telefono", Cue::Phone),
    ("móvil", Cue::Phone),
    ("téléphone", Cue::Phone),
    ("portable", Cue::Phone),
    ("telefon", Cue::Phone),
    ("telefonnummer", Cue::Phone),
    ("handy", Cue::Phone),
    ("mobil", Cue::Phone),
    ("puhelin", Cue::Phone),
    ("celular", Cue::Phone),
    ("cellulare", Cue::Phone),
    ("telefone", Cue::Phone),
    ("telefoon", Cue::Phone),
    ("тел", Cue::Phone),
    ("телефон", Cue::Phone),
    ("电话", Cue::Phone),
    ("電話", Cue::Phone),
    ("手机", Cue::Phone),
    ("전화", Cue::Phone),
    ("☎", Cue::Phone),
    ("📞", Cue::Phone),
    ("📱", Cue::Phone),
    ("card", Cue::Card),
    ("cards", Cue::Card),
    ("creditcard", Cue::Card),
    ("cc", Cue::Card),
    ("ccn", Cue::Card),
    ("pan", Cue::Card),
    ("visa", Cue::Card),
    ("mastercard", Cue::Card),
    ("maestro", Cue::Card),
    ("amex", Cue::Card),
    ("american express", Cue::Card),
    ("discover", Cue::Card),
    ("diners", Cue::Card),
    ("jcb", Cue::Card),
    ("unionpay", Cue::Card),
    ("kreditkarte", Cue::Card),
    ("tarjeta", Cue::Card),
    ("carte", Cue::Card),
    ("cartão", Cue::Card),
    ("信用卡", Cue::Card),
    ("ssn", Cue::Ssn),
    ("social security", Cue::Ssn),
    ("ip", Cue::Ip),
    ("ips", Cue::Ip),
    ("ipv4", Cue::Ip),
    ("ip address", Cue::Ip),
    ("addr", Cue::Ip),
    ("address", Cue::Ip),
    ("host", Cue::Ip),
    ("server", Cue::Ip),
    ("client", Cue::Ip),
    ("peer", Cue::Ip),
    ("remote", Cue::Ip),
    ("ping", Cue::Ip),
    ("gateway", Cue::Ip),
    ("router", Cue::Ip),
    ("nameserver", Cue::Ip),
    ("from", Cue::Ip),
    ("src", Cue::Ip),
    ("dst", Cue::Ip),
    ("version", Cue::Version),
    ("versions", Cue::Version),
    ("ver", Cue::Version),
    ("ver.", Cue::Version),
    ("v", Cue::Version),
    ("v.", Cue::Version),
    ("release", Cue::Version),
    ("build", Cue::Version),
    ("firmware", Cue::Version),
    ("revision", Cue::Version),
    ("rev", Cue::Version),
    ("update", Cue::Version),
    ("upgrade", Cue::Version),
    ("patch", Cue::Version),
    ("section", Cue::Version),
    ("sections", Cue::Version),
    ("sec.", Cue::Version),
    ("§", Cue::Version),
    ("chapter", Cue::Version),
    ("clause", Cue::Version),
    ("annex", Cue::Version),
    ("appendix", Cue::Version),
    ("table", Cue::Version),
    ("figure", Cue::Version),
    ("oid", Cue::Version),
    ("isbn", Cue::Thing),
    ("isbn-10", Cue::Thing),
    ("isbn-13", Cue::Thing),
    ("issn", Cue::Thing),
    ("doi", Cue::Thing),
    ("arxiv", Cue::Thing),
    ("order", Cue::Thing),
    ("order number", Cue::Thing),
    ("orders", Cue::Thing),
    ("invoice", Cue::Thing),
    ("tracking", Cue::Thing),
    ("tracking number", Cue::Thing),
    ("shipment", Cue::Thing),
    ("parcel", Cue::Thing),
    ("serial", Cue::Thing),
    ("serial number", Cue::Thing),
    ("part", Cue::Thing),
    ("sku", Cue::Thing),
    ("gtin", Cue::Thing),
    ("ean", Cue::Thing),
    ("upc", Cue::Thing),
    ("imei", Cue::Thing),
    ("ref", Cue::Thing),
    ("reference", Cue::Thing),
    ("ticket", Cue::Thing),
    ("issue", Cue::Thing),
    ("bug", Cue::Thing),
    ("patent", Cue::Thing),
    ("license", Cue::Thing),
    ("timestamp", Cue::Thing),
    ("id", Cue::Thing),
    ("uid", Cue::Thing),
    ("pid", Cue::Thing),
    ("national id", Cue::Identity),
    ("identity", Cue::Identity),
    ("identity number", Cue::Identity),
    ("identity card", Cue::Identity),
    ("id number", Cue::Identity),
    ("id no", Cue::Identity),
    ("aadhaar", Cue::Aadhaar),
    ("aadhar", Cue::Aadhaar),
    ("uidai", Cue::Aadhaar),
    ("rijksregisternummer", Cue::Belgium),
    ("registre national", Cue::Belgium),
    ("niss", Cue::Belgium),
    ("insz", Cue::Belgium),
    ("cpf", Cue::Brazil),
    ("steuer-id", Cue::Germany),
    ("steueridentifikationsnummer", Cue::Germany),
    ("steuernummer", Cue::Germany),
    ("idnr", Cue::Germany),
    ("my number", Cue::Japan),
    ("マイナンバー", Cue::Japan),
    ("個人番号", Cue::Japan),
    ("bsn", Cue::Netherlands),
    ("burgerservicenummer", Cue::Netherlands),
    ("sofinummer", Cue::Netherlands),
    ("nhs", Cue::Nhs),
    ("nhs number", Cue::Nhs),
    ("pesel", Cue::Pesel),
    ("contribuinte", Cue::Portugal),
    ("nif", Cue::Portugal),
    ("cnp", Cue::Romania),
    ("social insurance", Cue::Sin),
    ("sin number", Cue::Sin),
    ("sin:", Cue::Sin),
    ("sin is", Cue::Sin),
    ("dni", Cue::Spain),
    ("personnummer", Cue::Sweden),
    ("ahv", Cue::Switzerland),
    ("avs", Cue::Switzerland),
    ("tfn", Cue::TaxFile),
    ("tax file number", Cue::TaxFile),
    ("kimlik", Cue::Turkey),
    ("tckn", Cue::Turkey),
];

static FINDER: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .ascii_case_insensitive(true)
        .build(WORDS.iter().map(|(word, _)| word))
        .expect("a few hundred short words")
});

/// The words in a window before a place. They are looked for when the first question is asked.
pub(super) struct Cues<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes between each cue's last word and the place.
    distances: Option<[u8; CUES]>,
}

impl<'a> Cues<'a> {
    /// The words before `at`.
    pub(super) fn before(bytes: &'a [u8], at: usize) -> Cues<'a> {
        Cues {
            bytes,
            at,
            distances: None,
        }
    }

    /// True if a word of the cue ends at most `within` bytes before the place.
    pub(super) fn has(&mut self, cue: Cue, within: u8) -> bool {
        self.distance(cue) <= within
    }

    /// True if the last word of `cue` is nearer to the place than that of `other`.
    pub(super) fn nearer(&mut self, cue: Cue, other: Cue) -> bool {
        self.distance(cue) < self.distance(other)
    }

    /// Bytes between the last word of a cue and the place; 255 without such a word.
    fn distance(&mut self, cue: Cue) -> u8 {
        let distances = match self.distances {
            Some(distances) => distances,
            None => *self.distances.insert(self.find()),
        };
        distances[cue as usize]
    }

    fn find(&self) -> [u8; CUES] {
        let mut distances = [u8::MAX; CUES];
        let window = &self.bytes[self.at.saturating_sub(WINDOW)..self.at];
        for found in FINDER.find_iter(window) {
            let (word, cue) = WORDS[found.pattern()];
            // A word of Latin letters is no part of a longer word, except of one like `user_phone`.
            let [before, behind] = [
                byte_before(window, found.start()),
                byte_at(window, found.end()),
            ];
            // In `userPhoneNumber` a capital begins a word.
            let (first, last) = (window[found.start()], window[found.end() - 1]);
            let joins = |a: u8, b: u8| {
                a.is_ascii_alphabetic()
                    && b.is_ascii_alphabetic()
                    && !(a.is_ascii_lowercase() && b.is_ascii_uppercase())
            };
            let is_part = match word.as_bytes()[0] {
                0..=0x7F => joins(before, first) || joins(last, behind),
                // Cyrillic letters are two bytes of which the first is one of these.
                0xD0 | 0xD1 => before >= 0x80 || matches!(behind, 0xD0 | 0xD1),
                _ => false,
            };
            if !is_part {
                // The window is shorter than 255 bytes.
                distances[cue as usize] = (window.len() - found.end()) as u8;
            }
        }
        distances
    }
}
