//! The digests of WARC records: `sha1:` and the SHA-1 in base 32.

use sha1::{Digest as _, Sha1};

use super::warc::WarcRecord;

/// A digest that a record gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The digest as given, such as `sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ`.
    pub given: String,
    /// True if it is right. `None` if it was not compared, or if it is not a SHA-1 in base 32.
    pub is_right: Option<bool>,
}

/// The digest of the payload, or else of the block.
pub fn digest(record: &WarcRecord, payload: &[u8], verify: bool) -> Option<Digest> {
    let payload_digest = record.headers.get("WARC-Payload-Digest");
    let (given, bytes) = match payload_digest {
        Some(given) => (given, payload),
        None => (record.headers.get("WARC-Block-Digest")?, record.block),
    };
    Some(Digest {
        given: given.to_owned(),
        is_right: verify.then(|| compare(given, bytes)).flatten(),
    })
}

/// Compares a digest `sha1:` in base 32 with bytes. `None` if it is of another kind.
fn compare(given: &str, bytes: &[u8]) -> Option<bool> {
    let (algorithm, value) = given.split_once(':')?;
    let is_known = algorithm.trim().eq_ignore_ascii_case("sha1") && value.trim().len() == 32;
    is_known.then(|| {
        value
            .trim()
            .eq_ignore_ascii_case(&base32(&Sha1::digest(bytes)))
    })
}

/// The bytes in base 32 (RFC 4648), without padding.
pub fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::new();
    let (mut bits, mut length) = (0_u32, 0);
    for byte in bytes {
        bits = (bits << 8 | u32::from(*byte)) & 0xffff;
        length += 8;
        while length >= 5 {
            length -= 5;
            out.push(char::from(LETTERS[(bits >> length & 31) as usize]));
        }
    }
    if length > 0 {
        out.push(char::from(LETTERS[(bits << (5 - length) & 31) as usize]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_32_is_that_of_the_standard() {
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(
            compare("sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ", b""),
            Some(true)
        );
        assert_eq!(
            compare("sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ", b"x"),
            Some(false)
        );
        assert_eq!(compare("md5:x", b""), None);
    }
}
