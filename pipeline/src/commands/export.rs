//! `curate export`: a mixture of a run as a folder of its own, in the formats that trainers read.
//!
//! The rows and their order are those of the run's `mixture/NAME`, a file of each format a part.
//! Every file is written under another name, made durable and renamed; `.idx` follows its `.bin`,
//! and the card is last. A folder that is not finished has a mark in it, and only such a one is
//! written into again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt32Type, UInt64Type};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use curate_formats::card::{Facts, Language, Source, Stage, card};
use curate_formats::{Export, FORMATS, Folder, Format, Options, Output, Part, Row};
use curate_schemas::report::{MixtureReport, Report, StageReport};
use curate_store::durable::NewFile;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::{RunDir, Stored};
use curate_store::terminal::printable;
use curate_store::zip::{self, Zip};
use curate_store::{durable, interrupt};

use crate::mixing::languages::languages;
use crate::report;

/// Reads the word of a format on the command line.
pub fn format_parser() -> impl TypedValueParser<Value = Format> {
    let words = FORMATS
        .iter()
        .map(|format| PossibleValue::new(format.name).help(format.doc));
    PossibleValuesParser::new(words).map(|word| {
        let format = FORMATS.into_iter().find(|format| format.name == word);
        format.expect("the words are those of the formats")
    })
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
    let folder = Target(&request.output);
    let mut exports = open_formats(request)?;
    let mut given = Given::default();
    for (number, file) in commit.files.iter().enumerate() {
        let stored = run.stored(&table, file);
        run.reading().check_digest(&stored.path, &file.digest)?;
        let part = StoredPart {
            stem: format!("part-{number:05}"),
            stored,
        };
        for export in &mut exports {
            export.part(&part, &folder)?;
        }
        given.add(&part)?;
    }

    let languages = languages(&run, &request.mixture)?;
    let mut facts = facts(&report, mixture, &given, languages);
    for export in &mut exports {
        export.finish(&folder, &mut facts)?;
    }
    folder.put("README.md", &mut |out| {
        Ok(out.write_all(card(&facts).as_bytes())?)
    })?;

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

/// Begins the export in each format that is asked for.
fn open_formats(request: &Request) -> Result<Vec<Box<dyn Export>>> {
    let options = Options {
        tokenizer: request.tokenizer.as_deref(),
        end: request.end.as_deref(),
    };
    let is_wanted = |format: &&Format| request.formats.iter().any(|word| word.name == format.name);
    let wanted = FORMATS.iter().filter(is_wanted);
    let opened = wanted
        .map(|format| (format.open)(&options))
        .collect::<Result<_>>();
    opened.map_err(|error| Failure::new(Exit::Usage, format!("{error:#}")).into())
}

/// The folder of the export.
struct Target<'a>(&'a Path);

impl Folder for Target<'_> {
    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Output) -> Result<()>) -> Result<()> {
        let (staged, path) = (self.path(&format!(".{name}.part")), self.path(name));
        let place = || format!("cannot write {}", path.display());

        let file = NewFile::create(&staged).with_context(place)?;
        let mut out = Staged(BufWriter::with_capacity(1 << 20, file));
        write(&mut out).with_context(place)?;
        out.sync().with_context(place)?;
        durable::rename(&staged, &path).with_context(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// A file before it has its name.
struct Staged(BufWriter<NewFile>);

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Output for Staged {
    fn sync(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.0.get_ref().sync().map(drop)
    }
}

/// A file of the table `mixture`.
struct StoredPart {
    stem: String,
    stored: Stored,
}

impl Part for StoredPart {
    fn stem(&self) -> &str {
        &self.stem
    }

    fn path(&self) -> &Path {
        &self.stored.path
    }

    fn each_row(&self, visit: &mut dyn FnMut(&Row) -> Result<()>) -> Result<()> {
        let columns = ["doc_id", "draw", "source", "domain", "tokens", "q", "text"];
        for batch in Zip::open(&[zip::Part::of(self.stored.clone(), &columns)])? {
            interrupt::check()?;
            rows(&batch?, visit)?;
        }
        Ok(())
    }
}

/// What the sources gave to a mixture, by name, and the bytes of its text.
#[derive(Default)]
struct Given {
    sources: BTreeMap<String, Source>,
    bytes: u64,
}

impl Given {
    fn add(&mut self, part: &dyn Part) -> Result<()> {
        part.each_row(&mut |row| {
            let source = self.sources.entry(row.source.to_owned()).or_default();
            source.documents += u64::from(row.draw == 0);
            source.draws += 1;
            source.tokens += row.tokens;
            // The sum for now; `facts` makes it the mean.
            source.q += row.tokens as f64 * row.q;
            self.bytes += row.text.len() as u64;
            Ok(())
        })
    }
}

/// What the card says of the mixture. The formats add how to load it.
fn facts(
    report: &Report,
    mixture: &MixtureReport,
    given: &Given,
    languages: Vec<Language>,
) -> Facts {
    let source = |(name, found): (&String, &Source)| {
        let stated = report.sources.iter().find(|source| source.name == *name);
        Source {
            name: name.clone(),
            license: stated.and_then(|source| source.license.clone()),
            q: match found.tokens {
                0 => 0.0,
                tokens => found.q / tokens as f64,
            },
            ..found.clone()
        }
    };
    let stage = |stage: &StageReport| {
        let docs = &stage.docs;
        Stage {
            name: stage.name.clone(),
            arrived: docs.arrived,
            kept: docs.kept,
            removed: docs.removed.clone().into_iter().collect(),
            duplicates: docs.duplicates,
            quarantined: docs.quarantined,
        }
    };
    let tokenizer = report.tokenizer.as_ref();

    Facts {
        name: mixture.name.clone(),
        run: report.name.clone(),
        manifest: format!("{}.toml", report.name),
        curate: env!("CARGO_PKG_VERSION").to_owned(),
        languages,
        documents: mixture.docs,
        draws: mixture.draws,
        bytes: given.bytes,
        tokens: mixture.tokens,
        unique_tokens: mixture.unique_tokens,
        q: mixture.q,
        d_eff: mixture.d_eff,
        q_calibrated: mixture.q_calibrated,
        tokenizer: tokenizer.map(|used| (used.name.clone(), used.digest.clone())),
        sources: given.sources.iter().map(source).collect(),
        funnel: report.stages.iter().map(stage).collect(),
        ..Facts::default()
    }
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
