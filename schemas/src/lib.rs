//! What a row is, what a manifest says, and what each stage promises. No logic.
//!
//! | module | contents |
//! |---|---|
//! | [`stages`] | the list of stages, one file a stage: its manifest tables, its columns, what it removes |
//! | [`spec`] | what is declared of a stage |
//! | [`rules`] | the rules of `filter`, one file a family: values, thresholds, comparisons |
//! | [`config`] | how a table of the manifest is declared |
//! | [`tables`] | how a table of a run is declared; all of them |
//! | [`doc_id`] | the identity of a document |
//! | [`commit`] | `_commit.json`: files, digests, keys and counts of a finished stage |
//! | [`report`] | `run.json`: what a run did, for programs |

pub mod commit;
pub mod config;
pub mod doc_id;
pub mod report;
pub mod rules;
pub mod spec;
pub mod stages;
pub mod tables;

pub use doc_id::DocId;
pub use stages::Manifest;
