//! The progress of a run, on stderr. On a terminal there is a bar. Elsewhere there is one line for
//! each committed shard.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use curate_formats::numbers::size;
use curate_store::terminal::{printable, say};
use indicatif::{ProgressBar, ProgressStyle};

/// The progress of a number of equal pieces of work, with an estimate of the time that is left.
pub struct Count(ProgressBar);

impl Count {
    /// Starts with `done` of `all` pieces done. Without a terminal nothing is shown.
    pub fn start(name: &str, all: usize, done: usize) -> Count {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(all as u64),
            false => ProgressBar::hidden(),
        };
        let template = "{prefix:14} {bar:24} {pos}/{len}  {elapsed} eta {eta}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_prefix(name.to_owned());
        bar.set_position(done as u64);
        bar.reset_eta();
        Count(bar)
    }

    /// Counts a piece that is done.
    pub fn one(&self) {
        self.0.inc(1);
    }
}

/// What a stage computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    /// Documents in the shards that were computed; rows for other tables.
    pub docs: u64,
    /// Bytes of text in these shards.
    pub bytes: u64,
}

/// The progress of one stage.
pub struct Progress {
    stage: String,
    started: Instant,
    /// Processor time of the process at the start, or `None` if the system does not report it.
    cpu_started: Option<Duration>,
    docs: AtomicU64,
    bytes: AtomicU64,
    /// The bar, or `None` if stderr is not a terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts a stage that has to compute `shards` shards.
    pub fn start(stage: &str, shards: usize) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(shards as u64);
            let template = "{prefix:14} {bar:24} {pos}/{len} shards  {msg}  {elapsed} eta {eta}";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_prefix(stage.to_owned());
            // The elapsed time goes on between shards, so that a long shard does not look stuck.
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });

        Progress {
            stage: stage.to_owned(),
            started: Instant::now(),
            cpu_started: cpu_time(),
            docs: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bar,
        }
    }

    /// Counts a committed shard of `docs` documents and `bytes` bytes of text.
    pub fn shard(&self, name: &str, docs: u64, bytes: u64) {
        let docs_done = self.docs.fetch_add(docs, Ordering::Relaxed) + docs;
        let bytes_done = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;

        let Some(bar) = &self.bar else {
            say(&format!(
                "{} {name} {docs} docs, {}",
                self.stage,
                size(bytes)
            ));
            return;
        };

        // The lower bound avoids a division by zero.
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let rate = docs_done as f64 / seconds;
        let speed = bytes_done as f64 / 1e6 / seconds;
        bar.set_message(format!("{rate:.0} docs/s, {speed:.1} MB/s"));
        bar.inc(1);
    }

    /// Prints a line about the stage, above the bar if there is a bar.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(printable(&format!("{}: {text}", self.stage))),
            None => say(&format!("{}: {text}", self.stage)),
        }
    }

    /// Ends the bar and prints the totals of the stage, which is committed.
    pub fn finish(self) -> Work {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }

        let seconds = self.started.elapsed().as_secs_f64();
        let (docs, bytes) = (self.docs.into_inner(), self.bytes.into_inner());
        let cpu = cpu_time()
            .zip(self.cpu_started)
            .map(|(end, start)| (end - start).as_secs_f64());
        // The clock ticks every 10 ms: a speed over fewer than 5 ticks would be noise.
        let speed = match cpu {
            Some(cpu) if cpu >= 0.05 => {
                format!(", {:.1} MB per CPU second", bytes as f64 / 1e6 / cpu)
            }
            _ => String::new(),
        };

        say(&format!(
            "{}: {docs} docs, {} in {seconds:.2} s{speed}",
            self.stage,
            size(bytes)
        ));
        Work { docs, bytes }
    }
}

/// Processor time of this process in user and system mode, or `None` if the system does not report
/// it.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;

    // Fields 14 and 15 are the two times, in ticks of 10 ms on Linux. The count begins after the
    // name of the command (field 2), because a name may contain spaces and brackets.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// The peak memory of this process in bytes, or `None` if the system does not report it.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
