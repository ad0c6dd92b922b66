//! Troubles that people who curate data report, made again in small: one file a case.
//!
//! A test asserts what is right, not what was once given. `make cases` runs them all.

mod against_itself;
mod bom_lines;
mod brackets_links;
mod clean_control;
mod dedup_scripts;
mod drift_undecided;
mod foreign_tokenizer;
mod hub_snapshot;
mod language_tail;
mod lost_source;
mod manifest_misuse;
mod megatron_empty;
mod mixed_schema;
mod mixtures;
mod paragraphs;
mod parquet_wrong_type;
mod surrogates_nul;
mod text_bom;
mod two_manifests;
mod url_lists;
mod url_without_effect;
mod white_left;
