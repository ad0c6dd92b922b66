//! Model files and ARPA files that are not what they should be: an error, never a panic.

use super::*;
use crate::ngram::format::{HEADER_BYTES, Header};
use crate::ngram::read_arpa;

/// The message of the error that a file gives, `none` if it opens.
fn message(bytes: Vec<u8>) -> String {
    Model::from_bytes("m", bytes)
        .err()
        .map_or("none".to_owned(), |error| error.to_string())
}

#[test]
fn a_damaged_model_is_refused() {
    let (model, _) = learn("a b c\na c b\n", 3, &[]);
    let whole = model.as_bytes();

    for at in 0..HEADER_BYTES {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        assert!(message(bytes).starts_with("n-gram model m: "), "byte {at}");
    }

    for len in [0, 1, HEADER_BYTES - 1, HEADER_BYTES, whole.len() - 1] {
        assert!(
            message(whole[..len].to_vec()).contains(" bytes, "),
            "{len} bytes"
        );
    }

    let longer = message([whole, b"x"].concat());
    assert_eq!(
        longer,
        format!(
            "n-gram model m: the file has {} bytes, the header says {}",
            whole.len() + 1,
            whole.len()
        )
    );

    assert_eq!(
        message(vec![b'x'; 600]),
        "n-gram model m: its first bytes are not those of a model file"
    );
}

#[test]
fn a_damaged_payload_is_found_and_harmless() {
    let (model, _) = learn("a b c\na c b\nb b a\n", 3, &[]);
    let mut random = Random(5);
    for at in HEADER_BYTES..model.as_bytes().len() {
        let mut bytes = model.as_bytes().to_vec();
        bytes[at] ^= 1 << random.below(8);

        let damaged = Model::from_bytes("m", bytes).expect("the header is whole");
        let error = damaged.verify().expect_err("a bit differs");
        assert_eq!(
            error.to_string(),
            "n-gram model m: the file is damaged: its digest differs"
        );

        damaged.score_pieces("a b c b b a x");
        damaged.score_line(&[0, 1, 2, 3, u32::MAX]);
        (0..5).for_each(|id| {
            assert!(
                damaged
                    .vocabulary()
                    .piece(id)
                    .is_none_or(|piece| piece.len() < 9)
            )
        });
    }

    // All bits are ones: every number is as large as possible, and no slot of the vocabulary is
    // free.
    let mut bytes = model.as_bytes().to_vec();
    bytes[HEADER_BYTES..].fill(0xff);
    let damaged = Model::from_bytes("m", bytes).expect("the header is whole");
    assert_eq!(damaged.score_pieces("a b c").oov, 3);
}

#[test]
fn a_header_that_says_too_much_is_refused() {
    let (model, _) = learn("a b c\n", 3, &[]);
    let (header, _, _) = Header::decode("m", model.as_bytes()).expect("it is whole");

    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = header.clone();
        change(&mut header);
        message([&header.encode()[..], &model.as_bytes()[HEADER_BYTES..]].concat())
    };

    assert_eq!(with(&|_| {}), "none");

    let range = "n-gram model m: a number in the header is out of range";
    assert_eq!(with(&|h| h.order = 0), range);
    assert_eq!(with(&|h| h.order = 7), range);
    assert_eq!(with(&|h| h.vocabulary = u32::MAX as usize), range);
    assert_eq!(with(&|h| h.nodes[0] += 1), range);
    assert_eq!(with(&|h| h.nodes[1] = usize::MAX), range);
    assert_eq!(with(&|h| h.nodes[4] = 1), range);

    assert!(with(&|h| h.nodes[2] = u32::MAX as usize).contains("the header says 3435"));
    assert!(with(&|h| h.name_bytes = usize::MAX).ends_with("the header says more"));
}

/// A model of order 3 without `<unk>`, in which suffixes are missing.
const ARPA: &str = "\
\\data\\
ngram 1=5
ngram 2=2
ngram 3=1

\\1-grams:
-9 <s> -0.1
-1 </s>
-0.5 a -0.2
-0.75 b -0.25
-0.625 c

\\2-grams:
-0.3 <s> a -0.4
-0.2 a b -0.125

\\3-grams:
-0.0625 a b c

\\end\\
";

/// Reads a model in ARPA form.
fn read(text: &str) -> Result<Model, NgramError> {
    read_arpa(text.as_bytes(), "words")
}

#[test]
fn an_arpa_file_of_another_hand() {
    let model = read(ARPA).expect("it can be read");

    // `b c`, the suffix of `a b c`, is missing: after b, p(c) with the backoff of b counts.
    assert!((p(&model, &[0, 1], 2).log10() - -0.0625).abs() < 1e-6);
    assert!((p(&model, &[2, 1], 2).log10() - (-0.25 - 0.625)).abs() < 1e-6);
    // `c` follows neither `<s> a` nor `a`, so both backoffs count.
    assert!((p(&model, &[bos(3), 0], 2).log10() - (-0.4 - 0.2 - 0.625)).abs() < 1e-6);
    // In `a b c </s>`, the contexts of the end have no backoff.
    assert!(
        (model.score_pieces("a b c").log10_sum - (-0.3 - 0.4 - 0.2 - 0.0625 - 1.0)).abs() < 1e-6
    );

    // Without `<unk>` its p is 10^-100, as in KenLM. The upper case name is the same word.
    assert!((model.score_pieces("x").log10_sum - (-0.1 - 100.0 - 1.0)).abs() < 1e-5);
    let named = ARPA
        .replace("1=5", "1=6")
        .replace("-0.625 c", "-0.625 c\n-7 <UNK>");
    assert!(
        (read(&named)
            .expect("it can be read")
            .score_pieces("x")
            .log10_sum
            - -8.1)
            .abs()
            < 1e-5
    );

    // Line ends of Windows, tabs, and a backoff of 0 in the highest order.
    let other = ARPA
        .replace('\n', "\r\n")
        .replace("-0.2 a b -0.125", "-0.2\ta b\t-0.125")
        .replace("a b c", "a b c 0");
    assert!(read(&other).expect("it can be read").as_bytes() == model.as_bytes());
}

