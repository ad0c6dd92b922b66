//! Room on the disk: what a run will take, by an estimate from its inputs, beside what is free.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Error;
use curate_ingest::inputs::{Compression, Unit};
use curate_schemas::Manifest;
use curate_schemas::stages::documents::Format;
use curate_store::failure::{Exit, Failure};
use curate_store::terminal;

/// Bytes of `documents` for each byte of a compressed input: level 1 of Zstandard is looser than
/// what archives use. This and the following were seen on `make run`, whose 2.6 MB of inputs became
/// 3.4 MB of documents and 1.9 MB of other tables.
const COMPRESSED: f64 = 1.3;
/// The same for a byte of an input that is not compressed: documents there were 0.34 of their 9.9
/// MB of text; taken larger.
const PLAIN: f64 = 0.45;
/// Bytes of all other row-aligned tables for each byte of `documents`.
const TABLES: f64 = 0.6;
/// Bytes of text a token stands for (2.7 there, up to 4.5 with tokenizers of 150,000 pieces), and
/// what a mixture takes for each of them: its spill file, not compressed, and its parts.
const TOKEN_BYTES: f64 = 4.5;
const MIXTURE: f64 = 1.5;

/// What the run directory of a manifest takes when it is finished, its spill files at their largest
/// included: bytes, estimated.
fn estimate(manifest: &Manifest, units: &[Unit]) -> u64 {
    let files = units.iter().flat_map(|unit| &unit.files);
    let documents: f64 = files
        .map(|file| {
            let is_plain = file.compression == Compression::None && file.format != Format::Parquet;
            file.size as f64 * if is_plain { PLAIN } else { COMPRESSED }
        })
        .sum();
    let tokens: u64 = manifest.mixture.iter().map(|mixture| mixture.tokens).sum();
    (documents * (1.0 + TABLES) + tokens as f64 * TOKEN_BYTES * MIXTURE) as u64
}

/// Bytes below a folder.
fn used(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => used(&entry.path()),
            _ => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}

/// Bytes that are free for us on the file system of a path, where the system tells it.
fn free(path: &Path) -> Option<u64> {
    let there = path
        .ancestors()
        .find(|above| above.exists())
        .filter(|above| !above.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(there.unwrap_or(Path::new("."))).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// Bytes that a run still needs, and those that are free.
fn room(manifest: &Manifest, units: &[Unit]) -> (u64, Option<u64>) {
    let dir = &manifest.run.dir;
    (
        estimate(manifest, units).saturating_sub(used(dir)),
        free(dir),
    )
}

/// Warns before a run that will hardly fit.
pub fn warn(manifest: &Manifest, units: &[Unit]) {
    if let (needed, Some(free)) = room(manifest, units)
        && needed > free
    {
        terminal::say(&format!(
            "curate: warning: this run needs about {} more in {}, by an estimate from its inputs, and {} are free",
            megabytes(needed),
            manifest.run.dir.display(),
            megabytes(free)
        ));
    }
}

/// Says of a full disk how much is missing; other errors stay what they are.
pub fn explain(error: Error, manifest: &Manifest, units: &[Unit]) -> Error {
    let is_full = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    };
    if !error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(is_full)
    {
        return error;
    }
    let (needed, free) = room(manifest, units);
    let free = free.map_or("an unknown amount".to_owned(), megabytes);
    Failure::new(Exit::Io, format!("{error:#}"))
        .hint(format!(
            "the run needs about {} more in {}, by an estimate from its inputs, and {free} are free; make room and run the \
             same command again",
            megabytes(needed.max(1 << 20)),
            manifest.run.dir.display()
        ))
        .into()
}

fn megabytes(bytes: u64) -> String {
    format!("{bytes} bytes ({:.1} MB)", bytes as f64 / 1e6)
}
