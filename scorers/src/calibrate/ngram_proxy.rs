//! The n-gram proxy: the loss of an n-gram model of a mixture on fixed target texts, without the
//! model ever being written.
//!
//! Interpolated modified Kneser–Ney (Chen & Goodman 1998, section 5.3), unpruned, as
//! [`crate::ngram`] defines it, with one difference: a piece begins in a context of separators and
//! has no end marker, because pieces are cut anywhere. The n-grams of a mixture are packed into
//! integers and sorted. Those of the targets are sorted once. One merge per order then gives every
//! n-gram of the targets its discounted share and the weight of its context, and no lookup ever
//! leaves the cache. A vocabulary of up to 4,096 tokens packs a 5-gram into 64 bits, a larger one
//! into 128.
//!
//! Exact repeats raise the loss of such a model, so a mixture must hold each text once.
//!
//! Cost: see `make calibrate-study`. Memory: 28 bytes for each token of the mixture with a small
//! vocabulary, 52 with a large one, and 60 or 100 for each token of the targets.

use std::ops::{BitAnd, BitOr, Range, Shl, Shr};

/// The order of the model.
pub const ORDER: usize = 5;
/// The tokens that a 5-gram of 64 bits has room for.
const SMALL: usize = 1 << (u64::BITS as usize / ORDER);
/// The tokens that a 5-gram of 128 bits has room for.
const LARGE: usize = 1 << (u128::BITS as usize / ORDER);
/// D1, D2 and D3+ of an order whose counts of counts give none, as `lmplz` has them.
const FALLBACK: [f64; 3] = [0.5, 1.0, 1.5];

/// The error for a vocabulary of more than 2^25 tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the n-gram proxy takes a vocabulary of at most {LARGE} tokens, this one has {0}")]
pub struct TooManyTokens(pub usize);

/// A target: texts whose loss is measured.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The documents as token ids.
    pub documents: Vec<Vec<u32>>,
    /// The UTF-8 bytes of all documents.
    pub bytes: u64,
}

/// The targets, prepared for any number of mixtures.
#[derive(Debug)]
pub struct NgramProxy(pub(super) Packed);

/// The targets by the size of an n-gram.
#[derive(Debug)]
pub(super) enum Packed {
    Small(Prepared<u64>),
    Large(Prepared<u128>),
}

impl NgramProxy {
    /// Sorts the n-grams of the targets. `vocabulary` is the number of token ids, and `separator`
    /// the id that fills the context at the start of a piece.
    ///
    /// # Errors
    /// [`TooManyTokens`] with a vocabulary of more than 2^25 tokens.
    pub fn new(
        targets: &[Target],
        vocabulary: usize,
        separator: u32,
    ) -> Result<NgramProxy, TooManyTokens> {
        if vocabulary > LARGE {
            return Err(TooManyTokens(vocabulary));
        }

        Ok(NgramProxy(match vocabulary <= SMALL {
            true => Packed::Small(Prepared::new(targets, vocabulary, separator)),
            false => Packed::Large(Prepared::new(targets, vocabulary, separator)),
        }))
    }

    /// The loss on each target, in bits per byte, of a model of these pieces. The result does not
    /// depend on the order of the pieces.
    pub fn losses<'p>(&self, pieces: impl Iterator<Item = &'p [u32]>) -> Vec<f64> {
        match &self.0 {
            Packed::Small(targets) => targets.losses(pieces),
            Packed::Large(targets) => targets.losses(pieces),
        }
    }

    /// The probability of each token of each target under a model of these pieces.
    pub fn probabilities<'p>(&self, pieces: impl Iterator<Item = &'p [u32]>) -> Vec<Vec<f64>> {
        match &self.0 {
            Packed::Small(targets) => targets.probabilities(pieces),
            Packed::Large(targets) => targets.probabilities(pieces),
        }
    }
}

