//! q(d), what a token of a document is worth, and who goes before: vetoes, and the tails of model
//! scores.
//!
//! Each term is a column mapped to (0, 1] by a calibration that stands in the stage's key;
//! percentiles are of tokens, within language and domain, and stand in `quality_calibration`.
//! Uncalibrated all the same: nothing ties q to losses.
//!
//! Two passes over narrow columns: what values mean in each group (only if a percentile is asked
//! for), then every document. Groups are of the documents that arrive and that no veto removes. In
//! memory are a group's counts, 218,000 bins for each decade that its values span at the most, and
//! one shard's terms for each thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, MapBuilder, RecordBatch, StringArray,
    StringBuilder, UInt64Array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::quality::{
    Calibrated, Combine, PreferEnd, QUALITY, Quality, Term, Veto,
};
use curate_schemas::tables::{self, Measure};
use curate_scorers::calibration::{Calibration, Counts, Knots};
use rayon::prelude::*;
use serde_json::{Value, json};

use self::combine::combine;
use self::values::{read_of, values};
use crate::corpus::{Corpus, CorpusStage, Decision, FurtherRows};
use crate::error::{Result, StageError};
use crate::resources::{Digested, Opening};
use crate::{Read, Stage, column, is_reached, read};

mod combine;
pub mod values;

/// The stage `quality`.
pub struct QualityStage {
    quality: Quality,
    terms: Vec<(Measure, Calibration)>,
    vetoes: Vec<Measure>,
    bands: Vec<TwoTails>,
    /// What CCNet's thirds of a language are of, with an n-gram model.
    thirds_of: Option<Measure>,
    /// Digests of the files of isotonic terms.
    files: BTreeMap<&'static str, String>,
}

/// A band over several columns: a document goes if any of them is in its tail.
struct TwoTails {
    family: &'static str,
    /// Share of a group's documents in the lower tail.
    below: f64,
    /// Share of a group's documents below the upper tail.
    above: f64,
    columns: Vec<Measure>,
}

impl QualityStage {
    /// The stage as the manifest sets it, with the curves of isotonic terms.
    ///
    /// # Errors
    /// If the file of a curve cannot be used.
    ///
    /// # Panics
    /// If a column is unknown: the manifest was checked.
    pub fn open(opening: &Opening) -> Result<Self> {
        let manifest = opening.manifest;
        let quality = manifest.quality.clone();
        let curves = open_curves(opening, &quality.term)?;
        let digests: Vec<&str> = curves.values().map(|curve| curve.digest.as_str()).collect();

        let ngram = manifest.score.ngram.as_ref();
        let ngram_tails = ngram
            .and_then(|ngram| ngram.drop.as_ref())
            .map(|band| TwoTails {
                family: "ngram",
                below: band.below,
                above: band.above,
                columns: vec![known_measure("ngram.perplexity")],
            });
        let perplexity = manifest.score.perplexity.as_ref();
        let perplexity = perplexity.and_then(|perplexity| perplexity.drop.as_ref());
        let perplexity_tails = perplexity.map(|band| TwoTails {
            family: "perplexity",
            below: band.below,
            above: band.above,
            columns: ["score.mean_nll", "score.bits_per_byte"]
                .map(known_measure)
                .to_vec(),
        });

        let term = |term: &Term| (known_measure(&term.column), calibration(term, &curves));
        let veto = |veto: &Veto| known_measure(&veto.column);
        Ok(QualityStage {
            terms: quality.term.iter().map(term).collect(),
            vetoes: quality.veto.iter().map(veto).collect(),
            bands: ngram_tails.into_iter().chain(perplexity_tails).collect(),
            thirds_of: ngram.map(|_| known_measure("ngram.perplexity")),
            files: match digests.is_empty() {
                true => BTreeMap::new(),
                false => [("isotonic", digests.join(","))].into(),
            },
            quality,
        })
    }

    /// Columns whose distribution is asked for, each once.
    fn studied(&self) -> Vec<&Measure> {
        let relative = self
            .terms
            .iter()
            .filter(|(_, calibration)| calibration.is_relative())
            .map(|(measure, _)| measure);
        let mut all: Vec<&Measure> = Vec::new();
        let thirds_of = self.thirds_of.iter();
        for measure in relative
            .chain(self.bands.iter().flat_map(|band| &band.columns))
            .chain(thirds_of)
        {
            if !all.contains(&measure) {
                all.push(measure);
            }
        }
        all
    }

