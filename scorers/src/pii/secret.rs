//! Secrets: private keys, and tokens of clouds, forges and services.
//!
//! A token has a prefix that its issuer chose so that it can be found, then letters of a known
//! alphabet and number. A token whose letters are nearly all equal, or that says `example`, stands
//! for any other and is left alone. A private key goes from its `BEGIN` to its `END`; if the end is
//! missing, the lines of base64 are taken.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{Found, Kind, byte_at, byte_before, is_word};

/// The letters behind a prefix.
#[derive(Clone, Copy)]
enum Letters {
    /// `A-Z 0-9`.
    Capitals,
    /// `a-f 0-9`.
    Hex,
    /// `A-Z a-z 0-9`.
    Plain,
    /// `A-Z a-z 0-9 - _`, base64 for addresses.
    Url,
    /// `A-Z a-z 0-9 + / =`, base64.
    Base64,
    /// Three parts of `Letters::Url` with dots between them.
    Dotted,
}

impl Letters {
    fn has(self, byte: u8) -> bool {
        match self {
            Letters::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Letters::Hex => matches!(byte, b'a'..=b'f' | b'0'..=b'9'),
            Letters::Plain => byte.is_ascii_alphanumeric(),
            Letters::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Letters::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Letters::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
        }
    }
}

/// A token: its prefix, its letters, and the least and greatest number of letters behind the
/// prefix.
struct Token {
    /// The start of the prefix, which is left out of the search where words often begin so.
    head: &'static str,
    /// The part of the prefix that is searched for.
    anchor: &'static str,
    letters: Letters,
    least: usize,
    most: usize,
}

impl Token {
    /// The number of letters of the token at the start of `rest`: one more than [`Token::most`] if
    /// there are too many.
    fn tail(&self, rest: &[u8]) -> usize {
        let letters = rest.iter().take(self.most.saturating_add(1));
        let length = letters.take_while(|byte| self.letters.has(**byte)).count();
        match self.letters {
            // The full stop of a sentence.
            Letters::Dotted => {
                length
                    - rest[..length]
                        .iter()
                        .rev()
                        .take_while(|byte| **byte == b'.')
                        .count()
            }
            _ => length,
        }
    }
}

const fn token(
    (head, anchor): (&'static str, &'static str),
    letters: Letters,
    least: usize,
    most: usize,
) -> Token {
    Token {
        head,
        anchor,
        letters,
        least,
        most,
    }
}

/// The longest tail of a token.
const LONG: usize = 4096;

