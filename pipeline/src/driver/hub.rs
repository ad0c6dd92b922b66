//! Models named `hf://owner/name@revision`. `hf-hub` fetches them once into its cache. Later runs
//! read the cache and need no network.
//!
//! The revision is a commit, so that the same manifest means the same bytes. A fetched model is
//! read like any local model, and its digest is a part of the key. The hub is the one in
//! `HF_ENDPOINT`, and the cache is under `HF_HOME`. A token comes from the file `token` there,
//! never from the manifest.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use curate_store::failure::{Exit, Failure, guard};
use curate_store::terminal;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;

/// Name of the file that lists the files of weights, in a model with several.
const INDEX: &str = "model.safetensors.index.json";
/// Name of the file of weights, in a model with one.
const WEIGHTS: &str = "model.safetensors";

/// Prefix of the name of a model on a hub.
pub const SCHEME: &str = "hf://";

/// The name of a model on a hub, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    /// The repository, as `owner/name`.
    repository: String,
    /// The commit, 40 hex digits.
    revision: String,
    /// Path of a GGUF file in the repository. `None`: the safetensors of the repository.
    file: Option<String>,
}

impl Name {
    /// Takes a name apart. The error says what is wrong with the name.
    fn parse(name: &str) -> Result<Name, &'static str> {
        let rest = name
            .strip_prefix(SCHEME)
            .ok_or("it does not begin with hf://")?;
        let (repository, rest) = rest.split_once('@').ok_or("it names no revision")?;
        let (revision, file) = rest
            .split_once('/')
            .map_or((rest, None), |(revision, file)| (revision, Some(file)));

        // Parts of a name become parts of a path, so `..` and empty parts are refused.
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

/// The path of a model's directory or GGUF file in the cache. Files that the cache lacks are
/// fetched.
///
/// # Errors
/// Exit 2 if the name is wrong or the hub lacks a file, 74 if a file cannot be fetched.
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
    let client = builder
        .build()
        .context("cannot start the client of the hub")?;
    let api = client.repo(repo.clone());
    let mut hub = Hub {
        name,
        cache: Cache::from_env(),
        repo,
        client,
        api,
        is_there: false,
    };

    // Looked up before anything is fetched, because weights that this call fetches prove nothing.
    hub.is_there = [INDEX, WEIGHTS]
        .iter()
        .any(|file| hub.cached(file).is_some());

    match &parsed.file {
        Some(file) => hub.file(file),
        None => hub.directory(),
    }
}

/// A repository on a hub, and the cache of its files.
struct Hub<'a> {
    /// The name from the manifest, for messages.
    name: &'a str,
    cache: Cache,
    repo: Repo,
    client: Api,
    api: ApiRepo,
    /// True if weights are in the cache. They are fetched last, so a file that the cache lacks is
    /// not on the hub either.
    is_there: bool,
}

impl Hub<'_> {
    /// The folder with all files of a model in safetensors.
    ///
    /// # Errors
    /// If the hub lacks a file that is needed, or a file cannot be fetched.
    fn directory(&self) -> Result<PathBuf> {
        let config = self.file("config.json")?;
        self.file("tokenizer.json")?;
        self.optional("tokenizer_config.json")?;

        // Weights come last: `is_there` relies on this order.
        let shards = match self.optional(INDEX)? {
            Some(index) => shards(&index).with_context(|| format!("{}: {INDEX}", self.name))?,
            None => BTreeSet::from([WEIGHTS.to_owned()]),
        };
        for shard in &shards {
            self.file(shard)?;
        }

        // The cache has a folder for each revision, and all files are in it.
        Ok(config
            .parent()
            .with_context(|| format!("{} is not in a folder", config.display()))?
            .to_owned())
    }

    /// The path of a file, which is fetched if the cache lacks it. Exit 2 if the hub lacks it too.
    fn file(&self, file: &str) -> Result<PathBuf> {
        let Some(path) = self.file_if_any(file)? else {
            let message = format!("{}: the hub has no {file} at this revision", self.name);
            return Err(Failure::new(Exit::Usage, message).into());
        };
        Ok(path)
    }

    /// The path of a file in the cache, or `None` if the cache lacks it.
    fn cached(&self, file: &str) -> Option<PathBuf> {
        self.cache.repo(self.repo.clone()).get(file)
    }

    /// The path of a file that a model may lack. The hub is not asked if `is_there` is true, so
    /// that a cached model needs no network.
    fn optional(&self, file: &str) -> Result<Option<PathBuf>> {
        if self.is_there {
            Ok(self.cached(file))
        } else {
            self.file_if_any(file)
        }
    }

    /// The path of a file, which is fetched if the cache lacks it. `None` if the hub lacks it too.
    fn file_if_any(&self, file: &str) -> Result<Option<PathBuf>> {
        if let Some(path) = self.cached(file) {
            return Ok(Some(path));
        }

        terminal::say(&format!("fetching {file} of {}", self.name));
        let failed = |what: String| {
            Failure::new(
                Exit::Io,
                format!("{}: cannot fetch {file}: {what}", self.name),
            )
        };

        // The client makes paths from the hub's answer, and panics where a path leads out of its
        // cache. `check_answer` refuses such answers, and `guard` catches the panics that are left.
        let answer = guard(|| {
            self.check_answer(file)?;
            self.api.download(file)
        })
        .map_err(|panic| failed(format!("its client failed: {panic}")))?;

        match answer {
            Ok(path) => Ok(Some(path)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) if is_denied(&error) => Err(failed(error.to_string())
                .hint("this model needs a token with read access, in the file HF_HOME/token")
                .into()),
            Err(error) => {
                let hint = "without a network, name a directory or a GGUF file instead, or put the files into the hub's cache (HF_HOME)";
                Err(failed(error.to_string()).hint(hint).into())
            }
        }
    }

    /// Checks the hub's answer for a file. Its commit and its etag become names of files in the
    /// client's cache, so both must consist of ASCII letters, digits, `-` and `_`.
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

/// True if the hub answered that it has no such file. The client's error for this answer has no
/// type of its own, so it is recognised by its text.
fn is_missing(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(error) => error.to_string() == "http status: 404",
        // The client wraps the last error of its retries.
        ApiError::TooManyRetries(error) => is_missing(error),
        _ => false,
    }
}

/// True if the hub refused the token, or requires one.
fn is_denied(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(error) => {
            ["http status: 401", "http status: 403"].contains(&error.to_string().as_str())
        }
        ApiError::TooManyRetries(error) => is_denied(error),
        _ => false,
    }
}

/// Names of the files that an index of safetensors lists, each once. They are in the folder of the
/// index.
fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let json: Value = serde_json::from_slice(&std::fs::read(index)?)?;
    let map = json["weight_map"]
        .as_object()
        .context("it has no weight_map")?;

    let names = map.values().map(|file| {
        // The index comes from the hub, so a name must not lead out of the folder.
        file.as_str()
            .filter(|name| {
                name.ends_with(".safetensors")
                    && !name.contains(['/', '\\'])
                    && !name.starts_with('.')
            })
            .map(str::to_owned)
            .with_context(|| format!("{file} is not the name of a safetensors file beside it"))
    });
    names.collect()
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
