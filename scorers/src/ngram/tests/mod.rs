//! Tests of the whole model: one worked out by hand, `lmplz`'s numbers, probabilities that sum to
//! 1, damaged files.

mod damaged;
mod kneser_ney;

use std::collections::HashMap;

use super::model::State;
use super::{Model, NgramError, TrainConfig, TrainSummary, bos, eos, train, unk};

/// The words of a text in the order of their first appearance, and the text's lines as numbers of
/// these words.
fn numbered(text: &str) -> (Vec<String>, Vec<Vec<u32>>) {
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let mut pieces = Vec::new();

    let mut number = |word| {
        *ids.entry(word).or_insert_with(|| {
            pieces.push(String::from(word));
            pieces.len() as u32 - 1
        })
    };
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().map(&mut number).collect())
        .collect();

    (pieces, lines)
}

/// A model of the words of a text. Nothing is dropped but what `prune` says.
fn learn(text: &str, order: usize, prune: &[u64]) -> (Model, TrainSummary) {
    let (pieces, lines) = numbered(text);
    learn_ids(&lines, &pieces, order, prune, 1 << 20)
}

/// A model of lines of token ids. No run of the counter may stay behind.
fn learn_ids(
    lines: &[Vec<u32>],
    pieces: &[String],
    order: usize,
    prune: &[u64],
    memory: usize,
) -> (Model, TrainSummary) {
    let dir = tempfile::tempdir().expect("a directory for runs");
    let mut config = TrainConfig::new("words", dir.path().to_owned());
    (config.order, config.prune, config.memory_bytes) = (order, prune.to_vec(), memory);

    let learnt =
        train(lines.iter().map(Ok::<_, NgramError>), pieces, &config).expect("it can be learnt");

    assert_eq!(
        std::fs::read_dir(dir.path())
            .expect("it is a directory")
            .count(),
        0,
        "runs are left"
    );

    learnt
}

/// p of a token after a context, which may begin with `<s>`.
fn p(model: &Model, context: &[u32], token: u32) -> f64 {
    let trie = model.trie();
    let mut state = State::empty();
    for &word in context {
        state.step(&trie, word);
    }
    10f64.powf(state.step(&trie, token))
}

/// The sum of the probabilities of everything that may follow `context`.
fn total(model: &Model, context: &[u32]) -> f64 {
    let vocabulary = model.vocabulary().len();
    let tokens = (0..vocabulary as u32).filter(|&id| model.trie().knows(id));

    tokens
        .chain([unk(vocabulary), eos(vocabulary)])
        .map(|token| p(model, context, token))
        .sum()
}

/// Pseudo-random numbers, the same in every run: Knuth's generator (MMIX).
struct Random(u64);

impl Random {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);

        // The low bits of such a generator have short periods.
        (self.0 >> 33) as usize % n
    }

    /// Lines of tokens, in which small ids are frequent. Some lines are empty.
    fn lines(&mut self, lines: usize, vocabulary: usize) -> Vec<Vec<u32>> {
        let mut token = |_| {
            let most = self.below(vocabulary) + 1;
            self.below(most) as u32
        };

        (0..lines)
            .map(|line| (0..line % 13).map(&mut token).collect())
            .collect()
    }
}

/// Names for a vocabulary: `t0`, `t1`, …
fn named(vocabulary: usize) -> Vec<String> {
    (0..vocabulary).map(|id| format!("t{id}")).collect()
}

#[test]
fn tokens_by_name_and_number() {
    let (model, _) = learn("b a\na c\n", 2, &[]);
    let vocabulary = model.vocabulary();

    assert_eq!((vocabulary.len(), vocabulary.is_empty()), (3, false));
    assert_eq!(
        ["b", "a", "c", "d", "", "<s>"].map(|word| vocabulary.id(word)),
        [Some(0), Some(1), Some(2), None, None, None]
    );
    assert_eq!(
        [0, 1, 2, 3, u32::MAX].map(|id| vocabulary.piece(id)),
        [Some("b"), Some("a"), Some("c"), None, None]
    );

    assert!(
        vocabulary.is(&["b", "a", "c"])
            && !vocabulary.is(&["a", "b", "c"])
            && !vocabulary.is(&["b", "ac", ""])
    );

    assert_eq!(vocabulary.digest().len(), 64);
    assert_eq!((model.order(), model.tokenizer()), (2, "words"));
}

#[test]
fn lines_of_names_and_of_numbers_agree() {
    let (model, _) = learn("b a\na c\n", 2, &[]);

    let line = model.score_line(&[1, 2, 7, u32::MAX]);
    assert_eq!((line.tokens, line.oov), (4, 2));
    assert_eq!(model.score_pieces(" a\t c\u{b}never </s>\r"), line);

    // The name `</s>` in a text does not end the line. It is an unknown token, as `never` is.
    let empty = model.score_pieces("");
    assert_eq!((empty.tokens, empty.oov), (0, 0));
    assert!((10f64.powf(empty.log10_sum) - p(&model, &[bos(3)], eos(3))).abs() < 1e-12);

    let sum: f64 = [(&[bos(3)][..], 1), (&[1], 2), (&[2], eos(3))]
        .map(|(c, w)| p(&model, c, w).log10())
        .iter()
        .sum();
    assert!((model.score_line(&[1, 2]).log10_sum - sum).abs() < 1e-6);
}

#[test]
fn a_token_that_no_line_has_is_unknown() {
    let pieces = named(4);
    let (model, summary) = learn_ids(&[vec![0, 2], vec![2, 0]], &pieces, 3, &[], 1 << 20);
    assert_eq!(
        (summary.sentences, summary.tokens, summary.orders[0].seen),
        (2, 4, 3)
    );

    for id in [1, 3, 4, 99] {
        assert_eq!(model.score_line(&[0, id]), model.score_line(&[0, 1]));
        assert_eq!(model.score_line(&[id]).oov, 1);
    }

    assert_eq!(model.vocabulary().id("t3"), Some(3));
}

#[test]
fn a_file_is_what_was_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("model.ngram");
    let (model, _) = learn("a b c\na c\n", 3, &[]);
    model.write(&path).expect("it can be written");

    let mapped = Model::open(&path).expect("it opens");
    mapped.verify().expect("it is whole");

    assert_eq!(mapped.digest(), model.digest());
    assert_eq!(
        mapped.score_pieces("a b c c x"),
        model.score_pieces("a b c c x")
    );

    assert!(matches!(
        Model::open(&dir.path().join("none")),
        Err(NgramError::Io { verb: "read", .. })
    ));
}
