//! `curate export`: a mixture of a run as a folder of its own, in the formats that trainers read.
//!
//! The rows and their order are those of the run's `mixture/NAME`, a file of each format a part.
//! Every file is written under another name, made durable and renamed; `.idx` follows its `.bin`,
//! and the card is last. A folder that is not finished has a mark in it, and only such a one is
//! written into again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt32Type, UInt64Type};
use curate_formats::blend::{Row as BlendRow, interleave_json, megatron_json, megatron_text};
use curate_formats::card::{Config, Facts, Language, Source, Stage, card};
use curate_formats::jsonl::{JsonlWriter, Row};
use curate_formats::megatron::{BinWriter, check};
use curate_schemas::report::{MixtureReport, Report};
use curate_scorers::tokenizer::Tokenizer;
use curate_store::durable::NewFile;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::{RunDir, Stored};
use curate_store::terminal::printable;
use curate_store::zip::{Part, Zip};
use curate_store::{durable, interrupt};

use crate::mixing::languages::languages;
use crate::report;

/// A format beside Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Parquet, as in the run.
    Parquet,
    /// JSON lines in Zstandard.
    Jsonl,
    /// Token ids as Megatron-LM maps them, with blend files.
    Megatron,
}

/// What is to be written.
pub struct Request {
    /// The run directory.
    pub run: PathBuf,
    /// Name of the mixture.
    pub mixture: String,
    /// The folder to be made.
    pub output: PathBuf,
    /// In which formats.
    pub formats: Vec<Format>,
    /// A tokenizer.json for token ids; none: the one compiled in.
    pub tokenizer: Option<PathBuf>,
    /// The token that ends each document, by name.
    pub end: Option<String>,
}

