//! `exact_dedup`: one document is kept of each text.

use crate::config::{Kind, config, words};
use crate::spec::{Removes, Scope, StageSpec, removal};
use crate::tables::{Table, aligned, removed_by, utf8};

use super::near_dedup::NearDedup;
use super::paragraph_dedup::ParagraphDedup;

/// The declaration of the stage.
pub const EXACT_DEDUP: StageSpec = StageSpec {
    name: "exact_dedup",
    version: 2,
    scope: Scope::Corpus,
    follows: "filter",
    removes: Removes::Duplicates,
    removals: &[
        removal(
            "exact_dedup.document",
            "the text equals the text of a document that is kept",
        ),
        removal(
            "exact_dedup.url",
            "the URL equals the URL of a document that is kept",
        ),
    ],
    rewrites: |_| false,
    sections: &[Dedup::SECTION, ExactDedup::SECTION],
    tables: || vec![exact_dedup()],
};

config! {
    /// Settings of every deduplication. A deduplication runs if its table is present.
    "dedup", Default => Dedup {
        /// Directories of earlier runs, relative to the working directory. Documents that those
        /// runs kept stay; documents of this run that resemble them are removed.
        optional against: Option<Vec<String>>; Kind::Paths, "[\"runs/2023\"]";
    }
    tables {
        /// Documents with equal text.
        exact: Option<ExactDedup>,
        /// Documents with similar text, by MinHash.
        near: Option<NearDedup>,
        /// Paragraphs or lines that occur in an earlier document.
        paragraphs: Option<ParagraphDedup>,
    }
}

impl Dedup {
    /// The earlier runs, in the order of the manifest.
    pub fn earlier(&self) -> &[String] {
        self.against.as_deref().unwrap_or_default()
    }
}

config! {
    /// One document of each text. Absent: off.
    "dedup.exact", Switch => ExactDedup {
        /// Part of the text that must be equal. as_is: every byte. normalized: the words, without
        /// case.
        key text: ExactText = ExactText::AsIs; Kind::Word(ExactText::WORDS);
        /// Keep one of the documents that share a URL. The case of the host and the fragment do
        /// not count.
        key url: bool = false; Kind::Bool;
    }
}

words! {
    /// Part of two texts that must be equal.
    ExactText {
        /// Every byte of the texts.
        AsIs = "as_is",
        /// The words, without case; not the characters between them.
        Normalized = "normalized",
    }
}

fn exact_dedup() -> Table {
    // The row of a removed document names its survivor, so that a removal can be checked.
    let columns = vec![
        removed_by(),
        utf8(
            "kept_id",
            "doc_id of the survivor, on documents that were removed",
        )
        .null(),
        utf8(
            "kept_in",
            "the earlier run of dedup.against that holds the survivor; null: this run",
        )
        .null(),
    ];

    aligned(
        "exact_dedup",
        "documents whose text equals the text of a document that is kept",
        columns,
    )
}
