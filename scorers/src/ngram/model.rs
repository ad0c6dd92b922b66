//! A model file, mapped into memory and read in place, and the log-probabilities of lines.
//!
//! A word is looked up among the unigrams by its number; then, for one preceding word after
//! another, by binary search among the children of the node found so far (`build.rs`). What is
//! found gives the probability, and the backoffs for the next word. The words are compared
//! themselves: no collision can give a wrong probability. Nothing in a file is trusted: a number
//! that leads out of it is as good as an n-gram that is not there. Cost: 2 to 3 million tokens per
//! CPU second with models of order 5 over 4,096 subwords, of 129 and 52 MB (9.7 and 3.8 million
//! n-grams), on 1.7 million tokens of other English technical prose, one thread of a shared AMD
//! EPYC.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::ngram::format::{HEADER_BYTES, Header, Layout, read_u32, slot};
use crate::ngram::{MAX_ORDER, NgramError, bos, build, eos, unk};

/// An n-gram model: probabilities and the vocabulary.
pub struct Model {
    bytes: Bytes,
    header: Header,
    layout: Layout,
    digest: [u8; 32],
    file: String,
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// What a model says of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LineScore {
    /// Σ log₁₀ p over the tokens and the end of the line; at most 0.
    pub log10_sum: f64,
    /// Tokens in the line, without its end.
    pub tokens: u64,
    /// How many of them the model does not know.
    pub oov: u64,
}

impl Model {
    /// The model in a file, mapped: pages are read when they are needed, and shared between
    /// processes.
    ///
    /// Sizes and the header's digest are checked; [`Model::verify`] reads the rest. The file must
    /// not be changed in place while it is mapped: replace it instead.
    ///
    /// # Errors
    /// [`NgramError::Io`], [`NgramError::Malformed`].
    #[expect(
        unsafe_code,
        reason = "a mapped file may be changed by others; what is read from it is never trusted"
    )]
    pub fn open(path: &Path) -> Result<Model, NgramError> {
        let file = File::open(path).map_err(NgramError::io("read", path))?;
        // SAFETY: numbers are read out of the map as bytes, and every index made of them is
        // checked. A file that shrinks while it is mapped ends the process by a signal; the
        // documentation says so.
        let map = unsafe { Mmap::map(&file) }.map_err(NgramError::io("read", path))?;
        Model::new(path.display().to_string(), Bytes::Mapped(map))
    }

    /// The model in the bytes of a file; `name` is for messages.
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

    /// Writes the file; one that is there is overwritten, so write to a new name and rename.
    ///
    /// # Errors
    /// [`NgramError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), NgramError> {
        std::fs::write(path, self.as_bytes()).map_err(NgramError::io("write", path))
    }

    /// Reads all of the file and compares its digest with the header's.
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

    /// The order: the most tokens that an n-gram has.
    pub fn order(&self) -> usize {
        self.header.order
    }

    /// BLAKE3, in hex, of the header, which holds the digest of all else: it names the model.
    pub fn digest(&self) -> String {
        blake3::Hash::from_bytes(self.digest).to_hex().to_string()
    }

    /// What the one who made the model said of its tokenizer.
    pub fn tokenizer(&self) -> &str {
        &self.header.tokenizer
    }

    /// The tokens.
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

    /// What the model says of a line of token ids, which begins after `<s>` and ends with `</s>`.
    pub fn score_line(&self, tokens: &[u32]) -> LineScore {
        self.score(tokens.iter().copied())
    }

    /// What the model says of a line whose tokens are between ASCII white space: words, or the
    /// pieces that SentencePiece makes, joined by spaces.
    ///
    /// `<s>`, `</s>` and `<unk>` in a line are unknown tokens; KenLM takes the first two for what
    /// they are called.
    pub fn score_pieces(&self, line: &str) -> LineScore {
        let vocabulary = self.vocabulary();
        // Python's `bytes.split`, which the `kenlm` package calls; Rust's has no vertical tab.
        let is_space = |c: char| matches!(c, '\t'..='\r' | ' ');
        let pieces = line.split(is_space).filter(|piece| !piece.is_empty());
        self.score(pieces.map(|piece| vocabulary.id(piece).unwrap_or(u32::MAX)))
    }

    fn score(&self, tokens: impl Iterator<Item = u32>) -> LineScore {
        let trie = self.trie();
        let vocabulary = self.header.vocabulary;
        let mut state = State::empty();
        // What `<s>` costs counts for nothing.
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

/// A node: the last word of its path from the root is the first word of its n-gram.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub word: u32,
    pub prob: f32,
    /// 0 in the highest order.
    pub backoff: f32,
    /// Where the children are in the next level.
    pub children: (usize, usize),
}