/// An integer that holds the ids of an n-gram, the last one in the lowest bits.
pub(super) trait Gram:
    Copy
    + Ord
    + From<u32>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
{
    /// The width of an id in bits.
    const ID: u32;
    /// All bits of an n-gram of `order` ids.
    fn mask(order: usize) -> Self;
}

impl Gram for u64 {
    const ID: u32 = u64::BITS / ORDER as u32;
    fn mask(order: usize) -> u64 {
        (1 << (Self::ID * order as u32)) - 1
    }
}

impl Gram for u128 {
    const ID: u32 = u128::BITS / ORDER as u32;
    fn mask(order: usize) -> u128 {
        (1 << (Self::ID * order as u32)) - 1
    }
}

/// The n-grams of the highest order at each position of the texts. A text begins in a context of
/// separators.
fn grams<'p, G: Gram>(texts: impl Iterator<Item = &'p [u32]>, separator: u32) -> Vec<G> {
    let mask = G::mask(ORDER);
    let start = (1..ORDER).fold(G::from(0), |gram, _| gram << G::ID | G::from(separator));

    let mut grams = Vec::new();
    for text in texts {
        let mut gram = start;
        grams.extend(text.iter().map(|&id| {
            gram = (gram << G::ID | G::from(id)) & mask;
            gram
        }));
    }
    grams
}

/// The n-grams of one order in the targets.
#[derive(Debug)]
struct Level<G> {
    /// The different n-grams, ascending.
    grams: Vec<G>,
    /// For each n-gram, the index of its shorter one in the level below. Empty for order 1.
    below: Vec<u32>,
}

/// The targets, one after the other.
#[derive(Debug)]
pub(super) struct Prepared<G> {
    /// One level for each order, from 1.
    levels: Vec<Level<G>>,
    /// For each position of the targets, the index of its n-gram in the highest level.
    pub(super) at: Vec<u32>,
    /// The end of each document's positions.
    pub(super) documents: Vec<usize>,
    /// The end of each target's positions, and its bytes.
    pub(super) targets: Vec<(usize, u64)>,
    /// The number of token ids.
    vocabulary: usize,
    /// The id before the start of a piece.
    separator: u32,
}

/// What a model says about the n-grams of a level. N-grams in contexts that the model has never
/// seen leave all to the shorter context, and are not listed.
#[derive(Debug, Default)]
struct Seen {
    /// The n-grams of each context that the model knows, as a range of the level, with the weight
    /// of the shorter context.
    contexts: Vec<(Range<u32>, f32)>,
    /// The discounted share of each n-gram of these contexts, one context after the other.
    shares: Vec<f32>,
}

impl<G: Gram> Prepared<G> {
    pub(super) fn new(targets: &[Target], vocabulary: usize, separator: u32) -> Prepared<G> {
        let documents = targets.iter().flat_map(|target| &target.documents);
        let full: Vec<G> = grams(documents.map(Vec::as_slice), separator);

        let (mut levels, mut at): (Vec<Level<G>>, Vec<u32>) = (Vec::new(), Vec::new());
        for order in 1..=ORDER {
            let (grams, above) = distinct(&full, order);
            let mut below = vec![0; if order > 1 { grams.len() } else { 0 }];
            for (&short, &long) in at.iter().zip(&above) {
                below[long as usize] = short;
            }
            levels.push(Level { grams, below });
            at = above;
        }

        let (mut end, mut documents) = (0, Vec::new());
        let targets = targets
            .iter()
            .map(|target| {
                for document in &target.documents {
                    end += document.len();
                    documents.push(end);
                }
                (end, target.bytes)
            })
            .collect();

        Prepared {
            levels,
            at,
            documents,
            targets,
            vocabulary,
            separator,
        }
    }

