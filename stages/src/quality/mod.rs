//! The quality q(d), which is what a token of a document is worth. Vetoes and the tails of model
//! scores remove documents before q is computed.
//!
//! Each term is a column that a map takes to (0, 1]. Maps are a part of the stage's key. Percentiles
//! are of tokens, within language and domain, and the table `quality_maps` holds them. Terms combine
//! to the score. Without a calibration q is the score, and nothing ties it to losses. With a
//! calibration q is that of the bucket in which the score lies, see
//! [`crate::calibrated`].
//!
//! The stage makes two passes over narrow columns. The first pass finds how values are distributed
//! in each group, and runs only if a percentile or a tail needs it. The second pass computes the
//! score and q of every document. Where a document may have no term left, a pass between the two
//! finds the mean score of the others. A calibration needs a pass before all others, which finds
//! the sources and domains that it has not seen. A group holds the documents of a language and domain that arrive and that no
//! veto or missing value removes. Memory holds the counts of the groups, at most 218,000 bins for each decade that
//! the values of a group span, and one shard's terms for each thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, MapBuilder, RecordBatch, StringBuilder,
    UInt64Array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, UInt64Type};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages;
use curate_schemas::stages::quality::{
    Combine, MapKind, Missing, MissingValue, PreferEnd, QUALITY, Quality, Term,
};
use curate_schemas::tables::{self, Measure};
use curate_scorers::maps::{Counts, Knots, TermMap};
use rayon::prelude::*;
use serde_json::{Value, json};

use self::combine::combine;
use self::groups::{Distribution, Groups, Origin, SEPARATOR};
use self::values::{read_of, values};
use crate::calibrated::{self, Calibrated};
use crate::corpus::{Corpus, CorpusStage, Decision, FurtherRows};
use crate::error::{Result, StageError};
use crate::mix::{fixed_point, ratio};
use crate::resources::{Digested, Opening};
use crate::{Read, Stage, column, is_reached, read};

mod combine;
mod groups;
pub mod values;
mod worths;

/// The stage `quality` with its terms, vetoes and tails.
pub struct QualityStage {
    quality: Quality,
    /// Column and map of each term, in the order of `quality.term`.
    terms: Vec<(Measure, TermMap)>,
    /// Column of each veto, in the order of `quality.veto`.
    vetoes: Vec<Measure>,
    bands: Vec<TwoTails>,
    /// The column that CCNet's thirds of a language divide; `None` without an n-gram model.
    thirds_of: Option<Measure>,
    /// What takes a score to q; `None` if q is the score.
    calibrated: Option<Calibrated>,
    /// Digests of the calibration and of the files of isotonic terms, for the stage's key.
    files: BTreeMap<&'static str, String>,
}

/// A digest of what the score depends on: the terms, how they combine, the curves of isotonic terms,
/// and the versions of the stages that compute the columns. `curves` is what the stage's key names `isotonic`, or empty.
pub fn score_digest(quality: &Quality, curves: &str) -> String {
    // Another version of a stage may give a column other values.
    let mut versions: BTreeMap<&str, u32> = [(QUALITY.name, QUALITY.version)].into();
    for term in &quality.term {
        let stage = tables::measure(&term.column).and_then(|of| stages::stage(of.table));
        versions.extend(stage.map(|stage| (stage.name, stage.version)));
    }
    let score = json!({
        "versions": versions,
        "combine": quality.combine,
        "intercept": quality.intercept,
        "terms": quality.term,
        "curves": curves,
    });
    blake3::hash(score.to_string().as_bytes())
        .to_hex()
        .to_string()
}

/// Two tails of several columns. A document is removed if any of the columns has a value in a tail.
struct TwoTails {
    /// `family` in the reasons `family.low` and `family.high`.
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
    /// If the file of a curve or the calibration cannot be used.
    ///
    /// # Panics
    /// If a column is unknown: the manifest was checked.
    pub fn open(opening: &Opening) -> Result<Self> {
        let manifest = opening.manifest;
        let quality = manifest.quality.clone();
        let curves = open_curves(opening, &quality.term)?;
        let digests: Vec<&str> = curves.values().map(|curve| curve.digest.as_str()).collect();
        let digests = digests.join(",");
        let calibrated = open_calibration(&quality, &digests)?;

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

        Ok(QualityStage {
            terms: quality
                .term
                .iter()
                .map(|term| (known_measure(&term.column), map_of(term, &curves)))
                .collect(),
            vetoes: quality
                .veto
                .iter()
                .map(|veto| known_measure(&veto.column))
                .collect(),
            // The n-gram model comes first: its reason is given if both models remove a document.
            bands: ngram_tails.into_iter().chain(perplexity_tails).collect(),
            thirds_of: ngram.map(|_| known_measure("ngram.perplexity")),
            files: [
                ("isotonic", digests),
                ("calibration", calibration_digest(&quality)),
            ]
            .into_iter()
            .filter(|(_, digest)| !digest.is_empty())
            .collect(),
            calibrated,
            quality,
        })
    }

