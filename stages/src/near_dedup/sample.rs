//! The quality of the banding, measured on every run by exact comparison of pairs that are drawn
//! without regard to bands.
//!
//! A document's probe is the least of its shingles under a permutation that the signature does not
//! use. So two documents of similarity s have the same probe with probability s, whatever their
//! band keys. A share of all probe values is drawn by hash. The pairs within each value are
//! compared, and count with weight 1/s. Departs from a plain random sample of pairs, which would
//! hold no near-duplicates at all. Cost: the texts of at most about [`DOCUMENTS`] documents.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::UInt64Type;
use curate_schemas::stages::near_dedup::{NearDedup, Verify};
use curate_schemas::tables;
use curate_scorers::shingles::jaccard;

use super::stars::equal_share;
use crate::bits::Bits;
use crate::{column, is_reached};

/// The expected number of documents in the sample.
const DOCUMENTS: u64 = 4_000;

/// Most documents of one probe value that are compared with each other, drawn by hash.
const OF_ONE_VALUE: usize = 8;

/// Documents drawn by their probe.
pub(super) struct PairSample {
    /// The greatest hash of a probe value that is drawn.
    most: u64,
    /// Drawn documents, by probe value.
    drawn: Mutex<HashMap<u64, Drawn>>,
}

/// Documents of one probe value.
#[derive(Debug, Default)]
struct Drawn {
    /// The number of all documents with this value.
    documents: u64,
    /// Documents with the least hashes, ascending by hash, each with its band keys.
    compared: Vec<(u64, Vec<u64>)>,
}

impl PairSample {
    /// An empty sample of a corpus of `documents` documents.
    pub(super) fn new(documents: u64) -> PairSample {
        let share = DOCUMENTS as f64 / documents.max(1) as f64;
        // The cast saturates: a share above 1 draws every value.
        PairSample {
            most: (share * u64::MAX as f64) as u64,
            drawn: Mutex::default(),
        }
    }

    /// Draws documents from a batch with the columns `probe` and `bands`. `first` is the document
    /// of its first row.
    ///
    /// # Errors
    /// If the batch lacks one of the columns.
    pub(super) fn add(&self, first: u64, batch: &RecordBatch) -> Result<()> {
        let probes = column(batch, "probe")?.as_primitive::<UInt64Type>();
        let bands = column(batch, "bands")?.as_list::<i32>();

        for row in
            (0..batch.num_rows()).filter(|&row| probes.is_valid(row) && is_reached(batch, row))
        {
            let probe = probes.value(row);
            if mixed(probe) > self.most {
                continue;
            }
            let keys = bands
                .value(row)
                .as_primitive::<UInt64Type>()
                .values()
                .to_vec();

            // The documents with the least hashes remain, in whatever order threads add them.
            let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
            let drawn = drawn.entry(probe).or_default();
            drawn.documents += 1;
            let doc = first + row as u64;
            let at = drawn
                .compared
                .partition_point(|(other, _)| mixed(*other) < mixed(doc));
            if at < OF_ONE_VALUE {
                drawn.compared.insert(at, (doc, keys));
                drawn.compared.truncate(OF_ONE_VALUE);
            }
        }
        Ok(())
    }

    /// The documents to compare, in a corpus of `of` documents.
    pub(super) fn documents(&self, of: u64) -> Bits {
        let documents = Bits::new(of);
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);

