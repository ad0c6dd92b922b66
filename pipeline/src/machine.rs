//! What the machine offers: memory and processors, with the limits of the container.

use std::fs;

use curate_formats::numbers::size;
use curate_schemas::stages::documents::Run;

/// Memory that a process takes beyond `run.memory`, bytes: the upper end of what was measured.
pub const BEYOND: u64 = 400 << 20;
/// The least value of `run.memory`, bytes.
pub const LEAST: u64 = 512 << 20;

/// The memory that this process may use, bytes, and who sets the limit. `None` if the system does not
/// tell.
pub fn memory() -> Option<(u64, &'static str)> {
    let machine = total_memory().map(|bytes| (bytes, "this machine"));
    let group = group_limit().map(|bytes| (bytes, "the control group"));
    machine
        .into_iter()
        .chain(group)
        .min_by_key(|(bytes, _)| *bytes)
}

/// All memory of the machine, bytes.
fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The least memory limit of the control groups around this process, bytes. `None` without a limit.
fn group_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut files = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        // Version 2 has one tree without controllers. Version 1 has a tree for memory.
        let (tree, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the own group is the root of what is mounted.
        let above = std::path::Path::new(path).ancestors();
        files.extend(above.map(|above| format!("{tree}{}/{name}", above.display())));
    }
    let limits = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    // Version 1 writes a number near 2^63 where there is no limit.
    let bytes = limits.filter_map(|text| text.trim().parse::<u64>().ok());
    bytes.filter(|bytes| *bytes < 1 << 60).min()
}

/// A value for `run.memory` and its reason, if the default is too much for this machine.
pub fn smaller_memory() -> Option<(u64, String)> {
    let (bytes, who) = memory()?;
    if bytes >= Run::default().memory + BEYOND {
        return None;
    }

    // Whole multiples of 512 MiB, and half of the memory for all others on the machine.
    let half = (bytes / 2).next_multiple_of(LEAST).max(2 * LEAST) - LEAST;
    Some((
        half,
        format!("{who} gives {}; the default is 4GiB", size(bytes)),
    ))
}
