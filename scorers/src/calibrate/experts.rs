//! The experts' proxy: the loss of n-gram models that adapt to each document, as a transformer
//! adapts to its context.
//!
//! Each bucket of a mixture has a model of its own, an expert, of that bucket's tokens alone. The
//! model of the whole mixture is one more expert, because models of single buckets share no
//! counts. A document's token has the weighted mean of the experts' probabilities. The weights
//! follow the document: they begin as the shares of the buckets, and each token adds the posterior
//! of the experts, which is one step of online EM (Cappé & Moulines 2009, with steps of 1/n). A
//! loss so depends on no token but those before, and covers the whole document.
//!
//! Mixtures of experts of domains stand in for models of mixtures in Belenki et al. 2025
//! (arXiv:2502.15950). Departs from them in the experts, which are n-gram models of as many tokens
//! as the mixture has of the bucket, and in the weights, which are a document's and not fixed.
//!
//! Cost: `curate calibrate` took 138 CPU seconds with experts and 90 with one model, for 192 mixtures
//! of 357 million tokens, six buckets each, and 1.5 million tokens of targets. Memory: that of
//! [`super::ngram_proxy`], and 4 bytes for each expert and each different 5-gram of the targets.

use super::ngram_proxy::{Gram, NgramProxy, Packed, Prepared};

/// The tokens that the weights at the start of a document count for.
const PRIOR: f64 = 10.0;
/// The share of the whole mixture's model in the weights at the start of a document.
const WHOLE: f64 = 0.5;

impl NgramProxy {
    /// The loss on each target, in bits per byte, of experts that adapt to each document. `buckets`
    /// has the pieces of each bucket; one without tokens counts for nothing. The result does not
    /// depend on the order of the pieces of a bucket.
    pub fn adapted_losses(&self, buckets: &[Vec<&[u32]>]) -> Vec<f64> {
        match &self.0 {
            Packed::Small(targets) => adapted_losses(targets, buckets),
            Packed::Large(targets) => adapted_losses(targets, buckets),
        }
    }
}

/// The experts of a mixture.
struct Experts {
    /// The weights at the start of a document, which sum to 1.
    weights: Vec<f64>,
    /// For each n-gram of the targets' highest level, the probability of its last token under each
    /// expert.
    probabilities: Vec<f32>,
}

impl Experts {
    /// The whole mixture, and each bucket that has tokens.
    fn new<G: Gram>(targets: &Prepared<G>, buckets: &[Vec<&[u32]>]) -> Experts {
        let tokens = |pieces: &[&[u32]]| pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let buckets: Vec<_> = buckets.iter().filter(|pieces| tokens(pieces) > 0).collect();
        let total: usize = buckets.iter().map(|pieces| tokens(pieces)).sum();

        let whole = targets.model(buckets.iter().copied().flatten().copied());
        let number = buckets.len() + 1;
        let mut probabilities = vec![0.0; whole.len() * number];
        let mut place = |expert: usize, model: Vec<f64>| {
            let own = probabilities.iter_mut().skip(expert).step_by(number);
            own.zip(model).for_each(|(own, found)| *own = found as f32);
        };

        place(0, whole);
        let mut weights = vec![WHOLE];
        for (expert, pieces) in (1..).zip(buckets) {
            place(expert, targets.model(pieces.iter().copied()));
            weights.push((1.0 - WHOLE) * tokens(pieces) as f64 / total as f64);
        }

        Experts {
            weights,
            probabilities,
        }
    }

    /// The bits of a document, whose positions have these n-grams.
    fn bits(&self, document: &[u32]) -> f64 {
        let number = self.weights.len();
        // Prior tokens and those seen so far, by the expert that they are likely of.
        let mut counts: Vec<f64> = self.weights.iter().map(|weight| weight * PRIOR).collect();
        let mut joint = vec![0.0; number];

        let mut bits = 0.0;
        let mut total: f64 = counts.iter().sum();
        for &at in document {
            let own = &self.probabilities[at as usize * number..][..number];
            let mut sum = 0.0;
            for ((joint, count), &probability) in joint.iter_mut().zip(&counts).zip(own) {
                *joint = count * f64::from(probability);
                sum += *joint;
            }

            bits -= (sum / total).log2();
            for (count, joint) in counts.iter_mut().zip(&joint) {
                *count += joint / sum;
            }
            total += 1.0;
        }
        bits
    }
}

