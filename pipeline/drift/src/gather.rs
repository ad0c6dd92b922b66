//! The values of one column of a run, by source and language, on which drift is measured.
//!
//! One column is read at a time, and only narrow columns are read. Shards are read in parallel. The
//! results do not depend on the division of documents into shards. Bins are frozen from the 10^6
//! documents of a group with the smallest keyed hashes, but counts cover all documents. Cost: 16
//! bytes for each sampled document, and at most 1.7 MB for each group.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use curate_schemas::stages;
use curate_schemas::tables::Measure;
use curate_scorers::drift::{Bins, Tally, cluster};
use curate_scorers::rules::url_rules::host;
use curate_stages::{Read, calibrated, read};
use curate_store::failure::{Exit, Failure};
use curate_store::interrupt;
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::zip::{Zip, parts};
use rayon::prelude::*;

use super::columns::{
    HashSample, KEPT, hash, is_kept, measure, measure_reads, measured, reached, verdict_reads,
    verdicts,
};
use super::groups::{Documents, Example, Groups};

/// The number of bins of equal mass into which the values of a column are cut.
const BINS: usize = 20;
/// The most documents of a group that are shown as examples.
pub const EXAMPLES: usize = 5;
/// Columns that are compared by default, beside the columns that q is made of.
const MEASURES: [&str; 7] = [
    KEPT,
    "quality.q",
    "signals.heuristic",
    "language.confidence",
    "score.mean_nll",
    "score.bits_per_byte",
    "ngram.perplexity",
];

/// One document with its value of one column.
pub struct DocumentRow<'a> {
    doc_id: &'a str,
    source: &'a str,
    /// `und` if the language is not known.
    language: &'a str,
    url: Option<&'a str>,
    /// 0 if the tokens were not counted.
    tokens: u64,
    value: Option<f64>,
}

/// An open run whose columns are read.
pub struct Reader {
    /// Name of the run.
    pub name: String,
    /// The target that q was calibrated on; `None` for an uncalibrated q.
    pub calibration: Option<String>,
    /// The documents of the run.
    pub documents: Documents,
    /// Names of the sources that have a document.
    pub sources: BTreeSet<String>,
    shards: Vec<ShardFiles>,
    /// Names of the columns that q and its vetoes are made of.
    terms: Vec<String>,
    /// Sources whose documents all have one host. In such a source each document is a cluster of
    /// its own.
    one_host: BTreeSet<String>,
}

impl Reader {
    /// Opens a run directory.
    ///
    /// # Errors
    /// Exit 2 if the path is not a run directory, or if the run holds no documents.
    pub fn open(root: &Path) -> Result<Reader> {
        let run = RunDir::open(root)?;
        let Some(commit) = run.commit("documents")? else {
            let message = format!("{} holds no documents", root.display());
            return Err(Failure::new(Exit::Usage, message).into());
        };

        // A sum does not depend on the division of the documents into shards.
        let mut content = 0u128;
        for file in &commit.files {
            let of_file = u128::from_str_radix(&file.content, 16)
                .context("a commit's content is not hexadecimal")?;
            content = content.wrapping_add(of_file);
        }
        let documents = Documents {
            rows: commit.files.iter().map(|file| file.rows).sum(),
            content: format!("{content:032x}"),
        };

        let sources = commit
            .sources
            .iter()
            .filter(|(_, counts)| counts.docs.kept > 0)
            .map(|(name, _)| name.clone())
            .collect();

        let manifest = run.manifest()?;
        let (term, veto) = (&manifest.quality.term, &manifest.quality.veto);
        let terms: Vec<String> = term
            .iter()
            .map(|term| term.column.clone())
            .chain(veto.iter().map(|veto| veto.column.clone()))
            .collect();

        let calibrated = calibrated::chosen(&manifest.quality, None).map_err(|error| {
            let message = format!("the calibration that the run kept: {error}");
            Failure::new(Exit::Broken, message)
        })?;
        let mut reader = Reader {
            calibration: calibrated.map(|calibrated| calibrated.target().name.clone()),
            name: manifest.run.name,
            documents,
            sources,
            shards: run.shard_files()?,
            terms,
            one_host: BTreeSet::new(),
        };
        reader.one_host = reader.one_host()?;
        Ok(reader)
    }

    /// The sources whose documents all have one host.
    fn one_host(&self) -> Result<BTreeSet<String>> {
        let reads = [read("documents", "source"), read("documents", "url")];
        // The host of each source; `None` once a second host was found.
        let mut hosts: BTreeMap<String, Option<String>> = BTreeMap::new();

        for shard in &self.shards {
            for batch in Zip::open(&parts(shard, &reads)?)? {
                interrupt::check()?;
                let batch = batch?;

                for (source, url) in batch
                    .column(0)
                    .as_string::<i32>()
                    .iter()
                    .zip(batch.column(1).as_string::<i32>())
                {
                    let (source, Some(found)) = (
                        source.unwrap_or_default(),
                        url.and_then(host).map(Cow::into_owned),
                    ) else {
                        continue;
                    };

                    // The name of a source is copied only once.
                    match hosts.get_mut(source) {
                        None => drop(hosts.insert(source.to_owned(), Some(found))),
                        Some(known) if known.as_ref() != Some(&found) => *known = None,
                        Some(_) => {}
                    }
                }
            }
        }

        Ok(hosts
            .into_iter()
            .filter_map(|(source, host)| host.map(|_| source))
            .collect())
    }

