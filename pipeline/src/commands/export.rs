//! `curate export` writes a mixture of a run into a new folder, in the formats that trainers read.
//!
//! The rows and their order are those of the run's `mixture/NAME`. Each part of the mixture becomes
//! one file, or one pair of files, of each format. Every file is written under another name, made
//! durable, and then renamed. `.idx` follows its `.bin`, and `dataset.json` is last. An unfinished
//! folder holds a mark. A folder with files is written into only if it holds the mark.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt32Type, UInt64Type};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use curate_formats::card::{Facts, FunnelRow, LanguageShare, SourceShare, card};
use curate_formats::dataset::{self, DataFile, TokenIds, TokenizerName, dataset};
use curate_formats::numbers::{counted, grouped};
use curate_formats::{
    Draw, End, Export, ExportFormat, FORMATS, Folder, FormatOptions, MixturePart, OutputFile,
    WrongOption,
};
use curate_schemas::commit::Commit;
use curate_schemas::report::{MixtureReport, Report, StageReport};
use curate_scorers::tokenizer::TokenizerError;
use curate_store::durable::NewFile;
use curate_store::failure::{Exit, Failure};
use curate_store::run_dir::{RunDir, Stored};
use curate_store::terminal::printable;
use curate_store::zip::{self, Zip};
use curate_store::{durable, interrupt};

use crate::mixing::ORDER;
use crate::mixing::languages::languages;
use crate::report::{self, worth};

/// The parser for the word of a format on the command line. The help lists all formats.
pub fn format_parser() -> impl TypedValueParser<Value = ExportFormat> {
    let words = FORMATS
        .iter()
        .map(|format| PossibleValue::new(format.name).help(format.doc));
    PossibleValuesParser::new(words).map(|word| {
        let format = FORMATS.into_iter().find(|format| format.name == word);
        format.expect("clap accepts only the words of the formats")
    })
}

/// The arguments of `curate export`.
#[derive(Debug, Args)]
pub struct Request {
    /// Run directory to read
    pub run: PathBuf,
    /// Name of the mixture
    pub mixture: String,
    /// Path of the folder to create
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Formats to write, separated by commas
    #[arg(
        long = "format",
        value_name = "FORMAT,…",
        value_delimiter = ',',
        value_parser = format_parser(),
        default_value = "parquet"
    )]
    pub formats: Vec<ExportFormat>,
    /// A tokenizer.json for token ids instead of the tokenizer that is compiled in; only with
    /// megatron
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Token that ends each document of token ids, as in --end '<|endoftext|>'; megatron needs
    /// --end or --no-end
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    pub end: Option<String>,
    /// Write documents of token ids without an end, and leave out documents that have no ids
    #[arg(long, conflicts_with = "end")]
    pub no_end: bool,
}