        drawn
            .values()
            .filter(|drawn| drawn.compared.len() > 1)
            .flat_map(|drawn| &drawn.compared)
            .for_each(|(doc, _)| documents.insert(*doc));
        documents
    }

    /// Compares the pairs as the run does, by shingle sets or by signatures. `words` looks up the
    /// set or the signature of a document, and returns false if the document has neither. `removed`
    /// has the documents that the run removes.
    ///
    /// Documents from number `own` on belong to earlier runs. A pair of two such documents is left
    /// out.
    ///
    /// # Errors
    /// If `words` fails.
    pub(super) fn measure(
        &self,
        near: &NearDedup,
        own: u64,
        words: impl Fn(u64, &mut Vec<u64>) -> Result<bool>,
        removed: &Bits,
    ) -> Result<Measured> {
        let mut pairs = Vec::new();
        let mut sets = vec![Vec::new(); OF_ONE_VALUE];
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        // Sums of floats depend on the order of pairs, and a hash map has none.
        let mut values: Vec<_> = drawn.iter().collect();
        values.sort_unstable_by_key(|(probe, _)| **probe);

        for (value, drawn) in values {
            // A document without words has similarity 0 to all others.
            for ((doc, _), buffer) in drawn.compared.iter().zip(&mut sets) {
                if drawn.compared.len() > 1 && !words(*doc, buffer)? {
                    buffer.clear();
                }
            }

            // Pairs that are compared also count for the other pairs of their value.
            let all = (drawn.documents * (drawn.documents - 1)) as f64;
            let compared = (drawn.compared.len() * (drawn.compared.len() - 1)) as f64;
            for (at, (a, a_bands)) in drawn.compared.iter().enumerate() {
                for (other, (b, b_bands)) in drawn.compared.iter().enumerate().skip(at + 1) {
                    let similarity = match near.verify {
                        Verify::Exact => jaccard(&sets[at], &sets[other]).0,
                        Verify::Estimate => equal_share(&sets[at], &sets[other]),
                    };
                    if similarity == 0.0 || (*a >= own && *b >= own) {
                        continue;
                    }
                    pairs.push(Pair {
                        value: *value,
                        similarity,
                        weight: all / compared / similarity,
                        share_band: a_bands.iter().zip(b_bands).any(|(a, b)| a == b),
                        both_kept: !removed.contains(*a) && !removed.contains(*b),
                    });
                }
            }
        }

        Ok(Measured {
            pairs,
            bands: near.bands,
            rows: near.rows,
        })
    }
}

/// A pair of documents that was compared.
struct Pair {
    /// The probe that both documents have.
    value: u64,
    /// Jaccard similarity, exact or estimated, in (0, 1].
    similarity: f64,
    /// The expected number of pairs in the corpus that this pair stands for, up to a factor common
    /// to all pairs.
    weight: f64,
    share_band: bool,
    both_kept: bool,
}

/// The pairs that were compared, and the banding of the run.
pub(super) struct Measured {
    pairs: Vec<Pair>,
    bands: u32,
    rows: u32,
}

/// A share with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    value: f64,
    low: f64,
    high: f64,
}

impl Measured {
    /// A note for the log: how well shared band keys find the pairs of similarity `least` or more,
    /// as recall and precision.
    pub(super) fn note(&self, least: f64) -> String {
        let alike = || self.pairs.iter().filter(|pair| pair.similarity >= least);
        let candidates = || self.pairs.iter().filter(|pair| pair.share_band);
        let (n, of_candidates) = (alike().count(), candidates().count());

        let recall = share(alike().map(|pair| (pair, pair.share_band)));
        let precision = share(candidates().map(|pair| (pair, pair.similarity >= least)));
        let Some(recall) = recall else {
            return format!(
                "the sample of {} pairs has no pair of similarity {least} or more",
                self.pairs.len()
            );
        };

        let precision = precision.map_or_else(
            || "no sampled pair shares one".to_owned(),
            |precision| {
                format!(
                    "of {of_candidates} sampled pairs that share a band key, {} have this similarity",
                    precision.text()
                )
            },
        );
        format!(
            "of {n} sampled pairs of similarity {least} or more, {} share a band key; {precision}",
            recall.text()
        )
    }

    /// The table `near_dedup_sample`: one row for each tenth of similarity.
    ///
    /// # Errors
    /// If the columns are not those of the schema.
    pub(super) fn table(&self) -> Result<RecordBatch> {
        let mut deciles: Vec<Vec<&Pair>> = vec![Vec::new(); 10];
        for pair in &self.pairs {
            // Pairs of similarity 1 belong to the last row.
            deciles[((pair.similarity * 10.0) as usize).min(9)].push(pair);
        }

        let number = |get: &dyn Fn(&[&Pair]) -> Option<f64>| -> ArrayRef {
            Arc::new(Float64Array::from_iter(
                deciles.iter().map(|pairs| get(pairs)),
            ))
        };
        let found = |pairs: &[&Pair]| share(pairs.iter().map(|pair| (*pair, pair.share_band)));
        let bounds = |above: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(
                (above..above + 10).map(|tenths| tenths as f64 / 10.0),
            ))
        };

        let columns = vec![
            bounds(0),
            bounds(1),
            Arc::new(UInt64Array::from_iter_values(
                deciles.iter().map(|pairs| pairs.len() as u64),
            )) as ArrayRef,
            number(&|pairs| found(pairs).map(|share| share.value)),
            number(&|pairs| found(pairs).map(|share| share.low)),
            number(&|pairs| found(pairs).map(|share| share.high)),
            number(&|pairs| self.expected(pairs)),
            number(&|pairs| {
                share(pairs.iter().map(|pair| (*pair, pair.both_kept))).map(|share| share.value)
            }),
        ];
        Ok(RecordBatch::try_new(
            tables::schema("near_dedup_sample"),
            columns,
        )?)
    }

    /// The weighted share of pairs that are expected to share a band key; `None` without pairs.
    fn expected(&self, pairs: &[&Pair]) -> Option<f64> {
        let weights: f64 = pairs.iter().map(|pair| pair.weight).sum();
        let expected: f64 = pairs
            .iter()
            .map(|pair| pair.weight * self.s_curve(pair.similarity))
            .sum();
        (weights > 0.0).then(|| expected / weights)
    }

    /// The probability that two documents of a similarity share a band key.
    fn s_curve(&self, similarity: f64) -> f64 {
        1.0 - (1.0 - similarity.powi(self.rows as i32)).powi(self.bands as i32)
    }
}

