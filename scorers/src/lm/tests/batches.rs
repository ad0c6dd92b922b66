//! Many documents at once: the same scores, in order, even on a device that is too small.

use super::*;

fn tiny_windowing(kind: WindowKind) -> Windowing {
    Windowing {
        kind,
        context: 512,
        bos: None,
    }
}

/// Documents of many lengths, including an empty one and one of a single token.
fn documents() -> Vec<Vec<u32>> {
    let lengths = [
        7, 0, 300, 1, 2, 511, 64, 65, 33, 512, 700, 3, 7, 16, 1100, 25,
    ];
    lengths
        .iter()
        .map(|&n| (0..n).map(|i| (i * 37 + n * 11) % 1024).collect())
        .collect()
}

#[test]
fn batches_change_nothing() {
    for kind in [WindowKind::Start, WindowKind::StartMiddle, WindowKind::All] {
        let documents = documents();
        let alone = Scorer::new(tiny("untied"), tiny_windowing(kind), 1, vec![3; 1024]);
        let (expected, stats) = alone.score(&documents).expect("scores");
        assert_eq!(stats.padding.share(), 0.0);

        // The second document is empty and the fourth has one token: nothing predicts it.
        assert_eq!(
            (
                expected[1].n_scored,
                expected[3].n_scored,
                expected[4].n_scored
            ),
            (0, 0, 1)
        );
        assert_eq!(
            (
                expected[1].mean_nll(),
                expected[3].perplexity(),
                expected[1].bits_per_byte()
            ),
            (None, None, None)
        );

        for budget in [64, 600, 2048, 1 << 20] {
            let scorer = Scorer::new(tiny("untied"), tiny_windowing(kind), budget, vec![3; 1024]);
            let (found, stats) = scorer.score(&documents).expect("scores");
            assert!((0.0..0.9).contains(&stats.padding.share()));

            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(
                    (found.n_scored, found.bytes_scored),
                    (expected.n_scored, expected.bytes_scored)
                );
                assert_eq!(found.bytes_scored, 3 * found.n_scored);
                assert!((found.sum_nll - expected.sum_nll).abs() <= 1e-4 * found.n_scored as f64);
            }
        }
    }
}

#[test]
fn padding_is_not_seen_on_a_device() {
    let documents = documents();
    let scorer =
        |decoder, budget| Scorer::new(decoder, tiny_windowing(WindowKind::All), budget, Vec::new());

    let (expected, _) = scorer(tiny("tied"), 1).score(&documents).expect("scores");
    let (found, _) = scorer(tiny("tied").by_tensors(), 1 << 20)
        .score(&documents)
        .expect("scores");

    for (found, expected) in found.iter().zip(&expected) {
        assert!((found.sum_nll - expected.sum_nll).abs() <= 1e-4 * found.n_scored as f64);
    }
}

#[test]
fn the_order_of_documents_is_kept_and_sums_repeat() {
    let documents = documents();
    let scorer = Scorer::new(
        tiny("tied"),
        tiny_windowing(WindowKind::Start),
        600,
        Vec::new(),
    );
    let (scores, _) = scorer.score(&documents).expect("scores");

    let reversed: Vec<Vec<u32>> = documents.iter().rev().cloned().collect();
    let (mut again, _) = scorer.score(&reversed).expect("scores");
    again.reverse();

    for (a, b) in scores.iter().zip(&again) {
        assert!((a.sum_nll - b.sum_nll).abs() <= 1e-4 * a.n_scored as f64);
    }

    // The same order gives the same bits.
    assert_eq!(scorer.score(&documents).expect("scores").0, scores);
}

/// A device that runs out of memory above a number of padded tokens.
struct SmallDevice {
    decoder: Decoder,
    most_tokens: usize,
    seen: Mutex<Vec<usize>>,
}

impl Forward for SmallDevice {
    fn device(&self) -> String {
        "small".to_owned()
    }

    fn log_probs(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, LmError> {
        let tokens = inputs
            .iter()
            .map(|input| input.tokens.len())
            .max()
            .unwrap_or(0)
            * inputs.len();
        self.seen.lock().expect("no panic").push(tokens);

        if tokens > self.most_tokens {
            return Err(LmError::OutOfMemory {
                device: self.device(),
                documents: inputs.len(),
                tokens,
            });
        }

        self.decoder.log_probs(inputs)
    }
}

#[test]
fn out_of_memory_halves_the_batch() {
    let documents: Vec<Vec<u32>> = (0..64).map(|n| (0..50 + n % 7).collect()).collect();
    let windowing = tiny_windowing(WindowKind::Start);
    let (expected, _) = Scorer::new(tiny("tied"), windowing, 512, Vec::new())
        .score(&documents)
        .expect("scores");

    let small = |most_tokens| SmallDevice {
        decoder: tiny("tied"),
        most_tokens,
        seen: Mutex::new(Vec::new()),
    };

    let scorer = Scorer::new(small(700), windowing, 2048, Vec::new());
    let (found, stats) = scorer.score(&documents).expect("scores");
    assert!(stats.halved >= 1 && stats.halved <= 3, "{stats:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.n_scored, expected.n_scored);
        assert!((found.sum_nll - expected.sum_nll).abs() <= 1e-4 * found.n_scored as f64);
    }

    // With a limit that is known beforehand, nothing fails.
    let limited = Scorer::new(small(700), windowing, 2048, Vec::new()).limited_to(700);
    let (again, stats) = limited.score(&documents).expect("scores");
    assert_eq!((again.len(), stats.halved), (64, 0));

    // What fits is remembered, so nothing fails the second time.
    assert_eq!(scorer.score(&documents).expect("scores").1.halved, 0);

    // Not even one document fits: the error says how many tokens the document has.
    let error = Scorer::new(small(20), windowing, 2048, Vec::new())
        .score(&documents)
        .expect_err("too small");
    assert_eq!(
        error.to_string(),
        "out of memory on small with a batch of 1 documents and 56 tokens"
    );
}
