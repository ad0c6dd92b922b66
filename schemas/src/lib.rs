//! The declarations that all crates share: the rows of each table, the keys of a manifest, and the
//! stages. There is no logic here.
//!
//! | module | contents |
//! |---|---|
//! | [`stages`] | the list of stages, one file a stage: manifest tables, columns, reasons for removal |
//! | [`spec`] | how a stage is declared |
//! | [`rules`] | the rules of `filter`, one file a family: values, thresholds, comparisons |
//! | [`config`] | how a table of the manifest is declared |
//! | [`tables`] | how a table of a run is declared, and all tables |
//! | [`doc_id`] | the identity of a document |
//! | [`commit`] | `_commit.json`: files, digests, keys and counts of a finished stage |
//! | [`calibration`] | `calibration.json`: what a token of each bucket is worth to a target |
//! | [`fleet`] | units of work that other processes do |
//! | [`report`] | `run.json`: the figures of a run, for programs |
//! | [`times`] | when the stages of the last run ran |

pub mod calibration;
pub mod commit;
pub mod config;
pub mod doc_id;
pub mod fleet;
pub mod report;
pub mod rules;
pub mod spec;
pub mod stages;
pub mod tables;
pub mod times;

pub use doc_id::DocId;
pub use stages::Manifest;
