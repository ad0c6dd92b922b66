//! Modified Kneser–Ney: numbers by hand, numbers of `lmplz`, and properties of any text.

use super::*;
use crate::ngram::{read_arpa, write_arpa};

/// Probabilities are stored as log₁₀ in `f32`: equal to 1e-6.
fn assert_near(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-6,
        "{found}, expected {expected}"
    );
}

/// Two lines, `a b` and `a c`, as bigrams. The counts of counts do not suffice, so D1, D2 = 0.5, 1.
///
/// Unigrams count the different words before them: a 1 (`<s>`), b 1 (a), c 1 (a), `</s>` 2 (b, c),
/// which is 5 in all. Taken from them is 3 · 0.5 + 1 · 1 = 2.5, or γ = 2.5 / 5, shared by the 4 and
/// `<unk>`: 0.5 / 5 = 0.1 each. p(a) = p(b) = p(c) = (1 − 0.5) / 5 + 0.1 = 0.2; p(`</s>`) = (2 − 1)
/// / 5 + 0.1 = 0.3; p(`<unk>`) = 0.1.
///
/// Bigrams count occurrences. `<s>` a: 2, so γ(`<s>`) = 1 / 2. a b and a c: 1 each, γ(a) = (0.5 +
/// 0.5) / 2. b `</s>`: 1, γ(b) = 0.5 / 1, and the same for c.
#[test]
fn worked_by_hand() {
    let (model, summary) = learn("a b\na c\n", 2, &[]);
    let (a, b, c) = (0, 1, 2);

    assert_near(p(&model, &[], a), 0.2);
    assert_near(p(&model, &[], eos(3)), 0.3);
    assert_near(p(&model, &[], unk(3)), 0.1);

    assert_near(p(&model, &[bos(3)], a), (2.0 - 1.0) / 2.0 + 0.5 * 0.2);
    assert_near(p(&model, &[bos(3)], b), 0.5 * 0.2);
    assert_near(p(&model, &[a], b), (1.0 - 0.5) / 2.0 + 0.5 * 0.2);
    assert_near(p(&model, &[a], eos(3)), 0.5 * 0.3);
    assert_near(p(&model, &[b], eos(3)), (1.0 - 0.5) / 1.0 + 0.5 * 0.3);

    // No word was seen after `</s>` or `<unk>`, so the unigrams decide.
    assert_near(p(&model, &[unk(3)], c), 0.2);
    // 0.6 · 0.35 · 0.65.
    assert_near(10f64.powf(model.score_pieces("a b").log10_sum), 0.1365);

    assert_eq!(
        summary
            .orders
            .iter()
            .map(|order| order.seen)
            .collect::<Vec<_>>(),
        [4, 5]
    );

    assert_eq!(
        summary.orders[0].fell_back.as_deref(),
        Some("no n-gram has a count of 3")
    );
}

/// A text for `lmplz`, with an empty line.
const TEXT: &str = "\
the cat sat on the mat
the cat sat on the hat
a dog sat on the mat

the dog ate the hat
the cat ate
";

/// The output of `lmplz -o 3 --prune 0 0 1 --discount_fallback` of KenLM (in the sdist of kenlm
/// 0.3.0) for [`TEXT`].
const LMPLZ: &str = "\
\\data\\
ngram 1=12
ngram 2=18
ngram 3=7

\\1-grams:
-1.3294578\t<unk>\t0
0\t<s>\t-0.38021123
-0.69165415\t</s>\t0
-0.830202\tthe\t-0.30103
-1.1127486\tcat\t-0.30103
-1.1421582\tsat\t-0.30103
-1.1127486\ton\t-0.30103
-1.1127486\tmat\t-0.30103
-1.1127486\that\t-0.30103
-1.1127486\ta\t-0.30103
-1.1421582\tdog\t-0.30103
-1.1421582\tate\t-0.30103

\\2-grams:
-0.7744779\t<s> </s>\t0
-0.22062086\tmat </s>\t0
-0.22062086\that </s>\t0
-0.4538291\tate </s>\t0
-0.3203291\t<s> the\t0
-0.24114786\ton the\t-0.09691001
-0.48956087\tate the\t0
-0.85833865\tthe cat\t-0.09691001
-0.5435698\tcat sat\t-0.15490198
-0.5435698\tdog sat\t0
-0.26875988\tsat on\t0
-0.85833865\tthe mat\t-0.15490198
-0.6223887\tthe hat\t-0.15490198
-0.9375199\t<s> a\t0
-0.8663262\tthe dog\t0
-0.270801\ta dog\t0
-0.5435698\tcat ate\t0
-0.5435698\tdog ate\t0

\\3-grams:
-0.14195082\tthe mat </s>
-0.14195082\tthe hat </s>
-0.24114786\tsat on the
-0.85833865\t<s> the cat
-0.367711\tthe cat sat
-0.1694131\tcat sat on
-0.50744355\ton the mat

