//! The identity of a document, as a number and as text.

use std::fmt;
use std::str::FromStr;

/// The identity of a document: xxh3-128 over source name, own id, path and ordinal.
///
/// Tables hold an identity as 32 hex digits in lower case. Only [`fmt::Display`] and [`FromStr`]
/// write and read these digits. The order of identities is the order of their digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DocId(pub u128);

impl DocId {
    /// The identity as two words, the upper half first. The words compare as the identities do.
    pub fn words(self) -> [u64; 2] {
        [(self.0 >> 64) as u64, self.0 as u64]
    }

    /// The identity from two words, the upper half first.
    pub fn from_words([upper, lower]: [u64; 2]) -> DocId {
        DocId(u128::from(upper) << 64 | u128::from(lower))
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The error for a text that is not 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoDocId(String);

impl fmt::Display for NoDocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a doc_id, expected 32 hex digits", self.0)
    }
}

impl std::error::Error for NoDocId {}

impl FromStr for DocId {
    type Err = NoDocId;

    fn from_str(text: &str) -> Result<DocId, NoDocId> {
        // `from_str_radix` accepts a sign too, so the digits are checked first.
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = is_hex
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        id.map(DocId).ok_or_else(|| NoDocId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_goes_through_text_and_words_and_back() {
        let text = "00f1e2d3c4b5a6978899aabbccddeeff";
        let id: DocId = text.parse().expect("hex digits");
        assert_eq!(id.to_string(), text);
        assert_eq!(DocId::from_words(id.words()), id);
        assert_eq!(id.words()[0], 0x00f1_e2d3_c4b5_a697);
    }

    #[test]
    fn other_texts_are_not_identities() {
        for text in [
            "",
            "0",
            "x0f1e2d3c4b5a6978899aabbccddeeff",
            "+0f1e2d3c4b5a6978899aabbccddeeff",
        ] {
            assert!(text.parse::<DocId>().is_err(), "{text}");
        }
    }
}
