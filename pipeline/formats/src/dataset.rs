//! `dataset.json`: what the files of an export hold, for programs.
//!
//! The file is written last, so a folder with `dataset.json` is a finished export. It has no times
//! and no paths of the machine, so equal exports have equal bytes.

use std::path::Path;

use serde::Serialize;

use crate::card::Facts;

/// Name of the file.
pub const NAME: &str = "dataset.json";

/// Version of the form. It is raised when a field changes its meaning or is removed.
pub const VERSION: u32 = 1;

/// A tokenizer, as a reader of an export recognises it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TokenizerName {
    /// `embedded`, or the file name of the tokenizer.json, without its folder.
    pub name: String,
    /// blake3 of the tokenizer.json, in hex.
    pub digest: String,
}

impl TokenizerName {
    /// The name of a tokenizer that was read from the path `name`, or is called `embedded`. The
    /// folder of the path is left out, because it says more of the machine than of the tokenizer.
    pub fn of(name: &str, digest: &str) -> TokenizerName {
        let file = Path::new(name).file_name();
        TokenizerName {
            name: file.map_or_else(|| name.to_owned(), |file| file.to_string_lossy().into()),
            digest: digest.to_owned(),
        }
    }
}

/// The token ids that the files of an export hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TokenIds {
    /// The tokenizer that made the ids.
    pub tokenizer: TokenizerName,
    /// One more than the largest id of the tokenizer.
    pub vocabulary: u32,
    /// Name of the token that ends each document; null without such a token.
    pub end_token: Option<String>,
    /// Id of the token that ends each document; null without such a token. No other token of a
    /// document has this id.
    pub end_id: Option<u32>,
    /// Type of an id: `uint16` or `int32`, little-endian.
    pub dtype: &'static str,
    /// Number of ids, those that end documents included.
    pub ids: u64,
    /// Number of documents, with their repeats.
    pub documents: u64,
    /// Number of rows of the mixture that are not in the files, because they have no ids and no
    /// token ends them. `documents + documents_left_out` is the number of rows.
    pub documents_left_out: u64,
    /// Number of rows for which the tokenizer gives no id. They are left out, or are their end token
    /// alone.
    pub documents_without_ids: u64,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataFile {
    /// Name of the file in the folder of the export.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// blake3 of the file, in hex.
    pub digest: String,
}

/// The content of `dataset.json`.
#[derive(Debug, Serialize)]
struct Dataset<'a> {
    /// Version of the form, [`VERSION`].
    version: u32,
    /// Version of the program that made the export.
    curate: &'a str,
    /// Name of the run.
    run: &'a str,
    /// Digest of the mixture's commit in the run, 64 hex digits. It follows from the inputs, the
    /// settings and the rows, so equal digests mean equal mixtures.
    run_digest: &'a str,
    /// Name of the mixture.
    mixture: &'a str,
    /// The rule that orders the rows.
    order: &'a str,
    /// Seed of the order; null if the run does not say.
    seed: Option<u64>,
    /// Number of distinct documents.
    documents: u64,
    /// Number of rows: documents with their repeats.
    rows: u64,
    /// Length of the texts in bytes, with repeats.
    bytes: u64,
    /// Tokens as the run counted them, with repeats. They are not the ids of `token_ids`.
    tokens: u64,
    /// The tokenizer that counted `tokens`; null if the run does not say.
    tokens_counted_with: Option<&'a TokenizerName>,
    /// The token ids in the files; null if no file holds any.
    token_ids: Option<&'a TokenIds>,
    /// Every other file of the folder, in the order in which the files were written.
    files: &'a [DataFile],
}

/// The text of `dataset.json`. `files` are the other files of the folder.
pub fn dataset(facts: &Facts, files: &[DataFile]) -> String {
    let dataset = Dataset {
        version: VERSION,
        curate: &facts.curate,
        run: &facts.run,
        run_digest: &facts.run_digest,
        mixture: &facts.name,
        order: facts.order,
        seed: facts.seed,
        documents: facts.documents,
        rows: facts.draws,
        bytes: facts.bytes,
        tokens: facts.tokens,
        tokens_counted_with: facts.tokenizer.as_ref(),
        token_ids: facts.token_ids.as_ref(),
        files,
    };

    let text = serde_json::to_string_pretty(&dataset);
    text.expect("texts and integers are JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokenizer_is_named_without_its_folder() {
        let named = |name: &str| TokenizerName::of(name, "ab").name;
        assert_eq!(named("embedded"), "embedded");
        assert_eq!(named("/home/user/qwen/tokenizer.json"), "tokenizer.json");
        assert_eq!(named("../mine.json"), "mine.json");
    }

    #[test]
    fn a_description_spelled_out() {
        let facts = Facts {
            name: "gen\"eral".into(),
            run: "night".into(),
            run_digest: "00ff".into(),
            curate: "0.1.0".into(),
            order: "as drawn",
            seed: Some(7),
            documents: 2,
            draws: 3,
            bytes: 40,
            tokens: 9,
            token_ids: Some(TokenIds {
                tokenizer: TokenizerName {
                    name: "tokenizer.json".into(),
                    digest: "ab".into(),
                },
                vocabulary: 300,
                dtype: "uint16",
                ids: 8,
                documents: 2,
                documents_left_out: 1,
                documents_without_ids: 1,
                ..TokenIds::default()
            }),
            ..Facts::default()
        };

        let file = DataFile {
            name: "part-00000.bin".into(),
            bytes: 16,
            digest: "cd".into(),
        };

        let expected = r#"{
  "version": 1,
  "curate": "0.1.0",
  "run": "night",
  "run_digest": "00ff",
  "mixture": "gen\"eral",
  "order": "as drawn",
  "seed": 7,
  "documents": 2,
  "rows": 3,
  "bytes": 40,
  "tokens": 9,
  "tokens_counted_with": null,
  "token_ids": {
    "tokenizer": {
      "name": "tokenizer.json",
      "digest": "ab"
    },
    "vocabulary": 300,
    "end_token": null,
    "end_id": null,
    "dtype": "uint16",
    "ids": 8,
    "documents": 2,
    "documents_left_out": 1,
    "documents_without_ids": 1
  },
  "files": [
    {
      "name": "part-00000.bin",
      "bytes": 16,
      "digest": "cd"
    }
  ]
}
"#;
        assert_eq!(dataset(&facts, &[file]), expected);

        // Without token ids the key is there all the same.
        let none = dataset(&Facts::default(), &[]);
        assert!(
            none.contains("\"token_ids\": null,\n  \"files\": []\n"),
            "{none}"
        );
    }
}
