//! What deduplication compares: a hash of the text and MinHash band keys, for each document that
//! `language` kept.

use std::sync::Arc;

use curate_schemas::manifest::{ExactDedup, ExactText, Family, Manifest, NearDedup, Shingles};
use curate_schemas::tables;
use curate_scorers::datatrove::{self, MersenneMinHash};
use curate_scorers::minhash::{self, MinHash};
use curate_scorers::{normalize, shingles};
use datafusion::arrow::array::{
    Array, ArrayRef, FixedSizeBinaryBuilder, ListBuilder, StringArray, StructArray, UInt32Builder,
    UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::edits::TextColumns;
use crate::function::{Function, setting, text};
use crate::{Read, ShardStage, Stage, if_reached, read, select_table};

const COLUMNS: [&str; 6] = [
    "text_hash",
    "normalized_hash",
    "n_shingles",
    "probe",
    "bands",
    "signature",
];

/// The stage `signatures`.
pub struct SignaturesStage {
    near: Option<NearDedup>,
    exact: ExactDedup,
    seed: u64,
    text: TextColumns,
}

impl SignaturesStage {
    /// The stage as the manifest sets it; without `[dedup.near]` there are no band keys.
    pub fn new(manifest: &Manifest) -> Self {
        SignaturesStage {
            near: manifest.dedup.near.clone(),
            exact: manifest.dedup.exact.clone().unwrap_or_default(),
            seed: manifest.run.seed,
            text: TextColumns::new(manifest),
        }
    }

    /// The columns of some texts, by name, without a plan.
    #[cfg(test)]
    pub(crate) fn sign_all(
        near: &NearDedup,
        seed: u64,
        texts: &[String],
    ) -> Result<Vec<(&'static str, ArrayRef)>> {
        let settings = settings(Some(near), seed, false);
        Ok(COLUMNS
            .into_iter()
            .zip(sign(&StringArray::from_iter_values(texts), settings)?)
            .collect())
    }

    fn normalizes(&self) -> bool {
        self.exact.text == ExactText::Normalized
    }
}

impl Stage for SignaturesStage {
    fn name(&self) -> &'static str {
        "signatures"
    }

    fn version(&self) -> u32 {
        2
    }

    fn config(&self) -> Value {
        let near = self.near.as_ref().map(|near| {
            json!({
                "ngram": near.ngram, "bands": near.bands, "rows": near.rows, "seed": self.seed, "shingles": near.shingles,
                "family": near.family, "keep_signatures": near.keep_signatures,
            })
        });
        json!({ "near": near, "normalized": self.normalizes(), "url": self.exact.url })
    }

    fn follows(&self) -> &'static str {
        match self.text {
            TextColumns::Plain => "language",
            TextColumns::Edited(table) => table,
        }
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = self.text.reads();
        if self.exact.url {
            reads.push(read("documents", "url"));
        }
        reads
    }
}

impl ShardStage for SignaturesStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let settings = settings(self.near.as_ref(), self.seed, self.normalizes());
        let mut plan =
            input.with_column("made", if_reached(signature(self.text.text(), settings))?)?;
        for column in COLUMNS {
            plan = plan.with_column(column, get_field(col("made"), column))?;
        }
        let url_hash = if self.exact.url {
            if_reached(url_hash(col("url")))?
        } else {
            lit(ScalarValue::FixedSizeBinary(16, None))
        };
        select_table(plan.with_column("url_hash", url_hash)?, "signatures")
    }
}

/// What the kernel needs to know; no band keys for the first of 0.
fn settings(near: Option<&NearDedup>, seed: u64, normalizes: bool) -> [u64; 8] {
    let of = |get: fn(&NearDedup) -> u64| near.map_or(0, get);
    [
        of(|near| near.ngram.into()),
        of(|near| near.bands.into()),
        of(|near| near.rows.into()),
        seed,
        of(|near| near.shingles as u64),
        of(|near| near.family as u64),
        of(|near| near.keep_signatures.into()),
        normalizes.into(),
    ]
}

/// `signature(text, settings…) -> {text_hash, …}`, with the values of [`settings`].
fn signature(text_column: Expr, settings: [u64; 8]) -> Expr {
    let schema = tables::schema("signatures");
    let fields: Fields = COLUMNS
        .iter()
        .map(|name| schema.field_with_name(name).expect("declared").clone())
        .collect();
    let output = fields.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let mut settings = [0; 8];
        for (at, value) in settings.iter_mut().enumerate() {
            *value = setting(columns, at + 1)?;
        }
        let made = sign(text(columns, 0)?, settings)?;
        Ok(Arc::new(StructArray::try_new(output.clone(), made, None)?))
    };
    let mut arguments = vec![text_column];
    arguments.extend(settings.map(lit));
    Function::new("signature", DataType::Struct(fields), kernel).call(arguments)
}