    /// The veto that removes each row, by its number.
    fn vetoed(&self, batch: &RecordBatch) -> Result<Vec<Option<usize>>> {
        let mut removed = vec![None; batch.num_rows()];
        for (at, (measure, veto)) in self.vetoes.iter().zip(&self.quality.veto).enumerate() {
            let fails = |value: f64| {
                veto.below.is_some_and(|least| value < least)
                    || veto.above.is_some_and(|most| value > most)
            };
            for (removed, value) in removed.iter_mut().zip(&values(batch, measure)?) {
                *removed = removed.or(value.filter(|value| fails(*value)).map(|_| at));
            }
        }
        Ok(removed)
    }

    /// First pass: how the studied columns are distributed in each group.
    fn study(&self, corpus: &dyn Corpus) -> Result<Groups> {
        let studied = self.studied();
        let none = || vec![Counts::default(); studied.len()];
        let all: Mutex<BTreeMap<String, Vec<Counts>>> = Mutex::default();
        let shards = if studied.is_empty() {
            0
        } else {
            corpus.own_shards()
        };
        (0..shards).into_par_iter().try_for_each(|shard| {
            let mut own: BTreeMap<String, Vec<Counts>> = BTreeMap::new();
            corpus.shard(shard, &self.reads(), &mut |_, batch| {
                let vetoed = self.vetoed(batch)?;
                let columns: Vec<Float64Array> = studied
                    .iter()
                    .map(|measure| values(batch, measure))
                    .collect::<Result<_>>()?;
                let tokens = column(batch, "tokens")?.as_primitive::<UInt64Type>();
                let mut origin = Origin::of(batch)?;
                for row in (0..batch.num_rows())
                    .filter(|&row| is_reached(batch, row) && vetoed[row].is_none())
                {
                    let name = origin.name(row);
                    if !own.contains_key(name) {
                        own.insert(name.to_owned(), none());
                    }
                    let counts = own.get_mut(name).expect("it was put there");
                    for (counts, values) in counts
                        .iter_mut()
                        .zip(&columns)
                        .filter(|(_, values)| values.is_valid(row))
                    {
                        counts.add(values.value(row), tokens.value(row));
                    }
                    let thirds_of = self
                        .thirds_of
                        .as_ref()
                        .and_then(|of| studied.iter().position(|it| *it == of));
                    if let Some(at) = thirds_of.filter(|at| columns[*at].is_valid(row)) {
                        let whole = own.entry(origin.language().to_owned()).or_insert_with(none);
                        whole[at].add(columns[at].value(row), tokens.value(row));
                    }
                }
                Ok(())
            })?;
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            for (origin, counts) in own {
                let into = all.entry(origin).or_insert_with(none);
                into.iter_mut()
                    .zip(&counts)
                    .for_each(|(into, counts)| into.merge(counts));
            }
            Ok::<(), StageError>(())
        })?;
        let of_group = |origin: &str, counts: Vec<Counts>| -> Vec<Distribution> {
            let of = |(measure, counts): (&&Measure, Counts)| match origin.ends_with(SEPARATOR) {
                true => Distribution::thirds(&counts),
                false => self.distribution(measure, &counts),
            };
            studied.iter().zip(counts).map(of).collect()
        };
        let counted = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        let groups = counted
            .into_iter()
            .map(|(origin, counts)| (of_group(&origin, counts), origin));
        let groups = groups.map(|(group, origin)| (origin, group)).collect();
        Ok(Groups {
            studied: studied.into_iter().cloned().collect(),
            groups,
        })
    }

    fn distribution(&self, measure: &Measure, counts: &Counts) -> Distribution {
        let band = self
            .bands
            .iter()
            .find(|band| band.columns.contains(measure));
        let is_term = self
            .terms
            .iter()
            .any(|(term, calibration)| term == measure && calibration.is_relative());
        Distribution {
            documents: counts.documents(),
            percentiles: if is_term {
                counts.percentiles()
            } else {
                Knots::default()
            },
            low: band.and_then(|band| Some((band.below, counts.low_cut(band.below)?))),
            high: band.and_then(|band| Some((band.above, counts.high_cut(band.above)?))),
        }
    }

