//! Tests of the tokenizer.

use serde_json::json;

use super::*;

fn embedded() -> Tokenizer {
    Tokenizer::embedded().expect("the embedded tokenizer loads")
}

fn count(text: &str) -> u64 {
    embedded()
        .count(text)
        .expect("a byte-level tokenizer knows every text")
}

#[test]
fn small_texts() {
    assert_eq!(count(""), 0);
    assert_eq!(count("\n"), 1);
    assert_eq!(count(" the"), 1);
    assert_eq!(count("the the"), 2);
    for text in [
        " \u{3000}",
        "cafe\u{301}",
        "שלום עולם",
        "😀👩‍👩‍👧",
        "\0",
        "\u{feff}a",
    ] {
        let tokens = count(text);
        assert!(
            (1..=text.len() as u64).contains(&tokens),
            "{text:?}: {tokens}"
        );
    }

    // The text is normalized first.
    assert_eq!(count("cafe\u{301}"), count("café"));
}

#[test]
fn the_name_of_a_special_token_is_text() {
    let names = embedded().inner.get_added_tokens_decoder();
    assert_eq!(names.len(), 3);

    for name in names.values().map(|token| &token.content) {
        assert!(count(name) > 1, "{name}");

        let text = format!("a{name}b");
        let tokens = embedded()
            .inner
            .encode_fast(text.as_str(), false)
            .expect("it encodes");
        assert!(
            tokens.get_ids().iter().all(|id| !names.contains_key(id)),
            "{:?}",
            tokens.get_tokens()
        );
    }
}

/// A tokenizer whose model has `</s>` as a token of ordinary text, as a Unigram model may, and
/// `<gap>` as an added token that takes the white space around it.
fn unigram() -> Tokenizer {
    let pieces = [
        "<unk>", "</s>", "a", "b", "<", "/", "s", ">", "\u{2581}", "字", "<gap>",
    ];
    let vocab: Vec<_> = pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| (piece, if at < 2 { 0.0 } else { -1.0 }))
        .collect();
    let added = |id: u32, content: &str, special: bool, strips: bool| {
        serde_json::json!({
            "id": id, "content": content, "single_word": false, "lstrip": strips,
            "rstrip": strips, "normalized": false, "special": special,
        })
    };
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [
            added(0, "<unk>", true, false),
            added(1, "</s>", true, false),
            added(9, "字", false, false),
            added(10, "<gap>", false, true),
        ],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": { "type": "Unigram", "unk_id": 0, "vocab": vocab },
    });
    Tokenizer::from_bytes("unigram", json.to_string().as_bytes()).expect("a tokenizer")
}

#[test]
fn a_text_that_spells_a_token_is_encoded_without_the_token() {
    let tokenizer = unigram();
    let encode = |text: &str| tokenizer.encode(text, None).expect("it encodes");
    let without = |text: &str, token: u32| {
        tokenizer
            .encode_without(text, token)
            .expect("it encodes without the token")
    };

    // The model itself finds the token, although special tokens are read as text.
    assert_eq!(encode("a</s>b"), [2, 1, 3]);
    assert_eq!(without("a</s>b", 1), [2, 4, 5, 6, 7, 3]);
    assert_eq!(without("</s></s>", 1), [4, 5, 6, 7, 4, 5, 6, 7]);
    assert_eq!(without("ab", 1), encode("ab"));
    assert!(without("", 1).is_empty());

    // White space around the spelling is kept, and a long text is cut at every spelling.
    assert!(encode("a  <gap>  b").contains(&10));
    let gap = without("a  <gap>  b", 10);
    assert!(!gap.contains(&10) && gap.len() > 4, "{gap:?}");
    let long = "ab</s>".repeat(200_000);
    assert_eq!(without(&long, 1).len(), 6 * 200_000);

    // A token of one character cannot be kept out.
    let error = tokenizer.encode_without("a字", 9).expect_err("refused");
    assert!(
        error.to_string().contains("that no text may have"),
        "{error}"
    );
    assert!(tokenizer.encode_without("é", 0).is_err());
}

#[test]
fn added_and_special_tokens_are_known_by_name() {
    let tokenizer = unigram();
    assert_eq!(tokenizer.special_tokens(), ["<unk>", "</s>"]);
    assert!(tokenizer.is_added("字") && !tokenizer.is_added("a"));
    assert_eq!(embedded().special_tokens()[0], EMBEDDED_END);
}