    /// The columns whose distribution is needed, each once.
    fn studied(&self) -> Vec<&Measure> {
        // A percentile or a two-sided term depends on the group. Other terms follow from the value.
        let relative = self
            .terms
            .iter()
            .filter(|(_, map)| map.is_relative())
            .map(|(measure, _)| measure);
        let in_bands = self.bands.iter().flat_map(|band| &band.columns);

        let mut all: Vec<&Measure> = Vec::new();
        for measure in relative.chain(in_bands).chain(&self.thirds_of) {
            if !all.contains(&measure) {
                all.push(measure);
            }
        }
        all
    }

    /// The reason for which a veto, or a term that drops documents without a value, removes each
    /// row; `None` if neither does. Removed rows are in no distribution.
    fn removed_first(&self, batch: &RecordBatch) -> Result<Vec<Option<String>>> {
        let mut removed: Vec<Option<String>> = vec![None; batch.num_rows()];
        for (measure, veto) in self.vetoes.iter().zip(&self.quality.veto) {
            for (removed, value) in removed.iter_mut().zip(&values(batch, measure)?) {
                // A row without a value passes the veto.
                let fails = value.is_some_and(|value| {
                    veto.below.is_some_and(|least| value < least)
                        || veto.above.is_some_and(|most| value > most)
                });
                // The first veto of the manifest gives the reason.
                if fails && removed.is_none() {
                    *removed = Some(format!("veto.{}", veto.column));
                }
            }
        }

        for ((measure, _), term) in self.terms.iter().zip(&self.quality.term) {
            if term.missing() != MissingValue::Policy(Missing::Drop) {
                continue;
            }
            for (removed, value) in removed.iter_mut().zip(&values(batch, measure)?) {
                if value.is_none_or(f64::is_nan) && removed.is_none() {
                    *removed = Some(format!("quality.missing.{}", term.column));
                }
            }
        }
        Ok(removed)
    }

    /// First pass: how the studied columns are distributed in each group.
    fn study(&self, corpus: &dyn Corpus) -> Result<Groups> {
        let studied = self.studied();
        let shards = if studied.is_empty() {
            0
        } else {
            corpus.own_shards()
        };

        // Counts are integers, so the sums do not depend on the order in which shards end.
        let all: Mutex<BTreeMap<String, Vec<Counts>>> = Mutex::default();
        (0..shards).into_par_iter().try_for_each(|shard| {
            let own = self.count_shard(corpus, &studied, shard)?;
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            for (origin, counts) in own {
                let into = all
                    .entry(origin)
                    .or_insert_with(|| vec![Counts::default(); studied.len()]);
                into.iter_mut()
                    .zip(&counts)
                    .for_each(|(into, counts)| into.merge(counts));
            }
            Ok::<(), StageError>(())
        })?;

        let counted = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        let groups = counted
            .into_iter()
            .map(|(origin, counts)| {
                let group = self.distributions(&studied, &origin, &counts);
                (origin, group)
            })
            .collect();
        Ok(Groups {
            studied: studied.into_iter().cloned().collect(),
            groups,
            // Known once the groups are, see `mean_score`.
            mean_score: 1.0,
        })
    }

    /// The values of the studied columns in one shard, by group and by whole language.
    fn count_shard(
        &self,
        corpus: &dyn Corpus,
        studied: &[&Measure],
        shard: usize,
    ) -> Result<BTreeMap<String, Vec<Counts>>> {
        let none = || vec![Counts::default(); studied.len()];
        let thirds_of = self
            .thirds_of
            .as_ref()
            .and_then(|of| studied.iter().position(|measure| *measure == of));

        let mut own: BTreeMap<String, Vec<Counts>> = BTreeMap::new();
        corpus.shard(shard, &self.reads(), &mut |_, batch| {
            let removed = self.removed_first(batch)?;
            let columns: Vec<Float64Array> = studied
                .iter()
                .map(|measure| values(batch, measure))
                .collect::<Result<_>>()?;
            let tokens = column(batch, "tokens")?.as_primitive::<UInt64Type>();
            let mut origin = Origin::of(batch)?;

            for (row, reason) in removed.iter().enumerate() {
                if !is_reached(batch, row) || reason.is_some() {
                    continue;
                }

                // `entry` would need a copy of the name for each row.
                let name = origin.name(row);
                if !own.contains_key(name) {
                    own.insert(name.to_owned(), none());
                }
                let counts = own.get_mut(name).expect("the name was inserted above");
                for (counts, values) in counts.iter_mut().zip(&columns) {
                    if values.is_valid(row) {
                        counts.add(values.value(row), tokens.value(row));
                    }
                }

                // CCNet's thirds are of a whole language, over all its domains.
                if let Some(at) = thirds_of.filter(|at| columns[*at].is_valid(row)) {
                    let whole = own.entry(origin.language().to_owned()).or_insert_with(none);
                    whole[at].add(columns[at].value(row), tokens.value(row));
                }
            }
            Ok(())
        })?;
        Ok(own)
    }

