//! The dictionary of a model: its words, its labels, and the rows of a text's words and n-grams.
//!
//! A token is a run of bytes between ASCII white space (or the byte 0). It has the row of its word,
//! if the dictionary has the word, and a row for each of its character n-grams, hashed with FNV-1a
//! over *signed* bytes into `bucket` rows. Word n-grams are hashed out of the tokens' hashes.
//! A pruned dictionary keeps the rows of some n-grams only.

use super::reader::{Fault, Reader, Result};
use super::slots::Slots;

/// The longest character or word n-grams that a model may have. Common models have up to 6. Time
/// grows with this number, so an absurd one is refused.
const NGRAM_MAX: i32 = 64;

/// The token that stands for the end of a line.
const END: &[u8] = b"</s>";

/// The start of the tokens that are labels and not words.
const LABEL: &[u8] = b"__label__";

/// The settings of a model that matter when it reads a text.
pub(super) struct Args {
    pub(super) dim: usize,
    pub(super) loss: i32,
    word_ngrams: usize,
    bucket: u32,
    minn: usize,
    maxn: usize,
}

impl Args {
    /// Reads the settings of a model of this version of the format, 11 or 12.
    pub(super) fn read(reader: &mut Reader, version: i32) -> Result<Args> {
        let dim = reader.i32_in("dim", 1..i32::MAX)? as usize;
        for unused in ["ws", "epoch", "minCount", "neg"] {
            reader.i32(unused)?;
        }
        let word_ngrams = reader.i32_in("wordNgrams", 0..NGRAM_MAX + 1)? as usize;
        let loss = reader.i32_in("loss", 1..5)?;

        let at = reader.at();
        let model = reader.i32("model")?;
        if model != 3 {
            let reason = format!("model is {model}, expected 3: a supervised model, with labels");
            return Err(Fault { at, reason });
        }

        let bucket = reader.i32_in("bucket", 0..i32::MAX)? as u32;
        let minn = reader.i32_in("minn", 0..NGRAM_MAX + 1)? as usize;
        let maxn = reader.i32_in("maxn", 0..NGRAM_MAX + 1)? as usize;
        reader.i32("lrUpdateRate")?;
        reader.i64("t")?;

        // Models before version 12 were read without character n-grams, whatever they say.
        let maxn = if version == 11 { 0 } else { maxn };
        Ok(Args {
            dim,
            loss,
            word_ngrams,
            bucket,
            minn,
            maxn,
        })
    }

    /// True if the model hashes n-grams.
    fn has_ngrams(&self) -> bool {
        self.maxn > 0 || self.word_ngrams > 1
    }
}

/// Which n-grams have a row.
enum Ngrams {
    /// All of them.
    All,
    /// Those in the table, which maps a hashed n-gram to its row after those of the words.
    Some(Slots),
    /// None of them.
    None,
}

/// The words and labels of a model.
pub(super) struct Dictionary {
    args: Args,
    /// The offset of each word in the file.
    words: Vec<usize>,
    /// Ids of words and labels by their hash. Labels come after the words.
    ids: Slots,
    /// The labels, with `__label__`, and how often each was seen in training.
    pub(super) labels: Vec<(String, i64)>,
    ngrams: Ngrams,
    remainder: Remainder,
    /// The rows that a text may name.
    pub(super) rows: usize,
    /// True if n-grams were pruned, which only a quantised model may have.
    pub(super) is_pruned: bool,
}

impl Dictionary {
    /// Reads the dictionary out of `file`, at which `reader` stands.
    pub(super) fn read(file: &[u8], reader: &mut Reader, args: Args) -> Result<Dictionary> {
        let at = reader.at();
        let [size, words, labels] = ["size", "nwords", "nlabels"].map(|what| reader.i32(what));
        let (size, words, labels) = (size?, words?, labels?);
        reader.i64("ntokens")?;
        let pruned = reader.i64("pruneidx_size")?;

        // An entry has at least a byte 0, a count and a type.
        let most = reader.left() / 10;
        let is_sum = words >= 0 && labels >= 1 && words.checked_add(labels) == Some(size);
        if !is_sum || size as usize > most {
            let reason = format!(
                "the dictionary says {words} words, {labels} labels and {size} entries, expected \
                 at least a label, their sum, and at most {most} entries in a file of this size"
            );
            return Err(Fault { at, reason });
        }

        let mut dictionary = Dictionary {
            words: Vec::with_capacity(words as usize),
            ids: Slots::new(size as usize),
            labels: Vec::with_capacity(labels as usize),
            ngrams: Ngrams::All,
            remainder: Remainder::by(args.bucket),
            rows: words as usize,
            is_pruned: pruned >= 0,
            args,
        };
        dictionary.read_entries(file, reader, size as u32, words as u32)?;
        dictionary.read_pruned(reader, pruned)?;
        Ok(dictionary)
    }

