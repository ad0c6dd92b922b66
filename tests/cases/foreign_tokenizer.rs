//! End tokens of a tokenizer that is not the embedded one.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::export::{all_of, dataset, export, pair};
use crate::support::{Place, assert_same, curate, outcome, query, tree};

const TEXTS: [&str; 6] = [
    "The old lamp on the shelf gives a warm light. The river runs past the mill and the barn.",
    "before <|endoftext|> after </s> <eos> [SEP]",
    "",
    "caf\u{e9} \u{6771}\u{4eac} 😀",
    "a short one",
    "ends </s>",
];

/// The texts of the mixture, in its order.
fn texts(dir: &Path) -> Vec<String> {
    // `query` prints a row on a line, and no text here has a line feed.
    query(dir, "SELECT text FROM read_parquet('mixture/m/*.parquet')")
}

/// A token that the file adds to the model's vocabulary.
fn added(id: usize, content: &str, special: bool) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": special,
    })
}

/// The character that byte-level models write for a byte, as GPT-2 defines it.
fn character_of(byte: u8) -> char {
    let is_itself = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    if is_itself(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !is_itself(*byte)).count();
    char::from_u32(256 + before as u32).unwrap()
}

/// A tokenizer with an id for each byte, after the special tokens. Without merges, the ids of a
/// text are its bytes.
fn of_bytes(special: &[&str]) -> Value {
    let mut vocab = serde_json::Map::new();
    for token in special {
        vocab.insert((*token).to_owned(), vocab.len().into());
    }
    for byte in 0..=255 {
        vocab.insert(character_of(byte).to_string(), vocab.len().into());
    }
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, token)| added(id, token, true))
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "post_processor": null, "decoder": null,
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": vocab, "merges": [],
        },
    })
}

/// The ids of a text with `of_bytes`, for this many special tokens.
fn bytes_of(text: &str, special: u32) -> Vec<u32> {
    text.bytes().map(|byte| u32::from(byte) + special).collect()
}

/// The path of a tokenizer in a folder of its own.
fn written(place: &Place, name: &str, tokenizer: &Value) -> String {
    let path = place.write(&format!("tok/{name}/tokenizer.json"), tokenizer.to_string());
    path.to_str().unwrap().to_owned()
}

#[test]
fn ids_are_those_of_the_text_and_one_end() {
    let place = Place::new();
    let dir = all_of(&place, &TEXTS);
    let texts = texts(&dir);
    assert_eq!(texts.len(), TEXTS.len());

    // A template that adds both ends, truncation and padding are not applied.
    let mut template = of_bytes(&["<s>", "</s>"]);
    template["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]},
            "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]},
        },
    });
    template["truncation"] =
        json!({"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0});
    template["padding"] = json!({
        "strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>",
    });
    // 70,000 further tokens, so that ids need 32 bits. The end is not special in the file.
    let mut large = of_bytes(&[]);
    let many = (0..70_000).map(|n| added(256 + n, &format!("tok~{n}"), false));
    let tokens: Vec<Value> = many.chain([added(70_256, "<eos>", false)]).collect();
    large["added_tokens"] = tokens.into();

    for (name, tokenizer, special, (end, id), size) in [
        ("template", &template, 2, ("</s>", 1), 2),
        ("large", &large, 0, ("<eos>", 70_256), 4),
    ] {
        let (file, out) = (written(&place, name, tokenizer), place.path(name));
        let words = ["--format", "megatron", "--tokenizer", &file, "--end", end];
        export(&dir, "m", &out, &words).exits(0);

        let (documents, width) = pair(&out, "part-00000");
        let expected: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| [bytes_of(text, special), vec![id]].concat())
            .collect();
        assert_eq!((&documents, width), (&expected, size), "{name}");

        // The description and the card have this tokenizer and its count.
        let said = dataset(&out);
        let ids = &said["token_ids"];
        let digest = blake3::hash(tokenizer.to_string().as_bytes());
        let digest = digest.to_hex().to_string();
        let sum: usize = documents.iter().map(Vec::len).sum();
        assert_eq!(
            ids["tokenizer"],
            json!({"name": "tokenizer.json", "digest": digest})
        );
        assert_eq!((&ids["ids"], &ids["documents"]), (&json!(sum), &json!(6)));
        assert_eq!(ids["dtype"], if size == 2 { "uint16" } else { "int32" });
        assert_eq!(said["tokens_counted_with"]["name"], "embedded");
        assert_ne!(said["tokens"], ids["ids"]);
        let card = fs::read_to_string(out.join("README.md")).unwrap();
        let hold =
            format!("The `.bin` files hold ids of the tokenizer tokenizer.json (blake3 {digest}).");
        assert!(card.contains(&hold), "{card}");
        assert!(
            card.contains(&format!("| ids, ends included | {sum} |")),
            "{card}"
        );

        // Nothing of the machine is in the files: elsewhere, by another path, the same bytes.
        let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_curate"));
        elsewhere
            .args(["export", dir.to_str().unwrap(), "m", "-o", "again"])
            .args([
                "--format",
                "megatron",
                "--tokenizer",
                "tokenizer.json",
                "--end",
                end,
            ])
            .current_dir(Path::new(&file).parent().unwrap());
        outcome(&mut elsewhere).exits(0);
        let again = Path::new(&file).with_file_name("again");
        assert_same(&tree(&again), &tree(&out), "an export made elsewhere");
    }
}

