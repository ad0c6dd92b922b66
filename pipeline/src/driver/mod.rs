//! From manifest to committed stages: which shards a stage consists of, which of them are already
//! there, and the rest run and committed. The driver alone commits.

mod documents;
mod earlier;
mod expect;
mod mixtures;
mod shards;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use curate_schemas::commit::{Commit, Counts, FORMAT, FileEntry};
use curate_schemas::manifest::{EMBEDDED_MODEL, EMBEDDED_TOKENIZER, Manifest};
use curate_scorers::calibration::Knots;
use curate_scorers::lm::LmError;
use curate_scorers::lm::model::Model;
use curate_scorers::ngram::{self, read_arpa};
use curate_scorers::rules::bad_words::BadWords;
use curate_scorers::rules::url_rules::Blocklist;
use curate_scorers::tokenizer::Tokenizer;
use curate_stages::lists::{List, Lists};
use curate_stages::ngram::NgramScorer;
use curate_stages::score::{LoadedModel, Room};
use curate_stages::{AnyStage, Models, STAGES, stages};

pub use documents::{InputState, input_states};
pub use expect::{Existing, Expected, Keys, expected, number};
pub use mixtures::{
    Draws, Pooled, each_draw, gather_pool, method, mixture_expected, read_draws, request,
};
pub use shards::{count, edit, edited_bytes};

use crate::engine::Engine;
use crate::error::{Exit, Failure};
use crate::hub;
use crate::key;
use crate::progress;
use crate::run_dir::RunDir;
use crate::views;

/// A run: a manifest, its directory, and what executes it.
pub struct Driver {
    /// What is to be done.
    pub manifest: Manifest,
    /// Where it is done.
    pub run: RunDir,
    engine: Engine,
    stages: Vec<AnyStage>,
}

/// What [`Driver::run`] found to do.
#[derive(Debug, Default)]
pub struct Done {
    /// Stages of which at least one shard was computed, in order.
    pub computed: Vec<String>,
    /// Stages that were there already.
    pub cached: Vec<String>,
}

impl Driver {
    /// A driver with so many threads.
    ///
    /// # Errors
    /// If the tokenizer cannot be loaded.
    pub fn new(manifest: Manifest, run: RunDir, threads: usize) -> Result<Driver> {
        let engine = Engine::new(threads, manifest.run.memory, run.spill())?;
        let stages = load_stages(&manifest, threads)?;
        Ok(Driver {
            manifest,
            run,
            engine,
            stages,
        })
    }

    /// Runs every stage up to and with `until`; mixtures only without it.
    pub fn run(&self, until: Option<&str>) -> Result<Done> {
        let mut done = Done::default();
        let mut note = |stage: &str, computed: bool| match computed {
            true => done.computed.push(stage.to_owned()),
            false => {
                progress::say(&format!("{stage}: cached"));
                done.cached.push(stage.to_owned());
            }
        };
        note("documents", self.ingest()?);
        if until == Some("documents") {
            return Ok(done);
        }
        for stage in &self.stages {
            let name = stage.stage().name();
            note(name, self.run_stage(stage)?);
            if until == Some(name) {
                return Ok(done);
            }
        }
        for (name, computed) in self.run_mixtures()? {
            note(&name, computed);
        }
        Ok(done)
    }

    /// The commit of a stage that must be there.
    fn committed(&self, stage: &str) -> Result<Commit> {
        self.run
            .commit(stage)?
            .with_context(|| format!("stage {stage} has not run"))
    }

    /// Replaces a stage's commit: what follows is retired first, what is no longer named goes last.
    fn commit(&self, stage: &str, version: u32, content: Contents) -> Result<()> {
        let Contents {
            files,
            tables,
            inputs,
            sources,
        } = content;
        let mut counts = Counts::default();
        for file in files
            .iter()
            .chain(tables.get("quarantine").into_iter().flatten())
        {
            counts.add(file.counts.as_ref().unwrap_or(&Counts::default()));
        }
        if !counts.is_conserved() {
            let message = format!("stage {stage} lost or doubled documents or bytes: {counts:?}");
            return Err(Failure::new(Exit::Broken, message).into());
        }
        self.run.retire_report()?;
        let mut retired = false;
        for later in self.later_stages(stage)? {
            retired |= self.run.retire(&later)?;
        }
        if retired {
            views::write(&self.run)?;
        }
        let key = key::of_files(
            stage,
            version,
            files.iter().chain(tables.values().flatten()),
        );
        let stage_name = stage.to_owned();
        let commit = Commit {
            format: FORMAT,
            stage: stage_name,
            version,
            key,
            counts,
            files,
            tables,
            inputs,
            sources,
            digest: String::new(),
        };
        // Whoever reads the views finds every file: those that they named are deleted once they
        // name others.
        self.run.write_commit(&commit)?;
        views::write(&self.run)?;
        self.run.sweep_stage(&commit)
    }

