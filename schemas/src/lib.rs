//! What a row is: the Arrow schema of every table, the manifest's types, and what a commit records.
//!
//! | module | what stands there |
//! |---|---|
//! | [`tables`] | every table a run writes: columns, types, units, ranges, meaning |
//! | [`manifest`] | the types that a `manifest.toml` is read into, and the list of its keys |
//! | [`commit`] | `_commit.json`: files, digests, keys and counts of a finished stage |
//! | [`report`] | `run.json`: what a run did, for programs |

pub mod commit;
pub mod manifest;
pub mod report;
pub mod tables;
