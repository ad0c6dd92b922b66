//! What drift is measured on: the values of one column of a run, by source and language.
//!
//! One column at a time, narrow columns only, shards in parallel; what is gathered does not depend
//! on how documents lie in shards. Bins are frozen from the 10^6 documents of a group with the
//! smallest keyed hashes, counts are of all. Cost: 16 bytes a sampled document, 1.7 MB a group at
//! the most.

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
use curate_stages::read;
use curate_store::failure::{Exit, Failure};
use curate_store::interrupt;
use curate_store::run_dir::{RunDir, ShardFiles};
use curate_store::zip::{Zip, parts};
use rayon::prelude::*;

use super::columns::{
    KEPT, Sample, hash, is_kept, measure, measure_reads, measured, reached, verdict_reads, verdicts,
};
use super::groups::{Documents, Example, Groups};

/// Bins of a column.
const BINS: usize = 20;
/// Documents that are shown as examples.
pub const EXAMPLES: usize = 5;
/// Columns that are looked at wherever they have values, beside those that q is made of.
const MEASURES: [&str; 7] = [
    KEPT,
    "quality.q",
    "signals.heuristic",
    "language.confidence",
    "score.mean_nll",
    "score.bits_per_byte",
    "ngram.perplexity",
];

/// One document, as far as one column goes.
pub struct Row<'a> {
    doc_id: &'a str,
    source: &'a str,
    language: &'a str,
    url: Option<&'a str>,
    tokens: u64,
    value: Option<f64>,
}

/// A run that is measured.
pub struct Reader {
    /// Its name.
    pub name: String,
    /// Its documents.
    pub documents: Documents,
    shards: Vec<ShardFiles>,
    terms: Vec<String>,
    /// Sources all of whose documents are of one host: there a document is a cluster of its own.
    one_host: BTreeSet<String>,
}

impl Reader {
    /// Opens a run directory.
    ///
    /// # Errors
    /// Exit 2 if it is none, or holds no documents.
    pub fn open(root: &Path) -> Result<Reader> {
        let run = RunDir::open(root)?;
        let empty = || {
            Failure::new(
                Exit::Usage,
                format!("{} holds no documents", root.display()),
            )
        };
        let commit = run.commit("documents")?.ok_or_else(empty)?;
        let digest = |content: &str| {
            u128::from_str_radix(content, 16).context("a commit's content is hexadecimal")
        };
        let content = commit.files.iter().try_fold(0u128, |sum, file| {
            Ok(sum.wrapping_add(digest(&file.content)?))
        });
        let content = format!("{:032x}", content.map_err(|error: anyhow::Error| error)?);
        let documents = Documents {
            rows: commit.files.iter().map(|file| file.rows).sum(),
            content,
        };
        let manifest = run.manifest()?;
        let (term, veto) = (&manifest.quality.term, &manifest.quality.veto);
        let terms = term
            .iter()
            .map(|term| term.column.clone())
            .chain(veto.iter().map(|veto| veto.column.clone()));
        let (shards, terms) = (run.shard_files()?, terms.collect());
        let mut reader = Reader {
            name: manifest.run.name,
            documents,
            shards,
            terms,
            one_host: BTreeSet::new(),
        };
        reader.one_host = reader.one_host()?;
        Ok(reader)
    }