    /// Everything that may rest on a stage, the last ones first: mixtures of any name, buckets, the
    /// row-aligned stages behind it.
    fn later_stages(&self, stage: &str) -> Result<Vec<String>> {
        let mixtures = || -> Result<Vec<String>> {
            let mut names = vec!["buckets".to_owned()];
            for folder in ["mix", "mixture"] {
                names.extend(self.run.subfolders(folder)?);
            }
            Ok(names)
        };
        if let Some(at) = STAGES.iter().position(|name| *name == stage) {
            let mut later: Vec<String> = STAGES[at + 1..]
                .iter()
                .map(|name| (*name).to_owned())
                .collect();
            later.extend(mixtures()?);
            // The last ones go first: at every instant a stage that is committed rests on committed
            // ones.
            later.reverse();
            return Ok(later);
        }
        Ok(match stage.strip_prefix("mix/") {
            Some(name) => vec![format!("mixture/{name}")],
            None => Vec::new(),
        })
    }
}

/// What a commit is made of.
#[derive(Default)]
struct Contents {
    files: Vec<FileEntry>,
    tables: BTreeMap<String, Vec<FileEntry>>,
    inputs: Vec<curate_schemas::commit::Input>,
    sources: BTreeMap<String, Counts>,
}

/// The row-aligned stages of a manifest, with its tokenizer.
///
/// # Errors
/// Exit 2 if the tokenizer's file cannot be read or is none.
pub fn load_stages(manifest: &Manifest, threads: usize) -> Result<Vec<AnyStage>> {
    let tokenizer = open_tokenizer(manifest, "tokens.tokenizer", &manifest.tokens.tokenizer)?;
    let (lists, against) = (load_lists(manifest)?, earlier::digest(manifest)?);
    let models = Models {
        perplexity: open_model(manifest, threads)?,
        ngram: open_ngram(manifest)?,
    };
    let stages = stages(manifest, Arc::new(tokenizer), &lists, against, models);
    earlier::check(manifest, &stages)?;
    Ok(stages)
}

fn open_tokenizer(manifest: &Manifest, key: &str, name: &str) -> Result<Tokenizer> {
    if name == EMBEDDED_TOKENIZER {
        return Tokenizer::embedded().context("the embedded tokenizer");
    }
    let path = manifest.base.join(name);
    let usage =
        |what: String| Failure::new(Exit::Usage, format!("{key} {}: {what}", path.display()));
    let bytes = read_whole(&path, manifest.run.max_file).map_err(usage)?;
    Ok(Tokenizer::from_bytes(name, &bytes).map_err(|error| usage(error.to_string()))?)
}

/// All of a file that the manifest names, unless it is none that ends or a very large one.
fn read_whole(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if metadata.len() > most {
        return Err(format!(
            "it has {} bytes, run.max_file is {most}",
            metadata.len()
        ));
    }
    fs::read(path).map_err(|error| error.to_string())
}

