//! The targets: texts whose loss is measured, read from files and freed of what the pool holds too.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::AsArray;
use curate_ingest::{inputs, read_unit};
use curate_schemas::Manifest;
use curate_schemas::calibration::TargetText;
use curate_schemas::stages::documents::Source;
use curate_scorers::calibrate::ngram_proxy;
use curate_scorers::shingles::shingles;
use curate_scorers::tokenizer::Tokenizer;
use curate_stages::mix::Document;
use curate_store::run_dir::{RunDir, Stored};
use curate_store::terminal;
use curate_store::zip::{Part, Reading, Zip};

use super::texts::each_text;
use super::usage;

/// Words of a shingle by which text of the pool is recognised.
const SHINGLE: usize = 13;
/// The share of a document's shingles that the pool may hold too.
const OVERLAP: f64 = 0.2;
/// The fewest documents of a target.
const LEAST_DOCUMENTS: usize = 100;

/// A target as the command line names it: `NAME=PATH[,PATH…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPath {
    /// The name.
    pub name: String,
    /// Files, folders or patterns.
    pub paths: Vec<String>,
}

/// Reads a target from the command line.
///
/// # Errors
/// If the text has no name or no path.
pub fn target_path(text: &str) -> Result<TargetPath, String> {
    let (name, paths) = text.split_once('=').unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(allowed) || paths.is_empty() {
        return Err("expected NAME=PATH, with letters, digits, . _ and - in the name".to_owned());
    }

    Ok(TargetPath {
        name: name.to_owned(),
        paths: paths.split(',').map(str::to_owned).collect(),
    })
}

/// A target that is ready to be measured.
#[derive(Debug)]
pub struct Target {
    /// The name.
    pub name: String,
    /// What is left of its text.
    pub text: TargetText,
    /// The tokens and bytes.
    pub tokens: ngram_proxy::Target,
    /// UTF-8 bytes of each document.
    pub lengths: Vec<u64>,
}

/// Reads the targets, drops the documents that overlap with the pool, and tokenizes the rest.
/// `least_tokens` must be left of each. `scratch` is an empty folder for the files as they are
/// read.
///
/// # Errors
/// Exit 2 if a path has no file, or if too little is left of a target.
pub fn read(
    paths: &[TargetPath],
    run: &RunDir,
    pool: &[Document],
    tokenizer: &Tokenizer,
    least_tokens: u64,
    scratch: &Path,
) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let (texts, files) = texts(path, &scratch.join(number.to_string()))?;
        targets.push((path, texts, files));
    }

    let shared = shared_with(run, pool, targets.iter().flat_map(|(_, texts, _)| texts))?;
    targets
        .into_iter()
        .map(|(path, texts, files)| {
            let target = without_overlap(&path.name, &texts, files, &shared, tokenizer)?;
            check_size(&target, least_tokens)?;
            Ok(target)
        })
        .collect()
}

/// The texts of a target's records, and the digest of each file. They are read as a source is.
fn texts(target: &TargetPath, scratch: &Path) -> Result<(Vec<String>, BTreeMap<String, String>)> {
    let mut manifest = Manifest {
        base: std::env::current_dir().context("cannot tell the working directory")?,
        source: vec![Source {
            name: target.name.clone(),
            path: target.paths.clone(),
            text: "text".to_owned(),
            ..Source::default()
        }],
        ..Manifest::default()
    };
    // No run directory is written: the target may lie in one.
    manifest.run.dir = PathBuf::from(scratch);

    let (mut texts, mut files) = (Vec::new(), BTreeMap::new());
    for (number, unit) in inputs::find(&manifest)?.units.iter().enumerate() {
        let folder = scratch.join(number.to_string());
        let read = read_unit(unit, &manifest, &folder)?;
        let quarantined = read.counts.docs.quarantined;
        if quarantined > 0 {
            terminal::say(&format!(
                "curate: warning: target {}: {quarantined} records of {} cannot be read",
                target.name, unit.files[0].relative
            ));
        }

        files.extend(
            read.inputs
                .into_iter()
                .map(|input| (input.path, input.digest)),
        );
        for shard in &read.shards {
            let file = Stored {
                path: folder.join(&shard.path),
                digest: None,
                is_checked_with_text: false,
                outdated: None,
                reading: Arc::new(Reading::new(None)),
            };
            for batch in Zip::open(&[Part::of(file, &["text"])])? {
                let batch = batch?;
                texts.extend(
                    batch
                        .column(0)
                        .as_string::<i32>()
                        .iter()
                        .flatten()
                        .map(str::to_owned),
                );
            }
        }
    }
    Ok((texts, files))
}

/// The hashes of the targets' shingles that the pool holds, too. The pool is read once.
fn shared_with<'t>(
    run: &RunDir,
    pool: &[Document],
    texts: impl Iterator<Item = &'t String>,
) -> Result<HashSet<u64>> {
    let (mut wanted, mut hashes) = (HashSet::<u64>::new(), Vec::new());
    for text in texts {
        shingles(text, SHINGLE, &mut hashes);
        wanted.extend(&hashes);
    }

    let every = vec![true; pool.len()];
    let found = each_text(run, pool, &every, |_, text| {
        let mut hashes = Vec::new();
        shingles(text, SHINGLE, &mut hashes);
        hashes.retain(|hash| wanted.contains(hash));
        Ok(hashes)
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// A target without the documents of which the pool holds more than a fifth.
fn without_overlap(
    name: &str,
    texts: &[String],
    files: BTreeMap<String, String>,
    shared: &HashSet<u64>,
    tokenizer: &Tokenizer,
) -> Result<Target> {
    let mut target = Target {
        name: name.to_owned(),
        text: TargetText {
            files,
            documents: 0,
            bytes: 0,
            tokens: 0,
            dropped_documents: 0,
            dropped_bytes: 0,
        },
        tokens: ngram_proxy::Target::default(),
        lengths: Vec::new(),
    };

    let mut hashes = Vec::new();
    for text in texts {
        // A document of fewer words than a shingle cannot be compared. It stays.
        shingles(text, SHINGLE, &mut hashes);
        let overlap = hashes.iter().filter(|hash| shared.contains(hash)).count();
        let (sizes, bytes) = (&mut target.text, text.len() as u64);
        if overlap as f64 > OVERLAP * hashes.len() as f64 {
            sizes.dropped_documents += 1;
            sizes.dropped_bytes += bytes;
            continue;
        }

        let ids = tokenizer.encode(text, None)?;
        sizes.documents += 1;
        sizes.bytes += bytes;
        sizes.tokens += ids.len() as u64;
        target.tokens.documents.push(ids);
        target.lengths.push(bytes);
    }
    target.tokens.bytes = target.text.bytes;
    Ok(target)
}

/// Refuses a target of which too little is left.
fn check_size(target: &Target, least_tokens: u64) -> Result<()> {
    let text = &target.text;
    if text.tokens >= least_tokens && target.tokens.documents.len() >= LEAST_DOCUMENTS {
        return Ok(());
    }

    Err(usage(
        format!(
            "target {}: {} tokens in {} documents are left after {} documents that overlap with \
             the pool were dropped, expected at least {least_tokens} tokens in {LEAST_DOCUMENTS} \
             documents",
            target.name, text.tokens, text.documents, text.dropped_documents
        ),
        "a target must be text that the pool does not hold, such as other packages, hosts or years",
    ))
}
