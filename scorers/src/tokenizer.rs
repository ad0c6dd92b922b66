//! Token counts, with the embedded tokenizer or any other `tokenizer.json`.
//!
//! The `tokenizers` crate does the work. A count is the number of tokens of the text alone, without
//! the tokens that a template adds. If a text contains the name of a special token, such as
//! `<|endoftext|>`, the name is counted as plain text. Some models have the name in their own
//! vocabulary too, as Unigram models do, and find the token in plain text all the same. Where no
//! text may have a certain token, [`Tokenizer::encode_without`] keeps that token out. Truncation and
//! padding of the file are switched off.
//!
//! To bound memory, a long text is counted in pieces of some 64 KiB. It is cut only where the
//! pieces are sure to have as many tokens as the whole (see `is_cut`). Such places are known for
//! the embedded tokenizer and for those of the Qwen2 and Llama 3 families. A stretch of 1 MiB
//! without such a place (one letter a million times) is cut all the same, and so is each MiB of a
//! text with any other tokenizer. The count may then be off by a token or so for each cut. Without
//! this limit, a stretch would take up to 150 bytes of memory for each of its bytes.
//!
//! Cost: linear for any text, about 3 MB/s with the embedded vocabulary.

use serde_json::Value;

/// The `tokenizer.json` that is compiled in: byte-level BPE with 4,096 entries and the
/// pre-tokenizer of Qwen2.
static EMBEDDED: &[u8] = include_bytes!("../data/embedded_tokenizer.json");

/// The name of the embedded tokenizer.
pub const EMBEDDED_NAME: &str = "embedded";

/// The special token of the embedded tokenizer that ends a document.
pub const EMBEDDED_END: &str = "<|endoftext|>";

/// Errors of a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is not a `tokenizer.json` that the `tokenizers` crate can read, or its tokenizer
    /// does not know every text.
    #[error("tokenizer {name} cannot be read: {reason}")]
    Unreadable {
        /// The tokenizer's name.
        name: String,
        /// The message of the `tokenizers` crate or of the JSON parser.
        reason: String,
    },
    /// The tokenizer fails on a text, for instance because its vocabulary lacks a character and it
    /// has no unknown token.
    #[error("tokenizer {name} fails on a text: {reason}")]
    Failed {
        /// The tokenizer's name.
        name: String,
        /// The message of the `tokenizers` crate.
        reason: String,
    },
}

