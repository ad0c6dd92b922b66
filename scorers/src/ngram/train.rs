//! Training: sentences of token ids in, a model out.
//!
//! `count.rs` counts the n-grams of the highest order, `kneser_ney.rs` makes probabilities of the
//! counts, `build.rs` the file. The bytes depend on the text and the settings alone, not on memory
//! or threads. Cost: 38 million tokens (91 MB of English technical prose, order 5, `memory_bytes`
//! 256 MiB) took 25 CPU seconds and 870 MB at the peak, most of which are the 9.7 million n-grams
//! that are kept.

use std::path::PathBuf;

use crate::ngram::build::build;
use crate::ngram::count::Counter;
use crate::ngram::kneser_ney::{entries, indices, interpolate, select, sum_contexts};
use crate::ngram::model::Model;
use crate::ngram::{MAX_ORDER, NgramError, bos, eos, unk};

/// Settings of the training.
#[derive(Clone, Debug)]
pub struct TrainConfig {
    /// The order, 1 to [`MAX_ORDER`].
    pub order: usize,
    /// Per order, from unigrams on: n-grams that occur this often or less are dropped. Not falling,
    /// 0 for unigrams; the last one holds for higher orders too, none is 0.
    pub prune: Vec<u64>,
    /// D1, D2 and D3+ of an order whose counts of counts give none; `None`: that is an error. A
    /// small vocabulary gives none for unigrams.
    pub discount_fallback: Option<[f64; 3]>,
    /// Bytes for counting, whatever the length of the text. The n-grams that are kept come on top,
    /// some 70 bytes each.
    pub memory_bytes: usize,
    /// Where n-grams go for which memory does not suffice: on each of them `4 · order + 8` bytes.
    pub spill_dir: PathBuf,
    /// The tokenizer's name and version, for the model's header; at most 336 bytes.
    pub tokenizer: String,
}

impl TrainConfig {
    /// Order 5, n-grams of order 3 and more dropped if they occur once, the fallback of `lmplz`, 1
    /// GiB.
    pub fn new(tokenizer: &str, spill_dir: PathBuf) -> TrainConfig {
        TrainConfig {
            order: 5,
            prune: vec![0, 0, 1],
            discount_fallback: Some([0.5, 1.0, 1.5]),
            memory_bytes: 1 << 30,
            spill_dir,
            tokenizer: tokenizer.to_owned(),
        }
    }

    pub(super) fn threshold(&self, order: usize) -> u64 {
        self.prune
            .get(order - 1)
            .or(self.prune.last())
            .copied()
            .unwrap_or(0)
    }

    fn check(&self) -> Result<(), NgramError> {
        let wrong = |key, found: String, expected| {
            Err(NgramError::Config {
                key,
                found,
                expected,
            })
        };
        if !(1..=MAX_ORDER).contains(&self.order) {
            return wrong("order", self.order.to_string(), "1 to 6");
        }
        if self.prune.first().is_some_and(|&first| first != 0) || !self.prune.is_sorted() {
            return wrong(
                "prune",
                format!("{:?}", self.prune),
                "0 for unigrams, then no less than for the order before",
            );
        }
        let fits = |fallback: [f64; 3]| {
            fallback
                .iter()
                .zip(1..)
                .all(|(&d, most)| 0.0 < d && d <= f64::from(most))
        };
        match self.discount_fallback {
            Some(fallback) if !fits(fallback) => wrong(
                "discount_fallback",
                format!("{fallback:?}"),
                "three numbers above 0, at most 1, 2 and 3",
            ),
            _ => Ok(()),
        }
    }
}

/// What the training found.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSummary {
    /// Sentences, empty ones included.
    pub sentences: u64,
    /// Tokens in them.
    pub tokens: u64,
    /// How often counts went to disk.
    pub spills: usize,
    /// Per order, from unigrams on.
    pub orders: Vec<OrderSummary>,
}

/// What the training found of one order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderSummary {
    /// Different n-grams in the text.
    pub seen: u64,
    /// Those that were kept.
    pub kept: u64,
    /// D1, D2, D3+.
    pub discounts: [f64; 3],
    /// Why they are the fallback's, if they are.
    pub fell_back: Option<String>,
    /// How many n-grams have an adjusted count of 1, 2, 3 and 4.
    pub counts_of_counts: [u64; 4],
}

/// Learns a model from sentences of token ids; `pieces` are the names of the tokens 0, 1, 2 …
///
/// An id below `pieces.len()` that no sentence has is unknown to the model. The caller's errors
/// pass through.
///
/// # Errors
/// [`NgramError::Config`], [`NgramError::TokenId`], [`NgramError::Empty`],
/// [`NgramError::Discount`], [`NgramError::Io`], and those of the vocabulary and of size.
pub fn train<T, E, S>(
    sentences: impl IntoIterator<Item = Result<T, E>>,
    pieces: &[S],
    config: &TrainConfig,
) -> Result<(Model, TrainSummary), E>
where
    T: AsRef<[u32]>,
    E: From<NgramError>,
    S: AsRef<str>,
{
    config.check()?;
    match config.order {
        1 => train_order::<1, _, _, _>(sentences, pieces, config),
        2 => train_order::<2, _, _, _>(sentences, pieces, config),
        3 => train_order::<3, _, _, _>(sentences, pieces, config),
        4 => train_order::<4, _, _, _>(sentences, pieces, config),
        5 => train_order::<5, _, _, _>(sentences, pieces, config),
        _ => train_order::<6, _, _, _>(sentences, pieces, config),
    }
}

fn train_order<const N: usize, T: AsRef<[u32]>, E: From<NgramError>, S: AsRef<str>>(
    sentences: impl IntoIterator<Item = Result<T, E>>,
    pieces: &[S],
    config: &TrainConfig,
) -> Result<(Model, TrainSummary), E> {
    let vocabulary = pieces.len();
    let mut counter = Counter::<N>::new(config.memory_bytes, &config.spill_dir);
    let mut summary = TrainSummary {
        sentences: 0,
        tokens: 0,
        spills: 0,
        orders: Vec::new(),
    };
    for sentence in sentences {
        let sentence = sentence?;
        add_sentence(&mut counter, sentence.as_ref(), vocabulary)?;
        summary.sentences += 1;
        summary.tokens += sentence.as_ref().len() as u64;
    }
    if summary.sentences == 0 {
        return Err(NgramError::Empty.into());
    }
    counter.finish();
    summary.spills = counter.spills;
    let (mut levels, orders) = select(&counter, vocabulary, config)?;
    let indices = indices(&levels)?;
    sum_contexts(&counter, &mut levels, &indices, &orders, config)?;
    drop(counter);
    interpolate(&mut levels, &indices, &orders, unk(vocabulary));
    drop(indices);
    summary.orders = orders;
    Ok((
        build(&config.tokenizer, pieces, entries(levels, vocabulary))?,
        summary,
    ))
}

fn add_sentence<const N: usize>(
    counter: &mut Counter<N>,
    sentence: &[u32],
    vocabulary: usize,
) -> Result<(), NgramError> {
    let mut words = [bos(vocabulary); N];
    for &word in sentence {
        if word as usize >= vocabulary {
            return Err(NgramError::TokenId {
                id: word,
                vocabulary,
            });
        }
        words.copy_within(..N - 1, 1);
        words[0] = word;
        counter.add(words)?;
    }
    words.copy_within(..N - 1, 1);
    words[0] = eos(vocabulary);
    counter.add(words)
}