/// Writes the folder.
///
/// # Errors
/// Exit 2 if the mixture or a file is missing, the tokenizer lacks the token `--end`, or the folder
/// holds a finished export; 74 if writing fails.
pub fn export(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    interrupt::install()?;
    let run = RunDir::open(&request.run)?;
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let table = format!("mixture/{}", request.mixture);
    let commit = run.commit(&table)?;
    let commit =
        commit.ok_or_else(|| usage(format!("the run has no mixture \"{}\"", request.mixture)))?;
    let report = report::build(&run, &run.manifest()?)?;
    let mixture = report
        .mixtures
        .iter()
        .find(|mixture| mixture.name == request.mixture);
    let mixture =
        mixture.with_context(|| format!("the report has no mixture \"{}\"", request.mixture))?;
    let readme = request.output.join("README.md");
    if readme.exists() {
        let message = format!("{} is a finished export", request.output.display());
        return Err(usage(message)
            .hint("name another folder, or delete it")
            .into());
    }
    let unfinished = begin(&request.output)?;
    let tokens = Tokens::open(request)?;
    let mut writer = Export {
        request,
        tokens,
        sources: BTreeMap::new(),
        bytes: 0,
        blend: Vec::new(),
    };
    let mut parquet = Config {
        name: "default".to_owned(),
        ..Config::default()
    };
    for (number, file) in commit.files.iter().enumerate() {
        let stem = format!("part-{number:05}");
        let stored = run.stored(&table, file);
        run.reading().check_digest(&stored.path, &file.digest)?;
        let from = &stored.path;
        if request.formats.contains(&Format::Parquet) {
            let name = format!("{stem}.parquet");
            writer.put(&name, |out| {
                std::io::copy(&mut File::open(from)?, out)
                    .map(drop)
                    .map_err(Into::into)
            })?;
            parquet.bytes += file.size;
            parquet.files.push(name);
        }
        writer.part(&stem, &stored)?;
    }
    writer.finish(
        &report,
        mixture,
        parquet,
        languages(&run, &request.mixture)?,
    )?;
    let place = || format!("cannot finish {}", request.output.display());
    durable::sync_dir(&request.output).with_context(place)?;
    durable::remove(&unfinished).with_context(place)?;
    let output = printable(&request.output.to_string_lossy());
    writeln!(
        out,
        "{output}: {} parts, {} rows",
        commit.files.len(),
        mixture.draws
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the folder with a mark that it is unfinished. One that holds something else is not written
/// into.
fn begin(folder: &Path) -> Result<PathBuf> {
    let mark = folder.join(".unfinished");
    let is_empty =
        |folder: &Path| fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if !mark.exists() && !is_empty(folder) {
        let message = format!(
            "{} holds files that are no unfinished export",
            folder.display()
        );
        return Err(Failure::new(Exit::Usage, message)
            .hint("name another folder")
            .into());
    }
    let place = || format!("cannot write {}", folder.display());
    durable::create_dir_all(folder).with_context(place)?;
    durable::write(&mark, b"").with_context(place)?;
    durable::sync_dir(folder).with_context(place)?;
    Ok(mark)
}

/// What makes token ids, if they are asked for.
struct Tokens {
    tokenizer: Tokenizer,
    end: Option<u32>,
}

impl Tokens {
    fn open(request: &Request) -> Result<Option<Tokens>> {
        if !request.formats.contains(&Format::Megatron) {
            return Ok(None);
        }
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let tokenizer = match &request.tokenizer {
            None => Tokenizer::embedded()?,
            Some(path) => {
                let bytes = fs::read(path)
                    .map_err(|error| usage(format!("--tokenizer {}: {error}", path.display())))?;
                Tokenizer::from_bytes(&path.display().to_string(), &bytes)
                    .map_err(|error| usage(error.to_string()))?
            }
        };
        let end = |name: &String| {
            tokenizer
                .id(name)
                .ok_or_else(|| usage(format!("--end {name}: the tokenizer has no such token")))
        };
        Ok(Some(Tokens {
            end: request.end.as_ref().map(end).transpose()?,
            tokenizer,
        }))
    }
}

struct Export<'a> {
    request: &'a Request,
    tokens: Option<Tokens>,
    sources: BTreeMap<String, Source>,
    bytes: u64,
    blend: Vec<BlendRow>,
}

impl Export<'_> {
    /// Writes a file under another name, makes it durable and gives it its own.
    fn put(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<NewFile>) -> Result<()>,
    ) -> Result<()> {
        let (staged, path) = (
            self.request.output.join(format!(".{name}.part")),
            self.request.output.join(name),
        );
        let place = || format!("cannot write {}", path.display());
        let mut out =
            BufWriter::with_capacity(1 << 20, NewFile::create(&staged).with_context(place)?);
        write(&mut out).with_context(place)?;
        out.flush().with_context(place)?;
        out.get_ref().sync().with_context(place)?;
        durable::rename(&staged, &path).with_context(place)
    }

    fn part(&mut self, stem: &str, from: &Stored) -> Result<()> {
        if self.request.formats.contains(&Format::Jsonl) {
            self.put(&format!("{stem}.jsonl.zst"), |out| {
                let mut writer = JsonlWriter::new(out)?;
                each_row(from.clone(), &mut |row| writer.write(row))?;
                writer.finish()?;
                Ok(())
            })?;
        }
        if self.tokens.is_some() {
            self.megatron(stem, from)?;
        }
        let (sources, bytes) = (&mut self.sources, &mut self.bytes);
        each_row(from.clone(), &mut |row| {
            let source = sources.entry(row.source.to_owned()).or_default();
            source.documents += u64::from(row.draw == 0);
            source.draws += 1;
            source.tokens += row.tokens;
            // The sum for now; the mean once all is there.
            source.q += row.tokens as f64 * row.q;
            *bytes += row.text.len() as u64;
            Ok(())
        })
    }

    fn megatron(&mut self, stem: &str, from: &Stored) -> Result<()> {
        let tokens = self.tokens.as_ref().context("ids are asked for")?;
        let (bin, idx) = (format!("{stem}.bin"), format!("{stem}.idx"));
        let mut index = None;
        self.put(&bin, |out| {
            let mut writer = BinWriter::new(out, tokens.tokenizer.ids() as u32, tokens.end)?;
            each_row(from.clone(), &mut |row| {
                writer.document(&tokens.tokenizer.encode(row.text, None)?)
            })?;
            let sync = |out: &mut &mut BufWriter<NewFile>| {
                out.flush()?;
                out.get_ref().sync().map(drop)
            };
            index = Some(writer.finish(sync)?.1);
            Ok(())
        })?;
        let index = index.context("a file that was written has an index")?;
        self.put(&idx, |out| Ok(index.write(out)?))?;
        let found = check(
            &self.request.output.join(bin),
            &self.request.output.join(idx),
        )?;
        ensure!(
            found.documents == index.documents() && found.tokens == index.tokens(),
            "{stem}: the pair does not fit"
        );
        self.blend.push(BlendRow::once(
            stem,
            format!("{stem}.parquet"),
            index.tokens(),
            index.documents(),
        ));
        Ok(())
    }

    /// The blend files, and the card last.
    fn finish(
        &mut self,
        report: &Report,
        mixture: &MixtureReport,
        parquet: Config,
        languages: Vec<Language>,
    ) -> Result<()> {
        let has_tokens = self.blend.iter().any(|row| row.tokens > 0);
        if has_tokens {
            self.put("megatron.txt", |out| {
                Ok(out.write_all(megatron_text(&self.blend)?.as_bytes())?)
            })?;
            self.put("megatron.json", |out| {
                Ok(out.write_all(megatron_json(&self.blend)?.as_bytes())?)
            })?;
            self.put("interleave.json", |out| {
                Ok(out.write_all(interleave_json(&self.blend, 0)?.as_bytes())?)
            })?;
        }
        let facts = Facts {
            languages,
            ..self.facts(report, mixture, parquet, has_tokens)
        };
        self.put("README.md", |out| {
            Ok(out.write_all(card(&facts).as_bytes())?)
        })
    }

    fn facts(
        &self,
        report: &Report,
        mixture: &MixtureReport,
        parquet: Config,
        has_tokens: bool,
    ) -> Facts {
        let source = |(name, found): (&String, &Source)| Source {
            name: name.clone(),
            license: report
                .sources
                .iter()
                .find(|source| source.name == *name)
                .and_then(|source| source.license.clone()),
            q: if found.tokens > 0 {
                found.q / found.tokens as f64
            } else {
                0.0
            },
            ..found.clone()
        };
        let stage = |stage: &curate_schemas::report::StageReport| Stage {
            name: stage.name.clone(),
            arrived: stage.docs.arrived,
            kept: stage.docs.kept,
            removed: stage
                .docs
                .removed
                .iter()
                .map(|(rule, n)| (rule.clone(), *n))
                .collect(),
            duplicates: stage.docs.duplicates,
            quarantined: stage.docs.quarantined,
        };
        let jsonl = self.request.formats.contains(&Format::Jsonl);
        Facts {
            name: mixture.name.clone(),
            run: report.name.clone(),
            manifest: format!("{}.toml", report.name),
            curate: env!("CARGO_PKG_VERSION").to_owned(),
            configs: if parquet.files.is_empty() {
                Vec::new()
            } else {
                vec![parquet]
            },
            json_lines: jsonl.then(|| "part-*.jsonl.zst".to_owned()),
            documents: mixture.docs,
            draws: mixture.draws,
            bytes: self.bytes,
            tokens: mixture.tokens,
            unique_tokens: mixture.unique_tokens,
            q: mixture.q,
            d_eff: mixture.d_eff,
            q_calibrated: mixture.q_calibrated,
            tokenizer: report
                .tokenizer
                .as_ref()
                .map(|used| (used.name.clone(), used.digest.clone())),
            sources: self.sources.iter().map(source).collect(),
            funnel: report.stages.iter().map(stage).collect(),
            megatron: has_tokens.then(|| "megatron.txt".to_owned()),
            ..Facts::default()
        }
    }
}

/// Calls `visit` with each row of a file of the table `mixture`.
fn each_row(from: Stored, visit: &mut dyn FnMut(&Row) -> Result<()>) -> Result<()> {
    let columns = ["doc_id", "draw", "source", "domain", "tokens", "q", "text"];
    for batch in Zip::open(&[Part::of(from, &columns)])? {
        interrupt::check()?;
        rows(&batch?, visit)?;
    }
    Ok(())
}

fn rows(batch: &RecordBatch, visit: &mut dyn FnMut(&Row) -> Result<()>) -> Result<()> {
    let text = |at: usize| batch.column(at).as_string::<i32>();
    let (ids, sources, domains, texts) = (text(0), text(2), text(3), text(6));
    let draws = batch.column(1).as_primitive::<UInt32Type>();
    let tokens = batch.column(4).as_primitive::<UInt64Type>();
    let q = batch.column(5).as_primitive::<Float64Type>();
    for row in 0..batch.num_rows() {
        visit(&Row {
            id: ids.value(row),
            source: sources.value(row),
            domain: domains.value(row),
            draw: draws.value(row),
            tokens: tokens.value(row),
            q: q.value(row),
            text: texts.value(row),
        })?;
    }
    Ok(())
}
