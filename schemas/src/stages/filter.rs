//! `filter`: the verdict of the rules that the manifest switches on.

use arrow::datatypes::DataType;

use crate::config::{Kind, config, words};
use crate::rules::{
    BadWordsRules, C4Rules, FineWebRules, GopherQualityRules, GopherRepetitionRules, LineRules,
    ParagraphRules, UrlRules,
};
use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Column, Table, aligned, list, removed_by, utf8};

/// The declaration of the stage. Its reasons are the rules of [`crate::rules::FAMILIES`].
pub const FILTER: StageSpec = StageSpec {
    name: "filter",
    version: 3,
    scope: Scope::Shard,
    follows: "signals",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |_| false,
    sections: &[
        Filter::SECTION,
        UrlRules::SECTION,
        GopherRepetitionRules::SECTION,
        GopherQualityRules::SECTION,
        C4Rules::SECTION,
        ParagraphRules::SECTION,
        BadWordsRules::SECTION,
        FineWebRules::SECTION,
        LineRules::SECTION,
    ],
    tables: || vec![filter()],
};

config! {
    /// Settings of every family of rules. A family judges if its table is present.
    "filter", Default => Filter {
        /// Reading of the rules.
        key profile: Profile = Profile::Datatrove010; Kind::Word(Profile::WORDS);
        /// Words that the rules count. by_language: spaCy's words of English, else UAX-29 with
        /// dictionaries. english: spaCy's words of every document.
        key words: Words = Words::ByLanguage; Kind::Word(Words::WORDS);
    }
    tables {
        /// The rules on lists of unwanted addresses.
        url: Option<UrlRules>,
        /// Gopher's repetition rules on paragraphs, lines and n-grams.
        gopher_repetition: Option<GopherRepetitionRules>,
        /// Gopher's quality rules on words, symbols and lines.
        gopher_quality: Option<GopherQualityRules>,
        /// C4's rules on lines and documents.
        c4: Option<C4Rules>,
        /// C4's rule on paragraphs.
        c4_paragraphs: Option<ParagraphRules>,
        /// The rule on a list of unwanted words.
        c4_bad_words: Option<BadWordsRules>,
        /// FineWeb's own rules on lines.
        fineweb: Option<FineWebRules>,
        /// RefinedWeb's line rules, and its rule on what they remove.
        lines: Option<LineRules>,
    }
}

impl Filter {
    /// True if a rule edits the text. Every stage after `signals` then sees another text than the
    /// one in `documents`.
    pub fn rewrites(&self) -> bool {
        self.c4.as_ref().is_some_and(|c4| c4.rewrite)
            || self.lines.as_ref().is_some_and(|lines| lines.rewrite)
    }
}

words! {
    /// Reading of rules that several tools have under one name.
    Profile {
        /// The rules as in datatrove 0.10.
        Datatrove010 = "datatrove-0.10",
        /// The line rules as FineWeb v1 used them; all other rules as datatrove 0.10.
        FineWebV1Lines = "fineweb-v1-lines",
    }
}

words! {
    /// Words of a document, for every rule that counts words.
    Words {
        /// spaCy's words in English documents and in documents without a language, UAX-29 with
        /// dictionaries in all others.
        ByLanguage = "by_language",
        /// spaCy's English words in every document.
        English = "english",
    }
}

fn filter() -> Table {
    let columns = vec![
        removed_by(),
        Column::new(
            "failing",
            list(DataType::Utf8),
            "every rule that the document fails, in rule order",
        )
        .null(),
        utf8(
            "url_domain",
            "the entry of filter.url.domains that the url's host is or is below",
        )
        .null(),
        utf8(
            "url_substring",
            "the entry of filter.url.substrings that the lower-cased url contains",
        )
        .null(),
    ];

    aligned(
        "filter",
        "the verdict of the rules that the manifest switches on",
        columns,
    )
}