    /// What the values of each studied column mean in the group `origin`.
    fn distributions(
        &self,
        studied: &[&Measure],
        origin: &str,
        counts: &[Counts],
    ) -> Vec<Distribution> {
        // A whole language has counts for CCNet's thirds only.
        if origin.ends_with(SEPARATOR) {
            return counts.iter().map(Distribution::thirds).collect();
        }

        studied
            .iter()
            .zip(counts)
            .map(|(measure, counts)| self.distribution(measure, counts))
            .collect()
    }

    /// What the values of a column mean in a group of a language and domain.
    fn distribution(&self, measure: &Measure, counts: &Counts) -> Distribution {
        let band = self
            .bands
            .iter()
            .find(|band| band.columns.contains(measure));
        let is_term = self
            .terms
            .iter()
            .any(|(term, map)| term == measure && map.is_relative());

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

    /// Second pass: the documents of a shard that arrive, each with q or the reason for its
    /// removal.
    fn annotations(
        &self,
        corpus: &dyn Corpus,
        groups: &Groups,
        shard: usize,
    ) -> Result<RecordBatch> {
        let schema = annotation_schema();
        let mut batches = Vec::new();
        corpus.shard(shard, &self.reads(), &mut |first, batch| {
            batches.push(self.annotate(groups, first, batch, &schema)?);
            Ok(())
        })?;
        Ok(concat_batches(&schema, &batches)?)
    }

    /// The annotations of the rows of a batch that arrive. `first` is the number of the batch's
    /// first document.
    fn annotate(
        &self,
        groups: &Groups,
        first: u64,
        batch: &RecordBatch,
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let mut removed_first = self.removed_first(batch)?;
        let columns: Vec<Float64Array> = self
            .terms
            .iter()
            .map(|(measure, _)| values(batch, measure))
            .collect::<Result<_>>()?;
        let studied: Vec<Float64Array> = groups
            .studied
            .iter()
            .map(|measure| values(batch, measure))
            .collect::<Result<_>>()?;

        let of_bucket = self.worths_of(batch)?;
        let mut origin = Origin::of(batch)?;
        let (mut docs, mut removed) = (Vec::new(), StringBuilder::new());
        let (mut q, mut scores) = (Float64Builder::new(), Float64Builder::new());
        let mut thirds = StringBuilder::new();
        let mut terms = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
        for row in (0..batch.num_rows()).filter(|&row| is_reached(batch, row)) {
            docs.push(first + row as u64);
            let group = groups.groups.get(origin.name(row));
            thirds.append_option(self.third(groups, origin.language(), &studied, row));

            let reason = removed_first[row]
                .take()
                .or_else(|| self.tail(groups, group, &studied, row));
            removed.append_option(reason.as_ref());
            if reason.is_some() {
                q.append_null();
                scores.append_null();
                terms.append(false)?;
                continue;
            }

            let found = self.terms_of(groups, group, &columns, row);
            for (term, value) in self.quality.term.iter().zip(&found) {
                terms.keys().append_value(&term.column);
                terms.values().append_option(*value);
            }
            terms.append(true)?;
            let score = self.combined(&found, groups.mean_score)?;
            scores.append_value(score);
            q.append_value(of_bucket.q(row, score));
        }

        // The builder declares the values of the map as nullable, the table does not.
        let terms = cast(&terms.finish(), schema.field(4).data_type())?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(docs)),
            Arc::new(removed.finish()),
            Arc::new(q.finish()),
            Arc::new(scores.finish()),
            terms,
            Arc::new(thirds.finish()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }

    /// The terms of a row after their maps, from the terms' columns; `None` without a value.
    fn terms_of(
        &self,
        groups: &Groups,
        group: Option<&Vec<Distribution>>,
        columns: &[Float64Array],
        row: usize,
    ) -> Vec<Option<f64>> {
        let mut found = Vec::with_capacity(self.terms.len());
        for ((measure, map), column) in self.terms.iter().zip(columns) {
            let value = column.is_valid(row).then(|| column.value(row));
            let percentiles =
                group.and_then(|group| Some(&group[groups.place(measure)?].percentiles));
            let term = |value| match (self.quality.combine, map) {
                // A feature of a regression may be any number, so it is not clamped to (0, 1].
                (Combine::Logistic, TermMap::Identity) => value,
                _ => map.term(Some(value), percentiles),
            };
            found.push(value.filter(|value| !value.is_nan()).map(term));
        }
        found
    }

    /// True if a document may lose all terms because it has none of their values.
    fn may_lose_all_terms(&self) -> bool {
        let neutral = |term: &Term| term.missing() == MissingValue::Policy(Missing::Neutral);
        !self.quality.term.is_empty() && self.quality.term.iter().all(neutral)
    }

    /// The token-weighted mean score of the documents that have the value of a term. Nothing is known
    /// of a document without any, so it is worth as much as the others: the best score would give
    /// it all draws. 1 if no document has a value.
    fn mean_score(&self, corpus: &dyn Corpus, groups: &Groups) -> Result<f64> {
        let schema = annotation_schema();
        let of_shard = |shard| {
            let (mut weighted, mut all) = (0u128, 0u128);
            corpus.shard(shard, &self.reads(), &mut |first, batch| {
                let found = self.annotate(groups, first, batch, &schema)?;
                let docs = found.column(0).as_primitive::<UInt64Type>();
                let scores = found.column(3).as_primitive::<Float64Type>();
                let terms = found.column(4).as_map();
                let tokens = column(batch, "tokens")?.as_primitive::<UInt64Type>();

                for row in (0..found.num_rows()).filter(|&row| scores.is_valid(row)) {
                    let values = terms.value(row);
                    if values.column(1).null_count() < values.len() {
                        let tokens = tokens.value((docs.value(row) - first) as usize);
                        let score = u128::from(fixed_point(scores.value(row)));
                        weighted += score * u128::from(tokens);
                        all += u128::from(tokens);
                    }
                }
                Ok(())
            })?;
            Ok::<_, StageError>((weighted, all))
        };

        // Integers, so the order of the shards has no say.
        let shards = (0..corpus.own_shards()).into_par_iter();
        let (weighted, all) = shards
            .map(of_shard)
            .try_reduce(|| (0, 0), |a, b| Ok((a.0 + b.0, a.1 + b.1)))?;
        Ok(match all {
            0 => 1.0,
            all => ratio(weighted, all),
        })
    }

    /// The score of a document from its terms. Without the value of any, it is `mean_score`.
    ///
    /// # Errors
    /// If a term that refuses missing values has none.
    fn combined(&self, found: &[Option<f64>], mean_score: f64) -> Result<f64> {
        let (mut terms, mut weights) = (Vec::new(), Vec::new());
        for (term, value) in self.quality.term.iter().zip(found) {
            let value = match (value, term.missing()) {
                (Some(value), _) => *value,
                (None, MissingValue::Term(value)) => value,
                (None, MissingValue::Policy(Missing::Refuse)) => {
                    return Err(StageError::Refused {
                        message: format!("a document has no value for the term {}", term.column),
                        hint: "write missing = \"neutral\", \"drop\" or a number in \
                               [[quality.term]]"
                            .to_owned(),
                    });
                }
                (None, MissingValue::Policy(_)) => continue,
            };
            terms.push(value);
            weights.push(term.weight);
        }
        if terms.is_empty() && !found.is_empty() {
            return Ok(mean_score);
        }
        let (how, intercept) = (self.quality.combine, self.quality.intercept);
        Ok(combine(how, intercept, &terms, &weights))
    }

    /// CCNet's third of the language that a document is in; `None` without a score.
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

        // A small group may lack a cut. Its documents are in the middle then.
        Some(match (group.low, group.high) {
            (Some((_, cut)), _) if value < cut => "head",
            (_, Some((_, cut))) if value >= cut => "tail",
            _ => "middle",
        })
    }