/// The n-gram model: a file of ours is mapped and its digest checked, an ARPA file is read into
/// memory.
fn open_ngram(manifest: &Manifest) -> Result<Option<Arc<NgramScorer>>> {
    let Some(settings) = manifest.score.ngram.clone() else {
        return Ok(None);
    };
    let usage = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Usage,
            format!("score.ngram.model {}: {error}", settings.model),
        )
    };
    let path = manifest.base.join(&settings.model);
    let model = match path
        .extension()
        .is_some_and(|extension| extension == "arpa")
    {
        true => {
            let file = fs::File::open(&path).map_err(|error| usage(&error))?;
            read_arpa(std::io::BufReader::new(file), &settings.tokenizer)
        }
        false => ngram::Model::open(&path).and_then(|model| model.verify().map(|()| model)),
    };
    let model = model.map_err(|error| usage(&error))?;
    let tokenizer = match settings.tokenizer.as_str() {
        WORDS => None,
        name => Some(open_tokenizer(manifest, "score.ngram.tokenizer", name)?),
    };
    let scorer =
        NgramScorer::new(model, tokenizer, settings.clone()).map_err(|error| usage(&error))?;
    Ok(Some(Arc::new(scorer)))
}

/// The value of `score.ngram.tokenizer` for words between white space.
const WORDS: &str = "words";

/// The model that scores, its weights digested but not loaded.
fn open_model(manifest: &Manifest, threads: usize) -> Result<Option<Arc<LoadedModel>>> {
    let Some(settings) = manifest.score.perplexity.clone() else {
        return Ok(None);
    };
    let usage = |error: LmError| {
        let failure = Failure::new(
            Exit::Usage,
            format!("score.perplexity.model {}: {error}", settings.model),
        );
        match error {
            LmError::NoRoom { .. } => failure.hint("raise run.memory, or read shorter windows"),
            _ => failure,
        }
    };
    let model = match settings.model.as_str() {
        EMBEDDED_MODEL => Model::embedded(),
        name if name.starts_with(hub::SCHEME) => Model::open(&hub::fetch(name)?),
        name => Model::open(&manifest.base.join(name)),
    };
    let model = model.map_err(usage)?;
    if let Some(digest) = settings
        .digest
        .as_ref()
        .filter(|digest| **digest != model.digest)
    {
        let message = format!(
            "score.perplexity.model {}: its digest is {}, expected {digest}",
            settings.model, model.digest
        );
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let room = Room {
        memory: manifest.run.memory,
        threads,
    };
    Ok(Some(Arc::new(
        LoadedModel::new(model, settings.clone(), room).map_err(usage)?,
    )))
}

/// What stages look up in files.
fn load_lists(manifest: &Manifest) -> Result<Lists> {
    let read = |key: &str, name: &String| -> Result<(String, String)> {
        let path = manifest.base.join(name);
        let usage =
            |what: String| Failure::new(Exit::Usage, format!("{key} {}: {what}", path.display()));
        let bytes = read_whole(&path, manifest.run.max_file).map_err(usage)?;
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            usage(format!(
                "expected UTF-8, found another byte at {}",
                error.valid_up_to()
            ))
        })?;
        Ok((
            text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
            digest,
        ))
    };
    let mut lists = Lists::default();
    let url = manifest.filter.url.as_ref();
    if let Some(name) = url.and_then(|url| url.domains.as_ref()) {
        let (text, digest) = read("filter.url.domains", name)?;
        lists.domains = Some(List {
            blocklist: Arc::new(Blocklist::domains(&text)),
            digest,
        });
    }
    if let Some(name) = url.and_then(|url| url.substrings.as_ref()) {
        let (text, digest) = read("filter.url.substrings", name)?;
        let blocklist = Blocklist::substrings(&text).with_context(|| name.clone())?;
        lists.substrings = Some(List {
            blocklist: Arc::new(blocklist),
            digest,
        });
    }
    if let Some(words) = &manifest.filter.c4_bad_words {
        let (text, digest) = read("filter.c4_bad_words.file", &words.file)?;
        let list = BadWords::new(&text, &words.language).with_context(|| words.file.clone())?;
        lists.bad_words = Some((Arc::new(list), digest));
    }
    for name in manifest
        .quality
        .term
        .iter()
        .filter_map(|term| term.file.as_ref())
    {
        let (text, digest) = read("quality.term.file", name)?;
        let usage =
            |what: String| Failure::new(Exit::Usage, format!("quality.term.file {name}: {what}"));
        let points = serde_json::from_str(&text)
            .map_err(|error| usage(format!("expected [[value, term], …], {error}")))?;
        let knots = Knots::isotonic(points).map_err(|error| usage(error.to_string()))?;
        lists.isotonic.insert(name.clone(), (knots, digest));
    }
    Ok(lists)
}