/// A tokenizer that counts and encodes. A result depends on the text and the file alone.
pub struct Tokenizer {
    name: String,
    digest: String,
    /// True if texts may be cut wherever [`is_cut`] holds.
    is_cuttable: bool,
    /// True if a token is spelt with one character for each of its bytes.
    is_byte_level: bool,
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// The tokenizer that is compiled in.
    ///
    /// # Errors
    /// [`TokenizerError::Unreadable`], which does not occur in practice: a test loads the file.
    pub fn embedded() -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_bytes(EMBEDDED_NAME, EMBEDDED)
    }

    /// A tokenizer from the bytes of its `tokenizer.json`. `name` is used in messages.
    ///
    /// # Errors
    /// [`TokenizerError::Unreadable`] if the bytes are not a tokenizer that knows every text.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let unreadable = |reason: String| TokenizerError::Unreadable {
            name: name.to_owned(),
            reason,
        };

        let json: Value = serde_json::from_slice(bytes).map_err(|e| unreadable(e.to_string()))?;
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| unreadable(e.to_string()))?;

        // Names of special tokens are read as text.
        inner.set_encode_special_tokens(true);
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| unreadable(e.to_string()))?;
        let digest = blake3::hash(bytes).to_hex().to_string();

        // A model that fails on unknown characters would stop a run at the first document with one.
        // The probe shows such a model before the run.
        inner
            .encode_fast(PROBE, false)
            .map_err(|e| unreadable(format!("it does not know every text: {e}")))?;

        // `ByteLevel` may be the pre-tokenizer itself or one of a sequence.
        let is_byte_level = json["pre_tokenizer"].to_string().contains("\"ByteLevel\"");
        Ok(Tokenizer {
            name: name.to_owned(),
            digest,
            is_cuttable: is_cuttable(&json),
            is_byte_level,
            inner,
        })
    }

    /// The tokenizer's name, as messages have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The BLAKE3 of the file in hex. It identifies the tokenizer behind a count.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The number of tokens of `text`.
    ///
    /// ```
    /// let tokenizer = curate_scorers::tokenizer::Tokenizer::embedded()?;
    /// assert_eq!(tokenizer.count("")?, 0);
    /// assert_eq!(tokenizer.count("12345")?, 5);
    /// # Ok::<(), curate_scorers::tokenizer::TokenizerError>(())
    /// ```
    ///
    /// # Errors
    /// [`TokenizerError::Failed`], but never with the embedded tokenizer.
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

    /// The ids of the tokens that [`Tokenizer::count`] counts. With `most`, only the first `most`
    /// ids.
    ///
    /// With a tokenizer of a known family, little more of the text is read than these tokens need.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`], but never with the embedded tokenizer.
    pub fn encode(&self, text: &str, most: Option<usize>) -> Result<Vec<u32>, TokenizerError> {
        let most = most.unwrap_or(usize::MAX);
        // A token has some four bytes, so six a token make one piece enough in most cases.
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

    /// The ids of a text as [`Tokenizer::encode`] gives them, but never the id `token`.
    ///
    /// Where the text spells the token, it is cut in the middle of the spelling, and the two pieces
    /// are encoded apart. So the ids differ from those of `encode` only around a spelling.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] if a single character is the token, or as for `encode`.
    pub fn encode_without(&self, text: &str, token: u32) -> Result<Vec<u32>, TokenizerError> {
        let ids = self.encode(text, None)?;
        if !ids.contains(&token) {
            return Ok(ids);
        }

        // Each piece is shorter than the text, and each cut halves a spelling, so this ends.
        let (mut ids, mut from) = (Vec::new(), 0);
        for cut in self.cuts_in(text, token)?.into_iter().chain([text.len()]) {
            ids.extend(self.encode_without(&text[from..cut], token)?);
            from = cut;
        }

        Ok(ids)
    }

    /// The middle of each stretch of `text` that is encoded as `token`, in bytes and rising.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] if such a stretch has only one character or none.
    fn cuts_in(&self, text: &str, token: u32) -> Result<Vec<usize>, TokenizerError> {
        let mut cuts = Vec::new();
        let mut begin = 0;

        // The pieces are those of `encode`.
        while begin < text.len() {
            let piece = &text[begin..begin + self.cut(&text[begin..], PIECE_BYTES)];
            let encoding = self
                .inner
                .encode(piece, false)
                .map_err(|error| self.failed(error.to_string()))?;
            let stretches = encoding.get_ids().iter().zip(encoding.get_offsets());

            for (_, (from, to)) in stretches.filter(|(id, _)| **id == token) {
                // White space may belong to the stretch, but does not spell the token.
                let stretch = piece.get(*from..*to).unwrap_or_default();
                let spelling = stretch.trim();
                let middle = spelling.floor_char_boundary(spelling.len() / 2);
                if middle == 0 {
                    let reason = format!("\"{}\" is a token that no text may have", stretch);
                    return Err(self.failed(reason));
                }
                cuts.push(begin + from + (stretch.len() - stretch.trim_start().len()) + middle);
            }
            begin += piece.len();
        }

        if cuts.is_empty() {
            return Err(self.failed("the place of a token is not known".to_owned()));
        }
        Ok(cuts)
    }

    /// One more than the largest token id. 0 for an empty vocabulary.
    pub fn ids(&self) -> usize {
        self.inner
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1)
    }

    /// The name of each token, indexed by id. An id without a token, 17 for instance, is called
    /// `<nothing17>`.
    pub fn pieces(&self) -> Vec<String> {
        (0..self.ids() as u32)
            .map(|id| {
                self.inner
                    .id_to_token(id)
                    .unwrap_or_else(|| format!("<nothing{id}>"))
            })
            .collect()
    }

    /// The id of the token with this name, special tokens included. `None` if there is no such
    /// token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// True if the file lists the token among its added tokens, special or not. Other tokens are
    /// parts of ordinary text.
    pub fn is_added(&self, token: &str) -> bool {
        let added = self.inner.get_added_tokens_decoder();
        added.values().any(|known| known.content == token)
    }

    /// The names of the special tokens, in the order of their ids.
    pub fn special_tokens(&self) -> Vec<String> {
        let added = self.inner.get_added_tokens_decoder();
        let mut special: Vec<_> = added.into_iter().filter(|(_, it)| it.special).collect();
        special.sort_by_key(|(id, _)| *id);
        special.into_iter().map(|(_, it)| it.content).collect()
    }

    /// The ids of the tokens that stand for text, ascending. Tokens that were added to the
    /// vocabulary, such as end markers, are left out.
    pub fn text_ids(&self) -> Vec<u32> {
        let added = self.inner.get_added_tokens_decoder();
        let vocabulary = self.inner.get_vocab(true).into_values();
        let mut ids: Vec<u32> = vocabulary.filter(|id| !added.contains_key(id)).collect();
        ids.sort_unstable();
        ids
    }

    /// The number of bytes of text that each token stands for, indexed by id. 0 for an id without a
    /// token.
    pub fn token_bytes(&self) -> Vec<u16> {
        let mut bytes = vec![0; self.ids()];
        let added = self.inner.get_added_tokens_decoder();

        for (token, id) in self.inner.get_vocab(true) {
            // A byte-level token is spelt with one character for each byte. Other tokens are spelt
            // as they are, but for U+2581 in place of a space.
            let len = match self.is_byte_level && !added.contains_key(&id) {
                true => token.chars().count(),
                false => token.replace('\u{2581}', " ").len(),
            };
            bytes[id as usize] = u16::try_from(len).unwrap_or(u16::MAX);
        }

        bytes
    }

    /// The end of the first piece of `text`: the first place after `piece_bytes` where [`is_cut`]
    /// holds, or else `PIECE_BYTES_MAX`, but not beyond the end of `text`.
    fn cut(&self, text: &str, piece_bytes: usize) -> usize {
        let (from, most) = (
            text.floor_char_boundary(piece_bytes),
            text.floor_char_boundary(PIECE_BYTES_MAX),
        );

        // For a tokenizer without known places the loop ends at once.
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

    /// The tokens of one piece, without the special tokens of a template.
    fn encode_piece(&self, text: &str) -> Result<tokenizers::Encoding, TokenizerError> {
        self.inner
            .encode_fast(text, false)
            .map_err(|error| self.failed(error.to_string()))
    }

    /// The error for a text that this tokenizer fails on.
    fn failed(&self, reason: String) -> TokenizerError {
        TokenizerError::Failed {
            name: self.name.clone(),
            reason,
        }
    }
}

