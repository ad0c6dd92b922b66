//! Token counts, with the embedded tokenizer or any other `tokenizer.json`.
//!
//! The `tokenizers` crate does the work; a count is the number of tokens of the text alone, without those that a template
//! adds. The name of a special token in a text, `<|endoftext|>` say, is text: it is counted as its characters are, so no
//! document can smuggle in a token that ends a document. Truncation and padding of the file are switched off.
//!
//! A long text is counted in pieces of some 64 KiB, which bounds memory, wherever pieces are sure to have as many tokens as
//! the whole: see `cuts_at_spaces`. The embedded tokenizer and those of the Qwen2 and Llama 3 families are such.
//! Cost: about 2 MB/s with the embedded vocabulary; a stretch without white space takes about TODO bytes of memory a byte.

use serde_json::Value;

/// The tokenizer that is compiled in: byte-level BPE of 4,096 entries with the pre-tokenizer of Qwen2.
static EMBEDDED: &[u8] = include_bytes!("../data/embedded_tokenizer.json");

/// The name of the embedded tokenizer.
pub const EMBEDDED_NAME: &str = "embedded";

/// What can go wrong with a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is no `tokenizer.json` that the `tokenizers` crate can read.
    #[error("tokenizer {name} cannot be read: {reason}")]
    Unreadable {
        /// The tokenizer's name.
        name: String,
        /// What the `tokenizers` crate says.
        reason: String,
    },
    /// The tokenizer fails on a text, for instance because its vocabulary lacks a character and it has no unknown token.
    #[error("tokenizer {name} fails on a text: {reason}")]
    Failed {
        /// The tokenizer's name.
        name: String,
        /// What the `tokenizers` crate says.
        reason: String,
    },
}

/// Counts tokens. The count of a text depends on nothing but the text and the file.
pub struct Tokenizer {
    name: String,
    digest: String,
    cuts_at_spaces: bool,
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// The tokenizer that is compiled in.
    ///
    /// # Errors
    /// None in practice: a test loads it.
    pub fn embedded() -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_bytes(EMBEDDED_NAME, EMBEDDED)
    }

    /// A tokenizer from the bytes of its `tokenizer.json`; `name` is for messages.
    ///
    /// # Errors
    /// [`TokenizerError::Unreadable`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let unreadable = |reason: String| TokenizerError::Unreadable {
            name: name.to_owned(),
            reason,
        };
        let json: Value = serde_json::from_slice(bytes).map_err(|e| unreadable(e.to_string()))?;
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| unreadable(e.to_string()))?;
        inner.set_encode_special_tokens(true);
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| unreadable(e.to_string()))?;
        let digest = blake3::hash(bytes).to_hex().to_string();
        Ok(Tokenizer {
            name: name.to_owned(),
            digest,
            cuts_at_spaces: cuts_at_spaces(&json),
            inner,
        })
    }

    /// The BLAKE3 of the file, in hex: it names what a count was made with.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many tokens `text` has.
    ///
    /// ```
    /// let tokenizer = curate_scorers::tokenizer::Tokenizer::embedded()?;
    /// assert_eq!(tokenizer.count("")?, 0);
    /// assert_eq!(tokenizer.count("12345")?, 5);
    /// # Ok::<(), curate_scorers::tokenizer::TokenizerError>(())
    /// ```
    ///
    /// # Errors
    /// [`TokenizerError::Failed`]; never with the embedded tokenizer.
    pub fn count(&self, text: &str) -> Result<u64, TokenizerError> {
        if !self.cuts_at_spaces {
            return self.count_piece(text);
        }
        let mut rest = text;
        let mut tokens = 0;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cut(rest));
            tokens += self.count_piece(piece)?;
            rest = after;
        }
        Ok(tokens)
    }

    fn count_piece(&self, text: &str) -> Result<u64, TokenizerError> {
        let failed = |e: tokenizers::Error| TokenizerError::Failed {
            name: self.name.clone(),
            reason: e.to_string(),
        };
        Ok(self.inner.encode_fast(text, false).map_err(failed)?.len() as u64)
    }
}

const PIECE_BYTES: usize = 64 << 10;

/// Where the first piece of `text` ends: before a space that follows something else than white space, the first such
/// place after `PIECE_BYTES`.
fn cut(text: &str) -> usize {
    if text.len() <= PIECE_BYTES {
        return text.len();
    }
    let is_cut = |pair: &[u8]| pair[1] == b' ' && pair[0].is_ascii_graphic();
    text.as_bytes()[PIECE_BYTES..]
        .windows(2)
        .position(is_cut)
        .map_or(text.len(), |i| PIECE_BYTES + i + 1)
}

