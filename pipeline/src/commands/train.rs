//! `curate train ngram` learns an n-gram model from the documents that a run kept.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray};
use clap::Args;
use curate_formats::read_tokenizer;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::{self, documents::DOCUMENTS, quality::QUALITY};
use curate_scorers::ngram::{NgramError, TrainConfig, TrainSummary, train, write_arpa};
use curate_scorers::tokenizer::Tokenizer;
use curate_stages::ngram::learnt_with;
use curate_stages::text::TextSource;
use curate_stages::{Read, read};
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::terminal::printable;
use curate_store::zip::{Zip, parts};
use curate_store::{durable, interrupt, terminal};

use crate::driver::engine::of_stage;

/// The arguments of `curate train ngram`.
#[derive(Debug, Args)]
pub struct Request {
    /// Run directory; the last stage that ran decides which documents are kept
    pub run: PathBuf,
    /// File to write the model to
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// File to write the same model to in ARPA form, for KenLM
    #[arg(long, value_name = "FILE")]
    pub arpa: Option<PathBuf>,
    /// A tokenizer.json instead of the tokenizer that is compiled in
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Longest n-gram, in tokens, 1 to 6
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub order: usize,
    /// Drop n-grams that occur this often or less, from unigrams on; the last number holds for
    /// all further orders
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "0,0,1"
    )]
    pub prune: Vec<u64>,
    /// Memory for counting, as in 1GiB; the n-grams that are kept take 70 bytes each on top
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = crate::manifest::size)]
    pub memory: u64,
}

/// Learns the model, writes it and prints its size and discounts.
///
/// # Errors
/// Exit 2 if a setting is out of range or a file cannot be used. Exit 74 if writing fails.
pub fn ngram(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    interrupt::install()?;
    let run = RunDir::open(&request.run)?;
    let tokenizer = tokenizer(request.tokenizer.as_deref())?;

    // The folder is new and named after this process, so no folder of somebody else is deleted
    // afterwards.
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

    // The folder goes whether or not the training succeeded.
    let learnt = lines.train(&config);
    std::fs::remove_dir_all(&spill)
        .with_context(|| format!("cannot delete {}", spill.display()))?;

    // Errors of the file system keep their exit code. The others are the settings' fault.
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

/// The tokenizer in a file, or the one that is compiled in.
///
/// # Errors
/// Exit 2 if the file cannot be read or is no tokenizer.
pub fn tokenizer(path: Option<&Path>) -> Result<Tokenizer> {
    let Some(path) = path else {
        return Ok(Tokenizer::embedded()?);
    };

    // A pipe is refused as by `curate export`: it may never end.
    let bytes = read_tokenizer(path).map_err(|reason| {
        let message = format!("--tokenizer {}: {reason}", path.display());
        Failure::new(Exit::Usage, message)
    })?;
    Tokenizer::from_bytes(&path.display().to_string(), &bytes)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()).into())
}

/// Prints the size of a model, and a line for each order with its discounts.
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

/// The columns that say which documents are kept, and the columns that hold their text.
struct Reads {
    /// The last row-aligned stage that ran.
    last: &'static StageSpec,
    text: TextSource,
}

impl Reads {
    /// The columns of a run as far as it got.
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

/// The lines that a model learns from.
struct Lines<'a> {
    run: &'a RunDir,
    tokenizer: &'a Tokenizer,
    reads: Reads,
}

impl Lines<'_> {
    /// Learns a model from the lines of all kept texts.
    fn train(
        &mut self,
        config: &TrainConfig,
    ) -> Result<(curate_scorers::ngram::Model, TrainSummary)> {
        let pieces = self.tokenizer.pieces();
        let documents = self.texts()?;

        // The stage `ngram` scores line by line, so a line is a sentence of the model.
        let lines = documents.flat_map(|text| match text {
            Ok(text) => text
                .split('\n')
                .map(|line| {
                    self.tokenizer
                        .encode(line, None)
                        .map_err(anyhow::Error::from)
                })
                .collect::<Vec<_>>(),
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

        // One shard's texts are in memory at a time.
        Ok(shards
            .into_iter()
            .flat_map(move |files| match kept_texts(&files, &reads, text) {
                Ok(texts) => texts.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            }))
    }
}

/// The kept texts of a shard.
fn kept_texts(files: &ShardFiles, reads: &[Read], text: &TextSource) -> Result<Vec<String>> {
    let mut kept = Vec::new();
    for batch in Zip::open(&parts(files, reads)?)? {
        interrupt::check()?;
        let batch = batch?;
        let texts = text.texts(&batch).map_err(of_stage)?;

        // `documents` lets every row through, and not every stage removes rows.
        let reached = batch
            .column_by_name("reached")
            .map(|column| column.as_boolean());
        let removed = batch.column_by_name("removed_by");
        for row in 0..batch.num_rows() {
            if reached.is_none_or(|reached| reached.value(row))
                && removed.is_none_or(|removed| removed.is_null(row))
            {
                kept.push(texts.value(row).to_owned());
            }
        }
    }
    Ok(kept)
}
