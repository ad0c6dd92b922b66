//! Token counts, with the embedded tokenizer or any other `tokenizer.json`.
//!
//! The `tokenizers` crate does the work; a count is the number of tokens of the text alone, without
//! those that a template adds. The name of a special token in a text, `<|endoftext|>` say, is text:
//! it is counted as its characters are, so no document can smuggle in a token that ends a document.
//! Truncation and padding of the file are switched off.
//!
//! A long text is counted in pieces of some 64 KiB, which bounds memory, wherever pieces are sure
//! to have as many tokens as the whole: see `is_cut`. The embedded tokenizer and those of the Qwen2
//! and Llama 3 families are such. A stretch of 1 MiB in which nothing is sure (one letter a million
//! times), and each MiB of a text with any other tokenizer, is cut all the same: it costs up to 150
//! bytes of memory a byte, so a limit has to be; the count may be off by a token or so a cut. Cost:
//! about 3 MB/s with the embedded vocabulary, linear in any text.

use serde_json::Value;

/// The tokenizer that is compiled in: byte-level BPE of 4,096 entries with the pre-tokenizer of
/// Qwen2.
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
    /// The tokenizer fails on a text, for instance because its vocabulary lacks a character and it
    /// has no unknown token.
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
    is_cuttable: bool,
    is_byte_level: bool,
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
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| unreadable(e.to_string()))?;
        inner.set_encode_special_tokens(true);
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| unreadable(e.to_string()))?;
        let digest = blake3::hash(bytes).to_hex().to_string();
        // A model without an answer to unknown text would stop a run at the first document that has
        // such.
        inner
            .encode_fast(PROBE, false)
            .map_err(|e| unreadable(format!("it does not know every text: {e}")))?;
        let is_byte_level = json["pre_tokenizer"].to_string().contains("\"ByteLevel\"");
        Ok(Tokenizer {
            name: name.to_owned(),
            digest,
            is_cuttable: is_cuttable(&json),
            is_byte_level,
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
        let mut rest = text;
        let mut tokens = 0;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(self.cut(rest, PIECE_BYTES));
            tokens += self.encode_piece(piece)?.len() as u64;
            rest = after;
        }
        Ok(tokens)
    }

    /// The ids of the first `most` tokens of `text`, or of all of them: those that
    /// [`Tokenizer::count`] counts.
    ///
    /// With a tokenizer of a known family little more of the text is read than the tokens asked
    /// for.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`]; never with the embedded tokenizer.
    pub fn encode(&self, text: &str, most: Option<usize>) -> Result<Vec<u32>, TokenizerError> {
        let most = most.unwrap_or(usize::MAX);
        // Some four bytes a token: one piece in most cases.
        let piece_bytes = most.saturating_mul(6).clamp(1 << 10, PIECE_BYTES);
        let (mut rest, mut ids) = (text, Vec::new());
        while !rest.is_empty() && ids.len() < most {
            let (piece, after) = rest.split_at(self.cut(rest, piece_bytes));
            ids.extend_from_slice(self.encode_piece(piece)?.get_ids());
            rest = after;
        }
        ids.truncate(most);
        Ok(ids)
    }

    /// One more than the largest id.
    pub fn ids(&self) -> usize {
        self.inner
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1)
    }

    /// The name of each token, by id; an id that no token has is called `<nothing N>` without the
    /// space.
    pub fn pieces(&self) -> Vec<String> {
        let name = |id: u32| {
            self.inner
                .id_to_token(id)
                .unwrap_or_else(|| format!("<nothing{id}>"))
        };
        (0..self.ids() as u32).map(name).collect()
    }

    /// The id of a token, special ones included.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// How many bytes of text each token stands for, by id; 0 for ids that no token has.
    pub fn token_bytes(&self) -> Vec<u16> {
        let mut bytes = vec![0; self.ids()];
        let added = self.inner.get_added_tokens_decoder();
        for (token, id) in self.inner.get_vocab(true) {
            // A byte-level token is spelt with a character for each byte; others with one of their
            // own for a space.
            let len = match self.is_byte_level && !added.contains_key(&id) {
                true => token.chars().count(),
                false => token.replace('\u{2581}', " ").len(),
            };
            bytes[id as usize] = u16::try_from(len).unwrap_or(u16::MAX);
        }
        bytes
    }

    /// Where the first piece of `text` ends: at the first place after `piece_bytes` where
    /// [`is_cut`] holds; without one at `PIECE_BYTES_MAX`.
    fn cut(&self, text: &str, piece_bytes: usize) -> usize {
        let (from, most) = (
            text.floor_char_boundary(piece_bytes),
            text.floor_char_boundary(PIECE_BYTES_MAX),
        );
        let mut before = None;
        for (i, after) in text[from..most]
            .char_indices()
            .take_while(|_| self.is_cuttable)
        {
            if before.is_some_and(|before| is_cut(before, after)) {
                return from + i;
            }
            before = Some(after);
        }
        most
    }

    fn encode_piece(&self, text: &str) -> Result<tokenizers::Encoding, TokenizerError> {
        let failed = |e: tokenizers::Error| TokenizerError::Failed {
            name: self.name.clone(),
            reason: e.to_string(),
        };
        self.inner.encode_fast(text, false).map_err(failed)
    }
}

