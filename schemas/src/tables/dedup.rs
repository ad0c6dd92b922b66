//! Signatures, which copies were removed, and the evidence.

use arrow::datatypes::DataType;

use super::signals::edits_column;
use super::{
    Column, Shape, Table, aligned, count, doc_id, list, removed_by, small_count, unit_interval,
    utf8,
};

pub(super) fn signatures() -> Table {
    aligned(
        "signatures",
        "what deduplication compares, for each document that `language` kept",
        vec![
            Column::new("text_hash", DataType::FixedSizeBinary(16), "xxh3-128 of the text, big-endian").null(),
            Column::new(
                "normalized_hash",
                DataType::FixedSizeBinary(16),
                "xxh3-128 of the lower-cased words; null unless dedup.exact compares it",
            )
            .null(),
            Column::new(
                "url_hash",
                DataType::FixedSizeBinary(16),
                "xxh3-128 of the URL without fragment; null without one, or unless dedup.exact compares it",
            )
            .null(),
            small_count("n_shingles", "shingles", "word n-grams of the text, repeats included").null(),
            Column::new(
                "probe",
                DataType::UInt64,
                "least shingle under a permutation of its own; draws near_dedup_sample",
            )
            .null(),
            Column::new("bands", list(DataType::UInt64), "MinHash band keys; null where there is no shingle").null(),
            Column::new(
                "signature",
                list(DataType::UInt64),
                "MinHash values, band by band; null without a shingle, or unless dedup.near.keep_signatures",
            )
            .null(),
        ],
    )
}

pub(super) fn exact_dedup() -> Table {
    aligned(
        "exact_dedup",
        "documents whose text equals that of a document that is kept",
        vec![
            removed_by(),
            utf8(
                "kept_id",
                "doc_id of the survivor, on documents that were removed",
            )
            .null(),
            utf8(
                "kept_in",
                "the earlier run of dedup.against that holds the survivor; null: this one",
            )
            .null(),
        ],
    )
}

pub(super) fn near_dedup() -> Table {
    aligned(
        "near_dedup",
        "documents that are near-duplicates of a document that is kept",
        vec![
            removed_by(),
            utf8(
                "kept_id",
                "doc_id of the survivor, on documents that were removed",
            )
            .null(),
            small_count(
                "cluster_size",
                "documents",
                "documents of the cluster, its survivor included; null outside",
            )
            .null(),
        ],
    )
}

pub(super) fn near_dedup_evidence() -> Table {
    Table {
        name: "near_dedup_evidence",
        doc: "why each near-duplicate was removed",
        shape: Shape::Own,
        columns: vec![
            doc_id(),
            utf8("cluster_id", "doc_id of the cluster's survivor"),
            small_count(
                "cluster_size",
                "documents",
                "documents of the cluster, its survivor included",
            ),
            utf8(
                "kept_id",
                "doc_id of the kept document that it was compared with",
            ),
            utf8(
                "kept_in",
                "the earlier run of dedup.against that holds that document; null: this one",
            )
            .null(),
            small_count(
                "bands_hit",
                "bands",
                "band keys that the two share; 0 only within a component",
            ),
            unit_interval(
                "estimated_jaccard",
                "share of equal MinHash values; null unless full signatures are kept",
            )
            .null(),
            unit_interval(
                "jaccard",
                "exact Jaccard similarity of the shingle sets; null without verification",
            )
            .null(),
            unit_interval(
                "containment",
                "shared shingles / shingles of the smaller set; null without verification",
            )
            .null(),
            utf8("reason", "what the removal rests on")
                .range("verified, estimate, band, component"),
        ],
    }
}

pub(super) fn near_dedup_sample() -> Table {
    let share = |name, doc| unit_interval(name, doc).null();
    Table {
        name: "near_dedup_sample",
        doc: "how often pairs of documents share a band key, by similarity, from a sample drawn without regard to band keys",
        shape: Shape::Own,
        columns: vec![
            unit_interval(
                "from_jaccard",
                "least exact Jaccard similarity of the pairs; estimated where dedup.near.verify is",
            ),
            unit_interval(
                "to_jaccard",
                "similarity that they are below; the last row has those of 1",
            ),
            count("pairs", "pairs", "pairs in the sample"),
            share(
                "share_band",
                "share of such pairs in the corpus that share a band key: recall; null without pairs",
            ),
            share("share_band_low", "lower end of its 95 % interval"),
            share("share_band_high", "upper end of its 95 % interval"),
            share(
                "expected",
                "the share by the S-curve, 1 - (1 - s^rows)^bands",
            ),
            share(
                "both_kept",
                "share of such pairs of which both documents are kept",
            ),
        ],
    }
}

pub(super) fn paragraph_dedup() -> Table {
    aligned(
        "paragraph_dedup",
        "paragraphs or lines that stand in an earlier document, as edits",
        vec![
            removed_by(),
            count(
                "bytes",
                "bytes",
                "length of the text after all edits, UTF-8; every later stage sees that text",
            ),
            edits_column(),
        ],
    )
}
