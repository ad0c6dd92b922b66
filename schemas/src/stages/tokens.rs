//! `tokens`: the number of tokens of each text.

use arrow::datatypes::DataType;

use crate::config::{Kind, config, words};
use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Column, Table, aligned, count, list_of_structs, utf8};

/// The declaration of the stage.
pub const TOKENS: StageSpec = StageSpec {
    name: "tokens",
    version: 4,
    scope: Scope::Shard,
    follows: "pii",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |_| false,
    sections: &[Tokens::SECTION],
    tables: || vec![tokens()],
};

/// The value of a `tokenizer` key that names the tokenizer compiled into the binary.
pub const EMBEDDED_TOKENIZER: &str = "embedded";

config! {
    /// Counts of the tokens in each text.
    "tokens", Default => Tokens {
        /// Documents that are counted. With survivors, tokens of earlier stages are estimates.
        key scope: TokenScope = TokenScope::All; Kind::Word(TokenScope::WORDS);
        /// `embedded`, or the path of a tokenizer.json, relative to the manifest.
        key tokenizer: String = EMBEDDED_TOKENIZER.to_owned(); Kind::Path;
    }
}

words! {
    /// Documents that are counted.
    TokenScope {
        /// Every document is counted.
        All = "all",
        /// Documents that reached the stage.
        Survivors = "survivors",
    }
}

fn tokens() -> Table {
    let columns = vec![
        count(
            "tokens",
            "tokens",
            "tokens of the text, without special tokens; null if not counted",
        )
        .null(),
        list_of_structs(
            "tokens_before",
            vec![
                utf8("stage", "the stage that edited the text"),
                count("tokens", "tokens", "tokens of the text that the stage saw"),
            ],
            "tokens before each stage that edited the text, in the order of the stages; null if no \
             stage edited the text, or if the text is not counted",
        )
        .null(),
        Column::new(
            "text_hash",
            DataType::FixedSizeBinary(16),
            "xxh3-128 of the text that was counted, big-endian",
        )
        .null(),
    ];

    aligned(
        "tokens",
        "token counts under the tokenizer that the manifest names",
        columns,
    )
}
