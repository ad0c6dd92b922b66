//! `curate train ngram`: an n-gram model of the documents that a run kept.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::{self, documents::DOCUMENTS, quality::QUALITY};
use curate_scorers::ngram::{NgramError, TrainConfig, TrainSummary, train, write_arpa};
use curate_scorers::tokenizer::Tokenizer;
use curate_stages::ngram::learnt_with;
use curate_stages::read;
use curate_stages::text::TextSource;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::RunDir;
use curate_store::terminal::printable;
use curate_store::zip::{Zip, parts};
use curate_store::{durable, interrupt, terminal};

use crate::driver::engine::of_stage;

/// What `curate train ngram` is asked for.
pub struct Request {
    /// The run directory.
    pub run: PathBuf,
    /// The model's file.
    pub output: PathBuf,
    /// An ARPA file to write as well.
    pub arpa: Option<PathBuf>,
    /// A tokenizer.json; none: the one compiled in.
    pub tokenizer: Option<PathBuf>,
    /// Order of the model.
    pub order: usize,
    /// Per order, from unigrams on: n-grams that occur this often or less are dropped.
    pub prune: Vec<u64>,
    /// Bytes for counting.
    pub memory: u64,
}

/// Trains and writes the model; says what it is.
///
/// # Errors
/// Exit 2 for settings and files that will not do, 74 where writing fails.
pub fn ngram(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    interrupt::install()?;
    let run = RunDir::open(&request.run)?;
    let tokenizer = match &request.tokenizer {
        None => Tokenizer::embedded()?,
        Some(path) => {
            let bytes =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Tokenizer::from_bytes(&path.display().to_string(), &bytes)
                .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?
        }
    };
    // A folder of this process alone, so that nobody's is deleted afterwards.
    let mut spill = request.output.clone().into_os_string();
    spill.push(format!(".spill-{}", std::process::id()));
    let spill = PathBuf::from(spill);
    std::fs::create_dir(&spill).with_context(|| format!("cannot create {}", spill.display()))?;
    let config = TrainConfig {
        order: request.order,
        prune: request.prune.clone(),
        memory_bytes: request.memory as usize,
        ..TrainConfig::new(&learnt_with(&tokenizer), spill.clone())
    };
    let mut lines = Lines {
        run: &run,
        tokenizer: &tokenizer,
        reads: Reads::of(&run)?,
    };
    let learnt = lines.train(&config);
    std::fs::remove_dir_all(&spill)
        .with_context(|| format!("cannot delete {}", spill.display()))?;
    let (model, summary) = learnt.map_err(|error| match error.downcast_ref() {
        Some(NgramError::Io { .. }) | None => error,
        Some(wrong) => Failure::new(Exit::Usage, wrong.to_string()).into(),
    })?;
    durable::replace(&request.output, |part| anyhow::Ok(model.write(part)?))
        .with_context(|| format!("cannot write {}", request.output.display()))?;
    if let Some(arpa) = &request.arpa {
        durable::replace(arpa, |part| anyhow::Ok(write_arpa(&model, part)?))
            .with_context(|| format!("cannot write {}", arpa.display()))?;
    }
    print(&request.output, &model.digest(), &summary, out)?;
    Ok(ExitCode::SUCCESS)
}

fn print(path: &Path, digest: &str, summary: &TrainSummary, out: &mut impl Write) -> Result<()> {
    let path = printable(&path.to_string_lossy());
    writeln!(
        out,
        "{path}: {} tokens in {} lines, digest {digest}",
        summary.tokens, summary.sentences
    )?;
    writeln!(
        out,
        "{:>5} {:>12} {:>12}  discounts",
        "order", "seen", "kept"
    )?;
    for (order, found) in (1..).zip(&summary.orders) {
        let [one, two, more] = found.discounts;
        let fallback = found
            .fell_back
            .as_ref()
            .map(|why| format!("  (fallback: {why})"))
            .unwrap_or_default();
        writeln!(
            out,
            "{order:>5} {:>12} {:>12}  {one:.4} {two:.4} {more:.4}{fallback}",
            found.seen, found.kept
        )?;
    }
    Ok(())
}

/// Which columns say what is kept, and hold its text.
struct Reads {
    /// The last stage that ran.
    last: &'static StageSpec,
    text: TextSource,
}

impl Reads {
    fn of(run: &RunDir) -> Result<Reads> {
        let mut last = None;
        for stage in stages::aligned() {
            if run.commit(stage.name)?.is_some() {
                last = Some(stage);
            }
        }
        let last =
            last.ok_or_else(|| Failure::new(Exit::Usage, "the run has no documents".to_owned()))?;

        // A stage that makes edits may not have run yet.
        let source = TextSource::before(QUALITY.name, &run.manifest()?);
        let mut edits = Vec::new();
        for table in source.tables() {
            if run.commit(table)?.is_some() {
                edits.push(*table);
            }
        }
        Ok(Reads {
            last,
            text: TextSource::edited_by(edits),
        })
    }
}

struct Lines<'a> {
    run: &'a RunDir,
    tokenizer: &'a Tokenizer,
    reads: Reads,
}

impl Lines<'_> {
    fn train(
        &mut self,
        config: &TrainConfig,
    ) -> Result<(curate_scorers::ngram::Model, TrainSummary)> {
        let pieces = self.tokenizer.pieces();
        let documents = self.texts()?;
        let lines = documents.flat_map(|text| match text {
            Ok(text) => {
                let ids = |line: &str| {
                    self.tokenizer
                        .encode(line, None)
                        .map_err(anyhow::Error::from)
                };
                text.split('\n').map(ids).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error)],
        });
        train::<Vec<u32>, anyhow::Error, _>(lines, &pieces, config)
    }

    /// The texts that are kept, in the documents' order.
    fn texts(&self) -> Result<impl Iterator<Item = Result<String>> + '_> {
        let Reads { last, text } = &self.reads;
        let mut reads = text.reads();
        if last.name != DOCUMENTS.name {
            reads.push(read(last.name, "reached"));
        }
        if last.may_remove() {
            reads.push(read(last.name, "removed_by"));
        }
        let shards = self.run.shard_files()?;
        terminal::say(&format!(
            "learning from what {} kept in {} shards",
            last.name,
            shards.len()
        ));
        let of_shard = move |files: curate_store::run_dir::ShardFiles| -> Result<Vec<String>> {
            let mut kept = Vec::new();
            for batch in Zip::open(&parts(&files, &reads)?)? {
                interrupt::check()?;
                let batch = batch?;
                let texts = text.texts(&batch).map_err(of_stage)?;
                let reached = batch
                    .column_by_name("reached")
                    .map(|column| column.as_boolean());
                let removed = batch.column_by_name("removed_by");
                let is_kept = |row: &usize| {
                    reached.is_none_or(|reached| reached.value(*row))
                        && removed.is_none_or(|removed| removed.is_null(*row))
                };
                kept.extend(
                    (0..batch.num_rows())
                        .filter(is_kept)
                        .map(|row| texts.value(row).to_owned()),
                );
            }
            Ok(kept)
        };
        Ok(shards
            .into_iter()
            .flat_map(move |files| match of_shard(files) {
                Ok(texts) => texts.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            }))
    }
}
