//! Tests of the real binary: each makes a folder of its own, runs `curate` there, and looks at
//! codes, messages and files.
//!
//! | file | what it holds the program to |
//! |---|---|
//! | `duckdb` | `run.json` follows from what DuckDB reads through `views.sql` |
//! | `dedup` | clusters on inputs made to break them |
//! | `gold` | words, values and verdicts of the rules are those of datatrove |
//! | `resume` | killed at any instant, the same command ends in the same bytes |
//! | `faults` | every durable step fails in every way; built with the feature `faults` only |
//! | `fleet` | shards computed by other processes: the same bytes, whatever dies |
//! | `disk_full` | what a full disk leaves, and what the same command makes of it |
//! | `determinism` | threads, order of sources and files, and times have no say |
//! | `init` | a manifest for files of every format, and what a machine offers |
//! | `incremental` | what changed is redone with what follows, and nothing else |
//! | `bad_input` | strangers' files end in quarantine, mistakes in a message that names the place |
//! | `hostile` | bombs, long lines, odd Unicode, many files, names that speak to a terminal |
//! | `rules` | rules that judge, rules that rewrite, lists, profiles |
//! | `quality` | terms, vetoes and tails: q as DuckDB computes it, and what a changed band redoes |
//! | `export` | formats of trainers, read back by others |
//! | `pii` | what `[pii]` found is in no output, and the counts and edits are right |
//! | `pinned_keys` | the keys of four manifests are what they were |
//! | `calibrate` | the worth of buckets to a target, and losses of other models |
//! | `report` | `report.html` is what its tables say, and hostile texts do nothing to it |
//! | `mixture` | shares, strategies, budgets |
//! | `ngram` | a model learnt from one run scores another |
//! | `hub` | models fetched by name, from a hub on this machine |
//! | `score` | model scores: values, what is copied, what is refused |
//! | `drift` | silent on equal runs, and by name on what moved |
//! | `verify` | one bit anywhere is found |
//! | `docs` | generated pages are what the program says, and links lead somewhere |
//! | `cases` | troubles from the field, in `tests/cases/` |
//! | `look` | what `trace`, `sample`, `diff` and `gc` show is what DuckDB computes |
//! | `cli`, `layers` | subcommands, and the direction of dependencies |

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod bad_input;
mod calibrate;
mod calibrated;
#[path = "../cases/mod.rs"]
mod cases;
mod cli;
mod coverage;
mod dedup;
mod determinism;
mod disk_full;
mod docs;
mod drift;
mod duckdb;
mod export;
#[cfg(feature = "faults")]
mod faults;
mod fleet;
mod gold;
mod hostile;
mod hub;
mod incremental;
mod init;
mod language_model;
mod layers;
mod look;
mod mixture;
mod ngram;
mod pii;
mod pinned_keys;
mod quality;
mod report;
mod resume;
mod rules;
mod score;
mod support;
mod verify;
mod web;