fn adapted_losses<G: Gram>(targets: &Prepared<G>, buckets: &[Vec<&[u32]>]) -> Vec<f64> {
    let experts = Experts::new(targets, buckets);

    let mut documents = targets.documents.iter().peekable();
    let mut begin = 0;
    let mut loss = |&(end, bytes): &(usize, u64)| {
        let mut bits = 0.0;
        while let Some(&to) = documents.next_if(|to| **to <= end) {
            bits += experts.bits(&targets.at[begin..to]);
            begin = to;
        }
        bits / bytes as f64
    };
    targets.targets.iter().map(&mut loss).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::ngram_proxy::Target;
    use super::*;

    /// Texts of tokens from a range, in which n-grams repeat.
    fn texts(seed: u64, number: usize, length: usize, ids: std::ops::Range<u32>) -> Vec<Vec<u32>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut id = || {
            let (a, b) = (
                random.random_range(ids.clone()),
                random.random_range(ids.clone()),
            );
            a.min(b)
        };
        (0..number)
            .map(|_| (0..length).map(|_| id()).collect())
            .collect()
    }

    fn pieces(texts: &[Vec<u32>]) -> Vec<&[u32]> {
        texts.iter().map(Vec::as_slice).collect()
    }

    /// A target for each document, so that a loss is the document's bits.
    fn proxy(documents: &[Vec<u32>], vocabulary: usize) -> NgramProxy {
        let target = |document: &Vec<u32>| Target {
            documents: vec![document.clone()],
            bytes: 1,
        };
        let targets: Vec<Target> = documents.iter().map(target).collect();
        NgramProxy::new(&targets, vocabulary, 0).unwrap()
    }

    fn near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(a, b)| (a - b).abs() < 1e-5 * b.max(1.0))
    }

    #[test]
    fn losses_follow_the_definition() {
        let (left, right) = (texts(1, 6, 50, 0..7), texts(2, 3, 50, 2..9));
        let documents = [texts(3, 2, 30, 0..9), texts(4, 1, 30, 0..5)].concat();
        let proxy = proxy(&documents, 9);
        let (left, right) = (pieces(&left), pieces(&right));

        let whole = [&left[..], &right].concat();
        let models = [&whole, &left, &right].map(|p| proxy.probabilities(p.iter().copied()));
        let expected = (0..documents.len()).map(|document| {
            let own = |position: usize| models.each_ref().map(|m| m[document][position]);
            // 300 tokens of the one, 150 of the other.
            let mut counts = [5.0, 5.0 * 2.0 / 3.0, 5.0 / 3.0];
            let mut bits = 0.0;
            for own in (0..documents[document].len()).map(own) {
                let total: f64 = counts.iter().sum();
                let mean = (0..3).map(|k| counts[k] / total * own[k]).sum::<f64>();
                (0..3).for_each(|k| counts[k] += counts[k] / total * own[k] / mean);
                bits -= mean.log2();
            }
            bits
        });
        let expected: Vec<f64> = expected.collect();

        let found = proxy.adapted_losses(&[left.clone(), right.clone()]);
        assert!(near(&found, &expected), "{found:?} {expected:?}");

        let backwards: Vec<&[u32]> = left.iter().rev().copied().collect();
        let with_empty = [backwards, Vec::new(), vec![&[]], right];
        assert_eq!(proxy.adapted_losses(&with_empty), found);
    }

    #[test]
    fn a_target_of_several_documents_is_their_sum() {
        let (train, documents) = (texts(5, 6, 50, 0..9), texts(6, 3, 20, 0..9));
        let buckets = [pieces(&train[..2]), pieces(&train[2..])];
        let bits = proxy(&documents, 9).adapted_losses(&buckets);

        let target = |documents: &[Vec<u32>], bytes| Target {
            documents: documents.to_vec(),
            bytes,
        };
        let targets = [target(&documents[..2], 10), target(&documents[2..], 5)];
        let found = NgramProxy::new(&targets, 9, 0).unwrap();
        let expected = [(bits[0] + bits[1]) / 10.0, bits[2] / 5.0];
        assert!(near(&found.adapted_losses(&buckets), &expected));

        // A large vocabulary takes other integers and gives the same.
        let large = NgramProxy(Packed::Large(Prepared::new(&targets, 9, 0)));
        let (small, large) = (
            found.adapted_losses(&buckets),
            large.adapted_losses(&buckets),
        );
        assert_eq!(small, large);
    }

    #[test]
    fn one_bucket_is_the_model_of_the_mixture() {
        let (train, documents) = (texts(7, 8, 60, 0..9), texts(8, 3, 20, 0..9));
        let proxy = proxy(&documents, 9);
        let plain = proxy.losses(train.iter().map(Vec::as_slice));
        assert!(near(&proxy.adapted_losses(&[pieces(&train)]), &plain));
        assert!(near(
            &proxy.adapted_losses(&[]),
            &proxy.losses(std::iter::empty())
        ));
    }

    #[test]
    fn probabilities_of_the_next_token_sum_to_one() {
        let (left, right) = (texts(9, 6, 50, 0..6), texts(10, 3, 50, 2..8));
        let start = texts(11, 1, 25, 0..8).remove(0);
        let next = (0..8).map(|id| [&start[..], &[id]].concat());
        let documents: Vec<Vec<u32>> = std::iter::once(start.clone()).chain(next).collect();

        let bits = proxy(&documents, 8).adapted_losses(&[pieces(&left), pieces(&right)]);
        let sum: f64 = bits[1..].iter().map(|all| (bits[0] - all).exp2()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }

    #[test]
    fn experts_tell_from_context_which_bucket_a_document_is_of() {
        // Tokens in any order, in the one bucket rather low ones and in the other high ones. So the
        // tokens just before say little about the bucket, and those of the whole document say it.
        let low = texts(12, 40, 80, 0..20);
        let high: Vec<Vec<u32>> = low
            .iter()
            .map(|text| text.iter().map(|id| 19 - id).collect())
            .collect();
        let documents = [low[0].clone(), high[0].clone()];
        let proxy = proxy(&documents, 20);

        let buckets = [pieces(&low[1..]), pieces(&high[1..])];
        let adapted = proxy.adapted_losses(&buckets);
        let plain = proxy.losses(buckets.iter().flatten().copied());
        assert!(
            adapted.iter().zip(&plain).all(|(a, p)| *a < p - 2.0),
            "{adapted:?} {plain:?}"
        );
    }
}