    /// `family.low` or `family.high` if a score lies in a tail of its group. The low tail goes
    /// first if one score is low and another is high.
    fn tail(
        &self,
        groups: &Groups,
        group: Option<&Vec<Distribution>>,
        studied: &[Float64Array],
        row: usize,
    ) -> Option<String> {
        let group = group?;
        let is_in = |band: &TwoTails, tail: &dyn Fn(&Distribution, f64) -> bool| {
            band.columns
                .iter()
                .filter_map(|measure| groups.place(measure))
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

/// The measure of this name.
///
/// # Panics
/// If there is no such measure: the check of the manifest refuses other names.
fn known_measure(name: &str) -> Measure {
    tables::measure(name).expect("the manifest was checked")
}

/// The digest of the calibration's text; empty without a calibration.
fn calibration_digest(quality: &Quality) -> String {
    let text = quality.calibration_json.as_ref();
    text.map_or(String::new(), |text| {
        blake3::hash(text.as_bytes()).to_hex().to_string()
    })
}

/// The calibration of the manifest. `curves` is what the stage's key names `isotonic`.
///
/// # Errors
/// If the calibration cannot be used, or was made for another score.
fn open_calibration(quality: &Quality, curves: &str) -> Result<Option<Calibrated>> {
    let wrong = |what: String| {
        let name = quality.calibration.as_deref().unwrap_or_default();
        StageError::manifest(format!("quality.calibration {name}: {what}"))
    };

    let calibrated = calibrated::chosen(quality, None).map_err(|error| wrong(error.to_string()))?;
    if let Some(calibrated) = &calibrated
        && calibrated.file.score != score_digest(quality, curves)
    {
        let what = "its buckets are cut by other terms of q than those of this manifest";
        return Err(wrong(what.to_owned()).hint(
            "use the [[quality.term]] tables and the combine of the run that was calibrated, or \
             calibrate again",
        ));
    }
    Ok(calibrated)
}

/// The curves of isotonic terms, by the name of their file.
fn open_curves(opening: &Opening, terms: &[Term]) -> Result<BTreeMap<String, Digested<Knots>>> {
    // The map's order fixes the order of the digests in the stage's key.
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

/// The map of a term as the manifest sets it.
fn map_of(term: &Term, curves: &BTreeMap<String, Digested<Knots>>) -> TermMap {
    match term.map {
        MapKind::Identity => TermMap::Identity,
        MapKind::Logistic => TermMap::Logistic {
            midpoint: term.midpoint,
            slope: term.slope,
        },
        MapKind::Percentile => TermMap::Percentile {
            low_is_better: term.prefer == PreferEnd::Low,
        },
        MapKind::TwoSided => TermMap::TwoSided {
            low: term.low,
            high: term.high,
        },
        MapKind::Isotonic => {
            let curve = term.file.as_ref().and_then(|file| curves.get(file));
            let curve = curve.expect("an isotonic term has a file: the manifest was checked");
            TermMap::Isotonic(Knots::clone(&curve.value))
        }
    }
}

/// The schema of annotations: `doc`, and the columns of `quality` without `doc_id` and `reached`.
fn annotation_schema() -> SchemaRef {
    // Every row-aligned table begins with `doc_id` and `reached`.
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
        // The keys of `ngram` and `score` leave the bands out, so that a changed band asks no
        // model.
        let bands: BTreeMap<&str, Value> = self
            .bands
            .iter()
            .map(|band| {
                let tails = json!({ "below": band.below, "above": band.above });
                (band.family, tails)
            })
            .collect();

        // The text of the calibration has a digest of its own, and its path changes nothing.
        let quality = Quality {
            calibration: None,
            calibration_json: None,
            ..self.quality.clone()
        };
        json!({ "quality": quality, "drop": bands, "thirds": self.thirds_of.is_some() })
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
        if self.calibrated.is_some() {
            reads.push(read("documents", "source"));
        }

        // A column may serve as a term and as a veto, but it is read once.
        let terms = self.terms.iter().map(|(measure, _)| measure);
        let in_bands = self.bands.iter().flat_map(|band| &band.columns);
        for measure in terms
            .chain(&self.thirds_of)
            .chain(&self.vetoes)
            .chain(in_bands)
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
        self.check_origins(corpus)?;
        let mut groups = self.study(corpus)?;
        if self.may_lose_all_terms() {
            groups.mean_score = self.mean_score(corpus, &groups)?;
        }
        let groups = Arc::new(groups);
        let maps = FurtherRows::Whole(groups.rows()?);
        let worths = FurtherRows::Whole(worths::rows(&self.quality)?);
        let annotations = move |shard| self.annotations(corpus, &groups, shard);
        Ok(Decision {
            tables: [("quality_maps", maps), ("quality_worths", worths)].into(),
            ..Decision::of(Box::new(annotations))
        })
    }
}
