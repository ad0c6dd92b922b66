//! `signatures`: the hashes and signatures that deduplication compares.

use arrow::datatypes::DataType;

use crate::spec::{Removes, Scope, StageSpec};
use crate::tables::{Column, Table, aligned, list, small_count};

/// The declaration of the stage. Its settings are those of the deduplications.
pub const SIGNATURES: StageSpec = StageSpec {
    name: "signatures",
    version: 3,
    scope: Scope::Shard,
    follows: "language",
    removes: Removes::Documents,
    removals: &[],
    rewrites: |_| false,
    sections: &[],
    tables: || vec![signatures()],
};

fn signatures() -> Table {
    let hash = |name, doc| Column::new(name, DataType::FixedSizeBinary(16), doc).null();

    let columns = vec![
        hash("text_hash", "xxh3-128 of the text, big-endian"),
        hash(
            "normalized_hash",
            "xxh3-128 of the lower-cased words; null unless dedup.exact compares it",
        ),
        hash(
            "url_hash",
            "xxh3-128 of the URL without fragment; null without a URL, or unless dedup.exact \
             compares it",
        ),
        small_count(
            "n_shingles",
            "shingles",
            "word n-grams of the text, repeats included",
        )
        .null(),
        Column::new(
            "probe",
            DataType::UInt64,
            "least shingle under a permutation of its own; draws near_dedup_sample",
        )
        .null(),
        Column::new(
            "bands",
            list(DataType::UInt64),
            "MinHash band keys; null without a shingle",
        )
        .null(),
        // The permutations of datatrove give values below 2^61, so 32 bits are not enough.
        Column::new(
            "signature",
            list(DataType::UInt64),
            "MinHash values, band by band; null without a shingle, or unless \
             dedup.near.keep_signatures",
        )
        .null(),
    ];

    aligned(
        "signatures",
        "what deduplication compares, for each document that `language` kept",
        columns,
    )
}
