//! Repeated paragraphs or lines are cut out as edits. A unit is repeated if it occurs in an earlier
//! document, or earlier in the same document. The first occurrence in the order of documents stays.
//!
//! The method is that of dolma's `dedupe_paragraphs` (Soldaini et al. 2024, arXiv:2402.00159). It
//! departs in the set of units, whose size follows from the number of units. `set = "exact"` holds
//! every hash. `set = "bloom"` is a filter with a stated rate of false positives, and each false
//! positive cuts out a unit that is not repeated.
//!
//! Cost: one pass over the texts of survivors writes 24 bytes per unit into partitions that spill.
//! Then one thread reads the units in order. Memory: about 12 bytes per kept unit (exact), or
//! −ln p / ln² 2 bits per unit for a rate of p, which is 3.6 bytes for 10⁻⁶ (Bloom 1970).

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringBuilder, UInt64Array, UInt64Builder};
use arrow::datatypes::UInt64Type;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::paragraph_dedup::{
    NOTHING_LEFT, PARAGRAPH_DEDUP, ParagraphDedup, SeenSet, TextUnit,
};
use curate_scorers::paragraphs::{Span, Unit, spans};
use curate_scorers::unseen::is_blank;
use probabilistic_collections::bloom::BloomFilter;
use serde_json::{Value, json};

use crate::bits::Bits;
use crate::corpus::{Corpus, CorpusStage, Decision, own_documents, shard_of};
use crate::error::{Result, StageError};
use crate::resources::Opening;
use crate::spill::{Spill, pairs, pairs_mut};
use crate::text::{EditLists, TextSource};
use crate::{Read, Stage, bytes_read, column, is_reached};

/// The stage `paragraph_dedup`, with its settings.
pub struct ParagraphDedupStage {
    paragraphs: Option<ParagraphDedup>,
    seed: u64,
    text: TextSource,
}

impl ParagraphDedupStage {
    /// The stage with the settings of the manifest. Without `[dedup.paragraphs]` it cuts nothing.
    pub fn open(opening: &Opening) -> Self {
        ParagraphDedupStage {
            paragraphs: opening.manifest.dedup.paragraphs.clone(),
            seed: opening.manifest.run.seed,
            text: TextSource::before(PARAGRAPH_DEDUP.name, opening.manifest),
        }
    }
}

impl Stage for ParagraphDedupStage {
    fn spec(&self) -> &'static StageSpec {
        &PARAGRAPH_DEDUP
    }

    fn config(&self) -> Value {
        // The exact set has no seed, so another seed must not change its key.
        let seed = self
            .paragraphs
            .as_ref()
            .filter(|paragraphs| paragraphs.set == SeenSet::Bloom)
            .map(|_| self.seed);
        json!({ "paragraphs": self.paragraphs, "seed": seed })
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = vec![bytes_read(PARAGRAPH_DEDUP.name)];
        if self.paragraphs.is_some() {
            reads.extend(self.text.reads());
        }
        reads
    }
}

impl CorpusStage for ParagraphDedupStage {
    fn decide<'a>(&'a self, corpus: &'a dyn Corpus) -> Result<Decision<'a>> {
        // The two spills here take a sixteenth of the memory each. `cut` takes a quarter for its
        // units, and `Seen` up to a half.
        let by_shard = || {
            Spill::new(
                corpus.spill(),
                corpus.firsts().len() - 1,
                corpus.memory() / 16,
            )
        };

        let own = own_documents(corpus);
        let (lengths, reached) = (by_shard()?, Bits::new(own));
        corpus.scan(&[bytes_read(PARAGRAPH_DEDUP.name)], &|first, batch| {
            // Documents of earlier runs are neither cut nor compared.
            if first >= own {
                return Ok(());
            }

            let bytes = column(batch, "bytes")?
                .as_primitive::<UInt64Type>()
                .values();
            (0..batch.num_rows())
                .filter(|row| is_reached(batch, *row))
                .for_each(|row| reached.insert(first + row as u64));

            // All rows of a batch are of one shard.
            let rows: Vec<u64> = (first..)
                .zip(bytes)
                .flat_map(|(doc, bytes)| [doc, *bytes])
                .collect();
            lengths
                .push(shard_of(corpus.firsts(), first), &rows)
                .map(|_| ())
        })?;

        let cuts = by_shard()?;
        let mut notes = Vec::new();
        if let Some(paragraphs) = &self.paragraphs {
            notes.push(self.cut(corpus, paragraphs, &reached, &cuts)?);
        }

        let annotations = move |shard| annotations(lengths.read(shard)?, &cuts.read(shard)?);
        Ok(Decision {
            notes,
            ..Decision::of(Box::new(annotations))
        })
    }
}