/// The pre-tokenizers of all known families, with the places where they allow cuts.
fn families() -> Vec<(Value, Cuts)> {
    let bytes = |splits: bool| {
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
            "use_regex": splits})
    };
    let sequence = |first: Value, splits: bool| json!({"type": "Sequence", "pretokenizers": [first, bytes(splits)]});
    let split = |pattern: &str| {
        let first = json!({"type": "Split", "pattern": {"Regex": pattern},
            "behavior": "Isolated", "invert": false});
        sequence(first, false)
    };
    let digits = json!({"type": "Digits", "individual_digits": true});

    vec![
        (split(QWEN2), Cuts::AtParts),
        (split(LLAMA3), Cuts::AtParts),
        (split(family::O200K), Cuts::AtSpaces),
        (split(family::TEKKEN), Cuts::AtSpaces),
        (bytes(true), Cuts::AtSpaces),
        (sequence(digits, true), Cuts::AtSpaces),
    ]
}

/// The embedded tokenizer with changed parts.
fn changed(parts: &[(&str, Value)]) -> Tokenizer {
    Tokenizer::from_bytes("test", changed_json(parts).to_string().as_bytes())
        .expect("it is a tokenizer")
}

/// The file of the embedded tokenizer with changed parts, by their places.
fn changed_json(parts: &[(&str, Value)]) -> Value {
    let mut json: Value = serde_json::from_slice(EMBEDDED).expect("the file is JSON");
    for (pointer, value) in parts {
        *json.pointer_mut(pointer).expect("the field is there") = value.clone();
    }
    json
}

/// Numbers below `n`, the same at every call.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 9u64;
    move |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    }
}

/// Parts of texts at whose borders pre-tokenizers decide.
const PARTS: [&str; 30] = [
    "the",
    " ",
    "  ",
    "\n",
    " \n ",
    "\r\n",
    "\t",
    "\u{a0}",
    "a.",
    "é",
    "e\u{301}",
    " \u{301}",
    "'s",
    "'S4",
    "12 3",
    "9a",
    "…)",
    "日本",
    "か\u{3099}",
    "、",
    "。」",
    "١٢",
    "ש",
    "😀",
    "²",
    "/",
    "camelCASE",
    "<|endoftext|>",
    "\u{0}",
    "\u{1f468}\u{200d}\u{1f469}",
];

#[test]
fn pieces_have_the_tokens_of_the_whole() {
    let mut next = numbers();
    let text: String = (0..90_000).map(|_| PARTS[next(PARTS.len())]).collect();
    assert!(text.len() > 3 * PIECE_BYTES);
    let small = &text[..text.floor_char_boundary(3_000)];

    for (pre_tokenizer, cuts) in families() {
        let tokenizer = changed(&[("/pre_tokenizer", pre_tokenizer.clone())]);
        assert_eq!(tokenizer.cuts, cuts, "{pre_tokenizer}");
        assert_eq!(tokenizer.slow_because(), None, "{pre_tokenizer}");

        let encode = |text: &str| {
            let encoding = tokenizer.inner.encode_fast(text, false);
            let encoding = encoding.expect("a byte-level tokenizer knows every text");
            encoding.get_ids().to_vec()
        };
        let ids = tokenizer.encode(&text, None).expect("as above");
        assert_eq!(ids, encode(&text), "{pre_tokenizer}");
        assert_eq!(tokenizer.count(&text).expect("as above"), ids.len() as u64);

        // Every single place where a cut may be.
        let whole = encode(small).len();
        let pairs = small.char_indices().zip(small.char_indices().skip(1));
        let places = pairs.filter(|((_, before), (_, after))| cuts.allow(*before, *after));
        for ((_, before), (at, after)) in places {
            assert_eq!(
                encode(&small[..at]).len() + encode(&small[at..]).len(),
                whole,
                "between {before:?} and {after:?} with {pre_tokenizer}"
            );
        }
    }
}

#[test]
fn both_libraries_give_the_same_ids_for_any_text() {
    let mut next = numbers();
    // Half of the texts are made of parts, the other half of any characters.
    let mut text = move |length: usize| -> String {
        let of_parts = next(2) == 0;
        (0..next(length) + 1)
            .map(|_| match of_parts {
                true => PARTS[next(PARTS.len())].to_owned(),
                false => {
                    let most = [0x80, 0x800, 0x3100, 0x1_0000, 0x11_0000][next(5)];
                    char::from_u32(next(most) as u32).unwrap_or(' ').to_string()
                }
            })
            .collect()
    };

    let merges = Value::Bool(true);
    for (pre_tokenizer, _) in families() {
        for parts in [
            vec![("/pre_tokenizer", pre_tokenizer.clone())],
            vec![
                ("/pre_tokenizer", pre_tokenizer.clone()),
                ("/normalizer", Value::Null),
                ("/model/ignore_merges", merges.clone()),
                ("/added_tokens/0/special", false.into()),
            ],
        ] {
            let tokenizer = changed(&parts);
            let fast = tokenizer.fast.as_ref().expect("a known family");

            for _ in 0..1_000 {
                let text = text(60);
                let wanted = tokenizer.inner.encode_fast(text.as_str(), false);
                let wanted = wanted.expect("a byte-level tokenizer knows every text");
                let ids = fast::encode(fast, &text).expect("as above");
                assert_eq!(ids, wanted.get_ids(), "{text:?} with {pre_tokenizer}");
            }
        }
    }
}

