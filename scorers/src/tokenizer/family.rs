//! Families of byte-level tokenizers by the parts that their files declare, and the places where a
//! text may be cut without a change of its tokens.

use serde_json::Value;

/// The pattern of Qwen2, which makes a part of each digit.
pub(crate) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The pattern of Llama 3 and of cl100k, which makes a part of up to three digits.
pub(crate) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The pattern of GPT-4o, which also splits words by the case of their letters.
pub(crate) const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The pattern of Mistral's tekken: that of GPT-4o without contractions, and with single digits.
pub(crate) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Where a text may be cut without a change of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cuts {
    /// No such place is known.
    Nowhere,
    /// Before a space, and between a word and a line feed.
    AtSpaces,
    /// Before a space, after a line feed, and between letters and digits.
    AtParts,
}

impl Cuts {
    /// True if a part of the text surely ends between the two characters.
    ///
    /// A space begins a part unless white space precedes it. In the families of Qwen2 and Llama 3, a
    /// line feed ends a part unless white space follows, and no part has a letter next to a digit,
    /// nor a punctuation mark after a letter. In the other families, a line feed begins a part where
    /// it follows a letter or a digit, because only punctuation takes line feeds with it.
    pub(crate) fn allow(self, before: char, after: char) -> bool {
        match (before, after) {
            _ if self == Cuts::Nowhere => false,
            (_, ' ') => !before.is_whitespace(),
            (_, '\n') if self == Cuts::AtSpaces => is_letter_or_digit(before),
            _ if self == Cuts::AtSpaces => false,
            ('\n', _) => !after.is_whitespace(),
            (_, '、' | '。' | '，') => is_letter_or_digit(before) && !before.is_ascii(),
            _ if before.is_ascii_digit() => after.is_ascii_alphabetic(),
            _ => before.is_ascii_alphabetic() && after.is_ascii_digit(),
        }
    }

    /// The first place from `bytes` on where a cut is allowed, or else the end of the text.
    pub(crate) fn first_after(self, text: &str, bytes: usize) -> usize {
        let from = text.floor_char_boundary(bytes);
        let mut before = None;
        for (i, after) in text[from..].char_indices() {
            if before.is_some_and(|before| self.allow(before, after)) {
                return from + i;
            }
            before = Some(after);
        }
        text.len()
    }
}

/// True for the letters and digits of ASCII, and for common letters of Chinese and Japanese.
fn is_letter_or_digit(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿿')
}

/// The places where texts may be cut for the tokenizer of a `tokenizer.json`.
///
/// Nothing before the model may look across such a place. The pre-tokenizer must be a known one. A
/// normalizer must be absent or NFC, which joins nothing there. No added token may reach across.
pub(crate) fn cuts(json: &Value) -> Cuts {
    let cuts = of_pre_tokenizer(&json["pre_tokenizer"]);
    let crosses = json["added_tokens"]
        .as_array()
        .is_some_and(|tokens| tokens.iter().any(|token| crosses_cut(token, cuts)));

    match is_plain(&json["normalizer"]) && !crosses {
        true => cuts,
        false => Cuts::Nowhere,
    }
}

/// True for a normalizer that does nothing, or NFC only.
fn is_plain(normalizer: &Value) -> bool {
    let is_plain = |one: &Value| one["type"] == "NFC";
    match normalizer["type"].as_str() {
        None => normalizer.is_null(),
        Some("Sequence") => normalizer["normalizers"]
            .as_array()
            .is_some_and(|all| all.iter().all(is_plain)),
        Some(_) => is_plain(normalizer),
    }
}

/// The places that the pre-tokenizer never looks across.
fn of_pre_tokenizer(pre_tokenizer: &Value) -> Cuts {
    // The pattern of GPT-2 is that of `ByteLevel` itself.
    if is_byte_level(pre_tokenizer, true) {
        return Cuts::AtSpaces;
    }

    match pre_tokenizer["pretokenizers"].as_array().map(Vec::as_slice) {
        Some([split, bytes]) if split["type"] == "Split" && is_byte_level(bytes, false) => {
            let is_isolated = split["behavior"] == "Isolated" && split["invert"] == false;
            match split["pattern"]["Regex"].as_str() {
                _ if !is_isolated => Cuts::Nowhere,
                Some(QWEN2 | LLAMA3) => Cuts::AtParts,
                Some(O200K | TEKKEN) => Cuts::AtSpaces,
                _ => Cuts::Nowhere,
            }
        }
        Some([digits, bytes]) if digits["type"] == "Digits" && is_byte_level(bytes, true) => {
            Cuts::AtSpaces
        }
        _ => Cuts::Nowhere,
    }
}

/// True for a `ByteLevel` that adds no space in front of a text. With `splits`, it splits words by
/// a pattern of its own; that is the default of a file which does not say.
fn is_byte_level(part: &Value, splits: bool) -> bool {
    part["type"] == "ByteLevel"
        && part["add_prefix_space"] == false
        && part["use_regex"].as_bool().unwrap_or(true) == splits
}

/// True if an added token may reach across a place where a cut is allowed.
fn crosses_cut(token: &Value, cuts: Cuts) -> bool {
    let strips = ["lstrip", "rstrip", "single_word"]
        .iter()
        .any(|flag| token[flag] == true);

    // These flags look at the text around a token. The name of a special token is plain text here,
    // so its flags have no effect.
    strips && token["special"] != true
        || token["content"].as_str().is_none_or(|content| {
            content
                .chars()
                .zip(content.chars().skip(1))
                .any(|(before, after)| cuts.allow(before, after))
        })
}