#[test]
fn each_fault_of_an_arpa_file_has_its_line() {
    for (from, to, line, reason) in [
        ("\\data\\", "data", 1, "found \"data\", expected \\data\\"),
        (
            "ngram 2=2",
            "ngram 3=2",
            3,
            "found \"ngram 3=2\", expected ngram 2=COUNT",
        ),
        (
            "ngram 2=2",
            "ngram 2=-1",
            3,
            "found \"-1\", expected a count of at most 4294967295",
        ),
        (
            "ngram 2=2",
            "ngram 2=3",
            17,
            "found \"\\\\3-grams:\", expected one of 3 2-grams",
        ),
        (
            "ngram 2=2",
            "ngram 2=1",
            15,
            "found \"-0.2 a b -0.125\", expected \\3-grams:",
        ),
        (
            "ngram 3=1",
            "ngram 3=4294967295",
            20,
            "expected one of 4294967295 3-grams: a probability and words",
        ),
        (
            "-0.5 a -0.2",
            "-0.5 a -0.2 0",
            9,
            "expected one of 5 1-grams: a probability, words and perhaps a backoff",
        ),
        (
            "-0.5 a -0.2",
            "0.5 a -0.2",
            9,
            "a log-probability of 0.5, expected at most 0",
        ),
        ("-0.5 a -0.2", "nan a -0.2", 9, "expected one of 5 1-grams"),
        ("-0.5 a -0.2", "-0.5 a -inf", 9, "expected one of 5 1-grams"),
        ("-0.5 a -0.2", "-0.5", 9, "expected one of 5 1-grams"),
        (
            "-0.75 b",
            "-0.75 a",
            10,
            "found \"a\", which is already among the unigrams",
        ),
        ("-9 <s>", "-9 s", 11, "<s> is not among the unigrams"),
        ("-1 </s>", "-1 s", 11, "</s> is not among the unigrams"),
        (
            "-0.2 a b",
            "-0.2 a d",
            15,
            "found \"d\", which is not among the unigrams",
        ),
        (
            "-0.0625 a b c",
            "-0.0625 a b c -0.5",
            18,
            "expected one of 1 3-grams: a probability and words",
        ),
        ("\\end\\", "", 21, "the file ends, expected \\end\\"),
    ] {
        assert!(ARPA.contains(from));

        let error = read(&ARPA.replace(from, to))
            .err()
            .expect(reason)
            .to_string();
        assert!(
            error.starts_with(&format!("ARPA file, line {line}: ")) && error.contains(reason),
            "{error}"
        );
    }

    let twice = ARPA.replace("-0.3 <s> a -0.4", "-0.2 a b");
    let error = read(&twice)
        .err()
        .expect("a bigram occurs twice")
        .to_string();
    assert_eq!(
        error,
        "n-gram model in memory: the 2-gram of tokens 0 1 occurs twice"
    );

    let orders: String = (1..8).map(|n| format!("ngram {n}=1\n")).collect();
    let error = read(&format!("\\data\\\n{orders}"))
        .err()
        .expect("7 orders")
        .to_string();
    assert_eq!(
        error,
        "ARPA file, line 8: found 7-grams, expected at most 6-grams"
    );

    let error = read_arpa(&b"\\data\\\nngram 1=\xff"[..], "words")
        .err()
        .expect("no UTF-8")
        .to_string();
    assert_eq!(error, "ARPA file, line 2: the line is not UTF-8");

    let error = read_arpa(std::io::BufReader::new(std::io::repeat(b'x')), "words")
        .err()
        .expect("no end")
        .to_string();
    assert_eq!(
        error,
        "ARPA file, line 1: the line has more than 1048576 bytes"
    );
}

#[test]
fn a_cut_or_changed_arpa_file_does_no_harm() {
    for len in 0..ARPA.len() - 1 {
        assert!(read(&ARPA[..len]).is_err(), "{len} bytes");
    }

    let mut random = Random(1);
    for at in 0..ARPA.len() {
        let mut bytes = ARPA.as_bytes().to_vec();
        bytes[at] ^= 1 << random.below(8);

        if let Ok(model) = read_arpa(&bytes[..], "words") {
            assert_eq!(model.score_pieces("a b c x").tokens, 4);
        }
    }
}

#[test]
fn names_that_cannot_be_kept() {
    let line = [Ok::<_, NgramError>([0, 1])];
    let dir = tempfile::tempdir().expect("a directory");
    let config = TrainConfig::new("words", dir.path().to_owned());

    let error = train(line, &["a", "a"], &config)
        .err()
        .expect("two tokens have one name")
        .to_string();
    assert_eq!(
        error,
        "vocabulary: token 1 (\"a\") has the same name as an earlier token"
    );

    for name in ["a b", "a\u{b}", "", "<s>", "<UNK>"] {
        let (model, _) = train([Ok::<_, NgramError>([0, 1])], &["a", name], &config)
            .expect("a model may have it");

        let error = crate::ngram::write_arpa(&model, &dir.path().join("m.arpa"))
            .expect_err("an ARPA file may not");
        assert!(
            error
                .to_string()
                .ends_with("cannot be a word of an ARPA file"),
            "{error}"
        );
    }

    let long = TrainConfig::new(&"x".repeat(400), dir.path().to_owned());
    assert!(matches!(
        train([Ok([0])], &["a"], &long),
        Err(NgramError::TooLarge { most: 336, .. })
    ));
}
