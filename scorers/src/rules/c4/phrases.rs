//! The phrases and characters that C4's rules look for in a line, and a search that rules most of
//! them out for a whole text.
//!
//! A text as a whole is searched first, by loops that the compiler makes SIMD code of. Its lines
//! are searched one by one only if the text may have a phrase. Cost: at most six passes of SIMD
//! code over a text, and one pass over the lines of a text that may have a phrase.

use memchr::memchr;

/// Characters and phrases that a text may have. The lines of the text need not be searched for a
/// character or phrase whose hint is false.
#[derive(Clone, Copy)]
pub(super) struct Hints {
    /// True if the text has `[`.
    pub(super) square_bracket: bool,
    /// True if the text has `{`.
    pub(super) curly_bracket: bool,
    /// True if the text may have one of the [`Phrases`].
    pub(super) phrase: bool,
}

impl Hints {
    /// The hints of `text`.
    pub(super) fn new(text: &str) -> Hints {
        let bytes = text.as_bytes();

        // Four letters of each phrase, or of a word that some phrases share.
        let places = [
            [(0, b'j'), (2, b'v'), (4, b's'), (8, b'p')],
            [(0, b'l'), (2, b'r'), (4, b'm'), (7, b'p')],
            [(0, b't'), (3, b'm'), (7, b'f'), (9, b'u')],
            // `policy` and `cookies`. The latter may be written with `K`, which is E2 84 AA.
            [(0, b'p'), (2, b'l'), (4, b'c'), (5, b'y')],
            [(0, b'c'), (3, b'k'), (5, b'e'), (6, b's')],
            [(0, 0xe2), (0, 0xe2), (1, 0x84 | CASE), (2, 0xaa)],
        ];

        Hints {
            square_bracket: memchr(b'[', bytes).is_some(),
            curly_bracket: memchr(b'{', bytes).is_some(),
            phrase: places.iter().any(|places| may_have(bytes, places)),
        }
    }
}

/// The bit that tells capitals from small letters in ASCII.
const CASE: u8 = 0x20;

/// True if `bytes` has four bytes at the distances of `places` from each other, in any case. The
/// distances ascend. The compiler makes SIMD code of the loop.
pub(crate) fn may_have(bytes: &[u8], places: &[(usize, u8); 4]) -> bool {
    let Some(starts) = bytes.len().checked_sub(places[3].0) else {
        return false;
    };

    // Chunks let the search stop early, while the loop in a chunk has no branches.
    let [a, b, c, d] = places.map(|(distance, _)| bytes[distance..distance + starts].chunks(256));
    let letters = places.map(|(_, letter)| letter);
    a.zip(b).zip(c.zip(d)).any(|((a, b), (c, d))| {
        let pairs = a.iter().zip(b).zip(c.iter().zip(d));
        let is = |byte: &u8, i: usize| u8::from(byte | CASE == letters[i]);
        pairs.fold(0, |any, ((a, b), (c, d))| {
            any | is(a, 0) & is(b, 1) & is(c, 2) & is(d, 3)
        }) != 0
    })
}

/// The kinds of C4's phrases that a line has, in any case.
#[derive(Default)]
pub(super) struct Phrases {
    /// True if the line has `lorem ipsum`.
    pub(super) lorem_ipsum: bool,
    /// True if the line has `javascript`.
    pub(super) javascript: bool,
    /// True if the line has one of the [`POLICIES`](super::POLICIES).
    pub(super) policy: bool,
}

impl Phrases {
    /// Searches `line` for all phrases, as Python's `phrase in line.lower()` does. The pass over
    /// `line` stops only at rare letters.
    ///
    /// Two characters outside of ASCII have ASCII in their lower case. The Kelvin sign (U+212A)
    /// becomes `k`, so it can be part of a phrase. `İ` (U+0130) cannot, because it becomes `i` and
    /// U+0307, and no phrase has U+0307.
    pub(super) fn find(line: &str) -> Phrases {
        let bytes = line.as_bytes();
        let mut found = Phrases::default();

        for (i, &byte) in bytes.iter().enumerate() {
            let kind = RARE[byte as usize];
            if kind != 0 {
                found.look_at(kind, &bytes[..i], &bytes[i..]);
            }
        }

        found
    }

    /// Compares the bytes around a rare letter with the phrases of its kind. `from` starts with the
    /// letter.
    fn look_at(&mut self, kind: u8, before: &[u8], from: &[u8]) {
        match kind {
            b'v' => {
                self.javascript |= ends(before, b"ja") && starts(from, b"vascript");
                self.policy |= ends(before, b"pri") && starts(from, b"vacy policy");
            }
            b'f' => self.policy |= ends(before, b"terms o") && starts(from, b"f use"),
            b'p' => self.lorem_ipsum |= ends(before, b"lorem i") && starts(from, b"psum"),
            _ => self.look_at_k(before, from),
        }
    }

    /// Does the same for `k`, and for E2, which is the first byte of `K` and of other characters.
    fn look_at_k(&mut self, before: &[u8], from: &[u8]) {
        let after_k = from
            .strip_prefix("\u{212a}".as_bytes())
            .or_else(|| from.strip_prefix(b"k"))
            .or_else(|| from.strip_prefix(b"K"));
        let Some(after_k) = after_k else {
            return;
        };

        let uses = || {
            [&b"uses coo"[..], b"use of coo", b"use coo"]
                .iter()
                .any(|head| ends(before, head))
        };
        self.policy |= ends(before, b"coo") && starts(after_k, b"ie policy");
        self.policy |= starts(after_k, b"ies") && uses();
    }
}

/// The kind of each byte: a letter of a phrase that prose has few of, for both of its cases and for
/// `K`. 0 for all other bytes.
static RARE: [u8; 256] = {
    let mut kinds = [0; 256];
    let letters = *b"vfpk";

    let mut i = 0;
    while i < letters.len() {
        kinds[letters[i] as usize] = letters[i];
        kinds[letters[i].to_ascii_uppercase() as usize] = letters[i];
        i += 1;
    }

    kinds[0xe2] = b'k';
    kinds
};

/// True if `text` starts with `lower`, in any case of ASCII.
fn starts(text: &[u8], lower: &[u8]) -> bool {
    text.get(..lower.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(lower))
}

/// True if `text` ends with `lower`, in any case of ASCII.
fn ends(text: &[u8], lower: &[u8]) -> bool {
    text.len() >= lower.len() && text[text.len() - lower.len()..].eq_ignore_ascii_case(lower)
}
