//! A model file, mapped into memory and read in place, and the log-probabilities of lines.
//!
//! A word is looked up among the unigrams by its number. Then each preceding word, the nearest
//! first, is looked up by binary search among the children of the node found so far (`build.rs`).
//! The last node found gives the probability, and the nodes on the way give the backoffs for the
//! next word. The words themselves are compared, so no collision can give a wrong probability.
//! Nothing in a file is trusted: a number that leads out of the file counts as an n-gram that is
//! absent.
//!
//! Cost: 2 to 3 million tokens per CPU second with models of order 5 over 4,096 subwords, of 129
//! and 52 MB (9.7 and 3.8 million n-grams), on 1.7 million tokens of other English technical prose,
//! one thread of a shared AMD EPYC.

use std::path::Path;

use crate::mapped::Bytes;
use crate::ngram::format::{HEADER_BYTES, Header, Layout, read_u32, slot};
use crate::ngram::{MAX_ORDER, NgramError, bos, build, eos, unk};

/// An n-gram model: the probabilities and the vocabulary.
pub struct Model {
    bytes: Bytes,
    header: Header,
    layout: Layout,
    digest: [u8; 32],
    file: String,
}

/// The score of one line under a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LineScore {
    /// Σ log₁₀ p over the tokens and the end of the line; at most 0.
    pub log10_sum: f64,
    /// Number of tokens in the line, without its end.
    pub tokens: u64,
    /// Number of tokens that the model does not know.
    pub oov: u64,
}

impl Model {
    /// Opens the model in a file. The file is mapped: pages are read when they are needed, and
    /// shared between processes.
    ///
    /// Sizes and the header's digest are checked; [`Model::verify`] reads the rest. The file must
    /// not be changed in place while it is mapped. Replace it instead.
    ///
    /// # Errors
    /// [`NgramError::Io`] or [`NgramError::Malformed`].
    pub fn open(path: &Path) -> Result<Model, NgramError> {
        let bytes = Bytes::map(path).map_err(NgramError::io("read", path))?;
        Model::new(path.display().to_string(), bytes)
    }

    /// The model in the bytes of a file. `name` names the file in messages.
    ///
    /// # Errors
    /// [`NgramError::Malformed`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Model, NgramError> {
        Model::new(name.to_owned(), Bytes::Owned(bytes))
    }

    fn new(file: String, bytes: Bytes) -> Result<Model, NgramError> {
        let (header, layout, digest) = Header::decode(&file, &bytes)?;
        Ok(Model {
            bytes,
            header,
            layout,
            digest,
            file,
        })
    }

    /// The bytes of the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the model to a file. An existing file is overwritten, so write to a new name and
    /// rename.
    ///
    /// # Errors
    /// [`NgramError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), NgramError> {
        std::fs::write(path, self.as_bytes()).map_err(NgramError::io("write", path))
    }

    /// Reads the whole file and compares its digest with the header's.
    ///
    /// # Errors
    /// [`NgramError::Malformed`].
    pub fn verify(&self) -> Result<(), NgramError> {
        let digest = blake3::hash(&self.bytes[HEADER_BYTES..]);
        if *digest.as_bytes() == self.header.payload_digest {
            return Ok(());
        }

        let reason = "the file is damaged: its digest differs".to_owned();
        Err(NgramError::Malformed {
            file: self.file.clone(),
            reason,
        })
    }

    /// The order of the model: the most tokens that an n-gram has.
    pub fn order(&self) -> usize {
        self.header.order
    }

    /// BLAKE3, in hex, of the header. The header holds the digest of everything else, so this
    /// digest names the model.
    pub fn digest(&self) -> String {
        blake3::Hash::from_bytes(self.digest).to_hex().to_string()
    }

    /// The tokenizer's name, as given when the model was made.
    pub fn tokenizer(&self) -> &str {
        &self.header.tokenizer
    }

    /// The tokens of the model.
    pub fn vocabulary(&self) -> Vocabulary<'_> {
        let part = |range: &std::ops::Range<usize>| &self.bytes[range.clone()];
        let layout = &self.layout;

        Vocabulary {
            model: self,
            ends: part(&layout.ends),
            slots: part(&layout.slots),
            names: part(&layout.names),
        }
    }

    /// The score of a line of token ids, which begins after `<s>` and ends with `</s>`.
    pub fn score_line(&self, tokens: &[u32]) -> LineScore {
        self.score(tokens.iter().copied())
    }

    /// The score of a line whose tokens are separated by ASCII white space: words, or the pieces
    /// that SentencePiece makes, joined by spaces.
    ///
    /// `<s>`, `</s>` and `<unk>` in a line are unknown tokens. KenLM instead takes `<s>` and `</s>`
    /// for the beginning and the end of a line.
    pub fn score_pieces(&self, line: &str) -> LineScore {
        let vocabulary = self.vocabulary();

        // The white space of Python's `bytes.split`, which the `kenlm` package calls. The one of
        // `split_ascii_whitespace` lacks the vertical tab.
        let pieces = line
            .split(|c: char| matches!(c, '\t'..='\r' | ' '))
            .filter(|piece| !piece.is_empty());

        // A vocabulary is never so large that `u32::MAX` is a token.
        self.score(pieces.map(|piece| vocabulary.id(piece).unwrap_or(u32::MAX)))
    }

    /// The score of a line of token ids; unknown ids are scored as `<unk>`.
    fn score(&self, tokens: impl Iterator<Item = u32>) -> LineScore {
        let trie = self.trie();
        let vocabulary = self.header.vocabulary;
        let mut state = State::empty();
        // `<s>` is context alone: its own probability is not part of the score.
        state.step(&trie, bos(vocabulary));

        let mut score = LineScore::default();
        for token in tokens {
            let known = trie.knows(token);
            score.tokens += 1;
            score.oov += u64::from(!known);
            score.log10_sum += state.step(&trie, if known { token } else { unk(vocabulary) });
        }

        score.log10_sum += state.step(&trie, eos(vocabulary));
        score
    }

    /// The n-grams, without the vocabulary.
    pub(super) fn trie(&self) -> Trie<'_> {
        let levels = std::array::from_fn(|level| Level {
            bytes: &self.bytes[self.layout.levels[level].clone()],
            stride: self.header.stride(level),
            nodes: self.header.nodes[level],
        });

        Trie {
            levels,
            order: self.header.order,
            vocabulary: self.header.vocabulary,
        }
    }
}