    fn read_entries(
        &mut self,
        file: &[u8],
        reader: &mut Reader,
        size: u32,
        words: u32,
    ) -> Result<()> {
        let mut places = Vec::with_capacity(size as usize);
        for id in 0..size {
            let at = reader.at();
            let place = reader.text("a word of the dictionary")?;
            let count = reader.i64("the count of a word")?;
            let kind = reader.byte("the type of a word")?;
            let is_label = id >= words;
            if kind != u8::from(is_label) {
                let reason = format!(
                    "entry {id} of the dictionary has type {kind}, expected {}",
                    u8::from(is_label)
                );
                return Err(Fault { at, reason });
            }

            let text = &file[place.clone()];
            if is_label {
                let label = str::from_utf8(text).map_err(|_| Fault {
                    at,
                    reason: format!("label {} is not UTF-8", id - words),
                })?;
                self.labels.push((label.to_owned(), count));
            } else {
                self.words.push(place.start);
            }
            places.push(place);

            // A repeated word has the last of its ids, as in the reference.
            let is_same = |other: u32| file[places[other as usize].clone()] == *text;
            let inserted = self.ids.insert(hash(text), id, is_same);
            inserted.ok_or_else(|| Fault {
                at,
                reason: format!("too many words have nearly the hash of entry {id}"),
            })?;
        }
        Ok(())
    }

    fn read_pruned(&mut self, reader: &mut Reader, pruned: i64) -> Result<()> {
        let at = reader.at();
        if pruned < 0 {
            if self.args.has_ngrams() {
                self.rows += self.args.bucket as usize;
            }
            return self.check_bucket(at);
        }

        let Ok(pruned @ 1..) = usize::try_from(pruned) else {
            self.ngrams = Ngrams::None;
            return Ok(());
        };
        if pruned > reader.left() / 8 {
            let reason = format!("pruneidx_size is {pruned}, more than the file has room for");
            return Err(Fault { at, reason });
        }

        let (mut table, mut most) = (Slots::new(pruned), 0);
        for _ in 0..pruned {
            let at = reader.at();
            let bucket = reader.i32("a pruned n-gram")?;
            let row = reader.i32_in("the row of a pruned n-gram", 0..i32::MAX)?;
            most = most.max(row as usize);
            // One entry for each bucket; the last one counts.
            let inserted = table.insert(bucket as u32, row as u32, |_| true);
            inserted.ok_or_else(|| Fault {
                at,
                reason: "too many pruned n-grams have nearly the same number".to_owned(),
            })?;
        }

        self.ngrams = Ngrams::Some(table);
        self.rows += most + 1;
        self.check_bucket(at)
    }