/// Patterns that split a text so that every space after another visible character starts a new part: no alternative has
/// white space but at its start or behind other white space, and none looks behind.
const PATTERNS: [&str; 2] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// Whether a text may be cut before any space that follows a visible ASCII character, with equal counts: nothing before
/// the model looks across such a place (a known pattern; no normalizer or NFC, under which a space joins nothing), nor
/// does an added token (other than special ones, which are not looked for).
fn cuts_at_spaces(json: &Value) -> bool {
    let normalizer = &json["normalizer"];
    let plain = normalizer.is_null() || normalizer["type"] == "NFC";
    let splits = json["pre_tokenizer"]["pretokenizers"]
        .as_array()
        .is_some_and(|parts| match parts.as_slice() {
            [split, bytes] => {
                PATTERNS.iter().any(|pattern| split["pattern"]["Regex"] == *pattern)
                    && (&split["behavior"], &split["invert"]) == (&"Isolated".into(), &false.into())
                    && bytes["type"] == "ByteLevel"
                    && bytes["add_prefix_space"] == false
                    && bytes["use_regex"] == false
            }
            _ => false,
        });
    let crosses = |token: &Value| {
        let flags = ["lstrip", "rstrip", "single_word"];
        token["special"] != true
            && (flags.iter().any(|flag| token[flag] == true)
                || token["content"].as_str().is_none_or(|s| s.contains(' ')))
    };
    plain
        && splits
        && !json["added_tokens"]
            .as_array()
            .is_some_and(|tokens| tokens.iter().any(crosses))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded() -> Tokenizer {
        Tokenizer::embedded().expect("the embedded tokenizer loads")
    }

    fn count(text: &str) -> u64 {
        embedded().count(text).expect("a byte-level tokenizer knows every text")
    }

    #[test]
    fn small_texts() {
        assert_eq!(count(""), 0);
        assert_eq!(count("\n"), 1);
        assert_eq!(count(" the"), 1);
        assert_eq!(count("the the"), 2);
        for text in [" \u{3000}", "cafe\u{301}", "שלום עולם", "😀👩‍👩‍👧", "\0", "\u{feff}a"] {
            let tokens = count(text);
            assert!((1..=text.len() as u64).contains(&tokens), "{text:?}: {tokens}");
        }
        // The text is normalized first.
        assert_eq!(count("cafe\u{301}"), count("café"));
    }

    #[test]
    fn the_name_of_a_special_token_is_text() {
        let names = embedded().inner.get_added_tokens_decoder();
        assert_eq!(names.len(), 3);
        for name in names.values().map(|token| &token.content) {
            assert!(count(name) > 1, "{name}");
            let text = format!("a{name}b");
            let tokens = embedded().inner.encode_fast(text.as_str(), false).expect("it encodes");
            assert!(
                tokens.get_ids().iter().all(|id| !names.contains_key(id)),
                "{:?}",
                tokens.get_tokens()
            );
        }
    }

    #[test]
    fn pieces_have_as_many_tokens_as_the_whole() {
        let tokenizer = embedded();
        assert!(tokenizer.cuts_at_spaces);
        let parts = [
            "the", " ", "  ", "\n", " \n ", "\r\n", "\t", "a.", "é", "e\u{301}", " \u{301}", "'s", "12 3", "(…)",
            "日本", "ש", "😀",
        ];
        let mut state = 9u64;
        let mut next = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let text: String = (0..90_000).map(|_| parts[next(parts.len())]).collect();
        assert!(text.len() > 3 * PIECE_BYTES);
        assert_eq!(tokenizer.count(&text).ok(), tokenizer.count_piece(&text).ok());
        // Every single place where a cut may be.
        let small = &text[..text.floor_char_boundary(4_000)];
        let whole = tokenizer.count_piece(small).expect("it encodes");
        for (at, pair) in small
            .as_bytes()
            .windows(2)
            .enumerate()
            .filter(|(_, p)| p[1] == b' ' && p[0].is_ascii_graphic())
        {
            let halves = [&small[..=at], &small[at + 1..]].map(|half| tokenizer.count_piece(half).expect("it encodes"));
            assert_eq!(halves[0] + halves[1], whole, "at {at}: {pair:?}");
        }
    }

    #[test]
    fn only_known_tokenizers_are_cut() {
        let json: Value = serde_json::from_slice(EMBEDDED).expect("the file is JSON");
        let changed = |pointer: &str, value: Value| {
            let mut json = json.clone();
            *json.pointer_mut(pointer).expect("the field is there") = value;
            cuts_at_spaces(&json)
        };
        assert!(changed("/normalizer", Value::Null));
        assert!(!changed("/normalizer/type", "NFKC".into()));
        assert!(!changed("/pre_tokenizer/pretokenizers/0/pattern/Regex", r"\s+".into()));
        assert!(!changed("/pre_tokenizer", Value::Null));
        assert!(changed("/added_tokens/0/lstrip", true.into()));
        assert!(changed("/added_tokens/0/special", false.into()));
        let token = serde_json::json!({"content": "a b", "special": false});
        assert!(!changed("/added_tokens/0", token));
    }

    #[test]
    fn a_megabyte_without_a_break_is_counted() {
        assert!(count(&"a".repeat(1 << 20)) > 0);
        assert!(count(&" ".repeat(1 << 20)) > 0);
        assert!(count(&"日".repeat(1 << 18)) > 0);
    }

    #[test]
    fn what_is_no_tokenizer_is_refused() {
        for bytes in [&b""[..], b"{}", b"[1]", b"\xff"] {
            let error = Tokenizer::from_bytes("mine", bytes).err().expect("it is no tokenizer");
            assert!(
                error.to_string().starts_with("tokenizer mine cannot be read: "),
                "{error}"
            );
        }
        assert_eq!(embedded().digest(), blake3::hash(EMBEDDED).to_hex().as_str());
    }
}
