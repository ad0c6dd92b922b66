//! Models named `hf://owner/name@revision`: fetched once through `hf-hub` into its cache, after
//! that read from there without a network.
//!
//! The revision is a commit, so that the same manifest means the same bytes; what was fetched is
//! then read like any local model, its digest in the key. The hub is the one in `HF_ENDPOINT`, the
//! cache is under `HF_HOME`, and a token comes from there, never from the manifest.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use curate_store::failure::{Exit, Failure, guard};
use curate_store::terminal;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;

const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "model.safetensors";

/// What names of models on a hub begin with.
pub const SCHEME: &str = "hf://";

/// A model on a hub: a repository at a commit, and a GGUF file in it or its safetensors.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    repository: String,
    revision: String,
    file: Option<String>,
}

impl Name {
    fn parse(name: &str) -> Result<Name, &'static str> {
        let rest = name
            .strip_prefix(SCHEME)
            .ok_or("it does not begin with hf://")?;
        let (repository, rest) = rest.split_once('@').ok_or("it names no revision")?;
        let (revision, file) = rest
            .split_once('/')
            .map_or((rest, None), |(revision, file)| (revision, Some(file)));
        let is_word = |word: &str| {
            !word.is_empty()
                && !word.starts_with('.')
                && word
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let is_repository = repository
            .split_once('/')
            .is_some_and(|(owner, name)| is_word(owner) && is_word(name));
        match file {
            _ if !is_repository => Err("the repository is not of the form owner/name"),
            _ if revision.len() != 40 || !revision.chars().all(|c| c.is_ascii_hexdigit()) => Err(
                "the revision is not a commit of 40 hex digits: a branch would mean another model tomorrow",
            ),
            Some(file) if !file.split('/').all(is_word) || !file.ends_with(".gguf") => {
                Err("the file is not the path of a GGUF file")
            }
            _ => Ok(Name {
                repository: repository.to_owned(),
                revision: revision.to_owned(),
                file: file.map(str::to_owned),
            }),
        }
    }
}

/// The path of a model's directory or GGUF file, fetched if it is not there.
///
/// # Errors
/// Exit 2 for a name that is none, exit 74 if the hub cannot be reached or lacks a file.
pub fn fetch(name: &str) -> Result<PathBuf> {
    let parsed = Name::parse(name).map_err(|wrong| {
        let hint = "write hf://owner/name@commit, or hf://owner/name@commit/file.gguf";
        Failure::new(
            Exit::Usage,
            format!("score.perplexity.model {name}: {wrong}"),
        )
        .hint(hint)
    })?;
    let repo = Repo::with_revision(
        parsed.repository.clone(),
        RepoType::Model,
        parsed.revision.clone(),
    );
    let builder = ApiBuilder::from_env()
        .with_progress(std::io::stderr().is_terminal())
        .with_retries(3);
    let client = builder.build().context("the client of the hub")?;
    let api = client.repo(repo.clone());
    let mut hub = Hub {
        name,
        cache: Cache::from_env(),
        repo,
        client,
        api,
        is_there: false,
    };
    hub.is_there = [INDEX, WEIGHTS]
        .iter()
        .any(|file| hub.cached(file).is_some());
    match &parsed.file {
        Some(file) => hub.file(file),
        None => hub.directory(),
    }
}

struct Hub<'a> {
    name: &'a str,
    cache: Cache,
    repo: Repo,
    client: Api,
    api: ApiRepo,
    /// Whether weights are in the cache: they come last, so what else is not there is not on the
    /// hub.
    is_there: bool,
}