\\end\\
";

/// The ARPA form of a model.
fn arpa(model: &Model) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("model.arpa");
    write_arpa(model, &path).expect("it can be written");
    std::fs::read_to_string(path).expect("it was written")
}

#[test]
fn the_numbers_are_those_of_lmplz() {
    let (model, summary) = learn(TEXT, 3, &[0, 0, 1]);

    let table = |arpa: &str| -> HashMap<String, (f64, f64)> {
        let number = |field: &str| field.parse().expect("it is a number");

        let rows = arpa
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .filter(|row| row.len() > 1);

        rows.map(|row| {
            (
                row[1].to_owned(),
                (
                    number(row[0]),
                    row.get(2).map_or(0.0, |field| number(field)),
                ),
            )
        })
        .collect()
    };

    let (ours, theirs) = (table(&arpa(&model)), table(LMPLZ));
    assert_eq!((ours.len(), theirs.len()), (37, 37));

    for (words, (prob, backoff)) in theirs {
        let (our_prob, our_backoff) = ours
            .get(&words)
            .unwrap_or_else(|| panic!("{words} is missing"));

        assert!(
            (prob - our_prob).abs() < 1e-6 && (backoff - our_backoff).abs() < 1e-6,
            "{words}"
        );
    }

    let kept: Vec<(u64, u64)> = summary
        .orders
        .iter()
        .map(|order| (order.seen, order.kept))
        .collect();
    // 12 unigrams by `lmplz`, which counts `<unk>` and `<s>` too.
    assert_eq!(kept, [(10, 10), (18, 18), (17, 7)]);

    let discounts = [
        [0.454_545, 1.545_455, 1.181_818],
        [0.5, 1.0, 1.5],
        [0.5, 1.4, 3.0],
    ];
    for (order, expected) in summary.orders.iter().zip(discounts) {
        order
            .discounts
            .iter()
            .zip(expected)
            .for_each(|(&found, expected)| assert_near(found, expected));
    }
}

#[test]
fn pruning_moves_what_it_drops_to_shorter_contexts() {
    let (whole, all) = learn(TEXT, 3, &[]);
    let (pruned, some) = learn(TEXT, 3, &[0, 1]);

    let (the, cat, sat, on) = (0, 1, 2, 3);

    // The discounts are those of the whole text.
    assert_eq!(all.orders[2].discounts, some.orders[2].discounts);
    assert_eq!((all.orders[1].kept, some.orders[1].kept), (18, 9));

    // One of three times, `hat` follows `on the`. Without pruning this is (1 − D1) / 3 + γ · p(hat |
    // the), and with pruning γ gets the whole third.
    let hat = 5;
    assert_near(
        p(&whole, &[on, the], hat),
        0.5 / 3.0 + (0.5 + 1.4) / 3.0 * p(&whole, &[the], hat),
    );
    assert_near(
        p(&pruned, &[on, the], hat),
        (1.0 + 1.4) / 3.0 * p(&pruned, &[the], hat),
    );

    // Of the words after `cat`, `ate` is dropped: its count of 1, half of the sum, goes to γ. D1 is
    // taken from `cat sat`.
    assert_near(
        p(&pruned, &[cat], sat),
        0.5 / 2.0 + (0.5 + 1.0) / 2.0 * p(&pruned, &[], sat),
    );
}

#[test]
fn probabilities_sum_to_one() {
    let mut random = Random(7);
    for order in 1..=6 {
        for prune in [&[][..], &[0, 0, 1], &[0, 1, 1, 2], &[0, 3]] {
            let lines = random.lines(300, 30);
            let (model, _) = learn_ids(&lines, &named(33), order, prune, 1 << 20);

            let mut contexts = vec![
                vec![],
                vec![bos(33)],
                vec![unk(33)],
                vec![eos(33)],
                vec![bos(33), 1, 0],
            ];

            // Contexts from the text, and contexts that are most likely not in the text.
            contexts.extend(
                lines
                    .iter()
                    .filter(|line| line.len() > 5)
                    .take(40)
                    .map(|line| line[..5].to_vec()),
            );
            contexts.extend(
                (0..40).map(|_| (0..5).map(|_| random.below(30) as u32).collect::<Vec<_>>()),
            );

            for context in contexts {
                let total = total(&model, &context);
                assert!(
                    (total - 1.0).abs() < 2e-6,
                    "order {order}, {prune:?}, after {context:?}: {total}"
                );
            }
        }
    }
}