    fn check_bucket(&self, at: usize) -> Result<()> {
        match self.args.has_ngrams() && self.args.bucket == 0 {
            true => Err(Fault {
                at,
                reason: "the model has n-grams, but bucket is 0".to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// The id of a word or label.
    #[inline]
    fn id(&self, file: &[u8], token: &[u8], hash: u32) -> Option<u32> {
        let is_same = |id: u32| match self.words.get(id as usize) {
            // A token has no byte 0, so the word ends where the token does.
            Some(&start) => {
                let end = start + token.len();
                file.get(start..end) == Some(token) && file.get(end) == Some(&0)
            }
            None => self.labels[id as usize - self.words.len()].0.as_bytes() == token,
        };
        self.ids.find(hash, is_same)
    }

    /// Calls `add` with the rows of a text, in the order of the reference: the words with their
    /// character n-grams, then the n-grams of words. `add_end` adds the token for the end of a
    /// line. The text ends at a token that is spelt like this end.
    ///
    /// `scratch` is overwritten, and spares an allocation if it is used again.
    pub(super) fn rows(
        &self,
        file: &[u8],
        text: &str,
        add_end: bool,
        scratch: &mut Scratch,
        mut add: impl FnMut(u32),
    ) {
        scratch.hashes.clear();
        let tokens = text
            .as_bytes()
            .split(|byte| matches!(byte, 0 | b'\t'..=b'\r' | b' '))
            .filter(|token| !token.is_empty());

        for token in tokens.chain(add_end.then_some(END)) {
            self.token(file, token, scratch, &mut add);
            if token == END {
                break;
            }
        }

        if self.args.word_ngrams > 1 {
            self.word_ngrams(&scratch.hashes, &mut add);
        }
    }

    fn token(&self, file: &[u8], token: &[u8], scratch: &mut Scratch, add: &mut impl FnMut(u32)) {
        let hash = hash(token);
        let id = self.id(file, token, hash);

        // Labels in a text, known or not, are no part of it.
        match id {
            Some(id) if id as usize >= self.words.len() => return,
            Some(id) => add(id),
            None if token.starts_with(LABEL) => return,
            None => {}
        }

        // Only word n-grams read the hashes.
        if self.args.word_ngrams > 1 {
            scratch.hashes.push(hash as i32);
        }
        if self.args.maxn > 0 && token != END && !matches!(self.ngrams, Ngrams::None) {
            let word = &mut scratch.word;
            word.clear();
            word.push(b'<');
            word.extend_from_slice(token);
            word.push(b'>');
            self.char_ngrams(word, add);
        }
    }

    /// The n-grams of the characters of a word in `<` and `>`, without those that are one of these
    /// signs alone.
    fn char_ngrams(&self, word: &[u8], add: &mut impl FnMut(u32)) {
        let Args { minn, maxn, .. } = self.args;
        for start in 0..word.len() {
            if is_continuation(word[start]) {
                continue;
            }

            let (mut hash, mut end) = (FNV_OFFSET, start);
            for n in 1..=maxn {
                hash = fnv(hash, word[end]);
                end += 1;
                while end < word.len() && is_continuation(word[end]) {
                    hash = fnv(hash, word[end]);
                    end += 1;
                }

                let is_sign = n == 1 && (start == 0 || end == word.len());
                if n >= minn && !is_sign {
                    self.ngram(self.remainder.of(hash), add);
                }
                if end == word.len() {
                    break;
                }
            }
        }
    }

    fn word_ngrams(&self, hashes: &[i32], add: &mut impl FnMut(u32)) {
        for (i, &first) in hashes.iter().enumerate() {
            // The reference keeps hashes as signed numbers, whose sign is extended here.
            let mut hash = i64::from(first) as u64;
            for &next in hashes[i + 1..].iter().take(self.args.word_ngrams - 1) {
                hash = hash
                    .wrapping_mul(116_049_371)
                    .wrapping_add(i64::from(next) as u64);
                self.ngram((hash % u64::from(self.args.bucket)) as u32, add);
            }
        }
    }

    #[inline]
    fn ngram(&self, bucket: u32, add: &mut impl FnMut(u32)) {
        let row = match &self.ngrams {
            Ngrams::All => Some(bucket),
            Ngrams::Some(table) => table.find(bucket, |_| true),
            Ngrams::None => None,
        };
        if let Some(row) = row {
            add(self.words.len() as u32 + row);
        }
    }
}

/// The remainder of a division by a fixed number, by two multiplications (Lemire et al. 2019,
/// arXiv:1902.01961): the rows of a text are found in less time than with a division for each.
struct Remainder {
    divisor: u32,
    inverse: u64,
}

impl Remainder {
    /// For a divisor of 0 every remainder is 0; no model with n-grams has it.
    fn by(divisor: u32) -> Remainder {
        Remainder {
            divisor,
            inverse: (u64::MAX / u64::from(divisor.max(1))).wrapping_add(1),
        }
    }

    #[inline]
    fn of(&self, number: u32) -> u32 {
        let fraction = self.inverse.wrapping_mul(u64::from(number));
        ((u128::from(fraction) * u128::from(self.divisor)) >> 64) as u32
    }
}

/// Memory for the tokens of a text.
#[derive(Default)]
pub(super) struct Scratch {
    /// The hashes of the words.
    hashes: Vec<i32>,
    /// A word with its signs.
    word: Vec<u8>,
}

const FNV_OFFSET: u32 = 2_166_136_261;

/// A step of FNV-1a, where the byte is signed as in the reference.
#[inline]
fn fnv(hash: u32, byte: u8) -> u32 {
    (hash ^ (byte as i8) as u32).wrapping_mul(16_777_619)
}

fn hash(token: &[u8]) -> u32 {
    token.iter().fold(FNV_OFFSET, |hash, &byte| fnv(hash, byte))
}

/// True for a byte within a character of UTF-8.
#[inline]
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remainder_is_that_of_the_division() {
        for divisor in [1, 2, 3, 7, 300, 2_000_000, i32::MAX as u32 - 1, u32::MAX] {
            let remainder = Remainder::by(divisor);
            for number in (0..4_000).flat_map(|i: u32| [i, i.wrapping_mul(0x9e37_79b9), !i]) {
                assert_eq!(
                    remainder.of(number),
                    number % divisor,
                    "{number} % {divisor}"
                );
            }
        }
        assert_eq!(Remainder::by(0).of(7), 0);
    }

    #[test]
    fn bytes_are_signed() {
        // 0xc3 is -61, so the step flips the upper bits, too.
        assert_eq!(fnv(0, 0xc3), 0xffff_ffc3_u32.wrapping_mul(16_777_619));
        assert_eq!(hash(b""), FNV_OFFSET);
    }
}