impl ParagraphDedupStage {
    /// Finds the spans that are cut out, and writes them into the partition of their shard. A row
    /// of `cuts` has the document, 1 if nothing is left of its text, the number of spans, and the
    /// start and end of each span. Returns a note for the log.
    fn cut(
        &self,
        corpus: &dyn Corpus,
        paragraphs: &ParagraphDedup,
        reached: &Bits,
        cuts: &Spill,
    ) -> Result<String> {
        let (units, total) = self.units(corpus, paragraphs, reached)?;
        let mut seen = Seen::new(paragraphs, total, corpus.memory() / 2, self.seed)?;

        // One thread, shard after shard: which unit is the first depends on the order.
        let (mut found, mut documents) = (0u64, 0u64);
        for shard in 0..corpus.firsts().len() - 1 {
            corpus.check()?;
            let words = units.take(shard)?;
            for row in in_order(&words) {
                let (repeated, n) = repeated(row, &mut seen);
                // No unit is blank, so the rest must be, and every unit must go. A text that was
                // blank before has no units.
                let is_left = row[1] == 1 || n < row[2];
                if repeated.is_empty() && is_left {
                    continue;
                }

                found += n;
                documents += u64::from(n > 0);
                let head = [row[0], u64::from(!is_left), repeated.len() as u64 / 2];
                cuts.push(shard, &[&head[..], &repeated].concat())?;
            }
        }

        let least = paragraphs.min_len;
        Ok(format!(
            "{found} of {total} units of {least} characters or more stand before, in {documents} documents"
        ))
    }

    /// The units of all texts that reach the stage, in a partition for each shard, and the number
    /// of units. A row has the document, 1 if the text outside of its units shows something, the
    /// number of its units, and the hash, start and end of each unit.
    fn units(
        &self,
        corpus: &dyn Corpus,
        paragraphs: &ParagraphDedup,
        reached: &Bits,
    ) -> Result<(Spill, u64)> {
        let unit = match paragraphs.unit {
            TextUnit::Paragraph => Unit::Paragraph,
            TextUnit::Line => Unit::Line,
        };
        let shards = corpus.firsts().len() - 1;
        let units = Spill::new(corpus.spill(), shards, corpus.memory() / 4)?;
        let (own, total) = (own_documents(corpus), AtomicU64::new(0));

        corpus.texts(
            &self.text,
            &|doc| doc < own && reached.contains(doc),
            &|doc, text| {
                let (mut row, mut rest_is_blank, mut at) = (vec![doc, 0, 0], true, 0);
                for Span { range, hash } in spans(text, unit, paragraphs.min_len as usize) {
                    rest_is_blank = rest_is_blank && is_blank(&text[at..range.start]);
                    at = range.end;
                    row.extend([hash, range.start as u64, range.end as u64]);
                }
                rest_is_blank = rest_is_blank && is_blank(&text[at..]);

                // Both are known only now.
                row[1] = u64::from(!rest_is_blank);
                row[2] = (row.len() as u64 - 3) / 3;
                total.fetch_add(row[2], Relaxed);
                units.push(shard_of(corpus.firsts(), doc), &row).map(|_| ())
            },
        )?;
        Ok((units, total.into_inner()))
    }
}

/// The starts and ends of the spans of a row that `seen` holds already, and the number of these
/// units. The other units of the row are added to `seen`.
fn repeated(row: &[u64], seen: &mut Seen) -> (Vec<u64>, u64) {
    let (mut repeated, mut found): (Vec<u64>, u64) = (Vec::new(), 0);
    for [hash, start, end] in row[3..].as_chunks::<3>().0 {
        if seen.insert(*hash) {
            continue;
        }

        found += 1;
        // Units that touch are one edit.
        match repeated.last_mut() {
            Some(last) if last == start => *last = *end,
            _ => repeated.extend([*start, *end]),
        }
    }
    (repeated, found)
}

/// The rows of a partition, sorted by document. The third word of a row is its number of units.
fn in_order(words: &[u64]) -> Vec<&[u64]> {
    let (mut rows, mut at) = (Vec::new(), 0);
    while at < words.len() {
        let end = at + 3 + 3 * words[at + 2] as usize;
        rows.push(&words[at..end]);
        at = end;
    }

    // Threads have pushed the rows in no defined order.
    rows.sort_unstable_by_key(|row| row[0]);
    rows
}

/// The set of the units seen so far, by their hashes.
enum Seen {
    Exact(HashSet<u64, BuildHasherDefault<Hash>>),
    Bloom(BloomFilter<u64, Seeded>),
}

impl Seen {
    /// An empty set for `units` units.
    ///
    /// # Errors
    /// [`StageError::Manifest`] if the set may need more than `memory` bytes.
    fn new(paragraphs: &ParagraphDedup, units: u64, memory: u64, seed: u64) -> Result<Seen> {
        let rate = paragraphs.false_positive_rate;
        let bytes = match paragraphs.set {
            // A place in a hash table of the standard library takes nine bytes: a hash, and one
            // byte more. At least 7/16 of the places are full after the table has grown.
            SeenSet::Exact => 21 * units,
            SeenSet::Bloom => {
                (units as f64 * -rate.ln() / std::f64::consts::LN_2.powi(2) / 8.0) as u64
            }
        };

        // Refused before the first unit is added, not when the memory is full.
        if bytes > memory {
            let (has, needs) = (memory >> 20, bytes.div_ceil(1 << 20));
            let message = format!(
                "dedup.paragraphs: a set of {units} units takes up to {needs} MiB, but half of run.memory is {has} MiB; raise run.memory{}",
                if paragraphs.set == SeenSet::Exact {
                    ", or write set = \"bloom\""
                } else {
                    ""
                }
            );
            return Err(StageError::manifest(message));
        }

        Ok(match paragraphs.set {
            SeenSet::Exact => Seen::Exact(HashSet::default()),
            SeenSet::Bloom => {
                // The hashers of the crate have random seeds, so two runs would differ.
                let hashers = [Seeded(seed), Seeded(!seed)];
                Seen::Bloom(BloomFilter::with_hashers(
                    units.max(1) as usize,
                    rate,
                    hashers,
                ))
            }
        })
    }