#[test]
fn an_arpa_file_holds_the_model() {
    let mut random = Random(11);
    for order in 1..=6 {
        let lines = random.lines(400, 12);
        let (model, _) = learn_ids(&lines, &named(12), order, &[0, 0, 1], 1 << 20);

        let text = arpa(&model);
        let read = read_arpa(text.as_bytes(), "words").expect("our own file can be read");
        assert!(model.as_bytes() == read.as_bytes(), "order {order}");
    }

    // A token that the model lacks has no line.
    let (model, _) = learn_ids(&[vec![0, 2]], &named(3), 2, &[], 1 << 20);
    let read = read_arpa(arpa(&model).as_bytes(), "words").expect("it can be read");
    assert_eq!(
        (read.vocabulary().len(), read.vocabulary().id("t1")),
        (2, None)
    );
    assert_eq!(
        read.score_pieces("t0 t1 t2"),
        model.score_pieces("t0 t1 t2")
    );
}

#[test]
fn memory_and_threads_change_nothing() {
    let lines = Random(3).lines(4000, 50);
    let pieces = named(50);
    let (model, summary) = learn_ids(&lines, &pieces, 4, &[0, 0, 1], 1 << 30);
    assert_eq!(summary.spills, 0);

    // A run of 100 n-grams is small enough for more than 128 runs, which are then merged.
    for memory in [1 << 12, 100 * 16, 1 << 17] {
        let (spilled, summary) = learn_ids(&lines, &pieces, 4, &[0, 0, 1], memory);
        assert!(
            spilled.as_bytes() == model.as_bytes() && summary.spills > 1,
            "{memory} bytes: {} spills",
            summary.spills
        );
    }

    let three = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .expect("three threads");
    let (threaded, _) = three.install(|| learn_ids(&lines, &pieces, 4, &[0, 0, 1], 1 << 30));
    assert!(threaded.as_bytes() == model.as_bytes());
}

#[test]
fn texts_with_next_to_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = TrainConfig::new("words", dir.path().to_owned());

    let none: [Result<Vec<u32>, NgramError>; 0] = [];
    assert!(matches!(
        train(none, &["a"], &config),
        Err(NgramError::Empty)
    ));

    for (text, seen) in [
        ("\n", [1, 1, 0, 0, 0]),
        ("a\n", [2, 2, 1, 0, 0]),
        ("a a\n", [2, 3, 2, 1, 0]),
    ] {
        let (model, summary) = learn(text, 5, &[]);
        assert_eq!(
            summary
                .orders
                .iter()
                .map(|order| order.seen)
                .collect::<Vec<_>>(),
            seen,
            "{text:?}"
        );

        let vocabulary = model.vocabulary().len();
        for context in [&[][..], &[bos(vocabulary)], &[0, 0]] {
            assert_near(total(&model, context), 1.0);
        }
        assert!(model.score_pieces("a b").log10_sum.is_finite());
    }
}

#[test]
fn what_cannot_be_learnt() {
    let dir = tempfile::tempdir().expect("a directory");
    let with = |change: &dyn Fn(&mut TrainConfig), sentence: &[u32]| {
        let mut config = TrainConfig::new("words", dir.path().to_owned());
        change(&mut config);
        let error = train([Ok::<_, NgramError>(sentence)], &["a", "b"], &config).err();
        error.map_or("none".to_owned(), |error| error.to_string())
    };

    assert_eq!(with(&|_| {}, &[0, 1]), "none");
    assert_eq!(
        with(&|_| {}, &[0, 2]),
        "token id 2 is not in a vocabulary of 2 tokens"
    );
    assert_eq!(
        with(&|c| c.order = 7, &[0]),
        "n-gram training: order is 7, expected 1 to 6"
    );

    for prune in [vec![1], vec![0, 2, 1]] {
        assert!(
            with(&|c| c.prune = prune.clone(), &[0]).starts_with("n-gram training: prune is [")
        );
    }

    assert!(
        with(&|c| c.discount_fallback = Some([0.5, 0.0, 1.0]), &[0]).contains("discount_fallback")
    );
    assert!(
        with(&|c| c.discount_fallback = Some([0.5, f64::NAN, 1.0]), &[0])
            .contains("discount_fallback")
    );

    let none = with(&|c| c.discount_fallback = None, &[0]);
    assert_eq!(
        none,
        "n-gram training: no discounts for order 1: no n-gram has a count of 2; set discount_fallback to train anyway"
    );

    // The caller's own errors come back as they are.
    let lines = [
        Ok(vec![0]),
        Err(NgramError::TokenId {
            id: 5,
            vocabulary: 0,
        }),
    ];
    let config = TrainConfig::new("words", dir.path().to_owned());
    assert!(matches!(
        train(lines, &["a"], &config),
        Err(NgramError::TokenId { id: 5, .. })
    ));

    // A buffer of one n-gram, and no directory for the runs.
    let mut config = TrainConfig::new("words", dir.path().join("none"));
    config.memory_bytes = 1;
    assert!(matches!(
        train([Ok([0, 0])], &["a"], &config),
        Err(NgramError::Io { verb: "create", .. })
    ));
}