    fn losses<'p>(&self, pieces: impl Iterator<Item = &'p [u32]>) -> Vec<f64> {
        let bits: Vec<f64> = self.model(pieces).into_iter().map(|p| -p.log2()).collect();

        let mut begin = 0;
        let per_byte = |&(end, bytes): &(usize, u64)| {
            let positions = &self.at[begin..end];
            begin = end;
            positions.iter().map(|&at| bits[at as usize]).sum::<f64>() / bytes as f64
        };
        self.targets.iter().map(per_byte).collect()
    }

    fn probabilities<'p>(&self, pieces: impl Iterator<Item = &'p [u32]>) -> Vec<Vec<f64>> {
        let model = self.model(pieces);

        let mut begin = 0;
        let of_target = |&(end, _): &(usize, u64)| {
            let positions = &self.at[begin..end];
            begin = end;
            positions.iter().map(|&at| model[at as usize]).collect()
        };
        self.targets.iter().map(of_target).collect()
    }

    /// The probability of the last token of each n-gram of the highest level under a model of
    /// these pieces. From the uniform distribution up to the highest order, each order gives its
    /// share and mixes in the one below.
    pub(super) fn model<'p>(&self, pieces: impl Iterator<Item = &'p [u32]>) -> Vec<f64> {
        let uniform = vec![1.0 / self.vocabulary as f64];
        self.levels
            .iter()
            .zip(self.seen(pieces))
            .fold(uniform, |below, (level, seen)| level.mix(&seen, &below))
    }

    /// What a model of these pieces says about the targets' n-grams, for each order.
    fn seen<'p>(&self, pieces: impl Iterator<Item = &'p [u32]>) -> Vec<Seen> {
        let mut sorted: Vec<G> = grams(pieces, self.separator);
        sorted.sort_unstable();
        let mut counts = counted(&mut sorted);

        let mut seen: Vec<Seen> = Vec::with_capacity(ORDER);
        for order in (1..=ORDER).rev() {
            seen.push(self.levels[order - 1].merge(&sorted, &counts));

            // The count of a shorter n-gram is the number of different tokens before it.
            if order > 1 {
                let mask = G::mask(order - 1);
                sorted.iter_mut().for_each(|gram| *gram = *gram & mask);
                sorted.sort_unstable();
                counts = counted(&mut sorted);
            }
        }

        seen.reverse();
        seen
    }
}

/// Leaves each n-gram of a sorted list once, and returns how often each was in the list.
fn counted<G: Gram>(sorted: &mut Vec<G>) -> Vec<u32> {
    let mut counts: Vec<u32> = Vec::new();
    let mut kept = 0;

    for at in 0..sorted.len() {
        if kept > 0 && sorted[kept - 1] == sorted[at] {
            counts[kept - 1] += 1;
        } else {
            sorted[kept] = sorted[at];
            counts.push(1);
            kept += 1;
        }
    }

    sorted.truncate(kept);
    counts
}

/// D of the counts 1, 2, and 3 or more.
fn discounts(counts: &[u32]) -> [f64; 3] {
    let mut of = [0u64; 5];
    for &count in counts.iter().filter(|&&count| count < 5) {
        of[count as usize] += 1;
    }

    let [_, one, two, three, four] = of.map(|count| count as f64);
    let y = one / (one + 2.0 * two);
    let found = [
        1.0 - 2.0 * y * two / one,
        2.0 - 3.0 * y * three / two,
        3.0 - 4.0 * y * four / three,
    ];
    // Without n-grams of a count a discount is NaN, which is above nothing.
    if found.iter().all(|&discount| discount > 0.0) {
        found
    } else {
        FALLBACK
    }
}

/// The different n-grams of `order` ids at the end of the full ones, ascending, and for each full
/// one the index of its n-gram among them.
fn distinct<G: Gram>(full: &[G], order: usize) -> (Vec<G>, Vec<u32>) {
    let mask = G::mask(order);
    let mut placed: Vec<(G, u32)> = full.iter().map(|&gram| gram & mask).zip(0..).collect();
    placed.sort_unstable();

    let (mut grams, mut at) = (Vec::new(), vec![0; full.len()]);
    for (gram, position) in placed {
        if grams.last() != Some(&gram) {
            grams.push(gram);
        }
        at[position as usize] = grams.len() as u32 - 1;
    }
    (grams, at)
}

