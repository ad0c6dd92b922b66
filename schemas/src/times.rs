//! `.curate/times.json`: when the stages of the last run ran, and its peak memory. Times differ from
//! run to run, so they are no part of a run's output.

use serde::{Deserialize, Serialize};

/// The times of the last run that computed something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The stages that computed something, in the order in which they ran.
    pub stages: Vec<StageTime>,
    /// The stages whose files all existed.
    pub cached: Vec<String>,
    /// Time from the start of the run to the end of its last stage, in seconds.
    pub seconds: f64,
    /// Threads of the run.
    pub threads: u64,
}

/// When a stage ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// Folder of the stage, such as `filter` or `mix/general`.
    pub name: String,
    /// Start of the stage, in seconds from the start of the run.
    pub start: f64,
    /// End of the stage, in seconds from the start of the run.
    pub end: f64,
    /// Documents in the shards that were computed; rows for other tables.
    pub docs: u64,
    /// Bytes of text in these shards; 0 where they are not counted.
    pub bytes: u64,
    /// Greatest memory of the process up to the end of the stage, bytes; null where the system does
    /// not tell it.
    pub peak_memory: Option<u64>,
}
