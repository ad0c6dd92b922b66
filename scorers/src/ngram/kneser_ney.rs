//! Interpolated modified Kneser–Ney: from counts to probabilities.
//!
//! Chen & Goodman 1998 (section 5.3) as estimated by Heafield et al. 2013. For an n-gram of context
//! c and word w with count a: `p(w | c) = (a − D(a)) / Σ_v a(c v) + γ(c) · p(w | c')`, where c' is
//! c without its first word. Below the unigrams is the uniform distribution over the words seen,
//! `</s>` and `<unk>`. The count a is how often the n-gram occurs in the highest order and where it
//! begins with `<s>`. Otherwise a is how many different words precede the n-gram. D takes three
//! values an order, from the counts of counts. γ(c) is the share that was taken from c's n-grams,
//! so that probabilities sum to 1.
//!
//! Pruning drops n-grams (order 2 and more) that occur as often as their order's threshold says, or
//! less often. Counts and discounts are those before pruning, and the count of a dropped n-gram
//! goes into γ(c). All of this is as `lmplz` does it, with one exception: for the n-grams at the
//! end of the sorted list, `lmplz` compares a with the threshold instead of the occurrences.
//!
//! There are two passes over the sorted n-grams. The first finds the n-grams to keep and the
//! discounts, the second sums up each context. Sums run in the order of the n-grams, so they are
//! the same bits each time.

use crate::hash_index::mix;
use crate::ngram::count::{Counter, Words};
use crate::ngram::train::{OrderSummary, TrainConfig};
use crate::ngram::{Entry, MAX_ORDER, NgramError, SPECIAL, bos};

/// An n-gram of the text, of any order.
struct Seen<'a> {
    /// The words, the last one first.
    words: &'a [u32],
    /// How often the n-gram occurs.
    occurrences: u64,
    /// The count a of the module's header.
    adjusted: u64,
}

/// Calls `action` with the n-grams of all orders. Those of one order come in the order of their
/// words.
///
/// # Errors
/// [`NgramError::Io`] if a run cannot be read.
fn visit<const N: usize>(
    counter: &Counter<N>,
    bos: u32,
    mut action: impl FnMut(Seen),
) -> Result<(), NgramError> {
    // The last n-gram of the highest order ends in n-grams of all lower orders. For each of these,
    // `open` has the occurrences so far and the number of different words before it.
    let mut open = [(0, 0); N];
    let mut last: Option<Words<N>> = None;

    // Equal suffixes are neighbours in the sorted list, so an n-gram is complete once the list goes
    // on to another. `from` is the number of words that the next n-gram has in common with this
    // one.
    let mut close = |last: &Words<N>, from: usize, open: &[(u64, u64); N]| {
        // The context of a sentence's first words is filled up with `<s>`. An n-gram with a word
        // before `<s>` contains filling and is skipped.
        for n in (from..N).filter(|&n| n == 0 || last[n - 1] != bos) {
            let (occurrences, preceding) = open[n];

            // The longest n-grams and those that begin with `<s>` have no counted words before
            // them.
            let adjusted = if n + 1 == N || last[n] == bos {
                occurrences
            } else {
                preceding
            };

            action(Seen {
                words: &last[..=n],
                occurrences,
                adjusted,
            });
        }
    };

    counter.for_each(|words, count| {
        let mut same = 0;
        if let Some(last) = &last {
            same = words.iter().zip(last).take_while(|(a, b)| a == b).count();
            close(last, same, &open);
        }

        // The n-grams from here on are new and have one word before them. The longest one in common
        // has met another word before it.
        open[same..].fill((0, 1));
        if same > 0 {
            open[same - 1].1 += 1;
        }

        open.iter_mut()
            .for_each(|(occurrences, _)| *occurrences += count);
        last = Some(*words);
    })?;

    last.iter().for_each(|last| close(last, 0, &open));
    Ok(())
}

/// An n-gram that is kept.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    /// The words, the last one first, then zeros. All zeros for unigrams, which are found by their
    /// place.
    words: [u32; MAX_ORDER],
    /// The count a of the module's header; 0 for a unigram that the text lacks.
    adjusted: u64,
    /// Σ_v a(c v), where c is this n-gram.
    extensions: f64,
    /// What was taken from this context's n-grams, for the shorter context. [`interpolate`] divides
    /// by `extensions`, and then this is γ(c).
    left: f64,
    /// p of the n-gram's last word; NaN for `<s>` and for a unigram that the text lacks. Set by
    /// [`interpolate`].
    prob: f64,
}

