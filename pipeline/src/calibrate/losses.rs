//! The plan and its losses as JSON lines: a header, then one line a run.
//!
//! The file is what makes an interrupted calibration go on: a run whose key is in the file is not
//! trained again. The same file goes to teams that train the mixtures on models of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use curate_scorers::calibrate::plan::{PlannedRun, Set};
use curate_store::{durable, key};
use serde::{Deserialize, Serialize};

use super::cells::Cell;
use super::usage;

/// The version of the file's layout.
const SCHEMA: &str = "curate.losses/1";

/// The first line: the buckets that the runs draw from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// `curate.losses/1`.
    pub schema: String,
    /// The name of the run whose documents are in the buckets.
    pub run: String,
    /// The digest of the buckets, which losses must come from.
    pub buckets_digest: String,
    /// The buckets, in the order in which `unique` numbers them.
    pub buckets: Vec<BucketLine>,
}

/// A bucket, for those who train on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BucketLine {
    /// The name.
    pub name: String,
    /// The name of the arm; null for natural text.
    pub arm: Option<String>,
    /// Pairs of source and domain.
    pub members: Vec<(String, String)>,
    /// The least score of its documents.
    pub score_from: f64,
    /// The score that its documents stay below; null for the last bin.
    pub score_below: Option<f64>,
    /// Tokens at hand.
    pub tokens: u64,
}

/// A run: what it draws and, once it is trained, its losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunLine {
    /// The name, such as `fit17`.
    pub run: String,
    /// The name of the set.
    pub set: String,
    /// The seed that chooses the text of each bucket.
    pub seed: u64,
    /// Unique tokens, by the number of the bucket.
    pub unique: BTreeMap<usize, u64>,
    /// Passes over the unique tokens.
    pub epochs: u32,
    /// The digest of the draws, the text and the proxy. Empty in a plan for other models.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The losses in bits per byte, by the name of the target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loss: BTreeMap<String, f64>,
}

impl RunLine {
    /// The line of a planned run without losses. `of` names all else that the losses depend on.
    pub fn new(run: &PlannedRun, of: &str) -> RunLine {
        let used = run
            .unique
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, tokens)| *tokens > 0);
        let mut line = RunLine {
            run: run.name.clone(),
            set: run.set.name().to_owned(),
            seed: run.seed,
            unique: used.collect(),
            epochs: run.epochs,
            key: String::new(),
            loss: BTreeMap::new(),
        };
        let draws = serde_json::to_string(&line).expect("numbers and strings are JSON");
        line.key = key::digest(&[of, &draws]);
        line
    }

    /// The set; `None` if the program does not know its name.
    pub fn set(&self) -> Option<Set> {
        Set::ALL.into_iter().find(|set| set.name() == self.set)
    }

    /// The number of the run within its set: the digits behind the name of the set.
    pub fn number(&self) -> usize {
        let digits = self.run.strip_prefix(&self.set).unwrap_or(&self.run);
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        digits[..end].parse().unwrap_or(0)
    }
}

/// The header for these buckets. `arms` are the names and tokens of the arms behind them.
pub fn header(
    run: &str,
    cells: &[Cell],
    origins: &[(String, String)],
    arms: &[(&str, u64)],
) -> Header {
    let natural = cells.iter().map(|cell| BucketLine {
        name: cell.name.clone(),
        arm: None,
        members: cell
            .origins
            .iter()
            .map(|&origin| origins[origin as usize].clone())
            .collect(),
        score_from: cell.from,
        score_below: Some(cell.to).filter(|to| to.is_finite()),
        tokens: cell.tokens,
    });
    let planted = arms.iter().map(|&(name, tokens)| BucketLine {
        name: name.to_owned(),
        arm: Some(name.to_owned()),
        members: Vec::new(),
        score_from: 0.0,
        score_below: None,
        tokens,
    });

    let buckets: Vec<BucketLine> = natural.chain(planted).collect();
    let digest = serde_json::to_string(&buckets).expect("numbers and strings are JSON");
    Header {
        schema: SCHEMA.to_owned(),
        run: run.to_owned(),
        buckets_digest: key::digest(&[&digest]),
        buckets,
    }
}

