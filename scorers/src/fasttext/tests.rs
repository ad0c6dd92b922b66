//! The models of `fixtures/fasttext`: the answers of the reference, and files that are not what they
//! should be.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test says that the fixtures are not there"
)]

use std::path::PathBuf;

use super::*;

/// The farthest that a probability may be from that of the reference.
const TOLERANCE: f64 = 1e-5;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/fasttext")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

/// What a model says of a text: the labels with a probability, the likeliest first.
fn answer(model: &Model, text: &str) -> Vec<(String, f64)> {
    let (mut memory, mut bag, mut scores) = (Memory::default(), Bag::default(), Vec::new());
    model.read(text, &mut memory, &mut bag);
    model.scores(&bag, &mut memory, &mut scores);

    let mut all: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
    all.retain(|(_, score)| score.is_finite());
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!(
        all.first().map(|(_, score)| score.exp()),
        model.top(&scores).map(|top| top.probability)
    );
    all.into_iter()
        .map(|(label, score)| (model.label(label).to_owned(), f64::from(score.exp())))
        .collect()
}

#[test]
fn labels_and_probabilities_are_those_of_the_reference() {
    let expected: serde_json::Value = serde_json::from_slice(&bytes("expected.json")).unwrap();
    let texts = expected["texts"].as_array().unwrap();

    for (name, answers) in expected["models"].as_object().unwrap() {
        let model = Model::open(&folder().join(name)).unwrap();
        for (text, expected) in texts.iter().zip(answers.as_array().unwrap()) {
            let text = text.as_str().unwrap();
            let found = answer(&model, text);
            let expected = expected.as_array().unwrap();
            assert!(found.len() >= expected.len(), "{name}: {text:?}");

            // Labels without a chance are level, in any order.
            assert_eq!(
                found[0].0,
                expected[0][0].as_str().unwrap(),
                "{name}: {text:?}"
            );
            for expected in expected {
                let label = expected[0].as_str().unwrap();
                let own = found.iter().find(|found| found.0 == label).unwrap();
                let distance = (own.1 - expected[1].as_f64().unwrap()).abs();
                assert!(distance <= TOLERANCE, "{name}: {text:?} {own:?} {expected}");
            }
        }
    }
}

#[test]
fn a_line_feed_is_a_space() {
    let model = Model::open(&folder().join("quality.bin")).unwrap();
    let line = "the old bridge and the river";
    assert_eq!(
        answer(&model, line),
        answer(&model, &line.replace(' ', "\n"))
    );
}

#[test]
fn parts_of_a_text_add_up_to_the_text() {
    let model = Model::open(&folder().join("languages.ftz")).unwrap();
    let (mut memory, mut whole, mut part) = (Memory::default(), Bag::default(), Bag::default());
    model.read_part("the old bridge", &mut memory, &mut whole);

    let mut sum = Bag::default();
    for text in ["the old", "", "bridge"] {
        model.read_part(text, &mut memory, &mut part);
        sum.add(&part);
    }
    assert_eq!(sum.rows(), whole.rows());

    let (mut one, mut other) = (Vec::new(), Vec::new());
    model.scores(&whole, &mut memory, &mut one);
    model.scores(&sum, &mut memory, &mut other);
    assert!(
        one.iter()
            .zip(&other)
            .all(|(a, b)| (a.exp() - b.exp()).abs() < 1e-6)
    );
}

#[test]
fn a_text_without_known_rows_has_no_label() {
    let model = Model::open(&folder().join("languages.bin")).unwrap();
    let (mut memory, mut bag, mut scores) = (Memory::default(), Bag::default(), vec![0.0]);
    model.read_part(" \n ", &mut memory, &mut bag);
    model.scores(&bag, &mut memory, &mut scores);
    assert_eq!((bag.rows(), scores.len(), model.top(&scores)), (0, 0, None));
    assert_eq!(model.top(&[f32::NAN, f32::NEG_INFINITY]), None);
    assert_eq!(model.top(&[-1.0, -0.5, -0.5]).map(|top| top.label), Some(2));
}

/// The message of the error that a file gives, `none` if it opens.
fn message(bytes: Vec<u8>) -> String {
    Model::from_bytes("m", bytes)
        .err()
        .map_or("none".to_owned(), |error| error.to_string())
}

#[test]
fn every_prefix_is_refused() {
    for name in ["languages.ftz", "languages.bin", "quality.bin", "many.ftz"] {
        let whole = bytes(name);
        for len in 0..whole.len() {
            let found = message(whole[..len].to_vec());
            assert!(
                found.starts_with("fastText model m, byte "),
                "{name} {len}: {found}"
            );
        }

        let longer = message([&whole[..], b"x"].concat());
        let expected = format!(
            "fastText model m, byte {}: 1 bytes follow the model",
            whole.len()
        );
        assert_eq!(longer, expected);
    }
}

#[test]
fn every_changed_byte_is_refused_or_harmless() {
    let (mut opened, mut refused) = (0, 0);
    for name in ["languages.ftz", "many.ftz", "quality.bin"] {
        let whole = bytes(name);
        for at in 0..whole.len() {
            for change in [1 << (at % 8), 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                match Model::from_bytes("m", bytes) {
                    Ok(model) => {
                        answer(&model, "the old bridge </s>");
                        opened += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    // Most of a file is numbers of which each is possible.
    assert!(opened > refused && refused > 3_000, "{opened} {refused}");
}

/// `languages.bin` with other bytes at this place.
fn with(at: usize, new: &[u8]) -> String {
    let mut bytes = bytes("languages.bin");
    bytes[at..at + new.len()].copy_from_slice(new);
    message(bytes)
}

#[test]
fn an_absurd_header_is_named_with_its_place() {
    let int = i32::to_le_bytes;
    let cases = [
        (
            0,
            int(7),
            "byte 0: the first bytes are not those of a fastText model",
        ),
        (4, int(13), "byte 4: the version is 13, expected 11 to 12"),
        (8, int(0), "byte 8: dim is 0, expected 1 to 2147483646"),
        (
            28,
            int(1 << 20),
            "byte 28: wordNgrams is 1048576, expected 0 to 64",
        ),
        (32, int(9), "byte 32: loss is 9, expected 1 to 4"),
        (
            36,
            int(2),
            "byte 36: model is 2, expected 3: a supervised model, with labels",
        ),
        (
            40,
            int(-1),
            "byte 40: bucket is -1, expected 0 to 2147483646",
        ),
        (
            48,
            int(i32::MAX),
            "byte 48: maxn is 2147483647, expected 0 to 64",
        ),
    ];
    for (at, new, expected) in cases {
        assert_eq!(with(at, &new), format!("fastText model m, {expected}"));
    }

    // Sizes that the file has no room for are refused before memory is taken for them.
    assert!(with(64, &int(i32::MAX)).contains("byte 64: the dictionary says "));
    let huge = [int(2_000_000_005), int(2_000_000_000)].concat();
    let found = with(64, &huge);
    assert!(found.contains("at most 1878 entries"), "{found}");
    let bucket = with(40, &int(2_000_000_000));
    assert!(bucket.contains("the input matrix has ") && bucket.contains("at least 2000000"));
}

#[test]
fn what_is_no_file_is_refused() {
    let found = Model::open(&folder()).err().unwrap().to_string();
    assert!(found.ends_with(": it is not a regular file"), "{found}");
    let found = Model::open(&folder().join("absent.bin")).err().unwrap();
    assert!(found.to_string().starts_with("cannot read "), "{found}");
}
