//! A model file, and what it says of a text.

use std::path::Path;

use super::FastTextError;
use super::dictionary::{Args, Dictionary, Scratch};
use super::matrix::Matrix;
use super::output::Output;
use super::reader::{Fault, Reader};
use crate::mapped::Bytes;

/// The first number of a model file.
const MAGIC: i32 = 793_712_314;

/// A supervised fastText model.
pub struct Model {
    bytes: Bytes,
    dictionary: Dictionary,
    input: Matrix,
    output_matrix: Matrix,
    output: Output,
}

/// The sum of the rows of a text, or of several. Sums of parts of a text can be added, because a
/// text is the mean of its rows to a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bag {
    sum: Vec<f32>,
    rows: u64,
}

impl Bag {
    /// Adds the rows of another text.
    pub fn add(&mut self, other: &Bag) {
        let columns = self.sum.len().max(other.sum.len());
        self.sum.resize(columns, 0.0);
        for (sum, value) in self.sum.iter_mut().zip(&other.sum) {
            *sum += value;
        }
        self.rows += other.rows;
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// A label with its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Top {
    /// Number of the label, from 0.
    pub label: usize,
    /// exp of the score: the probability plus up to 1e-5, as the reference gives it.
    pub probability: f32,
}

/// Memory that is used again from text to text.
#[derive(Default)]
pub struct Memory {
    scratch: Scratch,
    hidden: Vec<f32>,
}

impl Model {
    /// Opens the model in a file. The file is mapped: it must not be changed in place while the
    /// model is used. Replace it instead.
    ///
    /// # Errors
    /// [`FastTextError`] if the file cannot be read, or if it is not a supervised model that is
    /// whole.
    pub fn open(path: &Path) -> Result<Model, FastTextError> {
        let file = path.display().to_string();
        match Bytes::map(path) {
            Ok(bytes) => Model::new(file, bytes),
            Err(source) => Err(FastTextError::Io { file, source }),
        }
    }

    /// The model in the bytes of a file. `name` names the file in messages.
    ///
    /// # Errors
    /// [`FastTextError::Malformed`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Model, FastTextError> {
        Model::new(name.to_owned(), Bytes::Owned(bytes))
    }

    fn new(file: String, bytes: Bytes) -> Result<Model, FastTextError> {
        match read(&bytes) {
            Ok((dictionary, input, output_matrix, output)) => Ok(Model {
                bytes,
                dictionary,
                input,
                output_matrix,
                output,
            }),
            Err(Fault { at, reason }) => Err(FastTextError::Malformed { file, at, reason }),
        }
    }

    /// BLAKE3 of the file, 64 hex digits. Reads the whole file.
    pub fn digest(&self) -> String {
        blake3::hash(&self.bytes).to_hex().to_string()
    }

    /// The labels as the model has them, mostly with `__label__` before the name.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.dictionary.labels.iter().map(|(label, _)| &**label)
    }

    /// The label with this number.
    pub fn label(&self, number: usize) -> &str {
        &self.dictionary.labels[number].0
    }

    /// Makes `bag` that of a whole text: its words, its n-grams, and the end of the line.
    pub fn read(&self, text: &str, memory: &mut Memory, bag: &mut Bag) {
        self.fill(text, true, memory, bag);
    }

    /// Makes `bag` that of a part of a text, without the end of the line.
    pub fn read_part(&self, text: &str, memory: &mut Memory, bag: &mut Bag) {
        self.fill(text, false, memory, bag);
    }

    fn fill(&self, text: &str, add_end: bool, memory: &mut Memory, bag: &mut Bag) {
        bag.sum.clear();
        bag.sum.resize(self.input.columns, 0.0);
        bag.rows = 0;

        let (file, input, Bag { sum, rows }) = (&*self.bytes, &self.input, bag);
        self.dictionary
            .rows(file, text, add_end, &mut memory.scratch, |row| {
                input.add_row(file, row as usize, sum);
                *rows += 1;
            });
    }

    /// The scores of all labels for a text: ln(p + 1e-5), or negative infinity for a label that the
    /// reference does not list. No scores if the model knows nothing of the text.
    pub fn scores(&self, bag: &Bag, memory: &mut Memory, scores: &mut Vec<f32>) {
        scores.clear();
        if bag.rows == 0 {
            return;
        }

        let factor = (1.0 / bag.rows as f64) as f32;
        memory.hidden.clear();
        memory.hidden.extend(bag.sum.iter().map(|sum| sum * factor));
        self.output
            .scores(&self.bytes, &self.output_matrix, &memory.hidden, scores);
    }

    /// The label with the highest score; of equal ones the last, as in the reference. `None` without
    /// scores, or if no score is a number.
    pub fn top(&self, scores: &[f32]) -> Option<Top> {
        let order = |label| self.output.order(label);
        let numbers = scores
            .iter()
            .enumerate()
            .filter(|(_, score)| score.is_finite());
        numbers
            .max_by(|a, b| a.1.total_cmp(b.1).then_with(|| order(a.0).cmp(&order(b.0))))
            .map(|(label, score)| Top {
                label,
                probability: score.exp(),
            })
    }
}