    /// The files of each shard.
    pub fn shards(&self) -> &[ShardFiles] {
        &self.shards
    }

    /// True if the run has the table.
    pub fn has_table(&self, table: &str) -> bool {
        // A committed stage has a file for every shard, so the first shard tells.
        self.shards
            .first()
            .is_some_and(|files| files.contains_key(table))
    }

    /// The stages that have run and may remove documents.
    pub fn removing(&self) -> Vec<&'static str> {
        stages::aligned()
            .filter(|stage| stage.may_remove())
            .map(|stage| stage.name)
            .filter(|name| self.has_table(name))
            .collect()
    }

    /// The columns that are compared by default: q, the columns that q and its vetoes are made of,
    /// and the scores of models.
    pub fn measures(&self) -> Vec<Measure> {
        let mut all = Vec::new();

        // A column may be named twice: by default, and as a term of q.
        for measure in MEASURES
            .iter()
            .copied()
            .chain(self.terms.iter().map(String::as_str))
            .filter_map(measure)
        {
            if self.has_table(measure.table) && !all.contains(&measure) {
                all.push(measure);
            }
        }

        all
    }

    /// True if any document has a value.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn has_values(&self, measure: &Measure) -> Result<bool> {
        for shard in &self.shards {
            for batch in Zip::open(&parts(shard, &measure_reads(measure))?)? {
                interrupt::check()?;
                // One value is enough, so a run is read only up to its first one.
                if measured(&batch?, measure)?.iter().any(Option::is_some) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The bins of a column, for each group with documents that reached the table. `None` if no
    /// document has a value.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn bins(&self, measure: &Measure) -> Result<Option<Groups<Bins>>> {
        let samples = self
            .shards
            .par_iter()
            .map(|shard| self.sample(shard, measure))
            .try_reduce(Groups::default, |a, b| {
                Ok(a.merge(b, |own: &mut HashSample, more: HashSample| {
                    own.extend(more.0)
                }))
            })?;

        let (mut bins, mut is_scored) = (Groups::default(), false);
        for (group, sample) in samples {
            is_scored |= !sample.0.is_empty();
            // `freeze` sorts the values, so the order of the heap does not matter.
            let values = sample
                .0
                .into_iter()
                .map(|(_, value)| f64::from_bits(value))
                .collect();
            bins.entry(&group.source, &group.language, || {
                Bins::freeze(values, BINS)
            });
        }

        Ok(is_scored.then_some(bins))
    }

    /// The sampled values of one shard, for each group.
    fn sample(&self, shard: &ShardFiles, measure: &Measure) -> Result<Groups<HashSample>> {
        let mut samples = Groups::default();
        self.visit(shard, measure, &mut |row| {
            // A group without values gets an empty sample, so that it has bins as well.
            let sample: &mut HashSample =
                samples.entry(row.source, row.language, HashSample::default);
            sample.extend(row.value.map(|value| (hash(row.doc_id), value.to_bits())));
        })?;
        Ok(samples)
    }

    /// The counts of a column over bins, and the numbers of documents in groups without bins.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn tally(
        &self,
        measure: &Measure,
        bins: &Groups<Bins>,
    ) -> Result<(Groups<Tally>, Groups<u64>)> {
        self.shards
            .par_iter()
            .map(|shard| self.tally_shard(shard, measure, bins))
            .try_reduce(Default::default, |(tallies, others), (more, unknown)| {
                let tallies = tallies.merge(more, |own: &mut Tally, more| own.merge(&more));
                Ok((tallies, others.merge(unknown, |own, more| *own += more)))
            })
    }

    /// The counts of one shard, and the numbers of documents in groups without bins.
    fn tally_shard(
        &self,
        shard: &ShardFiles,
        measure: &Measure,
        bins: &Groups<Bins>,
    ) -> Result<(Groups<Tally>, Groups<u64>)> {
        let (mut tallies, mut others) = (Groups::default(), Groups::default());

        self.visit(
            shard,
            measure,
            &mut |row| match bins.get(row.source, row.language) {
                None => *others.entry(row.source, row.language, || 0) += 1,
                Some(bins) => tallies
                    .entry(row.source, row.language, || Tally::new(bins))
                    .add(bins, row.value, row.tokens, self.cluster(row)),
            },
        )?;

        Ok((tallies, others))
    }

    /// The number of documents that no stage removed, by source.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn kept(&self) -> Result<BTreeMap<String, u64>> {
        let mut kept = BTreeMap::new();
        let measure = measure(KEPT).context("documents.kept is not a measure")?;

        // The measure is 1 for documents that no stage removed.
        for shard in &self.shards {
            self.visit(shard, &measure, &mut |row| {
                *kept.entry(row.source.to_owned()).or_default() +=
                    u64::from(row.value == Some(1.0));
            })?;
        }

        Ok(kept)
    }

    /// At most [`EXAMPLES`] documents of each group whose value is in a wanted cell. The documents
    /// with the smallest hashes are taken, so that the choice does not depend on shards.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn examples(
        &self,
        measure: &Measure,
        wanted: &Groups<(Bins, Vec<bool>)>,
    ) -> Result<Groups<Vec<Example>>> {
        let mut found: Groups<BTreeMap<u64, Example>> = Groups::default();
        for shard in &self.shards {
            self.visit(shard, measure, &mut |row| {
                let Some((bins, cells)) = wanted.get(row.source, row.language) else {
                    return;
                };
                // The last cell is the cell of documents without a value.
                if !cells[row.value.map_or(cells.len() - 1, |value| bins.cell(value))] {
                    return;
                }

                // Most rows are not among the smallest hashes, and are not copied.
                let own = found.entry(row.source, row.language, BTreeMap::new);
                let key = hash(row.doc_id);
                if own.len() < EXAMPLES || own.last_key_value().is_some_and(|(last, _)| key < *last)
                {
                    own.insert(key, row.example());
                    while own.len() > EXAMPLES {
                        own.pop_last();
                    }
                }
            })?;
        }

        let mut examples = Groups::default();
        for (group, own) in found {
            examples.entry(&group.source, &group.language, || {
                own.into_values().collect()
            });
        }
        Ok(examples)
    }

    /// Calls `each` with the documents of a shard that reached the table of the measure.
    fn visit(
        &self,
        shard: &ShardFiles,
        measure: &Measure,
        each: &mut dyn FnMut(&DocumentRow),
    ) -> Result<()> {
        let stages = if is_kept(measure) {
            self.removing()
        } else {
            Vec::new()
        };
        let reads = reads_of(shard, measure, &stages);

        for batch in Zip::open(&parts(shard, &reads)?)? {
            interrupt::check()?;
            let batch = batch?;

            // `reads_of` names these three columns first.
            let [ids, sources, urls] = [0, 1, 2].map(|at| batch.column(at).as_string::<i32>());
            let languages = batch
                .column_by_name("language")
                .map(|column| column.as_string::<i32>());
            let tokens = batch
                .column_by_name("tokens")
                .map(|column| column.as_primitive::<UInt64Type>());
            let values = if is_kept(measure) {
                verdicts(&batch, &stages)?
                    .iter()
                    .map(|rule| Some(f64::from(rule.is_none())))
                    .collect()
            } else {
                measured(&batch, measure)?
            };

            // Rows that did not reach the table belong to no group of the measure.
            let reached = reached(&batch);
            for row in (0..batch.num_rows()).filter(|&row| reached(row)) {
                let language = languages
                    .filter(|languages| languages.is_valid(row))
                    .map(|own| own.value(row));
                each(&DocumentRow {
                    doc_id: ids.value(row),
                    source: sources.value(row),
                    language: language.unwrap_or("und"),
                    url: urls.is_valid(row).then(|| urls.value(row)),
                    tokens: tokens
                        .filter(|tokens| tokens.is_valid(row))
                        .map_or(0, |tokens| tokens.value(row)),
                    value: values[row],
                });
            }
        }
        Ok(())
    }

    /// The cluster of a document: its host, or the document itself if it has no host or its source
    /// has one host only.
    fn cluster(&self, row: &DocumentRow) -> u16 {
        let host = row
            .url
            .filter(|_| !self.one_host.contains(row.source))
            .and_then(host);

        host.map_or_else(|| cluster(row.doc_id), |host| cluster(&host))
    }
}

/// The columns that [`Reader::visit`] reads from a shard: `doc_id`, `source` and `url` first, then
/// language and tokens if the shard has them, then those of the measure. `stages` are the stages
/// whose verdicts [`KEPT`] needs.
fn reads_of(shard: &ShardFiles, measure: &Measure, stages: &[&'static str]) -> Vec<Read> {
    let mut reads = ["doc_id", "source", "url"]
        .map(|column| read("documents", column))
        .to_vec();

    reads.extend(
        [("language", "language"), ("tokens", "tokens")]
            .into_iter()
            .filter(|(table, _)| shard.contains_key(*table))
            .map(|(table, column)| read(table, column)),
    );

    reads.extend(if is_kept(measure) {
        verdict_reads(stages)
    } else {
        measure_reads(measure)
    });
    reads
}

impl DocumentRow<'_> {
    /// The document as an example, with its value in words.
    fn example(&self) -> Example {
        Example {
            doc_id: self.doc_id.to_owned(),
            source: self.source.to_owned(),
            url: self.url.map(str::to_owned),
            before: None,
            now: self.value.map(|value| value.to_string()),
        }
    }
}
