//! The token that ends each document of token ids.
//!
//! Trainers pack documents into samples and tell the documents apart by this token alone. So the
//! user names the token, or says that documents end without one. A tokenizer.json does not say
//! which of its tokens ends a document, but the files that are published beside it do. They only
//! give the user a hint, because a chat model's files name the end of a turn instead.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use curate_scorers::tokenizer::{EMBEDDED_END, Tokenizer};
use serde_json::Value;

use crate::{End, FormatOptions, WrongOption};

/// The token that ends each document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndToken {
    /// Name of the token.
    pub(crate) name: String,
    /// Id of the token.
    pub(crate) id: u32,
}

/// The token that the user wants at the end of each document; `None` for documents without one.
///
/// # Errors
/// If the user did not say how documents end, or if the token cannot end documents. The hint names
/// a token that can.
pub(crate) fn chosen(
    tokenizer: &Tokenizer,
    options: &FormatOptions,
) -> Result<Option<EndToken>, WrongOption> {
    let wrong = |message: String| WrongOption {
        message,
        hint: Some(hint(tokenizer, options.tokenizer)),
    };

    match options.end {
        Some(End::Without) => Ok(None),
        Some(End::Token(name)) => end_token(tokenizer, name)
            .map(Some)
            .map_err(|reason| wrong(format!("--end {name}: {reason}"))),
        None => Err(wrong(
            "token ids need --end TOKEN, the token that ends each document, or --no-end".to_owned(),
        )),
    }
}

/// The token with this name, if it can end documents. Else the reason why it cannot.
fn end_token(tokenizer: &Tokenizer, name: &str) -> Result<EndToken, String> {
    let whose = tokenizer.name();
    let id = tokenizer
        .id(name)
        .ok_or_else(|| format!("the tokenizer {whose} has no such token"))?;

    // A token of ordinary text would end documents in the middle.
    if !tokenizer.is_added(name) {
        return Err(format!(
            "the token is part of ordinary text, it is not a special token of the tokenizer {whose}"
        ));
    }
    // The unknown token, for instance, is in the ids of any text with an unknown character.
    for text in [name, SCRIPTS] {
        tokenizer
            .encode_without(text, id)
            .map_err(|_| "ordinary text has this token too".to_owned())?;
    }

    let name = name.to_owned();
    Ok(EndToken { name, id })
}

/// Characters of many scripts, of which a tokenizer with an unknown token does not know all.
const SCRIPTS: &str = "zq Ω Ж א ก 字 \u{1F600} \u{10FFFD}";

/// What the user can do to say how documents end.
fn hint(tokenizer: &Tokenizer, file: Option<&Path>) -> String {
    let named = match file {
        None => Some(("the embedded tokenizer".to_owned(), EMBEDDED_END.to_owned())),
        Some(file) => named_beside(file),
    };
    if let Some((place, name)) = named.filter(|(_, name)| end_token(tokenizer, name).is_ok()) {
        let quoted = quoted(&name);
        return format!(
            "{place} ends a text with {name}: add --end {quoted}, or --no-end for documents without an end"
        );
    }

    // Only tokens that are not refused again, so not the unknown token.
    let special = tokenizer.special_tokens();
    let names = special.iter().map(String::as_str);
    let mut usable = names.filter(|name| end_token(tokenizer, name).is_ok());
    let shown: Vec<&str> = usable.by_ref().take(SHOWN).collect();
    if shown.is_empty() {
        return "the tokenizer has no special token that could end a document: add --no-end, or use another tokenizer".to_owned();
    }
    let more = if usable.next().is_some() { ", …" } else { "" };
    format!(
        "add --end with one of the tokenizer's special tokens ({}{more}), or --no-end for documents without an end",
        shown.join(", ")
    )
}

/// Number of special tokens that a hint lists.
const SHOWN: usize = 8;

/// A word of a shell's command line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The files beside a tokenizer.json that name its end token, the most telling one first.
const BESIDE: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// The end token that a file beside the tokenizer's file names, with the name of that file. `None`
/// if no file names one, or if no file can be read.
fn named_beside(tokenizer: &Path) -> Option<(String, String)> {
    let folder = tokenizer.parent()?;
    BESIDE.iter().find_map(|name| {
        let path = folder.join(name);
        let config: Value = serde_json::from_slice(&read(&path).ok()?).ok()?;

        // A token is a text, or an object with its text and its flags.
        let token = &config["eos_token"];
        let token = token.as_str().or_else(|| token["content"].as_str())?;
        Some((path.display().to_string(), token.to_owned()))
    })
}

