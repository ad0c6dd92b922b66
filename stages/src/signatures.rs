//! Signatures for deduplication: a hash of the text and MinHash band keys, for each document that
//! `language` kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeBinaryBuilder, ListBuilder, StringArray, StructArray, UInt32Builder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field};
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::documents::Clean;
use curate_schemas::stages::exact_dedup::{ExactDedup, ExactText};
use curate_schemas::stages::near_dedup::{Family, NearDedup, Shingles};
use curate_schemas::stages::signals::SIGNALS;
use curate_schemas::stages::signatures::SIGNATURES;
use curate_schemas::tables;
use curate_scorers::datatrove::{self, MersenneMinHash};
use curate_scorers::minhash::{self, MinHash};
use curate_scorers::words::compared;
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

/// The columns that are made from the text, in the order of [`sign`]'s result.
const COLUMNS: [&str; 6] = [
    "text_hash",
    "normalized_hash",
    "n_shingles",
    "probe",
    "bands",
    "signature",
];

/// The shard stage `signatures`.
pub struct SignaturesStage {
    settings: Settings,
    /// True if URLs are hashed.
    url: bool,
    text: TextSource,
    /// True if `signals` removes what `[clean]` left blank, although it edits nothing.
    cleans: bool,
}

/// Settings of the signatures of a text.
#[derive(Debug, Clone)]
struct Settings {
    /// Settings of band keys; `None`: no band keys are made.
    near: Option<NearDedup>,
    seed: u64,
    /// True if the normalised text is hashed.
    normalizes: bool,
}

impl SignaturesStage {
    /// The stage with the manifest's settings. Without `[dedup.near]` it makes no band keys.
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
            cleans: manifest.clean.as_ref().is_some_and(Clean::rewrites),
        }
    }

    /// The columns for `texts`, by name, without a plan.
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

        // Settings that change no signature, such as `min_jaccard`, are left out of the key.
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

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        // datatrove's shingles have words of their own. This is no part of `config`, because
        // `dedup.against` compares settings first, and an earlier run of another version is to be
        // refused for its version.
        let near = self.settings.near.as_ref();
        let compares_words = near.is_some_and(|near| near.shingles == Shingles::Words);
        (compares_words || self.settings.normalizes)
            .then(|| ("words", compared::WORDS.to_owned()))
            .into_iter()
            .collect()
    }

    fn follows(&self) -> &'static str {
        // The last table with edits is read anyway, and it says of which documents a text is left.
        match self.text.tables().last() {
            Some(last) => last,
            None if self.cleans => SIGNALS.name,
            None => SIGNATURES.follows,
        }
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

/// The function `signature(text, settings) -> {text_hash, …}`.
fn signature(text_column: Expr, stage: &SignaturesStage) -> Expr {
    let output = fields_of(SIGNATURES.name, &COLUMNS);
    let fields = output.clone();
    let settings = stage.settings.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let made = sign(text(columns, 0)?, &settings)?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), made, None)?))
    };

    // The kernel captures its settings. The argument shows them in the plan.
    let shown = lit(stage.config().to_string());
    Function::new("signature", DataType::Struct(output), kernel).call(vec![text_column, shown])
}

/// Makes the columns [`COLUMNS`] for texts. A null text counts as empty.
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
    // The schema's lists have items that are never null, which is not the builder's default.
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

        // All texts without a shingle would have the same signature, so they get no keys.
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

/// Replaces `out` by one hash for each shingle of a text, in order, with repeats.
pub(crate) fn shingles_of(words: Shingles, text: &str, ngram: usize, out: &mut Vec<u64>) {
    match words {
        Shingles::Words => shingles::shingles(text, ngram, out),
        Shingles::Datatrove010 => datatrove::shingles(text, ngram, out),
    }
}

/// The permutations of a family, with the signature that was made last.
enum Permutations {
    Fast(MinHash, Vec<u32>),
    Datatrove(MersenneMinHash, Vec<u64>),
}

impl Permutations {
    /// The permutations for a seed, which is below 2^32 for datatrove's family.
    fn new(family: Family, bands: usize, rows: usize, seed: u64) -> Permutations {
        match family {
            Family::Fast => {
                Permutations::Fast(MinHash::new(bands, rows, seed), vec![0; bands * rows])
            }
            // The cast is exact: the manifest's check refuses greater seeds.
            Family::Datatrove010 => Permutations::Datatrove(
                MersenneMinHash::new(bands, rows, seed as u32),
                vec![0; bands * rows],
            ),
        }
    }

    /// Makes the signature of `shingles`, and replaces `band_keys` by its keys.
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

    /// Appends the values of the signature that was made last.
    fn append_to(&self, values: &mut UInt64Builder) {
        match self {
            Permutations::Fast(_, signature) => signature
                .iter()
                .for_each(|value| values.append_value(u64::from(*value))),
            Permutations::Datatrove(_, signature) => values.append_slice(signature),
        }
    }
}

/// The function `url_hash(url) -> hash`; null without a URL.
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