    fn one_host(&self) -> Result<BTreeSet<String>> {
        // None: more than one.
        let mut hosts: BTreeMap<String, Option<String>> = BTreeMap::new();
        for shard in &self.shards {
            for batch in Zip::open(&parts(
                shard,
                &[read("documents", "source"), read("documents", "url")],
            )?)? {
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

    /// The shards' files.
    pub fn shards(&self) -> &[ShardFiles] {
        &self.shards
    }

    /// Whether the table is there.
    pub fn has_table(&self, table: &str) -> bool {
        self.shards
            .first()
            .is_some_and(|files| files.contains_key(table))
    }

    /// The stages that remove documents and have run.
    pub fn removing(&self) -> Vec<&'static str> {
        let removing = stages::aligned().filter(|stage| stage.may_remove());
        let names = removing.map(|stage| stage.name);
        names.filter(|name| self.has_table(name)).collect()
    }

    /// The columns to look at where nothing else is asked for: q, what it is made of, what vetoes
    /// look at, model scores.
    pub fn measures(&self) -> Vec<Measure> {
        let mut all = Vec::new();
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

    /// Whether any document has a value.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn has_values(&self, measure: &Measure) -> Result<bool> {
        for shard in &self.shards {
            for batch in Zip::open(&parts(shard, &measure_reads(measure))?)? {
                interrupt::check()?;
                if measured(&batch?, measure)?.iter().any(Option::is_some) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Bins of a column for each group that reached its table; `None` if no document has a value.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn bins(&self, measure: &Measure) -> Result<Option<Groups<Bins>>> {
        let of_shard = |shard: &ShardFiles| -> Result<Groups<Sample>> {
            let mut samples = Groups::default();
            self.visit(shard, measure, &mut |row| {
                let sample: &mut Sample = samples.entry(row.source, row.language, Sample::default);
                sample.extend(row.value.map(|value| (hash(row.doc_id), value.to_bits())));
            })?;
            Ok(samples)
        };
        let join = |own: &mut Sample, more: Sample| own.extend(more.0);
        let samples = self
            .shards
            .par_iter()
            .map(of_shard)
            .try_reduce(Groups::default, |a, b| Ok(a.merge(b, join)))?;
        let (mut bins, mut is_scored) = (Groups::default(), false);
        for (group, sample) in samples {
            is_scored |= !sample.0.is_empty();
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

    /// Counts of a column over bins, and the documents of groups that have no bins.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn tally(
        &self,
        measure: &Measure,
        bins: &Groups<Bins>,
    ) -> Result<(Groups<Tally>, Groups<u64>)> {
        let of_shard = |shard: &ShardFiles| -> Result<(Groups<Tally>, Groups<u64>)> {
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
        };
        self.shards.par_iter().map(of_shard).try_reduce(
            Default::default,
            |(tallies, others), (more, unknown)| {
                let tallies = tallies.merge(more, |own: &mut Tally, more| own.merge(&more));
                Ok((tallies, others.merge(unknown, |own, more| *own += more)))
            },
        )
    }

    /// Documents that no stage removed, by source.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn kept(&self) -> Result<BTreeMap<String, u64>> {
        let (mut kept, measure) = (BTreeMap::new(), measure(KEPT).context("it is a measure")?);
        for shard in &self.shards {
            self.visit(shard, &measure, &mut |row| {
                *kept.entry(row.source.to_owned()).or_default() +=
                    u64::from(row.value == Some(1.0));
            })?;
        }
        Ok(kept)
    }

    /// A few documents of each group whose value is in the cells that are wanted there.
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
                if !cells[row.value.map_or(cells.len() - 1, |value| bins.cell(value))] {
                    return;
                }
                let (own, key) = (
                    found.entry(row.source, row.language, BTreeMap::new),
                    hash(row.doc_id),
                );
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

    /// Calls `each` with the documents of a shard that reached the column's table.
    fn visit(
        &self,
        shard: &ShardFiles,
        measure: &Measure,
        each: &mut dyn FnMut(&Row),
    ) -> Result<()> {
        let mut reads = ["doc_id", "source", "url"]
            .map(|column| read("documents", column))
            .to_vec();
        let more = [("language", "language"), ("tokens", "tokens")];
        let more = more
            .into_iter()
            .filter(|(table, _)| shard.contains_key(*table));
        reads.extend(more.map(|(table, column)| read(table, column)));
        let stages = if is_kept(measure) {
            self.removing()
        } else {
            Vec::new()
        };
        reads.extend(if is_kept(measure) {
            verdict_reads(&stages)
        } else {
            measure_reads(measure)
        });
        for batch in Zip::open(&parts(shard, &reads)?)? {
            interrupt::check()?;
            let batch = batch?;
            let [ids, sources, urls] = [0, 1, 2].map(|at| batch.column(at).as_string::<i32>());
            let languages = batch
                .column_by_name("language")
                .map(|column| column.as_string::<i32>());
            let tokens = batch
                .column_by_name("tokens")
                .map(|column| column.as_primitive::<UInt64Type>());
            let values = match is_kept(measure) {
                true => verdicts(&batch, &stages)?
                    .iter()
                    .map(|rule| Some(f64::from(rule.is_none())))
                    .collect(),
                false => measured(&batch, measure)?,
            };
            let reached = reached(&batch);
            for row in (0..batch.num_rows()).filter(|&row| reached(row)) {
                let language = languages
                    .filter(|languages| languages.is_valid(row))
                    .map(|own| own.value(row));
                each(&Row {
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

    fn cluster(&self, row: &Row) -> u16 {
        let host = row
            .url
            .filter(|_| !self.one_host.contains(row.source))
            .and_then(host);
        host.map_or_else(|| cluster(row.doc_id), |host| cluster(&host))
    }
}

impl Row<'_> {
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