impl Hub<'_> {
    /// All files of a model in safetensors; they share a folder.
    fn directory(&self) -> Result<PathBuf> {
        let config = self.file("config.json")?;
        self.file("tokenizer.json")?;
        self.optional("tokenizer_config.json")?;
        let shards = match self.optional(INDEX)? {
            Some(index) => shards(&index).with_context(|| format!("{}: {INDEX}", self.name))?,
            None => BTreeSet::from([WEIGHTS.to_owned()]),
        };
        for shard in &shards {
            self.file(shard)?;
        }
        Ok(config
            .parent()
            .context("a file of a hub stands in a folder")?
            .to_owned())
    }

    fn file(&self, file: &str) -> Result<PathBuf> {
        let missing = || {
            Failure::new(
                Exit::Usage,
                format!("{}: the hub has no {file} at this revision", self.name),
            )
        };
        Ok(self.file_if_any(file)?.ok_or_else(missing)?)
    }

    fn cached(&self, file: &str) -> Option<PathBuf> {
        self.cache.repo(self.repo.clone()).get(file)
    }

    fn optional(&self, file: &str) -> Result<Option<PathBuf>> {
        if self.is_there {
            Ok(self.cached(file))
        } else {
            self.file_if_any(file)
        }
    }

    fn file_if_any(&self, file: &str) -> Result<Option<PathBuf>> {
        if let Some(path) = self.cached(file) {
            return Ok(Some(path));
        }
        terminal::say(&format!("fetching {file} of {}", self.name));
        // The client makes paths of what the hub answers, and panics where they lead out of its
        // cache.
        let download = || {
            self.check_answer(file)?;
            self.api.download(file)
        };
        let failed = |what: String| {
            Failure::new(
                Exit::Io,
                format!("{}: cannot fetch {file}: {what}", self.name),
            )
        };
        match guard(download).map_err(|panic| failed(format!("its client failed: {panic}")))? {
            Ok(path) => Ok(Some(path)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) if is_denied(&error) => Err(failed(error.to_string())
                .hint("this model wants a token that may read it: set HF_TOKEN")
                .into()),
            Err(error) => {
                let hint = "without a network, name a directory or a GGUF file instead, or put the files into the hub's cache (HF_HOME)";
                Err(failed(error.to_string()).hint(hint).into())
            }
        }
    }

    /// The hub's answer names files in the client's cache: a commit and an etag, which must be
    /// words.
    fn check_answer(&self, file: &str) -> Result<(), ApiError> {
        let answer = self.client.metadata(&self.api.url(file))?;
        let is_word = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        match is_word(answer.commit_hash()) && is_word(answer.etag()) {
            true => Ok(()),
            false => Err(ApiError::IoError(std::io::Error::other(
                "the hub names a commit or an etag that is no word",
            ))),
        }
    }
}

/// Whether the hub answered that there is no such file. Its client passes on the error of its own,
/// which is known by its text.
fn is_missing(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(error) => error.to_string() == "http status: 404",
        ApiError::TooManyRetries(error) => is_missing(error),
        _ => false,
    }
}

/// Whether the hub refused the token, or asked for one.
fn is_denied(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(error) => {
            ["http status: 401", "http status: 403"].contains(&error.to_string().as_str())
        }
        ApiError::TooManyRetries(error) => is_denied(error),
        _ => false,
    }
}

/// The files that an index of safetensors names.
fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let json: Value = serde_json::from_slice(&std::fs::read(index)?)?;
    let map = json["weight_map"]
        .as_object()
        .context("it has no weight_map")?;
    let name = |file: &Value| {
        let plain = |file: &&str| {
            file.ends_with(".safetensors") && !file.contains(['/', '\\']) && !file.starts_with('.')
        };
        file.as_str()
            .filter(plain)
            .map(str::to_owned)
            .with_context(|| format!("{file} is no name of a file beside it"))
    };
    map.values().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "060db6499f32faf8b98477b0a26969ef7d8b9987";

    #[test]
    fn names() {
        let name = Name::parse(&format!("hf://Qwen/Qwen2.5-0.5B@{COMMIT}")).expect("a name");
        assert_eq!(
            (name.repository.as_str(), name.revision.as_str(), name.file),
            ("Qwen/Qwen2.5-0.5B", COMMIT, None)
        );
        let file = Name::parse(&format!("hf://a/b@{COMMIT}/sub/q4.gguf"))
            .expect("a name")
            .file;
        assert_eq!(file.as_deref(), Some("sub/q4.gguf"));
        for (name, word) in [
            ("hf://Qwen/Qwen2.5-0.5B", "no revision"),
            ("hf://Qwen/Qwen2.5-0.5B@main", "40 hex digits"),
            (
                "hf://Qwen@060db6499f32faf8b98477b0a26969ef7d8b9987",
                "owner/name",
            ),
            (
                "hf://../b@060db6499f32faf8b98477b0a26969ef7d8b9987",
                "owner/name",
            ),
            (
                "hf://a/b@060db6499f32faf8b98477b0a26969ef7d8b9987/../x.gguf",
                "GGUF",
            ),
            (
                "hf://a/b@060db6499f32faf8b98477b0a26969ef7d8b9987/model.bin",
                "GGUF",
            ),
        ] {
            let wrong = Name::parse(name).expect_err(name);
            assert!(wrong.contains(word), "{name}: {wrong}");
        }
    }

    #[test]
    fn an_index_names_files_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("index.json");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            shards(&path)
        };
        let both = read(
            r#"{"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors", "c": "x-1.safetensors"}}"#,
        );
        assert_eq!(
            both.expect("names").into_iter().collect::<Vec<_>>(),
            ["x-1.safetensors", "x-2.safetensors"]
        );
        for bad in [
            "{}",
            "[",
            r#"{"weight_map": {"a": "../x.safetensors"}}"#,
            r#"{"weight_map": {"a": 1}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