fn sign(texts: &StringArray, settings: [u64; 8]) -> Result<Vec<ArrayRef>> {
    let [ngram, bands, rows, seed, words, family, keep, normalize] = settings;
    let (bands, rows) = (bands as usize, rows as usize);
    let words = if words == Shingles::Words as u64 {
        Shingles::Words
    } else {
        Shingles::Datatrove010
    };
    let family = if family == Family::Fast as u64 {
        Family::Fast
    } else {
        Family::Datatrove010
    };
    let mut permutations = (ngram > 0).then(|| Permutations::new(family, bands, rows, seed));
    let mut hashes = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
    let mut normalized = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
    let (mut counts, mut probes) = (UInt32Builder::new(), UInt64Builder::new());
    let list = || {
        ListBuilder::new(UInt64Builder::new()).with_field(Field::new(
            "item",
            DataType::UInt64,
            false,
        ))
    };
    let (mut keys, mut signatures) = (list(), list());
    let (mut grams, mut band_keys) = (Vec::new(), Vec::new());
    for text in texts.iter().map(Option::unwrap_or_default) {
        hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
        match normalize {
            0 => normalized.append_null(),
            _ => normalized.append_value(normalize::text_hash(text).to_be_bytes())?,
        }
        grams.clear();
        match &permutations {
            Some(_) => {
                shingles_of(words, text, ngram as usize, &mut grams);
                counts.append_value(u32::try_from(grams.len()).unwrap_or(u32::MAX));
            }
            None => counts.append_null(),
        }
        probes.append_option(minhash::probe(&grams));
        let Some(permutations) = permutations.as_mut().filter(|_| !grams.is_empty()) else {
            keys.append_null();
            signatures.append_null();
            continue;
        };
        permutations.sign(&grams, &mut band_keys);
        keys.values().append_slice(&band_keys);
        keys.append(true);
        if keep == 1 {
            permutations.append_to(signatures.values());
        }
        signatures.append(keep == 1);
    }
    Ok(vec![
        Arc::new(hashes.finish()),
        Arc::new(normalized.finish()),
        Arc::new(counts.finish()),
        Arc::new(probes.finish()),
        Arc::new(keys.finish()),
        Arc::new(signatures.finish()),
    ])
}

/// Replaces `out` by one hash for each shingle of a text, repeats included.
pub(crate) fn shingles_of(words: Shingles, text: &str, ngram: usize, out: &mut Vec<u64>) {
    match words {
        Shingles::Words => shingles::shingles(text, ngram, out),
        Shingles::Datatrove010 => datatrove::shingles(text, ngram, out),
    }
}

/// The permutations of either family, with room for a signature.
enum Permutations {
    Fast(MinHash, Vec<u32>),
    Datatrove(MersenneMinHash, Vec<u64>),
}

impl Permutations {
    fn new(family: Family, bands: usize, rows: usize, seed: u64) -> Permutations {
        match family {
            Family::Fast => {
                Permutations::Fast(MinHash::new(bands, rows, seed), vec![0; bands * rows])
            }
            // The manifest's check refuses greater seeds.
            Family::Datatrove010 => Permutations::Datatrove(
                MersenneMinHash::new(bands, rows, seed as u32),
                vec![0; bands * rows],
            ),
        }
    }

    fn sign(&mut self, shingles: &[u64], band_keys: &mut Vec<u64>) {
        match self {
            Permutations::Fast(minhash, signature) => {
                minhash.signature(shingles, signature);
                minhash.band_keys(signature, band_keys);
            }
            Permutations::Datatrove(minhash, signature) => {
                minhash.signature(shingles, signature);
                minhash.band_keys(signature, band_keys);
            }
        }
    }

    /// Appends the values of the last signature.
    fn append_to(&self, values: &mut UInt64Builder) {
        match self {
            Permutations::Fast(_, signature) => signature
                .iter()
                .for_each(|value| values.append_value(u64::from(*value))),
            Permutations::Datatrove(_, signature) => values.append_slice(signature),
        }
    }
}

/// `url_hash(url) -> hash`.
fn url_hash(url: Expr) -> Expr {
    let kernel = |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let mut hashes = FixedSizeBinaryBuilder::with_capacity(columns[0].len(), 16);
        for url in text(columns, 0)? {
            match url.and_then(normalize::url_hash) {
                Some(hash) => hashes.append_value(hash.to_be_bytes())?,
                None => hashes.append_null(),
            }
        }
        Ok(Arc::new(hashes.finish()))
    };
    Function::new("url_hash", DataType::FixedSizeBinary(16), kernel).call(vec![url])
}