    /// Second pass: the rows of a shard that arrive, with what becomes of them.
    fn annotations(
        &self,
        corpus: &dyn Corpus,
        groups: &Groups,
        shard: usize,
    ) -> Result<RecordBatch> {
        let schema = annotation_schema();
        let mut batches = Vec::new();
        let weights: Vec<f64> = self.quality.term.iter().map(|term| term.weight).collect();
        corpus.shard(shard, &self.reads(), &mut |first, batch| {
            let vetoed = self.vetoed(batch)?;
            let of = |measure: &Measure| values(batch, measure);
            let values: Vec<Float64Array> = self
                .terms
                .iter()
                .map(|(measure, _)| of(measure))
                .collect::<Result<_>>()?;
            let studied: Vec<Float64Array> =
                groups.studied.iter().map(of).collect::<Result<_>>()?;
            let mut origin = Origin::of(batch)?;
            let (mut docs, mut removed, mut q) =
                (Vec::new(), StringBuilder::new(), Float64Builder::new());
            let mut terms = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
            let mut thirds = StringBuilder::new();
            for row in (0..batch.num_rows()).filter(|&row| is_reached(batch, row)) {
                docs.push(first + row as u64);
                origin.name(row);
                thirds.append_option(self.third(groups, origin.language(), &studied, row));
                let group = if vetoed[row].is_none() {
                    groups.groups.get(origin.name(row))
                } else {
                    None
                };
                let reason = match vetoed[row] {
                    Some(veto) => Some(format!("veto.{}", self.quality.veto[veto].column)),
                    None => self.tail(groups, group, &studied, row),
                };
                removed.append_option(reason.as_ref());
                if reason.is_some() {
                    q.append_null();
                    terms.append(false)?;
                    continue;
                }
                let mut found = Vec::with_capacity(self.terms.len());
                for (((measure, calibration), column), term) in
                    self.terms.iter().zip(&values).zip(&self.quality.term)
                {
                    let value = column.is_valid(row).then(|| column.value(row));
                    let percentiles =
                        group.and_then(|group| Some(&group[groups.place(measure)?].percentiles));
                    let calibrated = match (self.quality.combine, calibration) {
                        // A feature of a regression is what it is.
                        (Combine::Logistic, Calibration::Identity) => value.unwrap_or(0.0),
                        _ => calibration.term(value, percentiles),
                    };
                    terms.keys().append_value(&term.column);
                    terms.values().append_value(calibrated);
                    found.push(calibrated);
                }
                terms.append(true)?;
                q.append_value(combine(
                    self.quality.combine,
                    self.quality.intercept,
                    &found,
                    &weights,
                ));
            }
            let terms = RecordBatch::try_from_iter_with_nullable([(
                "terms",
                Arc::new(terms.finish()) as ArrayRef,
                true,
            )])?;
            let terms = cast(terms.column(0), schema.field(3).data_type())?;
            let columns: Vec<ArrayRef> = vec![
                Arc::new(UInt64Array::from(docs)),
                Arc::new(removed.finish()),
                Arc::new(q.finish()),
                terms,
                Arc::new(thirds.finish()),
            ];
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
            Ok(())
        })?;
        Ok(concat_batches(&schema, &batches)?)
    }

    /// CCNet's third of a language that a document is in.
    fn third(
        &self,
        groups: &Groups,
        language: &str,
        studied: &[Float64Array],
        row: usize,
    ) -> Option<&'static str> {
        let at = groups.place(self.thirds_of.as_ref()?)?;
        let group = &groups.groups.get(language)?[at];
        let value = studied[at].is_valid(row).then(|| studied[at].value(row))?;
        Some(match (group.low, group.high) {
            (Some((_, cut)), _) if value < cut => "head",
            (_, Some((_, cut))) if value >= cut => "tail",
            _ => "middle",
        })
    }

    /// `family.low` or `family.high` if a score lies in a tail of its group.
    fn tail(
        &self,
        groups: &Groups,
        group: Option<&Vec<Distribution>>,
        studied: &[Float64Array],
        row: usize,
    ) -> Option<String> {
        let group = group?;
        let is_in = |band: &TwoTails, tail: &dyn Fn(&Distribution, f64) -> bool| {
            let places = band
                .columns
                .iter()
                .filter_map(|measure| groups.place(measure));
            places
                .into_iter()
                .any(|at| studied[at].is_valid(row) && tail(&group[at], studied[at].value(row)))
        };
        self.bands.iter().find_map(|band| {
            if is_in(band, &|found, value| {
                found.low.is_some_and(|(_, cut)| value < cut)
            }) {
                return Some(format!("{}.low", band.family));
            }
            let is_high = is_in(band, &|found, value| {
                found.high.is_some_and(|(_, cut)| value >= cut)
            });
            is_high.then(|| format!("{}.high", band.family))
        })
    }
}

