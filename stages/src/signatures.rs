//! What deduplication compares: a hash of the text and MinHash band keys, for each document that
//! `language` kept.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeBinaryBuilder, ListBuilder, StringArray, StructArray, UInt32Builder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::exact_dedup::{ExactDedup, ExactText};
use curate_schemas::stages::near_dedup::{Family, NearDedup, Shingles};
use curate_schemas::stages::signatures::SIGNATURES;
use curate_schemas::tables;
use curate_scorers::datatrove::{self, MersenneMinHash};
use curate_scorers::minhash::{self, MinHash};
use curate_scorers::{normalize, shingles};
use datafusion_expr::{Expr, col, lit};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::Result;
use crate::function::{Function, field, fields_of, text};
use crate::plan::{Plan, if_reached, null_of};
use crate::resources::Opening;
use crate::text::TextSource;
use crate::{Read, ShardStage, Stage, read};

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
    settings: Settings,
    url: bool,
    text: TextSource,
}

/// Settings of the signatures of a text.
#[derive(Debug, Clone)]
struct Settings {
    /// `None`: no band keys.
    near: Option<NearDedup>,
    seed: u64,
    /// True if the hash of the normalised text is made.
    normalizes: bool,
}

impl SignaturesStage {
    /// The stage as the manifest sets it; without `[dedup.near]` there are no band keys.
    pub fn open(opening: &Opening) -> Self {
        let manifest = opening.manifest;
        let exact = manifest.dedup.exact.clone().unwrap_or_default();
        let ExactDedup { text, url } = exact;
        SignaturesStage {
            settings: Settings {
                near: manifest.dedup.near.clone(),
                seed: manifest.run.seed,
                normalizes: text == ExactText::Normalized,
            },
            url,
            text: TextSource::before(SIGNATURES.name, manifest),
        }
    }

    /// The columns of some texts, by name, without a plan.
    #[cfg(test)]
    pub(crate) fn sign_all(
        near: &NearDedup,
        seed: u64,
        texts: &[String],
    ) -> Result<Vec<(&'static str, ArrayRef)>> {
        let settings = Settings {
            near: Some(near.clone()),
            seed,
            normalizes: false,
        };
        let signed = sign(&StringArray::from_iter_values(texts), &settings)?;
        Ok(COLUMNS.into_iter().zip(signed).collect())
    }
}

impl Stage for SignaturesStage {
    fn spec(&self) -> &'static StageSpec {
        &SIGNATURES
    }

    fn config(&self) -> Value {
        let Settings {
            near,
            seed,
            normalizes,
        } = &self.settings;
        let near = near.as_ref().map(|near| {
            json!({
                "ngram": near.ngram,
                "bands": near.bands,
                "rows": near.rows,
                "seed": seed,
                "shingles": near.shingles,
                "family": near.family,
                "keep_signatures": near.keep_signatures,
            })
        });
        json!({ "near": near, "normalized": normalizes, "url": self.url })
    }

    fn follows(&self) -> &'static str {
        // Edits are read with the same table. It removes nothing, so the same documents arrive.
        self.text
            .tables()
            .last()
            .copied()
            .unwrap_or(SIGNATURES.follows)
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = self.text.reads();
        if self.url {
            reads.push(read("documents", "url"));
        }
        reads
    }
}

impl ShardStage for SignaturesStage {
    fn plan(&self, input: Plan, _: u64) -> Result<Plan> {
        let schema = tables::schema(SIGNATURES.name);
        let made = if_reached(signature(self.text.text(), self))?;

        let mut plan = input.with_column("made", made)?;
        for column in COLUMNS {
            let data_type = schema.field_with_name(column)?.data_type().clone();
            plan = plan.with_column(column, field(col("made"), column, data_type))?;
        }
        let url_hash = match self.url {
            true => if_reached(url_hash(col("url")))?,
            false => null_of(SIGNATURES.name, "url_hash")?,
        };
        plan.with_column("url_hash", url_hash)
    }
}

/// `signature(text, settings) -> {text_hash, …}`.
fn signature(text_column: Expr, stage: &SignaturesStage) -> Expr {
    let output = fields_of(SIGNATURES.name, &COLUMNS);
    let fields = output.clone();
    let settings = stage.settings.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let made = sign(text(columns, 0)?, &settings)?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), made, None)?))
    };
    let shown = lit(stage.config().to_string());
    Function::new("signature", DataType::Struct(output), kernel).call(vec![text_column, shown])
}

fn sign(texts: &StringArray, settings: &Settings) -> Result<Vec<ArrayRef>> {
    let near = settings.near.clone().unwrap_or_default();
    let (ngram, words) = (near.ngram as usize, near.shingles);
    let (bands, rows) = (near.bands as usize, near.rows as usize);
    let keeps = near.keep_signatures;
    let mut permutations = settings
        .near
        .as_ref()
        .map(|near| Permutations::new(near.family, bands, rows, settings.seed));
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
        match settings.normalizes {
            true => normalized.append_value(normalize::text_hash(text).to_be_bytes())?,
            false => normalized.append_null(),
        }
        grams.clear();
        match &permutations {
            Some(_) => {
                shingles_of(words, text, ngram, &mut grams);
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
        if keeps {
            permutations.append_to(signatures.values());
        }
        signatures.append(keeps);
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
