//! Room on the disk: an estimate of the space that a run still needs, from its inputs, and the
//! space that is free.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Error;
use curate_ingest::inputs::{Compression, Unit};
use curate_schemas::Manifest;
use curate_schemas::stages::documents::Format;
use curate_store::failure::{Exit, Failure};
use curate_store::terminal;

/// Bytes of `documents` for each byte of a compressed input. It is above 1, because level 1 of
/// Zstandard is looser than what archives use. This constant and the next ones come from `make
/// run`: 2.6 MB of inputs became 3.4 MB of documents and 1.9 MB of other tables.
const COMPRESSED: f64 = 1.3;
/// Bytes of `documents` for each byte of an input that is not compressed. In `make run` it was 0.34
/// of 9.9 MB of text. The constant is larger, so that the estimate is careful.
const PLAIN: f64 = 0.45;
/// Bytes of all other row-aligned tables for each byte of `documents`.
const TABLES: f64 = 0.6;
/// Bytes of text for each token. It was 2.7 in `make run`, and is up to 4.5 with tokenizers of
/// 150,000 pieces.
const TOKEN_BYTES: f64 = 4.5;
/// Bytes of a mixture for each byte of its text: its spill file, which is not compressed, and its
/// parts.
const MIXTURE: f64 = 1.5;

/// Estimated size of the finished run directory of a manifest, bytes. Spill files are included at
/// their largest.
fn estimate(manifest: &Manifest, units: &[Unit]) -> u64 {
    let files = units.iter().flat_map(|unit| &unit.files);
    let documents: f64 = files
        .map(|file| {
            // Parquet is compressed inside the file.
            let is_plain = file.compression == Compression::None && file.format != Format::Parquet;
            file.size as f64 * if is_plain { PLAIN } else { COMPRESSED }
        })
        .sum();

    let tokens: u64 = manifest.mixture.iter().map(|mixture| mixture.tokens).sum();
    (documents * (1.0 + TABLES) + tokens as f64 * TOKEN_BYTES * MIXTURE) as u64
}

/// Size of all files below a folder, bytes. 0 if the folder does not exist.
fn used(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };

    // The type of an entry is that of a link itself, so links are not followed.
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => used(&entry.path()),
            _ => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}

/// Free space for this user on the file system of `path`, bytes. `None` if the system does not
/// report it.
pub fn free(path: &Path) -> Option<u64> {
    // The run directory need not exist yet. An empty path is the parent of a relative one and means
    // the current directory.
    let there = path
        .ancestors()
        .find(|above| above.exists())
        .filter(|above| !above.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(there.unwrap_or(Path::new("."))).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// The space that a run still needs, by the estimate, and the space that is free, bytes.
fn room(manifest: &Manifest, units: &[Unit]) -> (u64, Option<u64>) {
    let dir = &manifest.run.dir;
    (
        estimate(manifest, units).saturating_sub(used(dir)),
        free(dir),
    )
}

/// Warns if the estimate says that a run does not fit.
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

/// Adds the needed and the free space to the error of a full disk. Other errors are returned as
/// they are.
pub fn explain(error: Error, manifest: &Manifest, units: &[Unit]) -> Error {
    let is_full = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        });
    if !is_full {
        return error;
    }

    // At least 1 MiB: the disk is full, so the run needs more even if the estimate says 0.
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

/// A number of bytes in words, as bytes and as MB.
fn megabytes(bytes: u64) -> String {
    format!("{bytes} bytes ({:.1} MB)", bytes as f64 / 1e6)
}
