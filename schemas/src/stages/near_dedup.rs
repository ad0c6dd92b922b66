//! `near_dedup`: one document is kept of each cluster of similar texts.
//!
//! The default bands, rows and shingle length are those of FineWeb (Penedo et al. 2024,
//! arXiv:2406.17557): 14 bands of 8 hashes over word 5-grams.

use crate::config::{Kind, NO_MAX, SHARE, config, integer, words};
use crate::spec::{Removes, Scope, StageSpec, removal};
use crate::tables::{
    Shape, Table, aligned, count, doc_id, removed_by, small_count, unit_interval, utf8,
};

/// The declaration of the stage.
pub const NEAR_DEDUP: StageSpec = StageSpec {
    name: "near_dedup",
    version: 4,
    scope: Scope::Corpus,
    follows: "exact_dedup",
    removes: Removes::Duplicates,
    removals: &[removal(
        "near_dedup.cluster",
        "the text is a near-duplicate of a document that is kept",
    )],
    rewrites: |_| false,
    sections: &[NearDedup::SECTION],
    tables: || vec![near_dedup(), near_dedup_evidence(), near_dedup_sample()],
};

config! {
    /// One document of each cluster of similar texts, by MinHash. Absent: off.
    "dedup.near", Switch => NearDedup {
        /// Words in a shingle.
        key ngram: u32 = 5; integer(1, 64);
        /// Bands of the signature. One equal band makes a candidate pair.
        key bands: u32 = 14; integer(1, 256);
        /// Hashes in a band.
        key rows: u32 = 8; integer(1, 64);
        /// Words of shingles. words: letters and digits, lower-cased; each letter where a script
        /// puts no spaces between words. datatrove-0.10: spaCy's words of the simplified text, for
        /// parity.
        key shingles: Shingles = Shingles::Words; Kind::Word(Shingles::WORDS);
        /// Permutations of MinHash. datatrove-0.10: those of datatrove, ten times slower, for
        /// parity.
        key family: Family = Family::Fast; Kind::Word(Family::WORDS);
        /// Least exact Jaccard similarity of a pair. 0: pairs are not verified.
        key min_jaccard: f64 = 0.8; SHARE;
        /// Comparison of a pair. exact: by the texts of candidates. estimate: by full signatures,
        /// without reading text.
        key verify: Verify = Verify::Exact; Kind::Word(Verify::WORDS);
        /// Store full signatures, 8 bytes a value before compression, and put estimates into the
        /// evidence.
        key keep_signatures: bool = false; Kind::Bool;
        /// Kept members that a document is compared with, at most.
        key max_comparisons: u32 = 64; integer(1, 10_000);
        /// Documents of a component of candidates above which the component is cut. Memory
        /// follows, about 700 bytes a document.
        key max_component: u64 = 1_000_000; integer(2, NO_MAX);
        /// Cluster of near-duplicates. star: a kept document and those like it. component: all
        /// documents that equal bands connect, with min_jaccard = 0.
        key cluster: Cluster = Cluster::Star; Kind::Word(Cluster::WORDS);
        /// Greatest share of a source's documents that may be near-duplicates before the run
        /// stops.
        key max_source_loss: f64 = 1.0; SHARE;
        /// Order that decides which document of a cluster survives, most important first.
        key prefer: Vec<Prefer> = vec![Prefer::SourcePriority, Prefer::Heuristic, Prefer::Bytes];
            Kind::Words(Prefer::WORDS);
    }
}

words! {
    /// Words that shingles are made of.
    Shingles {
        /// Python's `\w+` of the lower-cased text, and single letters in scripts that put no
        /// spaces between words.
        Words = "words",
        /// spaCy's words of the text as datatrove 0.10 simplifies it.
        Datatrove010 = "datatrove-0.10",
    }
}

words! {
    /// Family of the permutations of MinHash.
    Family {
        /// Multiply-add modulo 2^32, ten times faster.
        Fast = "fast",
        /// Multiply-add modulo 2^61 - 1, as datatrove 0.10 draws them.
        Datatrove010 = "datatrove-0.10",
    }
}

words! {
    /// Comparison of a pair.
    Verify {
        /// The sets of shingles of the two texts are compared.
        Exact = "exact",
        /// The full signatures are compared, and no text is read.
        Estimate = "estimate",
    }
}

words! {
    /// What a cluster of near-duplicates is.
    Cluster {
        /// A kept document and the documents that resemble it.
        Star = "star",
        /// All documents that equal bands connect, however unlike the ends of the chain are. Pairs
        /// are not verified.
        Component = "component",
    }
}

words! {
    /// Criterion that decides which document of a cluster survives.
    Prefer {
        /// The smaller number in `source.priority`.
        SourcePriority = "source_priority",
        /// The greater heuristic score.
        Heuristic = "heuristic",
        /// The longer text, bytes.
        Bytes = "bytes",
        /// The later date. A document with a date goes before a document without.
        Newest = "newest",
    }
}

fn near_dedup() -> Table {
    let columns = vec![
        removed_by(),
        utf8(
            "kept_id",
            "doc_id of the survivor, on documents that were removed",
        )
        .null(),
        small_count(
            "cluster_size",
            "documents",
            "documents of the cluster, its survivor included; null outside a cluster",
        )
        .null(),
    ];

    aligned(
        "near_dedup",
        "documents that are near-duplicates of a document that is kept",
        columns,
    )
}

fn near_dedup_evidence() -> Table {
    let columns = vec![
        doc_id(),
        utf8("cluster_id", "doc_id of the cluster's survivor"),
        small_count(
            "cluster_size",
            "documents",
            "documents of the cluster, its survivor included",
        ),
        utf8(
            "kept_id",
            "doc_id of the kept document that this document was compared with",
        ),
        utf8(
            "kept_in",
            "the earlier run of dedup.against that holds the kept document; null: this run",
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
            "exact Jaccard similarity of the shingle sets; null unless reason is verified",
        )
        .null(),
        unit_interval(
            "containment",
            "shared shingles / shingles of the smaller set; null unless reason is verified",
        )
        .null(),
        utf8("reason", "evidence for the removal").range("verified, estimate, band, component"),
    ];

    Table {
        name: "near_dedup_evidence",
        doc: "why each near-duplicate was removed",
        shape: Shape::Own,
        columns,
    }
}

fn near_dedup_sample() -> Table {
    let share = |name, doc| unit_interval(name, doc).null();

    // The sample may have no pairs for a row, so shares may be null.
    let columns = vec![
        unit_interval(
            "from_jaccard",
            "least Jaccard similarity of the pairs: exact, or estimated with dedup.near.verify = \
             \"estimate\"",
        ),
        unit_interval(
            "to_jaccard",
            "upper end of the similarity, exclusive; the last row has the pairs of 1",
        ),
        count("pairs", "pairs", "pairs in the sample"),
        share(
            "share_band",
            "share of such pairs in the corpus that share a band key: recall; null without \
             pairs",
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
    ];

    Table {
        name: "near_dedup_sample",
        doc: "how often pairs of documents share a band key, by similarity, from a sample drawn \
              without regard to band keys",
        shape: Shape::Own,
        columns,
    }
}