/// The first pass. Returns the n-grams that are kept, one level per order, and a summary of each
/// order. The unigrams are a dense table by number, the other levels are in the order of their
/// words.
///
/// # Errors
/// [`NgramError::Discount`] if an order has no discounts and the settings have no fallback, or
/// [`NgramError::Io`].
pub(super) fn select<const N: usize>(
    counter: &Counter<N>,
    vocabulary: usize,
    config: &TrainConfig,
) -> Result<(Vec<Vec<Kept>>, Vec<OrderSummary>), NgramError> {
    let mut levels = vec![Vec::new(); N];
    let mut orders = vec![OrderSummary::default(); N];
    levels[0] = vec![Kept::default(); vocabulary + SPECIAL];

    visit(counter, bos(vocabulary), |seen| {
        let n = seen.words.len();
        let order = &mut orders[n - 1];
        order.seen += 1;

        // From every n-gram, also those that are dropped: discounts are those before pruning.
        if (1..=4).contains(&seen.adjusted) {
            order.counts_of_counts[seen.adjusted as usize - 1] += 1;
        }

        if n == 1 {
            levels[0][seen.words[0] as usize].adjusted = seen.adjusted;
        }
        if n == 1 || seen.occurrences > config.threshold(n) {
            order.kept += 1;
        }

        if n > 1 && seen.occurrences > config.threshold(n) {
            let mut words = [0; MAX_ORDER];
            words[..n].copy_from_slice(seen.words);
            levels[n - 1].push(Kept {
                words,
                adjusted: seen.adjusted,
                ..Kept::default()
            });
        }
    })?;

    for (order, n) in orders.iter_mut().zip(1..) {
        (order.discounts, order.fell_back) =
            match (discounts(order.counts_of_counts), config.discount_fallback) {
                (Ok(discounts), _) => (discounts, None),
                (Err(reason), Some(fallback)) => (fallback, Some(reason)),
                (Err(reason), None) => return Err(NgramError::Discount { order: n, reason }),
            };
    }
    Ok((levels, orders))
}

/// D1, D2 and D3+ from the numbers of n-grams with a count of 1, 2, 3 and 4, by Chen & Goodman's
/// equation 26. The error is the reason why the equation gives no discounts.
fn discounts(counts_of_counts: [u64; 4]) -> Result<[f64; 3], String> {
    if let Some(none) = counts_of_counts[..3].iter().position(|&n| n == 0) {
        return Err(format!("no n-gram has a count of {}", none + 1));
    }

    let n = counts_of_counts.map(|n| n as f64);
    let y = n[0] / (n[0] + 2.0 * n[1]);
    let discounts = [0, 1, 2].map(|i| (i + 1) as f64 - (i + 2) as f64 * y * n[i + 1] / n[i]);

    // Where higher counts are more frequent than lower ones, the equation may give 0 or less.
    match discounts.iter().position(|&discount| discount <= 0.0) {
        Some(i) => Err(format!(
            "the discount of counts of {} is {:.3}",
            i + 1,
            discounts[i]
        )),
        None => Ok(discounts),
    }
}

/// What is taken from a count: D1, D2 or D3+; 0 from a count of 0.
fn discount(discounts: &[f64; 3], count: u64) -> f64 {
    if count == 0 {
        0.0
    } else {
        discounts[count.min(3) as usize - 1]
    }
}

/// Finds the n-grams of a level by their words: a hash table with linear probing.
pub(super) struct Index {
    /// 1 + the place of the n-gram in its level, 0 if free; at most half are taken.
    slots: Vec<u32>,
}

impl Index {
    /// An index of a level of order `n`.
    fn new(level: &[Kept], n: usize) -> Result<Index, NgramError> {
        if u32::try_from(level.len()).is_err() {
            return Err(NgramError::TooLarge {
                what: format!("{n}-grams"),
                found: level.len(),
                most: u32::MAX as usize,
            });
        }

        let mut slots = vec![0; (2 * level.len()).next_power_of_two()];
        for (i, kept) in level.iter().enumerate() {
            let mut at = Index::first(&kept.words[..n], slots.len());
            while slots[at] != 0 {
                at = (at + 1) % slots.len();
            }
            slots[at] = i as u32 + 1;
        }

        Ok(Index { slots })
    }

    /// The slot, of `slots` (a power of two), at which the search for an n-gram begins.
    fn first(words: &[u32], slots: usize) -> usize {
        words
            .iter()
            .fold(0, |hash, &word| mix(hash, u64::from(word))) as usize
            & (slots - 1)
    }