impl Share {
    /// The share with its interval, in per cent.
    fn text(self) -> String {
        format!(
            "{:.1} % ({:.1} to {:.1})",
            100.0 * self.value,
            100.0 * self.low,
            100.0 * self.high
        )
    }
}

/// The weighted share of the pairs whose flag is true, with Wilson's interval (1927) for the
/// effective number of pairs. `None` without pairs.
///
/// Pairs of one probe value share documents, so they are not independent. The variance is that of a
/// ratio of sums over values (Taylor linearisation; Cochran 1977, section 6.3). If the variance
/// vanishes because all pairs agree, values count instead of pairs. Pairs of one value must come
/// one after the other.
fn share<'a>(pairs: impl Iterator<Item = (&'a Pair, bool)>) -> Option<Share> {
    let pairs: Vec<(&Pair, bool)> = pairs.collect();
    let sum = |get: &dyn Fn(&(&Pair, bool)) -> f64| pairs.iter().map(get).sum::<f64>();
    let weights = sum(&|(pair, _)| pair.weight);
    if weights == 0.0 {
        return None;
    }
    let value = sum(&|(pair, is_so)| if *is_so { pair.weight } else { 0.0 }) / weights;

    let (mut variance, mut of_values) = (0.0, 0.0);
    for drawn in pairs.chunk_by(|a, b| a.0.value == b.0.value) {
        variance += drawn
            .iter()
            .map(|(pair, is_so)| pair.weight * (f64::from(*is_so) - value))
            .sum::<f64>()
            .powi(2);
        of_values += drawn
            .iter()
            .map(|(pair, _)| pair.weight)
            .sum::<f64>()
            .powi(2);
    }

    // The effective number of pairs has two bounds: the pairs of a value tell as little as one
    // pair, or all pairs are independent.
    let n_values = weights * weights / of_values;
    let n_pairs = weights * weights / sum(&|(pair, _)| pair.weight * pair.weight);
    let n = match variance {
        0.0 => n_values,
        _ => (value * (1.0 - value) * weights * weights / variance)
            .clamp(n_values, n_pairs.max(n_values)),
    };

    // The 97.5 % quantile of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    let middle = (value + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Share {
        value,
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
    })
}

