//! Surprise of an n-gram model at survivors: values only, no verdict. Perplexity is CCNet's, over
//! tokens and ends of lines.
//!
//! Cost: with a tokenizer, the tokenizer's own (some 3 MB a CPU second). The model itself takes over
//! two million tokens a second.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Float64Builder, StringBuilder, StructArray, UInt64Builder,
};
use arrow::datatypes::DataType;
use curate_schemas::spec::StageSpec;
use curate_schemas::stages::ngram::{NGRAM, Ngram, Normalize};
use curate_scorers::ngram::{
    DocumentScore, LineScore, Model, NgramError, ccnet_normalize, read_arpa,
};
use curate_scorers::tokenizer::{Tokenizer, TokenizerError};
use datafusion_expr::{Expr, col, lit};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Result, StageError};
use crate::function::{Function, fields_of, text};
use crate::plan::{Plan, null_of, without_values};
use crate::resources::Opening;
use crate::reuse::Reuse;
use crate::text::TextSource;
use crate::{Read, ShardStage, Stage};

/// The stage `ngram`.
pub struct NgramStage {
    scorer: Option<Arc<NgramScorer>>,
    text: TextSource,
}

/// A model with what makes tokens for it.
pub struct NgramScorer {
    model: Model,
    /// None: what is between white space is a token.
    pieces: Option<Pieces>,
    settings: Ngram,
}

const LEARNT_WITH: &str = "blake3:";

/// What a model's header says of the tokenizer that it was learnt with.
pub fn learnt_with(tokenizer: &Tokenizer) -> String {
    format!("{LEARNT_WITH}{}", tokenizer.digest())
}

/// A tokenizer, and the model's number of each of its ids, where the model has the piece.
struct Pieces {
    tokenizer: Tokenizer,
    numbers: Vec<Option<u32>>,
}

impl NgramScorer {
    /// A model with its tokenizer; without one, words are what is between white space.
    ///
    /// # Errors
    /// [`NgramError::Malformed`] if the model says that it was learnt with another tokenizer, or
    /// knows fewer than half of the tokens' names.
    pub fn new(
        model: Model,
        tokenizer: Option<Tokenizer>,
        settings: Ngram,
    ) -> std::result::Result<Self, NgramError> {
        let found = tokenizer.as_ref().map_or(WORDS.to_owned(), learnt_with);
        if model.tokenizer().starts_with(LEARNT_WITH) && model.tokenizer() != found {
            let reason = format!(
                "it was learnt with another tokenizer, {}, than {found}",
                model.tokenizer()
            );
            return Err(NgramError::Malformed {
                file: settings.model,
                reason,
            });
        }
        let pieces = tokenizer.map(|tokenizer| {
            let vocabulary = model.vocabulary();
            let numbers = tokenizer
                .pieces()
                .iter()
                .map(|piece| vocabulary.id(piece))
                .collect();
            Pieces { tokenizer, numbers }
        });
        let numbers: &[Option<u32>] = pieces.as_ref().map_or(&[], |pieces| &pieces.numbers);
        let known = numbers.iter().flatten().count();
        if known * 2 < numbers.len() {
            let reason = format!(
                "it knows {known} of the {} tokens of the tokenizer",
                numbers.len()
            );
            return Err(NgramError::Malformed {
                file: settings.model,
                reason,
            });
        }
        Ok(NgramScorer {
            model,
            pieces,
            settings,
        })
    }

    fn score(&self, text: &str) -> std::result::Result<Option<DocumentScore>, TokenizerError> {
        let mut ids = Vec::new();
        let mut score = |line: &str| -> std::result::Result<LineScore, TokenizerError> {
            let normal = match self.settings.normalize {
                Normalize::None => line.into(),
                Normalize::Ccnet => ccnet_normalize(line),
            };
            let Some(Pieces { tokenizer, numbers }) = &self.pieces else {
                return Ok(self.model.score_pieces(&normal));
            };
            let number = |id: u32| {
                numbers
                    .get(id as usize)
                    .copied()
                    .flatten()
                    .unwrap_or(u32::MAX)
            };
            ids.clear();
            ids.extend(tokenizer.encode(&normal, None)?.into_iter().map(number));
            Ok(self.model.score_line(&ids))
        };
        let lines = text
            .split('\n')
            .map(&mut score)
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(DocumentScore::of(lines).filter(|document| document.tokens > 0))
    }

    fn tokenizer_digest(&self) -> &str {
        self.pieces
            .as_ref()
            .map_or(WORDS, |pieces| pieces.tokenizer.digest())
    }
}

const COLUMNS: [&str; 7] = [
    "text_hash",
    "model",
    "model_digest",
    "n_tokens",
    "n_unknown",
    "log10_sum",
    "perplexity",
];

/// The value of `score.ngram.tokenizer` for the words between white space.
const WORDS: &str = "words";

