//! What deduplication compares: a hash of the text and MinHash band keys, for each document that `language` kept.

use std::sync::Arc;

use curate_schemas::manifest::{Manifest, NearDedup};
use curate_schemas::tables;
use curate_scorers::minhash::MinHash;
use curate_scorers::shingles::shingles;
use datafusion::arrow::array::{
    Array, ArrayRef, FixedSizeBinaryBuilder, ListBuilder, StructArray, UInt32Builder, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::DataFrame;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::edits::TextColumns;
use crate::function::{Function, setting, text};
use crate::{Read, ShardStage, Stage, if_reached, select_table};

const COLUMNS: [&str; 3] = ["text_hash", "n_shingles", "bands"];

/// The stage `signatures`.
pub struct SignaturesStage {
    near: Option<NearDedup>,
    seed: u64,
    text: TextColumns,
}

impl SignaturesStage {
    /// The stage as the manifest sets it; without `[dedup.near]` there are no band keys.
    pub fn new(manifest: &Manifest) -> Self {
        SignaturesStage { near: manifest.dedup.near.clone(), seed: manifest.run.seed, text: TextColumns::new(manifest) }
    }
}

impl Stage for SignaturesStage {
    fn name(&self) -> &'static str {
        "signatures"
    }

    fn version(&self) -> u32 {
        1
    }

    fn config(&self) -> Value {
        let near = self.near.as_ref();
        json!({
            "near": near.map(|near| json!({ "ngram": near.ngram, "bands": near.bands, "rows": near.rows, "seed": self.seed })),
        })
    }

    fn follows(&self) -> &'static str {
        match self.text {
            TextColumns::Plain => "language",
            TextColumns::Edited => "signals",
        }
    }

    fn reads(&self) -> Vec<Read> {
        self.text.reads()
    }
}

impl ShardStage for SignaturesStage {
    fn plan(&self, input: DataFrame) -> Result<DataFrame> {
        let (ngram, bands, rows) = self.near.as_ref().map_or((0, 0, 0), |near| (near.ngram, near.bands, near.rows));
        let settings = [u64::from(ngram), u64::from(bands), u64::from(rows), self.seed];
        let mut plan = input.with_column("signature", if_reached(signature(self.text.text(), settings))?)?;
        for column in COLUMNS {
            plan = plan.with_column(column, get_field(col("signature"), column))?;
        }
        select_table(plan, "signatures")
    }
}

/// `signature(text, ngram, bands, rows, seed) -> {text_hash, n_shingles, bands}`; no band keys for `ngram` 0.
fn signature(text_column: Expr, settings: [u64; 4]) -> Expr {
    let schema = tables::schema("signatures");
    let fields: Fields = COLUMNS.iter().map(|name| schema.field_with_name(name).expect("declared").clone()).collect();
    let output = fields.clone();
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let texts = text(columns, 0)?;
        let [ngram, bands, rows, seed] = [1, 2, 3, 4].map(|i| setting(columns, i));
        let (ngram, bands, rows, seed) = (ngram? as usize, bands? as usize, rows? as usize, seed?);
        let minhash = (ngram > 0).then(|| MinHash::new(bands, rows, seed));
        let mut hashes = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
        let mut counts = UInt32Builder::new();
        let item = Field::new("item", DataType::UInt64, false);
        let mut keys = ListBuilder::new(UInt64Builder::new()).with_field(item);
        let (mut grams, mut signature, mut band_keys) = (Vec::new(), vec![0u32; bands * rows], Vec::new());
        for text in texts.iter().map(Option::unwrap_or_default) {
            hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
            let Some(minhash) = &minhash else {
                counts.append_null();
                keys.append_null();
                continue;
            };
            shingles(text, ngram, &mut grams);
            counts.append_value(u32::try_from(grams.len()).unwrap_or(u32::MAX));
            if grams.is_empty() {
                keys.append_null();
                continue;
            }
            minhash.signature(&grams, &mut signature);
            minhash.band_keys(&signature, &mut band_keys);
            keys.values().append_slice(&band_keys);
            keys.append(true);
        }
        let columns: Vec<ArrayRef> =
            vec![Arc::new(hashes.finish()), Arc::new(counts.finish()), Arc::new(keys.finish())];
        Ok(Arc::new(StructArray::try_new(output.clone(), columns, None)?))
    };
    let mut arguments = vec![text_column];
    arguments.extend(settings.map(lit));
    Function::new("signature", DataType::Struct(fields), kernel).call(arguments)
}
