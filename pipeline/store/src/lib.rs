//! The run directory: durable steps, commits, keys, and the files of tables, read and written.
//!
//! | module | what happens there |
//! |---|---|
//! | [`run_dir`] | where files lie, who holds the lock, commits and receipts |
//! | [`durable`] | steps on the disk that survive a crash, and faults in them for tests |
//! | [`key`] | what a file was made from, in 64 hex digits |
//! | [`zip`], [`writer`] | row-aligned reading and Parquet writing |
//! | [`failure`] | errors with an exit code and a hint |
//! | [`interrupt`] | SIGINT and SIGTERM |
//! | [`terminal`] | lines for a person, in which text of strangers is harmless |

pub mod durable;
pub mod failure;
pub mod interrupt;
pub mod key;
pub mod run_dir;
pub mod terminal;
pub mod writer;
pub mod zip;