impl<G: Gram> Level<G> {
    /// What a model whose n-grams are `sorted`, with `counts`, says about this level's n-grams.
    fn merge(&self, sorted: &[G], counts: &[u32]) -> Seen {
        let discounts = discounts(counts);
        let discount = |count: u32| discounts[count.min(3) as usize - 1];

        let mut seen = Seen::default();
        let (mut model, mut first) = (0, 0);
        for wanted in self.grams.chunk_by(|&a, &b| a >> G::ID == b >> G::ID) {
            let place = first..first + wanted.len() as u32;
            first = place.end;
            let context = wanted[0] >> G::ID;
            while model < sorted.len() && sorted[model] >> G::ID < context {
                model += 1;
            }

            // All n-grams of the model with this context.
            let begin = model;
            let (mut total, mut taken) = (0.0, 0.0);
            while model < sorted.len() && sorted[model] >> G::ID == context {
                total += f64::from(counts[model]);
                taken += discount(counts[model]);
                model += 1;
            }
            if begin == model {
                continue;
            }

            let mut at = begin;
            for &gram in wanted {
                while at < model && sorted[at] < gram {
                    at += 1;
                }
                let found = at < model && sorted[at] == gram;
                let own = if found {
                    f64::from(counts[at]) - discount(counts[at])
                } else {
                    0.0
                };
                seen.shares.push((own / total) as f32);
            }
            seen.contexts.push((place, (taken / total) as f32));
        }

        seen
    }

    /// The probability of the last token of each n-gram. `below` has those of the level below, or
    /// the uniform one below order 1.
    fn mix(&self, seen: &Seen, below: &[f64]) -> Vec<f64> {
        let mut mixed: Vec<f64> = match self.below.is_empty() {
            true => vec![below[0]; self.grams.len()],
            false => self.below.iter().map(|&at| below[at as usize]).collect(),
        };

        let mut shares = seen.shares.iter();
        for (place, weight) in &seen.contexts {
            let known = &mut mixed[place.start as usize..place.end as usize];
            for (probability, &share) in known.iter_mut().zip(&mut shares) {
                *probability = f64::from(share) + f64::from(*weight) * *probability;
            }
        }
        mixed
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Texts over few tokens, in which n-grams repeat.
    fn texts(seed: u64, number: usize, length: usize, vocabulary: u32) -> Vec<Vec<u32>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let id = |random: &mut ChaCha8Rng| {
            random
                .random_range(0..vocabulary)
                .min(random.random_range(0..vocabulary))
        };
        let text = |random: &mut ChaCha8Rng| (0..length).map(|_| id(random)).collect();
        (0..number).map(|_| text(&mut random)).collect()
    }

    /// The probability of the last id of `gram`, straight from the definition.
    fn reference(counts: &[BTreeMap<Vec<u32>, u32>], gram: &[u32], vocabulary: usize) -> f64 {
        let Some((_, context)) = gram.split_last() else {
            return 1.0 / vocabulary as f64;
        };
        let level = &counts[gram.len() - 1];
        let of = |n: u32| level.values().filter(|&&count| count == n).count() as f64;
        let y = of(1) / (of(1) + 2.0 * of(2));
        let d = |n: u32| f64::from(n) - f64::from(n + 1) * y * of(n + 1) / of(n);
        let found = [d(1), d(2), d(3)];
        let discounts = if found.iter().all(|&d| d > 0.0) {
            found
        } else {
            FALLBACK
        };

        let lower = reference(counts, &gram[1..], vocabulary);
        let inside = level.iter().filter(|(other, _)| other.starts_with(context));
        let (mut total, mut taken) = (0.0, 0.0);
        for (_, &count) in inside {
            total += f64::from(count);
            taken += discounts[count.min(3) as usize - 1];
        }
        if total == 0.0 {
            return lower;
        }

        let own = level.get(gram).map_or(0.0, |&count| {
            f64::from(count) - discounts[count.min(3) as usize - 1]
        });
        own / total + taken / total * lower
    }