/// A node of the trie. The path from the root spells an n-gram backwards: the node's own word is
/// the n-gram's first.
#[derive(Clone, Copy)]
pub(super) struct Node {
    /// The first word of the n-gram.
    pub word: u32,
    /// Log₁₀ probability; NaN if the model lacks the n-gram.
    pub prob: f32,
    /// Log₁₀ backoff; 0 in the highest order.
    pub backoff: f32,
    /// Where the children are in the next level, as a half-open range.
    pub children: (usize, usize),
}

/// The node of a token that the model does not hold.
const NO_NODE: Node = Node {
    word: 0,
    prob: f32::NAN,
    backoff: 0.0,
    children: (0, 0),
};

/// The nodes of one order.
#[derive(Clone, Copy)]
pub(super) struct Level<'a> {
    bytes: &'a [u8],
    stride: usize,
    pub nodes: usize,
}

impl Level<'_> {
    /// The node at `at`, which must be below `nodes`.
    #[inline]
    pub fn node(&self, at: usize) -> Node {
        let read = |field: usize| read_u32(self.bytes, at * self.stride + field).unwrap_or(0);
        let (word, prob) = (read(0), f32::from_bits(read(4)));

        if self.stride == 8 {
            return Node {
                word,
                prob,
                backoff: 0.0,
                children: (0, 0),
            };
        }

        // Byte 28 is the first child of the next record, where this node's children end. The last
        // node has a closing record behind it.
        Node {
            word,
            prob,
            backoff: f32::from_bits(read(8)),
            children: (read(12) as usize, read(28) as usize),
        }
    }

    /// The place of `word` among the nodes from `low` to `high`; `None` if `word` is absent.
    #[inline]
    fn find(&self, (mut low, high): (usize, usize), word: u32) -> Option<usize> {
        // A damaged file may name children behind the end of the level.
        let mut high = high.min(self.nodes);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = read_u32(self.bytes, middle * self.stride)?;

            if found == word {
                return Some(middle);
            }
            if found < word {
                low = middle + 1
            } else {
                high = middle
            }
        }
        None
    }
}

/// The n-grams of a model, found by their last word, then by the word before it, and so on.
pub(super) struct Trie<'a> {
    pub levels: [Level<'a>; MAX_ORDER],
    pub order: usize,
    pub vocabulary: usize,
}

