//! Interpolated modified Kneser–Ney: from counts to probabilities.
//!
//! Chen & Goodman 1998 (section 5.3) as estimated by Heafield et al. 2013. For an n-gram of context
//! c and word w with count a: `p(w | c) = (a − D(a)) / Σ_v a(c v) + γ(c) · p(w | c')`, c' being c
//! without its first word; below the unigrams stands the uniform distribution over the words seen,
//! `</s>` and `<unk>`. The count a is how often the n-gram occurs in the highest order and where it
//! begins with `<s>`, otherwise how many different words precede it. D takes three values an order,
//! from the counts of counts; γ(c) is what was taken from c's n-grams, so that probabilities sum to
//! 1.
//!
//! Pruning drops n-grams (order 2 and more) that occur as often as their order's threshold says, or
//! less often. Counts and discounts are those before pruning, and what a dropped n-gram had goes
//! into γ(c). All of this is as `lmplz` does it, which has one oddity that is not followed: of the
//! n-grams that end the sorted list it compares a instead of the occurrences.
//!
//! Two passes over the sorted n-grams: the first finds the n-grams to keep and the discounts, the
//! second sums up each context. Sums run in the order of the n-grams, so they are the same bits
//! each time.

use crate::hash_index::mix;
use crate::ngram::count::{Counter, Words};
use crate::ngram::train::{OrderSummary, TrainConfig};
use crate::ngram::{Entry, MAX_ORDER, NgramError, SPECIAL, bos};

/// An n-gram of the text.
struct Seen<'a> {
    /// The last word first.
    words: &'a [u32],
    /// How often it occurs.
    occurrences: u64,
    /// The count a, see above.
    adjusted: u64,
}

/// Visits the n-grams of all orders; those of one order come in the order of their words.
fn visit<const N: usize>(
    counter: &Counter<N>,
    bos: u32,
    mut action: impl FnMut(Seen),
) -> Result<(), NgramError> {
    // Of the n-gram of each order that ends the last n-gram: occurrences, and different words
    // before it.
    let mut open = [(0, 0); N];
    let mut last: Option<Words<N>> = None;
    let mut close = |last: &Words<N>, from: usize, open: &[(u64, u64); N]| {
        for n in (from..N).filter(|&n| n == 0 || last[n - 1] != bos) {
            let (occurrences, preceding) = open[n];
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
    /// The last word first, then zeros.
    words: [u32; MAX_ORDER],
    adjusted: u64,
    /// Σ_v a(c v), this n-gram being c.
    extensions: f64,
    /// What of it goes to shorter contexts; [`interpolate`] makes it γ(c).
    left: f64,
    prob: f64,
}

/// The first pass: which n-grams are kept, unigrams being a dense table, and what there is to say
/// of each order.
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

/// D1, D2 and D3+ from how many n-grams have a count of 1, 2, 3 and 4: Chen & Goodman's equation
/// 26.
fn discounts(counts_of_counts: [u64; 4]) -> Result<[f64; 3], String> {
    if let Some(none) = counts_of_counts[..3].iter().position(|&n| n == 0) {
        return Err(format!("no n-gram has a count of {}", none + 1));
    }
    let n = counts_of_counts.map(|n| n as f64);
    let y = n[0] / (n[0] + 2.0 * n[1]);
    let discounts = [0, 1, 2].map(|i| (i + 1) as f64 - (i + 2) as f64 * y * n[i + 1] / n[i]);
    match discounts.iter().position(|&discount| discount <= 0.0) {
        Some(i) => Err(format!(
            "the discount of counts of {} is {:.3}",
            i + 1,
            discounts[i]
        )),
        None => Ok(discounts),
    }
}

/// What is taken from a count.
fn discount(discounts: &[f64; 3], count: u64) -> f64 {
    if count == 0 {
        0.0
    } else {
        discounts[count.min(3) as usize - 1]
    }
}

/// Finds n-grams of a level by their words.
pub(super) struct Index {
    /// 1 + where the n-gram is, 0 if free; at most half are taken.
    slots: Vec<u32>,
}

impl Index {
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

    fn first(words: &[u32], slots: usize) -> usize {
        words
            .iter()
            .fold(0, |hash, &word| mix(hash, u64::from(word))) as usize
            & (slots - 1)
    }

    fn find(&self, level: &[Kept], words: &[u32]) -> Option<usize> {
        let mut at = Index::first(words, self.slots.len());
        loop {
            let i = self.slots[at].checked_sub(1)? as usize;
            if level[i].words[..words.len()] == *words {
                return Some(i);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

/// The n-gram's context at the level below it; `None` if it was pruned, and then the n-gram was.
fn context(index: Option<&Index>, below: &[Kept], words: &[u32]) -> Option<usize> {
    match index {
        None => Some(words[1] as usize),
        Some(index) => index.find(below, &words[1..]),
    }
}

/// The second pass: what the n-grams of each context that is kept add up to.
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

/// An index for each level that has contexts, but the unigrams, which are dense.
pub(super) fn indices(levels: &[Vec<Kept>]) -> Result<Vec<Option<Index>>, NgramError> {
    let contexts = levels.len().saturating_sub(1);
    (0..contexts)
        .map(|i| (i > 0).then(|| Index::new(&levels[i], i + 1)).transpose())
        .collect()
}

/// From counts to probabilities, from unigrams upward.
pub(super) fn interpolate(
    levels: &mut [Vec<Kept>],
    indices: &[Option<Index>],
    orders: &[OrderSummary],
    unk: u32,
) {
    for kept in levels.iter_mut().flatten() {
        // No word follows `</s>`.
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
    // Every word seen, `</s>` among them, and `<unk>`.
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
                // Both levels are in the same order.
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

pub(super) fn entries(levels: Vec<Vec<Kept>>, vocabulary: usize) -> Vec<Vec<Entry>> {
    let entry = |kept: &Kept| Entry {
        words: kept.words,
        prob: kept.prob.log10() as f32,
        backoff: kept.left.log10() as f32,
    };
    // One level after another: two copies of all would be a lot.
    let mut levels: Vec<Vec<Entry>> = levels
        .into_iter()
        .map(|level| level.iter().map(entry).collect())
        .collect();
    for (id, entry) in (0..).zip(&mut levels[0]) {
        entry.words[0] = id;
    }
    levels[0][bos(vocabulary) as usize].prob = 0.0;
    levels
}