/// Greatest size of a tokenizer's file in bytes. The largest published ones have some 40 MB.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Reads a file of a tokenizer.
///
/// # Errors
/// If the path is not a regular file, if the file is larger than 1 GiB, or if reading fails.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let of_system = |error: std::io::Error| error.to_string();
    let metadata = std::fs::metadata(path).map_err(of_system)?;
    // Checked before the file is opened: a pipe may never end.
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }

    let mut bytes = Vec::new();
    let file = File::open(path).map_err(of_system)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(of_system)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded() -> Tokenizer {
        Tokenizer::embedded().expect("the embedded tokenizer loads")
    }

    fn refused(end: Option<End>) -> WrongOption {
        let options = FormatOptions {
            tokenizer: None,
            end,
        };
        chosen(&embedded(), &options).expect_err("refused")
    }

    /// What the user is told to add, with these files beside a tokenizer.json.
    fn hint_beside(files: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        hint(&embedded(), Some(&dir.path().join("tokenizer.json")))
    }

    #[test]
    fn the_user_says_how_documents_end() {
        let end = |end| {
            chosen(
                &embedded(),
                &FormatOptions {
                    tokenizer: None,
                    end: Some(end),
                },
            )
        };
        let token = end(End::Token("<|endoftext|>")).expect("a token");
        assert_eq!(token.expect("an end").id, 0);
        assert_eq!(end(End::Without).expect("no token"), None);

        let unsaid = refused(None);
        assert!(unsaid.message.contains("--end TOKEN") && unsaid.message.contains("--no-end"));
        let hint = unsaid.hint.expect("a hint");
        assert!(
            hint.contains("add --end '<|endoftext|>', or --no-end"),
            "{hint}"
        );
    }

    #[test]
    fn tokens_that_cannot_end_documents_are_refused_by_name() {
        for (name, reason) in [
            (
                "<|nothing|>",
                "--end <|nothing|>: the tokenizer embedded has no such token",
            ),
            ("", "no such token"),
            ("a", "--end a: the token is part of ordinary text"),
        ] {
            let error = refused(Some(End::Token(name)));
            assert!(error.message.contains(reason), "{}", error.message);
            assert!(error.hint.expect("a hint").contains("<|endoftext|>"));
        }
    }

    #[test]
    fn the_unknown_token_ends_no_document() {
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
            "added_tokens": [{
                "id": 0, "content": "[UNK]", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            }],
            "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
            "model": { "type": "WordLevel", "vocab": { "[UNK]": 0, "a": 1 }, "unk_token": "[UNK]" },
        });
        let words = Tokenizer::from_bytes("words", json.to_string().as_bytes()).expect("it loads");
        let reason = end_token(&words, "[UNK]").expect_err("refused");
        assert_eq!(reason, "ordinary text has this token too");

        // The hint does not offer what was just refused.
        let hint = hint(&words, Some(Path::new("/none/tokenizer.json")));
        assert!(hint.contains("no special token that could end"), "{hint}");
    }

    #[test]
    fn a_hint_names_the_end_that_the_files_name() {
        let text = r#"{"eos_token": "<|im_end|>"}"#;
        let object = r#"{"eos_token": {"content": "<|im_start|>", "lstrip": false}}"#;
        let (config, map) = ("tokenizer_config.json", "special_tokens_map.json");

        assert!(hint_beside(&[(config, text)]).contains("--end '<|im_end|>'"));
        assert!(hint_beside(&[(config, object)]).contains("--end '<|im_start|>'"));
        assert!(hint_beside(&[(config, object), (map, text)]).contains("--end '<|im_start|>'"));
        for unsaid in ["{", "[]", r#"{"eos_token": null}"#, r#"{"eos_token": 5}"#] {
            let hint = hint_beside(&[(config, unsaid), (map, text)]);
            assert!(
                hint.contains("special_tokens_map.json ends a text with <|im_end|>"),
                "{hint}"
            );
        }

        // An end that the tokenizer does not have is no hint.
        for files in [&[][..], &[(config, r#"{"eos_token": "</s>"}"#)]] {
            let hint = hint_beside(files);
            assert!(
                hint.contains("(<|endoftext|>, <|im_start|>, <|im_end|>)")
                    && !hint.contains("</s>"),
                "{hint}"
            );
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(
            read(dir.path()).expect_err("a folder"),
            "it is not a regular file"
        );
        assert!(read(&dir.path().join("nothing")).is_err());
    }
}