/// Text of many scripts, and of none.
const PROBE: &str = "zqxj ΩЖ אש ไท 字 \u{1F600}\u{0}\u{7}\u{10FFFD}";

const PIECE_BYTES: usize = 64 << 10;
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Whether a part of the text that any of `PATTERNS` makes surely ends between the two characters.
///
/// A space begins a part unless white space is before it; a line feed ends one unless white space
/// follows; no part has a letter and a digit next to each other, nor a mark after a letter.
fn is_cut(before: char, after: char) -> bool {
    match (before, after) {
        ('\n', _) => !after.is_whitespace(),
        (_, ' ') => !before.is_whitespace(),
        (_, '、' | '。' | '，') => matches!(before, 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿿'),
        _ if before.is_ascii_digit() => after.is_ascii_alphabetic(),
        _ => before.is_ascii_alphabetic() && after.is_ascii_digit(),
    }
}

/// The patterns of Qwen2 and Llama 3. Each part that they make depends on the text from its start
/// on, and on no more.
pub(crate) const PATTERNS: [&str; 2] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// Whether a text may be cut wherever [`is_cut`] holds, with equal counts: nothing before the model
/// looks across such a place (a known pattern; no normalizer or NFC, which joins nothing there),
/// nor does an added token.
fn is_cuttable(json: &Value) -> bool {
    let normalizer = &json["normalizer"];
    let plain = normalizer.is_null() || normalizer["type"] == "NFC";
    let splits = json["pre_tokenizer"]["pretokenizers"]
        .as_array()
        .is_some_and(|parts| match parts.as_slice() {
            [split, bytes] => {
                PATTERNS
                    .iter()
                    .any(|pattern| split["pattern"]["Regex"] == *pattern)
                    && (&split["behavior"], &split["invert"]) == (&"Isolated".into(), &false.into())
                    && bytes["type"] == "ByteLevel"
                    && bytes["add_prefix_space"] == false
                    && bytes["use_regex"] == false
            }
            _ => false,
        });
    let crosses = |token: &Value| {
        let strips = ["lstrip", "rstrip", "single_word"]
            .iter()
            .any(|flag| token[flag] == true);
        let has_cut = |content: &str| {
            content
                .chars()
                .zip(content.chars().skip(1))
                .any(|(a, b)| is_cut(a, b))
        };
        strips && token["special"] != true || token["content"].as_str().is_none_or(has_cut)
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
        embedded()
            .count(text)
            .expect("a byte-level tokenizer knows every text")
    }

    #[test]
    fn small_texts() {
        assert_eq!(count(""), 0);
        assert_eq!(count("\n"), 1);
        assert_eq!(count(" the"), 1);
        assert_eq!(count("the the"), 2);
        for text in [
            " \u{3000}",
            "cafe\u{301}",
            "שלום עולם",
            "😀👩‍👩‍👧",
            "\0",
            "\u{feff}a",
        ] {
            let tokens = count(text);
            assert!(
                (1..=text.len() as u64).contains(&tokens),
                "{text:?}: {tokens}"
            );
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
            let tokens = embedded()
                .inner
                .encode_fast(text.as_str(), false)
                .expect("it encodes");
            assert!(
                tokens.get_ids().iter().all(|id| !names.contains_key(id)),
                "{:?}",
                tokens.get_tokens()
            );
        }
    }

    /// The embedded tokenizer with one of `PATTERNS`.
    fn with_pattern(pattern: &str) -> Tokenizer {
        let mut json: Value = serde_json::from_slice(EMBEDDED).expect("the file is JSON");
        json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern.into();
        Tokenizer::from_bytes("test", json.to_string().as_bytes()).expect("it is a tokenizer")
    }

    #[test]
    fn pieces_have_as_many_tokens_as_the_whole() {
        let parts = [
            "the",
            " ",
            "  ",
            "\n",
            " \n ",
            "\r\n",
            "\t",
            "\u{a0}",
            "a.",
            "é",
            "e\u{301}",
            " \u{301}",
            "'s",
            "'S4",
            "12 3",
            "9a",
            "…)",
            "日本",
            "か\u{3099}",
            "、",
            "。」",
            "١٢",
            "ש",
            "😀",
            "²",
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
        for tokenizer in PATTERNS.map(with_pattern) {
            let count = |text: &str| {
                tokenizer
                    .encode_piece(text)
                    .expect("a byte-level tokenizer knows every text")
                    .len() as u64
            };
            assert!(tokenizer.is_cuttable);
            assert_eq!(tokenizer.count(&text).expect("as above"), count(&text));
            // Every single place where a cut may be.
            let small = &text[..text.floor_char_boundary(3_000)];
            let whole = count(small);
            let pairs = small.char_indices().zip(small.char_indices().skip(1));
            for ((_, before), (at, after)) in
                pairs.filter(|((_, before), (_, after))| is_cut(*before, *after))
            {
                assert_eq!(
                    count(&small[..at]) + count(&small[at..]),
                    whole,
                    "between {before:?} and {after:?}"
                );
            }
        }
    }

    #[test]
    fn only_known_tokenizers_are_cut() {
        let json: Value = serde_json::from_slice(EMBEDDED).expect("the file is JSON");
        let changed = |pointer: &str, value: Value| {
            let mut json = json.clone();
            *json.pointer_mut(pointer).expect("the field is there") = value;
            is_cuttable(&json)
        };
        assert!(changed("/normalizer", Value::Null));
        assert!(!changed("/normalizer/type", "NFKC".into()));
        assert!(!changed(
            "/pre_tokenizer/pretokenizers/0/pattern/Regex",
            r"\s+".into()
        ));
        assert!(!changed("/pre_tokenizer", Value::Null));
        assert!(changed("/added_tokens/0/lstrip", true.into()));
        assert!(changed("/added_tokens/0/special", false.into()));
        assert!(changed(
            "/added_tokens/0",
            serde_json::json!({"content": "<tool_call>", "special": false})
        ));
        let token = serde_json::json!({"content": "h1", "special": false});
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
            let error = Tokenizer::from_bytes("mine", bytes)
                .err()
                .expect("it is no tokenizer");
            assert!(
                error
                    .to_string()
                    .starts_with("tokenizer mine cannot be read: "),
                "{error}"
            );
        }
        assert_eq!(
            embedded().digest(),
            blake3::hash(EMBEDDED).to_hex().as_str()
        );
    }
}