/// Tokens, as their issuers document them.
const TOKENS: &[Token] = &[
    // Amazon: ids of access keys, of temporary ones too.
    token(("", "AKIA"), Letters::Capitals, 16, 16),
    token(("", "ASIA"), Letters::Capitals, 16, 16),
    // GitHub.
    token(("", "ghp_"), Letters::Plain, 36, 255),
    token(("", "gho_"), Letters::Plain, 36, 255),
    token(("", "ghu_"), Letters::Plain, 36, 255),
    token(("", "ghs_"), Letters::Plain, 36, 255),
    token(("", "ghr_"), Letters::Plain, 36, 255),
    token(("githu", "b_pat_"), Letters::Url, 60, 255),
    // GitLab: of users, deployments, runners, triggers, jobs.
    token(("", "glpat-"), Letters::Url, 20, 300),
    token(("", "gldt-"), Letters::Url, 20, 64),
    token(("", "glrt-"), Letters::Url, 20, 300),
    token(("", "glptt-"), Letters::Url, 20, 64),
    token(("", "glcbt-"), Letters::Url, 20, 64),
    // Slack.
    token(("", "xoxb-"), Letters::Url, 24, 255),
    token(("", "xoxp-"), Letters::Url, 24, 255),
    token(("", "xoxa-"), Letters::Url, 24, 255),
    token(("", "xoxr-"), Letters::Url, 24, 255),
    token(("", "xoxs-"), Letters::Url, 24, 255),
    token(("", "xapp-"), Letters::Url, 24, 255),
    // Google: keys, client secrets, access tokens.
    token(("", "AIza"), Letters::Url, 35, 35),
    token(("", "GOCSPX-"), Letters::Url, 28, 28),
    token(("", "ya29."), Letters::Dotted, 40, LONG),
    // Stripe.
    token(("", "sk_live_"), Letters::Plain, 24, 255),
    token(("", "rk_live_"), Letters::Plain, 24, 255),
    token(("", "sk_test_"), Letters::Plain, 24, 255),
    token(("", "whsec_"), Letters::Base64, 32, 64),
    // Models.
    token(("", "sk-ant-"), Letters::Url, 80, 255),
    token(("", "sk-proj-"), Letters::Url, 40, 255),
    token(("", "sk-"), Letters::Plain, 48, 48),
    token(("", "hf_"), Letters::Plain, 34, 40),
    token(("", "gsk_"), Letters::Plain, 52, 52),
    // Registries of packages.
    token(("", "npm_"), Letters::Plain, 36, 36),
    token(("", "pypi-AgEIcHlwaS5vcmc"), Letters::Url, 50, LONG),
    token(("", "dckr_pat_"), Letters::Url, 27, 27),
    // Clouds and hosts.
    token(("", "dop_v1_"), Letters::Hex, 64, 64),
    token(("", "doo_v1_"), Letters::Hex, 64, 64),
    token(("", "dapi"), Letters::Hex, 32, 32),
    token(("", "hvs."), Letters::Url, 24, 255),
    token(("Acco", "untKey="), Letters::Base64, 88, 88),
    token(("", "aws_secret_access_key = "), Letters::Base64, 40, 40),
    token(("", "aws_secret_access_key="), Letters::Base64, 40, 40),
    token(("", "AWS_SECRET_ACCESS_KEY="), Letters::Base64, 40, 40),
    token(("Secre", "tAccessKey\": \""), Letters::Base64, 40, 40),
    token(("AGE", "-SECRET-KEY-1"), Letters::Capitals, 58, 58),
    // Services.
    token(("", "SG."), Letters::Dotted, 66, 66),
    token(("", "shpat_"), Letters::Hex, 32, 32),
    token(("", "shpss_"), Letters::Hex, 32, 32),
    token(("", "shpca_"), Letters::Hex, 32, 32),
    token(("", "sq0atp-"), Letters::Url, 22, 22),
    token(("", "sq0csp-"), Letters::Url, 43, 43),
    token(("", "PMAK-"), Letters::Url, 59, 59),
    token(("hooks", ".slack.com/services/T"), Letters::Base64, 40, 60),
    // JSON web tokens: a header that begins with `{"`, and two parts more.
    token(("", "eyJ"), Letters::Dotted, 40, LONG),
];

/// The line that begins a key in text (RFC 7468) is `-----BEGIN `, words in capitals, and this.
const PRIVATE: &str = "PRIVATE KEY";
/// The header of a private key that PuTTY writes is `Priv` and this.
const PUTTY: &str = "ate-Lines: ";

/// Every anchor, those of [`TOKENS`] first.
static FINDER: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let anchors = TOKENS
        .iter()
        .map(|token| token.anchor)
        .chain([PRIVATE, PUTTY]);
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(anchors)
        .expect("a few dozen short words")
});

/// Adds the secrets of a text to `found`.
pub(super) fn find(text: &str, documentation: bool, found: &mut Vec<Found>) {
    let mut at = 0;
    while let Some(anchor) = FINDER.find(aho_corasick::Input::new(text).range(at..)) {
        let token = TOKENS.get(anchor.pattern().as_usize());
        let behind = anchor.end();
        let span = match token {
            Some(token) => token_at(text, token, anchor.start(), behind, documentation),
            None if text[anchor.start()..].starts_with(PUTTY) => putty_at(text, behind),
            None => key_at(text, anchor.start(), at),
        };

        at = behind;
        if let Some((start, end)) = span {
            found.push(Found {
                start,
                end,
                kind: Kind::Secret,
            });
            at = end;
        } else if let Some(token) = token.filter(|token| token.most == LONG) {
            // What may be long is read once, whether it is a token or not.
            at += token.tail(&text.as_bytes()[behind..]);
        }
    }
}