/// Characters of many scripts, control characters and a private one. A tokenizer that encodes this
/// is taken to encode any text.
const PROBE: &str = "zqxj ΩЖ אש ไท 字 \u{1F600}\u{0}\u{7}\u{10FFFD}";

/// The least size of a piece that is counted, in bytes. Only the last piece of a text is shorter.
const PIECE_BYTES: usize = 64 << 10;
/// The greatest size of a piece in bytes.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// True if each of `PATTERNS` surely ends a part of the text between the two characters.
///
/// A space begins a part unless white space precedes it. A line feed ends a part unless white space
/// follows. No part has a letter next to a digit, nor a punctuation mark after a letter.
fn is_cut(before: char, after: char) -> bool {
    match (before, after) {
        ('\n', _) => !after.is_whitespace(),
        (_, ' ') => !before.is_whitespace(),
        (_, '、' | '。' | '，') => matches!(before, 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿿'),
        _ if before.is_ascii_digit() => after.is_ascii_alphabetic(),
        _ => before.is_ascii_alphabetic() && after.is_ascii_digit(),
    }
}

/// The patterns of Qwen2 and Llama 3. Each part that they make depends only on the text from the
/// start of the part on.
pub(crate) const PATTERNS: [&str; 2] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// True if a text may be cut wherever [`is_cut`] holds without a change of the count.
///
/// Nothing before the model may look across such a place. The pattern must be a known one. A
/// normalizer must be absent or NFC, which joins nothing there. No added token may reach across.
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

    plain
        && splits
        && !json["added_tokens"]
            .as_array()
            .is_some_and(|tokens| tokens.iter().any(crosses_cut))
}

