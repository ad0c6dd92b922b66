//! A baseline: the distributions of a run, in a file that is small enough for a repository.
//!
//! The file is JSON. It has one line for each column and group, in a fixed order, so that changes
//! read well in a diff. It has no timestamps, so that equal runs give equal bytes. `digest` is the
//! BLAKE3 of the file with `digest` empty: a file that was edited or merged by hand is refused. A
//! column takes about 2 KB for a group of many documents, and less for a group of few.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use curate_schemas::tables::Measure;
use curate_scorers::drift::{Bins, Summary};
use curate_store::durable;
use curate_store::failure::{Exit, Failure};
use curate_store::terminal::printable;
use serde::{Deserialize, Serialize};

use super::columns::{KEPT, measure};
use super::gather::Reader;
use super::groups::{Documents, Group, Groups};

/// Version of the file. A file of another version is refused.
const FORMAT: u32 = 1;

/// The distributions of a run, to compare other runs with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Version of the program that wrote it.
    pub curate: String,
    /// Name of the run.
    pub run: String,
    /// The target that q was calibrated on; absent for an uncalibrated q.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<String>,
    /// The documents of the run.
    pub documents: Documents,
    /// BLAKE3 of the file with this field empty, 64 hex digits.
    pub digest: String,
    /// The distributions, sorted by column and group.
    pub columns: Vec<Column>,
}

/// The distribution of a column in a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name of the column, as in `quality.q`.
    pub measure: String,
    /// Source and language of the documents.
    pub group: Group,
    /// The distribution of the column's values.
    pub summary: Summary,
}

/// The version of the file. Other fields are ignored.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Baseline {
    /// The distributions of the columns of a run. Columns without any value are left out.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn of(run: &Reader, measures: &[Measure]) -> Result<Baseline> {
        let mut columns = Vec::new();
        for measure in measures {
            let Some(bins) = run.bins(measure)? else {
                continue;
            };

            // `tally` counts only groups that have bins.
            for (group, tally) in run.tally(measure, &bins)?.0 {
                let own = bins
                    .get(&group.source, &group.language)
                    .context("a group was counted without bins")?;
                columns.push(Column {
                    measure: measure.name(),
                    group,
                    summary: tally.summary(own),
                });
            }
        }
        columns.sort_by(|a, b| (&a.measure, &a.group).cmp(&(&b.measure, &b.group)));

        Ok(Baseline {
            format: FORMAT,
            curate: env!("CARGO_PKG_VERSION").to_owned(),
            run: run.name.clone(),
            calibration: run.calibration.clone(),
            documents: run.documents.clone(),
            digest: String::new(),
            columns,
        })
    }

    /// The columns of the baseline, each once.
    ///
    /// # Errors
    /// Exit 2 if this program does not know a column.
    pub fn measures(&self) -> Result<Vec<Measure>> {
        let mut names: Vec<&str> = self
            .columns
            .iter()
            .map(|column| column.measure.as_str())
            .collect();
        // Equal names are neighbours, because the columns are sorted by name.
        names.dedup();

        names
            .into_iter()
            .map(|name| {
                Ok(measure(name).ok_or_else(|| {
                    Failure::new(
                        Exit::Usage,
                        format!("no column is called {}", printable(name)),
                    )
                })?)
            })
            .collect()
    }

    /// The distributions of one column, one for each group.
    pub fn of_measure(&self, name: &str) -> impl Iterator<Item = &Column> {
        self.columns
            .iter()
            .filter(move |column| column.measure == name)
    }

    /// The number of documents that no stage removed, by source. `None` if the file lacks the
    /// column [`KEPT`].
    pub fn kept(&self) -> Option<BTreeMap<String, u64>> {
        let mut kept = BTreeMap::new();

        for Column { group, summary, .. } in self.of_measure(KEPT) {
            // 0 and 1 have cells of their own, because one of them is the value of at least half of
            // the documents.
            *kept.entry(group.source.clone()).or_default() +=
                summary.counts.docs[summary.bins.cell(1.0)];
        }

        (!kept.is_empty()).then_some(kept)
    }

    /// The sources that have documents in any column.
    pub fn sources(&self) -> BTreeSet<String> {
        self.columns
            .iter()
            .map(|column| column.group.source.clone())
            .collect()
    }

    /// The bins of a column, for each group.
    pub fn bins(&self, name: &str) -> Groups<Bins> {
        let mut bins = Groups::default();
        for column in self.of_measure(name) {
            bins.entry(&column.group.source, &column.group.language, || {
                column.summary.bins.clone()
            });
        }
        bins
    }

    /// Reads a file that [`Baseline::write`] wrote.
    ///
    /// # Errors
    /// Exit 2 if the file is missing, damaged, or of another version.
    pub fn read(path: &Path) -> Result<Baseline> {
        let refuse = |what: String| {
            Failure::new(Exit::Usage, format!("baseline {}: {what}", path.display()))
        };
        let again = "write it again with `curate baseline RUN -o FILE`";
        let damaged = |what: String| refuse(format!("it is damaged, {what}")).hint(again);

        // The version is read first: a file of another version may have other fields.
        let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let version: Version =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if version.format != FORMAT {
            let found = format!(
                "it has format {}, this program reads {FORMAT}",
                version.format
            );
            return Err(refuse(found).hint(again).into());
        }

        // The digest is the hash of the text from which the digest itself is cut out.
        let baseline: Baseline =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let digest = blake3::hash(text.replacen(&baseline.digest, "", 1).as_bytes()).to_hex();
        if digest.as_str() != baseline.digest {
            return Err(damaged(format!(
                "its digest is {digest}, it says {}",
                printable(&baseline.digest)
            ))
            .into());
        }

        // A right digest does not prove sound bins: anyone can compute it.
        for column in &baseline.columns {
            column
                .summary
                .check()
                .map_err(|error| damaged(error.to_string()))?;
        }

        Ok(baseline)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let empty = self.text("")?;
        let text = self.text(&blake3::hash(empty.as_bytes()).to_hex())?;

        durable::replace(path, |part| durable::write(part, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The text of the file with this digest. The head has one field a line, and each column is one
    /// line.
    fn text(&self, digest: &str) -> Result<String> {
        let head = [
            ("format", serde_json::to_string(&self.format)?),
            ("curate", serde_json::to_string(&self.curate)?),
            ("run", serde_json::to_string(&self.run)?),
            ("documents", serde_json::to_string(&self.documents)?),
            ("digest", serde_json::to_string(digest)?),
        ];
        let head: Vec<String> = head
            .iter()
            .map(|(key, value)| format!("  \"{key}\": {value},\n"))
            .collect();

        let lines = self
            .columns
            .iter()
            .map(|column| Ok(format!("    {}", serde_json::to_string(column)?)))
            .collect::<Result<Vec<_>>>()?
            .join(",\n");

        Ok(format!(
            "{{\n{}  \"columns\": [\n{lines}\n  ]\n}}\n",
            head.concat()
        ))
    }
}