/// A hash of a probe value or of a document's number. The order of hashes draws the sample.
fn mixed(probe: u64) -> u64 {
    let mixed = (probe ^ probe >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 29).wrapping_mul(0x94d0_49bb_1331_11eb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ListBuilder, UInt64Builder};

    fn pair(value: u64, similarity: f64, share_band: bool) -> Pair {
        Pair {
            value,
            similarity,
            weight: 1.0 / similarity,
            share_band,
            both_kept: true,
        }
    }

    fn band_share(pairs: &[Pair]) -> Share {
        share(pairs.iter().map(|pair| (pair, pair.share_band))).expect("pairs")
    }

    #[test]
    fn wilson_by_hand() {
        // Wilson 1927 for 9 of 10: 0.5958 to 0.9821 (R: binom.confint(9, 10, methods = "wilson")).
        let nine: Vec<Pair> = (0..10).map(|n| pair(n, 0.4, n > 0)).collect();
        let nine = band_share(&nine);

        assert!((nine.value - 0.9).abs() < 1e-12, "{nine:?}");
        assert!(
            (nine.low - 0.5958).abs() < 1e-4 && (nine.high - 0.9821).abs() < 1e-4,
            "{nine:?}"
        );
        assert_eq!(share(std::iter::empty()), None);
    }

    #[test]
    fn pairs_of_one_value_count_as_little_as_they_tell() {
        let agree: Vec<Pair> = (0..40)
            .map(|n| pair(n / 4, 0.9, (n / 4) % 2 == 0))
            .collect();
        let apart: Vec<Pair> = (0..10).map(|n| pair(n, 0.9, n % 2 == 0)).collect();
        // Four pairs that always agree are worth one.
        let (agree, apart) = (band_share(&agree), band_share(&apart));
        assert!(
            (agree.low - apart.low).abs() < 1e-12 && (agree.high - apart.high).abs() < 1e-12,
            "{agree:?} {apart:?}"
        );
    }

    #[test]
    fn weights_undo_how_pairs_were_drawn() {
        // A pair of similarity 0.1 is drawn a tenth as often as one of 1, and counts ten times.
        let pairs = vec![pair(1, 0.1, false), pair(2, 1.0, true)];
        assert!((band_share(&pairs).value - 1.0 / 11.0).abs() < 1e-12);

        let measured = Measured {
            pairs,
            bands: 14,
            rows: 8,
        };
        assert!((measured.s_curve(0.8) - 0.923_55).abs() < 1e-4);

        let table = measured.table().expect("ten rows");
        assert_eq!(
            (
                table.num_rows(),
                table.column(2).as_primitive::<UInt64Type>().value(9)
            ),
            (10, 1)
        );
    }

    #[test]
    fn a_sample_counts_the_pairs_of_the_corpus_whatever_their_similarity() {
        const PAIRS: u64 = 3_000;
        let shingle = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n << 7;
        // Pair n has the documents 2n and 2n + 1. Of 60 shingles, even pairs share 20 and odd pairs
        // share 57.
        let set = |doc: u64| {
            let common = if (doc / 2).is_multiple_of(2) { 20 } else { 57 };
            let mut set: Vec<u64> = (0..60)
                .map(|at| shingle(1_000 * (if at < common { doc / 2 * 2 } else { doc }) + at))
                .collect();
            set.sort_unstable();
            set
        };

        let probes: UInt64Array = (0..2 * PAIRS)
            .map(|doc| curate_scorers::minhash::probe(&set(doc)))
            .collect();
        let mut bands = ListBuilder::new(UInt64Builder::new());
        (0..2 * PAIRS).for_each(|doc| bands.append_value([Some(doc / 2)]));
        let columns: [(&str, ArrayRef); 2] = [
            ("probe", Arc::new(probes)),
            ("bands", Arc::new(bands.finish())),
        ];

        let sample = PairSample::new(1);
        sample
            .add(0, &RecordBatch::try_from_iter(columns).expect("a batch"))
            .expect("both columns");
        let words = |doc, buffer: &mut Vec<u64>| {
            *buffer = set(doc);
            Ok(true)
        };
        let measured = sample
            .measure(
                &NearDedup::default(),
                2 * PAIRS,
                words,
                &Bits::new(2 * PAIRS),
            )
            .expect("sets");

        for (similarity, drawn) in [(20.0 / 100.0, 0.2), (57.0 / 63.0, 0.9)] {
            let like: Vec<&Pair> = measured
                .pairs
                .iter()
                .filter(|pair| (pair.similarity - similarity).abs() < 1e-9)
                .collect();
            let weight: f64 = like.iter().map(|pair| pair.weight).sum();
            let expected = PAIRS as f64 / 2.0;

            assert!(
                (like.len() as f64 / expected - drawn).abs() < 0.05,
                "{} of {expected} drawn",
                like.len()
            );
            assert!(
                (weight / expected - 1.0).abs() < 0.15,
                "similarity {similarity}: {weight} pairs, there are {expected}"
            );
            assert!(like.iter().all(|pair| pair.share_band && pair.both_kept));
        }
    }

    #[test]
    fn tenths_lie_in_their_own_row() {
        let pairs: Vec<Pair> = (1..10).map(|n| pair(n, n as f64 / 10.0, true)).collect();
        let table = Measured {
            pairs,
            bands: 14,
            rows: 8,
        }
        .table()
        .expect("ten rows");
        assert_eq!(
            table.column(2).as_primitive::<UInt64Type>().values()[..],
            [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
        );
    }
}
