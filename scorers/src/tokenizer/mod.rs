//! Token counts, with the embedded tokenizer or any other `tokenizer.json`.
//!
//! Two libraries do the work. `fastokens` reads files of known families of byte-level BPE (see
//! [`fast`]), and `tokenizers` reads all others. Both give the same ids. A count is the number of tokens of the text alone, without
//! the tokens that a template adds. If a text contains the name of a special token, such as
//! `<|endoftext|>`, the name is counted as plain text. Some models have the name in their own
//! vocabulary too, as Unigram models do, and find the token in plain text all the same. Where no
//! text may have a certain token, [`Tokenizer::encode_without`] keeps that token out. Truncation and
//! padding of the file are switched off.
//!
//! To bound memory, a long text is counted in pieces of some 64 KiB. It is cut only where the
//! pieces are sure to have as many tokens as the whole (see [`family`]). A stretch of 1 MiB without
//! such a place (one letter a million times) is cut all the same, and so is each MiB of a text with
//! a tokenizer that is not of the families of Qwen2 and Llama 3. The count may then be off by a token or so for each cut. Without
//! this limit, a stretch would take up to 50 bytes of memory for each of its bytes with `fastokens`
//! (64 MiB of full stops: 3.2 GB and 32 s), and 150 with `tokenizers`.
//!
//! Cost: linear for any text. `make bench-tokens` prints the speed of both libraries.

mod family;
mod fast;

use serde_json::Value;

use family::Cuts;
use fast::Refusal;

pub(crate) use family::{LLAMA3, QWEN2};

/// The `tokenizer.json` that is compiled in: byte-level BPE with 4,096 entries and the
/// pre-tokenizer of Qwen2.
static EMBEDDED: &[u8] = include_bytes!("../../data/embedded_tokenizer.json");

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
    /// Where texts may be cut.
    cuts: Cuts,
    /// True if a token is spelt with one character for each of its bytes.
    is_byte_level: bool,
    /// The library that reads any file. It knows names and places of tokens too.
    inner: tokenizers::Tokenizer,
    /// The faster library, or why it is not used.
    fast: Result<fastokens::Tokenizer, Refusal>,
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
            cuts: family::cuts(&json),
            is_byte_level,
            fast: fast::load(json, &inner),
            inner,
        })
    }

    /// The tokenizer's name, as messages have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why texts are encoded by the `tokenizers` crate, which takes twenty times the time of
    /// `fastokens` or more. `None` if `fastokens` encodes them.
    pub fn slow_because(&self) -> Option<&str> {
        self.fast.as_ref().err().map(|refusal| refusal.0.as_str())
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
            ids.extend(self.encode_piece(piece)?);
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

    /// The end of the first piece of `text`: the first place after `piece_bytes` where a cut is
    /// free, or else `PIECE_BYTES_MAX`, but not beyond the end of `text`.
    fn cut(&self, text: &str, piece_bytes: usize) -> usize {
        let most = text.floor_char_boundary(PIECE_BYTES_MAX);
        match self.cuts {
            // Versions of `tokens` and of the scores hold that other families are cut at each MiB.
            Cuts::AtParts => self.cuts.first_after(&text[..most], piece_bytes),
            Cuts::AtSpaces | Cuts::Nowhere => most,
        }
    }

    /// The ids of one piece, without the special tokens of a template.
    fn encode_piece(&self, piece: &str) -> Result<Vec<u32>, TokenizerError> {
        let fast = match &self.fast {
            Ok(fast) => fast,
            Err(_) => {
                let encoding = self.inner.encode_fast(piece, false);
                let encoding = encoding.map_err(|error| self.failed(error.to_string()))?;
                return Ok(encoding.get_ids().to_vec());
            }
        };

        let (mut rest, mut ids) = (piece, Vec::new());
        while !rest.is_empty() {
            let (part, after) = rest.split_at(self.cuts.first_after(rest, FAST_BYTES));
            let of_part = fast::encode(fast, part).map_err(|reason| self.failed(reason))?;
            match ids.is_empty() {
                true => ids = of_part,
                false => ids.extend(of_part),
            }
            rest = after;
        }
        Ok(ids)
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
/// The least size of the parts of a piece that `fastokens` is given, in bytes. For 64 KiB and more
/// it would start threads of its own, unless a part has no line feed.
const FAST_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests;