/// Exports a mixture into the folder `request.output`, and prints the numbers of parts and rows,
/// and of token ids if there are any.
///
/// # Errors
/// Exit 2 if the mixture or a file is missing, if a format cannot use its options, if the tokenizer
/// fails on a text, or if the folder holds other files or a finished export. Exit 74 if writing
/// fails.
pub fn export(request: &Request, out: &mut impl Write) -> Result<ExitCode> {
    interrupt::install()?;

    // Options that do not hold cost no time and leave no folder behind.
    let mut exports = open_formats(request)?;

    let run = RunDir::open(&request.run)?;
    let name = &request.mixture;
    let table = format!("mixture/{name}");
    let commit = run
        .commit(&table)?
        .ok_or_else(|| Failure::new(Exit::Usage, format!("the run has no mixture \"{name}\"")))?;
    let report = report::of_run(&run)?;
    let mixture = report
        .mixtures
        .iter()
        .find(|mixture| mixture.name == *name)
        .with_context(|| format!("the report has no mixture \"{name}\""))?;

    // The description is written last, so a folder with a description is finished.
    if request.output.join(dataset::NAME).exists() {
        let message = format!("{} is a finished export", request.output.display());
        return Err(Failure::new(Exit::Usage, message)
            .hint("name another folder, or delete this one")
            .into());
    }

    let unfinished = begin(&request.output)?;
    let folder = Target {
        path: &request.output,
        files: RefCell::default(),
    };
    let given = write_parts(&run, &table, &commit, &mut exports, &folder)?;

    let languages = languages(&run, name)?;
    let mut facts = Facts {
        order: ORDER,
        seed: seed(&commit),
        run_digest: commit.digest.clone(),
        ..facts(&report, mixture, &given, languages)
    };
    describe(&mut exports, &folder, &mut facts)?;

    // The mark goes last, when all names in the folder are durable.
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
    if let Some(ids) = &facts.token_ids {
        writeln!(out, "{}", printable(&told(ids)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the files of all parts in each format, and returns the part of each source.
///
/// # Errors
/// Exit 2 if the tokenizer fails on a text, exit 70 if a file of the run is damaged. Else if reading
/// or writing fails.
fn write_parts(
    run: &RunDir,
    table: &str,
    commit: &Commit,
    exports: &mut [Box<dyn Export>],
    folder: &Target,
) -> Result<Given> {
    let mut given = Given::default();
    for (number, file) in commit.files.iter().enumerate() {
        let stored = run.stored(commit.version, table, file);
        // Parquet files are copied byte by byte, and a copy must not spread damage.
        run.reading().check_digest(&stored.path, &file.digest)?;
        let part = StoredPart {
            stem: format!("part-{number:05}"),
            stored,
        };

        for export in &mut *exports {
            export.part(&part, folder).map_err(of_tokenizer)?;
        }
        given.add(&part)?;
    }
    Ok(given)
}

/// Writes the files about all parts: those of the formats, the card, and the description last.
///
/// # Errors
/// If writing fails.
fn describe(exports: &mut [Box<dyn Export>], folder: &Target, facts: &mut Facts) -> Result<()> {
    // The formats add their ways of loading to the card, so it is written after them.
    for export in exports {
        export.finish(folder, facts)?;
    }
    if let Some(ids) = &facts.token_ids {
        refuse_no_ids(ids)?;
    }
    folder.put("README.md", &mut |out| {
        Ok(out.write_all(card(facts).as_bytes())?)
    })?;

    // No crash may leave the description with a file missing that it names.
    durable::sync_dir(folder.path)
        .with_context(|| format!("cannot finish {}", folder.path.display()))?;
    let description = dataset(facts, &folder.files.take());
    folder.put(dataset::NAME, &mut |out| {
        Ok(out.write_all(description.as_bytes())?)
    })
}

/// Refuses a tokenizer that gives no id for any document: all text would be lost.
fn refuse_no_ids(ids: &TokenIds) -> Result<()> {
    let rows = ids.documents + ids.documents_left_out;
    if rows == 0 || ids.documents_without_ids < rows {
        return Ok(());
    }

    let message = format!(
        "the tokenizer {} gives no id for any of {} documents",
        printable(&ids.tokenizer.name),
        grouped(rows)
    );
    let hint = "it does not know the characters of these texts: give another --tokenizer";
    Err(Failure::new(Exit::No, message).hint(hint).into())
}

/// The line about the token ids of an export.
fn told(ids: &TokenIds) -> String {
    let end = match &ids.end_token {
        Some(name) => format!("each ended by {name}"),
        None => "without an end".to_owned(),
    };
    let without = match (ids.documents_without_ids, ids.documents_left_out) {
        (0, _) => String::new(),
        (n, 0) => format!(
            "; {} without ids are their end alone",
            counted(n, "document")
        ),
        (n, _) => format!("; {} without ids left out", counted(n, "document")),
    };

    format!(
        "{} ids of the tokenizer {}, {} {end}{without}",
        grouped(ids.ids),
        ids.tokenizer.name,
        counted(ids.documents, "document")
    )
}

/// The seed of a mixture. The settings of the mixture are a part of its files' keys.
fn seed(mixture: &Commit) -> Option<u64> {
    let config = mixture.files.first()?.parts.get("config")?;
    let config: serde_json::Value = serde_json::from_str(config).ok()?;
    config["seed"].as_u64()
}

/// A tokenizer that fails on a text is the fault of the user who chose it.
fn of_tokenizer(error: anyhow::Error) -> anyhow::Error {
    if !error.chain().any(|cause| cause.is::<TokenizerError>()) {
        return error;
    }
    Failure::new(Exit::Usage, format!("{error:#}"))
        .hint("use another tokenizer, or another token for --end")
        .into()
}

/// Creates the folder with a mark that the export is unfinished, and returns the path of the mark.
///
/// # Errors
/// Exit 2 if the folder holds files but no mark.
fn begin(folder: &Path) -> Result<PathBuf> {
    let mark = folder.join(".unfinished");
    // A folder that does not exist counts as empty.
    let is_empty = fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if !mark.exists() && !is_empty {
        let message = format!(
            "{} holds files that are no unfinished export",
            folder.display()
        );
        return Err(Failure::new(Exit::Usage, message)
            .hint("name another folder")
            .into());
    }

    // The mark and its name are durable before the first file of the export.
    let place = || format!("cannot write {}", folder.display());
    durable::create_dir_all(folder).with_context(place)?;
    durable::write(&mark, b"").with_context(place)?;
    durable::sync_dir(folder).with_context(place)?;

    // An unfinished export is written anew: a file that it left may be of other options, and an
    // `.idx` must not be there before its `.bin`.
    for entry in fs::read_dir(folder).with_context(place)? {
        let path = entry.with_context(place)?.path();
        if path != mark {
            durable::remove(&path).with_context(place)?;
        }
    }
    durable::sync_dir(folder).with_context(place)?;
    Ok(mark)
}

/// Begins the export in each requested format.
///
/// # Errors
/// Exit 2 if a format cannot use its options, or if no format uses an option.
fn open_formats(request: &Request) -> Result<Vec<Box<dyn Export>>> {
    // The order is that of `FORMATS`, and each format is written once, whatever the user typed.
    let formats: Vec<&ExportFormat> = FORMATS
        .iter()
        .filter(|format| request.formats.iter().any(|word| word.name == format.name))
        .collect();
    refuse_unused(request, &formats)?;

    let end = request.end.as_deref().map(End::Token);
    let options = FormatOptions {
        tokenizer: request.tokenizer.as_deref(),
        end: end.or(request.no_end.then_some(End::Without)),
    };
    let opened: Result<_, WrongOption> = formats
        .into_iter()
        .map(|format| (format.open)(&options))
        .collect();

    opened.map_err(|wrong| {
        let failure = Failure::new(Exit::Usage, wrong.message);
        match wrong.hint {
            Some(hint) => failure.hint(hint).into(),
            None => failure.into(),
        }
    })
}

/// Fails for an option of token ids if no format has token ids.
fn refuse_unused(request: &Request, formats: &[&ExportFormat]) -> Result<()> {
    if formats.iter().any(|format| format.has_token_ids) {
        return Ok(());
    }

    let given = [
        ("--tokenizer", request.tokenizer.is_some()),
        ("--end", request.end.is_some()),
        ("--no-end", request.no_end),
    ];
    let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given) else {
        return Ok(());
    };

    let names = |names: &mut dyn Iterator<Item = &ExportFormat>| {
        let names: Vec<&str> = names.map(|format| format.name).collect();
        names.join(", ")
    };
    let (written, able) = (
        names(&mut formats.iter().copied()),
        names(&mut FORMATS.iter().filter(|format| format.has_token_ids)),
    );
    Err(Failure::new(
        Exit::Usage,
        format!("{option} is for token ids, and the format {written} has none"),
    )
    .hint(format!("leave {option} out, or add {able} to --format"))
    .into())
}

/// The folder that the export is written into.
struct Target<'a> {
    path: &'a Path,
    /// The files that have their names, in the order in which they were written.
    files: RefCell<Vec<DataFile>>,
}

impl Folder for Target<'_> {
    fn put(
        &self,
        name: &str,
        write: &mut dyn FnMut(&mut dyn OutputFile) -> Result<()>,
    ) -> Result<()> {
        let (staged, path) = (self.path(&format!(".{name}.part")), self.path(name));
        let place = || format!("cannot write {}", path.display());

        // A file has its name only when all of its bytes are on the disk.
        let file = NewFile::create(&staged).with_context(place)?;
        let mut out = Staged {
            file: BufWriter::with_capacity(1 << 20, file),
            digest: blake3::Hasher::new(),
        };
        write(&mut out).with_context(place)?;
        out.sync().with_context(place)?;
        durable::rename(&staged, &path).with_context(place)?;

        self.files.borrow_mut().push(DataFile {
            name: name.to_owned(),
            bytes: out.digest.count(),
            digest: out.digest.finalize().to_hex().to_string(),
        });
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// A file that does not have its final name yet.
struct Staged {
    file: BufWriter<NewFile>,
    /// The digest of all bytes written.
    digest: blake3::Hasher,
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl OutputFile for Staged {
    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync().map(drop)
    }
}

/// A part of the mixture: a file of the table `mixture`.
struct StoredPart {
    stem: String,
    stored: Stored,
}

impl MixturePart for StoredPart {
    fn stem(&self) -> &str {
        &self.stem
    }

    fn path(&self) -> &Path {
        &self.stored.path
    }

    fn each_row(&self, visit: &mut dyn FnMut(&Draw) -> Result<()>) -> Result<()> {
        // `rows` relies on this order.
        let columns = ["doc_id", "draw", "source", "domain", "tokens", "q", "text"];
        for batch in Zip::open(&[zip::Part::of(self.stored.clone(), &columns)])? {
            interrupt::check()?;
            rows(&batch?, visit)?;
        }
        Ok(())
    }
}

/// The part of each source in a mixture, by the source's name, and the bytes of the mixture's text.
#[derive(Default)]
struct Given {
    sources: BTreeMap<String, SourceShare>,
    bytes: u64,
}

impl Given {
    /// Adds the rows of a part.
    fn add(&mut self, part: &dyn MixturePart) -> Result<()> {
        part.each_row(&mut |row| {
            let source = self.sources.entry(row.source.to_owned()).or_default();
            // Draws of a document are numbered from 0, so each document has one draw 0.
            source.documents += u64::from(row.draw == 0);
            source.draws += 1;
            source.tokens += row.tokens;
            // A sum for now. `source` divides it by the tokens.
            source.q += row.tokens as f64 * row.q;
            self.bytes += row.text.len() as u64;
            Ok(())
        })
    }
}

/// The facts that the card prints. The formats add the ways to load the files.
fn facts(
    report: &Report,
    mixture: &MixtureReport,
    given: &Given,
    languages: Vec<LanguageShare>,
) -> Facts {
    let tokenizer = report.tokenizer.as_ref();
    let sources = given.sources.iter();

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
        calibration: mixture.calibration.as_ref().map(worth::sentence),
        calibration_range: mixture
            .calibration
            .as_ref()
            .and_then(|of| worth::out_of_range(of, mixture.tokens as f64)),
        tokenizer: tokenizer.map(|used| TokenizerName::of(&used.name, &used.digest)),
        sources: sources
            .map(|(name, found)| source(report, name, found))
            .collect(),
        funnel: report.stages.iter().map(stage).collect(),
        ..Facts::default()
    }
}

/// The facts of one source, with its licence from the report. `found.q` is a sum over tokens.
fn source(report: &Report, name: &str, found: &SourceShare) -> SourceShare {
    let stated = report.sources.iter().find(|source| source.name == name);
    SourceShare {
        name: name.to_owned(),
        license: stated.and_then(|source| source.license.clone()),
        q: match found.tokens {
            0 => 0.0,
            tokens => found.q / tokens as f64,
        },
        ..found.clone()
    }
}

/// The facts of one stage.
fn stage(stage: &StageReport) -> FunnelRow {
    let docs = &stage.docs;
    FunnelRow {
        name: stage.name.clone(),
        arrived: docs.arrived,
        kept: docs.kept,
        removed: docs.removed.clone().into_iter().collect(),
        duplicates: docs.duplicates,
        quarantined: docs.quarantined,
    }
}

/// Calls `visit` with each row of a batch, whose columns are those of `StoredPart::each_row`.
fn rows(batch: &RecordBatch, visit: &mut dyn FnMut(&Draw) -> Result<()>) -> Result<()> {
    let text = |at: usize| batch.column(at).as_string::<i32>();
    let (ids, sources, domains, texts) = (text(0), text(2), text(3), text(6));
    let draws = batch.column(1).as_primitive::<UInt32Type>();
    let tokens = batch.column(4).as_primitive::<UInt64Type>();
    let q = batch.column(5).as_primitive::<Float64Type>();

    for row in 0..batch.num_rows() {
        visit(&Draw {
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
