//! What is put in place of a value: a constant of its kind, or a pseudonym.
//!
//! A pseudonym is a keyed hash of the kind and the value (BLAKE3 with a key of 32 bytes), so that
//! equal values stay equal and only the owner of the key can test a guess. Of the hash 48 bits are
//! shown, as letters: among a million values of a corpus, two share a pseudonym with a probability
//! of 0.2 %. No constant and no pseudonym is a value itself, so that a second pass finds nothing.

use std::net::Ipv6Addr;

use super::Kind;

/// What is put in place of values.
#[derive(Clone)]
pub enum Replacement {
    /// A constant of each kind.
    Constant,
    /// A pseudonym under this key.
    Pseudonym(Key),
}

/// The secret key of pseudonyms. It is never shown.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// The number of letters of a pseudonym, each of four bits.
const LETTERS: usize = 12;

impl Key {
    /// The key that a file holds: a hash of its bytes, whatever their number.
    pub fn of_file(bytes: &[u8]) -> Key {
        Key(blake3::derive_key("curate 2026 pii pseudonym key", bytes))
    }

    /// A digest that names the key and does not tell it, 64 hex digits.
    pub fn digest(&self) -> String {
        let digest = blake3::derive_key("curate 2026 pii pseudonym key digest", &self.0);
        blake3::Hash::from_bytes(digest).to_hex().to_string()
    }
}

impl Replacement {
    /// The text that replaces a value of a kind.
    pub fn of(&self, kind: Kind, value: &str) -> String {
        let name = kind.name();
        let Replacement::Pseudonym(Key(key)) = self else {
            return format!("<{name}>");
        };

        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(name.as_bytes()).update(&[0]);
        hasher.update(canonical(kind, value).as_bytes());
        let hash = hasher.finalize();
        let nibbles = hash
            .as_bytes()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15]);
        let letters: String = nibbles
            .take(LETTERS)
            .map(|nibble| char::from(b'a' + nibble))
            .collect();
        format!("<{name}:{letters}>")
    }
}

/// The form of a value that is equal for all ways to write it: addresses in lower case, numbers
/// without separators. Secrets stay as they are.
pub(super) fn canonical(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Email => value.to_lowercase(),
        Kind::Ipv6 => value
            .parse::<Ipv6Addr>()
            .map_or(value.to_owned(), |ip| ip.to_string()),
        Kind::Ipv4 | Kind::Secret => value.to_owned(),
        _ => value
            .chars()
            .filter(|char| char.is_alphanumeric())
            .flat_map(char::to_uppercase)
            .collect(),
    }
}