/// A node of a model that the file does not hold.
const NO_NODE: Node = Node {
    word: 0,
    prob: f32::NAN,
    backoff: 0.0,
    children: (0, 0),
};

#[derive(Clone, Copy)]
pub(super) struct Level<'a> {
    bytes: &'a [u8],
    stride: usize,
    pub nodes: usize,
}

impl Level<'_> {
    /// The node at `at`, which must be one of this level's.
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
        Node {
            word,
            prob,
            backoff: f32::from_bits(read(8)),
            children: (read(12) as usize, read(28) as usize),
        }
    }

    /// Where `word` is among the nodes from `low` to `high`.
    #[inline]
    fn find(&self, (mut low, high): (usize, usize), word: u32) -> Option<usize> {
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

/// The n-grams of a model, by their last word, the one before, and so on.
pub(super) struct Trie<'a> {
    pub levels: [Level<'a>; MAX_ORDER],
    pub order: usize,
    pub vocabulary: usize,
}

impl Trie<'_> {
    /// The node of a token, which may be a special one.
    #[inline]
    fn unigram(&self, token: u32) -> Node {
        if (token as usize) < self.levels[0].nodes {
            self.levels[0].node(token as usize)
        } else {
            NO_NODE
        }
    }

    #[inline]
    pub fn knows(&self, token: u32) -> bool {
        (token as usize) < self.vocabulary && !self.unigram(token).prob.is_nan()
    }
}

/// What the next word depends on: the words before it, and their backoffs.
pub(super) struct State {
    /// The last word first.
    words: [u32; MAX_ORDER - 1],
    /// How many of the words there are.
    context: usize,
    /// `backoffs[i]` is that of the last `i + 1` words.
    backoffs: [f32; MAX_ORDER],
    /// How many of the backoffs there are; those of longer contexts are 0.
    found: usize,
}

impl State {
    /// Before any word.
    pub fn empty() -> State {
        State {
            words: [0; MAX_ORDER - 1],
            context: 0,
            backoffs: [0.0; MAX_ORDER],
            found: 0,
        }
    }

    fn push(&mut self, word: u32, order: usize) {
        self.words.copy_within(..MAX_ORDER - 2, 1);
        self.words[0] = word;
        self.context = (self.context + 1).min(order - 1);
    }

    /// Log₁₀ p of `word`, which then belongs to the context.
    #[inline]
    pub fn step(&mut self, trie: &Trie, word: u32) -> f64 {
        let mut node = trie.unigram(word);
        let mut backoffs = [0.0; MAX_ORDER];
        backoffs[0] = node.backoff;
        let (mut prob, mut matched, mut found) = (node.prob, 1, 1);
        for &before in &self.words[..self.context] {
            let Some(at) = trie.levels[found].find(node.children, before) else {
                break;
            };
            node = trie.levels[found].node(at);
            backoffs[found] = node.backoff;
            found += 1;
            if !node.prob.is_nan() {
                (prob, matched) = (node.prob, found);
            }
        }
        // A longer context than that of the n-gram found costs its backoff; `matched` words have
        // `matched - 1` before the last.
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
    /// How many tokens there are, without `<unk>`, `<s>` and `</s>`.
    pub fn len(&self) -> usize {
        self.model.header.vocabulary
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// BLAKE3, in hex, of the names in order.
    pub fn digest(&self) -> String {
        blake3::Hash::from_bytes(self.model.header.vocabulary_digest)
            .to_hex()
            .to_string()
    }

    /// Whether these are the tokens `pieces`, in this order: else ids of the one mean nothing to
    /// the other.
    pub fn is<S: AsRef<str>>(&self, pieces: &[S]) -> bool {
        self.model.header.vocabulary_digest == build::vocabulary_digest(pieces)
    }

    /// The name of a token; `None` if there is none.
    pub fn piece(&self, id: u32) -> Option<&'a str> {
        if id as usize >= self.len() {
            return None;
        }
        let end = |at: usize| read_u32(self.ends, at * 4).map(|end| end as usize);
        str::from_utf8(self.names.get(end(id as usize)?..end(id as usize + 1)?)?).ok()
    }

    /// The token of a name; `None` if there is none.
    pub fn id(&self, piece: &str) -> Option<u32> {
        let slots = self.slots.len() / 4;
        let first = slot(piece, slots);
        // Free slots end the search: half of them are. In a damaged file there may be none.
        for at in (first..slots).chain(0..first) {
            let id = read_u32(self.slots, at * 4)?.checked_sub(1)?;
            if self.piece(id) == Some(piece) {
                return Some(id);
            }
        }
        None
    }
}