/// Where a document is from: its language and its domain, as one name.
struct Origin<'b> {
    languages: &'b StringArray,
    domains: &'b StringArray,
    name: String,
}

impl<'b> Origin<'b> {
    fn of(batch: &'b RecordBatch) -> Result<Origin<'b>> {
        let text = |name: &str| Ok::<_, StageError>(column(batch, name)?.as_string::<i32>());
        Ok(Origin {
            languages: text("language")?,
            domains: text("domain")?,
            name: String::new(),
        })
    }

    fn name(&mut self, row: usize) -> &str {
        self.name.clear();
        if self.languages.is_valid(row) {
            self.name.push_str(self.languages.value(row));
        }
        self.name.push(SEPARATOR);
        self.name.push_str(self.domains.value(row));
        &self.name
    }

    /// The name of the whole language of the row that [`Self::name`] was asked for last.
    fn language(&self) -> &str {
        &self.name[..=self.name.find(SEPARATOR).unwrap_or_default()]
    }
}

/// Between language and domain, and behind a language that is meant as a whole; no control
/// character is in either.
const SEPARATOR: char = '\0';

/// What the values of a column mean in a group.
struct Distribution {
    documents: u64,
    percentiles: Knots,
    /// The share that may go, and the value below which it does.
    low: Option<(f64, f64)>,
    /// The share that stays, and the value from which on the rest goes.
    high: Option<(f64, f64)>,
}

impl Distribution {
    /// The thirds of CCNet (Wenzek et al. 2020): head below the 30th percentile of documents, tail
    /// from the 60th on.
    fn thirds(counts: &Counts) -> Distribution {
        Distribution {
            documents: counts.documents(),
            percentiles: Knots::default(),
            low: counts.low_cut(0.3).map(|cut| (0.3, cut)),
            high: counts.high_cut(0.6).map(|cut| (0.6, cut)),
        }
    }
}

/// The studied columns, and what they are like in each group.
struct Groups {
    studied: Vec<Measure>,
    groups: BTreeMap<String, Vec<Distribution>>,
}

impl Groups {
    fn place(&self, measure: &Measure) -> Option<usize> {
        self.studied.iter().position(|studied| studied == measure)
    }

