//! The formats of an exported mixture, with the dataset card and the description `dataset.json`
//! beside the files. Trainers read these files without this program.
//!
//! A format is one [`ExportFormat`] in its own file, and a line in [`FORMATS`]. A format only makes
//! bytes. The caller implements [`Folder`], and so decides where the files are and when they get
//! their names.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::card::Facts;

pub mod blend;
pub mod card;
pub mod dataset;
mod ends;
mod escape;
pub mod jsonl;
mod licenses;
pub mod megatron;
pub mod numbers;
mod parquet;

pub use ends::read as read_tokenizer;

/// All export formats, in the order in which their files are written.
pub const FORMATS: [ExportFormat; 3] = [parquet::PARQUET, jsonl::JSONL, megatron::MEGATRON];

/// An export format, as the command line offers it.
#[derive(Debug, Clone, Copy)]
pub struct ExportFormat {
    /// The format's word in `--format`.
    pub name: &'static str,
    /// The format's description in the help, one line.
    pub doc: &'static str,
    /// True if the files hold token ids. Only such a format takes a tokenizer and an end.
    pub has_token_ids: bool,
    /// The function that begins an export. It fails if the options cannot be used.
    pub open: fn(&FormatOptions) -> Result<Box<dyn Export>, WrongOption>,
}

/// The options of a user for formats with token ids.
#[derive(Debug, Clone, Copy, Default)]
pub struct FormatOptions<'a> {
    /// Path of a tokenizer.json for token ids; `None`: the tokenizer that is compiled in.
    pub tokenizer: Option<&'a Path>,
    /// How a document ends; `None`: the user did not say.
    pub end: Option<End<'a>>,
}

/// How each document ends in a format with token ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    /// With the token of this name.
    Token(&'a str),
    /// Without a token.
    Without,
}

/// An option that a format cannot use. The user's command is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WrongOption {
    /// What is wrong, with the name of the option.
    pub message: String,
    /// What the user can do about the error, if anything.
    pub hint: Option<String>,
}

/// An export in one format.
pub trait Export {
    /// Writes the files of one part of the mixture.
    ///
    /// # Errors
    /// If the part cannot be read, or writing fails.
    fn part(&mut self, part: &dyn MixturePart, folder: &dyn Folder) -> Result<()>;

    /// Writes the files that describe all parts. Adds to the facts how to load the files, and the
    /// figures of token ids if the files hold any.
    ///
    /// # Errors
    /// If writing fails.
    fn finish(&mut self, folder: &dyn Folder, card: &mut Facts) -> Result<()>;
}

/// A part of a mixture: one of the Parquet files that the run made of it.
pub trait MixturePart {
    /// `part-` and the number of the part. The names of the part's files begin with it.
    fn stem(&self) -> &str;

    /// Path of the part's file in the run.
    fn path(&self) -> &Path;

    /// Calls `visit` with each row, in the order of the mixture.
    ///
    /// # Errors
    /// If the file cannot be read, or the first error that `visit` returns.
    fn each_row(&self, visit: &mut dyn FnMut(&Draw) -> Result<()>) -> Result<()>;
}

/// The folder that an export is written into.
pub trait Folder {
    /// Writes a file under another name, makes it durable, and then renames it to `name`.
    ///
    /// # Errors
    /// If writing fails, or the error that `write` returns.
    fn put(
        &self,
        name: &str,
        write: &mut dyn FnMut(&mut dyn OutputFile) -> Result<()>,
    ) -> Result<()>;

    /// The path of a file in the folder.
    fn path(&self, name: &str) -> PathBuf;
}

/// A file that is being written.
pub trait OutputFile: Write {
    /// Makes all written bytes durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    fn sync(&mut self) -> io::Result<()>;
}

/// One draw of a document. A JSON line has the fields as its keys, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Draw<'a> {
    /// The `doc_id` of the document, 32 hex digits.
    pub id: &'a str,
    /// Name of the source.
    pub source: &'a str,
    /// Domain label of the document.
    pub domain: &'a str,
    /// Number of this draw among the draws of the document, from 0.
    pub draw: u32,
    /// Number of tokens of the text.
    pub tokens: u64,
    /// Quality of the document, in (0, 1].
    pub q: f64,
    /// Text of the document.
    pub text: &'a str,
}