/// The token with its anchor at `anchor..end`.
fn token_at(
    text: &str,
    token: &Token,
    anchor: usize,
    end: usize,
    documentation: bool,
) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let start = anchor.checked_sub(token.head.len())?;
    let is_prefix = bytes[start..].starts_with(token.head.as_bytes());
    if !is_prefix || is_word(byte_before(bytes, start)) {
        return None;
    }

    let length = token.tail(&bytes[end..]);
    let tail = text.get(end..end + length)?;
    let is_whole = (token.least..=token.most).contains(&length)
        && !matches!(byte_at(bytes, end + length), b'_' | b'-')
        && has_parts(token.anchor, tail);
    // An assignment is no part of the secret.
    let start = if token.anchor.contains(['=', '"']) {
        end
    } else {
        start
    };
    (is_whole && (documentation || !is_placeholder(tail))).then_some((start, end + length))
}

/// True if a token of parts with dots between them has the right ones.
fn has_parts(anchor: &str, tail: &str) -> bool {
    let parts: Vec<&str> = tail.splitn(4, '.').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    match anchor {
        "eyJ" => lengths.len() == 3 && parts[1].starts_with("eyJ") && lengths[2] >= 16,
        "SG." => lengths == [22, 43],
        _ => true,
    }
}

/// True for letters that stand for any others.
fn is_placeholder(tail: &str) -> bool {
    let mut seen = [false; 256];
    tail.bytes().for_each(|byte| seen[byte as usize] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    let says_so = || {
        let lower = tail.to_ascii_lowercase();
        ["example", "xxxx", "placeholder", "your"]
            .iter()
            .any(|word| lower.contains(word))
    };
    distinct < 8 || says_so()
}

/// The longest words before `PRIVATE KEY` in the first line of a key.
const LONGEST_LABEL: usize = 24;

/// The private key whose first line has `PRIVATE KEY` at `at`. Nothing before `from` is read.
fn key_at(text: &str, at: usize, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let words = bytes[from..at].iter().rev().take(LONGEST_LABEL);
    let words = words
        .take_while(|byte| byte.is_ascii_uppercase() || **byte == b' ')
        .count();
    // `-----BEGIN ` or `-----BEGIN RSA `: the words hold the `BEGIN`.
    let label = text[at - words..at].strip_prefix("BEGIN ")?;
    let start = (at - words)
        .checked_sub(5)
        .filter(|start| bytes[*start..].starts_with(b"-----"))?;
    let block = if text[at + PRIVATE.len()..].starts_with(" BLOCK") {
        " BLOCK"
    } else {
        ""
    };
    let body = at + PRIVATE.len() + block.len() + 5;
    if text.get(body - 5..body) != Some("-----") {
        return None;
    }

    // The next five hyphens are those of the end, or of another key, so that no byte is read twice.
    let length = memchr::memmem::find(&bytes[body..], b"-----").unwrap_or(0);
    let close = format!("-----END {label}{PRIVATE}{block}-----");
    let letters = |body: &str| body.bytes().filter(u8::is_ascii_alphanumeric).count();
    if length > 0 && text[body + length..].starts_with(&close) {
        // Less than a key of 32 bytes is none.
        let is_key = letters(&text[body..body + length]) >= 40;
        return is_key.then_some((start, body + length + close.len()));
    }

    let end = body + lines_of_base64(&text[body..]);
    (letters(&text[body..end]) >= 40).then_some((start, end))
}

/// The private lines of a key of PuTTY, behind their count.
fn putty_at(text: &str, count: usize) -> Option<(usize, usize)> {
    let digits = text[count..]
        .bytes()
        .take(4)
        .take_while(u8::is_ascii_digit)
        .count();
    let start = count + digits;
    let end = start + lines_of_base64(&text[start..]);
    (end - start >= 40).then_some((count - PUTTY.len(), end))
}

/// The bytes at the start of `text` that are lines of base64, with their ends of lines, also as `\n`
/// in a string.
fn lines_of_base64(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_part =
        |byte: &&u8| Letters::Base64.has(**byte) || matches!(**byte, b'\r' | b'\n' | b'\\');
    let mut end = bytes.iter().take_while(is_part).count();
    while end > 0 && matches!(bytes[end - 1], b'\r' | b'\n' | b'\\') {
        end -= 1;
    }
    end
}
