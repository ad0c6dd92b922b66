//! Training: sentences of token ids in, a model out.
//!
//! `count.rs` counts the n-grams of the highest order, `kneser_ney.rs` makes probabilities of the
//! counts, and `build.rs` makes the file. The bytes depend on the text and the settings alone, not
//! on memory or threads.
//!
//! Cost: 38 million tokens (91 MB of English technical prose, order 5, `memory_bytes` 256 MiB) took
//! 25 CPU seconds and 870 MB at the peak. Most of the memory holds the 9.7 million n-grams that
//! are kept.

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
    /// Pruning thresholds, one per order from unigrams on: an n-gram is dropped if it occurs this
    /// often or less. The values never fall, and the first is 0. The last value also holds for
    /// higher orders. An empty list prunes nothing.
    pub prune: Vec<u64>,
    /// D1, D2 and D3+ for an order whose counts of counts give no discounts, above 0 and at most 1,
    /// 2 and 3. With `None` such an order is an error. A small vocabulary gives no discounts for
    /// unigrams.
    pub discount_fallback: Option<[f64; 3]>,
    /// Memory for counting in bytes, whatever the length of the text. The n-grams that are kept
    /// come on top, some 70 bytes each.
    pub memory_bytes: usize,
    /// Directory for the n-grams that do not fit in memory: `4 · order + 8` bytes of disk each.
    pub spill_dir: PathBuf,
    /// The tokenizer's name and version for the model's header, at most 336 bytes.
    pub tokenizer: String,
}

impl TrainConfig {
    /// The default settings: order 5, n-grams of order 3 and more dropped if they occur once, the
    /// fallback of `lmplz`, and 1 GiB of memory.
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

    /// The threshold of an order: an n-gram is dropped if it occurs this often or less.
    pub(super) fn threshold(&self, order: usize) -> u64 {
        self.prune
            .get(order - 1)
            .or(self.prune.last())
            .copied()
            .unwrap_or(0)
    }

    /// Checks the settings before any sentence is read.
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
                "0 for unigrams, then values that never fall",
            );
        }

        match self.discount_fallback {
            Some(fallback) if !are_discounts(&fallback) => wrong(
                "discount_fallback",
                format!("{fallback:?}"),
                "three numbers above 0 and at most 1, 2 and 3",
            ),
            _ => Ok(()),
        }
    }
}

/// Whether each value takes something from its count, and no more than the count. NaN fails.
fn are_discounts(fallback: &[f64; 3]) -> bool {
    fallback
        .iter()
        .zip(1..)
        .all(|(&d, most)| 0.0 < d && d <= f64::from(most))
}

/// Counts of a finished training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSummary {
    /// Sentences, empty ones included.
    pub sentences: u64,
    /// Tokens in the sentences, without the sentences' ends.
    pub tokens: u64,
    /// How many full buffers of n-grams went to disk.
    pub spills: usize,
    /// A summary of each order, from unigrams on.
    pub orders: Vec<OrderSummary>,
}

/// Counts and discounts of one order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderSummary {
    /// Different n-grams in the text.
    pub seen: u64,
    /// Different n-grams that the model keeps.
    pub kept: u64,
    /// D1, D2 and D3+: what is taken from counts of 1, of 2, and of 3 or more.
    pub discounts: [f64; 3],
    /// The reason why the discounts are the fallback's; `None` if they are estimated.
    pub fell_back: Option<String>,
    /// How many n-grams have an adjusted count of 1, 2, 3 and 4.
    pub counts_of_counts: [u64; 4],
}

/// Learns a model from sentences of token ids. `pieces` are the names of the tokens 0, 1, 2 …
///
/// An id below `pieces.len()` that no sentence has is unknown to the model. The errors of the
/// caller's iterator are returned as they are.
///
/// # Errors
/// [`NgramError::Config`], [`NgramError::TokenId`], [`NgramError::Empty`],
/// [`NgramError::Discount`], [`NgramError::Io`], [`NgramError::Piece`] or [`NgramError::TooLarge`].
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

    // `N` is a parameter of the type, so that an n-gram is an array of 4 · N bytes.
    match config.order {
        1 => train_order::<1, _, _, _>(sentences, pieces, config),
        2 => train_order::<2, _, _, _>(sentences, pieces, config),
        3 => train_order::<3, _, _, _>(sentences, pieces, config),
        4 => train_order::<4, _, _, _>(sentences, pieces, config),
        5 => train_order::<5, _, _, _>(sentences, pieces, config),
        _ => train_order::<6, _, _, _>(sentences, pieces, config),
    }
}

/// The training of order `N`, whose settings are checked.
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
    // The buffer of the counter and the indices are large: each is freed before the next step
    // allocates.
    drop(counter);
    interpolate(&mut levels, &indices, &orders, unk(vocabulary));
    drop(indices);

    summary.orders = orders;
    Ok((
        build(&config.tokenizer, pieces, entries(levels, vocabulary))?,
        summary,
    ))
}

/// Counts the n-grams of the highest order of a sentence, from its first token to `</s>`.
fn add_sentence<const N: usize>(
    counter: &mut Counter<N>,
    sentence: &[u32],
    vocabulary: usize,
) -> Result<(), NgramError> {
    // A short context is filled up with `<s>`. `visit` skips n-grams with more than one of them.
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