impl Trie<'_> {
    /// The node of a token or of a special one; [`NO_NODE`] for other numbers.
    #[inline]
    fn unigram(&self, token: u32) -> Node {
        if (token as usize) < self.levels[0].nodes {
            self.levels[0].node(token as usize)
        } else {
            NO_NODE
        }
    }

    /// Whether the model has a probability for a token; false for special ones.
    #[inline]
    pub fn knows(&self, token: u32) -> bool {
        (token as usize) < self.vocabulary && !self.unigram(token).prob.is_nan()
    }
}

/// The context of the next word: the words before it, and their backoffs.
pub(super) struct State {
    /// The preceding words, the last one first.
    words: [u32; MAX_ORDER - 1],
    /// How many words of `words` are set; at most the order less 1.
    context: usize,
    /// `backoffs[i]` is the log₁₀ backoff of the last `i + 1` words.
    backoffs: [f32; MAX_ORDER],
    /// How many backoffs are set. Longer contexts have none, which counts as 0.
    found: usize,
}

impl State {
    /// The state before any word.
    pub fn empty() -> State {
        State {
            words: [0; MAX_ORDER - 1],
            context: 0,
            backoffs: [0.0; MAX_ORDER],
            found: 0,
        }
    }

    /// Makes `word` the last word of the context.
    fn push(&mut self, word: u32, order: usize) {
        self.words.copy_within(..MAX_ORDER - 2, 1);
        self.words[0] = word;
        self.context = (self.context + 1).min(order - 1);
    }

    /// Log₁₀ p of `word` after the context. Then `word` becomes the last word of the context.
    #[inline]
    pub fn step(&mut self, trie: &Trie, word: u32) -> f64 {
        let mut node = trie.unigram(word);
        let mut backoffs = [0.0; MAX_ORDER];
        backoffs[0] = node.backoff;

        let (mut prob, mut matched, mut found) = (node.prob, 1, 1);

        // The context has fewer words than the order, so `found` is a level of the model.
        for &before in &self.words[..self.context] {
            let Some(at) = trie.levels[found].find(node.children, before) else {
                break;
            };
            node = trie.levels[found].node(at);
            backoffs[found] = node.backoff;
            found += 1;

            // A node without a probability only leads to longer n-grams.
            if !node.prob.is_nan() {
                (prob, matched) = (node.prob, found);
            }
        }

        // Each context longer than the context of the n-gram found costs its backoff. An n-gram of
        // `matched` words has a context of `matched - 1`.
        let backoff: f32 = self.backoffs[..self.found].iter().skip(matched - 1).sum();

        (self.backoffs, self.found) = (backoffs, found);
        self.push(word, trie.order);

        f64::from(prob) + f64::from(backoff)
    }
}

/// The tokens of a model, by number and by name.
#[derive(Clone, Copy)]
pub struct Vocabulary<'a> {
    model: &'a Model,
    ends: &'a [u8],
    slots: &'a [u8],
    names: &'a [u8],
}

impl<'a> Vocabulary<'a> {
    /// The number of tokens, without `<unk>`, `<s>` and `</s>`.
    pub fn len(&self) -> usize {
        self.model.header.vocabulary
    }

    /// Whether the vocabulary has no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// BLAKE3, in hex, of the tokens' names in the order of their ids.
    pub fn digest(&self) -> String {
        blake3::Hash::from_bytes(self.model.header.vocabulary_digest)
            .to_hex()
            .to_string()
    }

    /// Whether these are the tokens `pieces`, in this order. Otherwise an id of one vocabulary
    /// means another token in the other.
    pub fn is<S: AsRef<str>>(&self, pieces: &[S]) -> bool {
        self.model.header.vocabulary_digest == build::vocabulary_digest(pieces)
    }

    /// The name of a token; `None` if the id is not a token's.
    pub fn piece(&self, id: u32) -> Option<&'a str> {
        if id as usize >= self.len() {
            return None;
        }

        // The file is not trusted: an end behind the names, or a cut in a character, gives `None`.
        let end = |at: usize| read_u32(self.ends, at * 4).map(|end| end as usize);
        str::from_utf8(self.names.get(end(id as usize)?..end(id as usize + 1)?)?).ok()
    }

    /// The id of the token called `piece`; `None` if no token has this name.
    pub fn id(&self, piece: &str) -> Option<u32> {
        let slots = self.slots.len() / 4;
        let first = slot(piece, slots);

        // A free slot ends the search, and more than half of the slots are free. A damaged file may
        // have none, so each slot is read at most once.
        for at in (first..slots).chain(0..first) {
            let id = read_u32(self.slots, at * 4)?.checked_sub(1)?;
            if self.piece(id) == Some(piece) {
                return Some(id);
            }
        }
        None
    }
}
