//! Work that other processes may do: the table `[fleet]` of a manifest, and a round of units, which
//! the driver writes and `curate unit` reads.
//!
//! A unit computes some shards of one stage. It depends on committed files and on the manifest
//! alone, so it may run twice, late or half, on any machine that sees the run directory. What it
//! leaves are files under names that follow from their keys, each with a receipt.

use serde::{Deserialize, Serialize};

use crate::config::{Kind, config, integer};

config! {
    /// Who computes the shards. Absent: the threads of this process. A fleet changes no byte of the
    /// result, and the stages that see the whole corpus run in this process.
    "fleet", Default => Fleet {
        /// Program and arguments that place units of work on machines. It is called with the path
        /// of a round and numbers of units. For each number it runs `curate unit ROUND NUMBER` on a
        /// machine that sees the run directory and the files of the manifest under the same paths.
        /// A program with a slash is relative to the working directory. Absent: no fleet.
        optional command: Option<Vec<String>>; Kind::Command, "[\"sbatch\", \"--wait\", \"units.sh\"]";
        /// Shards of a unit.
        key shards: u64 = 8; integer(1, 10_000);
        /// Threads of a unit.
        key threads: u64 = 1; integer(1, 1024);
        /// How often a unit that left no receipt is handed out, at most.
        key attempts: u64 = 3; integer(1, 100);
    }
}

/// Version of [`Round`]. A round of another version is refused.
pub const ROUND_FORMAT: u32 = 1;

/// Units that do not depend on each other: the missing shards of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// [`ROUND_FORMAT`] of the writer.
    pub format: u32,
    /// Release of the driver, for messages.
    pub curate: String,
    /// blake3 of the driver's executable, 64 hex digits. Units of another build are refused.
    pub build: String,
    /// Absolute path of the run directory.
    pub run: String,
    /// Absolute path of the folder to which paths in the manifest are relative.
    pub base: String,
    /// The manifest with its defaults, in TOML, whose readers return every float unchanged.
    pub manifest: String,
    /// Name of the stage.
    pub stage: String,
    /// Most rows of committed tables that are read at a time.
    pub batch_rows: usize,
    /// The units. The number of a unit is its place here.
    pub units: Vec<Unit>,
}

/// The shards that one process computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// The files that the unit must leave, in the order of their shards.
    pub files: Vec<UnitFile>,
}

/// A file that a unit must leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitFile {
    /// Number of the shard.
    pub shard: usize,
    /// Key of the file, 64 hex digits.
    pub key: String,
}