    /// Adds a unit. True if the set did not hold it before.
    fn insert(&mut self, hash: u64) -> bool {
        match self {
            Seen::Exact(seen) => seen.insert(hash),
            Seen::Bloom(seen) => {
                let is_new = !seen.contains(&hash);
                seen.insert(&hash);
                is_new
            }
        }
    }
}

/// Makes a `Hash` that begins with a seed.
#[derive(Clone, Copy)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = Hash;

    fn build_hasher(&self) -> Hash {
        Hash(self.0)
    }
}

/// A hasher for words that are hashes already. The finaliser of SplitMix64 mixes them with a seed
/// (Steele, Lea and Flood 2014).
#[derive(Default)]
struct Hash(u64);

impl Hasher for Hash {
    fn finish(&self) -> u64 {
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A row for every document of a shard. `lengths` holds the document and its bytes, and `cuts` the
/// rows of the spans that are cut out.
fn annotations(mut lengths: Vec<u64>, cuts: &[u64]) -> Result<RecordBatch> {
    // Threads have pushed the lengths in no defined order.
    pairs_mut(&mut lengths).sort_unstable();

    let (mut cut, mut at) = (Vec::new(), 0);
    while at < cuts.len() {
        let end = at + 3 + 2 * cuts[at + 2] as usize;
        cut.push(&cuts[at..end]);
        at = end;
    }

    let mut edits = EditLists::default();
    let (mut docs, mut bytes, mut reasons) =
        (Vec::new(), UInt64Builder::new(), StringBuilder::new());

    // Both are in the order of documents.
    let mut cut = cut.into_iter().peekable();
    for [doc, length] in pairs(&lengths) {
        docs.push(*doc);
        let of_doc = cut.next_if(|row| row[0] == *doc);
        let spans = of_doc.map_or(&[][..], |row| pairs(&row[3..]));

        // A document of which nothing is left is removed whole, without edits.
        let is_left = of_doc.is_none_or(|row| row[1] == 0);
        let left = length - spans.iter().map(|[start, end]| end - start).sum::<u64>();
        reasons.append_option((!is_left).then_some(NOTHING_LEFT));
        bytes.append_value(if is_left { left } else { *length });

        // A text is shorter than 4 GiB, because its column has 32-bit offsets.
        for [start, end] in spans.iter().filter(|_| is_left) {
            edits.push(*start as u32, *end as u32, "", "paragraph_dedup.repeated");
        }
        edits.end_row();
    }

    Ok(RecordBatch::try_from_iter_with_nullable([
        ("doc", Arc::new(UInt64Array::from(docs)) as ArrayRef, false),
        ("removed_by", Arc::new(reasons.finish()), true),
        ("bytes", Arc::new(bytes.finish()), false),
        ("edits", edits.finish()?, true),
    ])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_errs_as_often_as_it_says() {
        let bloom = ParagraphDedup {
            set: SeenSet::Bloom,
            false_positive_rate: 0.01,
            ..ParagraphDedup::default()
        };
        const UNITS: u64 = 50_000;
        let mut seen = Seen::new(&bloom, UNITS, 1 << 30, 7).expect("enough memory");
        let mut errors = (0..UNITS).filter(|unit| !seen.insert(*unit)).count();
        // The rate is lower while the filter fills. No unit that it holds is missed.
        assert!(errors < 300, "{errors} errors");
        assert!((0..UNITS).all(|unit| !seen.insert(unit)));
        errors = (UNITS..2 * UNITS)
            .filter(|unit| matches!(&seen, Seen::Bloom(filter) if filter.contains(unit)))
            .count();
        assert!(
            (300..700).contains(&errors),
            "{errors} errors of 500 expected"
        );
    }

    #[test]
    fn a_set_that_does_not_fit_is_refused() {
        let exact = ParagraphDedup::default();
        let error = Seen::new(&exact, 1 << 30, 1 << 30, 0)
            .err()
            .expect("21 GiB")
            .to_string();
        assert!(
            error.contains("takes up to 21504 MiB") && error.contains("set = \"bloom\""),
            "{error}"
        );
        let bloom = ParagraphDedup {
            set: SeenSet::Bloom,
            ..exact
        };
        assert!(Seen::new(&bloom, 1 << 20, 1 << 30, 0).is_ok());
    }
}
