//! Files that a manifest names. Keys of stages hold their digests, never their paths.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use curate_schemas::Manifest;
use curate_schemas::stages::tokens::EMBEDDED_TOKENIZER;
use curate_scorers::tokenizer::Tokenizer;

use crate::error::{Result, StageError};

/// The arguments with which stages are opened.
pub struct Opening<'a> {
    /// The manifest of the run.
    pub manifest: &'a Manifest,
    /// The number of threads that work on shards at the same time.
    pub threads: usize,
    /// Digest of the earlier runs whose documents this run's documents are also compared with;
    /// `None` without such runs.
    pub against: Option<String>,
    /// Fetches a model that is named `hf://…`, and returns its path on this machine.
    pub fetch: &'a dyn Fn(&str) -> Result<PathBuf>,
}

/// A text file with its digest.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    /// The text, without a byte order mark.
    pub(crate) text: String,
    /// blake3 of the file, 64 hex digits.
    pub(crate) digest: String,
}

/// A value that was made from a file, with the digest of the file.
#[derive(Debug, Clone)]
pub(crate) struct Digested<T> {
    pub(crate) value: Arc<T>,
    /// blake3 of the file, 64 hex digits.
    pub(crate) digest: String,
}

impl Opening<'_> {
    /// Reads the text file that `key` names.
    ///
    /// # Errors
    /// If the file cannot be read or is not UTF-8.
    pub(crate) fn text(&self, key: &str, name: &str) -> Result<TextFile> {
        let path = self.manifest.base.join(name);
        let bytes = self.bytes(key, &path)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let at = error.valid_up_to();
            wrong(
                key,
                &path,
                &format!("expected UTF-8, found an invalid byte at offset {at}"),
            )
        })?;

        // The digest is of the file's bytes, with its byte order mark.
        Ok(TextFile {
            text: text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
            digest: blake3::hash(&bytes).to_hex().to_string(),
        })
    }

    /// Reads the list that `key` names, with an entry a line. Lines from `#` on are comments.
    ///
    /// # Errors
    /// As for [`Self::text`], and if the list has no entry: it would do nothing and say nothing.
    pub(crate) fn list(&self, key: &str, name: &str) -> Result<TextFile> {
        let file = self.text(key, name)?;
        let is_entry = |line: &str| !line.is_empty() && !line.starts_with('#');
        if !file.text.lines().any(|line| is_entry(line.trim())) {
            return Err(wrong(
                key,
                &self.manifest.base.join(name),
                "the list has no entry",
            ));
        }
        Ok(file)
    }

    /// Reads the secret that `key` names.
    ///
    /// # Errors
    /// If the file cannot be read or has fewer than `least` bytes. The error shows none of them.
    pub(crate) fn secret(&self, key: &str, name: &str, least: usize) -> Result<Vec<u8>> {
        let path = self.manifest.base.join(name);
        let bytes = self.bytes(key, &path)?;
        if bytes.len() < least {
            let found = bytes.len();
            let message = format!("a key has {least} bytes or more, found {found}");
            return Err(wrong(key, &path, &message));
        }
        Ok(bytes)
    }

    /// The error for a file that `key` names and that cannot be used.
    pub(crate) fn wrong(&self, key: &str, name: &str, what: &str) -> StageError {
        wrong(key, &self.manifest.base.join(name), what)
    }

    /// Opens the tokenizer that `key` names.
    ///
    /// # Errors
    /// If the file cannot be read or is not a tokenizer.
    pub(crate) fn tokenizer(&self, key: &str, name: &str) -> Result<Tokenizer> {
        if name == EMBEDDED_TOKENIZER {
            return Tokenizer::embedded().map_err(StageError::kernel);
        }

        let path = self.manifest.base.join(name);
        let bytes = self.bytes(key, &path)?;
        Tokenizer::from_bytes(name, &bytes).map_err(|error| wrong(key, &path, &error.to_string()))
    }

    /// Reads a file. Fails if the path is not a regular file, or if the file is larger than
    /// `run.max_file`.
    fn bytes(&self, key: &str, path: &Path) -> Result<Vec<u8>> {
        let most = self.manifest.run.max_file;
        let metadata = fs::metadata(path).map_err(|error| wrong(key, path, &error.to_string()))?;
        // Checked before the file is read: a device or a pipe may never end.
        if !metadata.is_file() {
            return Err(wrong(key, path, "it is not a regular file"));
        }
        if metadata.len() > most {
            let size = metadata.len();
            let message = format!("it has {size} bytes, run.max_file is {most}");
            return Err(wrong(key, path, &message));
        }

        fs::read(path).map_err(|error| wrong(key, path, &error.to_string()))
    }
}

/// The error for a file that the manifest names under `key`.
fn wrong(key: &str, path: &Path, what: &str) -> StageError {
    StageError::manifest(format!("{key} {}: {what}", path.display()))
}