    /// The rows of `quality_calibration`.
    fn rows(&self) -> Result<RecordBatch> {
        let mut texts: [StringBuilder; 4] = Default::default();
        let (mut documents, mut numbers) = (Vec::new(), [Vec::new(), Vec::new()]);
        for (at, measure) in self.studied.iter().enumerate() {
            for (origin, group) in &self.groups {
                let (language, domain) = origin.split_once(SEPARATOR).unwrap_or_default();
                let found = &group[at];
                let knots = found
                    .percentiles
                    .points()
                    .iter()
                    .map(|&(value, share)| ("percentile", value, share));
                let is_language = origin.ends_with(SEPARATOR);
                let (below, above) = if is_language {
                    ("head_below", "tail_above")
                } else {
                    ("drop_below", "drop_above")
                };
                let low = found.low.map(|(share, value)| (below, value, share));
                let high = found.high.map(|(share, value)| (above, value, share));
                for (kind, value, share) in knots.chain(low).chain(high) {
                    let name = measure.name();
                    for (column, text) in
                        texts
                            .iter_mut()
                            .zip([name.as_str(), kind, language, domain])
                    {
                        column.append_value(text);
                    }
                    documents.push(found.documents);
                    numbers[0].push(value);
                    numbers[1].push(share);
                }
            }
        }
        let mut columns: Vec<ArrayRef> = texts
            .iter_mut()
            .map(|column| Arc::new(column.finish()) as ArrayRef)
            .collect();
        columns.push(Arc::new(UInt64Array::from(documents)));
        columns.extend(numbers.map(|column| Arc::new(Float64Array::from(column)) as ArrayRef));
        Ok(RecordBatch::try_new(
            tables::schema("quality_calibration"),
            columns,
        )?)
    }
}

/// A measure that the check of the manifest found.
fn known_measure(name: &str) -> Measure {
    tables::measure(name).expect("the manifest was checked")
}

/// The curves of isotonic terms, by the name of their file.
fn open_curves(opening: &Opening, terms: &[Term]) -> Result<BTreeMap<String, Digested<Knots>>> {
    let mut curves = BTreeMap::new();
    for name in terms.iter().filter_map(|term| term.file.as_ref()) {
        let wrong =
            |what: String| StageError::manifest(format!("quality.term.file {name}: {what}"));
        let file = opening.text("quality.term.file", name)?;
        let points = serde_json::from_str(&file.text)
            .map_err(|error| wrong(format!("expected [[value, term], …], {error}")))?;
        let knots = Knots::isotonic(points).map_err(|error| wrong(error.to_string()))?;
        let digest = file.digest;
        curves.insert(
            name.clone(),
            Digested {
                value: Arc::new(knots),
                digest,
            },
        );
    }
    Ok(curves)
}

fn calibration(term: &Term, curves: &BTreeMap<String, Digested<Knots>>) -> Calibration {
    match term.calibration {
        Calibrated::Identity => Calibration::Identity,
        Calibrated::Logistic => Calibration::Logistic {
            midpoint: term.midpoint,
            slope: term.slope,
        },
        Calibrated::Percentile => Calibration::Percentile {
            low_is_better: term.prefer == PreferEnd::Low,
        },
        Calibrated::TwoSided => Calibration::TwoSided {
            low: term.low,
            high: term.high,
        },
        Calibrated::Isotonic => {
            let curve = term.file.as_ref().and_then(|file| curves.get(file));
            let curve = curve.expect("an isotonic term has a file: the manifest was checked");
            Calibration::Isotonic(Knots::clone(&curve.value))
        }
    }
}

/// `doc`, and the columns of `quality` that are its own.
fn annotation_schema() -> SchemaRef {
    let mut fields = vec![Field::new("doc", DataType::UInt64, false)];
    fields.extend(
        tables::schema("quality").fields()[2..]
            .iter()
            .map(|field| Field::clone(field)),
    );
    Arc::new(Schema::new(fields))
}

impl Stage for QualityStage {
    fn spec(&self) -> &'static StageSpec {
        &QUALITY
    }

    fn config(&self) -> Value {
        let tails = |band: &TwoTails| json!({ "below": band.below, "above": band.above });
        let bands: BTreeMap<&str, Value> = self
            .bands
            .iter()
            .map(|band| (band.family, tails(band)))
            .collect();
        json!({ "quality": self.quality, "drop": bands, "thirds": self.thirds_of.is_some() })
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        self.files.clone()
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = vec![
            read("language", "language"),
            read("documents", "domain"),
            read("tokens", "tokens"),
        ];
        let terms = self
            .terms
            .iter()
            .map(|(measure, _)| measure)
            .chain(&self.thirds_of);
        for measure in terms
            .chain(&self.vetoes)
            .chain(self.bands.iter().flat_map(|band| &band.columns))
        {
            let read = read_of(measure);
            if !reads.contains(&read) {
                reads.push(read);
            }
        }
        reads
    }
}

impl CorpusStage for QualityStage {
    fn decide<'a>(&'a self, corpus: &'a dyn Corpus) -> Result<Decision<'a>> {
        let groups = Arc::new(self.study(corpus)?);
        let calibration = FurtherRows::Whole(groups.rows()?);
        let annotations = move |shard| self.annotations(corpus, &groups, shard);
        Ok(Decision {
            tables: [("quality_calibration", calibration)].into(),
            ..Decision::of(Box::new(annotations))
        })
    }
}