    /// The place of an n-gram in its level; `None` if the level lacks it.
    fn find(&self, level: &[Kept], words: &[u32]) -> Option<usize> {
        let mut at = Index::first(words, self.slots.len());
        // Half of the slots are free, so the search ends.
        loop {
            let i = self.slots[at].checked_sub(1)? as usize;
            if level[i].words[..words.len()] == *words {
                return Some(i);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

/// The place of the n-gram's context in the level below. `None` if the context was pruned; then the
/// n-gram was pruned too, because it does not occur more often.
fn context(index: Option<&Index>, below: &[Kept], words: &[u32]) -> Option<usize> {
    match index {
        None => Some(words[1] as usize),
        Some(index) => index.find(below, &words[1..]),
    }
}

/// The second pass: sums up the n-grams of each context that is kept.
///
/// # Errors
/// [`NgramError::Io`] if a run cannot be read.
pub(super) fn sum_contexts<const N: usize>(
    counter: &Counter<N>,
    levels: &mut [Vec<Kept>],
    indices: &[Option<Index>],
    orders: &[OrderSummary],
    config: &TrainConfig,
) -> Result<(), NgramError> {
    // `<s>` is the last but one of the unigrams.
    let bos = levels[0].len() as u32 - 2;

    visit(counter, bos, |seen| {
        let n = seen.words.len();
        if n == 1 {
            return;
        }

        let Some(c) = context(indices[n - 2].as_ref(), &levels[n - 2], seen.words) else {
            return;
        };

        // A dropped n-gram leaves its whole count to the shorter context, another its discount.
        let dropped = seen.occurrences <= config.threshold(n);
        let c = &mut levels[n - 2][c];
        c.extensions += seen.adjusted as f64;
        c.left += if dropped {
            seen.adjusted as f64
        } else {
            discount(&orders[n - 1].discounts, seen.adjusted)
        };
    })
}

/// An index for each level that has contexts. The unigrams get none, because they are dense.
pub(super) fn indices(levels: &[Vec<Kept>]) -> Result<Vec<Option<Index>>, NgramError> {
    let contexts = levels.len().saturating_sub(1);
    (0..contexts)
        .map(|i| (i > 0).then(|| Index::new(&levels[i], i + 1)).transpose())
        .collect()
}

/// Turns counts into probabilities, from unigrams upward. [`Kept::left`] becomes γ(c).
pub(super) fn interpolate(
    levels: &mut [Vec<Kept>],
    indices: &[Option<Index>],
    orders: &[OrderSummary],
    unk: u32,
) {
    for kept in levels.iter_mut().flatten() {
        // Nothing follows `</s>`, for one: all of its weight goes to the shorter context.
        kept.left = if kept.extensions > 0.0 {
            kept.left / kept.extensions
        } else {
            1.0
        };
    }

    let (total, taken) = levels[0].iter().fold((0, 0.0), |(total, taken), kept| {
        (
            total + kept.adjusted,
            taken + discount(&orders[0].discounts, kept.adjusted),
        )
    });

    // Over every word seen, `</s>` among them, and `<unk>`.
    let uniform = 1.0 / (orders[0].seen + 1) as f64;
    for (id, kept) in (0..).zip(&mut levels[0]) {
        let own = kept.adjusted as f64 - discount(&orders[0].discounts, kept.adjusted);

        let is_known = kept.adjusted > 0 || id == unk;
        kept.prob = if is_known {
            (own + taken * uniform) / total as f64
        } else {
            f64::NAN
        };
    }

    for n in 2..=levels.len() {
        let (below, level) = levels.split_at_mut(n - 1);
        let below = &below[n - 2];

        let mut suffix = 0;
        for kept in &mut level[0] {
            let words = &kept.words[..n];
            let c = context(indices[n - 2].as_ref(), below, words)
                .expect("an n-gram's context occurs no less often");

            let lower = if n == 2 {
                below[words[0] as usize].prob
            } else {
                // Both levels are in the same order, and the suffix of a kept n-gram is kept: it
                // occurs no less often, and thresholds do not fall.
                while below[suffix].words[..n - 1] != words[..n - 1] {
                    suffix += 1;
                }
                below[suffix].prob
            };

            let own = kept.adjusted as f64 - discount(&orders[n - 1].discounts, kept.adjusted);
            kept.prob = own / below[c].extensions + below[c].left * lower;
        }
    }
}

/// The entries of a model: probabilities and γ(c) as log₁₀. `<s>` gets log₁₀ p = 0, as in a file of
/// `lmplz`.
pub(super) fn entries(levels: Vec<Vec<Kept>>, vocabulary: usize) -> Vec<Vec<Entry>> {
    // Each level is freed before the next is converted: two copies of all would take a lot of
    // memory. Every discount is above 0, so γ(c) is too, and its logarithm is finite.
    let mut levels: Vec<Vec<Entry>> = levels
        .into_iter()
        .map(|level| {
            level
                .iter()
                .map(|kept| Entry {
                    words: kept.words,
                    prob: kept.prob.log10() as f32,
                    backoff: kept.left.log10() as f32,
                })
                .collect()
        })
        .collect();

    for (id, entry) in (0..).zip(&mut levels[0]) {
        entry.words[0] = id;
    }

    levels[0][bos(vocabulary) as usize].prob = 0.0;
    levels
}
