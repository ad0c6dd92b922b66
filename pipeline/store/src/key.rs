//! Keys: blake3 over everything that produced a file. Files with equal keys have equal bytes.

use std::collections::BTreeMap;

use curate_schemas::commit::FileEntry;

/// The blake3 of several strings, 64 hex digits.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = blake3::Hasher::new();
    for part in parts {
        // Without the length, ["ab", "c"] and ["a", "bc"] would have one digest.
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().to_hex().to_string()
}

/// The key of a file, 64 hex digits. It covers the table, the version of the code that writes the
/// file, and the named parts.
pub fn of_parts(table: &str, version: u32, parts: &BTreeMap<String, String>) -> String {
    let parts = serde_json::to_string(parts).expect("strings are JSON");
    digest(&[table, &version.to_string(), &parts])
}

/// The key of a stage, 64 hex digits. It covers the keys of the stage's files, in order.
pub fn of_files<'a>(
    stage: &str,
    version: u32,
    files: impl Iterator<Item = &'a FileEntry>,
) -> String {
    let keys: Vec<&str> = files.map(|file| file.key.as_str()).collect();
    digest(&[stage, &version.to_string(), &keys.join(" ")])
}

/// The first eight digits of a key, which are part of file names.
pub fn short(key: &str) -> &str {
    key.get(..8).unwrap_or(key)
}