/// A file of lines.
#[derive(Debug)]
pub struct LossFile {
    path: PathBuf,
    header: Header,
    /// The finished runs, in the order in which they ended.
    lines: Vec<RunLine>,
}

impl LossFile {
    /// The file at `path` with the runs that it holds, if it is of the same buckets. A file that
    /// does not exist or is of other buckets counts as empty, and the first run replaces it.
    pub fn open(path: &Path, header: Header) -> LossFile {
        let known = read(path).ok().filter(|(found, _)| *found == header);
        LossFile {
            path: path.to_owned(),
            header,
            lines: known.map(|(_, lines)| lines).unwrap_or_default(),
        }
    }

    /// The losses of the finished run with this key.
    pub fn finished(&self, key: &str) -> Option<&BTreeMap<String, f64>> {
        self.lines
            .iter()
            .find(|line| line.key == key)
            .map(|line| &line.loss)
    }

    /// Adds a finished run and makes the file durable.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn add(&mut self, line: RunLine) -> Result<()> {
        self.lines.push(line);
        write(&self.path, &self.header, &self.lines)
    }

    /// Leaves these runs in this order, so that equal calibrations have equal files, and returns
    /// the digest of the file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(&mut self, lines: Vec<RunLine>) -> Result<String> {
        self.lines = lines;
        write(&self.path, &self.header, &self.lines)?;
        Ok(blake3::hash(bytes(&self.header, &self.lines).as_bytes())
            .to_hex()
            .to_string())
    }
}

/// The lines of a file.
fn bytes(header: &Header, lines: &[RunLine]) -> String {
    let header = serde_json::to_string(header).expect("numbers and strings are JSON");
    let lines = lines
        .iter()
        .map(|line| serde_json::to_string(line).expect("numbers and strings are JSON") + "\n");
    header + "\n" + &lines.collect::<String>()
}

/// Writes a plan or losses.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, header: &Header, lines: &[RunLine]) -> Result<()> {
    let text = bytes(header, lines);
    durable::replace(path, |part| durable::write(part, text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a plan or losses.
///
/// # Errors
/// If the file cannot be read. Exit 2 if a line is not what it should be; the message names the
/// line.
pub fn read(path: &Path) -> Result<(Header, Vec<RunLine>)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let wrong = |number: usize, what: String| {
        usage(
            format!("{}, line {number}: {what}", path.display()),
            "the file has a header and one line a run, as `curate calibrate --plan-only` writes it",
        )
    };

    let mut lines = (1..).zip(text.lines());
    let (_, first) = lines
        .next()
        .ok_or_else(|| wrong(1, "the file is empty".to_owned()))?;
    let header: Header =
        serde_json::from_str(first).map_err(|error| wrong(1, error.to_string()))?;
    if header.schema != SCHEMA {
        return Err(wrong(
            1,
            format!("the layout is {}, expected {SCHEMA}", header.schema),
        ));
    }

    let mut runs = Vec::new();
    for (number, line) in lines {
        let run: RunLine =
            serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))?;
        let buckets = header.buckets.len();
        if run.set().is_none() || run.unique.keys().any(|&bucket| bucket >= buckets) {
            let what = format!(
                "{} is of no known set, or of a bucket beyond {buckets}",
                run.run
            );
            return Err(wrong(number, what));
        }
        if let Some((target, loss)) = run
            .loss
            .iter()
            .find(|(_, loss)| !loss.is_finite() || **loss <= 0.0)
        {
            let what = format!(
                "{}: the loss on {target} is {loss}, expected above 0",
                run.run
            );
            return Err(wrong(number, what));
        }
        runs.push(run);
    }
    Ok((header, runs))
}
