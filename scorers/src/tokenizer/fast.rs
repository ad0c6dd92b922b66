//! The fast reader of byte-level BPE files, the `fastokens` crate, and the rule that says which
//! files it may read.
//!
//! It gives the ids of the `tokenizers` crate at twenty to fifty times its speed (`make
//! bench-tokens`). Which of the two reads a file follows from the parts that the file declares, so
//! that all machines choose alike. A set of texts is then encoded by both; where an id differs, the
//! file is left to `tokenizers`.

use fastokens::{AddedTokenPolicy, Tokenizer};
use serde_json::Value;
use tokenizers::Decoder;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::family::{self, Cuts};

/// Why a file is not for the fast reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) String);

/// Loads a `tokenizer.json` for the fast reader, and compares its ids with those of `peer`.
///
/// # Errors
/// [`Refusal`] if the file has a part that the fast reader is not known to read exactly.
pub(crate) fn load(mut json: Value, peer: &tokenizers::Tokenizer) -> Result<Tokenizer, Refusal> {
    check_parts(&json)?;

    // These two concern batches for a model, and a file may have values that only `tokenizers` reads.
    for part in ["truncation", "padding", "post_processor", "decoder"] {
        json[part] = Value::Null;
    }
    let fast = Tokenizer::from_json(json).map_err(|error| Refusal(error.to_string()))?;
    compare(&fast, peer)?;
    Ok(fast)
}

/// The ids of a text, in which the names of special tokens are plain text.
///
/// # Errors
/// The message of the library.
pub(crate) fn encode(fast: &Tokenizer, text: &str) -> Result<Vec<u32>, String> {
    fast.encode_with_policy(text, false, AddedTokenPolicy::SkipSpecial)
        .map_err(|error| error.to_string())
}

/// Checks each part of a file against the parts that the fast reader is known to read.
///
/// # Errors
/// [`Refusal`], which names the first part that is not.
fn check_parts(json: &Value) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal(why.to_owned()));
    let model = &json["model"];

    // An older file does not say its kind. Only BPE has merges.
    if model["type"] != "BPE" && !(model["type"].is_null() && model["merges"].is_array()) {
        return refuse("its model is not BPE");
    }
    if model["dropout"]
        .as_f64()
        .is_some_and(|dropout| dropout != 0.0)
    {
        return refuse("its model has dropout");
    }
    for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[affix].as_str().is_some_and(|affix| !affix.is_empty()) {
            return refuse("its model marks parts of words");
        }
    }
    if model["byte_fallback"] == true {
        return refuse("its model falls back to bytes");
    }

    // With a token for each byte, no text has an unknown token.
    let knows = |byte: char| !model["vocab"][byte.to_string()].is_null();
    if !ByteLevel::alphabet().into_iter().all(knows) {
        return refuse("its model lacks a token for some byte");
    }

    // The fast reader is given pieces of a text, so that it does not start threads of its own.
    if family::cuts(json) == Cuts::Nowhere {
        return refuse("its normalizer, pre-tokenizer or an added token is of no known family");
    }
    let is_normalized = |token: &Value| token["normalized"] == true && token["special"] != true;
    let added = json["added_tokens"].as_array();
    if !json["normalizer"].is_null() && added.is_some_and(|all| all.iter().any(is_normalized)) {
        return refuse("an added token is looked for after normalization");
    }
    Ok(())
}

/// Compares the ids of [`probes`] and of [`vocabulary_probes`].
///
/// # Errors
/// [`Refusal`], which quotes the first text whose ids differ.
fn compare(fast: &Tokenizer, peer: &tokenizers::Tokenizer) -> Result<(), Refusal> {
    for text in probes().into_iter().chain(vocabulary_probes(peer)) {
        let wanted = peer.encode_fast(text.as_str(), false);
        let wanted = wanted.map_err(|error| Refusal(error.to_string()))?;

        if encode(fast, &text).map_err(Refusal)? != wanted.get_ids() {
            let start: String = text.chars().take(20).collect();
            return Err(Refusal(format!("its ids of {start:?} would differ")));
        }
    }
    Ok(())
}

/// Texts of many scripts, of white space, digits, punctuation and emoji, long words, and parts
/// whose composed form differs.
fn probes() -> Vec<String> {
    let scripts = "The quick brown fox's 12,345.67 jumps; WE'LL see (they've won) snake_case camelCase \
        ΩΣ και όχι Съешь ещё этих мягких булок שלום עולם مرحبا بالعالم ١٢٣ हिन्दी भाषा १२ ไทยภาษา ລາວ ខ្មែរ မြန်မာ \
        한국어 문장 漢字、仮名。カタカナ 中文，句子！ Ǆǅǆ ﬁ Å é e\u{301} n\u{303}o q\u{307}\u{323} \u{1F600}👩‍👩‍👧‍👦🏳️‍🌈 ½² ⅷ \u{0}\u{7}\u{200b}\u{feff}\u{10FFFD}";
    let spaces =
        "a  b   c\t\td\n\ne\r\n\r\n  f \n g\u{a0}\u{a0}h\u{3000}i\u{2028}j  \n\n\n   k \t\n";
    let code = "fn main() {\n    let x = vec![1, 22, 333, 4444]; // ok?!\n\t\tprintln!(\"{}\", x[0]);\n}\n<|endoftext|></s>";

    let mut texts = vec![scripts.to_owned(), spaces.to_owned(), code.to_owned()];
    // A word of each script, alone and repeated, so that merges within long words are made.
    for word in scripts.split(' ') {
        texts.push(format!(" {word}"));
        texts.push(word.repeat(40));
    }
    texts
}

/// The most tokens of a vocabulary that the probes spell.
const VOCABULARY_PROBES: usize = 4096;

/// Texts that spell tokens of the vocabulary, from all over it, eight tokens a text.
fn vocabulary_probes(peer: &tokenizers::Tokenizer) -> Vec<String> {
    let ids = peer.get_vocab_size(false);
    let step = ids.div_ceil(VOCABULARY_PROBES).max(1);
    let tokens: Vec<String> = (0..ids as u32)
        .step_by(step)
        .filter_map(|id| peer.id_to_token(id))
        .collect();

    let spell = |tokens: &[String]| ByteLevel::default().decode_chain(tokens.to_vec());
    tokens
        .chunks(8)
        .filter_map(|tokens| spell(tokens).ok())
        .map(|texts| texts.concat())
        .collect()
}