/// True if an added token may reach across a place where [`is_cut`] holds.
fn crosses_cut(token: &Value) -> bool {
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
                .any(|(a, b)| is_cut(a, b))
        })
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

    /// A tokenizer whose model has `</s>` as a token of ordinary text, as a Unigram model may, and
    /// `<gap>` as an added token that takes the white space around it.
    fn unigram() -> Tokenizer {
        let pieces = [
            "<unk>", "</s>", "a", "b", "<", "/", "s", ">", "\u{2581}", "字", "<gap>",
        ];
        let vocab: Vec<_> = pieces
            .iter()
            .enumerate()
            .map(|(at, piece)| (piece, if at < 2 { 0.0 } else { -1.0 }))
            .collect();
        let added = |id: u32, content: &str, special: bool, strips: bool| {
            serde_json::json!({
                "id": id, "content": content, "single_word": false, "lstrip": strips,
                "rstrip": strips, "normalized": false, "special": special,
            })
        };
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [
                added(0, "<unk>", true, false),
                added(1, "</s>", true, false),
                added(9, "字", false, false),
                added(10, "<gap>", false, true),
            ],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": { "type": "Unigram", "unk_id": 0, "vocab": vocab },
        });
        Tokenizer::from_bytes("unigram", json.to_string().as_bytes()).expect("a tokenizer")
    }

    #[test]
    fn a_text_that_spells_a_token_is_encoded_without_the_token() {
        let tokenizer = unigram();
        let encode = |text: &str| tokenizer.encode(text, None).expect("it encodes");
        let without = |text: &str, token: u32| {
            tokenizer
                .encode_without(text, token)
                .expect("it encodes without the token")
        };

        // The model itself finds the token, although special tokens are read as text.
        assert_eq!(encode("a</s>b"), [2, 1, 3]);
        assert_eq!(without("a</s>b", 1), [2, 4, 5, 6, 7, 3]);
        assert_eq!(without("</s></s>", 1), [4, 5, 6, 7, 4, 5, 6, 7]);
        assert_eq!(without("ab", 1), encode("ab"));
        assert!(without("", 1).is_empty());

        // White space around the spelling is kept, and a long text is cut at every spelling.
        assert!(encode("a  <gap>  b").contains(&10));
        let gap = without("a  <gap>  b", 10);
        assert!(!gap.contains(&10) && gap.len() > 4, "{gap:?}");
        let long = "ab</s>".repeat(200_000);
        assert_eq!(without(&long, 1).len(), 6 * 200_000);

        // A token of one character cannot be kept out.
        let error = tokenizer.encode_without("a字", 9).expect_err("refused");
        assert!(
            error.to_string().contains("that no text may have"),
            "{error}"
        );
        assert!(tokenizer.encode_without("é", 0).is_err());
    }

    #[test]
    fn added_and_special_tokens_are_known_by_name() {
        let tokenizer = unigram();
        assert_eq!(tokenizer.special_tokens(), ["<unk>", "</s>"]);
        assert!(tokenizer.is_added("字") && !tokenizer.is_added("a"));
        assert_eq!(embedded().special_tokens()[0], EMBEDDED_END);
    }

    /// The embedded tokenizer with another pattern.
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