    fn counts(texts: &[Vec<u32>]) -> Vec<BTreeMap<Vec<u32>, u32>> {
        let mut counts = vec![BTreeMap::new(); ORDER];
        for text in texts {
            let padded = [&[0; ORDER - 1][..], text].concat();
            for gram in padded.windows(ORDER) {
                *counts[ORDER - 1].entry(gram.to_vec()).or_insert(0) += 1;
            }
        }
        for order in (1..ORDER).rev() {
            let longer: BTreeSet<_> = counts[order].keys().cloned().collect();
            for gram in longer {
                *counts[order - 1].entry(gram[1..].to_vec()).or_insert(0) += 1;
            }
        }
        counts
    }

    #[test]
    fn losses_follow_the_definition() {
        let (train, test) = (texts(1, 8, 60, 7), texts(2, 3, 20, 7));
        let target = Target {
            documents: test.clone(),
            bytes: 100,
        };
        let counts = counts(&train);
        let mut bits = 0.0;
        for text in &test {
            let padded = [&[0; ORDER - 1][..], text].concat();
            bits -= padded
                .windows(ORDER)
                .map(|gram| reference(&counts, gram, 7).log2())
                .sum::<f64>();
        }

        // A small vocabulary and a large one take different integers and give the same.
        let pieces = || train.iter().map(Vec::as_slice);
        let small = NgramProxy::new(std::slice::from_ref(&target), 7, 0).unwrap();
        let found = small.losses(pieces())[0];
        assert!(
            (found - bits / 100.0).abs() < 1e-6,
            "{found} {}",
            bits / 100.0
        );
        let large = NgramProxy(Packed::Large(Prepared::new(&[target], 7, 0)));
        assert_eq!(large.losses(pieces())[0], found);

        let by_token: f64 = small.probabilities(pieces())[0]
            .iter()
            .map(|p| -p.log2())
            .sum();
        assert!((by_token / 100.0 - found).abs() < 1e-12);
        let backwards = small.losses(train.iter().rev().map(Vec::as_slice))[0];
        assert_eq!(backwards, found);
    }

    #[test]
    fn probabilities_of_a_context_sum_to_one() {
        let train = texts(3, 5, 80, 6);
        let contexts = [vec![], vec![1], vec![5, 5, 5, 5], train[0][..10].to_vec()];
        for context in contexts {
            let ends = (0..6).map(|id| [&context[..], &[id]].concat()).collect();
            let target = Target {
                documents: ends,
                bytes: 1,
            };
            let proxy = NgramProxy::new(&[target], 6, 0).unwrap();
            let all = &proxy.probabilities(train.iter().map(Vec::as_slice))[0];
            let sum: f64 = all
                .iter()
                .skip(context.len())
                .step_by(context.len() + 1)
                .sum();
            assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        }
    }

    #[test]
    fn repeats_raise_the_loss() {
        let (train, test) = (texts(4, 20, 200, 40), texts(5, 5, 200, 40));
        let target = Target {
            documents: test,
            bytes: 1000,
        };
        let proxy = NgramProxy::new(&[target], 40, 0).unwrap();
        let once = proxy.losses(train.iter().map(Vec::as_slice))[0];
        let twice = proxy.losses(train.iter().chain(&train).map(Vec::as_slice))[0];
        assert!(twice > once, "{once} {twice}");
    }

    #[test]
    fn no_text_at_all_is_the_uniform_distribution() {
        let target = Target {
            documents: vec![vec![1, 2, 3]],
            bytes: 3,
        };
        let proxy = NgramProxy::new(&[target], 1 << 20, 0).unwrap();
        assert_eq!(proxy.losses(std::iter::empty()), [20.0]);
        assert!(NgramProxy::new(&[], (1 << 25) + 1, 0).is_err());
    }
}
