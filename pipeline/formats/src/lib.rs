//! The files that a mixture is exported as, for trainers that know nothing of this program, and the
//! dataset card beside them. A format is one [`Format`] in a file of its own, and a line in
//! [`FORMATS`]. A format makes bytes; where its files lie and when each gets its name is up to the
//! caller, behind [`Folder`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::card::Facts;

pub mod blend;
pub mod card;
mod escape;
pub mod jsonl;
mod licenses;
pub mod megatron;
pub mod numbers;
mod parquet;

/// Every export format, in the order that their files are written in.
pub const FORMATS: [Format; 3] = [parquet::PARQUET, jsonl::JSONL, megatron::MEGATRON];

/// An export format.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its word in `--format`.
    pub name: &'static str,
    /// Its description in the help, one line.
    pub doc: &'static str,
    /// Begins an export. Fails if the options cannot be used.
    pub open: fn(&Options) -> Result<Box<dyn Export>>,
}

/// What a user may choose about the files of a format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// A tokenizer.json for token ids; `None`: the tokenizer that is compiled in.
    pub tokenizer: Option<&'a Path>,
    /// The token that ends each document, by name.
    pub end: Option<&'a str>,
}

/// An export in one format.
pub trait Export {
    /// Writes the files of one part of the mixture.
    ///
    /// # Errors
    /// If the part cannot be read, or writing fails.
    fn part(&mut self, part: &dyn Part, folder: &dyn Folder) -> Result<()>;

    /// Writes the files that describe all parts, and says in the dataset card how to load them.
    ///
    /// # Errors
    /// If writing fails.
    fn finish(&mut self, folder: &dyn Folder, card: &mut Facts) -> Result<()>;
}

/// A part of a mixture: one of the Parquet files that the run made of it.
pub trait Part {
    /// `part-` and its number. Names of its files begin so.
    fn stem(&self) -> &str;

    /// The part's file in the run.
    fn path(&self) -> &Path;

    /// Calls `visit` with each row.
    ///
    /// # Errors
    /// If the file cannot be read, or the first that `visit` returns.
    fn each_row(&self, visit: &mut dyn FnMut(&Row) -> Result<()>) -> Result<()>;
}

/// The folder that an export is written into.
pub trait Folder {
    /// Writes a file under another name, makes it durable and gives it its own name.
    ///
    /// # Errors
    /// If writing fails, or the first that `write` returns.
    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Output) -> Result<()>) -> Result<()>;

    /// The path of a file in the folder.
    fn path(&self, name: &str) -> PathBuf;
}

/// A file that is being written.
pub trait Output: Write {
    /// Makes what was written durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    fn sync(&mut self) -> io::Result<()>;
}

/// One draw of a document. A JSON line has these keys in this order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Row<'a> {
    /// The document's `doc_id`.
    pub id: &'a str,
    /// Name of the source.
    pub source: &'a str,
    /// Domain label.
    pub domain: &'a str,
    /// Number of this draw of the document, from 0.
    pub draw: u32,
    /// Tokens of the text.
    pub tokens: u64,
    /// Quality of the document, in (0, 1].
    pub q: f64,
    /// The text.
    pub text: &'a str,
}