/// The parts of a model file.
fn read(file: &[u8]) -> Result<(Dictionary, Matrix, Matrix, Output), Fault> {
    let mut reader = Reader::new(file);
    if reader.i32("the first number")? != MAGIC {
        let reason = "the first bytes are not those of a fastText model".to_owned();
        return Err(Fault { at: 0, reason });
    }
    let version = reader.i32_in("the version", 11..13)?;
    let args = Args::read(&mut reader, version)?;
    let (dim, loss) = (args.dim, args.loss);

    let at = reader.at();
    let dictionary = Dictionary::read(file, &mut reader, args)?;
    let (input, is_quantised) = read_input(&mut reader, &dictionary, dim)?;

    let matrix_at = reader.at();
    let output_matrix = match reader.flag("qout")? && is_quantised {
        true => Matrix::quantised(&mut reader, "the output matrix")?,
        false => Matrix::floats(&mut reader, "the output matrix")?,
    };
    let labels = dictionary.labels.len();
    check(&output_matrix, "output", matrix_at, (labels, labels), dim)?;

    if reader.left() > 0 {
        let reason = format!("{} bytes follow the model", reader.left());
        return Err(reader.fault(reason));
    }
    let counts: Vec<i64> = dictionary.labels.iter().map(|(_, count)| *count).collect();
    let output = Output::new(loss, &counts, at)?;
    Ok((dictionary, input, output_matrix, output))
}

/// The input matrix, and whether it is quantised.
fn read_input(
    reader: &mut Reader,
    dictionary: &Dictionary,
    dim: usize,
) -> Result<(Matrix, bool), Fault> {
    let at = reader.at();
    let is_quantised = reader.flag("quant_input")?;
    if dictionary.is_pruned && !is_quantised {
        let reason = "the dictionary is pruned, but the input matrix is not quantised".to_owned();
        return Err(Fault { at, reason });
    }

    let input = match is_quantised {
        true => Matrix::quantised(reader, "the input matrix")?,
        false => Matrix::floats(reader, "the input matrix")?,
    };
    check(&input, "input", at, (dictionary.rows, usize::MAX), dim)?;
    Ok((input, is_quantised))
}

/// Checks the size of a matrix.
fn check(
    matrix: &Matrix,
    name: &str,
    at: usize,
    (least, most): (usize, usize),
    dim: usize,
) -> Result<(), Fault> {
    let (rows, columns) = (matrix.rows, matrix.columns);
    if columns == dim && (least..=most).contains(&rows) {
        return Ok(());
    }

    let exactly = if least == most { "" } else { "at least " };
    let reason = format!(
        "the {name} matrix has {rows} rows and {columns} columns, expected {exactly}{least} rows \
         and {dim} columns"
    );
    Err(Fault { at, reason })
}