#[test]
fn a_file_with_a_part_of_no_known_family_is_read_by_tokenizers() {
    let split = "/pre_tokenizer/pretokenizers/0";
    let token = |content: &str, flag: &str| {
        let mut token = json!({"id": 0, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": false});
        token[flag] = true.into();
        token
    };
    let of_family = "its normalizer, pre-tokenizer or an added token is of no known family";

    let cases = [
        ("/normalizer", json!({"type": "NFKC"}), of_family),
        ("/pre_tokenizer", Value::Null, of_family),
        (
            split,
            json!({"type": "Digits", "individual_digits": true}),
            of_family,
        ),
        (
            "/pre_tokenizer/pretokenizers/0/pattern/Regex",
            r"\s+".into(),
            of_family,
        ),
        (
            "/pre_tokenizer/pretokenizers/0/behavior",
            "Removed".into(),
            of_family,
        ),
        (
            "/pre_tokenizer/pretokenizers/1/add_prefix_space",
            true.into(),
            of_family,
        ),
        ("/added_tokens/0", token("<x>", "special"), ""),
        ("/added_tokens/0", token("h 1", "id"), of_family),
        ("/added_tokens/0", token("<x>", "lstrip"), of_family),
        ("/added_tokens/0", token("<x>", "single_word"), of_family),
        (
            "/added_tokens/0",
            token("<x>", "normalized"),
            "an added token is looked for after normalization",
        ),
        ("/model/dropout", json!(0.1), "its model has dropout"),
        (
            "/model/end_of_word_suffix",
            "</w>".into(),
            "its model marks parts of words",
        ),
        (
            "/model/byte_fallback",
            true.into(),
            "its model falls back to bytes",
        ),
    ];
    let mut slow = 0;
    for (pointer, value, why) in cases {
        let mut json = changed_json(&[(pointer, value.clone())]);
        // A number in place of the flag would be no id.
        if json["added_tokens"][0]["id"] == true {
            json["added_tokens"][0]["id"] = 0.into();
        }
        let tokenizer = Tokenizer::from_bytes("test", json.to_string().as_bytes());
        let tokenizer = tokenizer.expect("it is a tokenizer");
        assert_eq!(
            tokenizer.slow_because().unwrap_or_default(),
            why,
            "{pointer} {value}"
        );
        assert!(tokenizer.count("The quick brown fox").is_ok());
        slow += usize::from(tokenizer.slow_because().is_some());
    }
    assert_eq!(slow, 13);
    assert_eq!(unigram().slow_because(), Some("its model is not BPE"));
}

#[test]
fn a_file_whose_ids_would_differ_is_read_by_tokenizers() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_slice(EMBEDDED).expect("the file is JSON");
        change(&mut json["model"]);
        let refusal = fast::load(json, &embedded().inner);
        refusal.err().expect("ids differ").0
    };

    // The fast reader is given a file that is not the peer's: two ids are exchanged.
    let refusal = refused(&|model| {
        let (e, t) = (model["vocab"]["e"].clone(), model["vocab"]["t"].clone());
        model["vocab"]["e"] = t;
        model["vocab"]["t"] = e;
    });
    assert!(refusal.starts_with("its ids of "), "{refusal}");

    // One merge in the middle of the list is lost.
    let refusal = refused(&|model| {
        let merges = model["merges"].as_array_mut().expect("a list");
        merges.remove(merges.len() / 2);
    });
    assert!(refusal.starts_with("its ids of "), "{refusal}");
}

#[test]
fn a_megabyte_without_a_break_is_counted() {
    assert!(count(&"a".repeat(1 << 20)) > 0);
    assert!(count(&" ".repeat(1 << 20)) > 0);
    assert!(count(&"日".repeat(1 << 18)) > 0);
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    for bytes in [&b""[..], b"{}", b"[1]", b"\xff"] {
        let error = Tokenizer::from_bytes("mine", bytes)
            .err()
            .expect("it is no tokenizer");
        assert!(
            error
                .to_string()
                .starts_with("tokenizer mine cannot be read: "),
            "{error}"
        );
    }

    assert_eq!(
        embedded().digest(),
        blake3::hash(EMBEDDED).to_hex().as_str()
    );
}
