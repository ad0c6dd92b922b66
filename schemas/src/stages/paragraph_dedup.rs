//! `paragraph_dedup`: one copy is kept of each paragraph or line.

use crate::config::{Kind, config, integer, words};
use crate::spec::{Removes, Scope, StageSpec, removal};
use crate::tables::{Table, aligned, count, edits_column, removed_by};

/// The reason for the removal of a document of which nothing is left.
pub const NOTHING_LEFT: &str = "paragraph_dedup.nothing_left";

/// The declaration of the stage.
pub const PARAGRAPH_DEDUP: StageSpec = StageSpec {
    name: "paragraph_dedup",
    version: 3,
    scope: Scope::Corpus,
    follows: "near_dedup",
    removes: Removes::Documents,
    removals: &[removal(
        NOTHING_LEFT,
        "what is left is white space and characters without a shape, or nothing",
    )],
    rewrites: |manifest| manifest.dedup.paragraphs.is_some(),
    sections: &[ParagraphDedup::SECTION],
    tables: || vec![paragraph_dedup()],
};

config! {
    /// One copy of each paragraph or line. Absent: off.
    "dedup.paragraphs", Switch => ParagraphDedup {
        /// Unit that is cut out if it occurs in an earlier document. paragraph: lines between
        /// blank lines.
        key unit: TextUnit = TextUnit::Paragraph; Kind::Word(TextUnit::WORDS);
        /// Fewest characters of a unit that is compared.
        key min_len: u32 = 50; integer(1, u32::MAX as u64);
        /// Set of the units seen so far. exact: up to 21 bytes a unit. bloom: 3.6 bytes a unit at
        /// the default rate.
        key set: SeenSet = SeenSet::Exact; Kind::Word(SeenSet::WORDS);
        /// Share of new units that the Bloom filter takes for old ones.
        key false_positive_rate: f64 = 1e-6; Kind::Number { min: 1e-12, max: 0.5 };
    }
}

words! {
    /// Unit of a text that is compared.
    TextUnit {
        /// The lines between two blank lines.
        Paragraph = "paragraph",
        /// Every line by itself.
        Line = "line",
    }
}

words! {
    /// Set of the units seen so far.
    SeenSet {
        /// The hashes of all units.
        Exact = "exact",
        /// A Bloom filter of the hashes, several times smaller.
        Bloom = "bloom",
    }
}

fn paragraph_dedup() -> Table {
    aligned(
        "paragraph_dedup",
        "paragraphs or lines that occur in an earlier document, as edits",
        vec![
            removed_by(),
            count(
                "bytes",
                "bytes",
                "length of the text after all edits, UTF-8",
            ),
            edits_column(),
        ],
    )
}