/// A Unigram model has the end token among its pieces, and finds it in plain text.
#[test]
fn a_text_that_spells_the_end_does_not_end_there() {
    let place = Place::new();
    let (dir, out) = (all_of(&place, &TEXTS), place.path("out"));
    let mut pieces = vec![json!(["<unk>", 0.0]), json!(["</s>", 0.0])];
    pieces.extend((' '..='~').map(|c| json!([c.to_string(), -3.0])));
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [added(0, "<unk>", true), added(1, "</s>", true)],
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces},
    });
    let file = written(&place, "unigram", &tokenizer);
    let words = [
        "--format",
        "megatron",
        "--tokenizer",
        &file,
        "--end",
        "</s>",
    ];
    export(&dir, "m", &out, &words).exits(0);

    // A printable ASCII character is a piece, so such a text has an id for each character.
    let id_of = |c: char| u32::from(c) - u32::from(' ') + 2;
    for (ids, text) in pair(&out, "part-00000").0.iter().zip(texts(&dir)) {
        assert_eq!(
            ids.iter().position(|id| *id == 1),
            Some(ids.len() - 1),
            "{text}"
        );
        if text.is_ascii() {
            let expected: Vec<u32> = text.chars().map(id_of).chain([1]).collect();
            assert_eq!(*ids, expected, "{text}");
        }
    }
}

#[test]
fn a_hint_names_the_end_of_the_tokenizer() {
    let place = Place::new();
    let (dir, out) = (all_of(&place, &TEXTS), place.path("out"));
    let file = written(&place, "own", &of_bytes(&["<pad>", "<s>", "</s>"]));
    let megatron = ["--format", "megatron", "--tokenizer", &file];
    let refused = |more: &[&str], says: &[&str]| {
        let words = [&megatron[..], more].concat();
        export(&dir, "m", &out, &words).exits(2).says(says);
        assert!(!out.exists());
    };

    // Without a file that says it, the special tokens are all that is known.
    refused(
        &[],
        &[
            "need --end TOKEN",
            "hint: ",
            "(<pad>, <s>, </s>)",
            "--no-end",
        ],
    );
    place.write(
        "tok/own/special_tokens_map.json",
        r#"{"eos_token": {"content": "</s>"}}"#,
    );
    refused(
        &[],
        &[
            "special_tokens_map.json ends a text with </s>",
            "--end '</s>'",
        ],
    );
    place.write("tok/own/tokenizer_config.json", r#"{"eos_token": "<s>"}"#);
    refused(
        &[],
        &["tokenizer_config.json ends a text with <s>", "--end '<s>'"],
    );
    refused(
        &["--end", "<|endoftext|>"],
        &["--end <|endoftext|>: ", "no such token", "--end '<s>'"],
    );

    let none = written(&place, "none", &of_bytes(&[]));
    let words = ["--format", "megatron", "--tokenizer", &none];
    export(&dir, "m", &out, &words)
        .exits(2)
        .says(&["no special token", "--no-end"]);
    export(&dir, "m", &out, &[&words[..], &["--no-end"]].concat()).exits(0);
    let said = dataset(&out);
    assert_eq!(said["token_ids"]["documents_left_out"], 1);
}

/// A tokenizer that fails on a text leaves a folder that says so, and the next export uses it.
#[test]
fn an_unfinished_export_has_no_description() {
    let place = Place::new();
    let (dir, out) = (all_of(&place, &TEXTS), place.path("out"));
    // The unknown token as the end: only the text with U+6771 has it.
    let known = "zqxj ΩЖ אש ไท 字 א ก \u{1F600}\u{0}\u{7}\u{10FFFD}\u{e9}<unk>";
    let mut pieces = vec![json!(["<unk>", 0.0])];
    pieces.extend((' '..='~').map(|c| json!([c.to_string(), -3.0])));
    pieces.extend(
        known
            .chars()
            .filter(|c| !(' '..='~').contains(c))
            .collect::<std::collections::BTreeSet<char>>()
            .into_iter()
            .map(|c| json!([c.to_string(), -3.0])),
    );
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [added(0, "<unk>", true)],
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces},
    });
    let file = written(&place, "unknown", &tokenizer);
    let words = [
        "--format",
        "megatron",
        "--tokenizer",
        &file,
        "--end",
        "<unk>",
    ];
    export(&dir, "m", &out, &words)
        .exits(2)
        .says(&["is a token that no text may have", "hint: "]);
    assert!(!out.join("dataset.json").exists() && out.join(".unfinished").exists());

    let words = [
        "export",
        dir.to_str().unwrap(),
        "m",
        "-o",
        out.to_str().unwrap(),
    ];
    curate(words).exits(0);
    assert_eq!(dataset(&out)["token_ids"], Value::Null);
    assert!(!out.join(".unfinished").exists());
}