impl NgramStage {
    /// The stage as the manifest sets it, with its model; without `[score.ngram]` there are no
    /// values.
    ///
    /// # Errors
    /// If the model or its tokenizer cannot be used.
    pub fn open(opening: &Opening) -> Result<Self> {
        let settings = opening.manifest.score.ngram.clone();
        let scorer = settings
            .map(|settings| open_scorer(opening, settings))
            .transpose()?;
        Ok(NgramStage {
            scorer: scorer.map(Arc::new),
            text: TextSource::before(NGRAM.name, opening.manifest),
        })
    }
}

/// Opens the model: a file of `curate train ngram` is mapped and its digest is checked, an ARPA
/// file is read into memory.
fn open_scorer(opening: &Opening, settings: Ngram) -> Result<NgramScorer> {
    let wrong = |error: &dyn std::fmt::Display| {
        StageError::manifest(format!("score.ngram.model {}: {error}", settings.model))
    };
    let path = opening.manifest.base.join(&settings.model);

    let model = match path
        .extension()
        .is_some_and(|extension| extension == "arpa")
    {
        true => {
            let file = File::open(&path).map_err(|error| wrong(&error))?;
            read_arpa(BufReader::new(file), &settings.tokenizer)
        }
        false => Model::open(&path).and_then(|model| model.verify().map(|()| model)),
    };
    let model = model.map_err(|error| wrong(&error))?;
    let tokenizer = match settings.tokenizer.as_str() {
        WORDS => None,
        name => Some(opening.tokenizer("score.ngram.tokenizer", name)?),
    };

    NgramScorer::new(model, tokenizer, settings.clone()).map_err(|error| wrong(&error))
}

impl Stage for NgramStage {
    fn spec(&self) -> &'static StageSpec {
        &NGRAM
    }

    fn config(&self) -> Value {
        // `quality` decides which scores remove a document: a changed band scores nothing again.
        let settings = self.scorer.as_ref().map(|scorer| Ngram {
            drop: None,
            ..scorer.settings.clone()
        });
        json!({ "ngram": settings })
    }

    fn resources(&self, _: u64) -> BTreeMap<&'static str, String> {
        let digests = |scorer: &Arc<NgramScorer>| {
            [
                ("model", scorer.model.digest()),
                ("tokenizer", scorer.tokenizer_digest().to_owned()),
            ]
        };
        self.scorer.iter().flat_map(digests).collect()
    }

    fn reads(&self) -> Vec<Read> {
        if self.scorer.is_some() {
            self.text.reads()
        } else {
            Vec::new()
        }
    }
}

impl ShardStage for NgramStage {
    fn plan(&self, input: Plan, arriving: u64) -> Result<Plan> {
        let (Some(scorer), Some(reuse)) = (&self.scorer, self.reuse(arriving)) else {
            return without_values(input, NGRAM.name, &COLUMNS);
        };
        let scored = ngram_score(self.text.text(), scorer);
        reuse.fill(input, scored, |column| null_of(NGRAM.name, column))
    }

    fn reuse(&self, _: u64) -> Option<Reuse> {
        self.scorer.as_ref()?;
        let known = col("known_text_hash").is_not_null();
        let parts = ["config", "model", "tokenizer"];
        Some(Reuse::of_text(
            NGRAM.name,
            &self.text,
            &parts,
            &COLUMNS,
            col("reached"),
            known,
        ))
    }
}

/// `ngram_score(text, model digest, tokenizer digest) -> {text_hash, …}`.
fn ngram_score(text_column: Expr, scorer: &Arc<NgramScorer>) -> Expr {
    let output = fields_of(NGRAM.name, &COLUMNS);
    let fields = output.clone();
    let arguments = vec![
        text_column,
        lit(scorer.model.digest()),
        lit(scorer.tokenizer_digest()),
    ];
    let scorer = Arc::clone(scorer);
    let kernel = move |columns: &[ArrayRef]| -> Result<ArrayRef> {
        let (mut hashes, mut names) = (FixedSizeBinaryBuilder::new(16), StringBuilder::new());
        let (mut digests, mut counts) = (
            StringBuilder::new(),
            [UInt64Builder::new(), UInt64Builder::new()],
        );
        let mut numbers = [Float64Builder::new(), Float64Builder::new()];
        let digest = scorer.model.digest();
        for text in text(columns, 0)? {
            let text = text.unwrap_or_default();
            let score = scorer.score(text).map_err(StageError::kernel)?;
            hashes.append_value(xxh3_128(text.as_bytes()).to_be_bytes())?;
            names.append_value(&scorer.settings.model);
            digests.append_value(&digest);
            counts[0].append_value(score.map_or(0, |score| score.tokens));
            counts[1].append_value(score.map_or(0, |score| score.oov));
            numbers[0].append_option(score.map(|score| score.log10_sum));
            numbers[1].append_option(score.map(|score| score.perplexity));
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(hashes.finish()),
            Arc::new(names.finish()),
            Arc::new(digests.finish()),
        ];
        columns.extend(
            counts
                .iter_mut()
                .map(|counts| Arc::new(counts.finish()) as ArrayRef),
        );
        columns.extend(
            numbers
                .iter_mut()
                .map(|numbers| Arc::new(numbers.finish()) as ArrayRef),
        );
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            columns,
            None,
        )?))
    };
    Function::new("ngram_score", DataType::Struct(output), kernel).call(arguments)
}
